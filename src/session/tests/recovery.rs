use super::*;

const TOLD: [&str; 3] = ["Hello my friend.", "I am ready.", "And so on."];

/// What comes behind `recovered`: the audio from `offset` on and nothing twice or out of order.
fn assert_goes_on(seen: &[Seen], offset: usize, at: &str) {
    let audio = all_audio(&TOLD);
    let mut end = 0;
    let index = TOLD.iter().position(|text| {
        end += spoken(text).0.len();
        offset < end
    });
    let index = index.unwrap_or(TOLD.len() - 1);
    let recovered = format!(r#"{{"type":"recovered","recovered":true,"offset":{offset},"index":{index}}}"#);
    assert_eq!(of_type(seen, "recovered"), [recovered], "{at}");
    assert!(audio_of(seen) == audio[offset..], "{at}: not the audio from {offset} on");
    let whole = v1_sentences(&TOLD, 0, 0);
    let messages = seen.iter().filter(|seen| whole.contains(seen) && matches!(seen, Seen::Message(_)));
    let messages: Vec<_> = messages.collect();
    let expected: Vec<_> = whole.iter().filter(|seen| matches!(seen, Seen::Message(_))).collect();
    assert!(expected.ends_with(&messages), "{at}: {messages:?}");
    assert_eq!(of_type(seen, "session_end").len(), 1, "{at}");
    assert!(!messages.is_empty(), "{at}: the end of the last sentence at least");
}

/// Everything was sent, the close too, and the connection broke with it under way: the last words, the
/// end and the close come again.
#[test]
fn a_session_that_has_come_to_its_end_goes_on_at_every_byte() {
    let total = all_audio(&TOLD).len();
    for (is_paused, moves) in [(false, false), (true, false), (false, true), (true, true)] {
        for is_told in [false, true] {
            for offset in (0..=total).step_by(7).chain([total]) {
                let mut driven = v1(SessionConfig { keep_bytes: 1 << 20, ..settings() });
                driven.say(&resumable(&TOLD));
                driven.say(DRAIN);
                driven.settle();
                assert!(matches!(driven.seen()[..], [.., Seen::Close(1000, _)]));
                if is_told {
                    driven.take();
                }
                driven.lose();
                if moves {
                    driven.move_to_another_process();
                }
                driven.recover(offset);
                if is_paused {
                    driven.say(PAUSE);
                    driven.say(RESUME);
                }
                let seen = driven.settled();
                assert_goes_on(&seen, offset, &format!("from {offset} on"));
                assert!(of_type(&seen, "session_end")[0].contains(r#""reason":"ended""#), "{seen:?}");
                assert!(matches!(seen[..], [.., Seen::Close(1000, _)]), "{seen:?}");
            }
        }
    }
}

/// What ended otherwise has nothing more to say, least of all to somebody else.
#[test]
fn a_session_that_was_closed_is_not_kept() {
    let mut driven = v1(settings());
    driven.say(&resumable(&TOLD));
    assert!(driven.session.is_resumable() && !driven.session.is_over());
    while driven.closed.is_none() {
        driven.say("no message");
    }
    assert!(driven.session.is_over() && !driven.session.is_resumable());

    let mut driven = v1(settings());
    driven.say(&resumable(&TOLD));
    driven.say(END);
    assert!(driven.session.is_over() && !driven.session.is_resumable());
}

/// Everything is kept: however far the stream was made and sent, a client may come back at every
/// byte that it can have, and hears exactly the rest.
#[test]
fn a_stream_goes_on_at_every_byte_that_was_sent() {
    let total = all_audio(&TOLD).len();
    let wire = *ends(&[vec![stream_start("verbatim")], v1_sentences(&TOLD, 0, 0)].concat()).last().unwrap();
    for accepted in (0..wire + 40).step_by(13) {
        for (is_paced, moves) in [(false, false), (true, false), (false, true)] {
            let mut offset = 0;
            loop {
                let settings = SessionConfig {
                    keep_bytes: 1 << 20,
                    is_paced,
                    ahead: Duration::from_secs(9),
                    ..settings()
                };
                let mut driven = v1(settings);
                driven.say(&resumable(&TOLD));
                driven.speak_all();
                driven.write(|_| accepted);
                driven.write(|_| accepted.saturating_sub(wire));
                let sent = usize::try_from(driven.session.sent_bytes()).unwrap();
                driven.lose();
                // What is sent and not played is not known elsewhere: all that was written counts as sent.
                let sent = if moves { driven.written_bytes() } else { sent };
                if moves {
                    driven.move_to_another_process();
                }
                driven.now += Duration::from_secs(5);
                driven.recover(offset);
                let at =
                    format!("{accepted} bytes, offset {offset} of {sent}, paced {is_paced}, moves {moves}");
                let seen = driven.settled();
                if offset > sent {
                    assert_lost(&seen, &at);
                    break;
                }
                assert_goes_on(&seen, offset, &at);
                offset += 1 + offset % 5;
            }
        }
    }
    assert!(total > 200);
}

fn assert_lost(seen: &[Seen], at: &str) {
    assert_eq!(
        of_type(seen, "recovered"),
        [r#"{"type":"recovered","recovered":false,"code":"position_lost"}"#],
        "{at}"
    );
    assert_refused(&seen[1..2], "position_lost");
    assert!(matches!(seen[2..], [Seen::Close(4410, _)]), "{at}: {seen:?}");
}

/// Nothing is kept but what the sentences came to: they are spoken again.
#[test]
fn what_is_no_longer_kept_is_spoken_again() {
    let total = all_audio(&TOLD).len();
    for keep_bytes in [1, 60] {
        // How much was made by then: everything, or half of it.
        for events in [1_000, 9] {
            for offset in 0..=total {
                let mut driven = v1(SessionConfig { keep_bytes, prefetch: 2, ..settings() });
                driven.say(&resumable(&TOLD));
                for _ in 0..events {
                    driven.speak();
                    driven.write(|offered| offered);
                }
                let sent = usize::try_from(driven.session.sent_bytes()).unwrap();
                if offset > sent {
                    break;
                }
                driven.lose();
                driven.recover(offset);
                let at = format!("{events} events, offset {offset} of {sent}, kept {keep_bytes}");
                assert_goes_on(&driven.settled(), offset, &at);
                // And once more, in between.
                let mut driven = v1(SessionConfig { keep_bytes, prefetch: 2, ..settings() });
                driven.say(&resumable(&TOLD));
                for _ in 0..events {
                    driven.speak();
                    driven.write(|offered| offered);
                }
                driven.lose();
                driven.recover(offset);
                for _ in 0..offset % 7 {
                    driven.speak();
                }
                driven.lose();
                driven.recover(offset);
                assert_goes_on(&driven.settled(), offset, &format!("{at}, twice"));
            }
        }
    }
}

#[test]
fn what_sounds_different_the_second_time_is_never_heard() {
    let total = all_audio(&TOLD).len();
    for offset in 0..total - 64 {
        for is_deterministic in [true, false] {
            let mut driven = v1(SessionConfig { keep_bytes: 1, is_deterministic, ..settings() });
            driven.say(&resumable(&TOLD));
            driven.settle();
            let has_all =
                driven.session.stream.as_ref().is_some_and(|s| s.log().base_bytes() <= offset as u64);
            driven.lose();
            // One bit of the second sentence.
            driven.voice_of = |sentence| {
                let (mut audio, error) = spoken(&sentence.text);
                audio[7] ^= u8::from(sentence.index == 1);
                (audio, error)
            };
            driven.recover(offset);
            let seen = driven.settled();
            let at = format!("offset {offset}, deterministic {is_deterministic}");
            let first = spoken(TOLD[0]).0.len();
            let last = first + spoken(TOLD[1]).0.len();
            if has_all || (is_deterministic && offset >= last) {
                assert_goes_on(&seen, offset, &at);
            } else if is_deterministic && offset < first {
                // The first sentence was right: it went on, and stopped in front of the second.
                assert!(all_audio(&TOLD[..1])[offset..].starts_with(&audio_of(&seen)), "{at}: {seen:?}");
                assert!(matches!(seen.last(), Some(Seen::Close(4410, _))), "{at}: {seen:?}");
            } else {
                assert_eq!(audio_of(&seen), [0; 0], "{at}");
                assert_lost(&seen, &at);
            }
            assert!(!driven.session.has_output(driven.now) || has_all);
        }
    }
}

#[test]
fn a_client_that_comes_back_for_nothing_is_told() {
    let mut driven = v1(settings());
    driven.recover(0);
    assert_lost(&driven.settled(), "no stream");
    for (is_expired, code) in [(false, 4404), (true, 4410)] {
        let mut driven = v1(settings());
        driven.handle(Input::Answer(Answer::NotRecovered { is_expired }));
        driven.act();
        let seen = driven.settled();
        let told = r#"{"type":"recovered","recovered":false,"code":"session_not_found"}"#;
        assert_eq!(seen[0], message(told));
        assert_refused(&seen[1..2], "session_not_found");
        assert!(matches!(seen[2..], [Seen::Close(close, _)] if close == code), "{seen:?}");
    }
    let mut driven = v1(settings());
    driven.handle(Input::Message(r#"{"type":"recover","sessionId":"a","token":"b","offset":7}"#));
    let recover = Recover { session_id: "a".to_owned(), token: "b".to_owned(), offset: 7 };
    assert_eq!(driven.session.poll(), Some(Output::Recover(Box::new(recover))));
    let [Output::Send(taken), Output::Close(Close::SessionTaken)] = Session::taken() else { panic!() };
    assert_refused(&[message(taken.to_json())], "session_taken");
}

/// A pause outlasts the connection, and so does a cancel.
#[test]
fn what_a_client_asked_for_holds_after_it_came_back() {
    let mut driven = v1(SessionConfig { keep_bytes: 1 << 20, ..settings() });
    driven.say(&resumable(&TOLD));
    driven.speak_all();
    driven.write(|_| 400);
    driven.say(PAUSE);
    driven.lose();
    driven.recover(3);
    let seen = driven.settled();
    assert_eq!((of_type(&seen, "recovered").len(), seen.len()), (1, 1), "{seen:?}");
    driven.say(RESUME);
    assert!(audio_of(&driven.settled()) == all_audio(&TOLD)[3..]);

    for keep_bytes in [1, 1 << 20] {
        for offset in [0, 1, 40, 100] {
            for speaks in 0..9 {
                let mut driven = v1(SessionConfig { keep_bytes, ..settings() });
                driven.say(&start_with(
                    r#""source":"append","prompt":"Hello my friend. I am ready. ","resumable":true"#,
                ));
                driven.say(FLUSH);
                driven.settle();
                let sent = driven.session.sent_bytes() as usize;
                driven.lose();
                driven.recover(offset);
                for _ in 0..speaks {
                    driven.speak();
                }
                driven.write(|_| 150);
                driven.say(CANCEL);
                driven.say(&append("Another. "));
                driven.say(FLUSH);
                let seen = driven.settled();
                let at = format!("{offset} of {sent}, kept {keep_bytes}, {speaks} spoken");
                let told = &of_type(&seen, "cancelled")[0];
                let cut = number(told, "offset") as usize;
                let audio = [&all_audio(&TOLD)[offset..cut], &all_audio(&["Another."])].concat();
                assert!(audio_of(&seen) == audio, "{at}: {seen:?}");
                let texts = of_type(&seen, "text");
                assert_eq!(number(texts.last().unwrap(), "offset"), cut as u64, "{at}");
                assert!(number(texts.last().unwrap(), "index") <= 2, "{at}");
                // Whatever is told to be there from now on is.
                let end = cut + spoken("Another.").0.len();
                driven.lose();
                driven.recover(cut.saturating_sub(5));
                let seen = driven.settled();
                match of_type(&seen, "recovered")[0].contains("true") {
                    true => {
                        let audio =
                            [&all_audio(&TOLD)[cut.saturating_sub(5)..cut], &all_audio(&["Another."])];
                        assert!(audio_of(&seen) == audio.concat(), "{at}, {end}: {seen:?}");
                    }
                    false => assert_lost(&seen, &at),
                }
            }
        }
    }
}
