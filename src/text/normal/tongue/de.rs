//! German.

use super::{Names, Tongue};

pub(super) static GERMAN: Tongue = Tongue {
    cardinal,
    counted: cardinal,
    point: "Komma",
    minus: "minus",
    plus: "plus",
    to: "bis",
    sign,
    symbols: "✓✔☑✅🗸🗹 Häkchen; ✗✘☒❌❎ Kreuz; ✕✖ Kreuz; ☐ Kästchen; ♠♤ Pik; ♥♡ Herz; ♦♢ Karo; ♣♧ Kreuz; \
         ♀ weiblich; ♂ männlich; ♔♚ König; ♕♛ Dame; ♖♜ Turm; ♗♝ Läufer; ♘♞ Springer; ♙♟ Bauer; ♯ Kreuz; \
         ♭ B; ➕ plus; ➖ minus; ➗ geteilt durch; ♾ unendlich; ∈ Element von; ∑ Summe; ∫ Integral; \
         ⇒ daraus folgt; ⇔ genau dann wenn; ☰ Menü; ☎☏✆ Telefon; ✉ Mail; ⚠ Achtung",
    arrows: ["nach", "von", "hoch", "runter", "hin und zurück"],
    stars: ("ein Stern", "Sterne"),
    phrases: "i. V. m.=in Verbindung mit;o. g.=oben genannt;z. T.=zum Teil;i. d. R.=in der Regel;u. U.=unter Umständen;o. ä.=oder ähnlich;\
         o. Ä.=oder Ähnliches;s. o.=siehe oben;s. u.=siehe unten;v. a.=vor allem;i. A.=im Auftrag;\
         m. E.=meines Erachtens;u. v. m.=und vieles mehr;v. Chr.=vor Christus;n. Chr.=nach Christus;\
         z. Z.=zur Zeit;Urt. v.=Urteil vom;Beschl. v.=Beschluss vom;z. Hd.=zu Händen",
    unit,
    money,
    magnitude,
    fraction,
    abbreviation,
    special,
    numeral,
    hours: "Uhr",
    powers: ("zum Quadrat", "hoch drei"),
    power: "hoch",
    per: "pro",
    over: "durch",
    life: ("geboren", "gestorben"),
    sections: "Paragrafen",
    weekday,
    street: ("str", "straße"),
    and: "",
    article: "",
    half: "einhalb",
    half_of,
    dot: "Punkt",
    ratio: "zu",
    page: ("S", "Seite"),
    spells_phones: true,
    has_ordinals: true,
    elides: false,
    has_capitals: true,
};

const ONES: [&str; 20] = [
    "null",
    "eins",
    "zwei",
    "drei",
    "vier",
    "fünf",
    "sechs",
    "sieben",
    "acht",
    "neun",
    "zehn",
    "elf",
    "zwölf",
    "dreizehn",
    "vierzehn",
    "fünfzehn",
    "sechzehn",
    "siebzehn",
    "achtzehn",
    "neunzehn",
];
const TENS: [&str; 10] =
    ["", "zehn", "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig"];

fn cardinal(value: u64) -> String {
    for (power, one, many) in [
        (1_000_000_000_000, "eine Billion", "Billionen"),
        (1_000_000_000, "eine Milliarde", "Milliarden"),
        (1_000_000, "eine Million", "Millionen"),
    ] {
        if value >= power {
            let head = if value / power == 1 {
                one.to_owned()
            } else {
                format!("{} {many}", cardinal(value / power))
            };
            return if value.is_multiple_of(power) {
                head
            } else {
                format!("{head} {}", cardinal(value % power))
            };
        }
    }
    let joined = |head: u64, word: &str, rest: u64| {
        let head = if head == 1 { "ein".to_owned() } else { cardinal(head) };
        let rest = if rest == 0 { String::new() } else { cardinal(rest) };
        format!("{head}{word}{rest}")
    };
    match value {
        0..20 => ONES[value as usize].to_owned(),
        20..100 if value.is_multiple_of(10) => TENS[value as usize / 10].to_owned(),
        20..100 => {
            let one = if value % 10 == 1 { "ein" } else { ONES[value as usize % 10] };
            format!("{one}und{}", TENS[value as usize / 10])
        }
        100..1000 => joined(value / 100, "hundert", value % 100),
        _ => joined(value / 1000, "tausend", value % 1000),
    }
}

fn sign(c: char) -> Option<&'static str> {
    Some(match c {
        '=' => "gleich",
        '×' => "mal",
        '÷' => "geteilt durch",
        '±' => "plus minus",
        '≥' => "größer oder gleich",
        '≤' => "kleiner oder gleich",
        '≈' => "ungefähr",
        '≠' => "ungleich",
        '<' => "kleiner als",
        '>' => "größer als",
        '→' => "nach",
        '&' => "und",
        '§' => "Paragraf",
        '%' => "Prozent",
        '∞' => "unendlich",
        '√' => "Wurzel aus",
        '°' => "Grad",
        _ => return None,
    })
}

fn unit(symbol: &str) -> Option<Names> {
    Some(match symbol {
        "mm" => ("ein Millimeter", "Millimeter"),
        "cm" => ("ein Zentimeter", "Zentimeter"),
        "m" => ("ein Meter", "Meter"),
        "km" => ("ein Kilometer", "Kilometer"),
        "m²" => ("ein Quadratmeter", "Quadratmeter"),
        "km²" => ("ein Quadratkilometer", "Quadratkilometer"),
        "cm²" => ("ein Quadratzentimeter", "Quadratzentimeter"),
        "m³" => ("ein Kubikmeter", "Kubikmeter"),
        "cm³" => ("ein Kubikzentimeter", "Kubikzentimeter"),
        "mg" => ("ein Milligramm", "Milligramm"),
        "g" => ("ein Gramm", "Gramm"),
        "kg" => ("ein Kilogramm", "Kilogramm"),
        "t" => ("eine Tonne", "Tonnen"),
        "ml" => ("ein Milliliter", "Milliliter"),
        "cl" => ("ein Zentiliter", "Zentiliter"),
        "l" | "L" => ("ein Liter", "Liter"),
        "EL" => ("ein Esslöffel", "Esslöffel"),
        "TL" => ("ein Teelöffel", "Teelöffel"),
        "Pck" => ("ein Päckchen", "Päckchen"),
        "Pkg" | "Pk" => ("eine Packung", "Packungen"),
        "Msp" => ("eine Messerspitze", "Messerspitzen"),
        "Stk" => ("ein Stück", "Stück"),
        "Bd" => ("ein Bund", "Bund"),
        "Be" => ("ein Becher", "Becher"),
        "dl" => ("ein Deziliter", "Deziliter"),
        "h" | "Std" => ("eine Stunde", "Stunden"),
        "min" | "Min" => ("eine Minute", "Minuten"),
        "s" | "Sek" => ("eine Sekunde", "Sekunden"),
        "ms" => ("eine Millisekunde", "Millisekunden"),
        "°C" => ("ein Grad Celsius", "Grad Celsius"),
        "°F" => ("ein Grad Fahrenheit", "Grad Fahrenheit"),
        "°" => ("ein Grad", "Grad"),
        "%" => ("ein Prozent", "Prozent"),
        "‰" => ("ein Promille", "Promille"),
        "V" => ("ein Volt", "Volt"),
        "W" => ("ein Watt", "Watt"),
        "kW" => ("ein Kilowatt", "Kilowatt"),
        "MW" => ("ein Megawatt", "Megawatt"),
        "kWh" => ("eine Kilowattstunde", "Kilowattstunden"),
        "A" => ("ein Ampere", "Ampere"),
        "Hz" => ("ein Hertz", "Hertz"),
        "kHz" => ("ein Kilohertz", "Kilohertz"),
        "MHz" => ("ein Megahertz", "Megahertz"),
        "GHz" => ("ein Gigahertz", "Gigahertz"),
        "kB" | "KB" => ("ein Kilobyte", "Kilobyte"),
        "MB" => ("ein Megabyte", "Megabyte"),
        "GB" => ("ein Gigabyte", "Gigabyte"),
        "TB" => ("ein Terabyte", "Terabyte"),
        "hPa" => ("ein Hektopascal", "Hektopascal"),
        "bar" => ("ein Bar", "Bar"),
        "PS" => ("ein P S", "P S"),
        "kcal" => ("eine Kilokalorie", "Kilokalorien"),
        "ha" => ("ein Hektar", "Hektar"),
        "dB" => ("ein Dezibel", "Dezibel"),
        _ => return None,
    })
}

/// Half of a thing, by its gender.
fn half_of(one: &str) -> Option<&'static str> {
    let is_masculine = ["eter", "iter", "löffel", "Bund", "Bar"].iter().any(|end| one.ends_with(end));
    Some(match one.strip_prefix("eine ") {
        Some(_) => "eine halbe",
        None if is_masculine => "ein halber",
        None => "ein halbes",
    })
}

fn money(sign: &str) -> Option<(Names, &'static str)> {
    Some(match sign {
        "€" | "EUR" => (("ein Euro", "Euro"), ""),
        "$" | "USD" => (("ein Dollar", "Dollar"), ""),
        "£" | "GBP" => (("ein Pfund", "Pfund"), ""),
        "¥" | "JPY" => (("ein Yen", "Yen"), ""),
        "CHF" => (("ein Franken", "Franken"), ""),
        _ => return None,
    })
}

fn magnitude(symbol: &str) -> Option<Names> {
    Some(match symbol {
        "Mio" | "Million" | "Millionen" => ("eine Million", "Millionen"),
        "Mrd" | "Milliarde" | "Milliarden" => ("eine Milliarde", "Milliarden"),
        "Tsd" => ("tausend", "tausend"),
        _ => return None,
    })
}

fn fraction(c: char) -> Option<&'static str> {
    Some(match c {
        '½' => "ein halb",
        '¼' => "ein Viertel",
        '¾' => "drei Viertel",
        '⅓' => "ein Drittel",
        '⅔' => "zwei Drittel",
        '⅛' => "ein Achtel",
        '⅜' => "drei Achtel",
        '⅝' => "fünf Achtel",
        '⅞' => "sieben Achtel",
        '⅕' => "ein Fünftel",
        '⅖' => "zwei Fünftel",
        '⅗' => "drei Fünftel",
        '⅘' => "vier Fünftel",
        '⅙' => "ein Sechstel",
        '⅚' => "fünf Sechstel",
        _ => return None,
    })
}

fn abbreviation(written: &str) -> Option<&'static str> {
    Some(match written {
        "u." => "und",
        "rel." => "relative",
        "erm." => "ermäßigt",
        "gestr." => "gestrichener",
        "geh." => "gehäufter",
        "ff." => "fortfolgende",
        "exkl." => "exklusive",
        "bspw." => "beispielsweise",
        "vorm." => "vormittags",
        "nachm." => "nachmittags",
        "z.B." | "z.B" => "zum Beispiel",
        "d.h." | "d.h" => "das heißt",
        "u.a." | "u.a" => "unter anderem",
        "mind." => "mindestens",
        "gem." => "gemäß",
        "lt." => "laut",
        "Az." => "Aktenzeichen",
        "BGBl." => "Bundesgesetzblatt",
        "Rn." => "Randnummer",
        "Ziff." => "Ziffer",
        "ev." => "evangelische",
        "kath." => "katholische",
        "bzw." => "beziehungsweise",
        "etc." => "et cetera",
        "Abs." => "Absatz",
        "Art." => "Artikel",
        "Bd." => "Band",
        "Jh." => "Jahrhundert",
        "geb." => "geboren",
        "gest." => "gestorben",
        "zzgl." => "zuzüglich",
        "dt." => "deutsch",
        "engl." => "englisch",
        "frz." => "französisch",
        "ital." => "italienisch",
        "span." => "spanisch",
        "österr." => "österreichisch",
        "schweiz." => "schweizerisch",
        "amerik." => "amerikanisch",
        "russ." => "russisch",
        "griech." => "griechisch",
        "lat." => "lateinisch",
        "ehem." => "ehemals",
        "sog." => "sogenannt",
        "urspr." => "ursprünglich",
        "allg." => "allgemein",
        "bes." => "besonders",
        "gegr." => "gegründet",
        "verh." => "verheiratet",
        "max." => "maximal",
        "min." => "mindestens",
        "usw." => "und so weiter",
        "ca." => "circa",
        "Nr." => "Nummer",
        "Dr." => "Doktor",
        "Prof." => "Professor",
        "Hr." => "Herr",
        "Fr." => "Frau",
        "Str." => "Straße",
        "vgl." | "Vgl." => "vergleiche",
        "evtl." => "eventuell",
        "ggf." => "gegebenenfalls",
        "inkl." => "inklusive",
        "Abb." => "Abbildung",
        "Kap." => "Kapitel",
        "Tel." => "Telefon",
        "Jan." => "Januar",
        "Feb." => "Februar",
        "Apr." => "April",
        "Aug." => "August",
        "Sept." => "September",
        "Okt." => "Oktober",
        "Nov." => "November",
        "Dez." => "Dezember",
        "Gl." => "Gleis",
        "Pkg." => "Packung",
        "Pck." => "Päckchen",
        "ggü." => "gegenüber",
        "Vj." => "Vorjahr",
        "Aufl." => "Auflage",
        "tgl." => "täglich",
        "geschl." => "geschlossen",
        "MwSt." => "Mehrwertsteuer",
        "med." => "med",
        "Abt." => "Abteilung",
        "Hbf." => "Hauptbahnhof",
        "Bhf." => "Bahnhof",
        "Tbl." => "Tabletten",
        "o.g." => "oben genannt",
        _ => return None,
    })
}

/// The day of the week of an abbreviation without its full stop.
fn weekday(word: &str) -> Option<&'static str> {
    Some(match word {
        "Mo" => "Montag",
        "Di" => "Dienstag",
        "Mi" => "Mittwoch",
        "Do" => "Donnerstag",
        "Fr" => "Freitag",
        "Sa" => "Samstag",
        "So" => "Sonntag",
        _ => return None,
    })
}

const MONTHS: [&str; 12] = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
];

/// Abbreviations of months, without their full stop.
const SHORT_MONTHS: &str = "Jan Jän Feb Mär Apr Jun Jul Aug Sep Sept Okt Nov Dez Jänner Feber";

/// Words in front of an ordinal number that ends in "-en".
const OBLIQUE: &str = "am vom zum im beim dem den des ab seit bis und vor nach von zwischen ersten jeden jedem jenem diesem \
     einem einen keinen seinem ihrem meinem deinem unserem";

/// Words in front of an ordinal number that ends in "-e".
const ARTICLES: &str = "der die das dieser diese dieses jede jene eine keine seine ihre meine deine unsere";

/// Words in front of "der" that make it a dative.
const BEFORE_DATIVE: &str = "in an auf mit von zu nach seit bei aus ab";

/// Nouns that are counted by ordinal numbers.
const COUNTED: &str = "Jahrhundert Jahrhunderts Jh Klasse Stock Etage Platz Mal Weltkrieg Weltkriegs Kapitel Geburtstag \
     Lebensjahr Woche Tag Runde Liga Auflage Semester Quartal Rang Akt Stufe Teil Spieltag Minute";

/// An ordinal number or a date at a position: "3. Mai", "24.12.2024", "der 2. Weltkrieg". Its words, and its end.
fn special(text: &str, at: usize) -> Option<(String, usize)> {
    let day_end = digits(text, at);
    let value: u64 = text[at..day_end].parse().ok().filter(|_| day_end <= at + 4)?;
    let stop = day_end + 1;
    if value == 0 || !text[day_end..].starts_with('.') {
        return None;
    }
    let ending = ending(text, at);
    if let Some((month, end)) = month_in_digits(text, stop).filter(|_| value <= 31) {
        let mut words = format!("{}{ending} {month}", ordinal(value));
        let (year, end) = year(text, end);
        if year.is_empty() && text[end..].starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        if !year.is_empty() {
            words = format!("{words} {year}");
        }
        return Some((words, end));
    }
    // "3.–5. Mai"
    let dash = text[stop..].chars().next().filter(|c| matches!(c, '–' | '-'));
    if let Some(dash) = dash {
        let second = stop + dash.len_utf8();
        let second_end = digits(text, second);
        let is_date = second_end > second
            && text[second_end..].starts_with(". ")
            && is_month(word(text, second_end + 2));
        return is_date.then(|| (format!("{}en bis", ordinal(value)), second));
    }
    let next = stop + text[stop..].chars().next().filter(|c| matches!(c, ' ' | '\u{a0}'))?.len_utf8();
    let noun = word(text, next);
    let before = before(text, at);
    let is_named = lists(ARTICLES, before) || lists(OBLIQUE, before) && before != "und" && before != "bis";
    let is_ordinal = is_month(noun) && value <= 31
        || lists(COUNTED, noun)
        || is_named && noun.starts_with(char::is_alphabetic);
    is_ordinal.then(|| (format!("{}{ending}", ordinal(value)), stop))
}

fn lists(list: &str, word: &str) -> bool {
    let word = word.trim_end_matches('.');
    !word.is_empty()
        && list
            .split_ascii_whitespace()
            .any(|listed| listed == word || listed.len() == word.len() && listed.eq_ignore_ascii_case(word))
}

fn is_month(word: &str) -> bool {
    MONTHS.contains(&word) || SHORT_MONTHS.split_ascii_whitespace().any(|month| month == word)
}

fn digits(text: &str, at: usize) -> usize {
    let bytes = text.as_bytes().get(at..).unwrap_or_default();
    at + bytes.iter().take_while(|b| b.is_ascii_digit()).count()
}

/// The word at a position.
fn word(text: &str, at: usize) -> &str {
    let rest = text.get(at..).unwrap_or_default();
    &rest[..rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len())]
}

/// The word in front of a position. Long words are no articles.
fn before(text: &str, at: usize) -> &str {
    let rest = text[..at].strip_suffix([' ', '\u{a0}', '–', '-']).unwrap_or_default();
    let length: usize =
        rest.chars().rev().take(12).take_while(|c| c.is_alphabetic()).map(char::len_utf8).sum();
    &rest[rest.len() - length..]
}

/// The ending of an ordinal number, by the word in front of it.
fn ending(text: &str, at: usize) -> &'static str {
    let word = before(text, at);
    if text[..at].ends_with(['–', '-']) || lists(OBLIQUE, word) {
        return "en";
    }
    if word.eq_ignore_ascii_case("der") && lists(BEFORE_DATIVE, before(text, at - word.len() - 1)) {
        return "en";
    }
    if lists(ARTICLES, word) { "e" } else { "er" }
}

/// An ordinal number without its ending.
fn ordinal(value: u64) -> String {
    let small = value % 100;
    let head = if value > small { cardinal(value - small) } else { String::new() };
    let tail = match small {
        0 => "st".to_owned(),
        1 => "erst".to_owned(),
        3 => "dritt".to_owned(),
        7 => "siebt".to_owned(),
        8 => "acht".to_owned(),
        2..20 => format!("{}t", cardinal(small)),
        _ => format!("{}st", cardinal(small)),
    };
    head + &tail
}

/// A month in digits with its full stop, and its end: "12.".
fn month_in_digits(text: &str, at: usize) -> Option<(&'static str, usize)> {
    let from = at + usize::from(text[at..].starts_with(' '));
    let end = digits(text, from);
    let month: usize = text[from..end].parse().ok().filter(|_| end <= from + 2)?;
    let name = MONTHS.get(month.checked_sub(1)?)?;
    text[end..].starts_with('.').then(|| (*name, end + 1))
}

/// The year behind a date, and the end of both. A full stop that ends the text stays.
fn year(text: &str, at: usize) -> (String, usize) {
    let from = at + usize::from(text[at..].starts_with(' '));
    let end = digits(text, from);
    let is_year = end == from + 4 || end == from + 2 && from == at;
    match text[from..end].parse::<u64>() {
        Ok(year) if is_year && (1100..2000).contains(&year) => {
            let rest = if year % 100 == 0 { String::new() } else { cardinal(year % 100) };
            (format!("{}hundert{rest}", cardinal(year / 100)), end)
        }
        Ok(year) if is_year => (cardinal(year), end),
        _ if text[at..].trim_end().is_empty() => (String::new(), at - 1),
        _ => (String::new(), at),
    }
}

/// The Roman numeral of a ruler: "Ludwig XIV."
fn numeral(word: &str, before: &str) -> Option<String> {
    let value = super::super::numbers::roman(word).filter(|value| *value <= 30)?;
    lists(RULERS, before).then(|| format!("der {}e", capitalised(&ordinal(value))))
}

const RULERS: &str = "Ludwig Heinrich Friedrich Wilhelm Karl Otto Georg Philipp Johannes Paul Pius Benedikt Leo Gregor Franz \
     Joseph Leopold Maximilian Rudolf Ferdinand Napoleon Nikolaus Alexander Peter Iwan Eduard Richard Jakob Gustav";

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
