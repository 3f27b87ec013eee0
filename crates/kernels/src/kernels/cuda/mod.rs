//! Kernels for NVIDIA GPUs: CUDA C++ compiled at run time for the device at hand, and cuBLAS for matrix products.
//!
//! They read and write the memory of dfdx's tensors and gradients ([`crate::engine::Address`]) and run on dfdx's stream.
//! No kernel adds atomically: the same inputs give the same bits. What has no kernel here, or no elements, is left to
//! the definitions.

mod adamw;
mod codes;
mod conv;
mod elementwise;
mod gemm;
mod gpu;
mod layout;
mod linear;
mod loss;
mod lstm;
mod matmul;
mod normalize;
mod pool;
mod softmax;
mod sum;
mod upload;
mod window;

pub use gpu::leave;

pub(super) use adamw::{adamw, stayed_finite};
pub(super) use conv::{conv, convolves, fuses};
pub(super) use elementwise::{binary, select, unary};
#[cfg(test)]
pub(super) use gpu::ALWAYS_WIDE;
pub(super) use layout::{concat, expand, gather, gather_flat, pad, permute, slice};
pub(super) use linear::linear;
pub(super) use loss::{bce_with_logits, cross_entropy};
pub(super) use lstm::lstm;
pub(super) use matmul::matmul;
pub(super) use normalize::{batch_norm, layer_norm};
pub(super) use pool::{avg_pool, max_pool, pools};
pub(super) use softmax::{log_softmax, softmax};
pub(super) use sum::{reduce, reduces};
pub(super) use upload::feed;

use crate::engine::{Context, Tensor};
use dfdx::prelude::Cuda;

type Cx = Context<f32, Cuda>;
type F32 = Tensor<f32, Cuda>;

/// Whether kernels can take these tensors: none is empty.
pub(super) fn takes(inputs: &[&F32]) -> bool {
    inputs.iter().all(|x| !x.is_empty())
}
