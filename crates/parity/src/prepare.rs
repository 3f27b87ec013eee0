//! The file that runtimes are given: the model itself where that serves, else a temporary copy in which dropout and
//! batch normalization are set to inference (a runtime would draw masks and use batch statistics) and the scores are
//! an output. A model whose parameters are in a checkpoint is given with these inside. Write-back never sees the copy.

use super::{guard::private_folder, linear, ort};
use crate::{
    error::{Error, Result},
    graph::{Graph, ValueId, build::supply, loss::LossPlan},
    onnx::{
        OnnxFile, drop_unused_nodes,
        proto::{AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, attribute_proto::AttributeType},
    },
    scratch::Scratch,
    tensor::{DType, HostTensor},
    writeback::free_name,
};
use half::{bf16, f16};
use prost::Message;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// A model as runtimes are given it.
#[derive(Debug)]
pub struct Prepared {
    /// The file to load.
    pub path: PathBuf,
    /// Names of its graph's outputs, in order.
    pub outputs: Vec<String>,
    /// The output that holds the scores; `None` if they lie inside a function or a linear model, where no output reaches.
    pub scores: Option<String>,
    /// Outputs that the model itself does not have: what the loss is computed from.
    pub hidden: BTreeSet<String>,
    /// Whether it is a copy without what is not compared, so that the file itself may be one that runtimes refuse.
    pub leaves_out: bool,
    /// If it is a copy, where.
    copy: Option<Copied>,
}

/// A temporary copy of a model, removed when this is dropped. External data stay where they are, if onnxruntime can be told
/// where that is.
#[derive(Debug)]
pub struct Copied {
    /// The model file.
    pub path: PathBuf,
    /// The folder of its external data, if it has any.
    pub data: Option<PathBuf>,
    /// External files that it refers to.
    locations: BTreeSet<String>,
    folder: Scratch,
}

impl Prepared {
    /// Prepares `file`, of which `plan` is the loss, without outputs that are not among `computed`.
    ///
    /// # Errors
    /// If the temporary copy cannot be written.
    pub fn new(file: &OnnxFile, graph: &Graph, plan: &LossPlan, computed: &[String]) -> Result<Self> {
        Self::of(file, file.proto().clone(), (graph, plan), computed, false)
    }

    /// The same, with linear models whose scores have no name in the file apart from what follows them.
    ///
    /// # Errors
    /// If the temporary copy cannot be written.
    pub fn taken_apart(file: &OnnxFile, graph: &Graph, plan: &LossPlan, computed: &[String]) -> Result<Self> {
        let mut proto = file.proto().clone();
        let changed = linear::take_apart(&mut proto, graph);
        Self::of(file, proto, (graph, plan), computed, changed)
    }

    fn of(
        file: &OnnxFile,
        mut proto: ModelProto,
        (graph, plan): (&Graph, &LossPlan),
        computed: &[String],
        mut changed: bool,
    ) -> Result<Self> {
        changed |= set_to_inference(&mut proto);
        changed |= drop_dead_outputs(&mut proto);
        changed |= file.checkpoint().is_some();
        let mut dropped = drop_uncomputed_outputs(&mut proto, computed);
        dropped |= supply(&mut proto, graph);
        dropped |= hold_fixed(&mut proto, graph);
        dropped |= drop_unfed_inputs(&mut proto, graph);
        let mut outputs = output_names(&proto);
        let shown: Vec<ValueId> = match &plan.loss_graph {
            Some(own) => own.taken.iter().copied().filter(|value| !graph.inputs.contains(value)).collect(),
            None => vec![plan.scores],
        };
        let mut hidden: BTreeSet<String> = shown.iter().map(|&value| graph.name(value).to_string()).collect();
        hidden.retain(|name| !outputs.contains(name));
        let reached = produced(&proto).is_superset(&hidden);
        if !hidden.is_empty() && reached {
            if let Some(graph) = &mut proto.graph {
                let value = |name: &String| ValueInfoProto { name: Some(name.clone()), ..Default::default() };
                graph.output.extend(hidden.iter().map(value));
            }
            outputs.extend(hidden.iter().cloned());
            changed = true;
        }
        let found = reached.then(|| graph.name(plan.scores).to_string());
        if dropped {
            drop_unused_nodes(&mut proto);
        }
        let copy = if changed || dropped { Some(write(file, &proto)?) } else { None };
        let path = copy.as_ref().map_or(file.path(), |copy| &copy.path).to_path_buf();
        Ok(Self { path, outputs, scores: found, hidden, leaves_out: dropped, copy })
    }
}

impl Prepared {
    /// The file, and the folder of its external data if that is another one.
    pub fn source(&self) -> (&Path, Option<&Path>) {
        (&self.path, self.copy.as_ref().and_then(|copy| copy.data.as_deref()))
    }

    /// The file as this program opens it, if it is not `file` itself.
    ///
    /// # Errors
    /// Those of opening it.
    pub fn open(&self, file: &OnnxFile) -> Result<Option<OnnxFile>> {
        let open = |copy: &Copied| {
            let opened = OnnxFile::open(&copy.path, file.options())?;
            Ok(opened.with_data_of(file))
        };
        self.copy.as_ref().map(open).transpose()
    }

    /// The file with its external data beside it, written now if they are not, for a runtime that looks for them there.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn with_data_beside(&self, file: &OnnxFile) -> Result<&Path> {
        self.copy.iter().try_for_each(|copy| copy.put_data_beside(file))?;
        Ok(&self.path)
    }
}

impl Copied {
    /// Writes the external data beside the copy, unless they are there.
    fn put_data_beside(&self, file: &OnnxFile) -> Result<()> {
        for location in &self.locations {
            let path = self.folder.path().join(location);
            // Opened by the rules for untrusted files: the location stays below both folders.
            let bytes = file.external(location).map_err(|why| file.malformed("external data", why))?;
            if !path.exists() {
                path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(|e| no_room(&path, &e))?;
                std::fs::write(&path, bytes.bytes()).map_err(|e| no_room(&path, &e))?;
            }
        }
        Ok(())
    }
}

/// A model in inference, of which any values of the main graph can be made the outputs.
pub struct Opened<'a> {
    file: &'a OnnxFile,
    proto: ModelProto,
    /// Names of the values that the nodes of the main graph make.
    pub visible: BTreeSet<String>,
}

impl<'a> Opened<'a> {
    /// Opens up `file`, of which the inputs of `graph` are fed.
    pub fn new(file: &'a OnnxFile, graph: &Graph) -> Self {
        let mut proto = file.proto().clone();
        set_to_inference(&mut proto);
        supply(&mut proto, graph);
        hold_fixed(&mut proto, graph);
        drop_unfed_inputs(&mut proto, graph);
        let nodes = proto.graph.iter().flat_map(|g| &g.node);
        let visible = nodes.flat_map(|n| n.output.iter().cloned()).filter(|name| !name.is_empty()).collect();
        Self { file, proto, visible }
    }

    /// A temporary copy that computes `shown` and nothing else; it goes with what is handed back.
    ///
    /// # Errors
    /// If the copy cannot be written.
    pub fn showing(&self, shown: &BTreeSet<String>) -> Result<Copied> {
        let mut proto = self.proto.clone();
        if let Some(graph) = &mut proto.graph {
            let value = |name: &String| ValueInfoProto { name: Some(name.clone()), ..Default::default() };
            graph.output = shown.iter().map(value).collect();
        }
        drop_unused_nodes(&mut proto);
        write(self.file, &proto)
    }
}

fn output_names(proto: &ModelProto) -> Vec<String> {
    proto.graph.iter().flat_map(|g| &g.output).map(|o| o.name().to_string()).collect()
}

/// Names of all values of the main graph.
fn produced(proto: &ModelProto) -> BTreeSet<String> {
    let Some(graph) = &proto.graph else { return BTreeSet::new() };
    let nodes = graph.node.iter().flat_map(|n| n.output.iter().cloned());
    let inputs = graph.input.iter().map(|i| i.name().to_string());
    let initializers = graph.initializer.iter().map(|t| t.name().to_string());
    let sparse = graph.sparse_initializer.iter().filter_map(|s| Some(s.values.as_ref()?.name().to_string()));
    nodes.chain(inputs).chain(initializers).chain(sparse).filter(|name| !name.is_empty()).collect()
}

/// Removes outputs that came from a batch normalization in training mode, and so have no source any more.
fn drop_dead_outputs(proto: &mut ModelProto) -> bool {
    let produced = produced(proto);
    let Some(graph) = &mut proto.graph else { return false };
    let before = graph.output.len();
    graph.output.retain(|o| produced.contains(o.name()));
    graph.output.len() != before
}

/// Removes the outputs that there is nothing to compare with.
fn drop_uncomputed_outputs(proto: &mut ModelProto, computed: &[String]) -> bool {
    let Some(graph) = &mut proto.graph else { return false };
    let before = graph.output.len();
    graph.output.retain(|o| computed.iter().any(|name| name == o.name()));
    graph.output.len() != before
}

/// Puts the nodes in front that make inputs from others, as the graph has them.
fn supply(proto: &mut ModelProto, graph: &Graph) -> bool {
    let Some(proto) = &mut proto.graph else { return false };
    let made = graph.supplied.iter().filter(|(_, supply)| !supply.is_fixed());
    let nodes = supply::nodes(proto, &made.map(|(&value, _)| graph.name(value)).collect());
    let held = !nodes.is_empty();
    proto.node.splice(0..0, nodes);
    held
}

/// Stores the values that the graph holds though the file does not: inputs that the user fixed, random numbers at their
/// expectation.
fn hold_fixed(proto: &mut ModelProto, graph: &Graph) -> bool {
    let Some(proto) = &mut proto.graph else { return false };
    let fixed = graph.fixed.iter().filter_map(|value| Some((graph.name(*value), graph.initializers.get(value)?)));
    // Constants of a loss graph are not the file's.
    let of_nodes = proto.node.iter().flat_map(|node| node.input.iter().chain(&node.output).cloned());
    let named: BTreeSet<String> = of_nodes.chain(proto.input.iter().map(|input| input.name().to_string())).collect();
    let mut held = false;
    for (name, stored) in fixed.filter(|(name, _)| named.contains(*name)) {
        proto.input.retain(|input| input.name() != name);
        for output in proto.node.iter_mut().flat_map(|node| &mut node.output).filter(|output| *output == name) {
            output.push_str("/replaced");
        }
        let dims = stored.tensor.dims().iter().map(|&n| n as i64).collect();
        proto.initializer.push(TensorProto { name: Some(name.to_string()), dims, ..elements(&stored.tensor.get()) });
        held = true;
    }
    held
}

/// The elements of a tensor in the format's fields.
fn elements(tensor: &HostTensor) -> TensorProto {
    let mut proto = TensorProto { data_type: Some(tensor.dtype() as i32), ..Default::default() };
    let floats = tensor.to_f64();
    let integers = tensor.to_i64().unwrap_or_default();
    match tensor.dtype() {
        DType::F32 => proto.float_data = tensor.to_f32(),
        DType::F64 => proto.double_data = floats,
        DType::F16 => proto.int32_data = floats.iter().map(|&x| f16::from_f64(x).to_bits().into()).collect(),
        DType::BF16 => proto.int32_data = floats.iter().map(|&x| bf16::from_f64(x).to_bits().into()).collect(),
        DType::I64 => proto.int64_data = integers,
        DType::U32 | DType::U64 => proto.uint64_data = integers.iter().map(|&x| x as u64).collect(),
        _ => proto.int32_data = integers.iter().map(|&x| x as i32).collect(),
    }
    proto
}

/// Removes the inputs that are not fed, since nothing that is compared needs them.
fn drop_unfed_inputs(proto: &mut ModelProto, graph: &Graph) -> bool {
    let fed: BTreeSet<&str> = graph.inputs.iter().map(|&input| graph.name(input)).collect();
    let Some(proto) = &mut proto.graph else { return false };
    let stored: BTreeSet<String> = proto.initializer.iter().map(|t| t.name().to_string()).collect();
    let before = proto.input.len();
    proto.input.retain(|input| fed.contains(input.name()) || stored.contains(input.name()));
    proto.input.len() != before
}

/// Sets every Dropout and BatchNormalization of the main graph and of local functions to inference; returns whether
/// one was not.
fn set_to_inference(proto: &mut ModelProto) -> bool {
    let version = |imports: &[crate::onnx::proto::OperatorSetIdProto]| {
        imports.iter().find(|o| matches!(o.domain(), "" | "ai.onnx")).map_or(1, |o| o.version())
    };
    let main = version(&proto.opset_import);
    let mut changed = false;
    for node in proto.graph.iter_mut().flat_map(|g| &mut g.node) {
        changed |= inference(node, main);
    }
    for function in &mut proto.functions {
        let version = version(&function.opset_import);
        for node in &mut function.node {
            changed |= inference(node, version);
        }
    }
    changed
}

fn inference(node: &mut NodeProto, opset: i64) -> bool {
    if !matches!(node.domain(), "" | "ai.onnx") {
        return false;
    }
    match node.op_type() {
        "Dropout" if opset >= 12 => {
            let trains = node.input.get(2).is_some_and(|name| !name.is_empty());
            node.input.truncate(2);
            trains
        }
        "Dropout" if opset < 7 => set_flag(node, "is_test", 1, 0),
        "BatchNormalization" => {
            let many = node.output.len() > 1;
            node.output.truncate(1);
            let flag = match opset {
                14.. => set_flag(node, "training_mode", 0, 0),
                7..14 => false,
                _ => set_flag(node, "is_test", 1, 0),
            };
            many || flag
        }
        _ => false,
    }
}

/// Sets an integer attribute; returns whether it was another value, of which `default` is the one left out.
fn set_flag(node: &mut NodeProto, name: &str, value: i64, default: i64) -> bool {
    let now = node.attribute.iter().find(|a| a.name() == name).map_or(default, |a| a.i());
    if now == value {
        return false;
    }
    node.attribute.retain(|a| a.name() != name);
    node.attribute.push(AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Int as i32),
        i: Some(value),
        ..Default::default()
    });
    true
}

fn no_room(path: &Path, e: &std::io::Error) -> Error {
    let problem = format!("{e}; set TMPDIR to a folder with room for a copy of the model");
    Error::Write { path: path.to_path_buf(), problem }
}

fn write(file: &OnnxFile, proto: &ModelProto) -> Result<Copied> {
    let folder = private_folder()?;
    let locations = locations(proto);
    for location in &locations {
        // By the rules for untrusted files: the runtime opens it by the folder and this location.
        file.external(location).map_err(|why| file.malformed("external data", why))?;
    }
    let path = folder.path().join(free_name(locations.iter().map(String::as_str)));
    std::fs::write(&path, proto.encode_to_vec()).map_err(|e| no_room(&path, &e))?;
    let mut copy = Copied { path, data: None, locations, folder };
    match ort::named(file.folder()) {
        _ if copy.locations.is_empty() => {}
        Some(_) => copy.data = Some(file.folder().to_path_buf()),
        None => copy.put_data_beside(file)?,
    }
    Ok(copy)
}

/// Every external file that the model refers to.
fn locations(proto: &ModelProto) -> BTreeSet<String> {
    fn of_tensor(tensor: &TensorProto, all: &mut BTreeSet<String>) {
        all.extend(tensor.external_data.iter().filter(|e| e.key() == "location").map(|e| e.value().to_string()));
    }
    fn of_nodes(nodes: &[NodeProto], all: &mut BTreeSet<String>) {
        for attribute in nodes.iter().flat_map(|n| &n.attribute) {
            attribute.t.iter().map(|t| &**t).chain(&attribute.tensors).for_each(|t| of_tensor(t, all));
            for graph in attribute.g.iter().map(|g| &**g).chain(&attribute.graphs) {
                graph.initializer.iter().for_each(|t| of_tensor(t, all));
                of_nodes(&graph.node, all);
            }
        }
    }
    let mut all = BTreeSet::new();
    if let Some(graph) = &proto.graph {
        graph.initializer.iter().for_each(|t| of_tensor(t, &mut all));
        let sparse = graph.sparse_initializer.iter().flat_map(|s| s.values.iter().chain(&s.indices));
        sparse.for_each(|t| of_tensor(t, &mut all));
        of_nodes(&graph.node, &mut all);
    }
    proto.functions.iter().for_each(|f| of_nodes(&f.node, &mut all));
    all
}
