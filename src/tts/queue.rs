//! How many utterances an engine works on at once, and in which order the others come.
//!
//! A slot is handed to the engine with the utterance and comes back when both the [`Utterance`]
//! and the [`Sink`](super::Sink) made for it are dropped: nobody has to remember to free it. It also
//! comes back from an engine that its listener has kept waiting, which does no work and needs none.

use super::{Backlog, Piece, Relay, Speech, SynthesisError, Synthesizer, Utterance, Voice};
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

/// How much a [`Queue`] lets through, and how much it holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueBounds {
    /// Utterances that the engine may work on at once, at least one. Default: 4.
    pub concurrency: usize,
    /// Utterances that may wait for their turn; one more fails as
    /// [`Overloaded`](super::SynthesisErrorKind::Overloaded) at once. Default: 1,000.
    pub waiting: usize,
    /// How long a listener may wait for a turn before the utterance fails in the same way. It counts
    /// from when the utterance is needed: one that is asked for ahead of its time waits as long as
    /// the one before it is heard. Default: 10 s.
    pub timeout: Duration,
}

impl Default for QueueBounds {
    fn default() -> QueueBounds {
        QueueBounds { concurrency: 4, waiting: 1_000, timeout: Duration::from_secs(10) }
    }
}

/// An engine that lets another one work on a bounded number of utterances at once, and on those of
/// all sessions in turn.
///
/// What does not fit waits. Turns go round over the [sessions](Utterance::session) that have
/// something waiting, whatever its length, so that a session waits for one utterance of each of the
/// others at most, however much these have to say. Within a session the order is that of asking.
///
/// A slot is held for as long as the engine works: until it has dropped the utterance and the sink,
/// also where nobody listens any more, since an engine that is told to stop may take a while. An
/// engine whose listener has not taken anything for [`BRAKED`](Queue::BRAKED) gives its slot to the
/// next, and goes on without one when the listener does: a session that is paused, or listens at the
/// pace of speech, keeps nobody waiting. It costs no more than what was made and is still untaken.
/// Audio that costs nothing to make ([`Speech::ready`]) needs no slot.
///
/// An utterance that has a slot at once takes no way round: its [`Speech`] is the engine's own.
pub struct Queue {
    state: Arc<State>,
}

impl Queue {
    /// How long an engine has to be kept waiting by its listener to give up its slot.
    pub const BRAKED: Duration = Duration::from_millis(250);

    /// This engine, within these bounds.
    pub fn new(engine: Arc<dyn Synthesizer>, bounds: QueueBounds) -> Queue {
        let line = Line { free: bounds.concurrency.max(1), ..Line::default() };
        Queue { state: Arc::new(State { engine, bounds, line: Mutex::new(line) }) }
    }

    /// Utterances that wait for their turn.
    pub fn waiting(&self) -> usize {
        self.state.line().waiting
    }

    /// Utterances that could begin at once.
    pub fn free(&self) -> usize {
        self.state.line().free
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
                "The speech engine is overloaded: {} sentences wait for it already. Try again later.",
                line.waiting
            );
            return Speech::failed(SynthesisError::overloaded(message));
        }
        let seat = line.join(utterance);
        drop(line);
        Speech::relayed(Place { state: Arc::clone(&self.state), seat, speech: None, patience: None })
    }
}

/// The right to be worked on, until the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Slot(Arc<Held>);

struct Held {
    state: Arc<State>,
    is_held: AtomicBool,
}

impl Slot {
    /// Gives it to the next before its time.
    pub(super) fn give_up(&self) {
        self.0.give_up();
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}

impl Held {
    fn give_up(&self) {
        if self.is_held.swap(false, Ordering::Relaxed) {
            self.state.line().free += 1;
            self.state.serve();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_up();
    }
}

struct State {
    engine: Arc<dyn Synthesizer>,
    bounds: QueueBounds,
    line: Mutex<Line>,
}

/// Who waits, and whose turn it is.
#[derive(Default)]
struct Line {
    /// Slots that nobody holds.
    free: usize,
    /// Somebody hands out slots already, and will see this one too.
    is_serving: bool,
    waiting: usize,
    /// Counts seats and turns.
    next: u64,
    sessions: HashMap<Arc<str>, Waiting>,
    /// The sessions that have somebody waiting, in the order of their turns.
    turns: BTreeMap<u64, Arc<str>>,
}

/// What waits of one session.
struct Waiting {
    turn: u64,
    seats: BTreeMap<u64, Arc<Seat>>,
}

impl Line {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Takes an utterance in, behind those of its session.
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

    /// The next whose turn it is, if there is a slot for it, which is its own from then on.
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

    /// Whether this one still waited.
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
    /// Each change to the line is whole before anything can panic.
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands an utterance to the engine, with a slot that was taken for it.
    fn begin(self: &Arc<State>, mut utterance: Utterance) -> Speech {
        let held = Held { state: Arc::clone(self), is_held: AtomicBool::new(true) };
        utterance.slot = Some(Slot(Arc::new(held)));
        self.engine.speak(utterance)
    }

    /// Hands free slots to those that wait. An engine that fails at once frees its slot in the midst
    /// of this: that goes round here, and not deeper and deeper.
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
            self.seat_is_due(&seat);
        }
    }

    fn seat_is_due(self: &Arc<State>, seat: &Seat) {
        let Stage::Waiting { utterance, runtime } = std::mem::replace(&mut seat.lock().0, Stage::Beginning)
        else {
            // Its listener left just now.
            self.line().free += 1;
            return;
        };
        // Whoever frees a slot may be on a thread of an engine's own.
        let _inside = runtime.enter();
        // And must not suffer from an engine that panics over somebody else's utterance.
        let speech = catch_unwind(AssertUnwindSafe(|| self.begin(*utterance)));
        let speech = speech.unwrap_or_else(|_| {
            Speech::failed(SynthesisError::failed("The speech engine failed before it began."))
        });
        let (unheard, waker) = {
            let mut stage = seat.lock();
            match stage.0 {
                Stage::Left => (Some(speech), None),
                _ => {
                    stage.0 = Stage::Speaking(speech);
                    (None, stage.1.take())
                }
            }
        };
        // Not under the lock: it ends the engine's work, which frees the slot.
        drop(unheard);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// What an utterance that waits shares with its place in the line.
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
    /// The engine is being asked.
    Beginning,
    Speaking(Speech),
    /// The listener left, or has the speech.
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
    patience: Option<Pin<Box<Sleep>>>,
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
            self.patience = None;
            return self.speech.insert(speech).poll_next(cx);
        }
        stage.1 = Some(cx.waker().clone());
        drop(stage);
        let most = self.state.bounds.timeout;
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(most)));
        // Once it is out of the line its speech is about to come.
        if patience.as_mut().poll(cx).is_ready() && self.state.line().leave(&self.seat) {
            let message = format!(
                "The speech engine is overloaded: there was no free slot within {} ms. Try again later.",
                most.as_millis()
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
            // Not under the lock: a speech frees its slot when it goes.
            drop(stage);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{all, pieces, soon};
    use super::super::{Sink, SynthesisErrorKind};
    use super::*;
    use crate::audio::Encoding;
    use crate::gauge::Gauge;
    use std::future::poll_fn;
    use tokio::sync::mpsc;
    use tokio::time::Instant;

    const PCM: Format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 };

    /// An engine that leaves its work to the test.
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
            self.0.send((utterance, sink)).expect("the test goes on");
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

    /// What the engine was asked for by now.
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
    async fn no_more_are_worked_on_than_there_are_slots() {
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
        // One session with much to say, another that comes later, and a third that comes last.
        let names = ["a1", "a2", "a3", "a4", "b1", "b2", "c1"];
        let speeches: Vec<Speech> = names.iter().map(|name| queue.speak(of(&name[..1], name))).collect();
        let mut order = Vec::new();
        for speech in speeches {
            // Each is heard out by somebody of its own, as in different sessions.
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
    async fn one_more_than_may_wait_fails_at_once() {
        let (queue, mut asked) = queue(1, 2);
        let mut speeches: Vec<Speech> = (0..3).map(|n| queue.speak(of("s", &n.to_string()))).collect();
        let (chunks, error) = all(queue.speak(of("t", "late"))).await;
        let error = error.expect("an error");
        assert!(chunks.is_empty() && error.message.contains("2 sentences wait"), "{error}");
        assert_eq!(error.kind, SynthesisErrorKind::Overloaded);
        // One that leaves makes room for another.
        drop(speeches.pop());
        assert_eq!(queue.waiting(), 1);
        speeches.push(queue.speak(of("t", "late")));
        assert_eq!(queue.waiting(), 2);
        assert_eq!(texts(&mut asked).len(), 1);
    }

    #[tokio::test]
    async fn who_leaves_while_waiting_is_never_worked_for() {
        let (queue, mut asked) = queue(1, 100);
        let first = queue.speak(of("a", "first"));
        let mut others: Vec<Speech> = ["a", "b", "a", "c"].map(|s| queue.speak(of(s, s))).into();
        // In the middle, the only one of its session, and one that was polled.
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
    async fn a_listener_waits_for_its_patience_and_one_that_does_not_listen_yet_for_its_turn() {
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
        // The other one was asked for as long ago, but is needed only now.
        assert!(once(&mut ahead).await.is_pending());
        tokio::time::advance(Duration::from_millis(9_900)).await;
        assert!(once(&mut ahead).await.is_pending());
        drop(working);
        assert_eq!(texts(&mut asked)[0].0, "b2");
    }

    #[tokio::test]
    async fn what_is_made_ahead_begins_without_being_listened_to() {
        let (queue, mut asked) = queue(1, 100);
        let first = queue.speak(of("a", "a1"));
        let mut second = queue.speak(of("a", "a2"));
        assert_eq!(second.buffered_bytes(), 0);
        let (_, sink) = asked.recv().await.expect("the first");
        tokio::spawn(sink.finish());
        assert_eq!(all(first).await, (vec![], None));
        let (_, mut sink) = soon(asked.recv()).await.expect("the second");
        sink.push(&[7; 320]).expect("somebody listens");
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
        assert_eq!(queue.waiting(), 1, "nor is it done with the utterance");
        drop(utterance);
        assert_eq!(queue.waiting(), 0);
        drop(second);
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_its_listener_keeps_waiting_gives_its_slot_to_the_next() {
        let (queue, mut asked) = queue(1, 100);
        let mut paused = queue.speak(of("a", "long"));
        let other = queue.speak(of("b", "short"));
        let (_, mut sink) = asked.recv().await.expect("the long one");
        let began = Instant::now();
        let writing = tokio::spawn(async move {
            sink.write(&[1; 80_000]).await.expect("somebody listens");
            sink.finish().await;
        });
        let (utterance, sink) = soon(asked.recv()).await.expect("the short one");
        assert_eq!(began.elapsed(), Queue::BRAKED);
        assert_eq!(utterance.text, "short");
        // It goes on without one when its listener does, and frees none at its end.
        let mut heard = 0;
        while let Some(piece) = soon(paused.next()).await {
            let Piece::Audio(chunk) = piece.expect("no error") else { panic!("audio only") };
            heard += chunk.len();
        }
        assert_eq!(heard, 160_000);
        writing.await.expect("no panic");
        assert_eq!(queue.free(), 0);
        drop(utterance);
        tokio::spawn(sink.finish());
        assert_eq!(all(other).await, (vec![], None));
        assert_eq!(queue.free(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_is_slow_but_listens_keeps_its_slot() {
        let (queue, mut asked) = queue(1, 100);
        let mut slow = queue.speak(of("a", "long"));
        let _other = queue.speak(of("b", "short"));
        let (_, mut sink) = asked.recv().await.expect("the long one");
        let writing = tokio::spawn(async move { sink.write(&[1; 80_000]).await });
        while !writing.is_finished() {
            assert!(matches!(soon(slow.next()).await, Some(Ok(Piece::Audio(_)))));
            tokio::time::sleep(Queue::BRAKED / 2).await;
            assert!(asked.is_empty() || writing.is_finished());
        }
    }

    #[tokio::test]
    async fn engines_that_fail_at_once_do_not_pile_up() {
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
                    // Ends by being dropped: a failure, which is as good an end as any here.
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
