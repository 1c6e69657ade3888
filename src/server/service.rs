//! The service: what all connections share, and the answer to a request of any HTTP server.

use super::answers::Answers;
use super::body::Body;
use super::gifts::Gifts;
use super::metrics::{Present, Telemetry};
use super::replicas;
use super::routes::Answer;
use super::suspended::{Bounds, Registry};
use crate::access::credential::{Restrictions, Token};
use crate::access::rate::Rate;
use crate::access::{Doorkeeper, Holdings, Permit, Refusal};
use crate::audio::voice;
use crate::audio::{Encoding, Format};
use crate::gauge::Gauge;
use crate::script::Writer;
use crate::session::conversation;
use crate::session::message::{Code, TextSource};
use crate::session::{Pauses, SessionConfig};
use crate::settings::{Config, ConfigError, check_engine};
use crate::store::{Pending, Store};
use crate::tts::encoded::{self, Encoders};
use crate::tts::{Synthesizer, Tone};
use crate::ws::endpoint::Limits;
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Bytes};
use hyper::http::Extensions;
use hyper::{Request, Response};
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, pending};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, Timeout, timeout};

/// Most fragments of one message from a client. Control messages are small: a client that sends one in
/// more pieces is at fault.
const MAX_FRAGMENTS: usize = 1_000;

/// Bytes that a session's connection allocates at once for what arrives.
const READ_BUFFER_BYTES: usize = 256;

/// The same for an echo, which takes large messages. tungstenite clears the buffer before each read.
const ECHO_READ_BUFFER_BYTES: usize = 4 * 1024;

/// Seconds' worth of messages that may come at once.
const MESSAGES_SECS: u32 = 10;

/// Longest wait for the store when a ticket is used. Beyond it the ticket counts for this server alone.
const TICKET_PATIENCE: Duration = Duration::from_millis(100);

/// Time at the end for records that are on their way to the store.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// State that all connections of a service share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) settings: Arc<SessionConfig>,
    pub(crate) synthesizer: Arc<dyn Synthesizer>,
    pub(crate) encoders: Encoders,
    /// The list of the engine's voices, as JSON.
    pub(super) voices: Bytes,
    pub(crate) writer: Option<Arc<dyn Writer>>,
    pub(super) limits: Limits,
    pub(super) echoes: bool,
    pub(crate) sessions: Gauge,
    pub(crate) syntheses: Gauge,
    pub(crate) scripts: Gauge,
    pub(crate) registry: Registry,
    /// The store that this server shares with others, if there is one.
    pub(crate) store: Option<Store>,
    /// Tells the engine apart from others that may speak a sentence differently.
    pub(crate) fingerprint: String,
    /// Records that other servers have yet to give.
    pub(super) gifts: Gifts,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(super) doorkeeper: Arc<Doorkeeper>,
    pub(super) holdings: Arc<Holdings>,
    pub(super) answers: Arc<Answers>,
    /// True once the server shuts down. The shutdown waits for every receiver.
    pub(crate) stop: watch::Sender<bool>,
}

impl Shared {
    /// The settings of a session within the bounds of its credential; `None` if no voice is left for it.
    pub(super) fn narrowed(&self, restrictions: Option<&Restrictions>) -> Option<Arc<SessionConfig>> {
        match restrictions {
            None => Some(Arc::clone(&self.settings)),
            Some(restrictions) => self.settings.within(restrictions).map(Arc::new),
        }
    }

    /// Checks a credential that came in a message. Returns the session's new settings, if they change, and the
    /// ticket that was used up on this server.
    ///
    /// # Errors
    /// The code for the client.
    pub(crate) fn authenticate(
        &self,
        permit: &mut Permit,
        token: &Token,
        now: std::time::Instant,
    ) -> Result<(Option<Arc<SessionConfig>>, Option<Token>), Code> {
        let (restrictions, ticket) =
            self.doorkeeper.authenticate(permit, token, now).map_err(|refusal| match refusal {
                Refusal::Unauthorized => Code::Unauthorized,
                Refusal::TooMany => Code::RateLimited,
                Refusal::Displaced => Code::Overloaded,
            })?;
        let settings = match restrictions {
            None => None,
            restrictions => Some(self.narrowed(restrictions.as_deref()).ok_or(Code::Forbidden)?),
        };
        self.doorkeeper.spend(ticket.as_ref(), now).map_err(|_| Code::Unauthorized)?;
        Ok((settings, ticket))
    }

    /// Uses a ticket up on all servers that share the store; `None` if it is for this server only.
    pub(crate) fn spend_everywhere(&self, ticket: Option<&Token>) -> Option<Timeout<Pending<bool>>> {
        let admission = &self.config.admission;
        let store = self.store.as_ref().filter(|_| admission.ticket_key_file.is_some())?;
        Some(timeout(TICKET_PATIENCE, store.spend(ticket?, admission.ticket_ttl + replicas::STORE_MARGIN)))
    }
}

/// A `Service` of hyper and of tower: answers HTTP requests, and starts sessions.
///
/// Cheap to clone; all clones share their sessions, limits and metrics. [`Server`](crate::Server) serves
/// it on a listener of its own. To serve it with hyper, serve connections `with_upgrades`, inside of a
/// tokio runtime with time and I/O enabled:
///
/// ```
/// use aloud::tts::Flite;
/// use aloud::{Config, Service};
/// use hyper::server::conn::http1;
/// use hyper_util::rt::TokioIo;
/// use std::sync::Arc;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let service = Service::new(Config::default(), Arc::new(Flite::new()))?;
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// loop {
///     let (socket, _) = listener.accept().await?;
///     socket.set_nodelay(true)?;
///     let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone());
///     // hyper sets no deadline for the request here; `Server` does.
///     tokio::spawn(connection.with_upgrades());
/// }
/// # }
/// ```
///
/// Over HTTP/2, with hyper's `enable_connect_protocol`, sessions are streams (RFC 8441); that needs
/// the feature `http2`.
///
/// A router of axum, and every other router of tower services, takes it for the path [`PATH`]. The
/// session's deadlines are the same as with [`Server`](crate::Server). axum keeps the peer's address in
/// a type of its own, so tell the service where to [find it](Service::with_peer):
///
/// ```
/// use aloud::tts::Flite;
/// use aloud::{Config, PATH, Service};
/// use axum::Router;
/// use axum::extract::ConnectInfo;
/// use std::net::SocketAddr;
/// use std::sync::Arc;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let service = Service::new(Config::default(), Arc::new(Flite::new()))?
///     .with_peer(|extensions| Some(extensions.get::<ConnectInfo<SocketAddr>>()?.0));
/// let app = Router::new().route_service(PATH, service);
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
/// # Ok(())
/// # }
/// ```
///
/// [`PATH`]: crate::PATH
#[derive(Clone)]
pub struct Service {
    pub(super) shared: Arc<Shared>,
    peer: FindPeer,
    /// True if only this machine can reach the listener; `None` for the listener of an embedder.
    is_local: Option<bool>,
}

/// Finds the peer's address in the extensions of a request.
type FindPeer = fn(&Extensions) -> Option<SocketAddr>;

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl Service {
    /// A service that speaks with this engine.
    ///
    /// # Errors
    /// A setting is out of its range, or the engine cannot give a format.
    pub fn new(config: Config, synthesizer: Arc<dyn Synthesizer>) -> Result<Service, ConfigError> {
        Service::with(config, synthesizer, None, false)
    }

    /// A service that speaks with this engine. In sessions with `"source": "llm"` it speaks the
    /// answers of this writer.
    ///
    /// # Errors
    /// A setting is out of its range, or the engine cannot give a format.
    pub fn with_writer(
        config: Config,
        synthesizer: Arc<dyn Synthesizer>,
        writer: Arc<dyn Writer>,
    ) -> Result<Service, ConfigError> {
        Service::with(config, synthesizer, Some(writer), false)
    }

    /// A service that sends every message back as it came, on every path: for conformance suites, and
    /// to test proxies. Handshake, frames and deadlines are those of a session.
    ///
    /// # Errors
    /// A setting is out of its range.
    pub fn echo(config: Config) -> Result<Service, ConfigError> {
        // It never speaks, but a service has an engine.
        let format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 };
        Service::with(config, Arc::new(Tone::new(format, 1.0)), None, true)
    }

    fn with(
        config: Config,
        synthesizer: Arc<dyn Synthesizer>,
        writer: Option<Arc<dyn Writer>>,
        echoes: bool,
    ) -> Result<Service, ConfigError> {
        let settings = settings(&config, synthesizer.as_ref(), writer.is_some())?;
        let limits = Limits {
            max_message_bytes: config.max_message_bytes,
            // Conformance suites send many fragments.
            max_fragments: if echoes { usize::MAX } else { MAX_FRAGMENTS },
            read_buffer_bytes: if echoes { ECHO_READ_BUFFER_BYTES } else { READ_BUFFER_BYTES },
        };
        let bounds = Bounds {
            ttl: config.resume_ttl,
            sessions: config.max_frozen_sessions,
            bytes: config.max_frozen_bytes,
        };
        let doorkeeper = Doorkeeper::new(config.admission.clone(), Instant::now().into_std());
        let doorkeeper = doorkeeper.map_err(|(field, why)| ConfigError::new(field, why))?;
        let voices = voice::to_json(&settings.voices, synthesizer.format().sample_rate_hz);
        let telemetry = Arc::new(Telemetry::new());
        let registry = Registry::new(bounds, Arc::clone(&telemetry));
        let (gifts, news) = (Gifts::default(), Arc::new(OnceLock::new()));
        let store = config.store.as_ref().map(|url| replicas::open_store(url, &config, &news)).transpose()?;
        let fingerprint = if store.is_some() {
            replicas::fingerprint(synthesizer.as_ref(), &voices)
        } else {
            String::new()
        };
        let shared = Shared {
            voices: voices.into(),
            holdings: Arc::new(Holdings::new(config.max_live_bytes)),
            answers: Arc::new(Answers::new(config.max_answers, config.max_client_answers)),
            config,
            settings: Arc::new(settings),
            synthesizer,
            encoders: Encoders::new(),
            writer,
            limits,
            echoes,
            sessions: Gauge::default(),
            syntheses: Gauge::default(),
            scripts: Gauge::default(),
            registry,
            store,
            gifts,
            fingerprint,
            telemetry,
            doorkeeper: Arc::new(doorkeeper),
            stop: watch::Sender::new(false),
        };
        let peer: FindPeer = |extensions| extensions.get().copied();
        let shared = Arc::new(shared);
        let _ = news.set(Arc::downgrade(&shared));
        Ok(Service { shared, peer, is_local: None })
    }

    /// Finds the peer's address with this function. By default, the address is looked for as a
    /// [`SocketAddr`] among the extensions of the request.
    #[must_use]
    pub fn with_peer(mut self, find: fn(&Extensions) -> Option<SocketAddr>) -> Service {
        self.peer = find;
        self
    }

    /// The same service behind a listener that only this machine can reach, or that others can reach.
    pub(super) fn behind(self, is_local: bool) -> Service {
        Service { is_local: Some(is_local), ..self }
    }

    /// True if the request of this peer came over a socket that only this machine can reach.
    pub(super) fn is_local(&self, peer: Option<IpAddr>) -> bool {
        let is_loopback = || peer.is_none_or(|peer| peer.to_canonical().is_loopback());
        self.is_local.unwrap_or_else(is_loopback)
    }

    /// Answers a request. The answer to a good opening handshake is 101, or 200 over HTTP/2; the session
    /// starts when that has left.
    ///
    /// Put the peer's [`SocketAddr`] into the request's extensions, or see
    /// [`with_peer`](Service::with_peer): log lines name the peer, and trusted proxies and limits for
    /// each client go by its address. Without an address the peer counts as a Unix socket.
    ///
    /// A peer with a loopback address, or without an address, gets 421 unless its request is for a name
    /// of this machine or one of [`hosts`](crate::settings::Admission::hosts). Behind a proxy on the
    /// same machine, list the public host there. If your server checks hosts itself, or listens for other
    /// machines and cannot name its peers, allow [every host](crate::settings::AllowHost::Any).
    ///
    /// The answer to a handshake, to a page and to every refusal is ready at once. A request for speech over HTTP is
    /// answered when its first audio is known; its body must arrive within `handshake_timeout`.
    ///
    /// An embedder's server has `handshake_timeout` to send the answer and to hand over its socket.
    /// Behind that, sessions have the same deadlines as with [`Server`](crate::Server).
    pub fn respond<B>(&self, mut request: Request<B>) -> Responding
    where
        B: HttpBody<Data: Send, Error: Send> + Send + 'static,
    {
        let peer = (self.peer)(request.extensions()).map(|peer| peer.ip());
        match self.answer(&request, peer) {
            Answer::Response(response) => Responding::ready(response.map(Body::from)),
            Answer::Speech(asked) => Responding::spoken(asked.respond(request.into_body(), || {}, pending())),
            Answer::Upgrade(response, admitted) => {
                admitted.start_upgraded(Arc::clone(&self.shared), hyper::upgrade::on(&mut request));
                Responding::ready(response.map(|()| Body::from(Full::default())))
            }
        }
    }

    /// The metrics, in the text format of Prometheus (0.0.4). The guide lists them.
    pub fn metrics(&self) -> String {
        let Shared { telemetry, synthesizer, sessions, syntheses, scripts, registry, .. } = &*self.shared;
        let page = telemetry.page(&Present {
            connections: sessions.count(),
            frozen_sessions: registry.suspended().count(),
            frozen_bytes: registry.suspended_bytes(),
            live_bytes: self.shared.holdings.bytes(),
            syntheses: syntheses.count(),
            waiting_syntheses: synthesizer.backlog().waiting,
            scripts: scripts.count(),
            wasted: registry.wasted(),
            is_ready: self.readiness().is_ok(),
        });
        self.shared.store.iter().fold(page, |page, store| page + &store.metrics())
    }

    pub(super) fn telemetry(&self) -> &Telemetry {
        &self.shared.telemetry
    }

    /// Number of open connections.
    pub fn sessions(&self) -> &Gauge {
        &self.shared.sessions
    }

    /// Number of sentences in flight.
    pub fn syntheses(&self) -> &Gauge {
        &self.shared.syntheses
    }

    /// Number of answers that are being written.
    pub fn scripts(&self) -> &Gauge {
        &self.shared.scripts
    }

    /// Number of suspended sessions: those that have lost their connection and are kept for
    /// `resume_ttl`.
    pub fn frozen(&self) -> &Gauge {
        self.shared.registry.suspended()
    }

    /// Memory that the suspended sessions take, in bytes, roughly.
    pub fn frozen_bytes(&self) -> usize {
        self.shared.registry.suspended_bytes()
    }

    /// Memory that the sessions with a connection take, in bytes, roughly.
    pub fn live_bytes(&self) -> usize {
        self.shared.holdings.bytes()
    }

    /// Audio that was synthesised and not heard since the service began: it was cancelled, or its client
    /// did not reconnect.
    pub fn wasted(&self) -> Duration {
        self.shared.registry.wasted()
    }

    /// Shuts down. Idle sessions are closed with 1001. Sessions that stream may finish within
    /// `drain_timeout`, and are closed with 1012 when it is over. Returns once all have ended, suspended
    /// sessions included.
    ///
    /// # Cancel safety
    /// Sessions end even if the future is dropped.
    pub async fn stop(&self) {
        self.shared.stop.send_replace(true);
        let exports = replicas::export_unfinished(&self.shared);
        self.shared.stop.closed().await;
        exports.join_all().await;
        self.shared.registry.end_all();
        if let Some(store) = &self.shared.store {
            store.flush(STORE_PATIENCE).await;
        }
    }

    /// Tells when the server shuts down. [`stop`](Service::stop) waits until the receiver is dropped.
    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.shared.stop.subscribe()
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.shared.stop.borrow()
    }

    pub(super) fn doorkeeper(&self) -> &Doorkeeper {
        &self.shared.doorkeeper
    }

    /// The settings of the service, as it was made with them.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }
}

/// The answer to a request. Only an answer that is spoken takes time.
///
/// # Cancel safety
/// Dropping it stops the speech.
pub struct Responding(Progress);

enum Progress {
    Ready(Option<Box<Response<Body>>>),
    Spoken(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

impl Responding {
    pub(super) fn ready(response: Response<Body>) -> Responding {
        Responding(Progress::Ready(Some(Box::new(response))))
    }

    pub(super) fn spoken(response: impl Future<Output = Response<Body>> + Send + 'static) -> Responding {
        Responding(Progress::Spoken(Box::pin(response)))
    }
}

impl fmt::Debug for Responding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responding")
    }
}

impl Future for Responding {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Progress::Ready(response) => {
                Poll::Ready(Ok(*response.take().expect("a future is not polled after its end")))
            }
            Progress::Spoken(response) => response.as_mut().poll(cx).map(Ok),
        }
    }
}

impl<B> hyper::service::Service<Request<B>> for Service
where
    B: HttpBody<Data: Send, Error: Send> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Responding;

    fn call(&self, request: Request<B>) -> Responding {
        self.respond(request)
    }
}

impl<B> tower_service::Service<Request<B>> for Service
where
    B: HttpBody<Data: Send, Error: Send> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Responding;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Responding {
        self.respond(request)
    }
}

fn settings(
    config: &Config,
    synthesizer: &dyn Synthesizer,
    has_writer: bool,
) -> Result<SessionConfig, ConfigError> {
    config.check()?;
    check_engine(synthesizer.name(), synthesizer.format().sample_rate_hz)?;
    match config.source {
        TextSource::Verbatim => {}
        TextSource::Llm if has_writer => {}
        TextSource::Llm => {
            let message = "source is llm, but there is no writer; create the service with_writer";
            return Err(ConfigError::new("source", message));
        }
        TextSource::Append => {
            return Err(ConfigError::new("source", "source is append; it must be verbatim or llm"));
        }
    }
    let voices = synthesizer.voices();
    voice::check_aliases(&voices, &config.voice_map).map_err(|why| ConfigError::new("voice_map", why))?;
    let mut format = synthesizer.format();
    format.encoding = config.encoding.unwrap_or(format.encoding);
    if format.encoding.is_coded() {
        let message = format!(
            "encoding is {}, for which each client asks in start_session; it must be pcm_s16le, mulaw or alaw",
            format.encoding.name()
        );
        return Err(ConfigError::new("encoding", message));
    }
    format.sample_rate_hz = config.sample_rate_hz.unwrap_or(format.sample_rate_hz);
    if let Some(most) = config.max_sample_rate_hz.filter(|most| format.sample_rate_hz > *most) {
        format.sample_rate_hz = within_limit(synthesizer, config, format, most)?;
    }
    if !synthesizer.supports(format) {
        let message = format!(
            "the engine {} cannot give {} at {} Hz; {}",
            synthesizer.name(),
            format.encoding.name(),
            format.sample_rate_hz,
            rates(synthesizer, format.encoding),
        );
        let field = if config.sample_rate_hz.is_some() { "sample_rate_hz" } else { "encoding" };
        return Err(ConfigError::new(field, message));
    }
    let of_rate =
        |&sample_rate_hz: &u32| Encoding::every().map(move |encoding| Format { encoding, sample_rate_hz });
    let mut formats: Vec<Format> = Format::SAMPLE_RATES.iter().flat_map(of_rate).collect();
    formats.retain(|format| {
        encoded::supports(synthesizer, *format)
            && config.max_sample_rate_hz.is_none_or(|most| format.sample_rate_hz <= most)
    });
    Ok(SessionConfig {
        greeting: config.greeting.clone(),
        max_prompt_chars: config.max_prompt_chars,
        max_buffered_chars: config.max_buffered_chars,
        max_session_chars: config.max_session_chars,
        max_message_bytes: config.max_message_bytes,
        prefetch: config.prefetch,
        speed: config.speed,
        pauses: Pauses {
            lead: config.lead,
            sentence: config.sentence_pause,
            paragraph: Some(config.paragraph_pause),
            heading: Some(config.heading_pause),
        },
        format,
        frame_ms: config.frame_ms,
        formats,
        voices,
        is_deterministic: synthesizer.is_deterministic(),
        is_paced: config.paced || config.paced_only,
        ahead: config.ahead.min(config.max_ahead),
        is_paced_only: config.paced_only,
        max_ahead: config.max_ahead,
        keep_bytes: config.resume_bytes,
        heartbeat: config.heartbeat,
        resume_ttl: config.resume_ttl,
        max_session: config.max_session,
        has_writer,
        source: config.source,
        max_script_chars: config.max_script_chars,
        history: conversation::Bounds { turns: config.max_history_turns, chars: config.max_history_chars },
        messages: config.max_messages_per_sec.map(|count| Rate::per_sec(count, MESSAGES_SECS)),
        idle_timeout: config.idle_timeout,
        stall_timeout: config.stall_timeout,
        auth_timeout: config.admission.auth_timeout,
        is_bounded: false,
    })
}

/// The highest rate that the engine gives within the limit `most`, for an engine whose own rate is higher.
fn within_limit(
    synthesizer: &dyn Synthesizer,
    config: &Config,
    own: Format,
    most: u32,
) -> Result<u32, ConfigError> {
    if let Some(asked) = config.sample_rate_hz {
        let message = format!(
            "sample_rate_hz is {asked}, and max_sample_rate_hz is {most}; lower one or raise the other"
        );
        return Err(ConfigError::new("max_sample_rate_hz", message));
    }
    let gives = |&rate: &u32| rate <= most && synthesizer.supports(Format { sample_rate_hz: rate, ..own });
    Format::SAMPLE_RATES.iter().copied().filter(gives).max().ok_or_else(|| {
        let message = format!(
            "max_sample_rate_hz is {most}, and the engine {} gives no rate within it; {}",
            synthesizer.name(),
            rates(synthesizer, own.encoding)
        );
        ConfigError::new("max_sample_rate_hz", message)
    })
}

/// The rates that an engine is sure to give in this encoding, as a part of a sentence.
fn rates(synthesizer: &dyn Synthesizer, encoding: Encoding) -> String {
    let own = synthesizer.format().sample_rate_hz;
    let gives = |&sample_rate_hz: &u32| {
        sample_rate_hz != own && synthesizer.supports(Format { encoding, sample_rate_hz })
    };
    let others: Vec<String> =
        Format::SAMPLE_RATES.iter().copied().filter(gives).map(|rate| rate.to_string()).collect();
    match others.is_empty() {
        true => format!("its own rate is {own} Hz"),
        false => format!("its own rate is {own} Hz, and it also gives {} Hz", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PATH;
    use crate::session::message::Close;
    use crate::settings::Admission;
    use axum::Router;
    use axum::extract::ConnectInfo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    const HANDSHAKE: &str = "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    /// A service behind a router of axum, and the address of that.
    async fn axum(config: Config) -> (Service, SocketAddr) {
        let format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 };
        let service = Service::new(config, Arc::new(Tone::new(format, 0.1))).unwrap();
        let routed =
            service.clone().with_peer(|extensions| Some(extensions.get::<ConnectInfo<SocketAddr>>()?.0));
        let app = Router::new().route_service(PATH, routed);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        (service, addr)
    }

    async fn open(addr: SocketAddr) -> TcpStream {
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(format!("GET {PATH} HTTP/1.1\r\n{HANDSHAKE}").as_bytes()).await.unwrap();
        client
    }

    /// Reads until this comes.
    async fn read_until(client: &mut TcpStream, end: &[u8]) {
        let mut read = Vec::new();
        let reading = async {
            while !read.windows(end.len()).any(|part| part == end) {
                let count = client.read_buf(&mut read).await.unwrap();
                assert_ne!(count, 0, "{}", read.escape_ascii());
            }
        };
        timeout(Duration::from_secs(30), reading).await.expect("in time");
    }

    #[tokio::test]
    async fn session_through_axum_has_the_limits_and_deadlines_of_a_server() {
        let admission = Admission { max_client_connections: Some(1), ..Admission::default() };
        let silence_timeout = Duration::from_millis(300);
        let (service, addr) = axum(Config { admission, silence_timeout, ..Config::default() }).await;
        let mut client = open(addr).await;
        read_until(&mut client, b"101 Switching Protocols").await;
        // Found by the peer's address.
        let mut second = open(addr).await;
        read_until(&mut second, b"429 Too Many Requests").await;
        // A masked frame, with a mask of zeros.
        let start = br#"{"type":"start_session","prompt":"One."}"#;
        client
            .write_all(&[&[0x81, 0x80 | start.len() as u8, 0, 0, 0, 0], &start[..]].concat())
            .await
            .unwrap();
        read_until(&mut client, b"session_end").await;
        let close = [&1008_u16.to_be_bytes(), Close::Silent.reason().as_bytes()].concat();
        read_until(&mut client, &close).await;
        drop(client);
        timeout(Duration::from_secs(30), service.stop()).await.expect("nothing is left");
    }
}
