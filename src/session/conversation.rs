//! The conversation of a session whose text a language model writes.
//!
//! This module depends on no model and on no session. A conversation is a list of exchanges. An exchange
//! is a prompt and the part of the answer that was played. The oldest exchanges are dropped first.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The speaker of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The client, with a prompt.
    User,
    /// The writer, with the part of its answer that was played.
    Assistant,
}

/// The words of one speaker, up to the next speaker's turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The speaker.
    pub role: Role,
    /// The text. Never empty.
    pub text: String,
}

/// Limits on the length of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Turns, the newest prompt included. At least 1.
    pub turns: usize,
    /// Characters of all turns together. If the newest prompt alone has more, it is the only turn.
    pub chars: usize,
}

/// The exchanges of a session, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Conversation {
    exchanges: VecDeque<Exchange>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Exchange {
    asked: String,
    answered: String,
}

impl Exchange {
    fn chars(&self) -> usize {
        self.asked.chars().count() + self.answered.chars().count()
    }
}

impl Conversation {
    /// Adds the next prompt, and drops the exchanges beyond the bounds. Returns all turns, oldest first;
    /// the prompt is the last. User and assistant alternate, and the user begins: the templates of some
    /// models require it.
    pub(crate) fn ask(&mut self, prompt: &str, bounds: Bounds) -> Vec<Turn> {
        self.exchanges.push_back(Exchange { asked: prompt.to_owned(), answered: String::new() });
        let mut chars: usize = self.exchanges.iter().map(Exchange::chars).sum();
        // The newest is a prompt alone.
        while self.exchanges.len() > 1
            && (chars > bounds.chars || self.exchanges.len() * 2 - 1 > bounds.turns)
        {
            chars -= self.exchanges.pop_front().map_or(0, |oldest| oldest.chars());
        }
        let mut turns: Vec<Turn> = Vec::new();
        for Exchange { asked, answered } in &self.exchanges {
            match turns.last_mut() {
                // A prompt without an answer, for example one that was cancelled at once, is joined
                // with the next prompt.
                Some(Turn { role: Role::User, text }) => {
                    text.push('\n');
                    text.push_str(asked);
                }
                _ => turns.push(Turn { role: Role::User, text: asked.clone() }),
            }
            if !answered.is_empty() {
                turns.push(Turn { role: Role::Assistant, text: answered.clone() });
            }
        }
        turns
    }

    /// Sets the answer to the last prompt, and replaces an earlier one.
    pub(crate) fn answer(&mut self, text: &str) {
        if let Some(last) = self.exchanges.back_mut() {
            text.trim().clone_into(&mut last.answered);
        }
    }

    /// Drops the last prompt, which had no answer. The client may send it again.
    pub(crate) fn forget_last(&mut self) {
        self.exchanges.pop_back();
    }

    /// Memory of the conversation in bytes, roughly.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.exchanges.iter().map(|e| size_of::<Exchange>() + e.asked.len() + e.answered.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Bounds = Bounds { turns: 100, chars: 1_000 };

    fn said(turns: &[Turn]) -> Vec<String> {
        let mark = |role| if role == Role::User { 'u' } else { 'a' };
        turns.iter().map(|turn| format!("{} {}", mark(turn.role), turn.text)).collect()
    }

    #[test]
    fn ask_returns_the_turns_in_order_with_the_prompt_last() {
        let mut conversation = Conversation::default();
        assert_eq!(said(&conversation.ask("one", WIDE)), ["u one"]);
        conversation.answer(" eins\n");
        assert_eq!(said(&conversation.ask("two", WIDE)), ["u one", "a eins", "u two"]);
        conversation.answer("zwei, drei");
        conversation.answer("zwei");
        assert_eq!(said(&conversation.ask("three", WIDE)), ["u one", "a eins", "u two", "a zwei", "u three"]);
        conversation.forget_last();
        assert_eq!(said(&conversation.ask("four", WIDE)), ["u one", "a eins", "u two", "a zwei", "u four"]);
    }

    #[test]
    fn ask_joins_a_prompt_without_an_answer_with_the_next() {
        let mut conversation = Conversation::default();
        conversation.ask("Tell me about tea.", WIDE);
        conversation.answer("");
        assert_eq!(said(&conversation.ask("About coffee.", WIDE)), ["u Tell me about tea.\nAbout coffee."]);
    }

    #[test]
    fn ask_drops_the_oldest_exchanges_first() {
        let mut conversation = Conversation::default();
        for n in 0..10 {
            let turns = conversation.ask(&format!("ask {n}"), Bounds { turns: 5, chars: 1_000 });
            assert_eq!(turns.len(), (2 * n + 1).min(5));
            assert_eq!(turns[0].role, Role::User);
            conversation.answer(&format!("answer {n}"));
        }
        let by_chars = Bounds { turns: 100, chars: 5 + 8 + 4 };
        assert_eq!(said(&conversation.ask("last", by_chars)), ["u ask 9", "a answer 9", "u last"]);
        conversation.answer("x");
        let long = "é".repeat(50);
        assert_eq!(conversation.ask(&long, by_chars).len(), 1, "a prompt over the limit is the only turn");
        assert_eq!(conversation.ask("alone", Bounds { turns: 1, chars: 1_000 }).len(), 1);
    }
}
