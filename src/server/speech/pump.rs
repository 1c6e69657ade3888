//! The task of one answer: takes audio from the recital, encodes it, and hands it to the HTTP server.
//!
//! It ends as soon as the HTTP server drops the answer, whether it waits for the engine or for the client. An
//! HTTP server takes the next portion once the client has room for it; meanwhile nothing is taken from the engine,
//! which waits in turn.

use super::fault::Fault;
use super::recital::{Recital, Turn, WordTimes};
use crate::access::Holding;
use crate::audio::container::{Container, Muxer};
use crate::server::body::Portion;
use crate::server::service::Shared;
use crate::server::turn;
use crate::session::Wait;
use crate::tts::encoded::UNIT_BYTES;
use crate::tts::{SynthesisError, Utterance};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use serde_json::json;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};

/// Portions that wait for the HTTP server.
const PORTIONS: usize = 2;

/// Bytes of samples that are taken at once if no encoder works on them.
const TURN_BYTES: usize = 16 * 1024;

/// Playing time of one token of audio in `usage`.
const TOKEN: Duration = Duration::from_millis(50);

/// The first that is known of an answer.
pub(super) enum First {
    /// All of it.
    Whole(Bytes),
    /// The first portion. More follow.
    Portion(Portion),
    /// It failed before it began.
    Failed(Fault),
}

/// The HTTP server's end of an answer. Dropping it stops the speech.
pub(super) struct Listener {
    pub(super) first: oneshot::Receiver<First>,
    pub(super) portions: mpsc::Receiver<Portion>,
    pub(super) taken: Arc<AtomicU64>,
}

/// Why an answer ended, for the log.
#[derive(Clone, Copy)]
enum Outcome {
    Completed,
    /// The client left.
    Left,
    Failed,
}

/// Everything that works for one answer.
pub(super) struct Pump {
    pub(super) shared: Arc<Shared>,
    pub(super) recital: Recital,
    pub(super) container: Container,
    pub(super) is_events: bool,
    pub(super) id: Arc<str>,
    pub(super) holding: Holding,
    /// The server's shutdown waits until this is dropped.
    pub(super) stopping: watch::Receiver<bool>,
    /// Longest time of the whole answer.
    pub(super) most_time: Option<Duration>,
    pub(super) began: Instant,
}

impl Pump {
    /// Starts the answer in a task of its own.
    pub(super) fn start(self) -> Listener {
        let (first_sender, first) = oneshot::channel();
        let (sender, portions) = mpsc::channel(PORTIONS);
        let taken = Arc::<AtomicU64>::default();
        let outlet = Outlet { first: Some(first_sender), sender, taken: Arc::clone(&taken) };
        tokio::spawn(self.run(outlet));
        Listener { first, portions, taken }
    }

    async fn run(self, mut outlet: Outlet) {
        let Pump { shared, mut recital, container, is_events, id, mut holding, stopping, most_time, began } =
            self;
        let connection = shared.sessions.enter();
        let running = shared.telemetry.answering.enter();
        let rate = recital.format().sample_rate_hz;
        let script = Script {
            muxer: Muxer::new(container, rate),
            is_events,
            encoded: Vec::new(),
            delay: container.delay(rate),
            is_encoded: container.is_encoded(),
            characters: recital.characters(),
        };
        let (outcome, why) = {
            let end = end(&shared, stopping, most_time);
            let speak = speak(&shared, &mut recital, script, &mut outlet, &mut holding, began, end);
            speak.await
        };
        let format = recital.format();
        let taken = outlet.taken.load(Ordering::Relaxed);
        let (audio, wasted) =
            (format.duration(taken), format.duration(recital.synthesised_bytes().saturating_sub(taken)));
        shared.registry.end_answer(audio, wasted);
        let client = recital.permit().client().to_string();
        tracing::info!(
            target: "aloud::session",
            id = &*id,
            client = client.as_str(),
            format = container.name(),
            outcome = match outcome {
                Outcome::Completed => "completed",
                Outcome::Left => "left",
                Outcome::Failed => "failed",
            },
            reason = why.as_deref().unwrap_or_default(),
            duration_ms = began.elapsed().as_millis() as u64,
            chars = recital.chars(),
            audio_ms = audio.as_millis() as u64,
            wasted_ms = wasted.as_millis() as u64,
            "speech ended"
        );
        // The client has its place again before it sees the end of a failed answer.
        drop((recital, holding, connection, running));
        drop(outlet);
    }
}

/// Ready when the answer has to end, with the reason.
async fn end(shared: &Shared, mut stopping: watch::Receiver<bool>, most_time: Option<Duration>) -> Fault {
    let drained = async {
        // Fails only when the service has gone, which the caller holds.
        let _ = stopping.wait_for(|stop| *stop).await;
        sleep(shared.config.drain_timeout).await;
    };
    let over = async {
        match most_time {
            Some(most) => sleep(most).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = drained => Fault::stopping(),
        () = over => Fault::unavailable("max_session", "The credential allows no longer speech. Send the text in parts."),
    }
}

async fn speak(
    shared: &Shared,
    recital: &mut Recital,
    mut script: Script,
    outlet: &mut Outlet,
    holding: &mut Holding,
    began: Instant,
    end: impl Future<Output = Fault>,
) -> (Outcome, Option<String>) {
    let mut end = pin!(end);
    let (stall_timeout, engine_timeout) = (shared.config.stall_timeout, shared.config.engine_timeout);
    let is_events = script.is_events;
    let most = if script.is_encoded { UNIT_BYTES } else { TURN_BYTES };
    // Decides on the place among the encoders.
    let place = Utterance {
        client: recital.permit().client().key(),
        session: recital.id(),
        ..Utterance::new("", recital.format())
    };
    let mut turn = Turn::default();
    // The turn of the client, while text is read.
    let mut reading = None;
    let mut has_begun = false;
    // Samples that are in the encoder and in no portion yet.
    let mut unsent = 0;
    loop {
        let client = recital.permit().client().clone();
        holding.set(&shared.holdings, &client, recital.held_bytes());
        let gives_up_at = Instant::now() + engine_timeout;
        let late = tokio::select! {
            biased;
            () = outlet.closed() => return (Outcome::Left, None),
            crowded = poll_fn(|cx| match holding.poll(cx) {
                Poll::Ready(()) => Poll::Ready(true),
                Poll::Pending => {
                    let polled = recital.poll_turn(&mut turn, most, cx).map(|()| false);
                    reading = None;
                    polled
                }
            }) => crowded.then(Fault::crowded),
            fault = end.as_mut() => Some(fault),
            () = sleep_until(gives_up_at) => {
                let error = SynthesisError::timeout("The speech engine gave no audio for too long. Send the text again.");
                shared.telemetry.engine_failed("engine_timeout", &error);
                Some(Fault::from(&error))
            }
        };
        if let Some(fault) = late {
            return fail(is_events, outlet, fault, stall_timeout).await;
        }
        if std::mem::take(&mut turn.is_behind) && turn.audio.is_empty() && turn.words.is_empty() {
            reading = tokio::select! {
                biased;
                () = outlet.closed() => return (Outcome::Left, None),
                turn = turn::next(&place.client) => Some(turn),
                fault = end.as_mut() => return fail(is_events, outlet, fault, stall_timeout).await,
            };
            continue;
        }
        let is_last = matches!(turn.end, Some(Ok(())));
        let samples = turn.audio.len() as u64;
        unsent += samples;
        let time = recital.format().duration(recital.synthesised_bytes());
        let bytes = if script.is_encoded && (samples > 0 || is_last) {
            let encode = move || {
                let bytes = script.write(&mut turn, is_last, time);
                (script, turn, bytes)
            };
            let encoded = tokio::select! {
                biased;
                () = outlet.closed() => return (Outcome::Left, None),
                encoded = shared.encoders.work(&place, !has_begun, encode) => encoded,
                fault = end.as_mut() => return fail(is_events, outlet, fault, stall_timeout).await,
            };
            let Some((s, t, bytes)) = encoded else {
                let fault = Fault::from(&SynthesisError::failed("The encoder failed."));
                return fail(is_events, outlet, fault, stall_timeout).await;
            };
            (script, turn) = (s, t);
            bytes
        } else {
            script.write(&mut turn, is_last, time)
        };
        if samples > 0 && !std::mem::replace(&mut has_begun, true) {
            shared.telemetry.waited(Wait::FirstAudio(began.elapsed()));
        }
        if !bytes.is_empty() || is_last {
            let portion = Portion { bytes: bytes.into(), samples: std::mem::take(&mut unsent), is_last };
            tokio::select! {
                biased;
                sent = outlet.send(portion, stall_timeout) => match sent {
                    Ok(()) => {}
                    Err(Unsent::Left) => return (Outcome::Left, None),
                    Err(Unsent::Stalled) => {
                        return (Outcome::Failed, Some(Fault::stalled().message));
                    }
                },
                fault = end.as_mut() => return (Outcome::Failed, Some(fault.message)),
            }
        }
        match turn.end.take() {
            Some(Ok(())) => {
                // Counts until everything was taken.
                tokio::select! {
                    biased;
                    () = outlet.closed() => {}
                    () = sleep(stall_timeout) => return (Outcome::Failed, Some(Fault::stalled().message)),
                    _ = end.as_mut() => {}
                }
                return (Outcome::Completed, None);
            }
            Some(Err(fault)) => return fail(is_events, outlet, fault, stall_timeout).await,
            None => {}
        }
        // Others have their turn.
        yield_now().await;
    }
}

/// Reports a fault: as the answer, if nothing was sent, else as an event, if these are asked for. Audio is broken
/// off.
async fn fail(
    is_events: bool,
    outlet: &mut Outlet,
    fault: Fault,
    stall_timeout: Duration,
) -> (Outcome, Option<String>) {
    let why = fault.message.clone();
    if let Some(first) = outlet.first.take() {
        // Fails if the client has left.
        let _ = first.send(First::Failed(fault));
    } else if is_events {
        let event = format!("data: {}\n\n", fault.event());
        let _ = outlet.send(Portion { bytes: event.into(), samples: 0, is_last: true }, stall_timeout).await;
    }
    (Outcome::Failed, Some(why))
}

/// The answer as bytes: a container, or events.
struct Script {
    muxer: Muxer,
    is_events: bool,
    /// Output of the muxer for one event. Kept for its memory.
    encoded: Vec<u8>,
    /// Time by which the container delays audio.
    delay: Duration,
    /// True if an encoder works, which takes turns.
    is_encoded: bool,
    /// Characters of the text.
    characters: u64,
}

impl Script {
    /// Writes what a turn has given, and empties it. `time` is the length of all audio so far.
    fn write(&mut self, turn: &mut Turn, is_last: bool, time: Duration) -> Vec<u8> {
        let mut out = Vec::new();
        let encoded = if self.is_events { &mut self.encoded } else { &mut out };
        encoded.reserve(turn.audio.len() + 64);
        match is_last {
            true => self.muxer.finish(&turn.audio, encoded),
            false if turn.audio.is_empty() => {}
            false => self.muxer.push(&turn.audio, encoded),
        }
        turn.audio.clear();
        if !self.is_events {
            return out;
        }
        for words in turn.words.drain(..) {
            event(&mut out, &words_event(&words, self.delay));
        }
        if !self.encoded.is_empty() {
            out.extend_from_slice(b"data: {\"type\":\"speech.audio.delta\",\"audio\":\"");
            let at = out.len();
            out.resize(at + base64::encoded_len(self.encoded.len(), true).unwrap_or_default(), 0);
            let written = STANDARD.encode_slice(&self.encoded, &mut out[at..]).unwrap_or_default();
            out.truncate(at + written);
            out.extend_from_slice(b"\"}\n\n");
            self.encoded.clear();
        }
        if is_last {
            let (input, output) = (self.characters, time.as_millis().div_ceil(TOKEN.as_millis()) as u64);
            event(
                &mut out,
                &json!({
                    "type": "speech.audio.done",
                    "usage": {
                        "input_tokens": input,
                        "output_tokens": output,
                        "total_tokens": input + output,
                        "characters": input,
                        "audio_ms": time.as_millis() as u64,
                    },
                }),
            );
        }
        out
    }
}

fn event(out: &mut Vec<u8>, event: &serde_json::Value) {
    out.extend_from_slice(format!("data: {event}\n\n").as_bytes());
}

fn words_event(times: &WordTimes, delay: Duration) -> serde_json::Value {
    // Milliseconds are exact enough, and short.
    let seconds = |time: Duration| (time + delay).as_millis() as f64 / 1e3;
    let words = times
        .words
        .iter()
        .map(|(word, start, end)| json!({ "word": word, "start": seconds(*start), "end": seconds(*end) }));
    let words: Vec<_> = words.collect();
    json!({
        "type": "speech.text.words",
        "index": times.index,
        "text": times.text,
        "estimate": times.is_estimate,
        "words": words,
    })
}

/// The speaker's end of an answer.
struct Outlet {
    /// Taken with the first portion.
    first: Option<oneshot::Sender<First>>,
    sender: mpsc::Sender<Portion>,
    taken: Arc<AtomicU64>,
}

/// A portion that was not sent.
enum Unsent {
    /// The HTTP server has dropped the answer.
    Left,
    /// It took nothing for too long.
    Stalled,
}

impl Outlet {
    /// Ready once the HTTP server has dropped the answer, or has taken all of it.
    async fn closed(&self) {
        self.sender.closed().await;
    }

    async fn send(&mut self, portion: Portion, stall_timeout: Duration) -> Result<(), Unsent> {
        if let Some(first) = self.first.take() {
            let first_portion = match portion.is_last {
                true => {
                    self.taken.fetch_add(portion.samples, Ordering::Relaxed);
                    First::Whole(portion.bytes)
                }
                false => First::Portion(portion),
            };
            return first.send(first_portion).map_err(|_| Unsent::Left);
        }
        tokio::select! {
            biased;
            sent = self.sender.send(portion) => sent.map_err(|_| Unsent::Left),
            () = sleep(stall_timeout) => Err(Unsent::Stalled),
        }
    }
}
