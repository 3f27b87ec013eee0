//! One table of several files: the type that a column has in all of them, and the way there.
//!
//! Files of one table may have their columns in another order, further columns, integers and floats of another width,
//! text of another kind, dictionaries or plain values, or no value at all in a column. A column that not all files have,
//! or whose types have nothing in common, is no reason to stop as long as nothing uses it.

use arrow_array::{Array, ArrayRef, StructArray, cast::AsArray, new_null_array, types::Int64Type};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field, Fields, SchemaRef};
use std::{path::Path, sync::Arc};

/// A column of all files.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name, and the type that it is read as.
    pub field: Field,
    /// Why it cannot be used.
    pub problem: Option<String>,
}

/// The columns of all files, in the first file's order.
pub fn columns<'a>(files: impl Iterator<Item = (&'a Path, SchemaRef)>) -> Vec<Column> {
    let mut all: Vec<Column> = Vec::new();
    let mut first: Option<&Path> = None;
    for (path, schema) in files {
        let name = || path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        for column in &mut all {
            if column.problem.is_none() && schema.field_with_name(column.field.name()).is_err() {
                column.problem = Some(format!("is not in {}, but in other files of the table", name()));
            }
        }
        for (i, field) in schema.fields().iter().enumerate() {
            let twice = schema.fields().iter().skip(i + 1).any(|f| f.name() == field.name());
            let problem = twice.then(|| format!("occurs twice in {}", name()));
            match (all.iter_mut().find(|c| c.field.name() == field.name()), first) {
                (Some(column), _) if column.problem.is_some() => {}
                (Some(column), _) if problem.is_some() => column.problem = problem,
                // Of a name that occurs twice in the first file.
                (Some(_), None) => {}
                (Some(column), Some(first)) => match common(column.field.data_type(), field.data_type()) {
                    Some(ty) => column.field = Field::new(field.name(), ty, true),
                    None => {
                        let (a, b) = (column.field.data_type(), field.data_type());
                        let first = first.file_name().unwrap_or(first.as_os_str()).to_string_lossy();
                        column.problem = Some(format!("has type {b} in {}, but {a} in {first}", name()));
                    }
                },
                (None, first) => {
                    let missing = first.map(|first| {
                        let first = first.file_name().unwrap_or(first.as_os_str()).to_string_lossy();
                        format!("is not in {first}, but in {}", name())
                    });
                    all.push(Column { field: field.as_ref().clone(), problem: problem.or(missing) });
                }
            }
        }
        first = first.or(Some(path));
    }
    all
}

/// The type that values of both types can be read as, exactly.
fn common(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::*;
    if a == b {
        return Some(a.clone());
    }
    let text = |t: &DataType| matches!(t, Utf8 | LargeUtf8 | Utf8View);
    let bytes = |t: &DataType| matches!(t, Binary | LargeBinary | BinaryView | FixedSizeBinary(_));
    match (a, b) {
        (Null, other) | (other, Null) => Some(other.clone()),
        (Dictionary(_, a), Dictionary(_, b)) => common(a, b),
        (Dictionary(_, a), b) | (b, Dictionary(_, a)) => common(a, b),
        (a, b) if text(a) && text(b) => Some(LargeUtf8),
        (a, b) if (text(a) || bytes(a)) && (text(b) || bytes(b)) => Some(LargeBinary),
        (a, b) if a.is_integer() && b.is_integer() => Some(match (a, b) {
            (a, b) if a.is_signed_integer() != b.is_signed_integer() => Int64,
            (a, b) if a.primitive_width() > b.primitive_width() => a.clone(),
            _ => b.clone(),
        }),
        (a, b) if a.is_floating() && b.is_floating() => {
            Some(if a.primitive_width() > b.primitive_width() { a.clone() } else { b.clone() })
        }
        (a, b) if (a.is_integer() && b.is_floating()) || (a.is_floating() && b.is_integer()) => Some(Float64),
        (Decimal128(_, s), Decimal128(_, t)) => Some(Decimal128(38, *s.max(t))),
        (Timestamp(u, tz), Timestamp(v, other)) if tz == other => Some(Timestamp(*u.max(v), tz.clone())),
        (Struct(a), Struct(b)) => structs(a, b).map(Struct),
        (a, b) => {
            let item = common(item(a)?, item(b)?)?;
            Some(LargeList(Arc::new(Field::new("item", item, true))))
        }
    }
}

/// The type of a list's elements.
fn item(ty: &DataType) -> Option<&DataType> {
    use DataType::*;
    match ty {
        List(f) | LargeList(f) | ListView(f) | LargeListView(f) | FixedSizeList(f, _) => Some(f.data_type()),
        _ => None,
    }
}

/// Fields by name; one that only one of both has is null in the other.
fn structs(a: &Fields, b: &Fields) -> Option<Fields> {
    let mut all = Vec::new();
    for field in a {
        let ty = match b.iter().find(|f| f.name() == field.name()) {
            Some(other) => common(field.data_type(), other.data_type())?,
            None => field.data_type().clone(),
        };
        all.push(Field::new(field.name(), ty, true));
    }
    all.extend(
        b.iter().filter(|f| !a.iter().any(|x| x.name() == f.name())).map(|f| f.as_ref().clone().with_nullable(true)),
    );
    Some(all.into())
}

/// A column of one file as the type that all files have.
///
/// # Errors
/// Values that the type cannot hold.
pub fn adapt(array: ArrayRef, to: &DataType) -> Result<ArrayRef, String> {
    let from = array.data_type().clone();
    if &from == to {
        return Ok(array);
    }
    let fail = || format!("has values of type {from} that do not fit {to}, which other files need");
    match (&from, to) {
        (DataType::Null, _) => Ok(new_null_array(to, array.len())),
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let from = array.as_struct();
            let mut children = Vec::with_capacity(fields.len());
            for field in fields {
                children.push(match from.column_by_name(field.name()) {
                    Some(child) => adapt(child.clone(), field.data_type())?,
                    None => new_null_array(field.data_type(), array.len()),
                });
            }
            let all = StructArray::try_new(fields.clone(), children, from.nulls().cloned());
            Ok(Arc::new(all.map_err(|_| fail())?))
        }
        _ => {
            let options = CastOptions { safe: false, ..CastOptions::default() };
            if from.is_integer() && to.is_floating() {
                // Another number than the file's would be no error otherwise.
                let whole = cast_with_options(&array, &DataType::Int64, &options).map_err(|_| fail())?;
                let exact = |v: i64| v.unsigned_abs() <= 1 << 53;
                if !whole.as_primitive::<Int64Type>().iter().flatten().all(exact) {
                    return Err(fail());
                }
            }
            cast_with_options(&array, to, &options).map_err(|_| fail())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataType::*;
    use arrow_array::{Int64Array, NullArray};
    use arrow_schema::Schema;

    #[test]
    fn types_that_have_something_in_common() {
        let list = |t: DataType| List(Arc::new(Field::new("x", t, true)));
        assert_eq!(common(&Int8, &Int64), Some(Int64));
        assert_eq!(common(&UInt8, &UInt32), Some(UInt32));
        assert_eq!(common(&UInt64, &Int32), Some(Int64));
        assert_eq!(common(&Float32, &Float64), Some(Float64));
        assert_eq!(common(&Int32, &Float32), Some(Float64));
        assert_eq!(common(&Utf8, &LargeUtf8), Some(LargeUtf8));
        assert_eq!(common(&Dictionary(Box::new(Int8), Box::new(Utf8)), &Utf8), Some(Utf8).map(|_| Utf8));
        assert_eq!(common(&Null, &Boolean), Some(Boolean));
        assert_eq!(
            common(&list(Int32), &FixedSizeList(Arc::new(Field::new("y", Int64, true)), 3)),
            Some(LargeList(Arc::new(Field::new("item", Int64, true))))
        );
        assert_eq!(common(&Utf8, &Int64), None);
        assert_eq!(common(&list(Utf8), &list(Int64)), None);
        assert_eq!(common(&Boolean, &Int64), None);
    }

    #[test]
    fn columns_that_fail_say_why_and_where() {
        let schema = |fields: &[(&str, DataType)]| -> SchemaRef {
            Arc::new(Schema::new(fields.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>()))
        };
        let a = schema(&[("id", Int32), ("x", Utf8), ("only", Int8), ("two", Int8), ("two", Int8)]);
        let b = schema(&[("x", Int64), ("id", Int64), ("more", Int8), ("two", Int8)]);
        let all = columns([(Path::new("d/a"), a), (Path::new("d/b"), b)].into_iter());
        let said: Vec<_> = all.iter().map(|c| (c.field.name().as_str(), c.problem.as_deref().unwrap_or(""))).collect();
        assert_eq!(
            said,
            [
                ("id", ""),
                ("x", "has type Int64 in b, but Utf8 in a"),
                ("only", "is not in b, but in other files of the table"),
                ("two", "occurs twice in a"),
                ("more", "is not in a, but in b")
            ]
        );
        assert_eq!(all[0].field.data_type(), &Int64);
    }

    #[test]
    fn values_change_their_type_exactly_or_not_at_all() {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, -7]));
        assert_eq!(adapt(ids.clone(), &Float64).unwrap().data_type(), &Float64);
        let large: ArrayRef = Arc::new(Int64Array::from(vec![(1 << 53) + 1]));
        assert!(adapt(large, &Float64).unwrap_err().contains("do not fit Float64"));
        assert!(adapt(ids, &UInt8).is_err());
        let none: ArrayRef = Arc::new(NullArray::new(3));
        assert_eq!(adapt(none, &Utf8).unwrap().null_count(), 3);
    }
}
