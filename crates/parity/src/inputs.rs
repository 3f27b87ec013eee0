//! Seeded random inputs, made from what a graph says of its inputs.
//!
//! Floats are standard normal, booleans random. The valid range of an integer input is not written in the file: it is
//! the smallest extent of the tables that the input (passed through operators that keep its values) indexes, or of the
//! lists of numbers that it is compared with one by one, which is how exporters write a one-hot code; an input of neither
//! kind that is called a mask is all ones; positions count up from 0 as far as the tables go; others are 0 or 1.

use super::random::Random;
use crate::{
    batch::Targets,
    error::{Error, Result},
    graph::{
        Dim, Graph, MOST_ELEMENTS, TypeInfo, ValueId,
        facts::{self, Passes},
        fold,
        loss::{LossKind, LossPlan},
    },
    tensor::{DType, HostTensor},
};
use half::{bf16, f16};
use std::collections::{BTreeMap, BTreeSet};

/// Extent of an axis that the file leaves open and that no `--dim` names.
const OPEN: usize = 2;

/// Shape of `value` with its symbols replaced by `dims`, open extents by 2.
///
/// # Errors
/// [`Error::Usage`] if the file does not tell the value's rank, or if there were too many elements.
pub fn shape(graph: &Graph, value: ValueId, dims: &BTreeMap<String, usize>) -> Result<Vec<usize>> {
    let info = graph.values.get(value.0);
    let name = info.map(|v| v.name.as_str()).unwrap_or_default();
    let declared = info.and_then(|v| v.ty.as_ref()).and_then(|t| t.dims.as_ref());
    let declared = declared.ok_or_else(|| {
        Error::Usage(format!("the file does not give the shape of input {name}; random inputs need one: use --data"))
    })?;
    let extent = |dim: &Dim| match dim {
        Dim::Fixed(n) => *n,
        Dim::Symbol(symbol) => dims.get(symbol).copied().unwrap_or(OPEN),
        Dim::Unknown => OPEN,
    };
    let shape: Vec<usize> = declared.iter().map(extent).collect();
    match shape.iter().try_fold(1usize, |all, &n| all.checked_mul(n)).filter(|&n| n <= MOST_ELEMENTS) {
        Some(_) => Ok(shape),
        None => Err(Error::Usage(format!("input {name} would have shape {shape:?}; give smaller --dim"))),
    }
}

/// Fails if `dims` names a symbol that no input has.
///
/// # Errors
/// [`Error::Usage`] naming it and the symbols that there are.
pub fn require_known(graph: &Graph, dims: &BTreeMap<String, usize>) -> Result<()> {
    let mut symbols = BTreeSet::new();
    for input in &graph.inputs {
        let declared = graph.values.get(input.0).and_then(|v| v.ty.as_ref()).and_then(|t| t.dims.as_ref());
        for dim in declared.into_iter().flatten() {
            if let Dim::Symbol(symbol) = dim {
                symbols.insert(symbol.as_str());
            }
        }
    }
    match dims.keys().find(|name| !symbols.contains(name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let known: Vec<_> = symbols.into_iter().collect();
            Err(Error::Usage(format!("no input has a dimension called {name}; there are: {}", known.join(", "))))
        }
    }
}

/// One random tensor for each input of `graph` but `except`. The same seed and `batch` give the same values.
///
/// # Errors
/// [`Error::Usage`] if an input's shape or element type is not known.
pub fn random(
    graph: &Graph,
    except: Option<ValueId>,
    dims: &BTreeMap<String, usize>,
    seed: u64,
    batch: u64,
) -> Result<BTreeMap<String, HostTensor>> {
    let mut inputs = BTreeMap::new();
    for (at, &input) in graph.inputs.iter().enumerate() {
        if Some(input) == except {
            continue;
        }
        let Some(info) = graph.values.get(input.0) else { continue };
        let dtype = info.ty.as_ref().and_then(|t: &TypeInfo| t.dtype).ok_or_else(|| {
            Error::Usage(format!("input {} has an element type that cannot be made up: use --data", info.name))
        })?;
        let dims = shape(graph, input, dims)?;
        let mut random = Random::new(seed, (batch << 16) | at as u64);
        let called = |word: &str| !dtype.is_float() && info.name.to_lowercase().contains(word);
        let range = table_extent(graph, input);
        let tensor = match called("position_id") {
            true => positions(dtype, &dims, range),
            false => tensor(dtype, &dims, &mut random, range, called("mask")),
        };
        inputs.insert(info.name.clone(), tensor.ok_or_else(|| Error::Internal("shape and values differ".into()))?);
    }
    Ok(inputs)
}

/// 0, 1, 2 and so on along the last axis, or up to the last row of the table that they index and then from 0 again.
fn positions(dtype: DType, dims: &[usize], range: Option<usize>) -> Option<HostTensor> {
    let steps = dims.last().copied().unwrap_or(1).clamp(1, range.unwrap_or(usize::MAX).max(1));
    let last = dims.last().copied().unwrap_or(1).max(1);
    let list = (0..dims.iter().product::<usize>()).map(|at| (at % last % steps) as f64).collect();
    fold::cast(&HostTensor::new(dims, list)?, dtype)
}

fn tensor(dtype: DType, dims: &[usize], random: &mut Random, range: Option<usize>, ones: bool) -> Option<HostTensor> {
    let n: usize = dims.iter().product();
    macro_rules! normal {
        ($convert:expr) => {
            HostTensor::new(dims, (0..n).map(|_| $convert(random.normal())).collect())
        };
    }
    macro_rules! integers {
        ($ty:ty) => {{
            let mut one = || match (range, ones) {
                (Some(range), _) => random.below(range.min(<$ty>::MAX as usize)) as $ty,
                (None, true) => 1,
                (None, false) => random.below(2) as $ty,
            };
            HostTensor::new(dims, (0..n).map(|_| one()).collect::<Vec<$ty>>())
        }};
    }
    match dtype {
        DType::F32 => normal!(|x| x as f32),
        DType::F64 => normal!(|x| x),
        DType::F16 => normal!(f16::from_f64),
        DType::BF16 => normal!(bf16::from_f64),
        DType::I8 => integers!(i8),
        DType::I16 => integers!(i16),
        DType::I32 => integers!(i32),
        DType::I64 => integers!(i64),
        DType::U8 => integers!(u8),
        DType::U16 => integers!(u16),
        DType::U32 => integers!(u32),
        DType::U64 => integers!(u64),
        DType::Bool if ones => HostTensor::new(dims, vec![true; n]),
        DType::Bool => HostTensor::new(dims, (0..n).map(|_| random.below(2) == 1).collect()),
    }
}

/// Random labels for scores of shape `dims` (rows, then classes or values, then positions; axes of extent 1 apart; or with classes along the
/// plan's axis).
///
/// # Errors
/// [`Error::Untrainable`] if there is no row axis.
pub fn labels(plan: &LossPlan, dims: &[usize], seed: u64, batch: u64) -> Result<Targets> {
    let mut random = Random::new(seed, (batch << 16) | 0xffff);
    let (Some(&rows), width) = (dims.first(), dims.iter().skip(1).product::<usize>()) else {
        return Err(Error::Untrainable("the model's scores are a single number: there are no rows".into()));
    };
    let mut values = |width: usize, mut one: Box<dyn FnMut(&mut Random) -> f64>| Targets::Values {
        width,
        values: (0..rows * width).map(|_| one(&mut random) as f32).collect(),
    };
    Ok(match plan.kind {
        LossKind::Mse => values(width, Box::new(Random::normal)),
        LossKind::LossGraph => Targets::Inputs(rows),
        LossKind::CrossEntropy if plan.class_axis.is_some() => {
            let classes = plan.class_axis.and_then(|axis| dims.get(axis).copied()).unwrap_or(1).max(1);
            let positions = width / classes;
            Targets::Positions {
                ends: (0..=rows).map(|row| row * positions).collect(),
                classes: (0..rows * positions).map(|_| random.below(classes) as i64).collect(),
            }
        }
        LossKind::CrossEntropy | LossKind::Graph if width > 1 => {
            let classes = dims.iter().skip(1).copied().find(|&d| d != 1).unwrap_or(1);
            match values(width / classes, Box::new(move |r| r.below(classes) as f64)) {
                Targets::Values { width: 1, values } => Targets::Classes(values.iter().map(|&v| v as i64).collect()),
                positions => positions,
            }
        }
        LossKind::Graph => Targets::Classes(vec![0; rows]),
        _ if width == 1 => Targets::Classes((0..rows).map(|_| random.below(2) as i64).collect()),
        _ => values(width, Box::new(|r| r.below(2) as f64)),
    })
}

/// The smallest extent of a table that elements of `input` index.
fn table_extent(graph: &Graph, input: ValueId) -> Option<usize> {
    let mut carries = BTreeSet::from([input]);
    let mut smallest: Option<usize> = None;
    for node in &graph.nodes {
        let at = |n: usize| node.inputs.get(n).copied().flatten();
        let is = |n: usize| at(n).is_some_and(|v| carries.contains(&v));
        let extent = match node.op_type.as_str() {
            "Gather" | "GatherElements" if is(1) => {
                at(0).and_then(|table| extent(graph, table, node.int("axis", Some(0)).unwrap_or(0)))
            }
            "OneHot" if is(0) => at(1).and_then(|depth| scalar(graph, depth)),
            "Equal" if is(0) => at(1).and_then(|list| numbered(graph, list)),
            "Equal" if is(1) => at(0).and_then(|list| numbered(graph, list)),
            _ => None,
        };
        smallest = match (smallest, extent) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let carried = match facts::passes(node) {
            Passes::Join => (0..node.inputs.len()).any(is),
            passes => passes.keeps_values() && is(0),
        };
        if carried {
            carries.extend(node.outputs.iter().flatten());
        }
    }
    smallest.filter(|&n| n > 0)
}

/// Extent of `value` along `axis`, if the file tells it.
fn extent(graph: &Graph, value: ValueId, axis: i64) -> Option<usize> {
    let of = |rank: usize| usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok();
    if let Some(initializer) = graph.initializers.get(&value) {
        let dims = initializer.tensor.dims();
        return dims.get(of(dims.len())?).copied();
    }
    let declared = graph.values.get(value.0)?.ty.as_ref()?.dims.as_ref()?;
    match declared.get(of(declared.len())?)? {
        Dim::Fixed(n) => Some(*n),
        _ => None,
    }
}

/// How many numbers a stored list holds, if they are 0, 1, 2 and so on, two at least.
fn numbered(graph: &Graph, value: ValueId) -> Option<usize> {
    let list = graph.initializers.get(&value)?.tensor.get();
    (list.len() > 1 && list.f64s().enumerate().all(|(at, x)| x == at as f64)).then_some(list.len())
}

fn scalar(graph: &Graph, value: ValueId) -> Option<usize> {
    let first = graph.initializers.get(&value)?.tensor.f64_at(0)?;
    (first >= 1.0).then_some(first as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Initializer, Node, ValueInfo};

    /// tokens (batch, 3) i64 → Cast → Gather(table of 7) ; mask i64; flags bool; x (batch, 4) f32; types i32 → Gather(2).
    fn graph() -> Graph {
        let mut g = Graph::default();
        let mut value = |name: &str, dtype: Option<DType>, dims: Vec<Dim>| {
            let ty = dtype.map(|d| TypeInfo { dtype: Some(d), dims: Some(dims) });
            g.values.push(ValueInfo { name: name.into(), ty, ..Default::default() });
            ValueId(g.values.len() - 1)
        };
        let batch = || Dim::Symbol("batch".into());
        let tokens = value("tokens", Some(DType::I64), vec![batch(), Dim::Fixed(3)]);
        let mask = value("attention_mask", Some(DType::I64), vec![batch(), Dim::Fixed(3)]);
        let flags = value("flags", Some(DType::Bool), vec![Dim::Unknown]);
        let x = value("x", Some(DType::F32), vec![batch(), Dim::Fixed(4)]);
        let types = value("types", Some(DType::I32), vec![batch(), Dim::Fixed(3)]);
        let (cast, table, two) =
            (value("cast", None, vec![]), value("table", None, vec![]), value("two", None, vec![]));
        let out = value("out", None, vec![]);
        let node = |op: &str, inputs: Vec<ValueId>, out: ValueId| Node {
            name: op.into(),
            domain: String::new(),
            op_type: op.into(),
            opset: 17,
            inputs: inputs.into_iter().map(Some).collect(),
            outputs: vec![Some(out)],
            attrs: BTreeMap::new(),
        };
        let tensor = |rows: usize| Initializer {
            tensor: HostTensor::new(&[rows, 2], vec![0f32; rows * 2]).unwrap().into(),
            stored_as: None,
        };
        g.initializers = BTreeMap::from([(table, tensor(7)), (two, tensor(2))]);
        g.nodes = vec![
            node("Cast", vec![tokens], cast),
            node("Gather", vec![table, cast], out),
            node("Gather", vec![two, types], out),
        ];
        g.inputs = vec![tokens, mask, flags, x, types];
        g
    }

    #[test]
    fn integers_stay_inside_the_tables_that_they_index() {
        let g = graph();
        let dims = BTreeMap::from([("batch".to_string(), 50)]);
        let made = random(&g, None, &dims, 3, 0).unwrap();
        let ints = |name: &str| made[name].to_i64().unwrap();
        assert_eq!(made["tokens"].dims(), [50, 3]);
        assert!(ints("tokens").iter().all(|t| (0..7).contains(t)) && ints("tokens").contains(&6));
        assert!(ints("types").iter().all(|t| (0..2).contains(t)) && ints("types").contains(&1));
        assert!(ints("attention_mask").iter().all(|&m| m == 1));
        assert_eq!(made["flags"].dims(), [2]);
        assert!(made["x"].to_f64().iter().any(|x| *x < -1.0));
        assert_eq!(made, random(&g, None, &dims, 3, 0).unwrap());
        assert_ne!(made["x"], random(&g, None, &dims, 3, 1).unwrap()["x"]);
        assert_ne!(made["x"], random(&g, None, &dims, 4, 0).unwrap()["x"]);
        assert!(!random(&g, Some(g.inputs[3]), &dims, 3, 0).unwrap().contains_key("x"));
    }

    #[test]
    fn a_one_hot_code_that_is_written_out_tells_the_range() {
        use crate::graph::testing::{Model, longs};
        let net = |list: &[i64]| {
            let mut net = Model::new(17, &["ids:i64[n,1]"], &["y:bool[n,5]"]).node("Equal", "ids list", "y", &[]);
            net.graph().initializer.push(longs("list", &[1, list.len() as i64], list));
            let graph = net.build().unwrap();
            table_extent(&graph, graph.inputs[0])
        };
        assert_eq!(net(&[0, 1, 2, 3, 4]), Some(5));
        assert_eq!(net(&[3, 1, 2]), None);
        assert_eq!(net(&[0]), None);
    }

    #[test]
    fn open_extents_are_two_and_unknown_names_are_refused() {
        let g = graph();
        assert_eq!(shape(&g, g.inputs[0], &BTreeMap::new()).unwrap(), [2, 3]);
        let wrong = BTreeMap::from([("btch".to_string(), 4)]);
        let error = require_known(&g, &wrong).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("batch"));
        assert!(require_known(&g, &BTreeMap::from([("batch".to_string(), 4)])).is_ok());
    }
}
