//! A service over HTTP that works for us: its address, its credentials, and how long it may take.
//!
//! Nothing here knows what is asked for, speech or text: a JSON document is posted, and what comes
//! back is passed on as it arrives. Connections are kept and used again. Dropping a [`Call`] or a
//! [`Reply`] that is not read to its end aborts the request: its connection is closed, which is how
//! a service learns that nobody wants the rest.
//!
//! Deadlines count only the time that is spent waiting for the service. While whoever reads a
//! [`Reply`] is busy, or its own listener slow, no time passes.

use crate::deadline;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue,
    LOCATION, RETRY_AFTER, USER_AGENT,
};
use hyper::{HeaderMap, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::{self, Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long a connection waits for its next use. Below the 5 s after which common servers, such as
/// uvicorn, close it: a request that meets the close on its way would be lost.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// Connections that wait for their next use at the same time.
const POOL_CONNECTIONS: usize = 32;

/// Bytes that one connection reads ahead of whoever reads the reply; also the largest head.
const READ_AHEAD_BYTES: usize = 64 * 1024;

/// What is read of an answer that says why there is none, and how long that may take.
const REASON_BYTES: usize = 4 * 1024;
const REASON_TIMEOUT: Duration = Duration::from_secs(1);

/// Characters of a service's own words that are passed on.
const REASON_CHARS: usize = 200;

/// Characters of anything else that quotes it.
const QUOTE_CHARS: usize = 400;

/// So many of the first characters of a key may be shown: a prefix such as `sk-`, or what any word
/// begins with.
const SHOWN_OF_KEY: usize = 4;

/// The longest key, in bytes: what fits a header everywhere.
const MAX_KEY_BYTES: usize = 4 * 1024;

#[cfg(not(feature = "tls"))]
type Inner = HttpConnector;
#[cfg(feature = "tls")]
type Inner = hyper_rustls::HttpsConnector<HttpConnector>;

/// A key or token, which no output of ours ever shows: neither `Debug` nor `Display` gives it away.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Takes a key; white space around it, such as the line end of a file, is left out.
    ///
    /// # Errors
    /// What is wrong with it, as one sentence that does not show it.
    pub fn new(key: &str) -> Result<Secret, String> {
        let key = key.trim();
        if key.is_empty() {
            return Err("the key is empty".to_owned());
        }
        if key.len() > MAX_KEY_BYTES {
            return Err(format!("the key is longer than {MAX_KEY_BYTES} bytes"));
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the key holds a space, or what is not ASCII; give the key alone".to_owned());
        }
        Ok(Secret(key.into()))
    }

    /// Reads a key from a file that holds nothing else.
    ///
    /// # Errors
    /// The file cannot be read or holds no key, as one sentence that names it.
    pub fn from_file(path: &Path) -> Result<Secret, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("the key cannot be read from {}: {error}", path.display()))?;
        Secret::new(&text).map_err(|why| format!("{} holds no key: {why}", path.display()))
    }

    /// A header's value that is this key behind a prefix.
    pub(crate) fn header(&self, prefix: &str) -> HeaderValue {
        let mut value = HeaderValue::from_str(&format!("{prefix}{}", self.0))
            .expect("a key is graphic ASCII, and so is what stands before it");
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a key)")
    }
}

/// How a request shows that it may be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Not at all, as for a service on the same machine.
    #[default]
    None,
    /// `Authorization: Bearer KEY` (RFC 6750 §2.1).
    Bearer(Secret),
    /// A header of the service's own, such as `xi-api-key`. The name is in lower case.
    Header(&'static str, Secret),
}

impl Credentials {
    fn secret(&self) -> Option<&Secret> {
        match self {
            Credentials::None => None,
            Credentials::Bearer(secret) | Credentials::Header(_, secret) => Some(secret),
        }
    }
}

/// How long a service may take. Only time spent waiting for it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// From nothing to a connection: name, TCP, TLS. Default: 5 s.
    pub connect: Duration,
    /// From the beginning of an attempt, connecting included, to the first byte of the body.
    /// Default: 20 s: a service that speaks a sentence in one piece takes its time.
    pub first_byte: Duration,
    /// Between any two parts of the body. Default: 10 s.
    pub idle: Duration,
    /// All of it: attempts, the pauses between them, and the body. Default: 120 s.
    pub total: Duration,
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(20),
            idle: Duration::from_secs(10),
            total: Duration::from_secs(120),
        }
    }
}

/// How often a request is made again that was not taken: the service could not be reached, broke
/// the connection without an answer, or answered 429 or 503.
///
/// The pause before attempt n+1 is a random part of `backoff` doubled n−1 times, so that many
/// sessions do not come back all at once; or what `Retry-After` says, and a little more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Attempts, the first included. 1 is to never try again. Default: 3.
    pub attempts: u32,
    /// The longest first pause. Default: 500 ms.
    pub backoff: Duration,
    /// An attempt that would begin later than this after the first is not made. Neither is one
    /// before the time that `Retry-After` names, for it would be refused again. Default: 5 s.
    pub within: Duration,
}

impl Default for Retries {
    fn default() -> Retries {
        Retries { attempts: 3, backoff: Duration::from_millis(500), within: Duration::from_secs(5) }
    }
}

/// Everything that there is to know of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What it is to the reader of a message, such as `speech service`.
    pub role: &'static str,
    /// Where it is: `http://HOST[:PORT][/PREFIX]`, or `https://` where the feature `tls` is built
    /// in. A `/v1` at its end may be there or not.
    pub base_url: String,
    /// What is shown with every request. Default: nothing.
    pub credentials: Credentials,
    /// How long it may take.
    pub deadlines: Deadlines,
    /// How often it is asked again.
    pub retries: Retries,
    /// The longest body that is taken from it, in bytes. Default: 256 MiB.
    pub max_body_bytes: u64,
}

impl Settings {
    /// A service at this address, without credentials, within the default bounds.
    pub fn new(role: &'static str, base_url: impl Into<String>) -> Settings {
        Settings {
            role,
            base_url: base_url.into(),
            credentials: Credentials::None,
            deadlines: Deadlines::default(),
            retries: Retries::default(),
            max_body_bytes: 256 << 20,
        }
    }
}

/// Why a service cannot be asked: its settings are wrong. One sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSettings(pub(crate) String);

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for InvalidSettings {}

/// Why there is no reply, or not to its end.
///
/// `Display` is one sentence for whoever asked, without addresses or keys. What the operator needs
/// on top of that is the [`detail`](Failure::detail).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure it was.
    pub kind: FailureKind,
    message: String,
    detail: String,
}

/// What a service did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// It could not be reached: refused, not resolved, no valid TLS.
    Unreachable,
    /// There was no connection within [`Deadlines::connect`].
    ConnectTimeout,
    /// It broke the connection before it answered.
    Closed,
    /// Nothing came within [`Deadlines::first_byte`].
    FirstByteTimeout,
    /// It answered, with a status other than success.
    Status(u16),
    /// It answered with a redirect, which is never followed: the credentials are for it alone.
    Redirect,
    /// It paused for longer than [`Deadlines::idle`].
    IdleTimeout,
    /// It took longer than [`Deadlines::total`].
    TotalTimeout,
    /// The connection broke before the body was complete.
    Broken,
    /// The body is longer than [`Settings::max_body_bytes`], or in a form that nobody asked for.
    Unusable,
}

impl FailureKind {
    /// Whether it took too long, in place of failing.
    pub fn is_timeout(self) -> bool {
        use FailureKind::*;
        matches!(self, ConnectTimeout | FirstByteTimeout | IdleTimeout | TotalTimeout)
    }

    /// Whether the request was not taken, so that nothing is done twice when it is made again.
    fn is_worth_a_retry(self) -> bool {
        use FailureKind::*;
        matches!(self, Unreachable | ConnectTimeout | Closed | Status(429 | 503))
    }
}

impl Failure {
    /// What the operator's log should hold: which service, and what exactly went wrong. Without
    /// keys.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

/// A service over HTTP. Clones share its connections.
#[derive(Clone)]
pub struct Upstream(Arc<Shared>);

struct Shared {
    settings: Settings,
    /// Scheme and authority.
    origin: String,
    /// The path in front of every other, without a slash or `/v1` at its end.
    prefix: String,
    headers: HeaderMap,
    client: Client<Connector, Full<Bytes>>,
}

impl Upstream {
    /// Gets ready to ask a service. Nothing is sent yet.
    ///
    /// # Errors
    /// The base URL is none that can be asked. One sentence says what to write instead.
    pub fn new(settings: Settings) -> Result<Upstream, InvalidSettings> {
        let uri = base_url(&settings.base_url)
            .map_err(|why| InvalidSettings(format!("the URL of the {} {why}", settings.role)))?;
        let authority = uri.authority().expect("this was looked at").as_str();
        let origin = format!("{}://{authority}", uri.scheme_str().expect("this was looked at"));
        let prefix = uri.path().trim_end_matches('/');
        let prefix = prefix.strip_suffix("/v1").unwrap_or(prefix).to_owned();

        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("aloud/", env!("CARGO_PKG_VERSION"))));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        match &settings.credentials {
            Credentials::None => None,
            Credentials::Bearer(key) => headers.insert(AUTHORIZATION, key.header("Bearer ")),
            Credentials::Header(name, key) => headers.insert(HeaderName::from_static(name), key.header("")),
        };

        let connector = Connector {
            inner: inner(&settings).map_err(InvalidSettings)?,
            within: settings.deadlines.connect,
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_CONNECTIONS)
            .http1_max_buf_size(READ_AHEAD_BYTES)
            .build(connector);
        Ok(Upstream(Arc::new(Shared { settings, origin, prefix, headers, client })))
    }

    /// Prepares to post a JSON document. The path begins with a slash, comes behind that of the
    /// base URL, and may hold a query; `accept` is the media type that is wanted.
    ///
    /// Nothing is sent before the [`Call`] is told to.
    ///
    /// # Errors
    /// The path makes no URL: what was put into it must be escaped ([`escape`]).
    pub fn post(&self, path: &str, json: &Value, accept: &'static str) -> Result<Call, InvalidSettings> {
        let Shared { settings, origin, prefix, .. } = &*self.0;
        let url = format!("{origin}{prefix}{path}");
        let uri = url.parse().map_err(|error| {
            InvalidSettings(format!("{url} is no URL for the {}: {error}", settings.role))
        })?;
        Ok(Call {
            upstream: self.clone(),
            uri,
            json: json.to_string().into(),
            accept,
            attempts: 0,
            spent: Duration::ZERO,
            pause: None,
        })
    }

    /// What the service said, or what somebody made of it, fit to be passed on: one line, at most
    /// 400 characters, without control characters and without the key.
    pub fn quote(&self, text: &str) -> String {
        printable(text, self.0.settings.credentials.secret(), QUOTE_CHARS)
    }

    /// A line for the operator's log about this service: where it is, and this, fit to be shown as
    /// [`quote`](Upstream::quote) makes it.
    pub fn located(&self, text: &str) -> String {
        let Shared { settings, origin, .. } = &*self.0;
        format!("{} at {origin}: {}", settings.role, self.quote(text))
    }

    fn failure(&self, kind: FailureKind, message: impl fmt::Display, detail: impl fmt::Display) -> Failure {
        let Shared { settings, origin, .. } = &*self.0;
        let role = settings.role;
        let detail = format!("{role} at {origin}: {detail}");
        // The detail may hold what a library made of bytes that came from there.
        let detail = printable(&detail, settings.credentials.secret(), usize::MAX);
        Failure { kind, message: format!("The {role} {message}."), detail }
    }

    fn too_late(&self, kind: FailureKind) -> Failure {
        let Deadlines { connect, first_byte, idle, total } = self.0.settings.deadlines;
        let message = match kind {
            FailureKind::ConnectTimeout => format!("could not be reached within {connect:?}"),
            FailureKind::FirstByteTimeout => format!("gave nothing within {first_byte:?}"),
            FailureKind::IdleTimeout => format!("paused for longer than {idle:?}"),
            _ => format!("took longer than {total:?}"),
        };
        self.failure(kind, &message, &message)
    }

    fn broken(&self, kind: FailureKind, error: &dyn Error) -> Failure {
        let message = match kind {
            FailureKind::Unreachable => "could not be reached",
            FailureKind::Closed => "broke the connection without an answer",
            _ => "broke off before it was done",
        };
        self.failure(kind, message, format_args!("{message}: {}", chain(error)))
    }

    /// What an answer other than success means.
    async fn refused(&self, response: Response<Incoming>) -> Failure {
        let key = self.0.settings.credentials.secret();
        let status = response.status();
        if status.is_redirection() {
            let to = response.headers().get(LOCATION).map(|to| String::from_utf8_lossy(to.as_bytes()));
            let to = printable(&to.unwrap_or_default(), key, REASON_CHARS);
            return self.failure(
                FailureKind::Redirect,
                "answered with a redirect, which is not followed",
                format_args!("answered {status} with a redirect to `{to}`, which is not followed; set the URL to where it is"),
            );
        }
        let reason = reason(response.into_body(), key).await;
        let told = match status.as_u16() {
            401 | 403 => "does not accept our credentials".to_owned(),
            404 => "does not know what it was asked for".to_owned(),
            429 => "has too many requests".to_owned(),
            code => format!("answered with the status {code}"),
        };
        let quoted = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let quoted = quoted.trim_end_matches('.');
        self.failure(
            FailureKind::Status(status.as_u16()),
            format_args!("{told}{quoted}"),
            format_args!("answered {status}{quoted}"),
        )
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upstream").field(&self.0.settings).finish()
    }
}

/// A request that is made, and made again where that may help. Dropping it aborts it.
pub struct Call {
    upstream: Upstream,
    uri: Uri,
    json: Bytes,
    accept: &'static str,
    /// Attempts that were made.
    attempts: u32,
    /// Time spent waiting for the service.
    spent: Duration,
    /// What is still to wait for before the next attempt.
    pause: Option<Duration>,
}

/// What came of an attempt.
#[derive(Debug)]
pub enum Attempt {
    /// The service answers.
    Reply(Reply),
    /// It did not take the request. It will be made again, when [`Call::attempt`] is called again.
    Retry(Failure),
}

impl Call {
    /// Makes the request, after the pause that a [`Retry`](Attempt::Retry) before it calls for. To
    /// be called again until it gives a reply or a failure.
    ///
    /// # Errors
    /// The service does not answer, or not with success, and to ask again is of no use or out of
    /// bounds.
    ///
    /// # Cancel safety
    /// Dropping the future aborts the attempt.
    pub async fn attempt(&mut self) -> Result<Attempt, Failure> {
        if let Some(pause) = self.pause {
            sleep(pause).await;
            self.pause = None;
            self.spent += pause;
        }
        let Shared { settings: Settings { deadlines, retries, .. }, headers, client, .. } = &*self.upstream.0;
        let mut request = Request::post(self.uri.clone())
            .header(ACCEPT, self.accept)
            .body(Full::new(self.json.clone()))
            .expect("the URL was parsed, and the header is ours");
        request.headers_mut().extend(headers.clone());
        self.attempts += 1;

        let left = deadlines.total.saturating_sub(self.spent);
        let begun = Instant::now();
        let answer = deadline::within(deadlines.first_byte.min(left), client.request(request)).await;
        let waited = begun.elapsed();
        self.spent += waited;
        let mut asked_to_wait = None;
        let failure = match answer {
            Err(_) if left < deadlines.first_byte => self.upstream.too_late(FailureKind::TotalTimeout),
            Err(_) => self.upstream.too_late(FailureKind::FirstByteTimeout),
            Ok(Err(error)) => self.failed(&error),
            Ok(Ok(response)) if response.status().is_success() => return self.reply(response, waited),
            Ok(Ok(response)) => {
                asked_to_wait = retry_after(response.headers());
                let begun = Instant::now();
                let failure = self.upstream.refused(response).await;
                self.spent += begun.elapsed();
                failure
            }
        };
        if !failure.kind.is_worth_a_retry() || self.attempts >= retries.attempts {
            return Err(failure);
        }
        let pause = match asked_to_wait {
            Some(pause) => pause.saturating_add(jitter(retries.backoff)),
            None => jitter(retries.backoff.saturating_mul(1 << (self.attempts - 1).min(16))),
        };
        let begins = self.spent.saturating_add(pause);
        if begins > retries.within || begins >= deadlines.total {
            return Err(failure);
        }
        self.pause = Some(pause);
        Ok(Attempt::Retry(failure))
    }

    fn failed(&self, error: &legacy::Error) -> Failure {
        if !error.is_connect() {
            return self.upstream.broken(FailureKind::Closed, error);
        }
        match find::<io::Error>(error) {
            Some(cause) if cause.kind() == io::ErrorKind::TimedOut => {
                self.upstream.too_late(FailureKind::ConnectTimeout)
            }
            _ => self.upstream.broken(FailureKind::Unreachable, error),
        }
    }

    fn reply(&self, response: Response<Incoming>, waited: Duration) -> Result<Attempt, Failure> {
        let (head, body) = response.into_parts();
        if let Some(coding) = head.headers.get(CONTENT_ENCODING)
            && !coding.as_bytes().eq_ignore_ascii_case(b"identity")
        {
            let what = "answered in a compressed form that nobody asked for";
            return Err(self.upstream.failure(FailureKind::Unusable, what, what));
        }
        Ok(Attempt::Reply(Reply {
            upstream: self.upstream.clone(),
            body,
            headers: head.headers,
            status: head.status,
            received: 0,
            quiet: waited,
            spent: self.spent,
        }))
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({}, attempt {})", self.uri, self.attempts)
    }
}

/// The answer of a service, with success, while it arrives. Dropping it before its end aborts the
/// request.
pub struct Reply {
    upstream: Upstream,
    body: Incoming,
    headers: HeaderMap,
    status: StatusCode,
    /// Bytes of the body.
    received: u64,
    /// Time spent waiting since the last of them.
    quiet: Duration,
    /// Time spent waiting altogether.
    spent: Duration,
}

impl Reply {
    /// What the service says its body is; empty where it says nothing.
    pub fn content_type(&self) -> &str {
        self.header(CONTENT_TYPE.as_str()).unwrap_or_default()
    }

    /// The value of a header, if there is one and it is text. The first counts.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The next part of the body, never empty; `None` once it is complete.
    ///
    /// # Errors
    /// The connection broke, or a deadline is over. Nothing comes after it.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped, and the time that was waited counts.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let Settings { deadlines, max_body_bytes, .. } = &self.upstream.0.settings;
        loop {
            let (pause, kind) = match self.received {
                0 => (deadlines.first_byte, FailureKind::FirstByteTimeout),
                _ => (deadlines.idle, FailureKind::IdleTimeout),
            };
            let pause = pause.saturating_sub(self.quiet);
            let left = deadlines.total.saturating_sub(self.spent);
            let frame = {
                let _counted = Waiting { since: Instant::now(), counts: [&mut self.quiet, &mut self.spent] };
                deadline::within(pause.min(left), self.body.frame()).await
            };
            let data = match frame {
                Err(_) if left < pause => return Err(self.upstream.too_late(FailureKind::TotalTimeout)),
                Err(_) => return Err(self.upstream.too_late(kind)),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(self.upstream.broken(FailureKind::Broken, &error)),
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            };
            if data.is_empty() {
                continue; // Trailers, which nobody asked for.
            }
            self.quiet = Duration::ZERO;
            self.received += data.len() as u64;
            if self.received > *max_body_bytes {
                let what = format!("gave more than {max_body_bytes} bytes");
                return Err(self.upstream.failure(FailureKind::Unusable, &what, &what));
            }
            return Ok(Some(data));
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({}, {} bytes so far)", self.status, self.received)
    }
}

/// Counts time for as long as it lives, be it that a wait is broken off.
struct Waiting<'a> {
    since: Instant,
    counts: [&'a mut Duration; 2],
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waited = self.since.elapsed();
        for count in &mut self.counts {
            **count += waited;
        }
    }
}

/// Connects within its time, names and TLS included.
#[derive(Clone)]
struct Connector {
    inner: Inner,
    within: Duration,
}

impl tower_service::Service<Uri> for Connector {
    type Response = <Inner as tower_service::Service<Uri>>::Response;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = deadline::within(self.within, self.inner.call(uri));
        // What is one error type without TLS is another with it.
        #[allow(clippy::needless_question_mark)]
        Box::pin(async {
            let late = |_| io::Error::from(io::ErrorKind::TimedOut);
            Ok(connecting.await.map_err(late)??)
        })
    }
}

fn http() -> HttpConnector {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http
}

#[cfg(not(feature = "tls"))]
fn inner(_: &Settings) -> Result<Inner, String> {
    Ok(http())
}

/// Trusts whom the system trusts, or `SSL_CERT_FILE` and `SSL_CERT_DIR` where they are set.
#[cfg(feature = "tls")]
fn inner(settings: &Settings) -> Result<Inner, String> {
    let mut http = http();
    http.enforce_http(false);
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    let builder = hyper_rustls::HttpsConnectorBuilder::new();
    if settings.base_url.starts_with("http://") {
        // Needs no roots of trust, which a small container has none of.
        let none = tokio_rustls::rustls::RootCertStore::empty();
        let config = tokio_rustls::rustls::ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(none)
            .with_no_client_auth();
        return Ok(builder.with_tls_config(config).https_or_http().enable_http1().wrap_connector(http));
    }
    let builder = builder.with_provider_and_native_roots(provider).map_err(|error| {
        format!(
            "the {} is asked over https, and there is no certificate to trust ({error}); install the \
             system's (ca-certificates), or name a file of them in SSL_CERT_FILE",
            settings.role
        )
    })?;
    Ok(builder.https_only().enable_http1().wrap_connector(http))
}

/// A URL with a scheme and a host, and without what does not belong there.
fn base_url(url: &str) -> Result<Uri, String> {
    // What is wrong with a URL may be the key in it, so none of these shows more than the scheme.
    let example = "write http://HOST:PORT";
    if url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("holds white space; {example}"));
    }
    if url.contains('#') {
        return Err("has a fragment; leave out what begins with #".to_owned());
    }
    if url.contains('?') {
        return Err("has a query; leave out what begins with ?".to_owned());
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(format!("has no scheme; {example}"));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" => {}
        "https" if cfg!(feature = "tls") => {}
        "https" => {
            return Err("is https, and this program was built without TLS; build it with \
                        `cargo build --release --features tls`, or give an http URL"
                .to_owned());
        }
        _ => return Err(format!("has a scheme that is neither http nor https; {example}")),
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err("names a user or a password; leave that out, and give a key by itself".to_owned());
    }
    if authority.is_empty() || authority.starts_with(':') {
        return Err(format!("names no host; {example}"));
    }
    let uri: Uri = url.parse().map_err(|error| format!("is none: {error}"))?;
    let port = uri.authority().and_then(|authority| authority.as_str().rsplit_once(':'));
    // The colons of an IPv6 address stand in brackets.
    if let Some((_, port)) = port.filter(|(_, port)| !port.ends_with(']'))
        && !port.parse::<u16>().is_ok_and(|port| port > 0)
    {
        return Err("has a port that is no number from 1 to 65535".to_owned());
    }
    Ok(uri)
}

/// One segment of a path, or a value of a query: everything but letters, digits and `-._~` is
/// percent-encoded (RFC 3986 §2.1).
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(byte.into()),
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// The seconds of a `Retry-After` (RFC 9110 §10.2.3). A date is not understood: clocks differ.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// A random part of a duration.
fn jitter(most: Duration) -> Duration {
    let mut random = [0; 4];
    match getrandom::fill(&mut random) {
        Ok(()) => most.mul_f64(f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX)),
        // Without a random source, everybody waits for as long as they may.
        Err(_) => most,
    }
}

/// Why a service answers without success, in its own words, fit to be passed on; empty if it says
/// nothing that is of use.
async fn reason(mut body: Incoming, key: Option<&Secret>) -> String {
    let mut bytes = Vec::new();
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
            if bytes.len() > REASON_BYTES {
                return;
            }
        }
    };
    // A body that does not end has said something all the same.
    let _ = timeout(REASON_TIMEOUT, read).await;
    said(&bytes, key)
}

/// What an answer says is wrong, fit to be passed on.
fn said(body: &[u8], key: Option<&Secret>) -> String {
    // Only the whole document shows where a key ends.
    if body.len() > REASON_BYTES {
        return String::new();
    }
    let text = String::from_utf8_lossy(body);
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(json) => {
            let places = ["/error/message", "/detail/message", "/error", "/detail", "/message"];
            let found = places.iter().find_map(|place| json.pointer(place)?.as_str());
            found.unwrap_or_default().to_owned()
        }
        // A page for a browser, or a document cut short.
        Err(_) if text.trim_start().starts_with(['<', '{', '[']) => String::new(),
        Err(_) => text.into_owned(),
    };
    printable(&text, key, REASON_CHARS)
}

/// Text that came from elsewhere, on one line, without what would act on a terminal, without the
/// key, and at most so many characters.
fn printable(text: &str, key: Option<&Secret>, most: usize) -> String {
    let hidden = |c: char| {
        matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    let mut line = String::new();
    for word in text.split_whitespace() {
        let before = line.len();
        line.extend(word.chars().filter(|&c| !c.is_control() && !hidden(c)));
        if line.len() > before {
            line.push(' ');
        }
    }
    line.pop();
    // Only now, for a key may have had any of these inside of it.
    if let Some(Secret(key)) = key {
        line = line.replace(&**key, "(key)");
        // Whoever quoted it may have cut it off.
        let end = line.trim_end_matches(['…', '.']).len();
        let cut = (SHOWN_OF_KEY + 1..key.len()).rev().find(|&length| line[..end].ends_with(&key[..length]));
        if let Some(length) = cut {
            line.replace_range(end - length..end, "(key)");
        }
    }
    match line.char_indices().nth(most) {
        None => line,
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
    }
}

/// An error with everything behind it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// The first error of this type among an error and those behind it.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut error = Some(error);
    while let Some(this) = error {
        if let Some(found) = this.downcast_ref() {
            return Some(found);
        }
        error = this.source();
    }
    None
}
