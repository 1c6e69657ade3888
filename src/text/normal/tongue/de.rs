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
    unit,
    money,
    magnitude,
    fraction,
    abbreviation,
    hours: "Uhr",
    per: "pro",
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
        _ => return None,
    })
}

fn abbreviation(written: &str) -> Option<&'static str> {
    Some(match written {
        "z.B." | "z.B" => "zum Beispiel",
        "d.h." | "d.h" => "das heißt",
        "u.a." | "u.a" => "unter anderem",
        "bzw." => "beziehungsweise",
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
        _ => return None,
    })
}
