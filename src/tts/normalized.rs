//! Text that is changed into words in front of an engine that does not do so itself.

use super::speech::Relay;
use super::{Piece, Speech, SynthesisError, Synthesizer, Utterance, Word};
use crate::text::normal::normalize;
use std::ops::Range;
use std::task::{Context, Poll};

/// Has an engine speak. If the utterance asks for it, figures, signs and abbreviations become words first,
/// and what the engine reports about the words names the written ones.
pub(crate) fn speak(engine: &dyn Synthesizer, mut utterance: Utterance) -> Speech {
    if utterance.text.contains('\0') {
        // It ends a text in C, and what is written in C refuses it, or loses the rest.
        utterance.text = utterance.text.replace('\0', " ");
    }
    if utterance.normalize != Some(true) || engine.normalizes() {
        return engine.speak(utterance);
    }
    utterance.normalize = Some(false);
    let spoken = normalize(&utterance.text, &utterance.language);
    if spoken.is_same() || !spoken.text.contains(char::is_alphanumeric) {
        return engine.speak(utterance);
    }
    let origins = Origins {
        at: (0..=spoken.text.len()).map(|at| spoken.origin(at)).collect(),
        words: spoken.words(&utterance.text),
    };
    utterance.text = spoken.text.into_owned();
    Speech::relayed(Named { speech: engine.speak(utterance), origins, open: None, ending: None })
}

/// The written text of each part of a spoken text.
struct Origins {
    /// Position in the written text for each byte of the spoken one, and for its end.
    at: Vec<usize>,
    words: Vec<Range<usize>>,
}

impl Origins {
    fn position(&self, at: usize) -> usize {
        self.at.get(at).or(self.at.last()).copied().unwrap_or_default()
    }

    /// The written word in which a spoken one begins.
    fn word(&self, spoken: &Range<usize>) -> Range<usize> {
        let at = self.position(spoken.start);
        let first = self.words.partition_point(|word| word.end <= at);
        self.words.get(first).cloned().unwrap_or(at..at)
    }

    fn range(&self, spoken: &Range<usize>) -> Range<usize> {
        let start = self.position(spoken.start);
        start..self.position(spoken.end).max(start)
    }
}

/// A speech whose words are named as they are written.
struct Named {
    speech: Speech,
    origins: Origins,
    /// The last written word. More spoken words may follow for it.
    open: Option<Word>,
    /// The end of the speech, once the last word was passed on.
    ending: Option<Result<Piece, SynthesisError>>,
}

impl Named {
    fn named(&mut self, words: Vec<Word>) -> Vec<Word> {
        let mut named = Vec::with_capacity(words.len());
        for word in words {
            let text_range = self.origins.word(&word.text_range);
            match &mut self.open {
                Some(open) if open.text_range == text_range => open.end = word.end,
                open => named.extend(open.replace(Word { text_range, ..word })),
            }
        }
        named
    }
}

impl Relay for Named {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, SynthesisError>>> {
        if let Some(ending) = self.ending.take() {
            return Poll::Ready(Some(ending));
        }
        loop {
            let Poll::Ready(next) = self.speech.poll_next(cx) else { return Poll::Pending };
            match next {
                Some(Ok(Piece::Words(words))) => {
                    let words = self.named(words);
                    if !words.is_empty() {
                        return Poll::Ready(Some(Ok(Piece::Words(words))));
                    }
                }
                Some(Ok(Piece::Warning(mut warning))) => {
                    let ranges = warning.text_ranges.iter().map(|range| self.origins.range(range));
                    warning.text_ranges = ranges.collect();
                    return Poll::Ready(Some(Ok(Piece::Warning(warning))));
                }
                Some(Ok(audio)) => return Poll::Ready(Some(Ok(audio))),
                end => {
                    let Some(open) = self.open.take() else { return Poll::Ready(end) };
                    self.ending = end;
                    return Poll::Ready(Some(Ok(Piece::Words(vec![open]))));
                }
            }
        }
    }

    fn buffered_bytes(&self) -> u64 {
        self.speech.buffered_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{Encoding, Format};
    use std::sync::Mutex;

    /// An engine that keeps what it was asked to say.
    struct Asked(Mutex<Vec<String>>);

    impl Synthesizer for Asked {
        fn name(&self) -> &str {
            "asked"
        }

        fn format(&self) -> Format {
            Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 }
        }

        fn speak(&self, utterance: Utterance) -> Speech {
            self.0.lock().expect("no test panicked").push(utterance.text);
            Speech::failed(SynthesisError::failed("Enough."))
        }
    }

    #[test]
    fn no_engine_is_given_the_character_that_ends_a_text_in_c() {
        let engine = Asked(Mutex::default());
        for normalize in [None, Some(false), Some(true)] {
            let utterance = Utterance::new("Mind\0the\0gap.", engine.format());
            speak(&engine, Utterance { normalize, ..utterance });
        }
        assert_eq!(*engine.0.lock().expect("no test panicked"), ["Mind the gap."; 3]);
    }
}
