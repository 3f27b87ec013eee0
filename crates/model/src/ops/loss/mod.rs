//! Losses that a graph holds. Unlearning takes the loss of each row instead (`model`); these give the graph's own outputs.

pub mod cross_entropy;
