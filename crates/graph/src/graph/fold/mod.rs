//! Values that are known before anything runs, computed on the host.

mod moves;

use super::{Attr, Graph, Node, ValueId};
use crate::{
    each,
    error::{Error, Result},
    tensor::{DType, Element, Held, HostTensor},
};
use half::{bf16, f16};
pub use moves::slice_bounds;
use ndarray::{ArrayD, ArrayViewD, Axis, concatenate};
use std::{collections::BTreeMap, sync::Arc};

/// Results larger than this are not computed here: shapes and bounds are small, weights stay what they are.
const MAX_ELEMENTS: usize = 1 << 16;

/// Elements of all results together beyond which nothing more is computed.
const MAX_FOLDED: usize = 1 << 22;

/// Values with their tensors.
pub type Known = BTreeMap<ValueId, Held>;

/// The stored tensors, and what Identity, Cast, Unsqueeze, Squeeze, Reshape and Concat make of them; of integers and
/// booleans also what arithmetic, logic, Transpose, Slice, Gather, Where and ConstantOfShape do; of all types what
/// comparison does.
pub fn constants(graph: &Graph) -> Known {
    constants_given(graph, Known::new())
}

/// The same where some inputs are known.
pub(super) fn constants_given(graph: &Graph, known: Known) -> Known {
    folded(graph, known).0
}

/// The same, with the number of elements that were made.
pub(super) fn folded(graph: &Graph, known: Known) -> (Known, usize) {
    let (known, made, _) = folded_until(graph, known);
    (known, made)
}

/// The same, with the node at which it became too much.
fn folded_until(graph: &Graph, mut known: Known) -> (Known, usize, Option<&Node>) {
    known.extend(graph.initializers.iter().map(|(value, stored)| (*value, stored.tensor.clone())));
    let mut made = 0;
    for node in &graph.nodes {
        made += learn(node, &mut known);
        if made > MAX_FOLDED {
            return (known, made, Some(node));
        }
    }
    (known, made, None)
}

/// Fails if not everything could be folded that [`constants`] folds, so that nothing is decided differently for it.
///
/// # Errors
/// [`Error::TooLarge`] naming the node.
pub(super) fn require_small(graph: &Graph) -> Result<()> {
    let (_, _, Some(node)) = folded_until(graph, Known::new()) else { return Ok(()) };
    let problem = format!(
        "the results of nodes that need no input have more than {MAX_FOLDED} elements; let the exporter or onnxsim compute them"
    );
    Err(Error::TooLarge { pass: "folding constants", node: node.name.clone(), problem })
}

/// Adds the node's result, if its inputs are known; hands back how many elements were made or copied for it.
pub(super) fn learn(node: &Node, known: &mut Known) -> usize {
    let inputs: Option<Vec<Held>> = node.inputs.iter().map(|input| known.get(input.as_ref()?).cloned()).collect();
    let (true, Some(inputs), [Some(output)]) = (node.domain.is_empty(), inputs, node.outputs.as_slice()) else {
        return 0;
    };
    let Some(result) = evaluate(node, &inputs) else { return 0 };
    let made = match inputs.iter().any(|input| input.is(&result)) {
        true => 0,
        // One element may be picked from many.
        false => inputs.iter().map(|input| input.len()).sum::<usize>() / 4 + result.len() + result.dims().len(),
    };
    known.insert(*output, result);
    made
}

/// The node's result, if it is one of the operators above and its inputs make sense; mistakes are for the operator
/// itself to report.
fn evaluate(node: &Node, inputs: &[Held]) -> Option<Held> {
    let first = inputs.first()?;
    if node.op_type == "Identity" {
        return Some(first.clone());
    }
    if inputs.iter().map(|tensor| tensor.len()).sum::<usize>() > MAX_ELEMENTS {
        return None;
    }
    let inputs: &[Arc<HostTensor>] = &inputs.iter().map(Held::get).collect::<Vec<_>>();
    let first = inputs.first()?;
    let ints = |index: usize, attribute: &str| match (inputs.get(index), node.attrs.get(attribute)) {
        (Some(tensor), _) => tensor.to_i64(),
        (None, Some(Attr::Ints(list))) => Some(list.clone()),
        _ => None,
    };
    let result = match node.op_type.as_str() {
        "Cast" => {
            let to = node.int("to", None).ok()?;
            cast(first, DType::from_onnx(i32::try_from(to).ok()?)?)?
        }
        "Unsqueeze" => {
            let mut axes = normalized(&ints(1, "axes")?, first.dims().len() + ints(1, "axes")?.len())?;
            axes.sort_unstable();
            let mut dims = first.dims().to_vec();
            for axis in axes {
                if axis > dims.len() {
                    return None;
                }
                dims.insert(axis, 1);
            }
            HostTensor::clone(first).reshaped(&dims)?
        }
        "Squeeze" => {
            let dims = first.dims();
            let axes = match ints(1, "axes") {
                Some(axes) => normalized(&axes, dims.len())?,
                None => (0..dims.len()).filter(|&axis| dims.get(axis) == Some(&1)).collect(),
            };
            if axes.iter().any(|&axis| dims.get(axis) != Some(&1)) {
                return None;
            }
            let kept = dims.iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, &dim)| dim);
            HostTensor::clone(first).reshaped(&kept.collect::<Vec<_>>())?
        }
        "Reshape" => {
            let allow_zero = node.int("allowzero", Some(0)).is_ok_and(|flag| flag == 1);
            let dims = reshape_dims(first.dims(), &ints(1, "shape")?, allow_zero)?;
            HostTensor::clone(first).reshaped(&dims)?
        }
        "Concat" => {
            let axis = node.int("axis", None).ok()?;
            join(inputs, *normalized(&[axis], first.dims().len())?.first()?)?
        }
        "Not" => {
            let flags = Some(first).filter(|flags| flags.dtype() == DType::Bool)?.to_i64()?;
            HostTensor::new(first.dims(), flags.into_iter().map(|flag| flag == 0).collect())?
        }
        "Transpose" | "Slice" | "Gather" | "Where" | "ConstantOfShape" => moves::moved(node, inputs)?,
        op => match inputs {
            [a, b] => integers(op, a, b)?,
            // Max and Min of more, say.
            _ => return None,
        },
    };
    Some(result.into())
}

/// Arithmetic and logic of integers and booleans, and comparisons, where one operand has the shape of the result.
fn integers(op: &str, a: &HostTensor, b: &HostTensor) -> Option<HostTensor> {
    let fits = |t: &HostTensor, other: &HostTensor| t.len() == 1 && t.dims().len() <= other.dims().len();
    let dims = match (fits(a, b), fits(b, a)) {
        _ if a.dims() == b.dims() => a.dims(),
        (true, _) => b.dims(),
        (_, true) => a.dims(),
        _ => return None,
    };
    let count: usize = dims.iter().product();
    if let "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" = op {
        let compared = match (a.to_i64(), b.to_i64()) {
            (Some(x), Some(y)) => compare(op, &x, &y, count)?,
            _ => compare(op, &a.to_f64(), &b.to_f64(), count)?,
        };
        return HostTensor::new(dims, compared).filter(|_| a.dtype() == b.dtype());
    }
    let (x, y) = (a.to_i64()?, b.to_i64()?);
    let pairs = || x.iter().copied().cycle().zip(y.iter().copied().cycle()).take(count);
    let numbers = |f: fn(i64, i64) -> Option<i64>| {
        let numbers = pairs().map(|(x, y)| f(x, y)).collect::<Option<Vec<i64>>>()?;
        cast(&HostTensor::new(dims, numbers)?, a.dtype()).filter(|_| a.dtype() == b.dtype())
    };
    let flags = |f: fn(&i64, &i64) -> bool| HostTensor::new(dims, pairs().map(|(x, y)| f(&x, &y)).collect());
    match op {
        "Add" => numbers(i64::checked_add),
        "Sub" => numbers(i64::checked_sub),
        "Mul" => numbers(i64::checked_mul),
        "Div" => numbers(i64::checked_div),
        "Mod" => numbers(|x, y| x.checked_rem(y).filter(|_| x >= 0 && y > 0)),
        "Max" => numbers(|x, y| Some(x.max(y))),
        "Min" => numbers(|x, y| Some(x.min(y))),
        "And" => flags(|x, y| *x != 0 && *y != 0),
        "Or" => flags(|x, y| *x != 0 || *y != 0),
        "Xor" => flags(|x, y| (*x != 0) != (*y != 0)),
        _ => None,
    }
}

/// `count` comparisons; the shorter operand is repeated. As IEEE 754 has it, nothing compares with NaN.
fn compare<T: PartialOrd>(op: &str, x: &[T], y: &[T], count: usize) -> Option<Vec<bool>> {
    let test: fn(&T, &T) -> bool = match op {
        "Equal" => T::eq,
        "Less" => T::lt,
        "LessOrEqual" => T::le,
        "Greater" => T::gt,
        "GreaterOrEqual" => T::ge,
        _ => return None,
    };
    Some(x.iter().cycle().zip(y.iter().cycle()).take(count).map(|(x, y)| test(x, y)).collect())
}

fn normalized(axes: &[i64], rank: usize) -> Option<Vec<usize>> {
    let rank = i64::try_from(rank).ok()?;
    let axis = |&axis: &i64| {
        let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
        (0..rank).contains(&axis).then(|| usize::try_from(axis).ok()).flatten()
    };
    axes.iter().map(axis).collect()
}

fn reshape_dims(from: &[usize], to: &[i64], allow_zero: bool) -> Option<Vec<usize>> {
    let count: usize = from.iter().product();
    let mut dims = Vec::with_capacity(to.len());
    for (axis, &extent) in to.iter().enumerate() {
        dims.push(match extent {
            -1 => 1,
            0 if !allow_zero => *from.get(axis)?,
            extent => usize::try_from(extent).ok()?,
        });
    }
    if let Some(open) = to.iter().position(|&extent| extent == -1) {
        let others = dims.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim))?;
        *dims.get_mut(open)? = count.checked_div(others)?;
    }
    Some(dims)
}

fn join(inputs: &[Arc<HostTensor>], axis: usize) -> Option<HostTensor> {
    fn go<T: Element>(first: &ArrayD<T>, inputs: &[Arc<HostTensor>], axis: usize) -> Option<HostTensor> {
        let arrays: Option<Vec<ArrayViewD<'_, T>>> = inputs.iter().map(|t| T::array(t).map(|a| a.view())).collect();
        let arrays = arrays.filter(|_| axis < first.ndim())?;
        concatenate(Axis(axis), &arrays).ok().map(T::wrap)
    }
    each!(inputs.first()?.as_ref(), first => go(first, inputs, axis))
}

/// The elements in another type, as Cast has them; `None` where a number does not fit.
pub fn cast(tensor: &HostTensor, to: DType) -> Option<HostTensor> {
    macro_rules! from_floats {
        ($type:ty, $convert:expr) => {
            HostTensor::new::<$type>(tensor.dims(), tensor.to_f64().into_iter().map($convert).collect())
        };
    }
    macro_rules! from_integers {
        ($type:ty) => {
            match tensor.to_i64() {
                Some(integers) => {
                    HostTensor::new::<$type>(tensor.dims(), integers.into_iter().map(|i| i as $type).collect())
                }
                None => from_floats!($type, |x| x as $type),
            }
        };
    }
    match to {
        to if to == tensor.dtype() => Some(tensor.clone()),
        DType::F16 => from_floats!(f16, f16::from_f64),
        DType::BF16 => from_floats!(bf16, bf16::from_f64),
        DType::F32 => from_floats!(f32, |x| x as f32),
        DType::F64 => from_floats!(f64, |x| x),
        DType::Bool => from_floats!(bool, |x| x != 0.0),
        DType::I8 => from_integers!(i8),
        DType::I16 => from_integers!(i16),
        DType::I32 => from_integers!(i32),
        DType::I64 => from_integers!(i64),
        DType::U8 => from_integers!(u8),
        DType::U16 => from_integers!(u16),
        DType::U32 => from_integers!(u32),
        DType::U64 => from_integers!(u64),
    }
}

#[cfg(test)]
mod tests;
