//! Signs: what they are called, and where they are spoken.

use super::abbreviations::lists;
use super::english::Reader;
use super::money;
use super::operands;
use super::symbols;
use super::walk::Walk;
use crate::text::language::is_lone_sign;

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
        let joins_figures = self.joins_figures(at);
        let is_term = before.is_some_and(|c| c.is_alphanumeric() || c == ')')
            && after.is_some_and(|c| c.is_alphanumeric() || matches!(c, '(' | '∂'));
        match c {
            _ if let Some(ended) = self.formula_sign(at, c) => return ended,
            // "2.5:1"
            ':' if joins_figures && is_figure && {
                let left = self.left(at);
                let number = left.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
                left[number.len()..].contains('.') && !self.is_letter(self.digits(end))
            } =>
            {
                return self.called(at, end, "to");
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
            '√' => return self.called_apart(at, end, "square root of"),
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
            '§' => {
                let run = self.run(at, |c| c == '§');
                return self.called(at, run, if run > end { "sections" } else { "section" });
            }
            '¶' => {
                let run = self.run(at, |c| c == '¶');
                return self.called(at, run, if run > end { "paragraphs" } else { "paragraph" });
            }
            '°' | 'º' => {
                if let Some((words, ended)) = self.degree(at, false) {
                    if let Some((per, last)) = self.divided(ended).filter(|(per, _)| per.starts_with("per")) {
                        return self.called(at, last, &format!("{} {per}", words.1));
                    }
                    self.parted = Some((ended, '°'));
                    return self.called(at, ended, words.1);
                }
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
            '%' => return self.called(at, end, "percent"),
            _ => {
                if let Some(ended) = self.picture(at, c) {
                    return ended;
                }
                if let Some(words) = symbols::sign(c) {
                    return self.called(at, end, words);
                }
                if money::by_sign(c).is_some() {
                    return self.currency(at, end, c);
                }
                return self.symbol(at, end, c);
            }
        }
        end
    }

    /// Reads the sign of a currency, with its sum.
    pub(super) fn currency(&mut self, at: usize, end: usize, sign: char) -> usize {
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

    /// True behind a figure or a bracket.
    pub(super) fn joins_figures(&self, at: usize) -> bool {
        self.before(at).is_some_and(|c| c.is_ascii_digit() || c == ')') || self.figure_end == at
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
}

fn is_spaced(c: Option<char>) -> bool {
    c.is_none_or(char::is_whitespace)
}
