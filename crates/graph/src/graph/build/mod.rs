//! From an ONNX file to a [`Graph`]. The only place under `graph` that meets protobuf messages.

mod convert;
mod function;
pub mod linear;
mod scope;
pub mod supply;

use super::{
    Attr, Graph, Initializer, Node, ValueId, expected, fold,
    given::{self, Given},
    loss, order, unfilled, unroll,
};
use crate::{
    error::{Error, Result},
    limits::Budget,
    onnx::{
        OnnxFile, attributes,
        proto::{FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto},
    },
    tensor::{Held, HostTensor},
};
use scope::Scope;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    sync::Arc,
};

/// Newest version of the default operator set that this program knows.
pub const NEWEST_OPSET: i64 = 28;

/// Functions and bodies may be nested this deep.
const MAX_DEPTH: usize = 32;

/// Bytes of an input or output of a node, beside its name.
const LINK: usize = 2 * size_of::<Option<ValueId>>();

/// What errors call this pass.
const PASS: &str = "reading the graph and inlining functions";

/// The model of `file` as a graph: functions inlined, control flow that is decided written out, nodes in order of
/// execution, each with the version of its operator set, `Constant` nodes among the initializers.
///
/// # Errors
/// [`Error::Malformed`] and [`Error::Node`] name the place: undefined or doubly defined values, cycles, unknown or too
/// new operator sets, recursive functions, tensors that cannot be decoded.
pub fn build(file: &OnnxFile) -> Result<Graph> {
    build_given(file, &Given::default())
}

/// [`build`], with extents and inputs that the user gives.
///
/// # Errors
/// As [`build`]; [`Error::Usage`] if what is given does not fit.
pub fn build_given(file: &OnnxFile, given: &Given) -> Result<Graph> {
    let budget = Arc::new(Budget::new(file.size()));
    let mut graph = read_model(file.path(), file.proto(), &|tensor| file.held(tensor), (budget, given))?;
    let parameters = file.checkpoint().into_iter().flat_map(|checkpoint| checkpoint.parameters());
    graph.checkpoint = parameters.map(|(name, parameter)| (name.clone(), parameter.trained)).collect();
    Ok(graph)
}

/// [`build`], with the decoding of stored tensors given as a function.
///
/// # Errors
/// Those of [`build`], and of `decode`.
#[doc(hidden)]
pub fn build_model(path: &Path, model: &ModelProto, decode: &dyn Fn(&TensorProto) -> Result<Held>) -> Result<Graph> {
    read_model(path, model, decode, (Arc::default(), &Given::default()))
}

/// [`build_given`] of a model that tests have written.
#[cfg(test)]
pub(crate) fn build_model_given(path: &Path, model: &ModelProto, given: &Given) -> Result<Graph> {
    read_model(path, model, &super::testing::decode, (Arc::default(), given))
}

fn read_model(
    path: &Path,
    model: &ModelProto,
    decode: &dyn Fn(&TensorProto) -> Result<Held>,
    (budget, given): (Arc<Budget>, &Given),
) -> Result<Graph> {
    let malformed = |place: &str, problem: String| Error::Malformed { path: path.into(), place: place.into(), problem };
    let ir_version = model
        .ir_version
        .ok_or_else(|| malformed("model", "there is no ir_version; this is not an ONNX model".into()))?;
    let proto = model.graph.as_ref().ok_or_else(|| malformed("model", "there is no graph".into()))?;
    let opsets = Arc::new(operator_sets(path, &model.opset_import, ir_version)?);
    let mut functions = HashMap::new();
    for function in &model.functions {
        let key = (domain(function.domain()), function.name(), function.overload());
        if functions.insert(key, function).is_some() {
            let place = format!("function `{}::{}`", function.domain(), function.name());
            return Err(malformed(&place, "it is defined twice".into()));
        }
    }
    let made = supply::wanted(proto, given);
    let makers = supply::nodes(proto, &made.keys().map(String::as_str).collect());
    let mut builder = Builder {
        path,
        decode,
        functions,
        budget: Arc::clone(&budget),
        decoded: HashMap::new(),
        clashes: HashMap::new(),
        imported: HashMap::new(),
    };
    let mut graph = Graph { opsets: Arc::clone(&opsets), ir_version, budget, ..Graph::default() };
    graph.producer = [model.producer_name(), model.producer_version()].join(" ").trim().to_string();
    graph.metadata =
        model.metadata_props.iter().map(|entry| (entry.key().to_string(), entry.value().to_string())).collect();
    graph.trained_names = trained_names(model);
    let mut scope = Scope::main(&opsets);
    builder.graph(&mut graph, proto, &mut scope)?;
    builder.supply(&mut graph, (&made, &makers), &mut scope)?;
    given::apply(&mut graph, given, &made)?;
    fold::require_small(&graph)?;
    unroll::control_flow(&mut graph)?;
    fold::require_small(&graph)?;
    expected::at_expectation(&mut graph);
    unfilled::leave_out(&mut graph);
    loss::complements_last(&mut graph);
    Ok(graph)
}

/// The default domain has two spellings.
fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

fn operator_sets(path: &Path, imports: &[OperatorSetIdProto], ir_version: i64) -> Result<BTreeMap<String, i64>> {
    let malformed = |problem: String| Error::Malformed { path: path.into(), place: "opset_import".into(), problem };
    let mut opsets = BTreeMap::new();
    for import in imports {
        let name = domain(import.domain());
        let version = import.version.ok_or_else(|| malformed(format!("domain `{name}` has no version")))?;
        if version < 1 {
            return Err(malformed(format!("domain `{name}` has version {version}; versions start at 1")));
        }
        if name.is_empty() && version > NEWEST_OPSET {
            return Err(malformed(format!(
                "the model uses opset {version}, but the newest that this program knows is {NEWEST_OPSET}; export it \
                 with opset_version={NEWEST_OPSET} or lower, or convert it with onnx.version_converter"
            )));
        }
        if opsets.insert(name.to_string(), version).is_some_and(|other| other != version) {
            return Err(malformed(format!("domain `{name}` is imported in two versions")));
        }
    }
    if ir_version < 3 {
        opsets.entry(String::new()).or_insert(1);
    }
    Ok(opsets)
}

/// What `training_info` updates by a gradient; without a `Gradient` node, all that it updates.
fn trained_names(model: &ModelProto) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for info in &model.training_info {
        let nodes = info.algorithm.iter().flat_map(|graph| &graph.node);
        let differentiated: BTreeSet<&str> = nodes
            .filter(|node| node.op_type() == "Gradient")
            .flat_map(|node| node.attribute.iter().filter(|attr| attr.name() == "xs"))
            .flat_map(|attr| attr.strings.iter().filter_map(|name| std::str::from_utf8(name).ok()))
            .collect();
        let updated = info.update_binding.iter().map(|entry| entry.key());
        names.extend(
            updated.filter(|name| differentiated.is_empty() || differentiated.contains(name)).map(str::to_string),
        );
    }
    names
}

struct Builder<'a> {
    path: &'a Path,
    decode: &'a dyn Fn(&TensorProto) -> Result<Held>,
    functions: HashMap<(&'a str, &'a str, &'a str), &'a FunctionProto>,
    budget: Arc<Budget>,
    /// Tensors decoded so far, by the message's address: a function that is called often holds its tensors once.
    decoded: HashMap<*const TensorProto, Held>,
    /// How many values have wanted a name that was taken.
    clashes: HashMap<String, usize>,
    /// Operator sets of functions, by the function and the caller's sets.
    imported: HashMap<(*const FunctionProto, *const OperatorSets), (Arc<OperatorSets>, Arc<OperatorSets>)>,
}

/// Domain to version.
type OperatorSets = BTreeMap<String, i64>;

impl<'a> Builder<'a> {
    fn malformed(&self, place: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::Malformed { path: self.path.into(), place: place.into(), problem: problem.into() }
    }

    /// Names the node in what is said of a tensor that it holds.
    fn within(&self, error: Error, node: &str) -> Error {
        match error {
            Error::Malformed { path, place, problem } => {
                Error::Malformed { path, place: format!("{node}: {place}"), problem }
            }
            other => other,
        }
    }

    /// Decodes a tensor, once.
    fn tensor(&mut self, tensor: &'a TensorProto) -> Result<Held> {
        if let Some(decoded) = self.decoded.get(&std::ptr::from_ref(tensor)) {
            return Ok(decoded.clone());
        }
        let decoded = (self.decode)(tensor)?;
        // No single tensor is larger than what it is read from, but many may be read from the same bytes.
        self.budget.hold(decoded.bytes(), "decoding tensors", tensor.name())?;
        self.decoded.insert(std::ptr::from_ref(tensor), decoded.clone());
        Ok(decoded)
    }

    /// Fills `graph` from `proto`, which is the main graph or a body; names are resolved in `scope`.
    fn graph(&mut self, graph: &mut Graph, proto: &'a GraphProto, scope: &mut Scope<'a>) -> Result<()> {
        for tensor in &proto.initializer {
            let value = self.declare(graph, scope, tensor.name(), "initializer")?;
            self.describe(graph, scope, (value, tensor.name()), None, &tensor.metadata_props)?;
            self.store(graph, value, tensor, scope.stored_name(tensor.name()))?;
        }
        for sparse in &proto.sparse_initializer {
            let name = sparse.values.as_ref().map_or("", |values| values.name());
            let value = self.declare(graph, scope, name, "sparse initializer")?;
            let tensor = self.dense(sparse, &format!("sparse initializer `{name}`"))?;
            graph.initializers.insert(value, Initializer { tensor: tensor.into(), stored_as: None });
            graph.sparse.insert(value);
        }
        let mut seen = BTreeSet::new();
        for input in &proto.input {
            if !seen.insert(input.name()) {
                return Err(self.malformed(format!("input `{}`", input.name()), "it is listed twice"));
            }
            let stored = scope.local(input.name()).flatten();
            let value = match stored {
                Some(value) => value,
                None => self.declare(graph, scope, input.name(), "input")?,
            };
            self.describe(graph, scope, (value, input.name()), input.r#type.as_ref(), &input.metadata_props)?;
            if stored.is_none() {
                graph.inputs.push(value);
            }
        }
        self.body(graph, &proto.node, scope)?;
        for output in &proto.output {
            let place = format!("output `{}`", output.name());
            let value = self.resolve(graph, scope, output.name(), &place)?;
            self.describe(graph, scope, (value, output.name()), output.r#type.as_ref(), &output.metadata_props)?;
            graph.outputs.push(value);
        }
        for info in &proto.value_info {
            if let Some(Some(value)) = scope.local(info.name()) {
                self.describe(graph, scope, (value, info.name()), info.r#type.as_ref(), &info.metadata_props)?;
            }
        }
        order::sort(graph).map_err(|problem| self.malformed(format!("graph `{}`", proto.name()), problem))
    }

    /// Decodes a stored tensor as what `value` is.
    fn store(
        &mut self,
        graph: &mut Graph,
        value: ValueId,
        tensor: &'a TensorProto,
        stored_as: Option<String>,
    ) -> Result<()> {
        if let Some(kind) = convert::foreign_type(tensor) {
            graph.opaque.insert(value, kind);
            let bytes = tensor.string_data.iter().map(|text| size_of::<String>() + text.len()).sum();
            self.budget.hold(bytes, PASS, tensor.name())?;
            let texts = tensor.string_data.iter().map(|text| String::from_utf8(text.clone()).ok());
            if let Some(texts) = texts.collect::<Option<Vec<String>>>().filter(|texts| !texts.is_empty()) {
                graph.texts.insert(value, texts);
            }
            return Ok(());
        }
        let tensor = self.tensor(tensor)?;
        graph.initializers.insert(value, Initializer { tensor, stored_as });
        Ok(())
    }

    /// Adds `nodes` to `graph`: first all values they define, then the nodes, since they may come in any order.
    fn body(&mut self, graph: &mut Graph, nodes: &'a [NodeProto], scope: &mut Scope<'a>) -> Result<()> {
        for node in nodes {
            for output in node.output.iter().filter(|name| !name.is_empty()) {
                self.declare(graph, scope, output, &format!("output of node {}", scope::label(node)))?;
            }
        }
        for node in nodes {
            self.node(graph, node, scope)?;
        }
        Ok(())
    }

    fn node(&mut self, graph: &mut Graph, proto: &'a NodeProto, scope: &mut Scope<'a>) -> Result<()> {
        let names = scope.prefix_len() + proto.name().len() + proto.op_type().len() + proto.domain().len();
        let links = proto.input.iter().chain(&proto.output).map(|name| LINK + name.len() / 8).sum::<usize>();
        let label = scope::label(proto);
        self.budget.make(1, PASS, &label)?;
        self.spend(scope.depth, size_of::<Node>() + names + links, &label)?;
        let (name, domain) = (scope.node_name(proto), domain(proto.domain()));
        let place = format!("node {name} ({})", proto.op_type());
        if proto.op_type().is_empty() {
            return Err(self.malformed(place, "it has no operator"));
        }
        if domain.is_empty() && proto.op_type() == "Constant" {
            return self.constant(graph, proto, scope, &place);
        }
        scope.output = proto.output.iter().map(String::as_str).find(|name| !name.is_empty()).unwrap_or_default();
        let mut attrs = BTreeMap::new();
        for attribute in &proto.attribute {
            if let Some(value) = self.attribute(graph, attribute, scope, &place)?
                && attrs.insert(attribute.name().to_string(), value).is_some()
            {
                return Err(self.malformed(place, format!("attribute `{}` is given twice", attribute.name())));
            }
        }
        let mut inputs = Vec::with_capacity(proto.input.len());
        for input in &proto.input {
            inputs.push(if input.is_empty() { None } else { self.resolve_optional(graph, scope, input, &place)? });
        }
        let outputs: Vec<Option<ValueId>> =
            proto.output.iter().map(|output| scope.local(output.as_str()).flatten()).collect();
        if let Some(function) = self.functions.get(&(domain, proto.op_type(), proto.overload())).copied() {
            return self.call(graph, function, scope, function::Call { name, inputs, outputs, attrs });
        }
        let Some(&opset) = scope.opsets.get(domain) else {
            let shown = if domain.is_empty() { "ai.onnx" } else { domain };
            return Err(self.malformed(place, format!("its operator set `{shown}` is not in opset_import")));
        };
        while inputs.last() == Some(&None) {
            inputs.pop();
        }
        let (domain, op_type) = (domain.to_string(), proto.op_type().to_string());
        let node = Node { name, domain, op_type, opset, inputs, outputs, attrs };
        if attributes::is_linear(&node.domain, &node.op_type) {
            return self.linear(graph, scope, node, &scope::label(proto));
        }
        graph.nodes.push(node);
        Ok(())
    }

    /// A `Constant` node: its output joins the initializers.
    fn constant(&mut self, graph: &mut Graph, proto: &'a NodeProto, scope: &mut Scope<'a>, place: &str) -> Result<()> {
        let [attribute] = proto.attribute.as_slice() else {
            return Err(self.malformed(place, "a Constant has exactly one attribute"));
        };
        let Some(output) = proto.output.first().filter(|name| !name.is_empty()) else {
            return Err(self.malformed(place, "it has no output"));
        };
        let value = scope.local(output.as_str()).flatten();
        let value = value.ok_or_else(|| Error::Internal(format!("{place}: output was not declared")))?;
        graph.constant_nodes.insert(value);
        self.describe(graph, scope, (value, place), None, &proto.metadata_props)?;
        let mine = attribute.ref_attr_name().is_empty();
        if let (Some(tensor), "value", true) = (&attribute.t, attribute.name(), mine) {
            return self.store(graph, value, tensor, scope.stored_name(output)).map_err(|e| self.within(e, place));
        }
        let held = match &attribute.sparse_tensor {
            Some(sparse) if mine && attribute.name() == "sparse_value" => {
                Some(Attr::Tensor(Arc::new(self.dense(sparse, place)?)))
            }
            _ => self.attribute(graph, attribute, scope, place)?,
        };
        let tensor = match (attribute.name(), held) {
            ("value" | "sparse_value", Some(Attr::Tensor(tensor))) => {
                graph.initializers.insert(value, Initializer { tensor: tensor.into(), stored_as: None });
                return Ok(());
            }
            ("value_int", Some(Attr::Int(i))) => HostTensor::scalar(i),
            ("value_float", Some(Attr::Float(f))) => HostTensor::scalar(f),
            ("value_ints", Some(Attr::Ints(i))) => HostTensor::vector(i),
            ("value_floats", Some(Attr::Floats(f))) => HostTensor::vector(f),
            (_, Some(attr @ (Attr::String(_) | Attr::Strings(_) | Attr::Other(_)))) => {
                graph.opaque.insert(value, attr.kind().to_string());
                return Ok(());
            }
            (_, None) => return Err(self.malformed(place, "the function's caller does not give its value")),
            (name, Some(attr)) => {
                return Err(
                    self.malformed(place, format!("a Constant has no attribute `{name}` that is {}", attr.kind()))
                );
            }
        };
        // What is not the caller's can be written back, if it is floats.
        let own = mine && tensor.dtype() == crate::tensor::DType::F32;
        let stored_as = scope.stored_name(output).filter(|_| own);
        graph.initializers.insert(value, Initializer { tensor: tensor.into(), stored_as });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
