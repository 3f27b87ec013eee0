//! Typed access to a node's attributes. Every error names node, operator and attribute.

use super::{Attr, Graph, Node};
use crate::{
    error::{Error, Result},
    tensor::HostTensor,
};
use std::sync::Arc;

impl Attr {
    /// The kind, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Int(_) => "an integer",
            Self::Float(_) => "a number",
            Self::String(_) => "a string",
            Self::Tensor(_) => "a tensor",
            Self::Ints(_) => "a list of integers",
            Self::Floats(_) => "a list of numbers",
            Self::Strings(_) => "a list of strings",
            Self::Graph(_) => "a graph",
            Self::Other(kind) => kind,
        }
    }
}

impl Node {
    /// `domain::Operator-version`; without the domain where it is the default one.
    pub fn op(&self) -> String {
        let domain = if self.domain.is_empty() { String::new() } else { format!("{}::", self.domain) };
        format!("{domain}{}-{}", self.op_type, self.opset)
    }

    /// [`Error::Node`] for this node.
    pub fn error(&self, problem: impl Into<String>) -> Error {
        Error::Node { node: self.name.clone(), op: self.op(), problem: problem.into() }
    }

    /// `value` of attribute `name` if it is of the kind that `take` takes; `None` if the node does not have it.
    fn typed<'a, T>(&'a self, name: &str, expected: &str, take: impl Fn(&'a Attr) -> Option<T>) -> Result<Option<T>> {
        let Some(attr) = self.attrs.get(name) else { return Ok(None) };
        match take(attr) {
            Some(value) => Ok(Some(value)),
            None => Err(self.error(format!("attribute `{name}` must be {expected}, but is {}", attr.kind()))),
        }
    }

    fn missing(&self, name: &str) -> Error {
        self.error(format!("attribute `{name}` is missing"))
    }

    /// An `INT` that may be absent.
    pub fn opt_int(&self, name: &str) -> Result<Option<i64>> {
        self.typed(name, "an integer", |attr| if let Attr::Int(i) = attr { Some(*i) } else { None })
    }

    /// An `INT`; required if there is no `default`.
    pub fn int(&self, name: &str, default: Option<i64>) -> Result<i64> {
        self.opt_int(name)?.or(default).ok_or_else(|| self.missing(name))
    }

    /// An `INT` that means yes or no; anything but 0 is yes.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        Ok(self.opt_int(name)?.map_or(default, |i| i != 0))
    }

    /// `INTS` that may be absent.
    pub fn opt_ints(&self, name: &str) -> Result<Option<&[i64]>> {
        self.typed(name, "a list of integers", |attr| if let Attr::Ints(i) = attr { Some(i.as_slice()) } else { None })
    }

    /// `INTS`; required if there is no `default`.
    pub fn ints(&self, name: &str, default: Option<&[i64]>) -> Result<Vec<i64>> {
        self.opt_ints(name)?.or(default).map(<[i64]>::to_vec).ok_or_else(|| self.missing(name))
    }

    /// A `FLOAT` that may be absent.
    pub fn opt_float(&self, name: &str) -> Result<Option<f32>> {
        self.typed(name, "a number", |attr| if let Attr::Float(f) = attr { Some(*f) } else { None })
    }

    /// A `FLOAT`; required if there is no `default`.
    pub fn float(&self, name: &str, default: Option<f32>) -> Result<f32> {
        self.opt_float(name)?.or(default).ok_or_else(|| self.missing(name))
    }

    /// `FLOATS` that may be absent.
    pub fn opt_floats(&self, name: &str) -> Result<Option<&[f32]>> {
        self.typed(name, "a list of numbers", |attr| if let Attr::Floats(f) = attr { Some(f.as_slice()) } else { None })
    }

    /// A `STRING` that may be absent.
    pub fn opt_string(&self, name: &str) -> Result<Option<&str>> {
        self.typed(name, "a string", |attr| if let Attr::String(s) = attr { Some(s.as_str()) } else { None })
    }

    /// A `STRING`; required if there is no `default`.
    pub fn string<'a>(&'a self, name: &str, default: Option<&'a str>) -> Result<&'a str> {
        self.opt_string(name)?.or(default).ok_or_else(|| self.missing(name))
    }

    /// `STRINGS` that may be absent.
    pub fn opt_strings(&self, name: &str) -> Result<Option<&[String]>> {
        self.typed(
            name,
            "a list of strings",
            |attr| {
                if let Attr::Strings(s) = attr { Some(s.as_slice()) } else { None }
            },
        )
    }

    /// A `TENSOR` that may be absent.
    pub fn opt_tensor(&self, name: &str) -> Result<Option<&Arc<HostTensor>>> {
        self.typed(name, "a tensor", |attr| if let Attr::Tensor(t) = attr { Some(t) } else { None })
    }

    /// A required `TENSOR`.
    pub fn tensor(&self, name: &str) -> Result<&Arc<HostTensor>> {
        self.opt_tensor(name)?.ok_or_else(|| self.missing(name))
    }

    /// A required `GRAPH`.
    pub fn graph(&self, name: &str) -> Result<&Arc<Graph>> {
        self.typed(name, "a graph", |attr| if let Attr::Graph(g) = attr { Some(g) } else { None })?
            .ok_or_else(|| self.missing(name))
    }

    /// Names of attributes that are not among `known`.
    pub fn unknown_attributes(&self, known: &[&str]) -> Vec<&str> {
        self.attrs.keys().map(String::as_str).filter(|name| !known.contains(name)).collect()
    }

    /// Fails if the node has an attribute that is not among `known`.
    pub fn require_known(&self, known: &[&str]) -> Result<()> {
        match self.unknown_attributes(known).as_slice() {
            [] => Ok(()),
            unknown => Err(self.error(format!(
                "attribute {} is not known to this version of the operator",
                unknown.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            ))),
        }
    }
}
