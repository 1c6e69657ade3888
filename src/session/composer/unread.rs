//! Text that is read a piece at a time.

use crate::text;
use serde::{Deserialize, Serialize};

/// Bytes of a piece: a few sentences. To read more than is spoken next holds up the first audio, and the other
/// connections of the thread.
pub(super) const PIECE_BYTES: usize = 512;

/// A text that is read in part.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Unread {
    text: String,
    /// Bytes of it that were read.
    read: usize,
}

impl Unread {
    /// Adds text to its end.
    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Characters that are not read yet.
    pub(super) fn chars(&self) -> usize {
        self.text[self.read..].chars().count()
    }

    /// The same, in UTF-16 units.
    pub(super) fn utf16_units(&self) -> u64 {
        self.text[self.read..].encode_utf16().count() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that are not read yet.
    pub(super) fn len(&self) -> usize {
        self.text.len() - self.read
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.text.capacity()
    }

    pub(super) fn clear(&mut self) {
        *self = Unread::default();
    }

    /// Hands the next piece to `read`.
    pub(super) fn read(&mut self, read: impl FnOnce(&str)) {
        let rest = &self.text[self.read..];
        let end = text::floor_char_boundary(rest, PIECE_BYTES);
        read(&rest[..end]);
        self.read += end;
        // What was read does not stay in memory, and each byte is moved once or twice at most.
        if self.read > self.text.len() / 2 {
            self.text.drain(..self.read);
            self.text.shrink_to_fit();
            self.read = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_text() {
        for text in ["", "a", "Hello. ", "näher\u{1f600}", "\u{1f600}"] {
            for times in [1, 2, 600, 5_000] {
                let whole = text.repeat(times);
                let (mut unread, mut pieces, mut left) = (Unread::default(), String::new(), whole.len());
                unread.push(&whole);
                assert_eq!(unread.chars(), whole.chars().count());
                while !unread.is_empty() {
                    unread.read(|piece| {
                        assert!(!piece.is_empty() && piece.len() <= PIECE_BYTES, "{}", piece.len());
                        pieces.push_str(piece);
                    });
                    assert_eq!(unread.len() + pieces.len(), whole.len());
                    assert!(unread.len() < left && unread.memory_bytes() <= 2 * unread.len() + PIECE_BYTES);
                    left = unread.len();
                }
                assert_eq!(pieces, whole);
            }
        }
    }
}
