//! Convolution: unfolded windows and one matrix product, or, where channels do not mix, a loop over the window.

use super::{
    Cx, F32,
    codes::{Code, activation},
    gemm::{Batch, Factor},
    gpu::{Gpu, Grid, Scratch, Windows, device_error, gpu, shifted, zeros},
    sum::{Sum, add_to},
};
use crate::{
    engine::Address,
    error::{Error, Result},
    kernels::{
        ConvArgs, ConvSpec, Unary,
        shape::{Windows as Shape, require},
    },
};
use dfdx::{prelude::Cuda, tensor::CudaError};

/// Whether a kernel takes the case.
pub(in crate::kernels) fn convolves(x: &F32, w: &F32) -> bool {
    (3..=5).contains(&x.rank()) && !x.is_empty() && !w.is_empty()
}

/// Whether the last pass can apply the function.
pub(in crate::kernels) fn fuses(op: Unary) -> bool {
    activation(op).is_some()
}

/// What is convolved, in numbers.
#[derive(Clone, Copy)]
struct Shapes {
    images: usize,
    channels: usize,
    outs: usize,
    groups: usize,
    windows: Windows,
}

/// Elements of the unfolded windows at a time: 256 MiB.
const AT_ONCE: usize = 1 << 26;

impl Shapes {
    fn depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.channels
    }

    /// Rows of the unfolded windows.
    fn rows(&self) -> usize {
        self.channels * self.windows.elements()
    }

    /// Images at a time: all in as few equal parts as memory allows.
    fn chunk(&self) -> usize {
        let each = self.rows().max(self.outs) * self.windows.positions();
        let most = (AT_ONCE / each.max(1)).clamp(1, self.images);
        self.images.div_ceil(self.images.div_ceil(most))
    }

    fn chunks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (chunk, images) = (self.chunk(), self.images);
        (0..images).step_by(chunk).map(move |from| (from, chunk.min(images - from)))
    }

    /// How the products of the groups lie: the weights, the windows, the results.
    fn per_group(&self, columns: usize) -> (usize, usize, usize) {
        let (m, k) = (self.outs / self.groups, self.rows() / self.groups);
        (m * k, k * columns, m * columns)
    }
}

pub(in crate::kernels) fn conv(
    cx: &mut Cx,
    ConvArgs { x, w, bias, residual, activation: op, spec }: ConvArgs<'_, f32, Cuda>,
) -> Result<F32> {
    let (&[images, channels, ref input @ ..], &[outs, per_group, ref kernel @ ..]) = (x.dims(), w.dims()) else {
        return Err(Error::Internal(format!("convolution of {:?} by {:?}", x.dims(), w.dims())));
    };
    let (groups, output) = (spec.groups, spec.output(input, kernel)?);
    let divides = groups > 0 && channels == per_group * groups && outs % groups == 0;
    require(divides, || format!("convolution of {:?} by {:?} in {groups} groups", x.dims(), w.dims()))?;
    let ConvSpec { strides, dilations, pads, .. } = spec;
    Shape { input, kernel, output: &output, strides, dilations, pads }.prove()?;
    let dims = [&[images, outs], &*output].concat();
    require(bias.is_none_or(|b| b.dims() == [outs]), || format!("a bias for {outs} channels"))?;
    require(residual.is_none_or(|r| r.dims() == dims), || format!("a residual for {dims:?}"))?;
    let windows = Windows::of_conv(input, kernel, &output, spec)
        .ok_or_else(|| Error::Internal(format!("convolution over {input:?}")))?;
    let shapes = Shapes { images, channels, outs, groups, windows };
    let code = op.and_then(activation);
    let gpu = gpu(cx)?;
    let y = zeros(cx, &dims)?;
    let place = |t: Option<&F32>| t.map_or(Ok(Address::NONE), F32::address);
    let epilogue = Epilogue { bias: place(bias)?, residual: place(residual)?, code };
    let to = Forward { x: x.address()?, w: w.address()?, y: y.address()?, epilogue };
    forward(gpu, &cx.dev, &shapes, to).map_err(device_error)?;

    let inputs: Vec<&F32> = [Some(x), Some(w), bias, residual].into_iter().flatten().collect();
    let slots = [Some(x), Some(w), bias, residual].map(|t| t.and_then(F32::device_slot));
    let (kept_x, kept_w) = (slots[1].as_ref().map(|_| x.detached()), slots[0].as_ref().map(|_| w.detached()));
    let (kept_y, dev, len) = (code.map(|_| y.detached()), cx.dev.clone(), y.len());
    let size = windows.positions();
    cx.record_on_device(&inputs, y, move |dy, grads| {
        let of = |t: &Option<F32>| t.as_ref().and_then(|t| t.address().ok()).unwrap_or(Address::NONE);
        let to = slots.iter().map(|s| s.as_ref().map(|s| s.address(grads)).transpose());
        let to: Vec<Option<Address>> = to.collect::<Result<_, _>>()?;
        let [dx, dw, db, dr] = [0, 1, 2, 3].map(|i| to.get(i).copied().flatten());
        let through = code.map(|_| Scratch::new(&dev, len)).transpose()?;
        let dz = through.as_ref().map_or(dy, Scratch::address);
        if let Some(Code { op, a, b }) = code {
            let arguments = [op.into(), a.into(), b.into(), of(&kept_y).into(), dy.into(), dz.into(), len.into()];
            gpu.launch("activation_backward", Grid::over(len), len, arguments)?;
        }
        let channels = [shapes.images, shapes.outs, size];
        if let (Some(db), Ok(sum)) = (db, Sum::to(&[shapes.outs, 1], &channels)) {
            add_to(gpu, &dev, &sum, dz, db, 1.0)?;
        }
        if let (Some(dr), Ok(sum)) = (dr, Sum::to(&channels, &channels)) {
            add_to(gpu, &dev, &sum, dz, dr, 1.0)?;
        }
        backward(gpu, &dev, &shapes, Backward { x: of(&kept_x), w: of(&kept_w), dz, dx, dw })
    })
}

/// What a convolution's last pass adds and applies.
#[derive(Clone, Copy)]
struct Epilogue {
    bias: Address,
    residual: Address,
    code: Option<Code>,
}

impl Epilogue {
    fn code(&self) -> Code {
        self.code.unwrap_or(Code::NONE)
    }
}

/// Where the factors and the result lie.
#[derive(Clone, Copy)]
struct Forward {
    x: Address,
    w: Address,
    y: Address,
    epilogue: Epilogue,
}

/// Where the factors and the gradient of their product lie, and the gradients that are wanted.
#[derive(Clone, Copy)]
struct Backward {
    x: Address,
    w: Address,
    dz: Address,
    dx: Option<Address>,
    dw: Option<Address>,
}

fn forward(gpu: &Gpu, dev: &Cuda, s: &Shapes, to: Forward) -> Result<(), CudaError> {
    let Forward { x, w, y, epilogue } = to;
    let (size, windows, Code { op, a, b }) = (s.windows.positions(), s.windows, epilogue.code());
    if s.depthwise() {
        let n = s.images * s.outs * size;
        let arguments = [
            x.into(),
            w.into(),
            epilogue.bias.into(),
            epilogue.residual.into(),
            y.into(),
            n.into(),
            s.channels.into(),
            (s.outs / s.channels).into(),
            windows.into(),
            op.into(),
            a.into(),
            b.into(),
        ];
        let elements = n.max(s.images * s.channels * windows.size());
        return gpu.launch("depthwise_forward", Grid::over(n), elements, arguments);
    }
    let (chunk, factor) = (s.chunk(), |address| Factor { address, transposed: false });
    let columns = Scratch::new(dev, s.rows() * chunk * size)?;
    let product = Scratch::new(dev, s.outs * chunk * size)?;
    for (from, images) in s.chunks() {
        let width = images * size;
        unfold(gpu, s, shifted(x, from * s.channels * s.windows.size()), columns.address(), images)?;
        let (sw, sc, sp) = s.per_group(width);
        let batch = Batch { count: s.groups, a: sw, b: sc, c: sp };
        let mnk = [s.outs / s.groups, width, s.rows() / s.groups];
        gpu.gemm(factor(w), factor(columns.address()), product.address(), mnk, 0.0, batch)?;
        let (n, at) = (s.outs * width, from * s.outs * size);
        let arguments = [
            product.address().into(),
            epilogue.bias.into(),
            shifted(epilogue.residual, at).into(),
            shifted(y, at).into(),
            n.into(),
            s.outs.into(),
            images.into(),
            size.into(),
            op.into(),
            a.into(),
            b.into(),
        ];
        gpu.launch("finish_product", Grid::over(n), n, arguments)?;
    }
    Ok(())
}

fn unfold(gpu: &Gpu, s: &Shapes, x: Address, columns: Address, images: usize) -> Result<(), CudaError> {
    let n = s.channels * images * s.windows.positions();
    let elements = (n * s.windows.elements()).max(s.images * s.channels * s.windows.size());
    let arguments = [x.into(), columns.into(), n.into(), s.channels.into(), images.into(), s.windows.into()];
    gpu.launch("unfold", Grid::over(n), elements, arguments)
}

fn backward(gpu: &Gpu, dev: &Cuda, s: &Shapes, to: Backward) -> Result<(), CudaError> {
    let Backward { x, w, dz, dx, dw } = to;
    let (size, windows) = (s.windows.positions(), s.windows);
    if s.depthwise() {
        let (multiple, n) = (s.outs / s.channels, s.images * s.channels * windows.size());
        let elements = n.max(s.images * s.outs * size);
        if let Some(dx) = dx {
            let (channels, multiple) = (s.channels.into(), multiple.into());
            let arguments = [dz.into(), w.into(), dx.into(), n.into(), channels, multiple, windows.into()];
            gpu.launch("depthwise_backward_data", Grid::over(n), elements, arguments)?;
        }
        if let Some(dw) = dw {
            let grid = Grid { blocks: (s.outs as u32, windows.elements() as u32), threads: (256, 1) };
            let (images, channels) = (s.images.into(), s.channels.into());
            let arguments = [dz.into(), x.into(), dw.into(), images, channels, multiple.into(), windows.into()];
            gpu.launch("depthwise_backward_weight", grid, elements, arguments)?;
        }
        return Ok(());
    }
    let (chunk, factor) = (s.chunk(), |address, transposed| Factor { address, transposed });
    let columns = Scratch::new(dev, s.rows() * chunk * size)?;
    let product = Scratch::new(dev, s.outs * chunk * size)?;
    let (m, k) = (s.outs / s.groups, s.rows() / s.groups);
    for (from, images) in s.chunks() {
        let (width, input) = (images * size, from * s.channels * windows.size());
        let n = s.outs * width;
        let arguments = [
            shifted(dz, from * s.outs * size).into(),
            product.address().into(),
            n.into(),
            s.outs.into(),
            images.into(),
            size.into(),
        ];
        gpu.launch("channels_first", Grid::over(n), n, arguments)?;
        let (sw, sc, sp) = s.per_group(width);
        let (dz, columns) = (product.address(), columns.address());
        if let Some(dw) = dw {
            unfold(gpu, s, shifted(x, input), columns, images)?;
            let batch = Batch { count: s.groups, a: sp, b: sc, c: sw };
            gpu.gemm(factor(dz, false), factor(columns, true), dw, [m, k, width], 1.0, batch)?;
        }
        if let Some(dx) = dx {
            let batch = Batch { count: s.groups, a: sw, b: sp, c: sc };
            gpu.gemm(factor(w, true), factor(dz, false), columns, [k, width, m], 0.0, batch)?;
            let n = images * s.channels * windows.size();
            let arguments =
                [columns.into(), shifted(dx, input).into(), n.into(), s.channels.into(), images.into(), windows.into()];
            let name = if windows.dense() { "fold_dense" } else { "fold" };
            gpu.launch(name, Grid::over(n), n.max(s.rows() * width), arguments)?;
        }
    }
    Ok(())
}
