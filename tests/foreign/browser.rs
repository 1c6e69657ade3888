//! The page and the module in a real browser: played audio, events and the demo page. The scenarios
//! are in tests/browser/.

use crate::support::{self, FORMAT, Head, raw, start_with};
use aloud::Config;
use aloud::message::{Close, Code, RETRYABLE_CODES, Retry, retry};
use aloud::tts::Tone;
use serde_json::Value;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

/// Held by the running scenario: scenarios record in real time, and each starts several processes.
static BROWSER: Mutex<()> = Mutex::new(());

/// Runs a scenario in a browser. If a variable that it needs is missing, skips it, or fails in CI.
fn scenario(script: &str, name: &str, needs: &[&str], browser: &str) {
    for variable in needs {
        if std::env::var_os(variable).is_none() {
            return support::skip(name, variable);
        }
    }
    let _one = BROWSER.lock().unwrap_or_else(PoisonError::into_inner);
    let output = Command::new("node")
        .arg(format!("{}/tests/browser/{script}", env!("CARGO_MANIFEST_DIR")))
        .args([env!("CARGO_BIN_EXE_aloud"), name])
        .env("ALOUD_TEST_BROWSER", browser)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

macro_rules! scenarios {
    ($script:literal, $needs:expr; $($name:ident)*) => { scenarios! { $script, $needs, "chromium"; $($name)* } };
    ($script:literal, $needs:expr, $browser:expr; $($name:ident)*) => {
        $(#[test]
        fn $name() {
            scenario($script, stringify!($name), $needs, $browser);
        })*
    };
}

/// Speak, pause, cut and stop in the browsers with other engines than Chromium's.
macro_rules! other_browser {
    ($browser:ident, $variable:literal) => {
        mod $browser {
            use super::scenario;

            scenarios! { "scenarios.mjs", &["ALOUD_TEST_BROWSER_PATH", $variable], stringify!($browser);
                audio_plays_each_sample_once
                pause_resumes_at_the_same_sample
                recover_after_a_cut_is_inaudible
                cancel_silences_an_append_stream_and_keeps_it_open
                page_of_another_origin_plays
            }
        }
    };
}

other_browser! { firefox, "ALOUD_TEST_FIREFOX" }
other_browser! { webkit, "ALOUD_TEST_WEBKIT" }

scenarios! { "scenarios.mjs", &["ALOUD_TEST_BROWSER_PATH", "ALOUD_TEST_CHROMIUM"];
    audio_plays_each_sample_once
    audio_plays_at_any_sample_rate
    encoded_audio_plays_each_sample_once
    encoded_audio_is_exact_after_a_pause_and_a_cut
    encoded_audio_is_exact_after_a_cancel
    encoded_audio_of_another_take_replaces_the_first
    encoded_audio_falls_back_to_samples
    encoded_audio_has_no_gap_at_64_kbit_per_second
    pause_resumes_at_the_same_sample
    cancel_silences_an_append_stream_and_keeps_it_open
    cancel_ends_a_prompt_and_the_next_starts_at_once
    word_events_come_at_playback
    recover_after_a_cut_is_inaudible
    ping_detects_a_silent_network
    restart_of_the_server_continues_the_text
    connect_fails_after_some_attempts
    auth_refused_ends_the_stream_without_a_retry
    page_of_another_origin_plays
    subprotocol_removed_by_a_proxy_is_detected
    base_protocol_server_is_played
    html_of_the_guide_speaks
    page_speaks_and_shows_words
    page_waits_for_a_gesture
    page_is_accessible
}

scenarios! { "scenarios.mjs", &["ALOUD_TEST_BROWSER_PATH", "ALOUD_TEST_CHROMIUM", "ALOUD_TEST_APPS_PATH"];
    app_of_esbuild_speaks
    app_of_rollup_speaks
    app_of_webpack_speaks
    app_of_vite_speaks
    app_of_next_with_turbopack_speaks
    app_of_next_with_webpack_speaks
    app_of_next_in_development_speaks
    react_hook_of_the_guide_speaks
}

scenarios! { "scenarios.mjs", &["ALOUD_TEST_BROWSER_PATH"];
    node_receives_bytes_without_playback
    types_are_strict
    recover_names_the_stream_and_its_last_cancel
    recover_before_the_second_stream_began_names_it
    recover_learns_the_format_of_a_stream_that_it_did_not_see
    append_lost_with_its_connection_is_sent_again
    append_and_flush_are_repeated_in_their_order
    append_after_a_cancel_is_not_mixed_with_the_cancelled_text
    cancel_while_the_connection_is_lost_keeps_an_append_stream
    recover_follows_the_pause_of_the_server
    position_lost_is_retried_at_the_sentence
    position_lost_twice_starts_a_text_anew_and_ends_other_streams
    connect_opens_ahead_of_start
    start_waits_while_the_device_is_offline
    change_of_the_network_asks_for_a_sign_of_life
    connect_to_no_server_is_silent_until_start
    update_is_sent_and_sent_again
    context_that_is_closed_ends_the_stream
    start_replaces_an_own_context_that_was_closed
    shortages_double_the_cushion_and_calm_halves_it
    stats_come_ten_times_a_second
    restart_that_is_refused_ends_the_stream
    restart_continues_a_text_from_its_sentence
    restart_in_the_first_sentence_continues_it
    restart_with_another_engine_repeats_the_sentence
    restart_of_the_server_starves_no_client_without_playback
    append_lost_on_the_way_to_the_server_is_spoken_once
    another_take_moves_audio_captions_and_clock_back
    stop_behind_the_last_byte_counts_what_was_not_heard
    stop_while_the_connection_is_lost_counts_what_was_not_heard
}

scenarios! { "page.mjs", &["ALOUD_TEST_BROWSER_PATH", "ALOUD_TEST_CHROMIUM"];
    dead_server_is_named_and_no_token_is_asked_for
    empty_text_is_not_finished
    words_that_the_voice_cannot_say_are_not_read
    outage_is_played_through_and_marked
    click_on_a_word_goes_on_from_there
    audio_is_saved_as_wav_and_mp3
    page_links_its_manual_and_counts_characters
    controls_stay_in_view_and_direction_follows_the_text
    forced_colors_keep_the_lit_word_and_calm_waves_stand
}

/// Sends a request to a server with or without the page, and returns the answer.
async fn ask(demo: bool, request: &str) -> (Head, String) {
    let config = Config::default().with(|c| c.demo = demo);
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
    ("/favicon.ico", "image/svg+xml", false),
    ("/guide/start.md", "text/plain; charset=utf-8", false),
    ("/guide/protocol.md", "text/plain; charset=utf-8", false),
];

#[tokio::test]
async fn files_are_served_with_headers_for_browsers() {
    for &(path, content_type, is_for_anyone) in FILES {
        let (head, body) = ask(true, &format!("GET {path} HTTP/1.1\r\nHost: localhost")).await;
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
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {known}");
            let (head, body) = ask(true, &request).await;
            assert_eq!((head.status, body.as_str()), (304, ""), "{path} {known}");
            assert_eq!(head.header("etag").as_deref(), Some(etag.as_str()), "{path}");
        }
        let (head, body) =
            ask(true, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"x\"")).await;
        assert_eq!((head.status, body.is_empty()), (200, false), "{path}");
        let (head, _) =
            ask(true, &format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0")).await;
        assert_eq!((head.status, head.header("allow").as_deref()), (405, Some("GET, HEAD")), "{path}");
    }
}

#[tokio::test]
async fn module_is_served_without_the_page() {
    for &(path, _, is_for_anyone) in FILES {
        let (head, _) = ask(false, &format!("GET {path} HTTP/1.1\r\nHost: localhost")).await;
        assert_eq!(head.status, if is_for_anyone { 200 } else { 404 }, "{path}");
    }
}

/// Limit on the compressed size of the module and its types. A third of it is what a client has to do to come
/// back: repeated text, lost positions, other takes, and streams that begin in the middle. A kilobyte opens
/// connections ahead, changes running streams, and names the cures of failures.
#[test]
fn module_and_types_are_small() {
    let web = concat!(env!("CARGO_MANIFEST_DIR"), "/src/server/web");
    let packed = Command::new("sh")
        .args(["-c", "cat aloud.js aloud.d.ts | gzip -9 | wc -c"])
        .current_dir(web)
        .output()
        .unwrap();
    let bytes: u64 = String::from_utf8(packed.stdout).unwrap().trim().parse().unwrap();
    assert!((1_000..17_500).contains(&bytes), "{bytes} bytes");
}

/// `aloud.js` has the rows of the server's tables that it needs: which closes to retry, and the names
/// of the fatal faults that a close code alone identifies.
#[test]
fn codes_of_the_module_match_the_tables() {
    let module = include_str!("../../src/server/web/aloud.js");
    let (_, table) = module.split_once("const CLOSES = ").unwrap();
    let (table, _) = table.split_once(';').unwrap();
    let table: Value = serde_json::from_str(table).unwrap();

    let range = [&table["range"][0], &table["range"][1]].map(|bound| bound.as_u64().unwrap());
    assert_eq!(range, [RETRYABLE_CODES.start(), RETRYABLE_CODES.end()].map(|bound| u64::from(*bound)));
    let listed: Vec<u64> =
        table["retryable"].as_array().unwrap().iter().map(|code| code.as_u64().unwrap()).collect();
    for code in 0..=u16::MAX {
        let number = u64::from(code);
        let is_retryable = listed.contains(&number) || (range[0]..=range[1]).contains(&number);
        assert_eq!(is_retryable, retry(code) == Retry::Now, "{code}");
    }

    let mut named = table["final"].as_object().unwrap().clone();
    for fault in Code::all() {
        let Some(close) = fault.close() else { continue };
        let code = close.code(true);
        let is_unique = Close::all().filter(|other| other.code(true) == code).count() == 1;
        if is_unique && retry(code) == Retry::Never {
            let name = named.remove(&code.to_string());
            assert_eq!(name.as_ref().and_then(Value::as_str), Some(fault.name()), "{code}");
        }
    }
    assert!(named.is_empty(), "no fatal faults of the server: {named:?}");
}
