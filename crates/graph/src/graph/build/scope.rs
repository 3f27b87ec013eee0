//! Which value a name means: in the main graph, in a body, in a function.

use super::{Attr, Builder, LINK, OperatorSets, PASS};
use crate::{
    error::Result,
    graph::{Graph, ValueId, ValueInfo},
    onnx::{
        attributes,
        proto::{FunctionProto, NodeProto},
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Bytes of names, attributes and descriptions that take as long as a look at a node.
const BYTES_A_LOOK: usize = 1 << 10;

/// One list of nodes with names of its own.
pub(super) struct Scope<'a> {
    /// Stands before the names of nodes and values: empty, or the function call's name and a slash.
    prefix: Arc<str>,
    /// Value of each name; `None` for a function's input that the caller leaves out.
    names: HashMap<&'a str, Option<ValueId>>,
    /// Values that the caller has made for a function's outputs, to be taken when the body declares them.
    pub(super) bound: HashMap<&'a str, ValueId>,
    /// A function's attributes as the caller gives them.
    pub(super) arguments: Arc<BTreeMap<String, Attr>>,
    /// How many bodies deep the graph that `arguments` were made in lies.
    pub(super) arguments_level: usize,
    /// Operator sets that the nodes mean.
    pub(super) opsets: Arc<OperatorSets>,
    /// Functions and bodies around these nodes.
    pub(super) depth: usize,
    /// Bodies around these nodes.
    pub(super) level: usize,
    /// Whether unknown names are captured from outside: in a body, not in a function called there.
    captures: Option<Vec<(&'a str, ValueId)>>,
    /// What stands before a tensor's name where its bytes are found again; `None` in functions, which may be called often.
    stored_in: Option<Arc<str>>,
    /// First output of the node that is being built.
    pub(super) output: &'a str,
    /// The functions being inlined, outermost first.
    pub(super) calls: Vec<&'a FunctionProto>,
}

/// A node in a message: its name, or `operator of output`.
pub(super) fn label(node: &NodeProto) -> String {
    attributes::label(node.name(), node.op_type(), &node.output)
}

impl<'a> Scope<'a> {
    pub(super) fn main(opsets: &Arc<OperatorSets>) -> Self {
        Self {
            prefix: "".into(),
            names: HashMap::new(),
            bound: HashMap::new(),
            arguments: Arc::default(),
            arguments_level: 0,
            opsets: Arc::clone(opsets),
            depth: 0,
            level: 0,
            captures: None,
            stored_in: Some("".into()),
            output: "",
            calls: Vec::new(),
        }
    }

    /// The scope of the body that the node being built holds in `attribute`.
    pub(super) fn body(&self, attribute: &str) -> Self {
        let stored_in = self.stored_in.as_ref().filter(|_| !self.output.is_empty());
        Self {
            stored_in: stored_in.map(|outer| format!("{outer}{}/{attribute}/", self.output).into()),
            prefix: Arc::clone(&self.prefix),
            arguments: Arc::clone(&self.arguments),
            arguments_level: self.arguments_level,
            depth: self.depth + 1,
            level: self.level + 1,
            captures: Some(Vec::new()),
            calls: self.calls.clone(),
            ..Self::main(&self.opsets)
        }
    }

    /// The scope of a function that the node `call` of `self` calls.
    pub(super) fn function(&self, call: &str, opsets: &Arc<OperatorSets>) -> Self {
        Self {
            prefix: format!("{call}/").into(),
            stored_in: None,
            arguments_level: self.level,
            depth: self.depth + 1,
            level: self.level,
            calls: self.calls.clone(),
            ..Self::main(opsets)
        }
    }

    pub(super) fn bind(&mut self, name: &'a str, value: Option<ValueId>) {
        self.names.insert(name, value);
    }

    /// The value of a name that is defined here; the inner `None` is an input that the caller leaves out.
    pub(super) fn local(&self, name: &str) -> Option<Option<ValueId>> {
        self.names.get(name).copied()
    }

    /// Names that a body takes from outside, with the values that stand for them inside.
    pub(super) fn take_captures(&mut self) -> Vec<(&'a str, ValueId)> {
        self.captures.take().unwrap_or_default()
    }

    /// The name under which [`Spans`](crate::onnx::span::Spans) finds the bytes of a tensor of this name.
    pub(super) fn stored_name(&self, name: &str) -> Option<String> {
        self.stored_in.as_ref().map(|outer| format!("{outer}{name}"))
    }

    /// Bytes that stand before the names of nodes and values.
    pub(super) fn prefix_len(&self) -> usize {
        self.prefix.len()
    }

    /// Bytes that stand before the names under which stored tensors are found.
    pub(super) fn within_len(&self) -> usize {
        self.stored_in.as_ref().map_or(0, |outer| outer.len())
    }

    pub(super) fn node_name(&self, node: &NodeProto) -> String {
        format!("{}{}", self.prefix, label(node))
    }
}

impl<'a> Builder<'a> {
    /// Charges memory, and in functions and bodies, which may be read often, the time that as many bytes take.
    pub(super) fn spend(&mut self, depth: usize, bytes: usize, place: &str) -> Result<()> {
        if depth > 0 {
            self.budget.look(bytes / BYTES_A_LOOK, PASS, place)?;
        }
        self.budget.hold(bytes, PASS, place)
    }

    /// A new value of `graph`, named in `scope`.
    pub(super) fn new_value(&mut self, graph: &mut Graph, scope: &Scope<'a>, name: &str) -> Result<ValueId> {
        // Held once more as a key, and by what is stored under it.
        let names = 2 * (scope.prefix_len() + name.len()) + scope.within_len();
        self.spend(scope.depth, size_of::<ValueInfo>() + size_of::<String>() + LINK + names, name)?;
        Ok(self.fresh_value(graph, format!("{}{name}", scope.prefix)))
    }

    /// A new value of `graph` of this name, or one like it, that is charged already.
    pub(super) fn fresh_value(&mut self, graph: &mut Graph, name: String) -> ValueId {
        let id = ValueId(graph.values.len());
        let mut unique = name.clone();
        while graph.by_name.contains_key(&unique) {
            let clash = self.clashes.entry(name.clone()).or_default();
            *clash += 1;
            unique = format!("{name}'{clash}");
        }
        graph.by_name.insert(unique.clone(), id);
        graph.values.push(ValueInfo { name: unique, ty: None, metadata: BTreeMap::new() });
        id
    }

    /// Defines `name` in `scope`.
    pub(super) fn declare(
        &mut self,
        graph: &mut Graph,
        scope: &mut Scope<'a>,
        name: &'a str,
        what: &str,
    ) -> Result<ValueId> {
        if name.is_empty() {
            return Err(self.malformed(what, "it has no name"));
        }
        if scope.names.contains_key(name) {
            let place = format!("{what} `{}{name}`", scope.prefix);
            return Err(self.malformed(place, "a value of this name is defined before"));
        }
        let value = match scope.bound.remove(name) {
            Some(value) => value,
            None => self.new_value(graph, scope, name)?,
        };
        scope.names.insert(name, Some(value));
        Ok(value)
    }

    /// The value that `name` means for a node's input; `None` if it is a function's input that is left out.
    pub(super) fn resolve_optional(
        &mut self,
        graph: &mut Graph,
        scope: &mut Scope<'a>,
        name: &'a str,
        place: &str,
    ) -> Result<Option<ValueId>> {
        if let Some(value) = scope.local(name) {
            return Ok(value);
        }
        if scope.captures.is_none() {
            return Err(self.malformed(place, format!("its input `{name}` is not defined anywhere")));
        }
        let value = self.new_value(graph, scope, name)?;
        scope.names.insert(name, Some(value));
        if let Some(captures) = &mut scope.captures {
            captures.push((name, value));
        }
        Ok(Some(value))
    }

    /// The value that `name` means.
    pub(super) fn resolve(
        &mut self,
        graph: &mut Graph,
        scope: &mut Scope<'a>,
        name: &'a str,
        place: &str,
    ) -> Result<ValueId> {
        let value = self.resolve_optional(graph, scope, name, place)?;
        value.ok_or_else(|| self.malformed(place, format!("`{name}` is left out by the function's caller")))
    }
}
