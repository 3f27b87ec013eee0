//! onnxruntime's training checkpoint: a model's parameters, and where in the file their elements lie.
//!
//! The file is a FlatBuffer (identifier `ODTC`, versions 1 and 2 of the schema `ort_training_checkpoint`), read by
//! `flat`, which trusts nothing that it says. Refused with a hint: checkpoints without elements (nominal ones), those
//! with elements in another file, and the folders that onnxruntime 1.15 and older wrote.

mod flat;

use super::{
    FileIdentity,
    load::{self, hex, map_file},
    span::{Chunk, Origin, Span, Spans, Storage},
    tensor::{element_count, type_name},
};
use crate::{
    error::{Error, Result},
    tensor::DType,
};
use flat::{Reader, Table};
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
/// The file that makes a folder a checkpoint of the old form.
const FOLDER_MARK: &str = "param_tensors.pbseq";

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

/// A checkpoint file, mapped into memory. The ranges of its tensors are within it and apart from each other.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    bytes: Bytes,
    identity: FileIdentity,
    parameters: BTreeMap<String, Parameter>,
    momentums: Vec<Range<usize>>,
    sha256: OnceLock<String>,
}

impl Checkpoint {
    /// Whether what lies at `path` claims to be a checkpoint.
    pub fn is_one(path: &Path) -> bool {
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => path.join(FOLDER_MARK).is_file(),
            Ok(meta) if meta.is_file() => {
                let mut head = [0; 8];
                let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
                read.is_ok() && head.ends_with(IDENTIFIER)
            }
            _ => false,
        }
    }

    /// Maps the checkpoint at `path` and finds its tensors.
    ///
    /// # Errors
    /// [`Error::ReadModel`] if it cannot be opened, [`Error::Malformed`] if it is none, or one without elements.
    pub fn open(path: &Path) -> Result<Self> {
        let malformed = |problem: String| Error::Malformed { path: path.into(), place: "checkpoint".into(), problem };
        if path.is_dir() {
            return Err(malformed(match path.join(FOLDER_MARK).is_file() {
                true => {
                    "this is a folder, as onnxruntime 1.15 and older wrote them; load it with onnxruntime-training \
                         1.16 or newer and save it again (CheckpointState.save_checkpoint)"
                        .into()
                }
                false => "this is a folder; give the checkpoint file inside it".into(),
            }));
        }
        let (bytes, identity) = map_file(path)?;
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
        Ok(Self { path: path.into(), bytes, identity, parameters, momentums, sha256: OnceLock::new() })
    }

    /// The path as given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Which file this is.
    pub fn identity(&self) -> &FileIdentity {
        &self.identity
    }

    /// SHA-256 of the file in hexadecimal; computed once.
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
            let found = parameter(&reader, &table, trained).map_err(|problem| format!("tensor `{name}`: {problem}"))?;
            match parameters.entry(name) {
                Entry::Vacant(free) => drop(free.insert(found)),
                Entry::Occupied(taken) => return Err(format!("tensor `{}` is there twice", taken.key())),
            }
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
    Ok((parameters, momentums))
}

fn parameter(reader: &Reader<'_>, table: &Table, trained: bool) -> Result<Parameter, String> {
    let dims = reader.i64s(table, 2)?;
    let code = reader.i32(table, 3)?;
    let dtype = DType::from_onnx(code).ok_or_else(|| format!("{} is not supported", type_name(code)))?;
    let (count, dims) = element_count(&dims)?;
    let range = reader.vector(table, 4, 1)?.unwrap_or_default();
    if range.len() != count * dtype.size() {
        return Err(format!("it has {} bytes, but {dims:?} of {dtype} takes {}", range.len(), count * dtype.size()));
    }
    Ok(Parameter { dims, dtype, range, trained })
}

#[cfg(test)]
#[path = "tests/checkpoint.rs"]
mod tests;
