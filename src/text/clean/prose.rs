//! Evidence that text is prose, and no code: words and sentences.

use crate::text::language::is_unspaced;
use serde::{Deserialize, Serialize};

/// Fewest words and sentences in a row that are prose. Licenses in comments of code have fewer.
pub(super) const MIN_WORDS: usize = 200;
pub(super) const MIN_SENTENCES: usize = 8;
/// Fewest words of the end of a text that are prose.
const MIN_LAST_WORDS: usize = 10;

/// Counts the words and sentences since the last mark of code. Tags do not count.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Prose {
    /// True for code: words in its strings do not count.
    is_code: bool,
    letters: usize,
    words: usize,
    sentences: usize,
    is_after_stop: bool,
    previous: Option<char>,
    /// True between `<` and `>`.
    is_in_tag: bool,
    /// The mark that closes the string.
    string: Option<char>,
    /// True if the end of a line, and of a text before a tag, ends a sentence.
    has_lines: bool,
    /// Words before this line.
    before_line: usize,
}

impl Prose {
    pub(super) fn of_code() -> Prose {
        Prose { is_code: true, ..Prose::default() }
    }

    /// The content of a tag, which may be a page with its lists and verses if a quote in the tag has no end.
    pub(super) fn of_tag() -> Prose {
        Prose { has_lines: true, ..Prose::default() }
    }

    /// True if a text has prose in it.
    pub(super) fn occurs_in(mut self, text: &str) -> bool {
        text.chars().any(|c| {
            self.read(c);
            self.is_certain()
        })
    }

    /// Takes the next character. Returns true if it is a mark of code.
    pub(super) fn read(&mut self, c: char) -> bool {
        let previous = self.previous.replace(c);
        if let Some(end) = self.string {
            if previous == Some('\\') {
                self.previous = None;
            } else if c == end || c == '\n' && end != '`' {
                self.string = None;
            }
            return false;
        }
        if self.is_in_tag && c != '<' {
            self.is_in_tag = c != '>';
            return self.is_code && matches!(c, '{' | '}') && self.forget();
        }
        let is_code_mark = matches!(c, '{' | '}' | '\\' | '=') || c == '\n' && previous == Some(';');
        let is_in_word = self.letters > 0;
        match c {
            _ if is_code_mark && self.is_code => return self.forget(),
            '"' | '`' if self.is_code => self.string = Some(c),
            '\'' if self.is_code && !is_in_word => self.string = Some(c),
            '\'' | '’' | '-' if is_in_word => self.letters += 1,
            _ if c.is_alphabetic() => {
                self.letters += 1;
                self.is_after_stop = false;
            }
            '.' | '!' | '?' => {
                self.is_after_stop = self.letters >= 2;
                self.end_word();
            }
            _ if c.is_whitespace() || c == '<' => {
                self.end_word();
                self.sentences += usize::from(std::mem::take(&mut self.is_after_stop));
                self.is_in_tag = c == '<';
                // Lines of data have no white space within.
                let least = if c == '<' { 1 } else { 2 };
                if self.has_lines && matches!(c, '<' | '\n') {
                    self.sentences += usize::from(self.words >= self.before_line + least);
                    self.before_line = self.words;
                }
            }
            ',' | ';' | ':' | ')' | '"' | '”' => self.end_word(),
            _ => self.letters = 0,
        }
        false
    }

    fn end_word(&mut self) {
        self.words += usize::from((2..=24).contains(&self.letters));
        self.letters = 0;
    }

    /// Begins to count again. Returns true.
    pub(super) fn forget(&mut self) -> bool {
        (self.letters, self.words, self.sentences, self.is_after_stop) = (0, 0, 0, false);
        self.before_line = 0;
        true
    }

    /// True if this can hardly be code.
    pub(super) fn is_certain(&self) -> bool {
        self.words >= MIN_WORDS && self.sentences >= MIN_SENTENCES
    }

    /// The same, for the end of a text.
    pub(super) fn is_likely(&self) -> bool {
        self.words >= MIN_LAST_WORDS && (self.sentences > 0 || self.is_after_stop)
    }
}

/// True if two thirds of a text are words: letters between white space, or of a script without spaces. Data are none:
/// figures, marks, and runs of letters that are too long.
pub(super) fn is_worded(text: &str) -> bool {
    const MOST: usize = 24;
    let unspaced = |token: &str| token.chars().filter(|c| is_unspaced(*c)).map(char::len_utf8).sum::<usize>();
    let words = text.split_whitespace().map(|token| {
        let word = token.trim_end_matches(['.', ',', ';', ':', '!', '?', '"', '”', ')']);
        let mut letters = word.trim_start_matches(['"', '“', '(', '-', '–']).chars();
        let is_word = (2..=MOST).contains(&letters.clone().count())
            && letters.all(|c| c.is_alphabetic() || matches!(c, '\'' | '’' | '-'));
        if is_word { token.len() + 1 } else { unspaced(token) }
    });
    words.sum::<usize>() * 3 > text.len() * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut prose: Prose, text: &str) -> (bool, bool) {
        let mut is_certain = false;
        for c in text.chars() {
            prose.read(c);
            is_certain |= prose.is_certain();
        }
        (is_certain, prose.is_likely())
    }

    #[test]
    fn prose_is_known_by_its_words_and_sentences() {
        let sentence = "It was a quiet <b>evening</b> in the old town. ";
        for (code, page) in [("x < y; ", "x > y "), ("a(b, c).then(d);\n", "secret "), ("p q r s. ", "")] {
            assert_eq!(read(Prose::of_code(), &code.repeat(2_000)), (false, false), "{code}");
            assert_eq!(read(Prose::default(), &page.repeat(2_000)), (false, false), "{page}");
        }
        for prose in [Prose::default(), Prose::of_code()] {
            assert_eq!(read(prose.clone(), &sentence.repeat(40)), (true, true));
            assert_eq!(read(prose.clone(), &sentence.repeat(10)), (false, true));
            assert_eq!(read(prose, sentence), (false, false));
        }
        for code in [
            format!("{{\"body\": \"{}\"}}", sentence.repeat(80)),
            format!("let a = '{}';", sentence.repeat(80)),
            format!("{sentence}\nf(x) {{ y }}\n").repeat(80),
            format!("\"a \\\" b. {sentence}\",\n").repeat(80),
        ] {
            assert!(!read(Prose::of_code(), &code).0, "{}", &code[..60]);
        }
    }
}
