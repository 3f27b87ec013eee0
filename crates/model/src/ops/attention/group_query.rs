//! GroupQueryAttention-1 (com.microsoft, by the schema and the CPU's results of onnxruntime 1.32), of floats (batch, sequence,
//! heads·size), or with queries, keys and values side by side: causal attention of query heads that share key heads, with its
//! own rotation.
//!
//! `seqlens_k` is one less than the keys of each sample, past ones included. The new ones stand at their end, so that a sample
//! with fewer keys than queries is padded behind them; such queries see the keys that there are. The window counts the query's
//! own key. Refused: a past that is not full, positions that do not count up, quantized and window-sized caches, the norms of
//! queries and keys, chunks with their own padding, and the output of scores.

use super::{
    multi_head::columns,
    rotary,
    scores::{Band, Rule, attend, heads, merge, present, split},
};
use crate::{
    engine::{Context, Float, Tensor, Value},
    error::Result,
    kernels::Backend,
    ops::{Built, Inputs, NodeContext, many, problem, shape::gather::rows},
};

/// What the attributes say.
struct Plan {
    heads: usize,
    groups: usize,
    scale: f64,
    softcap: f64,
    band: Band,
    /// Whether queries and keys are turned, and whether partners lie side by side then.
    rotary: Option<bool>,
    /// Whether the softmax has one more score of 0.
    smooth: bool,
    /// Whether queries behind the keys stand at the last one. They are padding, which the schema leaves open; two kernels of
    /// onnxruntime differ in it, and these attributes choose between them.
    held: bool,
}

/// Where the queries stand, and how many keys there are.
struct Places {
    /// Of each sample, where its first query stands.
    first: Vec<i64>,
    /// Of each sample, its keys.
    keys: Vec<i64>,
}

/// Builds GroupQueryAttention.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    refuse(node)?;
    let count = |name| heads(node, name)?.ok_or_else(|| problem(format!("{name} is missing")));
    let (heads, groups) = (count("num_heads")?, count("kv_num_heads")?);
    if heads % groups != 0 {
        return Err(problem(format!("num_heads {heads} is not a multiple of kv_num_heads {groups}")));
    }
    let causal = node.flag("causal", true)?;
    let left = match node.int("local_window_size")?.unwrap_or(-1) {
        -1 => None,
        size if size > 0 && causal => Some(size - 1),
        size => return Err(problem(format!("local_window_size is {size}, with causal {}", i32::from(causal)))),
    };
    let (turns, interleaved) = (node.flag("do_rotary", false)?, node.flag("rotary_interleaved", false)?);
    if turns && !(node.has(7) && node.has(8)) {
        return Err(problem("do_rotary needs cos_cache and sin_cache"));
    }
    let (softcap, smooth) = (node.float("softcap", 0.0)?, node.int("smooth_softmax")? == Some(1));
    let plan = Plan {
        heads,
        groups,
        scale: node.float("scale", 0.0)?,
        softcap,
        band: Band { causal, left, right: None },
        rotary: turns.then_some(interleaved),
        smooth,
        held: softcap > 0.0 || smooth || !(node.wants(1) && node.wants(2)),
    };
    many(move |cx, inputs| plan.run(cx, inputs))
}

/// # Errors
/// What is not computed, by its attribute or input.
fn refuse(node: &NodeContext<'_>) -> Result<()> {
    node.ignore(&["qk_norm_epsilon", "q_norm_epsilon", "k_norm_epsilon", "qk_output"]);
    for name in ["sliding_window_cache", "kv_cache_bit_width"] {
        if let Some(given) = node.int(name)?.filter(|&n| n != 0) {
            return Err(problem(format!("{name} is {given}: window-sized and quantized caches are not supported")));
        }
    }
    for name in ["k_quant_type", "v_quant_type"] {
        let given = node.string(name, "NONE")?;
        if given != "NONE" {
            return Err(problem(format!("{name} is {given}: quantized caches are not supported")));
        }
    }
    let inputs = [
        (12, "k_scale"),
        (13, "v_scale"),
        (14, "q_norm_weight (export the model with the norm as a node of its own)"),
        (15, "k_norm_weight"),
        (16, "query_seqlens"),
    ];
    if let Some((_, name)) = inputs.iter().find(|(at, _)| node.has(*at)) {
        return Err(problem(format!("its input {name} is not supported")));
    }
    if !node.has(5) || !node.has(6) {
        return Err(problem("it needs seqlens_k and total_sequence_length"));
    }
    if node.has(1) != node.has(2) || node.has(3) != node.has(4) || node.has(7) != node.has(8) {
        return Err(problem("key and value, past_key and past_value, cos_cache and sin_cache come together"));
    }
    if node.wants(3) {
        return Err(problem("its output of scores (qk_output) is not supported"));
    }
    Ok(())
}

impl Plan {
    fn run<E: Float, D: Backend<E>>(
        &self,
        cx: &mut Context<E, D>,
        inputs: &Inputs<'_, E, D>,
    ) -> Result<Vec<Value<E, D>>> {
        let [mut q, mut k, v] = self.parts(cx, inputs)?;
        let (&[batch, sequence, _], &[_, new, _]) = (q.dims(), k.dims()) else {
            return Err(problem(format!("queries {:?} and keys {:?}", q.dims(), k.dims())));
        };
        if new != sequence {
            return Err(problem(format!("{new} new keys for {sequence} queries")));
        }
        let past = [inputs.opt_float(3)?, inputs.opt_float(4)?];
        let before = past.first().copied().flatten().and_then(|p| p.dims().get(2)).copied().unwrap_or_default();
        let total = before.saturating_add(sequence);
        let places = places(inputs, batch, sequence, before)?;
        if let Some(interleaved) = self.rotary {
            let (cos, sin) = (inputs.float(7)?, inputs.float(8)?);
            let (at, dims) = (positions(inputs, &places, sequence)?, [batch, sequence]);
            let (cos, sin) = (rows(cx, cos, &at, &dims)?, rows(cx, sin, &at, &dims)?);
            q = rotary::turned(cx, &q, [&cos, &sin], self.heads, interleaved)?;
            k = rotary::turned(cx, &k, [&cos, &sin], self.groups, interleaved)?;
        }
        let q = split(cx, &q, self.heads)?;
        let (k, v) = (split(cx, &k, self.groups)?, split(cx, &v, self.groups)?);
        let [past_k, past_v] = past;
        let (k, v) = (present(cx, past_k, &k)?, present(cx, past_v, &v)?);
        let held = self.held || inputs.get(11).is_some();
        let full = places.keys.iter().all(|&keys| usize::try_from(keys) == Ok(total));
        let keep = match full && self.band.is_open() {
            true => None,
            false => Some(self.band.standing((&places.first, held), &places.keys, sequence, total)?),
        };
        let size = q.dims().last().copied().unwrap_or(1).max(1);
        let scale = if self.scale == 0.0 { (size as f64).sqrt().recip() } else { self.scale };
        let sink = match inputs.opt_float(11)? {
            Some(sink) if sink.dims() == [self.heads] => Some(sink.reshaped(vec![1, self.heads, 1, 1])?),
            Some(sink) => {
                return Err(problem(format!("head_sink has shape {:?} for {} heads", sink.dims(), self.heads)));
            }
            None if self.smooth => Some(cx.upload(vec![1, 1, 1, 1], vec![E::of(0.0)])?),
            None => None,
        };
        let bias = inputs.opt_float(10)?;
        let rule = Rule { scale, softcap: self.softcap, bias, keep: keep.as_ref(), sink: sink.as_ref() };
        let (y, _) = attend(cx, [&q, &k, &v], &rule)?;
        Ok(vec![merge(cx, &y)?.into(), k.into(), v.into()])
    }

    /// Queries, keys and values, (batch, sequence, heads·size) each.
    fn parts<E: Float, D: Backend<E>>(
        &self,
        cx: &mut Context<E, D>,
        inputs: &Inputs<'_, E, D>,
    ) -> Result<[Tensor<E, D>; 3]> {
        let q = inputs.float(0)?;
        if let (Some(k), Some(v)) = (inputs.opt_float(1)?, inputs.opt_float(2)?) {
            return Ok([q.clone(), k.clone(), v.clone()]);
        }
        let all = self.heads.saturating_add(self.groups.saturating_mul(2));
        let size = q.dims().last().and_then(|n| n.checked_div(all)).unwrap_or_default();
        columns(cx, q, [self.heads, self.groups, self.groups].map(|n| n.saturating_mul(size)))
    }
}

/// What `seqlens_k` and `total_sequence_length` say.
///
/// # Errors
/// [`crate::Error::Node`] if they contradict the shapes, or a past that is not full.
fn places<E: Float, D: Backend<E>>(
    inputs: &Inputs<'_, E, D>,
    batch: usize,
    sequence: usize,
    before: usize,
) -> Result<Places> {
    let (lengths, total) = (inputs.ints(5)?, inputs.int(6)?);
    let (new, before) = (sequence as i64, before as i64);
    if lengths.len() != batch {
        return Err(problem(format!("seqlens_k has {} numbers for {batch} samples", lengths.len())));
    }
    if total != before.saturating_add(new) {
        return Err(problem(format!(
            "total_sequence_length is {total}, but there are {before} past and {new} new keys; caches with room left are not supported"
        )));
    }
    let keys: Vec<i64> = lengths.iter().map(|n| n.saturating_add(1)).collect();
    if let Some(odd) = keys.iter().find(|&&n| n < 0 || n > total) {
        return Err(problem(format!("seqlens_k + 1 is {odd}, of {total} keys")));
    }
    let first: Vec<i64> = keys.iter().map(|&n| n - n.min(new)).collect();
    if first.iter().any(|&at| at != before) {
        return Err(problem("seqlens_k says that the past is not full, which is not supported"));
    }
    Ok(Places { first, keys })
}

/// The row of the tables for each query: where it stands, or what `position_ids` say.
///
/// # Errors
/// [`crate::Error::Node`] for `position_ids` of several queries that do not count up from the first sample's first, which alone
/// onnxruntime reads.
fn positions<E: Float, D: Backend<E>>(inputs: &Inputs<'_, E, D>, places: &Places, sequence: usize) -> Result<Vec<i64>> {
    let steps = |first: i64| (0..sequence as i64).map(move |s| first.saturating_add(s));
    let Some(given) = inputs.opt_ints(9)? else { return Ok(places.first.iter().copied().flat_map(steps).collect()) };
    let first = given.first().copied().unwrap_or_default();
    let counted = places.first.iter().flat_map(|_| steps(first));
    if given.len() != places.first.len() * sequence {
        return Err(problem(format!("{} position_ids for {} samples", given.len(), places.first.len())));
    }
    if sequence > 1 && !counted.eq(given.iter().copied()) {
        return Err(problem("position_ids that do not count up from the same number in every row are not supported"));
    }
    Ok(given)
}
