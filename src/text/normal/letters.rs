//! Letters in their usual form: ligatures, full-width and mathematical letters, and characters that only
//! format the text.

use super::output::{Changed, Output};
use unicode_normalization::char::{decompose_canonical, decompose_compatible};

/// Replaces compatibility forms by what they stand for, drops characters that only format the text, and joins
/// a word that a hyphen divides between two lines. Accents stay.
pub(super) fn usual(text: &str, most: usize) -> Option<Changed> {
    let divides = |at: usize| text[at..].starts_with("-\n") || text[at..].starts_with("-\r\n");
    if text.is_ascii() && !text.match_indices('-').any(|(at, _)| divides(at)) {
        return None;
    }
    let mut out = Output::new(text, most);
    let mut form = String::new();
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        if at < out.at() {
            continue;
        }
        if is_format(c, before) {
            // A soft hyphen at the end of a line divides a word.
            let end = if c == '\u{ad}' { joint(text, end).unwrap_or(end) } else { end };
            out.put(at..end, "");
            continue;
        }
        if matches!(c, '-' | '‐')
            && before.is_alphabetic()
            && let Some(end) = joint(text, end)
        {
            out.put(at..end, "");
            continue;
        }
        if let Some((end, written)) = raised(text, at, c) {
            out.put(at..end, &written);
            before = '0';
            continue;
        }
        if !c.is_ascii() && !is_kept(c) {
            form.clear();
            match roman_digit(c) {
                Some(value) => form.push_str(value),
                None if matches!(c, '❿' | '➉' | '➓') => form.push_str("10"),
                // A ring above, as a sign of degrees.
                None if c == '˚' => form.push('°'),
                None if c.is_numeric() && before.is_ascii_digit() && is_fraction(c) => {}
                None => match boxed(c) {
                    Some(plain) => form.push(plain),
                    None => compatible(c, &mut form),
                },
            }
            // "xᵢ"
            if matches!(c, 'ᵢ'..='ᵣ' | 'ᵤ' | 'ᵥ' | 'ⱼ' | 'ₐ'..='ₜ') && before.is_alphabetic() {
                form = format!(" {}", if form.is_empty() { c.to_string() } else { form.clone() });
            }
            // "①②"
            let is_circled = |c: char| matches!(c, '\u{2460}'..='\u{249b}' | '\u{24ea}'..='\u{24ff}' | '\u{2776}'..='\u{2793}');
            if is_circled(c) && (is_circled(before) || before.is_ascii_digit()) && !form.is_empty() {
                form.insert(0, ' ');
            }
            if !form.is_empty() {
                out.put(at..end, &form);
            }
        }
        before = c;
    }
    out.finish()
}

/// The end of a line break and the spaces around it, if the second half of a word follows: a letter in lower
/// case.
fn joint(text: &str, at: usize) -> Option<usize> {
    let rest = &text[at..];
    let line = rest.strip_prefix('\r').unwrap_or(rest).strip_prefix('\n')?;
    let word = line.trim_start_matches([' ', '\t']);
    word.starts_with(char::is_lowercase).then(|| text.len() - word.len())
}

/// True for characters without a sound or a width. Joiners have a meaning in some scripts.
fn is_format(c: char, before: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}'
        | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{61c}' | '\u{fe0e}' | '\u{fe0f}' | '\u{20e3}' | '\u{34f}' | '\u{180e}' | '\u{fff9}'..='\u{fffb}')
        || matches!(c, '\u{200c}' | '\u{200d}') && before < '\u{250}'
}

/// True for compatibility forms that have a meaning of their own, and for all spaces.
fn is_kept(c: char) -> bool {
    matches!(c, '°' | 'ª' | 'º' | '²' | '³' | '¹' | 'µ' | '™' | '℠' | '№' | '…' | '⁄' | '′' | '″' | '‴' | '´' | '¨'
        | '¯' | '¸' | '℗' | '\u{2070}'..='\u{209c}' | '\u{2000}'..='\u{200a}' | '\u{a0}' | '\u{202f}'
        | '\u{205f}' | '\u{3000}')
        || is_fraction(c)
        || c.is_whitespace()
}

pub(super) fn is_fraction(c: char) -> bool {
    matches!(c, '¼'..='¾' | '⅐'..='⅞' | '↉')
}

/// Adds what a compatibility form stands for. Adds nothing for a letter with an accent.
fn compatible(c: char, form: &mut String) {
    decompose_compatible(c, |part| form.push(part));
    let (mut parts, mut is_same) = (0, true);
    decompose_canonical(c, |part| {
        is_same &= form.chars().nth(parts) == Some(part);
        parts += 1;
    });
    let is_canonical = is_same && parts == form.chars().count();
    if is_canonical && (parts > 1 || form.starts_with(c)) {
        form.clear();
    }
}

/// A fraction or cents of raised figures, and its end: "¹⁄₂", "$19⁹⁹".
fn raised(text: &str, at: usize, c: char) -> Option<(usize, String)> {
    let is_raised = |c: char| matches!(c, '⁰' | '¹' | '²' | '³' | '⁴'..='⁹');
    let is_lowered = |c: char| matches!(c, '₀'..='₉');
    let before = text[..at].chars().next_back();
    if !is_raised(c) || before.is_some_and(is_raised) {
        return None;
    }
    let digits = |part: &str| part.chars().filter_map(super::powers::script_digit).collect::<String>();
    let rest = &text[at..];
    let run = rest.find(|c| !is_raised(c)).unwrap_or(rest.len());
    let count = rest[..run].chars().count();
    let under = rest[run..].strip_prefix(['⁄', '/', '∕']).unwrap_or_default();
    let lowered = under.find(|c| !is_lowered(c)).unwrap_or(under.len());
    if count <= 2 && lowered > 0 && lowered <= 6 {
        let end = at + rest.len() - under.len() + lowered;
        let fraction = format!("{}/{}", digits(&rest[..run]), digits(&under[..lowered]));
        let written = match fraction.as_str() {
            "1/2" => "½",
            "1/3" => "⅓",
            "2/3" => "⅔",
            "1/4" => "¼",
            "3/4" => "¾",
            "1/8" => "⅛",
            "3/8" => "⅜",
            "5/8" => "⅝",
            "7/8" => "⅞",
            _ if before.is_some_and(|c| c.is_ascii_digit()) => return Some((end, format!(" {fraction}"))),
            _ => return Some((end, fraction)),
        };
        return Some((end, written.to_owned()));
    }
    // Cents.
    let figures = text[..at].bytes().rev().take(7).take_while(u8::is_ascii_digit).count();
    let sign = text[..at - figures].chars().next_back();
    let is_sum = count == 2
        && figures > 0
        && (sign.is_some_and(|c| matches!(c, '$' | '€' | '£'))
            || rest[run..].trim_start_matches(' ').starts_with('€'));
    is_sum.then(|| (at + run, format!(".{}", digits(&rest[..run]))))
}

/// A letter or figure in a dark circle or box, for which Unicode names no other form.
fn boxed(c: char) -> Option<char> {
    let at = |first: char, base: u8| Some(char::from(base + (u32::from(c) - u32::from(first)) as u8));
    match c {
        '❶'..='❾' => at('❶', b'1'),
        '➊'..='➒' => at('➊', b'1'),
        '🅐'..='🅩' => at('🅐', b'A'),
        '🅰'..='🆉' => at('🅰', b'A'),
        _ => None,
    }
}

/// A Roman numeral that is one character.
fn roman_digit(c: char) -> Option<&'static str> {
    const VALUES: [&str; 12] = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"];
    let at = match c {
        'Ⅰ'..='Ⅻ' => u32::from(c) - u32::from('Ⅰ'),
        'ⅰ'..='ⅻ' => u32::from(c) - u32::from('ⅰ'),
        _ => return None,
    };
    VALUES.get(at as usize).copied()
}
