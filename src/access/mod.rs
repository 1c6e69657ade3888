//! Access: which pages, credentials and clients may connect, and how much each client may have.
//!
//! Judges the head of a request; it reads no bytes of a connection and knows no session. The rules are pure:
//! [`origin`] for pages, [`host`] for names of the server, [`forwarded`] for addresses behind proxies, [`credential`] for tokens, [`rate`] for
//! limits over time. The [`Doorkeeper`] applies them to the clients that are connected, and hands out a
//! [`Permit`] that counts a connection until it is dropped.

mod accounts;
pub(crate) mod credential;
mod doorkeeper;
pub(crate) mod forwarded;
mod holdings;
pub(crate) mod host;
#[cfg(feature = "jwt")]
mod jwt;
mod keys;
mod notice;
pub(crate) mod origin;
mod permit;
pub(crate) mod rate;
pub(crate) mod rules;
#[cfg(feature = "redis")]
pub(crate) mod shared;
mod shares;
mod signature;
mod sockets;
mod tickets;
mod tokens;

pub(crate) use accounts::{ClientId, SessionSlot};
pub(crate) use doorkeeper::{Doorkeeper, Pass, Refusal, Visitor};
pub(crate) use holdings::{Holding, Holdings};
pub(crate) use permit::Permit;
pub(crate) use permit::QuotaReached;
pub(crate) use rate::whole_secs;
pub(crate) use shares::{Key as ShareKey, Shares};
pub(crate) use sockets::Waiting;
