//! The messages and fields that `aloud.v1` adds, and base clients that use some of them.

use super::*;

#[test]
fn session_start_announces_token_audio_and_limits() {
    let mut driven = Driven::open(settings(), Some(TOKEN));
    let greeting = r#"{"type":"session_start","sessionId":"an-id","protocol":"aloud.v1","token":"a-token","pingIntervalMs":30000,"audio":{"encoding":"mulaw","sampleRate":8000,"channels":1},"limits":{"maxPromptChars":200,"maxMessageBytes":65536,"maxBufferedChars":400,"aheadMs":20,"resumeTtlMs":120000,"maxSessionMs":3600000}}"#;
    assert_eq!(driven.take(), [message(greeting)]);
}

#[test]
fn sentence_end_has_offset_length_and_checksum() {
    let table: [&[&str]; 5] = [
        &["One."],
        &["The first one.", "The second one.", "And a third."],
        &["Good one.", "Fails at once.", "Fails late in it.", "Silent one.", "Good again."],
        &["Silent one."],
        &[],
    ];
    for sentences in table {
        for is_paced in [false, true] {
            let mut driven = v1(SessionConfig { is_paced, ahead: Duration::from_secs(60), ..settings() });
            driven.say(&start(&sentences.join(" ")));
            driven.settle();
            assert_whole(&driven.take(), "verbatim", sentences, "completed");
            assert!(!driven.kept);
        }
    }
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
}

#[test]
fn timestamps_come_between_text_and_sentence_end() {
    // Times from the engine. Where it has none, they are estimated and sent at once, after the audio.
    let mut driven = v1(settings());
    driven.words_of = |sentence| match &sentence.text[..] {
        "Good evening." => vec![
            Word { text_range: 0..4, start: Duration::ZERO, end: Duration::from_millis(3) },
            Word { text_range: 5..13, start: Duration::from_millis(4), end: Duration::from_micros(11_900) },
        ],
        _ => Vec::new(),
    };
    driven.say(&start_with(r#""prompt":"Good evening. A 😀 b.","timestamps":"word""#));
    driven.settle();
    let seen = driven.take();
    let at = |begin: &str| {
        let found =
            seen.iter().position(|seen| matches!(seen, Seen::Message(json) if json.starts_with(begin)));
        found.unwrap_or_else(|| panic!("{begin}"))
    };
    let times = of_type(&seen, "timestamps");
    assert_eq!(
        times[0],
        r#"{"type":"timestamps","index":0,"startMs":0,"source":"engine","words":["Good","evening."],"start":[0,4],"end":[3,11],"charStart":[0,5],"charEnd":[4,13]}"#
    );
    // 13 * 7 bytes before it, 9 * 7 bytes of its own: 7.875 ms.
    let begin =
        r#"{"type":"timestamps","index":1,"startMs":11,"source":"estimate","words":["A","b."],"start":[0,"#;
    assert!(times[1].starts_with(begin), "{}", times[1]);
    assert!(
        times[1].ends_with(r#",8],"charStart":[0,5],"charEnd":[1,7]}"#)
            || times[1].contains(r#"],"charStart":[0,5],"charEnd":[1,7]}"#),
        "{}",
        times[1]
    );
    assert_eq!(times.len(), 2);
    for index in 0..2 {
        let text = at(&format!(
            r#"{{"type":"text","data":"{}","index":{index}"#,
            ["Good evening.", "A 😀 b."][index]
        ));
        let time = at(&format!(r#"{{"type":"timestamps","index":{index}"#));
        let end = at(&format!(r#"{{"type":"sentence_end","index":{index}"#));
        assert!(text < time && time < end);
    }
    // A client that does not ask for times of words gets none.
    for timestamps in ["none", "sentence"] {
        let mut driven = v1(settings());
        driven.words_of = |_| vec![Word { text_range: 0..2, start: Duration::ZERO, end: Duration::ZERO }];
        driven.say(&start_with(&format!(r#""prompt":"One.","timestamps":"{timestamps}""#)));
        driven.settle();
        assert_whole(&driven.take(), "verbatim", &["One."], "completed");
    }
}

#[test]
fn ping_is_answered_at_once() {
    let mut driven = v1(settings());
    driven.say(&start("One."));
    driven.say(PAUSE);
    driven.settled();
    driven.say(r#"{"type":"ping","id":"a \"b\""}"#);
    driven.say(r#"{"type":"ping"}"#);
    assert_eq!(
        driven.settled(),
        [message(r#"{"type":"pong","id":"a \"b\""}"#), message(r#"{"type":"pong"}"#)]
    );
}

#[test]
fn end_with_drain_takes_effect_after_everything_was_sent() {
    for (begin, source, sentences) in [
        (APPENDED.to_owned(), "append", &["Hello.", "No end"][..]),
        (start("One. Two."), "verbatim", &["One.", "Two."]),
    ] {
        let mut driven = v1(settings());
        driven.say(&begin);
        if source == "append" {
            driven.say(&append("Hello. No end"));
        }
        driven.say(DRAIN);
        if source == "append" {
            driven.say(&append("Too late."));
        }
        let mut seen = driven.settled();
        assert_eq!(seen.pop(), Some(Seen::Close(1000, "Session ended by client")));
        seen.retain(|seen| !matches!(seen, Seen::Message(json) if json.contains("no more text after end")));
        assert_whole(&seen, source, sentences, "ended");
        assert_eq!(driven.asked.len(), 2);
    }
    let mut idle = v1(settings());
    idle.say(DRAIN);
    let seen = idle.settled();
    assert_eq!((of_type(&seen, "session_end").len(), seen.len()), (1, 2), "{seen:?}");
}

#[test]
fn paused_and_resumed_have_the_offset() {
    let expected = [vec![stream_start("verbatim")], v1_sentences(&GREETED, 0, 0)].concat();
    let ends = ends(&expected);
    // Up to the start of the last message. With that the stream is over.
    for accepted in 0..=ends[ends.len() - 2] {
        let mut driven = v1(settings());
        driven.say(START);
        driven.speak_all();
        driven.write(|_| accepted);
        driven.say(PAUSE);
        driven.settle();
        let mut seen = driven.take();
        let sent = audio_of(&seen).len();
        assert_eq!(of_type(&seen, "paused"), [format!(r#"{{"type":"paused","offset":{sent}}}"#)]);
        driven.say(RESUME);
        driven.settle();
        let rest = driven.take();
        assert_eq!(rest[0], message(format!(r#"{{"type":"resumed","offset":{sent}}}"#)));
        seen.retain(|seen| !matches!(seen, Seen::Message(json) if json.contains("paused")));
        seen.extend_from_slice(&rest[1..]);
        assert_eq!(seen[..expected.len()], expected, "{accepted} bytes");
    }
}

#[test]
fn message_that_the_state_does_not_allow_is_refused_with_a_code() {
    let table = [
        (CANCEL, "nothing_to_cancel"),
        (FLUSH, "not_started"),
        (r#"{"type":"append","text":"Hi."}"#, "not_started"),
        (r#"{"type":"ack","playedMs":5}"#, "not_started"),
        (r#"{"type":"update","speed":1.5}"#, "not_started"),
        (r#"{"type":"update","voice":"carl"}"#, "unknown_voice"),
        (r#"{"type":"start_session","voice":"carl"}"#, "unknown_voice"),
        (r#"{"type":"start_session","audio":{"sampleRate":44100}}"#, "unsupported_audio"),
        (r#"{"type":"start_session","audio":{"encoding":"alaw"}}"#, "unsupported_audio"),
        (r#"{"type":"start_session","source":"llm"}"#, "bad_message"),
        (r#"{"type":"nonsense"}"#, "unknown_type"),
        ("nonsense", "bad_json"),
        (r#"{"type":"append"}"#, "bad_message"),
    ];
    for (text, code) in table {
        let mut driven = v1(settings());
        driven.say(text);
        assert_refused(&driven.settled(), code);
        driven.say(&start("One."));
        assert_whole(&driven.settled(), "verbatim", &["One."], "completed");
    }
    // In the middle of a stream.
    let long = start(&"a".repeat(201));
    for (text, code) in [
        (START, "already_started"),
        (r#"{"type":"append","text":"Hi."}"#, "bad_message"),
        (r#"{"type":"recover","sessionId":"a","token":"b","offset":0}"#, "bad_message"),
    ] {
        let mut driven = v1(settings());
        driven.say(&start("One."));
        driven.say(text);
        let (errors, others): (Vec<_>, Vec<_>) = driven
            .settled()
            .into_iter()
            .partition(|seen| matches!(seen, Seen::Message(json) if json.starts_with(r#"{"type":"error""#)));
        assert_refused(&errors, code);
        assert_whole(&others, "verbatim", &["One."], "completed");
    }
    let mut driven = v1(settings());
    driven.say(&long);
    assert_refused(&driven.settled(), "text_too_long");
}

#[test]
fn v1_messages_are_refused_in_the_base_protocol() {
    let mut driven = driven();
    for (json, name) in [
        (r#"{"type":"append","text":"Hi."}"#, "append"),
        (FLUSH, "flush"),
        (CANCEL, "cancel"),
        (r#"{"type":"ack","playedMs":1}"#, "ack"),
        (r#"{"type":"update"}"#, "update"),
        (r#"{"type":"recover","sessionId":"a","token":"b","offset":0}"#, "recover"),
        (r#"{"type":"ping"}"#, "ping"),
    ] {
        driven.say(json);
        let error = format!(
            r#"{{"type":"error","message":"There is no message of type \"{name}\" without the subprotocol aloud.v1."}}"#
        );
        assert_eq!(driven.settled(), [message(error)]);
    }
    driven.say(r#"{"type":"start_session","prompt":"One.","resumable":true}"#);
    assert_eq!(of_type(&driven.settled(), "error").len(), 1);
    for _ in 0..200 {
        driven.say("nonsense");
    }
    assert_eq!(driven.settled().len(), 200, "only a client of aloud.v1 is closed for invalid messages");
    driven.now += Duration::from_secs(100_000);
    assert_eq!(driven.session.next_deadline(), None);
    driven.on_time();
    driven.say(START);
    assert_eq!(driven.settled(), stream(&GREETED));
}

#[test]
fn start_session_option_gives_a_base_client_a_single_feature() {
    // Text in parts.
    let mut driven = driven();
    driven.say(APPENDED);
    driven.say(&append("One. Two."));
    driven.say(FLUSH);
    let mut seen = driven.settled();
    assert_eq!(seen.remove(0), message(r#"{"type":"flushed","index":1}"#));
    let two = stream(&["One.", "Two."]);
    assert_eq!(seen, two[..two.len() - 1]);
    driven.say(CANCEL);
    let seen = driven.settled();
    let sent = all_audio(&["One.", "Two."]).len();
    assert_eq!(
        seen,
        [message(format!(
            r#"{{"type":"cancelled","index":1,"offset":{sent},"rev":1,"sentMs":{0},"playedMs":{0},"spokenText":"One. Two.","wastedMs":0}}"#,
            ms_of(sent)
        ))]
    );
    driven.say(END);
    assert_eq!(driven.settled(), ended_by_client());
    // Times: the figures of each sentence come with them.
    let mut driven = self::driven();
    driven.say(&start_with(r#""prompt":"One. Two.","timestamps":"sentence""#));
    let mut expected = v1_sentences(&["One.", "Two."], 0, 0);
    expected.push(message(r#"{"type":"session_end"}"#));
    assert_eq!(driven.settled(), expected);
    // An audio format.
    let mut driven = self::driven();
    driven.say(&start_with(r#""prompt":"One.","audio":{}"#));
    assert_eq!(driven.settled(), [vec![stream_start("verbatim")], stream(&["One."])].concat());
    // The other options change no message.
    for options in [
        r#""delivery":{"mode":"burst"}"#,
        r#""delivery":{"mode":"paced","aheadMs":60000}"#,
        r#""source":"verbatim","voice":"bert","language":"en","speed":1.5,"clean":"none","timestamps":"none""#,
        r#""segmentation":{"minChars":0,"maxChars":300,"firstClause":false,"idleMs":250},"resumable":false"#,
    ] {
        let mut driven = self::driven();
        driven.say(&start_with(&format!(r#""prompt":"One. Two.",{options}"#)));
        assert_eq!(driven.settled(), stream(&["One.", "Two."]), "{options}");
    }
}
