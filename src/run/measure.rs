//! The audit's rows: which they are, and what a model makes of them.

use super::{
    events::Stop,
    job::{EVALUATION_BATCH, Job},
    rows::sample,
};
use crate::{
    audit::{
        Answered, Audit, Deep, Half, Measured, Outcome, RowFigures, Sets, SplitDigest, Tag, Training, matched, measure,
        relearn, tags,
    },
    data::{Dataset, Rows, TargetKind, Targets},
    error::{Error, Result},
    graph::loss::LossKind,
    kernels::Backend,
    model::{Model, Scores},
};
use std::{collections::BTreeSet, sync::Arc};

/// What an audit makes of one model.
pub(super) type Audited = (Audit, Measured);

/// Retained rows that the audit measures, at most.
const AUDITED_RETAIN_ROWS: usize = 10_000;

impl Job {
    /// Losses, accuracies and attacks of the model as it is now.
    pub(super) fn audit<D: Backend<f32>>(&self, model: &Model<f32, D>) -> Result<Audited> {
        let data = &self.data;
        let forget = scored(model, &self.stop, &data.train, &data.forget)?;
        let retain = scored(model, &self.stop, &data.train, &self.audited_retain())?;
        let test = scored(model, &self.stop, &data.test, &Rows::all(data.test.len()))?;
        let kept = self.kept_classes(&forget, &retain)?;
        let kind = answered(model, data.target);
        let sets = [&forget, &retain, &test].map(|set| set.outcome(kind));
        measure(&sets[0], &sets[1], &sets[2], kept.as_ref(), self.options.seed)
    }

    /// The classes of all retained rows, where those of the measured ones do not show that each forgotten class is kept.
    fn kept_classes(&self, forget: &Scored, retain: &Scored) -> Result<Option<BTreeSet<i64>>> {
        let (data, seen) = (&self.data, retain.classes());
        if retain.rows() == data.retain.len() || forget.classes().is_subset(&seen) {
            return Ok(None);
        }
        Ok(Some(data.train.targets(&data.retain)?.classes()))
    }

    /// The retained rows that are measured: all, or as many as are enough, chosen by the seed.
    fn audited_retain(&self) -> Rows {
        let data = &self.data;
        sample(data.train.len(), Some(&data.retain), AUDITED_RETAIN_ROWS, self.options.seed, "audit")
    }

    /// Which rows serve what, by salted digests: no row gives τ and is attacked, or is attacked by an attack that it trains.
    pub(super) fn splits(&self, measured: &Measured) -> Vec<SplitDigest> {
        let (data, seed) = (&self.data, self.options.seed);
        let retain = self.audited_retain().to_vec();
        let (retained, unseen) = measured.halves(seed);
        let of_train = |places: Vec<usize>| places.iter().filter_map(|&i| retain.get(i).copied()).collect();
        let digest = |purpose: &'static str, of: &'static str, rows: Vec<usize>| SplitDigest {
            purpose,
            of,
            rows: rows.len(),
            sha256: data.salt.rows(of, rows),
        };
        let cut = |half: &Half| (half.training(), half.trial());
        let (retained, unseen) = (cut(&retained), cut(&unseen));
        vec![
            digest("gives τ", "validation", (0..data.validation.len()).collect()),
            digest("trains the transfer attack; the population of RMIA", "test", unseen.0),
            digest("is attacked by the transfer attack and RMIA", "test", unseen.1),
            digest("is held against the forgotten rows in all other figures", "test", measured.unseen().rows),
            digest("trains the transfer attack", "retain", of_train(retained.0)),
            digest("is attacked by the transfer attack", "retain", of_train(retained.1)),
            digest("is attacked", "forget", data.forget.to_vec()),
        ]
    }
}

impl Job {
    /// Trains the model on, to see what comes back, and puts its parameters back.
    pub(super) fn train_on<D: Backend<f32>>(&self, model: &mut Model<f32, D>, measured: &Measured) -> Result<Deep> {
        let (data, schedule) = (&self.data, &self.schedule);
        let unseen = measured.unseen();
        let (forget, others) = matched(&measured.forget, &unseen, self.options.seed);
        let rows = data.forget.to_vec();
        let place = |i: &usize| measured.forget.rows.get(*i).and_then(|&p| rows.get(p).copied());
        let pairs = (
            Rows::listed(data.train.len(), forget.iter().filter_map(place).collect()),
            Rows::listed(data.test.len(), others.iter().filter_map(|&i| unseen.rows.get(i).copied()).collect()),
        );
        let sets = Sets { train: &data.train, retain: &data.retain, test: &data.test };
        let training = Training {
            batch_size: schedule.batch_size,
            learning_rate: schedule.learning_rate,
            weight_decay: schedule.weight_decay,
            step_size: schedule.step_size,
            seed: self.options.seed,
            kind: answered(model, data.target),
        };
        relearn(model, sets, pairs, training, &|| self.stop.check())
    }
}

/// What the model's scores are judged as: where its loss is a squared error they are numbers, whatever the labels are.
pub(super) fn answered<D: Backend<f32>>(model: &Model<f32, D>, target: TargetKind) -> TargetKind {
    match model.plan().map(|plan| plan.kind) {
        Some(LossKind::Mse) => TargetKind::Value,
        Some(LossKind::LossGraph) => TargetKind::LossGraph,
        _ => target,
    }
}

/// What a model makes of rows of a set.
pub(super) fn scored<D: Backend<f32>>(
    model: &Model<f32, D>,
    stop: &Stop,
    set: &Arc<Dataset>,
    rows: &Rows,
) -> Result<Scored> {
    let mut scored = Scored::of(model, set);
    for batch in set.in_order(rows, set.evaluation_batch(EVALUATION_BATCH)) {
        stop.check()?;
        let batch = batch?;
        scored.push(model.scores(&batch)?, batch.targets)?;
    }
    Ok(scored)
}

/// What a model made of a set of rows, batch after batch.
#[derive(Default)]
pub(super) struct Scored {
    scores: Option<Scores>,
    /// Instead of the logits, if rows have several positions.
    answered: Option<Answered>,
    /// What the classes stand for, if they are tags of entities.
    tags: Option<Vec<Tag>>,
    /// The names of the figures of a loss graph.
    names: Vec<String>,
    targets: Option<Targets>,
}

impl Scored {
    /// Nothing yet, of rows of `set`.
    pub(super) fn of<D: Backend<f32>>(model: &Model<f32, D>, set: &Dataset) -> Self {
        let named = model.plan().and_then(|plan| plan.head.classes.clone());
        let names = set.plan().target.words.names().or(named);
        let tags = names.and_then(|names| tags(&names));
        Self { tags, names: model.figure_names().to_vec(), ..Self::default() }
    }

    /// Takes in the next batch.
    pub(super) fn push(&mut self, mut scores: Scores, targets: Targets) -> Result<()> {
        if matches!(targets, Targets::Positions { .. }) {
            self.answered.get_or_insert_with(|| Answered::tagged(self.tags.clone())).push(&scores, &targets);
            (scores.logits, scores.width) = (Vec::new(), 0);
        }
        match &mut self.scores {
            None => self.scores = Some(scores),
            Some(all) => {
                all.losses.extend(scores.losses);
                all.weights.extend(scores.weights);
                all.logits.extend(scores.logits);
                all.figures.extend(scores.figures);
            }
        }
        match &mut self.targets {
            None => self.targets = Some(targets),
            Some(all) => {
                all.append(targets).ok_or_else(|| Error::Internal("labels of two kinds in one set of rows".into()))?;
            }
        }
        Ok(())
    }

    /// Number of rows.
    fn rows(&self) -> usize {
        self.targets.as_ref().map_or(0, Targets::rows)
    }

    /// The classes that occur.
    fn classes(&self) -> BTreeSet<i64> {
        self.targets.as_ref().map(Targets::classes).unwrap_or_default()
    }

    /// As the audit takes it.
    pub(super) fn outcome(&self, kind: TargetKind) -> Outcome<'_> {
        const NONE: &Targets = &Targets::Classes(Vec::new());
        let targets = self.targets.as_ref().unwrap_or(NONE);
        match &self.scores {
            Some(s) => {
                let (losses, weights, logits) = (s.losses.as_slice(), s.weights.as_slice(), s.logits.as_slice());
                let figures = RowFigures::of(&self.names, &s.figures);
                let answered = self.answered.as_ref();
                Outcome { losses, weights, logits, width: s.width, targets, kind, answered, figures }
            }
            None => Outcome {
                losses: &[],
                weights: &[],
                logits: &[],
                width: 0,
                targets,
                kind,
                answered: None,
                figures: None,
            },
        }
    }
}
