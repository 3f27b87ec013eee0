//! Which rows are forgotten.

#[path = "../../../benches/ids.rs"]
mod bench;

use super::*;
use arrow_array::{Decimal128Array, FixedSizeBinaryArray, Float64Array, Int8Array, StructArray, UInt64Array};
use arrow_schema::{DataType, Field};
use data::MissingIds;

#[test]
fn listed_rows_are_found_and_repeated_ids_count_once() {
    let dir = TempDir::new().unwrap();
    let data = open_simple(&dir, &[7, 3, 7, 19]).unwrap();
    assert_eq!(data.forget.to_vec(), [3, 7, 19]);
    assert_eq!(data.retain.len(), 17);
    let c = data.counts;
    assert_eq!((c.forget_ids, c.duplicate_ids, c.forget_rows, c.missing_ids), (3, 1, 3, 0));
    assert_eq!((c.train_rows, c.retain_rows, c.validation_rows, c.test_rows), (20, 17, 4, 4));
    let batch = data.train.batch(&data.forget.to_vec()).unwrap();
    assert_eq!(batch.inputs["x"].to_f32(), [3.0, 7.0, 19.0]);
    assert_eq!(batch.targets, data::Targets::Classes(vec![1, 1, 1]));
}

#[test]
fn an_id_of_several_rows_forgets_them_all() {
    let dir = TempDir::new().unwrap();
    let mut config = simple_config(&dir);
    let train = Table::new()
        .with("user", words(&["a", "b", "a", "c"]))
        .with("id", Int64Array::from(vec![0, 1, 2, 3]))
        .with("x", Float64Array::from(vec![0.0, 1.0, 2.0, 3.0]))
        .with("label", Int64Array::from(vec![0, 1, 0, 1]));
    config.files.train = Some(train.write(&dir, "users.parquet").into());
    let list = Table::new().with("user", words(&["a"])).write(&dir, "forget.parquet");
    // The list's column decides, although there is a column `id` too.
    let data = data::open(&config, &request(list), &simple()).unwrap();
    assert_eq!(data.forget.to_vec(), [0, 2]);
    assert_eq!((data.counts.forget_ids, data.counts.forget_rows), (1, 2));
    assert!(data.warnings.iter().any(|w| w.contains("no column `user`")), "{:?}", data.warnings);
}

#[test]
fn missing_ids_stop_with_their_number_and_not_their_values() {
    let dir = TempDir::new().unwrap();
    let message = refused(open_simple(&dir, &[1, 777_777, 888_888]));
    assert!(message.contains("2 of 3 ids") && message.contains("--missing-ids ignore"), "{message}");
    assert!(!message.contains("777"), "{message}");
    let list = id_list(&[1, 777_777]).write(&dir, "forget.parquet");
    let ignore = Request { missing_ids: MissingIds::Ignore, ..request(list) };
    let data = data::open(&simple_config(&dir), &ignore, &simple()).unwrap();
    assert_eq!((data.forget.to_vec(), data.counts.missing_ids), (vec![1], 1));
    let list = id_list(&[777_777]).write(&dir, "forget.parquet");
    let message =
        refused(data::open(&simple_config(&dir), &Request { forget: vec![list.into()], ..ignore }, &simple()));
    assert!(message.contains("no training row"), "{message}");
}

#[test]
fn integer_ids_of_another_width_are_the_same_ids() {
    let dir = TempDir::new().unwrap();
    let narrow = Table::new().with("id", Int8Array::from(vec![5])).write(&dir, "narrow.parquet");
    let wide = Table::new().with("key", UInt64Array::from(vec![5])).write(&dir, "wide.parquet");
    for list in [narrow, wide] {
        let data = data::open(&simple_config(&dir), &request(list), &simple()).unwrap();
        assert_eq!(data.forget.to_vec(), [5]);
    }
}

#[test]
fn uuids_as_bytes_and_as_text_are_the_same_ids() {
    let dir = TempDir::new().unwrap();
    let uuid = |i: u8| uuid::Uuid::from_bytes([i; 16]);
    let rows = |first: u8, n: u8| {
        let bytes = (first..first + n).map(|i| uuid(i).into_bytes());
        Table::new()
            .with("id", FixedSizeBinaryArray::try_from_iter(bytes).unwrap())
            .with("x", Int64Array::from_iter_values(0..i64::from(n)))
            .with("label", Int64Array::from_iter_values((0..i64::from(n)).map(|i| i & 1)))
    };
    let mut config = DataConfig::default();
    config.files.train = Some(rows(0, 8).write(&dir, "train.parquet").into());
    config.files.test = Some(rows(100, 8).write(&dir, "test.parquet").into());
    let text = Table::new().with("id", words(&[&uuid(2).to_string(), &uuid(6).to_string().to_uppercase()]));
    let data = data::open(&config, &request(text.write(&dir, "forget.parquet")), &simple()).unwrap();
    assert_eq!(data.forget.to_vec(), [2, 6]);
    let bytes = FixedSizeBinaryArray::try_from_iter([uuid(2).into_bytes(), uuid(6).into_bytes()].into_iter()).unwrap();
    let again = Table::new().with("id", bytes).write(&dir, "bytes.parquet");
    let again = data::open(&config, &request(again), &simple()).unwrap();
    assert_eq!(again.forget, data.forget);
    assert_eq!(again.forget_ids_sha256, data.forget_ids_sha256);
}

#[test]
fn ids_of_another_kind_are_converted_where_nothing_is_lost() {
    let dir = TempDir::new().unwrap();
    let open = |list: Table| data::open(&simple_config(&dir), &request(list.write(&dir, "forget.parquet")), &simple());
    let decimal = Decimal128Array::from(vec![300, 700]).with_precision_and_scale(10, 2).unwrap();
    let lists = [
        Table::new().with("id", words(&["3", "7"])),
        Table::new().with("id", Float64Array::from(vec![3.0, 7.0])),
        Table::new().with("id", decimal),
    ];
    for list in lists {
        let data = open(list).unwrap();
        assert_eq!(data.forget.to_vec(), [3, 7]);
        assert!(data.notes.iter().any(|n| n.what == "forget" && n.how.contains("`id`")), "{:?}", data.notes);
    }
    let message = refused(open(Table::new().with("id", words(&["3", "seven", "007"]))));
    let expected =
        ["2 of 3 ids", "2 are text that is not one of the integers", "1 of the missing ones would match as numbers"];
    expected.iter().for_each(|words| assert!(message.contains(words), "{message}"));
    assert!(!message.contains("seven"), "{message}");
    let message = refused(open(Table::new().with("id", arrow_array::Date32Array::from(vec![3]))));
    assert!(message.contains("ids of two kinds") && message.contains("points in time"), "{message}");
    for (float, problem) in [(f64::NAN, "is NaN"), (1.5, "not whole"), (1e17, "floats skip integers")] {
        let message = refused(open(Table::new().with("id", Float64Array::from(vec![3.0, float]))));
        assert!(message.contains("row 1 (counted from 0)") && message.contains(problem), "{message}");
    }
    let message = refused(open(Table::new().with("id", arrow_array::BooleanArray::from(vec![true]))));
    assert!(message.contains("`id` holds numbers (type Boolean)") && message.contains("ids are integers"), "{message}");
}

#[test]
fn the_training_data_may_have_floats_or_text_for_ids() {
    let dir = TempDir::new().unwrap();
    let rows = |id: ArrayRef| {
        let mut table = Table::new().with("x", Int64Array::from_iter_values(0..4));
        table.0.push(("id".into(), id));
        table.with("label", Int64Array::from(vec![0, 1, 0, 1]))
    };
    let mut config = DataConfig::default();
    let texts = |ids: &[&str]| -> ArrayRef { Arc::new(words(ids)) };
    let floats =
        |first: i64| -> ArrayRef { Arc::new(Float64Array::from_iter_values((first..first + 4).map(|i| i as f64))) };
    let open = |config: &DataConfig| data::open(config, &request(id_list(&[2]).write(&dir, "f.parquet")), &simple());
    config.files.train = Some(rows(floats(0)).write(&dir, "train.parquet").into());
    config.files.test = Some(rows(floats(100)).write(&dir, "test.parquet").into());
    assert_eq!(open(&config).unwrap().forget.to_vec(), [2]);
    config.files.train = Some(rows(texts(&["1", "2", "x", "4"])).write(&dir, "train.parquet").into());
    assert_eq!(open(&config).unwrap().forget.to_vec(), [1]);
    config.files.train = Some(rows(texts(&["001", "002", "003", "004"])).write(&dir, "train.parquet").into());
    let message = refused(open(&config));
    assert!(message.contains("1 of the missing ones would match as numbers, without leading zeros"), "{message}");
}

#[test]
fn ids_that_nearly_match_are_told_without_being_shown() {
    let dir = TempDir::new().unwrap();
    let mut config = simple_config(&dir);
    let names = ["Ann", "bob", "Eve", "dan"];
    let train = Table::new()
        .with("id", words(&names))
        .with("x", Int64Array::from_iter_values(0..4))
        .with("label", Int64Array::from(vec![0, 1, 0, 1]));
    config.files.train = Some(train.write(&dir, "names.parquet").into());
    (config.files.validation, config.files.test) = (None, Some(config.files.test.take().unwrap()));
    config.files.id = None;
    let open = |ids: &[&str]| {
        let list = Table::new().with("id", words(ids)).write(&dir, "forget.parquet");
        let mut config = config.clone();
        // Held-out rows without ids.
        let held_out = Table::new().with("x", Int64Array::from(vec![8, 9])).with("label", Int64Array::from(vec![0, 1]));
        config.files.test = Some(held_out.write(&dir, "held_out.parquet").into());
        data::open(&config, &request(list), &simple())
    };
    let message = refused(open(&["ann", "BOB", "zoe"]));
    assert!(
        message.contains("3 of 3 ids") && message.contains("2 of the missing ones would match if upper"),
        "{message}"
    );
    assert!(!message.contains("ann") && !message.contains("zoe"), "{message}");
    let message = refused(open(&["Ann ", "bob"]));
    assert!(
        message.contains("1 of 2 ids") && message.contains("1 of the missing ones would match without the spaces"),
        "{message}"
    );
    let message = refused(open(&["zoe"]));
    assert!(!message.contains("would match"), "{message}");
}

#[test]
fn row_numbers_and_fields_of_structs_are_ids() {
    let dir = TempDir::new().unwrap();
    let paths: ArrayRef = Arc::new(words(&["a.png", "b.png", "c.png", "d.png", "e.png"]));
    let image = StructArray::from(vec![(Arc::new(Field::new("path", DataType::Utf8, true)), paths)]);
    let rows = || {
        Table::new()
            .with("image", image.clone())
            .with("x", Int64Array::from_iter_values(0..5))
            .with("label", Int64Array::from(vec![0, 1, 0, 1, 0]))
    };
    let folder = dir.path().join("train");
    std::fs::create_dir(&folder).unwrap();
    rows().write_as(&folder.join("0.parquet"), 2, Compression::SNAPPY);
    rows().write_as(&folder.join("1.parquet"), 2, Compression::SNAPPY);
    let mut config = DataConfig::default();
    config.files.train = Some(folder.into());
    let held_out = Table::new().with("x", Int64Array::from(vec![8, 9])).with("label", Int64Array::from(vec![0, 1]));
    config.files.test = Some(held_out.write(&dir, "test.parquet").into());
    let message = refused(data::open(&config, &request(id_list(&[7, 2]).write(&dir, "f.parquet")), &simple()));
    assert!(message.contains("--id '#row'") && message.contains("`image.path`"), "{message}");
    config.files.id = Some("#row".into());
    let data = data::open(&config, &request(id_list(&[7, 2]).write(&dir, "f.parquet")), &simple()).unwrap();
    assert_eq!(data.forget.to_vec(), [2, 7]);
    assert_eq!(data.train.batch(&[7]).unwrap().inputs["x"].to_f32(), [2.0]);
    assert!(data.notes.iter().any(|n| n.what == "id" && n.how.contains("from 0")), "{:?}", data.notes);
    let message = refused(data::open(&config, &request(id_list(&[10]).write(&dir, "f.parquet")), &simple()));
    assert!(message.contains("1 of 1 ids"), "{message}");
    config.files.id = Some("image.path".into());
    let list = Table::new().with("file", words(&["b.png"])).write(&dir, "f.parquet");
    let data = data::open(&config, &request(list), &simple()).unwrap();
    assert_eq!(data.forget.to_vec(), [1, 6]);
    let told = |n: &data::Note| n.how.contains("1 ids to forget are those of 2 training rows");
    assert!(data.notes.iter().any(told), "{:?}", data.notes);
}

#[test]
fn the_column_of_ids_is_named_or_found() {
    let dir = TempDir::new().unwrap();
    let two = |a: &str, b: &str| {
        Table::new().with(a, Int64Array::from(vec![1])).with(b, Int64Array::from(vec![2])).write(&dir, "forget.parquet")
    };
    let open = |config: &DataConfig, list| data::open(config, &request(list), &simple());
    let mut config = simple_config(&dir);
    assert_eq!(open(&config, two("when", "id")).unwrap().forget.to_vec(), [2]);
    let message = refused(open(&config, two("a", "b")));
    assert!(message.contains("nothing tells which of its 2 columns holds the ids"), "{message}");
    assert!(message.contains("--forget-id") && !message.contains("`a`"), "{message}");
    config.files.id = Some("nowhere".into());
    let message = refused(open(&config, two("id", "b")));
    assert!(message.contains("no column `nowhere`"), "{message}");
}

#[test]
fn rows_to_forget_must_not_be_held_out() {
    let dir = TempDir::new().unwrap();
    let mut config = simple_config(&dir);
    config.files.test = Some(simple_rows(4, 4).write(&dir, "test.parquet").into());
    let open = |ids: &[i64]| data::open(&config, &request(id_list(ids).write(&dir, "forget.parquet")), &simple());
    let message = refused(open(&[4, 5, 9]));
    assert!(message.contains("2 ids to forget also occur in validation or test"), "{message}");
    let data = open(&[9]).unwrap();
    assert_eq!(data.counts.shared_with_held_out, 4);
    assert!(data.warnings.iter().any(|w| w.starts_with("4 training rows")), "{:?}", data.warnings);
    let class = Request { forget_class: Some(0), ..Request::default() };
    let message = refused(data::open(&config, &class, &simple()));
    assert!(message.contains("2 ids to forget also occur"), "{message}");
}

#[test]
fn a_class_can_be_forgotten_alone_or_besides() {
    let dir = TempDir::new().unwrap();
    let config = simple_config(&dir);
    let class = Request { forget_class: Some(1), ..Request::default() };
    let data = data::open(&config, &class, &simple()).unwrap();
    assert_eq!(data.forget.to_vec(), (0..20).filter(|i| i % 2 == 1).collect::<Vec<_>>());
    assert_eq!((data.counts.forget_ids, data.forget_ids_sha256), (0, None));
    let both = Request { forget: vec![id_list(&[4]).write(&dir, "f.parquet").into()], ..class };
    assert_eq!(data::open(&config, &both, &simple()).unwrap().forget.len(), 11);
    for (class, words) in [(2, "classes are 0 to 1"), (-1, "classes are 0 to 1")] {
        let wrong = Request { forget_class: Some(class), ..Request::default() };
        let message = refused(data::open(&config, &wrong, &simple()));
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn nothing_to_forget_or_to_retain_is_an_error() {
    let dir = TempDir::new().unwrap();
    let message = refused(open_simple(&dir, &[]));
    assert!(message.contains("no id to forget"), "{message}");
    let all: Vec<i64> = (0..20).collect();
    let message = refused(open_simple(&dir, &all));
    assert!(message.contains("every training row"), "{message}");
    let none = data::open(&simple_config(&dir), &Request::default(), &simple()).unwrap_err();
    assert_eq!(none.exit_code(), 2);
}

#[test]
fn every_listed_id_of_a_large_file_is_found() {
    let dir = TempDir::new().unwrap();
    for kind in ["integer", "text", "uuid"] {
        let measured = bench::measure(dir.path(), kind, 30_000, 1_000).unwrap();
        assert_eq!(measured.found, 1_000, "{kind}");
        assert!(measured.rows_per_second > 0.0);
    }
}
