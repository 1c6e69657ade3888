//! Where the text comes from, when it is neither the client's prompt nor appended by it.
//!
//! Nothing here knows WebSocket, sessions or speech. A writer implements [`Writer`]: it is handed a
//! [`Prompt`] and answers at once with a [`Script`], the receiving end of text that is still being
//! written. Dropping the `Script` is how the reader says that nobody will hear the rest: the
//! writer's end, the [`Pen`], reports [`Cancelled`] and the writer stops.

pub mod chat;
pub mod completion;

pub use crate::session::conversation::{Role, Turn};
pub use chat::Chat;

use crate::gauge::{Counted, Gauge};
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;

/// Pieces that may wait between a writer and its reader before the writer has to wait.
const PIECES_IN_FLIGHT: usize = 32;

/// The most bytes of text that one piece carries: together with the pieces in flight, what a script
/// holds that nobody reads.
const MAX_PIECE_BYTES: usize = 1024;

/// Whoever writes what is spoken: a language model, or anything else that answers a prompt piece by
/// piece.
///
/// Shared by all sessions, hence `Send + Sync`. [`Chat`] asks a language model over HTTP; an
/// embedder's own writer implements this trait:
///
/// ```
/// use aloud::script::{Prompt, Script, Writer};
///
/// /// Repeats what it hears, a word at a time.
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
///                 // Waits while the reader is behind; an error means that nobody reads any more,
///                 // and returning is all there is to do.
///                 if pen.write(word).await.is_err() {
///                     return;
///                 }
///             }
///             // Without this the session would take the end for a failure.
///             pen.finish().await;
///         });
///         script
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use aloud::script::Piece;
///
/// let mut script = Parrot.write(Prompt::new("Good evening."));
/// assert_eq!(script.next().await, Some(Ok(Piece::Text("Good ".to_owned()))));
/// # }
/// ```
///
/// A server speaks what it writes that was made with
/// [`Service::with_writer`](crate::Service::with_writer).
pub trait Writer: Send + Sync + 'static {
    /// A short name for logs and messages, such as `chat`.
    fn name(&self) -> &str;

    /// Starts to write; returns at once, inside of a tokio runtime, and never blocks.
    ///
    /// Failures are reported through the [`Script`], so that what was written before is heard.
    fn write(&self, prompt: Prompt) -> Script;
}

/// What a writer is asked, and what was said before.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// The conversation, oldest turn first; the last turn is the prompt. Users and assistants
    /// alternate and a user begins. What an assistant said is what was heard of it, where it was
    /// cut off.
    pub turns: Vec<Turn>,
    /// The language that the answer will be spoken in, as a BCP 47 tag such as `en` or `de-CH`;
    /// empty where nobody said.
    pub language: String,
    /// The id of the session; empty outside of one.
    pub session: Arc<str>,
    /// Counts the writer's work for as long as its end of the script lives.
    pub(crate) running: Gauge,
}

impl Prompt {
    /// A prompt outside of a session, to which nothing was said before.
    pub fn new(text: impl Into<String>) -> Prompt {
        Prompt {
            turns: vec![Turn { role: Role::User, text: text.into() }],
            language: String::new(),
            session: Arc::from(""),
            running: Gauge::default(),
        }
    }

    /// The prompt itself: the last turn's text.
    pub fn text(&self) -> &str {
        self.turns.last().map_or("", |turn| &turn.text)
    }
}

/// Why a text could not be written, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// Whether the writer took too long (`llm_timeout`) or failed (`llm_failed`).
    pub is_timeout: bool,
    /// One sentence for a person: what is wrong and what may help. Sent to the client.
    pub message: String,
}

impl ScriptError {
    /// The writer failed.
    pub fn failed(message: impl Into<String>) -> ScriptError {
        ScriptError { is_timeout: false, message: message.into() }
    }

    /// The writer took too long.
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

/// The reader is gone: nobody will hear what is still to come, so stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reader is gone")
    }
}

impl std::error::Error for Cancelled {}

/// What a [`Script`] is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// More text; may be cut anywhere, even inside of a word.
    Text(String),
    /// Something the listener should know that is no failure.
    Warning {
        /// For programs, such as `retrying_llm`.
        code: &'static str,
        /// One sentence for a person.
        message: String,
    },
}

/// What travels from a [`Pen`] to its [`Script`].
#[derive(Debug)]
enum Part {
    Piece(Piece),
    Failed(ScriptError),
    Finished,
}

/// The reader's end of a text that is being written.
///
/// Dropping it cancels the writing.
#[derive(Debug)]
pub struct Script {
    /// `None` once it is over.
    parts: Option<mpsc::Receiver<Part>>,
    /// A failure from before it began.
    failed: Option<ScriptError>,
}

impl Script {
    /// A bounded channel from a writer that works at its own pace.
    pub fn channel(prompt: &Prompt) -> (Pen, Script) {
        let (sender, parts) = mpsc::channel(PIECES_IN_FLIGHT);
        let pen = Pen { sender, _running: prompt.running.enter() };
        (pen, Script { parts: Some(parts), failed: None })
    }

    /// A script that failed before it began.
    pub fn failed(error: ScriptError) -> Script {
        Script { parts: None, failed: Some(error) }
    }

    /// The next piece; `None` once the text was written to its end. After an error comes `None`
    /// too.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Piece, ScriptError>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Script::next), for one who polls.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, ScriptError>>> {
        let Some(parts) = &mut self.parts else { return Poll::Ready(self.failed.take().map(Err)) };
        let last = match ready!(parts.poll_recv(cx)) {
            Some(Part::Piece(piece)) => return Poll::Ready(Some(Ok(piece))),
            Some(Part::Finished) => None,
            Some(Part::Failed(error)) => Some(Err(error)),
            // The pen was dropped unfinished: a writer that panicked or gave up.
            None => Some(Err(ScriptError::failed("The writer stopped before it had finished."))),
        };
        self.parts = None;
        Poll::Ready(last)
    }
}

/// The writer's end of a script. Dropped without [`finish`](Pen::finish) or [`fail`](Pen::fail),
/// the script has failed.
#[derive(Debug)]
pub struct Pen {
    sender: mpsc::Sender<Part>,
    _running: Counted,
}

impl Pen {
    /// Writes more text, which may be cut anywhere; waits while the reader is behind.
    ///
    /// # Errors
    /// Nobody reads any more.
    ///
    /// # Cancel safety
    /// A part of the text may be written when the future is dropped.
    pub async fn write(&mut self, text: &str) -> Result<(), Cancelled> {
        let mut rest = text;
        while !rest.is_empty() {
            let most = rest.len().min(MAX_PIECE_BYTES);
            let end = (1..=most).rev().find(|&at| rest.is_char_boundary(at)).unwrap_or(rest.len());
            let (piece, more) = rest.split_at(end);
            rest = more;
            self.send(Part::Piece(Piece::Text(piece.to_owned()))).await?;
        }
        Ok(())
    }

    /// Tells the listener something that is no failure.
    ///
    /// # Errors
    /// Nobody reads any more.
    ///
    /// # Cancel safety
    /// Nothing is told when the future is dropped.
    pub async fn warn(&mut self, code: &'static str, message: String) -> Result<(), Cancelled> {
        self.send(Part::Piece(Piece::Warning { code, message })).await
    }

    async fn send(&mut self, part: Part) -> Result<(), Cancelled> {
        self.sender.send(part).await.map_err(|_| Cancelled)
    }

    /// Ready once nobody reads any more, for a writer that waits for something else meanwhile.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn cancelled(&self) {
        self.sender.closed().await;
    }

    /// Ends the text; it was written to its end.
    ///
    /// # Cancel safety
    /// The script has failed when the future is dropped.
    pub async fn finish(self) {
        // Whoever does not read any more does not miss it.
        let _ = self.sender.send(Part::Finished).await;
    }

    /// Ends the text, of which more was to come. What was written before is spoken.
    ///
    /// # Cancel safety
    /// The script has failed, though with another message, when the future is dropped.
    pub async fn fail(self, error: ScriptError) {
        let _ = self.sender.send(Part::Failed(error)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn written(script: &mut Script) -> (String, Option<ScriptError>) {
        let mut text = String::new();
        while let Some(piece) = script.next().await {
            match piece {
                Ok(Piece::Text(piece)) => text.push_str(&piece),
                Ok(Piece::Warning { code, .. }) => text.push_str(code),
                Err(error) => return (text, Some(error)),
            }
        }
        (text, None)
    }

    #[tokio::test]
    async fn a_text_arrives_whole_and_in_order() {
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
    async fn a_failure_comes_behind_what_was_written() {
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
    async fn a_writer_waits_for_its_reader_and_learns_that_it_is_gone() {
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
        assert_eq!(writer.await.unwrap(), Err(Cancelled));
        assert_eq!(prompt.running.count(), 0);
    }
}
