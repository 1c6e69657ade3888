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
    /// The audio's format.
    pub format: Format,
    /// Payload bytes of one frame.
    pub frame_bytes: usize,
}

/// What the owner of a session has to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this control message, ahead of what is in the log.
    Send(ServerMessage),
    /// Start to speak this sentence and report what comes of it, behind the sentences before it.
    Speak {
        /// The sentence.
        text: String,
        /// Its place in the stream.
        index: u64,
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
            is_over: false,
        }
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
            ClientMessage::StartSession { prompt } => self.start(prompt.as_deref()),
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

    fn start(&mut self, prompt: Option<&str>) -> Result<(), Fault> {
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
        self.stream = Some(Box::new(Stream {
            log: Log::new(self.settings.frame_bytes),
            segmenter,
            speaking: VecDeque::new(),
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
            let index = stream.next_index;
            stream.next_index += 1;
            self.actions.push_back(Action::Speak { text: text.clone(), index });
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
