//! Which operators run fast kernels: what the table says, held against what the dispatch counts.

use super::stored;
use crate::cases::{Case, graph_of};
use dfdx::prelude::Cpu;
use onnx_forget::{
    engine::{Context, KernelChoice, Value},
    graph::fold,
    ops::{self, DropoutMode, Entry, Inputs, Mode, NodeContext, Spec, Statistics},
    tensor::{DType, HostTensor},
};
use std::{collections::BTreeMap, path::Path};

/// The operator of a case of one node, and how many fast kernels it runs; `None` for cases in f64, which only definitions
/// compute.
fn fast_kernels(case: &Case, entries: &[Entry<f32, Cpu>], folder: &Path) -> Option<(Spec, usize)> {
    let graph = graph_of(case, folder).unwrap();
    let [node] = graph.nodes.as_slice() else { return None };
    if case.inputs.values().chain(case.outputs.values()).any(|t| t.dtype() == DType::F64) {
        return None;
    }
    let constants = fold::constants(&graph);
    let (spec, operator) = ops::build(entries, &NodeContext::new(node, &graph, &constants)).unwrap();
    let mut cx = Context::inference(Cpu::default(), KernelChoice::Fast);
    let value = |tensor: &HostTensor| -> Value<f32, Cpu> {
        match tensor.dtype().is_float() {
            true => cx.upload_host(tensor).unwrap().into(),
            false => tensor.clone().into(),
        }
    };
    let values = node.inputs.iter().map(|input| {
        let input = (*input)?;
        let fed = case.inputs.get(graph.name(input)).map(value);
        fed.or_else(|| graph.initializers.get(&input).map(|held| value(&held.tensor.get())))
    });
    let values: Vec<_> = values.collect();
    let mode = Mode { statistics: Statistics::File, dropout: DropoutMode::On(0) };
    let inputs = Inputs::new(values.iter().map(Option::as_ref).collect(), mode);
    ops::run(node, &spec, operator.as_ref(), &mut cx, &inputs).unwrap();
    Some((spec, cx.fast_kernels))
}

#[test]
fn the_table_says_what_the_dispatch_does() {
    let folder = tempfile::tempdir().unwrap();
    let entries = ops::registry::<f32, Cpu>();
    let mut found: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (spec, kernels) in stored().iter().filter_map(|case| fast_kernels(case, &entries, folder.path())) {
        *found.entry((spec.domain, spec.name)).or_default() += kernels;
    }
    let said = ops::specs().into_iter().map(|spec| (spec.domain, spec.name, spec.fast));
    let ran = |domain, name| found.get(&(domain, name)).is_some_and(|&kernels| kernels > 0);
    let wrong: Vec<_> = said.filter(|&(domain, name, fast)| fast != ran(domain, name)).collect();
    assert!(wrong.is_empty(), "the table is wrong about {wrong:?}");
}
