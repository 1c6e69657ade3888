//! Times of day, dates and months.

use super::abbreviations::lists;
use super::amount::Amount;
use super::english::Reader;
use super::figure::is_year_text;
use super::numbers::{self, add, value};
use super::walk::Walk;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The month of a name or an abbreviation with a capital, without its full stop.
pub(super) fn month(word: &str) -> Option<&'static str> {
    let at = match word {
        "Sept" => 8,
        _ if word.len() < 3 || !word.is_ascii() => return None,
        _ => MONTHS.iter().position(|month| {
            *month == word
                || month.to_uppercase() == word
                || (word.len() == 3
                    && (month[..3] == *word
                        || month[..3].eq_ignore_ascii_case(word)
                            && word.bytes().all(|b| b.is_ascii_uppercase())))
        })?,
    };
    MONTHS.get(at).copied()
}

/// The month of a number.
pub(super) fn month_of(number: u64) -> Option<&'static str> {
    MONTHS.get((number as usize).checked_sub(1)?).copied()
}

/// The day of the week of an abbreviation without its full stop.
fn weekday(word: &str) -> Option<&'static str> {
    Some(match word {
        "Mon" => "Monday",
        "Tue" | "Tues" => "Tuesday",
        "Wed" | "Weds" => "Wednesday",
        "Thu" | "Thur" | "Thurs" => "Thursday",
        "Fri" => "Friday",
        "Sat" => "Saturday",
        "Sun" => "Sunday",
        _ => return None,
    })
}

/// True for the whole name of a day of the week.
fn is_weekday(word: &str) -> bool {
    lists("Monday Tuesday Wednesday Thursday Friday Saturday Sunday", word)
}

fn is_day_or_month(word: &str) -> bool {
    month(word).is_some() || weekday(word).is_some() || is_weekday(word)
}

impl Reader<'_> {
    /// True if the words beside figures with a colon show a ratio: "scale 1:50", "ratio of 1:30", "1:10 with water".
    fn is_ratio(&self, at: usize, end: usize) -> bool {
        const RATIOS: &str = "ratio ratios scale scales odds dilution dilutions dilute diluted mix mixed proportion \
             proportions proportioned gearing leverage";
        let before = self.word_near(at, 1).to_ascii_lowercase();
        let is_listed = lists(RATIOS, &before)
            || lists("of at in is to by was", &before)
                && lists(RATIOS, &self.s[self.word_before.clone()].to_ascii_lowercase());
        let behind = self.word_behind(end);
        let goes_on = self.ratio_end < at
            && at - self.ratio_end <= 8
            && !self.s[self.ratio_end..at].contains(char::is_alphanumeric);
        is_listed
            || goes_on
            || lists("scale ratio ratios odds dilution mix mixture solution proportion", behind)
            || &self.s[at..self.digits(at)] == "1" && lists("with", behind)
    }

    /// A time with a colon, or a whole hour with a.m. or p.m. behind it.
    pub(super) fn clock(&mut self, at: usize) -> Option<usize> {
        let hour_end = self.digits(at);
        if hour_end == at || hour_end > at + 3 {
            return None;
        }
        let hour = value(&self.s[at..hour_end])?;
        let mut end = hour_end;
        let mut words = String::new();
        if self.at(end) == Some(':') && self.is_digit(end + 1) {
            let minute_end = self.digits(end + 1);
            let minutes = &self.s[end + 1..minute_end];
            if self.at(minute_end) == Some(':') && self.is_digit(minute_end + 1) && minutes.len() == 2 {
                return self.long_clock(at, hour, minutes, minute_end + 1);
            }
            let minute = value(minutes)?;
            let is_time = minutes.len() == 2
                && minute < 60
                && (hour <= 24 || hour <= 199)
                && !self.is_ratio(at, minute_end);
            // "main.rs:12:5"
            let is_place =
                self.before(at) == Some(':') && self.before(at - 1).is_some_and(char::is_alphanumeric);
            // "Qur'an 2:255", and "llama3.1:8b"
            let left = self.left(at);
            let is_verse = ["ur'an ", "ur’an "].iter().any(|name| left.ends_with(name));
            if self.before(at) == Some('.') && self.is_letter(minute_end) {
                return None;
            }
            if !is_time && (is_place || is_verse) {
                numbers::number(&mut words, hour);
                self.say(at..hour_end, &words);
                let mut column = String::new();
                numbers::cardinal(&mut column, minutes);
                self.say(hour_end..minute_end, &column);
                return Some(minute_end);
            }
            if !is_time {
                // A ratio or a score.
                let second = self.amount(end + 1)?;
                if self.is_letter(second.end) {
                    return None;
                }
                numbers::number(&mut words, hour);
                add(&mut words, "to");
                add(&mut words, &second.words());
                let mut end = second.end;
                // "3:2:1"
                while self.at(end) == Some(':') && self.is_digit(end + 1) && end < at + 24 {
                    let next = self.digits(end + 1);
                    add(&mut words, "to");
                    numbers::cardinal(&mut words, &self.s[end + 1..next]);
                    end = next;
                }
                self.say(at..end, &words);
                self.ratio_end = end;
                return Some(end);
            }
            // "16:10" is a ratio to most people, but a time to all clocks.
            numbers::number(&mut words, hour);
            if minute > 0 {
                if minute < 10 {
                    add(&mut words, "oh");
                }
                numbers::number(&mut words, minute);
            } else if hour == 0 || hour > 12 && hour < 24 {
                add(&mut words, "hundred");
            }
            end = minute_end;
            if self.at(end) == Some('.') && self.is_digit(end + 1) {
                let decimals = self.digits(end + 1);
                add(&mut words, "point");
                numbers::digits(&mut words, &self.s[end + 1..decimals]);
                end = decimals;
            }
            if let Some((from, ended, letters)) = self.meridiem(end) {
                let words = words.strip_suffix(" hundred").unwrap_or(&words).to_owned();
                return Some(self.say_time(at, end, from, ended, &words, letters));
            }
            // "6:05a", "15:00h"
            let letters = self.letters(end);
            let behind = match &self.s[end..letters] {
                "a" if hour <= 12 => "A M",
                "p" if hour <= 12 => "P M",
                "h" | "hrs" => "hours",
                _ => "",
            };
            if !behind.is_empty() && !self.is_digit(letters) {
                add(&mut words, behind);
                self.say(at..letters, &words);
                return Some(letters);
            }
            self.say(at..end, &words);
            return Some(self.zulu(end));
        }
        if self.at(end) == Some('h')
            && self.digits(end + 1) == end + 3
            && !self.is_letter(end + 3)
            && hour < 25
        {
            // 19h30
            numbers::number(&mut words, hour);
            let minutes = &self.s[end + 1..end + 3];
            if minutes != "00" {
                if minutes.starts_with('0') {
                    add(&mut words, "oh");
                }
                numbers::number(&mut words, value(minutes)?);
            }
            self.say(at..end + 3, &words);
            return Some(end + 3);
        }
        if self.at(end) == Some('.') && self.digits(end + 1) == end + 3 {
            // 4.30 p.m.
            let minute_end = end + 3;
            let minute = value(&self.s[end + 1..minute_end])?;
            let (from, ended, letters) = self.meridiem(minute_end)?;
            if hour > 12 || minute > 59 {
                return None;
            }
            numbers::number(&mut words, hour);
            if minute > 0 {
                if minute < 10 {
                    add(&mut words, "oh");
                }
                numbers::number(&mut words, minute);
            }
            return Some(self.say_time(at, minute_end, from, ended, &words, letters));
        }
        // "7a–3p", "by 8p"
        let last = self.letters(end);
        let half = match &self.s[end..last] {
            "a" => "A M",
            "p" => "P M",
            _ => "",
        };
        if !half.is_empty() && (1..=12).contains(&hour) && hour_end <= at + 2 && !self.is_digit(last) {
            let second = self.dash(last).map_or(last, |(_, second)| self.digits(second));
            let is_first = second > last
                && self.letters(second) == second + 1
                && self.s[second..].starts_with(['a', 'p']);
            let is_timed = lists(
                "at by until till from to open opens closes @",
                &self.word_near(at, 1).to_ascii_lowercase(),
            );
            let is_second = self.figure_end_before(at) && self.s[..self.figure_end].ends_with(['a', 'p']);
            if is_first || is_second || is_timed {
                numbers::number(&mut words, hour);
                add(&mut words, half);
                self.say(at..last, &words);
                return Some(last);
            }
        }
        let (from, ended, letters) = self.meridiem(end)?;
        if !(1..=12).contains(&hour) || hour_end > at + 2 {
            return None;
        }
        numbers::number(&mut words, hour);
        Some(self.say_time(at, end, from, ended, &words, letters))
    }

    fn say_time(
        &mut self,
        at: usize,
        end: usize,
        from: usize,
        ended: usize,
        words: &str,
        letters: &str,
    ) -> usize {
        if from > end {
            self.say(at..end, words);
            self.say(from..ended, letters);
        } else {
            self.say(at..ended, &format!("{words} {letters}"));
        }
        ended
    }

    /// Hours, minutes and seconds.
    fn long_clock(&mut self, at: usize, hour: u64, minutes: &str, from: usize) -> Option<usize> {
        let end = self.digits(from);
        let (minute, second) = (value(minutes)?, value(&self.s[from..end])?);
        if end - from != 2 || minute > 59 || second > 59 || self.at(end) == Some(':') {
            return None;
        }
        let mut words = String::new();
        numbers::number(&mut words, hour);
        for part in [minute, second] {
            if part < 10 {
                add(&mut words, "oh");
            }
            numbers::number(&mut words, part);
        }
        // "00:00:01,250 --> 00:00:04,000"
        let decimals = self.digits(end + 1);
        let is_subtitle = matches!(self.at(end), Some(',' | '.'))
            && decimals == end + 4
            && (self.s[decimals..].trim_start().starts_with("-->")
                || self.s[..at].trim_end().ends_with("-->"));
        if is_subtitle {
            let written = self.s[end + 1..decimals].trim_end_matches('0');
            if !written.is_empty() {
                add(&mut words, "point");
                numbers::digits(&mut words, written);
            }
            self.say(at..decimals, &words);
            return Some(decimals);
        }
        self.say(at..end, &words);
        Some(self.zulu(end))
    }

    /// The "Z" behind a time: it is of the zone UTC.
    fn zulu(&mut self, at: usize) -> usize {
        if self.at(at) != Some('Z') || self.is_letter(at + 1) || self.is_digit(at + 1) {
            return at;
        }
        self.say(at..at + 1, "U T C");
        at + 1
    }

    /// "a.m." or "p.m." behind a time: where it begins and ends, and its letters.
    fn meridiem(&self, at: usize) -> Option<(usize, usize, &'static str)> {
        let from = self.skip_space(at);
        let letters = match self.at(from)? {
            'a' | 'A' => "A M",
            'p' | 'P' => "P M",
            _ => return None,
        };
        let has_stops = self.at(from + 1) == Some('.');
        let m = from + 1 + usize::from(has_stops);
        if !matches!(self.at(m), Some('m' | 'M')) || self.is_letter(m + 1) || self.is_digit(m + 1) {
            return None;
        }
        Some((from, if has_stops { self.stop(m + 1) } else { m + 1 }, letters))
    }

    /// A date in digits: 2024-03-05, 3/14/2024, 5.3.2024.
    pub(super) fn date(&mut self, at: usize) -> Option<usize> {
        let first = self.digits(at);
        if let Some(end) = self.date_with_name(at, first) {
            return Some(end);
        }
        let sign = self.at(first).filter(|c| matches!(c, '-' | '/' | '.'))?;
        let second = self.digits(first + 1);
        if sign == '/'
            && let Some(end) = self.month_of_year(at, first, second)
        {
            return Some(end);
        }
        if second == first + 1 || self.at(second) != Some(sign) {
            return None;
        }
        let third = self.digits(second + 1);
        let parts = [&self.s[at..first], &self.s[first + 1..second], &self.s[second + 1..third]];
        let [a, b, c] = [value(parts[0])?, value(parts[1])?, value(parts[2])?];
        if self.at(third) == Some(sign) && self.is_digit(third + 1) || parts[1].len() > 2 {
            return None;
        }
        let (year, month, day) = match (parts[0].len(), parts[2].len()) {
            (4, 1..=2) if sign != '.' || parts[1].len() == 2 => (a, b, c),
            // The voice is American: the month is first, if it can be.
            (1..=2, 4) if sign == '.' => (c, b, a),
            (1..=2, 4) if a <= 12 => (c, a, b),
            (1..=2, 4) => (c, b, a),
            (1..=2, 2) if sign == '/' && a <= 12 && b <= 31 => (c, a, b),
            (1..=2, 2) if sign == '/' => (c, b, a),
            _ => return None,
        };
        let month = MONTHS.get((month as usize).checked_sub(1)?)?;
        if !(1..=31).contains(&day) {
            return None;
        }
        let mut words = String::from(*month);
        let mut ordinal = String::new();
        numbers::ordinal(&mut ordinal, day);
        add(&mut words, &ordinal);
        if year < 100 {
            if year < 10 {
                add(&mut words, "oh");
            }
            numbers::number(&mut words, year);
        } else {
            let mut spoken = String::new();
            numbers::year(&mut spoken, year);
            add(&mut words, &spoken);
        }
        self.say(at..third, &words);
        // 2024-03-05T10:15
        if self.at(third) == Some('T') && self.is_digit(third + 1) {
            self.say(third..third + 1, "at");
            self.figure_start = third + 1;
            return Some(third + 1);
        }
        Some(third)
    }

    /// A month and a year: "03/2023".
    fn month_of_year(&mut self, at: usize, first: usize, second: usize) -> Option<usize> {
        let month = MONTHS.get((value(&self.s[at..first])? as usize).checked_sub(1)?)?;
        let year = &self.s[first + 1..second];
        let is_date = first == at + 2
            && matches!(year.get(..2), Some("19" | "20"))
            && is_year_text(year)
            && !matches!(self.before(at), Some('/' | '-' | '.' | ',' | '$' | '€' | '£'))
            && !self.at(second).is_some_and(|c| c.is_alphanumeric() || matches!(c, '/' | '-' | '%' | '°'));
        // "10/2000 people"
        if !is_date || lists(super::sum::COUNTED, self.word_behind(second)) {
            return None;
        }
        let mut words = String::from(*month);
        let mut spoken = String::new();
        numbers::year(&mut spoken, value(year)?);
        add(&mut words, &spoken);
        self.say(at..second, &words);
        Some(second)
    }

    /// A day, the name of a month and a year with hyphens between: "25-Dec-2023".
    fn date_with_name(&mut self, at: usize, first: usize) -> Option<usize> {
        if self.at(first) != Some('-') || first > at + 2 {
            return None;
        }
        let letters = self.letters(first + 1);
        let name = month(&self.s[first + 1..letters])?;
        let end = self.digits(letters + 1);
        let day = value(&self.s[at..first]).filter(|day| (1..=31).contains(day))?;
        if self.at(letters) != Some('-') || !matches!(end - letters, 3 | 5) {
            return None;
        }
        let mut words = String::from(name);
        let (mut ordinal, mut year) = (String::new(), String::new());
        numbers::ordinal(&mut ordinal, day);
        numbers::year(&mut year, value(&self.s[letters + 1..end])?);
        add(&mut words, &ordinal);
        add(&mut words, &year);
        self.say(at..end, &words);
        Some(end)
    }

    /// A day before the name of its month: "3 March".
    pub(super) fn day(&mut self, at: usize, amount: Amount<'_>) -> Option<usize> {
        let day = amount.value().filter(|day| (1..=31).contains(day))?;
        let next = self.skip_space(amount.end);
        let letters = self.letters(next);
        let word = &self.s[next..letters];
        month(word)?;
        // "1 May" may be anything, but a capital behind a figure is seldom a verb.
        if next == amount.end || matches!(self.word_near(at, 1), "Page" | "page" | "Chapter" | "Section") {
            return None;
        }
        let mut words = String::new();
        let is_second = self.s[..at].ends_with(['–', '-', '—']);
        if !is_second && !matches!(self.word_near(at, 0), "the" | "The") {
            words.push_str("the ");
        }
        let mut ordinal = String::new();
        numbers::ordinal(&mut ordinal, day);
        words.push_str(&ordinal);
        words.push_str(" of");
        self.say(at..amount.end, &words);
        Some(amount.end)
    }

    /// The abbreviation of a month or a weekday, and the day behind a month.
    pub(super) fn month_or_day(&mut self, at: usize, end: usize) -> Option<usize> {
        let word = &self.s[at..end];
        if word.len() < 3 || !word.starts_with(|c: char| c.is_ascii_uppercase()) {
            return None;
        }
        // "Tuesday-Thursday"
        if is_weekday(word) && matches!(self.at(end), Some('-' | '–')) {
            let joint = self.day_dash(end);
            return (joint > end).then_some(joint);
        }
        let has_stop = self.at(end) == Some('.');
        let next = self.skip_space(end + usize::from(has_stop));
        let is_figure = self.is_digit(next);
        let is_dash = matches!(self.at(next), Some('–' | '-' | '/' | '—')) && {
            let second = self.skip_space(next + self.at(next).map_or(0, char::len_utf8));
            is_day_or_month(&self.s[second..self.letters(second)]) || self.is_day_of_month_at(second)
        };
        if let Some(day) = weekday(word) {
            let is_date = month(&self.s[next..self.letters(next)]).is_some();
            let is_sure = is_date
                || self.is_listed_day(at, next)
                || is_dash
                || is_figure
                || self.is_behind_day_dash(at)
                || has_stop && self.at(end + 1) == Some(',')
                || matches!(self.at(end), Some(','))
                    && month(&self.s[self.skip_space(end + 1)..self.letters(self.skip_space(end + 1))])
                        .is_some()
                || has_stop
                    && matches!(
                        &self.s[next..self.letters(next)],
                        "to" | "through" | "thru" | "and" | "at" | "closed" | "open" | "only" | "off"
                    )
                || has_stop
                    && lists(
                        "by on until till next last this every since before after from to through each",
                        self.word_near(at, 0),
                    )
                || has_stop && !matches!(word, "Sat" | "Sun" | "Wed" | "Mon");
            if !is_sure {
                return None;
            }
            let stop = if has_stop { self.stop(end) } else { end };
            self.say(at..stop, day);
            return Some(self.day_dash(stop));
        }
        let name = month(word)?;
        // The code "JULY4"
        if self.is_digit(end) {
            return None;
        }
        let is_short = word.len() <= 4 && word != name;
        if is_short {
            let is_sure = is_figure
                || is_dash
                || self.is_behind_day_dash(at)
                || self.is_figure_before(at)
                || has_stop && !matches!(word, "Mar" | "Jan" | "May" | "Jun")
                || has_stop && self.at(end + 1).is_some_and(|c| c.is_whitespace() || c == ',')
                || matches!(word, "Feb" | "Apr" | "Jul" | "Aug" | "Sept" | "Oct" | "Nov");
            if !is_sure {
                return None;
            }
            let stop = if has_stop { self.stop(end) } else { end };
            self.say(at..stop, name);
        }
        let stop = if is_short && has_stop { self.stop(end) } else { end };
        if is_dash {
            return Some(self.day_dash(stop));
        }
        Some(self.day_behind(next).unwrap_or(stop).max(stop))
    }

    /// True for one of several weekdays: "Sat & Sun", "Mon, Wed and Fri".
    fn is_listed_day(&self, at: usize, next: usize) -> bool {
        let joint = |text: &str| matches!(text.trim(), "&" | "," | "and" | "or" | ", and" | "+");
        let before = self.s.get(self.word.end..at).unwrap_or_default();
        let is_behind = before.len() <= 3 && joint(before) && weekday(&self.s[self.word.clone()]).is_some()
            || lists("and or", self.word_near(at, 0)) && weekday(&self.s[self.word_before.clone()]).is_some();
        let mark = self.skip_space(next);
        let second = match self.at(mark) {
            Some(c @ ('&' | ',' | '+')) => self.skip_space(mark + c.len_utf8()),
            _ if self.s[mark..].starts_with("and ") => mark + 4,
            _ if self.s[mark..].starts_with("or ") => mark + 3,
            _ => return is_behind,
        };
        let second = if self.s[second..].starts_with("and ") { second + 4 } else { second };
        is_behind || weekday(&self.s[second..self.letters(second)]).is_some()
    }

    /// "to" between two days or months.
    fn day_dash(&mut self, at: usize) -> usize {
        let next = self.skip_space(at);
        let Some(dash) = self.at(next).filter(|c| matches!(c, '–' | '-' | '—')) else { return at };
        let end = next + dash.len_utf8();
        // An em dash between spaces divides two thoughts.
        if dash == '—' && self.is_space(end) {
            return at;
        }
        let second = self.skip_space(end);
        let is_glued = next == at && second == end;
        let is_date = is_day_or_month(&self.s[second..self.letters(second)])
            || is_glued && self.is_day_of_month_at(second);
        if !is_date {
            return at;
        }
        self.say(next..end, "to");
        end
    }

    /// True for a day before its month: "3 Feb".
    fn is_day_of_month_at(&self, at: usize) -> bool {
        let end = self.digits(at);
        (at + 1..=at + 2).contains(&end) && self.is_month_behind(end)
    }

    /// True if a day or a month and a figure are at a position: "Fri 13", "May 2024", "Fri. 5pm".
    pub(super) fn is_date_at(&self, at: usize) -> bool {
        let end = self.letters(at);
        let figure = self.skip_space(end + usize::from(self.at(end) == Some('.')));
        end > at && figure > end && self.is_digit(figure) && is_day_or_month(&self.s[at..end])
    }

    /// True if the name of a month follows a figure.
    pub(super) fn is_month_behind(&self, end: usize) -> bool {
        let next = self.skip_space(end);
        next > end && month(&self.s[next..self.letters(next)]).is_some()
    }

    fn is_behind_day_dash(&self, at: usize) -> bool {
        let word = &self.s[self.word.clone()];
        let between = self.s.get(self.word.end..at).unwrap_or_default();
        (month(word).is_some() || weekday(word).is_some())
            && between.len() <= 5
            && (between.contains(['–', '-', '/', ',']) || between.trim_start_matches('.') == "—")
    }

    fn is_figure_before(&self, at: usize) -> bool {
        let is_behind = self.figure_end < at && self.skip_space(self.figure_end) == at;
        is_behind || self.s[..at].trim_end().ends_with(|c: char| c.is_ascii_digit())
    }

    /// True if a day of at most two digits ends at a position.
    fn is_day_of_date(&self, end: usize) -> bool {
        let left = self.left(end);
        let before = left.trim_end_matches(|c: char| c.is_ascii_digit());
        (1..=2).contains(&(left.len() - before.len()))
            && !before.ends_with(['.', ',', ':', '/', '$', '€', '£'])
    }

    /// The day behind a month.
    fn day_behind(&mut self, at: usize) -> Option<usize> {
        let end = self.digits(at);
        let day = value(&self.s[at..end]).filter(|day| (1..=31).contains(day))?;
        if end > at + 2
            || self.is_letter(end)
            || matches!(self.at(end), Some('.' | ':' | '%' | '/')) && self.is_digit(end + 1)
            || self.at(end) == Some('%')
        {
            return None;
        }
        let next = self.skip_space(end);
        if next > end && self.is_letter(next) && self.unit_at(next, false).is_some() {
            return None;
        }
        // "1 Jan. 24": the day is before the month.
        let is_day_before = self.figure_end != usize::MAX
            && self.s.get(self.figure_end..at).is_some_and(|between| {
                between.trim().trim_end_matches('.').bytes().all(|b| b.is_ascii_alphabetic())
            });
        if is_day_before && end == at + 2 && self.is_day_of_date(self.figure_end) {
            let mut words = String::new();
            numbers::cardinal(&mut words, &self.s[at..end]);
            self.say(at..end, &words);
            return Some(end);
        }
        let mut words = String::new();
        numbers::ordinal(&mut words, day);
        self.say(at..end, &words);
        self.figure_end = end;
        // A second day, or the year.
        if let Some((dash, second)) = self.dash(end) {
            let from = self.skip_space(end);
            self.say(from..dash, "to");
            return Some(self.day_behind(second).unwrap_or(dash));
        }
        // "Feb. 29–Mar. 2"
        let joint = self.day_dash(end);
        if joint > end {
            return Some(joint);
        }
        let comma = if self.at(end) == Some(',') { end + 1 } else { end };
        let year = self.skip_space(comma);
        let year_end = self.digits(year);
        if year > comma && is_year_text(&self.s[year..year_end]) && !self.is_letter(year_end) {
            let mut words = String::new();
            numbers::year(&mut words, value(&self.s[year..year_end])?);
            self.say(year..year_end, &words);
            return Some(year_end);
        }
        Some(end)
    }
}
