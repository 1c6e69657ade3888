//! A reader of a server's frames that checks every rule of RFC 6455 §5, and the few frames that a client sends.
//!
//! The payload of audio is counted, not copied. The crate's own endpoint returns whole messages, which would cost
//! a copy and an allocation for each frame.

/// A broken rule of the protocol, in words.
pub(super) type BrokenRule = &'static str;

pub(super) const TEXT: u8 = 1;
const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// Longest header of an unmasked frame, in bytes.
const MAX_HEADER_BYTES: usize = 10;

/// Longest payload of a control frame, in bytes (RFC 6455 §5.5).
const MAX_CONTROL_BYTES: usize = 125;

/// Next part of the data received.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FramePart<'a> {
    /// Number of bytes of a binary message; true if they are its last.
    Audio { bytes: usize, is_end: bool },
    /// Piece of a text message; true if it is its last.
    Text { bytes: &'a [u8], is_end: bool },
    /// Whole control frame.
    Control { opcode: u8, payload: &'a [u8] },
}

/// Position in a server's stream of frames.
#[derive(Debug)]
pub(super) struct Frames {
    header: [u8; MAX_HEADER_BYTES],
    header_len: usize,
    /// Opcode of the current frame; 0 for a continuation.
    opcode: u8,
    is_final: bool,
    /// Payload bytes of the current frame that have not arrived.
    remaining: u64,
    /// True inside of a frame.
    is_in_frame: bool,
    /// Opcode of the current fragmented message, or 0.
    message: u8,
    control: [u8; MAX_CONTROL_BYTES],
    control_len: usize,
}

impl Frames {
    pub(super) fn new() -> Frames {
        Frames {
            header: [0; MAX_HEADER_BYTES],
            header_len: 0,
            opcode: 0,
            is_final: true,
            remaining: 0,
            is_in_frame: false,
            message: 0,
            control: [0; MAX_CONTROL_BYTES],
            control_len: 0,
        }
    }

    /// Takes the next part from the front of `input`; `None` once `input` is empty.
    pub(super) fn next<'s, 'i: 's>(
        &'s mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<FramePart<'s>>, BrokenRule> {
        if !self.is_in_frame && !self.begin(input)? {
            return Ok(None);
        }
        let here = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(input.len());
        if here == 0 && self.remaining > 0 {
            return Ok(None);
        }
        let (payload, rest) = input.split_at(here);
        *input = rest;
        self.remaining -= here as u64;
        self.is_in_frame = self.remaining > 0;
        if self.opcode >= CLOSE {
            self.control[self.control_len..self.control_len + here].copy_from_slice(payload);
            self.control_len += here;
            if self.is_in_frame {
                return Ok(None);
            }
            let len = std::mem::take(&mut self.control_len);
            return Ok(Some(FramePart::Control { opcode: self.opcode, payload: &self.control[..len] }));
        }
        let is_end = self.is_final && !self.is_in_frame;
        let message = if self.opcode == 0 { self.message } else { self.opcode };
        if is_end {
            self.message = 0;
        }
        Ok(Some(match message {
            TEXT => FramePart::Text { bytes: payload, is_end },
            _ => FramePart::Audio { bytes: here, is_end },
        }))
    }

    /// Reads a header. True once it is complete.
    fn begin(&mut self, input: &mut &[u8]) -> Result<bool, BrokenRule> {
        loop {
            let need = match self.header_len {
                0 | 1 => 2,
                _ => 2 + extended_bytes(self.header[1]),
            };
            if self.header_len >= need {
                break;
            }
            let here = (need - self.header_len).min(input.len());
            if here == 0 {
                return Ok(false);
            }
            let (bytes, rest) = input.split_at(here);
            self.header[self.header_len..self.header_len + here].copy_from_slice(bytes);
            self.header_len += here;
            *input = rest;
        }
        let len = std::mem::take(&mut self.header_len);
        self.judge(len)?;
        self.is_in_frame = true;
        Ok(true)
    }

    /// Checks a complete header.
    fn judge(&mut self, header_len: usize) -> Result<(), BrokenRule> {
        let [first, second, ..] = self.header;
        let (opcode, is_final) = (first & 0x0f, first & 0x80 != 0);
        let extended = &self.header[2..header_len];
        let len = match extended.len() {
            0 => u64::from(second & 0x7f),
            _ => extended.iter().fold(0, |len, byte| len << 8 | u64::from(*byte)),
        };
        if first & 0x70 != 0 {
            return Err("a reserved bit is set");
        }
        if second & 0x80 != 0 {
            return Err("a server's frame is masked");
        }
        if extended.len() == 2 && len < 126 || extended.len() == 8 && len <= 0xffff {
            return Err("a length is not in its shortest form");
        }
        if len >> 63 == 1 {
            return Err("a length is negative");
        }
        match opcode {
            0 if self.message == 0 => return Err("a continuation without a message"),
            TEXT | BINARY if self.message != 0 => return Err("a message begins inside of another"),
            0 | TEXT | BINARY => {}
            CLOSE..=PONG if !is_final => return Err("a control frame is fragmented"),
            CLOSE..=PONG if len > MAX_CONTROL_BYTES as u64 => return Err("a control frame is too long"),
            CLOSE..=PONG => {}
            _ => return Err("an opcode is reserved"),
        }
        if matches!(opcode, TEXT | BINARY) && !is_final {
            self.message = opcode;
        }
        (self.opcode, self.is_final, self.remaining) = (opcode, is_final, len);
        Ok(())
    }
}

fn extended_bytes(second: u8) -> usize {
    match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    }
}

/// Returns the code in the payload of a Close frame (RFC 6455 §5.5.1); `None` if the payload is empty.
pub(super) fn close_code(payload: &[u8]) -> Result<Option<u16>, BrokenRule> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err("a Close has half a code") };
    };
    let code = u16::from_be_bytes(*code);
    match code {
        1000..=1003 | 1007..=1014 | 3000..=4999 => {}
        _ => return Err("a Close has a code that must not be sent"),
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(Some(code)),
        Err(_) => Err("a Close has a reason that is not UTF-8"),
    }
}

/// Appends a client's frame, unfragmented and masked with this key (RFC 6455 §5.3).
pub(super) fn push(opcode: u8, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the parts of a stream of bytes that arrives in pieces of this size.
    fn read(bytes: &[u8], piece: usize) -> Result<Vec<String>, BrokenRule> {
        let mut frames = Frames::new();
        let (mut seen, mut audio, mut text) = (Vec::new(), 0, Vec::new());
        for mut input in bytes.chunks(piece) {
            while let Some(part) = frames.next(&mut input)? {
                match part {
                    FramePart::Audio { bytes, is_end } => {
                        audio += bytes;
                        if is_end {
                            seen.push(format!("audio {}", std::mem::take(&mut audio)));
                        }
                    }
                    FramePart::Text { bytes, is_end } => {
                        text.extend_from_slice(bytes);
                        if is_end {
                            seen.push(format!("text {}", text.escape_ascii()));
                            text.clear();
                        }
                    }
                    FramePart::Control { opcode, payload } => {
                        seen.push(format!("{opcode} {}", payload.escape_ascii()));
                    }
                }
            }
        }
        Ok(seen)
    }

    fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        push(0, payload, [0; 4], &mut frame);
        let header = frame.len() - payload.len() - 4;
        frame.drain(header..header + 4);
        frame[0] = first;
        frame[1] &= 0x7f;
        frame
    }

    #[test]
    fn frames_are_read_whatever_they_are_cut_into() {
        let stream = [
            plain(0x81, b"hello"),
            plain(0x82, &[7; 126]),
            plain(0x82, &[]),
            plain(0x01, b"one "),
            plain(0x89, b"ping"),
            plain(0x00, b""),
            plain(0x80, b"message"),
            plain(0x02, &[1; 70_000]),
            plain(0x80, &[2; 300]),
            plain(0x88, b"\x03\xe8"),
        ]
        .concat();
        let expected = [
            "text hello",
            "audio 126",
            "audio 0",
            "9 ping",
            "text one message",
            "audio 70300",
            "8 \\x03\\xe8",
        ];
        for piece in [1, 2, 3, 7, 10, 11, 128, 65_536, stream.len()] {
            assert_eq!(read(&stream, piece).unwrap(), expected, "{piece}");
        }
    }

    #[test]
    fn every_break_of_the_protocol_is_found() {
        let table: &[(&[u8], BrokenRule)] = &[
            (&[0xc2, 0], "a reserved bit is set"),
            (&[0x92, 0], "a reserved bit is set"),
            (&[0x83, 0], "an opcode is reserved"),
            (&[0x8b, 0], "an opcode is reserved"),
            (&[0x82, 0x80, 0, 0, 0, 0], "a server's frame is masked"),
            (&[0x09, 0], "a control frame is fragmented"),
            (&[0x89, 126, 0, 126], "a control frame is too long"),
            (&[0x80, 0], "a continuation without a message"),
            (&[0x02, 1, 0, 0x82, 0], "a message begins inside of another"),
            (&[0x02, 0, 0x01, 0], "a message begins inside of another"),
            (&[0x82, 126, 0, 125], "a length is not in its shortest form"),
            (&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], "a length is not in its shortest form"),
            (&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], "a length is negative"),
        ];
        for (bytes, expected) in table {
            for piece in 1..=bytes.len() {
                assert_eq!(read(bytes, piece), Err(*expected), "{bytes:x?} by {piece}");
            }
        }
        assert_eq!(close_code(b""), Ok(None));
        assert_eq!(close_code(b"\x03\xe8"), Ok(Some(1000)));
        assert_eq!(close_code(b"\x11\x39why"), Ok(Some(4409)));
        assert_eq!(close_code(b"\x03"), Err("a Close has half a code"));
        assert_eq!(close_code(b"\x03\xed"), Err("a Close has a code that must not be sent"));
        assert_eq!(close_code(b"\x03\xe8\xff"), Err("a Close has a reason that is not UTF-8"));
    }
}
