//! A connection that speaks: joins a session to its engine, its writer and the registry of suspended
//! sessions.
//!
//! The session decides, and everything that works for it belongs to this value: dropping it stops
//! them.

mod returning;

use self::returning::{Asked, Awaited, Found, Resume, Spending};
use super::application::{Application, Departure, Host};
use super::connection::Outcome;
use super::gifts::Given;
use super::keeping::Shelved;
use super::report::shortened;
use super::service::Shared;
use super::suspended::{Granted, Turn, buffered_bytes};
use super::work::{take_speech, take_text};
use crate::access::credential::Token;
use crate::access::{Holding, Permit, SessionSlot};
use crate::script::{Prompt, Script, ScriptError, ScriptPiece};
use crate::session::conversation;
use crate::session::message::{Close, Code, Recover, ServerMessage};
use crate::session::{Answer, Engine, Input, Output, Phase, Place, Sentence, Session};
use crate::store::{Claimed, Presence, Written};
use crate::tts::{Listener, Speech, SynthesisError, Utterance, encoded};
use crate::ws::endpoint::{CloseCode, Incoming, State};
use crate::ws::frames::{Batch, Sent};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Instant;

/// A session and everything that works for it.
///
/// Kept in this order: each step of a stream reads the session and whether there is speech.
#[repr(C)]
pub(super) struct Speaking {
    /// `None` once another connection has taken the session, and after the end of this one.
    session: Option<Session>,
    /// The sentences in flight; dropping one stops its engine.
    speeches: VecDeque<Speech>,
    /// True if nothing of the stream may leave, because the store has yet to know of it.
    is_gated: bool,
    /// True if a sentence was begun, or has ended, that the store may not know of.
    has_news: bool,
    /// Tells the engine whether the client can hear the sentences.
    listener: Listener,
    /// When the wait for the engine ends, if the session waits for it.
    gives_up_at: Option<Instant>,
    /// True if the client has a quota of audio.
    counts_audio: bool,
    /// The answer that is being written; dropping it stops the writer. Boxed: few connections have
    /// one.
    script: Option<Box<Script>>,
    /// Boxed: few connections have one.
    resume: Option<Box<Resume>>,
    /// The session in the store.
    keeping: Option<Shelved>,
    /// The limits of the client.
    permit: Permit,
    /// Counts the session among those of its client.
    slot: Option<SessionSlot>,
    /// Counts what the session holds among all that have a connection.
    holding: Holding,
    /// Bytes of the text that waits, as it was counted last: it lies far from what a write of audio needs.
    held_text: usize,
    /// The connection had to give its place away before it showed a credential.
    has_lost_its_place: bool,
}

/// An input of a session that does not arrive on its socket.
pub(super) enum Event {
    /// Another connection asks for the session.
    Requested,
    /// The connection that was asked for its session has answered, or has none any more.
    Answered(Option<Turn>, Box<Recover>),
    /// The store has answered, or not in time.
    Claimed(Option<Claimed>, Box<Asked>, Presence),
    /// The server that had the session has given what it has of it, or not in time.
    Given(Given, Box<Found>, Presence),
    /// Another server has the session.
    Moved(Presence),
    /// The store has the session, or has no use of the ticket, or cannot be reached.
    Kept,
    /// The ticket was used on another server.
    Spent(Presence),
    /// The connection has shown no credential yet, and another one has its place.
    Displaced,
    /// The sessions hold too much together, and this one has to go.
    Crowded,
    /// The next piece of the answer that is being written; `None` at its end.
    Written(Option<Result<ScriptPiece, ScriptError>>),
}

impl Speaking {
    pub(super) fn new(session: Session, permit: Permit) -> Speaking {
        Speaking {
            session: Some(session),
            speeches: VecDeque::new(),
            is_gated: false,
            has_news: false,
            listener: Listener::default(),
            gives_up_at: None,
            counts_audio: permit.has_audio_limit(),
            script: None,
            resume: None,
            keeping: None,
            permit,
            slot: None,
            holding: Holding::default(),
            held_text: 0,
            has_lost_its_place: false,
        }
    }

    /// Uses a ticket up on all servers. Nothing is received before that is done.
    // As for `recover`.
    #[cfg_attr(not(feature = "redis"), allow(unreachable_code, unused_variables))]
    pub(super) fn spend(&mut self, ticket: Option<&Token>, shared: &Shared) {
        if let (Some(answer), Some(store)) = (shared.spend_everywhere(ticket), &shared.store) {
            let spending = Spending { answer: Box::pin(answer), store: store.presence() };
            self.resume.get_or_insert_default().spending = Some(spending);
        }
    }

    /// Lets the session handle an input now.
    fn handle(&mut self, input: Input<'_>) {
        if let Some(session) = &mut self.session {
            session.handle(input, Instant::now().into_std());
        }
    }

    fn carry_out_one(&mut self, output: Output, host: &mut Host<'_>) {
        match output {
            Output::Send(message) => {
                match &message {
                    ServerMessage::Recovered { .. } => host.shared.telemetry.resumed("recovered"),
                    ServerMessage::NotRecovered { code } if *code == Code::PositionLost.name() => {
                        host.shared.telemetry.resumed(code);
                    }
                    _ => {}
                }
                host.meter.sent_message();
                host.endpoint.send_text(&message.to_json());
            }
            Output::Speak(sentence) => self.speak(*sentence, host),
            Output::Write { turns, language } => self.write(turns, language, host),
            Output::StopWriting => self.script = None,
            Output::StopSpeaking => {
                let speeches = std::mem::take(&mut self.speeches);
                self.gives_up_at = None;
                let buffered_bytes = buffered_bytes(&speeches);
                drop(speeches);
                self.handle(Input::Engine(Engine::Stopped { buffered_bytes }));
            }
            Output::Keep => self.register(host),
            Output::Recover(recover) => self.recover(recover, host),
            Output::Authenticate(token) => {
                let result = host.shared.authenticate(&mut self.permit, &token, Instant::now().into_std());
                let answer = match result {
                    Ok((config, ticket)) => {
                        self.spend(ticket.as_ref(), host.shared);
                        Answer::Authenticated(config)
                    }
                    Err(code) => Answer::Refused(code),
                };
                self.handle(Input::Answer(answer));
            }
            Output::Close(close) => {
                // Without a session it continues elsewhere, which only `aloud.v1` can.
                let is_v1 = self.session.as_ref().is_none_or(|session| session.dialect().is_v1());
                host.endpoint.close(CloseCode(close.code(is_v1)), close.reason());
            }
        }
    }

    /// Lets the session take an input that may start a stream, and counts that.
    fn take(&mut self, input: Input<'_>, now: Instant, shared: &Shared) {
        let Some(session) = &mut self.session else { return };
        let streams = session.streams();
        session.handle(input, now.into_std());
        if session.streams() > streams
            && let Some(source) = session.stream_source()
        {
            shared.telemetry.stream_began(source.name());
        }
        if session.streams() == 0 && !session.is_behind() && self.permit.has_session_limits() {
            self.slot = None;
        }
        self.hold(shared);
    }

    /// Counts what the session holds now.
    fn hold(&mut self, shared: &Shared) {
        self.held_text = self.session.as_ref().map_or(0, Session::text_bytes);
        self.hold_audio(shared);
    }

    /// The same where the text has not changed.
    fn hold_audio(&mut self, shared: &Shared) {
        let bytes = self.session.as_ref().map_or(0, Session::logged_bytes) + self.held_text;
        // An engine goes on while its listener does not look.
        let waiting: u64 = self.speeches.iter().map(Speech::most_buffered_bytes).sum();
        let bytes = bytes + waiting as usize;
        self.holding.set(&shared.holdings, self.permit.client(), bytes);
    }

    /// Has the engine speak a sentence, behind those that are in flight.
    fn speak(&mut self, sentence: Sentence, host: &mut Host<'_>) {
        let Some(session) = &mut self.session else { return };
        if host.shared.config.log_text {
            let (id, index, text) = (session.id(), sentence.index, &*shortened(&sentence.text));
            tracing::info!(target: "aloud::session", id, index, text, "sentence");
        }
        let Sentence { text, index, speed, voice, language, normalize, previous_text, format, .. } = sentence;
        let Sentence { frame_bytes, words, .. } = sentence;
        let utterance = Utterance {
            text,
            speed,
            voice,
            language,
            index,
            previous_text,
            client: self.permit.client().key(),
            session: session.shared_id(),
            format,
            frame_bytes,
            has_word_times: words,
            normalize: normalize.or(host.shared.config.normalize),
            running: host.shared.syntheses.clone(),
            listener: self.listener.clone(),
            slot: None,
        };
        if self.permit.has_session_limits()
            && !self.permit.spend_chars(utterance.text.chars().count() as u64, Instant::now().into_std())
        {
            session.handle(Input::Exhausted, Instant::now().into_std());
        }
        self.has_news = true;
        self.speeches.push_back(encoded::speak(&*host.shared.synthesizer, &host.shared.encoders, utterance));
    }

    /// Has the writer answer the last of these turns.
    fn write(&mut self, turns: Vec<conversation::Turn>, language: String, host: &mut Host<'_>) {
        let (Some(session), Some(writer)) = (&self.session, &host.shared.writer) else { return };
        let running = host.shared.scripts.clone();
        let prompt = Prompt { turns, language, session: session.shared_id(), running, held: None };
        let script = host.shared.answers.begin(writer.as_ref(), prompt, self.permit.client());
        self.script = Some(Box::new(script.unwrap_or_else(Script::failed)));
    }

    /// Gives up an engine that has given nothing for too long.
    fn give_up(&mut self, now: Instant) {
        self.gives_up_at = None;
        if self.wants_speech(now)
            && let Some(speech) = self.speeches.front_mut()
        {
            let message = "The speech engine gave no audio for too long. Send the text again.";
            *speech = Speech::failed(SynthesisError::timeout(message));
        }
    }

    /// Writes the session down if it is time.
    fn keep(&mut self, host: &mut Host<'_>) {
        let has_news = std::mem::take(&mut self.has_news);
        if let (Some(keeping), Some(session), Some(store)) =
            (&mut self.keeping, &self.session, &host.shared.store)
        {
            self.is_gated = keeping.keep(session, has_news, store, &host.shared.fingerprint, Instant::now());
        }
    }

    fn on_written(
        &mut self,
        written: &Option<Result<ScriptPiece, ScriptError>>,
        now: Instant,
        shared: &Shared,
    ) {
        let Some(session) = &mut self.session else { return };
        take_text(session, &mut self.script, written, &shared.telemetry, now);
    }
}

impl Application for Speaking {
    type Event = Event;

    /// A long text, or two hundred short messages.
    const DEAR_BYTES: usize = 4 * 1024;

    fn client(&self) -> Arc<str> {
        self.permit.client().key()
    }

    fn receive(&mut self, message: Incoming, now: Instant, host: &mut Host<'_>) {
        let Some(session) = &mut self.session else { return };
        let text = match message {
            Incoming::Text(text) => text,
            Incoming::Binary(bytes) => {
                return session.handle(Input::Binary(bytes.len()), now.into_std());
            }
        };
        if self.permit.has_session_limits() {
            let held = self.permit.reserve_session(&mut self.slot, now.into_std()).err();
            session.handle(Input::Hold(held), now.into_std());
        }
        self.take(Input::Message(&text), now, host.shared);
    }

    fn is_behind(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_behind)
    }

    fn catch_up(&mut self, now: Instant, host: &mut Host<'_>) {
        self.take(Input::Read, now, host.shared);
    }

    /// False while another connection's session is awaited: the client's messages are for that one.
    fn may_receive(&self) -> bool {
        let is_leaving = matches!(&self.keeping, Some(keeping) if keeping.is_leaving());
        !is_leaving
            && self.resume.as_ref().is_none_or(|resume| {
                resume.awaited.is_none()
                    && resume.claiming.is_none()
                    && resume.giving.is_none()
                    && resume.spending.is_none()
            })
    }

    fn needs_client(&self) -> bool {
        let awaited = self.resume.as_ref().and_then(|resume| resume.awaited.as_ref());
        awaited.is_some_and(|awaited| awaited.unconfirmed.is_some())
    }

    fn on_client(&mut self, host: &mut Host<'_>) {
        let Some(resume) = &mut self.resume else { return };
        if *host.endpoint.state() != State::Open {
            // It has closed the connection.
            if let Some(Awaited { recover, .. }) = resume.awaited.take() {
                host.shared.registry.wake(&recover.session_id);
            }
        } else if let Some(Awaited { recover, unconfirmed, .. }) = &mut resume.awaited
            && let Some(ticket) = unconfirmed.take()
        {
            host.shared.registry.confirm(&recover.session_id, ticket);
        }
    }

    fn carry_out(&mut self, host: &mut Host<'_>) {
        if !self.is_gated
            && let Some(keeping) = &mut self.keeping
        {
            keeping.take_held().into_iter().for_each(|output| self.carry_out_one(output, host));
        }
        if self.resume.as_ref().is_some_and(|resume| resume.spending.is_some()) {
            // The client may not be let in.
            return;
        }
        while let Some(session) = &mut self.session
            && let Some(output) = session.poll()
        {
            let output = match (&mut self.keeping, &host.shared.store) {
                (Some(keeping), Some(store)) if session.is_resumable() || keeping.holds() => {
                    keeping.pass(output, store)
                }
                _ => Some(output),
            };
            output.into_iter().for_each(|output| self.carry_out_one(output, host));
        }
        if self.keeping.is_some() {
            self.keep(host);
        }
        let phase = self.session.as_ref().map(Session::phase);
        let is_paused = phase == Some(Phase::Paused);
        if self.gives_up_at.is_some() && (is_paused || !self.wants_speech(Instant::now())) {
            // The wait begins anew once the audio is wanted again: the engine may have been stopped for that.
            self.gives_up_at = None;
        }
        if self.holding.is_counted() && phase != Some(Phase::Streaming) {
            // Its stream may be over.
            self.hold(host.shared);
        }
        if phase.is_some() {
            self.listener.set_away(is_paused);
        }
        // Counts the session by its present phase.
        host.meter.enter(&host.shared.telemetry, phase);
    }

    fn has_decided(&self) -> bool {
        self.session.as_ref().is_some_and(Session::has_outputs)
    }

    fn expects_session(&self) -> bool {
        self.resume.is_some()
            || self.permit.is_provisional()
            || self.holding.is_counted()
            || matches!(&self.keeping, Some(keeping) if keeping.is_pending())
    }

    // As for `recover`.
    #[cfg_attr(not(feature = "redis"), allow(unreachable_code, unused_variables))]
    fn poll_session(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if !self.has_lost_its_place && self.permit.poll_displaced(cx).is_ready() {
            return Poll::Ready(Event::Displaced);
        }
        if self.holding.poll(cx).is_ready() {
            return Poll::Ready(Event::Crowded);
        }
        if let Some(keeping) = &mut self.keeping
            && let Poll::Ready(answer) = keeping.poll(cx)
        {
            self.is_gated = false;
            let store = keeping.store();
            return Poll::Ready(if answer == Ok(Written::Stale) { Event::Moved(store) } else { Event::Kept });
        }
        match &mut self.resume {
            Some(resume) => resume.poll(self.keeping.as_ref(), cx),
            None => Poll::Pending,
        }
    }

    fn wants_text(&self) -> bool {
        self.script.is_some() && self.session.as_ref().is_some_and(Session::wants_text)
    }

    fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let Some(script) = &mut self.script else { return Poll::Pending };
        script.poll_next(cx).map(Event::Written)
    }

    fn on_event(&mut self, event: Event, now: Instant, host: &mut Host<'_>) {
        match event {
            Event::Written(written) => self.on_written(&written, now, host.shared),
            Event::Answered(Some(Ok(granted)), recover) => {
                self.resume(*granted, Place::from(&*recover), host);
            }
            Event::Answered(Some(Err(why)), _) => self.misplaced(why),
            // The session has ended in the meantime, or another server has claimed it.
            Event::Answered(None, recover) if host.shared.store.is_some() => self.recover(recover, host),
            Event::Answered(None, _) => self.not_recovered(false, host),
            Event::Requested => self.hand_over(host),
            Event::Claimed(claimed, asked, _) => self.on_claimed(claimed, *asked, host),
            Event::Given(given, found, _) => self.on_found(*found, &given, host),
            Event::Moved(_) => self.release(host),
            Event::Kept => {}
            Event::Spent(_) => {
                // The greeting has not left.
                while self.session.as_mut().is_some_and(|session| session.poll().is_some()) {}
                self.handle(Input::Answer(Answer::Refused(Code::Unauthorized)));
            }
            Event::Crowded => {
                self.holding = Holding::default();
                self.handle(Input::Crowded);
            }
            Event::Displaced => {
                self.has_lost_its_place = true;
                self.handle(Input::Answer(Answer::Refused(Code::Overloaded)));
            }
        }
    }

    fn has_lost_its_place(&self) -> bool {
        self.has_lost_its_place
    }

    fn wants_speech(&self, now: Instant) -> bool {
        self.session.as_ref().is_some_and(|session| session.wants_speech(now.into_std()))
            && !self.speeches.is_empty()
    }

    fn poll_speech(&mut self, now: Instant, shared: &Shared, cx: &mut Context<'_>) -> Poll<()> {
        let Speaking { session: Some(session), speeches, gives_up_at, .. } = self else {
            return Poll::Pending;
        };
        let patient_until = now + shared.config.engine_timeout;
        let taken = take_speech(session, speeches, &shared.telemetry, now, cx);
        if taken.took {
            *gives_up_at = None;
        }
        if taken.is_waiting && session.phase() != Phase::Paused {
            gives_up_at.get_or_insert(patient_until);
        }
        // Only the store can tell the next server where the sentence ended.
        self.has_news |= taken.has_finished && !session.is_repeatable();
        if !taken.took {
            return Poll::Pending;
        }
        match taken.has_finished {
            true => self.hold(shared),
            false => self.hold_audio(shared),
        }
        Poll::Ready(())
    }

    fn has_output(&self, now: Instant) -> bool {
        !self.is_gated && self.session.as_ref().is_some_and(|session| session.has_output(now.into_std()))
    }

    fn next_step(&self, now: Instant) -> Option<Instant> {
        self.session.as_ref().filter(|_| !self.is_gated)?.opens_at(now.into_std()).map(Instant::from_std)
    }

    fn fill(&mut self, now: Instant, batch: &mut Batch) {
        if let Some(session) = self.session.as_mut().filter(|_| !self.is_gated) {
            session.deliver(now.into_std(), batch);
        }
    }

    fn sent(&mut self, now: Instant, sent: Sent, shared: &Shared) {
        let Some(session) = &mut self.session else { return };
        if self.counts_audio
            && let Sent::Audio(bytes) = sent
            && !self.permit.spend_audio(session.duration(bytes), now.into_std())
            && !session.is_exhausted()
        {
            session.handle(Input::Exhausted, now.into_std());
        }
        if let Some(wait) = session.delivered(now.into_std(), sent) {
            shared.telemetry.waited(wait);
        }
    }

    fn ask(&mut self, now: Instant) -> Option<[u8; 16]> {
        let (stream, offset) = self.session.as_mut()?.ask(now.into_std())?;
        Some((u128::from(stream) << 64 | u128::from(offset)).to_be_bytes())
    }

    fn read_at(&self) -> Option<Instant> {
        self.session.as_ref()?.read_at().map(Instant::from_std)
    }

    fn on_pong(&mut self, payload: [u8; 16], now: Instant) {
        let payload = u128::from_be_bytes(payload);
        let (stream, offset) = ((payload >> 64) as u64, payload as u64);
        if let Some(session) = &mut self.session {
            session.handle(Input::Confirmed { stream, offset }, now.into_std());
        }
    }

    fn next_time(&self) -> Option<Instant> {
        let session = self.session.as_ref()?;
        let keeping = self.keeping.as_ref().and_then(|keeping| keeping.next_time(session));
        let session = session.next_deadline().map(Instant::from_std);
        session.into_iter().chain(self.gives_up_at).chain(keeping).min()
    }

    fn on_time(&mut self, now: Instant) {
        if self.gives_up_at.is_some_and(|at| now >= at) {
            self.give_up(now);
        }
        if let Some(keeping) = &mut self.keeping {
            self.is_gated = keeping.on_time(now);
        }
        if let Some(session) = &mut self.session {
            session.handle(Input::Due, now.into_std());
        }
    }

    fn drain(&mut self, host: &mut Host<'_>) {
        self.handle(Input::Drain(host.shared.config.drain_timeout));
    }

    fn settle(&mut self) {
        if let Some(keeping) = &mut self.keeping {
            keeping.export(Instant::now());
            self.handle(Input::Settle);
        }
    }

    fn is_settled(&self) -> bool {
        self.session.is_none() || !matches!(&self.keeping, Some(keeping) if !keeping.is_exported())
    }

    fn is_exporting(&self) -> bool {
        let is_settled = self.session.as_ref().is_some_and(Session::is_settled);
        is_settled && matches!(&self.keeping, Some(keeping) if !keeping.is_exported())
    }

    fn on_stall(&mut self, host: &mut Host<'_>) {
        match &self.session {
            Some(_) => self.handle(Input::Stall),
            None => host.endpoint.close(CloseCode::POLICY, Close::SlowClient.reason()),
        }
        self.carry_out(host);
    }

    fn on_silence(&mut self, host: &mut Host<'_>) {
        match &self.session {
            Some(_) => self.handle(Input::Silence),
            None => host.endpoint.close(CloseCode::POLICY, Close::Silent.reason()),
        }
        self.carry_out(host);
    }

    /// Stops engine and writer, unless the session is about to be suspended.
    fn stop_work(&mut self) {
        if (!self.speeches.is_empty() || self.script.is_some())
            && !self.session.as_ref().is_some_and(Session::is_resumable)
        {
            self.speeches = VecDeque::new();
            self.script = None;
        }
    }

    /// Suspends the session if its client may reconnect, and ends it otherwise.
    fn leave(&mut self, outcome: &Outcome, shared: &Shared) -> Departure {
        // Other connections find the session by this until it is suspended.
        let Resume { registration, awaited, .. } = *self.resume.take().unwrap_or_default();
        let Some(session) = self.session.take() else { return Departure::Empty };
        // A client that says goodbye does not reconnect, nor one that has answered our Close. After a
        // panic the session cannot be trusted.
        let is_lost = match outcome {
            Outcome::Closed(closed) => {
                !(session.is_over() || closed.by_peer && closed.code == Some(CloseCode::NORMAL))
            }
            Outcome::Gone(_) | Outcome::Stalled | Outcome::Unfinished(_) => true,
            Outcome::Panicked => false,
        };
        let is_suspended = is_lost && session.is_resumable();
        let is_exported = matches!(&self.keeping, Some(keeping) if keeping.is_exported());
        let mut suspended = self.suspend(session);
        let record = suspended.record();
        if is_suspended {
            suspended.session.handle(Input::Disconnected, Instant::now().into_std());
            if !is_exported {
                suspended.keep(shared);
            }
            shared.registry.suspend(suspended, registration);
        } else {
            drop(registration);
            shared.registry.end(&record);
            if let (Some(key), Some(store)) = (&suspended.key, &shared.store) {
                store.remove(key);
            }
        }
        if let Some(Awaited { mut turn, recover, .. }) = awaited {
            turn.close();
            shared.registry.wake(&recover.session_id);
            // The session of the other connection may have come just now.
            if let Ok(Ok(granted)) = turn.try_recv() {
                let Granted { mut suspended, registration } = *granted;
                suspended.session.handle(Input::Disconnected, Instant::now().into_std());
                shared.registry.suspend(suspended, Some(registration));
            }
        }
        if is_suspended { Departure::Suspended(record) } else { Departure::Ended(record) }
    }
}
