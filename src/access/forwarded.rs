//! The client of a request that came through proxies: `X-Forwarded-For` and `Forwarded` (RFC 7239).
//!
//! Any client can send these headers, so only the entries of trusted proxies count. Each proxy appends the
//! address of its peer. Read from the end, the first address that is not a trusted proxy's is the client's; all
//! entries before it are the client's own claim.

use hyper::HeaderMap;
use hyper::header::{FORWARDED, HeaderName};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Most addresses that are read: more proxies than any request passes.
const MAX_HOPS: usize = 32;

/// Bytes of each header that are read: the last ones, which the nearest proxies wrote.
const MAX_BYTES: usize = 8 * 1024;

/// A proxy whose headers are trusted: `10.0.0.0/8`, `::1`, or `unix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Every address in this network.
    Network {
        /// First address of the network.
        address: IpAddr,
        /// Number of bits that all addresses of the network share.
        bits: u8,
    },
    /// `unix`: every peer of a Unix socket, which has no address.
    Unix,
}

/// Error: a text is not a [`TrustedProxy`]. One sentence says what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidNetwork(&'static str);

impl fmt::Display for InvalidNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InvalidNetwork {}

impl FromStr for TrustedProxy {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<TrustedProxy, InvalidNetwork> {
        if text == "unix" {
            return Ok(TrustedProxy::Unix);
        }
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, bits)| (a, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| {
            InvalidNetwork(
                "not a network; write an address such as 10.0.0.5, a network such as 10.0.0.0/8, or unix",
            )
        })?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|bits| *bits <= most && digits.bytes().all(|b| b.is_ascii_digit()))
                .ok_or(InvalidNetwork(
                    "the slash must be followed by a number of bits, at most 32 for IPv4 and 128 for IPv6",
                ))?,
        };
        // Later comparisons use canonical addresses.
        let (address, bits) = match address.to_canonical() {
            plain if address.is_ipv6() && plain.is_ipv4() && bits >= 96 => (plain, bits - 96),
            _ => (address, bits),
        };
        if prefix(address, bits) != address {
            return Err(InvalidNetwork(
                "the address has bits outside of its network; write the network's first address",
            ));
        }
        Ok(TrustedProxy::Network { address, bits })
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrustedProxy::Network { address, bits } => write!(f, "{address}/{bits}"),
            TrustedProxy::Unix => f.write_str("unix"),
        }
    }
}

/// Returns the first address of the network with `bits` bits that contains `address`.
pub(crate) fn prefix(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)).into())
        }
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(
            v6.to_bits() & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0),
        )),
    }
}

/// True if the peer is a trusted proxy. `None` is the peer of a Unix socket.
pub(crate) fn is_trusted(trusted: &[TrustedProxy], peer: Option<IpAddr>) -> bool {
    trusted.iter().any(|proxy| match (proxy, peer.map(|peer| peer.to_canonical())) {
        (TrustedProxy::Network { address, bits }, Some(peer)) => {
            address.is_ipv4() == peer.is_ipv4() && prefix(peer, *bits) == *address
        }
        (TrustedProxy::Unix, peer) => peer.is_none(),
        (TrustedProxy::Network { .. }, None) => false,
    })
}

/// Returns the address of the client: the peer, or, if the peer is a trusted proxy, the right-most address in
/// its headers that is not a trusted proxy's.
///
/// If the two headers disagree, neither counts: a proxy has passed one on as the client wrote it.
pub(crate) fn client(trusted: &[TrustedProxy], peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
    let peer = peer.map(|peer| peer.to_canonical());
    if !is_trusted(trusted, peer) {
        return peer;
    }
    let named = |name, read: fn(&str) -> Vec<Option<IpAddr>>| {
        if !headers.contains_key(&name) {
            return None;
        }
        let mut hops = Vec::new();
        for value in last_lines(headers, &name) {
            match value {
                Some(value) => hops.extend(read(value)),
                None => hops.push(None),
            }
        }
        let mut client = peer;
        for hop in hops.into_iter().rev().take(MAX_HOPS) {
            // An unreadable entry ends the chain at the proxy that wrote it.
            let Some(hop) = hop else { break };
            client = Some(hop);
            if !is_trusted(trusted, client) {
                break;
            }
        }
        Some(client)
    };
    match (named(X_FORWARDED_FOR, x_forwarded_for), named(FORWARDED, forwarded_for)) {
        (Some(one), Some(other)) if one != other => peer,
        (Some(client), _) | (None, Some(client)) => client,
        (None, None) => peer,
    }
}

/// Returns the host that a trusted proxy was asked for, if its headers name it.
pub(crate) fn host(headers: &HeaderMap) -> Option<String> {
    if let Some(last) = headers.get_all(&X_FORWARDED_HOST).iter().next_back() {
        let last = last.to_str().ok()?.rsplit(',').next()?.trim();
        return (last.len() <= MAX_BYTES).then(|| last.to_owned());
    }
    let last = last_lines(headers, &FORWARDED).pop()??;
    elements(last).pop()?.into_iter().find(|(name, _)| name == "host").map(|(_, host)| host)
}

/// Returns the lines of a header, the first one first, as far as the last [`MAX_BYTES`] reach. `None` stands for a
/// line that is unreadable, and for everything in front of that limit: an entry that is cut off counts for nothing.
fn last_lines<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<Option<&'a str>> {
    let mut lines = Vec::new();
    let mut left = MAX_BYTES;
    for value in headers.get_all(name).iter().rev() {
        let bytes = value.as_bytes();
        if bytes.len() <= left {
            left -= bytes.len();
            lines.push(value.to_str().ok());
            continue;
        }
        let kept = &bytes[bytes.len() - left..];
        let whole = first_comma(kept).map(|comma| &kept[comma + 1..]);
        let is_text = |byte: &u8| (b' '..=b'~').contains(byte) || *byte == b'\t';
        if let Some(whole) = whole.filter(|whole| whole.iter().all(is_text)) {
            lines.push(std::str::from_utf8(whole).ok());
        }
        lines.push(None);
        break;
    }
    lines.reverse();
    lines
}

/// Position of the first comma outside of quotes. Read from the end, for the beginning may be inside of quotes.
fn first_comma(bytes: &[u8]) -> Option<usize> {
    let (mut first, mut is_quoted) = (None, false);
    for (at, byte) in bytes.iter().enumerate().rev() {
        let backslashes = bytes[..at].iter().rev().take_while(|byte| **byte == b'\\');
        match byte {
            b'"' if backslashes.count().is_multiple_of(2) => is_quoted = !is_quoted,
            b',' if !is_quoted => first = Some(at),
            _ => {}
        }
    }
    first
}

fn x_forwarded_for(value: &str) -> Vec<Option<IpAddr>> {
    value.split(',').map(str::trim).filter(|hop| !hop.is_empty()).map(address).collect()
}

fn forwarded_for(value: &str) -> Vec<Option<IpAddr>> {
    let node = |pairs: Vec<(String, String)>| pairs.into_iter().find(|(name, _)| name == "for");
    elements(value).into_iter().map(|pairs| node(pairs).and_then(|(_, node)| address(&node))).collect()
}

/// Reads an address, with or without a port.
fn address(node: &str) -> Option<IpAddr> {
    let bare = node.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(node);
    let parsed = bare.parse().or_else(|_| node.parse().map(|address: SocketAddr| address.ip()));
    parsed.ok().map(|address: IpAddr| address.to_canonical())
}

/// Splits a `Forwarded` value into elements, each a list of names in lower case and their values (RFC 7239 §4).
/// Separators inside of quotes do not count.
fn elements(value: &str) -> Vec<Vec<(String, String)>> {
    let mut elements = vec![Vec::new()];
    let (mut name, mut text) = (None, String::new());
    let mut is_quoted = false;
    let mut chars = value.chars();
    loop {
        let next = chars.next();
        match next {
            Some('"') => is_quoted = !is_quoted,
            Some('\\') if is_quoted => text.extend(chars.next()),
            Some('=') if !is_quoted && name.is_none() => {
                name = Some(std::mem::take(&mut text).trim().to_ascii_lowercase());
            }
            Some(',' | ';') | None if !is_quoted || next.is_none() => {
                let value = std::mem::take(&mut text).trim().to_owned();
                if let (Some(name), Some(pairs)) = (name.take(), elements.last_mut()) {
                    pairs.push((name, value));
                }
                match next {
                    None => break,
                    Some(',') => elements.push(Vec::new()),
                    Some(_) => {}
                }
            }
            Some(c) => text.push(c),
            None => break,
        }
    }
    elements
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn proxies(list: &[&str]) -> Vec<TrustedProxy> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    const XFF: &str = "x-forwarded-for";
    const FWD: &str = "forwarded";

    #[test]
    fn client_is_the_right_most_untrusted_address() {
        let trusted = proxies(&["10.0.0.0/8", "127.0.0.1", "fd00::/8"]);
        for (peer, lines, expected) in [
            // Not from a proxy: its claims do not count.
            ("192.0.2.1", &[(XFF, "203.0.113.9"), (FWD, "for=203.0.113.9")][..], "192.0.2.1"),
            ("10.1.2.3", &[], "10.1.2.3"),
            ("10.1.2.3", &[(XFF, "203.0.113.9")], "203.0.113.9"),
            ("10.1.2.3", &[(XFF, "198.51.100.7, 203.0.113.9")], "203.0.113.9"),
            ("10.1.2.3", &[(XFF, "198.51.100.7, 203.0.113.9, 10.9.9.9,127.0.0.1")], "203.0.113.9"),
            ("10.1.2.3", &[(XFF, "198.51.100.7"), (XFF, "203.0.113.9, 10.0.0.1")], "203.0.113.9"),
            ("10.1.2.3", &[(XFF, "10.0.0.2, 10.0.0.1")], "10.0.0.2"),
            ("10.1.2.3", &[(XFF, "203.0.113.9:4711")], "203.0.113.9"),
            ("10.1.2.3", &[(XFF, "[2001:db8::7]:4711")], "2001:db8::7"),
            ("10.1.2.3", &[(XFF, "2001:db8::7")], "2001:db8::7"),
            ("10.1.2.3", &[(XFF, "::ffff:203.0.113.9")], "203.0.113.9"),
            ("::ffff:10.1.2.3", &[(XFF, "203.0.113.9")], "203.0.113.9"),
            ("fd12::1", &[(XFF, "203.0.113.9")], "203.0.113.9"),
            // Unreadable: no address beyond the proxy that wrote it.
            ("10.1.2.3", &[(XFF, "203.0.113.9, unknown")], "10.1.2.3"),
            ("10.1.2.3", &[(XFF, "203.0.113.9, unknown, 10.0.0.5")], "10.0.0.5"),
            ("10.1.2.3", &[(XFF, "203.0.113.999")], "10.1.2.3"),
            ("10.1.2.3", &[(XFF, "")], "10.1.2.3"),
            ("10.1.2.3", &[(XFF, ",,")], "10.1.2.3"),
            ("10.1.2.3", &[(FWD, "for=203.0.113.9")], "203.0.113.9"),
            ("10.1.2.3", &[(FWD, "For=\"[2001:db8:cafe::17]:4711\"")], "2001:db8:cafe::17"),
            ("10.1.2.3", &[(FWD, "for=192.0.2.60;proto=http;by=203.0.113.43")], "192.0.2.60"),
            ("10.1.2.3", &[(FWD, "by=10.0.0.1; for = 192.0.2.43, for=\"10.0.0.9:80\"")], "192.0.2.43"),
            ("10.1.2.3", &[(FWD, "for=198.51.100.7"), (FWD, "for=192.0.2.43")], "192.0.2.43"),
            ("10.1.2.3", &[(FWD, "for=192.0.2.43, for=_hidden")], "10.1.2.3"),
            ("10.1.2.3", &[(FWD, "for=192.0.2.43, proto=http")], "10.1.2.3"),
            ("10.1.2.3", &[(FWD, "for=\"a,for=192.0.2.43\"")], "10.1.2.3"),
            ("10.1.2.3", &[(FWD, "for=\"a\\\",for=192.0.2.43")], "10.1.2.3"),
            ("10.1.2.3", &[(FWD, "")], "10.1.2.3"),
            // A proxy passed one header on as the client wrote it.
            ("10.1.2.3", &[(XFF, "203.0.113.9"), (FWD, "for=203.0.113.9")], "203.0.113.9"),
            ("10.1.2.3", &[(XFF, "203.0.113.9"), (FWD, "for=198.51.100.7")], "10.1.2.3"),
        ] {
            let found = client(&trusted, Some(peer.parse().unwrap()), &headers(lines));
            assert_eq!(found, Some(expected.parse().unwrap()), "{peer} {lines:?}");
        }
    }

    #[test]
    fn unix_socket_is_trusted_by_name() {
        let lines = headers(&[(XFF, "203.0.113.9")]);
        assert_eq!(client(&proxies(&["0.0.0.0/0"]), None, &lines), None);
        assert_eq!(client(&proxies(&["unix"]), None, &lines), Some("203.0.113.9".parse().unwrap()));
        let peer = Some("192.0.2.1".parse().unwrap());
        assert_eq!(client(&proxies(&["unix"]), peer, &lines), peer);
    }

    #[test]
    fn long_chain_is_cut() {
        let long = "10.0.0.1,".repeat(10_000);
        let trusted = proxies(&["10.0.0.0/8"]);
        let lines = headers(&[(XFF, &format!("203.0.113.9,{long}"))]);
        assert_eq!(
            client(&trusted, Some("10.0.0.2".parse().unwrap()), &lines),
            Some("10.0.0.1".parse().unwrap())
        );
    }

    #[test]
    fn only_the_end_of_a_long_header_is_read() {
        let trusted = proxies(&["10.0.0.0/8"]);
        let of = |lines: &[(&'static str, &str)]| {
            client(&trusted, Some("10.0.0.2".parse().unwrap()), &headers(lines)).unwrap().to_string()
        };
        let long = "x".repeat(300_000);
        let (list, quoted) = ("198.51.100.7,".repeat(20_000), format!("for=\"{long}\""));
        for (lines, expected) in [
            (&[(XFF, &*format!("{list}203.0.113.9"))][..], "203.0.113.9"),
            (&[(XFF, &*format!("{long},203.0.113.9"))], "203.0.113.9"),
            (&[(XFF, &*format!("{long}, 203.0.113.9, 10.0.0.7"))], "203.0.113.9"),
            (&[(XFF, &long)], "10.0.0.2"),
            // An entry that is cut off is not read as another one.
            (&[(XFF, &*format!("{}1{}", "9".repeat(9), " ".repeat(MAX_BYTES - 1)))], "10.0.0.2"),
            (&[(XFF, &*format!("203.0.113.9{}", " ".repeat(MAX_BYTES - 10)))], "10.0.0.2"),
            (&[(XFF, &*list), (XFF, "203.0.113.9")], "203.0.113.9"),
            (&[(XFF, "203.0.113.9"), (XFF, &*format!("{},10.0.0.7", " ".repeat(MAX_BYTES)))], "10.0.0.7"),
            (&[(FWD, &*format!("{quoted}, for=203.0.113.9"))], "203.0.113.9"),
            (&[(FWD, &*format!("for={long};by=x, for=203.0.113.9;proto=https"))], "203.0.113.9"),
            (&[(FWD, &quoted)], "10.0.0.2"),
            (&[(FWD, &*format!("for=\"{}\", for=203.0.113.9", ",".repeat(300_000)))], "203.0.113.9"),
        ] {
            let begin: String = lines[0].1.chars().take(20).collect();
            assert_eq!(of(lines), expected, "{begin} {}", lines.len());
        }
        let named = format!("{quoted}, for=1.2.3.4;host=a.example");
        assert_eq!(host(&headers(&[(FWD, &named)])).as_deref(), Some("a.example"));
        assert_eq!(
            host(&headers(&[("x-forwarded-host", &format!("{long}, a.example"))])).as_deref(),
            Some("a.example")
        );
        assert_eq!(host(&headers(&[("x-forwarded-host", &long)])), None);
    }

    #[test]
    fn host_is_the_one_the_proxy_was_asked_for() {
        for (lines, expected) in [
            (&[][..], None),
            (&[("x-forwarded-host", "a.example:8443")], Some("a.example:8443")),
            (&[("x-forwarded-host", "evil, a.example")], Some("a.example")),
            (&[("x-forwarded-host", "evil"), ("x-forwarded-host", "a.example")], Some("a.example")),
            (&[(FWD, "host=evil;for=1.2.3.4, for=1.2.3.5;Host=\"a.example:80\"")], Some("a.example:80")),
            (&[(FWD, "for=1.2.3.4")], None),
        ] {
            assert_eq!(host(&headers(lines)).as_deref(), expected, "{lines:?}");
        }
    }

    #[test]
    fn networks_are_parsed_and_matched() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.128/25", "192.0.2.200", "192.0.2.127"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("::1", "::1", "::2"),
            ("::ffff:10.0.0.0/104", "10.2.3.4", "11.0.0.1"),
        ] {
            let trusted = proxies(&[text]);
            assert!(is_trusted(&trusted, Some(inside.parse().unwrap())), "{text} {inside}");
            assert!(!is_trusted(&trusted, Some(outside.parse().unwrap())), "{text} {outside}");
        }
        assert_eq!("10.0.0.5".parse::<TrustedProxy>().unwrap().to_string(), "10.0.0.5/32");
        for (text, expected) in [
            ("", "not a network"),
            ("localhost", "not a network"),
            ("10.0.0.0/", "number of bits"),
            ("10.0.0.0/33", "number of bits"),
            ("10.0.0.0/+8", "number of bits"),
            ("::/129", "number of bits"),
            ("10.0.0.1/8", "first address"),
        ] {
            let error = text.parse::<TrustedProxy>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?} gave {error:?}");
        }
    }
}
