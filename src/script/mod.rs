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
use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;

/// Most bytes of text that wait for the reader, before the writer has to wait. It is more than most answers
/// have, so that a request ends when its model has finished, however slowly its text is spoken.
const MAX_UNREAD_BYTES: usize = 96 * 1024;

/// Most bytes of text in one piece.
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
/// // What was not read yet comes as one piece.
/// assert_eq!(script.next().await, Some(Ok(ScriptPiece::Text("Good evening.".to_owned()))));
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
    /// Dropped with the prompt and the [`Pen`].
    pub(crate) held: Option<Held>,
}

/// Something that is held while a writer works.
pub(crate) type Held = Arc<dyn Any + Send + Sync>;

impl Prompt {
    /// Returns a prompt outside of a session, without a conversation before it.
    pub fn new(text: impl Into<String>) -> Prompt {
        Prompt {
            turns: vec![Turn { role: Role::User, text: text.into() }],
            language: String::new(),
            session: Arc::from(""),
            running: Gauge::default(),
            held: None,
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

/// The text between a [`Pen`] and its [`Script`].
#[derive(Debug, Default)]
struct Page {
    state: Mutex<PageState>,
    /// Notified when the reader has read, or is gone.
    was_read: Notify,
}

#[derive(Debug, Default)]
struct PageState {
    /// Unread pieces. Short ones are joined.
    pieces: VecDeque<ScriptPiece>,
    unread_bytes: usize,
    /// Exists once the writer has ended: successfully, or with an error.
    ending: Option<Result<(), ScriptError>>,
    /// True if the reader is gone, or takes no further text.
    is_closed: bool,
    reader: Option<Waker>,
}

impl PageState {
    fn push(&mut self, piece: ScriptPiece) {
        if let ScriptPiece::Text(text) = &piece {
            self.unread_bytes += text.len();
            if let Some(ScriptPiece::Text(last)) = self.pieces.back_mut()
                && last.len() + text.len() <= MAX_PIECE_BYTES
            {
                last.push_str(text);
                return;
            }
        }
        self.pieces.push_back(piece);
    }

    fn pop(&mut self) -> Option<ScriptPiece> {
        let piece = self.pieces.pop_front()?;
        if let ScriptPiece::Text(text) = &piece {
            self.unread_bytes -= text.len();
        }
        Some(piece)
    }
}

impl Page {
    /// Locks the state. A poisoned lock is safe to use: nothing panics in the middle of a change.
    fn state(&self) -> MutexGuard<'_, PageState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes the reader.
    fn write(&self, change: impl FnOnce(&mut PageState)) {
        let reader = {
            let mut state = self.state();
            change(&mut state);
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Tells the writer that no further text is taken.
    fn close(&self) {
        self.state().is_closed = true;
        self.was_read.notify_waiters();
    }

    /// Waits until this is true. It is checked again whenever the reader has read, or is gone.
    async fn until(&self, is_true: impl Fn(&PageState) -> bool) {
        loop {
            let mut was_read = pin!(self.was_read.notified());
            // Before the check, so that no notification is missed.
            was_read.as_mut().enable();
            if is_true(&self.state()) {
                return;
            }
            was_read.await;
        }
    }
}

/// The reader's end of a text that is being written. Dropping it cancels the writing.
#[derive(Debug)]
pub struct Script {
    /// `None` after the end.
    page: Option<Arc<Page>>,
    /// Failure before the first piece.
    failed: Option<ScriptError>,
}

impl Script {
    /// Returns the two ends of a bounded channel: 96 KiB of text can wait for the reader.
    pub fn channel(prompt: &Prompt) -> (Pen, Script) {
        let page = Arc::new(Page::default());
        let pen =
            Pen { page: Arc::clone(&page), _running: prompt.running.enter(), _held: prompt.held.clone() };
        (pen, Script { page: Some(page), failed: None })
    }

    /// Returns a script that fails at once.
    pub fn failed(error: ScriptError) -> Script {
        Script { page: None, failed: Some(error) }
    }

    /// Stops the writer, if it has not ended. The text so far can still be read; this error follows.
    pub(crate) fn cut_short(&mut self, error: ScriptError) {
        self.eraser().cut_short(error);
    }

    /// Stops the writer from elsewhere.
    pub(crate) fn eraser(&self) -> Eraser {
        Eraser(self.page.as_ref().map(Arc::downgrade).unwrap_or_default())
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
        let Some(page) = &self.page else { return Poll::Ready(self.failed.take().map(Err)) };
        let mut state = page.state();
        if let Some(piece) = state.pop() {
            drop(state);
            page.was_read.notify_waiters();
            return Poll::Ready(Some(Ok(piece)));
        }
        let Some(ending) = state.ending.take() else {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        drop(state);
        page.close();
        self.page = None;
        Poll::Ready(ending.err().map(Err))
    }
}

/// Stops the writer of a [`Script`] from outside of its reader.
#[derive(Debug)]
pub(crate) struct Eraser(Weak<Page>);

impl Eraser {
    /// Stops the writer, if it has not ended. The text so far can still be read; this error follows.
    pub(crate) fn cut_short(&self, error: ScriptError) {
        if let Some(page) = self.0.upgrade() {
            page.write(|state| {
                state.ending.get_or_insert(Err(error));
            });
            page.close();
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if let Some(page) = &self.page {
            page.close();
        }
    }
}

/// The writer's end of a script. Dropping it without [`finish`](Pen::finish) or [`fail`](Pen::fail) fails the
/// script.
#[derive(Debug)]
pub struct Pen {
    page: Arc<Page>,
    _running: Counted,
    _held: Option<Held>,
}

impl Pen {
    /// Writes more text, cut anywhere. Waits while 96 KiB of text are unread.
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
            self.send(ScriptPiece::Text(piece.to_owned())).await?;
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
        self.send(ScriptPiece::Warning { code, message }).await
    }

    async fn send(&mut self, piece: ScriptPiece) -> Result<(), ReaderGone> {
        self.page.until(|state| state.is_closed || state.unread_bytes < MAX_UNREAD_BYTES).await;
        if self.page.state().is_closed {
            return Err(ReaderGone);
        }
        self.page.write(|state| state.push(piece));
        Ok(())
    }

    /// Waits until the reader is gone, for a writer that waits for something else at the same time.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn cancelled(&self) {
        self.page.until(|state| state.is_closed).await;
    }

    /// Ends the text successfully.
    pub async fn finish(self) {
        self.end(Ok(()));
    }

    /// Ends the text with a failure. The text before it is spoken.
    pub async fn fail(self, error: ScriptError) {
        self.end(Err(error));
    }

    fn end(&self, ending: Result<(), ScriptError>) {
        self.page.write(|state| {
            state.ending.get_or_insert(ending);
        });
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        // Without an end, the writer panicked or returned early.
        self.end(Err(ScriptError::failed("The writer stopped before the end of its text.")));
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
            let text = "x".repeat(MAX_UNREAD_BYTES + MAX_PIECE_BYTES);
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

    #[tokio::test]
    async fn answer_ends_before_it_is_read_and_short_pieces_are_joined() {
        let prompt = Prompt::new("Tea?");
        let (mut pen, mut script) = Script::channel(&prompt);
        for _ in 0..MAX_UNREAD_BYTES / 4 {
            pen.write("tea ").await.unwrap();
        }
        pen.finish().await;
        assert_eq!(prompt.running.count(), 0);
        let page = script.page.as_ref().unwrap();
        assert_eq!(page.state().pieces.len(), MAX_UNREAD_BYTES / MAX_PIECE_BYTES);
        assert_eq!(written(&mut script).await, ("tea ".repeat(MAX_UNREAD_BYTES / 4), None));
    }

    #[tokio::test]
    async fn script_that_is_cut_short_stops_its_writer_and_keeps_its_text() {
        let (mut pen, mut script) = Script::channel(&Prompt::new("Tea?"));
        pen.write("One.").await.unwrap();
        script.cut_short(ScriptError::timeout("Late."));
        pen.cancelled().await;
        assert_eq!(pen.write("Two.").await, Err(ReaderGone));
        drop(pen);
        assert_eq!(written(&mut script).await, ("One.".to_owned(), Some(ScriptError::timeout("Late."))));

        // Nothing is lost of an answer that was complete.
        let (mut pen, mut script) = Script::channel(&Prompt::new("Tea?"));
        pen.write("One.").await.unwrap();
        pen.finish().await;
        script.cut_short(ScriptError::timeout("Late."));
        assert_eq!(written(&mut script).await, ("One.".to_owned(), None));
    }
}
