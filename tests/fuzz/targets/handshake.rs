//! Any opening handshake: a request's head, as hyper passes it, is accepted or refused, and an accepted
//! one is valid. Any answer to one: the client accepts valid answers only.
#![no_main]

use aloud::ws::handshake::{Accept, Rejection, accept, accept_stream, generate_key, verify};
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::http::uri::Authority;
use hyper::{Method, StatusCode, Version};
use libfuzzer_sys::fuzz_target;

/// Lines as in a request: a name, a colon, a value. Leaves out lines that hyper would refuse.
fn headers(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

/// The status of an answer that accepts. A refusal has a reason and one of these statuses.
fn check(accepted: Result<Accept, Rejection>, refusals: &[u16]) -> Option<StatusCode> {
    match accepted {
        Ok(accept) => Some(accept.response().status()),
        Err(rejection) => {
            let answer = rejection.response();
            assert!(refusals.contains(&answer.status().as_u16()), "{}", answer.status());
            assert!(answer.body().ends_with(".\n"), "{:?}", answer.body());
            None
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, lines)) = data.split_first() else { return };
    let method = match kind & 3 {
        0 => Method::POST,
        _ => Method::GET,
    };
    let version = match kind >> 2 & 7 {
        0 => Version::HTTP_10,
        1 => Version::HTTP_2,
        _ => Version::HTTP_11,
    };
    let headers = headers(lines);
    let known = ["aloud.v1", "aloud.v2"];
    let accepted = check(accept(&method, version, &headers, &known), &[400, 405, 426]);
    if accepted == Some(StatusCode::SWITCHING_PROTOCOLS) {
        assert_eq!((&method, version), (&Method::GET, Version::HTTP_11));
        let keys: Vec<_> = headers.get_all(SEC_WEBSOCKET_KEY).iter().collect();
        assert!(keys.len() == 1 && keys[0].len() == 24, "{keys:?}");
        assert_eq!(headers.get_all(HOST).iter().count(), 1);
        assert!(headers.contains_key(UPGRADE));
    }
    let method = if kind & 64 == 0 { Method::CONNECT } else { method };
    let protocol = (kind & 128 == 0).then_some("websocket");
    let authority = (kind & 4 == 0).then(|| Authority::from_static("a"));
    let accepted = accept_stream(&method, protocol, authority.as_ref(), &headers, &known);
    if check(accepted, &[400, 405, 501]) == Some(StatusCode::OK) {
        assert_eq!((method, protocol), (Method::CONNECT, Some("websocket")));
        assert!(authority.is_some() || headers.contains_key(HOST));
        assert!(headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0"));
    }
    let status = if kind & 32 == 0 { StatusCode::SWITCHING_PROTOCOLS } else { StatusCode::OK };
    if let Ok(Some(chosen)) = verify(&generate_key([7; 16]), status, &headers, &["aloud.v1"]) {
        assert_eq!(chosen, "aloud.v1");
    }
});
