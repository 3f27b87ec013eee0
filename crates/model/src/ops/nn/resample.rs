//! Where Resize samples an axis, and with which weights.

use crate::{
    error::Result,
    ops::{problem, shapes},
};

/// How an element of the result is placed in the input (`coordinate_transformation_mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Placement {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    HalfPixelForNearest,
    CropAndResize,
}

/// Which element is the nearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// Halves down.
    PreferFloor,
    /// Halves up.
    PreferCeil,
    /// Down.
    Floor,
    /// Up.
    Ceil,
    /// What Upsample and Resize-10 do in onnxruntime: up where the axis shrinks, else down.
    Simple,
}

/// How elements are combined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Filter {
    /// The nearest one.
    Nearest(Rounding),
    /// By distance, over two.
    Linear,
    /// Keys' cubic convolution with this coefficient, over four.
    Cubic(f64),
}

/// Everything that is the same for all axes.
#[derive(Clone, Copy, Debug)]
pub struct Sampler {
    /// Placement.
    pub placement: Placement,
    /// Filter.
    pub filter: Filter,
    /// Whether the filter widens where an axis shrinks.
    pub antialias: bool,
    /// Whether elements beyond the edge get no weight, instead of the edge's value.
    pub exclude_outside: bool,
}

/// One axis.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// Extent of the input.
    pub input: usize,
    /// Extent of the result.
    pub output: usize,
    /// The extent that the scale asks for, before it is rounded down.
    pub width: f32,
    /// width / input
    pub scale: f32,
    /// Start and end of the region that is cropped, in parts of the input.
    pub region: [f32; 2],
}

impl Axis {
    /// An axis that stays as it is.
    pub fn unchanged(extent: usize) -> Self {
        Self { input: extent, output: extent, width: extent as f32, scale: 1.0, region: [0.0, 1.0] }
    }
}

impl Sampler {
    /// Whether `axis` stays as it is.
    pub fn keeps(&self, axis: &Axis) -> bool {
        let whole = self.placement != Placement::CropAndResize || axis.region == [0.0, 1.0];
        axis.input == axis.output && axis.scale == 1.0 && whole
    }

    /// Where element `i` of the result lies in the input; `None` outside of a cropped region's input.
    ///
    /// In f32, as onnxruntime and PyTorch have it: which of two elements is the nearest hangs on the rounding.
    fn place(&self, axis: &Axis, i: usize) -> Option<f32> {
        let (x, n, Axis { width, scale, region: [start, end], .. }) = (i as f32, axis.input as f32, *axis);
        let half_pixel = (x + 0.5) / scale - 0.5;
        Some(match self.placement {
            Placement::HalfPixel => half_pixel,
            Placement::PytorchHalfPixel => half_pixel * f32::from(u8::from(axis.output > 1)),
            Placement::HalfPixelSymmetric => {
                n / 2.0 * (1.0 - axis.output as f32 / (scale * n)) + (x + 0.5) / scale - 0.5
            }
            Placement::AlignCorners if width == 1.0 => 0.0,
            Placement::AlignCorners => x * (n - 1.0) / (width - 1.0),
            Placement::Asymmetric => x / scale,
            Placement::HalfPixelForNearest => (x + 0.5) / scale,
            Placement::CropAndResize => {
                let place = if axis.output > 1 {
                    start * (n - 1.0) + x * (end - start) * (n - 1.0) / (width - 1.0)
                } else {
                    0.5 * (start + end) * (n - 1.0)
                };
                return (0.0..=n - 1.0).contains(&place).then_some(place);
            }
        })
    }

    /// The element of the input that each one of the result is, for [`Filter::Nearest`]; `None` outside.
    pub fn nearest(&self, axis: &Axis, rounding: Rounding) -> Vec<Option<usize>> {
        let round = |x: f32| match rounding {
            Rounding::PreferFloor => (x - 0.5).ceil(),
            Rounding::PreferCeil => (x + 0.5).floor(),
            Rounding::Ceil => x.ceil(),
            Rounding::Simple if axis.scale < 1.0 => x.ceil(),
            Rounding::Floor | Rounding::Simple => x.floor(),
        };
        // The cast takes what is below 0 to 0.
        let last = axis.input.saturating_sub(1);
        (0..axis.output).map(|i| self.place(axis, i).map(|x| (round(x) as usize).min(last))).collect()
    }

    /// The weights (output, input) of each element of the input in each of the result, and which of these lie outside.
    pub fn weights(&self, axis: &Axis) -> Result<(Vec<f64>, Vec<bool>)> {
        let mut rows = vec![0.0; shapes::count(&[axis.output, axis.input])?];
        let mut outside = vec![false; axis.output];
        let narrow = if self.antialias { f64::from(axis.scale).min(1.0) } else { 1.0 };
        let reach = self.filter.reach() / narrow;
        let last = axis.input.checked_sub(1).ok_or_else(|| problem("an axis without elements is resized"))?;
        // Beyond the reach of the edges every tap is the edge's.
        let bounds = (-reach - 1.0, last as f64 + reach + 1.0);
        for ((i, row), outside) in rows.chunks_exact_mut(axis.input).enumerate().zip(&mut outside) {
            let Some(place) = self.place(axis, i) else {
                *outside = true;
                continue;
            };
            let place = f64::from(place).clamp(bounds.0, bounds.1);
            let taps = (place - reach).ceil() as i64..=(place + reach).floor() as i64;
            let weight = |tap: i64| self.filter.weight((tap as f64 - place) * narrow);
            let inside = |&tap: &i64| !self.exclude_outside || (0..=last as i64).contains(&tap);
            let total: f64 = taps.clone().filter(inside).map(weight).sum();
            for tap in taps.filter(inside).filter(|_| total != 0.0) {
                let at = usize::try_from(tap).unwrap_or(0).min(last);
                row.iter_mut().skip(at).take(1).for_each(|w| *w += weight(tap) / total);
            }
        }
        Ok((rows, outside))
    }
}

impl Filter {
    /// How far from its center the filter is not 0.
    fn reach(self) -> f64 {
        match self {
            Self::Nearest(_) => 0.5,
            Self::Linear => 1.0,
            Self::Cubic(_) => 2.0,
        }
    }

    /// Value at distance `t` from the center.
    fn weight(self, t: f64) -> f64 {
        let t = t.abs();
        match self {
            Self::Nearest(_) => 1.0,
            Self::Linear => (1.0 - t).max(0.0),
            Self::Cubic(a) if t <= 1.0 => ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0,
            Self::Cubic(a) if t < 2.0 => ((a * t - 5.0 * a) * t + 8.0 * a) * t - 4.0 * a,
            Self::Cubic(_) => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(placement: Placement, filter: Filter) -> Sampler {
        Sampler { placement, filter, antialias: false, exclude_outside: false }
    }

    fn axis(input: usize, output: usize) -> Axis {
        let scale = output as f32 / input as f32;
        Axis { output, width: output as f32, scale, ..Axis::unchanged(input) }
    }

    #[test]
    fn doubling_repeats_or_blends() {
        let nearest = sampler(Placement::HalfPixel, Filter::Nearest(Rounding::PreferFloor));
        assert_eq!(nearest.nearest(&axis(2, 4), Rounding::PreferFloor), [Some(0), Some(0), Some(1), Some(1)]);
        let (rows, _) = sampler(Placement::HalfPixel, Filter::Linear).weights(&axis(2, 4)).unwrap();
        assert_eq!(rows, [1.0, 0.0, 0.75, 0.25, 0.25, 0.75, 0.0, 1.0]);
    }

    #[test]
    fn weights_add_up_to_one() {
        for (filter, antialias, exclude_outside) in
            [(Filter::Linear, true, false), (Filter::Cubic(-0.75), false, true), (Filter::Cubic(-0.5), true, true)]
        {
            let all = Sampler { antialias, exclude_outside, ..sampler(Placement::HalfPixel, filter) };
            let (rows, outside) = all.weights(&axis(7, 3)).unwrap();
            assert!(rows.chunks(7).all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-12), "{filter:?}");
            assert!(!outside.contains(&true));
        }
    }

    #[test]
    fn corners_stay_where_they_are() {
        let (rows, _) = sampler(Placement::AlignCorners, Filter::Linear).weights(&axis(3, 5)).unwrap();
        assert_eq!(rows.first(), Some(&1.0));
        assert_eq!(rows.last(), Some(&1.0));
    }

    #[test]
    fn what_a_crop_leaves_is_outside() {
        let crop = Axis { region: [0.5, 1.5], ..axis(3, 3) };
        let (_, outside) = sampler(Placement::CropAndResize, Filter::Linear).weights(&crop).unwrap();
        assert_eq!(outside, [false, false, true]);
    }
}
