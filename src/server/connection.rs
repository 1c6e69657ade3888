//! The loop: one task, one `select!` and one owner for everything that one connection is.
//!
//! The only place that knows both a socket and a session. No arm of the `select!` awaits, so none
//! can hang the others; each wake-up ends in at most one write.

use super::admission::{Permit, Slot};
use super::pace::Pace;
use super::record::{Record, shortened};
use super::registry::{Claim, Kept, Registration, untaken_bytes};
use super::service::Shared;
use super::telemetry::{Meter, Telemetry};
use super::transport::{Readiness, Transport};
use crate::config::Config;
use crate::deadline;
use crate::gauge::Counted;
use crate::proto::conversation::Turn;
use crate::proto::frames::Batch;
use crate::proto::message::{Code, Recover, ServerMessage};
use crate::proto::session::{Action, Sentence, Session};
use crate::proto::websocket::{CloseCode, Closed, Endpoint, Incoming, State};
use crate::script::{self, Prompt, Script, ScriptError};
use crate::tts::{Piece, Speech, SynthesisErrorKind, Utterance, Warning};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{self, Future, poll_fn};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{oneshot, watch};
use tokio::task::{coop, yield_now};
use tokio::time::{Instant, sleep_until, timeout_at};

/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;

/// Bytes that a peer may go on to send behind a Close of ours: what was under way, and no flood.
const MAX_IGNORED_BYTES: usize = 4 * 1024 * 1024;

/// How often a stalled write is tried again within the time that it may take: progress of which the
/// socket says nothing would else count from when it is found, as late as at the end of that time.
const STALL_TRIES: u32 = 5;

thread_local! {
    /// Shared by all connections of a thread, so that an idle one owns no buffer.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
    static BATCH: RefCell<Batch> = RefCell::new(Batch::default());
}

/// What is spoken with over the connection.
pub(crate) enum Talk {
    /// A session.
    Session(Session),
    /// Every message comes back as it is.
    Echo,
    /// Nothing any more: the session has gone.
    Over,
}

/// How a connection ended, for the log.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// By a Close frame, ours or the peer's.
    Closed(Closed),
    /// The peer ended the stream, or broke it, without one.
    Gone(io::Error),
    /// The peer took nothing for as long as `stall_timeout`.
    Stalled,
    /// The peer did not finish the closing handshake in time.
    Unfinished(Closed),
    /// A fault of ours.
    Panicked,
}

/// What is left to tell of a connection.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The session; none for an echo, and where it went on elsewhere.
    pub(crate) record: Option<Record>,
    /// The session waits for its client to come back.
    pub(crate) is_kept: bool,
    pub(crate) outcome: Outcome,
}

/// What a connection has to do with sessions that outlive theirs.
#[derive(Default)]
struct Resume {
    /// Its own session can be come back to.
    registration: Option<Registration>,
    /// It waits for another connection to hand over the session asked for.
    awaited: Option<(oneshot::Receiver<Box<Kept>>, Box<Recover>)>,
}

/// What can come of it.
enum Resumed {
    /// Another connection wants the session.
    Wanted(oneshot::Sender<Box<Kept>>),
    /// The session asked for has come, or does not.
    Came(Option<Box<Kept>>, Box<Recover>),
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

/// What the clock has come to.
enum Time {
    /// The next step of the stream.
    Step(Instant),
    /// The deadline of the connection.
    Deadline(Instant),
}

/// The next piece of what is being written; `None` at its end.
type Written = Option<Result<script::Piece, ScriptError>>;

/// One connection after the opening handshake.
///
/// Kept in this order: what every wake-up of a stream reads comes first, in few cache lines.
#[repr(C)]
pub(crate) struct Connection<T> {
    transport: T,
    talk: Talk,
    /// When the stream's next step is due.
    pace: Pace,
    /// The sentences in synthesis; dropping one stops its engine.
    speeches: VecDeque<Speech>,
    /// What is being written to be spoken; dropping it stops its writer. Boxed: few connections
    /// have one.
    script: Option<Box<Script>>,
    /// Boxed: few connections have one.
    resume: Option<Box<Resume>>,
    shared: Arc<Shared>,
    last_heard: Instant,
    next_ping: Instant,
    /// A write that has left something over.
    stall: Option<Stall>,
    /// When the closing handshake began.
    closing_since: Option<Instant>,
    /// What has come since.
    ignored_bytes: usize,
    /// When the server was told to stop.
    draining_since: Option<Instant>,
    /// The last write left something over: nothing more is tried before the socket has room.
    is_blocked: bool,
    /// The last batch was full, or its end decided something: there may be more that can leave at
    /// once.
    has_more: bool,
    /// What it sends, and does, for the operator.
    meter: Meter,
    endpoint: Endpoint,
    /// What the client may have of the server.
    permit: Permit,
    /// That its session is one of those that its client may have.
    slot: Option<Slot>,
    _counted: Counted,
    /// A stop waits for as long as this lives: last, when nothing is left of the connection.
    stopping: watch::Receiver<bool>,
}

impl<T: Transport> Connection<T> {
    /// `early` is what arrived right behind the handshake.
    pub(crate) fn new(
        transport: T,
        mut endpoint: Endpoint,
        talk: Talk,
        permit: Permit,
        shared: Arc<Shared>,
        early: &[u8],
    ) -> Connection<T> {
        endpoint.receive(early);
        let now = Instant::now();
        Connection {
            transport,
            endpoint,
            talk,
            pace: Pace::new(),
            speeches: VecDeque::new(),
            script: None,
            resume: None,
            is_blocked: false,
            has_more: false,
            meter: Meter::default(),
            last_heard: now,
            next_ping: now + shared.config.heartbeat,
            stall: None,
            closing_since: None,
            ignored_bytes: 0,
            draining_since: None,
            permit,
            slot: None,
            _counted: shared.sessions.enter(),
            stopping: shared.stop.subscribe(),
            shared,
        }
    }

    /// Serves the connection to its end. Everything that worked for it has stopped when it returns,
    /// but for a session that is kept for its client to come back.
    ///
    /// Borrows the connection because a future holds what it is given twice: once as it came, and
    /// once where it is used.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the connection as it is; dropping that closes the socket and stops
    /// its speech.
    pub(crate) async fn run(&mut self) -> Ended {
        let ended = {
            let mut talking = pin!(self.talk());
            // A panic in an engine or in here ends this one connection, with the code for it.
            poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| talking.as_mut().poll(cx))) {
                Ok(poll) => poll,
                Err(_) => Poll::Ready(Err(Outcome::Panicked)),
            })
            .await
        };
        if let Err(Outcome::Panicked) = ended {
            self.endpoint.close(CloseCode::INTERNAL, "Internal error");
            let _ = self.write_outgoing();
        }
        let outcome = match (ended, self.endpoint.closed()) {
            (Err(outcome), _) => outcome,
            (Ok(()), Some(closed)) => Outcome::Closed(closed.clone()),
            (Ok(()), None) => Outcome::Gone(ErrorKind::UnexpectedEof.into()),
        };
        // Whatever worked for the peer stops now, not when the socket is done with.
        let (record, is_kept) = self.leave(&outcome);
        self.meter.turn(&self.shared.telemetry, None);
        self.meter.tell(&self.shared.telemetry);
        // A reset overtakes what was sent before it, and closing a socket with unread bytes in it
        // resets it. A peer that has said Close sends no more, unless it is at fault.
        let may_close = match &outcome {
            Outcome::Closed(_) => {
                T::DELIVERS_WHEN_DROPPED && self.endpoint.heard_close() && self.has_nothing_unread()
            }
            Outcome::Panicked => false,
            _ => true,
        };
        if !may_close {
            self.linger().await;
        }
        Ended { record, is_kept, outcome }
    }

    /// Parts with the session: keeps it for its client to come back, or ends it.
    fn leave(&mut self, outcome: &Outcome) -> (Option<Record>, bool) {
        let Talk::Session(session) = std::mem::replace(&mut self.talk, Talk::Over) else {
            return (None, false);
        };
        // A client that says goodbye does not come back, and after a fault of ours nobody knows
        // what the session is worth.
        let is_lost = match outcome {
            Outcome::Closed(closed) => !(closed.by_peer && closed.code == Some(CloseCode::NORMAL)),
            Outcome::Gone(_) | Outcome::Stalled | Outcome::Unfinished(_) => true,
            Outcome::Panicked => false,
        };
        let is_kept = is_lost && session.is_resumable();
        let mut kept = self.part_with(session);
        let record = kept.record();
        if is_kept {
            kept.session.freeze(Instant::now().into_std());
            self.shared.registry.freeze(kept);
        } else {
            self.shared.registry.end(&record);
        }
        self.resume = None;
        (Some(record), is_kept)
    }

    /// A session with all that works for it.
    fn part_with(&mut self, session: Session) -> Box<Kept> {
        let (speeches, script) = (std::mem::take(&mut self.speeches), self.script.take());
        let client = self.permit.client().clone();
        Box::new(Kept { session, speeches, script, client, slot: self.slot.take() })
    }

    async fn talk(&mut self) -> Result<(), Outcome> {
        let mut stop = self.stopping.clone();
        let mut stop = pin!(stop.wait_for(|stop| *stop));
        let mut awaits_stop = false;
        let mut now = Instant::now();
        let mut timer = pin!(sleep_until(self.deadline(now)));
        // When the timer wakes the task. It need not be asked before, and is not fetched.
        let mut armed_until = None;
        // Nothing has happened but the next step of the stream.
        let mut is_step = false;
        self.act(now);
        loop {
            if self.wants_speech(now) {
                // Everything that is there by now leaves in the same write.
                let Connection { talk, speeches, shared, .. } = &mut *self;
                let telemetry = &shared.telemetry;
                poll_fn(|cx| Poll::Ready(_ = poll_speech(speeches, talk, telemetry, now, cx))).await;
                is_step &= !self.carry_out();
            }
            match &self.stall {
                Some(stall) if stall.is_trying => self.write(now, T::force_write),
                _ => self.write(now, T::try_write),
            }
            .map_err(Outcome::Gone)?;
            // The end of the connection may have waited for what was sent just now.
            is_step &= !self.carry_out();
            self.has_more |= !self.is_blocked && !self.endpoint.outgoing().is_empty();
            if *self.endpoint.state() == State::Finished && self.endpoint.outgoing().is_empty() {
                return Ok(());
            }
            if self.has_more {
                // One batch a turn: the other connections of this thread are served in between.
                yield_now().await;
            }
            if !is_step || self.is_blocked {
                let deadline = self.deadline(now);
                if armed_until.is_none_or(|until| until <= now || deadline < until) {
                    timer.as_mut().reset(deadline);
                    armed_until = None;
                }
            }
            let step = self.next_step(now);
            // While another connection's session is awaited its client's words are for that one.
            let awaits = self.awaits_session();
            let wanted =
                Readiness { readable: self.endpoint.wants_input() && !awaits, writable: self.is_blocked };
            let wants_speech = !self.is_blocked && self.wants_speech(now);
            let wants_text = self.wants_text();
            let is_draining = self.draining_since.is_some();
            let has_more = self.has_more;
            let may_resume = self.resume.is_some();
            let Connection { transport, talk, pace, speeches, script, resume, stopping, shared, .. } =
                &mut *self;
            let telemetry = &shared.telemetry;
            let stopped = poll_fn(|cx| {
                // Once it waits it need not be asked again before there is something to learn: that
                // would be memory to fetch for nothing, each time anything else happens.
                if std::mem::replace(&mut awaits_stop, true) && !stopping.has_changed().unwrap_or(true) {
                    return Poll::Pending;
                }
                stop.as_mut().poll(cx).map(|_| ())
            });
            // One look at the clock for each wake-up: this turn's, then that of the next.
            let mut known = Some(now);
            let time = poll_fn(|cx| {
                let now = known.take().unwrap_or_else(Instant::now);
                if armed_until.is_none_or(|until| until <= now) {
                    // Whatever else the task did in this turn: an unarmed timer is never heard of.
                    if pin!(coop::unconstrained(timer.as_mut())).poll(cx).is_ready() {
                        // Not this turn's: others may have had theirs since, for longer than was left
                        // of the time, and a deadline that is told of too early is told of for ever.
                        return Poll::Ready(Time::Deadline(Instant::now()));
                    }
                    armed_until = Some(timer.deadline());
                }
                match step {
                    Some(step) => pace.poll_until(step, now, cx).map(|()| Time::Step(now)),
                    None => Poll::Pending,
                }
            });
            is_step = false;
            tokio::select! {
                biased; // time first, then leaving, and what arrives before what is to be sent
                time = time => match time {
                    Time::Step(at) => {
                        now = at;
                        is_step = true;
                    }
                    Time::Deadline(at) => {
                        now = at;
                        self.on_time(now)?;
                        self.carry_out();
                    }
                },
                () = stopped, if !is_draining => {
                    now = Instant::now();
                    self.drain(now);
                    self.carry_out();
                }
                resumed = poll_fn(|cx| poll_resume(resume, cx)), if may_resume => {
                    now = Instant::now();
                    self.on_resumed(resumed);
                    self.act(now);
                }
                ready = poll_fn(|cx| transport.poll_ready(wanted, cx)) => {
                    let ready = ready.map_err(Outcome::Gone)?;
                    now = Instant::now();
                    if ready.writable {
                        self.is_blocked = false;
                        // Nothing may be left to write by now, as after a pause.
                        self.stall = None;
                    }
                    if ready.readable {
                        let count = self.read(now).map_err(Outcome::Gone)?;
                        if count == 0 {
                            return Err(Outcome::Gone(ErrorKind::UnexpectedEof.into()));
                        }
                        if self.closing_since.is_some() {
                            self.ignore(count)?;
                        }
                        self.act(now);
                    }
                }
                written = poll_fn(|cx| poll_script(script, cx)), if wants_text => {
                    now = Instant::now();
                    self.on_written(written, now);
                    self.carry_out();
                }
                () = poll_fn(|cx| poll_speech(speeches, talk, telemetry, now, cx)), if wants_speech => {
                    now = Instant::now();
                    self.carry_out();
                }
                () = future::ready(()), if has_more => now = Instant::now(),
            }
        }
    }

    /// Carries every message that arrived to the session, and everything the session decided out.
    fn act(&mut self, now: Instant) {
        loop {
            // Before the next message: the one behind the last may be the end of the connection.
            self.carry_out();
            if self.awaits_session() {
                break;
            }
            let Some(message) = self.endpoint.next_message() else { break };
            if *self.endpoint.state() != State::Open {
                // Nothing can be answered any more, so nothing is begun.
                continue;
            }
            match (&mut self.talk, message) {
                (Talk::Session(session), Incoming::Text(text)) => {
                    let is_limited = self.permit.limits_sessions();
                    if is_limited {
                        session.hold(self.permit.begin(&mut self.slot, now.into_std()).err());
                    }
                    let streams = session.streams();
                    session.on_text(now.into_std(), &text);
                    if session.streams() > streams
                        && let Some(source) = session.stream_source()
                    {
                        self.shared.telemetry.stream_began(source.name());
                    }
                    if is_limited && session.streams() == 0 {
                        self.slot = None;
                    }
                }
                // The session protocol has no binary messages from a client.
                (Talk::Session(_), Incoming::Binary(_)) | (Talk::Over, _) => {}
                (Talk::Echo, Incoming::Text(text)) => self.endpoint.send_text(&text),
                (Talk::Echo, Incoming::Binary(bytes)) => self.endpoint.send_binary(bytes),
            }
        }
        self.tell_phase();
    }

    /// Tells the operator what the session does now.
    fn tell_phase(&mut self) {
        let phase = match &self.talk {
            Talk::Session(session) => Some(session.phase()),
            Talk::Echo | Talk::Over => None,
        };
        self.meter.turn(&self.shared.telemetry, phase);
    }

    /// Stops the speech that nobody will ask for any more.
    fn hush(&mut self) {
        let is_kept = || matches!(&self.talk, Talk::Session(session) if session.is_resumable());
        if (!self.speeches.is_empty() || self.script.is_some()) && !is_kept() {
            self.speeches = VecDeque::new();
            self.script = None;
        }
    }

    /// Does what the session decided; whether it decided anything.
    fn carry_out(&mut self) -> bool {
        let mut has_acted = false;
        while let Talk::Session(session) = &mut self.talk
            && let Some(action) = session.next_action()
        {
            self.carry_out_one(action);
            has_acted = true;
        }
        if has_acted {
            self.tell_phase();
        }
        has_acted
    }

    fn carry_out_one(&mut self, action: Action) {
        match action {
            Action::Send(message) => {
                match &message {
                    ServerMessage::Recovered { .. } => self.shared.telemetry.resumed("recovered"),
                    ServerMessage::NotRecovered { code } if *code == Code::PositionLost.name() => {
                        self.shared.telemetry.resumed(code);
                    }
                    _ => {}
                }
                self.meter.said();
                self.endpoint.send_text(&message.to_json());
            }
            Action::Speak(sentence) => {
                let Talk::Session(session) = &self.talk else { return };
                if self.shared.config.log_text {
                    let (id, index, text) = (session.id(), sentence.index, &*shortened(&sentence.text));
                    tracing::info!(target: "aloud::session", id, index, text, "sentence");
                }
                let Sentence {
                    text,
                    index,
                    speed,
                    voice,
                    language,
                    previous_text,
                    format,
                    frame_bytes,
                    words,
                } = *sentence;
                let utterance = Utterance {
                    text,
                    speed,
                    voice,
                    language,
                    index,
                    previous_text,
                    session: session.shared_id(),
                    format,
                    frame_bytes,
                    words,
                    running: self.shared.syntheses.clone(),
                    slot: None,
                };
                if self.permit.limits_sessions()
                    && !self.permit.spend(utterance.text.chars().count() as u64, Instant::now().into_std())
                    && let Talk::Session(session) = &mut self.talk
                {
                    session.on_exhausted();
                }
                self.speeches.push_back(self.shared.synthesizer.speak(utterance));
            }
            Action::Write { turns, language } => self.write_script(turns, language),
            Action::StopWriting => self.script = None,
            Action::Cancel => {
                let speeches = std::mem::take(&mut self.speeches);
                let untaken = untaken_bytes(&speeches);
                drop(speeches);
                if let Talk::Session(session) = &mut self.talk {
                    session.on_cancelled(untaken);
                }
            }
            Action::Keep => self.keep(),
            Action::Recover(recover) => self.recover(recover),
            Action::Authenticate(token) => {
                if let Talk::Session(session) = &mut self.talk {
                    match self.shared.authenticate(&mut self.permit, &token, Instant::now().into_std()) {
                        Ok(settings) => session.on_authenticated(settings),
                        Err(code) => session.on_refused(code),
                    }
                }
            }
            Action::Close(code, reason) => self.endpoint.close(code, reason),
        }
    }

    fn write_script(&mut self, turns: Vec<Turn>, language: String) {
        let (Talk::Session(session), Some(writer)) = (&self.talk, &self.shared.writer) else { return };
        let running = self.shared.scripts.clone();
        let prompt = Prompt { turns, language, session: session.shared_id(), running };
        self.script = Some(Box::new(writer.write(prompt)));
    }

    /// Whether another connection was asked for its session and has not answered yet.
    fn awaits_session(&self) -> bool {
        self.resume.as_ref().is_some_and(|resume| resume.awaited.is_some())
    }

    /// Makes the session known to other connections.
    fn keep(&mut self) {
        let Talk::Session(session) = &self.talk else { return };
        let resume = self.resume.get_or_insert_default();
        if resume.registration.is_none() {
            resume.registration = self.shared.registry.register(session);
        }
    }

    /// Looks for the session that a client wants to go on with.
    fn recover(&mut self, recover: Box<Recover>) {
        match self.shared.registry.claim(&recover.session_id, &recover.token) {
            Claim::Frozen(kept) => self.go_on_with(kept, &recover),
            Claim::Live(kept) => {
                self.resume.get_or_insert_default().awaited = Some((kept, recover));
            }
            claim => {
                let is_expired = matches!(claim, Claim::Expired);
                self.shared.telemetry.resumed(if is_expired { "expired" } else { "not_found" });
                if let Talk::Session(session) = &mut self.talk {
                    session.on_not_recovered(is_expired);
                }
            }
        }
    }

    /// Puts another session in the place of this connection's own.
    fn go_on_with(&mut self, kept: Box<Kept>, recover: &Recover) {
        if !kept.session.can_go_back_to(recover.offset) {
            // A client that is mistaken loses its connection, but not the session.
            self.shared.registry.freeze(kept);
            if let Talk::Session(session) = &mut self.talk {
                session.on_position_lost();
            }
            return;
        }
        let Kept { session, speeches, script, slot, client: _ } = *kept;
        self.slot = slot;
        self.talk = Talk::Session(session);
        self.speeches = speeches;
        self.script = script;
        self.keep();
        if let Talk::Session(session) = &mut self.talk {
            session.on_recovered(Instant::now().into_std(), recover.offset);
        }
        self.carry_out();
    }

    fn on_resumed(&mut self, resumed: Resumed) {
        match resumed {
            Resumed::Came(Some(kept), recover) => self.go_on_with(kept, &recover),
            // The other connection was lost in the meantime: its session is frozen by now, or gone.
            Resumed::Came(None, recover) => self.recover(recover),
            Resumed::Wanted(answer) => {
                let Talk::Session(session) = std::mem::replace(&mut self.talk, Talk::Over) else { return };
                let mut kept = self.part_with(session);
                kept.session.freeze(Instant::now().into_std());
                if let Err(kept) = answer.send(kept) {
                    // Whoever asked is gone: wait for the next.
                    self.shared.registry.freeze(kept);
                }
                self.resume = None;
                Session::taken().into_iter().for_each(|action| self.carry_out_one(action));
            }
        }
    }

    fn wants_speech(&self, now: Instant) -> bool {
        match &self.talk {
            Talk::Session(session) if !self.speeches.is_empty() => session.wants_speech(now.into_std()),
            _ => false,
        }
    }

    fn on_written(&mut self, written: Written, now: Instant) {
        let Talk::Session(session) = &mut self.talk else { return };
        match written {
            Some(Ok(script::Piece::Text(text))) => session.on_fragment(now.into_std(), &text),
            Some(Ok(script::Piece::Warning { code, message })) => session.on_warning(code, message),
            Some(Err(error)) => {
                self.script = None;
                let code = if error.is_timeout { Code::LlmTimeout } else { Code::LlmFailed };
                self.shared.telemetry.writer_failed(code.name());
                session.on_script_failure(code, &error.message);
            }
            None => {
                self.script = None;
                session.on_script_end();
            }
        }
    }

    fn wants_text(&self) -> bool {
        self.script.is_some() && matches!(&self.talk, Talk::Session(session) if session.wants_text())
    }

    /// Reads once; the count, 0 at the end of the stream. Nothing to read counts as one.
    fn read(&mut self, now: Instant) -> io::Result<usize> {
        let Connection { transport, endpoint, last_heard, .. } = self;
        READ.with_borrow_mut(|buffer| match transport.try_read(buffer) {
            Ok(count) => {
                *last_heard = now;
                endpoint.receive(&buffer[..count]);
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(1),
            Err(error) => Err(error),
        })
    }

    /// One write of everything that may leave now: control frames, then the stream.
    fn write(
        &mut self,
        now: Instant,
        through: impl FnOnce(&mut T, &[io::IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.has_more = false;
        let at = now.into_std();
        let may_stream = *self.endpoint.state() == State::Open;
        let streams = may_stream && matches!(&self.talk, Talk::Session(session) if session.has_output(at));
        if self.is_blocked || self.endpoint.outgoing().is_empty() && !streams {
            return Ok(());
        }
        BATCH.with_borrow_mut(|batch| {
            // A panic may have left another connection's bytes in it.
            batch.clear();
            let Connection { transport, endpoint, talk, meter, shared, .. } = &mut *self;
            batch.push_raw(endpoint.outgoing());
            if let Talk::Session(session) = talk
                && streams
            {
                session.fill(at, batch);
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
                    && let Some(heard) = session.sent(at, what)
                {
                    shared.telemetry.heard(heard);
                }
            });
            meter.wrote(&shared.telemetry, written, frames);
            let has_decided = matches!(talk, Talk::Session(session) if session.has_actions());
            let next_try = now + shared.config.stall_timeout / STALL_TRIES;
            let begun = Stall { since: now, next_try, is_trying: false, has_moved: false };
            self.is_blocked = written < batch.len();
            self.has_more = has_decided || !self.is_blocked && batch.is_full();
            match &mut self.stall {
                Some(stall) if self.is_blocked && written == 0 && !stall.has_moved => stall.is_trying = false,
                Some(stall) if !self.is_blocked && stall.is_trying => stall.has_moved |= written > 0,
                stall => *stall = self.is_blocked.then_some(begun),
            }
            batch.clear();
            Ok(())
        })
    }

    /// Offers what waits to the socket once, come what may.
    fn write_outgoing(&mut self) -> io::Result<usize> {
        self.transport.try_write(&[io::IoSlice::new(self.endpoint.outgoing())])
    }

    fn drain(&mut self, now: Instant) {
        self.draining_since = Some(now);
        match &mut self.talk {
            Talk::Session(session) => session.drain(self.shared.config.drain_timeout),
            Talk::Over => {}
            Talk::Echo => self.endpoint.close(CloseCode::AWAY, "The server is going away"),
        }
    }

    /// When more of the stream may be sent, if that is a matter of time.
    fn next_step(&self, now: Instant) -> Option<Instant> {
        match &self.talk {
            Talk::Session(session) if !self.is_blocked && *self.endpoint.state() == State::Open => {
                session.opens_at(now.into_std()).map(Instant::from_std)
            }
            _ => None,
        }
    }

    /// The next moment at which silence alone has a consequence, the stream's next step aside.
    fn deadline(&mut self, now: Instant) -> Instant {
        let config = &self.shared.config;
        if *self.endpoint.state() != State::Open {
            let until = *self.closing_since.get_or_insert(now) + config.close_timeout;
            // Nothing more can be sent here.
            self.hush();
            return until;
        }
        let silent = self.last_heard + config.silence_timeout;
        let stalled = self.stall.as_ref().map_or(silent, |stall| stall.next_try);
        let drained = self.draining_since.map_or(silent, |since| since + config.drain_timeout);
        let session = match &self.talk {
            Talk::Session(session) => session.next_time().map_or(silent, Instant::from_std),
            Talk::Echo | Talk::Over => silent,
        };
        self.next_ping.min(silent).min(stalled).min(drained).min(session)
    }

    fn on_time(&mut self, now: Instant) -> Result<(), Outcome> {
        let Config { heartbeat, silence_timeout, stall_timeout, close_timeout, drain_timeout, .. } =
            self.shared.config;
        if let Some(since) = self.closing_since {
            if now < since + close_timeout {
                return Ok(());
            }
            // The socket may have room without having said so: then the last words still arrive.
            self.is_blocked = false;
            let _ = self.write(now, T::force_write);
            return Err(match self.endpoint.closed() {
                Some(closed) => Outcome::Unfinished(closed.clone()),
                None => Outcome::Stalled,
            });
        }
        if let Some(stall) = &mut self.stall
            && now >= stall.next_try
        {
            if stall.is_trying {
                // There is room, and nothing that waits for it.
                self.stall = None;
            } else {
                stall.next_try += stall_timeout / STALL_TRIES;
                stall.is_trying = true;
                self.is_blocked = false;
                self.write(now, T::force_write).map_err(Outcome::Gone)?;
            }
            let is_over = |stall: &Stall| !stall.is_trying && now >= stall.since + stall_timeout;
            if self.stall.as_ref().is_some_and(is_over) {
                self.on_stall();
                return Ok(());
            }
        }
        if self.draining_since.is_some_and(|since| now >= since + drain_timeout) {
            self.endpoint.close(CloseCode::RESTART, "The server restarts");
            return Ok(());
        }
        if now >= self.last_heard + silence_timeout {
            // A process that was stopped for a while finds the time over and the Pongs unread.
            if self.endpoint.wants_input() && self.read(now).map_err(Outcome::Gone)? == 0 {
                return Err(Outcome::Gone(ErrorKind::UnexpectedEof.into()));
            }
            if now >= self.last_heard + silence_timeout {
                // Nor was the peer asked for any, if the Ping before it is overdue.
                match now > self.next_ping + deadline::LATE {
                    true => self.last_heard = now,
                    false => self.on_silence(),
                }
            }
        }
        if let Talk::Session(session) = &mut self.talk {
            session.on_time(now.into_std());
        }
        if now >= self.next_ping {
            self.endpoint.ping();
            self.next_ping = now + heartbeat;
        }
        Ok(())
    }

    /// Counts what the peer goes on to send though the connection is closing.
    fn ignore(&mut self, count: usize) -> Result<(), Outcome> {
        self.ignored_bytes += count;
        match self.endpoint.closed() {
            Some(closed) if self.ignored_bytes > MAX_IGNORED_BYTES => {
                Err(Outcome::Unfinished(closed.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Says why it ends behind what the peer has not taken, which it may still do.
    fn on_stall(&mut self) {
        match &mut self.talk {
            Talk::Session(session) => {
                session.on_stall();
                self.carry_out();
            }
            Talk::Echo | Talk::Over => {
                self.endpoint.close(CloseCode::POLICY, "Nothing was read for too long");
            }
        }
    }

    fn has_nothing_unread(&mut self) -> bool {
        let read = READ.with_borrow_mut(|buffer| self.transport.try_read(buffer));
        read.map_or_else(|error| error.kind() == ErrorKind::WouldBlock, |count| count == 0)
    }

    fn on_silence(&mut self) {
        match &mut self.talk {
            Talk::Session(session) => {
                session.on_silence();
                self.carry_out();
            }
            Talk::Echo | Talk::Over => self.endpoint.close(CloseCode::POLICY, "No sign of life"),
        }
    }

    /// Ends our direction, and takes what the peer still sends until it ends its own
    /// (RFC 6455 §7.1.1).
    async fn linger(&mut self) {
        let until = Instant::now() + self.shared.config.close_timeout;
        let drained = async {
            poll_fn(|cx| self.transport.poll_shutdown(cx)).await?;
            let wanted = Readiness { readable: true, writable: false };
            loop {
                poll_fn(|cx| self.transport.poll_ready(wanted, cx)).await?;
                let count = READ.with_borrow_mut(|buffer| self.transport.try_read(buffer));
                match count {
                    Ok(0) => return Ok(()),
                    Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                    // A peer that floods on must not keep the others waiting.
                    _ => yield_now().await,
                }
            }
        };
        let _: Result<io::Result<()>, _> = timeout_at(until, drained).await;
    }
}

/// Takes all the speech that is there and wanted; ready once it took any.
fn poll_speech(
    speeches: &mut VecDeque<Speech>,
    talk: &mut Talk,
    telemetry: &Telemetry,
    now: Instant,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let Talk::Session(session) = talk else { return Poll::Pending };
    let now = now.into_std();
    let mut took = false;
    while session.wants_speech(now)
        && let Some(speech) = speeches.front_mut()
    {
        match speech.poll_next(cx) {
            Poll::Pending => break,
            Poll::Ready(Some(Ok(Piece::Audio(chunk)))) => session.on_audio(chunk),
            Poll::Ready(Some(Ok(Piece::Words(words)))) => session.on_words(&words),
            Poll::Ready(Some(Ok(Piece::Warning(Warning { code, message })))) => {
                session.on_warning(code, message);
            }
            Poll::Ready(Some(Err(error))) => {
                let code = match error.kind {
                    SynthesisErrorKind::Failed => Code::EngineFailed,
                    SynthesisErrorKind::NoAudio => Code::EngineNoAudio,
                    SynthesisErrorKind::Timeout => Code::EngineTimeout,
                    SynthesisErrorKind::Overloaded => Code::Overloaded,
                };
                telemetry.engine_failed(code.name(), &error);
                session.on_failure(code, &error.message);
            }
            Poll::Ready(None) => {
                speeches.pop_front();
                if session.is_sound() {
                    telemetry.engine_spoke();
                }
                session.on_spoken();
            }
        }
        took = true;
    }
    if took { Poll::Ready(()) } else { Poll::Pending }
}

/// The next piece of what is being written.
fn poll_script(script: &mut Option<Box<Script>>, cx: &mut Context<'_>) -> Poll<Written> {
    script.as_mut().map_or(Poll::Pending, |script| script.poll_next(cx))
}

/// Takes what comes of sessions that outlive their connections.
fn poll_resume(resume: &mut Option<Box<Resume>>, cx: &mut Context<'_>) -> Poll<Resumed> {
    let Some(resume) = resume else { return Poll::Pending };
    if let Some((kept, _)) = &mut resume.awaited
        && let Poll::Ready(kept) = Pin::new(kept).poll(cx)
        && let Some((_, recover)) = resume.awaited.take()
    {
        return Poll::Ready(Resumed::Came(kept.ok(), recover));
    }
    if let Some(registration) = &mut resume.registration
        && let Poll::Ready(Some(answer)) = registration.requests().poll_recv(cx)
    {
        return Poll::Ready(Resumed::Wanted(answer));
    }
    Poll::Pending
}
