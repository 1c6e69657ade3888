//! Settings of a service: its address, its deadlines, its retries; and the check of its address.

use super::secret::Credentials;
use hyper::Uri;
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Time limits of a request. Only time spent waiting for the service counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Time to connect, name lookup and TLS included. Default: 5 s.
    pub connect: Duration,
    /// Time from the start of an attempt, connecting included, to the first byte of the body. Default: 20 s,
    /// because some services send a sentence only once all of it is synthesised.
    pub first_byte: Duration,
    /// Longest pause between two parts of the body. Default: 10 s.
    pub idle: Duration,
    /// Time for the whole request: all attempts, the pauses between them, and the body. Default: 120 s.
    pub total: Duration,
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(20),
            idle: Duration::from_secs(10),
            total: Duration::from_secs(120),
        }
    }
}

/// Retries of a request that the service did not accept.
///
/// A request is retried if the service could not be reached, closed the connection without an answer, or
/// answered with 429 or 503.
///
/// The pause before attempt n+1 is a random part of `backoff` doubled n−1 times, so that many sessions do not
/// retry at the same moment. If the answer has a `Retry-After`, the pause is that time and a random part of
/// `backoff`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Number of attempts, the first included. 1 disables retries. Default: 3.
    pub attempts: u32,
    /// Longest pause before the first retry. Default: 500 ms.
    pub backoff: Duration,
    /// Time after the first attempt in which a retry may start. There is no retry if `Retry-After` names a
    /// later time. Default: 5 s.
    pub within: Duration,
}

impl Default for Retries {
    fn default() -> Retries {
        Retries { attempts: 3, backoff: Duration::from_millis(500), within: Duration::from_secs(5) }
    }
}

/// Settings of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Name of the service in messages, such as `speech service`.
    pub role: &'static str,
    /// Address: `http://HOST[:PORT][/PREFIX]`, or `https://` with the feature `tls`. A `/v1` at its end is
    /// optional. A server with Wyoming has `tcp://HOST:PORT`.
    pub base_url: String,
    /// Addresses of further services that take the same requests, in the order in which they are asked. A service
    /// that fails is not asked for 30 s, as long as there is another one. They get the same credentials. Not for a
    /// server with Wyoming. Default: none.
    pub other_urls: Vec<String>,
    /// Credentials sent with each request. Default: none.
    pub credentials: Credentials,
    /// Time limits.
    pub deadlines: Deadlines,
    /// Retries of a request that the service did not accept.
    pub retries: Retries,
    /// Largest body that is accepted, in bytes. Default: 256 MiB.
    pub max_body_bytes: u64,
}

impl UpstreamSettings {
    /// Returns the default settings for a service at this address: no credentials, default deadlines.
    pub fn new(role: &'static str, base_url: impl Into<String>) -> UpstreamSettings {
        UpstreamSettings {
            role,
            base_url: base_url.into(),
            other_urls: Vec::new(),
            credentials: Credentials::None,
            deadlines: Deadlines::default(),
            retries: Retries::default(),
            max_body_bytes: 256 << 20,
        }
    }
}

/// Error: the settings of a service are wrong. One sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSettings(pub(crate) String);

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for InvalidSettings {}

/// Reads a base URL: a scheme and a host, perhaps a port and a path, nothing else.
///
/// # Errors
/// The rest of a sentence that begins with "the URL of the service". It never shows more of the URL than the
/// scheme: the mistake may be a key in the URL.
pub(super) fn base_url(url: &str) -> Result<Uri, String> {
    let example = "write http://HOST:PORT";
    if url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("contains white space; {example}"));
    }
    if url.contains('#') {
        return Err("has a fragment; remove the part that begins with #".to_owned());
    }
    if url.contains('?') {
        return Err("has a query; remove the part that begins with ?".to_owned());
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(format!("has no scheme; {example}"));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" => {}
        "https" if cfg!(feature = "tls") => {}
        "https" => {
            return Err("is https, and this program was built without TLS; build it with \
                        `cargo build --release --features tls`, or give an http URL"
                .to_owned());
        }
        _ => return Err(format!("has a scheme that is neither http nor https; {example}")),
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err("contains a user or a password; remove it, and give the key by itself".to_owned());
    }
    if authority.is_empty() || authority.starts_with(':') {
        return Err(format!("has no host; {example}"));
    }
    let uri: Uri = url.parse().map_err(|error| format!("is invalid: {error}"))?;
    let port = uri.authority().and_then(|authority| authority.as_str().rsplit_once(':'));
    // The colons of an IPv6 address are in brackets.
    if let Some((_, port)) = port.filter(|(_, port)| !port.ends_with(']'))
        && !port.parse::<u16>().is_ok_and(|port| port > 0)
    {
        return Err("has a port that is not a number from 1 to 65535".to_owned());
    }
    Ok(uri)
}
