//! How much a forward pass is, counted from the shapes of what nodes take and give: the same on every machine, so that what
//! is left out for want of time does not depend on it.

use crate::{
    engine::Float,
    error::Result,
    graph::{Graph, Node, ValueId},
    kernels::Backend,
    model::Model,
    tensor::HostTensor,
};
use std::collections::BTreeMap;

/// A pass over one row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Multiplications of products and convolutions.
    pub products: f64,
    /// Elements of all results.
    pub elements: f64,
}

/// What a product costs in `f64` by the definitions, in elements.
const PRODUCT: f64 = 0.25;
/// Elements of a pass over all rows of the gradient check, at most, unless a few rows have more.
const BUDGET: f64 = 2e8;
/// Elements of rows that run at once: the pass that records them holds each several times.
const AT_ONCE: f64 = 3e7;
/// Multiplications of a look at some rows, of which there are some ten.
const LOOKS: f64 = 1.5e11;
/// What an element costs that is written and read again, in multiplications.
const PASSED: f64 = 8.0;
/// Rows, at least.
const LEAST: usize = 4;

impl Work {
    /// Counted on a pass over `fed`, of `rows` rows.
    ///
    /// # Errors
    /// Those of running the model.
    pub fn count<E: Float, D: Backend<E>>(
        model: &Model<E, D>,
        graph: &Graph,
        fed: &BTreeMap<String, HostTensor>,
        rows: usize,
    ) -> Result<Self> {
        let given: BTreeMap<ValueId, HostTensor> =
            fed.iter().filter_map(|(name, t)| Some((*graph.by_name.get(name)?, t.clone()))).collect();
        let nodes = model.nodes();
        let wanted: Vec<ValueId> = nodes.iter().flat_map(|node| node.outputs.iter().flatten().copied()).collect();
        let mut dims: BTreeMap<ValueId, Vec<usize>> =
            graph.initializers.iter().map(|(&id, held)| (id, held.tensor.dims().to_vec())).collect();
        dims.extend(given.iter().map(|(&id, tensor)| (id, tensor.dims().to_vec())));
        for (&id, tensor) in wanted.iter().zip(model.compute(&wanted, &given)?) {
            dims.insert(id, tensor.dims().to_vec());
        }
        let mut all = Self::default();
        for node in nodes {
            let made: usize = node.outputs.iter().flatten().filter_map(|id| dims.get(id)).map(|d| count(d)).sum();
            all.elements += made as f64;
            all.products += products(node, &dims) / rows.max(1) as f64;
        }
        all.elements /= rows.max(1) as f64;
        Ok(all)
    }

    fn cost(self) -> f64 {
        (self.elements + PRODUCT * self.products).max(1.0)
    }

    /// Rows of the gradient check, of at most `most`.
    pub fn rows(self, most: usize) -> usize {
        ((BUDGET / self.cost()) as usize).max(LEAST).min(most)
    }

    /// Rows of which passes in `f32` are a matter of seconds, however often they run: of at most `most`, and at least 64.
    pub fn rows_to_look_at(self, most: usize) -> usize {
        ((LOOKS / (self.products + PASSED * self.elements).max(1.0)) as usize).max(64).min(most)
    }

    /// Rows that run at once.
    pub fn at_once(self) -> usize {
        ((AT_ONCE / self.elements.max(1.0)) as usize).max(1)
    }
}

fn count(dims: &[usize]) -> usize {
    dims.iter().product()
}

/// Multiplications in a node that sums products; 0 for others.
fn products(node: &Node, dims: &BTreeMap<ValueId, Vec<usize>>) -> f64 {
    let of = |at: usize| node.input(at).and_then(|id| dims.get(&id));
    let size = |at: usize| of(at).map_or(0, |d| count(d)) as f64;
    let made = node.output(0).and_then(|id| dims.get(&id));
    let results = made.map_or(0, |d| count(d)) as f64;
    let first = |at: usize| of(at).and_then(|d| d.first()).copied().unwrap_or(1).max(1) as f64;
    let last = |d: Option<&Vec<usize>>| d.and_then(|d| d.last()).copied().unwrap_or(1).max(1) as f64;
    match node.op_type.as_str() {
        "Conv" | "FusedConv" => results * size(1) / first(1),
        "ConvTranspose" => size(0) * size(1) / first(1),
        "MatMul" | "FusedMatMul" => results * last(of(0)),
        "Gemm" | "FusedGemm" => results * size(1) / last(made),
        "LSTM" | "GRU" | "RNN" => (size(1) + size(2)) * size(0) / last(of(0)),
        "Attention" | "MultiHeadAttention" | "GroupQueryAttention" | "Einsum" => {
            (0..node.inputs.len()).map(size).fold(0.0, f64::max) * last(of(0))
        }
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        graph::{loss, parameters, testing},
        model::ModelOptions,
    };
    use dfdx::prelude::Cpu;

    #[test]
    fn products_and_results_are_counted_a_row() {
        let net = testing::Model::new(17, &["x:f32[n,4]"], &["y:f32[n,3]"]).weight("w", &[4, 5]).weight("v", &[5, 3]);
        let net = net.node("MatMul", "x w", "h", &[]).node("Relu", "h", "r", &[]).node("MatMul", "r v", "y", &[]);
        let graph = net.build().unwrap();
        let plan = loss::plan(&graph, None, loss::LabelKind::Class).unwrap();
        let decisions = parameters::decide(&graph, &plan, &[], &[]).unwrap();
        let options = ModelOptions { node_by_node: true, ..ModelOptions::default() };
        let model = Model::<f32, Cpu>::build(&graph, &plan, &decisions, options, Cpu::default()).unwrap();
        let fed = BTreeMap::from([("x".to_string(), HostTensor::new(&[2, 4], vec![1f32; 8]).unwrap())]);
        let work = Work::count(&model, &graph, &fed, 2).unwrap();
        assert_eq!(work, Work { products: 35.0, elements: 13.0 });
        assert_eq!((work.rows(64), work.at_once() > 1000), (64, true));
        let large = Work { products: 4e9, elements: 6e7 };
        assert_eq!((large.rows(64), large.rows(2), large.at_once()), (LEAST, 2, 1));
        assert_eq!((large.rows_to_look_at(512), work.rows_to_look_at(512)), (64, 512));
    }
}
