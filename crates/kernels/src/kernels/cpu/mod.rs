//! Fast kernels for `f32` on dfdx's `Cpu`: rayon for threads, faer for matrix products, loops that vectorize for the
//! rest. They compute what the definitions in `compose` compute, to rounding, and the same bytes on any number of
//! threads.

// Offsets follow from shapes that the callers prove; a bounds check that fails is a defect of this program.
#![allow(clippy::indexing_slicing)]

mod adamw;
mod broadcast;
mod conv;
mod depthwise;
mod elementwise;
mod function;
mod gather;
mod gemm;
mod lanes;
mod layer_norm;
mod layout;
mod linear;
mod lstm;
mod mathf;
mod normalize;
mod par;
mod pool;
mod product;
mod reduce;
mod simd;
mod softmax;
#[cfg(test)]
mod tests;
mod tile;
mod walk;
mod window;
mod winograd;

pub(super) use adamw::adamw;
pub(super) use broadcast::{binary, select};
pub(super) use conv::{conv, supports as convolves};
pub(super) use elementwise::{fuses, unary};
pub(super) use gather::{cumsum, gather, gather_flat};
pub(super) use gemm::matmul;
pub(super) use layout::{concat, expand, pad, permute, slice};
pub(super) use linear::linear;
pub(super) use lstm::lstm;
pub(super) use normalize::{batch_norm, layer_norm};
pub(super) use pool::{avg_pool, max_pool, supports as pools};
pub(super) use reduce::{reduce, supports as reduces};
pub(super) use softmax::{bce_with_logits, cross_entropy, log_softmax, softmax};

/// A tensor of the only kind that these kernels take.
type F32 = crate::engine::Tensor<f32, dfdx::prelude::Cpu>;
