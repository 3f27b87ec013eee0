//! Types, attributes and sparse tensors.

use super::{Builder, LINK, MAX_DEPTH, scope::Scope};
use crate::{
    each,
    error::{Error, Result},
    graph::{Attr, Dim, Graph, TypeInfo, ValueId},
    onnx::{
        element_count,
        proto::{
            AttributeProto, SparseTensorProto, StringStringEntryProto, TensorProto, TypeProto,
            attribute_proto::AttributeType, tensor_proto::DataType, tensor_shape_proto::dimension, type_proto,
        },
    },
    tensor::{DType, Element, HostTensor},
};
use ndarray::{ArrayD, IxDyn};
use std::sync::Arc;

fn type_info(ty: &TypeProto) -> TypeInfo {
    let Some(type_proto::Value::TensorType(tensor)) = &ty.value else {
        return TypeInfo { dtype: None, dims: None };
    };
    let dims = tensor.shape.as_ref().map(|shape| {
        let dims = shape.dim.iter().map(|dim| match &dim.value {
            Some(dimension::Value::DimValue(n)) => usize::try_from(*n).map_or(Dim::Unknown, Dim::Fixed),
            Some(dimension::Value::DimParam(name)) if !name.is_empty() => Dim::Symbol(name.clone()),
            _ => Dim::Unknown,
        });
        dims.collect()
    });
    TypeInfo { dtype: DType::from_onnx(tensor.elem_type()), dims }
}

/// The element type in words, if this program does not handle it.
pub(super) fn foreign_type(tensor: &TensorProto) -> Option<String> {
    match DataType::try_from(tensor.data_type()) {
        _ if DType::from_onnx(tensor.data_type()).is_some() => None,
        // Types without a number are a broken file, which decoding says.
        Ok(DataType::Undefined) | Err(_) => None,
        Ok(kind) => Some(kind.as_str_name().to_string()),
    }
}

/// Bytes that an attribute takes, beside tensors and graphs, which are shared.
fn size(attr: &Attr) -> usize {
    let texts = |list: &[String]| list.iter().map(|text| size_of::<String>() + text.len()).sum();
    let content = match attr {
        Attr::Ints(list) => size_of_val(list.as_slice()),
        Attr::Floats(list) => size_of_val(list.as_slice()),
        Attr::String(text) => text.len(),
        Attr::Strings(list) => texts(list),
        _ => 0,
    };
    size_of::<Attr>() + content
}

impl<'a> Builder<'a> {
    /// Adds what is said of a value, called so in errors, to what is known of it.
    pub(super) fn describe(
        &mut self,
        graph: &mut Graph,
        scope: &Scope<'a>,
        (value, name): (ValueId, &str),
        ty: Option<&TypeProto>,
        metadata: &[StringStringEntryProto],
    ) -> Result<()> {
        let texts = metadata.iter().map(|entry| 2 * size_of::<String>() + entry.key().len() + entry.value().len());
        let dims = ty.and_then(|ty| match &ty.value {
            Some(type_proto::Value::TensorType(tensor)) => tensor.shape.as_ref(),
            _ => None,
        });
        let extents = dims.iter().flat_map(|shape| &shape.dim).map(|dim| match &dim.value {
            Some(dimension::Value::DimParam(name)) => size_of::<Dim>() + name.len(),
            _ => size_of::<Dim>(),
        });
        self.spend(scope.depth, texts.chain(extents).sum(), name)?;
        if let Some(info) = graph.values.get_mut(value.0) {
            let texts = metadata.iter().map(|entry| (entry.key().to_string(), entry.value().to_string()));
            info.metadata.extend(texts);
            if let Some(ty) = ty {
                info.ty = Some(type_info(ty));
            }
        }
        Ok(())
    }

    /// An attribute's value; `None` if it refers to a function's attribute that the caller leaves out.
    pub(super) fn attribute(
        &mut self,
        graph: &mut Graph,
        a: &'a AttributeProto,
        scope: &mut Scope<'a>,
        place: &str,
    ) -> Result<Option<Attr>> {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_string);
        if a.name().is_empty() {
            return Err(self.malformed(place, "an attribute has no name"));
        }
        if !a.ref_attr_name().is_empty() {
            if scope.calls.is_empty() {
                let problem =
                    format!("attribute `{}` refers to a function's attribute outside of a function", a.name());
                return Err(self.malformed(place, problem));
            }
            let argument = scope.arguments.get(a.ref_attr_name());
            self.spend(scope.depth, LINK + argument.map_or(0, size), place)?;
            let argument = argument.cloned();
            if matches!(argument, Some(Attr::Graph(_))) && scope.arguments_level != scope.level {
                return Err(
                    self.malformed(place, "a body that is a function's attribute is used inside of another body")
                );
            }
            return Ok(argument);
        }
        let kind = match a.r#type() {
            AttributeType::Undefined => guess_type(a),
            kind => kind,
        };
        let texts: usize = a.strings.iter().map(|text| size_of::<String>() + text.len()).sum();
        let lists = size_of_val(a.floats.as_slice()) + size_of_val(a.ints.as_slice());
        self.spend(scope.depth, size_of::<Attr>() + a.name().len() + a.s().len() + texts + lists, place)?;
        let path = self.path;
        let lacks = |what: &str| {
            let problem = format!("attribute `{}` says {what}, but has none", a.name());
            Error::Malformed { path: path.into(), place: place.into(), problem }
        };
        Ok(Some(match kind {
            AttributeType::Float => Attr::Float(a.f()),
            AttributeType::Int => Attr::Int(a.i()),
            AttributeType::String => text(a.s()).map_or(Attr::Other("a string that is not UTF-8"), Attr::String),
            AttributeType::Floats => Attr::Floats(a.floats.clone()),
            AttributeType::Ints => Attr::Ints(a.ints.clone()),
            AttributeType::Strings => {
                let strings: Option<Vec<String>> = a.strings.iter().map(|s| text(s)).collect();
                strings.map_or(Attr::Other("a list of strings that are not UTF-8"), Attr::Strings)
            }
            AttributeType::Tensor => {
                let tensor = a.t.as_ref().ok_or_else(|| lacks("tensor"))?;
                match foreign_type(tensor) {
                    Some(_) => Attr::Other("a tensor of an unsupported type"),
                    None => Attr::Tensor(self.tensor(tensor).map_err(|e| self.within(e, place))?.get()),
                }
            }
            AttributeType::Graph => {
                let proto = a.g.as_ref().ok_or_else(|| lacks("graph"))?;
                if scope.depth >= MAX_DEPTH {
                    return Err(self.malformed(place, format!("bodies are nested deeper than {MAX_DEPTH}")));
                }
                let mut inner = scope.body(a.name());
                self.spend(scope.depth, size_of::<Graph>(), place)?;
                let mut body = Graph {
                    opsets: Arc::clone(&scope.opsets),
                    ir_version: graph.ir_version,
                    budget: Arc::clone(&self.budget),
                    ..Graph::default()
                };
                self.graph(&mut body, proto, &mut inner)?;
                for (name, inside) in inner.take_captures() {
                    let outside = self.resolve(graph, scope, name, place)?;
                    body.inputs.push(inside);
                    body.captured.push(outside);
                }
                Attr::Graph(Arc::new(body))
            }
            AttributeType::SparseTensor => {
                let sparse = a.sparse_tensor.as_ref().ok_or_else(|| lacks("sparse tensor"))?;
                Attr::Tensor(Arc::new(self.dense(sparse, place)?))
            }
            AttributeType::Tensors => Attr::Other("a list of tensors"),
            AttributeType::Graphs => Attr::Other("a list of graphs"),
            AttributeType::SparseTensors => Attr::Other("a list of sparse tensors"),
            AttributeType::TypeProto | AttributeType::TypeProtos => Attr::Other("a type"),
            AttributeType::Undefined => {
                return Err(self.malformed(place, format!("attribute `{}` has neither type nor value", a.name())));
            }
        }))
    }

    /// A sparse tensor with its zeros filled in.
    pub(super) fn dense(&mut self, sparse: &'a SparseTensorProto, place: &str) -> Result<HostTensor> {
        let path = self.path;
        let bad = |problem: &str| {
            let problem = format!("sparse tensor: {problem}");
            Error::Malformed { path: path.into(), place: place.into(), problem }
        };
        let (Some(values), Some(indices)) = (&sparse.values, &sparse.indices) else {
            return Err(bad("values or indices are missing"));
        };
        let (count, dims) = element_count(&sparse.dims).map_err(|problem| bad(&problem))?;
        let (values, indices) = (self.tensor(values)?.get(), self.tensor(indices)?.get());
        // Bounds what a small file can make this program allocate.
        if count > 4096 + 256 * values.len() {
            return Err(bad(&format!("{} of {count} elements are stored; too sparse to be made dense", values.len())));
        }
        self.budget.hold(count.saturating_mul(values.dtype().size()), "decoding sparse tensors", place)?;
        let at = match (indices.to_i64(), indices.dims()) {
            (Some(at), [n]) if *n == values.len() => at,
            (Some(at), [n, rank]) if *n == values.len() && *rank == dims.len() && *rank > 0 => {
                let flat = |index: &[i64]| {
                    index.iter().zip(&dims).try_fold(0i64, |flat, (&i, &extent)| {
                        let extent = i64::try_from(extent).ok()?;
                        (0..extent).contains(&i).then(|| flat * extent + i)
                    })
                };
                let flat: Option<Vec<i64>> = at.chunks(*rank).map(flat).collect();
                flat.ok_or_else(|| bad("an index is out of range"))?
            }
            _ => return Err(bad("the indices do not fit the values")),
        };
        fn scatter<T: Element>(values: &ArrayD<T>, at: &[i64], count: usize, dims: &[usize]) -> Option<HostTensor> {
            let mut dense = vec![T::default(); count];
            for (&value, &i) in values.iter().zip(at) {
                *usize::try_from(i).ok().and_then(|i| dense.get_mut(i))? = value;
            }
            ArrayD::from_shape_vec(IxDyn(dims), dense).ok().map(T::wrap)
        }
        each!(&*values, array => scatter(array, &at, count, &dims)).ok_or_else(|| bad("an index is out of range"))
    }
}

/// Files of IR version 1 do not say the type of attributes.
fn guess_type(a: &AttributeProto) -> AttributeType {
    if a.f.is_some() {
        AttributeType::Float
    } else if a.i.is_some() {
        AttributeType::Int
    } else if a.s.is_some() {
        AttributeType::String
    } else if a.t.is_some() {
        AttributeType::Tensor
    } else if a.g.is_some() {
        AttributeType::Graph
    } else if !a.floats.is_empty() {
        AttributeType::Floats
    } else if !a.ints.is_empty() {
        AttributeType::Ints
    } else if !a.strings.is_empty() {
        AttributeType::Strings
    } else {
        AttributeType::Undefined
    }
}
