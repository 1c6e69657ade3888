//! The limit of file descriptors: each connection takes one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that a process needs besides those of its connections.
pub(super) const OTHERS: u64 = 64;

/// Raises the soft limit to the hard limit. Returns the limit that holds now; `None` is no limit.
///
/// Shells start programs with a soft limit of 1,024, for programs that cannot use more.
pub(super) fn raise_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(_) => current,
    }
}

/// Warning for a server that may have fewer descriptors than connections; `None` if there is no need for it.
pub(super) fn warning(limit: Option<u64>, max_connections: usize) -> Option<String> {
    let needed = max_connections as u64 + OTHERS;
    let limit = limit.filter(|limit| *limit < needed)?;
    Some(format!(
        "this process may have {limit} file descriptors, and --max-connections {max_connections} needs {needed}; \
         raise the hard limit (ulimit -Hn, LimitNOFILE= of systemd), or lower --max-connections"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warning_compares_the_limit_with_the_connections() {
        let text = warning(Some(1_024), 20_000).unwrap();
        for part in ["may have 1024 file", "--max-connections 20000 needs 20064", "LimitNOFILE="] {
            assert!(text.contains(part), "{text}");
        }
        assert!(warning(Some(1_023), 960).is_some());
        assert_eq!(warning(Some(1_024), 960), None);
        assert_eq!(warning(None, 10_000_000), None);
    }
}
