use super::super::audio::Encoding;
use super::super::frames::push_frame;
use super::*;

const GREETING: &str = "Hello. I am ready to speak.";
const GREETED: [&str; 2] = ["Hello.", "I am ready to speak."];
const FRAME_MS: u32 = 2;
const FRAME_BYTES: usize = 16;
const CHUNK_BYTES: usize = 48;
const NO_AUDIO: &str = "The speech engine gave no audio for this sentence.";
const START: &str = r#"{"type":"start_session"}"#;
const PAUSE: &str = r#"{"type":"pause"}"#;
const RESUME: &str = r#"{"type":"resume"}"#;
const END: &str = r#"{"type":"end"}"#;
const BUSY: &str = r#"{"type":"error","message":"Session already streaming"}"#;

/// What a client sees, a frame at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Message(String),
    Audio(Vec<u8>),
    Close(u16, &'static str),
}

fn message(json: impl Into<String>) -> Seen {
    Seen::Message(json.into())
}

fn start(prompt: &str) -> String {
    ClientMessage::start(prompt).to_json()
}

/// What the engine makes of a sentence: its audio, and how it fails, if it does.
fn spoken(text: &str) -> (Vec<u8>, Option<&'static str>) {
    let audio: Vec<u8> = text.bytes().cycle().take(text.len() * 7).collect();
    match text {
        t if t.starts_with("Fails late") => (audio, Some("The engine broke.")),
        t if t.starts_with("Fails") => (Vec::new(), Some("The engine broke.")),
        t if t.starts_with("Silent") => (Vec::new(), None),
        _ => (audio, None),
    }
}

/// What a stream of these sentences is, undisturbed.
fn stream(sentences: &[&str]) -> Vec<Seen> {
    let mut seen = Vec::new();
    for (index, text) in sentences.iter().enumerate() {
        seen.push(message(format!(r#"{{"type":"text","data":"{text}","index":{index}}}"#)));
        let (audio, error) = spoken(text);
        for chunk in audio.chunks(CHUNK_BYTES) {
            seen.extend(chunk.chunks(FRAME_BYTES).map(|frame| Seen::Audio(frame.to_vec())));
        }
        if let Some(error) = error.or(audio.is_empty().then_some(NO_AUDIO)) {
            seen.push(message(format!(r#"{{"type":"error","message":"{error}"}}"#)));
        }
        seen.push(message(format!(r#"{{"type":"sentence_end","index":{index}}}"#)));
    }
    seen.push(message(r#"{"type":"session_end"}"#));
    seen
}

fn ended_by_client() -> [Seen; 2] {
    [message(r#"{"type":"session_end"}"#), Seen::Close(1000, "Session ended by client")]
}

fn settings() -> Settings {
    Settings {
        greeting: GREETING.to_owned(),
        max_prompt_chars: 200,
        speed: 1.0,
        prefetch: 2,
        format: Format { encoding: Encoding::MuLaw, sample_rate_hz: 8_000 },
        frame_ms: FRAME_MS,
        formats: vec![Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 }],
        voices: vec!["anna".to_owned(), "bert".to_owned()],
        is_deterministic: true,
        is_paced: false,
        ahead: Duration::from_millis(20),
        keep_bytes: 0,
        max_buffered_chars: 400,
        max_message_bytes: 65_536,
        heartbeat: Duration::from_secs(30),
        resume_ttl: Duration::from_secs(120),
        max_session: Duration::from_secs(3_600),
    }
}

/// A session with what a connection is to it: an engine, and a socket that takes as much as it
/// is told to.
struct Driven {
    session: Session,
    prefetch: usize,
    /// Sentences in synthesis: what is left of their audio, and how they end.
    speeches: VecDeque<Speech>,
    /// All that was ever asked to be spoken.
    asked: Vec<(String, u64)>,
    outgoing: Vec<u8>,
    wire: Vec<u8>,
    closed: Option<Seen>,
    cancels: usize,
    kept: bool,
    now: Instant,
    /// What turns a sentence into audio.
    voice_of: fn(&Sentence) -> (Vec<u8>, Option<&'static str>),
    words_of: fn(&Sentence) -> Vec<Word>,
}

type Speech = (Vec<Word>, VecDeque<Bytes>, Option<&'static str>);

impl Driven {
    fn new(settings: Settings) -> Driven {
        let mut driven = Driven::open(settings, None);
        assert_eq!(driven.take(), [message(r#"{"type":"session_start","sessionId":"an-id"}"#)]);
        driven
    }

    /// With what the client is greeted with still to be taken.
    fn open(settings: Settings, token: Option<&str>) -> Driven {
        let prefetch = settings.prefetch;
        let now = Instant::now();
        let session = Session::new(Arc::new(settings), "an-id".to_owned(), token.map(str::to_owned), now);
        let mut driven = Driven {
            session,
            prefetch,
            speeches: VecDeque::new(),
            asked: Vec::new(),
            outgoing: Vec::new(),
            wire: Vec::new(),
            closed: None,
            cancels: 0,
            kept: false,
            now,
            voice_of: |sentence| spoken(&sentence.text),
            words_of: |_| Vec::new(),
        };
        driven.act();
        driven.write(|offered| offered);
        driven
    }

    fn act(&mut self) {
        while let Some(action) = self.session.next_action() {
            assert_eq!(self.closed, None, "{action:?} after the close");
            match action {
                Action::Send(message) => {
                    push_frame(true, message.to_json().as_bytes(), &mut self.outgoing);
                }
                Action::Speak(sentence) => {
                    let (audio, error) = (self.voice_of)(&sentence);
                    let chunks = audio.chunks(CHUNK_BYTES).map(Bytes::copy_from_slice).collect();
                    self.speeches.push_back(((self.words_of)(&sentence), chunks, error));
                    self.asked.push((sentence.text, sentence.index));
                    assert!(self.speeches.len() <= self.prefetch, "more than prefetch in synthesis");
                }
                Action::Cancel => {
                    let untaken = self.speeches.drain(..).flat_map(|(_, chunks, _)| chunks);
                    let untaken = untaken.map(|chunk| chunk.len() as u64).sum();
                    self.cancels += 1;
                    self.session.on_cancelled(untaken);
                }
                Action::Keep => self.kept = true,
                Action::Recover(recover) => panic!("{recover:?} is for whoever keeps sessions"),
                Action::Close(code, reason) => self.closed = Some(Seen::Close(code.0, reason)),
            }
        }
    }

    fn say(&mut self, json: &str) {
        self.session.on_text(self.now, json);
        self.act();
    }

    /// One event of the engine's; false if there is none, or none is wanted.
    fn speak(&mut self) -> bool {
        if !self.session.wants_speech(self.now) {
            return false;
        }
        let Some((words, chunks, error)) = self.speeches.front_mut() else { return false };
        if !words.is_empty() {
            self.session.on_words(&std::mem::take(words));
        } else if let Some(chunk) = chunks.pop_front() {
            self.session.on_audio(chunk);
        } else if let Some(error) = error.take() {
            self.session.on_failure(Code::EngineFailed, error);
        } else {
            self.speeches.pop_front();
            self.session.on_spoken();
        }
        self.act();
        true
    }

    /// One write of which the socket takes `accept(offered)` bytes; false if there is nothing
    /// to write.
    fn write(&mut self, accept: impl FnOnce(usize) -> usize) -> bool {
        let mut batch = Batch::default();
        batch.push_raw(&self.outgoing);
        let raw = batch.len();
        self.session.fill(self.now, &mut batch);
        assert_eq!(batch.len() > raw, self.session.has_output(self.now));
        let offered: Vec<u8> = batch.write(|slices| slices.iter().flat_map(|s| s.to_vec()).collect());
        let written = accept(offered.len()).min(offered.len());
        self.wire.extend_from_slice(&offered[..written]);
        let mut rest = self.outgoing.split_off(written.min(raw));
        batch.sent(written, &mut rest, |what| self.session.sent(self.now, what));
        self.outgoing = rest;
        self.act();
        !offered.is_empty()
    }

    fn speak_all(&mut self) {
        while self.speak() {}
    }

    /// Lets engine and socket go on until nothing happens any more.
    fn settle(&mut self) {
        while self.speak() || self.write(|offered| offered) {}
    }

    /// The whole frames on the wire, and the Close once everything before it has left.
    fn seen(&self) -> Vec<Seen> {
        let (mut seen, mut wire) = (Vec::new(), &self.wire[..]);
        while wire.len() >= 2 {
            let (header, length) = match wire[1] {
                126 if wire.len() < 4 => break,
                126 => (4, usize::from(u16::from_be_bytes([wire[2], wire[3]]))),
                short => (2, usize::from(short)),
            };
            let Some(payload) = wire.get(header..header + length) else { break };
            seen.push(match wire[0] {
                0x81 => message(String::from_utf8(payload.to_vec()).unwrap()),
                0x82 => Seen::Audio(payload.to_vec()),
                first => panic!("first byte {first:#x}"),
            });
            wire = &wire[header + length..];
        }
        if self.outgoing.is_empty() {
            seen.extend(self.closed.clone());
        }
        seen
    }

    /// What was seen since the last time.
    fn take(&mut self) -> Vec<Seen> {
        let seen = self.seen();
        self.wire.clear();
        seen
    }
}

fn driven() -> Driven {
    Driven::new(settings())
}

/// Wire bytes of a stream, by the end of each frame.
fn ends(seen: &[Seen]) -> Vec<usize> {
    let mut wire = Vec::new();
    seen.iter()
        .map(|seen| {
            match seen {
                Seen::Message(json) => push_frame(true, json.as_bytes(), &mut wire),
                Seen::Audio(audio) => push_frame(false, audio, &mut wire),
                Seen::Close(..) => {}
            }
            wire.len()
        })
        .collect()
}

/// How many frames leave where the socket took this many bytes: those that were begun, and the end
/// behind the last `sentence_end`.
fn begun(ends: &[usize], accepted: usize) -> usize {
    match ends.iter().position(|&end| accepted <= end) {
        _ if accepted == 0 => 0,
        Some(at) if at + 2 < ends.len() => at + 1,
        _ => ends.len(),
    }
}

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
            let error =
                r#"{"type":"error","message":"The prompt is over 200 characters: send it in parts."}"#;
            assert_eq!(seen, [message(error)], "{count} of {letter:?}");
            assert_eq!(driven.asked, []);
        }
        driven.say(START);
        driven.settle();
        assert_eq!(driven.take(), stream(&GREETED), "after {count} of {letter:?}");
    }
}

/// All orders of the four messages up to this length, repeats included.
const LONGEST_ORDER: u32 = 4;

#[test]
fn every_order_of_start_pause_resume_and_end() {
    let messages = [START, PAUSE, RESUME, END];
    for length in 1..=LONGEST_ORDER {
        for number in 0..4usize.pow(length) {
            let order: Vec<&str> =
                (0..length).map(|place| messages[number / 4usize.pow(place) % 4]).collect();
            // Either everything happens between two messages, or nothing.
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
                assert!(!ends || driven.speeches.is_empty(), "{order:?}: something is still spoken");
            }
        }
    }
}

/// The rules, said once more.
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
    driven.session.on_audio(Bytes::from_static(b"late"));
    driven.session.on_failure(Code::EngineFailed, "Too late.");
    driven.session.on_spoken();
    driven.session.drain(Duration::from_secs(5));
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
            let mut driven = Driven::new(Settings { prefetch, ..settings() });
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
        let mut driven = Driven::new(Settings { prefetch, ..settings() });
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
            driven.session.on_audio(chunk.clone());
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
    idle.session.drain(Duration::from_secs(5));
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
        driven.session.drain(Duration::from_secs(5));
        driven.act();
        driven.settle();
        assert_eq!(driven.take(), [&expected[..], &[going()]].concat(), "{accepted} bytes");
    }

    let mut paused = driven();
    paused.say(PAUSE);
    paused.say(START);
    paused.session.drain(Duration::from_secs(5));
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
    assert_eq!(driven.session.actions.capacity(), 0);
}

/// A generator of its own, so that a seed means the same everywhere: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize) % end
    }
}

/// Whatever a client says and however little its socket takes: what it hears are the frames of
/// undisturbed streams, one after the other, up to where it ended them.
#[test]
fn what_is_heard_is_always_the_beginning_of_the_undisturbed_stream() {
    let sentences = ["Good one.", "Fails late in it.", "Silent one.", "Good again."];
    let prompt = start(&sentences.join(" "));
    let one = stream(&sentences);
    for seed in 1..=600u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut driven = Driven::new(Settings { prefetch: 1 + random.below(3), ..settings() });
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
        assert!(!end.is_empty() || heard == expected, "seed {seed}: not all of it");
    }
}
