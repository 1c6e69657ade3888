//! Signs: what they are called, and where they are spoken.

use super::abbreviations::lists;
use super::english::Reader;
use super::money;
use super::operands;
use super::symbols::{self, Arrow};
use super::walk::Walk;
use crate::text::language::{BASES, SHORT_WORDS, ceil_char_boundary, is_lone_mark, is_lone_sign};

impl Reader<'_> {
    /// Reads a sign, and returns its end. What is not known is copied.
    pub(super) fn sign(&mut self, at: usize, c: char) -> usize {
        let end = at + c.len_utf8();
        if let Some(run) = self.line(at, c) {
            // Between two letters it divides words.
            if self.before(at).is_some_and(char::is_alphanumeric)
                && self.at(run).is_some_and(char::is_alphanumeric)
            {
                self.out.put(at..run, " ");
            } else {
                self.say(at..run, "");
            }
            return run;
        }
        let (before, after) = (self.before(at), self.at(end));
        let is_open = before.is_none_or(|c| {
            c.is_whitespace()
                || matches!(
                    c,
                    '(' | '['
                        | '{'
                        | '"'
                        | '“'
                        | '\''
                        | '‘'
                        | '='
                        | '<'
                        | '>'
                        | ':'
                        | ','
                        | '/'
                        | '×'
                        | '*'
                        | '÷'
                        | '±'
                        | '–'
                        | '—'
                        | '≈'
                        | '≥'
                        | '≤'
                        | '~'
                        | '+'
                        | '^'
                        | '|'
                        | '$'
                        | '«'
                        | '‹'
                        | '…'
                )
        });
        let is_figure = self.begins_figure(end);
        let is_apart = before.is_none_or(char::is_whitespace) && after.is_none_or(char::is_whitespace);
        let joins_figures = before.is_some_and(|c| c.is_ascii_digit() || c == ')') || self.figure_end == at;
        let is_term = before.is_some_and(|c| c.is_alphanumeric() || c == ')')
            && after.is_some_and(|c| c.is_alphanumeric() || matches!(c, '(' | '∂'));
        match c {
            _ if at == self.limit_end => {
                let high = end + usize::from(c == '}' && after == Some('^'));
                let is_upper = c == '^' || high > end;
                let is_braced = is_upper && self.at(high) == Some('{');
                if is_braced {
                    self.power_end = self.short_run(high, 64, |c| c != '}');
                }
                return self.called(at, high + usize::from(is_braced), if is_upper { "to" } else { "" });
            }
            ')' | '}' if at == self.power_end => {
                let is_glued = after.is_some_and(char::is_alphanumeric);
                self.out.put(at..end, if is_glued { " " } else { "" });
                return end;
            }
            '}' if at == self.arrow_end.0 => return self.called(at, end, self.arrow_end.1),
            '⁄' => return self.called(at, end, "over"),
            '\\' if at == self.math.end => return self.called(at, end + 1, ""),
            '\\' if !self.is_math(at)
                && let Some(last) = operands::brackets_end(self.s, at) =>
            {
                self.math = end + 1..last;
                return self.called(at, end + 1, "");
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
                    return unit.end;
                }
                return last;
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
                return self.called(at, self.digits(row), &words);
            }
            // "2.5:1"
            ':' if joins_figures && is_figure && {
                let left = self.left(at);
                let number = left.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
                left[number.len()..].contains('.') && !self.is_letter(self.digits(end))
            } =>
            {
                return self.called(at, end, "to");
            }
            // A prompt: "$ git log"
            '$' if before.is_none_or(|c| c == '\n')
                && after == Some(' ')
                && self.at(end + 1).is_some_and(|c| c.is_ascii_lowercase()) =>
            {
                return self.called(at, end, "");
            }
            '$' => {
                if let Some(last) = operands::formula_end(self.s, at)
                    && before != Some('\\')
                {
                    let run = self.run(at, |c| c == '$').min(end + 1);
                    self.math = run..last;
                    return self.called(at, run, "");
                }
                return self.currency(at, end, c);
            }
            '\\' if self.is_letter(end) => {
                let letters = self.letters(end);
                let name = &self.s[end..letters];
                if let Some(ended) = self.environment(at, letters) {
                    return ended;
                }
                if let Some(ended) = self.labelled_arrow(at, letters) {
                    return ended;
                }
                if name == "langle"
                    && let Some(words) = self.angle(letters, "\\rangle")
                {
                    return self.called_apart(at, letters, words);
                }
                // "f \\circ g"
                if name == "circ" && before == Some(' ') {
                    return self.called_apart(at, letters, "composed with");
                }
                if name == "log" && self.at(letters) == Some('_') {
                    return self.called(at, letters + 1, "log base");
                }
                if name == "sqrt"
                    && let Some((words, ended)) = self.root(letters)
                {
                    return self.called_apart(at, ended, &words);
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
                    return self.called(at, close + 1, &format!("{base} {accent}"));
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
                        return self.called(at, low, &format!("{words} {joint}"));
                    }
                    return self.called_apart(at, letters, words);
                }
            }
            // "\\|v\\|", "|x|", "P(A|B)"
            '\\' | '|' | '‖' if let Some((ended, words)) = self.bar(at) => {
                return self.called_apart(at, ended, words);
            }
            '⟩' => return self.called(at, end, ""),
            '⟨' if let Some(words) = self.angle(end, "⟩") => return self.called_apart(at, end, words),
            // The end of a row: "1 & 2 \\\\ 3 & 4"
            '\\' if after == Some('\\') && !self.at(end + 1).is_some_and(char::is_alphanumeric) => {
                return self.called(at, end + 1, ",");
            }
            // "\\{1, 2\\}", "10\\%", "a\\,b"
            '\\' if after.is_some_and(|c| matches!(c, '{' | '}' | '%' | '$' | '_' | '#' | '&'))
                || after.is_some_and(|c| matches!(c, ',' | ';' | ':' | '!')) && self.is_math(at) =>
            {
                let is_space = matches!(after, Some(',' | ';' | ':' | '!' | '_'));
                self.out.put(at..end + usize::from(is_space), if is_space { " " } else { "" });
                return end + usize::from(is_space);
            }
            // "a_{ij}"
            '_' if let Some(ended) = self.indices(at) => return ended,
            '_' if after == Some('{') && (self.is_math(at) || before.is_some_and(char::is_alphanumeric)) => {
                self.out.put(at..end + 1, " ");
                return end + 1;
            }
            '!' if self.is_factorial(at, end) => return self.called(at, end, "factorial"),
            '\'' if after == Some('\'') && self.is_derivative(at, end + 1) => {
                return self.called(at, end + 1, "double prime");
            }
            '\'' | '′' if self.is_derivative(at, end) => return self.called(at, end, "prime"),
            '}' if after == Some('{') => return self.called(at, end + 1, "over"),
            '{' | '}' if self.is_math(at) => {
                let is_joint =
                    c == '}' && [before, after].iter().all(|c| c.is_some_and(char::is_alphanumeric));
                self.out.put(at..end, if is_joint { " " } else { "" });
                return end;
            }
            '"' => self.is_quoted = !self.is_quoted,
            '“' => self.is_quoted = true,
            '”' => self.is_quoted = false,
            '‘' => {
                // The wrong mark of "’90s".
                if self.at(end + 2) == Some('s')
                    && let Some(ended) = self.short_decade(at, end)
                {
                    return ended;
                }
                self.is_in_single = true;
            }
            '\'' | '’' => {
                if let Some(ended) = self.short_decade(at, end) {
                    return ended;
                }
                if before.is_none_or(|c| c.is_whitespace() || matches!(c, '(' | '"' | '“')) {
                    self.is_in_single = true;
                } else if !after.is_some_and(char::is_alphabetic) {
                    self.is_in_single = false;
                }
            }
            '.' if is_figure && (is_open || matches!(before, Some('-' | '−'))) && self.is_digit(end) => {
                return self.figure(at);
            }
            // "f(x)", "O(n log n)"
            '(' if let Some(close) = self.function(at, end) => {
                self.power_end = close;
                return self.called(at, end, "of");
            }
            '(' if self.is_digit(end) => {
                if let Some(ended) = self.phone(at) {
                    return ended;
                }
            }
            '-' | '*' | '/' if after == Some('=') && is_spaced(before) && is_spaced(self.at(end + 1)) => {
                let words = match c {
                    '-' => "minus equals",
                    '*' => "times equals",
                    _ => "divided by equals",
                };
                return self.called(at, end + 1, words);
            }
            '-' | '–' | '−' if self.is_minus_of_formula(at, end) => {
                return self.called_apart(at, end, "minus");
            }
            // "a-z"
            '-' | '–'
                if matches!(before, Some('a' | 'A'))
                    && after.is_some_and(|c| {
                        matches!(c, 'c'..='z' | 'C'..='Z')
                            && c.is_lowercase() == before.is_some_and(char::is_lowercase)
                    })
                    && !self
                        .at(end + 1)
                        .is_some_and(|c| c.is_alphanumeric() || matches!(c, '-' | '–' | '\'' | '’'))
                    && !self.s[..at - 1]
                        .ends_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '–')) =>
            {
                return self.called(at, end, "to");
            }
            // "git rebase -i"
            '-' if before == Some(' ')
                && after.is_some_and(|c| c.is_ascii_alphabetic() && c != 'I')
                && !self.at(end + 1).is_some_and(|c| c.is_alphanumeric() || "-_'’=".contains(c))
                && self.left(at).trim_end().ends_with(|c: char| c.is_ascii_lowercase() || c == '/')
                && !operands::is_between(self.s, at, end) =>
            {
                return self.called(at, end, "dash");
            }
            '-' if after == Some('-') && operands::counts_down(self.s, at) => {
                return self.called_apart(at, end + 1, "minus minus");
            }
            '+' if after == Some('+') && is_spaced(before) && self.letters(end + 1) == end + 2 => {
                return self.called(at, end + 1, "plus plus");
            }
            '–' | '-' | '—'
                if is_figure
                    && matches!(&self.s[self.word.clone()], "noon" | "Noon" | "midnight" | "Midnight")
                    && self.word.end == at =>
            {
                return self.called(at, end, "to");
            }
            '-' | '‑' | '–' if self.takes_away(at, end) || c != '–' && self.is_sign_behind(at, end) => {
                return self.called(at, end, if after == Some('(') { "minus " } else { "minus" });
            }
            '—' | '‒' | '‐' if is_figure && before.is_none_or(|c| c.is_whitespace() || c == '(') => {
                return self.called(at, end, "minus");
            }
            '-' | '−' | '‑' | '–'
                if is_figure && is_open && (c != '–' || before.is_none_or(|c| c != '-')) =>
            {
                self.say(at..end, "minus");
                return end;
            }
            '−' => {
                self.say(at..end, "minus");
                return end;
            }
            '-' if after == Some('>') => {
                self.say(at..end + 1, "to");
                return end + 1;
            }
            '(' if let Some((words, close)) = self.unit_in_brackets(end) => {
                return self.called(end, close, words);
            }
            // "Settings > Network > Wi-Fi"
            '>' if is_apart && self.is_menu(at, end) => return self.called(at, end, "then"),
            '*' if after == Some('*') && operands::is_between(self.s, at, end + 1) => {
                return self.called_apart(at, end + 1, "to the power of");
            }
            '-' if self.s[end..].starts_with("->") => return self.called(at, end + 2, "to"),
            // "PO #: 88-1204"
            '#' if matches!(after, Some(':' | '.'))
                && before == Some(' ')
                && !self.word_near(at, 0).is_empty() =>
            {
                return self.called(at, end, "number");
            }
            '%' if after == Some('=') && is_spaced(before) => return self.called(at, end + 1, "mod equals"),
            '%' if operands::is_modulo(self.s, at) => return self.called_apart(at, end, "mod"),
            // "7 // 2"
            '/' if after == Some('/') && is_spaced(before) && operands::is_between(self.s, at, end + 1) => {
                return self.called(at, end + 1, "slash slash");
            }
            // "5!=120", but "x!=5"
            '!' if joins_figures && after == Some('=') && self.is_digit(end + 1) => {
                return self.called(at, end + 1, "factorial equals");
            }
            '+' => {
                if is_figure
                    && is_open
                    && let Some(ended) = self.phone(at)
                {
                    return ended;
                }
                if after == Some('/') && self.s[end..].starts_with("/-") {
                    self.say(at..end + 2, "plus or minus");
                    return end + 2;
                }
                if before.is_some() && before != Some('\n') || is_figure || is_lone_sign(self.s) {
                    self.say(at..end, "plus");
                    return end;
                }
            }
            '.' | '…' if let Some(ended) = self.omitted_terms(at) => {
                return self.called(at, ended, "and so on");
            }
            '±' => return self.called(at, end, "plus or minus"),
            '∓' => return self.called(at, end, "minus or plus"),
            '✕' | '✖' if !operands::is_between(self.s, at, end) => {
                return self.called(at, end, "cross mark");
            }
            '×' | '✕' | '✖' | '⨯' => {
                let words = if self.s[end..].trim_start().is_empty() && joins_figures {
                    "times"
                } else {
                    self.product(at, end)
                };
                return self.called(at, end, words);
            }
            'х' => {}
            '÷' => return self.called(at, end, "divided by"),
            '*' | '/' if is_apart && operands::is_in_equation(self.s, at, end) => {
                return self.called(at, end, if c == '*' { "times" } else { "divided by" });
            }
            '*' if (joins_figures && is_figure) || (is_apart && self.figure_end.saturating_add(1) == at) => {
                return self.called(at, end, "times");
            }
            // "CuSO₄·5H₂O"
            '·' | '⋅' | '∙'
                if before.is_some_and(|c| matches!(c, '₀'..='₉'))
                    && after.is_some_and(char::is_alphanumeric) =>
            {
                return self.called(at, end, "dot");
            }
            '·' | '⋅' | '∙' if operands::multiplies(self.s, at, end, c) => {
                return self.called_apart(at, end, "times");
            }
            '′' | '″'
                if before.is_some_and(char::is_alphabetic) && !after.is_some_and(char::is_alphabetic) =>
            {
                return self.called(at, end, if c == '′' { "prime" } else { "double prime" });
            }
            '/' if is_apart && self.figure_end.saturating_add(1) == at => {
                let words = if self.is_equation(end) { "divided by" } else { "slash" };
                return self.called(at, end, words);
            }
            '/' if is_apart
                && operands::is_between(self.s, at, end)
                && (operands::is_algebra(self.left(at))
                    || operands::is_algebra(self.right(end))
                    || self.left(at).contains('(') && self.right(end).contains(')')) =>
            {
                return self.called_apart(at, end, "divided by");
            }
            '≥' | '⩾' => return self.called(at, end, "greater than or equal to"),
            '≤' | '⩽' => return self.called(at, end, "less than or equal to"),
            '≈' | '≅' | '≃' => {
                return self.called(
                    at,
                    end,
                    if before.is_none() || is_open && !is_apart { "about" } else { "approximately" },
                );
            }
            '~' | '∼' | '～' if is_figure && before.is_some_and(|c| c.is_ascii_digit()) => {
                return self.called(at, end, "to");
            }
            '∼' | '～' if is_figure => return self.called(at, end, "about"),
            '~' if is_figure && is_open => return self.called(at, end, "about"),
            '≠' => return self.called(at, end, "not equal to"),
            '≡' => return self.called(at, end, "equivalent to"),
            '∝' => return self.called(at, end, "proportional to"),
            '≪' => return self.called(at, end, "much less than"),
            '≫' => return self.called(at, end, "much greater than"),
            '∞' => return self.called(at, end, "infinity"),
            '√' => return self.called_apart(at, end, "square root of"),
            '∛' => return self.called(at, end, "cube root of"),
            '∑' => return self.called(at, end, "sum"),
            '∏' => return self.called(at, end, "product"),
            '∫' => return self.called(at, end, "integral"),
            '∂' => return self.called(at, end, "partial"),
            '∆' => return self.called(at, end, "delta"),
            '∇' => return self.called(at, end, "nabla"),
            '∈' => return self.called(at, end, "in"),
            '∉' => return self.called(at, end, "not in"),
            '∀' => return self.called(at, end, "for all"),
            '∃' => return self.called(at, end, "there exists"),
            '∪' => return self.called(at, end, "union"),
            '∩' => return self.called(at, end, "intersection"),
            '⊂' | '⊆' => return self.called(at, end, "subset of"),
            '∅' => return self.called(at, end, "empty set"),
            '∧' => return self.called(at, end, "and"),
            '∨' => return self.called(at, end, "or"),
            '¬' => return self.called(at, end, "not"),
            '∴' => return self.called(at, end, "therefore"),
            '⇒' | '⟹' => return self.called(at, end, "implies"),
            '⇔' | '⟺' => return self.called(at, end, "if and only if"),
            '=' => {
                if matches!(after, Some('=' | '>')) {
                    let words = if after == Some('>') { "implies" } else { "equals" };
                    return self.called(at, end + 1, words);
                }
                let is_changed = matches!(before, Some('+' | '-' | '*' | '/')) && after == Some(' ');
                let is_minus = matches!(after, Some('-' | '−'))
                    && self.begins_figure(end + after.map_or(0, char::len_utf8));
                let is_tex = before == Some('&') || self.is_math(at);
                if is_apart
                    || is_term
                    || is_figure
                    || joins_figures
                    || is_changed
                    || is_tex
                    || is_minus && !is_open
                {
                    return self.called(at, end, "equals");
                }
            }
            '!' if after == Some('=') => return self.called(at, end + 1, "not equal to"),
            '<' if self.s[end..].starts_with('3')
                && before.is_none_or(char::is_whitespace)
                && self.is_heart(end + 1) =>
            {
                return self.called(at, end + 1, "heart");
            }
            // A quoted mail: "> Hello"
            '>' if before.is_none_or(|c| c == '\n') && {
                let text = self.run(at, |c| matches!(c, '>' | ' '));
                text > end
                    && self.at(text).is_some_and(|c| c.is_alphabetic() || matches!(c, '"' | '“' | '‘' | '\''))
            } =>
            {
                let text = self.run(at, |c| matches!(c, '>' | ' '));
                return self.called(at, text, "");
            }
            // "<price>5</price>"
            '>' if before.is_some_and(char::is_alphanumeric) && {
                let left = self.left(at);
                let name =
                    left.trim_end_matches(|c: char| c.is_alphanumeric() || matches!(c, '/' | '-' | '_'));
                name.ends_with('<') && left[name.len()..].contains(char::is_alphabetic)
            } => {}
            '<' | '>' => {
                let words = if c == '<' { "less than" } else { "greater than" };
                if after == Some('=') {
                    return self.called(at, end + 1, &format!("{words} or equal to"));
                }
                let is_minus = matches!(after, Some('-' | '−'))
                    && self.begins_figure(end + after.map_or(0, char::len_utf8));
                // "x<y", but "f<T>"
                let is_compared = operands::is_between(self.s, at, end)
                    && !is_spaced(before)
                    && !matches!(self.at(self.run(end, char::is_alphanumeric)), Some('<' | '>'))
                    && !self.left(at).contains(['<', '>']);
                if is_figure || is_apart || is_minus || is_compared {
                    return self.called(at, end, words);
                }
            }
            '|' if after == Some('|') && self.at(end + 1).is_some_and(char::is_whitespace) => {
                return self.called(at, end + 1, "or");
            }
            // Columns of TeX: "x &= 1", "a & b \\\\ c & d"
            '&' if self.is_math(at) || self.is_column(at) => {
                let is_sign = after.is_some_and(|c| "=<>≤≥≈+-".contains(c));
                return self.called_apart(at, end, if is_sign { "" } else { "," });
            }
            '&' if after == Some('&') => return self.called(at, end + 1, "and"),
            '&' if is_apart || is_term => return self.called(at, end, "and"),
            '@' if is_apart || after.is_some_and(char::is_alphanumeric) || is_figure => {
                return self.called(at, end, "at");
            }
            '#' if is_lone_sign(self.s) => return self.called(at, end, "hash"),
            '#' => {
                if is_figure && !before.is_some_and(char::is_alphanumeric) {
                    return self.called(at, end, "number");
                }
                if after.is_some_and(char::is_alphabetic) && is_open {
                    // "Order #A-1029-X"
                    let letters = self.run(end, |c| c.is_ascii_uppercase());
                    let is_code =
                        letters <= end + 4 && self.at(letters) == Some('-') && self.is_digit(letters + 1);
                    return self.called(at, end, if is_code { "number" } else { "hashtag" });
                }
                if before.is_some_and(|c| c.is_ascii_uppercase()) && !after.is_some_and(char::is_alphanumeric)
                {
                    // "C#", but "ID# 5"
                    let is_note = self.word.end == at && self.word.len() == 1;
                    return self.called(at, end, if is_note { "sharp" } else { "number" });
                }
            }
            // "AUC0–24"
            '–' if is_figure && before.is_some_and(|c| c.is_ascii_digit()) => {
                return self.called(at, end, "to");
            }
            // "x̄"
            '\u{302}'..='\u{308}' | '\u{20d7}'
                if before.is_some_and(char::is_alphabetic)
                    && self.is_accented(at - before.map_or(0, char::len_utf8), at) =>
            {
                return self.called(at, end, symbols::accent_of(c).unwrap_or_default());
            }
            '☎' | '☏' | '✆' => {
                let next = self.skip_space(end);
                let is_number = self.is_digit(next + usize::from(matches!(self.at(next), Some('+' | '('))));
                return self.called(at, end, if is_number || is_lone_sign(self.s) { "phone" } else { "" });
            }
            '✉' => {
                let next = self.skip_space(end);
                let run = &self.s[next..self.short_run(next, 64, |c| !c.is_whitespace())];
                return self.called(at, end, if run.contains('@') { "mail" } else { "" });
            }
            '⚠' => {
                let next = self.short_run(end, 8, |c| !c.is_alphanumeric() && c != '\n');
                let word = self.s[next..self.letters(next)].to_ascii_lowercase();
                let is_said = lists("warning caution danger attention alert note notice important", &word);
                return self.called(at, end, if is_said { "" } else { "warning" });
            }
            '♯' => return self.called(at, end, "sharp"),
            '♭' => return self.called(at, end, "flat"),
            '%' | '٪' => return self.called(at, end, "percent"),
            '‰' => return self.called(at, end, "per mille"),
            '§' => {
                let run = self.run(at, |c| c == '§');
                return self.called(at, run, if run > end { "sections" } else { "section" });
            }
            '¶' => {
                let run = self.run(at, |c| c == '¶');
                return self.called(at, run, if run > end { "paragraphs" } else { "paragraph" });
            }
            '№' => return self.called(at, end, "number"),
            '⌀' => return self.called(at, end, "diameter"),
            '©' => return self.called(at, end, "copyright"),
            '®' => return self.called(at, end, "registered"),
            '™' => return self.called(at, end, "trademark"),
            '℠' => return self.called(at, end, "service mark"),
            '°' | 'º' => {
                if let Some((words, ended)) = self.degree(at, false) {
                    if let Some((per, last)) = self.divided(ended).filter(|(per, _)| per.starts_with("per")) {
                        return self.called(at, last, &format!("{} {per}", words.1));
                    }
                    self.parted = Some((ended, '°'));
                    return self.called(at, ended, words.1);
                }
            }
            '☆' if self.s[at..].starts_with("☆☆☆☆☆") && before != Some('☆') => {
                let run = self.run(at, |c| c == '☆');
                let is_rating = self.s[at..run].chars().nth(5).is_none() && !self.s[run..].contains('☆');
                return self.called(at, run, if is_rating { "zero stars" } else { "" });
            }
            '★' | '⭐' => {
                let run = self.run(at, |c| c == '★' || c == '⭐');
                let is_counted = self.figure_end == at || joins_figures;
                // The emoji decorates.
                if c == '⭐' && run == end && !is_counted && !is_figure {
                    return end;
                }
                if run == end && !matches!(self.at(run), Some('☆' | '½')) {
                    return self.called(at, run, if is_counted { "stars" } else { "star" });
                }
                let stars = self.s[at..run].chars().count() as u64;
                let mut words = String::new();
                super::numbers::number(&mut words, stars);
                let half = self.run(run, |c| c == '½');
                words.push_str(match (half > run, stars) {
                    (true, _) => " and a half stars",
                    (false, 1) => " star",
                    _ => " stars",
                });
                let run = self.run(half, |c| c == '☆');
                return self.called(at, run, &words);
            }
            // A mark of a note behind a word.
            '†' | '‡' if before.is_some_and(|c| !c.is_whitespace()) => return self.called(at, end, ""),
            '†' if is_figure => return self.called(at, end, "died"),
            '▲' | '▼' if is_lone_sign(self.s) => {
                return self.called(at, end, if c == '▲' { "up" } else { "down" });
            }
            '▲' | '△' | '▴' if is_figure || self.begins_figure(self.skip_space(end)) => {
                return self.called(at, end, "up");
            }
            '▼' | '▽' | '▾' if is_figure || self.begins_figure(self.skip_space(end)) => {
                return self.called(at, end, "down");
            }
            '♥' | '♡' | '❤' => {
                let is_rank = |c: char| c.is_ascii_digit() || matches!(c, 'A' | 'K' | 'Q' | 'J' | 'T');
                let is_suit = joins_figures || before.is_some_and(is_rank) || after.is_some_and(is_rank);
                let is_verb = before.is_some_and(char::is_whitespace) && self.word_near(at, 0) == "I";
                // The emoji decorates.
                if c == '❤' && !is_verb && !is_suit {
                    return end;
                }
                let words = match (is_suit, is_verb) {
                    (true, _) => "hearts",
                    (_, true) => "love",
                    _ => "heart",
                };
                return self.called(at, end, words);
            }
            '²' | '³' | '¹' | '⁰'..='ⁿ' | '₀'..='₎' => return self.script(at),
            '/' if is_figure && joins_figures && after.is_some_and(|c| money::by_sign(c).is_some()) => {
                return self.called(at, end, "for");
            }
            // "3 min/side", "5 mins./side"
            '/' if (self.figure_end == at
                || before == Some('.') && self.figure_end.saturating_add(1) == at)
                && lists("side batch serving loaf", &self.s[end..self.letters(end)]) =>
            {
                return self.called_apart(at, end, "per");
            }
            // "v = d/t", "5!/3!"
            '/' if !is_apart && self.divides(at, end) => return self.called(at, end, "over"),
            '/' if before.is_none_or(char::is_whitespace)
                && self.is_letter(end)
                && self.at(self.letters(end)) == Some('/') =>
            {
                return self.called(at, end, "slash");
            }
            '/' if is_term => {
                if &self.s[self.word.clone()] == "and" && self.s[end..].starts_with("or") {
                    self.out.put(at..end, " ");
                    return end;
                }
                let follows = &self.s[end..self.letters(end)];
                let is_plural = self.s[..at].ends_with('s') && self.word.end == at;
                let is_period = matches!(follows, "wk" | "yr" | "mo" | "hr" | "mth")
                    || joins_figures && matches!(follows, "min" | "h" | "sec" | "night")
                    || (is_plural || joins_figures)
                        && matches!(
                            follows,
                            "day" | "week" | "month" | "year" | "hour" | "minute" | "second" | "person"
                        );
                if is_period && let Some(period) = super::units::period(follows).or(Some(follows)) {
                    let words = format!("per {period}");
                    let last = self.stop(end + follows.len());
                    return self.called(at, last, &words);
                }
                return self.called_apart(at, end, "slash");
            }
            '^' if after == Some('*') => return self.called(at, end + 1, "star"),
            '^' => {
                if let Some((ended, words)) = self.tex_degrees(at) {
                    return self.called(at, ended, words);
                }
                if let Some(ended) = self.power(at, end) {
                    return ended;
                }
            }
            '_' if is_term || self.is_math(at) => {
                self.out.put(at..end, " ");
                return end;
            }
            '\\' if before.is_some_and(|c| c.is_alphanumeric() || c == ':')
                && after.is_some_and(char::is_alphanumeric) =>
            {
                return self.called(at, end, "backslash");
            }
            _ => {
                if money::by_sign(c).is_some() {
                    return self.currency(at, end, c);
                }
                return self.symbol(at, end, c);
            }
        }
        end
    }

    /// The bracket that closes the argument of a function, which is named by one letter.
    fn function(&self, at: usize, from: usize) -> Option<usize> {
        const MOST: usize = 16;
        let left = self.left(at);
        let name = left.chars().next_back().filter(|c| "fghFGOP".contains(*c))?;
        let is_name = !left[..left.len() - name.len_utf8()].ends_with(|c: char| {
            c.is_alphanumeric() || matches!(c, '.' | '_' | '\'' | '’' | '@' | '/' | '\\')
        });
        let label = left[..left.len() - name.len_utf8()].trim_end();
        let label = &label[label.trim_end_matches(char::is_alphabetic).len()..];
        // "Exhibit G(2)"
        if super::labels::is_label(label) {
            return None;
        }
        let close = self.short_run(from, MOST, |c| !matches!(c, '(' | ')' | '\n' | '|'));
        let inner = &self.s[from..close];
        let is_word =
            |word: &str| word.len() > 1 && word.bytes().all(|b| b.is_ascii_alphabetic()) && word != "log";
        let is_argument = inner.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '−' | '√'))
            && inner.contains(char::is_alphanumeric)
            && !inner.split([' ', ',']).any(is_word);
        (is_name && is_argument && self.at(close) == Some(')') && self.at(close + 1) != Some('{'))
            .then_some(close)
    }

    /// True for the mark of a factorial: in a formula, before a sign of algebra, and behind a usual variable.
    fn is_factorial(&self, at: usize, end: usize) -> bool {
        const OPERATORS: &str = "=+-−*/×÷·⋅<>≤≥≈≠";
        let before = self.before(at);
        let is_operand = before.is_some_and(|c| c.is_alphanumeric() || matches!(c, ')' | '}'));
        let is_figure = before.is_some_and(|c| c.is_ascii_digit() || c == ')') || self.figure_end == at;
        let is_variable = self.word.end == at && self.word.len() == 1;
        let is_short = is_variable && matches!(before, Some('n' | 'm' | 'k'));
        let mut rest = self.s[end..].chars();
        match rest.next() {
            _ if self.is_math(at) => is_operand,
            Some(' ') => {
                let next = rest.next();
                let is_sign = next.is_some_and(|c| OPERATORS.contains(c)) && rest.next() == Some(' ');
                is_sign && (is_figure || is_variable && before.is_some_and(char::is_lowercase))
                    || is_short && next.is_some_and(char::is_lowercase)
            }
            // "5!=120", but "x!=5"
            Some('=') => is_figure && self.is_digit(end + 1),
            // "5!/3!"
            Some('/' | '*' | '×' | '÷' | '·' | '⋅') => {
                is_figure && operands::is_between(self.s, at, end + 1)
            }
            _ => false,
        }
    }

    /// True for a bar between two operands of an equation, without spaces.
    fn divides(&self, at: usize, end: usize) -> bool {
        let (left, right) = (self.left(at), self.right(end));
        let is_equation =
            left.ends_with(char::is_alphanumeric) && [left, right].iter().any(|side| side.contains(" = "));
        left.ends_with('!') && operands::is_between(self.s, at - 1, end)
            || is_equation && operands::is_between(self.s, at, end) && !left.contains('/')
    }

    /// The end of an ellipsis for terms that are left out: "1 + 2 + ... + 100".
    fn omitted_terms(&self, at: usize) -> Option<usize> {
        let dots = self.s[at..].strip_prefix('…').or_else(|| self.s[at..].strip_prefix("..."))?;
        let is_sign = |c: char| "+−×·⋅".contains(c);
        let left = self.left(at).trim_end();
        let is_sum = left.ends_with(is_sign) && dots.trim_start_matches(' ').starts_with(is_sign);
        (is_sum || self.is_math(at)).then(|| self.s.len() - dots.len())
    }

    /// True for the mark of "f'(x)", and of "x'" in a formula.
    fn is_derivative(&self, at: usize, end: usize) -> bool {
        let mut before = self.s[..at].chars().rev();
        let is_letter = before.next().is_some_and(|c| c.is_ascii_alphabetic())
            && !before.next().is_some_and(|c| c.is_alphanumeric() || matches!(c, '\'' | '’'));
        is_letter
            && (self.is_math(at) && !self.is_letter(end)
                || self.at(end) == Some('(') && self.at(self.letters(end + 1)) == Some(')'))
    }

    /// Reads the sign of a currency, with its sum.
    fn currency(&mut self, at: usize, end: usize, sign: char) -> usize {
        let Some(currency) = money::by_sign(sign) else { return end };
        let after = self.at(end);
        // "$(1,250)" is a loss.
        let close = self.run(end + 1, |c| c.is_ascii_digit() || matches!(c, ',' | '.'));
        if after == Some('(') && self.is_digit(end + 1) && self.at(close) == Some(')') {
            self.say(at..end + 1, "minus");
            if self.sum_at(end + 1, end + 1, currency) == Some(close) {
                return self.called(close, close + 1, "");
            }
            return close;
        }
        match self.sum(at, end, currency) {
            Some(ended) => ended,
            None if after.is_some_and(|c| c.is_alphabetic() || matches!(c, '{' | '(')) => {
                self.called(at, end, currency.one)
            }
            None => self.called(at, end, currency.many),
        }
    }

    /// Reads a symbol by its name. A run of three or more is a line, and silent.
    fn symbol(&mut self, at: usize, end: usize, c: char) -> usize {
        // Most marks have no name. A part of an emoji has none.
        if c.is_ascii() || self.before(at) == Some('\u{200d}') {
            return end;
        }
        // "➤ One of the items"
        let is_item = matches!(c, '➤' | '➢' | '➣' | '➔' | '➜' | '❯' | '❖')
            && self.s[..at].trim_end_matches([' ', '\t']).chars().next_back().is_none_or(|c| c == '\n')
            && self.is_space(end);
        if is_item {
            return self.called(at, end, "");
        }
        if let Some(arrow) = symbols::arrow(c) {
            let words = match (arrow, self.is_key(at)) {
                (Arrow::Right, true) => "right arrow",
                (Arrow::Left, true) => "left arrow",
                (Arrow::Up, true) => "up arrow",
                (Arrow::Down, true) => "down arrow",
                (Arrow::Right, false) => "to",
                (Arrow::Left, false) => "from",
                (Arrow::Up, false) => "up",
                (Arrow::Down, false) => "down",
                (Arrow::Both, _) => "to and from",
            };
            return self.called(at, end, words);
        }
        if let Some(words) = symbols::player(c).filter(|_| self.is_key(at)) {
            return self.called(at, end, words);
        }
        if let Some(card) = symbols::card(c) {
            return self.called(at, end, &card);
        }
        let Some(words) = symbols::key(c).or_else(|| symbols::name(c)) else { return end };
        if is_lone_mark(c) && !symbols::is_lone(self.s, at, end) {
            return end;
        }
        let run = self.run(end, |next| next == c);
        let is_line = self.s[at..run].chars().nth(2).is_some();
        let end = if is_line { run } else { end };
        // "♘xf3"
        let takes = matches!(c, '♔'..='♟')
            && self.at(end) == Some('x')
            && matches!(self.s.as_bytes().get(end + 1..end + 3), Some([b'a'..=b'h', b'1'..=b'8']));
        if takes {
            return self.called(at, end + 1, &format!("{words} takes"));
        }
        // "➖5"
        if matches!(c, '➕' | '➖' | '➗' | '🟰') || !is_line {
            return self.called(at, end, words);
        }
        self.called(at, end, "")
    }

    /// True for an arrow that is a key: behind a word such as "press", or beside the sign of a key.
    fn is_key(&self, at: usize) -> bool {
        let is_pressed = lists(
            "press pressing pressed hit tap use key keys hold holding push arrow",
            &self.word_near(at, 0).to_ascii_lowercase(),
        ) || lists("arrow arrows", self.word_near(at, 1));
        let is_chained = lists("or and", self.word_near(at, 0))
            && self.s[..self.word.start].ends_with(|c: char| c.is_whitespace())
            && self.s[..self.word.start].trim_end().ends_with(['→', '←', '↑', '↓', '⌘', '⌥', '⇧', '⌃']);
        is_pressed || is_chained || self.before(at).and_then(symbols::key).is_some()
    }

    /// True if the "3" of "<3" is no figure: nothing with a unit follows it.
    fn is_heart(&self, at: usize) -> bool {
        let next = self.skip_space(at);
        // "if x <3"
        let before = self.s[..at - 2].trim_end();
        let is_compared = !before.ends_with(|c: char| c.is_uppercase()) && !before.ends_with("<3");
        if is_compared && operands::is_between(self.s, at - 2, at - 1) {
            return false;
        }
        match self.at(at) {
            None => true,
            Some('!' | '.' | ',' | '~') => !self.is_digit(at + 1),
            Some(c) if c.is_whitespace() => {
                next == self.s.len()
                    || self.at(next).is_some_and(|c| matches!(c, '<' | ':' | ';' | '!' | '\n'))
                    || self.is_letter(next)
                        && self.unit_at(next, false).is_none()
                        && !self.s[..at - 2].trim_end().ends_with("is")
            }
            _ => false,
        }
    }

    /// The name of a unit alone in brackets, whose content begins at `at`, and its end: "Weight (kg)".
    fn unit_in_brackets(&self, at: usize) -> Option<(&'static str, usize)> {
        const WORDS: &str = "in pt ha mi us am pm cd bar bit bits cal min sec d kt hr pc pcs mo wk yr yo doz ins px mb db lbs";
        let close = self.run(at, |c| c.is_alphabetic() || matches!(c, '°' | '%' | '/'));
        let symbol = &self.s[at..close];
        let before = self.word_near(at, 1);
        if self.at(close) != Some(')') || before.is_empty() || self.before(at - 1) != Some(' ') {
            return None;
        }
        Some(match symbol {
            "%" => ("percent", close),
            "°C" => ("degrees Celsius", close),
            "°F" => ("degrees Fahrenheit", close),
            "km/h" => ("kilometers per hour", close),
            "m/s" => ("meters per second", close),
            "m" if lists("height length distance width depth altitude", &before.to_ascii_lowercase()) => {
                ("meters", close)
            }
            "s" if lists("time duration", &before.to_ascii_lowercase()) => ("seconds", close),
            "min" if lists("time duration", &before.to_ascii_lowercase()) => ("minutes", close),
            "lbs" | "lb" => ("pounds", close),
            _ if symbol.len() > 1 && symbol.is_ascii() && !lists(WORDS, symbol) => {
                (super::units::unit(symbol, false)?.1, close)
            }
            _ => return None,
        })
    }

    /// True for a mark between the entries of a menu.
    fn is_menu(&self, at: usize, end: usize) -> bool {
        let is_entry = |word: &str| word.len() > 1 && word.starts_with(char::is_uppercase);
        let next = self.skip_space(end);
        is_entry(self.word_near(at, 1)) && is_entry(&self.s[next..self.letters(next)])
    }

    /// True if a figure and an equals sign follow.
    fn is_equation(&self, at: usize) -> bool {
        let figure = self.skip_space(at);
        let end = self.run(figure, |c| c.is_ascii_digit() || matches!(c, '.' | ','));
        end > figure && self.at(self.skip_space(end)) == Some('=')
    }

    /// As `called`, with a space between the words and brackets beside them.
    #[inline(never)]
    pub(super) fn called_apart(&mut self, at: usize, end: usize, words: &str) -> usize {
        let before = if self.before(at).is_some_and(|c| matches!(c, ')' | ']' | '}')) { " " } else { "" };
        let opens = matches!(self.at(end), Some('(' | '[')) || self.at(end) == Some('{') && !self.is_math(at);
        let after = if opens { " " } else { "" };
        if words.is_empty() {
            return self.called(at, end, words);
        }
        self.called(at, end, &format!("{before}{words}{after}"))
    }

    pub(super) fn called(&mut self, at: usize, end: usize, words: &str) -> usize {
        self.say(at..end, words);
        end
    }

    /// True if a figure begins at a position: a digit, a point with one behind, a fraction, or a sum.
    #[inline(never)]
    pub(super) fn begins_figure(&self, at: usize) -> bool {
        match self.at(at) {
            Some(c) if c.is_ascii_digit() || super::letters::is_fraction(c) => true,
            Some('.') => self.is_digit(at + 1),
            Some(c) => {
                money::by_sign(c).is_some()
                    && (self.is_digit(at + c.len_utf8()) || self.at(at + c.len_utf8()) == Some('.'))
            }
            None => false,
        }
    }

    /// Superscripts and subscripts.
    pub(super) fn script(&mut self, at: usize) -> usize {
        let end = self.run(at, |c| script_digit(c).is_some());
        if end == at {
            return at;
        }
        let plain: String = self.s[at..end].chars().filter_map(script_digit).collect();
        if is_note(self.s, at, end, &plain) {
            return self.called(at, end, "");
        }
        let is_sub = self.at(at).is_some_and(|c| matches!(c, '\u{2080}'..='\u{209c}'));
        // "∫₀¹"
        let upper = self.s[at..end].find(|c| !matches!(c, '\u{2080}'..='\u{209c}'));
        if let Some(upper) = upper.filter(|upper| *upper > 0)
            && self.before(at).is_some_and(|c| matches!(c, '∫' | '∑' | '∏' | '∮'))
        {
            let split = self.s[at..at + upper].chars().count();
            let mut words = String::from("from");
            let (low, high) = plain.split_at(split);
            for (n, part) in [low, high].into_iter().enumerate() {
                if n > 0 {
                    words.push_str(" to");
                }
                if part.starts_with('-') {
                    words.push_str(" minus");
                }
                match part.trim_start_matches('-') {
                    "n" => words.push_str(" n"),
                    part => super::numbers::cardinal(&mut words, part),
                }
            }
            return self.called(at, end, &words);
        }
        let follows_base = self.before(at).is_some_and(|c| c.is_alphanumeric() || matches!(c, ')' | ']'));
        let mut words = String::new();
        if matches!(&*plain, "+" | "-") {
            // A charge.
            words.push_str(if plain == "+" { "plus" } else { "minus" });
        } else if is_sub || !follows_base {
            super::numbers::cardinal(&mut words, plain.trim_matches(['+', '-', '=', 'n']));
            if plain.starts_with('-') {
                words.insert_str(0, "minus ");
            }
            if words.is_empty() {
                words = plain;
            }
        } else {
            if self.before(at) == Some(')') {
                words.push(' ');
            }
            let mut power = String::new();
            exponent(&mut power, &plain);
            words.push_str(&power);
        }
        self.say(at..end, &words);
        self.unit_behind_power(end)
    }

    /// Reads the unit behind a power of ten, and returns its end.
    fn unit_behind_power(&mut self, end: usize) -> usize {
        let next = self.skip_space(end);
        if next == end
            && !self.is_word_unit(next)
            && let Some((per, ended)) = self.divided(end).filter(|(per, _)| per.starts_with("per"))
        {
            self.say(end..ended, &per);
            return ended;
        }
        if next == end || self.is_word_unit(next) {
            return end;
        }
        match self.unit_at(next, false) {
            Some(unit) => {
                self.say(next..unit.end, &unit.many);
                unit.end
            }
            None => end,
        }
    }

    /// True for symbols that are words in equations: "x² in", "a² m".
    fn is_word_unit(&self, at: usize) -> bool {
        // A power of ten is short. The whole text before would take quadratic time.
        let before = self.s[..at].trim_end();
        let before = &before[ceil_char_boundary(before, before.len().saturating_sub(32))..];
        let base = before.trim_end_matches(|c| script_digit(c).is_some());
        let base = match base.rsplit_once('^') {
            Some((base, power)) if power.len() <= 4 && base.len() + 6 > before.len() => base,
            _ => base,
        };
        !base.ends_with("10")
    }

    /// A caret before an exponent.
    fn power(&mut self, at: usize, end: usize) -> Option<usize> {
        let is_braced = matches!(self.at(end), Some('{' | '('));
        let from = end + usize::from(is_braced);
        let sign = self.at(from).filter(|c| matches!(c, '-' | '+' | '−')).map_or(0, char::len_utf8);
        let variable = from + sign;
        let digits = self.digits(variable);
        let letter = self.at(variable).filter(|c| c.is_alphabetic()).map_or(0, char::len_utf8);
        let to = if digits > variable { digits } else { variable + letter };
        if !self.before(at).is_some_and(|c| c.is_alphanumeric() || matches!(c, ')' | ']' | '}')) {
            return None;
        }
        let is_simple = to > variable
            && match is_braced {
                true => matches!(self.at(to), Some('}' | ')')),
                false => !matches!(self.at(to), Some('⁄')),
            };
        if !is_simple {
            return self.long_power(at, from, is_braced);
        }
        let mut words = String::new();
        if !self.before(at).is_some_and(char::is_alphanumeric) {
            words.push(' ');
        }
        let mut power = String::new();
        exponent(&mut power, &self.s[from..to]);
        words.push_str(&power);
        let to = to + usize::from(is_braced);
        self.say(at..to, &words);
        Some(self.unit_behind_power(to))
    }

    /// The caret and the bracket before an exponent of several parts, which are read as others: "2^{n+1}", "8^(1/3)".
    fn long_power(&mut self, at: usize, from: usize, is_braced: bool) -> Option<usize> {
        if !is_braced && !self.is_digit(from) && !matches!(self.at(from), Some('√' | '∞' | '½' | '⅓' | '¼'))
        {
            return None;
        }
        if is_braced {
            self.power_end = self.closing(from).filter(|end| *end > from)?;
        }
        let sign = self.at(from).filter(|c| matches!(c, '-' | '−')).map_or(0, char::len_utf8);
        let words = if sign > 0 { "to the power of minus" } else { "to the power of" };
        let gap = if self.before(at).is_some_and(char::is_alphanumeric) { "" } else { " " };
        self.say(at..from + sign, &format!("{gap}{words}"));
        Some(from + sign)
    }
}

fn is_spaced(c: Option<char>) -> bool {
    c.is_none_or(char::is_whitespace)
}

/// True for the mark of a note behind a word, a year, a sum, a percentage or a full stop: no exponent.
pub(super) fn is_note(text: &str, at: usize, end: usize, digits: &str) -> bool {
    let is_mark = text[at..].starts_with(|c| matches!(c, '²' | '³' | '¹' | '⁰' | '⁴'..='⁹'))
        && digits.len() <= 3
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0');
    let (left, right) = (operands::left(text, at), operands::right(text, end));
    let operators = ['=', '+', '×', '÷', '^', '√', '≤', '≥', '≠', '≈', '<', '>', '−', '*', '·', '⋅'];
    if !is_mark || right.trim_start().starts_with(operators) || right.starts_with(" / ") {
        return false;
    }
    let Some(before) = text[..at].chars().next_back() else { return false };
    if matches!(before, '.' | ',' | ';' | ':' | '!' | '?' | '"' | '”' | '’' | '»' | '%') {
        return true;
    }
    let base = left.trim_end_matches(|c: char| c.is_alphanumeric());
    let word = &left[base.len()..];
    if before == ')' {
        // "(2020)¹"
        let inner = left.rsplit('(').next().unwrap_or_default().trim_end_matches(')');
        return super::figure::is_year_text(inner) || inner.split(' ').any(|word| word.len() > 3);
    }
    // "x = 5²"
    if base.trim_end().ends_with(operators) && !base.trim_end().ends_with(['<', '>', '·'])
        || base.ends_with(" / ")
    {
        return false;
    }
    if word.bytes().all(|b| b.is_ascii_digit()) {
        let whole = left.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, ',' | '.'));
        let is_group = |group: &str| group.bytes().take_while(u8::is_ascii_digit).count() == 3;
        let is_name = whole.strip_suffix('-').is_some_and(|name| name.ends_with(char::is_alphabetic));
        return super::figure::is_year_text(word)
            || left[whole.len()..].split_once(',').is_some_and(|(_, group)| is_group(group))
            || is_name
            || whole.chars().next_back().is_some_and(|c| money::by_sign(c).is_some())
            || digits == "1" && !matches!(word, "10" | "2");
    }
    let letters = word.trim_start_matches(|c: char| c.is_ascii_digit());
    (letters.len() == word.len() || lists("st nd rd th", letters))
        && (word.chars().count() > 2 || lists(SHORT_WORDS, word))
        && letters.chars().all(char::is_alphabetic)
        && !lists(BASES, word)
        && !(matches!(digits, "2" | "3")
            && lists("radius diameter speed velocity", &word.to_ascii_lowercase()))
        && greek(word.chars().next().unwrap_or_default()).is_none()
}

/// Reads an exponent.
fn exponent(out: &mut String, exponent: &str) {
    match exponent {
        "2" => out.push_str("squared"),
        "3" => out.push_str("cubed"),
        _ => {
            out.push_str("to the power of");
            if exponent.starts_with(['-', '−']) {
                out.push_str(" minus");
            }
            let rest = exponent.trim_start_matches(['-', '+', '−']);
            let rest = rest.chars().next().and_then(greek).unwrap_or(rest);
            if rest.starts_with(|c: char| c.is_ascii_digit()) {
                super::numbers::cardinal(out, rest);
            } else {
                super::numbers::add(out, rest);
            }
        }
    }
}

/// The plain form of a superscript or a subscript.
pub(super) fn script_digit(c: char) -> Option<char> {
    Some(match c {
        '¹' => '1',
        '²' => '2',
        '³' => '3',
        '⁰' | '⁴'..='⁹' => char::from(b'0' + (u32::from(c) - 0x2070) as u8),
        '₀'..='₉' => char::from(b'0' + (u32::from(c) - 0x2080) as u8),
        '⁺' | '₊' => '+',
        '⁻' | '₋' => '-',
        '⁼' | '₌' => '=',
        'ⁿ' => 'n',
        _ => return None,
    })
}

/// The name of a Greek letter.
pub(super) fn greek(c: char) -> Option<&'static str> {
    Some(match c {
        'α' | 'Α' => "alpha",
        'β' | 'Β' => "beta",
        'γ' | 'Γ' => "gamma",
        'δ' | 'Δ' => "delta",
        'ε' | 'ϵ' | 'Ε' => "epsilon",
        'ζ' | 'Ζ' => "zeta",
        'η' | 'Η' => "eta",
        'θ' | 'ϑ' | 'Θ' => "theta",
        'ι' | 'Ι' => "iota",
        'κ' | 'Κ' => "kappa",
        'λ' | 'Λ' => "lambda",
        'μ' | 'Μ' | 'µ' => "mu",
        'ν' | 'Ν' => "nu",
        'ξ' | 'Ξ' => "xi",
        'ο' => "omicron",
        'π' | 'Π' => "pi",
        'ρ' | 'Ρ' => "rho",
        'σ' | 'ς' | 'Σ' => "sigma",
        'τ' | 'Τ' => "tau",
        'υ' => "upsilon",
        'φ' | 'ϕ' | 'Φ' => "phi",
        'χ' | 'Χ' => "kai",
        'ψ' | 'Ψ' => "psi",
        'ω' | 'Ω' => "omega",
        _ => return None,
    })
}
