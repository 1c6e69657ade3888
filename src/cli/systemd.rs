//! What systemd hands over and wants to know: sockets that it has bound (sd_listen_fds(3)), and
//! whether the program is ready (sd_notify(3)). Any other program that speaks the same will do.

use listenfd::ListenFd;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

/// The name of the socket that is for the operator (`FileDescriptorName=` of its unit).
const ADMIN: &str = "admin";

/// A socket that listens already.
pub(super) enum Inherited {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The sockets that were handed over.
#[derive(Default)]
pub(super) struct Sockets {
    pub(super) sessions: Vec<Inherited>,
    pub(super) admin: Option<Inherited>,
}

impl Sockets {
    /// Takes them, once. None are there unless they are meant for this very process.
    ///
    /// # Errors
    /// What is there is no socket that listens, or there are two for the operator.
    pub(super) fn take() -> io::Result<Sockets> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut handed = ListenFd::from_env();
        let mut sockets = Sockets::default();
        for n in 0..handed.len() {
            let socket = match handed.take_unix_listener(n) {
                Ok(socket) => socket.map(Inherited::Unix),
                Err(_) => handed.take_tcp_listener(n)?.map(Inherited::Tcp),
            };
            let Some(socket) = socket else { continue };
            match names.next() {
                Some(ADMIN) if sockets.admin.is_some() => {
                    let message = format!("LISTEN_FDNAMES names two sockets {ADMIN}; hand over one");
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
                }
                Some(ADMIN) => sockets.admin = Some(socket),
                _ => sockets.sessions.push(socket),
            }
        }
        Ok(sockets)
    }
}

/// Tells systemd what state the program is in, if it wants to know (`Type=notify`).
///
/// # Errors
/// It wants to know, and cannot be told.
pub(super) fn notify(state: &str) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = address(path.as_encoded_bytes()).or_else(|_| SocketAddr::from_pathname(&path))?;
    let socket = UnixDatagram::unbound()?;
    // Who does not read does not keep anybody waiting.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address).map(|_| ())
}

/// An address without a path, which begins with an `@`.
#[cfg(target_os = "linux")]
fn address(path: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    match path.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => Err(io::ErrorKind::InvalidInput.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn address(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}
