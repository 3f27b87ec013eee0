//! The audit's rows: which they are, and what a model makes of them.

use super::{
    check_interrupt,
    job::{EVALUATION_BATCH, Job},
    rows::sample,
};
use crate::{
    audit::{Audit, Half, Measured, Outcome, SplitDigest, measure},
    data::{Dataset, Rows, TargetKind, Targets},
    error::{Error, Result},
    kernels::Backend,
    model::{Model, Scores},
};
use std::sync::Arc;

/// Retained rows that the audit measures, at most.
const AUDITED_RETAIN_ROWS: usize = 10_000;

impl Job {
    /// Losses, accuracies and attacks of the model as it is now.
    pub fn audit<D: Backend<f32>>(&self, model: &Model<f32, D>) -> Result<(Audit, Measured)> {
        let data = &self.data;
        let forget = scored(model, &data.train, &data.forget)?;
        let retain = scored(model, &data.train, &self.audited_retain())?;
        let test = scored(model, &data.test, &Rows::all(data.test.len()))?;
        let kind = data.target;
        measure(&forget.outcome(kind), &retain.outcome(kind), &test.outcome(kind), self.config.seed)
    }

    /// The retained rows that are measured: all, or as many as are enough, chosen by the seed.
    fn audited_retain(&self) -> Rows {
        let data = &self.data;
        sample(data.train.len(), Some(&data.retain), AUDITED_RETAIN_ROWS, self.config.seed, "audit")
    }

    /// Which rows serve what, by salted digests: no row gives τ, trains an attack and is attacked.
    pub fn splits(&self, measured: &Measured) -> Vec<SplitDigest> {
        let (data, seed) = (&self.data, self.config.seed);
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
            digest("trains the transfer attack", "test", unseen.0),
            digest("is attacked", "test", unseen.1),
            digest("trains the transfer attack", "retain", of_train(retained.0)),
            digest("is attacked", "retain", of_train(retained.1)),
            digest("is attacked", "forget", data.forget.to_vec()),
        ]
    }
}

/// What a model makes of rows of a set.
pub fn scored<D: Backend<f32>>(model: &Model<f32, D>, set: &Arc<Dataset>, rows: &Rows) -> Result<Scored> {
    let mut scored = Scored::default();
    for batch in set.in_order(rows, EVALUATION_BATCH) {
        check_interrupt()?;
        let batch = batch?;
        scored.push(model.scores(&batch)?, batch.targets)?;
    }
    Ok(scored)
}

/// What a model made of a set of rows, batch after batch.
#[derive(Default)]
pub struct Scored {
    scores: Option<Scores>,
    targets: Option<Targets>,
}

impl Scored {
    fn push(&mut self, scores: Scores, targets: Targets) -> Result<()> {
        match &mut self.scores {
            None => self.scores = Some(scores),
            Some(all) => {
                all.losses.extend(scores.losses);
                all.weights.extend(scores.weights);
                all.logits.extend(scores.logits);
            }
        }
        match (&mut self.targets, targets) {
            (None, first) => self.targets = Some(first),
            (Some(Targets::Classes(all)), Targets::Classes(more)) => all.extend(more),
            (Some(Targets::Values { values, .. }), Targets::Values { values: more, .. }) => values.extend(more),
            _ => return Err(Error::Internal("labels of two kinds in one set of rows".into())),
        }
        Ok(())
    }

    /// As the audit takes it.
    pub fn outcome(&self, kind: TargetKind) -> Outcome<'_> {
        const NONE: &Targets = &Targets::Classes(Vec::new());
        let targets = self.targets.as_ref().unwrap_or(NONE);
        match &self.scores {
            Some(s) => {
                Outcome { losses: &s.losses, weights: &s.weights, logits: &s.logits, width: s.width, targets, kind }
            }
            None => Outcome { losses: &[], weights: &[], logits: &[], width: 0, targets, kind },
        }
    }
}
