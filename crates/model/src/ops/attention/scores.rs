//! What all attention operators share: heads, which keys a query may see, and the product itself.

use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::{Backend, Unary},
    ops::{
        NodeContext,
        common::{add, scalar, scaled},
        host, problem, shapes,
    },
};
use ndarray::{ArrayD, Axis};

/// An attribute that counts heads.
pub fn heads(node: &NodeContext<'_>, name: &'static str) -> Result<Option<usize>> {
    let count = |n: i64| usize::try_from(n).ok().filter(|&n| n > 0);
    node.int(name)?.map(|n| count(n).ok_or_else(|| problem(format!("{name} is {n}")))).transpose()
}

/// (batch, sequence, heads·size) as (batch, heads, sequence, size).
pub fn split<E: Float, D: Backend<E>>(cx: &mut Context<E, D>, x: &Tensor<E, D>, heads: usize) -> Result<Tensor<E, D>> {
    match x.dims() {
        &[batch, sequence, hidden] if hidden > 0 && heads > 0 && hidden % heads == 0 => {
            let apart = x.reshaped(vec![batch, sequence, heads, hidden / heads])?;
            D::permute(cx, &apart, &[0, 2, 1, 3])
        }
        dims => Err(problem(format!("a tensor of shape {dims:?} does not split into {heads} heads"))),
    }
}

/// The reverse of [`split`].
pub fn merge<E: Float, D: Backend<E>>(cx: &mut Context<E, D>, x: &Tensor<E, D>) -> Result<Tensor<E, D>> {
    match x.dims() {
        &[batch, heads, sequence, size] => {
            D::permute(cx, x, &[0, 2, 1, 3])?.reshaped(vec![batch, sequence, heads * size])
        }
        dims => Err(problem(format!("a tensor of shape {dims:?} has no heads"))),
    }
}

/// Past and new keys (or values) after each other: (batch, heads, sequence, size).
pub fn present<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    past: Option<&Tensor<E, D>>,
    new: &Tensor<E, D>,
) -> Result<Tensor<E, D>> {
    let Some(past) = past else { return Ok(new.clone()) };
    match (past.dims(), new.dims()) {
        (&[b, h, _, s], &[batch, heads, _, size]) if [b, h, s] == [batch, heads, size] => {
            D::concat(cx, &[past, new], 2)
        }
        (p, n) => Err(problem(format!("a past of shape {p:?} does not fit new keys or values of {n:?}"))),
    }
}

/// Which keys a query sees by its place: query i stands at p = offset + i, and key j is seen where all bounds hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Band {
    /// j ≤ p
    pub causal: bool,
    /// j ≥ p − left
    pub left: Option<i64>,
    /// j ≤ p + right
    pub right: Option<i64>,
}

impl Band {
    /// Whether every key is seen.
    pub fn is_open(self) -> bool {
        !self.causal && self.left.is_none() && self.right.is_none()
    }

    fn sees(self, p: i64, j: i64) -> bool {
        (!self.causal || j <= p)
            && self.left.is_none_or(|left| j >= p.saturating_sub(left))
            && self.right.is_none_or(|right| j <= p.saturating_add(right))
    }

    /// The mask (rows, columns) for one offset.
    pub fn mask(self, offset: i64, rows: usize, columns: usize) -> Result<ArrayD<bool>> {
        shapes::count(&[rows, columns])?;
        let row = |i| (0..columns as i64).map(move |j| self.sees(offset.saturating_add(i), j));
        host::array(&[rows, columns], (0..rows as i64).flat_map(row).collect())
    }

    /// The mask (batch, 1, rows, columns) for keys that are valid up to `lengths` of each sample; the queries are the last
    /// valid ones.
    pub fn padded(self, lengths: &[i64], rows: usize, columns: usize) -> Result<ArrayD<bool>> {
        let first: Vec<i64> = lengths.iter().map(|n| n.saturating_sub(rows as i64)).collect();
        self.standing((&first, false), lengths, rows, columns)
    }

    /// The mask (batch, 1, rows, columns) for the first `keys` keys of each sample, whose queries stand from `first` on, or, if they
    /// are `held`, at the last key at most.
    pub fn standing(
        self,
        (first, held): (&[i64], bool),
        keys: &[i64],
        rows: usize,
        columns: usize,
    ) -> Result<ArrayD<bool>> {
        let dims = [keys.len(), 1, rows, columns];
        shapes::count(&dims)?;
        let place = |n: i64, p: i64| if held { p.min(n - 1) } else { p };
        let row = |n: i64, p: i64| (0..columns as i64).map(move |j| j < n && self.sees(place(n, p), j));
        let each = first.iter().zip(keys);
        let cells = each.flat_map(|(&at, &n)| (0..rows as i64).flat_map(move |i| row(n, at.saturating_add(i))));
        host::array(&dims, cells.collect())
    }
}

/// Where both masks hold.
pub fn both(a: Option<ArrayD<bool>>, b: &ArrayD<bool>) -> Result<ArrayD<bool>> {
    a.map_or_else(|| Ok(b.clone()), |a| host::zip(&a, b, |&a, &b| Ok(a && b)))
}

/// How scores become weights.
pub struct Rule<'a, E: Float, D: Backend<E>> {
    /// What the scores are multiplied by.
    pub scale: f64,
    /// c·tanh(scores/c), if above 0.
    pub softcap: f64,
    /// What is added then.
    pub bias: Option<&'a Tensor<E, D>>,
    /// Which scores count; a query that sees no key has weights 0.
    pub keep: Option<&'a ArrayD<bool>>,
    /// A score that takes its share of the softmax beside those of the keys, and gives nothing to the result; of extent 1 along
    /// the keys.
    pub sink: Option<&'a Tensor<E, D>>,
}

/// The stages of the scores, in the order of `qk_matmul_output_mode`.
pub struct Stages<E: Float, D: Backend<E>> {
    /// q·kᵀ·scale
    pub raw: Tensor<E, D>,
    /// After the soft cap.
    pub capped: Tensor<E, D>,
    /// With bias and mask.
    pub biased: Tensor<E, D>,
    /// After the softmax.
    pub weights: Tensor<E, D>,
}

/// softmax(rule(q·kᵀ))·v for q (batch, heads, rows, size), k (batch, groups, columns, size), v (batch, groups, columns,
/// width), where neighboring heads share a group. Gives (batch, heads, rows, width).
pub fn attend<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    [q, k, v]: [&Tensor<E, D>; 3],
    rule: &Rule<'_, E, D>,
) -> Result<(Tensor<E, D>, Stages<E, D>)> {
    let misfit =
        || problem(format!("queries {:?}, keys {:?} and values {:?} do not fit", q.dims(), k.dims(), v.dims()));
    let (&[batch, heads, rows, size], &[kb, groups, columns, ks], &[vb, vg, vc, width]) =
        (q.dims(), k.dims(), v.dims())
    else {
        return Err(misfit());
    };
    if [kb, ks, vb, vg, vc] != [batch, size, batch, groups, columns] || groups == 0 || heads % groups != 0 {
        return Err(misfit());
    }
    shapes::count(&[batch.max(1), heads, rows, columns.max(1)])?;
    // The heads of a group are rows of one product: keys and values are not repeated.
    let dims = [batch, heads, rows, columns];
    let together = heads / groups * rows;
    let grouped = scaled(cx, q, rule.scale)?.reshaped(vec![batch, groups, together, size])?;
    let raw = D::matmul(cx, &grouped, k, false, true)?.reshaped(dims.to_vec())?;
    let capped = soft_capped(cx, &raw, rule.softcap)?;
    let mut biased = capped.clone();
    if let Some(bias) = rule.bias {
        fits(&dims, bias.dims())?;
        biased = add(cx, &biased, bias)?;
    }
    if let Some(keep) = rule.keep {
        fits(&dims, keep.shape())?;
        let never = scalar(cx, f64::NEG_INFINITY)?;
        biased = D::select(cx, keep, &biased, &never)?;
    }
    let weights = match rule.sink {
        Some(sink) => beside(cx, &biased, sink)?,
        None => weights(cx, &biased, rule.keep)?,
    };
    let y = D::matmul(cx, &weights.reshaped(vec![batch, groups, together, columns])?, v, false, false)?;
    Ok((y.reshaped(vec![batch, heads, rows, width])?, Stages { raw, capped, biased, weights }))
}

fn fits(dims: &[usize], other: &[usize]) -> Result<()> {
    if shapes::broadcast(dims, other)? == dims {
        return Ok(());
    }
    Err(problem(format!("a mask of shape {other:?} does not fit scores of {dims:?}")))
}

fn soft_capped<E: Float, D: Backend<E>>(cx: &mut Context<E, D>, x: &Tensor<E, D>, cap: f64) -> Result<Tensor<E, D>> {
    if cap <= 0.0 {
        return Ok(x.clone());
    }
    let inner = scaled(cx, x, 1.0 / cap)?;
    let bounded = D::unary(cx, Unary::Tanh, &inner)?;
    scaled(cx, &bounded, cap)
}

/// The softmax over the last axis. Rows of which nothing is kept go through it as zeros, so that no NaN arises from −∞ − −∞.
fn weights<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    scores: &Tensor<E, D>,
    keep: Option<&ArrayD<bool>>,
) -> Result<Tensor<E, D>> {
    let last = |k: &ArrayD<bool>| k.ndim().checked_sub(1).map(Axis);
    let alive = keep.and_then(|k| last(k).map(|a| k.map_axis(a, |row| row.iter().any(|&k| k)).insert_axis(a)));
    let Some(alive) = alive.filter(|alive| alive.iter().any(|a| !a)) else { return D::softmax(cx, scores, 3) };
    let zero = scalar(cx, 0.0)?;
    let scores = D::select(cx, &alive, scores, &zero)?;
    let weights = D::softmax(cx, &scores, 3)?;
    D::select(cx, &alive, &weights, &zero)
}

/// The shares of `scores` (batch, heads, rows, columns) in the softmax over the last axis and one more score.
fn beside<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    scores: &Tensor<E, D>,
    sink: &Tensor<E, D>,
) -> Result<Tensor<E, D>> {
    let &[batch, heads, rows, _] = scores.dims() else {
        return Err(problem(format!("scores of shape {:?}", scores.dims())));
    };
    let place = cx.upload(vec![batch, heads, rows, 1], vec![E::of(0.0); batch * heads * rows])?;
    let place = add(cx, &place, sink)?;
    let all = D::concat(cx, &[scores, &place], 3)?;
    let weights = D::softmax(cx, &all, 3)?;
    D::slice(cx, &weights, &[0; 4], &[1; 4], scores.dims())
}
