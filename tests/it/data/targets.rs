//! What the rows should come out as.

use super::*;
use arrow_array::{BooleanArray, Float32Array, Float64Array, ListArray, types::Int64Type};
use data::{TargetKind, Targets};

fn open(label: &str, column: impl arrow_array::Array + 'static, outputs: &[Option<usize>]) -> Result<Data, Error> {
    let dir = TempDir::new().unwrap();
    let n = column.len() as i64;
    let rows = |first: i64| {
        Table::new()
            .with("id", Int64Array::from_iter_values(first..first + n))
            .with("x", Int64Array::from_iter_values(0..n))
    };
    let column: ArrayRef = Arc::new(column);
    let with = |first| {
        let mut table = rows(first);
        table.0.push((label.into(), column.clone()));
        table
    };
    let mut config = DataConfig::default();
    config.files.train = Some(with(0).write(&dir, "train.parquet").into());
    config.files.test = Some(with(100).write(&dir, "test.parquet").into());
    let scores = Some(input("scores", DType::F32, outputs));
    let signature =
        Signature { inputs: vec![input("x", DType::F32, &[None, Some(1)])], scores, ..Signature::default() };
    data::open(&config, &request(id_list(&[0]).write(&dir, "forget.parquet")), &signature)
}

fn targets(data: &Data) -> Targets {
    data.train.targets(&data::Rows::all(data.train.len())).unwrap()
}

fn lists(of: &[&[i64]]) -> ListArray {
    ListArray::from_iter_primitive::<Int64Type, _, _>(of.iter().map(|row| Some(row.iter().map(|x| Some(*x)))))
}

#[test]
fn integers_are_classes_of_several_outputs() {
    let data = open("label", Int64Array::from(vec![2, 0, 1]), &[None, Some(3)]).unwrap();
    assert_eq!((data.target, data.target_width), (TargetKind::Class, 3));
    assert_eq!(targets(&data), Targets::Classes(vec![2, 0, 1]));
    let message = refused(open("label", Int64Array::from(vec![2, 0, 3]), &[None, Some(3)]));
    assert!(
        message.contains("row 2 (counted from 0)") && message.contains("one of the model's classes 0 to 2"),
        "{message}"
    );
    let data = open("y", Float64Array::from(vec![2.0, 0.0, 1.0]), &[None, Some(3)]).unwrap();
    assert_eq!(targets(&data), Targets::Classes(vec![2, 0, 1]));
}

#[test]
fn one_output_is_binary_or_a_value() {
    for outputs in [&[None, Some(1)][..], &[None]] {
        let data = open("target", BooleanArray::from(vec![true, false, true]), outputs).unwrap();
        assert_eq!((data.target, targets(&data)), (TargetKind::Binary, Targets::Classes(vec![1, 0, 1])));
        let data = open("target", Int64Array::from(vec![1, 0, 1]), outputs).unwrap();
        assert_eq!(data.target, TargetKind::Binary);
        let data = open("target", Float32Array::from(vec![0.5, 3.0, -1.0]), outputs).unwrap();
        assert_eq!(data.target, TargetKind::Value);
        assert_eq!(targets(&data), Targets::Values { width: 1, values: vec![0.5, 3.0, -1.0] });
        let data = open("target", Int64Array::from(vec![7, 0, 1]), outputs).unwrap();
        assert_eq!(data.target, TargetKind::Value);
    }
}

#[test]
fn lists_are_labels_or_values() {
    let hot = open("labels", lists(&[&[1, 0, 1], &[0, 0, 0], &[0, 1, 0]]), &[None, Some(3)]).unwrap();
    let numbers = open("labels", lists(&[&[2, 0], &[], &[1]]), &[None, Some(3)]).unwrap();
    assert_eq!((hot.target, numbers.target), (TargetKind::MultiLabel, TargetKind::MultiLabel));
    let expected = Targets::Values { width: 3, values: vec![1., 0., 1., 0., 0., 0., 0., 1., 0.] };
    assert_eq!((targets(&hot), targets(&numbers)), (expected.clone(), expected));
    let message = refused(open("labels", lists(&[&[2, 0], &[], &[3]]), &[None, Some(3)]));
    assert!(
        message.contains("row 2 (counted from 0)") && message.contains("not among the model's 0 to 2"),
        "{message}"
    );
    let message = refused(open("labels", lists(&[&[2, 0], &[], &[1]]), &[None, None]));
    assert!(message.contains("an unknown number of outputs"), "{message}");
    let values = Float32Array::from(vec![0.5, 1.5, 2.5, 3.5]);
    let item = Arc::new(arrow_schema::Field::new("item", arrow_schema::DataType::Float32, true));
    let pairs = arrow_array::FixedSizeListArray::new(item, 2, Arc::new(values), None);
    let data = open("y", pairs, &[None, Some(2)]).unwrap();
    assert_eq!((data.target, data.target_width), (TargetKind::Value, 2));
    assert_eq!(data.train.batch(&[1]).unwrap().targets, Targets::Values { width: 2, values: vec![2.5, 3.5] });
}

#[test]
fn the_label_may_be_the_only_column_left() {
    let data = open("verdict", Int64Array::from(vec![1, 0, 1]), &[None, Some(2)]).unwrap();
    assert_eq!(targets(&data), Targets::Classes(vec![1, 0, 1]));
    assert!(data.notes.iter().any(|n| n.what == "target" && n.how.contains("`verdict`") && n.inferred));
}

#[test]
fn labels_that_no_loss_takes_are_refused() {
    let message = refused(open("label", words(&["emu", "dog", "emu"]), &[None, Some(2)]));
    assert!(message.contains("holds text") && !message.contains("emu"), "{message}");
    let message = refused(open("label", Int64Array::from(vec![Some(1), None, None]), &[None, Some(2)]));
    assert!(message.contains("column `label`: 2 rows have no value"), "{message}");
    let message = refused(open("label", Int64Array::from(vec![0, -1, 1]), &[None, Some(2)]));
    assert!(message.contains("not one of the model's classes"), "{message}");
}

#[test]
fn the_configuration_decides_over_what_is_inferred() {
    let dir = TempDir::new().unwrap();
    let mut config = simple_config(&dir);
    let open = |config: &DataConfig, outputs| {
        let signature = signature(vec![input("x", DType::F32, &[None, Some(1)])], outputs);
        data::open(config, &request(id_list(&[0]).write(&dir, "forget.parquet")), &signature)
    };
    config.target.kind = Some(TargetKind::Value);
    let data = open(&config, 1).unwrap();
    assert_eq!(data.target, TargetKind::Value);
    config.target.kind = Some(TargetKind::Class);
    assert!(refused(open(&config, 1)).contains("has one output"));
    config.target.kind = Some(TargetKind::Binary);
    assert!(refused(open(&config, 2)).contains("cannot be binary"));
    config.target.column = Some("nowhere".into());
    assert!(refused(open(&config, 2)).contains("no column `nowhere`"));
}
