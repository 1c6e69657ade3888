//! Any headers of a proxy, and any target: the client of an untrusted peer is the peer, what a client writes in front
//! of a proxy's entry changes nothing, and only hosts of this machine and listed ones are answered.
#![no_main]

use aloud::settings::{AllowHost, TrustedProxy};
use aloud::unstable::{forwarded, named};
use hyper::{Uri, Version};
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};

/// Lines as in a request: a name, a colon, a value. Leaves out lines that hyper would refuse.
fn headers(lines: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines.lines().filter_map(|line| line.split_once(':')) {
        let (name, value) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value.trim()));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}
use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;

fuzz_target!(|input: (u8, &str, &str)| {
    let (how, target, lines) = input;
    let headers = headers(lines);
    let trusted: Vec<TrustedProxy> = ["10.0.0.0/8", "::1", "unix"].map(|text| text.parse().unwrap()).to_vec();
    let stranger: IpAddr = "192.0.2.1".parse().unwrap();
    assert_eq!(forwarded(&trusted, Some(stranger), &headers).0, Some(stranger));
    assert_eq!(forwarded(&[], None, &headers).0, None);
    let _ = forwarded(&trusted, None, &headers);
    // A trusted proxy appends the address of its peer.
    let proxy = Some("10.0.0.1".parse().unwrap());
    let client: IpAddr = "203.0.113.9".parse().unwrap();
    let mut appended = headers.clone();
    appended.remove("forwarded");
    let entry = match headers.get("x-forwarded-for").map(HeaderValue::to_str) {
        Some(Ok(claim)) if how & 1 == 0 => format!("{claim}, {client}"),
        _ => client.to_string(),
    };
    if how & 1 == 0 {
        appended.insert("x-forwarded-for", entry.try_into().unwrap());
    } else {
        appended.append("x-forwarded-for", entry.try_into().unwrap());
    }
    assert_eq!(forwarded(&trusted, proxy, &appended).0, Some(client), "{appended:?}");

    let Ok(target) = target.parse::<Uri>() else { return };
    let version = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2][usize::from(how >> 1) % 3];
    let Some((found, is_answered)) = named(version, &target, &headers, &[]) else { return };
    match found {
        None => assert!(version == Version::HTTP_10 && !headers.contains_key(HOST)),
        Some(host) => {
            assert!(!host.contains(['@', '/', ' ', ',']), "{host}");
            let host = host.to_ascii_lowercase();
            let is_ours = host.contains("localhost") || host.starts_with("127.") || host.starts_with('[');
            assert!(is_ours || !is_answered, "{host}");
            if let Some(authority) = target.authority() {
                assert_eq!(host, authority.as_str().to_ascii_lowercase());
            }
        }
    }
    assert_eq!(named(version, &target, &headers, &[AllowHost::Any]).map(|named| named.1), Some(true));
});
