//! Notes of doctors, players and singers: "q4–6h", "x 7 days", "[Chorus x2]", "(Saka 12', 45+2')".

use super::abbreviations::lists;
use super::english::Reader;
use super::numbers::{self, add};
use super::walk::Walk;

impl Reader<'_> {
    /// The interval between doses: "q8h", "q4-6h".
    pub(super) fn interval(&mut self, at: usize, end: usize) -> Option<usize> {
        // "q.6h."
        let has_stop = self.at(end) == Some('.');
        let from = end + usize::from(has_stop);
        let digits = self.digits(from);
        let dash = self.at(digits).filter(|c| matches!(c, '-' | '–')).map_or(0, char::len_utf8);
        let second = self.digits(digits + dash);
        let last = if dash > 0 && second > digits + dash { second } else { digits };
        let unit = match &self.s[last..self.letters(last)] {
            "h" | "hr" | "hrs" => "hours",
            "d" => "days",
            "wk" => "weeks",
            "min" => "minutes",
            _ => return None,
        };
        if &self.s[at..end] != "q" || digits == from || digits > from + 2 {
            return None;
        }
        let mut words = String::from("every");
        numbers::cardinal(&mut words, &self.s[from..digits]);
        if last > digits {
            add(&mut words, "to");
            numbers::cardinal(&mut words, &self.s[digits + dash..last]);
        }
        add(&mut words, unit);
        let end = self.letters(last);
        let end = if has_stop { self.stop(end) } else { end };
        self.say(at..end, &words);
        Some(end)
    }

    /// True if a way or a time to take it follows a number of tablets: "2 tabs. q.6h.", "1 cap PO BID".
    pub(super) fn is_dose_behind(&self, end: usize) -> bool {
        const SURE: &str = "q po p PO b t BID TID QID PRN prn daily";
        const LIKELY: &str = "every once twice with at by for in each per as before after";
        let has_stop = self.at(end) == Some('.');
        let word = self.word_behind(end + usize::from(has_stop));
        let next = self.skip_space(end + usize::from(has_stop)) + word.len();
        let is_dotted = word.len() != 1 || matches!(self.at(next), Some('.' | '0'..='9'));
        lists(SURE, word) && is_dotted || has_stop && lists(LIKELY, word)
    }

    /// Letters that a doctor writes behind a dose: "5 mg PO BID".
    pub(super) fn order(&mut self, at: usize, end: usize) -> Option<usize> {
        const ORDERS: &str = "PO BID TID QID PRN QHS IV IM SC SL PR";
        let left = self.left(at).trim_end();
        let before = &left[left.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len()..];
        if !lists(ORDERS, &self.s[at..end])
            || !(lists("mg mcg g mL ml units tab tabs cap caps puff puffs drops", before)
                || lists(ORDERS, before))
        {
            return None;
        }
        let letters: Vec<&str> = self.s[at..end].split("").filter(|letter| !letter.is_empty()).collect();
        self.say(at..end, &letters.join(" "));
        Some(end)
    }

    /// The "x" of "x 7 days", which is "for", and of "[Chorus x2]", which is "times". The letter ends at `end`.
    pub(super) fn repeated(&mut self, at: usize, end: usize) -> Option<usize> {
        let figure = self.skip_space(end);
        let digits = self.digits(figure);
        if digits == figure || digits > figure + 2 || self.before(at) != Some(' ') {
            return None;
        }
        let follows = self.word_behind(digits);
        if figure > end && lists("day days week weeks month months night nights hour hours", follows) {
            self.say(at..end, "for");
            return Some(end);
        }
        let closes = matches!(self.at(digits), Some(')' | ']'));
        if figure > end || !closes || self.word_before.len() < 4 {
            return None;
        }
        let mut words = String::from("times");
        numbers::cardinal(&mut words, &self.s[figure..digits]);
        self.say(at..digits, &words);
        Some(digits)
    }

    /// The minute of a goal: "(Saka 12', 45+2')". The mark is behind the figure, which ends at `end`.
    pub(super) fn minute_of_game(&mut self, at: usize, end: usize, behind: usize) -> Option<usize> {
        const LENGTHS: &str =
            "Height Width Length Depth Ceiling Size Long Wide Tall Deep Clearance Draft Beam Over About";
        let minute = numbers::value(&self.s[at..end]).filter(|minute| (1..=130).contains(minute))?;
        let left = self.left(at);
        let is_in_brackets = left.rfind('(') > left.rfind(')');
        let name = self.word_near(at, 0);
        let is_player = name.len() > 1 && name.starts_with(char::is_uppercase) && !lists(LENGTHS, name);
        let is_listed = left.trim_end().ends_with(['\'', '’', ',']) && left.contains(['\'', '’']);
        let is_extra = left.ends_with('+');
        let closes = matches!(self.at(behind), Some(')' | ',' | ';'))
            || lists("pen og", self.word_behind(behind))
            || self.s[behind..].starts_with(" (");
        if !is_in_brackets || !closes || !(is_player || is_listed || is_extra) {
            return None;
        }
        let mut words = String::new();
        match is_extra {
            true => numbers::number(&mut words, minute),
            false => {
                numbers::ordinal(&mut words, minute);
                add(&mut words, "minute");
            }
        }
        self.say(at..behind, &words);
        Some(behind)
    }
}
