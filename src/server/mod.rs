//! The server: listens, accepts, and lets what runs finish when it is told to stop.

mod admin;
mod application;
mod connection;
mod echo;
mod http;
#[cfg(feature = "http2")]
mod http2;
mod link;
mod metrics;
mod pace;
mod report;
mod service;
mod speaking;
mod suspended;
mod transport;
mod web;

pub use admin::Admin;
pub use service::{PATH, SUBPROTOCOL, Service};

use crate::settings::Listen;
use http::{Accepted, Rewound};
use hyper::body::Bytes;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};
use transport::Transport;

/// Connections that the kernel holds while the server is busy.
const BACKLOG: u32 = 4096;

/// The pause after accepting failed, as when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often it is told that accepting fails, at most.
const ACCEPT_SILENCE: Duration = Duration::from_secs(10);

/// Why a server could not start.
#[derive(Debug)]
pub struct BindError {
    listen: Listen,
    error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.listen, self.error)
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// A server that is bound to its address, and speaks once it is [served](Server::serve).
///
/// ```
/// use aloud::tts::Flite;
/// use aloud::{Config, Server, Service};
/// use std::sync::Arc;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let service = Service::new(Config::default(), Arc::new(Flite::new()))?;
/// let server = Server::bind(&"127.0.0.1:0".parse()?, service).await?;
/// println!("listening on {}", server.address());
/// server.serve(async { tokio::signal::ctrl_c().await.unwrap_or_default() }).await;
/// # Ok(())
/// # }
/// ```
pub struct Server {
    listener: Listener,
    service: Service,
    /// Somebody else has bound the address, and keeps it when this server is gone.
    is_inherited: bool,
    /// Where connections are served; none for the runtime that serves.
    runtimes: Vec<Handle>,
}

enum Listener {
    Tcp(TcpListener),
    /// The path is removed when the server is, if it is ours.
    Unix(UnixListener, Option<UnixPath>),
}

/// A connection that was accepted.
enum Socket {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

struct UnixPath(std::path::PathBuf);

impl Drop for UnixPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Server {
    /// Binds the address. From here on clients can connect, though none is served yet.
    ///
    /// # Errors
    /// The address cannot be resolved, is in use, or is not ours.
    pub async fn bind(listen: &Listen, service: Service) -> Result<Server, BindError> {
        Ok(Server::on(Listener::bind(listen).await?, service, false))
    }

    /// On a socket that somebody else has bound, and that listens already, such as one that systemd
    /// hands over. Once told to stop, the server accepts nothing more on it: who connects then waits
    /// there for the next server.
    ///
    /// # Errors
    /// It is no socket that can be used so.
    pub fn from_tcp(listener: std::net::TcpListener, service: Service) -> io::Result<Server> {
        Ok(Server::on(Listener::from_tcp(listener)?, service, true))
    }

    /// As [`from_tcp`](Server::from_tcp), for a socket in the file system. Its path is left there.
    ///
    /// # Errors
    /// It is no socket that can be used so.
    pub fn from_unix(listener: std::os::unix::net::UnixListener, service: Service) -> io::Result<Server> {
        Ok(Server::on(Listener::from_unix(listener)?, service, true))
    }

    fn on(listener: Listener, service: Service, is_inherited: bool) -> Server {
        Server { listener, service, is_inherited, runtimes: Vec::new() }
    }

    /// Serves each connection in one of these runtimes, the one with the fewest tasks when it comes,
    /// and in no other to its end. Default: the runtime that [`serve`](Server::serve) runs in.
    ///
    /// With one runtime for each thread (`new_current_thread`), a connection never leaves its
    /// thread. All of them must run, with time and I/O enabled, for as long as the server does:
    /// a session may come back to another one than that which its speech is made in.
    #[must_use]
    pub fn on_runtimes(mut self, runtimes: Vec<Handle>) -> Server {
        self.runtimes = runtimes;
        self
    }

    /// The address that was bound; `None` for a path.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr()
    }

    /// The address for a person: `http://127.0.0.1:8080` or `unix:/run/aloud.sock`.
    pub fn address(&self) -> String {
        self.listener.address()
    }

    /// Serves until `stop` is ready, then lets running streams finish within `drain_timeout`.
    /// Handshakes that come meanwhile are answered with 503 and `Retry-After`.
    ///
    /// # Cancel safety
    /// Dropping the future ends accepting; connections go on until their tasks are dropped.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let Server { listener, service, is_inherited, mut runtimes } = self;
        if runtimes.is_empty() {
            runtimes.push(Handle::current());
        }
        tokio::select! {
            biased;
            () = stop => {}
            () = accept_all(&listener, &runtimes, &service) => {}
        }
        let config = service.config();
        // Beyond its own time, a connection has only its closing handshake left.
        let most = config.drain_timeout + config.close_timeout * 2;
        let stopped = timeout(most, service.stop());
        if is_inherited {
            drop(listener);
            let _ = stopped.await;
            return;
        }
        tokio::select! {
            biased;
            _ = stopped => {}
            () = accept_all(&listener, &runtimes, &service) => {}
        }
    }
}

/// Accepts for as long as it is polled, each connection for the runtime that has the least to do.
async fn accept_all(listener: &Listener, runtimes: &[Handle], service: &Service) {
    let mut told: Option<Instant> = None;
    loop {
        let accepted = poll_fn(|cx| {
            let runtime = runtimes.iter().min_by_key(|runtime| runtime.metrics().num_alive_tasks());
            // A socket is woken by the runtime that it is accepted in.
            let _inside = runtime.map(Handle::enter);
            listener.poll_accept(cx).map_ok(|socket| match socket {
                Socket::Tcp(socket, peer) => tokio::spawn(serve(socket, Some(peer.ip()), service.clone())),
                Socket::Unix(socket) => tokio::spawn(serve(socket, None, service.clone())),
            })
        });
        match accepted.await {
            Ok(_) => {}
            Err(error) => {
                // Out of descriptors or memory: the connections there are go on, and some of them
                // will end.
                if told.is_none_or(|told| told.elapsed() >= ACCEPT_SILENCE) {
                    tracing::warn!("cannot accept a connection: {error}");
                    told = Some(Instant::now());
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Listener {
    async fn bind(listen: &Listen) -> Result<Listener, BindError> {
        let listener = match listen {
            Listen::Tcp(address) => bind_tcp(address).await.map(Listener::Tcp),
            Listen::Unix(path) => bind_unix(path).map(|l| Listener::Unix(l, Some(UnixPath(path.clone())))),
        };
        listener.map_err(|error| BindError { listen: listen.clone(), error })
    }

    fn from_tcp(listener: std::net::TcpListener) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener).map(Listener::Tcp)
    }

    fn from_unix(listener: std::os::unix::net::UnixListener) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        Ok(Listener::Unix(UnixListener::from_std(listener)?, None))
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(..) => None,
        }
    }

    fn address(&self) -> String {
        match self {
            Listener::Unix(_, Some(path)) => format!("unix:{}", path.0.display()),
            Listener::Unix(listener, None) => {
                let address = listener.local_addr().ok();
                match address.as_ref().and_then(|address| address.as_pathname()) {
                    Some(path) => format!("unix:{}", path.display()),
                    None => "a socket without a path".to_owned(),
                }
            }
            Listener::Tcp(listener) => match listener.local_addr() {
                Ok(address) => format!("http://{address}"),
                Err(_) => "an unknown address".to_owned(),
            },
        }
    }

    async fn accept(&self) -> io::Result<Socket> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Socket>> {
        match self {
            Listener::Tcp(listener) => listener.poll_accept(cx).map_ok(|(socket, client)| {
                // A frame of audio must not wait for the acknowledgement of the one before it.
                let _ = socket.set_nodelay(true);
                Socket::Tcp(socket, client)
            }),
            Listener::Unix(listener, _) => {
                listener.poll_accept(cx).map_ok(|(socket, _)| Socket::Unix(socket))
            }
        }
    }
}

async fn bind_tcp(address: &str) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host(address).await? {
        let bound = (|| {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            // A restart binds at once, whatever the server before it left in TIME_WAIT.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        })();
        match bound {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_unix(path: &std::path::Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        // A server that was killed leaves its path behind: take it over if nobody answers there.
        // Anything but a socket is not ours to remove, though it refuses connections just the same.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_socket(path) => {
            match std::os::unix::net::UnixStream::connect(path) {
                Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path)?;
                    UnixListener::bind(path)
                }
                _ => Err(error),
            }
        }
        bound => bound,
    }
}

fn is_socket(path: &std::path::Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// One connection, from accepting it to its end.
async fn serve<S>(socket: S, peer: Option<IpAddr>, service: Service)
where
    S: Transport,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let since = Instant::now();
    let socket = Rewound { first: Bytes::new(), socket };
    #[cfg(feature = "http2")]
    let socket = {
        let deadline = since + service.config().handshake_timeout;
        match http2::is_spoken(socket.socket, deadline, &service).await {
            Some((true, socket)) => return http2::serve(socket, peer, deadline, service).await,
            Some((false, socket)) => socket,
            None => return,
        }
    };
    if let Some(Accepted { socket, early, admitted }) = http::shake_hands(socket, peer, since, &service).await
    {
        service.start(socket, early, admitted);
    }
}
