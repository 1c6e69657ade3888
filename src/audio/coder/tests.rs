#![allow(clippy::unwrap_used)] // A test that cannot go on should stop where it is.

use super::*;
use crate::audio::coded;
use std::f64::consts::TAU;

/// All formats that this build encodes into.
fn formats() -> impl Iterator<Item = Format> {
    let all = Encoding::CODED.into_iter().flat_map(|encoding| {
        encoding.coded_rates().iter().map(move |&sample_rate_hz| Format { encoding, sample_rate_hz })
    });
    all.filter(|format| Coder::supports(*format))
}

/// A tone that grows and rises, of so many samples.
fn tone(rate: u32, samples: usize) -> Vec<i16> {
    let at = |n: usize| {
        let seconds = n as f64 / f64::from(rate);
        let turns = seconds * (200.0 + seconds * 400.0);
        ((turns * TAU).sin() * (seconds * 40_000.0).min(20_000.0)) as i16
    };
    (0..samples).map(at).collect()
}

fn bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

fn encoded(format: Format, samples: &[i16], cut: usize) -> Vec<u8> {
    let (mut coder, mut out) = (Coder::new(format).unwrap(), Vec::new());
    bytes(samples).chunks(cut).for_each(|piece| coder.push(piece, &mut out));
    coder.finish(&mut out);
    out
}

/// Decodes whole frames with one decoder.
fn decoded(format: Format, frames: &[u8]) -> Vec<f32> {
    let mut samples = Vec::new();
    match format.encoding {
        #[cfg(feature = "mp3")]
        Encoding::Mp3 => {
            let mut decoder = rusty_mp3::Mp3Decoder::new();
            decoder.push(frames);
            decoder.flush();
            while let Ok(frame) = decoder.next_frame() {
                assert_eq!((frame.sample_rate, frame.channels), (format.sample_rate_hz, 1));
                samples.extend(frame.samples);
            }
        }
        #[cfg(feature = "opus")]
        Encoding::Opus => {
            let rate = format.sample_rate_hz as i32;
            let mut decoder = opus_pure::OpusDecoder::new(rate, 1).unwrap();
            let mut block = vec![0.0; opus_pure::MAX_PACKET_SAMPLES];
            for packet in frames.chunks(format.unit_bytes()) {
                let count = decoder.decode(packet, rate as usize / 50, &mut block).unwrap();
                samples.extend_from_slice(&block[..count]);
            }
        }
        other => panic!("{other:?}"),
    }
    samples
}

/// Correlation of samples with decoded ones from `delay` on.
fn likeness(samples: &[i16], decoded: &[f32], delay: usize) -> f64 {
    let pairs = samples.iter().zip(&decoded[delay..]).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    let (product, left, right) =
        pairs.fold((0.0, 0.0, 0.0), |(p, l, r), (a, b)| (p + a * b, l + a * a, r + b * b));
    product / f64::sqrt(left * right).max(1e-9)
}

#[test]
fn every_frame_has_the_same_length_and_cuts_do_not_matter() {
    for format in formats() {
        let (rate, frame) = (format.sample_rate_hz as usize, format.unit_bytes());
        let noise: Vec<i16> =
            (0..rate as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 16) as i16).collect();
        for samples in [tone(format.sample_rate_hz, rate), noise, vec![0; rate], vec![i16::MAX; rate]] {
            for length in [1, 90, 576, 577, rate / 50, rate / 3] {
                let whole = encoded(format, &samples[..length], usize::MAX);
                assert!(whole.len().is_multiple_of(frame) && !whole.is_empty(), "{format:?}: {length}");
                let audio = format.duration(whole.len() as u64).as_secs_f64() * rate as f64;
                let surplus = audio - length as f64;
                let delay = format.coding_delay().as_secs_f64() * rate as f64;
                assert!((delay - 1.0..2_000.0).contains(&surplus), "{format:?}: {length} became {audio}");
                for cut in [34, 640] {
                    assert!(encoded(format, &samples[..length], cut) == whole, "{format:?}: {length}/{cut}");
                }
                if format.encoding == Encoding::Mp3 {
                    let begins = |frame: &[u8]| frame[..3] == coded::silence(format)[..3];
                    assert!(whole.chunks(frame).all(begins), "{format:?}: a header in front of each frame");
                }
            }
        }
    }
}

#[test]
fn frames_decode_to_the_same_audio_at_the_same_time() {
    for format in formats() {
        let samples = tone(format.sample_rate_hz, format.sample_rate_hz as usize);
        let decoded = decoded(format, &encoded(format, &samples, 640));
        let delay = (format.coding_delay().as_secs_f64() * f64::from(format.sample_rate_hz)).round() as usize;
        let found = likeness(&samples, &decoded, delay);
        assert!(found > 0.92, "{format:?}: {found} at {delay}");
        let samples = &samples[format.sample_rate_hz as usize / 4..][..4_000];
        let decoded = &decoded[format.sample_rate_hz as usize / 4..];
        let best = (0..1_500).map(|delay| (likeness(samples, decoded, delay), delay));
        let best = best.fold((0.0, 0), |best, one| if one.0 > best.0 + 1e-4 { one } else { best });
        assert!(
            best.1.abs_diff(delay) <= format.sample_rate_hz as usize / 1_000,
            "{format:?}: {best:?}, {delay}"
        );
    }
}

#[test]
fn sentences_and_silence_follow_each_other_in_one_stream() {
    for format in formats() {
        let rate = format.sample_rate_hz as usize;
        let samples = tone(format.sample_rate_hz, rate / 2);
        let sentence = encoded(format, &samples, usize::MAX);
        let silence = coded::silence(format).repeat(10);
        let one = format.unit_bytes();
        let frame = (format.duration(one as u64).as_secs_f64() * rate as f64).round() as usize;
        let lead = coded::lead(format);
        let stream = decoded(format, &[&sentence[..], &silence, &sentence, lead, &sentence].concat());
        let at = |bytes: usize| bytes / one * frame;
        assert_eq!(stream.len(), at(3 * sentence.len() + silence.len() + lead.len()), "{format:?}");
        let peak = |from: usize, to: usize| stream[from..to].iter().fold(0.0f32, |peak, s| peak.max(s.abs()));
        // What the decoder has of the sentence before is over after two frames.
        let quiet = peak(at(sentence.len()) + 3 * frame, at(sentence.len() + silence.len()));
        assert!(quiet < 0.001, "{format:?}: {quiet}");
        let delay = (format.coding_delay().as_secs_f64() * rate as f64).round() as usize;
        let second = sentence.len() + silence.len();
        for start in [0, second, second + sentence.len() + lead.len()] {
            let found = likeness(&samples, &stream[at(start)..], delay);
            assert!(found > 0.92, "{format:?}: {found} at {start}");
        }
        let peak = peak(0, stream.len());
        assert!(peak < 0.8, "{format:?}: {peak}");
    }
}
