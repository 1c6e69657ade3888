//! Text as it is spoken: figures, signs, units and abbreviations in words.
//!
//! [`normalize`] reads a text once, from left to right. At each position the patterns are tried in a fixed order,
//! and the first that knows the text there replaces it. What no pattern knows stays as it is written: nothing is
//! lost. [`Spoken`] keeps the map between both texts, so that times of words name the written words.
//!
//! Time is linear in the text, and the result has at most eight bytes for each written character; that of a
//! shorter text than sixteen characters has at most 128 bytes.
//!
//! Small functions with hundreds of callers are never inlined: the program would grow by 80 kB.

mod abbreviations;
mod address;
mod algebra;
mod amount;
mod bars;
mod codes;
mod doses;
mod english;
mod exclaimed;
mod figure;
mod foreign;
mod formula;
mod groups;
mod journal;
mod labels;
mod length;
mod letters;
mod lines;
mod measure;
mod minus;
mod money;
mod names;
mod numbers;
mod operands;
mod output;
mod pictures;
mod powers;
mod signs;
mod sum;
mod symbols;
mod tex;
mod time;
mod tongue;
pub(crate) mod typed;
mod units;
mod verse;
mod walk;
mod words;

pub use output::Spoken;

/// Returns a text in any language as a voice speaks it that knows English only: its figures, signs and units become
/// words of English, which are the ones that such a voice can say. Points and commas in figures mean what they mean
/// in the language of the text.
pub(crate) fn in_english<'a>(text: &'a str, language: &str) -> Spoken<'a> {
    let most = output::most(text);
    let spoken = Spoken::same(text).then(|text| letters::usual(text, most));
    let spoken = match foreign::has_decimal_comma(language) {
        true => spoken.then(|text| foreign::with_points(text, most)),
        false => spoken,
    };
    spoken.then(|text| english::read(text, most))
}

/// Returns a text as it is spoken in a language, a tag such as `en` or `de-AT`. An empty tag is English.
pub fn normalize<'a>(text: &'a str, language: &str) -> Spoken<'a> {
    let primary = language.split(['-', '_']).next().unwrap_or_default();
    let most = output::most(text);
    let spoken = Spoken::same(text).then(|text| letters::usual(text, most));
    match primary.to_ascii_lowercase().as_str() {
        "" | "en" => spoken.then(|text| english::read(text, most)),
        primary => match tongue::tongue(primary) {
            Some(tongue) => spoken.then(|text| tongue::read(text, tongue, most)),
            None => spoken,
        },
    }
}

#[cfg(test)]
mod tests;
