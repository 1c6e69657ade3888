//! A small server that speaks.

pub mod config;
mod gauge;
mod proto;
pub mod tts;

pub use config::Config;
pub use gauge::{Counted, Gauge};
pub use proto::audio;
pub use proto::{clean, text};
