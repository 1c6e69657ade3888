//! Sentences of a text, each with a melody of its own.

use crate::text::{Segmentation, Segmenter};
use flite_rs::text::{self, Token};

/// Returns the sentences of a text.
///
/// The crate ends a sentence at every full stop before a capital, unless the word before it is short. A stop or
/// another mark that ends no sentence for the [`Segmenter`] ends none here, and the full stop of an abbreviation is
/// no pause.
pub(in crate::tts) fn sentences(text: &str) -> Vec<Vec<Token>> {
    let found: Vec<Vec<Token>> = text::sentences(text).collect();
    let is_stopped = |sentence: &Vec<Token>| sentence.iter().rev().skip(1).any(has_stop);
    if found.len() < 2 && !found.iter().any(is_stopped) {
        return found;
    }
    let ends = ends(text);
    let (mut joined, mut read) = (Vec::<Vec<Token>>::new(), 0);
    for sentence in found {
        let is_end = ends.binary_search(&read).is_ok();
        // Marks without a word before them are no part of the next sentence.
        let before = joined.last().filter(|before| before.iter().any(has_word));
        let is_joined = before.and_then(|before| before.last()).is_some_and(|last| {
            !is_end && last.punctuation.contains(['.', '!', '?']) && !last.punctuation.contains(':')
        });
        read += sentence.iter().map(length).sum::<usize>();
        match joined.last_mut().filter(|_| is_joined) {
            Some(before) => before.extend(sentence),
            None => joined.push(sentence),
        }
    }
    let mut read = 0;
    for sentence in &mut joined {
        for n in 0..sentence.len() {
            read += length(&sentence[n]);
            if n + 1 < sentence.len() && has_stop(&sentence[n]) && ends.binary_search(&read).is_err() {
                // The next token begins with it, so that all tokens keep their places.
                sentence[n].punctuation.clear();
                sentence[n + 1].whitespace.insert(0, '.');
            }
        }
    }
    joined
}

/// True for a full stop behind a word, and no other mark.
fn has_stop(token: &Token) -> bool {
    token.punctuation == "." && has_word(token)
}

fn has_word(token: &Token) -> bool {
    token.name.contains(|c: char| c.is_ascii_alphanumeric())
}

fn length(token: &Token) -> usize {
    token.whitespace.len() + token.prepunctuation.len() + token.name.len() + token.punctuation.len()
}

/// Positions of the ends of sentences.
fn ends(text: &str) -> Vec<usize> {
    let mut segmenter = Segmenter::new(Segmentation { max_chars: usize::MAX, ..Segmentation::default() });
    segmenter.push(text);
    segmenter.finish();
    let (mut ends, mut at) = (Vec::new(), 0);
    while let Some(segment) = segmenter.next_segment() {
        let Some(start) = text[at..].find(&segment.text) else { break };
        at += start + segment.text.len();
        ends.push(at);
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_of_an_abbreviation_is_no_pause() {
        let text = "P.S. Ask J. Lee of P.O. Box five. Then, max. speed or etc. ends. Go.";
        let found = sentences(text);
        assert_eq!(found.len(), 3);
        for sentence in &found {
            let stops = sentence.iter().filter(|token| token.punctuation.contains('.')).count();
            assert_eq!(stops, 1, "{sentence:?}");
        }
        assert_eq!(found.iter().flatten().map(length).sum::<usize>(), text.len());
        // People who write without capitals end their sentences, too.
        assert!(sentences("i went home. then i slept.")[0].iter().any(|token| token.punctuation == "."));
        assert_eq!(sentences("i went home. then i slept.")[0][2].punctuation, ".");
    }
}
