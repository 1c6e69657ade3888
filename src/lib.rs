//! A small server that speaks: text in over a WebSocket, speech out while it is still being made.
//!
//! A client opens a WebSocket at [`PATH`], sends a prompt, and hears it sentence by sentence: JSON
//! control messages and raw binary audio share one connection, and pause, resume and end act at
//! the byte. The subprotocol [`SUBPROTOCOL`], `aloud.v1`, adds what rests on counting bytes: pace,
//! cancel, times of words, and sessions that outlive their socket. The README has both in full.
//!
//! # How it hangs together
//!
//! A byte of audio goes one way, a control message the other:
//!
//! ```text
//! engine ─chunk→ Speech ─→ Session ─log→ Batch ────────→ socket
//! engine ←speak/drop─ Speech ←action─ Session ←message─ Endpoint ←bytes─ socket
//! ```
//!
//! - [`ws`], [`audio`], [`text`], [`access`] and [`session`] are pure: no I/O and no clock. [`ws`] knows
//!   nothing of speech; [`session`] is the state machine, and its [`log`](session::log) keeps order,
//!   pause and backpressure.
//! - [`tts`] is what an engine is: [`Synthesizer`](tts::Synthesizer), with
//!   [`Flite`](tts::Flite), the voice inside, and [`Tone`](tts::Tone), for tests and throughput.
//!   Two engines are made of others: [`Queue`](tts::Queue) has one work on so many sentences at
//!   once, and [`Fallback`](tts::Fallback) has a second one for when it fails.
//! - [`script`] is what a writer is: [`Writer`](script::Writer), with [`Chat`](script::Chat), a
//!   language model over HTTP, whose text is spoken while it is still being written.
//! - [`Service`] answers HTTP requests and starts sessions, for whom [`settings::Admission`] lets in;
//!   [`Server`] puts it behind a listener with deadlines, and with the feature `http2` takes
//!   sessions as streams of HTTP/2 on the same port (RFC 8441). Each connection is one task around
//!   one `select!`, the only place that knows both a socket and a session.
//! - A registry, one for each [`Service`], keeps resumable sessions that have lost their
//!   connection, with the speech that was being made for them, until their clients come back or
//!   [`Config::resume_ttl`] is over. A connection owns its session: it moves in and out by value.
//! - [`client`] is the other end.
//!
//! Every queue is bounded, and dropping a handle ends the work behind it: when a connection goes,
//! so do its session, its speech, and the engines at the other end of it, unless it is resumable.

pub mod access;
pub mod audio;
pub mod client;
mod deadline;
mod gauge;
pub mod guide;
pub mod script;
mod server;
pub mod session;
pub mod settings;
pub mod text;
pub mod tts;
pub mod upstream;
pub mod ws;

pub use gauge::{Counted, Gauge};
pub use server::{Admin, BindError, ConfigError, PATH, SUBPROTOCOL, Server, Service};
pub use session::message::TextSource;
pub use settings::Config;
