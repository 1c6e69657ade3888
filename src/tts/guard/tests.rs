use super::*;
use crate::audio::{Encoding, Format, SampleEncoding};
use crate::tts::testing::all;
use crate::tts::{Speech, SynthesisErrorKind};

const FORMAT: Format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 };
const RAW: SourceFormat =
    SourceFormat { encoding: SampleEncoding::PcmS16le, sample_rate_hz: 8_000, channels: 1 };

/// Samples that were passed on, and the error.
type Passed = (Vec<i16>, Option<SynthesisError>);

/// Passes these pieces through a guard.
async fn guarded<'a>(
    raw: Option<SourceFormat>,
    treatment: Treatment,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Passed {
    let utterance = Utterance::new("Hi.", FORMAT);
    let (mut sink, speech) = Speech::channel(&utterance, FORMAT.sample_rate_hz);
    let mut guard = Guard::new(raw, treatment, &utterance);
    let mut result = Ok(());
    for piece in pieces {
        result = result.and_then(|()| guard.push(piece, &mut sink));
    }
    let ended = guard.finish(&mut sink);
    result = result.and(ended);
    assert_eq!(guard.finish(&mut sink), Ok(()), "a second finish does nothing");
    tokio::spawn(async move {
        match result {
            Ok(()) => sink.finish().await,
            Err(error) => sink.fail(error).await,
        }
    });
    let (chunks, error) = all(speech).await;
    let bytes = chunks.concat();
    (bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect(), error)
}

/// Passes these bytes through a guard, and checks that every cut gives the same.
async fn passed(bytes: &[u8], raw: Option<SourceFormat>) -> Passed {
    let default = Treatment::default();
    let whole = guarded(raw, default, [bytes].into_iter()).await;
    assert_eq!(guarded(raw, default, bytes.chunks(1)).await, whole, "byte by byte");
    // Every cut of what is short, and some of what is long.
    let step = if bytes.len() < 500 { 1 } else { 1 + bytes.len() / 40 };
    for at in (0..bytes.len()).step_by(step) {
        let (a, b) = bytes.split_at(at);
        assert_eq!(guarded(raw, default, [a, b].into_iter()).await, whole, "cut at {at}");
    }
    whole
}

/// Samples similar to a voice, none of them silent, and none of them text.
fn voice(count: usize) -> Vec<i16> {
    (0..count).map(|n| if n % 7 < 3 { 0x3100 } else { -0x7200 + n as i16 % 5 * 0x100 }).collect()
}

/// The same samples, faded in and out over 40 samples each.
fn faded(samples: &[i16]) -> Vec<i16> {
    let last = samples.len() - 1;
    let part = |sample: i16, n: usize| (i32::from(sample) * n.min(40) as i32 / 40) as i16;
    samples.iter().enumerate().map(|(n, &s)| part(part(s, n), last - n)).collect()
}

fn s16(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|s| s.to_le_bytes()).collect()
}

fn fmt(format: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
    let block = channels * bits / 8;
    let mut fmt = [format.to_le_bytes(), channels.to_le_bytes()].concat();
    fmt.extend(rate.to_le_bytes());
    fmt.extend((rate * u32::from(block)).to_le_bytes());
    fmt.extend([block.to_le_bytes(), bits.to_le_bytes()].concat());
    fmt
}

fn chunk(name: &[u8; 4], length: u32, content: &[u8]) -> Vec<u8> {
    [name.as_slice(), &length.to_le_bytes(), content].concat()
}

/// A WAV of these chunks, with correct lengths.
fn wav(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut wav = b"RIFF\0\0\0\0WAVE".to_vec();
    for (name, content) in chunks {
        wav.extend(chunk(name, content.len() as u32, content));
        wav.extend(vec![0; content.len() % 2]);
    }
    wav
}

/// A WAV with this length of samples in its header.
fn wav_of_length(length: u32, samples: &[i16]) -> Vec<u8> {
    let head = wav(&[(b"fmt ", &fmt(1, 1, 8_000, 16))]);
    [head, chunk(b"data", length, &s16(samples))].concat()
}

#[tokio::test]
async fn samples_of_every_encoding_are_read() {
    let samples = voice(120);
    let each = |write: &dyn Fn(i16) -> Vec<u8>| samples.iter().flat_map(|&s| write(s)).collect::<Vec<u8>>();
    let unit = |s: i16| f64::from(s) / 32_768.0;
    let g711 = |encoding: Encoding| {
        let mut out = Vec::new();
        encoding.encode(&samples, &mut out);
        out
    };
    // Name, format number in a WAV, bits, bytes.
    let table: [(&str, u16, u16, Vec<u8>); 9] = [
        ("pcm_u8", 1, 8, each(&|s| vec![(s >> 8) as u8 ^ 0x80])),
        ("pcm_s16le", 1, 16, s16(&samples)),
        ("pcm_s16be", 0, 16, each(&|s| s.to_be_bytes().to_vec())),
        ("pcm_s24le", 1, 24, each(&|s| [vec![0x5f], s.to_le_bytes().to_vec()].concat())),
        ("pcm_s32le", 1, 32, each(&|s| [vec![0x5f, 0x5f], s.to_le_bytes().to_vec()].concat())),
        ("pcm_f32le", 3, 32, each(&|s| (unit(s) as f32).to_le_bytes().to_vec())),
        ("pcm_f64le", 3, 64, each(&|s| unit(s).to_le_bytes().to_vec())),
        ("mulaw", 7, 8, g711(Encoding::MuLaw)),
        ("alaw", 6, 8, g711(Encoding::ALaw)),
    ];
    for ((name, format, bits, bytes), encoding) in table.into_iter().zip(SampleEncoding::ALL) {
        assert_eq!(SampleEncoding::from_name(name), Some(encoding));
        let expected = match format {
            6 | 7 => faded(&bytes.iter().map(|&b| encoding.decode(&[b])).collect::<Vec<_>>()),
            _ => faded(&samples),
        };
        let raw = SourceFormat { encoding, ..RAW };
        assert_eq!(passed(&bytes, Some(raw)).await, (expected.clone(), None), "{name}, raw");
        if format == 0 {
            continue;
        }
        let fmt = fmt(format, 1, 8_000, bits);
        let plain = wav(&[(b"fmt ", &fmt), (b"data", &bytes)]);
        // A header takes precedence over a setting.
        assert_eq!(passed(&plain, Some(RAW)).await, (expected.clone(), None), "{name}, in a WAV");
        let mut extensible = fmt.clone();
        extensible[..2].copy_from_slice(&0xfffe_u16.to_le_bytes());
        extensible.extend([22, 0, bits as u8, 0, 4, 0, 0, 0, format as u8, 0]);
        extensible.extend(*b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71");
        let extensible = wav(&[(b"fmt ", &extensible), (b"data", &bytes)]);
        assert_eq!(passed(&extensible, None).await, (expected, None), "{name}, extensible");
    }
}

#[tokio::test]
async fn wavs_of_all_kinds_are_read() {
    let samples = voice(100);
    let expected = (faded(&samples), None);
    let (fmt8, data) = (fmt(1, 1, 8_000, 16), s16(&samples));
    let plain = wav(&[(b"fmt ", &fmt8), (b"data", &data)]);
    let longer = [fmt8.as_slice(), &[0, 0]].concat();
    let bytes = data.len() as u32;
    let ds64 = [&b"RF64\xff\xff\xff\xffWAVE"[..], &chunk(b"ds64", 28, &[7; 28])].concat();
    let table = [
        ("plain", plain.clone()),
        ("length 0", wav_of_length(0, &samples)),
        ("length of espeak-ng", wav_of_length(0x7fff_f000, &samples)),
        ("length of SoX", wav_of_length(0x7fff_ffff - 36, &samples)),
        ("length of ffmpeg", wav_of_length(u32::MAX, &samples)),
        ("longer fmt", wav(&[(b"fmt ", &longer), (b"data", &data)])),
        (
            "chunks around",
            wav(&[
                (b"JUNK", &[b'R'; 28]),
                (b"LIST", b"INFOISFTodd"),
                (b"fmt ", &fmt8),
                (b"fact", &[1; 4]),
                (b"data", &data),
                (b"LIST", b"INFOISFT and a text that is no audio"),
            ]),
        ),
        ("other bytes after", [plain.clone(), vec![0x42; 77]].concat()),
        ("64 bits", [ds64, chunk(b"fmt ", 16, &fmt8), chunk(b"data", u32::MAX, &data)].concat()),
        ("half a sample", [wav_of_length(u32::MAX, &samples), vec![0x42]].concat()),
        ("half a sample that the length counts", [wav_of_length(bytes + 1, &samples), vec![0x42]].concat()),
        ("half a sample without its other half", {
            [wav_of_length(bytes + 2, &samples), vec![0x42]].concat()
        }),
        ("half a sample that is counted and missing", wav_of_length(bytes + 1, &samples)),
    ];
    for (what, bytes) in table {
        assert_eq!(passed(&bytes, None).await, expected, "{what}");
        assert_eq!(passed(&bytes, Some(SourceFormat { channels: 2, ..RAW })).await, expected, "{what}");
    }
}

#[tokio::test]
async fn channels_are_mixed_in_whole_frames() {
    let stereo: Vec<i16> = voice(100).into_iter().flat_map(|s| [s, s / 2]).collect();
    let mixed: Vec<i16> =
        voice(100).iter().map(|&s| ((i32::from(s) + i32::from(s / 2)) / 2) as i16).collect();
    let expected = (faded(&mixed), None);
    let file = wav(&[(b"fmt ", &fmt(1, 2, 8_000, 16)), (b"data", &s16(&stereo))]);
    assert_eq!(passed(&file, None).await, expected);
    let raw = Some(SourceFormat { channels: 2, ..RAW });
    for surplus in 0..4 {
        let bytes = [s16(&stereo), vec![0x42; surplus]].concat();
        assert_eq!(passed(&bytes, raw).await, expected, "{surplus} bytes too many");
    }
}

#[tokio::test]
async fn headers_among_samples_are_removed() {
    let (first, second) = (voice(100), voice(73));
    let all = faded(&[first.clone(), second.clone()].concat());
    let file = |samples: &[i16]| wav(&[(b"fmt ", &fmt(1, 1, 8_000, 16)), (b"data", &s16(samples))]);
    let table = [
        ("two whole ones", [file(&first), file(&second)].concat()),
        ("of unknown length", [wav_of_length(0, &first), wav_of_length(0, &second)].concat()),
        ("something between", [file(&first), vec![0x42; 11], file(&second)].concat()),
        ("one among samples", [s16(&first), file(&second)].concat()),
        ("after half a sample", [s16(&first), vec![0x42], file(&second)].concat()),
        ("three at once", [file(&[]), file(&first), file(&second)].concat()),
        (
            "inside of a longer one",
            wav(&[(b"fmt ", &fmt(1, 1, 8_000, 16)), (b"data", &[s16(&first), file(&second)].concat())]),
        ),
    ];
    for (what, bytes) in table {
        assert_eq!(passed(&bytes, Some(RAW)).await, (all.clone(), None), "{what}");
    }
    // Bytes that only look like a header are audio.
    for lookalike in [&b"RIFF1234"[..], b"RIFFRIFFWAVE", b"RIFF1234WAVEfmtx", b"RF64RIFF1234WAVx"] {
        let bytes = [s16(&first), lookalike.to_vec(), s16(&second)].concat();
        let (samples, error) = passed(&bytes, Some(RAW)).await;
        assert_eq!((samples.len(), error), (173 + lookalike.len() / 2, None));
        let bytes = [s16(&first), lookalike.to_vec()].concat();
        assert_eq!(passed(&bytes, Some(RAW)).await.0.len(), 100 + lookalike.len() / 2);
    }
}

#[tokio::test]
async fn content_other_than_audio_is_an_error_that_names_it() {
    let html = "<!DOCTYPE html>\r\n<html><head>\t<title>502 Bad\x20Gateway</title></head><body>Sorry. ";
    let html = html.to_owned() + &"The kettle is off. ".repeat(20);
    let mp3: Vec<u8> = (0..4).flat_map(|_| [&[0xff, 0xfb, 0x90, 0x00][..], &[0x55; 413]].concat()).collect();
    let table: [(&[u8], &str); 16] = [
        (
            html.as_bytes(),
            "HTML or XML instead of audio, which begins: <!DOCTYPE html> <html><head> <title>502 Bad",
        ),
        (b"{\"error\":{\"message\":\"no such voice\"}}", "JSON instead of audio, which begins: {\"error\""),
        (b" [1, 2]\n", "JSON"),
        (b"\xef\xbb\xbf{}", "JSON instead of audio, which begins: {}"),
        ("Voix indisponible\u{a0}: café fermé.".as_bytes(), "text instead of audio, which begins: Voix"),
        (&b"y\n".repeat(500), "text"),
        (b"OggS\0\x02 and so on", "Ogg"),
        (b"fLaC\0\0\0\x22 and so on", "FLAC"),
        (b"ID3\x04\0\0\0\0\0\0", "MP3"),
        (&mp3, "MP3"),
        (&mp3[..23], "MP3"),
        (b"\0\0\0\x20ftypisom", "MP4"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86", "WebM"),
        (b"RIFF\0\0\0\0AVI LIST", "a RIFF file other than WAV"),
        (b"RIFX\0\0\0\0WAVEfmt ", "a big-endian WAV"),
        (b"FORM\0\0\0\0AIFFCOMM", "AIFF"),
    ];
    for (bytes, expected) in table {
        for raw in [None, Some(RAW)] {
            let (samples, error) = passed(bytes, raw).await;
            let error = error.expect("an error");
            assert_eq!((samples.len(), error.kind), (0, SynthesisErrorKind::Failed));
            assert!(error.message.contains(expected), "{expected}: {}", error.message);
            assert!(error.message.len() < 250 && !error.message.contains(char::is_control));
        }
    }
    let (samples, error) = passed(&s16(&voice(100)), None).await;
    assert!(samples.is_empty() && error.is_some_and(|e| e.message.contains("sample rate is not set")));
}

#[tokio::test]
async fn samples_that_resemble_other_content_are_audio() {
    let rest = s16(&voice(3_000));
    for first in [
        &[0xff, 0xfb, 0x90, 0x00][..], // one frame of MP3, but no second
        b"{\"a\":",
        b"RIFE",
        &[0x55; 127], // silence in A-law
    ] {
        let (samples, error) = passed(&[first, &rest].concat(), Some(RAW)).await;
        assert_eq!((samples.len(), error), ((first.len() + rest.len()) / 2, None), "{first:?}");
    }
}

#[tokio::test]
async fn damaged_headers_are_errors() {
    let good = fmt(1, 1, 8_000, 16);
    let with = |at: usize, byte: u8| {
        let mut fmt = good.clone();
        fmt[at] = byte;
        wav(&[(b"fmt ", &fmt), (b"data", &s16(&voice(50)))])
    };
    let long = chunk(b"LIST", 2 << 20, &[]);
    let second = wav(&[(b"fmt ", &fmt(1, 1, 16_000, 16)), (b"data", &[1, 2])]);
    let table = [
        (wav(&[(b"data", &[1, 2, 3, 4])]), "does not describe the samples"),
        (wav(&[(b"fmt ", &good[..12]), (b"data", &[1; 50])]), "does not describe the samples"),
        (wav(&[(b"fmt ", &[1; 2_000])]), "does not describe the samples"),
        (with(0, 2), "samples of format 2 with 16 bits"),
        (with(14, 12), "samples of format 1 with 12 bits"),
        (with(2, 0), "it has 0 channels"),
        (with(2, 200), "it has 200 channels"),
        (with(6, 0xff), "channels at 16719680 Hz"),
        (with(12, 4), "contradicts itself"),
        (b"RIFF\0\0\0\0WAVEfmt ".to_vec(), "ended inside its WAV header"),
        ([wav(&[(b"fmt ", &good)]), b"da".to_vec()].concat(), "ended inside its WAV header"),
        ([b"RIFF\0\0\0\0WAVE".to_vec(), long].concat(), "is too long (limit 1048576 bytes)"),
        (wav_of_length(202, &voice(100)), "ended 2 bytes before the end"),
        ([wav_of_length(200, &voice(100)), second].concat(), "from 8000 to 16000 Hz"),
    ];
    for (bytes, expected) in table {
        let (_, error) = passed(&bytes, None).await;
        let error = error.expect("an error");
        assert_eq!(error.kind, SynthesisErrorKind::Failed);
        assert!(error.message.contains(expected), "{expected}: {}", error.message);
    }
    // Audio before an early end is passed on.
    let (samples, _) = passed(&wav_of_length(300, &voice(100)), None).await;
    assert_eq!(samples, faded(&voice(100)));
}

#[tokio::test]
async fn silence_alone_is_no_audio() {
    let hum: Vec<i16> = (0..12_000).map(|n| if n % 20 < 10 { 100 } else { -100 }).collect();
    let table = [
        (Vec::new(), "gave no audio"),
        (s16(&[0; 4_000]), "only silence"),
        (s16(&hum), "only silence"),
        (vec![7], "only silence"),
        (wav_of_length(0, &[]), "only silence"),
        (wav_of_length(8_000, &[0; 4_000]), "only silence"),
    ];
    for (bytes, expected) in table {
        let (samples, error) = passed(&bytes, Some(RAW)).await;
        let error = error.expect("an error");
        assert_eq!((samples.len(), error.kind), (0, SynthesisErrorKind::NoAudio));
        assert!(error.message.contains(expected), "{expected}: {}", error.message);
    }
}

#[tokio::test]
async fn silence_around_speech_is_cut_and_pauses_are_kept() {
    let (speech, silence) = (voice(800), |ms: usize| vec![0i16; ms * 8]);
    let input = s16(&[silence(300), speech.clone(), silence(1_700), speech.clone(), silence(900)].concat());
    let expected = |lead, tail| {
        faded(&[silence(lead), speech.clone(), silence(1_700), speech.clone(), silence(tail)].concat())
    };
    assert_eq!(passed(&input, Some(RAW)).await, (expected(20, 120), None));
    let treatment = Treatment { lead_ms: 0, tail_ms: 700, gain_db: 0.0 };
    for cut in [1, 333, 100_000] {
        let passed = guarded(Some(RAW), treatment, input.chunks(cut)).await;
        assert_eq!(passed, (expected(0, 700), None), "cut into {cut}");
    }
}

#[tokio::test]
async fn gain_makes_louder_and_softer_without_clipping() {
    let input = s16(&[3_000i16, -3_000].repeat(400));
    for (gain_db, expected) in [(6.0206f32, 6_000u16), (-20.0, 300), (60.0, 29_204)] {
        let treatment = Treatment { gain_db, ..Treatment::default() };
        let (samples, error) = guarded(Some(RAW), treatment, input.chunks(1_000)).await;
        assert_eq!(error, None);
        let loudest = samples.iter().map(|s| s.unsigned_abs()).max().expect("there are samples");
        assert!(loudest.abs_diff(expected) <= 2, "{gain_db} dB made 3000 {loudest}");
    }
}

#[tokio::test]
async fn a_flood_is_cut_off_and_not_buffered() {
    let utterance = Utterance::new("Hi.", FORMAT);
    // Silence from the start, silence after a sound, sound, other bytes after a WAV, one endless chunk.
    let file = wav_of_length(200, &voice(100));
    let endless = [b"RIFF\0\0\0\0WAVE".to_vec(), chunk(b"JUNK", 1 << 19, &[])].concat();
    let floods = [
        (Vec::new(), [0; 4_096], Some(SynthesisErrorKind::NoAudio)),
        (s16(&voice(100)), [0; 4_096], Some(SynthesisErrorKind::Failed)),
        (Vec::new(), [0xb1; 4_096], Some(SynthesisErrorKind::Failed)),
        (file, [b'R'; 4_096], None),
        (endless, [0; 4_096], Some(SynthesisErrorKind::Failed)),
    ];
    for (n, (start, flood, expected)) in floods.into_iter().enumerate() {
        let (mut sink, mut speech) = Speech::channel(&utterance, FORMAT.sample_rate_hz);
        let mut guard = Guard::new(Some(RAW), Treatment::default(), &utterance);
        let listener = tokio::spawn(async move { while speech.next().await.is_some() {} });
        let mut result = guard.push(&start, &mut sink);
        let mut samples = 0;
        while result.is_ok() && samples < 1_000_000 {
            result = guard.push(&flood, &mut sink);
            samples += flood.len() / 2;
            sink.drain().await.expect("not cancelled");
            let held =
                guard.chain.as_ref().map_or(0, |chain| chain.trimmed.capacity() + chain.faded.capacity());
            assert!(guard.pending.capacity() <= 16 * 1024 && held <= 64 * 1024, "flood {n}");
        }
        assert_eq!(result.err().map(|error| error.kind), expected, "flood {n}");
        // The limit for three characters is 33 s.
        assert!(expected.is_none() || samples < 600_000, "flood {n} took {samples} samples");
        sink.finish().await;
        listener.await.expect("it ends");
    }
}

#[tokio::test]
async fn a_wav_is_resampled_to_the_rate_of_the_listener() {
    let samples: Vec<i16> = (0..16_000).map(|n| if n % 32 < 16 { 9_000 } else { -9_000 }).collect();
    let file = wav(&[(b"fmt ", &fmt(1, 1, 16_000, 16)), (b"data", &s16(&samples))]);
    let (samples, error) = guarded(None, Treatment::default(), file.chunks(777)).await;
    assert_eq!((samples.len(), error), (8_000, None));
}
