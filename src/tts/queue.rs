//! Limits the utterances that an engine has in flight, and orders the others.
//!
//! The engine gets a slot with the utterance. The slot is free again once both the [`Utterance`] and
//! its [`Sink`](super::Sink) are dropped, so no engine has to free it. An engine whose listener is slow
//! does no work, so its slot is freed too.

use super::speech::Relay;
use super::{Backlog, Piece, Speech, SynthesisError, Synthesizer, Utterance, Voice};
use crate::audio::Format;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep};

/// Time after which an engine that waits for its listener releases its slot.
pub(super) const STALL_TIMEOUT: Duration = Duration::from_millis(250);

/// Limits of a [`Queue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueBounds {
    /// Most utterances in flight, at least one. Default: 4.
    pub concurrency: usize,
    /// Most utterances that wait for a slot. One more fails at once as
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

/// An engine that limits the utterances another engine has in flight, and serves the sessions in turn.
///
/// Further utterances wait. Turns go round the [sessions](Utterance::session) with waiting utterances,
/// so a session waits for at most one utterance of each other session, however many these have. Within
/// a session, utterances keep their order.
///
/// - A slot is in use until the engine drops the utterance and the sink. That includes utterances whose
///   listener is gone, because an engine may need time to stop.
/// - An engine whose listener takes nothing for 250 ms releases its slot, and continues without one. A session that is paused, or listens at the pace of speech, does
///   not delay other sessions. It costs memory for its buffered bytes only.
/// - Prepared audio ([`Speech::ready`]) needs no slot.
///
/// If a slot is free, the utterance goes to the engine at once, and its [`Speech`] is the engine's own.
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
        self.state.line().waiting
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
            .field("waiting", &line.waiting)
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

    fn engines(&self) -> Vec<&dyn Synthesizer> {
        self.state.engine.engines()
    }

    fn backlog(&self) -> Backlog {
        let line = self.state.line();
        let is_full = line.free == 0 && line.waiting >= self.state.bounds.waiting;
        Backlog { waiting: line.waiting, is_full }
    }

    fn speak(&self, utterance: Utterance) -> Speech {
        let mut line = self.state.line();
        if line.free > 0 && line.waiting == 0 {
            line.free -= 1;
            drop(line);
            return self.state.begin(utterance);
        }
        if line.waiting >= self.state.bounds.waiting {
            let message = format!(
                "The speech engine is overloaded: {} sentences are waiting (limit {}). Retry later.",
                line.waiting, self.state.bounds.waiting
            );
            return Speech::failed(SynthesisError::overloaded(message));
        }
        let seat = line.join(utterance);
        drop(line);
        Speech::relayed(Place { state: Arc::clone(&self.state), seat, speech: None, timeout: None })
    }
}

/// Permission to be in flight, until the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Slot(Arc<Held>);

struct Held {
    state: Arc<State>,
    is_held: AtomicBool,
}

impl Slot {
    /// Releases the slot early.
    pub(super) fn release(&self) {
        self.0.release();
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
            self.state.line().free += 1;
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

/// Waiting utterances, and the order of their turns.
#[derive(Default)]
struct Line {
    /// Number of free slots.
    free: usize,
    /// True while a thread assigns slots. It will find slots that are freed meanwhile.
    is_serving: bool,
    /// Number of waiting utterances.
    waiting: usize,
    /// Last number of a seat or a turn.
    next: u64,
    sessions: HashMap<Arc<str>, Waiting>,
    /// Sessions with waiting utterances, in the order of their turns.
    turns: BTreeMap<u64, Arc<str>>,
}

/// Waiting utterances of one session.
struct Waiting {
    turn: u64,
    seats: BTreeMap<u64, Arc<Seat>>,
}

impl Line {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Adds an utterance after the others of its session.
    fn join(&mut self, utterance: Utterance) -> Arc<Seat> {
        let number = self.number();
        let session = Arc::clone(&utterance.session);
        let stage = Stage::Waiting { utterance: Box::new(utterance), runtime: Handle::current() };
        let seat = Arc::new(Seat { number, session, stage: Mutex::new((stage, None)) });
        self.waiting += 1;
        let waiting = self.sessions.entry(Arc::clone(&seat.session)).or_insert_with(|| {
            self.turns.insert(number, Arc::clone(&seat.session));
            Waiting { turn: number, seats: BTreeMap::new() }
        });
        waiting.seats.insert(number, Arc::clone(&seat));
        seat
    }

    /// Takes the next utterance from the line, and a slot for it, if one is free.
    fn next_seat(&mut self) -> Option<Arc<Seat>> {
        if self.free == 0 {
            return None;
        }
        let (_, session) = self.turns.pop_first()?;
        let turn = self.number();
        let waiting = self.sessions.get_mut(&session)?;
        let (_, seat) = waiting.seats.pop_first()?;
        if waiting.seats.is_empty() {
            self.sessions.remove(&session);
        } else {
            waiting.turn = turn;
            self.turns.insert(turn, session);
        }
        self.free -= 1;
        self.waiting -= 1;
        Some(seat)
    }

    /// Removes an utterance. Returns true if it was still waiting.
    fn leave(&mut self, seat: &Seat) -> bool {
        let Some(waiting) = self.sessions.get_mut(&seat.session) else { return false };
        if waiting.seats.remove(&seat.number).is_none() {
            return false;
        }
        self.waiting -= 1;
        if waiting.seats.is_empty() {
            self.turns.remove(&waiting.turn);
            self.sessions.remove(&seat.session);
        }
        true
    }
}

impl State {
    /// Locks the line. A poisoned lock is safe to use: nothing panics in the middle of a change.
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes an utterance to the engine, with the slot that was taken for it.
    fn begin(self: &Arc<State>, mut utterance: Utterance) -> Speech {
        let held = Held { state: Arc::clone(self), is_held: AtomicBool::new(true) };
        utterance.slot = Some(Slot(Arc::new(held)));
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
            let seat = {
                let mut line = self.line();
                let Some(seat) = line.next_seat() else {
                    line.is_serving = false;
                    return;
                };
                seat
            };
            self.start(&seat);
        }
    }

    /// Starts an utterance that has left the line.
    fn start(self: &Arc<State>, seat: &Seat) {
        let Stage::Waiting { utterance, runtime } = std::mem::replace(&mut seat.lock().0, Stage::Starting)
        else {
            // The listener left just now.
            self.line().free += 1;
            return;
        };
        // A slot may be freed on an engine's own thread, outside of the runtime.
        let _inside = runtime.enter();
        // A panic must not reach the thread that freed the slot: the utterance is another one's.
        let speech = catch_unwind(AssertUnwindSafe(|| self.begin(*utterance)));
        let speech = speech.unwrap_or_else(|_| {
            Speech::failed(SynthesisError::failed("The speech engine failed before it started."))
        });
        let (unwanted, waker) = {
            let mut stage = seat.lock();
            match stage.0 {
                Stage::Left => (Some(speech), None),
                _ => {
                    stage.0 = Stage::Speaking(speech);
                    (None, stage.1.take())
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

/// State of an utterance that had to wait, shared by its speech and the line.
struct Seat {
    number: u64,
    session: Arc<str>,
    stage: Mutex<(Stage, Option<Waker>)>,
}

enum Stage {
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
    fn lock(&self) -> MutexGuard<'_, (Stage, Option<Waker>)> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The listener's end of an utterance that had to wait.
struct Place {
    state: Arc<State>,
    seat: Arc<Seat>,
    speech: Option<Speech>,
    /// Exists once the listener waits.
    timeout: Option<Pin<Box<Sleep>>>,
}

impl Relay for Place {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, SynthesisError>>> {
        if let Some(speech) = &mut self.speech {
            return speech.poll_next(cx);
        }
        let mut stage = self.seat.lock();
        if let Stage::Speaking(_) = stage.0
            && let Stage::Speaking(speech) = std::mem::replace(&mut stage.0, Stage::Left)
        {
            drop(stage);
            self.timeout = None;
            return self.speech.insert(speech).poll_next(cx);
        }
        stage.1 = Some(cx.waker().clone());
        drop(stage);
        let limit = self.state.bounds.timeout;
        let timeout = self.timeout.get_or_insert_with(|| Box::pin(sleep(limit)));
        // If it has left the line, its speech is about to arrive.
        if timeout.as_mut().poll(cx).is_ready() && self.state.line().leave(&self.seat) {
            let message = format!(
                "The speech engine is overloaded: no free slot within {} ms. Retry later.",
                limit.as_millis()
            );
            self.speech = Some(Speech::failed(SynthesisError::overloaded(message)));
            return self.poll_next(cx);
        }
        Poll::Pending
    }

    fn buffered_bytes(&self) -> u64 {
        match (&self.speech, &self.seat.lock().0) {
            (Some(speech), _) | (None, Stage::Speaking(speech)) => speech.buffered_bytes(),
            _ => 0,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.speech.is_none() {
            self.state.line().leave(&self.seat);
            let stage = std::mem::replace(&mut self.seat.lock().0, Stage::Left);
            // Outside of the lock: dropping a speech frees its slot.
            drop(stage);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{all, pieces, soon};
    use super::super::{Sink, SynthesisErrorKind};
    use super::*;
    use crate::audio::Encoding;
    use crate::gauge::Gauge;
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
        let (chunks, error) = all(queue.speak(of("t", "late"))).await;
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
        assert!(line.sessions.is_empty() && line.turns.is_empty());
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

    #[tokio::test(start_paused = true)]
    async fn an_engine_whose_listener_stalls_releases_its_slot() {
        let (queue, mut asked) = queue(1, 100);
        let mut paused = queue.speak(of("a", "long"));
        let other = queue.speak(of("b", "short"));
        let (_, mut sink) = asked.recv().await.expect("the long one");
        let began = Instant::now();
        let writing = tokio::spawn(async move {
            sink.write(&[1; 80_000]).await.expect("not cancelled");
            sink.finish().await;
        });
        let (utterance, sink) = soon(asked.recv()).await.expect("the short one");
        assert_eq!(began.elapsed(), STALL_TIMEOUT);
        assert_eq!(utterance.text, "short");
        // It continues without a slot when its listener does, and frees none at its end.
        let mut received = 0;
        while let Some(piece) = soon(paused.next()).await {
            let Piece::Audio(chunk) = piece.expect("no error") else { panic!("audio only") };
            received += chunk.len();
        }
        assert_eq!(received, 160_000);
        writing.await.expect("no panic");
        assert_eq!(queue.free(), 0);
        drop(utterance);
        tokio::spawn(sink.finish());
        assert_eq!(all(other).await, (vec![], None));
        assert_eq!(queue.free(), 1);
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
