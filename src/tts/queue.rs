//! Limits the utterances that an engine has in flight, and orders the others.
//!
//! The engine gets a slot with the utterance. The slot is free again once the engine has ended the
//! [`Sink`](super::Sink), or has dropped both the [`Utterance`] and the sink, so no engine has to free
//! it. Slots bound what is alive: programs, and requests to services.

use super::listener::Listener;
use super::rounds::{self, Place, Rounds, Urgency};
use super::speech::{Part, Relay};
use super::{Backlog, Piece, Speech, SynthesisError, Synthesizer, Utterance, Voice};
use crate::audio::Format;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep};

/// Time after which a queue looks at an engine that waits for its listener, again and again.
pub(super) const STALL_TIMEOUT: Duration = Duration::from_millis(250);

/// Time without any progress after which an engine is stopped because its listener takes nothing.
const GIVE_UP: Duration = Duration::from_secs(10);

/// The same, if another client waits for a slot.
const GIVE_UP_FOR_OTHERS: Duration = Duration::from_secs(2);

/// Most audio that waits in a sink, in bytes, if the engine runs ahead of a slow listener because others
/// wait for its slot. The channel and the last read are not included.
const RUN_AHEAD_BYTES: usize = 160 * 1024;

/// Limits of a [`Queue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueBounds {
    /// Most utterances in flight, at least one. Default: 4.
    pub concurrency: usize,
    /// Most utterances that wait for a slot. Beyond it an utterance of the client that has most fails as
    /// [`Overloaded`](super::SynthesisErrorKind::Overloaded). Default: 1,000.
    pub waiting: usize,
    /// Longest wait of a listener for a slot, after which the utterance fails in the same way. The
    /// wait begins when the listener first polls the speech: an utterance that is requested ahead
    /// waits as long as the sentence before it plays. Default: 10 s.
    pub timeout: Duration,
}

impl Default for QueueBounds {
    fn default() -> QueueBounds {
        QueueBounds { concurrency: 4, waiting: 1_000, timeout: Duration::from_secs(10) }
    }
}

/// An engine that limits the utterances another engine has in flight, and serves the clients in turn.
///
/// Further utterances wait. A free slot goes to the [client](Utterance::client) that has the fewest. Among
/// equals, turns go round the clients, then the [sessions](Utterance::session) of a client. Within a
/// session, utterances keep their order.
///
/// - A slot is in use until the engine ends the sink, or drops the utterance and the sink. So there are
///   never more programs or requests than slots. That includes utterances whose listener is gone,
///   because an engine may need time to stop.
/// - While others wait, an engine whose listener is slow does not wait for it: up to 160 KiB more of its
///   audio is buffered, so that it ends and frees its slot.
/// - An engine is stopped if its listener takes nothing for 10 s, or for 2 s while another client waits:
///   its session is paused, or has lost its connection. When the listener takes audio again, the
///   utterance waits for a slot, and is spoken from its beginning; the bytes that the listener has are
///   skipped. An engine that is not [deterministic](Synthesizer::is_deterministic) would continue in
///   another take, so it is stopped only while others wait.
/// - An utterance of a session that is paused, or has no connection, gets no slot. It waits until the session goes
///   on, without a limit.
/// - Prepared audio ([`Speech::ready`]) needs no slot.
pub struct Queue {
    state: Arc<State>,
}

impl Queue {
    /// Creates a queue for this engine.
    pub fn new(engine: Arc<dyn Synthesizer>, bounds: QueueBounds) -> Queue {
        let line = Line { free: bounds.concurrency.max(1), ..Line::default() };
        Queue { state: Arc::new(State { engine, bounds, line: Mutex::new(line) }) }
    }

    /// Number of utterances that wait for a slot.
    pub fn waiting(&self) -> usize {
        self.state.line().rounds.len()
    }

    /// Number of free slots.
    #[cfg(test)]
    fn free(&self) -> usize {
        self.state.line().free
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.state.line();
        f.debug_struct("Queue")
            .field("engine", &self.state.engine.name())
            .field("bounds", &self.state.bounds)
            .field("waiting", &line.rounds.len())
            .field("free", &line.free)
            .finish_non_exhaustive()
    }
}

impl Synthesizer for Queue {
    fn name(&self) -> &str {
        self.state.engine.name()
    }

    fn format(&self) -> Format {
        self.state.engine.format()
    }

    fn supports(&self, format: Format) -> bool {
        self.state.engine.supports(format)
    }

    fn voices(&self) -> Vec<Voice> {
        self.state.engine.voices()
    }

    fn is_deterministic(&self) -> bool {
        self.state.engine.is_deterministic()
    }

    fn normalizes(&self) -> bool {
        self.state.engine.normalizes()
    }

    fn speeds(&self) -> RangeInclusive<f32> {
        self.state.engine.speeds()
    }

    fn engines(&self) -> Vec<&dyn Synthesizer> {
        self.state.engine.engines()
    }

    fn backlog(&self) -> Backlog {
        let line = self.state.line();
        let waiting = line.rounds.len();
        // Otherwise the client that has most gives its place to a client that asks.
        let is_shared = line.rounds.most() <= 1;
        Backlog { waiting, is_full: line.free == 0 && waiting >= self.state.bounds.waiting && is_shared }
    }

    fn speak(&self, utterance: Utterance) -> Speech {
        let mut turn = Turn {
            state: Arc::clone(&self.state),
            utterance: Box::new(utterance),
            stage: Stage::Over,
            received_bytes: 0,
            received_words: 0,
            skipped_bytes: 0,
            skipped_words: 0,
        };
        match turn.ask() {
            Ok(()) => Speech::relayed(turn),
            Err(error) => Speech::failed(error),
        }
    }
}

/// Permission to be in flight, until the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Slot(Arc<Held>);

struct Held {
    state: Arc<State>,
    client: Arc<str>,
    is_held: AtomicBool,
}

/// Decision on an engine whose listener takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Wait,
    /// The engine continues, and its audio is buffered.
    RunAhead,
    /// The engine stops.
    GiveUp,
}

impl Slot {
    /// Frees the slot: the engine's work is over.
    pub(super) fn release(&self) {
        self.0.release();
    }

    /// True if the engine may continue with this much audio that waits for its listener.
    pub(super) fn may_run_ahead(&self, waiting_bytes: usize) -> bool {
        waiting_bytes < RUN_AHEAD_BYTES && self.0.state.line().rounds.len() > 0
    }

    /// Decides on an engine whose listener has taken nothing for this time.
    pub(super) fn on_stall(&self, stalled: Duration, waiting_bytes: usize) -> Verdict {
        if self.may_run_ahead(waiting_bytes) {
            return Verdict::RunAhead;
        }
        let Held { state, client, .. } = &*self.0;
        let (is_wanted, is_wanted_by_others) = {
            let line = state.line();
            (line.rounds.len() > 0, line.rounds.clients().any(|waiting| waiting != client))
        };
        let limit = if is_wanted_by_others { GIVE_UP_FOR_OTHERS } else { GIVE_UP };
        match stalled >= limit && (is_wanted || state.engine.is_deterministic()) {
            true => Verdict::GiveUp,
            false => Verdict::Wait,
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}

impl Held {
    fn release(&self) {
        if self.is_held.swap(false, Ordering::Relaxed) {
            self.state.line().free_slot(&self.client);
            self.state.serve();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

struct State {
    engine: Arc<dyn Synthesizer>,
    bounds: QueueBounds,
    line: Mutex<Line>,
}

/// Slots, and the utterances that wait for one.
#[derive(Default)]
struct Line {
    /// Number of free slots.
    free: usize,
    /// Number of slots that each client has, if any.
    held: HashMap<Arc<str>, usize>,
    /// True while a thread assigns slots. It will find slots that are freed meanwhile.
    is_serving: bool,
    rounds: Rounds<Arc<Seat>>,
    /// Utterances whose turn came while their listener was away, by session. A session has few of them.
    away: HashMap<Arc<str>, Vec<(Place, Arc<Seat>)>>,
}

impl Line {
    /// Takes a slot for a client.
    fn take_slot(&mut self, client: &Arc<str>) {
        self.free -= 1;
        *self.held.entry(Arc::clone(client)).or_default() += 1;
    }

    /// Frees a slot of a client.
    fn free_slot(&mut self, client: &Arc<str>) {
        self.free += 1;
        if let Some(held) = self.held.get_mut(client) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(client);
            }
        }
    }

    /// True if nothing that waits can begin now.
    fn is_busy(&self) -> bool {
        self.free == 0 || self.rounds.len() == 0
    }

    /// Takes the next utterance from the line, and a slot for its client, if one is free.
    fn next_seat(&mut self) -> Option<(Arc<str>, Arc<Seat>)> {
        while self.free > 0 {
            let held = &self.held;
            let load = |client: &Arc<str>| held.get(client).copied().unwrap_or_default();
            let (place, seat) = self.rounds.pop_least(load)?;
            if !seat.listener.is_away() {
                self.take_slot(place.client());
                return Some((Arc::clone(place.client()), seat));
            }
            self.away.entry(Arc::clone(place.session())).or_default().push((place, seat));
        }
        None
    }

    /// Puts the utterances of a session back into the line, since its listener is there again.
    fn welcome(&mut self, session: &Arc<str>) {
        for (place, seat) in self.away.remove(session).unwrap_or_default() {
            self.rounds.put(&place, Urgency::Usual, seat);
        }
    }

    /// Takes an utterance out of the line. `None` if it has left the line already.
    fn remove(&mut self, place: &Place) -> Option<Arc<Seat>> {
        self.welcome(place.session());
        self.rounds.remove(place)
    }
}

impl State {
    /// Locks the line. A poisoned lock is safe to use: nothing panics in the middle of a change.
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the slot that was taken for a client.
    fn slot(self: &Arc<State>, client: Arc<str>) -> Slot {
        Slot(Arc::new(Held { state: Arc::clone(self), client, is_held: AtomicBool::new(true) }))
    }

    /// Passes an utterance to the engine, with its slot.
    fn begin(&self, mut utterance: Utterance, slot: Slot) -> Speech {
        utterance.slot = Some(slot);
        self.engine.speak(utterance)
    }

    /// Assigns free slots to waiting utterances.
    ///
    /// An engine that fails at once frees its slot during this call. The loop then assigns the slot
    /// again, without recursion.
    fn serve(self: &Arc<State>) {
        if std::mem::replace(&mut self.line().is_serving, true) {
            return;
        }
        loop {
            let (client, seat) = {
                let mut line = self.line();
                let Some(next) = line.next_seat() else {
                    line.is_serving = false;
                    return;
                };
                next
            };
            self.start(&seat, self.slot(client));
        }
    }

    /// Lets the utterances of a session wait for a slot again, since its listener is there.
    fn welcome(self: &Arc<State>, session: &Arc<str>) {
        let is_served = {
            let mut line = self.line();
            line.welcome(session);
            line.is_busy()
        };
        if !is_served {
            self.serve();
        }
    }

    /// Starts an utterance that has left the line.
    fn start(&self, seat: &Seat, slot: Slot) {
        let Progress::Waiting { utterance, runtime } =
            std::mem::replace(&mut seat.lock().0, Progress::Starting)
        else {
            // The listener left just now. Dropping the slot frees it.
            return;
        };
        // A slot may be freed on an engine's own thread, outside of the runtime.
        let _inside = runtime.enter();
        // A panic must not reach the thread that freed the slot: the utterance is another one's.
        let speech = catch_unwind(AssertUnwindSafe(|| self.begin(*utterance, slot)));
        let speech = speech.unwrap_or_else(|_| {
            Speech::failed(SynthesisError::failed("The speech engine failed before it started."))
        });
        let (unwanted, waker) = {
            let mut progress = seat.lock();
            match progress.0 {
                Progress::Left => (Some(speech), None),
                _ => {
                    progress.0 = Progress::Speaking(speech);
                    (None, progress.1.take())
                }
            }
        };
        // Outside of the lock: dropping the speech ends the engine's work, which frees the slot.
        drop(unwanted);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Progress of an utterance that has to wait, shared by its speech and the line.
struct Seat {
    listener: Listener,
    progress: Mutex<(Progress, Option<Waker>)>,
}

enum Progress {
    Waiting {
        utterance: Box<Utterance>,
        runtime: Handle,
    },
    /// The engine is being called.
    Starting,
    Speaking(Speech),
    /// The listener left, or has taken the speech.
    Left,
}

impl Seat {
    fn lock(&self) -> MutexGuard<'_, (Progress, Option<Waker>)> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The listener's end of an utterance.
struct Turn {
    state: Arc<State>,
    /// Kept to speak it again.
    utterance: Box<Utterance>,
    stage: Stage,
    /// Audio bytes and words that the listener has received.
    received_bytes: u64,
    received_words: usize,
    /// Audio bytes and words still to be skipped: the listener has them.
    skipped_bytes: u64,
    skipped_words: usize,
}

enum Stage {
    Waiting {
        seat: Arc<Seat>,
        place: Place,
        /// Exists while the listener waits.
        timeout: Option<Pin<Box<Sleep>>>,
    },
    Speaking(Speech),
    Over,
}

impl Turn {
    /// Asks the engine, or waits in line.
    fn ask(&mut self) -> Result<(), SynthesisError> {
        let state = &self.state;
        let client = rounds::client(&self.utterance);
        let mut line = state.line();
        let waiting = line.rounds.len();
        if line.free > 0 && waiting == 0 && !self.utterance.listener.is_away() {
            line.take_slot(client);
            drop(line);
            let slot = state.slot(Arc::clone(client));
            self.stage = Stage::Speaking(state.begin((*self.utterance).clone(), slot));
            return Ok(());
        }
        let mut displaced = None;
        if waiting >= state.bounds.waiting {
            let message = format!(
                "The speech engine is overloaded: {waiting} sentences are waiting (limit {}). Retry later.",
                state.bounds.waiting
            );
            let error = SynthesisError::overloaded(message);
            // A client takes a place only if it has fewer afterwards than the one that gives it.
            if line.rounds.held_by(client) + 1 >= line.rounds.most() {
                return Err(error);
            }
            displaced = line.rounds.remove_of_most().map(|seat| (seat, error));
        }
        let progress = Progress::Waiting { utterance: self.utterance.clone(), runtime: Handle::current() };
        let listener = self.utterance.listener.clone();
        let seat = Arc::new(Seat { listener, progress: Mutex::new((progress, None)) });
        let place = line.rounds.push(&self.utterance, Urgency::Usual, Arc::clone(&seat));
        self.stage = Stage::Waiting { seat, place, timeout: None };
        // Those of listeners who are away do not keep the others waiting.
        let is_busy = line.is_busy();
        drop(line);
        if !is_busy {
            state.serve();
        }
        if let Some((seat, error)) = displaced {
            let waker = {
                let mut progress = seat.lock();
                if let Progress::Waiting { .. } = progress.0 {
                    progress.0 = Progress::Speaking(Speech::failed(error));
                }
                progress.1.take()
            };
            waker.iter().for_each(Waker::wake_by_ref);
        }
        Ok(())
    }

    /// Takes a piece from the engine. `None` if the listener has it.
    fn pass(&mut self, piece: Piece) -> Option<Piece> {
        match piece {
            Piece::Audio(mut chunk) => {
                let known = self.skipped_bytes.min(chunk.len() as u64);
                self.skipped_bytes -= known;
                let chunk = chunk.split_off(known as usize);
                self.received_bytes += chunk.len() as u64;
                (!chunk.is_empty()).then_some(Piece::Audio(chunk))
            }
            Piece::Words(mut words) => {
                let known = self.skipped_words.min(words.len());
                self.skipped_words -= known;
                let words = words.split_off(known);
                self.received_words += words.len();
                (!words.is_empty()).then_some(Piece::Words(words))
            }
            Piece::Warning(_) => Some(piece),
        }
    }
}

impl Relay for Turn {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, SynthesisError>>> {
        loop {
            match &mut self.stage {
                Stage::Over => return Poll::Ready(None),
                Stage::Speaking(speech) => match ready!(speech.poll_part(cx)) {
                    Part::Piece(piece) => {
                        if let Some(piece) = self.pass(piece) {
                            return Poll::Ready(Some(Ok(piece)));
                        }
                    }
                    Part::GivenUp => {
                        (self.skipped_bytes, self.skipped_words) = (self.received_bytes, self.received_words);
                        if let Err(error) = self.ask() {
                            self.stage = Stage::Over;
                            return Poll::Ready(Some(Err(error)));
                        }
                    }
                    Part::Failed(error) => {
                        self.stage = Stage::Over;
                        return Poll::Ready(Some(Err(error)));
                    }
                    Part::Finished => {
                        self.stage = Stage::Over;
                        return Poll::Ready(None);
                    }
                },
                Stage::Waiting { seat, place, timeout } => {
                    let mut progress = seat.lock();
                    if let Progress::Speaking(_) = progress.0
                        && let Progress::Speaking(speech) = std::mem::replace(&mut progress.0, Progress::Left)
                    {
                        drop(progress);
                        self.stage = Stage::Speaking(speech);
                        continue;
                    }
                    progress.1 = Some(cx.waker().clone());
                    drop(progress);
                    if seat.listener.poll(cx).is_pending() {
                        *timeout = None;
                        return Poll::Pending;
                    }
                    self.state.welcome(&self.utterance.session);
                    let limit = self.state.bounds.timeout;
                    let timeout = timeout.get_or_insert_with(|| Box::pin(sleep(limit)));
                    ready!(timeout.as_mut().poll(cx));
                    if self.state.line().remove(place).is_none() {
                        // It has left the line: its speech is about to arrive.
                        return Poll::Pending;
                    }
                    let message = format!(
                        "The speech engine is overloaded: no free slot within {} ms. Retry later.",
                        limit.as_millis()
                    );
                    self.stage = Stage::Over;
                    return Poll::Ready(Some(Err(SynthesisError::overloaded(message))));
                }
            }
        }
    }

    fn buffered_bytes(&self) -> u64 {
        let buffered = match &self.stage {
            Stage::Speaking(speech) => speech.buffered_bytes(),
            Stage::Waiting { seat, .. } => match &seat.lock().0 {
                Progress::Speaking(speech) => speech.buffered_bytes(),
                _ => 0,
            },
            Stage::Over => 0,
        };
        buffered.saturating_sub(self.skipped_bytes)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Stage::Waiting { seat, place, .. } = &self.stage {
            let waiting = self.state.line().remove(place);
            let progress = std::mem::replace(&mut seat.lock().0, Progress::Left);
            // Outside of the locks: dropping a speech frees its slot.
            drop((waiting, progress));
        }
    }
}

#[cfg(test)]
mod tests;
