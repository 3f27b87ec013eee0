//! Training, validation and test rows.

use super::*;
use std::collections::BTreeSet;

fn xs(set: &data::Dataset) -> Vec<i64> {
    let all: Vec<usize> = (0..set.len()).collect();
    set.batch(&all).unwrap().inputs["x"].to_f32().into_iter().map(|x| x as i64).collect()
}

fn forget(dir: &TempDir) -> Request {
    request(id_list(&[3]).write(dir, "forget.parquet"))
}

#[test]
fn without_held_out_rows_the_message_says_what_to_do() {
    let dir = TempDir::new().unwrap();
    let mut config = simple_config(&dir);
    (config.files.validation, config.files.test) = (None, None);
    let message = refused(data::open(&config, &forget(&dir), &simple()));
    assert!(message.contains("no validation data") && message.contains("--validation"), "{message}");
    config.files.train = None;
    let message = refused(data::open(&config, &forget(&dir), &simple()));
    assert!(message.contains("no training data"), "{message}");
}

#[test]
fn one_held_out_file_is_halved_by_id_whatever_its_order() {
    let dir = TempDir::new().unwrap();
    let halves = |held_out: Table, as_test: bool| {
        let mut config = simple_config(&dir);
        let path = Some(held_out.write(&dir, "held.parquet").into());
        (config.files.validation, config.files.test) = if as_test { (None, path) } else { (path, None) };
        let data = data::open(&config, &forget(&dir), &simple()).unwrap();
        let (a, b) = (xs(&data.validation), xs(&data.test));
        (a.into_iter().collect::<BTreeSet<_>>(), b.into_iter().collect::<BTreeSet<_>>())
    };
    let (a, b) = halves(simple_rows(1000, 101), false);
    assert_eq!((a.len(), b.len()), (50, 51));
    assert!(a.is_disjoint(&b));
    assert!(a.iter().any(|x| *x > 1050) && b.iter().any(|x| *x < 1050), "not simply the first half");
    let backwards: Vec<i64> = (1000..1101).rev().collect();
    let reversed = Table::new()
        .with("label", Int64Array::from_iter_values(backwards.iter().map(|i| i & 1)))
        .with("x", Int64Array::from(backwards.clone()))
        .with("id", Int64Array::from(backwards));
    assert_eq!(halves(reversed, true), (a, b));
}

#[test]
fn rows_of_one_id_stay_on_one_side() {
    let dir = TempDir::new().unwrap();
    let mut config = simple_config(&dir);
    let same = Table::new()
        .with("id", Int64Array::from(vec![7, 7, 7, 8]))
        .with("x", Int64Array::from(vec![1, 1, 1, 2]))
        .with("label", Int64Array::from(vec![0, 1, 0, 1]));
    (config.files.validation, config.files.test) = (None, Some(same.write(&dir, "held.parquet").into()));
    // 7 is also an id of the training data, which is only a warning.
    let data = data::open(&config, &forget(&dir), &simple()).unwrap();
    let sides = [xs(&data.validation), xs(&data.test)];
    assert!(sides.contains(&vec![1, 1, 1]) && sides.contains(&vec![2]), "{sides:?}");
    assert_eq!(data.counts.shared_with_held_out, 2);
}

#[test]
fn without_ids_rows_are_halved_by_number() {
    let dir = TempDir::new().unwrap();
    let mut config = simple_config(&dir);
    let bare = Table::new()
        .with("x", Int64Array::from_iter_values(0..40))
        .with("label", Int64Array::from_iter_values((0..40).map(|i| i % 2)));
    (config.files.validation, config.files.test) = (Some(bare.write(&dir, "held.parquet").into()), None);
    let data = data::open(&config, &forget(&dir), &simple()).unwrap();
    let mut all = [xs(&data.validation), xs(&data.test)].concat();
    all.sort_unstable();
    assert_eq!(all, (0..40).collect::<Vec<_>>());
    assert_eq!((data.validation.len(), data.test.len()), (20, 20));
    assert!(data.warnings.iter().any(|w| w.contains("no column `id`")), "{:?}", data.warnings);
}

#[test]
fn validation_and_test_share_no_row() {
    let dir = TempDir::new().unwrap();
    let mut config = simple_config(&dir);
    config.files.test = Some(simple_rows(102, 4).write(&dir, "test.parquet").into());
    let message = refused(data::open(&config, &forget(&dir), &simple()));
    assert!(message.contains("2 test rows have the id"), "{message}");
    config.files.test = config.files.validation.clone();
    let message = refused(data::open(&config, &forget(&dir), &simple()));
    assert!(message.contains("both validation and test"), "{message}");
    config.files.test = config.files.train.clone();
    let message = refused(data::open(&config, &forget(&dir), &simple()));
    assert!(message.contains("is also training data"), "{message}");
    config.files.test = Some(simple_rows(0, 0).write(&dir, "none.parquet").into());
    let message = refused(data::open(&config, &forget(&dir), &simple()));
    assert!(message.contains("no rows for test"), "{message}");
}

fn split_table(words_of: &[&str]) -> Table {
    simple_rows(0, words_of.len() as i64).with("split", words(words_of))
}

#[test]
fn a_split_column_takes_the_place_of_files() {
    let dir = TempDir::new().unwrap();
    let table = split_table(&["train", "test", "Train", "train", "val", "dev", "test ", "train", "validation"]);
    let mut config = DataConfig::default();
    config.files.train = Some(table.write(&dir, "all.parquet").into());
    for named in [false, true] {
        config.files.split = named.then(|| "split".into());
        let data = data::open(&config, &forget(&dir), &simple()).unwrap();
        assert_eq!(xs(&data.train), [0, 2, 3, 7]);
        assert_eq!(xs(&data.validation), [4, 5, 8]);
        assert_eq!(xs(&data.test), [1, 6]);
        assert_eq!((data.forget.to_vec(), data.retain.to_vec()), (vec![2], vec![0, 1, 3]));
    }
    let listed = request(id_list(&[2, 5]).write(&dir, "forget.parquet"));
    let message = refused(data::open(&config, &listed, &simple()));
    assert!(message.contains("1 ids to forget also occur"), "{message}");
    config.files.test = Some(simple_rows(100, 3).write(&dir, "test.parquet").into());
    let message = refused(data::open(&config, &forget(&dir), &simple()));
    assert!(message.contains("exclude each other"), "{message}");
}

#[test]
fn a_split_column_of_two_parts_halves_the_second() {
    let dir = TempDir::new().unwrap();
    let table = split_table(&["train", "test", "train", "train", "test", "test", "test", "train"]);
    let mut config = DataConfig::default();
    config.files.train = Some(table.write(&dir, "all.parquet").into());
    let data = data::open(&config, &forget(&dir), &simple()).unwrap();
    assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (4, 2, 2));
    let only = split_table(&["train", "train", "train", "train"]);
    config.files.train = Some(only.write(&dir, "only.parquet").into());
    let message = refused(data::open(&config, &forget(&dir), &simple()));
    assert!(message.contains("marks no validation and no test row"), "{message}");
    let odd = split_table(&["train", "holdout", "train", "test"]);
    config.files.train = Some(odd.write(&dir, "odd.parquet").into());
    let message = refused(data::open(&config, &forget(&dir), &simple()));
    assert!(message.contains("1 rows have another word") && !message.contains("holdout"), "{message}");
}
