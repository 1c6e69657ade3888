//! Answers that are being written, counted for each client.
//!
//! Each is a request to a language model, which costs money and memory there. Beyond the limit on all of them
//! the client that has most loses its oldest one. An answer counts until its writer has stopped.

use crate::access::{ClientId, ShareKey, Shares};
use crate::script::{Eraser, Prompt, Script, ScriptError, Writer};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Ends an answer that gives its place. It is set once the answer has begun.
type End = Arc<OnceLock<Eraser>>;
type Table = Shares<ClientId, End>;

/// The answers that are being written.
#[derive(Debug)]
pub(crate) struct Answers {
    most: usize,
    /// Most of one client; `None` is no limit.
    most_of_client: Option<usize>,
    table: Mutex<Table>,
}

/// Counts an answer until it is dropped.
#[derive(Debug)]
struct Counted {
    answers: Arc<Answers>,
    key: ShareKey,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.answers.table().remove(self.key);
    }
}

impl Answers {
    pub(crate) fn new(most: usize, most_of_client: Option<usize>) -> Answers {
        Answers { most, most_of_client, table: Mutex::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the writer answer a prompt of this client, if it may.
    ///
    /// # Errors
    /// The client, or all of them together, have the largest number of answers.
    pub(crate) fn begin(
        self: &Arc<Self>,
        writer: &dyn Writer,
        mut prompt: Prompt,
        client: &ClientId,
    ) -> Result<Script, ScriptError> {
        let (key, eraser, displaced) = self.enter(client)?;
        if let Some(eraser) = displaced.as_ref().and_then(|eraser| eraser.get()) {
            eraser.cut_short(ScriptError::failed(format!(
                "The answer is cut short: too many answers are being written (limit {}), and this client has \
                 most of them.",
                self.most
            )));
        }
        prompt.held = Some(Arc::new(Counted { answers: Arc::clone(self), key }));
        let script = writer.write(prompt);
        // If it was displaced in the meantime it is one too many for a moment.
        let _ = eraser.set(script.eraser());
        Ok(script)
    }

    /// Takes a place, and removes the answer that gives its own, if it has to.
    fn enter(&self, client: &ClientId) -> Result<(ShareKey, End, Option<End>), ScriptError> {
        let mut table = self.table();
        let own = table.held_by(client);
        if let Some(most) = self.most_of_client.filter(|most| own >= *most) {
            return Err(ScriptError::failed(format!(
                "Too many answers are being written for this client (limit {most}). Send the prompt again later."
            )));
        }
        let mut displaced = None;
        if table.len() >= self.most {
            // A client does not take a place to have more than the one that gives it.
            if own + 1 >= table.most() {
                return Err(ScriptError::failed(format!(
                    "Too many answers are being written (limit {}). Send the prompt again later.",
                    self.most
                )));
            }
            displaced = table.oldest_of_most().and_then(|key| table.remove(key));
        }
        let eraser = Arc::default();
        Ok((table.insert(client.clone(), 0, Arc::clone(&eraser)), eraser, displaced))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Pen;

    /// Keeps its pens, so that its answers go on.
    #[derive(Default)]
    struct Patient(Mutex<Vec<Pen>>);

    impl Writer for Patient {
        fn name(&self) -> &str {
            "patient"
        }

        fn write(&self, prompt: Prompt) -> Script {
            let (pen, script) = Script::channel(&prompt);
            self.0.lock().unwrap().push(pen);
            script
        }
    }

    fn client(name: &str) -> ClientId {
        ClientId::Named(Arc::from(name))
    }

    #[tokio::test]
    async fn the_client_with_most_answers_loses_its_oldest_one() {
        let (answers, writer) = (Arc::new(Answers::new(4, None)), Patient::default());
        let begin = |name| answers.begin(&writer, Prompt::new("Tea?"), &client(name));
        let mut first = begin("a").unwrap();
        let _rest: Vec<_> = (0..3).map(|_| begin("a").unwrap()).collect();
        let refused = begin("a").unwrap_err();
        assert!(refused.message.contains("(limit 4)"), "{refused}");
        let _other = begin("b").unwrap();
        let cut = first.next().await.unwrap().unwrap_err();
        assert!(cut.message.starts_with("The answer is cut short"), "{cut}");
        let _second = begin("b").unwrap();
        assert!(begin("b").is_err(), "it would have more than the other");
    }

    #[tokio::test]
    async fn an_answer_counts_until_its_writer_has_stopped() {
        let (answers, writer) = (Arc::new(Answers::new(100, Some(1))), Patient::default());
        let begin = |name| answers.begin(&writer, Prompt::new("Tea?"), &client(name));
        drop(begin("a").unwrap());
        let refused = begin("a").unwrap_err();
        assert!(refused.message.contains("for this client (limit 1)"), "{refused}");
        begin("b").unwrap();
        writer.0.lock().unwrap().clear();
        begin("a").unwrap();
    }
}
