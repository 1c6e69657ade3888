//! Foreign text in a message about it.

/// Most characters that are repeated.
const MAX_CHARS: usize = 40;

/// The beginning of a text in quotes, with escapes for control characters and marks.
pub(crate) fn quoted(text: &str) -> String {
    let mut cut: String = text.chars().take(MAX_CHARS).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_is_short_and_on_one_line() {
        assert_eq!(quoted(""), r#""""#);
        assert_eq!(quoted("a \"b\"\n\u{1b}[2J"), r#""a \"b\"\n\u{1b}[2J""#);
        assert_eq!(quoted(&"ä".repeat(40)), format!("{:?}", "ä".repeat(40)));
        assert_eq!(quoted(&"ä".repeat(41)), format!("\"{}…\"", "ä".repeat(40)));
    }
}
