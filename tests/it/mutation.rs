//! Ten thousand damaged files: never a panic, never memory that the file does not justify, always exit code 3.

use crate::onnx_models::{Form, mlp, node, tensor, tensor_attribute, write};
use onnx_forget::{
    Error, Result,
    graph::{build, loss, parameters},
    onnx::{
        OnnxFile, ReadOptions,
        proto::{AttributeProto, FunctionProto, GraphProto, NodeProto, SparseTensorProto, TensorProto},
        span::Spans,
        wire::write_varint,
    },
    tensor::DType,
    writeback::{Change, ExternalData, splice_to_temp},
};
use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

const MUTANTS: usize = 10_000;
const SEED: u64 = 20261123;
/// Memory that reading may take, beside [`PER_BYTE`] for each byte of the model and its external data. The margin of
/// [`onnx_forget::onnx`]'s own bound on decoding is larger, but no file of this corpus comes near it.
const FREE: usize = 1 << 20;
/// What the reader allows (32 for decoding), doubled because a vector doubles when it grows.
const PER_BYTE: usize = 64;
/// Memory of a file whose graph is refused for what it takes: the budget of 64 MiB, and as much for what the nodes stand in meanwhile.
const SPENT: usize = 128 << 20;

/// Counts what the current thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(by: isize) {
    // Not at the end of a thread, when its locals are gone.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + by);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: all requests go to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// The most that `f` held beside what was held before, and its result.
pub fn peak<T>(f: impl FnOnce() -> T) -> (usize, T) {
    let before = HELD.get();
    PEAK.set(before);
    let result = f();
    ((PEAK.get() - before).max(0) as usize, result)
}

#[test]
fn the_allocator_counts() {
    let (peak, kept) = peak(|| {
        drop(vec![0u8; 3 << 20]);
        vec![0u8; 1 << 20]
    });
    assert!(peak >= 3 << 20 && kept.len() == 1 << 20);
}

/// A healthy model: its bytes, and its external files.
struct Seedling {
    name: String,
    bytes: Vec<u8>,
    external: Vec<(String, Vec<u8>)>,
}

/// Everything the format has in one model.
fn everything() -> Seedling {
    let (mut model, data) = mlp(DType::F32, Form::External, "w.bin");
    let t = |name: &str, form| tensor(name, DType::F16, &[3], &[1.0, -2.0, 0.0], form, "", &mut vec![]);
    let inner = GraphProto {
        node: vec![node("Identity", &["y"], &["z"], vec![])],
        initializer: vec![t("inner", Form::Raw)],
        ..Default::default()
    };
    let branch =
        |name: &str| AttributeProto { name: Some(name.into()), g: Some(Box::new(inner.clone())), ..Default::default() };
    let ints = AttributeProto { name: Some("ints".into()), ints: vec![1, -1, i64::MIN], ..Default::default() };
    let floats = AttributeProto { name: Some("value_floats".into()), floats: vec![1.0, 2.0], ..Default::default() };
    model.functions = vec![FunctionProto {
        name: Some("Twice".into()),
        domain: Some("local".into()),
        input: vec!["a".into()],
        output: vec!["b".into()],
        node: vec![node("Add", &["a", "a"], &["b"], vec![])],
        ..Default::default()
    }];
    model
        .opset_import
        .push(onnx_forget::onnx::proto::OperatorSetIdProto { domain: Some("local".into()), version: Some(1) });
    let graph = model.graph.as_mut().unwrap();
    let call = NodeProto { domain: Some("local".into()), ..node("Twice", &["y"], &["twice"], vec![]) };
    graph.node.extend([
        node("If", &["cond"], &["i"], vec![branch("then_branch"), branch("else_branch")]),
        node("Constant", &[], &["k"], vec![floats]),
        node(
            "Constant",
            &[],
            &["cond"],
            vec![tensor_attribute(
                "value",
                TensorProto { int32_data: vec![1], data_type: Some(9), ..Default::default() },
            )],
        ),
        node("Odd", &["y"], &["odd"], vec![ints]),
        call,
    ]);
    graph.initializer.extend([t("typed", Form::Typed), t("raw", Form::Raw)]);
    graph.sparse_initializer = vec![SparseTensorProto {
        values: Some(t("sparse", Form::Raw)),
        indices: Some(tensor("i", DType::I64, &[3], &[0.0, 1.0, 2.0], Form::Raw, "", &mut vec![])),
        dims: vec![9],
    }];
    Seedling { name: "everything".into(), bytes: model.encode_to_vec(), external: vec![("w.bin".into(), data)] }
}

/// Models made here, and the small ones among the fixtures.
fn corpus() -> Vec<Seedling> {
    let mut corpus = vec![everything()];
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        for form in [Form::Raw, Form::Typed, Form::External] {
            let (model, data) = mlp(dtype, form, "w.bin");
            let external = if data.is_empty() { vec![] } else { vec![("w.bin".into(), data)] };
            corpus.push(Seedling { name: format!("{dtype} {form:?}"), bytes: model.encode_to_vec(), external });
        }
    }
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")];
    let mut paths: Vec<PathBuf> = vec![];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).into_iter().flatten().map(|e| e.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "onnx") && fs::metadata(&path).unwrap().len() < 1 << 20 {
                paths.push(path);
            }
        }
    }
    paths.sort();
    for path in paths {
        let file = OnnxFile::open(&path, &ReadOptions::default()).unwrap();
        let Ok(spans) = Spans::scan(&file) else {
            assert!(path.ends_with("ort-prepacked.onnx"), "{} is refused", path.display());
            continue;
        };
        let locations: BTreeMap<String, Vec<u8>> = spans
            .external()
            .iter()
            .map(|u| (u.reference.location.clone(), file.external(&u.reference.location).unwrap().bytes().to_vec()))
            .collect();
        let (name, bytes) = (path.display().to_string(), file.bytes().to_vec());
        corpus.push(Seedling { name, bytes, external: locations.into_iter().collect() });
    }
    corpus
}

/// Positions of the lengths in a file.
fn lengths(seedling: &Seedling, folder: &Path) -> Vec<std::ops::Range<usize>> {
    fs::write(folder.join("model.onnx"), &seedling.bytes).unwrap();
    let file = OnnxFile::open(&folder.join("model.onnx"), &ReadOptions::default()).unwrap();
    Spans::scan(&file).unwrap().frames().iter().map(|f| f.prefix.clone()).collect()
}

/// Damages `bytes`; says how.
fn mutate(rng: &mut ChaCha8Rng, bytes: &mut Vec<u8>, lengths: &[std::ops::Range<usize>]) -> &'static str {
    const NUMBERS: [u64; 9] =
        [0, 1, 127, 1 << 16, i32::MAX as u64, u32::MAX as u64, 1 << 40, i64::MAX as u64, u64::MAX];
    let at = rng.random_range(0..bytes.len());
    let end = (at + rng.random_range(1..64)).min(bytes.len());
    match rng.random_range(0..8) {
        0 => {
            for _ in 0..rng.random_range(1..=8) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] ^= 1 << rng.random_range(0..8);
            }
            "bits flipped"
        }
        1 => {
            for _ in 0..rng.random_range(1..=4) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
            "bytes replaced"
        }
        2 => {
            bytes.truncate(at);
            "truncated"
        }
        3 | 4 => {
            let prefix = lengths[rng.random_range(0..lengths.len())].clone();
            let (mut longer, value) = (vec![], NUMBERS[rng.random_range(0..NUMBERS.len())]);
            write_varint(&mut longer, value, 0);
            if rng.random() {
                bytes.splice(prefix, longer);
            } else {
                longer.truncate(prefix.len());
                bytes[prefix.start..prefix.start + longer.len()].copy_from_slice(&longer);
            }
            "a length replaced"
        }
        5 => {
            let mut number = vec![];
            write_varint(&mut number, NUMBERS[rng.random_range(0..NUMBERS.len())], 0);
            let end = (at + number.len()).min(bytes.len());
            bytes.splice(at..end, number);
            "a number written over"
        }
        6 => {
            bytes.drain(at..end);
            "a part removed"
        }
        _ => {
            let part = bytes[at..end].to_vec();
            let to = rng.random_range(0..=bytes.len());
            bytes.splice(to..to, part);
            "a part repeated"
        }
    }
}

/// All tensors of a graph's nodes and its own.
fn tensors(graph: &GraphProto) -> Vec<&TensorProto> {
    let mut found: Vec<&TensorProto> = graph.initializer.iter().collect();
    for attribute in graph.node.iter().flat_map(|n| &n.attribute) {
        found.extend(attribute.t.as_deref());
        found.extend(&attribute.tensors);
        found.extend(attribute.g.as_deref().map(tensors).unwrap_or_default());
    }
    found
}

fn fine<T>(result: Result<T>, failures: &mut Vec<Error>) -> Option<T> {
    result.map_err(|e| failures.push(e)).ok()
}

/// Reads a file as far as it goes.
fn read(path: &Path) -> (usize, usize, Vec<Error>, Option<OnnxFile>) {
    let mut failures = vec![];
    let (peak_reading, file) = peak(|| {
        let file = fine(OnnxFile::open(path, &ReadOptions::default()), &mut failures)?;
        for tensor in tensors(file.proto().graph.as_ref().unwrap()) {
            let _ = fine(file.tensor(tensor), &mut failures);
        }
        let _ = fine(Spans::scan(&file), &mut failures);
        Some(file)
    });
    let Some(file) = file else { return (peak_reading, 0, failures, None) };
    let (peak_graph, _) = peak(|| {
        let graph = fine(build::build(&file), &mut failures)?;
        let plan = fine(loss::plan(&graph, None, loss::LabelKind::Unknown), &mut failures)?;
        fine(parameters::decide(&graph, &plan, &[], &[]), &mut failures)
    });
    (peak_reading, peak_graph, failures, Some(file))
}

/// Where a damaged file is still a model, write-back must do its work on it.
fn splice_one(file: &OnnxFile, rng: &mut ChaCha8Rng, folder: &Path) -> Option<()> {
    let spans = Spans::scan(file).ok()?;
    let floats: Vec<_> =
        spans.iter().filter(|(_, s)| s.dtype.is_some_and(DType::is_float) && s.len() < 100_000).collect();
    let (name, span) = floats.get(rng.random_range(0..floats.len().max(1)))?;
    let changes = [Change { name: name.to_string(), values: (0..span.len()).map(|i| (i % 7) as f32 - 3.0).collect() }];
    match splice_to_temp(file, &changes, folder, ExternalData::Beside) {
        Ok(copy) => {
            let new = OnnxFile::open(&copy.path, &ReadOptions::default()).expect("the spliced file is a model");
            let again = Spans::scan(&new).expect("the spliced file can be scanned");
            assert_eq!(again.get(name).map(|s| &s.dims), Some(&span.dims));
            Some(())
        }
        // Only where tensors share external bytes.
        Err(e) => {
            assert_eq!(e.exit_code(), 3, "{e}");
            None
        }
    }
}

/// What became of some mutants.
#[derive(Default)]
struct Tally {
    refused: usize,
    spliced: usize,
    reading: usize,
    graph: usize,
    problems: Vec<String>,
}

/// Damages and reads them all.
fn run(corpus: &[Seedling]) -> Tally {
    let (dir, temp) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut folders = vec![];
    for (i, seedling) in corpus.iter().enumerate() {
        let folder = dir.path().join(i.to_string());
        fs::create_dir(&folder).unwrap();
        for (name, bytes) in &seedling.external {
            fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
            fs::write(folder.join(name), bytes).unwrap();
        }
        let lengths = lengths(seedling, &folder);
        let (_, _, failures, file) = read(&folder.join("model.onnx"));
        // `everything` has an operator that does not exist, which is not the file's fault.
        let healthy = failures.iter().all(|e| !matches!(e, Error::Malformed { .. })) && file.is_some();
        assert!(healthy, "{}: {failures:?}", seedling.name);
        folders.push((folder, lengths));
    }
    let mut tally = Tally::default();
    for i in 0..MUTANTS {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED + i as u64);
        let k = i % corpus.len();
        let (seedling, (folder, lengths)) = (&corpus[k], &folders[k]);
        let mut bytes = seedling.bytes.clone();
        let what = mutate(&mut rng, &mut bytes, lengths);
        let path = folder.join("model.onnx");
        fs::write(&path, &bytes).unwrap();
        let size = bytes.len() + seedling.external.iter().map(|(_, data)| data.len()).sum::<usize>();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let (reading, graph, failures, file) = read(&path);
            let done = file.and_then(|file| splice_one(&file, &mut rng, temp.path()));
            (reading, graph, failures, done.is_some())
        }));
        let case = format!("mutant {i} of {} ({what})", seedling.name);
        match outcome {
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or(panic.downcast_ref::<&str>().copied());
                tally.problems.push(format!("{case}: panic: {text:?}"));
            }
            Ok((reading, graph, failures, done)) => {
                tally.refused +=
                    usize::from(failures.iter().any(|e| matches!(e, Error::Malformed { .. } | Error::Node { .. })));
                tally.spliced += usize::from(done);
                tally.reading = tally.reading.max(reading);
                tally.graph = tally.graph.max(graph);
                for error in failures.iter().filter(|e| e.exit_code() != 3 || e.to_string().len() > 20_000) {
                    tally.problems.push(format!("{case}: exit code {}: {error}", error.exit_code()));
                }
                // A loop that a file makes endless is written out as far as the budget goes, and then refused.
                let spent = failures.iter().any(|e| e.to_string().contains("--max-memory raises the limit"));
                if reading.max(graph) > if spent { SPENT } else { FREE + PER_BYTE * size } {
                    tally.problems.push(format!("{case}: {size} bytes took {reading} to read, {graph} as a graph"));
                }
            }
        }
    }
    tally
}

#[test]
fn ten_thousand_damaged_files() {
    let corpus = corpus();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let tally = catch_unwind(|| run(&corpus));
    std::panic::set_hook(hook);
    let Tally { refused, spliced, reading, graph, problems } = tally.unwrap_or_else(|e| std::panic::resume_unwind(e));
    let models = corpus.len();
    println!(
        "{models} models: {refused} refused, {spliced} spliced; at most {reading} bytes to read, {graph} as a graph"
    );
    assert!(problems.is_empty(), "{}:\n{}", problems.len(), problems[..problems.len().min(20)].join("\n"));
    // The mutations do damage, and do not only damage.
    assert!(refused > MUTANTS / 4 && spliced > MUTANTS / 20, "{refused} refused, {spliced} spliced");
}

#[test]
fn damaged_external_data() {
    let (model, data) = mlp(DType::F32, Form::External, "w.bin");
    let dir = tempfile::tempdir().unwrap();
    for length in (0..data.len()).step_by(3) {
        write(dir.path(), "model.onnx", &model, "w.bin", &data);
        fs::write(dir.path().join("w.bin"), &data[..length]).unwrap();
        let (_, _, failures, _) = read(&dir.path().join("model.onnx"));
        assert!(!failures.is_empty() && failures.iter().all(|e| e.exit_code() == 3), "{length}: {failures:?}");
    }
}
