//! Files of every format that rows come in, and files that are none.

use super::*;
use ::arrow_array::{Float32Array, Int32Array, LargeStringArray, NullArray};

/// The rows of [`simple_rows`], 0 to 19, as text.
fn as_text(separator: char) -> String {
    let mut text = ["id", "x", "label"].join(&separator.to_string()) + "\n";
    for i in 0..20 {
        text += &[i.to_string(), format!("{i}.0"), (i & 1).to_string()].join(&separator.to_string());
        text += "\n";
    }
    text
}

fn with_train(dir: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> DataConfig {
    let mut config = simple_config(dir);
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    config.files.train = Some(path.into());
    config
}

fn forget(dir: &TempDir, config: &DataConfig) -> Result<Data, Error> {
    data::open(config, &request(id_list(&[3, 17]).write(dir, "forget.parquet")), &simple())
}

fn same_rows(data: &Data) {
    assert_eq!((data.train.len(), data.forget.to_vec()), (20, vec![3, 17]));
    assert_eq!(data.train.batch(&[19, 4]).unwrap().inputs["x"].to_f32(), [19.0, 4.0]);
    assert_eq!(data.train.targets(&data.forget).unwrap(), data::Targets::Classes(vec![1, 1]));
}

#[test]
fn rows_come_as_text() {
    let dir = TempDir::new().unwrap();
    for (name, text) in [
        ("a.csv", as_text(',')),
        ("b.tsv", as_text('\t')),
        ("c.txt", as_text(';')),
        ("d.parquet", as_text(',')),
        ("e.csv", format!("\u{feff}{}", as_text(',').replace('\n', "\r\n"))),
        ("f.csv", as_text(',').replace("\n7,", "\n\n\"7\",")),
    ] {
        let config = with_train(&dir, name, text);
        same_rows(&forget(&dir, &config).unwrap());
        let mut streamed = config;
        streamed.files.memory_mib = Some(0);
        same_rows(&forget(&dir, &streamed).unwrap());
    }
    for (text, said) in [
        (as_text(',') + "20,20.0\n", "line 22 has 2 fields, but the lines before it have 3"),
        (as_text(',').split_once('\n').unwrap().1.into(), "its first line holds values"),
        (
            as_text(',').replace("\n5,5.0,", "\n5,,"),
            "column `x`: 1 rows have no value, or one inside their list (the first is row 5",
        ),
        (as_text(',').replace("\n5,5.0,", "\n5,NaN,"), "(the first is row 5, counted from 0)"),
    ] {
        let error = refused(forget(&dir, &with_train(&dir, "bad.csv", text)));
        assert!(error.contains("bad.csv") && error.contains(said), "{error}");
    }
}

#[test]
fn rows_come_as_json() {
    let dir = TempDir::new().unwrap();
    let row = |i: i32| format!("{{\"id\": {i}, \"x\": [{i}.0], \"label\": {}, \"more\": {{\"a\": \"b\"}}}}", i & 1);
    let lines: Vec<_> = (0..20).map(row).collect();
    let column = |of: &dyn Fn(i32) -> String| format!("[{}]", (0..20).map(of).collect::<Vec<_>>().join(","));
    let by_column = format!(
        "{{\"id\": {}, \"x\": {}, \"label\": {}}}",
        column(&|i| i.to_string()),
        column(&|i| format!("{i}.5e0")).replace(".5e0", ".0"),
        column(&|i| (i & 1).to_string())
    );
    for (name, text) in [
        ("a.jsonl", lines.join("\n")),
        ("b.json", format!("[{}]", lines.join(",\n  "))),
        ("c.json", by_column),
        ("d.parquet", format!("\u{feff}{}\n\n", lines.join("\r\n"))),
    ] {
        same_rows(&forget(&dir, &with_train(&dir, name, text)).unwrap());
    }
    for (text, said) in [
        (format!("{}\n[1]", lines.join("\n")), "line 21 is not a JSON object"),
        (format!("{}\n{{\"id\": [1]}}", lines.join("\n")), "line 21: column `id` holds a list or an object here"),
        ("{\"id\": {\"0\": 1}}\n{".into(), "line 2 is not a JSON object"),
        ("[[1, 2]]".into(), "not all objects"),
        ("[1, 2".into(), "not readable as JSON (line 1"),
    ] {
        let error = refused(forget(&dir, &with_train(&dir, "bad.json", text)));
        assert!(error.contains("bad.json") && error.contains(said), "{error}");
    }
}

#[test]
fn rows_come_as_arrow() {
    use arrow_ipc::writer::{FileWriter, StreamWriter};
    let dir = TempDir::new().unwrap();
    let batch = simple_rows(0, 20).batch();
    let (mut file, mut stream) = (Vec::new(), Vec::new());
    let mut writer = FileWriter::try_new(&mut file, &batch.schema()).unwrap();
    writer.write(&batch.slice(0, 13)).unwrap();
    writer.write(&batch.slice(13, 7)).unwrap();
    writer.finish().unwrap();
    drop(writer);
    let mut writer = StreamWriter::try_new(&mut stream, &batch.schema()).unwrap();
    writer.write(&batch.slice(0, 9)).unwrap();
    writer.write(&batch.slice(9, 11)).unwrap();
    writer.finish().unwrap();
    drop(writer);
    for bytes in [&file, &stream] {
        same_rows(&forget(&dir, &with_train(&dir, "rows", bytes)).unwrap());
        let cut = refused(forget(&dir, &with_train(&dir, "cut", &bytes[..bytes.len() / 2])));
        assert!(cut.contains("not a readable Arrow IPC file"), "{cut}");
        for at in (8..bytes.len()).step_by(41) {
            let mut bad = bytes.clone();
            bad[at] ^= 0x5A;
            if let Err(e) = forget(&dir, &with_train(&dir, "bad", bad)) {
                assert!(matches!(e.exit_code(), 2 | 4), "{e}");
            }
        }
    }
}

#[test]
fn what_is_no_table_is_named() {
    let dir = TempDir::new().unwrap();
    for (bytes, said) in [
        (&b"\x1f\x8b\x08\0"[..], "this is a gzip file: unpack it"),
        (b"PK\x03\x04", "zip"),
        (b"<!DOCTYPE html>\n<html>", "HTML"),
        (b"PARE\0\0PARE", "encrypted Parquet"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"", "empty"),
    ] {
        let error = refused(forget(&dir, &with_train(&dir, "train.parquet", bytes)));
        assert!(error.contains(said), "{error}");
    }
    let mut config = simple_config(&dir);
    config.files.train = Some("https://me:hush@example.org/train.parquet?key=hush".into());
    let error = forget(&dir, &config).unwrap_err();
    assert!(error.exit_code() == 2 && !error.to_string().contains("hush"), "{error}");
    let train = simple_rows(0, 20).write(&dir, "t.parquet");
    config.files.train = Some(format!("file://{}", train.display()).into());
    same_rows(&forget(&dir, &config).unwrap());
}

#[test]
fn files_of_one_table_may_differ_where_it_does_not_matter() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("train");
    std::fs::create_dir(&folder).unwrap();
    let half = |first: i64| simple_rows(first, 10);
    half(0)
        .with("name", words(&["a"; 10]))
        .with("only", Int64Array::from(vec![1; 10]))
        .with("none", NullArray::new(10))
        .write_as(&folder.join("a.parquet"), 4, Compression::SNAPPY);
    let other = Table::new()
        .with("label", Int32Array::from_iter_values((10..20).map(|i| i & 1)))
        .with("name", LargeStringArray::from(vec!["b"; 10]))
        .with("none", Int64Array::from(vec![7; 10]))
        .with("x", ::arrow_array::Float64Array::from_iter_values((10..20).map(f64::from)))
        .with("id", Int32Array::from_iter_values(10..20));
    other.write_as(&folder.join("b.parquet"), 4, Compression::SNAPPY);
    let mut config = simple_config(&dir);
    config.files.train = Some(folder.clone().into());
    same_rows(&forget(&dir, &config).unwrap());
    config.target.column = Some("only".into());
    let error = refused(forget(&dir, &config));
    assert!(error.contains("column `only`, needed for `[target]`, is not in b.parquet, but in other files"), "{error}");
    config.target.column = Some("none".into());
    let error = refused(forget(&dir, &config));
    assert!(error.contains("a.parquet: column `none`: 10 rows have no value"), "{error}");
    let far = Table::new().with("id", Int64Array::from(vec![1 << 40]));
    let far = far.with("x", Float32Array::from(vec![0.0])).with("label", Float32Array::from(vec![0.0]));
    far.write_as(&folder.join("c.parquet"), 4, Compression::SNAPPY);
    config.target.column = None;
    assert_eq!(forget(&dir, &config).unwrap().train.len(), 21);
}

#[test]
fn a_parquet_file_whose_counts_disagree_is_damaged() {
    let dir = TempDir::new().unwrap();
    let path = simple_rows(0, 77).write_as(&dir.path().join("good"), 100, Compression::UNCOMPRESSED);
    let good = std::fs::read(&path).unwrap();
    // Thrift's compact form of the number 77 in a field that follows the one before it.
    let places: Vec<usize> = (0..good.len() - 3).filter(|&i| good[i..i + 3] == [0x16, 0x9A, 0x01]).collect();
    let footer = *places.iter().find(|&&i| i > good.len() / 2).unwrap();
    let counts: Vec<usize> = places.into_iter().filter(|&i| i >= footer).collect();
    assert_eq!(counts.len(), 5, "of the file, of three columns, of the row group");
    for (i, &at) in counts.iter().enumerate() {
        for wrong in [[0x90, 0x01], [0xA4, 0x01]] {
            let mut bad = good.clone();
            bad[at + 1..at + 3].copy_from_slice(&wrong);
            let error = refused(forget(&dir, &with_train(&dir, "bad", bad)));
            assert!(error.contains("bad: damaged: "), "{i}: {error}");
        }
    }
    // All of them together: only the pages tell.
    let mut bad = good.clone();
    counts.iter().for_each(|at| bad[at + 1..at + 3].copy_from_slice(&[0xA4, 0x01]));
    let error = refused(forget(&dir, &with_train(&dir, "bad", bad)));
    assert!(error.contains("damaged"), "{error}");
}

/// A file that `fixtures/files/make.py` wrote.
fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/files").join(name)).unwrap()
}

#[test]
fn pages_are_held_against_their_checksums() {
    let dir = TempDir::new().unwrap();
    let mut bytes = fixture("checksums.parquet");
    same_rows(&forget(&dir, &with_train(&dir, "good", &bytes)).unwrap());
    // The value of row 19: another float is as good a value.
    let at = bytes.windows(4).position(|w| w == 19f32.to_le_bytes()).unwrap();
    bytes[at] ^= 1;
    let error = refused(forget(&dir, &with_train(&dir, "bad", &bytes)));
    assert!(error.contains("CRC checksum mismatch"), "{error}");
}

#[test]
fn encrypted_columns_matter_if_they_are_used() {
    let dir = TempDir::new().unwrap();
    let mut config = with_train(&dir, "train.parquet", fixture("encrypted.parquet"));
    let x = data::InputConfig { column: Some("x".into()), ..Default::default() };
    config.inputs.insert("x".into(), x);
    same_rows(&forget(&dir, &config).unwrap());
    config.inputs.get_mut("x").unwrap().column = Some("more".into());
    for held in [&mut config.files.validation, &mut config.files.test] {
        *held =
            Some(simple_rows(100, 4).with("more", Float32Array::from(vec![0.0; 4])).write(&dir, "held.parquet").into());
    }
    config.files.test = None;
    let error = refused(forget(&dir, &config));
    assert!(error.contains("is encrypted") && error.contains("decrypt it first"), "{error}");
}
