//! What belongs to a run, and not to the process: its threads and its limits.
//!
//! The thread that does a run's work is in the run's [`Scope`]; so is every thread that the run starts, by
//! [`Scope::current`] and [`Scope::enter`]. Whatever is parallel goes through [`install`], and whatever is limited asks
//! [`crate::limits`], which asks the scope. So runs side by side in one process know nothing of each other. Outside of any
//! scope, rayon's global pool and the default limits serve.

use crate::{
    error::{Error, Result},
    limits::{InForce, Limits},
};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::{cell::RefCell, sync::Arc};

/// The threads and limits of a run; clones are one.
#[derive(Clone, Debug)]
pub struct Scope {
    pool: Arc<ThreadPool>,
    limits: Arc<InForce>,
}

/// Where a thread is.
#[derive(Clone, Default)]
struct Place {
    /// None for a worker of the pool itself.
    pool: Option<Arc<ThreadPool>>,
    limits: Arc<InForce>,
}

thread_local! {
    static PLACE: RefCell<Place> = RefCell::default();
}

/// Puts a thread back where it was.
struct Left(Option<Place>);

impl Drop for Left {
    fn drop(&mut self) {
        if let Some(before) = self.0.take() {
            PLACE.set(before);
        }
    }
}

impl Scope {
    /// A scope with so many threads of its own, as many as there are processors for none, under these limits.
    ///
    /// # Errors
    /// [`Error::Memory`] if the system gives no more threads.
    pub fn new(threads: Option<usize>, limits: Limits) -> Result<Self> {
        let limits = Arc::new(InForce::new(limits));
        let of_workers = Arc::clone(&limits);
        let begin = move |_| PLACE.set(Place { pool: None, limits: Arc::clone(&of_workers) });
        let pool = ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0)).start_handler(begin).build();
        let pool = pool.map_err(|e| Error::Memory(format!("for the threads to compute on ({e})")))?;
        Ok(Self { pool: Arc::new(pool), limits })
    }

    /// The scope that this thread is in, if it is in one.
    pub fn current() -> Option<Self> {
        PLACE.with_borrow(|place| Some(Self { pool: place.pool.clone()?, limits: Arc::clone(&place.limits) }))
    }

    /// The limits, as they were given.
    pub fn limits(&self) -> Limits {
        self.limits.given()
    }

    /// Does `work` on this thread, in this scope.
    pub fn enter<R>(&self, work: impl FnOnce() -> R) -> R {
        let place = Place { pool: Some(Arc::clone(&self.pool)), limits: Arc::clone(&self.limits) };
        let _left = Left(Some(PLACE.replace(place)));
        work()
    }

    /// Runs `work` once on each of the threads.
    pub fn broadcast(&self, work: impl Fn() + Sync) {
        self.pool.broadcast(|_| work());
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }
}

/// Runs `work`, which is parallel, on the threads of the scope that this thread is in.
pub fn install<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    match PLACE.with_borrow(|place| place.pool.clone()) {
        Some(pool) => pool.install(work),
        None => work(),
    }
}

/// How many threads compute for this one.
pub fn threads() -> usize {
    Scope::current().map_or_else(rayon::current_num_threads, |scope| scope.threads())
}

/// The limits that this thread is under.
pub(crate) fn limits() -> Arc<InForce> {
    PLACE.with_borrow(|place| Arc::clone(&place.limits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{self, most_nodes};

    fn of(threads: usize, nodes: u64) -> Scope {
        Scope::new(Some(threads), Limits { nodes: Some(nodes), ..Limits::default() }).unwrap()
    }

    #[test]
    fn scopes_nest_and_end_even_by_a_panic() {
        let outside = most_nodes();
        let (one, two) = (of(1, 10), of(2, 20));
        one.enter(|| {
            assert_eq!((threads(), most_nodes()), (1, 10));
            let inner = || two.enter(|| (threads(), most_nodes(), install(rayon::current_num_threads)));
            assert_eq!(inner(), (2, 20, 2));
            assert_eq!((threads(), most_nodes()), (1, 10));
        });
        let panics = || one.enter(|| assert_eq!(most_nodes(), 0));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        assert_eq!(most_nodes(), outside);
        assert!(Scope::current().is_none());
    }

    #[test]
    fn workers_and_started_threads_are_under_the_limits() {
        let scope = of(2, 30);
        assert_eq!(scope.enter(|| install(most_nodes)), 30);
        let started = scope.enter(|| {
            let scope = Scope::current().unwrap();
            std::thread::spawn(move || scope.enter(|| (threads(), most_nodes()))).join().unwrap()
        });
        assert_eq!(started, (2, 30));
    }

    #[test]
    fn large_batches_of_one_run_raise_no_other_runs_limit() {
        let (a, b) = (of(1, 1), of(1, 1));
        a.enter(|| limits::fed(256));
        assert!(a.enter(limits::most_elements) > b.enter(limits::most_elements));
    }
}
