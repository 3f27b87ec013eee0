//! Groups of rows in files that have none of their own: where some thousand rows lie, to be read at once.

use super::Batches;
use arrow_array::{RecordBatch, UInt64Array};

/// Rows of a group, at most.
const ROWS: usize = 8192;
/// Bytes of a group, but for its last row.
const BYTES: u64 = 4 << 20;

/// Where a group lies.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// First byte.
    pub at: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Its rows.
    pub rows: usize,
}

/// All groups of a file, in order.
#[derive(Debug, Default)]
pub struct Groups {
    groups: Vec<Group>,
    rows: usize,
}

impl Groups {
    /// The next row's bytes.
    pub fn add(&mut self, at: u64, bytes: u64) {
        self.rows += 1;
        match self.groups.last_mut() {
            Some(g) if g.rows < ROWS && g.bytes < BYTES => {
                g.bytes = at + bytes - g.at;
                g.rows += 1;
            }
            _ => self.groups.push(Group { at, bytes, rows: 1 }),
        }
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Rows of each group.
    pub fn sizes(&self) -> Vec<usize> {
        self.groups.iter().map(|g| g.rows).collect()
    }

    /// The group of that number.
    ///
    /// # Errors
    /// A number beyond the last group.
    pub fn get(&self, group: usize) -> Result<Group, String> {
        self.groups.get(group).copied().ok_or_else(|| "no such group of rows".into())
    }
}

/// The chosen rows of a group that was read whole, at most `chunk` at a time.
///
/// # Errors
/// A row beyond the group, since the file has changed.
pub fn chosen(batch: RecordBatch, rows: Option<&[usize]>, chunk: usize) -> Result<Batches, String> {
    let batch = match rows {
        None => batch,
        Some(rows) => {
            if rows.last().is_some_and(|&last| last >= batch.num_rows()) {
                return Err("damaged (fewer rows than at first)".into());
            }
            let places = UInt64Array::from_iter_values(rows.iter().map(|&r| r as u64));
            arrow_select::take::take_record_batch(&batch, &places).map_err(|e| e.to_string())?
        }
    };
    let chunk = chunk.max(1);
    let starts = (0..batch.num_rows()).step_by(chunk);
    Ok(Box::new(starts.map(move |at| Ok(batch.slice(at, chunk.min(batch.num_rows() - at))))))
}
