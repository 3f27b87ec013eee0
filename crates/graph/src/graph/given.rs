//! What a user says of a model's inputs before it is read: extents of axes that the file leaves open, and inputs that are the
//! same in every row.

use super::{Dim, Graph, Initializer, ValueId, batch_axis, build::supply::Supply, fold};
use crate::{
    error::{Error, Result},
    tensor::HostTensor,
};
use std::collections::{BTreeMap, BTreeSet};

/// Extents and inputs that are given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// Extents, by the dimension's name (`batch`) or the input's name and axis (`x.2`).
    pub dims: BTreeMap<String, usize>,
    /// Elements of inputs that are the same in every row, by the input's name; one element stands for all.
    pub inputs: BTreeMap<String, Vec<f64>>,
    /// The axis along which the rows of an input lie, where that is not the first one, by the input's name.
    pub batch_axes: BTreeMap<String, usize>,
    /// The names, in lower case, of columns and of inputs that are fed from columns. If they are known, the other inputs that
    /// language models take to continue a text are made.
    pub fed: Option<BTreeSet<String>>,
}

/// Puts what is given into `graph`: extents into all declared shapes, inputs among the stored tensors. The switches among what
/// is `made` are fixed, too, at 0.
///
/// # Errors
/// [`Error::Usage`] for a dimension or input that there is not, or whose shape does not take the value.
pub(super) fn apply(graph: &mut Graph, given: &Given, made: &BTreeMap<String, Supply>) -> Result<()> {
    for (name, &extent) in &given.dims {
        fix_dim(graph, name, extent)?;
    }
    if !given.dims.is_empty() {
        graph.require_input_sizes().map_err(|e| Error::Usage(format!("{e}; give smaller --dim")))?;
    }
    for (name, values) in &given.inputs {
        fix_input(graph, name, values)?;
    }
    for (name, &supply) in made.iter().filter(|(_, supply)| supply.is_fixed()) {
        let input = graph.inputs.iter().copied().find(|&v| graph.name(v) == name);
        fix_input(graph, name, &[0.0])?;
        graph.supplied.extend(input.map(|input| (input, supply)));
    }
    batch_axis::apply(graph, &given.batch_axes)
}

fn fix_dim(graph: &mut Graph, name: &str, extent: usize) -> Result<()> {
    let is_named = |dim: &Dim| matches!(dim, Dim::Symbol(symbol) if symbol == name);
    let named = graph.inputs.iter().any(|&v| graph.declared_dims(v).is_some_and(|dims| dims.iter().any(is_named)));
    if named {
        let shapes = graph.values.iter_mut().filter_map(|info| info.ty.as_mut()?.dims.as_mut());
        shapes.flatten().filter(|dim| is_named(dim)).for_each(|dim| *dim = Dim::Fixed(extent));
        return Ok(());
    }
    let unknown = || Error::Usage(format!("--dim {name}: no input has such a dimension; {}", open(graph)));
    let (input, axis) = name.rsplit_once('.').ok_or_else(unknown)?;
    let value = graph.inputs.iter().copied().find(|&v| graph.name(v) == input).ok_or_else(unknown)?;
    let axis: usize = axis.parse().map_err(|_| unknown())?;
    let declared = graph.declared_dims(value).and_then(|dims| dims.get(axis)).cloned().ok_or_else(unknown)?;
    if let Dim::Fixed(n) = declared
        && n != extent
    {
        return Err(Error::Usage(format!("--dim {name}={extent}: the file says that this extent is {n}")));
    }
    let dims = graph.values.get_mut(value.0).and_then(|info| info.ty.as_mut()?.dims.as_mut());
    if let Some(dim) = dims.and_then(|dims| dims.get_mut(axis)) {
        *dim = Dim::Fixed(extent);
    }
    Ok(())
}

/// The dimensions that can be given, in words.
pub fn open(graph: &Graph) -> String {
    let names = open_of(graph, graph.inputs.iter().copied());
    match names.is_empty() {
        true => "no input has an open dimension".into(),
        false => format!("open dimensions are {}", names.join(", ")),
    }
}

/// The dimensions of these inputs that can be given, as `--dim` takes them.
pub(super) fn open_of(graph: &Graph, inputs: impl Iterator<Item = ValueId>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for input in inputs {
        for (axis, dim) in graph.declared_dims(input).unwrap_or_default().iter().enumerate() {
            let name = match dim {
                Dim::Fixed(_) => continue,
                Dim::Symbol(name) => name.clone(),
                Dim::Unknown => format!("{}.{axis}", graph.name(input)),
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

fn fix_input(graph: &mut Graph, name: &str, values: &[f64]) -> Result<()> {
    let wrong = |problem: String| Error::Usage(format!("`[inputs.{name}]`: `value`: {problem}"));
    let Some(input) = graph.inputs.iter().copied().find(|&v| graph.name(v) == name) else {
        let names: Vec<String> = graph.inputs.iter().map(|&v| format!("`{}`", graph.name(v))).collect();
        return Err(wrong(format!("the model has no such input; its inputs are {}", names.join(", "))));
    };
    let ty = graph.values.get(input.0).and_then(|info| info.ty.as_ref());
    let dtype = ty.and_then(|ty| ty.dtype).ok_or_else(|| wrong("the input is no tensor of numbers".into()))?;
    let dims: Vec<usize> = match ty.and_then(|ty| ty.dims.as_ref()) {
        None if values.len() == 1 => Vec::new(),
        None => vec![values.len()],
        Some(dims) => {
            let fixed = |dim: &Dim| if let Dim::Fixed(n) = dim { Some(*n) } else { None };
            dims.iter().map(fixed).collect::<Option<_>>().ok_or_else(|| {
                wrong(format!("the input's shape is open; give its extents by --dim ({})", open(graph)))
            })?
        }
    };
    let count = dims.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim)).filter(|&n| n <= super::MOST_ELEMENTS);
    let elements = match (values, count) {
        (_, None) => return Err(wrong(format!("the input has shape {dims:?}, which is too large"))),
        ([one], Some(count)) => vec![*one; count],
        (all, Some(count)) if all.len() == count => all.to_vec(),
        (all, Some(count)) => return Err(wrong(format!("{} numbers for an input of {count}", all.len()))),
    };
    let exact = HostTensor::new(&dims, elements).and_then(|tensor| fold::cast(&tensor, dtype));
    let tensor = exact.ok_or_else(|| Error::Internal("a fixed input of another size".into()))?;
    store(graph, input, tensor);
    graph.inputs.retain(|&v| v != input);
    Ok(())
}

/// Makes `value` a stored tensor that the file does not have.
pub(super) fn store(graph: &mut Graph, value: ValueId, tensor: HostTensor) {
    graph.initializers.insert(value, Initializer { tensor: tensor.into(), stored_as: None });
    graph.fixed.insert(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{
        build::{build_model, build_model_given},
        testing::{Model, body, value},
    };
    use crate::onnx::proto::GraphProto;

    /// `y = x · w` where `rate` is 16000, else `y = x`.
    fn branched() -> Model {
        let branch = |node: crate::onnx::proto::NodeProto, out: &str| GraphProto {
            name: Some(out.into()),
            node: vec![node],
            output: vec![value(&format!("{out}:f32[batch,?]"))],
            ..Default::default()
        };
        let then = branch(crate::graph::testing::node("MatMul", "x w", "a", &[]), "a");
        let otherwise = branch(crate::graph::testing::node("Identity", "x", "b", &[]), "b");
        Model::new(17, &["x:f32[batch,?]", "rate:i64[]"], &["y:f32[batch,?]"])
            .node("Equal", "rate wanted", "c", &[])
            .node("If", "c", "y", &[body("then_branch", then), body("else_branch", otherwise)])
            .weight("w", &[4, 4])
            .longs("wanted", &[16000])
    }

    fn given(dims: &[(&str, usize)], inputs: &[(&str, f64)]) -> Given {
        Given {
            dims: dims.iter().map(|(name, n)| (name.to_string(), *n)).collect(),
            inputs: inputs.iter().map(|(name, x)| (name.to_string(), vec![*x])).collect(),
            ..Given::default()
        }
    }

    #[test]
    fn a_fixed_input_decides_a_branch() {
        let model = branched();
        let build = |given: &Given| build_model_given("m.onnx".as_ref(), &model.proto, given);
        let ops = |graph: &Graph| graph.nodes.iter().map(|node| node.op_type.clone()).collect::<Vec<_>>();
        assert!(
            ops(&build_model("m.onnx".as_ref(), &model.proto, &crate::graph::testing::decode).unwrap())
                .contains(&"If".into())
        );
        for (rate, op) in [(16000.0, "MatMul"), (8000.0, "Identity")] {
            let graph = build(&given(&[], &[("rate", rate)])).unwrap();
            assert!(ops(&graph).contains(&op.into()) && graph.inputs.len() == 1, "{:?}", ops(&graph));
        }
        for wrong in [given(&[], &[("rat", 1.0)]), given(&[], &[("x", 1.0)]), given(&[("y", 1)], &[])] {
            assert_eq!(build(&wrong).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn dimensions_are_given_by_name_or_by_place() {
        let model = branched();
        let graph =
            build_model_given("m.onnx".as_ref(), &model.proto, &given(&[("batch", 3), ("x.1", 4)], &[])).unwrap();
        assert_eq!(graph.declared_dims(graph.id("x")), Some(&[Dim::Fixed(3), Dim::Fixed(4)][..]));
        assert_eq!(graph.declared_dims(graph.id("y")).unwrap()[0], Dim::Fixed(3));
    }
}
