//! Our model beside onnxruntime and tract, on models made here and on the fixtures.

#[cfg(unix)]
mod guard;
mod halves;
pub mod models;
mod rows;
mod search;

use models::{Net, classifier, conv_net, training_net};
use onnx_forget::{
    Error, Result,
    data::{Batch, Targets},
    graph::{
        Graph,
        loss::{self, LabelKind, LossPlan},
        parameters::{self, Decision},
    },
    model::{Model, ModelOptions},
    onnx::{
        OnnxFile, ReadOptions,
        proto::{StringStringEntryProto, tensor_proto::DataLocation},
    },
    parity::{
        Movable, Outputs, Parity, Runtimes, Search, Settings, Subject,
        verify::{Candidate, RandomRows, Verification},
    },
    tensor::{DType, HostTensor},
    writeback::{self, Change},
};
use prost::Message;
use std::{collections::BTreeMap, path::Path};

type Cpu = dfdx::tensor::Cpu;

/// A model file, opened and built as `verify` does it.
struct Opened {
    file: OnnxFile,
    graph: Graph,
    plan: LossPlan,
    decisions: Vec<Decision>,
    model: Model<f32, Cpu>,
    batches: Vec<Batch>,
    settings: Settings,
}

impl Opened {
    fn new(path: &Path) -> Self {
        Self::with(path, &[("batch", 8)])
    }

    fn with(path: &Path, dims: &[(&str, usize)]) -> Self {
        let file = OnnxFile::open(path, &ReadOptions::default()).unwrap();
        let graph = onnx_forget::graph::build::build(&file).unwrap();
        let plan = loss::plan(&graph, None, LabelKind::Unknown).unwrap();
        let decisions = parameters::decide(&graph, &plan, &[], &[]).unwrap();
        let candidate = Candidate {
            file: &file,
            graph: &graph,
            plan: &plan,
            decisions: &decisions,
            options: ModelOptions::default(),
            locate: false,
            watch: &|_, _| Ok(()),
        };
        let model = candidate.model(Cpu::default()).unwrap();
        let dims: BTreeMap<String, usize> = dims
            .iter()
            .filter(|(name, _)| {
                onnx_forget::parity::inputs::require_known(&graph, &[(name.to_string(), 1)].into()).is_ok()
            })
            .map(|(name, n)| (name.to_string(), *n))
            .collect();
        let batches = candidate.random_batches(&model, &RandomRows { dims, rows: 16, seed: 11 }).unwrap();
        let settings = Settings { threads: 2, ..Settings::from_environment(false) };
        Self { file, graph, plan, decisions, model, batches, settings }
    }

    /// The checks, and what they check.
    fn split(&mut self) -> (Parity<'_>, &mut Model<f32, Cpu>, &[Batch]) {
        let Self { file, graph, plan, decisions, settings, model, batches } = self;
        (Parity { file, graph, plan, decisions, settings, watch: &|_, _| Ok(()) }, model, batches)
    }

    fn verify(&mut self) -> Verification {
        let Self { file, graph, plan, decisions, model, batches, settings } = self;
        let candidate = Candidate {
            file,
            graph,
            plan,
            decisions,
            options: ModelOptions::default(),
            locate: false,
            watch: &|_, _| Ok(()),
        };
        candidate.verify(model, batches, settings).unwrap()
    }
}

fn require_passed(found: &Verification, runtimes: usize) {
    let (forward, gradient) = (found.forward.as_ref().unwrap(), found.gradient.as_ref().unwrap());
    assert!(forward.passed, "{}", forward.verdict);
    assert!(gradient.passed, "{}", gradient.verdict());
    assert!(found.passed && found.require().is_ok());
    assert_eq!(forward.runtimes.len(), runtimes, "{:?}", forward.not_available);
    assert_eq!(gradient.directions, 3);
    for runtime in &forward.runtimes {
        assert!(runtime.passed && runtime.values > 0 && runtime.samples >= 16, "{runtime:?}");
        assert!(runtime.loss_difference.unwrap().abs() < 1e-5, "{runtime:?}");
    }
}

#[test]
fn a_classifier_agrees_with_both_runtimes() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = Opened::new(&classifier(folder.path(), DType::F32));
    let found = opened.verify();
    require_passed(&found, 2);
    let forward = found.forward.unwrap();
    let names: Vec<_> = forward.runtimes.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["onnxruntime", "tract"]);
    assert!(forward.runtimes[0].version.starts_with("1."), "{}", forward.runtimes[0].version);
    assert_eq!(forward.runtimes[0].top1_agreement, Some(1.0));
    assert!(forward.between_runtimes.unwrap().passed);
    let gradient = found.gradient.unwrap();
    assert_eq!((gradient.runtime.as_str(), gradient.rows), ("onnxruntime", 16));
    assert!(gradient.max_rel_error < 1e-2, "{gradient:?}");
}

#[test]
fn half_precision_weights_are_moved_and_written_as_they_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    require_passed(&Opened::new(&classifier(folder.path(), DType::F16)).verify(), 2);
}

#[test]
fn a_convolutional_net_seen_through_its_softmax() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = Opened::new(&conv_net(folder.path()));
    assert!(!opened.plan.seen_through.is_empty());
    let found = opened.verify();
    require_passed(&found, 2);
    assert_eq!(found.forward.unwrap().runtimes[0].top1_agreement, Some(1.0));
}

#[test]
fn training_flags_are_set_to_inference_for_the_runtimes_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = training_net(folder.path());
    let before = std::fs::read(&path).unwrap();
    let found = Opened::new(&path).verify();
    require_passed(&found, found.forward.as_ref().unwrap().runtimes.len());
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

/// Moves the stored floats of the model at `path` to a file beside it.
fn with_external_data(path: &Path) {
    let file = OnnxFile::open(path, &ReadOptions::default()).unwrap();
    let (mut model, mut data) = (file.proto().clone(), Vec::new());
    for tensor in model.graph.iter_mut().flat_map(|graph| &mut graph.initializer).filter(|t| t.data_type() == 1) {
        let bytes: Vec<u8> = file.tensor(tensor).unwrap().to_f32().iter().flat_map(|x| x.to_le_bytes()).collect();
        let (offset, length) = (data.len().to_string(), bytes.len().to_string());
        let entries = [("location", "weights.bin".to_string()), ("offset", offset), ("length", length)];
        tensor.external_data =
            entries.map(|(key, value)| StringStringEntryProto { key: Some(key.into()), value: Some(value) }).into();
        (tensor.raw_data, tensor.data_location) = (None, Some(DataLocation::External as i32));
        tensor.float_data.clear();
        data.extend(bytes);
    }
    std::fs::write(path.with_file_name("weights.bin"), data).unwrap();
    std::fs::write(path, model.encode_to_vec()).unwrap();
}

#[test]
fn external_data_serve_copies_from_where_they_are() {
    // The copies that the runtimes are given are made for the training flags.
    let folder = tempfile::tempdir().unwrap();
    let path = training_net(folder.path());
    with_external_data(&path);
    let mut opened = Opened::new(&path);
    let found = opened.verify();
    require_passed(&found, found.forward.as_ref().unwrap().runtimes.len());
    opened.settings.runtimes = Runtimes::Tract;
    let found = opened.verify();
    assert!(found.gradient.unwrap().passed && found.forward.unwrap().passed);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_file_that_changes_is_no_disagreement() {
    let folder = tempfile::tempdir().unwrap();
    let path = training_net(folder.path());
    with_external_data(&path);
    let data = path.with_file_name("weights.bin");
    let bytes = std::fs::read(&data).unwrap();
    let mut opened = Opened::new(&path);
    for changed in [bytes[..8].to_vec(), bytes.iter().map(|byte| byte ^ 0x40).collect()] {
        std::fs::write(&data, changed).unwrap();
        let (parity, model, batches) = opened.split();
        let error = parity.before(model, batches).unwrap_err();
        assert!(error.exit_code() == 3 && error.to_string().contains("was changed"), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_named_to_onnxruntime_is_none_the_worse() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join(std::ffi::OsStr::from_bytes(b"model\xff"));
    std::fs::create_dir(&inside).unwrap();
    let path = training_net(&inside);
    with_external_data(&path);
    let found = Opened::new(&path).verify();
    require_passed(&found, found.forward.as_ref().unwrap().runtimes.len());
}

#[test]
fn a_loss_in_the_graph_is_fed_its_labels() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = Opened::new(&models::loss_in_graph(folder.path()));
    assert!(opened.plan.label_input.is_some());
    let found = opened.verify();
    let runtimes = found.forward.as_ref().unwrap().runtimes.len();
    require_passed(&found, runtimes);
}

#[test]
fn tokens_stay_inside_the_embedding() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = Opened::new(&models::embedding(folder.path()));
    require_passed(&opened.verify(), 2);
}

#[test]
fn tract_alone_needs_no_onnxruntime() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = Opened::new(&classifier(folder.path(), DType::F32));
    opened.settings.runtimes = Runtimes::Tract;
    opened.settings.search = Search { offline: true, ..Search::default() };
    let found = opened.verify();
    require_passed(&found, 1);
    assert_eq!(found.gradient.unwrap().runtime, "tract");
    assert_eq!(found.forward.unwrap().runtimes[0].name, "tract");
}

#[test]
fn what_tract_cannot_load_is_reported_and_does_not_stop_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let mut net = Net::new(17);
    net.input("x", DType::F32, &["batch", "4"]);
    net.weight("w", &[4, 3]);
    net.node("MatMul", &["x", "w"], &["y"], &[]);
    // A local function: tract has none.
    net.function("Twice", &["a"], &["b"], &[("Add", &["a", "a"], "b")]);
    net.node("local:Twice", &["y"], &["scores"], &[]);
    net.output("scores", DType::F32, &["batch", "3"]);
    let mut opened = Opened::new(&net.write(folder.path()));
    let found = opened.verify();
    require_passed(&found, 1);
    let forward = found.forward.unwrap();
    assert_eq!(forward.not_available[0].name, "tract");
    assert!(!forward.not_available[0].why.is_empty());
    opened.settings.runtimes = Runtimes::Tract;
    let (parity, model, batches) = opened.split();
    let error = parity.before(model, batches).unwrap_err();
    assert!(matches!(error, Error::ParityBefore(_)) && error.to_string().contains("tract"), "{error}");
}

/// The model, but for one deliberate mistake.
struct Mistaken<'a> {
    model: &'a mut Model<f32, Cpu>,
    gradient_of: Option<usize>,
    outputs: fn(Outputs) -> Outputs,
}

impl Subject for Mistaken<'_> {
    fn output_names(&self) -> Vec<String> {
        Subject::output_names(self.model)
    }
    fn outputs(&self, inputs: &BTreeMap<String, HostTensor>) -> Result<Outputs> {
        Ok((self.outputs)(self.model.outputs(inputs)?))
    }
    fn losses(&self, batch: &Batch) -> Result<Vec<f32>> {
        self.model.losses(batch)
    }
    fn parameters(&self) -> Result<Vec<Movable>> {
        Subject::parameters(self.model)
    }
    fn set_parameters(&mut self, values: &[&[f32]]) -> Result<()> {
        self.model.set_parameters(values)
    }
    fn gradient(&self, batch: &Batch) -> Result<Vec<Vec<f32>>> {
        let mut gradient = self.model.gradient(batch)?;
        if let Some(at) = self.gradient_of {
            gradient[at].iter_mut().for_each(|g| *g *= -0.5);
        }
        Ok(gradient)
    }
}

#[test]
fn a_wrong_gradient_is_caught_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = Opened::new(&conv_net(folder.path()));
    let names: Vec<String> = opened.model.parameters().iter().map(|p| p.name.clone()).collect();
    let (parity, model, batches) = opened.split();
    let before: Vec<Vec<f32>> = model.parameters().iter().map(|p| p.tensor.to_vec()).collect();
    for (at, name) in names.iter().enumerate() {
        let mut wrong = Mistaken { model: &mut *model, gradient_of: Some(at), outputs: |o| o };
        let report = parity.gradient_over(&mut wrong, batches).unwrap();
        assert!(!report.passed, "{name}: {report:?}");
        let failing: Vec<&String> = report.failing.iter().map(|f| &f.name).collect();
        assert_eq!(failing, [name], "{report:?}");
        assert!(report.verdict().contains(name));
    }
    let after: Vec<Vec<f32>> = model.parameters().iter().map(|p| p.tensor.to_vec()).collect();
    assert_eq!(before, after, "the parameters are put back");
}

#[test]
fn wrong_outputs_are_caught() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = Opened::new(&classifier(folder.path(), DType::F32));
    let mistakes: [(fn(Outputs) -> Outputs, &str); 4] = [
        (|o| o.into_iter().map(|(n, t)| (n, scaled(&t, 1.01))).collect(), "--rtol"),
        (|_| Vec::new(), "missing"),
        (|o| o.into_iter().map(|(n, t)| (n, scaled(&t, f32::NAN))).collect(), "NaN"),
        (|o| o.into_iter().map(|(n, t)| (n, HostTensor::vector(t.to_f32()))).collect(), "shape"),
    ];
    let (parity, model, batches) = opened.split();
    for (outputs, word) in mistakes {
        let wrong = Mistaken { model: &mut *model, gradient_of: None, outputs };
        let report = parity.before(&wrong, batches).unwrap();
        let error = report.require_before().unwrap_err();
        assert_eq!(error.exit_code(), 5);
        assert!(error.to_string().contains(word), "{error}");
    }
}

fn scaled(tensor: &HostTensor, by: f32) -> HostTensor {
    HostTensor::new(tensor.dims(), tensor.to_f32().into_iter().map(|x| x * by).collect()).unwrap()
}

#[test]
fn the_written_file_is_the_model_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = Opened::new(&classifier(folder.path(), DType::F32));
    let values: Vec<f32> = opened.model.parameters()[0].tensor.to_vec().iter().map(|x| x * 1.5 + 0.1).collect();
    let change = Change { name: opened.model.parameters()[0].name.clone(), values: values.clone() };
    let written =
        writeback::splice_to_temp(&opened.file, &[change], folder.path(), writeback::ExternalData::Beside).unwrap();
    let (parity, model, batches) = opened.split();
    let before = parity.after(&written.path, model, batches).unwrap();
    assert_eq!(before.require_after().unwrap_err().exit_code(), 7);
    model.set_parameter(0, &values).unwrap();
    let after = parity.after(&written.path, model, batches).unwrap();
    assert!(after.passed, "{}", after.verdict);
}

#[test]
fn no_rows_are_no_agreement() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = Opened::new(&classifier(folder.path(), DType::F32));
    let (parity, model, _) = opened.split();
    assert_eq!(parity.before(model, &[]).unwrap_err().exit_code(), 5);
    assert_eq!(parity.gradient_over(model, &[]).unwrap_err().exit_code(), 5);
}

#[test]
fn random_rows_fit_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let opened = Opened::with(&classifier(folder.path(), DType::F32), &[]);
    assert!(opened.batches.iter().all(|b| b.rows() == 2) && opened.batches.len() == 8);
    let classes: Vec<i64> = opened
        .batches
        .iter()
        .flat_map(|b| match &b.targets {
            Targets::Classes(c) => c.clone(),
            _ => panic!("classes expected"),
        })
        .collect();
    assert!(classes.iter().all(|c| (0..3).contains(c)) && classes.iter().any(|&c| c != classes[0]));
}

/// Every export of the digits net: both exporters, external data, training flags, older forms.
#[test]
fn every_fixture_export_agrees() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut seen = 0;
    for folder in [
        "digits-cnn",
        "digits-cnn/variants",
        "cancer-mlp",
        "notes-transformer",
        "tags-lstm",
        "words-decoder",
        "words-decoder/variants",
    ] {
        for entry in std::fs::read_dir(fixtures.join(folder)).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "onnx") {
                let found = Opened::new(&path).verify();
                // Without data nothing says that one output is a logit; its squared error is then in the millions, and
                // what it differs by means little.
                let forward = found.forward.as_ref().unwrap();
                println!("{}: {:?}", path.display(), forward.not_available);
                assert!(found.passed, "{}: {:?} {:?}", path.display(), forward.verdict, found.gradient);
                seen += 1;
            }
        }
    }
    assert!(seen >= 5, "{seen} fixtures");
}
