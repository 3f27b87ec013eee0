//! What can be done with a model, each in a few calls: a builder says what is wanted, `prepare` reads the model and the rows,
//! and what it gives does the work. The command line does the same by the same functions of [`crate::run`].

mod audit;
mod compare;
mod forget;
mod inspect;
mod train;
mod verify;

pub use audit::{Audit, PreparedAudit};
pub use compare::{Compare, PreparedCompare};
pub use forget::{Forget, Forgotten, Prepared};
pub use inspect::Inspect;
pub use train::Train;
pub use verify::Verify;

/// What all builders can be told.
macro_rules! common {
    () => {
        /// How the input `name` of the model is fed: what is not said is inferred from the model and the rows.
        pub fn input(mut self, name: impl Into<String>, config: crate::data::InputConfig) -> Self {
            self.options.data.inputs.insert(name.into(), config);
            self
        }

        /// Threads to compute on, for this run alone: as many as there are processors, or those of the
        /// [`Scope`](crate::scope::Scope) that the run begins in, unless given. The result is the same for any number.
        pub fn threads(mut self, threads: usize) -> Self {
            self.options.threads = Some(threads);
            self
        }

        /// What the model's file may take, for this run alone.
        pub fn limits(mut self, limits: crate::limits::Limits) -> Self {
            self.options.limits = Some(limits);
            self
        }

        /// The seed of every random choice: 0 unless given.
        pub fn seed(mut self, seed: u64) -> Self {
            self.options.seed = seed;
            self
        }

        /// Changes any option.
        pub fn options(mut self, change: impl FnOnce(&mut crate::run::Options)) -> Self {
            change(&mut self.options);
            self
        }

        /// What ends the run from another thread.
        pub fn stop(mut self, stop: &crate::run::Stop) -> Self {
            self.stop = stop.clone();
            self
        }
    };
}
use common;

/// What builders can be told that take rows: files, folders, globs, or a [`MemoryTable`](crate::data::MemoryTable).
macro_rules! rows {
    () => {
        /// The rows that the model was trained on.
        pub fn train(mut self, rows: impl Into<crate::data::Places>) -> Self {
            self.options.data.files.train = Some(rows.into());
            self
        }

        /// Rows that the model was not trained on, whose loss forgotten rows are to reach.
        pub fn validation(mut self, rows: impl Into<crate::data::Places>) -> Self {
            self.options.data.files.validation = Some(rows.into());
            self
        }

        /// Other rows that the model was not trained on, for the audit.
        pub fn test(mut self, rows: impl Into<crate::data::Places>) -> Self {
            self.options.data.files.test = Some(rows.into());
            self
        }

        /// A list of the ids of the rows to forget, a file or [in memory](crate::data::MemoryTable::of_ids); may be called
        /// several times.
        pub fn ids(mut self, list: impl Into<crate::data::Places>) -> Self {
            self.options.forget.push(list.into());
            self
        }

        /// A class whose rows are to be forgotten.
        pub fn class(mut self, class: i64) -> Self {
            self.options.forget_class = Some(class);
            self
        }
    };
}
use rows;

/// What builders can be told that hold a model against others.
macro_rules! references {
    () => {
        /// A model that was trained without the rows, to compare with; may be called several times.
        pub fn reference(mut self, model: impl Into<std::path::PathBuf>) -> Self {
            self.options.references.push(model.into());
            self
        }
    };
}
use references;
