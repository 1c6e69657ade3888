//! Random histories.

use super::*;

/// Whatever a client sends, and however little its socket takes, it gets the frames of undisturbed
/// streams, one after the other, up to its `end`.
#[test]
fn base_stream_is_the_beginning_of_the_undisturbed_one_in_random_histories() {
    let sentences = ["Good one.", "Fails late in it.", "Silent one.", "Good again."];
    let prompt = start(&sentences.join(" "));
    let one = stream(&sentences);
    for seed in 1..=600u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut driven = Driven::new(SessionConfig { prefetch: 1 + random.below(3), ..settings() });
        let mut starts = 0;
        for _ in 0..200 {
            match random.below(100) {
                0..8 => {
                    starts += usize::from(driven.session.stream.is_none() && driven.closed.is_none());
                    driven.say(&prompt);
                }
                8..14 => driven.say(PAUSE),
                14..26 => driven.say(RESUME),
                26 if random.below(4) == 0 => driven.say(END),
                27 => driven.say("nonsense"),
                28..55 => {
                    driven.speak();
                }
                55..70 => driven.speak_all(),
                70 => {
                    driven.write(|offered| offered);
                }
                _ => {
                    driven.write(|offered| random.below(offered.min(60) + 1));
                }
            }
        }
        driven.say(RESUME);
        driven.settle();
        let mut heard = driven.take();
        let mut end = Vec::new();
        if driven.closed.is_some() {
            end = heard.split_off(heard.len() - 2);
            assert_eq!(end, ended_by_client(), "seed {seed}");
        }
        let answers = [BUSY, r#"{"type":"error","message":"The message is not valid JSON"#];
        heard.retain(|seen| {
            !matches!(seen, Seen::Message(json) if answers.iter().any(|answer| json.starts_with(answer)))
        });
        let expected: Vec<_> = one.iter().cycle().take(one.len() * starts).cloned().collect();
        assert!(expected.starts_with(&heard), "seed {seed}");
        assert!(!end.is_empty() || heard == expected, "seed {seed}: incomplete");
    }
}

/// Whatever happens, in whatever order, a client has the beginning of the undisturbed stream, cut only at
/// the offsets of its cancels. In the end it has all of it.
#[test]
fn v1_stream_is_exact_in_random_histories() {
    for seed in 1..=500 {
        run_history(seed, false);
    }
}

/// The same, where the server is lost with each connection, and the session continues from its snapshot in
/// another process.
#[test]
fn snapshot_at_each_lost_connection_leaves_the_stream_exact() {
    for seed in 1..=1_000 {
        run_history(seed, true);
    }
}

fn run_history(seed: u64, moves: bool) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let is_paced = random.below(2) == 0;
    // No client can return into a sentence that a cancel cut off, unless it is kept: enough for one
    // is kept.
    let keep_bytes = [400, 1 << 20][random.below(2)];
    let mut driven = v1(SessionConfig { prefetch: 1 + random.below(3), is_paced, keep_bytes, ..settings() });
    driven.say(&start_with(r#""source":"append","resumable":true"#));
    driven.settled();
    // Audio that the client has, and audio that it must have in the end, by offset.
    let (mut client, mut expected) = (Vec::new(), Vec::<u8>::new());
    let mut appended = 0;
    let mut is_whole = true;
    // The text of each sentence by its index.
    let mut texts = BTreeMap::new();
    let mut hear = |client: &mut Vec<u8>, seen: &[Seen], at: &str| {
        client.extend(audio_of(seen));
        for text in of_type(seen, "text") {
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            let index = number(&text, "index");
            let known = texts.entry(index).or_insert_with(|| value["data"].clone());
            assert_eq!(*known, value["data"], "{at}: two sentences are {index}");
        }
    };
    for step in 0..120 {
        let at = format!("seed {seed}, step {step}");
        match random.below(40) {
            0..=5 if appended < 12 => {
                let text = ["One more of them", "Silent one", "Fails late in it", "Yes"][random.below(4)];
                let text = format!("{text} {appended}.");
                appended += 1;
                expected.extend(spoken(&text).0);
                let cut = random.below(text.len());
                driven.say(&append(&text[..cut]));
                driven.say(&append(&text[cut..]));
                driven.say(FLUSH);
            }
            6 => driven.say(PAUSE),
            7..=9 => driven.say(RESUME),
            10 => driven.say("nonsense"),
            11 => {
                let played = random.below(client.len() / 8 + 9);
                driven.say(&format!(r#"{{"type":"ack","playedMs":{played}}}"#));
            }
            12 if random.below(3) == 0 => {
                match random.below(2) {
                    0 => driven.say(CANCEL),
                    _ => {
                        let played = random.below(client.len() / 8 + 9);
                        driven.say(&format!(r#"{{"type":"cancel","playedMs":{played}}}"#));
                    }
                }
                while driven.write(|offered| offered) && !driven.outgoing.is_empty() {}
                let seen = driven.take();
                hear(&mut client, &seen, &at);
                let offset = number(&of_type(&seen, "cancelled")[0], "offset") as usize;
                assert_eq!(offset, client.len(), "{at}");
                expected.truncate(offset);
                is_whole = false;
            }
            13 | 14 => {
                // A client does not count a frame that arrived in part.
                let far = client.len() * random.below(2);
                let lost = random.below(60 + far);
                client.truncate(client.len().saturating_sub(lost * random.below(2)));
                driven.lose();
                if moves {
                    driven.move_to_another_process();
                }
                driven.now += Duration::from_millis(random.below(500) as u64);
                driven.recover(client.len());
            }
            15..=17 => driven.now += Duration::from_millis(random.below(20) as u64),
            18..=27 => {
                driven.speak();
            }
            28..=30 => driven.speak_all(),
            _ => {
                driven.write(|offered| random.below(offered + 1));
                // The rest of the frame that was begun.
                driven.wire.append(&mut driven.outgoing);
                let seen = driven.take();
                hear(&mut client, &seen, &at);
            }
        }
        driven.on_time();
        let usage = driven.session.stream.as_ref().map(Stream::usage);
        let is_right = usage.is_none_or(|usage| usage.wasted_ms <= usage.synthesised_ms);
        assert!(is_right, "{at}: more is wasted than was synthesised");
        if matches!(driven.closed, Some(Seen::Close(4411, _))) {
            // A sentence that was cut off and is no longer kept cannot be replayed.
            assert!(!is_whole, "{at}: position lost");
            break;
        }
        assert!(expected.starts_with(&client), "{at}");
    }
    if driven.closed.is_none() {
        driven.say(RESUME);
        driven.say(DRAIN);
        for _ in 0..1_000 {
            hear(&mut client, &driven.settled(), "at the end");
            driven.now += Duration::from_millis(20);
            driven.say(&format!(r#"{{"type":"ack","playedMs":{}}}"#, client.len() / 8 + 1));
            if driven.closed.is_some() {
                break;
            }
        }
        assert_eq!(driven.closed, Some(Seen::Close(1000, "Session ended by client")), "seed {seed}");
        assert!(client == expected, "seed {seed}: {} of {} bytes", client.len(), expected.len());
    }
}
