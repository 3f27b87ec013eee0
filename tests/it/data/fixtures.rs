//! The fixtures' data: with their configuration, and with nothing but paths.

use super::*;
use data::{Note, TargetKind, Targets};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// The fixture's own configuration, or only its paths.
fn config(folder: &Path, whole: bool) -> DataConfig {
    let text = std::fs::read_to_string(folder.join("model.forget.toml")).unwrap();
    let mut tables: toml::Table = toml::from_str(&text).unwrap();
    tables.retain(|key, _| key == "data" || whole && (key == "inputs" || key == "target"));
    let mut config: DataConfig = tables.try_into().unwrap();
    if !whole {
        config.files.id = None;
    }
    config.resolve(folder);
    config
}

fn open(name: &str, signature: &Signature, whole: bool) -> Data {
    let folder = fixture(name);
    data::open(&config(&folder, whole), &request(folder.join("forget.parquet")), signature).unwrap()
}

fn how<'a>(notes: &'a [Note], what: &str) -> &'a str {
    &notes.iter().find(|n| n.what.starts_with(what)).unwrap().how
}

#[test]
fn a_table_with_text_ids() {
    let signature = signature(vec![input("features", DType::F32, &[None, Some(30)])], 1);
    let (given, inferred) = (open("cancer-mlp", &signature, true), open("cancer-mlp", &signature, false));
    assert_eq!(given.counts, inferred.counts);
    assert_eq!((given.counts.train_rows, given.counts.forget_rows, given.counts.forget_ids), (300, 75, 75));
    assert_eq!((given.target, inferred.target), (TargetKind::Binary, TargetKind::Binary));
    let rows = [0, 299, 7];
    let (a, b) = (given.train.batch(&rows).unwrap(), inferred.train.batch(&rows).unwrap());
    assert_eq!((&a.inputs, &a.targets), (&b.inputs, &b.targets));
    assert_eq!(a.inputs["features"].dims(), [3, 30]);
    assert!(how(&inferred.notes, "input features").contains("(30 in all), in this order"));
}

#[test]
fn images_with_integer_ids() {
    let signature = signature(vec![input("image", DType::F32, &[None, Some(1), Some(8), Some(8)])], 10);
    let (given, inferred) = (open("digits-cnn", &signature, true), open("digits-cnn", &signature, false));
    assert_eq!(given.forget, inferred.forget);
    assert_eq!((given.counts.train_rows, given.counts.forget_rows), (900, 135));
    let (a, b) = (given.train.batch(&[5]).unwrap(), inferred.train.batch(&[5]).unwrap());
    let (a, b) = (a.inputs["image"].to_f32(), b.inputs["image"].to_f32());
    assert!(a.iter().zip(&b).all(|(a, b)| (a - (b - 0.2877) / 0.3549).abs() < 1e-5));
    assert!(b.iter().all(|x| (0.0..=1.0).contains(x)) && b.iter().any(|x| *x > 0.9));
}

#[test]
fn tokens_with_uuids_for_ids() {
    let tokens = |name: &str| input(name, DType::I64, &[None, None]);
    let signature = signature(vec![tokens("input_ids"), tokens("attention_mask")], 6);
    let (given, inferred) = (open("notes-transformer", &signature, true), open("notes-transformer", &signature, false));
    assert_eq!(given.forget, inferred.forget);
    assert_eq!((given.counts.train_rows, given.counts.forget_rows), (800, 120));
    let a = given.train.batch(&[3, 4]).unwrap();
    assert_eq!((a.inputs["input_ids"].dims(), a.inputs["attention_mask"].dims()), (&[2, 24][..], &[2, 24][..]));
    let Targets::Classes(classes) = &a.targets else { panic!("{:?}", a.targets) };
    assert!(classes.iter().all(|c| (0..6).contains(c)));
    let inferred = inferred.train.batch(&[3, 4]).unwrap();
    let longest = inferred.inputs["input_ids"].dims()[1];
    assert!(longest <= 24);
    for name in ["input_ids", "attention_mask"] {
        let (full, short) = (a.inputs[name].to_i64().unwrap(), inferred.inputs[name].to_i64().unwrap());
        for (full, short) in full.chunks(24).zip(short.chunks(longest)) {
            assert_eq!(full[..longest], *short);
            assert!(full[longest..].iter().all(|x| *x == 0));
        }
    }
}
