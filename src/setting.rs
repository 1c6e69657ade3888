//! Declaration of a setting: name, unit, range, default, help text and environment variable.
//!
//! Each list of declarations stands beside what it sets: [`Config`](crate::Config) and
//! [`Admission`](crate::settings::Admission) here, and the options of the command line alone in
//! `src/cli/options.rs`. The checks of `Config`, the parser, the help texts, the man page, the
//! completions and the guide's page of options are all made from these lists.
//!
//! This module serves the program `aloud`, and may change in any release.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Names of the commands that have options.
pub const SERVE: &str = "serve";
/// See [`SERVE`].
pub const SAY: &str = "say";
/// See [`SERVE`].
pub const BENCH: &str = "bench";
/// See [`SERVE`].
pub const ECHO: &str = "echo";

/// The longest duration that can be set, in milliseconds: a week.
pub const MAX_MS: f64 = 604_800_000.0;

/// Names of encodings, each with its meaning.
pub const ENCODINGS: &[(&str, &str)] = &[
    ("pcm_s16le", "signed 16 bit, little endian"),
    ("mulaw", "G.711 µ-law, 8 bit"),
    ("alaw", "G.711 A-law, 8 bit"),
];

/// A setting: a field of [`Config`](crate::Config), an option of the command line, or both.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Path of the field in `Config`; empty if there is none.
    pub field: &'static str,
    /// Name of the option, without dashes; empty if there is none.
    pub name: &'static str,
    /// Placeholder of the option's value in help texts.
    pub value: &'static str,
    /// Form of the option's value.
    pub kind: Kind,
    /// Allowed numbers.
    pub range: Option<Range>,
    /// Smallest number that the command line takes, if it takes less than the library: a guard
    /// against seconds where milliseconds are meant.
    pub floor: f64,
    /// Default in words, where it is no plain number; empty if there is nothing to say.
    pub default: &'static str,
    /// Default of the field; empty if it is no number.
    pub field_default: fn() -> String,
    /// One sentence, for a line of `-h`. Backticks mark code here, as in all texts.
    pub short: &'static str,
    /// More sentences. May be empty.
    pub long: &'static str,
    /// Heading under which the option stands.
    pub group: Group,
    /// Commands that have this option.
    pub commands: &'static [&'static str],
    /// True if `ALOUD_NAME` is read where the command line has no value.
    pub has_variable: bool,
}

/// Form of an option's value.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// The option stands alone.
    Flag,
    /// A number within the range.
    Number,
    /// A duration with its unit, such as `30s`.
    Time,
    /// One of these names; each with its meaning, or with none.
    Choice(&'static [(&'static str, &'static str)]),
    /// A text that looks like this.
    Text(&'static str),
    /// Texts that look like this: separated by commas, or in repeated options.
    List(&'static str),
}

/// Numbers from `min` to `max`, both included.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// Smallest number.
    pub min: f64,
    /// Largest number.
    pub max: f64,
    /// Unit in the plural, or nothing.
    pub unit: &'static str,
    /// True if only whole numbers are allowed.
    pub is_whole: bool,
}

/// Headings of help texts, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // Each has its title below.
pub enum Group {
    Load,
    Output,
    Server,
    OwnServer,
    Address,
    Access,
    Speech,
    Audio,
    Delivery,
    Text,
    Model,
    Outside,
    Program,
    HttpEngine,
    Engine,
    Client,
    Total,
    Operation,
}

impl Group {
    /// Text of the heading.
    pub fn title(self) -> &'static str {
        match self {
            Group::Load => "Load",
            Group::Output => "Output",
            Group::Server => "Server",
            Group::OwnServer => "Server of its own, without --url",
            Group::Address => "Address",
            Group::Access => "Access",
            Group::Speech => "Speech",
            Group::Audio => "Audio",
            Group::Delivery => "Delivery, for clients that do not choose",
            Group::Text => "Text",
            Group::Model => "Language model",
            Group::Outside => "With --engine command, speech, elevenlabs or wyoming",
            Group::Program => "With --engine command",
            Group::HttpEngine => "With --engine speech, elevenlabs or wyoming",
            Group::Engine => "Load on the engine, and its failures",
            Group::Client => "Limits for one client",
            Group::Total => "Limits for all clients together",
            Group::Operation => "Operation",
        }
    }
}

impl Setting {
    /// A field without an option.
    pub const FIELD: Setting = Setting {
        field: "",
        name: "",
        value: "",
        kind: Kind::Number,
        range: None,
        floor: f64::NEG_INFINITY,
        default: "",
        field_default: String::new,
        short: "",
        long: "",
        group: Group::Operation,
        commands: &[],
        has_variable: true,
    };

    /// The same with its default in words.
    #[must_use]
    pub const fn defaulting_to(self, default: &'static str) -> Setting {
        Setting { default, ..self }
    }

    /// The same, which is read from the command line only.
    #[must_use]
    pub const fn without_variable(self) -> Setting {
        Setting { has_variable: false, ..self }
    }

    /// Name of the environment variable, whether or not it is read.
    pub fn variable(&self) -> String {
        format!("ALOUD_{}", self.name.replace('-', "_").to_ascii_uppercase())
    }

    /// Default as help texts show it; empty if there is nothing to say.
    pub fn shown_default(&self) -> String {
        match self.default {
            "" => (self.field_default)(),
            words => words.to_owned(),
        }
    }

    /// Range as help texts show it: `1 to 1000 milliseconds`.
    pub fn shown_range(&self) -> Option<String> {
        let Range { max, unit, .. } = self.range?;
        match self.kind {
            Kind::Number => Some(format!("{} to {max} {unit}", self.min()).trim_end().to_owned()),
            _ => None,
        }
    }

    /// Describes the value, to complete "give …".
    pub fn looks(&self) -> String {
        match (self.kind, self.range) {
            (Kind::Flag, _) => "nothing".to_owned(),
            (Kind::Text(looks) | Kind::List(looks), _) => looks.to_owned(),
            (Kind::Choice(names), _) => {
                let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
                match names.split_last() {
                    Some((last, [])) => (*last).to_owned(),
                    Some((last, others)) => format!("{} or {last}", others.join(", ")),
                    None => String::new(),
                }
            }
            (Kind::Time, Some(Range { max, .. })) => {
                let hours = max / 3_600_000.0;
                format!(
                    "a time such as 30s, 1500ms or 2m up to {hours} hours, where a number alone is in seconds"
                )
            }
            (Kind::Number, Some(Range { max, unit, is_whole, .. })) => {
                let number = if is_whole { "a whole number" } else { "a number" };
                let of = if unit.is_empty() { "" } else { " of " };
                format!("{number}{of}{unit} from {} to {max}", self.min())
            }
            (Kind::Number | Kind::Time, None) => "a number".to_owned(),
        }
    }

    fn min(&self) -> f64 {
        self.range.map_or(self.floor, |range| range.min.max(self.floor))
    }

    /// Reads a value as the command line has it.
    ///
    /// # Errors
    /// The end of a sentence that begins with the option's name.
    pub fn read<T: Field>(&self, text: &str) -> Result<T, String> {
        let is_allowed = match (self.kind, self.range) {
            (Kind::Choice(names), _) => names.iter().any(|(name, _)| *name == text),
            (Kind::Number, Some(Range { max, is_whole, .. })) => {
                let number = match is_whole {
                    true => text.parse::<u64>().ok().map(|number| number as f64),
                    false => text.parse::<f64>().ok(),
                };
                number.is_some_and(|number| (self.min()..=max).contains(&number))
            }
            (Kind::Time, Some(Range { max, .. })) => {
                time(text).is_some_and(|time| time.as_secs_f64() * 1e3 <= max)
            }
            _ => true,
        };
        match is_allowed {
            true => T::read(self, text),
            false => Err(self.refuses(text)),
        }
    }

    /// Ends a sentence that says what to give instead of `text`.
    pub fn refuses(&self, text: &str) -> String {
        format!("cannot be `{text}`; give {}", self.looks())
    }
}

/// An option whose value is a number.
pub const fn number(
    name: &'static str,
    value: &'static str,
    group: Group,
    commands: &'static [&'static str],
) -> Setting {
    Setting { name, value, group, commands, kind: Kind::Number, ..Setting::FIELD }
}

/// An option that stands alone. No environment variable can set it.
pub const fn flag(name: &'static str, group: Group, commands: &'static [&'static str]) -> Setting {
    Setting { name, group, commands, kind: Kind::Flag, has_variable: false, ..Setting::FIELD }
}

/// An option whose value is one of some names.
pub const fn choice(
    name: &'static str,
    value: &'static str,
    names: &'static [(&'static str, &'static str)],
    group: Group,
    commands: &'static [&'static str],
) -> Setting {
    Setting { name, value, group, commands, kind: Kind::Choice(names), ..Setting::FIELD }
}

/// An option whose value is a text that looks like this.
pub const fn text(
    name: &'static str,
    value: &'static str,
    looks: &'static str,
    group: Group,
    commands: &'static [&'static str],
) -> Setting {
    Setting { name, value, group, commands, kind: Kind::Text(looks), ..Setting::FIELD }
}

/// Whole numbers.
pub const fn whole(min: u64, max: u64, unit: &'static str) -> Option<Range> {
    Some(Range { min: min as f64, max: max as f64, unit, is_whole: true })
}

/// Numbers of any kind.
pub const fn real(min: f64, max: f64, unit: &'static str) -> Option<Range> {
    Some(Range { min, max, unit, is_whole: false })
}

/// A type that a setting can have.
pub trait Field: Sized {
    /// True if there are no fractions.
    const IS_WHOLE: bool = true;

    /// Amount in the setting's unit; `None` if this is no number, or no limit.
    fn amount(&self) -> Option<f64> {
        None
    }

    /// Reads a value that is within the setting's range.
    ///
    /// # Errors
    /// The end of a sentence that begins with the option's name.
    fn read(setting: &Setting, text: &str) -> Result<Self, String> {
        Err(setting.refuses(text))
    }
}

macro_rules! numbers {
    ($($type:ty, $is_whole:literal;)*) => { $(
        impl Field for $type {
            const IS_WHOLE: bool = $is_whole;

            #[allow(clippy::cast_lossless)] // Not for all of these types.
            fn amount(&self) -> Option<f64> {
                Some(*self as f64)
            }

            fn read(setting: &Setting, text: &str) -> Result<$type, String> {
                text.parse().map_err(|_| setting.refuses(text))
            }
        }
    )* };
}

numbers! { u16, true; u32, true; u64, true; usize, true; f32, false; f64, false; }

/// In milliseconds.
impl Field for Duration {
    fn amount(&self) -> Option<f64> {
        Some(self.as_secs_f64() * 1e3)
    }

    fn read(setting: &Setting, text: &str) -> Result<Duration, String> {
        let read = match setting.kind {
            Kind::Time => time(text),
            _ => text.parse().ok().map(Duration::from_millis),
        };
        read.ok_or_else(|| setting.refuses(text))
    }
}

impl Field for String {
    fn read(_: &Setting, text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }
}

impl Field for PathBuf {
    fn read(_: &Setting, text: &str) -> Result<PathBuf, String> {
        Ok(text.into())
    }
}

/// A flag changes the default to its opposite; of a choice between two names the second is true.
impl Field for bool {
    fn read(setting: &Setting, text: &str) -> Result<bool, String> {
        Ok(match setting.kind {
            Kind::Choice(names) => names.get(1).is_some_and(|(name, _)| *name == text),
            _ => !setting.name.starts_with("no-"),
        })
    }
}

/// `None` is no limit, or no choice; it cannot be given as a text.
impl<T: Field> Field for Option<T> {
    const IS_WHOLE: bool = T::IS_WHOLE;

    fn amount(&self) -> Option<f64> {
        self.as_ref().and_then(T::amount)
    }

    fn read(setting: &Setting, text: &str) -> Result<Option<T>, String> {
        T::read(setting, text).map(Some)
    }
}

/// With commas between the items.
impl<T: FromStr<Err: fmt::Display>> Field for Vec<T> {
    fn read(_: &Setting, text: &str) -> Result<Vec<T>, String> {
        let items = text.split(',').map(str::trim);
        items.map(|item| item.parse().map_err(|why| format!("cannot be `{item}`: {why}"))).collect()
    }
}

/// Reads a whole number with its unit; seconds if it has none.
fn time(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" | "" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        _ => None,
    }
}

/// A setting with its field in `C`.
pub(crate) struct Declared<C> {
    pub(crate) setting: Setting,
    pub(crate) amount: fn(&C) -> Option<f64>,
    pub(crate) set: fn(&mut C, &Setting, &str) -> Result<(), String>,
}

/// Declares a struct of settings: its fields, their documentation and defaults, and `FIELDS`, the
/// list of their declarations.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        pub struct $name:ident in $path:literal {
            $(
                $(#[$doc:meta])*
                $field:ident: $type:ty = $default:expr => {
                    short: $short:literal,
                    $(long: $long:literal,)?
                    $(range: $min:literal to $max:literal $unit:literal,)?
                    $(option: $option:expr,)?
                }
            )*
        }
    ) => {
        $(#[$meta])*
        pub struct $name {
            $(
                #[doc = $short]
                $(#[doc = concat!("\n\n", $long)])?
                $(#[$doc])*
                #[doc = "\n\n"]
                $(#[doc = concat!("From ", stringify!($min), " to ", stringify!($max), " ", $unit, ".")])?
                #[doc = concat!("Default: `", stringify!($default), "`.")]
                pub $field: $type,
            )*
        }

        impl Default for $name {
            fn default() -> $name {
                $name { $($field: $default,)* }
            }
        }

        impl $name {
            /// Changes some fields, for the middle of an expression.
            #[must_use]
            pub fn with(mut self, change: impl FnOnce(&mut $name)) -> $name {
                change(&mut self);
                self
            }

            /// Declarations of all fields.
            pub(crate) const FIELDS: &'static [$crate::setting::Declared<$name>] = &[$(
                $crate::setting::Declared {
                    #[allow(unused_mut, unused_assignments)]
                    setting: {
                        #[allow(unused_imports)]
                        use $crate::setting::{Field, Range, Setting};
                        let mut setting = Setting::FIELD;
                        $(setting = $option;)?
                        $(setting.long = $long;)?
                        $(setting.range = Some(Range {
                            min: $min as f64,
                            max: $max as f64,
                            unit: $unit,
                            is_whole: <$type as Field>::IS_WHOLE,
                        });)?
                        Setting {
                            field: concat!($path, stringify!($field)),
                            short: if setting.short.is_empty() { $short } else { setting.short },
                            field_default: || {
                                let default: $type = $default;
                                default.amount().map(|amount| amount.to_string()).unwrap_or_default()
                            },
                            ..setting
                        }
                    },
                    amount: |settings| $crate::setting::Field::amount(&settings.$field),
                    set: |settings, setting, text| {
                        settings.$field = setting.read(text)?;
                        Ok(())
                    },
                },
            )*];
        }
    };
}

pub(crate) use settings;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_has_a_unit_or_is_in_seconds() {
        for (text, ms) in [
            ("0", Some(0)),
            ("30", Some(30_000)),
            ("30s", Some(30_000)),
            ("1500ms", Some(1_500)),
            ("2m", Some(120_000)),
            ("", None),
            ("s", None),
            ("-1", None),
            ("1.5", None),
            ("1h", None),
            ("99999999999999999999", None),
            ("18446744073709551615m", None),
        ] {
            assert_eq!(time(text), ms.map(Duration::from_millis), "{text}");
        }
    }
}
