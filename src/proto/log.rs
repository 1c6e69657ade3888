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
