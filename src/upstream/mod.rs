//! Requests to another service over HTTP: its address, its key, its deadlines and retries.
//!
//! This module does not know what is requested, speech or text. An [`Upstream`] posts a JSON document with a
//! [`Call`]; the [`Reply`] passes the body on as it arrives. Connections are kept and used again. Dropping a
//! [`Call`], or a [`Reply`] before its end, closes the connection, so that the service can stop working.
//!
//! Deadlines count only time spent waiting for the service. No time passes while the reader of a [`Reply`] is
//! busy.

mod call;
mod connector;
mod failure;
mod quote;
mod reply;
mod secret;
mod service;
mod settings;

pub use secret::{Credentials, Secret};
pub use settings::{Deadlines, InvalidSettings, Retries, UpstreamSettings};

pub(crate) use call::pause;
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
