use super::*;
use crate::audio::Format;
use crate::tts::testing::{all, chunk, pieces, soon};
use crate::tts::{Speech, SynthesisErrorKind};
use std::future::Future;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// An utterance in frames of 10 bytes, which are 5 samples.
fn utterance() -> Utterance {
    let format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 };
    Utterance { frame_bytes: 10, ..Utterance::new("Hello.", format) }
}

/// Returns this many samples, counted up from the first one.
fn samples(first: usize, count: usize) -> Vec<i16> {
    (first..first + count).map(|n| (n % 30_000) as i16).collect()
}

fn bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|s| s.to_le_bytes()).collect()
}

/// Polls for the next piece, without waiting.
fn now(speech: &mut Speech) -> Poll<Option<Result<Piece, SynthesisError>>> {
    speech.poll_next(&mut Context::from_waker(Waker::noop()))
}

/// Returns the chunk that is available now.
fn audio(speech: &mut Speech) -> Bytes {
    match now(speech) {
        Poll::Ready(Some(Ok(piece))) => chunk(piece),
        other => panic!("no audio but {other:?}"),
    }
}

/// Polls a future once.
fn poll<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Poll<T> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn audio_arrives_whole_in_chunks_of_frames_that_double() {
    let (mut sink, speech) = Speech::channel(&utterance(), 8_000);
    let input = samples(0, 40_003);
    let writing = input.clone();
    tokio::spawn(async move {
        for piece in writing.chunks(77) {
            sink.write(piece).await.expect("not cancelled");
        }
        sink.finish().await;
    });
    let (chunks, error) = all(speech).await;
    assert_eq!(error, None);
    assert_eq!(chunks.concat(), bytes(&input));
    let sizes: Vec<usize> = chunks.iter().map(Bytes::len).collect();
    assert_eq!(sizes[..5], [10, 20, 40, 80, 160]);
    let (last, others) = sizes.split_last().expect("there are chunks");
    assert!(others.iter().all(|size| size % 10 == 0 && *size <= MAX_CHUNK_BYTES), "{sizes:?}");
    assert_eq!(others.iter().max(), Some(&(MAX_CHUNK_BYTES / 10 * 10)));
    assert!(*last > 0);
}

#[tokio::test]
async fn a_frame_may_be_larger_than_a_chunk_would_be() {
    let utterance = Utterance { frame_bytes: 64 * 1024, ..utterance() };
    let (mut sink, speech) = Speech::channel(&utterance, 8_000);
    sink.push(&samples(0, 70_000)).expect("not cancelled");
    tokio::spawn(sink.finish());
    let sizes: Vec<usize> = all(speech).await.0.iter().map(Bytes::len).collect();
    assert_eq!(sizes, [65_536, 65_536, 8_928]);
}

#[tokio::test]
async fn a_sink_gives_the_encoding_of_the_utterance() {
    for (encoding, bytes) in [(Encoding::MuLaw, [0xff, 0x7f, 0x80]), (Encoding::ALaw, [0xd5, 0x55, 0xaa])] {
        let format = Format { encoding, sample_rate_hz: 8_000 };
        let (mut sink, speech) = Speech::channel(&Utterance::new("Hello.", format), 8_000);
        sink.push(&[0, -1, i16::MAX]).expect("not cancelled");
        tokio::spawn(sink.finish());
        assert_eq!(all(speech).await.0.concat(), bytes);
    }
}

#[tokio::test]
async fn a_sink_gives_the_rate_of_the_utterance_to_the_last_sample() {
    let input = samples(0, 10_000);
    for (from, encoding) in [(16_000, Encoding::PcmS16le), (22_050, Encoding::ALaw)] {
        let format = Format { encoding, sample_rate_hz: 8_000 };
        let (mut resampled, mut expected) = (Vec::new(), Vec::new());
        let mut resampler = Resampler::new(from, 8_000).expect("rates of the list");
        resampler.push(&input, &mut resampled);
        resampler.finish(&mut resampled);
        encoding.encode(&resampled, &mut expected);
        for error in [None, Some(SynthesisError::failed("Enough."))] {
            // A frame of one sample gives chunks of many sizes, and several for the tail alone.
            let frame_bytes = encoding.bytes_per_sample();
            let utterance = Utterance { frame_bytes, ..Utterance::new("Hello.", format) };
            let (mut sink, speech) = Speech::channel(&utterance, from);
            let (writing, ending) = (input.clone(), error.clone());
            tokio::spawn(async move {
                for piece in writing.chunks(333) {
                    sink.write(piece).await.expect("not cancelled");
                }
                match ending {
                    None => sink.finish().await,
                    Some(error) => sink.fail(error).await,
                }
            });
            let (chunks, ended) = all(speech).await;
            assert_eq!(chunks.concat(), expected);
            assert_eq!(ended, error);
            assert!(chunks.iter().all(|chunk| (1..=MAX_CHUNK_BYTES).contains(&chunk.len())));
        }
    }
}

#[tokio::test]
async fn buffered_bytes_count_audio_in_the_channel_and_in_the_sink() {
    let (mut sink, mut speech) = Speech::channel(&utterance(), 8_000);
    assert_eq!(speech.buffered_bytes(), 0);
    // Less than a chunk: all of it is in the buffer.
    sink.push(&samples(0, 3)).expect("not cancelled");
    assert_eq!(speech.buffered_bytes(), 6);
    // Four chunks in the channel, one that waits, and a buffer. Words are not audio.
    sink.words(vec![word(0)]);
    sink.push(&samples(3, 157)).expect("not cancelled");
    assert!(!sink.waiting.is_empty() && !sink.buffer.is_empty());
    assert_eq!(speech.buffered_bytes(), 320);
    let mut left = 320;
    tokio::spawn(sink.finish());
    while let Some(piece) = soon(speech.next()).await {
        if let Piece::Audio(chunk) = piece.expect("no error") {
            left -= chunk.len() as u64;
        }
        assert_eq!(speech.buffered_bytes(), left);
    }
    assert_eq!((speech.buffered_bytes(), left), (0, 0));
}

#[tokio::test]
async fn buffered_bytes_are_in_the_format_of_the_listener() {
    let format = Format { encoding: Encoding::MuLaw, sample_rate_hz: 8_000 };
    let utterance = Utterance { frame_bytes: 10, ..Utterance::new("Hello.", format) };
    let (mut sink, mut speech) = Speech::channel(&utterance, 24_000);
    let mut resampler = Resampler::new(24_000, 8_000).expect("rates of the list");
    let (mut encoded, mut received) = (Vec::new(), 0);
    for n in 0..20 {
        let input = samples(n * 1_000, 1_000);
        resampler.push(&input, &mut encoded);
        sink.push(&input).expect("not cancelled");
        assert_eq!(speech.buffered_bytes(), (encoded.len() - received) as u64);
        // The rest is more than the channel has room for.
        if n < 4 {
            received += audio(&mut speech).len();
        }
        assert_eq!(speech.buffered_bytes(), (encoded.len() - received) as u64);
    }
    // The end adds the samples that the resampler held back.
    resampler.finish(&mut encoded);
    let mut finishing = Box::pin(sink.finish());
    assert!(poll(&mut finishing).is_pending());
    assert_eq!(speech.buffered_bytes(), (encoded.len() - received) as u64);
    tokio::spawn(finishing);
    while let Some(piece) = soon(speech.next()).await {
        received += chunk(piece.expect("no error")).len();
        assert_eq!(speech.buffered_bytes(), (encoded.len() - received) as u64);
    }
    assert_eq!(received, encoded.len());
}

#[tokio::test]
async fn buffered_bytes_are_0_after_the_end_and_for_ready_audio() {
    // A dropped sink discards the audio that it did not pass on.
    let (mut sink, mut speech) = Speech::channel(&utterance(), 8_000);
    sink.push(&samples(0, 7)).expect("not cancelled");
    drop(sink);
    assert_eq!(audio(&mut speech).len(), 10);
    assert!(matches!(now(&mut speech), Poll::Ready(Some(Err(_)))));
    assert_eq!(speech.buffered_bytes(), 0);

    let (mut sink, mut speech) = Speech::channel(&utterance(), 8_000);
    sink.push(&samples(0, 7)).expect("not cancelled");
    tokio::spawn(sink.fail(SynthesisError::failed("Enough.")));
    while soon(speech.next()).await.is_some_and(|piece| piece.is_ok()) {}
    assert_eq!(speech.buffered_bytes(), 0);

    let chunks = std::iter::repeat(Bytes::from_static(b"ab"));
    let mut speech = Speech::ready(&utterance(), chunks);
    audio(&mut speech);
    assert_eq!(speech.buffered_bytes(), 0);
    assert_eq!(Speech::failed(SynthesisError::failed("No voice.")).buffered_bytes(), 0);
}

#[tokio::test]
async fn nothing_is_resampled_without_need() {
    let (sink, _speech) = Speech::channel(&utterance(), 8_000);
    assert!(sink.resampler.is_none());
    let (sink, speech) = Speech::channel(&utterance(), 16_000);
    assert!(sink.resampler.is_some());
    // An utterance without samples has none after resampling.
    tokio::spawn(sink.finish());
    assert_eq!(all(speech).await, (vec![], None));
}

#[tokio::test]
async fn a_rate_that_cannot_be_converted_fails_the_utterance_and_stops_the_engine() {
    let (mut sink, speech) = Speech::channel(&utterance(), 44_111);
    assert_eq!(sink.push(&[1]), Err(Cancelled));
    let (chunks, error) = all(speech).await;
    assert!(chunks.is_empty());
    assert!(error.is_some_and(|error| error.message.contains("44111")));
}

#[tokio::test]
async fn a_short_sentence_is_one_short_chunk_and_an_empty_one_none() {
    let (mut sink, speech) = Speech::channel(&utterance(), 8_000);
    sink.push(&[7]).expect("not cancelled");
    tokio::spawn(sink.finish());
    assert_eq!(all(speech).await, (vec![Bytes::from_static(&[7, 0])], None));

    let (sink, speech) = Speech::channel(&utterance(), 8_000);
    tokio::spawn(sink.finish());
    assert_eq!(all(speech).await, (vec![], None));
}

#[tokio::test]
async fn a_slow_listener_keeps_drain_waiting_but_not_push() {
    let (mut sink, mut speech) = Speech::channel(&utterance(), 8_000);
    // Chunks of 5, 10, 20, 40 and 80 samples: one more than the channel holds.
    sink.push(&samples(0, 155)).expect("not cancelled");
    assert_eq!(sink.waiting.len(), 1);
    assert_eq!(poll(&mut Box::pin(sink.drain())), Poll::Pending);
    // The future above was dropped, and nothing was lost.
    assert_eq!(sink.waiting.len(), 1);

    let mut received = vec![audio(&mut speech)];
    assert_eq!(poll(&mut Box::pin(sink.drain())), Poll::Ready(Ok(())));
    assert_eq!(sink.waiting.len(), 0);

    // Without a drain too, the waiting chunk is sent as soon as there is room.
    sink.push(&samples(155, 160)).expect("not cancelled");
    assert_eq!(sink.waiting.len(), 1);
    received.push(audio(&mut speech));
    sink.push(&samples(315, 1)).expect("not cancelled");
    assert_eq!(sink.waiting.len(), 0);

    tokio::spawn(sink.finish());
    received.extend(all(speech).await.0);
    assert_eq!(received.concat(), bytes(&samples(0, 316)));
}

/// A word of one byte in one millisecond.
fn word(n: usize) -> Word {
    let at = |n: usize| Duration::from_millis(n as u64);
    Word { text_range: n..n + 1, start: at(n), end: at(n + 1) }
}

#[tokio::test]
async fn words_come_in_order_and_before_the_audio_that_waits() {
    let (mut sink, speech) = Speech::channel(&utterance(), utterance().format.sample_rate_hz);
    sink.words(vec![]);
    sink.words(vec![word(0)]);
    // The first chunks fill the channel; the rest waits.
    sink.push(&samples(0, 155)).expect("not cancelled");
    assert_eq!(sink.waiting.len(), 2);
    sink.words(vec![word(1), word(2)]);
    sink.words(vec![word(3)]);
    tokio::spawn(sink.finish());
    let (pieces, error) = pieces(speech).await;
    assert_eq!(error, None);
    let words = |n: usize| match &pieces[n] {
        Piece::Words(words) => words.clone(),
        other => panic!("no words but {other:?}"),
    };
    assert_eq!(words(0), [word(0)]);
    assert_eq!(words(4), [word(1), word(2)]);
    assert_eq!(words(5), [word(3)]);
    let audio = pieces.into_iter().filter(|piece| matches!(piece, Piece::Audio(_))).map(chunk);
    assert_eq!(audio.collect::<Vec<_>>().concat(), bytes(&samples(0, 155)));
}

#[tokio::test]
async fn a_warning_overtakes_the_audio_that_waits() {
    let (mut sink, speech) = Speech::channel(&utterance(), 8_000);
    sink.push(&samples(0, 155)).expect("not cancelled");
    assert_eq!(sink.waiting.len(), 1);
    sink.warn("retrying_engine", "Once more.");
    tokio::spawn(sink.finish());
    let (pieces, error) = pieces(speech).await;
    assert_eq!((pieces.len(), error), (6, None));
    let warning =
        Warning { code: "retrying_engine", message: "Once more.".to_owned(), text_ranges: Vec::new() };
    assert_eq!(pieces[4], Piece::Warning(warning));
}

#[tokio::test]
async fn a_rate_can_be_learnt_late() {
    let spoken = async |first: u32, late: Option<u32>| {
        let (mut sink, speech) = Speech::channel(&utterance(), first);
        if let Some(rate) = late {
            sink.set_sample_rate(rate).expect("a rate of the list");
        }
        sink.push(&samples(0, 100)).expect("not cancelled");
        tokio::spawn(sink.finish());
        all(speech).await
    };
    assert_eq!(spoken(8_000, Some(16_000)).await, spoken(16_000, None).await);
    assert_eq!(spoken(16_000, Some(8_000)).await, spoken(8_000, None).await);
    let (mut sink, _speech) = Speech::channel(&utterance(), 8_000);
    assert!(sink.set_sample_rate(44_111).is_err());
    assert!(sink.push(&[1]).is_ok());
}

#[tokio::test]
async fn words_arrive_before_a_failure_and_not_after_the_listener_left() {
    let (mut sink, speech) = Speech::channel(&utterance(), utterance().format.sample_rate_hz);
    sink.words(vec![word(0)]);
    let error = SynthesisError::failed("Enough.");
    tokio::spawn(sink.fail(error.clone()));
    assert_eq!(pieces(speech).await, (vec![Piece::Words(vec![word(0)])], Some(error)));

    let (mut sink, speech) = Speech::channel(&utterance(), utterance().format.sample_rate_hz);
    drop(speech);
    sink.words(vec![word(0)]);
    assert_eq!(sink.push(&[1]), Err(Cancelled));
}

#[tokio::test]
async fn writing_resumes_when_the_listener_does() {
    let (mut sink, mut speech) = Speech::channel(&utterance(), 8_000);
    let input = samples(0, 300_000);
    let mut writing = Box::pin(sink.write(&input));
    assert_eq!(poll(&mut writing), Poll::Pending);
    let mut received = 0;
    while poll(&mut writing).is_pending() {
        received += chunk(soon(speech.next()).await.expect("a chunk").expect("audio")).len();
    }
    assert!(received > 500_000, "{received}");
}

#[tokio::test]
async fn dropping_the_speech_cancels() {
    let (mut sink, speech) = Speech::channel(&utterance(), 8_000);
    assert!(!sink.is_cancelled());
    assert_eq!(poll(&mut Box::pin(sink.cancelled())), Poll::Pending);
    drop(speech);
    assert!(sink.is_cancelled());
    soon(sink.cancelled()).await;
    assert_eq!(sink.push(&[1]), Err(Cancelled));
    assert_eq!(soon(sink.write(&[1])).await, Err(Cancelled));
    soon(sink.finish()).await;
}

#[tokio::test]
async fn dropping_the_speech_ends_every_wait() {
    let full = || {
        let (mut sink, speech) = Speech::channel(&utterance(), 8_000);
        sink.push(&samples(0, 1_000)).expect("not cancelled");
        (sink, speech)
    };
    let (mut sink, speech) = full();
    let mut draining = Box::pin(sink.drain());
    assert_eq!(poll(&mut draining), Poll::Pending);
    drop(speech);
    assert_eq!(soon(draining).await, Err(Cancelled));

    let (sink, speech) = full();
    let mut finishing = Box::pin(sink.finish());
    assert_eq!(poll(&mut finishing), Poll::Pending);
    drop(speech);
    soon(finishing).await;
}

#[tokio::test]
async fn a_sink_that_is_dropped_has_failed() {
    let (mut sink, speech) = Speech::channel(&utterance(), 8_000);
    sink.push(&samples(0, 5)).expect("not cancelled");
    drop(sink);
    let (chunks, error) = all(speech).await;
    assert_eq!(chunks.concat(), bytes(&samples(0, 5)));
    assert_eq!(error.map(|error| error.kind), Some(SynthesisErrorKind::Failed));
}

#[tokio::test]
async fn an_error_comes_after_the_audio_before_it() {
    let (mut sink, speech) = Speech::channel(&utterance(), 8_000);
    let input = samples(0, 9_999);
    sink.push(&input).expect("not cancelled");
    let error = SynthesisError::no_audio("Enough.");
    tokio::spawn(sink.fail(error.clone()));
    let (chunks, ended) = all(speech).await;
    assert_eq!(chunks.concat(), bytes(&input));
    assert_eq!(ended, Some(error));
}

#[test]
fn cancelled_is_displayed_as_a_sentence() {
    assert_eq!(Cancelled.to_string(), "the listener is gone");
}
