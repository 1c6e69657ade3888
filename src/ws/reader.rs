//! Checks what arrives while it arrives: headers, UTF-8 byte by byte, and limits on size and fragments.
//!
//! Headers are parsed here and again by tungstenite, for two reasons. First, tungstenite leaves rules out:
//! it accepts lengths that are not in their shortest form, has no limit on the number of fragments, and
//! finds invalid text only when its frame is complete. So each byte passes here first, and tungstenite
//! only gets bytes that are valid so far. Second, tungstenite takes nothing but bytes: its
//! `WebSocketContext` reads from a `Read` and parses the header itself, and no function takes a header
//! or a frame that was parsed already (0.30). Its header costs a few nanoseconds a frame; a client sends
//! few.

use crate::ws::endpoint::{CloseCode, Limits, Role};
use crate::ws::header::{CLOSE, CONTINUATION, Header, Reader, TEXT};

/// The reason for which the connection must be failed (RFC 6455 §7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) code: CloseCode,
    pub(super) reason: &'static str,
}

/// The place in the stream of frames.
#[derive(Debug)]
enum Place {
    Header,
    /// A mask; so many of its bytes have come.
    Mask(usize),
    Payload,
}

/// Checks the frames of one peer.
#[derive(Debug)]
pub(super) struct Inspector {
    role: Role,
    limits: Limits,
    reader: Reader,
    place: Place,
    /// Payload bytes of the current frame that are still to come.
    remaining: u64,
    mask: [u8; 4],
    mask_at: usize,
    /// True if the current frame's payload is text.
    is_text: bool,
    /// True if the current frame ends its message.
    is_final: bool,
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
            reader: Reader::new(role),
            place: Place::Header,
            remaining: 0,
            mask: [0; 4],
            mask_at: 0,
            is_text: false,
            is_final: true,
            message_bytes: 0,
            fragments: 0,
            utf8: Utf8::default(),
            closed: false,
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// True if no part of a message or of a frame has come behind the last message.
    pub(super) fn is_between_messages(&self) -> bool {
        matches!(self.place, Place::Header) && self.reader.is_between_messages()
    }

    /// Checks the next bytes. Returns how many of them may be passed on, and the violation that stands
    /// behind them.
    pub(super) fn inspect(&mut self, bytes: &[u8]) -> (usize, Option<Violation>) {
        let mut rest = bytes;
        loop {
            let checked = self.inspect_next(&mut rest);
            let count = bytes.len() - rest.len();
            match checked {
                Ok(true) => {}
                Ok(false) => return (count, None),
                Err(violation) => return (count, Some(violation)),
            }
        }
    }

    /// Takes a header, a mask or a part of a payload off the front. False if there is no more to take.
    fn inspect_next(&mut self, rest: &mut &[u8]) -> Result<bool, Violation> {
        match &mut self.place {
            Place::Header => {
                if self.closed || rest.is_empty() {
                    return Ok(false);
                }
                let protocol = |reason| Violation { code: CloseCode::PROTOCOL, reason };
                if let Some(header) = self.reader.read(rest).map_err(protocol)? {
                    self.begin(header)?;
                }
            }
            Place::Mask(count) => {
                let (bytes, behind) = rest.split_at((4 - *count).min(rest.len()));
                self.mask[*count..*count + bytes.len()].copy_from_slice(bytes);
                *rest = behind;
                *count += bytes.len();
                if *count < 4 {
                    return Ok(false);
                }
                self.begin_payload()?;
            }
            Place::Payload => {
                let here = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(rest.len());
                if here == 0 {
                    return Ok(false);
                }
                let (payload, behind) = rest.split_at(here);
                *rest = behind;
                self.remaining -= here as u64;
                if self.remaining == 0 {
                    self.place = Place::Header;
                }
                self.payload(payload)?;
            }
        }
        Ok(true)
    }

    /// Begins a frame.
    fn begin(&mut self, header: Header) -> Result<(), Violation> {
        if !header.is_control() {
            self.count(&header)?;
        }
        self.remaining = header.payload_bytes;
        self.is_final = header.is_final;
        self.closed |= header.opcode == CLOSE;
        self.is_text = header.message == TEXT;
        self.mask = [0; 4];
        self.mask_at = 0;
        match self.role {
            Role::Server => self.place = Place::Mask(0),
            Role::Client => self.begin_payload()?,
        }
        Ok(())
    }

    fn begin_payload(&mut self) -> Result<(), Violation> {
        self.place = Place::Payload;
        if self.remaining > 0 {
            return Ok(());
        }
        self.place = Place::Header;
        self.payload(&[])
    }

    /// Adds a data frame to its message before any of its payload arrives.
    fn count(&mut self, header: &Header) -> Result<(), Violation> {
        if header.opcode != CONTINUATION {
            self.message_bytes = 0;
            self.fragments = 0;
        }
        self.message_bytes = self.message_bytes.saturating_add(header.payload_bytes);
        self.fragments += 1;
        if self.message_bytes > self.limits.max_message_bytes as u64 {
            let reason = "The message is over the size limit.";
            return Err(Violation { code: CloseCode::TOO_BIG, reason });
        }
        // Another one follows if this is not the last.
        if self.fragments + usize::from(!header.is_final) > self.limits.max_fragments {
            let reason = "The message has too many fragments.";
            return Err(Violation { code: CloseCode::POLICY, reason });
        }
        Ok(())
    }

    fn payload(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        if !self.is_text {
            return Ok(());
        }
        let mut is_valid = true;
        for &byte in bytes {
            is_valid &= self.utf8.push(byte ^ self.mask[self.mask_at & 3]);
            if !is_valid {
                break;
            }
            self.mask_at += 1;
        }
        if self.remaining == 0 && self.is_final {
            is_valid &= self.utf8.is_complete();
            self.utf8 = Utf8::default();
        }
        if is_valid {
            return Ok(());
        }
        Err(Violation { code: CloseCode::INVALID_PAYLOAD, reason: "Text must be valid UTF-8." })
    }
}

/// The bytes that may come next in UTF-8 (RFC 3629 §4).
#[derive(Clone, Copy, Debug, Default)]
struct Utf8 {
    /// Continuation bytes still to come.
    pending: u8,
    /// Bounds of the next one where they are narrower than 80..BF: against overlong forms, surrogates,
    /// and code points above U+10FFFF.
    narrower: Option<(u8, u8)>,
}

impl Utf8 {
    /// Takes a byte; false if no valid text continues like this.
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
