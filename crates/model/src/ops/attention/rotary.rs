//! RotaryEmbedding-23 and onnxruntime's (com.microsoft), of floats (batch, heads, sequence, size) or (batch, sequence,
//! heads·size): pairs of elements are turned by angles whose cosines and sines are tables.
//!
//! The first `rotary_embedding_dim` elements of a head are turned, or all; partners lie half of them apart, or side by side
//! where `interleaved`. Packed batches and a `scale` are refused.

use super::scores::heads;
use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::Backend,
    ops::{
        Built, NodeContext,
        common::{add, mul},
        one, problem,
        shape::gather::rows,
    },
};

/// What is turned.
struct Turn {
    heads: Option<usize>,
    /// How many elements of a head; 0 for all.
    width: usize,
    interleaved: bool,
}

impl Turn {
    fn read(node: &NodeContext<'_>) -> Result<Self> {
        let heads = if node.int("num_heads")? == Some(0) { None } else { heads(node, "num_heads")? };
        let width = node.int("rotary_embedding_dim")?.unwrap_or(0);
        let width = usize::try_from(width).map_err(|_| problem("rotary_embedding_dim is negative"))?;
        Ok(Self { heads, width, interleaved: node.flag("interleaved", false)? })
    }

    /// Where element j of a head finds its angle, its partner, and the sign of the partner's share; elements beyond the
    /// turned ones have angle `half`, which the tables are given: cosine 1 and sine 0.
    fn plan(&self, size: usize, half: usize) -> (Vec<usize>, Vec<usize>, Vec<f64>) {
        let (mut angles, mut partners, mut signs) = (Vec::new(), Vec::new(), Vec::new());
        for j in 0..size {
            let first = if self.interleaved { j % 2 == 0 } else { j < half };
            let (angle, partner) = match self.interleaved {
                _ if j >= 2 * half => (half, j),
                true => (j / 2, if first { j + 1 } else { j - 1 }),
                false => (if first { j } else { j - half }, if first { j + half } else { j - half }),
            };
            angles.push(angle);
            partners.push(partner);
            signs.push(if first { -1.0 } else { 1.0 });
        }
        (angles, partners, signs)
    }

    /// Turns `x` by angles whose cosines and sines are (batch or 1, sequence, half).
    fn run<E: Float, D: Backend<E>>(
        &self,
        cx: &mut Context<E, D>,
        x: &Tensor<E, D>,
        [cos, sin]: [&Tensor<E, D>; 2],
        heads: Option<usize>,
    ) -> Result<Tensor<E, D>> {
        let misfit = || problem(format!("x of shape {:?}, {heads:?} heads and angles of {:?}", x.dims(), cos.dims()));
        let (&[samples, steps, half], true) = (cos.dims(), cos.dims() == sin.dims()) else { return Err(misfit()) };
        // The axis of the heads is 1 or 2; the angles have extent 1 there.
        let (dims, batch, sequence, size, spread) = match (x.dims(), heads) {
            (&[b, h, s, d], _) => ([b, h, s, d], b, s, d, [samples, 1, steps]),
            (&[b, s, hidden], Some(h)) if hidden % h == 0 => {
                ([b, s, h, hidden / h], b, s, hidden / h, [samples, steps, 1])
            }
            _ => return Err(misfit()),
        };
        let turned = if self.width == 0 { size } else { self.width };
        if turned > size
            || turned % 2 != 0
            || half != turned / 2
            || steps != sequence
            || !(samples == batch || samples == 1)
        {
            return Err(misfit());
        }
        let (angles, partners, signs) = self.plan(size, half);
        let shape = [&spread[..], &[size]].concat();
        let cos = table(cx, cos, 1.0, &angles)?.reshaped(shape.clone())?;
        let sin = table(cx, sin, 0.0, &angles)?.reshaped(shape)?;
        let signs = cx.upload(vec![size], signs.into_iter().map(E::of).collect())?;
        let sin = mul(cx, &sin, &signs)?;
        let rows = x.reshaped(dims.to_vec())?;
        let other = D::gather(cx, &rows, 3, &partners, &[size])?;
        let (kept, moved) = (mul(cx, &rows, &cos)?, mul(cx, &other, &sin)?);
        add(cx, &kept, &moved)?.reshaped(x.dims().to_vec())
    }
}

/// Turns the elements of each head of `x` (batch, sequence, heads·size) by angles whose cosines and sines are (batch, sequence,
/// half): the first two times `half` elements.
///
/// # Errors
/// [`crate::Error::Node`] if the shapes do not fit.
pub(super) fn turned<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    tables: [&Tensor<E, D>; 2],
    heads: usize,
    interleaved: bool,
) -> Result<Tensor<E, D>> {
    if x.is_empty() {
        return Ok(x.clone());
    }
    let [cos, _] = tables;
    let width = cos.dims().last().map_or(0, |half| half.saturating_mul(2));
    Turn { heads: Some(heads), width, interleaved }.run(cx, x, tables, Some(heads))
}

/// The columns of a table at `angles`, with one more column of `rest`.
fn table<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    rest: f64,
    angles: &[usize],
) -> Result<Tensor<E, D>> {
    let mut dims = x.dims().to_vec();
    dims.iter_mut().next_back().into_iter().for_each(|d| *d = 1);
    let column = cx.upload(dims.clone(), vec![E::of(rest); dims.iter().product()])?;
    let wide = D::concat(cx, &[x, &column], 2)?;
    D::gather(cx, &wide, 2, angles, &[angles.len()])
}

/// RotaryEmbedding.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let turn = Turn::read(node)?;
    one(move |cx, inputs| {
        let (x, cos, sin) = (inputs.float(0)?, inputs.float(1)?, inputs.float(2)?);
        if x.is_empty() {
            return Ok(x.clone());
        }
        let Some(places) = inputs.opt_ints(3)? else { return turn.run(cx, x, [cos, sin], turn.heads) };
        let dims = inputs.host(3)?.dims();
        let (cos, sin) = (rows(cx, cos, &places, dims)?, rows(cx, sin, &places, dims)?);
        turn.run(cx, x, [&cos, &sin], turn.heads)
    })
}

/// onnxruntime's: positions come before the tables, a single one is that of the first step, and a 3-D input without
/// `num_heads` has heads of twice the tables' width.
pub fn fused<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let turn = Turn::read(node)?;
    if node.flag("is_packed_batching", false)? || node.float("scale", 1.0)? != 1.0 {
        return Err(problem("packed batches and a scale are not supported"));
    }
    if turn.width > 0 && turn.heads.is_none() {
        return Err(problem("rotary_embedding_dim needs num_heads"));
    }
    one(move |cx, inputs| {
        let (x, cos, sin) = (inputs.float(0)?, inputs.float(2)?, inputs.float(3)?);
        if x.is_empty() {
            return Ok(x.clone());
        }
        let (mut places, mut dims) = (inputs.ints(1)?, inputs.host(1)?.dims().to_vec());
        if let (&[first], [_]) = (places.as_slice(), dims.as_slice()) {
            let sequence = x.rank().checked_sub(2).and_then(|a| x.dims().get(a)).copied().unwrap_or_default();
            places = (0..sequence as i64).map(|s| first.saturating_add(s)).collect();
            dims = vec![1, sequence];
        }
        let heads = turn.heads.or_else(|| match (x.dims(), cos.dims()) {
            (&[_, _, hidden], &[_, half]) => hidden.checked_div(half.saturating_mul(2)).filter(|&h| h > 0),
            _ => None,
        });
        let (cos, sin) = (rows(cx, cos, &places, &dims)?, rows(cx, sin, &places, &dims)?);
        turn.run(cx, x, [&cos, &sin], heads)
    })
}
