//! Signs of algebra outside of TeX: functions, factorials, derivatives, and terms that are left out.

use super::english::Reader;
use super::operands;
use super::walk::Walk;

impl Reader<'_> {
    /// The bracket that closes the argument of a function, which is named by one letter.
    pub(super) fn function(&self, at: usize, from: usize) -> Option<usize> {
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
    pub(super) fn is_factorial(&self, at: usize, end: usize) -> bool {
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
    pub(super) fn divides(&self, at: usize, end: usize) -> bool {
        let (left, right) = (self.left(at), self.right(end));
        let is_equation =
            left.ends_with(char::is_alphanumeric) && [left, right].iter().any(|side| side.contains(" = "));
        left.ends_with('!') && operands::is_between(self.s, at - 1, end)
            || is_equation && operands::is_between(self.s, at, end) && !left.contains('/')
    }

    /// The end of an ellipsis for terms that are left out: "1 + 2 + ... + 100".
    pub(super) fn omitted_terms(&self, at: usize) -> Option<usize> {
        let dots = self.s[at..].strip_prefix('…').or_else(|| self.s[at..].strip_prefix("..."))?;
        let is_sign = |c: char| "+−×·⋅".contains(c);
        let left = self.left(at).trim_end();
        let is_sum = left.ends_with(is_sign) && dots.trim_start_matches(' ').starts_with(is_sign);
        (is_sum || self.is_math(at)).then(|| self.s.len() - dots.len())
    }

    /// True for the mark of "f'(x)", and of "x'" in a formula.
    pub(super) fn is_derivative(&self, at: usize, end: usize) -> bool {
        let mut before = self.s[..at].chars().rev();
        let is_letter = before.next().is_some_and(|c| c.is_ascii_alphabetic())
            && !before.next().is_some_and(|c| c.is_alphanumeric() || matches!(c, '\'' | '’'));
        is_letter
            && (self.is_math(at) && !self.is_letter(end)
                || self.at(end) == Some('(') && self.at(self.letters(end + 1)) == Some(')'))
    }

    /// True if a figure and an equals sign follow.
    pub(super) fn is_equation(&self, at: usize) -> bool {
        let figure = self.skip_space(at);
        let end = self.run(figure, |c| c.is_ascii_digit() || matches!(c, '.' | ','));
        end > figure && self.at(self.skip_space(end)) == Some('=')
    }
}
