//! systemd's side of a service: sockets that it has bound (sd_listen_fds(3)), and messages about the
//! state of the program (sd_notify(3)). Other programs with the same interface work as well.

use super::admission::Door;
use listenfd::ListenFd;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

/// Name of the operator's socket (`FileDescriptorName=` in its unit).
const ADMIN: &str = "admin";

/// A listening socket.
pub(super) enum Inherited {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Inherited {
    /// The address that the socket is bound to.
    ///
    /// # Errors
    /// The system does not tell it.
    pub(super) fn door(&self) -> io::Result<Door<'static>> {
        Ok(match self {
            Inherited::Tcp(socket) => Door::Inherited(Some(socket.local_addr()?)),
            Inherited::Unix(_) => Door::Inherited(None),
        })
    }
}

/// Sockets from systemd.
#[derive(Default)]
pub(super) struct Sockets {
    pub(super) sessions: Vec<Inherited>,
    pub(super) admin: Option<Inherited>,
}

impl Sockets {
    /// Takes the sockets for this process; a second call finds none.
    ///
    /// # Errors
    /// A descriptor is no listening socket, or there are two sockets for the operator.
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

/// Sends the state of the program to systemd, if the unit has `Type=notify`.
///
/// # Errors
/// The message cannot be sent.
pub(super) fn notify(state: &str) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = address(path.as_encoded_bytes()).or_else(|_| SocketAddr::from_pathname(&path))?;
    let socket = UnixDatagram::unbound()?;
    // A receiver that does not read must not block the program.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address).map(|_| ())
}

/// Parses an abstract address, which begins with `@`.
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
