//! Places in journals: "2020;382(8):727–33", "521:436–444 (2015)".

use super::english::Reader;
use super::figure::is_year_text;
use super::numbers::{self, add};
use super::walk::Walk;

/// Letters before the number of a page: "e1002", "S12".
const PAGE_LETTERS: [char; 6] = ['e', 'E', 'l', 'L', 's', 'S'];

impl Reader<'_> {
    /// The volume and the pages of an article, with its year before or behind.
    pub(super) fn place_in_journal(&mut self, at: usize) -> Option<usize> {
        let first = self.digits(at);
        let is_dated = is_year_text(&self.s[at..first]) && self.at(first) == Some(';');
        let volume = if is_dated { self.skip_space(first + 1) } else { at };
        let volume_end = self.digits(volume);
        if volume_end == volume || volume_end > volume + 4 {
            return None;
        }
        // "(8)", "(10223)"
        let mut colon = volume_end;
        let mut issue = 0..0;
        if self.at(colon) == Some('(') {
            issue = colon + 1..self.digits(colon + 1);
            if issue.is_empty() || issue.end > colon + 6 || self.at(issue.end) != Some(')') {
                return None;
            }
            colon = issue.end + 1;
        }
        if self.at(colon) != Some(':') {
            return None;
        }
        let page = if is_dated { self.skip_space(colon + 1) } else { colon + 1 };
        let letter = usize::from(self.at(page).is_some_and(|c| PAGE_LETTERS.contains(&c)));
        let page_end = self.digits(page + letter);
        if page_end == page + letter || page_end > page + 8 || self.is_letter(page_end) {
            return None;
        }
        let mut end = page_end;
        let mut last = 0..0;
        if letter == 0
            && let Some(dash) = self.at(page_end).filter(|c| matches!(c, '–' | '-'))
        {
            let second = page_end + dash.len_utf8();
            let second_end = self.digits(second);
            if second_end > second && second_end <= second + 6 {
                (last, end) = (second..second_end, second_end);
            }
        }
        let is_followed = {
            let year = self.skip_space(end);
            self.at(year) == Some('(') && is_year_text(&self.s[year + 1..self.digits(year + 1)])
        };
        // "2020; 5:30"
        let is_time = volume_end <= volume + 2 && page_end == page + 2 && issue.is_empty() && last.is_empty();
        let is_range = last.len() > 1 && page_end >= page + 3 && volume_end > volume;
        let is_journal = is_dated && !is_time || !issue.is_empty() || is_range && is_followed;
        if !is_journal || self.at(end) == Some(':') && self.is_digit(end + 1) {
            return None;
        }
        let mut words = String::new();
        if is_dated {
            let mut year = String::new();
            numbers::year(&mut year, numbers::value(&self.s[at..first])?);
            words.push_str(&year);
            words.push(',');
        }
        add(&mut words, "volume");
        numbers::cardinal(&mut words, &self.s[volume..volume_end]);
        if !issue.is_empty() {
            add(&mut words, "issue");
            numbers::cardinal(&mut words, &self.s[issue]);
        }
        words.push(',');
        add(&mut words, if last.is_empty() { "page" } else { "pages" });
        if letter == 1 {
            add(&mut words, &self.s[page..page + 1].to_ascii_uppercase());
        }
        numbers::cardinal(&mut words, &self.s[page + letter..page_end]);
        if !last.is_empty() {
            add(&mut words, "to");
            numbers::cardinal(&mut words, &self.s[last]);
        }
        self.say(at..end, &words);
        self.named_end = end;
        Some(end)
    }
}
