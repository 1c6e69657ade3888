//! A file with a list of tokens, read again when it changes.

use crate::access::credential::{Grant, Token, TokenList};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shortest time between two checks of the file.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Largest file that is read: it has room for the most tokens, with their names.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// A file with a list of tokens.
pub(super) struct TokenFile {
    path: PathBuf,
    loaded: Mutex<Loaded>,
}

/// The list as last read, and the file's version then.
struct Loaded {
    list: Arc<TokenList>,
    version: Option<Version>,
    checked: Instant,
}

/// Values that change with a file: its inode, its length, and the time it was written.
type Version = (u64, u64, i64, i64);

fn version(metadata: &Metadata) -> Version {
    (metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

impl TokenFile {
    /// Reads the file.
    ///
    /// # Errors
    /// One sentence names the file and the mistake, and shows nothing of the content.
    pub(super) fn read(path: &Path, now: Instant) -> Result<TokenFile, String> {
        let (list, version) = read(path)?;
        if list.is_empty() {
            tracing::warn!("{} contains no token, so no client can connect", path.display());
        }
        let loaded = Loaded { list: Arc::new(list), version: Some(version), checked: now };
        Ok(TokenFile { path: path.to_owned(), loaded: Mutex::new(loaded) })
    }

    /// Returns the grant of a token in the list.
    pub(super) fn find(&self, token: &Token, now: Instant) -> Option<Grant> {
        self.list(now).find(token).map(|client| Grant { client, restrictions: None })
    }

    fn list(&self, now: Instant) -> Arc<TokenList> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(loaded.checked) >= CHECK_INTERVAL {
            loaded.checked = now;
            let found = fs::metadata(&self.path).ok().as_ref().map(version);
            if found != loaded.version {
                // Logged once; the next change is tried again.
                loaded.version = found;
                match read(&self.path) {
                    Ok((list, version)) => {
                        let count = list.len();
                        tracing::info!("{} was read again: {count} tokens", self.path.display());
                        loaded.list = Arc::new(list);
                        loaded.version = Some(version);
                    }
                    Err(why) => tracing::error!("{why}; the previous tokens stay valid"),
                }
            }
        }
        Arc::clone(&loaded.list)
    }
}

fn read(path: &Path) -> Result<(TokenList, Version), String> {
    let cannot =
        |why: &dyn std::fmt::Display| format!("{} is not a valid list of tokens: {why}", path.display());
    // Before the text: a later write changes the version.
    let metadata = fs::metadata(path).map_err(|error| cannot(&error))?;
    if metadata.len() > MAX_FILE_BYTES {
        return Err(cannot(&"it is larger than 4 MiB"));
    }
    let text = fs::read_to_string(path).map_err(|error| cannot(&error))?;
    let list = TokenList::parse(&text).map_err(|why| cannot(&why))?;
    Ok((list, version(&metadata)))
}
