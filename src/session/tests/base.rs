//! The messages of the base protocol: `start_session`, `pause`, `resume`, `end`.

use super::*;

#[test]
fn start_session_speaks_the_sentences_in_order() {
    let table: [(&str, &[&str]); 5] = [
        ("One.", &["One."]),
        ("The first one. The second one.", &["The first one.", "The second one."]),
        ("One more! Another? Yes.", &["One more!", "Another?", "Yes."]),
        ("  Spaces around.\n\n  And between. ", &["Spaces around.", "And between."]),
        ("no end", &["no end"]),
    ];
    for (prompt, sentences) in table {
        let mut driven = driven();
        driven.say(&start(prompt));
        driven.settle();
        assert_eq!(driven.take(), stream(sentences), "{prompt:?}");
        let asked: Vec<_> = sentences.iter().map(|&s| s.to_owned()).zip(0..).collect();
        assert_eq!(driven.asked, asked);
    }
}

#[test]
fn start_session_without_a_prompt_speaks_the_greeting() {
    let mut driven = driven();
    driven.say(START);
    driven.settle();
    assert_eq!(driven.take(), stream(&GREETED));
}

#[test]
fn start_session_with_nothing_to_speak_ends_at_once() {
    for prompt in ["", " ", "\n\r\t \u{a0}\u{3000}"] {
        let mut driven = driven();
        driven.say(&start(prompt));
        // Without a report of the engine.
        driven.write(|offered| offered);
        assert_eq!(driven.take(), stream(&[]), "{prompt:?}");
        assert_eq!(driven.asked, []);
        driven.say(START);
        driven.settle();
        assert_eq!(driven.take(), stream(&GREETED), "after {prompt:?}");
    }
}

#[test]
fn start_session_after_session_end_counts_from_0_again() {
    let mut driven = driven();
    for sentences in [&["One."][..], &["Two.", "Three."], &[], &["Four."]] {
        driven.say(&start(&sentences.join(" ")));
        driven.settle();
        assert_eq!(driven.take(), stream(sentences));
    }
    assert_eq!(driven.cancels, 0);
}

/// The answer to the second `start_session` leaves ahead of the entries in the log, wherever the stream
/// is.
#[test]
fn second_start_session_is_refused_and_changes_nothing() {
    let expected = stream(&GREETED);
    for accepted in 0..*ends(&expected).last().unwrap() {
        let mut driven = driven();
        driven.say(START);
        driven.speak_all();
        driven.write(|_| accepted);
        for second in [START, &start("Something else."), &start("")] {
            driven.say(second);
        }
        driven.settle();
        let (busy, others): (Vec<_>, Vec<_>) = driven.take().into_iter().partition(|s| *s == message(BUSY));
        // An entry counts as sent when it is begun. `session_end` follows the last one, and then
        // another stream may start.
        if ends(&expected).iter().rev().nth(2).is_some_and(|&last| accepted > last) {
            assert_eq!(busy.len(), 2, "{accepted} bytes");
        } else {
            assert_eq!(busy.len(), 3, "{accepted} bytes");
            assert_eq!(others, expected, "{accepted} bytes");
            assert_eq!(driven.asked.len(), GREETED.len());
        }
    }
}

#[test]
fn invalid_message_is_answered_once_and_changes_nothing() {
    let table = [
        "",
        "pause",
        "[]",
        "5",
        "null",
        "{}",
        r#"{"type":null}"#,
        r#"{"type":"Pause"}"#,
        r#"{"type":"session_end"}"#,
        r#"{"type":"start_session","prompt":null}"#,
        r#"{"type":"start_session","prompt":7}"#,
        r#"{"type":"end""#,
    ];
    for text in table {
        let is_error = |seen: &Seen| matches!(seen, Seen::Message(json) if json.starts_with(r#"{"type":"error","message":""#));
        // Before a stream, in the middle of one, while one is paused, after one.
        let mut driven = driven();
        driven.say(text);
        driven.settle();
        assert!(matches!(&driven.take()[..], [one] if is_error(one)), "{text:?} before");
        driven.say(START);
        driven.speak();
        driven.write(|_| 70);
        driven.say(text);
        driven.say(PAUSE);
        driven.say(text);
        driven.settle();
        driven.say(text);
        driven.say(RESUME);
        driven.settle();
        let (errors, others): (Vec<_>, Vec<_>) = driven.take().into_iter().partition(is_error);
        assert_eq!(errors.len(), 3, "{text:?} in the middle");
        assert_eq!(others, stream(&GREETED), "{text:?} in the middle");
        driven.say(text);
        driven.settle();
        assert!(matches!(&driven.take()[..], [one] if is_error(one)), "{text:?} after");
    }
}

#[test]
fn prompt_over_the_limit_in_characters_is_refused() {
    let table =
        [("a", 200, true), ("a", 201, false), ("漢", 200, true), ("漢", 201, false), (" ", 201, false)];
    for (letter, count, fits) in table {
        let mut driven = driven();
        driven.say(&start(&letter.repeat(count)));
        driven.settle();
        let seen = driven.take();
        if fits {
            assert_eq!(seen.last(), stream(&[]).last(), "{count} of {letter:?}");
            assert!(!driven.asked.is_empty());
        } else {
            let error = r#"{"type":"error","message":"The prompt is too long (limit 200 characters). Send it in parts."}"#;
            let end = message(r#"{"type":"session_end"}"#);
            assert_eq!(seen, [message(error), end], "{count} of {letter:?}");
            assert_eq!(driven.asked, []);
        }
        driven.say(START);
        driven.settle();
        assert_eq!(driven.take(), stream(&GREETED), "after {count} of {letter:?}");
    }
}

/// After a pause at any byte only the frame that was begun still leaves, audio or message. After the
/// resume exactly the rest follows.
#[test]
fn pause_holds_at_the_byte_and_resume_continues_with_the_next() {
    let expected = stream(&GREETED);
    let ends = ends(&expected);
    for accepted in 0..=*ends.last().unwrap() {
        for is_spoken in [true, false] {
            let mut driven = driven();
            driven.say(START);
            while driven.wire.len() < accepted {
                if is_spoken {
                    driven.speak_all();
                } else if driven.outgoing.is_empty() && !driven.session.has_output(driven.now) {
                    driven.speak();
                }
                let left = accepted - driven.wire.len();
                driven.write(|_| left);
            }
            driven.say(PAUSE);
            driven.say(PAUSE);
            driven.settle();
            let begun = begun(&ends, accepted);
            assert_eq!(driven.seen(), expected[..begun], "{accepted} bytes");
            driven.say(RESUME);
            driven.say(RESUME);
            driven.settle();
            assert_eq!(driven.take(), expected, "{accepted} bytes");
        }
    }
}

#[test]
fn pause_before_start_session_holds_the_stream_at_its_start() {
    for prompt in ["Hello.", ""] {
        let mut driven = driven();
        driven.say(PAUSE);
        driven.say(&start(prompt));
        driven.settle();
        assert_eq!(driven.take(), [], "{prompt:?}");
        driven.say(RESUME);
        driven.settle();
        let sentences: Vec<_> = [prompt].into_iter().filter(|p| !p.is_empty()).collect();
        assert_eq!(driven.take(), stream(&sentences), "{prompt:?}");
    }
}

#[test]
fn end_at_every_byte_sends_no_more_of_the_stream() {
    let expected = stream(&GREETED);
    let ends = ends(&expected);
    for accepted in 0..=*ends.last().unwrap() {
        for is_paused in [false, true] {
            let mut driven = driven();
            driven.say(START);
            driven.speak_all();
            driven.write(|_| accepted);
            if is_paused {
                driven.say(PAUSE);
            }
            let is_streaming = driven.session.stream.is_some();
            driven.say(END);
            assert_eq!(driven.cancels, usize::from(is_streaming), "{accepted} bytes");
            assert!(driven.speeches.is_empty());
            assert!(!driven.session.wants_speech(driven.now) && !driven.session.has_output(driven.now));
            driven.settle();
            let begun = begun(&ends, accepted);
            let expected = [&expected[..begun], &ended_by_client()].concat();
            assert_eq!(driven.take(), expected, "{accepted} bytes");
        }
    }
}

#[test]
fn messages_after_end_are_not_answered() {
    let mut driven = driven();
    driven.say(END);
    for text in [START, PAUSE, RESUME, END, "nonsense"] {
        driven.say(text);
    }
    // Late reports of an engine that was being stopped.
    driven.handle(Input::Engine(Engine::Audio(Bytes::from_static(b"late"))));
    driven.handle(Input::Engine(Engine::Failed { code: Code::EngineFailed, message: "Too late." }));
    driven.handle(Input::Engine(Engine::Finished));
    driven.handle(Input::Drain(Duration::from_secs(5)));
    driven.settle();
    assert_eq!(driven.take(), ended_by_client());
    assert_eq!(driven.asked, []);
}

#[test]
fn error_of_a_sentence_comes_before_its_sentence_end_and_the_next_sentence() {
    let table: [&[&str]; 6] = [
        &["Fails at once."],
        &["Fails late in it."],
        &["Silent one."],
        &["Good one.", "Fails at once.", "Fails late in it.", "Silent one.", "Good again."],
        &["Silent one.", "Silent two.", "Silent three."],
        &["Fails one.", "Fails two.", "Fails three."],
    ];
    for sentences in table {
        for prefetch in 1..=3 {
            let mut driven = Driven::new(SessionConfig { prefetch, ..settings() });
            driven.say(&start(&sentences.join(" ")));
            driven.settle();
            assert_eq!(driven.take(), stream(sentences), "{sentences:?}");
            driven.say(START);
            driven.settle();
            assert_eq!(driven.take(), stream(&GREETED), "after {sentences:?}");
        }
    }
}

#[test]
fn prefetch_is_the_number_of_sentences_in_synthesis() {
    let sentences = ["One.", "Two.", "Three.", "Four.", "Five."];
    // 0 counts as 1.
    for (prefetch, ahead) in [(0, 1), (1, 1), (2, 2), (3, 3), (100, 5)] {
        let mut driven = Driven::new(SessionConfig { prefetch, ..settings() });
        driven.prefetch = ahead;
        driven.say(&start(&sentences.join(" ")));
        for spoken in 0..sentences.len() {
            assert_eq!(driven.asked.len(), (spoken + ahead).min(sentences.len()), "prefetch {prefetch}");
            while driven.speeches.len() == ahead.min(sentences.len() - spoken)
                && driven.asked.len() == (spoken + ahead).min(sentences.len())
            {
                assert!(driven.speak());
            }
        }
        driven.settle();
        assert_eq!(driven.take(), stream(&sentences), "prefetch {prefetch}");
    }
}

#[test]
fn unsent_audio_beyond_the_look_ahead_stops_the_engine() {
    for is_paused in [true, false] {
        let mut driven = driven();
        driven.say(START);
        if is_paused {
            driven.say(PAUSE);
        }
        let chunk = Bytes::from(vec![1; 10_000]);
        let mut taken = 0;
        while driven.session.wants_speech(driven.now) {
            driven.handle(Input::Engine(Engine::Audio(chunk.clone())));
            taken += 1;
        }
        assert!((10..20).contains(&taken), "{taken} chunks of 10 kB");
        driven.write(|_| 0);
        assert!(!driven.session.wants_speech(driven.now));
        driven.say(RESUME);
        driven.write(|offered| offered);
        assert!(driven.session.wants_speech(driven.now));
    }
}

#[test]
fn drain_finishes_the_stream_and_closes_the_connection() {
    let going_away = || Seen::Close(1001, "The server is going away");
    let mut idle = driven();
    idle.handle(Input::Drain(Duration::from_secs(5)));
    idle.act();
    assert_eq!(idle.take(), [going_away()]);
    idle.say(START);
    idle.settle();
    assert_eq!(idle.asked, [], "no stream starts after the close");

    let expected = stream(&GREETED);
    for accepted in 0..=*ends(&expected).last().unwrap() {
        let mut driven = driven();
        driven.say(START);
        driven.speak_all();
        driven.write(|_| accepted);
        driven.handle(Input::Drain(Duration::from_secs(5)));
        driven.act();
        driven.settle();
        assert_eq!(driven.take(), [&expected[..], &[going_away()]].concat(), "{accepted} bytes");
    }

    let mut paused = driven();
    paused.say(PAUSE);
    paused.say(START);
    paused.handle(Input::Drain(Duration::from_secs(5)));
    paused.settle();
    assert_eq!(paused.take(), [], "a paused stream is still running");
    paused.say(END);
    paused.settle();
    assert_eq!(paused.take(), ended_by_client());
}

#[test]
fn session_end_frees_the_stream_and_the_outputs() {
    let mut driven = driven();
    driven.say(START);
    driven.settle();
    assert!(driven.session.stream.is_none());
    assert_eq!(driven.session.outputs.capacity(), 0);
}
