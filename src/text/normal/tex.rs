//! Formulas of TeX: where they are, and the words for their marks that other texts do not have.

use super::abbreviations::lists;
use super::english::Reader;
use super::walk::Walk;
use super::{numbers, operands, symbols};
use crate::text::language::ceil_char_boundary;

impl Reader<'_> {
    /// Reads a sign that formulas have, or a dollar sign, and returns its end.
    pub(super) fn formula_sign(&mut self, at: usize, c: char) -> Option<usize> {
        let end = at + c.len_utf8();
        let (before, after) = (self.before(at), self.at(end));
        match c {
            _ if at == self.limit_end => {
                let high = end + usize::from(c == '}' && after == Some('^'));
                let is_upper = c == '^' || high > end;
                let is_braced = is_upper && self.at(high) == Some('{');
                if is_braced {
                    self.power_end = self.short_run(high, 64, |c| c != '}');
                }
                return Some(self.called(
                    at,
                    high + usize::from(is_braced),
                    if is_upper { "to" } else { "" },
                ));
            }
            ')' | '}' if at == self.power_end => {
                let is_glued = after.is_some_and(char::is_alphanumeric);
                self.out.put(at..end, if is_glued { " " } else { "" });
                return Some(end);
            }
            '}' if at == self.arrow_end.0 => return Some(self.called(at, end, self.arrow_end.1)),
            '⁄' => return Some(self.called(at, end, "over")),
            '\\' if at == self.math.end => return Some(self.called(at, end + 1, "")),
            '\\' if !self.is_math(at)
                && let Some(last) = operands::brackets_end(self.s, at) =>
            {
                self.math = end + 1..last;
                return Some(self.called(at, end + 1, ""));
            }
            '$' if at == self.math.end => {
                let run = self.run(at, |c| c == '$');
                let last = self.called(at, run.min(end + 1), "");
                // "$450$ nm"
                let next = self.skip_space(last);
                if next > last
                    && self.figure_end == at
                    && let Some(unit) = self.unit_at(next, false)
                {
                    self.say(next..unit.end, &unit.many);
                    return Some(unit.end);
                }
                return Some(last);
            }
            // "$A$1", a cell of a table
            '$' if after.is_some_and(|c| c.is_ascii_uppercase()) && {
                let column = self.letters(end);
                column <= end + 2 && self.is_digit(column + usize::from(self.at(column) == Some('$')))
            } =>
            {
                let column = self.letters(end);
                let row = column + usize::from(self.at(column) == Some('$'));
                let words = format!("{} {}", &self.s[end..column], &self.s[row..self.digits(row)]);
                return Some(self.called(at, self.digits(row), &words));
            }
            // A prompt: "$ git log"
            '$' if before.is_none_or(|c| c == '\n')
                && after == Some(' ')
                && self.at(end + 1).is_some_and(|c| c.is_ascii_lowercase()) =>
            {
                return Some(self.called(at, end, ""));
            }
            '$' => {
                if let Some(last) = operands::formula_end(self.s, at)
                    && before != Some('\\')
                {
                    let run = self.run(at, |c| c == '$').min(end + 1);
                    self.math = run..last;
                    return Some(self.called(at, run, ""));
                }
                return Some(self.currency(at, end, c));
            }
            '\\' if self.is_letter(end) => {
                let letters = self.letters(end);
                let name = &self.s[end..letters];
                if let Some(ended) = self.environment(at, letters) {
                    return Some(ended);
                }
                if let Some(ended) = self.labelled_arrow(at, letters) {
                    return Some(ended);
                }
                if name == "langle"
                    && let Some(words) = self.angle(letters, "\\rangle")
                {
                    return Some(self.called_apart(at, letters, words));
                }
                // "f \\circ g"
                if name == "circ" && before == Some(' ') {
                    return Some(self.called_apart(at, letters, "composed with"));
                }
                if name == "log" && self.at(letters) == Some('_') {
                    return Some(self.called(at, letters + 1, "log base"));
                }
                if name == "sqrt"
                    && let Some((words, ended)) = self.root(letters)
                {
                    return Some(self.called_apart(at, ended, &words));
                }
                // "\\hat{x}", "\\hat{\\beta}"
                let inner = letters + 1 + usize::from(self.at(letters + 1) == Some('\\'));
                let close = self.letters(inner);
                if let Some(accent) = symbols::accent(name)
                    && self.at(letters) == Some('{')
                    && close > inner
                    && self.at(close) == Some('}')
                {
                    let base = &self.s[inner..close];
                    let base = symbols::command(base).filter(|_| inner > letters + 1).unwrap_or(base);
                    return Some(self.called(at, close + 1, &format!("{base} {accent}")));
                }
                // A word that only lays out is silent in a formula: not in "C:\\left", nor alone.
                let is_layout = |words: &str| {
                    matches!(words, "" | "and so on")
                        && !self.is_math(at)
                        && !matches!(self.at(letters), Some('{' | '(' | '[' | ')' | ']' | '|' | '\\'))
                        && !operands::is_algebra(self.left(at))
                        && !operands::is_algebra(self.right(letters))
                };
                let is_path = matches!(before, Some(':')) && !self.is_math(at);
                if let Some(words) = symbols::command(name).filter(|words| !is_path && !is_layout(words)) {
                    if matches!(name, "sum" | "int" | "prod" | "oint" | "lim")
                        && let Some(low) = self.limits(letters)
                    {
                        let joint = if name == "lim" { "as" } else { "from" };
                        return Some(self.called(at, low, &format!("{words} {joint}")));
                    }
                    return Some(self.called_apart(at, letters, words));
                }
            }
            // "\\|v\\|", "|x|", "P(A|B)"
            '\\' | '|' | '‖' if let Some((ended, words)) = self.bar(at) => {
                return Some(self.called_apart(at, ended, words));
            }
            '⟩' => return Some(self.called(at, end, "")),
            '⟨' if let Some(words) = self.angle(end, "⟩") => {
                return Some(self.called_apart(at, end, words));
            }
            // The end of a row: "1 & 2 \\\\ 3 & 4"
            '\\' if after == Some('\\') && !self.at(end + 1).is_some_and(char::is_alphanumeric) => {
                return Some(self.called(at, end + 1, ","));
            }
            // "\\{1, 2\\}", "10\\%", "a\\,b"
            '\\' if after.is_some_and(|c| matches!(c, '{' | '}' | '%' | '$' | '_' | '#' | '&'))
                || after.is_some_and(|c| matches!(c, ',' | ';' | ':' | '!')) && self.is_math(at) =>
            {
                let is_space = matches!(after, Some(',' | ';' | ':' | '!' | '_'));
                self.out.put(at..end + usize::from(is_space), if is_space { " " } else { "" });
                return Some(end + usize::from(is_space));
            }
            // "a_{ij}"
            '_' if let Some(ended) = self.indices(at) => return Some(ended),
            '_' if after == Some('{') && (self.is_math(at) || before.is_some_and(char::is_alphanumeric)) => {
                self.out.put(at..end + 1, " ");
                return Some(end + 1);
            }
            '!' if self.is_factorial(at, end) => return Some(self.called(at, end, "factorial")),
            '\'' if after == Some('\'') && self.is_derivative(at, end + 1) => {
                return Some(self.called(at, end + 1, "double prime"));
            }
            '\'' | '′' if self.is_derivative(at, end) => return Some(self.called(at, end, "prime")),
            '}' if after == Some('{') => return Some(self.called(at, end + 1, "over")),
            '{' | '}' if self.is_math(at) => {
                let is_joint =
                    c == '}' && [before, after].iter().all(|c| c.is_some_and(char::is_alphanumeric));
                self.out.put(at..end, if is_joint { " " } else { "" });
                return Some(end);
            }
            _ => return None,
        }
        Some(end)
    }

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
