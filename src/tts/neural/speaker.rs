//! Synthesis of one piece of a sentence, window by window.

use super::graph::{GraphError, Threads};
use super::phones::Reader;
use super::voices::Loaded;
use crate::audio::level::{Level, Trim};
use crate::tts::Sink;
use crate::tts::clock::Clock;
use crate::tts::reading::Piece;

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

/// A piece of a sentence on its way to the listener.
pub(super) struct Part {
    passage: Box<dyn Passage>,
    trim: Trim,
    level: Level,
    clock: Option<Clock>,
    /// Samples that the trim has let through so far.
    samples: usize,
    real: Vec<f32>,
    whole: Vec<i16>,
    kept: Vec<i16>,
}

/// Result of a unit of work.
pub(super) enum Progress {
    /// More of the piece follows.
    More(Box<Part>),
    /// The piece is over. True if it had any sound.
    Over(bool, Option<Clock>),
}

impl Part {
    /// Plans a piece.
    pub(super) fn plan(
        voice: &Loaded,
        reader: &Reader,
        piece: &Piece,
        speed: f32,
        mut clock: Option<Clock>,
    ) -> Result<Progress, GraphError> {
        let Some((symbols, plan)) = voice.plan(reader, piece, speed, &Threads::own())? else {
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
        Ok(Progress::More(Box::new(Part {
            passage: plan.passage,
            trim: Trim::new(voice.sample_rate_hz, 0),
            level: Level::new(voice.sample_rate_hz, voice.gain),
            clock,
            samples: 0,
            real: Vec::new(),
            whole: Vec::new(),
            kept: Vec::new(),
        })))
    }

    /// Synthesises one window.
    pub(super) fn speak(mut self: Box<Part>, sink: &mut Sink) -> Result<Progress, GraphError> {
        self.real.clear();
        if !self.passage.next(&mut self.real, &Threads::own())? {
            return Ok(self.finish(sink));
        }
        self.whole.clear();
        // Casts saturate.
        self.whole.extend(self.real.iter().map(|sample| (sample * 32_767.0) as i16));
        let had_sound = self.trim.has_sound();
        self.kept.clear();
        self.trim.push(&self.whole, &mut self.kept);
        if let Some(clock) = self.clock.as_mut().filter(|_| !had_sound && self.trim.has_sound()) {
            clock.report(self.trim.cut(), sink);
        }
        self.samples += self.kept.len();
        self.whole.clear();
        self.level.push(&self.kept, &mut self.whole);
        // An error means that the listener is gone, which the next wait reports too.
        let _ = sink.push(&self.whole);
        Ok(Progress::More(self))
    }

    /// Ends the piece.
    fn finish(self: Box<Part>, sink: &mut Sink) -> Progress {
        let Part { trim, level, mut clock, samples, .. } = *self;
        let mut ready = Vec::new();
        level.finish(&mut ready);
        // As above.
        let _ = sink.push(&ready);
        if let Some(clock) = &mut clock {
            clock.advance(samples, sink);
        }
        Progress::Over(trim.has_sound(), clock)
    }
}
