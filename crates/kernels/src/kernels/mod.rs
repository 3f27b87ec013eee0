//! Numerics: each kernel has a definition composed of dfdx operations ([`compose`]), which runs on any device and in
//! `f32` and `f64`, and may have a fast version for the CPU, which a differential test holds against the definition.
//!
//! [`Backend`] is the one dispatch point: its default methods are the definitions, and a device overrides what is hot.
//! Kernels know shapes and numbers; they never see a node, an attribute or an opset.
//!
//! Every kernel proves its shapes before it computes and answers [`crate::Error::Internal`] if they do not fit:
//! operators have checked them before, so a misfit here is a defect of this program.

mod arguments;
pub mod compose;
mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod spec;

#[cfg(test)]
mod differential;
mod dispatch;
pub mod shape;
mod sizes;

pub use arguments::{AdamArgs, BatchNormArgs, ConvArgs, LayerNormArgs, LinearArgs, LstmArgs};
pub use spec::{AdamStep, Binary, ConvSpec, PadMode, PoolSpec, Reduce, Unary};

use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    tensor::HostTensor,
};
use dfdx::prelude::Device;
use ndarray::ArrayD;

/// A device that models run on.
///
/// Broadcasting is NumPy's. Gradients follow PyTorch's conventions where a function has none of its own.
pub trait Backend<E: Float>: Device<E> {
    /// Elementwise `op(x)`.
    ///
    /// # Errors
    /// [`crate::Error::DeviceFailed`] if the device fails.
    fn unary(cx: &mut Context<E, Self>, op: Unary, x: &Tensor<E, Self>) -> Result<Tensor<E, Self>> {
        compose::unary(cx, op, x)
    }

    /// Elementwise `op(a, b)`, broadcasting.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if the shapes do not broadcast; [`crate::Error::Node`] if the result is larger than
    /// the limits allow; [`crate::Error::DeviceFailed`] if the device fails.
    fn binary(
        cx: &mut Context<E, Self>,
        op: Binary,
        a: &Tensor<E, Self>,
        b: &Tensor<E, Self>,
    ) -> Result<Tensor<E, Self>> {
        compose::binary(cx, op, a, b)
    }

    /// `a` where `mask` holds, else `b`, all three broadcasting.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if the shapes do not broadcast; [`crate::Error::Node`] if the result is larger than
    /// the limits allow; [`crate::Error::DeviceFailed`] if the device fails.
    fn select(
        cx: &mut Context<E, Self>,
        mask: &ArrayD<bool>,
        a: &Tensor<E, Self>,
        b: &Tensor<E, Self>,
    ) -> Result<Tensor<E, Self>> {
        compose::select(cx, mask, a, b)
    }

    /// Matrix product over the last two axes (`ta`, `tb`: of the transposed matrices), the leading axes broadcasting.
    /// Both ranks are at least 2.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if a rank is below 2, the inner extents differ, or the leading axes do not broadcast;
    /// [`crate::Error::Node`] if the result is larger than the limits allow; [`crate::Error::DeviceFailed`] if the
    /// device fails.
    fn matmul(
        cx: &mut Context<E, Self>,
        a: &Tensor<E, Self>,
        b: &Tensor<E, Self>,
        ta: bool,
        tb: bool,
    ) -> Result<Tensor<E, Self>> {
        compose::matmul(cx, a, b, ta, tb)
    }

    /// `activation` of x·w + bias.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if the extents of x, w and bias do not fit; [`crate::Error::Node`] if the result is
    /// larger than the limits allow; [`crate::Error::DeviceFailed`] if the device fails.
    fn linear(cx: &mut Context<E, Self>, args: LinearArgs<'_, E, Self>) -> Result<Tensor<E, Self>> {
        compose::linear(cx, args)
    }

    /// `activation` of the convolution of `x` by `w` over any number of spatial axes, plus `bias`, plus `residual`.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if ranks, channels, groups, bias or residual do not fit, or the window is larger than
    /// the padded input; [`crate::Error::Node`] if the result is larger than the limits allow;
    /// [`crate::Error::DeviceFailed`] if the device fails.
    fn conv(cx: &mut Context<E, Self>, args: ConvArgs<'_, E, Self>) -> Result<Tensor<E, Self>> {
        compose::conv(cx, args)
    }

    /// Largest element of each window of `x` (N, C, spatial…); the gradient goes to the first of equal ones.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if x has no spatial axes, or `spec` another number of them; [`crate::Error::Node`] if
    /// the result is larger than the limits allow; [`crate::Error::DeviceFailed`] if the device fails.
    fn max_pool(cx: &mut Context<E, Self>, x: &Tensor<E, Self>, spec: &PoolSpec) -> Result<Tensor<E, Self>> {
        compose::max_pool(cx, x, spec)
    }

    /// Mean of each window of `x` (N, C, spatial…); see [`PoolSpec::count_include_pad`] for the divisor.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if x has no spatial axes, or `spec` another number of them; [`crate::Error::Node`] if
    /// the result is larger than the limits allow; [`crate::Error::DeviceFailed`] if the device fails.
    fn avg_pool(cx: &mut Context<E, Self>, x: &Tensor<E, Self>, spec: &PoolSpec) -> Result<Tensor<E, Self>> {
        compose::avg_pool(cx, x, spec)
    }

    /// Reduction over `axes` (sorted, unique), which stay as 1 if `keep_dims`. Without axes, `x` itself.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if `axes` are not sorted, are repeated, or do not exist;
    /// [`crate::Error::DeviceFailed`] if the device fails.
    fn reduce(
        cx: &mut Context<E, Self>,
        op: Reduce,
        x: &Tensor<E, Self>,
        axes: &[usize],
        keep_dims: bool,
    ) -> Result<Tensor<E, Self>> {
        compose::reduce(cx, op, x, axes, keep_dims)
    }

    /// eˣ/Σeˣ along `axis`.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if there is no such axis; [`crate::Error::DeviceFailed`] if the device fails.
    fn softmax(cx: &mut Context<E, Self>, x: &Tensor<E, Self>, axis: usize) -> Result<Tensor<E, Self>> {
        compose::softmax(cx, x, axis)
    }

    /// ln of [`Backend::softmax`].
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if there is no such axis; [`crate::Error::DeviceFailed`] if the device fails.
    fn log_softmax(cx: &mut Context<E, Self>, x: &Tensor<E, Self>, axis: usize) -> Result<Tensor<E, Self>> {
        compose::log_softmax(cx, x, axis)
    }

    /// (x − mean)/√(var + ε)·scale + bias, channel (axis 1) by channel. Given statistics get no gradient; through the
    /// batch's own mean and population variance, gradients flow.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if scale, bias or statistics do not have a value for each channel;
    /// [`crate::Error::DeviceFailed`] if the device fails.
    fn batch_norm(cx: &mut Context<E, Self>, args: BatchNormArgs<'_, E, Self>) -> Result<Tensor<E, Self>> {
        compose::batch_norm(cx, args)
    }

    /// Normalizes over the axes from `axis` on.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if there is no such axis, or scale or bias do not broadcast to x;
    /// [`crate::Error::DeviceFailed`] if the device fails.
    fn layer_norm(cx: &mut Context<E, Self>, args: LayerNormArgs<'_, E, Self>) -> Result<Tensor<E, Self>> {
        compose::layer_norm(cx, args)
    }

    /// Axis `i` of the result is axis `perm[i]` of `x`.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if `perm` is not a permutation of the axes; [`crate::Error::DeviceFailed`] if the
    /// device fails.
    fn permute(cx: &mut Context<E, Self>, x: &Tensor<E, Self>, perm: &[usize]) -> Result<Tensor<E, Self>> {
        compose::permute(cx, x, perm)
    }

    /// Broadcasts `x` to exactly `dims`.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if x does not broadcast to `dims`; [`crate::Error::Node`] if the result is larger
    /// than the limits allow; [`crate::Error::DeviceFailed`] if the device fails.
    fn expand(cx: &mut Context<E, Self>, x: &Tensor<E, Self>, dims: &[usize]) -> Result<Tensor<E, Self>> {
        compose::expand(cx, x, dims)
    }

    /// Joins `xs`, equal in all other axes, along `axis`.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if `xs` is empty, there is no such axis, or another extent differs;
    /// [`crate::Error::Node`] if the result is larger than the limits allow; [`crate::Error::DeviceFailed`] if the
    /// device fails.
    fn concat(cx: &mut Context<E, Self>, xs: &[&Tensor<E, Self>], axis: usize) -> Result<Tensor<E, Self>> {
        compose::concat(cx, xs, axis)
    }

    /// Element `i` along axis `a` is element `starts[a] + i·steps[a]` of `x`, for `i` below `out_dims[a]`.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if the numbers of axes differ, or an element lies outside x; [`crate::Error::Node`]
    /// if the result is larger than the limits allow; [`crate::Error::DeviceFailed`] if the device fails.
    fn slice(
        cx: &mut Context<E, Self>,
        x: &Tensor<E, Self>,
        starts: &[usize],
        steps: &[isize],
        out_dims: &[usize],
    ) -> Result<Tensor<E, Self>> {
        compose::slice(cx, x, starts, steps, out_dims)
    }

    /// Adds `pads[a]` = [before, after] elements to axis `a`; negative ones are cut off.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if there is not a pair of pads for each axis, more is cut off than there is, or there
    /// is no element to fill the padding with; [`crate::Error::Node`] if the result is larger than the limits allow;
    /// [`crate::Error::DeviceFailed`] if the device fails.
    fn pad(
        cx: &mut Context<E, Self>,
        x: &Tensor<E, Self>,
        pads: &[[isize; 2]],
        mode: PadMode,
    ) -> Result<Tensor<E, Self>> {
        compose::pad(cx, x, pads, mode)
    }

    /// Slices of `x` along `axis`, in the order of `indices`, which have `index_dims`: the result's dimensions are
    /// `x.dims[..axis]`, `index_dims`, `x.dims[axis + 1..]`.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if there is no such axis, an index lies beyond it, or their number is not that of
    /// `index_dims`; [`crate::Error::Node`] if the result is larger than the limits allow;
    /// [`crate::Error::DeviceFailed`] if the device fails.
    fn gather(
        cx: &mut Context<E, Self>,
        x: &Tensor<E, Self>,
        axis: usize,
        indices: &[usize],
        index_dims: &[usize],
    ) -> Result<Tensor<E, Self>> {
        compose::gather(cx, x, axis, indices, index_dims)
    }

    /// Element `i` of the result, which has `dims`, is the row-major element `indices[i]` of `x`.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if an index lies beyond x, or their number is not that of `dims`;
    /// [`crate::Error::Node`] if the result is larger than the limits allow; [`crate::Error::DeviceFailed`] if the
    /// device fails.
    fn gather_flat(
        cx: &mut Context<E, Self>,
        x: &Tensor<E, Self>,
        indices: &[usize],
        dims: &[usize],
    ) -> Result<Tensor<E, Self>> {
        compose::gather_flat(cx, x, indices, dims)
    }

    /// Running sums along `axis`; `exclusive` leaves out the element itself, `reverse` runs from the end.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if there is no such axis; [`crate::Error::DeviceFailed`] if the device fails.
    fn cumsum(
        cx: &mut Context<E, Self>,
        x: &Tensor<E, Self>,
        axis: usize,
        exclusive: bool,
        reverse: bool,
    ) -> Result<Tensor<E, Self>> {
        compose::cumsum(cx, x, axis, exclusive, reverse)
    }

    /// The steps of an LSTM. The result (steps + 1, batch, hidden) is h after each step, then c after the last.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if the extents of gates, weights and states do not fit, or one is 0;
    /// [`crate::Error::Node`] if the result is larger than the limits allow; [`crate::Error::DeviceFailed`] if the
    /// device fails.
    fn lstm(cx: &mut Context<E, Self>, args: LstmArgs<'_, E, Self>) -> Result<Tensor<E, Self>> {
        compose::lstm(cx, args)
    }

    /// −ln softmax(logits)\[class\] of each row of `logits` (n, c): dimensions (n).
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if `logits` does not have two axes, there is not a class for each row, or a class
    /// lies beyond c; [`crate::Error::DeviceFailed`] if the device fails.
    fn cross_entropy(
        cx: &mut Context<E, Self>,
        logits: &Tensor<E, Self>,
        classes: &[usize],
    ) -> Result<Tensor<E, Self>> {
        compose::cross_entropy(cx, logits, classes)
    }

    /// −t·ln σ(x) − (1 − t)·ln(1 − σ(x)), elementwise on equal dimensions, finite for all finite logits x.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if the dimensions differ; [`crate::Error::DeviceFailed`] if the device fails.
    fn bce_with_logits(
        cx: &mut Context<E, Self>,
        logits: &Tensor<E, Self>,
        targets: &Tensor<E, Self>,
    ) -> Result<Tensor<E, Self>> {
        compose::bce_with_logits(cx, logits, targets)
    }

    /// A batch's tensor on the device, as a constant: [`Context::upload_host`], which need not wait until the device has done what it
    /// was told before.
    ///
    /// # Errors
    /// Those of [`Context::upload_host`].
    fn feed(cx: &Context<E, Self>, tensor: &HostTensor) -> Result<Tensor<E, Self>> {
        cx.upload_host(tensor)
    }

    /// A step against the gradient, in place. Records nothing. Whether the parameter stays finite, as it does unless the
    /// gradient is not.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if the optimizer's state does not fit the parameter; [`crate::Error::DeviceFailed`]
    /// if the device fails.
    fn adamw(cx: &mut Context<E, Self>, args: AdamArgs<'_, E, Self>) -> Result<bool> {
        compose::adamw(cx, args)
    }

    /// Whether every parameter that [`Backend::adamw`] has stepped since the last call is finite, where it did not wait
    /// for the device to say so.
    ///
    /// # Errors
    /// [`crate::Error::DeviceFailed`] if the device fails.
    fn stayed_finite(_: &Context<E, Self>) -> Result<bool> {
        Ok(true)
    }
}
