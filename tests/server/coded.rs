//! Streams in mp3 and Opus: frames of one length, so that everything that counts bytes works as it does for samples.

use crate::support::{
    FORMAT, Frame, Raw, Running, Scripted, audio, crc32, messages, over_memory, spoken, start_with, v1,
    within,
};
use aloud::audio::{Encoding, Format};
use aloud::tts::{Flite, Sink, Speech, SynthesisError, Synthesizer, Tone, Utterance};
use aloud::{Config, Service};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const TEXT: &str = "Good evening. The kettle is on.\n\nTea will be ready in five minutes.";

/// Encoding, rate, and bytes and milliseconds of a frame: all that this build has.
fn formats() -> Vec<(&'static str, u32, usize, u64)> {
    let mp3 = [("mp3", 8_000, 288, 72), ("mp3", 16_000, 216, 36), ("mp3", 24_000, 144, 24)];
    let opus = [8_000, 16_000, 24_000, 48_000].map(|rate| ("opus", rate, 80, 20));
    let mp3 = mp3.into_iter().filter(|_| cfg!(feature = "mp3"));
    mp3.chain(opus.into_iter().filter(|_| cfg!(feature = "opus"))).collect()
}

/// One format for each encoding.
fn some_formats() -> Vec<(&'static str, u32, usize, u64)> {
    formats().into_iter().filter(|(_, rate, ..)| *rate == 16_000).collect()
}

fn start(prompt: &str, encoding: &str, rate: u32, options: &Value) -> String {
    let audio = json!({"encoding": encoding, "sampleRate": rate});
    let mut start = json!({"type": "start_session", "prompt": prompt, "audio": audio, "resumable": true});
    start.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    start.to_string()
}

/// Decodes frames with one decoder.
fn decoded(encoding: &str, rate: u32, frames: &[Frame]) -> Vec<f32> {
    let frames: Vec<&[u8]> = frames
        .iter()
        .filter_map(|frame| match frame {
            Frame::Binary(frame) => Some(&frame[..]),
            _ => None,
        })
        .collect();
    let mut samples: Vec<f32> = Vec::new();
    match encoding {
        #[cfg(feature = "mp3")]
        "mp3" => {
            let mut decoder = rusty_mp3::Mp3Decoder::new();
            decoder.push(&frames.concat());
            decoder.flush();
            while let Ok(frame) = decoder.next_frame() {
                assert_eq!((frame.sample_rate, frame.channels), (rate, 1));
                samples.extend(frame.samples);
            }
        }
        #[cfg(feature = "opus")]
        "opus" => {
            let mut decoder = opus_pure::OpusDecoder::new(rate as i32, 1).unwrap();
            let mut block = vec![0.0; opus_pure::MAX_PACKET_SAMPLES];
            for packet in frames {
                let count = decoder.decode(packet, rate as usize / 50, &mut block).unwrap();
                samples.extend_from_slice(&block[..count]);
            }
        }
        other => panic!("{other} at {rate}"),
    }
    samples
}

/// The largest correlation of samples with decoded ones, over all delays up to 0.2 s, and the delay.
fn likeness(samples: &[f32], decoded: &[f32], rate: u32) -> (f64, usize) {
    // A part is enough, and other delays are none of an encoder.
    let samples = &samples[..samples.len().min(rate as usize / 4)];
    let correlation = |delay: usize| {
        let pairs = samples.iter().zip(&decoded[delay..]).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        let (product, left, right) =
            pairs.fold((0.0, 0.0, 0.0), |(p, l, r), (a, b)| (p + a * b, l + a * a, r + b * b));
        (product / f64::sqrt(left * right).max(1e-9), delay)
    };
    let most = (rate as usize / 5).min(1_300).min(decoded.len());
    (0..most).map(correlation).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

/// Checks frames, offsets, times and checksums of a whole stream.
fn check(frames: &[Frame], frame_bytes: usize, frame_ms: u64) {
    let (audio, mut start) = (audio(frames), 0);
    let ms = |bytes: usize| (bytes / frame_bytes) as u64 * frame_ms;
    for frame in frames {
        match frame {
            Frame::Binary(frame) => assert_eq!(frame.len(), frame_bytes, "one frame a message"),
            Frame::Text(message) => {
                let offset = message["offset"].as_u64().unwrap_or_default() as usize;
                match message["type"].as_str().unwrap() {
                    "stream_start" => {
                        assert_eq!(message["audio"]["frameBytes"], frame_bytes);
                        assert_eq!(message["audio"]["frameMs"], frame_ms);
                    }
                    "text" => {
                        assert_eq!((offset, &message["startMs"]), (start, &json!(ms(start))));
                    }
                    "sentence_end" => {
                        assert_eq!(message["durationMs"], ms(offset - start));
                        assert_eq!(message["crc32"], format!("{:08x}", crc32(&audio[start..offset])));
                        start = offset;
                    }
                    "session_end" => assert_eq!(message["usage"]["audioMs"], ms(offset.max(start))),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    assert_eq!(start, audio.len());
}

fn of_type(frames: &[Frame], kind: &str) -> Vec<Value> {
    messages(frames).into_iter().filter(|message| message["type"] == kind).collect()
}

/// An engine that has samples only, ready in memory, and says so.
struct Ready;

impl Synthesizer for Ready {
    fn name(&self) -> &str {
        "ready"
    }

    fn format(&self) -> Format {
        FORMAT
    }

    fn supports(&self, format: Format) -> bool {
        assert!(!format.encoding.is_coded(), "an engine knows no frames");
        format.encoding == Encoding::PcmS16le
    }

    fn is_deterministic(&self) -> bool {
        true
    }

    fn speak(&self, utterance: Utterance) -> Speech {
        assert_eq!(utterance.format.encoding, Encoding::PcmS16le);
        let bytes = utterance.frame_bytes;
        let chunk = move |n: usize| {
            let sample = |at: usize| (((n * bytes / 2 + at) % 50) as i16 - 25).abs() * 800 - 10_000;
            (0..bytes / 2).flat_map(|at| sample(at).to_le_bytes()).collect::<Vec<u8>>().into()
        };
        Speech::ready(&utterance, (0..20).map(chunk))
    }
}

fn engines() -> [Arc<dyn Synthesizer>; 3] {
    [Arc::new(Tone::new(FORMAT, 0.5)), Arc::new(Flite::new()), Arc::new(Ready)]
}

#[tokio::test]
async fn every_engine_gives_frames_of_one_length_in_both_deliveries() {
    for engine in engines() {
        let name = engine.name().to_owned();
        let server = start_with(Config::default(), Arc::clone(&engine)).await;
        let (mut client, _) = v1(server.addr).await;
        for (encoding, rate, frame_bytes, frame_ms) in formats() {
            let paced = json!({"delivery": {"mode": "paced", "aheadMs": 60_000}, "timestamps": "word"});
            client.say(&start(TEXT, encoding, rate, &json!({"timestamps": "word"}))).await;
            let burst = client.read_until("session_end").await;
            check(&burst, frame_bytes, frame_ms);
            client.say(&start(TEXT, encoding, rate, &paced)).await;
            let paced = client.read_until("session_end").await;
            check(&paced, frame_bytes, frame_ms);
            assert!(audio(&burst) == audio(&paced), "{name}: {encoding} at {rate}");
            assert_eq!(of_type(&burst, "sentence_end").len(), 3);

            // The first sentence, beside its samples.
            let format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: rate };
            let mut utterance = Utterance::new("Good evening.", format);
            utterance.frame_bytes = format.bytes(Duration::from_millis(frame_ms)) as usize;
            let linear = spoken(&*engine, utterance).await;
            let linear: Vec<f32> =
                linear.chunks(2).map(|s| f32::from(i16::from_le_bytes([s[0], s[1]])) / 32_768.0).collect();
            let decoded = decoded(encoding, rate, &burst);
            let (found, delay) = likeness(&linear, &decoded, rate);
            assert!(found > 0.9, "{name}: {encoding} at {rate}: {found}");
            let expected = if encoding == "mp3" { 1_057 } else { rate as usize * 13 / 2_000 };
            let is_periodic = name != "flite";
            assert!(is_periodic || delay.abs_diff(expected) <= rate as usize / 1_000, "{encoding}: {delay}");
        }
    }
}

/// The words of frames are later than those of samples by what encoder and decoder delay them.
#[tokio::test]
async fn words_are_at_their_place_in_decoded_audio() {
    let server = start_with(Config::default(), Arc::new(Flite::new())).await;
    let (mut client, _) = v1(server.addr).await;
    for (encoding, rate, ..) in formats() {
        let mut starts = Vec::new();
        for encoding in ["pcm_s16le", encoding] {
            // Without a paragraph: the pause before it is a matter of whole frames.
            let text = TEXT.replace("\n\n", " ");
            client.say(&start(&text, encoding, rate, &json!({"timestamps": "word"}))).await;
            let frames = client.read_until("session_end").await;
            let times = of_type(&frames, "timestamps");
            let words = times.iter().flat_map(|times| {
                let index = times["index"].as_u64().unwrap();
                let starts = times["start"].as_array().unwrap().clone();
                starts.into_iter().map(move |start| (index, start.as_u64().unwrap()))
            });
            starts.push(words.collect::<Vec<_>>());
        }
        let delay = if encoding == "mp3" { 1_057_000 / u64::from(rate) } else { 6 };
        assert_eq!((starts[0].len(), starts[1].len()), (13, 13), "{encoding}");
        for ((index, linear), (_, coded)) in starts[0].iter().zip(&starts[1]) {
            // A sentence of Opus that is not the first begins with a frame of silence.
            let lead = if encoding == "opus" && *index > 0 { 20 } else { 0 };
            assert!(
                coded.abs_diff(linear + delay + lead) <= 1,
                "{encoding} at {rate}: {linear} became {coded} in {index}"
            );
        }
    }
}

/// Cuts a stream after so many frames, and returns what an undisturbed one has from there on.
async fn rest_after(server: &Running, start: &str, frames: usize, undisturbed: &[u8]) {
    let (mut client, greeting) = v1(server.addr).await;
    client.say(start).await;
    let mut heard = Vec::new();
    for _ in 0..frames {
        loop {
            if let Frame::Binary(frame) = client.read_frame().await {
                heard.extend(frame);
                break;
            }
        }
    }
    let unit = heard.len() / frames.max(1);
    client.reset();
    let (mut client, _) = v1(server.addr).await;
    let (id, token) = (&greeting["sessionId"], &greeting["token"]);
    let recover = |offset: usize| {
        json!({"type": "recover", "sessionId": id, "token": token, "offset": offset}).to_string()
    };
    if unit > 0 {
        client.say(&recover(heard.len() - 1)).await;
        let refused = client.read_until("error").await.pop().unwrap();
        let Frame::Text(refused) = refused else { panic!("{refused:?}") };
        assert_eq!(refused["code"], "bad_message");
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains(&format!("multiple of {unit}, the bytes of a frame")), "{message}");
    }
    client.say(&recover(heard.len())).await;
    let rest = client.read_until("session_end").await;
    let recovered = of_type(&rest, "recovered").pop().unwrap();
    assert_eq!(recovered["offset"], heard.len(), "{recovered}");
    heard.extend(audio(&rest));
    assert!(heard == undisturbed, "cut after {frames} frames");
}

#[tokio::test]
async fn recover_at_any_frame_gives_the_bytes_of_an_undisturbed_stream() {
    for engine in [Arc::new(Tone::new(FORMAT, 0.5)) as Arc<dyn Synthesizer>, Arc::new(Flite::new())] {
        // With much in the log, and with nothing, so that sentences are spoken again.
        for resume_bytes in [1 << 20, 1] {
            let config = Config::default().with(|c| c.resume_bytes = resume_bytes);
            let server = start_with(config, Arc::clone(&engine)).await;
            for (encoding, rate, frame_bytes, frame_ms) in some_formats() {
                let (mut client, _) = v1(server.addr).await;
                let start = start(TEXT, encoding, rate, &json!({}));
                client.say(&start).await;
                let frames = client.read_until("session_end").await;
                check(&frames, frame_bytes, frame_ms);
                let whole = audio(&frames);
                let count = whole.len() / frame_bytes;
                // Each border of a sentence, and positions in between.
                let ends = of_type(&frames, "sentence_end");
                let ends = ends.iter().map(|end| end["offset"].as_u64().unwrap() as usize / frame_bytes);
                let mut cuts: Vec<usize> = (0..count).step_by(11).chain(ends).collect();
                cuts.push(1);
                for cut in cuts {
                    rest_after(&server, &start, cut, &whole).await;
                }
            }
        }
    }
}

/// A client without a session begins anew where it is, on any server.
#[tokio::test]
async fn a_stream_can_begin_at_any_frame() {
    let server = start_with(Config::default(), Arc::new(Flite::new())).await;
    let (mut client, _) = v1(server.addr).await;
    for (encoding, rate, frame_bytes, _) in some_formats() {
        client.say(&start(TEXT, encoding, rate, &json!({}))).await;
        let frames = client.read_until("session_end").await;
        let whole = audio(&frames);
        for text in of_type(&frames, "text") {
            for frames in [0, 1, 5] {
                let begin = text["offset"].as_u64().unwrap() as usize;
                let offset = begin + frames * frame_bytes;
                let crc = format!("{:08x}", crc32(&whole[begin..offset]));
                let from = json!({"from": {"index": text["index"], "offset": offset, "crc32": crc}});
                client.say(&start(TEXT, encoding, rate, &from)).await;
                let rest = audio(&client.read_until("session_end").await);
                assert!(rest == whole[offset..], "{encoding}: from {offset}");
            }
        }
        let from = json!({"from": {"index": 0, "offset": frame_bytes + 2}});
        client.say(&start(TEXT, encoding, rate, &from)).await;
        let Frame::Text(error) = client.read_until("error").await.pop().unwrap() else { panic!() };
        assert_eq!(error["code"], "bad_message");
    }
}

#[tokio::test]
async fn unavailable_formats_are_refused_with_those_that_there_are() {
    let config = Config::default().with(|c| c.max_sample_rate_hz = Some(24_000));
    let server = start_with(config, Arc::new(Flite::new())).await;
    let (mut client, _) = v1(server.addr).await;
    let mut refused =
        vec![("vorbis", 16_000, "\"audio.encoding\" must be one of pcm_s16le, mulaw, alaw, mp3, opus")];
    if cfg!(feature = "mp3") {
        refused.push(("mp3", 22_050, "no mp3 at 22050 Hz. Its sample rates are 8000, 16000, 24000 Hz."));
        refused.push(("mp3", 44_100, "no mp3 at 44100 Hz."));
    }
    refused.push(match cfg!(feature = "opus") {
        true => ("opus", 48_000, "no opus at 48000 Hz. Its sample rates are 8000, 16000, 24000 Hz."),
        false => ("opus", 16_000, "This server has no opus. Its encodings are pcm_s16le, mulaw, alaw, mp3."),
    });
    for (encoding, rate, expected) in refused {
        client.say(&start(TEXT, encoding, rate, &json!({}))).await;
        let Frame::Text(error) = client.read_until("error").await.pop().unwrap() else { panic!() };
        assert_eq!(error["code"], "unsupported_audio", "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(expected), "{message}");
    }
    // A client that names no rate gets one, and `frameMs` changes nothing.
    for (own, encoding, expected) in
        [(22_050, "mp3", 24_000), (22_050, "opus", 24_000), (44_100, "opus", 48_000), (48_000, "mp3", 24_000)]
    {
        if !formats().iter().any(|format| format.0 == encoding) {
            continue;
        }
        let engine = Tone::new(Format { sample_rate_hz: own, ..FORMAT }, 0.1);
        let server = start_with(Config::default(), Arc::new(engine)).await;
        let (mut client, _) = v1(server.addr).await;
        let start = json!({"type": "start_session", "prompt": "One.", "audio": {"encoding": encoding, "frameMs": 100}});
        client.say(&start.to_string()).await;
        let frames = client.read_until("session_end").await;
        let started = of_type(&frames, "stream_start").pop().unwrap();
        assert_eq!(started["audio"]["sampleRate"], expected);
        let (frame_bytes, frame_ms) = (&started["audio"]["frameBytes"], &started["audio"]["frameMs"]);
        check(&frames, frame_bytes.as_u64().unwrap() as usize, frame_ms.as_u64().unwrap());
    }
}

#[test]
fn a_server_gives_frames_only_on_request() {
    let config = Config::default().with(|c| c.encoding = Some(Encoding::Opus));
    let error = Service::new(config, Arc::new(Flite::new())).unwrap_err().to_string();
    assert!(error.contains("must be pcm_s16le, mulaw or alaw"), "{error}");
}

/// The silence that a listener hears between two sentences, within two frames.
#[tokio::test]
async fn pauses_are_as_long_as_the_client_asks() {
    // A tone ends without silence.
    for engine in [Arc::new(Flite::new()) as Arc<dyn Synthesizer>, Arc::new(Tone::new(FORMAT, 0.5))] {
        let server = start_with(Config::default(), Arc::clone(&engine)).await;
        let (mut client, _) = v1(server.addr).await;
        for (encoding, rate, frame_bytes, frame_ms) in formats() {
            let options = json!({"pauses": {"sentenceMs": 500, "paragraphMs": 900}, "leadMs": 300});
            client.say(&start(TEXT, encoding, rate, &options)).await;
            let frames = client.read_until("session_end").await;
            check(&frames, frame_bytes, frame_ms);
            let samples = decoded(encoding, rate, &frames);
            let is_loud = |sample: &f32| sample.abs() > 0.01;
            let per_frame = rate as usize * frame_ms as usize / 1_000;
            let ms = |samples: usize| samples * 1_000 / rate as usize;
            let lead = ms(samples.iter().position(is_loud).unwrap());
            let delay = if encoding == "mp3" { 1_057_000 / rate as usize } else { 7 };
            let at = format!("{}: {encoding} at {rate}", engine.name());
            let grain = frame_ms as usize + 50;
            assert!((300..=300 + delay + grain).contains(&lead), "{at}: a lead of {lead} ms");
            let ends: Vec<usize> = of_type(&frames, "sentence_end")
                .iter()
                .map(|end| end["offset"].as_u64().unwrap() as usize / frame_bytes * per_frame)
                .collect();
            for (end, expected) in ends.iter().zip([500, 900]) {
                let before = samples[..*end].iter().rev().position(is_loud).unwrap();
                let after = samples[*end..].iter().position(is_loud).unwrap();
                let silence = ms(before + after);
                assert!(silence.abs_diff(expected) <= grain, "{at}: {silence} ms instead of {expected}");
            }
        }
    }
}

/// A clock that only the test advances, and a client that plays what it has.
#[tokio::test(start_paused = true)]
async fn paced_frames_leave_as_they_are_played() {
    for (encoding, rate, frame_bytes, frame_ms) in some_formats() {
        let service = Service::new(Config::default(), Arc::new(Tone::new(FORMAT, 3.0))).unwrap();
        let mut client = over_memory(&service, 64 * 1024, crate::support::V1).await;
        client.read_until("session_start").await;
        let delivery = json!({"delivery": {"mode": "paced", "aheadMs": 400}});
        client.say(&start("One.", encoding, rate, &delivery)).await;
        let (mut sent_ms, mut began) = (0, None);
        loop {
            match client.read_frame().await {
                Frame::Binary(frame) => {
                    assert_eq!(frame.len(), frame_bytes);
                    sent_ms += frame_ms;
                    let played = began.get_or_insert_with(Instant::now).elapsed().as_millis() as u64;
                    assert!(sent_ms <= played + 400 + frame_ms + 10, "{sent_ms} ms sent, {played} ms played");
                    assert!(sent_ms + 10 >= played.min(3_000), "{sent_ms} ms sent, {played} ms played");
                }
                Frame::Text(message) if message["type"] == "session_end" => break,
                _ => {}
            }
        }
        assert!((3_000..3_300).contains(&sent_ms), "{encoding}: {sent_ms} ms");
    }
}

#[tokio::test]
async fn pause_ack_and_cancel_count_frames() {
    for (encoding, rate, frame_bytes, frame_ms) in some_formats() {
        let server = start_with(Config::default(), Arc::new(Tone::new(FORMAT, 30.0))).await;
        let (mut client, _) = v1(server.addr).await;
        let options = json!({"delivery": {"mode": "paced", "aheadMs": 800}});
        client.say(&start("One. Two.", encoding, rate, &options)).await;
        let mut frames = client.read_until("binary").await;
        client.say(r#"{"type":"pause"}"#).await;
        frames.extend(client.read_until("paused").await);
        let paused = messages(&frames).pop().unwrap();
        let sent = audio(&frames).len();
        assert_eq!(paused["offset"], sent);
        assert!(client.before_pong().await.is_empty(), "nothing while it is paused");
        let played = 10 * frame_ms + 1;
        client.say(&json!({"type": "cancel", "playedMs": played}).to_string()).await;
        let mut frames = client.read_until("session_end").await;
        frames.retain(|frame| matches!(frame, Frame::Binary(_)));
        assert!(frames.is_empty(), "no audio after a cancel");
        let (mut client, _) = v1(server.addr).await;
        client.say(&start("One. Two.", encoding, rate, &options)).await;
        let mut heard = 0;
        while heard < 10 {
            if let Frame::Binary(frame) = client.read_frame().await {
                assert_eq!(frame.len(), frame_bytes);
                heard += 1;
            }
        }
        client.say(&json!({"type": "cancel", "playedMs": played}).to_string()).await;
        let frames = client.read_until("cancelled").await;
        let cancelled = messages(&frames).pop().unwrap();
        let sent = (heard + audio(&frames).len() / frame_bytes) as u64;
        assert_eq!(cancelled["offset"], sent * frame_bytes as u64);
        assert_eq!(cancelled["sentMs"], sent * frame_ms);
        assert_eq!(cancelled["playedMs"], sent.min(10) * frame_ms, "whole frames");
    }
}

#[tokio::test]
async fn a_lost_client_stops_the_engine_behind_its_encoder() {
    for (encoding, rate, ..) in some_formats() {
        let server = start_with(Config::default(), Arc::new(Tone::new(FORMAT, 1e9))).await;
        let (mut client, _) = v1(server.addr).await;
        client.say(&start("One.", encoding, rate, &json!({"resumable": false}))).await;
        client.read_until("binary").await;
        drop(client);
        server.is_quiet().await;
    }
}

#[tokio::test]
async fn a_failure_comes_after_the_frames_before_it() {
    for (encoding, rate, frame_bytes, frame_ms) in some_formats() {
        let (engine, mut asked) = Scripted::new();
        let server = start_with(Config::default(), engine).await;
        let (mut client, _): (Raw, _) = v1(server.addr).await;
        client.say(&start("One. Two. Three.", encoding, rate, &json!({}))).await;
        tokio::spawn(async move {
            let mut next = async || {
                let (utterance, sink): (Utterance, Sink) = within(asked.recv()).await.unwrap();
                assert_eq!(utterance.format, Format { sample_rate_hz: rate, ..FORMAT });
                sink
            };
            let mut sink = next().await;
            sink.write(&[9_000; 800]).await.unwrap();
            sink.fail(SynthesisError::failed("It broke.")).await;
            next().await.fail(SynthesisError::no_audio("Nothing.")).await;
            let mut sink = next().await;
            sink.write(&[9_000; 800]).await.unwrap();
            sink.finish().await;
        });
        let frames = client.read_until("session_end").await;
        check(&frames, frame_bytes, frame_ms);
        let codes: Vec<_> = of_type(&frames, "error")
            .iter()
            .map(|error| error["code"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(codes, ["engine_failed", "engine_no_audio"]);
        let bytes: Vec<u64> =
            of_type(&frames, "sentence_end").iter().map(|end| end["bytes"].as_u64().unwrap()).collect();
        assert!(bytes[0] > 0 && bytes[1] == 0 && bytes[2] > 0, "{bytes:?}");
    }
}
