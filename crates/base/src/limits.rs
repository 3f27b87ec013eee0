//! What a model file may make this program hold and do, so that a small file cannot take all memory or run for hours.
//!
//! A [`Budget`] belongs to one graph that is built from one file. The limits that the user gives belong to the run: see [`scope`].

use crate::{
    error::{Error, Result},
    scope,
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// Bytes that any graph may take.
pub const FREE_MEMORY: u64 = 64 << 20;
/// Bytes that a graph may take beyond [`FREE_MEMORY`] for each byte of its files. A graph of nothing but the shortest nodes
/// takes about 20.
pub const MEMORY_PER_BYTE: u64 = 32;
/// Nodes that a graph may have, once functions, bodies and loops are written out.
pub const MOST_NODES: u64 = 500_000;
/// Looks at nodes and values for each node that a graph may have, to find out how often loops run.
const LOOKS_PER_NODE: u64 = 2;
/// Elements that a node's result may have.
const MOST_ELEMENTS: usize = 1 << 28;
/// Axes that a tensor may have; NumPy has the same limit.
pub const MOST_AXES: usize = 64;
/// Elements of a node's result that each fed row justifies, and how many rows do.
const ELEMENTS_PER_ROW: usize = 1 << 22;
const ROWS: usize = 256;

/// What the user gives; the defaults are in proportion to the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that the graph may take, and a node's result of 4 bytes an element.
    pub memory: Option<u64>,
    /// Nodes that the graph may have.
    pub nodes: Option<u64>,
}

/// The limits of a run, and how many rows it has fed at once.
#[derive(Debug)]
pub(crate) struct InForce {
    given: Limits,
    fed: AtomicUsize,
}

impl InForce {
    pub fn new(given: Limits) -> Self {
        Self { given, fed: AtomicUsize::new(1) }
    }

    pub fn given(&self) -> Limits {
        self.given
    }
}

impl Default for InForce {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

/// Nodes that a graph may have.
pub fn most_nodes() -> u64 {
    scope::limits().given.nodes.unwrap_or(MOST_NODES)
}

/// Says that the run feeds so many rows at once: large batches have large results.
pub fn fed(rows: usize) {
    scope::limits().fed.fetch_max(rows.min(ROWS), Relaxed);
}

/// Elements that a node's result may have.
pub fn most_elements() -> usize {
    let limits = scope::limits();
    match limits.given.memory {
        Some(bytes) => usize::try_from(bytes / 4).unwrap_or(usize::MAX),
        None => MOST_ELEMENTS.max(limits.fed.load(Relaxed).saturating_mul(ELEMENTS_PER_ROW)),
    }
}

/// The number of elements of `dims`, if a node's result may have that many. No product of extents wraps, be there an extent
/// of 0 or not.
pub fn elements(dims: &[usize]) -> Option<usize> {
    let nonzero = dims.iter().filter(|&&n| n > 0).try_fold(1usize, |all, &n| all.checked_mul(n))?;
    let count = if dims.contains(&0) { 0 } else { nonzero };
    (nonzero <= isize::MAX as usize / 16 && count <= most_elements()).then_some(count)
}

/// The number of elements of `dims`, the shape of a node's result or of what it needs for that.
///
/// # Errors
/// [`Error::Node`] without a node (the caller adds it) if that is more than a result may have.
pub fn count(dims: &[usize]) -> Result<usize> {
    let error = |problem: String| Error::Node { node: String::new(), op: String::new(), problem };
    if dims.len() > MOST_AXES {
        return Err(error(format!("a tensor of {} axes; at most {MOST_AXES} are supported", dims.len())));
    }
    elements(dims).ok_or_else(|| {
        error(format!(
            "a tensor of shape {dims:?} has more than {} elements; --max-memory raises the limit (4 bytes an element), and a \
             smaller batch needs less",
            most_elements()
        ))
    })
}

/// Memory and work of one graph, charged while it is built.
#[derive(Debug, Default)]
pub struct Budget {
    /// Bytes of the files, as far as they are open.
    files: Arc<AtomicU64>,
    held: AtomicU64,
    nodes: AtomicU64,
    looks: AtomicU64,
}

impl Budget {
    /// Of a graph whose files have so many bytes; the number may grow as more of them are opened.
    pub fn new(files: Arc<AtomicU64>) -> Self {
        Self { files, ..Self::default() }
    }

    /// Charges memory that `pass` takes at `node`.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond the limit.
    pub fn hold(&self, bytes: usize, pass: &'static str, node: &str) -> Result<()> {
        let held = self.held.fetch_add(bytes as u64, Relaxed).saturating_add(bytes as u64);
        let justified = || FREE_MEMORY.saturating_add(self.files.load(Relaxed).saturating_mul(MEMORY_PER_BYTE));
        let most = scope::limits().given.memory.unwrap_or_else(justified);
        if held <= most {
            return Ok(());
        }
        let problem = format!(
            "the graph takes more than {} MiB, far more than its file justifies; if the model is sound, --max-memory raises \
             the limit",
            most >> 20
        );
        Err(Error::TooLarge { pass, node: node.into(), problem })
    }

    /// Charges nodes that `pass` makes at `node`.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond the limit.
    pub fn make(&self, nodes: usize, pass: &'static str, node: &str) -> Result<()> {
        let most = most_nodes();
        let made = self.nodes.fetch_add(nodes as u64, Relaxed).saturating_add(nodes as u64);
        if made <= most {
            return Ok(());
        }
        let problem =
            format!("the graph has more than {most} nodes; if the model is sound, --max-nodes raises the limit");
        Err(Error::TooLarge { pass, node: node.into(), problem })
    }

    /// Charges looks of `pass` at `node`, which make nothing.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond the limit.
    pub fn look(&self, looks: usize, pass: &'static str, node: &str) -> Result<()> {
        let most = most_nodes().saturating_mul(LOOKS_PER_NODE);
        let looked = self.looks.fetch_add(looks as u64, Relaxed).saturating_add(looks as u64);
        if looked <= most {
            return Ok(());
        }
        let problem = format!(
            "that takes more than {most} looks at nodes; if the model is sound, --max-nodes raises the limit (two looks a \
             node)"
        );
        Err(Error::TooLarge { pass, node: node.into(), problem })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_product_of_extents_wraps() {
        assert_eq!(elements(&[3, 5]), Some(15));
        assert_eq!(elements(&[3, 0, 5]), Some(0));
        assert_eq!(elements(&[]), Some(1));
        // 7 times its inverse modulo 2^64 is 1.
        assert_eq!(elements(&[3, 7, 0x6DB6_DB6D_B6DB_6DB7]), None);
        assert_eq!(elements(&[0, 1 << 40, 1 << 40]), None, "a later product would wrap");
        assert_eq!(elements(&[1 << 15, 1 << 15]), None);
    }

    #[test]
    fn memory_is_in_proportion_to_the_file() {
        let files = Arc::new(AtomicU64::new(1 << 20));
        let budget = Budget::new(Arc::clone(&files));
        budget.hold(96 << 20, "inlining", "n").unwrap();
        let e = budget.hold(1, "inlining", "n").unwrap_err();
        assert_eq!(e.exit_code(), 3);
        assert!(e.to_string().contains("inlining") && e.to_string().contains("--max-memory"), "{e}");
        files.fetch_add(1 << 20, Relaxed);
        budget.hold(1, "inlining", "n").unwrap();
    }

    #[test]
    fn nodes_and_looks_have_limits_of_their_own() {
        let budget = Budget::default();
        budget.make(MOST_NODES as usize, "unrolling", "loop").unwrap();
        assert!(budget.make(1, "unrolling", "loop").unwrap_err().to_string().contains("--max-nodes"));
        budget.look(MOST_NODES as usize, "unrolling", "loop").unwrap();
        assert!(budget.look(usize::MAX / 2, "unrolling", "loop").is_err());
    }
}
