//! Judges what arrives while it arrives: the rules of RFC 6455 §5 that a header alone decides,
//! UTF-8 byte by byte, and bounds on size and fragments.
//!
//! tungstenite reads whole frames and leaves some rules out: it accepts lengths that are not in
//! their shortest form, puts no bound on the number of fragments, and finds bad text only once
//! its frame is complete. So every byte passes here first, and tungstenite is given only what is
//! sound so far.

use crate::ws::endpoint::{CloseCode, Limits, Role};

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PONG: u8 = 10;

/// Why the connection has to be failed (RFC 6455 §7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) code: CloseCode,
    pub(super) reason: &'static str,
}

fn violation(reason: &'static str) -> Violation {
    Violation { code: CloseCode::PROTOCOL, reason }
}

/// The place in the stream of frames.
#[derive(Debug)]
pub(super) struct Inspector {
    role: Role,
    limits: Limits,
    header: [u8; 14],
    header_len: usize,
    /// Payload bytes of the current frame that are still to come.
    remaining: u64,
    mask: [u8; 4],
    mask_at: usize,
    /// Whether the current frame's payload is text.
    checks_text: bool,
    /// Whether the current frame ends its message.
    is_final: bool,
    /// The opcode of the fragmented message under way.
    message: Option<u8>,
    message_bytes: u64,
    fragments: usize,
    utf8: Utf8,
    /// A Close frame passed: nothing after it counts (RFC 6455 §5.5.1).
    closed: bool,
}

impl Inspector {
    pub(super) fn new(role: Role, limits: Limits) -> Inspector {
        Inspector {
            role,
            limits,
            header: [0; 14],
            header_len: 0,
            remaining: 0,
            mask: [0; 4],
            mask_at: 0,
            checks_text: false,
            is_final: true,
            message: None,
            message_bytes: 0,
            fragments: 0,
            utf8: Utf8::default(),
            closed: false,
        }
    }

    /// Reads on; returns how many of the bytes may be passed on, and why no more if so.
    pub(super) fn inspect(&mut self, bytes: &[u8]) -> (usize, Option<Violation>) {
        let mut at = 0;
        while at < bytes.len() {
            if self.closed && self.remaining == 0 {
                return (at, None);
            }
            if self.remaining > 0 {
                let here = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(bytes.len() - at);
                let payload = &bytes[at..at + here];
                self.remaining -= here as u64;
                at += here;
                if let Err(found) = self.payload(payload) {
                    return (at, Some(found));
                }
                continue;
            }
            self.header[self.header_len] = bytes[at];
            self.header_len += 1;
            at += 1;
            match self.judge() {
                Err(found) => return (at, Some(found)),
                Ok(false) => {}
                Ok(true) => {
                    self.header_len = 0;
                    if self.remaining == 0
                        && let Err(found) = self.payload(&[])
                    {
                        return (at, Some(found));
                    }
                }
            }
        }
        (at, None)
    }

    /// Judges the header as far as it is there; true when it is complete.
    fn judge(&mut self) -> Result<bool, Violation> {
        let header = self.header;
        let h = &header[..self.header_len];
        let opcode = h[0] & 0x0f;
        let is_control = opcode >= CLOSE;
        let is_final = h[0] & 0x80 != 0;
        if h.len() == 1 {
            if h[0] & 0x70 != 0 {
                return Err(violation("A reserved bit is set, but no extension was agreed on."));
            }
            if (3..=7).contains(&opcode) || opcode > PONG {
                return Err(violation("The opcode is reserved."));
            }
            if is_control && !is_final {
                return Err(violation("A control frame must not be fragmented."));
            }
            if opcode == CONTINUATION && self.message.is_none() {
                return Err(violation("A continuation frame without a message to continue."));
            }
            if (opcode == TEXT || opcode == BINARY) && self.message.is_some() {
                return Err(violation("A new message inside of a fragmented one."));
            }
            return Ok(false);
        }
        let masked = h[1] & 0x80 != 0;
        let short = h[1] & 0x7f;
        if h.len() == 2 {
            if masked != (self.role == Role::Server) {
                return Err(violation(match self.role {
                    Role::Server => "A client must mask its frames.",
                    Role::Client => "A server must not mask its frames.",
                }));
            }
            if is_control && short > 125 {
                return Err(violation("A control frame carries at most 125 bytes."));
            }
        }
        let extended = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if h.len() < 2 + extended {
            return Ok(false);
        }
        let len = match extended {
            0 => u64::from(short),
            _ => h[2..2 + extended].iter().fold(0u64, |len, b| len << 8 | u64::from(*b)),
        };
        if h.len() == 2 + extended {
            if extended == 2 && len < 126 || extended == 8 && len <= 0xffff {
                return Err(violation("A length must be in its shortest form."));
            }
            if len >> 63 == 1 {
                return Err(violation("A length must not be negative."));
            }
            if !is_control {
                self.count(opcode, len, is_final)?;
            }
        }
        let mask_len = if masked { 4 } else { 0 };
        if h.len() < 2 + extended + mask_len {
            return Ok(false);
        }
        self.mask = [0; 4];
        self.mask[..mask_len].copy_from_slice(&h[2 + extended..2 + extended + mask_len]);
        self.mask_at = 0;
        self.remaining = len;
        self.is_final = is_final;
        self.closed |= opcode == CLOSE;
        self.checks_text = opcode == TEXT || opcode == CONTINUATION && self.message == Some(TEXT);
        match opcode {
            TEXT | BINARY if !is_final => self.message = Some(opcode),
            CONTINUATION if is_final => self.message = None,
            _ => {}
        }
        Ok(true)
    }

    /// Adds a data frame to its message, before any of its payload is there.
    fn count(&mut self, opcode: u8, len: u64, is_final: bool) -> Result<(), Violation> {
        if opcode != CONTINUATION {
            self.message_bytes = 0;
            self.fragments = 0;
        }
        self.message_bytes = self.message_bytes.saturating_add(len);
        self.fragments += 1;
        if self.message_bytes > self.limits.max_message_bytes as u64 {
            let reason = "The message is over the size limit.";
            return Err(Violation { code: CloseCode::TOO_BIG, reason });
        }
        if self.fragments > self.limits.max_fragments && !is_final {
            let reason = "The message has too many fragments.";
            return Err(Violation { code: CloseCode::POLICY, reason });
        }
        Ok(())
    }

    fn payload(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        if !self.checks_text {
            return Ok(());
        }
        let mut sound = true;
        for &byte in bytes {
            sound &= self.utf8.push(byte ^ self.mask[self.mask_at & 3]);
            if !sound {
                break;
            }
            self.mask_at += 1;
        }
        if self.remaining == 0 && self.is_final {
            sound &= self.utf8.is_complete();
            self.utf8 = Utf8::default();
        }
        if sound {
            return Ok(());
        }
        Err(Violation { code: CloseCode::INVALID_PAYLOAD, reason: "Text must be valid UTF-8." })
    }
}

/// UTF-8 (RFC 3629 §4) one byte at a time: what the next byte has to be.
#[derive(Clone, Copy, Debug, Default)]
struct Utf8 {
    /// Continuation bytes still to come.
    pending: u8,
    /// Bounds of the next one where they are narrower than 80..BF: against overlong forms,
    /// surrogates, and what lies above U+10FFFF.
    narrower: Option<(u8, u8)>,
}

impl Utf8 {
    /// Takes a byte; false if no valid text goes on like this.
    fn push(&mut self, byte: u8) -> bool {
        if self.pending > 0 {
            let (low, high) = self.narrower.take().unwrap_or((0x80, 0xbf));
            self.pending -= 1;
            return (low..=high).contains(&byte);
        }
        (self.pending, self.narrower) = match byte {
            0x00..=0x7f => (0, None),
            0xc2..=0xdf => (1, None),
            0xe0 => (2, Some((0xa0, 0xbf))),
            0xed => (2, Some((0x80, 0x9f))),
            0xe1..=0xef => (2, None),
            0xf0 => (3, Some((0x90, 0xbf))),
            0xf1..=0xf3 => (3, None),
            0xf4 => (3, Some((0x80, 0x8f))),
            _ => return false,
        };
        true
    }

    fn is_complete(self) -> bool {
        self.pending == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every sequence of up to four bytes that matters: the checker agrees with the standard
    /// library on what is valid, and on what no further byte can make valid.
    #[test]
    fn utf8_agrees_with_the_standard_library() {
        let edges = [
            0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec,
            0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
        ];
        let check = |bytes: &[u8]| {
            let mut utf8 = Utf8::default();
            let viable = bytes.iter().all(|&byte| utf8.push(byte));
            match std::str::from_utf8(bytes) {
                Ok(_) => assert!(viable && utf8.is_complete(), "{bytes:x?}"),
                // Cut in the middle of a character: more may come.
                Err(error) if error.error_len().is_none() => {
                    assert!(viable && !utf8.is_complete(), "{bytes:x?}");
                }
                Err(_) => assert!(!viable, "{bytes:x?}"),
            }
        };
        for a in edges {
            check(&[a]);
            for b in edges {
                check(&[a, b]);
                for c in edges {
                    check(&[a, b, c]);
                    for d in edges {
                        check(&[a, b, c, d]);
                    }
                }
            }
        }
    }
}
