//! Batches, decoded in a background thread ahead of their consumer.

use super::{
    Batch, Rows,
    dataset::{Dataset, Storage, positions},
    decode::Decoded,
};
use crate::{Error, Result};
use onnx_forget_base::scope::Scope;
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

/// Batches that are made ahead of the consumer when a pass does not say otherwise.
const AHEAD: usize = 2;

/// `rows` in the uniformly random order that `seed` decides.
pub(super) fn permuted(rows: &Rows, seed: u64) -> Vec<usize> {
    let mut rows = rows.to_vec();
    rows.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    rows
}

/// An iterator of batches. Dropping it ends the background thread.
#[derive(Debug)]
pub struct Batches {
    receiver: Option<Receiver<Result<Batch>>>,
    thread: Option<JoinHandle<()>>,
    left: usize,
}

impl Batches {
    fn start(count: usize, depth: usize, work: impl FnOnce(&mut Sender) -> Result<(), Stop> + Send + 'static) -> Self {
        let (sender, receiver) = sync_channel(depth.max(1));
        let scope = Scope::current();
        let run = move || {
            let mut sender = Sender { sender };
            let work = |sender: &mut Sender| match scope {
                Some(scope) => scope.enter(|| work(sender)),
                None => work(sender),
            };
            if let Err(Stop::Failed(e)) = work(&mut sender) {
                // Nobody listens any more if this fails, so that nobody misses the error.
                let _ = sender.sender.send(Err(e));
            }
        };
        match std::thread::Builder::new().name("decode".into()).spawn(run) {
            Ok(thread) => Self { receiver: Some(receiver), thread: Some(thread), left: count },
            Err(e) => {
                let (sender, receiver) = sync_channel(1);
                let _ = sender.send(Err(Error::Internal(format!("cannot start the decoding thread ({e})"))));
                Self { receiver: Some(receiver), thread: None, left: count.max(1) }
            }
        }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let received = self.receiver.as_ref().map(Receiver::recv);
        match received {
            Some(Ok(Ok(batch))) => {
                self.left -= 1;
                Some(Ok(batch))
            }
            other => {
                self.left = 0;
                self.receiver = None;
                Some(match other {
                    Some(Ok(Err(e))) => Err(e),
                    _ => Err(Error::Internal("the decoding thread ended before its last batch".into())),
                })
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Batches {}

impl Drop for Batches {
    fn drop(&mut self) {
        self.receiver = None;
        if let Some(thread) = self.thread.take() {
            // A panic in there has already shown itself as an early end.
            let _ = thread.join();
        }
    }
}

struct Sender {
    sender: SyncSender<Result<Batch>>,
}

/// Why the background thread stops early.
enum Stop {
    Failed(Error),
    /// The consumer wants no more.
    Unwanted,
}

impl From<Error> for Stop {
    fn from(e: Error) -> Self {
        Stop::Failed(e)
    }
}

impl Sender {
    fn send(&mut self, batch: Batch) -> Result<(), Stop> {
        self.sender.send(Ok(batch)).map_err(|_| Stop::Unwanted)
    }
}

/// Batches of the given row lists, in their order, at most `depth` ahead of the consumer.
pub fn stream(dataset: Arc<Dataset>, batches: Vec<Vec<usize>>, depth: usize) -> Batches {
    Batches::start(batches.len(), depth, move |out| {
        for rows in &batches {
            out.send(dataset.batch(rows)?)?;
        }
        Ok(())
    })
}

/// One pass over `rows`, in ascending order or shuffled by a seed.
pub(super) fn pass(dataset: Arc<Dataset>, rows: Rows, batch_size: usize, seed: Option<u64>) -> Batches {
    let size = batch_size.max(1);
    Batches::start(rows.len().div_ceil(size), AHEAD, move |out| {
        let order = || match seed {
            Some(seed) => permuted(&rows, seed),
            None => rows.to_vec(),
        };
        match &dataset.storage {
            Storage::Memory(all) => {
                for rows in order().chunks(size) {
                    out.send(dataset.plan.batch(all, rows)?)?;
                }
                Ok(())
            }
            Storage::Streamed { kept: Some((which, decoded)), .. } if *which == rows => {
                let which = which.to_vec();
                for rows in order().chunks(size) {
                    out.send(dataset.plan.batch(decoded, &positions(&which, rows)?)?)?;
                }
                Ok(())
            }
            Storage::Streamed { window, .. } => by_groups(&dataset, &rows, size, seed, *window, out),
        }
    })
}

/// The rule that [`Dataset::shuffled`] states; without a seed, ascending.
fn by_groups(
    dataset: &Dataset,
    rows: &Rows,
    size: usize,
    seed: Option<u64>,
    window: usize,
    out: &mut Sender,
) -> Result<(), Stop> {
    let mut rng = seed.map(ChaCha8Rng::seed_from_u64);
    let mut groups: Vec<usize> = (0..dataset.source.pieces().len()).collect();
    if let Some(rng) = &mut rng {
        groups.shuffle(rng);
    }
    let mut held = dataset.plan.empty();
    for group in groups {
        let mut stop = None;
        let mut each = |decoded: Decoded| {
            held.append(decoded)?;
            if rng.is_none() || held.bytes() >= window {
                match empty(dataset, &mut held, size, rng.as_mut(), false, out) {
                    Ok(()) => {}
                    Err(Stop::Failed(e)) => return Err(e),
                    Err(Stop::Unwanted) => {
                        stop = Some(Stop::Unwanted);
                        return Err(Error::Interrupted);
                    }
                }
            }
            Ok(())
        };
        let read = dataset.read_piece(&dataset.plan, group, rows, &mut each);
        if let Some(stop) = stop {
            return Err(stop);
        }
        read?;
    }
    empty(dataset, &mut held, size, rng.as_mut(), true, out)
}

/// Sends the held rows as batches; unless it is the `last` time, keeps what does not fill one.
fn empty(
    dataset: &Dataset,
    held: &mut Decoded,
    size: usize,
    rng: Option<&mut ChaCha8Rng>,
    last: bool,
    out: &mut Sender,
) -> Result<(), Stop> {
    let mut order: Vec<usize> = (0..held.len()).collect();
    if let Some(rng) = rng {
        order.shuffle(rng);
    }
    let full = if last { order.len() } else { order.len() / size * size };
    let (now, later) = order.split_at(full);
    for rows in now.chunks(size) {
        out.send(dataset.plan.batch(held, rows)?)?;
    }
    *held = held.take(later)?;
    Ok(())
}
