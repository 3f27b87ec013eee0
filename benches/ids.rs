//! Joining a list of ids with the training ids: rows a second, and the memory that it takes.
//!
//! `cargo bench --bench ids [-- ROWS IDS]` writes a Parquet file of ROWS ids (10 million unless given) and a list of
//! IDS of them (1 million), and finds them. Memory is the process's peak during the join less what it had before, by
//! Linux's own count; it has to follow IDS, not ROWS.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use arrow_array::{ArrayRef, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray};
use onnx_forget::data::{
    Rows, Source,
    ids::{self, IdSet},
};
use parquet::arrow::ArrowWriter;
use std::{fs::File, path::Path, sync::Arc, time::Instant};

/// What one join took.
pub struct Measured {
    /// Ids that were found.
    pub found: usize,
    /// Rows of the large file read in a second.
    pub rows_per_second: f64,
    /// Bytes at the peak above what there was before; `None` where the system does not tell.
    pub peak: Option<usize>,
}

/// Scatters numbers, so that neighbors in the file are no neighbors in the list.
fn scattered(i: u64) -> u64 {
    i.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

/// Ids of a kind for the given numbers.
fn column(kind: &str, numbers: impl Iterator<Item = u64>) -> ArrayRef {
    match kind {
        "integer" => Arc::new(Int64Array::from_iter_values(numbers.map(|n| scattered(n) as i64))),
        "text" => Arc::new(StringArray::from_iter_values(numbers.map(|n| format!("customer/{:016x}", scattered(n))))),
        _ => {
            let uuids = numbers.map(|n| (u128::from(scattered(n)) << 64 | u128::from(n)).to_be_bytes());
            match FixedSizeBinaryArray::try_from_iter(uuids) {
                Ok(array) => Arc::new(array),
                Err(e) => panic!("no uuids: {e}"),
            }
        }
    }
}

fn write(path: &Path, kind: &str, numbers: impl Iterator<Item = u64>) -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = numbers.peekable();
    let mut writer: Option<ArrowWriter<File>> = None;
    while numbers.peek().is_some() {
        let chunk: Vec<u64> = numbers.by_ref().take(100_000).collect();
        let batch = RecordBatch::try_from_iter([("id", column(kind, chunk.into_iter()))])?;
        if writer.is_none() {
            writer = Some(ArrowWriter::try_new(File::create(path)?, batch.schema(), None)?);
        }
        if let Some(writer) = &mut writer {
            writer.write(&batch)?;
            writer.flush()?;
        }
    }
    writer.map(ArrowWriter::close).transpose()?;
    Ok(())
}

/// Resident bytes: now, or at the peak since the last reset.
fn resident(line: &str) -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|l| l.strip_prefix(line))?;
    let kib: usize = value.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

/// Writes both files into `dir` and joins them.
///
/// # Errors
/// Those of writing and of joining.
pub fn measure(dir: &Path, kind: &str, rows: u64, listed: u64) -> Result<Measured, Box<dyn std::error::Error>> {
    let (large, list) = (dir.join("rows.parquet"), dir.join("list.parquet"));
    write(&large, kind, 0..rows)?;
    write(&list, kind, (0..listed).map(|i| i * (rows / listed.max(1)).max(1)))?;
    // Linux: start the count of the peak anew.
    let reset = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = resident("VmRSS:");
    let list = Source::open(&list.as_path().into())?;
    let mut set = IdSet::default();
    let kind = ids::require_kind(&list, "id")?;
    ids::scan(&list, "id", &Rows::all(list.rows()), kind, |_, key| {
        set.insert(key, 1);
    })?;
    let large = Source::open(&large.as_path().into())?;
    let mut found = Vec::new();
    let start = Instant::now();
    ids::scan(&large, "id", &Rows::all(large.rows()), kind, |row, key| {
        if let Some(marks) = set.get_mut(key) {
            *marks |= 2;
            found.push(row);
        }
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let peak = resident("VmHWM:").zip(before).filter(|_| reset).map(|(peak, before)| peak.saturating_sub(before));
    Ok(Measured { found: found.len(), rows_per_second: rows as f64 / seconds, peak })
}

#[allow(dead_code)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let (rows, listed) = match numbers.as_slice() {
        [rows, listed, ..] => (*rows, *listed),
        _ => (10_000_000, 1_000_000),
    };
    let dir = tempfile::tempdir()?;
    for kind in ["integer", "text", "uuid"] {
        for (rows, listed) in [(rows, listed), (rows, listed / 10), (rows / 10, listed / 10)] {
            let m = measure(dir.path(), kind, rows, listed)?;
            let peak = m.peak.map_or("unknown".into(), |p| format!("{:.0} MiB", p as f64 / (1 << 20) as f64));
            let millions = m.rows_per_second / 1e6;
            println!(
                "{kind:8} {listed:8} ids in {rows:9} rows: found {:8}, {millions:.1} M rows/s, peak {peak}",
                m.found
            );
        }
    }
    Ok(())
}
