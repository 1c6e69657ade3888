//! Short sequences of messages, in every order.

use super::*;

/// Length of the longest sequences. Each message may repeat.
const LONGEST_ORDER: u32 = 4;

#[test]
fn base_messages_in_every_order_follow_the_rules() {
    let messages = [START, PAUSE, RESUME, END];
    for length in 1..=LONGEST_ORDER {
        for number in 0..4usize.pow(length) {
            let order: Vec<&str> =
                (0..length).map(|place| messages[number / 4usize.pow(place) % 4]).collect();
            // Between two messages, either the stream runs as far as it can, or not at all.
            for settles in [true, false] {
                let mut driven = driven();
                for message in &order {
                    driven.say(message);
                    if settles {
                        driven.settle();
                    }
                }
                driven.settle();
                assert_eq!(driven.take(), seen_after(&order, settles), "{order:?}, {settles}");
                let ends = order.contains(&END);
                assert!(!ends || driven.speeches.is_empty(), "{order:?}: a sentence is still in synthesis");
            }
        }
    }
}

/// The rules, stated a second time: the frames that follow these messages.
fn seen_after(order: &[&str], settles: bool) -> Vec<Seen> {
    let (mut seen, mut held, mut paused) = (Vec::new(), None, false);
    for json in order {
        match *json {
            START if held.is_some() => seen.push(message(BUSY)),
            START => held = Some(stream(&GREETED)),
            PAUSE => paused = true,
            RESUME => paused = false,
            _ => {
                seen.extend(ended_by_client());
                return seen;
            }
        }
        if settles && !paused {
            seen.extend(held.take().unwrap_or_default());
        }
    }
    if !paused {
        seen.extend(held.unwrap_or_default());
    }
    seen
}

/// The five messages of `aloud.v1`, repeated and after the end too.
#[test]
fn v1_messages_in_every_order_follow_the_rules() {
    let messages = [START, PAUSE, RESUME, CANCEL, END];
    for length in 1..=LONGEST_ORDER {
        for number in 0..5usize.pow(length) {
            let order: Vec<&str> =
                (0..length).map(|place| messages[number / 5usize.pow(place) % 5]).collect();
            for settles in [true, false] {
                let mut driven = v1(settings());
                for message in &order {
                    driven.say(message);
                    if settles {
                        driven.settle();
                    }
                }
                driven.settle();
                let mut kinds: Vec<String> = driven.take().iter().map(kind_of).collect();
                kinds.dedup_by(|a, b| a == b && *a == "audio");
                assert_eq!(kinds, kinds_after(&order, settles), "{order:?}, {settles}");
                let is_over =
                    order.contains(&END) || kinds.last().is_some_and(|kind| kind == "session_end cancelled");
                assert!(
                    !is_over || driven.speeches.is_empty(),
                    "{order:?}: a sentence is still in synthesis"
                );
            }
        }
    }
}

/// The kind of a message, with its reason or code if it has one.
fn kind_of(seen: &Seen) -> String {
    let field = |json: &serde_json::Value, name: &str| json[name].as_str().map(str::to_owned);
    match seen {
        Seen::Audio(_) => "audio".to_owned(),
        Seen::Close(code, _) => code.to_string(),
        Seen::Message(json) => {
            let json = serde_json::from_str(json).unwrap();
            let more = field(&json, "reason").or(field(&json, "code"));
            let words: Vec<String> = field(&json, "type").into_iter().chain(more).collect();
            words.join(" ")
        }
    }
}

/// The rules, stated a second time: the kinds of frames that follow these messages.
fn kinds_after(order: &[&str], settles: bool) -> Vec<&'static str> {
    let rest = [&["text", "audio", "sentence_end"][..]; 2].concat();
    let (mut seen, mut streams, mut paused, mut has_started) = (Vec::new(), false, false, false);
    for message in order {
        match *message {
            START if streams => seen.push("error already_started"),
            START => {
                seen.push("stream_start");
                (streams, has_started) = (true, true);
            }
            PAUSE => {
                seen.push("paused");
                paused = true;
            }
            RESUME => {
                seen.push("resumed");
                paused = false;
            }
            CANCEL if streams => {
                seen.extend(["cancelled", "session_end cancelled"]);
                streams = false;
            }
            // It may have crossed the end of the stream.
            CANCEL if has_started => {}
            CANCEL => seen.push("error nothing_to_cancel"),
            _ => {
                seen.extend([if streams { "session_end ended" } else { "session_end" }, "1000"]);
                return seen;
            }
        }
        if settles && streams && !paused {
            seen.extend(&rest);
            seen.push("session_end completed");
            streams = false;
        }
    }
    if streams && !paused {
        seen.extend(&rest);
        seen.push("session_end completed");
    }
    seen
}
