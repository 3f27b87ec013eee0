//! Layers of networks.

pub mod affine_grid;
pub mod batch_norm;
pub mod col2im;
pub mod conv;
pub mod conv_transpose;
pub mod dropout;
pub mod fused;
pub mod grid_sample;
pub mod group_norm;
pub mod layer_norm;
pub mod local_norm;
pub mod lp_pool;
pub mod max_pool;
pub mod max_unpool;
pub mod pool;
pub mod resample;
pub mod resize;
pub mod softmax;
pub mod window;
