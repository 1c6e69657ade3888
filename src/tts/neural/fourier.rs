//! The Fourier transform of 1,200 real samples, and back.
//!
//! Small crates know powers of two only, and the general one brings seven packages: 120 lines are less.

/// Samples of one transform.
pub(super) const SIZE: usize = 1_200;

/// Values of a spectrum: from 0 Hz to half of the sample rate.
pub(super) const BINS: usize = SIZE / 2 + 1;

/// Length of the complex transform inside: even and odd samples are its real and imaginary parts.
const HALF: usize = SIZE / 2;

/// Factors of [`HALF`]. Each is a pass over the data.
const RADICES: [usize; 5] = [5, 5, 3, 4, 2];

/// Real and imaginary parts of complex values.
#[derive(Clone, Debug)]
pub(super) struct Complex {
    pub(super) re: Vec<f32>,
    pub(super) im: Vec<f32>,
}

impl Complex {
    pub(super) fn zeros(len: usize) -> Complex {
        Complex { re: vec![0.0; len], im: vec![0.0; len] }
    }
}

/// Real and imaginary parts of few values.
type Parts<const N: usize> = ([f32; N], [f32; N]);

/// Tables and buffers for transforms.
#[derive(Clone, Debug)]
pub(super) struct Fourier {
    /// `exp(-2πi k / 600)`.
    roots: Complex,
    /// `exp(-2πi k / 1200)`, which joins the transforms of even and odd samples.
    joints: Complex,
    data: Complex,
    spare: Complex,
}

fn circle(count: usize, of: usize) -> Complex {
    let angle = |k: usize| -2.0 * std::f64::consts::PI * k as f64 / of as f64;
    Complex {
        re: (0..count).map(|k| libm::cos(angle(k)) as f32).collect(),
        im: (0..count).map(|k| libm::sin(angle(k)) as f32).collect(),
    }
}

impl Fourier {
    pub(super) fn new() -> Fourier {
        Fourier {
            roots: circle(HALF, HALF),
            joints: circle(BINS, SIZE),
            data: Complex::zeros(HALF),
            spare: Complex::zeros(HALF),
        }
    }

    /// Writes the spectrum of [`SIZE`] samples into `spectrum`, which has [`BINS`] values.
    pub(super) fn forward(&mut self, samples: &[f32], spectrum: &mut Complex) {
        for (n, pair) in samples.as_chunks::<2>().0.iter().enumerate() {
            (self.data.re[n], self.data.im[n]) = (pair[0], pair[1]);
        }
        self.transform();
        for k in 0..BINS {
            let (a, b) = (k % HALF, (HALF - k) % HALF);
            let (ar, ai) = (self.data.re[a], self.data.im[a]);
            let (br, bi) = (self.data.re[b], -self.data.im[b]);
            let (even, odd) = (((ar + br) / 2.0, (ai + bi) / 2.0), ((ai - bi) / 2.0, (br - ar) / 2.0));
            let (wr, wi) = (self.joints.re[k], self.joints.im[k]);
            spectrum.re[k] = even.0 + odd.0 * wr - odd.1 * wi;
            spectrum.im[k] = even.1 + odd.0 * wi + odd.1 * wr;
        }
    }

    /// Writes the [`SIZE`] samples of a spectrum of [`BINS`] values into `samples`.
    pub(super) fn inverse(&mut self, spectrum: &Complex, samples: &mut [f32]) {
        for k in 0..HALF {
            let (ar, ai) = (spectrum.re[k], spectrum.im[k]);
            let (br, bi) = (spectrum.re[HALF - k], -spectrum.im[HALF - k]);
            let (even, diff) = ((ar + br, ai + bi), (ar - br, ai - bi));
            let (wr, wi) = (self.joints.re[k], -self.joints.im[k]);
            let odd = (diff.0 * wr - diff.1 * wi, diff.0 * wi + diff.1 * wr);
            // The inverse of a transform is the transform of the conjugate values, conjugated.
            self.data.re[k] = even.0 - odd.1;
            self.data.im[k] = -(even.1 + odd.0);
        }
        // The imaginary parts of 0 Hz and of the highest frequency do not count for a real signal.
        self.data.re[0] = spectrum.re[0] + spectrum.re[HALF];
        self.data.im[0] = -(spectrum.re[0] - spectrum.re[HALF]);
        self.transform();
        let scale = 1.0 / SIZE as f32;
        for (n, pair) in samples.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            *pair = [self.data.re[n] * scale, -self.data.im[n] * scale];
        }
    }

    /// Transforms `data` (Stockham's algorithm, which needs no sorting).
    fn transform(&mut self) {
        let (mut length, mut stride) = (HALF, 1);
        for radix in RADICES {
            match radix {
                2 => self.pass(length, stride, two),
                3 => self.pass(length, stride, three),
                4 => self.pass(length, stride, four),
                _ => self.pass(length, stride, five),
            }
            (length, stride) = (length / radix, stride * radix);
        }
    }

    /// One pass with transforms of `N` values.
    fn pass<const N: usize>(
        &mut self,
        length: usize,
        stride: usize,
        small: fn([f32; N], [f32; N]) -> Parts<N>,
    ) {
        let rest = length / N;
        for j in 0..rest {
            // `exp(-2πi jk / length)`.
            let turns: [_; N] =
                std::array::from_fn(|k| (self.roots.re[j * k * stride], self.roots.im[j * k * stride]));
            for q in 0..stride {
                let at = |r: usize| q + stride * (j + rest * r);
                let (re, im) = small(
                    std::array::from_fn(|r| self.data.re[at(r)]),
                    std::array::from_fn(|r| self.data.im[at(r)]),
                );
                for (k, (wr, wi)) in turns.into_iter().enumerate() {
                    let to = q + stride * (N * j + k);
                    self.spare.re[to] = re[k] * wr - im[k] * wi;
                    self.spare.im[to] = re[k] * wi + im[k] * wr;
                }
            }
        }
        std::mem::swap(&mut self.data, &mut self.spare);
    }
}

fn two(re: [f32; 2], im: [f32; 2]) -> ([f32; 2], [f32; 2]) {
    ([re[0] + re[1], re[0] - re[1]], [im[0] + im[1], im[0] - im[1]])
}

fn three(re: [f32; 3], im: [f32; 3]) -> ([f32; 3], [f32; 3]) {
    /// Sine of 60°.
    const S: f32 = 0.866_025_4;
    let (sum_re, sum_im) = (re[1] + re[2], im[1] + im[2]);
    let (mid_re, mid_im) = (re[0] - sum_re / 2.0, im[0] - sum_im / 2.0);
    let (side_re, side_im) = (S * (im[1] - im[2]), S * (re[2] - re[1]));
    (
        [re[0] + sum_re, mid_re + side_re, mid_re - side_re],
        [im[0] + sum_im, mid_im + side_im, mid_im - side_im],
    )
}

fn four(re: [f32; 4], im: [f32; 4]) -> ([f32; 4], [f32; 4]) {
    let (a_re, a_im, b_re, b_im) = (re[0] + re[2], im[0] + im[2], re[0] - re[2], im[0] - im[2]);
    let (c_re, c_im, d_re, d_im) = (re[1] + re[3], im[1] + im[3], im[1] - im[3], re[3] - re[1]);
    (
        [a_re + c_re, b_re + d_re, a_re - c_re, b_re - d_re],
        [a_im + c_im, b_im + d_im, a_im - c_im, b_im - d_im],
    )
}

fn five(re: [f32; 5], im: [f32; 5]) -> ([f32; 5], [f32; 5]) {
    // Cosines and sines of 72° and 144°.
    const C1: f32 = 0.309_017;
    const C2: f32 = -0.809_017;
    const S1: f32 = 0.951_056_5;
    const S2: f32 = 0.587_785_24;
    let (p_re, p_im, m_re, m_im) = (re[1] + re[4], im[1] + im[4], re[1] - re[4], im[1] - im[4]);
    let (q_re, q_im, n_re, n_im) = (re[2] + re[3], im[2] + im[3], re[2] - re[3], im[2] - im[3]);
    let (a_re, a_im) = (re[0] + C1 * p_re + C2 * q_re, im[0] + C1 * p_im + C2 * q_im);
    let (b_re, b_im) = (re[0] + C2 * p_re + C1 * q_re, im[0] + C2 * p_im + C1 * q_im);
    let (c_re, c_im) = (S1 * m_im + S2 * n_im, -S1 * m_re - S2 * n_re);
    let (d_re, d_im) = (S2 * m_im - S1 * n_im, -S2 * m_re + S1 * n_re);
    (
        [re[0] + p_re + q_re, a_re + c_re, b_re + d_re, b_re - d_re, a_re - c_re],
        [im[0] + p_im + q_im, a_im + c_im, b_im + d_im, b_im - d_im, a_im - c_im],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples without a pattern, from −1 to 1.
    fn noise() -> Vec<f32> {
        (0..SIZE as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 8) as f32 / 8_388_608.0 - 1.0).collect()
    }

    #[test]
    fn a_spectrum_is_the_sum_that_defines_it() {
        let samples = noise();
        let mut spectrum = Complex::zeros(BINS);
        Fourier::new().forward(&samples, &mut spectrum);
        for k in [0, 1, 2, 3, 7, 100, 299, 300, 301, 598, 599, 600] {
            let angle = |n: usize| -2.0 * std::f64::consts::PI * (n * k) as f64 / SIZE as f64;
            let sum = |part: fn(f64) -> f64| -> f64 {
                samples.iter().enumerate().map(|(n, &s)| f64::from(s) * part(angle(n))).sum()
            };
            assert!((f64::from(spectrum.re[k]) - sum(f64::cos)).abs() < 1e-3, "real part of {k}");
            assert!((f64::from(spectrum.im[k]) - sum(f64::sin)).abs() < 1e-3, "imaginary part of {k}");
        }
    }

    #[test]
    fn the_inverse_gives_the_samples_back() {
        let samples = noise();
        let (mut spectrum, mut back) = (Complex::zeros(BINS), vec![0.0; SIZE]);
        let mut fourier = Fourier::new();
        for _ in 0..2 {
            fourier.forward(&samples, &mut spectrum);
            fourier.inverse(&spectrum, &mut back);
            assert!(samples.iter().zip(&back).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }
}
