//! Streamed text in, speakable segments (sentences) out.
//!
//! Knows no clock, session or engine. The text is read one character at a time and nothing else is looked at,
//! so where the stream was cut cannot matter: a decision that needs to see more waits for it as a [`Mark`].
//! What was read before a cut and belongs after it is read once more; every such rest is bounded, so time is
//! linear in the text.
//!
//! Why not a crate: of 75 sentences collected for this purpose the rules of UAX #29 (unicode-segmentation 1.13,
//! icu_segmenter 2.4) split 57 as a reader would, sentencex 0.1.33 split 61. All three want the whole text: for
//! each fragment that arrives they would have to be run again, and their last boundary may change with what
//! follows. UAX #29 knows no abbreviations; srx 0.1 brings no rules, only the reader for a file of them;
//! sentencex and icu_segmenter add 29 crates each, sentencex a command-line parser among them.

mod language;

use std::collections::VecDeque;
use std::ops::Range;

use language::{COMMON, Language, lists, terminator};

/// A run without white space is cut after this many characters: engines take quadratic time over one word.
const MAX_TOKEN_CHARS: usize = 200;
/// A segment is cut before the word after these: engines take quadratic time over one sentence.
const MAX_WORDS: usize = 40;
/// How far past a possible end a decision looks, at most: characters that are not words, letters of a word.
const MAX_SKIPPED: usize = 8;
const MAX_WORD_BYTES: usize = 32;

/// How text is cut into segments.
#[derive(Clone, Debug)]
pub struct Segmentation {
    /// Language of the text as a tag such as "de" or "pt-BR", of which only the first part counts.
    ///
    /// It selects the abbreviations. Default: none, which means English, as does a language without a table.
    pub language: Option<String>,
    /// Characters of the longest segment; a longer one is cut at the best place before. Default: 300.
    pub max_chars: usize,
    /// A sentence with fewer characters is joined with the next one, except by [`Segmenter::flush`] and
    /// [`Segmenter::finish`]. Default: 0, every sentence is a segment.
    pub min_chars: usize,
    /// Whether the first segment of the stream may end with a clause (comma, semicolon, colon, dash), so that
    /// its audio comes sooner. Default: no.
    pub first_clause: bool,
}

impl Default for Segmentation {
    fn default() -> Self {
        Segmentation { language: None, max_chars: 300, min_chars: 0, first_clause: false }
    }
}

/// Cuts a stream of text into segments: push fragments, take segments, finish.
///
/// The same text gives the same segments however it was divided into fragments. Apart from white space around
/// segments nothing is lost or changed.
#[derive(Debug)]
pub struct Segmenter {
    settings: Segmentation,
    language: &'static Language,
    ready: VecDeque<String>,
    ready_chars: usize,
    first: bool,
    /// The segment being read, from its first character that is not white space.
    buffer: String,
    chars: usize,
    scan: Scan,
    mark: Option<Mark>,
    #[cfg(test)]
    work: usize,
}

/// What is remembered of the buffer, so that it need not be read again. Positions are bytes of the buffer.
#[derive(Debug, Default)]
struct Scan {
    previous: Option<char>,
    words: usize,
    /// The current word, or none after white space, and the one before.
    token: Option<usize>,
    token_chars: usize,
    last_token: Range<usize>,
    sentence: Option<usize>,
    /// Whether the sentence began in lower case: its writer may not use capitals at all.
    begins_lower: Option<bool>,
    first_letter: Option<usize>,
    tag: Tag,
    /// Where a segment that is too long may be cut, best first: between short sentences that were joined,
    /// after a clause, between words, between characters.
    joint: usize,
    clause: usize,
    space: usize,
    character: usize,
}

/// Inside a markup tag such as `<break time="1.5s">` nothing ends a sentence.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Tag {
    #[default]
    Outside,
    Opened,
    Inside,
    Quoted(char),
}

/// A place where the segment may end, undecided until enough of what follows is known.
#[derive(Clone, Debug)]
struct Mark {
    kind: Kind,
    /// The word that the terminator follows, and the one before that.
    token: Range<usize>,
    before: Range<usize>,
    /// End of the terminators and of what belongs to them: closing quotes, emoji, closing tags.
    end: usize,
    gap: Gap,
    /// Where that which follows begins.
    next: usize,
    closed: bool,
}

/// What kind of end a [`Mark`] is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// A dot.
    Stop,
    Ellipsis,
    /// A question or exclamation mark.
    Strong,
    /// A terminator of a script that has no other use for it, with or without white space behind.
    Wide,
    /// The end of a line, and no terminator.
    Line,
}

/// White space after a [`Mark`].
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Gap {
    None,
    Space,
    Line,
    Paragraph,
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Wait,
    Cut,
    Keep,
    /// So many bytes more belong to the end.
    Extend(usize),
}

/// What a dot after a word means.
enum Dotted {
    /// Nothing special: the end, unless the next word is in lower case.
    Word,
    Leading,
    Numbered,
    Ending,
    /// Initials, "p.m.", ordinals: the end only before a word that begins sentences.
    Initial,
    /// "So do I.", unless another initial follows.
    Pronoun,
}

impl Segmenter {
    /// A segmenter at the beginning of a stream.
    pub fn new(settings: Segmentation) -> Segmenter {
        Segmenter {
            language: Language::of(settings.language.as_deref()),
            settings,
            ready: VecDeque::new(),
            ready_chars: 0,
            first: true,
            buffer: String::new(),
            chars: 0,
            scan: Scan::default(),
            mark: None,
            #[cfg(test)]
            work: 0,
        }
    }

    /// Takes the next piece of the text, which may begin and end anywhere.
    pub fn push(&mut self, fragment: &str) {
        for c in fragment.chars() {
            self.read(c);
        }
    }

    /// The next complete segment: trimmed, never empty.
    pub fn next_segment(&mut self) -> Option<String> {
        let segment = self.ready.pop_front()?;
        self.ready_chars -= segment.chars().count();
        Some(segment)
    }

    /// Completes what has been pushed as it stands, without waiting for what may follow. More text may.
    pub fn flush(&mut self) {
        while let Some(mark) = self.mark.take() {
            match self.decide(&mark, true) {
                Verdict::Cut => self.end_sentence(mark.end),
                Verdict::Extend(_) | Verdict::Keep | Verdict::Wait => {}
            }
        }
        self.emit(self.buffer.len());
    }

    /// Completes the last segments: no more text follows.
    pub fn finish(&mut self) {
        self.flush();
    }

    /// Characters pushed and not yet taken as segments, not counting white space around segments.
    pub fn buffered_chars(&self) -> usize {
        self.ready_chars + self.chars
    }

    fn read(&mut self, c: char) {
        #[cfg(test)]
        {
            self.work += 1;
        }
        if self.buffer.is_empty() && c.is_whitespace() {
            return;
        }
        let at = self.buffer.len();
        self.buffer.push(c);
        self.chars += 1;
        let clause = self.scan.read(c, at);
        if self.watch(c, at) {
            return;
        }
        if self.chars > self.settings.max_chars.max(1)
            || self.scan.token_chars > MAX_TOKEN_CHARS
            || self.scan.words > MAX_WORDS
        {
            self.emit(self.best_cut(c, at));
        } else if clause && self.first && self.settings.first_clause && self.is_first_clause() {
            self.emit(self.scan.clause);
        }
    }

    fn is_first_clause(&self) -> bool {
        let end = self.scan.clause;
        let chars = self.chars - self.buffer[end..].chars().count();
        self.mark.is_none() && self.speaks(end) && chars >= self.settings.min_chars
    }

    /// Follows possible ends of the sentence; true if this character decided one and it was cut there.
    fn watch(&mut self, c: char, at: usize) -> bool {
        let after = at + c.len_utf8();
        let space = match c {
            '\n' | '\u{85}' | '\u{2028}' => Gap::Line,
            '\u{c}' | '\u{2029}' => Gap::Paragraph,
            _ if c.is_whitespace() => Gap::Space,
            _ => Gap::None,
        };
        if let Some(mut mark) = self.mark.take() {
            if mark.next == at && (mark.follow(space, after) || mark.absorb(c, after, self.language)) {
                let paragraph = mark.gap == Gap::Paragraph;
                let end = mark.end;
                self.mark = Some(mark);
                if paragraph {
                    self.end_sentence(end);
                }
                return paragraph;
            }
            match self.decide(&mark, false) {
                Verdict::Wait => {
                    self.mark = Some(mark);
                    return false;
                }
                Verdict::Cut => {
                    self.end_sentence(mark.end);
                    return true;
                }
                Verdict::Extend(bytes) => {
                    mark.end = mark.next + bytes;
                    mark.gap = space;
                    mark.next = after;
                    mark.closed = true;
                    self.mark = Some(mark);
                    return false;
                }
                Verdict::Keep => {}
            }
        }
        if matches!(self.scan.tag, Tag::Outside | Tag::Opened) {
            let line = space >= Gap::Line && self.scan.sentence.is_some();
            let kind = if line { Some(Kind::Line) } else { terminator(c, self.language) };
            if let Some(kind) = kind {
                let (end, gap) = if kind == Kind::Line { (at, space) } else { (after, Gap::None) };
                let token = self.scan.token.unwrap_or(at).min(at)..at;
                let before = self.scan.last_token.clone();
                self.mark = Some(Mark { kind, token, before, end, gap, next: after, closed: false });
                if gap == Gap::Paragraph {
                    self.end_sentence(end);
                    return true;
                }
            }
        }
        false
    }

    /// Whether the segment ends at this mark, going by what has been read behind it. `complete`: no more comes.
    fn decide(&self, mark: &Mark, complete: bool) -> Verdict {
        let next = &self.buffer[mark.next..];
        let Some(begin) = next.chars().next() else { return Verdict::Keep };
        if next.starts_with('<') && !complete && next.len() <= MAX_WORD_BYTES && mark.gap < Gap::Line {
            if next.starts_with("</") || next == "<" {
                return if next.ends_with('>') { Verdict::Extend(next.len()) } else { Verdict::Wait };
            }
        }
        if mark.gap == Gap::None {
            return self.decide_unspaced(mark, next, begin, complete);
        }
        if mark.gap >= Gap::Line {
            match begins_item(next, complete) {
                None => return Verdict::Wait,
                Some(true) => return Verdict::Cut,
                Some(false) if mark.kind == Kind::Line => return Verdict::Keep,
                Some(false) => {}
            }
        }
        // A quote with white space on both sides closes; so does a dot in ". . .".
        if language::is_quote(begin) || begin == '.' && matches!(mark.kind, Kind::Stop | Kind::Ellipsis) {
            let mut rest = next.chars().skip(1);
            match rest.next() {
                None => return if complete { Verdict::Keep } else { Verdict::Wait },
                Some(c) if c.is_whitespace() => return Verdict::Extend(begin.len_utf8()),
                Some('.') if begin == '.' => return Verdict::Extend(2),
                Some(_) => {}
            }
        }
        // The name of a tag says nothing about the sentence.
        let skipped =
            if begin == '<' { None } else { next.find(char::is_alphanumeric) }.unwrap_or(next.len());
        let word = &next[skipped..];
        if word.is_empty() && complete {
            return Verdict::Keep; // nothing that could be spoken alone follows
        }
        if word.is_empty() && begin != '<' && !next.contains('\n') && next.chars().count() <= MAX_SKIPPED {
            return Verdict::Wait;
        }
        let bracketed = next[..skipped].contains(['(', '[']);
        self.decide_spaced(mark, word, bracketed, complete)
    }

    /// No white space follows: the end only in scripts that use none, or where it was forgotten ("end.Then").
    fn decide_unspaced(&self, mark: &Mark, next: &str, begin: char, complete: bool) -> Verdict {
        let after = next[begin.len_utf8()..].chars().next();
        if mark.kind == Kind::Wide || language::is_ideographic(begin) && mark.kind != Kind::Ellipsis {
            // Japanese reported speech goes on: 「はい。」と言った。
            let reported = mark.closed && (begin == 'と' || begin == 'っ');
            return if reported { Verdict::Keep } else { Verdict::Cut };
        }
        let token = &self.buffer[mark.token.clone()];
        let word = !mark.closed && token.len() <= MAX_WORD_BYTES && token.chars().all(char::is_alphabetic);
        match mark.kind {
            Kind::Strong if word && !token.is_empty() && begin.is_uppercase() => Verdict::Cut,
            // "Node.js" and "Main.Java" are names.
            Kind::Stop
                if word && begin.is_uppercase() && token.len() > 1 && !token.contains(char::is_uppercase) =>
            {
                match after {
                    Some(c) if c.is_lowercase() => Verdict::Cut,
                    None if !complete => Verdict::Wait,
                    _ => Verdict::Keep,
                }
            }
            _ => Verdict::Keep,
        }
    }

    /// White space follows, then this word, as far as it has been read.
    fn decide_spaced(&self, mark: &Mark, word: &str, bracketed: bool, complete: bool) -> Verdict {
        let first = word.chars().next().unwrap_or('-');
        let end = word.find(|c: char| !c.is_alphanumeric());
        let known = complete || word.is_empty() || end.is_some() || word.len() > MAX_WORD_BYTES;
        let name = &word[..end.unwrap_or(word.len())];
        // "iPhones" begins a sentence as well as "Phones" does.
        let lower = first.is_lowercase() && !name.contains(char::is_uppercase);
        let cut = |yes: bool| if yes { Verdict::Cut } else { Verdict::Keep };
        if first.is_lowercase() && !known && mark.kind != Kind::Wide {
            return Verdict::Wait;
        }
        // "(?)" and "[...]" are asides, not ends.
        if mark.closed && mark.token.is_empty() && self.buffer[..mark.token.start].ends_with(['(', '[']) {
            return Verdict::Keep;
        }
        let casual = self.scan.begins_lower == Some(true) && !mark.closed;
        match mark.kind {
            Kind::Line => Verdict::Keep,
            Kind::Wide | Kind::Strong => cut(!(lower && mark.closed)),
            Kind::Ellipsis => cut(first.is_uppercase()),
            Kind::Stop => match self.classify(mark) {
                Dotted::Word => cut(!lower || casual && mark.token.len() > 1),
                Dotted::Leading => Verdict::Keep,
                Dotted::Numbered if first.is_numeric() || lower || bracketed => Verdict::Keep,
                Dotted::Numbered if !known => Verdict::Wait,
                Dotted::Numbered => cut(!is_roman(name)),
                Dotted::Ending => cut(!lower && !first.is_numeric() && !bracketed),
                Dotted::Initial if bracketed => Verdict::Keep,
                Dotted::Initial | Dotted::Pronoun if !known => Verdict::Wait,
                // "J. A. Smith": a single letter with a dot is the next initial.
                Dotted::Initial | Dotted::Pronoun if name.len() == 1 && word[1..].starts_with('.') => {
                    Verdict::Keep
                }
                Dotted::Pronoun => cut(!lower),
                Dotted::Initial => cut(self.language.starters.split_ascii_whitespace().any(|s| s == name)),
            },
        }
    }

    fn classify(&self, mark: &Mark) -> Dotted {
        let token = self.buffer[mark.token.clone()].trim_start_matches(['\'', '’']);
        if token.is_empty() || token.len() > MAX_WORD_BYTES {
            return Dotted::Word;
        }
        let sentence = self.scan.sentence.unwrap_or(0);
        let begins = sentence == mark.token.start;
        let before = &self.buffer[mark.before.clone()];
        if token.bytes().all(|b| b.is_ascii_digit()) && token.len() <= 3 && (begins || before.ends_with(':'))
        {
            return Dotted::Leading; // "1. Wash hands."
        }
        let last = token.rsplit('.').next().unwrap_or(token);
        if self.language.ordinals && last.len() <= 2 && token.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        {
            return Dotted::Initial; // "3. Mai", "24.12. abends"
        }
        // A street comes after its name ("on Elm St."), a saint before it.
        let named = before.starts_with(char::is_uppercase) && mark.before.start > sentence;
        if token == "St" && named && !lists(language::PLACES, before) {
            return Dotted::Ending;
        }
        // Tables first: they know "e.g." and "bl.a." better than the pattern does.
        for language in [self.language, &COMMON] {
            if lists(language.leading, token) {
                return Dotted::Leading;
            } else if lists(language.numbered, token) {
                return Dotted::Numbered;
            } else if lists(language.ending, token) {
                return Dotted::Ending;
            }
        }
        if token == "I" && self.language.is("en") {
            return if begins { Dotted::Initial } else { Dotted::Pronoun };
        }
        let short = |part: &str| {
            let letters = part.trim_start_matches('-').chars();
            letters.clone().all(|c| c.is_lowercase() || c.is_uppercase())
                && (1..=2).contains(&letters.count())
        };
        let initials = last.trim_start_matches('-').chars().count() == 1 && token.split('.').all(short);
        if initials { Dotted::Initial } else { Dotted::Word }
    }

    /// Whether the buffer up to here has anything to speak.
    fn speaks(&self, end: usize) -> bool {
        self.scan.first_letter.is_some_and(|at| at < end)
    }

    /// A sentence ends here: with the segment, or within it if that is still too short.
    fn end_sentence(&mut self, end: usize) {
        let rest = self.buffer[end..].chars().count();
        if self.speaks(end) && self.chars - rest >= self.settings.min_chars {
            return self.emit(end);
        }
        let rest = self.detach(end);
        self.scan.words -= rest.split_whitespace().count().min(self.scan.words);
        self.scan.first_letter = self.scan.first_letter.filter(|&at| at < end);
        self.scan.space = self.scan.space.min(end);
        self.scan.clause = self.scan.clause.min(end);
        self.scan.character = self.scan.character.min(end);
        self.scan = Scan {
            joint: end,
            token: None,
            token_chars: 0,
            sentence: None,
            begins_lower: None,
            tag: Tag::Outside,
            previous: None,
            ..std::mem::take(&mut self.scan)
        };
        self.push(&rest);
    }

    /// Makes the buffer up to here a segment and reads the rest again, as the beginning of the next.
    fn emit(&mut self, end: usize) {
        let rest = self.detach(end);
        let segment = std::mem::take(&mut self.buffer);
        let segment = segment.trim();
        if !segment.is_empty() {
            self.ready_chars += segment.chars().count();
            self.ready.push_back(segment.to_owned());
            self.first = false;
        }
        self.chars = 0;
        self.scan = Scan::default();
        self.push(&rest);
    }

    fn detach(&mut self, end: usize) -> String {
        self.mark = None;
        let rest = self.buffer.split_off(end);
        self.chars -= rest.chars().count();
        rest
    }

    /// Where a segment that is too long ends, given its last character.
    fn best_cut(&self, c: char, at: usize) -> usize {
        let scan = &self.scan;
        if scan.token_chars <= MAX_TOKEN_CHARS {
            let mark = self.mark.as_ref().map_or(0, |m| m.end);
            // Not too early, or a long text falls into crumbs; this also bounds how much is read again.
            let good = |&end: &usize| end <= at && end * 3 >= at;
            if let Some(end) = [mark, scan.joint, scan.clause].into_iter().find(|end| *end > 0 && good(end)) {
                return end;
            }
            if scan.space > 0 {
                return scan.space;
            }
        }
        let attached = scan.character > 0 && at - scan.character <= MAX_WORD_BYTES;
        if attached && !c.is_whitespace() { scan.character } else { at }
    }
}

impl Mark {
    /// Takes white space that follows; false if this is none.
    fn follow(&mut self, space: Gap, after: usize) -> bool {
        if space == Gap::None {
            return false;
        }
        let blank_line = self.gap == Gap::Line && space == Gap::Line;
        self.gap = if blank_line || space > self.gap && space == Gap::Paragraph {
            Gap::Paragraph
        } else if space > self.gap {
            space
        } else {
            self.gap
        };
        self.next = after;
        true
    }

    /// Takes a character that belongs to the end itself; false if this one does not.
    fn absorb(&mut self, c: char, after: usize, language: &Language) -> bool {
        let belongs = match self.gap {
            Gap::None => match terminator(c, language) {
                Some(kind) => {
                    self.kind = match (self.kind, kind) {
                        (Kind::Stop | Kind::Ellipsis, Kind::Stop | Kind::Ellipsis) if !self.closed => {
                            Kind::Ellipsis
                        }
                        (Kind::Stop | Kind::Ellipsis, Kind::Strong | Kind::Wide) => kind,
                        (old, _) => old,
                    };
                    true
                }
                None if language::is_closer(c) => {
                    self.closed = true;
                    true
                }
                None => language::is_emoji(c) || language::extends(c),
            },
            // At the beginning of a line an emoji serves as a bullet.
            Gap::Space => language::is_emoji(c),
            Gap::Line | Gap::Paragraph => false,
        };
        if belongs {
            self.end = after;
            self.next = after;
        }
        belongs
    }
}

impl Scan {
    /// Takes the next character; true if a clause has just ended.
    fn read(&mut self, c: char, at: usize) -> bool {
        let after = at + c.len_utf8();
        let previous = self.previous.replace(c);
        if !self.stays_attached(c, at, previous) {
            self.character = at;
        }
        self.read_tag(c);
        if c.is_whitespace() {
            let Some(token) = self.token.take() else { return false };
            self.space = at;
            self.last_token = token..at;
            self.token_chars = 0;
            let dash = matches!(previous, Some('-' | '–')) && token + 3 >= at;
            let clause = dash || previous.is_some_and(language::ends_clause);
            if clause && self.tag == Tag::Outside {
                self.clause = at;
            }
            return self.clause == at && previous != Some(')');
        }
        if self.token.is_none() {
            self.token = Some(at);
            self.words += 1;
            self.sentence.get_or_insert(at);
        }
        self.token_chars += 1;
        if language::is_unspaced(c) {
            self.token_chars = 0;
            if language::is_ideographic(c) && self.character == at {
                self.space = at;
            }
        }
        if c.is_alphanumeric() {
            self.first_letter.get_or_insert(at);
            self.begins_lower.get_or_insert(c.is_lowercase());
        }
        if language::begins_word(c) {
            self.token = Some(after);
        }
        if language::ends_clause_unspaced(c) && self.tag == Tag::Outside {
            self.clause = after;
            return true;
        }
        false
    }

    fn read_tag(&mut self, c: char) {
        self.tag = match (self.tag, c) {
            (_, '<') => Tag::Opened,
            (Tag::Opened, 'a'..='z' | 'A'..='Z' | '/') => Tag::Inside,
            (Tag::Quoted(quote), _) if c == quote => Tag::Inside,
            (Tag::Quoted(quote), _) => Tag::Quoted(quote),
            (Tag::Inside, '"') => Tag::Quoted(c),
            // A terminator: this was no tag, but "a <b. Then".
            (Tag::Outside | Tag::Opened, _) | (Tag::Inside, '>' | '.' | '!' | '?') => Tag::Outside,
            (Tag::Inside, _) => Tag::Inside,
        };
    }

    /// Whether a cut before this character would separate it from the one before.
    fn stays_attached(&self, c: char, at: usize, previous: Option<char>) -> bool {
        let flag = |c: char| matches!(c, '\u{1f1e6}'..='\u{1f1ff}');
        match previous {
            None => false,
            Some('\u{200d}') => true,
            // The second half of a flag, unless the first is itself a second half.
            Some(p) if flag(p) && flag(c) => self.character + p.len_utf8() == at,
            Some(_) => language::extends(c) || language::is_closer(c) || language::is_punctuation(c),
        }
    }
}

/// Whether this line begins an item of a list, a heading or a line of dialogue; none if more must be seen.
fn begins_item(line: &str, complete: bool) -> Option<bool> {
    let undecided = if complete { Some(false) } else { None };
    let mut rest = line.chars();
    let label = match rest.next() {
        None => return undecided,
        Some('—' | '–') => return Some(true),
        Some('-' | '+' | '*' | '•' | '‣' | '◦' | '·' | '▪' | '●') => 1,
        Some('#') => line.chars().take_while(|c| *c == '#').count().min(6),
        Some(first) if first.is_ascii_alphanumeric() => {
            let digits = line.chars().take_while(char::is_ascii_digit).count().min(3);
            match line.chars().nth(digits.max(1)) {
                None => return undecided,
                Some('.') if digits > 0 => digits + 1,
                Some(')') => digits.max(1) + 1,
                Some(_) => return Some(false),
            }
        }
        Some(_) => return Some(false),
    };
    line.chars().nth(label).map(char::is_whitespace).or(undecided)
}

/// Whether this is a Roman numeral, as in "Art. IV"; "I" is more often the pronoun.
fn is_roman(word: &str) -> bool {
    word != "I" && !word.is_empty() && word.chars().all(|c| "IVXLCDM".contains(c))
}

#[cfg(test)]
mod tests;
