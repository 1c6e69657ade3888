//! Work for a session, from speech and writer, and its end: a session that another server continues is written down
//! once nothing is in flight.

use super::metrics::Telemetry;
use super::report::failure_code;
use super::service::Shared;
use super::suspended::{Leaving, Suspended, buffered_bytes};
use crate::script::{Script, ScriptError, ScriptPiece};
use crate::session::message::{Code, TextSource};
use crate::session::{Engine, Input, Output, Session, Written};
use crate::store::Record;
use crate::tts::{Piece, Speech, Warning};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Longest time for an answer to come to its end before another server gets it: a client waits for it.
const WRITING_TIME: Duration = Duration::from_millis(2_500);

/// The same for a sentence, without which the other server cannot go on. Its client may have to come back for it.
const SPEAKING_TIME: Duration = Duration::from_secs(8);

/// Longest time for the store to take what is given, and the time between two attempts.
const STORE_TIME: Duration = Duration::from_secs(10);
const STORE_RETRY: Duration = Duration::from_millis(250);

/// The result of [`take_speech`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    /// True if the engine gave something.
    pub(super) took: bool,
    /// True if a sentence has ended.
    pub(super) has_finished: bool,
    /// True if more is wanted than the engine has by now.
    pub(super) is_waiting: bool,
}

/// Has a session take all speech that it wants and that is there.
pub(super) fn take_speech(
    session: &mut Session,
    speeches: &mut VecDeque<Speech>,
    telemetry: &Telemetry,
    now: Instant,
    cx: &mut Context<'_>,
) -> Taken {
    let (now, mut taken) = (now.into_std(), Taken::default());
    while session.wants_speech(now)
        && let Some(speech) = speeches.front_mut()
    {
        if session.owes_silence() {
            session.handle(Input::Engine(Engine::Silence), now);
            taken.took = true;
            continue;
        }
        let mut report = |report: Engine<'_>| session.handle(Input::Engine(report), now);
        match speech.poll_next(cx) {
            Poll::Pending => {
                taken.is_waiting = true;
                break;
            }
            Poll::Ready(Some(Ok(Piece::Audio(chunk)))) => report(Engine::Audio(chunk)),
            Poll::Ready(Some(Ok(Piece::Words(words)))) => report(Engine::Words(&words)),
            Poll::Ready(Some(Ok(Piece::Warning(Warning { code, message, text_ranges })))) => {
                report(Engine::Warning { code, message, text_ranges: &text_ranges });
            }
            Poll::Ready(Some(Err(error))) => {
                let code = failure_code(error.kind);
                telemetry.engine_failed(code.name(), &error);
                report(Engine::Failed { code, message: &error.message });
            }
            Poll::Ready(None) => {
                if let Some(silence) = speech.quiet() {
                    report(Engine::Quiet(silence));
                }
                speeches.pop_front();
                taken.has_finished = true;
                if session.is_sound() {
                    telemetry.engine_spoke();
                }
                session.handle(Input::Engine(Engine::Finished), now);
            }
        }
        taken.took = true;
    }
    taken
}

/// Has a session take the next piece of its writer, or the end of it.
pub(super) fn take_text(
    session: &mut Session,
    script: &mut Option<Box<Script>>,
    written: &Option<Result<ScriptPiece, ScriptError>>,
    telemetry: &Telemetry,
    now: Instant,
) {
    let report = match written {
        Some(Ok(ScriptPiece::Text(text))) => Written::Text(text),
        Some(Ok(ScriptPiece::Warning { code, message })) => {
            Written::Warning { code, message: message.clone() }
        }
        Some(Err(error)) => {
            *script = None;
            let code = if error.is_timeout { Code::LlmTimeout } else { Code::LlmFailed };
            telemetry.writer_failed(code.name());
            Written::Failed { code, message: &error.message }
        }
        None => {
            *script = None;
            Written::Finished
        }
    };
    session.handle(Input::Writer(report), now.into_std());
}

impl Suspended {
    /// True if another server may not be able to go on from its record alone, as long as this one lives. The end of an
    /// answer may not be in the record yet.
    pub(super) fn has_work(&self) -> bool {
        !self.session.is_repeatable() || self.session.stream_source() == Some(TextSource::Llm)
    }

    /// Takes the sentences in flight, and the answer that is being written, to their end, for so long at most.
    pub(super) async fn settle(&mut self, telemetry: &Telemetry, patience: Duration) {
        self.listener.set_away(false);
        self.session.handle(Input::Settle, Instant::now().into_std());
        let settled = poll_fn(|cx| {
            loop {
                self.carry_out();
                let now = Instant::now();
                let Suspended { session, speeches, script, .. } = self;
                if session.is_settled() && script.is_none() {
                    return Poll::Ready(());
                }
                let mut took = take_speech(session, speeches, telemetry, now, cx).took;
                if session.wants_text()
                    && let Some(writer) = script
                    && let Poll::Ready(written) = writer.poll_next(cx)
                {
                    take_text(session, script, &written, telemetry, now);
                    took = true;
                }
                if !took {
                    return Poll::Pending;
                }
            }
        });
        let _ = timeout(patience, settled).await;
    }

    /// Does what the session has decided, as far as that needs no client.
    fn carry_out(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::StopWriting => self.script = None,
                Output::StopSpeaking => {
                    let buffered_bytes = buffered_bytes(&self.speeches);
                    self.speeches.clear();
                    let stopped = Engine::Stopped { buffered_bytes };
                    self.session.handle(Input::Engine(stopped), Instant::now().into_std());
                }
                _ => {}
            }
        }
    }

    /// Gives the session to the server that has claimed it, if only this one has something of it.
    pub(super) fn give(self: Box<Suspended>, leaving: Leaving, shared: &Arc<Shared>) {
        if self.has_work() {
            let shared = Arc::clone(shared);
            tokio::spawn(async move {
                self.give_whole(&shared).await;
                drop(leaving);
            });
        }
    }

    async fn give_whole(mut self: Box<Suspended>, shared: &Shared) {
        self.session.handle(Input::Disconnected, Instant::now().into_std());
        let time = if self.session.is_repeatable() { WRITING_TIME } else { SPEAKING_TIME };
        self.settle(&shared.telemetry, time).await;
        let Some(store) = &shared.store else { return };
        let until = Instant::now() + STORE_TIME;
        loop {
            let now = Instant::now();
            let record = Record::encode_whole(&self.session, &shared.fingerprint, now.into_std());
            if store.give(self.session.id(), record).await.is_ok() || now >= until {
                return;
            }
            sleep(STORE_RETRY).await;
        }
    }
}
