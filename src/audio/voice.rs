//! What a voice is called, which language it speaks, and which one suits a language best.

use std::fmt::Write;

/// The most voices that a sentence for a person names.
const MAX_NAMED: usize = 12;

/// A voice that an engine offers.
///
/// Only the name has to be known:
///
/// ```
/// use aloud::tts::{Gender, Voice};
///
/// let plain = Voice::new("joe");
/// let told = Voice {
///     language: Some("en-US".to_owned()),
///     gender: Some(Gender::Male),
///     sample_rate_hz: Some(22_050),
///     ..Voice::new("joe")
/// };
/// # assert_eq!(plain.name, told.name);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voice {
    /// What a client asks for it by.
    pub name: String,
    /// The language it speaks, as a BCP 47 tag such as `en` or `de-CH`; none where that is not
    /// known, or where it speaks several.
    pub language: Option<String>,
    /// Whose voice it sounds like, where that is known.
    pub gender: Option<Gender>,
    /// Samples per second of its own; none where they are those of its engine's format.
    pub sample_rate_hz: Option<u32>,
}

/// Whose voice one sounds like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gender {
    /// A woman's.
    Female,
    /// A man's.
    Male,
    /// Neither's, or anybody's.
    Neutral,
}

impl Gender {
    /// `female`, `male` or `neutral`.
    pub fn name(self) -> &'static str {
        match self {
            Gender::Female => "female",
            Gender::Male => "male",
            Gender::Neutral => "neutral",
        }
    }
}

impl Voice {
    /// A voice of which only the name is known.
    pub fn new(name: impl Into<String>) -> Voice {
        Voice { name: name.into(), language: None, gender: None, sample_rate_hz: None }
    }
}

/// The voice for a text of which the language is known and the voice was not named: the first of
/// that very tag, else the first of that language, else the first of all, which is the default.
pub(crate) fn for_language<'a>(voices: &'a [Voice], language: &str) -> Option<&'a Voice> {
    let speaks = |like: fn(&str, &str) -> bool| {
        let alike = move |voice: &&Voice| voice.language.as_deref().is_some_and(|own| like(own, language));
        voices.iter().find(alike)
    };
    let exactly = |own: &str, wanted: &str| own.eq_ignore_ascii_case(wanted);
    let roughly = |own: &str, wanted: &str| primary(own).eq_ignore_ascii_case(primary(wanted));
    speaks(exactly).or_else(|| speaks(roughly)).or(voices.first())
}

/// The language of a tag without its script, region or variant (RFC 5646 §2.1).
fn primary(tag: &str) -> &str {
    tag.split(['-', '_']).next().unwrap_or(tag)
}

/// The names for a sentence, of which there may be more than a person would read.
pub(crate) fn names(voices: &[Voice]) -> String {
    let named: Vec<&str> = voices.iter().take(MAX_NAMED).map(|voice| voice.name.as_str()).collect();
    match voices.len().saturating_sub(MAX_NAMED) {
        0 => named.join(", "),
        more => format!("{}, and {more} more", named.join(", ")),
    }
}

/// The voices as a JSON list; what is not known is left out.
pub(crate) fn to_json(voices: &[Voice], sample_rate_hz: u32) -> String {
    let string = |text: &str| serde_json::Value::from(text).to_string();
    let mut json = "[".to_owned();
    for (n, voice) in voices.iter().enumerate() {
        let comma = if n == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(json, "{comma}{{\"name\":{}", string(&voice.name));
        if let Some(language) = &voice.language {
            let _ = write!(json, ",\"language\":{}", string(language));
        }
        if let Some(gender) = voice.gender {
            let _ = write!(json, ",\"gender\":\"{}\"", gender.name());
        }
        let rate = voice.sample_rate_hz.unwrap_or(sample_rate_hz);
        let _ = write!(json, ",\"sampleRate\":{rate},\"default\":{}}}", n == 0);
    }
    json.push(']');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(name: &str, language: &str) -> Voice {
        let language = (!language.is_empty()).then(|| language.to_owned());
        Voice { language, ..Voice::new(name) }
    }

    #[test]
    fn a_language_finds_its_voice_or_the_default() {
        let voices = [
            voice("joe", "en-US"),
            voice("amy", "en-GB"),
            voice("eva", "de"),
            voice("any", ""),
            voice("zoë", "zh_CN"),
        ];
        let cases = [
            ("en-US", "joe"),
            ("en-gb", "amy"),
            ("EN-GB", "amy"),
            ("en", "joe"),
            ("en-AU", "joe"),
            ("de-CH", "eva"),
            ("de", "eva"),
            ("zh", "zoë"),
            ("zh-TW", "zoë"),
            ("fr", "joe"),
            ("d", "joe"),
            ("deu", "joe"),
            ("", "joe"),
            ("-", "joe"),
        ];
        for (language, expected) in cases {
            let found = for_language(&voices, language).map(|voice| voice.name.as_str());
            assert_eq!(found, Some(expected), "{language:?}");
        }
        assert_eq!(for_language(&[], "en"), None);
    }

    #[test]
    fn a_list_is_json_and_leaves_out_what_is_not_known() {
        let joe = Voice { gender: Some(Gender::Male), ..voice("joe \"j\"", "en-US") };
        let eva = Voice { sample_rate_hz: Some(22_050), ..Voice::new("eva") };
        let expected = "[{\"name\":\"joe \\\"j\\\"\",\"language\":\"en-US\",\"gender\":\"male\",\
                        \"sampleRate\":16000,\"default\":true},\
                        {\"name\":\"eva\",\"sampleRate\":22050,\"default\":false}]";
        assert_eq!(to_json(&[joe, eva], 16_000), expected);
        assert_eq!(to_json(&[], 16_000), "[]");
    }

    #[test]
    fn a_sentence_names_a_few_of_many() {
        let voices: Vec<Voice> = (0..14).map(|n| Voice::new(format!("v{n}"))).collect();
        assert_eq!(names(&voices[..2]), "v0, v1");
        assert!(names(&voices).ends_with("v11, and 2 more"));
        assert!(names(&voices[..12]).ends_with("v10, v11"));
    }
}
