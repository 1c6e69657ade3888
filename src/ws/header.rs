//! Frame headers (RFC 6455 §5.2): one function reads them, one writes them. Server, client and `bench`
//! use both.
//!
//! This module has no I/O, and knows no payload.

use crate::ws::endpoint::Role;

/// Opcode of a frame that continues a message.
pub const CONTINUATION: u8 = 0;
/// Opcode of a text frame.
pub const TEXT: u8 = 1;
/// Opcode of a binary frame.
pub const BINARY: u8 = 2;
/// Opcode of a Close frame, the first of the control frames.
pub const CLOSE: u8 = 8;
/// Opcode of a Ping.
pub const PING: u8 = 9;
/// Opcode of a Pong.
pub const PONG: u8 = 10;

/// Bit of the first byte that marks the last frame of a message.
pub const FIN: u8 = 0x80;

/// Bit of the second byte that announces a mask.
const MASKED: u8 = 0x80;

/// Bytes of a mask.
const MASK_BYTES: usize = 4;

/// Longest payload of a control frame, in bytes (RFC 6455 §5.5).
pub const MAX_CONTROL_BYTES: usize = 125;

/// Longest header without a mask, in bytes.
pub const MAX_BYTES: usize = 10;

/// A header up to its mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Kind of the frame.
    pub opcode: u8,
    /// Opcode of the message that the frame belongs to; for a control frame its own.
    pub message: u8,
    /// True if the frame is the last of its message.
    pub is_final: bool,
    /// Length of the payload in bytes.
    pub payload_bytes: u64,
}

impl Header {
    /// True if the frame is a Close, a Ping or a Pong.
    pub fn is_control(&self) -> bool {
        self.opcode >= CLOSE
    }
}

/// Reads the headers of one peer's frames, and checks every rule that a header alone decides.
#[derive(Debug)]
pub struct Reader {
    /// The end that reads.
    role: Role,
    bytes: [u8; MAX_BYTES],
    len: usize,
    /// Opcode of the fragmented message under way.
    message: Option<u8>,
}

impl Reader {
    /// A reader for the end with this role.
    pub fn new(role: Role) -> Reader {
        Reader { role, bytes: [0; MAX_BYTES], len: 0, message: None }
    }

    /// True if no header has begun, and no fragmented message.
    pub(super) fn is_between_messages(&self) -> bool {
        self.len == 0 && self.message.is_none()
    }

    /// Takes the bytes of a header off the front of `input`, up to its mask. Returns `None` if the rest
    /// is still to come. A rule is checked as soon as the bytes are there that it is about.
    ///
    /// # Errors
    /// The rule that the peer broke, as a sentence. The last byte that was taken broke it.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Header>, &'static str> {
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            self.bytes[self.len] = *byte;
            self.len += 1;
            match self.len {
                1 => self.check_first()?,
                2 => self.check_second()?,
                _ => {}
            }
            if self.len >= 2 && self.len == 2 + extended_bytes(self.bytes[1]) {
                self.len = 0;
                return self.finish().map(Some);
            }
        }
        Ok(None)
    }

    fn check_first(&self) -> Result<(), &'static str> {
        let first = self.bytes[0];
        let opcode = first & 0x0f;
        if first & 0x70 != 0 {
            return Err("A reserved bit is set, but no extension was agreed on.");
        }
        match opcode {
            3..=7 | 11.. => Err("The opcode is reserved."),
            CLOSE..=PONG if first & FIN == 0 => Err("A control frame must not be fragmented."),
            CONTINUATION if self.message.is_none() => {
                Err("A continuation frame without a message to continue.")
            }
            TEXT | BINARY if self.message.is_some() => Err("A new message inside of a fragmented one."),
            _ => Ok(()),
        }
    }

    fn check_second(&self) -> Result<(), &'static str> {
        let [first, second, ..] = self.bytes;
        match (self.role, second & MASKED != 0) {
            (Role::Server, false) => return Err("A client must mask its frames."),
            (Role::Client, true) => return Err("A server must not mask its frames."),
            _ => {}
        }
        if first & 0x0f >= CLOSE && usize::from(second & !MASKED) > MAX_CONTROL_BYTES {
            return Err("A control frame carries at most 125 bytes.");
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Header, &'static str> {
        let [first, second, ..] = self.bytes;
        let extended = extended_bytes(second);
        let payload_bytes = match extended {
            0 => u64::from(second & !MASKED),
            _ => self.bytes[2..2 + extended].iter().fold(0, |len, byte| len << 8 | u64::from(*byte)),
        };
        if extended == 2 && payload_bytes < 126 || extended == 8 && payload_bytes <= 0xffff {
            return Err("A length must be in its shortest form.");
        }
        if payload_bytes >> 63 == 1 {
            return Err("A length must not be negative.");
        }
        let (opcode, is_final) = (first & 0x0f, first & FIN != 0);
        let message = if opcode == CONTINUATION { self.message.unwrap_or(BINARY) } else { opcode };
        if opcode < CLOSE {
            self.message = (!is_final).then_some(message);
        }
        Ok(Header { opcode, message, is_final, payload_bytes })
    }
}

fn extended_bytes(second: u8) -> usize {
    match second & !MASKED {
        126 => 2,
        127 => 8,
        _ => 0,
    }
}

/// A header that was written: its bytes stand at the front.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    bytes: [u8; MAX_BYTES + MASK_BYTES],
    len: usize,
}

impl Written {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Writes the header of a whole message or a control frame. A client gives a mask (RFC 6455 §5.3).
pub fn write(opcode: u8, payload_bytes: usize, mask: Option<[u8; MASK_BYTES]>) -> Written {
    let mut bytes = [0; MAX_BYTES + MASK_BYTES];
    bytes[0] = FIN | opcode;
    let mut len = bytes_without_mask(payload_bytes);
    // The shortest form is the only legal one (RFC 6455 §5.2).
    match len {
        2 => bytes[1] = payload_bytes as u8,
        4 => {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&(payload_bytes as u16).to_be_bytes());
        }
        _ => {
            bytes[1] = 127;
            bytes[2..MAX_BYTES].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
        }
    }
    if let Some(mask) = mask {
        bytes[1] |= MASKED;
        bytes[len..len + MASK_BYTES].copy_from_slice(&mask);
        len += MASK_BYTES;
    }
    Written { bytes, len }
}

/// Length of the header without a mask for a payload of this length, in bytes.
pub fn bytes_without_mask(payload_bytes: usize) -> usize {
    match payload_bytes {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => MAX_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_take_the_shortest_form() {
        let table: [(usize, &[u8]); 6] = [
            (0, &[0x82, 0]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 0xff, 0xff]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (70_000, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]),
        ];
        for (len, expected) in table {
            assert_eq!(write(BINARY, len, None).as_slice(), expected, "{len}");
            let mut masked = expected.to_vec();
            masked[1] |= 0x80;
            masked.extend([1, 2, 3, 4]);
            assert_eq!(write(BINARY, len, Some([1, 2, 3, 4])).as_slice(), masked, "{len}");
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        for (role, mask) in [(Role::Server, Some([9; 4])), (Role::Client, None)] {
            let mut reader = Reader::new(role);
            for payload_bytes in [0, 125, 126, 65_535, 65_536, 1 << 40] {
                let written = write(TEXT, payload_bytes, mask);
                let bytes = written.as_slice();
                for piece in [1, 3, bytes.len()] {
                    let mut found = None;
                    for mut input in bytes[..bytes_without_mask(payload_bytes)].chunks(piece) {
                        found = reader.read(&mut input).unwrap();
                        assert!(input.is_empty());
                    }
                    let payload_bytes = payload_bytes as u64;
                    let header = Header { opcode: TEXT, message: TEXT, is_final: true, payload_bytes };
                    assert_eq!(found, Some(header), "{role:?}, by {piece}");
                }
            }
        }
    }
}
