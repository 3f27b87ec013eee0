//! Tables that are in memory already: Arrow record batches, arrays, ids.

use super::{
    Error, Result, column,
    digest::{self, hex},
    source,
};
use arrow_array::{
    ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
    RecordBatch, StringArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{Field, Schema, SchemaRef};
use ndarray::{ArrayBase, Data, Dimension};
use std::{io, path::Path, sync::Arc};

/// Rows in memory, in the place of files.
///
/// The rows are not copied; clones share them. What says which rows a run took, such as digests and the report, calls them
/// by their name.
#[derive(Clone, Debug)]
pub struct MemoryTable(Arc<Held>);

#[derive(Debug)]
struct Held {
    name: String,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl MemoryTable {
    /// Record batches of one schema. `name` stands for them in messages and in the report.
    ///
    /// ```
    /// use onnx_forget_data::{
    ///     MemoryTable,
    ///     arrow_array::{Int64Array, RecordBatch},
    /// };
    /// use std::sync::Arc;
    ///
    /// let ids = Arc::new(Int64Array::from(vec![3, 14])) as _;
    /// let batch = RecordBatch::try_from_iter([("id", ids)]).unwrap();
    /// let table = MemoryTable::new("ids", [batch])?;
    /// assert_eq!(table.rows(), 2);
    /// # Ok::<(), onnx_forget_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Data`] without a batch, or for batches of several schemas.
    pub fn new(name: impl Into<String>, batches: impl IntoIterator<Item = RecordBatch>) -> Result<Self> {
        let (name, batches) = (name.into(), batches.into_iter().collect::<Vec<_>>());
        let Some(schema) = batches.first().map(RecordBatch::schema) else {
            return Err(Error::Data(format!("{name}: no record batch; give one at least")));
        };
        if let Some(at) = batches.iter().position(|batch| batch.schema_ref().fields() != schema.fields()) {
            let problem = format!("record batch {at} has other columns than the first; give all of them one schema");
            return Err(Error::Data(format!("{name}: {problem}")));
        }
        Ok(Self(Arc::new(Held { name, schema, batches })))
    }

    /// Columns of as many rows each, made by [`column_of`] of arrays or being Arrow's own.
    ///
    /// ```
    /// use ndarray::array;
    /// use onnx_forget_data::{MemoryTable, column_of};
    ///
    /// let features = column_of(&array![[0.1_f32, 0.2], [0.3, 0.4], [0.5, 0.6]])?;
    /// let labels = column_of(&array![0_i64, 1, 1])?;
    /// let table = MemoryTable::of_columns("training rows", [("x", features), ("label", labels)])?;
    /// assert_eq!(table.rows(), 3);
    /// # Ok::<(), onnx_forget_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Data`] for columns of different lengths, or none.
    pub fn of_columns<N: AsRef<str>>(
        name: impl Into<String>,
        columns: impl IntoIterator<Item = (N, ArrayRef)>,
    ) -> Result<Self> {
        let name = name.into();
        let batch = RecordBatch::try_from_iter(columns);
        let batch = batch.map_err(|_| Error::Data(format!("{name}: give columns, all of as many rows")))?;
        Self::new(name, [batch])
    }

    /// A list of ids: a table with the column `id`.
    ///
    /// ```
    /// use onnx_forget_data::MemoryTable;
    ///
    /// assert_eq!(MemoryTable::of_ids("requests", [3, 14, 15])?.rows(), 3);
    /// assert_eq!(MemoryTable::of_ids("requests", ["user-3", "user-14"])?.rows(), 2);
    /// # Ok::<(), onnx_forget_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Data`] for ids of both kinds in one list.
    pub fn of_ids<I: Into<Id>>(name: impl Into<String>, ids: impl IntoIterator<Item = I>) -> Result<Self> {
        let name = name.into();
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        for id in ids {
            match id.into() {
                Id::Integer(number) => numbers.push(number),
                Id::Text(text) => texts.push(text),
            }
        }
        let column: ArrayRef = match (numbers.is_empty(), texts.is_empty()) {
            (_, true) => Arc::new(Int64Array::from(numbers)),
            (true, false) => Arc::new(StringArray::from(texts)),
            (false, false) => {
                return Err(Error::Data(format!("{name}: numbers and texts in one list of ids; give ids of one kind")));
            }
        };
        Self::of_columns(name, [("id", column)])
    }

    /// What messages call the table.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.0.batches.iter().map(RecordBatch::num_rows).sum()
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.0.schema.clone()
    }

    pub(super) fn batches(&self) -> &[RecordBatch] {
        &self.0.batches
    }

    /// Those of `columns` that the table has, of one of its batches.
    pub(super) fn read(
        &self,
        batch: usize,
        columns: &[&str],
        rows: Option<&[usize]>,
        chunk: usize,
    ) -> Result<source::Batches, String> {
        let batch = self.0.batches.get(batch).ok_or("no such batch")?;
        let fields = batch.schema_ref().fields().iter().enumerate();
        let wanted: Vec<usize> = fields.filter(|(_, f)| columns.contains(&f.name().as_str())).map(|(i, _)| i).collect();
        source::chosen(batch.project(&wanted).map_err(|e| e.to_string())?, rows, chunk)
    }

    /// Values of a column, counting a list's elements.
    pub(super) fn stored_values(&self, name: &str) -> u64 {
        let arrays = self.0.batches.iter().filter_map(|batch| batch.column_by_name(name));
        arrays.map(|array| column::values(array) as u64).sum()
    }

    /// Calls `each` with the table's bytes as an Arrow stream has them, piece by piece. Returns their SHA-256.
    pub(super) fn each_piece(&self, mut each: impl FnMut(&[u8])) -> Result<String> {
        let fail = |e: &dyn std::fmt::Display| Error::Internal(format!("{}: as an Arrow stream: {e}", self.0.name));
        let fields: Vec<_> = self.0.schema.fields().iter().map(|f| f.as_ref().clone()).collect();
        // Of the columns alone: descriptions beside them are no rows.
        let schema = Arc::new(Schema::new(fields));
        let mut sha = digest::Running::default();
        let to = Pieces(|piece: &[u8]| {
            sha.add(piece);
            each(piece);
        });
        let mut writer = StreamWriter::try_new(to, &schema).map_err(|e| fail(&e))?;
        for batch in &self.0.batches {
            let batch = batch.clone().with_schema(schema.clone()).map_err(|e| fail(&e))?;
            writer.write(&batch).map_err(|e| fail(&e))?;
        }
        writer.finish().map_err(|e| fail(&e))?;
        drop(writer);
        Ok(hex(&sha.end()))
    }

    /// The name as a path, as messages about data have one.
    pub(super) fn as_path(&self) -> &Path {
        Path::new(&self.0.name)
    }
}

/// Tables are the same if they share their rows.
impl PartialEq for MemoryTable {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for MemoryTable {}

impl serde::Serialize for MemoryTable {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0.name)
    }
}

struct Pieces<F>(F);

impl<F: FnMut(&[u8])> io::Write for Pieces<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The id of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Id {
    /// A number.
    Integer(i64),
    /// A text; UUIDs are given as texts, too.
    Text(String),
}

macro_rules! integer_ids {
    ($($type:ty)*) => {$(
        impl From<$type> for Id {
            fn from(id: $type) -> Self {
                Self::Integer(id.into())
            }
        }
    )*};
}
integer_ids! { i64 i32 i16 i8 u32 u16 u8 }

impl From<&str> for Id {
    fn from(id: &str) -> Self {
        Self::Text(id.into())
    }
}

impl From<String> for Id {
    fn from(id: String) -> Self {
        Self::Text(id)
    }
}

/// A type of numbers that columns are made of.
pub trait Element: Copy {
    /// The values as an Arrow array.
    fn array(values: Vec<Self>) -> ArrayRef;
}

macro_rules! elements {
    ($($type:ty: $array:ty;)*) => {$(
        impl Element for $type {
            fn array(values: Vec<Self>) -> ArrayRef {
                Arc::new(<$array>::from(values))
            }
        }
    )*};
}
elements! {
    f32: Float32Array;
    f64: Float64Array;
    i8: Int8Array;
    i16: Int16Array;
    i32: Int32Array;
    i64: Int64Array;
    u8: UInt8Array;
    u16: UInt16Array;
    u32: UInt32Array;
    u64: UInt64Array;
}

/// A column of an array whose first axis is the row. What the other axes hold is a list of numbers in each row, in
/// row-major order, as an input of the model of that shape takes it.
///
/// # Errors
/// [`Error::Data`] for an array without axes, or with an axis of extent 0 behind the first.
pub fn column_of<T, S, D>(array: &ArrayBase<S, D>) -> Result<ArrayRef>
where
    T: Element,
    S: Data<Elem = T>,
    D: Dimension,
{
    let (rows, rest) = match array.shape().split_first() {
        Some((&rows, rest)) => (rows, rest),
        None => return Err(Error::Data("an array without axes is no column: its first axis is the row".into())),
    };
    let values = T::array(array.iter().copied().collect());
    if rest.is_empty() {
        return Ok(values);
    }
    let width = i32::try_from(rest.iter().product::<usize>()).ok().filter(|&width| width > 0 || rows == 0);
    let width = width.ok_or_else(|| Error::Data(format!("an array with rows of shape {rest:?} is no column")))?;
    let item = Arc::new(Field::new("item", values.data_type().clone(), true));
    let lists = FixedSizeListArray::try_new(item, width, values, None);
    Ok(Arc::new(lists.map_err(|e| Error::Data(format!("rows of shape {rest:?}: {e}")))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    #[test]
    fn arrays_are_columns_row_by_row() {
        // Not in standard layout: rows are what the array says, not what its memory does.
        let turned = array![[1_f32, 2.0, 3.0], [4.0, 5.0, 6.0]].reversed_axes();
        let column = column_of(&turned).unwrap();
        let flat = column.as_any().downcast_ref::<FixedSizeListArray>().unwrap();
        assert_eq!((flat.value_length(), column.len()), (2, 3));
        let values = flat.values().as_any().downcast_ref::<Float32Array>().unwrap();
        assert_eq!(values.values().to_vec(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert!(column_of(&ndarray::arr0(1_f32)).is_err());
        assert!(column_of(&Array2::<f32>::zeros((2, 0))).is_err());
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let (a, b) = (column_of(&array![1_i64, 2]).unwrap(), column_of(&array![1_i64]).unwrap());
        assert!(MemoryTable::of_columns("t", [("a", a.clone()), ("b", b)]).is_err());
        assert!(MemoryTable::new("t", []).is_err());
        let batch = |name| RecordBatch::try_from_iter([(name, a.clone())]).unwrap();
        let e = MemoryTable::new("t", [batch("a"), batch("a"), batch("b")]).unwrap_err().to_string();
        assert!(e.contains("record batch 2 has other columns"), "{e}");
        assert!(MemoryTable::of_ids("t", [Id::Integer(1), Id::from("b")]).is_err());
    }

    #[test]
    fn a_digest_follows_the_rows() {
        let of = |ids: &[i64]| MemoryTable::of_ids("t", ids.iter().copied()).unwrap();
        let mut bytes = Vec::new();
        let sha = of(&[1, 2]).each_piece(|piece| bytes.extend(piece)).unwrap();
        assert_eq!(sha, digest::bytes(&bytes));
        assert_eq!(sha, of(&[1, 2]).each_piece(|_| ()).unwrap());
        assert_ne!(sha, of(&[1, 3]).each_piece(|_| ()).unwrap());
    }
}
