//! Attention, and what exporters and optimizers put around it.

pub mod dot_product;
pub mod embed;
pub mod group_query;
pub mod multi_head;
pub mod rotary;
mod scores;
