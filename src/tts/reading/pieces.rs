//! Division of a sentence into pieces whose analysis is cheap.

use flite_rs::text::Token;

/// Number of words without punctuation after which a sentence is cut.
const MAX_WORDS_WITHOUT_PAUSE: usize = 50;

/// Limits of a piece.
#[derive(Clone, Copy, Debug)]
pub(in crate::tts) struct Limits {
    /// Highest [`cost`] of a piece.
    pub(in crate::tts) cost: usize,
    /// Letters of a usual word that take as long to say as a figure, a sign or a spelled letter.
    pub(in crate::tts) spelled: usize,
    /// Longest word, in characters. A longer word is treated as several.
    ///
    /// The time of an analysis grows with the square of the letters of a word, and of the words of a
    /// sentence.
    pub(in crate::tts) word_chars: usize,
}

/// Limits for a cheap voice.
///
/// A piece is usually less than 50 s of audio, which is what a stalled listener makes the sink buffer, and
/// 10 ms of work, which is the longest wait of other utterances for a thread.
pub(in crate::tts) const LIMITS: Limits = Limits { cost: 600, spelled: 4, word_chars: 100 };

/// Most marks that are kept on one side of a word. Marks are not spoken, so more of them have no effect.
const MAX_MARKS: usize = 8;

/// A token, and the byte position in the text at which it begins, without its marks.
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) at: usize,
}

/// Returns the tokens of a sentence that begins at byte `read` of the text, and adds its length to
/// `read`.
pub(super) fn placed(sentence: Vec<Token>, limits: Limits, read: &mut usize) -> Vec<Placed> {
    let place = |token: Token| {
        let at = *read + token.whitespace.len() + token.prepunctuation.len();
        *read = at + token.name.len() + token.punctuation.len();
        words(Placed { token, at }, limits.word_chars)
    };
    sentence.into_iter().flat_map(place).collect()
}

/// Cuts a sentence into pieces within these limits, after the last punctuation mark before it if there
/// is one. Most sentences are one piece.
pub(super) fn pieces(sentence: Vec<Placed>, limits: Limits) -> Vec<Vec<Placed>> {
    let mut pieces = Vec::new();
    let mut piece: Vec<Placed> = Vec::new();
    let mut spent = 0;
    // Number of words in the piece up to its last punctuation mark.
    let mut pause = 0;
    for placed in sentence {
        let price = cost(&placed.token, limits.spelled);
        while piece.len() - pause >= MAX_WORDS_WITHOUT_PAUSE || (spent > 0 && spent + price > limits.cost) {
            let rest = if pause > 0 { piece.split_off(pause) } else { Vec::new() };
            pieces.push(std::mem::replace(&mut piece, rest));
            spent = piece.iter().map(|placed| cost(&placed.token, limits.spelled)).sum();
            pause = 0;
        }
        spent += price;
        let pauses = !placed.token.punctuation.is_empty();
        piece.push(placed);
        if pauses {
            pause = piece.len();
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// Approximate time that a word takes to say, in letters of a usual word. A figure, a sign and a spelled letter
/// take as long as `spelled` letters, a pause as long as four.
fn cost(token: &Token, spelled: usize) -> usize {
    let letters = token.name.chars().count();
    let known = |(n, c): (usize, char)| c.is_lowercase() || (n == 0 && c.is_alphabetic());
    let usual = letters <= 20 && token.name.chars().enumerate().all(known);
    let pause = if token.punctuation.is_empty() { 0 } else { 4 };
    1 + letters * if usual { 1 } else { spelled } + pause
}

/// Returns the token, as several tokens if it is too long for one.
fn words(placed: Placed, most_chars: usize) -> Vec<Placed> {
    let Placed { mut token, mut at } = placed;
    token.prepunctuation = token.prepunctuation.chars().take(MAX_MARKS).collect();
    token.punctuation = token.punctuation.chars().take(MAX_MARKS).collect();
    if token.name.len() <= most_chars {
        return vec![Placed { token, at }];
    }
    let letters: Vec<char> = token.name.chars().collect();
    let mut words = Vec::new();
    for part in letters.chunks(most_chars) {
        let name: String = part.iter().collect();
        let length = name.len();
        words.push(Placed { token: Token { whitespace: " ".to_owned(), name, ..Token::default() }, at });
        at += length;
    }
    if let Some(first) = words.first_mut() {
        first.token.prepunctuation = token.prepunctuation;
    }
    if let Some(last) = words.last_mut() {
        last.token.punctuation = token.punctuation;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::tests::cut;
    use super::*;
    use crate::tts::flite::tests::STELLA;
    use flite_rs::text;

    #[test]
    fn a_sentence_of_usual_length_is_one_piece() {
        assert_eq!(cut(STELLA).len(), 3);
        let clauses = "and six spoons of fresh snow peas, ".repeat(10);
        assert_eq!(cut(&clauses).iter().map(Vec::len).collect::<Vec<_>>(), [70]);
    }

    #[test]
    fn hostile_text_is_cut_into_cheap_pieces() {
        // Text, pieces.
        let cases = [
            ("a".repeat(4_000), 40),
            ("$".repeat(5_000), 50),
            ("word ".repeat(5_000), 100),
            ("one, ".repeat(5_000), 67),
            ("7".repeat(200) + " " + &"7".repeat(199), 4),
            ("7 ".repeat(5_000), 100),
            ("!".repeat(5_000), 1),
            ("(".repeat(5_000), 50),
            ("é".repeat(5_000), 50),
        ];
        for (text, count) in cases {
            let pieces = cut(&text);
            let start = &text[..20];
            assert_eq!(pieces.len(), count, "{start}");
            for piece in &pieces {
                assert!(!piece.is_empty() && piece.len() <= 75, "{start}");
                assert!(piece.iter().all(|word| word.chars().count() <= LIMITS.word_chars), "{start}");
            }
            if !start.starts_with(['!', '(']) {
                let all: String = pieces.into_iter().flatten().collect();
                assert_eq!(all, text.replace([' ', ','], ""), "nothing is lost");
            }
        }
    }

    #[test]
    fn the_cost_of_a_word_is_the_time_it_takes_to_say() {
        let cases =
            [("word", 5), ("Word", 5), ("word,", 9), ("7", 5), ("I", 2), ("NATO", 17), ("$37.50", 25)];
        for (word, expected) in cases {
            let sentence = text::sentences(word).next().expect("a sentence");
            assert_eq!(cost(&sentence[0], LIMITS.spelled), expected, "{word}");
        }
    }

    #[test]
    fn a_long_sentence_is_cut_after_its_last_punctuation() {
        let text = "one, ".repeat(10) + &"two ".repeat(60);
        let sizes: Vec<usize> = cut(&text).iter().map(Vec::len).collect();
        assert_eq!(sizes, [10, 50, 10]);
        let text = "four hundred, ".repeat(30) + &"s".repeat(190) + " " + &"t".repeat(190);
        let sizes: Vec<usize> = cut(&text).iter().map(Vec::len).collect();
        assert_eq!(sizes, [60, 1, 1, 1, 1]);
    }
}
