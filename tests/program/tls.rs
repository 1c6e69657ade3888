//! Engines behind https, used by the built binary. Needs the feature `tls`.

use super::cli::Serving;
use crate::support::{self, within};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A temporary directory, removed at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Makes a key, and a certificate of 127.0.0.1 that it signs itself.
fn certify(folder: &Path) -> bool {
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=aloud test", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .output();
    let Ok(output) = made else {
        support::skip("https_accepts_only_trusted_certificates", "openssl");
        return false;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

/// A folder with a certificate, and one in it with another.
fn two_certificates(name: &str) -> Option<(Folder, PathBuf)> {
    let folder = Folder(std::env::temp_dir().join(format!("aloud-{name}-{}", std::process::id())));
    let other = folder.0.join("other");
    std::fs::create_dir_all(&other).unwrap();
    (certify(&folder.0) && certify(&other)).then_some((folder, other))
}

async fn say(url: &str, trusted: &Path) -> Output {
    let mut aloud = Command::new(env!("CARGO_BIN_EXE_aloud"));
    aloud.args(["say", "One.", "-o", "-", "--engine=speech", "--engine-attempts=1", "--engine-url", url]);
    aloud.env_remove("SSL_CERT_DIR").env("SSL_CERT_FILE", trusted);
    within(aloud.output()).await.unwrap()
}

/// Accepts TLS with the certificate in this folder.
fn acceptor(folder: &Folder) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(folder.0.join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.0.join("key.pem")).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn say_speaks_through_tls() {
    let Some((folder, other)) = two_certificates("wss") else { return };
    let server = Serving::start(&["serve", "--listen", "127.0.0.1:0", "--engine", "tone"]);
    let behind = server.url().trim_start_matches("ws://").to_owned();
    let (acceptor, listener) = (acceptor(&folder), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(socket).await else { continue };
            let mut server = tokio::net::TcpStream::connect(&behind).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
        }
    });
    let say = async |url: String, trusted: PathBuf| {
        let mut aloud = Command::new(env!("CARGO_BIN_EXE_aloud"));
        aloud.args(["say", "One. Two.", "-o", "-", "--url", &url]);
        aloud.env_remove("SSL_CERT_DIR").env("SSL_CERT_FILE", trusted);
        within(aloud.output()).await.unwrap()
    };
    for scheme in ["wss", "https"] {
        let output = say(format!("{scheme}://127.0.0.1:{port}"), folder.0.join("cert.pem")).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.len() > 100_000, "{}", output.stdout.len());
    }
    for (host, trusted) in [("localhost", folder.0.join("cert.pem")), ("127.0.0.1", other.join("cert.pem"))] {
        let output = say(format!("wss://{host}:{port}"), trusted).await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("certificate"), "{host}: {stderr}");
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn https_accepts_only_trusted_certificates() {
    let Some((folder, other)) = two_certificates("tls") else { return };
    let acceptor = acceptor(&folder);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            // A client that does not trust the certificate leaves during the handshake.
            let Ok(mut stream) = acceptor.accept(socket).await else { continue };
            let mut request = Vec::new();
            while !request.ends_with(b"}") && stream.read_buf(&mut request).await.unwrap() > 0 {}
            let samples: Vec<u8> = (0..8_000i16).flat_map(|n| ((n % 20 - 10) * 800).to_le_bytes()).collect();
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: audio/pcm;rate=8000\r\nContent-Length: 16000\r\n\r\n";
            stream.write_all(&[head.as_bytes(), &samples].concat()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });

    let trusted = folder.0.join("cert.pem");
    let output = say(&format!("https://127.0.0.1:{port}/v1"), &trusted).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.len() > 16_000, "{}", output.stdout.len());
    // A name that the certificate lacks, and a certificate without trust.
    for (host, trusted) in [("localhost", &trusted), ("127.0.0.1", &other.join("cert.pem"))] {
        let output = say(&format!("https://{host}:{port}"), trusted).await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("The speech engine could not be reached."), "{host}: {stderr}");
    }
}
