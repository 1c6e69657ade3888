//! Steps through a text by byte positions, for the readers of all languages.

/// A reader of a text. A position outside of the text, or within a character, has no character.
pub(super) trait Walk<'a> {
    fn text(&self) -> &'a str;

    /// The character at a position.
    #[inline(never)]
    fn at(&self, at: usize) -> Option<char> {
        self.text().get(at..)?.chars().next()
    }

    /// The character before a position.
    #[inline(never)]
    fn before(&self, at: usize) -> Option<char> {
        self.text().get(..at)?.chars().next_back()
    }

    /// End of the run of such characters from a position on.
    fn run(&self, at: usize, is: impl Fn(char) -> bool) -> usize {
        let rest = self.text().get(at..).unwrap_or_default();
        at + rest.find(|c| !is(c)).unwrap_or(rest.len())
    }

    /// As `run`, for at most so many characters.
    fn short_run(&self, at: usize, most: usize, is: impl Fn(char) -> bool) -> usize {
        let rest = self.text().get(at..).unwrap_or_default();
        at + rest.chars().take(most).take_while(|c| is(*c)).map(char::len_utf8).sum::<usize>()
    }

    /// End of the digits from a position on.
    #[inline(never)]
    fn digits(&self, at: usize) -> usize {
        let bytes = self.text().as_bytes().get(at..).unwrap_or_default();
        at + bytes.iter().take_while(|byte| byte.is_ascii_digit()).count()
    }

    fn is_digit(&self, at: usize) -> bool {
        self.text().as_bytes().get(at).is_some_and(u8::is_ascii_digit)
    }
}
