//! Servers in the process of the tests: what a client sees of them, byte by byte.
//!
//! One binary for all of them, because each binary links the whole library once more.
#![allow(clippy::unwrap_used, missing_docs)] // A test that cannot go on should stop where it is.

#[path = "../support/mod.rs"]
mod support;

mod accounts;
mod admission;
mod budget;
#[cfg(any(feature = "mp3", feature = "opus"))]
mod coded;
mod command;
mod conformance;
mod doors;
mod engines;
mod fair;
mod faults;
mod handshake;
mod heartbeat;
#[cfg(feature = "http2")]
mod http2;
#[cfg(feature = "jwt")]
mod jwt;
#[cfg(feature = "neural")]
mod neural;
mod normal;
mod pauses;
mod proxy;
mod recovery;
mod session;
mod speech;
mod totals;
mod upstream;
mod v1;
mod writer;
