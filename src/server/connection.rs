//! The loop: one task, and one `select!`, for each connection.
//!
//! No arm of the `select!` awaits, so none can block the others. The loop decides when to close; its
//! [`Application`] decides what to say, and its [`Link`] writes it.
//!
//! A connection is behind a lock, because a paced stream does not wake the loop for each of its steps:
//! the wheel of its thread takes them ([`Paced`]). The lock is held for a turn or a step, never for a
//! wait, and as a rule by one thread only, so there is no contention.

use super::application::{Application, Departure};
use super::link::{Link, Traffic};
use super::pace::Paced;
use super::service::Shared;
use super::transport::Transport;
use super::turn;
use crate::deadline;
use crate::gauge::Counted;
use crate::session::message::Close;
use crate::settings::Config;
use crate::ws::endpoint::{CloseCode, Closed, Endpoint, State};
use std::future::{self, Future, poll_fn};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{coop, yield_now};
use tokio::time::{Instant, sleep_until, timeout_at};

/// Bytes that a peer may still send after our Close: data that was on its way, but no flood.
const MAX_IGNORED_BYTES: usize = 4 * 1024 * 1024;

/// Work on what one peer sends, after which the other connections of the thread have their turn: the time for
/// its messages, and the bytes that were read.
const TURN_TIME: Duration = Duration::from_millis(1);
const TURN_BYTES: usize = 64 * 1024;

/// Time for the Close of a connection whose place was taken, on a stream that does not deliver it once it is
/// dropped.
const BRIEF: Duration = Duration::from_millis(250);

/// Largest number of reads at once to find the end of a stream, or the last messages before it.
const MAX_LAST_READS: usize = 16;

/// Longest time for sentences in flight to come to their end, for a session that another server continues.
pub(super) const SETTLE_TIME: Duration = Duration::from_secs(5);

/// Longest time beyond that for the store to take them: it gets those of all connections at once.
const EXPORT_TIME: Duration = Duration::from_secs(4);

/// Reason in the Close of a server that restarts, where another server continues its sessions.
const MOVES: &str = "The server restarts: recover the session";

/// The reason for which a connection ended, for the log.
#[derive(Debug)]
pub(super) enum Outcome {
    /// By a Close frame, ours or the peer's.
    Closed(Closed),
    /// The stream ended or broke without a Close frame.
    Gone(io::Error),
    /// The peer read nothing for `stall_timeout`.
    Stalled,
    /// The peer did not finish the closing handshake within `close_timeout`.
    Unfinished(Closed),
    /// A panic in this process.
    Panicked,
}

/// The end of a connection, for the log and the metrics.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) departure: Departure,
    pub(super) outcome: Outcome,
}

/// Conditions for which a connection waits between two turns of its loop.
struct Turn {
    /// The moment at which silence alone has a consequence.
    deadline: Instant,
    /// More can be sent at once.
    has_more: bool,
    /// Messages have arrived, or the application is behind: it goes on in the next turn.
    has_unhandled: bool,
    /// The peer has had its share of the thread.
    must_yield: bool,
    may_read: bool,
    expects_session: bool,
    wants_text: bool,
    is_draining: bool,
}

/// One connection after the opening handshake.
pub(super) struct Connection<T, A> {
    link: Link<T, A>,
    /// A step of the stream has panicked: the connection ends.
    has_panicked: bool,
    /// Messages have arrived, or the application is behind. That waits for the next turn, and nothing is read before.
    has_unhandled: bool,
    /// Work on what the peer sent, since the other connections had their turn.
    worked: Duration,
    read_bytes: usize,
    last_heard: Instant,
    next_ping: Instant,
    /// The moment at which the closing handshake began.
    closing_since: Option<Instant>,
    /// Bytes that arrived since then.
    ignored_bytes: usize,
    /// The moment at which the server began to shut down.
    draining_since: Option<Instant>,
    /// The time for running streams is over: sentences in flight are the last ones.
    is_settling: bool,
    _counted: Counted,
    /// The server's shutdown waits until this is dropped. The last field, so that nothing else of the
    /// connection is left by then.
    stopping: watch::Receiver<bool>,
}

impl<T: Transport, A: Application> Connection<T, A> {
    /// A connection on which `early` arrived right behind the opening handshake. The answer to the
    /// handshake waits in the endpoint, unless it has left.
    pub(super) fn new(
        transport: T,
        mut endpoint: Endpoint,
        application: A,
        shared: Arc<Shared>,
        early: &[u8],
    ) -> Arc<Mutex<Connection<T, A>>> {
        let answer_bytes = endpoint.outgoing().len();
        endpoint.receive(early);
        let now = Instant::now();
        Arc::new_cyclic(|this: &Weak<Mutex<Connection<T, A>>>| {
            Mutex::new(Connection {
                has_panicked: false,
                has_unhandled: false,
                worked: Duration::ZERO,
                read_bytes: 0,
                last_heard: now,
                next_ping: now + shared.config.heartbeat,
                closing_since: None,
                ignored_bytes: 0,
                draining_since: None,
                is_settling: false,
                _counted: shared.sessions.enter(),
                stopping: shared.stop.subscribe(),
                link: Link::new(transport, endpoint, application, shared, this.clone(), answer_bytes),
            })
        })
    }

    /// Takes the next step of the stream; returns the moment at which the one after it is due.
    fn step(&mut self, now: Instant) -> Option<Instant> {
        catch_unwind(AssertUnwindSafe(|| self.link.step(now))).unwrap_or_else(|_| {
            self.has_panicked = true;
            self.link.wake();
            None
        })
    }

    /// Sends what may leave now. Returns what to wait for then, or `None` if the connection is over.
    fn turn(&mut self, now: Instant, cx: &mut Context<'_>) -> Result<Option<Turn>, Outcome> {
        if self.has_panicked {
            return Err(Outcome::Panicked);
        }
        self.carry_out();
        if self.link.application.needs_client() {
            self.look_for_client(now)?;
        }
        if self.link.wants_speech(now) {
            // All speech that is there by now leaves in the same write.
            let _ = self.link.poll_speech(now, cx);
            self.carry_out();
        }
        if self.is_settling && *self.link.endpoint.state() == State::Open {
            self.close_if_settled(now);
        }
        self.link.write(now).map_err(Outcome::Gone)?;
        // The end of the connection may have waited for what was sent just now.
        self.carry_out();
        if self.link.is_finished() {
            return Ok(None);
        }
        self.has_unhandled |= self.is_behind();
        let must_yield = self.worked >= TURN_TIME || self.read_bytes >= TURN_BYTES;
        if must_yield {
            (self.worked, self.read_bytes) = (Duration::ZERO, 0);
        }
        Ok(Some(Turn {
            deadline: self.deadline(now),
            has_more: self.link.has_more(),
            has_unhandled: self.has_unhandled,
            must_yield,
            may_read: !self.has_unhandled && self.may_take(),
            expects_session: self.link.application.expects_session(),
            wants_text: self.link.application.wants_text(),
            is_draining: self.draining_since.is_some(),
        }))
    }

    fn on_traffic(&mut self, traffic: Traffic, now: Instant) -> Result<(), Outcome> {
        match traffic {
            Traffic::Silence => self.on_time(now)?,
            Traffic::Arrival => {
                self.read(now)?;
                self.on_messages(now);
            }
            Traffic::Output => {}
        }
        Ok(())
    }

    fn on_event(&mut self, event: A::Event, now: Instant) -> Result<(), Outcome> {
        if self.has_panicked {
            return Err(Outcome::Panicked);
        }
        let (application, mut host) = self.link.application();
        application.on_event(event, now, &mut host);
        self.act(now);
        if self.link.application.has_lost_its_place()
            && let Some(closed) = self.link.endpoint.closed().cloned()
        {
            // Its socket counts nowhere any more: it does not wait for the peer's Close. Ours leaves if there is
            // room for it.
            let _ = self.link.write_outgoing();
            return Err(Outcome::Unfinished(closed));
        }
        Ok(())
    }

    /// Stops everything that worked for the peer.
    fn end(&mut self, ended: Result<(), Outcome>) -> Ended {
        if let Err(Outcome::Panicked) = ended {
            self.link.endpoint.close(CloseCode::INTERNAL, "Internal error");
            let _ = self.link.write_outgoing();
        }
        if let Err(Outcome::Gone(_)) = ended {
            self.read_last_messages(Instant::now());
        }
        let outcome = match (ended, self.link.endpoint.closed()) {
            // The peer's Close still holds when its socket breaks behind it.
            (Err(Outcome::Gone(_)), Some(closed)) if closed.by_peer => Outcome::Closed(closed.clone()),
            (Err(outcome), _) => outcome,
            (Ok(()), Some(closed)) => Outcome::Closed(closed.clone()),
            (Ok(()), None) => Outcome::Gone(ErrorKind::UnexpectedEof.into()),
        };
        // The work stops now, not when the socket is closed.
        let departure = self.link.application.leave(&outcome, &self.link.shared);
        self.link.meter.enter(&self.link.shared.telemetry, None);
        self.link.meter.report(&self.link.shared.telemetry);
        Ended { departure, outcome }
    }

    /// The time that the socket has for the end of the connection, if it must not be closed at once.
    ///
    /// A reset overtakes what was sent before it, and closing a socket with unread bytes in it resets
    /// it. A peer that has sent its Close sends no more, unless it is at fault.
    fn lingers(&mut self, outcome: &Outcome) -> Option<Duration> {
        if self.link.application.has_lost_its_place() && !T::WRITES_THROUGH {
            return Some(BRIEF);
        }
        let must_linger = match outcome {
            Outcome::Closed(_) => {
                !(T::WRITES_THROUGH && self.link.endpoint.heard_close() && self.link.has_nothing_unread())
            }
            Outcome::Panicked => true,
            Outcome::Gone(_) | Outcome::Stalled | Outcome::Unfinished(_) => false,
        };
        must_linger.then_some(self.link.shared.config.close_timeout)
    }

    /// Reads once.
    fn read(&mut self, now: Instant) -> Result<(), Outcome> {
        match self.link.read().map_err(Outcome::Gone)? {
            None => Ok(()),
            Some(0) => Err(Outcome::Gone(ErrorKind::UnexpectedEof.into())),
            Some(count) => {
                self.last_heard = now;
                self.read_bytes += count;
                if self.closing_since.is_some() { self.ignore(count) } else { Ok(()) }
            }
        }
    }

    /// Reads what has arrived: the end of the stream shows that the client is gone. Its messages wait.
    fn look_for_client(&mut self, now: Instant) -> Result<(), Outcome> {
        for _ in 0..MAX_LAST_READS {
            // The runtime may not have heard of it yet.
            match self.link.force_read().map_err(Outcome::Gone)? {
                None => break,
                Some(0) => return Err(Outcome::Gone(ErrorKind::UnexpectedEof.into())),
                Some(_) => self.last_heard = now,
            }
        }
        let (application, mut host) = self.link.application();
        application.on_client(&mut host);
        Ok(())
    }

    /// Reads what arrived before the socket broke, which a write can find out first: a Close of the peer
    /// still ends its session.
    fn read_last_messages(&mut self, now: Instant) {
        for _ in 0..MAX_LAST_READS {
            if self.link.endpoint.closed().is_some()
                || !self.has_unhandled && !matches!(self.link.force_read(), Ok(Some(1..)))
            {
                return;
            }
            self.act(now);
        }
    }

    /// Acts on the messages that arrived, unless they take so long that the other connections have their turn before.
    fn on_messages(&mut self, now: Instant) {
        self.has_unhandled = self.link.endpoint.waiting_bytes() >= A::DEAR_BYTES;
        if !self.has_unhandled {
            self.act(now);
        }
    }

    /// Hands the messages that arrived to the application, and carries out what that decides. After
    /// [`TURN_TIME`] the rest waits for the next turn.
    fn act(&mut self, now: Instant) {
        let began = std::time::Instant::now();
        self.has_unhandled = false;
        if let Some(payload) = self.link.endpoint.take_pong() {
            self.link.application.on_pong(payload, now);
        }
        loop {
            // Before the next message: the application may have closed the connection.
            self.carry_out();
            if self.is_behind() {
                let (application, mut host) = self.link.application();
                application.catch_up(now, &mut host);
            } else if !self.may_take() {
                break;
            } else {
                let Some(message) = self.link.endpoint.next_message() else { break };
                // Once the connection is closing nothing can be answered, so nothing is begun.
                if *self.link.endpoint.state() == State::Open {
                    let (application, mut host) = self.link.application();
                    application.receive(message, now, &mut host);
                }
            }
            if began.elapsed() >= TURN_TIME {
                self.carry_out();
                self.has_unhandled = self.is_behind() || self.may_take();
                break;
            }
        }
        self.worked += began.elapsed();
    }

    /// True if the application has work to do before the next message. On a connection that is closing, nothing
    /// is begun.
    fn is_behind(&self) -> bool {
        *self.link.endpoint.state() == State::Open && self.link.application.is_behind()
    }

    /// True if the next message is taken. Once the connection is closing, none of them but the peer's Close counts.
    fn may_take(&self) -> bool {
        *self.link.endpoint.state() != State::Open || self.link.application.may_receive()
    }

    fn carry_out(&mut self) {
        let (application, mut host) = self.link.application();
        application.carry_out(&mut host);
    }

    fn drain(&mut self, now: Instant) {
        self.draining_since = Some(now);
        let (application, mut host) = self.link.application();
        application.drain(&mut host);
    }

    /// The next moment at which silence alone has a consequence. The stream's next step is not counted.
    fn deadline(&mut self, now: Instant) -> Instant {
        let config = &self.link.shared.config;
        if *self.link.endpoint.state() != State::Open {
            let until = *self.closing_since.get_or_insert(now) + config.close_timeout;
            self.link.application.stop_work();
            return until;
        }
        let silent = self.last_sign_of_life() + config.silence_timeout;
        let stalled = self.link.next_try().unwrap_or(silent);
        let more = match self.is_settling {
            true if self.link.application.is_exporting() => SETTLE_TIME + EXPORT_TIME,
            true => SETTLE_TIME,
            false => Duration::ZERO,
        };
        let drained = self.draining_since.map_or(silent, |since| since + config.drain_timeout + more);
        let application = self.link.application.next_time().unwrap_or(silent);
        self.next_ping.min(silent).min(stalled).min(drained).min(application)
    }

    /// The moment at which the peer last sent something, or was last seen to read.
    fn last_sign_of_life(&self) -> Instant {
        self.link.moved_at().map_or(self.last_heard, |moved_at| moved_at.max(self.last_heard))
    }

    fn on_time(&mut self, now: Instant) -> Result<(), Outcome> {
        let Config { heartbeat, silence_timeout, close_timeout, drain_timeout, .. } = self.link.shared.config;
        if let Some(since) = self.closing_since {
            if now < since + close_timeout {
                return Ok(());
            }
            // The socket may have room and not report it: then the last messages still arrive.
            let _ = self.link.force_write(now);
            return Err(match self.link.endpoint.closed() {
                Some(closed) => Outcome::Unfinished(closed.clone()),
                None => Outcome::Stalled,
            });
        }
        if self.link.has_stalled(now).map_err(Outcome::Gone)? {
            let (application, mut host) = self.link.application();
            application.on_stall(&mut host);
            return Ok(());
        }
        if self.draining_since.is_some_and(|since| now >= since + drain_timeout) {
            if !std::mem::replace(&mut self.is_settling, true) {
                self.link.application.settle();
            }
            self.close_if_settled(now);
            return Ok(());
        }
        if now >= self.last_sign_of_life() + silence_timeout {
            // A process that was stopped for a while finds the deadline passed and the Pongs unread.
            if self.link.endpoint.wants_input() {
                self.read(now)?;
            }
            if now >= self.last_sign_of_life() + silence_timeout {
                if now > self.next_ping + deadline::LATE {
                    // The Ping is overdue as well: the peer had nothing to answer.
                    self.last_heard = now;
                } else {
                    let (application, mut host) = self.link.application();
                    application.on_silence(&mut host);
                }
            }
        }
        self.link.application.on_time(now);
        if now >= self.next_ping {
            self.link.endpoint.ping(&[]);
            self.next_ping = now + heartbeat;
        }
        Ok(())
    }

    /// Closes the connection of a server that shuts down once another server can go on from here, or cannot be waited
    /// for any longer.
    fn close_if_settled(&mut self, now: Instant) {
        let drain_timeout = self.link.shared.config.drain_timeout;
        let application = &self.link.application;
        let more = if application.is_exporting() { EXPORT_TIME } else { Duration::ZERO };
        let is_late =
            self.draining_since.is_none_or(|since| now >= since + drain_timeout + SETTLE_TIME + more);
        if is_late || application.is_settled() {
            let reason = if self.link.shared.store.is_some() { MOVES } else { Close::Restart.reason() };
            self.link.endpoint.close(CloseCode::RESTART, reason);
        }
    }

    /// Counts what the peer still sends while the connection is closing.
    fn ignore(&mut self, count: usize) -> Result<(), Outcome> {
        self.ignored_bytes += count;
        match self.link.endpoint.closed() {
            Some(closed) if self.ignored_bytes > MAX_IGNORED_BYTES => {
                Err(Outcome::Unfinished(closed.clone()))
            }
            _ => Ok(()),
        }
    }
}

/// Serves a connection to its end. When it returns, everything that worked for the connection has
/// stopped, except for a suspended session. Dropping the connection closes the socket.
///
/// # Cancel safety
/// Dropping the future and the connection closes the socket and stops the work.
pub(super) async fn serve<T: Transport, A: Application>(connection: &Mutex<Connection<T, A>>) -> Ended {
    let ended = {
        let mut running = pin!(run(connection));
        // A panic in an engine or in here ends this one connection, with the code for it.
        poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(_) => Poll::Ready(Err(Outcome::Panicked)),
        })
        .await
    };
    let ended = lock(connection).end(ended);
    let time = lock(connection).lingers(&ended.outcome);
    if let Some(time) = time {
        linger(connection, time).await;
    }
    ended
}

fn lock<T, A>(connection: &Mutex<Connection<T, A>>) -> MutexGuard<'_, Connection<T, A>> {
    // After a panic the connection is only taken apart.
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Transport, A: Application> Paced for Mutex<Connection<T, A>> {
    fn step(&self, now: Instant) -> Option<Instant> {
        lock(self).step(now)
    }
}

/// The loop.
async fn run<T: Transport, A: Application>(connection: &Mutex<Connection<T, A>>) -> Result<(), Outcome> {
    let mut stop = lock(connection).stopping.clone();
    let mut stop = pin!(stop.wait_for(|stop| *stop));
    let mut now = Instant::now();
    let mut timer = pin!(sleep_until(now));
    // Held by a connection that has had more to do than a turn allows.
    let mut turn = None;
    // The moment at which the timer wakes the task; it need not be polled before.
    let mut armed_until = None;
    lock(connection).on_messages(now);
    loop {
        let taken = poll_fn(|cx| Poll::Ready(lock(connection).turn(now, cx))).await?;
        let Some(Turn {
            deadline,
            has_more,
            has_unhandled,
            must_yield,
            may_read,
            expects_session,
            wants_text,
            is_draining,
        }) = taken
        else {
            return Ok(());
        };
        if must_yield || has_unhandled {
            // Little work on what arrives: the thread serves its other connections in between.
            drop(turn.take());
            let client = lock(connection).link.application.client();
            turn = Some(turn::next(&client).await);
            if has_unhandled {
                // Before what is to be sent: a `cancel` does not wait for the audio that it cancels. No more
                // than one read is left of them.
                now = Instant::now();
                lock(connection).act(now);
                continue;
            }
        } else if has_more {
            // One batch a turn, and no turn of those that wait for each other.
            drop(turn.take());
            yield_now().await;
        }
        if armed_until.is_none_or(|until| until <= now || deadline < until) {
            timer.as_mut().reset(deadline);
            armed_until = None;
        }
        let traffic = poll_fn(|cx| {
            let now = Instant::now();
            if armed_until.is_none_or(|until| until <= now) {
                // Unconstrained: a timer that could not be polled for lack of budget would never fire.
                if pin!(coop::unconstrained(timer.as_mut())).poll(cx).is_ready() {
                    return Poll::Ready(Ok(Traffic::Silence));
                }
                armed_until = Some(timer.deadline());
            }
            let poll = lock(connection).link.poll(may_read, now, cx);
            if poll.is_pending() {
                // There is nothing to do: another connection may have the turn.
                drop(turn.take());
            }
            poll
        });
        tokio::select! {
            biased; // shutdown first, and what arrives before what is to be sent
            _ = stop.as_mut(), if !is_draining => {
                now = Instant::now();
                lock(connection).drain(now);
            }
            event = poll_fn(|cx| lock(connection).link.application.poll_session(cx)), if expects_session => {
                now = Instant::now();
                lock(connection).on_event(event, now)?;
            }
            traffic = traffic => {
                let traffic = traffic.map_err(Outcome::Gone)?;
                // Not the moment at which the poll began, which may be that of the turn before: with
                // that, nothing would ever be due after a turn that was held up.
                now = Instant::now();
                lock(connection).on_traffic(traffic, now)?;
            }
            event = poll_fn(|cx| lock(connection).link.application.poll_text(cx)), if wants_text => {
                now = Instant::now();
                lock(connection).on_event(event, now)?;
            }
            () = future::ready(()), if has_more => now = Instant::now(),
        }
    }
}

/// Ends our direction, and takes what the peer still sends until it ends its own (RFC 6455 §7.1.1).
async fn linger<T: Transport, A: Application>(connection: &Mutex<Connection<T, A>>, time: Duration) {
    let until = Instant::now() + time;
    let drained = async {
        poll_fn(|cx| lock(connection).link.poll_shutdown(cx)).await?;
        let mut ignored = 0;
        while ignored <= MAX_IGNORED_BYTES {
            match poll_fn(|cx| lock(connection).link.poll_drain(cx)).await? {
                0 => break,
                count => ignored += count,
            }
            // A peer that floods must not hold up the other connections.
            yield_now().await;
        }
        Ok(())
    };
    let _: Result<io::Result<()>, _> = timeout_at(until, drained).await;
}

#[cfg(test)]
mod tests;
