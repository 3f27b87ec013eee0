//! onnxruntime's training artifacts: graphs without parameters and the checkpoint that fills them.

use crate::{
    flow::{Fixture, follows_schema, json, program},
    mutation::peak,
};
use onnx_forget::{
    graph::build,
    onnx::{
        OnnxFile, ReadOptions, artifacts,
        checkpoint::Checkpoint,
        proto::{ModelProto, tensor_shape_proto::dimension, type_proto},
    },
    writeback::{Change, ExternalData, splice_to_temp},
};
use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::Command,
};

const MUTANTS: usize = 4_000;
const SEED: u64 = 20261123;

fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fixtures", "artifacts", name].iter().collect()
}

/// Exit code, what stdout holds as JSON, and stderr.
fn run(command: &mut Command) -> (Option<i32>, Option<Value>, String) {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("panicked"), "{said}");
    (output.status.code(), serde_json::from_slice(&output.stdout).ok(), said)
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect()
}

fn inspect(model: &str) -> Value {
    let (code, found, said) = run(program().arg("inspect").arg(fixture(model)).args(["--format", "json"]));
    assert_eq!(code, Some(0), "{said}");
    found.unwrap()
}

fn trained(found: &Value) -> Vec<&str> {
    let all = found["initializers"].as_array().unwrap();
    let trained = all.iter().filter(|tensor| tensor["trainable"] == true);
    let mut names: Vec<&str> = trained.map(|tensor| tensor["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn inspect_takes_the_checkpoint_beside_the_model() {
    let found = inspect("mlp/eval_model.onnx");
    assert!(found["checkpoint"]["path"].as_str().unwrap().ends_with("checkpoint"));
    assert_eq!((&found["checkpoint"]["trained"], &found["checkpoint"]["momentums"]), (&6.into(), &12.into()));
    assert_eq!(names(&found["inputs"]), ["features", "labels"]);
    assert_eq!(found["loss"]["kind"], "graph");
    assert_eq!(trained(&found).len(), 6);
    assert!(found["initializers"].as_array().unwrap().iter().all(|tensor| tensor["source"] == "checkpoint"));
    // Here four tensors are frozen, though they are weights by their role.
    let found = inspect("mse/eval_model.onnx");
    assert_eq!((trained(&found), &found["loss"]["kind"]), (vec!["out.bias", "out.weight"], &"mse".into()));
    assert_eq!(inspect("bce/eval_model.onnx")["loss"]["kind"], "bce");
}

#[test]
fn the_backward_pass_of_a_training_model_is_left_out() {
    let found = inspect("cnn/training_model.onnx");
    assert_eq!(names(&found["inputs"]), ["image", "labels"]);
    assert_eq!(names(&found["outputs"]).len(), 1);
    let operators: Vec<&str> =
        found["operators"].as_array().unwrap().iter().map(|o| o["op"].as_str().unwrap()).collect();
    assert_eq!(operators.len(), 8, "{operators:?}");
    assert!(operators.contains(&"BatchNormalization-14") && operators.iter().all(|op| !op.contains("::")));
    assert_eq!(trained(&found), ["bn.bias", "bn.weight", "conv.bias", "conv.weight", "fc.bias", "fc.weight"]);
    assert_eq!(trained(&inspect("cnn/eval_model.onnx")), trained(&found));
}

#[test]
fn what_training_rewrites_is_read_as_it_was() {
    let found = inspect("block/training_model.onnx");
    let operators: BTreeSet<&str> =
        found["operators"].as_array().unwrap().iter().map(|o| o["op"].as_str().unwrap()).collect();
    for operator in ["Concat-14", "LayerNormalization-14", "Dropout-14", "com.microsoft::BiasGelu-1"] {
        assert!(operators.contains(operator), "{operators:?}");
    }
    assert_eq!((names(&found["inputs"]), names(&found["outputs"]).len()), (vec!["ids", "labels"], 1));
    assert_eq!(trained(&found), trained(&inspect("block/eval_model.onnx")));
    assert_eq!(trained(&found).len(), 7);
}

#[test]
fn outputs_and_gradients_are_onnxruntime_s() {
    for model in [
        "mlp/eval_model.onnx",
        "mlp/training_model.onnx",
        "cnn/eval_model.onnx",
        "cnn/training_model.onnx",
        "block/eval_model.onnx",
        "block/training_model.onnx",
        "legacy/eval_model.onnx",
        "legacy/training_model.onnx",
        "mse/eval_model.onnx",
        "bce/eval_model.onnx",
    ] {
        let mut command = program();
        command.arg("verify").arg(fixture(model)).args(["--dim", "batch=8", "--format", "json"]);
        let (code, found, said) = run(&mut command);
        assert_eq!(code, Some(0), "{model}: {said}");
        assert_eq!(found.unwrap()["passed"], true, "{model}");
    }
}

fn forget(fixture: &Fixture, model: &str, more: &[&str]) -> (Option<i32>, String) {
    let mut command = program();
    command.arg(fixture.path(model)).arg("--forget").arg(fixture.path("forget.parquet"));
    command.arg("--config").arg(fixture.path("eval_model.forget.toml")).args(more);
    let (code, _, said) = run(&mut command);
    (code, said)
}

/// Holds the new checkpoint against the old one: nothing but trained tensors and momentums may differ.
fn only_weights_and_momentums_differ(old: &Path, new: &Path) {
    let (before, after) = (Checkpoint::open(old).unwrap(), Checkpoint::open(new).unwrap());
    assert_eq!((before.parameters(), before.momentums()), (after.parameters(), after.momentums()));
    let mut masked = (before.bytes().to_vec(), after.bytes().to_vec());
    for (name, parameter) in before.parameters() {
        let range = parameter.range.clone();
        let changed = masked.0[range.clone()] != masked.1[range.clone()];
        assert_eq!(changed, parameter.trained, "{name}");
        masked.0[range.clone()].fill(0);
        masked.1[range].fill(0);
    }
    assert!(!before.momentums().is_empty());
    for range in before.momentums() {
        assert!(masked.0[range.clone()].iter().any(|&b| b != 0) && masked.1[range.clone()].iter().all(|&b| b == 0));
        masked.0[range.clone()].fill(0);
    }
    assert!(masked.0 == masked.1, "a byte outside of weights and momentums changed");
}

#[test]
fn forgets_into_a_copy_of_the_checkpoint() {
    let fixture = Fixture::new("artifacts/mlp");
    let inputs = ["eval_model.onnx", "training_model.onnx", "checkpoint"];
    let before = inputs.map(|name| fs::read(fixture.path(name)).unwrap());
    let (code, said) = forget(&fixture, "eval_model.onnx", &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("checkpoint ") && said.contains("12 optimizer momentums"), "{said}");
    assert_eq!(before, inputs.map(|name| fs::read(fixture.path(name)).unwrap()), "an input was touched");
    let (old, new) = (fixture.path("checkpoint"), fixture.path("checkpoint.forgotten"));
    only_weights_and_momentums_differ(&old, &new);

    let report = json(&fixture.path("checkpoint.forgotten.report/report.json"));
    follows_schema(&report);
    assert_eq!(report["status"], "published");
    for check in ["/parity/before/passed", "/parity/gradient/passed", "/parity/after/passed"] {
        assert_eq!(report.pointer(check), Some(&Value::Bool(true)), "{check}");
    }
    let written = Checkpoint::open(&new).unwrap();
    assert_eq!(report["model"]["output"]["sha256"], written.sha256());
    assert_eq!(report["model"]["checkpoint"]["sha256"], Checkpoint::open(&old).unwrap().sha256());
    assert!(report["model"]["proof"]["rewritten"][0].as_str().unwrap().starts_with("12 momentums"));
    assert!(report["data"]["notes"].as_array().unwrap().iter().any(|n| n.as_str().unwrap().contains("momentums")));
    let accuracy = |when: &str| report["audit"][when]["forget"]["accuracy"].as_f64().unwrap();
    assert!(accuracy("after") < accuracy("before") - 0.1, "{} to {}", accuracy("before"), accuracy("after"));

    // The training model stands for the same function, so that the same steps are made.
    let other = fixture.path("other");
    let (code, said) = forget(&fixture, "training_model.onnx", &["-o", other.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(fs::read(&new).unwrap(), fs::read(&other).unwrap());
    let mut command = program();
    command.arg("verify").arg(fixture.path("eval_model.onnx")).arg("--checkpoint").arg(&new);
    assert_eq!(run(command.args(["--format", "json"])).0, Some(0));
}

/// The rows of `mlp`, and a copy of `legacy`, whose checkpoint is a folder, in `old`.
fn legacy() -> Fixture {
    let rows = Fixture::new("artifacts/mlp");
    let from = fixture("legacy");
    fs::create_dir_all(rows.path("old/checkpoint")).unwrap();
    for folder in ["", "checkpoint"] {
        for entry in fs::read_dir(from.join(folder)).unwrap().map(Result::unwrap) {
            let to = rows.path("old").join(folder).join(entry.file_name());
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    rows
}

/// All files of a folder.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}

#[test]
fn forgets_into_a_copy_of_the_folder_of_an_old_checkpoint() {
    let fixture = legacy();
    let (old, new) = (fixture.path("old/checkpoint"), fixture.path("old/checkpoint.forgotten"));
    let before = contents(&old);
    let found = run(program().arg("inspect").arg(fixture.path("old/eval_model.onnx")).args(["--format", "json"]));
    let found = found.1.unwrap();
    let counts = ["trained", "frozen", "momentums"].map(|what| found["checkpoint"][what].as_u64().unwrap());
    assert_eq!((counts, trained(&found).len()), ([4, 2, 8], 4));

    fs::write(old.join("notes.txt"), "not of the checkpoint").unwrap();
    let (code, said) = forget(&fixture, "old/eval_model.onnx", &[]);
    assert_eq!(code, Some(0), "{said}");
    fs::remove_file(old.join("notes.txt")).unwrap();
    assert_eq!(before, contents(&old), "the input was touched");
    only_weights_and_momentums_differ(&old, &new);
    let after = contents(&new);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    let same = |name: &&String| before[*name] == after[*name];
    let unchanged = ["custom_properties.pbseq", "optim_group0_properties.pbseq", "paramfrozen_tensors.pbseq"];
    assert_eq!(before.keys().filter(same).collect::<Vec<_>>(), unchanged);

    let report = json(&fixture.path("old/checkpoint.forgotten.report/report.json"));
    follows_schema(&report);
    assert_eq!((&report["status"], &report["parity"]["after"]["passed"]), (&"published".into(), &true.into()));
    assert_eq!(report["model"]["output"]["sha256"], Checkpoint::open(&new).unwrap().sha256());
    let mut command = program();
    command.arg("verify").arg(fixture.path("old/training_model.onnx")).arg("--checkpoint").arg(&new);
    assert_eq!(run(command.args(["--format", "json"])).0, Some(0));

    // Neither the input nor what exists is written to.
    let path = |name: &str| fixture.path(name).to_str().unwrap().to_string();
    for (out, word) in [
        (path("old/checkpoint"), "the input, which is never touched"),
        (path("old/checkpoint/new"), "in the checkpoint's folder, which is never touched"),
        (path("old/checkpoint.forgotten"), "remove this"),
        (path("old/eval_model.onnx"), "the input, which is never touched"),
        (path("train.parquet"), "remove this"),
    ] {
        let (code, said) = forget(&fixture, "old/eval_model.onnx", &["-o", &out, "--force"]);
        assert_eq!(code, Some(2), "{out}: {said}");
        assert!(said.contains(word), "{out}: {said}");
    }
    assert_eq!((contents(&old), contents(&new)), (before, after));
}

#[test]
fn damaged_folders_are_errors() {
    let (model, folder) = (fixture("legacy/eval_model.onnx"), tempfile::tempdir().unwrap());
    let files = contents(&fixture("legacy/checkpoint"));
    let names: Vec<&String> = files.keys().filter(|name| !name.ends_with("properties.pbseq")).collect();
    files.iter().for_each(|(name, bytes)| fs::write(folder.path().join(name), bytes).unwrap());
    let whole: usize = files.values().map(Vec::len).sum();
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let (mut read, mut refused) = (0, 0);
    for mutant in 0..MUTANTS / 4 {
        let name = names[random.random_range(0..names.len())];
        let mut bytes = files[name].clone();
        for _ in 0..random.random_range(1..4) {
            // Lengths and shapes stand at the start of the file and of each tensor.
            let end = if random.random_bool(0.7) { 32 } else { bytes.len() };
            bytes[random.random_range(0..end)] = random.random();
        }
        if random.random_bool(0.1) {
            bytes.truncate(random.random_range(0..bytes.len()));
        }
        fs::write(folder.path().join(name), &bytes).unwrap();
        let attempt = || {
            let file = artifacts::open(&model, Some(folder.path()), &ReadOptions::default())?;
            build::build(&file).map(drop)
        };
        let (held, result) = peak(|| catch_unwind(AssertUnwindSafe(attempt)));
        let result = result.unwrap_or_else(|_| panic!("mutant {mutant} panics"));
        assert!(held < (1 << 20) + 64 * whole, "mutant {mutant} holds {held} bytes");
        match result {
            Ok(()) => read += 1,
            Err(e) => {
                assert_eq!(e.exit_code(), 3, "mutant {mutant}: {e}");
                refused += 1;
            }
        }
        fs::write(folder.path().join(name), &files[name]).unwrap();
    }
    assert!(read > MUTANTS / 80 && refused > MUTANTS / 80, "{read} read, {refused} refused");
}

#[test]
fn what_cannot_be_used_is_refused_with_a_hint() {
    let fixture = Fixture::new("artifacts/mlp");
    let path = |name: &str| fixture.path(name).to_str().unwrap().to_string();
    let refused = |model: &str, more: &[&str], code: i32, word: &str| {
        let (found, said) = forget(&fixture, model, more);
        assert_eq!(found, Some(code), "{model} {more:?}: {said}");
        assert!(said.contains(word), "{model} {more:?}: {said}");
        assert!(!fixture.path("checkpoint.forgotten").exists());
    };
    let eval = "eval_model.onnx";
    refused(eval, &["--checkpoint", &path("nominal_checkpoint")], 3, "nominal");
    refused(eval, &["--checkpoint", &path("gone")], 3, "gone");
    refused(eval, &["--checkpoint", &path(eval)], 3, "ODTC");
    refused("checkpoint", &[], 3, "give the training or eval model");
    refused(eval, &["-o", &path("checkpoint")], 2, "never touched");
    refused(eval, &["-o", &path(eval), "--force"], 2, "never touched");
    refused("optimizer_model.onnx", &[], 3, "eval_model.onnx");
    let cnn = self::fixture("cnn/checkpoint");
    refused(eval, &["--checkpoint", cnn.to_str().unwrap()], 3, "belongs to another model");
    let plain: PathBuf = [env!("CARGO_MANIFEST_DIR"), "fixtures", "digits-cnn", "model.onnx"].iter().collect();
    fs::copy(plain, fixture.path("plain.onnx")).unwrap();
    refused("plain.onnx", &["--checkpoint", &path("checkpoint")], 3, "belongs to another model");

    fs::create_dir(fixture.path("old")).unwrap();
    fs::write(fixture.path("old/param_tensors.pbseq"), "").unwrap();
    refused(eval, &["--checkpoint", &path("old")], 3, "cut off");
    fs::write(fixture.path("old/other_tensors.pbseq"), "").unwrap();
    refused(eval, &["--checkpoint", &path("old")], 3, "other_tensors.pbseq");
    let mut bytes = fs::read(fixture.path("checkpoint")).unwrap();
    let whole = bytes.len();
    bytes.truncate(whole / 2);
    fs::write(fixture.path("half"), &bytes).unwrap();
    refused(eval, &["--checkpoint", &path("half")], 3, "half");
    fs::remove_file(fixture.path("checkpoint")).unwrap();
    for model in [eval, "training_model.onnx"] {
        refused(model, &[], 3, "--checkpoint FILE");
    }
}

#[test]
fn damaged_checkpoints_are_errors() {
    let (model, whole) = (fixture("cnn/eval_model.onnx"), fs::read(fixture("cnn/checkpoint")).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let (mut read, mut refused) = (0, 0);
    for mutant in 0..MUTANTS {
        let mut bytes = whole.clone();
        for _ in 0..random.random_range(1..6) {
            // Offsets and lengths are what damage does most with: a word at a time, small or huge.
            let at = random.random_range(0..bytes.len() / 4) * 4;
            let word: u32 = match random.random_range(0..3) {
                0 => random.random_range(0..64),
                1 => random.random(),
                _ => u32::MAX - random.random_range(0..256),
            };
            if let Some(slot) = bytes.get_mut(at..at + 4) {
                slot.copy_from_slice(&word.to_le_bytes());
            }
        }
        if random.random_bool(0.1) {
            bytes.truncate(random.random_range(0..bytes.len()));
        }
        fs::write(&path, &bytes).unwrap();
        let attempt = || {
            let file = artifacts::open(&model, Some(&path), &ReadOptions::default())?;
            build::build(&file)?;
            let parameters = file.checkpoint().unwrap().parameters().iter();
            let change = |(name, p): (&String, &onnx_forget::onnx::checkpoint::Parameter)| Change {
                name: name.clone(),
                values: vec![0.5; p.dims.iter().product()],
            };
            let floats = parameters.filter(|(_, p)| p.dtype.is_float());
            splice_to_temp(&file, &floats.map(change).collect::<Vec<_>>(), folder.path(), ExternalData::Beside)
                .map(drop)
        };
        let (held, result) = peak(|| catch_unwind(AssertUnwindSafe(attempt)));
        let result = result.unwrap_or_else(|_| panic!("mutant {mutant} panics"));
        assert!(held < (1 << 20) + 64 * whole.len(), "mutant {mutant} holds {held} bytes");
        match result {
            Ok(()) => read += 1,
            Err(e) => {
                assert_eq!(e.exit_code(), 3, "mutant {mutant}: {e}");
                refused += 1;
            }
        }
    }
    assert!(read > MUTANTS / 20 && refused > MUTANTS / 20, "{read} read, {refused} refused");
}

#[test]
fn a_checkpoint_is_bound_where_names_and_shapes_agree() {
    let options = ReadOptions::default();
    let mse = || Checkpoint::open(&fixture("mse/checkpoint")).unwrap();
    let bound = OnnxFile::open(&fixture("mlp/eval_model.onnx"), &options).unwrap().bind(mse()).unwrap();
    assert_eq!(build::build(&bound).unwrap().checkpoint.values().filter(|trained| **trained).count(), 2);
    let cnn = OnnxFile::open(&fixture("cnn/eval_model.onnx"), &options).unwrap();
    assert!(cnn.bind(mse()).unwrap_err().to_string().contains("another model"));

    let folder = tempfile::tempdir().unwrap();
    let bind = |from: &str, change: &dyn Fn(&mut ModelProto)| {
        let mut model = ModelProto::decode(fs::read(fixture(from)).unwrap().as_slice()).unwrap();
        change(&mut model);
        let path = folder.path().join("changed.onnx");
        fs::write(&path, model.encode_to_vec()).unwrap();
        OnnxFile::open(&path, &options).unwrap().bind(mse())
    };
    let extent = |model: &mut ModelProto, name: &str, extent: i64| {
        let input = model.graph.as_mut().unwrap().input.iter_mut().find(|input| input.name() == name).unwrap();
        let Some(type_proto::Value::TensorType(tensor)) = &mut input.r#type.as_mut().unwrap().value else { panic!() };
        tensor.shape.as_mut().unwrap().dim[0].value = Some(dimension::Value::DimValue(extent));
    };
    // In the backward pass, rows stand where weights do in the forward pass.
    bind("mlp/training_model.onnx", &|model| extent(model, "features", 8)).unwrap();
    let changed = |change: &dyn Fn(&mut ModelProto)| bind("mlp/eval_model.onnx", change).unwrap_err().to_string();
    let shape = changed(&|model| extent(model, "fc2.bias", 65));
    assert!(shape.contains("`fc2.bias`: its declared shape is [65], but it is [64]"));
    let name = changed(&|model| {
        let graph = model.graph.as_mut().unwrap();
        let input = graph.input.iter_mut().find(|input| input.name() == "fc2.weight").unwrap();
        input.name = Some("other.weight".into());
        let taken = graph.node.iter_mut().flat_map(|node| &mut node.input).find(|input| *input == "fc2.weight");
        *taken.unwrap() = "other.weight".into();
    });
    assert!(name.contains("`other.weight`: it is a parameter, but the checkpoint"));
}
