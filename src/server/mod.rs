//! The server: listens, accepts, and lets what runs finish when it is told to stop.

mod connection;
mod http;
mod registry;
mod service;
mod transport;
mod web;

pub use service::{ConfigError, PATH, SUBPROTOCOL, Service};

use crate::config::Listen;
use http::Accepted;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::time::{sleep, timeout};
use transport::Transport;

/// Connections that the kernel holds while the server is busy.
const BACKLOG: u32 = 4096;

/// The pause after accepting failed, as when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
}

enum Listener {
    Tcp(TcpListener),
    /// The path is removed when the server is.
    Unix(UnixListener, UnixPath),
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
        let listener = match listen {
            Listen::Tcp(address) => bind_tcp(address).await.map(Listener::Tcp),
            Listen::Unix(path) => bind_unix(path).map(|l| Listener::Unix(l, UnixPath(path.clone()))),
        };
        match listener {
            Ok(listener) => Ok(Server { listener, service }),
            Err(error) => Err(BindError { listen: listen.clone(), error }),
        }
    }

    /// The address that was bound; `None` for a path.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.listener {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(..) => None,
        }
    }

    /// The address for a person: `http://127.0.0.1:8080` or `unix:/run/aloud.sock`.
    pub fn address(&self) -> String {
        match (&self.listener, self.local_addr()) {
            (Listener::Unix(_, path), _) => format!("unix:{}", path.0.display()),
            (_, Some(address)) => format!("http://{address}"),
            (_, None) => "an unknown address".to_owned(),
        }
    }

    /// Serves until `stop` is ready, then lets running streams finish within `drain_timeout`.
    ///
    /// # Cancel safety
    /// Dropping the future ends accepting; connections go on until their tasks are dropped.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let Server { listener, service } = self;
        let mut stop = pin!(stop);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stop => break,
                accepted = accept(&listener, &service) => accepted,
            };
            if let Err(error) = accepted {
                // Out of descriptors or memory: the connections there are go on, and some of them
                // will end.
                log::warn!("cannot accept a connection: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        drop(listener);
        let config = service.config();
        // Beyond its own time, a connection has only its closing handshake left.
        let most = config.drain_timeout + config.close_timeout * 2;
        let _ = timeout(most, service.stop()).await;
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

async fn accept(listener: &Listener, service: &Service) -> io::Result<()> {
    match listener {
        Listener::Tcp(listener) => {
            let (socket, _) = listener.accept().await?;
            // A frame of audio must not wait for the acknowledgement of the one before it.
            let _ = socket.set_nodelay(true);
            tokio::spawn(serve(socket, service.clone()));
        }
        Listener::Unix(listener, _) => {
            let (socket, _) = listener.accept().await?;
            tokio::spawn(serve(socket, service.clone()));
        }
    }
    Ok(())
}

/// One connection, from accepting it to its end.
async fn serve<S>(socket: S, service: Service)
where
    S: Transport + AsyncRead + AsyncWrite,
{
    if let Some(Accepted { socket, early, subprotocol }) = http::shake_hands(socket, &service).await {
        service.start(socket, early, subprotocol);
    }
}
