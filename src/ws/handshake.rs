//! The opening handshake (RFC 6455 §4) for both roles: heads in, heads out. Over HTTP/2 (RFC 8441 §5) for
//! the server only.
//!
//! This module has no I/O. It knows method, version, status and headers, and no path and no session. It decides
//! whether a request is a handshake, not whether the client may enter. Each answer is a value,
//! [`Accept`] or [`Rejection`], that turns into a response.

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE, WWW_AUTHENTICATE,
};
use hyper::http::uri::Authority;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};
use sha1::{Digest, Sha1};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// Suffix of the key from which the accept key is derived (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The only version of the protocol (RFC 6455 §4.1).
const VERSION: &str = "13";

/// Keys must have padding, but may have any bits in the unused end of the last digit: clients that draw
/// the digits at random set them, and other servers accept them.
const KEYS: GeneralPurpose =
    GeneralPurpose::new(&ALPHABET, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// A handshake that may be answered with 101, or over HTTP/2 with 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    /// The subprotocol that both sides speak from now on; `None` if the client offered none that the
    /// server knows.
    pub subprotocol: Option<&'static str>,
    /// The accept key; `None` over HTTP/2.
    key: Option<HeaderValue>,
}

impl Accept {
    /// The head of the answer (RFC 6455 §4.2.2, RFC 8441 §5). Names no extension, so none is in use.
    pub fn response(&self) -> Response<()> {
        let mut response = Response::new(());
        if let Some(key) = &self.key {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(SEC_WEBSOCKET_ACCEPT, key.clone());
        }
        let headers = response.headers_mut();
        if let Some(name) = self.subprotocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
        }
        response
    }
}

/// A refusal before the upgrade, for the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The status to answer with.
    pub status: StatusCode,
    /// Headers that the status requires.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// One sentence for a person: what is wrong, and what to do.
    pub message: Cow<'static, str>,
    /// True if the connection must be closed behind the answer: after a malformed request the start of
    /// the next one is unknown.
    pub close: bool,
}

impl Rejection {
    fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Rejection {
        Rejection { status, headers: Vec::new(), message: message.into(), close: false }
    }

    fn with(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Rejection {
        self.headers.push((name, value.into()));
        self
    }

    /// 400: the request is malformed; the connection is closed.
    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Rejection {
        Rejection { close: true, ..Rejection::new(StatusCode::BAD_REQUEST, message) }
    }

    /// 404: nothing is served under this path.
    pub(crate) fn not_found() -> Rejection {
        Rejection::new(StatusCode::NOT_FOUND, "Nothing is served here; check the path.")
    }

    /// 400: the bytes are no request of HTTP/1.1; the connection is closed.
    pub(crate) fn unreadable() -> Rejection {
        Rejection::bad_request(
            "The request is not valid HTTP/1.1 (RFC 9112). This port speaks HTTP without TLS; use http:// or ws://.",
        )
    }

    /// 408: the rest of a request did not arrive in time; the connection is closed.
    pub(crate) fn too_late() -> Rejection {
        let message = "The request took too long to arrive; connect again and send it at once.";
        Rejection { close: true, ..Rejection::new(StatusCode::REQUEST_TIMEOUT, message) }
    }

    /// 414: the target is too long; the connection is closed.
    pub(crate) fn target_too_long() -> Rejection {
        let message = "The target of the request is too long (limit 65,534 bytes); send a shorter one.";
        Rejection { close: true, ..Rejection::new(StatusCode::URI_TOO_LONG, message) }
    }

    /// 431: the head is too large, or has too many headers; the connection is closed.
    pub(crate) fn head_too_large() -> Rejection {
        let message = "The head of the request is too large (limit 256 KiB and 100 headers; 16 KiB at --admin); send \
                       fewer and shorter headers.";
        Rejection { close: true, ..Rejection::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, message) }
    }

    /// 421: the server does not answer for this host (RFC 9110 §15.5.20).
    pub(crate) fn misdirected(host: &str) -> Rejection {
        const MAX_CHARS: usize = 80;
        let shown: String = host.chars().take(MAX_CHARS).collect();
        let cut = if shown.len() < host.len() { "…" } else { "" };
        let message = format!(
            "This server does not answer for the host {shown}{cut}; use localhost or 127.0.0.1. \
             The operator can allow a host with --host."
        );
        Rejection::new(StatusCode::MISDIRECTED_REQUEST, message)
    }

    /// 405: the path exists, but only for these methods, as the `Allow` header lists them
    /// (RFC 9110 §15.5.6).
    pub(crate) fn method_not_allowed(allow: &'static str) -> Rejection {
        Rejection::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("The method is not allowed here; use {allow}."),
        )
        .with(ALLOW, HeaderValue::from_static(allow))
    }

    /// 426: an upgrade to `websocket` is required (RFC 9110 §15.5.22).
    fn upgrade_required(message: &'static str) -> Rejection {
        Rejection::new(StatusCode::UPGRADE_REQUIRED, message)
            .with(UPGRADE, HeaderValue::from_static("websocket"))
            .with(CONNECTION, HeaderValue::from_static("Upgrade"))
    }

    /// 501: the server does not support this kind of request (RFC 9220 §3).
    fn not_implemented(message: &'static str) -> Rejection {
        Rejection::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    /// 503: the server is full or shuts down; the client may retry after this many seconds.
    pub(crate) fn unavailable(retry_after_secs: u64) -> Rejection {
        let message = format!("The server is full or restarting. Retry in {retry_after_secs} s.");
        Rejection::new(StatusCode::SERVICE_UNAVAILABLE, message).with(RETRY_AFTER, retry_after_secs)
    }

    /// 401: there is no credential, or, with `is_wrong`, an invalid one (RFC 6750 §3). The answer does not
    /// say why it is invalid: that would help an attacker.
    pub(crate) fn unauthorized(is_wrong: bool) -> Rejection {
        let (message, challenge) = match is_wrong {
            false => (
                "A credential is needed; send Authorization: Bearer with a token, or offer bearer.TOKEN as a \
                 further subprotocol.",
                "Bearer",
            ),
            true => (
                "The credential is invalid or expired. Get a new one from the operator of this server.",
                "Bearer error=\"invalid_token\"",
            ),
        };
        Rejection::new(StatusCode::UNAUTHORIZED, message)
            .with(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }

    /// 403: the client may not do that.
    pub(crate) fn forbidden(message: impl Into<Cow<'static, str>>) -> Rejection {
        Rejection::new(StatusCode::FORBIDDEN, message)
    }

    /// 429: a limit of the client is reached; it may retry after this many seconds (RFC 6585 §4).
    pub(crate) fn too_many(message: &str, retry_after_secs: u64) -> Rejection {
        let message = format!("{message}; try again in {retry_after_secs} s.");
        Rejection::new(StatusCode::TOO_MANY_REQUESTS, message).with(RETRY_AFTER, retry_after_secs)
    }

    /// The answer: status, headers, and the sentence as plain text.
    pub fn response(&self) -> Response<String> {
        let mut response = Response::new(format!("{}\n", self.message));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.extend(self.headers.iter().cloned());
        if self.close {
            headers.append(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Decides whether this request opens a WebSocket, and with which of the server's `subprotocols`:
/// the first one the client offers that is among them (RFC 6455 §4.2).
///
/// Offers of unknown subprotocols and extensions are no error, and are never echoed: credentials
/// travel among them.
///
/// # Errors
///
/// The [`Rejection`] to answer with:
///
/// - 400 for what is malformed, for a request that contradicts itself, and for another version of HTTP
///   than 1.1, since none other has an `Upgrade` ([`accept_stream`] is for HTTP/2);
/// - 405 for any method but GET;
/// - 426 for a request that asks for no WebSocket, or for another version of it.
pub fn accept(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
    subprotocols: &[&'static str],
) -> Result<Accept, Rejection> {
    check_http(method, version, headers)?;
    check_upgrade(headers)?;
    if only(headers, &SEC_WEBSOCKET_VERSION) != Some(VERSION.as_bytes()) {
        // RFC 6455 §4.4: name the version that would do.
        return Err(Rejection::upgrade_required("Only WebSocket version 13 is spoken here (RFC 6455).")
            .with(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION)));
    }
    let key = only(headers, &SEC_WEBSOCKET_KEY)
        .filter(|key| KEYS.decode(key).is_ok_and(|bytes| bytes.len() == 16))
        .ok_or_else(|| {
            Rejection::bad_request("The handshake needs one Sec-WebSocket-Key header: 16 bytes in base64.")
        })?;
    Ok(Accept { subprotocol: choose(headers, subprotocols), key: Some(accept_key(key)) })
}

/// Decides the same of a request over HTTP/2, where a WebSocket is a stream that an extended CONNECT
/// opens (RFC 8441 §4 and §5): `protocol` and `authority` are its pseudo-headers of these names.
///
/// There is no `Upgrade`, no `Connection` and no key; the answer to a good one is 200. No refusal ends
/// the connection, for streams have an end of their own.
///
/// # Errors
///
/// The [`Rejection`] to answer with:
///
/// - 400 for what is malformed, and for another version of WebSocket, since 426 would have to name
///   an `Upgrade`, which HTTP/2 does not know (RFC 9113 §8.6);
/// - 405 for any method but CONNECT;
/// - 501 for a CONNECT that asks for anything but a WebSocket.
pub fn accept_stream(
    method: &Method,
    protocol: Option<&str>,
    authority: Option<&Authority>,
    headers: &HeaderMap,
    subprotocols: &[&'static str],
) -> Result<Accept, Rejection> {
    let malformed = |message| Rejection::new(StatusCode::BAD_REQUEST, message);
    if method != Method::CONNECT {
        return Err(Rejection {
            message: "Over HTTP/2 a WebSocket is opened by an extended CONNECT (RFC 8441); \
                      if a proxy is in between, let it send that, or speak HTTP/1.1 to this server."
                .into(),
            ..Rejection::method_not_allowed("CONNECT")
        });
    }
    if !protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket")) {
        return Err(Rejection::not_implemented("Only the protocol websocket can be connected to here."));
    }
    // Either says it, and where both do they agree (RFC 9113 §8.3.1).
    let host = only(headers, &HOST).and_then(|host| Authority::try_from(host).ok());
    let named = match (authority, &host) {
        (Some(authority), None) if !headers.contains_key(HOST) => Some(authority),
        (Some(authority), Some(host)) if host == authority => Some(authority),
        (None, host) => host.as_ref(),
        _ => None,
    };
    if named.is_none_or(|host| host.as_str().contains('@')) {
        return Err(malformed("The request needs one :authority with a host name in it."));
    }
    if headers.contains_key(CONTENT_LENGTH) && only(headers, &CONTENT_LENGTH) != Some(b"0") {
        return Err(malformed("A request for a WebSocket has no body; send it without one."));
    }
    if only(headers, &SEC_WEBSOCKET_VERSION) != Some(VERSION.as_bytes()) {
        return Err(malformed("Only WebSocket version 13 is spoken here (RFC 6455).")
            .with(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION)));
    }
    Ok(Accept { subprotocol: choose(headers, subprotocols), key: None })
}

/// The first subprotocol the client offers that the server knows.
fn choose(headers: &HeaderMap, subprotocols: &[&'static str]) -> Option<&'static str> {
    tokens(headers, &SEC_WEBSOCKET_PROTOCOL)
        .find_map(|offer| subprotocols.iter().copied().find(|name| name.as_bytes() == offer))
}

/// Checks the rules of HTTP for a request without a body (RFC 9112 §3.2 and §6, RFC 6455 §4.2.1).
fn check_http(method: &Method, version: Version, headers: &HeaderMap) -> Result<(), Rejection> {
    if version < Version::HTTP_11 {
        // RFC 9110 §7.8 has an `Upgrade` in HTTP/1.0 ignored, so there is no way on from here.
        return Err(Rejection::bad_request(
            "A WebSocket needs HTTP/1.1; if a proxy is in between, let it speak HTTP/1.1 to this server.",
        ));
    }
    if version > Version::HTTP_11 {
        // RFC 9113 §8.6.
        return Err(Rejection::new(
            StatusCode::BAD_REQUEST,
            "Upgrade belongs to HTTP/1.1; beyond it a WebSocket is opened by an extended CONNECT (RFC 8441).",
        ));
    }
    let host = only(headers, &HOST).and_then(|host| Authority::try_from(host).ok());
    if host.is_none_or(|host| host.as_str().contains('@')) {
        return Err(Rejection::bad_request("The request needs one Host header with a host name in it."));
    }
    if method != Method::GET {
        return Err(Rejection::method_not_allowed("GET"));
    }
    // `Content-Length: 0` announces no body, and the JDK's client sends it. Any other body would
    // stand where the first frame is expected.
    let length = headers.contains_key(CONTENT_LENGTH).then(|| only(headers, &CONTENT_LENGTH));
    if length.is_some_and(|length| length != Some(b"0")) || headers.contains_key(TRANSFER_ENCODING) {
        return Err(Rejection::bad_request("A request for a WebSocket has no body; send it without one."));
    }
    Ok(())
}

/// Checks that the request asks for an upgrade to `websocket` (RFC 6455 §4.2.1, RFC 9110 §7.8).
fn check_upgrade(headers: &HeaderMap) -> Result<(), Rejection> {
    let websocket = has_token(headers, &UPGRADE, "websocket");
    let connection = has_token(headers, &CONNECTION, "upgrade");
    let other = headers.contains_key(UPGRADE) && !websocket;
    let key = headers.contains_key(SEC_WEBSOCKET_KEY);
    match (websocket, connection) {
        (true, true) => Ok(()),
        (true, false) if key => Err(Rejection::bad_request(
            "The request says Upgrade: websocket but not Connection: Upgrade; send both, also through a proxy.",
        )),
        (false, true) if key && !other => Err(Rejection::bad_request(
            "The request says Connection: Upgrade but not Upgrade: websocket; send both, also through a proxy.",
        )),
        // With a key, this is a handshake that a proxy did not pass on as one.
        (false, false) if key => Err(Rejection::upgrade_required(
            "This is a WebSocket handshake without its Upgrade: websocket and Connection: Upgrade; \
             if a proxy is in between, let it pass them on.",
        )),
        _ => Err(Rejection::upgrade_required(
            "This address speaks WebSocket; open it with a WebSocket client.",
        )),
    }
}

/// The key of a client's handshake from 16 fresh random bytes (RFC 6455 §4.1).
pub fn generate_key(random: [u8; 16]) -> String {
    STANDARD.encode(random)
}

/// The head of a client's handshake (RFC 6455 §4.1). `host` is what the `Host` header carries,
/// with the port where it is not the default; `path` may have a query; `key` comes from
/// [`generate_key`] and is given again to [`verify`]; `subprotocols` are in order of preference.
///
/// # Errors
///
/// An argument cannot stand in a request.
pub fn request(
    host: &str,
    path: &str,
    key: &str,
    subprotocols: &[&str],
) -> Result<Request<()>, hyper::http::Error> {
    let mut request = Request::get(path)
        .header(HOST, host)
        .header(UPGRADE, "websocket")
        .header(CONNECTION, "Upgrade")
        .header(SEC_WEBSOCKET_KEY, key)
        .header(SEC_WEBSOCKET_VERSION, VERSION);
    if !subprotocols.is_empty() {
        request = request.header(SEC_WEBSOCKET_PROTOCOL, subprotocols.join(", "));
    }
    request.body(())
}

/// Checks the server's answer to a handshake with this key and these offers. Returns the subprotocol that
/// the server chose, if any (RFC 6455 §4.1).
///
/// # Errors
///
/// The server refused, or its answer is invalid.
pub fn verify(
    key: &str,
    status: StatusCode,
    headers: &HeaderMap,
    offered: &[&str],
) -> Result<Option<String>, Refused> {
    let refused = |reason: &'static str| Err(Refused { status, reason: reason.into(), retry_after: None });
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let seconds =
            only(headers, &RETRY_AFTER).and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
        return Err(Refused {
            status,
            reason: "the server opened no WebSocket".into(),
            retry_after: seconds.map(Duration::from_secs),
        });
    }
    if !has_token(headers, &UPGRADE, "websocket") || !has_token(headers, &CONNECTION, "upgrade") {
        return refused("the answer does not switch to websocket");
    }
    if only(headers, &SEC_WEBSOCKET_ACCEPT) != Some(accept_key(key.as_bytes()).as_bytes()) {
        return refused("the accept key does not belong to this handshake");
    }
    if headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return refused("the server uses an extension that was not offered");
    }
    if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        return Ok(None);
    }
    let chosen = only(headers, &SEC_WEBSOCKET_PROTOCOL);
    match offered.iter().find(|name| Some(name.as_bytes()) == chosen) {
        Some(name) => Ok(Some((*name).to_owned())),
        None => refused("the server chose a subprotocol that was not offered"),
    }
}

/// The reason for which a client's handshake failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Status of the answer; 101 if the answer itself was invalid.
    pub status: StatusCode,
    /// Time after which the server wants to be asked again (`Retry-After` in seconds).
    pub retry_after: Option<Duration>,
    reason: Cow<'static, str>,
}

impl Refused {
    /// The same refusal, with the sentence of the server as its reason: the first line of the body, without
    /// control characters. Stays as it is if there is no such line.
    pub(crate) fn saying(self, body: &[u8]) -> Refused {
        const MAX_CHARS: usize = 500;
        let body = String::from_utf8_lossy(body);
        let line = body.trim().lines().next().unwrap_or_default();
        let sentence: String = line.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect();
        match sentence.is_empty() {
            true => self,
            false => Refused { reason: sentence.into(), ..self },
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "handshake failed with status {}: {}", self.status, self.reason)
    }
}

impl std::error::Error for Refused {}

/// The proof that the server understood the key (RFC 6455 §4.2.2).
fn accept_key(key: &[u8]) -> HeaderValue {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    HeaderValue::try_from(STANDARD.encode(digest)).expect("base64 is made of visible ASCII")
}

/// The value of a header that must not be repeated; `None` if it is missing or repeated.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then(|| first.as_bytes())
}

/// The elements of a list that may be spread over repeated headers (RFC 9110 §5.6.1).
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).into_iter();
    values.flat_map(|value| value.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
}

/// True if such a list contains this token; case is ignored.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn headers(lines: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            let (name, value) = line.trim().split_once(':').unwrap();
            headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value.trim()).unwrap());
        }
        headers
    }

    /// The handshake of RFC 6455 §1.3, without the headers that `without` begins, with more lines.
    fn sample(without: &[&str], more: &str) -> HeaderMap {
        let lines = [
            "Host: server.example.com",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        ];
        let kept = lines.into_iter().filter(|line| !without.iter().any(|name| line.starts_with(name)));
        headers(&format!("{}\n{more}", kept.collect::<Vec<_>>().join("\n")))
    }

    fn get(headers: &HeaderMap) -> Result<Accept, Rejection> {
        accept(&Method::GET, Version::HTTP_11, headers, &["aloud.v1"])
    }

    #[test]
    fn accepts() {
        let none: &[&str] = &[];
        for (name, without, more, subprotocol) in [
            ("as in the RFC", none, "", None),
            (
                "mixed case",
                &["Upgrade", "Connection"],
                "Upgrade: WebSocket\nConnection: keep-alive, UPGRADE",
                None,
            ),
            ("lists over lines", &["Connection"], "Connection: keep-alive\nConnection: x,Upgrade ,y", None),
            ("one of several upgrades", &["Upgrade"], "Upgrade: h2c, websocket", None),
            ("upgrades over lines", &["Upgrade"], "Upgrade: h2c\nUpgrade: websocket", None),
            ("empty elements", &["Connection"], "Connection: , ,Upgrade,", None),
            ("no body, said so", none, "Content-Length: 0", None),
            ("port", &["Host"], "Host: [::1]:8080", None),
            (
                "unused bits of the key",
                &["Sec-WebSocket-Key"],
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==",
                None,
            ),
            ("extension", none, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", None),
            ("offered", none, "Sec-WebSocket-Protocol: aloud.v1, bearer.xyz", Some("aloud.v1")),
            (
                "offered later",
                none,
                "Sec-WebSocket-Protocol: chat\nSec-WebSocket-Protocol: b.c,aloud.v1",
                Some("aloud.v1"),
            ),
            ("unknown", none, "Sec-WebSocket-Protocol: bearer.xyz, Aloud.V1, aloud.v10", None),
        ] {
            let accepted = get(&sample(without, more)).unwrap_or_else(|r| panic!("{name}: {r:?}"));
            assert_eq!(accepted.subprotocol, subprotocol, "{name}");
        }
    }

    #[test]
    fn the_client_prefers() {
        let offer = sample(&[], "Sec-WebSocket-Protocol: b, a");
        let accepted = accept(&Method::GET, Version::HTTP_11, &offer, &["a", "b"]).unwrap();
        assert_eq!(accepted.subprotocol, Some("b"));
    }

    #[test]
    fn answers_with_nothing_but_what_was_chosen() {
        let response = get(&sample(&[], "Sec-WebSocket-Protocol: bearer.xyz")).unwrap().response();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let expected = headers(
            "Upgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        );
        assert_eq!(response.headers(), &expected);
        let response = get(&sample(&[], "Sec-WebSocket-Protocol: bearer.xyz, aloud.v1")).unwrap().response();
        assert_eq!(response.headers()[SEC_WEBSOCKET_PROTOCOL], "aloud.v1");
    }

    #[test]
    fn rejects() {
        let none: &[&str] = &[];
        let key = &["Sec-WebSocket-Key"][..];
        let version = &["Sec-WebSocket-Version"][..];
        let plain = &["Upgrade", "Connection", "Sec-WebSocket"][..];
        for (name, without, more, status) in [
            ("plain", plain, "", 426),
            ("h2c", plain, "Upgrade: h2c\nConnection: Upgrade, HTTP2-Settings", 426),
            ("h2c with a key", &["Upgrade"], "Upgrade: h2c", 426),
            ("upgrade alone", &["Connection", "Sec-WebSocket"], "", 426),
            ("connection alone", &["Upgrade", "Sec-WebSocket"], "", 426),
            ("hop-by-hop headers lost", &["Upgrade", "Connection"], "", 426),
            ("key without connection", &["Connection"], "", 400),
            ("key, connection without upgrade in it", &["Connection"], "Connection: keep-alive", 400),
            ("key without upgrade", &["Upgrade"], "", 400),
            ("longer token", &["Upgrade"], "Upgrade: websockets", 426),
            ("no version", version, "", 426),
            ("version 8", version, "Sec-WebSocket-Version: 8", 426),
            ("version 99", version, "Sec-WebSocket-Version: 99", 426),
            ("version 013", version, "Sec-WebSocket-Version: 013", 426),
            ("two versions", none, "Sec-WebSocket-Version: 8", 426),
            ("no key", key, "", 400),
            ("empty key", key, "Sec-WebSocket-Key:", 400),
            ("two keys", none, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", 400),
            ("15 bytes", key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j", 400),
            ("17 bytes", key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWU=", 400),
            ("no base64", key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!Q==", 400),
            ("url alphabet", key, "Sec-WebSocket-Key: __hlIHNhbXBsZSBub25jZQ==", 400),
            ("no padding", key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ", 400),
            ("half the padding", key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=", 400),
            ("space in the key", key, "Sec-WebSocket-Key: dGhlIHNhbXBs ZSBub25jZQ==", 400),
            ("no host", &["Host"], "", 400),
            ("empty host", &["Host"], "Host:", 400),
            ("two hosts", none, "Host: server.example.com", 400),
            ("user in the host", &["Host"], "Host: me@server.example.com", 400),
            ("no host name", &["Host"], "Host: a b", 400),
            ("body", none, "Content-Length: 5", 400),
            ("padded length", none, "Content-Length: 00", 400),
            ("signed length", none, "Content-Length: +0", 400),
            ("two lengths", none, "Content-Length: 0\nContent-Length: 0", 400),
            ("list of lengths", none, "Content-Length: 0, 0", 400),
            ("chunked", none, "Transfer-Encoding: chunked", 400),
            ("identity", none, "Transfer-Encoding: identity", 400),
        ] {
            let Err(rejection) = get(&sample(without, more)) else { panic!("{name}: accepted") };
            assert_eq!(rejection.status, status, "{name}: {}", rejection.message);
            assert_eq!(rejection.close, status == 400, "{name}");
            let response = rejection.response();
            let upgrade = response.headers().get(UPGRADE).map(HeaderValue::as_bytes);
            assert_eq!(upgrade, (status == 426).then_some(&b"websocket"[..]), "{name}");
            assert!(has_token(
                response.headers(),
                &CONNECTION,
                if status == 426 { "upgrade" } else { "close" }
            ));
            let names_a_version = response.headers().contains_key(SEC_WEBSOCKET_VERSION);
            assert_eq!(names_a_version, name.contains("version"), "{name}");
            assert!(response.body().ends_with(".\n"), "{name}: {}", response.body());
        }
    }

    #[test]
    fn asks_for_get_over_http_1_1() {
        for method in [Method::HEAD, Method::POST, Method::PUT, Method::OPTIONS, Method::CONNECT] {
            let rejection =
                accept(&method, Version::HTTP_11, &sample(&[], "Content-Length: 5"), &[]).unwrap_err();
            assert_eq!(
                (rejection.status, rejection.close),
                (StatusCode::METHOD_NOT_ALLOWED, false),
                "{method}"
            );
            assert_eq!(rejection.response().headers()[ALLOW], "GET");
        }
        let rejection = accept(&Method::GET, Version::HTTP_10, &sample(&[], ""), &[]).unwrap_err();
        assert_eq!((rejection.status, rejection.close), (StatusCode::BAD_REQUEST, true));
        for version in [Version::HTTP_2, Version::HTTP_3] {
            let rejection = accept(&Method::GET, version, &sample(&[], ""), &[]).unwrap_err();
            assert_eq!((rejection.status, rejection.close), (StatusCode::BAD_REQUEST, false), "{version:?}");
        }
    }

    /// The handshake of RFC 8441 §5.1, without the headers that `without` begins, with more lines.
    fn connect(authority: &str, without: &[&str], more: &str) -> Result<Accept, Rejection> {
        let lines = [
            "Sec-WebSocket-Protocol: chat, superchat",
            "Sec-WebSocket-Extensions: permessage-deflate",
            "Sec-WebSocket-Version: 13",
            "Origin: http://www.example.com",
        ];
        let kept = lines.into_iter().filter(|line| !without.iter().any(|name| line.starts_with(name)));
        let headers = headers(&format!("{}\n{more}", kept.collect::<Vec<_>>().join("\n")));
        let authority = (!authority.is_empty()).then(|| Authority::try_from(authority).unwrap());
        accept_stream(&Method::CONNECT, Some("websocket"), authority.as_ref(), &headers, &["superchat"])
    }

    #[test]
    fn accepts_streams() {
        let none: &[&str] = &[];
        let protocol = &["Sec-WebSocket-Protocol"][..];
        let host = "server.example.com";
        for (name, authority, without, more, subprotocol) in [
            ("as in the RFC", host, none, "", Some("superchat")),
            ("nothing offered", host, protocol, "", None),
            ("unknown", host, protocol, "Sec-WebSocket-Protocol: bearer.xyz", None),
            ("a host that agrees", host, protocol, "Host: Server.Example.Com", None),
            ("only a host", "", protocol, "Host: server.example.com:80", None),
            ("no body, said so", host, protocol, "Content-Length: 0", None),
            ("a key, which means nothing", host, protocol, "Sec-WebSocket-Key: x", None),
        ] {
            let accepted = connect(authority, without, more).unwrap_or_else(|r| panic!("{name}: {r:?}"));
            assert_eq!(accepted.subprotocol, subprotocol, "{name}");
            let response = accepted.response();
            assert_eq!(response.status(), StatusCode::OK, "{name}");
            let expected = subprotocol.map_or(String::new(), |it| format!("Sec-WebSocket-Protocol: {it}"));
            assert_eq!(response.headers(), &headers(&expected), "{name}");
        }
    }

    #[test]
    fn rejects_streams() {
        let none: &[&str] = &[];
        let version = &["Sec-WebSocket-Version"][..];
        let host = "server.example.com";
        for (name, authority, without, more, status) in [
            ("no version", host, version, "", 400),
            ("version 8", host, version, "Sec-WebSocket-Version: 8", 400),
            ("two versions", host, none, "Sec-WebSocket-Version: 13", 400),
            ("no authority", "", none, "", 400),
            ("user in the authority", "me@server.example.com", none, "", 400),
            ("another host", host, none, "Host: other.example.com", 400),
            ("two hosts", host, none, "Host: server.example.com\nHost: server.example.com", 400),
            ("no host name", host, none, "Host: a b", 400),
            ("body", host, none, "Content-Length: 5", 400),
            ("two lengths", host, none, "Content-Length: 0\nContent-Length: 0", 400),
        ] {
            let Err(rejection) = connect(authority, without, more) else { panic!("{name}: accepted") };
            assert_eq!((rejection.status.as_u16(), rejection.close), (status, false), "{name}");
            let response = rejection.response();
            let names_a_version = response.headers().contains_key(SEC_WEBSOCKET_VERSION);
            assert_eq!(names_a_version, name.contains("version"), "{name}");
            assert!(response.body().ends_with(".\n"), "{name}: {}", response.body());
        }
        let authority = Authority::from_static("a");
        for (method, protocol, status) in [
            (Method::GET, None, 405),
            (Method::HEAD, None, 405),
            (Method::POST, None, 405),
            (Method::CONNECT, None, 501),
            (Method::CONNECT, Some("connect-udp"), 501),
        ] {
            let rejection =
                accept_stream(&method, protocol, Some(&authority), &sample(&[], ""), &[]).unwrap_err();
            assert_eq!(rejection.status, status, "{method} {protocol:?}");
            let response = rejection.response();
            assert_eq!(response.headers().get(ALLOW).is_some_and(|it| it == "CONNECT"), status == 405);
            assert!(
                !response.headers().contains_key(UPGRADE) && !response.headers().contains_key(CONNECTION)
            );
        }
    }

    #[test]
    fn says_when_to_come_back() {
        let response = Rejection::unavailable(7).response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "7");
        assert_eq!(Rejection::not_found().response().status(), StatusCode::NOT_FOUND);
        let response = Rejection::too_many("You have too many", 2).response();
        assert_eq!(
            (response.status(), &response.headers()[RETRY_AFTER]),
            (StatusCode::TOO_MANY_REQUESTS, &HeaderValue::from(2))
        );
        for (is_wrong, challenge) in [(false, "Bearer"), (true, "Bearer error=\"invalid_token\"")] {
            let response = Rejection::unauthorized(is_wrong).response();
            assert_eq!(
                (response.status(), &response.headers()[WWW_AUTHENTICATE]),
                (StatusCode::UNAUTHORIZED, &HeaderValue::from_static(challenge))
            );
        }
    }

    #[test]
    fn the_two_roles_agree() {
        assert_eq!(generate_key(*b"the sample nonce"), KEY);
        let offers = ["bearer.xyz", "aloud.v1"];
        for offered in [&offers[..], &offers[..1], &[]] {
            let request = request("server.example.com:80", "/chat?a=b", KEY, offered).unwrap();
            assert_eq!(request.uri(), "/chat?a=b");
            let accepted =
                accept(request.method(), request.version(), request.headers(), &["aloud.v1"]).unwrap();
            let (head, ()) = accepted.response().into_parts();
            let chosen = verify(KEY, head.status, &head.headers, offered).unwrap();
            assert_eq!(chosen.as_deref(), accepted.subprotocol);
        }
        assert!(request("a\nb", "/", KEY, &[]).is_err());
        assert!(request("a", "/ HTTP/1.1", KEY, &[]).is_err());
    }

    #[test]
    fn a_client_goes_on_from_a_proper_answer_only() {
        let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        let switch = "Upgrade: WebSocket\nConnection: upgrade";
        let protocol = "Sec-WebSocket-Protocol";
        for (status, lines, expected) in [
            (101, format!("{switch}\n{accept}"), Ok(None)),
            (101, format!("{switch}\n{accept}\n{protocol}: b"), Ok(Some("b".to_owned()))),
            (200, format!("{switch}\n{accept}"), Err("200 OK: the server opened no WebSocket")),
            (503, String::new(), Err("503 Service Unavailable: the server opened no WebSocket")),
            (101, accept.to_owned(), Err("101 Switching Protocols: the answer does not switch to websocket")),
            (101, format!("Upgrade: websocket\n{accept}"), Err("does not switch to websocket")),
            (101, format!("Connection: Upgrade\n{accept}"), Err("does not switch to websocket")),
            (101, switch.to_owned(), Err("the accept key does not belong")),
            (101, format!("{switch}\n{accept}\n{accept}"), Err("the accept key does not belong")),
            (
                101,
                format!("{switch}\nSec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
                Err("the accept key"),
            ),
            (
                101,
                format!("{switch}\n{accept}\nSec-WebSocket-Extensions: x"),
                Err("an extension that was not"),
            ),
            (101, format!("{switch}\n{accept}\n{protocol}: c"), Err("a subprotocol that was not offered")),
            (
                101,
                format!("{switch}\n{accept}\n{protocol}: a\n{protocol}: b"),
                Err("a subprotocol that was not"),
            ),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let answer = verify(KEY, status, &headers(&lines), &["a", "b"]).map_err(|e| e.to_string());
            match (answer, expected) {
                (Ok(chosen), Ok(expected)) => assert_eq!(chosen, expected, "{lines}"),
                (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
                (answer, expected) => panic!("{lines}: {answer:?}, not {expected:?}"),
            }
        }
    }
}
