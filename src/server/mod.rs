//! The server: listens, accepts connections, and drains them on shutdown.
//!
//! `listen` → `opening` → `http1`, `http2` or at once → `routes` → `upgrade` → `connection`: the way of a
//! connection from the socket to its session.

mod admin;
mod answers;
mod application;
mod body;
mod connection;
mod date;
mod echo;
mod gifts;
mod health;
mod http1;
#[cfg(feature = "http2")]
mod http2;
mod keeping;
mod link;
mod listen;
mod metrics;
mod muted;
mod opening;
mod pace;
mod replicas;
mod report;
mod routes;
mod service;
mod speaking;
mod speech;
mod suspended;
mod transport;
mod turn;
mod upgrade;
mod web;
mod work;

pub use admin::Admin;
pub use body::{Body, BrokenOff};
pub use listen::BindError;
pub use service::{Responding, Service};
#[cfg(test)]
pub(crate) use transport::UNSENT_BYTES;

use crate::access::Waiting;
use crate::settings::Listen;
use http1::Accepted;
use listen::Listener;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};
use transport::Socket;

/// Pause after a failed accept, as when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Sockets without a session that are closed when the process is out of file descriptors.
const DISMISSED_AT_ONCE: usize = 16;

/// Shortest time between two log lines about a failed accept.
const ACCEPT_SILENCE: Duration = Duration::from_secs(10);

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
    /// Another process has bound the address, and keeps it after the end of this server.
    is_inherited: bool,
    /// Runtimes that serve connections; if there are none, the one that accepts them.
    runtimes: Vec<Handle>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    /// Binds the address. From now on clients can connect; they are served once
    /// [`serve`](Server::serve) runs.
    ///
    /// # Errors
    /// The address cannot be resolved, is in use, or may not be bound.
    pub async fn bind(listen: &Listen, service: Service) -> Result<Server, BindError> {
        Ok(Server::on(Listener::bind(listen).await?, service, false))
    }

    /// Listens on a socket that another process has bound, such as one from systemd. When the server
    /// shuts down it stops accepting: later clients wait on the socket for the next server.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub fn from_tcp(listener: std::net::TcpListener, service: Service) -> io::Result<Server> {
        Ok(Server::on(Listener::from_tcp(listener)?, service, true))
    }

    /// As [`from_tcp`](Server::from_tcp), for a Unix socket. Its path is not removed.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub fn from_unix(listener: std::os::unix::net::UnixListener, service: Service) -> io::Result<Server> {
        Ok(Server::on(Listener::from_unix(listener)?, service, true))
    }

    fn on(listener: Listener, service: Service, is_inherited: bool) -> Server {
        let service = service.behind(listener.is_local());
        Server { listener, service, is_inherited, runtimes: Vec::new() }
    }

    /// Serves each connection on one of these runtimes: the one with the fewest tasks when the
    /// connection is accepted. Default: the runtime that [`serve`](Server::serve) runs on.
    ///
    /// With one runtime for each thread (`new_current_thread`), a connection never changes its thread.
    /// All runtimes must run, with time and I/O enabled, as long as the server does: a client may
    /// resume its session on another runtime than the one on which its speech is synthesised.
    #[must_use]
    pub fn on_runtimes(mut self, runtimes: Vec<Handle>) -> Server {
        self.runtimes = runtimes;
        self
    }

    /// The bound address; `None` for a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr()
    }

    /// The bound address as text: `http://127.0.0.1:8080` or `unix:/run/aloud.sock`.
    pub fn address(&self) -> String {
        self.listener.address()
    }

    /// Serves until `stop` is ready. Then running streams may finish within `drain_timeout`, and new
    /// handshakes are answered with 503 and `Retry-After`.
    ///
    /// # Cancel safety
    /// Dropping the future stops accepting; connections continue until their tasks are dropped.
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
        // After `drain_timeout` only closing handshakes are left.
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

/// Accepts connections as long as it is polled, each for the runtime with the fewest tasks.
async fn accept_all(listener: &Listener, runtimes: &[Handle], service: &Service) {
    let mut logged: Option<Instant> = None;
    loop {
        let accepted = poll_fn(|cx| {
            let runtime = runtimes.iter().min_by_key(|runtime| runtime.metrics().num_alive_tasks());
            // The runtime in which a socket is accepted wakes its task.
            let _inside = runtime.map(Handle::enter);
            listener.poll_accept(cx).map_ok(|(socket, peer)| {
                let peer = peer.map(|peer| peer.ip());
                let waiting = service.doorkeeper().enter(peer);
                let has_displaced = waiting.has_displaced();
                drop(tokio::spawn(serve(socket, peer, waiting, service.clone())));
                has_displaced
            })
        });
        match accepted.await {
            // The task of the other socket closes it before the next one is accepted.
            Ok(true) => yield_now().await,
            Ok(false) => {}
            Err(error) => {
                // Out of descriptors or memory: open sessions continue, and the sockets that have waited longest
                // give their descriptors.
                service.doorkeeper().dismiss(DISMISSED_AT_ONCE);
                if logged.is_none_or(|logged| logged.elapsed() >= ACCEPT_SILENCE) {
                    tracing::warn!("cannot accept a connection: {error}");
                    logged = Some(Instant::now());
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection until its handshake is over.
async fn serve(socket: Socket, peer: Option<IpAddr>, mut waiting: Waiting, service: Service) {
    let accepted = http1::shake_hands(socket, peer, &mut waiting, &service).await;
    // A session counts among the connections.
    waiting.set(false);
    if let Some(Accepted { socket, answer, early, admitted }) = accepted {
        admitted.run(Arc::clone(&service.shared), socket, answer, early);
    }
}
