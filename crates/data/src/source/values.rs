//! JSON values as Arrow columns.

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, LargeListArray, LargeStringArray, NullArray, StructArray,
    UInt64Array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Fields};
use indexmap::IndexMap;
use serde_json::Value;
use std::sync::Arc;

/// What all values of a column can be.
#[derive(Clone, Debug, Default)]
pub enum Kind {
    /// Nothing but null.
    #[default]
    Null,
    Boolean,
    /// Whether there are numbers that are not whole, ones below 0, and ones that only an unsigned type holds.
    Number {
        float: bool,
        negative: bool,
        large: bool,
    },
    /// Text, or values of several kinds, written out.
    Text,
    List(Box<Kind>),
    Struct(IndexMap<String, Kind>),
}

impl Kind {
    /// Takes one more value into account; `None` if the column cannot hold it besides the others.
    pub fn see(&mut self, value: &Value) -> Option<()> {
        match (&mut *self, value) {
            (_, Value::Null) => {}
            (Kind::Boolean, Value::Bool(_)) | (Kind::Text, Value::String(_)) => {}
            (Kind::Number { float, negative, large }, Value::Number(n)) => {
                *float |= !n.is_i64() && !n.is_u64();
                *negative |= n.as_i64().is_some_and(|n| n < 0);
                *large |= n.is_u64() && !n.is_i64();
            }
            (Kind::List(inner), Value::Array(values)) => {
                for value in values {
                    inner.see(value)?;
                }
            }
            (Kind::Struct(fields), Value::Object(values)) => {
                for (name, value) in values {
                    fields.entry(name.clone()).or_default().see(value)?;
                }
            }
            (Kind::Null, _) => {
                *self = match value {
                    Value::Bool(_) => Kind::Boolean,
                    Value::Number(_) => Kind::Number { float: false, negative: false, large: false },
                    Value::Array(_) => Kind::List(Box::default()),
                    Value::Object(_) => Kind::Struct(IndexMap::new()),
                    _ => Kind::Text,
                };
                self.see(value)?;
            }
            (
                Kind::Boolean | Kind::Number { .. } | Kind::Text,
                Value::Bool(_) | Value::Number(_) | Value::String(_),
            ) => {
                *self = Kind::Text;
            }
            _ => return None,
        }
        Some(())
    }

    /// The column's type.
    pub fn data_type(&self) -> DataType {
        match self {
            Kind::Null => DataType::Null,
            Kind::Boolean => DataType::Boolean,
            Kind::Number { float: false, large: false, .. } => DataType::Int64,
            Kind::Number { float: false, negative: false, .. } => DataType::UInt64,
            Kind::Number { .. } => DataType::Float64,
            Kind::Text => DataType::LargeUtf8,
            Kind::List(inner) => DataType::LargeList(Arc::new(Field::new("item", inner.data_type(), true))),
            Kind::Struct(fields) => DataType::Struct(fields_of(fields)),
        }
    }

    /// Values as a column; `None` if one is of another kind.
    pub fn array(&self, values: &[Option<&Value>]) -> Option<ArrayRef> {
        let there = || values.iter().map(|v| v.filter(|v| !v.is_null()));
        Some(match (self, self.data_type()) {
            (Kind::Null, _) => Arc::new(NullArray::new(there().all(|v| v.is_none()).then_some(values.len())?)),
            (Kind::Boolean, _) => Arc::new(each(there(), Value::as_bool)?.into_iter().collect::<BooleanArray>()),
            (_, DataType::Int64) => Arc::new(Int64Array::from(each(there(), Value::as_i64)?)),
            (_, DataType::UInt64) => Arc::new(UInt64Array::from(each(there(), Value::as_u64)?)),
            (_, DataType::Float64) => Arc::new(Float64Array::from(each(there(), Value::as_f64)?)),
            (Kind::List(inner), _) => {
                let lists = each(there(), |v| v.as_array())?;
                let nulls: NullBuffer = lists.iter().map(Option::is_some).collect();
                let offsets = OffsetBuffer::from_lengths(lists.iter().map(|l| l.map_or(0, Vec::len)));
                let elements: Vec<_> = lists.iter().flatten().flat_map(|l| l.iter()).map(Some).collect();
                let field = Arc::new(Field::new("item", inner.data_type(), true));
                Arc::new(LargeListArray::try_new(field, offsets, inner.array(&elements)?, Some(nulls)).ok()?)
            }
            (Kind::Struct(fields), _) => {
                let objects = each(there(), |v| v.as_object())?;
                let nulls: NullBuffer = objects.iter().map(Option::is_some).collect();
                let mut children = Vec::new();
                for (name, kind) in fields {
                    let values: Vec<_> = objects.iter().map(|o| o.and_then(|o| o.get(name))).collect();
                    children.push(kind.array(&values)?);
                }
                Arc::new(StructArray::try_new_with_length(fields_of(fields), children, Some(nulls), values.len()).ok()?)
            }
            _ => {
                let text = |v: &Value| match v {
                    Value::String(text) => Some(text.clone()),
                    Value::Array(_) | Value::Object(_) => None,
                    other => Some(other.to_string()),
                };
                Arc::new(LargeStringArray::from(each(there(), text)?))
            }
        })
    }
}

fn fields_of(fields: &IndexMap<String, Kind>) -> Fields {
    fields.iter().map(|(name, kind)| Field::new(name, kind.data_type(), true)).collect()
}

/// Every value that is there as `of` gives it; `None` if it gives nothing for one.
fn each<'a, T>(
    values: impl Iterator<Item = Option<&'a Value>>,
    of: impl Fn(&'a Value) -> Option<T>,
) -> Option<Vec<Option<T>>> {
    values.map(|v| v.map_or(Some(None), |v| of(v).map(Some))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Array, cast::AsArray, types::Int64Type};
    use serde_json::json;

    fn column(values: &[Value]) -> Option<ArrayRef> {
        let mut kind = Kind::default();
        values.iter().try_for_each(|v| kind.see(v))?;
        kind.array(&values.iter().map(Some).collect::<Vec<_>>())
    }

    #[test]
    fn values_become_columns_of_one_type() {
        let ty = |values: &[Value]| column(values).map(|c| c.data_type().clone());
        assert_eq!(ty(&[json!(1), json!(null), json!(-2)]), Some(DataType::Int64));
        assert_eq!(ty(&[json!(1), json!(u64::MAX)]), Some(DataType::UInt64));
        assert_eq!(ty(&[json!(1), json!(0.5)]), Some(DataType::Float64));
        assert_eq!(ty(&[json!(1), json!("a"), json!(true)]), Some(DataType::LargeUtf8));
        assert_eq!(ty(&[json!(null)]), Some(DataType::Null));
        assert_eq!(ty(&[json!(1), json!([1])]), None);
        let lists = column(&[json!([1, 2]), json!(null), json!([]), json!([3])]).unwrap();
        let lists = lists.as_list::<i64>();
        assert_eq!((lists.null_count(), lists.value(3).as_primitive::<Int64Type>().value(0)), (1, 3));
        let structs = column(&[json!({"a": 1}), json!({"b": [0.5], "a": 2}), json!(null)]).unwrap();
        let structs = structs.as_struct();
        assert_eq!((structs.num_columns(), structs.column(1).null_count(), structs.null_count()), (2, 2, 1));
    }
}
