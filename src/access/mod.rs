//! Who may enter: the page, the credential, the limits; and a permit that gives back what it counts.
//!
//! Judges heads, not bytes, and knows no session: what a credential narrows down is handed on. The
//! rules themselves are pure and stand in [`origin`], [`forwarded`], [`credential`] and
//! [`rate`]; here they meet the clients that are there.

mod accounts;
pub mod credential;
pub mod forwarded;
#[cfg(feature = "jwt")]
mod jwt;
pub mod origin;
pub mod rate;
pub mod rules;
mod tickets;
mod tokens;

pub(crate) use accounts::{ClientId, SessionSlot};

use crate::ws::handshake::Rejection;
use accounts::{Accounts, Connected};
use credential::{Grant, Presented, Restrictions, Token};
use hyper::HeaderMap;
use hyper::header::{HOST, HeaderValue, ORIGIN};
use rate::Rate;
use rules::{Admission as Rules, Auth};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tickets::Tickets;
use tokens::TokenFile;

/// When to come back, in seconds, where nothing says when there is room again.
const RETRY_AFTER_SECS: u64 = 5;

/// Why a client may start nothing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaReached {
    /// It has as many sessions as it may.
    Sessions,
    /// It was given as much speech as it may have in a time.
    Characters,
}

/// A request, as far as it says who makes it.
pub(crate) struct Visitor<'a> {
    /// The address of the peer; none where it came over a socket in the file system.
    pub(crate) peer: Option<IpAddr>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) query: Option<&'a str>,
}

/// What somebody gets who was let in.
pub(crate) struct Pass {
    pub(crate) permit: Permit,
    pub(crate) restrictions: Option<Arc<Restrictions>>,
    /// No credential came with the handshake, and one is needed.
    pub(crate) must_authenticate: bool,
}

/// Why a credential that came later is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is not a good one.
    Unauthorized,
    /// Its client has as many connections as it may, or comes too often.
    TooMany,
}

/// All that is needed to judge, and what is counted.
pub(crate) struct Admission {
    rules: Rules,
    keys: Keys,
    accounts: Accounts,
    tickets: Tickets,
    connections: AtomicUsize,
}

/// What credentials are checked with.
enum Keys {
    /// None is needed.
    None,
    Tokens(TokenFile),
    #[cfg(feature = "jwt")]
    Jwt(Box<jwt::JwtKey>),
}

impl Admission {
    /// Reads the files that the rules name.
    ///
    /// # Errors
    /// A sentence for the operator: a file that cannot be used, or a build that cannot do it.
    pub(crate) fn new(rules: Rules, now: Instant) -> Result<Admission, String> {
        let keys = match &rules.auth {
            Auth::None => Keys::None,
            Auth::Tokens(path) => Keys::Tokens(TokenFile::read(path, now)?),
            #[cfg(feature = "jwt")]
            Auth::Jwt(jwt) => Keys::Jwt(Box::new(jwt::JwtKey::read(jwt)?)),
            #[cfg(not(feature = "jwt"))]
            Auth::Jwt(_) => {
                return Err("this program was built without JSON Web Tokens; build it with --features jwt, \
                            or use a list of tokens"
                    .to_owned());
            }
        };
        let limits = accounts::Limits {
            connections: rules.max_client_connections,
            sessions: rules.max_client_sessions,
            handshakes: rules.max_client_handshakes_per_sec.map(|count| Rate::per_sec(count, 1)),
            chars: rules.max_client_chars_per_hour.map(Rate::per_hour),
        };
        Ok(Admission {
            keys,
            accounts: Accounts::new(limits, rules.max_remembered_clients),
            tickets: Tickets::new(rules.ticket_ttl, rules.max_tickets),
            connections: AtomicUsize::new(0),
            rules,
        })
    }

    /// Judges an opening handshake. One without a credential is let in for the moment if its client
    /// `knows_auth`, so that it can still say one.
    ///
    /// # Errors
    /// The refusal: 403, 401, 429 or 503.
    pub(crate) fn enter(
        self: &Arc<Self>,
        visitor: &Visitor<'_>,
        knows_auth: bool,
        now: Instant,
    ) -> Result<Pass, Rejection> {
        let client = &self.client(visitor);
        self.check_origin(visitor)?;
        // Counted from here on, and given back should anything below refuse.
        let mut permit =
            self.counted(client.clone()).ok_or_else(|| Rejection::unavailable(RETRY_AFTER_SECS))?;
        let grant = match self.grant(visitor, client, true, now) {
            Err(rejection) if rejection.status == 401 && knows_auth && self.says_nothing(visitor) => None,
            grant => Some(grant?),
        };
        let must_authenticate = grant.is_none();
        let grant = grant.unwrap_or_default();
        let client = grant.client.map_or_else(|| client.clone(), ClientId::Named);
        self.count_handshake(&client, now)?;
        if !permit.belongs_to(&client, now) {
            let message = "This client has as many connections as it may";
            return Err(Rejection::too_many(message, RETRY_AFTER_SECS));
        }
        Ok(Pass { permit, restrictions: grant.restrictions, must_authenticate })
    }

    /// Lets anybody in, as long as there is room.
    ///
    /// # Errors
    /// 503: full.
    pub(crate) fn enter_unasked(self: &Arc<Self>) -> Result<Pass, Rejection> {
        let permit = self.counted(ClientId::Local).ok_or_else(|| Rejection::unavailable(RETRY_AFTER_SECS))?;
        Ok(Pass { permit, restrictions: None, must_authenticate: false })
    }

    /// A ticket, and how long it is good for, for whoever shows a credential.
    ///
    /// # Errors
    /// The refusal: 401, 403, 404, 429 or 503.
    pub(crate) fn give_ticket(
        &self,
        visitor: &Visitor<'_>,
        random: [u8; tickets::BYTES],
        now: Instant,
    ) -> Result<(Token, Duration), Rejection> {
        if matches!(self.keys, Keys::None) {
            return Err(Rejection::not_found());
        }
        self.check_origin(visitor)?;
        let client = self.client(visitor);
        let grant = self.grant(visitor, &client, false, now)?;
        let client = grant.client.clone().map_or(client, ClientId::Named);
        self.count_handshake(&client, now)?;
        let ticket = self.tickets.give(grant, random, now);
        let ticket = ticket.ok_or_else(|| Rejection::unavailable(RETRY_AFTER_SECS))?;
        Ok((ticket, self.rules.ticket_ttl))
    }

    /// Judges a credential that came as the first message, for a connection that has a permit.
    ///
    /// # Errors
    /// Why it is of no use.
    pub(crate) fn authenticate(
        &self,
        permit: &mut Permit,
        token: &Token,
        now: Instant,
    ) -> Result<Option<Arc<Restrictions>>, Refusal> {
        let grant = self.find(token, true, now).ok_or(Refusal::Unauthorized)?;
        if let Some(name) = grant.client
            && !permit.belongs_to(&ClientId::Named(name), now)
        {
            return Err(Refusal::TooMany);
        }
        Ok(grant.restrictions)
    }

    pub(crate) fn client(&self, visitor: &Visitor<'_>) -> ClientId {
        ClientId::of_address(forwarded::client(&self.rules.trusted_proxies, visitor.peer, visitor.headers))
    }

    fn check_origin(&self, visitor: &Visitor<'_>) -> Result<(), Rejection> {
        let Visitor { peer, headers, .. } = visitor;
        let origins = headers.get_all(ORIGIN).iter().map(HeaderValue::as_bytes);
        let asked = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let is_proxy = forwarded::is_trusted(&self.rules.trusted_proxies, *peer);
        let before = if is_proxy { forwarded::host(headers) } else { None };
        let hosts = [asked, before.as_deref().unwrap_or(asked)];
        match origin::is_allowed(&self.rules.allow_origins, origins, &hosts) {
            true => Ok(()),
            false => Err(Rejection::forbidden(
                "Pages of this origin may not connect here; whoever runs this server can allow them, with \
                 --allow-origin.",
            )),
        }
    }

    fn presented(&self, visitor: &Visitor<'_>) -> Presented {
        credential::presented(visitor.headers, visitor.query.filter(|_| self.rules.token_in_query))
    }

    fn says_nothing(&self, visitor: &Visitor<'_>) -> bool {
        self.presented(visitor) == Presented::Nothing
    }

    /// What the request's credential is good for.
    ///
    /// # Errors
    /// 401; 429 for an address that has shown too many that are wrong.
    fn grant(
        &self,
        visitor: &Visitor<'_>,
        client: &ClientId,
        takes_tickets: bool,
        now: Instant,
    ) -> Result<Grant, Rejection> {
        if matches!(self.keys, Keys::None) {
            return Ok(Grant::default());
        }
        let account = self.accounts.of(client, now);
        if let Some(Err(wait)) = account.as_ref().map(|account| account.may_shake_hands(now)) {
            return Err(too_often(wait));
        }
        let grant = match self.presented(visitor) {
            Presented::Nothing => return Err(Rejection::unauthorized(false)),
            Presented::Malformed => None,
            Presented::Token(token) => self.find(&token, takes_tickets, now),
        };
        grant.ok_or_else(|| {
            // Whoever guesses does so at the cost of the address, for there is no name yet.
            let _ = account.map(|account| account.shake_hands(now));
            Rejection::unauthorized(true)
        })
    }

    fn find(&self, token: &Token, takes_tickets: bool, now: Instant) -> Option<Grant> {
        let grant = match &self.keys {
            Keys::None => return Some(Grant::default()),
            Keys::Tokens(file) => file.find(token, now),
            #[cfg(feature = "jwt")]
            Keys::Jwt(key) => key.verify(token),
        };
        // A ticket is spent once it was looked for, so that is not done where none is taken.
        grant.or_else(|| if takes_tickets { self.tickets.take(token, now) } else { None })
    }

    fn count_handshake(&self, client: &ClientId, now: Instant) -> Result<(), Rejection> {
        let account = self.accounts.of(client, now);
        account.map_or(Ok(()), |account| account.shake_hands(now)).map_err(too_often)
    }

    /// Whether there is room for no connection more.
    pub(crate) fn is_full(&self) -> bool {
        self.connections.load(Ordering::Relaxed) >= self.rules.max_connections
    }

    /// A permit that counts as a connection, if there is room for one.
    fn counted(self: &Arc<Self>, client: ClientId) -> Option<Permit> {
        let most = self.rules.max_connections;
        let more = |count: usize| (count < most).then_some(count + 1);
        self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Permit { admission: Arc::clone(self), client, connected: None })
    }
}

fn too_often(wait: Duration) -> Rejection {
    let secs = wait.as_secs().saturating_add(1).min(3600);
    Rejection::too_many("This client connects too often", secs)
}

/// A connection that was let in, counted for as long as this lives.
pub(crate) struct Permit {
    admission: Arc<Admission>,
    client: ClientId,
    /// What its client has; none where that is not limited.
    connected: Option<Connected>,
}

impl Permit {
    /// Whose it is: a name once a credential has told it, else an address.
    pub(crate) fn client(&self) -> &ClientId {
        &self.client
    }

    /// Counts it as this client's from now on; whether that may have another connection.
    fn belongs_to(&mut self, client: &ClientId, now: Instant) -> bool {
        self.client = client.clone();
        let Some(account) = self.admission.accounts.of(client, now) else { return true };
        match account.connect() {
            Some(connected) => self.connected = Some(connected),
            None => return false,
        }
        true
    }

    /// Counts characters that are given to the engine; whether its client may have more.
    pub(crate) fn spend(&self, chars: u64, now: Instant) -> bool {
        self.connected.as_ref().is_none_or(|connected| connected.account().spend(chars, now))
    }

    /// Whether characters have to be counted, and what is started has to be asked for.
    pub(crate) fn limits_sessions(&self) -> bool {
        self.connected.as_ref().is_some_and(|connected| connected.account().limits_sessions())
    }

    /// Room for a session in which something is about to be started, which may have some already.
    ///
    /// # Errors
    /// Why nothing can be started.
    pub(crate) fn begin(&self, slot: &mut Option<SessionSlot>, now: Instant) -> Result<(), QuotaReached> {
        let Some(account) = self.connected.as_ref().map(Connected::account) else { return Ok(()) };
        if !account.may_speak(now) {
            return Err(QuotaReached::Characters);
        }
        if slot.is_none() {
            *slot = account.begin();
        }
        slot.as_ref().map(|_| ()).ok_or(QuotaReached::Sessions)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
