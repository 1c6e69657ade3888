//! A connection that sends every message back as it came.

use super::application::{Application, Departure, Host};
use super::connection::Outcome;
use super::service::Shared;
use crate::access::Permit;
use crate::session::message::Close;
use crate::ws::endpoint::{CloseCode, Incoming};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::time::Instant;

/// An echo.
pub(super) struct Echo {
    /// Counts the connection among those of its client.
    permit: Permit,
}

impl Echo {
    pub(super) fn new(permit: Permit) -> Echo {
        Echo { permit }
    }
}

impl Application for Echo {
    type Event = Infallible;

    fn client(&self) -> Arc<str> {
        self.permit.client().key()
    }

    fn receive(&mut self, message: Incoming, _now: Instant, host: &mut Host<'_>) {
        match message {
            Incoming::Text(text) => host.endpoint.send_text(&text),
            Incoming::Binary(bytes) => host.endpoint.send_binary(bytes),
        }
    }

    fn on_event(&mut self, event: Infallible, _now: Instant, _host: &mut Host<'_>) {
        match event {}
    }

    fn drain(&mut self, host: &mut Host<'_>) {
        host.endpoint.close(CloseCode::AWAY, Close::GoingAway.reason());
    }

    fn on_stall(&mut self, host: &mut Host<'_>) {
        host.endpoint.close(CloseCode::POLICY, Close::SlowClient.reason());
    }

    fn on_silence(&mut self, host: &mut Host<'_>) {
        host.endpoint.close(CloseCode::POLICY, Close::Silent.reason());
    }

    fn leave(&mut self, _outcome: &Outcome, _shared: &Shared) -> Departure {
        Departure::Empty
    }
}
