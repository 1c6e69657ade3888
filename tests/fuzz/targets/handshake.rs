//! Any opening handshake: a request's head, as hyper would hand it over, is accepted or refused,
//! and what is accepted is sound. Any answer to one: the client takes only what is right.
#![no_main]

use aloud::proto::handshake::{accept, generate_key, verify};
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::{Method, StatusCode, Version};
use libfuzzer_sys::fuzz_target;

/// Lines as in a request: a name, a colon, a value. Those that hyper would not let through are
/// left out.
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
    match accept(&method, version, &headers, &["aloud.v1", "aloud.v2"]) {
        Ok(accept) => {
            assert_eq!((&method, version), (&Method::GET, Version::HTTP_11));
            let keys: Vec<_> = headers.get_all(SEC_WEBSOCKET_KEY).iter().collect();
            assert!(keys.len() == 1 && keys[0].len() == 24, "{keys:?}");
            assert_eq!(headers.get_all(HOST).iter().count(), 1);
            assert!(headers.contains_key(UPGRADE));
            let answer = accept.response();
            assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        }
        Err(rejection) => {
            let answer = rejection.response();
            assert!(matches!(answer.status().as_u16(), 400 | 405 | 426), "{}", answer.status());
            assert!(answer.body().ends_with(".\n"), "{:?}", answer.body());
        }
    }
    let status = if kind & 32 == 0 { StatusCode::SWITCHING_PROTOCOLS } else { StatusCode::OK };
    if let Ok(Some(chosen)) = verify(&generate_key([7; 16]), status, &headers, &["aloud.v1"]) {
        assert_eq!(chosen, "aloud.v1");
    }
});
