//! Changing text into the words that are spoken: any text has a result of bounded length, and every position in
//! it has an origin, in order. The written words are in order, too.
#![no_main]

use aloud::unstable::normalize;
use libfuzzer_sys::fuzz_target;

const LANGUAGES: [&str; 5] = ["en", "de", "fr", "es", "ja"];

fuzz_target!(|data: &[u8]| {
    let Some((language, text)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(text);
    let spoken = normalize(&text, LANGUAGES[usize::from(*language) % LANGUAGES.len()]);
    assert!(spoken.text.len() <= (text.chars().count() * 8).max(128));
    let mut before = 0;
    for (at, _) in spoken.text.char_indices() {
        let origin = spoken.origin(at);
        assert!(before <= origin && text.is_char_boundary(origin));
        before = origin;
    }
    let mut end = 0;
    for word in spoken.words(&text) {
        assert!(end <= word.start && word.start < word.end && text.get(word.clone()).is_some());
        end = word.end;
    }
});
