//! Any text in any pieces: the segments are the same as in one piece, none is empty or too long,
//! and only white space and cleaned-up markup is lost.
#![no_main]

use aloud::unstable::{Clean, Segment, Segmentation, Segmenter};
use libfuzzer_sys::fuzz_target;

fn segments<'a>(settings: &Segmentation, pieces: impl Iterator<Item = &'a str>) -> Vec<Segment> {
    let mut segmenter = Segmenter::new(settings.clone());
    let mut segments = Vec::new();
    let mut take =
        |segmenter: &mut Segmenter| segments.extend(std::iter::from_fn(|| segmenter.next_segment()));
    for piece in pieces {
        segmenter.push(piece);
        take(&mut segmenter);
    }
    segmenter.finish();
    take(&mut segmenter);
    assert_eq!(segmenter.buffered_chars(), 0);
    segments
}

fn squeezed<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    texts.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect()
}

fuzz_target!(|input: (u8, u8, u8, &str)| {
    let (how, max, size, text) = input;
    let language = ["en", "de", "fr", "ja", "zh-Hans", "xx", ""][usize::from(how >> 5) % 7];
    let settings = Segmentation {
        language: (how & 1 == 0).then(|| language.to_owned()),
        max_chars: usize::from(max).max(1),
        min_chars: if how & 2 == 0 { 0 } else { usize::from(max / 4) },
        first_clause: how & 4 == 0,
        clean: [Clean::None, Clean::Markdown, Clean::None, Clean::Html][usize::from(how >> 3 & 3)],
    };
    let whole = segments(&settings, std::iter::once(text));
    let size = usize::from(size).max(1);
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.char_indices().nth(size).map_or(rest.len(), |(at, _)| at);
        let (piece, more) = rest.split_at(end);
        pieces.push(piece);
        rest = more;
    }
    assert_eq!(whole, segments(&settings, pieces.into_iter()));
    for Segment { text: segment, .. } in &whole {
        assert!(!segment.is_empty() && segment.trim() == segment, "{segment:?}");
    }
    if settings.clean == Clean::None {
        assert_eq!(squeezed(whole.iter().map(|segment| segment.text.as_str())), squeezed(std::iter::once(text)));
    }
});
