//! Symbols with names: arrows, keys, cards, stars, hearts.

use super::abbreviations::lists;
use super::english::Reader;
use super::symbols::{self, Arrow};
use super::walk::Walk;
use crate::text::language::{is_lone_mark, is_lone_sign};

impl Reader<'_> {
    /// Reads a symbol whose words depend on what is beside it, and returns its end.
    pub(super) fn picture(&mut self, at: usize, c: char) -> Option<usize> {
        let end = at + c.len_utf8();
        let (before, after) = (self.before(at), self.at(end));
        let is_figure = self.begins_figure(end);
        let joins_figures = self.joins_figures(at);
        match c {
            '☎' | '☏' | '✆' => {
                let next = self.skip_space(end);
                let is_number = self.is_digit(next + usize::from(matches!(self.at(next), Some('+' | '('))));
                Some(self.called(at, end, if is_number || is_lone_sign(self.s) { "phone" } else { "" }))
            }
            '✉' => {
                let next = self.skip_space(end);
                let run = &self.s[next..self.short_run(next, 64, |c| !c.is_whitespace())];
                Some(self.called(at, end, if run.contains('@') { "mail" } else { "" }))
            }
            '⚠' => {
                let next = self.short_run(end, 8, |c| !c.is_alphanumeric() && c != '\n');
                let word = self.s[next..self.letters(next)].to_ascii_lowercase();
                let is_said = lists("warning caution danger attention alert note notice important", &word);
                Some(self.called(at, end, if is_said { "" } else { "warning" }))
            }
            '☆' if self.s[at..].starts_with("☆☆☆☆☆") && before != Some('☆') => {
                let run = self.run(at, |c| c == '☆');
                let is_rating = self.s[at..run].chars().nth(5).is_none() && !self.s[run..].contains('☆');
                Some(self.called(at, run, if is_rating { "zero stars" } else { "" }))
            }
            '★' | '⭐' => {
                let run = self.run(at, |c| c == '★' || c == '⭐');
                let is_counted = self.figure_end == at || joins_figures;
                // The emoji decorates.
                if c == '⭐' && run == end && !is_counted && !is_figure {
                    return Some(end);
                }
                if run == end && !matches!(self.at(run), Some('☆' | '½')) {
                    return Some(self.called(at, run, if is_counted { "stars" } else { "star" }));
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
                Some(self.called(at, run, &words))
            }
            // A mark of a note behind a word.
            '†' | '‡' if before.is_some_and(|c| !c.is_whitespace()) => Some(self.called(at, end, "")),
            '†' if is_figure => Some(self.called(at, end, "died")),
            '▲' | '▼' if is_lone_sign(self.s) => {
                Some(self.called(at, end, if c == '▲' { "up" } else { "down" }))
            }
            '▲' | '△' | '▴' if is_figure || self.begins_figure(self.skip_space(end)) => {
                Some(self.called(at, end, "up"))
            }
            '▼' | '▽' | '▾' if is_figure || self.begins_figure(self.skip_space(end)) => {
                Some(self.called(at, end, "down"))
            }
            '♥' | '♡' | '❤' => {
                let is_rank = |c: char| c.is_ascii_digit() || matches!(c, 'A' | 'K' | 'Q' | 'J' | 'T');
                let is_suit = joins_figures || before.is_some_and(is_rank) || after.is_some_and(is_rank);
                let is_verb = before.is_some_and(char::is_whitespace) && self.word_near(at, 0) == "I";
                // The emoji decorates.
                if c == '❤' && !is_verb && !is_suit {
                    return Some(end);
                }
                let words = match (is_suit, is_verb) {
                    (true, _) => "hearts",
                    (_, true) => "love",
                    _ => "heart",
                };
                Some(self.called(at, end, words))
            }
            _ => None,
        }
    }

    /// Reads a symbol by its name. A run of three or more is a line, and silent.
    pub(super) fn symbol(&mut self, at: usize, end: usize, c: char) -> usize {
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
}
