//! The list of tokens in a file, which is read again when it changes.

use crate::access::credential::{Grant, Token, TokenList};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often it is looked whether the file has changed, at most.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The largest file that is read: room for every token there may be, with its name.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// A file with a list of tokens.
pub(super) struct TokenFile {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    list: Arc<TokenList>,
    version: Option<Version>,
    looked: Instant,
}

/// What changes when a file does: its inode, its length, and when it was written.
type Version = (u64, u64, i64, i64);

fn version(metadata: &Metadata) -> Version {
    (metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

impl TokenFile {
    /// Reads the file.
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong with it, and shows nothing of what it holds.
    pub(super) fn read(path: &Path, now: Instant) -> Result<TokenFile, String> {
        let (list, version) = read(path)?;
        if list.is_empty() {
            tracing::warn!("{} holds no token, so that nobody can be let in", path.display());
        }
        let state = State { list: Arc::new(list), version: Some(version), looked: now };
        Ok(TokenFile { path: path.to_owned(), state: Mutex::new(state) })
    }

    /// Whose token this is, if it is known.
    pub(super) fn find(&self, token: &Token, now: Instant) -> Option<Grant> {
        self.list(now).find(token).map(|client| Grant { client, restrictions: None })
    }

    fn list(&self, now: Instant) -> Arc<TokenList> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(state.looked) >= LOOK_AGAIN {
            state.looked = now;
            let found = fs::metadata(&self.path).ok().as_ref().map(version);
            if found != state.version {
                // Told once, and tried again when the file changes again.
                state.version = found;
                match read(&self.path) {
                    Ok((list, version)) => {
                        let count = list.len();
                        tracing::info!("{} was read again: {count} tokens", self.path.display());
                        state.list = Arc::new(list);
                        state.version = Some(version);
                    }
                    Err(why) => tracing::error!("{why}; the tokens of before stay good"),
                }
            }
        }
        Arc::clone(&state.list)
    }
}

fn read(path: &Path) -> Result<(TokenList, Version), String> {
    let cannot = |why: &dyn std::fmt::Display| format!("{} holds no list of tokens: {why}", path.display());
    // Before the text: what is written after it makes another version.
    let metadata = fs::metadata(path).map_err(|error| cannot(&error))?;
    if metadata.len() > MAX_FILE_BYTES {
        return Err(cannot(&"it is larger than 4 MiB"));
    }
    let text = fs::read_to_string(path).map_err(|error| cannot(&error))?;
    let list = TokenList::parse(&text).map_err(|why| cannot(&why))?;
    Ok((list, version(&metadata)))
}
