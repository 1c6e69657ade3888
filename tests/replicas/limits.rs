//! Limits for each client, which hold over all servers.

use crate::listener::Listener;
use crate::recovery::{TEXT, paced, server_of, start};
use crate::store::Store;
use crate::support::{Frame, Running, V1, opening_with, raw, v1, within};
use aloud::tts::Flite;
use aloud::{Config, PATH};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

async fn servers(store: &Store, change: impl Fn(&mut Config)) -> [Running; 2] {
    let engine = || Arc::new(Flite::new());
    [server_of(store, engine(), &change).await, server_of(store, engine(), &change).await]
}

/// The status of an opening handshake.
async fn status(server: &Running) -> u16 {
    let mut client = raw(server.addr).await;
    client.send_bytes(&opening_with(server.addr, PATH, V1)).await;
    client.read_head().await.status
}

/// Waits until an opening handshake gets this status.
async fn becomes(server: &Running, expected: u16) {
    within(async {
        while status(server).await != expected {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn connections_of_a_client_count_at_all_servers() {
    let Some(store) = Store::start("connections_of_a_client_count_at_all_servers").await else { return };
    let servers = servers(&store, |c| c.admission.max_client_connections = Some(2)).await;
    let first = v1(servers[0].addr).await;
    let second = v1(servers[0].addr).await;
    becomes(&servers[1], 429).await;
    drop(first);
    becomes(&servers[1], 101).await;
    // A server that was killed is forgotten: this one reported long ago.
    let keys = store.ask("KEYS aloud:c:*").await.unwrap();
    let key = keys.lines().find(|line| line.starts_with("aloud:c:")).unwrap();
    assert!(store.ask(&format!("HSET {key} o:dead \"5 5 1\"")).await.unwrap().starts_with(':'));
    drop(second);
    becomes(&servers[1], 101).await;
    within(async {
        while store.ask(&format!("HEXISTS {key} o:dead")).await.unwrap().starts_with(":1") {
            let _ = status(&servers[1]).await;
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    // Nothing in the store names the client.
    assert!(!store.ask("KEYS *").await.unwrap().contains("127.0.0.1"));
}

#[tokio::test]
async fn sessions_of_a_client_count_at_all_servers() {
    let Some(store) = Store::start("sessions_of_a_client_count_at_all_servers").await else { return };
    let servers = servers(&store, |c| c.admission.max_client_sessions = Some(1)).await;
    let mut listener = Listener::start(servers[0].addr, &start(TEXT, &paced())).await;
    listener.hear(2_000).await;
    within(async {
        loop {
            let (mut client, _) = v1(servers[1].addr).await;
            client.say(&start("One.", &json!({})).to_string()).await;
            match client.read_frame().await {
                Frame::Text(message) if message["type"] == "error" => {
                    assert_eq!(message["code"], "rate_limited", "{message}");
                    return;
                }
                // Not known yet.
                _ => client.say(r#"{"type":"end"}"#).await,
            }
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    // A session that moves has its place with it.
    let (_, recovered) = listener.move_to(servers[1].addr, &json!({})).await;
    assert_eq!(recovered["recovered"], true, "{recovered}");
}

#[tokio::test]
async fn characters_of_a_client_count_at_all_servers() {
    let Some(store) = Store::start("characters_of_a_client_count_at_all_servers").await else { return };
    let servers = servers(&store, |c| c.admission.max_client_chars_per_hour = Some(60)).await;
    let text = "This sentence has some fifty characters, in one line.";
    let mut first = Listener::start(servers[0].addr, &start(text, &json!({}))).await;
    first.message("session_end").await;
    let mut spoken = 1;
    within(async {
        loop {
            let (mut client, _) = v1(servers[1].addr).await;
            client.say(&start("Ten chars.", &json!({})).to_string()).await;
            match client.read_frame().await {
                Frame::Text(message) if message["type"] == "error" => {
                    return assert_eq!(message["code"], "rate_limited", "{message}");
                }
                _ => spoken += 1,
            }
            sleep(Duration::from_millis(300)).await;
        }
    })
    .await;
    assert!(spoken <= 4, "{spoken} streams");
}
