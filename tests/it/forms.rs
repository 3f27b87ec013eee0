//! Every form that trained models come in, on the files of `fixtures/forms`: what is said of each, whether it computes what
//! onnxruntime computes, and that new weights go to where the old ones lay.

use crate::flow::{Fixture, json, program};
use onnx_forget::{
    onnx::{OnnxFile, ReadOptions, artifacts, span::Spans},
    writeback,
};
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fixtures", "forms", name].iter().collect()
}

/// Exit code, stdout and stderr.
fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(!err.contains("panicked"), "{err}");
    (output.status.code().unwrap(), out, err)
}

#[track_caller]
fn says(what: &str, text: &str, words: &[&str]) {
    words.iter().for_each(|word| assert!(text.contains(word), "{what}: {word:?} is not in:\n{text}"));
}

const TRAINING: &str = "training mode";
const MLP: [&str; 4] = ["b1", "b2", "w1", "w2"];
const NORMED: [&str; 6] = ["b1", "b2", "bn.bias", "bn.weight", "w1", "w2"];
const FC: [&str; 2] = ["fc.bias", "fc.weight"];
const LOGISTIC: [&str; 2] = ["LinearClassifier/coefficients", "LinearClassifier/intercepts"];
const NET: [&str; 6] = ["bn.bias", "bn.weight", "conv.bias", "conv.weight", "fc.bias", "fc.weight"];

/// Files that are taken: the name, what `inspect` says, what it does not say, and what is trained.
const TAKEN: [(&str, &[&str], &[&str], &[&str]); 45] = [
    ("bn6-is-test-absent", &[TRAINING], &[], &NORMED),
    ("bn6-is-test", &[], &[TRAINING], &NORMED),
    ("bn7-five-outputs", &[TRAINING], &[], &NORMED),
    ("bn9-five-outputs", &[TRAINING], &[], &NORMED),
    ("bn9-one-output", &[], &[TRAINING], &NORMED),
    ("bn14-training", &[TRAINING], &[], &NORMED),
    ("bn15-training", &[TRAINING], &[], &NORMED),
    ("dropout6-is-test-absent", &[TRAINING], &[], &MLP),
    ("dropout6-is-test", &[], &[TRAINING], &MLP),
    ("dropout7", &[], &[TRAINING], &MLP),
    ("dropout10", &[], &[TRAINING], &MLP),
    ("dropout12-initializers", &[TRAINING], &[], &MLP),
    ("dropout13-constants", &[TRAINING], &[], &MLP),
    ("dropout22-no-ratio", &[TRAINING], &[], &MLP),
    ("dropout22-off", &[], &[TRAINING], &MLP),
    // Written out: taken at its expectation.
    ("dropout-bernoulli", &[], &["random numbers"], &MLP),
    ("dropout-uniform", &[], &["random numbers"], &MLP),
    ("torchscript-training-9", &["TorchScript", TRAINING], &[], &NET),
    ("torchscript-training-12", &["TorchScript", TRAINING], &[], &NET),
    ("torchscript-training-17", &["TorchScript", TRAINING], &[], &NET),
    // Its BatchNormalization was folded.
    ("dynamo-training", &["dynamo", TRAINING], &[], &["conv.bias", "conv.weight", "fc.bias", "fc.weight"]),
    ("loss-sce12", &["loss in the graph", "SoftmaxCrossEntropyLoss", "reduction none"], &[], &MLP),
    ("loss-sce13", &["loss in the graph", "ignore_index -100"], &[], &MLP),
    ("loss-nll12", &["loss in the graph", "NegativeLogLikelihoodLoss", "from `logits`"], &[], &MLP),
    ("loss-nll13", &["loss in the graph", "from `logits`"], &[], &MLP),
    ("loss-nll22", &["loss in the graph", "from `logits`"], &[], &MLP),
    ("loss-mse", &["loss in the graph", "the mean squared error in the graph"], &[], &MLP),
    ("loss-mse-alone", &["the mean squared error in the graph", "input `target`"], &[], &MLP),
    ("loss-bce", &["the binary cross-entropy in the graph"], &[], &MLP),
    ("loss-torchscript-mse", &["the mean squared error in the graph", "input `target`"], &[], &FC),
    ("loss-torchscript-bce", &["the binary cross-entropy in the graph"], &[], &FC),
    ("loss-dynamo-mse-sum", &["dynamo", "the mean squared error in the graph"], &[], &FC),
    ("loss-dynamo-bce", &["dynamo", "the binary cross-entropy in the graph"], &[], &FC),
    ("training-info", &["TrainingInfoProto", "loss in the graph", "training info"], &[], &["b2", "w2"]),
    ("dynamo-kinds", &["dynamo", "loss in the graph", "a buffer of", "a constant tensor of"], &[], &["b2", "w2"]),
    ("ort-extended", &["optimized by onnxruntime", "FusedConv"], &["UNSUPPORTED"], &["b", "c", "cb", "w"]),
    ("initializers-as-inputs", &[], &[], &MLP),
    ("weights-in-constants", &[], &[], &MLP),
    ("weights-in-branch", &[], &["cannot be rewritten"], &["b1", "if/b2", "if/w2", "w1"]),
    ("weights-in-loop", &[], &["cannot be rewritten"], &["b1", "b2", "loop/0/if/v", "loop/w", "w1", "w2"]),
    ("scan8", &[], &["cannot be rewritten"], &["b0", "b1", "b2", "scan/w", "w0", "w1", "w2"]),
    ("sklearn-logistic", &["linear model (ai.onnx.ml)", "the output is a Softmax"], &["UNSUPPORTED"], &LOGISTIC),
    (
        "sklearn-one-vs-rest",
        &["one-vs-rest", "Normalizer (shares)"],
        &["UNSUPPORTED"],
        &["rest/coefficients", "rest/intercepts"],
    ),
    (
        "sklearn-prepared-mlp",
        &["OneHotEncoder", "Imputer", "Normalizer", "Binarizer"],
        &["UNSUPPORTED"],
        &["coefficient", "coefficient1", "intercepts", "intercepts1"],
    ),
    (
        "sklearn-scaled-mlp",
        &["Scaler"],
        &["UNSUPPORTED"],
        &["coefficient", "coefficient1", "intercepts", "intercepts1"],
    ),
];

/// Files that are refused: the whole name and what is said, which tells what to give instead.
const REFUSED: [(&str, &[&str]); 15] = [
    ("loss-l1.onnx", &["`loss` is a mean absolute error computed from target", "--loss"]),
    ("loss-dynamo-huber.onnx", &["`loss` is a loss computed from target", "--loss"]),
    ("loss-dynamo-bce-weighted.onnx", &["`loss` is a loss computed from target", "--loss"]),
    ("optimizer.onnx", &["optimizer model", "eval_model.onnx"]),
    ("ortmodule.onnx", &["ORTModule", "torch.onnx.export"]),
    ("ort-nchwc.onnx", &["com.microsoft.nchwc::Conv", "the model that it was optimized from"]),
    ("ort-prepacked.onnx", &["`w1`", "packed copies of the weights", "the model that this one was saved from"]),
    ("ort-format.ort", &["ort-format.ort", "the .onnx model that it was converted from"]),
    ("quantized-qdq.onnx", &["QuantizeLinear", "give the float model"]),
    ("quantized-qlinear.onnx", &["QLinearMatMul", "give the float model"]),
    ("quantized-dynamic.onnx", &["DynamicQuantizeLinear", "give the float model"]),
    ("quantized-nbits.onnx", &["MatMulNBits", "give the float model"]),
    ("sklearn-trees.onnx", &["TreeEnsembleClassifier", "train them again without the rows"]),
    ("loss-l1-alone.onnx", &["`loss` is a mean absolute error", "with its logits as an output"]),
    ("opset5.onnx", &["supported from opset 6", "onnx.version_converter"]),
];

#[test]
fn every_file_of_the_folder_is_in_a_list() {
    let listed: BTreeSet<String> =
        TAKEN.iter().map(|row| format!("{}.onnx", row.0)).chain(REFUSED.iter().map(|row| row.0.to_string())).collect();
    let entries = fs::read_dir(fixture("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let models = entries.filter(|name| name.ends_with(".onnx") || name.ends_with(".ort"));
    assert_eq!(models.collect::<BTreeSet<_>>(), listed);
}

#[test]
fn inspect_names_the_form_and_what_is_trained() {
    for (name, words, absent, trained) in TAKEN {
        let path = fixture(&format!("{name}.onnx"));
        let (code, shown, said) = run(program().arg("inspect").arg(&path));
        assert_eq!(code, 0, "{name}: {shown}{said}");
        says(name, &shown, words);
        absent.iter().for_each(|word| assert!(!shown.contains(word), "{name}: {word:?} is in:\n{shown}"));
        let (_, found, _) = run(program().arg("inspect").arg(&path).args(["--format", "json"]));
        let found: Value = serde_json::from_str(&found).unwrap();
        let tensors = found["initializers"].as_array().unwrap().iter().filter(|tensor| tensor["trainable"] == true);
        let names: BTreeSet<&str> = tensors.map(|tensor| tensor["name"].as_str().unwrap()).collect();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), trained, "{name}");
    }
}

#[test]
fn what_is_taken_computes_what_onnxruntime_computes() {
    for (name, ..) in TAKEN {
        let path = fixture(&format!("{name}.onnx"));
        let old = name.contains('6') && !name.contains("16");
        let (code, shown, said) = run(program().arg("verify").arg(&path).args(["--samples", "8"]));
        if old {
            assert_eq!(code, 5, "{name}: {shown}{said}");
            says(name, &said, &["onnxruntime takes opset 7 and newer", "onnx.version_converter", "--parity tract"]);
            let (code, shown, said) = run(program().arg("verify").arg(&path).args(["--parity", "tract"]));
            assert_eq!(code, 0, "{name}: {shown}{said}");
        } else {
            assert_eq!(code, 0, "{name}: {shown}{said}");
            says(name, &shown, &["onnxruntime agrees", "gradient  agrees"]);
        }
    }
}

#[test]
fn what_is_refused_says_what_to_give_instead() {
    let rows = Fixture::new("forms");
    for (name, words) in REFUSED {
        for command in ["inspect", "verify", "forget"] {
            let mut program = program();
            match command {
                "forget" => program.arg(rows.path(name)).arg("--forget").arg(rows.path("forget.parquet")),
                other => program.arg(other).arg(fixture(name)),
            };
            let (code, _, said) = run(&mut program);
            assert_eq!(code, 3, "{command} {name}: {said}");
            says(&format!("{command} {name}"), &said, words);
        }
    }
}

/// The main job on the rows of the folder; the path of the new model.
fn forget(rows: &Fixture, model: &str, input: &str, more: &[&str]) -> PathBuf {
    let columns: Vec<String> = (0..6).map(|i| format!("\"f{i}\"")).collect();
    let toml = format!(
        "[data]\ntrain = \"train.parquet\"\nvalidation = \"validation.parquet\"\ntest = \"test.parquet\"\nid = \"id\"\n\
         [inputs.{input}]\nkind = \"numeric\"\ncolumns = [{}]\n[target]\ncolumn = \"label\"\nkind = \"class\"\n\
         [gates]\nmax_test_accuracy_drop = 1.0\nmax_retain_accuracy_drop = 1.0\n\
         max_balanced_accuracy_drop = 1.0\nmax_mia_increase = 0.5\nmax_forget_gain = inf\nmax_test_gain = inf\n",
        columns.join(", ")
    );
    fs::write(rows.path("forms.toml"), toml).unwrap();
    let (out, report) = (rows.path("new").join(model), rows.path("report"));
    fs::create_dir_all(rows.path("new")).unwrap();
    let mut command = program();
    command.arg(rows.path(model)).arg("--forget").arg(rows.path("forget.parquet")).arg("-o").arg(&out);
    command.arg("--config").arg(rows.path("forms.toml")).arg("--report").arg(&report).args(more);
    // These models are untrained.
    command.args(["--accept-unknown-rows", "--unlearn-anyway"]);
    let (code, _, said) = run(&mut command);
    assert_eq!(code, 0, "{model}: {said}");
    let report = json(&report.join("report.json"));
    assert_eq!(
        (&report["status"], &report["parity"]["after"]["passed"]),
        (&"published".into(), &true.into()),
        "{model}"
    );
    assert_eq!(report["parity"]["after"]["runtimes"][0]["name"], "onnxruntime", "{model}");
    out
}

/// Ranges of the tensors `names` in the bytes of the model.
fn ranges(file: &OnnxFile, names: &[&str]) -> Vec<std::ops::Range<usize>> {
    let spans = Spans::scan(file).unwrap();
    let span = |name: &&str| spans.get(name).unwrap_or_else(|| panic!("`{name}` is not found")).chunks().to_vec();
    names.iter().flat_map(span).map(|chunk| chunk.bytes()).collect()
}

#[test]
fn new_weights_go_where_the_old_ones_lay() {
    let rows = Fixture::new("forms");
    let network = ["coefficient", "coefficient1", "intercepts", "intercepts1"];
    let cases: [(&str, &str, &[&str]); 11] = [
        ("initializers-as-inputs", "x", &MLP),
        ("weights-in-constants", "x", &MLP),
        ("weights-in-branch", "x", &["b1", "logits/then_branch/b2", "logits/then_branch/w2", "w1"]),
        ("weights-in-loop", "x", &["b1", "b2", "m/body/c/then_branch/v", "m/body/w", "w1", "w2"]),
        ("scan8", "x", &["b0", "b1", "b2", "m/body/w", "w0", "w1", "w2"]),
        ("bn14-training", "x", &NORMED),
        ("dropout13-constants", "x", &MLP),
        ("sklearn-scaled-mlp", "X", &network),
        ("sklearn-prepared-mlp", "X", &network),
        ("sklearn-logistic", "X", &LOGISTIC),
        ("sklearn-one-vs-rest", "x", &["rest/coefficients", "rest/intercepts"]),
    ];
    for (name, input, places) in cases {
        let out = forget(&rows, &format!("{name}.onnx"), input, &[]);
        let open = |path: &PathBuf| OnnxFile::open(path, &ReadOptions::default()).unwrap();
        let (old, new) = (open(&fixture(&format!("{name}.onnx"))), open(&out));
        let found = writeback::diff(&old, &new).unwrap();
        assert_eq!(found.changed.iter().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>(), places, "{name}");
        assert!(found.other.is_empty(), "{name}: {:?}", found.other);
        let mut bytes = (old.bytes().to_vec(), new.bytes().to_vec());
        for range in ranges(&old, places) {
            assert_ne!(bytes.0[range.clone()], bytes.1[range.clone()], "{name}");
            bytes.0[range.clone()].fill(0);
            bytes.1[range].fill(0);
        }
        assert!(bytes.0 == bytes.1, "{name}: a byte outside of the weights changed");
        let (code, _, said) = run(program().arg("verify").arg(&out));
        assert_eq!(code, 0, "{name}: {said}");
    }
}

#[test]
fn optimizer_states_in_the_file_become_zero() {
    let rows = Fixture::new("forms");
    let out = forget(&rows, "training-info.onnx", "x", &[]);
    let open = |path: &PathBuf| OnnxFile::open(path, &ReadOptions::default()).unwrap();
    let (old, new) = (open(&fixture("training-info.onnx")), open(&out));
    let states = ["training_info/0/vb2", "training_info/0/vw2"];
    let mut bytes = (old.bytes().to_vec(), new.bytes().to_vec());
    for range in ranges(&old, &states) {
        assert!(bytes.0[range.clone()].iter().any(|&b| b != 0) && bytes.1[range.clone()].iter().all(|&b| b == 0));
        bytes.0[range].fill(0);
    }
    for range in ranges(&old, &["b2", "w2"]) {
        bytes.0[range.clone()].fill(0);
        bytes.1[range].fill(0);
    }
    assert!(bytes.0 == bytes.1, "learning rate, step and all else stay");
    let report = json(&rows.path("report/report.json"));
    says("proof", report["model"]["proof"]["rewritten"][0].as_str().unwrap(), &["2 momentums"]);
}

#[test]
fn another_loss_takes_the_place_of_the_one_in_the_graph() {
    let rows = Fixture::new("forms");
    for (name, labels) in [("loss-sce13", "labels"), ("loss-l1", "target"), ("loss-dynamo-huber", "target")] {
        let out = forget(&rows, &format!("{name}.onnx"), "x", &["--loss", "cross-entropy"]);
        let (code, shown, _) = run(program().arg("inspect").arg(&out).args(["--loss", "cross-entropy"]));
        says(name, &shown, &["asked for", labels]);
        assert_eq!(code, 0);
        // Its labels are no input that rows must feed.
        let (code, shown, said) = run(program().arg("verify").arg(&out).args(["--loss", "cross-entropy"]));
        assert_eq!(code, 0, "{name}: {shown}{said}");
    }
}

#[test]
fn a_model_that_refers_to_packed_weights_is_refused_wherever_they_are() {
    let path = fixture("ort-prepacked.onnx");
    let error = artifacts::open(&path, None, &ReadOptions::default()).and_then(|file| Spans::scan(&file).map(drop));
    assert_eq!(error.unwrap_err().exit_code(), 3);
}
