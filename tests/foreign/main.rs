//! Programs from elsewhere on the other end: clients, browsers, proxies, speech services.
//!
//! `.ci/foreign-clients` installs them and prints environment variables that say where they are. A
//! test whose program is missing says that it is skipped, and fails with `CI=true`.
#![allow(clippy::unwrap_used, missing_docs)] // A test that cannot go on should stop where it is.

#[path = "../support/mod.rs"]
mod support;

mod browser;
mod client;
#[allow(unreachable_pub)] // As the rest of the support is.
mod proxy;
mod reverse_proxy;
mod service;
mod slow_peers;
mod speech;
mod writer;
