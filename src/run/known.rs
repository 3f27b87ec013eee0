//! Whether the model knows the rows as they were read: asked by every command that measures or changes it.

use super::{
    events::{Event, Watch},
    job::{EVALUATION_BATCH, Job},
    measure::{Scored, answered},
    rows::sample,
};
use crate::{
    audit::{Measured, Remembered, Signals},
    data::{Batch, Dataset},
    error::{Error, Result},
    graph::{input_scale, loss::LossGraph},
    kernels::Backend,
    model::Model,
    parity::Work,
    plausibility::{self, Answers, Examined, Losses, Reading, Sample, alternatives, examine},
    tensor::HostTensor,
};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
};

/// Rows of each set that are looked at, at most.
const LOOKED_AT: usize = 512;
/// The same where these are too few to show anything.
const MOST_LOOKED_AT: usize = 4096;

/// Scores that are looked at, at most, where rows have several positions.
const MOST_SCORES: usize = 1 << 24;

/// Whether the model knows the rows, and how they were read.
pub(super) struct Known {
    pub known: Examined,
    pub reading: Reading,
}

impl Job {
    /// Looks whether the model knows the rows, and how they were read.
    ///
    /// # Errors
    /// [`Error::UnknownRows`] if it does not, unless the user accepts that.
    pub(super) fn require_known<D: Backend<f32>>(&self, watch: &mut Watch<'_>, model: &Model<f32, D>) -> Result<Known> {
        let (mut known, reading) = watch.stage("checking the rows", |_| self.examine(model))?;
        watch.tell(Event::RowsKnown(&known))?;
        for note in self.data.notes.iter().filter(|note| note.inferred && !known.confirmed()) {
            watch.warn(&format!("inferred, not confirmed: {}: {}", note.what, note.how))?;
        }
        if known.known() {
            return Ok(Known { known, reading });
        }
        if !self.options.accept_unknown_rows {
            return Err(Error::UnknownRows(known.explanation()));
        }
        watch.warn(&known.explanation())?;
        known.accepted = true;
        Ok(Known { known, reading })
    }

    fn examine<D: Backend<f32>>(&self, model: &Model<f32, D>) -> Result<(Examined, Reading)> {
        let most = self.affordable(model)?;
        let (found, reading) = self.examine_rows(model, most)?;
        // A weak model shows that it knows something in many rows only.
        if found.known() || !found.suggestions.is_empty() || most < LOOKED_AT || self.data.train.len() <= most {
            return Ok((found, reading));
        }
        self.examine_rows(model, MOST_LOOKED_AT)
    }

    /// Rows of each set that can be looked at in seconds: fewer where a pass over one of them is long.
    fn affordable<D: Backend<f32>>(&self, model: &Model<f32, D>) -> Result<usize> {
        let few = self.looked_at(&self.data.train, 2, "known")?;
        // A model that takes another number of rows at a time is not counted.
        let work = Work::count(model, &self.model.graph, &few.inputs, few.rows());
        Ok(work.map_or(LOOKED_AT / 4, |work| work.rows_to_look_at(LOOKED_AT)))
    }

    fn examine_rows<D: Backend<f32>>(&self, model: &Model<f32, D>, most: usize) -> Result<(Examined, Reading)> {
        let data = &self.data;
        let train = self.looked_at(&data.train, most, "known")?;
        let unseen =
            vec![self.looked_at(&data.validation, most, "unseen")?, self.looked_at(&data.test, most, "unseen")?];
        if let Some(own) = &self.model.plan.loss_graph {
            let found = self.examine_losses(model, own, (&train, &unseen))?;
            let mut reading = Reading::of(data.train.plan(), &train);
            let labels: Vec<&str> = own.labels.iter().map(|&label| self.model.graph.name(label)).collect();
            // Statistics of labels would tell too much of them.
            let of_labels = reading.inputs.iter_mut().filter(|input| labels.contains(&input.input.as_str()));
            of_labels.for_each(|input| input.example = None);
            return Ok((found, reading));
        }
        let sets = Sample { train, unseen, seed: self.options.seed };
        let width = |(name, tensor): (&String, &HostTensor)| {
            (name.clone(), tensor.len().checked_div(sets.train.rows()).unwrap_or(0))
        };
        let own = input_scale::find(&self.model.graph, &sets.train.inputs.iter().map(width).collect());
        let others = alternatives(data.train.plan(), &sets.train, &data.train.columns(), &own);
        let seen_through = model.plan().is_none_or(|plan| !plan.seen_through.is_empty() || plan.scores_are_log_probs);
        let found = examine(&sets, seen_through, &others, &|batch| self.answers(model, batch))?;
        Ok((found, Reading::of(data.train.plan(), &sets.train)))
    }

    /// Looks at the losses alone, with the rows' own labels and with those of other rows.
    fn examine_losses<D: Backend<f32>>(
        &self,
        model: &Model<f32, D>,
        own: &LossGraph,
        (train, unseen): (&Batch, &[Batch]),
    ) -> Result<Examined> {
        let losses = |batch: &Batch| {
            let mut all = Vec::new();
            let parts = batch.parts(EVALUATION_BATCH).unwrap_or_else(|| vec![(batch.clone(), batch.rows())]);
            for (part, _) in parts {
                self.stop.check()?;
                all.extend(model.scores(&part)?.losses.into_iter().map(f64::from));
            }
            Ok::<Vec<f64>, Error>(all)
        };
        let mut order: Vec<usize> = (0..train.rows()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(self.options.seed));
        let other = train.select(&order).filter(|_| !own.labels.is_empty());
        let permuted = other.map(|other| {
            let labels = own.labels.iter().map(|&label| self.model.graph.name(label));
            let labels = labels.filter_map(|name| Some((name.to_string(), other.inputs.get(name)?.clone())));
            let inputs = train.inputs.clone().into_iter().chain(labels).collect();
            losses(&Batch { inputs, targets: train.targets.clone() })
        });
        let of_unseen = unseen.iter().map(losses).collect::<Result<Vec<_>>>()?.concat();
        let losses = Losses { own: losses(train)?, permuted: permuted.transpose()?, unseen: of_unseen };
        Ok(plausibility::examine_losses(&losses))
    }

    /// Whether the model remembers the rows to forget better than unseen ones; none where that cannot be told, or does not matter.
    pub(super) fn remembered(&self, measured: &Measured) -> Result<Option<Remembered>> {
        let classes = |rows: &Signals| rows.classes.iter().flatten().copied().collect::<BTreeSet<i64>>();
        let mut kept = classes(&measured.retain);
        // The retained rows that were measured may be a sample.
        if !classes(&measured.forget).is_subset(&kept) {
            kept = self.data.train.targets(&self.data.retain)?.classes();
        }
        Ok(Remembered::of(measured, |class| kept.contains(&class)))
    }

    /// # Errors
    /// [`Error::NothingToForget`] if the model does not remember the rows, unless the method is to run anyway.
    pub(super) fn require_remembered(&self, found: Option<&Remembered>) -> Result<()> {
        match found.filter(|found| found.nothing_to_forget() && !self.options.unlearn_anyway) {
            Some(found) => {
                Err(Error::NothingToForget(format!("the model does not remember these rows: {}", found.line())))
            }
            None => Ok(()),
        }
    }

    fn looked_at(&self, set: &Dataset, most: usize, purpose: &str) -> Result<Batch> {
        set.batch(&sample(set.len(), None, most, self.options.seed, purpose).to_vec())
    }

    fn answers<D: Backend<f32>>(&self, model: &Model<f32, D>, batch: &Batch) -> Result<Option<Answers>> {
        let Some(plan) = model.plan() else { return Ok(None) };
        let (mut scored, mut positions): (_, Option<Answers>) = (Scored::of(model, &self.data.train), None);
        let size = self.data.train.evaluation_batch(EVALUATION_BATCH);
        for (part, rows) in batch.parts(size).unwrap_or_else(|| vec![(batch.clone(), batch.rows())]) {
            self.stop.check()?;
            debug_assert_eq!(part.rows(), rows);
            let scores = model.scores(&part)?;
            if let Some(more) = Answers::of_positions(&scores, &part.targets, plan) {
                let all = match positions.take() {
                    Some(all) => all.joined(more),
                    None => more,
                };
                if all.scores.len() > MOST_SCORES {
                    return Ok(Some(all));
                }
                positions = Some(all);
            }
            scored.push(scores, part.targets)?;
        }
        if positions.is_some() {
            return Ok(positions);
        }
        Ok(Answers::of(&scored.outcome(answered(model, self.data.target)), plan))
    }
}

/// A digest of all trained weights, to see whether a run has changed any. Not for strangers' eyes: it is not cryptographic.
pub(super) fn fingerprint<D: Backend<f32>>(model: &Model<f32, D>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for parameter in model.parameters() {
        parameter.tensor.to_vec().iter().for_each(|x| x.to_bits().hash(&mut hasher));
    }
    hasher.finish()
}
