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
//!   limit, nothing more is taken from the engine, and so the engine waits.
//! - *Cancel* drops what lies beyond `sent`.
//! - *Recovery* at an offset sets `sent` back to it: the same entries come again. `base` stays behind what
//!   the client has confirmed, however much the network holds.

use super::window::Window;
use crate::audio::Format;
use crate::ws::frames::{Batch, Sent};
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Limit on audio that is synthesised and not sent, in bytes: two of the largest writes.
const LOOK_AHEAD_BYTES: u64 = 128 * 1024;

/// Limit on messages that wait to be sent, in bytes, at which synthesis stops. Also the limit on sent
/// messages that are kept where little audio is kept: sentences without audio move no offset.
const MESSAGE_BYTES: usize = 128 * 1024;
/// Share of the kept bytes that may be messages, where more audio is kept. Speech needs far less.
const MESSAGE_SHARE: u64 = 8;

/// Most audio that is sent to a client that may recover and not confirmed, in bytes. Only the client knows what
/// it has, and everything behind that is kept for it.
pub(crate) const UNCONFIRMED_BYTES: u64 = 2 * 1024 * 1024;

/// The same for a client that may not recover: nothing is kept for it.
pub(crate) const UNANSWERED_BYTES: u64 = 8 * 1024 * 1024;

/// The longest time for which paced audio leaves in one write.
const MAX_STEP: Duration = Duration::from_millis(500);

#[derive(Debug)]
enum Entry {
    Message { json: String, mark: Mark },
    Audio(Bytes),
}

/// Part of a message in its sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// Announces the sentence with this index.
    Opens(u64),
    /// Ends a sentence.
    Closes,
    None,
}

impl Entry {
    /// Bytes of a message; none of audio.
    fn message_bytes(&self) -> usize {
        match self {
            Entry::Message { json, .. } => json.len(),
            Entry::Audio(_) => 0,
        }
    }
}

/// The entry to be sent next.
#[derive(Debug)]
enum Upcoming {
    Nothing,
    Message,
    Audio(Bytes),
}

/// Settings of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Format of the audio.
    pub format: Format,
    /// Payload bytes of one frame.
    pub frame_bytes: usize,
    /// Time to send ahead of the listener; `None` sends as fast as the socket takes.
    pub ahead: Option<Duration>,
    /// Audio bytes kept behind the listener, for a client that recovers.
    pub keep_bytes: u64,
}

/// Bytes beyond the listener at which the gate of paced delivery shuts, and bytes by which it must open
/// again.
///
/// It shuts a frame beyond the look-ahead, the most that is promised, and opens for as many frames
/// at once as that leaves over a reserve, so that they share a write. The reserve stays with the
/// listener for a late wake-up: a fifth of the look-ahead, or a frame.
fn gate(Flow { format, frame_bytes, ahead, .. }: Flow) -> (u64, u64) {
    let Some(ahead) = ahead else { return (u64::MAX, 0) };
    let (ahead, frame) = (format.bytes(ahead), frame_bytes as u64);
    let most = ahead.saturating_add(frame);
    let step = (most - frame.max(ahead / 5)).min(format.bytes(MAX_STEP));
    (most, (step / frame.max(1)).max(1) * frame)
}

fn window(flow: Flow) -> Window {
    let most = if flow.keep_bytes == 0 { UNANSWERED_BYTES } else { UNCONFIRMED_BYTES };
    Window::new(flow.format, most)
}

/// When the listener will have heard something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Past,
    At(Instant),
    /// Not by the clock alone.
    Never,
}

impl Moment {
    fn is_past(self, now: Instant) -> bool {
        match self {
            Moment::Past => true,
            Moment::At(moment) => moment <= now,
            Moment::Never => false,
        }
    }
}

/// The positions of a log, without its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Positions {
    sent: u64,
    written: u64,
    played: u64,
    is_acknowledged: bool,
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
///
/// Kept in this order: what every step reads comes first, in few cache lines.
#[derive(Debug)]
#[repr(C)]
pub struct Log {
    /// The next entry, at hand: a step that sends a frame of it does not have to fetch the list.
    upcoming: Upcoming,
    /// Bytes of it that were sent.
    taken: usize,
    /// When the gate opens that the look-ahead, or what the client has to confirm, has shut. Worked out when
    /// a position changes, since a step asks for it many times.
    opens: Moment,
    /// When paced delivery wants more speech, likewise.
    wants: Moment,
    /// Since when the listener's clock runs; `None` while it stands.
    since: Option<Instant>,
    sent: u64,
    written: u64,
    /// `played` at the moment of `since`, or when the clock stopped.
    heard: u64,
    /// The most that may be sent and not heard, in bytes.
    most: u64,
    /// The gate opens once there is room for this much.
    step: u64,
    flow: Flow,
    /// The client itself tells what it has played.
    is_acknowledged: bool,
    is_shut: bool,
    /// The first entry that was not sent whole.
    next: usize,
    base: u64,
    /// Audio bytes that the client has for sure.
    confirmed: u64,
    /// Audio bytes after which it was last asked.
    asked: u64,
    /// Limit on what is on the way to it.
    window: Window,
    /// The furthest that was sent before the cursor was set back.
    peak: u64,
    /// Bytes of the messages that were not sent.
    unsent_messages: usize,
    /// Bytes of those that were, and are kept.
    kept_messages: usize,
    /// Entries that were not sent yet, after those that were sent and are kept.
    entries: VecDeque<Entry>,
}

impl Log {
    /// An empty log.
    pub fn new(flow: Flow) -> Log {
        let (most, step) = gate(flow);
        Log {
            flow,
            most,
            step,
            entries: VecDeque::new(),
            next: 0,
            taken: 0,
            upcoming: Upcoming::Nothing,
            base: 0,
            confirmed: 0,
            asked: 0,
            window: window(flow),
            peak: 0,
            unsent_messages: 0,
            kept_messages: 0,
            sent: 0,
            written: 0,
            heard: 0,
            since: None,
            opens: Moment::Past,
            wants: Moment::Past,
            is_acknowledged: false,
            is_shut: false,
        }
    }

    /// An empty log for a listener who has heard the stream up to this offset. What is written up to there
    /// is not sent.
    pub fn starting_at(flow: Flow, offset: u64) -> Log {
        Log { sent: offset, heard: offset, confirmed: offset, asked: offset, ..Log::new(flow) }
    }

    /// A log that has lost its entries: its gate is shut, and each offset up to `written` lies before
    /// what it keeps.
    pub fn restore(flow: Flow, positions: Positions) -> Log {
        let Positions { sent, written, played, is_acknowledged } = positions;
        let sent = sent.max(written);
        Log {
            base: u64::MAX,
            sent,
            written: sent,
            heard: played,
            is_acknowledged,
            is_shut: true,
            ..Log::new(flow)
        }
    }

    /// Its positions now.
    pub fn positions(&self, now: Instant) -> Positions {
        Positions {
            sent: self.reached_bytes(),
            written: self.written,
            played: self.played_bytes(now),
            is_acknowledged: self.is_acknowledged,
        }
    }

    /// True until a restored log has returned to an offset.
    pub fn is_restored(&self) -> bool {
        self.base > self.sent
    }

    /// Settings of the gate.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Appends a control message at the current offset.
    pub fn push_message(&mut self, json: String) {
        self.push(Entry::Message { json, mark: Mark::None });
    }

    /// The same, with the message that announces this sentence.
    pub fn push_opening(&mut self, json: String, index: u64) {
        self.push(Entry::Message { json, mark: Mark::Opens(index) });
    }

    /// The same, with the message that ends a sentence.
    pub fn push_closing(&mut self, json: String) {
        self.push(Entry::Message { json, mark: Mark::Closes });
    }

    fn push(&mut self, entry: Entry) {
        self.unsent_messages += entry.message_bytes();
        self.entries.push_back(entry);
        if let Upcoming::Nothing = self.upcoming {
            self.look();
        }
    }

    /// To be called when another entry is the next.
    fn look(&mut self) {
        self.upcoming = match self.entries.get(self.next) {
            None => Upcoming::Nothing,
            Some(Entry::Message { .. }) => Upcoming::Message,
            Some(Entry::Audio(chunk)) => Upcoming::Audio(chunk.clone()),
        };
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
            self.push(Entry::Audio(chunk));
        }
        self.set_gate();
    }

    /// Audio bytes handed to the socket.
    pub fn sent_bytes(&self) -> u64 {
        self.sent
    }

    /// Audio bytes handed to any socket of the stream: a client may have as many.
    pub fn reached_bytes(&self) -> u64 {
        self.sent.max(self.peak)
    }

    /// True while audio before the cursor is spoken again.
    pub fn is_behind(&self) -> bool {
        self.written < self.sent
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

    /// When the listener will have heard this far.
    fn heard_at(&self, offset: u64) -> Moment {
        match self.since {
            _ if offset <= self.heard => Moment::Past,
            Some(since) if !self.is_acknowledged && offset <= self.sent => {
                let bytes = (offset - self.heard)
                    .next_multiple_of(self.flow.format.encoding.bytes_per_sample() as u64);
                Moment::At(since + self.flow.format.duration(bytes) + Duration::from_micros(1))
            }
            _ => Moment::Never,
        }
    }

    /// To be called when a position, or the clock, was changed.
    fn set_gate(&mut self) {
        self.opens = match self.flow.ahead {
            Some(_) => self.heard_at((self.sent + self.step).saturating_sub(self.most)),
            None => Moment::Past,
        };
        // At least a frame, or a write would be tried for nothing.
        let frame_bytes = self.flow.frame_bytes as u64;
        if self.window_room() < frame_bytes {
            let passes = match self.room_without_answers() < frame_bytes {
                true => Moment::Never,
                false => self.gives_up_on_answers(),
            };
            self.opens = self.opens.max(passes);
        }
        if self.flow.ahead.is_some() {
            self.wants = self.heard_at((self.written + 1).saturating_sub(self.most));
        }
    }

    /// Audio bytes that may still be sent now, before the gate is shut by the look-ahead.
    fn room(&self, now: Instant) -> u64 {
        if self.is_shut {
            return 0;
        }
        let room = match self.gives_up_on_answers().is_past(now) {
            true => self.room_without_answers(),
            false => self.window_room(),
        };
        match self.flow.ahead {
            None => room,
            Some(_) => (self.played_bytes(now) + self.most).saturating_sub(self.sent).min(room),
        }
    }

    /// When the client no longer has to answer for more to be sent.
    fn gives_up_on_answers(&self) -> Moment {
        match self.window.gives_up_at() {
            None => Moment::Never,
            Some(at) if self.flow.ahead.is_none() => Moment::At(at),
            // The clock bounds paced delivery: it does not wait for the first answer.
            Some(_) => Moment::Past,
        }
    }

    /// Audio bytes that may still be sent before the client has to confirm what it has.
    fn window_room(&self) -> u64 {
        (self.confirmed + self.window.bytes(self.flow.frame_bytes)).saturating_sub(self.sent)
    }

    /// The same for a client that answers no pings.
    fn room_without_answers(&self) -> u64 {
        match self.flow.keep_bytes {
            0 => u64::MAX,
            _ => (self.confirmed + UNCONFIRMED_BYTES).saturating_sub(self.sent),
        }
    }

    /// Returns the current offset if the client has to be asked now whether it has everything before it.
    pub fn ask(&mut self, now: Instant) -> Option<u64> {
        if self.sent < self.asked + self.window.step() {
            return None;
        }
        self.asked = self.sent;
        self.window.ask(self.sent, now);
        self.set_gate();
        Some(self.sent)
    }

    /// Since when nothing can be sent because the client, which answers pings, has read nothing.
    pub fn waits_since(&self) -> Option<Instant> {
        let is_waiting = !self.is_shut
            && matches!(self.upcoming, Upcoming::Audio(_))
            && self.window_room() < self.flow.frame_bytes as u64;
        self.window.waits_since().filter(|_| is_waiting)
    }

    /// The client has everything before this offset.
    pub fn confirm(&mut self, now: Instant, offset: u64) {
        self.confirmed = self.confirmed.max(offset.min(self.sent));
        self.window.answer(offset, now);
        self.set_gate();
        self.let_go(now);
    }

    /// True if synthesis should continue.
    pub fn wants_more(&self, now: Instant) -> bool {
        self.written.saturating_sub(self.sent) < LOOK_AHEAD_BYTES
            && (self.flow.ahead.is_none() || self.wants.is_past(now))
            && self.unsent_messages < MESSAGE_BYTES
    }

    /// True if nothing is sent until [`open`](Self::open).
    pub fn is_shut(&self) -> bool {
        self.is_shut
    }

    /// True if everything was sent.
    pub fn is_all_sent(&self) -> bool {
        matches!(self.upcoming, Upcoming::Nothing)
    }

    /// True if anything may be sent now.
    pub fn has_output(&self, now: Instant) -> bool {
        match self.upcoming {
            Upcoming::Nothing => false,
            _ if self.is_shut => false,
            Upcoming::Message => true,
            Upcoming::Audio(_) => self.opens.is_past(now),
        }
    }

    /// When the gate, shut by the look-ahead now, will open; `None` if time alone does not open it.
    pub fn opens_at(&self, now: Instant) -> Option<Instant> {
        match self.opens {
            Moment::At(opens) if !self.is_shut && opens > now => Some(opens),
            _ => None,
        }
    }

    /// Collects the next entries, as far as there is room. Moves nothing: [`sent`](Self::sent) notes what
    /// the socket took.
    pub fn fill(&self, now: Instant, batch: &mut Batch) {
        if !self.has_output(now) {
            return;
        }
        let mut room = self.room(now);
        let mut next = self.next;
        if let Upcoming::Audio(chunk) = &self.upcoming {
            if !self.fill_from(chunk, self.taken, &mut room, batch) {
                return;
            }
            next += 1;
        }
        for entry in self.entries.range(next..) {
            match entry {
                _ if batch.is_full() => return,
                Entry::Message { json, .. } => batch.push_text(json),
                Entry::Audio(chunk) if self.fill_from(chunk, 0, &mut room, batch) => {}
                Entry::Audio(_) => return,
            }
        }
    }

    /// Collects frames of a chunk. Returns true if it was all of them.
    fn fill_from(&self, chunk: &Bytes, taken: usize, room: &mut u64, batch: &mut Batch) -> bool {
        if batch.is_full() {
            return false;
        }
        let count = batch.push_audio(chunk, taken, self.flow.frame_bytes, *room);
        *room -= count as u64;
        taken + count == chunk.len()
    }

    /// Moves over a piece that [`fill`](Self::fill) collected and the socket took. Returns the index of the
    /// sentence that it announces, if it does.
    pub fn sent(&mut self, now: Instant, what: Sent) -> Option<u64> {
        let mut opened = None;
        match (&self.upcoming, what) {
            (Upcoming::Message, Sent::Message) => {
                if let Some(Entry::Message { json, mark }) = self.entries.get(self.next) {
                    if let Mark::Opens(index) = mark {
                        opened = Some(*index);
                    }
                    self.unsent_messages -= json.len();
                    self.kept_messages += json.len();
                }
                self.next += 1;
                self.look();
            }
            (Upcoming::Audio(chunk), Sent::Audio(bytes)) => {
                let whole = chunk.len();
                // The clock runs from the first frame on, and stood where the listener ran dry. As
                // long as it runs it is left alone, or each time would cost part of a sample.
                let played = self.played_bytes(now);
                if self.since.is_none() || played == self.sent {
                    self.heard = played;
                    self.since = Some(now);
                }
                self.taken += bytes;
                self.sent += bytes as u64;
                if self.taken >= whole {
                    self.taken = 0;
                    self.next += 1;
                    self.look();
                }
            }
            _ => debug_assert!(false, "what was sent is what was collected"),
        }
        self.set_gate();
        self.let_go(now);
        opened
    }

    /// Drops the entries that no client can return to.
    fn let_go(&mut self, now: Instant) {
        let floor = match self.flow.keep_bytes {
            0 => self.sent,
            keep => self.played_bytes(now).min(self.confirmed).saturating_sub(keep),
        };
        let most = MESSAGE_BYTES.max((self.flow.keep_bytes / MESSAGE_SHARE) as usize);
        while self.next > 0 {
            let has_too_many = self.kept_messages > most;
            match self.entries.front() {
                Some(Entry::Message { json, .. })
                    if self.flow.keep_bytes == 0 || self.base < floor || has_too_many =>
                {
                    self.kept_messages -= json.len();
                }
                Some(Entry::Audio(chunk)) if self.base + chunk.len() as u64 <= floor || has_too_many => {
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
        self.set_gate();
    }

    /// Opens it again.
    pub fn open(&mut self, now: Instant) {
        self.heard = self.played_bytes(now);
        self.is_shut = false;
        // Before the first frame there is nothing to play.
        self.since = (self.sent > 0).then_some(now);
        self.set_gate();
    }

    /// The client has played up to this offset. From now on it is what counts, not the clock.
    pub fn acknowledge(&mut self, now: Instant, offset: u64) {
        let heard = if self.is_acknowledged { self.heard } else { 0 };
        self.is_acknowledged = true;
        // A client's own figure moves by leaps. Each leap makes room for several frames, and the next
        // may not come until the listener has heard all audio.
        self.step = self.flow.frame_bytes as u64;
        self.heard = offset.min(self.sent).max(heard);
        self.confirmed = self.confirmed.max(self.heard);
        self.set_gate();
        self.let_go(now);
    }

    /// Drops what was not sent. What was is past for the listener, too, who makes room for what
    /// comes next.
    pub fn cancel(&mut self, now: Instant) {
        if self.taken > 0 {
            if let Some(Entry::Audio(chunk)) = self.entries.get_mut(self.next) {
                chunk.truncate(self.taken);
            }
            self.taken = 0;
            self.next += 1;
        }
        self.forget_opening();
        self.entries.truncate(self.next);
        self.unsent_messages = 0;
        self.upcoming = Upcoming::Nothing;
        if self.written < self.sent {
            // It was not yet spoken again: nothing before this can be gone back to.
            self.base = self.sent;
        }
        self.peak = 0;
        self.written = self.sent;
        self.heard = self.sent;
        self.since = self.since.map(|_| now);
        self.set_gate();
    }

    /// Moves the cursor before the messages of a sentence that was announced and has sent no audio: it is
    /// not announced to a client that comes back.
    fn forget_opening(&mut self) {
        let mut at = self.next;
        while let Some(Entry::Message { mark, .. }) = at.checked_sub(1).and_then(|n| self.entries.get(n)) {
            match mark {
                Mark::Closes => return,
                Mark::None => at -= 1,
                Mark::Opens(_) => {
                    let dropped = self.entries.range(at - 1..self.next).map(Entry::message_bytes);
                    self.kept_messages -= dropped.sum::<usize>();
                    self.next = at - 1;
                    return;
                }
            }
        }
    }

    /// Moves the cursor to an offset that was sent, in the middle of a frame if need be: what comes after
    /// it is sent again, messages at that very offset included.
    ///
    /// # Errors
    /// Nothing has changed if the offset is not in the log.
    pub fn rewind(&mut self, offset: u64) -> Result<(), OutOfLog> {
        if offset < self.base {
            return Err(OutOfLog::Before);
        }
        if offset > self.reached_bytes() || offset > self.written {
            return Err(OutOfLog::Beyond);
        }
        self.peak = self.reached_bytes();
        let mut at = self.base;
        self.taken = 0;
        self.next = self.entries.len();
        for (n, entry) in self.entries.iter().enumerate() {
            let len = match entry {
                Entry::Message { .. } => 0,
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
        self.look();
        let all = self.kept_messages + self.unsent_messages;
        self.kept_messages = self.entries.range(..self.next).map(Entry::message_bytes).sum();
        self.unsent_messages = all - self.kept_messages;
        self.sent = offset;
        self.heard = self.heard.min(offset);
        (self.confirmed, self.asked, self.window) = (offset, offset, window(self.flow));
        self.set_gate();
        Ok(())
    }

    /// Empties the log so that the stream can be spoken again from `start` on, for a client that
    /// has heard it up to `offset`. What is written up to there is not sent.
    pub fn restart(&mut self, start: u64, offset: u64) {
        self.peak = if self.is_restored() { self.sent } else { self.reached_bytes() };
        self.entries.clear();
        self.unsent_messages = 0;
        self.kept_messages = 0;
        self.upcoming = Upcoming::Nothing;
        self.next = 0;
        self.taken = 0;
        self.base = start;
        self.written = start;
        self.sent = offset;
        self.heard = self.heard.min(offset);
        (self.confirmed, self.asked, self.window) = (offset, offset, window(self.flow));
        self.set_gate();
    }

    /// The same, where the audio from `start` on is spoken in another take: no client has any of it.
    pub fn restart_anew(&mut self, start: u64) {
        self.restart(start, start);
        self.peak = 0;
    }

    /// Moves over audio that was spoken again and lies before the cursor, with its messages.
    pub fn skip(&mut self, bytes: u64) {
        self.written += bytes;
        self.base = self.written;
        self.set_gate();
    }

    /// CRC-32 of the audio in this range; `None` if the log does not have all of it.
    pub fn crc32(&self, start: u64, end: u64) -> Option<u32> {
        if start < self.base || end > self.written || self.is_behind() {
            return None;
        }
        let mut crc = crc32fast::Hasher::new();
        let mut at = self.base;
        for entry in &self.entries {
            let Entry::Audio(chunk) = entry else { continue };
            let behind = at + chunk.len() as u64;
            let (from, to) = (start.clamp(at, behind), end.clamp(at, behind));
            crc.update(&chunk[(from - at) as usize..(to - at) as usize]);
            at = behind;
            if at >= end {
                break;
            }
        }
        Some(crc.finalize())
    }

    /// Bytes of audio and messages in the log. Takes the same time however long the log is.
    pub fn held_bytes(&self) -> usize {
        let audio = if self.is_restored() { 0 } else { self.written.saturating_sub(self.base) };
        audio as usize + self.kept_messages + self.unsent_messages
    }

    /// Bytes of memory that the entries take, roughly.
    pub fn memory_bytes(&self) -> usize {
        let of = |entry: &Entry| match entry {
            Entry::Message { json, .. } => json.capacity(),
            Entry::Audio(chunk) => chunk.len(),
        };
        self.entries.iter().map(|entry| of(entry) + size_of::<Entry>()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Encoding;
    use crate::ws::frames::push_frame;

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

    fn burst(frame_bytes: usize) -> Flow {
        let format = Format { encoding: Encoding::MuLaw, sample_rate_hz: 8_000 };
        Flow { format, frame_bytes, ahead: None, keep_bytes: 0 }
    }

    /// A model of the log: everything that was pushed, as frames.
    #[derive(Default)]
    struct Model {
        wire: Vec<u8>,
        /// Start of each frame in `wire`, and the audio bytes up to its end.
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

    /// The log as a connection uses it, with a socket that takes a given number of bytes.
    struct Driven {
        log: Log,
        unsent: Vec<u8>,
        wire: Vec<u8>,
        now: Instant,
        /// The client answers pings at once.
        answers: bool,
    }

    impl Driven {
        fn new(flow: Flow) -> Driven {
            let answers = flow.keep_bytes == 0;
            Driven { log: Log::new(flow), unsent: Vec::new(), wire: Vec::new(), now: Instant::now(), answers }
        }

        /// Offers one write to the socket, which takes `accept(offered)` bytes.
        fn write(&mut self, accept: impl FnOnce(usize) -> usize) {
            let mut batch = Batch::default();
            batch.push_raw(&self.unsent);
            self.log.fill(self.now, &mut batch);
            let offered: Vec<u8> = batch.write(|slices| slices.iter().flat_map(|s| s.to_vec()).collect());
            assert_eq!(offered.len(), batch.len());
            let written = accept(offered.len());
            self.wire.extend_from_slice(&offered[..written]);
            self.unsent.drain(..written.min(self.unsent.len()));
            let mut rest = std::mem::take(&mut self.unsent);
            batch.sent(written, &mut rest, |what| _ = self.log.sent(self.now, what));
            self.unsent = rest;
            if self.answers
                && let Some(offset) = self.log.ask(self.now)
            {
                self.log.confirm(self.now, offset);
            }
        }

        /// The client says that it has everything.
        fn confirm(&mut self) {
            self.log.confirm(self.now, self.log.sent_bytes());
        }

        fn is_done(&self) -> bool {
            self.log.is_all_sent() && self.unsent.is_empty()
        }
    }

    /// In random histories, and however little the socket takes at a time, it gets the bytes of the model,
    /// each once, in order.
    #[test]
    fn sent_bytes_are_the_pushed_bytes() {
        for seed in 1..=100u64 {
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let frame_bytes = [1, 2, 7, 125, 126, 640, 2_047, 2_048, 4_800, 65_536][random.below(10)];
            let (mut driven, mut model) = (Driven::new(burst(frame_bytes)), Model::default());
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
                assert_eq!(
                    driven.log.wants_more(driven.now),
                    model.written - sent < LOOK_AHEAD_BYTES,
                    "seed {seed}"
                );
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
    fn synthesis_stops_at_the_look_ahead() {
        let full = usize::try_from(LOOK_AHEAD_BYTES).unwrap();
        // Bytes that are pushed, and true if more is wanted then.
        for (bytes, wants_more) in [(0, true), (1, true), (full - 1, true), (full, false), (full * 3, false)]
        {
            let mut driven = Driven::new(burst(640));
            driven.log.push_audio(vec![1; bytes].into());
            assert_eq!(driven.log.wants_more(driven.now), wants_more, "{bytes}");
            // Messages use none of the look-ahead.
            driven.log.push_message("x".repeat(MESSAGE_BYTES - 1));
            assert_eq!(driven.log.wants_more(driven.now), wants_more, "{bytes}");
        }
        let mut driven = Driven::new(burst(640));
        driven.log.push_audio(vec![1; full].into());
        driven.write(|_| 0);
        assert!(!driven.log.wants_more(driven.now), "offered is not sent");
        driven.write(|_| 1);
        assert!(driven.log.wants_more(driven.now), "a begun frame has to leave");
        driven.log.push_audio(vec![1; 640].into());
        assert!(!driven.log.wants_more(driven.now));
    }

    #[test]
    fn messages_alone_stop_synthesis_and_are_not_kept_forever() {
        let message = "x".repeat(1_000);
        let most = MESSAGE_BYTES / message.len() + 1;
        for flow in [burst(640), Flow { keep_bytes: 5_000, ..burst(640) }] {
            let mut driven = Driven::new(flow);
            let fill = |driven: &mut Driven| {
                let mut count = 0;
                while driven.log.wants_more(driven.now) {
                    driven.log.push_message(message.clone());
                    count += 1;
                }
                count
            };
            assert_eq!(fill(&mut driven), most);
            for _ in 0..10 {
                while driven.log.has_output(driven.now) {
                    driven.write(|offered| offered);
                }
                assert_eq!(fill(&mut driven), most, "there is room again");
                let memory = driven.log.memory_bytes();
                assert!(memory < MESSAGE_BYTES * 5 / 2, "{memory}");
            }
            driven.log.cancel(driven.now);
            assert_eq!(fill(&mut driven), most, "cancelled messages take no room");
            // A rewind takes room for the messages that are sent again.
            while driven.log.has_output(driven.now) {
                driven.write(|offered| offered);
            }
            assert_eq!(driven.log.rewind(0), Ok(()));
            let again = if flow.keep_bytes == 0 { 0 } else { most - 1 };
            assert_eq!(fill(&mut driven), most - again);
            driven.log.restart(0, 0);
            assert_eq!(fill(&mut driven), most);
        }
    }

    #[test]
    fn kept_messages_grow_with_kept_audio() {
        let mut driven = Driven::new(Flow { keep_bytes: 4 * 1024 * 1024, ..burst(640) });
        for _ in 0..2_000 {
            driven.log.push_audio(vec![1; 1_280].into());
            driven.log.push_message("x".repeat(150));
            driven.write(|offered| offered);
            driven.confirm();
        }
        assert_eq!(driven.log.base_bytes(), 0);
        // More messages than any speech has move the base, and a rewind before it fails.
        for _ in 0..4_000 {
            driven.log.push_message("x".repeat(150));
            driven.write(|offered| offered);
        }
        let base = driven.log.base_bytes();
        assert!(base > 0);
        assert_eq!(driven.log.rewind(base - 1), Err(OutOfLog::Before));
        assert_eq!(driven.log.rewind(base), Ok(()));
    }

    #[test]
    fn empty_chunk_adds_no_entry() {
        let (mut log, now) = (Log::new(burst(640)), Instant::now());
        log.push_audio(Bytes::new());
        assert!(log.is_all_sent() && log.wants_more(now));
        let mut batch = Batch::default();
        log.fill(now, &mut batch);
        assert!(batch.is_empty());
    }

    #[test]
    fn sent_audio_is_dropped_where_nothing_is_kept() {
        let chunk = Bytes::from(vec![1; 10_000]);
        let mut driven = Driven::new(burst(5_000));
        driven.log.push_audio(chunk.clone());
        driven.log.push_message("{}".to_owned());
        assert!(!chunk.is_unique());
        driven.write(|offered| offered);
        assert!(chunk.is_unique() && driven.is_done());
    }

    const MS: Duration = Duration::from_millis(1);

    /// 8 bytes are a millisecond.
    fn paced(frame_bytes: usize, ahead: Duration, keep_bytes: u64) -> Flow {
        Flow { ahead: Some(ahead), keep_bytes, ..burst(frame_bytes) }
    }

    impl Driven {
        /// Sends everything that may leave now. Returns the audio bytes of each write.
        fn send(&mut self) -> Vec<usize> {
            let mut frames = Vec::new();
            while self.log.has_output(self.now) {
                let before = self.log.sent_bytes();
                self.write(|offered| offered);
                frames.push((self.log.sent_bytes() - before) as usize);
            }
            self.wire.clear();
            frames
        }
    }

    /// Paced audio is within the look-ahead at any time, leaves at once at the beginning, and is never too
    /// late, even over a long time and with a short look-ahead.
    #[test]
    fn paced_audio_stays_within_the_look_ahead_and_the_listener_is_never_dry() {
        for (frame_ms, ahead_ms) in
            [(1, 20), (20, 20), (20, 40), (40, 100), (40, 2_000), (1_000, 20), (7, 333), (40, 60_000)]
        {
            // At this rate neither a frame nor a wake-up is a whole number of samples or milliseconds.
            let format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 22_050 };
            let frame_bytes = format.frame_bytes(frame_ms);
            let ahead = MS * ahead_ms;
            let mut driven = Driven::new(Flow { format, frame_bytes, ahead: Some(ahead), keep_bytes: 0 });
            let began = driven.now;
            let at = format!("frames of {frame_ms} ms, {ahead_ms} ms ahead");
            let limit = format.bytes(ahead) + frame_bytes as u64;
            let mut wakes = 0u32;
            let minute = Duration::from_secs(if ahead_ms > 10_000 { 200 } else { 60 });
            while driven.now < began + minute {
                let mut frames = 0;
                // A look-ahead beyond what may wait is filled in several writes.
                loop {
                    while driven.log.wants_more(driven.now) {
                        driven.log.push_audio(vec![1; frame_bytes * 3].into());
                    }
                    match driven.send().len() {
                        0 => break,
                        more => frames += more,
                    }
                }
                assert!(frames > 0, "{at}: woken for nothing");
                let heard = format.bytes(driven.now - began);
                let sent = driven.log.sent_bytes();
                assert!(sent - heard.min(sent) <= limit, "{at}: {sent} sent, {heard} heard");
                assert!(driven.log.written_bytes() <= sent + limit + 4 * frame_bytes as u64, "{at}");
                assert!(!driven.log.has_output(driven.now));
                let opens = driven.log.opens_at(driven.now).expect("it opens by itself");
                assert!(opens > driven.now, "{at}: it would spin");
                driven.now = opens - Duration::from_micros(60);
                while driven.log.wants_more(driven.now) {
                    driven.log.push_audio(vec![1; frame_bytes * 3].into());
                }
                assert!(!driven.log.has_output(driven.now), "{at}: open before its time");
                driven.now = opens;
                assert!(driven.log.has_output(driven.now), "{at}: shut after its time");
                // Timers are late. The delays must not add up.
                driven.now += Duration::from_micros(690);
                // The sent audio lasts until now, but for the time of a sample.
                let heard = format.bytes(driven.now - began);
                if frame_ms <= ahead_ms / 2 {
                    assert!(heard < sent, "{at}: the listener ran dry, {heard} heard of {sent}");
                }
                wakes += 1;
            }
            let step = minute / wakes;
            let frames = ((ahead_ms + frame_ms - frame_ms.max(ahead_ms / 5)).min(500) / frame_ms).max(1);
            assert!(step >= MS * (frames * frame_ms) * 9 / 10, "{at}: a wake-up every {step:?}");
        }
    }

    #[test]
    fn playback_clock_stops_while_the_gate_is_shut_or_the_listener_is_dry() {
        let mut driven = Driven::new(paced(80, MS * 100, 0));
        driven.now += MS * 70;
        assert_eq!(driven.log.opens_at(driven.now), None, "nothing plays before the first frame");
        driven.log.push_audio(vec![1; 4_000].into());
        driven.send();
        assert_eq!(driven.log.sent_bytes(), 880);
        driven.now += MS * 30;
        assert_eq!(driven.log.played_bytes(driven.now), 240);
        driven.log.shut(driven.now);
        driven.now += MS * 500;
        assert_eq!(driven.log.played_bytes(driven.now), 240);
        assert!(!driven.log.has_output(driven.now));
        assert_eq!(driven.log.opens_at(driven.now), None);
        driven.log.shut(driven.now);
        driven.log.open(driven.now);
        assert_eq!(driven.log.played_bytes(driven.now), 240);
        driven.now += MS * 10;
        assert_eq!(driven.log.played_bytes(driven.now), 320);
        // Dry: no more is played than was sent.
        driven.now += MS * 500;
        assert_eq!(driven.log.played_bytes(driven.now), 880);
        driven.send();
        assert_eq!(driven.log.sent_bytes(), 1_760, "time that stood still is not caught up");
        driven.now += MS * 10;
        assert_eq!(driven.log.played_bytes(driven.now), 960);
        // A message waits only for the entries before it.
        let mut driven = Driven::new(paced(80, MS * 100, 0));
        driven.log.push_message("{}".to_owned());
        driven.log.push_audio(vec![1; 881].into());
        driven.log.push_message("{}".to_owned());
        driven.write(|offered| offered);
        assert!(!driven.log.is_all_sent() && !driven.log.has_output(driven.now));
    }

    #[test]
    fn ack_replaces_the_clock() {
        let mut driven = Driven::new(paced(80, MS * 100, 160));
        driven.log.push_audio(vec![1; 4_000].into());
        driven.send();
        driven.now += MS * 90;
        assert_eq!(driven.log.played_bytes(driven.now), 720);
        // Less than the clock said is allowed; less than the client said before, or more than was sent, is
        // not.
        for (offset, played) in [(100, 100), (50, 100), (100, 100), (300, 300)] {
            driven.log.acknowledge(driven.now, offset);
            assert_eq!(driven.log.played_bytes(driven.now), played);
        }
        driven.now += MS * 1_000;
        assert_eq!(driven.log.played_bytes(driven.now), 300);
        driven.send();
        assert_eq!(driven.log.sent_bytes(), 1_120, "whole frames, as many as there is room for");
        assert!(!driven.log.has_output(driven.now));
        assert_eq!(driven.log.opens_at(driven.now), None, "time alone does not open it");
        driven.log.acknowledge(driven.now, 5_000);
        assert_eq!(driven.log.played_bytes(driven.now), 1_120);
        driven.send();
        assert_eq!(driven.log.sent_bytes(), 2_000);
        // Whole chunks are kept: a rewind to the beginning of this one is possible.
        assert_eq!(driven.log.base_bytes(), 0);
    }

    /// A player that acknowledges before it has played all its audio is never dry.
    #[test]
    fn ack_in_time_leaves_no_gap() {
        for ahead in [60, 100, 200, 300, 400, 500, 1_000, 2_000] {
            for every in (10..ahead).step_by(10) {
                let mut driven = Driven::new(paced(160, MS * ahead, 0));
                driven.log.push_audio(vec![1; 8 * 20_000].into());
                let mut played = 0;
                for ms in 0..u64::from(4 * ahead) + 1_000 {
                    while driven.log.has_output(driven.now) {
                        driven.send();
                    }
                    let unheard = driven.log.sent_bytes() - played;
                    assert!(unheard > 0, "{ahead} ms ahead, ack every {every} ms: dry at {ms} ms");
                    assert!(unheard <= u64::from(ahead + 20) * 8 || ms < u64::from(every));
                    driven.now += MS;
                    played += 8;
                    if (ms + 1) % u64::from(every) == 0 {
                        driven.log.acknowledge(driven.now, played);
                    }
                }
            }
        }
    }

    #[test]
    fn audio_beyond_keep_bytes_is_dropped() {
        for keep_bytes in [0, 1, 1_000, 5_000] {
            let mut driven = Driven::new(Flow { keep_bytes, ..burst(160) });
            for n in 0..100 {
                driven.log.push_message(format!("{{{n}}}"));
                driven.log.push_audio(vec![1; 640].into());
                driven.send();
                driven.confirm();
                let (base, sent) = (driven.log.base_bytes(), driven.log.sent_bytes());
                assert!(base <= sent.saturating_sub(keep_bytes) || keep_bytes == 0, "{keep_bytes}");
                assert!(sent - base < keep_bytes.max(1) + 640, "{keep_bytes}: {base} of {sent}");
                let most = (keep_bytes as usize + 640) * 2 + 200;
                assert!(driven.log.memory_bytes() < most, "{keep_bytes}: {}", driven.log.memory_bytes());
            }
        }
    }

    /// Whatever lies between server and client may hold what was sent: the log lets go of nothing that the
    /// client has not confirmed, and sends no more than is kept for it.
    #[test]
    fn unconfirmed_audio_is_kept_and_bounded() {
        for ahead in [None, Some(Duration::from_secs(3_600))] {
            for keep_bytes in [0, 1, 100_000] {
                let mut driven = Driven::new(Flow { keep_bytes, ahead, ..burst(160) });
                driven.answers = false;
                let mut asked: Vec<u64> = Vec::new();
                let mut pour = |driven: &mut Driven| {
                    for _ in 0..10_000 {
                        if driven.log.wants_more(driven.now) {
                            driven.log.push_audio(vec![1; 640].into());
                        }
                        driven.send();
                        asked.extend(driven.log.ask(driven.now));
                    }
                    driven.log.sent_bytes()
                };
                let sent = pour(&mut driven);
                if ahead.is_none() {
                    // In burst delivery little is sent before the first answer, or before there will be none.
                    assert!((32_000..=32 * 1024).contains(&sent), "{sent}");
                    assert!(!driven.log.has_output(driven.now));
                    assert_eq!(driven.log.opens_at(driven.now), Some(driven.now + MS * 1_500));
                    driven.now += MS * 1_500;
                }
                let sent = if ahead.is_none() { pour(&mut driven) } else { sent };
                if keep_bytes == 0 {
                    assert!(sent >= 6_400_000, "{sent}");
                    continue;
                }
                assert!(sent <= UNCONFIRMED_BYTES && sent + 160 > UNCONFIRMED_BYTES, "{sent}");
                assert!(!driven.log.has_output(driven.now));
                // Each offset in what may be lost can be returned to, the very first included.
                assert_eq!(driven.log.base_bytes(), 0);
                driven.now += Duration::from_secs(3_000);
                // More than was sent cannot be confirmed, nor less than before.
                driven.log.confirm(driven.now, 1_000_000);
                driven.log.confirm(driven.now, 5);
                assert_eq!(driven.log.base_bytes(), (1_000_000 - keep_bytes) / 640 * 640);
                // The answer was late, so little is sent before the next one.
                let more = pour(&mut driven);
                assert_eq!(more, sent, "less than that is on the way");
                driven.now += Duration::from_secs(3_000);
                driven.log.confirm(driven.now, u64::MAX);
                assert_eq!(driven.log.base_bytes(), (sent - keep_bytes) / 640 * 640);
                // What a client names when it comes back is what it has.
                assert_eq!(driven.log.rewind(driven.log.base_bytes()), Ok(()));
                pour(&mut driven);
                driven.now += Duration::from_secs(3);
                assert!(pour(&mut driven) > sent);
                let (steps, most) =
                    (asked.windows(2).map(|pair| pair[1].saturating_sub(pair[0])), 1024 * 1024 + 160);
                assert!(asked.len() > 8 && steps.max().unwrap() <= most, "{asked:?}");
            }
        }
    }

    /// Audio before the beginning of a stream is nothing that its client has to confirm.
    #[test]
    fn starting_at_an_offset_beyond_the_unconfirmed_bytes_sends() {
        for ahead in [None, Some(MS * 100)] {
            let offset = 3 * UNCONFIRMED_BYTES;
            let flow = Flow { keep_bytes: 100_000, ahead, ..burst(160) };
            let mut driven = Driven::new(flow);
            driven.log = Log::starting_at(flow, offset);
            driven.log.skip(offset);
            driven.log.push_audio(vec![1; 1_600].into());
            driven.send();
            assert!(
                driven.log.sent_bytes() >= offset + 800,
                "{ahead:?}: {}",
                driven.log.sent_bytes() - offset
            );
        }
    }

    /// A stream was sent in part. A rewind to any of its bytes sends exactly the bytes after it.
    #[test]
    fn rewind_to_every_offset_sends_the_same_again() {
        let audio: Vec<u8> = (0..500).map(|n| (n % 251) as u8).collect();
        for accepted in (0..600).step_by(7) {
            for offset in 0..=501 {
                let mut driven = Driven::new(Flow { keep_bytes: 1_000, ..burst(80) });
                driven.log.push_message("{0}".to_owned());
                for chunk in [&audio[..300], &audio[300..]] {
                    driven.log.push_audio(Bytes::copy_from_slice(chunk));
                    driven.log.push_message("{1}".to_owned());
                }
                driven.write(|offered| accepted.min(offered));
                let sent = driven.log.sent_bytes();
                let result = driven.log.rewind(offset);
                if offset > sent {
                    assert_eq!((result, driven.log.sent_bytes()), (Err(OutOfLog::Beyond), sent));
                    break;
                }
                assert_eq!(result, Ok(()));
                driven.wire.clear();
                driven.unsent.clear();
                driven.write(|offered| offered);
                assert_eq!(driven.audio(), audio[offset as usize..], "{offset} of {sent}");
                let messages = driven.wire.windows(5).filter(|w| w[0] == 0x81 && w[2] == b'{').count();
                // Messages at the offset itself are included.
                let expected = match offset {
                    0 => 3,
                    1..=300 => 2,
                    _ => 1,
                };
                assert_eq!(messages, expected, "{offset} of {sent}");
            }
        }
    }

    impl Driven {
        /// Audio on the wire, which may end in the middle of a frame.
        fn audio(&self) -> Vec<u8> {
            let (mut audio, mut wire) = (Vec::new(), &self.wire[..]);
            while wire.len() >= 2 {
                let (header, len) = match wire[1] {
                    126 if wire.len() < 4 => break,
                    126 => (4, usize::from(u16::from_be_bytes([wire[2], wire[3]]))),
                    short => (2, usize::from(short)),
                };
                let end = (header + len).min(wire.len());
                if wire[0] == 0x82 {
                    audio.extend_from_slice(&wire[header..end]);
                }
                wire = &wire[end..];
            }
            audio
        }
    }

    /// In random histories of all operations, the client always has the beginning of the pushed audio, cut
    /// only by a cancel, and the positions keep their order.
    #[test]
    fn random_histories_keep_positions_in_order_and_bytes_in_place() {
        for seed in 1..=400u64 {
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let frame_bytes = [1, 7, 80, 640][random.below(4)];
            let ahead = [None, Some(MS * 20), Some(MS * 100), Some(MS * 2_000)][random.below(4)];
            let keep_bytes = [0, 100, 100_000][random.below(3)];
            let mut driven = Driven::new(Flow { ahead, keep_bytes, ..burst(frame_bytes) });
            // All audio by offset, and the client's part of it.
            let (mut model, mut client) = (Vec::<u8>::new(), Vec::<u8>::new());
            let (mut next, mut is_shut) = (0u8, false);
            // The most that was sent and not cancelled: a client may have as much.
            let (mut played, mut peak) = (0, 0);
            for step in 0..150 {
                peak = peak.max(driven.log.sent_bytes());
                match random.below(20) {
                    0..=5 => {
                        let chunk: Vec<u8> = (0..random.below(frame_bytes * 9 + 1))
                            .map(|_| {
                                next = next.wrapping_add(7);
                                next
                            })
                            .collect();
                        model.extend_from_slice(&chunk);
                        driven.log.push_audio(chunk.into());
                    }
                    6 => driven.log.push_message("{m}".to_owned()),
                    7 => {
                        is_shut = true;
                        driven.log.shut(driven.now);
                    }
                    8 | 9 => {
                        is_shut = false;
                        driven.log.open(driven.now);
                    }
                    10 if random.below(3) == 0 => {
                        let offset = random.below(model.len() + 9) as u64;
                        driven.log.acknowledge(driven.now, offset);
                        played = 0;
                    }
                    11 if random.below(3) == 0 => {
                        driven.log.cancel(driven.now);
                        model.truncate(driven.log.sent_bytes() as usize);
                        peak = driven.log.sent_bytes();
                        assert!(driven.log.is_all_sent());
                    }
                    12 if random.below(2) == 0 => {
                        // A new connection: a frame that was begun on the old one is lost.
                        let offset = random.below(peak as usize + 3);
                        let base = driven.log.base_bytes();
                        let expected = match offset as u64 {
                            o if o < base => Err(OutOfLog::Before),
                            o if o > peak => Err(OutOfLog::Beyond),
                            _ => Ok(()),
                        };
                        assert_eq!(driven.log.rewind(offset as u64), expected, "seed {seed}, {step}");
                        if expected.is_ok() {
                            client.resize(offset, 0);
                            client.copy_from_slice(&model[..offset]);
                            driven.unsent.clear();
                            played = 0;
                        }
                    }
                    13..=15 => driven.now += MS * [0, 1, 10, 300][random.below(4)],
                    _ => {
                        // A frame that was begun arrives in full before anything else.
                        driven.wire.clear();
                        driven.write(|offered| random.below(offered + 1));
                        driven.wire.append(&mut driven.unsent);
                        let audio = driven.audio();
                        assert!(!is_shut || audio.is_empty(), "seed {seed}, {step}");
                        client.extend_from_slice(&audio);
                    }
                }
                let (log, now) = (&driven.log, driven.now);
                let at = format!("seed {seed}, step {step}");
                assert_eq!(client.len() as u64, log.sent_bytes(), "{at}");
                assert!(model.starts_with(&client), "{at}");
                assert_eq!(log.written_bytes(), model.len() as u64, "{at}");
                let heard = log.played_bytes(now);
                assert!(log.base_bytes() <= log.sent_bytes() && heard <= log.sent_bytes(), "{at}");
                // Without `keep_bytes` nothing is kept, and a client may acknowledge less than the clock.
                assert!(log.base_bytes() <= heard || keep_bytes == 0 || log.is_acknowledged, "{at}");
                assert!(heard >= played, "{at}: playback runs backwards");
                played = heard;
                if let Some(opens) = log.opens_at(now) {
                    assert!(opens > now, "{at}");
                    assert!(log.is_all_sent() || log.has_output(opens), "{at}");
                }
                assert!(!is_shut || (!log.has_output(now) && log.opens_at(now).is_none()), "{at}");
            }
        }
    }
}
