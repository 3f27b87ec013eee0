//! Write-back: the same file with other weights, and the proof that nothing else changed.
//!
//! Nothing is encoded anew. [`splice()`] patches the bytes of changed tensors at the places that
//! [`Spans`](crate::onnx::span::Spans) found, so that unknown fields, field order and even the spelling of numbers
//! survive. A tensor stays in the form it is stored in: raw, typed field, external file.
//!
//! - f16 and bf16 are rounded to nearest even. An element whose `f32` value did not change keeps its bytes, so a double
//!   that was not touched stays exact.
//! - Half floats in `int32_data` are varints of one to three bytes. A list keeps its length if the new values can be
//!   spelled in it (a varint may be longer than it needs to be); otherwise the list grows, and with it the lengths of the
//!   fields around it, which are then the only other bytes that change.
//! - External data that change go to a new file, never into the old one: in another folder under the same name, so that
//!   the model refers to it as before; in the same folder as `<OUT>.data` (and `<OUT>.1.data` …), and the locations in
//!   the model change with it. The new file holds what the model refers to, at the same offsets, and zeros elsewhere: no
//!   bytes of older weights. A `checksum` entry is computed again.
//! - Everything is written to a folder `.<OUT>.….partial` beside OUT, synced, verified, and only then renamed into place,
//!   OUT last. Existing files are refused, or with `force` replaced, but never a link, a file with several names, a file
//!   of the input, or external data that the replaced OUT does not refer to. Each rename is atomic; what a process that was
//!   killed between them had done is undone by [`clear_leftovers`] of the next run.

mod diff;
mod digests;
mod encode;
mod external;
mod patch;
mod plan;
mod publish;
mod stage;
mod target;
mod temp;
mod verify;

pub use diff::{ChangedTensor, ModelDiff, diff};
pub use digests::{FileDigest, TensorDigest};
pub use publish::{Pending, Published};
pub use temp::{ExternalData, TempModel, splice_to_temp};
pub use verify::Proof;

use crate::{
    error::Result,
    onnx::{OnnxFile, folder_of},
    scratch,
};
use std::path::{Path, PathBuf};

/// New elements of a stored tensor.
#[derive(Clone, Debug)]
pub struct Change {
    /// Name under which [`Spans`](crate::onnx::span::Spans) knows the tensor.
    pub name: String,
    /// All elements, row-major.
    pub values: Vec<f32>,
}

/// Whether OUT and its external data may and can be written, so that a long run does not end in a refusal.
///
/// # Errors
/// Those of [`splice`] that concern OUT; its folder cannot be written, or has no room for the model file.
pub fn check_destination(file: &OnnxFile, out: &Path, force: bool) -> Result<()> {
    publish::check(file, out, force)
}

/// Removes what killed runs left beside OUT, and puts back what they had begun to replace. Returns what was removed.
pub fn clear_leftovers(out: &Path) -> Vec<PathBuf> {
    let name = out.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // As they were called before.
    let older = |found: &str| {
        let random = found.strip_prefix(&format!(".{name}.")).and_then(|rest| rest.strip_suffix(".partial"));
        !name.is_empty() && random.is_some_and(|r| r.len() == 6 && r.bytes().all(|b| b.is_ascii_alphanumeric()))
    };
    scratch::clear(&folder_of(out), &older)
}

/// Writes `file` with `changes` to temporary files beside `out`, synced to disk. Nothing has the name `out` until
/// [`Pending::publish`].
///
/// # Errors
/// [`crate::Error::Write`] if `out` may not or cannot be written: it exists and `force` is off, it is the input, a link, or its
/// folder is missing. [`crate::Error::Unlearning`] if a new element is not finite in the tensor's type.
/// [`crate::Error::Internal`] if a change names no float tensor of the file or has another number of elements.
pub fn splice<'a>(file: &'a OnnxFile, changes: &'a [Change], out: &Path, force: bool) -> Result<Pending<'a>> {
    publish::prepare(file, changes, out, force)
}

/// Names of the stored floats that a graph reads, so that a run may change them.
#[cfg(feature = "fuzzing")]
pub fn stored(file: &OnnxFile) -> std::collections::BTreeSet<String> {
    verify::stored_floats(file.proto()).into_keys().collect()
}

/// A name for a model beside external files, which keep their names: none of theirs, nor of a folder that they lie in.
pub fn free_name<'a>(external: impl Iterator<Item = &'a str> + Clone) -> String {
    let first = |path: &'a str| path.split('/').find(|part| !matches!(*part, "" | "."));
    let taken = |name: &String| external.clone().any(|path| first(path) == Some(name.as_str()));
    (0..).map(|n| format!("model{n}.onnx")).find(|name| !taken(name)).unwrap_or_default()
}
