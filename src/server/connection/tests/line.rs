//! Speech over lines that are slow, long, or broken for a moment: the loop of a connection, with
//! kernel, line and player in simulated time.

use super::*;
use crate::ws::endpoint::{Closed, Incoming};
use std::collections::VecDeque;
use std::mem;
use std::ops::Range;
use std::task::Waker;

/// The steps of the simulation.
const STEP: Duration = Duration::from_millis(10);

/// Speech of one history.
const SPEECH: Duration = Duration::from_secs(60);

/// A line, and the player at its end.
#[derive(Clone, Debug)]
struct Line {
    sample_rate_hz: u32,
    /// Pace of delivery, if it is paced.
    ahead_ms: Option<u64>,
    bytes_per_sec: f64,
    /// One way.
    delay: Duration,
    /// The same from a moment on.
    later: Option<(Duration, Duration)>,
    /// Bytes that the kernels take beside those that are unsent.
    in_flight: usize,
    /// Nothing passes in these times, in either direction.
    broken: Vec<Range<Duration>>,
    /// Speech that the player takes before it reads on at the pace of speech.
    takes: Duration,
}

/// Kernels and line.
struct Wire {
    line: Line,
    began: Instant,
    limit: usize,
    /// On the way to the client.
    down: Vec<u8>,
    passed: f64,
    /// Passed, with the moment of its arrival.
    arriving: VecDeque<(Instant, Vec<u8>)>,
    /// On the way to the server.
    up: VecDeque<(Instant, Vec<u8>)>,
    there: VecDeque<u8>,
    reader: Option<Waker>,
    is_closed: bool,
}

impl Wire {
    fn is_broken(&self, now: Instant) -> bool {
        self.line.broken.iter().any(|broken| broken.contains(&(now - self.began)))
    }

    fn delay(&self, now: Instant) -> Duration {
        match self.line.later {
            Some((from, delay)) if now - self.began >= from => delay,
            _ => self.line.delay,
        }
    }

    fn room(&self) -> usize {
        (self.limit + self.line.in_flight).saturating_sub(self.down.len())
    }

    /// Bytes that the client has not read.
    fn waiting(&self) -> usize {
        self.down.len() + self.arriving.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
    }

    /// Sends the client's bytes.
    fn send(&mut self, now: Instant, bytes: Vec<u8>, closed: Option<&Closed>) {
        assert!(!self.is_closed, "{:?} after {:?}: {closed:?}", self.line, now - self.began);
        if !bytes.is_empty() {
            self.up.push_back((now + self.delay(now), bytes));
        }
    }

    /// Lets time pass. Returns what the client reads, if it does.
    fn pass(&mut self, now: Instant, reads: bool) -> Vec<u8> {
        if !self.is_broken(now) {
            self.passed += self.line.bytes_per_sec * STEP.as_secs_f64();
            let waits: usize = self.arriving.iter().map(|(_, bytes)| bytes.len()).sum();
            // What the client does not read stays in the kernels.
            let count =
                (self.passed as usize).min(self.down.len()).min(self.line.in_flight.saturating_sub(waits));
            if count > 0 {
                let rest = self.down.split_off(count);
                self.arriving.push_back((now + self.delay(now), mem::replace(&mut self.down, rest)));
            }
            self.passed = (self.passed - count as f64).min(1500.0);
            while let Some((_, bytes)) = self.up.pop_front_if(|(at, _)| *at <= now) {
                self.there.extend(bytes);
            }
        }
        if !self.there.is_empty() || self.room() > 0 {
            self.reader.take().into_iter().for_each(Waker::wake);
        }
        let mut arrived = Vec::new();
        while reads
            && arrived.len() < 64 * 1024
            && let Some((_, bytes)) = self.arriving.pop_front_if(|(at, _)| *at <= now)
        {
            arrived.extend(bytes);
        }
        arrived
    }
}

/// The server's end.
struct Socket(Arc<Mutex<Wire>>);

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.lock().unwrap().is_closed = true;
    }
}

impl Transport for Socket {
    const WRITES_THROUGH: bool = true;

    fn poll_ready(&mut self, wanted: Readiness, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        let mut wire = self.0.lock().unwrap();
        let ready = Readiness {
            readable: wanted.readable && !wire.there.is_empty(),
            writable: wanted.writable && wire.room() > 0,
        };
        wire.reader = Some(cx.waker().clone());
        ready.any()
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.lock().unwrap();
        let count = buffer.len().min(wire.there.len());
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        for (to, from) in buffer.iter_mut().zip(wire.there.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }

    fn force_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.try_read(buffer)
    }

    fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut wire = self.0.lock().unwrap();
        let room = wire.room();
        if room == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let before = wire.down.len();
        for slice in slices {
            let left = room - (wire.down.len() - before);
            wire.down.extend_from_slice(&slice[..left.min(slice.len())]);
        }
        Ok(wire.down.len() - before)
    }

    fn force_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_write(slices)
    }

    fn limit_unsent(&mut self, bytes: u32) {
        self.0.lock().unwrap().limit = bytes as usize;
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The part of a stream that a listener had.
#[derive(Debug)]
struct Heard {
    /// Silence in the middle of the speech, in all.
    silence: Duration,
    /// Speech that arrived.
    speech: Duration,
    /// The most that a message of the server would have waited behind, in time of the line.
    waits: Duration,
}

fn format(sample_rate_hz: u32) -> Format {
    Format { encoding: Encoding::PcmS16le, sample_rate_hz }
}

/// Listens to a stream to its end, or until nothing more can come.
async fn listen(line: Line) -> Heard {
    let format = format(line.sample_rate_hz);
    let service = Service::new(Config::default(), Arc::new(Tone::new(format, SPEECH.as_secs_f64()))).unwrap();
    let limits = Limits { max_message_bytes: 1024 * 1024, max_fragments: 1, read_buffer_bytes: 256 };
    let mut client = Endpoint::new(Role::Client, limits);
    let delivery = line
        .ahead_ms
        .map(|ms| format!(r#","delivery":{{"mode":"paced","aheadMs":{ms}}}"#))
        .unwrap_or_default();
    client.send_text(&format!(r#"{{"type":"start_session","prompt":"Good evening."{delivery}}}"#));
    let Answer::Upgrade(_, admitted) = service.answer(&handshake(), None) else { panic!("a handshake") };
    let began = Instant::now();
    let takes = line.takes;
    let wire = Wire {
        began,
        limit: 128 * 1024,
        down: Vec::new(),
        passed: 0.0,
        arriving: VecDeque::new(),
        up: VecDeque::new(),
        there: VecDeque::new(),
        reader: None,
        is_closed: false,
        line,
    };
    let wire = Arc::new(Mutex::new(wire));
    admitted.start(&service.shared, Socket(Arc::clone(&wire)), Vec::new().into());

    let second = format.bytes(Duration::from_secs(1)) as f64;
    let (mut received, mut played) = (0.0, 0.0);
    let (mut silent, mut waits) = (0, 0);
    for _ in 0..400_000_000 / STEP.as_micros() {
        let now = Instant::now();
        let ahead = (received - played) / second;
        let bytes = wire.lock().unwrap().pass(now, ahead < takes.as_secs_f64());
        waits = waits.max(wire.lock().unwrap().waiting());
        client.receive(&bytes);
        while let Some(message) = client.next_message() {
            match message {
                Incoming::Binary(audio) => received += audio.len() as f64,
                Incoming::Text(text) if text.contains(r#""type":"session_end""#) => {
                    let speech = Duration::from_secs_f64(received / second);
                    let rate = wire.lock().unwrap().line.bytes_per_sec;
                    let waits = Duration::from_secs_f64(waits as f64 / rate);
                    return Heard { silence: STEP * silent, speech, waits };
                }
                Incoming::Text(_) => {}
            }
        }
        if received > 0.0 {
            let step = second * STEP.as_secs_f64();
            if received - played >= step {
                played += step;
            } else if received < second * SPEECH.as_secs_f64() {
                silent += 1;
            }
        }
        let sent = client.outgoing().to_vec();
        client.sent(sent.len());
        wire.lock().unwrap().send(now, sent, client.closed());
        sleep(STEP).await;
    }
    panic!("no end: {} s arrived over {:?}", received / second, wire.lock().unwrap().line);
}

/// Numbers that look random, the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_that_breaks_for_a_moment_is_silent_for_no_longer_than_that() {
    let mut dice = Dice(17);
    for _ in 0..40 {
        let sample_rate_hz = dice.one(&[8_000, 16_000, 24_000, 48_000]);
        let second = f64::from(sample_rate_hz) * 2.0;
        let mut broken = Vec::new();
        let mut at = 0;
        for _ in 0..=dice.below(3) {
            at += 200 + dice.below(15_000);
            let ms = dice.one(&[300, 800, 1_200, 2_000, 3_500, 6_000]);
            broken.push(Duration::from_millis(at)..Duration::from_millis(at + ms));
            at += ms;
        }
        let line = Line {
            sample_rate_hz,
            ahead_ms: dice.one(&[None, None, Some(500), Some(3_000)]),
            bytes_per_sec: second * dice.one(&[2.0, 4.0, 100.0]),
            delay: Duration::from_millis(dice.one(&[1, 20, 150, 400])),
            later: None,
            in_flight: dice.one(&[64 * 1024, 256 * 1024, 1024 * 1024, 4 * 1024 * 1024]),
            broken,
            takes: Duration::from_secs(dice.one(&[2, 10, 1_000])),
        };
        let may: Duration = line.broken.iter().map(|broken| broken.end - broken.start).sum();
        let may = may + (line.delay * 4 + Duration::from_millis(500)) * line.broken.len() as u32;
        let heard = listen(line.clone()).await;
        assert_eq!(heard.speech, SPEECH);
        assert!(heard.silence <= may, "{heard:?} over {line:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_way_starves_no_listener() {
    for (sample_rate_hz, most_ms) in [(8_000, 2_900), (24_000, 2_900), (48_000, 2_900), (192_000, 1_000)] {
        for delay_ms in [350, 750, 1_400, 2_900].into_iter().filter(|ms| *ms <= most_ms) {
            for ahead_ms in [None, Some(3_000), Some(60_000)] {
                let line = Line {
                    sample_rate_hz,
                    ahead_ms,
                    bytes_per_sec: f64::from(sample_rate_hz) * 8.0,
                    delay: Duration::from_millis(delay_ms),
                    later: None,
                    in_flight: 1024 * 1024,
                    broken: Vec::new(),
                    takes: Duration::from_secs(1_000),
                };
                let heard = listen(line.clone()).await;
                assert_eq!(heard.speech, SPEECH);
                assert_eq!(heard.silence, Duration::ZERO, "{heard:?} over {line:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_way_that_becomes_longer_by_a_second_starves_no_listener() {
    for sample_rate_hz in [8_000, 24_000, 48_000] {
        for (ms, later_ms) in [(50, 550), (500, 1_000), (2_000, 50)] {
            for (from_ms, ahead_ms) in [(2_000, None), (2_000, Some(5_000)), (15_000, Some(20_000))] {
                let line = Line {
                    sample_rate_hz,
                    ahead_ms,
                    bytes_per_sec: f64::from(sample_rate_hz) * 8.0,
                    delay: Duration::from_millis(ms),
                    later: Some((Duration::from_millis(from_ms), Duration::from_millis(later_ms))),
                    in_flight: 1024 * 1024,
                    broken: Vec::new(),
                    takes: Duration::from_secs(1_000),
                };
                let heard = listen(line.clone()).await;
                assert_eq!(heard.speech, SPEECH);
                assert!(heard.silence <= Duration::from_millis(500), "{heard:?} over {line:?}");
            }
        }
    }
}

/// An answer to `pause` comes behind what waits.
#[tokio::test(start_paused = true)]
async fn little_waits_for_a_client_on_a_slow_line() {
    for sample_rate_hz in [8_000, 16_000, 48_000] {
        for delay_ms in [1, 250, 1_000] {
            for ahead_ms in [None, Some(60_000)] {
                for broken_ms in [0, 5_000] {
                    let broken = Duration::from_secs(12)..Duration::from_millis(12_000 + broken_ms);
                    let line = Line {
                        sample_rate_hz,
                        ahead_ms,
                        bytes_per_sec: 40_000.0,
                        delay: Duration::from_millis(delay_ms),
                        later: None,
                        in_flight: 1024 * 1024,
                        broken: vec![broken],
                        takes: Duration::from_secs(1_000),
                    };
                    let heard = listen(line.clone()).await;
                    assert_eq!(heard.speech, SPEECH);
                    // The window, and speech for the round trip, or as much as until the first answer.
                    let round_trip = line.delay.as_secs_f64() * 2.0 + 0.1;
                    let seconds = round_trip + round_trip * round_trip / 4.0;
                    let speech = format(sample_rate_hz).bytes(Duration::from_secs(1)) as f64 * seconds;
                    let most = (128.0 * 1024.0 + speech) / 40_000.0;
                    assert!(heard.waits.as_secs_f64() <= most, "{most}: {heard:?} over {line:?}");
                }
            }
        }
    }
}
