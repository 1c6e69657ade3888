//! A server that speaks: text goes in over a WebSocket, speech comes out while the rest is still
//! being synthesised.
//!
//! A client opens a WebSocket at [`PATH`] and sends a prompt. The server answers sentence by
//! sentence: JSON control messages and binary audio share one connection. The subprotocol
//! [`SUBPROTOCOL`], `aloud.v1`, adds what rests on counting bytes: pace, cancel, times of words, and
//! sessions that outlive their connection.
//!
//! The [`guide`] is the manual. Start with [`guide::rust`] to embed aloud, with
//! [`guide::protocol`] to write a client, and with [`guide::operation`] to run a server.
//!
//! # The rooms
//!
//! Audio flows from the engine to the socket, control messages flow both ways:
//!
//! ```text
//! engine ─chunk→ Speech ─→ Session ─log→ Batch ────────→ socket
//! engine ←speak/drop─ Speech ←action─ Session ←message─ Endpoint ←bytes─ socket
//! ```
//!
//! | module | contents | I/O |
//! |---|---|---|
//! | [`settings`] | [`Config`]: every setting with its unit, range and default | no |
//! | [`ws`] | WebSocket: handshake, frames, endpoint; no knowledge of speech | no |
//! | [`audio`] | formats, voices, resampling, level | no |
//! | [`text`] | sentences, words, languages, Markdown, text as it is spoken | no |
//! | [`session`] | the state machine of a session, its messages and its [`log`](session::log) | no |
//! | [`access`] | origins, credentials, tickets, limits for each client | no |
//! | [`upstream`] | requests to HTTP services: address, key, deadlines, retries | yes |
//! | [`script`] | [`Writer`](script::Writer), the source of text, and [`Chat`](script::Chat), a language model | yes |
//! | [`tts`] | [`Synthesizer`](tts::Synthesizer), the contract of an engine, and the engines | yes |
//! | `server` | [`Service`], [`Server`] and [`Admin`]: from a listener to a running session | yes |
//! | [`client`] | a client of the protocol | yes |
//!
//! - **[`Service`]** answers HTTP requests and starts sessions for the clients that
//!   [`settings::Admission`] admits. It is a service of tower and of hyper.
//! - **[`Server`]** puts a `Service` behind a listener, with deadlines. With the feature `http2` it
//!   also accepts sessions as streams of HTTP/2 on the same port (RFC 8441).
//! - **A connection** is one task around one `select!`. It owns its session, which moves in and out
//!   by value.
//! - **The registry** of a `Service` keeps suspended sessions, with the speech that was in flight,
//!   until their clients resume them or [`Config::resume_ttl`] has passed.
//!
//! Every queue is bounded. Dropping a handle ends the work behind it: when a connection ends, so do
//! its session, its speech and its requests to engines, unless the session is resumable.

mod access;
pub mod audio;
pub mod client;
mod deadline;
mod gauge;
pub mod guide;
pub mod script;
mod server;
mod session;
#[doc(hidden)]
pub mod setting;
pub mod settings;
mod store;
mod text;
pub mod tts;
pub mod upstream;
pub mod ws;

pub use gauge::{Counted, Gauge};
pub use server::{Admin, BindError, Body, BrokenOff, Responding, Server, Service};
pub use session::message;
pub use session::message::{PATH, SUBPROTOCOL, TextSource};
pub use settings::{Config, ConfigError};

/// Internals, for the benches, the fuzz targets and the command line of this repository. They change without
/// notice.
#[doc(hidden)]
pub mod unstable {
    pub use crate::audio::resample::Resampler;
    pub use crate::session::conversation::Bounds;
    pub use crate::session::log::{Flow, Log, OutOfLog, Positions};
    pub use crate::session::{
        Answer, Dialect, Engine, Input, Misplaced, Output, Pauses, Phase, Place, Sentence, Session,
        SessionConfig, Snapshot, Totals, Wait, Written,
    };
    pub use crate::text::normal::{Spoken, normalize};
    pub use crate::text::{Boundary, Clean, Segment, Segmentation, Segmenter};
    pub use crate::upstream::{Attempt, Call, Failure, FailureKind, Reply, Upstream};
    pub use crate::ws::frames::{Batch, Sent};
    pub use crate::ws::header;

    use crate::access::credential::{Presented, TokenList, presented};
    use crate::access::{forwarded, host};
    use crate::audio::{SampleEncoding, SourceFormat};
    use crate::settings::{AllowHost, TrustedProxy};
    use crate::tts::guard::Guard;
    use crate::tts::{Speech, SynthesisError, Treatment, Utterance};
    use hyper::{HeaderMap, Uri, Version};
    use std::net::IpAddr;

    /// The client that a request's headers name, and the host that its proxy was asked for.
    pub fn forwarded(
        trusted: &[TrustedProxy],
        peer: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> (Option<IpAddr>, Option<String>) {
        (forwarded::client(trusted, peer, headers), forwarded::host(headers))
    }

    /// The authority that a request is for, and true if a server on this machine answers for it.
    pub fn named<'a>(
        version: Version,
        target: &'a Uri,
        headers: &'a HeaderMap,
        allowed: &[AllowHost],
    ) -> Option<(Option<&'a str>, bool)> {
        let named = host::named(version, target, headers).ok()?;
        Some((named, named.is_none_or(|named| host::is_allowed(allowed, named))))
    }

    /// The token of a request: `None` if it has none, `Some(None)` if it is malformed.
    pub fn credential(headers: &HeaderMap, query: Option<&str>) -> Option<Option<String>> {
        match presented(headers, query) {
            Presented::Nothing => None,
            Presented::Malformed => Some(None),
            Presented::Token(token) => Some(Some(token.reveal().to_owned())),
        }
    }

    /// The number of tokens in a list.
    ///
    /// # Errors
    /// The list is malformed.
    pub fn token_list(text: &str) -> Result<usize, String> {
        TokenList::parse(text).map(|list| list.len())
    }

    /// The speech of an engine that writes these bytes, through the check of its audio. `raw` is the encoding, rate
    /// and number of channels of samples without a header.
    pub fn guarded(
        raw: Option<(SampleEncoding, u32, u16)>,
        utterance: &Utterance,
        pieces: &mut dyn Iterator<Item = &[u8]>,
    ) -> (Speech, impl Future<Output = ()> + use<>) {
        let raw = raw.map(|(encoding, sample_rate_hz, channels)| SourceFormat {
            encoding,
            sample_rate_hz,
            channels,
        });
        let (mut sink, speech) = Speech::channel(utterance, utterance.format.sample_rate_hz);
        let mut guard = Guard::new(raw, Treatment::default(), utterance);
        let mut result: Result<(), SynthesisError> = Ok(());
        for piece in pieces {
            result = result.and_then(|()| guard.push(piece, &mut sink));
        }
        let ended = guard.finish(&mut sink);
        let ending = async move {
            match result.and(ended) {
                Ok(()) => sink.finish().await,
                Err(error) => sink.fail(error).await,
            }
        };
        (speech, ending)
    }

    /// The text of a language model's answer, and the fault of an answer that is not whole.
    pub fn completion<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (String, Result<(), String>) {
        crate::script::completion_of(pieces)
    }
}
