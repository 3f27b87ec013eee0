//! The float types that a model can run in.

use crate::tensor::Element;

/// `f32`, which models run in, and `f64`, which finite-difference checks run in.
pub trait Float: dfdx::dtypes::Dtype + num_traits::Float + Element + Send + Sync + std::iter::Sum {
    /// The nearest value of this type.
    fn of(x: f64) -> Self;
    /// The same value as `f64`.
    fn f64(self) -> f64;
}

impl Float for f32 {
    fn of(x: f64) -> Self {
        x as f32
    }
    fn f64(self) -> f64 {
        self.into()
    }
}

impl Float for f64 {
    fn of(x: f64) -> Self {
        x
    }
    fn f64(self) -> f64 {
        self
    }
}
