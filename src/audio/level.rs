//! What a voice's raw samples go through before they are sent: the silence around a sentence is
//! cut to size, and the level is raised without clipping.
//!
//! Both work as the samples come, hold back a bounded amount, and always give the same samples
//! for the same input, however it was cut.

/// Silence that is kept in front of a sentence, in milliseconds: enough for a soft onset.
pub(crate) const LEAD_MS: usize = 20;

/// Silence that is kept behind a sentence, in milliseconds. It is the pause before the next one,
/// and with its [`LEAD_MS`] about as long as a reader takes between two sentences in a hurry.
pub(crate) const TAIL_MS: usize = 120;

/// The longest silence that may be held back in the hope of being a sentence's end, in
/// milliseconds. What is beyond is passed on.
const HELD_MS: usize = 2_000;

/// Samples beyond this, −50 dBFS, are speech. The noise between words stays below a third of it
/// at most places, the softest onset rises far above it within 20 ms. Only the pause in front of
/// some sounds is louder, up to four times as much, for which there is [`Trim::new`]'s `pause`.
const SPEECH: u16 = 100;

/// What no sample exceeds: −1 dBFS, so that resampling or a lossy codec later has some room.
const CEILING: f32 = 29_204.0;

/// Blocks a second of the limiter: 5 ms each, which is how far it looks ahead.
const BLOCKS_PER_SECOND: u32 = 200;

/// The part of the way back to full gain that a block goes, so about 100 ms for most of it: slow
/// enough not to follow single waves, quick enough not to be heard as a change of loudness.
const RELEASE: f32 = 0.05;

/// Cuts the silence in front of one sentence to a lead, and behind it to a tail: to [`LEAD_MS`] and
/// [`TAIL_MS`] where nobody asked for others.
pub(crate) struct Trim {
    /// The most silence that stays in front, in samples as all that follows.
    most_lead: usize,
    /// The most silence that stays behind.
    most_tail: usize,
    /// The longest silence that is held back.
    most_held: usize,
    /// Samples that are yet to be cut whatever their level.
    pause: usize,
    heard: bool,
    /// Silence that may yet be cut: all of it until speech was heard, then what is beyond the
    /// tail.
    held: Vec<i16>,
    /// Samples that were cut in front.
    cut: usize,
    /// Samples of silence since the last speech that were passed on.
    tail: usize,
}

impl Trim {
    /// A sentence that is known to begin with a pause of so many samples, or 0. What is heard there
    /// is noise: all but the last [`LEAD_MS`] of it are cut, however loud.
    pub(crate) fn new(sample_rate_hz: u32, pause: usize) -> Trim {
        let mut trim = Trim::keeping(sample_rate_hz, LEAD_MS, TAIL_MS);
        trim.pause = pause.saturating_sub(trim.most_lead);
        trim
    }

    /// A sentence that keeps so many milliseconds of the silence in front of it and behind it.
    pub(crate) fn keeping(sample_rate_hz: u32, lead_ms: usize, tail_ms: usize) -> Trim {
        let in_samples = |ms: usize| sample_rate_hz as usize * ms / 1_000;
        Trim {
            most_lead: in_samples(lead_ms),
            most_tail: in_samples(tail_ms),
            most_held: in_samples(HELD_MS),
            pause: 0,
            heard: false,
            held: Vec::new(),
            cut: 0,
            tail: 0,
        }
    }

    /// Samples that were cut in front so far: no more are cut once speech was [`heard`](Trim::heard).
    pub(crate) fn cut(&self) -> usize {
        self.cut
    }

    /// Whether there was anything but silence so far. Nothing is passed on before.
    pub(crate) fn heard(&self) -> bool {
        self.heard
    }

    /// Takes samples, and appends to `out` those which are sure to stay. What is held back at the
    /// end of the sentence is the silence to be cut.
    pub(crate) fn push(&mut self, mut samples: &[i16], out: &mut Vec<i16>) {
        if self.pause > 0 {
            let noise = self.pause.min(samples.len());
            self.pause -= noise;
            self.cut += noise;
            samples = &samples[noise..];
        }
        if !self.heard {
            let onset = samples.iter().position(|&s| is_speech(s));
            let (silence, rest) = samples.split_at(onset.unwrap_or(samples.len()));
            self.held.extend_from_slice(silence);
            let surplus = self.held.len().saturating_sub(self.most_lead);
            self.held.drain(..surplus);
            self.cut += surplus;
            if onset.is_none() {
                return;
            }
            self.heard = true;
            samples = rest;
        }
        if let Some(last) = samples.iter().rposition(|&s| is_speech(s)) {
            let (speech, silence) = samples.split_at(last + 1);
            out.append(&mut self.held);
            out.extend_from_slice(speech);
            self.tail = 0;
            samples = silence;
        }
        let room = self.most_tail - self.tail;
        let (tail, beyond) = samples.split_at(room.min(samples.len()));
        out.extend_from_slice(tail);
        self.tail += tail.len();
        self.held.extend_from_slice(beyond);
        let surplus = self.held.len().saturating_sub(self.most_held);
        out.extend(self.held.drain(..surplus));
    }
}

fn is_speech(sample: i16) -> bool {
    sample.unsigned_abs() > SPEECH
}

/// Raises the level by a fixed gain, less where the ceiling of −1 dBFS demands it.
///
/// The gain runs in straight lines over blocks of 5 ms. Where two blocks meet it is no higher
/// than either of them allows, hence nowhere in between: nothing clips, and a loud sound is met
/// by a gain that fell before it.
pub(crate) struct Level {
    boost: f32,
    /// The gain at the start of the first waiting block.
    gain: f32,
    block: usize,
    /// The block that is next, and the one behind it as far as it is there.
    waiting: Vec<i16>,
}

impl Level {
    /// A level that is raised by this factor.
    pub(crate) fn new(sample_rate_hz: u32, boost: f32) -> Level {
        let block = (sample_rate_hz / BLOCKS_PER_SECOND).clamp(1, 10_000) as usize;
        Level { boost, gain: boost, block, waiting: Vec::with_capacity(2 * block) }
    }

    /// Takes samples, and appends to `out` those whose gain is known.
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

    /// Appends what is left to `out`: the sentence is over.
    pub(crate) fn finish(mut self, out: &mut Vec<i16>) {
        while !self.waiting.is_empty() {
            self.pass(out);
        }
    }

    /// Passes the first waiting block on.
    fn pass(&mut self, out: &mut Vec<i16>) {
        let (now, ahead) = self.waiting.split_at(self.block.min(self.waiting.len()));
        let allowed = self.allowed(now);
        // Only the very first block can find the gain too high for it.
        let start = self.gain.min(allowed);
        let released = start + (self.boost - start) * RELEASE;
        let end = released.min(allowed).min(self.allowed(ahead));
        let step = (end - start) / now.len() as f32;
        let gains = (0u16..).map(|n| start + step * f32::from(n));
        out.extend(now.iter().zip(gains).map(|(&sample, gain)| (f32::from(sample) * gain) as i16));
        self.gain = end;
        let passed = now.len();
        self.waiting.drain(..passed);
    }

    /// The highest gain that keeps these samples below the ceiling.
    fn allowed(&self, samples: &[i16]) -> f32 {
        let peak = samples.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
        self.boost.min(CEILING / f32::from(peak.max(1)))
    }
}

/// Fades a sentence in and out over 5 ms each, so that where two are joined there is no click.
pub(crate) struct Fade {
    /// Samples of a fade.
    length: usize,
    /// Samples that were faded in so far, up to the length.
    risen: usize,
    /// The last samples, at most as many as a fade has: they may be the end.
    held: Vec<i16>,
}

impl Fade {
    pub(crate) fn new(sample_rate_hz: u32) -> Fade {
        let length = (sample_rate_hz / BLOCKS_PER_SECOND).max(1) as usize;
        Fade { length, risen: 0, held: Vec::with_capacity(length) }
    }

    /// Takes samples, and appends to `out` those which are sure not to be the end.
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

    /// Appends what is left to `out`: the sentence is over.
    pub(crate) fn finish(self, out: &mut Vec<i16>) {
        let left = (0..self.held.len()).rev();
        out.extend(self.held.iter().zip(left).map(|(&sample, left)| part(sample, left, self.length)));
    }
}

/// So many parts of a whole of a sample.
fn part(sample: i16, parts: usize, whole: usize) -> i16 {
    // Not beyond the sample, hence within its range.
    (i64::from(sample) * parts as i64 / whole as i64) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 16_000;

    /// This many milliseconds of a square wave.
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
    fn short_silence_is_left_alone() {
        let input = [wave(20, 5), wave(5_000, 50), wave(20, 60)].concat();
        assert_eq!(trimmed(&input, 33), input);
    }

    #[test]
    fn noise_in_a_pause_that_is_known_is_cut_and_sound_at_its_end_is_kept() {
        let speech = wave(5_000, 100);
        // Milliseconds of noise, of silence behind it, and of what is kept in front of the speech:
        // what is loud at the very end of a pause may be the speech already.
        for (noise, silence, kept) in [(220, 0, 20), (220, 100, 120), (15, 0, 15), (0, 230, 20)] {
            let input = [wave(400, noise), wave(20, silence), speech.clone()].concat();
            for cut in [1, 33, 160, 5_000] {
                let mut trim = Trim::new(RATE, noise * 16);
                let mut out = Vec::new();
                input.chunks(cut).for_each(|piece| trim.push(piece, &mut out));
                assert_eq!(trim.cut(), (noise + silence - kept) * 16, "{noise} + {silence} ms");
                assert_eq!(out, input[trim.cut()..], "{noise} + {silence} ms");
            }
        }
        // The pause is over 10 ms later than the speech begins.
        let input = [wave(400, 200), speech].concat();
        let mut trim = Trim::new(RATE, 210 * 16);
        let mut out = Vec::new();
        trim.push(&input, &mut out);
        assert_eq!(out, input[190 * 16..]);
    }

    #[test]
    fn silence_alone_gives_nothing_and_is_not_hoarded() {
        let mut trim = Trim::new(RATE, 0);
        let mut out = Vec::new();
        for _ in 0..1_000 {
            trim.push(&wave(20, 10), &mut out);
        }
        assert!(out.is_empty() && !trim.heard());
        assert!(trim.held.len() <= LEAD_MS * 16);
    }

    #[test]
    fn a_pause_without_end_is_not_hoarded() {
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
    fn lead_and_tail_are_as_long_as_asked() {
        let speech = wave(5_000, 100);
        for (lead, tail) in [(0, 0), (0, 500), (50, 0), (300, 1_000)] {
            let mut trim = Trim::keeping(RATE, lead, tail);
            let mut out = Vec::new();
            trim.push(&[wave(20, 400), speech.clone(), wave(20, 1_500)].concat(), &mut out);
            assert_eq!(out.len(), (lead + 100 + tail) * 16, "{lead} ms and {tail} ms");
        }
    }

    #[test]
    fn a_sentence_fades_in_and_out_and_is_left_alone_in_between() {
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
    fn quiet_speech_is_raised_by_the_whole_gain() {
        let doubled: Vec<i16> = wave(5_000, 203).iter().map(|s| s * 2).collect();
        assert_eq!(levelled(&wave(5_000, 203), 200), doubled);
    }

    #[test]
    fn nothing_exceeds_the_ceiling_wherever_the_loud_sample_is() {
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
    fn the_gain_comes_back_after_a_loud_sound_and_does_not_depend_on_cuts() {
        let input = [wave(5_000, 50), wave(30_000, 50), wave(5_000, 800)].concat();
        let out = levelled(&input, input.len());
        assert_eq!(out[0], 10_000);
        assert!(out.last().is_some_and(|s| s.unsigned_abs() >= 9_990));
        for cut in [1, 79, 80, 81, 1_000] {
            assert_eq!(levelled(&input, cut), out, "cut into {cut}");
        }
    }
}
