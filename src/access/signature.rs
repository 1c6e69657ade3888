//! Signed tickets: a grant and the moment of its end, which every holder of the key can check.
//!
//! ```text
//! base64url({"exp":…,"jti":…,"sub":…,"voices":…,"maxChars":…,"maxSessionMs":…}) . base64url(HMAC-SHA256)
//! ```

use super::credential::{Grant, Hash, Restrictions, Token, is_same};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// Shortest key, in bytes: as many as the hash has.
const MIN_KEY_BYTES: usize = 32;

/// Bytes of a block of SHA-256.
const BLOCK_BYTES: usize = 64;

/// In front of what is signed, so that no signature with the same key for another purpose is a ticket.
const PURPOSE: &[u8] = b"aloud ticket\n";

/// The key that replicas share.
pub(super) struct TicketKey([u8; BLOCK_BYTES]);

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey")
    }
}

impl TicketKey {
    /// Reads the key from a file, without the line end behind it.
    ///
    /// # Errors
    /// One sentence names the file and the mistake, and shows nothing of the content.
    pub(super) fn read(path: &Path) -> Result<TicketKey, String> {
        let file = path.display();
        let bytes = std::fs::read(path)
            .map_err(|error| format!("cannot read the key for tickets from {file}: {error}"))?;
        let key = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let key = key.strip_suffix(b"\r").unwrap_or(key);
        if key.len() < MIN_KEY_BYTES {
            return Err(format!(
                "{file} contains no valid key for tickets: it needs at least {MIN_KEY_BYTES} bytes (openssl rand -hex 32)"
            ));
        }
        Ok(TicketKey::new(key))
    }

    /// A key of these bytes.
    pub(super) fn new(key: &[u8]) -> TicketKey {
        let mut block = [0; BLOCK_BYTES];
        if key.len() > BLOCK_BYTES {
            let hash: Hash = Sha256::digest(key).into();
            block[..hash.len()].copy_from_slice(&hash);
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        TicketKey(block)
    }

    /// HMAC-SHA256 (RFC 2104).
    fn sign(&self, parts: &[&[u8]]) -> Hash {
        let keyed = |pad: u8| Sha256::new_with_prefix(self.0.map(|byte| byte ^ pad));
        let mut inner = keyed(0x36);
        parts.iter().for_each(|part| inner.update(part));
        let mut outer = keyed(0x5c);
        outer.update(inner.finalize());
        outer.finalize().into()
    }

    /// Makes a ticket that is valid up to `end`, a time since 1970.
    pub(super) fn issue(&self, grant: &Grant, end: Duration, random: &[u8]) -> Token {
        let mut claims = Map::new();
        claims.insert("exp".to_owned(), (end.as_millis() as u64).into());
        claims.insert("jti".to_owned(), URL_SAFE_NO_PAD.encode(random).into());
        grant.write_claims(&mut claims);
        let body = URL_SAFE_NO_PAD.encode(Value::Object(claims).to_string());
        let signature = URL_SAFE_NO_PAD.encode(self.sign(&[PURPOSE, body.as_bytes()]));
        Token::made(format!("{body}.{signature}"))
    }

    /// Returns the grant of a ticket that was signed with this key, and its end.
    pub(super) fn verify(&self, ticket: &Token) -> Option<(Grant, Duration)> {
        let (body, signature) = ticket.reveal().split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        if !is_same(&signature, &self.sign(&[PURPOSE, body.as_bytes()])) {
            return None;
        }
        let claims: Map<String, Value> = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()?;
        let end = Duration::from_millis(claims.get("exp")?.as_u64()?);
        Some((Grant::from_claims(&claims)?, end))
    }
}

impl Grant {
    /// Adds what [`Grant::from_claims`] reads.
    fn write_claims(&self, claims: &mut Map<String, Value>) {
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                claims.insert(name.to_owned(), value);
            }
        };
        put("sub", self.client.as_deref().map(Value::from));
        if let Some(Restrictions { voices, max_chars, max_session }) = self.restrictions.as_deref() {
            put("voices", voices.clone().map(Value::from));
            put("maxChars", max_chars.map(Value::from));
            put("maxSessionMs", max_session.map(|time| Value::from(time.as_millis() as u64)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn signature_is_that_of_rfc_4231() {
        let hexadecimal = |hash: Hash| hash.map(|byte| format!("{byte:02x}")).concat();
        for (key, data, expected) in [
            (
                &[0x0b; 20][..],
                &b"Hi There"[..],
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hexadecimal(TicketKey::new(key).sign(&[data])), expected);
        }
    }

    #[test]
    fn ticket_carries_the_whole_grant_and_no_change_is_valid() {
        let (key, end) = (TicketKey::new(&[7; 32]), Duration::from_secs(1_700_000_000));
        let restrictions = Restrictions {
            voices: Some(vec!["kal16".to_owned(), "ö".to_owned()]),
            max_chars: Some(10),
            max_session: Some(Duration::from_millis(1_500)),
        };
        let narrow = |change: fn(&mut Restrictions)| {
            let mut restrictions = Restrictions::default();
            change(&mut restrictions);
            Grant { client: None, restrictions: Some(Arc::new(restrictions)) }
        };
        for grant in [
            Grant::default(),
            Grant { client: Some("Zoë \"1\"".into()), restrictions: Some(Arc::new(restrictions)) },
            narrow(|only| only.voices = Some(Vec::new())),
            narrow(|only| only.max_chars = Some(0)),
            narrow(|only| only.max_session = Some(Duration::ZERO)),
        ] {
            let ticket = key.issue(&grant, end, b"random");
            assert_eq!(key.verify(&ticket), Some((grant.clone(), end)));
            assert_ne!(ticket, key.issue(&grant, end, b"other"));
            assert_eq!(TicketKey::new(&[8; 32]).verify(&ticket), None, "another key");
            let text = ticket.reveal();
            for at in 0..text.len() {
                let mut changed = text.to_owned();
                let other = if &text[at..=at] == "A" { "Q" } else { "A" };
                changed.replace_range(at..=at, other);
                assert_eq!(key.verify(&Token::new(&changed).unwrap()), None, "{changed}");
                assert_eq!(key.verify(&Token::new(&text[..at.max(1)]).unwrap()), None, "cut at {at}");
            }
        }
    }
}
