//! An HTTP service that the test plays byte by byte: the test gets each request together with its
//! connection.

use super::within;
use aloud::{Counted, Gauge};
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A service on its own port. Stops listening when dropped.
pub struct Upstreamed {
    /// Address of the listener.
    pub addr: SocketAddr,
    /// Number of requests whose [`Exchange`] is alive.
    pub open: Gauge,
    asked: mpsc::UnboundedReceiver<Exchange>,
    task: JoinHandle<()>,
}

/// Starts a service.
pub async fn upstreamed() -> Upstreamed {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, asked) = mpsc::unbounded_channel();
    let open = Gauge::default();
    let counted = open.clone();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (sender, open) = (sender.clone(), counted.clone());
            tokio::spawn(async move {
                if let Some(exchange) = Exchange::read(stream, open).await {
                    // Fails once the test is over.
                    let _ = sender.send(exchange);
                }
            });
        }
    });
    Upstreamed { addr, open, asked, task }
}

impl Upstreamed {
    /// The base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The next request on a new connection.
    pub async fn asked(&mut self) -> Exchange {
        within(self.asked.recv()).await.unwrap()
    }

    /// The same without a time limit.
    pub async fn asked_at_last(&mut self) -> Exchange {
        self.asked.recv().await.unwrap()
    }

    /// True if a request waits to be taken.
    pub fn is_asked(&mut self) -> bool {
        !self.asked.is_empty()
    }
}

impl Drop for Upstreamed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A request, and the connection to answer it on. Dropping it ends the connection with a FIN.
pub struct Exchange {
    /// Request line and headers.
    pub head: String,
    /// The document that was posted.
    pub json: Value,
    stream: TcpStream,
    _open: Counted,
    open: Gauge,
}

impl Exchange {
    async fn read(mut stream: TcpStream, open: Gauge) -> Option<Exchange> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let counted = open.enter();
        let head = String::from_utf8(bytes.drain(..end).collect()).unwrap();
        let length = header(&head, "content-length").expect("a body of known length").parse().unwrap();
        while bytes.len() < length {
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
        assert_eq!(bytes.len(), length, "no bytes follow the body");
        Some(Exchange { head, json: serde_json::from_slice(&bytes).unwrap(), stream, _open: counted, open })
    }

    /// The value of a header of the request.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// The request line without the version.
    pub fn target(&self) -> &str {
        self.head.lines().next().unwrap().trim_end_matches(" HTTP/1.1")
    }

    /// Sends these bytes. Ignores a peer that has left; tests check that in another way.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = within(self.stream.write_all(bytes)).await;
    }

    /// Sends these bytes repeatedly until the socket is full. Returns the number of bytes.
    pub fn fill(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while let Ok(count) = self.stream.try_write(bytes) {
            sent += count;
        }
        sent
    }

    /// Sends these bytes. True if the peer takes them within a moment.
    pub async fn offers(&mut self, bytes: &[u8]) -> bool {
        tokio::time::timeout(std::time::Duration::from_millis(300), self.stream.write_all(bytes))
            .await
            .is_ok()
    }

    /// Sends a whole answer. Headers come with their line ends.
    pub async fn answer(&mut self, status: &str, headers: &str, body: &[u8]) {
        self.head(status, &format!("Content-Length: {}\r\n{headers}", body.len())).await;
        self.write(body).await;
    }

    /// Sends a head. Headers come with their line ends.
    pub async fn head(&mut self, status: &str, headers: &str) {
        self.write(format!("HTTP/1.1 {status}\r\n{headers}\r\n").as_bytes()).await;
    }

    /// Begins an answer in chunks.
    pub async fn begin(&mut self, content_type: &str) {
        let headers = format!("Content-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n");
        self.head("200 OK", &headers).await;
    }

    /// Sends a chunk.
    pub async fn chunk(&mut self, bytes: &[u8]) {
        self.write(&[format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()).await;
    }

    /// Ends an answer in chunks.
    pub async fn end(&mut self) {
        self.write(b"0\r\n\r\n").await;
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Returns once the peer has closed or reset the connection.
    pub async fn gone(mut self) {
        let mut byte = [0];
        let read = within(self.stream.read(&mut byte)).await;
        assert!(!matches!(read, Ok(1)), "the peer closes without further bytes");
    }

    /// The next request on the same connection, if there is one.
    pub async fn next(self) -> Option<Exchange> {
        within(Exchange::read(self.stream, self.open)).await
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
    values.next()
}
