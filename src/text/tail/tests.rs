use super::super::tests::{CASES, LINES, texts};
use super::*;
use crate::text::{Clean, Segmentation};

fn segmenter(language: &str, clean: Clean) -> Segmenter {
    let language = Some(language.to_owned()).filter(|language| !language.is_empty());
    Segmenter::new(Segmentation { language, clean, ..Segmentation::default() })
}

fn tail(text: &str, clean: Clean) -> Tail {
    let mut segmenter = segmenter("", clean);
    segmenter.push(text);
    segmenter.tail()
}

/// The words of each segment, without marks.
fn words(segments: impl Iterator<Item = String>) -> Vec<String> {
    let letters = |text: String| text.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
    segments.map(letters).filter(|text| !text.is_empty()).collect()
}

#[test]
fn atom_at_the_end_is_doubtful() {
    for text in [
        "The total is 3.",
        "It costs $3.",
        "Ask Dr.",
        "Ask Prof.",
        "Written by J.",
        "So do I.",
        "Use e.",
        "Use e.g.",
        "Open example.",
        "Please visit example.",
        "Go to example.",
        "Write to ann@example.",
        "Find us at example.",
        "See https://example.",
        "See www.example.",
        "Is it at https://example.org/a?",
        "We use Node.",
        "Edit config.",
        "Ping 10.0.",
        "Install v1.",
        "Ask @mira.",
        "I was thinking...",
        "Wait…",
        "Wait . ",
        "See No.",
        "Is it locked? No.",
        "Bring nuts, etc.",
        "He works at Halden Inc.",
        "Meet at 5 p.",
        "Meet at 5 p.m.",
        "On Jan.",
        "In the dept.",
        "Add 2 tbsp.",
        "It is 5 in.",
        "It is 5 mi.",
        "Use 5 cu.",
        "He is 5 ft. 2 in.",
        "See 1 Cor.",
        "See Matt.",
        "Smith, eds.",
        "Fla.",
        "It has max.",
        "jane.",
        "‘Ask Dr.",
        "Mr./Mrs.",
        "Pope Pius IX.",
        "He said \"Stop.",
        "He said \"Stop.\"",
        "“Go.”",
        "It works. (Mostly.",
        "Is it (?)",
        "Text with **bold.",
        "A <b>big.",
        "1.",
        "Steps:\n1. ",
        "「はい。」",
        "„Komm.",
        "« Viens.",
        "Open Main.",
    ] {
        assert_eq!(tail(text, Clean::None), Tail::Doubtful, "{text:?}");
    }
}

#[test]
fn end_of_an_ordinary_sentence_is_finished() {
    for text in [
        "The kettle is on.",
        "The kettle is on. ",
        "Sit down.",
        "Is that so?",
        "Go!",
        "I do not know.",
        "See you tomorrow.",
        "Turn it on.",
        "She is at home.",
        "He went to bed.",
        "Open it.",
        "I want to eat.",
        "This is an example.",
        "Here is one, for example.",
        "The store is open.",
        "The total is 3. ",
        "We sat at the table.",
        "It rose by 5%.",
        "Bob's your uncle.",
        "That is the kids'.",
        "It works. (Mostly.)",
        "He said \"stop\" and left.",
        "Hello, world!",
        "The meeting is on Friday.",
        "Your order has shipped.",
        "I can help you with that.",
        "It is five o'clock.",
        "**Bold.**",
        "很好。",
        "好吗？",
        "Das ist gut.",
        "C'est la vie.",
        "Es tarde.",
        "i went home.",
        "Done! 🎉",
        "Hmm.",
        "Let me check that for you.",
        "You can see it below.",
        "We met at noon.",
        "Is it late?\n",
        "It is late.\n",
    ] {
        assert_eq!(tail(text, Clean::None), Tail::Finished, "{text:?}");
    }
}

#[test]
fn tail_without_a_mark_is_open() {
    for text in
        ["", " ", "Hello", "To buy:\n", "Well, ", "It is late. And", "3", "Wait <break time=\"1s", "A (b"]
    {
        assert_eq!(tail(text, Clean::None), Tail::Open, "{text:?}");
    }
}

#[test]
fn markup_that_is_held_back_counts_for_the_tail() {
    for (text, expected) in [
        ("It is **late.**", Tail::Finished),
        ("It is **late.", Tail::Finished),
        ("It is late.\n- ", Tail::Finished),
        ("The total is 3. ", Tail::Finished),
        ("The total is **3.**", Tail::Doubtful),
        ("See [the guide.", Tail::Doubtful),
        ("It is late. [See", Tail::Open),
        ("See [the guide](https://example.", Tail::Open),
        ("# Title\n", Tail::Open),
        ("```js\nx = 1\n\nIt runs now.", Tail::Doubtful),
        ("```js\nIt runs now.\nx", Tail::Open),
        ("```js\nx = 1.\n", Tail::Open),
    ] {
        assert_eq!(tail(text, Clean::Markdown), expected, "{text:?}");
    }
}

/// Wherever a text waits at a finished sentence, its segments are the same.
#[test]
fn finished_tail_is_where_the_segments_end() {
    for (language, text, _) in CASES.iter().chain(LINES) {
        for clean in [Clean::None, Clean::Markdown] {
            if clean == Clean::Markdown && text.contains("<e") {
                continue; // the tag that joins two sentences is removed
            }
            let mut whole = segmenter(language, clean);
            whole.push(text);
            whole.finish();
            let whole = words(texts(&mut whole));
            for (at, c) in text.char_indices() {
                let mut cut = segmenter(language, clean);
                cut.push(&text[..at]);
                // More of the same marks may always follow: "So." and ".."
                let follows = language::terminator(c, cut.language).is_some()
                    || matches!(c, '—' | '<')
                    || text[at..].starts_with("5 and");
                if cut.tail() == Tail::Finished && !follows {
                    cut.commit();
                    cut.push(&text[at..]);
                    cut.finish();
                    assert_eq!(words(texts(&mut cut)), whole, "{:?} ⏸ {:?}", &text[..at], &text[at..]);
                }
            }
        }
    }
}

#[test]
fn commit_leaves_the_mark_of_a_line_alone() {
    let mut segmenter = segmenter("", Clean::Markdown);
    segmenter.push("It is late.\n- ");
    segmenter.commit();
    segmenter.push("[ ] Wash\n");
    segmenter.finish();
    assert_eq!(texts(&mut segmenter).collect::<Vec<_>>(), ["It is late.", "Wash"]);
}

/// Texts of all kinds, each as it is written.
fn written() -> impl Iterator<Item = String> {
    let corpora =
        [include_str!("../../../tests/corpus/spoken.tsv"), include_str!("../../../tests/corpus/blind.tsv")];
    let lines = corpora.into_iter().flat_map(str::lines).filter(|line| !line.starts_with("# "));
    lines.filter_map(|line| line.split_once('\t')).map(|(written, _)| written.replace("\\n", "\n"))
}

/// The words that are spoken for the segments.
fn spoken(segmenter: &mut Segmenter) -> Vec<String> {
    let said = texts(segmenter).map(|text| crate::text::normal::normalize(&text, "en").text.to_lowercase());
    let words = |text: String| {
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    said.flat_map(words).collect()
}

#[test]
fn pause_at_a_finished_sentence_changes_no_spoken_word() {
    for text in written() {
        for clean in [Clean::None, Clean::Markdown] {
            let mut whole = segmenter("", clean);
            whole.push(&text);
            whole.finish();
            let whole = spoken(&mut whole);
            let mut first = segmenter("", clean);
            for (at, c) in text.char_indices() {
                if first.tail() == Tail::Finished {
                    let mut cut = first.clone();
                    cut.commit();
                    cut.push(&text[at..]);
                    cut.finish();
                    assert_eq!(spoken(&mut cut), whole, "{:?} ⏸ {:?}", &text[..at], &text[at..]);
                }
                first.push(c.encode_utf8(&mut [0; 4]));
            }
        }
    }
}

#[test]
fn code_address_or_sign_at_the_end_is_doubtful() {
    for text in [
        "Then call foo.",
        "Just call foo().",
        "I used arr[0].",
        "The value is in self.",
        "It is in `foo.",
        "Use std::vec.",
        "It logs in myVar.",
        "Take the README.",
        "The class is java.",
        "My email is jane.",
        "It costs $.",
        "It is -.",
        "Stop if a !",
        "120, but x!",
        "What is a?",
        "We met Maj. (ret.) ",
        "Buy a 5-lb. ",
        "use a 12-in. ",
        "2 8-oz. ",
        "Sales in Oct.-Dec. ",
        "1. e4 e5 2. ",
    ] {
        assert_eq!(tail(text, Clean::None), Tail::Doubtful, "{text:?}");
    }
    for text in ["The README.m", "She is jane.d", "Use String.f"] {
        assert_eq!(tail(text, Clean::Markdown), Tail::Open, "{text:?}");
    }
}

#[test]
fn flush_within_the_marks_of_a_fence_leaves_them_whole() {
    for text in [
        "Before it.\n\n```js\nlet x = 1;\n```\n\nAfter it all.\n```\nlet y = 2;\n```\nMore.",
        "Before it.\n````\nlet x = 1;\n```\n````\nAfter it all.\n~~~\nlet y = 2;\n~~~\nMore.",
        "> ~~~\n> let x = 1;\n> ~~~\n\nAfter it all.\n```\nlet y = 2;\n```\nMore.",
        "- Item\n  ```\n  let x = 1;\n  ```\n- After it all.\n```\nlet y = 2;\n```\nMore.",
    ] {
        let mut whole = segmenter("", Clean::Markdown);
        whole.push(text);
        whole.finish();
        let whole: Vec<String> = texts(&mut whole).collect();
        assert!(!whole.concat().contains("let"), "{whole:?}");
        for (at, _) in text.char_indices().filter(|(at, _)| text[..*at].ends_with(['`', '~'])) {
            let mut cut = segmenter("", Clean::Markdown);
            cut.push(&text[..at]);
            cut.flush();
            cut.push(&text[at..]);
            cut.finish();
            assert_eq!(texts(&mut cut).collect::<Vec<_>>(), whole, "{:?}", &text[..at]);
        }
    }
}
