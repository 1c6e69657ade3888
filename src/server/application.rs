//! The two uses of a connection, a session and an echo, as the loop and the link see them.
//!
//! [`Connection`](super::connection::Connection) and [`Link`](super::link::Link) are generic over an
//! [`Application`] and never ask which one they have. The methods that have a default are those that an
//! echo has no use for.

use super::connection::Outcome;
use super::metrics::Meter;
use super::report::Record;
use super::service::Shared;
use crate::ws::endpoint::{Endpoint, Incoming};
use crate::ws::frames::{Batch, Sent};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Instant;

/// The parts of its connection that an application uses.
pub(super) struct Host<'a> {
    pub(super) endpoint: &'a mut Endpoint,
    pub(super) meter: &'a mut Meter,
    pub(super) shared: &'a Arc<Shared>,
}

/// State of the session when an application has left its connection.
#[derive(Debug)]
pub(super) enum Departure {
    /// No session: an echo has none, and another connection may have taken the session over.
    Empty,
    /// The session has ended.
    Ended(Record),
    /// The session is suspended: the registry keeps it until its client reconnects.
    Suspended(Record),
}

/// The use of a connection once its opening handshake is complete.
///
/// All methods return at once. What an application decides leaves by [`Host::endpoint`] (control
/// messages, Close) or by [`fill`](Application::fill) (its stream).
pub(super) trait Application: Send + 'static {
    /// An input that does not arrive on the socket.
    type Event;

    /// Bytes of messages that take so long that the connection waits for a turn before it takes them.
    const DEAR_BYTES: usize = usize::MAX;

    /// The client, by which the turns of a thread go round.
    fn client(&self) -> Arc<str>;

    /// Takes a message from the client.
    fn receive(&mut self, message: Incoming, now: Instant, host: &mut Host<'_>);

    /// False while the messages that have arrived must wait.
    fn may_receive(&self) -> bool {
        true
    }

    /// True if there is work to do before the next message is taken, a little at a time.
    fn is_behind(&self) -> bool {
        false
    }

    /// Does a little of that work.
    fn catch_up(&mut self, _now: Instant, _host: &mut Host<'_>) {}

    /// True if the application has to know that the client is still there.
    fn needs_client(&self) -> bool {
        false
    }

    /// Takes note that the client was still there after [`needs_client`](Application::needs_client) was
    /// true.
    fn on_client(&mut self, _host: &mut Host<'_>) {}

    /// Does what the application decided since the last call.
    fn carry_out(&mut self, _host: &mut Host<'_>) {}

    /// True if a decision waits for [`carry_out`](Application::carry_out).
    fn has_decided(&self) -> bool {
        false
    }

    /// True if [`poll_session`](Application::poll_session) has to be asked.
    fn expects_session(&self) -> bool {
        false
    }

    /// Ready when a session moves between two connections. Asked before the socket is.
    fn poll_session(&mut self, _cx: &mut Context<'_>) -> Poll<Self::Event> {
        Poll::Pending
    }

    /// True if [`poll_text`](Application::poll_text) has to be asked.
    fn wants_text(&self) -> bool {
        false
    }

    /// Ready with the next piece of an answer that is being written. Asked after the socket is.
    fn poll_text(&mut self, _cx: &mut Context<'_>) -> Poll<Self::Event> {
        Poll::Pending
    }

    /// Takes an event.
    fn on_event(&mut self, event: Self::Event, now: Instant, host: &mut Host<'_>);

    /// True if the connection has to end at once, without a closing handshake: its place is taken.
    fn has_lost_its_place(&self) -> bool {
        false
    }

    /// True if the stream has room for audio and an engine has some to give.
    fn wants_speech(&self, _now: Instant) -> bool {
        false
    }

    /// Takes all the audio that is wanted and there; ready if it took any.
    fn poll_speech(&mut self, _now: Instant, _shared: &Shared, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// True if a part of the stream may be sent now.
    fn has_output(&self, _now: Instant) -> bool {
        false
    }

    /// The moment at which more of the stream may be sent, if time alone decides.
    fn next_step(&self, _now: Instant) -> Option<Instant> {
        None
    }

    /// Adds the part of the stream that may be sent now to the batch.
    fn fill(&mut self, _now: Instant, _batch: &mut Batch) {}

    /// Takes note of a part of the stream that was sent.
    fn sent(&mut self, _now: Instant, _sent: Sent, _shared: &Shared) {}

    /// Returns what the peer has to send back once it has everything that was sent so far, if it has to be
    /// asked now: the payload of a Ping.
    fn ask(&mut self, _now: Instant) -> Option<[u8; 16]> {
        None
    }

    /// Takes such a payload, which the peer has sent back.
    fn on_pong(&mut self, _payload: [u8; 16], _now: Instant) {}

    /// When the peer last showed by such a payload that it reads; `None` if it never does, or has read all.
    fn read_at(&self) -> Option<Instant> {
        None
    }

    /// The next moment at which [`on_time`](Application::on_time) has to be called.
    fn next_time(&self) -> Option<Instant> {
        None
    }

    /// Acts on the deadlines of the application itself.
    fn on_time(&mut self, _now: Instant) {}

    /// Starts to finish: the server shuts down.
    fn drain(&mut self, host: &mut Host<'_>);

    /// Finishes what only this server can finish: the connection is closed once
    /// [`is_settled`](Application::is_settled) is true.
    fn settle(&mut self) {}

    /// True if another server can go on from here.
    fn is_settled(&self) -> bool {
        true
    }

    /// True if nothing but the store is waited for.
    fn is_exporting(&self) -> bool {
        false
    }

    /// Ends the connection: the client has read nothing for `stall_timeout`.
    fn on_stall(&mut self, host: &mut Host<'_>);

    /// Ends the connection: no data came from the client for `silence_timeout`.
    fn on_silence(&mut self, host: &mut Host<'_>);

    /// Stops the work for a connection on which nothing more can be sent.
    fn stop_work(&mut self) {}

    /// Leaves the connection, which has ended so.
    fn leave(&mut self, outcome: &Outcome, shared: &Shared) -> Departure;
}
