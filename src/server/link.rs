//! What a session and its socket are to each other: the way of a byte of audio from the engine, by
//! the session's log and its gate, into one write for each wake-up.
//!
//! A stream that is on its way needs nothing else: the wheel takes its steps in here, without the loop
//! of its [`Connection`](super::connection::Connection), which sleeps until there is something to
//! decide.

use super::metrics::Meter;
use super::pace::{Pace, Paced};
use super::service::Shared;
use super::transport::{Readiness, Transport};
use crate::session::message::Code;
use crate::session::{Engine, Input, Session};
use crate::tts::{Piece, Speech, SynthesisErrorKind, Warning};
use crate::ws::endpoint::{Endpoint, State};
use crate::ws::frames::Batch;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker, ready};
use tokio::time::Instant;

/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;

/// How often a stalled write is tried again within the time that it may take: progress of which the
/// socket says nothing would else count from when it is found, as late as at the end of that time.
const STALL_TRIES: u32 = 5;

thread_local! {
    /// Shared by all connections of a thread, so that an idle one owns no buffer.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
    static BATCH: RefCell<Batch> = RefCell::new(Batch::default());
}

/// What is spoken with over the connection.
#[expect(clippy::large_enum_variant, reason = "nearly every connection has a session")]
pub(crate) enum Talk {
    /// A session.
    Session(Session),
    /// Every message comes back as it is.
    Echo,
    /// Nothing any more: the session has gone.
    Over,
}

/// What the loop is woken for.
#[derive(Clone, Copy)]
pub(super) enum Traffic {
    /// Nothing came, until a deadline did.
    Silence,
    /// There is something to read, or the end of it.
    Arrival,
    /// There may be something to send: the socket has room again, speech came, or a step of the stream
    /// has come upon more to do.
    Output,
}

/// A write that makes no progress.
struct Stall {
    since: Instant,
    /// When to try again, whether or not the socket says that it has room.
    next_try: Instant,
    /// That is being done: all its room is to be filled, or the rest of it would be found, and be
    /// progress, the next time.
    is_trying: bool,
    /// Something was written by that.
    has_moved: bool,
}

/// A socket, and what is said over it.
///
/// Kept in this order: what every step of a stream reads stands together, in few cache lines, from
/// the end of the endpoint to the log in the session. With thousands of streams none of them is in a
/// cache, and fetching them is what a step costs; those that only come into play once the frame has
/// been sent lie between others, or would be waited for on their own.
#[repr(C)]
pub(super) struct Link<T> {
    pub(super) endpoint: Endpoint,
    transport: T,
    /// When the stream's next step is due.
    pace: Pace,
    /// The last write left something over: nothing more is tried before the socket has room.
    is_blocked: bool,
    /// The last batch was full, or its end decided something: there may be more that can leave at
    /// once.
    has_more: bool,
    /// The speech that is wanted has not come yet, and the task is woken once it does.
    awaits_speech: bool,
    /// A step has come upon more to do than the next: the loop is to see to it.
    wants_turn: bool,
    pub(super) shared: Arc<Shared>,
    /// What it sends, and does, for the operator.
    pub(super) meter: Meter,
    /// A write that has left something over. Boxed: few connections have one.
    stall: Option<Box<Stall>>,
    pub(super) talk: Talk,
    /// The sentences in synthesis; dropping one stops its engine.
    pub(super) speeches: VecDeque<Speech>,
    /// A write of a step has failed.
    failure: Option<io::Error>,
    /// The task to wake for everything but the next step.
    task: Option<Waker>,
}

impl<T: Transport> Link<T> {
    pub(super) fn new(
        transport: T,
        endpoint: Endpoint,
        talk: Talk,
        shared: Arc<Shared>,
        stream: Weak<dyn Paced>,
    ) -> Link<T> {
        Link {
            transport,
            is_blocked: false,
            has_more: false,
            pace: Pace::new(stream),
            awaits_speech: false,
            wants_turn: false,
            failure: None,
            task: None,
            speeches: VecDeque::new(),
            shared,
            meter: Meter::default(),
            stall: None,
            talk,
            endpoint,
        }
    }

    /// Ready once anything is to be done that is more than the stream's next step; what arrives comes
    /// before what is to be sent. Losing interest in between loses nothing.
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
                // Nothing may be left to write by now, as after a pause.
                self.stall = None;
            }
            return Poll::Ready(Ok(if readable { Traffic::Arrival } else { Traffic::Output }));
        }
        // Behind what arrived before it, which may be a goodbye.
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

    /// Takes the stream's next step, if it is due, and wakes the task if there is more to do than to
    /// take the next, of which it returns when it is.
    pub(super) fn step(&mut self, now: Instant) -> Option<Instant> {
        // Where there is more to do the task is at it.
        if !self.pace.take_due(now) || self.is_blocked || self.has_more() {
            return None;
        }
        // What is there by then leaves in the same write.
        if T::WRITES_THROUGH && !self.lacks_speech(now) {
            match self.write(now) {
                Ok(_) if !self.is_blocked && !self.has_more() && !self.lacks_speech(now) => {
                    let next = self.next_step(now);
                    return self.pace.go_on(next);
                }
                Ok(_) => {}
                Err(failure) => self.failure = Some(failure),
            }
        }
        self.wake();
        None
    }

    /// Has the loop take a turn.
    pub(super) fn wake(&mut self) {
        self.wants_turn = true;
        self.task.iter().for_each(Waker::wake_by_ref);
    }

    /// Whether the engine should be asked for speech.
    fn lacks_speech(&self, now: Instant) -> bool {
        !self.awaits_speech && self.wants_speech(now)
    }

    /// Whether there may be more that can leave at once.
    pub(super) fn has_more(&self) -> bool {
        self.has_more || !self.is_blocked && !self.endpoint.outgoing().is_empty()
    }

    /// Whether the closing handshake is over, and everything was sent.
    pub(super) fn is_finished(&self) -> bool {
        *self.endpoint.state() == State::Finished && self.endpoint.outgoing().is_empty()
    }

    /// Whether something of the stream may be sent now.
    fn has_output(&self, now: Instant) -> bool {
        *self.endpoint.state() == State::Open
            && matches!(&self.talk, Talk::Session(session) if session.has_output(now.into_std()))
    }

    pub(super) fn wants_speech(&self, now: Instant) -> bool {
        match &self.talk {
            Talk::Session(session) => session.wants_speech(now.into_std()) && !self.speeches.is_empty(),
            Talk::Echo | Talk::Over => false,
        }
    }

    /// Takes all the speech that is there and wanted; ready once it took any.
    pub(super) fn poll_speech(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let Link { talk, speeches, shared, .. } = self;
        let Talk::Session(session) = talk else { return Poll::Pending };
        let now = now.into_std();
        let mut took = false;
        while session.wants_speech(now)
            && let Some(speech) = speeches.front_mut()
        {
            match speech.poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(Piece::Audio(chunk)))) => {
                    session.handle(Input::Engine(Engine::Audio(chunk)), now);
                }
                Poll::Ready(Some(Ok(Piece::Words(words)))) => {
                    session.handle(Input::Engine(Engine::Words(&words)), now);
                }
                Poll::Ready(Some(Ok(Piece::Warning(Warning { code, message })))) => {
                    session.handle(Input::Engine(Engine::Warning { code, message }), now);
                }
                Poll::Ready(Some(Err(error))) => {
                    let code = match error.kind {
                        SynthesisErrorKind::Failed => Code::EngineFailed,
                        SynthesisErrorKind::NoAudio => Code::EngineNoAudio,
                        SynthesisErrorKind::Timeout => Code::EngineTimeout,
                        SynthesisErrorKind::Overloaded => Code::Overloaded,
                    };
                    shared.telemetry.engine_failed(code.name(), &error);
                    let failed = Engine::Failed { code, message: &error.message };
                    session.handle(Input::Engine(failed), now);
                }
                Poll::Ready(None) => {
                    speeches.pop_front();
                    if session.is_sound() {
                        shared.telemetry.engine_spoke();
                    }
                    session.handle(Input::Engine(Engine::Finished), now);
                }
            }
            took = true;
        }
        if took { Poll::Ready(()) } else { Poll::Pending }
    }

    /// When more of the stream may be sent, if that is a matter of time.
    fn next_step(&self, now: Instant) -> Option<Instant> {
        match &self.talk {
            Talk::Session(session) if *self.endpoint.state() == State::Open => {
                session.opens_at(now.into_std()).map(Instant::from_std)
            }
            _ => None,
        }
    }

    /// Reads once; the count, 0 at the end of the stream, `None` where there is nothing to read.
    pub(super) fn read(&mut self) -> io::Result<Option<usize>> {
        READ.with_borrow_mut(|buffer| match self.transport.try_read(buffer) {
            Ok(count) => {
                self.endpoint.receive(&buffer[..count]);
                Ok(Some(count))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        })
    }

    /// One write of everything that may leave now: control frames, then the stream. Whether there
    /// was anything.
    pub(super) fn write(&mut self, now: Instant) -> io::Result<bool> {
        match &self.stall {
            Some(stall) if stall.is_trying => self.write_through(now, T::force_write),
            _ => self.write_through(now, T::try_write),
        }
    }

    fn write_through(
        &mut self,
        now: Instant,
        through: impl FnOnce(&mut T, &[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        self.has_more = false;
        if self.is_blocked {
            return Ok(false);
        }
        let at = now.into_std();
        BATCH.with_borrow_mut(|batch| {
            // A panic may have left another connection's bytes in it.
            batch.clear();
            let Link { transport, endpoint, talk, meter, shared, is_blocked, has_more, stall, .. } =
                &mut *self;
            batch.push_raw(endpoint.outgoing());
            if let Talk::Session(session) = talk
                && *endpoint.state() == State::Open
            {
                session.deliver(at, batch);
            }
            if batch.is_empty() {
                return Ok(false);
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
            let frames = batch.sent(written, endpoint.unsent(), |what| {
                if let Talk::Session(session) = talk
                    && let Some(wait) = session.delivered(at, what)
                {
                    shared.telemetry.waited(wait);
                }
            });
            meter.wrote(&shared.telemetry, written, frames);
            let has_decided = matches!(talk, Talk::Session(session) if session.has_outputs());
            *is_blocked = written < batch.len();
            *has_more = has_decided || !*is_blocked && batch.is_full();
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
            Ok(true)
        })
    }

    /// When a stalled write is to be tried again.
    pub(super) fn next_try(&self) -> Option<Instant> {
        self.stall.as_ref().map(|stall| stall.next_try)
    }

    /// Tries a stalled write again, if it is time to. Whether it has made no progress for as long as it
    /// may.
    pub(super) fn retry(&mut self, now: Instant) -> io::Result<bool> {
        let timeout = self.shared.config.stall_timeout;
        let Some(stall) = self.stall.as_mut().filter(|stall| now >= stall.next_try) else {
            return Ok(false);
        };
        if stall.is_trying {
            // There is room, and nothing that waits for it.
            self.stall = None;
        } else {
            stall.next_try += timeout / STALL_TRIES;
            stall.is_trying = true;
            self.force_write(now)?;
        }
        let is_over = |stall: &Stall| !stall.is_trying && now >= stall.since + timeout;
        Ok(self.stall.as_deref().is_some_and(is_over))
    }

    /// Writes, though the socket has not said that it has room: it may have some.
    pub(super) fn force_write(&mut self, now: Instant) -> io::Result<bool> {
        self.is_blocked = false;
        self.write_through(now, T::force_write)
    }

    /// Offers what waits to the socket once, come what may.
    pub(super) fn write_outgoing(&mut self) -> io::Result<usize> {
        self.transport.try_write(&[IoSlice::new(self.endpoint.outgoing())])
    }

    pub(super) fn has_nothing_unread(&mut self) -> bool {
        let read = READ.with_borrow_mut(|buffer| self.transport.try_read(buffer));
        read.map_or_else(|error| error.kind() == ErrorKind::WouldBlock, |count| count == 0)
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_shutdown(cx)
    }

    /// Throws away what the peer sends. Ready at its end.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wanted = Readiness { readable: true, writable: false };
        ready!(self.transport.poll_ready(wanted, cx))?;
        match READ.with_borrow_mut(|buffer| self.transport.try_read(buffer)) {
            Ok(0) => return Poll::Ready(Ok(())),
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
            // A peer that floods on must not keep the others waiting.
            _ => cx.waker().wake_by_ref(),
        }
        Poll::Pending
    }
}
