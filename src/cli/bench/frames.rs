//! Reads a server's frames as they arrive, and checks every rule of RFC 6455 §5. A payload is counted,
//! not copied. Writes the few frames that a client sends.
//!
//! The library's endpoint is not used here: it returns every message whole, which would cost a copy and
//! an allocation for each frame that is only counted.

use aloud::unstable::header::{self, Header, MAX_CONTROL_BYTES, Reader};
pub(super) use aloud::unstable::header::{CLOSE, PING, PONG, TEXT};
use aloud::ws::endpoint::Role;

/// The rule that the server broke, as a sentence.
pub(super) type BrokenRule = &'static str;

/// The next part of the bytes that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FramePart<'a> {
    /// Bytes of a binary message; `is_end` if they are its last.
    Audio { bytes: usize, is_end: bool },
    /// A piece of a text message; `is_end` if it is its last.
    Text { bytes: &'a [u8], is_end: bool },
    /// A whole control frame.
    Control { opcode: u8, payload: &'a [u8] },
}

/// The place in a server's stream of frames.
#[derive(Debug)]
pub(super) struct Frames {
    reader: Reader,
    /// The frame whose payload comes next.
    frame: Option<Header>,
    /// Payload bytes of it that are still to come.
    remaining: u64,
    control: [u8; MAX_CONTROL_BYTES],
    control_len: usize,
}

impl Frames {
    pub(super) fn new() -> Frames {
        Frames {
            reader: Reader::new(Role::Client),
            frame: None,
            remaining: 0,
            control: [0; MAX_CONTROL_BYTES],
            control_len: 0,
        }
    }

    /// Takes the next part off the front of `input`; `None` once it is used up.
    pub(super) fn next<'s, 'i: 's>(
        &'s mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<FramePart<'s>>, BrokenRule> {
        let frame = match self.frame {
            Some(frame) => frame,
            None => {
                let Some(header) = self.reader.read(input)? else { return Ok(None) };
                self.remaining = header.payload_bytes;
                *self.frame.insert(header)
            }
        };
        let here = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(input.len());
        if here == 0 && self.remaining > 0 {
            return Ok(None);
        }
        let (payload, rest) = input.split_at(here);
        *input = rest;
        self.remaining -= here as u64;
        let is_whole = self.remaining == 0;
        if is_whole {
            self.frame = None;
        }
        if frame.is_control() {
            self.control[self.control_len..self.control_len + here].copy_from_slice(payload);
            self.control_len += here;
            if !is_whole {
                return Ok(None);
            }
            let len = std::mem::take(&mut self.control_len);
            return Ok(Some(FramePart::Control { opcode: frame.opcode, payload: &self.control[..len] }));
        }
        let is_end = frame.is_final && is_whole;
        Ok(Some(match frame.message {
            TEXT => FramePart::Text { bytes: payload, is_end },
            _ => FramePart::Audio { bytes: here, is_end },
        }))
    }
}

/// The code of a Close frame's payload (RFC 6455 §5.5.1); `None` where there is none.
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

/// Appends a client's frame: whole, and masked with this key (RFC 6455 §5.3).
pub(super) fn push(opcode: u8, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    out.extend_from_slice(header::write(opcode, payload.len(), Some(mask)).as_slice());
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of a stream of bytes that comes in pieces of this size.
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
            (&[0xc2, 0], "A reserved bit is set, but no extension was agreed on."),
            (&[0x92, 0], "A reserved bit is set, but no extension was agreed on."),
            (&[0x83, 0], "The opcode is reserved."),
            (&[0x8b, 0], "The opcode is reserved."),
            (&[0x82, 0x80, 0, 0, 0, 0], "A server must not mask its frames."),
            (&[0x09, 0], "A control frame must not be fragmented."),
            (&[0x89, 126, 0, 126], "A control frame carries at most 125 bytes."),
            (&[0x80, 0], "A continuation frame without a message to continue."),
            (&[0x02, 1, 0, 0x82, 0], "A new message inside of a fragmented one."),
            (&[0x02, 0, 0x01, 0], "A new message inside of a fragmented one."),
            (&[0x82, 126, 0, 125], "A length must be in its shortest form."),
            (&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], "A length must be in its shortest form."),
            (&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], "A length must not be negative."),
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
