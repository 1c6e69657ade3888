//! Cells of a table that tabs separate, for engines that would say them in one breath.

use std::ops::Range;

/// Returns the text with a comma between cells; `None` if it has no cells.
pub(crate) fn phrases(text: &str) -> Option<String> {
    if !text.contains('\t') {
        return None;
    }
    let mut spoken = String::with_capacity(text.len() + 16);
    let mut at = 0;
    for gap in gaps(text) {
        spoken.push_str(&text[at..gap.start]);
        spoken.push_str(separator(text, &gap));
        at = gap.end;
    }
    spoken.push_str(&text[at..]);
    Some(spoken)
}

/// Returns the range in `text` for a range in its [`phrases`]. A comma belongs to no word.
pub(crate) fn written(text: &str, range: Range<usize>) -> Range<usize> {
    let position = |spoken: usize| {
        // Ends of the last gap before the position, in both texts.
        let (mut in_text, mut in_spoken) = (0, 0);
        for gap in gaps(text) {
            let start = in_spoken + (gap.start - in_text);
            if spoken <= start {
                break;
            }
            let end = start + separator(text, &gap).len();
            if spoken < end {
                return gap.start;
            }
            (in_text, in_spoken) = (gap.end, end);
        }
        in_text + (spoken - in_spoken)
    };
    position(range.start)..position(range.end)
}

/// White space with a tab.
fn gaps(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let tab = at + text[at..].find('\t')?;
        let start = text[..tab].trim_end().len();
        let end = text.len() - text[tab..].trim_start().len();
        at = end;
        Some(start..end)
    })
}

fn separator(text: &str, gap: &Range<usize>) -> &'static str {
    let follows_word = text[..gap.start].ends_with(|c: char| c.is_alphanumeric() || ")%\"”’".contains(c));
    let is_between = gap.end < text.len() && !text[gap.clone()].contains('\n');
    if follows_word && is_between { ", " } else { " " }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_phrases_and_their_words_are_found() {
        for (text, expected) in [
            ("Name\tAge\tCity", "Name, Age, City"),
            ("Name: \t Ana", "Name: Ana"),
            ("Größe\t\t5 %\t", "Größe, 5 % "),
            ("a\n\tb", "a b"),
        ] {
            let spoken = phrases(text).unwrap();
            assert_eq!(spoken, expected);
            let words = |text: &str| crate::text::words::written(text).collect::<Vec<_>>();
            let mapped: Vec<_> = words(&spoken).into_iter().map(|range| written(text, range)).collect();
            assert_eq!(mapped, words(text), "{text:?}");
        }
        assert_eq!(phrases("No cells here."), None);
    }
}
