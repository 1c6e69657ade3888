//! The check of a credential: against a list of tokens, or against the key of JSON Web Tokens.

use super::credential::{Grant, Token};
#[cfg(feature = "jwt")]
use super::jwt::JwtKey;
use super::rules::Auth;
use super::tokens::TokenFile;
use std::time::Instant;

/// Means to check a credential.
pub(super) enum Keys {
    /// This server requires no credential.
    None,
    Tokens(TokenFile),
    #[cfg(feature = "jwt")]
    Jwt(Box<JwtKey>),
}

impl Keys {
    /// Reads the file that the rules name.
    ///
    /// # Errors
    /// One sentence for the operator: the file is unusable, or this build lacks the feature.
    pub(super) fn read(auth: &Auth, now: Instant) -> Result<Keys, String> {
        match auth {
            Auth::None => Ok(Keys::None),
            Auth::Tokens(path) => TokenFile::read(path, now).map(Keys::Tokens),
            #[cfg(feature = "jwt")]
            Auth::Jwt(jwt) => JwtKey::read(jwt).map(|key| Keys::Jwt(Box::new(key))),
            #[cfg(not(feature = "jwt"))]
            Auth::Jwt(_) => {
                Err("this program was built without JSON Web Tokens; build it with --features jwt, or use a \
                     list of tokens"
                    .to_owned())
            }
        }
    }

    /// True if clients need no credential.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Keys::None)
    }

    /// Returns the grant of a valid token.
    pub(super) fn find(&self, token: &Token, now: Instant) -> Option<Grant> {
        match self {
            Keys::None => Some(Grant::default()),
            Keys::Tokens(file) => file.find(token, now),
            #[cfg(feature = "jwt")]
            Keys::Jwt(key) => key.verify(token),
        }
    }
}
