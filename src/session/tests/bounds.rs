//! Limits on text, time and memory.

use super::*;

#[test]
fn append_over_the_buffer_limit_is_refused_and_changes_nothing() {
    let mut driven = v1(settings());
    driven.say(APPENDED);
    driven.say(PAUSE);
    driven.settled();
    let [some, others, later] =
        ["abcdefghijklmnopqrstuvwx ".repeat(10), "żółćżółć ".repeat(4), "abcdefghi ".repeat(25)];
    driven.say(&append(&some));
    driven.say(&append(&"b".repeat(151)));
    assert_refused(&driven.settled(), "buffer_full");
    driven.say(&append(&others));
    driven.say(&append(&"b".repeat(115)));
    assert_refused(&driven.settled(), "buffer_full");
    driven.say(FLUSH);
    driven.settled();
    driven.say(&append(&later));
    assert_refused(&driven.settled(), "buffer_full");
    driven.say(RESUME);
    // Text in synthesis no longer counts as buffered.
    driven.say(&append(&later));
    driven.say(FLUSH);
    driven.settled();
    let asked: Vec<String> = driven.asked.into_iter().map(|(text, _)| text).collect();
    assert_eq!(asked, [format!("{some}{others}").trim(), later.trim()]);
}

#[test]
fn max_session_chars_ends_the_session_after_the_last_sentence_within_it() {
    // 4 + 4 characters in the first stream, 6 + 5 in the next.
    for (most, sentences, is_over) in
        [(19, 4, false), (18, 3, true), (14, 3, true), (13, 2, true), (3, 0, true)]
    {
        let limited = SessionConfig { max_session_chars: Some(most), ..settings() };
        for is_v1 in [false, true] {
            let mut driven = if is_v1 { v1(limited.clone()) } else { Driven::new(limited.clone()) };
            let mut seen = Vec::new();
            for prompt in ["One. Two.", "Three. Four."] {
                if driven.closed.is_none() && !seen.iter().any(|one| matches!(one, Seen::Close(..))) {
                    driven.say(&start(prompt));
                    seen.extend(driven.settled());
                }
            }
            assert_eq!(of_type(&seen, "sentence_end").len(), sentences, "{most} {seen:?}");
            let closes: Vec<&Seen> = seen.iter().filter(|one| matches!(one, Seen::Close(..))).collect();
            let errors = of_type(&seen, "error");
            assert_eq!((errors.len(), closes.len()), (usize::from(is_over), usize::from(is_over)), "{most}");
            if is_over {
                let code = if is_v1 { 4413 } else { 1008 };
                assert!(matches!(closes[0], Seen::Close(got, _) if *got == code), "{closes:?}");
                assert!(errors[0].contains("as many characters as allowed"));
                assert_eq!(errors[0].contains("text_too_long"), is_v1);
                // Begun sentences are sent to their end, and then `session_end`.
                assert!(matches!(&seen[seen.len() - 2], Seen::Message(json) if json.contains("session_end")));
            }
        }
    }
}

#[test]
fn invalid_messages_in_a_row_close_the_connection() {
    let mut driven = v1(settings());
    for _ in 0..99 {
        driven.say("nonsense");
    }
    driven.say(r#"{"type":"ping"}"#);
    for _ in 0..99 {
        driven.say(r#"{"type":"sing"}"#);
    }
    assert_eq!(driven.settled().len(), 199);
    driven.say("nonsense");
    let seen = driven.settled();
    assert_refused(&seen[..1], "bad_json");
    assert!(matches!(seen[1..], [Seen::Close(4400, _)]), "{seen:?}");
}

#[test]
fn max_session_ends_the_session_after_go_away() {
    for is_streaming in [false, true] {
        let mut driven = v1(settings());
        let began = driven.now;
        if is_streaming {
            driven.say(&start("One."));
            driven.say(PAUSE);
            driven.settled();
        }
        assert_eq!(driven.session.next_deadline(), Some(began + Duration::from_secs(3_570)));
        driven.now = began + Duration::from_secs(3_569);
        driven.on_time();
        assert_eq!(driven.settled(), []);
        driven.now = began + Duration::from_secs(3_570);
        driven.on_time();
        driven.on_time();
        let notice = message(r#"{"type":"go_away","timeLeftMs":30000,"reason":"max_duration"}"#);
        assert_eq!(driven.settled(), [notice]);
        assert_eq!(driven.session.next_deadline(), Some(began + Duration::from_secs(3_600)));
        driven.now = began + Duration::from_secs(3_600);
        driven.on_time();
        let seen = driven.settled();
        assert_refused(&seen[..1], "session_expired");
        let end = &of_type(&seen, "session_end")[0];
        assert!(end.contains(r#""reason":"expired""#), "{end}");
        assert!(matches!(seen[2..], [Seen::Close(1000, _)]), "{seen:?}");
        assert_eq!(driven.session.next_deadline(), None);
    }
}

/// Sentences without audio move no offset. Only their number limits the messages and records that are
/// kept.
#[test]
fn silent_sentences_fill_no_memory() {
    const MOST: usize = 4 * 1024 * 1024;
    let text = append(&"Silent. ".repeat(40));
    for (options, is_paused) in [("", false), (r#","resumable":true"#, false), ("", true)] {
        let mut driven = v1(SessionConfig { keep_bytes: 1 << 18, ..settings() });
        let segmentation = r#""segmentation":{"minChars":0,"firstClause":false}"#;
        driven.say(&start_with(&format!(r#""source":"append",{segmentation}{options}"#)));
        driven.settle();
        if is_paused {
            driven.say(PAUSE);
        }
        let mut spoken = 0;
        for _ in 0..1_000 {
            driven.say(&text);
            driven.settle();
            driven.take();
            spoken += driven.asked.len();
            driven.asked.clear();
            let memory = driven.session.memory_bytes();
            assert!(memory < MOST, "{memory} bytes after {spoken} sentences");
        }
        if is_paused {
            assert_eq!(spoken, 0, "sentences spoken during a pause");
            driven.say(&text);
            assert_refused(&driven.settled(), "buffer_full");
            driven.say(RESUME);
            driven.settle();
            // The last one is not cut yet.
            assert_eq!(driven.asked.len(), 39, "the buffered text is spoken");
        } else {
            assert!(spoken > 39_000, "{spoken}");
        }
        // The session still works.
        driven.take();
        driven.say(&append("Heard well. "));
        driven.say(CANCEL);
        let seen = driven.settled();
        assert_eq!(of_type(&seen, "cancelled").len(), 1, "{seen:?}");
    }
}

#[test]
fn spoken_text_has_the_latest_sentences() {
    let mut driven = v1(settings());
    driven.say(&start_with(r#""source":"append","segmentation":{"minChars":0,"firstClause":false}"#));
    let speak = |driven: &mut Driven, numbers: std::ops::Range<usize>| {
        for n in numbers {
            driven.say(&append(&format!("Say {n}. ")));
            driven.settle();
            driven.wire.clear();
        }
        driven.say(FLUSH);
        driven.settle();
        driven.take();
    };
    let spoken = |numbers: std::ops::Range<usize>| numbers.map(|n| format!("Say {n}. ")).collect::<String>();
    // The sentences since the last cancel. The oldest records of the stream are dropped by now.
    speak(&mut driven, 0..4_000);
    driven.say(CANCEL);
    driven.take();
    speak(&mut driven, 4_000..7_500);
    driven.say(CANCEL);
    let cancelled = of_type(&driven.settled(), "cancelled").remove(0);
    let heard = cancelled.split_once(r#""spokenText":""#).unwrap().1.split_once('"').unwrap().0;
    assert_eq!(heard.len(), spoken(4_000..7_500).trim_end().len());
    // And where the sentences since the last cancel are more than the records hold.
    speak(&mut driven, 7_500..30_000);
    driven.say(&append("Silent. And this. "));
    driven.say(FLUSH);
    driven.settle();
    driven.take();
    driven.say(CANCEL);
    let cancelled = of_type(&driven.settled(), "cancelled").remove(0);
    let (before, after) = cancelled.split_once(r#""spokenText":""#).unwrap();
    assert!(before.contains(r#""index":30001,"#), "{before}");
    let heard = after.split_once('"').unwrap().0;
    let first: usize = heard.split(['.', ' ']).nth(1).unwrap().parse().unwrap();
    assert!((7_501..28_000).contains(&first), "from {first} on");
    let latest = spoken(first..30_000);
    assert_eq!(heard.len(), latest.len() + "And this.".len());
    assert!(heard.starts_with(&latest) && heard.ends_with("And this."), "no silent sentence");
}
