//! Errors that name the file and the row of what is wrong.

use super::{Piece, Source};
use crate::{Error, Result, column, fault::Fault};
use arrow_array::RecordBatch;

impl Source {
    /// An error about the file that `piece` lies in.
    pub fn problem(&self, piece: Piece, problem: String) -> Error {
        let path = self.files.get(piece.file).map_or(&self.name, |f| &f.path);
        Error::ReadData { path: path.clone(), problem }
    }

    /// An error about rows of a batch of `piece`, which begins behind `before` of the `chosen` rows (or of all).
    pub fn fault(&self, piece: Piece, chosen: Option<&[usize]>, before: usize, fault: Fault) -> Error {
        let Fault { row, problem } = fault;
        let Some(row) = row.and_then(|r| r.checked_add(before)) else { return self.problem(piece, problem) };
        let within = chosen.map_or(Some(row), |c| c.get(row).copied()).unwrap_or(row);
        self.problem(piece, format!("row {} (counted from 0): {problem}", self.number(piece, within)))
    }

    /// The number that a piece's row has in its file.
    fn number(&self, piece: Piece, row: usize) -> usize {
        let first = self.files.get(piece.file).map_or(0, |f| f.first);
        (piece.first - first.min(piece.first)).saturating_add(row)
    }

    /// Checks that every row of `batch`, which was read from `piece`, has a value in every column.
    ///
    /// # Errors
    /// [`Error::ReadData`] gives the column, how many rows of the whole file have no value, and the first one's number;
    /// those of [`Source::read`].
    pub fn check_nulls(&self, piece: Piece, batch: &RecordBatch) -> Result<()> {
        for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
            if column::has_nulls(array) {
                let (mut count, mut first) = (0, None);
                for other in self.pieces.iter().filter(|p| p.file == piece.file) {
                    let mut before = 0;
                    for batch in self.read(*other, &[field.name()], None, 1 << 14)? {
                        let batch = batch?;
                        for array in batch.columns() {
                            let rows = column::null_rows(array);
                            count += rows.len();
                            first = first.or(rows.first().map(|r| self.number(*other, before + r)));
                        }
                        before += batch.num_rows();
                    }
                }
                let name = field.name();
                let place = first.map_or(String::new(), |row| format!(" (the first is row {row}, counted from 0)"));
                let problem = format!(
                    "column `{name}`: {count} rows have no value, or one inside their list{place}; remove or fill them"
                );
                return Err(self.problem(piece, problem));
            }
        }
        Ok(())
    }
}
