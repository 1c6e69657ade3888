//! The built binary in a process of its own: its output, its exit codes, its signals.
#![allow(clippy::unwrap_used, missing_docs)] // A test that cannot go on should stop where it is.

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod cli;
mod doors;
mod neural;
mod operator;
mod packages;
mod process;
mod say;
#[cfg(feature = "tls")]
mod tls;
