//! Text that knows its source: for each character the range of the original that it stands for.

use super::language::ceil_char_boundary;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A range of the source, in UTF-16 units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) start: u64,
    /// At least 1.
    pub(crate) units: u32,
}

impl Span {
    /// The range of a character that begins at `start`.
    pub(crate) fn of(c: char, start: u64) -> Span {
        Span { start, units: c.len_utf16() as u32 }
    }

    pub(crate) fn end(self) -> u64 {
        self.start + u64::from(self.units)
    }

    /// The range from this one's start to the other's end.
    pub(crate) fn to(self, last: Span) -> Span {
        Span {
            start: self.start,
            units: last.end().saturating_sub(self.start).clamp(1, u64::from(u32::MAX)) as u32,
        }
    }
}

/// A part of a text with one rule for its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    /// Start in the text, in bytes.
    at: u64,
    /// Start in the source, in UTF-16 units.
    source: u64,
    /// Length of the range that every character of the part stands for; 0 if the part is copied from the source.
    units: u32,
}

impl Run {
    /// The source of the character `units` UTF-16 units behind the start of the part.
    fn span(&self, c: char, units: u64) -> Span {
        match self.units {
            0 => Span::of(c, self.source + units),
            fixed => Span { start: self.source, units: fixed },
        }
    }
}

/// The source of a text, in compact form: a few bytes for each place where text was removed or replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    runs: Vec<Run>,
    /// Length of the text, in bytes.
    length: u64,
    /// End of the source of the last character.
    end: u64,
}

impl Source {
    pub(crate) fn push(&mut self, c: char, span: Span) {
        let is_copy = span.units == c.len_utf16() as u32;
        let continues = self.runs.last().is_some_and(|run| match run.units {
            0 => is_copy && span.start == self.end,
            units => !is_copy && units == span.units && run.source == span.start,
        });
        if !continues {
            let units = if is_copy { 0 } else { span.units };
            self.runs.push(Run { at: self.length, source: span.start, units });
        }
        self.length += c.len_utf8() as u64;
        self.end = span.end();
    }

    /// The characters of the text, each with its source.
    fn spans<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (usize, char, Span)> + 'a {
        let (mut next, mut units, mut current) = (0, 0, Run { at: 0, source: 0, units: 0 });
        text.char_indices().map(move |(at, c)| {
            while let Some(run) = self.runs.get(next).filter(|run| run.at <= at as u64) {
                (next, units, current) = (next + 1, 0, *run);
            }
            let span = current.span(c, units);
            units += c.len_utf16() as u64;
            (at, c, span)
        })
    }

    /// Converts ranges of bytes of the text into ranges of the source. Empty if the source is not known.
    ///
    /// Time is linear in the text if the ranges are in order.
    pub(crate) fn ranges(&self, text: &str, ranges: &[Range<usize>]) -> Vec<Range<u64>> {
        if self.runs.is_empty() {
            return Vec::new();
        }
        let mut spans = self.spans(text).peekable();
        let mut last = 0;
        ranges
            .iter()
            .map(|range| {
                if range.start < last {
                    spans = self.spans(text).peekable();
                }
                last = range.end;
                while spans.next_if(|(at, ..)| *at < range.start).is_some() {}
                let start = spans.peek().map_or(self.end, |(_, _, span)| span.start);
                let mut end = start;
                while let Some((_, _, span)) = spans.next_if(|(at, ..)| *at < range.end) {
                    end = end.max(span.end());
                }
                start..end
            })
            .collect()
    }

    /// End of the source of the last character.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Removes the first character of the text.
    pub(crate) fn skip(&mut self, c: char) {
        let next = self.runs.get(1).map_or(self.length, |run| run.at);
        let bytes = c.len_utf8() as u64;
        if let Some(first) = self.runs.first_mut() {
            match next <= bytes {
                true => drop(self.runs.remove(0)),
                false if first.units == 0 => first.source += c.len_utf16() as u64,
                false => {}
            }
        }
        self.length -= bytes.min(self.length);
        self.runs.iter_mut().for_each(|run| run.at = run.at.saturating_sub(bytes));
    }

    /// Removes the source of the first `at` bytes of the text, and returns it.
    pub(crate) fn split_off_front(&mut self, text: &str, at: usize) -> Source {
        if self.length == 0 {
            return Source::default();
        }
        let count = self.runs.partition_point(|run| run.at < at as u64);
        let mut front = Source { runs: self.runs.drain(..count).collect(), length: at as u64, end: self.end };
        let is_inside = self.runs.first().is_none_or(|run| run.at > at as u64) && self.length > at as u64;
        if let Some(last) = front.runs.last() {
            let units = text[last.at as usize..at].encode_utf16().count() as u64;
            front.end =
                if last.units == 0 { last.source + units } else { last.source + u64::from(last.units) };
            if is_inside {
                let source = if last.units == 0 { last.source + units } else { last.source };
                self.runs.insert(0, Run { at: at as u64, source, units: last.units });
            }
        }
        self.length -= at as u64;
        self.runs.iter_mut().for_each(|run| run.at -= at as u64);
        front
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.runs.capacity() * size_of::<Run>()
    }
}

/// A text and its source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sourced {
    pub(crate) text: String,
    pub(crate) source: Source,
}

impl Sourced {
    pub(crate) fn push(&mut self, c: char, span: Span) {
        self.text.push(c);
        self.source.push(c, span);
    }

    /// The characters, each with its source.
    pub(crate) fn chars(&self) -> impl Iterator<Item = (char, Span)> + '_ {
        self.source.spans(&self.text).map(|(_, c, span)| (c, span))
    }

    /// Removes the first bytes of the text, and returns them: about as many as `most`.
    pub(crate) fn take_front(&mut self, most: usize) -> Sourced {
        let at = ceil_char_boundary(&self.text, most);
        if at == self.text.len() {
            return self.take();
        }
        Sourced { source: self.source.split_off_front(&self.text, at), text: self.text.drain(..at).collect() }
    }

    /// Removes the text, and returns it.
    pub(crate) fn take(&mut self) -> Sourced {
        std::mem::take(self)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.text.capacity() + self.source.memory_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text with removed and replaced parts: `a *b* &amp; 😀 c` without its marks.
    fn sample() -> Sourced {
        let mut sourced = Sourced::default();
        for (c, start, units) in [
            ('a', 0, 1),
            (' ', 1, 1),
            ('b', 3, 1),
            (' ', 5, 1),
            ('&', 6, 5),
            (' ', 11, 1),
            ('😀', 12, 2),
            (' ', 14, 1),
            ('c', 15, 1),
            ('d', 16, 9),
            ('e', 16, 9),
        ] {
            sourced.push(c, Span { start, units });
        }
        sourced
    }

    #[test]
    fn words_have_the_range_of_their_source() {
        let Sourced { text, source } = sample();
        let words: Vec<_> = crate::text::words::written(&text).collect();
        assert_eq!(source.ranges(&text, &words), [0..1, 3..4, 6..11, 12..14, 15..25]);
        assert_eq!(source.ranges(&text, &[words[3].clone(), words[0].clone()]), [12..14, 0..1]);
        assert_eq!(Source::default().ranges("a b", &words[..2]), []);
    }

    #[test]
    fn parts_keep_their_source() {
        let whole = sample();
        for at in whole.text.char_indices().map(|(at, _)| at).chain([whole.text.len()]) {
            let mut rest = whole.source.clone();
            let front = rest.split_off_front(&whole.text, at);
            let (a, b) = whole.text.split_at(at);
            let parts = [(a, front), (b, rest)];
            let spans =
                parts.iter().flat_map(|(text, source)| source.spans(text)).map(|(_, c, span)| (c, span));
            assert_eq!(spans.collect::<Vec<_>>(), whole.chars().collect::<Vec<_>>(), "{at}");
        }
    }
}
