//! Writers: sources of text other than the client, such as a language model.
//!
//! This module knows no WebSocket, session or speech. A writer implements [`Writer`]: it takes a [`Prompt`] and
//! returns a [`Script`] at once, from which the text is read while it is still being written. Dropping the
//! `Script` cancels: the writer's end, the [`Pen`], returns [`ReaderGone`], and the writer stops.

mod chat;
mod completion;

pub use crate::session::conversation::{Role, Turn};
pub use chat::{Chat, ChatSettings};
pub(crate) use completion::whole as completion_of;

use crate::gauge::{Counted, Gauge};
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;

/// Pieces that can wait for the reader before the writer has to wait.
const PIECES_IN_FLIGHT: usize = 32;

/// Most bytes of text in one piece. This and the pieces in flight bound the unread text of a script.
const MAX_PIECE_BYTES: usize = 1024;

/// A source of text to speak: a language model, or anything else that answers a prompt piece by piece.
///
/// All sessions share it, hence `Send + Sync`. [`Chat`] asks a language model over HTTP. To add your own writer,
/// implement this trait:
///
/// ```
/// use aloud::script::{Prompt, Script, Writer};
///
/// /// Repeats the prompt, a word at a time.
/// struct Parrot;
///
/// impl Writer for Parrot {
///     fn name(&self) -> &str {
///         "parrot"
///     }
///
///     fn write(&self, prompt: Prompt) -> Script {
///         let (mut pen, script) = Script::channel(&prompt);
///         tokio::spawn(async move {
///             for word in prompt.text().split_inclusive(' ') {
///                 // Waits while the reader is behind. An error means that the reader is gone.
///                 if pen.write(word).await.is_err() {
///                     return;
///                 }
///             }
///             // Without this, the session reports a failure.
///             pen.finish().await;
///         });
///         script
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use aloud::script::ScriptPiece;
///
/// let mut script = Parrot.write(Prompt::new("Good evening."));
/// assert_eq!(script.next().await, Some(Ok(ScriptPiece::Text("Good ".to_owned()))));
/// # }
/// ```
///
/// [`Service::with_writer`](crate::Service::with_writer) makes a server that speaks its text.
pub trait Writer: Send + Sync + 'static {
    /// Returns a short name for logs and messages, such as `chat`.
    fn name(&self) -> &str;

    /// Starts to write. It is called inside of a tokio runtime, returns at once, and never blocks.
    ///
    /// The [`Script`] reports failures, so that the text before a failure is still spoken.
    fn write(&self, prompt: Prompt) -> Script;
}

/// A prompt, and the conversation before it.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// The conversation, oldest turn first; the last turn is the prompt. Users and assistants alternate, and
    /// a user begins. An assistant's turn that was cut off contains the part that was heard.
    pub turns: Vec<Turn>,
    /// Language of the answer, as a BCP 47 tag such as `en` or `de-CH`; empty if it is not set.
    pub language: String,
    /// Id of the session; empty outside of a session.
    pub session: Arc<str>,
    /// Counts writers at work, until their [`Pen`] is dropped.
    pub(crate) running: Gauge,
}

impl Prompt {
    /// Returns a prompt outside of a session, without a conversation before it.
    pub fn new(text: impl Into<String>) -> Prompt {
        Prompt {
            turns: vec![Turn { role: Role::User, text: text.into() }],
            language: String::new(),
            session: Arc::from(""),
            running: Gauge::default(),
        }
    }

    /// Returns the prompt itself: the text of the last turn.
    pub fn text(&self) -> &str {
        self.turns.last().map_or("", |turn| &turn.text)
    }
}

/// Failure of a writer: no text, or an incomplete one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// True if the writer took too long (`llm_timeout`); false if it failed (`llm_failed`).
    pub is_timeout: bool,
    /// One sentence for a person: what is wrong, and what may help. The client receives it.
    pub message: String,
}

impl ScriptError {
    /// Returns a failure.
    pub fn failed(message: impl Into<String>) -> ScriptError {
        ScriptError { is_timeout: false, message: message.into() }
    }

    /// Returns a timeout.
    pub fn timeout(message: impl Into<String>) -> ScriptError {
        ScriptError { is_timeout: true, message: message.into() }
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ScriptError {}

/// Error: the reader is gone. The writer should stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderGone;

impl fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reader is gone")
    }
}

impl std::error::Error for ReaderGone {}

/// Part of a [`Script`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScriptPiece {
    /// More text. It may be cut anywhere, even inside of a word.
    Text(String),
    /// Information for the client that is not a failure.
    Warning {
        /// Code for programs, such as `retrying_llm`.
        code: &'static str,
        /// One sentence for a person.
        message: String,
    },
}

/// Message from a [`Pen`] to its [`Script`].
#[derive(Debug)]
enum PenMessage {
    Piece(ScriptPiece),
    Failed(ScriptError),
    Finished,
}

/// The reader's end of a text that is being written. Dropping it cancels the writing.
#[derive(Debug)]
pub struct Script {
    /// `None` after the end.
    parts: Option<mpsc::Receiver<PenMessage>>,
    /// Failure before the first piece.
    failed: Option<ScriptError>,
}

impl Script {
    /// Returns the two ends of a bounded channel.
    pub fn channel(prompt: &Prompt) -> (Pen, Script) {
        let (sender, parts) = mpsc::channel(PIECES_IN_FLIGHT);
        let pen = Pen { sender, _running: prompt.running.enter() };
        (pen, Script { parts: Some(parts), failed: None })
    }

    /// Returns a script that fails at once.
    pub fn failed(error: ScriptError) -> Script {
        Script { parts: None, failed: Some(error) }
    }

    /// Returns the next piece; `None` after the last piece and after an error.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<ScriptPiece, ScriptError>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Same as [`next`](Script::next), for callers that poll.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<ScriptPiece, ScriptError>>> {
        let Some(parts) = &mut self.parts else { return Poll::Ready(self.failed.take().map(Err)) };
        let last = match ready!(parts.poll_recv(cx)) {
            Some(PenMessage::Piece(piece)) => return Poll::Ready(Some(Ok(piece))),
            Some(PenMessage::Finished) => None,
            Some(PenMessage::Failed(error)) => Some(Err(error)),
            // The pen was dropped without `finish`: the writer panicked or returned early.
            None => Some(Err(ScriptError::failed("The writer stopped before the end of its text."))),
        };
        self.parts = None;
        Poll::Ready(last)
    }
}

/// The writer's end of a script. Dropping it without [`finish`](Pen::finish) or [`fail`](Pen::fail) fails the
/// script.
#[derive(Debug)]
pub struct Pen {
    sender: mpsc::Sender<PenMessage>,
    _running: Counted,
}

impl Pen {
    /// Writes more text, cut anywhere. Waits while the reader is behind.
    ///
    /// # Errors
    /// The reader is gone.
    ///
    /// # Cancel safety
    /// Dropping the future may leave part of the text written.
    pub async fn write(&mut self, text: &str) -> Result<(), ReaderGone> {
        let mut rest = text;
        while !rest.is_empty() {
            let most = rest.len().min(MAX_PIECE_BYTES);
            let end = (1..=most).rev().find(|&at| rest.is_char_boundary(at)).unwrap_or(rest.len());
            let (piece, more) = rest.split_at(end);
            rest = more;
            self.send(PenMessage::Piece(ScriptPiece::Text(piece.to_owned()))).await?;
        }
        Ok(())
    }

    /// Sends the client information that is not a failure.
    ///
    /// # Errors
    /// The reader is gone.
    ///
    /// # Cancel safety
    /// Dropping the future sends nothing.
    pub async fn warn(&mut self, code: &'static str, message: String) -> Result<(), ReaderGone> {
        self.send(PenMessage::Piece(ScriptPiece::Warning { code, message })).await
    }

    async fn send(&mut self, part: PenMessage) -> Result<(), ReaderGone> {
        self.sender.send(part).await.map_err(|_| ReaderGone)
    }

    /// Waits until the reader is gone, for a writer that waits for something else at the same time.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn cancelled(&self) {
        self.sender.closed().await;
    }

    /// Ends the text successfully.
    ///
    /// # Cancel safety
    /// Dropping the future fails the script.
    pub async fn finish(self) {
        // A reader that is gone needs no end.
        let _ = self.sender.send(PenMessage::Finished).await;
    }

    /// Ends the text with a failure. The text before it is spoken.
    ///
    /// # Cancel safety
    /// Dropping the future fails the script with another message.
    pub async fn fail(self, error: ScriptError) {
        let _ = self.sender.send(PenMessage::Failed(error)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn written(script: &mut Script) -> (String, Option<ScriptError>) {
        let mut text = String::new();
        while let Some(piece) = script.next().await {
            match piece {
                Ok(ScriptPiece::Text(piece)) => text.push_str(&piece),
                Ok(ScriptPiece::Warning { code, .. }) => text.push_str(code),
                Err(error) => return (text, Some(error)),
            }
        }
        (text, None)
    }

    #[tokio::test]
    async fn text_arrives_whole_and_in_order() {
        let prompt = Prompt::new("Tea?");
        let (mut pen, mut script) = Script::channel(&prompt);
        let long = "ä🍵".repeat(20_000);
        let expected = format!("One, two.{long}odd");
        let (sent, _) = (long.clone(), prompt);
        tokio::spawn(async move {
            pen.write("One, ").await.unwrap();
            pen.write("").await.unwrap();
            pen.write("two.").await.unwrap();
            pen.write(&sent).await.unwrap();
            pen.warn("odd", "Odd.".to_owned()).await.unwrap();
            pen.finish().await;
        });
        assert_eq!(written(&mut script).await, (expected, None));
        assert_eq!(script.next().await, None);
    }

    #[tokio::test]
    async fn failure_follows_the_text_written_before() {
        let (mut pen, mut script) = Script::channel(&Prompt::new("Tea?"));
        pen.write("One.").await.unwrap();
        pen.fail(ScriptError::timeout("Late.")).await;
        assert_eq!(written(&mut script).await, ("One.".to_owned(), Some(ScriptError::timeout("Late."))));
        assert_eq!(script.next().await, None);

        let mut script = Script::failed(ScriptError::failed("No."));
        assert_eq!(written(&mut script).await, (String::new(), Some(ScriptError::failed("No."))));
        assert_eq!(script.next().await, None);

        let (pen, mut script) = Script::channel(&Prompt::new("Tea?"));
        drop(pen);
        let (text, error) = written(&mut script).await;
        assert!(text.is_empty() && error.is_some_and(|error| !error.is_timeout));
    }

    #[tokio::test]
    async fn writer_waits_for_its_reader_and_notices_its_end() {
        let prompt = Prompt::new("Tea?");
        let (mut pen, script) = Script::channel(&prompt);
        assert_eq!(prompt.running.count(), 1);
        let writer = tokio::spawn(async move {
            let text = "x".repeat(MAX_PIECE_BYTES * (PIECES_IN_FLIGHT + 1));
            let gone = pen.write(&text).await;
            pen.cancelled().await;
            gone
        });
        tokio::task::yield_now().await;
        assert!(!writer.is_finished(), "one piece more than fits");
        drop(script);
        assert_eq!(writer.await.unwrap(), Err(ReaderGone));
        assert_eq!(prompt.running.count(), 0);
    }
}
