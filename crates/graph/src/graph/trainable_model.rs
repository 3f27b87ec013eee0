//! A model that can be trained: what everything after its file and its labels were read works with.

use super::{
    Graph,
    loss::LossPlan,
    parameters::{Decision, Totals, copies_left_out, stored_as_integers},
};
use crate::onnx::OnnxFile;

/// A model file, its graph, its task loss, and what of it is trained.
pub struct TrainableModel {
    /// The file.
    pub file: OnnxFile,
    /// The file's graph, as far as the loss and the outputs that are compared need it.
    pub graph: Graph,
    /// The task loss.
    pub plan: LossPlan,
    /// What is trainable, and why.
    pub decisions: Vec<Decision>,
}

impl TrainableModel {
    /// Elements of all float initializers, or of those that are trained.
    pub fn parameters(&self, trained: bool) -> usize {
        let counted = self.decisions.iter().filter(|d| d.trainable || !trained);
        counted.map(|d| d.dims.iter().product::<usize>()).sum()
    }

    /// What to say if much of the model is not trained, or copies of what is trained.
    pub fn partly_trained(&self) -> impl Iterator<Item = String> + '_ {
        let integers = stored_as_integers(&self.graph, &self.plan);
        let copies = copies_left_out(&self.graph, &self.decisions);
        Totals::of(&self.decisions).warning().into_iter().chain(integers).chain(copies)
    }
}
