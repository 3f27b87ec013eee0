//! Batch and layer normalization.

use super::{
    Cx, F32,
    gpu::{Grid, Scratch, device_error, gpu, zeros},
    layout::expand,
    sum::{Sum, add_to, parts, sum_parts},
};
use crate::{
    engine::Address,
    error::{Error, Result},
    kernels::{BatchNormArgs, LayerNormArgs, compose, shape::require},
};
use dfdx::prelude::Cuda;

pub(in crate::kernels) fn layer_norm(
    cx: &mut Cx,
    LayerNormArgs { x, scale, bias, axis, epsilon }: LayerNormArgs<'_, f32, Cuda>,
) -> Result<F32> {
    let tail = x.dims().get(axis..).unwrap_or_default();
    if tail.is_empty() {
        return compose::layer_norm(cx, LayerNormArgs { x, scale, bias, axis, epsilon });
    }
    let (scale, bias) = (&expand(cx, scale, tail)?, bias.map(|b| expand(cx, b, tail)).transpose()?);
    let bias = bias.as_ref();
    let extent: usize = tail.iter().product();
    let (gpu, n, rows) = (gpu(cx)?, x.len(), x.len() / extent);
    let y = zeros(cx, x.dims())?;
    let stats = Scratch::new(&cx.dev, 2 * rows).map_err(device_error)?;
    let offset = bias.map_or(Ok(Address::NONE), F32::address)?;
    let arguments = [
        x.address()?.into(),
        scale.address()?.into(),
        offset.into(),
        y.address()?.into(),
        stats.address().into(),
        rows.into(),
        extent.into(),
        (epsilon as f32).into(),
    ];
    gpu.launch("layer_norm_forward", Grid::rows(rows), n, arguments).map_err(device_error)?;
    let inputs: Vec<&F32> = [Some(x), Some(scale), bias].into_iter().flatten().collect();
    let [slot_x, slot_s, slot_b] = [Some(x), Some(scale), bias].map(|t| t.and_then(F32::device_slot));
    let (kept_x, kept_s, dev) = (x.detached(), scale.detached(), cx.dev.clone());
    cx.record_on_device(&inputs, y, move |dy, grads| {
        let of = |t: &F32| t.address().unwrap_or(Address::NONE);
        let dx = slot_x.map(|s| s.address(grads)).transpose()?;
        let terms = slot_s.as_ref().map(|_| Scratch::new(&dev, n)).transpose()?;
        let products = terms.as_ref().map_or(Address::NONE, Scratch::address);
        if dx.is_some() || terms.is_some() {
            let arguments = [
                of(&kept_x).into(),
                of(&kept_s).into(),
                stats.address().into(),
                dy.into(),
                dx.unwrap_or(Address::NONE).into(),
                products.into(),
                rows.into(),
                extent.into(),
            ];
            gpu.launch("layer_norm_backward", Grid::rows(rows), n, arguments)?;
        }
        let Ok(sum) = Sum::to(&[1, extent], &[rows, extent]) else { return Ok(()) };
        if let Some(slot) = slot_s {
            add_to(gpu, &dev, &sum, products, slot.address(grads)?, 1.0)?;
        }
        if let Some(slot) = slot_b {
            add_to(gpu, &dev, &sum, dy, slot.address(grads)?, 1.0)?;
        }
        Ok(())
    })
}

pub(in crate::kernels) fn batch_norm(cx: &mut Cx, args: BatchNormArgs<'_, f32, Cuda>) -> Result<F32> {
    match args.statistics {
        Some([mean, var]) => by_given(cx, args, mean, var),
        None => by_own(cx, args),
    }
}

/// With given statistics, which get no gradient.
fn by_given(
    cx: &mut Cx,
    BatchNormArgs { x, scale, bias, epsilon, .. }: BatchNormArgs<'_, f32, Cuda>,
    mean: &F32,
    var: &F32,
) -> Result<F32> {
    let channels = of_channels(x, &[scale, bias, mean, var])?;
    let (gpu, stats) = (gpu(cx)?, Scratch::new(&cx.dev, 2 * channels).map_err(device_error)?);
    let (mean, var, to) = (mean.address()?, var.address()?, stats.address());
    let arguments = [mean.into(), var.into(), to.into(), channels.into(), (epsilon as f32).into()];
    gpu.launch("given_stats", Grid::over(channels), channels, arguments).map_err(device_error)?;
    normalized(cx, x, scale, bias, stats, false)
}

/// With the batch's own mean and population variance, through which gradients flow.
fn by_own(cx: &mut Cx, BatchNormArgs { x, scale, bias, epsilon, .. }: BatchNormArgs<'_, f32, Cuda>) -> Result<F32> {
    let channels = of_channels(x, &[scale, bias])?;
    let (gpu, stats) = (gpu(cx)?, Scratch::new(&cx.dev, 2 * channels).map_err(device_error)?);
    let (images, size) = sizes(x, channels);
    let arguments = [
        x.address()?.into(),
        stats.address().into(),
        images.into(),
        channels.into(),
        size.into(),
        (epsilon as f32).into(),
    ];
    let grid = Grid { blocks: (channels as u32, 1), threads: (1024, 1) };
    gpu.launch("channel_stats", grid, x.len(), arguments).map_err(device_error)?;
    normalized(cx, x, scale, bias, stats, true)
}

/// The number of channels, which all of `each` have one element for.
fn of_channels(x: &F32, each: &[&F32]) -> Result<usize> {
    let channels = *x.dims().get(1).ok_or_else(|| Error::Internal(format!("channels of {:?}", x.dims())))?;
    require(each.iter().all(|t| t.dims() == [channels]), || format!("normalization of {channels} channels"))?;
    Ok(channels)
}

fn sizes(x: &F32, channels: usize) -> (usize, usize) {
    let images = x.dims().first().copied().unwrap_or(1);
    (images, x.len() / (images * channels))
}

/// With the statistics at hand, `own` if they are the batch's.
fn normalized(cx: &mut Cx, x: &F32, scale: &F32, bias: &F32, stats: Scratch, own: bool) -> Result<F32> {
    let (gpu, n, channels) = (gpu(cx)?, x.len(), scale.len());
    let (images, size) = sizes(x, channels);
    let y = zeros(cx, x.dims())?;
    let arguments = [
        x.address()?.into(),
        scale.address()?.into(),
        bias.address()?.into(),
        stats.address().into(),
        y.address()?.into(),
        n.into(),
        channels.into(),
        size.into(),
    ];
    gpu.launch("batch_norm_forward", Grid::over(n), n, arguments).map_err(device_error)?;
    let slots = [x, scale, bias].map(F32::device_slot);
    let (kept_x, kept_s, dev) = (x.detached(), scale.detached(), cx.dev.clone());
    cx.record_on_device(&[x, scale, bias], y, move |dy, grads| {
        let of = |t: &F32| t.address().unwrap_or(Address::NONE);
        let [slot_x, slot_s, slot_b] = slots;
        let sums = Scratch::new(&dev, 2 * channels)?;
        if own || slot_s.is_some() || slot_b.is_some() {
            let parts = parts(channels, images * size);
            let each = Scratch::new(&dev, 2 * channels * parts)?;
            let arguments = [
                of(&kept_x).into(),
                dy.into(),
                stats.address().into(),
                each.address().into(),
                images.into(),
                channels.into(),
                size.into(),
            ];
            let grid = Grid { blocks: (channels as u32, parts as u32), threads: (512, 1) };
            gpu.launch("batch_norm_sums", grid, n, arguments)?;
            sum_parts(gpu, each.address(), sums.address(), 2 * channels, parts, 1.0, false)?;
        }
        for (slot, which) in [(slot_b, 0_usize), (slot_s, 1)] {
            if let Some(slot) = slot {
                let arguments = [sums.address().into(), slot.address(grads)?.into(), channels.into(), which.into()];
                gpu.launch("add_every_second", Grid::over(channels), channels, arguments)?;
            }
        }
        let Some(slot) = slot_x else { return Ok(()) };
        let count = if own { (images * size) as f32 } else { 0.0 };
        let arguments = [
            of(&kept_x).into(),
            dy.into(),
            of(&kept_s).into(),
            stats.address().into(),
            sums.address().into(),
            slot.address(grads)?.into(),
            n.into(),
            channels.into(),
            size.into(),
            count.into(),
        ];
        gpu.launch("batch_norm_backward", Grid::over(n), n, arguments)
    })
}
