//! Credentials: where a request carries one, the list of known tokens, and what a credential grants.
//!
//! Tokens are known and compared by their SHA-256. The list therefore contains no token, and the time of a
//! comparison reveals nothing. No error and no `Debug` in this module shows a token.

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Longest token, in bytes: room for a JWT with many claims.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Most tokens in a list. A look-up compares all of them.
const MAX_TOKENS: usize = 10_000;

/// Longest name of a client, in characters.
const MAX_NAME_CHARS: usize = 128;

/// Prefix of an offered subprotocol that carries a token (RFC 6455 §1.9).
const SUBPROTOCOL_PREFIX: &str = "bearer.";

/// SHA-256 of a token.
pub(crate) type Hash = [u8; 32];

/// Token that a client presents to connect. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Takes a token: graphic ASCII, at most 8 KiB; `None` for other text.
    pub fn new(text: &str) -> Option<Token> {
        let is_sound = !text.is_empty()
            && text.len() <= MAX_TOKEN_BYTES
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_sound.then(|| Token(text.into()))
    }

    /// Takes a token that this server made.
    pub(crate) fn made(text: String) -> Token {
        Token(text.into())
    }

    /// Returns the token itself, to check or send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns the SHA-256 by which a list knows the token.
    pub(crate) fn hash(&self) -> Hash {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

/// Rights that a credential grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Name of the client, if the credential has one.
    pub client: Option<Arc<str>>,
    /// Restrictions of its sessions, if it has any.
    pub restrictions: Option<Arc<Restrictions>>,
}

/// Restrictions of a session, stricter than the server's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// Voices allowed; the first is the default.
    pub voices: Option<Vec<String>>,
    /// Most characters handed to the engine.
    pub max_chars: Option<u64>,
    /// Longest duration of the session.
    pub max_session: Option<Duration>,
}

impl Grant {
    /// Reads the claims of a JSON Web Token, or of a ticket: `sub` is the client; `voices` (a name or a list of names),
    /// `maxChars` and `maxSessionMs` are restrictions.
    ///
    /// Returns `None` if a claim is malformed: a restriction must not be lost.
    pub(crate) fn from_claims(claims: &Map<String, Value>) -> Option<Grant> {
        let client = match claims.get("sub") {
            None => None,
            Some(Value::String(name)) if is_name(name) && !name.is_empty() => Some(name.as_str().into()),
            Some(_) => return None,
        };
        let voices = match claims.get("voices") {
            None => None,
            Some(Value::String(voice)) => Some(vec![voice.clone()]),
            Some(Value::Array(voices)) => {
                Some(voices.iter().map(|voice| voice.as_str().map(str::to_owned)).collect::<Option<_>>()?)
            }
            Some(_) => return None,
        };
        let number = |name: &str| claims.get(name).map_or(Some(None), |value| value.as_u64().map(Some));
        let max_session = number("maxSessionMs")?.map(Duration::from_millis);
        let restrictions = Restrictions { voices, max_chars: number("maxChars")?, max_session };
        let restrictions = (restrictions != Restrictions::default()).then(|| Arc::new(restrictions));
        Some(Grant { client, restrictions })
    }
}

/// True if the text is a valid name of a client: short, without control characters.
fn is_name(name: &str) -> bool {
    name.chars().count() <= MAX_NAME_CHARS && !name.chars().any(char::is_control)
}

/// Credential in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Presented {
    /// The request has no credential.
    Nothing,
    /// The request has this token.
    Token(Token),
    /// The credential is not a valid token.
    Malformed,
}

/// Finds the credential of a request: `Authorization: Bearer` (RFC 6750 §2.1), else `bearer.` among the offered
/// subprotocols, else `token` in the `query`, if one is given.
///
/// An `Authorization` with another scheme is ignored: it is for a proxy.
pub(crate) fn presented(headers: &HeaderMap, query: Option<&str>) -> Presented {
    let of = |token: &str| Token::new(token).map_or(Presented::Malformed, Presented::Token);
    let mut bearers = headers.get_all(AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked("Bearer".len())?;
        let is_bearer = scheme.eq_ignore_ascii_case(b"Bearer") && token.first().is_none_or(|b| *b == b' ');
        is_bearer.then(|| std::str::from_utf8(token).unwrap_or_default().trim())
    });
    if let Some(token) = bearers.next() {
        return if bearers.next().is_some() { Presented::Malformed } else { of(token) };
    }
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let mut offers = offers.flat_map(|value| value.split(',')).map(str::trim);
    if let Some(token) = offers.find_map(|offer| offer.strip_prefix(SUBPROTOCOL_PREFIX)) {
        return of(token);
    }
    let pairs = query.unwrap_or_default().split('&');
    match pairs.filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == "token") {
        Some((_, value)) => decoded(value).map_or(Presented::Malformed, |token| of(&token)),
        None => Presented::Nothing,
    }
}

/// Decodes the percent-encoding of a value in a URL (RFC 3986 §2.1).
fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// True if two secrets are equal. The time taken does not reveal where they differ.
pub(crate) fn is_same(a: &[u8], b: &[u8]) -> bool {
    let differs = a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differs) == 0
}

/// The known tokens, by their hashes, with the names of their clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenList(Vec<(Hash, Option<Arc<str>>)>);

impl TokenList {
    /// Reads a list with one line for each token: its SHA-256 in hexadecimal and, after a space, optionally
    /// the name of its client. Empty lines and lines that begin with `#` are ignored, and so is the name `-`,
    /// which `sha256sum` prints.
    ///
    /// # Errors
    /// The number of the line and the mistake. The line itself is not shown: it may be a token.
    pub(crate) fn parse(text: &str) -> Result<TokenList, String> {
        let mut list = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why: &str| Err(format!("line {} {why}", at + 1));
            let (hash, name) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            let Some(hash) = hash_of(hash) else {
                return wrong("does not begin with a SHA-256 of 64 hexadecimal digits: see sha256sum");
            };
            let name = name.trim();
            if !is_name(name) {
                return wrong(
                    "has a name that is longer than 128 characters or contains a control character",
                );
            }
            let name = Some(name).filter(|name| !name.is_empty() && !["-", "*-"].contains(name));
            list.push((hash, name.map(Arc::from)));
            if list.len() > MAX_TOKENS {
                return wrong("is one too many: the limit is 10,000 tokens");
            }
        }
        Ok(TokenList(list))
    }

    /// Returns the number of tokens.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// True if the list has no token, so that no client can connect.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Finds a token; returns the name of its client, if the list has one. It always compares all tokens, so
    /// that the time taken reveals nothing.
    pub(crate) fn find(&self, token: &Token) -> Option<Option<Arc<str>>> {
        let hash = token.hash();
        let mut found = None;
        for (known, name) in &self.0 {
            if is_same(known, &hash) {
                found = Some(name);
            }
        }
        found.cloned()
    }
}

fn hash_of(hex: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    if hex.len() != 2 * hash.len() || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    fn token(text: &str) -> Presented {
        Presented::Token(Token::new(text).unwrap())
    }

    #[test]
    fn credential_is_found_in_each_place() {
        const A: &str = "authorization";
        const P: &str = "sec-websocket-protocol";
        for (lines, query, expected) in [
            (&[][..], None, Presented::Nothing),
            (&[(A, "Bearer abc.DEF-_~+/=")], None, token("abc.DEF-_~+/=")),
            (&[(A, "bearer   abc ")], None, token("abc")),
            (&[(A, "Basic abc")], None, Presented::Nothing),
            (&[(A, "Bearerabc")], None, Presented::Nothing),
            (&[(A, "Bearer")], None, Presented::Malformed),
            (&[(A, "Bearer ")], None, Presented::Malformed),
            (&[(A, "Bearer a b")], None, Presented::Malformed),
            (&[(A, "Bearer a"), (A, "Bearer b")], None, Presented::Malformed),
            (&[(A, "Basic a"), (A, "Bearer b")], None, token("b")),
            (&[(P, "aloud.v1, bearer.abc")], None, token("abc")),
            (&[(P, "aloud.v1"), (P, "bearer.abc")], None, token("abc")),
            (&[(P, "bearer.abc.def")], None, token("abc.def")),
            (&[(P, "bearer.")], None, Presented::Malformed),
            (&[(P, "Bearer.abc")], None, Presented::Nothing),
            (&[(P, "aloud.v1")], None, Presented::Nothing),
            (&[(A, "Bearer a"), (P, "bearer.b")], Some("token=c"), token("a")),
            (&[(P, "bearer.b")], Some("token=c"), token("b")),
            (&[], Some("token=c"), token("c")),
            (&[], Some("a=b&token=c%2B%3d&x"), token("c+=")),
            (&[], Some("token="), Presented::Malformed),
            (&[], Some("token=%"), Presented::Malformed),
            (&[], Some("token=%2"), Presented::Malformed),
            (&[], Some("token=%ff"), Presented::Malformed),
            (&[], Some("token=a%20b"), Presented::Malformed),
            (&[], Some("tokens=a&xtoken=b&token"), Presented::Nothing),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            assert_eq!(presented(&headers, query), expected, "{lines:?} {query:?}");
        }
        let long = "x".repeat(MAX_TOKEN_BYTES);
        assert!(Token::new(&long).is_some() && Token::new(&format!("{long}x")).is_none());
    }

    #[test]
    fn list_finds_tokens_by_hash() {
        // Printed by `printf %s secret | sha256sum`.
        let secret = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        let abc = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD";
        let list = format!("# mine\n\n{secret}  -\r\n  {abc}\talice of accounts \n");
        let list = TokenList::parse(&list).unwrap();
        assert_eq!((list.len(), list.is_empty()), (2, false));
        for (token, expected) in [
            ("secret", Some(None)),
            ("abc", Some(Some("alice of accounts"))),
            ("Secret", None),
            ("abcd", None),
            (secret, None),
        ] {
            let found = list.find(&Token::new(token).unwrap());
            assert_eq!(found.as_ref().map(Option::as_deref), expected, "{token}");
        }
        assert!(TokenList::parse("# empty\n").unwrap().is_empty());
    }

    #[test]
    fn list_with_a_mistake_names_the_line_without_showing_it() {
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for (text, expected) in [
            ("hunter2 alice".to_owned(), "line 1 does not begin with a SHA-256"),
            (format!("{hash} a\n\n{hash}0 b"), "line 3 does not begin"),
            (format!("{}g b", &hash[1..]), "line 1 does not begin"),
            ("\u{fc}".repeat(32), "line 1 does not begin"),
            (format!("{hash} {}", "n".repeat(129)), "line 1 has a name"),
            (format!("{hash} a\u{7}b"), "line 1 has a name"),
            (format!("{hash}\n").repeat(MAX_TOKENS + 1), "line 10001 is one too many"),
        ] {
            let error = TokenList::parse(&text).unwrap_err();
            assert!(error.starts_with(expected) && !error.contains("hunter2"), "{error}");
        }
        assert_eq!(TokenList::parse(&format!("{hash}\n").repeat(MAX_TOKENS)).unwrap().len(), MAX_TOKENS);
    }

    #[test]
    fn claims_are_granted_whole_or_not_at_all() {
        let grant =
            |json: &str| Grant::from_claims(serde_json::from_str::<Value>(json).unwrap().as_object()?);
        let of = |client: Option<&str>, restrictions: Restrictions| {
            let restrictions = (restrictions != Restrictions::default()).then(|| Arc::new(restrictions));
            Some(Grant { client: client.map(Arc::from), restrictions })
        };
        let voices = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        for (claims, expected) in [
            ("{}", of(None, Restrictions::default())),
            (r#"{"sub":"alice","exp":1,"other":{}}"#, of(Some("alice"), Restrictions::default())),
            (
                r#"{"voices":"a"}"#,
                of(None, Restrictions { voices: voices(&["a"]), ..Restrictions::default() }),
            ),
            (
                r#"{"voices":["b","a"]}"#,
                of(None, Restrictions { voices: voices(&["b", "a"]), ..Restrictions::default() }),
            ),
            (r#"{"maxChars":0}"#, of(None, Restrictions { max_chars: Some(0), ..Restrictions::default() })),
            (
                r#"{"maxSessionMs":1500}"#,
                of(
                    None,
                    Restrictions {
                        max_session: Some(Duration::from_millis(1500)),
                        ..Restrictions::default()
                    },
                ),
            ),
            (r#"{"sub":1}"#, None),
            (r#"{"sub":""}"#, None),
            (r#"{"sub":"a\nb"}"#, None),
            (r#"{"voices":1}"#, None),
            (r#"{"voices":["a",1]}"#, None),
            (r#"{"maxChars":-1}"#, None),
            (r#"{"maxChars":"1"}"#, None),
            (r#"{"maxChars":1.5}"#, None),
            (r#"{"maxSessionMs":null}"#, None),
        ] {
            assert_eq!(grant(claims), expected, "{claims}");
        }
    }

    #[test]
    fn token_is_never_shown() {
        let token = Token::new("hunter2").unwrap();
        let shown = format!("{token:?} {:?} {:?}", Presented::Token(token.clone()), Some(&token));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn secrets_compare_equal_or_not() {
        for (a, b, expected) in [("", "", true), ("a", "a", true), ("a", "b", false), ("a", "ab", false)] {
            assert_eq!(is_same(a.as_bytes(), b.as_bytes()), expected, "{a:?} {b:?}");
        }
    }
}
