//! Joins an application to its socket: moves audio from the engine into the session's log, and what
//! the gate lets through into one write per wake-up.
//!
//! A stream that is running needs nothing else: the wheel takes its steps in here, while the loop of
//! its [`Connection`](super::connection::Connection) sleeps until there is something to decide.

use super::application::{Application, Host};
use super::metrics::Meter;
use super::pace::{Pace, Paced};
use super::service::Shared;
use super::transport::{Readiness, Transport, UNSENT_BYTES, with_read_buffer};
use crate::deadline;
use crate::ws::endpoint::{Endpoint, State};
use crate::ws::frames::Batch;
use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::time::Instant;

/// Number of times that a stalled write is tried again within `stall_timeout`. A socket may take bytes
/// and not report it: without these tries that progress would only be found, and counted from, at the
/// end of the timeout.
const STALL_TRIES: u32 = 5;

thread_local! {
    /// Shared by all connections of a thread, so that an idle one owns no buffer.
    static BATCH: RefCell<Batch> = RefCell::new(Batch::default());
}

/// The reason for which the loop wakes up.
#[derive(Clone, Copy)]
pub(super) enum Traffic {
    /// Nothing came before a deadline passed.
    Silence,
    /// There is something to read, or the end of the stream.
    Arrival,
    /// There may be something to send: the socket has room again, speech came, or a step of the stream
    /// found more to do.
    Output,
}

/// A write that makes no progress.
struct Stall {
    since: Instant,
    /// The moment at which to try again, even if the socket reports no room.
    next_try: Instant,
    /// A try is under way: it goes on until the socket is full, or the rest of the room would count as
    /// progress at the next try.
    is_trying: bool,
    /// The try has written something.
    has_moved: bool,
}

/// Rate below which the line to a client is slow, in bytes per second.
const SLOW_BYTES_PER_SEC: f64 = 256.0 * 1024.0;

/// Rate at which a slow line becomes fast again.
const FAST_BYTES_PER_SEC: f64 = 4.0 * SLOW_BYTES_PER_SEC;

/// Bytes that the kernel takes for a client on a slow line and has not sent, and most bytes of one write
/// to it: half a second at 64 KiB/s, so that an answer is not far behind the audio.
const SLOW_UNSENT_BYTES: u32 = 16 * 1024;

/// Time for which a client on a slow line has to read faster before its line counts as fast.
const FAST_AFTER: Duration = Duration::from_millis(250);

/// Time over which the rate of a client that is always behind is averaged.
const RATE_WINDOW: Duration = Duration::from_secs(120);

/// Least rate of a client that is always behind, in bytes per second: an eighth of telephone speech.
const MIN_BYTES_PER_SEC: u64 = 1024;

/// The rate at which a client reads, measured from one full socket to the next.
#[derive(Default)]
struct Drain {
    /// The moment at which the socket was last full, unless everything has left since.
    full_at: Option<Instant>,
    /// Bytes written since then.
    bytes: usize,
    /// Known once the socket was full twice.
    is_slow: Option<bool>,
    /// Since when the client has been behind, or since the last look at its rate.
    behind_since: Option<Instant>,
    /// Bytes written since then.
    behind_bytes: u64,
    is_too_slow: bool,
    /// The moment at which a full socket last took something: the client has read.
    moved_at: Option<Instant>,
}

impl Drain {
    /// True if the line is known to be slow.
    fn is_slow(&self) -> bool {
        self.is_slow == Some(true)
    }

    /// Notes a write to a client that is behind. Returns true if its line has turned out to be slow or fast by that.
    fn wrote(&mut self, now: Instant, bytes: usize, is_full: bool) -> bool {
        self.bytes += bytes;
        self.behind_bytes += bytes as u64;
        if bytes > 0 && self.full_at.is_some() {
            self.moved_at = Some(now);
        }
        if !is_full {
            return false;
        }
        let since = *self.behind_since.get_or_insert(now);
        // From one moment at which the socket was filled to another: a kernel makes room rarely, and much at once.
        if bytes > 0 && now >= since + RATE_WINDOW {
            self.is_too_slow = self.behind_bytes < MIN_BYTES_PER_SEC * (now - since).as_secs();
            (self.behind_since, self.behind_bytes) = (Some(now), 0);
        }
        if self.bytes == 0 {
            return false;
        }
        // A slow client that catches up with a moment's delay is not a fast one.
        let was_slow = self.is_slow();
        if was_slow && self.full_at.is_some_and(|at| now < at + FAST_AFTER) {
            return false;
        }
        // The socket was full then and is full now: the client has taken what was written in between.
        let bytes = std::mem::take(&mut self.bytes);
        let Some(full_at) = self.full_at.replace(now) else { return false };
        let limit = if was_slow { FAST_BYTES_PER_SEC } else { SLOW_BYTES_PER_SEC };
        let is_slow = (bytes as f64) < limit * (now - full_at).as_secs_f64();
        self.is_slow.replace(is_slow) != Some(is_slow)
    }

    /// Notes that nothing waits for the client.
    fn caught_up(&mut self) {
        *self = Drain { is_slow: self.is_slow, moved_at: self.moved_at, ..Drain::default() };
    }
}

/// A socket and the application that uses it.
///
/// Kept in this order: what every step of a stream reads stands together, in few cache lines, from
/// the end of the endpoint to the log in the session. With thousands of streams none of them is in a
/// cache, and fetching them is the cost of a step. Fields that are only used once the frame has been
/// sent stand between others, or they would be fetched on their own.
#[repr(C)]
pub(super) struct Link<T, A> {
    pub(super) endpoint: Endpoint,
    transport: T,
    /// The stream's place on the wheel.
    pace: Pace,
    /// The last write left something over: nothing more is tried until the socket has room.
    is_blocked: bool,
    /// The last batch was full, or the application decided something at its end: more may be sent at
    /// once.
    has_more: bool,
    /// The speech that is wanted has not come yet, and wakes the task when it does.
    awaits_speech: bool,
    /// A step found more to do than the next step: the loop has to take a turn.
    wants_turn: bool,
    pub(super) shared: Arc<Shared>,
    /// Counts what is sent.
    pub(super) meter: Meter,
    /// A write that has left something over. Boxed: few connections have one.
    stall: Option<Box<Stall>>,
    /// Set once the socket was full. Boxed: few are.
    drain: Option<Box<Drain>>,
    pub(super) application: A,
    /// The error of a write that a step tried.
    failure: Option<io::Error>,
    /// The task to wake for everything but the next step.
    task: Option<Waker>,
}

impl<T: Transport, A: Application> Link<T, A> {
    pub(super) fn new(
        transport: T,
        endpoint: Endpoint,
        application: A,
        shared: Arc<Shared>,
        stream: Weak<dyn Paced>,
        answer_bytes: usize,
    ) -> Link<T, A> {
        let mut meter = Meter::default();
        meter.leave_out(answer_bytes);
        Link {
            transport,
            is_blocked: false,
            has_more: false,
            pace: Pace::new(stream),
            awaits_speech: false,
            wants_turn: false,
            failure: None,
            task: None,
            shared,
            meter,
            stall: None,
            drain: None,
            application,
            endpoint,
        }
    }

    /// The application, with the parts of the connection that it uses.
    pub(super) fn application(&mut self) -> (&mut A, Host<'_>) {
        let Link { endpoint, meter, shared, application, .. } = self;
        (application, Host { endpoint, meter, shared })
    }

    /// Ready when there is more to do than the stream's next step. What arrives comes before what is to
    /// be sent. Dropping the future in between loses nothing.
    pub(super) fn poll(
        &mut self,
        may_read: bool,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Traffic>> {
        if !self.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            self.task = Some(cx.waker().clone());
        }
        self.awaits_speech = false;
        let wanted =
            Readiness { readable: may_read && self.endpoint.wants_input(), writable: self.is_blocked };
        if let Poll::Ready(ready) = self.transport.poll_ready(wanted, cx) {
            let Readiness { readable, writable } = ready?;
            if writable {
                self.is_blocked = false;
                // By now nothing may be left to write, as after a pause.
                self.stall = None;
            }
            return Poll::Ready(Ok(if readable { Traffic::Arrival } else { Traffic::Output }));
        }
        // After what arrived before it, which may be a Close.
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Err(failure));
        }
        if std::mem::take(&mut self.wants_turn) {
            return Poll::Ready(Ok(Traffic::Output));
        }
        if self.is_blocked {
            return Poll::Pending;
        }
        if !self.has_more() {
            if self.has_output(now) {
                return Poll::Ready(Ok(Traffic::Output));
            }
            if let Some(step) = self.next_step(now) {
                self.pace.step_at(step, now);
            }
        }
        if self.wants_speech(now) {
            let poll = self.poll_speech(now, cx);
            self.awaits_speech = poll.is_pending();
            return poll.map(|()| Ok(Traffic::Output));
        }
        Poll::Pending
    }

    /// Takes the stream's next step if it is due. Returns the moment of the step after it, or wakes the
    /// task if there is more to do than that step.
    pub(super) fn step(&mut self, now: Instant) -> Option<Instant> {
        // If there is more to do the task does it.
        if !self.pace.take_due(now) || self.is_blocked || self.has_more() {
            return None;
        }
        // Speech that is wanted leaves in the same write.
        if T::WRITES_THROUGH && !self.lacks_speech(now) {
            match self.write(now) {
                Ok(()) if !self.is_blocked && !self.has_more() && !self.lacks_speech(now) => {
                    let next = self.next_step(now);
                    return self.pace.go_on(next);
                }
                Ok(()) => {}
                Err(failure) => self.failure = Some(failure),
            }
        }
        self.wake();
        None
    }

    /// Wakes the loop for a turn.
    pub(super) fn wake(&mut self) {
        self.wants_turn = true;
        self.task.iter().for_each(Waker::wake_by_ref);
    }

    /// True if the engine has to be asked for speech.
    fn lacks_speech(&self, now: Instant) -> bool {
        !self.awaits_speech && self.wants_speech(now)
    }

    /// True if more may be sent at once.
    pub(super) fn has_more(&self) -> bool {
        self.has_more || !self.is_blocked && !self.endpoint.outgoing().is_empty()
    }

    /// True if the closing handshake is complete and everything was sent.
    pub(super) fn is_finished(&self) -> bool {
        *self.endpoint.state() == State::Finished && self.endpoint.outgoing().is_empty()
    }

    /// True if a part of the stream may be sent now.
    fn has_output(&self, now: Instant) -> bool {
        *self.endpoint.state() == State::Open && self.application.has_output(now)
    }

    pub(super) fn wants_speech(&self, now: Instant) -> bool {
        self.application.wants_speech(now)
    }

    /// Takes all the speech that is wanted and there; ready if it took any.
    pub(super) fn poll_speech(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        self.application.poll_speech(now, &self.shared, cx)
    }

    /// The moment at which more of the stream may be sent, if time alone decides.
    fn next_step(&self, now: Instant) -> Option<Instant> {
        match *self.endpoint.state() == State::Open {
            true => self.application.next_step(now),
            false => None,
        }
    }

    /// Reads once. Returns the count, 0 at the end of the stream, `None` if there is nothing to read.
    pub(super) fn read(&mut self) -> io::Result<Option<usize>> {
        self.read_with(T::try_read)
    }

    /// Reads once, though the socket has not reported that there is something to read.
    pub(super) fn force_read(&mut self) -> io::Result<Option<usize>> {
        self.read_with(T::force_read)
    }

    fn read_with(
        &mut self,
        read: impl FnOnce(&mut T, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<Option<usize>> {
        with_read_buffer(|buffer| match read(&mut self.transport, buffer) {
            Ok(count) => {
                self.endpoint.receive(&buffer[..count]);
                Ok(Some(count))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        })
    }

    /// Writes everything that may leave now at once: control frames, then the stream.
    pub(super) fn write(&mut self, now: Instant) -> io::Result<()> {
        match &self.stall {
            Some(stall) if stall.is_trying => self.write_through(now, T::force_write),
            _ => self.write_through(now, T::try_write),
        }
    }

    fn write_through(
        &mut self,
        now: Instant,
        through: impl FnOnce(&mut T, &[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.has_more = false;
        if self.is_blocked {
            return Ok(());
        }
        BATCH.with_borrow_mut(|batch| {
            // A panic may have left another connection's bytes in it.
            batch.clear();
            let Link {
                transport,
                endpoint,
                application,
                meter,
                shared,
                is_blocked,
                has_more,
                stall,
                drain,
                ..
            } = &mut *self;
            if drain.as_ref().is_some_and(|drain| drain.is_slow()) {
                batch.limit(SLOW_UNSENT_BYTES as usize);
            }
            if *endpoint.state() == State::Open
                && let Some(payload) = application.ask(now)
            {
                endpoint.ping(&payload);
            }
            batch.push_raw(endpoint.outgoing());
            if *endpoint.state() == State::Open {
                application.fill(now, batch);
            }
            if batch.is_empty() {
                drain.iter_mut().for_each(|drain| drain.caught_up());
                return Ok(());
            }
            let written = match batch.write(|slices| through(transport, slices)) {
                Ok(written) => written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => {
                    batch.clear();
                    return Err(error);
                }
            };
            endpoint.sent(written);
            let frames = batch.sent(written, endpoint.unsent(), |sent| application.sent(now, sent, shared));
            meter.wrote(&shared.telemetry, written, frames);
            if let Some(payload) = application.ask(now) {
                // Behind the rest of a frame that was begun: at the offset that it asks for.
                endpoint.ping(&payload);
            }
            *is_blocked = written < batch.len();
            // A write may also end where the client is asked.
            let goes_on = || *endpoint.state() == State::Open && application.has_output(now);
            *has_more = application.has_decided() || !*is_blocked && (batch.is_full() || goes_on());
            if *is_blocked {
                let drain = drain.get_or_insert_default();
                if drain.wrote(now, written, true) {
                    transport.limit_unsent(if drain.is_slow() { SLOW_UNSENT_BYTES } else { UNSENT_BYTES });
                }
            } else if let Some(drain) = drain {
                match *has_more {
                    true => _ = drain.wrote(now, written, false),
                    false => drain.caught_up(),
                }
            }
            match stall {
                Some(stall) if *is_blocked && written == 0 && !stall.has_moved => stall.is_trying = false,
                Some(stall) if !*is_blocked && stall.is_trying => stall.has_moved |= written > 0,
                stall => {
                    *stall = is_blocked.then(|| {
                        let next_try = now + shared.config.stall_timeout / STALL_TRIES;
                        Box::new(Stall { since: now, next_try, is_trying: false, has_moved: false })
                    });
                }
            }
            batch.clear();
            Ok(())
        })
    }

    /// The moment at which to try a stalled write again.
    pub(super) fn next_try(&self) -> Option<Instant> {
        self.stall.as_ref().map(|stall| stall.next_try)
    }

    /// The moment at which the client last read something that it was behind with. TCP has acknowledged
    /// what was before it, so the client lives.
    pub(super) fn moved_at(&self) -> Option<Instant> {
        self.drain.as_ref()?.moved_at
    }

    /// Tries a stalled write again when its next try is due. Returns true if the write has made no
    /// progress for `stall_timeout`, or if the client was behind for minutes and has read next to nothing.
    pub(super) fn has_stalled(&mut self, now: Instant) -> io::Result<bool> {
        if self.drain.as_ref().is_some_and(|drain| drain.is_too_slow) {
            return Ok(true);
        }
        let timeout = self.shared.config.stall_timeout;
        let read_at = self.application.read_at();
        let Some(stall) = self.stall.as_mut().filter(|stall| now >= stall.next_try) else {
            return Ok(false);
        };
        let late = now - stall.next_try;
        if late > deadline::LATE {
            // The process did not run: the client has had no time.
            stall.since += late;
            stall.next_try += late;
        }
        if stall.is_trying {
            // There is room, and nothing waits for it.
            self.stall = None;
        } else {
            stall.next_try += timeout / STALL_TRIES;
            stall.is_trying = true;
            self.force_write(now)?;
        }
        // The kernel of a client that reads slowly makes room rarely, and much of it at once.
        if let (Some(stall), Some(read_at)) = (&mut self.stall, read_at) {
            stall.since = stall.since.max(read_at);
        }
        let is_over = |stall: &Stall| !stall.is_trying && now >= stall.since + timeout;
        Ok(self.stall.as_deref().is_some_and(is_over))
    }

    /// Writes even if the socket reports no room: it may have some.
    pub(super) fn force_write(&mut self, now: Instant) -> io::Result<()> {
        self.is_blocked = false;
        self.write_through(now, T::force_write)
    }

    /// Offers what waits to the socket once, in whatever state the link is.
    pub(super) fn write_outgoing(&mut self) -> io::Result<usize> {
        self.transport.try_write(&[IoSlice::new(self.endpoint.outgoing())])
    }

    pub(super) fn has_nothing_unread(&mut self) -> bool {
        let read = with_read_buffer(|buffer| self.transport.try_read(buffer));
        read.map_or_else(|error| error.kind() == ErrorKind::WouldBlock, |count| count == 0)
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_shutdown(cx)
    }

    /// Discards what the peer sends. Returns its length, which is 0 at the end of the stream.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let wanted = Readiness { readable: true, writable: false };
        loop {
            ready!(self.transport.poll_ready(wanted, cx))?;
            match with_read_buffer(|buffer| self.transport.try_read(buffer)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_is_behind_for_minutes_has_to_read_a_kibibyte_a_second() {
        let now = Instant::now();
        for (bytes_per_sec, is_too_slow) in [(800, true), (1_100, false), (100_000, false)] {
            let mut drain = Drain::default();
            drain.wrote(now, 1_024, true);
            // Room comes rarely, and much of it at once.
            for n in 1..=60 {
                let at = now + Duration::from_secs(5 * n);
                drain.wrote(at, 5 * bytes_per_sec, true);
                let late = is_too_slow && at >= now + RATE_WINDOW;
                assert_eq!(drain.is_too_slow, late, "{bytes_per_sec} B/s after {} s", 5 * n);
            }
        }
    }

    #[test]
    fn the_rate_of_a_client_is_known_once_its_socket_was_full_twice() {
        let now = Instant::now();
        for (bytes_per_sec, is_slow) in
            [(1_500, true), (200_000, true), (300_000, false), (50_000_000, false)]
        {
            let mut drain = Drain::default();
            assert!(!drain.wrote(now, 32 * 1024, true) && drain.is_slow.is_none());
            let later = now + Duration::from_secs_f64(16_384.0 / f64::from(bytes_per_sec));
            assert!(drain.wrote(later, 16 * 1024, true), "{bytes_per_sec} B/s: the limit is set");
            assert_eq!(drain.is_slow, Some(is_slow), "{bytes_per_sec} B/s");
            drain.caught_up();
            assert_eq!(drain.is_slow, Some(is_slow), "{bytes_per_sec} B/s: it stays known");
        }
    }
}
