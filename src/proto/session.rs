//! The session: what a client says and what an engine gives go in; what to send, to speak, to
//! cancel and to close comes out.
//!
//! Knows no socket, no engine and no clock. Control answers are [`Action`]s and leave at once;
//! everything that belongs to the stream goes through the [`Log`], so that order, pause and
//! backpressure hold for all of it alike.

use super::audio::Format;
use super::frames::{Batch, Sent};
use super::log::Log;
use super::message::{ClientMessage, Code, Fault, ServerMessage};
use super::text::{Segmentation, Segmenter};
use super::websocket::CloseCode;
use hyper::body::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// What all sessions of a server have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Spoken where a client gives no prompt.
    pub greeting: String,
    /// The longest prompt, in characters.
    pub max_prompt_chars: usize,
    /// Sentences in synthesis at once, the one being sent included. At least 1.
    pub prefetch: usize,
    /// How fast to speak where a client does not say, from 0.5 to 2.0.
    pub speed: f32,
    /// The audio's format.
    pub format: Format,
    /// Payload bytes of one frame.
    pub frame_bytes: usize,
}

/// What the owner of a session has to do, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send this control message, ahead of what is in the log.
    Send(ServerMessage),
    /// Start to speak this sentence and report what comes of it, behind the sentences before it.
    Speak {
        /// The sentence.
        text: String,
        /// Its place in the stream.
        index: u64,
        /// How fast, from 0.5 to 2.0.
        speed: f32,
    },
    /// Stop all speech: nothing of it is reported any more.
    Cancel,
    /// Close the connection once everything before it was sent.
    Close(CloseCode, &'static str),
}

/// One client's session, for as long as its connection lives.
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    /// Boxed: most sessions idle most of the time.
    stream: Option<Box<Stream>>,
    actions: VecDeque<Action>,
    is_paused: bool,
    is_draining: bool,
    streams: u64,
    /// The close was decided on: there is nothing more to say.
    is_over: bool,
}

/// From a `start_session` to its `session_end`.
#[derive(Debug)]
struct Stream {
    log: Log,
    segmenter: Segmenter,
    /// Sentences in synthesis; the first one's audio goes to the log.
    speaking: VecDeque<Sentence>,
    speed: f32,
    next_index: u64,
    /// The last entry is in the log.
    is_complete: bool,
}

#[derive(Debug)]
struct Sentence {
    text: String,
    index: u64,
    bytes: u64,
    is_announced: bool,
    has_failed: bool,
}

impl Session {
    /// A new session; its first action greets the client.
    pub fn new(settings: Arc<Settings>, session_id: String) -> Session {
        let greet = Action::Send(ServerMessage::SessionStart { session_id });
        Session {
            settings,
            stream: None,
            actions: VecDeque::from([greet]),
            is_paused: false,
            is_draining: false,
            streams: 0,
            is_over: false,
        }
    }

    /// Streams that were started so far.
    pub fn streams(&self) -> u64 {
        self.streams
    }

    /// What to do next.
    pub fn next_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        if self.actions.is_empty() {
            // An idle session keeps no queue.
            self.actions = VecDeque::new();
        }
        action
    }

    /// Whether there is anything to do.
    pub fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    /// Takes a text message. One that cannot be understood, or does not fit the moment, is
    /// answered with an error and changes nothing. Once the close was decided on, all are ignored.
    pub fn on_text(&mut self, text: &str) {
        if self.is_over {
            return;
        }
        let done = ClientMessage::parse(text).and_then(|message| self.on_message(message));
        if let Err(fault) = done {
            self.actions.push_back(Action::Send(fault.into()));
        }
    }

    fn on_message(&mut self, message: ClientMessage) -> Result<(), Fault> {
        match message {
            ClientMessage::StartSession { prompt, speed } => self.start(prompt.as_deref(), speed),
            ClientMessage::Pause => {
                self.is_paused = true;
                Ok(())
            }
            ClientMessage::Resume => {
                self.is_paused = false;
                Ok(())
            }
            ClientMessage::End => {
                self.stop_stream();
                self.actions.push_back(Action::Send(ServerMessage::SessionEnd));
                self.close(CloseCode::NORMAL, "Session ended by client");
                Ok(())
            }
        }
    }

    fn start(&mut self, prompt: Option<&str>, speed: Option<f32>) -> Result<(), Fault> {
        if self.stream.is_some() {
            return Err(Fault::new(Code::AlreadyStarted, "Session already streaming"));
        }
        let text = prompt.unwrap_or(&self.settings.greeting);
        let most = self.settings.max_prompt_chars;
        if text.len() > most && text.chars().count() > most {
            let message = format!("The prompt is over {most} characters: send it in parts.");
            return Err(Fault::new(Code::TextTooLong, message));
        }
        let mut segmenter = Segmenter::new(Segmentation::default());
        segmenter.push(text);
        segmenter.finish();
        self.streams += 1;
        self.stream = Some(Box::new(Stream {
            log: Log::new(self.settings.frame_bytes),
            segmenter,
            speaking: VecDeque::new(),
            speed: speed.unwrap_or(self.settings.speed),
            next_index: 0,
            is_complete: false,
        }));
        self.advance();
        Ok(())
    }

    /// Takes the next chunk of the sentence that is being spoken: whole samples.
    pub fn on_audio(&mut self, chunk: Bytes) {
        let Some(stream) = self.stream.as_deref_mut() else { return };
        if let Some(sentence) = stream.speaking.front_mut() {
            sentence.bytes += chunk.len() as u64;
            stream.log.push_audio(chunk);
        }
    }

    /// Takes the failure of the sentence that is being spoken; its end is still to be told.
    pub fn on_failure(&mut self, message: &str) {
        let Some(stream) = self.stream.as_deref_mut() else { return };
        if let Some(sentence) = stream.speaking.front_mut() {
            sentence.has_failed = true;
            stream.log.push_message(ServerMessage::Error { message: message.to_owned() }.to_json());
        }
    }

    /// Takes the end of the sentence that is being spoken.
    pub fn on_spoken(&mut self) {
        let Some(stream) = self.stream.as_deref_mut() else { return };
        if let Some(sentence) = stream.speaking.pop_front() {
            if sentence.bytes == 0 && !sentence.has_failed {
                let message = "The speech engine gave no audio for this sentence.".to_owned();
                stream.log.push_message(ServerMessage::Error { message }.to_json());
            }
            stream.log.push_message(ServerMessage::SentenceEnd { index: sentence.index }.to_json());
        }
        self.advance();
    }

    /// Starts what can be started, announces what comes to be heard, and ends what is over.
    fn advance(&mut self) {
        let Some(stream) = self.stream.as_deref_mut() else { return };
        while stream.speaking.len() < self.settings.prefetch.max(1) {
            let Some(text) = stream.segmenter.next_segment() else { break };
            if !text.chars().any(char::is_alphanumeric) {
                // Marks and emoji alone: nothing that a voice could say.
                continue;
            }
            let index = stream.next_index;
            stream.next_index += 1;
            self.actions.push_back(Action::Speak { text: text.clone(), index, speed: stream.speed });
            let sentence = Sentence { text, index, bytes: 0, is_announced: false, has_failed: false };
            stream.speaking.push_back(sentence);
        }
        match stream.speaking.front_mut() {
            Some(sentence) if !sentence.is_announced => {
                sentence.is_announced = true;
                let data = std::mem::take(&mut sentence.text);
                stream.log.push_message(ServerMessage::Text { data, index: sentence.index }.to_json());
            }
            Some(_) => {}
            None if !stream.is_complete => {
                stream.is_complete = true;
                stream.log.push_message(ServerMessage::SessionEnd.to_json());
            }
            None => {}
        }
    }

    /// Whether speech should be taken from the engine now.
    pub fn wants_speech(&self) -> bool {
        self.stream.as_ref().is_some_and(|s| !s.speaking.is_empty() && s.log.wants_more())
    }

    /// Whether something of the stream may be sent now.
    pub fn has_output(&self) -> bool {
        !self.is_paused && self.stream.as_ref().is_some_and(|s| !s.log.is_empty())
    }

    /// Collects what may be sent now.
    pub fn fill(&self, batch: &mut Batch) {
        if self.is_paused {
            return;
        }
        if let Some(stream) = &self.stream {
            stream.log.fill(batch);
        }
    }

    /// Tells what of it was sent, piece by piece.
    pub fn sent(&mut self, what: Sent) {
        let Some(stream) = self.stream.as_deref_mut() else { return };
        stream.log.sent(what);
        if stream.is_complete && stream.log.is_empty() {
            self.stream = None;
            self.close_if_drained();
        }
    }

    fn stop_stream(&mut self) {
        if self.stream.take().is_some() {
            self.actions.push_back(Action::Cancel);
        }
    }

    /// The server is going away: a running stream may finish, then the connection is closed.
    pub fn drain(&mut self) {
        self.is_draining = true;
        self.close_if_drained();
    }

    fn close_if_drained(&mut self) {
        if self.is_draining && self.stream.is_none() {
            self.close(CloseCode::AWAY, "The server is going away");
        }
    }

    fn close(&mut self, code: CloseCode, reason: &'static str) {
        if !self.is_over {
            self.is_over = true;
            self.actions.push_back(Action::Close(code, reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::audio::Encoding;
    use super::super::frames::push_frame;
    use super::*;

    const GREETING: &str = "Hello. I am ready to speak.";
    const GREETED: [&str; 2] = ["Hello.", "I am ready to speak."];
    const FRAME_BYTES: usize = 10;
    const CHUNK_BYTES: usize = 30;
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
            frame_bytes: FRAME_BYTES,
        }
    }

    /// A session with what a connection is to it: an engine, and a socket that takes as much as it
    /// is told to.
    struct Driven {
        session: Session,
        prefetch: usize,
        /// Sentences in synthesis: what is left of their audio, and how they end.
        speeches: VecDeque<(VecDeque<Bytes>, Option<&'static str>)>,
        /// All that was ever asked to be spoken.
        asked: Vec<(String, u64)>,
        outgoing: Vec<u8>,
        wire: Vec<u8>,
        closed: Option<Seen>,
        cancels: usize,
    }

    impl Driven {
        fn new(settings: Settings) -> Driven {
            let prefetch = settings.prefetch;
            let session = Session::new(Arc::new(settings), "an-id".to_owned());
            let mut driven = Driven {
                session,
                prefetch,
                speeches: VecDeque::new(),
                asked: Vec::new(),
                outgoing: Vec::new(),
                wire: Vec::new(),
                closed: None,
                cancels: 0,
            };
            driven.act();
            driven.write(|offered| offered);
            assert_eq!(driven.seen(), [message(r#"{"type":"session_start","sessionId":"an-id"}"#)]);
            driven.wire.clear();
            driven
        }

        fn act(&mut self) {
            while let Some(action) = self.session.next_action() {
                assert_eq!(self.closed, None, "{action:?} after the close");
                match action {
                    Action::Send(message) => {
                        push_frame(true, message.to_json().as_bytes(), &mut self.outgoing);
                    }
                    Action::Speak { text, index, .. } => {
                        let (audio, error) = spoken(&text);
                        let chunks = audio.chunks(CHUNK_BYTES).map(Bytes::copy_from_slice).collect();
                        self.speeches.push_back((chunks, error));
                        self.asked.push((text, index));
                        assert!(self.speeches.len() <= self.prefetch, "more than prefetch in synthesis");
                    }
                    Action::Cancel => {
                        self.speeches.clear();
                        self.cancels += 1;
                    }
                    Action::Close(code, reason) => self.closed = Some(Seen::Close(code.0, reason)),
                }
            }
        }

        fn say(&mut self, json: &str) {
            self.session.on_text(json);
            self.act();
        }

        /// One event of the engine's; false if there is none, or none is wanted.
        fn speak(&mut self) -> bool {
            if !self.session.wants_speech() {
                return false;
            }
            let Some((chunks, error)) = self.speeches.front_mut() else { return false };
            if let Some(chunk) = chunks.pop_front() {
                self.session.on_audio(chunk);
            } else if let Some(error) = error.take() {
                self.session.on_failure(error);
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
            self.session.fill(&mut batch);
            assert_eq!(batch.len() > raw, self.session.has_output());
            let offered: Vec<u8> = batch.write(|slices| slices.iter().flat_map(|s| s.to_vec()).collect());
            let written = accept(offered.len()).min(offered.len());
            self.wire.extend_from_slice(&offered[..written]);
            let mut rest = self.outgoing.split_off(written.min(raw));
            batch.sent(written, &mut rest, |what| self.session.sent(what));
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
            let (busy, others): (Vec<_>, Vec<_>) =
                driven.take().into_iter().partition(|s| *s == message(BUSY));
            // The last entry counts as sent when it is begun, and then another stream may start.
            if ends(&expected).iter().rev().nth(1).is_some_and(|&last| accepted > last) {
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
                    } else if driven.outgoing.is_empty() && !driven.session.has_output() {
                        driven.speak();
                    }
                    let left = accepted - driven.wire.len();
                    driven.write(|_| left);
                }
                driven.say(PAUSE);
                driven.say(PAUSE);
                driven.settle();
                let begun = ends.iter().position(|&end| accepted <= end).unwrap();
                let begun = if accepted == 0 { 0 } else { begun + 1 };
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
                assert!(!driven.session.wants_speech() && !driven.session.has_output());
                driven.settle();
                let begun = ends.iter().position(|&end| accepted <= end).unwrap();
                let begun = if accepted == 0 { 0 } else { begun + 1 };
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
        driven.session.on_failure("Too late.");
        driven.session.on_spoken();
        driven.session.drain();
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
            while driven.session.wants_speech() {
                driven.session.on_audio(chunk.clone());
                taken += 1;
            }
            assert!((10..20).contains(&taken), "{taken} chunks of 10 kB");
            driven.write(|_| 0);
            assert!(!driven.session.wants_speech());
            driven.say(RESUME);
            driven.write(|offered| offered);
            assert!(driven.session.wants_speech());
        }
    }

    #[test]
    fn a_drained_session_finishes_its_stream_and_is_closed() {
        let going = || Seen::Close(1001, "The server is going away");
        let mut idle = driven();
        idle.session.drain();
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
            driven.session.drain();
            driven.act();
            driven.settle();
            assert_eq!(driven.take(), [&expected[..], &[going()]].concat(), "{accepted} bytes");
        }

        let mut paused = driven();
        paused.say(PAUSE);
        paused.say(START);
        paused.session.drain();
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
}
