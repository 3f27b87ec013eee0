//! Passes over rows: order, completeness, what is kept in memory.

use super::*;
use data::{Batch, Rows, epoch_seed};

fn xs(batches: impl Iterator<Item = onnx_forget::Result<Batch>>) -> Vec<Vec<i64>> {
    batches.map(|b| b.unwrap().inputs["x"].to_f32().into_iter().map(|x| x as i64).collect()).collect()
}

/// 1,000 rows in groups of 64; kept in memory, or read from the file.
fn large(memory_mib: u64, forget: i64) -> (TempDir, Data) {
    let dir = TempDir::new().unwrap();
    let mut config = simple_config(&dir);
    let path = dir.path().join("large.parquet");
    config.files.train =
        Some(simple_rows(10_000, 1000).write_as(&path, 64, Compression::ZSTD(Default::default())).into());
    config.files.memory_mib = Some(memory_mib);
    let ids: Vec<i64> = (0..forget).map(|i| 10_000 + 7 * i).collect();
    let list = id_list(&ids).write(&dir, "forget.parquet");
    let data = data::open(&config, &request(list), &simple()).unwrap();
    assert_eq!(data.train.in_memory(), memory_mib > 0);
    (dir, data)
}

#[test]
fn a_pass_gives_every_row_once_and_the_last_batch_is_kept() {
    for memory in [0, 64] {
        let (_dir, data) = large(memory, 100);
        let pass = data.train.in_order(&data.retain, 128);
        assert_eq!(pass.len(), 8);
        let batches = xs(pass);
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [128, 128, 128, 128, 128, 128, 128, 4]);
        let expected: Vec<i64> = data.retain.iter().map(|r| 10_000 + r as i64).collect();
        assert_eq!(batches.concat(), expected);
        let shuffled = xs(data.train.shuffled(&data.retain, 128, 5)).concat();
        assert_ne!(shuffled, expected);
        let mut sorted = shuffled.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected, "memory {memory}");
        assert_eq!(xs(data.train.shuffled(&data.retain, 128, 5)).concat(), shuffled);
        assert_ne!(xs(data.train.shuffled(&data.retain, 128, 6)).concat(), shuffled);
        assert_eq!(xs(data.train.in_order(&Rows::listed(1000, vec![]), 8)).len(), 0);
    }
}

#[test]
fn kept_and_read_rows_are_the_same_rows() {
    let (_a, kept) = large(64, 100);
    let (_b, read) = large(0, 100);
    let rows = [999, 0, 0, 64, 63, 512];
    let (a, b) = (kept.train.batch(&rows).unwrap(), read.train.batch(&rows).unwrap());
    assert_eq!((a.inputs, a.targets), (b.inputs, b.targets));
    assert_eq!(xs(kept.train.in_order(&kept.forget, 32)), xs(read.train.in_order(&read.forget, 32)));
    assert_eq!(kept.train.targets(&kept.forget).unwrap(), read.train.targets(&read.forget).unwrap());
    assert!(kept.train.batch(&[1000]).is_err() && read.train.batch(&[1000]).is_err());
}

#[test]
fn row_lists_are_followed_to_the_letter() {
    let (_dir, data) = large(64, 10);
    let lists = vec![vec![5, 4], vec![], vec![900, 5, 5]];
    let batches = xs(data::stream(data.train.clone(), lists, 1));
    assert_eq!(batches, [vec![10_005, 10_004], vec![], vec![10_900, 10_005, 10_005]]);
}

#[test]
fn a_stream_can_be_left_early_and_tells_an_error_once() {
    let (_dir, data) = large(64, 10);
    let mut pass = data.train.in_order(&data.retain, 2);
    assert!(pass.next().unwrap().is_ok());
    drop(pass);
    let mut bad = data::stream(data.train.clone(), vec![vec![0], vec![5000], vec![1]], 2);
    assert!(bad.next().unwrap().is_ok());
    assert!(bad.next().unwrap().is_err());
    assert!(bad.next().is_none());
}

#[test]
fn a_file_that_changes_is_noticed() {
    let (dir, data) = large(0, 10);
    let path = dir.path().join("large.parquet");
    simple_rows(10_000, 999).write_as(&path, 64, Compression::ZSTD(Default::default()));
    let error = xs_error(data.train.in_order(&data.retain, 64));
    assert!(error.contains("changed while it was being read"), "{error}");
}

fn xs_error(mut batches: impl Iterator<Item = onnx_forget::Result<Batch>>) -> String {
    batches.find_map(Result::err).unwrap().to_string()
}

#[test]
fn every_epoch_and_subset_has_its_own_seed() {
    let seeds = [
        epoch_seed(1, "forget", 0),
        epoch_seed(1, "forget", 1),
        epoch_seed(1, "retain", 0),
        epoch_seed(2, "forget", 0),
    ];
    let distinct: std::collections::BTreeSet<_> = seeds.iter().collect();
    assert_eq!(distinct.len(), 4);
    assert_eq!(epoch_seed(1, "forget", 0), seeds[0]);
}
