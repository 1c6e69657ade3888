//! Keeps what people say out of the operator's log: services and programs that fail like to quote
//! what they were asked to speak.

use std::borrow::Cow;

/// Words in a row that make a quotation.
const WORDS: usize = 3;

/// What stands in the place of it, and of all behind it.
const WITHHELD: &str = "(the rest quotes what is spoken)";

/// The line up to where it quotes one of the texts: so many words of it in a row, however they are
/// punctuated, quoted or escaped, or a shorter one as it stands.
pub(crate) fn redact<'a>(line: &'a str, texts: &[&str]) -> Cow<'a, str> {
    let words = words(line);
    let first = texts.iter().filter_map(|text| quotation(line, &words, text)).min();
    match first {
        None => Cow::Borrowed(line),
        Some(start) => Cow::Owned(format!("{}{WITHHELD}", &line[..start])),
    }
}

/// Where a line begins to quote a text.
fn quotation(line: &str, line_words: &[(usize, &str)], text: &str) -> Option<usize> {
    let text_words: Vec<&str> = words(text).into_iter().map(|(_, word)| word).collect();
    match text_words.len() {
        0 => return None,
        // A word or two of it are in many a line that quotes nothing.
        1..WORDS => return line.find(text.trim()),
        _ => {}
    }
    let is_quoted = |window: &[(usize, &str)]| {
        let mut runs = text_words.windows(WORDS);
        runs.any(|run| run.iter().zip(window).all(|(a, (_, b))| a.eq_ignore_ascii_case(b)))
    };
    line_words.windows(WORDS).find(|window| is_quoted(window)).map(|window| window[0].0)
}

/// Runs of letters and digits, with their places.
fn words(text: &str) -> Vec<(usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric();
    text.split(|c: char| !is_word(c))
        .filter(|word| !word.is_empty())
        // Slices of the text: where they begin is the distance from its beginning.
        .map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotations_are_cut_off_and_nothing_else_is() {
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
