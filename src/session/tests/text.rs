//! From text to sentences and their voices: `append`, `flush`, `update`, segmentation.

use super::*;
use crate::text::{Clean, Segmentation, Segmenter, is_speakable};

#[test]
fn append_cut_anywhere_gives_the_same_sentences() {
    let text = "Dr. Sato came. “Well,” she said… 3.5 is more! Ünïcode 😀 too? And no end";
    let mut whole = v1(settings());
    whole.say(APPENDED);
    whole.say(&append(text));
    whole.say(DRAIN);
    whole.settle();
    let expected = whole.take();
    assert!(whole.asked.len() > 3, "{:?}", whole.asked);
    let cuts: Vec<usize> = (0..=text.len()).filter(|&at| text.is_char_boundary(at)).collect();
    for (n, &first) in cuts.iter().enumerate() {
        for &second in &cuts[n..] {
            let mut driven = v1(settings());
            driven.say(APPENDED);
            for part in [&text[..first], &text[first..second], &text[second..]] {
                driven.say(&append(part));
            }
            driven.say(DRAIN);
            driven.settle();
            assert_eq!(driven.asked, whole.asked, "cut at {first} and {second}");
            if second == first {
                assert_eq!(driven.take(), expected, "cut at {first}");
            }
        }
    }
    let mut driven = v1(settings());
    driven.say(APPENDED);
    for at in cuts.windows(2) {
        driven.say(&append(&text[at[0]..at[1]]));
        driven.settle();
    }
    driven.say(DRAIN);
    driven.settle();
    assert_eq!(driven.take(), expected, "character by character");
}

#[test]
fn a_whole_text_has_the_sentences_of_the_same_text_in_parts() {
    let generous = SessionConfig { max_prompt_chars: 20_000, max_buffered_chars: 20_000, ..settings() };
    let plain =
        "Dr. Sato came at 3.5 o'clock. “Well,” she said… Is it? Ünïcode 😀 too!\n\nTitle\n\nAnd so on ";
    let marked =
        "# One\n\n- *two*, [three](http://example.org/a)\n- four\n\n> five & six\n\n<b>seven</b> `8`. ";
    for (text, times, end) in [
        (plain, 1, ""),
        (plain, 40, ""),
        (plain, 40, "\n\n***\n\n😀 ...".repeat(300).as_str()),
        (marked, 60, ""),
        (marked, 60, "[a](b".repeat(900).as_str()),
        ("a", 4_000, "."),
        ("", 1, "* * *\n\n".repeat(900).as_str()),
        ("", 1, ""),
    ] {
        let text = text.repeat(times) + end;
        let chars: Vec<char> = text.chars().collect();
        let text = serde_json::to_string(&text).unwrap();
        for options in
            ["", r#","clean":"markdown""#, r#","clean":"html""#, r#","segmentation":{"minChars":200}"#]
        {
            // Long text is read as it is spoken, text behind it too, and then its end is waited for.
            let in_parts = |parts: &[&[char]], end: &str| {
                let mut driven = v1(generous.clone());
                driven.say(&start_with(&format!(r#""source":"append"{options}"#)));
                parts.iter().for_each(|part| driven.say(&append(&part.iter().collect::<String>())));
                if !end.is_empty() {
                    driven.say(end);
                }
                driven.settle();
                driven.now += Duration::from_secs(60);
                driven.on_time();
                driven.settle();
                driven
            };
            let (first, second) = chars.split_at(chars.len() * 9 / 10);
            let short: Vec<&[char]> = chars.chunks(100).collect();
            let parts = in_parts(&short, DRAIN);
            assert_eq!(in_parts(&[first, second], DRAIN).asked, parts.asked, "{options} {text:.200}");
            let (long, short) = (in_parts(&[first, second], ""), in_parts(&short, ""));
            assert_eq!(long.asked, short.asked, "without an end {options} {text:.200}");
            let mut whole = v1(generous.clone());
            whole.say(&start_with(&format!(r#""prompt":{text}{options}"#)));
            whole.settle();
            assert_eq!(whole.asked, parts.asked, "{options} {text:.200}");
            assert_eq!(of_type(&whole.take(), "session_end").len(), 1, "{options} {text:.200}");
            // `flush` asks for the index of the last sentence, however much of the text is read.
            let mut flushed = v1(generous.clone());
            flushed.say(&start_with(&format!(r#""prompt":{text}{options}"#)));
            flushed.say(FLUSH);
            flushed.settle();
            assert_eq!(flushed.asked, parts.asked, "flushed {options} {text:.200}");
            if let [said] = &of_type(&flushed.take(), "flushed")[..] {
                let last = parts.asked.len().saturating_sub(1);
                assert_eq!(*said, format!(r#"{{"type":"flushed","index":{last}}}"#), "{options} {text:.200}");
            }
        }
    }
}

#[test]
fn an_input_reads_a_little_of_the_text_whatever_it_is() {
    let generous = SessionConfig { max_prompt_chars: 20_000, max_buffered_chars: 20_000, ..settings() };
    for (clean, before, text) in [
        (Clean::None, "", "It was a quiet evening. "),
        (Clean::None, "", "Dr. "),
        (Clean::None, "", "a"),
        (Clean::Html, "", "<b>é</b>&amp;"),
        (Clean::Html, "<svg>", "Dr. "),
        (Clean::Html, "<script>", "x = 1; "),
        (Clean::Html, "<!-- ", "Dr. "),
        (Clean::Markdown, "```\n", "Dr. "),
        (Clean::Markdown, "```rust\n", "It was a quiet evening. "),
        (Clean::Markdown, "<span hidden title=\"", "It was a quiet evening. "),
        (Clean::Markdown, "[a](b ", "Dr. "),
    ] {
        let text = before.to_owned() + &text.repeat(19_600 / text.len());
        let mut segmenter = Segmenter::new(Segmentation { clean, ..Segmentation::default() });
        segmenter.push(&text);
        segmenter.finish();
        let segments = std::iter::from_fn(|| segmenter.next_segment());
        let sentences: Vec<String> =
            segments.map(|segment| segment.text).filter(|text| is_speakable(text)).collect();
        let clean = format!(r#""clean":{}"#, serde_json::to_string(&clean).unwrap());
        let appended = start_with(&format!(r#""source":"append",{clean}"#));
        let prompt = serde_json::to_string(&text).unwrap();
        let of_prompt = start_with(&format!(r#""prompt":{prompt},{clean}"#));
        let last = sentences.len().saturating_sub(1);
        let from = format!(r#""prompt":{prompt},{clean},"from":{{"index":{last},"offset":0}}"#);
        let from = start_with(&from);
        let append = append(&text);
        let whole: &[&[&str]] = &[
            &[&of_prompt],
            &[&of_prompt, FLUSH],
            &[&from],
            &[&appended, &append, DRAIN],
            &[&appended, &append, FLUSH, DRAIN],
            &[&appended, &append, CANCEL, &append, DRAIN],
        ];
        for messages in whole {
            let what = || format!("{clean} {text:.20} {messages:.60?}");
            let mut driven = v1(generous.clone());
            for message in *messages {
                if *message == CANCEL {
                    driven.asked.clear();
                }
                driven.say(message);
            }
            driven.settle();
            assert!(driven.most_read <= 2 * 1024, "{} bytes: {}", driven.most_read, what());
            let seen = driven.take();
            let (starts, flushes) = (of_type(&seen, "stream_start").len(), of_type(&seen, "flushed").len());
            if messages[0] == from {
                assert_eq!(starts, usize::from(!sentences.is_empty()), "{}", what());
                continue;
            }
            // A stream with nothing to say is over before the flush.
            let has_flush = messages.contains(&FLUSH) && !(sentences.is_empty() && messages[0] == of_prompt);
            assert_eq!((starts, flushes), (1, usize::from(has_flush)), "{}", what());
            // A flush also speaks markup that may still have an end.
            if !has_flush || before.is_empty() {
                let asked: Vec<&str> = driven.asked.iter().map(|(text, _)| text.as_str()).collect();
                assert_eq!(asked, sentences, "{}", what());
            }
        }
    }
}

#[test]
fn flush_speaks_the_buffered_text_and_flushed_has_the_last_index() {
    let mut driven = v1(settings());
    driven.say(FLUSH);
    assert_refused(&driven.settled(), "not_started");
    driven.say(APPENDED);
    assert_eq!(driven.settled(), [stream_start("append")]);
    driven.say(&append("Hello. How are"));
    assert_eq!(driven.settled(), v1_sentences(&["Hello."], 0, 0));
    driven.say(FLUSH);
    let seen = driven.settled();
    assert_eq!(seen[0], message(r#"{"type":"flushed","index":1}"#));
    assert_eq!(seen[1..], v1_sentences(&["How are"], 1, 42));
    driven.say(&append(" you? Fine"));
    driven.say(FLUSH);
    let seen = driven.settled();
    let flushed = of_type(&seen, "flushed");
    assert_eq!(flushed, [r#"{"type":"flushed","index":3}"#]);
    let others: Vec<_> = seen.into_iter().filter(|seen| *seen != message(flushed[0].as_str())).collect();
    assert_eq!(others, v1_sentences(&["you?", "Fine"], 2, 42 + 49));
}

#[test]
fn idle_ms_after_the_text_a_finished_sentence_is_spoken() {
    for (options, idle_ms) in [("", 250), (r#","segmentation":{"idleMs":40}"#, 40)] {
        let mut driven = v1(settings());
        driven.say(&start_with(&format!(r#""source":"append"{options}"#)));
        driven.settled();
        let began = driven.now;
        driven.say(&append("Is that so?"));
        assert_eq!(driven.settled(), [], "the next character may belong to it");
        let due = driven.session.next_deadline();
        assert_eq!(due, Some(began + Duration::from_millis(idle_ms)));
        driven.now = due.unwrap() - Duration::from_nanos(1);
        driven.on_time();
        assert_eq!(driven.settled(), []);
        driven.now = due.unwrap();
        driven.on_time();
        assert_eq!(driven.settled(), v1_sentences(&["Is that so?"], 0, 0));
        // An unfinished sentence waits without a limit.
        driven.say(&append("It is"));
        driven.now += Duration::from_secs(60);
        driven.on_time();
        assert_eq!(driven.settled(), []);
        driven.say(&append(" so."));
        driven.now += Duration::from_millis(idle_ms);
        driven.on_time();
        assert_eq!(driven.settled(), v1_sentences(&["It is so."], 1, 77));
    }
}

/// Has the client append pieces, each so many milliseconds after the one before.
fn append_slowly(driven: &mut Driven, pieces: &[&str], ms: u64) {
    for piece in pieces {
        driven.say(&append(piece));
        let next = driven.now + Duration::from_millis(ms);
        while let Some(due) = driven.session.next_deadline().filter(|due| *due < next) {
            driven.now = due;
            driven.on_time();
            driven.settle();
        }
        driven.now = next;
    }
}

fn asked(driven: &Driven) -> Vec<&str> {
    driven.asked.iter().map(|(text, _)| text.as_str()).collect()
}

#[test]
fn wait_within_a_number_a_name_or_an_abbreviation_does_not_cut_it() {
    for pieces in [
        &["The total is 3.", "5 euros."][..],
        &["Ask Dr.", " Okafor."],
        &["Open example.", "org now."],
        &["$", "3", ".", "50", " today", "."],
        &["Use e", ".", "g", ".", " Paris."],
        &["I was thinking", "...", " maybe later."],
        &["We like", " example", ".", "net", " a", " lot", "."],
        &["She said", " \"Stop.", "\"", " Then."],
    ] {
        for ms in [350, 900, 1_900] {
            let mut driven = v1(settings());
            driven.say(APPENDED);
            append_slowly(&mut driven, pieces, ms);
            driven.say(DRAIN);
            driven.settle();
            let whole = pieces.concat();
            let expected = if whole.contains("Then") {
                vec!["She said \"Stop.\"", "Then."]
            } else {
                vec![whole.as_str()]
            };
            // A single piece before the wait shows no pace.
            if ms == 350 || pieces.len() == 2 || !whole.contains(".net") {
                assert_eq!(asked(&driven), expected, "{ms} ms");
            }
        }
    }
}

#[test]
fn text_in_tokens_at_any_pace_is_cut_as_at_once() {
    let text = "It is 3.50 today, not 4. Dr. Who? Well... See node.js. It ended. \"Go.\" She did.";
    let tokens: Vec<&str> = text.split_inclusive([' ', '.']).collect();
    let characters: Vec<&str> = text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect();
    let mut whole = v1(settings());
    whole.say(APPENDED);
    whole.say(&append(text));
    whole.say(DRAIN);
    whole.settle();
    for pieces in [tokens, characters] {
        for ms in [0, 40, 240, 260, 350, 700, 990] {
            let mut driven = v1(settings());
            driven.say(APPENDED);
            append_slowly(&mut driven, &pieces, ms);
            driven.say(DRAIN);
            driven.settle();
            assert_eq!(driven.asked, whole.asked, "{ms} ms");
        }
    }
}

#[test]
fn doubtful_end_is_spoken_after_2_s() {
    for (options, limit) in [
        ("", 2_000),
        (r#","segmentation":{"idleMs":40}"#, 2_000),
        (r#","segmentation":{"idleMs":5000}"#, 5_000),
    ] {
        let mut driven = v1(settings());
        driven.say(&start_with(&format!(r#""source":"append"{options}"#)));
        driven.settled();
        driven.say(&append("Ask Dr."));
        let due = driven.now + Duration::from_millis(limit);
        assert_eq!(driven.session.next_deadline(), Some(due));
        driven.now = due;
        driven.on_time();
        assert_eq!(driven.settled(), v1_sentences(&["Ask Dr."], 0, 0));
        assert_ne!(driven.session.next_deadline(), Some(due));
    }
}

/// While the engine speaks, a sentence need not be decided: more text may still belong to it.
#[test]
fn idle_sentence_waits_for_the_engine() {
    let mut driven = v1(SessionConfig { prefetch: 1, ..settings() });
    driven.say(APPENDED);
    driven.say(&append("One is here. We like foo."));
    driven.now += Duration::from_millis(250);
    driven.on_time();
    assert_eq!(asked(&driven), ["One is here."]);
    driven.say(&append("net a lot."));
    driven.settle();
    driven.now += Duration::from_millis(250);
    driven.on_time();
    driven.settle();
    assert_eq!(asked(&driven), ["One is here.", "We like foo.net a lot."]);
    // Without more text it is spoken as soon as the engine is free.
    driven.say(&append("Three is here. Four is here."));
    driven.now += Duration::from_millis(250);
    driven.on_time();
    driven.settle();
    assert_eq!(asked(&driven)[2..], ["Three is here.", "Four is here."]);
}

#[test]
fn segmentation_and_clean_change_the_sentences() {
    let table: [(&str, &str, &[&str]); 5] = [
        (
            "\"segmentation\":{\"firstClause\":true}",
            "Well now my friends, it is late. Go.",
            &["Well now my friends,", "it is late.", "Go."],
        ),
        (
            "\"segmentation\":{\"firstClause\":false}",
            "Well now my friends, it is late. Go.",
            &["Well now my friends, it is late.", "Go."],
        ),
        ("\"segmentation\":{\"minChars\":12}", "One. Two. Three. Four.", &["One. Two. Three.", "Four."]),
        (
            "\"segmentation\":{\"maxChars\":20}",
            "One two three four five six seven.",
            &["One two three four", "five six seven."],
        ),
        (
            "\"clean\":\"markdown\"",
            "# Title\n\n**Bold** and `code`. [Link](http://a.b).",
            &["Title", "Bold and code.", "Link."],
        ),
    ];
    for (options, prompt, sentences) in table {
        let json = ClientMessage::start(prompt).to_json();
        let json = format!("{},{options}}}", &json[..json.len() - 1]);
        let mut driven = v1(settings());
        driven.say(&json);
        driven.settle();
        let asked: Vec<&str> = driven.asked.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(asked, sentences, "{options}");
    }
}

#[test]
fn update_applies_from_the_next_sentence_on() {
    let mut driven = v1(SessionConfig { prefetch: 1, ..settings() });
    driven.voice_of = |sentence| {
        let text = format!("{}/{}/{}", sentence.voice, sentence.speed, sentence.format.encoding.name());
        (text.into_bytes(), None)
    };
    driven.say(&start_with(
        r#""prompt":"One. Two. Three. Four.","voice":"bert","speed":0.5,"audio":{"encoding":"pcm_s16le"}"#,
    ));
    driven.say(r#"{"type":"update","voice":"anna"}"#);
    while driven.asked.len() < 2 {
        driven.speak();
    }
    driven.say(r#"{"type":"update","speed":2}"#);
    driven.say(r#"{"type":"update","speed":2.5}"#);
    driven.say(r#"{"type":"update"}"#);
    let seen = driven.settled();
    let begin = r#"{"type":"stream_start","stream":1,"rev":0,"audio":{"encoding":"pcm_s16le","sampleRate":8000,"channels":1},"voice":"bert","source":"verbatim"}"#;
    assert_eq!(seen[0], message(begin));
    let said = String::from_utf8(audio_of(&seen)).unwrap();
    assert_eq!(said, "bert/0.5/pcm_s16leanna/0.5/pcm_s16leanna/2/pcm_s16leanna/2/pcm_s16le");
    assert_eq!(of_type(&seen, "error").len(), 1);
}

/// Voice and language of each sentence of a session with these options and updates.
fn voices_of(start: &str, updates: &[&str]) -> Vec<String> {
    let voice =
        |name: &str, language: &str| Voice { language: Some(language.to_owned()), ..Voice::new(name) };
    let voices = vec![voice("joe", "en-US"), voice("eva", "de"), voice("amy", "en-GB")];
    let mut driven = v1(SessionConfig { prefetch: 1, voices, ..settings() });
    driven.voice_of = |sentence| (format!("{}/{} ", sentence.voice, sentence.language).into_bytes(), None);
    driven.say(&start_with(start));
    for update in updates {
        let asked = driven.asked.len();
        driven.say(&format!(r#"{{"type":"update",{update}}}"#));
        while driven.asked.len() == asked {
            driven.speak();
        }
    }
    let said = String::from_utf8(audio_of(&driven.settled())).unwrap();
    said.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn language_picks_a_voice_unless_the_client_names_one() {
    let two = r#""prompt":"One. Two.""#;
    let cases: &[(&str, &[&str], [&str; 2])] = &[
        ("", &[r#""speed":1"#], ["joe/", "joe/"]),
        (r#","language":"de-AT""#, &[r#""speed":1"#], ["eva/de-AT", "eva/de-AT"]),
        (r#","language":"en-GB""#, &[r#""language":"de""#], ["amy/en-GB", "eva/de"]),
        (r#","language":"fr""#, &[r#""language":"fr""#], ["joe/fr", "joe/fr"]),
        // A named voice stays.
        (r#","language":"de","voice":"amy""#, &[r#""language":"en-US""#], ["amy/de", "amy/en-US"]),
        (r#","language":"de""#, &[r#""voice":"joe","language":"en-GB""#], ["eva/de", "joe/en-GB"]),
    ];
    for (options, updates, expected) in cases {
        assert_eq!(voices_of(&format!("{two}{options}"), updates), expected, "{options} {updates:?}");
    }
}

/// The end of a text says what markup without an end leaves open: nothing is lost.
#[test]
fn markup_without_an_end_is_spoken_at_the_end() {
    for (clean, text, last) in [
        ("markdown", "Tags:\\n\\n- <title>: the name\\n- <p>: a part\\n\\nThat is all.", "That is all."),
        ("markdown", "Intro.\\n\\n<iframe src='x' width=5>\\n\\nMore text.", "More text."),
        ("markdown", "Click <a href='https://example.com/page and read this.", "read this."),
        ("html", "Use <video> to embed.\\n\\nNext.", "Next."),
        ("html", "if a <i && b='q then go. Then stop.", "Then stop."),
    ] {
        let mut driven = v1(settings());
        driven.say(&start_with(&format!(r#""prompt":"{text}","clean":"{clean}""#)));
        driven.settle();
        let spoken = asked(&driven).join(" ");
        assert!(spoken.ends_with(last), "{text}: {spoken}");
    }
}

#[test]
fn cells_of_a_row_are_phrases_for_the_engine() {
    let mut driven = v1(settings());
    driven.words_of = |sentence| {
        let at = sentence.text.find("Age").unwrap();
        let (start, end) = (Duration::from_millis(10), Duration::from_millis(20));
        vec![Word { text_range: at..at + 3, start, end }]
    };
    let json = ClientMessage::start("Name\tAge\nAna\tAge 9").to_json();
    driven.say(&format!(r#"{},"timestamps":"word"}}"#, &json[..json.len() - 1]));
    let seen = driven.settled();
    assert_eq!(asked(&driven), ["Name, Age", "Ana, Age 9"]);
    assert!(of_type(&seen, "text")[0].contains(r#""data":"Name\tAge""#), "{seen:?}");
    let times = &of_type(&seen, "timestamps")[0];
    assert!(
        times.contains(r#""words":["Age"]"#) && times.contains(r#""charStart":[5],"charEnd":[8]"#),
        "{times}"
    );
}

/// Returns the words of a stream's `timestamps`, each with its range in the text of the stream.
fn sources(seen: &[Seen]) -> Vec<(String, u64, u64)> {
    let mut found = Vec::new();
    for times in of_type(seen, "timestamps") {
        let times: serde_json::Value = serde_json::from_str(&times).unwrap();
        let column = |name: &str| times[name].as_array().cloned().unwrap_or_default();
        let places = column("srcStart").into_iter().zip(column("srcEnd"));
        assert_eq!(column("words").len(), places.len(), "{times}");
        for (word, (start, end)) in column("words").into_iter().zip(places) {
            found.push((word.as_str().unwrap().to_owned(), start.as_u64().unwrap(), end.as_u64().unwrap()));
        }
    }
    found
}

#[test]
fn timestamps_have_the_place_of_a_word_in_the_text_of_the_client() {
    for (clean, text, expected) in [
        (
            "markdown",
            "So **ho**t &amp; `x y`, see [the 😀 guide](https://example.com/a).",
            vec!["So", "ho**t", "&amp;", "x", "y`,", "see", "the", "guide](https://example.com/a)."],
        ),
        (
            "markdown",
            "At https://www.example.com/a?b=c, [1]\r\n\r\n# Title\r\nEnd",
            vec!["At", "https://www.example.com/a?b=c,", "[1]", "Title", "End"],
        ),
        (
            "html",
            "<p>One &lt;b&gt; <b>tw</b>o</p><img alt=\"red fox\">",
            vec!["One", "&lt;b&gt;", "tw</b>o", "red", "fox"],
        ),
    ] {
        for cut in text.char_indices().map(|(at, _)| at).step_by(3) {
            let mut driven = v1(settings());
            driven.say(&start_with(&format!(
                r#""source":"append","prompt":"","timestamps":"word","clean":"{clean}""#
            )));
            for part in [&text[..cut], &text[cut..]] {
                driven
                    .say(&format!(r#"{{"type":"append","text":{}}}"#, serde_json::to_string(part).unwrap()));
            }
            driven.say(r#"{"type":"flush"}"#);
            driven.settle();
            let units: Vec<u16> = text.encode_utf16().collect();
            let found = sources(&driven.take());
            let written: Vec<String> = found
                .iter()
                .map(|(_, start, end)| String::from_utf16_lossy(&units[*start as usize..*end as usize]))
                .collect();
            assert_eq!(written, expected, "{text:?} cut at {cut}");
        }
    }
}

#[test]
fn timestamps_of_a_text_that_is_not_cleaned_have_no_other_place() {
    let mut driven = v1(settings());
    driven.say(&start_with(r#""prompt":"Good evening.","timestamps":"word","clean":"none""#));
    driven.settle();
    let times = of_type(&driven.take(), "timestamps");
    assert!(times[0].contains("charStart") && !times[0].contains("srcStart"), "{}", times[0]);
}

#[test]
fn half_pairs_count_in_the_place_of_a_word() {
    let mut driven = v1(settings());
    driven.say(&start_with(
        r#""source":"append","prompt":"Party \ud83c","timestamps":"word","clean":"markdown""#,
    ));
    driven.say(r#"{"type":"append","text":"\udf89 *time* \ud800 now"}"#);
    driven.say(r#"{"type":"flush"}"#);
    driven.settle();
    let expected = [("Party", 0, 5), ("time", 10, 14), ("now", 18, 21)];
    let expected: Vec<_> =
        expected.iter().map(|(word, start, end)| ((*word).to_owned(), *start, *end)).collect();
    assert_eq!(sources(&driven.take()), expected);
}
