//! Reading of files that may be of any kind and size.

use rustix::fs::OFlags;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Why a file cannot be read.
#[derive(Debug)]
pub(super) enum Unreadable {
    Missing,
    Other(String),
}

/// Reads a regular file of at most this many bytes. Never waits for a writer, as a named pipe would.
pub(super) fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>, Unreadable> {
    let other = |why: std::io::Error| Unreadable::Other(why.to_string());
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let file = options.open(path).map_err(|why| match why.kind() {
        std::io::ErrorKind::NotFound => Unreadable::Missing,
        _ => other(why),
    })?;
    let about = file.metadata().map_err(other)?;
    if !about.is_file() {
        let why = "it is a folder, a named pipe or a device; give a regular file";
        return Err(Unreadable::Other(why.to_owned()));
    }
    let mut bytes = Vec::new();
    // Some files say that they have no bytes, and others grow.
    if about.len() <= max_bytes {
        file.take(max_bytes + 1).read_to_end(&mut bytes).map_err(other)?;
    }
    let size = about.len().max(bytes.len() as u64);
    if size > max_bytes {
        return Err(Unreadable::Other(format!("it has {size} bytes or more (limit {max_bytes})")));
    }
    Ok(bytes)
}
