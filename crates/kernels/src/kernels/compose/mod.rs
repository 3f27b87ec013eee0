//! The definition of every kernel: composed of dfdx operations, for any dfdx device, in `f32` and `f64`.
//!
//! Integer work (shapes, indices of gathers) is done on the host. What a definition takes for granted about dfdx 0.13:
//! binary operations refuse one tensor on both sides, nothing may be empty, shapes that do not fit panic, and a tensor
//! joins a tape only if it brings one: what is not the first input comes with an empty one, or its gradient is lost
//! wherever its elements are copied.

mod adamw;
mod conv;
mod elementwise;
mod layout;
mod loss;
mod lstm;
mod matmul;
mod normalize;
mod pool;
mod reduce;
mod scan;
mod select;
mod softmax;
mod special;
#[cfg(test)]
mod tests;
mod trigonometry;
mod view;

pub use adamw::adamw;
pub use conv::conv;
pub use elementwise::{binary, unary};
#[cfg(feature = "cuda")]
pub(super) use layout::padded;
pub use layout::{concat, expand, gather, gather_flat, pad, permute, slice};
pub use loss::{bce_with_logits, cross_entropy};
pub use lstm::lstm;
pub use matmul::{linear, matmul};
pub use normalize::{batch_norm, layer_norm};
pub use pool::{avg_pool, max_pool};
pub use reduce::reduce;
pub use scan::cumsum;
pub use select::select;
pub use softmax::{log_softmax, softmax};
