//! RFC 6455 as a peer sees it: an echo returns each valid message. A violation gets a Close frame with
//! the right code and then the end of the stream, never a reset.

use crate::support::{Frame, Raw, Running, close, frame, open, plain, session, start, start_echo};
use aloud::Config;
use aloud::ws::endpoint::{Endpoint, Limits, Role};
use std::time::Duration;

async fn echo() -> Running {
    start_echo(Config::default().with(|c| c.max_message_bytes = 1 << 20)).await
}

async fn sessions() -> Running {
    start(Duration::from_secs(10)).await
}

/// Name, bytes, close code.
fn violations() -> Vec<(&'static str, Vec<u8>, u16)> {
    let announce = |first: u8, length: &[u8]| [&[first][..], length, &[0; 4]].concat();
    vec![
        ("unmasked", b"\x81\x05Hello".to_vec(), 1002),
        ("unmasked Ping", b"\x89\x00".to_vec(), 1002),
        ("unmasked Close", b"\x88\x00".to_vec(), 1002),
        ("first reserved bit", frame(0xc1, b"a"), 1002),
        ("second reserved bit", frame(0xa1, b"a"), 1002),
        ("third reserved bit", frame(0x91, b"a"), 1002),
        ("reserved bit of a Ping", frame(0x99, b""), 1002),
        ("opcode 3", frame(0x83, b"a"), 1002),
        ("opcode 4", frame(0x84, b""), 1002),
        ("opcode 5", frame(0x85, b"a"), 1002),
        ("opcode 6", frame(0x86, b""), 1002),
        ("opcode 7", frame(0x87, b"a"), 1002),
        ("opcode 11", frame(0x8b, b""), 1002),
        ("opcode 12", frame(0x8c, b"a"), 1002),
        ("opcode 13", frame(0x8d, b""), 1002),
        ("opcode 14", frame(0x8e, b"a"), 1002),
        ("opcode 15", frame(0x8f, b""), 1002),
        ("fragmented Ping", frame(0x09, b""), 1002),
        ("fragmented Pong", frame(0x0a, b""), 1002),
        ("fragmented Close", frame(0x08, b""), 1002),
        ("Ping of 126 bytes", frame(0x89, &[b'a'; 126]), 1002),
        ("Pong of 126 bytes", frame(0x8a, &[b'a'; 126]), 1002),
        ("Close of 126 bytes", close(1000, &"a".repeat(124)), 1002),
        ("stray continuation", frame(0x80, b"a"), 1002),
        ("stray continuation, not the last", frame(0x00, b"a"), 1002),
        ("message inside of a message", [frame(0x01, b"a"), frame(0x81, b"b")].concat(), 1002),
        ("message of the other kind inside of one", [frame(0x01, b"a"), frame(0x82, b"b")].concat(), 1002),
        ("Close with one byte", frame(0x88, b"\x03"), 1002),
        ("close code 999", close(999, ""), 1002),
        ("close code 1004", close(1004, "why"), 1002),
        ("close code 1005", close(1005, ""), 1002),
        ("close code 1006", close(1006, ""), 1002),
        ("close code 1015", close(1015, ""), 1002),
        ("close code 2999", close(2999, ""), 1002),
        ("close code 5000", close(5000, ""), 1002),
        ("5 in two bytes of length", announce(0x81, b"\xfe\x00\x05"), 1002),
        ("5 in eight bytes of length", announce(0x81, b"\xff\0\0\0\0\0\0\0\x05"), 1002),
        ("126 in eight bytes of length", announce(0x81, b"\xff\0\0\0\0\0\0\0\x7e"), 1002),
        ("negative length", announce(0x82, b"\xff\xff\0\0\0\0\0\0\0"), 1002),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 1002),
        ("text that is not UTF-8", frame(0x81, b"\xce\xba\xed\xa0\x80edited"), 1007),
        ("text that ends in a character", frame(0x81, b"a\xe2\x82"), 1007),
        ("the same in fragments", [frame(0x01, b"\xe2"), frame(0x80, b"\x82")].concat(), 1007),
        ("a bad byte of a message that goes on", frame(0x01, b"a\xff"), 1007),
        ("a bad byte of a frame that goes on", frame(0x81, b"a\xffbcd")[..8].to_vec(), 1007),
        ("close reason that is not UTF-8", frame(0x88, b"\x03\xe8\xff"), 1007),
        ("close reason that ends in a character", frame(0x88, b"\x03\xe8\xe2\x82"), 1007),
        ("2^62 bytes announced", announce(0x82, b"\xff\x40\0\0\0\0\0\0\0"), 1009),
        ("one byte over the limit", announce(0x82, b"\xff\0\0\0\0\0\x10\0\x01"), 1009),
    ]
}

#[tokio::test]
async fn violation_gets_a_close_with_its_code_from_an_echo() {
    let server = echo().await;
    for (name, bytes, code) in violations() {
        for trickles in [false, true] {
            for behind in [&b""[..], &frame(0x81, b"more")] {
                let mut client = open(server.addr).await;
                let bytes = [&frame(0x82, b"before"), &bytes, behind].concat();
                if trickles {
                    client.trickle(&bytes).await;
                } else {
                    client.send_bytes(&bytes).await;
                }
                assert_eq!(client.read_frame().await, Frame::Binary(b"before".to_vec()), "{name}");
                assert_eq!(client.read_close().await, code, "{name}, byte by byte: {trickles}");
            }
        }
    }
    server.is_quiet().await;
}

#[tokio::test]
async fn violation_gets_a_close_with_its_code_from_a_session() {
    let server = sessions().await;
    for (name, bytes, code) in violations() {
        for trickles in [false, true] {
            let mut client = session(server.addr).await;
            let bytes = [&frame(0x81, b"no JSON"), &bytes[..]].concat();
            if trickles {
                client.trickle(&bytes).await;
            } else {
                client.send_bytes(&bytes).await;
            }
            assert_eq!(client.read_frame().await.kind(), "error", "{name}");
            assert_eq!(client.read_close().await, code, "{name}, byte by byte: {trickles}");
        }
    }
    server.is_quiet().await;
}

/// A violation while audio flows: the Close stands between two whole frames, not inside one.
#[tokio::test]
async fn violation_in_mid_stream_gets_a_close_between_frames() {
    let server = sessions().await;
    for (name, bytes, code) in violations() {
        let mut client = session(server.addr).await;
        client.say(r#"{"type":"start_session","prompt":"One. Two. Three."}"#).await;
        client.read_until("binary").await;
        client.send_bytes(&bytes).await;
        let Some(Frame::Close(Some((given, _)))) = client.read_until("close").await.pop() else {
            panic!("{name}: no close code");
        };
        assert_eq!(given, code, "{name}");
        assert_eq!(client.read_to_close().await, b"", "{name}");
    }
    server.is_quiet().await;
}

#[tokio::test]
async fn fragments_over_the_limit_end_a_session_and_not_an_echo() {
    let server = sessions().await;
    for (first, payload) in [(0x01, &b""[..]), (0x01, b"a"), (0x02, b""), (0x02, b"a")] {
        let mut client = session(server.addr).await;
        client.send_bytes(&frame(first, payload)).await;
        client.send_bytes(&frame(0x00, payload).repeat(5_000)).await;
        assert_eq!(client.read_close().await, 1008);
    }
    let server = echo().await;
    let mut client = open(server.addr).await;
    let mut bytes = frame(0x02, b"a");
    bytes.extend(frame(0x00, b"a").repeat(65_534));
    bytes.extend(frame(0x80, b"a"));
    client.send_bytes(&bytes).await;
    assert_eq!(client.read_frame().await, Frame::Binary(vec![b'a'; 65_536]));
}

/// An announced length over the limit allocates nothing; one within the limit allocates at most that
/// much.
#[test]
fn length_over_the_limit_allocates_nothing() {
    const LIMIT: u64 = 1 << 16;
    let limits = Limits { max_message_bytes: LIMIT as usize, max_fragments: 1_000, read_buffer_bytes: 256 };
    for (length, code) in
        [(1 << 62, Some(1009)), (1 << 40, Some(1009)), (LIMIT + 1, Some(1009)), (LIMIT, None)]
    {
        for first in [0x81, 0x82, 0x01] {
            let mut endpoint = Endpoint::new(Role::Server, limits);
            let bytes = [&[first, 0xff][..], &length.to_be_bytes(), &[0; 4], b"a"].concat();
            let allocated = allocation_counter::measure(|| {
                endpoint.receive(&bytes);
                assert!(endpoint.next_message().is_none());
            });
            let most = 4_096 + if code.is_none() { LIMIT } else { 0 };
            assert!(allocated.bytes_max <= most, "{} bytes for {length}", allocated.bytes_max);
            assert_eq!(endpoint.closed().map(|closed| closed.code.unwrap().0), code);
        }
    }
}

#[tokio::test]
async fn echo_returns_messages_of_every_size() {
    let server = echo().await;
    let mut client = open(server.addr).await;
    for size in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20] {
        for first in [0x81, 0x82] {
            let payload: Vec<u8> = (0..size).map(|n| b' ' + (n % 95) as u8).collect();
            let expected = plain(first, &payload);
            client.send_bytes(&frame(first, &payload)).await;
            assert!(client.read_exact(expected.len()).await == expected, "{size} bytes in one frame");

            let (one, two) = payload.split_at(size / 2);
            let fragments = [frame(first & 0x0f, one), frame(0x89, b"between"), frame(0x80, two)];
            client.send_bytes(&fragments.concat()).await;
            assert_eq!(client.read_frame().await, Frame::Pong(b"between".to_vec()));
            assert!(client.read_exact(expected.len()).await == expected, "{size} bytes in two fragments");

            if size <= 127 {
                client.trickle(&frame(first, &payload)).await;
                assert!(client.read_exact(expected.len()).await == expected, "{size} bytes one by one");
            }
        }
    }
}

/// The segment ends at each possible place.
#[tokio::test]
async fn echo_returns_frames_cut_anywhere() {
    let server = echo().await;
    let mut client = open(server.addr).await;
    let bytes = [
        frame(0x01, "\u{20ac}".as_bytes()),
        frame(0x89, b"ping"),
        frame(0x00, b""),
        frame(0x80, "\u{1f600}".as_bytes()),
        frame(0x82, &[0xff; 130]),
    ]
    .concat();
    let expected =
        [plain(0x8a, b"ping"), plain(0x81, "\u{20ac}\u{1f600}".as_bytes()), plain(0x82, &[0xff; 130])]
            .concat();
    for cut in 0..bytes.len() {
        client.send_bytes(&bytes[..cut]).await;
        tokio::task::yield_now().await;
        client.send_bytes(&bytes[cut..]).await;
        assert_eq!(client.read_exact(expected.len()).await, expected, "cut at {cut}");
    }
}

/// Closes with this body and checks the Close that the client gets.
async fn closes(client: &mut Raw, body: &[u8], behind: &[u8]) {
    client.send_bytes(&[&frame(0x88, body), behind].concat()).await;
    let expected = body.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]));
    let Frame::Close(echoed) = client.read_frame().await else { panic!("no Close for {body:x?}") };
    assert_eq!(echoed.map(|(code, _)| code), expected, "{body:x?}");
    assert_eq!(client.read_to_close().await, b"", "{body:x?}");
}

#[tokio::test]
async fn close_is_echoed_and_ends_the_stream() {
    let (echo, sessions) = (echo().await, sessions().await);
    let long = [b"\x0f\xa0", &b"r".repeat(123)[..]].concat();
    for body in [&b""[..], b"\x03\xe8", b"\x03\xe9bye", b"\x0b\xb8", b"\x13\x87gr\xc3\xbc\xc3\x9fe", &long] {
        for behind in [&b""[..], &frame(0x81, b"late"), &frame(0x89, b"late"), b"\xff\xff", &[0; 100_000]] {
            closes(&mut open(echo.addr).await, body, behind).await;
            closes(&mut session(sessions.addr).await, body, behind).await;
        }
    }
    echo.is_quiet().await;
    sessions.is_quiet().await;
}
