//! Keeps spoken text out of the operator's log: failing services and programs often quote it.

use std::borrow::Cow;

/// Number of words in a row that make a quotation.
const WORDS: usize = 3;

/// Replacement for a quotation and the rest of its line.
const WITHHELD: &str = "(the rest quotes the spoken text)";

/// Cuts a line off where it quotes one of the texts.
///
/// A quotation is three words of a text in a row, whatever the punctuation, quotes or escapes between them. A
/// shorter text must match as a whole.
pub(crate) fn redact<'a>(line: &'a str, texts: &[&str]) -> Cow<'a, str> {
    let words = words(line);
    let first = texts.iter().filter_map(|text| quotation(line, &words, text)).min();
    match first {
        None => Cow::Borrowed(line),
        Some(start) => Cow::Owned(format!("{}{WITHHELD}", &line[..start])),
    }
}

/// Returns the start of a quotation of the text.
fn quotation(line: &str, line_words: &[(usize, &str)], text: &str) -> Option<usize> {
    let text_words: Vec<&str> = words(text).into_iter().map(|(_, word)| word).collect();
    match text_words.len() {
        0 => return None,
        // One or two words may match by chance, so the whole text has to.
        1..WORDS => return line.find(text.trim()),
        _ => {}
    }
    let is_quoted = |window: &[(usize, &str)]| {
        let mut runs = text_words.windows(WORDS);
        runs.any(|run| run.iter().zip(window).all(|(a, (_, b))| a.eq_ignore_ascii_case(b)))
    };
    line_words.windows(WORDS).find(|window| is_quoted(window)).map(|window| window[0].0)
}

/// Returns the runs of letters and digits, with their positions.
fn words(text: &str) -> Vec<(usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric();
    text.split(|c: char| !is_word(c))
        .filter(|word| !word.is_empty())
        // A slice of the text: the distance of the pointers is its position.
        .map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotations_alone_are_cut_off() {
        let text = "Good evening, the \"kettle\" is on.";
        for (line, expected) in [
            ("answered 500: out of memory", None),
            (
                "answered 422: {\"input\":\"Good evening, the \\\"kettle\\\" is on.\"}",
                Some("answered 422: {\"input\":\""),
            ),
            ("cannot say: GOOD EVENING THE", Some("cannot say: ")),
            ("cut: the kettle is", Some("cut: ")),
            ("good evening is no quotation, the kettle is", Some("good evening is no quotation, ")),
            ("the evening is good", None),
            ("", None),
        ] {
            let expected = expected.map_or(line.to_owned(), |kept| format!("{kept}{WITHHELD}"));
            assert_eq!(redact(line, &["", text]), expected, "{line}");
        }
        assert_eq!(redact("yes, it failed", &["Yes."]), "yes, it failed");
        assert_eq!(redact("it was asked for: Yes.", &["Yes. "]), format!("it was asked for: {WITHHELD}"));
        assert_eq!(redact("bad: Grüß Gott", &["Grüß Gott"]), format!("bad: {WITHHELD}"));
        assert_eq!(redact("bad: …", &["…"]), "bad: …");
    }
}
