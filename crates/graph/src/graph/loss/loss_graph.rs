//! A loss that is an ONNX graph of its own, put behind the model's graph.
//!
//! An input of the loss graph that has the name of a value of the model is that value; every other one is a label, which the rows feed
//! like an input of the model. Its first output is the loss of each row; further ones are figures of each row.
//!
//! If its inputs have one axis more than the values of the model, the second one, a row is a group of that many items (an anchor, a
//! positive, negatives): the model runs on each item (`group`).

use super::{LossKind, LossPlan, group, listed};
use crate::{
    error::{Error, Result},
    graph::{Attr, Dim, Graph, Initializer, Node, ValueId, ValueInfo, build},
    onnx::{
        OnnxFile, ReadOptions,
        proto::{ModelProto, type_proto},
    },
    scratch::Scratch,
    tensor::DType,
};
use prost::Message;
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// What the values of a loss graph are prefixed by beside those of the model.
const PREFIX: &str = "loss/";

/// A loss graph, and where it stands in the model's graph.
#[derive(Clone, Debug)]
pub struct LossGraph {
    /// Its file, which runtimes run behind the model.
    pub file: Arc<OnnxFile>,
    /// The values of the model that it takes, each by the name that both have.
    pub taken: Vec<ValueId>,
    /// Its other inputs: inputs of the graph now, which rows feed.
    pub labels: Vec<ValueId>,
    /// Items of a row that the model runs on one by one, if a row is a group.
    pub group: Option<usize>,
    /// Its outputs after the loss, by their names in its file: figures of each row.
    pub figures: Vec<(String, ValueId)>,
    /// The name of the loss in its file.
    pub loss: String,
    /// The folder of the file, if it was made for this run.
    pub folder: Option<Arc<Scratch>>,
}

impl LossGraph {
    /// The element type that its input `name` is declared to have.
    pub fn declared(&self, name: &str) -> Option<DType> {
        let inputs = self.file.proto().graph.iter().flat_map(|graph| &graph.input);
        let ty = inputs.filter(|input| input.name() == name).find_map(|input| input.r#type.as_ref()?.value.as_ref());
        match ty {
            Some(type_proto::Value::TensorType(tensor)) => DType::from_onnx(tensor.elem_type()),
            _ => None,
        }
    }

    /// The names of its outputs.
    pub fn outputs(&self) -> Vec<String> {
        std::iter::once(self.loss.clone()).chain(self.figure_names()).collect()
    }

    /// The names of the figures.
    pub fn figure_names(&self) -> Vec<String> {
        self.figures.iter().map(|(name, _)| name.clone()).collect()
    }
}

/// Puts the loss graph of `file` behind `graph`: its nodes follow the model's, its labels are further inputs.
///
/// # Errors
/// Those of reading a graph; [`Error::Usage`] naming file and input or output for a loss graph that takes no value of the model, has
/// labels of a type that rows do not have, or does not give one number a row.
pub fn attach(graph: &mut Graph, file: Arc<OnnxFile>) -> Result<LossPlan> {
    let own = build::build(&file)?;
    let refused = |problem: String| Error::Usage(format!("{}: {problem}", file.path().display()));
    let Some((&loss, figures)) = own.outputs.split_first() else {
        return Err(refused("the loss graph has no output; its first one is the loss of each row".into()));
    };
    require_one_a_row(&own, loss, "its first output").map_err(refused)?;
    figures.iter().try_for_each(|&figure| require_one_a_row(&own, figure, "its output")).map_err(refused)?;
    if let Some((&value, kind)) = own.opaque.first_key_value() {
        return Err(refused(format!("tensor `{}` is {kind}", own.name(value))));
    }
    let bodies = |node: &&Node| node.attrs.values().any(|attr| matches!(attr, Attr::Graph(_)));
    if let Some(node) = own.nodes.iter().find(bodies) {
        let what = "a loss graph holds no branches and loops that its inputs decide";
        return Err(refused(format!("node {} ({}): {what}", node.name, node.op_type)));
    }
    let mut moved: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    let (mut taken, mut labels, rows) = (Vec::new(), Vec::new(), graph.fixed_rows());
    let extents = known_extents(graph, &own);
    for &input in &own.inputs {
        let name = own.name(input);
        // A stored tensor is no answer to a row: what has its name is a label.
        let known = graph.by_name.get(name).filter(|value| !graph.initializers.contains_key(value));
        let value = match known {
            Some(&value) => {
                taken.push(value);
                value
            }
            None => {
                if own.declared_dtype(input).is_none() {
                    let problem = "is no value of the model, and of no type that a column of labels has";
                    return Err(refused(format!("input `{name}` {problem}")));
                }
                let label = add(graph, name.to_string(), &own, input);
                fix_extents(graph, label, rows, &extents);
                graph.inputs.push(label);
                labels.push(label);
                label
            }
        };
        moved.insert(input, value);
    }
    let group = group::of(graph, &own, &taken).map_err(refused)?;
    if taken.is_empty() {
        return Err(refused(format!(
            "none of its inputs ({}) is a value of the model, whose outputs are {}: give the inputs the names of the outputs that \
             the loss is made of",
            listed(&own, &own.inputs),
            listed(graph, &graph.outputs)
        )));
    }
    for at in (0..own.values.len()).map(ValueId) {
        moved.entry(at).or_insert_with(|| add(graph, format!("{PREFIX}{}", own.name(at)), &own, at));
    }
    if let Some(items) = group {
        group::split_inputs(graph, items, &labels);
        for &value in &taken {
            moved.insert(value_of(&own, graph.name(value)), group::joined(graph, value, items));
        }
    }
    let of = |value: &ValueId| moved.get(value).copied();
    for (value, held) in &own.initializers {
        let Some(value) = of(value) else { continue };
        graph.initializers.insert(value, Initializer { tensor: held.tensor.clone(), stored_as: None });
        graph.fixed.insert(value);
    }
    for node in &own.nodes {
        let links = |all: &[Option<ValueId>]| all.iter().map(|value| value.as_ref().and_then(of)).collect();
        let (inputs, outputs) = (links(&node.inputs), links(&node.outputs));
        graph.nodes.push(Node { name: format!("{PREFIX}{}", node.name), inputs, outputs, ..node.clone() });
    }
    let missing = || Error::Internal("a value of the loss graph was left out".into());
    let placed = |value: &ValueId| of(value).ok_or_else(missing);
    let named = |value: &ValueId| Ok((own.name(*value).to_string(), placed(value)?));
    let (names, from) = (|all: &[ValueId], graph: &Graph| listed(graph, all), file.path().display().to_string());
    let why = match labels.is_empty() {
        true => format!("loss graph {from} (sha256 {}) on {}", file.sha256(), names(&taken, graph)),
        false => {
            let (on, labels) = (names(&taken, graph), names(&labels, graph));
            format!("loss graph {from} (sha256 {}) on {on}; labels {labels}", file.sha256())
        }
    };
    let loss_graph = LossGraph {
        taken,
        labels,
        group,
        figures: figures.iter().map(named).collect::<Result<_>>()?,
        loss: own.name(loss).to_string(),
        folder: None,
        file,
    };
    Ok(LossPlan { loss_graph: Some(loss_graph), why, ..LossPlan::new(LossKind::LossGraph, placed(&loss)?) })
}

/// The same for a loss graph that was made for this run.
///
/// # Errors
/// As [`attach`]; [`Error::Write`] if there is no room for its file.
pub fn attach_made(graph: &mut Graph, made: &ModelProto) -> Result<LossPlan> {
    let no_room = |path: &Path, e: &std::io::Error| Error::Write { path: path.into(), problem: e.to_string() };
    let folder = Scratch::in_temp().map_err(|e| no_room(&std::env::temp_dir(), &e))?;
    let path = folder.path().join("loss.onnx");
    std::fs::write(&path, made.encode_to_vec()).map_err(|e| no_room(&path, &e))?;
    let mut plan = attach(graph, Arc::new(OnnxFile::open(&path, &ReadOptions::default())?))?;
    if let Some(own) = &mut plan.loss_graph {
        own.folder = Some(Arc::new(folder));
    }
    Ok(plan)
}

/// The value of `graph` that has this name.
fn value_of(graph: &Graph, name: &str) -> ValueId {
    graph.by_name.get(name).copied().unwrap_or(ValueId(usize::MAX))
}

/// A value like `of` in `own`, under another name.
fn add(graph: &mut Graph, name: String, own: &Graph, of: ValueId) -> ValueId {
    let value = ValueId(graph.values.len());
    graph.by_name.entry(name.clone()).or_insert(value);
    let ty = own.values.get(of.0).and_then(|info| info.ty.clone());
    graph.values.push(ValueInfo { name, ty, ..ValueInfo::default() });
    value
}

/// The extents behind the rows that the model tells for dimensions that the loss graph has names for.
fn known_extents(graph: &Graph, own: &Graph) -> BTreeMap<String, Dim> {
    let mut known = BTreeMap::new();
    for &input in &own.inputs {
        let value = graph.by_name.get(own.name(input));
        let (Some(given), Some(named)) =
            (value.and_then(|&value| graph.declared_dims(value)), own.declared_dims(input))
        else {
            continue;
        };
        // With an axis of items in between, the last ones still belong together.
        for (given, named) in given.iter().skip(1).rev().zip(named.iter().skip(1).rev()) {
            if let (Dim::Fixed(_), Dim::Symbol(name)) = (given, named) {
                known.insert(name.clone(), given.clone());
            }
        }
    }
    known
}

/// Gives a label the rows that the model takes at a time, if these are fixed, and the extents that the model tells.
fn fix_extents(graph: &mut Graph, label: ValueId, rows: Option<usize>, known: &BTreeMap<String, Dim>) {
    let dims = graph.values.get_mut(label.0).and_then(|info| info.ty.as_mut()?.dims.as_mut());
    for (axis, dim) in dims.into_iter().flatten().enumerate() {
        let told = match (axis, rows, &dim) {
            (_, _, Dim::Fixed(_)) => None,
            (0, rows, _) => rows.map(Dim::Fixed),
            (_, _, Dim::Symbol(name)) => known.get(name).cloned(),
            _ => None,
        };
        if let Some(told) = told {
            *dim = told;
        }
    }
}

/// Fails if the declared shape of `output` is not one number a row.
fn require_one_a_row(own: &Graph, output: ValueId, what: &str) -> Result<(), String> {
    let problem = match own.declared_dims(output) {
        None => None,
        Some([]) => Some("one number for the whole batch: leave out the mean over the rows (reduction \"none\")"),
        Some([_, rest @ ..]) if rest.iter().all(|dim| *dim == Dim::Fixed(1)) => None,
        Some(_) => Some("several numbers a row: take their mean or sum over all axes but the first"),
    };
    problem.map_or(Ok(()), |problem| Err(format!("{what} {} is {problem}", listed(own, &[output]))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::{Model, ints};

    fn file(model: &Model) -> Arc<OnnxFile> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loss.onnx");
        std::fs::write(&path, model.proto.encode_to_vec()).unwrap();
        Arc::new(OnnxFile::open(&path, &ReadOptions::default()).unwrap())
    }

    fn model() -> Graph {
        let net = Model::new(17, &["x:f32[n,4]"], &["y:f32[n,3]"]).weight("w", &[4, 3]);
        net.node("MatMul", "x w", "y", &[]).build().unwrap()
    }

    #[test]
    fn values_are_found_by_name_and_labels_become_inputs() {
        let loss = Model::new(18, &["y:f32[n,3]", "wanted:f32[n,3]"], &["loss:f32[n]", "first:f32[n]"])
            .node("Sub", "y wanted", "off", &[])
            .node("Mul", "off off", "squares", &[])
            .longs("axes", &[1])
            .node("ReduceSum", "squares axes", "loss", &[crate::graph::testing::int("keepdims", 0)])
            .node("ReduceMax", "squares axes", "first", &[crate::graph::testing::int("keepdims", 0)]);
        let mut graph = model();
        let plan = attach(&mut graph, file(&loss)).unwrap();
        let own = plan.loss_graph.as_ref().unwrap();
        assert_eq!(own.taken, [graph.id("y")]);
        assert_eq!(graph.inputs, [graph.id("x"), graph.id("wanted")]);
        assert_eq!(own.figure_names(), ["first"]);
        assert_eq!(graph.name(plan.scores), "loss/loss");
        assert!(graph.nodes.last().unwrap().opset == 18 && graph.nodes[0].opset == 17);
        let path = graph.ancestors(&[plan.scores]);
        assert_eq!(path.len(), 4, "the model's node and three of the loss's");
    }

    #[test]
    fn what_is_no_loss_of_rows_is_refused() {
        let refused = |loss: Model| attach(&mut model(), file(&loss)).unwrap_err().to_string();
        let mean = Model::new(17, &["y:f32[n,3]"], &["loss:f32[]"]).node("ReduceMean", "y", "loss", &[]);
        assert!(refused(mean).contains("whole batch"));
        let wide = Model::new(17, &["y:f32[n,3]"], &["loss:f32[n,3]"]).node("Abs", "y", "loss", &[]);
        assert!(refused(wide).contains("several numbers a row"));
        let other = Model::new(17, &["z:f32[n,3]"], &["loss:f32[n]"]);
        let other = other.node("ReduceMean", "z", "loss", &[ints("axes", &[1])]);
        assert!(refused(other).contains("`y`"), "the outputs that there are");
    }
}
