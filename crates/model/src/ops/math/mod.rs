//! Products, sums along an axis, sequences of numbers.

pub mod cumsum;
pub mod einsum;
pub mod gemm;
pub mod matmul;
pub mod range;
