//! Speed of changing the sample rate, as a multiple of real time on one core.

use aloud::unstable::Resampler;
use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

const PAIRS: [(u32, u32); 6] =
    [(16_000, 48_000), (24_000, 8_000), (16_000, 8_000), (22_050, 48_000), (8_000, 44_100), (48_000, 44_100)];

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --benches` runs this too, without figures.
    let seconds = if std::env::args().any(|arg| arg == "--bench") { 600 } else { 1 };
    for (from, to) in PAIRS {
        let begun = Instant::now();
        let mut resampler = Resampler::new(from, to).ok_or("no such ratio")?;
        let table = begun.elapsed();
        // A second of noise, pushed 10 ms at a time, as an engine does.
        let mut state = 1u32;
        let noise: Vec<i16> = (0..from)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 18) as i16
            })
            .collect();
        let mut out = Vec::new();
        let begun = Instant::now();
        for _ in 0..seconds {
            for piece in noise.chunks(from as usize / 100) {
                out.clear();
                resampler.push(black_box(piece), &mut out);
                black_box(&out);
            }
        }
        let taken = begun.elapsed();
        let faster = Duration::from_secs(seconds).as_secs_f64() / taken.as_secs_f64();
        println!("{from} to {to} Hz: {faster:.0} times real time; its table takes {table:.2?}");
    }
    Ok(())
}
