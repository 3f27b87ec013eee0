//! The one error type. Its variants are grouped by the exit code that the program ends with.
//!
//! A message names the file, node, tensor or column, and says what to do next. It never holds an id, a label or a
//! feature value of a row.

use std::path::PathBuf;

/// Result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the program could not do its job.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // 1: a defect of this program
    /// An invariant of this program does not hold.
    #[error("internal error: {0}; please report it")]
    Internal(String),

    // 2: usage and configuration
    /// A flag, or a combination of flags, that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The configuration file cannot be read or has a wrong entry.
    #[error("{path}: {problem}")]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// What is wrong, and where.
        problem: String,
    },
    /// A file that is to be written cannot be.
    #[error("{path}: cannot write: {problem}")]
    Write {
        /// The file to be written.
        path: PathBuf,
        /// What stood in the way, and what to do.
        problem: String,
    },
    /// The runtime that parity needs is not on this machine.
    #[error("{0}")]
    RuntimeMissing(String),
    /// There is not enough memory, here or in a runtime that was asked.
    #[error(
        "not enough memory: {0}. Nothing was changed. Give the program more, or let it need less: a smaller `micro_batch` \
         or `batch_size` in [unlearn], fewer --threads, a smaller `memory_mib` in [data]"
    )]
    Memory(String),
    /// The device that was asked for is not there, or cannot run the job.
    #[error("--device {device}: {problem}")]
    Device {
        /// As it is typed.
        device: String,
        /// What is wrong, and what to do.
        problem: String,
    },

    // 3: the model cannot be used
    /// The model file, or a file it refers to, cannot be read.
    #[error("{path}: {source}")]
    ReadModel {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A file that is mapped into memory is no longer whole.
    #[error(
        "a file of the model became shorter while it was being read, or its disk failed. Nothing was changed; run again"
    )]
    CutShort,
    /// The model file does not follow the format.
    #[error("{path}: {place}: {problem}")]
    Malformed {
        /// The model file.
        path: PathBuf,
        /// The message, node or tensor inside it.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// A node whose attributes or inputs break the operator's contract.
    #[error("node {node} ({op}): {problem}")]
    Node {
        /// The node's name, or its first output where it has none.
        node: String,
        /// `domain::Operator-version`.
        op: String,
        /// What is wrong.
        problem: String,
    },
    /// Operators that this program does not have, all of them in one message.
    #[error("the model uses what is not supported:\n{0}")]
    Unsupported(String),
    /// The graph is well formed, but cannot be trained as asked: no trainable parameter, no loss, a missing gradient.
    #[error("{0}")]
    Untrainable(String),

    // 4: the data cannot be used
    /// A data file cannot be read.
    #[error("{path}: {problem}")]
    ReadData {
        /// The Parquet file, folder or glob.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Columns, ids or splits that do not fit the model or the request.
    #[error("{0}")]
    Data(String),

    /// The model does not know the rows as they were read, so that the run would train it on something else.
    #[error(
        "{0}\nNothing was changed. Mend how the rows are given; if the model really is no better, --accept-unknown-rows goes on"
    )]
    UnknownRows(String),

    // 5, 6, 7: a check failed
    /// Our model is not the runtime's model, before anything was changed.
    #[error("parity before unlearning failed: {0}")]
    ParityBefore(String),
    /// The run diverged, or a gate does not hold.
    #[error("unlearning failed: {0}")]
    Unlearning(String),
    /// The written model is not the model in memory.
    #[error("parity after unlearning failed: {0}")]
    ParityAfter(String),

    // 8: there is nothing to do
    /// The model does not remember the rows better than unseen ones.
    #[error("nothing to forget: {0}. Nothing was written; --unlearn-anyway runs the method all the same")]
    NothingToForget(String),

    // 130
    /// Ctrl-C, SIGTERM, SIGHUP or SIGQUIT.
    #[error("interrupted; nothing was changed")]
    Interrupted,
}

impl Error {
    /// The exit code that this error ends the program with.
    pub fn exit_code(&self) -> u8 {
        use Error::*;
        match self {
            Internal(_) => 1,
            Usage(_) | Config { .. } | Write { .. } | RuntimeMissing(_) | Memory(_) | Device { .. } => 2,
            ReadModel { .. } | CutShort | Malformed { .. } | Node { .. } | Unsupported(_) | Untrainable(_) => 3,
            ReadData { .. } | Data(_) | UnknownRows(_) => 4,
            ParityBefore(_) => 5,
            Unlearning(_) => 6,
            ParityAfter(_) => 7,
            NothingToForget(_) => 8,
            Interrupted => 130,
        }
    }
}
