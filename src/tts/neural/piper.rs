//! Graphs of Piper's voices (VITS): symbols of espeak-ng's alphabet to samples.
//!
//! The graph is cut in three, as it is in the file. The first part gives how long each symbol lasts, and
//! the mean and the spread of each frame. Noise of our own is added, so that the same text gives the same
//! samples. The second part, the flow, makes what the third part, the decoder, turns into samples, a
//! window of frames at a time. Frames more than 12 away do not change the samples of a frame.

use super::graph::{Cut, Graph, GraphError, Input, Threads};
use super::random::Random;
use super::speaker::{Passage, Plan};
use super::windows::windows;
use serde_json::Value;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::vec;

/// Values inside of the graph.
const NOISE: &str = "/dp/RandomNormalLike_output_0";
const DURATIONS: &str = "/Ceil_output_0";
const MEANS: &str = "/Transpose_3_output_0";
const SPREADS: &str = "/Exp_1_output_0";
const LATENT: &str = "/Add_output_0";
const MASK: &str = "/Cast_2_output_0";
const FLOWED: &str = "/Mul_7_output_0";

/// Features of one frame.
const ROWS: usize = 192;

/// Frames to each side that change the samples of a frame.
const CONTEXT: usize = 12;

/// A voice of Piper.
pub(super) struct Piper {
    durations: Cut,
    flow: Cut,
    decoder: Cut,
    symbols: HashMap<char, i32>,
    noise_scale: f32,
    length_scale: f32,
    noise_width: f32,
    pub(super) sample_rate_hz: u32,
    /// Language as a tag, such as `en-US`.
    pub(super) language: Option<String>,
}

impl Piper {
    /// True if a graph has the inputs of this kind of voice.
    pub(super) fn is_it(inputs: &[String]) -> bool {
        let speakers = inputs.get(3).is_none_or(|input| input == "sid");
        inputs.len() <= 4
            && inputs.starts_with(&["input", "input_lengths", "scales"].map(str::to_owned))
            && speakers
    }

    /// Loads a voice with the text of the `.onnx.json` beside its file.
    pub(super) fn load(graph: &Graph, settings: &str) -> Result<Piper, GraphError> {
        let settings: Value = serde_json::from_str(settings).map_err(|_| GraphError::settings())?;
        let symbols = settings["phoneme_id_map"].as_object().ok_or_else(GraphError::settings)?;
        let symbols = symbols.iter().filter_map(|(letter, ids)| {
            let mut letters = letter.chars();
            let only = letters.next().filter(|_| letters.next().is_none());
            Some((only?, i32::try_from(ids[0].as_i64()?).ok()?))
        });
        let symbols: HashMap<char, i32> = symbols.collect();
        let rate = settings["audio"]["sample_rate"].as_u64().and_then(|rate| u32::try_from(rate).ok());
        let scale = |name: &str, default: f64| settings["inference"][name].as_f64().unwrap_or(default) as f32;
        let code = settings["language"]["code"].as_str();
        let mut inputs = vec!["input", "input_lengths", "scales", NOISE];
        if graph.inputs().len() == 4 {
            inputs.push("sid");
        }
        Ok(Piper {
            durations: graph.cut(&inputs, &[DURATIONS, MEANS, SPREADS])?,
            flow: graph.cut(&[LATENT, MASK], &[FLOWED])?,
            decoder: graph.cut(&[FLOWED], &["output"])?,
            symbols,
            noise_scale: scale("noise_scale", 0.667),
            length_scale: scale("length_scale", 1.0),
            noise_width: scale("noise_w", 0.8),
            sample_rate_hz: rate
                .filter(|rate| (8_000..=48_000).contains(rate))
                .ok_or_else(GraphError::settings)?,
            language: code.map(|code| code.replace('_', "-")),
        })
    }

    /// Symbols of letters, with silence between and around them, and the token of each.
    pub(super) fn symbols(&self, letters: &[(char, Option<usize>)]) -> (Vec<i32>, Vec<Option<usize>>) {
        let symbol = |letter: char| self.symbols.get(&letter).copied();
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
            let known = match letter {
                '—' => symbol('-'),
                '…' => symbol('.'),
                letter => symbol(letter),
            };
            push(known, token, true);
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
        let scales = [self.noise_scale, self.length_scale / speed, self.noise_width];
        let length = [i32::try_from(count).map_err(|_| GraphError::shape("symbols"))?];
        // The last input is the speaker, for voices with several. Others ignore it.
        let inputs = [
            Input::Whole(&[1, count], symbols),
            Input::Whole(&[1], &length),
            Input::Real(&[3], &scales),
            Input::Real(&[1, 2, count], &noise),
            Input::Whole(&[1], &[0]),
        ];
        let mut outputs = self.durations.run(&inputs, threads)?.into_iter();
        let mut next = || outputs.next().unwrap_or_default();
        let (durations, mut latent, spreads) = (next(), next(), next());
        let durations: Vec<usize> = durations.iter().map(|&frames| frames as usize).collect();
        let frames: usize = durations.iter().sum();
        if durations.len() != count || latent.len() != ROWS * frames || spreads.len() != latent.len() {
            return Err(GraphError::shape("durations"));
        }
        for (mean, spread) in latent.iter_mut().zip(&spreads) {
            *mean += random.normal() * spread * self.noise_scale;
        }
        let mask = vec![1.0; frames];
        let inputs = [Input::Real(&[1, ROWS, frames], &latent), Input::Real(&[1, 1, frames], &mask)];
        let features = self.flow.run(&inputs, threads)?.pop().unwrap_or_default();
        if features.len() != latent.len() {
            return Err(GraphError::shape("features"));
        }
        let mut at = 0;
        let mut starts: Vec<usize> = vec![0];
        starts.extend(durations.iter().map(|duration| {
            at += duration;
            at * HOP
        }));
        let windows = windows(0..frames).into_iter();
        let passage = Frames { voice: Arc::clone(self), windows, frames, features };
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
    features: Vec<f32>,
}

impl Passage for Frames {
    fn next(&mut self, out: &mut Vec<f32>, threads: &Threads) -> Result<bool, GraphError> {
        let Some(window) = self.windows.next() else { return Ok(false) };
        let wide = window.start.saturating_sub(CONTEXT)..(window.end + CONTEXT).min(self.frames);
        let rows = self.features.chunks_exact(self.frames);
        let part: Vec<f32> = rows.flat_map(|row| &row[wide.clone()]).copied().collect();
        let inputs = [Input::Real(&[1, ROWS, wide.len()], &part)];
        let samples = self.voice.decoder.run(&inputs, threads)?.pop().unwrap_or_default();
        if samples.len() != wide.len() * HOP {
            return Err(GraphError::shape("samples"));
        }
        out.extend_from_slice(&samples[(window.start - wide.start) * HOP..][..window.len() * HOP]);
        Ok(true)
    }
}
