//! The listener: a TCP or a Unix socket, bound here or by another process.

use super::transport::{self, Socket};
use crate::settings::Listen;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::task::{Context, Poll};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

/// Connections that the kernel holds while the server is busy.
const BACKLOG: u32 = 4096;

/// The reason for which a server could not start.
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

/// A socket that accepts connections.
pub(super) enum Listener {
    Tcp(TcpListener),
    /// The path, if it was made here; dropping it removes it.
    Unix(UnixListener, Option<UnixPath>),
}

/// The path of a Unix socket. Dropping it removes the path.
pub(super) struct UnixPath(std::path::PathBuf);

impl Drop for UnixPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    pub(super) async fn bind(listen: &Listen) -> Result<Listener, BindError> {
        let listener = match listen {
            Listen::Tcp(address) => bind_tcp(address).await.map(Listener::Tcp),
            Listen::Unix(path) => bind_unix(path).map(|l| Listener::Unix(l, Some(UnixPath(path.clone())))),
        };
        listener.map_err(|error| BindError { listen: listen.clone(), error })
    }

    pub(super) fn from_tcp(listener: std::net::TcpListener) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        // On Linux each accepted connection inherits the options, for less than one system call each.
        transport::tune(&listener);
        TcpListener::from_std(listener).map(Listener::Tcp)
    }

    pub(super) fn from_unix(listener: std::os::unix::net::UnixListener) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        Ok(Listener::Unix(UnixListener::from_std(listener)?, None))
    }

    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(..) => None,
        }
    }

    /// True if only this machine can reach the socket.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Listener::Unix(..) => true,
            Listener::Tcp(listener) => {
                listener.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback())
            }
        }
    }

    pub(super) fn address(&self) -> String {
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

    pub(super) async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// An accepted connection, and its peer's address unless it is a Unix socket.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, Option<SocketAddr>)>> {
        match self {
            Listener::Tcp(listener) => listener.poll_accept(cx).map_ok(|(socket, client)| {
                #[cfg(not(target_os = "linux"))]
                transport::tune(&socket);
                (Socket::Tcp(socket), Some(client))
            }),
            Listener::Unix(listener, _) => {
                listener.poll_accept(cx).map_ok(|(socket, _)| (Socket::Unix(socket), None))
            }
        }
    }
}

async fn bind_tcp(address: &str) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host(address).await? {
        let bound = (|| {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            // After a restart the address can be bound at once, despite connections in TIME_WAIT.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            transport::tune(&socket);
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
        // A server that was killed leaves its path behind: take it over if no server answers there.
        // Anything but a socket is not removed, even though it refuses connections, too.
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
