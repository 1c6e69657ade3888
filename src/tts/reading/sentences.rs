//! Sentences of a text, each with a melody of its own.

use crate::text::{Segmentation, Segmenter};
use flite_rs::text::{self, Token};

/// Returns the sentences of a text.
///
/// The crate ends a sentence at every full stop before a capital, unless the word before it is short. A stop or
/// another mark that ends no sentence for the [`Segmenter`] ends none here.
pub(in crate::tts) fn sentences(text: &str) -> Vec<Vec<Token>> {
    let found: Vec<Vec<Token>> = text::sentences(text).collect();
    if found.len() < 2 {
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
    joined
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
