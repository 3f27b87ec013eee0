//! Labels as people store them: words, yes and no, digits, decimals, lists of one, one-hot and soft ones.

use super::*;
use arrow_array::{
    Array, BooleanArray, Decimal128Array, DictionaryArray, FixedSizeListArray, Float32Array, Float64Array, ListArray,
    types::{Int32Type, Int64Type},
};
use arrow_schema::{DataType, Field};
use data::{Note, TargetConfig, TargetKind, Targets};
use parquet::file::metadata::KeyValue;

/// A model of so many outputs, and what is known of it.
#[derive(Clone, Default)]
struct Model {
    outputs: usize,
    independent: bool,
    values: bool,
    classes: Option<Vec<String>>,
}

fn of(outputs: usize) -> Model {
    Model { outputs, ..Model::default() }
}

fn read(
    table: impl Fn(Table) -> Table,
    model: Model,
    target: TargetConfig,
    extra: Option<&str>,
) -> Result<Data, Error> {
    let dir = TempDir::new().unwrap();
    let write = |first: i64, name: &str| {
        let start = Table::new()
            .with("id", Int64Array::from_iter_values(first..first + 4))
            .with("x", Float64Array::from_iter_values((0..4).map(|i| i as f64)));
        let batch = table(start).batch();
        let path = dir.path().join(name);
        let stored = extra.map(|text| vec![KeyValue::new("huggingface".into(), Some(text.to_owned()))]);
        let properties = WriterProperties::builder().set_key_value_metadata(stored).build();
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        path
    };
    let mut config = DataConfig { target, ..DataConfig::default() };
    config.files.train = Some(write(0, "train.parquet").into());
    config.files.test = Some(write(100, "test.parquet").into());
    let Model { outputs, independent, values, classes } = model;
    let plain = signature(vec![input("x", DType::F32, &[None, Some(1)])], outputs);
    let signature = Signature { independent, values, classes, ..plain };
    data::open(&config, &request(id_list(&[0]).write(&dir, "forget.parquet")), &signature)
}

fn labels(column: impl Array + Clone + 'static, model: Model) -> Result<Data, Error> {
    read(|t| t.with("label", column.clone()), model, TargetConfig::default(), None)
}

fn classes(data: &Data) -> Vec<i64> {
    match data.train.targets(&data::Rows::all(4)).unwrap() {
        Targets::Classes(classes) => classes,
        other => panic!("{other:?}"),
    }
}

fn how(data: &Data) -> &str {
    let target = |n: &&Note| n.what == "target";
    &data.notes.iter().find(target).unwrap().how
}

fn ints(rows: &[&[i64]]) -> ListArray {
    ListArray::from_iter_primitive::<Int64Type, _, _>(rows.iter().map(|r| Some(r.iter().map(|x| Some(*x)))))
}

fn floats(width: i32, values: Vec<f32>) -> FixedSizeListArray {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    FixedSizeListArray::new(item, width, Arc::new(Float32Array::from(values)), None)
}

fn names(of: &[&str]) -> Option<Vec<String>> {
    Some(of.iter().map(|n| (*n).to_owned()).collect())
}

const CLASS_LABEL: &str =
    r#"{"info": {"features": {"label": {"names": ["dog", "emu", "eel"], "_type": "ClassLabel"}}}}"#;

#[test]
fn words_are_classes_by_a_map() {
    let animals = ["emu", "dog", "eel", "emu"];
    let open = |target: TargetConfig, extra| read(|t| t.with("label", words(&animals)), of(3), target, extra);
    let message = refused(open(TargetConfig::default(), None));
    let expected = ["holds text (type Utf8), 3 different words", "3 outputs", "classes = [", "[target.map]"];
    expected.iter().for_each(|words| assert!(message.contains(words), "{message}"));
    assert!(animals.iter().all(|a| !message.contains(a)), "{message}");
    let listed = TargetConfig { classes: names(&["eel", "emu", "dog"]), ..TargetConfig::default() };
    let data = open(listed, None).unwrap();
    assert_eq!((data.target, classes(&data)), (TargetKind::Class, vec![1, 2, 0, 1]));
    let map = [("emu", 0), ("dog", 0), ("eel", 2)].map(|(word, class)| (word.to_owned(), class)).into();
    assert_eq!(classes(&open(TargetConfig { map, ..TargetConfig::default() }, None).unwrap()), [0, 0, 2, 0]);
    let data = open(TargetConfig::default(), Some(CLASS_LABEL)).unwrap();
    assert_eq!(classes(&data), [1, 0, 2, 1]);
    assert!(how(&data).contains("ClassLabel"), "{}", how(&data));
    let known = Model { classes: names(&["eel", "dog", "emu"]), ..of(3) };
    assert_eq!(classes(&labels(words(&animals), known).unwrap()), [2, 1, 0, 2]);
}

#[test]
fn a_map_that_does_not_fit_is_refused() {
    let open = |target: TargetConfig| read(|t| t.with("label", words(&["a", "b", "c", "a"])), of(3), target, None);
    let classes = |of: &[&str]| TargetConfig { classes: names(of), ..TargetConfig::default() };
    let map = |of: &[(&str, i64)]| TargetConfig {
        map: of.iter().map(|(word, class)| ((*word).to_owned(), *class)).collect(),
        ..TargetConfig::default()
    };
    let cases = [
        (classes(&["a", "b"]), "names 2 classes, but the model has 3"),
        (classes(&["a", "b", "b"]), "a class twice"),
        (classes(&["a", "b", "x"]), "row 2 (counted from 0): label column `label`: not one of the classes"),
        (map(&[("a", 0), ("b", 3)]), "not one of the model's 0 to 2"),
        (map(&[("a", 0), ("b", -1)]), "not one of the model's 0 to 2"),
        (TargetConfig { classes: names(&["a", "b", "c"]), ..map(&[("a", 0)]) }, "not both"),
    ];
    for (target, expected) in cases {
        let message = refused(open(target));
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn numbers_are_renumbered_where_a_map_says_so() {
    let one_based = Int64Array::from(vec![1, 3, 2, 1]);
    let map = [("1", 0), ("2", 1), ("3", 2)].map(|(word, class)| (word.to_owned(), class)).into();
    let target = TargetConfig { map, ..TargetConfig::default() };
    assert_eq!(classes(&read(|t| t.with("label", one_based.clone()), of(3), target, None).unwrap()), [0, 2, 1, 0]);
    let message = refused(labels(one_based.clone(), of(3)));
    assert!(message.contains("counts classes from 1") && message.contains("`1 = 0`"), "{message}");
    // The file's names are the model's, in another order.
    let stored = Int64Array::from(vec![0, 1, 2, 0]);
    let model = |of_model: &[&str]| Model { classes: names(of_model), ..of(3) };
    let open = |m| read(|t| t.with("label", stored.clone()), m, TargetConfig::default(), Some(CLASS_LABEL)).unwrap();
    assert_eq!(classes(&open(model(&["emu", "dog", "eel"]))), [1, 0, 2, 1]);
    assert_eq!(classes(&open(model(&["dog", "emu", "eel"]))), [0, 1, 2, 0]);
    assert_eq!(classes(&open(model(&["x", "y", "z"]))), [0, 1, 2, 0]);
}

#[test]
fn categories_are_not_numbered_by_their_order_in_the_file() {
    let categories: DictionaryArray<Int32Type> = ["emu", "dog", "emu", "dog"].into_iter().collect();
    let message = refused(labels(categories.clone(), of(2)));
    assert!(message.contains("categories") && message.contains("order of categories in a file"), "{message}");
    let target = TargetConfig { classes: names(&["dog", "emu"]), ..TargetConfig::default() };
    let data = read(|t| t.with("label", categories.clone()), of(2), target, None).unwrap();
    assert_eq!(classes(&data), [1, 0, 1, 0]);
}

#[test]
fn yes_and_no_digits_booleans_and_decimals_are_classes() {
    for outputs in [1, 2] {
        let data = labels(words(&["Yes", "no", "no", "YES"]), of(outputs)).unwrap();
        assert_eq!(classes(&data), [1, 0, 0, 1], "{outputs}");
        assert_eq!(classes(&labels(words(&["false", "true", "true", "false"]), of(outputs)).unwrap()), [0, 1, 1, 0]);
        assert_eq!(
            classes(&labels(BooleanArray::from(vec![true, false, false, true]), of(outputs)).unwrap()),
            [1, 0, 0, 1]
        );
        assert_eq!(classes(&labels(words(&["1", "0", " 0", "1.0"]), of(outputs)).unwrap()), [1, 0, 0, 1]);
    }
    assert_eq!(classes(&labels(words(&["2", "0", "1", "2"]), of(3)).unwrap()), [2, 0, 1, 2]);
    for scale in [0, 2] {
        let unit = 10i128.pow(scale);
        let decimal =
            Decimal128Array::from(vec![2 * unit, 0, unit, 0]).with_precision_and_scale(9, scale as i8).unwrap();
        assert_eq!(classes(&labels(decimal, of(3)).unwrap()), [2, 0, 1, 0]);
    }
    refused(labels(words(&["yes", "no", "maybe", "no"]), of(2)));
    refused(labels(words(&["yes", "no", "no", "no"]), of(3)));
}

#[test]
fn lists_of_one_and_one_hot_lists_are_classes() {
    let data = labels(ints(&[&[2], &[0], &[1], &[0]]), of(3)).unwrap();
    assert_eq!((data.target, classes(&data)), (TargetKind::Class, vec![2, 0, 1, 0]));
    let data = labels(ints(&[&[1], &[0], &[1], &[0]]), of(1)).unwrap();
    assert_eq!((data.target, classes(&data)), (TargetKind::Binary, vec![1, 0, 1, 0]));
    let hot = ints(&[&[0, 0, 1], &[1, 0, 0], &[0, 1, 0], &[1, 0, 0]]);
    let data = labels(hot.clone(), of(3)).unwrap();
    assert_eq!((data.target, data.target_width, classes(&data)), (TargetKind::Class, 3, vec![2, 0, 1, 0]));
    assert!(how(&data).contains("read as a class of 3"), "{}", how(&data));
    let float = floats(2, vec![0., 1., 1., 0., 1., 0., 0., 1.]);
    assert_eq!(classes(&labels(float, of(2)).unwrap()), [1, 0, 0, 1]);
    // A yes or no for each output; a row of two labels, or of none.
    let sigmoids = Model { independent: true, ..of(3) };
    assert_eq!(labels(hot, sigmoids.clone()).unwrap().target, TargetKind::MultiLabel);
    assert_eq!(labels(ints(&[&[2], &[0], &[1], &[0]]), sigmoids).unwrap().target, TargetKind::MultiLabel);
    for last in [&[1, 1, 0][..], &[0, 0, 0]] {
        let data = labels(ints(&[&[0, 0, 1], &[1, 0, 0], &[0, 1, 0], last]), of(3)).unwrap();
        assert_eq!(data.target, TargetKind::MultiLabel);
    }
    let columns =
        |t: Table| t.with("is_a", Int64Array::from(vec![0, 1, 0, 0])).with("is_b", Int64Array::from(vec![1, 0, 1, 1]));
    let target = TargetConfig { columns: names(&["is_a", "is_b"]), ..TargetConfig::default() };
    assert_eq!(classes(&read(columns, of(2), target, None).unwrap()), [1, 0, 1, 1]);
}

#[test]
fn soft_labels_are_refused_unless_they_are_values() {
    let soft = floats(2, vec![0.25, 0.75, 0.5, 0.5, 1.0, 0.0, 0.1, 0.9]);
    let message = refused(labels(soft.clone(), of(2)));
    assert!(message.contains("soft labels") && message.contains("kind = \"value\""), "{message}");
    let value = TargetConfig { kind: Some(TargetKind::Value), ..TargetConfig::default() };
    assert_eq!(read(|t| t.with("label", soft.clone()), of(2), value, None).unwrap().target, TargetKind::Value);
    assert_eq!(labels(soft, Model { values: true, ..of(2) }).unwrap().target, TargetKind::Value);
    let values = floats(2, vec![0.25, 0.75, 0.5, 0.6, 1.0, 0.0, 0.1, 0.9]);
    assert_eq!(labels(values, of(2)).unwrap().target, TargetKind::Value);
}

#[test]
fn a_class_for_each_position_is_never_a_set_of_labels() {
    let rows: [&[&[i64]]; 4] = [
        &[&[1, 0, 2, 2], &[3, 3, 0, 1], &[0, 0, 0, 0], &[1, 2, 3, 4]],
        &[&[1, 0, 1], &[0], &[1, 1], &[0, 1]],
        &[&[1, -100, 2], &[3, 4, -100], &[0, 1, 2], &[1, 2, 3]],
        &[&[0, 1, 1, 0], &[0, 0, 0, 1], &[0, 0, 0, 0], &[1, 1, 0, 0]],
    ];
    for rows in rows {
        let message = refused(labels(ints(rows), of(12)));
        assert!(message.contains("no sets of labels"), "{message}");
    }
    let target = TargetConfig { kind: Some(TargetKind::MultiLabel), ..TargetConfig::default() };
    let tags = ints(&[&[1, 2], &[3, 3], &[0, 1], &[1, 2]]);
    let message = refused(read(|t| t.with("label", tags.clone()), of(12), target, None));
    assert!(message.contains("row 1 (counted from 0)") && message.contains("twice"), "{message}");
    // As many whole numbers as outputs are values.
    let data = labels(ints(&[&[7, 0, 2], &[3, 3, 0], &[0, -1, 5], &[1, 2, 3]]), of(3)).unwrap();
    assert_eq!(data.target, TargetKind::Value);
}

#[test]
fn one_of_several_label_columns_is_asked_about() {
    let several = |t: Table| {
        (0..4).fold(t, |t, i| t.with(&format!("l{i}"), Int64Array::from_iter_values((0..4).map(|r| i64::from(r == i)))))
    };
    let one = TargetConfig { column: Some("l1".into()), ..TargetConfig::default() };
    for independent in [false, true] {
        let message = refused(read(several, Model { independent, ..of(4) }, one.clone(), None));
        assert!(message.contains("columns = [\"l0\", \"l1\", \"l2\", \"l3\"]"), "{message}");
    }
    let class = TargetConfig { kind: Some(TargetKind::Class), ..one.clone() };
    assert_eq!(read(several, of(4), class, None).unwrap().target, TargetKind::Class);
    assert_eq!(read(several, of(6), one, None).unwrap().target, TargetKind::Class);
}

#[test]
fn labels_that_are_no_probabilities_are_refused_under_a_sigmoid() {
    let sigmoid = Model { independent: true, ..of(1) };
    let signs = Int64Array::from(vec![-1, 1, 1, -1]);
    let message = refused(labels(signs.clone(), sigmoid.clone()));
    assert!(message.contains("is a probability") && message.contains("`-1 = 0`"), "{message}");
    let map = [("-1", 0), ("1", 1)].map(|(word, class)| (word.to_owned(), class)).into();
    let target = TargetConfig { map, ..TargetConfig::default() };
    let data = read(|t| t.with("label", signs.clone()), sigmoid.clone(), target, None).unwrap();
    assert_eq!((data.target, classes(&data)), (TargetKind::Binary, vec![0, 1, 1, 0]));
    assert_eq!(labels(Float64Array::from(vec![0.25, 1.0, 0.0, 0.5]), sigmoid).unwrap().target, TargetKind::Value);
    let message = refused(labels(Float64Array::from(vec![1.0, 0.0, f64::NAN, 0.0]), of(2)));
    assert!(message.contains("row 2 (counted from 0)") && message.contains("NaN"), "{message}");
}
