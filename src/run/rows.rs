//! Which rows serve what, in which order and batches: all chosen by the run's seed.

use super::job::{EVALUATION_BATCH, Job};
use crate::{
    data::{Batch, Dataset, Rows, epoch_seed},
    error::Result,
    graph::Graph,
    unlearn::{BatchIter, Batches, Set, Sets, method::Mixed},
};
use rand::{
    SeedableRng,
    seq::{IteratorRandom, SliceRandom},
};
use rand_chacha::ChaCha8Rng;

/// At most `count` rows of `among` (of all `total` if not given), chosen by the seed, in memory that depends on `count` alone.
pub(super) fn sample(total: usize, among: Option<&Rows>, count: usize, seed: u64, purpose: &str) -> Rows {
    let all = Rows::all(total);
    let mut rng = ChaCha8Rng::seed_from_u64(epoch_seed(seed, purpose, 0));
    Rows::listed(total, among.unwrap_or(&all).iter().sample(&mut rng, count))
}

/// At most `count` rows of `set`, chosen by the seed, in batches that a runtime takes: of the graph's number of rows, if
/// that is fixed, then perhaps with some rows twice; else of at most `micro_batch` rows.
pub(super) fn runtime_batches(
    graph: &Graph,
    micro_batch: Option<usize>,
    set: &Dataset,
    count: usize,
    seed: u64,
) -> Result<Vec<Batch>> {
    let rows = sample(set.len(), None, count.max(1), seed, "parity");
    let batch = set.batch(&rows.to_vec())?;
    let most = set.evaluation_batch(micro_batch.unwrap_or(batch.rows()));
    let cut = match graph.fixed_rows() {
        Some(size) => batch.pieces(size),
        None if most < batch.rows() => batch.parts(most),
        None => None,
    };
    let Some(pieces) = cut else { return Ok(vec![batch]) };
    Ok(pieces.into_iter().map(|(piece, _)| piece).collect())
}

/// The job's rows in the order that the method asks for.
pub(super) struct RunBatches<'a> {
    job: &'a Job,
    seed: u64,
}

impl<'a> RunBatches<'a> {
    /// For one run, in the order that `seed` decides.
    pub(super) fn new(job: &'a Job, seed: u64) -> Self {
        Self { job, seed }
    }

    fn shuffled(&self, rows: &Rows, subset: &str, pass: usize, size: usize) -> BatchIter {
        let seed = epoch_seed(self.seed, subset, pass);
        Box::new(self.job.data.train.shuffled(rows, size, seed))
    }
}

impl Batches for RunBatches<'_> {
    fn forget(&mut self, epoch: usize) -> Result<BatchIter> {
        self.pass(Set::Forget, epoch, self.job.schedule.batch_size)
    }

    fn retain(&mut self, pass: usize) -> Result<BatchIter> {
        self.pass(Set::Retain, pass, self.job.schedule.batch_size)
    }

    fn validation(&mut self) -> Result<BatchIter> {
        let set = &self.job.data.validation;
        Ok(Box::new(set.in_order(&Rows::all(set.len()), set.evaluation_batch(EVALUATION_BATCH))))
    }
}

impl Sets for RunBatches<'_> {
    fn count(&self, set: Set) -> usize {
        let data = &self.job.data;
        match set {
            Set::Forget => data.forget.len(),
            Set::Retain => data.retain.len(),
            Set::Train => data.train.len(),
        }
    }

    fn pass(&mut self, set: Set, pass: usize, size: usize) -> Result<BatchIter> {
        let data = &self.job.data;
        Ok(match set {
            Set::Forget => self.shuffled(&data.forget, "forget", pass, size),
            Set::Retain => self.shuffled(&data.retain, "retain", pass, size),
            Set::Train => self.shuffled(&Rows::all(data.train.len()), "train", pass, size),
        })
    }

    fn mixed(&mut self, pass: usize, size: usize) -> Result<Box<dyn Iterator<Item = Result<Mixed>> + '_>> {
        let data = &self.job.data;
        let mut order: Vec<usize> = (0..data.train.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(epoch_seed(self.seed, "mixed", pass)));
        let forget = data.forget.to_vec();
        let batches = (0..order.len()).step_by(size.max(1)).map(move |start| -> Result<Mixed> {
            let rows = order.get(start..order.len().min(start + size)).unwrap_or_default();
            let places = rows.iter().map(|row| forget.binary_search(row).ok()).collect();
            Ok((data.train.batch(rows)?, places))
        });
        Ok(Box::new(batches))
    }

    fn seed(&self) -> u64 {
        self.seed
    }
}
