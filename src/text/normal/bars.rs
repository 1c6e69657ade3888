//! Bars and angle brackets of formulas: absolute values, norms, conditions, inner products.

use super::abbreviations::lists;
use super::english::Reader;
use super::walk::Walk;

/// Commands of TeX that an operand follows: a bar behind one of them opens.
const BEFORE_OPERANDS: &str = "left bigl Bigl big Big biggl Biggl le leq ge geq ll gg lt gt times cdot div pm mp in notin to \
     approx equiv sim simeq ne neq rightarrow implies iff land lor cup cap sum int prod lim propto quad text";

impl Reader<'_> {
    /// The end of the bar at a position, and its words. `None` if it is no mark of a formula.
    pub(super) fn bar(&mut self, at: usize) -> Option<(usize, &'static str)> {
        let length = bar_length(&self.s[at..])?;
        let is_given = self.before(at).is_some_and(char::is_alphanumeric)
            && self.at(at + 1).is_some_and(char::is_alphanumeric)
            && self.is_condition(at);
        if is_given {
            return Some((at + 1, "given"));
        }
        if self.is_math(at) {
            let (length, words) = bar_of_formula(&self.s[self.math.clone()], at - self.math.start)?;
            return Some((at + length, words));
        }
        if at == self.bar_end {
            return Some((at + length, ""));
        }
        self.bar_end = self.closing_bar(at)?;
        Some((at + length, opening(length > 1)))
    }

    /// The bar that closes an absolute value or a norm outside of formulas of TeX: "|x − 3|", "||v||".
    fn closing_bar(&self, at: usize) -> Option<usize> {
        const MOST: usize = 24;
        let length = bar_length(&self.s[at..])?;
        let begin = at + length;
        let end = self.short_run(begin, MOST, |c| !matches!(c, '|' | '‖' | '\n'));
        let inner = &self.s[begin..end];
        let behind = self.at(end + length);
        let is_apart = !self.before(at).is_some_and(|c| c.is_alphabetic() || "|)]}\\".contains(c))
            && !behind.is_some_and(|c| c.is_alphanumeric() || c == '|');
        let is_sign = |c: char| " +-−*/^=·×÷().,²³_√".contains(c);
        let most = 1 + usize::from(inner.contains(is_sign));
        let mut words = inner.split(|c: char| !c.is_alphabetic());
        let is_formula = inner.contains(char::is_alphanumeric)
            && inner.trim() == inner
            && inner.chars().all(|c| c.is_alphanumeric() || is_sign(c))
            && words.all(|word| word.chars().count() <= most);
        (is_apart && is_formula && bar_length(&self.s[end..]) == Some(length)).then_some(end)
    }

    /// True for the bar of "P(A|B)".
    fn is_condition(&self, at: usize) -> bool {
        let left = self.left(at);
        let is_of = |name: &str| name.ends_with(['P', 'p', 'E', 'f']);
        left.rfind('(').is_some_and(|open| is_of(&left[..open]) && !left[open..].contains(')'))
    }

    /// Words for an angle bracket that opens, if it is closed by this mark: those of "⟨u, v⟩", or of "⟨x⟩".
    pub(super) fn angle(&self, from: usize, close: &str) -> Option<&'static str> {
        const MOST: usize = 64;
        let inner = &self.s[from..self.short_run(from, MOST, |c| c != '\n')];
        let (inner, _) = inner.split_once(close)?;
        let marks = inner.matches([',', '|']).count() + inner.matches("\\mid").count();
        Some(if marks == 1 { "inner product of" } else { "bracket" })
    }
}

fn opening(is_double: bool) -> &'static str {
    if is_double { "norm of" } else { "absolute value of" }
}

/// Length of the bar that a text begins with, a double one if it can be.
fn bar_length(text: &str) -> Option<usize> {
    match text.as_bytes().first()? {
        b'|' | b'\\' if text[1..].starts_with('|') => Some(2),
        b'|' => Some(1),
        _ => text.starts_with('‖').then_some('‖'.len_utf8()),
    }
}

/// Length and words of the bar at a position of a formula. Bars are paired from the left: one behind an operand
/// closes, if one is open.
fn bar_of_formula(formula: &str, at: usize) -> Option<(usize, &'static str)> {
    let (mut from, mut closed) = (0, usize::MAX);
    // True for a norm.
    let mut open: Vec<bool> = Vec::new();
    while let Some(found) = formula[from..].find(['|', '‖']) {
        let mark = from + found;
        let start = mark - usize::from(mark > from && formula[..mark].ends_with('\\'));
        let before = formula[..start].trim_end();
        let written = bar_length(&formula[start..])?;
        let behind = &formula[start + written..];
        let closes = before.ends_with("\\right")
            || !open.is_empty() && (before.len() == closed || ends_operand(before));
        // "||x||", but "||x| - |y||"
        let is_double = match &formula[start..] {
            rest if !rest.starts_with("||") => written > 1,
            _ if closes => open.last() == Some(&true),
            _ => behind.find('|').is_some_and(|next| behind[next..].starts_with("||")),
        };
        let length = if is_double { written } else { 1 };
        let end = start + length;
        let is_alone = open.is_empty() && !formula[end..].contains(['|', '‖']);
        let words = match closes {
            true => "",
            false if is_alone && !before.ends_with("\\left") => "such that",
            false => opening(is_double),
        };
        match closes {
            true => {
                open.pop();
                closed = end;
            }
            false => open.push(is_double),
        }
        if start == at {
            return Some((length, words));
        }
        from = end;
    }
    None
}

/// True if a text ends with an operand, and not with a sign or a command that one follows.
fn ends_operand(text: &str) -> bool {
    let name = &text[text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len()..];
    let is_command = text[..text.len() - name.len()].ends_with('\\');
    !(is_command && lists(BEFORE_OPERANDS, name))
        && text
            .ends_with(|c: char| c.is_alphanumeric() || matches!(c, ')' | ']' | '}' | '!' | '\'' | '²' | '³'))
}
