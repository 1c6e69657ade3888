//! Places to which a client returns, and the ends of streams that it may have missed.

use super::*;

const SENTENCES: [&str; 3] = ["Hello my friend.", "I am ready.", "And so on."];
const FED: &str = r#"{"type":"start_session","source":"append","resumable":true}"#;

fn place(offset: usize) -> Place {
    Place { offset: offset as u64, ..Place::default() }
}

fn keeping(keep_bytes: u64) -> SessionConfig {
    SessionConfig { keep_bytes, ..settings() }
}

/// The `recovered` among these frames.
fn recovered(seen: &[Seen]) -> serde_json::Value {
    let messages = of_type(seen, "recovered");
    assert_eq!(messages.len(), 1, "{seen:?}");
    serde_json::from_str(&messages[0]).unwrap()
}

/// A session whose client has lost its connection after everything was sent.
fn lost(config: SessionConfig) -> Driven {
    let mut driven = v1(config);
    driven.say(&resumable(&SENTENCES));
    driven.settle();
    driven.confirm();
    driven.lose();
    driven
}

#[test]
fn recover_of_another_stream_loses_the_position_and_keeps_the_session() {
    let second = ["Another one.", "And more."];
    for moves in [false, true] {
        for (stream, is_right) in
            [(Some(1), false), (None, false), (Some(3), false), (Some(0), false), (Some(2), true)]
        {
            for offset in [0, 1, 50, all_audio(&second).len()] {
                let mut driven = v1(keeping(1 << 20));
                driven.say(&resumable(&SENTENCES));
                driven.settle();
                driven.say(&resumable(&second));
                driven.settle();
                driven.lose();
                if moves {
                    driven.move_to_another_process();
                }
                let at = format!("{stream:?}, {offset}, moves {moves}");
                driven.recover_at(Place { stream, ..place(offset) });
                if !is_right {
                    assert_lost(&driven.settled(), &at);
                    driven.lose();
                    driven.recover_at(Place { stream: Some(2), ..place(offset) });
                }
                let seen = driven.settled();
                assert_eq!(recovered(&seen)["stream"], 2, "{at}");
                assert!(audio_of(&seen) == all_audio(&second)[offset..], "{at}: {seen:?}");
            }
        }
    }
}

#[test]
fn recover_with_a_cancel_that_is_unknown_loses_the_position() {
    for (rev, is_right) in [(None, true), (Some(0), true), (Some(1), true), (Some(2), false)] {
        for moves in [false, true] {
            let mut driven = v1(keeping(1 << 20));
            driven.say(FED);
            driven.say(&append("Hello my friend. "));
            driven.say(FLUSH);
            driven.settle();
            driven.say(CANCEL);
            let seen = driven.settled();
            let cancelled = &of_type(&seen, "cancelled")[0];
            assert_eq!(number(cancelled, "rev"), 1);
            let offset = number(cancelled, "offset") as usize;
            driven.lose();
            if moves {
                driven.move_to_another_process();
            }
            driven.recover_at(Place { rev, ..place(offset) });
            let seen = driven.settled();
            match is_right {
                true => assert_eq!(recovered(&seen)["rev"], 1, "{rev:?}"),
                false => assert_lost(&seen, &format!("{rev:?}")),
            }
        }
    }
}

#[test]
fn recovered_has_the_pause_and_the_text_taken() {
    for is_paused in [false, true] {
        let mut driven = v1(keeping(1 << 20));
        driven.say(&start_with(r#""source":"append","resumable":true,"prompt":"Hé 😀""#));
        driven.say(&append("! And"));
        driven.say(&append(&"x".repeat(401)));
        driven.say(r#"{"type":"append","text":"a\ud83d"}"#);
        driven.say(r#"{"type":"append","text":"\ude00b."}"#);
        driven.say(CANCEL);
        if is_paused {
            driven.say(PAUSE);
        }
        driven.settle();
        driven.lose();
        driven.recover(0);
        let recovered = recovered(&driven.settled());
        assert_eq!(recovered["textOffset"], 5 + 5 + 2 + 3, "the text over the limit was not taken");
        assert_eq!(recovered["paused"], is_paused);
    }
}

#[test]
fn half_a_surrogate_pair_waits_for_the_other_half() {
    let table: [(&[&str], &str); 6] = [
        (&[r"One \ud83d", r"\ude00."], "One \u{1f600}."),
        (&[r"One \ud83d", "", r"\ude00 two."], "One \u{1f600} two."),
        (&[r"One \ud83d", r"x."], "One \u{fffd}x."),
        (&[r"One \ude00\ud83d\ud83d", r"\ud83d\ude00."], "One \u{fffd}\u{fffd}\u{fffd}\u{1f600}."),
        (&[r"One \ud83d"], "One \u{fffd}"),
        (&[r"\ude00 one."], "\u{fffd} one."),
    ];
    for (parts, expected) in table {
        for moves in [false, true] {
            // As appended text, and with the first part as the prompt.
            for has_prompt in [false, true] {
                let mut driven = v1(keeping(1 << 20));
                let first = usize::from(has_prompt);
                match has_prompt {
                    true => driven.say(&start_with(&format!(
                        r#""source":"append","resumable":true,"prompt":"{}""#,
                        parts[0]
                    ))),
                    false => driven.say(FED),
                }
                for part in &parts[first..] {
                    if moves {
                        driven.lose();
                        driven.move_to_another_process();
                        driven.recover(0);
                    }
                    driven.say(&format!(r#"{{"type":"append","text":"{part}"}}"#));
                }
                driven.say(DRAIN);
                driven.settle();
                let texts: Vec<_> = driven.asked.iter().map(|(text, _)| text.as_str()).collect();
                assert_eq!(texts, [expected], "{parts:?}");
            }
        }
    }
}

#[test]
fn lone_surrogate_of_any_text_is_a_replacement_character() {
    let mut driven = v1(settings());
    driven.say(r#"{"type":"ping","id":"\ud83d"}"#);
    assert_eq!(driven.settled(), [message("{\"type\":\"pong\",\"id\":\"\u{fffd}\"}")]);
    driven.say(&start_with(r#""prompt":"One \ude00.""#));
    driven.settle();
    assert_eq!(driven.asked[0].0, "One \u{fffd}.");
}

/// The client's checksum covers its bytes since its last `text`.
#[test]
fn recover_compares_the_checksum_at_every_byte() {
    let audio = all_audio(&SENTENCES);
    let starts: Vec<usize> = (0..SENTENCES.len()).map(|n| all_audio(&SENTENCES[..n]).len()).collect();
    for keep_bytes in [1, 60, 1 << 20] {
        for moves in [false, true] {
            for offset in (0..=audio.len()).step_by(3).chain(starts.clone()).chain([audio.len()]) {
                let start = starts.iter().rfind(|start| **start < offset).copied().unwrap_or(0);
                let crc = crc32(&audio[start..offset]);
                let boundary = starts.contains(&offset).then_some(0);
                for (crc32, is_right) in
                    boundary.into_iter().map(|c| (c, true)).chain([(crc, true), (crc ^ 1, false)])
                {
                    let mut driven = lost(keeping(keep_bytes));
                    if moves {
                        driven.move_to_another_process();
                    }
                    driven.recover_at(Place { crc32: Some(crc32), ..place(offset) });
                    let seen = driven.settled();
                    let at = format!("{offset}, kept {keep_bytes}, moves {moves}, {crc32:08x}");
                    if is_right {
                        assert_eq!(recovered(&seen)["recovered"], true, "{at}");
                        assert!(audio_of(&seen) == audio[offset..], "{at}");
                        continue;
                    }
                    assert_eq!(recovered(&seen)["recovered"], false, "{at}");
                    assert_eq!(audio_of(&seen), [0; 0], "{at}");
                    assert!(matches!(seen.last(), Some(Seen::Close(4411, _))), "{at}: {seen:?}");
                    driven.lose();
                    driven.recover(offset);
                    assert!(audio_of(&driven.settled()) == audio[offset..], "{at}: the session still waits");
                }
            }
        }
    }
}

/// Another take of a sentence has other audio.
fn retaken(sentence: &Sentence) -> (Vec<u8>, Option<&'static str>) {
    (retake(&sentence.text), None)
}

fn retake(text: &str) -> Vec<u8> {
    spoken(text).0.into_iter().map(|byte| byte ^ 0x80).chain([1; 9]).collect()
}

/// A process is killed in the middle of a sentence whose end no other one knows: the client is further than the
/// snapshot.
#[test]
fn sentence_that_a_kill_has_cut_begins_anew() {
    let starts: Vec<usize> = (0..=SENTENCES.len()).map(|n| all_audio(&SENTENCES[..n]).len()).collect();
    for (index, is_twice) in (0..SENTENCES.len()).flat_map(|n| [(n, false), (n, true)]) {
        let mut driven = v1(SessionConfig { is_deterministic: false, is_paced: true, ..keeping(1) });
        driven.say(&resumable(&SENTENCES));
        // The snapshot is made when the sentence is begun.
        while driven.asked.len() <= index {
            driven.speak();
            driven.write(|offered| offered);
            driven.now += Duration::from_millis(20);
        }
        for offset in starts[index] + 1..=starts[index + 1] {
            let mut driven = driven.fork();
            driven.voice_of = retaken;
            driven.recover(offset);
            let at = format!("{offset} in sentence {index}, twice {is_twice}");
            assert_eq!(recovered(&driven.settled())["code"], "position_lost", "{at}");
            driven.lose();
            driven.recover_at(Place { is_inexact: true, ..place(offset) });
            if is_twice {
                // The answer was lost.
                driven.lose();
                driven.recover_at(Place { is_inexact: true, ..place(offset) });
            }
            let (mut heard, mut answer) = (Vec::new(), None);
            for _ in 0..200 {
                let seen = driven.settled();
                if answer.is_none() {
                    answer = Some(recovered(&seen));
                }
                heard.extend(audio_of(&seen));
                driven.now += Duration::from_millis(20);
            }
            let answer = answer.unwrap();
            let place = (&answer["exact"], &answer["offset"], &answer["index"]);
            assert_eq!(place, (&false.into(), &starts[index].into(), &index.into()), "{at}: {answer}");
            let expected: Vec<u8> = SENTENCES[index..].iter().flat_map(|text| retake(text)).collect();
            assert!(heard == expected, "{at}: {} of {}", heard.len(), expected.len());
        }
    }
}

#[test]
fn recover_inexactly_begins_the_sentence_anew() {
    let total = all_audio(&SENTENCES).len();
    for is_deterministic in [false, true] {
        for moves in [false, true] {
            for offset in (0..=total).step_by(5) {
                for is_inexact in [false, true] {
                    let mut driven = lost(SessionConfig { is_deterministic, ..keeping(1) });
                    let base = driven.session.stream.as_ref().unwrap().log().base_bytes() as usize;
                    if moves {
                        driven.move_to_another_process();
                    }
                    driven.voice_of = retaken;
                    driven.recover_at(Place { is_inexact, ..place(offset) });
                    let seen = driven.settled();
                    let at = format!(
                        "{offset}, deterministic {is_deterministic}, moves {moves}, inexact {is_inexact}"
                    );
                    if !moves && offset >= base {
                        assert_eq!(recovered(&seen)["exact"], true, "{at}");
                        continue;
                    }
                    let again_from = |index: usize| -> Vec<u8> {
                        SENTENCES[index..].iter().flat_map(|text| retake(text)).collect()
                    };
                    let border = (0..=SENTENCES.len()).find(|n| all_audio(&SENTENCES[..*n]).len() == offset);
                    if let Some(border) = border.filter(|_| moves && !is_deterministic) {
                        // Any take of a sentence will do for a client that has nothing of it.
                        let answer = recovered(&seen);
                        let place = (&answer["exact"], &answer["offset"]);
                        assert_eq!(place, (&true.into(), &offset.into()), "{at}: {answer}");
                        assert!(audio_of(&seen) == again_from(border), "{at}: {seen:?}");
                        assert_eq!(of_type(&seen, "text").len(), SENTENCES.len() - border, "{at}");
                        assert_eq!(of_type(&seen, "session_end").len(), 1, "{at}");
                        continue;
                    }
                    if !is_inexact {
                        assert_eq!(recovered(&seen)["code"], "position_lost", "{at}");
                        assert_eq!(audio_of(&seen), [0; 0], "{at}");
                        driven.lose();
                        driven.recover_at(Place { is_inexact: true, ..place(offset) });
                    }
                    let seen = if is_inexact { seen } else { driven.settled() };
                    let answer = recovered(&seen);
                    assert_eq!(answer["recovered"], true, "{at}");
                    // A client that has nothing of the sentence misses nothing.
                    let is_start = (0..=SENTENCES.len()).any(|n| all_audio(&SENTENCES[..n]).len() == offset);
                    assert!(answer["exact"] == false || is_start, "{at}");
                    let index = answer["index"].as_u64().unwrap() as usize;
                    let start = all_audio(&SENTENCES[..index]).len();
                    assert_eq!(answer["offset"], start, "{at}");
                    assert!(start <= offset && offset <= start + spoken(SENTENCES[index]).0.len(), "{at}");
                    assert!(audio_of(&seen) == again_from(index), "{at}: {seen:?}");
                    let texts = of_type(&seen, "text");
                    assert_eq!(texts.len(), SENTENCES.len() - index, "{at}");
                    assert_eq!(number(&texts[0], "offset") as usize, start, "{at}");
                    assert_eq!(of_type(&seen, "session_end").len(), 1, "{at}");
                }
            }
        }
    }
}

/// A client that comes back too early, and then at its real position, which was sent before.
#[test]
fn recover_twice_reaches_the_later_position() {
    let audio = all_audio(&SENTENCES);
    for keep_bytes in [1, 60, 1 << 20] {
        for moves in [false, true] {
            for (first, step) in (0..audio.len()).step_by(9).zip(0..) {
                for second in (first..=audio.len()).step_by(7) {
                    let mut driven = lost(keeping(keep_bytes));
                    driven.recover(first);
                    for _ in 0..step % 5 {
                        driven.speak();
                        driven.write(|_| 40);
                    }
                    driven.lose();
                    if moves {
                        driven.move_to_another_process();
                    }
                    driven.recover(second);
                    let seen = driven.settled();
                    let at = format!("{first}, then {second}, kept {keep_bytes}, moves {moves}");
                    let answer = recovered(&seen);
                    assert_eq!(
                        (&answer["recovered"], &answer["offset"]),
                        (&true.into(), &second.into()),
                        "{at}"
                    );
                    assert!(audio_of(&seen) == audio[second..], "{at}");
                    for text in of_type(&seen, "text") {
                        let end = number(&text, "offset") as usize
                            + spoken(SENTENCES[number(&text, "index") as usize]).0.len();
                        assert!(end >= second, "{at}: {text}");
                    }
                    assert_eq!(of_type(&seen, "session_end").len(), 1, "{at}");
                }
            }
        }
    }
}

#[test]
fn cancelled_sentence_without_audio_does_not_come_again() {
    let [first, second] = ["Hello my friend.", "I am ready."];
    // Sentences that were heard whole before it.
    for before in [false, true] {
        for moves in [false, true] {
            let mut driven = v1(keeping(1 << 20));
            driven.say(FED);
            if before {
                driven.say(&append(&format!("{first} ")));
                driven.say(FLUSH);
                driven.settle();
            }
            driven.say(&append(&format!("{second} ")));
            driven.say(FLUSH);
            driven.speak_all();
            // The answer, and the message alone.
            let text = format!(r#"{{"type":"text","data":"{second}","index":{},"#, u64::from(before));
            let ahead = driven.outgoing.len();
            driven.write(|_| ahead + 2);
            driven.wire.append(&mut driven.outgoing);
            assert!(of_type(&driven.take(), "text").last().unwrap().starts_with(&text));
            driven.say(CANCEL);
            let offset = if before { spoken(first).0.len() } else { 0 };
            assert_eq!(number(&of_type(&driven.settled(), "cancelled")[0], "offset") as usize, offset);
            for back in [0, offset] {
                driven.lose();
                if moves {
                    driven.move_to_another_process();
                }
                driven.recover(back);
                let seen = driven.settled();
                if moves && back < offset {
                    // No other process can cut it off again.
                    assert_eq!(recovered(&seen)["recovered"], false);
                    continue;
                }
                assert!(audio_of(&seen) == all_audio(&[first])[back..offset.max(back)], "{seen:?}");
                assert!(!of_type(&seen, "text").iter().any(|text| text.contains(second)), "{seen:?}");
            }
        }
    }
}

#[test]
fn recover_within_a_sample_is_refused_and_loses_nothing() {
    let mut driven = v1(keeping(1 << 20));
    let json = resumable(&SENTENCES);
    driven.say(&format!(r#"{},"audio":{{"encoding":"pcm_s16le"}}}}"#, &json[..json.len() - 1]));
    driven.settle();
    driven.lose();
    driven.wire.clear();
    assert_eq!(driven.session.check_place(&place(7)), Err(Misplaced::WithinSample(2)));
    driven.recover(7);
    assert_refused(&driven.settled(), "bad_message");
    driven.recover(8);
    assert!(audio_of(&driven.settled()) == all_audio(&SENTENCES)[8..]);
}

/// The client sent `end` while the last words were on their way to it.
#[test]
fn end_with_drain_after_the_last_word_keeps_the_session_until_it_arrives() {
    let total = all_audio(&SENTENCES).len();
    for offset in [1, total / 2, total] {
        let mut driven = v1(keeping(1 << 20));
        driven.say(&resumable(&SENTENCES));
        driven.settle();
        driven.take();
        driven.say(DRAIN);
        assert_eq!(driven.settled(), ended_by_client(), "with no stream running");
        driven.lose();
        driven.recover(offset);
        let seen = driven.settled();
        assert!(audio_of(&seen) == all_audio(&SENTENCES)[offset..], "{offset}");
        assert!(matches!(seen[..], [.., Seen::Message(_), Seen::Close(1000, _)]), "{seen:?}");
        assert_eq!(of_type(&seen, "session_end").len(), 1);
    }
    // Without `drain` it is over.
    let mut driven = v1(keeping(1 << 20));
    driven.say(&resumable(&SENTENCES));
    driven.settle();
    driven.say(END);
    assert!(driven.session.is_over() && !driven.session.is_resumable());
}

/// The engine has no capacity left, for this sentence or in the middle of it.
#[test]
fn overloaded_engine_suspends_a_resumable_session() {
    for fails_at in 0..20 {
        let mut driven = v1(keeping(1 << 20));
        driven.say(&resumable(&SENTENCES));
        for _ in 0..fails_at {
            driven.speak();
            driven.write(|_| 60);
        }
        if driven.speeches.is_empty() {
            break;
        }
        driven.handle(Input::Engine(Engine::Failed { code: Code::Overloaded, message: "No capacity." }));
        driven.act();
        assert_eq!((driven.speeches.len(), driven.session.is_over()), (0, false));
        assert!(matches!(driven.closed, Some(Seen::Close(4503, _))));
        driven.wire.append(&mut driven.outgoing);
        let mut client = audio_of(&driven.take());
        driven.lose();
        driven.recover(client.len());
        let seen = driven.settled();
        client.extend(audio_of(&seen));
        assert_eq!(recovered(&seen)["recovered"], true, "{fails_at}");
        // A sentence that was begun ends where it failed, and no other is lost.
        let mut texts: Vec<u64> = driven
            .take()
            .iter()
            .chain(&seen)
            .filter_map(|seen| match seen {
                Seen::Message(json) if json.starts_with(r#"{"type":"text""#) => Some(number(json, "index")),
                _ => None,
            })
            .collect();
        texts.dedup();
        assert!(texts.is_sorted() && texts.last() == Some(&2), "{fails_at}: {texts:?}");
        let last = all_audio(&SENTENCES[2..]);
        assert!(client.ends_with(&last) || fails_at >= 8, "{fails_at}: it fails in the last one");
        assert_eq!(of_type(&seen, "session_end").len(), 1, "{fails_at}");
    }
    // Another session ends.
    let mut driven = v1(settings());
    driven.say(&start("One."));
    driven.handle(Input::Engine(Engine::Failed { code: Code::Overloaded, message: "No capacity." }));
    driven.act();
    assert!(driven.session.is_over());
}

#[test]
fn close_keeps_a_resumable_session_as_its_table_says() {
    let rate = Rate::per_sec(1, 3);
    let limited = SessionConfig { messages: Some(rate), ..keeping(1 << 20) };
    let mut driven = v1(limited);
    driven.say(&resumable(&SENTENCES));
    while driven.closed.is_none() {
        driven.say(r#"{"type":"ping"}"#);
    }
    assert!(matches!(driven.closed, Some(Seen::Close(4429, _))), "{:?}", driven.closed);
    driven.lose();
    driven.recover(0);
    assert!(audio_of(&driven.settled()) == all_audio(&SENTENCES));

    let idle = SessionConfig { idle_timeout: Some(Duration::from_secs(9)), ..keeping(1 << 20) };
    let mut driven = v1(idle);
    driven.say(&resumable(&SENTENCES));
    driven.settle();
    driven.now += Duration::from_secs(10);
    driven.on_time();
    assert!(matches!(driven.closed, Some(Seen::Close(4408, _))), "{:?}", driven.closed);
    driven.lose();
    driven.recover(9);
    assert!(audio_of(&driven.settled()) == all_audio(&SENTENCES)[9..]);
}

#[test]
fn message_that_crosses_the_end_of_the_stream_is_no_error() {
    for is_resumable in [false, true] {
        let mut driven = v1(settings());
        driven.say(&if is_resumable { resumable(&SENTENCES) } else { start(&SENTENCES.join(" ")) });
        driven.settled();
        for late in
            [CANCEL, r#"{"type":"cancel","playedMs":4}"#, r#"{"type":"ack","playedMs":4}"#, PAUSE, RESUME]
        {
            driven.say(late);
            assert_eq!(of_type(&driven.settled(), "error"), [""; 0], "{late}");
        }
        driven.say(&start("One."));
        assert_eq!(of_type(&driven.settled(), "session_end").len(), 1);
    }
}

#[test]
fn usage_counts_what_the_guide_says() {
    let mut driven = v1(keeping(1));
    driven.say(FED);
    driven.now += Duration::from_secs(5);
    driven.say(&append("Fails at once. Hello my friend. "));
    driven.say(FLUSH);
    driven.now += Duration::from_millis(30);
    driven.say(PAUSE);
    driven.now += Duration::from_secs(7);
    driven.lose();
    driven.now += Duration::from_secs(7);
    driven.recover(0);
    driven.say(RESUME);
    driven.now += Duration::from_millis(40);
    driven.settle();
    let usage = driven.session.stream.as_ref().unwrap().usage();
    let ms = ms_of(spoken("Hello my friend.").0.len()) as u64;
    assert_eq!(
        (usage.first_audio_ms, usage.chars),
        (70, 16),
        "without the pause, and the sentence that failed"
    );
    assert_eq!((usage.audio_ms, usage.synthesised_ms, usage.wasted_ms), (ms, ms, 0));
    for replays in 1..4 {
        driven.confirm();
        driven.lose();
        driven.recover(1);
        driven.settle();
        let usage = driven.session.stream.as_ref().unwrap().usage();
        assert_eq!((usage.audio_ms, usage.chars), (ms, 16));
        assert_eq!(usage.synthesised_ms, ms_of(spoken("Hello my friend.").0.len() * (1 + replays)) as u64);
    }
}

fn start_from(index: usize, offset: usize, crc32: Option<u32>, options: &str) -> String {
    let crc32 = crc32.map_or(String::new(), |crc32| format!(r#","crc32":"{crc32:08x}""#));
    let from = format!(r#""from":{{"index":{index},"offset":{offset}{crc32}}}"#);
    start_with(&format!(r#""prompt":"{}",{from}{options}"#, SENTENCES.join(" ")))
}

#[test]
fn from_begins_at_every_byte() {
    let audio = all_audio(&SENTENCES);
    let resumable = r#","resumable":true"#;
    for is_paced in [false, true] {
        for index in 0..SENTENCES.len() {
            let start = all_audio(&SENTENCES[..index]).len();
            let end = start + spoken(SENTENCES[index]).0.len();
            for offset in start..=end {
                for crc32 in [None, Some(crc32(&audio[start..offset]))] {
                    let at = format!("{offset} in {index}, {crc32:?}, paced {is_paced}");
                    let mut driven =
                        v1(SessionConfig { is_paced, ahead: Duration::from_secs(9), ..keeping(1 << 20) });
                    driven.say(&start_from(index, offset, crc32, resumable));
                    let seen = driven.settled();
                    assert!(audio_of(&seen) == audio[offset..], "{at}");
                    let texts = of_type(&seen, "text");
                    assert_eq!(number(&texts[0], "index") as usize, index, "{at}");
                    assert_eq!(number(&texts[0], "offset") as usize, start, "{at}");
                    assert_eq!(texts.len(), SENTENCES.len() - index, "{at}");
                    let ends = of_type(&seen, "sentence_end");
                    assert_eq!((ends.len(), number(&ends[0], "offset") as usize), (texts.len(), end), "{at}");
                    let last = &of_type(&seen, "session_end")[0];
                    assert!(
                        last.contains(&format!(r#""audioMs":{},"#, ms_of(audio.len() - offset))),
                        "{last}"
                    );
                }
            }
        }
    }
}

/// A stream that begins at a position is lost before it has got there, or after.
#[test]
fn from_and_recover_go_together() {
    let audio = all_audio(&SENTENCES);
    let (index, offset) = (2, audio.len() - 9);
    for steps in 0..14 {
        for moves in [false, true] {
            let mut driven = v1(keeping(1 << 20));
            driven.say(&start_from(index, offset, None, r#","resumable":true"#));
            for _ in 0..steps {
                driven.speak();
                driven.write(|_| 20);
            }
            driven.lose();
            if moves {
                driven.move_to_another_process();
            }
            driven.recover(offset);
            let seen = driven.settled();
            let at = format!("{steps} steps, moves {moves}");
            assert_eq!(recovered(&seen)["offset"], offset, "{at}: {seen:?}");
            assert!(audio_of(&seen) == audio[offset..], "{at}: {seen:?}");
            assert!(of_type(&seen, "text").iter().all(|text| number(text, "index") == 2), "{at}");
        }
    }
}

#[test]
fn from_that_does_not_fit_is_refused() {
    let audio = all_audio(&SENTENCES);
    let first = spoken(SENTENCES[0]).0.len();
    // At once.
    let table = [
        (start_from(3, 0, None, ""), "\\\"from.index\\\" must be below 3"),
        (start_from(1, first + 1, None, r#","audio":{"encoding":"pcm_s16le"}"#), "multiple of 2"),
        (start_with(r#""source":"append","from":{"index":0,"offset":0}"#), "verbatim"),
        (start_with(r#""from":{"index":0}"#), "from.offset"),
        (start_with(r#""from":{"offset":0}"#), "from.index"),
        (start_with(r#""from":{"index":0,"offset":0,"crc32":"xyz"}"#), "eight hexadecimal digits"),
    ];
    for (json, why) in table {
        let mut driven = v1(settings());
        driven.say(&json);
        let seen = driven.settled();
        assert_refused(&seen, "bad_message");
        assert!(matches!(&seen[0], Seen::Message(json) if json.contains(why)), "{seen:?}");
        driven.say(&start("One."));
        assert_eq!(of_type(&driven.settled(), "session_end").len(), 1);
    }
    let mut driven = v1(SessionConfig { is_deterministic: false, ..settings() });
    driven.say(&start_from(0, 0, None, ""));
    assert_refused(&driven.settled(), "bad_message");
    // Once the sentence is known.
    for (index, offset, crc32) in [
        (0, first + 1, None),
        (1, first - 1, None),
        (1, audio.len(), None),
        (2, audio.len() + 1, None),
        (1, first + 9, Some(7)),
        (1, first, Some(7)),
    ] {
        let mut driven = v1(settings());
        driven.say(&start_from(index, offset, crc32, ""));
        let seen = driven.settled();
        let at = format!("{index}, {offset}, {crc32:?}");
        assert_eq!(audio_of(&seen), [0; 0], "{at}");
        assert_eq!(of_type(&seen, "text"), [""; 0], "{at}");
        let errors = of_type(&seen, "error");
        assert!(errors.len() == 1 && errors[0].contains(&format!("byte {offset}")), "{at}: {errors:?}");
        assert!(of_type(&seen, "session_end")[0].contains(r#""reason":"error""#), "{at}");
        assert_eq!((driven.closed.clone(), driven.speeches.len()), (None, 0), "{at}");
        driven.say(&start("One."));
        assert_eq!(of_type(&driven.settled(), "session_end").len(), 1);
    }
}
