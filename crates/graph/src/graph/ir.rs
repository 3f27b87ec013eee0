//! The types of the graph.

use super::build::supply::Supply;
use crate::{
    limits::Budget,
    tensor::{DType, Held, HostTensor},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// A value (an edge) of a [`Graph`]: an index into [`Graph::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub usize);

/// One extent of a declared shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    /// A fixed extent.
    Fixed(usize),
    /// A named extent, such as `batch`.
    Symbol(String),
    /// An extent that the file does not tell.
    Unknown,
}

/// Declared element type and shape of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeInfo {
    /// Element type; `None` for types this program does not handle.
    pub dtype: Option<DType>,
    /// Declared shape; `None` where the file leaves the rank open.
    pub dims: Option<Vec<Dim>>,
}

/// What is known of a value.
#[derive(Clone, Debug, Default)]
pub struct ValueInfo {
    /// Name in the file; values that come from an inlined function are prefixed by the call's name.
    pub name: String,
    /// Declared type, if the file has one for this value.
    pub ty: Option<TypeInfo>,
    /// `ValueInfoProto.metadata_props`.
    pub metadata: BTreeMap<String, String>,
}

/// A tensor that the file holds.
#[derive(Clone, Debug)]
pub struct Initializer {
    /// The elements.
    pub tensor: Held,
    /// Name under which [`Spans`](crate::onnx::span::Spans) knows the file's bytes, if they can be rewritten: an
    /// initializer or a `Constant` node of the main graph (then its output's name) or of a body in it. `None` for constants
    /// inside functions.
    pub stored_as: Option<String>,
}

/// An attribute's value.
#[derive(Clone, Debug)]
pub enum Attr {
    /// `INT`
    Int(i64),
    /// `FLOAT`
    Float(f32),
    /// `STRING`, where it is UTF-8
    String(String),
    /// `TENSOR`
    Tensor(Arc<HostTensor>),
    /// `INTS`
    Ints(Vec<i64>),
    /// `FLOATS`
    Floats(Vec<f32>),
    /// `STRINGS`
    Strings(Vec<String>),
    /// `GRAPH`; values captured from outside appear in its `inputs` after the declared ones.
    Graph(Arc<Graph>),
    /// A kind that no supported operator takes.
    Other(&'static str),
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Name in the file, or `<operator of output>` where it has none.
    pub name: String,
    /// Operator domain; the default domain is the empty string, also where the file says `ai.onnx`.
    pub domain: String,
    /// Operator.
    pub op_type: String,
    /// Version of the operator set of `domain` that the model imports.
    pub opset: i64,
    /// Inputs; `None` where an optional one is left out. Trailing ones left out are absent.
    pub inputs: Vec<Option<ValueId>>,
    /// Outputs; `None` where one is not wanted.
    pub outputs: Vec<Option<ValueId>>,
    /// Attributes by name.
    pub attrs: BTreeMap<String, Attr>,
}

/// A model's main graph, or the body that an attribute holds.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// All values; a [`ValueId`] is an index.
    pub values: Vec<ValueInfo>,
    /// Value by name.
    pub by_name: HashMap<String, ValueId>,
    /// Nodes, each after those whose outputs it takes.
    pub nodes: Vec<Node>,
    /// Inputs that a caller feeds (not those that are initializers).
    pub inputs: Vec<ValueId>,
    /// Outputs.
    pub outputs: Vec<ValueId>,
    /// Tensors that the file holds: initializers, and outputs of `Constant` nodes (which are not in `nodes`).
    pub initializers: BTreeMap<ValueId, Initializer>,
    /// Which of `initializers` come from `Constant` nodes.
    pub constant_nodes: BTreeSet<ValueId>,
    /// Tensors that the file holds in a type that this program does not (strings, 4-bit integers, ...), and which type.
    pub opaque: BTreeMap<ValueId, String>,
    /// Texts among them that are UTF-8: names of classes.
    pub texts: BTreeMap<ValueId, Vec<String>>,
    /// Which of `initializers` the file does not hold: inputs that the user fixed, random numbers at their expectation.
    pub fixed: BTreeSet<ValueId>,
    /// Which values the file has as inputs, and are made here from other inputs.
    pub supplied: BTreeMap<ValueId, Supply>,
    /// Float tensors in branches of If nodes that are not taken, with the node.
    pub left_out: Vec<(String, Held)>,
    /// Which of `initializers` the file holds as sparse tensors, which are not rewritten.
    pub sparse: BTreeSet<ValueId>,
    /// Of a body: the values of the enclosing graph that the last `captured.len()` entries of `inputs` stand for.
    pub captured: Vec<ValueId>,
    /// Inputs and outputs whose rows lie along another axis in the file, by name, and which: here they come first.
    pub turned: BTreeMap<String, usize>,
    /// Imported operator sets: domain to version. Bodies share them.
    pub opsets: Arc<BTreeMap<String, i64>>,
    /// What the passes that build the graph may still take.
    pub budget: Arc<Budget>,
    /// `ModelProto.ir_version`.
    pub ir_version: i64,
    /// `ModelProto.producer_name` and version.
    pub producer: String,
    /// `ModelProto.metadata_props`.
    pub metadata: BTreeMap<String, String>,
    /// Names that `TrainingInfoProto.update_binding` updates and the algorithm differentiates by; empty without it.
    pub trained_names: BTreeSet<String>,
    /// Where the parameters are from a checkpoint: which of its tensors were trained. Nothing else can be rewritten.
    pub checkpoint: BTreeMap<String, bool>,
}
