//! The session of `aloud say`, which outlives its connections: counts the audio, and resumes the stream.

use aloud::audio::Format;
use aloud::client::{self, Client, Event};
use aloud::message::{ClientMessage, Close, ServerMessage, StartSession};
use aloud::upstream::Secret;
use aloud::{SUBPROTOCOL, ws::endpoint::CloseCode};
use crc32fast::Hasher;
use hyper::body::Bytes;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::error::Error;
use std::time::Duration;

/// Maximum number of attempts to reconnect without new audio in between. The first one comes at once,
/// each later one after one more second.
const ATTEMPTS: u32 = 11;

/// Time for the closing handshake after a refusal.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Longest time for which a server that refuses the first connection is asked again, as it wants
/// (`Retry-After`).
const PATIENCE: Duration = Duration::from_secs(60);

/// A session, and the stream in it.
///
/// The server counts bytes of its stream, and the output has bytes. Both counts agree until a server
/// that was restarted speaks a sentence in another way.
pub(super) struct Listening<'a> {
    url: &'a str,
    /// Credential for the server.
    token: Option<&'a Secret>,
    pub(super) client: Client,
    start: StartSession,
    /// True if the stream has started, on the session below.
    has_begun: bool,
    /// Id and token of the session; `None` for a server of the base protocol.
    session: Option<(String, String)>,
    /// Number of the stream, and its cancels; `None` from a server that does not say.
    stream: Option<u64>,
    rev: Option<u64>,
    /// Count of the servers that have had the session, if several share it.
    epoch: Option<u64>,
    /// True if the stream is the text of `start`, which can be spoken again.
    is_verbatim: bool,
    /// Format that the server announced, once it did.
    pub(super) format: Option<Format>,
    /// Bytes of the stream, as the server counts them.
    received: u64,
    /// Bytes of the output.
    written: u64,
    /// Count of `received` at the end of the output.
    place: u64,
    /// Last sentence in the output.
    sentence: Option<Sentence>,
    /// Audio that comes again.
    skip: Option<Skip>,
    /// Place at which the server was asked to begin, until it has begun.
    from: Option<(u64, u64)>,
    /// True if the server refused to begin there.
    refuses_from: bool,
    /// Steps that were not taken yet.
    steps: VecDeque<Step>,
    /// Bytes of the output when the connection was lost last.
    lost_at: u64,
    /// Attempts to reconnect since the last new audio.
    attempts: u32,
}

/// A change of the output.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More audio.
    Append(Bytes),
    /// A sentence begins anew, in another take: drops the output behind so many bytes.
    Truncate(u64),
}

struct Sentence {
    index: u64,
    /// Bytes of the output before it.
    start: u64,
    /// CRC of its bytes in the output.
    crc: Hasher,
}

/// Bytes of a sentence that the output has already. Sentences before it are skipped too.
struct Skip {
    index: u64,
    /// Bytes that are still to be skipped.
    left: u64,
    /// True if the audio that arrives is of this sentence.
    is_there: bool,
    /// True if all of the sentence's bytes are skipped: they have to be the same.
    is_whole: bool,
    /// The skipped bytes.
    kept: Vec<u8>,
}

/// Way to resume a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// Recover the session at the next byte.
    Recover,
    /// Recover it at the beginning of the sentence.
    RecoverSentence,
    /// Start the stream anew.
    Start,
}

/// Answer to `recover`.
enum Answer {
    Recovered,
    /// The session still waits for another position.
    PositionLost,
    SessionLost,
}

impl<'a> Listening<'a> {
    /// Connects to the server at `url`, and starts the stream. If the server says when to try again, does so
    /// then, and calls `on_wait` with a line for the person before.
    pub(super) async fn start(
        url: &'a str,
        token: Option<&'a Secret>,
        mut start: StartSession,
        mut on_wait: impl FnMut(&str),
    ) -> Result<Listening<'a>, Box<dyn Error>> {
        let mut waited = Duration::ZERO;
        let client = loop {
            let error = match connect(url, token).await {
                Ok(client) => break client,
                Err(error) => error,
            };
            let wait = retry_after(&error).filter(|wait| error.is_temporary() && waited + *wait <= PATIENCE);
            let Some(wait) = wait else { return Err(format!("{url}: {error}").into()) };
            on_wait(&format!("aloud: {url}: {error}; trying again in {} s", wait.as_secs()));
            tokio::time::sleep(wait).await;
            waited += wait;
        };
        // Servers of the base protocol cannot resume a session.
        start.resumable = client.subprotocol() == Some(SUBPROTOCOL);
        let mut listening = Listening {
            url,
            token,
            client,
            has_begun: false,
            session: None,
            stream: None,
            rev: None,
            epoch: None,
            is_verbatim: start.source.is_none_or(|source| source.name() == "verbatim"),
            start,
            format: None,
            received: 0,
            written: 0,
            place: 0,
            sentence: None,
            skip: None,
            from: None,
            refuses_from: false,
            steps: VecDeque::new(),
            lost_at: 0,
            attempts: 0,
        };
        listening.client.send_text(&listening.start_message()).await?;
        Ok(listening)
    }

    /// Takes an event of the connection. [`next_step`](Self::next_step) has what follows for the output.
    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::Message(ServerMessage::SessionStart { session_id, greeting }) => {
                self.session = greeting.as_ref().map(|greeting| (session_id.clone(), greeting.token.clone()));
            }
            Event::Message(ServerMessage::StreamStart { audio, .. }) => {
                let message = self.last_message();
                self.has_begun = true;
                self.format = Some(audio.0);
                self.stream = message["stream"].as_u64();
                self.rev = message["rev"].as_u64();
                self.is_verbatim &= message["source"].as_str().is_none_or(|source| source == "verbatim");
            }
            Event::Message(ServerMessage::Text { index, .. }) => self.on_text(*index),
            Event::Message(ServerMessage::SessionEnd { .. }) => {
                if self.skip.as_ref().is_some_and(|skip| skip.is_there) {
                    self.end_skip();
                }
            }
            Event::Audio(bytes) => self.on_audio(bytes.clone()),
            Event::Message(_) | _ => {}
        }
    }

    /// The next change of the output.
    pub(super) fn next_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// True if the stream has started.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// True if the server was asked to begin in the middle, and has not begun yet.
    pub(super) fn is_seeking(&self) -> bool {
        self.from.is_some()
    }

    fn on_text(&mut self, index: u64) {
        self.has_begun = true;
        self.on_beginning(Some(index));
        if let Some(skip) = &mut self.skip {
            skip.is_there = index == skip.index;
            if index > skip.index {
                self.end_skip();
            }
        }
        // A resumed session may announce a sentence again.
        if self.skip.is_none() && self.sentence.as_ref().is_none_or(|last| index > last.index) {
            self.sentence = Some(Sentence { index, start: self.written, crc: Hasher::new() });
        }
    }

    fn on_audio(&mut self, mut bytes: Bytes) {
        self.on_beginning(None);
        self.received += bytes.len() as u64;
        if let Some(skip) = &mut self.skip {
            if !skip.is_there {
                return;
            }
            let again = bytes.split_to(bytes.len().min(usize::try_from(skip.left).unwrap_or(usize::MAX)));
            skip.left -= again.len() as u64;
            skip.kept.extend_from_slice(&again);
            if skip.left > 0 {
                return;
            }
            self.end_skip();
        }
        self.append(bytes);
    }

    /// Decides at the first message of a stream whether it begins where it was asked to. If not, the
    /// audio up to there is skipped.
    fn on_beginning(&mut self, index: Option<u64>) {
        let Some((wanted, offset)) = self.from.take() else { return };
        // A server that ignores the field begins with sentence 0. One that knows it numbers its streams.
        if index.is_none_or(|index| index == wanted && (index > 0 || self.stream.is_some())) {
            self.received = offset;
            self.skip = None;
        }
    }

    fn append(&mut self, bytes: Bytes) {
        self.place = self.received;
        if bytes.is_empty() {
            return;
        }
        self.written += bytes.len() as u64;
        if let Some(sentence) = &mut self.sentence {
            sentence.crc.update(&bytes);
        }
        self.steps.push_back(Step::Append(bytes));
    }

    fn end_skip(&mut self) {
        let (Some(skip), Some(sentence)) = (self.skip.take(), &self.sentence) else { return };
        if skip.is_whole && crc32fast::hash(&skip.kept) != sentence.crc.clone().finalize() {
            // The server speaks it in another take, which does not fit the beginning in the output.
            self.truncate();
            self.append(skip.kept.into());
        }
    }

    /// Drops the last sentence.
    fn truncate(&mut self) {
        let Some(sentence) = &mut self.sentence else { return };
        sentence.crc = Hasher::new();
        self.written = sentence.start;
        self.steps.push_back(Step::Truncate(sentence.start));
    }

    /// Skips what the output has of the last sentence.
    fn skip_sentence(&mut self) {
        self.skip = self.sentence.as_ref().map(|sentence| Skip {
            index: sentence.index,
            left: self.written - sentence.start,
            is_there: false,
            is_whole: true,
            kept: Vec::new(),
        });
    }

    /// True if the stream can be resumed after this error.
    pub(super) fn is_resumable(&self, error: &client::Error) -> bool {
        // A slow client should not reconnect as a rule. This one reads again: its output was blocked for
        // a while, and the server keeps the session.
        let was_slow = closed_with(error) == Some(Close::SlowClient.code(true));
        let was_refused = self.from.is_some() && refusal(error).is_some();
        self.session.is_some() && (error.is_temporary() || was_slow || was_refused)
    }

    /// Resumes the stream after this error, on another connection. Returns a line for the person.
    pub(super) async fn resume(&mut self, error: &client::Error) -> Result<&'static str, Box<dyn Error>> {
        if self.written > self.lost_at {
            self.attempts = 0;
        }
        self.lost_at = self.written;
        if self.attempts == ATTEMPTS {
            return Err(format!("the connection was lost {ATTEMPTS} times without new audio").into());
        }
        self.refuses_from |= self.from.is_some() && refusal(error).is_some();
        let mut plan = if self.has_begun { Plan::Recover } else { Plan::Start };
        let mut wanted = Duration::ZERO;
        loop {
            // A server that restarts needs a moment.
            tokio::time::sleep(wanted.max(Duration::from_secs(self.attempts.into()))).await;
            self.attempts += 1;
            match self.reconnect(&mut plan).await? {
                Ok(()) => break,
                Err(error) if error.is_temporary() && self.attempts < ATTEMPTS => {
                    wanted = retry_after(&error).unwrap_or_default().min(PATIENCE);
                }
                Err(error) => return Err(format!("{}: {error}", self.url).into()),
            }
        }
        Ok(match plan {
            Plan::Recover | Plan::RecoverSentence => "session resumed",
            Plan::Start if self.sentence.is_some() => {
                "the server no longer has the session; the text goes on in another"
            }
            Plan::Start => "reconnected",
        })
    }

    /// Connects and follows the plan. If the server refuses it, follows the next one.
    async fn reconnect(&mut self, plan: &mut Plan) -> Result<Result<(), client::Error>, Box<dyn Error>> {
        loop {
            let answer = match self.follow(*plan).await {
                Ok(answer) => answer,
                Err(error) => match refusal(&error) {
                    Some(answer) if *plan != Plan::Start => answer,
                    _ => return Ok(Err(error)),
                },
            };
            let sentence_start = self.sentence_start();
            *plan = match (answer, *plan) {
                (Answer::Recovered, _) => return Ok(Ok(())),
                (Answer::PositionLost, Plan::Recover) if sentence_start.is_some() => Plan::RecoverSentence,
                _ if self.is_verbatim || self.sentence.is_none() => Plan::Start,
                _ => return Err("cannot resume: the server no longer has this session".into()),
            };
        }
    }

    /// Start of the last sentence as the server counts, if the output has a part of it.
    fn sentence_start(&self) -> Option<u64> {
        let sentence = self.sentence.as_ref().filter(|_| self.skip.is_none())?;
        let bytes = self.written - sentence.start;
        self.place.checked_sub(bytes).filter(|_| bytes > 0)
    }

    async fn follow(&mut self, plan: Plan) -> Result<Answer, client::Error> {
        let client = connect(self.url, self.token).await?;
        let (Some((id, token)), true) = (self.session.clone(), plan != Plan::Start) else {
            self.client = client;
            self.start_anew().await?;
            return Ok(Answer::Recovered);
        };
        let mut recover = json!({"type": "recover", "sessionId": id, "token": token, "inexact": true});
        recover["offset"] = match (plan, self.from, self.sentence_start()) {
            (Plan::RecoverSentence, _, Some(start)) => start,
            (_, Some((_, offset)), _) => offset,
            _ => self.received,
        }
        .into();
        if let Some(stream) = self.stream {
            recover["stream"] = stream.into();
        }
        if let Some(rev) = self.rev {
            recover["rev"] = rev.into();
        }
        if let Some(epoch) = self.epoch {
            recover["epoch"] = epoch.into();
        }
        if plan == Plan::Recover
            && self.skip.is_none()
            && let Some(sentence) = &self.sentence
        {
            recover["crc32"] = hexadecimal(&sentence.crc);
        }
        self.client = client;
        self.client.send_text(&recover.to_string()).await?;
        while let Some(event) = self.client.next().await? {
            match event {
                Event::Message(ServerMessage::Recovered { .. }) => return Ok(self.on_recovered()),
                Event::Message(ServerMessage::NotRecovered { .. }) => {
                    let code = self.last_message()["code"].take();
                    // The server closes. Without an answer it would keep the connection for a while.
                    let closed = async { while matches!(self.client.next().await, Ok(Some(_))) {} };
                    let _ = tokio::time::timeout(CLOSE_TIMEOUT, closed).await;
                    return Ok(match code == "position_lost" {
                        true => Answer::PositionLost,
                        false => Answer::SessionLost,
                    });
                }
                // The first one was lost with the connection.
                Event::Message(ServerMessage::StreamStart { .. }) => self.take(&event),
                _ => {}
            }
        }
        Ok(Answer::SessionLost)
    }

    /// Takes the position at which the session continues.
    fn on_recovered(&mut self) -> Answer {
        let message = self.last_message();
        if message["stream"].as_u64().is_some_and(|stream| self.stream.is_some_and(|own| own != stream)) {
            return Answer::SessionLost;
        }
        self.rev = message["rev"].as_u64().or(self.rev);
        self.epoch = message["epoch"].as_u64();
        let (offset, index) =
            (message["offset"].as_u64().unwrap_or(self.received), message["index"].as_u64());
        let again = self.received.saturating_sub(offset);
        self.received = offset;
        if again == 0 || self.sentence.as_ref().map(|last| last.index) != index {
            return Answer::Recovered;
        }
        if self.skip.is_some() {
            self.skip_sentence();
        } else if message["exact"] == false {
            self.truncate();
            self.place = offset;
        } else {
            self.skip_sentence();
            if let Some(skip) = &mut self.skip {
                skip.is_there = true;
                skip.is_whole = again == skip.left;
                skip.left = again;
            }
        }
        Answer::Recovered
    }

    /// Starts the stream again, on a new session: at the end of the output, or else at its beginning.
    pub(super) async fn start_anew(&mut self) -> Result<(), client::Error> {
        self.skip_sentence();
        let sentence = self.sentence.as_ref().filter(|_| !self.refuses_from);
        self.from = sentence.map(|sentence| (sentence.index, self.place));
        self.has_begun = false;
        self.received = 0;
        (self.stream, self.rev, self.epoch) = (None, None, None);
        self.client.send_text(&self.start_message()).await
    }

    /// Starts it again after an error, if the server refused to begin in the middle.
    pub(super) async fn start_elsewhere(&mut self) -> Result<bool, client::Error> {
        if !self.is_seeking() {
            return Ok(false);
        }
        self.refuses_from = true;
        self.start_anew().await?;
        Ok(true)
    }

    fn start_message(&self) -> String {
        let message = ClientMessage::from(self.start.clone()).to_json();
        let (Some((index, offset)), Some(sentence)) = (self.from, &self.sentence) else { return message };
        let mut message: Value = serde_json::from_str(&message).unwrap_or_default();
        message["from"] = json!({"index": index, "offset": offset, "crc32": hexadecimal(&sentence.crc)});
        message.to_string()
    }

    fn last_message(&self) -> Value {
        serde_json::from_str(self.client.last_text()).unwrap_or_default()
    }
}

fn hexadecimal(crc: &Hasher) -> Value {
    format!("{:08x}", crc.clone().finalize()).into()
}

/// The time after which a server that refused wants to be asked again, at least a second.
fn retry_after(error: &client::Error) -> Option<Duration> {
    let client::Error::Refused(refused) = error else { return None };
    refused.retry_after.map(|wait| wait.max(Duration::from_secs(1)))
}

fn closed_with(error: &client::Error) -> Option<u16> {
    let client::Error::Closed(closed) = error else { return None };
    closed.code.map(|CloseCode(code)| code)
}

/// The answer to `recover` that this close stands for.
fn refusal(error: &client::Error) -> Option<Answer> {
    match closed_with(error)? {
        4411 => Some(Answer::PositionLost),
        4404 | 4410 => Some(Answer::SessionLost),
        _ => None,
    }
}

async fn connect(url: &str, token: Option<&Secret>) -> Result<Client, client::Error> {
    match token {
        Some(token) => Client::connect_as(token, url, &[SUBPROTOCOL]).await,
        None => Client::connect_with(url, &[SUBPROTOCOL]).await,
    }
}
