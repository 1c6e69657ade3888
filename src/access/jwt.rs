//! JSON Web Tokens (RFC 7519), signed with HS256, RS256 or EdDSA.
//!
//! The kind of key alone decides on the algorithm: a token with another algorithm is invalid, and a public key
//! is never used as a shared secret.

use super::rules::Jwt;
use crate::access::credential::{Grant, Token};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use ring::{hmac, signature};
use serde_json::{Map, Value};

/// Shortest secret, in bytes (RFC 7518 §3.2).
const MIN_SECRET_BYTES: usize = 32;

/// Length of a public RSA key of 2,048 bits, in bytes; a shorter one is unsafe (RFC 7518 §3.3).
const MIN_RSA_BYTES: usize = 256;

/// A key, and the rules for claims.
pub(super) struct JwtKey {
    key: DecodingKey,
    validation: Validation,
}

impl JwtKey {
    /// Reads the key.
    ///
    /// # Errors
    /// One sentence names the file and the mistake, and shows nothing of the content.
    pub(super) fn read(rules: &Jwt) -> Result<JwtKey, String> {
        let path = rules.key_file.display();
        let bytes = std::fs::read(&rules.key_file)
            .map_err(|error| format!("cannot read the key for JSON Web Tokens from {path}: {error}"))?;
        let (key, algorithm) =
            key(&bytes).map_err(|why| format!("{path} contains no valid key for JSON Web Tokens: {why}"))?;
        // Fails if the embedding program has installed another one; then that one is used.
        let _ = RING.install_default();
        let mut validation = Validation::new(algorithm);
        validation.leeway = rules.leeway.as_secs();
        validation.validate_nbf = true;
        let mut required = vec!["exp"];
        if let Some(audience) = &rules.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        if let Some(issuer) = &rules.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        Ok(JwtKey { key, validation })
    }

    /// Returns the grant of a token that is valid now.
    pub(super) fn verify(&self, token: &Token) -> Option<Grant> {
        if !is_understood(token.reveal()) {
            return None;
        }
        let decoded = decode::<Map<String, Value>>(token.reveal(), &self.key, &self.validation);
        let claims = decoded.ok()?.claims;
        have_their_types(&claims).then(|| Grant::from_claims(&claims)).flatten()
    }
}

/// True if the header of a token changes nothing that this module does not know. A `crit` lists extensions that
/// have to be understood (RFC 7515 §4.1.11), and none is; `b64` turns the encoding of the payload off
/// (RFC 7797 §3); a token inside a token (`cty`) and compression (`zip`) are for encryption.
fn is_understood(token: &str) -> bool {
    let header = token.split('.').next().unwrap_or_default();
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(header) else { return false };
    let Ok(header) = serde_json::from_slice::<Map<String, Value>>(&bytes) else { return false };
    !header.contains_key("crit")
        && !header.contains_key("zip")
        && header.get("b64").is_none_or(|is_encoded| *is_encoded == Value::Bool(true))
}

/// True if the registered claims have the types of RFC 7519 §4.1. A claim of another type must not count as
/// missing: it was meant to restrict the token.
fn have_their_types(claims: &Map<String, Value>) -> bool {
    let are = |names: &[&str], is_sound: fn(&Value) -> bool| {
        names.iter().filter_map(|name| claims.get(*name)).all(is_sound)
    };
    let is_audience = |value: &Value| match value {
        Value::Array(names) => names.iter().all(Value::is_string),
        value => value.is_string(),
    };
    let is_date = |value: &Value| value.as_f64().is_some_and(|seconds| seconds >= 0.0 && seconds.is_finite());
    are(&["aud"], is_audience)
        && are(&["exp", "nbf", "iat"], is_date)
        && are(&["iss", "sub", "jti"], Value::is_string)
}

/// Reads a key, and the one algorithm it is for.
fn key(bytes: &[u8]) -> Result<(DecodingKey, Algorithm), &'static str> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    if text.contains("PRIVATE KEY-----") {
        return Err("it is a private key, which belongs to the issuer of the tokens; give the public key \
                    (openssl pkey -pubout)");
    }
    if text.contains("-----BEGIN CERTIFICATE") {
        return Err("it is a certificate; give its public key (openssl x509 -pubkey -noout)");
    }
    if text.contains("-----BEGIN") {
        if let Ok(key) = DecodingKey::from_ed_pem(bytes) {
            return Ok((key, Algorithm::EdDSA));
        }
        let Ok(key) = DecodingKey::from_rsa_pem(bytes) else {
            return Err("it is PEM, but not a public key of RSA or Ed25519");
        };
        return match key.try_get_as_bytes() {
            Ok(der) if der.len() > MIN_RSA_BYTES => Ok((key, Algorithm::RS256)),
            _ => Err("it is an RSA key of less than 2048 bits"),
        };
    }
    // A public key must not become a shared secret: everyone can have it.
    if is_der(bytes) || text.trim_start().starts_with(['{', '[']) || text.starts_with("ssh-") {
        return Err("it looks like a public key that is not PEM; convert it (openssl pkey -pubin)");
    }
    let secret = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    if secret.len() < MIN_SECRET_BYTES {
        return Err("a shared secret needs at least 32 bytes (openssl rand -hex 32)");
    }
    Ok((DecodingKey::from_secret(secret), Algorithm::HS256))
}

/// True if the bytes are exactly one ASN.1 sequence.
fn is_der(bytes: &[u8]) -> bool {
    let length = match bytes {
        [0x30, short, rest @ ..] if *short < 0x80 => Some((usize::from(*short), rest.len())),
        [0x30, 0x81, n, rest @ ..] => Some((usize::from(*n), rest.len())),
        [0x30, 0x82, high, low, rest @ ..] => {
            Some((usize::from(u16::from_be_bytes([*high, *low])), rest.len()))
        }
        _ => None,
    };
    length.is_some_and(|(announced, there)| announced == there)
}

/// Verifies signatures with ring.
static RING: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
    verifier_factory: |algorithm, key| match algorithm {
        Algorithm::HS256 | Algorithm::RS256 | Algorithm::EdDSA => {
            let key = key.try_get_as_bytes()?.to_vec();
            Ok(Box::new(KeyVerifier { algorithm: *algorithm, key }))
        }
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    key_utils: KeyUtils::new_unimplemented(),
};

/// Verifier for one key.
struct KeyVerifier {
    algorithm: Algorithm,
    key: Vec<u8>,
}

impl Verifier<Vec<u8>> for KeyVerifier {
    fn verify(&self, message: &[u8], signed: &Vec<u8>) -> Result<(), Error> {
        let public = |with: &'static dyn signature::VerificationAlgorithm| {
            signature::UnparsedPublicKey::new(with, &self.key).verify(message, signed)
        };
        let verified = match self.algorithm {
            Algorithm::HS256 => hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &self.key), message, signed),
            Algorithm::RS256 => public(&signature::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::EdDSA => public(&signature::ED25519),
            _ => return Err(Error::new()),
        };
        verified.map_err(|_| Error::new())
    }
}

impl JwtVerifier for KeyVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
