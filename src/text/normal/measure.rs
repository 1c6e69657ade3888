//! Figures with units, and what units are made of: powers, quotients, degrees.

use super::abbreviations::lists;
use super::amount::{Amount, article_of};
use super::english::Reader;
use super::numbers::{self, add};
use super::units::{self, Names};
use super::walk::Walk;

/// A unit as it is written behind a figure.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) one: String,
    pub(super) many: String,
    pub(super) end: usize,
    /// The kind of unit if it is divided into smaller ones that may follow.
    pub(super) parts: Option<char>,
}

impl Unit {
    fn new(names: Names, end: usize, parts: Option<char>) -> Unit {
        Unit { one: names.0.to_owned(), many: names.1.to_owned(), end, parts }
    }
}

/// Nouns behind a measure of theirs, which is singular: "15 oz can".
const HELD: &str = "can cans tin tins jar jars bag bags box boxes pan pans dish dishes tin skillet bolt bolts screw screws nail nails hole holes cable cables board \
     boards pipe pipes lens lenses screen monitor display tablet tablets capsule capsules bottle bottles carton cartons packet packets package \
     packages pkg tub tubs pouch pouches relay sprint race hurdles freestyle backstroke butterfly medley photo bulb bulbs bill bills";

fn percent(c: char) -> Option<Names> {
    Some(match c {
        '%' | '٪' => ("percent", "percent"),
        '‰' => ("per mille", "per mille"),
        '‱' => ("basis point", "basis points"),
        'Ω' => ("ohm", "ohms"),
        '★' => ("star", "stars"),
        _ => return None,
    })
}

impl Reader<'_> {
    /// A unit behind a figure.
    pub(super) fn measured(
        &mut self,
        at: usize,
        amount: Amount<'_>,
        end: usize,
        next: usize,
    ) -> Option<usize> {
        // "a 10-km run"
        // "48.8566N"
        let side = match &self.s[end..self.letters(end)] {
            "N" => "north",
            "S" => "south",
            "E" => "east",
            "W" => "west",
            _ => "",
        };
        if !side.is_empty() && amount.decimals.len() > 2 {
            let mut words = amount.words();
            add(&mut words, side);
            self.say(at..end + 1, &words);
            return Some(end + 1);
        }
        let is_hyphened = self.at(end) == Some('-') && self.is_letter(end + 1);
        // "Form 10-K"
        if is_hyphened && matches!(self.at(end + 1), Some('K' | 'Q')) && !self.is_letter(end + 2) {
            return None;
        }
        // "FX-0315-B"
        let is_code =
            self.before(at) == Some('-') && self.before(at - 1).is_some_and(|c| c.is_ascii_uppercase());
        if is_hyphened && is_code && !self.is_letter(end + 2) {
            return None;
        }
        // "Apt. 5-B"
        if is_hyphened
            && matches!(self.at(end + 1), Some('A'..='F'))
            && !self.is_letter(end + 2)
            && (self.before(at) == Some('#') || super::labels::is_label(self.label(at)))
        {
            let words = format!("{} {}", amount.words(), &self.s[end + 1..end + 2]);
            self.say(at..end + 2, &words);
            return Some(end + 2);
        }
        let group = self.tex_group(end);
        let from = group.unwrap_or(if is_hyphened { end + 1 } else { next });
        if self.at(from) == Some('%') && super::operands::is_modulo(self.s, from) {
            return None;
        }
        let is_attached = from == end || group.is_some();
        let unit = self.unit_at(from, is_attached).or_else(|| self.unit_by_context(at, from, is_attached))?;
        if group.is_some() && self.at(unit.end) != Some('}') {
            return None;
        }
        let symbol_end = unit.end + usize::from(group.is_some());
        let is_apart = from > end && !is_hyphened && group.is_none();
        let mut words = String::new();
        if amount.is_part() {
            words = self.part_words(at, amount.fraction.unwrap_or_default(), article_of(&unit.one));
            // "a 3/4-inch bolt"
            if is_hyphened {
                words.truncate(words.strip_suffix('s').map_or(words.len(), str::len));
            }
            if is_apart {
                self.say(at..end, &words);
                self.say(from..symbol_end, &unit.one);
            } else {
                add(&mut words, &unit.one);
                self.say(at..symbol_end, &words);
            }
        } else {
            amount.read(&mut words);
            let name = if amount.is_one() || is_hyphened || self.is_adjective(at, symbol_end) {
                &unit.one
            } else {
                &unit.many
            };
            if is_apart {
                self.say(at..end, &words);
                self.say(from..symbol_end, name);
            } else {
                add(&mut words, name);
                self.say(at..symbol_end, &words);
            }
        }
        self.parted = unit.parts.map(|parts| (symbol_end, parts));
        if unit.parts.is_some() {
            // "1h30m"
            self.figure_start = symbol_end;
        }
        Some(symbol_end)
    }

    /// The beginning of the unit of a figure that TeX sets upright: "\\,\\text{kW}", "~\\mathrm{m/s}". Markdown has taken
    /// the backslash of "\\," by now.
    fn tex_group(&self, end: usize) -> Option<usize> {
        let rest = &self.s[end..];
        let spaces = ["\\,", "\\;", "\\:", "\\!", "\\ ", ",", ";", ":", "!", "~", " "];
        let rest = spaces.iter().find_map(|space| rest.strip_prefix(space)).unwrap_or(rest);
        let groups = ["\\text{", "\\mathrm{", "\\textrm{", "\\mathsf{", "\\operatorname{"];
        let inner = groups.iter().find_map(|group| rest.strip_prefix(group))?;
        Some(self.s.len() - inner.len())
    }

    /// A unit at a position: its names, with powers and what it is divided by.
    pub(super) fn unit_at(&self, at: usize, is_attached: bool) -> Option<Unit> {
        let c = self.at(at)?;
        if matches!(c, '°' | 'º') {
            let (names, end) = self.degree(at, is_attached)?;
            let mut unit = Unit::new(names, end, Some('°'));
            if let Some((per, ended)) = self.divided(end).filter(|(per, _)| per.starts_with("per")) {
                add(&mut unit.one, &per);
                add(&mut unit.many, &per);
                unit.end = ended;
            }
            return Some(unit);
        }
        if let Some(names) = percent(c) {
            let end = at + c.len_utf8();
            let mut unit = Unit::new(names, end, None);
            // "1.5%/mo."
            if let Some((per, ended)) = self.divided(end).filter(|(per, _)| per.starts_with("per")) {
                add(&mut unit.one, &per);
                add(&mut unit.many, &per);
                unit.end = self.stop(ended);
            }
            return Some(unit);
        }
        let letters = self.unit_letters(at);
        let symbol = &self.s[at..letters];
        if symbol == "y" && self.s[letters..].starts_with("/o") && !self.is_letter(letters + 2) {
            return Some(Unit::new(("year old", "years old"), letters + 2, None));
        }
        if symbol == "deg" {
            return Some(self.spelled_degree(letters));
        }
        let (power, symbol_end) = self.spelled_power(symbol, letters);
        let (symbol, end) = match power {
            Some(_) => {
                let end = self.unit_letters(symbol_end);
                (&self.s[symbol_end..end], end)
            }
            None if matches!(symbol, "fl" | "Fl" | "FL") => {
                let oz = self.skip_space(self.stop(letters));
                let end = self.letters(oz);
                if !matches!(&self.s[oz..end], "oz" | "Oz" | "OZ") {
                    return None;
                }
                return Some(Unit::new(("fluid ounce", "fluid ounces"), self.stop(end), None));
            }
            None => (symbol, letters),
        };
        // A speed is of bits.
        let symbol = match symbol {
            "Gb" if self.s[end..].starts_with("/s") => "Gbit",
            "Mb" if self.s[end..].starts_with("/s") => "Mbit",
            symbol => symbol,
        };
        let names = match symbol {
            "m" if self.is_minute(at, letters) => ("minute", "minutes"),
            // Rates of interest are small, and lines are fast.
            "y" if is_attached && lists("ago old later warranty", self.word_behind(letters)) => {
                ("year", "years")
            }
            "pp" if self.is_decimal_before(at) => ("percentage point", "percentage points"),
            "bp" if !is_attached && !self.is_small_before(at) => return None,
            "bps" if self.is_small_before(at) => ("basis point", "basis points"),
            "t" if self.number_before(at) <= Some(12) && self.is_ingredient_behind(letters) => {
                ("teaspoon", "teaspoons")
            }
            "U" if self.s[letters..].starts_with('/') => ("unit", "units"),
            "ct" if lists(
                "gold white yellow rose",
                self.word_behind(letters + usize::from(self.at(letters) == Some('.'))),
            ) =>
            {
                ("carat", "carat")
            }
            "gr" if self.number_before(at) <= Some(15) => ("grain", "grains"),
            "gr" => ("gram", "grams"),
            "pts" if self.is_ingredient_behind(letters) => ("pint", "pints"),
            "tab" | "tabs" if self.is_dose_behind(letters) => ("tablet", "tablets"),
            "cap" | "caps" if self.is_dose_behind(letters) => ("capsule", "capsules"),
            "pt" if self.is_of_type(at, letters) => ("point", "points"),
            "T" if self.is_ingredient_behind(letters) => ("tablespoon", "tablespoons"),
            "M" if self.is_formula_behind(letters) => ("molar", "molar"),
            _ => units::unit(symbol, is_attached || power.is_some())?,
        };
        // "500 B.C."
        if symbol == "T" && self.at(end) == Some('.') {
            return None;
        }
        if symbol.len() == 1 && self.at(end) == Some('.') && self.is_letter(end + 1) {
            return None;
        }
        let is_spoon = symbol == "T" && names.0 == "tablespoon";
        if !is_attached && units::is_doubtful(symbol) && self.is_word_behind(end) && !is_spoon {
            return None;
        }
        let (mut one, mut many) = (names.0.to_owned(), names.1.to_owned());
        let mut end = self.raise(symbol, end, power, &mut one, &mut many)?;
        let parts = match symbol {
            "ft" => Some('f'),
            "h" | "hr" | "hrs" => Some('h'),
            "m" if names.0 == "minute" => Some('m'),
            "min" | "mins" => Some('m'),
            _ => None,
        };
        let mut is_divided = false;
        while let Some((per, ended)) = self.divided(end) {
            if !is_divided && !per.starts_with("per") {
                many.clone_from(&one);
            }
            add(&mut one, &per);
            add(&mut many, &per);
            (end, is_divided) = (ended, true);
        }
        if units::has_stop(symbol) || is_divided && self.at(end) == Some('.') {
            end = self.stop(end);
        } else if self.at(end) == Some('.')
            && self.is_letter(end - 1)
            && self.word_behind(end + 1).starts_with(char::is_lowercase)
        {
            // "5 g. sugar", "5 km/h. limit": within a sentence.
            end += 1;
        }
        Some(Unit { one, many, end, parts })
    }

    /// The whole number of at most four digits before a unit.
    fn number_before(&self, at: usize) -> Option<u64> {
        let before = self.s[..at].trim_end_matches([' ', '\u{a0}']);
        let digits = before.bytes().rev().take(4).take_while(u8::is_ascii_digit).count();
        numbers::value(&before[before.len() - digits..])
            .filter(|_| !before[..before.len() - digits].ends_with([',', '.']))
    }

    /// True if a whole number below 300 stands before a unit.
    fn is_small_before(&self, at: usize) -> bool {
        self.number_before(at).is_some_and(|value| value < 300)
    }

    /// True if a number with decimals stands before a unit.
    fn is_decimal_before(&self, at: usize) -> bool {
        let before = self.s[..at].trim_end_matches([' ', '\u{a0}']);
        let digits = before.bytes().rev().take(4).take_while(u8::is_ascii_digit).count();
        digits > 0 && before[..before.len() - digits].ends_with('.')
    }

    /// True if a thing of the kitchen is measured: "1 t salt".
    fn is_ingredient_behind(&self, end: usize) -> bool {
        let end = end + usize::from(self.at(end) == Some('.'));
        let next = self.skip_space(end);
        let word = &self.s[next..self.letters(next)];
        next > end
            && lists(
                "salt sugar pepper vanilla baking soda cinnamon oil butter cumin paprika oregano thyme basil honey \
                 nutmeg ginger garlic turmeric yeast cocoa cornstarch flour lemon lime vinegar mustard soy water milk \
                 cream chili parsley cilantro dill sage cloves allspice cayenne olive vegetable ground dried fresh \
                 kosher sea brown white chopped minced grated powdered maple molasses ketchup mayonnaise syrup rum",
                word,
            )
    }

    /// True for the size of letters: "12 pt. font", "font size 12 pt".
    fn is_of_type(&self, at: usize, end: usize) -> bool {
        let next = self.skip_space(end + usize::from(matches!(self.at(end), Some('.' | '-'))));
        let is_near = self.word.end + 6 >= at;
        lists(
            "font fonts type typeface text size bold italic Arial Times Helvetica Calibri Courier Georgia Verdana \
             heading headings leading spacing lettering",
            &self.s[next..self.letters(next)],
        ) || is_near && lists("font size type text Font Size Type Text", &self.s[self.word.clone()])
    }

    /// True if a chemical formula follows: "0.1 M NaOH".
    fn is_formula_behind(&self, end: usize) -> bool {
        let next = self.skip_space(end);
        let word = &self.s[next..self.run(next, char::is_alphanumeric)];
        next > end && (super::formula::is_salt(word) || super::formula::is_known(word))
    }

    /// True for a measure or a sum between an article and a noun: "a 12 V battery".
    pub(super) fn is_adjective(&self, at: usize, end: usize) -> bool {
        let next = self.skip_space(end);
        // "1 (15 oz) can", "400 g tins", "a $5 bill"
        let noun = match self.at(end) {
            Some(')') if self.before(at) == Some('(') => self.skip_space(end + 1),
            _ => next,
        };
        if noun > end && lists(HELD, &self.s[noun..self.letters(noun)]) {
            return true;
        }
        let noun = &self.s[next..self.letters(next)];
        // "10 mm socket"
        if self.s[..end].ends_with("mm") && next > end && !noun.is_empty() {
            return !noun.ends_with("ed") && !noun.ends_with("ing") && !super::length::is_no_thing(noun);
        }
        // "the 9 V battery", but "the 5 km remaining" and "the 200 g flour"
        if lists("the The this This each every", self.word_near(at, 0)) && next > end {
            let unit = self.s[at..end].trim_start_matches(|c: char| !c.is_alphabetic()).trim_end_matches('.');
            let is_poured = lists("g mg ml mL l L oz tsp tbsp Tbsp cl dl c T cup cups", unit);
            let is_verb = noun.ends_with("ed") || noun.ends_with("ing");
            return !noun.is_empty() && !is_poured && !is_verb && !super::length::is_no_thing(noun);
        }
        if !matches!(self.word_near(at, 0), "a" | "an" | "A" | "An") || next == end {
            return false;
        }
        !noun.is_empty()
            && !matches!(
                noun,
                "of" | "in"
                    | "to"
                    | "and"
                    | "or"
                    | "on"
                    | "at"
                    | "per"
                    | "for"
                    | "from"
                    | "with"
                    | "more"
                    | "less"
                    | "by"
            )
    }

    pub(super) fn unit_letters(&self, at: usize) -> usize {
        self.run(at, |c| c.is_ascii_alphabetic() || matches!(c, 'µ' | 'μ' | 'Ω'))
    }

    /// "sq" or "cu" before a unit: the word for it, and where the unit begins.
    pub(super) fn spelled_power(&self, symbol: &str, letters: usize) -> (Option<&'static str>, usize) {
        let word = match symbol {
            "sq" | "Sq" => "square",
            "cu" => "cubic",
            _ => return (None, letters),
        };
        let stop = if self.at(letters) == Some('.') { letters + 1 } else { letters };
        (Some(word), self.skip_space(stop))
    }

    /// Adds the power of a unit to its names. `None` if what follows shows that it is no unit.
    pub(super) fn raise(
        &self,
        symbol: &str,
        end: usize,
        power: Option<&str>,
        one: &mut String,
        many: &mut String,
    ) -> Option<usize> {
        let (word, ended) = match self.at(end) {
            Some('²') => ("square", end + '²'.len_utf8()),
            Some('³') => ("cubic", end + '³'.len_utf8()),
            Some('⁻') if power.is_none() => {
                let run = self.run(end, |c| super::powers::script_digit(c).is_some());
                let power = match &self.s[end..run] {
                    "⁻¹" => "",
                    "⁻²" => "square",
                    "⁻³" => "cubic",
                    _ => return None,
                };
                *one = match (symbol, power) {
                    (_, "") => format!("per {one}"),
                    ("s", "square") => "per second squared".to_owned(),
                    _ => format!("per {power} {one}"),
                };
                many.clone_from(one);
                return Some(run);
            }
            Some('^') if self.s[end..].starts_with("^2") && !self.is_digit(end + 2) => ("square", end + 2),
            Some('^') if self.s[end..].starts_with("^3") && !self.is_digit(end + 2) => ("cubic", end + 2),
            Some('2') if units::is_length(symbol) && !self.is_digit(end + 1) && !self.is_letter(end + 1) => {
                ("square", end + 1)
            }
            Some('3') if units::is_length(symbol) && !self.is_digit(end + 1) && !self.is_letter(end + 1) => {
                ("cubic", end + 1)
            }
            Some(c) if c.is_ascii_digit() && symbol == "ft" => ("", end),
            Some(_) if matches!(symbol, "h" | "m" | "min") && self.is_smaller_time(end) => ("", end),
            Some(c) if c.is_ascii_digit() || c == '_' || c.is_alphabetic() => return None,
            Some('\'' | '’') if self.is_letter(end + 1) => return None,
            _ => (power.unwrap_or_default(), end),
        };
        if !word.is_empty() {
            let is_time = matches!(symbol, "s");
            for name in [one, many] {
                *name = if is_time {
                    format!("{name} {}", if word == "square" { "squared" } else { "cubed" })
                } else {
                    format!("{word} {name}")
                };
            }
        }
        Some(ended)
    }

    /// True if two digits at most with a unit of minutes or seconds follow: "30m".
    fn is_smaller_time(&self, at: usize) -> bool {
        let digits = self.digits(at);
        let symbol = &self.s[digits..self.run(digits, |c| c.is_ascii_alphabetic())];
        digits > at && digits <= at + 2 && matches!(symbol, "m" | "min" | "s" | "sec")
    }

    /// "/h", "/100 km", "·m" behind a unit: the words, and its end.
    pub(super) fn divided(&self, at: usize) -> Option<(String, usize)> {
        let sign = self.at(at)?;
        if matches!(sign, '·' | '⋅' | '∙')
            || sign == '-' && ["ft", "N", "in", "oz"].iter().any(|unit| self.s[..at].ends_with(unit))
        {
            let from = at + sign.len_utf8();
            let end = self.unit_letters(from);
            let names = units::unit(&self.s[from..end], true)?;
            let (mut one, mut many) = (names.0.to_owned(), names.1.to_owned());
            let end = self.raise(&self.s[from..end], end, None, &mut one, &mut many)?;
            return Some((many, end));
        }
        if sign.is_whitespace() {
            // "m s⁻¹"
            let from = self.skip_space(at);
            let end = self.unit_letters(from);
            if self.at(end) != Some('⁻') {
                return None;
            }
            let names = units::unit(&self.s[from..end], true)?;
            let (mut one, mut many) = (names.0.to_owned(), names.1.to_owned());
            let end = self.raise(&self.s[from..end], end, None, &mut one, &mut many)?;
            return Some((many, end));
        }
        // "10 mi./hr."
        if sign == '.' && self.at(at + 1) == Some('/') && self.is_letter(at + 2) {
            return self.divided(at + 1);
        }
        if sign != '/' {
            return None;
        }
        if self.at(at + 1) == Some('(') {
            return self.divided_by_several(at + 2);
        }
        let mut words = String::from("per");
        let mut from = at + 1;
        let digits = self.digits(from);
        // "/1.73 m²"
        if digits > from && self.at(digits) == Some('.') && self.digits(digits + 1) > digits + 1 {
            let end = self.digits(digits + 1);
            let symbol = self.skip_space(end);
            let symbol_end = self.unit_letters(symbol);
            let names = units::unit(&self.s[symbol..symbol_end], true)?;
            let (mut one, mut many) = (names.0.to_owned(), names.1.to_owned());
            let last = self.raise(&self.s[symbol..symbol_end], symbol_end, None, &mut one, &mut many)?;
            if !many.starts_with("square") && !many.starts_with("cubic") {
                return None;
            }
            numbers::cardinal(&mut words, &self.s[from..digits]);
            add(&mut words, "point");
            numbers::digits(&mut words, &self.s[digits + 1..end]);
            add(&mut words, &many);
            return Some((words, last));
        }
        if digits > from {
            if self.is_other_system(at) {
                return None;
            }
            if !matches!(&self.s[from..digits], "10" | "100" | "1000" | "1") && !self.is_dose(at, digits) {
                return None;
            }
            numbers::cardinal(&mut words, &self.s[from..digits]);
            from = self.skip_space(digits);
        }
        let end = self.unit_letters(from);
        let symbol = &self.s[from..end];
        let Some(names) = units::unit(symbol, true) else {
            add(&mut words, units::period(symbol)?);
            return Some((words, end));
        };
        let (mut one, mut many) = (names.0.to_owned(), names.1.to_owned());
        let end = self.raise(symbol, end, None, &mut one, &mut many)?;
        add(&mut words, if digits > at + 1 { &many } else { &one });
        Some((words, end))
    }

    /// True for the slash between one measure in two systems: "500g/1lb 2oz".
    fn is_other_system(&self, at: usize) -> bool {
        const METRIC: &str = "g kg ml mL l L cm m mm km C";
        const IMPERIAL: &str = "lb lbs oz st pt pts fl in ft yd mi F";
        let left = self.left(at);
        let before = &left[left.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len()..];
        let digits = self.digits(at + 1);
        let symbol = self.skip_space(digits);
        let behind = &self.s[symbol..self.unit_letters(symbol)];
        digits > at + 1
            && (lists(METRIC, before) && lists(IMPERIAL, behind)
                || lists(IMPERIAL, before) && lists(METRIC, behind))
    }

    /// True for a weight in a volume, or in a time: "250 mg/5 mL", "4 g/24 h". Other quotients may be two measures.
    fn is_dose(&self, at: usize, digits: usize) -> bool {
        let left = self.left(at);
        let start = left.trim_end_matches(|c: char| c.is_ascii_alphabetic() || matches!(c, 'µ' | 'μ')).len();
        let unit = self.skip_space(digits);
        lists("mg mcg µg μg ug g IU U mmol mEq", &left[start..])
            && lists("mL ml L h hr hrs dL dl kg tab tabs day", &self.s[unit..self.letters(unit)])
    }

    /// The product of units behind "/(": "m·K)".
    fn divided_by_several(&self, at: usize) -> Option<(String, usize)> {
        let mut words = String::from("per");
        let mut from = at;
        for _ in 0..4 {
            let end = self.unit_letters(from);
            let names = units::unit(&self.s[from..end], false)?;
            let (mut one, mut many) = (names.0.to_owned(), names.1.to_owned());
            let end = self.raise(&self.s[from..end], end, None, &mut one, &mut many)?;
            add(&mut words, &one);
            match self.at(end)? {
                ')' => return Some((words, end + 1)),
                c @ ('·' | '⋅' | '∙' | '*' | ' ') => from = end + c.len_utf8(),
                _ => return None,
            }
        }
        None
    }

    /// Degrees: °C, °F, and a plain degree sign.
    pub(super) fn degree(&self, at: usize, _is_attached: bool) -> Option<(Names, usize)> {
        let sign = self.at(at)?;
        let end = at + sign.len_utf8();
        let next = self.skip_space(end);
        let letters = self.letters(next);
        let names = match &self.s[next..letters] {
            "C" => ("degree Celsius", "degrees Celsius"),
            "F" => ("degree Fahrenheit", "degrees Fahrenheit"),
            "K" => ("degree Kelvin", "degrees Kelvin"),
            "N" => ("degree north", "degrees north"),
            "S" => ("degree south", "degrees south"),
            "E" => ("degree east", "degrees east"),
            "W" => ("degree west", "degrees west"),
            _ => return Some((("degree", "degrees"), end)),
        };
        Some((names, letters))
    }

    /// "deg." and the scale behind it.
    fn spelled_degree(&self, end: usize) -> Unit {
        let next = self.skip_space(end + usize::from(self.at(end) == Some('.')));
        let letters = self.letters(next);
        match &self.s[next..letters] {
            "C" => Unit::new(("degree Celsius", "degrees Celsius"), letters, None),
            "F" => Unit::new(("degree Fahrenheit", "degrees Fahrenheit"), letters, None),
            _ => Unit::new(("degree", "degrees"), self.stop(end), None),
        }
    }

    /// True if a word in small letters or a figure follows.
    pub(super) fn is_word_behind(&self, end: usize) -> bool {
        self.is_space(end)
            && self
                .at(self.skip_space(end))
                .is_some_and(|c| c.is_lowercase() || c.is_ascii_digit() || c.is_alphabetic())
    }

    /// Units that are words elsewhere: "in" behind feet or before a mark, "m" between hours and seconds.
    pub(super) fn unit_by_context(&self, at: usize, from: usize, is_attached: bool) -> Option<Unit> {
        let end = self.letters(from);
        let symbol = &self.s[from..end];
        let is_behind =
            |kind: char| self.parted.is_some_and(|(end, last)| last == kind && at <= end + 5 && at >= end);
        match symbol {
            "T" if !is_attached && self.at(end) == Some('.') && self.is_letter(self.skip_space(end + 1)) => {
                Some(Unit::new(("tablespoon", "tablespoons"), self.stop(end), None))
            }
            "c" | "C"
                if !is_attached
                    && (symbol == "c"
                        || self.number_before(from) <= Some(8) && self.number_before(from).is_some())
                    && self.at(end) == Some('.')
                    && (self.is_letter(self.skip_space(end + 1))
                        || matches!(
                            self.at(self.skip_space(end + 1)),
                            Some(',' | ')' | '+' | '(' | '/')
                        )) =>
            {
                Some(Unit::new(("cup", "cups"), self.stop(end), None))
            }
            "C" | "F" if is_attached && !self.is_digit(end) => {
                let is_hot = self
                    .amount(at)
                    .and_then(|amount| amount.value())
                    .is_some_and(|value| (100..=600).contains(&value));
                let is_exact = self.amount(at).is_some_and(|amount| amount.decimals.len() == 1);
                let is_warm = is_hot
                    || is_exact
                    || self.figure_end_before(at)
                    || matches!(self.before(at), Some('-' | '−'))
                        && !self.before(at - 1).is_some_and(char::is_alphanumeric)
                    || matches!(
                        self.word_near(at, 1),
                        "to" | "of"
                            | "at"
                            | "around"
                            | "about"
                            | "is"
                            | "was"
                            | "above"
                            | "below"
                            | "near"
                            | "hit"
                            | "reach"
                            | "and"
                            | "high"
                            | "low"
                            | "High"
                            | "Low"
                            | "Temp"
                            | "temp"
                            | "temperature"
                            | "highs"
                            | "lows"
                            | "or"
                            | "oven"
                            | "up"
                    );
                let names = if symbol == "C" {
                    ("degree Celsius", "degrees Celsius")
                } else {
                    ("degree Fahrenheit", "degrees Fahrenheit")
                };
                is_warm.then(|| Unit::new(names, end, None))
            }
            "in" | "In" if !is_attached => {
                let rest = self.skip_space(end);
                let word = &self.s[rest..self.letters(rest)];
                let is_measure = matches!(
                    word,
                    "tall"
                        | "wide"
                        | "long"
                        | "deep"
                        | "high"
                        | "thick"
                        | "across"
                        | "diameter"
                        | "x"
                        | "by"
                        | "round"
                        | "square"
                        | "pan"
                        | "apart"
                        | "screen"
                        | "pipe"
                );
                let next = self.at(end);
                let is_mark = next.is_none()
                    || matches!(next, Some(',' | ';' | ')' | '×' | '/' | '²' | '³' | '-'))
                    || next == Some('.');
                let is_crossed = rest > end && matches!(self.at(rest), Some('×' | '=' | '≈'));
                (is_behind('f') || is_measure || is_mark || is_crossed)
                    .then(|| Unit::new(("inch", "inches"), self.stop(end), None))
            }
            _ => None,
        }
    }

    /// True for the "m" of "1h 20m" and "2m 30s".
    pub(super) fn is_minute(&self, at: usize, end: usize) -> bool {
        let second = self.skip_space(end);
        let digits = self.digits(second);
        self.s[second..].starts_with("ago") && second > end
            || lists(
                "ETA eta prep cook cooking total time bake rest chill duration runtime",
                &self.s[self.word.clone()].to_ascii_lowercase(),
            ) && self.word.end + 7 >= at
            || self.parted.is_some_and(|(hours, kind)| kind == 'h' && at >= hours && at <= hours + 5)
            || digits > second && self.at(digits) == Some('s') && !self.is_letter(digits + 1)
    }
}
