//! Text around a sign: figures, letters and brackets that it joins. All languages share it.

use super::abbreviations::lists;
use super::figure::is_year_text;
use super::numbers;
use crate::text::language::{ceil_char_boundary, floor_char_boundary};

/// Bytes on each side of a sign that are searched.
pub(super) const WINDOW: usize = 24;

/// Words beside a sum that a text asks or tells, in all languages.
const VERBS: &str = "is what compute calculate solve evaluate equals does than so then and of ist sind macht ergibt also und von \
     est font fait donc et de es son entonces y";

/// Words of sports, in all languages: a score is no sum.
const SCORES: &str = "score won win lost lose beat lead led game match draw final spiel gewann verlor siegt gagn perd partido ganó ganar";

/// Text of the line before a position, at most [`WINDOW`] bytes.
pub(super) fn left(text: &str, at: usize) -> &str {
    let left = &text[ceil_char_boundary(text, at.saturating_sub(WINDOW))..at];
    left.rsplit('\n').next().unwrap_or_default()
}

/// Text of the line behind a position, at most [`WINDOW`] bytes.
pub(super) fn right(text: &str, end: usize) -> &str {
    let right = &text[end..floor_char_boundary(text, end + WINDOW)];
    right.split('\n').next().unwrap_or_default()
}

/// True for a mark that only algebra has.
#[inline(never)]
pub(super) fn is_algebra(text: &str) -> bool {
    text.contains(['=', '+', '×', '÷', '^', '²', '³', '√', '≤', '≥', '≠', '≈', '<', '>'])
}

/// True for an operand in front of a position: a figure, a bracket, or one letter.
fn ends_operand(text: &str, at: usize) -> bool {
    let mut letters = text[..at].trim_end_matches(' ').chars().rev();
    match letters.next() {
        Some(c) if c.is_numeric() || matches!(c, ')' | ']' | '}' | 'π' | '∞') => true,
        Some(c) if c.is_alphabetic() => {
            let second = letters.take(8).find(|c| !c.is_ascii_digit());
            !second.is_some_and(|c| c.is_alphabetic() || matches!(c, '\'' | '’'))
        }
        _ => false,
    }
}

/// True for an operand behind a position.
fn begins_operand(text: &str, end: usize) -> bool {
    let mut letters = text[end..].trim_start_matches([' ', '-', '−']).chars();
    match letters.next() {
        Some(c) if c.is_numeric() || matches!(c, '(' | '[' | '√' | 'π' | '∞') => true,
        Some(c) if c.is_alphabetic() => !letters.next().is_some_and(char::is_alphabetic),
        _ => false,
    }
}

/// True for a sign between two operands.
#[inline(never)]
pub(super) fn is_between(text: &str, at: usize, end: usize) -> bool {
    ends_operand(text, at) && begins_operand(text, end)
}

/// True for a dot between two factors: "2·3", "a ⋅ b". Other dots divide the parts of a line.
pub(super) fn multiplies(text: &str, at: usize, end: usize, dot: char) -> bool {
    let (before, after) = (text[..at].chars().next_back(), text[end..].chars().next());
    let is_spaced = after.is_some_and(char::is_whitespace);
    if !is_between(text, at, end)
        || is_spaced != before.is_some_and(char::is_whitespace)
        || matches!((before, after), (Some('l' | 'L'), Some('l' | 'L')))
    {
        return false;
    }
    !is_spaced || dot == '⋅' || is_alone(text, at, end)
}

/// True for the percent sign at a position that takes a remainder: "7 % 3", "a % b", "n%2".
#[inline(never)]
pub(super) fn is_modulo(text: &str, at: usize) -> bool {
    let end = at + 1;
    let is_spaced = text[..at].ends_with(' ');
    if is_spaced != text[end..].starts_with(' ') || !is_between(text, at, end) {
        return false;
    }
    let (left, right) = (left(text, at), right(text, end).trim_start());
    let behind = right.trim_start_matches(|c: char| c.is_alphanumeric() || c == '.');
    let is_figure = left.trim_end().ends_with(|c: char| c.is_numeric());
    // "10 % 20 % 30 %", "a%20b"
    if is_figure && left.contains('%')
        || behind.trim_start().starts_with('%')
        || !is_spaced && right.len() - behind.len() > 1
    {
        return false;
    }
    !is_figure || is_alone(text, at, end)
}

/// True if signs of algebra, or no other words, are around a sign between two operands.
#[inline(never)]
pub(super) fn is_alone(text: &str, at: usize, end: usize) -> bool {
    let (left, right) = (left(text, at), right(text, end));
    if is_algebra(left) || is_algebra(right) {
        return true;
    }
    let is_part = |c: char| c.is_numeric() || matches!(c, '.' | ',');
    let before = left.trim_end().trim_end_matches(is_part);
    let word = before.trim_end().rsplit(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
    let is_first = before.trim().is_empty() && (left.len() == at || left.len() + 3 < WINDOW);
    let begins = is_first
        || before.ends_with(['(', '[', '{', ':', '"', '“', '„', '>'])
        || lists(VERBS, &word.to_ascii_lowercase());
    let behind = right.trim_start().trim_start_matches(|c: char| c.is_alphanumeric() || c == '.');
    let closes = ['?', '.', ',', ')', ']', '}', ';', ':', '!', '"', '”', '“', '<'];
    let next = behind.trim_start().split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
    begins && (behind.is_empty() || behind.starts_with(closes) || lists(VERBS, next))
}

/// True for a dash between spaces in an equation of words or figures: "profit = revenue - costs", "tax - 5 = 3",
/// "3 × 4 - 2". "colour = red - the default" and "size = 5 - 10" are none.
#[inline(never)]
pub(super) fn is_in_equation(text: &str, at: usize, end: usize) -> bool {
    const MOST: usize = 64;
    const MOST_WORDS: usize = 4;
    let left = &text[ceil_char_boundary(text, at.saturating_sub(MOST))..at];
    let right = &text[end..floor_char_boundary(text, end + MOST)];
    let (Some(left), Some(right)) = (left.strip_suffix(' '), right.strip_prefix(' ')) else { return false };
    let is_end = |c: char| matches!(c, '\n' | '!' | '?' | ';' | ':' | '"' | '“' | '”');
    let left = left.rsplit(is_end).next().unwrap_or_default();
    let left = left.rsplit(". ").next().unwrap_or_default();
    let right = right.split(is_end).next().unwrap_or_default();
    let right = right.split(". ").next().unwrap_or_default().trim_end_matches('.');
    let is_term =
        |c: char| c.is_alphanumeric() || matches!(c, ' ' | '.' | '_' | '%' | '$' | '€' | '£' | '²' | '³');
    let is_operator = |c: char| {
        matches!(c, '=' | '+' | '×' | '÷' | '*' | '/' | '(' | ')' | '-' | '−' | '≈' | '<' | '>' | '√' | '^')
    };
    let term = |term: &str| {
        let words = term.split(' ').filter(|word| !word.is_empty());
        let count = words.clone().count();
        (1..=MOST_WORDS).contains(&count) && term.chars().all(is_term) && !words.into_iter().any(is_of_prose)
    };
    let (before, after) =
        (left.rsplit(is_operator).next(), right.split(is_operator).find(|part| !part.trim().is_empty()));
    let (Some(before), Some(after)) = (before, after) else { return false };
    // A bracket that closes is the operand in front.
    let is_bracket = left.ends_with([')', ']', '²', '³']);
    if !(is_bracket || term(before)) || !term(after) {
        return false;
    }
    let is_figure = |term: &str| term.trim().starts_with(|c: char| c.is_ascii_digit());
    let operators = left.chars().filter(|c| is_operator(*c) && !matches!(c, '(' | ')' | '-'));
    let has_product = operators.clone().any(|c| matches!(c, '×' | '÷' | '*' | '^' | '√'))
        || [" + ", " / "].iter().any(|sign| left.contains(sign));
    let is_equal = left.contains('=') || right.contains(" = ");
    match is_figure(before) && is_figure(after) && !is_bracket {
        true => has_product || right.contains(" = ") && !right.contains(" - "),
        false => is_equal,
    }
}

/// True for a word that a term of an equation does not have.
fn is_of_prose(word: &str) -> bool {
    lists(
        "a an the this that these is are was it its you i we they what how when why if or and as so in on at to for with by from but not no see also only default",
        &word.to_ascii_lowercase(),
    )
}

/// True for a dash that takes away, between two figures: the second one is smaller than the first one, and no score
/// and no range can be. "7 - 2", "sqrt(9-8)".
pub(super) fn falls(text: &str, at: usize, second: usize, is_spaced: bool) -> bool {
    let digits = text[..at].bytes().rev().take(9).take_while(u8::is_ascii_digit).count();
    let behind = &text[second..];
    let end = second + behind.bytes().take(9).take_while(u8::is_ascii_digit).count();
    let written = &text[at - digits..at];
    let (Some(first), Some(last)) = (numbers::value(written), numbers::value(&text[second..end])) else {
        return false;
    };
    // "1:8 – 1:10"
    if first <= last || text[..at - digits].ends_with(':') || text[end..].starts_with(':') {
        return false;
    }
    if is_spaced {
        let words = left(text, at).to_lowercase();
        let is_score = words
            .split(|c: char| !c.is_alphabetic())
            .any(|word| SCORES.split(' ').any(|score| word.starts_with(score)));
        let dash = text[at..].trim_start();
        let from = text.len() - dash.len();
        return !is_score
            && !is_year_text(written)
            && is_alone(text, from, from + dash.chars().next().map_or(0, char::len_utf8));
    }
    // "\\sqrt{9-8}", "f(9-8)"
    let before = &text[..at - digits];
    let behind = &text[end..];
    let is_call = |name: &str| name.ends_with(|c: char| c.is_ascii_alphabetic());
    before.ends_with('=')
        || before.ends_with('{') && behind.starts_with('}')
        || before.strip_suffix('(').is_some_and(is_call) && behind.starts_with(')')
}

/// Place of the dollar signs that end a formula, if those that begin it are at `at`: "$b = -3$", "$15$", "$$x$$".
#[inline(never)]
pub(super) fn formula_end(text: &str, at: usize) -> Option<usize> {
    const MOST: usize = 80;
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let is_display = text[at..].starts_with("$$");
    let marks = if is_display { "$$" } else { "$" };
    let begin = at + marks.len();
    let most = if is_display { 4 * MOST } else { MOST };
    let rest = &text[begin..floor_char_boundary(text, at + most)];
    let line = rest.split('\n').next().unwrap_or_default();
    // "\\$5" is a sum in it.
    let is_end = |(at, _): &(usize, &str)| !line[..*at].ends_with('\\');
    let (length, _) = line.match_indices(marks).find(is_end).filter(|(length, _)| *length > 0)?;
    let inner = &line[..length];
    let last = begin + length;
    if is_display {
        return inner.contains(char::is_alphanumeric).then_some(last);
    }
    let is_closed = !inner.starts_with(char::is_whitespace)
        && inner.trim_end_matches("^*").ends_with(|c: char| {
            c.is_alphanumeric() || matches!(c, ')' | '}' | ']' | '\'' | '!' | '%' | '|')
        })
        && !is_word(text[last + 1..].chars().next())
        && !is_word(text[..at].chars().next_back());
    // "3 - 2", but "3, $4" and "5 and $10"
    let is_sum = inner.chars().all(|c| c.is_ascii_digit() || " .,+-*/×÷()".contains(c))
        && [" + ", " - ", " * ", " / ", " × ", " ÷ "].iter().any(|sign| inner.contains(sign));
    let is_formula = !inner.contains(char::is_whitespace)
        || is_sum
        || inner.starts_with('|') && inner.ends_with('|')
        || inner.contains(['=', '^', '\\', '_'])
        || !inner.starts_with(|c: char| c.is_ascii_digit())
            && (inner.len() == 1 || inner.contains(['+', '-', '<', '>', '(', '*', '/']));
    (is_closed && is_formula).then_some(last)
}

/// Place of the mark that ends a formula between brackets with a backslash, if those that begin it are at `at`:
/// "\\(x^2\\)", "\\[x = 1\\]".
#[inline(never)]
pub(super) fn brackets_end(text: &str, at: usize) -> Option<usize> {
    const MOST: usize = 324;
    let close = match text.as_bytes().get(at + 1)? {
        b'(' => "\\)",
        b'[' => "\\]",
        _ => return None,
    };
    let rest = &text[at + 2..floor_char_boundary(text, at + MOST)];
    // "\\\\[2pt]" divides two rows.
    let is_end = |(at, _): &(usize, &str)| !rest[..*at].ends_with('\\');
    let (length, _) = rest.match_indices(close).find(is_end)?;
    let is_first = !text[..at].ends_with('\\') && !rest[..length].contains("\n\n");
    (is_first && rest[..length].contains(char::is_alphanumeric)).then_some(at + 2 + length)
}

/// True for the "--" of "i--", "x[i]--" and "--i;", which count down.
pub(super) fn counts_down(text: &str, at: usize) -> bool {
    let is_variable = |c: char| c.is_ascii_lowercase() && c != 'a';
    let mut before = text[..at].chars().rev();
    let mut after = text[at + 2..].chars();
    let (first, second) = (before.next(), before.next());
    let (next, last) = (after.next(), after.next());
    let is_apart = !second.is_some_and(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '\'' | '.'));
    let ends = |c: Option<char>| c.is_none_or(|c| c.is_whitespace() || matches!(c, ';' | ')' | ',' | ']'));
    first.is_some_and(|c| c == ']' || is_variable(c) && is_apart) && ends(next)
        || first.is_none_or(char::is_whitespace)
            && next.is_some_and(is_variable)
            && matches!(last, Some(';' | ')'))
}
