//! Spanish.

use super::{Names, Tongue};

pub(super) static SPANISH: Tongue = Tongue {
    cardinal,
    counted: short,
    point: "coma",
    minus: "menos",
    plus: "más",
    to: "a",
    sign,
    symbols: "✓✔☑✅🗸🗹 marcado; ✗✘☒❌❎✕✖ cruz; ☐ casilla; ♠♤ picas; ♥♡ corazones; ♦♢ diamantes; ♣♧ tréboles; \
         ♀ hembra; ♂ macho; ♔♚ rey; ♕♛ dama; ♖♜ torre; ♗♝ alfil; ♘♞ caballo; ♙♟ peón; ♯ sostenido; \
         ♭ bemol; ➕ más; ➖ menos; ➗ dividido entre; ♾ infinito; ∈ pertenece a; ∑ suma; ∫ integral; \
         ⇒ implica; ⇔ si y solo si; ☰ menú; ☎☏✆ teléfono; ✉ correo; ⚠ atención",
    arrows: ["a", "desde", "arriba", "abajo", "en ambos sentidos"],
    stars: ("una estrella", "estrellas"),
    phrases: "p. ej.=por ejemplo;EE. UU.=Estados Unidos;JJ. OO.=Juegos Olímpicos;\
         RR. HH.=recursos humanos;FF. AA.=Fuerzas Armadas;CC. OO.=Comisiones Obreras;\
         DD. HH.=derechos humanos;SS. MM.=Sus Majestades;P. D.=posdata;s. XV=siglo quince;s. XVI=siglo dieciséis;s. XVII=siglo diecisiete;s. XVIII=siglo dieciocho;\
         s. XIX=siglo diecinueve;s. XX=siglo veinte;s. XXI=siglo veintiuno;C/=calle",
    unit,
    money,
    magnitude,
    fraction,
    abbreviation,
    special,
    numeral,
    hours: "",
    powers: ("al cuadrado", "al cubo"),
    power: "elevado a",
    per: "por",
    life: ("", ""),
    over: "sobre",
    sections: "",
    weekday: |_| None,
    street: ("", ""),
    and: "y",
    article: "un ",
    half: "",
    half_of: |name| Some(if name.starts_with("una ") { "media" } else { "medio" }),
    dot: "punto",
    ratio: "a",
    page: ("", ""),
    spells_phones: true,
    has_ordinals: false,
    elides: false,
    has_capitals: false,
};

const ONES: [&str; 30] = [
    "cero",
    "uno",
    "dos",
    "tres",
    "cuatro",
    "cinco",
    "seis",
    "siete",
    "ocho",
    "nueve",
    "diez",
    "once",
    "doce",
    "trece",
    "catorce",
    "quince",
    "dieciséis",
    "diecisiete",
    "dieciocho",
    "diecinueve",
    "veinte",
    "veintiuno",
    "veintidós",
    "veintitrés",
    "veinticuatro",
    "veinticinco",
    "veintiséis",
    "veintisiete",
    "veintiocho",
    "veintinueve",
];
const TENS: [&str; 10] =
    ["", "diez", "veinte", "treinta", "cuarenta", "cincuenta", "sesenta", "setenta", "ochenta", "noventa"];
const HUNDREDS: [&str; 10] = [
    "",
    "ciento",
    "doscientos",
    "trescientos",
    "cuatrocientos",
    "quinientos",
    "seiscientos",
    "setecientos",
    "ochocientos",
    "novecientos",
];

fn cardinal(value: u64) -> String {
    let with_rest = |head: String, rest: u64| {
        if rest == 0 { head } else { format!("{head} {}", cardinal(rest)) }
    };
    match value {
        0..30 => ONES[value as usize].to_owned(),
        30..100 if value.is_multiple_of(10) => TENS[value as usize / 10].to_owned(),
        30..100 => format!("{} y {}", TENS[value as usize / 10], ONES[value as usize % 10]),
        100 => "cien".to_owned(),
        101..1000 => with_rest(HUNDREDS[value as usize / 100].to_owned(), value % 100),
        1000..2000 => with_rest("mil".to_owned(), value % 1000),
        2000..1_000_000 => with_rest(format!("{} mil", short(value / 1000)), value % 1000),
        1_000_000..2_000_000 => with_rest("un millón".to_owned(), value % 1_000_000),
        2_000_000..1_000_000_000_000 => {
            with_rest(format!("{} millones", short(value / 1_000_000)), value % 1_000_000)
        }
        _ => {
            let billions = value / 1_000_000_000_000;
            let head =
                if billions == 1 { "un billón".to_owned() } else { format!("{} billones", short(billions)) };
            with_rest(head, value % 1_000_000_000_000)
        }
    }
}

/// A number before a noun: "veintiún mil".
fn short(value: u64) -> String {
    let words = cardinal(value);
    match words.strip_suffix("uno") {
        Some(head) if head.ends_with("veinti") => format!("{}veintiún", head.trim_end_matches("veinti")),
        Some(head) => format!("{head}un"),
        None => words,
    }
}

fn sign(c: char) -> Option<&'static str> {
    Some(match c {
        '=' => "igual a",
        '×' => "por",
        '÷' => "dividido entre",
        '±' => "más menos",
        '≥' => "mayor o igual que",
        '≤' => "menor o igual que",
        '≈' => "aproximadamente",
        '≠' => "distinto de",
        '<' => "menor que",
        '>' => "mayor que",
        '→' => "a",
        '&' => "y",
        '§' => "sección",
        '%' => "por ciento",
        '∞' => "infinito",
        '√' => "raíz de",
        '°' => "grados",
        _ => return None,
    })
}

fn unit(symbol: &str) -> Option<Names> {
    Some(match symbol {
        "mm" => ("un milímetro", "milímetros"),
        "cm" => ("un centímetro", "centímetros"),
        "m" => ("un metro", "metros"),
        "km" => ("un kilómetro", "kilómetros"),
        "m²" => ("un metro cuadrado", "metros cuadrados"),
        "km²" => ("un kilómetro cuadrado", "kilómetros cuadrados"),
        "cm²" => ("un centímetro cuadrado", "centímetros cuadrados"),
        "m³" => ("un metro cúbico", "metros cúbicos"),
        "mg" => ("un miligramo", "miligramos"),
        "g" => ("un gramo", "gramos"),
        "kg" => ("un kilogramo", "kilogramos"),
        "t" => ("una tonelada", "toneladas"),
        "ml" | "mL" => ("un mililitro", "mililitros"),
        "cl" | "cL" => ("un centilitro", "centilitros"),
        "l" | "L" => ("un litro", "litros"),
        "h" => ("una hora", "horas"),
        "ud" | "uds" => ("una unidad", "unidades"),
        "min" => ("un minuto", "minutos"),
        "s" => ("un segundo", "segundos"),
        "ms" => ("un milisegundo", "milisegundos"),
        "°C" => ("un grado Celsius", "grados Celsius"),
        "°F" => ("un grado Fahrenheit", "grados Fahrenheit"),
        "°" => ("un grado", "grados"),
        "%" => ("uno por ciento", "por ciento"),
        "‰" => ("uno por mil", "por mil"),
        "V" => ("un voltio", "voltios"),
        "W" => ("un vatio", "vatios"),
        "kW" => ("un kilovatio", "kilovatios"),
        "kWh" => ("un kilovatio hora", "kilovatios hora"),
        "A" => ("un amperio", "amperios"),
        "Hz" => ("un hercio", "hercios"),
        "kHz" => ("un kilohercio", "kilohercios"),
        "MHz" => ("un megahercio", "megahercios"),
        "GHz" => ("un gigahercio", "gigahercios"),
        "kB" | "KB" => ("un kilobyte", "kilobytes"),
        "MB" => ("un megabyte", "megabytes"),
        "GB" => ("un gigabyte", "gigabytes"),
        "TB" => ("un terabyte", "terabytes"),
        "hPa" => ("un hectopascal", "hectopascales"),
        "kcal" => ("una kilocaloría", "kilocalorías"),
        "ha" => ("una hectárea", "hectáreas"),
        "dB" => ("un decibelio", "decibelios"),
        "cda" | "cdas" => ("una cucharada", "cucharadas"),
        "cdta" | "cdtas" => ("una cucharadita", "cucharaditas"),
        _ => return None,
    })
}

fn money(sign: &str) -> Option<(Names, &'static str)> {
    Some(match sign {
        "€" | "EUR" => (("un euro", "euros"), ""),
        "$" | "USD" => (("un dólar", "dólares"), ""),
        "£" | "GBP" => (("una libra", "libras"), ""),
        "¥" | "JPY" => (("un yen", "yenes"), ""),
        _ => return None,
    })
}

fn magnitude(symbol: &str) -> Option<Names> {
    Some(match symbol {
        "M" | "mill" | "millón" | "millones" => ("un millón de", "millones de"),
        _ => return None,
    })
}

fn fraction(c: char) -> Option<&'static str> {
    Some(match c {
        '½' => "medio",
        '¼' => "un cuarto",
        '¾' => "tres cuartos",
        '⅓' => "un tercio",
        '⅔' => "dos tercios",
        '⅛' => "un octavo",
        '⅜' => "tres octavos",
        '⅝' => "cinco octavos",
        '⅞' => "siete octavos",
        '⅕' => "un quinto",
        '⅖' => "dos quintos",
        '⅗' => "tres quintos",
        '⅘' => "cuatro quintos",
        '⅙' => "un sexto",
        '⅚' => "cinco sextos",
        _ => return None,
    })
}

fn abbreviation(written: &str) -> Option<&'static str> {
    Some(match written {
        "Sr." => "señor",
        "Sra." => "señora",
        "Srta." => "señorita",
        "Dr." => "doctor",
        "Dra." => "doctora",
        "km." => "kilómetro",
        "máx." => "máximo",
        "mín." | "min." => "mínimo",
        "Cía." => "compañía",
        "ed." => "editorial",
        "Ud." => "usted",
        "Uds." => "ustedes",
        "etc." => "etcétera",
        "p." => "página",
        "p.ej." | "p.ej" => "por ejemplo",
        "núm." | "Núm." => "número",
        "n.º" | "N.º" | "nº" | "Nº" | "n°" | "N°" => "número",
        "pág." => "página",
        "págs." => "páginas",
        "art." | "Art." => "artículo",
        "cap." | "Cap." => "capítulo",
        "vol." => "volumen",
        "fig." | "Fig." => "figura",
        "tel." | "Tel." => "teléfono",
        "a.C." | "a.C" => "antes de Cristo",
        "d.C." | "d.C" => "después de Cristo",
        "Av." | "Avda." => "avenida",
        "EEUU" | "EE.UU." => "Estados Unidos",
        "aprox." => "aproximadamente",
        "ene." => "enero",
        "feb." => "febrero",
        "abr." => "abril",
        "jun." => "junio",
        "jul." => "julio",
        "ago." => "agosto",
        "sept." => "septiembre",
        "oct." => "octubre",
        "nov." => "noviembre",
        "dic." => "diciembre",
        "lun." => "lunes",
        "mié." => "miércoles",
        "jue." => "jueves",
        "vie." => "viernes",
        "sáb." => "sábado",
        "dom." => "domingo",
        "sal." => "salida",
        "lleg." => "llegada",
        "izq." | "izda." | "izqda." => "izquierda",
        "vto." => "vencimiento",
        "fra." => "factura",
        "tfno." => "teléfono",
        "hab." => "habitantes",
        "ss." => "siguientes",
        "pza." => "plaza",
        "prov." => "provincia",
        "dcha." => "derecha",
        "Aprox." => "aproximadamente",
        _ => return None,
    })
}

const ORDINALS: [&str; 11] =
    ["", "primer", "segund", "tercer", "cuart", "quint", "sext", "séptim", "octav", "noven", "décim"];

/// An ordinal number at a position: "1.º", "3.ª", "1er". Its words, and its end.
fn special(text: &str, at: usize) -> Option<(String, usize)> {
    let end = at + text.as_bytes()[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    let value: usize = text[at..end].parse().ok().filter(|_| end <= at + 2)?;
    let stem = ORDINALS.get(value).filter(|_| value > 0)?;
    let rest = &text[end..];
    let suffix =
        [".º", ".ª", "º", "ª", ".er", "er", ".°"].into_iter().find(|suffix| rest.starts_with(suffix))?;
    if rest[suffix.len()..].starts_with(char::is_alphanumeric) {
        return None;
    }
    let ending = match suffix.chars().next_back()? {
        'ª' => "a",
        'r' if matches!(value, 1 | 3) => "",
        'r' => return None,
        _ => "o",
    };
    Some((format!("{stem}{ending}"), end + suffix.len()))
}

/// Roman numerals of centuries and rulers: "siglo XIX", "Alfonso X".
fn numeral(word: &str, before: &str) -> Option<String> {
    let value = super::super::numbers::roman(word).filter(|value| *value <= 30)?;
    match before {
        "siglo" | "Siglo" | "siglos" => Some(cardinal(value)),
        "Alfonso" | "Felipe" | "Carlos" | "Fernando" | "Juan" | "Isabel" | "Enrique" | "Pío" | "Luis"
            if word.len() > 1 || word == "I" || word == "V" || word == "X" =>
        {
            let feminine = before == "Isabel";
            Some(match (ORDINALS.get(value as usize), feminine) {
                (Some(stem), true) => format!("{stem}a"),
                (Some(stem), false) => format!("{stem}o"),
                (None, _) => cardinal(value),
            })
        }
        _ => None,
    }
}
