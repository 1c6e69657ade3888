//! Several servers that share a store: any of them continues any session.
//!
//! The store is `redis-server`, which `.ci/foreign-clients` installs. A test that misses it says that it is skipped,
//! and fails with `CI=true`.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, missing_docs)] // A test that cannot go on should stop where it is.

#[path = "../support/mod.rs"]
mod support;

mod faults;
mod kills;
mod limits;
mod listener;
mod recovery;
mod store;
