//! The audio of a piece, one pitch period at a time, from its analysis.
//!
//! `flite_rs::voice` makes the same samples in a single call, for as long as the piece is. Here the work
//! can stop after any period and continue later, and what is kept between two periods is small.

use flite_rs::data::{Container, DataError, Reader, u16_at, u32_at};
use flite_rs::dsp::{ULAW_SILENCE, ulaw_to_i16};
use flite_rs::phoneset;
use flite_rs::utterance::ItemId;

/// Scale of the filter's coefficients.
const LPC_SCALE: i32 = 16_384;

/// Number of the filter's coefficients. A fixed number makes the filter, which is most of the work after the
/// analysis, several times as fast.
const ORDER: usize = 16;

/// Pitch before the first target, in Hz.
const INITIAL_F0: f64 = 120.0;

/// The recording: pitch periods of transitions from one sound to the next ("diphones").
pub(super) struct Recording {
    /// Sorted by name.
    diphones: Vec<(&'static str, Diphone)>,
    /// Coefficients of the filter, [`ORDER`] for each period.
    lpc: &'static [u8],
    /// Start of each period in `residual`, and the end of the last one.
    offsets: &'static [u8],
    /// µ-law excitation of all periods.
    residual: &'static [u8],
    min_coefficient: i32,
    coefficient_range: i32,
    sample_rate: u32,
}

#[derive(Clone, Copy)]
struct Diphone {
    /// First period.
    start: u32,
    /// Periods before and after the boundary of the two sounds.
    halves: [u32; 2],
}

/// Half of a transition, stretched to an end time.
#[derive(Clone, Copy)]
struct Unit {
    first_period: u32,
    last_period: u32,
    /// End, in samples.
    end: u32,
}

impl Recording {
    /// Reads a voice whose excitation is not compressed.
    pub(super) fn parse(bytes: &'static [u8]) -> Result<Recording, DataError> {
        let container = Container::parse(bytes)?;
        let mut header = Reader::new(container.section("sts.header")?);
        let frames = header.u32()? as usize;
        let order = header.u32()? as usize;
        let sample_rate = header.u32()?;
        let (minimum, range) = (header.f32()?, header.f32()?);
        if header.u32()? != 0 || container.optional_section("sts.ressize").is_some() {
            return Err(DataError("compressed excitation"));
        }
        if order != ORDER {
            return Err(DataError("filter of another order"));
        }
        let lpc = container.section("sts.lpc")?;
        let offsets = container.section("sts.resoffs")?;
        let residual = container.section("sts.res")?;
        if lpc.len() < frames * ORDER * 2 || offsets.len() < (frames + 1) * 4 {
            return Err(DataError("voice tables inconsistent with header"));
        }
        let mut index = Reader::new(container.section("dip.index")?);
        let mut diphones = Vec::new();
        for _ in 0..index.u32()? {
            let name = index.short_str()?;
            let start = index.u16()?.into();
            diphones.push((name, Diphone { start, halves: [index.u8()?.into(), index.u8()?.into()] }));
        }
        diphones.sort_by_key(|(name, _)| *name);
        if diphones.is_empty() {
            return Err(DataError("voice without diphones"));
        }
        Ok(Recording {
            diphones,
            lpc,
            offsets,
            residual,
            min_coefficient: (minimum * 32_768.0) as i32,
            coefficient_range: (range * 2_048.0) as i32,
            sample_rate,
        })
    }

    fn find(&self, name: &str) -> Option<Diphone> {
        let at = self.diphones.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
        Some(self.diphones[at].1)
    }

    fn excitation(&self, period: u32) -> &'static [u8] {
        let at = |n: u32| u32_at(self.offsets, n as usize) as usize;
        self.residual.get(at(period)..at(period + 1)).unwrap_or_default()
    }

    fn period_samples(&self, period: u32) -> usize {
        self.excitation(period).len()
    }

    fn units(&self, analysis: &flite_rs::Utterance) -> Vec<Unit> {
        let segments: Vec<ItemId> = analysis.iter_relation("Segment").collect();
        let rate = self.sample_rate as f32;
        let mut units = Vec::with_capacity(segments.len().saturating_sub(1) * 2);
        for pair in segments.windows(2) {
            let (left, right) = (pair[0], pair[1]);
            let (before, after) = (analysis.name(left), analysis.name(right));
            // Consonants within a syllable have transitions of their own.
            let cluster = is_cluster(analysis, left).then(|| self.find(&format!("{before}_-_{after}")));
            let diphone = cluster.flatten().or_else(|| self.find(&format!("{before}-{after}")));
            let Diphone { start, halves } = diphone.unwrap_or(self.diphones[0].1);
            let ends = [left, right].map(|segment| analysis.feature_f32(segment, "end"));
            let middle = start + halves[0];
            units.push(Unit { first_period: start, last_period: middle, end: (ends[0] * rate) as u32 });
            units.push(Unit {
                first_period: middle,
                last_period: middle + halves[1],
                end: ((ends[0] + ends[1]) / 2.0 * rate) as u32,
            });
        }
        units
    }
}

/// True if this sound and the next one of its syllable are consonants.
fn is_cluster(analysis: &flite_rs::Utterance, segment: ItemId) -> bool {
    if phoneset::is_vowel(analysis.name(segment)) {
        return false;
    }
    let next = analysis.item_as(segment, "SylStructure").and_then(|view| analysis.next(view));
    next.is_some_and(|next| phoneset::feature(analysis.name(next), "vc") == "-")
}

/// Ends of the pitch periods, in samples, from the targets of the pitch.
struct Marks {
    /// Time in seconds and pitch in Hz of each target.
    targets: Vec<(f32, f32)>,
    at: usize,
    time: f64,
    last: (f64, f64),
    rate: f64,
}

impl Iterator for Marks {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        loop {
            let &(position, f0) = self.targets.get(self.at)?;
            let (position, f0) = (f64::from(position), f64::from(f0));
            let (last_position, last_f0) = self.last;
            if position > last_position && self.time < position {
                // Rounded to `f32` as the voice's makers do: otherwise some marks are one sample off.
                let slope = f64::from(((f0 - last_f0) / (position - last_position)) as f32);
                let now = last_f0 + (self.time - last_position) * slope;
                if now > 0.0 {
                    self.time += 1.0 / now;
                    return Some((self.rate * self.time) as usize);
                }
            }
            self.last = (position, f0);
            self.at += 1;
        }
    }
}

/// The audio of a piece that is being synthesised.
pub(super) struct Wave {
    units: Vec<Unit>,
    /// Current unit.
    unit: usize,
    /// Periods of the unit per sample of output. `None` before its first period.
    rate: Option<f32>,
    /// Position in the unit, in samples of the recording.
    position: f32,
    unit_start: usize,
    marks: Marks,
    /// Next mark.
    mark: Option<usize>,
    last_mark: usize,
    /// Output of the filter: the last [`ORDER`] samples, then those of the current period.
    filtered: Vec<i32>,
}

impl Wave {
    pub(super) fn new(recording: &Recording, analysis: &flite_rs::Utterance) -> Wave {
        let targets = analysis
            .iter_relation("Target")
            .map(|target| (analysis.feature_f32(target, "pos"), analysis.feature_f32(target, "f0")));
        let marks = |targets| Marks {
            targets,
            at: 0,
            time: 0.0,
            last: (0.0, INITIAL_F0),
            rate: recording.sample_rate.into(),
        };
        let mut marks = marks(targets.collect());
        let mark = marks.next();
        Wave {
            units: recording.units(analysis),
            unit: 0,
            rate: None,
            position: 0.0,
            unit_start: 0,
            marks,
            mark,
            last_mark: 0,
            filtered: vec![0; ORDER],
        }
    }

    /// Replaces `period` by the samples of the next pitch period, about 11 ms. False at the end.
    pub(super) fn next(&mut self, recording: &Recording, period: &mut Vec<i16>) -> bool {
        period.clear();
        while let (Some(&unit), Some(mark)) = (self.units.get(self.unit), self.mark) {
            let periods = unit.first_period..unit.last_period;
            let rate = *self.rate.get_or_insert_with(|| {
                let recorded: usize = periods.clone().map(|period| recording.period_samples(period)).sum();
                let span = (unit.end as usize).saturating_sub(self.unit_start).max(1);
                recorded as f32 / span as f32
            });
            if mark > unit.end as usize {
                self.unit_start = unit.end as usize;
                self.unit += 1;
                self.rate = None;
                self.position = 0.0;
                continue;
            }
            let size = mark - self.last_mark;
            self.speak(recording, nearest(recording, unit, self.position), size, period);
            self.position += size as f32 * rate;
            self.last_mark = mark;
            self.mark = self.marks.next();
            return true;
        }
        false
    }

    /// Passes the excitation of a recorded period through its filter. A longer or shorter period keeps
    /// its middle.
    fn speak(&mut self, recording: &Recording, recorded: u32, size: usize, period: &mut Vec<i16>) {
        // The last coefficient comes first, as the oldest sample does.
        let coefficients: [i32; ORDER] = std::array::from_fn(|n| {
            let quantised = u16_at(recording.lpc, recorded as usize * ORDER + ORDER - 1 - n);
            ((i32::from(quantised) / 2 * recording.coefficient_range) / 2_048 + recording.min_coefficient) / 2
        });
        let source = recording.excitation(recorded);
        let (skipped, silent) =
            (source.len().saturating_sub(size) / 2, size.saturating_sub(source.len()) / 2);
        let last = self.filtered.len() - ORDER;
        self.filtered.copy_within(last.., 0);
        self.filtered.truncate(ORDER);
        self.filtered.reserve(size);
        for n in 0..size {
            let byte = n.checked_sub(silent).and_then(|n| source.get(skipped + n));
            let byte = *byte.unwrap_or(&ULAW_SILENCE);
            let mut sum = i32::from(ulaw_to_i16(byte)).wrapping_mul(LPC_SCALE);
            // In fours, which is twice as fast where the compiler unrolls no loop.
            let (samples, _) = self.filtered[n..n + ORDER].as_chunks::<4>();
            for (coefficients, samples) in coefficients.as_chunks::<4>().0.iter().zip(samples) {
                let product = |n: usize| coefficients[n].wrapping_mul(samples[n]);
                let (first, last) =
                    (product(0).wrapping_add(product(1)), product(2).wrapping_add(product(3)));
                sum = sum.wrapping_add(first.wrapping_add(last));
            }
            self.filtered.push(sum / LPC_SCALE);
        }
        period.extend(self.filtered[ORDER..].iter().map(|&sample| sample as i16));
    }
}

/// Recorded period of a unit that is closest to this position.
fn nearest(recording: &Recording, unit: Unit, position: f32) -> u32 {
    let mut offset = 0f32;
    for period in unit.first_period..unit.last_period {
        let next = offset + recording.period_samples(period) as f32;
        if (position - offset).abs() < (position - next).abs() {
            return period;
        }
        offset = next;
    }
    unit.last_period.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{FLITE, FOX, STELLA};
    use super::*;
    use flite_rs::{Flow, pipeline, text, voice};

    #[test]
    fn periods_are_those_of_the_crate() {
        let speaker = &FLITE.speaker;
        let numbers = "In 1984, 37% of them paid $37.50 — or NATO did, xqzvkw.";
        for sentence in [FOX, STELLA, numbers, "Hm.", "a", "?", "Question, strengths, twelfths.", ""] {
            for (speed, voice) in [(1.0, ""), (0.5, "kal16-low"), (2.0, "kal16-high"), (1.37, "")] {
                let params = speaker.params(speed, voice);
                for tokens in text::sentences(sentence) {
                    let analysis = pipeline::analyse(&speaker.language, &tokens, &params);
                    let mut expected: Vec<Vec<i16>> = Vec::new();
                    voice::synthesise_streaming(&speaker.recording, &analysis, &params, &mut |period| {
                        expected.push(period.to_vec());
                        Flow::Continue
                    });
                    let mut wave = Wave::new(&speaker.periods, &analysis);
                    let (mut period, mut count) = (Vec::new(), 0);
                    while wave.next(&speaker.periods, &mut period) {
                        assert_eq!(expected.get(count), Some(&period), "{count} of {sentence} at {speed}");
                        count += 1;
                    }
                    assert_eq!(count, expected.len(), "{sentence} at {speed}");
                }
            }
        }
    }
}
