//! Layers of networks.

pub mod batch_norm;
pub mod conv;
pub mod dropout;
pub mod fused;
pub mod group_norm;
pub mod layer_norm;
pub mod max_pool;
pub mod pool;
pub mod softmax;
pub mod window;
