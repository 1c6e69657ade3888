//! Sentences in flight: handed to the engine, in order, and not yet over.
//!
//! The audio of the front take goes to the log. A take that replays a sentence is held back until its
//! audio is known to be the same.

use super::composer::{Segment, VoiceParameters};
use super::ledger::Record;
use crate::text::words::Word;
use crc32fast::Hasher;
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

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

/// A replayed sentence has other audio than before.
#[derive(Debug)]
pub(super) struct Differs;

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
    parameters: VoiceParameters,
    index: u64,
    /// Offset of its first byte, once it is announced.
    start: u64,
    bytes: u64,
    crc: Hasher,
    words: Vec<Word>,
    is_announced: bool,
    has_failed: bool,
    replay: Option<Replay>,
    /// Entries that wait until the replay is known to be the same.
    held: Vec<Entry>,
}

/// The state of a [`Take`] as plain data; the engine's work is not part of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct TakeState {
    text: String,
    parameters: VoiceParameters,
    index: u64,
    start: u64,
    bytes: u64,
    crc32: u32,
    is_announced: bool,
    replay: Option<Replay>,
}

/// The takes of a stream, as plain data.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TakesState {
    takes: Vec<TakeState>,
    next_index: u64,
}

/// A byte of a stream, and the index of its sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) offset: u64,
    pub(super) index: u64,
}

/// Sentences in flight.
#[derive(Debug, Default)]
pub(super) struct Takes {
    queue: VecDeque<Take>,
    next_index: u64,
    /// The position that a client waits for while sentences before it are replayed.
    recovering: Option<Position>,
}

impl Takes {
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

    pub(super) fn recovering(&self) -> Option<Position> {
        self.recovering
    }

    pub(super) fn take_recovering(&mut self) -> Option<Position> {
        self.recovering.take()
    }

    /// Begins a sentence. Returns its index. A new sentence gets none below `announced`, which the client
    /// may have seen for another one.
    pub(super) fn begin(&mut self, segment: &Segment, parameters: VoiceParameters, announced: u64) -> u64 {
        let index = segment.index(self.next_index.max(announced));
        self.next_index = index + 1;
        self.queue.push_back(Take {
            text: segment.text.clone(),
            parameters,
            index,
            start: 0,
            bytes: 0,
            crc: Hasher::new(),
            words: Vec::new(),
            is_announced: false,
            has_failed: false,
            replay: segment.replay,
            held: Vec::new(),
        });
        index
    }

    /// Announces the front sentence, which begins at this offset. Returns its text and index the first
    /// time.
    pub(super) fn announce(&mut self, start: u64) -> Option<(String, u64)> {
        let take = self.queue.front_mut().filter(|take| !take.is_announced)?;
        take.is_announced = true;
        take.start = start;
        Some((take.text.clone(), take.index))
    }

    /// Returns an entry of the front sentence if it may go to the log now, otherwise holds it back.
    pub(super) fn hold(&mut self, entry: Entry) -> Option<Entry> {
        match self.queue.front_mut().filter(|take| take.replay.is_some()) {
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

    /// Takes audio of the front sentence. Returns what may go to the log now.
    ///
    /// # Errors
    /// The sentence is a replay and came out different.
    pub(super) fn push_audio(&mut self, chunk: Bytes, needs_crc: bool) -> Result<Released, Differs> {
        let Some(take) = self.queue.front_mut() else { return Ok(Released::Nothing) };
        let before = take.bytes;
        take.bytes += chunk.len() as u64;
        match take.replay {
            // The last of the bytes that must be the same.
            Some(replay) if !replay.is_whole && take.bytes >= replay.bytes => {
                let (same, rest) = chunk.split_at((replay.bytes - before) as usize);
                take.crc.update(same);
                if take.crc.clone().finalize() != replay.crc32 {
                    return Err(Differs);
                }
                take.crc.update(rest);
                take.held.push(Entry::Audio(chunk));
                Ok(Released::Held(self.release()))
            }
            replay => {
                if needs_crc {
                    take.crc.update(&chunk);
                }
                match replay {
                    Some(_) => {
                        take.held.push(Entry::Audio(chunk));
                        Ok(Released::Nothing)
                    }
                    None => Ok(Released::Audio(chunk)),
                }
            }
        }
    }

    /// Releases the entries held back: the replay is the same.
    fn release(&mut self) -> Vec<Entry> {
        self.recovering = None;
        let Some(take) = self.queue.front_mut() else { return Vec::new() };
        take.replay = None;
        std::mem::take(&mut take.held)
    }

    /// Adds times of words of the front sentence.
    pub(super) fn push_words(&mut self, words: &[Word]) {
        if let Some(take) = self.queue.front_mut() {
            take.words.extend_from_slice(words);
        }
    }

    /// Notes that the front sentence failed. Returns its index.
    pub(super) fn fail(&mut self) -> Option<u64> {
        let take = self.queue.front_mut()?;
        take.has_failed = true;
        Some(take.index)
    }

    /// Ends the front sentence. Returns what was held back, and the sentence's record.
    ///
    /// # Errors
    /// The sentence is a replay and came out different.
    pub(super) fn finish(&mut self) -> Result<Option<(Vec<Entry>, Record)>, Differs> {
        let Some(take) = self.queue.front_mut() else { return Ok(None) };
        let crc32 = take.crc.clone().finalize();
        let mut held = Vec::new();
        if let Some(replay) = take.replay {
            if (replay.bytes, replay.crc32) != (take.bytes, crc32) {
                return Err(Differs);
            }
            held = self.release();
        }
        Ok(self.queue.pop_front().map(|take| (held, take.into_record(crc32))))
    }

    /// Drops all sentences in flight. Those that were announced leave a record of how far they went;
    /// the next sentence gets the index `next_index`.
    pub(super) fn cancel(&mut self, next_index: u64) -> impl Iterator<Item = Record> + use<> {
        self.recovering = None;
        self.next_index = next_index;
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
            let Take { text, parameters, index, start: begun, bytes, crc, is_announced, replay, .. } = take;
            if is_announced {
                start.get_or_insert(begun);
            }
            let so_far = || Replay { index, bytes, crc32: crc.finalize(), is_whole: false };
            let replay = if is_announced && replay.is_none() { Some(so_far()) } else { replay };
            Segment { text, parameters: Some(parameters), replay }
        });
        (segments.collect(), start)
    }

    /// Lets replays begin, for a client that waits for this position. The first has this index.
    pub(super) fn begin_recovery(&mut self, position: Position, first_index: Option<u64>) {
        self.next_index = first_index.unwrap_or(self.next_index);
        self.recovering = Some(position);
    }

    /// Audio bytes that are held back.
    pub(super) fn held_bytes(&self) -> u64 {
        self.queue.iter().filter(|take| take.replay.is_some()).map(|take| take.bytes).sum()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.queue.iter().map(|take| take.bytes as usize).sum()
    }

    pub(super) fn snapshot(&self) -> TakesState {
        let takes = self.queue.iter().map(|take| TakeState {
            text: take.text.clone(),
            parameters: take.parameters.clone(),
            index: take.index,
            start: take.start,
            bytes: take.bytes,
            crc32: take.crc.clone().finalize(),
            is_announced: take.is_announced,
            replay: take.replay,
        });
        TakesState { takes: takes.collect(), next_index: self.next_index }
    }

    pub(super) fn restore(state: TakesState) -> Takes {
        let queue = state.takes.into_iter().map(|take| Take {
            text: take.text,
            parameters: take.parameters,
            index: take.index,
            start: take.start,
            bytes: take.bytes,
            crc: Hasher::new_with_initial_len(take.crc32, take.bytes),
            words: Vec::new(),
            is_announced: take.is_announced,
            has_failed: false,
            replay: take.replay,
            held: Vec::new(),
        });
        Takes { queue: queue.collect(), next_index: state.next_index, recovering: None }
    }
}

/// Entries that [`Takes::push_audio`] lets through.
#[derive(Debug)]
pub(super) enum Released {
    Nothing,
    Audio(Bytes),
    Held(Vec<Entry>),
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

    pub(super) fn index(self) -> u64 {
        self.take.index
    }

    pub(super) fn start(self) -> u64 {
        self.take.start
    }

    pub(super) fn bytes(self) -> u64 {
        self.take.bytes
    }

    pub(super) fn has_words(self) -> bool {
        !self.take.words.is_empty()
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
        let Take { text, parameters, index, start, bytes, words, .. } = self;
        Record { text, parameters, index, start, bytes, crc32, words, cut_at: None }
    }
}
