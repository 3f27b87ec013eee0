//! Comparisons and booleans. Their results are booleans: no gradient passes.

pub mod boolean;
pub mod compare;
pub mod special;
