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
//! | [`text`] | sentences, words, languages, Markdown | no |
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
mod text;
pub mod tts;
pub mod upstream;
pub mod ws;

pub use gauge::{Counted, Gauge};
pub use server::{Admin, BindError, Server, Service};
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
        Answer, Dialect, Engine, Input, Output, Phase, Sentence, Session, SessionConfig, Snapshot, Totals,
        Wait, Written,
    };
    pub use crate::text::{Clean, Segmentation, Segmenter};
    pub use crate::upstream::{Attempt, Call, Failure, FailureKind, Reply, Upstream};
    pub use crate::ws::frames::{Batch, Sent};
    pub use crate::ws::header;
}
