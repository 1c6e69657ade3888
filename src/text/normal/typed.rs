//! Words as people type them in a hurry: "gr8", "gov't", "r u". Moves of chess. And transcriptions, which stay as they are.

use super::abbreviations::lists;
use super::english::Reader;
use super::walk::Walk;
use crate::text::language::floor_char_boundary;
use std::ops::Range;

/// Words with a figure for a sound, and words with a mark for what is left out. Each with what it stands for.
const SHORT: &str = "gr8 great;gn8 good night;b4 before;l8 late;l8r later;w8 wait;w8ing waiting;str8 straight;2nite tonight;2night tonight;\
     2day today;2moro tomorrow;2morrow tomorrow;4ever forever;4u for you;2u to you;g2g got to go;\
     gov't government;int'l international;nat'l national;ass'n association;dep't department;req'd required;\
     rec'd received;cont'd continued;add'l additional;comm'n commission;comm'r commissioner;sec'y secretary;\
     ass't assistant;att'y attorney;att'n attention;prof'l professional;reg'l regional;b'day birthday;\
     ack'd acknowledged;est'd established;app'd approved;enc'l enclosed;eng'r engineer;mem'l memorial;\
     org'n organization;pm't payment;acc't account;am't amount;gen'l general;pres't president;rep't report;\
     sup't superintendent;supp't supplement;recd received;chg'd charged;del'd delivered";

/// The phrase of a chat that letters stand for.
fn phrase_of(letters: &str) -> Option<&'static str> {
    Some(match letters {
        "brb" => "be right back",
        "bbl" => "be back later",
        "gtg" => "got to go",
        "omw" => "on my way",
        "ttyl" => "talk to you later",
        "lmk" => "let me know",
        "btw" => "by the way",
        "idk" => "I don't know",
        "idc" => "I don't care",
        "ikr" => "I know, right",
        "imo" => "in my opinion",
        "imho" => "in my humble opinion",
        "tbh" => "to be honest",
        "tbf" => "to be fair",
        "ngl" => "not gonna lie",
        "nvm" => "never mind",
        "afaik" => "as far as I know",
        "afk" => "away from keyboard",
        "iirc" => "if I recall correctly",
        "fwiw" => "for what it's worth",
        "icymi" => "in case you missed it",
        "omg" => "oh my god",
        "smh" => "shaking my head",
        "wbu" => "what about you",
        "hbu" => "how about you",
        "wyd" => "what are you doing",
        "hmu" => "hit me up",
        "nbd" => "no big deal",
        "fyi" => "for your information",
        "irl" => "in real life",
        "tysm" => "thank you so much",
        "ofc" => "of course",
        "ftw" => "for the win",
        "tmrw" => "tomorrow",
        "tmr" => "tomorrow",
        "tonite" => "tonight",
        "tho" => "though",
        "cuz" => "because",
        "obv" => "obviously",
        "sry" => "sorry",
        "wfh" => "working from home",
        "tldr" => "too long, didn't read",
        "mtg" => "meeting",
        "msg" => "message",
        "np" => "no problem",
        "ty" => "thank you",
        "yw" => "you're welcome",
        "gn" => "good night",
        "gm" => "good morning",
        "kk" => "okay",
        "jk" => "just kidding",
        "rn" => "right now",
        "abt" => "about",
        _ => return None,
    })
}

/// Those that are words, or other letters, in capitals.
const SMALL_ONLY: &str = "np ty yw gn gm kk jk rn smh tho cuz obv mtg msg tmr wfh hmu ftw irl fyi";

/// Words beside "u" that show a person.
const BESIDE_YOU: &str = "r c do did can could will would should if when see know want have love like need get got think hope thank \
     miss hate tell ask call text are were am go going gone coming come up ok okay too there guys free home that what \
     where how why so but and hey hi for to with before after than 4 b4 ready doing mean feel had said been alright around later pay see give help \
                          let meet send bring make keep back about abt from";

impl Reader<'_> {
    /// A phrase of a chat at a position, "brb", and its end.
    pub(super) fn phrase(&mut self, at: usize, end: usize) -> Option<usize> {
        let word = &self.s[at..end];
        if !matches!(word.len(), 2..=6)
            || self.at(end).is_some_and(|c| c.is_alphanumeric() || "'’-_/=(".contains(c))
        {
            return None;
        }
        let mut letters = [0; 6];
        let letters = &mut letters[..word.len()];
        letters.copy_from_slice(word.as_bytes());
        letters.make_ascii_lowercase();
        let small = std::str::from_utf8(letters).ok()?;
        let words = phrase_of(small)?;
        let is_small = small == word;
        let is_written = is_small || word.bytes().all(|b| b.is_ascii_uppercase()) || word[1..] == small[1..];
        let is_glued = matches!(self.before(at), Some('.' | '/' | '@' | '#' | '_' | '-' | '\\' | '='))
            || self.at(end) == Some('.') && self.at(end + 1).is_some_and(char::is_alphanumeric);
        if is_glued || !is_written || !is_small && lists(SMALL_ONLY, small) {
            return None;
        }
        // "np, see you", but "import numpy as np"
        if word.len() == 2 {
            let begins = self.left(at).trim_end().chars().next_back().is_none_or(|c| !c.is_alphanumeric());
            let ends = self.at(self.skip_space(end)).is_none_or(|c| !c.is_alphanumeric());
            let before = self.word_near(at, 0);
            let is_last = ends
                && !before.is_empty()
                && !lists("as import the a an my your this that to of in by", before);
            if if small == "rn" { begins || !ends } else { !begins && !is_last } {
                return None;
            }
        }
        self.say(at..end, words);
        Some(end)
    }

    /// A short form at a position, and its end.
    pub(super) fn typed(&mut self, at: usize) -> Option<usize> {
        let run = self.short_run(at, 10, |c| c.is_ascii_alphanumeric() || matches!(c, '\'' | '’'));
        let written = self.s.get(at..run).filter(|written| written.len() <= 9)?;
        if written.len() <= 2 && !written.contains(|c: char| c.is_ascii_digit()) {
            let words = self.pronoun(at, run)?;
            self.say(at..run, words);
            return Some(run);
        }
        let small = written.to_ascii_lowercase().replace('’', "'");
        let (_, words) =
            SHORT.split(';').filter_map(|short| short.split_once(' ')).find(|(short, _)| *short == small)?;
        // "B4" is paper, and a square of a board.
        let is_other = small.len() == 2
            && (small != written
                || self.s[..at].trim_end().ends_with(|c: char| c.is_ascii_digit() || c == '.')
                || lists("square on to at pawn cell row column vitamin room", self.word_near(at, 0)));
        if is_other || matches!(self.at(run), Some('-' | '_')) || matches!(self.before(at), Some('-' | '_')) {
            return None;
        }
        self.say(at..run, words);
        Some(run)
    }

    /// "u" for "you", "r" for "are" and "c" for "see", with such a word beside.
    fn pronoun(&self, at: usize, end: usize) -> Option<&'static str> {
        const PEOPLE: &str = "u you we they ya ur";
        if matches!(self.at(end), Some('.')) && self.is_letter(end + 1) {
            return None;
        }
        let (before, after) = (self.word_near(at, 0), self.word_behind(end));
        match &self.s[at..end] {
            "u" | "U" if lists(BESIDE_YOU, &before.to_ascii_lowercase()) || lists(BESIDE_YOU, after) => {
                Some("you")
            }
            "ur" => Some("your"),
            "r" | "R" if lists(PEOPLE, &before.to_ascii_lowercase()) || lists("u ya", after) => Some("are"),
            "c" | "C" if lists("u ya", after) => Some("see"),
            _ => None,
        }
    }
}

impl Reader<'_> {
    /// A move of chess behind its number or another move: "1. Nf3 Nc6", "exd5", "O-O".
    pub(super) fn chess(&mut self, at: usize) -> Option<usize> {
        let run = self.short_run(at, 8, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '='));
        let written = self.s.get(at..run).filter(|written| written.len() <= 7)?;
        let left = self.left(at).trim_end();
        let last = left.rsplit(' ').next().unwrap_or_default().trim_end_matches(['+', '#', '!', '?']);
        let number = last.trim_end_matches(['.', '…']);
        let is_numbered = number.len() < last.len() && number.ends_with(|c: char| c.is_ascii_digit());
        let is_glued = left.len() == self.left(at).len();
        let follows = !is_glued && is_move(last.rsplit(['.', '…']).next().unwrap_or_default());
        // "played Nf3 Nc6"
        let marks = self.short_run(run, 2, |c| matches!(c, '+' | '#' | '!' | '?'));
        let next = self.skip_space(marks);
        let other =
            &self.s[next..self.short_run(next, 8, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '='))];
        let leads = next > marks
            && written.starts_with(|c: char| c.is_ascii_uppercase())
            && other.starts_with(|c: char| c.is_ascii_uppercase())
            && is_move(other);
        if !is_numbered && !follows && !leads || !is_move(written) {
            return None;
        }
        let mut end = at;
        if written.starts_with('O') {
            self.say(at..run, if written.len() > 3 { "castles queenside" } else { "castles" });
            end = run;
        } else {
            let piece = match written.as_bytes()[0] {
                b'N' => "knight",
                b'B' => "bishop",
                b'R' => "rook",
                b'Q' => "queen",
                b'K' => "king",
                _ => "",
            };
            if !piece.is_empty() {
                self.say(at..at + 1, piece);
                end = at + 1;
            }
            if let Some(takes) = written.find('x') {
                self.say(at + takes..at + takes + 1, "takes");
            }
            end = end.max(run);
        }
        let words = match self.at(run) {
            Some('+') => "check",
            Some('#') => "mate",
            _ => return Some(end),
        };
        self.say(run..run + 1, words);
        Some(run + 1)
    }
}

/// True for a move as players write it: "e4", "Nf3", "Rad1", "exd5", "e8=Q", "O-O".
#[inline(never)]
fn is_move(written: &str) -> bool {
    if matches!(written, "O-O" | "O-O-O") {
        return true;
    }
    let plain = written
        .split_once('=')
        .map_or(written, |(plain, _)| plain)
        .trim_start_matches(['K', 'Q', 'R', 'B', 'N']);
    let bytes = plain.as_bytes();
    written.len() - plain.len() <= 3
        && (2..=5).contains(&plain.len())
        && matches!(bytes, [.., b'a'..=b'h', b'1'..=b'8'])
        && bytes.iter().all(|b| matches!(b, b'a'..=b'h' | b'1'..=b'8' | b'x'))
}

/// The transcription of sounds that begins at a position, with its slashes or brackets: "/həˈləʊ/", "[ˈwɔːtə]".
#[inline(never)]
pub(crate) fn transcription(text: &str, at: usize) -> Option<Range<usize>> {
    const MOST: usize = 80;
    let close = match text.as_bytes().get(at)? {
        b'/' => '/',
        b'[' => ']',
        _ => return None,
    };
    let before = text[..at].chars().next_back();
    if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '/' | ':' | '.')) {
        return None;
    }
    let rest = &text[at + 1..floor_char_boundary(text, at + MOST)];
    let inner = &rest[..rest.find(close)?];
    let end = at + inner.len() + 2;
    let is_sound = |c: char| {
        c.is_alphabetic()
            || matches!(c, '\u{2b0}'..='\u{36f}' | '.' | ' ' | '-' | '(' | ')' | '‿' | '|' | '~' | ',')
    };
    // Letters of sounds alone, without those that languages are written with too.
    let is_sure = |c: char| matches!(c, 'ˈ' | 'ˌ' | 'ː' | '\u{250}'..='\u{2af}' if !matches!(c, 'ə' | 'ɛ' | 'ɔ' | 'ɓ' | 'ɗ' | 'ɖ' | 'ɣ' | 'ɩ'));
    let is_known =
        inner.contains(is_sure) || close == '/' && inner.contains(['ə', 'ɛ', 'ɔ', 'ŋ', 'θ', 'ð', 'æ']);
    let is_apart = !text[end..].starts_with(char::is_alphanumeric);
    (is_known && is_apart && inner.chars().all(is_sound) && !inner.starts_with(' ')).then_some(at..end)
}
