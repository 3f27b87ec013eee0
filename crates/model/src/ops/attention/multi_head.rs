//! Attention-1 and MultiHeadAttention-1 (com.microsoft), of floats (batch, sequence, hidden).
//!
//! Masks: (batch, keys) or (batch, queries, keys) of 0 and 1, (batch) valid lengths, (2·batch) ends and starts; what they hide
//! has `mask_filter_value` added. Refused: packed queries, keys and values, rotation, shared buffers, incremental decoding with
//! a length of the past, causal masks of cross-attention.

use super::scores::{Band, Rule, attend, heads, merge, present, split};
use crate::{
    engine::{Context, Float, Tensor, Value},
    error::Result,
    kernels::Backend,
    ops::{Built, Inputs, NodeContext, common::add, many, problem},
    tensor::HostTensor,
};

/// What both have in their attributes.
struct Plan {
    heads: usize,
    scale: f64,
    filter: f64,
    causal: bool,
}

/// The inputs of the attention itself: queries, keys and values (batch, heads, sequence, size), and what changes the scores.
struct Parts<'a, E: Float, D: Backend<E>> {
    qkv: [Tensor<E, D>; 3],
    past: [Option<&'a Tensor<E, D>>; 2],
    mask: Option<&'a HostTensor>,
    bias: Option<&'a Tensor<E, D>>,
}

impl Plan {
    fn read(node: &NodeContext<'_>) -> Result<Self> {
        Ok(Self {
            heads: heads(node, "num_heads")?.ok_or_else(|| problem("num_heads is missing"))?,
            scale: node.float("scale", 0.0)?,
            filter: node.float("mask_filter_value", -10000.0)?,
            causal: node.flag("unidirectional", false)?,
        })
    }

    /// The merged result, and the present keys and values.
    fn run<E: Float, D: Backend<E>>(
        &self,
        cx: &mut Context<E, D>,
        parts: Parts<'_, E, D>,
    ) -> Result<[Tensor<E, D>; 3]> {
        let ([q, k, v], [past_k, past_v]) = (parts.qkv, parts.past);
        let (k, v) = (present(cx, past_k, &k)?, present(cx, past_v, &v)?);
        let (&[batch, _, rows, size], &[_, _, columns, _]) = (q.dims(), k.dims()) else {
            return Err(problem(format!("queries {:?} and keys {:?}", q.dims(), k.dims())));
        };
        let mut bias = parts.bias.cloned();
        if let Some(mask) = parts.mask {
            let hidden = self.hidden(cx, mask, [batch, rows, columns])?;
            bias = Some(match bias {
                Some(bias) => add(cx, &bias, &hidden)?,
                None => hidden,
            });
        }
        let past = past_k.and_then(|p| p.dims().get(2)).copied().unwrap_or_default();
        // onnxruntime's last query sees all keys, which is right only if it stands at the last one.
        if self.causal && columns.checked_sub(past) != Some(rows) {
            return Err(problem("a causal mask needs as many keys as queries"));
        }
        let band = Band { causal: true, ..Band::default() };
        let keep = self.causal.then(|| band.mask(past as i64, rows, columns)).transpose()?;
        let scale = if self.scale == 0.0 { (size.max(1) as f64).sqrt().recip() } else { self.scale };
        let rule = Rule { scale, softcap: 0.0, bias: bias.as_ref(), keep: keep.as_ref(), sink: None };
        let (y, _) = attend(cx, [&q, &k, &v], &rule)?;
        Ok([merge(cx, &y)?, k, v])
    }

    /// The mask as an addend (batch, 1, 1 or rows, columns).
    fn hidden<E: Float, D: Backend<E>>(
        &self,
        cx: &Context<E, D>,
        mask: &HostTensor,
        [batch, rows, columns]: [usize; 3],
    ) -> Result<Tensor<E, D>> {
        let misfit = || problem(format!("a mask of shape {:?} is not supported", mask.dims()));
        let list = mask.to_i64().ok_or_else(|| problem("the mask is not of integers"))?;
        let (height, sees): (usize, Vec<bool>) = match *mask.dims() {
            [b, c] if [b, c] == [batch, columns] => (1, list.iter().map(|&m| m > 0).collect()),
            [b, r, c] if [b, r, c] == [batch, rows, columns] => (rows, list.iter().map(|&m| m > 0).collect()),
            [n] if n == batch || n == 2 * batch => {
                let (ends, starts) = list.split_at_checked(batch).ok_or_else(misfit)?;
                let starts = starts.iter().copied().chain(std::iter::repeat(0));
                let inside = |(&end, start)| (0..columns as i64).map(move |j| j < end && j >= start);
                (1, ends.iter().zip(starts).flat_map(inside).collect())
            }
            _ => return Err(misfit()),
        };
        let filter = |sees| if sees { E::of(0.0) } else { E::of(self.filter) };
        cx.upload(vec![batch, 1, height, columns], sees.into_iter().map(filter).collect())
    }
}

/// Columns of the last of three axes, one part of the given widths after the other.
pub(super) fn columns<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    widths: [usize; 3],
) -> Result<[Tensor<E, D>; 3]> {
    let misfit = || problem(format!("a tensor of shape {:?} does not split into {widths:?}", x.dims()));
    let (&width, lead) = x.dims().split_last().ok_or_else(misfit)?;
    if widths.iter().try_fold(0usize, |n, &w| n.checked_add(w)) != Some(width) {
        return Err(misfit());
    }
    let mut part = |start: usize, width: usize| {
        let mut starts = vec![0; lead.len()];
        starts.push(start);
        D::slice(cx, x, &starts, &vec![1; x.rank()], &[lead, &[width]].concat())
    };
    let [a, b, c] = widths;
    Ok([part(0, a)?, part(a, b)?, part(a + b, c)?])
}

/// The parts of an optional bias, added to each.
fn biased<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    [q, k, v]: [Tensor<E, D>; 3],
    bias: Option<&Tensor<E, D>>,
) -> Result<[Tensor<E, D>; 3]> {
    let Some(bias) = bias else { return Ok([q, k, v]) };
    let width = |t: &Tensor<E, D>| t.dims().last().copied().unwrap_or_default();
    let [bq, bk, bv] = columns(cx, bias, [width(&q), width(&k), width(&v)])?;
    Ok([add(cx, &q, &bq)?, add(cx, &k, &bk)?, add(cx, &v, &bv)?])
}

/// Attention (input, weights, bias, mask_index, past, attention_bias, past_sequence_length): one product gives queries, keys
/// and values; `past` and the second output hold keys and values, stacked.
pub fn packed<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let plan = Plan::read(node)?;
    let widths = node.sizes("qkv_hidden_sizes", 1)?;
    node.ignore(&["rotary_embedding_dim"]);
    if node.flag("do_rotary", false)? || node.flag("past_present_share_buffer", false)? || node.has(6) {
        return Err(problem("rotation, shared buffers and a length of the past are not supported"));
    }
    let stacks = node.wants(1);
    many(move |cx, inputs| {
        let (x, weights) = (inputs.float(0)?, inputs.float(1)?);
        let misfit = || problem(format!("x of shape {:?} and weights of {:?}", x.dims(), weights.dims()));
        let (&[_, _, inner], &[rows, total]) = (x.dims(), weights.dims()) else { return Err(misfit()) };
        if inner != rows {
            return Err(misfit());
        }
        let widths = match widths.as_deref() {
            None => [total / 3; 3],
            Some(&[q, k, v]) if q == k => [q, k, v],
            Some(other) => return Err(problem(format!("qkv_hidden_sizes are {other:?}"))),
        };
        let mut all = D::matmul(cx, x, weights, false, false)?;
        if let Some(bias) = inputs.opt_float(2)? {
            all = add(cx, &all, bias)?;
        }
        let [q, k, v] = columns(cx, &all, widths)?;
        let qkv = [split(cx, &q, plan.heads)?, split(cx, &k, plan.heads)?, split(cx, &v, plan.heads)?];
        let past = inputs.opt_float(4)?.map(|past| halves(cx, past)).transpose()?;
        let past = [0, 1].map(|i| past.as_ref().and_then(|p| p.get(i)));
        let mask = inputs.get(3).map(|_| inputs.host(3)).transpose()?;
        let [y, k, v] = plan.run(cx, Parts { qkv, past, mask, bias: inputs.opt_float(5)? })?;
        let mut results = vec![Value::Float(y)];
        // Keys and values of different widths cannot be stacked.
        if stacks && k.dims() == v.dims() {
            let dims = [&[1], k.dims()].concat();
            results.push(D::concat(cx, &[&k.reshaped(dims.clone())?, &v.reshaped(dims)?], 0)?.into());
        }
        Ok(results)
    })
}

/// The two tensors that are stacked along the first of five axes.
fn halves<E: Float, D: Backend<E>>(cx: &mut Context<E, D>, x: &Tensor<E, D>) -> Result<[Tensor<E, D>; 2]> {
    let &[2, b, h, s, d] = x.dims() else {
        return Err(problem(format!("a past of shape {:?}, not (2, batch, heads, sequence, size)", x.dims())));
    };
    let mut half = |i: usize| D::slice(cx, x, &[i, 0, 0, 0, 0], &[1; 5], &[1, b, h, s, d])?.reshaped(vec![b, h, s, d]);
    Ok([half(0)?, half(1)?])
}

/// MultiHeadAttention (query, key, value, bias, key_padding_mask, attention_bias, past_key, past_value,
/// past_sequence_length, cache_indirection). Keys and values are (batch, sequence, hidden), or without a bias (batch, heads,
/// sequence, size).
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let plan = Plan::read(node)?;
    if !node.has(1) || !node.has(2) {
        return Err(problem("packed queries, keys and values are not supported"));
    }
    if node.has(6) != node.has(7) || node.has(8) || node.has(9) {
        return Err(problem("past_key and past_value come together, and without a length of the past"));
    }
    many(move |cx, inputs| {
        let qkv = three(cx, inputs, plan.heads)?;
        let mask = inputs.get(4).map(|_| inputs.host(4)).transpose()?;
        let past = [inputs.opt_float(6)?, inputs.opt_float(7)?];
        let results = plan.run(cx, Parts { qkv, past, mask, bias: inputs.opt_float(5)? })?;
        Ok(results.into_iter().map(Value::Float).collect())
    })
}

fn three<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    inputs: &Inputs<'_, E, D>,
    heads: usize,
) -> Result<[Tensor<E, D>; 3]> {
    let (q, k, v, bias) = (inputs.float(0)?, inputs.float(1)?, inputs.float(2)?, inputs.opt_float(3)?);
    if k.rank() == 4 && v.rank() == 4 && bias.is_none() {
        return Ok([split(cx, q, heads)?, k.clone(), v.clone()]);
    }
    let [q, k, v] = biased(cx, [q.clone(), k.clone(), v.clone()], bias)?;
    Ok([split(cx, &q, heads)?, split(cx, &k, heads)?, split(cx, &v, heads)?])
}
