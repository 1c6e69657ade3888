//! Keys, and how a request carries them.

use hyper::header::HeaderValue;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Longest key, in bytes: it has to fit a header everywhere.
const MAX_KEY_BYTES: usize = 4 * 1024;

/// A key or token. Neither `Debug` nor `Display` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Takes a key, without the white space around it, such as the line end of a file.
    ///
    /// # Errors
    /// One sentence says what is wrong with the key, without showing it.
    pub fn new(key: &str) -> Result<Secret, String> {
        let key = key.trim();
        if key.is_empty() {
            return Err("the key is empty".to_owned());
        }
        if key.len() > MAX_KEY_BYTES {
            return Err(format!("the key is longer than {MAX_KEY_BYTES} bytes"));
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                "the key contains a space or a character outside of ASCII; give the key alone".to_owned()
            );
        }
        Ok(Secret(key.into()))
    }

    /// Reads a key from a file that contains nothing else.
    ///
    /// # Errors
    /// The file cannot be read or contains no key. One sentence names the file.
    pub fn from_file(path: &Path) -> Result<Secret, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read the key from {}: {error}", path.display()))?;
        Secret::new(&text).map_err(|why| format!("{} contains no key: {why}", path.display()))
    }

    /// Returns a header value: `prefix`, then the key.
    pub(crate) fn header(&self, prefix: &str) -> HeaderValue {
        let mut value = HeaderValue::from_str(&format!("{prefix}{}", self.0))
            .expect("the key and its prefix are graphic ASCII");
        value.set_sensitive(true);
        value
    }

    /// Returns the key itself, to find it in text that must not show it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a key)")
    }
}

/// Credentials sent with each request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// No credentials, as for a service on the same machine.
    #[default]
    None,
    /// `Authorization: Bearer KEY` (RFC 6750 §2.1).
    Bearer(Secret),
    /// A header of the service's own, such as `xi-api-key`. The name is in lower case.
    Header(&'static str, Secret),
}

impl Credentials {
    pub(super) fn secret(&self) -> Option<&Secret> {
        match self {
            Credentials::None => None,
            Credentials::Bearer(secret) | Credentials::Header(_, secret) => Some(secret),
        }
    }
}
