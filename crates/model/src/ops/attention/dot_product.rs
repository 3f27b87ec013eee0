//! Attention-23/24/25: scaled dot-product attention of floats (batch, heads, sequence, size), or (batch, sequence,
//! heads·size) with `q_num_heads` and `kv_num_heads`; query heads may share key heads.
//!
//! The mask is boolean, or floats that are added, into which gradients flow. From 24 on a mask shorter than the keys hides
//! the rest, and `nonpad_kv_seqlen` says how many keys are valid; from 25 on windows bound how far a query sees.
//! A query that sees no key gives zeros. `softmax_precision` changes nothing: all is computed in the model's float type.

use super::scores::{Band, Rule, Stages, attend, both, heads, merge, present, split};
use crate::{
    engine::{Context, Float, Tensor, Value},
    error::Result,
    kernels::{Backend, PadMode},
    ops::{Built, Inputs, NodeContext, common::to_array, host, many, problem},
    tensor::{Element, HostTensor},
};
use ndarray::{ArrayD, IxDyn};

/// What the attributes and the version say.
struct Plan {
    heads: [Option<usize>; 2],
    scale: Option<f64>,
    softcap: f64,
    band: Band,
    stage: i64,
    /// Whether a mask may end before the keys do.
    short_masks: bool,
}

/// Builds Attention.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    node.ignore(&["softmax_precision"]);
    let plan = Plan {
        heads: [heads(node, "q_num_heads")?, heads(node, "kv_num_heads")?],
        scale: node.node().attrs.contains_key("scale").then(|| node.float("scale", 1.0)).transpose()?,
        softcap: node.float("softcap", 0.0)?,
        band: Band {
            causal: node.flag("is_causal", false)?,
            left: window(node, "left_window_size")?,
            right: window(node, "right_window_size")?,
        },
        stage: node.int("qk_matmul_output_mode")?.unwrap_or(0),
        short_masks: node.opset() >= 24,
    };
    if !(0..4).contains(&plan.stage) {
        return Err(problem(format!("qk_matmul_output_mode is {}", plan.stage)));
    }
    if node.has(4) != node.has(5) {
        return Err(problem("past_key and past_value come together"));
    }
    if node.has(6) && (node.opset() < 24 || node.has(4)) {
        return Err(problem("nonpad_kv_seqlen is known from version 24 on, and not beside past keys"));
    }
    many(move |cx, inputs| plan.run(cx, inputs))
}

/// A bound of a window, of which −1 means none.
fn window(node: &NodeContext<'_>, name: &'static str) -> Result<Option<i64>> {
    if node.opset() < 25 {
        return Ok(None);
    }
    match node.int(name)?.unwrap_or(-1) {
        -1 => Ok(None),
        size if size >= 0 => Ok(Some(size)),
        size => Err(problem(format!("{name} is {size}"))),
    }
}

impl Plan {
    fn run<E: Float, D: Backend<E>>(
        &self,
        cx: &mut Context<E, D>,
        inputs: &Inputs<'_, E, D>,
    ) -> Result<Vec<Value<E, D>>> {
        let [of_q, of_kv] = self.heads;
        let (q, flat) = apart(cx, inputs.float(0)?, of_q)?;
        let (k, v) = (apart(cx, inputs.float(1)?, of_kv)?.0, apart(cx, inputs.float(2)?, of_kv)?.0);
        let (past_k, past_v) = (inputs.opt_float(4)?, inputs.opt_float(5)?);
        let (k, v) = (present(cx, past_k, &k)?, present(cx, past_v, &v)?);
        let (&[batch, _, rows, size], &[_, _, columns, _]) = (q.dims(), k.dims()) else {
            return Err(problem(format!("queries {:?} and keys {:?}", q.dims(), k.dims())));
        };
        let places = match inputs.opt_ints(6)? {
            Some(lengths) if lengths.len() == batch => Some(self.band.padded(&lengths, rows, columns)?),
            Some(lengths) => return Err(problem(format!("{} lengths of keys for {batch} samples", lengths.len()))),
            None if self.band.is_open() => None,
            None => {
                let past = past_k.and_then(|p| p.dims().get(2)).map_or(0, |&n| n as i64);
                Some(self.band.mask(past, rows, columns)?)
            }
        };
        let (bias, keep) = match inputs.get(3) {
            None => (None, places),
            Some(mask) => self.masked(cx, mask, places, columns)?,
        };
        // A head of size 0 has no scores to scale.
        let scale = self.scale.unwrap_or((size.max(1) as f64).sqrt().recip());
        let rule = Rule { scale, softcap: self.softcap, bias: bias.as_ref(), keep: keep.as_ref(), sink: None };
        let (y, Stages { raw, capped, biased, weights }) = attend(cx, [&q, &k, &v], &rule)?;
        let y = if flat { merge(cx, &y)? } else { y };
        let shown = match self.stage {
            0 => raw,
            1 => capped,
            2 => biased,
            _ => weights,
        };
        Ok(vec![y.into(), k.into(), v.into(), shown.into()])
    }

    /// The mask as an addend, and which scores are kept.
    fn masked<E: Float, D: Backend<E>>(
        &self,
        cx: &mut Context<E, D>,
        mask: &Value<E, D>,
        places: Option<ArrayD<bool>>,
        columns: usize,
    ) -> Result<(Option<Tensor<E, D>>, Option<ArrayD<bool>>)> {
        let lacking = mask.dims().last().map_or(0, |&n| columns.saturating_sub(n));
        let lacking = if self.short_masks { lacking } else { 0 };
        match mask {
            Value::Float(t) => {
                let t = lengthened(cx, t, lacking)?;
                let finite = to_array(&t)?.mapv(|x: E| x != E::neg_infinity());
                let hides = finite.iter().any(|f| !f);
                let keep = if hides { Some(both(places, &finite)?) } else { places };
                Ok((Some(t), keep))
            }
            Value::Host(t) => {
                let mut dims = t.dims().to_vec();
                dims.iter_mut().next_back().into_iter().for_each(|n| *n = lacking);
                let hidden = HostTensor::Bool(ArrayD::from_elem(IxDyn(&dims), false));
                let t = if lacking > 0 { &host::concat(&[t, &hidden], dims.len() - 1)? } else { t };
                let mask = bool::array(t).ok_or_else(|| problem(format!("a mask of {} values", t.dtype())))?;
                Ok((None, Some(both(places, mask)?)))
            }
        }
    }
}

/// (batch, heads, sequence, size), and whether the heads had to be taken apart.
fn apart<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    heads: Option<usize>,
) -> Result<(Tensor<E, D>, bool)> {
    match (x.dims(), heads) {
        (&[_, own, _, _], _) if heads.is_none_or(|h| h == own) => Ok((x.clone(), false)),
        ([_, _, _], Some(heads)) => Ok((split(cx, x, heads)?, true)),
        ([_, _, _], None) => Err(problem("the attributes do not say how many heads there are")),
        (dims, _) => Err(problem(format!("a tensor of shape {dims:?} for {heads:?} heads"))),
    }
}

/// With `lacking` more columns of −∞.
fn lengthened<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    lacking: usize,
) -> Result<Tensor<E, D>> {
    if lacking == 0 {
        return Ok(x.clone());
    }
    let mut pads = vec![[0, 0]; x.rank()];
    pads.iter_mut().next_back().into_iter().for_each(|p| *p = [0, lacking as isize]);
    D::pad(cx, x, &pads, PadMode::Constant(f64::NEG_INFINITY))
}
