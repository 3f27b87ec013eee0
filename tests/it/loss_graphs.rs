//! Losses that are ONNX graphs: the examples, several targets, rows that are groups, and what is refused.

use crate::flow::program;
use dfdx::prelude::Cpu;
use onnx_forget::{
    data::{self, Batch, DataConfig, IGNORED, InputConfig, Reduction, TargetKind, Targets},
    graph::{
        Graph,
        build::build,
        loss::{self, Ask, LabelKind, LossKind, LossPlan, Term},
        parameters,
    },
    model::{Model, ModelOptions, Scores},
    onnx::{OnnxFile, ReadOptions},
    tensor::HostTensor,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What an example's model and configuration need.
type Columns = &'static [(&'static str, &'static [&'static str])];

/// Each example, and the columns of inputs that are groups.
const EXAMPLES: [(&str, Columns); 9] = [
    ("label_smoothing", &[]),
    ("focal", &[]),
    ("pinball", &[]),
    ("dice_cross_entropy", &[]),
    ("triplet", &[("x", &["item_0", "item_1", "item_2"])]),
    ("info_nce", &[("x", &["item_0", "item_1", "item_2", "item_3", "item_4"])]),
    ("bayesian_personalized_ranking", &[("user", &["user", "user"]), ("item", &["chosen", "other"])]),
    ("detection", &[]),
    ("ctc", &[]),
];

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn example(name: &str) -> PathBuf {
    root("examples/loss-graphs").join(name).with_extension("onnx")
}

fn opened(path: &Path) -> OnnxFile {
    OnnxFile::open(path, &ReadOptions::default()).unwrap()
}

fn model(graph: &Graph, plan: &LossPlan) -> Model<f32, Cpu> {
    let decisions = parameters::decide(graph, plan, &[], &[]).unwrap();
    Model::build(graph, plan, &decisions, ModelOptions::default(), Cpu::default()).unwrap()
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|&x| f64::from(x)).sum::<f64>() / values.len() as f64
}

#[test]
fn the_examples_have_pytorchs_losses_and_onnxruntimes_gradients() {
    let told: serde_json::Value =
        serde_json::from_slice(&std::fs::read(root("fixtures/loss-graphs/losses.json")).unwrap()).unwrap();
    assert_eq!(told.as_object().unwrap().len(), EXAMPLES.len());
    let folder = tempfile::tempdir().unwrap();
    for (name, groups) in EXAMPLES {
        let of = |suffix: &str| {
            root("fixtures/loss-graphs").join(told[name]["model"].as_str().unwrap()).with_extension(suffix)
        };
        let mut graph = build(&opened(&of("onnx"))).unwrap();
        let plan = loss::attach(&mut graph, Arc::new(opened(&example(name)))).unwrap();
        let columns = |columns: &[&str]| Some(columns.iter().map(|column| column.to_string()).collect());
        let input = |(input, names): &(&str, &[&str])| {
            (input.to_string(), InputConfig { columns: columns(names), ..InputConfig::default() })
        };
        let config = DataConfig { inputs: groups.iter().map(input).collect(), ..DataConfig::default() };
        let signature = onnx_forget::run::signature(&graph, &plan);
        let rows = data::open_rows(&config, &of("parquet").into(), &signature).unwrap().rows;
        let all: Vec<usize> = (0..rows.len()).collect();
        let scores = model(&graph, &plan).scores(&rows.batch(&all).unwrap()).unwrap();
        let (ours, theirs) = (mean(&scores.losses), told[name]["loss"].as_f64().unwrap());
        assert!((ours - theirs).abs() < 1e-5 * (1.0 + theirs.abs()), "{name}: {ours} for {theirs}");

        let toml = folder.path().join(name).with_extension("toml");
        let tables = groups.iter().map(|(input, columns)| format!("[inputs.{input}]\ncolumns = {columns:?}\n"));
        std::fs::write(&toml, tables.collect::<String>()).unwrap();
        let mut program = program();
        program.arg("verify").arg(of("onnx")).arg("--loss-graph").arg(example(name)).arg("--config").arg(&toml);
        let output = program.arg("--data").arg(of("parquet")).args(["--samples", "12"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && text.contains("gradient  agrees"), "{name}: {text}");
    }
}

/// The graph of `fixtures/heads/NAME`.
fn heads(name: &str) -> Graph {
    build(&opened(&root("fixtures/heads").join(name))).unwrap()
}

fn rows(dims: &[usize]) -> HostTensor {
    let n = dims.iter().product::<usize>();
    HostTensor::new(dims, (0..n).map(|i| ((i * 37 % 23) as f32 - 11.0) / 7.0).collect()).unwrap()
}

/// The losses of rows under one plan.
fn native(graph: &Graph, plan: &LossPlan, x: &HostTensor, targets: Targets) -> Scores {
    let batch = Batch { inputs: BTreeMap::from([("x".to_string(), x.clone())]), targets };
    model(graph, plan).scores(&batch).unwrap()
}

/// The losses of rows under several targets, whose labels are fed by these names.
fn together(whole: &Graph, terms: &[Term<'_>], x: &HostTensor, labels: &[(&str, HostTensor)]) -> (Scores, Vec<String>) {
    let mut graph = whole.clone();
    let plan = loss::attach_made(&mut graph, &loss::joined(whole, terms).unwrap()).unwrap();
    let fed = labels.iter().map(|(name, tensor)| (name.to_string(), tensor.clone()));
    let inputs = fed.chain([("x".to_string(), x.clone())]).collect();
    let names = plan.loss_graph.as_ref().unwrap().figure_names();
    let batch = Batch { inputs, targets: Targets::Inputs(x.dims()[0]) };
    (model(&graph, &plan).scores(&batch).unwrap(), names)
}

fn close(ours: f32, theirs: f32) {
    assert!((ours - theirs).abs() < 1e-5 * (1.0 + theirs.abs()), "{ours} for {theirs}");
}

#[test]
fn several_targets_are_the_weighted_sum_of_each() {
    let (graph, x, n) = (heads("faces.onnx"), rows(&[5, 6]), 5);
    let ask = |output: &str, kind: LabelKind, loss: Option<LossKind>| {
        let ask = Ask { output: Some(output.into()), labels: kind.into(), loss, ..Ask::default() };
        loss::plan_for(&graph, &ask).unwrap()
    };
    let (mood, age) = (ask("mood", LabelKind::Class, None), ask("age", LabelKind::Value, None));
    let gender = ask("gender", LabelKind::MultiLabel, Some(LossKind::Bce));
    let classes = vec![3, 0, 1, 1, 2];
    let (years, labels) = (vec![0.5, -1.0, 2.0, 0.0, 0.25], vec![1., 0., 0., 1., 1., 1., 0., 0., 1., 0.]);
    let of = |plan, kind, labels: &str, weight| Term { plan, kind, labels: labels.into(), weight };
    let terms = [
        of(&mood, TargetKind::Class, "a", 1.0),
        of(&age, TargetKind::Value, "b", 0.25),
        of(&gender, TargetKind::MultiLabel, "c", 2.0),
    ];
    let fed = [
        ("a", HostTensor::new(&[n], classes.clone()).unwrap()),
        ("b", HostTensor::new(&[n, 1], years.clone()).unwrap()),
        ("c", HostTensor::new(&[n, 2], labels.clone()).unwrap()),
    ];
    let (sum, names) = together(&graph, &terms, &x, &fed);
    assert_eq!(names, ["loss of mood", "accuracy of mood", "loss of age", "loss of gender", "accuracy of gender"]);
    let each = [
        native(&graph, &mood, &x, Targets::Classes(classes)),
        native(&graph, &age, &x, Targets::Values { width: 1, values: years }),
        native(&graph, &gender, &x, Targets::Values { width: 2, values: labels }),
    ];
    for row in 0..n {
        let of = |at: usize| each[at].losses[row];
        close(sum.losses[row], of(0) + 0.25 * of(1) + 2.0 * of(2));
        [(0, 0), (2, 1), (3, 2)]
            .iter()
            .for_each(|&(figure, at)| close(sum.figures[row * names.len() + figure], of(at)));
    }
}

#[test]
fn labels_with_positions_are_padded_and_ignored_as_elsewhere() {
    let (graph, x) = (heads("tags.onnx"), rows(&[3, 5, 6]));
    // The last positions of all rows are padding.
    let (ends, classes) = (vec![0, 4, 6, 9], vec![0, 2, 1, 1, IGNORED, 2, 0, 0, IGNORED]);
    let padded = vec![0, 2, 1, 1, IGNORED, 2, IGNORED, IGNORED, 0, 0, IGNORED, IGNORED];
    for reduction in [Reduction::Mean, Reduction::Sum] {
        let ask = Ask { labels: LabelKind::Positions.into(), class_axis: Some(-1), reduction, ..Ask::default() };
        let plan = loss::plan_for(&graph, &ask).unwrap();
        let alone = native(&graph, &plan, &x, Targets::Positions { ends: ends.clone(), classes: classes.clone() });
        let term = Term { plan: &plan, kind: TargetKind::Class, labels: "tags of words".into(), weight: 3.0 };
        let labels = HostTensor::new(&[3, 4], padded.clone()).unwrap();
        let (sum, names) = together(&graph, &[term], &x, &[("tags of words", labels)]);
        assert_eq!(names, ["loss of tags", "accuracy of tags"]);
        alone.losses.iter().zip(&sum.losses).for_each(|(&one, &three)| close(three, 3.0 * one));
        assert!(sum.figures.iter().skip(1).step_by(2).all(|share| (0.0..=1.0).contains(share)));
        let counted = [4.0, 1.0, 2.0];
        let mean = native(
            &graph,
            &LossPlan { reduction: Reduction::Mean, ..plan.clone() },
            &x,
            Targets::Positions { ends: ends.clone(), classes: classes.clone() },
        );
        if reduction == Reduction::Sum {
            assert!(alone.summed);
            (0..3).for_each(|row| close(alone.losses[row], counted[row] * mean.losses[row]));
        }
    }
}

/// Exit code, and stdout and stderr together, of a dry run on the rows of `fixtures/heads`.
fn dry_run(model: &Path, config: &str, flags: &[&str]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let toml = folder.path().join("c.toml");
    std::fs::write(&toml, config).unwrap();
    let rows = |name: &str| root("fixtures/heads").join(name);
    let mut program = program();
    program.arg(model).arg("--forget").arg(rows("forget.parquet")).arg("--data").arg(rows("train.parquet"));
    program.arg("--test").arg(rows("heldout.parquet")).arg("--config").arg(&toml);
    let output = program.args(["--dry-run", "--offline", "--accept-unknown-rows"]).args(flags).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains("panicked"), "{text}");
    (output.status.code().unwrap(), text)
}

#[test]
fn each_target_names_its_output_and_its_column() {
    let faces = root("fixtures/heads/faces.onnx");
    let mood = "[[target]]\noutput = \"mood\"\ncolumn = \"mood\"\n";
    let years = "[[target]]\noutput = \"age\"\ncolumn = \"years\"\nkind = \"value\"\nweight = 0.01\n";
    let (code, text) = dry_run(&faces, &format!("{mood}{years}"), &[]);
    assert!(code == 0 && text.contains("the sum of 2 targets") && text.contains("target of age"), "{text}");
    for (config, flags, said) in [
        (format!("{mood}[[target]]\noutput = \"age\"\n"), &[][..], "names no label"),
        (format!("{mood}[[target]]\ncolumn = \"years\"\n"), &[], "names no output"),
        (format!("{mood}{years}").replace("0.01", "-1"), &[], "`weight` has to be finite and above 0"),
        (format!("{mood}{years}"), &["--loss", "mse"], "leave one out"),
        (format!("{mood}{years}"), &["--target", "mood"], "leave one out"),
        (format!("{mood}{years}").replace("output = \"age\"", "output = \"ages\""), &[], "the outputs are `age`"),
    ] {
        let (code, text) = dry_run(&faces, &config, flags);
        assert!([2, 4].contains(&code) && text.contains(said), "{said}: exit code {code}\n{text}");
    }
    // One table in brackets of two is the only target.
    let (code, text) = dry_run(&faces, mood, &[]);
    assert!(code == 0 && text.contains("cross-entropy on the logits `mood`"), "{text}");
}

#[test]
fn a_loss_graph_that_does_not_fit_is_named_with_what_is_wrong() {
    let faces = root("fixtures/heads/faces.onnx");
    let (code, text) = dry_run(&faces, "", &["--loss-graph", example("focal").to_str().unwrap()]);
    assert!(code == 2 && text.contains("none of its inputs") && text.contains("`mood` [batch, 4]"), "{text}");
    let classes = root("fixtures/loss-graphs/classes.onnx");
    let folder = tempfile::tempdir().unwrap();
    let renamed = |from: &str, to: &str| {
        let (path, text) = (folder.path().join(to), std::fs::read(example("focal")).unwrap());
        let positions: Vec<usize> = (0..text.len()).filter(|&at| text[at..].starts_with(from.as_bytes())).collect();
        let mut text = text;
        positions.into_iter().for_each(|at| text[at..at + from.len()].copy_from_slice(to.as_bytes()));
        std::fs::write(&path, text).unwrap();
        path
    };
    let (code, text) = dry_run(&classes, "", &["--loss-graph", renamed("label", "grade").to_str().unwrap()]);
    assert!(code == 4 && text.contains("`grade` is neither a value of the model nor a column"), "{text}");
    let (code, text) = dry_run(&classes, "", &["--loss-graph", "missing.onnx"]);
    assert!(code == 3 && text.contains("missing.onnx"), "{text}");
    let triplet = example("triplet");
    let (code, text) =
        dry_run(&root("fixtures/loss-graphs/embedding.onnx"), "", &["--loss-graph", triplet.to_str().unwrap()]);
    assert!(code == 4 && text.contains("`x`") && text.contains("columns = "), "{text}");
}
