//! French.

use super::{Names, Tongue};

pub(super) static FRENCH: Tongue = Tongue {
    cardinal,
    counted: cardinal,
    point: "virgule",
    minus: "moins",
    plus: "plus",
    to: "à",
    sign,
    symbols: "✓✔☑✅🗸🗹 coché; ✗✘☒❌❎✕✖ croix; ☐ case; ♠♤ pique; ♥♡ cœur; ♦♢ carreau; ♣♧ trèfle; ♀ femelle; \
         ♂ mâle; ♔♚ roi; ♕♛ dame; ♖♜ tour; ♗♝ fou; ♘♞ cavalier; ♙♟ pion; ♯ dièse; ♭ bémol; ➕ plus; \
         ➖ moins; ➗ divisé par; ♾ infini; ∈ appartient à; ∑ somme; ∫ intégrale; ⇒ implique; \
         ⇔ équivaut à; ☰ menu; ☎☏✆ téléphone; ✉ mail; ⚠ attention",
    arrows: ["vers", "depuis", "haut", "bas", "dans les deux sens"],
    stars: ("une étoile", "étoiles"),
    phrases: "c. à café=cuillère à café;c. à c.=cuillère à café;c. à soupe=cuillère à soupe;\
         c. à s.=cuillère à soupe;p. ex.=par exemple;c.-à-d.=c'est-à-dire;av. J.-C.=avant Jésus-Christ;\
         apr. J.-C.=après Jésus-Christ;C. civ.=code civil;C. pén.=code pénal;C. trav.=code du travail;et s.=et suivantes;et ss.=et suivantes;s'il v. pl.=s'il vous plaît;N. B.=nota bene;\
         P.-S.=post-scriptum",
    unit,
    money,
    magnitude,
    fraction,
    abbreviation,
    special,
    numeral,
    hours: "heures",
    powers: ("au carré", "au cube"),
    power: "puissance",
    per: "par",
    life: ("", ""),
    over: "sur",
    sections: "paragraphes",
    weekday: |_| None,
    street: ("", ""),
    and: "et",
    article: "un ",
    half: "",
    half_of: |name| (name.starts_with("une ") || name.starts_with("cuillère")).then_some("une demi"),
    dot: "point",
    ratio: "à",
    page: ("", ""),
    spells_phones: false,
    has_ordinals: false,
    elides: true,
    has_capitals: false,
};

const ONES: [&str; 17] = [
    "zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix", "onze", "douze",
    "treize", "quatorze", "quinze", "seize",
];
const TENS: [&str; 7] = ["", "dix", "vingt", "trente", "quarante", "cinquante", "soixante"];

fn cardinal(value: u64) -> String {
    for (power, one, many) in [
        (1_000_000_000_000, "un billion", "billions"),
        (1_000_000_000, "un milliard", "milliards"),
        (1_000_000, "un million", "millions"),
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
        let mut words = if head == 1 { word.to_owned() } else { format!("{} {word}", cardinal(head)) };
        if rest > 0 {
            words = format!("{words} {}", cardinal(rest));
        }
        words
    };
    match value {
        0..=16 => ONES[value as usize].to_owned(),
        17..=19 => format!("dix-{}", ONES[value as usize - 10]),
        80 => "quatre-vingts".to_owned(),
        71 => "soixante et onze".to_owned(),
        70..=79 => format!("soixante-{}", cardinal(value - 60)),
        81..=99 => format!("quatre-vingt-{}", cardinal(value - 80)),
        20..=69 => {
            let ten = TENS[value as usize / 10];
            match value % 10 {
                0 => ten.to_owned(),
                1 => format!("{ten} et un"),
                one => format!("{ten}-{}", ONES[one as usize]),
            }
        }
        200..=999 if value.is_multiple_of(100) => format!("{} cents", cardinal(value / 100)),
        100..=999 => joined(value / 100, "cent", value % 100),
        // "deux cent mille"
        200_000..=999_999 if (value / 1000).is_multiple_of(100) => {
            let head = format!("{} cent mille", cardinal(value / 100_000));
            if value.is_multiple_of(1000) { head } else { format!("{head} {}", cardinal(value % 1000)) }
        }
        _ => joined(value / 1000, "mille", value % 1000),
    }
}

fn sign(c: char) -> Option<&'static str> {
    Some(match c {
        '=' => "égale",
        '×' => "fois",
        '÷' => "divisé par",
        '±' => "plus ou moins",
        '≥' => "supérieur ou égal à",
        '≤' => "inférieur ou égal à",
        '≈' => "environ",
        '≠' => "différent de",
        '<' => "inférieur à",
        '>' => "supérieur à",
        '→' => "vers",
        '&' => "et",
        '§' => "paragraphe",
        '%' => "pour cent",
        '∞' => "infini",
        '√' => "racine de",
        '°' => "degrés",
        _ => return None,
    })
}

fn unit(symbol: &str) -> Option<Names> {
    Some(match symbol {
        "mm" => ("un millimètre", "millimètres"),
        "cm" => ("un centimètre", "centimètres"),
        "m" => ("un mètre", "mètres"),
        "km" => ("un kilomètre", "kilomètres"),
        "m²" => ("un mètre carré", "mètres carrés"),
        "km²" => ("un kilomètre carré", "kilomètres carrés"),
        "cm²" => ("un centimètre carré", "centimètres carrés"),
        "m³" => ("un mètre cube", "mètres cubes"),
        "mg" => ("un milligramme", "milligrammes"),
        "g" => ("un gramme", "grammes"),
        "kg" => ("un kilogramme", "kilogrammes"),
        "t" => ("une tonne", "tonnes"),
        "ml" | "mL" => ("un millilitre", "millilitres"),
        "cl" | "cL" => ("un centilitre", "centilitres"),
        "l" | "L" => ("un litre", "litres"),
        "h" => ("une heure", "heures"),
        "min" | "mn" => ("une minute", "minutes"),
        "s" => ("une seconde", "secondes"),
        "ms" => ("une milliseconde", "millisecondes"),
        "°C" => ("un degré Celsius", "degrés Celsius"),
        "°F" => ("un degré Fahrenheit", "degrés Fahrenheit"),
        "°" => ("un degré", "degrés"),
        "%" => ("un pour cent", "pour cent"),
        "‰" => ("un pour mille", "pour mille"),
        "V" => ("un volt", "volts"),
        "W" => ("un watt", "watts"),
        "kW" => ("un kilowatt", "kilowatts"),
        "kWh" => ("un kilowattheure", "kilowattheures"),
        "A" => ("un ampère", "ampères"),
        "Hz" => ("un hertz", "hertz"),
        "kHz" => ("un kilohertz", "kilohertz"),
        "MHz" => ("un mégahertz", "mégahertz"),
        "GHz" => ("un gigahertz", "gigahertz"),
        "ko" | "Ko" => ("un kilooctet", "kilooctets"),
        "Mo" => ("un mégaoctet", "mégaoctets"),
        "Go" => ("un gigaoctet", "gigaoctets"),
        "To" => ("un téraoctet", "téraoctets"),
        "hPa" => ("un hectopascal", "hectopascals"),
        "kcal" => ("une kilocalorie", "kilocalories"),
        "ha" => ("un hectare", "hectares"),
        "dB" => ("un décibel", "décibels"),
        _ => return None,
    })
}

fn money(sign: &str) -> Option<(Names, &'static str)> {
    Some(match sign {
        "€" | "EUR" => (("un euro", "euros"), ""),
        "$" | "USD" => (("un dollar", "dollars"), ""),
        "£" | "GBP" => (("une livre", "livres"), ""),
        "¥" | "JPY" => (("un yen", "yens"), ""),
        "CHF" => (("un franc", "francs"), ""),
        _ => return None,
    })
}

fn magnitude(symbol: &str) -> Option<Names> {
    Some(match symbol {
        "M" | "million" | "millions" => ("un million de", "millions de"),
        "Md" | "Mds" | "milliard" | "milliards" => ("un milliard de", "milliards de"),
        _ => return None,
    })
}

fn fraction(c: char) -> Option<&'static str> {
    Some(match c {
        '½' => "un demi",
        '¼' => "un quart",
        '¾' => "trois quarts",
        '⅓' => "un tiers",
        '⅔' => "deux tiers",
        '⅛' => "un huitième",
        '⅜' => "trois huitièmes",
        '⅝' => "cinq huitièmes",
        '⅞' => "sept huitièmes",
        '⅕' => "un cinquième",
        '⅖' => "deux cinquièmes",
        '⅗' => "trois cinquièmes",
        '⅘' => "quatre cinquièmes",
        '⅙' => "un sixième",
        '⅚' => "cinq sixièmes",
        _ => return None,
    })
}

fn abbreviation(written: &str) -> Option<&'static str> {
    Some(match written {
        "spect." => "spectateurs",
        "rdc" => "rez-de-chaussée",
        "appt." => "appartement",
        "bât." => "bâtiment",
        "min." => "minimum",
        "qté" => "quantité",
        "réf." => "référence",
        "hab." => "habitants",
        "M." => "monsieur",
        "MM." => "messieurs",
        "Mme" => "madame",
        "Mmes" => "mesdames",
        "Mlle" => "mademoiselle",
        "Dr" | "Dr." => "docteur",
        "Pr" | "Pr." => "professeur",
        "max." => "maximum",
        "al." => "alinéa",
        "th." => "thermostat",
        "ibid." => "ibidem",
        "etc." => "et cetera",
        "suiv." => "suivantes",
        "env." => "environ",
        "p.ex." | "p.ex" => "par exemple",
        "n°" | "nº" | "N°" | "Nº" => "numéro",
        "av." => "avenue",
        "art." => "article",
        "p." => "page",
        "pp." => "pages",
        "vol." => "volume",
        "chap." => "chapitre",
        "fig." => "figure",
        "tél." | "Tél." => "téléphone",
        "St" => "saint",
        "Ste" => "sainte",
        "bd" | "bd." | "Bd." | "boul." => "boulevard",
        "éd." => "édition",
        "janv." => "janvier",
        "févr." => "février",
        "avr." => "avril",
        "juil." => "juillet",
        "sept." => "septembre",
        "oct." => "octobre",
        "nov." => "novembre",
        "déc." => "décembre",
        "lun." => "lundi",
        "mer." => "mercredi",
        "jeu." => "jeudi",
        "ven." => "vendredi",
        "sam." => "samedi",
        "dim." => "dimanche",
        "dép." => "départ",
        "arr." => "arrivée",
        "Env." => "environ",
        _ => return None,
    })
}

/// An ordinal number or a time at a position: "1er", "2e", "14h30". Its words, and its end.
fn special(text: &str, at: usize) -> Option<(String, usize)> {
    let bytes = text.as_bytes();
    let end = at + bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    let value: u64 = text[at..end].parse().ok().filter(|_| end <= at + 4)?;
    let rest = &text[end..];
    let length = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
    let suffix = &rest[..length];
    if suffix == "h" && end <= at + 2 && value < 25 {
        let from = end + 1;
        let minute_end = from + bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let minutes: u64 = text[from..minute_end].parse().ok().filter(|_| minute_end == from + 2)?;
        let hours = match value {
            0 | 1 => "heure",
            _ => "heures",
        };
        let hour = if value == 1 { "une".to_owned() } else { cardinal(value) };
        let minutes = if minutes == 0 { String::new() } else { format!(" {}", cardinal(minutes)) };
        return Some((format!("{hour} {hours}{minutes}"), minute_end));
    }
    let is_ordinal =
        matches!(suffix, "er" | "re" | "ère" | "e" | "è" | "ème" | "ième" | "eme" | "ieme" | "nd" | "nde")
            && !bytes.get(end + length).is_some_and(u8::is_ascii_digit);
    let words = match (value, suffix) {
        _ if !is_ordinal || value == 0 => return None,
        (1, "er") => "premier".to_owned(),
        (1, "re" | "ère") => "première".to_owned(),
        (2, "nd") => "second".to_owned(),
        (2, "nde") => "seconde".to_owned(),
        (_, "er" | "re" | "ère" | "nd" | "nde") => return None,
        _ => ordinal(value),
    };
    Some((words, end + length))
}

fn ordinal(value: u64) -> String {
    let words = cardinal(value);
    let words = words
        .strip_suffix('e')
        .or_else(|| words.strip_suffix("ts").map(|_| &words[..words.len() - 1]))
        .unwrap_or(&words);
    match words.strip_suffix("neuf") {
        Some(head) => format!("{head}neuvième"),
        None if words.ends_with("cinq") => format!("{words}uième"),
        None => format!("{words}ième"),
    }
}

/// Roman numerals of centuries and rulers: "XIXe", "Louis XIV".
fn numeral(word: &str, before: &str) -> Option<String> {
    let stem = ["ème", "er", "e"].iter().find_map(|suffix| word.strip_suffix(suffix)).unwrap_or_default();
    if let Some(value) = super::super::numbers::roman(stem).filter(|value| *value <= 30) {
        return Some(if value == 1 { "premier".to_owned() } else { ordinal(value) });
    }
    let is_ruler = matches!(
        before,
        "Louis" | "Henri" | "Charles" | "François" | "Napoléon" | "Philippe" | "Pie" | "Jean"
    );
    let value = super::super::numbers::roman(word).filter(|value| is_ruler && *value <= 30)?;
    Some(if value == 1 { "premier".to_owned() } else { cardinal(value) })
}
