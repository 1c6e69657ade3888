//! Division of a passage into windows that are synthesised one after the other.

use std::ops::Range;

/// Frames of the first window: what the listener waits for.
const FIRST: usize = 24;

/// Most frames of a window. A listener that leaves, or another one, waits for no more than this.
const MOST: usize = 96;

/// Frames that a window is longer rather than that a smaller one follows.
const REST: usize = 32;

/// Returns the windows of the frames in `range`, in order and without gaps.
///
/// They depend on the range only, never on load: the sound of a frame depends a little on its window.
pub(super) fn windows(range: Range<usize>) -> Vec<Range<usize>> {
    let (mut at, mut length) = (range.start, FIRST);
    let mut windows = Vec::new();
    while at < range.end {
        let rest = range.end - at;
        let end = if rest <= length + REST.min(length) { range.end } else { at + length };
        windows.push(at..end);
        (at, length) = (end, (length * 2).min(MOST));
    }
    windows
}

/// A window with the frames around it that change it: `context` to each side, of so many frames in all.
pub(super) fn around(window: &Range<usize>, context: usize, frames: usize) -> Range<usize> {
    window.start.saturating_sub(context)..(window.end + context).min(frames)
}

/// The frames of this range out of rows that have all of them.
pub(super) fn columns(rows: &[f32], frames: usize, range: &Range<usize>) -> Vec<f32> {
    rows.chunks_exact(frames).flat_map(|row| &row[range.clone()]).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_every_frame_once_and_are_bounded() {
        for start in [0, 1, 17, 400] {
            for length in 0..=2_000 {
                let range = start..start + length;
                let windows = windows(range.clone());
                let mut at = range.start;
                for window in &windows {
                    assert_eq!(window.start, at, "{range:?}");
                    assert!(!window.is_empty() && window.len() <= MOST + REST, "{window:?} of {range:?}");
                    at = window.end;
                }
                assert_eq!(at, range.end);
                assert!(windows.first().is_none_or(|first| first.len() <= 2 * FIRST), "{range:?}");
            }
        }
        assert!(windows(5..5).is_empty());
    }

    #[test]
    fn a_short_sentence_is_not_cut_into_crumbs() {
        let lengths = |frames| windows(0..frames).iter().map(Range::len).collect::<Vec<_>>();
        assert_eq!(lengths(40), [40]);
        assert_eq!(lengths(104), [24, 80]);
        assert_eq!(lengths(246), [24, 48, 96, 78]);
    }
}
