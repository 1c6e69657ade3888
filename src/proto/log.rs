//! The session log: what a client must see, in order, addressed by byte offset, and the gate that
//! decides how far ahead of the socket synthesis may run.
//!
//! Knows no socket, no engine and no clock. Pause, backpressure and cancel are positions in it,
//! not mechanisms of their own:
//!
//! ```text
//!       handed to the socket          synthesised
//! ──────────────sent─────────────────────written ▸
//!                 │◂────── look-ahead ──────▸│
//! ```
//!
//! An offset counts the audio bytes of the stream before it. While the gate is shut `sent` stands
//! still, so `written` runs into the look-ahead, so nothing more is taken from the engine, so the
//! engine waits: nobody tells it to.

use super::frames::{Batch, Sent};
use hyper::body::Bytes;
use std::collections::VecDeque;

/// How far synthesis may run ahead of the socket, in bytes of audio: two of the largest writes.
const LOOK_AHEAD_BYTES: u64 = 128 * 1024;

#[derive(Debug)]
enum Entry {
    Message(String),
    Audio(Bytes),
}

/// One stream between synthesis and socket.
#[derive(Debug)]
pub struct Log {
    /// What has not been sent yet.
    entries: VecDeque<Entry>,
    /// Bytes of the first entry that were sent already.
    taken: usize,
    sent: u64,
    written: u64,
    frame_bytes: usize,
}

impl Log {
    /// An empty log whose audio leaves in frames of this many bytes.
    pub fn new(frame_bytes: usize) -> Log {
        Log { entries: VecDeque::new(), taken: 0, sent: 0, written: 0, frame_bytes }
    }

    /// Appends a control message at the current offset.
    pub fn push_message(&mut self, json: String) {
        self.entries.push_back(Entry::Message(json));
    }

    /// Appends audio: whole samples, and whole frames but for the end of a sentence.
    pub fn push_audio(&mut self, chunk: Bytes) {
        self.written += chunk.len() as u64;
        if !chunk.is_empty() {
            self.entries.push_back(Entry::Audio(chunk));
        }
    }

    /// Whether synthesis should go on.
    pub fn wants_more(&self) -> bool {
        self.written - self.sent < LOOK_AHEAD_BYTES
    }

    /// Whether everything was sent.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Collects what comes next, as far as there is room. Moves nothing: what really left is told
    /// to [`sent`](Self::sent).
    pub fn fill(&self, batch: &mut Batch) {
        let mut taken = self.taken;
        for entry in &self.entries {
            match entry {
                Entry::Message(_) | Entry::Audio(_) if batch.is_full() => return,
                Entry::Message(json) => batch.push_text(json),
                Entry::Audio(chunk) => {
                    while taken < chunk.len() {
                        if batch.is_full() {
                            return;
                        }
                        taken += batch.push_audio(chunk, taken, self.frame_bytes);
                    }
                    taken = 0;
                }
            }
        }
    }

    /// Moves on over what [`fill`](Self::fill) collected and the socket took.
    pub fn sent(&mut self, what: Sent) {
        match (self.entries.front(), what) {
            (Some(Entry::Message(_)), Sent::Message) => {
                self.entries.pop_front();
            }
            (Some(Entry::Audio(chunk)), Sent::Audio(bytes)) => {
                self.taken += bytes;
                self.sent += bytes as u64;
                if self.taken >= chunk.len() {
                    self.taken = 0;
                    self.entries.pop_front();
                }
            }
            _ => debug_assert!(false, "what was sent is what was collected"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::push_frame;
    use super::*;

    /// A generator of its own, so that a seed means the same everywhere: xorshift64*.
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d);
            ((number >> 33) as usize) % end
        }
    }

    /// What the log is at heart: everything that was pushed, as the frames that it makes.
    #[derive(Default)]
    struct Model {
        wire: Vec<u8>,
        /// Of every frame: where it begins in `wire`, and the audio bytes up to its end.
        frames: Vec<(usize, u64)>,
        written: u64,
    }

    impl Model {
        fn push_message(&mut self, json: &str) {
            self.frames.push((self.wire.len(), self.written));
            push_frame(true, json.as_bytes(), &mut self.wire);
        }

        fn push_audio(&mut self, chunk: &[u8], frame_bytes: usize) {
            for payload in chunk.chunks(frame_bytes) {
                self.written += payload.len() as u64;
                self.frames.push((self.wire.len(), self.written));
                push_frame(false, payload, &mut self.wire);
            }
        }

        /// Audio bytes of the frames that the first `wire_bytes` have begun.
        fn begun(&self, wire_bytes: usize) -> u64 {
            let begun = self.frames.partition_point(|(start, _)| *start < wire_bytes);
            begun.checked_sub(1).map_or(0, |last| self.frames[last].1)
        }
    }

    /// The log as a connection uses it, towards a socket that takes as much as it is told to.
    struct Driven {
        log: Log,
        unsent: Vec<u8>,
        wire: Vec<u8>,
    }

    impl Driven {
        fn new(frame_bytes: usize) -> Driven {
            Driven { log: Log::new(frame_bytes), unsent: Vec::new(), wire: Vec::new() }
        }

        /// One write of which the socket takes `accept(offered)` bytes.
        fn write(&mut self, accept: impl FnOnce(usize) -> usize) {
            let mut batch = Batch::default();
            batch.push_raw(&self.unsent);
            self.log.fill(&mut batch);
            let offered: Vec<u8> = batch.write(|slices| slices.iter().flat_map(|s| s.to_vec()).collect());
            assert_eq!(offered.len(), batch.len());
            let written = accept(offered.len());
            self.wire.extend_from_slice(&offered[..written]);
            self.unsent.drain(..written.min(self.unsent.len()));
            let mut rest = std::mem::take(&mut self.unsent);
            batch.sent(written, &mut rest, |what| self.log.sent(what));
            self.unsent = rest;
        }

        fn is_done(&self) -> bool {
            self.log.is_empty() && self.unsent.is_empty()
        }
    }

    /// Random histories: whatever was pushed, and however little the socket took at a time, it
    /// gets the bytes of the model, each once, in order.
    #[test]
    fn what_is_sent_is_what_was_pushed() {
        for seed in 1..=100u64 {
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let frame_bytes = [1, 2, 7, 125, 126, 640, 2_047, 2_048, 4_800, 65_536][random.below(10)];
            let (mut driven, mut model) = (Driven::new(frame_bytes), Model::default());
            let (mut next, mut checked) = (0u8, 0);
            for _ in 0..60 {
                match random.below(6) {
                    0 => {
                        let json = format!("{{{}}}", "m".repeat(random.below(300)));
                        model.push_message(&json);
                        driven.log.push_message(json);
                    }
                    1 | 2 => {
                        let most = [1, 3, 1_000, 20_000, 70_000][random.below(5)].min(frame_bytes * 300);
                        let chunk: Vec<u8> = (0..random.below(most + 1))
                            .map(|_| {
                                next = next.wrapping_add(7);
                                next
                            })
                            .collect();
                        model.push_audio(&chunk, frame_bytes);
                        driven.log.push_audio(chunk.into());
                    }
                    3 => driven.write(|_| 0),
                    4 => driven.write(|offered| random.below(offered + 1)),
                    _ => driven.write(|offered| random.below(5).min(offered)),
                }
                let at = driven.wire.len();
                assert!(at <= model.wire.len(), "seed {seed}");
                assert!(driven.wire[checked..] == model.wire[checked..at], "seed {seed}");
                checked = at;
                let sent = model.begun(at);
                assert_eq!(driven.log.wants_more(), model.written - sent < LOOK_AHEAD_BYTES, "seed {seed}");
                assert_eq!(driven.is_done(), at == model.wire.len(), "seed {seed}");
                assert!(driven.unsent.len() < frame_bytes.max(310) + 10, "at most the frame begun");
            }
            while !driven.is_done() {
                driven.write(|offered| offered);
            }
            assert!(driven.wire == model.wire, "seed {seed}");
        }
    }

    #[test]
    fn synthesis_goes_on_up_to_the_look_ahead_and_not_beyond() {
        let full = usize::try_from(LOOK_AHEAD_BYTES).unwrap();
        // What is pushed, and whether more is wanted then.
        for (bytes, wants_more) in [(0, true), (1, true), (full - 1, true), (full, false), (full * 3, false)]
        {
            let mut driven = Driven::new(640);
            driven.log.push_audio(vec![1; bytes].into());
            assert_eq!(driven.log.wants_more(), wants_more, "{bytes}");
            // Messages take no room.
            driven.log.push_message("x".repeat(full));
            assert_eq!(driven.log.wants_more(), wants_more, "{bytes}");
        }
        let mut driven = Driven::new(640);
        driven.log.push_audio(vec![1; full].into());
        driven.write(|_| 0);
        assert!(!driven.log.wants_more(), "offered is not sent");
        driven.write(|_| 1);
        assert!(driven.log.wants_more(), "a frame that was begun has to leave");
        driven.log.push_audio(vec![1; 640].into());
        assert!(!driven.log.wants_more());
    }

    #[test]
    fn an_empty_chunk_is_nothing() {
        let mut log = Log::new(640);
        log.push_audio(Bytes::new());
        assert!(log.is_empty() && log.wants_more());
        let mut batch = Batch::default();
        log.fill(&mut batch);
        assert!(batch.is_empty());
    }

    #[test]
    fn what_was_sent_is_let_go() {
        let chunk = Bytes::from(vec![1; 10_000]);
        let mut driven = Driven::new(5_000);
        driven.log.push_audio(chunk.clone());
        driven.log.push_message("{}".to_owned());
        assert!(!chunk.is_unique());
        driven.write(|offered| offered);
        assert!(chunk.is_unique() && driven.is_done());
    }
}
