//! `cancel` and the figures that answer it.

use super::*;

/// The words of a sentence of this length that have begun by `played`, in bytes.
fn played_words(text: &str, bytes: usize, played: usize) -> &str {
    let duration = |bytes: usize| Duration::from_nanos(bytes as u64 * 125_000);
    let words = crate::text::words::estimate(text, duration(bytes));
    let begun = words.iter().take_while(|word| word.start < duration(played)).last();
    &text[..begun.map_or(0, |word| word.text_range.end)]
}

/// A cancel at any byte that the socket took gives exact figures. No dropped audio follows, and the stream
/// continues, or ends if it takes no more text.
#[test]
fn cancel_at_every_byte_drops_the_unsent_audio() {
    let sentences = ["Hello my friend.", "I am ready to speak.", "And so on."];
    let undisturbed = [vec![stream_start("append")], v1_sentences(&sentences, 0, 0)].concat();
    let ends = ends(&undisturbed);
    for accepted in ends[0]..ends[ends.len() - 2] {
        for (is_append, is_made) in [(true, true), (false, true), (true, false)] {
            let mut driven = v1(settings());
            if is_append {
                driven.say(APPENDED);
                driven.say(&append(&sentences.join(" ")));
                driven.say(FLUSH);
            } else {
                driven.say(&start(&sentences.join(" ")));
            }
            let answers = driven.outgoing.len();
            while driven.wire.len() < accepted + answers - ends[0] {
                if is_made {
                    driven.speak_all();
                } else if driven.outgoing.is_empty() && !driven.session.has_output(driven.now) {
                    driven.speak();
                }
                let left = accepted + answers - ends[0] - driven.wire.len();
                driven.write(|_| left);
            }
            let at = format!("{accepted} bytes, append {is_append}, made {is_made}");
            driven.say(CANCEL);
            assert_eq!((driven.cancels, driven.speeches.len()), (1, 0), "{at}");
            let mut seen = driven.settled();
            let end = if is_append { None } else { seen.pop() };
            let cancelled = seen.pop().unwrap();
            let begun = ends.iter().position(|&end| accepted <= end).unwrap() + 1;
            seen.retain(|seen| !matches!(seen, Seen::Message(json) if json.contains("flushed")));
            assert_eq!(seen[1..], undisturbed[1..begun], "{at}");
            let Seen::Message(json) = &cancelled else { panic!("{cancelled:?}, {at}") };
            let sent = audio_of(&seen).len();
            let announced = of_type(&seen, "text").len();
            assert_eq!(number(json, "offset"), sent as u64, "{at}");
            assert_eq!(number(json, "index"), announced.saturating_sub(1) as u64, "{at}");
            assert_eq!(number(json, "sentMs"), ms_of(sent) as u64, "{at}");
            assert_eq!(number(json, "playedMs"), ms_of(sent) as u64, "{at}");
            if is_made {
                let made: usize = sentences.iter().map(|text| spoken(text).0.len()).sum();
                assert_eq!(number(json, "wastedMs"), ms_of(made - sent) as u64, "{at}");
                let mut text = Vec::new();
                let mut before = 0;
                for sentence in sentences {
                    let bytes = spoken(sentence).0.len();
                    if sent >= before + bytes {
                        text.push(sentence);
                    } else if sent > before {
                        text.push(played_words(sentence, bytes, sent - before));
                    }
                    before += bytes;
                }
                let text = text.join(" ");
                assert!(json.contains(&format!(r#""spokenText":"{text}""#)), "{json} for {text:?}, {at}");
            }
            if is_append {
                driven.say(CANCEL);
                let again = driven.settled();
                assert_eq!(number(&of_type(&again, "cancelled")[0], "wastedMs"), 0, "{at}");
                driven.say(&append("Another one. And more."));
                driven.say(FLUSH);
                let mut seen = driven.settled();
                seen.retain(|seen| !matches!(seen, Seen::Message(json) if json.contains("flushed")));
                assert_eq!(seen, v1_sentences(&["Another one.", "And more."], announced, sent), "{at}");
            } else {
                let end = end.unwrap();
                assert!(
                    matches!(&end, Seen::Message(json) if json.starts_with(r#"{"type":"session_end","reason":"cancelled","#)),
                    "{end:?}, {at}"
                );
                driven.say(CANCEL);
                assert_eq!(driven.settled(), [], "it may have crossed the end of the stream");
            }
        }
    }
}

#[test]
fn cancel_with_played_ms_reports_the_text_played_by_then() {
    let mut driven = v1(settings());
    driven.say(&start("One two three four."));
    driven.settle();
    driven.take();
    driven.say(&start_with(r#""source":"append","prompt":"One two three four. ""#));
    driven.say(FLUSH);
    driven.settled();
    let bytes = spoken("One two three four.").0.len();
    driven.say(r#"{"type":"cancel","playedMs":9}"#);
    let seen = driven.settled();
    let text = played_words("One two three four.", bytes, 72);
    let (sent, wasted) = (ms_of(bytes), ms_of(bytes - 72));
    assert!(text.len() > 3 && text.len() < 19, "{text}");
    assert_eq!(
        seen,
        [message(format!(
            r#"{{"type":"cancelled","index":0,"offset":{bytes},"rev":1,"sentMs":{sent},"playedMs":9,"spokenText":"{text}","wastedMs":{wasted}}}"#
        ))]
    );
    // No more than was sent counts as played, and the next report begins after this one.
    driven.say(&append("More of it."));
    driven.say(FLUSH);
    driven.settled();
    driven.say(r#"{"type":"cancel","playedMs":99999}"#);
    let seen = driven.settled();
    let json = &of_type(&seen, "cancelled")[0];
    assert_eq!(number(json, "playedMs"), number(json, "sentMs"));
    assert!(json.contains(r#""spokenText":"More of it.","wastedMs":0"#), "{json}");
}

/// A listener who interrupts hears the answer at once, however much audio they had buffered.
#[test]
fn cancel_makes_room_for_paced_audio_at_once() {
    for is_acknowledged in [false, true] {
        let mut driven = v1(SessionConfig { is_paced: true, ..settings() });
        driven.say(APPENDED);
        driven.say(&append("A sentence that is long enough to fill it. "));
        driven.say(FLUSH);
        if is_acknowledged {
            driven.say(r#"{"type":"ack","playedMs":0}"#);
        }
        let sent = audio_of(&driven.settled()).len();
        assert!((160..176 + FRAME_BYTES).contains(&sent), "{sent}");
        driven.say(CANCEL);
        let json = of_type(&driven.settled(), "cancelled").remove(0);
        assert!(number(&json, "playedMs") == 0 && number(&json, "wastedMs") >= 20, "{json}");
        driven.say(&append("Another. "));
        driven.say(FLUSH);
        assert!(!audio_of(&driven.settled()).is_empty());
        driven.say(CANCEL);
        let json = of_type(&driven.settled(), "cancelled").remove(0);
        assert!(number(&json, "wastedMs") <= 8, "no audio is wasted twice: {json}");
    }
}

/// The figures are about the byte at which delivery stopped, even if an earlier sentence was synthesised
/// beyond its cut.
#[test]
fn second_cancel_reports_the_second_sentence() {
    let mut driven = v1(settings());
    driven.say(APPENDED);
    for (index, text) in (0..).zip(["Hello my friend. ", "I am ready. ", "And so on. "]) {
        driven.say(&append(text));
        driven.say(FLUSH);
        driven.speak_all();
        driven.write(|_| usize::MAX);
        driven.wire.clear();
        driven.say(&append("One more sentence. "));
        driven.say(FLUSH);
        driven.speak_all();
        let ahead = driven.outgoing.len();
        driven.write(|_| ahead + 110);
        driven.say(CANCEL);
        let json = of_type(&driven.settled(), "cancelled").remove(0);
        assert_eq!(number(&json, "index"), 2 * index + 1, "{json}");
        assert!(json.contains(&format!(r#""spokenText":"{text}One"#)), "{json}");
    }
}

/// A second of audio for each sentence.
fn seconds(_: &Sentence) -> (Vec<u8>, Option<&'static str>) {
    (vec![7; 8_000], None)
}

#[test]
fn wasted_ms_counts_audio_once() {
    let mut driven = v1(SessionConfig { keep_bytes: 1 << 20, ..settings() });
    driven.voice_of = seconds;
    driven.say(&start_with(r#""source":"append","resumable":true"#));
    let wasted = |driven: &Driven| {
        let usage = driven.session.stream.as_ref().unwrap().usage();
        assert!(usage.wasted_ms <= usage.synthesised_ms, "{usage:?}");
        usage.wasted_ms
    };
    let speak = |driven: &mut Driven, text: &str| {
        driven.say(&append(text));
        driven.say(FLUSH);
        driven.settle();
    };
    // Cancels at this playback position, and returns the reported waste.
    let cancel = |driven: &mut Driven, played_ms: u64| {
        driven.take();
        driven.say(&format!(r#"{{"type":"cancel","playedMs":{played_ms}}}"#));
        number(&of_type(&driven.settled(), "cancelled")[0], "wastedMs")
    };
    let reconnect = |driven: &mut Driven, ms: usize| {
        driven.lose();
        driven.recover(ms * 8);
    };
    speak(&mut driven, "One of them. Two of them. Three of them.");
    assert_eq!((cancel(&mut driven, 500), wasted(&driven)), (2_500, 2_500));
    assert_eq!((cancel(&mut driven, 500), wasted(&driven)), (0, 2_500), "this audio is wasted already");
    speak(&mut driven, "Four of them.");
    assert_eq!((cancel(&mut driven, 3_200), wasted(&driven)), (800, 3_300));
    // Audio that is sent again is not wasted, until it is cancelled again.
    reconnect(&mut driven, 3_600);
    assert_eq!(wasted(&driven), 2_900);
    assert_eq!((cancel(&mut driven, 3_600), wasted(&driven)), (400, 3_300));
    reconnect(&mut driven, 1_000);
    assert_eq!(wasted(&driven), 900);
    assert_eq!((cancel(&mut driven, 1_000), wasted(&driven)), (2_600, 3_500));

    // Where the log no longer has that audio.
    let mut driven = v1(SessionConfig { keep_bytes: 16, ..settings() });
    driven.voice_of = seconds;
    driven.say(&start_with(r#""source":"append","resumable":true"#));
    speak(&mut driven, "One of them.");
    assert_eq!((cancel(&mut driven, 0), wasted(&driven)), (1_000, 1_000));
    speak(&mut driven, "Two of them.");
    assert_eq!((cancel(&mut driven, 1_000), wasted(&driven)), (1_000, 2_000));
    reconnect(&mut driven, 100);
    assert!(wasted(&driven) <= 100);
    driven.settle();
    assert!(wasted(&driven) <= 100);
}
