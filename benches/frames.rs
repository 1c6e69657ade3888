//! Audio in memory: from the session log and the batch to the bytes of a write, and back through the endpoint of a
//! client.
//!
//! Copies and allocations are counted first; they are the same on every machine. Outgoing audio must not allocate
//! in the steady state. Times follow.
#![allow(clippy::unwrap_used)] // A bench that cannot go on should stop where it is.

use allocation_counter::measure;
use aloud::audio::{Encoding, Format};
use aloud::unstable::Batch;
use aloud::unstable::{Flow, Log};
use aloud::ws::endpoint::{Endpoint, Incoming, Limits, Role};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use hyper::body::Bytes;
use std::hint::black_box;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Payload of one frame: 5 ms at 8 kHz, 20 ms and 100 ms at 24 kHz.
const FRAME_BYTES: [usize; 3] = [80, 960, 4_800];

/// Bytes of one chunk of the engine.
const FRAMES_PER_CHUNK: usize = 12;

/// Number of writes until every buffer has its final size.
const WARM_UP: usize = 1_000;

const FORMAT: Format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 24_000 };

/// An endless stream to a socket that accepts all bytes.
struct Stream {
    log: Log,
    batch: Batch,
    chunk: Bytes,
    now: Instant,
}

/// Content of a write.
#[derive(Clone, Copy, Default)]
struct Made {
    wire_bytes: u64,
    audio_bytes: u64,
    /// Bytes of payload that were copied.
    copied_bytes: u64,
}

impl Stream {
    fn new(frame_bytes: usize, ahead: Option<Duration>) -> Stream {
        let flow = Flow { format: FORMAT, frame_bytes, ahead, keep_bytes: 0 };
        Stream {
            log: Log::new(flow),
            batch: Batch::default(),
            chunk: vec![7; frame_bytes * FRAMES_PER_CHUNK].into(),
            now: Instant::now(),
        }
    }

    /// Runs one wake-up of a connection: takes the engine's chunk, makes one write, and sends all of it.
    fn step(&mut self) -> Made {
        // The listener plays all audio sent.
        self.now += Duration::from_millis(100);
        while self.log.wants_more(self.now) {
            self.log.push_audio(self.chunk.clone());
        }
        self.batch.clear();
        self.log.fill(self.now, &mut self.batch);
        let chunk = addresses(&self.chunk);
        let mut left = 0;
        let wire = self.batch.write(|slices| {
            for slice in slices.iter().filter(|slice| chunk.contains(&slice.as_ptr().addr())) {
                left += slice.len() as u64;
            }
            slices.iter().map(|slice| slice.len()).sum::<usize>()
        });
        let before = self.log.sent_bytes();
        let (log, now) = (&mut self.log, self.now);
        self.batch.sent(wire, &mut Vec::new(), |what| {
            log.sent(now, what);
        });
        let audio_bytes = self.log.sent_bytes() - before;
        Made { wire_bytes: wire as u64, audio_bytes, copied_bytes: audio_bytes - left }
    }
}

fn addresses(bytes: &[u8]) -> Range<usize> {
    let start = bytes.as_ptr().addr();
    start..start + bytes.len()
}

/// A client that receives the same bytes again and again.
fn client() -> Endpoint {
    let limits = Limits { max_message_bytes: 1 << 20, max_fragments: 1_000, read_buffer_bytes: 64 * 1024 };
    Endpoint::new(Role::Client, limits)
}

/// Frames as received.
fn wire(frame_bytes: usize, frames: usize) -> Vec<u8> {
    let chunk: Bytes = vec![7; frame_bytes * frames].into();
    let (mut batch, mut wire, mut at) = (Batch::default(), Vec::new(), 0);
    while at < chunk.len() {
        at += batch.push_audio(&chunk, at, frame_bytes, u64::MAX);
        batch.write(|slices| slices.iter().for_each(|slice| wire.extend_from_slice(slice)));
        batch.clear();
    }
    wire
}

fn receive(endpoint: &mut Endpoint, wire: &[u8]) -> usize {
    endpoint.receive(wire);
    let mut frames = 0;
    while let Some(message) = endpoint.next_message() {
        frames += usize::from(matches!(message, Incoming::Binary(_)));
        black_box(message);
    }
    frames
}

/// Prints copies and allocations, and checks that outgoing audio has none.
fn count() {
    for frame_bytes in FRAME_BYTES {
        for (name, ahead) in [("burst", None), ("paced", Some(Duration::from_secs(2)))] {
            let mut stream = Stream::new(frame_bytes, ahead);
            for _ in 0..WARM_UP {
                stream.step();
            }
            let mut made = Made::default();
            let allocated = measure(|| {
                for _ in 0..WARM_UP {
                    let step = stream.step();
                    made.wire_bytes += step.wire_bytes;
                    made.audio_bytes += step.audio_bytes;
                    made.copied_bytes += step.copied_bytes;
                }
            });
            let frames = made.audio_bytes / frame_bytes as u64;
            assert!(frames as usize >= WARM_UP / 10, "audio flows: {frames} frames");
            println!(
                "out, {name}, {frame_bytes} bytes: {:.1} bytes copied and {} allocations per frame, {:.1} \
                 frames per write, {:.2} % of the wire is headers",
                made.copied_bytes as f64 / frames as f64,
                allocated.count_total as f64 / frames as f64,
                frames as f64 / WARM_UP as f64,
                (made.wire_bytes - made.audio_bytes) as f64 / made.wire_bytes as f64 * 100.0,
            );
            assert_eq!(allocated.count_total, 0, "outgoing audio allocates");
        }
    }
    for frame_bytes in FRAME_BYTES {
        let (mut endpoint, wire) = (client(), wire(frame_bytes, FRAMES_PER_CHUNK));
        receive(&mut endpoint, &wire);
        let mut frames = 0;
        let allocated = measure(|| frames = (0..WARM_UP).map(|_| receive(&mut endpoint, &wire)).sum());
        assert_eq!(frames, WARM_UP * FRAMES_PER_CHUNK);
        println!(
            "in, {frame_bytes} bytes: {:.2} allocations per frame, which hold the message",
            allocated.count_total as f64 / frames as f64
        );
    }
}

/// One write of a stream in burst delivery.
#[divan::bench(args = FRAME_BYTES)]
fn out(bencher: Bencher<'_, '_>, frame_bytes: usize) {
    let mut stream = Stream::new(frame_bytes, None);
    for _ in 0..WARM_UP {
        stream.step();
    }
    // The same in each write.
    let bytes = stream.step().audio_bytes as usize;
    bencher
        .counter(ItemsCount::new(bytes / frame_bytes))
        .counter(BytesCount::new(bytes))
        .bench_local(|| stream.step().wire_bytes);
}

/// Reads this many frames.
#[divan::bench(args = FRAME_BYTES)]
fn into(bencher: Bencher<'_, '_>, frame_bytes: usize) {
    let (mut endpoint, wire) = (client(), wire(frame_bytes, FRAMES_PER_CHUNK));
    bencher
        .counter(ItemsCount::new(FRAMES_PER_CHUNK))
        .counter(BytesCount::new(wire.len()))
        .bench_local(|| receive(&mut endpoint, &wire));
}

fn main() {
    count();
    divan::main();
}
