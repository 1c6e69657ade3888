//! Any headers and query: a token is short and graphic, and comes from where the access rules say. Any list of tokens.
#![no_main]

use aloud::unstable::{credential, token_list};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// Lines as in a request: a name, a colon, a value. Leaves out lines that hyper would refuse.
fn headers(lines: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines.lines().filter_map(|line| line.split_once(':')) {
        let (name, value) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value.trim()));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (query, lines) = input;
    let headers = headers(lines);
    for query in [None, Some(query)] {
        let Some(Some(token)) = credential(&headers, query) else { continue };
        assert!(!token.is_empty() && token.len() <= 8 * 1024, "{token}");
        assert!(token.bytes().all(|byte| byte.is_ascii_graphic()), "{token}");
        let values: Vec<&str> = headers.values().filter_map(|value| value.to_str().ok()).collect();
        let is_header = values.iter().any(|value| value.contains(&token));
        assert!(is_header || query.is_some_and(|query| query.contains("token=")), "{token}");
    }
    // Without a query nothing of the query counts.
    if headers.is_empty() {
        assert_eq!(credential(&headers, None), None);
    }
    match token_list(lines) {
        Ok(count) => assert!(count <= lines.lines().count()),
        Err(why) => assert!(why.starts_with("line ") && !why.contains('\n'), "{why}"),
    }
});
