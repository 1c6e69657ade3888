use super::super::testing::{all, pieces, soon};
use super::super::{Sink, SynthesisErrorKind};
use super::*;
use crate::audio::Encoding;
use crate::gauge::{Counted, Gauge};
use std::future::poll_fn;
use tokio::sync::mpsc;
use tokio::time::{Instant, advance};

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

#[tokio::test(start_paused = true)]
async fn nothing_begins_for_a_listener_who_is_away() {
    let (queue, mut asked) = queue(1, 100);
    let listener = Listener::default();
    let paused = |text| Utterance { listener: listener.clone(), ..from("a", "a1", text) };
    let first = queue.speak(from("a", "a0", "first"));
    let (mut front, behind) = (queue.speak(paused("front")), queue.speak(paused("behind")));
    let other = queue.speak(from("b", "b0", "other"));
    let (_, working) = texts(&mut asked).remove(0);
    listener.set_away(true);
    drop((first, working));
    let others = texts(&mut asked);
    assert_eq!(others.iter().map(|(text, _)| &**text).collect::<Vec<_>>(), ["other"]);
    drop((other, others));
    assert_eq!((queue.free(), texts(&mut asked).len()), (1, 0), "the slot stays free");
    let late = queue.speak(paused("late"));
    let more = queue.speak(from("b", "b1", "more"));
    assert_eq!(texts(&mut asked).len(), 1, "others begin at once");
    drop(more);
    // Nor does the wait for a slot end in the meantime.
    for _ in 0..3 {
        assert!(once(&mut front).await.is_pending());
        advance(QueueBounds::default().timeout).await;
    }
    let waits = tokio::spawn(async move { front.next().await });
    tokio::task::yield_now().await;
    assert_eq!(texts(&mut asked).len(), 0);
    listener.set_away(false);
    tokio::task::yield_now().await;
    for text in ["front", "behind", "late"] {
        // Also those that are not polled yet.
        let begun = texts(&mut asked);
        assert_eq!(begun.iter().map(|(text, _)| &**text).collect::<Vec<_>>(), [text]);
        begun.into_iter().for_each(|(_, sink)| drop(sink));
    }
    assert!(waits.await.unwrap().is_some_and(|piece| piece.is_err()), "the engine dropped its sink");
    drop((behind, late));
    assert_eq!((queue.free(), queue.waiting()), (1, 0));
}

#[tokio::test]
async fn an_utterance_whose_listener_was_away_leaves_nothing_behind() {
    let (queue, mut asked) = queue(1, 100);
    let listener = Listener::default();
    listener.set_away(true);
    let paused = Utterance { listener: listener.clone(), ..from("a", "a1", "paused") };
    drop(queue.speak(paused.clone()));
    let speech = queue.speak(paused);
    assert_eq!(texts(&mut asked).len(), 0);
    listener.set_away(false);
    drop(speech);
    let speech = queue.speak(from("a", "a1", "next"));
    assert_eq!(texts(&mut asked).len(), 1);
    drop(speech);
    assert!(queue.state.line().away.is_empty());
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
