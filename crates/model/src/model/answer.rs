//! What the scores of a row say.

use super::Model;
use crate::{engine::Float, graph::loss::LossKind, kernels::Backend};

/// How a row's scores become an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A softmax over classes.
    Class,
    /// A sigmoid for each label; a single one says which of two classes it is.
    Labels,
    /// Numbers.
    Numbers,
}

impl<E: Float, D: Backend<E>> Model<E, D> {
    /// What rows of `width` scores say, by the task loss.
    pub fn answer(&self, width: usize) -> Answer {
        match self.plan().map(|plan| (plan.kind, plan.scores_are_log_probs)) {
            Some((LossKind::CrossEntropy, false)) if width == 1 => Answer::Labels,
            Some((LossKind::CrossEntropy | LossKind::Graph, _)) => Answer::Class,
            Some((LossKind::Bce, _)) => Answer::Labels,
            Some((LossKind::Mse | LossKind::LossGraph, _)) | None => Answer::Numbers,
        }
    }
}
