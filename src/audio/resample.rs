//! Conversion of the sample rate, as samples arrive.
//!
//! Every output sample is a weighted sum of the input around its time. The weights are a sinc, which
//! keeps the band that both rates can carry, under a Kaiser window, which makes it finite. The output
//! samples of two rates have a limited number of positions between two input samples. The weights of
//! each position, a *phase* of the table, are computed once.
//!
//! Why not a crate: `rubato` would add about twenty packages, and a fixed list of ratios with one channel
//! of 16 bits needs none of its other features.
//!
//! This module knows nothing of encodings, engines or sessions. All resamplers with the same ratio share
//! a table, which does not affect their results.

use std::collections::HashMap;
use std::f64::consts::PI;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Lowest and highest rate, in hertz.
const RATES_HZ: std::ops::RangeInclusive<u32> = 4_000..=192_000;

/// Largest term of a ratio, which limits a table to 210 KB. Ratios of two of
/// [`Format::SAMPLE_RATES`](crate::audio::Format::SAMPLE_RATES) have terms up to 441.
const MAX_TERM: u32 = 640;

/// Most tables that are kept. The rates of the list have 20 ratios. More come from engines with other
/// rates. With more ratios than tables, each resampler computes its own.
const MAX_TABLES: usize = 64;

/// Samples that are processed at a time, which limits the memory of a long push.
const BLOCK: usize = 4_096;

/// Number of input samples for one output sample, if the rate rises. If it falls, the number grows by the
/// same factor. With [`PASS`] and [`BETA`], Kaiser's formula gives 70 dB.
const TAPS: usize = 72;

/// End of the pass band, as a fraction of the lower rate's Nyquist frequency. From here the filter falls
/// until that frequency.
const PASS: f64 = 0.88;

/// Shape of the Kaiser window, for 70 dB of attenuation above the Nyquist frequency.
const BETA: f64 = 6.755;

/// Number of partial sums, which the compiler turns into vector instructions. The number of weights of a
/// phase is a multiple of it.
const LANES: usize = 8;

/// Converts the samples of one utterance from one rate to another.
///
/// - The output is as long as the input, to half a sample, and has no delay.
/// - The level stays the same within 0.01 dB up to 0.88 of the lower rate's Nyquist frequency, and within
///   0.5 dB at 0.9 of it. Aliases and images are at least 65 dB down.
/// - The same input gives the same output, however it is cut into pushes.
///
/// ```
/// use aloud::unstable::Resampler;
///
/// let mut resampler = Resampler::new(16_000, 8_000).ok_or("no such ratio")?;
/// let mut out = Vec::new();
/// resampler.push(&[1_000; 1_600], &mut out);
/// resampler.finish(&mut out);
/// assert_eq!(out.len(), 800);
/// assert_eq!(out[400], 1_000);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug)]
pub struct Resampler {
    table: Arc<Table>,
    /// Input that is still needed, from the first sample of the next output.
    input: Vec<f32>,
    /// Position in `input` of the first sample of the next output.
    at: usize,
    /// Distance of the next output from the earlier of its two middle samples, in phases.
    phase: usize,
    /// Number of input samples.
    taken: u64,
    /// Number of output samples.
    given: u64,
}

impl Resampler {
    /// Creates a resampler between two rates in hertz, or returns `None` if they are not supported.
    ///
    /// Both rates must be from 4,000 to 192,000 Hz, and both terms of their reduced ratio at most 640.
    /// That includes any two of [`Format::SAMPLE_RATES`](crate::audio::Format::SAMPLE_RATES), and
    /// conversions from 11,025, 12,000, 32,000 and 96,000 Hz to each of them.
    pub fn new(from_hz: u32, to_hz: u32) -> Option<Resampler> {
        let mut resampler = Resampler {
            table: Table::shared(ratio(from_hz, to_hz)?),
            input: Vec::new(),
            at: 0,
            phase: 0,
            taken: 0,
            given: 0,
        };
        resampler.restart();
        Some(resampler)
    }

    /// True if there is a resampler between these rates, in hertz.
    pub fn supports(from_hz: u32, to_hz: u32) -> bool {
        ratio(from_hz, to_hz).is_some()
    }

    /// Takes samples, and appends output samples to `out`. It holds back about 36 samples at the lower of
    /// the two rates, which are 4.5 ms at 8,000 Hz.
    pub fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        for block in samples.chunks(BLOCK) {
            self.taken += block.len() as u64;
            self.input.extend(block.iter().map(|&s| f32::from(s)));
            self.give(u64::MAX, out);
        }
    }

    /// Appends the samples that were held back, as if silence followed. The next push starts from the
    /// beginning.
    pub fn finish(&mut self, out: &mut Vec<i16>) {
        let Ratio { up, down } = self.table.ratio;
        let (up, down) = (u128::from(up), u128::from(down));
        let due = (2 * u128::from(self.taken) * up + down) / (2 * down);
        self.input.extend(std::iter::repeat_n(0.0, self.table.taps));
        self.give(u64::try_from(due).unwrap_or(u64::MAX), out);
        self.restart();
    }

    /// Returns to the initial state, as if silence came before.
    fn restart(&mut self) {
        self.input.clear();
        self.input.resize(self.table.taps / 2 - 1, 0.0);
        (self.at, self.phase, self.taken, self.given) = (0, 0, 0, 0);
    }

    /// Appends the output that is possible, up to `limit` samples in total.
    fn give(&mut self, limit: u64, out: &mut Vec<i16>) {
        let Table { ratio, taps, .. } = *self.table;
        let (up, down) = (ratio.up as usize, ratio.down as usize);
        while self.given < limit
            && let Some(input) = self.input.get(self.at..self.at + taps)
        {
            let sum = dot(input, &self.table.weights[self.phase * taps..][..taps]);
            // Rounds to the nearest integer. The cast saturates.
            out.push((sum + 0.5f32.copysign(sum)) as i16);
            self.given += 1;
            self.phase += down;
            self.at += self.phase / up;
            self.phase %= up;
        }
        let passed = self.at.min(self.input.len());
        self.input.drain(..passed);
        self.at -= passed;
    }
}

/// Sum of the products, always in the same order. Both lengths are the same multiple of [`LANES`].
fn dot(samples: &[f32], weights: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    for (samples, weights) in samples.chunks_exact(LANES).zip(weights.chunks_exact(LANES)) {
        for ((sum, sample), weight) in sums.iter_mut().zip(samples).zip(weights) {
            *sum += sample * weight;
        }
    }
    sums.iter().sum()
}

/// Reduced ratio: `up` output samples for every `down` input samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Ratio {
    up: u32,
    down: u32,
}

/// Returns the ratio of two rates, if it is supported.
fn ratio(from_hz: u32, to_hz: u32) -> Option<Ratio> {
    if !RATES_HZ.contains(&from_hz) || !RATES_HZ.contains(&to_hz) {
        return None;
    }
    let (mut a, mut b) = (from_hz, to_hz);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    let ratio = Ratio { up: to_hz / a, down: from_hz / a };
    (ratio.up.max(ratio.down) <= MAX_TERM).then_some(ratio)
}

/// Weights for one ratio.
#[derive(Debug)]
struct Table {
    ratio: Ratio,
    /// Number of weights of one phase, a multiple of [`LANES`].
    taps: usize,
    /// All phases in order. Phase p is for outputs at p / `up` after an input sample. The weights of a
    /// phase add up to 1.
    weights: Vec<f32>,
}

impl Table {
    /// Returns the shared table for this ratio.
    fn shared(ratio: Ratio) -> Arc<Table> {
        static TABLES: OnceLock<Mutex<HashMap<Ratio, Arc<Table>>>> = OnceLock::new();
        // A poisoned lock is safe to use: each change to the map is a single call.
        let mut tables = TABLES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tables.get(&ratio) {
            return Arc::clone(table);
        }
        // Under the lock, so that many sessions that start together compute it once. It takes at most 2 ms.
        let table = Arc::new(Table::new(ratio));
        if tables.len() < MAX_TABLES {
            tables.insert(ratio, Arc::clone(&table));
        }
        table
    }

    fn new(ratio: Ratio) -> Table {
        let (up, down) = (f64::from(ratio.up), f64::from(ratio.down));
        // If the rate falls, the filter is longer by this factor.
        let stretch = (down / up).max(1.0);
        let half = TAPS as f64 / 2.0 * stretch;
        let taps = (2.0 * half).ceil() as usize;
        let taps = taps.next_multiple_of(LANES);
        // The middle between the pass band and the Nyquist frequency of the lower rate, as a fraction of
        // the input's Nyquist frequency.
        let cutoff = (1.0 + PASS) / 2.0 / stretch;
        let edge = bessel_i0(BETA);
        let mut weights = Vec::with_capacity(taps * ratio.up as usize);
        for phase in 0..ratio.up {
            let phase: Vec<f64> = (0..taps)
                .map(|tap| {
                    // Distance of the input sample from the output, in input samples.
                    let distance = tap as f64 + 1.0 - taps as f64 / 2.0 - f64::from(phase) / up;
                    let place = distance / half;
                    let window = bessel_i0(BETA * (1.0 - place * place).max(0.0).sqrt()) / edge;
                    if place.abs() < 1.0 { sinc(cutoff * distance) * window } else { 0.0 }
                })
                .collect();
            let sum: f64 = phase.iter().sum();
            weights.extend(phase.iter().map(|weight| (weight / sum) as f32));
        }
        Table { ratio, taps, weights }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { libm::sin(PI * x) / (PI * x) }
}

/// Modified Bessel function of the first kind and order zero, by its power series. The Kaiser window uses
/// it.
fn bessel_i0(x: f64) -> f64 {
    let (mut sum, mut term, mut n) = (1.0, 1.0, 1.0);
    while term > sum * 1e-16 {
        term *= (x / (2.0 * n)).powi(2);
        sum += term;
        n += 1.0;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Format;
    use std::f64::consts::TAU;

    /// Amplitude of test signals: loud, with room for the overshoot of a filter.
    const AMPLITUDE: f64 = 24_000.0;

    /// All pairs of different rates.
    fn pairs() -> impl Iterator<Item = (u32, u32)> {
        let to =
            |from| Format::SAMPLE_RATES.into_iter().filter_map(move |to| (from != to).then_some((from, to)));
        Format::SAMPLE_RATES.into_iter().flat_map(to)
    }

    /// Pseudo-random numbers, the same in every run.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % sides
        }
    }

    fn resampler(from: u32, to: u32) -> Resampler {
        Resampler::new(from, to).expect("rates of the list")
    }

    fn resampled(from: u32, to: u32, input: &[i16]) -> Vec<i16> {
        let mut resampler = resampler(from, to);
        let mut out = Vec::new();
        resampler.push(input, &mut out);
        resampler.finish(&mut out);
        out
    }

    fn sine(hz: f64, rate: u32, length: usize) -> Vec<i16> {
        let step = TAU * hz / f64::from(rate);
        (0..length).map(|n| (AMPLITUDE * (step * n as f64).sin()).round() as i16).collect()
    }

    /// Response to a sine, far from its ends: gain in decibels, delay in seconds, and level of everything
    /// else relative to the input, in decibels.
    fn response(hz: f64, from: u32, to: u32) -> (f64, f64, f64) {
        let seconds = 0.045;
        let out = resampled(from, to, &sine(hz, from, (seconds * f64::from(from)) as usize));
        let ends = (0.01 * f64::from(to)) as usize;
        let out = &out[ends..out.len() - ends];
        let wave = |n: usize| (TAU * hz * (n + ends) as f64 / f64::from(to)).sin_cos();
        // The best fit of a sine and a cosine, by least squares.
        let (mut ss, mut sc, mut cc, mut ys, mut yc) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (n, &y) in out.iter().enumerate() {
            let ((s, c), y) = (wave(n), f64::from(y));
            (ss, sc, cc, ys, yc) = (ss + s * s, sc + s * c, cc + c * c, ys + y * s, yc + y * c);
        }
        let determinant = ss * cc - sc * sc;
        let (a, b) = ((ys * cc - yc * sc) / determinant, (yc * ss - ys * sc) / determinant);
        let rest = out.iter().enumerate().map(|(n, &y)| {
            let (s, c) = wave(n);
            (f64::from(y) - a * s - b * c).powi(2)
        });
        let rest = rest.sum::<f64>() / out.len() as f64;
        let power = AMPLITUDE * AMPLITUDE / 2.0;
        (decibels((a * a + b * b) / (2.0 * power)), -b.atan2(a) / (TAU * hz), decibels(rest / power))
    }

    /// Level of the output for a sine, without its ends, in decibels.
    fn leak(hz: f64, from: u32, to: u32) -> f64 {
        let out = resampled(from, to, &sine(hz, from, (0.035 * f64::from(from)) as usize));
        let ends = (0.01 * f64::from(to)) as usize;
        let out = &out[ends..out.len() - ends];
        let power = out.iter().map(|&y| f64::from(y).powi(2)).sum::<f64>() / out.len() as f64;
        decibels(power / (AMPLITUDE * AMPLITUDE / 2.0))
    }

    fn decibels(power: f64) -> f64 {
        10.0 * power.max(1e-20).log10()
    }

    #[test]
    fn the_pass_band_keeps_its_level_and_has_no_delay_and_no_aliases() {
        for (from, to) in pairs() {
            let nyquist = f64::from(from.min(to)) / 2.0;
            // Fraction of the band, tolerance of the level in decibels.
            for (part, most) in
                [(0.02, 0.01), (0.1, 0.01), (0.33, 0.01), (0.6, 0.01), (0.8, 0.01), (0.88, 0.01), (0.9, 0.5)]
            {
                let (gain, late, rest) = response(part * nyquist, from, to);
                let what = format!("{part} of the band from {from} to {to} Hz");
                assert!(gain.abs() <= most, "{gain:.3} dB at {what}");
                assert!(late.abs() * f64::from(from.min(to)) < 0.001, "late by {late} s at {what}");
                assert!(rest < -65.0, "{rest:.1} dB of something else at {what}");
            }
            // There are no aliases or images where the filter falls.
            for part in [0.94, 0.97, 0.99] {
                let (gain, _, rest) = response(part * nyquist, from, to);
                assert!(gain < 0.0 && rest < -65.0, "{part} from {from} to {to} Hz: {rest:.1} dB");
            }
        }
    }

    #[test]
    fn frequencies_above_the_new_nyquist_frequency_are_removed() {
        for (from, to) in pairs().filter(|(from, to)| from > to) {
            let (nyquist, highest) = (f64::from(to) / 2.0, f64::from(from) / 2.0);
            for part in [0.0, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 0.98] {
                let hz = nyquist + part * (highest - nyquist);
                let leak = leak(hz, from, to);
                assert!(leak < -65.0, "{leak:.1} dB of {hz} Hz from {from} to {to} Hz");
            }
        }
    }

    #[test]
    fn the_output_is_as_long_as_the_input() {
        for (from, to) in pairs() {
            for length in [0, 1, 2, 3, 10, 99, 441, 1_000] {
                let exact = length as f64 * f64::from(to) / f64::from(from);
                let out = resampled(from, to, &vec![100; length]);
                assert_eq!(out.len(), exact.round() as usize, "{length} from {from} to {to} Hz");
            }
        }
    }

    #[test]
    fn a_click_keeps_its_position() {
        for (from, to) in pairs() {
            for at in [0, 1, 7, 250, 490] {
                let mut input = [0; 500];
                input[at] = 30_000;
                let out = resampled(from, to, &input);
                let peak = out.iter().enumerate().max_by_key(|(_, s)| s.unsigned_abs()).expect("not empty").0;
                let exact = at as f64 * f64::from(to) / f64::from(from);
                assert!((peak as f64 - exact).abs() <= 1.0, "{at} from {from} to {to} Hz became {peak}");
            }
        }
    }

    #[test]
    fn cuts_make_no_difference() {
        let mut dice = Dice(7);
        let noise: Vec<i16> = (0..1_500).map(|_| dice.roll(65_536) as u16 as i16).collect();
        for (from, to) in pairs() {
            let whole = resampled(from, to, &noise);
            for most in [2, 50, 1_000] {
                let mut resampler = resampler(from, to);
                let (mut out, mut rest) = (Vec::new(), noise.as_slice());
                while !rest.is_empty() {
                    let (piece, later) = rest.split_at(dice.roll(most + 1).min(rest.len()));
                    resampler.push(piece, &mut out);
                    rest = later;
                }
                resampler.finish(&mut out);
                assert!(out == whole, "from {from} to {to} Hz in pieces of up to {most}");
            }
        }
    }

    #[test]
    fn a_long_push_equals_many_short_ones_and_is_not_buffered() {
        let input = sine(300.0, 8_000, 3 * BLOCK);
        let (mut long, mut short) = (resampler(8_000, 48_000), resampler(8_000, 48_000));
        let (mut at_once, mut in_pieces) = (Vec::new(), Vec::new());
        long.push(&input, &mut at_once);
        input.chunks(100).for_each(|piece| short.push(piece, &mut in_pieces));
        assert_eq!(at_once, in_pieces);
        assert!(long.input.capacity() <= 4 * BLOCK, "{}", long.input.capacity());
        assert!(long.input.len() < TAPS);
    }

    #[test]
    fn silence_and_a_constant_level_are_kept() {
        for (from, to) in pairs() {
            assert!(resampled(from, to, &[0; 500]).iter().all(|&s| s == 0));
            let out = resampled(from, to, &[-12_345; 1_000]);
            let ends = out.len() * 3 / 10;
            assert!(out[ends..out.len() - ends].iter().all(|&s| s == -12_345), "from {from} to {to} Hz");
        }
    }

    #[test]
    fn loud_samples_saturate_and_do_not_wrap() {
        for (from, to) in pairs() {
            // Edges between the loudest samples, where every filter overshoots.
            let out = resampled(from, to, &[[i16::MAX; 200], [i16::MIN; 200]].concat());
            let half = out.len() / 2;
            let away = half / 10;
            assert!(out[away..half - away].iter().all(|&s| s > 28_000), "from {from} to {to} Hz");
            assert!(
                out[half + away..out.len() - away].iter().all(|&s| s < -28_000),
                "from {from} to {to} Hz"
            );
            assert!(out.contains(&i16::MAX) && out.contains(&i16::MIN));
        }
    }

    #[test]
    fn a_finished_resampler_can_be_used_again() {
        let input = sine(440.0, 24_000, 1_000);
        let mut resampler = resampler(24_000, 22_050);
        let mut out = Vec::new();
        for _ in 0..2 {
            out.clear();
            resampler.push(&input, &mut out);
            resampler.finish(&mut out);
            assert_eq!(out, resampled(24_000, 22_050, &input));
        }
    }

    #[test]
    fn other_rates_of_engines_are_supported_within_limits() {
        for from in [11_025, 12_000, 32_000, 96_000] {
            assert!(Format::SAMPLE_RATES.iter().all(|&to| Resampler::supports(from, to)), "{from} Hz");
        }
        // From, to.
        let refused = [
            (0, 8_000),
            (3_999, 8_000),
            (192_001, 8_000),
            (8_000, 0),
            (8_000, 196_000),
            (44_111, 48_000),
            (48_000, 44_111),
        ];
        for (from, to) in refused {
            assert!(
                !Resampler::supports(from, to) && Resampler::new(from, to).is_none(),
                "{from} to {to} Hz"
            );
        }
        let (gain, _, rest) = response(1_000.0, 32_000, 44_100);
        assert!(gain.abs() < 0.05 && rest < -65.0);
    }

    #[test]
    fn tables_are_shared_and_small() {
        let table = |from, to| resampler(from, to).table;
        assert!(Arc::ptr_eq(&table(8_000, 16_000), &table(24_000, 48_000)));
        assert!(!Arc::ptr_eq(&table(8_000, 16_000), &table(16_000, 8_000)));
        let tables: HashMap<Ratio, Arc<Table>> =
            pairs().map(|(from, to)| table(from, to)).map(|table| (table.ratio, table)).collect();
        assert_eq!(tables.len(), 20);
        let bytes = tables.values().map(|table| table.weights.len() * 4);
        assert!(bytes.clone().max() <= Some(150_000) && bytes.sum::<usize>() < 1_500_000);
        for (up, down) in [(640, 639), (639, 640), (640, 21), (21, 640)] {
            assert!(Table::new(Ratio { up, down }).weights.len() * 4 <= 210_000);
        }
    }
}
