//! Records of the sentences of a stream that are over, and counts of played and wasted audio.

use super::composer::{Segment, VoiceParameters};
use super::takes::Replay;
use crate::audio::Format;
use crate::text::Boundary;
use crate::text::sourced::Source;
use crate::text::words::{self, Word};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

/// Memory for the records of a stream, in bytes: enough for hours of speech. Beyond it the older half is
/// dropped, so that sentences without audio, which cost nothing to send, cannot fill the memory.
const RECORD_BYTES: usize = 2 * 1024 * 1024;

/// Usual time to say a character of text.
const CHARACTER: Duration = Duration::from_millis(65);

/// A sentence that is over: spoken to its end, or cut off.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) text: String,
    /// Place of its characters in the client's text.
    pub(super) source: Source,
    /// Boundary between the sentence before and this one.
    pub(super) before: Boundary,
    /// Bytes of silence before its audio, part of `bytes`.
    pub(super) silence: u64,
    pub(super) parameters: VoiceParameters,
    pub(super) index: u64,
    /// Offset of its first byte.
    pub(super) start: u64,
    pub(super) bytes: u64,
    pub(super) crc32: u32,
    pub(super) words: Vec<Word>,
    /// Offset at which `cancel` cut it off.
    pub(super) cut_at: Option<u64>,
    /// True if its characters count for the bill: it has not failed.
    pub(super) is_counted: bool,
}

impl Record {
    /// Offset behind its last byte that belongs to the stream.
    pub(super) fn end(&self) -> u64 {
        self.cut_at.unwrap_or(self.start + self.bytes)
    }

    fn memory_bytes(&self) -> usize {
        let texts = self.text.len() + self.source.memory_bytes() + self.parameters.memory_bytes();
        size_of::<Record>() + texts + self.words.len() * size_of::<Word>()
    }

    fn into_segment(self) -> Segment {
        let replay = Replay { index: self.index, bytes: self.bytes, crc32: self.crc32, is_whole: true };
        Segment {
            text: self.text,
            source: self.source,
            before: self.before,
            silence: Some(self.silence),
            parameters: Some(self.parameters),
            replay: Some(replay),
            index: None,
            announced_at: None,
            is_counted: self.is_counted,
        }
    }
}

/// Sentences that a stream has spoken, and its wasted audio.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Ledger {
    /// Sentences that are over, in order; the oldest may have been dropped.
    records: Vec<Record>,
    /// Memory of the records. It may be too high until the next time that older ones are dropped.
    record_bytes: usize,
    /// The first record since the start of the stream, or since the last `cancel`.
    first_since_cancel: usize,
    /// Sentences that were announced to the client, on any connection.
    announced: u64,
    /// Audio that was synthesised and never sent.
    dropped_bytes: u64,
    /// Audio that was sent and dropped before it was played.
    unplayed_bytes: u64,
    /// Ranges of that audio to which a client may still return.
    unplayed: VecDeque<Range<u64>>,
}

impl Ledger {
    /// Notes that this sentence was announced. Returns true the first time.
    pub(super) fn announce(&mut self, index: u64) -> bool {
        let is_new = index >= self.announced;
        if is_new {
            self.announced = index + 1;
        }
        is_new
    }

    /// The same, without the words of sentences that end at or before this offset: they were heard whole.
    pub(super) fn without_words(&self, offset: u64) -> Ledger {
        let records = self.records.iter().map(|record| match record.end() <= offset {
            true => Record { words: Vec::new(), ..record.clone() },
            false => record.clone(),
        });
        Ledger { records: records.collect(), unplayed: self.unplayed.clone(), ..*self }
    }

    /// Sentences that were announced to the client.
    pub(super) fn announced(&self) -> u64 {
        self.announced
    }

    /// Adds a sentence that is over.
    pub(super) fn record(&mut self, record: Record) {
        self.record_bytes += record.memory_bytes();
        self.records.push(record);
        if self.record_bytes > RECORD_BYTES {
            let dropped = self.records.len() / 2;
            self.records.drain(..dropped);
            self.first_since_cancel = self.first_since_cancel.saturating_sub(dropped);
            self.record_bytes = self.records.iter().map(Record::memory_bytes).sum();
        }
    }

    /// Index of the last sentence that begins at or before this offset; 0 if there is none.
    pub(super) fn index_at(&self, offset: u64) -> u64 {
        // A sentence that was cut off may have been synthesised beyond the start of the next one.
        self.records.iter().rfind(|record| record.start <= offset).map_or(0, |record| record.index)
    }

    // Cancel.

    /// Applies a cancel at the offset `sent`. The client has played up to `played`; `base` is the lowest
    /// offset in the log. Returns the bytes that this cancel wastes, apart from bytes that were never
    /// sent.
    pub(super) fn cancel(
        &mut self,
        played: u64,
        sent: u64,
        base: u64,
        unsent: u64,
        in_flight: impl Iterator<Item = Record>,
    ) -> u64 {
        let wasted = self.write_off(played, sent, base);
        self.dropped_bytes += unsent;
        in_flight.for_each(|record| self.record(Record { cut_at: Some(sent), ..record }));
        // A sentence that was never announced leaves no gap in the indexes; an announced one keeps its own.
        self.records.retain(|record| record.index < self.announced);
        // More than one sentence may lie beyond the cut, if the client recovered at an earlier offset before.
        for record in self.records.iter_mut().filter(|record| record.end() > sent) {
            record.cut_at = Some(sent);
        }
        wasted
    }

    /// Starts a new account of played text, after a cancel was answered.
    pub(super) fn end_cancel(&mut self) {
        self.first_since_cancel = self.records.len();
    }

    /// Counts audio that was synthesised and never sent.
    pub(super) fn drop_bytes(&mut self, bytes: u64) {
        self.dropped_bytes += bytes;
    }

    fn write_off(&mut self, played: u64, sent: u64, base: u64) -> u64 {
        let before = self.unplayed.back().map_or(0, |range| range.end);
        let unplayed = played.max(before)..sent;
        if unplayed.is_empty() {
            return 0;
        }
        while self.unplayed.front().is_some_and(|range| range.end <= base) {
            self.unplayed.pop_front();
        }
        let bytes = unplayed.end - unplayed.start;
        self.unplayed_bytes += bytes;
        self.unplayed.push_back(unplayed);
        bytes
    }

    /// The text that was played since the last `cancel`, up to this offset.
    pub(super) fn played_text(&self, played: u64, format: Format) -> String {
        let mut heard = Vec::new();
        let since = self.records.iter().skip(self.first_since_cancel);
        for record in since.filter(|record| record.start < played && record.bytes > 0) {
            if record.cut_at.is_none() && record.end() <= played {
                heard.push(record.text.as_str());
                continue;
            }
            // Only part of it: up to the last word that has begun.
            let mut into = format.duration(played - record.start);
            let guess;
            let words = match record.words.is_empty() {
                false => &record.words,
                // The engine gives no times, and was stopped before the length was known.
                true => {
                    let usual =
                        CHARACTER.mul_f32(record.text.chars().count() as f32 / record.parameters.speed);
                    let spoken = record.bytes.saturating_sub(record.silence);
                    guess = words::estimate(&record.text, usual.max(format.duration(spoken)));
                    into = into.saturating_sub(format.duration(record.silence));
                    &guess
                }
            };
            let last = words.iter().take_while(|word| word.start < into).last();
            heard.push(&record.text[..last.map_or(0, |word| word.text_range.end)]);
        }
        heard.retain(|text| !text.is_empty());
        heard.join(" ")
    }

    // Recovery.

    /// Notes that audio beyond this offset is sent again, and may still be played.
    pub(super) fn resend_from(&mut self, offset: u64) {
        while let Some(range) = self.unplayed.back_mut().filter(|range| range.end > offset) {
            let end = offset.max(range.start);
            self.unplayed_bytes -= range.end - end;
            range.end = end;
            if range.is_empty() {
                self.unplayed.pop_back();
            }
        }
        self.unplayed_bytes = self.unplayed_bytes.min(offset);
    }

    /// The first record to replay for an offset that the log no longer has: the number of records if
    /// the offset lies behind all of them, `None` if a record from there on was cut off, since it cannot
    /// be cut off again at the same byte, or was dropped.
    ///
    /// `with_ending` includes a sentence that ends at this very offset, for a log that has lost the
    /// messages behind its last byte.
    pub(super) fn first_to_replay(&self, offset: u64, with_ending: bool) -> Option<usize> {
        let first = match with_ending {
            true => {
                // A sentence before a cut at this offset has ended for the client.
                let is_cut = |record: &Record| record.cut_at.is_some_and(|cut_at| cut_at <= offset);
                let begin = self.records.iter().rposition(is_cut).map_or(0, |last| last + 1);
                let first = self.records[begin..].iter().position(|record| record.end() >= offset);
                let first = first.map(|first| begin + first);
                if first.is_some_and(|first| self.records[first].start > offset) {
                    // The record of the sentence at this offset was dropped.
                    return None;
                }
                first
            }
            false => {
                let last = self.records.iter().rposition(|record| record.start <= offset);
                last.filter(|last| offset < self.records[*last].end())
            }
        };
        let first = first.unwrap_or(self.records.len());
        self.records[first..].iter().all(|record| record.cut_at.is_none()).then_some(first)
    }

    /// The records from this position on.
    pub(super) fn since(&self, position: usize) -> &[Record] {
        self.records.get(position..).unwrap_or_default()
    }

    /// All records.
    pub(super) fn records(&self) -> &[Record] {
        &self.records
    }

    /// Notes that the client has every sentence up to this index, on any connection or from another session.
    pub(super) fn begin_at(&mut self, index: u64) {
        self.announced = self.announced.max(index + 1);
    }

    /// Removes the records from this position on, to be replayed.
    pub(super) fn take_back(&mut self, position: usize) -> Vec<Segment> {
        let position = position.min(self.records.len());
        self.records.drain(position..).map(Record::into_segment).collect()
    }

    // Figures.

    /// Audio that was synthesised and will not be played.
    pub(super) fn wasted_bytes(&self) -> u64 {
        self.dropped_bytes + self.unplayed_bytes
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.records.iter().map(Record::memory_bytes).sum()
    }
}
