//! The `.onnx.json` beside a voice of Piper: its symbols, its sample rate, and how it speaks.

use super::alphabet::Alphabet;
use crate::text::quoted;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::ops::RangeInclusive;

/// Settings of a voice.
#[derive(Debug)]
pub(super) struct Settings {
    /// Symbols of letters. Letters that the voice lacks may have the symbol of a near one.
    pub(super) symbols: HashMap<char, i32>,
    /// Letters that the voice lacks, of those that it is asked to speak.
    pub(super) lacking: Vec<char>,
    pub(super) noise_scale: f32,
    pub(super) length_scale: f32,
    pub(super) noise_width: f32,
    pub(super) sample_rate_hz: u32,
    /// Language as a tag, such as `en-US`.
    pub(super) language: Option<String>,
}

/// Letters that some voices lack, and near ones.
const NEAR: &[(char, char)] = &[('ɐ', 'ə'), ('ɚ', 'ə'), ('ɜ', 'ə'), ('ɡ', 'g'), ('ɾ', 't'), ('ᵻ', 'ɪ')];

/// Most symbols of a voice, and most speakers: far more than any has.
const MOST: f64 = 65_535.0;

impl Settings {
    /// Reads settings.
    ///
    /// # Errors
    /// They are no JSON, lack what is needed, or have a value that makes no sense. Says which.
    pub(super) fn read(bytes: &[u8]) -> Result<Settings, String> {
        let file: Value =
            serde_json::from_slice(bytes).map_err(|why| format!("is not valid JSON ({why})"))?;
        let file = object(Some(&file), "the file")?.ok_or("is empty")?;
        let part = |name| object(file.get(name), name);
        let (audio, inference, language) = (part("audio")?, part("inference")?, part("language")?);
        let scale = |name: &str, default, range| {
            let value = number(inference, "inference.", name, range, false)?;
            Ok::<f32, String>(value.unwrap_or(default) as f32)
        };
        number(Some(file), "", "num_speakers", 1.0..=MOST, true)?;
        let symbols = number(Some(file), "", "num_symbols", 1.0..=MOST, true)?.unwrap_or(MOST + 1.0);
        let rate = number(audio, "audio.", "sample_rate", 8_000.0..=48_000.0, true)?;
        let code = match language.and_then(|language| language.get("code")) {
            None => None,
            Some(Value::String(code)) => Some(code.replace('_', "-")),
            Some(other) => return Err(format!("has {} as language.code; it has to be text", short(other))),
        };
        if let Some(code) = code.as_deref().filter(|code| !code.to_ascii_lowercase().starts_with("en")) {
            return Err(format!(
                "is for {code}, and neural voices speak English; --engine wyoming with wyoming-piper speaks it"
            ));
        }
        match file.get("phoneme_type") {
            None => {}
            Some(Value::String(kind)) if kind == "espeak" => {}
            Some(other) => {
                return Err(format!("has {} as phoneme_type; it has to be \"espeak\"", short(other)));
            }
        }
        let map = part("phoneme_id_map")?.ok_or("has no phoneme_id_map")?;
        let (symbols, lacking) = letters(map, symbols)?;
        Ok(Settings {
            symbols,
            lacking,
            noise_scale: scale("noise_scale", 0.667, 0.0..=2.0)?,
            length_scale: scale("length_scale", 1.0, 0.2..=5.0)?,
            noise_width: scale("noise_w", 0.8, 0.0..=2.0)?,
            sample_rate_hz: rate.ok_or("has no audio.sample_rate")? as u32,
            language: code,
        })
    }
}

/// Symbols of letters, from 0 up to `count`, and letters that lack one.
fn letters(map: &Map<String, Value>, count: f64) -> Result<(HashMap<char, i32>, Vec<char>), String> {
    let mut symbols = HashMap::new();
    for (letter, ids) in map {
        // A blank is a letter, too, and would not be seen.
        let shown = if letter.trim().is_empty() { format!("{letter:?}") } else { letter.clone() };
        let name = format!("phoneme_id_map.{shown}");
        let id = match ids {
            Value::Array(ids) if !ids.is_empty() => whole(&ids[0], &name, &(0.0..=count - 1.0))?,
            other => return Err(format!("has {} as {name}; it has to be a list of numbers", short(other))),
        };
        let mut letters = letter.chars();
        if let (Some(only), None) = (letters.next(), letters.next()) {
            symbols.insert(only, id as i32);
        }
    }
    let (needed, marks) = Alphabet::espeak_letters();
    let lacks = |letter: &char| !symbols.contains_key(letter);
    let near = |letter: &char| NEAR.iter().find(|(rare, _)| rare == letter).map(|(_, near)| *near);
    let missing: Vec<String> = needed
        .iter()
        .filter(|letter| lacks(letter) && near(letter).is_none_or(|near| lacks(&near)))
        .map(char::to_string)
        .collect();
    if !missing.is_empty() {
        return Err(format!(
            "has no phoneme_id_map for these sounds of English: {}; the voice needs all of them, in espeak-ng's \
             alphabet",
            missing.join(" ")
        ));
    }
    let lacking: Vec<char> = needed.into_iter().chain(marks).filter(lacks).collect();
    for letter in &lacking {
        if let Some(symbol) = near(letter).and_then(|near| symbols.get(&near).copied()) {
            symbols.insert(*letter, symbol);
        }
    }
    Ok((symbols, lacking))
}

/// A part of the file that has parts of its own.
fn object<'a>(value: Option<&'a Value>, name: &str) -> Result<Option<&'a Map<String, Value>>, String> {
    match value {
        None => Ok(None),
        Some(Value::Object(parts)) => Ok(Some(parts)),
        Some(other) => Err(format!("has {} as {name}; it has to be an object", short(other))),
    }
}

/// A number in this range, if it is there.
fn number(
    parts: Option<&Map<String, Value>>,
    path: &str,
    name: &str,
    range: RangeInclusive<f64>,
    is_whole: bool,
) -> Result<Option<f64>, String> {
    let Some(value) = parts.and_then(|parts| parts.get(name)) else { return Ok(None) };
    let name = format!("{path}{name}");
    if is_whole {
        return whole(value, &name, &range).map(Some);
    }
    let inside = value.as_f64().filter(|value| range.contains(value));
    inside.map(Some).ok_or_else(|| outside(value, &name, "a number", &range))
}

/// A whole number in this range.
fn whole(value: &Value, name: &str, range: &RangeInclusive<f64>) -> Result<f64, String> {
    let inside = value.as_u64().map(|value| value as f64).filter(|value| range.contains(value));
    inside.ok_or_else(|| outside(value, name, "a whole number", range))
}

fn outside(value: &Value, name: &str, kind: &str, range: &RangeInclusive<f64>) -> String {
    format!("has {} as {name}; it has to be {kind} from {} to {}", short(value), range.start(), range.end())
}

/// A value, cut to a length that fits into a message.
fn short(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}
