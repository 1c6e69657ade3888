//! A second listener for the operator: health, readiness and metrics. It never uses the port of the
//! sessions.

use super::listen::{BindError, Listener};
use super::metrics;
use super::muted::{self, Muted, Words};
use super::routes::refused;
use super::service::Service;
use super::transport::{Socket, Transport};
use crate::settings::Listen;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, pending, poll_fn, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Time from accepting a connection to the end of its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most connections at once; a further connection waits.
const CONNECTIONS: usize = 16;

/// Largest request head, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Interval at which an engine that fails is probed.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);

const TEXT: &str = "text/plain; charset=utf-8";

/// The text format of Prometheus.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers `GET` and `HEAD` on a listener of its own, one request a connection:
///
/// - `/healthz`: 200 as long as the process answers;
/// - `/readyz`: 200 while new sessions are welcome, and 503 with the reasons while they are not;
/// - `/metrics`: the metrics of the service, in the text format of Prometheus (0.0.4).
///
/// It asks for no credential: bind it to an address that only the operator can reach. On a loopback address
/// and on a Unix socket it checks the host of a request as a [`Server`](crate::Server) does. While the engine
/// fails, it is asked for a word every 10 s, so that `/readyz` recovers with it.
///
/// ```
/// use aloud::tts::Flite;
/// use aloud::{Admin, Config, Service};
/// use std::sync::Arc;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let service = Service::new(Config::default(), Arc::new(Flite::new()))?;
/// let admin = Admin::bind(&"127.0.0.1:0".parse()?, service).await?;
/// println!("metrics at {}/metrics", admin.address());
/// tokio::spawn(admin.serve());
/// # Ok(())
/// # }
/// ```
pub struct Admin {
    listener: Listener,
    desk: Desk,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Admin {
    /// Binds the address.
    ///
    /// # Errors
    /// The address cannot be resolved, is in use, or may not be bound.
    pub async fn bind(listen: &Listen, service: Service) -> Result<Admin, BindError> {
        Ok(Admin::on(Listener::bind(listen).await?, service))
    }

    /// Listens on a socket that another process has bound.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub fn from_tcp(listener: std::net::TcpListener, service: Service) -> std::io::Result<Admin> {
        Ok(Admin::on(Listener::from_tcp(listener)?, service))
    }

    /// As [`from_tcp`](Admin::from_tcp), for a Unix socket.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub fn from_unix(listener: std::os::unix::net::UnixListener, service: Service) -> std::io::Result<Admin> {
        Ok(Admin::on(Listener::from_unix(listener)?, service))
    }

    fn on(listener: Listener, service: Service) -> Admin {
        let service = service.behind(listener.is_local());
        Admin { listener, desk: Desk { service, counters: Arc::default() } }
    }

    /// Adds a counter of your own to `/metrics`. Name it by Prometheus' conventions.
    #[must_use]
    pub fn with_counter(mut self, name: &'static str, help: &'static str, value: Arc<AtomicU64>) -> Admin {
        let mut counters = self.desk.counters.to_vec();
        counters.push(Counter { name, help, value });
        self.desk.counters = counters.into();
        self
    }

    /// The bound address as text: `http://127.0.0.1:9090` or `unix:/run/aloud.admin`.
    pub fn address(&self) -> String {
        self.listener.address()
    }

    /// Answers as long as it is polled.
    ///
    /// # Cancel safety
    /// Dropping the future stops accepting; answers that were begun are finished.
    pub async fn serve(self) {
        let Admin { listener, desk } = self;
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut next_probe = Instant::now() + PROBE_INTERVAL;
        let mut probe: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(pending());
        loop {
            let accepted = async {
                // The semaphore is never closed.
                let place = Arc::clone(&places).acquire_owned().await;
                (listener.accept().await, place)
            };
            tokio::select! {
                (accepted, place) = accepted => match accepted {
                    Ok((socket, _)) => drop(tokio::spawn(answer(socket, desk.clone(), place))),
                    Err(error) => {
                        tracing::warn!("cannot accept a connection to --admin: {error}");
                        sleep(super::ACCEPT_PAUSE).await;
                    }
                },
                () = sleep_until(next_probe) => {
                    next_probe = Instant::now() + PROBE_INTERVAL;
                    if desk.service.engine_fails() {
                        let service = desk.service.clone();
                        probe = Box::pin(async move { service.probe().await });
                    }
                }
                () = &mut probe => probe = Box::pin(pending()),
            }
        }
    }
}

/// Sources of the answers.
#[derive(Clone)]
struct Desk {
    service: Service,
    counters: Arc<[Counter]>,
}

#[derive(Clone)]
struct Counter {
    name: &'static str,
    help: &'static str,
    value: Arc<AtomicU64>,
}

/// Serves one connection, which holds its place to its end.
async fn answer<P>(socket: Socket, desk: Desk, _place: P) {
    let words = Arc::new(Words::default());
    let ours = Arc::clone(&words);
    let answer = service_fn(move |request: Request<Incoming>| {
        ours.answer();
        ready(Ok::<_, Infallible>(desk.answer(&request)))
    });
    let mut connection = http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Muted::new(socket, Arc::clone(&words))), answer);
    // A client that is late, or does not read, is dropped.
    let served = timeout(PATIENCE, poll_fn(|cx| connection.poll_without_shutdown(cx))).await;
    let mut socket = connection.into_parts().io.into_inner().socket;
    let refusal = served.ok().and_then(Result::err).and_then(|error| words.refusal(&error));
    match refusal {
        Some(refusal) => super::http1::close(&mut socket, &muted::written(refusal.response())).await,
        // Fails if the client has gone.
        None => _ = timeout(PATIENCE, poll_fn(|cx| socket.poll_shutdown(cx))).await,
    }
}

impl Desk {
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        // The listener is known, and so the peer does not matter.
        if let Err(rejection) = self.service.check_host(request, None) {
            return refused(&rejection);
        }
        let (method, path) = (request.method(), request.uri().path());
        if !matches!(path, "/healthz" | "/readyz" | "/metrics") {
            return response(
                StatusCode::NOT_FOUND,
                TEXT,
                "Here are /healthz, /readyz and /metrics.\n".to_owned(),
            );
        }
        if method != Method::GET && method != Method::HEAD {
            let sentence = "The method is not allowed here; use GET, HEAD.\n";
            let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, sentence.to_owned());
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match path {
            "/readyz" => match self.service.readiness() {
                Ok(()) => response(StatusCode::OK, TEXT, "ready\n".to_owned()),
                Err(reasons) => {
                    response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {reasons}\n"))
                }
            },
            "/metrics" => response(StatusCode::OK, METRICS, self.metrics()),
            _ => response(StatusCode::OK, TEXT, "ok\n".to_owned()),
        }
    }

    fn metrics(&self) -> String {
        let mut page = self.service.metrics();
        for Counter { name, help, value } in self.counters.iter() {
            page.push_str(&metrics::counter(name, help, value.load(Ordering::Relaxed)));
        }
        page
    }
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
