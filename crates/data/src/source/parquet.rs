//! Parquet files: opened, held against their own counts, and read by row groups.

use super::{Batches, Table, footer, pages};
use crate::quiet;
use arrow_schema::SchemaRef;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
        },
    },
    file::metadata::ParquetMetaData,
};
use std::fs::File;

/// A Parquet file.
#[derive(Debug)]
pub struct Parquet {
    metadata: ArrowReaderMetadata,
    /// Whether some columns are.
    encrypted: bool,
}

impl Parquet {
    /// Reads the file's metadata.
    ///
    /// # Errors
    /// No Parquet file; one that is damaged or encrypted.
    pub fn open(file: &File) -> Result<Self, String> {
        let encrypted = footer::check(file)?;
        let load = || ArrowReaderMetadata::load(file, ArrowReaderOptions::new());
        let metadata = match quiet::catch(load) {
            Ok(Ok(metadata)) => metadata,
            Ok(Err(e)) => return Err(format!("not a readable Parquet file ({e})")),
            Err(e) => return Err(format!("not a readable Parquet file ({e})")),
        };
        counts_agree(metadata.metadata())?;
        Ok(Self { metadata, encrypted })
    }
}

impl Table for Parquet {
    fn schema(&self) -> SchemaRef {
        self.metadata.schema().clone()
    }

    fn groups(&self) -> Vec<usize> {
        let groups = self.metadata.metadata().row_groups().iter();
        groups.map(|g| usize::try_from(g.num_rows()).unwrap_or(0)).collect()
    }

    fn stored_values(&self, column: &str) -> u64 {
        let chunks = self.metadata.metadata().row_groups().iter().flat_map(|g| g.columns());
        let of_column = chunks.filter(|c| c.column_path().parts().first().is_some_and(|p| p == column));
        of_column.map(|c| u64::try_from(c.num_values()).unwrap_or(0)).sum()
    }

    fn read(
        &self,
        file: File,
        group: usize,
        columns: &[&str],
        rows: Option<&[usize]>,
        chunk: usize,
    ) -> Result<Batches, String> {
        let schema = self.metadata.parquet_schema();
        let roots = schema.root_schema().get_fields().iter().enumerate();
        let roots: Vec<_> = roots.filter(|(_, f)| columns.contains(&f.name())).map(|(i, _)| i).collect();
        let total = self.groups().get(group).copied().unwrap_or(0);
        let encrypted = self.encrypted;
        let damaged = move |e: &dyn std::fmt::Display| match encrypted {
            true => {
                "one of its columns that are used is encrypted (Parquet modular encryption): decrypt it first".into()
            }
            false => format!("damaged ({e})"),
        };
        let leaves = self.metadata.metadata().row_groups().get(group).into_iter().flat_map(|group| group.columns());
        for leaf in leaves.filter(|c| c.column_path().parts().first().is_some_and(|root| columns.contains(&&**root))) {
            let (start, length) = quiet::catch(|| leaf.byte_range()).map_err(|e| damaged(&e))?;
            pages::check(&file, start..start.saturating_add(length)).map_err(|e| damaged(&e))?;
        }
        let build = || {
            let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                .with_projection(ProjectionMask::roots(schema, roots))
                .with_row_groups(vec![group])
                // Never more than there are, as room for a batch is made at once.
                .with_batch_size(chunk.clamp(1, 1 << 16));
            if let Some(rows) = rows {
                builder = builder.with_row_selection(selection(rows, total));
            }
            builder.build()
        };
        let mut reader = quiet::catch(build).map_err(|e| damaged(&e))?.map_err(|e| damaged(&e))?;
        let mut ended = false;
        Ok(Box::new(std::iter::from_fn(move || {
            if ended {
                return None;
            }
            let batch = match quiet::catch(|| reader.next()) {
                Ok(next) => next?.map_err(|e| damaged(&e)),
                Err(e) => Err(damaged(&e)),
            };
            ended = batch.is_err();
            Some(batch)
        })))
    }
}

/// # Errors
/// The number of rows that the file, a row group or a column says is not that of the others.
fn counts_agree(metadata: &ParquetMetaData) -> Result<(), String> {
    let mut all = 0i64;
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let rows = group.num_rows();
        let flat = |max: i16| max == 0;
        let differs = group.columns().iter().find(|c| {
            let values = c.num_values();
            if flat(c.column_descr().max_rep_level()) { values != rows } else { values < rows }
        });
        if rows < 0 || differs.is_some() {
            let column = differs.map_or(String::new(), |c| {
                let name = c.column_path().parts().first().map_or("", String::as_str);
                format!(", but column `{name}` has {} values", c.num_values())
            });
            return Err(format!("damaged: row group {number} says that it has {rows} rows{column}"));
        }
        all = all.checked_add(rows).ok_or("damaged: more rows than can be counted")?;
    }
    let said = metadata.file_metadata().num_rows();
    if said != all {
        return Err(format!("damaged: the file says that it has {said} rows, but its row groups have {all}"));
    }
    Ok(())
}

/// The chosen rows of a group as runs of rows to read and to skip.
fn selection(rows: &[usize], total: usize) -> RowSelection {
    let mut runs: Vec<RowSelector> = Vec::new();
    let mut next = 0;
    for &row in rows {
        if row > next || runs.is_empty() {
            if row > next {
                runs.push(RowSelector::skip(row - next));
            }
            runs.push(RowSelector::select(1));
        } else if let Some(last) = runs.last_mut() {
            last.row_count += 1;
        }
        next = row + 1;
    }
    if next < total {
        runs.push(RowSelector::skip(total - next));
    }
    runs.into()
}
