//! Routes a request: the page in the browser, the list of voices, tickets, speech over HTTP, and opening handshakes.

use super::service::Service;
use super::speech::SpeechCall;
use super::upgrade::{self, Admitted};
use super::web;
use crate::access::host::{self, Unnamed};
use crate::access::{Pass, Visitor};
use crate::session::message::{PATH, SUBPROTOCOL};
use crate::ws::handshake::{self, Rejection};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, Version};
use std::net::IpAddr;
use tokio::time::Instant;

/// Path of the list of voices.
const VOICES_PATH: &str = "/api/voices";

/// Path at which a credential is exchanged for a ticket.
const TICKET_PATH: &str = "/api/session/ticket";

/// Time for which the list of voices may be cached. It only changes when the server restarts.
const VOICES_CACHE: &str = "max-age=60";

/// Seconds after which a client may try again while the server shuts down.
pub(super) const RETRY_AFTER_SECS: u64 = 5;

/// The answer to a request.
pub(super) enum Answer {
    /// An answer with which the request is done.
    Response(Response<Full<Bytes>>),
    /// A request for speech that was admitted. Its body decides on the answer.
    Speech(Box<SpeechCall>),
    /// The answer to a handshake that was accepted: 101, or 200 over HTTP/2. The connection starts
    /// behind it.
    Upgrade(Response<()>, Admitted),
}

pub(super) fn visitor<B>(request: &Request<B>, peer: Option<IpAddr>) -> Visitor<'_> {
    let host = named(request).unwrap_or_default();
    Visitor { peer, headers: request.headers(), host, query: request.uri().query() }
}

fn named<B>(request: &Request<B>) -> Result<Option<&str>, Unnamed> {
    host::named(request.version(), request.uri(), request.headers())
}

impl Service {
    /// Answers a request of the peer at this address.
    pub(super) fn answer<B>(&self, request: &Request<B>, peer: Option<IpAddr>) -> Answer {
        let shared = &self.shared;
        if let Err(rejection) = self.check_host(request, peer) {
            shared.telemetry.shook_hands(rejection.status.as_u16());
            return Answer::Response(self.refuse(request, peer, &rejection));
        }
        if !shared.echoes {
            if let Some(response) = web::answer(request, shared.config.demo) {
                return Answer::Response(response);
            }
            if shared.config.speech_api
                && let Some(answer) = self.speech_api(request, peer)
            {
                return answer;
            }
            match request.uri().path() {
                VOICES_PATH => return Answer::Response(self.voices(request.method())),
                TICKET_PATH => return Answer::Response(self.ticket(request, peer)),
                _ => {}
            }
        }
        let admitted = self.admit(request, peer);
        let status = admitted.as_ref().map_or_else(|rejection| rejection.status.as_u16(), |_| 101);
        shared.telemetry.shook_hands(status);
        match admitted {
            Ok((response, admitted)) => Answer::Upgrade(response, admitted),
            Err(rejection) => Answer::Response(self.refuse(request, peer, &rejection)),
        }
    }

    /// Checks that a request names one host, and one that this server answers for.
    ///
    /// # Errors
    /// The refusal: 400 or 421.
    pub(super) fn check_host<B>(&self, request: &Request<B>, peer: Option<IpAddr>) -> Result<(), Rejection> {
        let host = named(request).map_err(|Unnamed| match request.version() {
            Version::HTTP_2 => {
                Rejection::bad_request("The request needs one :authority with a host name in it.")
            }
            _ => Rejection::bad_request("The request needs one Host header with a host name in it."),
        })?;
        match self.is_local(peer) {
            true => self.shared.doorkeeper.check_host(host),
            false => Ok(()),
        }
    }

    /// Decides on an opening handshake.
    fn admit<B>(
        &self,
        request: &Request<B>,
        peer: Option<IpAddr>,
    ) -> Result<(Response<()>, Admitted), Rejection> {
        let shared = &self.shared;
        if !shared.echoes && request.uri().path() != PATH {
            return Err(Rejection::not_found());
        }
        let subprotocols: &[&str] = if shared.echoes { &[] } else { &[SUBPROTOCOL] };
        let (method, version, headers) = (request.method(), request.version(), request.headers());
        let accept = match version {
            Version::HTTP_2 => {
                let authority = request.uri().authority();
                handshake::accept_stream(method, protocol(request), authority, headers, subprotocols)?
            }
            _ => handshake::accept(method, version, headers, subprotocols)?,
        };
        if *shared.stop.borrow() {
            return Err(Rejection::unavailable(RETRY_AFTER_SECS));
        }
        let subprotocol = accept.subprotocol;
        let now = Instant::now().into_std();
        let Pass { permit, restrictions, must_authenticate, ticket } = match shared.echoes {
            true => shared.doorkeeper.admit_unchecked()?,
            // Only `aloud.v1` has a message that carries a credential after the handshake.
            false => shared.doorkeeper.admit(&visitor(request, peer), subprotocol.is_some(), now)?,
        };
        let settings = shared.narrowed(restrictions.as_deref()).ok_or_else(|| {
            Rejection::forbidden(
                "This credential allows none of this server's voices; /api/voices lists them.",
            )
        })?;
        // Nothing refuses the handshake any more.
        shared.doorkeeper.spend(ticket.as_ref(), now)?;
        let admitted = Admitted {
            subprotocol,
            permit,
            settings,
            must_authenticate,
            ticket,
            stopping: shared.stop.subscribe(),
        };
        Ok((accept.response(), admitted))
    }

    /// Turns a rejection into a response, and logs one line for the operator. Its level is `debug`:
    /// otherwise port scans would fill the log.
    fn refuse<B>(
        &self,
        request: &Request<B>,
        peer: Option<IpAddr>,
        rejection: &Rejection,
    ) -> Response<Full<Bytes>> {
        let client = || self.shared.doorkeeper.client(&visitor(request, peer));
        tracing::debug!("refused {}: {}: {}", client(), rejection.status, rejection.message);
        self.refusal(rejection, request.uri().path(), &visitor(request, peer))
    }

    /// Exchanges a credential for a ticket.
    fn ticket<B>(&self, request: &Request<B>, peer: Option<IpAddr>) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            return refused(&Rejection::method_not_allowed("POST"));
        }
        let (visitor, now) = (visitor(request, peer), Instant::now().into_std());
        let (ticket, ttl) = match self.shared.doorkeeper.issue_ticket(&visitor, upgrade::random(), now) {
            Ok(given) => given,
            Err(rejection) => return self.refuse(request, peer, &rejection),
        };
        let json = format!(r#"{{"ticket":"{}","expiresInMs":{}}}"#, ticket.reveal(), ttl.as_millis());
        let mut response = Response::new(Full::from(json));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// Lists the voices. For HEAD, hyper leaves the body out.
    fn voices(&self, method: &Method) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return refused(&Rejection::method_not_allowed("GET, HEAD"));
        }
        let mut response = Response::new(Full::from(self.shared.voices.clone()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(VOICES_CACHE));
        // The list is no secret, and pages of other origins ask for it, too.
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        response
    }
}

/// The pseudo-header `:protocol` of an extended CONNECT (RFC 8441 §4).
#[cfg(feature = "http2")]
fn protocol<B>(request: &Request<B>) -> Option<&str> {
    request.extensions().get::<hyper::ext::Protocol>().map(hyper::ext::Protocol::as_str)
}

#[cfg(not(feature = "http2"))]
fn protocol<B>(_: &Request<B>) -> Option<&str> {
    None
}

pub(super) fn refused(rejection: &Rejection) -> Response<Full<Bytes>> {
    rejection.response().map(|sentence| Full::from(Bytes::from(sentence)))
}
