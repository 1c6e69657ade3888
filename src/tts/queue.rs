//! Limits the utterances that an engine has in flight, and orders the others.
//!
//! The engine gets a slot with the utterance. The slot is free again once the engine has ended the
//! [`Sink`](super::Sink), or has dropped both the [`Utterance`] and the sink, so no engine has to free
//! it. Slots bound what is alive: programs, and requests to services.

use super::rounds::{self, Rounds};
use super::speech::{Part, Relay};
use super::{Backlog, Piece, Speech, SynthesisError, Synthesizer, Utterance, Voice};
use crate::audio::Format;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
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

    /// Takes the next utterance from the line, and a slot for its client, if one is free.
    fn next_seat(&mut self) -> Option<(Arc<str>, Arc<Seat>)> {
        if self.free == 0 {
            return None;
        }
        let held = &self.held;
        let (place, seat) = self.rounds.pop_least(|client| held.get(client).copied().unwrap_or_default())?;
        self.take_slot(place.client());
        Some((Arc::clone(place.client()), seat))
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
struct Seat(Mutex<(Progress, Option<Waker>)>);

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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        place: rounds::Place,
        /// Exists once the listener waits.
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
        if line.free > 0 && waiting == 0 {
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
        let seat = Arc::new(Seat(Mutex::new((progress, None))));
        let place = line.rounds.push(&self.utterance, false, Arc::clone(&seat));
        self.stage = Stage::Waiting { seat, place, timeout: None };
        drop(line);
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
                    let limit = self.state.bounds.timeout;
                    let timeout = timeout.get_or_insert_with(|| Box::pin(sleep(limit)));
                    ready!(timeout.as_mut().poll(cx));
                    if self.state.line().rounds.remove(place).is_none() {
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
            let waiting = self.state.line().rounds.remove(place);
            let progress = std::mem::replace(&mut seat.lock().0, Progress::Left);
            // Outside of the locks: dropping a speech frees its slot.
            drop((waiting, progress));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{all, pieces, soon};
    use super::super::{Sink, SynthesisErrorKind};
    use super::*;
    use crate::audio::Encoding;
    use crate::gauge::{Counted, Gauge};
    use std::future::poll_fn;
    use tokio::sync::mpsc;
    use tokio::time::Instant;

    const PCM: Format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 };

    /// An engine that passes its utterances and sinks to the test.
    struct Scripted(mpsc::UnboundedSender<(Utterance, Sink)>);

    impl Synthesizer for Scripted {
        fn name(&self) -> &str {
            "scripted"
        }

        fn format(&self) -> Format {
            PCM
        }

        fn speak(&self, utterance: Utterance) -> Speech {
            match utterance.text.as_str() {
                "fail" => return Speech::failed(SynthesisError::failed("Enough.")),
                "panic" => panic!("a panic that this test causes"),
                _ => {}
            }
            let (sink, speech) = Speech::channel(&utterance, 8_000);
            self.0.send((utterance, sink)).expect("the test is waiting");
            speech
        }
    }

    type Asked = mpsc::UnboundedReceiver<(Utterance, Sink)>;

    fn queue(concurrency: usize, waiting: usize) -> (Queue, Asked) {
        let (sender, asked) = mpsc::unbounded_channel();
        let bounds = QueueBounds { concurrency, waiting, ..QueueBounds::default() };
        (Queue::new(Arc::new(Scripted(sender)), bounds), asked)
    }

    fn of(session: &str, text: &str) -> Utterance {
        Utterance { session: Arc::from(session), ..Utterance::new(text, PCM) }
    }

    /// Returns the utterances that the engine was asked for.
    fn texts(asked: &mut Asked) -> Vec<(String, Sink)> {
        let mut texts = Vec::new();
        while let Ok((utterance, sink)) = asked.try_recv() {
            texts.push((utterance.text, sink));
        }
        texts
    }

    async fn once(speech: &mut Speech) -> Poll<Option<Result<Piece, SynthesisError>>> {
        poll_fn(|cx| Poll::Ready(speech.poll_next(cx))).await
    }

    #[tokio::test]
    async fn no_more_utterances_are_in_flight_than_there_are_slots() {
        let (queue, mut asked) = queue(3, 100);
        let mut speeches: Vec<Speech> =
            (0..10).map(|n| queue.speak(of(&format!("s{n}"), &n.to_string()))).collect();
        assert_eq!((queue.free(), queue.waiting()), (0, 7));
        let mut begun = Vec::new();
        let mut working = texts(&mut asked);
        assert_eq!(working.len(), 3);
        while !working.is_empty() {
            let (text, sink) = working.remove(0);
            begun.push(text);
            tokio::spawn(sink.finish());
            let speech = speeches.remove(0);
            assert_eq!(all(speech).await, (vec![], None));
            working.extend(texts(&mut asked));
            assert!(working.len() <= 3);
        }
        assert_eq!(begun, (0..10).map(|n| n.to_string()).collect::<Vec<_>>(), "sessions in order");
        assert_eq!((queue.free(), queue.waiting()), (3, 0));
    }

    #[tokio::test]
    async fn turns_go_round_over_sessions() {
        let (queue, mut asked) = queue(1, 100);
        // One session with many utterances, then a second one, then a third one.
        let names = ["a1", "a2", "a3", "a4", "b1", "b2", "c1"];
        let speeches: Vec<Speech> = names.iter().map(|name| queue.speak(of(&name[..1], name))).collect();
        let mut order = Vec::new();
        for speech in speeches {
            // Each has a listener of its own, as in different sessions.
            tokio::spawn(all(speech));
        }
        for _ in names {
            let (utterance, sink) = soon(asked.recv()).await.expect("one more");
            order.push(utterance.text.clone());
            drop(utterance);
            sink.finish().await;
        }
        assert_eq!(order, ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]);
    }

    #[tokio::test]
    async fn one_utterance_more_than_may_wait_fails_at_once() {
        let (queue, mut asked) = queue(1, 2);
        let mut speeches: Vec<Speech> = (0..3).map(|n| queue.speak(of("s", &n.to_string()))).collect();
        let (chunks, error) = all(queue.speak(of("s", "late"))).await;
        let error = error.expect("an error");
        assert!(chunks.is_empty() && error.message.contains("2 sentences are waiting (limit 2)"), "{error}");
        assert_eq!(error.kind, SynthesisErrorKind::Overloaded);
        // An utterance that leaves makes room for another.
        drop(speeches.pop());
        assert_eq!(queue.waiting(), 1);
        speeches.push(queue.speak(of("t", "late")));
        assert_eq!(queue.waiting(), 2);
        assert_eq!(texts(&mut asked).len(), 1);
    }

    #[tokio::test]
    async fn an_utterance_that_leaves_the_line_is_never_started() {
        let (queue, mut asked) = queue(1, 100);
        let first = queue.speak(of("a", "first"));
        let mut others: Vec<Speech> = ["a", "b", "a", "c"].map(|s| queue.speak(of(s, s))).into();
        // In the middle of the line, the only one of its session, and polled.
        assert!(once(&mut others[1]).await.is_pending());
        for (n, left) in [(1, 3), (0, 2)] {
            drop(others.remove(n));
            assert_eq!(queue.waiting(), left);
        }
        drop(texts(&mut asked));
        drop(first);
        let order: Vec<String> = texts(&mut asked).into_iter().map(|(text, _)| text).collect();
        assert_eq!(order[0], "a");
        drop(others);
        drop(texts(&mut asked));
        assert_eq!((queue.free(), queue.waiting()), (1, 0));
        let line = queue.state.line();
        assert!(line.rounds.len() == 0 && line.held.is_empty());
    }

    #[tokio::test]
    async fn a_client_that_fills_the_line_gives_places_to_the_others() {
        let (queue, mut asked) = queue(1, 4);
        let for_client = |client: &str, session: &str| {
            queue.speak(Utterance { client: Arc::from(client), ..of(session, session) })
        };
        let _running = for_client("a", "a0");
        let mut greedy: Vec<Speech> = ["a1", "a2", "a3", "a4"].map(|s| for_client("a", s)).into();
        assert_eq!(queue.waiting(), 4);
        assert!(!queue.backlog().is_full, "another client gets a place");
        let mut own = for_client("a", "a5");
        let refused = once(&mut own).await;
        assert!(matches!(refused, Poll::Ready(Some(Err(_)))), "its own");
        let mut others = vec![for_client("b", "b1"), for_client("c", "c1")];
        assert_eq!(queue.waiting(), 4);
        for (n, speech) in greedy.iter_mut().enumerate() {
            let is_displaced = n >= 2;
            assert_eq!(matches!(once(speech).await, Poll::Ready(Some(Err(_)))), is_displaced, "a{}", n + 1);
        }
        // Two, one and one: it would have as many as the one that gives.
        let mut more = for_client("b", "b2");
        assert!(matches!(once(&mut more).await, Poll::Ready(Some(Err(_)))));
        let mut fourth = for_client("d", "d1");
        assert!(once(&mut fourth).await.is_pending());
        assert!(queue.backlog().is_full, "each has one");
        for speech in &mut others {
            assert!(once(speech).await.is_pending());
        }
        drop(texts(&mut asked));
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_waits_has_a_timeout_and_one_that_does_not_poll_has_none() {
        let (queue, mut asked) = queue(1, 100);
        let _first = queue.speak(of("a", "first"));
        let working = texts(&mut asked);
        let (waiting, mut ahead) = (queue.speak(of("b", "b1")), queue.speak(of("b", "b2")));
        let began = Instant::now();
        let (chunks, error) = all(waiting).await;
        assert_eq!(began.elapsed(), Duration::from_secs(10));
        let error = error.expect("an error");
        assert_eq!((chunks.len(), error.kind), (0, SynthesisErrorKind::Overloaded));
        assert!(error.message.contains("10000 ms"), "{error}");
        // The other one was requested at the same time, but its wait begins now.
        assert!(once(&mut ahead).await.is_pending());
        tokio::time::advance(Duration::from_millis(9_900)).await;
        assert!(once(&mut ahead).await.is_pending());
        drop(working);
        assert_eq!(texts(&mut asked)[0].0, "b2");
    }

    #[tokio::test]
    async fn an_utterance_that_is_requested_ahead_starts_without_being_polled() {
        let (queue, mut asked) = queue(1, 100);
        let first = queue.speak(of("a", "a1"));
        let mut second = queue.speak(of("a", "a2"));
        assert_eq!(second.buffered_bytes(), 0);
        let (_, sink) = asked.recv().await.expect("the first");
        tokio::spawn(sink.finish());
        assert_eq!(all(first).await, (vec![], None));
        let (_, mut sink) = soon(asked.recv()).await.expect("the second");
        sink.push(&[7; 320]).expect("not cancelled");
        assert_eq!(second.buffered_bytes(), 640);
        assert!(matches!(once(&mut second).await, Poll::Ready(Some(Ok(Piece::Audio(_))))));
        assert_eq!(second.buffered_bytes(), 0);
    }

    #[tokio::test]
    async fn a_listener_that_leaves_frees_the_slot_once_the_engine_has_stopped() {
        let (queue, mut asked) = queue(1, 100);
        let (first, second) = (queue.speak(of("a", "a")), queue.speak(of("b", "b")));
        let (utterance, sink) = asked.recv().await.expect("the first");
        drop(first);
        assert!(sink.is_cancelled());
        assert_eq!((queue.free(), queue.waiting()), (0, 1), "the engine has not noticed yet");
        drop(sink);
        assert_eq!(queue.waiting(), 1, "the engine still holds the utterance");
        drop(utterance);
        assert_eq!(queue.waiting(), 0);
        drop(second);
    }

    /// Utterance of this client.
    fn from(client: &str, session: &str, text: &str) -> Utterance {
        Utterance { client: Arc::from(client), ..of(session, text) }
    }

    /// Writes this many bytes as a program would: a little, then a wait for the listener. Returns true if
    /// it came to its end, false if it was stopped.
    fn writing(sink: Sink, bytes: usize) -> tokio::task::JoinHandle<bool> {
        writing_while(sink, bytes, Gauge::default().enter())
    }

    /// The same, for a program that is counted while it is alive.
    fn writing_while(mut sink: Sink, bytes: usize, alive: Counted) -> tokio::task::JoinHandle<bool> {
        tokio::spawn(async move {
            for first in (0..bytes / 2).step_by(1_000) {
                let samples: Vec<i16> = (first..first + 1_000).map(|n| (n % 30_000) as i16).collect();
                if sink.write(&samples).await.is_err() {
                    drop(alive);
                    return false;
                }
            }
            drop(alive);
            sink.finish().await;
            true
        })
    }

    /// Takes the rest of a speech.
    async fn rest(speech: Speech) -> Vec<u8> {
        let (chunks, error) = all(speech).await;
        assert_eq!(error, None);
        chunks.concat()
    }

    fn expected(bytes: usize) -> Vec<u8> {
        (0..bytes / 2).flat_map(|n| ((n % 30_000) as i16).to_le_bytes()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_whose_listener_stalls_runs_ahead_while_others_wait_and_keeps_its_slot() {
        let (queue, mut asked) = queue(1, 100);
        let paused = queue.speak(of("a", "long"));
        let (_, sink) = asked.recv().await.expect("the long one");
        let writing = writing(sink, 160_000);
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert_eq!(queue.free(), 0, "the engine is alive");
        assert!(paused.buffered_bytes() < 24 * 1024, "{} bytes", paused.buffered_bytes());
        let began = Instant::now();
        let other = queue.speak(of("b", "short"));
        let (utterance, sink) = soon(asked.recv()).await.expect("the short one");
        assert!(began.elapsed() <= STALL_TIMEOUT, "the long one came to its end");
        assert_eq!(paused.buffered_bytes(), 160_000);
        drop(utterance);
        tokio::spawn(sink.finish());
        assert_eq!(all(other).await, (vec![], None));
        assert_eq!(rest(paused).await, expected(160_000));
        assert!(soon(writing).await.expect("no panic"));
        assert_eq!(queue.free(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_is_stopped_for_another_client_and_continues_with_the_next_byte() {
        let (queue, mut asked) = queue(1, 100);
        const BYTES: usize = 1_000_000;
        let mut paused = queue.speak(from("a", "a", "long"));
        let (_, sink) = asked.recv().await.expect("the long one");
        let first = writing(sink, BYTES);
        let mut received = Vec::new();
        for _ in 0..5 {
            received.extend_from_slice(&super::super::testing::chunk(
                soon(paused.next()).await.expect("more").expect("audio"),
            ));
        }
        let began = Instant::now();
        let other = queue.speak(from("b", "b", "short"));
        let (_, sink) = soon(asked.recv()).await.expect("the short one");
        let waited = began.elapsed();
        assert!(waited >= GIVE_UP_FOR_OTHERS && waited <= GIVE_UP_FOR_OTHERS * 2, "{waited:?}");
        assert!(!soon(first).await.expect("no panic"), "stopped");
        assert!(paused.buffered_bytes() < 24 * 1024 + RUN_AHEAD_BYTES as u64);
        // Its listener goes on while the slot is in use.
        let reading = tokio::spawn(async move {
            received.extend(rest(paused).await);
            received
        });
        tokio::task::yield_now().await;
        assert!(asked.is_empty());
        tokio::spawn(sink.finish());
        assert_eq!(all(other).await, (vec![], None));
        let (utterance, sink) = soon(asked.recv()).await.expect("the long one again");
        assert_eq!(utterance.text, "long");
        drop(utterance);
        let second = writing(sink, BYTES);
        assert_eq!(soon(reading).await.expect("no panic"), expected(BYTES));
        assert!(soon(second).await.expect("no panic"));
        assert_eq!(queue.free(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_engines_are_alive_than_slots_however_many_sessions_are_paused() {
        let (queue, mut asked) = queue(2, 1_000);
        let alive = Gauge::default();
        let paused: Vec<Speech> = (0..60).map(|n| queue.speak(from("a", &n.to_string(), "long"))).collect();
        let counting = alive.clone();
        let engine = tokio::spawn(async move {
            let mut most = 0;
            while let Some((_, sink)) = asked.recv().await {
                writing_while(sink, 1_000_000, counting.enter());
                most = counting.count().max(most);
            }
            most
        });
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert!(alive.count() <= 2);
        // Another client gets a slot soon.
        let began = Instant::now();
        let mut other = queue.speak(from("b", "b", "long"));
        assert!(soon(other.next()).await.is_some_and(|piece| piece.is_ok()));
        assert!(began.elapsed() <= GIVE_UP_FOR_OTHERS * 2, "{:?}", began.elapsed());
        drop((paused, other, queue));
        assert_eq!(soon(engine).await.expect("no panic"), 2);
    }

    #[tokio::test]
    async fn a_free_slot_goes_to_the_client_that_has_the_fewest() {
        let (queue, mut asked) = queue(3, 100);
        let mut speeches: Vec<Speech> =
            (0..9).map(|n| queue.speak(from("many", &n.to_string(), "many"))).collect();
        speeches.extend((0..2).map(|n| queue.speak(from("few", &format!("f{n}"), "few"))));
        let mut working = texts(&mut asked);
        for expected in ["few", "many", "few"] {
            drop(working.remove(0));
            let (text, sink) = texts(&mut asked).remove(0);
            assert_eq!(text, expected);
            working.push((text, sink));
        }
        drop(speeches);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_listener_does_not_cost_its_engine_the_slot() {
        let (queue, mut asked) = queue(1, 100);
        let mut slow = queue.speak(of("a", "long"));
        let _other = queue.speak(of("b", "short"));
        let (_, mut sink) = asked.recv().await.expect("the long one");
        let writing = tokio::spawn(async move { sink.write(&[1; 80_000]).await });
        while !writing.is_finished() {
            assert!(matches!(soon(slow.next()).await, Some(Ok(Piece::Audio(_)))));
            tokio::time::sleep(STALL_TIMEOUT / 2).await;
            assert!(asked.is_empty() || writing.is_finished());
        }
    }

    #[tokio::test]
    async fn engines_that_fail_at_once_do_not_recurse() {
        let (queue, mut asked) = queue(1, 20_000);
        let first = queue.speak(of("a", "a"));
        let failing: Vec<Speech> = (0..10_000).map(|n| queue.speak(of(&n.to_string(), "fail"))).collect();
        let panicking = queue.speak(of("p", "panic"));
        let last = queue.speak(of("z", "z"));
        assert_eq!(queue.waiting(), 10_002);
        drop(asked.recv().await);
        assert_eq!(queue.waiting(), 0);
        for speech in failing {
            assert!(all(speech).await.1.is_some());
        }
        assert_eq!(all(panicking).await.1.map(|error| error.kind), Some(SynthesisErrorKind::Failed));
        drop((first, last));
        drop(asked.recv().await);
        assert_eq!(queue.free(), 1);
    }

    #[test]
    fn a_slot_may_be_freed_on_any_thread() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (queue, mut asked) = queue(1, 100);
        let (first, mut second) =
            runtime.block_on(async { (queue.speak(of("a", "a")), queue.speak(of("b", "b"))) });
        let begun = asked.try_recv().expect("the first");
        std::thread::spawn(move || drop(begun)).join().expect("no panic");
        let (_, sink) = asked.try_recv().expect("the second");
        runtime.block_on(async {
            tokio::spawn(sink.finish());
            assert!(soon(second.next()).await.is_none());
        });
        drop(first);
    }

    #[tokio::test]
    async fn threads_that_come_and_go_lose_no_slot() {
        /// Speaks ten samples on a thread of its own.
        struct Threaded(Gauge, Arc<Mutex<usize>>);
        impl Synthesizer for Threaded {
            fn name(&self) -> &str {
                "threaded"
            }
            fn format(&self) -> Format {
                PCM
            }
            fn speak(&self, utterance: Utterance) -> Speech {
                let (mut sink, speech) = Speech::channel(&utterance, 8_000);
                let working = self.0.enter();
                let most = Arc::clone(&self.1);
                let gauge = self.0.clone();
                tokio::task::spawn_blocking(move || {
                    let mut most = most.lock().expect("no panic");
                    *most = gauge.count().max(*most);
                    drop(most);
                    let _ = sink.push(&[1; 10]);
                    drop(working);
                    // Dropping the sink is a failure, which the test expects.
                    drop(sink);
                    drop(utterance);
                });
                speech
            }
        }
        let (working, most) = (Gauge::default(), Arc::new(Mutex::new(0)));
        let bounds = QueueBounds { concurrency: 3, waiting: 10_000, ..QueueBounds::default() };
        let queue = Arc::new(Queue::new(Arc::new(Threaded(working, Arc::clone(&most))), bounds));
        let mut listening = Vec::new();
        for n in 0..300 {
            let queue = Arc::clone(&queue);
            listening.push(tokio::spawn(async move {
                for m in 0..5 {
                    let speech = queue.speak(of(&n.to_string(), &m.to_string()));
                    if (n + m) % 3 > 0 {
                        assert!(pieces(speech).await.1.is_some());
                    }
                }
            }));
        }
        for one in listening {
            soon(one).await.expect("no panic");
        }
        while queue.free() < 3 {
            tokio::task::yield_now().await;
        }
        assert_eq!(queue.waiting(), 0);
        let most = *most.lock().expect("no panic");
        assert!((1..=3).contains(&most), "{most} at once");
    }
}
