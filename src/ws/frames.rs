//! Outgoing data frames (RFC 6455 §5.2): their headers, and the batch that leaves in one write.
//!
//! Knows bytes and lengths only. A frame out costs a header of two to ten bytes; small payloads
//! are copied behind it, large ones stay where they are and are named to the kernel. What decides
//! the cost of a stream is neither, but the number of writes: so everything that is ready is
//! collected here first.

use hyper::body::Bytes;
use std::io::IoSlice;

/// What one batch may hold, in wire bytes: enough to make the cost of the write disappear, little
/// enough that one stream does not keep the others waiting. It is what a kernel sends as one
/// segment and leaves to the network card to cut (45 of 1,448 bytes; over a loopback a few more):
/// a write that is a little longer costs as much again for the little that is left.
const BATCH_BYTES: usize = 45 * 1_448;

/// Payloads from this size on are not copied into the batch. Below it a copy costs less than what a
/// kernel does for two more slices: a quarter of a frame's whole cost at 4,800 bytes.
const COPY_BELOW: usize = 8 * 1024;

/// Slices in one vectored write: header and payload of each large frame, and what lies between.
const MAX_SLICES: usize = 32;

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;

/// The longest header of an unmasked frame.
const MAX_HEADER_BYTES: usize = 10;

/// The header of an unmasked, final frame, and how much of the array it takes.
fn header(first: u8, len: usize) -> ([u8; MAX_HEADER_BYTES], usize) {
    let mut header = [0; MAX_HEADER_BYTES];
    header[0] = first;
    let size = header_bytes(len);
    // The shortest form is the only legal one (RFC 6455 §5.2).
    match size {
        2 => header[1] = len as u8,
        4 => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            header[1] = 127;
            header[2..].copy_from_slice(&(len as u64).to_be_bytes());
        }
    }
    (header, size)
}

fn header_bytes(len: usize) -> usize {
    match len {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => MAX_HEADER_BYTES,
    }
}

/// Appends one whole, unmasked data frame.
pub(crate) fn push_frame(text: bool, payload: &[u8], out: &mut Vec<u8>) {
    let (header, size) = header(if text { TEXT } else { BINARY }, payload.len());
    out.extend_from_slice(&header[..size]);
    out.extend_from_slice(payload);
}

/// Everything that leaves in one write: collected, offered to the socket, and then asked how far
/// the socket got. One per thread serves all connections, since it is empty between two writes.
#[derive(Debug, Default)]
pub struct Batch {
    /// Headers, and the payloads that were copied.
    buffer: Vec<u8>,
    /// Payloads left where they are, each behind a position of `buffer`.
    borrowed: Vec<Borrowed>,
    /// Chunks that `borrowed` points into.
    chunks: Vec<Bytes>,
    pieces: Vec<Piece>,
    wire_bytes: usize,
    /// A frame was left out that would have been too much.
    has_refused: bool,
}

#[derive(Clone, Copy, Debug)]
struct Borrowed {
    behind: usize,
    chunk: usize,
    start: usize,
    end: usize,
}

/// A message, or a run of audio frames of one size but for its last.
#[derive(Clone, Copy, Debug)]
struct Piece {
    wire_bytes: usize,
    /// Wire bytes of one frame of the run.
    frame_wire_bytes: usize,
    /// Payload bytes of one frame of the run.
    frame_bytes: usize,
    /// Payload bytes of the whole run; `None` is a message, which goes whole or not at all.
    audio_bytes: Option<usize>,
}

/// What the peer will have received once the connection's unsent rest has left too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// One control message.
    Message,
    /// This many bytes of audio, in whole frames.
    Audio(usize),
}

impl Batch {
    /// Empties the batch, keeping its buffers and letting go of the audio.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.borrowed.clear();
        self.chunks.clear();
        self.pieces.clear();
        self.wire_bytes = 0;
        self.has_refused = false;
    }

    /// Whether nothing waits in it.
    pub fn is_empty(&self) -> bool {
        self.wire_bytes == 0
    }

    /// Wire bytes collected so far.
    pub fn len(&self) -> usize {
        self.wire_bytes
    }

    /// Whether nothing more should be added.
    pub fn is_full(&self) -> bool {
        self.has_refused || self.wire_bytes >= BATCH_BYTES
    }

    /// Adds bytes that are framed already: what an earlier write left over, and control frames.
    /// They come before everything else and are not part of what [`sent`](Self::sent) tells.
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

    /// Cuts `chunk`, from `start` on, into frames of `frame_bytes` and adds as many as there is
    /// room for, at least one where nothing else is in the batch, but none that goes beyond `most`
    /// payload bytes. The chunk's last frame may be shorter. Returns the payload bytes that were
    /// taken.
    pub fn push_audio(&mut self, chunk: &Bytes, start: usize, frame_bytes: usize, most: u64) -> usize {
        let whole = chunk.len() - start;
        let frame_bytes = frame_bytes.clamp(1, whole.max(1));
        let frame_wire_bytes = header_bytes(frame_bytes) + frame_bytes;
        let copy = frame_bytes < COPY_BELOW;
        let room = BATCH_BYTES.saturating_sub(self.wire_bytes) / frame_wire_bytes;
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
            let (header, size) = header(BINARY, frame_bytes);
            let mut frames = audio.chunks_exact(frame_bytes);
            for frame in &mut frames {
                self.buffer.extend_from_slice(&header[..size]);
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
                let (header, size) = header(BINARY, frame.len());
                self.buffer.extend_from_slice(&header[..size]);
                wire_bytes += size + frame.len();
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

    /// After the socket took `written` wire bytes: tells what has been sent, in order, where a
    /// frame that was begun counts as sent, and appends the rest of that frame to `unsent`. It
    /// has to leave before anything else does. What is left of the raw bytes is its owner's.
    ///
    /// Returns how many messages and how many frames of audio that is.
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
            let (header, size) = header(BINARY, len);
            assert_eq!(&header[..size], expected, "{len}");
        }
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
            assert!(batch.len() + frame + MAX_HEADER_BYTES > BATCH_BYTES - 64, "{frame}: {}", batch.len());
            assert!(batch.write(|slices| slices.len()) <= MAX_SLICES, "{frame}");
            assert_eq!(frames(&wire(&batch)).concat_payloads(), chunk[..taken], "{frame}");
        }
    }

    /// What would make a write longer than one segment waits for the next, unless it is alone.
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

    /// Whatever the socket takes: what counts as sent, what is left of the frame that was begun,
    /// and what comes again in the next batch make the same bytes as one whole write.
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
