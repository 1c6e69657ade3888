//! The hyper service: routes a request, answers the opening handshake, and starts the session on
//! what the upgrade yields.

use super::application::{Application, Departure};
use super::connection::{self, Connection, Ended, Outcome};
use super::echo::Echo;
use super::metrics::{ClosedBy, Present, Telemetry};
use super::speaking::Speaking;
use super::suspended::{Bounds, Registry};
use super::transport::{Buffered, Transport};
use super::web;
use crate::access::credential::{Restrictions, Token};
use crate::access::rate::Rate;
use crate::access::{Doorkeeper, Pass, Permit, Refusal, Visitor};
use crate::audio::voice;
use crate::audio::{Encoding, Format};
use crate::gauge::Gauge;
use crate::script::Writer;
use crate::session::conversation;
use crate::session::message::{Code, TextSource};
use crate::session::{Input, Session, SessionConfig};
use crate::settings::{Config, ConfigError, check_engine};
use crate::tts::{Piece, SynthesisError, Synthesizer, Tone, Utterance};
use crate::ws::endpoint::{CloseCode, Endpoint, Limits, Role};
use crate::ws::handshake::{self, Rejection};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Method, Request, Response, Version};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::Level;

/// Where the session's WebSocket is.
pub const PATH: &str = "/api/session/ws";

/// Where the list of voices is.
const VOICES_PATH: &str = "/api/voices";

/// Where a credential is exchanged for a ticket.
const TICKET_PATH: &str = "/api/session/ticket";

/// How long the list may be taken for the present one. It changes when the server is started anew.
const VOICES_CACHE: &str = "max-age=60";

/// What an engine says to show that it works: short, and with a sound in any voice.
const WARM_UP: &str = "Ready.";

/// How long it may take for that. A neural voice may have to be loaded first.
const WARM_UP_TIMEOUT: Duration = Duration::from_secs(30);

/// The most fragments of one message from a client. Control messages are small: who sends one in
/// more pieces than this means harm.
const MAX_FRAGMENTS: usize = 1_000;

/// What a session's connection allocates at once for what arrives.
const READ_BUFFER_BYTES: usize = 256;

/// As above, for an echo, which is there to be sent much.
const ECHO_READ_BUFFER_BYTES: usize = 16 * 1024;

/// How many seconds' worth of messages may come at once.
const MESSAGES_SECS: u32 = 10;

/// When a client may come back to a server that is going away.
const RETRY_AFTER_SECS: u64 = 5;

/// The subprotocol that adds to the base protocol (RFC 6455 §1.9).
pub const SUBPROTOCOL: &str = "aloud.v1";

/// Random bytes in a session's token.
const TOKEN_BYTES: usize = 24;

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) settings: Arc<SessionConfig>,
    pub(crate) synthesizer: Arc<dyn Synthesizer>,
    /// What the engine offers, as JSON.
    voices: Bytes,
    pub(crate) writer: Option<Arc<dyn Writer>>,
    limits: Limits,
    echoes: bool,
    pub(crate) sessions: Gauge,
    pub(crate) syntheses: Gauge,
    pub(crate) scripts: Gauge,
    pub(crate) registry: Registry,
    pub(crate) telemetry: Arc<Telemetry>,
    doorkeeper: Arc<Doorkeeper>,
    /// True once the server is going away. Whoever subscribes is waited for.
    pub(crate) stop: watch::Sender<bool>,
}

impl Shared {
    /// The settings of a session that may do less, where it may; `None` if no voice is left for it.
    fn narrowed(&self, restrictions: Option<&Restrictions>) -> Option<Arc<SessionConfig>> {
        match restrictions {
            None => Some(Arc::clone(&self.settings)),
            Some(restrictions) => self.settings.within(restrictions).map(Arc::new),
        }
    }

    /// Judges a credential that came as a message; with the settings that hold from now on.
    ///
    /// # Errors
    /// What to tell the client.
    pub(crate) fn authenticate(
        &self,
        permit: &mut Permit,
        token: &Token,
        now: std::time::Instant,
    ) -> Result<Option<Arc<SessionConfig>>, Code> {
        match self.doorkeeper.authenticate(permit, token, now) {
            Ok(None) => Ok(None),
            Ok(restrictions) => self.narrowed(restrictions.as_deref()).map(Some).ok_or(Code::Forbidden),
            Err(Refusal::Unauthorized) => Err(Code::Unauthorized),
            Err(Refusal::TooMany) => Err(Code::RateLimited),
        }
    }
}

/// Who was let in by a handshake, and what was agreed on.
pub(super) struct Admitted {
    subprotocol: Option<&'static str>,
    permit: Permit,
    settings: Arc<SessionConfig>,
    /// A credential is still to come.
    must_authenticate: bool,
}

fn visitor<B>(request: &Request<B>, peer: Option<IpAddr>) -> Visitor<'_> {
    Visitor { peer, headers: request.headers(), query: request.uri().query() }
}

/// The server's answer to an HTTP request, for a hyper server of your own.
///
/// Cheap to clone; clones belong together. Connections must be served `with_upgrades`, inside of
/// a tokio runtime with time and I/O enabled:
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
///     // Your own deadline belongs around this: see `Server`, which has one.
///     tokio::spawn(connection.with_upgrades());
/// }
/// # }
/// ```
///
/// Over HTTP/2, with hyper's `enable_connect_protocol`, sessions are streams (RFC 8441); that needs
/// the feature `http2`.
///
/// To route other paths yourself, call [`respond`](Service::respond) for this one ([`PATH`]).
#[derive(Clone)]
pub struct Service {
    shared: Arc<Shared>,
}

impl Service {
    /// A service that speaks with this engine.
    ///
    /// # Errors
    /// A setting that is out of its bounds, or a format that the engine cannot give.
    pub fn new(config: Config, synthesizer: Arc<dyn Synthesizer>) -> Result<Service, ConfigError> {
        Service::with(config, synthesizer, None, false)
    }

    /// A service that speaks with this engine, for sessions with `"source": "llm"` what this
    /// writer answers.
    ///
    /// # Errors
    /// A setting that is out of its bounds, or a format that the engine cannot give.
    pub fn with_writer(
        config: Config,
        synthesizer: Arc<dyn Synthesizer>,
        writer: Arc<dyn Writer>,
    ) -> Result<Service, ConfigError> {
        Service::with(config, synthesizer, Some(writer), false)
    }

    /// A service that sends every message back as it came, on every path: for conformance suites,
    /// and to check what a proxy does. Same handshake, frames and deadlines as a session's.
    ///
    /// # Errors
    /// A setting that is out of its bounds.
    pub fn echo(config: Config) -> Result<Service, ConfigError> {
        // Never asked to speak, but a service has an engine.
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
            // An echo answers to whatever a suite thinks of.
            max_fragments: if echoes { usize::MAX } else { MAX_FRAGMENTS },
            read_buffer_bytes: if echoes { ECHO_READ_BUFFER_BYTES } else { READ_BUFFER_BYTES },
        };
        let bounds = Bounds {
            ttl: config.resume_ttl,
            sessions: config.max_frozen_sessions,
            bytes: config.max_frozen_bytes,
        };
        let doorkeeper = Doorkeeper::new(config.admission.clone(), Instant::now().into_std());
        let doorkeeper = doorkeeper.map_err(|why| ConfigError::new("admission.auth", why))?;
        let voices = voice::to_json(&settings.voices, synthesizer.format().sample_rate_hz);
        let telemetry = Arc::new(Telemetry::new());
        let shared = Shared {
            voices: voices.into(),
            config,
            settings: Arc::new(settings),
            synthesizer,
            writer,
            limits,
            echoes,
            sessions: Gauge::default(),
            syntheses: Gauge::default(),
            scripts: Gauge::default(),
            registry: Registry::new(bounds, Arc::clone(&telemetry)),
            telemetry,
            doorkeeper: Arc::new(doorkeeper),
            stop: watch::Sender::new(false),
        };
        Ok(Service { shared: Arc::new(shared) })
    }

    /// Answers a request; if it is a good opening handshake, with 101, or with 200 over HTTP/2, and
    /// starts the session as soon as the answer has left.
    ///
    /// The peer's [`SocketAddr`] should stand among the request's extensions: log lines name it, and
    /// limits for each client and trusted proxies go by it. Without one the peer is taken for a
    /// socket in the file system.
    pub fn respond<B>(&self, mut request: Request<B>) -> Response<Full<Bytes>> {
        let peer = request.extensions().get().map(SocketAddr::ip);
        let (answer, admitted) = self.judge(&request, peer);
        if let Some(admitted) = admitted {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(start(upgrade, self.clone(), admitted));
        }
        answer
    }

    /// The answer to a request of the peer at this address and, if it is a handshake that was
    /// accepted, what [`start`](Service::start) has to know.
    pub(super) fn judge<B>(
        &self,
        request: &Request<B>,
        peer: Option<IpAddr>,
    ) -> (Response<Full<Bytes>>, Option<Admitted>) {
        if !self.shared.echoes
            && let Some(answer) = web::answer(request, self.shared.config.demo)
        {
            return (answer, None);
        }
        let answer = match request.uri().path() {
            VOICES_PATH if !self.shared.echoes => self.voices(request.method()),
            TICKET_PATH if !self.shared.echoes => self.ticket(request, peer),
            _ => {
                let judged = self.judge_session(request, peer);
                let status = judged.as_ref().map_or_else(|rejection| rejection.status.as_u16(), |_| 101);
                self.shared.telemetry.shook_hands(status);
                match judged {
                    Ok((response, admitted)) => return (response.map(|()| Full::default()), Some(admitted)),
                    Err(rejection) => self.refuse(request, peer, &rejection),
                }
            }
        };
        (answer, None)
    }

    fn judge_session<B>(
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
        let Pass { permit, restrictions, must_authenticate } = match shared.echoes {
            true => shared.doorkeeper.admit_unchecked()?,
            // Only `aloud.v1` has a message to show a credential with later.
            false => shared.doorkeeper.admit(&visitor(request, peer), subprotocol.is_some(), now)?,
        };
        let settings = shared.narrowed(restrictions.as_deref()).ok_or_else(|| {
            Rejection::forbidden("The credential is good for no voice that there is; see /api/voices.")
        })?;
        Ok((accept.response(), Admitted { subprotocol, permit, settings, must_authenticate }))
    }

    /// The answer, and one line for the operator: no more than `debug`, or whoever scans the port fills
    /// the log.
    fn refuse<B>(
        &self,
        request: &Request<B>,
        peer: Option<IpAddr>,
        rejection: &Rejection,
    ) -> Response<Full<Bytes>> {
        let client = || self.shared.doorkeeper.client(&visitor(request, peer));
        tracing::debug!("refused {}: {}: {}", client(), rejection.status, rejection.message);
        refused(rejection)
    }

    /// Exchanges a credential for a ticket.
    fn ticket<B>(&self, request: &Request<B>, peer: Option<IpAddr>) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            return refused(&Rejection::method_not_allowed("POST"));
        }
        let (visitor, now) = (visitor(request, peer), Instant::now().into_std());
        let (ticket, ttl) = match self.shared.doorkeeper.issue_ticket(&visitor, random(), now) {
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

    /// The list of voices; what is not sent of it for HEAD is up to hyper.
    fn voices(&self, method: &Method) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return refused(&Rejection::method_not_allowed("GET, HEAD"));
        }
        let mut response = Response::new(Full::from(self.shared.voices.clone()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(VOICES_CACHE));
        // No secret, and a page of another origin asks, too.
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        response
    }

    /// Has each engine say a word, one after the other, to find out whether it works before a
    /// listener does. Returns how long that took.
    ///
    /// # Errors
    /// The first failure, in a sentence that names the engine. One that has not said its word within
    /// 30 s has failed.
    ///
    /// # Cancel safety
    /// Dropping the future stops the engine.
    pub async fn warm_up(&self) -> Result<Duration, SynthesisError> {
        self.shared.telemetry.warm_up_began();
        let warmed_up = self.say_words().await;
        self.shared.telemetry.warm_up_ended(warmed_up.is_ok());
        warmed_up
    }

    async fn say_words(&self) -> Result<Duration, SynthesisError> {
        let began = Instant::now();
        let synthesizer = self.shared.synthesizer.as_ref();
        let mut engines = synthesizer.engines();
        if engines.is_empty() {
            engines.push(synthesizer);
        }
        for engine in engines {
            self.say_word(engine).await.map_err(|SynthesisError { kind, message }| {
                let message = format!("the engine {} cannot speak: {message}", engine.name());
                SynthesisError { kind, message }
            })?;
        }
        Ok(began.elapsed())
    }

    /// Has the engine say a word as a session would, to find out whether it works again.
    pub(super) async fn probe(&self) {
        let works = self.say_word(self.shared.synthesizer.as_ref()).await.is_ok();
        self.shared.telemetry.warm_up_ended(works);
    }

    async fn say_word(&self, engine: &dyn Synthesizer) -> Result<(), SynthesisError> {
        match timeout(WARM_UP_TIMEOUT, self.speak_word(engine)).await {
            Ok(said) => said,
            Err(_) => {
                let seconds = WARM_UP_TIMEOUT.as_secs();
                Err(SynthesisError::timeout(format!("It has not said a word within {seconds} s.")))
            }
        }
    }

    /// What a session would be given, of which nobody hears anything.
    async fn speak_word(&self, engine: &dyn Synthesizer) -> Result<(), SynthesisError> {
        let format = self.shared.settings.format;
        let running = self.shared.syntheses.clone();
        let mut speech = engine.speak(Utterance { running, ..Utterance::new(WARM_UP, format) });
        let mut is_heard = false;
        while let Some(piece) = speech.next().await {
            is_heard |= matches!(piece?, Piece::Audio(_));
        }
        match is_heard {
            true => Ok(()),
            false => Err(SynthesisError::no_audio(format!("It gave no audio for {WARM_UP:?}"))),
        }
    }

    /// Runs a connection whose handshake is done, in a task of its own: the one that did the
    /// handshake gives its memory back.
    pub(super) fn start<T: Transport>(&self, transport: T, early: Bytes, admitted: Admitted) {
        let Admitted { subprotocol, permit, settings, must_authenticate } = admitted;
        if self.shared.echoes {
            return self.run(transport, early, Echo::new(permit));
        }
        // Only a client that speaks `aloud.v1` gets a token.
        let token = subprotocol.map(|_| URL_SAFE_NO_PAD.encode(random::<TOKEN_BYTES>()));
        let mut session = Session::new(settings, session_id(), token, Instant::now().into_std());
        if must_authenticate {
            session.handle(Input::AwaitCredential, Instant::now().into_std());
        }
        self.run(transport, early, Speaking::new(session, permit));
    }

    fn run<T: Transport, A: Application>(&self, transport: T, early: Bytes, application: A) {
        let endpoint = Endpoint::new(Role::Server, self.shared.limits);
        let shared = Arc::clone(&self.shared);
        let connection = Connection::new(transport, endpoint, application, shared, &early);
        // Even empty it would keep hyper's read buffer alive.
        drop(early);
        let telemetry = Arc::clone(&self.shared.telemetry);
        tokio::spawn(async move { report(&connection::serve(connection).await, &telemetry) });
    }

    /// Whether new sessions are welcome: not while the service is going away, while the engine says
    /// its first word or has failed with the last three sentences or its warm-up, nor while as many
    /// sentences wait for the engine as may, nor while there are as many connections as may be.
    ///
    /// # Errors
    /// Why they are not, for the operator.
    pub fn readiness(&self) -> Result<(), String> {
        let Shared { telemetry, synthesizer, doorkeeper, stop, .. } = &*self.shared;
        let mut reasons = Vec::new();
        if *stop.borrow() {
            reasons.push("the server is going away".to_owned());
        }
        if telemetry.is_warming_up() {
            reasons.push("the engine has not said its first word yet".to_owned());
        } else if telemetry.engine_fails() {
            reasons.push(format!("the engine {} fails, see the log", synthesizer.name()));
        }
        let backlog = synthesizer.backlog();
        if backlog.is_full {
            reasons.push(format!("the engine is full, {} sentences wait for it", backlog.waiting));
        }
        if doorkeeper.is_full() {
            reasons.push("there are as many connections as may be".to_owned());
        }
        if reasons.is_empty() { Ok(()) } else { Err(reasons.join("; ")) }
    }

    /// What is counted, in the text format of Prometheus (0.0.4); the README lists the metrics.
    pub fn metrics(&self) -> String {
        let Shared { telemetry, synthesizer, sessions, syntheses, scripts, registry, .. } = &*self.shared;
        telemetry.page(&Present {
            connections: sessions.count(),
            frozen_sessions: registry.suspended().count(),
            frozen_bytes: registry.suspended_bytes(),
            syntheses: syntheses.count(),
            waiting_syntheses: synthesizer.backlog().waiting,
            scripts: scripts.count(),
            wasted: registry.wasted(),
            is_ready: self.readiness().is_ok(),
        })
    }

    /// Whether the engine has shown that it does not work.
    pub(super) fn engine_fails(&self) -> bool {
        self.shared.telemetry.engine_fails()
    }

    pub(super) fn telemetry(&self) -> &Telemetry {
        &self.shared.telemetry
    }

    /// Connections that are open now.
    pub fn sessions(&self) -> &Gauge {
        &self.shared.sessions
    }

    /// Sentences that are in synthesis now.
    pub fn syntheses(&self) -> &Gauge {
        &self.shared.syntheses
    }

    /// Answers that are being written now.
    pub fn scripts(&self) -> &Gauge {
        &self.shared.scripts
    }

    /// Sessions that have lost their connection and wait for their clients to come back.
    pub fn frozen(&self) -> &Gauge {
        self.shared.registry.suspended()
    }

    /// The memory that these take, in bytes, roughly.
    pub fn frozen_bytes(&self) -> usize {
        self.shared.registry.suspended_bytes()
    }

    /// Audio that was made and that nobody heard, since the service began: what was cancelled, and
    /// what clients left behind that did not come back.
    pub fn wasted(&self) -> Duration {
        self.shared.registry.wasted()
    }

    /// Tells every session that the server is going away: those that idle are closed with 1001,
    /// those that stream may finish within `drain_timeout`, and are closed with 1012 when it is over.
    /// Returns once all have ended, with those that wait for their clients to come back: nothing of
    /// them is kept beyond the process.
    ///
    /// # Cancel safety
    /// Sessions go on ending when the future is dropped.
    pub async fn stop(&self) {
        self.shared.stop.send_replace(true);
        self.shared.stop.closed().await;
        self.shared.registry.end_all();
    }

    /// Keeps [`stop`](Service::stop) waiting for as long as the receiver lives.
    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.shared.stop.subscribe()
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.shared.stop.borrow()
    }

    pub(super) fn config(&self) -> &Config {
        &self.shared.config
    }
}

impl<B> hyper::service::Service<Request<B>> for Service {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = future::Ready<Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        future::ready(Ok(self.respond(request)))
    }
}

/// The protocol that a request of HTTP/2 wants to go on with, beside what its method says.
#[cfg(feature = "http2")]
fn protocol<B>(request: &Request<B>) -> Option<&str> {
    request.extensions().get::<hyper::ext::Protocol>().map(hyper::ext::Protocol::as_str)
}

#[cfg(not(feature = "http2"))]
fn protocol<B>(_: &Request<B>) -> Option<&str> {
    None
}

fn refused(rejection: &Rejection) -> Response<Full<Bytes>> {
    rejection.response().map(|sentence| Full::from(Bytes::from(sentence)))
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
    let mut format = synthesizer.format();
    format.encoding = config.encoding.unwrap_or(format.encoding);
    format.sample_rate_hz = config.sample_rate_hz.unwrap_or(format.sample_rate_hz);
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
    let of_rate = |&sample_rate_hz: &u32| Encoding::ALL.map(|encoding| Format { encoding, sample_rate_hz });
    let mut formats: Vec<Format> = Format::SAMPLE_RATES.iter().flat_map(of_rate).collect();
    formats.retain(|format| synthesizer.supports(*format));
    Ok(SessionConfig {
        greeting: config.greeting.clone(),
        max_prompt_chars: config.max_prompt_chars,
        max_buffered_chars: config.max_buffered_chars,
        max_session_chars: config.max_session_chars,
        max_message_bytes: config.max_message_bytes,
        prefetch: config.prefetch,
        speed: config.speed,
        format,
        frame_ms: config.frame_ms,
        formats,
        voices: synthesizer.voices(),
        is_deterministic: synthesizer.is_deterministic(),
        is_paced: config.paced,
        ahead: config.ahead,
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
        auth_timeout: config.admission.auth_timeout,
        is_bounded: false,
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

/// Takes the byte stream back from hyper, bare if it is a socket, and runs the connection over it.
async fn start(upgrade: OnUpgrade, service: Service, admitted: Admitted) {
    // Fails only if the peer left before the answer did.
    let Ok(upgraded) = upgrade.await else { return };
    match bare::<TcpStream>(upgraded) {
        Ok((socket, early)) => service.start(socket, early, admitted),
        Err(upgraded) => match bare::<UnixStream>(upgraded) {
            Ok((socket, early)) => service.start(socket, early, admitted),
            Err(upgraded) => {
                let buffered = Buffered::new(TokioIo::new(upgraded));
                service.start(buffered, Bytes::new(), admitted);
            }
        },
    }
}

fn bare<S>(upgraded: Upgraded) -> Result<(S, Bytes), Upgraded>
where
    TokioIo<S>: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    upgraded.downcast::<TokioIo<S>>().map(|parts| (parts.io.into_inner(), parts.read_buf))
}

/// One line for the operator. A peer that leaves is an outcome, not an error.
fn report(ended: &Ended, telemetry: &Telemetry) {
    let Ended { departure, outcome } = ended;
    let by = match outcome {
        Outcome::Closed(closed) | Outcome::Unfinished(closed) => {
            let code = closed.code.map(|code| code.0);
            match (closed.by_peer, code) {
                (true, code) => ClosedBy::Client(code),
                (false, code) => ClosedBy::Server(code.unwrap_or(CloseCode::NORMAL.0)),
            }
        }
        Outcome::Gone(_) | Outcome::Stalled => ClosedBy::Nobody,
        Outcome::Panicked => ClosedBy::Server(CloseCode::INTERNAL.0),
    };
    telemetry.closed(by);
    let (record, what) = match departure {
        Departure::Empty => return,
        Departure::Ended(record) => (record, "ended"),
        Departure::Suspended(record) => (record, "lost, and kept for its client"),
    };
    let (level, reason) = match outcome {
        Outcome::Closed(closed) => (Level::INFO, closed.reason.clone()),
        Outcome::Unfinished(closed) => {
            (Level::INFO, format!("{} (the closing handshake was not finished)", closed.reason))
        }
        Outcome::Gone(error) => (Level::INFO, error.to_string()),
        Outcome::Stalled => (Level::WARN, "the client took nothing for too long".to_owned()),
        Outcome::Panicked => (Level::ERROR, "a fault of the server".to_owned()),
    };
    record.log(level, what, by, &reason);
}

/// A UUID, version 4 (RFC 9562 §5.4).
fn session_id() -> String {
    let mut bytes = random::<16>();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut id = String::with_capacity(36);
    for (n, byte) in bytes.iter().enumerate() {
        if matches!(n, 4 | 6 | 8 | 10) {
            id.push('-');
        }
        id.extend([byte >> 4, byte & 0x0f].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])));
    }
    id
}

fn random<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    // Without randomness nothing is unguessable, and there is nothing sensible to do.
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}
