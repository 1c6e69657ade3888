//! A small server that speaks.

pub mod client;
pub mod config;
mod gauge;
pub mod proto;
mod server;
pub mod tts;

pub use config::Config;
pub use gauge::{Counted, Gauge};
pub use proto::audio;
pub use server::{BindError, ConfigError, PATH, Server, Service};
