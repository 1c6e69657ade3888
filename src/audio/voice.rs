//! Names and languages of voices, and the choice of a voice for a language.

use std::fmt::{self, Write};
use std::str::FromStr;

/// Names of languages, by their tags. Others are shown by their tag.
const LANGUAGES: &[(&str, &str)] = &[
    ("ar", "Arabic"),
    ("cs", "Czech"),
    ("da", "Danish"),
    ("de", "German"),
    ("el", "Greek"),
    ("en", "English"),
    ("es", "Spanish"),
    ("fi", "Finnish"),
    ("fr", "French"),
    ("he", "Hebrew"),
    ("hi", "Hindi"),
    ("hu", "Hungarian"),
    ("it", "Italian"),
    ("ja", "Japanese"),
    ("ko", "Korean"),
    ("nl", "Dutch"),
    ("no", "Norwegian"),
    ("pl", "Polish"),
    ("pt", "Portuguese"),
    ("ro", "Romanian"),
    ("ru", "Russian"),
    ("sv", "Swedish"),
    ("tr", "Turkish"),
    ("uk", "Ukrainian"),
    ("vi", "Vietnamese"),
    ("zh", "Chinese"),
];

/// Most voices that a message names.
const MAX_NAMED: usize = 12;

/// A voice that an engine offers.
///
/// Everything but the name is optional:
///
/// ```
/// use aloud::tts::{Gender, Voice};
///
/// let plain = Voice::new("joe");
/// let detailed = Voice {
///     language: Some("en-US".to_owned()),
///     gender: Some(Gender::Male),
///     sample_rate_hz: Some(22_050),
///     ..Voice::new("joe")
/// };
/// # assert_eq!(plain.name, detailed.name);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voice {
    /// Name by which a client asks for the voice.
    pub name: String,
    /// Language of the voice as a BCP 47 tag such as `en` or `de-CH`. `None` if it is not known, or if
    /// the voice speaks several languages.
    pub language: Option<String>,
    /// Gender that the voice sounds like, if it is known.
    pub gender: Option<Gender>,
    /// Native sample rate, in hertz. `None` if it is that of the engine's format.
    pub sample_rate_hz: Option<u32>,
}

/// Gender that a voice sounds like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gender {
    /// A woman's voice.
    Female,
    /// A man's voice.
    Male,
    /// Neither, or either.
    Neutral,
}

impl Gender {
    /// Name on the wire: `female`, `male` or `neutral`.
    pub fn name(self) -> &'static str {
        match self {
            Gender::Female => "female",
            Gender::Male => "male",
            Gender::Neutral => "neutral",
        }
    }
}

impl Voice {
    /// Creates a voice with a name and no details.
    pub fn new(name: impl Into<String>) -> Voice {
        Voice { name: name.into(), language: None, gender: None, sample_rate_hz: None }
    }

    /// Name for people, such as "Heart, English (US), female". Parts that are not known are left out.
    pub fn label(&self) -> String {
        let mut letters = self.name.chars();
        let mut label: String =
            letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
        if let Some(tag) = &self.language {
            let language = primary(tag).to_ascii_lowercase();
            let name = LANGUAGES.iter().find(|(known, _)| *known == language).map(|(_, name)| *name);
            // A region has two letters or three digits (RFC 5646 §2.2.4).
            let region = tag.split(['-', '_']).skip(1).find(|part| matches!(part.len(), 2 | 3));
            let _ = match (name, region) {
                (Some(name), Some(region)) => write!(label, ", {name} ({})", region.to_ascii_uppercase()),
                (Some(name), None) => write!(label, ", {name}"),
                (None, _) => write!(label, ", {tag}"),
            };
        }
        if let Some(gender) = self.gender {
            let _ = write!(label, ", {}", gender.name());
        }
        label
    }
}

/// Chooses the voice for a text whose language is known and whose voice was not named: the first voice
/// with this tag, else the first with this language, else the first of all, which is the default.
pub(crate) fn for_language<'a>(voices: &'a [Voice], language: &str) -> Option<&'a Voice> {
    let speaks = |like: fn(&str, &str) -> bool| {
        let alike = move |voice: &&Voice| voice.language.as_deref().is_some_and(|own| like(own, language));
        voices.iter().find(alike)
    };
    let exactly = |own: &str, wanted: &str| own.eq_ignore_ascii_case(wanted);
    let roughly = |own: &str, wanted: &str| primary(own).eq_ignore_ascii_case(primary(wanted));
    speaks(exactly).or_else(|| speaks(roughly)).or(voices.first())
}

/// Language of a tag, without script, region or variant (RFC 5646 §2.1).
fn primary(tag: &str) -> &str {
    tag.split(['-', '_']).next().unwrap_or(tag)
}

/// Another name for a voice, for clients that know only names of their own. Written as `NAME=VOICE`.
///
/// ```
/// use aloud::tts::VoiceAlias;
///
/// let alias: VoiceAlias = "alloy=kal16".parse()?;
/// assert_eq!((&*alias.name, &*alias.voice), ("alloy", "kal16"));
/// # Ok::<(), aloud::tts::InvalidAlias>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoiceAlias {
    /// Name that clients use.
    pub name: String,
    /// Name of the engine's voice.
    pub voice: String,
}

/// Error: a text is not a [`VoiceAlias`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidAlias;

impl fmt::Display for InvalidAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write NAME=VOICE, such as alloy=kal16")
    }
}

impl std::error::Error for InvalidAlias {}

impl FromStr for VoiceAlias {
    type Err = InvalidAlias;

    fn from_str(text: &str) -> Result<VoiceAlias, InvalidAlias> {
        let (name, voice) = text.split_once('=').ok_or(InvalidAlias)?;
        let (name, voice) = (name.trim().to_owned(), voice.trim().to_owned());
        match name.is_empty() || voice.is_empty() || voice.contains('=') {
            true => Err(InvalidAlias),
            false => Ok(VoiceAlias { name, voice }),
        }
    }
}

/// Names of OpenAI's voices, which many clients send whatever the server has. Each with the gender that it sounds
/// like.
pub(crate) const COMMON: [(&str, Gender); 13] = [
    ("alloy", Gender::Female),
    ("ash", Gender::Male),
    ("ballad", Gender::Male),
    ("cedar", Gender::Male),
    ("coral", Gender::Female),
    ("echo", Gender::Male),
    ("fable", Gender::Male),
    ("marin", Gender::Female),
    ("nova", Gender::Female),
    ("onyx", Gender::Male),
    ("sage", Gender::Female),
    ("shimmer", Gender::Female),
    ("verse", Gender::Male),
];

/// Returns the voice that a client means with this name: a voice of the engine, an alias, or one for a
/// [common](COMMON) name, of its gender if there is one. `None` if it is none of these.
pub(crate) fn named<'a>(voices: &'a [Voice], aliases: &[VoiceAlias], name: &str) -> Option<&'a Voice> {
    let find = |name: &str| voices.iter().find(|voice| voice.name == name);
    let alias = || aliases.iter().find(|alias| alias.name == name).and_then(|alias| find(&alias.voice));
    find(name).or_else(alias).or_else(|| {
        let (_, gender) = COMMON.iter().find(|(common, _)| *common == name)?;
        let alike: Vec<&Voice> = voices.iter().filter(|voice| voice.gender == Some(*gender)).collect();
        let number =
            COMMON.iter().filter(|(_, other)| other == gender).position(|(other, _)| *other == name)?;
        alike.get(number % alike.len().max(1)).copied().or(voices.first())
    })
}

/// Checks further names against the voices of an engine.
///
/// # Errors
/// One sentence for the operator: a name stands for no voice, is one of a voice, or is there twice.
pub(crate) fn check_aliases(voices: &[Voice], aliases: &[VoiceAlias]) -> Result<(), String> {
    let is_voice = |name: &str| voices.iter().any(|voice| voice.name == name);
    for (n, VoiceAlias { name, voice }) in aliases.iter().enumerate() {
        if !is_voice(voice) {
            return Err(format!("{name}={voice} names no voice of the engine; it has {}", names(voices)));
        }
        if is_voice(name) {
            return Err(format!("{name}={voice} changes a voice of the engine; choose another name"));
        }
        if aliases[..n].iter().any(|other| other.name == *name) {
            return Err(format!("{name} is there twice; remove one"));
        }
    }
    Ok(())
}

/// Lists the names for a message, at most [`MAX_NAMED`].
pub(crate) fn names(voices: &[Voice]) -> String {
    let named: Vec<&str> = voices.iter().take(MAX_NAMED).map(|voice| voice.name.as_str()).collect();
    match voices.len().saturating_sub(MAX_NAMED) {
        0 => named.join(", "),
        more => format!("{}, and {more} more", named.join(", ")),
    }
}

/// Formats the voices as a JSON list, without details that are not known.
pub(crate) fn to_json(voices: &[Voice], sample_rate_hz: u32) -> String {
    let string = |text: &str| serde_json::Value::from(text).to_string();
    let mut json = "[".to_owned();
    for (n, voice) in voices.iter().enumerate() {
        let comma = if n == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ =
            write!(json, "{comma}{{\"name\":{},\"label\":{}", string(&voice.name), string(&voice.label()));
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
    fn a_list_is_json_without_unknown_details() {
        let joe = Voice { gender: Some(Gender::Male), ..voice("joe \"j\"", "en-US") };
        let eva = Voice { sample_rate_hz: Some(22_050), ..Voice::new("eva") };
        let expected = "[{\"name\":\"joe \\\"j\\\"\",\"label\":\"Joe \\\"j\\\", English (US), male\",\"language\":\"en-US\",\"gender\":\"male\",\
                        \"sampleRate\":16000,\"default\":true},\
                        {\"name\":\"eva\",\"label\":\"Eva\",\"sampleRate\":22050,\"default\":false}]";
        assert_eq!(to_json(&[joe, eva], 16_000), expected);
        assert_eq!(to_json(&[], 16_000), "[]");
    }

    #[test]
    fn a_label_names_what_is_known() {
        let label = |name: &str, language: &str, gender| Voice { gender, ..voice(name, language) }.label();
        for (name, language, gender, expected) in [
            ("heart", "en-US", Some(Gender::Female), "Heart, English (US), female"),
            ("thorsten", "de", Some(Gender::Male), "Thorsten, German, male"),
            ("wang", "zh-Hans_cn", None, "Wang, Chinese (CN)"),
            ("ana", "es-419", None, "Ana, Spanish (419)"),
            ("élan", "tlh-AQ", Some(Gender::Neutral), "Élan, tlh-AQ, neutral"),
            ("joe", "", None, "Joe"),
        ] {
            assert_eq!(label(name, language, gender), expected);
        }
    }

    #[test]
    fn a_common_name_finds_a_voice_of_its_gender_unless_it_has_an_alias() {
        let of = |name: &str, gender| Voice { gender: Some(gender), ..Voice::new(name) };
        let voices = [of("joe", Gender::Male), of("amy", Gender::Female), of("bob", Gender::Male)];
        let aliases = ["alloy=bob".parse().unwrap(), "x=nothing".parse().unwrap()];
        for (name, expected) in [
            ("amy", Some("amy")),
            ("alloy", Some("bob")),
            ("ash", Some("joe")),
            ("ballad", Some("bob")),
            ("cedar", Some("joe")),
            ("coral", Some("amy")),
            ("nova", Some("amy")),
            ("x", None),
            ("eva", None),
        ] {
            let found = named(&voices, &aliases, name).map(|voice| voice.name.as_str());
            assert_eq!(found, expected, "{name}");
        }
        assert!(COMMON.iter().all(|(name, _)| named(&voices[..1], &[], name).is_some()));
        assert_eq!(named(&[], &[], "alloy"), None);
    }

    #[test]
    fn an_alias_has_two_names() {
        assert_eq!(" a = b ".parse(), Ok(VoiceAlias { name: "a".to_owned(), voice: "b".to_owned() }));
        for text in ["a", "=b", "a=", "", "a=b=c", "a==b", "=", "a= =c"] {
            assert_eq!(text.parse::<VoiceAlias>(), Err(InvalidAlias), "{text:?}");
        }
    }

    #[test]
    fn further_names_are_checked_against_the_voices() {
        let voices = [Voice::new("joe"), Voice::new("amy")];
        for (map, expected) in [
            ("alloy=joe nova=joe", None),
            ("alloy=zzz", Some("alloy=zzz names no voice of the engine; it has joe, amy")),
            ("alloy=Joe", Some("alloy=Joe names no voice of the engine; it has joe, amy")),
            ("joe=amy", Some("joe=amy changes a voice of the engine; choose another name")),
            ("joe=joe", Some("joe=joe changes a voice of the engine; choose another name")),
            ("a=joe b=amy a=amy", Some("a is there twice; remove one")),
        ] {
            let aliases: Vec<VoiceAlias> = map.split(' ').map(|alias| alias.parse().unwrap()).collect();
            assert_eq!(check_aliases(&voices, &aliases).err().as_deref(), expected, "{map}");
        }
    }

    #[test]
    fn a_message_names_at_most_12_voices() {
        let voices: Vec<Voice> = (0..14).map(|n| Voice::new(format!("v{n}"))).collect();
        assert_eq!(names(&voices[..2]), "v0, v1");
        assert!(names(&voices).ends_with("v11, and 2 more"));
        assert!(names(&voices[..12]).ends_with("v10, v11"));
    }
}
