//! Faults of the store: sessions go on, and nothing waits.

use crate::listener::Listener;
use crate::recovery::{TEXT, is_up, metric, paced, server, start, undisturbed};
use crate::store::Store;
use crate::support::within;
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

#[tokio::test]
async fn session_goes_on_without_its_store() {
    let Some(mut store) = Store::start("session_goes_on_without_its_store").await else { return };
    let (start, servers) = (start(TEXT, &paced()), [server(&store).await, server(&store).await]);
    let expected = undisturbed(&start).await;
    let mut listener = Listener::start(servers[0].addr, &start).await;
    listener.hear(6_000).await;
    store.kill();
    // Here the session is still found, and nowhere else.
    let (_, recovered) = listener.move_to(servers[0].addr, &json!({})).await;
    assert_eq!(recovered["recovered"], true, "{recovered}");
    let began = Instant::now();
    let mut other = Listener::start(servers[1].addr, &start).await;
    other.hear(2).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    listener.hear(12_000).await;
    // The store comes back and knows nothing: the owner tells it.
    store.restart().await;
    is_up(&servers[0]).await;
    is_up(&servers[1]).await;
    within(async {
        while store.ask("DBSIZE").await.is_none_or(|answer| answer.starts_with(":0")) {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let (_, recovered) = listener.move_to(servers[1].addr, &json!({})).await;
    assert_eq!(recovered["recovered"], true, "{recovered}");
    listener.message("session_end").await;
    assert!(listener.audio == expected, "{} of {} bytes", listener.audio.len(), expected.len());
    assert!(metric(&servers[0], r#"aloud_store_operations_total{operation="put",result="done"}"#) > 0);
}

#[tokio::test]
async fn session_goes_on_while_its_store_stands_still() {
    let Some(store) = Store::start("session_goes_on_while_its_store_stands_still").await else { return };
    let (start, server) = (start(TEXT, &json!({})), server(&store).await);
    let expected = undisturbed(&start).await;
    store.signal("STOP");
    let began = Instant::now();
    let mut listener = Listener::start(server.addr, &start).await;
    listener.hear(2).await;
    let first = began.elapsed();
    let (_, recovered) = listener.move_to(server.addr, &json!({})).await;
    assert_eq!(recovered["recovered"], true, "{recovered}");
    listener.message("session_end").await;
    let all = began.elapsed();
    store.signal("CONT");
    assert!(first < Duration::from_secs(1) && all < Duration::from_secs(3), "{first:?}, {all:?}");
    assert!(listener.audio == expected, "{} of {} bytes", listener.audio.len(), expected.len());
}

/// A store that answers late: audio leaves after 30 ms at most, and a session can still move.
#[tokio::test]
async fn session_moves_with_a_slow_store() {
    let Some(store) = Store::start("session_moves_with_a_slow_store").await else { return };
    let (start, servers) = (start(TEXT, &paced()), [server(&store).await, server(&store).await]);
    let expected = undisturbed(&start).await;
    let slow = || store.ask("CLIENT PAUSE 200 ALL");
    slow().await.unwrap();
    let began = Instant::now();
    let mut listener = Listener::start(servers[0].addr, &start).await;
    listener.hear(2).await;
    assert!(began.elapsed() < Duration::from_millis(190), "{:?}", began.elapsed());
    listener.hear(6_000).await;
    sleep(Duration::from_millis(300)).await;
    slow().await.unwrap();
    let (_, recovered) = listener.move_to(servers[1].addr, &json!({})).await;
    assert_eq!(recovered["recovered"], true, "{recovered}");
    listener.message("session_end").await;
    assert!(listener.audio == expected, "{} of {} bytes", listener.audio.len(), expected.len());
}
