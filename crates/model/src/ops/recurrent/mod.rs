//! Layers that run over the steps of a sequence.

mod activation;
pub mod gru;
mod layer;
pub mod lstm;
pub mod rnn;
