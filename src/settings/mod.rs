//! Settings of the server: meaning, unit, default and allowed range of each.

mod config;

pub use crate::access::forwarded::TrustedProxy;
pub use crate::access::host::AllowHost;
pub use crate::access::origin::AllowOrigin;
#[doc(hidden)]
pub use crate::access::rules::JWT_LEEWAY;
pub use crate::access::rules::{Admission, Auth, Jwt};
pub(crate) use config::check_engine;
pub use config::{Config, ConfigError};

use crate::setting::{Field, Setting};
use std::fmt;
use std::net::SocketAddrV6;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// Address of a store that several servers share: `redis://HOST:PORT/DB`, `rediss://…` with TLS, or
/// `unix:///PATH`. It may hold a name and a password, so neither `Debug` nor an error shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(Arc<str>);

impl StoreUrl {
    /// Returns the URL itself, to connect to it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreUrl")
    }
}

/// Reason why a text is no [`StoreUrl`]. Its text ends a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidStoreUrl(());

impl fmt::Display for InvalidStoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is no URL of a store; give redis://HOST:PORT, rediss://HOST:PORT or unix:///PATH")
    }
}

impl std::error::Error for InvalidStoreUrl {}

impl FromStr for StoreUrl {
    type Err = InvalidStoreUrl;

    fn from_str(text: &str) -> Result<StoreUrl, InvalidStoreUrl> {
        let schemes = ["redis://", "rediss://", "unix://"];
        let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
        let is_url =
            rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic()));
        if is_url { Ok(StoreUrl(text.into())) } else { Err(InvalidStoreUrl(())) }
    }
}

impl Field for StoreUrl {
    fn read(_: &Setting, text: &str) -> Result<StoreUrl, String> {
        text.parse().map_err(|error: InvalidStoreUrl| error.to_string())
    }
}

/// Address that a server listens on, written as `HOST:PORT` or `unix:PATH`.
///
/// ```
/// use aloud::settings::Listen;
///
/// let here: Listen = "127.0.0.1:8080".parse()?;
/// assert_eq!(here, Listen::Tcp("127.0.0.1:8080".to_owned()));
/// assert_eq!(here.to_string(), "127.0.0.1:8080");
/// # Ok::<(), aloud::settings::InvalidListen>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Listen {
    /// Host name or address, a colon, and a port. Port 0 takes any free port. An IPv6 address
    /// stands in brackets. Names are resolved when the server binds.
    Tcp(String),
    /// Socket in the file system.
    Unix(PathBuf),
}

impl Default for Listen {
    /// Returns `127.0.0.1:8080`: this machine only.
    fn default() -> Listen {
        Listen::Tcp("127.0.0.1:8080".to_owned())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => f.write_str(address),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Reason why a text is no [`Listen`]. Its text ends a sentence, and says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidListen(String);

impl fmt::Display for InvalidListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidListen {}

impl Field for Listen {
    fn read(_: &Setting, text: &str) -> Result<Listen, String> {
        text.parse().map_err(|why| format!("cannot be `{text}`: {why}"))
    }
}

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Listen, InvalidListen> {
        let invalid = |why: String| Err(InvalidListen(why));
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => {
                    invalid("the path is missing; write unix:PATH, such as unix:/run/aloud.sock".to_owned())
                }
                path => Ok(Listen::Unix(path.into())),
            };
        }
        if text.contains("//") {
            return invalid("leave out the scheme and the path; write HOST:PORT".to_owned());
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return match text.parse::<u16>() {
                Ok(port) => invalid(format!("the host is missing; write 127.0.0.1:{port}")),
                Err(_) => invalid("the port is missing; write HOST:PORT or unix:PATH".to_owned()),
            };
        };
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) || port.parse::<u16>().is_err() {
            return invalid("the port must be a number from 0 to 65535; 0 takes any free port".to_owned());
        }
        if host.is_empty() {
            return invalid(format!(
                "the host is missing; write 127.0.0.1:{port}, or 0.0.0.0:{port} for clients on other machines"
            ));
        }
        let bracketed = host.starts_with('[');
        if !bracketed && host.contains(':') {
            return invalid(format!("an IPv6 address stands in brackets; write [::1]:{port}"));
        }
        let sound = match bracketed {
            true => text.parse::<SocketAddrV6>().is_ok(),
            false => host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
        };
        if !sound {
            return invalid("the host is neither a name nor an address; write HOST:PORT".to_owned());
        }
        Ok(Listen::Tcp(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_is_read_back_as_it_is_written() {
        let tcp = ["127.0.0.1:8080", "0.0.0.0:0", "localhost:65535", "[::1]:8080", "[fe80::1%2]:80"];
        for text in tcp {
            let listen: Listen = text.parse().unwrap();
            assert_eq!(listen, Listen::Tcp(text.to_owned()));
            assert_eq!(listen.to_string(), text);
        }
        for text in ["unix:/run/aloud.sock", "unix:a b:c"] {
            let listen: Listen = text.parse().unwrap();
            assert_eq!(listen, Listen::Unix(text["unix:".len()..].into()));
            assert_eq!(listen.to_string(), text);
        }
        assert_eq!(Listen::default().to_string().parse(), Ok(Listen::default()));
    }

    #[test]
    fn what_is_no_address_is_told_what_to_write() {
        let table = [
            ("", "the port is missing"),
            ("localhost", "the port is missing"),
            ("8080", "write 127.0.0.1:8080"),
            (":8080", "or 0.0.0.0:8080"),
            ("127.0.0.1:", "a number from 0 to 65535"),
            ("127.0.0.1:65536", "a number from 0 to 65535"),
            ("127.0.0.1:+80", "a number from 0 to 65535"),
            ("127.0.0.1:http", "a number from 0 to 65535"),
            ("::1:8080", "write [::1]:8080"),
            ("[::g]:8080", "neither a name nor an address"),
            ("a b:80", "neither a name nor an address"),
            ("http://127.0.0.1:8080", "leave out the scheme"),
            ("unix:", "the path is missing"),
        ];
        for (text, expected) in table {
            let error = text.parse::<Listen>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?} gave {error:?}");
        }
    }
}
