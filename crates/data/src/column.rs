//! Arrow columns as plain vectors.

use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, GenericListArray, Int64Array, LargeBinaryArray, OffsetSizeTrait,
    StructArray,
    cast::AsArray,
    types::{Float64Type, Int64Type},
};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::DataType;

/// Kinds of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// Any integer type, and decimals without digits behind the point.
    Int,
    /// f16, f32, f64, and other decimals.
    Float,
    /// Booleans: 0 and 1.
    Bool,
}

/// What a column can serve as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// One number a row.
    Scalar(Number),
    /// A list of numbers a row, possibly nested; its length if the type fixes it.
    List(Number, Option<usize>),
    /// An encoded image: bytes, or a struct that holds `bytes`.
    Image,
    /// Text.
    Text,
    /// A type that nothing is made from.
    Other,
}

/// What a column of this type can serve as.
pub fn classify(ty: &DataType) -> Class {
    use DataType::*;
    match ty {
        Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 => Class::Scalar(Number::Int),
        Float16 | Float32 | Float64 => Class::Scalar(Number::Float),
        Decimal32(_, scale) | Decimal64(_, scale) | Decimal128(_, scale) | Decimal256(_, scale) => {
            Class::Scalar(if *scale > 0 { Number::Float } else { Number::Int })
        }
        Boolean => Class::Scalar(Number::Bool),
        Utf8 | LargeUtf8 | Utf8View => Class::Text,
        Binary | LargeBinary | BinaryView => Class::Image,
        Dictionary(_, value) => classify(value),
        Struct(fields) => match fields.iter().find(|f| f.name() == "bytes") {
            Some(f) if classify(f.data_type()) == Class::Image => Class::Image,
            _ => Class::Other,
        },
        List(f) | LargeList(f) | ListView(f) | LargeListView(f) => match classify(f.data_type()) {
            Class::Scalar(n) | Class::List(n, _) => Class::List(n, None),
            _ => Class::Other,
        },
        FixedSizeList(f, n) => {
            let n = usize::try_from(*n).ok();
            match classify(f.data_type()) {
                Class::Scalar(number) => Class::List(number, n),
                Class::List(number, inner) => Class::List(number, n.zip(inner).and_then(|(a, b)| a.checked_mul(b))),
                _ => Class::Other,
            }
        }
        _ => Class::Other,
    }
}

/// A type in words, with its name.
pub fn described(ty: &DataType) -> String {
    use DataType::*;
    let words = match ty {
        Utf8 | LargeUtf8 | Utf8View => "text",
        Dictionary(_, value) if classify(value) == Class::Text => return "categories (a dictionary of text)".into(),
        Timestamp(..) => "points in time",
        Date32 | Date64 => "dates",
        Time32(_) | Time64(_) => "times of day",
        Duration(_) | Interval(_) => "durations",
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => "bytes",
        Struct(_) => "structs",
        Map(..) => "maps",
        Null => return "no value in any row".into(),
        Dictionary(_, value) => return described(value),
        _ => match classify(ty) {
            Class::Scalar(_) => "numbers",
            Class::List(..) => "lists of numbers",
            _ => "values",
        },
    };
    match ty {
        Struct(_) | Map(..) => words.into(),
        _ => format!("{words} (type {ty})"),
    }
}

/// What to do about a column of this type where numbers are needed.
pub fn advice(ty: &DataType) -> &'static str {
    use DataType::*;
    match ty {
        Dictionary(_, value) => advice(value),
        Utf8 | LargeUtf8 | Utf8View => {
            "write numbers in its place, encoded as they were when the model was trained (numbers that are stored as text: \
             change the column's type)"
        }
        Timestamp(..) | Date32 | Date64 | Time32(_) | Time64(_) | Duration(_) | Interval(_) => {
            "write the number that the model was trained on in its place, such as days or seconds since a fixed day"
        }
        Struct(_) => "name one of its fields by its path, as in `column.field`",
        Null => "leave the column out, or fill it",
        _ => "write numbers in its place, encoded as they were when the model was trained",
    }
}

/// The part of a column whose nulls matter: of an image struct, its bytes, or its paths where there are no bytes.
fn essential(array: &ArrayRef) -> ArrayRef {
    let Some(image) = array.as_any().downcast_ref::<StructArray>().filter(|s| s.null_count() == 0) else {
        return array.clone();
    };
    match (image.column_by_name("bytes"), image.column_by_name("path")) {
        (Some(bytes), Some(path)) if bytes.logical_null_count() > 0 && path.len() == bytes.len() => {
            let missing = |i: usize| bytes.logical_nulls().is_some_and(|n| n.is_null(i)) && path.is_null(i);
            let there: BooleanArray = (0..bytes.len()).map(|i| (!missing(i)).then_some(true)).collect();
            std::sync::Arc::new(there)
        }
        (Some(bytes), _) => bytes.clone(),
        (None, _) => array.clone(),
    }
}

fn children(array: &ArrayRef) -> Option<ArrayRef> {
    match array.data_type() {
        DataType::List(_) => Some(list_values::<i32>(array.as_list())),
        DataType::LargeList(_) => Some(list_values::<i64>(array.as_list())),
        DataType::FixedSizeList(..) => Some(array.as_fixed_size_list().values().clone()),
        DataType::ListView(_) => Some(array.as_list_view::<i32>().values().clone()),
        DataType::LargeListView(_) => Some(array.as_list_view::<i64>().values().clone()),
        _ => None,
    }
}

/// Values of an array, counting the elements of lists.
pub fn values(array: &ArrayRef) -> usize {
    let mut array = array.clone();
    while let Some(inner) = children(&array) {
        array = inner;
    }
    array.len()
}

fn list_values<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> ArrayRef {
    let offsets = list.value_offsets();
    let start = offsets.first().map_or(0, |o| o.as_usize());
    let end = offsets.last().map_or(0, |o| o.as_usize());
    list.values().slice(start, end.saturating_sub(start))
}

/// The rows that have a value.
///
/// # Errors
/// Arrow's message if it cannot filter the column's type.
pub fn present(array: &ArrayRef) -> Result<ArrayRef, String> {
    let there = match essential(array).logical_nulls() {
        None => return Ok(array.clone()),
        Some(nulls) => BooleanArray::new(nulls.into_inner(), None),
    };
    arrow_select::filter::filter(array, &there).map_err(|e| e.to_string())
}

/// Whether a row has no value, or a list with an element that has none.
pub fn has_nulls(array: &ArrayRef) -> bool {
    let array = &essential(array);
    array.logical_null_count() > 0 || children(array).is_some_and(|c| has_nulls(&c))
}

/// Which rows those are.
pub fn null_rows(array: &ArrayRef) -> Vec<usize> {
    fn row(array: &ArrayRef, i: usize) -> bool {
        let one = array.slice(i, 1);
        one.logical_null_count() > 0 || {
            let inner = match one.data_type() {
                DataType::ListView(_) => Some(one.as_list_view::<i32>().value(0)),
                DataType::LargeListView(_) => Some(one.as_list_view::<i64>().value(0)),
                _ => children(&one),
            };
            inner.is_some_and(|inner| has_nulls(&inner))
        }
    }
    let array = &essential(array);
    (0..array.len()).filter(|&i| row(array, i)).collect()
}

/// Lists of numbers, laid end to end.
pub struct Lists {
    /// Row `i` is `values[ends[i]..ends[i + 1]]`.
    pub ends: Vec<usize>,
    /// All elements: a column of plain numbers.
    pub values: ArrayRef,
    /// Extents of the first row's nested lists, outermost first.
    pub nested: Vec<usize>,
}

impl Lists {
    /// Length of every row.
    pub fn lengths(&self) -> impl Iterator<Item = usize> + '_ {
        self.ends.iter().zip(self.ends.iter().skip(1)).map(|(a, b)| b - a)
    }

    /// Each row's part of `values`, which are as many as the elements.
    pub fn rows<'v, T>(&self, values: &'v [T]) -> impl Iterator<Item = &'v [T]> {
        self.ends.windows(2).map(move |pair| match pair {
            [start, end] => values.get(*start..*end).unwrap_or(&[]),
            _ => &[],
        })
    }

    /// The row that element `at` of the values belongs to.
    pub fn row_of(&self, at: usize) -> usize {
        self.ends.partition_point(|&end| end <= at).saturating_sub(1)
    }
}

/// Takes the lists off a column, all levels of them; a column of plain numbers is lists of one.
///
/// # Errors
/// A column whose list type has a negative length, or whose offsets lie outside its values.
pub fn flatten(array: &ArrayRef) -> Result<Lists, String> {
    let mut ends: Vec<usize> = (0..=array.len()).collect();
    let mut values = array.clone();
    let mut nested = Vec::new();
    loop {
        let item = match values.data_type() {
            DataType::ListView(f) | DataType::LargeListView(f) => Some(f.clone()),
            _ => None,
        };
        if let Some(item) = item {
            values = cast(&values, &DataType::LargeList(item))?;
        }
        let inner: Vec<usize> = match values.data_type() {
            DataType::List(_) => relative::<i32>(values.as_list()),
            DataType::LargeList(_) => relative::<i64>(values.as_list()),
            DataType::FixedSizeList(_, n) => {
                let n = usize::try_from(*n).map_err(|_| "a list type of negative length".to_owned())?;
                (0..=values.len()).map(|i| i * n).collect()
            }
            _ => return Ok(Lists { ends, values, nested }),
        };
        nested.push(inner.get(1).copied().unwrap_or(0));
        let child = children(&values).ok_or("a list without values")?;
        let broken = || "lists whose offsets lie outside their values".to_owned();
        ends = ends.iter().map(|&e| inner.get(e).copied().ok_or_else(broken)).collect::<Result<_, _>>()?;
        values = child;
    }
}

fn relative<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> Vec<usize> {
    let offsets = list.value_offsets();
    let start = offsets.first().map_or(0, |o| o.as_usize());
    offsets.iter().map(|o| o.as_usize() - start).collect()
}

/// A column as another type.
///
/// # Errors
/// A value that does not fit.
pub fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, String> {
    cast_with_options(array, to, &CastOptions { safe: false, ..Default::default() })
        .map_err(|_| format!("holds values of type {} that do not fit {to}", array.data_type()))
}

/// Integers and booleans as `i64`.
///
/// # Errors
/// A column of another type, or with an integer beyond the range of `i64`.
pub fn integers(array: &ArrayRef) -> Result<Int64Array, String> {
    match classify(array.data_type()) {
        Class::Scalar(Number::Int | Number::Bool) => {
            Ok(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
        }
        _ => Err(format!("holds {}, but integers are needed", described(array.data_type()))),
    }
}

/// Numbers as `f64`.
///
/// # Errors
/// A column that holds no numbers.
pub fn doubles(array: &ArrayRef) -> Result<Float64Array, String> {
    Ok(number(array, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
}

fn number(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, String> {
    match classify(array.data_type()) {
        Class::Scalar(_) => cast(array, to),
        _ => Err(format!("holds {}, but numbers are needed", described(array.data_type()))),
    }
}

/// Encoded files: bytes, or the `bytes` of a struct.
///
/// # Errors
/// A column that holds no encoded images.
pub fn blobs(array: &ArrayRef) -> Result<LargeBinaryArray, String> {
    match classify(array.data_type()) {
        Class::Image => {
            let bytes = array.as_any().downcast_ref::<StructArray>().and_then(|s| s.column_by_name("bytes"));
            Ok(cast(bytes.unwrap_or(array), &DataType::LargeBinary)?.as_binary::<i64>().clone())
        }
        _ => Err(format!("has type {}, but encoded images are needed", array.data_type())),
    }
}

/// A column whose dictionary, if it has one, is resolved.
///
/// # Errors
/// A dictionary that Arrow cannot resolve.
pub fn plain(array: &ArrayRef) -> Result<ArrayRef, String> {
    match array.data_type() {
        DataType::Dictionary(_, value) => cast(array, value),
        _ => Ok(array.clone()),
    }
}

/// Text of any kind, also behind a dictionary.
///
/// # Errors
/// Values that cannot be written as text, such as bytes that are not UTF-8.
pub fn text(array: &ArrayRef) -> Result<ArrayRef, String> {
    cast(array, &DataType::LargeUtf8)
}
