//! Which rows serve what, in which order and batches: all chosen by the run's seed.

use super::job::{EVALUATION_BATCH, Job};
use crate::{
    data::{Batch, Dataset, Rows, epoch_seed},
    error::Result,
    graph::Graph,
    unlearn::{Batches, nabla_tau::BatchIter},
};
use rand::{SeedableRng, seq::IteratorRandom};
use rand_chacha::ChaCha8Rng;

/// At most `count` rows of `among` (of all `total` if not given), chosen by the seed, in memory that depends on `count` alone.
pub fn sample(total: usize, among: Option<&Rows>, count: usize, seed: u64, purpose: &str) -> Rows {
    let all = Rows::all(total);
    let mut rng = ChaCha8Rng::seed_from_u64(epoch_seed(seed, purpose, 0));
    Rows::listed(total, among.unwrap_or(&all).iter().sample(&mut rng, count))
}

/// At most `count` rows of `set`, chosen by the seed, in batches that a runtime takes: of the graph's number of rows, if
/// that is fixed, then perhaps with some rows twice; else of at most `micro_batch` rows.
pub fn runtime_batches(
    graph: &Graph,
    micro_batch: Option<usize>,
    set: &Dataset,
    count: usize,
    seed: u64,
) -> Result<Vec<Batch>> {
    let rows = sample(set.len(), None, count.max(1), seed, "parity");
    let batch = set.batch(&rows.to_vec())?;
    let cut = match (graph.fixed_rows(), micro_batch) {
        (Some(size), _) => batch.pieces(size),
        (None, Some(size)) => batch.parts(size),
        (None, None) => None,
    };
    let Some(pieces) = cut else { return Ok(vec![batch]) };
    Ok(pieces.into_iter().map(|(piece, _)| piece).collect())
}

/// The job's rows in the order that the method asks for.
pub struct RunBatches<'a> {
    job: &'a Job,
}

impl<'a> RunBatches<'a> {
    /// For one run.
    pub fn new(job: &'a Job) -> Self {
        Self { job }
    }

    fn shuffled(&self, rows: &Rows, subset: &str, pass: usize) -> BatchIter {
        let job = self.job;
        let seed = epoch_seed(job.config.seed, subset, pass);
        Box::new(job.data.train.shuffled(rows, job.schedule.batch_size, seed))
    }
}

impl Batches for RunBatches<'_> {
    fn forget(&mut self, epoch: usize) -> Result<BatchIter> {
        Ok(self.shuffled(&self.job.data.forget, "forget", epoch))
    }

    fn retain(&mut self, pass: usize) -> Result<BatchIter> {
        Ok(self.shuffled(&self.job.data.retain, "retain", pass))
    }

    fn validation(&mut self) -> Result<BatchIter> {
        let set = &self.job.data.validation;
        Ok(Box::new(set.in_order(&Rows::all(set.len()), EVALUATION_BATCH)))
    }
}
