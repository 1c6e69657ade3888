//! Silence between sentences.
//!
//! A pause is the whole silence that a listener hears between two sentences. The engine's own silence is part of
//! it: the end of the sentence before is measured, the beginning of the next one counts as [`ONSET`]. The rest is
//! written before the first audio of the next sentence, as part of that sentence.

use super::message::StartSession;
use crate::audio::{Encoding, Format, coded};
use crate::text::Boundary;
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Silence that an engine is taken to leave before a sentence.
const ONSET: Duration = Duration::from_millis(20);

/// Most bytes of silence that are written at once: a frame, if it is smaller.
const PIECE_BYTES: usize = 4 * 1024;

/// Pauses of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pauses {
    /// Silence added before the first audio of a stream. Default: none.
    pub lead: Duration,
    /// Shortest silence between two sentences. `None` is the engine's own, and the default of all three.
    pub sentence: Option<Duration>,
    /// Shortest silence after a paragraph. It is not shorter than that between sentences.
    pub paragraph: Option<Duration>,
    /// Shortest silence after a heading. It is not shorter than that between sentences.
    pub heading: Option<Duration>,
}

impl Pauses {
    /// These pauses, except where the client asks for others.
    pub(super) fn with(self, start: &StartSession) -> Pauses {
        let asked = start.pauses.unwrap_or_default();
        let ms = |ms: Option<u32>| ms.map(|ms| Duration::from_millis(ms.into()));
        Pauses {
            lead: ms(start.lead_ms).unwrap_or(self.lead),
            sentence: ms(asked.sentence_ms).or(self.sentence),
            paragraph: ms(asked.paragraph_ms).or(self.paragraph.max(ms(asked.sentence_ms))),
            heading: ms(asked.heading_ms).or(self.heading.max(ms(asked.sentence_ms))),
        }
    }

    /// The silence at a boundary; `None` is the engine's own.
    pub(crate) fn at(self, boundary: Boundary) -> Option<Duration> {
        match boundary {
            Boundary::Cut => None,
            Boundary::Sentence | Boundary::Line => self.sentence,
            Boundary::Paragraph => self.paragraph,
            Boundary::Heading => self.heading,
        }
    }
}

/// Silence between the sentences of a stream, as far as it was spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gap {
    /// Silence to add before the first audio.
    lead: Option<Duration>,
    /// Silence at the end of the last sentence that had audio, in bytes. `None` if there was none since the start
    /// of the stream, or since a `cancel`.
    quiet: Option<u64>,
}

impl Gap {
    /// The start of a stream with this lead.
    pub(crate) fn starting(lead: Duration) -> Gap {
        Gap { lead: Some(lead), quiet: None }
    }

    /// Bytes of silence to add before a sentence.
    pub(crate) fn before(self, pause: Option<Duration>, format: Format) -> u64 {
        match (self.lead, pause, self.quiet) {
            (Some(lead), ..) => format.bytes_up(lead),
            (None, Some(pause), Some(quiet)) => {
                format.bytes_up(pause.saturating_sub(ONSET)).saturating_sub(quiet)
            }
            (None, ..) => 0,
        }
    }

    /// Notes that audio has come.
    pub(crate) fn begin(&mut self) {
        self.lead = None;
    }

    /// Notes that a sentence with audio is over, which ended with so many bytes of silence.
    pub(crate) fn end(&mut self, quiet: u64) {
        self.quiet = Some(quiet);
    }

    /// Notes a `cancel`: no pause follows it.
    pub(super) fn cancel(&mut self) {
        self.quiet = None;
    }
}

/// Returns the next piece of so many bytes of silence: a frame at most.
pub(crate) fn piece(format: Format, left: u64, frame_bytes: usize) -> Bytes {
    static LINEAR: [u8; PIECE_BYTES] = [Encoding::PcmS16le.silence(); PIECE_BYTES];
    static MU_LAW: [u8; PIECE_BYTES] = [Encoding::MuLaw.silence(); PIECE_BYTES];
    static A_LAW: [u8; PIECE_BYTES] = [Encoding::ALaw.silence(); PIECE_BYTES];
    let silence: &'static [u8] = match format.encoding {
        Encoding::PcmS16le => &LINEAR,
        Encoding::MuLaw => &MU_LAW,
        Encoding::ALaw => &A_LAW,
        Encoding::Mp3 | Encoding::Opus => return Bytes::from_static(coded::silence(format)),
    };
    let most = frame_bytes.clamp(1, PIECE_BYTES);
    let bytes = usize::try_from(left).unwrap_or(usize::MAX).min(most);
    Bytes::from_static(&silence[..bytes])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gap_adds_what_the_engine_does_not_leave() {
        let format = Format { encoding: Encoding::MuLaw, sample_rate_hz: 8_000 };
        let ms = |ms| Some(Duration::from_millis(ms));
        let mut gap = Gap::starting(Duration::from_millis(100));
        assert_eq!(gap.before(ms(400), format), 800, "the lead is added whole");
        gap.begin();
        assert_eq!(gap.before(ms(400), format), 0, "nothing was spoken yet");
        gap.end(120 * 8);
        assert_eq!(gap.before(ms(400), format), (400 - 120 - 20) * 8);
        assert_eq!(gap.before(ms(140), format), 0);
        assert_eq!(gap.before(ms(0), format), 0);
        assert_eq!(gap.before(None, format), 0);
        gap.cancel();
        assert_eq!(gap.before(ms(400), format), 0);
    }

    #[test]
    fn pauses_of_the_client_replace_those_of_the_server() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let server = Pauses { lead: Duration::ZERO, sentence: None, paragraph: ms(400), heading: ms(600) };
        let with = |json: &str| {
            let json = format!(r#"{{"type":"start_session",{json}}}"#);
            let Ok(super::super::ClientMessage::StartSession(start)) =
                super::super::ClientMessage::parse(&json)
            else {
                panic!("{json}")
            };
            server.with(&start)
        };
        assert_eq!(with(r#""prompt":"a""#), server);
        assert_eq!(
            with(r#""pauses":{"sentenceMs":500}"#),
            Pauses { sentence: ms(500), paragraph: ms(500), ..server }
        );
        assert_eq!(with(r#""pauses":{"sentenceMs":500,"paragraphMs":0}"#).paragraph, ms(0));
        assert_eq!(with(r#""leadMs":300"#).lead, Duration::from_millis(300));
        assert_eq!(server.at(Boundary::Heading), ms(600));
        assert_eq!(server.at(Boundary::Line), None);
    }

    #[test]
    fn piece_is_a_frame_at_most() {
        let piece = |encoding, left, frame_bytes| {
            piece(Format { encoding, sample_rate_hz: 24_000 }, left, frame_bytes)
        };
        for encoding in Encoding::CODED {
            let format = Format { encoding, sample_rate_hz: 24_000 };
            assert_eq!(piece(encoding, 100_000, 640), coded::silence(format), "one frame");
        }
        for encoding in Encoding::ALL {
            let silence = piece(encoding, 100_000, 640);
            assert_eq!(silence.len(), 640);
            assert!(silence.iter().all(|byte| *byte == encoding.silence()));
            assert_eq!(encoding.quiet_bytes(&silence), silence.len());
        }
        assert_eq!(piece(Encoding::MuLaw, 10, 640).len(), 10);
        assert_eq!(piece(Encoding::MuLaw, 100_000, 65_536).len(), PIECE_BYTES);
    }
}
