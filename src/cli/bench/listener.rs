//! The listener's side of the session protocol: the order of messages is checked, and times are counted.
//!
//! This module has no socket and no clock. Each received byte passes through once; bytes to send are appended to
//! a buffer of the owner.

use super::figures::{Tally, Trouble};
use super::frames::{self, BrokenRule, FramePart, Frames};
use aloud::audio::Format;
use aloud::message::{ClientMessage, ServerMessage};
use std::time::{Duration, Instant};

/// Longest control message accepted from a server, in bytes.
const MAX_TEXT_BYTES: usize = 1024 * 1024;

/// Mask of every frame sent. It need not be secret: masking protects proxies from pages in a browser
/// (RFC 6455 §10.3), and this is no browser.
const MASK: [u8; 4] = [0x5b, 0x1e, 0x8a, 0x27];

/// Settings that all listeners share.
#[derive(Debug)]
pub(super) struct Habits {
    /// The `start_session` of each stream.
    pub(super) start: String,
    /// Format of the audio if the server does not announce it.
    pub(super) format: Option<Format>,
    /// True if a stream is listened to at the pace of speech before the next one starts.
    pub(super) listens: bool,
}

/// Listener of one connection.
#[derive(Debug)]
pub(super) struct Listener {
    /// Number of the connection in the tally.
    number: usize,
    frames: Frames,
    /// Current text message so far.
    text: Vec<u8>,
    state: ListenerState,
    /// Time at which the next stream starts.
    next_start: Option<Instant>,
    /// True once no further stream starts.
    is_leaving: bool,
    /// True once a Close was sent.
    has_closed: bool,
    format: Option<Format>,
    stream: StreamProgress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ListenerState {
    /// Waiting for `session_start`.
    New,
    /// Between two streams.
    Quiet,
    /// In a stream, or waiting for its start.
    Streaming,
    /// After the end of the connection.
    Closed,
}

/// Progress of a stream.
#[derive(Debug)]
struct StreamProgress {
    asked: Instant,
    /// Time of the first audio: playback starts here.
    first: Option<Instant>,
    /// Time of the latest audio.
    last: Option<Instant>,
    /// Number of audio bytes.
    bytes: u64,
    /// Number of audio bytes before the current frame.
    frame_start: u64,
    /// Index of the next sentence.
    next_index: u64,
    is_in_sentence: bool,
}

impl StreamProgress {
    fn asked(now: Instant) -> StreamProgress {
        StreamProgress {
            asked: now,
            first: None,
            last: None,
            bytes: 0,
            frame_start: 0,
            next_index: 0,
            is_in_sentence: false,
        }
    }
}

impl Listener {
    pub(super) fn new(number: usize, format: Option<Format>, now: Instant) -> Listener {
        Listener {
            number,
            frames: Frames::new(),
            text: Vec::new(),
            state: ListenerState::New,
            next_start: None,
            is_leaving: false,
            has_closed: false,
            format,
            stream: StreamProgress::asked(now),
        }
    }

    /// True once the server's first message has arrived.
    pub(super) fn is_greeted(&self) -> bool {
        self.state != ListenerState::New
    }

    /// True once the closing handshake is complete, apart from bytes still to send.
    pub(super) fn is_closed(&self) -> bool {
        self.state == ListenerState::Closed
    }

    /// Returns the time at which [`start`](Self::start) is due; `None` before the first stream and during one.
    pub(super) fn next_start(&self) -> Option<Instant> {
        self.next_start
    }

    /// Schedules the first stream.
    pub(super) fn start_at(&mut self, at: Instant) {
        self.next_start = Some(at);
    }

    /// Starts a stream. After its end, the next one is due.
    pub(super) fn start(&mut self, habits: &Habits, now: Instant, out: &mut Vec<u8>) {
        self.next_start = None;
        self.stream = StreamProgress::asked(now);
        self.state = ListenerState::Streaming;
        frames::push(frames::TEXT, habits.start.as_bytes(), MASK, out);
    }

    /// Ends the session.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        self.is_leaving = true;
        self.next_start = None;
        let end = ClientMessage::End { drain: false }.to_json();
        frames::push(frames::TEXT, end.as_bytes(), MASK, out);
    }

    /// Starts the closing handshake, unless it has started.
    pub(super) fn close(&mut self, code: u16, out: &mut Vec<u8>) {
        self.is_leaving = true;
        if std::mem::replace(&mut self.has_closed, true) {
            return;
        }
        frames::push(frames::CLOSE, &code.to_be_bytes(), MASK, out);
    }

    /// Takes received bytes.
    ///
    /// # Errors
    /// The server's mistake. The connection cannot be used any more.
    pub(super) fn take(
        &mut self,
        mut input: &[u8],
        now: Instant,
        habits: &Habits,
        tally: &mut Tally,
        out: &mut Vec<u8>,
    ) -> Result<(), Trouble> {
        // Moved out, so that a part can borrow from it while the rest of `self` changes.
        let mut frames = std::mem::replace(&mut self.frames, Frames::new());
        let (mut count, mut bytes) = (0, 0);
        let result = loop {
            let part = match frames.next(&mut input) {
                Ok(Some(part)) if !self.is_closed() => part,
                // Data after a Close is ignored (RFC 6455 §5.5.1).
                Ok(_) => break Ok(()),
                Err(violation) => break Err(broken(violation)),
            };
            let result = match part {
                FramePart::Audio { bytes: len, is_end } => {
                    bytes += len as u64;
                    count += u64::from(is_end);
                    self.hear(len, is_end, now, tally)
                }
                FramePart::Text { bytes, is_end } => self.read(bytes, is_end, now, habits, tally),
                FramePart::Control { opcode, payload } => self.control(opcode, payload, out),
            };
            if result.is_err() {
                break result;
            }
        };
        self.frames = frames;
        tally.heard(self.number, count, bytes);
        if bytes > 0
            && self.state == ListenerState::Streaming
            && let Some(last) = self.stream.last.replace(now)
        {
            tally.window.gaps.add(now - last);
        }
        result
    }

    fn hear(&mut self, len: usize, is_end: bool, now: Instant, tally: &mut Tally) -> Result<(), Trouble> {
        if !self.stream.is_in_sentence {
            return Err(Trouble::new("audio outside of a sentence"));
        }
        let stream = &mut self.stream;
        let first = *stream.first.get_or_insert_with(|| {
            tally.first_audio.add(now - stream.asked);
            now
        });
        stream.bytes += len as u64;
        if is_end {
            if let Some(format) = self.format {
                let due = first + format.duration(stream.frame_start);
                tally.window.late.add(now.saturating_duration_since(due));
            }
            stream.frame_start = stream.bytes;
        }
        Ok(())
    }

    /// Takes a piece of a text message.
    fn read(
        &mut self,
        bytes: &[u8],
        is_end: bool,
        now: Instant,
        habits: &Habits,
        tally: &mut Tally,
    ) -> Result<(), Trouble> {
        if self.text.is_empty() && is_end {
            return self.understand(bytes, now, habits, tally);
        }
        if self.text.len() + bytes.len() > MAX_TEXT_BYTES {
            return Err(Trouble::new("a message of more than 1 MiB"));
        }
        self.text.extend_from_slice(bytes);
        if !is_end {
            return Ok(());
        }
        // Dropped, so that a waiting connection owns no buffer.
        let text = std::mem::take(&mut self.text);
        self.understand(&text, now, habits, tally)
    }

    fn understand(
        &mut self,
        text: &[u8],
        now: Instant,
        habits: &Habits,
        tally: &mut Tally,
    ) -> Result<(), Trouble> {
        let text = std::str::from_utf8(text).map_err(|_| broken("text that is not UTF-8"))?;
        let message = match ServerMessage::parse(text) {
            Ok(Some(message)) => message,
            // A message of a protocol that extends the base.
            Ok(None) => return Ok(()),
            Err(fault) => return Err(Trouble::new(format!("an invalid message: {fault}"))),
        };
        if self.state == ListenerState::New && !matches!(message, ServerMessage::SessionStart { .. }) {
            return Err(Trouble::new("session_start is not the first message"));
        }
        let stream = &mut self.stream;
        match message {
            ServerMessage::SessionStart { .. } if self.state == ListenerState::New => {
                self.state = ListenerState::Quiet;
            }
            ServerMessage::SessionStart { .. } => return Err(Trouble::new("session_start arrived twice")),
            ServerMessage::StreamStart { audio, .. } => self.format = Some(audio.0),
            ServerMessage::Text { index, .. } => {
                if self.state != ListenerState::Streaming
                    || stream.is_in_sentence
                    || index != stream.next_index
                {
                    return Err(Trouble::new("text out of order"));
                }
                stream.is_in_sentence = true;
            }
            ServerMessage::SentenceEnd { index, figures } => {
                if !stream.is_in_sentence || index != stream.next_index {
                    return Err(Trouble::new("sentence_end out of order"));
                }
                if figures.is_some_and(|figures| figures.offset != stream.bytes) {
                    return Err(Trouble::new("sentence_end announces another number of bytes than arrived"));
                }
                stream.is_in_sentence = false;
                stream.next_index += 1;
            }
            ServerMessage::Error { message, .. } => tally.trouble(Trouble::reported(&message)),
            ServerMessage::SessionEnd { end } => {
                if self.state != ListenerState::Streaming && !self.is_leaving {
                    return Err(Trouble::new("session_end outside of a stream"));
                }
                stream.is_in_sentence = false;
                self.state = ListenerState::Quiet;
                let wasted = end.map(|end| Duration::from_millis(end.1.wasted_ms));
                tally.ended(wasted, self.is_leaving);
                self.next_start = (!self.is_leaving).then(|| self.heard_at(habits, now));
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the time at which a listener has heard all audio received.
    fn heard_at(&self, habits: &Habits, now: Instant) -> Instant {
        match (self.stream.first, self.format) {
            (Some(first), Some(format)) if habits.listens => {
                now.max(first + format.duration(self.stream.bytes))
            }
            _ => now,
        }
    }

    fn control(&mut self, opcode: u8, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Trouble> {
        match opcode {
            frames::PING => frames::push(frames::PONG, payload, MASK, out),
            frames::CLOSE => {
                let code = frames::close_code(payload).map_err(broken)?;
                self.state = ListenerState::Closed;
                if !std::mem::replace(&mut self.has_closed, true) {
                    // The answer has the same code (RFC 6455 §5.5.1).
                    frames::push(frames::CLOSE, &payload[..payload.len().min(2)], MASK, out);
                }
                if !self.is_leaving {
                    let code = code.map_or_else(|| "no code".to_owned(), |code| code.to_string());
                    return Err(Trouble::new(format!("closed by the server: {code}")));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn broken(violation: BrokenRule) -> Trouble {
    Trouble::new(format!("WebSocket protocol broken: {violation}"))
}
