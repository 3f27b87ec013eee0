//! The files with rows below a folder.

use super::{
    delta,
    format::{self, Format},
    keys::{self, Key},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Folders within folders, at most.
const DEPTH: usize = 32;

/// A file below a folder, with the `key=value` names on the way.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: PathBuf,
    pub keys: Vec<Key>,
}

/// What a file in a folder is taken for.
enum Taken {
    /// Rows of that format, or a file that has to hold some and fails when it is opened.
    Rows(Option<Format>),
    /// It may be meant to be read: why it is not.
    LeftOut(String),
    /// Nobody takes it for rows.
    Other,
}

/// All files with rows, in order of their names.
///
/// # Errors
/// A folder that cannot be read; files of several formats.
pub fn files(asked: &Path, warnings: &mut Vec<String>) -> Result<Vec<Seen>, String> {
    let mut all = Vec::new();
    walk(asked, &[], DEPTH, &mut BTreeSet::new(), &mut all)?;
    let mut rows: Vec<(Seen, Option<Format>)> = Vec::new();
    let mut left = Vec::new();
    for seen in all {
        match taken(&seen.path) {
            Taken::Rows(format) => rows.push((seen, format)),
            Taken::LeftOut(why) => left.push((seen.path, why)),
            Taken::Other => {}
        }
    }
    // A single document beside tables describes them.
    let kind = |format: &Option<Format>| match format {
        Some(Format::Delimited(_)) => Some(Format::Delimited(b',')),
        other => *other,
    };
    if rows.iter().any(|(_, f)| f.is_some_and(|f| f != Format::Json)) {
        for (seen, _) in rows.extract_if(.., |(s, f)| *f == Some(Format::Json) && ends(&s.path, &["json"])) {
            left.push((seen.path, "JSON beside files of another format".into()));
        }
    }
    let first = rows.iter().find(|(_, f)| f.is_some());
    let other = rows.iter().find(|(_, f)| f.is_some() && kind(f) != first.and_then(|(_, f)| kind(f)));
    if let (Some((a, Some(f))), Some((b, Some(g)))) = (first, other) {
        let (a, b) = (a.path.display(), b.path.display());
        return Err(format!("files of several formats: {a} ({f}), {b} ({g}); name those that are meant by a glob"));
    }
    const SHOWN: usize = 5;
    let said = left.iter().take(SHOWN);
    warnings.extend(said.map(|(path, why)| format!("{}: left out: {why}", path.display())));
    if left.len() > SHOWN {
        warnings.push(format!("{}: {} more files are left out", asked.display(), left.len() - SHOWN));
    }
    Ok(rows.into_iter().map(|(seen, _)| seen).collect())
}

/// All files below a folder that are not hidden.
fn walk(
    folder: &Path,
    keys: &[Key],
    depth: usize,
    been: &mut BTreeSet<PathBuf>,
    all: &mut Vec<Seen>,
) -> Result<(), String> {
    let fail = |e: std::io::Error| format!("{}: cannot be read ({e})", folder.display());
    // A link back to where the walk has been leads nowhere new.
    if !been.insert(folder.canonicalize().map_err(fail)?) {
        return Ok(());
    }
    if depth == 0 {
        return Err(format!("{}: more than {DEPTH} folders within each other", folder.display()));
    }
    if folder.join(delta::LOG).is_dir() {
        all.extend(delta::files(folder)?.into_iter().map(|s| Seen { keys: [keys, &s.keys].concat(), ..s }));
        return Ok(());
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        paths.push(entry.map_err(fail)?.path());
    }
    paths.sort();
    if let Some(format) = table_format(folder) {
        return Err(format!(
            "{} is {format}, whose own record says which files count; that record is not read. Export the table as plain Parquet \
             files, or name its current files by a glob",
            folder.display()
        ));
    }
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(['.', '_']) {
            continue;
        }
        if path.is_dir() {
            let mut keys = keys.to_vec();
            keys.extend(keys::of_name(&name));
            walk(&path, &keys, depth - 1, been, all)?;
        } else if path.is_file() {
            all.push(Seen { path, keys: keys.to_vec() });
        } else if !path.exists() && ends(&path, &ROWS) {
            return Err(format!("{}: a link to a file that is not there", path.display()));
        }
    }
    Ok(())
}

/// The table format whose record lies in a folder, where it is none that is read.
fn table_format(folder: &Path) -> Option<&'static str> {
    let metadata = std::fs::read_dir(folder.join("metadata")).into_iter().flatten().flatten();
    let names = metadata.map(|entry| entry.file_name().to_string_lossy().into_owned());
    if names.into_iter().any(|n| n.ends_with(".metadata.json") || n == "version-hint.text") {
        return Some("an Iceberg table");
    }
    if folder.join(".hoodie").is_dir() {
        return Some("a Hudi table");
    }
    folder.join("_spark_metadata").is_dir().then_some("the output of a Spark stream")
}

/// Endings of files with rows.
const ROWS: [&str; 13] =
    ["parquet", "parq", "pq", "arrow", "feather", "ipc", "csv", "tsv", "tab", "json", "jsonl", "ndjson", "psv"];
/// Endings of what was not finished, or is not current.
const UNFINISHED: [&str; 11] =
    ["tmp", "temp", "part", "partial", "crdownload", "inprogress", "bak", "old", "orig", "swp", "lock"];
/// Endings of data in formats that are not read.
const UNREAD: [&str; 24] = [
    "gz", "zst", "zstd", "bz2", "xz", "zip", "7z", "tar", "tgz", "lz4", "snappy", "orc", "avro", "xlsx", "xls", "h5",
    "hdf5", "npz", "npy", "pkl", "pickle", "tfrecord", "db", "sqlite",
];
/// JSON that describes a data set.
const DESCRIPTIONS: [&str; 9] = [
    "dataset_info.json",
    "dataset_infos.json",
    "dataset_dict.json",
    "state.json",
    "config.json",
    "metadata.json",
    "manifest.json",
    "croissant.json",
    "tokenizer.json",
];

fn ends(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    endings.contains(&ending.as_str())
}

fn taken(path: &Path) -> Taken {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let bare = path.extension().is_none();
    let format = format::of(path);
    if ends(path, &UNFINISHED) || name.ends_with('~') {
        let rows = matches!(format, Ok(Format::Parquet | Format::Arrow))
            || ROWS.iter().any(|r| name.contains(&format!(".{r}.")));
        return if rows {
            Taken::LeftOut("its name says that it is not finished, or not current".into())
        } else {
            Taken::Other
        };
    }
    match format {
        Ok(Format::Json) if DESCRIPTIONS.contains(&name.as_str()) => Taken::Other,
        Ok(format @ (Format::Parquet | Format::Arrow)) => Taken::Rows(Some(format)),
        Ok(format) if ends(path, &ROWS) || (bare && name.starts_with("part-")) => Taken::Rows(Some(format)),
        // Opening it says what is wrong.
        Err(_) if ends(path, &ROWS) => Taken::Rows(None),
        Err(why) if ends(path, &UNREAD) || bare => match std::fs::metadata(path).is_ok_and(|m| m.len() == 0) {
            true => Taken::Other,
            false => Taken::LeftOut(why),
        },
        _ => Taken::Other,
    }
}
