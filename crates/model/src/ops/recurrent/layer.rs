//! What LSTM, GRU and RNN share: directions, layout, padded sequences, and the run over the steps.
//!
//! The input's part of all gates of all steps is one matrix product. A row whose sequence has ended keeps its states and
//! puts out zeros; in reverse a row starts at its own end. The final states of a row without any step are zeros, as in
//! onnxruntime.

use super::activation::{self, Activation};
use crate::{
    engine::{Context, Float, Tensor, Value},
    error::Result,
    kernels::{Backend, Unary},
    ops::{
        Built, Inputs, NodeContext,
        common::{add, mul, scalar},
        host, many, problem,
    },
};
use ndarray::ArrayD;

/// What is particular to one of the operators.
pub trait Cell: Send + Sync + 'static {
    /// Gates: the weights have as many times `hidden_size` rows.
    const GATES: usize;
    /// Activations of a direction where the node names none.
    const ACTIVATIONS: &'static [Unary];
    /// The inputs that hold initial states, h first.
    const INITIAL: &'static [usize];

    /// The gates by whose recurrent weights [`Unit::product`] multiplies at once.
    fn factors(&self) -> &'static [usize];

    /// Whether [`Unit::product`] is to add the recurrent bias; else it is in the gates that the step is given.
    fn bias_in_product(&self) -> bool {
        false
    }

    /// The states after a step, from the states before and `gates`, the input's part of them: (batch, gates·hidden).
    fn step<E: Float, D: Backend<E>>(
        &self,
        cx: &mut Context<E, D>,
        unit: &Unit<'_, E, D>,
        gates: &Tensor<E, D>,
        states: &[Tensor<E, D>],
    ) -> Result<Vec<Tensor<E, D>>>;

    /// All steps by one kernel, if there is one for what `unit` asks: h of every step, (steps·batch, hidden), and the
    /// final states.
    fn at_once<E: Float, D: Backend<E>>(
        &self,
        _cx: &mut Context<E, D>,
        _unit: &Unit<'_, E, D>,
        _gates: &Tensor<E, D>,
        _states: &[Tensor<E, D>],
    ) -> Result<Option<(Tensor<E, D>, Vec<Tensor<E, D>>)>> {
        Ok(None)
    }
}

/// The tensors of one direction.
pub struct Unit<'a, E: Float, D: Backend<E>> {
    recurrent: Vec<Tensor<E, D>>,
    bias: Option<Tensor<E, D>>,
    peepholes: Option<Tensor<E, D>>,
    activations: &'a [Activation],
    clip: f64,
    hidden: usize,
}

impl<E: Float, D: Backend<E>> Unit<'_, E, D> {
    /// `n` gates from the `i`th on.
    pub fn gates(&self, cx: &mut Context<E, D>, x: &Tensor<E, D>, i: usize, n: usize) -> Result<Tensor<E, D>> {
        let rows = x.dims().first().copied().unwrap_or(1);
        D::slice(cx, x, &[0, i * self.hidden], &[1, 1], &[rows, n * self.hidden])
    }

    /// The recurrent weights, if nothing else is asked for than these and `activations`.
    pub fn plain(&self, activations: &[Unary]) -> Option<&Tensor<E, D>> {
        let default = self.activations.iter().copied().eq(activations.iter().map(|&op| Activation::Kernel(op)));
        match self.recurrent.as_slice() {
            [weights] if default && self.clip.is_infinite() && self.peepholes.is_none() => Some(weights),
            _ => None,
        }
    }

    /// h·R'ᵀ with the `i`th of the cell's factors of the recurrent weights.
    pub fn product(&self, cx: &mut Context<E, D>, i: usize, h: &Tensor<E, D>) -> Result<Tensor<E, D>> {
        let weights = self.recurrent.get(i).ok_or_else(|| problem("the cell has no such recurrent weights"))?;
        let y = D::matmul(cx, h, weights, false, true)?;
        self.bias.as_ref().map_or(Ok(y.clone()), |bias| add(cx, &y, bias))
    }

    /// x + pᵢ·c, with the `i`th peephole, if there are any.
    pub fn peep(&self, cx: &mut Context<E, D>, i: usize, x: Tensor<E, D>, c: &Tensor<E, D>) -> Result<Tensor<E, D>> {
        let Some(peepholes) = &self.peepholes else { return Ok(x) };
        let weight = self.gates(cx, peepholes, i, 1)?;
        let seen = mul(cx, c, &weight)?;
        add(cx, &x, &seen)
    }

    /// The `i`th activation of `x`.
    pub fn activate(&self, cx: &mut Context<E, D>, i: usize, x: &Tensor<E, D>) -> Result<Tensor<E, D>> {
        let activation = self.activations.get(i).ok_or_else(|| problem("the cell has no such activation"))?;
        activation.apply(cx, x)
    }

    /// The same of a gate, which is clipped first.
    pub fn open(&self, cx: &mut Context<E, D>, i: usize, gate: &Tensor<E, D>) -> Result<Tensor<E, D>> {
        if self.clip.is_infinite() {
            return self.activate(cx, i, gate);
        }
        let clipped = D::unary(cx, Unary::Clip { min: -self.clip, max: self.clip }, gate)?;
        self.activate(cx, i, &clipped)
    }
}

struct Layer<C> {
    cell: C,
    /// Of each direction: whether it runs backwards.
    backwards: &'static [bool],
    activations: Vec<Activation>,
    clip: f64,
    hidden: Option<usize>,
    batch_first: bool,
}

/// Extents of a call.
#[derive(Clone, Copy)]
struct Extents {
    steps: usize,
    batch: usize,
    width: usize,
    hidden: usize,
}

/// Builds the layer around `cell`.
pub fn build<E: Float, D: Backend<E>, C: Cell>(node: &NodeContext<'_>, cell: C) -> Built<E, D> {
    let backwards: &[bool] = match node.string("direction", "forward")? {
        "forward" => &[false],
        "reverse" => &[true],
        "bidirectional" => &[false, true],
        other => return Err(problem(format!("direction {other:?} is not known"))),
    };
    let clip = node.float("clip", f32::INFINITY)?;
    if clip.is_nan() || clip <= 0.0 {
        return Err(problem(format!("clip is {clip}, not above 0")));
    }
    let hidden = node.int("hidden_size")?.map(|n| usize::try_from(n).map_err(|_| problem("hidden_size is negative")));
    let layer = Layer {
        cell,
        backwards,
        activations: activation::read(node, C::ACTIVATIONS, backwards.len())?,
        clip,
        hidden: hidden.transpose()?,
        batch_first: node.opset() >= 14 && node.flag("layout", false)?,
    };
    many(move |cx, inputs| layer.run(cx, inputs))
}

/// An optional input, of the shape that it must have.
fn fitting<'a, E: Float, D: Backend<E>>(
    inputs: &Inputs<'a, E, D>,
    i: usize,
    dims: &[usize],
) -> Result<Option<&'a Tensor<E, D>>> {
    let tensor = inputs.opt_float(i)?;
    match tensor.filter(|t| t.dims() != dims) {
        Some(t) => Err(problem(format!("input {i} has shape {:?}, not {dims:?}", t.dims()))),
        None => Ok(tensor),
    }
}

/// Element `i` of the first axis, which vanishes.
fn element<E: Float, D: Backend<E>>(cx: &mut Context<E, D>, x: &Tensor<E, D>, i: usize) -> Result<Tensor<E, D>> {
    let (&n, inner) = x.dims().split_first().ok_or_else(|| problem("a scalar has no axis"))?;
    if n == 1 {
        return x.reshaped(inner.to_vec());
    }
    let starts: Vec<usize> = std::iter::once(i).chain(inner.iter().map(|_| 0)).collect();
    D::slice(cx, x, &starts, &vec![1; x.rank()], &[&[1], inner].concat())?.reshaped(inner.to_vec())
}

/// Lengths of the rows' sequences, none if all run to the end.
fn lengths(given: Option<Vec<i64>>, steps: usize, batch: usize) -> Result<Option<Vec<usize>>> {
    let Some(given) = given else { return Ok(None) };
    let lengths: Option<Vec<usize>> = given.iter().map(|&n| usize::try_from(n).ok().filter(|&n| n <= steps)).collect();
    let lengths = lengths.filter(|l| l.len() == batch);
    let lengths = lengths.ok_or_else(|| problem(format!("sequence_lens do not fit {batch} rows of {steps} steps")))?;
    Ok(lengths.iter().any(|&n| n < steps).then_some(lengths))
}

/// Where each step of each row, (steps·batch), is found if each row is read from its own end. It is its own inverse.
fn reversal(lengths: Option<&[usize]>, steps: usize, batch: usize) -> Vec<usize> {
    let length = |row: usize| lengths.and_then(|l| l.get(row).copied()).unwrap_or(steps);
    let from = |t: usize, row: usize| if t < length(row) { length(row) - 1 - t } else { t };
    (0..steps).flat_map(|t| (0..batch).map(move |row| from(t, row) * batch + row)).collect()
}

/// Which rows are longer than `t`, (batch, 1); none if all are.
fn running(lengths: Option<&[usize]>, t: usize) -> Result<Option<ArrayD<bool>>> {
    let Some(lengths) = lengths.filter(|l| l.iter().any(|&n| n <= t)) else { return Ok(None) };
    host::array(&[lengths.len(), 1], lengths.iter().map(|&n| n > t).collect()).map(Some)
}

impl<C: Cell> Layer<C> {
    fn run<E: Float, D: Backend<E>>(
        &self,
        cx: &mut Context<E, D>,
        inputs: &Inputs<'_, E, D>,
    ) -> Result<Vec<Value<E, D>>> {
        let (x, recurrent) = (inputs.float(0)?, inputs.float(2)?);
        let misfit = || problem(format!("X and R have shapes {:?} and {:?}", x.dims(), recurrent.dims()));
        let (&[first, second, width], &[_, _, hidden]) = (x.dims(), recurrent.dims()) else { return Err(misfit()) };
        let (steps, batch) = if self.batch_first { (second, first) } else { (first, second) };
        if [steps, batch, width, hidden].contains(&0) || self.hidden.is_some_and(|h| h != hidden) {
            return Err(misfit());
        }
        let extents = Extents { steps, batch, width, hidden };
        let lengths = lengths(inputs.opt_ints(4)?, steps, batch)?;
        let x = if self.batch_first { D::permute(cx, x, &[1, 0, 2])? } else { x.clone() };
        let rows = x.reshaped(vec![steps * batch, width])?;
        let (mut sequences, mut finals) = (Vec::new(), vec![Vec::new(); C::INITIAL.len()]);
        for (d, &backwards) in self.backwards.iter().enumerate() {
            let order = backwards.then(|| reversal(lengths.as_deref(), steps, batch));
            let sorted = |cx: &mut Context<E, D>, rows: &Tensor<E, D>| match &order {
                Some(order) => D::gather(cx, rows, 0, order, &[order.len()]),
                None => Ok(rows.clone()),
            };
            let rows = sorted(cx, &rows)?;
            let (unit, gates) = self.unit(cx, inputs, &rows, d, extents)?;
            let states = self.initial(cx, inputs, d, extents)?;
            let (y, states) = self.steps(cx, &unit, &gates, states, lengths.as_deref(), extents)?;
            sequences.push(sorted(cx, &y)?.reshaped(vec![steps, 1, batch, hidden])?);
            for (all, state) in finals.iter_mut().zip(states) {
                all.push(state.reshaped(vec![1, batch, hidden])?);
            }
        }
        let joined = |cx: &mut Context<E, D>, parts: &[Tensor<E, D>], axis: usize, batch_first: &[usize]| {
            let joined = D::concat(cx, &parts.iter().collect::<Vec<_>>(), axis)?;
            let moved = if self.batch_first { D::permute(cx, &joined, batch_first)? } else { joined };
            Ok(Value::Float(moved))
        };
        let mut outputs = vec![joined(cx, &sequences, 1, &[2, 0, 1, 3])?];
        for parts in &finals {
            outputs.push(joined(cx, parts, 0, &[1, 0, 2])?);
        }
        Ok(outputs)
    }

    /// Direction `d`'s tensors, and the input's part of the gates of all steps.
    fn unit<'a, E: Float, D: Backend<E>>(
        &'a self,
        cx: &mut Context<E, D>,
        inputs: &Inputs<'_, E, D>,
        rows: &Tensor<E, D>,
        d: usize,
        Extents { width, hidden, .. }: Extents,
    ) -> Result<(Unit<'a, E, D>, Tensor<E, D>)> {
        let (directions, height) = (self.backwards.len(), C::GATES * hidden);
        let missing = || problem("W or R is missing");
        let weights = fitting(inputs, 1, &[directions, height, width])?.ok_or_else(missing)?;
        let recurrent = fitting(inputs, 2, &[directions, height, hidden])?.ok_or_else(missing)?;
        let recurrent = element(cx, recurrent, d)?;
        let mut unit = Unit {
            recurrent: Vec::new(),
            bias: None,
            peepholes: None,
            activations: self.activations.chunks(C::ACTIVATIONS.len()).nth(d).unwrap_or_default(),
            clip: self.clip,
            hidden,
        };
        let mut start = 0;
        for n in self.cell.factors() {
            unit.recurrent.push(D::slice(cx, &recurrent, &[start, 0], &[1, 1], &[n * hidden, hidden])?);
            start += n * hidden;
        }
        let weights = element(cx, weights, d)?;
        let mut gates = D::matmul(cx, rows, &weights, false, true)?;
        if let Some(bias) = fitting(inputs, 3, &[directions, 2 * height])? {
            let bias = element(cx, bias, d)?.reshaped(vec![1, 2 * height])?;
            let (of_input, of_state) =
                (unit.gates(cx, &bias, 0, C::GATES)?, unit.gates(cx, &bias, C::GATES, C::GATES)?);
            if self.cell.bias_in_product() {
                gates = add(cx, &gates, &of_input)?;
                unit.bias = Some(of_state);
            } else {
                let both = add(cx, &of_input, &of_state)?;
                gates = add(cx, &gates, &both)?;
            }
        }
        if let Some(peepholes) = fitting(inputs, 7, &[directions, 3 * hidden])? {
            unit.peepholes = Some(element(cx, peepholes, d)?.reshaped(vec![1, 3 * hidden])?);
        }
        Ok((unit, gates))
    }

    /// Direction `d`'s states before the first step.
    fn initial<E: Float, D: Backend<E>>(
        &self,
        cx: &mut Context<E, D>,
        inputs: &Inputs<'_, E, D>,
        d: usize,
        Extents { batch, hidden, .. }: Extents,
    ) -> Result<Vec<Tensor<E, D>>> {
        let directions = self.backwards.len();
        let dims = if self.batch_first { [batch, directions, hidden] } else { [directions, batch, hidden] };
        let mut states = Vec::new();
        for &i in C::INITIAL {
            states.push(match fitting(inputs, i, &dims)? {
                Some(given) if self.batch_first => {
                    let moved = D::permute(cx, given, &[1, 0, 2])?;
                    element(cx, &moved, d)?
                }
                Some(given) => element(cx, given, d)?,
                None => cx.upload(vec![batch, hidden], vec![E::of(0.0); batch * hidden])?,
            });
        }
        Ok(states)
    }

    /// Runs over the steps: h of all of them, (steps·batch, hidden), and the final states.
    fn steps<E: Float, D: Backend<E>>(
        &self,
        cx: &mut Context<E, D>,
        unit: &Unit<'_, E, D>,
        gates: &Tensor<E, D>,
        mut states: Vec<Tensor<E, D>>,
        lengths: Option<&[usize]>,
        Extents { steps, batch, hidden, .. }: Extents,
    ) -> Result<(Tensor<E, D>, Vec<Tensor<E, D>>)> {
        if lengths.is_none()
            && let Some(done) = self.cell.at_once(cx, unit, gates, &states)?
        {
            return Ok(done);
        }
        let zero = scalar(cx, 0.0)?;
        let longest = lengths.and_then(|l| l.iter().max().copied()).unwrap_or(steps);
        let mut sequence = Vec::with_capacity(longest + 1);
        for t in 0..longest {
            let now = D::slice(cx, gates, &[t * batch, 0], &[1, 1], &[batch, C::GATES * hidden])?;
            let mut next = self.cell.step(cx, unit, &now, &states)?;
            let running = running(lengths, t)?;
            if let (Some(mask), Some(h)) = (&running, next.first()) {
                sequence.push(D::select(cx, mask, h, &zero)?);
                for (new, old) in next.iter_mut().zip(&states) {
                    *new = D::select(cx, mask, new, old)?;
                }
            } else {
                sequence.extend(next.first().cloned());
            }
            states = next;
        }
        if longest < steps {
            let rest = (steps - longest) * batch;
            sequence.push(cx.upload(vec![rest, hidden], vec![E::of(0.0); rest * hidden])?);
        }
        if let Some(mask) = running(lengths, 0)? {
            for state in &mut states {
                *state = D::select(cx, &mask, state, &zero)?;
            }
        }
        Ok((D::concat(cx, &sequence.iter().collect::<Vec<_>>(), 0)?, states))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_from_their_own_ends() {
        // Two rows of three steps, the second of length 2.
        let order = reversal(Some(&[3, 2]), 3, 2);
        assert_eq!(order, [4, 3, 2, 1, 0, 5]);
        assert!((0..6).all(|i| order[order[i]] == i), "it is its own inverse");
        assert_eq!(reversal(None, 2, 2), [2, 3, 0, 1]);
    }

    #[test]
    fn lengths_are_checked() {
        assert_eq!(lengths(Some(vec![3, 3]), 3, 2).unwrap(), None, "no row ends early");
        assert_eq!(lengths(Some(vec![3, 0]), 3, 2).unwrap(), Some(vec![3, 0]));
        assert!(lengths(Some(vec![4, 1]), 3, 2).is_err() && lengths(Some(vec![-1, 1]), 3, 2).is_err());
        assert!(lengths(Some(vec![1]), 3, 2).is_err());
        let running = running(Some(&[3, 0]), 1).unwrap().unwrap();
        assert_eq!((running.shape(), running.iter().copied().collect::<Vec<_>>()), (&[2, 1][..], vec![true, false]));
    }
}
