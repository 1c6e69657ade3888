//! The check of a request's host: the authority of its target, or else its `Host` (RFC 9112 §3.2).
//!
//! A page can make its own name resolve to 127.0.0.1 (DNS rebinding). Its browser then takes the server for the
//! page's own, and the origin agrees with the host. Only the name shows the difference: a browser sends the one
//! that it has looked up. A server that only this machine can reach therefore answers for names of this machine
//! and for names that its operator lists.

use super::origin::host_and_port;
use hyper::http::uri::Authority;
use hyper::{HeaderMap, Uri, Version, header::HOST};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A host that a server answers for: a name such as `speech.example.com`, an address, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowHost {
    /// `*`: every host.
    Any,
    /// Exactly this name or address, with any port. Case does not matter. An IPv6 address stands in brackets.
    Exact(Box<str>),
}

/// Error: a text is not an [`AllowHost`]. One sentence says what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHost(&'static str);

impl fmt::Display for InvalidHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InvalidHost {}

impl FromStr for AllowHost {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<AllowHost, InvalidHost> {
        if text == "*" {
            return Ok(AllowHost::Any);
        }
        if text.contains("//") {
            return Err(InvalidHost("leave out the scheme; write speech.example.com"));
        }
        if text.contains('/') {
            return Err(InvalidHost("leave out the path; write speech.example.com"));
        }
        if text.contains('*') {
            return Err(InvalidHost("there are no patterns; write each name, or * alone for every host"));
        }
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok(AllowHost::Exact(format!("[{address}]").into()));
        }
        match host_and_port(text) {
            Some((host, None)) => Ok(AllowHost::Exact(bare(&host).into())),
            Some((_, Some(_))) => Err(InvalidHost("leave out the port; the server answers for every port")),
            None => Err(InvalidHost(
                "this is no host name; write speech.example.com, and other scripts as in a URL (xn--…)",
            )),
        }
    }
}

impl fmt::Display for AllowHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AllowHost::Any => "*",
            AllowHost::Exact(host) => host,
        })
    }
}

/// Error: a request names no host, or several, or an invalid one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unnamed;

/// Returns the authority that a request is for: that of its target, if it has one, or else its `Host`
/// (RFC 9112 §3.2.2, RFC 9113 §8.3.1). `None` for a request of HTTP/1.0 without either.
///
/// # Errors
/// The request must have exactly one valid host. Over HTTP/2, target and `Host` must agree.
pub(crate) fn named<'a>(
    version: Version,
    target: &'a Uri,
    headers: &'a HeaderMap,
) -> Result<Option<&'a str>, Unnamed> {
    let mut values = headers.get_all(HOST).iter();
    let host = values.next();
    if values.next().is_some() {
        return Err(Unnamed);
    }
    let host = match host {
        None => None,
        Some(value) => {
            let text = value.to_str().map_err(|_| Unnamed)?;
            let authority = Authority::try_from(text).map_err(|_| Unnamed)?;
            host_and_port(text).ok_or(Unnamed)?;
            Some((text, authority))
        }
    };
    let authority = target.authority();
    if authority.is_some_and(|authority| host_and_port(authority.as_str()).is_none()) {
        return Err(Unnamed);
    }
    match (authority, host) {
        (Some(authority), Some((_, host))) if version >= Version::HTTP_2 && host != *authority => {
            Err(Unnamed)
        }
        // RFC 9112 §3.2 requires it beside an authority, too.
        (Some(_), None) if version == Version::HTTP_11 => Err(Unnamed),
        (Some(authority), _) => Ok(Some(authority.as_str())),
        (None, Some((host, _))) => Ok(Some(host)),
        (None, None) if version >= Version::HTTP_11 => Err(Unnamed),
        (None, None) => Ok(None),
    }
}

/// True if a server that only this machine can reach answers for this authority.
pub(crate) fn is_allowed(allowed: &[AllowHost], authority: &str) -> bool {
    let Some((host, _)) = host_and_port(authority) else { return false };
    let host = bare(&host);
    is_loopback(host)
        || allowed.iter().any(|allowed| match allowed {
            AllowHost::Any => true,
            AllowHost::Exact(name) => is_same(bare(name), host),
        })
}

/// The name without the dot that marks its end.
fn bare(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

fn is_same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) || address(one).is_some_and(|one| Some(one) == address(other))
}

/// True for names and addresses that always mean this machine (RFC 6761 §6.3). Short and numeric forms of
/// addresses are not among them: browsers write them out before they send them.
fn is_loopback(host: &str) -> bool {
    let is_below = |name: &str| name.strip_suffix(".localhost").is_some_and(|below| !below.is_empty());
    host == "localhost" || is_below(host) || address(host).is_some_and(|address| address.is_loopback())
}

fn address(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(rest) => {
            rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(|address| IpAddr::V6(address).to_canonical())
        }
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn hosts(list: &[&str]) -> Vec<AllowHost> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn names_of_this_machine_are_allowed() {
        for host in [
            "localhost",
            "LocalHost",
            "localhost.",
            "localhost:8080",
            "localhost.:80",
            "app.localhost",
            "a.b.localhost:1",
            "127.0.0.1",
            "127.0.0.1:8080",
            "127.255.0.9",
            "127.0.0.1.",
            "[::1]",
            "[::1]:8080",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]:80",
        ] {
            assert!(is_allowed(&[], host), "{host}");
        }
        for host in [
            "",
            ":80",
            ".",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1.nip.io",
            "evil-localhost",
            "xlocalhost",
            ".localhost",
            "localhost..",
            "127.1",
            "0x7f.0.0.1",
            "2130706433",
            "0177.0.0.1",
            "0.0.0.0",
            "[::]",
            "[::2]",
            "[::1%25lo]",
            "::1",
            "[127.0.0.1]",
            "10.0.0.1",
            "128.0.0.1",
            "[fe80::1]",
            "evil.example@localhost",
            "localhost@evil.example",
            "localhost:80:80",
            "localhost:x",
            "[::1]x",
            "localhost evil",
            "localhost,evil.example",
            "local\u{200b}host",
        ] {
            assert!(!is_allowed(&[], host), "{host}");
        }
    }

    #[test]
    fn listed_hosts_are_allowed_too() {
        let listed = hosts(&["Speech.Example.com", "b.example.", "192.0.2.7", "[2001:DB8::7]"]);
        for host in [
            "speech.example.com",
            "SPEECH.EXAMPLE.COM:443",
            "speech.example.com.",
            "b.example",
            "b.example.:1",
            "192.0.2.7:80",
            "[2001:db8::7]",
            "[2001:db8:0::7]:80",
            "localhost",
            "127.0.0.1:80",
        ] {
            assert!(is_allowed(&listed, host), "{host}");
        }
        for host in [
            "example.com",
            "x.speech.example.com",
            "speech.example.com.evil",
            "evil-speech.example.com",
            "192.0.2.8",
            "[2001:db8::8]",
            "speech.example.com:x",
        ] {
            assert!(!is_allowed(&listed, host), "{host}");
        }
        assert!(is_allowed(&[AllowHost::Any], "evil.example"));
        assert!(is_allowed(&[AllowHost::Exact("Made.Example".into())], "made.example"));
    }

    #[test]
    fn hosts_parse_and_print_the_same() {
        for (text, printed) in [
            ("*", "*"),
            ("a.example", "a.example"),
            ("A.Example.", "a.example"),
            ("10.0.0.1", "10.0.0.1"),
            ("::1", "[::1]"),
            ("[2001:db8::1]", "[2001:db8::1]"),
        ] {
            let host: AllowHost = text.parse().unwrap();
            assert_eq!((host.to_string(), printed.parse()), (printed.to_owned(), Ok(host)));
        }
        for (text, expected) in [
            ("", "no host name"),
            ("https://a.example", "leave out the scheme"),
            ("a.example/x", "leave out the path"),
            ("a.example:80", "leave out the port"),
            ("*.example", "no patterns"),
            ("a b", "no host name"),
            ("me@a.example", "no host name"),
            ("b\u{fc}cher.example", "xn--"),
        ] {
            let error = text.parse::<AllowHost>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?} gave {error:?}");
        }
    }

    #[test]
    fn authority_of_the_target_comes_before_the_host() {
        let (v10, v11, v2) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
        for (version, target, lines, expected) in [
            (v11, "/", &["a"][..], Ok(Some("a"))),
            (v11, "/", &["[::1]:80"], Ok(Some("[::1]:80"))),
            (v11, "http://b/", &["a"], Ok(Some("b"))),
            (v11, "http://B:81/x", &["a"], Ok(Some("B:81"))),
            (v11, "b:443", &["a"], Ok(Some("b:443"))),
            (v10, "/", &[], Ok(None)),
            (v10, "http://b/", &[], Ok(Some("b"))),
            (v10, "/", &["a"], Ok(Some("a"))),
            (v2, "http://b/", &[], Ok(Some("b"))),
            (v2, "http://b/", &["B"], Ok(Some("b"))),
            (v2, "/", &["a"], Ok(Some("a"))),
            (v11, "/", &[], Err(Unnamed)),
            (v11, "http://b/", &[], Err(Unnamed)),
            (v11, "/", &["a", "a"], Err(Unnamed)),
            (v11, "http://b/", &["a", "b"], Err(Unnamed)),
            (v11, "/", &[""], Err(Unnamed)),
            (v11, "/", &["a b"], Err(Unnamed)),
            (v11, "/", &["me@a"], Err(Unnamed)),
            (v11, "http://b/", &["me@a"], Err(Unnamed)),
            (v11, "http://me@b/", &["b"], Err(Unnamed)),
            (v11, "/", &["a/b"], Err(Unnamed)),
            (v10, "/", &["a", "b"], Err(Unnamed)),
            (v2, "http://b/", &["a"], Err(Unnamed)),
            (v2, "http://b/", &["b:81"], Err(Unnamed)),
            (v2, "http://me@b/", &[], Err(Unnamed)),
            (v2, "/", &[], Err(Unnamed)),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(HOST, HeaderValue::from_str(line).unwrap());
            }
            let target: Uri = target.parse().unwrap();
            assert_eq!(named(version, &target, &headers), expected, "{version:?} {target} {lines:?}");
        }
    }
}
