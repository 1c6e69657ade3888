//! What was said in turn: the memory of a session whose text a language model writes.
//!
//! Knows no model and no session. A conversation is a row of exchanges, each a prompt and what was
//! heard of the answer; the oldest are forgotten first.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The client, with a prompt.
    User,
    /// The writer, as far as it was heard.
    Assistant,
}

/// What one side said before the other spoke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Who.
    pub role: Role,
    /// What. Never empty.
    pub text: String,
}

/// How much of a conversation is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Turns, the newest prompt included. At least 1.
    pub turns: usize,
    /// Characters of all turns together. A newest prompt that has more stands alone.
    pub chars: usize,
}

/// The exchanges of a session, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
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
    /// Takes the next prompt, and forgets what is beyond the bounds. The turns there are now,
    /// oldest first, the prompt last: users and assistants alternate, and a user begins, as the
    /// templates of some models insist.
    pub fn ask(&mut self, prompt: &str, bounds: Bounds) -> Vec<Turn> {
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
                // What was never answered, as when it was cancelled at once, is asked together
                // with what came next.
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

    /// What was answered to the last prompt, in place of what was said about that before.
    pub fn answer(&mut self, text: &str) {
        if let Some(last) = self.exchanges.back_mut() {
            text.trim().clone_into(&mut last.answered);
        }
    }

    /// The last prompt came to nothing: its client may well ask again.
    pub fn forget_last(&mut self) {
        self.exchanges.pop_back();
    }

    /// Bytes of memory that it takes, roughly.
    pub fn memory_bytes(&self) -> usize {
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
    fn turns_come_in_order_and_the_newest_prompt_is_last() {
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
    fn what_was_never_answered_is_asked_with_the_next() {
        let mut conversation = Conversation::default();
        conversation.ask("Tell me about tea.", WIDE);
        conversation.answer("");
        assert_eq!(said(&conversation.ask("About coffee.", WIDE)), ["u Tell me about tea.\nAbout coffee."]);
    }

    #[test]
    fn the_oldest_exchange_is_forgotten_first() {
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
        assert_eq!(conversation.ask(&long, by_chars).len(), 1, "a prompt over the bound stands alone");
        assert_eq!(conversation.ask("alone", Bounds { turns: 1, chars: 1_000 }).len(), 1);
    }
}
