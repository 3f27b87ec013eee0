//! Folders as Spark, Hive, Delta, Iceberg and Hugging Face write them.

use super::*;
use std::fs::{create_dir_all, write};

fn put(folder: &Path, name: &str, first: i64, rows: i64) -> PathBuf {
    let path = folder.join(name);
    create_dir_all(path.parent().unwrap()).unwrap();
    simple_rows(first, rows).write_as(&path, 4, Compression::SNAPPY)
}

fn opened(dir: &TempDir, folder: &Path) -> Result<Data, Error> {
    let mut config = simple_config(dir);
    config.files.train = Some(folder.into());
    data::open(&config, &request(id_list(&[2]).write(dir, "forget.parquet")), &simple())
}

#[test]
fn hidden_names_are_passed_over_and_left_out_ones_are_told() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("train");
    for (i, name) in ["a.parquet", "b.parq", "c.pq", "part-00000", "sub/deeper/d.parquet"].into_iter().enumerate() {
        put(&folder, name, 4 * i as i64, 4);
    }
    for name in ["_tmp.parquet", "._a.parquet", "_temporary/0/e.parquet", ".hidden/f.parquet"] {
        put(&folder, name, 50, 4);
    }
    write(folder.join("_SUCCESS"), "").unwrap();
    write(folder.join("README.md"), "words, words").unwrap();
    write(folder.join("dataset_info.json"), "{}").unwrap();
    let left_out =
        |data: &Data| -> Vec<String> { data.warnings.iter().filter(|w| w.contains("left out")).cloned().collect() };
    let data = opened(&dir, &folder).unwrap();
    assert_eq!((data.train.len(), left_out(&data).len()), (20, 0));
    put(&folder, "g.parquet.tmp", 60, 4);
    write(folder.join("h.csv.gz"), b"\x1f\x8b").unwrap();
    let data = opened(&dir, &folder).unwrap();
    let said = left_out(&data);
    assert_eq!((data.train.len(), said.len()), (20, 2));
    assert!(said[0].contains("g.parquet.tmp: left out") && said[1].contains("h.csv.gz: left out: this is a gzip"));
    write(folder.join("i.csv"), "id,x,label\n1,2,0\n").unwrap();
    let error = refused(opened(&dir, &folder));
    assert!(error.contains("files of several formats") && error.contains("i.csv (CSV)"), "{error}");
    write(folder.join("z.parquet"), "").unwrap();
    std::fs::remove_file(folder.join("i.csv")).unwrap();
    assert!(refused(opened(&dir, &folder)).contains("z.parquet: an empty file"));
}

#[test]
fn key_value_folders_are_columns() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("train");
    put(&folder, "split=train/g=1/a.parquet", 0, 4);
    put(&folder, "split=train/g=%32/b.parquet", 4, 4);
    put(&folder, "split=test/g=__HIVE_DEFAULT_PARTITION__/c.parquet", 100, 4);
    let mut config = DataConfig::default();
    config.files.train = Some(folder.clone().into());
    config.files.split = Some("split".into());
    config.inputs.insert("x".into(), data::InputConfig { column: Some("x".into()), ..Default::default() });
    let list = request(id_list(&[2]).write(&dir, "forget.parquet"));
    let data = data::open(&config, &list, &simple()).unwrap();
    assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (8, 2, 2));
    config.inputs.insert("x".into(), data::InputConfig { column: Some("g".into()), ..Default::default() });
    let error = refused(data::open(&config, &list, &simple()));
    assert!(error.contains("column `g`: 4 rows have no value"), "{error}");
    config.files.train = Some(folder.join("split=*/g=[1-9%]*/*.parquet").into());
    (config.files.split, config.files.test) = (None, Some(put(dir.path(), "test.parquet", 200, 4).into()));
    config.inputs.clear();
    config.inputs.insert("x".into(), data::InputConfig { column: Some("g".into()), ..Default::default() });
    let error = refused(data::open(&config, &list, &simple()));
    assert!(error.contains("test.parquet: no column `g`"), "{error}");
}

#[test]
fn names_tell_the_parts() {
    let dir = TempDir::new().unwrap();
    let list = request(id_list(&[2]).write(&dir, "forget.parquet"));
    let folder = dir.path().join("flat");
    put(&folder, "data/train-00000-of-00002.parquet", 0, 4);
    put(&folder, "data/train-00001-of-00002.parquet", 4, 4);
    put(&folder, "data/validation-00000-of-00001.parquet", 100, 3);
    put(&folder, "data/test-00000-of-00001.parquet", 200, 5);
    let tree = dir.path().join("tree");
    for (name, first, rows) in [("train/a", 0, 8), ("val/a", 100, 3), ("test/a", 200, 5)] {
        put(&tree, &format!("{name}.parquet"), first, rows);
    }
    for (path, files) in [(folder.clone(), 4), (tree, 3), (folder.join("data/*-of-*.parquet"), 4)] {
        let mut config = DataConfig::default();
        config.files.train = Some(path.clone().into());
        let data = data::open(&config, &list, &simple()).unwrap();
        assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (8, 3, 5), "{}", path.display());
        assert_eq!(data.files.len(), files);
        assert!(data.notes.iter().any(|n| n.what == "split" && n.how.contains("names")));
        (config.files.validation, config.files.test) = (Some(path.clone().into()), Some(path.into()));
        let data = data::open(&config, &list, &simple()).unwrap();
        assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (8, 3, 5));
    }
    let mut config = DataConfig::default();
    config.files.train = Some(folder.join("data/{validation,test}*.parquet").into());
    assert!(refused(data::open(&config, &list, &simple())).contains("none of them train"));
}

#[test]
fn several_places_are_one_table_in_their_order() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("more");
    let (first, second) = (put(dir.path(), "z.parquet", 0, 4), put(&folder, "b.parquet", 6, 2));
    put(&folder, "a.parquet", 4, 2);
    let list = request(id_list(&[5]).write(&dir, "forget.parquet"));
    let toml = |paths: &[&Path]| {
        let paths: Vec<String> = paths.iter().map(|path| format!("{:?}", path.display().to_string())).collect();
        let held = put(dir.path(), "held.parquet", 100, 6);
        let text = format!("[data]\ntrain = [{}]\ntest = {:?}\n", paths.join(", "), held.display().to_string());
        toml::from_str::<DataConfig>(&text).unwrap()
    };
    let data = data::open(&toml(&[&first, &folder]), &list, &simple()).unwrap();
    let names: Vec<_> = data.files.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!((data.train.len(), names), (8, vec!["z.parquet", "a.parquet", "b.parquet", "held.parquet"]));
    assert_eq!(data.forget.iter().collect::<Vec<_>>(), [5]);
    let error = refused(data::open(&toml(&[&first, &folder, &second]), &list, &simple()));
    assert!(error.contains("b.parquet") && error.contains("there twice"), "{error}");
    let error = refused(data::open(&toml(&[&first, &dir.path().join("none.parquet")]), &list, &simple()));
    assert!(error.contains("none.parquet") && error.contains("no such file"), "{error}");
    assert!(data::open(&toml(&[]), &list, &simple()).unwrap_err().to_string().contains("name one at least"));
}

fn commit(folder: &Path, version: u64, actions: &[&str]) {
    let log = folder.join("_delta_log");
    create_dir_all(&log).unwrap();
    write(log.join(format!("{version:020}.json")), actions.join("\n")).unwrap();
}

#[test]
fn a_delta_log_is_obeyed() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("table");
    put(&folder, "a b.parquet", 0, 4);
    put(&folder, "old.parquet", 4, 4);
    put(&folder, "k=x/new.parquet", 8, 4);
    let schema =
        r#"{"metaData":{"schemaString":"{\"fields\":[{\"name\":\"k\",\"type\":\"string\"}]}","configuration":{}}}"#;
    commit(&folder, 0, &[r#"{"protocol":{"minReaderVersion":1}}"#, schema]);
    let add = |path: &str, k: &str| format!(r#"{{"add":{{"path":"{path}","partitionValues":{{"k":{k}}}}}}}"#);
    commit(&folder, 1, &[&add("a%20b.parquet", "\"7\""), &add("old.parquet", "null")]);
    commit(&folder, 2, &[&add("k=x/new.parquet", "\"8\""), r#"{"remove":{"path":"old.parquet"}}"#]);
    let data = opened(&dir, &folder).unwrap();
    assert_eq!((data.train.len(), data.files.len()), (8, 4));
    let error = refused(opened(&dir, &folder.join("*.parquet")));
    assert!(error.contains("old.parquet is no current file of the Delta table"), "{error}");
    assert_eq!(opened(&dir, &folder.join("a b.parquet")).unwrap().train.len(), 4);
    for (action, said) in [
        (r#"{"add":{"path":"a","deletionVector":{"storageType":"u"}}}"#, "deletion vectors"),
        (r#"{"metaData":{"configuration":{"delta.columnMapping.mode":"name"}}}"#, "column mapping"),
        (
            r#"{"protocol":{"minReaderVersion":3,"readerFeatures":["timestampNtz","rowsInAnotherWay"]}}"#,
            "rowsInAnotherWay",
        ),
        (r#"{"protocol":{"minReaderVersion":4}}"#, "reader version 4"),
        (r#"{"add":{"path":"../train.parquet"}}"#, "outside of its folder"),
        (r#"{"add":{"path":"gone.parquet"}}"#, "gone.parquet is not there"),
        ("{", "not a readable commit"),
    ] {
        commit(&folder, 3, &[action]);
        let error = refused(opened(&dir, &folder));
        assert!(error.contains(said), "{error}");
    }
    let log = folder.join("_delta_log");
    for version in [1, 3] {
        std::fs::remove_file(log.join(format!("{version:020}.json"))).unwrap();
    }
    assert!(refused(opened(&dir, &folder)).contains("version 1 of the Delta table's log is missing"));
    // A checkpoint stands for all commits up to it.
    let checkpoint = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/files/checkpoint.parquet");
    std::fs::copy(checkpoint, log.join(format!("{:020}.checkpoint.parquet", 1))).unwrap();
    let data = opened(&dir, &folder).unwrap();
    assert_eq!((data.train.len(), data.files.len()), (8, 4));
}

#[test]
fn other_tables_of_files_are_refused() {
    for (record, said) in [
        ("metadata/v1.metadata.json", "Iceberg"),
        (".hoodie/hoodie.properties", "Hudi"),
        ("_spark_metadata/0", "Spark stream"),
    ] {
        let dir = TempDir::new().unwrap();
        let folder = dir.path().join("table");
        put(&folder, "data/a.parquet", 0, 4);
        let record = folder.join(record);
        create_dir_all(record.parent().unwrap()).unwrap();
        write(record, "{}").unwrap();
        let error = refused(opened(&dir, &folder));
        assert!(error.contains(said) && error.contains("glob"), "{error}");
        assert_eq!(opened(&dir, &folder.join("data")).unwrap().train.len(), 4);
    }
}

#[cfg(unix)]
#[test]
fn links_are_followed_once() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("train");
    put(&folder, "sub/a.parquet", 0, 4);
    std::os::unix::fs::symlink(&folder, folder.join("sub/loop")).unwrap();
    assert_eq!(opened(&dir, &folder).unwrap().train.len(), 4);
    std::os::unix::fs::symlink(folder.join("sub/a.parquet"), folder.join("again.parquet")).unwrap();
    assert!(refused(opened(&dir, &folder)).contains("is there twice, by a link"));
}
