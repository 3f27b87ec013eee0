//! Columns inside columns: `a.b` is the field `b` of the struct column `a`, unless a column is called `a.b` itself.

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, cast::AsArray};
use arrow_schema::{DataType, Field, Fields, Schema};
use arrow_select::nullif::nullif;
use std::sync::Arc;

/// The way to a column: a top-level column and the fields below it.
fn way<'a>(fields: &'a Fields, name: &str) -> Option<Vec<&'a Field>> {
    if let Some(field) = fields.iter().find(|f| f.name() == name) {
        return Some(vec![field]);
    }
    name.match_indices('.').find_map(|(dot, _)| {
        let (first, rest) = (name.get(..dot)?, name.get(dot + 1..)?);
        let field = fields.iter().find(|f| f.name() == first)?;
        let DataType::Struct(inner) = field.data_type() else { return None };
        let mut found: Vec<&Field> = vec![field];
        found.extend(way(inner, rest)?);
        Some(found)
    })
}

/// The column of that name or path.
pub fn find<'a>(schema: &'a Schema, name: &str) -> Option<&'a Field> {
    way(schema.fields(), name)?.pop()
}

/// The top-level column that holds the column of that name or path.
pub fn root<'a>(schema: &'a Schema, name: &str) -> Option<&'a str> {
    way(schema.fields(), name)?.first().map(|f| f.name().as_str())
}

/// The batch with the columns of these names or paths.
///
/// # Errors
/// A column that was not read.
pub fn take(batch: RecordBatch, columns: &[&str]) -> Result<RecordBatch, String> {
    let schema = batch.schema();
    if columns.iter().all(|name| schema.index_of(name).is_ok()) {
        return Ok(batch);
    }
    let (mut fields, mut arrays): (Vec<Field>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for &name in columns {
        let Some(way) = way(schema.fields(), name) else { continue };
        let mut way = way.into_iter();
        let first = way.next().and_then(|f| batch.column_by_name(f.name()));
        let mut array = first.ok_or_else(|| format!("column `{name}` was not read"))?.clone();
        for field in way {
            array = child(&array, field.name()).ok_or_else(|| format!("column `{name}` was not read"))??;
        }
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).map_err(|e| e.to_string())
}

/// A field of a struct column; it has no value where the struct has none.
fn child(array: &ArrayRef, name: &str) -> Option<Result<ArrayRef, String>> {
    let parent = array.as_struct_opt()?;
    let child = parent.column_by_name(name)?;
    if parent.null_count() == 0 {
        return Some(Ok(child.clone()));
    }
    let absent: BooleanArray = (0..parent.len()).map(|i| Some(parent.is_null(i))).collect();
    Some(nullif(child, &absent).map_err(|e| e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Int64Array, StructArray};

    #[test]
    fn a_path_leads_into_a_struct() {
        let inner: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), None]));
        let field = Arc::new(Field::new("b.c", DataType::Int64, true));
        let outer = StructArray::new(vec![field].into(), vec![inner], Some(vec![true, false, true].into()));
        let flat: ArrayRef = Arc::new(Int64Array::from(vec![7, 8, 9]));
        let batch = RecordBatch::try_from_iter([("a", Arc::new(outer) as ArrayRef), ("x.y", flat)]).unwrap();
        let schema = batch.schema();
        assert_eq!(find(&schema, "a.b.c").unwrap().data_type(), &DataType::Int64);
        assert_eq!((root(&schema, "a.b.c"), root(&schema, "x.y")), (Some("a"), Some("x.y")));
        assert!(find(&schema, "a.b").is_none() && find(&schema, "a.b.c.d").is_none());
        let taken = take(batch, &["x.y", "a.b.c"]).unwrap();
        let column = taken.column_by_name("a.b.c").unwrap();
        assert_eq!((column.len(), column.null_count(), column.is_null(1)), (3, 2, true));
    }
}
