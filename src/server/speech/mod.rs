//! `POST /v1/audio/speech` and its lists: the API that most programs with speech in them know.
//!
//! One more reader of the engine, behind the same text path, queue, limits and credentials as a session. A request
//! is admitted by its head alone; [`SpeechCall`] then reads its body, and [`pump`] answers it from a task of its own.

mod fault;
mod pump;
mod recital;
mod request;

use super::body::{Body, Spoken};
use super::routes::{Answer, refused, visitor};
use super::service::{Service, Shared};
use super::turn;
use super::upgrade;
use crate::access::credential::Token;
use crate::access::{Holding, Permit, SessionSlot, Visitor};
use crate::audio::container::Container;
use crate::audio::{Encoding, Format, voice};
use crate::deadline::within;
use crate::session::SessionConfig;
use crate::tts::{SynthesisError, Utterance};
use crate::ws::handshake::Rejection;
use fault::Fault;
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Buf, Bytes};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, CACHE_CONTROL,
    CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN, TRANSFER_ENCODING, VARY,
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use pump::{First, Listener, Pump};
use recital::{Manner, Recital};
use request::SpeechRequest;
use serde_json::json;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::sync::watch;
use tokio::time::Instant;

const SPEECH_PATH: &str = "/v1/audio/speech";
const MODELS_PATH: &str = "/v1/models";
const AUDIO_MODELS_PATH: &str = "/v1/audio/models";
const VOICES_PATH: &str = "/v1/audio/voices";

/// Models that a list names. A request may name any other one.
const MODELS: [&str; 3] = ["tts-1", "tts-1-hd", "gpt-4o-mini-tts"];

/// Bytes of a body from which on it is read in turns: about a tenth of a millisecond.
const LONG_BODY_BYTES: usize = 16 * 1024;

/// Bytes of a body that are read in one turn of its client.
const TURN_BYTES: usize = 64 * 1024;

/// Seconds for which a browser need not ask again whether it may ask.
const PREFLIGHT_SECS: u64 = 600;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SAMPLE_RATE: HeaderName = HeaderName::from_static("x-sample-rate");
/// The speed of the audio, if it is not the one that was asked for.
const SPEED: HeaderName = HeaderName::from_static("x-aloud-speed");
const REQUEST_PRIVATE: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// Lines that are read of a head that is not valid.
const MAX_LINES: usize = 128;

/// Headers that every answer has.
struct Letterhead {
    id: Arc<str>,
    /// The page that may read the answer.
    origin: Option<HeaderValue>,
    /// True if another page would get another answer.
    varies: bool,
}

/// True if a path belongs to this API, whether there is anything or not.
fn is_of_api(path: &str) -> bool {
    path.strip_prefix("/v1").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Letterhead {
    fn put_on<B>(&self, mut response: Response<B>) -> Response<B> {
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            headers.insert(REQUEST_ID, id);
        }
        if let Some(origin) = &self.origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            let shown = HeaderValue::from_static("x-request-id, x-sample-rate, x-aloud-speed, retry-after");
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, shown);
        }
        if self.varies {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        response
    }
}

/// A request for speech that was admitted by its head. Its body is still to be read.
pub(super) struct SpeechCall {
    shared: Arc<Shared>,
    letterhead: Letterhead,
    permit: Permit,
    slot: Option<SessionSlot>,
    settings: Arc<SessionConfig>,
    /// The ticket that admitted the request. It is used up once nothing refuses the request any more.
    ticket: Option<Token>,
    /// The server's shutdown waits until this is dropped.
    stopping: watch::Receiver<bool>,
    began: Instant,
}

/// The client of a request for speech, as its head tells.
struct Asker {
    permit: Permit,
    slot: Option<SessionSlot>,
    settings: Arc<SessionConfig>,
    ticket: Option<Token>,
}

impl Service {
    /// Answers a request for one of the paths of this API; `None` for another path.
    pub(super) fn speech_api<B>(&self, request: &Request<B>, peer: Option<IpAddr>) -> Option<Answer> {
        let path = request.uri().path();
        let is_model =
            path.strip_prefix(MODELS_PATH).is_some_and(|rest| rest.starts_with('/') && rest.len() > 1);
        let is_known = is_model || [SPEECH_PATH, MODELS_PATH, AUDIO_MODELS_PATH, VOICES_PATH].contains(&path);
        if !is_known && !is_of_api(path) {
            return None;
        }
        let visitor = visitor(request, peer);
        let may_read = self.doorkeeper().check_origin(&visitor);
        let letterhead = self.letterhead(&visitor);
        let answer = if request.method() == Method::OPTIONS {
            // Else a page would not see the error of a path that does not exist.
            may_read.map(|()| preflight(request.headers(), path)).map_err(Fault::from)
        } else if !is_known {
            Err(Rejection::not_found().into())
        } else if path == SPEECH_PATH {
            match self.ask(request, peer) {
                Ok(Asker { permit, slot, settings, ticket }) => {
                    let asked = SpeechCall {
                        shared: Arc::clone(&self.shared),
                        letterhead,
                        permit,
                        slot,
                        settings,
                        ticket,
                        stopping: self.stopping(),
                        began: Instant::now(),
                    };
                    return Some(Answer::Speech(Box::new(asked)));
                }
                Err(fault) => {
                    let client = self.doorkeeper().client(&visitor);
                    tracing::debug!("refused {client}: {}: {}", fault.status, fault.message);
                    self.telemetry().answered(fault.status.as_u16());
                    Err(fault)
                }
            }
        } else if ![Method::GET, Method::HEAD].contains(request.method()) {
            Err(Rejection::method_not_allowed("GET, HEAD, OPTIONS").into())
        } else {
            let now = Instant::now().into_std();
            match path {
                VOICES_PATH => Ok(self.voice_list()),
                AUDIO_MODELS_PATH => Ok(self.model_list("models")),
                MODELS_PATH => self
                    .doorkeeper()
                    .check(&visitor, now)
                    .map(|()| self.model_list("data"))
                    .map_err(Fault::from),
                _ => {
                    let id = path.rsplit('/').next().unwrap_or_default();
                    self.doorkeeper().check(&visitor, now).map(|()| document(&model(id))).map_err(Fault::from)
                }
            }
        };
        Some(Answer::Response(letterhead.put_on(answer.unwrap_or_else(Fault::response))))
    }

    fn letterhead(&self, visitor: &Visitor<'_>) -> Letterhead {
        let origin = visitor.headers.get(ORIGIN);
        Letterhead {
            id: upgrade::session_id().into(),
            origin: origin.filter(|_| self.doorkeeper().check_origin(visitor).is_ok()).cloned(),
            varies: origin.is_some(),
        }
    }

    /// The refusal of a request, in the form of this API if it is for one of its paths.
    pub(super) fn refusal(
        &self,
        rejection: &Rejection,
        path: &str,
        visitor: &Visitor<'_>,
    ) -> Response<Full<Bytes>> {
        match self.shared.config.speech_api && !self.shared.echoes && is_of_api(path) {
            true => self.letterhead(visitor).put_on(Fault::from(rejection).response()),
            false => refused(rejection),
        }
    }

    /// The refusal of a request whose head is not whole, or not valid. `head` is the beginning of it.
    pub(super) fn late_refusal(
        &self,
        rejection: &Rejection,
        head: &[u8],
        peer: Option<IpAddr>,
    ) -> Response<String> {
        let mut lines =
            head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).skip_while(|line| line.is_empty());
        let target = lines.next().and_then(|line| str::from_utf8(line).ok()?.split(' ').nth(1));
        let path = target.and_then(|target| target.split('?').next()).unwrap_or_default();
        if !self.shared.config.speech_api || self.shared.echoes || !is_of_api(path) {
            return rejection.response();
        }
        let mut headers = HeaderMap::new();
        for line in lines.take(MAX_LINES) {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            let known =
                [HOST, ORIGIN].into_iter().find(|known| name.eq_ignore_ascii_case(known.as_str().as_bytes()));
            if let (Some(name), Ok(value)) = (known, HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        }
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let letterhead = self.letterhead(&Visitor { peer, headers: &headers, host, query: None });
        letterhead.put_on(Fault::from(rejection).written())
    }

    /// Admits a request for speech by its head.
    fn ask<B>(&self, request: &Request<B>, peer: Option<IpAddr>) -> Result<Asker, Fault> {
        if request.method() != Method::POST {
            return Err(Rejection::method_not_allowed("POST, OPTIONS").into());
        }
        for (name, plain) in [(CONTENT_ENCODING, "identity"), (TRANSFER_ENCODING, "chunked")] {
            let mut codings = request.headers().get_all(name).iter();
            if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(plain.as_bytes())) {
                return Err(Fault::encoded());
            }
        }
        if self.is_stopping() {
            return Err(Fault::stopping());
        }
        let shared = &self.shared;
        let now = Instant::now().into_std();
        let pass = shared.doorkeeper.admit(&visitor(request, peer), false, now)?;
        let settings = shared.narrowed(pass.restrictions.as_deref()).ok_or_else(|| {
            Rejection::forbidden(
                "This credential allows none of this server's voices; /api/voices lists them.",
            )
        })?;
        let mut slot = None;
        if pass.permit.has_session_limits() {
            let reserved = pass.permit.reserve_session(&mut slot, now);
            reserved.map_err(|quota| Fault::quota(quota, pass.permit.quota_wait(now)))?;
        }
        Ok(Asker { permit: pass.permit, slot, settings, ticket: pass.ticket })
    }

    fn model_list(&self, name: &str) -> Response<Full<Bytes>> {
        let engine = self.shared.synthesizer.name();
        let models: Vec<_> = MODELS.iter().copied().chain([engine]).map(model).collect();
        document(&json!({ "object": "list", name: models }))
    }

    /// The engine's voices, and the further names that stand for one of them.
    fn voice_list(&self) -> Response<Full<Bytes>> {
        let (voices, aliases) = (&self.shared.settings.voices, &self.shared.config.voice_map);
        let entry = |id: &str, voice: &voice::Voice| {
            json!({
                "id": id,
                "name": id,
                "object": "voice",
                "voice": voice.name,
                "language": voice.language,
                "gender": voice.gender.map(voice::Gender::name),
            })
        };
        let own = voices.iter().map(|voice| entry(&voice.name, voice));
        let further =
            aliases.iter().map(|alias| &*alias.name).chain(voice::COMMON.iter().map(|(name, _)| *name));
        let mut seen: Vec<&str> = voices.iter().map(|voice| &*voice.name).collect();
        let mut list: Vec<_> = own.collect();
        for name in further {
            if !seen.contains(&name)
                && let Some(voice) = voice::named(voices, aliases, name)
            {
                seen.push(name);
                list.push(entry(name, voice));
            }
        }
        document(&json!({ "voices": list }))
    }
}

fn model(id: &str) -> serde_json::Value {
    json!({ "id": id, "object": "model", "created": 0, "owned_by": "aloud" })
}

fn document(json: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(json.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The answer to a browser that asks whether a page may send a request (Fetch §3.2.2).
fn preflight(asked: &HeaderMap, path: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let methods = if path == SPEECH_PATH { "POST, OPTIONS" } else { "GET, HEAD, OPTIONS" };
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    // Clients add headers of their own. None of them does harm.
    let fields = asked.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let fields = fields.unwrap_or(HeaderValue::from_static("authorization, content-type"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, fields);
    headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECS.into());
    if asked.contains_key(REQUEST_PRIVATE) {
        headers.insert(ALLOW_PRIVATE, HeaderValue::from_static("true"));
    }
    headers.append(VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    response
}

impl SpeechCall {
    /// Reads the body of the request, and answers it. `on_read` is called once the body was read. Refuses the
    /// request if `leave` is ready before that.
    ///
    /// # Cancel safety
    /// Dropping the future stops the speech.
    pub(super) async fn respond<B: HttpBody>(
        self,
        body: B,
        on_read: impl FnOnce(),
        leave: impl Future<Output = ()>,
    ) -> Response<Body> {
        let SpeechCall { shared, letterhead, permit, slot, settings, ticket, stopping, began } = self;
        let answer = async {
            let mut holding = Holding::default();
            let patience = shared.config.handshake_timeout;
            let body = tokio::select! {
                biased;
                body = within(patience, read(body, &shared, &permit, &mut holding)) => body,
                () = leave => return Err(Fault::crowded()),
            };
            let body = body.map_err(|_| Fault::too_late())??;
            on_read();
            let request = parse(body, &shared, &permit, &letterhead.id).await?;
            let (manner, asked_speed) = manner(&shared, &settings, &request)?;
            check_length(&settings, &request.input)?;
            // Nothing refuses the request any more.
            shared.doorkeeper.spend(ticket.as_ref(), Instant::now().into_std())?;
            if let Some(spent) = shared.spend_everywhere(ticket.as_ref())
                && let Ok(Ok(false)) = spent.await
            {
                return Err(Rejection::unauthorized(true).into());
            }
            let (container, is_events, speed, rate) =
                (request.container, request.is_events, manner.speed, manner.format.sample_rate_hz);
            let pump = Pump {
                recital: Recital::new(
                    Arc::clone(&shared),
                    permit,
                    slot,
                    Arc::clone(&letterhead.id),
                    request,
                    manner,
                    settings.pauses,
                ),
                shared: Arc::clone(&shared),
                container,
                is_events,
                id: Arc::clone(&letterhead.id),
                holding,
                stopping,
                most_time: settings.is_bounded.then_some(settings.max_session),
                began,
            };
            let mut response = begun(pump.start()).await?;
            let headers = response.headers_mut();
            let content_type = if is_events { "text/event-stream" } else { container.content_type() };
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(SAMPLE_RATE, rate.into());
            if asked_speed.is_some_and(|asked| (asked - speed).abs() > f32::EPSILON)
                && let Ok(speed) = HeaderValue::from_str(&speed.to_string())
            {
                headers.insert(SPEED, speed);
            }
            Ok(response)
        };
        let response = match answer.await {
            Ok(response) => response,
            Err(fault) => {
                let fault: Fault = fault;
                tracing::debug!("refused a request for speech: {}: {}", fault.status, fault.message);
                fault.response().map(Body::from)
            }
        };
        shared.telemetry.answered(response.status().as_u16());
        letterhead.put_on(response)
    }
}

/// The answer, once its first bytes are known.
async fn begun(listener: Listener) -> Result<Response<Body>, Fault> {
    let Listener { first, portions, taken } = listener;
    // The task of the answer fails only with a panic.
    let first = first.await.unwrap_or_else(|_| {
        let error = SynthesisError::failed("The speech stopped before it began.");
        First::Failed(Fault::from(&error))
    });
    match first {
        First::Failed(fault) => Err(fault),
        First::Whole(bytes) => Ok(Response::new(Full::from(bytes).into())),
        First::Portion(portion) => {
            let spoken = Spoken { first: Some(portion), portions, taken, is_over: false, is_broken: false };
            Ok(Response::new(spoken.into()))
        }
    }
}

/// Reads the request in a body. A long one takes many milliseconds: it has its turn among the work of all clients,
/// and holds up no connection.
async fn parse(
    body: Vec<u8>,
    shared: &Shared,
    permit: &Permit,
    id: &Arc<str>,
) -> Result<SpeechRequest, Fault> {
    if body.len() < LONG_BODY_BYTES {
        return SpeechRequest::parse(&body);
    }
    let format = shared.synthesizer.format();
    let (client, session) = (permit.client().key(), Arc::clone(id));
    let place = Utterance { client, session, ..Utterance::new("", format) };
    let parsed = shared.encoders.work(&place, true, move || SpeechRequest::parse(&body)).await;
    parsed.unwrap_or_else(|| {
        Err(Fault::from(&SynthesisError::failed("The request could not be read. Send it again.")))
    })
}

/// Reads a body up to the limit on its length.
async fn read<B: HttpBody>(
    body: B,
    shared: &Shared,
    permit: &Permit,
    holding: &mut Holding,
) -> Result<Vec<u8>, Fault> {
    let most = shared.config.max_speech_bytes;
    if body.size_hint().lower() > most as u64 {
        return Err(Fault::too_large(most));
    }
    let mut body = pin!(body);
    let (mut bytes, mut turn_bytes) = (Vec::new(), 0);
    let client = permit.client().key();
    while let Some(frame) = poll_fn(|cx| match holding.poll(cx) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => body.as_mut().poll_frame(cx),
    })
    .await
    {
        let frame =
            frame.map_err(|_| Fault::request("The body of the request was cut off. Send it again."))?;
        let Ok(mut data) = frame.into_data() else { continue };
        if data.remaining() > most - bytes.len() {
            return Err(Fault::too_large(most));
        }
        turn_bytes += data.remaining();
        while data.has_remaining() {
            let chunk = data.chunk();
            bytes.extend_from_slice(chunk);
            let length = chunk.len();
            data.advance(length);
        }
        holding.set(&shared.holdings, permit.client(), bytes.len());
        if turn_bytes >= TURN_BYTES {
            // A client that sends fast has more to read at any time. The turn ends before anything is waited for.
            turn_bytes = 0;
            drop(turn::next(&client).await);
        }
    }
    match poll_fn(|cx| Poll::Ready(holding.poll(cx))).await {
        Poll::Ready(()) => Err(Fault::crowded()),
        Poll::Pending => Ok(bytes),
    }
}

/// The voice, speed and format for a request, and the speed that it asks for.
fn manner(
    shared: &Shared,
    settings: &SessionConfig,
    request: &SpeechRequest,
) -> Result<(Manner, Option<f32>), Fault> {
    let voices = &settings.voices;
    let voice = match &request.voice {
        Some(name) => voice::named(voices, &shared.config.voice_map, name).ok_or_else(|| {
            let message = format!("There is no such voice; there is {}.", voice::names(voices));
            Fault::field("voice", message)
        })?,
        None => {
            let language = request.language.as_deref().unwrap_or_default();
            let voice = voice::for_language(voices, language);
            voice.ok_or_else(|| Fault::field("voice", "This server has no voice."))?
        }
    };
    let speeds = shared.synthesizer.speeds();
    let asked = request.speed.unwrap_or(settings.speed);
    let own = settings.format.sample_rate_hz;
    let container = request.container;
    let linear = |sample_rate_hz: u32| Format { encoding: Encoding::PcmS16le, sample_rate_hz };
    let gives = |rate: &u32| {
        let is_own = *rate == own && shared.synthesizer.supports(linear(own));
        container.supports(*rate) && (is_own || settings.formats.contains(&linear(*rate)))
    };
    let usual = container.rate(own);
    let sample_rate_hz =
        request.sample_rate_hz.unwrap_or(match gives(&usual) || container == Container::Pcm {
            true => usual,
            // The limit of the server is lower.
            false => Format::SAMPLE_RATES.iter().copied().filter(gives).max().unwrap_or(usual),
        });
    if !gives(&sample_rate_hz) {
        let is_common = Format::SAMPLE_RATES.contains(&own);
        let own = (!is_common).then_some(&own);
        let rates = own.into_iter().chain(&Format::SAMPLE_RATES).filter(|rate| gives(rate));
        let rates: Vec<String> = rates.map(ToString::to_string).collect();
        let message = format!(
            "This server gives no {} at {sample_rate_hz} samples per second. Ask for a sample_rate of {}.",
            container.name(),
            rates.join(", ")
        );
        return Err(Fault::field("sample_rate", message));
    }
    let format = linear(sample_rate_hz);
    let manner =
        Manner { voice: voice.name.clone(), speed: asked.clamp(*speeds.start(), *speeds.end()), format };
    Ok((manner, request.speed))
}

/// Checks a text against the limit of a session.
fn check_length(settings: &SessionConfig, input: &str) -> Result<(), Fault> {
    let Some(most) = settings.max_session_chars else { return Ok(()) };
    let chars = input.chars().count() as u64;
    match chars > most {
        true => {
            let message = format!("input has {chars} characters (limit {most}). Send the text in parts.");
            Err(Fault::field("input", message))
        }
        false => Ok(()),
    }
}

#[cfg(all(test, any(feature = "mp3", feature = "opus")))]
mod tests {
    #![allow(clippy::unwrap_used)] // A test that cannot go on should stop where it is.

    use super::*;
    use crate::settings::Config;
    use crate::tts::Tone;
    use crate::tts::encoded::{Encoders, UNIT_BYTES};
    use http_body_util::BodyExt;
    use hyper::body::Frame;
    use std::convert::Infallible;
    use std::net::SocketAddr;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Context;
    use std::time::Duration;
    use tokio::task::JoinSet;
    use tokio::time::timeout;

    /// The answer to a request from this address, for a sentence of a minute.
    fn ask(
        service: &Service,
        client: &str,
        container: Container,
    ) -> impl Future<Output = Response<Body>> + use<> {
        let json = json!({ "input": "One.", "response_format": container.name() }).to_string();
        let mut request =
            Request::post(SPEECH_PATH).header(HOST, "localhost").body(Full::<Bytes>::from(json)).unwrap();
        request.extensions_mut().insert::<SocketAddr>(client.parse().unwrap());
        let answer = service.respond(request);
        async move { answer.await.unwrap_or_else(|never| match never {}) }
    }

    #[tokio::test]
    async fn a_long_request_is_read_in_the_turn_of_its_client() {
        let format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 };
        let mut service = Service::new(Config::default(), Arc::new(Tone::new(format, 0.1))).unwrap();
        let encoders = Encoders::with_threads(1);
        Arc::get_mut(&mut service.shared).unwrap().encoders = encoders.clone();
        let (release, begun) = encoders.hold("first");
        begun.await.unwrap();
        let fields: String = (0..5_000).map(|n| format!("\"{n}\":1,")).collect();
        let long = format!(r#"{{{fields}"input":"One.","response_format":"wav"}}"#);
        let broken = format!(r#"{{{fields}"input":7}}"#);
        let post = |json: String| {
            let request = Request::post(SPEECH_PATH).header(HOST, "localhost");
            let answer = service.respond(request.body(Full::<Bytes>::from(json)).unwrap());
            tokio::spawn(async move { answer.await.unwrap_or_else(|never| match never {}).status() })
        };
        let (long, broken) = (post(long), post(broken));
        wait_until(|| encoders.waiting() == 2).await;
        // A short one waits for nothing.
        let short = post(r#"{"input":"One.","response_format":"wav"}"#.to_owned());
        assert_eq!(timeout(Duration::from_secs(60), short).await.expect("in time").unwrap(), 200);
        assert!(!long.is_finished() && !broken.is_finished());
        drop(release);
        assert_eq!((long.await.unwrap(), broken.await.unwrap()), (StatusCode::OK, StatusCode::BAD_REQUEST));
    }

    /// A body whose bytes are all there.
    struct Ready {
        left: usize,
        given: Arc<AtomicUsize>,
    }

    impl HttpBody for Ready {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let bytes = self.left.min(4 * 1024);
            self.left -= bytes;
            self.given.fetch_add(bytes, Ordering::Relaxed);
            Poll::Ready((bytes > 0).then(|| Ok(Frame::data(vec![b' '; bytes].into()))))
        }
    }

    #[tokio::test]
    async fn long_bodies_are_read_in_turns() {
        const BODY_BYTES: usize = 1 << 20;
        let format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 };
        let service = Service::new(Config::default(), Arc::new(Tone::new(format, 0.1))).unwrap();
        let given = Arc::new(AtomicUsize::new(0));
        let mut answers = JoinSet::new();
        for _ in 0..8 {
            let body = Ready { left: BODY_BYTES, given: Arc::clone(&given) };
            let request = Request::post(SPEECH_PATH).header(HOST, "localhost").body(body).unwrap();
            let answer = service.respond(request);
            answers.spawn(async move { answer.await.unwrap_or_else(|never| match never {}).status() });
        }
        // What another task of the thread sees between two of its turns.
        let (mut before, mut most) = (0, 0);
        while answers.try_join_next().is_none() {
            tokio::task::yield_now().await;
            let now = given.load(Ordering::Relaxed);
            (most, before) = (most.max(now - before), now);
        }
        assert!(before >= BODY_BYTES, "{before}");
        // All of them begin at once; from then on one has its turn at a time.
        assert!(most <= 9 * TURN_BYTES, "{most} bytes");
    }

    async fn wait_until(is_so: impl Fn() -> bool) {
        let waiting = async {
            while !is_so() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(60), waiting).await.expect("in time");
    }

    #[tokio::test]
    async fn turn_of_an_encoder_is_a_unit_of_work() {
        for container in Container::ALL.iter().copied().filter(|container| container.is_encoded()) {
            let format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 };
            let service = Service::new(Config::default(), Arc::new(Tone::new(format, 60.0))).unwrap();
            let mut body = ask(&service, "192.0.2.1:1", container).await.into_body();
            let mut turns = 0;
            while let Some(frame) = body.frame().await {
                assert!(frame.unwrap().is_data());
                turns += 1;
            }
            let least = 60 * 8_000 * 2 / UNIT_BYTES;
            assert!(turns >= least, "{container:?}: {turns} turns, at least {least}");
        }
    }

    #[tokio::test]
    async fn answer_waits_for_one_turn_of_another_client() {
        for container in Container::ALL.iter().copied().filter(|container| container.is_encoded()) {
            let format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 };
            let mut service = Service::new(Config::default(), Arc::new(Tone::new(format, 60.0))).unwrap();
            let encoders = Encoders::with_threads(1);
            Arc::get_mut(&mut service.shared).unwrap().encoders = encoders.clone();
            let (release, begun) = encoders.hold("first");
            begun.await.unwrap();
            let mut many = JoinSet::new();
            for _ in 0..48 {
                many.spawn(ask(&service, "192.0.2.1:1", container));
            }
            wait_until(|| encoders.waiting() == 48).await;
            let one = tokio::spawn(ask(&service, "192.0.2.2:1", container));
            wait_until(|| encoders.waiting() == 49).await;
            // The thread stops again behind the first round.
            let (release_again, begun) = encoders.hold("last");
            wait_until(|| encoders.waiting() == 50).await;
            drop(release);
            begun.await.unwrap();
            assert_eq!(timeout(Duration::from_secs(60), one).await.expect("in time").unwrap().status(), 200);
            tokio::task::yield_now().await;
            let mut answered = 0;
            while many.try_join_next().is_some() {
                answered += 1;
            }
            assert!(answered <= 1, "{container:?}: {answered} turns of the other client");
            // Answers without a client leave the line.
            drop(many);
            wait_until(|| encoders.waiting() == 0).await;
            drop(release_again);
        }
    }
}
