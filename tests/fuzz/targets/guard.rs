//! Any bytes from a program or a speech service: the audio is whole samples and of limited length, a fault has a
//! sentence, and the result does not depend on how the bytes are cut.
#![no_main]

use aloud::audio::{Encoding, Format};
use aloud::tts::{Piece, SampleEncoding, Utterance};
use aloud::unstable::guarded;
use libfuzzer_sys::fuzz_target;

const FORMAT: Format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 };

const RAW: [(SampleEncoding, u32, u16); 5] = [
    (SampleEncoding::PcmS16le, 8_000, 1),
    (SampleEncoding::PcmS24le, 4_000, 2),
    (SampleEncoding::PcmF32le, 48_000, 1),
    (SampleEncoding::PcmU8, 22_050, 16),
    (SampleEncoding::MuLaw, 8_000, 3),
];

/// The audio, and the sentence of a fault.
fn heard(kind: u8, pieces: &mut dyn Iterator<Item = &[u8]>) -> (Vec<u8>, Option<String>) {
    let utterance = Utterance::new("Hi.", FORMAT);
    let raw = RAW.get(usize::from(kind)).copied();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut speech, ending) = guarded(raw, &utterance, pieces);
    runtime.block_on(async {
        let (mut audio, mut fault) = (Vec::new(), None);
        let reading = async {
            while let Some(piece) = speech.next().await {
                match piece {
                    Ok(Piece::Audio(more)) => audio.extend_from_slice(&more),
                    Ok(_) => {}
                    Err(error) => fault = Some(error.message.clone()),
                }
            }
        };
        tokio::join!(reading, ending);
        (audio, fault)
    })
}

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (kind, size, bytes) = input;
    let kind = kind % 8;
    let (audio, fault) = heard(kind, &mut std::iter::once(bytes));
    assert_eq!(audio.len() % 2, 0);
    // 30 s and 1 s for each character, resampled.
    assert!(audio.len() <= 34 * 8_000 * 2, "{}", audio.len());
    assert!(fault.as_ref().is_none_or(|fault| !fault.is_empty()), "{fault:?}");
    let cut = heard(kind, &mut bytes.chunks(usize::from(size).max(1)));
    assert!(cut == (audio, fault.clone()), "{fault:?} {:?}", cut.1);
});
