//! Ornaments: runs of different marks, such as `=-=-=`, `+---+---+`, `-=[ Title ]=-`. They are silent.

use super::inline::{Inline, Sink, State};
use crate::text::sourced::Span;

/// Most characters of a run that are kept.
const MAX_HELD: usize = 64;

/// True for a mark that ornaments consist of.
pub(super) fn is_mark(c: char) -> bool {
    matches!(c, '=' | '-' | '*' | '~' | '_' | '+' | '#' | '|' | '^' | '•' | '·' | '—' | '–')
}

/// True for a run of marks that is no text, between these characters.
fn is_ornament(run: &str, before: Option<char>, next: Option<char>, is_closing: bool) -> bool {
    let ends = |c: Option<char>| c.is_none_or(char::is_whitespace);
    let mut marks = run.chars();
    let first = marks.next();
    if marks.all(|c| Some(c) == first) {
        return false; // a run of one mark: the writer decides
    }
    let count = run.chars().count();
    let is_emphasis = run.chars().all(|c| matches!(c, '*' | '_' | '~'));
    let is_apart = ends(before) || before.is_some_and(|c| "[](){}<>|".contains(c));
    let is_followed = ends(next) || next.is_some_and(|c| "[](){}<>".contains(c));
    if count >= 5 {
        return is_followed && (is_apart || !is_emphasis) || !is_emphasis && is_apart;
    }
    let is_mirrored = count >= 3 && run.chars().eq(run.chars().rev());
    let is_frame = run.chars().all(|c| matches!(c, '=' | '-' | '~' | '*'));
    let opens = is_frame && ends(before) && next.is_some_and(|c| matches!(c, '[' | '(' | '<' | '{'));
    let closes = is_frame && is_closing && ends(next) && before.is_some_and(|c| "])>}".contains(c));
    is_mirrored && is_apart && is_followed || opens || closes
}

impl Inline {
    /// Takes a character behind a run of marks, or another mark of it.
    pub(super) fn read_ornament(&mut self, c: char, span: Span, sink: &mut Sink<'_>) {
        // "__/__/____" is a date to fill in.
        let is_blank = c == '/' && self.held.text.ends_with("__");
        if !is_mark(c) && !is_blank {
            self.end_ornament(Some(c), sink);
            return self.read(c, span, sink);
        }
        if self.held.text.len() < MAX_HELD {
            self.hold(c, span);
        } else if !is_ornament(&self.held.text, None, None, false) {
            self.end_ornament(Some(c), sink);
            self.read(c, span, sink);
        }
    }

    /// True for the marks around highlighted text, which are not those of "a == b" and "a==b".
    fn toggles_highlight(&self, before: Option<char>, next: Option<char>) -> bool {
        let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let is_space = |c: Option<char>| c.is_none_or(char::is_whitespace);
        match self.is_highlighted {
            true => !is_space(before) && !is_word(next),
            false => !self.is_page && is_space(before) && next.is_some_and(char::is_alphabetic),
        }
    }

    /// Drops a run of marks, or reads it again as other markup.
    pub(super) fn end_ornament(&mut self, next: Option<char>, sink: &mut Sink<'_>) {
        if !matches!(self.state, State::Ornament) {
            return;
        }
        let before = self.previous;
        self.ornament_barrier = self.held_end();
        let held = self.take_held();
        let Some((_, first)) = held.chars().next() else { return };
        let is_cell = self.is_page && held.text == "|" && next.is_none_or(char::is_whitespace);
        if is_cell && before.is_none_or(char::is_whitespace) {
            self.emit_cell(first, sink);
        } else if is_ornament(&held.text, before, next, self.has_ornament) {
            self.has_ornament = true;
            self.is_line_start = false;
            if before.is_some() {
                self.emit(' ', first, sink);
            }
        } else if held.text == "==" && self.toggles_highlight(before, next) {
            self.is_highlighted = !self.is_highlighted;
        } else {
            self.reread(&held, sink);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ornaments_are_runs_of_different_marks() {
        for (before, run, next) in [
            ("", "=-=-=", ""),
            (" ", "+---+---+", " "),
            ("e", "-=-=-=-", ""),
            (" ", "+--+", ""),
            ("", "~*~*~", "T"),
            ("", "-=", "["),
            ("]", "=-", ""),
            (" ", "^_^", " "),
            ("", "*-*", " "),
        ] {
            let (before, next) = (before.chars().next(), next.chars().next());
            assert_eq!(is_ornament(run, before, next, true), run != "~*~*~", "{run}");
        }
        for (before, run, next) in [
            (" ", "-", "5"),
            ("x", "=-", "5"),
            (" ", "--", "f"),
            (" ", "+=", " "),
            (" ", "***__", "b"),
            ("b", "__***", "."),
            ("]", "-=", "2"),
            (" ", "=====", " "),
            ("d", "**--", "*"),
        ] {
            let (before, next) = (before.chars().next(), next.chars().next());
            assert!(!is_ornament(run, before, next, true), "{run}");
        }
    }
}
