//! Every setting of the server: meaning, unit, default and bounds. Knows no command line.

pub use crate::access::forwarded::TrustedProxy;
pub use crate::access::origin::AllowOrigin;
pub use crate::access::rules::{Admission, Auth, Jwt};

use crate::audio::Encoding;
use crate::session::message::TextSource;
use std::fmt;
use std::net::SocketAddrV6;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// What the server does, and within which bounds. [`Config::default`] is what `aloud serve` does
/// without arguments.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is spoken to a client that starts a session without a prompt.
    pub greeting: String,
    /// Where the text comes from where a client gives a prompt and does not say:
    /// [`Verbatim`](TextSource::Verbatim), the prompt is the text, or [`Llm`](TextSource::Llm), the
    /// writer of [`Service::with_writer`](crate::Service::with_writer) answers it. Default: the
    /// former.
    pub source: TextSource,
    /// The most characters that a writer may write for one stream; what is beyond it is left out.
    /// Default: 20,000, some twenty minutes of speech.
    pub max_script_chars: usize,
    /// The most turns of a conversation that a writer is told, the newest prompt included; the
    /// oldest are forgotten first. Default: 41, which is twenty prompts with their answers before
    /// the newest.
    pub max_history_turns: usize,
    /// The most characters of them together. Default: 16,000.
    pub max_history_chars: usize,
    /// Whether there is a page at `/` that speaks what is typed, for a look. The module `/aloud.js`
    /// and its types are there in any case. Default: yes.
    pub demo: bool,
    /// Milliseconds of audio in a binary frame. From 1 to 1,000; a frame never holds more than
    /// 64 KiB. Default: 40.
    pub frame_ms: u32,
    /// How samples are sent. Default: as the engine gives them.
    pub encoding: Option<Encoding>,
    /// Samples per second: any of [`Format::SAMPLE_RATES`](crate::audio::Format::SAMPLE_RATES), and
    /// others if the engine gives them. Default: the engine's own.
    pub sample_rate_hz: Option<u32>,
    /// How fast sentences are spoken, from 0.5 to 2.0. Default: 1.0, the voice's natural rate.
    pub speed: f32,
    /// Whether delivery is paced for clients that do not say: frames are sent no more than `ahead`
    /// before the listener needs them, in place of as fast as the connection takes them. Default: no.
    pub paced: bool,
    /// How far ahead of the listener paced delivery sends where a client does not say. From 20 ms
    /// to 60 s. Default: 2 s.
    pub ahead: Duration,
    /// Sentences of one session that may be in synthesis at once, the one that is being heard
    /// included. Default: 2.
    pub prefetch: usize,
    /// From accepting a connection, or from the last answer on it, to a complete handshake.
    /// Default: 10 s.
    pub handshake_timeout: Duration,
    /// How often a peer is pinged (RFC 6455 §5.5.2). Keep it below the idle timeout of the proxy
    /// in front, which is often 60 s. Default: 30 s.
    pub heartbeat: Duration,
    /// Silence, no frame of any kind, after which a peer is taken for gone. Default: 75 s.
    pub silence_timeout: Duration,
    /// How long a write may make no progress before a peer is taken for stuck. Default: 30 s.
    pub stall_timeout: Duration,
    /// How long the closing handshake (RFC 6455 §7.1) may take. Default: 5 s.
    pub close_timeout: Duration,
    /// How long running streams may go on after the server was told to stop. Default: 30 s.
    pub drain_timeout: Duration,
    /// Whether what is spoken may be logged, shortened, a line for each sentence. Default: no.
    pub log_text: bool,
    /// How long a connection may go without a stream, and without a message but `ping`, before it is
    /// closed, with 4408 or 1008; `None` is for ever. Default: 10 minutes.
    pub idle_timeout: Option<Duration>,
    /// Who may open a session, and how much of the server one client may have.
    pub admission: Admission,
    /// The largest message that a client may send, in bytes. Default: 64 KiB.
    pub max_message_bytes: usize,
    /// The most messages that a session takes in a second; ten times as many may come at once. One
    /// beyond it is answered with the error `rate_limited`, and after 100 of them in a row the
    /// session is closed. Default: 5,000, far above what speech has use for.
    pub max_messages_per_sec: Option<u32>,
    /// The longest prompt, in characters. Default: 20,000.
    pub max_prompt_chars: usize,
    /// The most characters of appended text that may wait to be spoken. Default: 8,000.
    pub max_buffered_chars: usize,
    /// The most characters that a session gives to the engine, in all its streams. What was begun is
    /// still heard; then the session is closed. Default: no limit.
    pub max_session_chars: Option<u64>,
    /// How long a session of `aloud.v1` may last. Default: one hour.
    pub max_session: Duration,
    /// How long a resumable session is kept that has lost its connection. Default: 120 s.
    pub resume_ttl: Duration,
    /// Bytes of audio behind the listener that a resumable session keeps, for what a lost
    /// connection has swallowed. Default: 256 KiB, 8 s of the default voice.
    pub resume_bytes: u64,
    /// The most sessions that are kept without a connection; beyond it the oldest is given up.
    /// Default: 10,000.
    pub max_frozen_sessions: usize,
    /// The memory they may take together, in bytes. Default: 1 GiB.
    pub max_frozen_bytes: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            greeting: "Hello. I am ready to speak.".to_owned(),
            source: TextSource::Verbatim,
            max_script_chars: 20_000,
            max_history_turns: 41,
            max_history_chars: 16_000,
            demo: true,
            frame_ms: 40,
            encoding: None,
            sample_rate_hz: None,
            speed: 1.0,
            paced: false,
            ahead: Duration::from_secs(2),
            prefetch: 2,
            handshake_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(30),
            silence_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(30),
            log_text: false,
            idle_timeout: Some(Duration::from_secs(600)),
            admission: Admission::default(),
            max_message_bytes: 64 * 1024,
            max_messages_per_sec: Some(5_000),
            max_prompt_chars: 20_000,
            max_buffered_chars: 8_000,
            max_session_chars: None,
            max_session: Duration::from_secs(3_600),
            resume_ttl: Duration::from_secs(120),
            resume_bytes: 256 * 1024,
            max_frozen_sessions: 10_000,
            max_frozen_bytes: 1 << 30,
        }
    }
}

/// Where the server listens: `HOST:PORT` or `unix:PATH` when written out.
///
/// ```
/// use aloud::settings::Listen;
///
/// let here: Listen = "127.0.0.1:8080".parse()?;
/// assert_eq!(here, Listen::Tcp("127.0.0.1:8080".to_owned()));
/// assert_eq!(here.to_string(), "127.0.0.1:8080");
/// # Ok::<(), aloud::settings::InvalidListen>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Listen {
    /// A host name or address, a colon, and a port. Port 0 takes any free one; an IPv6 address
    /// stands in brackets. Names are not resolved before the server binds.
    Tcp(String),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Default for Listen {
    /// `127.0.0.1:8080`: this machine only.
    fn default() -> Listen {
        Listen::Tcp("127.0.0.1:8080".to_owned())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => f.write_str(address),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why a text is no [`Listen`]: the rest of a sentence that says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidListen(String);

impl fmt::Display for InvalidListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidListen {}

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Listen, InvalidListen> {
        let invalid = |why: String| Err(InvalidListen(why));
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => {
                    invalid("the path is missing; write unix:PATH, such as unix:/run/aloud.sock".to_owned())
                }
                path => Ok(Listen::Unix(path.into())),
            };
        }
        if text.contains("//") {
            return invalid("leave out the scheme and the path; write HOST:PORT".to_owned());
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return match text.parse::<u16>() {
                Ok(port) => invalid(format!("the host is missing; write 127.0.0.1:{port}")),
                Err(_) => invalid("the port is missing; write HOST:PORT or unix:PATH".to_owned()),
            };
        };
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) || port.parse::<u16>().is_err() {
            return invalid(
                "the port must be a number from 0 to 65535, where 0 takes any free one".to_owned(),
            );
        }
        if host.is_empty() {
            return invalid(format!(
                "the host is missing; write 127.0.0.1:{port}, or 0.0.0.0:{port} to be reached from elsewhere"
            ));
        }
        let bracketed = host.starts_with('[');
        if !bracketed && host.contains(':') {
            return invalid(format!("an IPv6 address stands in brackets; write [::1]:{port}"));
        }
        let sound = match bracketed {
            true => text.parse::<SocketAddrV6>().is_ok(),
            false => host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
        };
        if !sound {
            return invalid("the host is neither a name nor an address; write HOST:PORT".to_owned());
        }
        Ok(Listen::Tcp(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_is_read_back_as_it_is_written() {
        let tcp = ["127.0.0.1:8080", "0.0.0.0:0", "localhost:65535", "[::1]:8080", "[fe80::1%2]:80"];
        for text in tcp {
            let listen: Listen = text.parse().unwrap();
            assert_eq!(listen, Listen::Tcp(text.to_owned()));
            assert_eq!(listen.to_string(), text);
        }
        for text in ["unix:/run/aloud.sock", "unix:a b:c"] {
            let listen: Listen = text.parse().unwrap();
            assert_eq!(listen, Listen::Unix(text["unix:".len()..].into()));
            assert_eq!(listen.to_string(), text);
        }
        assert_eq!(Listen::default().to_string().parse(), Ok(Listen::default()));
    }

    #[test]
    fn what_is_no_address_is_told_what_to_write() {
        let table = [
            ("", "the port is missing"),
            ("localhost", "the port is missing"),
            ("8080", "write 127.0.0.1:8080"),
            (":8080", "or 0.0.0.0:8080"),
            ("127.0.0.1:", "a number from 0 to 65535"),
            ("127.0.0.1:65536", "a number from 0 to 65535"),
            ("127.0.0.1:+80", "a number from 0 to 65535"),
            ("127.0.0.1:http", "a number from 0 to 65535"),
            ("::1:8080", "write [::1]:8080"),
            ("[::g]:8080", "neither a name nor an address"),
            ("a b:80", "neither a name nor an address"),
            ("http://127.0.0.1:8080", "leave out the scheme"),
            ("unix:", "the path is missing"),
        ];
        for (text, expected) in table {
            let error = text.parse::<Listen>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?} gave {error:?}");
        }
    }
}
