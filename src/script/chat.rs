//! A language model over HTTP: any server with OpenAI's `/v1/chat/completions`, which by now is
//! nearly all of them (OpenAI, Ollama, llama.cpp, vLLM, LM Studio).
//!
//! The model is asked to stream, and what it writes is passed on as it arrives. A model that
//! thinks for long is alive as long as anything comes from its server, be it thoughts, which are
//! not passed on, or comments.

use super::{Cancelled, Pen, Prompt, Role, Script, ScriptError, Writer};
use crate::script::completion::{self, Completion, Finish};
use crate::text::redact::discreet;
use crate::upstream::{
    Attempt, Call, Credentials, Deadlines, Failure, FailureKind, InvalidSettings, Reply, Retries, Secret,
    Upstream,
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

/// Where the completions are, behind the base URL.
const PATH: &str = "/v1/chat/completions";

/// How the service is called towards people.
const ROLE: &str = "language model";

/// What the longest answer may take in bytes, events and all.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// How long the goodbye of an answer may take that is complete: read to its end, the connection can
/// be used again.
const GOODBYE: Duration = Duration::from_millis(500);

/// The only server that refuses `max_tokens` to its newer models.
const OPENAI: &str = "api.openai.com";

/// Which model to ask, where, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where it is: `http://HOST[:PORT][/PREFIX]`, with or without `/v1` or
    /// `/v1/chat/completions` at its end; `https://` where the feature `tls` is built in.
    pub url: String,
    /// The model's name, as its server knows it.
    pub model: String,
    /// What is shown with every request, as `Authorization: Bearer`. Default: nothing.
    pub key: Option<Secret>,
    /// What the model is told in front of every conversation. Default: nothing.
    pub system_prompt: Option<String>,
    /// How freely it chooses its words, as a rule from 0 to 2. Default: as the server has it.
    pub temperature: Option<f32>,
    /// Where it stops at the latest, in tokens of its own. Default: as the server has it.
    pub max_tokens: Option<u32>,
    /// Silence, nothing of any kind from its server, after which it is given up; the first answer
    /// included. Default: 60 s, in which a model may have to be loaded first.
    pub timeout: Duration,
    /// How long one answer may take altogether. Only time spent waiting for the model counts.
    /// Default: 10 minutes.
    pub total_timeout: Duration,
    /// How often a request is made again that its server did not take.
    pub retries: Retries,
}

impl Settings {
    /// This model at this address, with everything else at its default.
    pub fn new(url: impl Into<String>, model: impl Into<String>) -> Settings {
        Settings {
            url: url.into(),
            model: model.into(),
            key: None,
            system_prompt: None,
            temperature: None,
            max_tokens: None,
            timeout: Duration::from_secs(60),
            total_timeout: Duration::from_secs(600),
            retries: Retries::default(),
        }
    }
}

/// A language model behind an OpenAI-compatible server, as a [`Writer`].
///
/// ```
/// use aloud::script::{Chat, chat};
/// use aloud::tts::Flite;
/// use aloud::{Config, Service};
/// use std::sync::Arc;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut settings = chat::Settings::new("http://127.0.0.1:11434", "llama3.2");
/// settings.system_prompt = Some("Answer in two sentences, in plain words.".to_owned());
/// let writer = Arc::new(Chat::new(settings)?);
/// let service = Service::with_writer(Config::default(), Arc::new(Flite::new()), writer)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Chat {
    upstream: Upstream,
    settings: Settings,
    /// The field that takes the limit of tokens.
    limit: &'static str,
}

impl Chat {
    /// A writer that asks this model. Nothing is sent yet.
    ///
    /// # Errors
    /// The URL is none that can be asked, or there is no model in the settings.
    pub fn new(settings: Settings) -> Result<Chat, InvalidSettings> {
        if settings.model.trim().is_empty() {
            return Err(InvalidSettings(
                "the language model has no name; give the one its server has".to_owned(),
            ));
        }
        let url = settings.url.trim_end_matches('/');
        let base_url = url.strip_suffix("/chat/completions").unwrap_or(url);
        let upstream = Upstream::new(crate::upstream::UpstreamSettings {
            credentials: settings.key.clone().map_or(Credentials::None, Credentials::Bearer),
            deadlines: Deadlines {
                first_byte: settings.timeout,
                idle: settings.timeout,
                total: settings.total_timeout,
                ..Deadlines::default()
            },
            retries: settings.retries,
            max_body_bytes: MAX_ANSWER_BYTES,
            ..crate::upstream::UpstreamSettings::new(ROLE, base_url)
        })?;
        // Whatever the path is, it is one that can be asked for.
        upstream.post(PATH, &Value::Null, "")?;
        let limit = if url.contains(OPENAI) { "max_completion_tokens" } else { "max_tokens" };
        Ok(Chat { upstream, settings, limit })
    }

    fn request(&self, prompt: &Prompt) -> Value {
        let Settings { model, system_prompt, temperature, max_tokens, .. } = &self.settings;
        let system = system_prompt.iter().map(|text| json!({"role": "system", "content": text}));
        let turns = prompt.turns.iter().map(|turn| {
            let role = match turn.role {
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            json!({"role": role, "content": turn.text})
        });
        let messages: Vec<Value> = system.chain(turns).collect();
        let mut request = json!({"model": model, "messages": messages, "stream": true});
        if let Some(temperature) = temperature {
            // By way of its digits: 0.7, and not the nearest float of another width.
            request["temperature"] = temperature.to_string().parse::<f64>().unwrap_or_default().into();
        }
        if let Some(tokens) = max_tokens {
            request[self.limit] = (*tokens).into();
        }
        request
    }
}

impl Writer for Chat {
    fn name(&self) -> &str {
        "chat"
    }

    fn write(&self, prompt: Prompt) -> Script {
        let (pen, script) = Script::channel(&prompt);
        match self.upstream.post(PATH, &self.request(&prompt), "text/event-stream") {
            Ok(call) => {
                let asked = prompt.turns.last().map(|turn| turn.text.clone()).unwrap_or_default();
                tokio::spawn(answer(self.upstream.clone(), call, asked, pen));
                script
            }
            Err(error) => Script::failed(ScriptError::failed(error.to_string())),
        }
    }
}

/// Passes an answer on until it is over or nobody reads it any more.
async fn answer(upstream: Upstream, call: Call, asked: String, mut pen: Pen) {
    // Where nobody reads, the call is dropped, and with it the request.
    let Ok((outcome, reply)) = ask(&upstream, call, &asked, &mut pen).await else { return };
    match outcome {
        Ok(()) => pen.finish().await,
        Err(error) => pen.fail(error).await,
    }
    if let Some(mut reply) = reply {
        let rest = async { while let Ok(Some(_)) = reply.next_chunk().await {} };
        let _ = timeout(GOODBYE, rest).await;
    }
}

/// What came of an answer, and what is left of it.
type Answered = (Result<(), ScriptError>, Option<Reply>);

async fn ask(upstream: &Upstream, mut call: Call, asked: &str, pen: &mut Pen) -> Result<Answered, Cancelled> {
    let mut reply = loop {
        let attempt = tokio::select! {
            biased;
            () = pen.cancelled() => return Err(Cancelled),
            attempt = call.attempt() => attempt,
        };
        match attempt {
            Ok(Attempt::Reply(reply)) => break reply,
            Ok(Attempt::Retry(failure)) => {
                tracing::warn!("{}; asking again", discreet(failure.detail(), &[asked]));
                pen.warn("retrying_llm", format!("{} It is asked again.", failed(&failure).message)).await?;
            }
            Err(failure) => return Ok((Err(given_up(&failure, asked)), None)),
        }
    };
    let mut completion = Completion::new();
    let mut has_written = false;
    loop {
        let chunk = tokio::select! {
            biased;
            () = pen.cancelled() => return Err(Cancelled),
            chunk = reply.next_chunk() => chunk,
        };
        let mut text = String::new();
        let (read, is_over) = match chunk {
            Ok(Some(bytes)) => (completion.push(&bytes, &mut text).map(|()| completion.finished()), false),
            Ok(None) => (completion.finish(&mut text).map(Some), true),
            Err(failure) => return Ok((Err(given_up(&failure, asked)), None)),
        };
        has_written |= !text.trim().is_empty();
        pen.write(&text).await?;
        match read {
            Ok(None) => {}
            Ok(Some(finish)) => {
                let outcome = finished(finish, has_written, pen).await?;
                return Ok((outcome, (!is_over).then_some(reply)));
            }
            Err(failure) => {
                let message = match &failure {
                    completion::Failure::Told(told) => match upstream.quote(told) {
                        told if told.is_empty() => "The language model failed.".to_owned(),
                        told => format!("The language model failed: {}.", told.trim_end_matches('.')),
                    },
                    completion::Failure::Broken(how) => format!("The language model's answer {how}."),
                };
                tracing::warn!("{}", discreet(&upstream.located(&message), &[asked]));
                return Ok((Err(ScriptError::failed(message)), None));
            }
        }
    }
}

async fn finished(
    finish: Finish,
    has_written: bool,
    pen: &mut Pen,
) -> Result<Result<(), ScriptError>, Cancelled> {
    let failed = |message: &str| Ok(Err(ScriptError::failed(message)));
    match finish {
        Finish::Filtered => failed("The language model's server has withheld the rest of the answer."),
        Finish::Length if !has_written => {
            failed("The language model reached its limit of tokens before it had written anything.")
        }
        Finish::Length => {
            let message = "The language model reached its limit of tokens: the answer is cut short.";
            pen.warn("text_limit", message.to_owned()).await?;
            Ok(Ok(()))
        }
        Finish::Stop if !has_written => failed("The language model wrote nothing."),
        Finish::Stop => Ok(Ok(())),
    }
}

fn given_up(failure: &Failure, asked: &str) -> ScriptError {
    tracing::warn!("{}", discreet(failure.detail(), &[asked]));
    failed(failure)
}

/// What the client is told.
fn failed(failure: &Failure) -> ScriptError {
    let message = match failure.kind {
        // What a server says of a key that it does not know may quote a part of it.
        FailureKind::Status(401 | 403) => "The language model does not accept our credentials.".to_owned(),
        _ => failure.to_string(),
    };
    ScriptError { is_timeout: failure.kind.is_timeout(), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Turn;

    #[test]
    fn a_request_says_what_was_set_and_nothing_else() {
        let chat = Chat::new(Settings::new("http://127.0.0.1:1/v1", "m")).unwrap();
        let bare = r#"{"messages":[{"content":"Tea?","role":"user"}],"model":"m","stream":true}"#;
        assert_eq!(chat.request(&Prompt::new("Tea?")).to_string(), bare);

        let settings = Settings {
            system_prompt: Some("Be brief.".to_owned()),
            temperature: Some(0.7),
            max_tokens: Some(99),
            ..Settings::new("http://127.0.0.1:1/v1", "m")
        };
        let turn = |role, text: &str| Turn { role, text: text.to_owned() };
        let turns =
            vec![turn(Role::User, "Tea?"), turn(Role::Assistant, "Green."), turn(Role::User, "\"Hot\"?")];
        let prompt = Prompt { turns, ..Prompt::new("") };
        let full = r#"{"max_tokens":99,"messages":[{"content":"Be brief.","role":"system"},{"content":"Tea?","role":"user"},{"content":"Green.","role":"assistant"},{"content":"\"Hot\"?","role":"user"}],"model":"m","stream":true,"temperature":0.7}"#;
        assert_eq!(Chat::new(settings).unwrap().request(&prompt).to_string(), full);
    }

    #[test]
    fn the_address_may_be_written_at_any_length() {
        let urls = [
            "http://h:1",
            "http://h:1/",
            "http://h:1/v1",
            "http://h:1/v1/",
            "http://h:1/v1/chat/completions",
            "http://h:1/v1/chat/completions/",
        ];
        for url in urls {
            let chat = Chat::new(Settings::new(url, "m")).unwrap();
            let call = chat.upstream.post(PATH, &Value::Null, "").unwrap();
            assert!(format!("{call:?}").contains("http://h:1/v1/chat/completions,"), "{url} gave {call:?}");
        }
    }

    #[test]
    fn settings_that_cannot_be_are_refused_without_showing_the_key() {
        let cases = [("127.0.0.1:11434", "m", "has no scheme"), ("http://h", " ", "has no name")];
        for (url, model, why) in cases {
            let error = Chat::new(Settings::new(url, model)).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let key = Some(Secret::new("sk-tea").unwrap());
        let chat = Chat::new(Settings { key, ..Settings::new("http://h", "m") }).unwrap();
        assert!(!format!("{chat:?}").contains("sk-tea"));
    }
}
