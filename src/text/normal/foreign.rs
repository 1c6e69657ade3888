//! Figures of languages that write a comma before decimals, as English writes them: "1.234,5" is "1,234.5".

use super::abbreviations::lists;
use super::output::{Changed, Output};

/// First parts of the tags of such languages.
const LANGUAGES: &str =
    "de fr es ca gl it pt nl da sv no nb nn fi is pl cs sk sl hr sr ro hu tr el ru uk bg lt lv et id vi";

/// Tags of those languages in countries that write a point.
const WITH_POINT: &str = "de-ch de-li es-mx es-us es-pr es-do es-gt es-hn es-ni es-pa es-sv es-419";

/// True if a language has a comma before decimals.
pub(super) fn has_decimal_comma(language: &str) -> bool {
    let tag = language.to_ascii_lowercase().replace('_', "-");
    lists(LANGUAGES, tag.split('-').next().unwrap_or_default()) && !lists(WITH_POINT, &tag)
}

/// Returns the text with its figures as English writes them, or `None` if it is the same.
pub(super) fn with_points(text: &str, most: usize) -> Option<Changed> {
    let bytes = text.as_bytes();
    let digits =
        |at: usize| at + bytes[at.min(bytes.len())..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut out = Output::new(text, most);
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(u8::is_ascii_digit) {
        let start = at + found;
        let first = digits(start);
        let mut end = first;
        while bytes.get(end) == Some(&b'.') && digits(end + 1) == end + 4 {
            end += 4;
        }
        let is_grouped = end > first && first <= start + 3 && bytes[start] != b'0';
        let end = if is_grouped { end } else { first };
        let decimals = if bytes.get(end) == Some(&b',') { digits(end + 1) } else { end };
        let has_decimals = decimals > end + 1;
        let last = if has_decimals { decimals } else { end };
        // "1,2,3" is a list, and "1.234.5" a version.
        let goes_on = matches!(bytes.get(last), Some(b'.' | b',')) && digits(last + 1) > last + 1;
        let is_apart =
            !text[..start].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | ',' | '_'));
        if is_apart && !goes_on {
            for point in (first..end).step_by(4) {
                out.put(point..point + 1, ",");
            }
            if has_decimals {
                out.put(end..end + 1, ".");
            }
        }
        at = last;
    }
    out.finish()
}
