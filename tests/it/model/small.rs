//! Small graphs written here: losses, weights, dropout, and what is refused.

use dfdx::prelude::Cpu;
use onnx_forget::{
    Error, Result,
    data::{Batch, Targets},
    graph::{
        Attr, Dim, Graph, Initializer, Node, TypeInfo, ValueId, ValueInfo,
        loss::{LossKind, LossPlan},
        parameters::Decision,
    },
    model::{Model, ModelOptions},
    ops,
    tensor::{DType, HostTensor},
    unlearn::{BatchIter, Batches, StepSize, optim::AdamW},
};
use std::collections::BTreeMap;

/// Rows that a function makes, given the first one's number, how many, and every which of them has a wrong label: 8 to forget, 16
/// others a step, and so many to validate.
pub(super) struct InTurn(pub(super) fn(usize, usize, usize) -> BatchIter, pub(super) usize);

impl Batches for InTurn {
    fn forget(&mut self, epoch: usize) -> Result<BatchIter> {
        Ok((self.0)(epoch % 3, 8, 0))
    }

    fn retain(&mut self, pass: usize) -> Result<BatchIter> {
        Ok((self.0)(100 + pass, 16, 5))
    }

    fn validation(&mut self) -> Result<BatchIter> {
        Ok((self.0)(300, self.1, 4))
    }
}

/// A graph in the making, with values by name.
#[derive(Default)]
pub(super) struct Builder(Graph);

impl Builder {
    fn value(&mut self, name: &str) -> ValueId {
        if let Some(&id) = self.0.by_name.get(name) {
            return id;
        }
        let id = ValueId(self.0.values.len());
        self.0.values.push(ValueInfo { name: name.into(), ..ValueInfo::default() });
        self.0.by_name.insert(name.into(), id);
        id
    }

    pub(super) fn input(mut self, name: &str, dtype: DType, dims: &[usize]) -> Self {
        let id = self.value(name);
        let dims = [Dim::Symbol("rows".into())].into_iter().chain(dims.iter().map(|&d| Dim::Fixed(d))).collect();
        self.0.values[id.0].ty = Some(TypeInfo { dtype: Some(dtype), dims: Some(dims) });
        self.0.inputs.push(id);
        self
    }

    pub(super) fn stored(mut self, name: &str, tensor: HostTensor) -> Self {
        let id = self.value(name);
        self.0.initializers.insert(id, Initializer { tensor: tensor.into(), stored_as: Some(name.into()) });
        self
    }

    pub(super) fn node(mut self, op: &str, inputs: &[&str], output: &str, attrs: &[(&str, Attr)]) -> Self {
        let inputs = inputs.iter().map(|n| Some(self.value(n))).collect();
        let outputs = vec![Some(self.value(output))];
        self.0.nodes.push(Node {
            name: format!("{op} of {output}"),
            domain: String::new(),
            op_type: op.into(),
            opset: 17,
            inputs,
            outputs,
            attrs: attrs.iter().map(|(k, v)| (k.to_string(), v.clone())).collect(),
        });
        self
    }

    pub(super) fn output(mut self, name: &str) -> Graph {
        let id = self.value(name);
        self.0.outputs.push(id);
        self.0
    }
}

pub(super) fn plan(graph: &Graph, kind: LossKind) -> LossPlan {
    LossPlan { output: Some(graph.outputs[0]), ..LossPlan::new(kind, graph.outputs[0]) }
}

pub(super) fn trained(graph: &Graph, names: &[&str]) -> Vec<Decision> {
    let decision = |name: &&str| {
        let value = graph.by_name[*name];
        let tensor = &graph.initializers[&value].tensor;
        let (dims, dtype) = (tensor.dims().to_vec(), tensor.dtype());
        let (reason, source) = (String::new(), "test");
        Decision { value, name: name.to_string(), dims, dtype, trainable: true, reason, source, uses: 1, on_path: true }
    };
    names.iter().map(decision).collect()
}

pub(super) fn batch(x: HostTensor, targets: Targets) -> Batch {
    Batch { inputs: BTreeMap::from([("x".to_string(), x)]), targets }
}

pub(super) fn floats(dims: &[usize], values: &[f32]) -> HostTensor {
    HostTensor::new(dims, values.to_vec()).unwrap()
}

/// scores = x·w, so that rows of x and the unit matrix for w give the scores themselves.
fn linear(dims: &[usize]) -> Graph {
    Builder::default()
        .input("x", DType::F32, dims)
        .stored("w", floats(&[], &[1.0]))
        .node("Mul", &["x", "w"], "y", &[])
        .output("y")
}

fn build(graph: &Graph, plan: &LossPlan) -> Model<f64, Cpu> {
    Model::build(graph, plan, &trained(graph, &["w"]), ModelOptions::default(), Cpu::default()).unwrap()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6
}

fn entropy(logits: &[f64], class: usize) -> f64 {
    logits.iter().map(|x| x.exp()).sum::<f64>().ln() - logits[class]
}

#[test]
fn class_weights_and_ignored_labels_give_the_mean_of_onnx() {
    let graph = linear(&[3]);
    let mut plan = plan(&graph, LossKind::CrossEntropy);
    (plan.class_weights, plan.ignore_index) = (Some(vec![0.5, 2.0, 1.0]), Some(-100));
    let rows = [[1.0, 2.0, 0.0], [0.5, -1.0, 3.0], [0.0, 0.0, 1.0]];
    let x = floats(&[3, 3], &rows.concat().iter().map(|&v| v as f32).collect::<Vec<_>>());
    let (model, batch) = (build(&graph, &plan), batch(x, Targets::Classes(vec![1, -100, 0])));
    let forward = model.forward(&batch, None).unwrap();
    let (first, last) = (entropy(&rows[0], 1), entropy(&rows[2], 0));
    let losses = forward.losses.to_vec();
    assert!(close(losses[0], first) && losses[1] == 0.0 && close(losses[2], last));
    assert_eq!(forward.losses.weights, [2.0, 0.0, 0.5]);
    assert!(close(forward.losses.mean(), (2.0 * first + 0.5 * last) / 2.5));
}

#[test]
fn positions_of_a_row_are_averaged() {
    let graph = linear(&[2, 3]);
    let plan = plan(&graph, LossKind::CrossEntropy);
    let values = [1.0, 2.0, 3.0, 0.5, 0.0, -1.0];
    let x = floats(&[1, 2, 3], &values.map(|v| v as f32));
    let targets = Targets::Values { width: 3, values: vec![0.0, 1.0, 0.0] };
    let scores = build(&graph, &plan).scores(&batch(x, targets)).unwrap();
    let each = [entropy(&[1.0, 0.5], 0), entropy(&[2.0, 0.0], 1), entropy(&[3.0, -1.0], 0)];
    assert!(close(scores.losses[0].into(), each.iter().sum::<f64>() / 3.0));
    assert_eq!((scores.width, scores.logits.len()), (6, 6));
}

#[test]
fn one_logit_is_binary_and_labels_are_averaged() {
    let one = linear(&[]);
    let logit = |x: f64, t: f64| x.max(0.0) - x * t + (-x.abs()).exp().ln_1p();
    for kind in [LossKind::CrossEntropy, LossKind::Bce] {
        let mut plan = plan(&one, kind);
        plan.ignore_index = None;
        let targets = Targets::Classes(vec![1, 0]);
        if kind == LossKind::CrossEntropy {
            // (n) has no class axis: only one logit a row can be meant.
            let scores = build(&one, &plan).scores(&batch(floats(&[2], &[0.7, -3.0]), targets)).unwrap();
            assert!(close(scores.losses[0].into(), logit(0.7, 1.0)));
        } else {
            let (model, batch) = (build(&one, &plan), batch(floats(&[2], &[0.7, -3.0]), targets));
            let forward = model.forward(&batch, None).unwrap();
            assert!(close(forward.losses.mean(), (logit(0.7, 1.0) + logit(-3.0, 0.0)) / 2.0));
        }
    }
    let many = linear(&[2]);
    let targets = Targets::Values { width: 2, values: vec![1.0, 0.0] };
    let scores =
        build(&many, &plan(&many, LossKind::Bce)).scores(&batch(floats(&[1, 2], &[0.7, -3.0]), targets)).unwrap();
    assert!(close(scores.losses[0].into(), (logit(0.7, 1.0) + logit(-3.0, 0.0)) / 2.0));
}

#[test]
fn squared_error_is_the_mean_over_values() {
    let graph = linear(&[2]);
    let targets = Targets::Values { width: 2, values: vec![1.0, 4.0] };
    let scores =
        build(&graph, &plan(&graph, LossKind::Mse)).scores(&batch(floats(&[1, 2], &[2.0, 2.0]), targets)).unwrap();
    assert!(close(scores.losses[0].into(), 2.5));
}

#[test]
fn labels_that_do_not_fit_are_the_datas_fault_and_not_printed() {
    let graph = linear(&[3]);
    let model = build(&graph, &plan(&graph, LossKind::CrossEntropy));
    let x = || floats(&[1, 3], &[0.0; 3]);
    for targets in [
        Targets::Classes(vec![777]),
        Targets::Classes(vec![-777]),
        Targets::Values { width: 1, values: vec![0.777] },
        Targets::Values { width: 2, values: vec![0.0, 777.0] },
    ] {
        match model.scores(&batch(x(), targets)) {
            Err(Error::Data(message)) => assert!(!message.contains("777"), "{message}"),
            other => panic!("{other:?}"),
        }
    }
    let binary = build(&graph, &plan(&graph, LossKind::Bce));
    assert!(matches!(binary.scores(&batch(x(), Targets::Classes(vec![1]))), Err(Error::Data(_))));
    let wrong = batch(floats(&[1, 4], &[0.0; 4]), Targets::Classes(vec![1]));
    assert!(matches!(model.scores(&wrong), Err(Error::Data(_))), "the input has another shape");
    let missing = Batch { inputs: BTreeMap::new(), targets: Targets::Classes(vec![1]) };
    assert!(matches!(model.scores(&missing), Err(Error::Data(_))));
}

#[test]
fn dropout_drops_only_where_asked_for_and_can_be_repeated() {
    let graph = Builder::default()
        .input("x", DType::F32, &[64])
        .stored("w", floats(&[], &[1.0]))
        .stored("ratio", floats(&[], &[0.25]))
        .stored("training", HostTensor::scalar(true))
        .node("Mul", &["x", "w"], "y", &[])
        .node("Dropout", &["y", "ratio", "training"], "z", &[])
        .output("z");
    let plan = plan(&graph, LossKind::Mse);
    let ones = || batch(floats(&[2, 64], &[1.0; 128]), Targets::Values { width: 64, values: vec![0.0; 128] });
    let model = |dropout: bool, seed: u64| {
        let options = ModelOptions { dropout, seed, ..ModelOptions::default() };
        Model::<f64, Cpu>::build(&graph, &plan, &trained(&graph, &["w"]), options, Cpu::default()).unwrap()
    };
    let losses = |model: &Model<f64, Cpu>| model.forward(&ones(), None).unwrap().losses.to_vec();
    assert_eq!(losses(&model(false, 1)), [1.0, 1.0], "off, whatever the file's flag says");
    let dropping = model(true, 1);
    let (first, second) = (losses(&dropping), losses(&dropping));
    assert_ne!(first, second, "each pass draws its own mask");
    // Kept elements are 1/(1 − ratio), so a loss is their share times 16/9.
    let share = (first[0] + first[1]) / 2.0 * 9.0 / 16.0;
    assert!((0.6..0.9).contains(&share), "{share} of the elements are kept, not 3/4");
    let again = model(true, 1);
    assert_eq!((losses(&again), losses(&again)), (first.clone(), second.clone()));
    assert_ne!(losses(&model(true, 2)), first, "another seed");
    assert_eq!(dropping.scores(&ones()).unwrap().losses, [1.0, 1.0], "never in inference");
}

#[test]
fn a_step_is_in_proportion_to_the_weights_of_its_channel() {
    let norms = [0.03, 0.5, 20.0];
    let weights: Vec<f32> = norms.iter().flat_map(|norm| [0.6, -0.8].map(|x: f32| x * norm)).collect();
    let graph = Builder::default()
        .input("x", DType::F32, &[2, 2])
        .stored("w", floats(&[3, 2, 1], &weights))
        .stored("b", floats(&[1, 3, 1], &[0.0; 3]))
        .node("Conv", &["x", "w"], "y", &[])
        .node("Add", &["y", "b"], "y + b", &[])
        .node("GlobalAveragePool", &["y + b"], "z", &[])
        .node("Flatten", &["z"], "scores", &[])
        .output("scores");
    let plan = plan(&graph, LossKind::Mse);
    let moved = |step_size, decay| {
        let (trained, options) = (trained(&graph, &["w", "b"]), ModelOptions::default());
        let mut model = Model::<f64, Cpu>::build(&graph, &plan, &trained, options, Cpu::default()).unwrap();
        let x = floats(&[1, 2, 2], &[1.0, -2.0, 0.5, 0.25]);
        let batch = batch(x, Targets::Values { width: 3, values: vec![7.0, 8.0, 9.0] });
        let mut grads = model.forward(&batch, None).unwrap().backward(1.0).unwrap();
        let before: Vec<Vec<f64>> = model.parameters().iter().map(|p| p.tensor.to_vec()).collect();
        AdamW::new(&model, decay, step_size).unwrap().step(&mut model, &mut grads, 1e-3).unwrap();
        let after = model.parameters().iter().map(|p| p.tensor.to_vec());
        let moved = |(after, before): (Vec<f64>, &Vec<f64>)| after.iter().zip(before).map(|(a, b)| a - b).collect();
        after.zip(&before).map(moved).collect::<Vec<Vec<f64>>>()
    };
    let (published, fitted) = (moved(StepSize::Published, 0.0), moved(StepSize::Fitted, 0.0));
    for (tensor, channel) in [(0, 2), (1, 1)] {
        for (i, (published, fitted)) in published[tensor].iter().zip(&fitted[tensor]).enumerate() {
            assert!(close(published.abs(), 1e-3));
            assert!(close(*fitted, published * f64::from(norms[i / channel])), "{fitted} for {published} at {i}");
        }
    }
    // The decay is in proportion to the weight by itself.
    for ((fitted, decayed), weight) in fitted[0].iter().zip(&moved(StepSize::Fitted, 0.1)[0]).zip(&weights) {
        assert!(close(decayed - fitted, -1e-4 * f64::from(*weight)));
    }
}

#[test]
fn all_unsupported_operators_are_named_at_once() {
    let graph = Builder::default()
        .input("x", DType::F32, &[2])
        .node("NonMaxSuppression", &["x"], "a", &[])
        .node("Imagined", &["a"], "b", &[])
        .node("Imagined", &["b"], "c", &[])
        .output("c");
    let error = Model::<f32, Cpu>::inference(&graph, ModelOptions::default(), Cpu::default()).err().unwrap();
    let text = error.to_string();
    assert_eq!(error.exit_code(), 3);
    for part in ["NonMaxSuppression-17 (1 node: ", "Imagined-17 (2 nodes: Imagined of b, Imagined of c)"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(ops::unsupported(&graph).iter().map(|u| u.count).sum::<usize>(), 3);
}

#[test]
fn a_missing_gradient_is_an_error_that_names_the_node() {
    let fmod = [("fmod", Attr::Int(1))];
    let start = || {
        Builder::default()
            .input("x", DType::F32, &[2])
            .stored("w", floats(&[], &[3.0]))
            .stored("c", floats(&[], &[2.0]))
    };
    let on = start().node("Mul", &["x", "w"], "y", &[]).node("Mod", &["y", "c"], "z", &fmod).output("z");
    let built = Model::<f32, Cpu>::build(
        &on,
        &plan(&on, LossKind::Mse),
        &trained(&on, &["w"]),
        ModelOptions::default(),
        Cpu::default(),
    );
    match built.err().unwrap() {
        Error::Untrainable(text) => assert!(text.contains("Mod of z") && text.contains("Mod-17"), "{text}"),
        other => panic!("{other}"),
    }
    let off = start().node("Mod", &["x", "c"], "y", &fmod).node("Mul", &["y", "w"], "z", &[]).output("z");
    assert!(
        Model::<f32, Cpu>::build(
            &off,
            &plan(&off, LossKind::Mse),
            &trained(&off, &["w"]),
            ModelOptions::default(),
            Cpu::default()
        )
        .is_ok()
    );
}

#[test]
fn integers_stop_a_gradient() {
    let graph = Builder::default()
        .input("x", DType::F32, &[2])
        .stored("w", floats(&[], &[3.0]))
        .node("Mul", &["x", "w"], "y", &[])
        .node("Round", &["y"], "z", &[])
        .output("z");
    let built = Model::<f32, Cpu>::build(
        &graph,
        &plan(&graph, LossKind::Mse),
        &trained(&graph, &["w"]),
        ModelOptions::default(),
        Cpu::default(),
    );
    assert!(matches!(built.err(), Some(Error::Untrainable(_))));
}

#[test]
fn attributes_and_inputs_are_checked_before_anything_runs() {
    let refused = |op: &str, inputs: &[&str], attrs: &[(&str, Attr)]| {
        let graph = Builder::default().input("x", DType::F32, &[2]).node(op, inputs, "y", attrs).output("y");
        let error = Model::<f32, Cpu>::inference(&graph, ModelOptions::default(), Cpu::default()).err();
        match error {
            Some(Error::Node { node, op: named, problem }) => {
                assert!(node.contains(op) && named.contains("17"), "{node} {named}");
                problem
            }
            other => panic!("{:?}", other.map(|e| e.to_string())),
        }
    };
    assert!(refused("Relu", &["x"], &[("alpha", Attr::Int(1))]).contains("alpha"));
    assert!(refused("Relu", &["x", "x"], &[]).contains("2 inputs"));
    assert!(refused("LeakyRelu", &["x"], &[("alpha", Attr::Int(1))]).contains("not a float"));
    assert!(refused("Cast", &["x"], &[("to", Attr::Int(8))]).contains("element type 8"));
}

#[test]
fn an_integer_divided_by_zero_names_the_node() {
    let graph = Builder::default()
        .input("x", DType::I64, &[])
        .stored("zero", HostTensor::scalar(0i64))
        .node("Div", &["x", "zero"], "y", &[])
        .output("y");
    let model = Model::<f32, Cpu>::inference(&graph, ModelOptions::default(), Cpu::default()).unwrap();
    let inputs = BTreeMap::from([("x".to_string(), HostTensor::vector(vec![777i64]))]);
    let text = model.outputs(&inputs).unwrap_err().to_string();
    assert!(text.contains("Div of y") && !text.contains("777"), "{text}");
}

#[test]
fn an_index_out_of_range_is_not_printed() {
    let graph = Builder::default()
        .input("x", DType::I64, &[])
        .stored("table", floats(&[2, 3], &[0.0; 6]))
        .node("Gather", &["table", "x"], "y", &[])
        .output("y");
    let model = Model::<f32, Cpu>::inference(&graph, ModelOptions::default(), Cpu::default()).unwrap();
    let inputs = BTreeMap::from([("x".to_string(), HostTensor::vector(vec![777i64]))]);
    let text = model.outputs(&inputs).unwrap_err().to_string();
    assert!(text.contains("Gather of y") && !text.contains("777"), "{text}");
}

#[test]
fn results_do_not_depend_on_the_extent_of_the_batch() {
    let graph = Builder::default()
        .input("x", DType::F32, &[3])
        .stored("w", floats(&[], &[2.0]))
        .stored("one", HostTensor::vector(vec![1i64]))
        .stored("first", HostTensor::vector(vec![0i64]))
        .node("Shape", &["x"], "shape", &[])
        .node("Gather", &["shape", "first"], "rows", &[])
        .node("Concat", &["rows", "one"], "wide", &[("axis", Attr::Int(0))])
        .node("ConstantOfShape", &["wide"], "zeros", &[])
        .node("Mul", &["x", "w"], "y", &[])
        .node("Concat", &["y", "zeros"], "z", &[("axis", Attr::Int(1))])
        .output("z");
    let model = build(&graph, &plan(&graph, LossKind::CrossEntropy));
    let rows = [[0.1f32, 0.2, 0.3], [1.0, -1.0, 0.5], [2.0, 0.0, -2.0]];
    let classes = vec![0, 3, 2];
    let all = model.scores(&batch(floats(&[3, 3], &rows.concat()), Targets::Classes(classes.clone()))).unwrap();
    for (i, row) in rows.iter().enumerate() {
        let one = model.scores(&batch(floats(&[1, 3], row), Targets::Classes(vec![classes[i]]))).unwrap();
        assert_eq!(one.losses[0], all.losses[i]);
    }
    assert_eq!(all.width, 4);
}
