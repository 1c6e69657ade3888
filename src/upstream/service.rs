//! A service over HTTP, ready to be called.

use super::call::Call;
use super::connector::Connector;
use super::failure::{Failure, FailureKind, Service};
use super::quote::{self, REASON_CHARS, printable};
use super::secret::Credentials;
use super::settings::{InvalidSettings, UpstreamSettings, base_url};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, USER_AGENT,
};
use hyper::{HeaderMap, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Time that an unused connection is kept. Common servers, such as uvicorn, close one after 5 s; a request
/// sent just then would be lost.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// Most unused connections that are kept.
const POOL_CONNECTIONS: usize = 32;

/// Bytes that a connection reads ahead of the reader of the reply; also the largest head.
const READ_AHEAD_BYTES: usize = 64 * 1024;

/// Time for which a service that failed is not asked, as long as there is another one.
const REST: Duration = Duration::from_secs(30);

/// A service over HTTP, at one or more addresses. Clones share its connections.
#[derive(Clone)]
pub struct Upstream(Arc<[Prepared]>);

/// All that the requests to an address have in common.
pub(super) struct Prepared {
    pub(super) service: Arc<Service>,
    /// Begin of each URL: scheme, authority, and a path without a slash or `/v1` at its end.
    prefix: String,
    pub(super) headers: HeaderMap,
    pub(super) client: Client<Connector, Full<Bytes>>,
    /// End of its rest after a failure.
    rests_until: Mutex<Option<Instant>>,
}

impl Prepared {
    fn rest(&self) -> MutexGuard<'_, Option<Instant>> {
        self.rests_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new(settings: UpstreamSettings) -> Result<Prepared, InvalidSettings> {
        let uri = base_url(&settings.base_url)
            .map_err(|why| InvalidSettings(format!("the URL of the {} {why}", settings.role)))?;
        let authority = uri.authority().expect("base_url checked it").as_str();
        let origin = format!("{}://{authority}", uri.scheme_str().expect("base_url checked it"));
        let prefix = uri.path().trim_end_matches('/');
        let prefix = format!("{origin}{}", prefix.strip_suffix("/v1").unwrap_or(prefix));

        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("aloud/", env!("CARGO_PKG_VERSION"))));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        match &settings.credentials {
            Credentials::None => None,
            Credentials::Bearer(key) => headers.insert(AUTHORIZATION, key.header("Bearer ")),
            Credentials::Header(name, key) => headers.insert(HeaderName::from_static(name), key.header("")),
        };

        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_CONNECTIONS)
            .http1_max_buf_size(READ_AHEAD_BYTES)
            .build(Connector::new(&settings)?);
        let service = Arc::new(Service::new(settings, origin));
        Ok(Prepared { service, prefix, headers, client, rests_until: Mutex::default() })
    }

    /// Reads an answer that is not a success.
    pub(super) async fn refused(&self, response: Response<Incoming>) -> Failure {
        let service = &*self.service;
        let key = service.settings.credentials.secret();
        let status = response.status();
        if status.is_redirection() {
            let to = response.headers().get(LOCATION).map(|to| String::from_utf8_lossy(to.as_bytes()));
            let to = printable(&to.unwrap_or_default(), key, REASON_CHARS);
            return service.failure(
                FailureKind::Redirect,
                "answered with a redirect, which is not followed",
                format_args!(
                    "answered {status} with a redirect to `{to}`, which is not followed; set the URL to the new address"
                ),
            );
        }
        let reason = quote::reason(response.into_body(), key).await;
        let summary = match status.as_u16() {
            401 | 403 => "does not accept our credentials".to_owned(),
            404 => "does not know the requested path, model or voice".to_owned(),
            429 => "has too many requests".to_owned(),
            code => format!("answered with the status {code}"),
        };
        let quoted = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let quoted = quoted.trim_end_matches('.');
        service.failure(
            FailureKind::Status(status.as_u16()),
            format_args!("{summary}{quoted}"),
            format_args!("answered {status}{quoted}"),
        )
    }
}

impl Upstream {
    /// Prepares calls to a service. Sends nothing.
    ///
    /// # Errors
    /// The base URL is invalid. One sentence says what to write instead.
    pub fn new(settings: UpstreamSettings) -> Result<Upstream, InvalidSettings> {
        let mut urls = vec![settings.base_url.clone()];
        urls.extend_from_slice(&settings.other_urls);
        let settings = std::iter::repeat_n(settings, urls.len());
        let at = |(base_url, settings)| Prepared::new(UpstreamSettings { base_url, ..settings });
        Ok(Upstream(urls.into_iter().zip(settings).map(at).collect::<Result<_, _>>()?))
    }

    /// Prepares a POST of a JSON document. Sends nothing before [`Call::attempt`].
    ///
    /// The path begins with a slash, follows that of the base URL, and may contain a query. `accept` is the
    /// media type requested.
    ///
    /// # Errors
    /// The path is invalid in a URL: its parts have to be percent-encoded.
    pub fn post(&self, path: &str, json: &Value, accept: &'static str) -> Result<Call, InvalidSettings> {
        let uri = |Prepared { service, prefix, .. }: &Prepared| {
            let url = format!("{prefix}{path}");
            url.parse().map_err(|error| {
                let role = service.settings.role;
                InvalidSettings(format!("{url} is an invalid URL for the {role}: {error}"))
            })
        };
        let uris = self.0.iter().map(uri).collect::<Result<_, _>>()?;
        Ok(Call::new(self.clone(), uris, json.to_string().into(), accept))
    }

    /// Number of the address to ask: the first one that does not rest, or else the one whose rest ends first.
    pub(super) fn choose(&self) -> usize {
        let now = Instant::now();
        let rest = |at: &usize| self.0[*at].rest().filter(|until| *until > now);
        (0..self.0.len()).min_by_key(rest).unwrap_or_default()
    }

    pub(super) fn at(&self, number: usize) -> &Prepared {
        &self.0[number]
    }

    /// An address failed. True if there is another one that does not rest.
    pub(super) fn failed(&self, number: usize) -> bool {
        let now = Instant::now();
        *self.0[number].rest() = Some(now + REST);
        self.0.iter().any(|place| place.rest().is_none_or(|until| until <= now))
    }

    /// The service as its failures name it: the one at its first address.
    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.0[0].service
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upstream").field(&self.0[0].service.settings).finish()
    }
}

/// Percent-encodes one segment of a path, or one value of a query: every byte except letters, digits and
/// `-._~` (RFC 3986 §2.1).
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(byte.into()),
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
