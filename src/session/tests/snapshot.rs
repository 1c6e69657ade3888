//! Snapshots: a session that is written down after any step of a random history, and restored, continues
//! with the same stream.

use super::*;
use std::collections::BTreeSet;

/// Audio that depends on voice and speed, so that a sentence with the wrong ones is noticed.
fn voiced(text: &str, voice: &str, speed: f32) -> Vec<u8> {
    let mark = u8::from(voice == "bert") << 7 | u8::from(speed > 1.0) << 6;
    spoken(text).0.into_iter().map(|byte| byte ^ mark).collect()
}

/// A sentence that was given to the engine.
#[derive(Clone, Debug, PartialEq)]
struct Begun {
    text: String,
    voice: String,
    speed: f32,
}

impl Begun {
    fn audio(&self) -> Vec<u8> {
        voiced(&self.text, &self.voice, self.speed)
    }
}

/// The undisturbed stream, and the client's part of it.
#[derive(Clone, Debug, Default)]
struct Model {
    /// Audio that the client has.
    client: Vec<u8>,
    /// Audio up to the last cancel. No snapshot can return to an offset before its end.
    fixed: Vec<u8>,
    /// Index of the first sentence after the last cancel.
    first: usize,
    /// Sentences since the last cancel, begun or not.
    texts: Vec<String>,
    /// The beginning of a sentence whose rest was not appended yet.
    fragment: String,
    begun: BTreeMap<usize, Begun>,
    /// Text of each announced sentence.
    announced: BTreeMap<usize, String>,
    /// Characters given to the engine, replays and failed sentences not counted.
    chars: usize,
    failed: BTreeSet<String>,
    voice: String,
    speed: f32,
}

impl Model {
    /// The whole stream as far as its text is known, and the offset of each sentence since the last
    /// cancel.
    fn expected(&self) -> (Vec<u8>, Vec<usize>) {
        let (mut audio, mut starts) = (self.fixed.clone(), Vec::new());
        for (index, text) in (self.first..).zip(&self.texts) {
            starts.push(audio.len());
            audio.extend(match self.begun.get(&index) {
                Some(begun) => begun.audio(),
                None => voiced(text, &self.voice, self.speed),
            });
        }
        (audio, starts)
    }

    /// Makes a sentence of the fragment, as `flush` does.
    fn flush(&mut self) {
        let fragment = std::mem::take(&mut self.fragment);
        if !fragment.trim().is_empty() {
            self.texts.push(fragment.trim().to_owned());
        }
    }

    /// Sets the client's offset: it has lost frames, or got more since the snapshot.
    fn move_client_to(&mut self, offset: usize) {
        let (expected, starts) = self.expected();
        if offset > self.client.len() {
            let begun = starts.iter().take_while(|start| **start < offset).count();
            self.announced.extend((self.first..).zip(self.texts[..begun].iter().cloned()));
            self.client.extend_from_slice(&expected[self.client.len()..offset]);
        }
        self.client.truncate(offset);
    }

    /// Drops everything that the client does not have.
    fn cancel(&mut self) {
        self.fixed.clone_from(&self.client);
        self.first = self.announced.len();
        self.texts.clear();
        self.fragment.clear();
        self.begun.retain(|index, _| *index < self.first);
    }

    /// Checks the latest sentences of the engine and the latest frames of the client. Returns the frames.
    fn note(&mut self, driven: &mut Driven, at: &str) -> Vec<Seen> {
        for Sentence { text, index, voice, speed, .. } in driven.sentences.drain(..) {
            let (index, begun) = (index as usize, Begun { text, voice, speed });
            if let Some(known) = self.begun.get(&index) {
                assert_eq!(*known, begun, "{at}: sentence {index} is replayed otherwise");
                continue;
            }
            let expected = Begun {
                text: self.texts[index - self.first].clone(),
                voice: self.voice.clone(),
                speed: self.speed,
            };
            assert_eq!(begun, expected, "{at}: sentence {index}");
            self.chars += begun.text.chars().count();
            self.begun.insert(index, begun);
        }
        self.note_failures(&std::mem::take(&mut driven.failed));
        let seen = driven.take();
        let (expected, starts) = self.expected();
        for frame in &seen {
            match frame {
                Seen::Audio(audio) => self.client.extend(audio),
                Seen::Message(json) => self.check(json, &expected, &starts, at),
                Seen::Close(..) => {}
            }
        }
        seen
    }

    /// Each sentence has another text. One that fails again was not counted.
    fn note_failures(&mut self, failed: &[String]) {
        for text in failed {
            if self.failed.insert(text.clone()) {
                self.chars -= text.chars().count();
            }
        }
    }

    fn check(&mut self, json: &str, expected: &[u8], starts: &[usize], at: &str) {
        let message: serde_json::Value = serde_json::from_str(json).unwrap();
        let field = |name: &str| message[name].as_u64().unwrap() as usize;
        match message["type"].as_str().unwrap() {
            "text" => {
                let (index, text) = (field("index"), message["data"].as_str().unwrap());
                let known = self.announced.entry(index).or_insert_with(|| text.to_owned());
                assert_eq!(known, text, "{at}: sentence {index} is announced with another text");
                assert_eq!(field("startMs"), ms_of(field("offset")), "{at}: {json}");
                if let Some(place) = index.checked_sub(self.first) {
                    assert_eq!(text, self.texts[place], "{at}: {json}");
                    assert_eq!(field("offset"), starts[place], "{at}: {json}");
                }
            }
            "sentence_end" => {
                let (offset, bytes) = (field("offset"), field("bytes"));
                assert_eq!(offset, self.client.len(), "{at}: {json}");
                let crc = format!("{:08x}", crc32(&expected[offset - bytes..offset]));
                assert_eq!(message["crc32"], crc, "{at}: {json}");
                if let Some(place) = field("index").checked_sub(self.first) {
                    assert_eq!(offset - bytes, starts[place], "{at}: {json}");
                }
            }
            "paused" | "resumed" => assert_eq!(field("offset"), self.client.len(), "{at}: {json}"),
            "recovered" if message["recovered"] == true => {
                assert_eq!(field("offset"), self.client.len(), "{at}: {json}");
            }
            "session_end" => {
                let usage = |name: &str| message["usage"][name].as_u64().unwrap() as usize;
                assert_eq!(usage("sentences"), self.first + self.texts.len(), "{at}: {json}");
                assert_eq!(usage("audioMs"), ms_of(self.client.len()), "{at}: {json}");
                assert_eq!(usage("chars"), self.chars, "{at}: {json}");
                assert!(usage("wastedMs") <= usage("synthesisedMs"), "{at}: {json}");
            }
            _ => {}
        }
    }
}

/// Restores a snapshot for a client that has the stream up to `offset`, and runs the restored session to
/// its end.
fn check_restored(driven: &Driven, mut model: Model, offset: usize, at: &str) {
    let at = format!("{at}, restored, {offset} of {} bytes", model.client.len());
    model.move_client_to(offset);
    model.note_failures(&driven.failed);
    let mut driven = driven.fork();
    let (is_paused, can_return) = (
        driven.session.is_paused,
        driven.session.check_place(&Place { offset: offset as u64, ..Place::default() }).is_ok(),
    );
    driven.recover(offset);
    if !can_return {
        // A cancel cut off the sentence at the client's offset, so that it cannot be replayed.
        assert!(offset < model.fixed.len(), "{at}: the position is lost");
        assert_lost(&driven.settled(), &at);
        return;
    }
    driven.settle();
    let mut ends = of_type(&model.note(&mut driven, &at), "session_end").len();
    assert!(!is_paused || model.client.len() == offset, "{at}: audio during a pause");
    model.flush();
    driven.say(RESUME);
    driven.say(DRAIN);
    for _ in 0..1_000 {
        driven.settle();
        ends += of_type(&model.note(&mut driven, &at), "session_end").len();
        if driven.closed.is_some() {
            break;
        }
        driven.now += Duration::from_millis(20);
        driven.say(&format!(r#"{{"type":"ack","playedMs":{}}}"#, model.client.len() / 8 + 1));
    }
    assert_eq!(driven.closed, Some(Seen::Close(1000, "Session ended by client")), "{at}");
    assert_eq!(ends, 1, "{at}");
    assert!(model.client == model.expected().0, "{at}: {} bytes", model.client.len());
    let sentences = model.first + model.texts.len();
    assert!(model.announced.keys().copied().eq(0..sentences), "{at}: {:?}", model.announced);
}

/// A session is written down after each step of a random history. Each restored session continues with the
/// text, audio, voices and figures of the undisturbed stream.
#[test]
fn snapshot_after_any_step_continues_with_the_same_stream() {
    for seed in 1..=SEEDS {
        run(seed);
    }
}

const SEEDS: u64 = 20;

fn run(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let config = SessionConfig {
        prefetch: 1 + random.below(3),
        is_paced: random.below(2) == 0,
        keep_bytes: [400, 1 << 20][random.below(2)],
        ..settings()
    };
    let mut driven = v1(config);
    driven.voice_of =
        |sentence| (voiced(&sentence.text, &sentence.voice, sentence.speed), spoken(&sentence.text).1);
    let timestamps = ["none", "sentence", "word"][random.below(3)];
    driven.say(&start_with(&format!(r#""source":"append","resumable":true,"timestamps":"{timestamps}""#)));
    driven.settled();
    let mut model = Model { voice: "anna".to_owned(), speed: 1.0, ..Model::default() };
    // The rest of the sentence in the model's fragment.
    let (mut rest, mut appended, mut is_drained) = (String::new(), 0, false);
    for step in 0..120 {
        let at = format!("seed {seed}, step {step}");
        match random.below(42) {
            0..=6 if !model.fragment.is_empty() || !rest.is_empty() => {
                driven.say(&append(&rest));
                driven.say(FLUSH);
                model.fragment += &std::mem::take(&mut rest);
                model.flush();
            }
            0..=6 if appended < 12 && !is_drained => {
                let (kind, rest_of_it) = [
                    ("One", "more of them"),
                    ("Silent", "one"),
                    ("Fails late", "in it"),
                    ("Fails", "now"),
                    ("Yes", ""),
                ][random.below(5)];
                // Each beginning is another text.
                let beginning = format!("{kind} {appended} ");
                let text = format!("{beginning}{rest_of_it}.");
                appended += 1;
                let at = beginning.len() + random.below(text.len() - beginning.len());
                let (beginning, end) = text.split_at([0, at, at][random.below(3)]);
                driven.say(&append(beginning));
                (model.fragment, rest) = (beginning.to_owned(), end.to_owned());
            }
            7 => {
                driven.say(FLUSH);
                model.flush();
                rest.clear();
            }
            8 => driven.say(PAUSE),
            9..=11 => driven.say(RESUME),
            12 => {
                let played = random.below(model.client.len() / 8 + 9);
                driven.say(&format!(r#"{{"type":"ack","playedMs":{played}}}"#));
            }
            13 if random.below(3) == 0 => {
                driven.say(CANCEL);
                while driven.write(|offered| offered) && !driven.outgoing.is_empty() {}
                model.cancel();
                rest.clear();
                let seen = model.note(&mut driven, &at);
                let cancelled = of_type(&seen, "cancelled");
                assert_eq!(number(&cancelled[0], "offset") as usize, model.client.len(), "{at}");
            }
            14 | 15 => {
                let far = model.client.len() * random.below(2);
                let lost = random.below(60 + far) * random.below(2);
                let mut offset = model.client.len().saturating_sub(lost);
                if random.below(4) > 0 {
                    offset = offset.max(model.fixed.len()).min(model.client.len());
                }
                driven.lose();
                if random.below(2) == 0 {
                    driven.move_to_another_process();
                }
                driven.now += Duration::from_millis(random.below(500) as u64);
                let can_return =
                    driven.session.check_place(&Place { offset: offset as u64, ..Place::default() }).is_ok();
                driven.recover(offset);
                if !can_return {
                    assert!(offset < model.fixed.len(), "{at}: position {offset} is lost");
                    assert_lost(&driven.settled(), &at);
                    return;
                }
                model.client.truncate(offset);
            }
            16..=18 => driven.now += Duration::from_millis(random.below(20) as u64),
            19 => {
                let voice = ["anna", "bert"][random.below(2)];
                driven.say(&format!(r#"{{"type":"update","voice":"{voice}"}}"#));
                model.voice = voice.to_owned();
            }
            20 => {
                let (name, speed) = [("1", 1.0), ("1.5", 1.5)][random.below(2)];
                driven.say(&format!(r#"{{"type":"update","speed":{name}}}"#));
                model.speed = speed;
            }
            21 if step > 60 && random.below(3) == 0 => {
                driven.say(DRAIN);
                model.flush();
                rest.clear();
                is_drained = true;
            }
            22..=27 => {
                driven.speak();
            }
            28..=30 => driven.speak_all(),
            _ => {
                driven.write(|offered| random.below(offered + 1));
                // The rest of the frame that was begun.
                driven.wire.append(&mut driven.outgoing);
            }
        }
        driven.on_time();
        model.note(&mut driven, &at);
        check_restored(&driven, model.clone(), model.client.len(), &at);
        // A client that lost frames, or got more since the snapshot.
        let written = driven.written_bytes().max(model.client.len());
        let least = model.client.len().saturating_sub(90);
        check_restored(&driven, model.clone(), least + random.below(written + 1 - least), &at);
        // A client of a process that went on for long, and wrote nothing down.
        let cut = driven.session.stream.as_ref().and_then(Stream::flushed).filter(|last| *last > 0);
        let (expected, starts) = model.expected();
        let behind = cut.and_then(|last| (last as usize + 1).checked_sub(model.first));
        let all =
            behind.map_or(0, |behind| starts.get(behind).copied().unwrap_or(expected.len())).max(written);
        check_restored(&driven, model.clone(), written + random.below(all + 1 - written), &at);
        if driven.closed.is_some() {
            assert!(is_drained, "{at}: {:?}", driven.closed);
            return;
        }
    }
}

/// The audio behind a snapshot is found by its bytes, whichever part of its sentence the client has.
#[test]
fn position_behind_the_snapshot_is_found_and_checked() {
    let texts = ["One of them.", "Yes.", "Two more of them."];
    let audio: Vec<u8> = texts.iter().flat_map(|text| spoken(text).0).collect();
    let ends: Vec<usize> =
        texts.iter().scan(0, |end, text| Some(*end + spoken(text).0.len()).inspect(|e| *end = *e)).collect();
    let begun = |turns| {
        let mut driven = v1(SessionConfig { keep_bytes: 1 << 20, ..settings() });
        driven.say(&start_with(&format!(r#""prompt":"{}","resumable":true"#, texts.join(" "))));
        for _ in 0..turns {
            driven.speak();
        }
        driven.lose();
        driven.move_to_another_process();
        driven
    };
    // At the beginning, while the first sentence is spoken, and at its end.
    for (offset, turns) in
        (0..=audio.len() + 2).flat_map(|offset| [0, 1, 3, 6, 9].map(|turns| (offset, turns)))
    {
        let within = ends.iter().position(|end| offset <= *end);
        let start = within.map_or(0, |n| if n == 0 { 0 } else { ends[n - 1] });
        let crc = |from: usize| format!("{:08x}", crc32(&audio[from..offset.min(audio.len())]));
        let right = [Some(crc(start)), None, ends[..2].contains(&offset).then(|| "00000000".to_owned())];
        let wrong = [
            Some("9a1f03bc".to_owned()),
            (!ends.contains(&offset) && offset > 0).then(|| "00000000".to_owned()),
        ];
        for (crc32, is_right) in right
            .into_iter()
            .map(|crc| (crc, true))
            .chain(wrong.into_iter().flatten().map(|crc| (Some(crc), false)))
        {
            let at = format!("{offset} of {}, {crc32:?}, {turns} turns", audio.len());
            let mut driven = begun(turns);
            let place = Place {
                offset: offset as u64,
                crc32: crc32.as_deref().map(|crc| u32::from_str_radix(crc, 16).unwrap()),
                ..Place::default()
            };
            driven.recover_at(place);
            let seen = driven.settled();
            let recovered = &of_type(&seen, "recovered")[0];
            let is_there = within.is_some() && is_right;
            assert_eq!(recovered.contains(r#""recovered":true"#), is_there, "{at}: {recovered}");
            if is_there {
                assert!(audio_of(&seen) == audio[offset..], "{at}");
                // At the end of a sentence the next one begins, if it is known.
                let indexes = within.unwrap()..=within.unwrap() + usize::from(ends.contains(&offset));
                let is_index = |index| recovered.contains(&format!(r#""index":{index},"#));
                assert!(indexes.into_iter().any(is_index), "{at}: {recovered}");
                assert_eq!(of_type(&seen, "session_end").len(), 1, "{at}");
            } else {
                assert_lost(&seen, &at);
            }
        }
    }
}

/// A finished sentence that waits for more text is spoken in time after a move, too.
#[test]
fn idle_ms_starts_anew_in_a_restored_session() {
    let mut driven = v1(SessionConfig { keep_bytes: 1 << 20, ..settings() });
    driven.say(&start_with(r#""source":"append","resumable":true"#));
    driven.say(&append("Is that so?"));
    driven.settled();
    driven.now += Duration::from_millis(200);
    driven.lose();
    driven.move_to_another_process();
    let due = driven.now + Duration::from_millis(250);
    assert_eq!(driven.session.next_deadline(), Some(due));
    driven.recover(0);
    assert_eq!(audio_of(&driven.settled()), [0; 0]);
    driven.now = due;
    driven.on_time();
    assert_eq!(driven.settled(), v1_sentences(&["Is that so?"], 0, 0));
}

/// The ledger drops old records. A restored session cannot replay their sentences, and must not replay the
/// oldest one it has in their place.
#[test]
fn recover_before_the_oldest_record_loses_the_position() {
    let mut ledger = ledger::Ledger::default();
    for index in 0..30 {
        ledger.record(ledger::Record {
            before: crate::text::Boundary::Sentence,
            silence: 0,
            source: crate::text::sourced::Source::default(),
            text: "x".repeat(100 * 1024),
            parameters: composer::VoiceParameters {
                speed: 1.0,
                voice: "anna".to_owned(),
                language: String::new(),
                normalize: None,
            },
            index,
            start: index * 10,
            bytes: 10,
            crc32: 0,
            words: Vec::new(),
            cut_at: None,
            is_counted: true,
        });
    }
    let oldest = (0..300).find(|&offset| ledger.first_to_replay(offset, true).is_some()).unwrap();
    assert!(oldest >= 100, "{oldest}");
    assert_eq!(ledger.first_to_replay(oldest, true), Some(0));
    assert_eq!(ledger.index_at(oldest), oldest / 10);
    assert_eq!(ledger.first_to_replay(oldest + 1, true), Some(0));
    assert_eq!(ledger.first_to_replay(oldest + 11, true), Some(1));
}

/// An engine that does not repeat itself: once its sentence is whole, another process goes on from any byte that the
/// first one still had.
#[test]
fn settled_session_goes_on_with_any_engine() {
    let texts = ["One of them.", "Yes.", "Two more of them."];
    let audio: Vec<u8> = texts.iter().flat_map(|text| spoken(text).0).collect();
    let first = spoken(texts[0]).0.len();
    for (turns, writes) in (0..8).flat_map(|turns| (0..8).map(move |writes| (turns, writes))) {
        let config =
            SessionConfig { keep_bytes: 1 << 20, is_deterministic: false, is_paced: true, ..settings() };
        let mut driven = v1(config);
        driven.takes_audio = true;
        driven.say(&start_with(&format!(r#""prompt":"{}","resumable":true"#, texts.join(" "))));
        for _ in 0..turns {
            driven.speak();
        }
        for _ in 0..writes {
            driven.write(|offered| offered.min(30));
            driven.wire.append(&mut driven.outgoing);
        }
        driven.handle(Input::Settle);
        driven.speak_all();
        let at = format!("{turns} turns, {writes} writes");
        assert!(driven.session.is_settled(), "{at}");
        assert!(driven.written_bytes() >= first, "{at}: the sentence in flight is whole");
        driven.lose();
        let sent = driven.session.sent_bytes() as usize;
        let before = driven.asked.len();
        for offset in 0..=sent {
            let mut driven = driven.fork();
            driven.recover(offset);
            let (mut heard, mut ends) = (Vec::new(), 0);
            for _ in 0..100 {
                let seen = driven.settled();
                heard.extend(audio_of(&seen));
                ends += of_type(&seen, "session_end").len();
                driven.now += Duration::from_millis(20);
            }
            assert!(heard == audio[offset..], "{at}, {offset}: {} of {}", heard.len(), audio.len() - offset);
            assert_eq!(ends, 1, "{at}, {offset}");
            // Each sentence is spoken once, by one of the two.
            assert_eq!(before + driven.asked.len(), texts.len(), "{at}, {offset}");
        }
    }
}

/// A client whose connection is lost once more while the server is on its way to its byte.
#[test]
fn position_is_found_from_the_middle_of_the_way_to_it() {
    let texts = ["One of them.", "Yes.", "Two more of them."];
    let audio: Vec<u8> = texts.iter().flat_map(|text| spoken(text).0).collect();
    for (offset, turns) in
        (1..audio.len()).step_by(7).flat_map(|offset| (0..30).map(move |turns| (offset, turns)))
    {
        let mut driven = v1(SessionConfig { keep_bytes: 1 << 20, ..settings() });
        driven.say(&start_with(&format!(r#""prompt":"{}","resumable":true"#, texts.join(" "))));
        driven.lose();
        driven.move_to_another_process();
        driven.recover(offset);
        for _ in 0..turns {
            driven.speak();
        }
        driven.lose();
        driven.recover(offset);
        assert!(audio_of(&driven.settled()) == audio[offset..], "{offset}, {turns} turns");
    }
}
