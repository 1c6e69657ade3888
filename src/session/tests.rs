//! Tests of the session: frames that a client must see, and helpers for them.

mod admission;
mod base;
mod bounds;
mod cancel;
mod histories;
mod orders;
mod pauses;
mod recovery;
mod returns;
mod snapshot;
mod support;
mod text;
mod v1;
mod writing;

use super::*;
use crate::access::rate::Rate;
use crate::audio::voice::Voice;
use crate::audio::{Encoding, Format};
use crate::session::conversation::Turn;
use crate::session::message::Recover;
use crate::text::words::Word;
use crate::ws::frames::push_frame;
use hyper::body::Bytes;
use std::collections::BTreeMap;
use support::{Driven, driven, settings, v1};

const GREETING: &str = "Hello. I am ready to speak.";
const GREETED: [&str; 2] = ["Hello.", "I am ready to speak."];
const FRAME_MS: u32 = 2;
const FRAME_BYTES: usize = 16;
const CHUNK_BYTES: usize = 48;
const NO_AUDIO: &str = "The speech engine gave no audio for this sentence.";
const START: &str = r#"{"type":"start_session"}"#;
const PAUSE: &str = r#"{"type":"pause"}"#;
const RESUME: &str = r#"{"type":"resume"}"#;
const END: &str = r#"{"type":"end"}"#;
const BUSY: &str = r#"{"type":"error","message":"Session already streaming"}"#;

/// A frame as the client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Message(String),
    Audio(Vec<u8>),
    Close(u16, &'static str),
}

fn message(json: impl Into<String>) -> Seen {
    Seen::Message(json.into())
}

fn start(prompt: &str) -> String {
    ClientMessage::start(prompt).to_json()
}

/// The engine's audio for a sentence, and its failure if it has one.
fn spoken(text: &str) -> (Vec<u8>, Option<&'static str>) {
    let audio: Vec<u8> = text.bytes().cycle().take(text.len() * 7).collect();
    match text {
        t if t.starts_with("Fails late") => (audio, Some("The engine broke.")),
        t if t.starts_with("Fails") => (Vec::new(), Some("The engine broke.")),
        t if t.starts_with("Silent") => (Vec::new(), None),
        _ => (audio, None),
    }
}

/// The frames of an undisturbed stream of these sentences.
fn stream(sentences: &[&str]) -> Vec<Seen> {
    let mut seen = Vec::new();
    for (index, text) in sentences.iter().enumerate() {
        seen.push(message(format!(r#"{{"type":"text","data":"{text}","index":{index}}}"#)));
        let (audio, error) = spoken(text);
        for chunk in audio.chunks(CHUNK_BYTES) {
            seen.extend(chunk.chunks(FRAME_BYTES).map(|frame| Seen::Audio(frame.to_vec())));
        }
        if let Some(error) = error.or(audio.is_empty().then_some(NO_AUDIO)) {
            seen.push(message(format!(r#"{{"type":"error","message":"{error}"}}"#)));
        }
        seen.push(message(format!(r#"{{"type":"sentence_end","index":{index}}}"#)));
    }
    seen.push(message(r#"{"type":"session_end"}"#));
    seen
}

fn ended_by_client() -> [Seen; 2] {
    [message(r#"{"type":"session_end"}"#), Seen::Close(1000, "Session ended by client")]
}

/// End of each frame, in bytes on the wire.
fn ends(seen: &[Seen]) -> Vec<usize> {
    let mut wire = Vec::new();
    seen.iter()
        .map(|seen| {
            match seen {
                Seen::Message(json) => push_frame(true, json.as_bytes(), &mut wire),
                Seen::Audio(audio) => push_frame(false, audio, &mut wire),
                Seen::Close(..) => {}
            }
            wire.len()
        })
        .collect()
}

/// Number of frames that leave after the socket took this many bytes: those that were begun, and
/// `session_end` after the last `sentence_end`.
fn begun(ends: &[usize], accepted: usize) -> usize {
    match ends.iter().position(|&end| accepted <= end) {
        _ if accepted == 0 => 0,
        Some(at) if at + 2 < ends.len() => at + 1,
        _ => ends.len(),
    }
}

// `aloud.v1`

const TOKEN: &str = "a-token";
const CANCEL: &str = r#"{"type":"cancel"}"#;
const FLUSH: &str = r#"{"type":"flush"}"#;
const DRAIN: &str = r#"{"type":"end","drain":true}"#;
const APPENDED: &str = r#"{"type":"start_session","source":"append"}"#;

fn start_with(options: &str) -> String {
    format!(r#"{{"type":"start_session",{options}}}"#)
}

fn append(text: &str) -> String {
    ClientMessage::Append { text: text.to_owned() }.to_json()
}

/// CRC-32 (IEEE 802.3), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1));
        }
    }
    !crc
}

/// 8 bytes of µ-law at 8 kHz are a millisecond.
fn ms_of(bytes: usize) -> usize {
    bytes / 8
}

/// The frames of these sentences for a client of `aloud.v1`, from an index and an offset on, without
/// `session_end`.
fn v1_sentences(sentences: &[&str], first_index: usize, first_offset: usize) -> Vec<Seen> {
    let (mut seen, mut offset) = (Vec::new(), first_offset);
    for (index, text) in (first_index..).zip(sentences) {
        let start_ms = ms_of(offset);
        seen.push(message(format!(
            r#"{{"type":"text","data":"{text}","index":{index},"offset":{offset},"startMs":{start_ms}}}"#
        )));
        let (audio, error) = spoken(text);
        for chunk in audio.chunks(CHUNK_BYTES) {
            seen.extend(chunk.chunks(FRAME_BYTES).map(|frame| Seen::Audio(frame.to_vec())));
        }
        let (code, retryable) =
            if error.is_some() { ("engine_failed", true) } else { ("engine_no_audio", false) };
        if let Some(error) = error.or(audio.is_empty().then_some(NO_AUDIO)) {
            seen.push(message(format!(
                r#"{{"type":"error","message":"{error}","code":"{code}","retryable":{retryable},"fatal":false,"index":{index}}}"#
            )));
        }
        let (bytes, duration_ms) = (audio.len(), ms_of(audio.len()));
        offset += bytes;
        seen.push(message(format!(
            r#"{{"type":"sentence_end","index":{index},"offset":{offset},"bytes":{bytes},"durationMs":{duration_ms},"crc32":"{:08x}"}}"#,
            crc32(&audio)
        )));
    }
    seen
}

fn stream_start(source: &str) -> Seen {
    message(format!(
        r#"{{"type":"stream_start","stream":1,"rev":0,"audio":{{"encoding":"mulaw","sampleRate":8000,"channels":1}},"voice":"anna","source":"{source}"}}"#
    ))
}

/// Checks the frames of a whole stream of `aloud.v1`, and the reason and counts of its end.
fn assert_whole(seen: &[Seen], source: &str, sentences: &[&str], reason: &str) {
    let (end, others) = seen.split_last().unwrap();
    let expected = [vec![stream_start(source)], v1_sentences(sentences, 0, 0)].concat();
    assert_eq!(others, expected, "{sentences:?}");
    // Sentences that failed are not counted.
    let is_sound = |text: &&&str| spoken(text).1.is_none() && !spoken(text).0.is_empty();
    let chars: usize = sentences.iter().filter(is_sound).map(|text| text.chars().count()).sum();
    let made: usize = sentences.iter().map(|text| spoken(text).0.len()).sum();
    let (count, audio_ms) = (sentences.len(), ms_of(made));
    let end_json = format!(
        r#"{{"type":"session_end","reason":"{reason}","usage":{{"chars":{chars},"sentences":{count},"audioMs":{audio_ms},"synthesisedMs":{audio_ms},"wastedMs":0,"firstAudioMs":0}}}}"#
    );
    assert_eq!(*end, message(end_json), "{sentences:?}");
}

fn audio_of(seen: &[Seen]) -> Vec<u8> {
    let payloads = seen.iter().filter_map(|seen| match seen {
        Seen::Audio(audio) => Some(&audio[..]),
        _ => None,
    });
    payloads.collect::<Vec<_>>().concat()
}

fn all_audio(sentences: &[&str]) -> Vec<u8> {
    sentences.iter().flat_map(|text| spoken(text).0).collect()
}

/// The messages of this type.
fn of_type(seen: &[Seen], name: &str) -> Vec<String> {
    let begin = format!(r#"{{"type":"{name}""#);
    let messages = seen.iter().filter_map(|seen| match seen {
        Seen::Message(json) if json.starts_with(&begin) => Some(json.clone()),
        _ => None,
    });
    messages.collect()
}

/// A number in a message.
fn number(json: &str, name: &str) -> u64 {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    value[name].as_u64().unwrap_or_else(|| panic!("{name} in {json}"))
}

fn assert_refused(seen: &[Seen], code: &str) {
    match seen {
        [Seen::Message(json)] => {
            let rest = format!(r#""code":"{code}","#);
            assert!(json.starts_with(r#"{"type":"error""#) && json.contains(&rest), "{json} for {code}");
        }
        other => panic!("{other:?} for {code}"),
    }
}

fn resumable(sentences: &[&str]) -> String {
    let json = ClientMessage::start(sentences.join(" ")).to_json();
    format!(r#"{},"resumable":true}}"#, &json[..json.len() - 1])
}

/// Checks the answer to a `recover` at an offset whose audio is gone.
fn assert_lost(seen: &[Seen], at: &str) {
    assert_eq!(
        of_type(seen, "recovered"),
        [r#"{"type":"recovered","recovered":false,"code":"position_lost"}"#],
        "{at}"
    );
    assert_refused(&seen[1..2], "position_lost");
    assert!(matches!(seen[2..], [Seen::Close(4411, _)]), "{at}: {seen:?}");
}

/// A generator of random numbers, xorshift64*: a seed gives the same numbers on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize) % end
    }
}
