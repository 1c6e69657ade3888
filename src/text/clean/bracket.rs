//! Square brackets: the text of links and images, marks of notes, boxes of tasks, and ordinary brackets.
//!
//! Text behind an undecided `[` or `|` is held back as pieces, in bounded memory.

use super::inline::Sink;
use crate::text::sourced::{Sourced, Span};
use serde::{Deserialize, Serialize};

/// Most characters behind an undecided mark. Then the text is written, with the mark as it is.
const MAX_PIECES: usize = 400;
/// Most brackets inside of each other. Deeper ones are text.
const MAX_DEPTH: usize = 32;
/// Longest word that is remembered.
const MAX_WORD: usize = 32;

/// Names in programs that brackets with a number may follow.
const ARRAYS: &str = "arr array args argv list lst data items index matrix vec vector values vals nums numbers row rows \
                      col cols buf buffer ptr str string text line lines result results input output tuple dict map \
                      table params names keys words tokens points nodes cells board grid stack queue heap cache memo";

/// Open brackets, and the text behind the first of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Brackets {
    pieces: Vec<Piece>,
    open: Vec<Bracket>,
    /// Open brackets that are too deep.
    deeper: usize,
    has_pipes: bool,
    /// The word that is being written.
    word: String,
    /// True if the last brackets were the checked box of a task.
    pub(super) is_checked: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Piece {
    kind: Kind,
    c: char,
    span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Text,
    /// A `[`, or the `!` before it.
    Open,
    Pipe,
    Cell,
    Dead,
    /// The marks and the address of a link around a `|`: text if that separates cells, else silent.
    Hidden,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Bracket {
    /// Position of its `[`; `None` once that is decided.
    piece: Option<usize>,
    is_image: bool,
    /// False in the text of a link, which holds no other link.
    is_active: bool,
    /// The character and the word before it.
    before: Option<char>,
    word: String,
    is_item_start: bool,
    /// True at the beginning of raised text.
    is_raised: bool,
}

impl Brackets {
    /// True if a `|` is undecided.
    pub(super) fn has_pipes(&self) -> bool {
        self.has_pipes
    }

    /// The word that is being written.
    pub(super) fn word(&self) -> &str {
        &self.word
    }

    /// A mark for the text that is held back: one that ends a sentence if the text ends with one.
    pub(super) fn undecided(&self) -> &'static str {
        match self.pieces.last() {
            None => "",
            Some(piece) if matches!(piece.c, '.' | '!' | '?' | '…') => ".",
            Some(_) => "[",
        }
    }

    fn is_pending(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// Writes a character, or holds it back behind an undecided mark.
    pub(super) fn put(&mut self, c: char, span: Span, sink: &mut Sink<'_>) {
        if c.is_alphanumeric() || c == '_' {
            if self.word.len() < MAX_WORD {
                self.word.push(c);
            }
        } else if c != '\u{ad}' {
            self.word.clear();
        }
        if self.is_pending() {
            self.push(Piece { kind: Kind::Text, c, span }, sink);
        } else {
            write(Piece { kind: Kind::Text, c, span }, sink);
        }
    }

    pub(super) fn put_cell(&mut self, span: Span, sink: &mut Sink<'_>) {
        self.word.clear();
        let piece = Piece { kind: Kind::Cell, c: '|', span };
        if self.is_pending() { self.push(piece, sink) } else { write(piece, sink) }
    }

    pub(super) fn push_pipe(&mut self, span: Span) {
        self.word.clear();
        self.has_pipes = true;
        self.pieces.push(Piece { kind: Kind::Pipe, c: '|', span });
    }

    fn push(&mut self, piece: Piece, sink: &mut Sink<'_>) {
        self.pieces.push(piece);
        if self.pieces.len() > MAX_PIECES {
            self.release(sink);
        }
    }

    /// Opens a bracket, that of an image if there was a `!` before it.
    pub(super) fn open(
        &mut self,
        span: Span,
        bang: Option<Span>,
        before: Option<char>,
        (is_item_start, is_raised): (bool, bool),
        sink: &mut Sink<'_>,
    ) {
        if let Some(span) = bang {
            self.pieces.push(Piece { kind: Kind::Open, c: '!', span });
        }
        if self.open.len() >= MAX_DEPTH {
            self.deeper += 1;
            return self.push(Piece { kind: Kind::Text, c: '[', span }, sink);
        }
        let word = std::mem::take(&mut self.word);
        let (piece, is_image) = (Some(self.pieces.len()), bang.is_some());
        self.open.push(Bracket { piece, is_image, is_active: true, before, word, is_item_start, is_raised });
        self.push(Piece { kind: Kind::Open, c: '[', span }, sink);
    }

    /// True if a `]` may end the text of a link.
    pub(super) fn may_be_link(&self) -> bool {
        self.deeper == 0 && self.open.last().is_some_and(|bracket| bracket.is_active)
    }

    /// Closes a bracket that is text.
    pub(super) fn close_text(&mut self) {
        if self.deeper > 0 {
            self.deeper -= 1;
        } else {
            self.open.pop();
        }
    }

    /// The text of the innermost bracket; `None` if it was written already.
    fn content(&self) -> Option<(usize, String)> {
        let start = self.open.last()?.piece?;
        let pieces = self.pieces.get(start + 1..)?;
        Some((
            start,
            pieces
                .iter()
                .filter(|piece| !matches!(piece.kind, Kind::Dead | Kind::Hidden))
                .map(|piece| piece.c)
                .collect(),
        ))
    }

    /// Ends the innermost brackets as those of a link. Returns the character before it if it was the mark of a
    /// note, which is silent.
    pub(super) fn end_as_link(&mut self, address: &Sourced, sink: &mut Sink<'_>) -> Option<Option<char>> {
        let content = self.content();
        let bracket = self.open.pop()?;
        let mut before = None;
        if let Some((start, text)) = content {
            let digits = text.trim_matches(|c| matches!(c, '[' | ']' | '(' | ')' | '^'));
            if !bracket.is_image && is_note(digits, &bracket, None) {
                self.kill(start..self.pieces.len());
                before = Some(bracket.before);
            }
            let has_cells = self.pieces[start..].iter().any(|piece| piece.kind == Kind::Pipe);
            let marks = start - usize::from(bracket.is_image)..start + 1;
            self.kill(marks.clone());
            if has_cells && self.pieces.len() + address.text.len() <= MAX_PIECES {
                self.pieces[marks].iter_mut().for_each(|piece| piece.kind = Kind::Hidden);
                let address = address.chars().map(|(c, span)| Piece { kind: Kind::Hidden, c, span });
                self.pieces.extend(address);
            }
        }
        if !bracket.is_image {
            for outer in self.open.iter_mut().filter(|outer| !outer.is_image) {
                outer.is_active = false;
                outer.piece = None;
            }
        }
        self.write_decided(sink);
        before
    }

    /// Ends the innermost brackets as text. If they are silent, the mark of a note for example, returns the
    /// character before them.
    pub(super) fn end_as_note(&mut self, next: Option<char>, sink: &mut Sink<'_>) -> Option<Option<char>> {
        self.is_checked = false;
        let content = self.content();
        let bracket = self.open.pop()?;
        let mut before = None;
        if let Some((start, text)) = content {
            let is_box = bracket.is_item_start
                && matches!(text.as_str(), " " | "x" | "X")
                && next.is_none_or(char::is_whitespace);
            if !bracket.is_image && (is_box || is_note(&text, &bracket, next)) {
                self.kill(start..self.pieces.len());
                before = Some(bracket.before);
                self.is_checked = is_box && text != " ";
                self.word = bracket.word;
            }
        }
        self.write_decided(sink);
        before
    }

    fn kill(&mut self, pieces: std::ops::Range<usize>) {
        self.pieces[pieces].iter_mut().for_each(|piece| piece.kind = Kind::Dead);
    }

    /// True if `[text][label]` is a link, judged by its label, since definitions come later.
    pub(super) fn is_reference(&self, label: &str) -> bool {
        let Some(bracket) = self.open.last() else { return false };
        let is_attached = bracket.before.is_some_and(|c| c.is_alphanumeric() || c == ']');
        let Some((_, text)) = self.content() else { return !is_attached };
        let (text, label) = (text.to_lowercase(), label.trim());
        let is_digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
        if label.is_empty() || label.starts_with('^') || bracket.is_image {
            return !label.starts_with('^');
        }
        // Behind the mark of a note, and with several words, it is more likely text: "[sic][emphasis added]".
        if is_attached || text.starts_with('^') || is_digits(&text) && is_digits(label) {
            return false;
        }
        let is_name = label.is_ascii()
            && label.len() > 1
            && !label.contains(|c: char| c.is_ascii_uppercase() || c == ' ');
        // No word is lost if the text has those of the label.
        let is_repeated = label
            .to_lowercase()
            .split_whitespace()
            .all(|word| text.split_whitespace().any(|known| known == word));
        is_digits(label) || is_name || is_repeated
    }

    /// Decides on the pipes: cells of a table's head, or text.
    pub(super) fn end_pipes(&mut self, is_table: bool, sink: &mut Sink<'_>) {
        if !std::mem::take(&mut self.has_pipes) {
            return;
        }
        for piece in &mut self.pieces {
            match piece.kind {
                Kind::Pipe => piece.kind = if is_table { Kind::Cell } else { Kind::Text },
                Kind::Hidden if is_table => piece.kind = Kind::Text,
                _ => {}
            }
        }
        self.write_decided(sink);
    }

    /// Writes what is held back, unless a mark in it is undecided.
    fn write_decided(&mut self, sink: &mut Sink<'_>) {
        if !self.has_pipes && self.open.iter().all(|bracket| bracket.piece.is_none()) {
            self.release(sink);
        }
    }

    /// Writes all that is held back, with undecided marks as they are. A link may still end.
    pub(super) fn release(&mut self, sink: &mut Sink<'_>) {
        for piece in self.pieces.drain(..) {
            write(piece, sink);
        }
        self.open.iter_mut().for_each(|bracket| bracket.piece = None);
        self.has_pipes = false;
    }

    /// Forgets open brackets at the end of a paragraph.
    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.deeper = 0;
        self.word.clear();
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.pieces.capacity() * size_of::<Piece>() + self.open.capacity() * (size_of::<Bracket>() + MAX_WORD)
    }
}

fn write(piece: Piece, sink: &mut Sink<'_>) {
    match (piece.kind, piece.c) {
        (Kind::Dead | Kind::Hidden, _) => {}
        (Kind::Cell, _) => sink.writer.begin_cell(piece.span, sink.out),
        (_, '\n') => sink.writer.end_line(piece.span, sink.out),
        (_, c) => sink.writer.put(c, piece.span, sink.out),
    }
}

/// True for the mark of a note: `[^a]` anywhere, `[4]` or `[1, 2]` right behind the word or sentence that it is
/// for.
fn is_note(text: &str, bracket: &Bracket, next: Option<char>) -> bool {
    if let Some(label) = text.strip_prefix('^') {
        return !label.is_empty() && text.len() <= 60 && !text.contains(char::is_whitespace);
    }
    if next.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '=')) {
        return false;
    }
    let before = match bracket.before {
        // A code may follow: "[4][5]".
        Some('[') | None => return false,
        Some(c) => c,
    };
    let is_word = before.is_alphanumeric();
    let is_ending = matches!(
        before,
        '.' | ',' | ';' | ':' | '!' | '?' | ')' | '"' | '”' | '’' | '\'' | '»' | '%' | '*' | '_' | '`'
    );
    if !is_word && !is_ending || is_word && !bracket.is_raised && is_code(&bracket.word) {
        return false;
    }
    let is_number = |part: &str| {
        (1..=3).contains(&part.len()) && part.chars().all(|c| c.is_ascii_digit()) && !part.starts_with('0')
    };
    if text.len() <= 40 && text.split([',', ';', '-', '–']).all(|part| is_number(part.trim())) {
        return true;
    }
    let named = text.split_once(' ').is_some_and(|(name, number)| {
        matches!(name, "note" | "n" | "nb" | "N" | "Note") && is_number(number)
    });
    let is_letter = text.len() == 1 && text.chars().all(|c| c.is_ascii_lowercase());
    named || is_letter && bracket.is_raised || is_letter && is_ending && !matches!(before, ')' | '_' | '`')
}

/// True for a name in a program, which an index may follow: `a[1]`, `my_list[2]`.
fn is_code(word: &str) -> bool {
    let is_digits = word.chars().all(|c| c.is_ascii_digit());
    let is_camel = word.chars().skip(1).any(char::is_uppercase) && word.chars().any(char::is_lowercase);
    let is_short = word.chars().count() <= 2 && word.is_ascii() && !is_digits;
    is_short || is_camel || word.contains('_') || ARRAYS.split_ascii_whitespace().any(|name| name == word)
}
