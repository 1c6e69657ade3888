//! The check of a page's origin: the `Origin` of a request (RFC 6454, RFC 6455 §10.2).
//!
//! A browser sends the true origin of a page, and lets any page connect to any server. Without this check, a
//! page could use a server that only its visitor's machine can reach. Other clients can send any origin: the
//! check does not stop them and is not meant to.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

/// An allowed origin: `https://app.example`, `http://localhost:3000`, `null`, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowOrigin {
    /// `*`: every origin.
    Any,
    /// `null`: pages without an origin, such as files and sandboxed frames.
    Null,
    /// Exactly this scheme, host and port.
    Exact(Origin),
}

/// Scheme, host and port of a page, in lower case, without the scheme's default port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: Box<str>,
    host: Box<str>,
    port: Option<u16>,
}

/// Error: a text is not an [`AllowOrigin`]. One sentence says what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidOrigin(&'static str);

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InvalidOrigin {}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// Origins that were refused, to name each of them once.
#[derive(Default)]
pub(super) struct RefusedOrigins(Mutex<Vec<String>>);

impl RefusedOrigins {
    /// Most origins that are remembered. Further ones are not new.
    const MOST: usize = 100;

    /// True if the text is an origin, and this is its first refusal.
    pub(super) fn is_new(&self, origin: &str) -> bool {
        // A host name has at most 253 characters.
        if origin.len() > 300 || !matches!(origin.parse(), Ok(AllowOrigin::Exact(_) | AllowOrigin::Null)) {
            return false;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = known.len() < Self::MOST && !known.iter().any(|known| known == origin);
        if is_new {
            known.push(origin.to_owned());
        }
        is_new
    }
}

/// Splits an authority into its host and its port, if it has one.
pub(super) fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let end = if authority.starts_with('[') { authority.find(']')? + 1 } else { 0 };
    let (host, port) = match authority[end..].find(':') {
        Some(at) => (&authority[..end + at], Some(&authority[end + at + 1..])),
        None => (authority, None),
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%[]:".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_host) || end != 0 && host.len() != end {
        return None;
    }
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
        Some(_) => return None,
    };
    Some((host.to_ascii_lowercase(), port))
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Origin, InvalidOrigin> {
        let Some((scheme, authority)) = text.split_once("://") else {
            return Err(InvalidOrigin("the scheme is missing; write https://HOST or http://HOST:PORT"));
        };
        let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if scheme.is_empty() || !scheme.bytes().all(is_scheme) {
            return Err(InvalidOrigin("the scheme is invalid; write https://HOST or http://HOST:PORT"));
        }
        if authority.contains(['/', '?', '#']) {
            return Err(InvalidOrigin("an origin ends with its host and port; remove the path"));
        }
        let Some((host, port)) = host_and_port(authority) else {
            return Err(InvalidOrigin("the host or port is invalid; write https://HOST or http://HOST:PORT"));
        };
        let scheme = scheme.to_ascii_lowercase();
        let port = port.filter(|port| Some(*port) != default_port(&scheme));
        Ok(Origin { scheme: scheme.into(), host: host.into(), port })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl Origin {
    /// True if a page of this origin was loaded from this `Host`. The scheme is the origin's own: a proxy may
    /// have removed TLS.
    fn is_at(&self, host: &str) -> bool {
        let Some((host, port)) = host_and_port(host) else { return false };
        let port = port.or(default_port(&self.scheme));
        *host == *self.host && port == self.port.or(default_port(&self.scheme))
    }
}

impl FromStr for AllowOrigin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<AllowOrigin, InvalidOrigin> {
        match text {
            "*" => Ok(AllowOrigin::Any),
            "null" => Ok(AllowOrigin::Null),
            origin => origin.parse().map(AllowOrigin::Exact),
        }
    }
}

impl fmt::Display for AllowOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AllowOrigin::Any => f.write_str("*"),
            AllowOrigin::Null => f.write_str("null"),
            AllowOrigin::Exact(origin) => origin.fmt(f),
        }
    }
}

/// True if a request with these `Origin` headers may connect.
///
/// A request without an origin may: it does not come from a page. Without rules, a page from one of `hosts`
/// may; these are the hosts that the request named.
pub(crate) fn is_allowed<'a>(
    rules: &[AllowOrigin],
    mut origins: impl Iterator<Item = &'a [u8]>,
    hosts: &[&str],
) -> bool {
    let Some(origin) = origins.next() else { return true };
    if rules.contains(&AllowOrigin::Any) {
        return true;
    }
    let is_only = origins.next().is_none();
    let Some(origin) = std::str::from_utf8(origin).ok().filter(|_| is_only) else { return false };
    if origin == "null" {
        return rules.contains(&AllowOrigin::Null);
    }
    let Ok(origin) = origin.parse::<Origin>() else { return false };
    match rules {
        [] => hosts.iter().any(|host| origin.is_at(host)),
        rules => rules.iter().any(|rule| matches!(rule, AllowOrigin::Exact(allowed) if *allowed == origin)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(rules: &[&str], origins: &[&str], hosts: &[&str]) -> bool {
        let rules: Vec<AllowOrigin> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        is_allowed(&rules, origins.iter().map(|origin| origin.as_bytes()), hosts)
    }

    #[test]
    fn page_of_the_same_host_is_allowed() {
        for (origin, host, expected) in [
            ("http://a.example", "a.example", true),
            ("https://a.example", "a.example", true),
            ("http://a.example", "A.Example:80", true),
            ("http://A.EXAMPLE:80", "a.example", true),
            ("https://a.example", "a.example:443", true),
            ("https://a.example:443", "a.example", true),
            ("https://a.example", "a.example:80", false),
            ("http://a.example", "a.example:443", false),
            ("http://a.example:8080", "a.example:8080", true),
            ("http://a.example:8080", "a.example", false),
            ("http://a.example", "a.example:8080", false),
            ("http://127.0.0.1:8080", "127.0.0.1:8080", true),
            ("http://localhost:8080", "127.0.0.1:8080", false),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://[::1]", "[::1]:80", true),
            ("http://[::1]", "[::1]x", false),
            ("http://b.example", "a.example", false),
            ("http://a.example.evil", "a.example", false),
            ("http://evil.a.example", "a.example", false),
            ("http://a.example@evil", "a.example", false),
            ("http://a.example/", "a.example", false),
            ("null", "a.example", false),
            ("", "a.example", false),
            ("a.example", "a.example", false),
            ("://a.example", "a.example", false),
            ("http://", "a.example", false),
            ("http://a.example:99999", "a.example", false),
            ("http://a.example:+80", "a.example", false),
            ("app://a.example", "a.example", true),
        ] {
            assert_eq!(allows(&[], &[origin], &[host]), expected, "{origin} at {host}");
        }
        assert!(allows(&[], &[], &["a.example"]), "not a page");
        assert!(!allows(&[], &["http://a", "http://a"], &["a"]), "two origins");
        assert!(allows(&[], &["https://a.example"], &["10.0.0.1:8080", "a.example"]), "behind a proxy");
        assert!(!is_allowed(&[], [&b"http://a\xff"[..]].into_iter(), &["a"]));
    }

    #[test]
    fn listed_origins_alone_are_allowed() {
        let rules = &["https://app.example", "http://localhost:3000"];
        for (origin, expected) in [
            ("https://app.example", true),
            ("HTTPS://App.Example:443", true),
            ("https://app.example:8443", false),
            ("http://app.example", false),
            ("http://localhost:3000", true),
            ("http://localhost:30000", false),
            ("http://localhost", false),
            ("https://here.example", false),
            ("null", false),
        ] {
            assert_eq!(allows(rules, &[origin], &["here.example"]), expected, "{origin}");
        }
        assert!(allows(rules, &[], &["here.example"]), "not a page");
        assert!(allows(&["null"], &["null"], &[]));
        for origin in ["null", "http://x", "\u{fc}", ""] {
            assert!(allows(&["https://a", "*"], &[origin, origin], &[]), "{origin}");
        }
    }

    #[test]
    fn a_refused_origin_is_new_once_and_a_hundred_are_remembered() {
        let refused = RefusedOrigins::default();
        for origin in ["https://a.example", "http://a.example", "null"] {
            assert!(refused.is_new(origin) && !refused.is_new(origin), "{origin}");
        }
        for origin in ["*", "", "a.example", "https://a b", "https://a.example/x", &"x".repeat(400)] {
            assert!(!refused.is_new(origin), "{origin}");
        }
        assert_eq!((0..200).filter(|n| refused.is_new(&format!("https://{n}.example"))).count(), 97);
    }

    #[test]
    fn rules_parse_and_print_the_same() {
        for text in
            ["*", "null", "https://a.example", "http://a:8080", "http://[::1]:1", "chrome-extension://ab"]
        {
            assert_eq!(text.parse::<AllowOrigin>().unwrap().to_string(), text);
        }
        assert_eq!("HTTP://A.b:80".parse::<AllowOrigin>().unwrap().to_string(), "http://a.b");
        for (text, expected) in [
            ("a.example", "the scheme is missing"),
            ("", "the scheme is missing"),
            ("https://a.example/", "remove the path"),
            ("https://*.example", "the host or port is invalid"),
            ("https://a:b", "the host or port is invalid"),
            ("https://", "the host or port is invalid"),
            ("h tp://a", "the scheme is invalid"),
        ] {
            let error = text.parse::<AllowOrigin>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?} gave {error:?}");
        }
    }
}
