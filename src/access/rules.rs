//! Who may enter, and how much of the server one client may have.

use crate::access::forwarded::TrustedProxy;
use crate::access::origin::AllowOrigin;
use std::path::PathBuf;
use std::time::Duration;

/// Who may open a session, and how many.
///
/// A client is whoever its credential names: a token's name in the list, or a JWT's `sub`. Where
/// there is none it is an address: that of the peer or, from a trusted proxy, the one that this
/// names; of IPv6 addresses the network of 64 bits, which is what one household has.
///
/// The limits for each client are off by default, because an address need not be one client: behind
/// a proxy that is not in `trusted_proxies`, or behind an operator's NAT, it is everyone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// What a client has to show. Default: nothing.
    pub auth: Auth,
    /// The pages that may open a session (RFC 6455 §10.2). Default: none are listed, which lets in
    /// those of the host that the request itself names. Clients that are no page have no origin, and
    /// are not concerned.
    pub allow_origins: Vec<AllowOrigin>,
    /// Proxies whose `X-Forwarded-For`, `X-Forwarded-Host` and `Forwarded` (RFC 7239) are believed.
    /// Default: none.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// Whether a credential may stand in the URL, as `?token=`, where logs of proxies and browsers
    /// keep it. Default: no.
    pub token_in_query: bool,
    /// How long a connection that came without a credential has to say `auth`. Default: 10 s.
    pub auth_timeout: Duration,
    /// How long a ticket is good for. Default: 30 s.
    pub ticket_ttl: Duration,
    /// The most tickets that wait to be used; a tenth of them, but one at least, for each client.
    /// Default: 10,000.
    pub max_tickets: usize,
    /// The most connections in all. Beyond it a handshake is answered with 503. Default: 20,000.
    pub max_connections: usize,
    /// The most connections of one client. Beyond it a handshake is answered with 429. Default: no
    /// limit.
    pub max_client_connections: Option<usize>,
    /// The most sessions of one client in which something was started, those that have lost their
    /// connection and are kept included. Beyond it `start_session` is answered with the error
    /// `rate_limited`. Default: no limit.
    pub max_client_sessions: Option<usize>,
    /// The most handshakes, and requests for tickets, of one client in a second. Beyond it they are
    /// answered with 429. Default: no limit.
    pub max_client_handshakes_per_sec: Option<u32>,
    /// The most characters that one client gives to the engine in an hour; what is left fills up
    /// again little by little. What was begun is still heard; then the session is closed, with 4413.
    /// Default: no limit.
    pub max_client_chars_per_hour: Option<u64>,
    /// The most clients without a connection that are remembered, for the two limits above; the ones
    /// seen least recently are forgotten first. Default: 65,536, which take some 15 MB.
    pub max_remembered_clients: usize,
}

impl Default for Admission {
    fn default() -> Admission {
        Admission {
            auth: Auth::None,
            allow_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            token_in_query: false,
            auth_timeout: Duration::from_secs(10),
            ticket_ttl: Duration::from_secs(30),
            max_tickets: 10_000,
            max_connections: 20_000,
            max_client_connections: None,
            max_client_sessions: None,
            max_client_handshakes_per_sec: None,
            max_client_chars_per_hour: None,
            max_remembered_clients: 65_536,
        }
    }
}

/// What a client has to show to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Nothing.
    None,
    /// A token out of the list in this file: see
    /// [`TokenList::parse`](crate::access::credential::TokenList::parse). The file is looked at again
    /// when it changes, within a second.
    Tokens(PathBuf),
    /// A JSON Web Token (RFC 7519). Only with the feature `jwt`.
    Jwt(Jwt),
}

/// Which JSON Web Tokens are good. `exp` must be there, and `exp` and `nbf` hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// The file with the key, whose kind alone decides on the algorithm: a public key in PEM is RSA
    /// (RS256, from 2,048 bits on) or Ed25519 (EdDSA); anything else is a shared secret of 32 bytes
    /// at least (HS256), less a line end behind it.
    pub key_file: PathBuf,
    /// What `aud` must be, or hold. Without it, tokens with an `aud` are meant for someone else.
    pub audience: Option<String>,
    /// What `iss` must be. Default: anything.
    pub issuer: Option<String>,
    /// How far the clocks of whoever makes tokens and of this server may be apart; whole seconds.
    /// Default: 30 s.
    pub leeway: Duration,
}

impl Jwt {
    /// Tokens that this key has signed.
    pub fn new(key_file: impl Into<PathBuf>) -> Jwt {
        Jwt { key_file: key_file.into(), audience: None, issuer: None, leeway: Duration::from_secs(30) }
    }
}
