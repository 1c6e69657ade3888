//! Numbers in English words.

const ONES: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] =
    ["", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const SCALES: [&str; 5] = ["", " thousand", " million", " billion", " trillion"];

/// The plural of a number in words: "fifty twos", "sixes", "twenties".
pub(super) fn plural(words: &str) -> String {
    match words.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if words.ends_with('x') => format!("{words}es"),
        None => format!("{words}s"),
    }
}

/// Most digits of a number that is read as a whole. The digits of a longer one are read one by one.
const MOST_DIGITS: usize = 15;

/// Adds words with a space in front.
#[inline(never)]
pub(super) fn add(out: &mut String, words: &str) {
    if !out.is_empty() && !out.ends_with(' ') && !words.is_empty() {
        out.push(' ');
    }
    out.push_str(words);
}

/// The value of a group of digits, in which other characters are ignored. `None` if it is too long.
#[inline(never)]
pub(super) fn value(digits: &str) -> Option<u64> {
    let mut value = 0u64;
    let mut count = 0;
    for digit in digits.bytes().filter(u8::is_ascii_digit) {
        count += 1;
        if count > MOST_DIGITS {
            return None;
        }
        value = value * 10 + u64::from(digit - b'0');
    }
    (count > 0).then_some(value)
}

/// Reads digits one by one.
#[inline(never)]
pub(super) fn digits(out: &mut String, digits: &str) {
    for digit in digits.bytes().filter(u8::is_ascii_digit) {
        add(out, ONES[usize::from(digit - b'0')]);
    }
}

/// Reads a whole number. Separators between its digits are ignored.
#[inline(never)]
pub(super) fn cardinal(out: &mut String, written: &str) {
    match value(written) {
        Some(value) if written.len() == 1 || !written.starts_with('0') => number(out, value),
        _ => digits(out, written),
    }
}

/// Reads a whole number of at most 15 digits.
#[inline(never)]
pub(super) fn number(out: &mut String, value: u64) {
    if value == 0 {
        return add(out, ONES[0]);
    }
    for (power, scale) in SCALES.iter().enumerate().rev() {
        let group = value / 1000u64.pow(power as u32) % 1000;
        if group > 0 {
            hundreds(out, group as usize);
            out.push_str(scale);
        }
    }
}

fn hundreds(out: &mut String, group: usize) {
    if group >= 100 {
        add(out, ONES[group / 100]);
        out.push_str(" hundred");
    }
    match group % 100 {
        0 => {}
        rest @ 1..20 => add(out, ONES[rest]),
        rest => {
            add(out, TENS[rest / 10]);
            if rest % 10 > 0 {
                add(out, ONES[rest % 10]);
            }
        }
    }
}

/// Reads an ordinal number such as "twenty first".
#[inline(never)]
pub(super) fn ordinal(out: &mut String, value: u64) {
    number(out, value);
    let at = out.rfind(' ').map_or(0, |at| at + 1);
    let last = out.split_off(at);
    let (stem, end) = match last.as_str() {
        "one" => ("", "first"),
        "two" => ("", "second"),
        "three" => ("", "third"),
        "five" => ("", "fifth"),
        "eight" => ("", "eighth"),
        "nine" => ("", "ninth"),
        "twelve" => ("", "twelfth"),
        _ => match last.strip_suffix('y') {
            Some(stem) => (stem, "ieth"),
            None => (last.as_str(), "th"),
        },
    };
    out.push_str(stem);
    out.push_str(end);
}

/// Reads a year: "nineteen eighty four", "two thousand five".
pub(super) fn year(out: &mut String, value: u64) {
    match (value / 100, value % 100) {
        (11..=20 | 22..=99, 0) if !value.is_multiple_of(1000) => {
            number(out, value / 100);
            out.push_str(" hundred");
        }
        (10 | 20, 1..=9) | (0..=9, _) | (_, 0) => number(out, value),
        (century @ 10..=99, rest) => {
            number(out, century);
            if rest < 10 {
                out.push_str(" oh");
            }
            number(out, rest);
        }
        _ => number(out, value),
    }
}

/// Reads a decade such as "nineteen nineties", "sixties", "two thousands".
pub(super) fn decade(out: &mut String, value: u64) {
    if value >= 1000 {
        year(out, value);
    } else {
        number(out, value);
    }
    match out.pop() {
        Some('y') => out.push_str("ies"),
        Some(last) => {
            out.push(last);
            out.push('s');
        }
        None => {}
    }
}

/// Reads `n` parts of a whole that has `of` of them: "half", "three quarters", "two thirds".
pub(super) fn fraction(out: &mut String, n: u64, of: u64) {
    number(out, n);
    match of {
        2 => add(out, if n == 1 { "half" } else { "halves" }),
        4 => add(out, if n == 1 { "quarter" } else { "quarters" }),
        1 => add(out, "over one"),
        _ => {
            let mut part = String::new();
            ordinal(&mut part, of);
            add(out, &part);
            if n != 1 {
                out.push('s');
            }
        }
    }
}

/// The value of a Roman numeral in capitals, from 1 to 3,999. `None` if it is none.
pub(super) fn roman(letters: &str) -> Option<u64> {
    const PARTS: [(&str, u64); 13] = [
        ("M", 1000),
        ("CM", 900),
        ("D", 500),
        ("CD", 400),
        ("C", 100),
        ("XC", 90),
        ("L", 50),
        ("XL", 40),
        ("X", 10),
        ("IX", 9),
        ("V", 5),
        ("IV", 4),
        ("I", 1),
    ];
    let (mut rest, mut value) = (letters, 0);
    for (part, worth) in PARTS {
        let most = if part.len() == 1 && !matches!(part, "D" | "L" | "V") { 3 } else { 1 };
        for _ in 0..most {
            let Some(behind) = rest.strip_prefix(part) else { break };
            (rest, value) = (behind, value + worth);
        }
    }
    (rest.is_empty() && value > 0).then_some(value)
}
