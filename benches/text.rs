//! Cutting text into sentences: the whole text, and the small pieces of a language model. And changing a sentence
//! into the words that are spoken.

use aloud::unstable::{Clean, Segmentation, Segmenter, normalize};
use divan::Bencher;
use divan::counter::BytesCount;

/// Prose with difficult parts: abbreviations, numbers, quotes, Markdown, and other scripts.
const TEXT: &str = "Dr. Weiss came at 4.30 p.m. with the letter. \"Is it 1,250.75 or less?\" she asked. It was \
                    less; it was **much** less! See https://example.org/a.b?c=d for the list... He did not, \
                    of course. The U.S. office (open Mon.-Fri.) had called twice: once in May, once on No. 7. \
                    Das ist z. B. ein Satz. Und noch einer? 今日は雨です。明日は晴れるでしょう。\n\n\
                    - First, the kettle.\n- Then, the cups.\n\nShe had learned not to hurry on days like it, \
                    and so she went on reading until the lamp gave out. ";

/// Characters of a piece; 0 for the whole text.
const PIECES: [usize; 3] = [0, 4, 64];

fn text() -> String {
    TEXT.repeat(64)
}

fn pieces(text: &str, chars: usize) -> Vec<&str> {
    if chars == 0 {
        return vec![text];
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((at, _)) = rest.char_indices().nth(chars) {
        let (piece, more) = rest.split_at(at);
        pieces.push(piece);
        rest = more;
    }
    pieces.push(rest);
    pieces
}

fn segments(pieces: &[&str], clean: Clean) -> usize {
    let mut segmenter = Segmenter::new(Segmentation { clean, ..Segmentation::default() });
    let mut count = 0;
    let mut take = |segmenter: &mut Segmenter| {
        while let Some(segment) = segmenter.next_segment() {
            divan::black_box(segment);
            count += 1;
        }
    };
    for piece in pieces {
        segmenter.push(piece);
        take(&mut segmenter);
    }
    segmenter.finish();
    take(&mut segmenter);
    count
}

#[divan::bench(args = PIECES)]
fn plain(bencher: Bencher<'_, '_>, chars: usize) {
    run(bencher, chars, Clean::None);
}

#[divan::bench(args = PIECES)]
fn markdown(bencher: Bencher<'_, '_>, chars: usize) {
    run(bencher, chars, Clean::Markdown);
}

fn run(bencher: Bencher<'_, '_>, chars: usize, clean: Clean) {
    let text = text();
    let pieces = pieces(&text, chars);
    bencher.counter(BytesCount::new(text.len())).bench_local(|| segments(&pieces, clean));
}

/// Sentences without and with something to change, and one with much of it.
const SENTENCES: [&str; 3] = [
    "She had learned not to hurry on days like it, and so she went on reading until the lamp gave out.",
    "Dr. Weiss came at 4.30 p.m. with 2.5 kg of letters, which cost her $37.50 and the whole of May 3.",
    "Mix 1½ cups (180 g) of flour, ½ tsp of salt and 40–60 ml of milk at 20 °C; bake at 350°F for 25-30 min.",
];

#[divan::bench(args = SENTENCES)]
fn spoken(bencher: Bencher<'_, '_>, sentence: &str) {
    bencher.counter(BytesCount::of_str(sentence)).bench_local(|| divan::black_box(normalize(sentence, "en")));
}

fn main() {
    divan::main();
}
