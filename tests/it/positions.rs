//! Labels with a class for each position, through the whole program: tags of tokens, next words, masks of pixels.

use crate::{
    data::{Table, id_list},
    flow::{Fixture, follows_schema, json, program, text},
    parity::models::{Net, Value as Given},
    wrong_readings::column,
};
use arrow_array::{
    Int64Array,
    builder::{FixedSizeListBuilder, Float32Builder, Int64Builder, ListBuilder},
    cast::AsArray,
    types::Int64Type,
};
use onnx_forget::{
    audit::{Answered, Outcome, score, tags},
    data::{TargetKind, Targets},
    model::Scores,
    tensor::DType,
};
use serde_json::Value;
use std::{path::Path, process::Command, sync::Arc};
use tempfile::TempDir;

fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number at {pointer} of {value}"))
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn rows(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(numbers).collect()
}

#[test]
fn figures_of_positions_are_scikit_learns_seqevals_and_pytorchs() {
    let stored = json(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/audit/positions.json"));
    for case in stored["cases"].as_array().unwrap() {
        let (logits, labels) = (rows(&case["logits"]), rows(&case["labels"]));
        let ends = labels.iter().scan(0, |end, row| {
            *end += row.len();
            Some(*end)
        });
        let targets = Targets::Positions {
            ends: std::iter::once(0).chain(ends).collect(),
            classes: labels.iter().flatten().map(|&label| label as i64).collect(),
        };
        let losses: Vec<f32> = numbers(&case["losses"]).into_iter().map(|loss| loss as f32).collect();
        let classes = numbers(&case["classes"]);
        let scores = Scores {
            weights: vec![1.0; losses.len()],
            losses: losses.clone(),
            width: logits[0].len(),
            logits: logits.iter().flatten().map(|&x| x as f32).collect(),
            classes: (classes[0] as usize, classes[1] as usize),
            ..Scores::default()
        };
        let names: Option<Vec<String>> = serde_json::from_value(case["names"].clone()).unwrap();
        let mut answered = Answered::tagged(names.map(|names| tags(&names).unwrap()));
        answered.push(&scores, &targets);
        let found = |kind| {
            let (answered, targets) = (Some(&answered), &targets);
            score(
                &Outcome {
                    losses: &losses,
                    weights: &[],
                    logits: &[],
                    width: 0,
                    targets,
                    kind,
                    answered,
                    figures: None,
                },
                "stored",
            )
        };
        let (of_tags, of_words) = (found(TargetKind::Class).unwrap(), found(TargetKind::Next).unwrap());
        for (ours, figure) in [
            (of_tags.accuracy, "accuracy"),
            (of_tags.exact_match, "exact_match"),
            (of_tags.balanced_accuracy, "balanced_accuracy"),
            (of_tags.mean_iou, "mean_iou"),
            (of_words.accuracy, "accuracy"),
            (of_words.perplexity, "perplexity"),
        ] {
            // The losses are rounded to f32 on our side.
            let tolerance = if figure == "perplexity" { 1e-6 } else { 1e-12 };
            let theirs = number(case, &format!("/{figure}"));
            assert!(
                (ours.unwrap() - theirs).abs() <= tolerance * theirs,
                "{}: {figure}: {ours:?} for {theirs}",
                case["name"]
            );
        }
        let (ours, theirs) = (of_tags.entity_f1, case["entity_f1"].as_f64());
        assert!(ours.zip(theirs).is_none_or(|(a, b)| (a - b).abs() < 1e-12), "{}: {ours:?} {theirs:?}", case["name"]);
        assert_eq!(ours.is_some(), theirs.is_some(), "{}", case["name"]);
        for (ours, theirs) in answered.entropies().iter().zip(numbers(&case["entropies"])) {
            assert!((ours - theirs).abs() < 1e-5, "{}: entropy {ours} for {theirs}", case["name"]);
        }
        for (ours, theirs) in answered.min_k().iter().zip(numbers(&case["min_k"])) {
            assert!((ours - theirs).abs() < 1e-5, "{}: Min-K% {ours} for {theirs}", case["name"]);
        }
    }
}

/// Exit code, and stdout and stderr together.
fn run(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    let said = text(&output);
    assert!(!said.contains("panicked"), "{said}");
    (output.status.code().unwrap(), said)
}

/// The audit of the model of a run that is published with the default settings.
fn forgets(name: &str) -> Value {
    let fixture = Fixture::new(name);
    let (code, said) = run(&mut fixture.command(&["--offline"]));
    assert_eq!(code, 0, "{said}");
    let report = fixture.report();
    follows_schema(&report);
    assert_eq!(report["status"], "published");
    for check in ["/parity/before/passed", "/parity/gradient/passed", "/parity/after/passed"] {
        assert_eq!(report.pointer(check), Some(&Value::Bool(true)), "{check}");
    }
    // What was measured before is what PyTorch measured.
    let expected = json(&fixture.path("expected.json"));
    for set in ["forget", "retain", "test"] {
        for figure in ["accuracy", "loss"] {
            let ours = number(&report, &format!("/audit/before/{set}/{figure}"));
            let theirs = number(&expected, &format!("/figures/before/{set}/{figure}"));
            assert!((ours - theirs).abs() <= 1e-4 * theirs, "{name}: {figure} of {set}: {ours} for {theirs}");
        }
        let exact = number(&report, &format!("/audit/before/{set}/exact_match"));
        assert!(exact <= number(&report, &format!("/audit/before/{set}/accuracy")), "{name}: {exact}");
    }
    let audit = report["audit"].clone();
    let mia = |when| number(&audit, &format!("/{when}/mia/loss/accuracy"));
    assert!(mia("before") > 0.6 && (mia("after") - 0.5).abs() < 0.07, "{} to {}", mia("before"), mia("after"));
    assert!(number(&audit, "/after/forget/loss") > 1.1 * number(&audit, "/before/forget/loss"));
    audit
}

#[test]
fn forgets_tagged_sentences() {
    let audit = forgets("tags-lstm");
    for figure in ["mean_iou", "balanced_accuracy"] {
        let of = |set: &str| number(&audit, &format!("/before/{set}/{figure}"));
        assert!(of("retain") > of("test") && of("test") > 0.4, "{figure}: {} and {}", of("retain"), of("test"));
    }
    assert!(number(&audit, "/before/retain/exact_match") > 0.8, "{audit}");
    assert!(audit["after"]["test"]["perplexity"].is_null());
}

#[test]
fn forgets_sayings_of_a_language_model() {
    let audit = forgets("words-decoder");
    let perplexity = |of: &str| number(&audit, &format!("/{of}/perplexity"));
    assert!(perplexity("before/forget") < perplexity("after/forget"), "{audit}");
    assert!(perplexity("before/retain") > 1.0 && perplexity("after/test") < 92.0, "{audit}");
    assert!(audit["after"]["test"]["mean_iou"].is_null());
}

#[test]
fn the_plan_tells_the_axis_of_the_classes_and_what_is_made() {
    for (name, target) in [
        ("tags-lstm", "column `tags`: a class of 5 for each token of column `words`; labels -100 do not count"),
        ("words-decoder", "column `input_ids`, at each token the one that follows"),
    ] {
        let fixture = Fixture::new(name);
        let (code, said) = run(&mut fixture.command(&["--dry-run", "--offline"]));
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("classes along axis 2") && said.contains(target), "{said}");
        assert!(name == "tags-lstm" || said.contains("mask of the tokens of `input_ids`"), "{said}");
        assert!(!fixture.path("model.forgotten.onnx").exists());
    }
}

fn verifies(model: &Path, data: &Path, more: &[&str], axis: &str) {
    let mut command = program();
    command.arg("verify").arg(model).arg("--data").arg(data).args(["--samples", "32"]).args(more);
    let (code, said) = run(&mut command);
    assert_eq!(code, 0, "{said}");
    for word in [axis, "forward   onnxruntime agrees", "gradient  agrees along 3 directions"] {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

#[test]
fn verify_takes_classes_along_the_last_axis() {
    for name in ["tags-lstm", "words-decoder"] {
        let fixture = Fixture::new(name);
        verifies(&fixture.path("model.onnx"), &fixture.path("train.parquet"), &[], "classes along axis 2");
    }
}

/// A model of three classes for each pixel of 4×5 images, and rows for it; `mask` gives the class of a pixel of a row.
fn masks(folder: &TempDir, mask: impl Fn(i64, i64) -> Option<i64>) -> Command {
    let mut net = Net::new(17);
    net.input("image", DType::F32, &["batch", "1", "4", "5"]);
    net.weight("first", &[6, 1, 3, 3]);
    net.weight("second", &[3, 6, 1, 1]);
    net.node("Conv", &["image", "first"], &["h"], &[("pads", Given::Ints(&[1, 1, 1, 1]))]);
    net.node("Relu", &["h"], &["r"], &[]);
    net.node("Conv", &["r", "second"], &["scores"], &[]);
    net.output("scores", DType::F32, &["batch", "3", "4", "5"]);
    net.write(folder.path());
    for (name, ids) in [("train", 0..24), ("validation", 100..116), ("test", 200..216)] {
        let pixels: Vec<f32> = net.numbers(20 * (ids.end - ids.start) as usize);
        let mut images = FixedSizeListBuilder::new(Float32Builder::new(), 20);
        let mut labels = ListBuilder::new(FixedSizeListBuilder::new(Int64Builder::new(), 5));
        for (id, pixels) in ids.clone().zip(pixels.chunks(20)) {
            images.values().append_slice(pixels);
            images.append(true);
            let classes: Vec<i64> = (0..20).map_while(|at| mask(id, at)).collect();
            for line in classes.chunks_exact(5) {
                labels.values().values().append_slice(line);
                labels.values().append(true);
            }
            labels.append(true);
        }
        let table = Table::new().with("id", Int64Array::from_iter_values(ids)).with("image", images.finish());
        table.with("mask", labels.finish()).write(folder, &format!("{name}.parquet"));
    }
    let path = |name: &str| folder.path().join(name);
    let mut command = program();
    command.arg(path("net.onnx")).arg("--forget").arg(id_list(&[1, 4, 9]).write(folder, "forget.parquet"));
    command.arg("--data").arg(path("train.parquet")).arg("--validation").arg(path("validation.parquet"));
    command.arg("--test").arg(path("test.parquet")).args(["--target", "mask", "--offline"]);
    command
}

/// What an error says that ends a run with exit code 4.
fn refused(command: &mut Command, model: &Path, value: &str) -> String {
    let (code, said) = run(command);
    assert_eq!(code, 4, "{said}");
    assert!(!said.contains(value), "a value is shown: {said}");
    assert!(!model.with_file_name("model.forgotten.onnx").exists() && !model.with_extension("report").exists());
    said
}

#[test]
fn masks_have_their_classes_along_the_first_axis() {
    let folder = TempDir::new().unwrap();
    let mut command =
        masks(&folder, |id, at| Some((id + at) % 4 - 1).map(|class| if class < 0 { -100 } else { class }));
    let (code, said) = run(command.args(["--dry-run", "--accept-unknown-rows"]));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("classes along axis 1") && said.contains("a class of 3 for each of 20 positions"), "{said}");
    let path = |name: &str| folder.path().join(name);
    verifies(&path("net.onnx"), &path("train.parquet"), &["--target", "mask"], "classes along axis 1");
}

#[test]
fn masks_that_do_not_fit_the_pixels_are_named() {
    for (what, mask) in [
        (
            "a label is not one of the model's classes 0 to 2",
            (|id, at| Some(if (id, at) == (7, 11) { 7373 } else { 1 })) as fn(i64, i64) -> _,
        ),
        ("no position that counts", |id, _| Some(if id == 7 { -100 } else { 1 })),
        ("15 labels for 20 positions", |id, at| Some(1).filter(|_| id != 7 || at < 15)),
    ] {
        let folder = TempDir::new().unwrap();
        let mut command = masks(&folder, mask);
        command.arg("--accept-unknown-rows");
        let said = refused(&mut command, &folder.path().join("net.onnx"), "7373");
        assert!(said.contains("train.parquet: row 7 (counted from 0): label column `mask`: "), "{said}");
        assert!(said.contains(what), "{what}: {said}");
    }
}

/// A fixture's lists in `name` with those of one row changed.
fn changed(name: &'static str, row: usize, change: fn(&mut Vec<i64>)) -> impl Fn(&Fixture) {
    column(name, move |lists| {
        let lists = lists.as_list::<i32>();
        let mut out = ListBuilder::new(Int64Builder::new());
        for (at, list) in lists.iter().enumerate() {
            let mut values = list.unwrap().as_primitive::<Int64Type>().values().to_vec();
            if at == row {
                change(&mut values);
            }
            out.values().append_slice(&values);
            out.append(true);
        }
        Arc::new(out.finish())
    })
}

#[test]
fn labels_that_do_not_fit_a_row_are_named() {
    let tags: [(&str, fn(&mut Vec<i64>)); 4] = [
        ("a label is not one of the model's classes 0 to 4", |tags| tags[1] = 7373),
        ("a label is not one of the model's classes 0 to 4", |tags| tags[1] = -7373),
        ("no position that counts", |tags| tags.fill(-100)),
        ("labels for", |tags| tags.truncate(3)),
    ];
    let words: [(&str, fn(&mut Vec<i64>)); 2] = [
        ("no position that counts", |words| words.truncate(1)),
        ("outside the model's table", |words| words[1] = 7373),
    ];
    let tags = tags.map(|(what, change)| ("tags-lstm", "label column `tags`: ", what, changed("tags", 31, change)));
    let words =
        words.map(|(what, change)| ("words-decoder", "column `input_ids`", what, changed("input_ids", 31, change)));
    for (name, column, what, change) in tags.into_iter().chain(words) {
        let fixture = Fixture::new(name);
        change(&fixture);
        let said = refused(&mut fixture.command(&["--offline"]), &fixture.path("model.onnx"), "7373");
        assert!(said.contains(&format!("train.parquet: row 31 (counted from 0): {column}")), "{name}: {said}");
        assert!(said.contains(what), "{name}: {what}: {said}");
    }
}
