//! `POST /v1/audio/speech` and its lists: the API that most programs with speech in them know.
//!
//! One more reader of the engine, behind the same text path, queue, limits and credentials as a session. A request
//! is admitted by its head alone; [`SpeechCall`] then reads its body, and [`pump`] answers it from a task of its own.

mod fault;
mod pump;
mod recital;
mod request;

use super::body::{Body, Spoken};
use super::routes::{Answer, visitor};
use super::service::{Service, Shared};
use super::upgrade;
use crate::access::{Holding, Permit, SessionSlot};
use crate::audio::{Encoding, Format, voice};
use crate::deadline::within;
use crate::session::SessionConfig;
use crate::ws::handshake::Rejection;
use fault::Fault;
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Buf, Bytes};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, CACHE_CONTROL,
    CONTENT_TYPE, HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use pump::{First, Listener, Pump};
use recital::{Manner, Recital};
use request::SpeechRequest;
use serde_json::json;
use std::future::poll_fn;
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

/// Seconds for which a browser need not ask again whether it may ask.
const PREFLIGHT_SECS: u64 = 600;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SAMPLE_RATE: HeaderName = HeaderName::from_static("x-sample-rate");
/// The speed of the audio, if it is not the one that was asked for.
const SPEED: HeaderName = HeaderName::from_static("x-aloud-speed");
const REQUEST_PRIVATE: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// Headers that every answer has.
struct Letterhead {
    id: Arc<str>,
    /// The page that may read the answer.
    origin: Option<HeaderValue>,
    /// True if another page would get another answer.
    varies: bool,
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
    /// The server's shutdown waits until this is dropped.
    stopping: watch::Receiver<bool>,
    began: Instant,
}

impl Service {
    /// Answers a request for one of the paths of this API; `None` for another path.
    pub(super) fn speech_api<B>(&self, request: &Request<B>, peer: Option<IpAddr>) -> Option<Answer> {
        let path = request.uri().path();
        let is_model =
            path.strip_prefix(MODELS_PATH).is_some_and(|rest| rest.starts_with('/') && rest.len() > 1);
        if !is_model && ![SPEECH_PATH, MODELS_PATH, AUDIO_MODELS_PATH, VOICES_PATH].contains(&path) {
            return None;
        }
        let visitor = visitor(request, peer);
        let may_read = self.doorkeeper().check_origin(&visitor);
        let origin = request.headers().get(ORIGIN);
        let letterhead = Letterhead {
            id: upgrade::session_id().into(),
            origin: origin.filter(|_| may_read.is_ok()).cloned(),
            varies: origin.is_some(),
        };
        let answer = if request.method() == Method::OPTIONS {
            may_read.map(|()| preflight(request.headers(), path)).map_err(Fault::from)
        } else if path == SPEECH_PATH {
            match self.ask(request, peer) {
                Ok((permit, slot, settings)) => {
                    let asked = SpeechCall {
                        shared: Arc::clone(&self.shared),
                        letterhead,
                        permit,
                        slot,
                        settings,
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

    /// Admits a request for speech by its head.
    fn ask<B>(
        &self,
        request: &Request<B>,
        peer: Option<IpAddr>,
    ) -> Result<(Permit, Option<SessionSlot>, Arc<SessionConfig>), Fault> {
        if request.method() != Method::POST {
            return Err(Rejection::method_not_allowed("POST, OPTIONS").into());
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
            pass.permit.reserve_session(&mut slot, now)?;
        }
        shared.doorkeeper.spend(pass.ticket.as_ref(), now)?;
        Ok((pass.permit, slot, settings))
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
    /// Reads the body of the request, and answers it. `on_read` is called once the body was read.
    ///
    /// # Cancel safety
    /// Dropping the future stops the speech.
    pub(super) async fn respond<B: HttpBody>(self, body: B, on_read: impl FnOnce()) -> Response<Body> {
        let SpeechCall { shared, letterhead, permit, slot, settings, stopping, began } = self;
        let answer = async {
            let mut holding = Holding::default();
            let patience = shared.config.handshake_timeout;
            let body = within(patience, read(body, &shared, &permit, &mut holding)).await;
            let body = body.map_err(|_| Fault::too_late())??;
            on_read();
            let request = SpeechRequest::parse(&body)?;
            drop(body);
            let (manner, asked_speed) = manner(&shared, &settings, &request)?;
            check_length(&settings, &request.input)?;
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
        let error = crate::tts::SynthesisError::failed("The speech stopped before it began.");
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
    let mut bytes = Vec::new();
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
        while data.has_remaining() {
            let chunk = data.chunk();
            bytes.extend_from_slice(chunk);
            let length = chunk.len();
            data.advance(length);
        }
        holding.set(&shared.holdings, permit.client(), bytes.len());
    }
    match poll_fn(|cx| Poll::Ready(holding.poll(cx))).await {
        Poll::Ready(()) => {
            let message = "The sessions of the server hold too much together, and those of this client most.";
            Err(Fault::unavailable("overloaded", message))
        }
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
    let sample_rate_hz = request.sample_rate_hz.unwrap_or(request.container.rate(own));
    let format = Format { encoding: Encoding::PcmS16le, sample_rate_hz };
    let is_own = sample_rate_hz == own && shared.synthesizer.supports(format);
    let container = request.container;
    let is_given = (is_own || settings.formats.contains(&format)) && container.supports(sample_rate_hz);
    if !is_given {
        let linear = settings.formats.iter().filter(|format| format.encoding == Encoding::PcmS16le);
        let rates = linear.map(|format| format.sample_rate_hz).filter(|rate| container.supports(*rate));
        let rates: Vec<String> = rates.map(|rate| rate.to_string()).collect();
        let message = format!(
            "This server gives no {} at {sample_rate_hz} Hz. Ask for a sample_rate of {}.",
            container.name(),
            rates.join(", ")
        );
        return Err(Fault::field("sample_rate", message));
    }
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
