//! Spliced models that are read once and removed.

use super::{Change, free_name, plan, stage};
use crate::{
    error::{Error, Result},
    onnx::{
        OnnxFile,
        proto::{ModelProto, TensorProto},
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
    let mut plan = plan::plan(file, &spans, changes)?;
    let folder = tempfile::Builder::new().prefix("model-").tempdir_in(dir).map_err(failed)?;
    let name = free_name(plan.groups.iter().map(|group| group.path.as_str()));
    let path = folder.path().join(&name);
    let layout = stage::Layout { folder: folder.path(), model: Path::new(&name), moved: &[] };
    let inside =
        (data == ExternalData::InPlace && !plan.groups.is_empty()).then(|| inline(file, &spans, &plan, changes));
    if let Some(inside) = inside.flatten() {
        plan.groups.clear();
        stage::stage(file, &spans, &plan, &layout, stage::Speed::Quick)?;
        if !inside.is_empty() {
            let patched = std::fs::read(&path).map_err(failed)?;
            let mut model = ModelProto::decode(Bytes::from(patched)).map_err(|e| Error::Internal(e.to_string()))?;
            for tensor in model.graph.iter_mut().flat_map(|graph| &mut graph.initializer) {
                if let Some(bytes) = inside.get(tensor.name()) {
                    *tensor = TensorProto {
                        raw_data: Some(bytes.clone()),
                        data_location: None,
                        external_data: Vec::new(),
                        ..std::mem::take(tensor)
                    };
                }
            }
            std::fs::write(&path, model.encode_to_vec()).map_err(failed)?;
        }
        return Ok(TempModel { path, data: Some(file.folder().to_path_buf()), kept: Vec::new(), _folder: folder });
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

/// The new bytes of the tensors in external data that change, by name, if each is an initializer of the main graph and they
/// fit into a message.
fn inline(file: &OnnxFile, spans: &Spans, plan: &plan::Plan, changes: &[Change]) -> Option<BTreeMap<String, Bytes>> {
    const MOST: usize = 1 << 30;
    let mut inside = BTreeMap::new();
    for change in changes {
        let Storage::External(index) = spans.get(&change.name)?.storage else { continue };
        let new = plan.groups.iter().find_map(|group| group.changed.get(&index));
        if let Some(new) = new {
            inside.insert(change.name.clone(), Bytes::copy_from_slice(new));
        }
    }
    // What changes beside them, such as an optimizer's state, is nothing that a runtime reads.
    let initializers = file.proto().graph.iter().flat_map(|graph| &graph.initializer);
    let found = initializers.filter(|tensor| inside.contains_key(tensor.name())).count();
    let bytes = inside.values().map(Bytes::len).sum::<usize>() + file.bytes().len();
    (found == inside.len() && bytes < MOST).then_some(inside)
}
