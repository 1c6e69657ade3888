//! Text from a service, made safe to pass on: short, on one line, without control characters and keys.

use super::secret::Secret;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use std::error::Error;
use std::time::Duration;
use tokio::time::timeout;

/// Most bytes of an error answer that are read, and the time for it.
const REASON_BYTES: usize = 4 * 1024;
const REASON_TIMEOUT: Duration = Duration::from_secs(1);

/// Most characters of an error answer that are passed on.
pub(super) const REASON_CHARS: usize = 200;

/// Characters at the start of a key that may be shown: a prefix such as `sk-`, or the start of any word.
const SHOWN_OF_KEY: usize = 4;

/// Reads the reason in the body of an error answer; empty if the body gives none.
pub(super) async fn reason(mut body: Incoming, key: Option<&Secret>) -> String {
    let mut bytes = Vec::new();
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
            if bytes.len() > REASON_BYTES {
                return;
            }
        }
    };
    // A body that does not end may still contain a reason.
    let _ = timeout(REASON_TIMEOUT, read).await;
    reason_in(&bytes, key)
}

/// Finds the reason in an error body.
fn reason_in(body: &[u8], key: Option<&Secret>) -> String {
    // A body that is cut off may end inside of a key.
    if body.len() > REASON_BYTES {
        return String::new();
    }
    let text = String::from_utf8_lossy(body);
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(json) => {
            let places = ["/error/message", "/detail/message", "/error", "/detail", "/message"];
            let found = places.iter().find_map(|place| json.pointer(place)?.as_str());
            found.unwrap_or_default().to_owned()
        }
        // A page for a browser, or a document cut short.
        Err(_) if text.trim_start().starts_with(['<', '{', '[']) => String::new(),
        Err(_) => text.into_owned(),
    };
    printable(&text, key, REASON_CHARS)
}

/// Makes text safe to pass on: one line, at most `most` characters, without the key and without characters
/// that act on a terminal.
pub(super) fn printable(text: &str, key: Option<&Secret>, most: usize) -> String {
    let hidden = |c: char| {
        matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    let mut line = String::new();
    for word in text.split_whitespace() {
        let before = line.len();
        line.extend(word.chars().filter(|&c| !c.is_control() && !hidden(c)));
        if line.len() > before {
            line.push(' ');
        }
    }
    line.pop();
    // Remove the key last: hidden characters may have split it.
    if let Some(key) = key.map(Secret::reveal) {
        line = line.replace(key, "(key)");
        // The service may have cut its quotation of the key off.
        let end = line.trim_end_matches(['…', '.']).len();
        let cut = (SHOWN_OF_KEY + 1..key.len()).rev().find(|&length| line[..end].ends_with(&key[..length]));
        if let Some(length) = cut {
            line.replace_range(end - length..end, "(key)");
        }
    }
    match line.char_indices().nth(most) {
        None => line,
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
    }
}

/// Returns an error and its causes in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
