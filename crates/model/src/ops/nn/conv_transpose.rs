//! ConvTranspose-1/11/22, of floats over any number of spatial axes: the gradient of a convolution with respect to its
//! input, as a layer, with groups, dilation, any padding, `output_padding`, `output_shape` and all forms of `auto_pad`.
//!
//! x (N, C, …), w (C, M/groups, window…), optional bias (M). Each element of x spreads w times itself: one matrix product
//! makes the columns wᵀ·x, which [`fold`] adds up to the image.

use super::{
    col2im::{Blocks, fold},
    pool::spatial,
    window::AutoPad,
};
use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::Backend,
    ops::{
        Built, NodeContext,
        common::{add, zeros},
        one, problem, shapes,
    },
};

struct Layer {
    kernel: Option<Vec<usize>>,
    strides: Option<Vec<usize>>,
    dilations: Option<Vec<usize>>,
    pads: Option<Vec<i64>>,
    output_padding: Option<Vec<usize>>,
    output_shape: Option<Vec<usize>>,
    auto_pad: AutoPad,
    groups: usize,
}

/// Builds ConvTranspose.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let groups = node.int("group")?.unwrap_or(1);
    let layer = Layer {
        kernel: node.sizes("kernel_shape", 1)?,
        strides: node.sizes("strides", 1)?,
        dilations: node.sizes("dilations", 1)?,
        pads: node.ints("pads")?,
        output_padding: node.sizes("output_padding", 0)?,
        output_shape: node.sizes("output_shape", 1)?,
        auto_pad: AutoPad::read(node)?,
        groups: usize::try_from(groups).ok().filter(|&g| g > 0).ok_or_else(|| problem("group is not above 0"))?,
    };
    one(move |cx, inputs| layer.run(cx, inputs.float(0)?, inputs.float(1)?, inputs.opt_float(2)?))
}

impl Layer {
    fn run<E: Float, D: Backend<E>>(
        &self,
        cx: &mut Context<E, D>,
        x: &Tensor<E, D>,
        w: &Tensor<E, D>,
        bias: Option<&Tensor<E, D>>,
    ) -> Result<Tensor<E, D>> {
        let g = self.groups;
        let misfit = || problem(format!("x of shape {:?} does not fit w of {:?} in {g} groups", x.dims(), w.dims()));
        let (input, kernel) = (spatial(x.dims())?, spatial(w.dims())?);
        let (&[n, c, ..], &[depth, per_group, ..]) = (x.dims(), w.dims()) else { return Err(misfit()) };
        if input.len() != kernel.len() || c != depth || c % g != 0 || kernel.contains(&0) {
            return Err(misfit());
        }
        let outputs = per_group.checked_mul(g).ok_or_else(misfit)?;
        let axes = self.place(input, kernel)?;
        let y = if x.is_empty() || w.is_empty() {
            zeros(cx, [n, outputs].into_iter().chain(axes.iter().map(|a| a.image)).collect())?
        } else {
            let (area, places): (usize, usize) = (kernel.iter().product(), input.iter().product());
            let rows = x.reshaped(vec![n, g, c / g, places])?;
            let w = w.reshaped(vec![g, c / g, per_group * area])?;
            let columns = D::matmul(cx, &w, &rows, true, false)?;
            fold(cx, &columns, n, outputs, &axes)?
        };
        match bias {
            None => Ok(y),
            Some(b) if b.dims() == [outputs] => {
                let per_channel = std::iter::once(outputs).chain(input.iter().map(|_| 1)).collect();
                add(cx, &y, &b.reshaped(per_channel)?)
            }
            Some(b) => Err(problem(format!("bias has shape {:?}, not [{outputs}]", b.dims()))),
        }
    }

    /// Where the windows lie in the output.
    fn place(&self, input: &[usize], kernel: &[usize]) -> Result<Vec<Blocks>> {
        let rank = input.len();
        let list = |list: &Option<Vec<usize>>, default| list.clone().unwrap_or_else(|| vec![default; rank]);
        let (strides, dilations) = (list(&self.strides, 1), list(&self.dilations, 1));
        let extra = list(&self.output_padding, 0);
        let pads = self.pads.clone().unwrap_or_else(|| vec![0; 2 * rank]);
        // Some files count the batch and the channels in.
        let shape = self.output_shape.as_deref().map(|s| s.get(s.len().saturating_sub(rank)..).unwrap_or(s));
        let lengths = [strides.len(), dilations.len(), extra.len(), shape.map_or(rank, <[usize]>::len)];
        if lengths != [rank; 4] || pads.len() != 2 * rank || self.kernel.as_deref().is_some_and(|k| k != kernel) {
            return Err(problem(format!("attributes do not fit {rank} spatial axes and a window of {kernel:?}")));
        }
        let (before, after) = pads.split_at(rank);
        let axes =
            input.iter().zip(kernel).zip(strides.iter().zip(&dilations)).zip(before.iter().zip(after)).zip(&extra);
        let placed = axes.enumerate().map(|(axis, ((((&n, &k), (&stride, &dilation)), pads), &extra))| {
            let reach = (n as i128 - 1) * stride as i128 + (k as i128 - 1) * dilation as i128 + 1 + extra as i128;
            let wanted = shape.and_then(|s| s.get(axis)).map(|&s| s as i128);
            let (image, before) = self.extent(n as i128 * stride as i128, reach, wanted, pads);
            let image = usize::try_from(image).ok().filter(|&image| image > 0)?;
            Some(Blocks { image, block: k, count: n, stride, dilation, before: i64::try_from(before).ok()? })
        });
        let placed = placed.collect::<Option<Vec<_>>>().ok_or_else(|| problem("no output is left after padding"))?;
        shapes::count(&placed.iter().map(|a| a.image).collect::<Vec<_>>())?;
        Ok(placed)
    }

    /// Output extent of one axis, and what is cut off before it. `same` is the extent of the forms SAME, `reach` that
    /// without padding.
    fn extent(&self, same: i128, reach: i128, wanted: Option<i128>, pads: (&i64, &i64)) -> (i128, i128) {
        let wanted = match self.auto_pad {
            AutoPad::SameUpper | AutoPad::SameLower => Some(wanted.unwrap_or(same)),
            AutoPad::Explicit | AutoPad::Valid => wanted,
        };
        match (wanted, self.auto_pad) {
            (Some(wanted), auto_pad) => {
                let cut = (reach - wanted).max(0);
                (wanted, if auto_pad == AutoPad::SameUpper { cut / 2 } else { cut - cut / 2 })
            }
            (None, AutoPad::Valid) => (reach, 0),
            (None, _) => (reach - i128::from(*pads.0) - i128::from(*pads.1), i128::from(*pads.0)),
        }
    }
}
