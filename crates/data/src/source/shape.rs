//! A file's batch as its table has it.

use super::unify;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::{Field, Schema, SchemaRef};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A file's batch as the table has it: its columns' order and types.
///
/// # Errors
/// A column that neither the batch nor the folder has, or whose values do not fit the table's type.
pub fn shaped(schema: &SchemaRef, batch: &RecordBatch, constants: &[(Field, ArrayRef)]) -> Result<RecordBatch, String> {
    let rows = batch.num_rows();
    let mut arrays = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let name = field.name();
        let array = match (batch.column_by_name(name), constants.iter().find(|(f, _)| f.name() == name)) {
            (Some(array), _) => array.clone(),
            (None, Some((_, one))) => repeated(one, rows)?,
            (None, None) => return Err(format!("no column `{name}`")),
        };
        arrays.push(unify::adapt(array, field.data_type()).map_err(|p| format!("column `{name}` {p}"))?);
    }
    let fields: Vec<_> = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).map_err(|e| e.to_string())
}

/// Under this name, a batch's schema tells the folder of its file.
const FOLDER: &str = "folder";

/// The batch, which from now on tells the folder of the file at `path`: see [`folder_of`].
///
/// # Errors
/// Arrow's message if it refuses the schema.
pub fn in_folder(batch: RecordBatch, path: &Path) -> Result<RecordBatch, String> {
    let folder = path.parent().and_then(Path::to_str).unwrap_or_default();
    let schema = batch.schema().as_ref().clone().with_metadata(HashMap::from([(FOLDER.to_owned(), folder.to_owned())]));
    batch.with_schema(Arc::new(schema)).map_err(|e| e.to_string())
}

/// The folder of the file that a batch is from: paths in its columns are relative to it.
pub fn folder_of(batch: &RecordBatch) -> PathBuf {
    batch.schema_ref().metadata().get(FOLDER).map(PathBuf::from).unwrap_or_default()
}

/// One value for every row.
fn repeated(one: &ArrayRef, rows: usize) -> Result<ArrayRef, String> {
    let places = UInt32Array::from(vec![0; rows]);
    arrow_select::take::take(one, &places, None).map_err(|e| e.to_string())
}
