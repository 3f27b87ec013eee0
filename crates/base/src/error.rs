//! The one error type. Its variants are grouped by the exit code that the program ends with.
//!
//! A message names the file, node, tensor or column, and says what to do next. It never holds an id, a label or a
//! feature value of a row.

use std::{borrow::Cow, path::PathBuf};

/// Result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the program could not do its job.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // 1: a defect of this program
    /// An invariant of this program does not hold.
    #[error("internal error: {}; please report it", short(.0))]
    Internal(String),

    /// The device failed, or a library of it.
    #[error("internal error: {}; please report it", short(&.0.to_string()))]
    DeviceFailed(#[source] DeviceFailure),

    // 2: usage and configuration
    /// A flag, or a combination of flags, that makes no sense.
    #[error("{}", short(.0))]
    Usage(String),
    /// The configuration file cannot be read or has a wrong entry.
    #[error("{path}: {}", short(problem))]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// What is wrong, and where.
        problem: String,
    },
    /// A file that is to be written cannot be.
    #[error("{path}: cannot write: {}", short(problem))]
    Write {
        /// The file to be written.
        path: PathBuf,
        /// What stood in the way, and what to do.
        problem: String,
    },
    /// The runtime that parity needs is not on this machine.
    #[error("{}", short(.0))]
    RuntimeMissing(String),
    /// There is not enough memory, here or in a runtime that was asked.
    #[error(
        "not enough memory: {0}. Nothing was changed. Give the program more, or let it need less: a smaller `micro_batch` \
         or `batch_size` in [unlearn], fewer --threads, a smaller `memory_mib` in [data]"
    )]
    Memory(String),
    /// The device that was asked for is not there, or cannot run the job.
    #[error("--device {device}: {}", short(problem))]
    Device {
        /// As it is typed.
        device: String,
        /// What is wrong, and what to do.
        problem: String,
        /// What it answered, if it was asked.
        #[source]
        source: Option<DeviceFailure>,
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
    #[error("{path}: {}: {}", name(place), short(problem))]
    Malformed {
        /// The model file.
        path: PathBuf,
        /// The message, node or tensor inside it.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// A node whose attributes or inputs break the operator's contract.
    #[error("node {} ({}): {}", name(node), name(op), short(problem))]
    Node {
        /// The node's name, or its first output where it has none.
        node: String,
        /// `domain::Operator-version`.
        op: String,
        /// What is wrong.
        problem: String,
    },
    /// What a pass over the graph takes, or makes, is more than the limits allow.
    #[error("{pass}: {}: {}", at(node), short(problem))]
    TooLarge {
        /// The pass.
        pass: &'static str,
        /// The node, or the tensor.
        node: String,
        /// Which limit, and the flag that raises it.
        problem: String,
    },
    /// Operators that this program does not have, all of them in one message.
    #[error("the model uses what is not supported:\n{}", short(.0))]
    Unsupported(String),
    /// The graph is well formed, but cannot be trained as asked: no trainable parameter, no loss, a missing gradient.
    #[error("{}", short(.0))]
    Untrainable(String),

    // 4: the data cannot be used
    /// A data file cannot be read.
    #[error("{path}: {}", short(problem))]
    ReadData {
        /// The Parquet file, folder or glob.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Columns, ids or splits that do not fit the model or the request.
    #[error("{}", short(.0))]
    Data(String),

    /// The model does not know the rows as they were read, so that the run would train it on something else.
    #[error(
        "{}\nNothing was changed. Mend how the rows are given; if the model really is no better, --accept-unknown-rows goes on",
        short(.0)
    )]
    UnknownRows(String),

    // 5, 6, 7: a check failed
    /// Our model is not the runtime's model, before anything was changed.
    #[error("parity before unlearning failed: {}", short(.0))]
    ParityBefore(String),
    /// The run diverged, or a gate does not hold.
    #[error("unlearning failed: {}", short(.0))]
    Unlearning(String),
    /// The written model is not the model in memory.
    #[error("parity after unlearning failed: {}", short(.0))]
    ParityAfter(String),

    // 8: there is nothing to do
    /// The model does not remember the rows better than unseen ones.
    #[error("nothing to forget: {}. Nothing was written; --unlearn-anyway runs the method all the same", short(.0))]
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
            Internal(_) | DeviceFailed(_) => 1,
            Usage(_) | Config { .. } | Write { .. } | RuntimeMissing(_) | Memory(_) | Device { .. } => 2,
            ReadModel { .. } | CutShort | Malformed { .. } | Node { .. } | TooLarge { .. } => 3,
            Unsupported(_) | Untrainable(_) => 3,
            ReadData { .. } | Data(_) | UnknownRows(_) => 4,
            ParityBefore(_) => 5,
            Unlearning(_) => 6,
            ParityAfter(_) => 7,
            NothingToForget(_) => 8,
            Interrupted => 130,
        }
    }
}

/// What a device, or a library of it, answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct DeviceFailure {
    /// What it means.
    pub fault: DeviceFault,
    /// The answer's name in CUDA, if it has one.
    pub name: Option<String>,
    /// All that was said.
    pub text: String,
}

/// What a device's answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceFault {
    /// Its memory does not suffice.
    Memory,
    /// It, or its driver, cannot run the kernels that this program was built with.
    Kernels,
    /// Anything else.
    Other,
}

impl DeviceFailure {
    /// The answer that CUDA calls `name`.
    pub fn named(name: &str, text: String) -> Self {
        let fault = match name {
            "CUDA_ERROR_OUT_OF_MEMORY" | "CUBLAS_STATUS_ALLOC_FAILED" => DeviceFault::Memory,
            "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"
            | "CUDA_ERROR_INVALID_PTX"
            | "CUDA_ERROR_NO_BINARY_FOR_GPU"
            | "CUDA_ERROR_JIT_COMPILER_NOT_FOUND" => DeviceFault::Kernels,
            _ => DeviceFault::Other,
        };
        Self { fault, name: Some(name.into()), text }
    }

    /// An answer without a name.
    pub fn unnamed(text: String) -> Self {
        Self { fault: DeviceFault::Other, name: None, text }
    }
}

/// Characters of one name that a message shows, and of all that it says.
const NAME: usize = 400;
const MESSAGE: usize = 8000;

/// A name, or a place in a file, cut to a length that a message can hold.
fn name(text: &str) -> Cow<'_, str> {
    cut(text, NAME)
}

/// The place of a node, which may be given as such, as its name, or have none.
fn at(node: &str) -> Cow<'_, str> {
    match node {
        "" => "a node without name".into(),
        place if place.starts_with("node ") => name(place),
        named => format!("node {}", name(named)).into(),
    }
}

/// What a message says: each word of it is cut as a name is, and all of it where it would fill screens.
fn short(text: &str) -> Cow<'_, str> {
    if text.len() <= NAME {
        return text.into();
    }
    if text.split_whitespace().all(|word| word.len() <= NAME) {
        return cut(text, MESSAGE);
    }
    let words = text.split_inclusive(char::is_whitespace).map(|word| match word.trim_end().len() {
        0..=NAME => word.into(),
        len => cut(word.get(..len).unwrap_or(word), NAME) + word.get(len..).unwrap_or_default(),
    });
    let text: String = words.collect();
    cut(&text, MESSAGE).into_owned().into()
}

fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return text.into();
    }
    let (first, last) = (text.floor_char_boundary(most * 3 / 4), text.ceil_char_boundary(text.len() - most / 4));
    let (start, end) = (text.get(..first).unwrap_or_default(), text.get(last..).unwrap_or_default());
    format!("{start} … ({} bytes left out) … {end}", last - first).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_do_not_make_long_messages() {
        let long = "ä".repeat(1 << 20);
        let node =
            Error::Node { node: long.clone(), op: "Add-13".into(), problem: format!("its input `{long}` is odd") };
        let text = node.to_string();
        assert!(text.len() < 1500 && text.ends_with("` is odd") && text.contains("bytes left out"), "{}", text.len());
        let list = Error::Untrainable(format!("perm {:?} is none", vec![0; 1 << 20]));
        assert!(list.to_string().len() < 9000 && list.to_string().ends_with("is none"));
        let plain = "a plain sentence\n  of two lines";
        assert_eq!(Error::Untrainable(plain.into()).to_string(), plain);
    }
}
