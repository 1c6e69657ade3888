//! Streams whose text a writer writes.

use super::*;

const NO_WRITER: &str = "This server has no language model";

fn with_writer() -> SessionConfig {
    SessionConfig { has_writer: true, ..settings() }
}

fn ask(prompt: &str) -> String {
    start_with(&format!(r#""source":"llm","prompt":"{prompt}""#))
}

impl Driven {
    fn write_text(&mut self, text: &str) {
        assert!(self.is_writing && self.session.wants_text());
        self.handle(Input::Writer(Written::Text(text)));
        self.act();
    }

    fn end_text(&mut self) {
        self.is_writing = false;
        self.handle(Input::Writer(Written::Finished));
        self.act();
    }

    fn fail_text(&mut self, code: Code, message: &str) {
        self.is_writing = false;
        self.handle(Input::Writer(Written::Failed { code, message }));
        self.act();
    }

    /// A whole exchange, played to its end.
    fn exchange(&mut self, prompt: &str, answer: &str) {
        self.say(&ask(prompt));
        self.write_text(answer);
        self.end_text();
        self.settled();
    }

    fn turns(&self) -> Vec<String> {
        let mark = |turn: &Turn| match turn.role {
            crate::session::conversation::Role::User => format!("u {}", turn.text),
            crate::session::conversation::Role::Assistant => format!("a {}", turn.text),
        };
        self.prompts.last().unwrap().iter().map(mark).collect()
    }
}

#[test]
fn llm_text_cut_anywhere_gives_the_same_sentences() {
    let sentences = ["The first one.", "A second, “żółć” 🍵 one.", "And a third"];
    let text = sentences.join(" ");
    for step in 1..text.chars().count() {
        let mut driven = v1(with_writer());
        driven.say(&ask("Tell me."));
        let letters: Vec<char> = text.chars().collect();
        for piece in letters.chunks(step) {
            driven.write_text(&piece.iter().collect::<String>());
            driven.settle();
        }
        driven.end_text();
        driven.settle();
        assert_whole(
            &driven.take(),
            "llm",
            &["The first one.", "A second, “żółć” one.", "And a third"],
            "completed",
        );
        assert_eq!(driven.turns(), ["u Tell me."]);
    }
}

#[test]
fn llm_sentence_does_not_wait_for_the_next_token() {
    let cases: [&[&str]; 4] =
        [&["Is that ", "so?"], &["**Is that so?", "**"], &["Is that so", "?\n"], &["Is that so?", " "]];
    for pieces in cases {
        let mut driven = v1(with_writer());
        driven.say(&ask("Is it?"));
        assert_eq!(driven.settled(), [stream_start("llm")]);
        pieces.iter().for_each(|piece| driven.write_text(piece));
        assert_eq!(driven.settled(), [], "the next character may belong to it");
        driven.now += Duration::from_millis(250);
        assert_eq!(driven.session.next_deadline(), Some(driven.now));
        driven.on_time();
        assert_eq!(driven.settled(), v1_sentences(&["Is that so?"], 0, 0), "{pieces:?}");
        // An unfinished sentence waits for the model without a limit.
        driven.write_text("It is");
        driven.now += Duration::from_secs(600);
        driven.on_time();
        assert_eq!(driven.settled(), []);
        assert!(driven.is_writing && driven.closed.is_none());
        driven.end_text();
        let seen = driven.settled();
        assert_eq!(seen[..seen.len() - 1], v1_sentences(&["It is"], 1, 77));
        assert!(of_type(&seen, "session_end")[0].contains(r#""reason":"completed""#));
    }
}

#[test]
fn llm_source_without_a_writer_is_refused() {
    for prompt in ["", r#","prompt":"Tell me.""#] {
        let mut driven = driven();
        driven.say(&format!(r#"{{"type":"start_session","source":"llm"{prompt}}}"#));
        match &driven.settled()[..] {
            [Seen::Message(json), end] => {
                assert!(json.contains(NO_WRITER), "{json}");
                assert_eq!(*end, message(r#"{"type":"session_end"}"#));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(driven.prompts.len(), 0);
    }
}

#[test]
fn llm_as_default_source_answers_prompts_of_clients_that_name_none() {
    let settings = || SessionConfig { source: TextSource::Llm, ..with_writer() };
    // A client of the base protocol.
    let mut driven = Driven::new(settings());
    driven.say(&start("Tell me."));
    driven.write_text("# Tea\n\nIt is *hot*. And more");
    driven.end_text();
    assert_eq!(driven.settled(), stream(&["Tea", "It is hot.", "And more"]));
    // Without a question: the greeting verbatim, and no sentence at all.
    driven.say(START);
    assert_eq!(driven.settled(), stream(&GREETED));
    driven.say(&start(" "));
    assert_eq!(driven.settled(), stream(&[]));
    driven.say(&start_with(r#""prompt":"Say this.","source":"verbatim""#));
    assert_eq!(driven.settled(), stream(&["Say this."]));
    assert_eq!(driven.turns(), ["u Tell me."]);
    // Streams without an answer are not part of the conversation.
    driven.say(&start("More."));
    assert_eq!(driven.turns(), ["u Tell me.", "a # Tea\n\nIt is *hot*. And more", "u More."]);

    let mut driven = v1(with_writer());
    driven.say(&start_with(r#""source":"llm""#));
    assert_whole(&driven.settled(), "verbatim", &GREETED, "completed");
}

#[test]
fn clean_none_speaks_markdown_that_llm_text_drops_by_default() {
    for (clean, sentence) in
        [("", "So hot."), (r#","clean":"markdown""#, "So hot."), (r#","clean":"none""#, "So **hot**.")]
    {
        let mut driven = v1(with_writer());
        driven.say(&start_with(&format!(r#""source":"llm","prompt":"Tell me."{clean}"#)));
        driven.write_text("So **ho");
        driven.write_text("t**.");
        driven.end_text();
        assert_whole(&driven.settled(), "llm", &[sentence], "completed");
    }
}

#[test]
fn append_and_start_session_during_an_answer_are_refused() {
    let mut driven = v1(with_writer());
    driven.say(&ask("Tell me."));
    driven.settled();
    for (json, code) in [(append("More."), "bad_message"), (ask("Another?"), "already_started")] {
        driven.say(&json);
        assert_refused(&driven.settled(), code);
    }
    driven.say(FLUSH);
    assert_eq!(of_type(&driven.settled(), "flushed").len(), 1);
    assert!(driven.is_writing);
    driven.end_text();
    driven.settled();
    driven.say(&ask(&"long ".repeat(41)));
    assert_refused(&driven.settled(), "text_too_long");
    assert_eq!(driven.prompts.len(), 1);
}

#[test]
fn llm_failure_is_sent_at_once_and_the_text_before_it_is_spoken() {
    for (code, name) in [(Code::LlmFailed, "llm_failed"), (Code::LlmTimeout, "llm_timeout")] {
        for (text, sentences) in
            [("", &[][..]), ("The first one. And a", &["The first one.", "And a"]), ("Half", &["Half"])]
        {
            let mut driven = v1(with_writer());
            driven.say(&ask("Tell me."));
            driven.write_text(text);
            driven.fail_text(code, "It broke.");
            let seen = driven.settled();
            let error = format!(
                r#"{{"type":"error","message":"It broke.","code":"{name}","retryable":true,"fatal":false}}"#
            );
            assert_eq!(of_type(&seen, "error"), [error.as_str()]);
            let others: Vec<Seen> =
                seen.into_iter().filter(|seen| *seen != message(error.as_str())).collect();
            assert_whole(&others, "llm", sentences, "error");
            // The session continues.
            driven.say(&ask("Again."));
            let before =
                if text.is_empty() { vec![] } else { vec!["u Tell me.".to_owned(), format!("a {text}")] };
            assert_eq!(driven.turns(), [before, vec!["u Again.".to_owned()]].concat());
        }
    }
    let mut driven = Driven::new(SessionConfig { source: TextSource::Llm, ..with_writer() });
    driven.say(&start("Tell me."));
    driven.fail_text(Code::LlmFailed, "It broke.");
    let seen = driven.settled();
    assert_eq!(
        seen,
        [message(r#"{"type":"error","message":"It broke."}"#), message(r#"{"type":"session_end"}"#)]
    );
}

#[test]
fn cancel_and_end_stop_the_writer_and_the_answer() {
    for paused in [false, true] {
        let mut driven = v1(with_writer());
        driven.say(&ask("Tell me."));
        driven.write_text("One. Two");
        if paused {
            driven.say(PAUSE);
        }
        driven.say(CANCEL);
        assert!(!driven.is_writing && !driven.session.wants_text());
        // Late reports of the writer are ignored.
        driven.handle(Input::Writer(Written::Text(" Three.")));
        driven.handle(Input::Writer(Written::Finished));
        driven.handle(Input::Writer(Written::Failed { code: Code::LlmFailed, message: "Late." }));
        driven.act();
        if paused {
            driven.say(RESUME);
        }
        let seen = driven.settled();
        assert_eq!((of_type(&seen, "cancelled").len(), of_type(&seen, "error").len()), (1, 0));
        assert!(of_type(&seen, "session_end")[0].contains(r#""reason":"cancelled""#));
        driven.say(CANCEL);
        assert_eq!(driven.settled(), [], "it may have crossed the end of the stream");

        driven.say(&ask("More."));
        driven.write_text("One. Two");
        driven.say(END);
        assert!(!driven.is_writing);
        let seen = driven.settled();
        assert!(of_type(&seen, "session_end")[0].contains(r#""reason":"ended""#));
        assert_eq!(seen.last(), Some(&Seen::Close(1000, "Session ended by client")));
    }
}

#[test]
fn end_with_drain_lets_the_writer_finish() {
    let mut driven = v1(with_writer());
    driven.say(&ask("Tell me."));
    driven.write_text("One. T");
    driven.say(DRAIN);
    assert!(driven.is_writing);
    driven.write_text("wo.");
    driven.end_text();
    let seen = driven.settled();
    let (close, others) = seen.split_last().unwrap();
    assert_whole(others, "llm", &["One.", "Two."], "ended");
    assert_eq!(*close, Seen::Close(1000, "Session ended by client"));
}

#[test]
fn llm_text_beyond_max_script_chars_is_left_out() {
    let limit = "🍵 is tea. More".chars().count();
    for step in [1, 3, 100] {
        let mut driven = v1(SessionConfig { max_script_chars: limit, ..with_writer() });
        driven.say(&ask("Tell me."));
        let text: Vec<char> = "🍵 is tea. More of it.".chars().collect();
        let mut pieces = text.chunks(step);
        while driven.is_writing {
            driven.write_text(&pieces.next().unwrap().iter().collect::<String>());
        }
        let seen = driven.settled();
        let warnings = of_type(&seen, "warning");
        assert_eq!(warnings.len(), 1, "{seen:?}");
        assert!(warnings[0].contains(r#""code":"text_limit""#), "{}", warnings[0]);
        let others: Vec<Seen> =
            seen.into_iter().filter(|seen| *seen != message(warnings[0].as_str())).collect();
        assert_whole(&others, "llm", &["is tea.", "More"], "completed");
        driven.say(&ask("More."));
        assert_eq!(driven.turns(), ["u Tell me.", "a 🍵 is tea. More", "u More."]);
    }
    // At the limit exactly, no text is left out.
    let mut driven = v1(SessionConfig { max_script_chars: 4, ..with_writer() });
    driven.exchange("Tell me.", "One.");
    assert!(of_type(&driven.take(), "warning").is_empty());
}

#[test]
fn max_buffered_chars_of_waiting_text_stop_the_writer() {
    for most in [0, 20, 100] {
        let settings = SessionConfig { max_buffered_chars: most, prefetch: 1, ..with_writer() };
        let mut driven = v1(settings);
        driven.say(&ask("Tell me."));
        driven.say(PAUSE);
        let mut sentences = 0;
        while driven.session.wants_text() {
            driven.write_text("It is so. ");
            sentences += 1;
            assert!(sentences < 100);
        }
        // Those that wait, and one that is not cut yet: during a pause none is begun.
        let waiting = most / "It is so.".len() + 1;
        assert_eq!(sentences, waiting + 1, "{most}");
        assert_eq!(driven.asked, [], "{most}");
        driven.say(RESUME);
        driven.settle();
        assert!(driven.session.wants_text());
    }
}

#[test]
fn history_is_sent_with_the_next_prompt_within_its_bounds() {
    let mut driven =
        v1(SessionConfig { history: conversation::Bounds { turns: 3, chars: 400 }, ..with_writer() });
    driven.exchange("One?", "Eins.");
    driven.exchange("Two?", "Zwei.");
    assert_eq!(driven.turns(), ["u One?", "a Eins.", "u Two?"]);
    driven.exchange("Three?", "Drei.");
    assert_eq!(driven.turns(), ["u Two?", "a Zwei.", "u Three?"]);
}

#[test]
fn history_has_a_cancelled_answer_as_far_as_it_was_played() {
    let mut driven = v1(with_writer());
    driven.say(&ask("Tell me."));
    driven.write_text("The first one. The second one. The third one.");
    driven.settle();
    // 98 bytes are 12 ms of the first, 105 of the second.
    driven.say(r#"{"type":"cancel","playedMs":12}"#);
    let seen = driven.settled();
    let figures: serde_json::Value = serde_json::from_str(&of_type(&seen, "cancelled")[0]).unwrap();
    let heard = figures["spokenText"].as_str().unwrap().to_owned();
    assert!("The first one.".starts_with(&heard) && !heard.is_empty(), "{heard}");
    driven.say(&ask("And then?"));
    assert_eq!(driven.turns(), ["u Tell me.".to_owned(), format!("a {heard}"), "u And then?".to_owned()]);
    // Of this answer nothing was played.
    driven.say(CANCEL);
    driven.settled();
    driven.say(&ask("Now?"));
    assert_eq!(driven.turns().last().unwrap(), "u And then?\nNow?");
}

#[test]
fn recover_keeps_the_writer_and_the_conversation() {
    let sentences = ["The first one.", "The second one.", "The third one."];
    for lost_after in 0..3 {
        let mut driven = v1(SessionConfig { keep_bytes: 10_000, ..with_writer() });
        driven.exchange("Before.", "Yes.");
        driven.say(&start_with(r#""source":"llm","prompt":"Tell me.","resumable":true"#));
        let mut seen = driven.settled();
        for (at, sentence) in sentences.iter().enumerate() {
            driven.write_text(&format!("{sentence} "));
            seen.extend(driven.settled());
            if at == lost_after {
                driven.lose();
                assert!(driven.is_writing && driven.session.is_resumable());
                driven.recover(audio_of(&seen).len());
                assert!(driven.is_writing && driven.session.wants_text());
            }
        }
        driven.end_text();
        seen.extend(driven.settled());
        assert_eq!(audio_of(&seen), all_audio(&sentences), "lost after {lost_after}");
        assert_eq!(of_type(&seen, "session_end").len(), 1);
        driven.say(&ask("Then?"));
        assert_eq!(driven.turns().len(), 5);
    }
}
