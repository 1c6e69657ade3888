//! Errors in the form that clients of OpenAI's API read.

use crate::access::{QuotaReached, whole_secs};
use crate::server::report::failure_code;
use crate::tts::{SynthesisError, SynthesisErrorKind};
use crate::ws::handshake::Rejection;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Response, StatusCode};
use serde_json::json;
use std::time::Duration;

/// `Retry-After` where the time of the next free place is unknown, in seconds.
const RETRY_AFTER_SECS: u64 = 5;

/// An error for the client.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(super) status: StatusCode,
    pub(super) message: String,
    /// The field that is wrong.
    pub(super) param: Option<&'static str>,
    code: Option<&'static str>,
    /// Boxed: few faults have any.
    headers: Box<HeaderMap>,
}

impl Fault {
    fn new(status: StatusCode, message: impl Into<String>) -> Fault {
        Fault { status, message: message.into(), param: None, code: None, headers: Box::default() }
    }

    /// 400: a field of the request is wrong.
    pub(super) fn field(param: &'static str, message: impl Into<String>) -> Fault {
        Fault { param: Some(param), ..Fault::new(StatusCode::BAD_REQUEST, message) }
    }

    /// 400: the request is wrong.
    pub(super) fn request(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::BAD_REQUEST, message)
    }

    /// 413: the request is larger than this many bytes.
    pub(super) fn too_large(most: usize) -> Fault {
        let message = format!("The request is too large (limit {most} bytes). Send the text in parts.");
        Fault { code: Some("request_too_large"), ..Fault::new(StatusCode::PAYLOAD_TOO_LARGE, message) }
    }

    /// 415: the body is compressed.
    pub(super) fn encoded() -> Fault {
        let message =
            "The body of the request is compressed, which this server cannot read. Send it as it is.";
        Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
    }

    /// 408: the body did not arrive in time.
    pub(super) fn too_late() -> Fault {
        Fault::new(StatusCode::REQUEST_TIMEOUT, "The request took too long to arrive. Send it again.")
    }

    /// 503, with `Retry-After`.
    pub(super) fn unavailable(code: &'static str, message: impl Into<String>) -> Fault {
        Fault {
            code: Some(code),
            ..Fault::new(StatusCode::SERVICE_UNAVAILABLE, message).retry(RETRY_AFTER_SECS)
        }
    }

    /// The server shuts down.
    pub(super) fn stopping() -> Fault {
        let message = format!("The server is restarting. Retry in {RETRY_AFTER_SECS} s.");
        Fault::unavailable("shutting_down", message)
    }

    /// The memory of the server is used up.
    pub(super) fn crowded() -> Fault {
        let message = format!(
            "The requests and sessions of the server hold too much together, and those of this client most. Retry in \
             {RETRY_AFTER_SECS} s."
        );
        Fault::unavailable("overloaded", message)
    }

    /// The client takes nothing.
    pub(super) fn stalled() -> Fault {
        Fault::unavailable("slow_client", "The client took nothing for too long. Read faster.")
    }

    /// 429: the client has reached a quota, which has room for more after `wait`, if that is known.
    pub(super) fn quota(quota: QuotaReached, wait: Option<Duration>) -> Fault {
        let secs = wait.map_or(RETRY_AFTER_SECS, whole_secs);
        let message = match quota {
            QuotaReached::Sessions => format!(
                "Too many sessions of this client. Wait for the end of another request, or retry in {secs} s."
            ),
            QuotaReached::Characters | QuotaReached::Audio => {
                format!("This client has used up its speech for this hour. Retry in {secs} s.")
            }
        };
        let fault = Fault::new(StatusCode::TOO_MANY_REQUESTS, message).retry(secs);
        Fault { code: Some("rate_limit_exceeded"), ..fault }
    }

    fn retry(mut self, secs: u64) -> Fault {
        self.headers.insert(RETRY_AFTER, secs.into());
        self
    }

    fn kind(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        }
    }

    fn object(&self) -> serde_json::Value {
        json!({ "message": self.message, "type": self.kind(), "param": self.param, "code": self.code })
    }

    /// An event of a stream that has begun.
    pub(super) fn event(&self) -> String {
        json!({ "type": "error", "error": self.object() }).to_string()
    }

    pub(super) fn response(self) -> Response<Full<Bytes>> {
        self.written().map(Full::from)
    }

    pub(super) fn written(self) -> Response<String> {
        let mut response = Response::new(json!({ "error": self.object() }).to_string());
        *response.status_mut() = self.status;
        *response.headers_mut() = *self.headers;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl From<Rejection> for Fault {
    fn from(rejection: Rejection) -> Fault {
        Fault::from(&rejection)
    }
}

impl From<&Rejection> for Fault {
    fn from(rejection: &Rejection) -> Fault {
        let (head, sentence) = rejection.response().into_parts();
        let code = match head.status.as_u16() {
            401 => Some("invalid_api_key"),
            403 => Some("forbidden"),
            404 => Some("not_found"),
            429 => Some("rate_limit_exceeded"),
            503 => Some("overloaded"),
            _ => None,
        };
        Fault { code, headers: Box::new(head.headers), ..Fault::new(head.status, sentence.trim_end()) }
    }
}

impl From<&SynthesisError> for Fault {
    fn from(error: &SynthesisError) -> Fault {
        let code = failure_code(error.kind).name();
        let status = match error.kind {
            SynthesisErrorKind::Overloaded => return Fault::unavailable(code, &error.message),
            SynthesisErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            SynthesisErrorKind::Failed => StatusCode::BAD_GATEWAY,
            // Clients retry after the other two by themselves. The same text would be without audio again.
            SynthesisErrorKind::NoAudio => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Fault { code: Some(code), ..Fault::new(status, &error.message) }
    }
}
