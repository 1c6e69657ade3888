//! Faults of the store: sessions go on, and nothing waits.

use crate::listener::Listener;
use crate::recovery::{TEXT, is_up, metric, paced, server, server_by, start, undisturbed};
use crate::store::{Relay, Store};
use crate::support::within;
use aloud::tts::Flite;
use serde_json::json;
use std::sync::Arc;
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

/// A store that has forgotten the scripts, as one that was restarted behind a proxy.
#[tokio::test]
async fn first_recover_after_the_scripts_are_gone_is_answered() {
    let Some(store) = Store::start("first_recover_after_the_scripts_are_gone_is_answered").await else {
        return;
    };
    let (start, servers) = (start(TEXT, &paced()), [server(&store).await, server(&store).await]);
    let mut listener = Listener::start(servers[0].addr, &start).await;
    for turn in 1..=4 {
        listener.hear(turn * 4_000).await;
        assert!(store.ask("SCRIPT FLUSH").await.unwrap().starts_with("+OK"));
        let (_, recovered) = listener.move_to(servers[turn % 2].addr, &json!({})).await;
        assert_eq!(recovered["recovered"], true, "{turn}: {recovered}");
        for server in &servers {
            assert_eq!(
                metric(server, r#"aloud_store_operations_total{operation="claim",result="failed"}"#),
                0
            );
        }
    }
}

/// A server that cannot ask the store does not say that there is no such session.
#[tokio::test]
async fn session_of_another_server_waits_for_a_store_that_stands_still() {
    let test = "session_of_another_server_waits_for_a_store_that_stands_still";
    let Some(store) = Store::start(test).await else { return };
    let (start, servers) = (start(TEXT, &paced()), [server(&store).await, server(&store).await]);
    let mut listener = Listener::start(servers[0].addr, &start).await;
    listener.hear(6_000).await;
    store.signal("STOP");
    for _ in 0..2 {
        let (error, close) = listener.is_refused(servers[1].addr).await;
        assert_eq!((&error["code"], close), (&json!("overloaded"), 4503), "{error}");
    }
    store.signal("CONT");
    is_up(&servers[1]).await;
    let (_, recovered) = listener.move_to(servers[1].addr, &json!({})).await;
    assert_eq!(recovered["recovered"], true, "{recovered}");
}

/// A server that is cut off from the store has an old copy of a session that went on elsewhere: it sends nothing of it.
#[tokio::test]
async fn server_that_was_left_behind_sends_no_audio() {
    let Some(store) = Store::start("server_that_was_left_behind_sends_no_audio").await else { return };
    let relay = Relay::to(&store, Duration::ZERO).await;
    let behind = server_by(&relay.url(), Arc::new(Flite::new()), |_| {}).await;
    let ahead = server(&store).await;
    let options = json!({"source": "append", "delivery": {"mode": "paced", "aheadMs": 500}});
    let mut listener = Listener::start(behind.addr, &start(TEXT, &options)).await;
    listener.hear(6_000).await;
    relay.cut();
    let (before, recovered) = listener.move_to(ahead.addr, &json!({})).await;
    assert_eq!((&recovered["recovered"], &recovered["epoch"]), (&json!(true), &json!(2)), "{recovered}");
    listener.raw.say(r#"{"type":"update","speed":2}"#).await;
    listener.hear(80_000).await;
    for _ in 0..2 {
        let (error, close) = listener.is_refused(behind.addr).await;
        assert_eq!((&error["code"], close), (&json!("overloaded"), 4503), "{error}");
    }
    relay.mend();
    is_up(&behind).await;
    let (_, recovered) = listener.move_to(behind.addr, &json!({})).await;
    assert_eq!((&recovered["recovered"], &recovered["epoch"]), (&json!(true), &json!(3)), "{recovered}");
    drop(before);
}

/// A store that takes no more records says so in the metrics, and nothing else changes.
#[tokio::test]
async fn full_store_is_seen_in_the_metrics() {
    let Some(store) = Store::start("full_store_is_seen_in_the_metrics").await else { return };
    let (start, server) = (start(TEXT, &paced()), server(&store).await);
    let expected = undisturbed(&start).await;
    assert!(store.ask("CONFIG SET maxmemory 1").await.unwrap().starts_with("+OK"));
    let mut listener = Listener::start(server.addr, &start).await;
    listener.hear(6_000).await;
    within(async {
        while metric(&server, "aloud_store_up") == 1 {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    let (_, recovered) = listener.move_to(server.addr, &json!({})).await;
    assert_eq!(recovered["recovered"], true, "{recovered}");
    assert!(store.ask("CONFIG SET maxmemory 0").await.unwrap().starts_with("+OK"));
    is_up(&server).await;
    listener.message("session_end").await;
    assert!(listener.audio == expected, "{} of {} bytes", listener.audio.len(), expected.len());
}
