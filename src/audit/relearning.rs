//! Further training: rows that were only hidden come back faster than rows that were never seen.
//!
//! A copy of the model is trained further: on the forgotten rows and, from the same start, on as many unseen rows of
//! the same classes. A model that never saw either learns both at the same pace. Then it is trained on retained rows
//! only: if the forgotten rows come back with them and unseen rows do not, they were not gone (arXiv 2505.22310).

use super::{
    accuracy::{Outcome, score},
    membership::INFORMATIVE_ROWS,
    positions::Answered,
    row_figures::RowFigures,
    signals::Signals,
    statistics::{auc, mean},
};
use crate::{
    data::{Batch, Dataset, Rows, TargetKind, epoch_seed},
    error::{Error, Result},
    kernels::Backend,
    model::{Model, Scores},
    unlearn::{StepSize, optim::AdamW},
};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

/// Most rows per side.
const MOST_ROWS: usize = 2000;
/// Fewest and most steps of a run; within these, two passes over its rows.
const STEPS: (usize, usize) = (8, 64);
/// Seeds.
const SEEDS: u64 = 3;

/// Settings of the further training.
#[derive(Clone, Copy, Debug)]
pub struct Training {
    /// Rows in a batch.
    pub batch_size: usize,
    /// AdamW's learning rate, constant.
    pub learning_rate: f64,
    /// AdamW's decoupled weight decay.
    pub weight_decay: f64,
    /// Scale of the steps.
    pub step_size: StepSize,
    /// Seed of the rows and their order.
    pub seed: u64,
    /// The kind of the labels.
    pub kind: TargetKind,
}

/// Means over the seeds after some steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Steps done.
    pub step: usize,
    /// Mean loss of the forgotten rows.
    pub forget_loss: f64,
    /// Mean loss of the unseen rows.
    pub unseen_loss: f64,
    /// Accuracy on the forgotten rows; none for regression.
    pub forget_accuracy: Option<f64>,
    /// Accuracy on the unseen rows.
    pub unseen_accuracy: Option<f64>,
    /// Probability that a forgotten row's loss is below an unseen row's.
    pub auc: f64,
}

/// A figure over the seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Seeded {
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub deviation: f64,
    /// Seeds.
    pub seeds: usize,
    /// How much two sets of this size may differ by chance in 95 % of cases. All seeds use the same rows, so their
    /// spread excludes this.
    pub margin: f64,
}

impl Seeded {
    fn of(values: &[f64], margin: f64) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n.max(1.0);
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        Self { mean, deviation: (squares / (n - 1.0).max(1.0)).sqrt(), seeds: values.len(), margin }
    }

    /// Distance of the mean from 0 beyond two standard errors of the seeds and of the rows.
    pub fn beyond_chance(&self) -> f64 {
        let of_seeds = 2.0 * self.deviation / (self.seeds.max(1) as f64).sqrt();
        (self.mean.abs() - of_seeds.hypot(self.margin)).max(0.0)
    }
}

/// The result of further training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Deep {
    /// Number of forgotten rows used, and of unseen rows.
    pub rows: usize,
    /// Number of rows that would be enough.
    pub rows_needed: usize,
    /// Training on the forgotten rows, and separately on the unseen rows.
    pub relearning: Vec<Point>,
    /// How much more the loss of the forgotten rows fell than that of the unseen rows, as a share of the loss at the
    /// start, averaged over the points. Above 0, the forgotten rows were relearned faster.
    pub advantage: Seeded,
    /// Training on retained rows only.
    pub recovering: Vec<Point>,
    /// The same share at the end of that training. Above 0, the forgotten rows came back.
    pub recovery: Seeded,
    /// Steps of either.
    pub steps: usize,
}

/// The rows of an audit.
#[derive(Clone, Copy, Debug)]
pub struct Sets<'a> {
    /// Training rows.
    pub train: &'a Arc<Dataset>,
    /// The retained rows among them.
    pub retain: &'a Rows,
    /// Unseen rows.
    pub test: &'a Arc<Dataset>,
}

/// Trains the model further, each time from its current parameters, and restores them. `check` may stop it.
///
/// # Errors
/// Errors of the data, the device, and `check`. The parameters are then unusable.
pub fn relearn<D: Backend<f32>>(
    model: &mut Model<f32, D>,
    sets: Sets<'_>,
    pairs: (Rows, Rows),
    training: Training,
    check: &dyn Fn() -> Result<()>,
) -> Result<Deep> {
    let start: Vec<Vec<f32>> = model.parameters().iter().map(|p| p.tensor.to_vec()).collect();
    let (forget, unseen) = pairs;
    let rows = forget.len();
    let passes = (2 * rows).div_ceil(training.batch_size.max(1));
    let steps = passes.clamp(STEPS.0, STEPS.1);
    let probe = |model: &Model<f32, D>| -> Result<Pair> {
        let of = |set, rows| probed(model, set, rows, training.kind);
        Ok((of(sets.train, &forget)?, of(sets.test, &unseen)?))
    };
    let run = |model: &mut Model<f32, D>, set: &Arc<Dataset>, rows: &Rows, seed: u64| -> Result<Vec<(usize, Pair)>> {
        restore(model, &start)?;
        let mut optimizer = AdamW::new(model, training.weight_decay, training.step_size)?;
        let mut points = vec![(0, probe(model)?)];
        let mut done = 0;
        for pass in 0.. {
            for batch in set.shuffled(rows, training.batch_size, epoch_seed(seed, "relearn", pass)) {
                check()?;
                step(model, &mut optimizer, &batch?, training.learning_rate)?;
                done += 1;
                if done == steps || done.is_power_of_two() {
                    points.push((done, probe(model)?));
                }
                if done == steps {
                    return Ok(points);
                }
            }
            if done == 0 {
                break;
            }
        }
        Ok(points)
    };
    let (mut relearned, mut recovered) = (Vec::new(), Vec::new());
    for n in 0..SEEDS {
        let seed = training.seed.wrapping_add(n);
        let known = run(model, sets.train, &forget, seed)?;
        let new = run(model, sets.test, &unseen, seed)?;
        // From each run, the rows that it was trained on.
        relearned.push(known.into_iter().zip(new).map(|((at, f), (_, u))| (at, (f.0, u.1))).collect::<Vec<_>>());
        recovered.push(run(model, sets.train, sets.retain, seed)?);
    }
    restore(model, &start)?;
    let (advantage, recovery) = (shares(&relearned, true), shares(&recovered, false));
    Ok(Deep {
        rows,
        rows_needed: INFORMATIVE_ROWS,
        relearning: points(&relearned),
        advantage,
        recovering: points(&recovered),
        recovery,
        steps,
    })
}

/// The model's signals on rows.
#[derive(Clone, Debug, Default)]
struct Probe {
    losses: Vec<f64>,
    accuracy: Option<f64>,
}

/// Of forgotten rows, and of unseen ones.
type Pair = (Probe, Probe);

fn restore<D: Backend<f32>>(model: &mut Model<f32, D>, values: &[Vec<f32>]) -> Result<()> {
    values.iter().enumerate().try_for_each(|(i, values)| model.set_parameter(i, values))
}

fn step<D: Backend<f32>>(
    model: &mut Model<f32, D>,
    optimizer: &mut AdamW<f32, D>,
    batch: &Batch,
    rate: f64,
) -> Result<()> {
    let mut grads = model.forward(batch, None)?.backward(1.0)?;
    match optimizer.step(model, &mut grads, rate)? {
        None => Ok(()),
        Some(name) => Err(Error::Unlearning(format!("relearning: the gradient of {name} is not finite"))),
    }
}

fn probed<D: Backend<f32>>(model: &Model<f32, D>, set: &Arc<Dataset>, rows: &Rows, kind: TargetKind) -> Result<Probe> {
    let (mut losses, mut right) = (Vec::with_capacity(rows.len()), Some(0.0));
    for batch in set.in_order(rows, set.evaluation_batch(256)) {
        let batch = batch?;
        let scores = model.scores(&batch)?;
        let answered = Answered::of(&scores, &batch.targets);
        let Scores { losses: of_rows, weights, logits, width, figures, .. } = scores;
        let (logits, targets, answered) = (logits.as_slice(), &batch.targets, answered.as_ref());
        let figures = RowFigures::of(model.figure_names(), &figures);
        let outcome = Outcome { losses: &of_rows, weights: &weights, logits, width, targets, kind, answered, figures };
        let score = score(&outcome, "further trained")?;
        right = right.zip(score.accuracy).map(|(sum, accuracy)| sum + accuracy * score.rows as f64);
        losses.extend(of_rows.into_iter().map(f64::from));
    }
    let rows = losses.len().max(1) as f64;
    Ok(Probe { losses, accuracy: right.map(|r| r / rows) })
}

/// How much more the forgotten rows' loss fell than the unseen rows', as a share of its start, one figure per seed:
/// averaged over all points except the first, or at the last point.
fn shares(runs: &[Vec<(usize, Pair)>], all: bool) -> Seeded {
    let one = |run: &Vec<(usize, Pair)>| {
        let curve = |of: fn(&Pair) -> &Probe| run.iter().map(|(_, p)| mean(&of(p).losses)).collect::<Vec<_>>();
        let fallen = |curve: &[f64]| {
            let start = curve.first().copied().unwrap_or_default().max(1e-12);
            let falls: Vec<f64> = curve.iter().skip(1).map(|l| 1.0 - l / start).collect();
            if all { mean(&falls) } else { falls.last().copied().unwrap_or_default() }
        };
        fallen(&curve(|l| &l.0)) - fallen(&curve(|l| &l.1))
    };
    // For each row, its fall at the end as a share of the mean at the start.
    let variance = |run: &Vec<(usize, Pair)>, of: fn(&Pair) -> &Probe| {
        let (Some((_, first)), Some((_, last))) = (run.first(), run.last()) else { return 0.0 };
        let (first, last) = (&of(first).losses, &of(last).losses);
        let start = mean(first).max(1e-12);
        let falls: Vec<f64> = first.iter().zip(last).map(|(a, b)| (a - b) / start).collect();
        let (center, n) = (mean(&falls), falls.len() as f64);
        falls.iter().map(|fall| (fall - center).powi(2)).sum::<f64>() / (n - 1.0).max(1.0) / n.max(1.0)
    };
    let margins: Vec<f64> =
        runs.iter().map(|run| 1.96 * (variance(run, |p| &p.0) + variance(run, |p| &p.1)).sqrt()).collect();
    Seeded::of(&runs.iter().map(one).collect::<Vec<_>>(), mean(&margins))
}

fn points(runs: &[Vec<(usize, Pair)>]) -> Vec<Point> {
    let count = runs.iter().map(Vec::len).min().unwrap_or(0);
    let point = |i: usize| {
        let at: Vec<&(usize, Pair)> = runs.iter().filter_map(|run| run.get(i)).collect();
        let over = |of: &dyn Fn(&Pair) -> f64| mean(&at.iter().map(|p| of(&p.1)).collect::<Vec<_>>());
        let accuracy = |of: fn(&Pair) -> Option<f64>| {
            at.iter().map(|p| of(&p.1)).collect::<Option<Vec<f64>>>().map(|all| mean(&all))
        };
        Some(Point {
            step: at.first()?.0,
            forget_loss: over(&|p| mean(&p.0.losses)),
            unseen_loss: over(&|p| mean(&p.1.losses)),
            forget_accuracy: accuracy(|p| p.0.accuracy),
            unseen_accuracy: accuracy(|p| p.1.accuracy),
            auc: over(&|p| auc(&p.0.losses, &p.1.losses).unwrap_or(0.5)),
        })
    };
    (0..count).filter_map(point).collect()
}

/// As many forgotten as unseen rows of each class, as positions in their signals. They are chosen by the seed, and no
/// more than needed.
pub fn matched(forget: &Signals, unseen: &Signals, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut by_class = |s: &Signals| {
        let mut places: BTreeMap<Option<i64>, Vec<usize>> = BTreeMap::new();
        (0..s.len()).for_each(|i| places.entry(s.class(i)).or_default().push(i));
        places.values_mut().for_each(|p| p.shuffle(&mut rng));
        places
    };
    let (forget, unseen) = (by_class(forget), by_class(unseen));
    let mut pairs: Vec<(usize, usize)> = forget
        .iter()
        .filter_map(|(class, f)| Some((f, unseen.get(class)?)))
        .flat_map(|(f, u)| f.iter().copied().zip(u.iter().copied()))
        .collect();
    pairs.shuffle(&mut rng);
    pairs.truncate(MOST_ROWS);
    pairs.into_iter().unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_of_one_class_and_no_row_comes_twice() {
        let of = |classes: &[i64]| Signals {
            rows: (0..classes.len()).collect(),
            losses: vec![0.0; classes.len()],
            classes: Some(classes.to_vec()),
            ..Signals::default()
        };
        let (forget, unseen) = (of(&[0, 0, 0, 1, 2]), of(&[1, 1, 0, 0, 3]));
        let (f, u) = matched(&forget, &unseen, 4);
        assert_eq!((f.len(), u.len()), (3, 3));
        for (f, u) in f.iter().zip(&u) {
            assert_eq!(forget.class(*f), unseen.class(*u));
        }
        let distinct: std::collections::BTreeSet<_> = u.iter().collect();
        assert_eq!(distinct.len(), 3);
        assert_eq!((f, u), matched(&forget, &unseen, 4));
    }

    #[test]
    fn an_advantage_is_a_faster_fall_beyond_its_spread() {
        let run = |forget: f64, unseen: f64| {
            let of = |losses: &[f64]| Probe { losses: losses.to_vec(), accuracy: Some(0.5) };
            vec![(0, (of(&[2.0, 2.0]), of(&[4.0]))), (1, (of(&[forget, forget]), of(&[unseen])))]
        };
        let found = shares(&[run(1.0, 4.0), run(1.0, 4.0)], true);
        assert_eq!((found.mean, found.deviation, found.beyond_chance()), (0.5, 0.0, 0.5));
        let even = shares(&[run(1.0, 2.0), run(1.2, 2.0), run(0.8, 2.0)], true);
        assert!(even.mean.abs() < 1e-12 && even.deviation > 0.0 && even.beyond_chance() == 0.0);
        // One of two rows is learned at once, the other not at all: that may be chance.
        let of = |losses: &[f64]| Probe { losses: losses.to_vec(), accuracy: None };
        let torn = vec![(0, (of(&[2.0, 2.0]), of(&[4.0, 4.0]))), (1, (of(&[0.0, 2.0]), of(&[4.0, 4.0])))];
        let found = shares(&[torn.clone(), torn], true);
        assert!(found.mean == 0.5 && found.deviation == 0.0 && found.margin > 0.9 && found.beyond_chance() == 0.0);
        let points = points(&[run(1.0, 4.0)]);
        assert_eq!((points[1].step, points[1].forget_loss, points[1].auc), (1, 1.0, 1.0));
        assert_eq!(points[1].forget_accuracy, Some(0.5));
    }
}
