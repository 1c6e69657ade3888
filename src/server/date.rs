//! The `Date` of answers (RFC 9110 §6.6.1), written once a second for each thread.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

thread_local! {
    /// A second since 1970, and its date.
    static DATE: RefCell<(Duration, String)> = const { RefCell::new((Duration::MAX, String::new())) };
}

/// Calls `take` with the present date.
pub(super) fn with<R>(take: impl FnOnce(&str) -> R) -> R {
    let now = SystemTime::now();
    let second = Duration::from_secs(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
    DATE.with_borrow_mut(|(known, date)| {
        if *known != second {
            (*known, *date) = (second, httpdate::fmt_http_date(now));
        }
        take(date)
    })
}
