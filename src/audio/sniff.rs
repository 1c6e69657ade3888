//! Recognises content that is neither a WAV nor raw samples: files of other kinds, and text such as a
//! page of HTML that explains why there is no audio.

/// Number of first bytes that are inspected: 3 ms of most audio.
const INSPECTED: usize = 128;

/// Kind of content.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    /// Nothing that is recognised, so it may be raw samples.
    Samples,
    /// A file of this kind.
    File(&'static str),
    /// Text of this kind, which begins so.
    Text(&'static str, &'a str),
}

/// Recognises content by its first bytes. `None` if more bytes are needed; `at_end` says that no more
/// follow.
pub(crate) fn recognise(bytes: &[u8], at_end: bool) -> Option<Content<'_>> {
    if bytes.is_empty() || (bytes.len() < INSPECTED && !at_end) {
        return None;
    }
    let first = &bytes[..bytes.len().min(INSPECTED)];
    if let Some(kind) = file_kind(first) {
        return Some(Content::File(kind));
    }
    if let Some(text) = text(first) {
        return Some(Content::Text(text_kind(text), text));
    }
    Some(if is_mp3(bytes, at_end)? { Content::File("MP3") } else { Content::Samples })
}

/// Kind of file, by its first bytes.
fn file_kind(first: &[u8]) -> Option<&'static str> {
    let table: [(&[u8], &str); 8] = [
        (b"OggS", "Ogg"),
        (b"fLaC", "FLAC"),
        (b"ID3", "MP3"),
        (b"\x1a\x45\xdf\xa3", "WebM"),
        (b"FORM", "AIFF"),
        (b".snd", "an AU file"),
        (b"RIFX", "a big-endian WAV"),
        (b"RIFF", "a RIFF file other than WAV"),
    ];
    let kind = table.into_iter().find(|(magic, _)| first.starts_with(magic)).map(|(_, kind)| kind);
    kind.or_else(|| (first.get(4..8) == Some(b"ftyp")).then_some("MP4"))
}

/// Returns the bytes as text, if they are text. The last character may be cut.
fn text(first: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(first) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&first[..error.valid_up_to()]).unwrap_or("")
        }
        Err(_) => return None,
    };
    let is_printable = text.chars().all(|c| !c.is_control() || "\t\r\n".contains(c));
    // The same byte throughout is silence in some encodings: in A-law it reads UUUU.
    let is_varied = first.iter().any(|&byte| byte != first[0]);
    (is_printable && is_varied && !text.is_empty()).then_some(text)
}

/// Kind of text, by its first character.
fn text_kind(text: &str) -> &'static str {
    match text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}').chars().next() {
        Some('<') => "HTML or XML",
        Some('{' | '[') => "JSON",
        _ => "text",
    }
}

/// True if this is MP3 without a title: three frames in a row, each where the one before it ends.
/// `None` if more bytes are needed.
///
/// One frame is not enough, because samples may look like the beginning of a frame.
fn is_mp3(bytes: &[u8], at_end: bool) -> Option<bool> {
    let mut at = 0;
    for frame in 0..3 {
        match bytes.get(at..at + 4) {
            Some(&[a, b, c, _]) => match mp3_frame_bytes([a, b, c]) {
                Some(length) => at += length,
                None => return Some(false),
            },
            // Samples as short as this are not audible either.
            _ => return at_end.then_some(frame > 0),
        }
    }
    Some(true)
}

/// Length of the MP3 frame with this header (ISO/IEC 11172-3 §2.4.2.3, 13818-3 §2.4.2.3).
fn mp3_frame_bytes([a, b, c]: [u8; 3]) -> Option<usize> {
    const KBITS: [usize; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const KBITS_OF_2: [usize; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let (version, layer) = (b >> 3 & 3, b >> 1 & 3);
    if a != 0xff || b < 0xe0 || layer != 1 {
        return None;
    }
    let rate = *[44_100, 48_000, 32_000].get(usize::from(c >> 2 & 3))?;
    let bitrate = usize::from(c >> 4).checked_sub(1)?;
    let padding = usize::from(c >> 1 & 1);
    match version {
        3 => Some(144_000 * KBITS.get(bitrate)? / rate + padding),
        2 => Some(72_000 * KBITS_OF_2.get(bitrate)? / (rate / 2) + padding),
        0 => Some(72_000 * KBITS_OF_2.get(bitrate)? / (rate / 4) + padding),
        _ => None,
    }
}
