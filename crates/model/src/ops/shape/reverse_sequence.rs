//! ReverseSequence-10/28: the first `sequence_lens[b]` elements of sequence b in reverse order, the others as they are;
//! of any type. The time and batch axes are the first two, in either order.

use super::gather_elements::take;
use crate::{
    engine::Float,
    kernels::Backend,
    ops::{Built, NodeContext, host, one, problem},
};

/// Builds ReverseSequence.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let (batch, time) = (node.int("batch_axis")?.unwrap_or(1), node.int("time_axis")?.unwrap_or(0));
    let time_first = match (time, batch) {
        (0, 1) => true,
        (1, 0) => false,
        _ => return Err(problem(format!("time axis {time} and batch axis {batch} are not 0 and 1"))),
    };
    one(move |cx, inputs| {
        let (x, lengths) = (inputs.value(0)?, inputs.ints(1)?);
        let &[rows, columns, ref rest @ ..] = x.dims() else {
            return Err(problem(format!("a tensor of {:?} has no sequences", x.dims())));
        };
        let (steps, batch) = if time_first { (rows, columns) } else { (columns, rows) };
        let bounded = |&n: &i64| usize::try_from(n).ok().filter(|&n| n <= steps);
        let lengths = lengths.iter().map(bounded).collect::<Option<Vec<_>>>().filter(|l| l.len() == batch);
        let lengths =
            lengths.ok_or_else(|| problem(format!("sequence_lens are not {batch} numbers from 0 to {steps}")))?;
        let inner: usize = rest.iter().product();
        let mut places = Vec::with_capacity(rows * columns * inner);
        for (row, column) in (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))) {
            let (t, b) = if time_first { (row, column) } else { (column, row) };
            let from = lengths.get(b).and_then(|n| n.checked_sub(t + 1)).unwrap_or(t);
            let (row, column) = if time_first { (from, b) } else { (b, from) };
            let start = (row * columns + column) * inner;
            places.extend(start..start + inner);
        }
        take(cx, x, &host::array(x.dims(), places)?)
    })
}
