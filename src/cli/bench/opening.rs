//! Opening a connection: TCP and the opening handshake (RFC 6455 §4), on the bare socket.
//!
//! It does not use hyper: the bench measures handshakes, so their cost on its own side counts too.

use super::figures::Trouble;
use aloud::ws::handshake;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode, Uri};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Time for connecting and the handshake together.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longest head of an answer, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;

const MAX_HEADERS: usize = 64;

/// Address and handshake of the server.
#[derive(Clone, Debug)]
pub(super) struct Target {
    address: SocketAddr,
    host: String,
    path: String,
    subprotocols: &'static [&'static str],
}

/// An open connection.
pub(super) struct Opened {
    pub(super) socket: TcpStream,
    /// Bytes that arrived right after the handshake.
    pub(super) early: Vec<u8>,
}

impl Target {
    /// Resolves the host of a `ws://` URL, once for all connections.
    ///
    /// # Errors
    /// One sentence names the URL.
    pub(super) async fn resolve(url: &str, subprotocols: &'static [&'static str]) -> Result<Target, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url} is not a URL: {error}"))?;
        let host = uri.host().ok_or_else(|| format!("{url} has no host"))?;
        let port = uri.port_u16().unwrap_or(80);
        let mut found = lookup_host((host.trim_matches(['[', ']']), port))
            .await
            .map_err(|error| format!("{url}: cannot resolve the host: {error}"))?;
        Ok(Target {
            address: found.next().ok_or_else(|| format!("{url}: the host has no address"))?,
            host: uri.authority().map_or(host, |authority| authority.as_str()).to_owned(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            subprotocols,
        })
    }

    /// Opens a connection within 10 s.
    ///
    /// # Errors
    /// The reason why it did not open.
    pub(super) async fn open(&self) -> Result<Opened, Trouble> {
        timeout(TIMEOUT, self.shake_hands()).await.unwrap_or(Err(Trouble::new("no handshake within 10 s")))
    }

    async fn shake_hands(&self) -> Result<Opened, Trouble> {
        let mut socket = TcpStream::connect(self.address).await?;
        socket.set_nodelay(true)?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(std::io::Error::other)?;
        let key = handshake::generate_key(random);
        socket.write_all(self.request(&key).as_bytes()).await?;
        let mut answer = Vec::with_capacity(1024);
        loop {
            if socket.read_buf(&mut answer).await? == 0 {
                return Err(Trouble::new("the server closed the connection without a handshake"));
            }
            if let Some((len, status, headers)) = head(&answer)? {
                handshake::verify(&key, status, &headers, self.subprotocols)
                    .map_err(|refused| Trouble::new(refused.to_string()))?;
                answer.drain(..len);
                return Ok(Opened { socket, early: answer });
            }
            if answer.len() > MAX_HEAD_BYTES {
                return Err(Trouble::new("the answer to the handshake has no end"));
            }
        }
    }

    fn request(&self, key: &str) -> String {
        let offer = match self.subprotocols {
            [] => String::new(),
            offered => format!("Sec-WebSocket-Protocol: {}\r\n", offered.join(", ")),
        };
        format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n",
            self.path, self.host
        )
    }
}

/// Reads the head of an answer and its length; `None` while it is incomplete.
fn head(bytes: &[u8]) -> Result<Option<(usize, StatusCode, HeaderMap)>, Trouble> {
    let broken = |_| Trouble::new("the answer to the handshake is not HTTP");
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut answer = httparse::Response::new(&mut lines);
    let httparse::Status::Complete(len) = answer.parse(bytes).map_err(broken)? else { return Ok(None) };
    let mut headers = HeaderMap::with_capacity(answer.headers.len());
    for line in answer.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes());
        let value = HeaderValue::from_bytes(line.value);
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let status = StatusCode::from_u16(answer.code.unwrap_or_default());
    Ok(Some((len, status.map_err(|_| Trouble::new("the answer to the handshake has no status"))?, headers)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_is_what_the_crate_itself_accepts() {
        let target = Target::resolve("ws://[::1]:81/a?b=c", &["aloud.v1"]).await.unwrap();
        assert_eq!(target.address, "[::1]:81".parse().unwrap());
        let key = handshake::generate_key(*b"the sample nonce");
        let request = target.request(&key);
        assert!(request.starts_with("GET /a?b=c HTTP/1.1\r\nHost: [::1]:81\r\n"), "{request}");
        // The head of an answer has the same lines.
        let lines = request.split_once("\r\n").unwrap().1;
        let (len, _, headers) = head(format!("HTTP/1.1 200 OK\r\n{lines}").as_bytes()).unwrap().unwrap();
        assert_eq!(len, "HTTP/1.1 200 OK\r\n".len() + lines.len());
        let accepted =
            handshake::accept(&hyper::Method::GET, hyper::Version::HTTP_11, &headers, &["aloud.v1"]).unwrap();
        let answer = accepted.response();
        let chosen = handshake::verify(&key, answer.status(), answer.headers(), target.subprotocols);
        assert_eq!(chosen.unwrap().as_deref(), Some("aloud.v1"));
    }

    #[test]
    fn a_head_is_awaited_to_its_end() {
        let whole = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\0";
        for len in 0..whole.len() - 2 {
            assert!(head(&whole[..len]).unwrap().is_none(), "{len}");
        }
        let (len, status, headers) = head(whole).unwrap().unwrap();
        assert_eq!((len, status.as_u16(), headers.len()), (whole.len() - 2, 101, 1));
        assert!(head(b"SSH-2.0-OpenSSH\r\n").is_err());
    }
}
