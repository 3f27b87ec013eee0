//! Windows over up to three spatial axes, as the kernels take them.

use super::gpu::Windows;
use crate::kernels::{ConvSpec, PoolSpec, shape::Windows as Shape};

impl Windows {
    /// Of a convolution; `None` beyond three spatial axes.
    pub(super) fn of_conv(input: &[usize], kernel: &[usize], output: &[usize], spec: &ConvSpec) -> Option<Self> {
        let ConvSpec { strides, dilations, pads, .. } = spec;
        Self::of(Shape { input, kernel, output, strides, dilations, pads })
    }

    /// Of a pooling.
    pub(super) fn of_pool(input: &[usize], spec: &PoolSpec) -> Option<Self> {
        let PoolSpec { kernel, strides, dilations, pads, output, .. } = spec;
        Self::of(Shape { input, kernel, output, strides, dilations, pads })
    }

    fn of(shape: Shape<'_>) -> Option<Self> {
        let before: Vec<i64> = shape.pads.iter().map(|p| p[0] as i64).collect();
        Some(Self {
            input: three(shape.input, 1)?,
            kernel: three(shape.kernel, 1)?,
            output: three(shape.output, 1)?,
            strides: three(shape.strides, 1)?,
            dilations: three(shape.dilations, 1)?,
            pads: last(&before, 0)?,
        })
    }

    /// No coordinate is farther from the input's first than this.
    pub(super) fn reach(&self) -> u64 {
        let axis = |i: usize| {
            let of = |x: &[u64; 3]| x.get(i).copied().unwrap_or(0);
            let pad = self.pads.get(i).map_or(0, |p| p.unsigned_abs());
            let windows = of(&self.output).saturating_mul(of(&self.strides));
            let taps = of(&self.kernel).saturating_mul(of(&self.dilations));
            [windows, taps, pad].into_iter().fold(of(&self.input), u64::saturating_add)
        };
        (0..3).map(axis).max().unwrap_or(0)
    }

    /// Whether they are of 3×3 neighbors, at every place.
    pub(super) fn dense(&self) -> bool {
        self.kernel == [1, 3, 3] && self.strides == [1; 3] && self.dilations == [1; 3]
    }

    pub(super) fn size(&self) -> usize {
        self.input.iter().product::<u64>() as usize
    }

    pub(super) fn positions(&self) -> usize {
        self.output.iter().product::<u64>() as usize
    }

    pub(super) fn elements(&self) -> usize {
        self.kernel.iter().product::<u64>() as usize
    }
}

fn three(values: &[usize], missing: u64) -> Option<[u64; 3]> {
    last(&values.iter().map(|&v| v as u64).collect::<Vec<_>>(), missing)
}

/// The values as the last of three.
fn last<T: Copy>(values: &[T], missing: T) -> Option<[T; 3]> {
    let mut out = [missing; 3];
    let start = 3_usize.checked_sub(values.len())?;
    out.get_mut(start..)?.copy_from_slice(values);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::{ConvSpec, Windows};

    #[test]
    fn far_strides_and_pads_are_far_windows() {
        let spec = |stride: usize, pad: usize| ConvSpec {
            strides: vec![stride],
            dilations: vec![1],
            pads: vec![[pad, 0]],
            groups: 1,
        };
        let reach = |stride, pad| Windows::of_conv(&[5], &[3], &[3], &spec(stride, pad)).unwrap().reach();
        assert_eq!(reach(1, 2), 5 + 3 + 3 + 2);
        assert!(reach(1 << 33, 1 << 33) > 1 << 33);
        assert_eq!(reach(usize::MAX, 0), u64::MAX);
    }

    #[test]
    fn missing_axes_come_first() {
        assert_eq!(super::last(&[5, 7], 1), Some([1, 5, 7]));
        assert_eq!(super::last(&[1, 2, 3, 4], 1), None);
    }
}
