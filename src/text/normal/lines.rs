//! Lines that are drawn with marks: they are silent.

use super::english::Reader;
use super::walk::Walk;

/// Runs of at least this many equal marks are no signs but lines.
const LINE: usize = 3;

impl Reader<'_> {
    /// End of a line of equal marks, with or without spaces between them. `None` if there is none.
    pub(super) fn line(&self, at: usize, mark: char) -> Option<usize> {
        let is_mark = matches!(
            mark,
            '_' | '=' | '*' | '~' | '#' | '+' | '-' | '|' | '^' | '<' | '>' | '/' | '\\' | '%' | '$' | '@'
        );
        if !is_mark {
            return None;
        }
        let run = self.run(at, |c| c == mark);
        // "+-----+-----+"
        let drawn = self.run(at, |c| matches!(c, '+' | '-' | '=' | '|'));
        if drawn - at > LINE
            && matches!(mark, '+' | '-' | '=' | '|')
            && ["---", "==="].iter().any(|line| self.s[at..drawn].contains(line))
        {
            return Some(drawn);
        }
        if run - at >= LINE {
            return Some(run);
        }
        if self.before(at).is_some_and(|c| !c.is_whitespace()) {
            return None;
        }
        // "* * *"
        let (mut count, mut end, mut next) = (0, at, at);
        while self.at(next) == Some(mark) && self.at(next + 1).is_none_or(char::is_whitespace) {
            (count, end) = (count + 1, next + 1);
            next = self.skip_space(end);
        }
        (count >= LINE).then_some(end)
    }
}
