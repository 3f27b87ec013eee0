//! What an operator's build function sees of its node.

use super::problem;
use crate::{
    error::Result,
    graph::{Attr, Graph, Node, ValueId, fuse::MADE_OF},
    tensor::{DType, Held, HostTensor},
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

/// A node, and what is known of its inputs before anything runs.
///
/// Every attribute that a build function asks for is noted; an attribute that none asked for is an error, so nothing
/// in the file is silently ignored.
pub struct NodeContext<'a> {
    node: &'a Node,
    graph: &'a Graph,
    constants: &'a BTreeMap<ValueId, Held>,
    read: RefCell<BTreeSet<&'static str>>,
}

impl<'a> NodeContext<'a> {
    /// A context of `node` of `graph`, with the values that are known at build.
    pub fn new(node: &'a Node, graph: &'a Graph, constants: &'a BTreeMap<ValueId, Held>) -> Self {
        Self { node, graph, constants, read: RefCell::default() }
    }

    /// The node.
    pub fn node(&self) -> &'a Node {
        self.node
    }

    /// Version of the operator set.
    pub fn opset(&self) -> i64 {
        self.node.opset
    }

    /// Whether input `i` is there.
    pub fn has(&self, i: usize) -> bool {
        matches!(self.node.inputs.get(i), Some(Some(_)))
    }

    /// Whether output `i` is wanted.
    pub fn wants(&self, i: usize) -> bool {
        matches!(self.node.outputs.get(i), Some(Some(_)))
    }

    /// Input `i`'s value, where it is known at build and is not trained.
    pub fn constant(&self, i: usize) -> Option<&'a Held> {
        let id = (*self.node.inputs.get(i)?)?;
        self.constants.get(&id)
    }

    /// Input `i`'s single float value, where it is known at build and has at most `rank` axes.
    pub fn scalar(&self, i: usize, rank: usize) -> Option<f64> {
        let t = self.constant(i).filter(|t| t.len() == 1 && t.dims().len() <= rank && t.dtype().is_float())?;
        t.to_f64().first().copied()
    }

    /// Input `i`'s element type, where the file tells.
    pub fn dtype(&self, i: usize) -> Option<DType> {
        let id = (*self.node.inputs.get(i)?)?;
        let held = self.graph.initializers.get(&id).map(|t| t.tensor.dtype());
        held.or_else(|| self.constants.get(&id).map(|t| t.dtype()))
            .or_else(|| self.graph.values.get(id.0)?.ty.as_ref()?.dtype)
    }

    fn attr<T>(&self, name: &'static str, kind: &str, get: impl FnOnce(&'a Attr) -> Option<T>) -> Result<Option<T>> {
        self.read.borrow_mut().insert(name);
        match self.node.attrs.get(name) {
            None => Ok(None),
            Some(attr) => match get(attr) {
                Some(value) => Ok(Some(value)),
                None => Err(problem(format!("attribute {name} is not {kind}"))),
            },
        }
    }

    /// An `INT` attribute.
    ///
    /// # Errors
    /// [`crate::Error::Node`] if the attribute is of another kind.
    pub fn int(&self, name: &'static str) -> Result<Option<i64>> {
        self.attr(name, "an integer", Attr::int)
    }

    /// An `INT` attribute that is a flag.
    ///
    /// # Errors
    /// [`crate::Error::Node`] if the attribute is of another kind.
    pub fn flag(&self, name: &'static str, default: bool) -> Result<bool> {
        Ok(self.int(name)?.map_or(default, |x| x != 0))
    }

    /// A `FLOAT` attribute.
    ///
    /// # Errors
    /// [`crate::Error::Node`] if the attribute is of another kind.
    pub fn float(&self, name: &'static str, default: f32) -> Result<f64> {
        let value = self.attr(name, "a float", Attr::float)?;
        Ok(value.unwrap_or(default).into())
    }

    /// A `FLOATS` attribute.
    ///
    /// # Errors
    /// [`crate::Error::Node`] if the attribute is of another kind.
    pub fn floats(&self, name: &'static str) -> Result<Option<Vec<f64>>> {
        let wide = |x: &[f32]| x.iter().map(|&x| x.into()).collect();
        self.attr(name, "a list of floats", |a| a.floats().map(wide))
    }

    /// A `STRING` attribute.
    ///
    /// # Errors
    /// [`crate::Error::Node`] if the attribute is of another kind.
    pub fn string(&self, name: &'static str, default: &'static str) -> Result<&'a str> {
        let value = self.attr(name, "a string", Attr::string)?;
        Ok(value.unwrap_or(default))
    }

    /// A `STRINGS` attribute.
    ///
    /// # Errors
    /// [`crate::Error::Node`] if the attribute is of another kind.
    pub fn strings(&self, name: &'static str) -> Result<Option<&'a [String]>> {
        self.attr(name, "a list of strings", Attr::strings)
    }

    /// An `INTS` attribute.
    ///
    /// # Errors
    /// [`crate::Error::Node`] if the attribute is of another kind.
    pub fn ints(&self, name: &'static str) -> Result<Option<Vec<i64>>> {
        self.attr(name, "a list of integers", |a| a.ints().map(<[i64]>::to_vec))
    }

    /// An `INTS` attribute of values that count something.
    ///
    /// # Errors
    /// [`crate::Error::Node`] if the attribute is of another kind, or holds a value below `least`.
    pub fn sizes(&self, name: &'static str, least: usize) -> Result<Option<Vec<usize>>> {
        let Some(list) = self.ints(name)? else { return Ok(None) };
        let sizes = list.iter().map(|&x| usize::try_from(x).ok().filter(|&x| x >= least)).collect::<Option<Vec<_>>>();
        sizes.map(Some).ok_or_else(|| problem(format!("attribute {name} holds a value below {least}")))
    }

    /// A `TENSOR` attribute.
    ///
    /// # Errors
    /// [`crate::Error::Node`] if the attribute is of another kind.
    pub fn tensor(&self, name: &'static str) -> Result<Option<&'a HostTensor>> {
        self.attr(name, "a tensor", Attr::tensor)
    }

    /// Notes that attributes may be there and change nothing.
    pub fn ignore(&self, names: &[&'static str]) {
        self.read.borrow_mut().extend(names);
    }

    /// An error if the node has an attribute that nobody asked for.
    pub(super) fn check_all_read(&self) -> Result<()> {
        let read = self.read.borrow();
        match self.node.attrs.keys().find(|name| *name != MADE_OF && !read.contains(name.as_str())) {
            None => Ok(()),
            Some(name) => Err(problem(format!("attribute {name} is not known for this operator and version"))),
        }
    }
}
