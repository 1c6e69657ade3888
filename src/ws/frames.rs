//! Outgoing data frames (RFC 6455 §5.2), and the batch that leaves in one write.
//!
//! This module knows bytes and lengths only. A small payload is copied behind its header, a large one stays where
//! it is and is named to the kernel. Neither decides the cost of a stream: the number of writes does. So
//! everything that is ready is collected here first.

use crate::ws::header::{self, BINARY, TEXT};
use hyper::body::Bytes;
use std::io::IoSlice;

/// Most wire bytes of one batch: enough to make the cost of the write disappear, and few enough that one
/// stream does not hold up the others. A kernel sends that much as one segment and leaves it to the
/// network card to cut it (45 packets of 1,448 bytes; over a loopback a few more). A write that is a
/// little longer costs as much again for the rest.
const BATCH_BYTES: usize = 45 * 1_448;

/// Smallest payload that is not copied into the batch, in bytes. Below it a copy costs less than two
/// more slices cost the kernel: a quarter of a frame's whole cost at 4,800 bytes.
const COPY_BELOW: usize = 8 * 1024;

/// Most slices of one vectored write: header and payload of each large frame, and the bytes between.
const MAX_SLICES: usize = 32;

/// Appends one whole, unmasked data frame.
pub(crate) fn push_frame(text: bool, payload: &[u8], out: &mut Vec<u8>) {
    let header = header::write(if text { TEXT } else { BINARY }, payload.len(), None);
    out.extend_from_slice(header.as_slice());
    out.extend_from_slice(payload);
}

/// Everything that leaves in one write. It is collected, offered to the socket, and cut where the socket
/// stopped. One per thread serves all connections, since it is empty between two writes.
#[derive(Debug)]
pub struct Batch {
    /// Headers, and the payloads that were copied.
    buffer: Vec<u8>,
    /// Payloads that stay where they are, each behind a position of `buffer`.
    borrowed: Vec<Borrowed>,
    /// Chunks that `borrowed` points into.
    chunks: Vec<Bytes>,
    pieces: Vec<Piece>,
    wire_bytes: usize,
    /// Most wire bytes, up to [`BATCH_BYTES`].
    most: usize,
    /// A frame was left out because the batch had no room for it.
    has_refused: bool,
}

#[derive(Clone, Copy, Debug)]
struct Borrowed {
    behind: usize,
    chunk: usize,
    start: usize,
    end: usize,
}

/// A message, or a run of audio frames of one size, except for the last.
#[derive(Clone, Copy, Debug)]
struct Piece {
    wire_bytes: usize,
    /// Wire bytes of one frame of the run.
    frame_wire_bytes: usize,
    /// Payload bytes of one frame of the run.
    frame_bytes: usize,
    /// Payload bytes of the whole run; `None` for a message, which is sent whole or not at all.
    audio_bytes: Option<usize>,
}

/// A part of the stream that the peer has once the unsent rest of the batch has left, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// One control message.
    Message,
    /// This many bytes of audio, in whole frames.
    Audio(usize),
}

impl Default for Batch {
    fn default() -> Batch {
        Batch {
            buffer: Vec::new(),
            borrowed: Vec::new(),
            chunks: Vec::new(),
            pieces: Vec::new(),
            wire_bytes: 0,
            most: BATCH_BYTES,
            has_refused: false,
        }
    }
}

impl Batch {
    /// Limits the batch to this many wire bytes, until it is cleared. A batch always has room for one frame.
    pub fn limit(&mut self, wire_bytes: usize) {
        self.most = wire_bytes.min(BATCH_BYTES);
    }

    /// Empties the batch: keeps its buffers, and drops the audio.
    pub fn clear(&mut self) {
        self.most = BATCH_BYTES;
        self.buffer.clear();
        self.borrowed.clear();
        self.chunks.clear();
        self.pieces.clear();
        self.wire_bytes = 0;
        self.has_refused = false;
    }

    /// True if it is empty.
    pub fn is_empty(&self) -> bool {
        self.wire_bytes == 0
    }

    /// Wire bytes collected so far.
    pub fn len(&self) -> usize {
        self.wire_bytes
    }

    /// True if nothing more should be added.
    pub fn is_full(&self) -> bool {
        self.has_refused || self.wire_bytes >= self.most
    }

    /// Adds bytes that are framed already: the rest of an earlier write, and control frames. They come
    /// before everything else, and [`sent`](Self::sent) does not report them.
    pub fn push_raw(&mut self, bytes: &[u8]) {
        debug_assert!(self.pieces.is_empty(), "raw bytes come first");
        self.buffer.extend_from_slice(bytes);
        self.wire_bytes += bytes.len();
    }

    /// Adds one text message.
    pub fn push_text(&mut self, text: &str) {
        let before = self.buffer.len();
        push_frame(true, text.as_bytes(), &mut self.buffer);
        let wire_bytes = self.buffer.len() - before;
        self.wire_bytes += wire_bytes;
        self.pieces.push(Piece {
            wire_bytes,
            frame_wire_bytes: wire_bytes,
            frame_bytes: 0,
            audio_bytes: None,
        });
    }

    /// Cuts `chunk` from `start` on into frames of `frame_bytes`, and adds as many as the batch has room
    /// for: at least one if it is empty, but no more than `most` payload bytes. The chunk's last frame
    /// may be shorter. Returns the number of payload bytes that were added.
    pub fn push_audio(&mut self, chunk: &Bytes, start: usize, frame_bytes: usize, most: u64) -> usize {
        let whole = chunk.len() - start;
        let frame_bytes = frame_bytes.clamp(1, whole.max(1));
        let frame_wire_bytes = header::bytes_without_mask(frame_bytes) + frame_bytes;
        let copy = frame_bytes < COPY_BELOW;
        let room = self.most.saturating_sub(self.wire_bytes) / frame_wire_bytes;
        let room = if copy { room } else { room.min(MAX_SLICES / 2 - 1 - self.borrowed.len()) };
        let room = room.max(usize::from(self.wire_bytes == 0));
        let wanted = match usize::try_from(most) {
            Ok(most) if most < whole => most / frame_bytes * frame_bytes,
            _ => whole,
        };
        let audio_bytes = room.saturating_mul(frame_bytes).min(wanted);
        self.has_refused = audio_bytes < wanted;
        if audio_bytes == 0 {
            return 0;
        }
        let audio = &chunk[start..start + audio_bytes];
        let mut wire_bytes = 0;
        if copy {
            let before = self.buffer.len();
            let header = header::write(BINARY, frame_bytes, None);
            let mut frames = audio.chunks_exact(frame_bytes);
            for frame in &mut frames {
                self.buffer.extend_from_slice(header.as_slice());
                self.buffer.extend_from_slice(frame);
            }
            if !frames.remainder().is_empty() {
                push_frame(false, frames.remainder(), &mut self.buffer);
            }
            wire_bytes += self.buffer.len() - before;
        } else {
            self.chunks.push(chunk.clone());
            let mut at = start;
            for frame in audio.chunks(frame_bytes) {
                let header = header::write(BINARY, frame.len(), None);
                self.buffer.extend_from_slice(header.as_slice());
                wire_bytes += header.as_slice().len() + frame.len();
                let end = at + frame.len();
                let chunk = self.chunks.len() - 1;
                self.borrowed.push(Borrowed { behind: self.buffer.len(), chunk, start: at, end });
                at = end;
            }
        }
        self.wire_bytes += wire_bytes;
        self.pieces.push(Piece { wire_bytes, frame_wire_bytes, frame_bytes, audio_bytes: Some(audio_bytes) });
        audio_bytes
    }

    /// Hands the batch to `write` as the slices of one vectored write.
    pub fn write<R>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
        if self.borrowed.is_empty() {
            return write(&[IoSlice::new(&self.buffer)]);
        }
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut count = 0;
        self.each_slice(|slice| {
            slices[count] = IoSlice::new(slice);
            count += 1;
        });
        write(&slices[..count])
    }

    fn each_slice<'a>(&'a self, mut take: impl FnMut(&'a [u8])) {
        let mut at = 0;
        for b in &self.borrowed {
            take(&self.buffer[at..b.behind]);
            take(&self.chunks[b.chunk][b.start..b.end]);
            at = b.behind;
        }
        if at < self.buffer.len() {
            take(&self.buffer[at..]);
        }
    }

    /// Reports to `each`, in order, the parts that were sent when the socket took `written` wire bytes.
    /// A frame that was begun counts as sent; its rest is appended to `unsent`, and has to leave before
    /// anything else. The rest of the raw bytes is up to the caller.
    ///
    /// Returns the number of messages and the number of audio frames that were sent.
    pub fn sent(&self, written: usize, unsent: &mut Vec<u8>, mut each: impl FnMut(Sent)) -> (usize, usize) {
        let (mut messages, mut audio_frames) = (0, 0);
        let pieces: usize = self.pieces.iter().map(|p| p.wire_bytes).sum();
        let mut at = self.wire_bytes - pieces;
        for piece in &self.pieces {
            if written <= at {
                break;
            }
            let end = at + piece.wire_bytes;
            let whole = written >= end;
            let frames = (written.min(end) - at).div_ceil(piece.frame_wire_bytes);
            match piece.audio_bytes {
                None => messages += 1,
                Some(_) => audio_frames += frames,
            }
            each(match piece.audio_bytes {
                None => Sent::Message,
                Some(bytes) if whole => Sent::Audio(bytes),
                Some(bytes) => Sent::Audio(bytes.min(frames * piece.frame_bytes)),
            });
            if !whole {
                let begun = end.min(at + frames * piece.frame_wire_bytes);
                self.copy(written, begun, unsent);
                break;
            }
            at = end;
        }
        (messages, audio_frames)
    }

    /// Appends the wire bytes from `from` up to `to`.
    fn copy(&self, from: usize, to: usize, out: &mut Vec<u8>) {
        let mut at = 0;
        self.each_slice(|slice| {
            let start = from.clamp(at, at + slice.len()) - at;
            let end = to.clamp(at, at + slice.len()) - at;
            out.extend_from_slice(&slice[start..end]);
            at += slice.len();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(batch: &Batch) -> Vec<u8> {
        batch.write(|slices| slices.iter().flat_map(|s| s.to_vec()).collect())
    }

    /// Reads unmasked frames back: first byte and payload.
    fn frames(mut wire: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        while !wire.is_empty() {
            let (header, len) = match wire[1] {
                126 => (4, usize::from(u16::from_be_bytes([wire[2], wire[3]]))),
                127 => (10, usize::try_from(u64::from_be_bytes(wire[2..10].try_into().unwrap())).unwrap()),
                short => (2, usize::from(short)),
            };
            frames.push((wire[0], wire[header..header + len].to_vec()));
            wire = &wire[header + len..];
        }
        frames
    }

    fn audio(len: usize) -> Bytes {
        (0..len).map(|n| (n % 251) as u8).collect::<Vec<u8>>().into()
    }

    #[test]
    fn audio_is_cut_into_frames_without_losing_a_byte() {
        // (chunk, frame): copied, borrowed, one frame, a remainder, more than a batch holds.
        for (chunk, frame) in
            [(800, 80), (801, 80), (79, 80), (19_200, 9_600), (19_201, 9_600), (65_536, 65_536)]
        {
            let chunk = audio(chunk);
            let mut batch = Batch::default();
            assert_eq!(batch.push_audio(&chunk, 0, frame, u64::MAX), chunk.len());
            let got = frames(&wire(&batch));
            assert_eq!(wire(&batch).len(), batch.len());
            assert!(got.iter().rev().skip(1).all(|(first, f)| *first == 0x82 && f.len() == frame));
            assert!(got.last().is_some_and(|(_, f)| f.len() <= frame));
            assert_eq!(got.concat_payloads(), chunk);
        }
    }

    trait Payloads {
        fn concat_payloads(&self) -> Vec<u8>;
    }

    impl Payloads for Vec<(u8, Vec<u8>)> {
        fn concat_payloads(&self) -> Vec<u8> {
            self.iter().flat_map(|(_, payload)| payload.clone()).collect()
        }
    }

    #[test]
    fn a_batch_is_bounded() {
        for frame in [1, 80, 2_000, 4_800, 8_192, 60_000] {
            let chunk = audio(1 << 20);
            let mut batch = Batch::default();
            let mut taken = 0;
            while !batch.is_full() {
                taken += batch.push_audio(&chunk, taken, frame, u64::MAX);
            }
            assert!(batch.len() <= BATCH_BYTES, "{frame}: {}", batch.len());
            assert!(batch.len() + frame + header::MAX_BYTES > BATCH_BYTES - 64, "{frame}: {}", batch.len());
            assert!(batch.write(|slices| slices.len()) <= MAX_SLICES, "{frame}");
            assert_eq!(frames(&wire(&batch)).concat_payloads(), chunk[..taken], "{frame}");
        }
    }

    /// A frame that would make a write longer than one segment waits for the next, unless it is alone.
    #[test]
    fn a_frame_that_does_not_fit_is_left_out() {
        let chunk = audio(100_000);
        for frame in [960, 4_800] {
            let mut batch = Batch::default();
            batch.push_raw(&vec![0; BATCH_BYTES - frame - 3]);
            assert!(!batch.is_full());
            assert_eq!(batch.push_audio(&chunk, 0, frame, u64::MAX), 0, "{frame}");
            assert!(batch.is_full() && batch.len() == BATCH_BYTES - frame - 3, "{frame}");
            batch.clear();
            assert!(!batch.is_full(), "{frame}");
        }
        let mut batch = Batch::default();
        assert_eq!(batch.push_audio(&chunk, 0, 90_000, u64::MAX), 90_000);
        assert!(batch.is_full());
    }

    /// Wherever a write stops, the bytes are those of one whole write: those that count as sent, the
    /// rest of the frame that was begun, and the next batch.
    #[test]
    fn every_partial_write_goes_on_where_it_stopped() {
        for frame in [4, 7, 8_200] {
            let chunk = audio(frame * 3 + frame / 2);
            let fill = |batch: &mut Batch, raw: &[u8], message: bool, from: usize| {
                batch.push_raw(raw);
                if message {
                    batch.push_text("hello");
                }
                if from < chunk.len() {
                    batch.push_audio(&chunk, from, frame, u64::MAX);
                }
            };
            let mut whole = Batch::default();
            fill(&mut whole, b"RAW", true, 0);
            let expected = wire(&whole);
            for written in 0..=expected.len() {
                let mut unsent = Vec::new();
                let (mut message, mut from) = (true, 0);
                whole.sent(written, &mut unsent, |sent| match sent {
                    Sent::Message => message = false,
                    Sent::Audio(bytes) => from += bytes,
                });
                assert!(unsent.len() < frame.max(8) + 4, "at most the frame that was begun");
                let raw_left = &b"RAW"[written.min(3)..];
                let mut next = Batch::default();
                fill(&mut next, &[raw_left, &unsent].concat(), message, from);
                let both = [&expected[..written], &wire(&next)].concat();
                assert_eq!(both, expected, "frame {frame}, {written} bytes taken");
            }
        }
    }

    #[test]
    fn a_cleared_batch_lets_go_of_the_audio() {
        let chunk = audio(20_000);
        let mut batch = Batch::default();
        batch.push_audio(&chunk, 0, 10_000, u64::MAX);
        assert!(!chunk.is_unique());
        batch.clear();
        assert!(chunk.is_unique() && batch.is_empty());
    }
}
