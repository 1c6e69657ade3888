//! Every setting of the server: meaning, unit, default and bounds. Knows no command line.

use crate::proto::audio::Encoding;
use std::time::Duration;

/// What the server does, and within which bounds. [`Config::default`] is what `aloud serve` does
/// without arguments.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is spoken to a client that starts a session without a prompt.
    pub greeting: String,
    /// Milliseconds of audio in a binary frame. From 1 to 1,000; a frame never holds more than
    /// 64 KiB. Default: 40.
    pub frame_ms: u32,
    /// How samples are sent. Default: as the engine gives them.
    pub encoding: Option<Encoding>,
    /// Samples per second. Default: the engine's own.
    pub sample_rate_hz: Option<u32>,
    /// How fast sentences are spoken, from 0.5 to 2.0. Default: 1.0, the voice's natural rate.
    pub speed: f32,
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
    /// How long running streams may go on after the server was told to stop. Default: 5 s.
    pub drain_timeout: Duration,
    /// The largest message that a client may send, in bytes. Default: 64 KiB.
    pub max_message_bytes: usize,
    /// The longest prompt, in characters. Default: 20,000.
    pub max_prompt_chars: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            greeting: "Hello. I am ready to speak.".to_owned(),
            frame_ms: 40,
            encoding: None,
            sample_rate_hz: None,
            speed: 1.0,
            prefetch: 2,
            handshake_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(30),
            silence_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(5),
            max_message_bytes: 64 * 1024,
            max_prompt_chars: 20_000,
        }
    }
}
