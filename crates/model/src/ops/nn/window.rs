//! Where the windows of Conv and the poolings lie: padding and output extents.

use crate::{
    error::Result,
    limits,
    ops::{NodeContext, problem, shapes},
};

/// The `auto_pad` attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoPad {
    /// `NOTSET`: as the `pads` attribute says.
    Explicit,
    /// `VALID`: none.
    Valid,
    /// `SAME_UPPER`: the output has ⌈input/stride⌉ elements; an odd padding is larger after.
    SameUpper,
    /// `SAME_LOWER`: likewise, larger before.
    SameLower,
}

impl AutoPad {
    /// Reads the attribute.
    pub fn read(node: &NodeContext<'_>) -> Result<Self> {
        match node.string("auto_pad", "NOTSET")? {
            "NOTSET" => Ok(Self::Explicit),
            "VALID" => Ok(Self::Valid),
            "SAME_UPPER" => Ok(Self::SameUpper),
            "SAME_LOWER" => Ok(Self::SameLower),
            other => Err(problem(format!("auto_pad is {other:?}, which is not known"))),
        }
    }
}

/// A window's attributes; lists left out have their defaults once the number of spatial axes is known.
#[derive(Clone, Debug)]
pub struct Window {
    kernel: Option<Vec<usize>>,
    strides: Option<Vec<usize>>,
    dilations: Option<Vec<usize>>,
    pads: Option<Vec<i64>>,
    auto_pad: AutoPad,
    ceil: bool,
}

/// A window over an input of known extents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedWindow {
    /// Extent of the window.
    pub kernel: Vec<usize>,
    /// Step.
    pub strides: Vec<usize>,
    /// Distance between the window's elements.
    pub dilations: Vec<usize>,
    /// Padding before and after; negative ones cut.
    pub pads: Vec<[isize; 2]>,
    /// Output extent.
    pub output: Vec<usize>,
}

impl Window {
    /// Reads `kernel_shape`, `strides`, `pads`, `auto_pad`, and, where the version has them, `dilations` and `ceil_mode`.
    pub fn read(node: &NodeContext<'_>, dilations: bool, ceil: bool) -> Result<Self> {
        Ok(Self {
            kernel: node.sizes("kernel_shape", 1)?,
            strides: node.sizes("strides", 1)?,
            dilations: if dilations { node.sizes("dilations", 1)? } else { None },
            pads: node.ints("pads")?,
            auto_pad: AutoPad::read(node)?,
            ceil: ceil && node.flag("ceil_mode", false)?,
        })
    }

    /// The extents that `kernel_shape` gives.
    pub fn kernel(&self) -> Result<&[usize]> {
        self.kernel.as_deref().ok_or_else(|| problem("attribute kernel_shape is missing"))
    }

    /// Places the window over `input`'s spatial extents. `kernel` is the weight's, for Conv.
    pub fn place(&self, input: &[usize], kernel: Option<&[usize]>) -> Result<ResolvedWindow> {
        let rank = input.len();
        let kernel = match (kernel, &self.kernel) {
            (Some(weight), Some(declared)) if weight != declared => {
                return Err(problem(format!("kernel_shape {declared:?} is not the weight's {weight:?}")));
            }
            (Some(weight), _) => weight.to_vec(),
            (None, _) => self.kernel()?.to_vec(),
        };
        let list = |list: &Option<Vec<usize>>| list.clone().unwrap_or_else(|| vec![1; rank]);
        let (strides, dilations) = (list(&self.strides), list(&self.dilations));
        let declared = self.pads.clone().unwrap_or_else(|| vec![0; 2 * rank]);
        if [kernel.len(), strides.len(), dilations.len()] != [rank; 3] || declared.len() != 2 * rank {
            return Err(problem(format!("attributes do not fit {rank} spatial axes")));
        }
        let (before, after) = declared.split_at(rank);
        let mut placed = ResolvedWindow { kernel, strides, dilations, pads: Vec::new(), output: Vec::new() };
        let mut axes = input
            .iter()
            .zip(&placed.kernel)
            .zip(placed.strides.iter().zip(&placed.dilations))
            .zip(before.iter().zip(after));
        axes.try_for_each(|(((&n, &k), (&stride, &dilation)), (&before, &after))| {
            let extent = (k - 1).checked_mul(dilation).and_then(|x| x.checked_add(1));
            let (pads, output) = extent
                .and_then(|extent| self.axis(n, extent, stride, before, after))
                .ok_or_else(|| problem(format!("no window fits the spatial extents {input:?}")))?;
            placed.pads.push(pads);
            placed.output.push(output);
            Ok(())
        })?;
        Ok(placed)
    }

    /// Padding and output extent of one axis.
    fn axis(&self, n: usize, extent: usize, stride: usize, before: i64, after: i64) -> Option<([isize; 2], usize)> {
        match self.auto_pad {
            AutoPad::Explicit => {
                let pads = [isize::try_from(before).ok()?, isize::try_from(after).ok()?];
                let padded = n.checked_add_signed(pads[0])?.checked_add_signed(pads[1])?;
                let room = padded.checked_sub(extent)?;
                let mut output = if self.ceil { room.div_ceil(stride) } else { room / stride } + 1;
                // A window that would start in the padding after the input is dropped.
                if self.ceil && (output - 1).checked_mul(stride)? >= n.checked_add_signed(pads[0])? {
                    output -= 1;
                }
                Some((pads, output))
            }
            AutoPad::Valid => Some(([0, 0], n.checked_sub(extent)? / stride + 1)),
            AutoPad::SameUpper | AutoPad::SameLower => {
                let output = n.div_ceil(stride);
                let reach = output.checked_sub(1)?.checked_mul(stride)?.checked_add(extent)?;
                let total = isize::try_from(reach.saturating_sub(n)).ok()?;
                let (small, large) = (total / 2, total - total / 2);
                Some((if self.auto_pad == AutoPad::SameUpper { [small, large] } else { [large, small] }, output))
            }
        }
    }
}

/// Elements of windows for each element that a result may have.
const MOST_TAPS: usize = 64;

impl ResolvedWindow {
    /// Fails if `x` (N, C, …) with its padding, or the result of so many channels, is too large.
    pub fn require_small(&self, x: &[usize], channels: usize) -> Result<()> {
        let (&[rows, from], spatial) = x.split_first_chunk::<2>().ok_or_else(|| problem("x has no spatial axes"))?;
        let padded = spatial.iter().zip(&self.pads).map(|(&n, &[before, after])| {
            n.saturating_add(before.max(0).unsigned_abs()).saturating_add(after.max(0).unsigned_abs())
        });
        let padded: Vec<usize> = padded.collect();
        shapes::count(&[&[rows, from], padded.as_slice()].concat())?;
        shapes::count(&[&[rows, channels], self.output.as_slice()].concat()).map(|_| ())
    }

    /// The same for a pooling, each element of whose result costs as many looks as its window has elements.
    pub fn require_pool(&self, x: &[usize]) -> Result<()> {
        let (rows, channels) = (x.first().copied().unwrap_or(1), x.get(1).copied().unwrap_or(1));
        self.require_small(x, channels)?;
        let results = shapes::count(&[&[rows, channels], self.output.as_slice()].concat())?;
        let taps = self.kernel.iter().try_fold(results, |all, &n| all.checked_mul(n));
        match taps {
            Some(taps) if taps / MOST_TAPS <= limits::most_elements() => Ok(()),
            _ => Err(problem(format!("its windows of {:?} over {x:?} have too many elements together", self.kernel))),
        }
    }

    /// Non-negative padding, and what has to be cut off the input first.
    pub fn split_pads(&self) -> (Vec<[usize; 2]>, Option<Vec<[isize; 2]>>) {
        let pads = self.pads.iter().map(|p| p.map(|x| usize::try_from(x).unwrap_or(0))).collect();
        let cut: Vec<_> = self.pads.iter().map(|p| p.map(|x| x.min(0))).collect();
        (pads, cut.iter().flatten().any(|&x| x < 0).then_some(cut))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(auto_pad: AutoPad, pads: [i64; 2], ceil: bool) -> Window {
        let pads = (auto_pad == AutoPad::Explicit).then(|| pads.to_vec());
        Window { kernel: Some(vec![3]), strides: Some(vec![2]), dilations: None, pads, auto_pad, ceil }
    }

    fn placed(window: Window, n: usize) -> ([isize; 2], usize) {
        let placed = window.place(&[n], None).unwrap();
        (placed.pads[0], placed.output[0])
    }

    #[test]
    fn padding_follows_auto_pad() {
        assert_eq!(placed(window(AutoPad::Valid, [0, 0], false), 8), ([0, 0], 3));
        assert_eq!(placed(window(AutoPad::SameUpper, [0, 0], false), 8), ([0, 1], 4));
        assert_eq!(placed(window(AutoPad::SameLower, [0, 0], false), 8), ([1, 0], 4));
        assert_eq!(placed(window(AutoPad::Explicit, [1, 1], false), 8), ([1, 1], 4));
        assert_eq!(placed(window(AutoPad::Explicit, [-1, 0], false), 8), ([-1, 0], 3));
    }

    #[test]
    fn ceil_mode_drops_windows_in_the_padding() {
        assert_eq!(placed(window(AutoPad::Explicit, [0, 0], true), 8).1, 4);
        assert_eq!(placed(window(AutoPad::Explicit, [1, 2], true), 7).1, 4, "a fifth would start in the padding");
    }

    #[test]
    fn a_window_larger_than_the_input_is_refused() {
        assert!(window(AutoPad::Valid, [0, 0], false).place(&[2], None).is_err());
        assert!(window(AutoPad::Explicit, [-5, 0], false).place(&[3], None).is_err());
        assert!(window(AutoPad::Valid, [0, 0], false).place(&[8, 8], None).is_err());
    }
}
