//! onnxruntime's training checkpoint: a model's parameters, and where in the file their elements lie.
//!
//! The file is a FlatBuffer (identifier `ODTC`, versions 1 and 2 of the schema `ort_training_checkpoint`), read by
//! `flat`, which trusts nothing that it says. onnxruntime 1.15 and older wrote a `folder` instead. Refused with a hint:
//! checkpoints without elements (nominal ones), and those with elements in another file.

mod flat;
mod folder;

use super::{
    FileIdentity,
    load::{self, hex, read_file},
    span::{Chunk, Origin, Span, Spans, Storage},
    tensor::{element_count, type_name},
};
use crate::{
    error::{Error, Result},
    tensor::DType,
};
use flat::Reader;
use prost::bytes::Bytes;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::{self, File},
    io::Read,
    ops::Range,
    path::{Path, PathBuf},
    sync::OnceLock,
};

const IDENTIFIER: &[u8] = b"ODTC";

/// A tensor of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Extents.
    pub dims: Vec<usize>,
    /// Element type.
    pub dtype: DType,
    /// Its elements in the file: little-endian, row-major.
    pub range: Range<usize>,
    /// Whether it was trained (`requires_grad_params`), or is frozen.
    pub trained: bool,
}

/// One of the files of a checkpoint that is a folder.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its bytes among those of the checkpoint.
    pub range: Range<usize>,
    /// Which file it is.
    pub identity: FileIdentity,
}

/// A checkpoint: a file, mapped into memory, or the files of a folder, one after the other. The ranges of its tensors
/// are within it and apart from each other.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    bytes: Bytes,
    identity: FileIdentity,
    parts: Vec<Part>,
    parameters: BTreeMap<String, Parameter>,
    momentums: Vec<Range<usize>>,
    sha256: OnceLock<String>,
}

impl Checkpoint {
    /// Whether what lies at `path` claims to be a checkpoint.
    pub fn is_one(path: &Path) -> bool {
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => folder::is_one(path),
            Ok(meta) if meta.is_file() => {
                let mut head = [0; 8];
                let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
                read.is_ok() && head.ends_with(IDENTIFIER)
            }
            _ => false,
        }
    }

    /// Maps or reads the checkpoint at `path` and finds its tensors.
    ///
    /// # Errors
    /// [`Error::ReadModel`] if it cannot be opened, [`Error::Malformed`] if it is none, or one without elements.
    pub fn open(path: &Path) -> Result<Self> {
        let malformed = |problem: String| Error::Malformed { path: path.into(), place: "checkpoint".into(), problem };
        if path.is_dir() {
            if !folder::is_one(path) {
                return Err(malformed("this is a folder; give the checkpoint file inside it".into()));
            }
            return folder::open(path);
        }
        let (bytes, identity) = read_file(path)?;
        if bytes.get(4..8) != Some(IDENTIFIER) {
            return Err(malformed(
                "this is no onnxruntime training checkpoint (identifier ODTC); it is the file `checkpoint` that \
                 generate_artifacts and CheckpointState.save_checkpoint write"
                    .into(),
            ));
        }
        if identity.len > load::MAX_FILE {
            return Err(malformed("the file is larger than 2 GiB, which FlatBuffers do not allow".into()));
        }
        let (parameters, momentums) = read(&bytes).map_err(malformed)?;
        let (path, parts, sha256) = (path.into(), Vec::new(), OnceLock::new());
        Ok(Self { path, bytes, identity, parts, parameters, momentums, sha256 })
    }

    /// The path as given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of the file; of a folder, those of all its parts.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Which file this is.
    pub fn identity(&self) -> &FileIdentity {
        &self.identity
    }

    /// The files of a folder, by name; empty if the checkpoint is one file.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// All files with what they were when they were read.
    pub(super) fn files(&self) -> impl Iterator<Item = (PathBuf, &FileIdentity)> {
        let parts = self.parts.iter().map(|part| (self.path.join(&part.name), &part.identity));
        [(self.path.clone(), &self.identity)].into_iter().chain(parts)
    }

    /// SHA-256 of [`bytes`](Self::bytes) in hexadecimal; computed once.
    pub fn sha256(&self) -> &str {
        self.sha256.get_or_init(|| hex(&Sha256::digest(&self.bytes)))
    }

    /// All tensors, by name.
    pub fn parameters(&self) -> &BTreeMap<String, Parameter> {
        &self.parameters
    }

    /// The elements of the optimizer's momentums, which are sums of gradients of past batches.
    pub fn momentums(&self) -> &[Range<usize>] {
        &self.momentums
    }

    /// The elements of a parameter, as a slice of the mapping.
    pub(super) fn raw(&self, parameter: &Parameter) -> Bytes {
        self.bytes.slice(parameter.range.clone())
    }

    /// Where the elements lie, as write-back asks for it: no length in the file depends on them.
    pub(super) fn spans(&self) -> Spans {
        let span = |p: &Parameter| {
            let (data_type, dtype, dims) = (p.dtype as i32, Some(p.dtype), p.dims.clone());
            let storage = match p.range.is_empty() {
                true => Storage::Empty,
                false => Storage::Fixed(vec![Chunk::new(p.range.clone(), p.range.len() / p.dtype.size(), 0)]),
            };
            Span { origin: Origin::Checkpoint, data_type, dtype, dims, storage }
        };
        let tensors = self.parameters.iter().map(|(name, p)| (name.clone(), span(p))).collect();
        Spans { tensors, ..Spans::default() }
    }
}

type Parts = (BTreeMap<String, Parameter>, Vec<Range<usize>>);

/// The tables of the schema, whose fields are known by their numbers.
fn read(bytes: &[u8]) -> Result<Parts, String> {
    let reader = Reader::new(bytes);
    let root = reader.root()?;
    match reader.i32(&root, 0)? {
        1 | 2 => {}
        version => return Err(format!("it has version {version}; versions 1 and 2 are known")),
    }
    let module = reader.child(&root, 1)?.ok_or("it holds no parameters (module_state)")?;
    if reader.flag(&module, 2)? {
        return Err("this is a nominal checkpoint, which holds names and no elements; give the full one \
                    (generate_artifacts without nominal_checkpoint, or CheckpointState.save_checkpoint)"
            .into());
    }
    if reader.flag(&module, 3)? {
        return Err("its elements lie in another file, which is not supported; save it with fewer than 2 GB of \
                    parameters, or export the inference model (Module.export_model_for_inferencing) and give that"
            .into());
    }
    let mut parameters = BTreeMap::new();
    for (id, trained) in [(0, true), (1, false)] {
        for table in reader.children(&module, id)? {
            let name = reader.string(&table, 0)?.ok_or("a tensor has no name")?;
            let (dims, code) = (reader.i64s(&table, 2)?, reader.i32(&table, 3)?);
            let range = reader.vector(&table, 4, 1)?.unwrap_or_default();
            keep(&mut parameters, name, &dims, code, range, trained)?;
        }
    }
    let mut momentums = Vec::new();
    for group in reader.children(&root, 2)? {
        for state in reader.children(&group, 3)? {
            for tensor in reader.children(&state, 1)? {
                momentums.extend(reader.vector(&tensor, 4, 1)?.filter(|range| !range.is_empty()));
            }
        }
    }
    let mut ranges: Vec<&Range<usize>> = parameters.values().map(|p: &Parameter| &p.range).chain(&momentums).collect();
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by_key(|range| range.start);
    if ranges.iter().zip(ranges.iter().skip(1)).any(|(a, b)| a.end > b.start) {
        return Err("two of its tensors share bytes".into());
    }
    if reader.reads_any(&ranges) {
        return Err("one of its tensors shares bytes with what describes the tensors".into());
    }
    Ok((parameters, momentums))
}

/// Adds a parameter, whose `range` must hold `dims` elements of the type `code`.
fn keep(
    parameters: &mut BTreeMap<String, Parameter>,
    name: String,
    dims: &[i64],
    code: i32,
    range: Range<usize>,
    trained: bool,
) -> Result<(), String> {
    let read = || {
        let dtype = DType::from_onnx(code).ok_or_else(|| format!("{} is not supported", type_name(code)))?;
        let (count, dims) = element_count(dims)?;
        if range.len() != count * dtype.size() {
            return Err(format!(
                "it has {} bytes, but {dims:?} of {dtype} takes {}",
                range.len(),
                count * dtype.size()
            ));
        }
        Ok(Parameter { dims, dtype, range, trained })
    };
    let found = read().map_err(|problem| format!("tensor `{name}`: {problem}"))?;
    match parameters.entry(name) {
        Entry::Vacant(free) => drop(free.insert(found)),
        Entry::Occupied(taken) => return Err(format!("tensor `{}` is there twice", taken.key())),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
