//! Hosts that a server answers for: names of this machine on a socket that only this machine can reach, and
//! the authority of a target before the `Host` (RFC 9112 §3.2).

use crate::support::{self, Head, PATIENCE, Raw, Running, V1, over_memory, raw, start_with};
use aloud::settings::Admission;
use aloud::tts::Tone;
use aloud::{Admin, Config, PATH, Server, Service};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::UnixStream;

/// Hosts that pages of others have.
const FOREIGN: [&str; 9] = [
    "evil.example",
    "evil.example:8080",
    "EVIL.example.",
    "localhost.evil.example:80",
    "127.0.0.1.evil.example",
    "notlocalhost",
    "0.0.0.0:8080",
    "127.1",
    "192.0.2.1",
];

const OWN: [&str; 8] = [
    "localhost",
    "LOCALHOST:1",
    "localhost.:80",
    "aloud.localhost:8080",
    "127.0.0.1",
    "127.3.2.1:65535",
    "[::1]",
    "[::1]:8080",
];

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn config(hosts: &[&str]) -> Config {
    Config::default().with(|c| {
        c.admission = Admission::default().with(|a| {
            a.hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
        });
    })
}

fn service(hosts: &[&str]) -> Service {
    Service::new(config(hosts), Arc::new(Tone::new(support::FORMAT, 0.1))).unwrap()
}

async fn server(hosts: &[&str]) -> Running {
    start_with(config(hosts), Arc::new(Tone::new(support::FORMAT, 0.1))).await
}

/// Each kind of request, with its status where the host is right.
fn requests() -> [(&'static str, String, String, u16); 9] {
    let page = format!("Origin: http://evil.example\r\n{UPGRADE}");
    [
        ("GET", PATH.to_owned(), UPGRADE.to_owned(), 101),
        ("GET", PATH.to_owned(), format!("{UPGRADE}{V1}"), 101),
        ("GET", PATH.to_owned(), page, 403),
        ("GET", "/".to_owned(), String::new(), 200),
        ("HEAD", "/".to_owned(), String::new(), 200),
        ("GET", "/aloud.js".to_owned(), String::new(), 200),
        ("GET", "/api/voices".to_owned(), String::new(), 200),
        ("POST", "/api/session/ticket".to_owned(), String::new(), 404),
        ("GET", "/nowhere".to_owned(), String::new(), 404),
    ]
}

/// The answer to a request on a connection of its own.
async fn ask<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    mut client: Raw<S>,
    head: &str,
) -> (Head, String) {
    client.send_bytes(format!("{head}\r\n").as_bytes()).await;
    if head.starts_with("HEAD") {
        return (client.read_head().await, String::new());
    }
    match client.read_head().await {
        head if head.status == 101 => (head, String::new()),
        head => {
            let length = head.header("content-length").unwrap().parse().unwrap();
            let body = String::from_utf8(client.read_exact(length).await).unwrap();
            (head, body)
        }
    }
}

async fn status(addr: SocketAddr, head: &str) -> u16 {
    ask(raw(addr).await, head).await.0.status
}

#[tokio::test]
async fn foreign_host_on_loopback_gets_421() {
    let server = server(&[]).await;
    for (method, path, more, good) in requests() {
        for host in FOREIGN {
            let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}");
            let (answer, body) = ask(raw(server.addr).await, &head).await;
            assert_eq!(answer.status, 421, "{head}");
            if method != "HEAD" {
                assert!(body.contains(host) && body.contains("--host") && body.ends_with(".\n"), "{body}");
                assert_eq!(answer.header("content-type").as_deref(), Some("text/plain; charset=utf-8"));
            }
        }
        for host in OWN {
            let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}");
            assert_eq!(status(server.addr, &head).await, good, "{head}");
        }
    }
    server.is_quiet().await;
    assert!(server.service.metrics().contains("aloud_handshakes_total{status=\"421\"}"));
}

/// A proxy's address is also the address of every browser on the machine.
#[tokio::test]
async fn trusted_proxy_does_not_open_loopback_for_other_hosts() {
    let config = config(&[]).with(|c| {
        c.admission.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap(), "unix".parse().unwrap()];
    });
    let server = start_with(config, Arc::new(Tone::new(support::FORMAT, 0.1))).await;
    let claims =
        "Origin: http://evil.example\r\nX-Forwarded-Host: localhost\r\nForwarded: host=localhost\r\n";
    let head = format!("GET {PATH} HTTP/1.1\r\nHost: evil.example\r\n{claims}{UPGRADE}");
    assert_eq!(status(server.addr, &head).await, 421);
}

#[tokio::test]
async fn listed_host_is_answered_with_any_port() {
    let one = server(&["speech.example.com", "[2001:db8::7]"]).await;
    let any = server(&["*"]).await;
    for (host, expected) in [
        ("speech.example.com", 101),
        ("Speech.Example.COM:8443", 101),
        ("[2001:DB8::7]:1", 101),
        ("localhost:1", 101),
        ("example.com", 421),
        ("www.speech.example.com", 421),
        ("evil.example", 421),
    ] {
        let head = format!("GET {PATH} HTTP/1.1\r\nHost: {host}\r\n{UPGRADE}");
        assert_eq!(status(one.addr, &head).await, expected, "{host}");
        assert_eq!(status(any.addr, &head).await, 101, "{host}");
        // The page of a listed host may connect, and no other.
        let own = format!("{head}Origin: https://{}\r\n", host.to_lowercase());
        assert_eq!(status(one.addr, &own).await, expected, "{host}");
        let other = format!("{head}Origin: https://evil.example:1\r\n");
        assert_eq!(status(any.addr, &other).await, 403, "{host}");
    }
}

#[tokio::test]
async fn unix_socket_and_admin_check_the_host_too() {
    let folder = std::env::temp_dir().join(format!("aloud-doors-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let unix = |name: &str| format!("unix:{}", folder.join(name).display()).parse().unwrap();
    let service = service(&["speech.example.com"]);
    let sessions = Server::bind(&unix("sessions"), service.clone()).await.unwrap();
    let admin = Admin::bind(&unix("admin"), service.clone()).await.unwrap();
    let tcp = Admin::bind(&"127.0.0.1:0".parse().unwrap(), service).await.unwrap();
    let tcp_addr = tcp.address().trim_start_matches("http://").parse().unwrap();
    let tasks = [
        tokio::spawn(sessions.serve(std::future::pending())),
        tokio::spawn(admin.serve()),
        tokio::spawn(tcp.serve()),
    ];
    let unix = async |name: &str| Raw::over(UnixStream::connect(folder.join(name)).await.unwrap(), PATIENCE);
    let mut hosts: Vec<(&str, bool)> = FOREIGN.iter().map(|host| (*host, false)).collect();
    hosts.extend(OWN.iter().map(|host| (*host, true)));
    hosts.push(("speech.example.com:443", true));
    for (host, is_good) in hosts {
        let wanted = |good| if is_good { good } else { 421 };
        let session = format!("GET {PATH} HTTP/1.1\r\nHost: {host}\r\n{UPGRADE}");
        assert_eq!(ask(unix("sessions").await, &session).await.0.status, wanted(101), "{host}");
        let page = format!("GET / HTTP/1.1\r\nHost: {host}\r\n");
        assert_eq!(ask(unix("sessions").await, &page).await.0.status, wanted(200), "{host}");
        for path in ["/healthz", "/metrics", "/nowhere"] {
            let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n");
            let good = if path == "/nowhere" { 404 } else { 200 };
            for (answer, body) in
                [ask(unix("admin").await, &head).await, ask(raw(tcp_addr).await, &head).await]
            {
                assert_eq!(answer.status, wanted(good), "{head}");
                assert!(is_good || body.contains(host), "{body}");
            }
        }
    }
    // Health checks of HTTP/1.0 name no host, and no browser sends them.
    assert_eq!(status(tcp_addr, "GET /healthz HTTP/1.0\r\n").await, 200);
    assert_eq!(status(tcp_addr, "GET /healthz HTTP/1.1\r\n").await, 400);
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Without an address the peer of an embedder counts as a Unix socket.
#[tokio::test]
async fn embedders_peers_without_an_address_are_checked() {
    drop(over_memory(&service(&[]), 1 << 16, "").await);
    let respond = async |service: &Service, host: &str, peer: Option<&str>| {
        let body = String::new();
        let mut request = hyper::Request::get("/api/voices").header("host", host).body(body).unwrap();
        if let Some(peer) = peer {
            let peer: SocketAddr = peer.parse().unwrap();
            request.extensions_mut().insert(peer);
        }
        service.respond(request).await.unwrap().status().as_u16()
    };
    let (strict, listed, open) = (service(&[]), service(&["speech.example.com"]), service(&["*"]));
    for (peer, expected) in [
        (None, [421, 200, 200]),
        (Some("127.0.0.1:5"), [421, 200, 200]),
        (Some("[::1]:5"), [421, 200, 200]),
        (Some("[::ffff:127.0.0.1]:5"), [421, 200, 200]),
        (Some("192.0.2.7:5"), [200, 200, 200]),
        (Some("[2001:db8::7]:5"), [200, 200, 200]),
    ] {
        for (service, expected) in [&strict, &listed, &open].into_iter().zip(expected) {
            assert_eq!(respond(service, "speech.example.com", peer).await, expected, "{peer:?}");
        }
        assert_eq!(respond(&strict, "localhost", peer).await, 200, "{peer:?}");
    }
}

#[tokio::test]
async fn authority_of_the_target_replaces_the_host() {
    let server = server(&["speech.example.com"]).await;
    for (target, host, origin, expected) in [
        ("http://localhost:8080", "localhost:8080", "", 101),
        ("http://localhost:8080", "evil.example", "", 101),
        ("HTTP://LOCALHOST", "evil.example", "", 101),
        ("http://evil.example", "localhost:8080", "", 421),
        ("http://evil.example:8080", "127.0.0.1", "", 421),
        ("ws://evil.example", "localhost", "", 421),
        ("http://evil.example", "evil.example", "", 421),
        ("http://me@localhost", "localhost", "", 400),
        ("http://localhost@evil.example", "localhost", "", 400),
        // The page has to be of the target's authority.
        ("http://localhost:8080", "evil.example", "http://localhost:8080", 101),
        ("http://localhost:8080", "evil.example", "http://evil.example", 403),
        ("http://speech.example.com", "localhost", "https://speech.example.com", 101),
        ("http://speech.example.com", "localhost", "http://localhost", 403),
        // The Host has to be one valid line, even where it does not count.
        ("http://localhost", "", "", 400),
        ("http://localhost", "a b", "", 400),
        ("http://localhost", "localhost\r\nHost: localhost", "", 400),
        ("", "localhost\r\nHost: localhost", "", 400),
        ("", "", "", 400),
        ("", "me@localhost", "", 400),
    ] {
        let origin = if origin.is_empty() { String::new() } else { format!("Origin: {origin}\r\n") };
        let head = format!("GET {target}{PATH} HTTP/1.1\r\nHost: {host}\r\n{origin}{UPGRADE}");
        assert_eq!(status(server.addr, &head).await, expected, "{head}");
        if expected != 403 {
            let good = if expected == 101 { 200 } else { expected };
            let head = format!("GET {target}/ HTTP/1.1\r\nHost: {host}\r\n");
            assert_eq!(status(server.addr, &head).await, good, "{head}");
        }
    }
    let bare = format!("GET http://localhost{PATH} HTTP/1.1\r\n{UPGRADE}");
    assert_eq!(status(server.addr, &bare).await, 400, "HTTP/1.1 requires a Host");
}
