//! Samples from the spectra that a hibari voice predicts.
//!
//! A frame is 12.5 ms. For each the network gives a pitch and five rows of 601 values: magnitude and
//! phase of the harmonics, which filter a train of pulses at that pitch; magnitude of a noise; magnitude
//! and phase of the rest. The sum of the three is the spectrum of the frame, and overlapping frames are
//! added up.

use super::fourier::{BINS, Complex, Fourier, SIZE};
use super::random::Random;
use rten_simd::SimdUnaryOp;
use rten_vecmath::{Cos, Exp, Sin, Tanh};
use std::f32::consts::PI;

/// Samples per second.
pub(super) const RATE: u32 = 24_000;

/// Samples from one frame to the next.
pub(super) const HOP: usize = 300;

/// Values that the network gives for a frame.
pub(super) const VALUES: usize = 5 * BINS;

/// Frames that a sample is the sum of.
const OVERLAP: usize = SIZE / HOP;

/// Sum of the squared windows of all frames that overlap a sample.
const WHOLE_WEIGHT: f32 = 1.5;

/// Lowest pitch of a voiced frame, in hertz.
const LOWEST_PITCH: f32 = 40.0;

/// Highest harmonic of the pulses, in hertz.
const HIGHEST_HARMONIC: f32 = 11_000.0;

/// Highest logarithm of a magnitude.
const LOUDEST: f32 = 7.0;

/// Turns frames into samples, in order.
pub(super) struct Spectra {
    pitch: Vec<f32>,
    seed: u64,
    fourier: Fourier,
    window: Vec<f32>,
    /// Samples of the pulse train, from `pulse_start` on.
    pulses: Vec<f32>,
    pulse_start: usize,
    /// Phase of the pulse train at the end of `pulses`, in turns.
    turns: f64,
    /// First frame, and the next one.
    first: usize,
    next: usize,
    /// Sum of the frames so far, from the start of the next one on.
    sum: Vec<f32>,
    spectrum: Complex,
    frame: Vec<f32>,
    sines: Vec<f32>,
}

impl Spectra {
    /// Creates the samples of frames with this pitch, in hertz, from frame `first` on. The seed decides
    /// the noise.
    pub(super) fn new(pitch: Vec<f32>, first: usize, seed: u64) -> Spectra {
        let turn = |n: usize| 2.0 * std::f64::consts::PI * n as f64 / SIZE as f64;
        Spectra {
            pitch,
            seed,
            fourier: Fourier::new(),
            window: (0..SIZE).map(|n| (0.5 - 0.5 * libm::cos(turn(n))) as f32).collect(),
            pulses: Vec::new(),
            pulse_start: 0,
            turns: 0.0,
            first,
            next: first,
            sum: vec![0.0; SIZE],
            spectrum: Complex::zeros(BINS),
            frame: vec![0.0; SIZE],
            sines: Vec::new(),
        }
    }

    /// Adds the next frames, with [`VALUES`] values each, and appends the samples that are complete.
    ///
    /// Samples begin half a frame after the start of the first frame, or where all frames that overlap
    /// are there if it is not frame 0.
    pub(super) fn push(&mut self, values: &mut [f32], out: &mut Vec<f32>) {
        for values in values.chunks_exact_mut(VALUES) {
            self.add(values);
            let block = self.next;
            self.next += 1;
            // Frames from 0 on begin two blocks before the samples do.
            let whole = if self.first == 0 { 2 } else { self.first + OVERLAP - 1 };
            if block >= whole {
                self.pass(block, out);
            } else {
                self.shift();
            }
        }
        if self.next == self.pitch.len() {
            for block in self.next..self.next + 2 {
                self.pass(block, out);
            }
        }
    }

    /// Appends the samples of the first block of `sum`.
    fn pass(&mut self, block: usize, out: &mut Vec<f32>) {
        let is_there = |k: usize| block >= k + self.first && block - k < self.pitch.len();
        if (0..OVERLAP).all(is_there) {
            out.extend(self.sum[..HOP].iter().map(|sum| sum / WHOLE_WEIGHT));
        } else {
            for n in 0..HOP {
                let there = (0..OVERLAP).filter(|&k| is_there(k));
                let weight: f32 = there.map(|k| self.window[k * HOP + n].powi(2)).sum();
                out.push(self.sum[n] / weight.max(1e-3));
            }
        }
        self.shift();
    }

    fn shift(&mut self) {
        self.sum.copy_within(HOP.., 0);
        self.sum[SIZE - HOP..].fill(0.0);
    }

    /// Adds the next frame to `sum`.
    fn add(&mut self, values: &mut [f32]) {
        self.excite();
        let (harmonic, rest) = values.split_at_mut(BINS);
        let (turn, rest) = rest.split_at_mut(BINS);
        let (noise, rest) = rest.split_at_mut(BINS);
        let (level, phase) = rest.split_at_mut(BINS);
        for magnitudes in [&mut *harmonic, &mut *noise, &mut *level] {
            magnitudes.iter_mut().for_each(|value| *value = value.min(LOUDEST));
            Exp {}.map_mut(magnitudes);
        }
        Tanh {}.map_mut(turn);
        turn.iter_mut().for_each(|value| *value *= PI);
        self.sines.clear();
        self.sines.extend_from_slice(turn);
        self.sines.extend_from_slice(phase);
        Sin::new().map_mut(&mut self.sines);
        Cos::new().map_mut(turn);
        Cos::new().map_mut(phase);
        let (turn_sine, phase_sine) = self.sines.split_at(BINS);
        let mut random = Random::new(self.seed ^ (self.next as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for k in 0..BINS {
            let (re, im) = (self.spectrum.re[k], self.spectrum.im[k]);
            let (sin, cos) = (turn_sine[k], turn[k]);
            self.spectrum.re[k] =
                harmonic[k] * (re * cos - im * sin) + noise[k] * random.normal() + level[k] * phase[k];
            self.spectrum.im[k] =
                harmonic[k] * (re * sin + im * cos) + noise[k] * random.normal() + level[k] * phase_sine[k];
        }
        self.fourier.inverse(&self.spectrum, &mut self.frame);
        for ((sum, sample), window) in self.sum.iter_mut().zip(&self.frame).zip(&self.window) {
            *sum += sample * window;
        }
    }

    /// Sets `spectrum` to that of the pulses in the next frame.
    fn excite(&mut self) {
        let length = self.pitch.len() * HOP;
        let (middle, half) = (self.next * HOP, SIZE / 2);
        while self.pulse_start + self.pulses.len() < (middle + half).min(length) {
            self.pulse();
        }
        if middle > half {
            // Beyond the end the pulses are mirrored, as far back as half a frame.
            let keep = (middle - half).min(length.saturating_sub(half + 1));
            self.pulses.drain(..keep.saturating_sub(self.pulse_start));
            self.pulse_start = self.pulse_start.max(keep);
        }
        let scale = 1.0 / (SIZE / 4) as f32; // A unit cosine has a peak of half of the sum of the window.
        if middle >= half && middle + half <= length {
            let pulses = &self.pulses[middle - half - self.pulse_start..][..SIZE];
            for ((sample, pulse), window) in self.frame.iter_mut().zip(pulses).zip(&self.window) {
                *sample = pulse * window * scale;
            }
        } else {
            let last = length as isize - 1;
            for (n, sample) in self.frame.iter_mut().enumerate() {
                let at = (middle + n) as isize - half as isize;
                let at = if at > last { 2 * last - at } else { at.abs() };
                let at = usize::try_from(at).ok().and_then(|at| at.checked_sub(self.pulse_start));
                let pulse = at.and_then(|at| self.pulses.get(at)).copied().unwrap_or_default();
                *sample = pulse * self.window[n] * scale;
            }
        }
        self.fourier.forward(&self.frame, &mut self.spectrum);
    }

    /// Appends the pulses of the next frame: every harmonic at the same magnitude, or silence where the
    /// frame is not voiced.
    fn pulse(&mut self) {
        let frame = (self.pulse_start + self.pulses.len()) / HOP;
        let pitch = |frame: usize| self.pitch[frame.min(self.pitch.len() - 1)];
        let (before, here, after) = (pitch(frame.saturating_sub(1)), pitch(frame), pitch(frame + 1));
        for n in 0..HOP {
            // The pitch is that of the frame in its middle.
            let at = (n as f32 + 0.5) / HOP as f32 - 0.5;
            let wanted = if at < 0.0 { here - (before - here) * at } else { here + (after - here) * at };
            let hertz = wanted.max(LOWEST_PITCH);
            self.turns = (self.turns + f64::from(hertz) / f64::from(RATE)).fract();
            if wanted <= LOWEST_PITCH {
                self.pulses.push(0.0);
                continue;
            }
            let angle = 2.0 * PI * self.turns as f32;
            let count = (HIGHEST_HARMONIC / hertz).floor() + 0.5;
            // The sum of the cosines of all harmonics.
            let divisor = 2.0 * libm::sinf(angle / 2.0);
            let sum = if divisor.abs() <= 2e-3 { count } else { libm::sinf(count * angle) / divisor };
            self.pulses.push(sum - 0.5);
        }
    }
}
