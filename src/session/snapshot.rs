//! A session as plain data, so that another process can continue it.
//!
//! A snapshot has the state that the client's own count of bytes does not replace: text that is not yet
//! spoken, sentences in flight, the ledger, the conversation. It has no audio and no secret.
//!
//! A restored session has an empty log. When its client recovers, the engine replays the sentences from the
//! client's offset on, and the session checks their length and CRC-32. The client then gets the same
//! messages and bytes as from the first process. This needs:
//!
//! - a deterministic engine, and a stream that was started with `resumable`;
//! - an offset from which on no sentence was cut off by `cancel`: a replay cannot stop at the same byte;
//! - an offset whose sentence is still in the ledger, which drops old records beyond 2 MiB.
//!
//! An offset may lie beyond the audio of the time of the snapshot: the text behind it is then spoken and not sent
//! until the offset is reached.
//!
//! At any other offset the client gets `position_lost`. Messages that arrive after the snapshot are not part
//! of it: to lose none, a store writes a snapshot after each message.
//!
//! Until its client recovers, a restored session counts all synthesised audio as sent. The wait for more
//! text (`idleMs`) starts anew.

use super::conversation::Conversation;
use super::dialect::Dialect;
use super::stream::{Stream, StreamState};
use super::{Course, Past, Session, SessionConfig};
use crate::access::credential::Token;
use crate::access::rate::Bucket;
use crate::audio::Format;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A session as plain data: serialise it in any format that serde knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    id: String,
    dialect: Dialect,
    is_paused: bool,
    is_completed: bool,
    is_exhausted: bool,
    is_warned: bool,
    stream: Option<StreamState>,
    conversation: Option<Box<Conversation>>,
    /// Length of the session so far.
    age: Duration,
    streams: u64,
    past: Past,
}

impl Snapshot {
    /// The id of the session.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Format of its audio; `None` without a stream.
    pub fn format(&self) -> Option<Format> {
        self.stream.as_ref().map(StreamState::format)
    }

    /// True if its engine does not repeat itself, or an answer is being written: a process that still has the session
    /// may have more of it.
    pub fn lacks_work(&self) -> bool {
        self.stream.as_ref().is_some_and(StreamState::lacks_work)
    }

    /// True if the audio that its client may still need is part of it.
    pub fn has_audio(&self) -> bool {
        self.stream.as_ref().is_some_and(StreamState::has_audio)
    }

    /// Lets no sentence be spoken again for the bytes that it had: the engine is another one.
    pub fn change_engine(&mut self) {
        self.stream.iter_mut().for_each(StreamState::change_engine);
    }
}

impl Session {
    /// Writes the session down. Call it after [`poll`](Self::poll) has returned `None` and every
    /// [`Output::StopSpeaking`](super::Output::StopSpeaking) was answered: outputs, and an engine that is
    /// being stopped, are not part of a snapshot.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        self.snapshot_with(false, now)
    }

    /// The same with the audio that the client may still need, if no sentence [is in flight](Self::is_settled). An
    /// engine that does not repeat itself needs it.
    pub fn snapshot_with_audio(&self, now: Instant) -> Snapshot {
        self.snapshot_with(true, now)
    }

    fn snapshot_with(&self, with_audio: bool, now: Instant) -> Snapshot {
        Snapshot {
            id: self.id.as_ref().to_owned(),
            dialect: self.dialect,
            is_paused: self.is_paused,
            is_completed: self.course == Course::Completed,
            is_exhausted: self.is_exhausted,
            is_warned: self.is_warned,
            stream: self.stream.as_ref().map(|stream| stream.snapshot(with_audio, now)),
            conversation: self.conversation.clone(),
            age: now.saturating_duration_since(self.began),
            streams: self.streams,
            past: self.past(),
        }
    }

    /// Restores a session without a connection. It waits for
    /// [`Answer::Recovered`](super::Answer::Recovered).
    ///
    /// `config` is the configuration that the session had, within the restrictions of its credential. `token` is
    /// the one that the client was given. The rate of messages and the count of invalid messages start anew.
    /// A writer that was writing is gone: its text up to the snapshot is the answer, and the client gets the
    /// error `llm_failed`.
    pub fn restore(
        config: Arc<SessionConfig>,
        snapshot: Snapshot,
        token: Option<String>,
        now: Instant,
    ) -> Session {
        let Snapshot {
            id,
            dialect,
            is_paused,
            is_completed,
            is_exhausted,
            is_warned,
            stream,
            conversation,
            age,
            streams,
            past,
        } = snapshot;
        let stream = stream.map(|state| Stream::restore(state, now));
        Session {
            active: now,
            token: token.map(Token::made),
            dialect,
            is_paused,
            is_draining: false,
            course: if is_completed { Course::Completed } else { Course::Running },
            awaits_credential: false,
            is_exhausted,
            is_warned,
            starting: None,
            owes_flushed: false,
            lacks_writer: stream.as_ref().is_some_and(Stream::is_writing),
            held: None,
            outputs: VecDeque::new(),
            stream,
            messages: config.messages.map(|rate| Bucket::full(rate, now)),
            replays: None,
            config,
            id: id.into(),
            conversation,
            began: now.checked_sub(age).unwrap_or(now),
            streams,
            past: Some(Box::new(past)),
            faults: 0,
            excess: 0,
            changes: 0,
            epoch: None,
        }
    }
}
