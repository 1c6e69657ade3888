use super::*;

mod kinds;

/// Parts of texts that meet in the patterns.
const PARTS: &[&str] = &[
    "5",
    "12",
    "1999",
    "1,000",
    "0.5",
    ".5",
    "½",
    "3/4",
    "-",
    "–",
    " ",
    "  ",
    "\n",
    "$",
    "€",
    "£",
    "m",
    "km",
    "kg",
    "°",
    "°C",
    "%",
    "'",
    "\"",
    "′",
    "″",
    "x",
    "×",
    "/",
    "=",
    "+",
    "No.",
    "pp.",
    "Fig.",
    "St.",
    "Mar.",
    "3",
    "a.m.",
    "pm",
    "e.g.",
    "St",
    "Dr",
    "vs.",
    "²",
    "³",
    "⁻¹",
    "₂",
    "H",
    "CO",
    "π",
    "Ω",
    "µ",
    "é",
    "日",
    "😀",
    "\u{ad}",
    "\u{200b}",
    "\u{fb01}",
    "Ⅳ",
    "①",
    "(",
    ")",
    "[",
    "#",
    "@",
    "&",
    "*",
    "_",
    "~",
    "<",
    ">",
    "≥",
    "→",
    "th",
    "s",
    "k",
    "bn",
    "million",
    "Jan",
    "Mon",
    "XIV",
    "Henry",
    "http://a.b",
    "a@b.co",
    "www.",
    "1.2.3",
    "555-1234",
    "+1",
    "10^",
    "^",
    "{",
    "}",
    "’",
    "”",
    "“",
    "…",
    "—",
    "sq",
    "ft",
    "in",
    "h",
    "T",
    ":",
    "30",
    "00",
    "w/",
    "o",
    "per",
    "USD",
    "US$",
    "\u{a0}",
    "ⁿ",
    "º",
    "ª",
    "٣",
    ",",
    ".",
    "1 000",
    "\u{fdfa}",
    "㎯",
    "DE89",
    "4111 ",
    "1 Cor. 1:1",
    "⌘",
    "†",
    "♥",
    "~/a",
    "C:\\",
    "Sat &",
    "NaCl",
    "24.12.",
    "der 3. ",
    "1er",
    "siglo XIX",
    "n.º",
    "W/(m·",
    "W À",
    "20s and ",
    "✕",
    "✅ ",
    "★",
    "🂡",
    "♘xf3",
    "¹",
    "⁴⁄₂",
    "·",
    "$b = ",
    "\\sqrt{9-8}",
    "i--",
    "3M",
    "Option 3B or ",
    "5'-3'",
    "1-800-F",
    "007",
    "Ca2+",
    "SO4^2-",
    "Q1–Q3",
    "Fed. R. Civ. P.",
    "Hauptstr.",
    "EE. UU.",
    "z. T.",
    "7 - 2",
];

const LANGUAGES: [&str; 5] = ["", "en-GB", "de", "fr", "es"];

/// Checks what holds for every text: bounded growth, and origins in order, between characters.
fn check(text: &str, language: &str) {
    let spoken = normalize(text, language);
    let most = (text.chars().count() * 8).max(128);
    assert!(spoken.text.len() <= most, "{} bytes of {}: {text:.60}", spoken.text.len(), text.len());
    let mut before = 0;
    for (at, _) in spoken.text.char_indices() {
        let origin = spoken.origin(at);
        assert!(before <= origin && text.is_char_boundary(origin), "{at} in {text:?}");
        before = origin;
    }
    let mut end = 0;
    for word in spoken.words(text) {
        assert!(end <= word.start && word.start < word.end && text.get(word.clone()).is_some(), "{text:?}");
        end = word.end;
    }
}

#[test]
fn every_text_has_origins_in_order_and_bounded_growth() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |n: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 11) as usize % n
    };
    for _ in 0..20_000 {
        let text: String = (0..=random(12)).map(|_| PARTS[random(PARTS.len())]).collect();
        check(&text, LANGUAGES[random(LANGUAGES.len())]);
    }
    // A letter of two bytes behind what may be a direction.
    check("256 W À la carte", "en");
    check("1 Cor. 6½", "en");
    for part in PARTS {
        check(part, "en");
        check(&part.repeat(300), "en");
    }
}

/// As many words as possible for each character, in texts of any length.
#[test]
fn dense_figures_stay_within_the_bound() {
    for part in ["$777", "¾", "7%", "777,777", "½ ", "$777.77 ", "77m² ", "℃", "7A,"] {
        for count in 1..120 {
            for language in LANGUAGES {
                check(&part.repeat(count), language);
            }
        }
    }
    for whole in ["$777,777.77", "777,777", "$777"] {
        assert!(!normalize(whole, "en").text.contains(|c: char| c.is_ascii_digit()), "{whole}");
    }
}

#[test]
fn voice_of_english_reads_figures_of_any_language_in_english() {
    let cases = [
        (
            "de",
            "Es sind 1.234,5 km bei 5,5 °C.",
            "Es sind one thousand two hundred thirty four point five kilometers bei five point five degrees Celsius.",
        ),
        (
            "de-AT",
            "Das kostet 1.250 €, oder 3,50 €.",
            "Das kostet one thousand two hundred fifty euros, oder three euros fifty cents.",
        ),
        (
            "fr",
            "Il y a 10.000 habitants et 2,5 kg.",
            "Il y a ten thousand habitants et two point five kilograms.",
        ),
        (
            "es",
            "Son 0,5 l, 1,2,3 y 1.2.3.",
            "Son zero point five liters, one,two,three y one point two point three.",
        ),
        ("es-MX", "Son 1.250 m.", "Son one point two five zero meters."),
        ("de-CH", "Es sind 1.250 m.", "Es sind one point two five zero meters."),
        (
            "en",
            "It is 1.250 m or 1,250 m.",
            "It is one point two five zero meters or one thousand two hundred fifty meters.",
        ),
        ("", "It is 1.250 m.", "It is one point two five zero meters."),
        (
            "de",
            "Am 24.12.2026 um 14.30 Uhr",
            "Am December twenty fourth twenty twenty six um fourteen point three zero Uhr",
        ),
    ];
    for (language, written, expected) in cases {
        let spoken = in_english(written, language);
        assert_eq!(spoken.text, expected, "{language} {written}");
        let words: String = spoken.words(written).into_iter().map(|word| &written[word]).collect();
        let plain = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(plain(&words), plain(written));
    }
}

/// Quadratic time would take many times as long as all other tests.
#[test]
fn time_is_linear_in_the_text() {
    for part in PARTS {
        for joint in ["", " ", "5/"] {
            let text = format!("{part}{joint}").repeat(20_000 / (part.len() + joint.len()));
            let spoken = normalize(&text, "en");
            assert!(spoken.text.len() <= (text.chars().count() * 8).max(128), "{part}{joint}");
        }
    }
}

#[test]
fn unknown_text_stays_as_it_is_written() {
    for text in [
        "",
        "The quick brown fox jumps over the lazy dog.",
        "Is it? No! \"Yes,\" she said; then (perhaps) left.",
        "日本語 שלום Привет 😀",
        "The well-known rock 'n' roll band — don't ask.",
    ] {
        let spoken = normalize(text, "en");
        assert_eq!((&*spoken.text, spoken.is_same()), (text, true));
    }
}

#[test]
fn other_languages_keep_their_text_but_for_the_form_of_letters() {
    assert_eq!(normalize("5 kg o\u{fb03}ce Ｆ", "ja").text, "5 kg office F");
    assert_eq!(normalize("می\u{200c}خواهم", "fa").text, "می\u{200c}خواهم");
    assert_eq!(normalize("Zürich à Dvořák", "de").text, "Zürich à Dvořák");
}

#[test]
fn origins_are_the_written_places() {
    let text = "The o\u{fb03}ce is 5.5 km away.";
    let spoken = normalize(text, "en");
    assert_eq!(spoken.text, "The office is five point five kilometers away.");
    for (said, written) in
        [("office", "o\u{fb03}ce"), ("is", "is"), ("five", "5.5"), ("kilometers", "km"), ("away", "away")]
    {
        let origin = spoken.origin(spoken.text.find(said).expect("said"));
        assert_eq!(Some(origin), text.find(written), "{said}");
    }
}

#[test]
fn words_that_become_one_are_one_range() {
    let cases: &[(&str, &[&str])] = &[
        ("1 1/2 cups", &["1 1/2", "cups"]),
        ("Call +44 20 7946 0958.", &["Call", "+44 20 7946 0958."]),
        ("about 1 000 000 of (555) 123-4567", &["about", "1 000 000", "of", "(555) 123-4567"]),
        ("EUR 30, $ 5 and 1 fl oz", &["EUR 30,", "$ 5", "and", "1", "fl oz"]),
        ("1 000–2 000 km", &["1 000–2 000", "km"]),
        ("5 km and $5 million", &["5", "km", "and", "$5", "million"]),
        (
            "An exam-\nple and in-\r\n  formation here",
            &["An", "exam-\nple", "and", "in-\r\n  formation", "here"],
        ),
        ("well-\nKnown - \nthen", &["well-", "Known", "-", "then"]),
        ("ﬁve * * * of\n½ tsp", &["ﬁve", "*", "*", "*", "of", "½", "tsp"]),
    ];
    for (text, expected) in cases {
        let spoken = normalize(text, "en");
        let words: Vec<&str> = spoken.words(text).into_iter().map(|word| &text[word]).collect();
        assert_eq!(words, *expected, "{text}");
        for (at, _) in spoken.text.char_indices() {
            let origin = spoken.origin(at);
            assert!(spoken.words(text).iter().filter(|word| word.contains(&origin)).count() <= 1, "{text}");
        }
    }
}

#[test]
fn german_french_and_spanish_have_figures_units_money_and_signs() {
    let cases = [
        ("de", "Es sind -5 °C und 3,5 kg.", "Es sind minus fünf Grad Celsius und drei Komma fünf Kilogramm."),
        (
            "de-AT",
            "Das kostet 3,50 € oder 1,2 Mio. €.",
            "Das kostet drei Euro fünfzig oder eins Komma zwei Millionen Euro.",
        ),
        ("de", "40–60 °C, 1.250 m", "vierzig bis sechzig Grad Celsius, eintausendzweihundertfünfzig Meter"),
        ("de", "Um 14:30 Uhr, z.B. ½ TL.", "Um vierzehn Uhr dreißig, zum Beispiel ein halber Teelöffel."),
        ("fr", "Il fait -5 °C et 71 €.", "Il fait moins cinq degrés Celsius et soixante et onze euros."),
        (
            "fr",
            "120 km/h, 91 %, M. Dupont",
            "cent vingt kilomètres par heure, quatre-vingt-onze pour cent, monsieur Dupont",
        ),
        ("fr", "Le n° 5.", "Le numéro 5."),
        ("fr", "1 234,56 €", "mille deux cent trente-quatre euros cinquante-six"),
        ("de", "Am 24.12. gibt es 1/2 l.", "Am vierundzwanzigsten Dezember gibt es ein halber Liter."),
        ("de", "Es war der 1.1.1999.", "Es war der erste Januar neunzehnhundertneunundneunzig."),
        ("de", "3. Mai, vom 3.–7. Mai, ", "dritter Mai, vom dritten bis siebten Mai, "),
        ("de", "In der 3. Klasse, der 2. Weltkrieg.", "In der dritten Klasse, der zweite Weltkrieg."),
        ("de", "Ich habe 2. Dann 1.2.3.", "Ich habe 2. Dann 1.2.3."),
        (
            "fr",
            "Le 1er mai, la 21e fois, au XIXe siècle.",
            "Le premier mai, la vingt et unième fois, au dix-neuvième siècle.",
        ),
        ("fr", "À 14h30, nº 7.", "À quatorze heures trente, numéro 7."),
        (
            "es",
            "El n.º 5, 1 234,56 €.",
            "El número 5, mil doscientos treinta y cuatro euros cincuenta y seis.",
        ),
        (
            "es",
            "El 1.º de mayo, 3.ª vez, siglo XIX, 21 ºC.",
            "El primero de mayo, tercera vez, siglo diecinueve, veintiún grados Celsius.",
        ),
        ("es", "Hace -5 °C y 3,5 kg.", "Hace menos cinco grados Celsius y tres coma cinco kilogramos."),
        ("es-MX", "21 € y 21.000 km", "veintiún euros y veintiún mil kilómetros"),
    ];
    for (language, written, spoken) in cases {
        assert_eq!(normalize(written, language).text, spoken, "{written}");
    }
}

#[test]
fn minus_signs_are_spoken_in_algebra_and_behind_letters() {
    for (written, spoken) in [
        ("y = -x", "y equals minus x"),
        ("x = y - z", "x equals y minus z"),
        ("Then (n - 1) is even.", "Then (n minus one) is even."),
        ("It is 3x - 5 now.", "It is three x minus five now."),
        ("Take 2n-1 of them.", "Take 2n minus one of them."),
        ("Take n-1 of them.", "Take n minus one of them."),
        ("5 - x", "five minus x"),
        ("a-b = c", "a minus b equals c"),
        ("f(-x) = -f(x)", "f of minus x equals minus f of x"),
        ("5-(-3)=8", "five minus (minus three) equals eight"),
        ("At 9 am UTC-5.", "At nine A M UTC minus five."),
        ("GMT-3", "GMT minus three"),
        ("O- blood and AB- blood", "O minus blood and AB minus blood"),
        ("She got an A- in art.", "She got an A minus in art."),
        ("Cl- and NO3-", "Cl minus and NO3 minus"),
    ] {
        assert_eq!(normalize(written, "en").text, spoken, "{written}");
    }
    for plain in [
        "an x-ray of e-mail - a good one",
        "vitamin C - A guide",
        "plan A - B is off",
        "the A- and B-flat keys",
        "A- a ghost!",
        "the x-y plane",
        "letters a-z",
        "use -v here",
        "I - a man",
        "self- and word-",
    ] {
        assert!(!normalize(plain, "en").text.contains("minus"), "{plain}");
    }
}

#[test]
fn european_sums_post_codes_and_bits_are_read_whole() {
    for (written, spoken) in [
        (
            "It is €1.234.567,89 now.",
            "It is one million two hundred thirty four thousand five hundred sixty seven euros eighty nine cents now.",
        ),
        ("It is 1.234,56 € now.", "It is one thousand two hundred thirty four euros fifty six cents now."),
        ("€1.234,56", "one thousand two hundred thirty four euros fifty six cents"),
        ("€1.234", "one point two three four euros"),
        ("$1,234.56", "one thousand two hundred thirty four dollars fifty six cents"),
        ("New York, NY 10001-1234.", "New York, NY one zero zero zero one, one two three four."),
        ("5 Gb/s and 5 GB", "five gigabits per second and five gigabytes"),
    ] {
        assert_eq!(normalize(written, "en").text, spoken, "{written}");
    }
}
