//! Verses of the Bible: "Ps. 23", "Gen. 1:1–3", "1 Cor. 13:4".

use super::abbreviations::lists;
use super::amount::Amount;
use super::english::Reader;
use super::numbers;
use super::walk::Walk;

/// The name of a book by its abbreviation.
fn book(word: &str) -> Option<&'static str> {
    Some(match word {
        "Gen" | "Gn" => "Genesis",
        "Exod" | "Ex" => "Exodus",
        "Lev" => "Leviticus",
        "Num" => "Numbers",
        "Deut" | "Dt" => "Deuteronomy",
        "Josh" => "Joshua",
        "Judg" | "Jdg" => "Judges",
        "Sam" => "Samuel",
        "Kgs" => "Kings",
        "Chr" | "Chron" => "Chronicles",
        "Neh" => "Nehemiah",
        "Esth" => "Esther",
        "Ps" | "Psa" => "Psalm",
        "Pss" => "Psalms",
        "Prov" | "Prv" => "Proverbs",
        "Eccl" | "Eccles" => "Ecclesiastes",
        "Isa" => "Isaiah",
        "Jer" => "Jeremiah",
        "Lam" => "Lamentations",
        "Ezek" => "Ezekiel",
        "Dan" => "Daniel",
        "Hos" => "Hosea",
        "Mic" => "Micah",
        "Hab" => "Habakkuk",
        "Zech" => "Zechariah",
        "Mal" => "Malachi",
        "Matt" | "Mt" => "Matthew",
        "Mk" => "Mark",
        "Lk" => "Luke",
        "Jn" => "John",
        "Rom" => "Romans",
        "Cor" => "Corinthians",
        "Gal" => "Galatians",
        "Eph" => "Ephesians",
        "Phil" => "Philippians",
        "Col" => "Colossians",
        "Thess" | "Thes" => "Thessalonians",
        "Tim" => "Timothy",
        "Heb" => "Hebrews",
        "Jas" => "James",
        "Pet" => "Peter",
        "Rev" => "Revelation",
        _ => return None,
    })
}

/// Books with a number, such as "1 Corinthians".
const NUMBERED: &str = "Samuel Kings Chronicles Corinthians Thessalonians Timothy Peter John";

/// Abbreviations of books that have other meanings before a figure, and names.
const NO_CHAPTERS: &str = "Ex Num Col Rev Mt Mk Sam Dan Tim Phil Josh Cor Chr";

/// Books whose name is written out.
const BOOKS: &str = "Surah Sura Quran Genesis Exodus Leviticus Numbers Deuteronomy Joshua Judges Ruth Ezra Nehemiah Esther Job \
     Psalm Psalms Proverbs Ecclesiastes Isaiah Jeremiah Lamentations Ezekiel Daniel Hosea Joel Amos Obadiah Jonah \
     Micah Nahum Habakkuk Zephaniah Haggai Zechariah Malachi Matthew Mark Luke John Acts Romans Galatians \
     Ephesians Philippians Colossians Titus Philemon Hebrews James Jude Revelation";

impl Reader<'_> {
    /// The name of a book and its chapter, with the verses behind.
    pub(super) fn book(&mut self, at: usize, end: usize) -> Option<usize> {
        let word = &self.s[at..end];
        let stop = end + usize::from(self.at(end) == Some('.'));
        let chapter = self.skip_space(stop);
        if chapter == stop || !self.is_digit(chapter) {
            return None;
        }
        let name = match book(word) {
            Some(name) => name,
            None if lists(BOOKS, word) || lists(NUMBERED, word) => word,
            None => return None,
        };
        let chapter_end = self.digits(chapter);
        let verse = self.digits(chapter_end + 1);
        let has_verse = self.at(chapter_end) == Some(':')
            && (chapter_end + 2..=chapter_end + 4).contains(&verse)
            && chapter_end <= chapter + 3
            && self.at(verse) != Some(':');
        // "Dan 5:30" may be a time. A verse is no "05".
        let digits = self.s.get(chapter_end + 1..verse).unwrap_or_default();
        let is_time = has_verse
            && stop == end
            && name != word
            && digits.len() == 2
            && numbers::value(digits) < Some(60)
            && self.dash(verse).is_none()
            && !lists("1 2 3", self.s[..at].trim_end().rsplit(' ').next().unwrap_or_default());
        if is_time || digits.starts_with('0') {
            return None;
        }
        // A psalm is cited without its verses, and so is a chapter behind a full stop: "Rom. 8".
        let is_chapter = stop > end && chapter_end <= chapter + 3 && !lists(NO_CHAPTERS, word);
        let is_cited = has_verse || name != word && (name.starts_with("Psalm") || is_chapter);
        if !is_cited {
            return None;
        }
        let name = name.to_owned();
        self.say(at..stop, &name);
        if !has_verse {
            return Some(stop);
        }
        let mut words = String::new();
        numbers::cardinal(&mut words, &self.s[chapter..chapter_end]);
        numbers::number(&mut words, numbers::value(&self.s[chapter_end + 1..verse])?);
        self.say(chapter..verse, &words);
        self.figure_end = verse;
        let Some(last) = self.range(verse) else { return Some(verse) };
        // "Gen. 1:1–2:3"
        let (chapter, end) = (self.digits(last), self.digits(self.digits(last) + 1));
        if self.at(chapter) == Some(':')
            && (chapter + 2..=chapter + 4).contains(&end)
            && self.at(end) != Some(':')
        {
            let mut words = String::new();
            numbers::cardinal(&mut words, &self.s[last..chapter]);
            numbers::number(&mut words, numbers::value(&self.s[chapter + 1..end])?);
            self.say(last..end, &words);
            return Some(end);
        }
        Some(last)
    }

    /// The number of a book: "1 Cor. 13:4" is of the first letter.
    pub(super) fn numbered_book(&mut self, at: usize, amount: Amount<'_>) -> Option<usize> {
        let number = amount.value().filter(|number| (1..=3).contains(number))?;
        let word = self.skip_space(amount.end);
        let word_end = self.letters(word);
        let name = &self.s[word..word_end];
        let chapter = self.skip_space(word_end + usize::from(self.at(word_end) == Some('.')));
        let chapter_end = self.digits(chapter);
        let is_cited =
            chapter_end > chapter && self.at(chapter_end) == Some(':') && self.is_digit(chapter_end + 1);
        if word == amount.end || !is_cited || !lists(NUMBERED, book(name).unwrap_or(name)) {
            return None;
        }
        let mut words = String::new();
        numbers::ordinal(&mut words, number);
        self.say(at..amount.end, &words);
        Some(amount.end)
    }
}
