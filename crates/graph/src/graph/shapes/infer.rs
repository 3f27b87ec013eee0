//! The shape of what a node makes, from the shapes of what it takes.

use super::{Entry, Extent, Shapes};
use crate::graph::{Attr, Node, fold::Known};

/// The elementwise operators of one input that keep its shape, and others that do.
const KEEP: &[&str] = &[
    "Abs",
    "BatchNormalization",
    "Binarizer",
    "Cast",
    "Ceil",
    "Clip",
    "CumSum",
    "Dropout",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "Imputer",
    "InstanceNormalization",
    "IsInf",
    "IsNaN",
    "LayerNormalization",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "Mish",
    "Neg",
    "Normalizer",
    "Not",
    "Reciprocal",
    "Relu",
    "Round",
    "Scaler",
    "Selu",
    "Sigmoid",
    "Sign",
    "Softmax",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Tanh",
    "Trilu",
];

/// Those of several inputs that broadcast.
const BROADCAST: &[&str] = &[
    "Add",
    "And",
    "Div",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Mean",
    "Min",
    "Mod",
    "Mul",
    "Or",
    "Pow",
    "PRelu",
    "Sub",
    "Sum",
    "Where",
];

impl Shapes {
    /// The shape of output `slot` of a node.
    pub(super) fn inferred(&self, node: &Node, slot: usize, known: &Known) -> Option<Vec<Extent>> {
        let op = node.op_type.as_str();
        let dims = |slot: usize| self.dims(node.input(slot)?).map(<[Extent]>::to_vec);
        let ints = |slot: usize, name: &str| match (node.input(slot), node.attrs.get(name)) {
            (Some(value), _) => known.get(&value)?.to_i64(),
            (None, Some(Attr::Ints(list))) => Some(list.clone()),
            _ => None,
        };
        if KEEP.contains(&op) {
            return dims(0).filter(|_| slot == 0);
        }
        if BROADCAST.contains(&op) {
            return (0..node.inputs.len()).map(dims).try_fold(Vec::new(), |all, one| broadcast(&all, &one?));
        }
        match op {
            "Gemm" => {
                let flag = |name: &str| matches!(node.opt_int(name), Ok(Some(1)));
                let rows = dims(0).and_then(|a| a.get(usize::from(flag("transA"))).copied()).unwrap_or(Extent::Open);
                let columns = dims(1)?.get(usize::from(!flag("transB"))).copied()?;
                Some(vec![rows, columns])
            }
            "MatMul" => {
                let (a, b) = (dims(0)?, dims(1)?);
                let (outer, [_, columns]) = (a.split_last()?.1, b.get(b.len().checked_sub(2)?..)?) else { return None };
                let batch = b.get(..b.len() - 2)?;
                let mut out = match (a.len() >= 2, batch) {
                    (_, []) => outer.to_vec(),
                    (true, batch) => {
                        let (rows, before) = outer.split_last()?;
                        let mut all = broadcast(before, batch)?;
                        all.push(*rows);
                        all
                    }
                    _ => return None,
                };
                out.push(*columns);
                Some(out)
            }
            "Transpose" => {
                let from = dims(0)?;
                match node.opt_ints("perm").ok()? {
                    Some(order) => order.iter().map(|&axis| from.get(usize::try_from(axis).ok()?).copied()).collect(),
                    None => Some(from.into_iter().rev().collect()),
                }
            }
            "Unsqueeze" => {
                let (mut out, mut axes) = (dims(0)?, ints(1, "axes")?);
                let rank = i64::try_from(out.len() + axes.len()).ok()?;
                axes.iter_mut().filter(|axis| **axis < 0).for_each(|axis| *axis += rank);
                axes.sort_unstable();
                for axis in axes {
                    let at = usize::try_from(axis).ok().filter(|&at| at <= out.len())?;
                    out.insert(at, Extent::Fixed(1));
                }
                Some(out)
            }
            "Squeeze" => {
                let from = dims(0)?;
                let rank = i64::try_from(from.len()).ok()?;
                let axes: Vec<i64> = match ints(1, "axes") {
                    Some(axes) => axes.into_iter().map(|axis| if axis < 0 { axis + rank } else { axis }).collect(),
                    None if from.iter().all(|extent| matches!(extent, Extent::Fixed(_))) => (0..rank)
                        .filter(|&axis| {
                            usize::try_from(axis).ok().and_then(|at| from.get(at)) == Some(&Extent::Fixed(1))
                        })
                        .collect(),
                    None => return None,
                };
                let kept = from.iter().zip(0..).filter(|(_, axis)| !axes.contains(axis)).map(|(extent, _)| *extent);
                Some(kept.collect())
            }
            "Flatten" if matches!(node.int("axis", Some(1)), Ok(1)) => {
                let from = dims(0)?;
                let (first, rest) = from.split_first()?;
                Some(vec![*first, product(rest)])
            }
            "Reshape" => self.reshaped(&dims(0), &self.vector(node.input(1)?, known)?),
            "Concat" => {
                let parts: Vec<Vec<Extent>> = (0..node.inputs.len()).map(dims).collect::<Option<_>>()?;
                let mut out = parts.first()?.clone();
                let axis = place(node.int("axis", None).ok()?, out.len())?;
                let total = parts.iter().map(|part| part.get(axis).copied()).try_fold(0, |n, extent| match extent {
                    Some(Extent::Fixed(extent)) => usize::checked_add(n, extent),
                    _ => None,
                });
                *out.get_mut(axis)? = total.map_or(Extent::Open, Extent::Fixed);
                Some(out)
            }
            "Gather" => {
                let (mut out, index) = (dims(0)?, dims(1)?);
                let axis = place(node.int("axis", Some(0)).ok()?, out.len())?;
                out.splice(axis..=axis, index);
                Some(out)
            }
            "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => {
                let mut out = dims(0)?;
                out.iter_mut().skip(2).for_each(|extent| *extent = Extent::Fixed(1));
                Some(out)
            }
            op if op.starts_with("Reduce") || op == "ArgMax" || op == "ArgMin" => {
                let mut out: Vec<Option<Extent>> = dims(0)?.into_iter().map(Some).collect();
                let axes = match op.starts_with("Arg") {
                    true => vec![node.int("axis", Some(0)).ok()?],
                    false => {
                        let given = node.input(1).is_some() || node.attrs.contains_key("axes");
                        let axes = if given { ints(1, "axes")? } else { Vec::new() };
                        let none = matches!(node.opt_int("noop_with_empty_axes"), Ok(Some(1)));
                        // Without axes all of them, or none.
                        let all = if axes.is_empty() && !none { out.len() } else { 0 };
                        axes.into_iter().chain((0..).take(all)).collect()
                    }
                };
                let keep = node.int("keepdims", Some(1)).ok()? != 0;
                for axis in axes {
                    let at = place(axis, out.len())?;
                    *out.get_mut(at)? = keep.then_some(Extent::Fixed(1));
                }
                Some(out.into_iter().flatten().collect())
            }
            "ConstantOfShape" | "Expand" => {
                let shape = self.vector(node.input(usize::from(op == "Expand"))?, known)?;
                let out: Vec<Extent> = shape.iter().map(|&entry| extent(entry)).collect();
                if op == "Expand" { broadcast(&dims(0)?, &out) } else { Some(out) }
            }
            _ => self.placed(node, slot, known),
        }
    }

    fn reshaped(&self, from: &Option<Vec<Extent>>, shape: &[Entry]) -> Option<Vec<Extent>> {
        let mut out: Vec<Extent> = Vec::with_capacity(shape.len());
        for (axis, entry) in shape.iter().enumerate() {
            out.push(match entry {
                Entry::Known(0) => from.as_ref().and_then(|from| from.get(axis).copied()).unwrap_or(Extent::Open),
                Entry::Known(-1) => Extent::Open,
                entry => extent(*entry),
            });
        }
        let open = shape.iter().position(|entry| *entry == Entry::Known(-1));
        if let (Some(open), Some(from)) = (open, from) {
            // The rows cancel where both sides have them once.
            let rows = |dims: &[Extent]| dims.iter().filter(|extent| **extent == Extent::Rows).count();
            let fixed = |dims: &[Extent]| {
                dims.iter().try_fold(1usize, |n, extent| match extent {
                    Extent::Fixed(extent) => n.checked_mul(*extent),
                    Extent::Rows => Some(n),
                    Extent::Open => None,
                })
            };
            let others: Vec<Extent> =
                out.iter().enumerate().filter(|(axis, _)| *axis != open).map(|(_, extent)| *extent).collect();
            let (total, rest) = (fixed(from), fixed(&others));
            let left = total.zip(rest).filter(|(_, rest)| *rest > 0).map(|(total, rest)| (total / rest, total % rest));
            let slot = out.get_mut(open)?;
            *slot = match (left, rows(from), rows(&others)) {
                (Some((n, 0)), a, b) if a == b => Extent::Fixed(n),
                (Some((1, 0)), 1, 0) => Extent::Rows,
                _ => Extent::Open,
            };
        }
        Some(out)
    }
}

fn extent(entry: Entry) -> Extent {
    match entry {
        Entry::Known(n) => usize::try_from(n).map_or(Extent::Open, Extent::Fixed),
        Entry::Rows => Extent::Rows,
        Entry::Open => Extent::Open,
    }
}

pub(super) fn place(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis.checked_add(i64::try_from(rank).ok()?)? } else { axis };
    usize::try_from(axis).ok().filter(|&axis| axis < rank)
}

fn product(dims: &[Extent]) -> Extent {
    let total = dims.iter().try_fold(1usize, |n, extent| match extent {
        Extent::Fixed(extent) => n.checked_mul(*extent),
        _ => None,
    });
    total.map_or(Extent::Open, Extent::Fixed)
}

fn broadcast(a: &[Extent], b: &[Extent]) -> Option<Vec<Extent>> {
    let rank = a.len().max(b.len());
    let at = |dims: &[Extent], axis: usize| {
        (axis + dims.len()).checked_sub(rank).and_then(|at| dims.get(at).copied()).unwrap_or(Extent::Fixed(1))
    };
    let one = |axis: usize| match (at(a, axis), at(b, axis)) {
        (Extent::Fixed(1), other) | (other, Extent::Fixed(1)) => other,
        (Extent::Fixed(n), _) | (_, Extent::Fixed(n)) => Extent::Fixed(n),
        (x, y) if x == y => x,
        _ => Extent::Open,
    };
    Some((0..rank).map(one).collect())
}
