//! Sentences in flight: handed to the engine, in order, and not yet over.
//!
//! The audio of the front take goes to the log. A take that replays a sentence is held back until its
//! audio is known to be the same.

use super::composer::{Segment, VoiceParameters};
use super::ledger::Record;
use super::pauses::{self, Gap, Pauses};
use crate::audio::{Encoding, Format};
use crate::text::Boundary;
use crate::text::sourced::Source;
use crate::text::words::Word;
use crc32fast::Hasher;
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// The index of a replayed sentence, and the length and checksum that it must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Replay {
    /// Not always the next one: a sentence before it may have been cancelled when only its text was sent.
    pub(super) index: u64,
    pub(super) bytes: u64,
    pub(super) crc32: u32,
    /// True if these are all bytes of the sentence, false if it was stopped after them.
    pub(super) is_whole: bool,
}

/// A sentence has other audio than the client, or the server, had before.
#[derive(Debug)]
pub(super) struct Differs;

/// A prefix of a sentence that the client has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Prefix {
    bytes: u64,
    /// Checksum of the client's bytes, if it sent one.
    crc32: Option<u32>,
    /// True if the sentence has to end with them: the client knows the one behind it.
    #[serde(default)]
    is_whole: bool,
}

/// The position that a client waits for while sentences before it are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Target {
    /// The offset, and the sentence to speak from there on: it may end at this very offset.
    pub(super) position: Position,
    /// Index of the sentence that begins last at or before this offset.
    pub(super) last_index: u64,
    /// Checksum of the client's bytes of the sentence, if it has to be compared.
    pub(super) crc32: Option<u32>,
    pub(super) purpose: Purpose,
    /// True if the sentence at the offset is not known before it is spoken: those before it are skipped, and
    /// the indexes are those of the sentence that is spoken.
    #[serde(default)]
    pub(super) is_sought: bool,
}

impl Target {
    /// The position that the client is sent.
    pub(super) fn shown(self) -> Position {
        Position { index: self.last_index, ..self.position }
    }
}

/// Reason for which a position has to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// The client recovers. Another take of the sentence will do if `is_inexact`.
    Recover { is_inexact: bool },
    /// The stream began with `from`.
    Start,
}

/// An entry for the log, held back or not.
#[derive(Debug)]
pub(super) enum Entry {
    Audio(Bytes),
    Message(String),
    /// The first message of this sentence.
    Opening(String, u64),
}

/// A sentence in flight.
#[derive(Debug)]
struct Take {
    text: String,
    /// Place of its characters in the client's text.
    source: Source,
    /// Boundary between the sentence before and this one.
    before: Boundary,
    /// Bytes of silence before its audio. Decided when the sentence is announced.
    silence: u64,
    /// True if it was decided before.
    has_known_silence: bool,
    /// The part of them that is still to be written, once the first audio has come.
    silence_left: u64,
    /// The first audio, while it waits for the silence before it.
    first: Option<Bytes>,
    /// Silence at its end so far, in bytes.
    quiet: u64,
    parameters: VoiceParameters,
    index: u64,
    /// Offset of its first byte, once it is announced.
    start: u64,
    bytes: u64,
    crc: Hasher,
    words: Vec<Word>,
    is_announced: bool,
    has_failed: bool,
    /// True if its characters count for the bill: it has not failed.
    is_counted: bool,
    replay: Option<Replay>,
    prefix: Option<Prefix>,
    /// True if the client has all of it: nothing of it is sent.
    is_skipped: bool,
    /// Entries that wait until the replay is known to be the same.
    held: Vec<Entry>,
}

impl Take {
    /// True if its entries wait.
    fn is_held(&self) -> bool {
        self.replay.is_some() || self.prefix.is_some()
    }

    /// Notes audio, and compares checksums at the bytes where there is one to compare.
    fn hash(&mut self, chunk: &[u8], needs_crc: bool) -> Result<(), Differs> {
        let before = self.bytes;
        self.bytes += chunk.len() as u64;
        if !needs_crc && !self.is_held() && !self.is_skipped {
            return Ok(());
        }
        let mut done = 0;
        loop {
            let part = self.replay.filter(|replay| !replay.is_whole).map(|replay| replay.bytes);
            let prefix = self.prefix.filter(|prefix| !prefix.is_whole).map(|prefix| prefix.bytes);
            let reached = |point: &u64| *point <= self.bytes;
            let Some(point) = part.into_iter().chain(prefix).filter(reached).min() else { break };
            let to = (point - before) as usize;
            self.crc.update(&chunk[done..to]);
            done = to;
            self.compare(point, false)?;
        }
        self.crc.update(&chunk[done..]);
        Ok(())
    }

    /// Compares the checksums of what was spoken so far: this many bytes, and all of the sentence if it `is_over`.
    fn compare(&mut self, point: u64, is_over: bool) -> Result<(), Differs> {
        let crc32 = self.crc.clone().finalize();
        if let Some(prefix) =
            self.prefix.take_if(|prefix| prefix.bytes == point && (is_over || !prefix.is_whole))
            && prefix.crc32.is_some_and(|expected| expected != crc32)
        {
            return Err(Differs);
        }
        if let Some(replay) = self.replay.filter(|replay| !replay.is_whole && replay.bytes == point) {
            if replay.crc32 != crc32 {
                return Err(Differs);
            }
            self.replay = None;
        }
        Ok(())
    }
}

/// The state of a [`Take`] as plain data; the engine's work is not part of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct TakeState {
    text: String,
    source: Source,
    before: Boundary,
    silence: u64,
    has_known_silence: bool,
    parameters: VoiceParameters,
    index: u64,
    start: u64,
    bytes: u64,
    crc32: u32,
    is_announced: bool,
    is_counted: bool,
    replay: Option<Replay>,
    prefix: Option<Prefix>,
    is_skipped: bool,
}

/// The takes of a stream, as plain data.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TakesState {
    takes: Vec<TakeState>,
    next_index: u64,
    target: Option<Target>,
    gap: Gap,
}

/// A byte of a stream, and the index of its sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    pub(super) offset: u64,
    pub(super) index: u64,
}

/// Sentences in flight.
#[derive(Debug, Default)]
pub(super) struct Takes {
    queue: VecDeque<Take>,
    next_index: u64,
    target: Option<Target>,
    gap: Gap,
}

impl Takes {
    /// The takes of a stream that begins with this much silence.
    pub(super) fn starting(lead: Duration) -> Takes {
        Takes { gap: Gap::starting(lead), ..Takes::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Index of the next sentence that is begun: the number of sentences so far.
    pub(super) fn next_index(&self) -> u64 {
        self.next_index
    }

    /// The position that a client waits for.
    pub(super) fn target(&self) -> Option<Target> {
        self.target
    }

    /// The position that a recovering client waits for.
    pub(super) fn recovering(&self) -> Option<Target> {
        self.target.filter(|target| target.purpose != Purpose::Start)
    }

    /// Forgets the position.
    pub(super) fn take_target(&mut self) -> Option<Target> {
        self.target.take()
    }

    /// Lets the sentences before a position be spoken and not sent. The client has the rest.
    pub(super) fn begin_at(&mut self, target: Target) {
        self.target = Some(target);
    }

    /// Begins a sentence. Returns its index. A new sentence gets none below `announced`, which the client
    /// may have seen for another one.
    pub(super) fn begin(&mut self, segment: &Segment, parameters: VoiceParameters, announced: u64) -> u64 {
        let index = segment.index(self.next_index.max(announced));
        self.next_index = index + 1;
        self.queue.push_back(Take {
            text: segment.text.clone(),
            source: segment.source.clone(),
            before: segment.before,
            silence: segment.silence.unwrap_or_default(),
            has_known_silence: segment.silence.is_some(),
            silence_left: 0,
            first: None,
            quiet: 0,
            parameters,
            index,
            start: segment.announced_at.unwrap_or_default(),
            bytes: 0,
            crc: Hasher::new(),
            words: Vec::new(),
            is_announced: segment.announced_at.is_some(),
            has_failed: false,
            is_counted: segment.is_counted,
            replay: segment.replay,
            prefix: None,
            is_skipped: false,
            held: Vec::new(),
        });
        index
    }

    /// Announces the front sentence, which begins at this offset. Returns its text and index the first
    /// time, unless the client has all of it.
    pub(super) fn announce(&mut self, start: u64, pauses: Pauses, format: Format) -> Option<(String, u64)> {
        let take = self.queue.front_mut().filter(|take| !take.is_announced)?;
        take.is_announced = true;
        if !take.has_known_silence {
            take.silence = self.gap.before(pauses.at(take.before), format);
        }
        take.start = start;
        if let Some(target) = self.target.as_mut().filter(|target| target.is_sought) {
            (target.position.index, target.last_index) = (take.index, take.index);
            let bytes = target.position.offset.saturating_sub(start);
            // No bytes since its last `text`: that was of the next sentence.
            let is_whole = target.crc32 == Some(0) && bytes > 0;
            let crc32 = target.crc32.filter(|_| !is_whole);
            take.prefix = Some(Prefix { bytes, crc32, is_whole });
        } else if let Some(Target { position, crc32, purpose, .. }) = self.target {
            take.is_skipped = take.index < position.index;
            let is_known = take.replay.is_some() && purpose != Purpose::Start;
            if take.index == position.index && (crc32.is_some() || !is_known) {
                take.prefix =
                    Some(Prefix { bytes: position.offset.saturating_sub(start), crc32, is_whole: false });
            }
        }
        (!take.is_skipped).then(|| (take.text.clone(), take.index))
    }

    /// Returns an entry of the front sentence if it may go to the log now, otherwise holds it back.
    pub(super) fn hold(&mut self, entry: Entry) -> Option<Entry> {
        match self.queue.front_mut().filter(|take| take.is_held() || take.is_skipped) {
            Some(take) if take.is_skipped => None,
            Some(take) => {
                take.held.push(entry);
                None
            }
            None => Some(entry),
        }
    }

    /// The front sentence, if there is one.
    pub(super) fn front(&self) -> Option<Front<'_>> {
        self.queue.front().map(|take| Front { take })
    }

    /// Keeps the first audio of the front sentence back if silence comes before it. Returns other audio.
    pub(super) fn begin_audio(&mut self, chunk: Bytes) -> Option<Bytes> {
        let Some(take) = self.queue.front_mut().filter(|take| take.bytes == 0) else { return Some(chunk) };
        self.gap.begin();
        if take.silence == 0 {
            return Some(chunk);
        }
        take.silence_left = take.silence;
        take.first = Some(chunk);
        None
    }

    /// True if silence, or the audio that waits for it, is still to be taken.
    pub(super) fn owes_silence(&self) -> bool {
        self.queue.front().is_some_and(|take| take.first.is_some())
    }

    /// Takes the next piece of silence before the front sentence, then the audio that waited for it. True if it
    /// is silence.
    pub(super) fn next_silence(&mut self, format: Format, frame_bytes: usize) -> Option<(Bytes, bool)> {
        let take = self.queue.front_mut()?;
        if take.silence_left == 0 {
            return take.first.take().map(|chunk| (chunk, false));
        }
        let piece = pauses::piece(format, take.silence_left, frame_bytes);
        take.silence_left = take.silence_left.saturating_sub(piece.len() as u64);
        Some((piece, true))
    }

    /// Takes audio of the front sentence. Returns what may go to the log now.
    ///
    /// # Errors
    /// The sentence is a replay and came out different.
    pub(super) fn push_audio(
        &mut self,
        chunk: Bytes,
        encoding: Encoding,
        needs_crc: bool,
    ) -> Result<Released, Differs> {
        let Some(take) = self.queue.front_mut() else { return Ok(Released::Nothing) };
        take.quiet = encoding.quiet_after(take.quiet, &chunk);
        let was_held = take.is_held();
        take.hash(&chunk, needs_crc)?;
        if take.is_skipped {
            return Ok(Released::Nothing);
        }
        if take.is_held() {
            take.held.push(Entry::Audio(chunk));
            return Ok(Released::Nothing);
        }
        if was_held {
            take.held.push(Entry::Audio(chunk));
            return Ok(Released::Held(self.release()));
        }
        Ok(Released::Audio(chunk))
    }

    /// Releases the entries held back: the replay is the same.
    fn release(&mut self) -> Vec<Entry> {
        let Some(take) = self.queue.front_mut() else { return Vec::new() };
        self.target.take_if(|target| target.position.index <= take.index);
        take.replay = None;
        std::mem::take(&mut take.held)
    }

    /// Notes the silence at the end of the front sentence, in bytes, which only its encoder knows.
    pub(super) fn set_quiet(&mut self, bytes: u64) {
        if let Some(take) = self.queue.front_mut() {
            take.quiet = bytes;
        }
    }

    /// Adds times of words of the front sentence.
    pub(super) fn push_words(&mut self, words: &[Word]) {
        if let Some(take) = self.queue.front_mut() {
            take.words.extend_from_slice(words);
        }
    }

    /// Notes that the front sentence failed. Returns its index, and its characters if they were counted
    /// so far.
    pub(super) fn fail(&mut self) -> Option<(u64, u64)> {
        let take = self.queue.front_mut()?;
        take.has_failed = true;
        let chars = if std::mem::take(&mut take.is_counted) { take.text.chars().count() } else { 0 };
        Some((take.index, chars as u64))
    }

    /// Ends the front sentence.
    ///
    /// # Errors
    /// The sentence is a replay and came out different.
    pub(super) fn finish(&mut self) -> Result<Option<Finished>, Differs> {
        let Some(take) = self.queue.front_mut() else { return Ok(None) };
        if take.prefix.is_some_and(|prefix| prefix.bytes == take.bytes) {
            // No audio, and none that the client could have; or all of it.
            take.compare(take.bytes, true)?;
        }
        let is_passed = self.target.is_some_and(|target| target.is_sought)
            && take.prefix.take_if(|prefix| prefix.bytes > take.bytes).is_some();
        take.is_skipped |= is_passed;
        let crc32 = take.crc.clone().finalize();
        let differs = |replay: Replay| (replay.bytes, replay.crc32) != (take.bytes, crc32);
        if take.replay.is_some_and(differs) || take.prefix.is_some() {
            return Err(Differs);
        }
        if take.is_skipped
            && let Some(Target { position, .. }) = self.target
            && take.start + take.bytes > position.offset
        {
            return Err(Differs);
        }
        if take.bytes > 0 {
            let quiet = take.quiet;
            self.gap.end(quiet);
        }
        let held = if is_passed { Vec::new() } else { self.release() };
        Ok(self.queue.pop_front().map(|take| Finished {
            held,
            is_skipped: take.is_skipped,
            record: take.into_record(crc32),
        }))
    }

    /// Drops all sentences in flight. Those that were announced leave a record of how far they went;
    /// the next sentence gets the index `next_index`.
    pub(super) fn cancel(&mut self, next_index: u64) -> impl Iterator<Item = Record> + use<> {
        self.target = None;
        self.next_index = next_index;
        self.gap.cancel();
        let takes = std::mem::take(&mut self.queue).into_iter();
        takes.filter(|take| take.is_announced).map(|take| take.into_record(0))
    }

    /// Takes all sentences in flight back, to be spoken again: those that were announced must come out
    /// the same as far as they went. Returns them, and the offset where the first announced one began.
    pub(super) fn take_back(&mut self) -> (Vec<Segment>, Option<u64>) {
        let mut start = None;
        if let Some(first) = self.queue.front() {
            self.next_index = first.index;
        }
        let segments = self.queue.drain(..).map(|take| {
            let Take {
                text,
                source,
                before,
                silence,
                has_known_silence,
                parameters,
                index,
                start: begun,
                bytes,
                crc,
                ..
            } = take;
            let Take { is_announced, is_counted, replay, .. } = take;
            if is_announced {
                start.get_or_insert(begun);
            }
            let so_far = || Replay { index, bytes, crc32: crc.finalize(), is_whole: false };
            let replay = if is_announced && replay.is_none() { Some(so_far()) } else { replay };
            Segment {
                text,
                source,
                before,
                silence: (is_announced || has_known_silence).then_some(silence),
                parameters: Some(parameters),
                replay,
                index: None,
                announced_at: None,
                is_counted,
            }
        });
        (segments.collect(), start)
    }

    /// Takes all sentences in flight back, to be spoken once the client has returned. No audio of them is
    /// in the log.
    pub(super) fn put_off(&mut self) -> Vec<Segment> {
        let announced = self.queue.front().map(|take| {
            let is_in_log = take.is_announced && !take.is_held() && !take.is_skipped;
            (take.index, is_in_log.then_some(take.start), take.replay)
        });
        let (mut segments, _) = self.take_back();
        if let (Some(first), Some((index, announced_at, replay))) = (segments.first_mut(), announced) {
            first.index = Some(index);
            first.announced_at = announced_at;
            first.replay = replay;
        }
        segments
    }

    /// Lets sentences be spoken again from this index on.
    pub(super) fn restart(&mut self, first_index: u64, target: Option<Target>) {
        self.next_index = first_index;
        self.target = target;
    }

    /// Lengths of the sentences in flight, as far as they are known.
    pub(super) fn known_lengths(&self) -> impl Iterator<Item = u64> {
        self.queue.iter().map(|take| take.replay.map_or(0, |replay| replay.bytes).max(take.bytes))
    }

    /// Audio bytes that are held back.
    pub(super) fn held_bytes(&self) -> u64 {
        let held = self.queue.iter().filter(|take| take.is_held()).map(|take| take.bytes);
        let first = self.queue.iter().filter_map(|take| take.first.as_ref()).map(|first| first.len() as u64);
        held.chain(first).sum()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.queue.iter().map(|take| take.bytes as usize + take.source.memory_bytes()).sum()
    }

    pub(super) fn snapshot(&self) -> TakesState {
        let takes = self.queue.iter().map(|take| TakeState {
            text: take.text.clone(),
            source: take.source.clone(),
            before: take.before,
            silence: take.silence,
            has_known_silence: take.has_known_silence || take.is_announced,
            parameters: take.parameters.clone(),
            index: take.index,
            start: take.start,
            bytes: take.bytes,
            crc32: take.crc.clone().finalize(),
            is_announced: take.is_announced,
            is_counted: take.is_counted,
            replay: take.replay,
            prefix: take.prefix,
            is_skipped: take.is_skipped,
        });
        TakesState { takes: takes.collect(), next_index: self.next_index, target: self.target, gap: self.gap }
    }

    pub(super) fn restore(state: TakesState) -> Takes {
        let queue = state.takes.into_iter().map(|take| Take {
            text: take.text,
            source: take.source,
            before: take.before,
            silence: take.silence,
            has_known_silence: take.has_known_silence,
            silence_left: 0,
            first: None,
            quiet: 0,
            parameters: take.parameters,
            index: take.index,
            start: take.start,
            bytes: take.bytes,
            crc: Hasher::new_with_initial_len(take.crc32, take.bytes),
            words: Vec::new(),
            is_announced: take.is_announced,
            has_failed: false,
            is_counted: take.is_counted,
            replay: take.replay,
            prefix: take.prefix,
            is_skipped: take.is_skipped,
            held: Vec::new(),
        });
        Takes { queue: queue.collect(), next_index: state.next_index, target: state.target, gap: state.gap }
    }
}

/// Entries that [`Takes::push_audio`] lets through.
#[derive(Debug)]
pub(super) enum Released {
    Nothing,
    Audio(Bytes),
    Held(Vec<Entry>),
}

/// A sentence that is over.
#[derive(Debug)]
pub(super) struct Finished {
    /// Entries that were held back.
    pub(super) held: Vec<Entry>,
    /// True if the client has all of it.
    pub(super) is_skipped: bool,
    pub(super) record: Record,
}

/// The sentence whose audio is being taken from the engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Front<'a> {
    take: &'a Take,
}

impl<'a> Front<'a> {
    pub(super) fn text(self) -> &'a str {
        &self.take.text
    }

    /// Place of the text in that of the client.
    pub(super) fn source(self) -> &'a Source {
        &self.take.source
    }

    pub(super) fn index(self) -> u64 {
        self.take.index
    }

    pub(super) fn start(self) -> u64 {
        self.take.start
    }

    pub(super) fn bytes(self) -> u64 {
        self.take.bytes
    }

    /// Bytes of silence before its audio.
    pub(super) fn silence(self) -> u64 {
        self.take.silence
    }

    pub(super) fn has_words(self) -> bool {
        !self.take.words.is_empty()
    }

    /// CRC-32 of its audio so far.
    pub(super) fn crc32(self) -> u32 {
        self.take.crc.clone().finalize()
    }

    pub(super) fn is_announced(self) -> bool {
        self.take.is_announced
    }

    /// True if entries of it went to the log.
    pub(super) fn is_in_log(self) -> bool {
        self.take.is_announced && !self.take.is_held() && !self.take.is_skipped
    }

    pub(super) fn has_failed(self) -> bool {
        self.take.has_failed
    }

    /// True if the sentence was announced, and begins at or before this offset.
    pub(super) fn begins_by(self, offset: u64) -> bool {
        self.take.is_announced && self.take.start <= offset
    }
}

impl Take {
    fn into_record(self, crc32: u32) -> Record {
        let Take {
            text, source, before, silence, parameters, index, start, bytes, words, is_counted, ..
        } = self;
        Record {
            text,
            source,
            before,
            silence,
            parameters,
            index,
            start,
            bytes,
            crc32,
            words,
            cut_at: None,
            is_counted,
        }
    }
}
