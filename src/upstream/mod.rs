//! Requests to another service: its address, its key, its deadlines and retries, over HTTP.
//!
//! This module does not know what is requested, speech or text. An [`Upstream`] posts a JSON document with a
//! [`Call`]; the [`Reply`] passes the body on as it arrives. Connections are kept and used again. Dropping a
//! [`Call`], or a [`Reply`] before its end, closes the connection, so that the service can stop working.
//! Over another transport, an [`Exchange`] keeps the deadlines and decides on retries, and a [`Service`] words the
//! failures.
//!
//! Deadlines count only time spent waiting for the service. No time passes while the reader of a [`Reply`] is
//! busy.

mod call;
mod connector;
mod exchange;
mod failure;
mod quote;
mod reply;
mod secret;
mod service;
mod settings;

pub use secret::{Credentials, Secret};
pub use settings::{Deadlines, InvalidSettings, Retries, UpstreamSettings};

pub(crate) use connector::{Connection, connect};
pub(crate) use exchange::Exchange;
pub(crate) use failure::Service;
pub(crate) use service::escape;

// Public only for `unstable`.
#[doc(hidden)]
pub use call::{Attempt, Call};
#[doc(hidden)]
pub use failure::{Failure, FailureKind};
#[doc(hidden)]
pub use reply::Reply;
#[doc(hidden)]
pub use service::Upstream;
