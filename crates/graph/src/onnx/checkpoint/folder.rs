//! The folder that onnxruntime 1.15 and older kept a checkpoint in.
//!
//! Each file `*.pbseq` is a sequence of `TensorProto`: their number, then each with its length before it, all as varints.
//! Parameters lie in `paramtrain_tensors` and `paramfrozen_tensors` (before 1.14 all in `param_tensors`), each momentum of
//! a group of parameters in `optim_<group>_<momentum>_tensors`; files `*_properties` hold numbers such as the step.

use super::{
    super::{
        load::{FileIdentity, MAX_FILE, read_file},
        wire::{Fields, Value, WireError, read_varint},
    },
    Checkpoint, Parameter, Part, keep,
};
use crate::error::{Error, Result};
use prost::bytes::Bytes;
use std::{collections::BTreeMap, fs, ops::Range, path::Path, sync::OnceLock};

/// What a file of the folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Parameters { trained: bool },
    Momentums,
    Properties,
}

impl Content {
    fn of(name: &str) -> Option<Self> {
        match name {
            "paramtrain_tensors.pbseq" | "param_tensors.pbseq" => Some(Self::Parameters { trained: true }),
            "paramfrozen_tensors.pbseq" => Some(Self::Parameters { trained: false }),
            _ if name.ends_with("_properties.pbseq") => Some(Self::Properties),
            _ if name.starts_with("optim_") && name.ends_with("_tensors.pbseq") => Some(Self::Momentums),
            _ => None,
        }
    }
}

/// Whether the folder at `path` holds parameters.
pub(super) fn is_one(path: &Path) -> bool {
    ["paramtrain_tensors.pbseq", "param_tensors.pbseq", "paramfrozen_tensors.pbseq"]
        .iter()
        .any(|name| path.join(name).is_file())
}

/// Reads all files `*.pbseq`. Others, and those whose names start with a dot, are not of the checkpoint.
pub(super) fn open(path: &Path) -> Result<Checkpoint> {
    let read_error = |source| Error::ReadModel { path: path.into(), source };
    let identity = FileIdentity::of(&fs::metadata(path).map_err(read_error)?);
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(read_error)? {
        let name = entry.map_err(read_error)?.file_name();
        let name = name.to_string_lossy().into_owned();
        if name.ends_with(".pbseq") && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    let (mut parts, mut bytes) = (Vec::new(), Vec::new());
    let (mut parameters, mut momentums) = (BTreeMap::new(), Vec::new());
    for name in names {
        let own = path.join(&name);
        let malformed = |problem: String| Error::Malformed { path: own.clone(), place: "checkpoint".into(), problem };
        let unknown =
            "this is none of the files that onnxruntime writes into the folder of a checkpoint; move it elsewhere";
        let content = Content::of(&name).ok_or_else(|| malformed(unknown.into()))?;
        if fs::symlink_metadata(&own).is_ok_and(|meta| meta.is_symlink()) {
            return Err(malformed("this is a symbolic link; copy the file into the folder".into()));
        }
        let (part, identity) = read_file(&own)?;
        let start = bytes.len();
        if (start + part.len()) as u64 > MAX_FILE {
            return Err(malformed("with this file, the checkpoint has more than 2 GiB, which is not supported".into()));
        }
        bytes.extend_from_slice(&part);
        let range = start..bytes.len();
        if content != Content::Properties {
            read(&bytes, range.clone(), content, &mut parameters, &mut momentums).map_err(malformed)?;
        }
        parts.push(Part { name, range, identity });
    }
    let (path, bytes, sha256) = (path.into(), Bytes::from(bytes), OnceLock::new());
    Ok(Checkpoint { path, bytes, identity, parts, parameters, momentums, sha256 })
}

/// Finds the tensors of the sequence in `range`.
fn read(
    bytes: &[u8],
    range: Range<usize>,
    content: Content,
    parameters: &mut BTreeMap<String, Parameter>,
    momentums: &mut Vec<Range<usize>>,
) -> Result<(), String> {
    let from = range.start;
    let cut = |e: WireError| format!("byte {}: {}; the file is damaged, or was cut off", e.at - from, e.problem);
    let bytes = bytes.get(..range.end).unwrap_or_default();
    let (count, mut at) = read_varint(bytes, range.start).map_err(cut)?;
    for _ in 0..count {
        let (len, start) = read_varint(bytes, at).map_err(cut)?;
        let end = usize::try_from(len).ok().and_then(|len| start.checked_add(len)).filter(|&end| end <= bytes.len());
        at = end.ok_or_else(|| cut(WireError { at, problem: "a tensor is longer than the file" }))?;
        let tensor = Tensor::read(bytes, start..at)?;
        match content {
            Content::Parameters { trained } => {
                keep(parameters, tensor.name, &tensor.dims, tensor.code, tensor.raw, trained)?;
            }
            _ => momentums.extend(Some(tensor.raw).filter(|raw| !raw.is_empty())),
        }
    }
    match at == bytes.len() {
        true => Ok(()),
        false => Err(format!("byte {}: the last of its {count} tensors ends before the file", at - from)),
    }
}

/// A `TensorProto` with raw data.
#[derive(Default)]
struct Tensor {
    name: String,
    dims: Vec<i64>,
    code: i32,
    raw: Range<usize>,
}

impl Tensor {
    fn read(bytes: &[u8], body: Range<usize>) -> Result<Self, String> {
        let mut tensor = Self::default();
        let mut fields = Fields::new(bytes, body);
        let mut raw = None;
        while let Some(field) = fields.next_field().map_err(|e| e.problem.to_string())? {
            match (field.number, field.value) {
                (1, Value::Varint(dim, _)) => tensor.dims.push(dim as i64),
                (1, Value::Len { body, .. }) => {
                    let bytes = bytes.get(..body.end).unwrap_or_default();
                    let mut at = body.start;
                    while at < body.end {
                        let (dim, end) = read_varint(bytes, at).map_err(|e| e.problem.to_string())?;
                        tensor.dims.push(dim as i64);
                        at = end;
                    }
                }
                (2, Value::Varint(code, _)) => tensor.code = code as i32,
                (8, Value::Len { body, .. }) => {
                    let name = bytes.get(body).and_then(|name| std::str::from_utf8(name).ok());
                    tensor.name = name.ok_or("the name of a tensor is not UTF-8")?.into();
                }
                (9, Value::Len { body, .. }) if raw.is_none() => raw = Some(body),
                (3..=7 | 9..=11 | 13, _) => return Err("the elements of a tensor are not stored as raw data".into()),
                _ => {}
            }
        }
        tensor.raw = raw.unwrap_or_default();
        match tensor.name.is_empty() {
            true => Err("a tensor has no name".into()),
            false => Ok(tensor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(tensors: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![tensors.len() as u8];
        for tensor in tensors {
            bytes.push(tensor.len() as u8);
            bytes.extend_from_slice(tensor);
        }
        bytes
    }

    /// A tensor `w` of two floats.
    fn pair() -> Vec<u8> {
        [&[0x08, 2, 0x10, 1, 0x42, 1, b'w', 0x4a, 8][..], &1f32.to_le_bytes(), &2f32.to_le_bytes()].concat()
    }

    fn read_as(content: Content, bytes: &[u8]) -> Result<(BTreeMap<String, Parameter>, Vec<Range<usize>>), String> {
        let (mut parameters, mut momentums) = (BTreeMap::new(), Vec::new());
        // Bytes of another file come first.
        let all = [&[7; 5], bytes].concat();
        read(&all, 5..all.len(), content, &mut parameters, &mut momentums)?;
        Ok((parameters, momentums))
    }

    fn refused(bytes: &[u8]) -> String {
        read_as(Content::Parameters { trained: true }, bytes).unwrap_err()
    }

    #[test]
    fn tensors_are_found_where_they_lie() {
        let bytes = sequence(&[&pair()]);
        let (parameters, momentums) = read_as(Content::Parameters { trained: false }, &bytes).unwrap();
        let w = &parameters["w"];
        assert_eq!((w.dims.as_slice(), &w.range, w.trained, momentums.len()), (&[2][..], &(16..24), false, 0));
        let (parameters, momentums) = read_as(Content::Momentums, &bytes).unwrap();
        assert_eq!((parameters.len(), momentums.as_slice()), (0, std::slice::from_ref(&(16..24))));
        assert_eq!(read_as(Content::Momentums, &sequence(&[])).unwrap(), Default::default());
    }

    #[test]
    fn damage_is_named() {
        let whole = sequence(&[&pair()]);
        for end in 0..whole.len() {
            assert!(refused(&whole[..end]).contains("cut off"), "{end}");
        }
        assert!(refused(&[whole.as_slice(), &[0]].concat()).contains("ends before the file"));
        assert!(refused(&sequence(&[&pair(), &pair()])).contains("`w` is there twice"));
        assert!(refused(&sequence(&[&[0x10, 1]])).contains("no name"));
        let mut three = pair();
        three[1] = 3;
        assert!(refused(&sequence(&[&three])).contains("`w`: it has 8 bytes"));
        let typed = [&[0x08, 1, 0x10, 1, 0x42, 1, b'w', 0x22, 4][..], &1f32.to_le_bytes()].concat();
        assert!(refused(&sequence(&[&typed])).contains("not stored as raw data"));
        assert!(refused(&[0xff, 0xff, 0xff, 0xff, 0x0f]).contains("cut off"), "a number of tensors that are not there");
    }

    #[test]
    fn files_are_known_by_their_names() {
        let of = |name: &str| Content::of(name);
        assert_eq!(of("paramtrain_tensors.pbseq"), Some(Content::Parameters { trained: true }));
        assert_eq!(of("param_tensors.pbseq"), Some(Content::Parameters { trained: true }));
        assert_eq!(of("paramfrozen_tensors.pbseq"), Some(Content::Parameters { trained: false }));
        assert_eq!(of("optim_group0_momentum1_tensors.pbseq"), Some(Content::Momentums));
        assert_eq!(of("optim_group0_properties.pbseq"), Some(Content::Properties));
        assert_eq!(of("custom_properties.pbseq"), Some(Content::Properties));
        assert_eq!(of("other_tensors.pbseq"), None);
    }
}
