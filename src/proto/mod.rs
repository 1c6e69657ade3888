//! The protocols, as values: bytes, messages and audio in, bytes, messages and actions out.
//!
//! Nothing in here may know a socket, a task or a clock. Time is an argument (`now`), randomness
//! comes in ready made, and every effect is returned for the owner to carry out, so that each
//! rule can be tested in a few lines without a runtime.

pub mod audio;
pub mod clean;
pub mod completion;
pub mod conversation;
pub mod credential;
pub(crate) mod discretion;
pub mod forwarded;
pub mod frames;
pub mod handshake;
mod inspect;
pub mod log;
pub mod message;
pub mod origin;
pub mod rate;
pub mod resample;
pub mod session;
pub mod text;
pub mod voice;
pub mod websocket;
pub mod words;
