//! Outputs that no target names, before and after.

use super::{job::Job, rows::sample};
use crate::{
    audit::Drift,
    data::Batch,
    error::Result,
    graph::{ValueId, loss},
    kernels::Backend,
    model::Model,
    tensor::HostTensor,
};
use std::collections::BTreeMap;

/// Unseen rows that they are looked at on, at most.
const ROWS: usize = 512;
/// Of these, rows that run at once.
const AT_ONCE: usize = 64;
/// Values of all of them together, at most.
const MOST_VALUES: usize = 1 << 22;

/// What a model answers where nobody asked it to change.
pub(super) struct OtherOutputs {
    names: Vec<String>,
    rows: Batch,
    before: BTreeMap<String, Vec<f32>>,
}

impl Job {
    /// What `model` gives now in the outputs that no target names; none if there are no such outputs.
    pub(super) fn other_outputs<D: Backend<f32>>(&self, model: &Model<f32, D>) -> Result<Option<OtherOutputs>> {
        let (graph, plan) = (&self.model.graph, &self.model.plan);
        let trained: Vec<ValueId> = self.model.decisions.iter().filter(|d| d.trainable).map(|d| d.value).collect();
        let others = loss::others(graph, plan, &trained);
        let names: Vec<String> = others.iter().map(|&output| graph.name(output).to_string()).collect();
        let names: Vec<String> = names.into_iter().filter(|name| model.output_names().contains(name)).collect();
        if names.is_empty() {
            return Ok(None);
        }
        let test = &self.data.test;
        let one = test.batch(&sample(test.len(), None, 1, self.options.seed, "drift").to_vec())?;
        let values: usize = given(model, &names, &one)?.values().map(Vec::len).sum();
        let most = ROWS.min((MOST_VALUES / values.max(1)).max(1));
        let rows = test.batch(&sample(test.len(), None, most, self.options.seed, "drift").to_vec())?;
        Ok(Some(OtherOutputs { before: given(model, &names, &rows)?, names, rows }))
    }
}

impl OtherOutputs {
    /// How far they are from that in `model`.
    ///
    /// # Errors
    /// Those of running the model.
    pub fn drifts<D: Backend<f32>>(&self, model: &Model<f32, D>) -> Result<Vec<Drift>> {
        let after = given(model, &self.names, &self.rows)?;
        let of = |name: &String| Drift::of(name, self.rows.rows(), self.before.get(name)?, after.get(name)?);
        Ok(self.names.iter().filter_map(of).collect())
    }
}

/// The outputs `names` for `rows`, row by row.
fn given<D: Backend<f32>>(model: &Model<f32, D>, names: &[String], rows: &Batch) -> Result<BTreeMap<String, Vec<f32>>> {
    let mut all = BTreeMap::<String, Vec<f32>>::new();
    for (part, _) in rows.parts(AT_ONCE).unwrap_or_else(|| vec![(rows.clone(), rows.rows())]) {
        for (piece, count) in model.pieces(&part) {
            for (name, tensor) in model.outputs(&piece.inputs)? {
                if names.contains(&name) && first_axis(&tensor) == Some(piece.rows()) {
                    let width = tensor.len() / piece.rows().max(1);
                    all.entry(name).or_default().extend(tensor.to_f32().into_iter().take(count * width));
                }
            }
        }
    }
    Ok(all)
}

fn first_axis(tensor: &HostTensor) -> Option<usize> {
    tensor.dims().first().copied().filter(|_| tensor.dtype().is_float())
}
