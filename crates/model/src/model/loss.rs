//! A row's loss.
//!
//! The mean over a batch is Σ wᵢ·lᵢ / Σ wᵢ. The weights are all 1, except in cross-entropy with class weights or an ignored
//! label: there wᵢ is the weight of the row's class, and 0 where the label is ignored, so that the mean is that of ONNX's
//! `SoftmaxCrossEntropyLoss` with `reduction = mean`, while lᵢ stays the row's own −ln p, whatever else is in the batch.
//! A row of several positions (token tags, masks, next words) has the weighted mean of its positions as loss, or their sum if the user says so. Where the graph holds the loss,
//! the row's weight is their total, as in ONNX; else every row that has a position that counts weighs the same.

use crate::{
    batch::{IGNORED, Reduction, Targets},
    engine::{Context, Float, Tensor},
    error::{Error, Result},
    graph::loss::{LossKind, LossPlan},
    kernels::{Backend, Binary, Reduce, Unary},
};

/// Losses of the rows (n), and what each counts for in the mean.
pub(super) struct RowLosses<E: Float, D: Backend<E>> {
    pub losses: Tensor<E, D>,
    pub weights: Vec<f64>,
}

/// The losses of `scores`, whose first axis is the row.
///
/// # Errors
/// [`Error::Data`] if the targets do not fit the scores, [`Error::Untrainable`] if the scores' shape is none that the loss takes.
pub(super) fn row_losses<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    plan: &LossPlan,
    scores: &Tensor<E, D>,
    targets: &Targets,
) -> Result<RowLosses<E, D>> {
    let n = targets.rows();
    let rows = scores.dims().first().copied().unwrap_or(0);
    if n == 0 || rows != n {
        return Err(Error::Untrainable(format!(
            "{n} rows give an output of shape {:?}: its first axis is not the row",
            scores.dims()
        )));
    }
    let width = scores.len() / n;
    match plan.kind {
        LossKind::LossGraph if width == 1 => Ok(RowLosses { losses: scores.reshaped(vec![n])?, weights: vec![1.0; n] }),
        LossKind::LossGraph => {
            let (given, dims) = (plan.loss_graph.as_ref().map_or("", |own| own.loss.as_str()), scores.dims());
            Err(Error::Untrainable(format!(
                "the output `{given}` of the loss graph has shape {dims:?} for {n} rows: it needs one number a row"
            )))
        }
        LossKind::CrossEntropy if width == 1 && !plan.scores_are_log_probs => binary(cx, scores, targets),
        LossKind::CrossEntropy | LossKind::Graph => cross_entropy(cx, plan, scores, targets),
        LossKind::Bce => binary(cx, scores, targets),
        LossKind::Mse => squared(cx, scores, targets),
    }
}

/// Targets as `n × width` numbers.
fn numbers<E: Float>(targets: &Targets, width: usize) -> Result<Vec<E>> {
    match targets {
        Targets::Classes(classes) if width == 1 => Ok(classes.iter().map(|&c| E::of(c as f64)).collect()),
        Targets::Positions { .. } => Err(Error::Data(format!(
            "the labels are a class for each position, but this loss needs a value for each of the {width} that the model's output has"
        ))),
        Targets::Inputs(_) => Err(Error::Internal("labels of a loss graph without one".into())),
        Targets::Classes(_) => Err(Error::Data(format!(
            "the labels are one class a row, but the model's output has {width} values for which this loss needs one each: \
             use --loss ce, or a label column of lists"
        ))),
        Targets::Values { width: given, values } if *given == width => {
            Ok(values.iter().map(|&v| E::of(v.into())).collect())
        }
        Targets::Values { width: given, .. } => {
            Err(Error::Data(format!("the labels have {given} values a row, the model's output {width}")))
        }
    }
}

fn flat<E: Float, D: Backend<E>>(scores: &Tensor<E, D>, n: usize) -> Result<Tensor<E, D>> {
    scores.reshaped(vec![n, scores.len() / n.max(1)])
}

/// Mean over labels of the binary cross-entropy of each logit.
fn binary<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    scores: &Tensor<E, D>,
    targets: &Targets,
) -> Result<RowLosses<E, D>> {
    let n = targets.rows();
    let scores = flat(scores, n)?;
    let wanted: Vec<E> = numbers(targets, scores.len() / n)?;
    if wanted.iter().any(|t| !(0.0..=1.0).contains(&t.f64())) {
        return Err(Error::Data("a binary label is not in 0 to 1".into()));
    }
    let wanted = cx.upload(scores.dims().to_vec(), wanted)?;
    let each = D::bce_with_logits(cx, &scores, &wanted)?;
    Ok(RowLosses { losses: D::reduce(cx, Reduce::Mean, &each, &[1], false)?, weights: vec![1.0; n] })
}

/// Mean over values of the squared difference.
fn squared<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    scores: &Tensor<E, D>,
    targets: &Targets,
) -> Result<RowLosses<E, D>> {
    let n = targets.rows();
    let scores = flat(scores, n)?;
    let wanted: Vec<E> = numbers(targets, scores.len() / n)?;
    let wanted = cx.upload(scores.dims().to_vec(), wanted)?;
    let off = D::binary(cx, Binary::Sub, &scores, &wanted)?;
    let squares = D::unary(cx, Unary::PowScalar(2.0), &off)?;
    Ok(RowLosses { losses: D::reduce(cx, Reduce::Mean, &squares, &[1], false)?, weights: vec![1.0; n] })
}

/// Classes of all positions, row by row; `None` where the label is ignored.
fn classes(plan: &LossPlan, targets: &Targets, classes: usize, positions: usize) -> Result<Vec<Option<usize>>> {
    let labels: Vec<i64> = match targets {
        Targets::Classes(list) if positions == 1 => list.clone(),
        Targets::Positions { .. } => {
            let mut labels = Vec::with_capacity(targets.rows() * positions);
            for row in targets.positions() {
                if row.len() > positions {
                    return Err(Error::Data(format!(
                        "a row has {} labels, and the model's output {positions} positions",
                        row.len()
                    )));
                }
                labels.extend(row);
                labels.extend(std::iter::repeat_n(IGNORED, positions - row.len()));
            }
            labels
        }
        Targets::Inputs(_) => return Err(Error::Internal("labels of a loss graph without one".into())),
        Targets::Classes(_) => {
            return Err(Error::Data(format!(
                "the labels are one class a row, the model's output has {positions} positions a row"
            )));
        }
        Targets::Values { width, values } if *width == positions => {
            if values.iter().any(|v| v.fract() != 0.0 || v.abs() > 1e9) {
                return Err(Error::Data("a class label is not an integer".into()));
            }
            values.iter().map(|&v| v as i64).collect()
        }
        Targets::Values { width, .. } => {
            return Err(Error::Data(format!(
                "the labels have {width} values a row, the model's output {positions} positions"
            )));
        }
    };
    let class = |&label: &i64| match usize::try_from(label) {
        _ if plan.ignore_index == Some(label) => Ok(None),
        _ if label == IGNORED && matches!(targets, Targets::Positions { .. }) => Ok(None),
        Ok(c) if c < classes => Ok(Some(c)),
        _ => Err(Error::Data(format!(
            "a label is not one of the model's {classes} classes, 0 to {}",
            classes.saturating_sub(1)
        ))),
    };
    labels.iter().map(class).collect()
}

/// How the scores of a row lie: `before × classes × after`; each place before and after is a position.
struct Layout {
    rows: usize,
    before: usize,
    classes: usize,
    after: usize,
}

impl Layout {
    /// Classes are along the plan's axis, else along the second one of (n, c, positions…), axes of extent 1 apart.
    fn of(plan: &LossPlan, dims: &[usize]) -> Option<Self> {
        let (&rows, rest) = dims.split_first()?;
        let wide: Vec<usize> = rest.iter().copied().filter(|&d| d != 1).collect();
        let (before, classes, after) = match plan.class_axis {
            Some(axis) => {
                let at = axis.checked_sub(1)?;
                (rest.get(..at)?, *rest.get(at)?, rest.get(axis..)?)
            }
            None => {
                let (&classes, after) = (if wide.is_empty() { rest } else { &wide }).split_first()?;
                (&[][..], classes, after)
            }
        };
        Some(Self { rows, before: before.iter().product(), classes, after: after.iter().product() })
    }

    fn positions(&self) -> usize {
        self.before * self.after
    }

    /// The scores as (rows · positions, classes).
    fn table<E: Float, D: Backend<E>>(&self, cx: &mut Context<E, D>, scores: &Tensor<E, D>) -> Result<Tensor<E, D>> {
        let dims = vec![self.rows * self.positions(), self.classes];
        if self.after == 1 {
            return scores.reshaped(dims);
        }
        let planes = scores.reshaped(vec![self.rows * self.before, self.classes, self.after])?;
        D::permute(cx, &planes, &[0, 2, 1])?.reshaped(dims)
    }
}

/// −ln p of the class of each position.
fn cross_entropy<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    plan: &LossPlan,
    scores: &Tensor<E, D>,
    targets: &Targets,
) -> Result<RowLosses<E, D>> {
    let layout = Layout::of(plan, scores.dims()).ok_or_else(|| {
        Error::Untrainable(format!("cross-entropy needs scores of shape (rows, classes, …), not {:?}", scores.dims()))
    })?;
    let (n, c, positions) = (layout.rows, layout.classes, layout.positions());
    let labels = classes(plan, targets, c, positions)?;
    let table = layout.table(cx, scores)?;
    let picked: Vec<usize> = labels.iter().map(|l| l.unwrap_or(0)).collect();
    let each = if plan.scores_are_log_probs {
        let places: Vec<usize> = picked.iter().enumerate().map(|(i, class)| i * c + class).collect();
        let chosen = D::gather_flat(cx, &table, &places, &[places.len()])?;
        D::unary(cx, Unary::Neg, &chosen)?
    } else {
        D::cross_entropy(cx, &table, &picked)?
    };
    // One number a row, however many positions it has, unless the graph says otherwise.
    let alike = matches!(targets, Targets::Positions { .. }) && plan.kind != LossKind::Graph;
    let over = match plan.reduction {
        Reduction::Mean => Reduce::Mean,
        Reduction::Sum => Reduce::Sum,
    };
    let weights = |totals: Vec<f64>| match alike {
        true => totals.into_iter().map(|total| f64::from(u8::from(total > 0.0))).collect(),
        false => totals,
    };
    if plan.class_weights.is_none() && labels.iter().all(Option::is_some) {
        let losses = per_row(cx, &each, n, positions, over)?;
        return Ok(RowLosses { losses, weights: weights(vec![positions as f64; n]) });
    }
    let weight = |label: &Option<usize>| match (label, &plan.class_weights) {
        (None, _) => Ok(0.0),
        (Some(_), None) => Ok(1.0),
        (Some(class), Some(weights)) => weights
            .get(*class)
            .map(|&w| w.into())
            .ok_or_else(|| Error::Untrainable(format!("{} class weights for {c} classes", weights.len()))),
    };
    let each_weight: Vec<f64> = labels.iter().map(weight).collect::<Result<_>>()?;
    let totals: Vec<f64> = each_weight.chunks(positions.max(1)).map(|w| w.iter().sum()).collect();
    // A row's own loss: its positions by their share of the row's weight, an ignored one not at all.
    let shares = each_weight.iter().zip(totals.iter().flat_map(|&t| std::iter::repeat_n(t, positions)));
    let share = |(&w, t): (&f64, f64)| match plan.reduction {
        Reduction::Sum => w,
        Reduction::Mean if t > 0.0 => positions as f64 * w / t,
        Reduction::Mean => 0.0,
    };
    let shares = shares.map(|pair| E::of(share(pair))).collect();
    let shares = cx.upload(each.dims().to_vec(), shares)?;
    let each = D::binary(cx, Binary::Mul, &each, &shares)?;
    Ok(RowLosses { losses: per_row(cx, &each, n, positions, over)?, weights: weights(totals) })
}

fn per_row<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    each: &Tensor<E, D>,
    n: usize,
    positions: usize,
    over: Reduce,
) -> Result<Tensor<E, D>> {
    if positions == 1 {
        return Ok(each.clone());
    }
    let table = each.reshaped(vec![n, positions])?;
    D::reduce(cx, over, &table, &[1], false)
}
