//! Graphs of hibari's voices: symbols of misaki's alphabet to spectra.
//!
//! The graph is cut in three. The first part gives how long each symbol lasts, before it is rounded. The
//! second part, the plan, gives the pitch of each frame, and what the third part needs. That one gives the
//! spectra of frames, and is run on a window of frames at a time. Its convolutions see 27 frames to each
//! side.

use super::graph::{Cut, Graph, GraphError, Input, Threads};
use super::speaker::{Passage, Plan, at_speed, whole_frames};
use super::spectra::{HOP, RATE, Spectra, VALUES};
use super::windows::{around, columns};
use std::ops::Range;
use std::sync::Arc;
use std::vec;

/// Values inside of the graph.
const DURATIONS: &str = "/Div_40_output_0";
const UNITS: &str = "/Cast_32_output_0";
const MELODY: &str = "/Transpose_55_output_0";
const PITCH: &str = "f0";
const FEATURES: &str = "/Concat_43_output_0";
const SPECTRA: &str = "/head/Add_output_0";

/// Features of one frame.
const ROWS: usize = 130;

/// Frames to each side that change the spectra of a frame.
const CONTEXT: usize = 27;

/// Frames per unit of duration.
const FRAMES: usize = 2;

/// Frames before the first sound that are synthesised, at the usual speed and above: sound begins before the model
/// says, and the frames that overlap the first samples are not among them. Slow speech begins earlier still.
const LEAD: f32 = 12.0;

/// Time by which words begin before the model says, in frames: 50 ms at the usual speed.
const EARLY: f32 = 4.0;

/// A voice of hibari.
pub(super) struct Hibari {
    durations: Cut,
    plan: Cut,
    decoder: Cut,
}

impl Hibari {
    /// True if a graph has the inputs of this kind of voice.
    pub(super) fn is_it(inputs: &[String]) -> bool {
        inputs == ["ids", "speed"]
    }

    /// Loads a voice.
    pub(super) fn load(graph: &Graph) -> Result<Hibari, GraphError> {
        Ok(Hibari {
            durations: graph.cut(&["ids", "speed"], &[DURATIONS, MELODY])?,
            plan: graph.cut(&["ids", UNITS, MELODY], &[PITCH, FEATURES])?,
            decoder: graph.cut(&[FEATURES], &[SPECTRA])?,
        })
    }

    /// Plans how symbols are spoken, in these windows of its frames.
    pub(super) fn plan(
        self: &Arc<Self>,
        symbols: &[i32],
        speed: f32,
        seed: u64,
        windows: fn(Range<usize>) -> Vec<Range<usize>>,
        threads: &Threads,
    ) -> Result<Plan, GraphError> {
        let count = symbols.len();
        let inputs = [Input::Whole(&[1, count], symbols), Input::Real(&[1], &[1.0])];
        let outputs = self.durations.run(&inputs, threads)?.try_into();
        let [durations, melody]: [Vec<f32>; 2] = outputs.map_err(|_| GraphError::shape("durations"))?;
        let round: fn(f32) -> f32 = |units| match units {
            // As the graph does it: an exponential less 1, but at least one unit. All else is refused.
            -1.0..1.0 => 1.0,
            units if units.is_nan() => 0.0,
            units => units.round_ties_even(),
        };
        // Behind a short silence the voice swallows a short first sound, such as "a". The silence is cut, so that it
        // may be as long in fast speech as in usual speech.
        let (silence, sounds) = durations.split_first().ok_or(GraphError::shape("durations"))?;
        let mut units = vec![round(silence / speed.min(1.0))];
        units.extend(at_speed(sounds, speed, round));
        let durations = whole_frames(&units, FRAMES, RATE as usize / HOP)?;
        let frames: usize = durations.iter().sum();
        if durations.len() != count || count == 0 || melody.len() % count != 0 {
            return Err(GraphError::shape("durations"));
        }
        // At most as many as there may be frames.
        let units: Vec<i32> = durations.iter().map(|&frames| (frames / FRAMES) as i32).collect();
        let inputs = [
            Input::Whole(&[1, count], symbols),
            Input::Whole(&[count], &units),
            Input::Real(&[1, melody.len() / count, count], &melody),
        ];
        let outputs = self.plan.run(&inputs, threads)?.try_into();
        let [pitch, features]: [Vec<f32>; 2] = outputs.map_err(|_| GraphError::shape("pitch"))?;
        if pitch.len() != frames || features.len() != ROWS * frames {
            return Err(GraphError::shape("pitch"));
        }
        // The first and the last symbol are silence.
        let silence = durations.first().copied().unwrap_or_default();
        let early = (EARLY / speed).round() as usize;
        let lead = (LEAD / speed.min(1.0)).ceil() as usize;
        let first = silence.saturating_sub(lead + early);
        let mut at = 0;
        let starts = durations.iter().map(|duration| {
            let start = at;
            at += duration;
            start.saturating_sub(early)
        });
        // Samples of a passage that begins after frame 0 start where all overlapping frames are there.
        let skipped = if first == 0 { 0 } else { first + 1 };
        let sample = |frame: usize| frame.saturating_sub(skipped) * HOP;
        let mut starts: Vec<usize> = starts.map(sample).collect();
        starts.push(sample(frames));
        let passage = Frames {
            voice: Arc::clone(self),
            windows: windows(first..frames).into_iter(),
            frames,
            features,
            spectra: Spectra::new(pitch, first, seed),
        };
        Ok(Plan { starts, early: early * HOP, passage: Box::new(passage) })
    }

    /// Spectra of these frames.
    fn decode(
        &self,
        features: &[f32],
        frames: usize,
        window: &Range<usize>,
        threads: &Threads,
    ) -> Result<(Vec<f32>, usize), GraphError> {
        let wide = around(window, CONTEXT, frames);
        let part = columns(features, frames, &wide);
        let inputs = [Input::Real(&[1, ROWS, wide.len()], &part)];
        let values = self.decoder.run(&inputs, threads)?.pop().unwrap_or_default();
        if values.len() != wide.len() * VALUES {
            return Err(GraphError::shape("spectra"));
        }
        Ok((values, window.start - wide.start))
    }
}

/// The frames of a passage that is being synthesised.
struct Frames {
    voice: Arc<Hibari>,
    windows: vec::IntoIter<Range<usize>>,
    frames: usize,
    features: Vec<f32>,
    spectra: Spectra,
}

impl Passage for Frames {
    fn next(&mut self, out: &mut Vec<f32>, threads: &Threads) -> Result<bool, GraphError> {
        let Some(window) = self.windows.next() else { return Ok(false) };
        let (mut values, skipped) = self.voice.decode(&self.features, self.frames, &window, threads)?;
        let values = &mut values[skipped * VALUES..][..window.len() * VALUES];
        self.spectra.push(values, out);
        Ok(true)
    }
}

/// Sample rate of all voices, in hertz.
pub(super) const SAMPLE_RATE: u32 = RATE;

/// Symbol for the silence before and after a passage.
pub(super) const PAD: i32 = 0;

/// Symbols of the voices' alphabet that sounds are spelled with.
const SYMBOLS: &[(char, i32)] = &[
    (' ', 16),
    ('!', 5),
    ('(', 12),
    (')', 13),
    (',', 3),
    ('.', 4),
    (':', 2),
    (';', 1),
    ('?', 6),
    ('A', 24),
    ('I', 25),
    ('O', 31),
    ('T', 36),
    ('W', 39),
    ('Y', 41),
    ('b', 44),
    ('d', 46),
    ('f', 48),
    ('h', 50),
    ('i', 51),
    ('j', 52),
    ('k', 53),
    ('l', 54),
    ('m', 55),
    ('n', 56),
    ('p', 58),
    ('s', 61),
    ('t', 62),
    ('u', 63),
    ('v', 64),
    ('w', 65),
    ('z', 68),
    ('æ', 72),
    ('ð', 81),
    ('ŋ', 112),
    ('ɐ', 70),
    ('ɑ', 69),
    ('ɔ', 76),
    ('ə', 83),
    ('ɛ', 86),
    ('ɜ', 87),
    ('ɡ', 92),
    ('ɪ', 102),
    ('ɹ', 123),
    ('ʃ', 131),
    ('ʊ', 135),
    ('ʌ', 138),
    ('ʒ', 147),
    ('ʤ', 82),
    ('ʧ', 133),
    ('ˈ', 156),
    ('ˌ', 157),
    ('θ', 119),
    ('ᵊ', 42),
    ('ᵻ', 177),
    ('—', 9),
    ('…', 10),
];

/// Symbol for a letter of misaki's alphabet, if the voices know it.
pub(super) fn symbol(letter: char) -> Option<i32> {
    let at = SYMBOLS.binary_search_by_key(&letter, |(known, _)| *known).ok()?;
    Some(SYMBOLS[at].1)
}
