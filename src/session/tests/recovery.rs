//! `recover`: the session continues on another connection, or in another process.

use super::*;

const SENTENCES: [&str; 3] = ["Hello my friend.", "I am ready.", "And so on."];

/// Checks the frames after `recovered`: the audio from `offset` on, no message twice or out of order.
fn assert_continues(seen: &[Seen], offset: usize, at: &str) {
    let audio = all_audio(&SENTENCES);
    let mut end = 0;
    let index = SENTENCES.iter().position(|text| {
        end += spoken(text).0.len();
        offset < end
    });
    let index = index.unwrap_or(SENTENCES.len() - 1);
    let text_offset = SENTENCES.join(" ").len();
    let recovered = format!(
        r#"{{"type":"recovered","recovered":true,"stream":1,"rev":0,"offset":{offset},"index":{index},"paused":false,"textOffset":{text_offset},"exact":true}}"#
    );
    // A client that has nothing may not know the stream.
    let starts = if offset == 0 { vec![stream_start("verbatim")] } else { Vec::new() };
    assert_eq!(seen[..starts.len()], starts, "{at}");
    assert_eq!(of_type(seen, "stream_start").len(), starts.len(), "{at}");
    assert_eq!(of_type(seen, "recovered"), [recovered], "{at}");
    assert!(audio_of(seen) == audio[offset..], "{at}: not the audio from {offset} on");
    let whole = v1_sentences(&SENTENCES, 0, 0);
    let messages = seen.iter().filter(|seen| whole.contains(seen) && matches!(seen, Seen::Message(_)));
    let messages: Vec<_> = messages.collect();
    let expected: Vec<_> = whole.iter().filter(|seen| matches!(seen, Seen::Message(_))).collect();
    assert!(expected.ends_with(&messages), "{at}: {messages:?}");
    assert_eq!(of_type(seen, "session_end").len(), 1, "{at}");
    assert!(!messages.is_empty(), "{at}: no end of the last sentence");
}

/// Everything was sent, and the connection broke before all of it arrived. The rest of the audio,
/// `session_end` and the close come again.
#[test]
fn recover_after_session_end_continues_at_every_byte() {
    let total = all_audio(&SENTENCES).len();
    for (is_paused, moves) in [(false, false), (true, false), (false, true), (true, true)] {
        for has_arrived in [false, true] {
            // A move writes the session down and restores it, which takes longer than the rest.
            let step = if moves { 35 } else { 7 };
            for offset in (0..=total).step_by(step).chain([total]) {
                let mut driven = v1(SessionConfig { keep_bytes: 1 << 20, ..settings() });
                driven.say(&resumable(&SENTENCES));
                driven.say(DRAIN);
                driven.settle();
                assert!(matches!(driven.seen()[..], [.., Seen::Close(1000, _)]));
                if has_arrived {
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
                assert_continues(&seen, offset, &format!("from {offset} on"));
                assert!(of_type(&seen, "session_end")[0].contains(r#""reason":"ended""#), "{seen:?}");
                assert!(matches!(seen[..], [.., Seen::Close(1000, _)]), "{seen:?}");
            }
        }
    }
}

/// A session that was closed for another reason has nothing left to send.
#[test]
fn closed_session_is_not_resumable() {
    let mut driven = v1(settings());
    driven.say(&resumable(&SENTENCES));
    assert!(driven.session.is_resumable() && !driven.session.is_over());
    while driven.closed.is_none() {
        driven.say("no message");
    }
    assert!(driven.session.is_over() && !driven.session.is_resumable());

    let mut driven = v1(settings());
    driven.say(&resumable(&SENTENCES));
    driven.say(END);
    assert!(driven.session.is_over() && !driven.session.is_resumable());
}

/// Everything is kept. However far the stream was synthesised and sent, a client may recover at every byte
/// that it can have, and gets exactly the rest.
#[test]
fn recover_continues_at_every_sent_byte() {
    let total = all_audio(&SENTENCES).len();
    let wire =
        *ends(&[vec![stream_start("verbatim")], v1_sentences(&SENTENCES, 0, 0)].concat()).last().unwrap();
    for (step, accepted) in (0..wire + 40).step_by(13).enumerate() {
        for (is_paced, moves) in [(false, false), (true, false), (false, true)] {
            // A move writes the session down and restores it, which takes longer than the rest.
            let stride = if moves { 7 } else { 1 };
            if step % stride > 0 {
                continue;
            }
            let mut offset = 0;
            loop {
                let settings = SessionConfig {
                    keep_bytes: 1 << 20,
                    is_paced,
                    ahead: Duration::from_secs(9),
                    ..settings()
                };
                let mut driven = v1(settings);
                driven.say(&resumable(&SENTENCES));
                driven.speak_all();
                driven.write(|_| accepted);
                driven.write(|_| accepted.saturating_sub(wire));
                let sent = usize::try_from(driven.session.sent_bytes()).unwrap();
                driven.lose();
                // A restored log counts all written audio as sent.
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
                assert_continues(&seen, offset, &at);
                offset += stride + offset % 5;
            }
        }
    }
    assert!(total > 200);
}

/// Only lengths and checksums of the sentences are kept: they are replayed.
#[test]
fn recover_replays_audio_that_is_no_longer_kept() {
    let total = all_audio(&SENTENCES).len();
    for keep_bytes in [1, 60] {
        // Everything was synthesised by then, or half of it.
        for events in [1_000, 9] {
            for offset in 0..=total {
                let mut driven = v1(SessionConfig { keep_bytes, prefetch: 2, ..settings() });
                driven.say(&resumable(&SENTENCES));
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
                assert_continues(&driven.settled(), offset, &at);
                // And once more, in the middle of the replay.
                let mut driven = v1(SessionConfig { keep_bytes, prefetch: 2, ..settings() });
                driven.say(&resumable(&SENTENCES));
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
                assert_continues(&driven.settled(), offset, &format!("{at}, twice"));
            }
        }
    }
}

#[test]
fn recover_never_sends_a_replay_that_differs() {
    let total = all_audio(&SENTENCES).len();
    for offset in 0..total - 64 {
        for is_deterministic in [true, false] {
            let mut driven = v1(SessionConfig { keep_bytes: 1, is_deterministic, ..settings() });
            driven.say(&resumable(&SENTENCES));
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
            let first = spoken(SENTENCES[0]).0.len();
            let last = first + spoken(SENTENCES[1]).0.len();
            if has_all || (is_deterministic && offset >= last) {
                assert_continues(&seen, offset, &at);
            } else if is_deterministic && offset < first {
                // The first sentence is the same: it continues, and stops before the second.
                assert!(all_audio(&SENTENCES[..1])[offset..].starts_with(&audio_of(&seen)), "{at}: {seen:?}");
                assert!(matches!(seen.last(), Some(Seen::Close(4411, _))), "{at}: {seen:?}");
            } else {
                assert_eq!(audio_of(&seen), [0; 0], "{at}");
                assert_lost(&seen, &at);
            }
            assert!(!driven.session.has_output(driven.now) || has_all);
        }
    }
}

#[test]
fn recover_without_a_session_is_refused() {
    let mut driven = v1(settings());
    driven.recover(0);
    assert_lost(&driven.settled(), "no stream");
    for (is_expired, code) in [(false, 4404), (true, 4410)] {
        let mut driven = v1(settings());
        driven.handle(Input::Answer(Answer::NotRecovered { is_expired }));
        driven.act();
        let seen = driven.settled();
        let answer = r#"{"type":"recovered","recovered":false,"code":"session_not_found"}"#;
        assert_eq!(seen[0], message(answer));
        assert_refused(&seen[1..2], "session_not_found");
        assert!(matches!(seen[2..], [Seen::Close(close, _)] if close == code), "{seen:?}");
    }
    let mut driven = v1(settings());
    driven.handle(Input::Message(r#"{"type":"recover","sessionId":"a","token":"b","offset":7}"#));
    let recover = Recover::new("a", "b", 7);
    assert_eq!(driven.session.poll(), Some(Output::Recover(Box::new(recover))));
    let [Output::Send(taken), Output::Close(Close::SessionTaken)] = Session::taken() else { panic!() };
    assert_refused(&[message(taken.to_json())], "session_taken");
}

#[test]
fn pause_and_cancel_outlast_the_connection() {
    let mut driven = v1(SessionConfig { keep_bytes: 1 << 20, ..settings() });
    driven.say(&resumable(&SENTENCES));
    driven.speak_all();
    driven.write(|_| 400);
    driven.say(PAUSE);
    driven.lose();
    driven.recover(3);
    let seen = driven.settled();
    assert_eq!((of_type(&seen, "recovered").len(), seen.len()), (1, 1), "{seen:?}");
    driven.say(RESUME);
    assert!(audio_of(&driven.settled()) == all_audio(&SENTENCES)[3..]);

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
                let cancelled = &of_type(&seen, "cancelled")[0];
                let cut = number(cancelled, "offset") as usize;
                let audio = [&all_audio(&SENTENCES)[offset..cut], &all_audio(&["Another."])].concat();
                assert!(audio_of(&seen) == audio, "{at}: {seen:?}");
                let texts = of_type(&seen, "text");
                assert_eq!(number(texts.last().unwrap(), "offset"), cut as u64, "{at}");
                assert!(number(texts.last().unwrap(), "index") <= 2, "{at}");
                // A client may return to a position before the cut, unless `recovered` says otherwise.
                let end = cut + spoken("Another.").0.len();
                driven.lose();
                driven.recover(cut.saturating_sub(5));
                let seen = driven.settled();
                match of_type(&seen, "recovered")[0].contains("true") {
                    true => {
                        let audio =
                            [&all_audio(&SENTENCES)[cut.saturating_sub(5)..cut], &all_audio(&["Another."])];
                        assert!(audio_of(&seen) == audio.concat(), "{at}, {end}: {seen:?}");
                    }
                    false => assert_lost(&seen, &at),
                }
            }
        }
    }
}

/// A client recovers at an earlier sentence and cancels there, so that the cancel cuts off several whole
/// sentences. They are not replayed in another process.
#[test]
fn cancel_before_several_whole_sentences_cuts_off_each_of_them() {
    let total = all_audio(&SENTENCES).len();
    for cut in [1, 8, 112, 113, 200] {
        let mut driven = v1(SessionConfig { keep_bytes: 1 << 20, ..settings() });
        driven.say(&start_with(r#""source":"append","resumable":true"#));
        driven.say(&append(&SENTENCES.join(" ")));
        driven.say(FLUSH);
        assert_eq!(audio_of(&driven.settled()).len(), total);
        driven.lose();
        driven.recover(cut);
        driven.say(CANCEL);
        assert_eq!(number(&of_type(&driven.settled(), "cancelled")[0], "offset"), cut as u64);
        driven.say(&append("Another. "));
        driven.say(FLUSH);
        driven.settled();
        for offset in [cut, cut + 1] {
            driven.lose();
            driven.move_to_another_process();
            driven.recover(offset);
            let seen = driven.settled();
            assert_eq!(of_type(&seen, "recovered").len(), 1, "{cut}: {seen:?}");
            assert!(audio_of(&seen) == all_audio(&["Another."])[offset - cut..], "{cut}: {seen:?}");
        }
    }
}
