//! A session with its owner: an engine, a writer, a clock, and a socket.

use super::*;

/// A session that the test drives step by step. The socket takes as much as the test says.
pub(super) struct Driven {
    pub(super) session: Session,
    pub(super) prefetch: usize,
    /// Sentences in synthesis.
    pub(super) speeches: VecDeque<Speech>,
    /// Text and index of every sentence that was given to the engine.
    pub(super) asked: Vec<(String, u64)>,
    /// The same sentences, with all their parameters.
    pub(super) sentences: Vec<Sentence>,
    /// Sentences in synthesis, by their text.
    pub(super) texts: VecDeque<String>,
    /// Text of every sentence that failed.
    pub(super) failed: Vec<String>,
    /// True if audio goes along to another process.
    pub(super) takes_audio: bool,
    /// Turns of every prompt that was given to the writer.
    pub(super) prompts: Vec<Vec<Turn>>,
    pub(super) is_writing: bool,
    pub(super) outgoing: Vec<u8>,
    pub(super) wire: Vec<u8>,
    pub(super) closed: Option<Seen>,
    pub(super) cancels: usize,
    pub(super) kept: bool,
    pub(super) now: Instant,
    /// Audio of a sentence, and its failure if it has one.
    pub(super) voice_of: fn(&Sentence) -> (Vec<u8>, Option<&'static str>),
    /// Most bytes of text that the session has read for one input.
    pub(super) most_read: usize,
    pub(super) words_of: fn(&Sentence) -> Vec<Word>,
}

impl Driven {
    pub(super) fn new(settings: SessionConfig) -> Driven {
        let mut driven = Driven::open(settings, None);
        assert_eq!(driven.take(), [message(r#"{"type":"session_start","sessionId":"an-id"}"#)]);
        driven
    }

    /// The same, with `session_start` still to be taken from the wire.
    pub(super) fn open(settings: SessionConfig, token: Option<&str>) -> Driven {
        let prefetch = settings.prefetch;
        let now = Instant::now();
        let session = Session::new(Arc::new(settings), "an-id".to_owned(), token.map(str::to_owned), now);
        let mut driven = Driven::with(session, prefetch, now);
        driven.act();
        driven.write(|offered| offered);
        driven
    }

    fn with(session: Session, prefetch: usize, now: Instant) -> Driven {
        Driven {
            session,
            prefetch,
            speeches: VecDeque::new(),
            asked: Vec::new(),
            sentences: Vec::new(),
            texts: VecDeque::new(),
            failed: Vec::new(),
            takes_audio: false,
            prompts: Vec::new(),
            is_writing: false,
            outgoing: Vec::new(),
            wire: Vec::new(),
            closed: None,
            cancels: 0,
            kept: false,
            now,
            voice_of: |sentence| spoken(&sentence.text),
            most_read: 0,
            words_of: |_| Vec::new(),
        }
    }

    pub(super) fn handle(&mut self, input: Input<'_>) {
        let before = self.read_bytes();
        self.session.handle(input, self.now);
        // The count begins anew with a stream, and after a cancel.
        let after = self.read_bytes();
        self.most_read = self.most_read.max(after.checked_sub(before).unwrap_or(after));
    }

    /// Bytes of text that the stream has read.
    fn read_bytes(&self) -> usize {
        let starting = self.session.starting.as_ref().map(|starting| &starting.stream);
        starting.or(self.session.stream.as_ref()).map_or(0, Stream::read_bytes)
    }

    /// Does what the session asks for, until it asks for no more.
    pub(super) fn act(&mut self) {
        self.carry_out();
        while self.session.is_behind() {
            self.handle(Input::Read);
            self.carry_out();
        }
    }

    pub(super) fn carry_out(&mut self) {
        while let Some(action) = self.session.poll() {
            assert_eq!(self.closed, None, "{action:?} after the close");
            match action {
                Output::Send(message) => {
                    push_frame(true, message.to_json().as_bytes(), &mut self.outgoing);
                }
                Output::Speak(sentence) => {
                    let (audio, error) = (self.voice_of)(&sentence);
                    let chunks = audio.chunks(CHUNK_BYTES).map(Bytes::copy_from_slice).collect();
                    self.texts.push_back(sentence.text.clone());
                    self.speeches.push_back(((self.words_of)(&sentence), chunks, error));
                    self.asked.push((sentence.text.clone(), sentence.index));
                    self.sentences.push(*sentence);
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
                    self.texts.clear();
                    self.cancels += 1;
                    self.handle(Input::Engine(Engine::Stopped { buffered_bytes: untaken }));
                }
                Output::Keep => self.kept = true,
                Output::Recover(recover) => panic!("{recover:?} needs an owner that keeps sessions"),
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

    pub(super) fn say(&mut self, json: &str) {
        self.handle(Input::Message(json));
        self.act();
    }

    /// Delivers one report of the engine. Returns false if there is none, or none is wanted.
    pub(super) fn speak(&mut self) -> bool {
        if !self.session.wants_speech(self.now) {
            return false;
        }
        if self.session.owes_silence() {
            self.handle(Input::Engine(Engine::Silence));
            self.act();
            return true;
        }
        let Some((words, chunks, error)) = self.speeches.front_mut() else { return false };
        if !words.is_empty() {
            let words = std::mem::take(words);
            self.handle(Input::Engine(Engine::Words(&words)));
        } else if let Some(chunk) = chunks.pop_front() {
            self.handle(Input::Engine(Engine::Audio(chunk)));
        } else if let Some(error) = error.take() {
            self.failed.extend(self.texts.front().cloned());
            self.handle(Input::Engine(Engine::Failed { code: Code::EngineFailed, message: error }));
        } else {
            self.speeches.pop_front();
            // Without audio a sentence fails too.
            self.failed.extend(self.texts.pop_front().filter(|text| text.starts_with("Silent")));
            self.handle(Input::Engine(Engine::Finished));
        }
        self.act();
        true
    }

    /// Offers one write to the socket, which takes `accept(offered)` bytes. Returns false if there is
    /// nothing to write.
    pub(super) fn write(&mut self, accept: impl FnOnce(usize) -> usize) -> bool {
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
        if let Some((stream, offset)) = self.session.ask(self.now) {
            // The client answers pings at once.
            self.session.handle(Input::Confirmed { stream, offset }, self.now);
        }
        self.outgoing = rest;
        self.act();
        !offered.is_empty()
    }

    pub(super) fn speak_all(&mut self) {
        while self.speak() {}
    }

    /// Runs engine and socket until nothing more happens.
    pub(super) fn settle(&mut self) {
        while self.speak() || self.write(|offered| offered) {}
    }

    pub(super) fn settled(&mut self) -> Vec<Seen> {
        self.settle();
        self.take()
    }

    pub(super) fn on_time(&mut self) {
        self.handle(Input::Due);
        self.act();
    }

    /// The whole frames on the wire, and the close once everything before it was sent.
    pub(super) fn seen(&self) -> Vec<Seen> {
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

    /// The frames since the last call.
    pub(super) fn take(&mut self) -> Vec<Seen> {
        let seen = self.seen();
        self.wire.clear();
        seen
    }
}

impl Driven {
    /// The client says that it has all that was sent: no more than `keep_bytes` is kept for it.
    pub(super) fn confirm(&mut self) {
        let (stream, offset) = (self.session.streams(), self.session.sent_bytes());
        self.handle(Input::Confirmed { stream, offset });
    }

    /// Loses the connection, and everything that it had not delivered.
    pub(super) fn lose(&mut self) {
        assert!(self.kept && self.session.is_resumable());
        self.handle(Input::Disconnected);
        self.outgoing.clear();
        self.closed = None;
        assert!(!self.session.has_output(self.now), "nothing leaves without a connection");
    }

    pub(super) fn written_bytes(&self) -> usize {
        self.session.stream.as_ref().map_or(0, |stream| stream.log().written_bytes() as usize)
    }

    /// The session, restored from its snapshot.
    fn restored(&self) -> Session {
        let snapshot = match self.takes_audio {
            true => self.session.snapshot_with_audio(self.now),
            false => self.session.snapshot(self.now),
        };
        let json = serde_json::to_string(&snapshot).unwrap();
        let snapshot: Snapshot = serde_json::from_str(&json).unwrap();
        let token = self.session.token().map(str::to_owned);
        let session = Session::restore(Arc::clone(&self.session.config), snapshot, token, self.now);
        assert!(!session.has_outputs() && !session.has_output(self.now));
        session
    }

    /// Moves the session to another process, which has only its snapshot.
    pub(super) fn move_to_another_process(&mut self) {
        self.session = self.restored();
        self.speeches.clear();
        self.texts.clear();
        self.is_writing = false;
    }

    /// Another process that has restored the session from its snapshot. This one keeps its own.
    pub(super) fn fork(&self) -> Driven {
        let fork = Driven::with(self.restored(), self.prefetch, self.now);
        Driven { kept: self.kept, voice_of: self.voice_of, words_of: self.words_of, ..fork }
    }

    /// Recovers on another connection, with an empty wire.
    pub(super) fn recover(&mut self, offset: usize) {
        let stream = Some(self.session.streams());
        self.recover_at(Place { offset: offset as u64, stream, ..Place::default() });
    }

    /// The same, at a place with more than an offset.
    pub(super) fn recover_at(&mut self, place: Place) {
        self.wire.clear();
        self.handle(Input::Answer(Answer::Recovered(place)));
        self.act();
    }
}

/// A sentence in synthesis: times of its words, the rest of its audio, and its failure.
pub(super) type Speech = (Vec<Word>, VecDeque<Bytes>, Option<&'static str>);

pub(super) fn driven() -> Driven {
    Driven::new(settings())
}

pub(super) fn v1(settings: SessionConfig) -> Driven {
    let mut driven = Driven::open(settings, Some(TOKEN));
    driven.take();
    driven
}

pub(super) fn settings() -> SessionConfig {
    SessionConfig {
        greeting: GREETING.to_owned(),
        max_prompt_chars: 200,
        speed: 1.0,
        pauses: Pauses::default(),
        prefetch: 2,
        format: Format { encoding: Encoding::MuLaw, sample_rate_hz: 8_000 },
        frame_ms: FRAME_MS,
        formats: vec![Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 }],
        voices: vec![Voice::new("anna"), Voice::new("bert")],
        is_deterministic: true,
        is_paced: false,
        ahead: Duration::from_millis(20),
        is_paced_only: false,
        max_ahead: Duration::from_secs(60),
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
        stall_timeout: Duration::from_secs(30),
        auth_timeout: Duration::from_secs(10),
        is_bounded: false,
    }
}
