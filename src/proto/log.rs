//! The session log: what a client must see, in order, addressed by byte offset, and the gate that
//! decides how far ahead of the listener delivery and synthesis may run.
//!
//! Knows no socket, no engine and no clock: `now` is an argument. Pacing, pause, cancel,
//! backpressure and recovery are positions in it, not mechanisms of their own:
//!
//! ```text
//!         heard        handed to the socket     synthesised
//! base ───played──────────────sent────────────────written ▸
//!  │◂── kept for recovery ─────▸│◂──── look-ahead ────▸│
//!                │◂── ahead ───▸│
//! ```
//!
//! An offset counts the audio bytes of the stream before it; `base ≤ played ≤ sent ≤ written`.
//!
//! - *Burst* delivery is a gate without a limit; *paced* delivery opens it while `sent` is less
//!   than `ahead` beyond `played`, which moves with the clock, or with what the client says.
//! - *Pause*, and a lost connection, shut the gate: `sent` stands still and the clock stops.
//! - A *slow socket* leaves `sent` where it is. Whichever it was, `written` then runs into its
//!   limit, nothing more is taken from the engine, and the engine waits: nobody tells it to.
//! - *Cancel* drops what lies beyond `sent`.
//! - *Recovery* at an offset sets `sent` back to it: the same entries come again.

use super::audio::Format;
use super::frames::{Batch, Sent};
use hyper::body::Bytes;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far synthesis may run ahead of the socket in burst delivery, in bytes of audio: two of the
/// largest writes.
const LOOK_AHEAD_BYTES: u64 = 128 * 1024;

/// The longest time for which paced audio leaves in one write.
const MAX_STEP: Duration = Duration::from_millis(500);

#[derive(Debug)]
enum Entry {
    Message(String),
    Audio(Bytes),
}

/// How audio is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// What the bytes mean.
    pub format: Format,
    /// Payload bytes of one frame.
    pub frame_bytes: usize,
    /// How far ahead of the listener to send; `None` is as fast as it goes.
    pub ahead: Option<Duration>,
    /// Audio bytes kept behind the listener, for a client that comes back.
    pub keep_bytes: u64,
}

/// The position asked for is not in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfLog {
    /// It was there once.
    Before,
    /// It was never sent.
    Beyond,
}

/// One stream between synthesis and socket.
#[derive(Debug)]
pub struct Log {
    flow: Flow,
    /// What has not been sent yet, and what of the rest is kept.
    entries: VecDeque<Entry>,
    /// The first entry that was not sent whole.
    next: usize,
    /// Bytes of it that were.
    taken: usize,
    base: u64,
    sent: u64,
    written: u64,
    /// `played` at the moment of `since`, or when the clock stopped.
    heard: u64,
    /// Since when the listener's clock runs; `None` while it stands.
    since: Option<Instant>,
    /// The client itself tells what it has played.
    is_acknowledged: bool,
    is_shut: bool,
}

impl Log {
    /// An empty log.
    pub fn new(flow: Flow) -> Log {
        Log {
            flow,
            entries: VecDeque::new(),
            next: 0,
            taken: 0,
            base: 0,
            sent: 0,
            written: 0,
            heard: 0,
            since: None,
            is_acknowledged: false,
            is_shut: false,
        }
    }

    /// Appends a control message at the current offset.
    pub fn push_message(&mut self, json: String) {
        self.entries.push_back(Entry::Message(json));
    }

    /// Appends audio: whole samples, and whole frames but for the end of a sentence.
    pub fn push_audio(&mut self, mut chunk: Bytes) {
        if self.written < self.sent {
            // Spoken again to get to an offset that was let go: what lies before it was heard.
            let known = usize::try_from(self.sent - self.written).unwrap_or(usize::MAX).min(chunk.len());
            chunk = chunk.slice(known..);
            self.written += known as u64;
            self.base = self.written;
        }
        self.written += chunk.len() as u64;
        if !chunk.is_empty() {
            self.entries.push_back(Entry::Audio(chunk));
        }
    }

    /// Audio bytes handed to the socket.
    pub fn sent_bytes(&self) -> u64 {
        self.sent
    }

    /// Audio bytes taken from the engine.
    pub fn written_bytes(&self) -> u64 {
        self.written
    }

    /// The lowest offset that can be gone back to.
    pub fn base_bytes(&self) -> u64 {
        self.base
    }

    /// Audio bytes the listener has heard by now: by what the client says, else by the clock, and
    /// in burst delivery, where the clock has no say, what was sent.
    pub fn played_bytes(&self, now: Instant) -> u64 {
        match (self.flow.ahead, self.since) {
            _ if self.is_acknowledged => self.heard,
            (None, _) => self.sent,
            (_, None) => self.heard,
            (_, Some(since)) => {
                let run = self.flow.format.bytes(now.saturating_duration_since(since));
                self.sent.min(self.heard + run)
            }
        }
    }

    /// Audio bytes that may still be sent now, before the gate is shut by the look-ahead.
    fn room(&self, now: Instant) -> u64 {
        match self.flow.ahead {
            _ if self.is_shut => 0,
            None => u64::MAX,
            Some(ahead) => {
                let limit = self.played_bytes(now) + self.flow.format.bytes(ahead);
                limit.saturating_sub(self.sent)
            }
        }
    }

    /// The gate opens once there is room for this much, so that several frames share a write. A
    /// fifth of the look-ahead, or a frame, stays with the listener as the reserve for a late
    /// wake-up; half of it where it is shorter than two frames.
    fn step(&self) -> u64 {
        let Some(ahead) = self.flow.ahead else { return 0 };
        let (format, frame) = (self.flow.format, self.flow.frame_bytes as u64);
        let ahead = format.bytes(ahead);
        ahead.saturating_sub(frame.max(ahead / 5)).min(format.bytes(MAX_STEP)).max(frame.min(ahead / 2))
    }

    /// Whether synthesis should go on.
    pub fn wants_more(&self, now: Instant) -> bool {
        match self.flow.ahead {
            None => self.written.saturating_sub(self.sent) < LOOK_AHEAD_BYTES,
            Some(ahead) => {
                let limit = self.played_bytes(now) + self.flow.format.bytes(ahead);
                self.written < limit + self.flow.frame_bytes as u64
            }
        }
    }

    /// Whether everything was sent.
    pub fn is_all_sent(&self) -> bool {
        self.next >= self.entries.len()
    }

    /// Whether anything may be sent now.
    pub fn has_output(&self, now: Instant) -> bool {
        match self.entries.get(self.next) {
            None => false,
            Some(_) if self.is_shut => false,
            Some(Entry::Message(_)) => true,
            Some(Entry::Audio(_)) => self.room(now) >= self.step(),
        }
    }

    /// When the gate, shut by the look-ahead now, will open; `None` if time alone does not open it.
    pub fn opens_at(&self, now: Instant) -> Option<Instant> {
        if self.is_shut || self.is_acknowledged {
            return None;
        }
        let (Some(_), Some(_)) = (self.flow.ahead, self.since) else { return None };
        let missing = self.step().saturating_sub(self.room(now));
        // What plays in the meantime was sent: the clock does not stop before.
        (missing > 0).then(|| now + self.flow.format.duration(missing) + Duration::from_micros(1))
    }

    /// Collects what comes next, as far as there is room. Moves nothing: what really left is told
    /// to [`sent`](Self::sent).
    pub fn fill(&self, now: Instant, batch: &mut Batch) {
        if !self.has_output(now) {
            return;
        }
        let mut taken = self.taken;
        let mut room = self.room(now);
        for entry in self.entries.range(self.next..) {
            match entry {
                _ if batch.is_full() => return,
                Entry::Message(json) => batch.push_text(json),
                Entry::Audio(chunk) => {
                    while taken < chunk.len() {
                        if batch.is_full() || room == 0 {
                            return;
                        }
                        let count = batch.push_audio(chunk, taken, self.flow.frame_bytes, room);
                        room = room.saturating_sub(count as u64);
                        taken += count;
                    }
                    taken = 0;
                }
            }
        }
    }

    /// Moves on over what [`fill`](Self::fill) collected and the socket took.
    pub fn sent(&mut self, now: Instant, what: Sent) {
        match (self.entries.get(self.next), what) {
            (Some(Entry::Message(_)), Sent::Message) => self.next += 1,
            (Some(Entry::Audio(chunk)), Sent::Audio(bytes)) => {
                let whole = chunk.len();
                // The clock runs from the first frame on, and stood where the listener ran dry.
                self.heard = self.played_bytes(now);
                self.since = Some(now);
                self.taken += bytes;
                self.sent += bytes as u64;
                if self.taken >= whole {
                    self.taken = 0;
                    self.next += 1;
                }
            }
            _ => debug_assert!(false, "what was sent is what was collected"),
        }
        self.let_go(now);
    }

    /// Drops what no client can come back to.
    fn let_go(&mut self, now: Instant) {
        let floor = match self.flow.keep_bytes {
            0 => self.sent,
            keep => self.played_bytes(now).saturating_sub(keep),
        };
        while self.next > 0 {
            match self.entries.front() {
                Some(Entry::Message(_)) if self.flow.keep_bytes == 0 || self.base < floor => {}
                Some(Entry::Audio(chunk)) if self.base + chunk.len() as u64 <= floor => {
                    self.base += chunk.len() as u64;
                }
                _ => return,
            }
            self.entries.pop_front();
            self.next -= 1;
        }
    }

    /// Shuts the gate: nothing more is sent, and the listener's clock stops.
    pub fn shut(&mut self, now: Instant) {
        self.heard = self.played_bytes(now);
        self.since = None;
        self.is_shut = true;
    }

    /// Opens it again.
    pub fn open(&mut self, now: Instant) {
        self.is_shut = false;
        // Before the first frame there is nothing to play.
        self.since = (self.sent > 0).then_some(now);
    }

    /// The client has played up to this offset. From now on it is what counts, not the clock.
    pub fn acknowledge(&mut self, now: Instant, offset: u64) {
        let heard = if self.is_acknowledged { self.heard } else { 0 };
        self.is_acknowledged = true;
        self.heard = offset.min(self.sent).max(heard);
        self.let_go(now);
    }

    /// Drops what was not sent.
    pub fn cancel(&mut self) {
        self.entries.truncate(self.next + 1);
        if self.taken > 0 {
            if let Some(Entry::Audio(chunk)) = self.entries.back_mut() {
                chunk.truncate(self.taken);
            }
            self.taken = 0;
            self.next += 1;
        } else {
            self.entries.truncate(self.next);
        }
        self.written = self.sent;
    }

    /// Goes back to an offset, in the middle of a frame if need be: what comes after it is sent
    /// again, messages at that very offset included.
    ///
    /// # Errors
    /// Nothing has changed if the offset is not in the log.
    pub fn rewind(&mut self, offset: u64) -> Result<(), OutOfLog> {
        if offset < self.base {
            return Err(OutOfLog::Before);
        }
        if offset > self.sent {
            return Err(OutOfLog::Beyond);
        }
        let mut at = self.base;
        self.taken = 0;
        self.next = self.entries.len();
        for (n, entry) in self.entries.iter().enumerate() {
            let len = match entry {
                Entry::Message(_) => 0,
                Entry::Audio(chunk) => chunk.len() as u64,
            };
            if at == offset || at + len > offset {
                self.next = n;
                // Fits, since it is less than the chunk's length.
                self.taken = (offset - at) as usize;
                break;
            }
            at += len;
        }
        self.sent = offset;
        self.heard = self.heard.min(offset);
        Ok(())
    }

    /// Empties the log so that the stream can be spoken again from `start` on, for a client that
    /// has heard it up to `offset`. What is written up to there is not sent.
    pub fn restart(&mut self, start: u64, offset: u64) {
        self.entries.clear();
        self.next = 0;
        self.taken = 0;
        self.base = start;
        self.written = start;
        self.sent = offset;
        self.heard = self.heard.min(offset);
    }

    /// Bytes of memory that the entries take, roughly.
    pub fn memory_bytes(&self) -> usize {
        let of = |entry: &Entry| match entry {
            Entry::Message(json) => json.capacity(),
            Entry::Audio(chunk) => chunk.len(),
        };
        self.entries.iter().map(|entry| of(entry) + size_of::<Entry>()).sum()
    }
}
