//! Speaking of an utterance by a voice in this process: piece by piece, in units of work on the threads of a
//! [`Pool`].

use super::clock::Clock;
use super::pool::Pool;
use super::reading::{Limits, Piece, Reading, read};
use super::rounds::Urgency;
use super::{Sink, SynthesisError, Utterance};
use crate::audio::level::{Level, Trim};
use std::time::{Duration, Instant};

/// Units of work until a sentence has audio: its plan and two windows, as the first one may be silent.
const FIRST_UNITS: u32 = 3;

/// A piece of a text that a voice is speaking.
pub(super) trait Part: Sized + Send + 'static {
    /// Does one unit of work. Stops if the listener leaves. A listener who has no audio yet is urgent.
    fn speak(self: Box<Self>, is_urgent: bool, sink: &mut Sink) -> Result<Progress<Self>, SynthesisError>;
}

/// Result of a unit of work.
pub(super) enum Progress<P> {
    /// More of the piece follows.
    More(Box<P>),
    /// The piece is over. True if it had any sound.
    Over(bool, Option<Clock>),
}

/// A voice in this process.
pub(super) struct Narrator<'a> {
    /// Name of the engine.
    pub(super) engine: &'static str,
    pub(super) pool: &'a Pool,
    pub(super) sample_rate_hz: u32,
    /// Limit on a piece, see [`read`].
    pub(super) limits: Limits,
}

impl Narrator<'_> {
    /// Speaks an utterance to its end, or until the listener leaves. `begin` gives the first unit of work of a
    /// piece; that unit takes whether it is urgent.
    pub(super) async fn speak<P: Part, J>(
        self,
        utterance: &Utterance,
        mut sink: Sink,
        begin: impl Fn(Piece, Option<Clock>) -> J,
    ) where
        J: FnOnce(bool, &mut Sink) -> Result<Progress<P>, SynthesisError> + Send + 'static,
    {
        let Narrator { engine, pool, sample_rate_hz, limits } = self;
        let Reading { pieces, unspeakable } = read(utterance, limits);
        if !unspeakable.is_empty() {
            let message = format!(
                "The engine {engine} cannot speak these words and symbols: it reads English words, numbers and \
                 signs. Use an engine for their language."
            );
            sink.warn_about("unspeakable_text", &message, unspeakable);
        }
        let mut clock = utterance.has_word_times.then(|| Clock::new(sample_rate_hz));
        let mut has_sound = false;
        let since = Instant::now();
        if utterance.index == 0 {
            // What it still has is of another stream, which may be cancelled.
            utterance.listener.empty();
        }
        let urgency = |sink: &Sink| {
            let (until, now) = (utterance.listener.until(), Instant::now());
            match until {
                Some(by) if sink.encoded_bytes() > 0 => Urgency::Due { by, units: 1 },
                Some(by) if by > now => Urgency::Due { by, units: FIRST_UNITS },
                _ => Urgency::AtOnce { since },
            }
        };
        let mut given = 0;
        for mut piece in pieces {
            if let Some(clock) = &mut clock {
                clock.start_piece(std::mem::take(&mut piece.words), piece.next);
            }
            let is_urgent = sink.encoded_bytes() == 0;
            let first = begin(piece, clock.take());
            let job = move |sink: &mut Sink| first(is_urgent, sink);
            // `None` means that the listener is gone, or that the job panicked. A panic drops the sink, which
            // the listener sees as a failure.
            let Some(mut done) = pool.run(utterance, urgency(&sink), sink, job).await else { return };
            loop {
                sink = done.0;
                let bytes = sink.chunked_bytes() - given;
                given += bytes;
                let seconds = bytes as f64 / utterance.format.byte_rate() as f64;
                utterance.listener.give(Duration::from_secs_f64(seconds), Instant::now());
                // No thread is in use here, so a slow listener delays only itself. The next unit of work
                // starts after this wait, which limits the buffered audio.
                if sink.drain().await.is_err() {
                    return;
                }
                match done.1 {
                    Ok(Progress::More(part)) => {
                        let is_urgent = sink.encoded_bytes() == 0;
                        let job = move |sink: &mut Sink| part.speak(is_urgent, sink);
                        let next = pool.run(utterance, urgency(&sink), sink, job).await;
                        let Some(next) = next else { return };
                        done = next;
                    }
                    Ok(Progress::Over(piece_has_sound, returned_clock)) => {
                        has_sound |= piece_has_sound;
                        clock = returned_clock;
                        break;
                    }
                    Err(error) => return sink.fail(error).await,
                }
            }
        }
        if has_sound {
            sink.finish().await;
        } else {
            let message = format!(
                "The engine {engine} cannot speak this text: it reads English words, numbers and signs. Send \
                 English text, or use an engine for this language."
            );
            sink.fail(SynthesisError::no_audio(message)).await;
        }
    }
}

/// The samples of a piece on their way to the listener: without the silence around them, at the level of all
/// voices, with the times of their words.
pub(super) struct Track {
    trim: Trim,
    level: Level,
    clock: Option<Clock>,
    /// Samples that the trim has let through so far.
    samples: usize,
    /// Samples at their level so far, and up to the last one that can be heard.
    levelled: usize,
    audible: usize,
    /// True if the plan of words is exact. Otherwise the first one may sound sooner, and the last one end sooner.
    is_exact: bool,
}

/// Highest amplitude that is not heard at the end of a word: noise with such peaks has −45 dBFS RMS.
const INAUDIBLE: u16 = 400;

impl Track {
    pub(super) fn new(trim: Trim, level: Level, clock: Option<Clock>, is_exact: bool) -> Track {
        Track { trim, level, clock, samples: 0, levelled: 0, audible: 0, is_exact }
    }

    /// Takes samples, and appends those that the trim lets through.
    pub(super) fn take(&mut self, samples: &[i16], kept: &mut Vec<i16>, sink: &mut Sink) {
        let (had_sound, before) = (self.trim.has_sound(), kept.len());
        self.trim.push(samples, kept);
        if let Some(clock) = self.clock.as_mut().filter(|_| !had_sound && self.trim.has_sound()) {
            let lead = (!self.is_exact).then(|| self.trim.lead());
            clock.report(self.trim.cut(), lead, sink);
        }
        self.samples += kept.len() - before;
    }

    /// Brings samples to the level, and appends those that are ready.
    pub(super) fn level(&mut self, kept: &[i16], ready: &mut Vec<i16>) {
        let before = ready.len();
        self.level.push(kept, ready);
        self.listen(before, ready);
    }

    /// Notes where the last sound is in the samples from `before` on.
    fn listen(&mut self, before: usize, ready: &[i16]) {
        let new = &ready[before..];
        if let Some(last) = new.iter().rposition(|sample| sample.unsigned_abs() > INAUDIBLE) {
            self.audible = self.levelled + last + 1;
        }
        self.levelled += new.len();
    }

    /// Ends the piece.
    pub(super) fn finish<P>(mut self, sink: &mut Sink) -> Progress<P> {
        let mut ready = Vec::new();
        let none = Level::new(1, 1.0);
        std::mem::replace(&mut self.level, none).finish(&mut ready);
        self.listen(0, &ready);
        let Track { trim, mut clock, samples, is_exact, .. } = self;
        let audible = if is_exact { samples } else { self.audible };
        // An error means that the listener is gone, which the next wait reports too.
        let _ = sink.push(&ready);
        if let Some(clock) = &mut clock {
            clock.advance(samples, audible, sink);
        }
        Progress::Over(trim.has_sound(), clock)
    }
}
