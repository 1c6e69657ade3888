//! The loop: one task, and one `select!`, for everything that one connection is.
//!
//! No arm of the `select!` awaits, so none can hang the others. What decides is here; how what was
//! decided comes onto the wire, and when, is [`Link`]'s.
//!
//! A connection lies behind a lock, because a paced stream does not wake the loop for each of its
//! steps: the wheel of its thread takes them ([`Paced`]). The lock is held for a turn or a step, never
//! for a wait, and as a rule by one thread, so that nobody waits for it.

use super::link::{Link, Talk, Traffic};
use super::pace::Paced;
use super::report::{Record, shortened};
use super::service::Shared;
use super::suspended::{Claim, Kept, Registration, untaken_bytes};
use super::transport::Transport;
use crate::access::{Permit, Slot};
use crate::deadline;
use crate::gauge::Counted;
use crate::script::{self, Prompt, Script, ScriptError};
use crate::session::conversation;
use crate::session::message::{Close, Code, Recover, ServerMessage};
use crate::session::{Answer, Engine, Input, Output, Sentence, Session, Written as Report};
use crate::settings::Config;
use crate::tts::Utterance;
use crate::ws::endpoint::{CloseCode, Closed, Endpoint, Incoming, State};
use std::collections::VecDeque;
use std::future::{self, Future, poll_fn};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use tokio::sync::{oneshot, watch};
use tokio::task::{coop, yield_now};
use tokio::time::{Instant, sleep_until, timeout_at};

/// Bytes that a peer may go on to send behind a Close of ours: what was under way, and no flood.
const MAX_IGNORED_BYTES: usize = 4 * 1024 * 1024;

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

/// The next piece of what is being written; `None` at its end.
type Written = Option<Result<script::Piece, ScriptError>>;

/// What a connection waits for between two turns of its loop.
struct Turn {
    /// When silence alone has a consequence.
    deadline: Instant,
    /// There is more to send at once.
    has_more: bool,
    may_read: bool,
    may_resume: bool,
    wants_text: bool,
    is_draining: bool,
}

/// One connection after the opening handshake.
pub(crate) struct Connection<T> {
    link: Link<T>,
    /// A step of the stream has: the connection ends.
    has_panicked: bool,
    /// What is being written to be spoken; dropping it stops its writer. Boxed: few connections
    /// have one.
    script: Option<Box<Script>>,
    /// Boxed: few connections have one.
    resume: Option<Box<Resume>>,
    last_heard: Instant,
    next_ping: Instant,
    /// When the closing handshake began.
    closing_since: Option<Instant>,
    /// What has come since.
    ignored_bytes: usize,
    /// When the server was told to stop.
    draining_since: Option<Instant>,
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
    ) -> Arc<Mutex<Connection<T>>> {
        endpoint.receive(early);
        let now = Instant::now();
        Arc::new_cyclic(|this: &Weak<Mutex<Connection<T>>>| {
            Mutex::new(Connection {
                has_panicked: false,
                script: None,
                resume: None,
                last_heard: now,
                next_ping: now + shared.config.heartbeat,
                closing_since: None,
                ignored_bytes: 0,
                draining_since: None,
                permit,
                slot: None,
                _counted: shared.sessions.enter(),
                stopping: shared.stop.subscribe(),
                link: Link::new(transport, endpoint, talk, shared, this.clone()),
            })
        })
    }

    /// Takes the next step of the stream; when the one behind it is due.
    fn step(&mut self, now: Instant) -> Option<Instant> {
        catch_unwind(AssertUnwindSafe(|| self.link.step(now))).unwrap_or_else(|_| {
            self.has_panicked = true;
            self.link.wake();
            None
        })
    }

    /// Sends what there is; what to wait for then, or nothing if the connection is over.
    fn turn(&mut self, now: Instant, cx: &mut Context<'_>) -> Result<Option<Turn>, Outcome> {
        if self.has_panicked {
            return Err(Outcome::Panicked);
        }
        self.carry_out();
        if self.link.wants_speech(now) {
            // Everything that is there by now leaves in the same write.
            let _ = self.link.poll_speech(now, cx);
            self.carry_out();
        }
        self.link.write(now).map_err(Outcome::Gone)?;
        // The end of the connection may have waited for what was sent just now.
        self.carry_out();
        if self.link.is_finished() {
            return Ok(None);
        }
        Ok(Some(Turn {
            deadline: self.deadline(now),
            has_more: self.link.has_more(),
            // While another connection's session is awaited its client's words are for that one.
            may_read: !self.awaits_session(),
            may_resume: self.resume.is_some(),
            wants_text: self.wants_text(),
            is_draining: self.draining_since.is_some(),
        }))
    }

    fn on_traffic(&mut self, traffic: Traffic, now: Instant) -> Result<(), Outcome> {
        match traffic {
            Traffic::Silence => self.on_time(now)?,
            Traffic::Arrival => {
                self.read(now)?;
                self.act(now);
            }
            Traffic::Output => {}
        }
        Ok(())
    }

    /// Stops what worked for the peer, and whether the socket can be closed at once.
    fn end(&mut self, ended: Result<(), Outcome>) -> (Ended, bool) {
        if let Err(Outcome::Panicked) = ended {
            self.link.endpoint.close(CloseCode::INTERNAL, Close::Internal.reason());
            let _ = self.link.write_outgoing();
        }
        let outcome = match (ended, self.link.endpoint.closed()) {
            // What it said still holds when its socket breaks behind it.
            (Err(Outcome::Gone(_)), Some(closed)) if closed.by_peer => Outcome::Closed(closed.clone()),
            (Err(outcome), _) => outcome,
            (Ok(()), Some(closed)) => Outcome::Closed(closed.clone()),
            (Ok(()), None) => Outcome::Gone(ErrorKind::UnexpectedEof.into()),
        };
        // Whatever worked for the peer stops now, not when the socket is done with.
        let (record, is_kept) = self.leave(&outcome);
        self.link.meter.turn(&self.link.shared.telemetry, None);
        self.link.meter.tell(&self.link.shared.telemetry);
        // A reset overtakes what was sent before it, and closing a socket with unread bytes in it
        // resets it. A peer that has said Close sends no more, unless it is at fault.
        let may_close = match &outcome {
            Outcome::Closed(_) => {
                T::WRITES_THROUGH && self.link.endpoint.heard_close() && self.link.has_nothing_unread()
            }
            Outcome::Panicked => false,
            _ => true,
        };
        (Ended { record, is_kept, outcome }, may_close)
    }

    /// Parts with the session: keeps it for its client to come back, or ends it.
    fn leave(&mut self, outcome: &Outcome) -> (Option<Record>, bool) {
        // Known to others until it is kept.
        let resume = self.resume.take();
        let Talk::Session(session) = std::mem::replace(&mut self.link.talk, Talk::Over) else {
            return (None, false);
        };
        // A client that says goodbye does not come back, nor one that has answered ours. After a fault
        // of ours nobody knows what the session is worth.
        let is_lost = match outcome {
            Outcome::Closed(closed) => {
                !(session.is_over() || closed.by_peer && closed.code == Some(CloseCode::NORMAL))
            }
            Outcome::Gone(_) | Outcome::Stalled | Outcome::Unfinished(_) => true,
            Outcome::Panicked => false,
        };
        let is_kept = is_lost && session.is_resumable();
        let mut kept = self.part_with(session);
        let record = kept.record();
        if is_kept {
            kept.session.handle(Input::Disconnected, Instant::now().into_std());
            self.link.shared.registry.freeze(kept);
        } else {
            self.link.shared.registry.end(&record);
        }
        if let Some((mut awaited, _)) = resume.and_then(|resume| resume.awaited) {
            awaited.close();
            // It may have come just now.
            if let Ok(kept) = awaited.try_recv() {
                self.link.shared.registry.freeze(kept);
            }
        }
        (Some(record), is_kept)
    }

    /// A session with all that works for it.
    fn part_with(&mut self, session: Session) -> Box<Kept> {
        let (speeches, script) = (std::mem::take(&mut self.link.speeches), self.script.take());
        let client = self.permit.client().clone();
        Box::new(Kept { session, speeches, script, client, slot: self.slot.take() })
    }

    /// Reads what there is, once.
    fn read(&mut self, now: Instant) -> Result<(), Outcome> {
        match self.link.read().map_err(Outcome::Gone)? {
            None => Ok(()),
            Some(0) => Err(Outcome::Gone(ErrorKind::UnexpectedEof.into())),
            Some(count) => {
                self.last_heard = now;
                if self.closing_since.is_some() { self.ignore(count) } else { Ok(()) }
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
            let Some(message) = self.link.endpoint.next_message() else { break };
            if *self.link.endpoint.state() != State::Open {
                // Nothing can be answered any more, so nothing is begun.
                continue;
            }
            match (&mut self.link.talk, message) {
                (Talk::Session(session), Incoming::Text(text)) => {
                    let is_limited = self.permit.limits_sessions();
                    if is_limited {
                        let held = self.permit.begin(&mut self.slot, now.into_std()).err();
                        session.handle(Input::Hold(held), now.into_std());
                    }
                    let streams = session.streams();
                    session.handle(Input::Message(&text), now.into_std());
                    if session.streams() > streams
                        && let Some(source) = session.stream_source()
                    {
                        self.link.shared.telemetry.stream_began(source.name());
                    }
                    if is_limited && session.streams() == 0 {
                        self.slot = None;
                    }
                }
                // The session protocol has no binary messages from a client.
                (Talk::Session(_), Incoming::Binary(_)) | (Talk::Over, _) => {}
                (Talk::Echo, Incoming::Text(text)) => self.link.endpoint.send_text(&text),
                (Talk::Echo, Incoming::Binary(bytes)) => self.link.endpoint.send_binary(bytes),
            }
        }
        self.tell_phase();
    }

    /// Tells the operator what the session does now.
    fn tell_phase(&mut self) {
        let phase = match &self.link.talk {
            Talk::Session(session) => Some(session.phase()),
            Talk::Echo | Talk::Over => None,
        };
        self.link.meter.turn(&self.link.shared.telemetry, phase);
    }

    /// Stops the speech that nobody will ask for any more.
    fn hush(&mut self) {
        let is_kept = || matches!(&self.link.talk, Talk::Session(session) if session.is_resumable());
        if (!self.link.speeches.is_empty() || self.script.is_some()) && !is_kept() {
            self.link.speeches = VecDeque::new();
            self.script = None;
        }
    }

    /// Does what the session decided; whether it decided anything.
    fn carry_out(&mut self) -> bool {
        let mut has_acted = false;
        while let Talk::Session(session) = &mut self.link.talk
            && let Some(output) = session.poll()
        {
            self.carry_out_one(output);
            has_acted = true;
        }
        if has_acted {
            self.tell_phase();
        }
        has_acted
    }

    fn carry_out_one(&mut self, output: Output) {
        match output {
            Output::Send(message) => {
                match &message {
                    ServerMessage::Recovered { .. } => self.link.shared.telemetry.resumed("recovered"),
                    ServerMessage::NotRecovered { code } if *code == Code::PositionLost.name() => {
                        self.link.shared.telemetry.resumed(code);
                    }
                    _ => {}
                }
                self.link.meter.said();
                self.link.endpoint.send_text(&message.to_json());
            }
            Output::Speak(sentence) => {
                let Talk::Session(session) = &self.link.talk else { return };
                if self.link.shared.config.log_text {
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
                    running: self.link.shared.syntheses.clone(),
                    slot: None,
                };
                if self.permit.limits_sessions()
                    && !self.permit.spend(utterance.text.chars().count() as u64, Instant::now().into_std())
                    && let Talk::Session(session) = &mut self.link.talk
                {
                    session.handle(Input::Exhausted, Instant::now().into_std());
                }
                self.link.speeches.push_back(self.link.shared.synthesizer.speak(utterance));
            }
            Output::Write { turns, language } => self.write_script(turns, language),
            Output::StopWriting => self.script = None,
            Output::StopSpeaking => {
                let speeches = std::mem::take(&mut self.link.speeches);
                let untaken = untaken_bytes(&speeches);
                drop(speeches);
                if let Talk::Session(session) = &mut self.link.talk {
                    let stopped = Engine::Stopped { buffered_bytes: untaken };
                    session.handle(Input::Engine(stopped), Instant::now().into_std());
                }
            }
            Output::Keep => self.keep(),
            Output::Recover(recover) => self.recover(recover),
            Output::Authenticate(token) => {
                if let Talk::Session(session) = &mut self.link.talk {
                    let now = Instant::now().into_std();
                    let answer = match self.link.shared.authenticate(&mut self.permit, &token, now) {
                        Ok(config) => Answer::Authenticated(config),
                        Err(code) => Answer::Refused(code),
                    };
                    session.handle(Input::Answer(answer), now);
                }
            }
            Output::Close(close) => {
                let is_v1 = match &self.link.talk {
                    Talk::Session(session) => session.dialect().is_v1(),
                    // Only a session of `aloud.v1` continues elsewhere.
                    Talk::Echo | Talk::Over => true,
                };
                self.link.endpoint.close(CloseCode(close.code(is_v1)), close.reason());
            }
        }
    }

    fn write_script(&mut self, turns: Vec<conversation::Turn>, language: String) {
        let (Talk::Session(session), Some(writer)) = (&self.link.talk, &self.link.shared.writer) else {
            return;
        };
        let running = self.link.shared.scripts.clone();
        let prompt = Prompt { turns, language, session: session.shared_id(), running };
        self.script = Some(Box::new(writer.write(prompt)));
    }

    /// Whether another connection was asked for its session and has not answered yet.
    fn awaits_session(&self) -> bool {
        self.resume.as_ref().is_some_and(|resume| resume.awaited.is_some())
    }

    /// Makes the session known to other connections.
    fn keep(&mut self) {
        let Talk::Session(session) = &self.link.talk else { return };
        let resume = self.resume.get_or_insert_default();
        if resume.registration.is_none() {
            resume.registration = self.link.shared.registry.register(session);
        }
    }

    /// Looks for the session that a client wants to go on with.
    fn recover(&mut self, recover: Box<Recover>) {
        match self.link.shared.registry.claim(&recover.session_id, &recover.token) {
            Claim::Frozen(kept) => self.go_on_with(kept, &recover),
            Claim::Live(kept) => {
                self.resume.get_or_insert_default().awaited = Some((kept, recover));
            }
            claim => {
                let is_expired = matches!(claim, Claim::Expired);
                self.link.shared.telemetry.resumed(if is_expired { "expired" } else { "not_found" });
                if let Talk::Session(session) = &mut self.link.talk {
                    let answer = Answer::NotRecovered { is_expired };
                    session.handle(Input::Answer(answer), Instant::now().into_std());
                }
            }
        }
    }

    /// Puts another session in the place of this connection's own.
    fn go_on_with(&mut self, kept: Box<Kept>, recover: &Recover) {
        if !kept.session.can_return_to(recover.offset) {
            // A client that is mistaken loses its connection, but not the session.
            self.link.shared.registry.freeze(kept);
            if let Talk::Session(session) = &mut self.link.talk {
                session.handle(Input::Answer(Answer::PositionLost), Instant::now().into_std());
            }
            return;
        }
        let Kept { session, speeches, script, slot, client: _ } = *kept;
        self.slot = slot;
        self.link.talk = Talk::Session(session);
        self.link.speeches = speeches;
        self.script = script;
        self.keep();
        if let Talk::Session(session) = &mut self.link.talk {
            let answer = Answer::Recovered { offset: recover.offset };
            session.handle(Input::Answer(answer), Instant::now().into_std());
        }
        self.carry_out();
    }

    fn on_resumed(&mut self, resumed: Resumed) {
        match resumed {
            Resumed::Came(Some(kept), recover) => self.go_on_with(kept, &recover),
            // The other connection was lost in the meantime: its session is frozen by now, or gone.
            Resumed::Came(None, recover) => self.recover(recover),
            Resumed::Wanted(answer) => {
                // A step may have come upon the end of the stream just now.
                self.carry_out();
                if self.has_panicked || self.is_over_for_good() {
                    // There is nothing to go on with. Whoever asked finds nobody any more.
                    self.resume = None;
                    return;
                }
                let Talk::Session(session) = std::mem::replace(&mut self.link.talk, Talk::Over) else {
                    return;
                };
                let mut kept = self.part_with(session);
                kept.session.handle(Input::Disconnected, Instant::now().into_std());
                if let Err(kept) = answer.send(kept) {
                    // Whoever asked is gone: wait for the next.
                    self.link.shared.registry.freeze(kept);
                }
                self.resume = None;
                Session::taken().into_iter().for_each(|action| self.carry_out_one(action));
            }
        }
    }

    /// Whether the session is over, and was not cut off from its client as it ended.
    fn is_over_for_good(&self) -> bool {
        matches!(&self.link.talk, Talk::Session(session) if session.is_over() && !session.is_resumable())
    }

    fn on_written(&mut self, written: Written, now: Instant) {
        let Talk::Session(session) = &mut self.link.talk else { return };
        let report = match &written {
            Some(Ok(script::Piece::Text(text))) => Report::Text(text),
            Some(Ok(script::Piece::Warning { code, message })) => {
                Report::Warning { code, message: message.clone() }
            }
            Some(Err(error)) => {
                self.script = None;
                let code = if error.is_timeout { Code::LlmTimeout } else { Code::LlmFailed };
                self.link.shared.telemetry.writer_failed(code.name());
                Report::Failed { code, message: &error.message }
            }
            None => {
                self.script = None;
                Report::Finished
            }
        };
        session.handle(Input::Writer(report), now.into_std());
    }

    fn wants_text(&self) -> bool {
        self.script.is_some() && matches!(&self.link.talk, Talk::Session(session) if session.wants_text())
    }

    fn drain(&mut self, now: Instant) {
        self.draining_since = Some(now);
        match &mut self.link.talk {
            Talk::Session(session) => {
                let patience = self.link.shared.config.drain_timeout;
                session.handle(Input::Drain(patience), now.into_std());
            }
            Talk::Over => {}
            Talk::Echo => self.link.endpoint.close(CloseCode::AWAY, Close::GoingAway.reason()),
        }
    }

    /// The next moment at which silence alone has a consequence, the stream's next step aside.
    fn deadline(&mut self, now: Instant) -> Instant {
        let config = &self.link.shared.config;
        if *self.link.endpoint.state() != State::Open {
            let until = *self.closing_since.get_or_insert(now) + config.close_timeout;
            // Nothing more can be sent here.
            self.hush();
            return until;
        }
        let silent = self.last_heard + config.silence_timeout;
        let stalled = self.link.next_try().unwrap_or(silent);
        let drained = self.draining_since.map_or(silent, |since| since + config.drain_timeout);
        let session = match &self.link.talk {
            Talk::Session(session) => session.next_deadline().map_or(silent, Instant::from_std),
            Talk::Echo | Talk::Over => silent,
        };
        self.next_ping.min(silent).min(stalled).min(drained).min(session)
    }

    fn on_time(&mut self, now: Instant) -> Result<(), Outcome> {
        let Config { heartbeat, silence_timeout, close_timeout, drain_timeout, .. } = self.link.shared.config;
        if let Some(since) = self.closing_since {
            if now < since + close_timeout {
                return Ok(());
            }
            // The socket may have room without having said so: then the last words still arrive.
            let _ = self.link.force_write(now);
            return Err(match self.link.endpoint.closed() {
                Some(closed) => Outcome::Unfinished(closed.clone()),
                None => Outcome::Stalled,
            });
        }
        if self.link.retry(now).map_err(Outcome::Gone)? {
            self.on_stall();
            return Ok(());
        }
        if self.draining_since.is_some_and(|since| now >= since + drain_timeout) {
            self.link.endpoint.close(CloseCode::RESTART, Close::Restart.reason());
            return Ok(());
        }
        if now >= self.last_heard + silence_timeout {
            // A process that was stopped for a while finds the time over and the Pongs unread.
            if self.link.endpoint.wants_input() {
                self.read(now)?;
            }
            if now >= self.last_heard + silence_timeout {
                // Nor was the peer asked for any, if the Ping before it is overdue.
                match now > self.next_ping + deadline::LATE {
                    true => self.last_heard = now,
                    false => self.on_silence(),
                }
            }
        }
        if let Talk::Session(session) = &mut self.link.talk {
            session.handle(Input::Due, now.into_std());
        }
        if now >= self.next_ping {
            self.link.endpoint.ping();
            self.next_ping = now + heartbeat;
        }
        Ok(())
    }

    /// Counts what the peer goes on to send though the connection is closing.
    fn ignore(&mut self, count: usize) -> Result<(), Outcome> {
        self.ignored_bytes += count;
        match self.link.endpoint.closed() {
            Some(closed) if self.ignored_bytes > MAX_IGNORED_BYTES => {
                Err(Outcome::Unfinished(closed.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Says why it ends behind what the peer has not taken, which it may still do.
    fn on_stall(&mut self) {
        match &mut self.link.talk {
            Talk::Session(session) => {
                session.handle(Input::Stall, Instant::now().into_std());
                self.carry_out();
            }
            Talk::Echo | Talk::Over => {
                self.link.endpoint.close(CloseCode::POLICY, Close::SlowClient.reason());
            }
        }
    }

    fn on_silence(&mut self) {
        match &mut self.link.talk {
            Talk::Session(session) => {
                session.handle(Input::Silence, Instant::now().into_std());
                self.carry_out();
            }
            Talk::Echo | Talk::Over => self.link.endpoint.close(CloseCode::POLICY, Close::Silent.reason()),
        }
    }
}

/// Serves a connection to its end. Everything that worked for it has stopped when it returns, but for
/// a session that is kept for its client to come back.
///
/// # Cancel safety
/// Dropping the future closes the socket and stops its speech.
pub(crate) async fn serve<T: Transport>(connection: Arc<Mutex<Connection<T>>>) -> Ended {
    let ended = {
        let mut talking = pin!(talk(&connection));
        // A panic in an engine or in here ends this one connection, with the code for it.
        poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| talking.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(_) => Poll::Ready(Err(Outcome::Panicked)),
        })
        .await
    };
    let (ended, may_close) = lock(&connection).end(ended);
    if !may_close {
        linger(&connection).await;
    }
    ended
}

fn lock<T>(connection: &Mutex<Connection<T>>) -> MutexGuard<'_, Connection<T>> {
    // What a panic has left behind is only taken apart.
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Transport> Paced for Mutex<Connection<T>> {
    fn step(&self, now: Instant) -> Option<Instant> {
        lock(self).step(now)
    }
}

/// The loop.
async fn talk<T: Transport>(connection: &Mutex<Connection<T>>) -> Result<(), Outcome> {
    let mut stop = lock(connection).stopping.clone();
    let mut stop = pin!(stop.wait_for(|stop| *stop));
    let mut now = Instant::now();
    let mut timer = pin!(sleep_until(now));
    // When the timer wakes the task. It need not be asked before.
    let mut armed_until = None;
    lock(connection).act(now);
    loop {
        let turn = poll_fn(|cx| Poll::Ready(lock(connection).turn(now, cx))).await?;
        let Some(Turn { deadline, has_more, may_read, may_resume, wants_text, is_draining }) = turn else {
            return Ok(());
        };
        if has_more {
            // One batch a turn: the other connections of this thread are served in between.
            yield_now().await;
        }
        if armed_until.is_none_or(|until| until <= now || deadline < until) {
            timer.as_mut().reset(deadline);
            armed_until = None;
        }
        let traffic = poll_fn(|cx| {
            let now = Instant::now();
            if armed_until.is_none_or(|until| until <= now) {
                // Whatever else the task did in this turn: an unarmed timer is never heard of.
                if pin!(coop::unconstrained(timer.as_mut())).poll(cx).is_ready() {
                    return Poll::Ready(Ok(Traffic::Silence));
                }
                armed_until = Some(timer.deadline());
            }
            lock(connection).link.poll(may_read, now, cx)
        });
        tokio::select! {
            biased; // leaving first, and what arrives before what is to be sent
            _ = stop.as_mut(), if !is_draining => {
                now = Instant::now();
                lock(connection).drain(now);
            }
            resumed = poll_fn(|cx| poll_resume(&mut lock(connection).resume, cx)), if may_resume => {
                now = Instant::now();
                let mut connection = lock(connection);
                connection.on_resumed(resumed);
                connection.act(now);
            }
            traffic = traffic => {
                let traffic = traffic.map_err(Outcome::Gone)?;
                // Not the moment at which it was asked, which may be that of the turn before:
                // nothing would ever be due if a turn that was held up went on with its own time.
                now = Instant::now();
                lock(connection).on_traffic(traffic, now)?;
            }
            written = poll_fn(|cx| poll_script(&mut lock(connection).script, cx)), if wants_text => {
                now = Instant::now();
                lock(connection).on_written(written, now);
            }
            () = future::ready(()), if has_more => now = Instant::now(),
        }
    }
}

/// Ends our direction, and takes what the peer still sends until it ends its own (RFC 6455 §7.1.1).
async fn linger<T: Transport>(connection: &Mutex<Connection<T>>) {
    let until = Instant::now() + lock(connection).link.shared.config.close_timeout;
    let drained = async {
        poll_fn(|cx| lock(connection).link.poll_shutdown(cx)).await?;
        poll_fn(|cx| lock(connection).link.poll_drain(cx)).await
    };
    let _: Result<io::Result<()>, _> = timeout_at(until, drained).await;
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

#[cfg(test)]
mod tests {
    use super::super::service::{PATH, Service};
    use super::super::transport::Readiness;
    use super::*;
    use crate::audio::{Encoding, Format};
    use crate::tts::Tone;
    use crate::ws::endpoint::{Limits, Role};
    use hyper::Request;
    use std::io::IoSlice;
    use std::time::Duration;
    use tokio::time::sleep;

    /// A socket that takes everything, and fails us once.
    struct Treacherous {
        written: Arc<Mutex<Vec<Vec<u8>>>>,
        panics_at: usize,
    }

    impl Transport for Treacherous {
        const WRITES_THROUGH: bool = true;

        fn poll_ready(&mut self, _: Readiness, _: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
            Poll::Pending
        }

        fn try_read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(ErrorKind::WouldBlock.into())
        }

        fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let (count, length) = {
                let mut written = self.written.lock().unwrap();
                let length = bytes.len();
                written.push(bytes);
                (written.len(), length)
            };
            assert_ne!(count, self.panics_at, "a fault of ours");
            Ok(length)
        }

        fn force_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            self.try_write(slices)
        }

        fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_a_step_ends_its_own_connection_with_1011_and_no_other() {
        let format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 24_000 };
        let config = Config { close_timeout: Duration::from_millis(100), ..Config::default() };
        let service = Service::new(config, Arc::new(Tone::new(format, 1e6))).unwrap();
        let limits = Limits { max_message_bytes: 1024, max_fragments: 1, read_buffer_bytes: 256 };
        let mut client = Endpoint::new(Role::Client, limits);
        client.send_text(r#"{"type":"start_session","delivery":{"mode":"paced","aheadMs":20}}"#);
        let talks = |panics_at| {
            let request = Request::get(PATH)
                .header("host", "a")
                .header("connection", "Upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-version", "13")
                .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
                .header("sec-websocket-protocol", "aloud.v1")
                .body(())
                .unwrap();
            let admitted = service.judge(&request, None).1.expect("a handshake");
            let written = Arc::default();
            let transport = Treacherous { written: Arc::clone(&written), panics_at };
            service.start(transport, client.outgoing().to_vec().into(), admitted);
            written
        };
        let (broken, sound) = (talks(20), talks(usize::MAX));
        sleep(Duration::from_secs(2)).await;
        assert_eq!(service.sessions().count(), 1);
        let broken = broken.lock().unwrap();
        assert_eq!(broken.len(), 21);
        assert_eq!(broken[20][2..4], 1011_u16.to_be_bytes(), "{:?}", broken[20]);
        let steps = sound.lock().unwrap().len();
        assert!(steps >= 50, "a frame each 40 ms: {steps}");
    }
}
