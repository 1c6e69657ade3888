//! JSON Web Tokens as credentials, signed by their issuer. Needs the feature `jwt`.

use crate::support::{self, FORMAT, Frame, Raw, Running, messages, opening_with, raw, start_with, v1};
use aloud::settings::{Admission, Auth, Jwt};
use aloud::tts::Tone;
use aloud::{Config, PATH, Service};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{Ed25519KeyPair, KeyPair};
use ring::{hmac, rand};
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const START: &str = r#"{"type":"start_session","prompt":"The one. The two. The three. The four."}"#;

/// A temporary directory, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("aloud-jwt-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Signs with a key of either kind.
type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

fn hs256(secret: &[u8]) -> Sign {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    Box::new(move |message| hmac::sign(&key, message).as_ref().to_vec())
}

/// A new key, and its public key in PEM.
fn ed25519() -> (Sign, String) {
    let pair = Ed25519KeyPair::generate_pkcs8(&rand::SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pair.as_ref()).unwrap();
    // SubjectPublicKeyInfo (RFC 8410 §4).
    let head = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let pem = STANDARD.encode([&head[..], pair.public_key().as_ref()].concat());
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{pem}\n-----END PUBLIC KEY-----\n");
    (Box::new(move |message| pair.sign(message).as_ref().to_vec()), pem)
}

fn token(header: &Value, claims: &Value, sign: &Sign) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signed = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signed}")
}

/// Claims that are valid for a minute, with these additions; a null claim is left out.
fn claims(more: &Value) -> Value {
    let mut claims = json!({"exp": now() + 60});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

fn config(jwt: Jwt) -> Config {
    let admission = Admission::default().with(|a| {
        a.auth = Auth::Jwt(jwt);
        a.max_client_connections = Some(2);
    });
    Config::default().with(|c| c.admission = admission)
}

async fn server(jwt: Jwt) -> Running {
    start_with(config(jwt), Arc::new(Tone::new(FORMAT, 0.1))).await
}

async fn handshake(server: &Running, token: &str) -> (Raw, u16) {
    let mut client = raw(server.addr).await;
    let lines = format!("{}Authorization: Bearer {token}\r\n", support::V1);
    client.send_bytes(&opening_with(server.addr, PATH, &lines)).await;
    let status = client.read_head().await.status;
    (client, status)
}

async fn status(server: &Running, header: &Value, claims: &Value, sign: &Sign) -> u16 {
    handshake(server, &token(header, claims, sign)).await.1
}

#[tokio::test]
async fn claims_are_checked() {
    let folder = Folder::new("claims");
    // The line end is not part of the secret.
    let plain = Jwt::new(folder.file("secret", [SECRET, b"\n"].concat()));
    let named = plain.clone().with(|j| {
        j.audience = Some("aloud".into());
        j.issuer = Some("me".into());
    });
    let (plain, named) = (server(plain).await, server(named).await);
    let header = json!({"alg": "HS256", "typ": "JWT"});
    for (more, expected) in [
        (json!({}), [101, 401]),
        (json!({"exp": now() - 20}), [101, 401]),
        (json!({"exp": now() - 40}), [401, 401]),
        (json!({"exp": null}), [401, 401]),
        (json!({"exp": "tomorrow"}), [401, 401]),
        (json!({"nbf": now() + 20}), [101, 401]),
        (json!({"nbf": now() + 60}), [401, 401]),
        (json!({"aud": "aloud"}), [401, 401]),
        (json!({"aud": "aloud", "iss": "me"}), [401, 101]),
        (json!({"aud": ["other", "aloud"], "iss": "me"}), [401, 101]),
        (json!({"aud": "other", "iss": "me"}), [401, 401]),
        (json!({"aud": "aloud", "iss": "you"}), [401, 401]),
        (json!({"iss": "you"}), [101, 401]),
        (json!({"sub": 7}), [401, 401]),
        (json!({"maxChars": "7"}), [401, 401]),
        (json!({"voices": ["nobody"]}), [403, 401]),
        (json!({"voices": []}), [403, 401]),
    ] {
        let sign = hs256(SECRET);
        let claims = claims(&more);
        let found =
            [status(&plain, &header, &claims, &sign).await, status(&named, &header, &claims, &sign).await];
        assert_eq!(found, expected, "{more}");
    }
}

/// A header that asks for something unknown, and claims of a wrong type, are no weaker than none.
#[tokio::test]
async fn token_that_is_not_understood_is_refused() {
    let folder = Folder::new("understood");
    let plain = Jwt::new(folder.file("secret", SECRET));
    let named = plain.clone().with(|j| {
        j.audience = Some("aloud".into());
        j.issuer = Some("me".into());
    });
    let (plain, named) = (server(plain).await, server(named).await);
    let sign = hs256(SECRET);
    let both = async |header: &Value, more: Value| {
        // Null stays here.
        let mut claims = json!({"exp": now() + 60});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut wanted = claims.clone();
        for (name, value) in [("aud", "aloud"), ("iss", "me")] {
            wanted.as_object_mut().unwrap().entry(name).or_insert(value.into());
        }
        [status(&plain, header, &claims, &sign).await, status(&named, header, &wanted, &sign).await]
    };
    for (more, expected) in [
        (json!({}), 101),
        (json!({"b64": true}), 101),
        (json!({"kid": "1", "jku": "https://evil.example", "cty": "JWT"}), 101),
        (json!({"crit": ["exp"]}), 401),
        (json!({"crit": ["https://example.com/one-use"], "https://example.com/one-use": true}), 401),
        (json!({"crit": []}), 401),
        (json!({"crit": null}), 401),
        (json!({"crit": "b64"}), 401),
        (json!({"crit": ["b64"], "b64": true}), 401),
        (json!({"crit": ["b64"], "b64": false}), 401),
        (json!({"b64": false}), 401),
        (json!({"b64": "false"}), 401),
        (json!({"b64": null}), 401),
        (json!({"zip": "DEF"}), 401),
    ] {
        let mut header = json!({"alg": "HS256"});
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(both(&header, json!({})).await, [expected; 2], "{more}");
    }
    let header = json!({"alg": "HS256"});
    for more in [
        json!({"aud": 7}),
        json!({"aud": null}),
        json!({"aud": true}),
        json!({"aud": {"aloud": true}}),
        json!({"aud": ["aloud", 7]}),
        json!({"aud": [["aloud"]]}),
        json!({"aud": []}),
        json!({"exp": "9999999999"}),
        json!({"exp": true}),
        json!({"exp": [9_999_999_999_u64]}),
        json!({"exp": -1}),
        json!({"nbf": "1"}),
        json!({"nbf": null}),
        json!({"nbf": false}),
        json!({"nbf": [1]}),
        json!({"nbf": {}}),
        json!({"nbf": -1}),
        json!({"iat": "1"}),
        json!({"iat": null}),
        json!({"iss": 7}),
        json!({"iss": ["me"]}),
        json!({"iss": null}),
        json!({"sub": null}),
        json!({"jti": 7}),
        json!({"voices": null}),
        json!({"maxChars": null}),
        json!({"maxSessionMs": "1"}),
    ] {
        assert_eq!(both(&header, more.clone()).await, [401; 2], "{more}");
    }
    for more in [json!({"nbf": 1.5}), json!({"iat": now(), "jti": "x", "sub": "me"})] {
        assert_eq!(both(&header, more.clone()).await, [101; 2], "{more}");
    }
}

/// The key decides the algorithm; the header of a token cannot change it.
#[tokio::test]
async fn token_must_be_signed_with_the_key_and_its_algorithm() {
    let folder = Folder::new("algorithm");
    let (ed, public) = ed25519();
    let shared = server(Jwt::new(folder.file("secret", SECRET))).await;
    let signed = server(Jwt::new(folder.file("ed.pem", &public))).await;
    let nothing: Sign = Box::new(|_| Vec::new());
    let with_public = |text: &str| hs256(text.as_bytes());
    let (other, _) = ed25519();
    let hs = hs256(SECRET);
    for (alg, sign, expected) in [
        ("HS256", &hs, [101, 401]),
        ("EdDSA", &ed, [401, 101]),
        ("HS256", &hs256(b"another secret of more than 32 bytes"), [401, 401]),
        ("EdDSA", &other, [401, 401]),
        ("HS384", &hs, [401, 401]),
        ("HS512", &hs, [401, 401]),
        ("RS256", &hs, [401, 401]),
        ("none", &nothing, [401, 401]),
        ("None", &nothing, [401, 401]),
        ("HS256", &nothing, [401, 401]),
        ("EdDSA", &nothing, [401, 401]),
        // A public key does not sign.
        ("HS256", &with_public(&public), [401, 401]),
        ("HS256", &with_public(public.trim_end()), [401, 401]),
    ] {
        let (header, claims) = (json!({"alg": alg}), claims(&json!({})));
        let found =
            [status(&shared, &header, &claims, sign).await, status(&signed, &header, &claims, sign).await];
        assert_eq!(found, expected, "{alg}");
    }
    let good = token(&json!({"alg": "HS256"}), &claims(&json!({})), &hs);
    let (head, rest) = good.split_once('.').unwrap();
    let (body, mark) = rest.split_once('.').unwrap();
    let forged = URL_SAFE_NO_PAD.encode(claims(&json!({"sub": "root"})).to_string());
    for broken in [
        format!("{head}.{forged}.{mark}"),
        format!("{head}.{body}"),
        format!("{head}.{body}."),
        ".".into(),
        "..".into(),
    ] {
        assert_eq!(handshake(&shared, &broken).await.1, 401, "{broken}");
    }
}

/// The same checks apply to a token in the first message; the answer is a close code.
#[tokio::test]
async fn auth_message_with_a_token_is_checked_alike() {
    let folder = Folder::new("late");
    let jwt = Jwt::new(folder.file("secret", SECRET)).with(|j| j.audience = Some("aloud".into()));
    let server = server(jwt).await;
    let good = json!({"aud": "aloud"});
    for (more, secret, code) in [
        (good.clone(), SECRET, None),
        (good.clone(), &[b'x'; 32][..], Some(4401)),
        (json!({"aud": "aloud", "exp": now() - 40}), SECRET, Some(4401)),
        (json!({"aud": "aloud", "nbf": now() + 60}), SECRET, Some(4401)),
        (json!({"aud": "other"}), SECRET, Some(4401)),
        (json!({}), SECRET, Some(4401)),
        (json!({"aud": "aloud", "voices": ["nobody"]}), SECRET, Some(4403)),
    ] {
        let (mut client, _) = v1(server.addr).await;
        let token = token(&json!({"alg": "HS256"}), &claims(&more), &hs256(secret));
        client.say(&json!({"type": "auth", "token": token}).to_string()).await;
        client.say(START).await;
        let end = if code.is_some() { "close" } else { "session_end" };
        let frames = client.read_until(end).await;
        assert!(!format!("{frames:?}").contains(&token), "{more}");
        let Some(code) = code else { continue };
        assert_eq!(messages(&frames)[0]["fatal"], true, "{more}");
        assert!(matches!(frames.last(), Some(Frame::Close(Some((got, _)))) if *got == code), "{frames:?}");
    }
}

#[tokio::test]
async fn claims_limit_the_session() {
    let folder = Folder::new("bounds");
    let server = server(Jwt::new(folder.file("secret", SECRET))).await;
    let enter = async |more: Value| {
        let token = token(&json!({"alg": "HS256"}), &claims(&more), &hs256(SECRET));
        let (mut client, status) = handshake(&server, &token).await;
        assert_eq!(status, 101, "{more}");
        let Frame::Text(greeting) = client.read_frame().await else { panic!("no greeting") };
        (client, greeting)
    };
    let (mut client, _) = enter(json!({"sub": "a", "maxChars": 10})).await;
    client.say(START).await;
    let frames = client.read_until("close").await;
    assert_eq!(frames.iter().filter(|frame| frame.kind() == "sentence_end").count(), 1);
    assert!(messages(&frames).iter().any(|message| message["code"] == "text_too_long"));
    assert!(matches!(frames.last(), Some(Frame::Close(Some((4413, _))))));

    let (mut client, greeting) = enter(json!({"sub": "b", "maxSessionMs": 200, "voices": "tone"})).await;
    assert_eq!(greeting["limits"]["maxSessionMs"], 200);
    let frames = client.read_until("close").await;
    assert!(messages(&frames).iter().any(|message| message["code"] == "session_expired"), "{frames:?}");

    // For limits, `sub` is the client.
    let held = (enter(json!({"sub": "c"})).await, enter(json!({"sub": "c"})).await);
    let third = token(&json!({"alg": "HS256"}), &claims(&json!({"sub": "c"})), &hs256(SECRET));
    assert_eq!(handshake(&server, &third).await.1, 429);
    drop(held);
}

/// Runs openssl; `None` if it is not installed.
fn openssl(folder: &Folder, args: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let child = Command::new("openssl")
        .args(args)
        .current_dir(&folder.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        support::skip("token_signed_by_openssl_is_accepted", "openssl");
        return None;
    };
    // openssl may exit without reading its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

/// Keys and signatures of an independent program.
#[tokio::test]
async fn token_signed_by_openssl_is_accepted() {
    let folder = Folder::new("openssl");
    let make = |args: &[&str]| openssl(&folder, args, b"");
    if make(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "rsa"]).is_none() {
        return;
    }
    make(&["genpkey", "-algorithm", "ED25519", "-out", "ed"]).unwrap();
    make(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024", "-out", "weak"]).unwrap();
    make(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "ec"]).unwrap();
    for name in ["rsa", "ed", "weak", "ec"] {
        make(&["pkey", "-in", name, "-pubout", "-out", &format!("{name}.pub")]).unwrap();
        make(&["pkey", "-in", name, "-pubout", "-outform", "DER", "-out", &format!("{name}.der")]).unwrap();
    }
    make(&["req", "-x509", "-key", "rsa", "-subj", "/CN=a", "-out", "certificate"]).unwrap();
    folder.file("jwk", r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#);
    folder
        .file("ssh", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPkaWU0VuhJ2m5sWcG0wVYpS4v3fU0P0v3W8y8r1nVx a@b");
    folder.file("short", "0123456789abcdef0123456789abcde\n");
    for (name, expected) in [
        ("rsa", "a private key"),
        ("ed", "a private key"),
        ("certificate", "a certificate"),
        ("weak.pub", "less than 2048 bits"),
        ("ec.pub", "not a public key of RSA or Ed25519"),
        ("rsa.der", "not PEM"),
        ("ed.der", "not PEM"),
        ("jwk", "not PEM"),
        ("ssh", "not PEM"),
        ("short", "at least 32 bytes"),
        ("missing", "cannot read the key"),
    ] {
        let made = Service::new(config(Jwt::new(folder.0.join(name))), Arc::new(Tone::new(FORMAT, 0.1)));
        let error = made.err().unwrap_or_else(|| panic!("{name} is taken")).to_string();
        assert!(error.contains(expected) && error.contains(name), "{name}: {error}");
    }
    for (name, alg, args) in [
        ("rsa", "RS256", &["dgst", "-sha256", "-sign", "rsa"][..]),
        ("ed", "EdDSA", &["pkeyutl", "-sign", "-rawin", "-inkey", "ed", "-in", "message"]),
    ] {
        let server = server(Jwt::new(folder.0.join(format!("{name}.pub")))).await;
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(json!({"alg": alg})), part(claims(&json!({}))));
        folder.file("message", &message);
        let signed = openssl(&folder, args, message.as_bytes()).unwrap();
        let good = format!("{message}.{}", URL_SAFE_NO_PAD.encode(&signed));
        assert_eq!(handshake(&server, &good).await.1, 101, "{alg}");
        let mut wrong = signed;
        wrong[9] ^= 1;
        let wrong = format!("{message}.{}", URL_SAFE_NO_PAD.encode(&wrong));
        assert_eq!(handshake(&server, &wrong).await.1, 401, "{alg}");
        // The public key is no shared secret.
        let public = std::fs::read(folder.0.join(format!("{name}.pub"))).unwrap();
        let confused = token(&json!({"alg": "HS256"}), &claims(&json!({})), &hs256(&public));
        assert_eq!(handshake(&server, &confused).await.1, 401, "{alg}");
    }
}
