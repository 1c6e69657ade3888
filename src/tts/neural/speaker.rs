//! Synthesis of one piece of a sentence, window by window.

use super::graph::{GraphError, Threads};
use super::phones::Reader;
use super::voices::Loaded;
use crate::audio::level::{Level, Trim};
use crate::tts::clock::Clock;
use crate::tts::narrate::{self, Progress, Track};
use crate::tts::reading::Piece;
use crate::tts::{Sink, SynthesisError};

/// A passage that is being synthesised.
pub(super) trait Passage: Send {
    /// Appends the samples of the next window, from −1 to 1. False at the end.
    fn next(&mut self, out: &mut Vec<f32>, threads: &Threads) -> Result<bool, GraphError>;
}

/// A passage that is planned.
pub(super) struct Plan {
    /// First sample of each symbol, and the number of samples.
    pub(super) starts: Vec<usize>,
    /// Samples by which `starts` are earlier than the model says. Sounds end when it says.
    pub(super) early: usize,
    pub(super) passage: Box<dyn Passage>,
}

/// Longest sound or pause that a voice may plan, in seconds. Those of a slow voice last two.
const MAX_SOUND_SECONDS: usize = 10;

/// Longest passage that a voice may plan, in seconds. Its plan takes at most about 300 MB.
const MAX_PASSAGE_SECONDS: usize = 300;

/// Turns the durations of symbols into whole units by `round`, for this speed.
///
/// A voice plans in units of 12 to 25 ms. If each duration were only divided by the speed before it is rounded, the
/// errors would add up: short sounds, the most common ones, would have one length at any speed from 1.1 to 1.3. So the
/// divisor is sought with which the whole has the length that was asked for.
pub(super) fn at_speed(durations: &[f32], speed: f32, round: fn(f32) -> f32) -> Vec<f32> {
    let divided = |by: f32| durations.iter().map(move |&duration| round(duration / by));
    let length = |by: f32| divided(by).sum::<f32>();
    let wanted = length(1.0) / speed;
    let mut best = (if speed == 1.0 { 0.0 } else { (length(speed) - wanted).abs() }, speed);
    let (mut low, mut high) = (speed / SEARCHED, speed * SEARCHED);
    while best.0 > 0.5 && high - low > speed * 1e-6 {
        let by = f32::midpoint(low, high);
        let off = length(by) - wanted;
        if off.abs() < best.0 {
            best = (off.abs(), by);
        }
        // Divided by more, the whole is shorter. Not a number, which is refused later, ends the search as well.
        if off > 0.0 { low = by } else { high = by }
    }
    divided(best.1).collect()
}

/// Range of the divisor around the speed, as a factor: at twice the speed many sounds have the shortest length
/// there is, and the others have to make up for it.
const SEARCHED: f32 = 2.0;

/// Durations of symbols in frames, from the units that a voice plans. Refuses numbers that would take too
/// much memory and time, before the rest of the graph runs.
pub(super) fn whole_frames(
    units: &[f32],
    frames_per_unit: usize,
    frames_per_second: usize,
) -> Result<Vec<usize>, GraphError> {
    let most = MAX_SOUND_SECONDS * frames_per_second;
    let mut rest = MAX_PASSAGE_SECONDS * frames_per_second;
    let frames = units.iter().map(|&units| {
        // Not a number is not at least 0.
        let frames = if units >= 0.0 { units * frames_per_unit as f32 } else { f32::NAN };
        if frames.is_nan() || frames > most as f32 {
            return Err(GraphError::long("a sound", frames / frames_per_second as f32, MAX_SOUND_SECONDS));
        }
        let frames = frames as usize;
        rest = rest.checked_sub(frames).ok_or(GraphError::long(
            "a sentence",
            MAX_PASSAGE_SECONDS as f32,
            MAX_PASSAGE_SECONDS,
        ))?;
        Ok(frames)
    });
    let frames: Vec<usize> = frames.collect::<Result<_, _>>()?;
    match frames.iter().any(|&frames| frames > 0) {
        true => Ok(frames),
        false => Err(GraphError::silent()),
    }
}

/// A piece of a sentence on its way to the listener.
pub(super) struct Part {
    /// Name of the voice.
    voice: String,
    passage: Box<dyn Passage>,
    track: Track,
    real: Vec<f32>,
    whole: Vec<i16>,
    kept: Vec<i16>,
}

impl Part {
    /// Plans a piece.
    pub(super) fn plan(
        voice: &Loaded,
        reader: &Reader,
        piece: &Piece,
        speed: f32,
        mut clock: Option<Clock>,
    ) -> Result<Progress<Part>, SynthesisError> {
        let planned = voice.plan(reader, piece, speed, &Threads::own());
        let Some((symbols, plan)) = planned.map_err(|why| failure(&voice.voice.name, &why))? else {
            return Ok(Progress::Over(false, clock));
        };
        if let Some(clock) = &mut clock {
            let seconds = |sample: usize| sample as f32 / voice.sample_rate_hz as f32;
            clock.place(|token| {
                let first = symbols.iter().position(|owner| *owner == Some(token))?;
                let last = symbols.iter().rposition(|owner| *owner == Some(token))?;
                let end = plan.starts.get(last + 1)? + plan.early;
                let next = symbols[last + 1..].iter().position(Option::is_some);
                let next = next.and_then(|next| plan.starts.get(last + 1 + next)).or(plan.starts.last())?;
                Some((seconds(plan.starts[first]), seconds(end.min(*next))))
            });
        }
        let (rate, gain) = (voice.sample_rate_hz, voice.gain);
        Ok(Progress::More(Box::new(Part {
            voice: voice.voice.name.clone(),
            passage: plan.passage,
            track: Track::new(Trim::new(rate, 0), Level::new(rate, gain), clock, false),
            real: Vec::new(),
            whole: Vec::new(),
            kept: Vec::new(),
        })))
    }
}

impl narrate::Part for Part {
    /// Synthesises one window.
    fn speak(mut self: Box<Part>, _: bool, sink: &mut Sink) -> Result<Progress<Part>, SynthesisError> {
        self.real.clear();
        let next = self.passage.next(&mut self.real, &Threads::own());
        if !next.map_err(|why| failure(&self.voice, &why))? {
            return Ok(self.track.finish(sink));
        }
        self.whole.clear();
        // Casts saturate.
        self.whole.extend(self.real.iter().map(|sample| (sample * 32_767.0) as i16));
        self.kept.clear();
        self.track.take(&self.whole, &mut self.kept, sink);
        self.whole.clear();
        self.track.level(&self.kept, &mut self.whole);
        // An error means that the listener is gone, which the next wait reports too.
        let _ = sink.push(&self.whole);
        Ok(Progress::More(self))
    }
}

/// Tells the operator why a voice cannot speak, and returns the error for the client.
fn failure(voice: &str, why: &GraphError) -> SynthesisError {
    tracing::error!("engine neural: voice {voice}: {why}");
    SynthesisError::failed("The voice cannot speak this sentence. Try another one, or another voice.")
}
