//! The page and the module in a real browser: what is heard of what was sent, and what a page is
//! told of it. The scenarios are in tests/browser/.
//!
//! `.ci/foreign-clients` installs the browser and what drives it, and says by environment variables
//! where they are; without these a test says that it is skipped.

use crate::support::{FORMAT, Head, raw, start_with};
use aloud::Config;
use aloud::tts::Tone;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

/// One at a time: they listen in real time, and each is several processes.
static BROWSER: Mutex<()> = Mutex::new(());

/// Runs a scenario, unless what it needs is missing, which is an error where everything has been
/// installed to be tested.
fn scenario(name: &str, needs: &[&str]) {
    for variable in needs {
        if std::env::var_os(variable).is_none() {
            let is_ci = std::env::var("CI").as_deref() == Ok("true");
            assert!(!is_ci, "{variable} is not set: run .ci/foreign-clients");
            return eprintln!("skipped {name}: {variable} is not set, see .ci/foreign-clients");
        }
    }
    let _one = BROWSER.lock().unwrap_or_else(PoisonError::into_inner);
    let output = Command::new("node")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/scenarios.mjs"))
        .args([env!("CARGO_BIN_EXE_aloud"), name])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

macro_rules! scenarios {
    ($needs:expr; $($name:ident)*) => {
        $(#[test]
        fn $name() {
            scenario(stringify!($name), $needs);
        })*
    };
}

scenarios! { &["ALOUD_TEST_BROWSER_PATH", "ALOUD_TEST_CHROMIUM"];
    every_sample_is_heard_once
    any_rate_of_the_page
    pause_is_heard_and_resumes_at_the_sample
    cancel_silences_and_an_append_stream_goes_on
    cancel_ends_a_prompt_and_another_follows_at_once
    words_come_when_they_are_heard
    a_cut_network_is_not_heard
    a_network_that_goes_without_a_word_is_noticed
    a_server_that_is_started_anew_goes_on
    a_server_that_is_gone_is_given_up
    a_refused_token_is_told_and_not_tried_again
    from_another_origin
    a_proxy_that_takes_the_subprotocol
    a_server_of_the_base_protocol
    the_page_speaks_and_shows_it
    the_page_waits_for_a_gesture
    the_page_is_for_everyone
}

scenarios! { &["ALOUD_TEST_BROWSER_PATH"];
    bytes_in_node
    types_are_strict
}

/// What a server with the page, or without, answers to a request.
async fn ask(demo: bool, request: &str) -> (Head, String) {
    let config = Config { demo, ..Config::default() };
    let server = start_with(config, Arc::new(Tone::new(FORMAT, 0.1))).await;
    let mut client = raw(server.addr).await;
    client.send_bytes(format!("{request}\r\n\r\n").as_bytes()).await;
    client.read_answer().await
}

const FILES: &[(&str, &str, bool)] = &[
    ("/aloud.js", "text/javascript; charset=utf-8", true),
    ("/aloud.d.ts", "text/plain; charset=utf-8", true),
    ("/", "text/html; charset=utf-8", false),
    ("/demo.js", "text/javascript; charset=utf-8", false),
    ("/demo.css", "text/css; charset=utf-8", false),
    ("/icon.svg", "image/svg+xml", false),
];

#[tokio::test]
async fn files_are_served_with_what_browsers_ask_of_them() {
    for &(path, content_type, is_for_anyone) in FILES {
        let (head, body) = ask(true, &format!("GET {path} HTTP/1.1\r\nHost: a")).await;
        assert_eq!(head.status, 200, "{path}");
        assert_eq!(head.header("content-type").as_deref(), Some(content_type), "{path}");
        assert_eq!(head.header("x-content-type-options").as_deref(), Some("nosniff"), "{path}");
        assert_eq!(head.header("cache-control").as_deref(), Some("no-cache"), "{path}");
        let open = is_for_anyone.then_some("*");
        assert_eq!(head.header("access-control-allow-origin").as_deref(), open, "{path}");
        let policy = head.header("content-security-policy");
        assert_eq!(policy.is_some(), !is_for_anyone, "{path}: {policy:?}");
        assert!(policy.is_none_or(|policy| policy.contains("default-src 'none'")
            && !policy.contains("unsafe")
            && !policy.contains('*')));
        assert!(!body.is_empty(), "{path}");

        let etag = head.header("etag").unwrap();
        for known in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nIf-None-Match: {known}");
            let (head, body) = ask(true, &request).await;
            assert_eq!((head.status, body.as_str()), (304, ""), "{path} {known}");
            assert_eq!(head.header("etag").as_deref(), Some(etag.as_str()), "{path}");
        }
        let (head, body) =
            ask(true, &format!("GET {path} HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"x\"")).await;
        assert_eq!((head.status, body.is_empty()), (200, false), "{path}");
        let (head, _) = ask(true, &format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0")).await;
        assert_eq!((head.status, head.header("allow").as_deref()), (405, Some("GET, HEAD")), "{path}");
    }
}

#[tokio::test]
async fn without_the_page_there_is_still_the_module() {
    for &(path, _, is_for_anyone) in FILES {
        let (head, _) = ask(false, &format!("GET {path} HTTP/1.1\r\nHost: a")).await;
        assert_eq!(head.status, if is_for_anyone { 200 } else { 404 }, "{path}");
    }
}

/// What a browser transfers of the module and an editor of its types, behind a proxy that compresses.
#[test]
fn module_and_types_are_small() {
    let web = concat!(env!("CARGO_MANIFEST_DIR"), "/src/server/web");
    let packed = Command::new("sh")
        .args(["-c", "cat aloud.js aloud.d.ts | gzip -9 | wc -c"])
        .current_dir(web)
        .output()
        .unwrap();
    let bytes: u64 = String::from_utf8(packed.stdout).unwrap().trim().parse().unwrap();
    assert!((1_000..12_000).contains(&bytes), "{bytes} bytes");
}
