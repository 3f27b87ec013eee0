//! Delta tables: which files of a folder are the table's, by its `_delta_log`.
//!
//! A folder also holds files whose rows were deleted or replaced; the log says which are current. It is read from its last
//! checkpoint on, commit by commit. What changes how rows are to be read, and is not done here, is refused: deletion
//! vectors, column mapping, reader features that are not known.

use super::{
    folder::Seen,
    keys::{Key, decoded},
};
use arrow_schema::DataType;
use parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::reader::RowIter,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

/// The folder of a table's log.
pub const LOG: &str = "_delta_log";

/// What a table may have without rows being read otherwise.
const FEATURES: [&str; 7] = [
    "timestampNtz",
    "vacuumProtocolCheck",
    "deletionVectors",
    "columnMapping",
    "v2Checkpoint",
    "typeWidening",
    "typeWidening-preview",
];
/// What the user can do where the log asks for more.
const WAY_ON: &str = "export the table as plain Parquet files, and give their folder";

/// A table's state, action by action.
#[derive(Default)]
struct State {
    /// Current files by path, and their partition values.
    files: BTreeMap<String, Vec<Key>>,
    /// Types of the columns.
    types: BTreeMap<String, String>,
}

/// The current files of the table in `folder`, in order of their paths.
///
/// # Errors
/// A log that is damaged or asks for what is not done; files that are missing.
pub fn files(folder: &Path) -> Result<Vec<Seen>, String> {
    let log = folder.join(LOG);
    let (checkpoint, commits) = versions(&log)?;
    let mut state = State::default();
    for path in &checkpoint {
        state.checkpoint(path).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    for path in commits {
        state.commit(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let mut all = Vec::with_capacity(state.files.len());
    for (name, mut keys) in state.files {
        keys.iter_mut().for_each(|key| key.kind = state.types.get(&key.name).map(|ty| kind(ty)));
        let path = place(folder, &name)?;
        if !path.is_file() {
            let problem = "is not there, but belongs to the Delta table by its log: was it copied in part?";
            return Err(format!("{} {problem}", path.display()));
        }
        all.push(Seen { path, keys });
    }
    Ok(all)
}

/// The files of the last whole checkpoint, and the commits behind it, in order.
fn versions(log: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), String> {
    let fail = |e: std::io::Error| format!("{}: cannot be read ({e})", log.display());
    let mut commits: BTreeMap<u64, PathBuf> = BTreeMap::new();
    let mut checkpoints: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    for entry in std::fs::read_dir(log).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let parts: Vec<&str> = name.split('.').collect();
        let Some(version) = parts.first().filter(|v| v.len() == 20).and_then(|v| v.parse().ok()) else { continue };
        match parts.get(1..).unwrap_or_default() {
            ["json"] => {
                commits.insert(version, path);
            }
            ["checkpoint", .., "parquet" | "json"] => checkpoints.entry(version).or_default().push(path),
            _ => {}
        }
    }
    let mut start = None;
    for (version, mut files) in checkpoints.into_iter().rev() {
        files.sort();
        let parts = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.split('.').map(str::to_owned).collect::<Vec<_>>()
        };
        let whole = files.iter().find(|f| parts(f).len() == 3).cloned();
        let of = |f: &PathBuf| parts(f).get(3).and_then(|n| n.parse::<usize>().ok());
        let multipart: Vec<PathBuf> = files.iter().filter(|f| parts(f).len() == 5).cloned().collect();
        if let Some(whole) = whole {
            start = Some((version, vec![whole]));
        } else if !multipart.is_empty() && multipart.first().and_then(of) == Some(multipart.len()) {
            start = Some((version, multipart));
        } else {
            continue;
        }
        break;
    }
    let next = start.as_ref().map_or(0, |(version, _)| version + 1);
    let behind: Vec<(u64, PathBuf)> = commits.range(next..).map(|(v, p)| (*v, p.clone())).collect();
    let missing = behind.iter().zip(next..).find(|((version, _), expected)| version != expected).map(|(_, e)| e);
    if let Some(missing) = missing.or((start.is_none() && behind.is_empty()).then_some(0)) {
        return Err(format!("{}: version {missing} of the Delta table's log is missing; {WAY_ON}", log.display()));
    }
    Ok((start.map_or(Vec::new(), |(_, files)| files), behind.into_iter().map(|(_, p)| p).collect()))
}

/// Where a file of the log lies: below the table's folder, or where its address says.
fn place(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let decoded = decoded(name);
    let inside = Path::new(&decoded).components().all(|c| matches!(c, std::path::Component::Normal(_)));
    match inside && !decoded.contains("://") {
        true => Ok(folder.join(decoded)),
        false => Err(format!("the Delta table's log names files outside of its folder (a shallow clone?); {WAY_ON}")),
    }
}

impl State {
    fn checkpoint(&mut self, path: &Path) -> Result<(), String> {
        let fail = |e: &dyn std::fmt::Display| format!("not a readable checkpoint ({e})");
        let read = || -> Result<Vec<Value>, String> {
            let file = File::open(path).map_err(|e| fail(&e))?;
            let reader = SerializedFileReader::new(file).map_err(|e| fail(&e))?;
            if reader.metadata().file_metadata().schema().get_fields().iter().any(|f| f.name() == "sidecar") {
                return Err(format!("a Delta checkpoint with further files (v2Checkpoint) is not read; {WAY_ON}"));
            }
            let rows = RowIter::from_file_into(Box::new(reader));
            rows.map(|row| row.map(|r| r.to_json_value()).map_err(|e| fail(&e))).collect()
        };
        for action in crate::quiet::catch(read).map_err(|e| fail(&e))?? {
            self.apply(&action)?;
        }
        Ok(())
    }

    fn commit(&mut self, path: &Path) -> Result<(), String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("cannot be read ({e})"))?;
        let mut actions = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            actions.push(serde_json::from_str::<Value>(line).map_err(|_| "not a readable commit of a Delta table")?);
        }
        // Of one commit, what is removed counts first: a file may come back with another deletion vector.
        for removed in [true, false] {
            for action in actions.iter().filter(|a| set(a, "remove").is_some() == removed) {
                self.apply(action)?;
            }
        }
        Ok(())
    }

    fn apply(&mut self, action: &Value) -> Result<(), String> {
        let path = |of: &Value| of.get("path").and_then(Value::as_str).map(str::to_owned);
        let nameless = || "an action without a path".to_owned();
        if let Some(protocol) = set(action, "protocol") {
            supported(protocol)?;
        }
        if let Some(metadata) = set(action, "metaData") {
            let mode = metadata.pointer("/configuration/delta.columnMapping.mode").and_then(Value::as_str);
            if mode.is_some_and(|m| m != "none") {
                return Err(format!("a Delta table with column mapping is not read; {WAY_ON}"));
            }
            self.types = types(metadata);
        }
        if let Some(remove) = set(action, "remove") {
            self.files.remove(&path(remove).ok_or_else(nameless)?);
        }
        if let Some(add) = set(action, "add") {
            if set(add, "deletionVector").is_some() {
                return Err(format!(
                    "a Delta table whose rows are deleted by deletion vectors is not read: run `REORG TABLE … APPLY (PURGE)`, or {WAY_ON}"
                ));
            }
            let values = add.get("partitionValues").and_then(Value::as_object);
            let text = |v: &Value| v.as_str().filter(|v| !v.is_empty()).map(str::to_owned);
            let key = |(name, value): (&String, &Value)| Key { name: name.clone(), value: text(value), kind: None };
            let keys = values.into_iter().flatten().map(key).collect();
            self.files.insert(path(add).ok_or_else(nameless)?, keys);
        }
        Ok(())
    }
}

/// A field that is there and not null.
fn set<'a>(of: &'a Value, name: &str) -> Option<&'a Value> {
    of.get(name).filter(|v| !v.is_null())
}

/// # Errors
/// A protocol that rows cannot be read by.
fn supported(protocol: &Value) -> Result<(), String> {
    let version = protocol.get("minReaderVersion").and_then(Value::as_i64).unwrap_or(1);
    let features = protocol.get("readerFeatures").and_then(Value::as_array);
    let unknown = features.into_iter().flatten().filter_map(Value::as_str).find(|f| !FEATURES.contains(f));
    match unknown {
        Some(feature) => Err(format!("a Delta table with the feature `{feature}` is not read; {WAY_ON}")),
        None if version > 3 => Err(format!("a Delta table of reader version {version} is not read; {WAY_ON}")),
        None => Ok(()),
    }
}

/// What a partition's values are read as.
fn kind(ty: &str) -> DataType {
    match ty {
        "byte" | "short" | "integer" | "long" => DataType::Int64,
        "float" | "double" => DataType::Float64,
        "boolean" => DataType::Boolean,
        _ => DataType::LargeUtf8,
    }
}

/// Types of the columns, by name.
fn types(metadata: &Value) -> BTreeMap<String, String> {
    let schema = metadata.get("schemaString").and_then(Value::as_str);
    let schema: Option<Value> = schema.and_then(|s| serde_json::from_str(s).ok());
    let fields = schema.as_ref().and_then(|s| s.get("fields")).and_then(Value::as_array);
    let text = |of: &Value, name: &str| of.get(name).and_then(Value::as_str).map(str::to_owned);
    fields.into_iter().flatten().filter_map(|f| Some((text(f, "name")?, text(f, "type")?))).collect()
}
