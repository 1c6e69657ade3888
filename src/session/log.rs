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
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
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

/// The same limit where a sentence is to come to its end whatever it is: two minutes of most voices.
const MOST_UNSENT_BYTES: u64 = 4 * 1024 * 1024;

/// A write is not cut shorter than this, or than the way to the next question, to ask a client in time.
const ASKED_BYTES: u64 = 32 * 1024;

/// Time for which audio leaves in one write to a client whose first answer is waited for.
const WINDOW_STEP: Duration = Duration::from_millis(100);

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

/// The entries of a log as plain data.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    base: u64,
    entries: Vec<KeptEntry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum KeptEntry {
    /// A message, and the sentence that it announces.
    Message(String, Option<u64>),
    /// A message that ends a sentence.
    Closing(String),
    /// Audio in base64.
    Audio(String),
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
    /// True if speech is taken without regard to the look-ahead, up to [`MOST_UNSENT_BYTES`].
    is_wide: bool,
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
            window: Window::new(flow.format),
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
            is_wide: false,
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

    /// Its entries; `None` if it has lost them, or audio is spoken again to get back to where it was.
    pub fn kept(&self) -> Option<Kept> {
        let entries = self.entries.iter().map(|entry| match entry {
            Entry::Audio(chunk) => KeptEntry::Audio(STANDARD_NO_PAD.encode(chunk)),
            Entry::Message { json, mark: Mark::Opens(index) } => {
                KeptEntry::Message(json.clone(), Some(*index))
            }
            Entry::Message { json, mark: Mark::None } => KeptEntry::Message(json.clone(), None),
            Entry::Message { json, mark: Mark::Closes } => KeptEntry::Closing(json.clone()),
        });
        (!self.is_restored() && !self.is_behind())
            .then(|| Kept { base: self.base, entries: entries.collect() })
    }

    /// A log with these entries, whose gate is shut. `None` if they do not fit the positions.
    pub fn restore_with(flow: Flow, positions: Positions, kept: Kept) -> Option<Log> {
        let Positions { sent, written, played, is_acknowledged } = positions;
        let mut log = Log { base: kept.base, sent: kept.base, written: kept.base, ..Log::new(flow) };
        for entry in kept.entries {
            match entry {
                KeptEntry::Message(json, None) => log.push_message(json),
                KeptEntry::Message(json, Some(index)) => log.push_opening(json, index),
                KeptEntry::Closing(json) => log.push_closing(json),
                KeptEntry::Audio(text) => log.push_audio(STANDARD_NO_PAD.decode(text).ok()?.into()),
            }
        }
        if log.written != written || sent > written {
            return None;
        }
        log.peak = sent;
        log.rewind(sent).ok()?;
        (log.heard, log.is_acknowledged, log.is_shut) = (played, is_acknowledged, true);
        log.set_gate();
        Some(log)
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

    /// Appends audio: whole samples, and whole frames but for the end of a sentence in an encoding of samples.
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
                let bytes = (offset - self.heard).next_multiple_of(self.flow.format.unit_bytes() as u64);
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
        self.opens = self.opens.max(self.window_opens());
        if self.flow.ahead.is_some() {
            self.wants = self.heard_at((self.written + 1).saturating_sub(self.most));
        }
    }

    /// Audio bytes that may still be sent now, before the gate is shut by the look-ahead.
    fn room(&self, now: Instant) -> u64 {
        if self.is_shut {
            return 0;
        }
        let room = self.window_room(now);
        // The client is asked behind each write, so none is much longer than the way to the next question.
        let next = (self.asked + self.window.step()).saturating_sub(self.sent);
        let room = room.min(next.max(ASKED_BYTES).max(self.window.step()).max(self.frame_bytes()));
        match self.flow.ahead {
            None => room,
            Some(_) => (self.played_bytes(now) + self.most).saturating_sub(self.sent).min(room),
        }
    }

    /// When the client may have more, as far as its answers decide.
    fn window_opens(&self) -> Moment {
        if !self.is_window_full() {
            return Moment::Past;
        }
        let unconfirmed = self.sent - self.confirmed;
        let step = self.frame_bytes().max(self.flow.format.bytes(WINDOW_STEP));
        match unconfirmed + self.frame_bytes() <= self.most_unconfirmed() {
            true => self
                .window
                .reaches(unconfirmed + step, self.flow.frame_bytes)
                .map_or(Moment::Never, Moment::At),
            false => Moment::Never,
        }
    }

    /// Audio bytes that may still be sent before the client has to confirm what it has.
    fn window_room(&self, now: Instant) -> u64 {
        let window = self.window.bytes(self.flow.frame_bytes, now).min(self.most_unconfirmed());
        (self.confirmed + window).saturating_sub(self.sent)
    }

    /// The most that may be sent and not confirmed, whatever the client answers.
    fn most_unconfirmed(&self) -> u64 {
        match self.flow.keep_bytes {
            0 => u64::MAX,
            _ => UNCONFIRMED_BYTES,
        }
    }

    /// True if the client has to confirm something, or time has to pass, before more is sent: a write would be
    /// tried for nothing if less than a frame may be sent.
    fn is_window_full(&self) -> bool {
        let window = self.window.fixed_bytes(self.flow.frame_bytes).min(self.most_unconfirmed());
        self.confirmed + window < self.sent + self.frame_bytes()
    }

    fn frame_bytes(&self) -> u64 {
        self.flow.frame_bytes as u64
    }

    /// Returns the current offset if the client has to be asked now whether it has everything before it.
    pub fn ask(&mut self, now: Instant) -> Option<u64> {
        // The first question stands before the audio, and before the messages that leave in one write with it: the
        // slowest client answers it soon.
        let is_first = !self.window.has_asked() && self.written > self.sent && !self.is_shut;
        // With every question answered only another one opens the window again.
        let is_stuck = self.window.answers()
            && self.confirmed >= self.asked
            && self.sent > self.asked
            && self.is_window_full();
        let is_again = self.asks_again_at().is_some_and(|at| at <= now);
        if !is_first && !is_stuck && !is_again && self.sent < self.asked + self.window.step() {
            return None;
        }
        self.asked = self.sent;
        self.window.ask(self.sent, now);
        self.set_gate();
        Some(self.sent)
    }

    /// When the client is asked once more, while all else waits for its answer.
    fn asks_again_at(&self) -> Option<Instant> {
        self.window.asks_again_at().filter(|_| self.awaits_answer())
    }

    /// True if nothing can be sent because of what the client has not confirmed.
    fn awaits_answer(&self) -> bool {
        !self.is_shut && matches!(self.upcoming, Upcoming::Audio(_)) && self.is_window_full()
    }

    /// When the client last showed that it reads, if it has not read all that it was asked about.
    pub fn read_at(&self) -> Option<Instant> {
        self.window.waits_since()
    }

    /// Since when nothing can be sent because the client, which answers pings, has read nothing.
    pub fn waits_since(&self) -> Option<Instant> {
        self.window.waits_since().filter(|_| self.awaits_answer())
    }

    /// The client has everything before this offset.
    pub fn confirm(&mut self, now: Instant, offset: u64) {
        let before = self.confirmed;
        self.confirmed = before.max(offset.min(self.sent));
        self.window.answer(offset, self.confirmed < self.asked, self.confirmed > before, now);
        self.set_gate();
        self.let_go(now);
    }

    /// From now on, takes speech without regard to the look-ahead: what is in flight is to come to its end.
    pub fn widen(&mut self) {
        self.is_wide = true;
    }

    /// True if synthesis should continue.
    pub fn wants_more(&self, now: Instant) -> bool {
        if self.is_wide {
            return self.written.saturating_sub(self.sent) < MOST_UNSENT_BYTES;
        }
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

    /// When the gate, shut now, will open, or the client is asked again; `None` if time alone decides nothing.
    pub fn opens_at(&self, now: Instant) -> Option<Instant> {
        let opens = match self.opens {
            Moment::At(opens) if !self.is_shut && opens > now => Some(opens),
            _ => None,
        };
        opens.into_iter().chain(self.asks_again_at()).min()
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
        (self.confirmed, self.asked, self.window) = (offset, offset, Window::new(self.flow.format));
        self.set_gate();
        Ok(())
    }

    /// Empties the log so that the stream can be spoken again from `start` on, for a client that
    /// has heard it up to `offset`. What is written up to there is not sent.
    ///
    /// In a restored log the listener's clock stands where it was when it was written down, which may be long ago:
    /// everything up to `offset` counts as heard, or the listener would wait for a clock that is behind.
    pub fn restart(&mut self, start: u64, offset: u64) {
        let is_restored = self.is_restored();
        self.peak = if is_restored { self.sent } else { self.reached_bytes() };
        self.entries.clear();
        self.unsent_messages = 0;
        self.kept_messages = 0;
        self.upcoming = Upcoming::Nothing;
        self.next = 0;
        self.taken = 0;
        self.base = start;
        self.written = start;
        self.sent = offset;
        self.heard = if is_restored { offset } else { self.heard.min(offset) };
        self.is_acknowledged &= !is_restored;
        (self.confirmed, self.asked, self.window) = (offset, offset, Window::new(self.flow.format));
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
mod tests;
