//! What the fuzz targets under `fuzz/` call, compiled with the feature `fuzzing` only; see `docs/fuzzing.md`.
//!
//! Each function takes bytes as a file that somebody else wrote. It panics on what must not be: an invariant of this
//! program that does not hold, a proof that fails, a message of megabytes. An input that is refused is as it should be.
#![allow(clippy::panic, clippy::expect_used)]

use crate::{
    Error, Result, cli,
    data::{self, DataConfig, Files, InputSpec, Lists, MissingIds, Places, Rows, Signature, Source, TargetConfig},
    graph::{Graph, build, given::Given},
    onnx::{OnnxFile, ReadOptions, artifacts, checkpoint::Checkpoint, proto, span::Spans},
    run::{Options, inspect},
    tensor::DType,
    writeback::{self, Change},
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};
use tempfile::TempDir;

/// Bytes of a message, at most.
const MESSAGE: usize = 1 << 18;
/// Rows of a table that is read: small files may rightly hold millions of equal ones.
const ROWS: usize = 1 << 16;
/// Pixels of an image that is decoded.
const PIXELS: usize = 1 << 22;

/// What was asked for, unless it was refused.
fn said<T>(result: Result<T>) -> Option<T> {
    result
        .inspect_err(|e| {
            let message = e.to_string();
            assert!(!matches!(e, Error::Internal(_)), "{message}");
            assert!(message.len() <= MESSAGE, "a message of {} bytes", message.len());
        })
        .ok()
}

/// An empty folder of this process.
fn empty(name: &str) -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::Builder::new().prefix("fuzz-").tempdir().expect("a temporary folder"));
    let folder = folder.path().join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).expect("a folder for a file");
    folder
}

fn put(path: PathBuf, bytes: &[u8]) -> PathBuf {
    fs::write(&path, bytes).expect("a file for the bytes");
    path
}

/// The first of two parts, whose length comes before it in four bytes, and the second.
fn cut(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(4)?;
    let length = u32::from_le_bytes(length.try_into().ok()?);
    rest.split_at_checked(length as usize)
}

/// The graph of a file, in which inputs of language models are made, since no column feeds any.
fn built(file: &OnnxFile) -> Result<Graph> {
    build::build_given(file, &Given { fed: Some(BTreeSet::new()), ..Given::default() })
}

/// What `inspect` shows of a file without any flags, where the model can be used.
fn inspected(file: &OnnxFile, graph: &Graph) -> Result<String> {
    let (inspection, outcome) = inspect::look(file, graph, &Options::new(file.path()))?;
    let shown = cli::inspected(&inspection)?;
    outcome.map(|()| shown)
}

/// A model file: opened, built into a graph, and shown as `inspect` shows it.
pub fn model(bytes: &[u8]) {
    let path = put(empty("model").join("model.onnx"), bytes);
    let Some(file) = said(OnnxFile::open(&path, &ReadOptions::default())) else { return };
    said(built(&file).and_then(|graph| inspected(&file, &graph)));
}

/// A model file without external data: every other float tensor is changed, and the new file has to be proven.
pub fn splice(bytes: &[u8]) {
    let path = put(empty("splice").join("model.onnx"), bytes);
    said(OnnxFile::open(&path, &ReadOptions::default())).inspect(|file| rewrite(file, "spliced"));
}

/// A model and its external data `data`: all tensors decoded, then as [`splice`].
pub fn external(bytes: &[u8]) {
    let Some((model, data)) = cut(bytes) else { return };
    let folder = empty("external");
    put(folder.join("data"), data);
    let path = put(folder.join("model.onnx"), model);
    let Some(file) = said(OnnxFile::open(&path, &ReadOptions::default())) else { return };
    file.proto().graph.iter().for_each(|graph| tensors(&file, graph));
    rewrite(&file, "spliced");
}

fn tensors(file: &OnnxFile, graph: &proto::GraphProto) {
    let nodes = graph.node.iter().flat_map(|node| &node.attribute);
    for tensor in graph.initializer.iter().chain(nodes.clone().filter_map(|a| a.t.as_deref())) {
        said(file.tensor(tensor));
    }
    nodes.filter_map(|a| a.g.as_deref()).for_each(|body| tensors(file, body));
}

/// Changes every other float tensor of `file`. What is written has to be proven, has to open, and differs in these only.
fn rewrite(file: &OnnxFile, folder: &str) {
    // Where a tensor cannot be decoded, files can be written, but not compared.
    let comparable = said(writeback::diff(file, file)).is_some();
    let Some(spans) = said(Spans::scan(file)) else { return };
    let read = writeback::stored(file);
    let floats = spans.iter().filter(|(name, span)| span.dtype.is_some_and(DType::is_float) && read.contains(*name));
    let values = |n: usize| (0..n).map(|i| (i % 7) as f32 * 0.25 - 0.5).collect();
    let changes = floats.step_by(2).map(|(name, span)| Change { name: name.into(), values: values(span.len()) });
    let changes: Vec<Change> = changes.collect();
    let out = empty(folder).join("out.onnx");
    let Some(pending) = said(writeback::splice(file, &changes, &out, false)) else { return };
    let proof = pending.verify().unwrap_or_else(|e| panic!("what was written cannot be proven: {e}"));
    let asked = |name: &String| changes.iter().any(|change| change.name == *name);
    assert!(proof.changed_initializers.iter().all(asked), "a tensor that was not asked for changed");
    let written = pending.publish().unwrap_or_else(|e| panic!("what was proven cannot be published: {e}"));
    let written = file.rewritten(&written.path, &ReadOptions::default());
    let written = written.unwrap_or_else(|e| panic!("what was published cannot be opened: {e}"));
    if !comparable {
        return;
    }
    let diff = writeback::diff(file, &written).unwrap_or_else(|e| panic!("what was published cannot be read: {e}"));
    assert!(diff.changed.iter().all(|tensor| asked(&tensor.name)), "another tensor differs");
}

/// The model of the checkpoints that [`checkpoint`] opens.
const EVAL_MODEL: &[u8] = include_bytes!("../fixtures/artifacts/mlp/eval_model.onnx");
const LEGACY_MODEL: &[u8] = include_bytes!("../fixtures/artifacts/legacy/eval_model.onnx");
const LEGACY_FILES: [&str; 6] = [
    "custom_properties.pbseq",
    "optim_group0_momentum0_tensors.pbseq",
    "optim_group0_momentum1_tensors.pbseq",
    "optim_group0_properties.pbseq",
    "paramfrozen_tensors.pbseq",
    "paramtrain_tensors.pbseq",
];

/// A training checkpoint: behind a zero byte as a file, else as the files of a folder, each but the last behind its length.
pub fn checkpoint(bytes: &[u8]) {
    let Some((form, mut rest)) = bytes.split_first() else { return };
    let folder = empty("checkpoint");
    let place = folder.join("checkpoint");
    let model = if *form == 0 { EVAL_MODEL } else { LEGACY_MODEL };
    let path = put(folder.join("eval_model.onnx"), model);
    if *form == 0 {
        put(place.clone(), rest);
    } else {
        fs::create_dir(&place).expect("a folder");
        for name in LEGACY_FILES {
            let (own, more) = cut(rest).unwrap_or((rest, &[]));
            put(place.join(name), own);
            rest = more;
        }
    }
    if said(Checkpoint::open(&place)).is_none() {
        return;
    }
    let Some(file) = said(artifacts::open(&path, None, &ReadOptions::default())) else { return };
    if let Some(graph) = said(built(&file)) {
        said(inspected(&file, &graph));
    }
    rewrite(&file, "respliced");
}

/// A table in any format, as rows of one of three models (the first byte says which) and as a list of ids.
pub fn table(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let path = put(empty("table").join("rows"), bytes);
    let places = Places::from(path.as_path());
    let small = |source: &Source| source.rows() <= ROWS;
    let Some(source) = said(Source::open(&places)).filter(small) else { return };
    let signature = signature(*which);
    let files = Files { train: Some(places.clone()), memory_mib: Some(64), ..Files::default() };
    let config = DataConfig { files, target: TargetConfig::default(), ..DataConfig::default() };
    if let Some(data::OpenedRows { rows, .. }) = said(data::open_rows(&config, &places, &signature)) {
        let last = rows.len().saturating_sub(1);
        said(rows.batch(&[0, last / 2, last]));
        said(rows.targets(&Rows::all(rows.len())));
    }
    let lists = said(Lists::open(
        &config,
        &Arc::new(source),
        std::slice::from_ref(&Places::from(path.as_path())),
        &mut Vec::new(),
    ));
    if lists.is_some() {
        said(data::open_training(&config, Some(places.clone()), MissingIds::Ignore, &signature));
    }
}

/// Of a model of numbers, of tokens, or of images.
fn signature(which: u8) -> Signature {
    let spec = |name: &str, dtype, dims: &[Option<usize>], table| {
        let dims = Some([&[None], dims].concat());
        InputSpec { name: name.into(), dtype, dims, table, items: None }
    };
    let inputs = match which % 3 {
        0 => vec![spec("x", DType::F32, &[Some(6)], None)],
        1 => vec![
            spec("input_ids", DType::I64, &[Some(8)], Some(500)),
            spec("attention_mask", DType::I64, &[Some(8)], None),
        ],
        _ => vec![spec("image", DType::F32, &[Some(1), Some(8), Some(8)], None)],
    };
    let scores = Some(spec("scores", DType::F32, &[Some(if which & 4 == 0 { 4 } else { 1 })], None));
    Signature { inputs, scores, values: which & 8 != 0, ..Signature::default() }
}

/// An image.
pub fn image(bytes: &[u8]) {
    let seen = data::look(bytes);
    let fits = |picture: data::Picture| match picture.height.saturating_mul(picture.width) <= PIXELS {
        true => Ok(()),
        false => Err("is large".to_string()),
    };
    let opened = data::open_image(bytes, fits);
    if let (Ok(seen), Ok(opened)) = (seen, opened) {
        let size = (opened.height() as usize, opened.width() as usize);
        assert_eq!(size, (seen.height, seen.width), "an image is not of the size that it was said to be");
    }
}

/// A configuration file.
pub fn config(bytes: &[u8]) {
    let folder = empty("config");
    put(folder.join("model.forget.toml"), bytes);
    said(cli::configured(Path::new(&folder.join("model.onnx"))));
}
