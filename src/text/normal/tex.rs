//! Formulas of TeX: where they are, and the words for their marks that other texts do not have.

use super::abbreviations::lists;
use super::english::Reader;
use super::walk::Walk;
use super::{numbers, symbols};
use crate::text::language::ceil_char_boundary;

impl Reader<'_> {
    /// True within a formula of TeX.
    pub(super) fn is_math(&self, at: usize) -> bool {
        self.math.contains(&at)
    }

    /// Start of the lower limit behind a sum or an integral of TeX: the "0" of "\\int_0^1", the "i" of "\\sum_{i=1}^n".
    pub(super) fn limits(&mut self, at: usize) -> Option<usize> {
        const MOST: usize = 40;
        if self.at(at) != Some('_') {
            return None;
        }
        if self.at(at + 1) != Some('{') {
            let low = at + 1;
            let end = low + self.at(low).filter(|c| c.is_alphanumeric())?.len_utf8();
            if self.at(end) == Some('^') {
                self.limit_end = end;
            }
            return Some(low);
        }
        let end = self.short_run(at + 2, MOST, |c| !matches!(c, '{' | '}' | '\n'));
        if self.at(end) != Some('}') {
            return None;
        }
        self.limit_end = end;
        Some(at + 2)
    }

    /// True for a mark between columns, in a line with rows or marks of TeX.
    pub(super) fn is_column(&self, at: usize) -> bool {
        const MOST: usize = 64;
        let begin = ceil_char_boundary(self.s, at.saturating_sub(MOST));
        let left = self.s[begin..at].rsplit('\n').next().unwrap_or_default();
        let right = self.s[at..self.short_run(at, MOST, |c| c != '\n')].trim_end();
        let has_mark = |part: &str| [" \\\\ ", "\\begin{", "\\end{"].iter().any(|mark| part.contains(mark));
        has_mark(left) || has_mark(right) || right.ends_with("\\\\")
    }

    /// The end of a mark around lines of TeX, which is silent but for a matrix: "\\begin{pmatrix}".
    pub(super) fn environment(&mut self, at: usize, from: usize) -> Option<usize> {
        const MOST: usize = 16;
        let name = &self.s[at + 1..from];
        if !lists("begin end", name) || self.at(from) != Some('{') {
            return None;
        }
        let close = self.short_run(from + 1, MOST, |c| c.is_ascii_alphabetic() || c == '*');
        if self.at(close) != Some('}') || close == from + 1 {
            return None;
        }
        let mut last = close + 1;
        // The columns of a table: "{cc}".
        if self.at(last) == Some('{') {
            let columns = self.short_run(last + 1, MOST, |c| matches!(c, 'l' | 'c' | 'r' | '|' | ' '));
            last = if self.at(columns) == Some('}') { columns + 1 } else { last };
        }
        let is_matrix = name == "begin" && self.s[from..close].contains("matrix");
        Some(self.called_apart(at, last, if is_matrix { "matrix" } else { "" }))
    }

    /// Reads several indices of TeX one by one: the "_{ij}" of "a_{ij}".
    pub(super) fn indices(&mut self, at: usize) -> Option<usize> {
        const MOST: usize = 3;
        let from = at + 2;
        let end = self.short_run(from, MOST, |c| matches!(c, 'i'..='n'));
        if !self.is_math(at)
            || self.at(at + 1) != Some('{')
            || self.at(end) != Some('}')
            || end < from + 2
            || lists("in min", &self.s[from..end])
        {
            return None;
        }
        let mut words = String::new();
        for index in self.s[from..end].chars() {
            numbers::add(&mut words, index.encode_utf8(&mut [0; 4]));
        }
        Some(self.called_apart(at, end + 1, &words))
    }

    /// The command of an arrow with a label, whose words are around the label: "\\xrightarrow{f}".
    pub(super) fn labelled_arrow(&mut self, at: usize, letters: usize) -> Option<usize> {
        const MOST: usize = 16;
        let words = match &self.s[at + 1..letters] {
            "xrightarrow" | "xlongrightarrow" => "to",
            "xleftarrow" => "from",
            "xleftrightarrow" => "to and from",
            _ => return None,
        };
        let is_below = self.at(letters) == Some('[');
        let label = if is_below { self.short_run(letters, MOST, |c| c != ']') + 1 } else { letters };
        if self.at(label) != Some('{') {
            return None;
        }
        let end = self.closing(label + 1)?;
        if self.s[label + 1..end].trim().is_empty() && !is_below {
            return Some(self.called_apart(at, end + 1, words));
        }
        self.arrow_end = (end, words);
        Some(self.called_apart(at, letters, "by"))
    }

    /// The place of the bracket that closes the one in front of a position.
    pub(super) fn closing(&self, from: usize) -> Option<usize> {
        const MOST: usize = 64;
        let mut depth = 1;
        let mut inner = self.s[from..].char_indices().take(MOST);
        inner.find_map(|(length, c)| {
            depth += match c {
                '(' | '{' => 1,
                ')' | '}' => -1,
                _ => 0,
            };
            (depth == 0).then_some(from + length)
        })
    }

    /// The words of a root with its degree, and the end of that: "[3]" of "\\sqrt[3]{27}".
    pub(super) fn root(&self, at: usize) -> Option<(String, usize)> {
        const MOST: usize = 8;
        let close = self.short_run(at + 1, MOST, char::is_alphanumeric);
        if self.at(at) != Some('[') || self.at(close) != Some(']') {
            return None;
        }
        let degree = &self.s[at + 1..close];
        let mut words = String::new();
        match (degree, numbers::value(degree)) {
            ("2", _) => words.push_str("square"),
            ("3", _) => words.push_str("cube"),
            (_, Some(degree)) => numbers::ordinal(&mut words, degree),
            _ => words = format!("{degree} th"),
        }
        Some((words + " root of", close + 1))
    }

    /// The end of degrees of TeX behind a figure, and their words: "^\\circ", "^{\\circ}\\text{C}".
    pub(super) fn tex_degrees(&self, at: usize) -> Option<(usize, &'static str)> {
        let inner =
            self.s[at..].strip_prefix("^{\\circ}").or_else(|| self.s[at..].strip_prefix("^\\circ"))?;
        let end = self.s.len() - inner.len();
        let scale = ["\\,", "\\text{", "\\mathrm{", "\\rm{", " "]
            .iter()
            .fold(inner, |rest, part| rest.strip_prefix(part).unwrap_or(rest));
        let words = match scale.chars().next() {
            Some('C') => "degrees Celsius",
            Some('F') => "degrees Fahrenheit",
            _ => return Some((end, "degrees")),
        };
        let last = self.s.len() - scale.len() + 1;
        if self.at(last).is_some_and(char::is_alphanumeric) {
            return Some((end, "degrees"));
        }
        Some((last + usize::from(self.at(last) == Some('}')), words))
    }

    /// True for a dash between spaces beside a term of TeX: "x^{2} - 1", "\\alpha - \\beta".
    pub(super) fn is_beside_tex(&self, at: usize, end: usize) -> bool {
        let (Some(left), Some(right)) = (self.left(at).strip_suffix(' '), self.right(end).strip_prefix(' '))
        else {
            return false;
        };
        let is_command = |term: &str| {
            term.strip_prefix('\\').is_some_and(|name| {
                let name =
                    &name[..name.len() - name.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len()];
                symbols::command(name).is_some()
            })
        };
        let last = left.rsplit(' ').next().unwrap_or_default();
        let is_braced = last.ends_with('}') && ["^{", "_{", "\\"].iter().any(|mark| last.contains(mark));
        is_braced || is_command(last) || is_command(right)
    }

    /// True for a dash of a formula that is no hyphen of a word in it.
    pub(super) fn is_minus_of_formula(&self, at: usize, end: usize) -> bool {
        let begins = self.letters(end);
        let ends = self.s[..at].trim_end_matches(char::is_alphabetic).len();
        let is_command = self.s[..ends].ends_with('\\');
        let is_word = at > ends + 1 && begins > end + 1 && !is_command;
        // "a -> b", "--"
        self.is_math(at)
            && !is_word
            && !matches!(self.at(end), Some('>' | '-'))
            && self.before(at) != Some('-')
    }
}
