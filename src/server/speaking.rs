//! A connection that speaks: joins a session to its engine, its writer and the registry of suspended
//! sessions.
//!
//! The session decides, and everything that works for it belongs to this value: dropping it stops
//! them.

use super::application::{Application, Departure, Host};
use super::connection::Outcome;
use super::report::shortened;
use super::service::Shared;
use super::suspended::{Claim, Registration, Suspended, buffered_bytes};
use crate::access::{Permit, SessionSlot};
use crate::script::{Prompt, Script, ScriptError, ScriptPiece};
use crate::session::conversation;
use crate::session::message::{Close, Code, Recover, ServerMessage};
use crate::session::{Answer, Engine, Input, Output, Sentence, Session, Written};
use crate::tts::{Piece, Speech, SynthesisErrorKind, Utterance, Warning};
use crate::ws::endpoint::{CloseCode, Incoming};
use crate::ws::frames::{Batch, Sent};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;
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
    /// True if the client has a quota of audio.
    counts_audio: bool,
    /// The answer that is being written; dropping it stops the writer. Boxed: few connections have
    /// one.
    script: Option<Box<Script>>,
    /// Boxed: few connections have one.
    resume: Option<Box<Resume>>,
    /// The limits of the client.
    permit: Permit,
    /// Counts the session among those of its client.
    slot: Option<SessionSlot>,
    /// The connection had to give its place away before it showed a credential.
    has_lost_its_place: bool,
}

/// The connection's part in sessions that outlive their connection.
#[derive(Default)]
struct Resume {
    /// Other connections can find its own session by this.
    registration: Option<Registration>,
    /// The session that another connection was asked for.
    awaited: Option<(oneshot::Receiver<Box<Suspended>>, Box<Recover>)>,
}

/// An input of a session that does not arrive on its socket.
pub(super) enum Event {
    /// Another connection asks for the session.
    Requested(oneshot::Sender<Box<Suspended>>),
    /// The connection that was asked for its session has handed it over, or has none any more.
    HandedOver(Option<Box<Suspended>>, Box<Recover>),
    /// The connection has shown no credential yet, and another one has its place.
    Displaced,
    /// The next piece of the answer that is being written; `None` at its end.
    Written(Option<Result<ScriptPiece, ScriptError>>),
}

impl Speaking {
    pub(super) fn new(session: Session, permit: Permit) -> Speaking {
        Speaking {
            session: Some(session),
            speeches: VecDeque::new(),
            counts_audio: permit.has_audio_limit(),
            script: None,
            resume: None,
            permit,
            slot: None,
            has_lost_its_place: false,
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
                let buffered_bytes = buffered_bytes(&speeches);
                drop(speeches);
                self.handle(Input::Engine(Engine::Stopped { buffered_bytes }));
            }
            Output::Keep => self.register(host),
            Output::Recover(recover) => self.recover(recover, host),
            Output::Authenticate(token) => {
                let result = host.shared.authenticate(&mut self.permit, &token, Instant::now().into_std());
                self.handle(Input::Answer(match result {
                    Ok(config) => Answer::Authenticated(config),
                    Err(code) => Answer::Refused(code),
                }));
            }
            Output::Close(close) => {
                // Without a session it continues elsewhere, which only `aloud.v1` can.
                let is_v1 = self.session.as_ref().is_none_or(|session| session.dialect().is_v1());
                host.endpoint.close(CloseCode(close.code(is_v1)), close.reason());
            }
        }
    }

    /// Has the engine speak a sentence, behind those that are in flight.
    fn speak(&mut self, sentence: Sentence, host: &mut Host<'_>) {
        let Some(session) = &mut self.session else { return };
        if host.shared.config.log_text {
            let (id, index, text) = (session.id(), sentence.index, &*shortened(&sentence.text));
            tracing::info!(target: "aloud::session", id, index, text, "sentence");
        }
        let Sentence { text, index, speed, voice, language, previous_text, format, frame_bytes, words } =
            sentence;
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
            running: host.shared.syntheses.clone(),
            slot: None,
        };
        if self.permit.has_session_limits()
            && !self.permit.spend_chars(utterance.text.chars().count() as u64, Instant::now().into_std())
        {
            session.handle(Input::Exhausted, Instant::now().into_std());
        }
        self.speeches.push_back(host.shared.synthesizer.speak(utterance));
    }

    /// Has the writer answer the last of these turns.
    fn write(&mut self, turns: Vec<conversation::Turn>, language: String, host: &mut Host<'_>) {
        let (Some(session), Some(writer)) = (&self.session, &host.shared.writer) else { return };
        let running = host.shared.scripts.clone();
        let prompt = Prompt { turns, language, session: session.shared_id(), running };
        self.script = Some(Box::new(writer.write(prompt)));
    }

    /// Lets other connections find the session.
    fn register(&mut self, host: &mut Host<'_>) {
        let Some(session) = &self.session else { return };
        let resume = self.resume.get_or_insert_default();
        if resume.registration.is_none() {
            resume.registration = host.shared.registry.register(session);
        }
    }

    /// Finds the session that the client wants to continue.
    fn recover(&mut self, recover: Box<Recover>, host: &mut Host<'_>) {
        match host.shared.registry.claim(&recover.session_id, &recover.token) {
            Claim::Suspended(suspended) => self.resume(suspended, &recover, host),
            Claim::Live(receiver) => {
                self.resume.get_or_insert_default().awaited = Some((receiver, recover));
            }
            claim => {
                let is_expired = matches!(claim, Claim::Expired);
                host.shared.telemetry.resumed(if is_expired { "expired" } else { "not_found" });
                self.handle(Input::Answer(Answer::NotRecovered { is_expired }));
            }
        }
    }

    /// Replaces the connection's own session by a suspended one. The caller carries out what that
    /// decides.
    fn resume(&mut self, mut suspended: Box<Suspended>, recover: &Recover, host: &mut Host<'_>) {
        if !suspended.session.can_return_to(recover.offset) {
            // A client that asks for a wrong offset loses its connection, but not the session.
            host.shared.registry.suspend(suspended);
            self.handle(Input::Answer(Answer::PositionLost));
            return;
        }
        let now = Instant::now().into_std();
        let is_exhausted = !self.permit.has_audio_left(now);
        if is_exhausted || !suspended.session.may_send_again(recover.offset, now) {
            host.shared.registry.suspend(suspended);
            self.handle(Input::Answer(Answer::TooOften { is_exhausted }));
            return;
        }
        let Suspended { session, speeches, script, slot, client: _ } = *suspended;
        self.slot = slot;
        self.session = Some(session);
        self.handle(Input::Answer(Answer::Recovered { offset: recover.offset }));
        self.speeches = speeches;
        self.script = script;
        self.register(host);
    }

    /// Hands the session over to the connection that asked for it.
    fn hand_over(&mut self, answer: oneshot::Sender<Box<Suspended>>, host: &mut Host<'_>) {
        // A step of the stream may have decided on its end just now.
        self.carry_out(host);
        if self.is_over_for_good() {
            // Dropping the registration tells the other connection that there is no session.
            self.resume = None;
            return;
        }
        let Some(session) = self.session.take() else { return };
        let mut suspended = self.suspend(session);
        suspended.session.handle(Input::Disconnected, Instant::now().into_std());
        if let Err(suspended) = answer.send(suspended) {
            // The other connection has gone: the session waits for the next.
            host.shared.registry.suspend(suspended);
        }
        self.resume = None;
        Session::taken().into_iter().for_each(|output| self.carry_out_one(output, host));
    }

    /// True if the session is over and everything was sent to its client.
    fn is_over_for_good(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_over() && !session.is_resumable())
    }

    /// Puts a session together with everything that works for it.
    fn suspend(&mut self, session: Session) -> Box<Suspended> {
        let (speeches, script) = (std::mem::take(&mut self.speeches), self.script.take());
        let client = self.permit.client().clone();
        Box::new(Suspended { session, speeches, script, client, slot: self.slot.take() })
    }

    fn on_written(
        &mut self,
        written: &Option<Result<ScriptPiece, ScriptError>>,
        now: Instant,
        shared: &Shared,
    ) {
        let Some(session) = &mut self.session else { return };
        let report = match written {
            Some(Ok(ScriptPiece::Text(text))) => Written::Text(text),
            Some(Ok(ScriptPiece::Warning { code, message })) => {
                Written::Warning { code, message: message.clone() }
            }
            Some(Err(error)) => {
                self.script = None;
                let code = if error.is_timeout { Code::LlmTimeout } else { Code::LlmFailed };
                shared.telemetry.writer_failed(code.name());
                Written::Failed { code, message: &error.message }
            }
            None => {
                self.script = None;
                Written::Finished
            }
        };
        session.handle(Input::Writer(report), now.into_std());
    }
}

impl Application for Speaking {
    type Event = Event;

    fn receive(&mut self, message: Incoming, now: Instant, host: &mut Host<'_>) {
        let Some(session) = &mut self.session else { return };
        let text = match message {
            Incoming::Text(text) => text,
            Incoming::Binary(bytes) => {
                return session.handle(Input::Binary(bytes.len()), now.into_std());
            }
        };
        let is_limited = self.permit.has_session_limits();
        if is_limited {
            let held = self.permit.reserve_session(&mut self.slot, now.into_std()).err();
            session.handle(Input::Hold(held), now.into_std());
        }
        let streams = session.streams();
        session.handle(Input::Message(&text), now.into_std());
        if session.streams() > streams
            && let Some(source) = session.stream_source()
        {
            host.shared.telemetry.stream_began(source.name());
        }
        if is_limited && session.streams() == 0 {
            self.slot = None;
        }
    }

    /// False while another connection's session is awaited: the client's messages are for that one.
    fn may_receive(&self) -> bool {
        self.resume.as_ref().is_none_or(|resume| resume.awaited.is_none())
    }

    fn carry_out(&mut self, host: &mut Host<'_>) {
        while let Some(session) = &mut self.session
            && let Some(output) = session.poll()
        {
            self.carry_out_one(output, host);
        }
        // Counts the session by its present phase.
        host.meter.enter(&host.shared.telemetry, self.session.as_ref().map(Session::phase));
    }

    fn has_decided(&self) -> bool {
        self.session.as_ref().is_some_and(Session::has_outputs)
    }

    fn expects_session(&self) -> bool {
        self.resume.is_some() || self.permit.is_provisional()
    }

    fn poll_session(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if !self.has_lost_its_place && self.permit.poll_displaced(cx).is_ready() {
            return Poll::Ready(Event::Displaced);
        }
        let Some(resume) = &mut self.resume else { return Poll::Pending };
        if let Some((receiver, _)) = &mut resume.awaited
            && let Poll::Ready(suspended) = Pin::new(receiver).poll(cx)
            && let Some((_, recover)) = resume.awaited.take()
        {
            return Poll::Ready(Event::HandedOver(suspended.ok(), recover));
        }
        if let Some(registration) = &mut resume.registration
            && let Poll::Ready(Some(answer)) = registration.requests().poll_recv(cx)
        {
            return Poll::Ready(Event::Requested(answer));
        }
        Poll::Pending
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
            Event::HandedOver(Some(suspended), recover) => self.resume(suspended, &recover, host),
            // The other connection was lost in the meantime: its session is suspended by now, or gone.
            Event::HandedOver(None, recover) => self.recover(recover, host),
            Event::Requested(answer) => self.hand_over(answer, host),
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
        let Speaking { session: Some(session), speeches, .. } = self else { return Poll::Pending };
        let now = now.into_std();
        let mut took = false;
        while session.wants_speech(now)
            && let Some(speech) = speeches.front_mut()
        {
            let mut report = |report: Engine<'_>| session.handle(Input::Engine(report), now);
            match speech.poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(Piece::Audio(chunk)))) => report(Engine::Audio(chunk)),
                Poll::Ready(Some(Ok(Piece::Words(words)))) => report(Engine::Words(&words)),
                Poll::Ready(Some(Ok(Piece::Warning(Warning { code, message })))) => {
                    report(Engine::Warning { code, message });
                }
                Poll::Ready(Some(Err(error))) => {
                    let code = match error.kind {
                        SynthesisErrorKind::Failed => Code::EngineFailed,
                        SynthesisErrorKind::NoAudio => Code::EngineNoAudio,
                        SynthesisErrorKind::Timeout => Code::EngineTimeout,
                        SynthesisErrorKind::Overloaded => Code::Overloaded,
                    };
                    shared.telemetry.engine_failed(code.name(), &error);
                    report(Engine::Failed { code, message: &error.message });
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

    fn has_output(&self, now: Instant) -> bool {
        self.session.as_ref().is_some_and(|session| session.has_output(now.into_std()))
    }

    fn next_step(&self, now: Instant) -> Option<Instant> {
        self.session.as_ref()?.opens_at(now.into_std()).map(Instant::from_std)
    }

    fn fill(&mut self, now: Instant, batch: &mut Batch) {
        if let Some(session) = &mut self.session {
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

    fn ask(&mut self) -> Option<[u8; 16]> {
        let (stream, offset) = self.session.as_mut()?.ask()?;
        Some((u128::from(stream) << 64 | u128::from(offset)).to_be_bytes())
    }

    fn on_pong(&mut self, payload: [u8; 16], now: Instant) {
        let payload = u128::from_be_bytes(payload);
        let (stream, offset) = ((payload >> 64) as u64, payload as u64);
        if let Some(session) = &mut self.session {
            session.handle(Input::Confirmed { stream, offset }, now.into_std());
        }
    }

    fn next_time(&self) -> Option<Instant> {
        self.session.as_ref()?.next_deadline().map(Instant::from_std)
    }

    fn on_time(&mut self, now: Instant) {
        if let Some(session) = &mut self.session {
            session.handle(Input::Due, now.into_std());
        }
    }

    fn drain(&mut self, host: &mut Host<'_>) {
        self.handle(Input::Drain(host.shared.config.drain_timeout));
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
        let resume = self.resume.take();
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
        let mut suspended = self.suspend(session);
        let record = suspended.record();
        if is_suspended {
            suspended.session.handle(Input::Disconnected, Instant::now().into_std());
            shared.registry.suspend(suspended);
        } else {
            shared.registry.end(&record);
        }
        if let Some((mut receiver, _)) = resume.and_then(|resume| resume.awaited) {
            receiver.close();
            // The session of the other connection may have come just now.
            if let Ok(other) = receiver.try_recv() {
                shared.registry.suspend(other);
            }
        }
        if is_suspended { Departure::Suspended(record) } else { Departure::Ended(record) }
    }
}
