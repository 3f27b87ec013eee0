//! Spliced models that are read once and removed.

use super::{Change, free_name, plan, stage};
use crate::{
    error::{Error, Result},
    onnx::{
        OnnxFile,
        proto::ModelProto,
        span::{Spans, Storage},
    },
};
use prost::{Message, bytes::Bytes};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A spliced model in a temporary folder, removed when this is dropped.
#[derive(Debug)]
pub struct TempModel {
    /// The model file.
    pub path: PathBuf,
    /// The folder of its external data, if that is another one.
    pub data: Option<PathBuf>,
    /// External files that do not change: where they lie, and where the next model finds them.
    kept: Vec<(PathBuf, PathBuf)>,
    // Removed last.
    _folder: TempDir,
}

impl Drop for TempModel {
    fn drop(&mut self) {
        for (here, kept) in &self.kept {
            // Otherwise the next model has it written anew.
            let _ = std::fs::rename(here, kept);
        }
    }
}

/// Where the external data of a temporary model lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExternalData {
    /// Beside it.
    Beside,
    /// Where the file has them: tensors there that change lie in the temporary model itself, where that is possible.
    InPlace,
}

/// Writes `file` with `changes` to a new folder in `dir`, its external data as `data` says. Quick: not synced, not verified.
/// An external file that is written and does not change is kept in `dir` for the next model, and not written again.
///
/// # Errors
/// As [`splice()`](super::splice()).
pub fn splice_to_temp(file: &OnnxFile, changes: &[Change], dir: &Path, data: ExternalData) -> Result<TempModel> {
    let failed = |e: std::io::Error| Error::Write { path: dir.to_path_buf(), problem: e.to_string() };
    let spans = Spans::scan(file)?;
    let plan = plan::plan(file, &spans, changes)?;
    let folder = tempfile::Builder::new().prefix("model-").tempdir_in(dir).map_err(failed)?;
    let name = free_name(plan.groups.iter().map(|group| group.path.as_str()));
    let path = folder.path().join(&name);
    let layout = stage::Layout { folder: folder.path(), model: Path::new(&name), moved: &[] };
    if data == ExternalData::InPlace
        && !plan.groups.is_empty()
        && let Some(inside) = inside(&spans, &plan, changes)
    {
        let within = plan::Plan { groups: Vec::new(), changed: Vec::new(), patches: plan.patches.clone() };
        stage::stage(file, &spans, &within, &layout, stage::Speed::Quick)?;
        if inside.is_empty() || put(&path, &inside)? {
            return Ok(TempModel { path, data: Some(file.folder().to_path_buf()), kept: Vec::new(), _folder: folder });
        }
        std::fs::remove_file(&path).map_err(failed)?;
    }
    let kept = plan.groups.iter().filter(|group| group.changed.is_empty());
    let kept: Vec<(PathBuf, PathBuf)> =
        kept.map(|group| (folder.path().join(&group.path), dir.join(format!("{}.data", group.file.sha1())))).collect();
    for (here, kept) in &kept {
        if kept.exists() {
            here.parent()
                .map_or(Ok(()), std::fs::create_dir_all)
                .and_then(|()| std::fs::rename(kept, here))
                .map_err(failed)?;
        }
    }
    stage::stage(file, &spans, &plan, &layout, stage::Speed::Quick)?;
    Ok(TempModel { path, data: None, kept, _folder: folder })
}

/// The new bytes of the tensors in external data that change, by name, if they fit into a message.
fn inside(spans: &Spans, plan: &plan::Plan, changes: &[Change]) -> Option<BTreeMap<String, Bytes>> {
    const MOST: usize = 1 << 30;
    let mut inside = BTreeMap::new();
    for change in changes {
        let Storage::External(index) = spans.get(&change.name)?.storage else { continue };
        let new = plan.groups.iter().find_map(|group| group.changed.get(&index));
        inside.extend(new.map(|new| (change.name.clone(), Bytes::copy_from_slice(new))));
    }
    (inside.values().map(Bytes::len).sum::<usize>() < MOST).then_some(inside)
}

/// Puts tensors into the model at `path` in the place of external ones, if all are initializers or `Constant` nodes of the
/// main graph; whether they are.
fn put(path: &Path, inside: &BTreeMap<String, Bytes>) -> Result<bool> {
    let failed = |e: std::io::Error| Error::Write { path: path.to_path_buf(), problem: e.to_string() };
    let bytes = Bytes::from(std::fs::read(path).map_err(failed)?);
    let mut model = ModelProto::decode(bytes).map_err(|e| Error::Internal(e.to_string()))?;
    let Some(graph) = &mut model.graph else { return Ok(false) };
    let initializers = graph.initializer.iter_mut().map(|tensor| (tensor.name().to_string(), tensor));
    let constants = graph.node.iter_mut().filter(|node| node.op_type() == "Constant").filter_map(|node| {
        let tensor = node.attribute.iter_mut().find_map(|attribute| attribute.t.as_deref_mut())?;
        Some((node.output.first()?.clone(), tensor))
    });
    let mut found = 0;
    for (name, tensor) in initializers.chain(constants) {
        if let Some(bytes) = inside.get(&name) {
            (tensor.raw_data, tensor.data_location, found) = (Some(bytes.clone()), None, found + 1);
            tensor.external_data.clear();
        }
    }
    std::fs::write(path, model.encode_to_vec()).map_err(failed)?;
    Ok(found == inside.len())
}
