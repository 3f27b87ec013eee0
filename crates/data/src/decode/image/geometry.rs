//! The size that images are brought to: as Pillow resizes, and as torchvision finds the shorter side and the center.

use crate::{Extent, Interpolation};

/// A pixel's number.
pub trait Sample: Copy + Default {
    /// The largest.
    const MAX: i64;
    /// As an integer.
    fn wide(self) -> i64;
    /// From an integer of 0 to [`Self::MAX`].
    fn narrow(value: i64) -> Self;
}

impl Sample for u8 {
    const MAX: i64 = 255;
    fn wide(self) -> i64 {
        self.into()
    }
    fn narrow(value: i64) -> Self {
        value.clamp(0, <Self as Sample>::MAX) as u8
    }
}

impl Sample for u16 {
    const MAX: i64 = 65535;
    fn wide(self) -> i64 {
        self.into()
    }
    fn narrow(value: i64) -> Self {
        value.clamp(0, <Self as Sample>::MAX) as u16
    }
}

/// Pixels, row by row, a pixel's channels beside each other.
pub struct Raster<T> {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub pixels: Vec<T>,
}

/// What is done to an image's size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Geometry {
    /// First it is brought to this size.
    pub resize: Option<Extent>,
    /// Then this height and width are cut out of its center.
    pub crop: Option<[usize; 2]>,
    /// How pixels are made from others.
    pub interpolation: Interpolation,
    /// Whether a pixel of a smaller image is made from all those that it covers.
    pub antialias: bool,
}

impl Geometry {
    /// The size after the first step.
    fn resized(&self, height: usize, width: usize) -> (usize, usize) {
        match self.resize {
            None => (height, width),
            Some(Extent::Both([h, w])) => (h as usize, w as usize),
            // torchvision cuts the longer side's fraction off.
            Some(Extent::Short(short)) => {
                let long = |long: usize, of: usize| (f64::from(short) * long as f64 / of.max(1) as f64) as usize;
                match height <= width {
                    true => (short as usize, long(width, height).max(1)),
                    false => (long(height, width).max(1), short as usize),
                }
            }
        }
    }

    /// The size that an image of this size is brought to; `None` if it is too small to be cut out of.
    pub fn size(&self, height: usize, width: usize) -> Option<(usize, usize)> {
        let (h, w) = self.resized(height, width);
        match self.crop {
            None => Some((h, w)),
            Some([ch, cw]) => (ch <= h && cw <= w).then_some((ch, cw)),
        }
    }

    /// Brings an image to its size, which is given to be possible.
    pub fn apply<T: Sample>(&self, image: Raster<T>) -> Raster<T> {
        let (h, w) = self.resized(image.height, image.width);
        let image = self.across(image, w);
        let image = transposed(self.across(transposed(image), h));
        match self.crop {
            None => image,
            Some(crop) => cut(&image, crop),
        }
    }

    /// Brings rows to another width.
    fn across<T: Sample>(&self, image: Raster<T>, width: usize) -> Raster<T> {
        if image.width == width {
            return image;
        }
        let taps = self.taps(image.width, width);
        let (n, channels) = (image.width * image.channels, image.channels);
        let mut pixels = Vec::with_capacity(image.height * width * channels);
        for row in image.pixels.chunks_exact(n.max(1)) {
            for (first, weights) in &taps {
                for c in 0..channels {
                    let values = row.iter().skip(first * channels + c).step_by(channels);
                    let sum: i64 = values.zip(weights).map(|(v, weight)| v.wide() * weight).sum();
                    pixels.push(T::narrow((sum + HALF) >> BITS));
                }
            }
        }
        Raster { width, pixels, ..image }
    }

    /// For each new pixel the first old one that it is made of, and the weights of that and those behind it.
    fn taps(&self, from: usize, to: usize) -> Vec<(usize, Vec<i64>)> {
        let scale = from as f64 / to.max(1) as f64;
        let (support, filter): (f64, fn(f64) -> f64) = match self.interpolation {
            Interpolation::Nearest => {
                let place = |x: usize| (((x as f64 + 0.5) * scale) as usize).min(from.saturating_sub(1));
                return (0..to).map(|x| (place(x), vec![1 << BITS])).collect();
            }
            Interpolation::Box => (0.5, |x| if x > -0.5 && x <= 0.5 { 1.0 } else { 0.0 }),
            Interpolation::Bilinear => (1.0, |x| (1.0 - x.abs()).max(0.0)),
            Interpolation::Bicubic => (2.0, bicubic),
            Interpolation::Lanczos => (3.0, lanczos),
        };
        let stretch = if self.antialias { scale.max(1.0) } else { 1.0 };
        let support = support * stretch;
        let of = |x: usize| {
            let center = (x as f64 + 0.5) * scale;
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5).max(0.0) as usize).min(from).max(first + 1);
            let weights: Vec<f64> = (first..end).map(|i| filter((i as f64 - center + 0.5) / stretch)).collect();
            let sum: f64 = weights.iter().sum();
            let sum = if sum == 0.0 { 1.0 } else { sum };
            (first, weights.iter().map(|w| (w / sum * (1u64 << BITS) as f64).round() as i64).collect())
        };
        (0..to).map(of).collect()
    }
}

/// Bits of a weight's fraction, as in Pillow.
const BITS: u32 = 22;
/// A half, to round.
const HALF: i64 = 1 << (BITS - 1);

/// Keys' cubic with a = −1/2.
fn bicubic(x: f64) -> f64 {
    let x = x.abs();
    match x {
        x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        x if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        _ => 0.0,
    }
}

fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * std::f64::consts::PI).sin() / (x * std::f64::consts::PI) };
    if (-3.0..3.0).contains(&x) { sinc(x) * sinc(x / 3.0) } else { 0.0 }
}

fn transposed<T: Sample>(image: Raster<T>) -> Raster<T> {
    let Raster { height, width, channels, .. } = image;
    let mut pixels = Vec::with_capacity(image.pixels.len());
    for x in 0..width {
        for y in 0..height {
            let at = (y * width + x) * channels;
            pixels.extend_from_slice(image.pixels.get(at..at + channels).unwrap_or_default());
        }
    }
    Raster { height: width, width: height, channels, pixels }
}

/// The center; where it lies between two pixels, rounding is to the even one, as Python's is.
fn cut<T: Sample>(image: &Raster<T>, [height, width]: [usize; 2]) -> Raster<T> {
    let before = |from: usize, to: usize| (from.saturating_sub(to) as f64 / 2.0).round_ties_even() as usize;
    let (top, left) = (before(image.height, height), before(image.width, width));
    let channels = image.channels;
    let mut pixels = Vec::with_capacity(height * width * channels);
    for row in image.pixels.chunks_exact((image.width * channels).max(1)).skip(top).take(height) {
        pixels.extend_from_slice(row.get(left * channels..(left + width) * channels).unwrap_or_default());
    }
    Raster { height, width, channels, pixels }
}
