//! The decision on each opening handshake and each request for a ticket.

use super::accounts::{Account, Accounts, ClientId, ClientLimits};
use super::credential::{self, Grant, Presented, Restrictions, Token};
use super::keys::Keys;
use super::notice::Notice;
use super::origin::RefusedOrigins;
use super::permit::{Permit, Provisional};
use super::rate::{Rate, whole_secs};
use super::rules::Admission;
use super::shares::{Key, Shares};
use super::signature::TicketKey;
use super::sockets::{Sockets, Waiting};
use super::tickets::{self, Moment, Tickets};
use super::{forwarded, host, origin};
use crate::ws::handshake::Rejection;
use hyper::HeaderMap;
use hyper::header::{HeaderValue, ORIGIN};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// `Retry-After` of a refusal, in seconds, if the time of the next free place is unknown.
const RETRY_AFTER_SECS: u64 = 5;

/// The parts of a request that identify its client.
pub(crate) struct Visitor<'a> {
    /// Address of the peer; `None` for a Unix socket.
    pub(crate) peer: Option<IpAddr>,
    pub(crate) headers: &'a HeaderMap,
    /// Authority that the request is for, if it names one.
    pub(crate) host: Option<&'a str>,
    pub(crate) query: Option<&'a str>,
}

/// Result of a handshake that was admitted.
pub(crate) struct Pass {
    pub(crate) permit: Permit,
    pub(crate) restrictions: Option<Arc<Restrictions>>,
    /// True if the server requires a credential and the handshake had none.
    pub(crate) must_authenticate: bool,
    /// The ticket that the handshake had, to [spend](Doorkeeper::spend) once it is accepted.
    pub(crate) ticket: Option<Token>,
}

/// A credential that is valid.
#[derive(Default)]
pub(crate) struct Shown {
    grant: Grant,
    ticket: Option<Token>,
}

/// Reason to refuse a credential that came as a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The credential is invalid or expired.
    Unauthorized,
    /// The credential's client has too many connections.
    TooMany,
    /// The connection came too late with its credential: another one has its place.
    Displaced,
}

/// Applies the rules of admission, and counts sockets, connections, handshakes and tickets.
pub(crate) struct Doorkeeper {
    rules: Admission,
    keys: Keys,
    accounts: Accounts,
    tickets: Tickets,
    sockets: Arc<Sockets>,
    connections: AtomicUsize,
    /// Connections that have not shown a credential yet. They count among the connections.
    provisional: Mutex<Shares<ClientId, Arc<Notice>>>,
    refused_origins: RefusedOrigins,
}

impl Doorkeeper {
    /// Reads the files that the rules name.
    ///
    /// # Errors
    /// The path of a field, and one sentence for the operator: a file is unusable, or this build lacks a feature.
    pub(crate) fn new(rules: Admission, now: Instant) -> Result<Doorkeeper, (&'static str, String)> {
        let limits = ClientLimits {
            connections: rules.max_client_connections,
            sessions: rules.max_client_sessions,
            handshakes: rules.max_client_handshakes_per_sec.map(|count| Rate::per_sec(count, 1)),
            chars: rules.max_client_chars_per_hour.map(Rate::per_hour),
            audio: rules.max_client_audio_seconds_per_hour.map(|seconds| Rate::per_hour(seconds * 1_000)),
        };
        let ticket_key = rules.ticket_key_file.as_deref().map(TicketKey::read).transpose();
        let ticket_key = ticket_key.map_err(|why| ("admission.ticket_key_file", why))?;
        Ok(Doorkeeper {
            keys: Keys::read(&rules.auth, now).map_err(|why| ("admission.auth", why))?,
            accounts: Accounts::new(limits, rules.max_remembered_clients),
            tickets: Tickets::new(rules.ticket_ttl, rules.max_tickets, ticket_key),
            sockets: Arc::new(Sockets::new(rules.max_connections, rules.max_client_connections)),
            connections: AtomicUsize::new(0),
            provisional: Mutex::default(),
            refused_origins: RefusedOrigins::default(),
            rules,
        })
    }

    /// The reports on clients that are due for the servers that share the limits.
    #[cfg(feature = "redis")]
    pub(crate) fn reports(&self, now: Instant) -> Vec<super::shared::Report> {
        self.accounts.reports(now)
    }

    /// Decides on an opening handshake. If `can_authenticate_later`, a handshake without a credential is
    /// admitted for now: its client can send one as the first message.
    ///
    /// # Errors
    /// The refusal: 403, 401, 429 or 503.
    pub(crate) fn admit(
        self: &Arc<Self>,
        visitor: &Visitor<'_>,
        can_authenticate_later: bool,
        now: Instant,
    ) -> Result<Pass, Rejection> {
        let client = &self.client(visitor);
        self.check_origin(visitor)?;
        let shown = match self.shown(visitor, client, true, now) {
            Err(rejection)
                if rejection.status == 401
                    && can_authenticate_later
                    && self.presented(visitor) == Presented::Nothing =>
            {
                None
            }
            shown => Some(shown?),
        };
        let must_authenticate = shown.is_none();
        let Shown { grant, ticket } = shown.unwrap_or_default();
        let client = grant.client.map_or_else(|| client.clone(), ClientId::Named);
        self.count_handshake(&client, now)?;
        // Counts from here on; dropping the permit on a refusal below frees the place.
        let mut permit = self.count_in(&client, must_authenticate)?;
        if !permit.assign(&client, now) {
            let limit = self.rules.max_client_connections.unwrap_or_default();
            let message = format!("Too many connections from this client (limit {limit})");
            return Err(Rejection::too_many(&message, RETRY_AFTER_SECS));
        }
        Ok(Pass { permit, restrictions: grant.restrictions, must_authenticate, ticket })
    }

    /// Checks the credential of a request that opens nothing, and counts it as a handshake.
    ///
    /// # Errors
    /// The refusal: 403, 401 or 429.
    pub(crate) fn check(&self, visitor: &Visitor<'_>, now: Instant) -> Result<(), Rejection> {
        self.check_origin(visitor)?;
        let client = self.client(visitor);
        let Shown { grant, .. } = self.shown(visitor, &client, false, now)?;
        self.count_handshake(&grant.client.map_or(client, ClientId::Named), now)
    }

    /// Uses up the ticket of a handshake, or of a message, that is accepted.
    ///
    /// # Errors
    /// 401: another handshake has used it in the meantime.
    pub(crate) fn spend(&self, ticket: Option<&Token>, now: Instant) -> Result<(), Rejection> {
        match ticket {
            Some(ticket) if !self.tickets.spend(ticket, Moment::now(now)) => {
                Err(Rejection::unauthorized(true))
            }
            _ => Ok(()),
        }
    }

    /// Counts a socket from accept on: the peer has this address, or none if it is a Unix socket.
    pub(crate) fn enter(&self, peer: Option<IpAddr>) -> Waiting {
        let is_one_client = peer.is_some() && !self.is_proxy(peer);
        self.sockets.enter(is_one_client.then(|| ClientId::of_address(peer)))
    }

    /// True if this peer is a trusted proxy, which connects for many clients.
    pub(crate) fn is_proxy(&self, peer: Option<IpAddr>) -> bool {
        forwarded::is_trusted(&self.rules.trusted_proxies, peer)
    }

    /// Has some sockets without a session closed: the system has no descriptor for another one. Returns false if
    /// there are none.
    pub(crate) fn dismiss(&self, count: usize) -> bool {
        self.sockets.dismiss(count)
    }

    /// Admits a handshake by the limit on connections alone.
    ///
    /// # Errors
    /// 503: the server is full.
    pub(crate) fn admit_unchecked(self: &Arc<Self>) -> Result<Pass, Rejection> {
        let permit = self.count_in(&ClientId::Local, false)?;
        Ok(Pass { permit, restrictions: None, must_authenticate: false, ticket: None })
    }

    /// Issues a ticket for a request with a valid credential. Returns the time it is valid, too.
    ///
    /// # Errors
    /// The refusal: 401, 403, 404, 429 or 503.
    pub(crate) fn issue_ticket(
        &self,
        visitor: &Visitor<'_>,
        random: [u8; tickets::BYTES],
        now: Instant,
    ) -> Result<(Token, Duration), Rejection> {
        if self.keys.is_open() {
            return Err(Rejection::not_found());
        }
        self.check_origin(visitor)?;
        let client = self.client(visitor);
        let Shown { grant, .. } = self.shown(visitor, &client, false, now)?;
        let client = grant.client.clone().map_or(client, ClientId::Named);
        self.count_handshake(&client, now)?;
        let ticket = self.tickets.issue(&client, grant, random, Moment::now(now));
        let ticket = ticket.ok_or_else(|| Rejection::unavailable(RETRY_AFTER_SECS))?;
        Ok((ticket, self.rules.ticket_ttl))
    }

    /// Checks a credential that came as the first message of a connection. Returns the restrictions, and the
    /// ticket to [spend](Doorkeeper::spend).
    ///
    /// # Errors
    /// The reason to refuse it.
    pub(crate) fn authenticate(
        &self,
        permit: &mut Permit,
        token: &Token,
        now: Instant,
    ) -> Result<(Option<Arc<Restrictions>>, Option<Token>), Refusal> {
        let Shown { grant, ticket } = self.find(token, true, now).ok_or(Refusal::Unauthorized)?;
        if !permit.confirm() {
            return Err(Refusal::Displaced);
        }
        if let Some(name) = grant.client
            && !permit.assign(&ClientId::Named(name), now)
        {
            return Err(Refusal::TooMany);
        }
        Ok((grant.restrictions, ticket))
    }

    /// Checks the host of a request that came over a socket which only this machine can reach.
    ///
    /// # Errors
    /// 421: the server does not answer for this host.
    pub(crate) fn check_host(&self, host: Option<&str>) -> Result<(), Rejection> {
        match host {
            // No browser sends a request without a host.
            None => Ok(()),
            Some(host) if host::is_allowed(&self.rules.hosts, host) => Ok(()),
            Some(host) => Err(Rejection::misdirected(host)),
        }
    }

    /// Returns the client by its address, as far as trusted proxies report it.
    pub(crate) fn client(&self, visitor: &Visitor<'_>) -> ClientId {
        ClientId::of_address(forwarded::client(&self.rules.trusted_proxies, visitor.peer, visitor.headers))
    }

    /// True if every place for a connection is taken, and none of them by a connection that has yet to show its
    /// credential.
    pub(crate) fn is_full(&self) -> bool {
        let taken = self.connections.load(Ordering::Relaxed);
        taken >= self.rules.max_connections && self.provisional().len() == 0
    }

    /// Returns the account of a client; `None` if the server has no limits for each client.
    pub(super) fn account(&self, client: &ClientId, now: Instant) -> Option<Arc<Account>> {
        self.accounts.of(client, now)
    }

    /// Checks the origin of the page that a request comes from, if it comes from one.
    ///
    /// # Errors
    /// 403: pages of this origin may not connect.
    pub(crate) fn check_origin(&self, visitor: &Visitor<'_>) -> Result<(), Rejection> {
        let Visitor { peer, headers, host, .. } = visitor;
        let origins = headers.get_all(ORIGIN).iter().map(HeaderValue::as_bytes);
        let requested = host.unwrap_or_default();
        let is_proxy = self.is_proxy(*peer);
        let before = if is_proxy { forwarded::host(headers) } else { None };
        let hosts = [requested, before.as_deref().unwrap_or(requested)];
        if origin::is_allowed(&self.rules.allow_origins, origins, &hosts) {
            return Ok(());
        }
        let refused = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
        if let Some(origin) = refused.filter(|origin| self.refused_origins.is_new(origin)) {
            tracing::info!(
                "pages of {origin} may not connect; to let them in, start the server with --allow-origin \
                 {origin} (logged once for each origin)"
            );
        }
        Err(Rejection::forbidden(
            "Pages of this origin may not connect here. The operator can allow the origin with \
             --allow-origin.",
        ))
    }

    fn presented(&self, visitor: &Visitor<'_>) -> Presented {
        credential::presented(visitor.headers, visitor.query.filter(|_| self.rules.token_in_query))
    }

    /// Returns the request's credential, if it is valid.
    ///
    /// # Errors
    /// 401; 429 for an address that has presented too many invalid ones.
    fn shown(
        &self,
        visitor: &Visitor<'_>,
        client: &ClientId,
        accepts_tickets: bool,
        now: Instant,
    ) -> Result<Shown, Rejection> {
        if self.keys.is_open() {
            return Ok(Shown::default());
        }
        let account = self.account(client, now);
        if let Some(Err(wait)) = account.as_ref().map(|account| account.check_handshake(now)) {
            return Err(self.too_often(wait));
        }
        let shown = match self.presented(visitor) {
            Presented::Nothing => return Err(Rejection::unauthorized(false)),
            Presented::Malformed => None,
            Presented::Token(token) => self.find(&token, accepts_tickets, now),
        };
        shown.ok_or_else(|| {
            // A guess counts for the address: no client name is known.
            let _ = account.map(|account| account.count_handshake(now));
            Rejection::unauthorized(true)
        })
    }

    fn find(&self, token: &Token, accepts_tickets: bool, now: Instant) -> Option<Shown> {
        let shown = self.keys.find(token, now).map(|grant| Shown { grant, ticket: None });
        shown.or_else(|| {
            let grant = if accepts_tickets { self.tickets.find(token, Moment::now(now)) } else { None };
            grant.map(|grant| Shown { grant, ticket: Some(token.clone()) })
        })
    }

    fn count_handshake(&self, client: &ClientId, now: Instant) -> Result<(), Rejection> {
        let account = self.account(client, now);
        account.map_or(Ok(()), |account| account.count_handshake(now)).map_err(|wait| self.too_often(wait))
    }

    /// Takes a place for a connection. Connections that have yet to show a credential have at most a tenth of
    /// the places, and give them to connections that have shown one: of the client that has most of them, the
    /// oldest first.
    ///
    /// # Errors
    /// 503: every place is taken.
    fn count_in(self: &Arc<Self>, client: &ClientId, must_authenticate: bool) -> Result<Permit, Rejection> {
        let most = self.rules.max_connections;
        let more = |count: usize| (count < most).then_some(count + 1);
        let mut provisional = self.provisional();
        let is_over = must_authenticate && provisional.len() >= (most / 10).max(1);
        let has_place =
            !is_over && self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if !has_place {
            // The place of another connection, if there is one that gives it.
            let displaced = provisional.oldest_of_most().and_then(|key| provisional.remove(key));
            displaced.ok_or_else(|| Rejection::unavailable(RETRY_AFTER_SECS))?.give();
        }
        let held = must_authenticate.then(|| {
            let notice = Arc::<Notice>::default();
            let key = provisional.insert(client.clone(), 0, Arc::clone(&notice));
            Provisional { key, notice }
        });
        drop(provisional);
        Ok(Permit::new(Arc::clone(self), client.clone(), held))
    }

    fn provisional(&self) -> MutexGuard<'_, Shares<ClientId, Arc<Notice>>> {
        self.provisional.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the count of a connection among those without a credential; false if it had to give its place away.
    pub(super) fn confirm(&self, key: Key) -> bool {
        self.provisional().remove(key).is_some()
    }

    fn too_often(&self, wait: Duration) -> Rejection {
        let limit = self.rules.max_client_handshakes_per_sec.unwrap_or_default();
        let message = format!("Too many handshakes from this client (limit {limit} per second)");
        Rejection::too_many(&message, whole_secs(wait))
    }

    /// Frees the place of a connection.
    pub(super) fn count_out(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
