//! Shapes that can be told before anything runs: from what the file declares, node by node.
//!
//! What is not told is open; a wrong guess would be worse than none. Exporters compute shapes from shapes, so vectors of
//! extents are followed, too: with them conditions on shapes are decided.

mod infer;
mod windows;

use super::{Attr, Dim, Graph, Node, ValueId, fold::Known};
use crate::tensor::{Held, HostTensor};
use std::collections::{BTreeMap, BTreeSet};

/// Vectors longer than this are data, and shapes of more axes are not followed.
const LONGEST: usize = 64;

/// What is known of one extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// It is this.
    Fixed(usize),
    /// The number of rows that are fed.
    Rows,
    /// Nothing is known.
    Open,
}

/// One element of a vector of extents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It is this.
    Known(i64),
    /// The number of rows that are fed.
    Rows,
    /// Nothing is known.
    Open,
}

impl From<Extent> for Entry {
    fn from(extent: Extent) -> Self {
        match extent {
            Extent::Fixed(n) => i64::try_from(n).map_or(Self::Open, Self::Known),
            Extent::Rows => Self::Rows,
            Extent::Open => Self::Open,
        }
    }
}

/// Shapes, and vectors of extents, as far as they are told.
#[derive(Clone, Debug, Default)]
pub(super) struct Shapes {
    dims: BTreeMap<ValueId, Vec<Extent>>,
    /// The elements, and whether it is a scalar.
    vectors: BTreeMap<ValueId, (Vec<Entry>, bool)>,
    /// What the first axes of the inputs are called.
    rows: BTreeSet<String>,
}

impl Shapes {
    /// What `graph` declares.
    pub(super) fn declared(graph: &Graph) -> Self {
        let first = |&input: &ValueId| match graph.declared_dims(input)?.first()? {
            Dim::Symbol(name) => Some(name.clone()),
            _ => None,
        };
        let mut shapes = Self { rows: graph.inputs.iter().filter_map(first).collect(), ..Self::default() };
        for value in (0..graph.values.len()).map(ValueId) {
            shapes.declare(graph, value, false);
        }
        for &input in &graph.inputs {
            shapes.declare(graph, input, true);
        }
        for (&value, stored) in &graph.initializers {
            shapes.store(value, &stored.tensor);
        }
        shapes
    }

    /// Adds a value that is a stored tensor.
    pub(super) fn store(&mut self, value: ValueId, tensor: &Held) {
        self.hold(value, tensor.dims());
    }

    /// What is told of all values of a graph, and the values that follow from it.
    pub(super) fn of(graph: &Graph, known: &mut Known) -> Self {
        let mut shapes = Self::declared(graph);
        for node in &graph.nodes {
            shapes.learn(graph, node, known);
        }
        shapes
    }

    /// What `graph` declares of one value.
    fn declare(&mut self, graph: &Graph, value: ValueId, input: bool) {
        if let Some(dims) = graph.declared_dims(value).filter(|dims| dims.len() <= LONGEST) {
            let extents = dims.iter().enumerate().map(|(axis, dim)| self.extent(dim, input && axis == 0)).collect();
            self.dims.insert(value, extents);
        }
    }

    /// Notes the shape of a tensor that is known.
    fn hold(&mut self, value: ValueId, dims: &[usize]) {
        if dims.len() <= LONGEST {
            self.dims.insert(value, dims.iter().map(|&n| Extent::Fixed(n)).collect());
        }
    }

    fn extent(&self, dim: &Dim, rows: bool) -> Extent {
        match dim {
            Dim::Fixed(n) => Extent::Fixed(*n),
            _ if rows => Extent::Rows,
            Dim::Symbol(name) if self.rows.contains(name) => Extent::Rows,
            _ => Extent::Open,
        }
    }

    /// The shape of a value, where at least its rank is told.
    pub(super) fn dims(&self, value: ValueId) -> Option<&[Extent]> {
        self.dims.get(&value).map(Vec::as_slice)
    }

    /// The elements of a vector of extents.
    pub(super) fn vector(&self, value: ValueId, known: &Known) -> Option<Vec<Entry>> {
        match (self.vectors.get(&value), known.get(&value)) {
            (Some((entries, _)), _) => Some(entries.clone()),
            (None, Some(tensor)) if tensor.dims().len() < 2 && tensor.len() <= LONGEST => {
                Some(tensor.to_i64()?.into_iter().map(Entry::Known).collect())
            }
            _ => None,
        }
    }

    /// Adds what is told of the outputs of `node`; values that are known with it go to `known`.
    pub(super) fn learn(&mut self, graph: &Graph, node: &Node, known: &mut Known) {
        for &output in node.outputs.iter().flatten() {
            if !self.dims.contains_key(&output) {
                self.declare(graph, output, false);
            }
        }
        if !node.domain.is_empty() {
            return;
        }
        if let (Some(output), Some((entries, scalar))) = (node.output(0), self.entries(node, known)) {
            let all: Option<Vec<i64>> =
                entries.iter().map(|entry| if let Entry::Known(n) = entry { Some(*n) } else { None }).collect();
            if let Some(all) = all.filter(|_| !known.contains_key(&output)) {
                let tensor = match all.as_slice() {
                    [one] if scalar => HostTensor::scalar(*one),
                    _ => HostTensor::vector(all),
                };
                known.insert(output, tensor.into());
            }
            self.dims.entry(output).or_insert_with(|| match scalar {
                true => Vec::new(),
                false => vec![Extent::Fixed(entries.len())],
            });
            self.vectors.insert(output, (entries, scalar));
        }
        for (slot, output) in node.outputs.iter().enumerate() {
            let Some(output) = *output else { continue };
            if let Some(tensor) = known.get(&output) {
                self.hold(output, tensor.dims());
            } else if let Some(inferred) = self.inferred(node, slot, known).filter(|dims| dims.len() <= LONGEST) {
                self.merge(output, inferred);
            }
        }
    }

    /// Declared and inferred extents together: whichever is told.
    fn merge(&mut self, value: ValueId, inferred: Vec<Extent>) {
        match self.dims.get_mut(&value) {
            Some(dims) if dims.len() == inferred.len() => {
                for (declared, inferred) in dims.iter_mut().zip(inferred) {
                    if *declared == Extent::Open {
                        *declared = inferred;
                    }
                }
            }
            Some(_) => {}
            None => {
                self.dims.insert(value, inferred);
            }
        }
    }

    /// Whether a value is a vector whose elements are followed.
    fn is_vector(&self, value: ValueId, known: &Known) -> bool {
        let stored = |tensor: &Held| tensor.dims().len() == 1 && tensor.len() <= LONGEST;
        match self.vectors.get(&value) {
            Some((_, scalar)) => !scalar,
            None => known.get(&value).is_some_and(stored),
        }
    }

    /// The vector of extents that a node makes, and whether it is a scalar.
    fn entries(&self, node: &Node, known: &Known) -> Option<(Vec<Entry>, bool)> {
        let first = node.input(0)?;
        let integers = |slot: usize| known.get(&node.input(slot)?)?.to_i64();
        let scalar = |value: ValueId| {
            self.vectors.get(&value).map_or_else(|| known.get(&value).is_some_and(|t| t.dims().is_empty()), |v| v.1)
        };
        let vector = |slot: usize| self.vector(node.input(slot)?, known);
        match node.op_type.as_str() {
            "Shape" => {
                let dims = self.dims(first)?;
                let rank = i64::try_from(dims.len()).ok()?;
                let bound = |name: &str, default: i64| {
                    let at = node.int(name, Some(default)).ok()?;
                    usize::try_from((if at < 0 { at + rank } else { at }).clamp(0, rank)).ok()
                };
                let (start, end) = (bound("start", 0)?, bound("end", rank)?);
                Some((dims.get(start..end.max(start))?.iter().map(|&extent| extent.into()).collect(), false))
            }
            "Size" => {
                let dims = self.dims(first)?;
                let total = dims.iter().try_fold(1usize, |n, dim| match dim {
                    Extent::Fixed(extent) => n.checked_mul(*extent),
                    _ => None,
                });
                Some((vec![Entry::Known(i64::try_from(total?).ok()?)], true))
            }
            "Gather" if self.is_vector(first, known) && node.int("axis", Some(0)).ok()? == 0 => {
                let entries = vector(0)?;
                let index = known.get(&node.input(1)?).filter(|index| index.dims().len() < 2)?;
                let at = |i: i64| {
                    let n = i64::try_from(entries.len()).ok()?;
                    entries.get(usize::try_from(if i < 0 { i + n } else { i }).ok()?).copied()
                };
                let picked: Option<Vec<Entry>> = index.to_i64()?.into_iter().map(at).collect();
                Some((picked?, index.dims().is_empty()))
            }
            "Slice" if self.is_vector(first, known) => {
                let entries = vector(0)?;
                let list = |slot: usize, name: &str| match node.attrs.get(name) {
                    Some(Attr::Ints(list)) => Some(list.clone()),
                    _ => integers(slot),
                };
                if node.input(4).is_some() && integers(4)? != [1] {
                    return None;
                }
                let n = i64::try_from(entries.len()).ok()?;
                let place = |i: i64| usize::try_from((if i < 0 { i.saturating_add(n) } else { i }).clamp(0, n)).ok();
                let (start, end) = (place(*list(1, "starts")?.first()?)?, place(*list(2, "ends")?.first()?)?);
                Some((entries.get(start..end.max(start))?.to_vec(), false))
            }
            "Concat" if node.inputs.iter().flatten().any(|value| self.vectors.contains_key(value)) => {
                let parts: Option<Vec<Vec<Entry>>> = (0..node.inputs.len()).map(vector).collect();
                Some((parts?.concat(), false))
            }
            "Unsqueeze" | "Squeeze" | "Reshape" | "Identity" | "Cast" if self.vectors.contains_key(&first) => {
                let entries = vector(0)?;
                let to_scalar = match node.op_type.as_str() {
                    "Squeeze" => entries.len() == 1,
                    "Unsqueeze" => false,
                    "Reshape" => known.get(&node.input(1)?)?.is_empty(),
                    _ => scalar(first),
                };
                if node.is("Cast") && !matches!(node.opt_int("to"), Ok(Some(7))) {
                    return None;
                }
                Some((entries, to_scalar))
            }
            "Range" => {
                let (start, limit, step) = (integers(0)?, integers(1)?, integers(2)?);
                let ([start], [limit], [step]) = (start.as_slice(), limit.as_slice(), step.as_slice()) else {
                    return None;
                };
                let up = usize::try_from(*step).ok().filter(|&step| step > 0)?;
                let entries: Vec<Entry> = (*start..*limit).step_by(up).take(LONGEST + 1).map(Entry::Known).collect();
                Some((entries, false)).filter(|(entries, _)| entries.len() <= LONGEST)
            }
            "ReduceProd" if self.vectors.contains_key(&first) => {
                let total = vector(0)?.into_iter().try_fold(1i64, |n, entry| match entry {
                    Entry::Known(x) => n.checked_mul(x),
                    _ => None,
                })?;
                Some((vec![Entry::Known(total)], node.int("keepdims", Some(1)).ok()? == 0))
            }
            "Add" | "Sub" | "Mul" | "Div" => {
                let (a, b) = (node.input(0)?, node.input(1)?);
                if !self.vectors.contains_key(&a) && !self.vectors.contains_key(&b) {
                    return None;
                }
                let (x, y) = (vector(0)?, vector(1)?);
                let n = x.len().max(y.len());
                if x.len() != n && x.len() != 1 || y.len() != n && y.len() != 1 {
                    return None;
                }
                let op = |x: i64, y: i64| match node.op_type.as_str() {
                    "Add" => x.checked_add(y),
                    "Sub" => x.checked_sub(y),
                    "Mul" => x.checked_mul(y),
                    _ => x.checked_div(y).filter(|_| x >= 0 && y > 0),
                };
                let pair = |(x, y): (&Entry, &Entry)| match (x, y) {
                    (Entry::Known(x), Entry::Known(y)) => op(*x, *y).map_or(Entry::Open, Entry::Known),
                    _ => Entry::Open,
                };
                let entries = x.iter().cycle().zip(y.iter().cycle()).take(n).map(pair).collect();
                Some((entries, scalar(a) && scalar(b)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::{Model, int};

    #[test]
    fn shapes_follow_from_what_is_declared() {
        let graph = Model::new(17, &["x:f32[batch,16]"], &["y:f32"])
            .node("Gemm", "x w", "h", &[])
            .node("Shape", "h", "s", &[])
            .node("Gather", "s one", "d", &[])
            .node("Equal", "d three", "c", &[])
            .node("Slice", "s zero one zero", "n", &[])
            .node("Concat", "n minus", "t", &[int("axis", 0)])
            .node("Reshape", "h t", "y", &[])
            .weight("w", &[16, 3])
            .longs("zero", &[0])
            .longs("one", &[1])
            .longs("three", &[3])
            .longs("minus", &[-1])
            .build()
            .unwrap();
        let mut known: Known = graph.initializers.iter().map(|(v, s)| (*v, s.tensor.clone())).collect();
        let shapes = Shapes::of(&graph, &mut known);
        assert_eq!(shapes.dims(graph.id("h")), Some(&[Extent::Rows, Extent::Fixed(3)][..]));
        assert_eq!(known.get(&graph.id("d")).and_then(|d| d.to_i64()), Some(vec![3]));
        assert!(!known.contains_key(&graph.id("n")), "the number of rows is open");
        assert_eq!(shapes.dims(graph.id("y")), Some(&[Extent::Rows, Extent::Fixed(3)][..]));
    }
}
