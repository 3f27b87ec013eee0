//! Parquet in, datasets out: through the library's public functions, on small files written here.

mod arrow;
mod columns;
mod files;
mod fixtures;
mod folders;
mod ids;
mod inputs;
mod label_forms;
mod lists;
mod passes;
mod positions;
mod splits;
mod targets;
mod token_rows;

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use onnx_forget::{
    Error,
    data::{self, Data, DataConfig, InputSpec, Request, Signature},
    tensor::DType,
};
use parquet::{arrow::ArrowWriter, basic::Compression, file::properties::WriterProperties};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;

/// A table to be written: columns by name.
pub struct Table(Vec<(String, ArrayRef)>);

impl Table {
    pub fn new() -> Self {
        Self(Vec::new())
    }

    pub fn with(mut self, name: &str, column: impl arrow_array::Array + 'static) -> Self {
        self.0.push((name.into(), Arc::new(column)));
        self
    }

    pub fn batch(&self) -> RecordBatch {
        let nullable = self.0.iter().map(|(name, a)| (name.clone(), a.clone(), a.logical_null_count() > 0));
        RecordBatch::try_from_iter_with_nullable(nullable).unwrap()
    }

    /// Writes a file with row groups of `group` rows.
    pub fn write_as(&self, path: &Path, group: usize, compression: Compression) -> PathBuf {
        let properties =
            WriterProperties::builder().set_max_row_group_row_count(Some(group)).set_compression(compression).build();
        let batch = self.batch();
        let file = std::fs::File::create(path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        path.into()
    }

    pub fn write(&self, dir: &TempDir, name: &str) -> PathBuf {
        self.write_as(&dir.path().join(name), 4, Compression::SNAPPY)
    }
}

pub fn input(name: &str, dtype: DType, dims: &[Option<usize>]) -> InputSpec {
    InputSpec { name: name.into(), dtype, dims: Some(dims.to_vec()), table: None, items: None }
}

/// A model of one input and `[rows, outputs]` scores.
pub fn signature(inputs: Vec<InputSpec>, outputs: usize) -> Signature {
    Signature { inputs, scores: Some(input("scores", DType::F32, &[None, Some(outputs)])), ..Signature::default() }
}

/// A model that takes one number a row and has two outputs.
pub fn simple() -> Signature {
    signature(vec![input("x", DType::F32, &[None, Some(1)])], 2)
}

/// Rows with ids `first..first + n`, the feature `x` equal to the id, and the label its last bit.
pub fn simple_rows(first: i64, n: i64) -> Table {
    Table::new()
        .with("id", Int64Array::from_iter_values(first..first + n))
        .with("x", arrow_array::Float32Array::from_iter_values((first..first + n).map(|i| i as f32)))
        .with("label", Int64Array::from_iter_values((first..first + n).map(|i| i & 1)))
}

pub fn id_list(ids: &[i64]) -> Table {
    Table::new().with("id", Int64Array::from(ids.to_vec()))
}

pub fn words(of: &[&str]) -> StringArray {
    StringArray::from(of.to_vec())
}

/// Training rows 0 to 19, validation 100 to 103, test 200 to 203, in `dir`.
pub fn simple_config(dir: &TempDir) -> DataConfig {
    let mut config = DataConfig::default();
    config.files.train = Some(simple_rows(0, 20).write(dir, "train.parquet").into());
    config.files.validation = Some(simple_rows(100, 4).write(dir, "validation.parquet").into());
    config.files.test = Some(simple_rows(200, 4).write(dir, "test.parquet").into());
    config
}

pub fn request(forget: PathBuf) -> Request {
    Request { forget: vec![forget.into()], ..Request::default() }
}

pub fn open_simple(dir: &TempDir, ids: &[i64]) -> Result<Data, Error> {
    let list = id_list(ids).write(dir, "forget.parquet");
    data::open(&simple_config(dir), &request(list), &simple())
}

/// The message of a data error (exit code 4).
pub fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.exit_code(), 4, "{error}");
    error.to_string()
}
