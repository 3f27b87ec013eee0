//! SHA-256 of what was read and what was written: files and tensors.

use super::Pending;
use crate::onnx::{
    OnnxFile,
    span::{Spans, Storage},
};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// A file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileDigest {
    /// Its name, or its path from the model's folder for external data.
    pub name: String,
    /// Of all its bytes.
    pub sha256: String,
}

/// A tensor whose stored bytes changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TensorDigest {
    /// Name of the initializer.
    pub name: String,
    /// Of its stored bytes in the input.
    pub before: String,
    /// Of its stored bytes in the output.
    pub after: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn named(path: &std::path::Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The input's files: the model, its checkpoint, its external data.
pub fn inputs(pending: &Pending<'_>) -> Vec<FileDigest> {
    let file = pending.file;
    let model = FileDigest { name: named(file.path()), sha256: file.sha256().to_string() };
    let checkpoint = file.checkpoint().map(|c| FileDigest { name: named(c.path()), sha256: c.sha256().to_string() });
    let external = pending
        .plan
        .groups
        .iter()
        .map(|group| FileDigest { name: group.path.clone(), sha256: hex(&Sha256::digest(group.file.bytes())) });
    std::iter::once(model).chain(checkpoint).chain(external).collect()
}

/// The output's files: the one that is written, and the external data that it refers to.
///
/// # Errors
/// An external file of the output that cannot be opened.
pub fn outputs(pending: &Pending<'_>, written: &OnnxFile, sha256: &str) -> Result<Vec<FileDigest>, String> {
    let model = FileDigest { name: pending.out.name.to_string_lossy().into_owned(), sha256: sha256.to_string() };
    let external = pending.plan.groups.iter().enumerate().map(|(index, group)| {
        let path = pending.moved.get(index).and_then(Option::as_deref).unwrap_or(&group.path);
        Ok(FileDigest { name: path.to_string(), sha256: hex(&Sha256::digest(written.external(path)?.bytes())) })
    });
    std::iter::once(Ok(model)).chain(external).collect()
}

/// Each changed tensor before and after.
///
/// # Errors
/// A changed tensor that the output does not hold, or whose external file cannot be opened.
pub fn tensors(pending: &Pending<'_>, written: &OnnxFile, spans: &Spans) -> Result<Vec<TensorDigest>, String> {
    let digest = |name: &String| {
        let (before, after) = (stored(pending.file, &pending.spans, name)?, stored(written, spans, name)?);
        Ok(TensorDigest { name: name.clone(), before, after })
    };
    pending.plan.changed.iter().map(digest).collect()
}

/// Of a tensor's bytes as they are stored, run after run.
fn stored(file: &OnnxFile, spans: &Spans, name: &str) -> Result<String, String> {
    let lost = || format!("tensor `{name}` is lost");
    let span = spans.get(name).ok_or_else(lost)?;
    let mut sha = Sha256::new();
    if let Storage::External(index) = span.storage {
        let used = spans.external().get(index).ok_or_else(lost)?;
        let external = file.external(&used.reference.location)?;
        sha.update(external.bytes().get(used.range.clone()).ok_or_else(lost)?);
    }
    for chunk in span.chunks() {
        sha.update(file.carrier().bytes.get(chunk.bytes()).ok_or_else(lost)?);
    }
    Ok(hex(&sha.finalize()))
}
