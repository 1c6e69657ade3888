//! Silence between sentences, and before the first.

use super::*;

const SILENCE: u8 = 0xff;

fn ms_bytes(ms: usize) -> usize {
    ms * 8
}

const TEXT: &str = "A heading\n\nOne is here. Two is here.\n\nThree is here.";
/// The sentences of [`TEXT`], and the silence before each in milliseconds: the pause without the 20 ms that an engine
/// is taken to leave. The engine of these tests leaves none.
const SENTENCES: [(&str, usize); 4] =
    [("A heading", 50), ("One is here.", 280), ("Two is here.", 80), ("Three is here.", 180)];
const PAUSES: &str = r#""pauses":{"sentenceMs":100,"paragraphMs":200,"headingMs":300},"leadMs":50"#;

fn paused(sentences: &[(&str, usize)]) -> Vec<u8> {
    let sentence = |(text, ms): &(&str, usize)| [vec![SILENCE; ms * 8], spoken(text).0].concat();
    sentences.iter().flat_map(sentence).collect()
}

fn start_paused(options: &str) -> String {
    let json = ClientMessage::start(TEXT).to_json();
    format!("{},{PAUSES}{options}}}", &json[..json.len() - 1])
}

#[test]
fn pause_depends_on_the_boundary_and_belongs_to_the_sentence_behind_it() {
    for options in ["", r#","delivery":{"mode":"paced","aheadMs":20}"#] {
        let mut driven = v1(settings());
        driven.say(&start_paused(options));
        let mut seen = driven.settled();
        while of_type(&seen, "session_end").is_empty() {
            driven.now += Duration::from_millis(20);
            seen.extend(driven.settled());
        }
        assert_eq!(audio_of(&seen), paused(&SENTENCES), "{options}");
        assert!(seen.iter().all(|seen| !matches!(seen, Seen::Audio(audio) if audio.len() > FRAME_BYTES)));
        let mut offset = 0;
        for (index, sentence) in SENTENCES.iter().enumerate() {
            let audio = paused(&[*sentence]);
            let text = &of_type(&seen, "text")[index];
            assert_eq!(number(text, "offset"), offset, "{text}");
            offset += audio.len() as u64;
            let end = &of_type(&seen, "sentence_end")[index];
            assert_eq!((number(end, "offset"), number(end, "bytes")), (offset, audio.len() as u64));
            assert!(end.contains(&format!(r#""crc32":"{:08x}""#, crc32(&audio))), "{end}");
        }
        let ms = ms_of(offset as usize);
        let usage = format!(r#""audioMs":{ms},"synthesisedMs":{ms},"wastedMs":0"#);
        assert!(of_type(&seen, "session_end")[0].contains(&usage), "{seen:?}");
    }
}

#[test]
fn silence_of_the_engine_is_part_of_the_pause() {
    let mut driven = v1(settings());
    // 30 ms at the end of each sentence.
    driven.voice_of = |sentence| ([spoken(&sentence.text).0, vec![0xfe; 240]].concat(), None);
    driven.say(&start_paused(""));
    let audio = audio_of(&driven.settled());
    let expected = SENTENCES.iter().enumerate().flat_map(|(index, (text, ms))| {
        let silence = if index == 0 { *ms } else { ms - 30 };
        [vec![SILENCE; silence * 8], spoken(text).0, vec![0xfe; 240]].concat()
    });
    assert_eq!(audio, expected.collect::<Vec<u8>>());
    // It is not cut.
    let mut driven = v1(settings());
    driven.voice_of = |sentence| ([spoken(&sentence.text).0, vec![SILENCE; 8_000]].concat(), None);
    driven.say(&start_paused(""));
    let all: usize = SENTENCES.iter().map(|(text, _)| spoken(text).0.len() + 8_000).sum();
    assert_eq!(audio_of(&driven.settled()).len(), all + 50 * 8);
}

#[test]
fn pauses_of_the_server_apply_to_every_client() {
    let pauses = Pauses { paragraph: Some(Duration::from_millis(200)), ..Pauses::default() };
    let mut driven = Driven::new(SessionConfig { pauses, ..settings() });
    driven.say(&start("One is here. Two is here.\n\nThree is here."));
    let expected = [("One is here.", 0), ("Two is here.", 0), ("Three is here.", 180)];
    assert_eq!(audio_of(&driven.settled()), paused(&expected));
}

#[test]
fn pause_is_the_same_however_the_text_arrives() {
    for flushes in [false, true] {
        for at in TEXT.char_indices().map(|(at, _)| at) {
            let mut driven = v1(settings());
            driven.say(&start_with(&format!(r#""source":"append",{PAUSES}"#)));
            driven.say(&append(&TEXT[..at]));
            let ends = TEXT[..at].trim_end().ends_with('.') || TEXT[at..].starts_with('\n') && at < 11;
            if flushes && ends {
                driven.say(FLUSH);
            }
            driven.settle();
            driven.say(&append(&TEXT[at..]));
            driven.say(DRAIN);
            driven.settle();
            let audio = audio_of(&driven.take());
            // A heading that is flushed without a mark is no sentence before its blank line has come.
            let expected = paused(&SENTENCES);
            assert_eq!(audio, expected, "cut at {at}, {flushes}");
        }
    }
}

/// A client that returns within a pause, or anywhere else, gets the same bytes: from the log, from a replay, and from
/// another process.
#[test]
fn recover_within_a_pause_yields_the_same_bytes() {
    let expected = paused(&SENTENCES);
    for keep_bytes in [1 << 20, 1] {
        for offset in (0..=expected.len()).step_by(61) {
            for moves in [false, true] {
                let settings = SessionConfig { keep_bytes, is_deterministic: true, ..settings() };
                let mut driven = v1(settings);
                driven.say(&start_paused(r#","resumable":true"#));
                driven.settle();
                driven.confirm();
                driven.lose();
                if moves {
                    driven.move_to_another_process();
                }
                driven.recover(offset);
                let seen = driven.settled();
                let at = format!("{offset} of {keep_bytes}, {moves}");
                assert_eq!(audio_of(&seen), expected[offset..], "{at}");
                assert_eq!(of_type(&seen, "session_end").len(), 1, "{at}");
            }
        }
    }
}

/// The connection is lost, or the process ends, while a pause is written.
#[test]
fn pause_that_was_interrupted_goes_on() {
    let expected = paused(&SENTENCES);
    for steps in 0..60 {
        for moves in [false, true] {
            let mut driven = v1(SessionConfig { keep_bytes: 1 << 20, ..settings() });
            driven.say(&start_paused(r#","resumable":true,"delivery":{"mode":"paced","aheadMs":20}"#));
            for _ in 0..steps {
                driven.settle();
                driven.now += Duration::from_millis(15);
            }
            let sent = audio_of(&driven.take()).len();
            driven.lose();
            if moves {
                driven.move_to_another_process();
            }
            driven.recover(sent);
            let mut seen = driven.settled();
            while of_type(&seen, "session_end").is_empty() {
                driven.now += Duration::from_millis(20);
                seen.extend(driven.settled());
            }
            assert_eq!(audio_of(&seen), expected[sent..], "{steps}, {moves}");
        }
    }
}

#[test]
fn cancel_within_a_pause_stops_at_the_byte_and_no_pause_follows() {
    let options = format!(r#""source":"append",{PAUSES},"delivery":{{"mode":"paced","aheadMs":20}}"#);
    for steps in 0..40 {
        let mut driven = v1(settings());
        driven.say(&start_with(&options));
        driven.say(&append(TEXT));
        for _ in 0..steps {
            driven.settle();
            driven.now += Duration::from_millis(15);
        }
        let sent = audio_of(&driven.take()).len();
        driven.say(CANCEL);
        let cancelled = &of_type(&driven.settled(), "cancelled")[0];
        assert_eq!(number(cancelled, "offset"), sent as u64);
        // The look-ahead, a frame, and a chunk of the engine.
        assert!(number(cancelled, "wastedMs") <= 20 + 2 + 6 + 20, "{steps}: {cancelled}");
        driven.say(&append("Four is here."));
        driven.say(DRAIN);
        let mut seen = driven.settled();
        while of_type(&seen, "session_end").is_empty() {
            driven.now += Duration::from_millis(20);
            seen.extend(driven.settled());
        }
        let lead = if sent == 0 { 50 } else { 0 };
        assert_eq!(audio_of(&seen), paused(&[("Four is here.", lead)]), "{steps}");
    }
}

#[test]
fn long_pause_is_not_written_ahead() {
    let mut driven = v1(settings());
    driven.say(&start_with(r#""prompt":"One is here.\n\nTwo is here.","pauses":{"paragraphMs":5000},"delivery":{"mode":"paced","aheadMs":20}"#));
    let mut most = 0;
    for _ in 0..3_000 {
        driven.settle();
        let (written, sent) = (driven.written_bytes(), audio_of(&driven.seen()).len());
        most = most.max(written.saturating_sub(sent));
        driven.now += Duration::from_millis(2);
    }
    assert_eq!(audio_of(&driven.take()), paused(&[("One is here.", 0), ("Two is here.", 4_980)]));
    // The look-ahead, a frame, and a chunk of the engine.
    assert!(most <= ms_bytes(20) + FRAME_BYTES + CHUNK_BYTES, "{most}");
}

#[test]
fn from_counts_the_pauses() {
    let expected = paused(&SENTENCES);
    let mut offset = 0;
    for (index, sentence) in SENTENCES.iter().enumerate() {
        for within in [0, 16, 400] {
            let mut driven = v1(settings());
            let from = offset + within.min(paused(&[*sentence]).len());
            driven.say(&start_paused(&format!(r#","from":{{"index":{index},"offset":{from}}}"#)));
            assert_eq!(audio_of(&driven.settled()), expected[from..], "{index}, {within}");
        }
        offset += paused(&[*sentence]).len();
    }
}

#[test]
fn sentence_without_audio_has_no_pause() {
    let mut driven = v1(settings());
    driven.say(&start_with(&format!(
        r#""prompt":"Silent is this. One is here. Fails here.\n\nTwo is here.",{PAUSES}"#
    )));
    let seen = driven.settled();
    assert_eq!(audio_of(&seen), paused(&[("One is here.", 50), ("Two is here.", 180)]));
    assert_eq!(of_type(&seen, "error").len(), 2);
}

#[test]
fn words_come_after_the_pause() {
    let mut driven = v1(settings());
    driven.words_of = |_| {
        let (start, end) = (Duration::from_millis(10), Duration::from_millis(20));
        vec![Word { text_range: 0..3, start, end }]
    };
    driven.say(&start_with(&format!(r#""prompt":"One is. Two is.","timestamps":"word",{PAUSES}"#)));
    let times = of_type(&driven.settled(), "timestamps");
    assert!(times[0].contains(r#""start":[60],"end":[70]"#), "{}", times[0]);
    assert!(times[1].contains(r#""start":[90],"end":[100]"#), "{}", times[1]);
    // Estimated times are within the speech too.
    let mut driven = v1(settings());
    driven.say(&start_with(&format!(r#""prompt":"One is. Two is.","timestamps":"word",{PAUSES}"#)));
    let times = of_type(&driven.settled(), "timestamps");
    assert!(times[0].contains(r#""start":[50,"#) && times[1].contains(r#""start":[80,"#), "{times:?}");
}
