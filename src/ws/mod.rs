//! WebSocket (RFC 6455): the opening handshake, one end of a connection, and frames.
//!
//! This module has no I/O and no clock, and does not know speech.

pub mod endpoint;
pub(crate) mod frames;
pub mod handshake;
#[doc(hidden)]
pub mod header;
mod reader;
