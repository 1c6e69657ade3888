//! A language model over HTTP, on any server with OpenAI's `/v1/chat/completions`: OpenAI, Ollama, llama.cpp,
//! vLLM, LM Studio and most others.
//!
//! The request asks for a stream, and the text is passed on as it arrives. Any data from the server resets the
//! timeout, thoughts and comments included; thoughts are not passed on.

use super::completion::{Completion, CompletionError, Finish};
use super::{Pen, Prompt, ReaderGone, Role, Script, ScriptError, Writer};
use crate::text::redact::redact;
use crate::upstream::{
    Attempt, Call, Credentials, Deadlines, Failure, FailureKind, InvalidSettings, Reply, Retries, Secret,
    Upstream, UpstreamSettings,
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

/// Path of the completions after the base URL.
const PATH: &str = "/v1/chat/completions";

/// Name of the service in messages.
const ROLE: &str = "language model";

/// Largest answer in bytes, with the framing of its events.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// Time to read the rest of a complete answer, so that its connection can be used again.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

/// The only server that rejects `max_tokens` for its newer models.
const OPENAI: &str = "api.openai.com";

/// Settings of a language model.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatSettings {
    /// Address: `http://HOST[:PORT][/PREFIX]`, or `https://` with the feature `tls`. A `/v1` or
    /// `/v1/chat/completions` at its end is optional.
    pub url: String,
    /// Name of the model on its server.
    pub model: String,
    /// Key sent with each request, as `Authorization: Bearer`. Default: none.
    pub key: Option<Secret>,
    /// Instructions to the model before each conversation. Default: none.
    pub system_prompt: Option<String>,
    /// Sampling temperature, usually from 0 to 2. Default: the server's.
    pub temperature: Option<f32>,
    /// Most tokens of an answer. Default: the server's.
    pub max_tokens: Option<u32>,
    /// Longest time without any data from the server, the time to the first byte included. Default: 60 s,
    /// because the server may have to load the model.
    pub timeout: Duration,
    /// Longest duration of an answer. Only time spent waiting for the model counts. Default: 10 minutes.
    pub total_timeout: Duration,
    /// Retries of a request that the server did not accept.
    pub retries: Retries,
}

impl ChatSettings {
    /// Returns the default settings for a model at this address.
    pub fn new(url: impl Into<String>, model: impl Into<String>) -> ChatSettings {
        ChatSettings {
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
/// use aloud::script::{Chat, ChatSettings};
/// use aloud::tts::Flite;
/// use aloud::{Config, Service};
/// use std::sync::Arc;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut settings = ChatSettings::new("http://127.0.0.1:11434", "llama3.2");
/// settings.system_prompt = Some("Answer in two sentences, in plain words.".to_owned());
/// let writer = Arc::new(Chat::new(settings)?);
/// let service = Service::with_writer(Config::default(), Arc::new(Flite::new()), writer)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Chat {
    upstream: Upstream,
    settings: ChatSettings,
    /// Name of the request's field for `max_tokens`.
    limit_field: &'static str,
}

impl Chat {
    /// Returns a writer for this model. Sends nothing.
    ///
    /// # Errors
    /// The URL is invalid, or the model has no name.
    pub fn new(settings: ChatSettings) -> Result<Chat, InvalidSettings> {
        if settings.model.trim().is_empty() {
            return Err(InvalidSettings(
                "the language model has no name; give its name on the server".to_owned(),
            ));
        }
        let url = settings.url.trim_end_matches('/');
        let base_url = url.strip_suffix("/chat/completions").unwrap_or(url);
        let upstream = Upstream::new(UpstreamSettings {
            credentials: settings.key.clone().map_or(Credentials::None, Credentials::Bearer),
            deadlines: Deadlines {
                first_byte: settings.timeout,
                idle: settings.timeout,
                total: settings.total_timeout,
                ..Deadlines::default()
            },
            retries: settings.retries,
            max_body_bytes: MAX_ANSWER_BYTES,
            ..UpstreamSettings::new(ROLE, base_url)
        })?;
        // Checks the path once, so that later calls cannot fail on it.
        upstream.post(PATH, &Value::Null, "")?;
        let limit_field = if url.contains(OPENAI) { "max_completion_tokens" } else { "max_tokens" };
        Ok(Chat { upstream, settings, limit_field })
    }

    fn request(&self, prompt: &Prompt) -> Value {
        let ChatSettings { model, system_prompt, temperature, max_tokens, .. } = &self.settings;
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
            // Converts by its digits: as f64, 0.7 would be 0.699999988079071.
            request["temperature"] = temperature.to_string().parse::<f64>().unwrap_or_default().into();
        }
        if let Some(tokens) = max_tokens {
            request[self.limit_field] = (*tokens).into();
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

/// Passes an answer on until its end, or until the reader is gone.
async fn answer(upstream: Upstream, call: Call, asked: String, mut pen: Pen) {
    // If the reader is gone, dropping the call aborts the request.
    let Ok((outcome, reply)) = ask(&upstream, call, &asked, &mut pen).await else { return };
    match outcome {
        Ok(()) => pen.finish().await,
        Err(error) => pen.fail(error).await,
    }
    if let Some(mut reply) = reply {
        let rest = async { while let Ok(Some(_)) = reply.next_chunk().await {} };
        let _ = timeout(DRAIN_TIMEOUT, rest).await;
    }
}

/// Result of an answer, and the rest of it that is unread.
type Answered = (Result<(), ScriptError>, Option<Reply>);

async fn ask(
    upstream: &Upstream,
    mut call: Call,
    asked: &str,
    pen: &mut Pen,
) -> Result<Answered, ReaderGone> {
    let mut reply = loop {
        let attempt = tokio::select! {
            biased;
            () = pen.cancelled() => return Err(ReaderGone),
            attempt = call.attempt() => attempt,
        };
        match attempt {
            Ok(Attempt::Reply(reply)) => break reply,
            Ok(Attempt::Retry(failure)) => {
                tracing::warn!("{}; retrying", redact(failure.detail(), &[asked]));
                pen.warn("retrying_llm", format!("{} Retrying.", client_error(&failure).message)).await?;
            }
            Err(failure) => return Ok((Err(logged(&failure, asked)), None)),
        }
    };
    let mut completion = Completion::new();
    let mut has_written = false;
    loop {
        let chunk = tokio::select! {
            biased;
            () = pen.cancelled() => return Err(ReaderGone),
            chunk = reply.next_chunk() => chunk,
        };
        let mut text = String::new();
        let (read, is_over) = match chunk {
            Ok(Some(bytes)) => (completion.push(&bytes, &mut text).map(|()| completion.finished()), false),
            Ok(None) => (completion.finish(&mut text).map(Some), true),
            Err(failure) => return Ok((Err(logged(&failure, asked)), None)),
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
                    CompletionError::Reported(reason) => match upstream.service().quote(reason) {
                        reason if reason.is_empty() => "The language model failed.".to_owned(),
                        reason => format!("The language model failed: {}.", reason.trim_end_matches('.')),
                    },
                    CompletionError::Broken(how) => format!("The language model's answer {how}."),
                };
                tracing::warn!("{}", redact(&upstream.service().located(&message), &[asked]));
                return Ok((Err(ScriptError::failed(message)), None));
            }
        }
    }
}

async fn finished(
    finish: Finish,
    has_written: bool,
    pen: &mut Pen,
) -> Result<Result<(), ScriptError>, ReaderGone> {
    let failed = |message: &str| Ok(Err(ScriptError::failed(message)));
    match finish {
        Finish::Filtered => failed("The language model's server withheld the rest of the answer."),
        Finish::Length if !has_written => {
            failed("The language model reached its token limit before it wrote any text. Raise the limit.")
        }
        Finish::Length => {
            let message = "The language model reached its token limit: the answer is cut short.";
            pen.warn("text_limit", message.to_owned()).await?;
            Ok(Ok(()))
        }
        Finish::Stop if !has_written => failed("The language model wrote nothing."),
        Finish::Stop => Ok(Ok(())),
    }
}

fn logged(failure: &Failure, asked: &str) -> ScriptError {
    tracing::warn!("{}", redact(failure.detail(), &[asked]));
    client_error(failure)
}

/// Returns the error that the client receives.
fn client_error(failure: &Failure) -> ScriptError {
    let message = match failure.kind {
        // The server's reason may quote part of the key.
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
    fn request_contains_the_settings_given_alone() {
        let chat = Chat::new(ChatSettings::new("http://127.0.0.1:1/v1", "m")).unwrap();
        let bare = r#"{"messages":[{"content":"Tea?","role":"user"}],"model":"m","stream":true}"#;
        assert_eq!(chat.request(&Prompt::new("Tea?")).to_string(), bare);

        let settings = ChatSettings {
            system_prompt: Some("Be brief.".to_owned()),
            temperature: Some(0.7),
            max_tokens: Some(99),
            ..ChatSettings::new("http://127.0.0.1:1/v1", "m")
        };
        let turn = |role, text: &str| Turn { role, text: text.to_owned() };
        let turns =
            vec![turn(Role::User, "Tea?"), turn(Role::Assistant, "Green."), turn(Role::User, "\"Hot\"?")];
        let prompt = Prompt { turns, ..Prompt::new("") };
        let full = r#"{"max_tokens":99,"messages":[{"content":"Be brief.","role":"system"},{"content":"Tea?","role":"user"},{"content":"Green.","role":"assistant"},{"content":"\"Hot\"?","role":"user"}],"model":"m","stream":true,"temperature":0.7}"#;
        assert_eq!(Chat::new(settings).unwrap().request(&prompt).to_string(), full);
    }

    #[test]
    fn url_may_end_with_the_path_or_a_part_of_it() {
        let urls = [
            "http://h:1",
            "http://h:1/",
            "http://h:1/v1",
            "http://h:1/v1/",
            "http://h:1/v1/chat/completions",
            "http://h:1/v1/chat/completions/",
        ];
        for url in urls {
            let chat = Chat::new(ChatSettings::new(url, "m")).unwrap();
            let call = chat.upstream.post(PATH, &Value::Null, "").unwrap();
            assert!(format!("{call:?}").contains("http://h:1/v1/chat/completions)"), "{url} gave {call:?}");
        }
    }

    #[test]
    fn settings_that_are_invalid_are_refused_without_showing_the_key() {
        let cases = [("127.0.0.1:11434", "m", "has no scheme"), ("http://h", " ", "has no name")];
        for (url, model, why) in cases {
            let error = Chat::new(ChatSettings::new(url, model)).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let key = Some(Secret::new("sk-tea").unwrap());
        let chat = Chat::new(ChatSettings { key, ..ChatSettings::new("http://h", "m") }).unwrap();
        assert!(!format!("{chat:?}").contains("sk-tea"));
    }
}
