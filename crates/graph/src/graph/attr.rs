//! Typed access to a node's attributes. Every error names node, operator and attribute.

use super::{Attr, Graph, Node, fuse::MADE_OF};
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

/// The value, if it is of the kind.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $variant:ident => $type:ty, $value:ident => $result:expr;)*) => {
        impl Attr {
            $($(#[$doc])*
            pub fn $name(&self) -> Option<$type> {
                if let Self::$variant($value) = self { Some($result) } else { None }
            })*
        }
    };
}

kinds! {
    /// Of `INT`.
    int: Int => i64, x => *x;
    /// Of `FLOAT`.
    float: Float => f32, x => *x;
    /// Of `STRING`.
    string: String => &str, x => x.as_str();
    /// Of `TENSOR`.
    tensor: Tensor => &HostTensor, x => x.as_ref();
    /// Of `INTS`.
    ints: Ints => &[i64], x => x.as_slice();
    /// Of `FLOATS`.
    floats: Floats => &[f32], x => x.as_slice();
    /// Of `STRINGS`.
    strings: Strings => &[String], x => x.as_slice();
}

impl Node {
    /// `domain::Operator-version`, as errors name it; without the domain where it is the default one. Of a node that is
    /// not in the file, the operator that it was made of.
    pub fn op(&self) -> String {
        if let Some(of) = self.attrs.get(MADE_OF).and_then(Attr::string) {
            return of.into();
        }
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
    ///
    /// # Errors
    /// [`Error::Node`] if the attribute is of another kind.
    pub fn opt_int(&self, name: &str) -> Result<Option<i64>> {
        self.typed(name, "an integer", Attr::int)
    }

    /// An `INT`; required if there is no `default`.
    ///
    /// # Errors
    /// [`Error::Node`] if the attribute is of another kind, or is missing and has no default.
    pub fn int(&self, name: &str, default: Option<i64>) -> Result<i64> {
        self.opt_int(name)?.or(default).ok_or_else(|| self.missing(name))
    }

    /// An `INT` that means yes or no; anything but 0 is yes.
    ///
    /// # Errors
    /// [`Error::Node`] if the attribute is of another kind.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        Ok(self.opt_int(name)?.map_or(default, |i| i != 0))
    }

    /// `INTS` that may be absent.
    ///
    /// # Errors
    /// [`Error::Node`] if the attribute is of another kind.
    pub fn opt_ints(&self, name: &str) -> Result<Option<&[i64]>> {
        self.typed(name, "a list of integers", Attr::ints)
    }

    /// A `FLOAT`, or what it is if it is absent.
    ///
    /// # Errors
    /// [`Error::Node`] if the attribute is of another kind.
    pub fn float(&self, name: &str, default: f32) -> Result<f32> {
        Ok(self.typed(name, "a number", Attr::float)?.unwrap_or(default))
    }

    /// `FLOATS` that may be absent.
    ///
    /// # Errors
    /// [`Error::Node`] if the attribute is of another kind.
    pub fn opt_floats(&self, name: &str) -> Result<Option<&[f32]>> {
        self.typed(name, "a list of numbers", Attr::floats)
    }

    /// A `STRING` that may be absent.
    ///
    /// # Errors
    /// [`Error::Node`] if the attribute is of another kind.
    pub fn opt_string(&self, name: &str) -> Result<Option<&str>> {
        self.typed(name, "a string", Attr::string)
    }

    /// A `STRING`; required if there is no `default`.
    ///
    /// # Errors
    /// [`Error::Node`] if the attribute is of another kind, or is missing and has no default.
    pub fn string<'a>(&'a self, name: &str, default: Option<&'a str>) -> Result<&'a str> {
        self.opt_string(name)?.or(default).ok_or_else(|| self.missing(name))
    }

    /// `STRINGS` that may be absent.
    ///
    /// # Errors
    /// [`Error::Node`] if the attribute is of another kind.
    pub fn opt_strings(&self, name: &str) -> Result<Option<&[String]>> {
        self.typed(name, "a list of strings", Attr::strings)
    }

    /// A required `GRAPH`.
    ///
    /// # Errors
    /// [`Error::Node`] if the attribute is missing or of another kind.
    pub fn graph(&self, name: &str) -> Result<&Arc<Graph>> {
        self.typed(name, "a graph", |attr| if let Attr::Graph(g) = attr { Some(g) } else { None })?
            .ok_or_else(|| self.missing(name))
    }

    /// Checks that every attribute of the node is among `known`.
    ///
    /// # Errors
    /// [`Error::Node`] names the attributes that are not among `known`.
    pub fn require_known(&self, known: &[&str]) -> Result<()> {
        let unknown: Vec<_> = self.attrs.keys().filter(|name| !known.contains(&name.as_str())).collect();
        match unknown.as_slice() {
            [] => Ok(()),
            unknown => Err(self.error(format!(
                "attribute {} is not known to this version of the operator",
                unknown.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            ))),
        }
    }
}
