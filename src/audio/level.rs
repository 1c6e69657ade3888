//! Processing of a sentence's samples: [`Trim`] cuts the silence around it, [`Level`] applies a gain
//! without clipping, and [`Fade`] avoids clicks at its ends.
//!
//! Each takes samples as they arrive and buffers a bounded amount. The same samples give the same
//! result, however they are cut.

/// Silence kept before a sentence, in milliseconds: enough for a soft onset.
pub(crate) const LEAD_MS: usize = 20;

/// Silence kept after a sentence, in milliseconds. Together with the [`LEAD_MS`] of the next sentence it
/// is about as long as the pause of a fast reader.
pub(crate) const TAIL_MS: usize = 120;

/// Longest silence that is held back because it may be the end of a sentence, in milliseconds. The
/// surplus is passed on.
const HELD_MS: usize = 2_000;

/// Highest amplitude of silence: −50 dBFS.
///
/// Noise between words mostly stays below a third of it. The softest onset rises far above it within
/// 20 ms. Only the pause before some sounds is up to four times louder, for which [`Trim::new`] has the
/// parameter `pause`.
pub(super) const SPEECH: u16 = 100;

/// Highest amplitude after [`Level`]: −1 dBFS. It leaves room for resampling or a lossy codec.
const CEILING: f32 = 29_204.0;

/// Blocks of the limiter per second. A block is 5 ms, which is also how far the limiter looks ahead.
const BLOCKS_PER_SECOND: u32 = 200;

/// Fraction of the way back to full gain in one block, so about 100 ms for most of it. It is too slow to
/// follow single waves, and too fast to be noticed as a change of loudness.
const RELEASE: f32 = 0.05;

/// Cuts the silence before and after one sentence, to [`LEAD_MS`] and [`TAIL_MS`] by default.
///
/// All lengths are in samples.
#[derive(Debug)]
pub(crate) struct Trim {
    /// Longest silence that is kept before the sentence.
    max_lead: usize,
    /// Longest silence that is kept after the sentence.
    max_tail: usize,
    /// Longest silence that is held back.
    max_held: usize,
    /// Length of the audio that is still cut whatever its level.
    pause: usize,
    has_sound: bool,
    /// Silence that may be cut: all of it before the first speech, then the surplus over the tail.
    held: Vec<i16>,
    /// Length of the audio that was cut before the sentence, and of the silence that was kept.
    cut: usize,
    lead: usize,
    /// Length of the silence since the last speech that was passed on.
    tail: usize,
}

impl Trim {
    /// Creates a trim for a sentence that begins with a pause of this many samples, or 0. Sound in the
    /// pause is noise: all but its last [`LEAD_MS`] are cut, at any level.
    pub(crate) fn new(sample_rate_hz: u32, pause: usize) -> Trim {
        let mut trim = Trim::keeping(sample_rate_hz, LEAD_MS, TAIL_MS);
        trim.pause = pause.saturating_sub(trim.max_lead);
        trim
    }

    /// Creates a trim that keeps this much silence before and after the sentence.
    pub(crate) fn keeping(sample_rate_hz: u32, lead_ms: usize, tail_ms: usize) -> Trim {
        let in_samples = |ms: usize| sample_rate_hz as usize * ms / 1_000;
        Trim {
            max_lead: in_samples(lead_ms),
            max_tail: in_samples(tail_ms),
            max_held: in_samples(HELD_MS),
            pause: 0,
            has_sound: false,
            held: Vec::new(),
            cut: 0,
            lead: 0,
            tail: 0,
        }
    }

    /// Number of samples that were cut before the sentence. It is final once
    /// [`has_sound`](Trim::has_sound) is true.
    pub(crate) fn cut(&self) -> usize {
        self.cut
    }

    /// Number of samples of silence that were kept before the sentence. Final in the same way.
    pub(crate) fn lead(&self) -> usize {
        self.lead
    }

    /// True if any sample was speech. Nothing is passed on before that.
    pub(crate) fn has_sound(&self) -> bool {
        self.has_sound
    }

    /// Takes samples, and appends those that certainly stay to `out`. The samples that are held back at
    /// the end of the sentence are the silence to be cut.
    pub(crate) fn push(&mut self, mut samples: &[i16], out: &mut Vec<i16>) {
        if self.pause > 0 {
            let noise = self.pause.min(samples.len());
            self.pause -= noise;
            self.cut += noise;
            samples = &samples[noise..];
        }
        if !self.has_sound {
            let onset = samples.iter().position(|&s| is_speech(s));
            let (silence, rest) = samples.split_at(onset.unwrap_or(samples.len()));
            self.held.extend_from_slice(silence);
            let surplus = self.held.len().saturating_sub(self.max_lead);
            self.held.drain(..surplus);
            self.cut += surplus;
            if onset.is_none() {
                return;
            }
            self.has_sound = true;
            self.lead = self.held.len();
            samples = rest;
        }
        if let Some(last) = samples.iter().rposition(|&s| is_speech(s)) {
            let (speech, silence) = samples.split_at(last + 1);
            out.append(&mut self.held);
            out.extend_from_slice(speech);
            self.tail = 0;
            samples = silence;
        }
        let room = self.max_tail - self.tail;
        let (tail, beyond) = samples.split_at(room.min(samples.len()));
        out.extend_from_slice(tail);
        self.tail += tail.len();
        self.held.extend_from_slice(beyond);
        let surplus = self.held.len().saturating_sub(self.max_held);
        out.extend(self.held.drain(..surplus));
    }
}

fn is_speech(sample: i16) -> bool {
    sample.unsigned_abs() > SPEECH
}

/// Applies a fixed gain, and reduces it where samples would exceed −1 dBFS.
///
/// The gain changes linearly over blocks of 5 ms. At the border of two blocks it is at most what both of
/// them allow, and so it is everywhere in between. Nothing clips, and the gain falls before a loud sound.
#[derive(Debug)]
pub(crate) struct Level {
    full_gain: f32,
    /// Gain at the start of the first waiting block.
    gain: f32,
    block: usize,
    /// The next block, and the one after it as far as it has arrived.
    waiting: Vec<i16>,
}

impl Level {
    /// Creates a level with this gain, as a factor.
    pub(crate) fn new(sample_rate_hz: u32, full_gain: f32) -> Level {
        let block = (sample_rate_hz / BLOCKS_PER_SECOND).clamp(1, 10_000) as usize;
        Level { full_gain, gain: full_gain, block, waiting: Vec::with_capacity(2 * block) }
    }

    /// Takes samples, and appends those whose gain is known to `out`.
    pub(crate) fn push(&mut self, mut samples: &[i16], out: &mut Vec<i16>) {
        while !samples.is_empty() {
            let room = 2 * self.block - self.waiting.len();
            let (now, later) = samples.split_at(room.min(samples.len()));
            self.waiting.extend_from_slice(now);
            samples = later;
            if self.waiting.len() == 2 * self.block {
                self.pass(out);
            }
        }
    }

    /// Ends the sentence: appends the rest to `out`.
    pub(crate) fn finish(mut self, out: &mut Vec<i16>) {
        while !self.waiting.is_empty() {
            self.pass(out);
        }
    }

    /// Appends the first waiting block to `out`.
    fn pass(&mut self, out: &mut Vec<i16>) {
        let (now, ahead) = self.waiting.split_at(self.block.min(self.waiting.len()));
        let allowed = self.allowed(now);
        // The gain can be too high only for the very first block.
        let start = self.gain.min(allowed);
        let released = start + (self.full_gain - start) * RELEASE;
        let end = released.min(allowed).min(self.allowed(ahead));
        let step = (end - start) / now.len() as f32;
        let gains = (0u16..).map(|n| start + step * f32::from(n));
        out.extend(now.iter().zip(gains).map(|(&sample, gain)| (f32::from(sample) * gain) as i16));
        self.gain = end;
        let passed = now.len();
        self.waiting.drain(..passed);
    }

    /// Returns the highest gain with which these samples stay below the ceiling.
    fn allowed(&self, samples: &[i16]) -> f32 {
        let peak = samples.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
        self.full_gain.min(CEILING / f32::from(peak.max(1)))
    }
}

/// Fades a sentence in and out over 5 ms each, so that there is no click between two sentences.
#[derive(Debug)]
pub(crate) struct Fade {
    /// Length of a fade, in samples.
    length: usize,
    /// Number of samples that were faded in, at most `length`.
    risen: usize,
    /// The last samples, at most `length`: they may be the end.
    held: Vec<i16>,
}

impl Fade {
    pub(crate) fn new(sample_rate_hz: u32) -> Fade {
        let length = (sample_rate_hz / BLOCKS_PER_SECOND).max(1) as usize;
        Fade { length, risen: 0, held: Vec::with_capacity(length) }
    }

    /// Takes samples, and appends those that are certainly not the end to `out`.
    pub(crate) fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        let (rising, level) = samples.split_at((self.length - self.risen).min(samples.len()));
        for &sample in rising {
            self.held.push(part(sample, self.risen, self.length));
            self.risen += 1;
        }
        let sure = (self.held.len() + level.len()).saturating_sub(self.length);
        let (old, new) = (sure.min(self.held.len()), sure.saturating_sub(self.held.len()));
        out.extend(self.held.drain(..old));
        out.extend_from_slice(&level[..new]);
        self.held.extend_from_slice(&level[new..]);
    }

    /// Ends the sentence: appends the rest to `out`, faded out.
    pub(crate) fn finish(self, out: &mut Vec<i16>) {
        let left = (0..self.held.len()).rev();
        out.extend(self.held.iter().zip(left).map(|(&sample, left)| part(sample, left, self.length)));
    }
}

/// Returns `parts / whole` of a sample.
fn part(sample: i16, parts: usize, whole: usize) -> i16 {
    // The result is no larger than the sample, so the cast is safe.
    (i64::from(sample) * parts as i64 / whole as i64) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 16_000;

    /// A square wave of this length.
    fn wave(amplitude: i16, milliseconds: usize) -> Vec<i16> {
        (0..milliseconds * 16).map(|n| if n / 40 % 2 == 0 { amplitude } else { -amplitude }).collect()
    }

    fn trimmed(samples: &[i16], cut: usize) -> Vec<i16> {
        let mut trim = Trim::new(RATE, 0);
        let mut out = Vec::new();
        samples.chunks(cut).for_each(|piece| trim.push(piece, &mut out));
        out
    }

    fn levelled(samples: &[i16], cut: usize) -> Vec<i16> {
        let mut level = Level::new(RATE, 2.0);
        let mut out = Vec::new();
        samples.chunks(cut).for_each(|piece| level.push(piece, &mut out));
        level.finish(&mut out);
        out
    }

    #[test]
    fn silence_around_a_sentence_is_cut_and_silence_within_is_kept() {
        let within = [wave(5_000, 100), wave(20, 400), wave(5_000, 100)].concat();
        let input = [wave(20, 230), within.clone(), wave(20, 500)].concat();
        let expected = [wave(20, LEAD_MS), within, wave(20, TAIL_MS)].concat();
        let long = trimmed(&input, input.len());
        assert_eq!(long.len(), expected.len());
        assert_eq!(long[LEAD_MS * 16..], expected[LEAD_MS * 16..]);
        for cut in [1, 7, 160, 5_000] {
            assert_eq!(trimmed(&input, cut), long, "cut into {cut}");
        }
    }

    #[test]
    fn short_silence_is_kept() {
        let input = [wave(20, 5), wave(5_000, 50), wave(20, 60)].concat();
        assert_eq!(trimmed(&input, 33), input);
    }

    #[test]
    fn noise_in_a_known_pause_is_cut_and_sound_at_its_end_is_kept() {
        let speech = wave(5_000, 100);
        // Milliseconds of noise, of silence after it, and of audio kept before the speech: sound at the
        // very end of a pause may be speech already.
        for (noise, silence, kept) in [(220, 0, 20), (220, 100, 120), (15, 0, 15), (0, 230, 20)] {
            let input = [wave(400, noise), wave(20, silence), speech.clone()].concat();
            for cut in [1, 33, 160, 5_000] {
                let mut trim = Trim::new(RATE, noise * 16);
                let mut out = Vec::new();
                input.chunks(cut).for_each(|piece| trim.push(piece, &mut out));
                assert_eq!(trim.cut(), (noise + silence - kept) * 16, "{noise} + {silence} ms");
                assert_eq!(out, input[trim.cut()..], "{noise} + {silence} ms");
                assert!(trim.lead() <= LEAD_MS * 16 && out[..trim.lead()].iter().all(|&s| !is_speech(s)));
                assert!(is_speech(out[trim.lead()]), "{noise} + {silence} ms");
            }
        }
        // The pause ends 10 ms after the speech begins.
        let input = [wave(400, 200), speech].concat();
        let mut trim = Trim::new(RATE, 210 * 16);
        let mut out = Vec::new();
        trim.push(&input, &mut out);
        assert_eq!(out, input[190 * 16..]);
    }

    #[test]
    fn silence_alone_gives_nothing_and_is_not_buffered() {
        let mut trim = Trim::new(RATE, 0);
        let mut out = Vec::new();
        for _ in 0..1_000 {
            trim.push(&wave(20, 10), &mut out);
        }
        assert!(out.is_empty() && !trim.has_sound());
        assert!(trim.held.len() <= LEAD_MS * 16);
    }

    #[test]
    fn an_endless_pause_is_not_buffered() {
        let mut trim = Trim::new(RATE, 0);
        let mut out = Vec::new();
        trim.push(&wave(5_000, 10), &mut out);
        for _ in 0..1_000 {
            trim.push(&wave(20, 10), &mut out);
            assert!(trim.held.len() <= HELD_MS * 16);
        }
        assert!(out.len() > 8_000 * 16);
    }

    #[test]
    fn lead_and_tail_have_the_requested_length() {
        let speech = wave(5_000, 100);
        for (lead, tail) in [(0, 0), (0, 500), (50, 0), (300, 1_000)] {
            let mut trim = Trim::keeping(RATE, lead, tail);
            let mut out = Vec::new();
            trim.push(&[wave(20, 400), speech.clone(), wave(20, 1_500)].concat(), &mut out);
            assert_eq!(out.len(), (lead + 100 + tail) * 16, "{lead} ms and {tail} ms");
        }
    }

    #[test]
    fn a_sentence_fades_in_and_out_and_is_unchanged_in_between() {
        // 80 samples are 5 ms. The last row is shorter than both fades.
        for length in [1_000, 161, 160, 100, 80, 79, 3, 1, 0] {
            let faded = |cut: usize| {
                let mut fade = Fade::new(RATE);
                let mut out = Vec::new();
                vec![8_000; length].chunks(cut).for_each(|piece| fade.push(piece, &mut out));
                assert!(out.len() + 80 >= length && out.len() <= length);
                fade.finish(&mut out);
                out
            };
            let whole = faded(1_000);
            let expected = |n: usize| 8_000 * n.min(80) / 80 * (length - 1 - n).min(80) / 80;
            assert_eq!(whole.len(), length);
            for (n, &sample) in whole.iter().enumerate() {
                assert!(usize::try_from(sample).unwrap().abs_diff(expected(n)) <= 1, "{n} of {length}");
            }
            for cut in [1, 7, 79, 80, 81] {
                assert_eq!(faded(cut), whole, "cut into {cut}");
            }
        }
    }

    #[test]
    fn quiet_speech_gets_the_full_gain() {
        let doubled: Vec<i16> = wave(5_000, 203).iter().map(|s| s * 2).collect();
        assert_eq!(levelled(&wave(5_000, 203), 200), doubled);
    }

    #[test]
    fn no_sample_exceeds_the_ceiling() {
        for at in 0..400 {
            let mut input = wave(1_000, 30);
            input[at] = i16::MIN;
            let out = levelled(&input, 100);
            assert_eq!(out.len(), input.len());
            assert!(out.iter().all(|s| f32::from(s.unsigned_abs()) <= CEILING), "loud at {at}");
            assert!(out[at] < -29_000, "loud at {at}, but {}", out[at]);
        }
    }

    #[test]
    fn the_gain_recovers_after_a_loud_sound_and_does_not_depend_on_cuts() {
        let input = [wave(5_000, 50), wave(30_000, 50), wave(5_000, 800)].concat();
        let out = levelled(&input, input.len());
        assert_eq!(out[0], 10_000);
        assert!(out.last().is_some_and(|s| s.unsigned_abs() >= 9_990));
        for cut in [1, 79, 80, 81, 1_000] {
            assert_eq!(levelled(&input, cut), out, "cut into {cut}");
        }
    }
}
