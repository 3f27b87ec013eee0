//! Col2Im-18, of floats: columns (N, C·block, L) of an image's blocks added up to the image (N, C, …), over any number
//! of axes.
//!
//! ConvTranspose ends in the same sum ([`fold`]).

use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::{Backend, Reduce},
    ops::{
        Built, NodeContext,
        common::{take_or, zeros},
        one, problem, shapes,
    },
};

/// How blocks lie in an image, along one axis.
#[derive(Clone, Copy, Debug)]
pub struct Blocks {
    /// Extent of the image.
    pub image: usize,
    /// Extent of a block.
    pub block: usize,
    /// Number of blocks.
    pub count: usize,
    /// Distance between blocks.
    pub stride: usize,
    /// Distance between a block's elements.
    pub dilation: usize,
    /// How far before the image the first block starts.
    pub before: i64,
}

impl Blocks {
    /// The elements that lie on place `i` of the image: (place in the block, block).
    fn at(&self, i: usize) -> Vec<(usize, usize)> {
        let block = |k: usize| {
            let start = i as i128 + i128::from(self.before) - k as i128 * self.dilation as i128;
            let start = usize::try_from(start).ok().filter(|s| s % self.stride == 0)?;
            Some((k, start / self.stride)).filter(|&(_, block)| block < self.count)
        };
        (0..self.block).filter_map(block).collect()
    }
}

/// Builds Col2Im.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let (strides, dilations) = (node.sizes("strides", 1)?, node.sizes("dilations", 1)?);
    let pads = node.ints("pads")?;
    one(move |cx, inputs| {
        let x = inputs.float(0)?;
        let (image, block) = (shapes::extents(&inputs.ints(1)?)?, shapes::extents(&inputs.ints(2)?)?);
        let misfit = || problem(format!("x of shape {:?} does not fit image {image:?}, blocks {block:?}", x.dims()));
        let rank = image.len();
        let ones = vec![1; rank];
        let (strides, dilations) = (strides.as_ref().unwrap_or(&ones), dilations.as_ref().unwrap_or(&ones));
        let pads = pads.clone().unwrap_or_else(|| vec![0; 2 * rank]);
        if [block.len(), strides.len(), dilations.len()] != [rank; 3] || pads.len() != 2 * rank {
            return Err(misfit());
        }
        let (before, after) = pads.split_at(rank);
        let axes = image.iter().zip(&block).zip(strides.iter().zip(dilations)).zip(before.iter().zip(after));
        let axes = axes.map(|(((&image, &block), (&stride, &dilation)), (&before, &after))| {
            let extent = (block as i128 - 1) * dilation as i128 + 1;
            let room = image as i128 + i128::from(before) + i128::from(after) - extent;
            let count = usize::try_from(room).ok()?.checked_div(stride)?.checked_add(1)?;
            Some(Blocks { image, block, count, stride, dilation, before })
        });
        let axes = axes.collect::<Option<Vec<_>>>().ok_or_else(misfit)?;
        let &[n, rows, columns] = x.dims() else { return Err(misfit()) };
        let area = shapes::count(&block)?;
        let channels = rows.checked_div(area).filter(|c| c * area == rows).ok_or_else(misfit)?;
        if axes.iter().try_fold(1usize, |n, a| n.checked_mul(a.count)) != Some(columns) {
            return Err(misfit());
        }
        fold(cx, x, n, channels, &axes)
    })
}

/// Sums columns to an image: of x, which has the elements of (n, channels, places in the block, blocks), to
/// (n, channels, image). Each place of the image gathers what lies on it, so nothing is written twice.
pub fn fold<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    n: usize,
    channels: usize,
    axes: &[Blocks],
) -> Result<Tensor<E, D>> {
    let dims: Vec<usize> = [n, channels].into_iter().chain(axes.iter().map(|a| a.image)).collect();
    if x.is_empty() || shapes::count(&dims)? == 0 {
        return zeros(cx, dims);
    }
    let strides = |of: fn(&Blocks) -> usize| shapes::strides(&axes.iter().map(of).collect::<Vec<_>>());
    let blocks: usize = axes.iter().map(|a| a.count).product();
    // What lies on each place of the image, as places in the column.
    let mut pixels = vec![vec![0]];
    for ((axis, in_block), of_block) in axes.iter().zip(strides(|a| a.block)).zip(strides(|a| a.count)) {
        let place = |(k, b)| k * in_block * blocks + b * of_block;
        let here: Vec<Vec<usize>> = (0..axis.image).map(|i| axis.at(i).into_iter().map(place).collect()).collect();
        let both =
            |outer: &[usize], inner: &[usize]| outer.iter().flat_map(|o| inner.iter().map(move |i| o + i)).collect();
        pixels = pixels.iter().flat_map(|outer| here.iter().map(move |inner| both(outer, inner))).collect();
    }
    let (maps, column) = (n * channels, x.len() / (n * channels));
    let most = pixels.iter().map(Vec::len).max().unwrap_or_default();
    if most == 0 {
        return zeros(cx, dims);
    }
    let padded =
        |p: &Vec<usize>| p.iter().copied().chain(std::iter::repeat_n(column, most - p.len())).collect::<Vec<_>>();
    let indices: Vec<usize> = pixels.iter().flat_map(padded).collect();
    let picked = take_or(cx, x, maps, &indices, &[maps, pixels.len(), most], 0.0)?;
    if most == 1 { picked.reshaped(dims) } else { D::reduce(cx, Reduce::Sum, &picked, &[2], false)?.reshaped(dims) }
}
