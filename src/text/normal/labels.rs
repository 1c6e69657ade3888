//! Figures behind a label, such as "Room 12B", and figures of an address, such as "123 N. Main St."

use super::abbreviations::lists;
use super::amount::Amount;
use super::english::Reader;
use super::walk::Walk;

/// Nouns whose number may end in a letter.
const LABELS: &str = "apt apartment room rm seat gate suite ste row flat bus figure figs figures fig no nos number \
     table grade unit section sec part chapter platform track line level floor iphone ipad exhibit question \
     stage phase type class route highway appendix exercise example step block building bldg lot pier \
     terminal rwy runway exit lane court field lab ward wing booth slot aisle bed berth zone hall studio rule category clause paragraph article problem option ticket line item case test task quiz lesson team group tram train bay dock door house locker \
     art answer form area stand stall pitch plan page note model version tier code box key pin port channel deck cabin site \
     set day week round game scene act title schedule annex module season episode sheet cell flight stop size";

/// Labels of parts with a tension or a power: "Port 5V".
const POWERED: &str = "pin port channel cell box key";

/// True for a noun whose number may end in a letter, of one thing or of several.
pub(super) fn is_label(word: &str) -> bool {
    let small = word.to_ascii_lowercase();
    lists(LABELS, &small) || small.strip_suffix('s').is_some_and(|one| lists(LABELS, one))
}

/// Labels of places: the letter behind their number is sure, if it is a capital.
const PLACES: &str = "runway rwy exit apt apartment room rm seat gate suite ste row locker";

const STREETS: &str = "St Street Ave Avenue Rd Road Blvd Boulevard Dr Drive Ln Lane Way Ct Court Pl Place Hwy Highway \
     Pkwy Parkway Sq Square Broadway Terrace Ter Cir Circle";

/// Names in capitals of what has a power or a force: "60 W Bulb".
const DEVICES: &str = "Bulb Bulbs Light Lamp Charger Power Solar Speaker Speakers Adapter Amp Amplifier Laser Motor \
     Battery Heater Supply Panel Force Load Output Input Max Peak";

impl Reader<'_> {
    /// The label before a figure: the last word, if nothing but a space or the stop of an abbreviation is between.
    pub(super) fn label(&self, at: usize) -> &str {
        let word = self.word_near(at, if self.before(at) == Some('#') { 2 } else { 1 });
        if word.is_empty() {
            return "";
        }
        let between = self.s.get(self.word.end..at).unwrap_or_default();
        let is_near = between.chars().all(|c| c.is_whitespace() && c != '\n' || matches!(c, '.' | '#'));
        let is_short = !between.contains('.') || matches!(word.len(), 2..=4);
        if is_near && is_short && !between.is_empty() { word } else { "" }
    }

    /// A number with one letter behind a label: "Figure 2B", "iPhone 5s", "Grade 5 A".
    pub(super) fn labelled(&mut self, at: usize, amount: Amount<'_>) -> Option<usize> {
        if !amount.is_plain() || amount.whole.len() > 5 {
            return None;
        }
        let end = amount.end;
        let from = self.skip_space(end);
        let letter = self.at(from).filter(char::is_ascii_alphabetic)?;
        let letter_end = from + 1;
        if self
            .at(letter_end)
            .is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '/' | '°' | '²' | '³'))
        {
            return None;
        }
        let label = match self.word_near(at, 1) {
            // "Size: 34B"
            size @ ("size" | "Size") => size,
            _ => self.label(at),
        };
        let small = label.to_ascii_lowercase();
        // "§ 5A", "#3B", "12A High St."
        let is_marked = from == end
            && (self.s[..at].trim_end_matches(' ').ends_with(['§', '#'])
                || letter.is_ascii_uppercase()
                    && amount.whole.len() <= 2
                    && self.leads_to_street(letter_end));
        if !is_marked && !is_label(label) {
            return None;
        }
        let is_name = label.starts_with(char::is_uppercase) || label == "iPhone" || label == "iPad";
        if from > end {
            // "Grade 5 A.", but not "Section 5 a"
            return (is_name && letter.is_ascii_uppercase()).then(|| self.bare(at, amount));
        }
        let is_sure = match letter {
            _ if is_marked => true,
            'V' | 'W' | 'm' if lists(POWERED, &small) => false,
            'A'..='Z' if lists(PLACES, &small) => true,
            _ if is_name || small == "no" || small == "fig" => !self.is_size_behind(letter_end),
            _ => matches!(letter.to_ascii_lowercase(), 'a'..='f'),
        };
        if !is_sure {
            return None;
        }
        let words = format!("{} {}", amount.words(), letter.to_ascii_uppercase());
        self.say(at..letter_end, &words);
        self.named_end = letter_end;
        // "Figs. 1a–c"
        let dash = self.at(letter_end).filter(|c| matches!(c, '–' | '-'));
        let second = letter_end + dash.map_or(0, char::len_utf8);
        let is_range = dash.is_some()
            && from == end
            && self.letters(second) == second + 1
            && self.s.as_bytes()[second].is_ascii_alphabetic()
            && !self.at(second + 1).is_some_and(|c| c.is_alphanumeric() || c == '-');
        if is_range {
            self.say(letter_end..second, "to");
            self.say(second..second + 1, &self.s[second..second + 1].to_ascii_uppercase());
            self.named_end = second + 1;
            return Some(second + 1);
        }
        Some(letter_end)
    }

    /// True if a name of one or two words and a noun for a street follow.
    fn leads_to_street(&self, at: usize) -> bool {
        let mut end = at;
        for n in 0..3 {
            let next = self.skip_space(end);
            end = self.letters(next);
            let word = &self.s[next..end];
            if next == end || !word.starts_with(char::is_uppercase) {
                return false;
            }
            if n > 0 && lists(STREETS, word) {
                return true;
            }
        }
        false
    }

    /// True if "long", "wide" or the like follows.
    fn is_size_behind(&self, at: usize) -> bool {
        let next = self.skip_space(at);
        lists("long wide tall high deep thick across away of apart", &self.s[next..self.letters(next)])
    }

    /// The number of a house before a direction: "123 N. Main St."
    pub(super) fn house(&mut self, at: usize, amount: Amount<'_>) -> Option<usize> {
        let next = self.skip_space(amount.end);
        if next == amount.end || !amount.is_plain() || amount.whole.len() > 6 {
            return None;
        }
        let end = self.letters(next);
        let direction = match &self.s[next..end] {
            "N" => "North",
            "S" => "South",
            "E" => "East",
            "W" => "West",
            "NE" => "Northeast",
            "NW" => "Northwest",
            "SE" => "Southeast",
            "SW" => "Southwest",
            _ => return None,
        };
        let has_stop = self.at(end) == Some('.');
        let road = if self.before(at) == Some('-') { self.word_near(at, 1) } else { self.label(at) };
        let is_road = lists("I US SR Route Rte Hwy Highway Interstate", road);
        let end = end + usize::from(has_stop && !is_road);
        if !is_road && !self.is_street(at, end, has_stop) {
            return None;
        }
        self.bare(at, amount);
        self.say(next..end, direction);
        Some(end)
    }

    /// The side of a town behind a street: "Pennsylvania Ave. NW".
    pub(super) fn side(&mut self, at: usize, end: usize) -> Option<usize> {
        // "E. 12th St."
        let number = self.skip_space(end + 1);
        let ordinal = self.letters(self.digits(number));
        if self.at(end) == Some('.')
            && self.is_digit(number)
            && lists("st nd rd th", &self.s[self.digits(number)..ordinal])
            && lists(STREETS, self.word_behind(ordinal))
        {
            let side = match &self.s[at..end] {
                "N" => "North",
                "S" => "South",
                "E" => "East",
                "W" => "West",
                _ => return None,
            };
            self.say(at..end + 1, side);
            return Some(end + 1);
        }
        let side = match &self.s[at..end] {
            "NW" => "Northwest",
            "NE" => "Northeast",
            "SW" => "Southwest",
            "SE" => "Southeast",
            _ => return None,
        };
        // "30 mi. NE of St. Louis"
        if !lists(STREETS, self.word_near(at, 2)) && self.word_behind(end) != "of" || self.is_digit(end) {
            return None;
        }
        self.say(at..end, side);
        Some(end)
    }

    /// True if the name of a street follows a direction.
    fn is_street(&self, at: usize, end: usize, has_stop: bool) -> bool {
        let name = self.skip_space(end);
        let name_end = self.run(name, char::is_alphanumeric);
        if name == end || name_end == name {
            return false;
        }
        let mut next = name_end;
        for _ in 0..3 {
            let from = self.skip_space(next);
            next = self.letters(from);
            if lists(STREETS, &self.s[from..next]) {
                return true;
            }
        }
        let name = &self.s[name..name_end];
        let is_name = name.starts_with(char::is_uppercase)
            && name.len() > 1
            && name.bytes().skip(1).all(|b| b.is_ascii_lowercase())
            && !lists(DEVICES, name)
            && !lists("The It He She They We You But And This That", name);
        // Behind a full stop a sentence may begin.
        let before = self.word_near(at, 0);
        let is_first = self.s[..at].trim_end().is_empty();
        let is_measure = lists("a an A An of is was to by about", before);
        is_name && !is_measure && (!has_stop || is_first || lists("at At", before))
    }

    /// "2-in-1": the first figure, with the word behind it.
    pub(super) fn counted_in(&mut self, at: usize, amount: Amount<'_>) -> Option<usize> {
        let end = amount.end;
        // The plan "401(k)".
        for (plan, words) in
            [("401k", "four oh one K"), ("401(k)", "four oh one K"), ("403(b)", "four oh three B")]
        {
            let plan_end = at + plan.len();
            if self.s[at..].starts_with(plan) && !self.at(plan_end).is_some_and(char::is_alphanumeric) {
                self.say(at..plan_end, words);
                return Some(plan_end);
            }
        }
        if !amount.is_plain() || !self.s[end..].starts_with("-in-") || !self.is_digit(end + 4) {
            return None;
        }
        let words = format!("{} in", amount.words());
        self.say(at..end + 4, &words);
        Some(end + 4)
    }
}
