//! The way back to a place in a stream, for a client that has come back.
//!
//! What the log keeps is sent again. What it no longer keeps is spoken again, and the stream goes on where the
//! client is once the same audio is there.

use super::{Cold, Stream};
use crate::session::Place;
use crate::session::dialect::Dialect;
use crate::session::ledger::Record;
use crate::session::log::OutOfLog;
use crate::session::message::StartFrom;
use crate::session::takes::{Front, Position, Purpose, Target};

/// Outcome of a return to an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Return {
    /// The log has the offset.
    Rewound,
    /// Sentences must be replayed first, for which the engine must stop.
    Replays,
    /// The sentence at this position begins anew, for which the engine must stop. The client has a part of it, unless
    /// that `is_exact`.
    BeginsAnew { start: Position, is_exact: bool },
}

/// Way to return to an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// The log has the offset.
    Rewind,
    /// Sentences are spoken again from `start` on: records from `first` on, then those in flight.
    Replay { first: usize, start: Position, target: Position },
    /// A sentence is spoken in another take. The client has none of it if that `is_exact`.
    Anew { first: usize, start: Position, is_exact: bool },
    /// The stream has not reached the position of its `from`: it starts again.
    Start,
    /// A restored stream was sent further than is known of its sentences: they are spoken from `start` on, up to
    /// the offset.
    Seek { start: Position },
    /// A restored stream has no sentence to replay.
    Nothing,
}

/// The bytes that a client has of a sentence, compared with those of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Same,
    Different,
    /// The server has no checksum of them before it has spoken the sentence again.
    Unknown,
}

/// The audio at an offset is gone.
#[derive(Debug)]
pub(in crate::session) struct PositionLost;

impl Stream {
    /// The position that a client waits for while sentences are replayed.
    pub(in crate::session) fn recovering(&self) -> Option<Target> {
        self.cold.takes.recovering()
    }

    /// True if the audio from this place on can be had.
    pub(in crate::session) fn can_return_to(&self, place: &Place) -> bool {
        self.plan(place).is_some()
    }

    /// True if the client knows of a cancel that the server has lost, or has other audio.
    pub(in crate::session) fn contradicts(&self, place: &Place) -> bool {
        place.rev.is_some_and(|rev| rev > self.cold.facts.rev)
            || place.crc32.is_some_and(|crc32| self.compare(place.offset, crc32) == Comparison::Different)
    }

    /// The way to return to a place; `None` if there is none.
    fn plan(&self, place: &Place) -> Option<Plan> {
        let (log, offset) = (&self.log, place.offset);
        if offset > log.reached_bytes() {
            return self.plan_seek(offset).or_else(|| self.plan_take(place));
        }
        if self.is_starting() {
            return (offset == self.first_offset()).then_some(Plan::Start);
        }
        if offset >= log.base_bytes() && offset <= log.written_bytes() && !log.is_behind() {
            return Some(Plan::Rewind);
        }
        let exact = if self.cold.facts.is_repeatable {
            let front = self.cold.takes.front().filter(|front| front.is_announced());
            // The sentence that was in flight may have more bytes than were known of it.
            match front.filter(|front| self.must_seek() && offset > front.start()) {
                Some(_) => self.plan_seek(offset),
                None => self.plan_replay(offset).or_else(|| self.plan_seek(offset)),
            }
        } else {
            None
        };
        exact.or_else(|| self.plan_take(place))
    }

    /// The first record to speak again for an offset, and where the sentence begins. No sentence if there
    /// is none to speak.
    fn first_sentence(&self, offset: u64) -> Option<(usize, Option<Position>)> {
        let Cold { takes, ledger, .. } = &*self.cold;
        let first = ledger.first_to_replay(offset, self.log.is_restored())?;
        let start = if let Some(record) = ledger.since(first).first() {
            Some(Position { offset: record.start, index: record.index })
        } else if let Some(front) = takes.front() {
            front.is_announced().then(|| Position { offset: front.start(), index: front.index() })
        } else if !self.log.is_restored() && self.cold.composer.known_lengths().next().is_some() {
            Some(Position { offset: self.log.written_bytes(), index: takes.next_index() })
        } else {
            None
        };
        Some((first, start.filter(|start| start.offset <= offset)))
    }

    fn plan_replay(&self, offset: u64) -> Option<Plan> {
        let (first, start) = self.first_sentence(offset)?;
        let Some(start) = start else {
            return (self.log.is_restored() && offset == self.log.sent_bytes()).then_some(Plan::Nothing);
        };
        let Cold { composer, takes, ledger, .. } = &*self.cold;
        let records = ledger.since(first).iter().map(|record| record.bytes);
        let mut end = start.offset;
        for (bytes, index) in
            records.chain(takes.known_lengths()).chain(composer.known_lengths()).zip(start.index..)
        {
            end += bytes;
            if offset <= end {
                return Some(Plan::Replay { first, start, target: Position { offset, index } });
            }
        }
        None
    }

    /// True if the lengths of sentences that the client may have are not known.
    fn must_seek(&self) -> bool {
        self.log.is_restored() || self.cold.takes.target().is_some_and(|target| target.is_sought)
    }

    fn plan_seek(&self, offset: u64) -> Option<Plan> {
        let Cold { composer, takes, ledger, facts, .. } = &*self.cold;
        let is_able = self.must_seek() && facts.is_repeatable && !self.is_finished;
        if !is_able || takes.is_empty() && !composer.has_more() {
            return None;
        }
        let start = match takes.front() {
            _ if self.is_starting() => Position { offset: 0, index: 0 },
            Some(front) if front.is_announced() => Position { offset: front.start(), index: front.index() },
            front => Position {
                offset: match self.log.is_restored() {
                    true => ledger.records().last().map_or(0, Record::end),
                    false => self.log.written_bytes(),
                },
                index: front.map_or(takes.next_index(), Front::index),
            },
        };
        (start.offset <= offset).then_some(Plan::Seek { start })
    }

    /// The way for audio that no engine finds again.
    fn plan_take(&self, place: &Place) -> Option<Plan> {
        let offset = place.offset;
        let at_border = if self.log.is_restored() { self.plan_border(offset) } else { None };
        at_border.or_else(|| if place.is_inexact { self.plan_anew(offset) } else { None })
    }

    /// The way to the beginning of a sentence of a restored stream: any take of it will do.
    fn plan_border(&self, offset: u64) -> Option<Plan> {
        let records = self.cold.ledger.records();
        let anew = |first: usize, index: u64| {
            let is_whole = records[first..].iter().all(|record| record.cut_at.is_none());
            let start = Position { offset, index };
            is_whole.then_some(Plan::Anew { first, start, is_exact: true })
        };
        // The client has the error of one without audio.
        let is_next = |record: &Record| record.start == offset && record.bytes > 0;
        if let Some(first) = records.iter().rposition(is_next) {
            return anew(first, records[first].index);
        }
        match self.next_border() {
            Some(start) if start.offset == offset => anew(records.len(), start.index),
            Some(_) => None,
            None => (offset == self.last_end()).then_some(Plan::Nothing),
        }
    }

    /// Beginning of the next sentence that is not over, if there is one.
    fn next_border(&self) -> Option<Position> {
        let Cold { composer, takes, .. } = &*self.cold;
        match takes.front() {
            Some(front) if front.is_announced() => {
                Some(Position { offset: front.start(), index: front.index() })
            }
            Some(front) => Some(Position { offset: self.last_end(), index: front.index() }),
            None => {
                composer.has_more().then(|| Position { offset: self.last_end(), index: takes.next_index() })
            }
        }
    }

    /// End of the last sentence that is over.
    fn last_end(&self) -> u64 {
        self.cold.ledger.records().last().map_or(self.first_offset(), Record::end)
    }

    fn plan_anew(&self, offset: u64) -> Option<Plan> {
        let (first, start) = self.first_sentence(offset)?;
        // The one at the offset may be unknown: it was begun after the session was written down.
        let start = start.or_else(|| self.next_border().filter(|start| start.offset <= offset));
        match start {
            Some(start) => Some(Plan::Anew { first, start, is_exact: false }),
            None => (self.log.is_restored() && offset == self.log.sent_bytes()).then_some(Plan::Nothing),
        }
    }

    /// Compares the client's checksum of its bytes since its last `text` with the audio before this offset.
    fn compare(&self, offset: u64, crc32: u32) -> Comparison {
        let Cold { takes, ledger, .. } = &*self.cold;
        // Start, checksum of all audio, its length, and the end for the client.
        let records = ledger.records().iter().map(|record| {
            let whole = record.cut_at.is_none().then_some(record.crc32);
            (record.start, whole, record.bytes, record.end())
        });
        let front = takes
            .front()
            .filter(|front| front.is_in_log())
            .map(|front| (front.start(), Some(front.crc32()), front.bytes(), front.start() + front.bytes()));
        let mut result = None;
        let sentences = records.chain(front);
        for (start, whole, bytes, _) in sentences.filter(|(start, .., end)| (*start..=*end).contains(&offset))
        {
            let known = if offset == start {
                Some(0)
            } else if offset == start + bytes && whole.is_some() {
                whole
            } else {
                let rest = || Some((whole?, self.log.crc32(offset, start + bytes)?));
                let by_rest =
                    || rest().map(|(whole, rest)| crc32_of_prefix(whole, rest, start + bytes - offset));
                self.log.crc32(start, offset).or_else(by_rest)
            };
            match known {
                Some(known) if known == crc32 => return Comparison::Same,
                // No bytes of the sentence behind one that was in flight, and may have ended here.
                Some(_) if crc32 == 0 && self.log.is_restored() && offset > start => {
                    result = Some(Comparison::Unknown);
                }
                Some(_) => result = result.or(Some(Comparison::Different)),
                None => result = Some(Comparison::Unknown),
            }
        }
        // Before the first sentence the client has no byte.
        let is_nothing = offset == self.first_offset() && crc32 == 0;
        result.unwrap_or(if is_nothing { Comparison::Same } else { Comparison::Unknown })
    }

    /// Returns to a place.
    ///
    /// # Errors
    /// Its audio is gone, or was never sent.
    pub(in crate::session) fn return_to(&mut self, place: &Place) -> Result<Return, PositionLost> {
        let plan = self.plan(place).ok_or(PositionLost)?;
        let (offset, is_inexact) = (place.offset, place.is_inexact);
        let is_restored = self.log.is_restored();
        self.is_finished = false;
        self.cold.ledger.resend_from(offset);
        match plan {
            Plan::Rewind => {
                self.log.rewind(offset).map_err(|_: OutOfLog| PositionLost)?;
                self.cold.takes.take_target();
                if is_inexact {
                    self.cold.composer.forget_replays(0);
                }
                Ok(Return::Rewound)
            }
            Plan::Start => {
                let StartFrom { index, offset, crc32 } = self.cold.facts.from;
                self.take_back(0);
                self.log.restart(0, offset);
                let position = Position { offset, index };
                let purpose = Purpose::Recover { is_inexact: false };
                let target = Target { position, last_index: index, crc32, purpose, is_sought: false };
                self.cold.takes.restart(0, Some(target));
                Ok(Return::Replays)
            }
            Plan::Seek { start } => {
                self.take_back(if self.is_starting() { 0 } else { usize::MAX });
                self.log.restart(start.offset, offset);
                let position = Position { offset, index: start.index };
                let purpose = Purpose::Recover { is_inexact };
                let (crc32, last_index) = (place.crc32, start.index);
                let target = Target { position, last_index, crc32, purpose, is_sought: true };
                self.cold.takes.restart(start.index, Some(target));
                Ok(Return::Replays)
            }
            Plan::Nothing => {
                // No record has this number.
                self.take_back(usize::MAX);
                self.cold.takes.take_target();
                self.log.restart(offset, offset);
                Ok(Return::Rewound)
            }
            Plan::Replay { first, start, target } => {
                let compares = place.crc32.filter(|crc32| {
                    self.compare(offset, *crc32) == Comparison::Unknown && offset > start.offset
                });
                let last_index = self.index_at(offset).max(target.index);
                self.take_back(first);
                self.log.restart(start.offset, offset);
                let Cold { composer, takes, .. } = &mut *self.cold;
                if is_inexact {
                    // The client has nothing of the sentences behind.
                    composer.forget_replays((target.index - start.index) as usize + 1);
                }
                let purpose = Purpose::Recover { is_inexact };
                let target =
                    Target { position: target, last_index, crc32: compares, purpose, is_sought: false };
                takes.restart(start.index, Some(target));
                debug_assert!(is_restored || self.log.is_behind() || offset == start.offset);
                Ok(Return::Replays)
            }
            Plan::Anew { first, start, is_exact } => {
                self.begin_anew(first, start);
                Ok(Return::BeginsAnew { start, is_exact })
            }
        }
    }

    /// Takes back the records from `first` on, and all sentences in flight, to be spoken again.
    fn take_back(&mut self, first: usize) {
        let Cold { composer, takes, ledger, .. } = &mut *self.cold;
        let (in_flight, _) = takes.take_back();
        composer.put_back(in_flight.into_iter());
        composer.put_back(ledger.take_back(first).into_iter());
        composer.forget_announcements();
    }

    fn begin_anew(&mut self, first: usize, start: Position) {
        self.take_back(first);
        self.log.restart_anew(start.offset);
        self.cold.ledger.resend_from(start.offset);
        let Cold { composer, takes, .. } = &mut *self.cold;
        composer.forget_replays(0);
        takes.restart(start.index, None);
    }

    /// Begins the front sentence anew, whose replay came out different. Returns its position.
    pub(in crate::session) fn begin_front_anew(&mut self) -> Option<Position> {
        let front = self.cold.takes.front()?;
        let start = Position { offset: front.start(), index: front.index() };
        self.begin_anew(usize::MAX, start);
        Some(start)
    }

    /// Puts the sentences in flight off until the client returns. A sentence that was spoken in part ends
    /// here.
    pub(in crate::session) fn put_off(&mut self, dialect: Dialect) {
        if self.cold.takes.front().is_some_and(|front| front.is_in_log() && front.bytes() > 0) {
            self.on_failure_without_message();
            // It is not held back, so it has nothing to differ from.
            let _ = self.on_spoken(dialect);
        }
        let put_off = self.cold.takes.put_off();
        self.cold.composer.put_back(put_off.into_iter());
    }
}

/// CRC-32 of the beginning of some bytes, from that of all of them and that of the other `rest_bytes`.
fn crc32_of_prefix(whole: u32, rest: u32, rest_bytes: u64) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    /// The inverse of x: the constant term of the polynomial is 1.
    const INVERSE: u32 = (0x8000_0000 ^ POLYNOMIAL) << 1 | 1;
    /// The product of two polynomials, modulo that of the CRC. The highest bit is the constant term.
    fn product(a: u32, mut b: u32) -> u32 {
        let mut product = 0;
        for bit in (0..32).rev() {
            product ^= b & 0u32.wrapping_sub(a >> bit & 1);
            b = b >> 1 ^ POLYNOMIAL & 0u32.wrapping_sub(b & 1);
        }
        product
    }
    // The checksum of all bytes is that of the beginning times x for each bit of the rest, plus that of the
    // rest.
    let (mut crc, mut power, mut bits) = (whole ^ rest, INVERSE, rest_bytes * 8);
    while bits > 0 {
        if bits & 1 == 1 {
            crc = product(power, crc);
        }
        power = product(power, power);
        bits >>= 1;
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_of_prefix_is_that_of_the_beginning() {
        let bytes: Vec<u8> = (0..5_000u32).map(|n| ((n * n) >> 3) as u8).collect();
        for cut in [0, 1, 2, 7, 1_000, 4_999, 5_000] {
            let (prefix, rest) = bytes.split_at(cut);
            let crc32 = crc32_of_prefix(crc32fast::hash(&bytes), crc32fast::hash(rest), rest.len() as u64);
            assert_eq!(crc32, crc32fast::hash(prefix), "{cut}");
        }
    }
}
