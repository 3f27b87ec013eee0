//! Which device runs which kernel: the one place that chooses between a fast kernel and a definition.

use super::Backend;
use dfdx::prelude::Cpu;

impl Backend<f64> for Cpu {}

impl Backend<f32> for Cpu {}

#[cfg(feature = "cuda")]
impl Backend<f32> for dfdx::prelude::Cuda {}

#[cfg(feature = "cuda")]
impl Backend<f64> for dfdx::prelude::Cuda {}
