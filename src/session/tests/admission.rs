//! Credentials, quotas, rates and idle time.

use super::*;
use crate::access::credential::Restrictions;

const PING: &str = r#"{"type":"ping"}"#;

fn auth(token: &str) -> String {
    ClientMessage::Auth { token: Token::new(token).unwrap() }.to_json()
}

/// Checks the error and the close at the end of a session of `aloud.v1`.
fn assert_closed(code: &str, close: u16) -> impl Fn(&[Seen]) {
    move |seen| {
        let [.., Seen::Message(error), Seen::Close(got, _)] = seen else { panic!("{seen:?}") };
        assert!(error.contains(&format!("\"code\":\"{code}\"")) && *got == close, "{seen:?}");
    }
}

fn awaiting() -> Driven {
    let mut driven = v1(settings());
    driven.handle(Input::AwaitCredential);
    driven
}

#[test]
fn auth_with_a_valid_token_opens_the_session() {
    let mut driven = awaiting();
    assert_eq!(driven.session.next_deadline(), Some(driven.now + Duration::from_secs(10)));
    driven.say(&auth("good"));
    driven.say(&start("One."));
    assert!(matches!(driven.settled().last(), Some(Seen::Message(end)) if end.contains("completed")));
    // Another `auth` does no harm, valid or not.
    driven.say(&auth("bad"));
    driven.now += Duration::from_secs(60);
    driven.on_time();
    assert_eq!(driven.settled(), []);
}

#[test]
fn messages_before_auth_close_the_connection() {
    for (words, code, close) in [
        (auth("bad"), "unauthorized", 4401),
        (auth("mute"), "forbidden", 4403),
        (auth("crowded"), "rate_limited", 4429),
        (start("One."), "unauthorized", 4401),
        (PING.to_owned(), "unauthorized", 4401),
        (r#"{"type":"recover","sessionId":"a","token":"b","offset":0}"#.to_owned(), "unauthorized", 4401),
        (r#"{"type":"auth"}"#.to_owned(), "unauthorized", 4401),
        (r#"{"type":"auth","token":7}"#.to_owned(), "unauthorized", 4401),
        (r#"{"type":"auth","token":"a b"}"#.to_owned(), "unauthorized", 4401),
        ("nonsense".to_owned(), "unauthorized", 4401),
    ] {
        let mut driven = awaiting();
        driven.say(&words);
        assert_closed(code, close)(&driven.settled());
        driven.say(&auth("good"));
        driven.say(&start("One."));
        assert_eq!(driven.asked, [], "{words}");
    }
}

#[test]
fn auth_must_come_within_auth_timeout() {
    let mut driven = awaiting();
    driven.now += Duration::from_secs(10) - Duration::from_nanos(1);
    driven.on_time();
    assert_eq!(driven.settled(), []);
    driven.now += Duration::from_nanos(1);
    driven.on_time();
    assert_closed("unauthorized", 4401)(&driven.settled());
}

#[test]
fn idle_timeout_closes_a_session_without_a_stream() {
    let settings = || SessionConfig { idle_timeout: Some(Duration::from_secs(600)), ..settings() };
    let later = |driven: &mut Driven, seconds: u64| {
        driven.now += Duration::from_secs(seconds);
        driven.on_time();
        driven.settled()
    };
    let mut driven = v1(settings());
    assert_eq!(driven.session.next_deadline(), Some(driven.now + Duration::from_secs(600)));
    assert_eq!(later(&mut driven, 599), []);
    driven.say(PING);
    assert_closed("idle_timeout", 4408)(&later(&mut driven, 1));

    let mut driven = Driven::new(settings());
    let expected = [Seen::Close(1008, "Nothing was started for too long")];
    assert_eq!(later(&mut driven, 600), expected);

    // A session with a stream is not idle. The end of the stream restarts the time.
    let mut driven = v1(settings());
    driven.say(&start("One."));
    driven.now += Duration::from_secs(2_000);
    driven.on_time();
    assert!(driven.settled().len() > 3);
    assert_eq!(later(&mut driven, 599), []);
    driven.say(RESUME);
    assert_eq!(driven.settled().len(), 1);
    assert_eq!(later(&mut driven, 599), []);
    assert_closed("idle_timeout", 4408)(&later(&mut driven, 1));
}

#[test]
fn idle_timeout_runs_while_a_stream_is_paused() {
    let settings = || SessionConfig { idle_timeout: Some(Duration::from_secs(600)), ..settings() };
    for (options, is_kept) in [("", false), (r#","resumable":true"#, true)] {
        let mut driven = v1(settings());
        driven.say(&start_with(&format!(r#""source":"append"{options}"#)));
        driven.say(&append("One. Two. "));
        driven.say(PAUSE);
        driven.settled();
        driven.now += Duration::from_secs(599);
        driven.on_time();
        driven.say(PING);
        driven.settled();
        driven.now += Duration::from_secs(1);
        driven.on_time();
        assert_closed("idle_timeout", 4408)(&driven.settled());
        assert_eq!(driven.session.is_resumable(), is_kept, "{options}");
    }
    // A base stream does not stay for ever either.
    let mut driven = Driven::new(settings());
    driven.say(PAUSE);
    driven.say(&start("One."));
    driven.settled();
    assert_eq!(driven.asked, [], "nothing is synthesised for it");
    driven.now += Duration::from_secs(600);
    driven.on_time();
    assert_eq!(driven.settled().last(), Some(&Seen::Close(1008, "Nothing was started for too long")));
}

#[test]
fn messages_over_the_rate_are_refused_and_in_a_row_close_the_connection() {
    for is_v1 in [true, false] {
        let settings = SessionConfig { messages: Some(Rate::per_sec(10, 2)), ..settings() };
        let mut driven = if is_v1 { v1(settings) } else { Driven::new(settings) };
        for _ in 0..20 {
            driven.say(RESUME);
        }
        driven.settled();
        driven.say(&start("One."));
        let seen = driven.settled();
        // A client without codes waits for the end of the stream that it wanted to start.
        assert_eq!(seen.len(), if is_v1 { 1 } else { 2 }, "{seen:?}");
        assert!(matches!(&seen[0], Seen::Message(error) if error.contains("Too many messages")));
        assert!(is_v1 || matches!(&seen[1], Seen::Message(end) if end == r#"{"type":"session_end"}"#));
        assert_eq!(driven.asked, [], "the message is ignored");
        driven.now += Duration::from_millis(100);
        driven.say(&start("One."));
        assert_eq!(driven.asked.len(), 1, "the count restarts");
        driven.settled();
        for _ in 0..99 {
            driven.say(PAUSE);
        }
        assert_eq!(driven.settled().len(), 99);
        driven.say(PAUSE);
        let expected = Seen::Close(if is_v1 { 4429 } else { 1008 }, "Too many messages");
        assert_eq!(driven.settled().last(), Some(&expected));
    }
}

#[test]
fn start_session_over_the_rate_ends_at_once_for_a_client_without_codes() {
    for (is_v1, ends) in [(true, 0), (false, 1)] {
        let config = SessionConfig { messages: Some(Rate::per_sec(10, 2)), ..settings() };
        let mut driven = if is_v1 { v1(config) } else { Driven::new(config) };
        (0..20).for_each(|_| driven.say(RESUME));
        driven.settled();
        let count = |seen: Vec<Seen>| {
            let is_end = |seen: &&Seen| matches!(seen, Seen::Message(json) if json.contains("session_end"));
            seen.iter().filter(is_end).count()
        };
        driven.say(&start("One."));
        assert_eq!(count(driven.settled()), ends, "v1: {is_v1}");
        driven.say(RESUME);
        assert_eq!(count(driven.settled()), 0, "v1: {is_v1}: nothing was to start");
        assert_eq!(driven.asked, []);
    }
}

#[test]
fn start_session_is_refused_while_the_session_is_held() {
    let mut driven = v1(settings());
    driven.handle(Input::Hold(Some(QuotaReached::Sessions)));
    driven.say(&start("One."));
    let seen = driven.settled();
    assert!(
        matches!(&seen[..], [Seen::Message(error)] if error.contains(r#""code":"rate_limited","retryable":true,"fatal":false"#)),
        "{seen:?}"
    );
    driven.handle(Input::Hold(None));
    driven.say(&start("One."));
    assert_eq!(driven.asked.len(), 1);
    assert_eq!(driven.session.streams(), 1);
}

#[test]
fn exhausted_quota_ends_the_stream_after_the_begun_sentences() {
    for is_v1 in [true, false] {
        let mut driven = if is_v1 { v1(settings()) } else { Driven::new(settings()) };
        driven.say(&start("The first one. The second one. The third one. The last one."));
        driven.handle(Input::Exhausted);
        let seen = driven.settled();
        assert_eq!(driven.asked.len(), 2, "the begun sentences");
        assert_eq!(of_type(&seen, "sentence_end").len(), 2);
        let [.., Seen::Message(error), Seen::Message(end), Seen::Close(code, _)] = &seen[..] else {
            panic!("{seen:?}")
        };
        assert!(error.contains("this hour") && end.contains("session_end"), "{seen:?}");
        assert_eq!(
            (*code, error.contains("text_too_long")),
            if is_v1 { (4413, true) } else { (1008, false) }
        );

        // With no more sentences to come there is no error.
        let mut driven = if is_v1 { v1(settings()) } else { Driven::new(settings()) };
        driven.say(&start("One."));
        driven.handle(Input::Exhausted);
        let seen = driven.settled();
        assert!(of_type(&seen, "error").is_empty() && driven.closed.is_none(), "{seen:?}");
    }
}

#[test]
fn credential_restrictions_narrow_the_settings() {
    let within = |restrictions: Restrictions| {
        SessionConfig { max_session_chars: Some(50), ..settings() }.within(&restrictions)
    };
    let voices = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    assert!(within(Restrictions { voices: voices(&["carl", ""]), ..Restrictions::default() }).is_none());
    assert!(within(Restrictions { voices: voices(&[]), ..Restrictions::default() }).is_none());
    let narrow =
        within(Restrictions { voices: voices(&["carl", "bert"]), ..Restrictions::default() }).unwrap();
    let names: Vec<&str> = narrow.voices.iter().map(|voice| voice.name.as_str()).collect();
    assert_eq!(names, ["bert"]);
    let mut driven = v1(narrow);
    driven.say(&start_with(r#""voice":"anna""#));
    assert!(matches!(&driven.settled()[..], [Seen::Message(error)] if error.contains("unknown_voice")));
    driven.say(&start("One."));
    assert!(matches!(&driven.settled()[0], Seen::Message(begun) if begun.contains(r#""voice":"bert""#)));

    for (asked, expected) in [(Some(10), Some(10)), (Some(90), Some(50)), (None, Some(50))] {
        let narrow = within(Restrictions { max_chars: asked, ..Restrictions::default() }).unwrap();
        assert_eq!(narrow.max_session_chars, expected);
    }
    for (asked, expected) in [(60, 60), (7_200, 3_600)] {
        let max_session = Some(Duration::from_secs(asked));
        let narrow = within(Restrictions { max_session, ..Restrictions::default() }).unwrap();
        assert_eq!(narrow.max_session, Duration::from_secs(expected));
        // The limit applies to clients of the base protocol, too, with their messages.
        let mut driven = Driven::new(narrow);
        driven.now += Duration::from_secs(expected - 1);
        driven.on_time();
        assert_eq!(driven.settled(), []);
        driven.now += Duration::from_secs(1);
        driven.on_time();
        let seen = driven.settled();
        assert!(matches!(seen.last(), Some(Seen::Close(1000, _))), "{seen:?}");
    }
}

#[test]
fn token_is_in_no_debug_output() {
    let mut driven = awaiting();
    let session = format!("{:?}", driven.session);
    driven.handle(Input::Message(&auth("hunter2")));
    let action = format!("{:?}", driven.session.poll().unwrap());
    let recover = ClientMessage::parse(r#"{"type":"recover","sessionId":"a","token":"hunter2","offset":0}"#);
    let greeting = format!(
        "{:?}",
        ServerMessage::SessionStart {
            session_id: "a".to_owned(),
            greeting: Some(Box::new(greeting(&settings(), "hunter2"))),
        }
    );
    let auth = ClientMessage::parse(&auth("hunter2"));
    for shown in [session, action, format!("{recover:?}"), greeting, format!("{auth:?}")] {
        assert!(!shown.contains("hunter2") && !shown.contains(TOKEN), "{shown}");
    }
}
