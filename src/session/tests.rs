mod admission;
mod writing;

use super::*;
use crate::access::rate::Rate;
use crate::audio::voice::Voice;
use crate::audio::{Encoding, Format};
use crate::session::conversation::Turn;
use crate::session::message::Recover;
use crate::text::words::Word;
use crate::ws::frames::push_frame;
use hyper::body::Bytes;
use std::collections::BTreeMap;

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

fn settings() -> SessionConfig {
    SessionConfig {
        greeting: GREETING.to_owned(),
        max_prompt_chars: 200,
        speed: 1.0,
        prefetch: 2,
        format: Format { encoding: Encoding::MuLaw, sample_rate_hz: 8_000 },
        frame_ms: FRAME_MS,
        formats: vec![Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 }],
        voices: vec![Voice::new("anna"), Voice::new("bert")],
        is_deterministic: true,
        is_paced: false,
        ahead: Duration::from_millis(20),
        keep_bytes: 0,
        max_buffered_chars: 400,
        max_session_chars: None,
        max_message_bytes: 65_536,
        heartbeat: Duration::from_secs(30),
        resume_ttl: Duration::from_secs(120),
        max_session: Duration::from_secs(3_600),
        has_writer: false,
        source: TextSource::Verbatim,
        max_script_chars: 300,
        history: conversation::Bounds { turns: 5, chars: 400 },
        messages: None,
        idle_timeout: None,
        auth_timeout: Duration::from_secs(10),
        is_bounded: false,
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
    /// All that was ever asked to be answered.
    prompts: Vec<Vec<Turn>>,
    is_writing: bool,
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
    fn new(settings: SessionConfig) -> Driven {
        let mut driven = Driven::open(settings, None);
        assert_eq!(driven.take(), [message(r#"{"type":"session_start","sessionId":"an-id"}"#)]);
        driven
    }

    /// With what the client is greeted with still to be taken.
    fn open(settings: SessionConfig, token: Option<&str>) -> Driven {
        let prefetch = settings.prefetch;
        let now = Instant::now();
        let session = Session::new(Arc::new(settings), "an-id".to_owned(), token.map(str::to_owned), now);
        let mut driven = Driven {
            session,
            prefetch,
            speeches: VecDeque::new(),
            asked: Vec::new(),
            prompts: Vec::new(),
            is_writing: false,
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

    fn handle(&mut self, input: Input<'_>) {
        self.session.handle(input, self.now);
    }

    fn act(&mut self) {
        while let Some(action) = self.session.poll() {
            assert_eq!(self.closed, None, "{action:?} after the close");
            match action {
                Output::Send(message) => {
                    push_frame(true, message.to_json().as_bytes(), &mut self.outgoing);
                }
                Output::Speak(sentence) => {
                    let (audio, error) = (self.voice_of)(&sentence);
                    let chunks = audio.chunks(CHUNK_BYTES).map(Bytes::copy_from_slice).collect();
                    self.speeches.push_back(((self.words_of)(&sentence), chunks, error));
                    self.asked.push((sentence.text, sentence.index));
                    assert!(self.speeches.len() <= self.prefetch, "more than prefetch in synthesis");
                }
                Output::Write { turns, .. } => {
                    assert!(!self.is_writing, "two answers at once");
                    self.is_writing = true;
                    self.prompts.push(turns);
                }
                Output::StopWriting => {
                    assert!(self.is_writing, "nothing is being written");
                    self.is_writing = false;
                }
                Output::StopSpeaking => {
                    let untaken = self.speeches.drain(..).flat_map(|(_, chunks, _)| chunks);
                    let untaken = untaken.map(|chunk| chunk.len() as u64).sum();
                    self.cancels += 1;
                    self.handle(Input::Engine(Engine::Stopped { buffered_bytes: untaken }));
                }
                Output::Keep => self.kept = true,
                Output::Recover(recover) => panic!("{recover:?} is for whoever keeps sessions"),
                Output::Authenticate(token) => match token.reveal() {
                    "good" => self.handle(Input::Answer(Answer::Authenticated(None))),
                    "mute" => self.handle(Input::Answer(Answer::Refused(Code::Forbidden))),
                    "crowded" => self.handle(Input::Answer(Answer::Refused(Code::RateLimited))),
                    _ => self.handle(Input::Answer(Answer::Refused(Code::Unauthorized))),
                },
                Output::Close(close) => {
                    let code = close.code(self.session.dialect().is_v1());
                    self.closed = Some(Seen::Close(code, close.reason()));
                }
            }
        }
    }

    fn say(&mut self, json: &str) {
        self.handle(Input::Message(json));
        self.act();
    }

    /// One event of the engine's; false if there is none, or none is wanted.
    fn speak(&mut self) -> bool {
        if !self.session.wants_speech(self.now) {
            return false;
        }
        let Some((words, chunks, error)) = self.speeches.front_mut() else { return false };
        if !words.is_empty() {
            let words = std::mem::take(words);
            self.handle(Input::Engine(Engine::Words(&words)));
        } else if let Some(chunk) = chunks.pop_front() {
            self.handle(Input::Engine(Engine::Audio(chunk)));
        } else if let Some(error) = error.take() {
            self.handle(Input::Engine(Engine::Failed { code: Code::EngineFailed, message: error }));
        } else {
            self.speeches.pop_front();
            self.handle(Input::Engine(Engine::Finished));
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
        self.session.deliver(self.now, &mut batch);
        assert_eq!(batch.len() > raw, self.session.has_output(self.now));
        let offered: Vec<u8> = batch.write(|slices| slices.iter().flat_map(|s| s.to_vec()).collect());
        let written = accept(offered.len()).min(offered.len());
        self.wire.extend_from_slice(&offered[..written]);
        let mut rest = self.outgoing.split_off(written.min(raw));
        batch.sent(written, &mut rest, |what| _ = self.session.delivered(self.now, what));
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

    fn settled(&mut self) -> Vec<Seen> {
        self.settle();
        self.take()
    }

    fn on_time(&mut self) {
        self.handle(Input::Due);
        self.act();
    }

    /// The whole frames on the wire, and the Close once everything before it has left.
    fn seen(&self) -> Vec<Seen> {
        let (mut seen, mut wire) = (Vec::new(), &self.wire[..]);
        while wire.len() >= 2 {
            let (header, length) = match wire[1] {
                126 if wire.len() < 4 => break,
                126 => (4, usize::from(u16::from_be_bytes([wire[2], wire[3]]))),
                127 if wire.len() < 10 => break,
                127 => (10, u64::from_be_bytes(wire[2..10].try_into().unwrap()) as usize),
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
            let error = r#"{"type":"error","message":"The prompt is too long (limit 200 characters). Send it in parts."}"#;
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
    driven.handle(Input::Engine(Engine::Audio(Bytes::from_static(b"late"))));
    driven.handle(Input::Engine(Engine::Failed { code: Code::EngineFailed, message: "Too late." }));
    driven.handle(Input::Engine(Engine::Finished));
    driven.handle(Input::Drain(Duration::from_secs(5)));
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
            let mut driven = Driven::new(SessionConfig { prefetch, ..settings() });
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
        let mut driven = Driven::new(SessionConfig { prefetch, ..settings() });
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
            driven.handle(Input::Engine(Engine::Audio(chunk.clone())));
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
    idle.handle(Input::Drain(Duration::from_secs(5)));
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
        driven.handle(Input::Drain(Duration::from_secs(5)));
        driven.act();
        driven.settle();
        assert_eq!(driven.take(), [&expected[..], &[going()]].concat(), "{accepted} bytes");
    }

    let mut paused = driven();
    paused.say(PAUSE);
    paused.say(START);
    paused.handle(Input::Drain(Duration::from_secs(5)));
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
    assert_eq!(driven.session.outputs.capacity(), 0);
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
        assert!(!end.is_empty() || heard == expected, "seed {seed}: not all of it");
    }
}

// What `aloud.v1` adds.

const TOKEN: &str = "a-token";
const CANCEL: &str = r#"{"type":"cancel"}"#;
const FLUSH: &str = r#"{"type":"flush"}"#;
const DRAIN: &str = r#"{"type":"end","drain":true}"#;
const APPENDED: &str = r#"{"type":"start_session","source":"append"}"#;

fn v1(settings: SessionConfig) -> Driven {
    let mut driven = Driven::open(settings, Some(TOKEN));
    driven.take();
    driven
}

fn start_with(options: &str) -> String {
    format!(r#"{{"type":"start_session",{options}}}"#)
}

fn append(text: &str) -> String {
    ClientMessage::Append { text: text.to_owned() }.to_json()
}

/// CRC-32 (IEEE 802.3), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1));
        }
    }
    !crc
}

/// 8 bytes of µ-law at 8 kHz are a millisecond.
fn ms_of(bytes: usize) -> usize {
    bytes / 8
}

/// What a stream of these sentences is to a client of `aloud.v1`, undisturbed, from an index and an
/// offset on and without its end.
fn v1_sentences(sentences: &[&str], first_index: usize, first_offset: usize) -> Vec<Seen> {
    let (mut seen, mut offset) = (Vec::new(), first_offset);
    for (index, text) in (first_index..).zip(sentences) {
        let start_ms = ms_of(offset);
        seen.push(message(format!(
            r#"{{"type":"text","data":"{text}","index":{index},"offset":{offset},"startMs":{start_ms}}}"#
        )));
        let (audio, error) = spoken(text);
        for chunk in audio.chunks(CHUNK_BYTES) {
            seen.extend(chunk.chunks(FRAME_BYTES).map(|frame| Seen::Audio(frame.to_vec())));
        }
        let (code, retryable) =
            if error.is_some() { ("engine_failed", true) } else { ("engine_no_audio", false) };
        if let Some(error) = error.or(audio.is_empty().then_some(NO_AUDIO)) {
            seen.push(message(format!(
                r#"{{"type":"error","message":"{error}","code":"{code}","retryable":{retryable},"fatal":false,"index":{index}}}"#
            )));
        }
        let (bytes, duration_ms) = (audio.len(), ms_of(audio.len()));
        offset += bytes;
        seen.push(message(format!(
            r#"{{"type":"sentence_end","index":{index},"offset":{offset},"bytes":{bytes},"durationMs":{duration_ms},"crc32":"{:08x}"}}"#,
            crc32(&audio)
        )));
    }
    seen
}

fn stream_start(source: &str) -> Seen {
    message(format!(
        r#"{{"type":"stream_start","audio":{{"encoding":"mulaw","sampleRate":8000,"channels":1}},"voice":"anna","source":"{source}"}}"#
    ))
}

/// The frames of a whole stream, and that its end has this reason and these counts.
fn assert_whole(seen: &[Seen], source: &str, sentences: &[&str], reason: &str) {
    let (end, others) = seen.split_last().unwrap();
    let expected = [vec![stream_start(source)], v1_sentences(sentences, 0, 0)].concat();
    assert_eq!(others, expected, "{sentences:?}");
    let chars: usize = sentences.iter().map(|text| text.chars().count()).sum();
    let made: usize = sentences.iter().map(|text| spoken(text).0.len()).sum();
    let (count, audio_ms) = (sentences.len(), ms_of(made));
    let end_json = format!(
        r#"{{"type":"session_end","reason":"{reason}","usage":{{"chars":{chars},"sentences":{count},"audioMs":{audio_ms},"synthesisedMs":{audio_ms},"wastedMs":0,"firstAudioMs":0}}}}"#
    );
    assert_eq!(*end, message(end_json), "{sentences:?}");
}

fn audio_of(seen: &[Seen]) -> Vec<u8> {
    let payloads = seen.iter().filter_map(|seen| match seen {
        Seen::Audio(audio) => Some(&audio[..]),
        _ => None,
    });
    payloads.collect::<Vec<_>>().concat()
}

fn all_audio(sentences: &[&str]) -> Vec<u8> {
    sentences.iter().flat_map(|text| spoken(text).0).collect()
}

/// The messages of this type, and nothing else of what was seen.
fn of_type(seen: &[Seen], name: &str) -> Vec<String> {
    let begin = format!(r#"{{"type":"{name}""#);
    let messages = seen.iter().filter_map(|seen| match seen {
        Seen::Message(json) if json.starts_with(&begin) => Some(json.clone()),
        _ => None,
    });
    messages.collect()
}

/// A number in a message that has one field of this name.
fn number(json: &str, name: &str) -> u64 {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    value[name].as_u64().unwrap_or_else(|| panic!("{name} in {json}"))
}

fn assert_refused(seen: &[Seen], code: &str) {
    match seen {
        [Seen::Message(json)] => {
            let rest = format!(r#""code":"{code}","#);
            assert!(json.starts_with(r#"{"type":"error""#) && json.contains(&rest), "{json} for {code}");
        }
        other => panic!("{other:?} for {code}"),
    }
}

#[test]
fn a_client_of_the_subprotocol_is_told_what_the_server_is() {
    let mut driven = Driven::open(settings(), Some(TOKEN));
    let greeting = r#"{"type":"session_start","sessionId":"an-id","protocol":"aloud.v1","token":"a-token","pingIntervalMs":30000,"audio":{"encoding":"mulaw","sampleRate":8000,"channels":1},"limits":{"maxPromptChars":200,"maxMessageBytes":65536,"maxBufferedChars":400,"aheadMs":20,"resumeTtlMs":120000,"maxSessionMs":3600000}}"#;
    assert_eq!(driven.take(), [message(greeting)]);
}

#[test]
fn a_stream_tells_offsets_and_figures() {
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
fn times_of_words_come_between_text_and_end() {
    // Of the engine, and where it has none, estimated: all at once, behind the audio.
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
    // 13 * 7 bytes before it, 9 * 7 of its own: 7.875 ms.
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
    // Who does not ask for words is told none.
    for timestamps in ["none", "sentence"] {
        let mut driven = v1(settings());
        driven.words_of = |_| vec![Word { text_range: 0..2, start: Duration::ZERO, end: Duration::ZERO }];
        driven.say(&start_with(&format!(r#""prompt":"One.","timestamps":"{timestamps}""#)));
        driven.settle();
        assert_whole(&driven.take(), "verbatim", &["One."], "completed");
    }
}

#[test]
fn text_may_be_appended_cut_anywhere() {
    let text = "Dr. Sato came. “Well,” she said… 3.5 is more! Ünïcode 😀 too? And no end";
    let mut whole = v1(settings());
    whole.say(APPENDED);
    whole.say(&append(text));
    whole.say(DRAIN);
    whole.settle();
    let expected = whole.take();
    assert!(whole.asked.len() > 3, "{:?}", whole.asked);
    let cuts: Vec<usize> = (0..=text.len()).filter(|&at| text.is_char_boundary(at)).collect();
    for (n, &first) in cuts.iter().enumerate() {
        for &second in &cuts[n..] {
            let mut driven = v1(settings());
            driven.say(APPENDED);
            for part in [&text[..first], &text[first..second], &text[second..]] {
                driven.say(&append(part));
            }
            driven.say(DRAIN);
            driven.settle();
            assert_eq!(driven.asked, whole.asked, "cut at {first} and {second}");
            if second == first {
                assert_eq!(driven.take(), expected, "cut at {first}");
            }
        }
    }
    let mut driven = v1(settings());
    driven.say(APPENDED);
    for at in cuts.windows(2) {
        driven.say(&append(&text[at[0]..at[1]]));
        driven.settle();
    }
    driven.say(DRAIN);
    driven.settle();
    assert_eq!(driven.take(), expected, "letter by letter");
}

#[test]
fn a_flush_speaks_what_is_there_and_tells_the_last_index() {
    let mut driven = v1(settings());
    driven.say(FLUSH);
    assert_refused(&driven.settled(), "not_started");
    driven.say(APPENDED);
    assert_eq!(driven.settled(), [stream_start("append")]);
    driven.say(&append("Hello. How are"));
    assert_eq!(driven.settled(), v1_sentences(&["Hello."], 0, 0));
    driven.say(FLUSH);
    let seen = driven.settled();
    assert_eq!(seen[0], message(r#"{"type":"flushed","index":1}"#));
    assert_eq!(seen[1..], v1_sentences(&["How are"], 1, 42));
    driven.say(&append(" you? Fine"));
    driven.say(FLUSH);
    let seen = driven.settled();
    let told = of_type(&seen, "flushed");
    assert_eq!(told, [r#"{"type":"flushed","index":3}"#]);
    let others: Vec<_> = seen.into_iter().filter(|seen| *seen != message(told[0].as_str())).collect();
    assert_eq!(others, v1_sentences(&["you?", "Fine"], 2, 42 + 49));
}

#[test]
fn a_finished_sentence_does_not_wait_for_more_text() {
    for (options, idle_ms) in [("", 250), (r#","segmentation":{"idleMs":40}"#, 40)] {
        let mut driven = v1(settings());
        driven.say(&start_with(&format!(r#""source":"append"{options}"#)));
        driven.settled();
        let began = driven.now;
        driven.say(&append("Is that so?"));
        assert_eq!(driven.settled(), [], "the next letter may belong to it");
        let due = driven.session.next_deadline();
        assert_eq!(due, Some(began + Duration::from_millis(idle_ms)));
        driven.now = due.unwrap() - Duration::from_nanos(1);
        driven.on_time();
        assert_eq!(driven.settled(), []);
        driven.now = due.unwrap();
        driven.on_time();
        assert_eq!(driven.settled(), v1_sentences(&["Is that so?"], 0, 0));
        // Half a sentence waits as long as it takes.
        driven.say(&append("It is"));
        driven.now += Duration::from_secs(60);
        driven.on_time();
        assert_eq!(driven.settled(), []);
        driven.say(&append(" so."));
        driven.now += Duration::from_millis(idle_ms);
        driven.on_time();
        assert_eq!(driven.settled(), v1_sentences(&["It is so."], 1, 77));
    }
}

#[test]
fn more_text_than_fits_is_refused_and_changes_nothing() {
    let mut driven = v1(settings());
    driven.say(APPENDED);
    driven.say(PAUSE);
    driven.settled();
    let [some, others, later] =
        ["abcdefghijklmnopqrstuvwx ".repeat(10), "żółćżółć ".repeat(4), "abcdefghi ".repeat(25)];
    driven.say(&append(&some));
    driven.say(&append(&"b".repeat(151)));
    assert_refused(&driven.settled(), "buffer_full");
    driven.say(&append(&others));
    driven.say(&append(&"b".repeat(115)));
    assert_refused(&driven.settled(), "buffer_full");
    driven.say(FLUSH);
    // What is being spoken does not wait any more.
    driven.say(&append(&later));
    driven.say(RESUME);
    driven.say(FLUSH);
    driven.settled();
    let asked: Vec<String> = driven.asked.into_iter().map(|(text, _)| text).collect();
    assert_eq!(asked, [format!("{some}{others}").trim(), later.trim()]);
}

#[test]
fn options_say_how_text_is_cut_and_cleaned() {
    let table: [(&str, &str, &[&str]); 5] = [
        (
            "\"segmentation\":{\"firstClause\":true}",
            "Well now my friends, it is late. Go.",
            &["Well now my friends,", "it is late.", "Go."],
        ),
        (
            "\"segmentation\":{\"firstClause\":false}",
            "Well now my friends, it is late. Go.",
            &["Well now my friends, it is late.", "Go."],
        ),
        ("\"segmentation\":{\"minChars\":12}", "One. Two. Three. Four.", &["One. Two. Three.", "Four."]),
        (
            "\"segmentation\":{\"maxChars\":20}",
            "One two three four five six seven.",
            &["One two three four", "five six seven."],
        ),
        (
            "\"clean\":\"markdown\"",
            "# Title\n\n**Bold** and `code`. [Link](http://a.b).",
            &["Title", "Bold and code.", "Link."],
        ),
    ];
    for (options, prompt, sentences) in table {
        let json = ClientMessage::start(prompt).to_json();
        let json = format!("{},{options}}}", &json[..json.len() - 1]);
        let mut driven = v1(settings());
        driven.say(&json);
        driven.settle();
        let asked: Vec<&str> = driven.asked.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(asked, sentences, "{options}");
    }
}

#[test]
fn what_does_not_fit_the_moment_is_refused_by_code() {
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
    // While a stream runs.
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
fn an_update_holds_from_the_next_sentence_on() {
    let mut driven = v1(SessionConfig { prefetch: 1, ..settings() });
    driven.voice_of = |sentence| {
        let text = format!("{}/{}/{}", sentence.voice, sentence.speed, sentence.format.encoding.name());
        (text.into_bytes(), None)
    };
    driven.say(&start_with(
        r#""prompt":"One. Two. Three. Four.","voice":"bert","speed":0.5,"audio":{"encoding":"pcm_s16le"}"#,
    ));
    driven.say(r#"{"type":"update","voice":"anna"}"#);
    while driven.asked.len() < 2 {
        driven.speak();
    }
    driven.say(r#"{"type":"update","speed":2}"#);
    driven.say(r#"{"type":"update","speed":2.5}"#);
    driven.say(r#"{"type":"update"}"#);
    let seen = driven.settled();
    let begin = r#"{"type":"stream_start","audio":{"encoding":"pcm_s16le","sampleRate":8000,"channels":1},"voice":"bert","source":"verbatim"}"#;
    assert_eq!(seen[0], message(begin));
    let said = String::from_utf8(audio_of(&seen)).unwrap();
    assert_eq!(said, "bert/0.5/pcm_s16leanna/0.5/pcm_s16leanna/2/pcm_s16leanna/2/pcm_s16le");
    assert_eq!(of_type(&seen, "error").len(), 1);
}

/// The voices that the sentences of this session are spoken in.
fn voices_of(start: &str, updates: &[&str]) -> Vec<String> {
    let voice =
        |name: &str, language: &str| Voice { language: Some(language.to_owned()), ..Voice::new(name) };
    let voices = vec![voice("joe", "en-US"), voice("eva", "de"), voice("amy", "en-GB")];
    let mut driven = v1(SessionConfig { prefetch: 1, voices, ..settings() });
    driven.voice_of = |sentence| (format!("{}/{} ", sentence.voice, sentence.language).into_bytes(), None);
    driven.say(&start_with(start));
    for update in updates {
        let asked = driven.asked.len();
        driven.say(&format!(r#"{{"type":"update",{update}}}"#));
        while driven.asked.len() == asked {
            driven.speak();
        }
    }
    let said = String::from_utf8(audio_of(&driven.settled())).unwrap();
    said.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_language_picks_a_voice_where_none_was_named() {
    let two = r#""prompt":"One. Two.""#;
    let cases: &[(&str, &[&str], [&str; 2])] = &[
        ("", &[r#""speed":1"#], ["joe/", "joe/"]),
        (r#","language":"de-AT""#, &[r#""speed":1"#], ["eva/de-AT", "eva/de-AT"]),
        (r#","language":"en-GB""#, &[r#""language":"de""#], ["amy/en-GB", "eva/de"]),
        (r#","language":"fr""#, &[r#""language":"fr""#], ["joe/fr", "joe/fr"]),
        // A voice that was named stays.
        (r#","language":"de","voice":"amy""#, &[r#""language":"en-US""#], ["amy/de", "amy/en-US"]),
        (r#","language":"de""#, &[r#""voice":"joe","language":"en-GB""#], ["eva/de", "joe/en-GB"]),
    ];
    for (options, updates, expected) in cases {
        assert_eq!(voices_of(&format!("{two}{options}"), updates), expected, "{options} {updates:?}");
    }
}

#[test]
fn a_session_speaks_as_much_as_it_may_and_ends() {
    // 4 + 4 characters in the first stream, 6 + 5 in the next.
    for (most, sentences, is_over) in
        [(19, 4, false), (18, 3, true), (14, 3, true), (13, 2, true), (3, 0, true)]
    {
        let limited = SessionConfig { max_session_chars: Some(most), ..settings() };
        for is_v1 in [false, true] {
            let mut driven = if is_v1 { v1(limited.clone()) } else { Driven::new(limited.clone()) };
            let mut seen = Vec::new();
            for prompt in ["One. Two.", "Three. Four."] {
                if driven.closed.is_none() && !seen.iter().any(|one| matches!(one, Seen::Close(..))) {
                    driven.say(&start(prompt));
                    seen.extend(driven.settled());
                }
            }
            assert_eq!(of_type(&seen, "sentence_end").len(), sentences, "{most} {seen:?}");
            let closes: Vec<&Seen> = seen.iter().filter(|one| matches!(one, Seen::Close(..))).collect();
            let errors = of_type(&seen, "error");
            assert_eq!((errors.len(), closes.len()), (usize::from(is_over), usize::from(is_over)), "{most}");
            if is_over {
                let code = if is_v1 { 4413 } else { 1008 };
                assert!(matches!(closes[0], Seen::Close(got, _) if *got == code), "{closes:?}");
                assert!(errors[0].contains("as many characters as allowed"));
                assert_eq!(errors[0].contains("text_too_long"), is_v1);
                // What was spoken is heard to its end, and the end is told.
                assert!(matches!(&seen[seen.len() - 2], Seen::Message(json) if json.contains("session_end")));
            }
        }
    }
}

#[test]
fn a_ping_is_answered_at_once() {
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
fn an_end_that_drains_comes_behind_everything() {
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
fn pause_and_resume_tell_the_byte() {
    let expected = [vec![stream_start("verbatim")], v1_sentences(&GREETED, 0, 0)].concat();
    let ends = ends(&expected);
    // Until the last message is begun, with which the stream is over.
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

/// What the sentences before, and the first words of the one at `played`, come to.
fn heard(text: &str, bytes: usize, played: usize) -> &str {
    let duration = |bytes: usize| Duration::from_nanos(bytes as u64 * 125_000);
    let words = crate::text::words::estimate(text, duration(bytes));
    let begun = words.iter().take_while(|word| word.start < duration(played)).last();
    &text[..begun.map_or(0, |word| word.text_range.end)]
}

/// At every byte that a socket may have got: exact figures, nothing of what was dropped, and the
/// stream goes on, or ends.
#[test]
fn cancel_drops_what_was_not_sent_at_every_byte() {
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
            let told = of_type(&seen, "text").len();
            assert_eq!(number(json, "offset"), sent as u64, "{at}");
            assert_eq!(number(json, "index"), told.saturating_sub(1) as u64, "{at}");
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
                        text.push(heard(sentence, bytes, sent - before));
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
                assert_eq!(seen, v1_sentences(&["Another one.", "And more."], told, sent), "{at}");
            } else {
                let end = end.unwrap();
                assert!(
                    matches!(&end, Seen::Message(json) if json.starts_with(r#"{"type":"session_end","reason":"cancelled","#)),
                    "{end:?}, {at}"
                );
                driven.say(CANCEL);
                assert_refused(&driven.settled(), "nothing_to_cancel");
            }
        }
    }
}

/// The same five messages as a client of `aloud.v1` may send them, twice and behind the end too.
#[test]
fn every_order_of_start_pause_resume_cancel_and_end() {
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
                assert!(!is_over || driven.speeches.is_empty(), "{order:?}: something is still spoken");
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

/// The rules, said once more.
fn kinds_after(order: &[&str], settles: bool) -> Vec<&'static str> {
    let rest = [&["text", "audio", "sentence_end"][..]; 2].concat();
    let (mut seen, mut streams, mut paused) = (Vec::new(), false, false);
    for message in order {
        match *message {
            START if streams => seen.push("error already_started"),
            START => {
                seen.push("stream_start");
                streams = true;
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
            CANCEL => seen.push("error nothing_to_cancel"),
            _ => {
                seen.extend(["session_end ended", "1000"]);
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

#[test]
fn what_a_client_says_it_has_played_is_what_was_heard() {
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
    let text = heard("One two three four.", bytes, 72);
    let (sent, wasted) = (ms_of(bytes), ms_of(bytes - 72));
    assert!(text.len() > 3 && text.len() < 19, "{text}");
    assert_eq!(
        seen,
        [message(format!(
            r#"{{"type":"cancelled","index":0,"offset":{bytes},"sentMs":{sent},"playedMs":9,"spokenText":"{text}","wastedMs":{wasted}}}"#
        ))]
    );
    // It knows no more than was sent, and the next one begins behind this one.
    driven.say(&append("More of it."));
    driven.say(FLUSH);
    driven.settled();
    driven.say(r#"{"type":"cancel","playedMs":99999}"#);
    let seen = driven.settled();
    let json = &of_type(&seen, "cancelled")[0];
    assert_eq!(number(json, "playedMs"), number(json, "sentMs"));
    assert!(json.contains(r#""spokenText":"More of it.","wastedMs":0"#), "{json}");
}

/// A listener who is spoken over hears the answer at once, however much it had in store.
#[test]
fn after_a_cancel_paced_audio_does_not_wait_for_what_was_dropped() {
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
        assert!(number(&json, "wastedMs") <= 8, "nothing is wasted twice: {json}");
    }
}

#[test]
fn a_base_client_has_the_base_messages_only() {
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
    assert_eq!(driven.settled().len(), 200, "only a client that should know better is given up");
    driven.now += Duration::from_secs(100_000);
    assert_eq!(driven.session.next_deadline(), None);
    driven.on_time();
    driven.say(START);
    assert_eq!(driven.settled(), stream(&GREETED));
}

#[test]
fn a_base_client_may_ask_for_a_single_feature() {
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
            r#"{{"type":"cancelled","index":1,"offset":{sent},"sentMs":{0},"playedMs":{0},"spokenText":"One. Two.","wastedMs":0}}"#,
            ms_of(sent)
        ))]
    );
    driven.say(END);
    assert_eq!(driven.settled(), ended_by_client());
    // Times: the figures come with them.
    let mut driven = self::driven();
    driven.say(&start_with(r#""prompt":"One. Two.","timestamps":"sentence""#));
    let mut expected = v1_sentences(&["One.", "Two."], 0, 0);
    expected.push(message(r#"{"type":"session_end"}"#));
    assert_eq!(driven.settled(), expected);
    // A format.
    let mut driven = self::driven();
    driven.say(&start_with(r#""prompt":"One.","audio":{}"#));
    assert_eq!(driven.settled(), [vec![stream_start("verbatim")], stream(&["One."])].concat());
    // The rest changes no message.
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

#[test]
fn a_client_that_is_never_understood_is_given_up() {
    let mut driven = v1(settings());
    for _ in 0..99 {
        driven.say("nonsense");
    }
    driven.say(r#"{"type":"ping"}"#);
    for _ in 0..99 {
        driven.say(r#"{"type":"sing"}"#);
    }
    assert_eq!(driven.settled().len(), 199);
    driven.say("nonsense");
    let seen = driven.settled();
    assert_refused(&seen[..1], "bad_json");
    assert!(matches!(seen[1..], [Seen::Close(4400, _)]), "{seen:?}");
}

#[test]
fn a_session_lasts_no_longer_than_it_may() {
    for is_streaming in [false, true] {
        let mut driven = v1(settings());
        let began = driven.now;
        if is_streaming {
            driven.say(&start("One."));
            driven.say(PAUSE);
            driven.settled();
        }
        assert_eq!(driven.session.next_deadline(), Some(began + Duration::from_secs(3_570)));
        driven.now = began + Duration::from_secs(3_569);
        driven.on_time();
        assert_eq!(driven.settled(), []);
        driven.now = began + Duration::from_secs(3_570);
        driven.on_time();
        driven.on_time();
        let notice = message(r#"{"type":"go_away","timeLeftMs":30000,"reason":"max_duration"}"#);
        assert_eq!(driven.settled(), [notice]);
        assert_eq!(driven.session.next_deadline(), Some(began + Duration::from_secs(3_600)));
        driven.now = began + Duration::from_secs(3_600);
        driven.on_time();
        let seen = driven.settled();
        assert_refused(&seen[..1], "session_expired");
        let end = &of_type(&seen, "session_end")[0];
        assert!(end.contains(r#""reason":"expired""#), "{end}");
        assert!(matches!(seen[2..], [Seen::Close(1000, _)]), "{seen:?}");
        assert_eq!(driven.session.next_deadline(), None);
    }
}

// Recovery.

fn resumable(sentences: &[&str]) -> String {
    let json = ClientMessage::start(sentences.join(" ")).to_json();
    format!(r#"{},"resumable":true}}"#, &json[..json.len() - 1])
}

impl Driven {
    /// The connection is lost, and everything that it had not delivered.
    fn lose(&mut self) {
        assert!(self.kept && self.session.is_resumable());
        self.handle(Input::Disconnected);
        self.outgoing.clear();
        self.closed = None;
        assert!(!self.session.has_output(self.now), "nothing leaves without a connection");
    }

    fn written_bytes(&self) -> usize {
        self.session.stream.as_ref().map_or(0, |stream| stream.log().written_bytes() as usize)
    }

    /// The session goes on in another process, which has nothing but what was written down of it.
    fn move_to_another_process(&mut self) {
        let json = serde_json::to_string(&self.session.snapshot(self.now)).unwrap();
        let snapshot: Snapshot = serde_json::from_str(&json).unwrap();
        let token = self.session.token().map(str::to_owned);
        self.session = Session::restore(Arc::clone(&self.session.config), snapshot, token, self.now);
        self.speeches.clear();
        self.is_writing = false;
        assert!(!self.session.has_outputs() && !self.session.has_output(self.now));
    }

    /// Another connection goes on; what it got so far is forgotten.
    fn recover(&mut self, offset: usize) {
        self.wire.clear();
        self.handle(Input::Answer(Answer::Recovered { offset: offset as u64 }));
        self.act();
    }
}

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

/// Figures are about where delivery stopped, also where more had been made of a sentence before.
#[test]
fn a_second_cancel_is_about_the_second_sentence() {
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

/// Whatever happens to it, in whatever order: what a client has of a stream is its undisturbed
/// beginning, cut only where a cancel said so, and in the end it has all of it.
#[test]
fn a_client_never_has_anything_but_the_stream() {
    for seed in 1..=500 {
        run_history(seed, false);
    }
}

/// The same where each lost connection takes its server with it, and the session continues elsewhere from
/// what was written down of it.
#[test]
fn a_session_that_moves_to_another_process_has_the_same_stream() {
    for seed in 1..=1_000 {
        run_history(seed, true);
    }
}

fn run_history(seed: u64, moves: bool) {
    let voice_of = |sentence: &Sentence| spoken(&sentence.text);
    {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let is_paced = random.below(2) == 0;
        // Where half a sentence is gone, nobody can go back: enough for one is kept.
        let keep_bytes = [400, 1 << 20][random.below(2)];
        let mut driven =
            v1(SessionConfig { prefetch: 1 + random.below(3), is_paced, keep_bytes, ..settings() });
        driven.voice_of = voice_of;
        driven.say(&start_with(r#""source":"append","resumable":true"#));
        driven.settled();
        // What the client has, and what it has to have: the audio by offset, after every cancel.
        let (mut client, mut expected) = (Vec::new(), Vec::<u8>::new());
        let mut appended = 0;
        let mut is_whole = true;
        // The text of each sentence by its index, and audio in ms that was written off.
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
                11 => driven
                    .say(&format!(r#"{{"type":"ack","playedMs":{}}}"#, random.below(client.len() / 8 + 9))),
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
                    // What arrived in part on the old connection is not counted by any client.
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
            assert!(is_right, "{at}: more is wasted than was made");
            if matches!(driven.closed, Some(Seen::Close(4410, _))) {
                // Behind a cancel, what was let go cannot be spoken again.
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
}

/// Sentences of which no audio comes move no position, and so nothing but their number bounds what is
/// told and remembered of them.
#[test]
fn sentences_without_audio_fill_no_memory() {
    const MOST: usize = 4 * 1024 * 1024;
    let text = append(&"Silent. ".repeat(40));
    for (options, is_paused) in [("", false), (r#","resumable":true"#, false), ("", true)] {
        let mut driven = v1(SessionConfig { keep_bytes: 1 << 18, ..settings() });
        let segmentation = r#""segmentation":{"minChars":0,"firstClause":false}"#;
        driven.say(&start_with(&format!(r#""source":"append",{segmentation}{options}"#)));
        driven.settle();
        if is_paused {
            driven.say(PAUSE);
        }
        let mut spoken = 0;
        for _ in 0..1_000 {
            driven.say(&text);
            driven.settle();
            driven.take();
            spoken += driven.asked.len();
            driven.asked.clear();
            let memory = driven.session.memory_bytes();
            assert!(memory < MOST, "{memory} bytes after {spoken} sentences");
        }
        if is_paused {
            assert!(spoken < 5_000, "{spoken}: what nobody hears is not spoken");
            driven.say(&text);
            assert_refused(&driven.settled(), "buffer_full");
            driven.say(RESUME);
            driven.settle();
            assert!(driven.asked.len() >= 40, "what waited is spoken");
        } else {
            assert!(spoken > 39_000, "{spoken}");
        }
        // What is told and kept is still right.
        driven.take();
        driven.say(&append("Heard well. "));
        driven.say(CANCEL);
        let seen = driven.settled();
        assert_eq!(of_type(&seen, "cancelled").len(), 1, "{seen:?}");
    }
}

#[test]
fn the_latest_sentences_are_remembered() {
    let mut driven = v1(settings());
    driven.say(&start_with(r#""source":"append","segmentation":{"minChars":0,"firstClause":false}"#));
    let speak = |driven: &mut Driven, numbers: std::ops::Range<usize>| {
        for n in numbers {
            driven.say(&append(&format!("Say {n}. ")));
            driven.settle();
            driven.wire.clear();
        }
        driven.say(FLUSH);
        driven.settle();
        driven.take();
    };
    let spoken = |numbers: std::ops::Range<usize>| numbers.map(|n| format!("Say {n}. ")).collect::<String>();
    // Since the last time, of which the beginning is given up by now.
    speak(&mut driven, 0..4_000);
    driven.say(CANCEL);
    driven.take();
    speak(&mut driven, 4_000..7_500);
    driven.say(CANCEL);
    let told = of_type(&driven.settled(), "cancelled").remove(0);
    let heard = told.split_once(r#""spokenText":""#).unwrap().1.split_once('"').unwrap().0;
    assert_eq!(heard.len(), spoken(4_000..7_500).trim_end().len());
    // And when that is more than is remembered.
    speak(&mut driven, 7_500..30_000);
    driven.say(&append("Silent. And this. "));
    driven.say(FLUSH);
    driven.settle();
    driven.take();
    driven.say(CANCEL);
    let told = of_type(&driven.settled(), "cancelled").remove(0);
    let (before, after) = told.split_once(r#""spokenText":""#).unwrap();
    assert!(before.contains(r#""index":30001,"#), "{before}");
    let heard = after.split_once('"').unwrap().0;
    let first: usize = heard.split(['.', ' ']).nth(1).unwrap().parse().unwrap();
    assert!((7_501..28_000).contains(&first), "from {first} on");
    let latest = spoken(first..30_000);
    assert_eq!(heard.len(), latest.len() + "And this.".len());
    assert!(heard.starts_with(&latest) && heard.ends_with("And this."), "and nothing silent");
}

/// A second of audio for each sentence.
fn seconds(_: &Sentence) -> (Vec<u8>, Option<&'static str>) {
    (vec![7; 8_000], None)
}

#[test]
fn audio_is_wasted_once() {
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
    // What the client says it has played, and what is told to be wasted for it.
    let cancel = |driven: &mut Driven, played_ms: u64| {
        driven.take();
        driven.say(&format!(r#"{{"type":"cancel","playedMs":{played_ms}}}"#));
        number(&of_type(&driven.settled(), "cancelled")[0], "wastedMs")
    };
    let come_back = |driven: &mut Driven, ms: usize| {
        driven.lose();
        driven.recover(ms * 8);
    };
    speak(&mut driven, "One of them. Two of them. Three of them.");
    assert_eq!((cancel(&mut driven, 500), wasted(&driven)), (2_500, 2_500));
    assert_eq!((cancel(&mut driven, 500), wasted(&driven)), (0, 2_500), "it is written off already");
    speak(&mut driven, "Four of them.");
    assert_eq!((cancel(&mut driven, 3_200), wasted(&driven)), (800, 3_300));
    // What is sent again is not wasted, until it is not heard again.
    come_back(&mut driven, 3_600);
    assert_eq!(wasted(&driven), 2_900);
    assert_eq!((cancel(&mut driven, 3_600), wasted(&driven)), (400, 3_300));
    come_back(&mut driven, 1_000);
    assert_eq!(wasted(&driven), 900);
    assert_eq!((cancel(&mut driven, 1_000), wasted(&driven)), (2_600, 3_500));

    // Where it is no longer known which audio that was.
    let mut driven = v1(SessionConfig { keep_bytes: 16, ..settings() });
    driven.voice_of = seconds;
    driven.say(&start_with(r#""source":"append","resumable":true"#));
    speak(&mut driven, "One of them.");
    assert_eq!((cancel(&mut driven, 0), wasted(&driven)), (1_000, 1_000));
    speak(&mut driven, "Two of them.");
    assert_eq!((cancel(&mut driven, 1_000), wasted(&driven)), (1_000, 2_000));
    come_back(&mut driven, 100);
    assert!(wasted(&driven) <= 100);
    driven.settle();
    assert!(wasted(&driven) <= 100);
}
