use super::*;

#[test]
fn a_stream_is_its_sentences_in_order() {
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
fn without_a_prompt_the_greeting_is_spoken() {
    let mut driven = driven();
    driven.say(START);
    driven.settle();
    assert_eq!(driven.take(), stream(&GREETED));
}

#[test]
fn a_prompt_with_nothing_to_speak_ends_at_once() {
    for prompt in ["", " ", "\n\r\t \u{a0}\u{3000}"] {
        let mut driven = driven();
        driven.say(&start(prompt));
        // Without any help of an engine's.
        driven.write(|offered| offered);
        assert_eq!(driven.take(), stream(&[]), "{prompt:?}");
        assert_eq!(driven.asked, []);
        driven.say(START);
        driven.settle();
        assert_eq!(driven.take(), stream(&GREETED), "after {prompt:?}");
    }
}

#[test]
fn one_connection_has_many_streams_each_from_0() {
    let mut driven = driven();
    for sentences in [&["One."][..], &["Two.", "Three."], &[], &["Four."]] {
        driven.say(&start(&sentences.join(" ")));
        driven.settle();
        assert_eq!(driven.take(), stream(sentences));
    }
    assert_eq!(driven.cancels, 0);
}

/// What happened already is on the wire or not: an error answer overtakes what is in the log.
#[test]
fn a_second_start_is_refused_and_changes_nothing() {
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
        // An entry counts as sent when it is begun. The end is told behind the last one, and then
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
fn what_is_no_message_is_answered_once_and_changes_nothing() {
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
        // Before a stream, in the middle of one, while one is held, after one.
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
fn a_prompt_over_the_limit_is_refused_by_characters() {
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
            assert_eq!(seen, [message(error)], "{count} of {letter:?}");
            assert_eq!(driven.asked, []);
        }
        driven.say(START);
        driven.settle();
        assert_eq!(driven.take(), stream(&GREETED), "after {count} of {letter:?}");
    }
}

/// At every byte: at most the frame that was begun still leaves, be it audio or a message,
/// and then exactly the rest.
#[test]
fn pause_holds_at_the_byte_and_resume_goes_on_with_the_next() {
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
fn a_pause_before_the_start_holds_the_stream_at_its_start() {
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
fn end_at_every_byte_lets_nothing_of_the_stream_follow() {
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
fn after_the_end_nothing_is_answered_or_spoken() {
    let mut driven = driven();
    driven.say(END);
    for text in [START, PAUSE, RESUME, END, "nonsense"] {
        driven.say(text);
    }
    // What an engine was about to say when it was stopped.
    driven.handle(Input::Engine(Engine::Audio(Bytes::from_static(b"late"))));
    driven.handle(Input::Engine(Engine::Failed { code: Code::EngineFailed, message: "Too late." }));
    driven.handle(Input::Engine(Engine::Finished));
    driven.handle(Input::Drain(Duration::from_secs(5)));
    driven.settle();
    assert_eq!(driven.take(), ended_by_client());
    assert_eq!(driven.asked, []);
}

#[test]
fn a_sentence_that_fails_has_its_error_and_its_end_and_the_next_goes_on() {
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
fn the_next_sentences_are_in_synthesis_while_one_is_sent() {
    let sentences = ["One.", "Two.", "Three.", "Four.", "Five."];
    // 0 is taken for 1.
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
fn a_stream_that_nobody_takes_stops_its_engine() {
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
fn a_drained_session_finishes_its_stream_and_is_closed() {
    let going = || Seen::Close(1001, "The server is going away");
    let mut idle = driven();
    idle.handle(Input::Drain(Duration::from_secs(5)));
    idle.act();
    assert_eq!(idle.take(), [going()]);
    idle.say(START);
    idle.settle();
    assert_eq!(idle.asked, [], "nothing starts any more");

    let expected = stream(&GREETED);
    for accepted in 0..=*ends(&expected).last().unwrap() {
        let mut driven = driven();
        driven.say(START);
        driven.speak_all();
        driven.write(|_| accepted);
        driven.handle(Input::Drain(Duration::from_secs(5)));
        driven.act();
        driven.settle();
        assert_eq!(driven.take(), [&expected[..], &[going()]].concat(), "{accepted} bytes");
    }

    let mut paused = driven();
    paused.say(PAUSE);
    paused.say(START);
    paused.handle(Input::Drain(Duration::from_secs(5)));
    paused.settle();
    assert_eq!(paused.take(), [], "a stream that is held is still running");
    paused.say(END);
    paused.settle();
    assert_eq!(paused.take(), ended_by_client());
}

#[test]
fn a_session_that_does_nothing_keeps_nothing() {
    let mut driven = driven();
    driven.say(START);
    driven.settle();
    assert!(driven.session.stream.is_none());
    assert_eq!(driven.session.outputs.capacity(), 0);
}
