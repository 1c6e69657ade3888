//! Any bytes from a peer, cut anywhere: the messages, the answers and the end are the same as
//! uncut, queues stay bounded, and nothing follows the end.
#![no_main]

use aloud::ws::endpoint::{Closed, Endpoint, Incoming, Limits, Role, State};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { max_message_bytes: 1_000, max_fragments: 16, read_buffer_bytes: 256 };

/// Result of the input: messages, answers, and the end.
#[derive(Debug, PartialEq)]
struct Outcome {
    messages: Vec<Incoming>,
    answers: Vec<u8>,
    closed: Option<Closed>,
    state: State,
}

fn feed<'a>(role: Role, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut endpoint = Endpoint::new(role, LIMITS);
    let (mut messages, mut answers) = (Vec::new(), Vec::new());
    for piece in pieces {
        // The connection reads no more while too many answers wait.
        assert!(endpoint.wants_input() || *endpoint.state() == State::Finished);
        endpoint.receive(piece);
        while let Some(message) = endpoint.next_message() {
            let bytes = match &message {
                Incoming::Text(text) => text.len(),
                Incoming::Binary(bytes) => bytes.len(),
            };
            assert!(bytes <= LIMITS.max_message_bytes);
            messages.push(message);
        }
        // A Pong is as long as its Ping, plus a mask. The first Ping may have begun before this piece,
        // and the last answer may be a Close.
        assert!(endpoint.outgoing().len() <= piece.len() * 3 + 2 * 131);
        answers.extend_from_slice(endpoint.outgoing());
        let waiting = endpoint.outgoing().len();
        endpoint.sent(waiting);
    }
    let closed = endpoint.closed().cloned();
    if let (State::Finished, Some(Closed { code: Some(code), by_peer: false, .. })) =
        (endpoint.state(), &closed)
    {
        assert!(matches!(code.0, 1002 | 1007 | 1008 | 1009), "{code:?}");
    }
    Outcome { messages, answers, closed, state: endpoint.state().clone() }
}

// A client's frames are masked with the fuzzer's bytes, so that text stays text: a mask of zeros
// leaves the payload as it is.
fuzz_target!(|data: &[u8]| {
    let [kind, cut, bytes @ ..] = data else { return };
    let role = if kind & 1 == 0 { Role::Server } else { Role::Client };
    let whole = feed(role, std::iter::once(bytes));
    let size = usize::from(*cut).max(1);
    let cut = feed(role, bytes.chunks(size));
    assert_eq!(whole.messages, cut.messages);
    assert_eq!((&whole.closed, &whole.state), (&cut.closed, &cut.state));
    if role == Role::Server {
        assert_eq!(whole.answers, cut.answers);
    } else {
        // Masked with a random key.
        assert_eq!(whole.answers.len(), cut.answers.len());
    }
});
