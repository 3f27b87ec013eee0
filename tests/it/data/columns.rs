//! Columns of every type: those that nothing uses, and those that feed a model.

use super::*;
use arrow_array::{
    BooleanArray, Date32Array, Decimal128Array, DictionaryArray, DurationSecondArray, Float16Array, Float64Array,
    Int32Array, ListArray, NullArray, StructArray, TimestampSecondArray, UInt64Array,
    types::{Int8Type, Int32Type},
};
use arrow_schema::{DataType, Field};
use data::InputConfig;
use half::f16;
use onnx_forget::data::Batch;

/// Training rows 0 to 4 with the features `x` and `more`, and further columns; input `f` takes `x` and `more`.
fn open(more: impl Fn(Table) -> Table, name: &str) -> Result<Batch, Error> {
    let dir = TempDir::new().unwrap();
    let rows = |first: i64| {
        let table = Table::new()
            .with("id", Int64Array::from_iter_values(first..first + 5))
            .with("x", Int64Array::from_iter_values(0..5));
        more(table).with("label", Int64Array::from(vec![0, 1, 0, 1, 0]))
    };
    let mut config = DataConfig::default();
    config.files.train = Some(rows(0).write(&dir, "train.parquet").into());
    config.files.test = Some(rows(100).write(&dir, "test.parquet").into());
    let columns = Some(vec!["x".into(), name.into()]);
    config.inputs.insert("f".into(), InputConfig { columns, ..InputConfig::default() });
    let model = signature(vec![input("f", DType::F32, &[None, Some(2)])], 2);
    data::open(&config, &request(id_list(&[0]).write(&dir, "forget.parquet")), &model)?.train.batch(&[0, 1, 2, 3, 4])
}

fn fed(column: impl arrow_array::Array + Clone + 'static) -> Vec<f32> {
    let batch = open(|t| t.with("c", column.clone()), "c").unwrap();
    batch.inputs["f"].to_f32().chunks(2).map(|row| row[1]).collect()
}

#[test]
fn numbers_of_every_type_are_features() {
    let expected = [1.0, 0.0, 1.0, 1.0, 0.0];
    let whole = [1i64, 0, 1, 1, 0];
    assert_eq!(fed(BooleanArray::from(whole.map(|x| x == 1).to_vec())), expected);
    assert_eq!(fed(UInt64Array::from(whole.map(|x| x as u64).to_vec())), expected);
    assert_eq!(fed(Float16Array::from(whole.map(|x| f16::from_f64(x as f64)).to_vec())), expected);
    let dictionary: DictionaryArray<Int8Type> =
        DictionaryArray::new(vec![1i8, 0, 1, 1, 0].into(), Arc::new(Int32Array::from(vec![0, 1])));
    assert_eq!(fed(dictionary), expected);
    let cents = Decimal128Array::from(vec![125, -50, 0, 1, 1_000_000]).with_precision_and_scale(20, 2).unwrap();
    assert_eq!(fed(cents), [1.25, -0.5, 0.0, 0.01, 10_000.0]);
    let whole = Decimal128Array::from(vec![7, 8, 9, 10, 11]).with_precision_and_scale(9, 0).unwrap();
    assert_eq!(fed(whole), [7.0, 8.0, 9.0, 10.0, 11.0]);
}

#[test]
fn what_is_no_number_is_refused_by_its_type() {
    let n = || vec![1, 2, 3, 4, 5];
    let categories: DictionaryArray<Int32Type> = ["a", "b", "a", "b", "b"].into_iter().collect();
    let table: Vec<(&str, ArrayRef, [&str; 2])> = vec![
        ("text", Arc::new(words(&["1,5", "2", "3", "4", "5"])), ["text (type Utf8)", "encoded as they were"]),
        ("category", Arc::new(categories), ["categories", "encoded as they were"]),
        ("time", Arc::new(TimestampSecondArray::from(vec![1, 2, 3, 4, 5])), ["points in time", "since a fixed day"]),
        ("date", Arc::new(Date32Array::from(n())), ["dates (type Date32)", "since a fixed day"]),
        ("span", Arc::new(DurationSecondArray::from(vec![1, 2, 3, 4, 5])), ["durations", "days or seconds"]),
        ("none", Arc::new(NullArray::new(5)), ["no value in any row", "fill it"]),
    ];
    for (what, column, expected) in table {
        let message = refused(open(|t| t.with("c", column.clone()), "c"));
        assert!(message.contains("column `c` holds"), "{what}: {message}");
        expected.iter().for_each(|words| assert!(message.contains(words), "{what}: {message}"));
    }
}

#[test]
fn a_value_that_the_input_does_not_hold_is_refused_by_its_row() {
    for value in [1e300, f64::INFINITY, f64::NAN] {
        let column = Float64Array::from(vec![1.0, 2.0, 3.0, 4.0, value]);
        let message = refused(open(|t| t.with("c", column.clone()), "c"));
        let expected = ["train.parquet", "row 4 (counted from 0)", "column `c`"];
        expected.iter().for_each(|words| assert!(message.contains(words), "{message}"));
    }
}

#[test]
fn columns_that_nothing_uses_may_hold_anything() {
    let gaps: DictionaryArray<Int32Type> = [None, Some("b"), None, Some("b"), None].into_iter().collect();
    let rows = [None, Some(vec![Some(1)]), Some(vec![None]), None, None];
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(rows);
    let unused: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![None, Some(1), None, None, None])),
        Arc::new(arrow_array::StringArray::from(vec![None, Some("a"), None, None, None])),
        Arc::new(NullArray::new(5)),
        Arc::new(gaps),
        Arc::new(lists),
        Arc::new(DurationSecondArray::from(vec![None, Some(1), None, None, None])),
    ];
    for column in unused {
        let batch = open(|t| t.with("x2", Int64Array::from_iter_values(5..10)).with("unused", column.clone()), "x2");
        assert_eq!(batch.unwrap().inputs["f"].to_f32()[1], 5.0, "{}", column.data_type());
    }
}

#[test]
fn the_index_that_pandas_stores_is_no_feature() {
    let dir = TempDir::new().unwrap();
    let rows = |first: i64| simple_rows(first, 5).with("__index_level_0__", Int64Array::from_iter_values(0..5));
    let mut config = DataConfig::default();
    config.files.train = Some(rows(0).write(&dir, "train.parquet").into());
    config.files.test = Some(rows(100).write(&dir, "test.parquet").into());
    let list = request(id_list(&[0]).write(&dir, "forget.parquet"));
    let data = data::open(&config, &list, &simple()).unwrap();
    assert!(data.notes.iter().any(|n| n.what.starts_with("input") && n.how.contains("`x`")), "{:?}", data.notes);
}

#[test]
fn a_field_of_a_struct_is_named_by_its_path() {
    let inner: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 1.5, 2.5, 3.5, 4.5]));
    let parts = StructArray::from(vec![(Arc::new(Field::new("b", DataType::Float64, true)), inner)]);
    let batch = open(|t| t.with("a", parts.clone()), "a.b").unwrap();
    assert_eq!(batch.inputs["f"].to_f32()[..4], [0.0, 0.5, 1.0, 1.5]);
    let message = refused(open(|t| t.with("a", parts.clone()), "a"));
    assert!(message.contains("holds structs") && message.contains("column.field"), "{message}");
    let message = refused(open(|t| t.with("a", parts.clone()), "a.c"));
    assert!(message.contains("no column `a.c`"), "{message}");
}
