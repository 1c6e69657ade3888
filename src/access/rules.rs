//! Settings of admission: who may connect, and the limits of each client.

use super::forwarded::TrustedProxy;
use super::host::AllowHost;
use super::origin::AllowOrigin;
use crate::setting::{ECHO, Field, Group, Kind, SERVE, Setting, flag, number, settings, text, whole};
use std::path::PathBuf;
use std::time::Duration;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

settings! {
    /// Clients that may open a session, and their limits.
    ///
    /// A credential names its client: a token by its name in the list, a JWT by its `sub`. Without a
    /// credential the client is an address: the peer's or, behind a trusted proxy, the address that
    /// the proxy names. IPv6 addresses of one /64 network, which is one household, are one client.
    ///
    /// The limits of a client are off by default, because one address can be many clients: behind a
    /// proxy that is not in `trusted_proxies`, or behind the NAT of a mobile network.
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct Admission in "admission." {
        auth: Auth = Auth::None => {
            short: "Credential that a client needs.",
        }
        /// An empty list allows pages from the host that the request itself names. Clients other than
        /// pages have no origin, and are not affected.
        allow_origins: Vec<AllowOrigin> = Vec::new() => {
            short: "Origins of pages that may connect.",
            long: "Browsers send them (RFC 6455 §10.2): `https://HOST`, null, or * for all. Separate several by commas, or repeat the option.",
            option: Setting {
                kind: Kind::List("https://HOST, null or *"),
                ..number("allow-origin", "ORIGIN", Group::Access, &[SERVE])
                    .defaulting_to("pages of the host that they connect to")
            },
        }
        /// On other addresses the server answers for every host. [`Service::respond`](crate::Service::respond)
        /// goes by the peer's address.
        hosts: Vec<AllowHost> = Vec::new() => {
            short: "Further hosts that the server answers for.",
            long: "On a loopback address and on a Unix socket, the server answers requests for localhost, \
                   `127.0.0.1`, `[::1]` and these hosts, and any other request with 421. So no page can use the \
                   server by making its own name point to this machine (DNS rebinding). Behind a proxy, give the \
                   host of its public URL, without a port; * allows every host. Separate several by commas, or \
                   repeat the option.",
            option: Setting {
                kind: Kind::List("a host name such as speech.example.com, or *"),
                ..number("host", "NAME", Group::Access, &[SERVE, ECHO]).defaulting_to("hosts of this machine only")
            },
        }
        trusted_proxies: Vec<TrustedProxy> = Vec::new() => {
            short: "Proxies whose forwarded addresses are believed.",
            long: "An address, a network such as `10.0.0.0/8`, or unix. The server then reads their \
                   `X-Forwarded-For`, `X-Forwarded-Host` and `Forwarded` (RFC 7239). \
                   Separate several by commas, or repeat the option.",
            option: Setting {
                kind: Kind::List("an address, a network such as 10.0.0.0/8, or unix"),
                ..number("trusted-proxy", "NETWORK", Group::Access, &[SERVE]).defaulting_to("none")
            },
        }
        token_in_query: bool = false => {
            short: "True if a credential may stand in the URL, as `?token=TOKEN`.",
            long: "Logs of proxies and browsers keep URLs.",
            option: Setting {
                short: "Accept a credential in the URL, as `?token=TOKEN`.",
                ..flag("token-in-query", Group::Access, &[SERVE])
            },
        }
        auth_timeout: Duration = ms(10_000) => {
            short: "Time for a client to send the message auth.",
            long: "It holds for clients of aloud.v1 that connect without a credential.",
            range: 1 to 604_800_000 "milliseconds",
            option: Setting {
                floor: 100.0,
                ..number("auth-timeout-ms", "MS", Group::Access, &[SERVE])
            },
        }
        ticket_ttl: Duration = ms(30_000) => {
            short: "Time for which a ticket is valid.",
            range: 1 to 604_800_000 "milliseconds",
        }
        ticket_key_file: Option<PathBuf> = None => {
            short: "File with a key that tickets are signed with.",
            long: "Every server with the same key accepts them, each of them once. The file holds 32 bytes or more, such as \
                   openssl rand -hex 32 gives. The clocks of the servers may differ by 30 s. Without this option tickets \
                   are for the server that has issued them.",
            option: text("ticket-key-file", "FILE", "a file name", Group::Access, &[SERVE]),
        }
        max_tickets: usize = 10_000 => {
            short: "Most tickets that wait to be used.",
            long: "One client may have a tenth of them, and at least one. Beyond the limit the client that has most \
                   loses its oldest one.",
            range: 1 to 100_000_000 "tickets",
        }
        max_connections: usize = 20_000 => {
            short: "Most connections of all clients.",
            long: "A handshake beyond the limit is answered with 503. Connections that have yet to send the message \
                   auth may have a tenth of them. As many sockets again, and at least 8, may be open without a session.",
            range: 1 to 10_000_000 "connections",
            option: number("max-connections", "N", Group::Total, &[SERVE]),
        }
        /// `None` is no limit.
        max_client_connections: Option<usize> = None => {
            short: "Most connections of one client.",
            long: "A client is what a credential names, or else an address. \
                   A handshake beyond the limit is answered with 429.",
            range: 1 to 1_000_000 "connections",
            option: number("max-client-connections", "N", Group::Client, &[SERVE]).defaulting_to("no limit"),
        }
        /// `None` is no limit.
        max_client_sessions: Option<usize> = None => {
            short: "Most started sessions of one client.",
            long: "Suspended sessions count too. \
                   `start_session` beyond the limit is answered with the error `rate_limited`.",
            range: 1 to 1_000_000 "sessions",
            option: number("max-client-sessions", "N", Group::Client, &[SERVE]).defaulting_to("no limit"),
        }
        /// `None` is no limit.
        max_client_handshakes_per_sec: Option<u32> = None => {
            short: "Most handshakes of one client.",
            long: "Requests for tickets count too. Requests beyond the limit are answered with 429.",
            range: 1 to 1_000_000 "handshakes per second",
            option: number("max-client-handshakes-per-second", "N", Group::Client, &[SERVE])
                .defaulting_to("no limit"),
        }
        /// `None` is no limit.
        max_client_chars_per_hour: Option<u64> = None => {
            short: "Most text spoken for one client.",
            long: "The allowance refills continuously. Beyond the limit the sentence that has begun is \
                   finished, and the session is closed, with 4413.",
            range: 1 to 1e12 "characters per hour",
            option: number("max-client-chars-per-hour", "N", Group::Client, &[SERVE]).defaulting_to("no limit"),
        }
        /// `None` is no limit.
        max_client_audio_seconds_per_hour: Option<u64> = None => {
            short: "Most audio sent to one client.",
            long: "Audio that is sent again after `recover` counts too. The allowance refills continuously. Beyond the \
                   limit the sentence that has begun is finished, and the session is closed, with 4413; `recover` is \
                   refused with 4429.",
            range: 1 to 1e9 "seconds per hour",
            option: number("max-client-audio-seconds-per-hour", "N", Group::Client, &[SERVE])
                .defaulting_to("no limit"),
        }
        /// The default takes some 15 MB.
        max_remembered_clients: usize = 65_536 => {
            short: "Most clients without a connection that the server remembers.",
            long: "They are remembered for their limits per second and per hour. The client seen least recently \
                   is forgotten first.",
            range: 0 to 100_000_000 "clients",
        }
    }
}

/// Credential that a client needs to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Auth {
    /// None.
    None,
    /// A token from the list in this file: see
    /// [`TokenList::parse`](crate::access::credential::TokenList::parse). The server reads the file
    /// again within a second after it changes.
    Tokens(PathBuf),
    /// A JSON Web Token (RFC 7519). Needs the feature `jwt`.
    Jwt(Jwt),
}

/// Rules for JSON Web Tokens. A token needs an `exp`, and `exp` and `nbf` are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Jwt {
    /// File with the key. The kind of key decides the algorithm: a public key in PEM is RSA (RS256,
    /// 2,048 bits or more) or Ed25519 (EdDSA); anything else is a shared secret of at least 32 bytes
    /// (HS256), without the line end behind it.
    pub key_file: PathBuf,
    /// Required `aud`. A token's `aud` must be this name, or contain it. Default: none, and tokens
    /// with an `aud` are refused.
    pub audience: Option<String>,
    /// Required `iss`. Default: any.
    pub issuer: Option<String>,
    /// Tolerated difference between the clocks of the issuer and of this server, in whole seconds.
    /// Up to an hour. Default: 30 s.
    pub leeway: Duration,
}

/// Declaration of [`Jwt::leeway`], which has no default without a key.
pub const JWT_LEEWAY: Setting = Setting {
    field: "admission.auth.leeway",
    short: "Tolerated clock difference for JSON Web Tokens.",
    range: whole(0, 3_600_000, "milliseconds"),
    field_default: || "30000".to_owned(),
    ..number("jwt-leeway-ms", "MS", Group::Access, &[SERVE])
};

impl Field for Admission {}

impl Field for Auth {}

impl Jwt {
    /// Creates rules for tokens signed with this key.
    pub fn new(key_file: impl Into<PathBuf>) -> Jwt {
        Jwt { key_file: key_file.into(), audience: None, issuer: None, leeway: Duration::from_secs(30) }
    }

    /// Changes some fields, for the middle of an expression.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Jwt)) -> Jwt {
        change(&mut self);
        self
    }
}
