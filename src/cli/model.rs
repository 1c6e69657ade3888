//! The language model that writes: its options, and the writer made from them.

use super::Source;
use super::engine::Key;
use super::parse::{Usage, wrong};
use super::run::about_url;
use aloud::script::{Chat, ChatSettings, Writer};
use aloud::setting::Group;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A model on a server. `None` leaves the choice to the library, or to that server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Llm {
    pub(crate) url: String,
    pub(crate) model: String,
    pub(crate) key: Option<Key>,
    pub(crate) system_prompt: Option<SystemPrompt>,
    pub(crate) temperature: Option<f32>,
    pub(crate) max_tokens: Option<u32>,
    pub(crate) timeout: Option<Duration>,
}

/// The place of the system prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SystemPrompt {
    Given(String),
    File(PathBuf),
}

impl Source<'_> {
    /// The model that writes; an error if it `is_needed` and missing.
    pub(super) fn llm(&self, is_needed: bool) -> Result<Option<Llm>, Usage> {
        let Some(url) = self.value("llm-url")? else {
            if is_needed {
                return wrong(
                    "--source llm needs --llm-url, the address of a language model, such as \
                     http://127.0.0.1:11434",
                );
            }
            return match self.first(|option| option.group == Group::Model) {
                None => Ok(None),
                Some(option) => wrong(format!(
                    "--{} is for a language model, and there is none; give its address with --llm-url",
                    option.name
                )),
            };
        };
        let Some((_, model)) = self.text("llm-model")?.filter(|(_, model)| !model.trim().is_empty()) else {
            return wrong("--llm-url needs --llm-model, the name of a model that the server there has");
        };
        Ok(Some(Llm {
            url,
            model,
            key: self.key("llm-key-file")?,
            system_prompt: self.system_prompt()?,
            temperature: self.value("llm-temperature")?,
            max_tokens: self.value("llm-max-tokens")?,
            timeout: self.value("llm-timeout-ms")?,
        }))
    }

    fn system_prompt(&self) -> Result<Option<SystemPrompt>, Usage> {
        let (has_text, has_file) = (self.has("system-prompt"), self.has("system-prompt-file"));
        let (text, file) = (self.text("system-prompt")?, self.text("system-prompt-file")?);
        match (text, file) {
            (Some((name, text)), _) if text.trim().is_empty() => {
                wrong(format!("{name} is empty; leave it out, or give a text"))
            }
            (Some((text, _)), Some((file, _))) if has_text == has_file => {
                wrong(format!("there are {text} and {file}; leave one of the two out"))
            }
            // The command line wins over the environment.
            (Some((_, text)), file) if file.is_none() || has_text => Ok(Some(SystemPrompt::Given(text))),
            (_, Some((_, file))) => Ok(Some(SystemPrompt::File(file.into()))),
            (_, None) => Ok(None),
        }
    }
}

impl Llm {
    /// Creates the writer.
    ///
    /// # Errors
    /// A setting cannot be used, or a file is missing or empty.
    pub(super) fn writer(&self) -> Result<Arc<dyn Writer>, Box<dyn Error>> {
        let key = self.key.as_ref().map(|key| key.read("llm-key-file")).transpose()?;
        let system_prompt = self.system_prompt.as_ref().map(SystemPrompt::read).transpose()?;
        let default = ChatSettings::new(&self.url, &self.model);
        let chat = Chat::new(ChatSettings {
            key,
            system_prompt,
            temperature: self.temperature,
            max_tokens: self.max_tokens,
            timeout: self.timeout.unwrap_or(default.timeout),
            ..default
        });
        Ok(Arc::new(chat.map_err(|why| about_url("llm-url", why))?))
    }
}

impl SystemPrompt {
    fn read(&self) -> Result<String, String> {
        let path = match self {
            SystemPrompt::Given(text) => return Ok(text.clone()),
            SystemPrompt::File(path) => path,
        };
        let file = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("--system-prompt-file: cannot read {file}: {error}"))?;
        match text.trim() {
            "" => Err(format!("--system-prompt-file: {file} is empty; put the instructions into it")),
            text => Ok(text.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Env, error, say_with, serve_with};
    use super::super::{Text, Via, options};
    use super::*;
    use aloud::TextSource;
    use aloud::upstream::Secret;

    const MODEL: [&str; 2] = ["--llm-url=http://h", "--llm-model=m"];

    fn plain() -> Llm {
        Llm {
            url: "http://h".to_owned(),
            model: "m".to_owned(),
            key: None,
            system_prompt: None,
            temperature: None,
            max_tokens: None,
            timeout: None,
        }
    }

    type Change = fn(&mut Llm);

    const TABLE: &[(&str, &str, &str, Change)] = &[
        ("--llm-key-file", "ALOUD_LLM_KEY_FILE", "k", |llm| llm.key = Some(Key::File("k".into()))),
        ("--system-prompt", "ALOUD_SYSTEM_PROMPT", "Be brief.", |llm| {
            llm.system_prompt = Some(SystemPrompt::Given("Be brief.".to_owned()));
        }),
        ("--system-prompt-file", "ALOUD_SYSTEM_PROMPT_FILE", "p", |llm| {
            llm.system_prompt = Some(SystemPrompt::File("p".into()));
        }),
        ("--llm-temperature", "ALOUD_LLM_TEMPERATURE", "0", |llm| llm.temperature = Some(0.0)),
        ("--llm-temperature", "ALOUD_LLM_TEMPERATURE", "2.0", |llm| llm.temperature = Some(2.0)),
        ("--llm-max-tokens", "ALOUD_LLM_MAX_TOKENS", "1", |llm| llm.max_tokens = Some(1)),
        ("--llm-max-tokens", "ALOUD_LLM_MAX_TOKENS", "1000000", |llm| llm.max_tokens = Some(1_000_000)),
        ("--llm-timeout-ms", "ALOUD_LLM_TIMEOUT_MS", "3600000", |llm| {
            llm.timeout = Some(Duration::from_millis(3_600_000));
        }),
        ("--llm-url", "ALOUD_LLM_URL", "http://h", |_| {}),
        ("--llm-model", "ALOUD_LLM_MODEL", "m", |_| {}),
    ];

    #[test]
    fn every_option_can_come_from_either_side() {
        for &(option, variable, value, change) in TABLE {
            let mut expected = plain();
            change(&mut expected);
            let model: Vec<&str> = MODEL.into_iter().filter(|given| !given.starts_with(option)).collect();
            let args = [vec!["serve", option, value], model.clone()].concat();
            assert_eq!(serve_with(&args, &[]).settings.llm.as_ref(), Some(&expected), "{option}");
            let env: Env = Vec::leak(vec![(variable, value)]);
            let args = [vec!["serve"], model].concat();
            assert_eq!(serve_with(&args, env).settings.llm.as_ref(), Some(&expected), "{variable}");
        }
        for option in options::of("serve").into_iter().filter(|option| option.group == Group::Model) {
            let long = format!("--{}", option.name);
            let is_listed = TABLE.iter().any(|(name, ..)| *name == long);
            assert!(is_listed || !option.field.is_empty(), "{long} is not in the table");
        }
    }

    #[test]
    fn the_key_comes_from_a_file_or_else_from_the_environment() {
        let env: Env = &[("ALOUD_LLM_KEY", " sk-tea\n")];
        let key = |args: &[&str]| serve_with(&[&MODEL, args].concat(), env).settings.llm.unwrap().key;
        assert_eq!(key(&[]), Some(Key::Given(Secret::new("sk-tea").unwrap())));
        assert_eq!(key(&["--llm-key-file=k"]), Some(Key::File("k".into())));
        assert!(!format!("{:?}", key(&[])).contains("sk-tea"));
    }

    #[test]
    fn the_system_prompt_of_the_command_line_wins() {
        let env: Env = &[("ALOUD_SYSTEM_PROMPT_FILE", "p")];
        let args = [&MODEL[..], &["--system-prompt=Hm."]].concat();
        let prompt = serve_with(&args, env).settings.llm.unwrap().system_prompt;
        assert_eq!(prompt, Some(SystemPrompt::Given("Hm.".to_owned())));
        let env: Env = &[("ALOUD_SYSTEM_PROMPT", "Hm.")];
        let args = [&MODEL[..], &["--system-prompt-file=p"]].concat();
        let prompt = serve_with(&args, env).settings.llm.unwrap().system_prompt;
        assert_eq!(prompt, Some(SystemPrompt::File("p".into())));
    }

    #[test]
    fn a_server_has_a_source() {
        for (args, env, expected) in [
            (&[][..], &[][..], TextSource::Verbatim),
            (&["--source=verbatim"], &[("ALOUD_SOURCE", "llm")], TextSource::Verbatim),
            (&["--source", "llm", MODEL[0], MODEL[1]], &[], TextSource::Llm),
            (&MODEL, &[("ALOUD_SOURCE", "llm")], TextSource::Llm),
        ] {
            assert_eq!(serve_with(args, env).settings.config.source, expected, "{args:?}");
        }
    }

    #[test]
    fn say_asks_a_model_only_if_it_is_told_to() {
        let env: Env =
            &[("ALOUD_SOURCE", "llm"), ("ALOUD_LLM_URL", "nonsense"), ("ALOUD_LLM_TEMPERATURE", "hot")];
        let say = say_with(&["say", "Hi"], env);
        let Via::Own(settings) = say.server else { panic!("its own server") };
        assert_eq!((say.source, settings.llm), (None, None));

        let say = say_with(&[&["say", "--source=llm", "Tell me about tea"], &MODEL[..]].concat(), &[]);
        let Via::Own(settings) = say.server else { panic!("its own server") };
        assert_eq!((say.source, settings.llm), (Some(TextSource::Llm), Some(plain())));
        assert_eq!(say.text, Text::Given("Tell me about tea".to_owned()));

        let say = say_with(&["say", "--source=llm", "Hi", "--url=ws://a"], env);
        assert_eq!(say.source, Some(TextSource::Llm));
        assert!(matches!(say.server, Via::Url { .. }));
    }

    #[test]
    fn wrong_usage_gets_a_sentence() {
        let table: &[(&[&str], Env, &str)] = &[
            (&["--source=llm"], &[], "--source llm needs --llm-url, the address of a language model"),
            (&["say", "Hi", "--source=llm"], &[], "--source llm needs --llm-url"),
            (&["--source=append"], &[], "--source cannot be `append`; give verbatim or llm"),
            (&["--llm-url=http://h"], &[], "--llm-url needs --llm-model, the name of a model"),
            (&["--llm-url=http://h", "--llm-model= "], &[], "--llm-url needs --llm-model"),
            (&["--llm-model=m"], &[], "--llm-model is for a language model, and there is none"),
            (&["say", "Hi", "--system-prompt=x"], &[], "--system-prompt is for a language model"),
            (&["--llm-temperature=2.1", MODEL[0], MODEL[1]], &[], "give a number from 0 to 2"),
            (&["--llm-max-tokens=0", MODEL[0], MODEL[1]], &[], "give a whole number of tokens from 1 to"),
            (&["--llm-max-chars=0", MODEL[0], MODEL[1]], &[], "give a whole number of characters from 1 to"),
            (&["--llm-timeout-ms=0", MODEL[0], MODEL[1]], &[], "give a whole number of milliseconds from 1"),
            (&["--system-prompt= ", MODEL[0], MODEL[1]], &[], "--system-prompt is empty"),
            (
                &["--system-prompt=a", "--system-prompt-file=b", MODEL[0], MODEL[1]],
                &[],
                "there are --system-prompt and --system-prompt-file; leave one of the two out",
            ),
            (&MODEL, &[("ALOUD_LLM_KEY", "two words")], "ALOUD_LLM_KEY is no key: the key contains a space"),
            (
                &["say", "Hi", "--url=ws://a", "--llm-url=http://h"],
                &[],
                "--llm-url sets up a server of its own",
            ),
        ];
        for (args, env, expected) in table {
            let sentence = error(args, env);
            assert!(sentence.contains(expected), "{args:?} {env:?} gave {sentence:?}");
            assert!(!sentence.contains('\n') && !sentence.ends_with('.'), "{sentence:?}");
        }
    }

    #[test]
    fn a_file_that_is_missing_or_empty_is_an_error_that_names_the_option() {
        let empty = std::env::temp_dir().join(format!("aloud-empty-{}", std::process::id()));
        std::fs::write(&empty, " \n").unwrap();
        let missing = PathBuf::from("/nonexistent/file");
        for path in [empty.clone(), missing] {
            let key = Llm { key: Some(Key::File(path.clone())), ..plain() };
            let prompt = Llm { system_prompt: Some(SystemPrompt::File(path.clone())), ..plain() };
            for (llm, option) in [(key, "--llm-key-file: "), (prompt, "--system-prompt-file: ")] {
                let Err(error) = llm.writer() else { panic!("{option} {}", path.display()) };
                let error = error.to_string();
                assert!(error.starts_with(option) && error.contains(path.to_str().unwrap()), "{error}");
            }
        }
        std::fs::remove_file(empty).unwrap();
        assert!(plain().writer().is_ok());
    }
}
