//! Graphs of Piper's voices (VITS): symbols of espeak-ng's alphabet to samples.
//!
//! The graph is cut in three. The first part gives how long each symbol lasts, before it is rounded, and
//! its mean and spread. Noise of our own is added, so that the same text gives the same samples. The second part, the
//! flow, makes what the third part, the decoder, turns into samples. Both run on a window of frames at a time: the plan
//! of a long sentence would be ten windows' work otherwise, and others would wait for it. Frames more than 12 away do
//! not change what the decoder makes of a frame, and those more than 32 away not what the flow makes of it: four times
//! four convolutions, which each see two frames to each side.

use super::alphabet::espeak_mark;
use super::graph::{Cut, Graph, GraphError, Input, Threads};
use super::random::Random;
use super::settings::Settings;
use super::speaker::{Passage, Plan, at_speed, whole_frames};
use super::windows::{around, columns, windows};
use rten_simd::SimdUnaryOp;
use rten_vecmath::Exp;
use std::ops::Range;
use std::sync::Arc;
use std::vec;

/// Values inside of the graph.
const NOISE: &str = "/dp/RandomNormalLike_output_0";
const DURATIONS: &str = "/Mul_1_output_0";
const MEANS: &str = "/enc_p/Split_output_0";
const SPREADS: &str = "/enc_p/Split_output_1";
const LATENT: &str = "/Add_output_0";
const MASK: &str = "/Cast_2_output_0";
const FLOWED: &str = "/Mul_7_output_0";

/// Features of one frame.
const ROWS: usize = 192;

/// Frames to each side that change the samples that the decoder makes of a frame.
const CONTEXT: usize = 12;

/// Frames to each side that change what the flow makes of a frame.
const FLOW_CONTEXT: usize = 32;

/// A voice of Piper.
pub(super) struct Piper {
    durations: Cut,
    flow: Cut,
    decoder: Cut,
    settings: Settings,
}

impl Piper {
    /// True if a graph has the inputs of this kind of voice.
    pub(super) fn is_it(inputs: &[String]) -> bool {
        let speakers = inputs.get(3).is_none_or(|input| input == "sid");
        inputs.len() <= 4
            && inputs.starts_with(&["input", "input_lengths", "scales"].map(str::to_owned))
            && speakers
    }

    /// Loads a voice with the settings beside its file.
    pub(super) fn load(graph: &Graph, settings: Settings) -> Result<Piper, GraphError> {
        let mut inputs = vec!["input", "input_lengths", "scales", NOISE];
        if graph.inputs().len() == 4 {
            inputs.push("sid");
        }
        let voice = Piper {
            durations: graph.cut(&inputs, &[DURATIONS, MEANS, SPREADS])?,
            flow: graph.cut(&[LATENT, MASK], &[FLOWED])?,
            decoder: graph.cut(&[FLOWED], &["output"])?,
            settings,
        };
        // All symbols have to be in the graph, and not only those of the first sentence.
        let symbols: Vec<i32> = voice.settings.symbols.values().copied().collect();
        let noise = vec![0.0; 2 * symbols.len()];
        voice.durations(&symbols, [0.0, 1.0, 0.0], &noise, &Threads::own())?;
        Ok(voice)
    }

    /// Durations of symbols in frames, and the means and the logarithms of the spreads of each.
    fn durations(
        &self,
        symbols: &[i32],
        scales: [f32; 3],
        noise: &[f32],
        threads: &Threads,
    ) -> Result<[Vec<f32>; 3], GraphError> {
        let count = symbols.len();
        let length = [i32::try_from(count).map_err(|_| GraphError::shape("symbols"))?];
        // The last input is the speaker, for voices with several. Others ignore it.
        let inputs = [
            Input::Whole(&[1, count], symbols),
            Input::Whole(&[1], &length),
            Input::Real(&[3], &scales),
            Input::Real(&[1, 2, count], noise),
            Input::Whole(&[1], &[0]),
        ];
        let outputs = self.durations.run(&inputs, threads)?;
        outputs.try_into().map_err(|_| GraphError::shape("durations"))
    }

    /// Symbols of letters, with silence between and around them, and the token of each.
    pub(super) fn symbols(&self, letters: &[(char, Option<usize>)]) -> (Vec<i32>, Vec<Option<usize>>) {
        let symbol = |letter: char| self.settings.symbols.get(&letter).copied();
        let pad = symbol('_').unwrap_or_default();
        let (mut symbols, mut tokens) = (Vec::new(), Vec::new());
        let mut push = |symbol: Option<i32>, token, is_padded: bool| {
            symbols.extend(symbol);
            tokens.extend(symbol.map(|_| token));
            if is_padded && symbol.is_some() {
                symbols.push(pad);
                tokens.push(token);
            }
        };
        push(symbol('^'), None, true);
        for &(letter, token) in letters {
            push(symbol(espeak_mark(letter)), token, true);
        }
        push(symbol('$'), None, false);
        (symbols, tokens)
    }

    /// Plans how symbols are spoken.
    pub(super) fn plan(
        self: &Arc<Self>,
        symbols: &[i32],
        speed: f32,
        seed: u64,
        threads: &Threads,
    ) -> Result<Plan, GraphError> {
        let mut random = Random::new(seed);
        let count = symbols.len();
        let noise: Vec<f32> = (0..2 * count).map(|_| random.normal()).collect();
        let settings = &self.settings;
        let scales = [settings.noise_scale, settings.length_scale, settings.noise_width];
        let [durations, means, spreads] = self.durations(symbols, scales, &noise, threads)?;
        let units = at_speed(&durations, speed, f32::ceil);
        let durations = whole_frames(&units, 1, settings.sample_rate_hz as usize / HOP)?;
        let frames: usize = durations.iter().sum();
        let is_whole =
            durations.len() == count && means.len() == ROWS * count && spreads.len() == means.len();
        if !is_whole {
            return Err(GraphError::shape("durations"));
        }
        // Each symbol's mean and spread, for as many frames as it lasts.
        let stretch = |rows: &[f32]| -> Vec<f32> {
            let values = rows.iter().zip(durations.iter().cycle());
            values.flat_map(|(&value, &frames)| std::iter::repeat_n(value, frames)).collect()
        };
        let (mut latent, mut spreads) = (stretch(&means), stretch(&spreads));
        Exp {}.map_mut(&mut spreads);
        for (mean, spread) in latent.iter_mut().zip(&spreads) {
            *mean += random.normal() * spread * settings.noise_scale;
        }
        let mut at = 0;
        let mut starts: Vec<usize> = vec![0];
        starts.extend(durations.iter().map(|duration| {
            at += duration;
            at * HOP
        }));
        let windows = windows(0..frames).into_iter();
        let passage = Frames { voice: Arc::clone(self), windows, frames, latent };
        Ok(Plan { starts, early: 0, passage: Box::new(passage) })
    }
}

/// Samples of one frame.
const HOP: usize = 256;

/// The frames of a passage that is being synthesised.
struct Frames {
    voice: Arc<Piper>,
    windows: vec::IntoIter<Range<usize>>,
    frames: usize,
    /// Input of the flow: rows of all frames.
    latent: Vec<f32>,
}

impl Passage for Frames {
    fn next(&mut self, out: &mut Vec<f32>, threads: &Threads) -> Result<bool, GraphError> {
        let Some(window) = self.windows.next() else { return Ok(false) };
        let wide = around(&window, CONTEXT, self.frames);
        let whole = around(&wide, FLOW_CONTEXT, self.frames);
        let latent = columns(&self.latent, self.frames, &whole);
        let mask = vec![1.0; whole.len()];
        let inputs =
            [Input::Real(&[1, ROWS, whole.len()], &latent), Input::Real(&[1, 1, whole.len()], &mask)];
        let features = self.voice.flow.run(&inputs, threads)?.pop().unwrap_or_default();
        if features.len() != latent.len() {
            return Err(GraphError::shape("features"));
        }
        let part = columns(&features, whole.len(), &(wide.start - whole.start..wide.end - whole.start));
        let inputs = [Input::Real(&[1, ROWS, wide.len()], &part)];
        let samples = self.voice.decoder.run(&inputs, threads)?.pop().unwrap_or_default();
        if samples.len() != wide.len() * HOP {
            return Err(GraphError::shape("samples"));
        }
        out.extend_from_slice(&samples[(window.start - wide.start) * HOP..][..window.len() * HOP]);
        Ok(true)
    }
}
