//! Character references of HTML: `&amp;`, `&#8364;`, `&#x20ac;`.

/// Every name of the HTML standard, in the order of bytes, one a line: the name, `!` if it may also be written
/// without a semicolon, and its code points in hexadecimal.
const NAMES: &str = include_str!("entities.txt");

/// Longest reference, from `&` to `;`, in characters.
pub(super) const MAX_CHARS: usize = 34;

/// Characters that numbers from 0x80 to 0x9f stand for: pages that use them mean Windows-1252.
const WINDOWS: [u16; 32] = [
    0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152, 0x8d,
    0x17d, 0x8f, 0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161, 0x203a,
    0x153, 0x9d, 0x17e, 0x178,
];

/// Returns the characters of a reference, without its `&` and `;`. `is_closed` is true if it had the
/// semicolon: without one, only the oldest names are known.
pub(super) fn decode(reference: &str, is_closed: bool) -> Option<String> {
    if let Some(number) = reference.strip_prefix('#') {
        return decode_number(number).map(String::from);
    }
    let values = find(reference)?;
    let values = match values.strip_prefix("! ") {
        Some(values) => values,
        None if is_closed => values,
        None => return None,
    };
    let code = |value: &str| u32::from_str_radix(value, 16).ok().and_then(char::from_u32);
    values.split(' ').map(code).collect()
}

fn decode_number(number: &str) -> Option<char> {
    let (digits, radix) = match number.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    let most = if radix == 16 { 6 } else { 7 };
    let is_number = (1..=most).contains(&digits.len()) && digits.chars().all(|c| c.is_digit(radix));
    if !is_number {
        return None;
    }
    let code = u32::from_str_radix(digits, radix).unwrap_or(u32::MAX);
    let code = match code {
        0x80..=0x9f => u32::from(WINDOWS[code as usize - 0x80]),
        _ => code,
    };
    Some(char::from_u32(code).filter(|c| *c != '\0').unwrap_or(char::REPLACEMENT_CHARACTER))
}

/// Returns the rest of the line that begins with this name and a space.
fn find(name: &str) -> Option<&'static str> {
    let (mut from, mut to) = (0, NAMES.len());
    while from < to {
        let middle = from + (to - from) / 2;
        let start = NAMES[from..middle].rfind('\n').map_or(from, |at| from + at + 1);
        let end = NAMES[middle..to].find('\n').map_or(to, |at| middle + at);
        let (known, values) = NAMES[start..end].split_once(' ')?;
        match name.cmp(known) {
            std::cmp::Ordering::Equal => return Some(values),
            std::cmp::Ordering::Less => to = start,
            std::cmp::Ordering::Greater => from = (end + 1).min(to),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found() {
        let mut count = 0;
        for line in NAMES.lines() {
            let (name, values) = line.split_once(' ').unwrap();
            assert_eq!(find(name), Some(values));
            assert!(name.len() + 2 <= MAX_CHARS, "{name}");
            assert!(decode(name, true).is_some_and(|text| !text.is_empty()), "{name}");
            assert_eq!(decode(name, false).is_some(), values.starts_with('!'), "{name}");
            count += 1;
        }
        assert_eq!(count, 2_125);
    }

    #[test]
    fn references_are_decoded() {
        for (reference, expected) in [
            ("amp", "&"),
            ("ndash", "–"),
            ("pound", "£"),
            ("NotEqualTilde", "≂\u{338}"),
            ("#8364", "€"),
            ("#x20AC", "€"),
            ("#X1F600", "😀"),
            ("#146", "’"),
            ("#0", "\u{fffd}"),
            ("#9999999", "\u{fffd}"),
            ("#xd800", "\u{fffd}"),
        ] {
            assert_eq!(decode(reference, true).as_deref(), Some(expected), "{reference}");
        }
        for unknown in ["", "#", "#x", "#12a", "#99999999", "Amp", "ampx", "zzz", " ", "a b"] {
            assert_eq!(decode(unknown, true), None, "{unknown}");
        }
        assert_eq!(decode("copy", false).as_deref(), Some("©"));
        assert_eq!(decode("hellip", false), None);
    }
}
