//! Compares the cleaner with pulldown-cmark: no word that it calls text is missing.

use super::{Cleaner, characters, clean};
use crate::text::clean::element::{self, Element};
use pulldown_cmark::{BrokenLink, CodeBlockKind, Event, LinkType, Options, Parser, Tag, TagEnd};

/// Documents of many kinds, separated by lines of `%%`.
const DOCUMENTS: &str = include_str!("documents.md");

/// Returns the text of Markdown according to pulldown-cmark, without what is silent on purpose: fenced code,
/// notes, addresses, and the content of scripts. Indented code is text, and its marks are markup.
fn text(markdown: &str) -> String {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS;
    let (mut text, mut html, mut silent) = (String::new(), String::new(), 0);
    let mut indented: Option<String> = None;
    // A definition may follow in the part of the text that was not read yet.
    let define = |link: BrokenLink<'_>| {
        let is_full = matches!(link.link_type, LinkType::Reference | LinkType::Collapsed);
        let is_note = link.reference.chars().all(|c| c.is_ascii_digit());
        (is_full && !is_note).then(|| ("u".into(), "".into()))
    };
    for event in Parser::new_with_broken_link_callback(markdown, options, Some(define)) {
        if !matches!(event, Event::Html(_)) && !html.is_empty() {
            text.push_str(&in_html(&std::mem::take(&mut html)));
        }
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(_)) | Tag::FootnoteDefinition(_)) => {
                text.push(' ');
                silent += 1;
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Indented)) if silent > 0 => silent += 1,
            Event::Start(Tag::CodeBlock(CodeBlockKind::Indented)) => indented = Some(String::new()),
            Event::End(TagEnd::CodeBlock) if indented.is_some() => {
                for line in indented.take().unwrap_or_default().lines() {
                    text.push(' ');
                    text.push_str(&self::text(line.trim_start()));
                }
            }
            Event::Text(part) if indented.is_some() => indented.as_mut().unwrap().push_str(&part),
            Event::End(TagEnd::CodeBlock | TagEnd::FootnoteDefinition) if silent > 0 => silent -= 1,
            Event::Text(part) | Event::Code(part) if silent == 0 => text.push_str(&part),
            Event::Html(part) if silent == 0 => html.push_str(&part),
            Event::InlineHtml(tag) => {
                // An unknown tag is spoken, between other words.
                let name = tag.trim_start_matches(['<', '/']).split(|c: char| !c.is_alphanumeric()).next();
                let is_apart = element::of(name.unwrap_or_default()) != Some(Element::Inline);
                text.push_str(if is_apart && !tag.starts_with("<!") { " " } else { "" });
            }
            Event::SoftBreak | Event::HardBreak | Event::Rule => text.push(' '),
            Event::Start(
                Tag::Emphasis | Tag::Strong | Tag::Strikethrough | Tag::Link { .. } | Tag::Image { .. },
            )
            | Event::End(
                TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough | TagEnd::Link | TagEnd::Image,
            ) => {}
            Event::Start(_) | Event::End(_) => text.push(' '),
            _ => {}
        }
    }
    text.push_str(&in_html(&html));
    text
}

/// Returns the text of a block of HTML, in which Markdown is markup too.
fn in_html(html: &str) -> String {
    let inner = without_tags(html);
    if html.contains('<') { self::text(inner.trim_start()) + " " } else { inner }
}

/// Removes the tags and comments of HTML, and the content of scripts and styles.
fn without_tags(html: &str) -> String {
    let (mut text, mut rest) = (String::new(), html);
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        let end = ["!--", "script", "style"].iter().find(|name| tag.to_lowercase().starts_with(**name));
        let end = match end {
            Some(&"!--") => "-->",
            Some(&"script") => "</script>",
            Some(_) => "</style>",
            None => ">",
        };
        rest = tag.split_once(end).map_or("", |(_, rest)| rest);
        text.push(' ');
    }
    (text + rest).replace("&#65;", "A").replace("&amp;", "&")
}

/// The words of a text, without addresses and marks of notes.
fn words(text: &str) -> Vec<String> {
    let is_address = |word: &&str| {
        let word = word.to_lowercase();
        ["://", "www.", "data:", "mailto:"].iter().any(|mark| word.contains(mark))
    };
    let mut words = Vec::new();
    for word in text.split_whitespace().filter(|word| !is_address(word)) {
        let mut word = word.to_owned();
        for start in (0..word.len()).rev() {
            let Some(rest) = word.get(start..).filter(|rest| rest.starts_with('[')) else { continue };
            let Some(length) = rest.find(']') else { continue };
            let mut mark = rest[1..length].chars();
            if rest.starts_with("[^") || mark.all(|c| c.is_ascii_digit() || c == ',') {
                word.replace_range(start..=start + length, "");
            }
        }
        let parts = word.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
        words.extend(parts.map(str::to_owned));
    }
    words
}

/// Returns the cleaned text, with figures for exponents.
fn spoken(markdown: &str) -> String {
    let text = clean(Cleaner::markdown(None), [markdown]).text;
    text.chars()
        .map(|c| "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().position(|raised| raised == c).map_or(c, |n| (b'0' + n as u8) as char))
        .collect()
}

/// Returns the first word that is missing in the cleaned text.
fn missing(markdown: &str) -> Option<(String, String)> {
    let spoken = spoken(markdown);
    let mut said = spoken.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
    let lost = words(&text(markdown)).into_iter().find(|word| !said.any(|said| said == word))?;
    Some((lost, spoken))
}

/// Returns true if a letter is missing in the cleaned text. Words may be joined: marks between them are silent.
fn lacks_letters(markdown: &str) -> bool {
    let spoken = clean(Cleaner::markdown(None), [markdown]).text;
    let mut said = spoken.chars();
    words(&text(markdown)).concat().chars().any(|c| !said.any(|said| said == c))
}

fn documents() -> Vec<&'static str> {
    DOCUMENTS.split("\n%%\n").collect()
}

/// The document in a quotation, in items, and in both.
fn contained(document: &str) -> Vec<String> {
    let prefixed = |first: &str, others: &str| {
        let lines = document.lines().enumerate();
        lines.map(|(n, line)| format!("{}{line}\n", if n == 0 { first } else { others })).collect::<String>()
    };
    let containers =
        [("> ", "> "), (">", ">"), ("- ", "  "), ("12. ", "    "), ("> - ", ">   "), ("* > ", "  > ")];
    containers.iter().map(|(first, others)| prefixed(first, others) + "\nAfter all.\n").collect()
}

#[test]
fn no_text_of_a_document_is_missing() {
    let mut wrong = Vec::new();
    for document in documents() {
        for document in std::iter::once(document.to_owned()).chain(contained(document)) {
            if let Some((word, spoken)) = missing(&document) {
                wrong.push(format!("{word:?} is missing\n--- in\n{document}\n--- spoken\n{spoken}\n"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\n{} documents",
        wrong[..wrong.len().min(12)].join("\n=====\n"),
        wrong.len()
    );
}

#[test]
fn documents_are_the_same_cut_anywhere() {
    for document in documents() {
        let whole = clean(Cleaner::markdown(None), [document]);
        assert_eq!(clean(Cleaner::markdown(None), characters(document)), whole, "{document}");
        for (at, _) in document.char_indices().step_by(7) {
            let cut = clean(Cleaner::markdown(None), [&document[..at], &document[at..]]);
            assert_eq!(cut, whole, "{document} cut at {at}");
        }
    }
}

/// Parts of random documents. Each word is another one, so that none can stand for another.
const PARTS: &[&str] = &[
    "\n",
    "\n",
    "\n",
    "\n\n",
    "\n\n",
    " ",
    " ",
    "  ",
    "    ",
    "\t",
    "w ",
    "w ",
    "w",
    "w.",
    "w, ",
    "*",
    "**",
    "_",
    "~~",
    "`",
    "``",
    "```",
    "~~~",
    "````",
    "```js\n",
    "# ",
    "## ",
    "- ",
    "* ",
    "+ ",
    "1. ",
    "2) ",
    "> ",
    ">",
    "[",
    "]",
    "(",
    ")",
    "](u)",
    "](<u v>)",
    "](u \"t\")",
    "[w]",
    "[w](",
    "![",
    "!",
    "[^w] ",
    "[^w]: ",
    "[w]: /u\n",
    "[w]: /u \"t\"\n",
    "<",
    ">",
    "<b>",
    "</b>",
    "<br>",
    "<w>",
    "<w w>",
    "<a href=\"w\">",
    "<!--",
    "-->",
    "<!-- w -->",
    "<https://w.w>",
    "https://w.w/w",
    "&",
    "&amp;",
    "&w;",
    "|",
    " | ",
    "| w |",
    "\n|--|--|\n",
    "\n--|--\n",
    "---",
    "***",
    "===",
    "\\",
    "\\*",
    "\\[",
    "\\`",
    "\"",
    "'",
    "=",
    "-",
    ":",
    "<div>",
    "</div>",
    "<p class=w>",
    "w\nw ",
    "  \n",
    "\r\n",
    "é",
    "字",
    "😀",
    "$w$",
    "@",
    "www.w.w",
    " [w][w]",
    " [w][]",
];

#[test]
fn no_text_of_a_random_document_is_missing() {
    let mut wrong = Vec::new();
    let mut random = crate::text::tests::Random(0x5eed);
    for _ in 0..20_000 {
        let (mut document, mut count) = (String::new(), 0);
        for _ in 0..1 + random.below(14) {
            for c in PARTS[random.below(PARTS.len())].chars() {
                match c {
                    'w' => {
                        count += 1;
                        document.push_str(&format!("q{count}x"));
                    }
                    _ => document.push(c),
                }
            }
        }
        if document.contains("--|--") && document.contains("](") {
            continue; // cells, and then links in each: decided in the opposite order here
        }
        let whole = clean(Cleaner::markdown(None), [document.as_str()]);
        if lacks_letters(&document) {
            wrong.push(format!("{document:?}\n  spoken {:?}\n  text   {:?}", whole.text, text(&document)));
        }
        assert_eq!(clean(Cleaner::markdown(None), characters(&document)), whole, "{document:?}");
    }
    wrong.sort_by_key(String::len);
    assert!(
        wrong.is_empty(),
        "{}\n{} documents",
        wrong[..wrong.len().min(25)].join("\n=====\n"),
        wrong.len()
    );
}
