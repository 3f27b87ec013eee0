//! Fast CPU kernels against PyTorch's operators: `cargo bench --bench kernels -- [--threads N] [--torch PYTHON] [NAME]`.
//!
//! Prints a Markdown table of milliseconds, forward and backward together (AdamW: a step), the least of many runs. With `--torch`, a
//! Python that has torch runs the same shapes in turns with ours (`kernels.py`).

// The table of cases and its readers are one file.
#![allow(clippy::indexing_slicing, clippy::panic)]

use dfdx::prelude::Cpu;
use onnx_forget::{
    Error, Result,
    data::{Batch, Targets},
    engine::{Context, KernelChoice, Tensor, Value, keep_memory, scope},
    graph::{
        Attr, Graph, Initializer, Node, ValueId, ValueInfo,
        loss::{LossKind, LossPlan},
        parameters::Decision,
    },
    kernels::{Backend, BatchNormArgs, Binary, ConvArgs, ConvSpec, LayerNormArgs, PoolSpec, Reduce, Unary},
    limits::Limits,
    model::{Model, ModelOptions},
    ops::{self, Inputs, Mode, NodeContext},
    tensor::{DType, HostTensor},
    unlearn::{StepSize, optim::AdamW},
};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

type Cx = Context<f32, Cpu>;
type F32 = Tensor<f32, Cpu>;

/// Operators with their sizes, as `kernels.py` reads them too. Convolutions: n c h w, m, kernel, stride, pad, groups;
/// attention: heads of all rows, length, width; LSTM: length, rows, inputs, hidden; losses: rows, classes or values.
const CASES: &[&str] = &[
    "conv 64 3 32 32 64 3 1 1 1",
    "conv 64 64 32 32 64 3 1 1 1",
    "conv 64 64 32 32 128 3 2 1 1",
    "conv 64 128 16 16 128 3 1 1 1",
    "conv 64 256 8 8 256 3 1 1 1",
    "conv 64 128 16 16 256 3 2 1 1",
    "conv 64 512 4 4 512 3 1 1 1",
    "conv 64 64 16 16 128 3 1 1 1",
    "conv 64 128 8 8 256 3 1 1 1",
    "conv 64 512 2 2 512 3 1 1 1",
    "conv 64 64 32 32 128 1 2 0 1",
    "conv 64 256 8 8 512 1 1 0 1",
    "conv 64 96 32 32 96 3 1 1 96",
    "conv 64 144 32 32 144 3 2 1 144",
    "conv 64 3 64 64 32 3 2 1 1",
    "conv 64 16 32 32 96 1 1 0 1",
    "conv 64 144 16 16 24 1 1 0 1",
    "conv 64 960 2 2 160 1 1 0 1",
    "conv 64 192 8 8 192 3 1 1 192",
    "conv 64 960 2 2 960 3 1 1 960",
    "conv 128 3 32 32 192 4 4 0 1",
    "conv 1 64 56 56 64 3 1 1 1",
    "matmul 1 4096 256 1024",
    "matmul 1 256 512 512",
    "matmul 1 256 100 512",
    "matmul 1 8320 192 768",
    "matmul 256 64 64 64",
    "matmul 384 65 64 65",
    "attention 256 64 64",
    "attention 384 65 64",
    "lstm 40 64 128 128",
    "relu 4194304",
    "relu6 4194304",
    "gelu 4194304",
    "gelu_tanh 4194304",
    "sigmoid 4194304",
    "tanh 4194304",
    "add 64 64 32 32",
    "bias 4096 1024",
    "batch_norm 64 64 32 32",
    "batch_norm 64 512 4 4",
    "layer_norm 4096 256",
    "layer_norm 8320 192",
    "softmax 16384 64",
    "softmax 24960 65",
    "cross_entropy 256 10",
    "cross_entropy 4096 8000",
    "mse 4096 256",
    "max_pool 64 64 32 32",
    "sum 64 64 1024",
    "embedding 8000 256 4096",
    "permute 64 64 4 64",
    "adamw 4194304",
];

fn kernel(name: &str, d: &[usize], cx: &mut Cx, x: &[F32]) -> Result<F32> {
    match name {
        "conv" => {
            let spec =
                ConvSpec { strides: vec![d[6]; 2], dilations: vec![1; 2], pads: vec![[d[7]; 2]; 2], groups: d[8] };
            Cpu::conv(cx, ConvArgs::plain(&x[0], &x[1], None, &spec))
        }
        "matmul" => Cpu::matmul(cx, &x[0], &x[1], false, false),
        "relu" => Cpu::unary(cx, Unary::Relu, &x[0]),
        "attention" => {
            let scores = Cpu::matmul(cx, &x[0], &x[1], false, true)?;
            let scores = Cpu::unary(cx, Unary::MulScalar(1.0 / (d[2] as f64).sqrt()), &scores)?;
            let shares = Cpu::softmax(cx, &scores, 2)?;
            Cpu::matmul(cx, &shares, &x[2], false, false)
        }
        "lstm" => lstm(d[3], cx, x),
        "relu6" => Cpu::unary(cx, Unary::Clip { min: 0.0, max: 6.0 }, &x[0]),
        "gelu" => Cpu::unary(cx, Unary::Gelu { tanh: false }, &x[0]),
        "gelu_tanh" => Cpu::unary(cx, Unary::Gelu { tanh: true }, &x[0]),
        "sigmoid" => Cpu::unary(cx, Unary::Sigmoid, &x[0]),
        "tanh" => Cpu::unary(cx, Unary::Tanh, &x[0]),
        "add" | "bias" => Cpu::binary(cx, Binary::Add, &x[0], &x[1]),
        "batch_norm" => {
            let constant = cx.upload(vec![d[1]], vec![1.0; d[1]])?;
            let statistics = Some([&constant, &constant]);
            Cpu::batch_norm(cx, BatchNormArgs { x: &x[0], scale: &x[1], bias: &x[2], statistics, epsilon: 1e-5 })
        }
        "layer_norm" => {
            Cpu::layer_norm(cx, LayerNormArgs { x: &x[0], scale: &x[1], bias: Some(&x[2]), axis: 1, epsilon: 1e-5 })
        }
        "softmax" => Cpu::softmax(cx, &x[0], 1),
        "cross_entropy" => {
            let classes: Vec<usize> = (0..d[0]).map(|i| i * 7919 % d[1]).collect();
            Cpu::cross_entropy(cx, &x[0], &classes)
        }
        "mse" => {
            let off = Cpu::binary(cx, Binary::Sub, &x[0], &x[1])?;
            let squares = Cpu::unary(cx, Unary::PowScalar(2.0), &off)?;
            Cpu::reduce(cx, Reduce::Mean, &squares, &[1], false)
        }
        "max_pool" => {
            let spec = PoolSpec {
                kernel: vec![2; 2],
                strides: vec![2; 2],
                dilations: vec![1; 2],
                pads: vec![[0; 2]; 2],
                output: vec![d[2] / 2, d[3] / 2],
                count_include_pad: false,
            };
            Cpu::max_pool(cx, &x[0], &spec)
        }
        "sum" => Cpu::reduce(cx, Reduce::Sum, &x[0], &[0, 2], false),
        "embedding" => {
            let indices: Vec<usize> = (0..d[2]).map(|i| i * 7919 % d[0]).collect();
            Cpu::gather(cx, &x[0], 0, &indices, &[d[2]])
        }
        "permute" => Cpu::permute(cx, &x[0], &[0, 2, 1, 3]),
        _ => panic!("no kernel {name}"),
    }
}

fn inputs(name: &str, d: &[usize]) -> Vec<Vec<usize>> {
    match name {
        "conv" => vec![d[..4].to_vec(), vec![d[4], d[1] / d[8], d[5], d[5]]],
        "matmul" if d[0] == 1 => vec![vec![d[1], d[2]], vec![d[2], d[3]]],
        "matmul" => vec![vec![d[0], d[1], d[2]], vec![d[0], d[2], d[3]]],
        "attention" => vec![d.to_vec(); 3],
        "lstm" => vec![vec![d[0], d[1], d[2]], vec![1, 4 * d[3], d[2]], vec![1, 4 * d[3], d[3]], vec![1, 8 * d[3]]],
        "add" | "mse" => vec![d.to_vec(); 2],
        "bias" => vec![d.to_vec(), vec![d[1]]],
        "batch_norm" | "layer_norm" => vec![d.to_vec(), vec![d[1]], vec![d[1]]],
        "embedding" => vec![d[..2].to_vec()],
        _ => vec![d.to_vec()],
    }
}

/// All hidden states of ONNX's LSTM: no single kernel, but one operator.
fn lstm(hidden: usize, cx: &mut Cx, x: &[F32]) -> Result<F32> {
    let node = Node {
        name: "lstm".into(),
        domain: String::new(),
        op_type: "LSTM".into(),
        opset: 17,
        inputs: (0..4).map(|i| Some(ValueId(i))).collect(),
        outputs: vec![Some(ValueId(4))],
        attrs: BTreeMap::from([("hidden_size".to_string(), Attr::Int(hidden as i64))]),
    };
    let (graph, constants) = (graph_of(&["x", "w", "r", "b", "y"]), BTreeMap::new());
    let (spec, operator) = ops::build(&ops::registry::<f32, Cpu>(), &NodeContext::new(&node, &graph, &constants))?;
    let values: Vec<Value<f32, Cpu>> = x.iter().cloned().map(Value::from).collect();
    let inputs = Inputs::new(values.iter().map(Some).collect(), Mode::default());
    match ops::run(&node, &spec, operator.as_ref(), cx, &inputs)?.into_iter().next() {
        Some(Value::Float(states)) => Ok(states),
        _ => Err(Error::Internal("an LSTM without states".into())),
    }
}

fn graph_of(names: &[&str]) -> Graph {
    let values = names.iter().map(|n| ValueInfo { name: n.to_string(), ..ValueInfo::default() }).collect();
    Graph { values, ..Graph::default() }
}

fn host(dims: &[usize], values: Vec<f32>) -> Result<HostTensor> {
    HostTensor::new(dims, values).ok_or_else(|| Error::Internal(format!("other than {dims:?} values")))
}

/// The least milliseconds of an optimizer step over `n` weights, within half a second.
fn adamw(n: usize) -> Result<f64> {
    let side = n.isqrt();
    let mut graph = graph_of(&["x", "w", "y"]);
    let weight = host(&[side, side], (0..n).map(|i| (i % 1009) as f32 / 1009.0).collect())?;
    graph.inputs.push(ValueId(0));
    graph.outputs.push(ValueId(2));
    graph.initializers.insert(ValueId(1), Initializer { tensor: weight.into(), stored_as: Some("w".into()) });
    graph.nodes.push(Node {
        name: "product".into(),
        domain: String::new(),
        op_type: "MatMul".into(),
        opset: 17,
        inputs: vec![Some(ValueId(0)), Some(ValueId(1))],
        outputs: vec![Some(ValueId(2))],
        attrs: BTreeMap::new(),
    });
    let plan = LossPlan { output: Some(ValueId(2)), ..LossPlan::new(LossKind::Mse, ValueId(2)) };
    let decision = Decision {
        value: ValueId(1),
        name: "w".into(),
        dims: vec![side, side],
        dtype: DType::F32,
        trainable: true,
        reason: String::new(),
        source: "role",
        uses: 1,
        on_path: true,
    };
    let mut model = Model::<f32, Cpu>::build(&graph, &plan, &[decision], ModelOptions::default(), Cpu::default())?;
    let x = host(&[1, side], vec![1.0; side])?;
    let targets = Targets::Values { width: side, values: vec![0.0; side] };
    let batch = Batch { inputs: BTreeMap::from([("x".to_string(), x)]), targets };
    let mut grads = model.forward(&batch, None)?.backward(1.0)?;
    let mut optimizer = AdamW::new(&model, 0.01, StepSize::Published)?;
    let (mut least, begin) = (f64::MAX, Instant::now());
    while begin.elapsed() < Duration::from_millis(500) {
        let start = Instant::now();
        optimizer.step(&mut model, &mut grads, 1e-5)?;
        least = least.min(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(least)
}

/// Multiplications and additions, forward and backward.
fn flops(name: &str, d: &[usize]) -> Option<f64> {
    let product = match name {
        "conv" => d[0] * d[4] * (d[1] / d[8]) * d[5] * d[5] * (d[2] / d[6]) * (d[3] / d[6]),
        "matmul" => d.iter().product(),
        "attention" => 2 * d[0] * d[1] * d[1] * d[2],
        "lstm" => d[0] * d[1] * 4 * d[3] * (d[2] + d[3]),
        _ => return None,
    };
    Some(6.0 * product as f64)
}

/// The least milliseconds of a pass forward and backward, within half a second.
fn ours(name: &str, d: &[usize]) -> Result<f64> {
    if name == "adamw" {
        return adamw(d[0]);
    }
    let dev = Cpu::default();
    let blank = Cx::inference(dev.clone(), KernelChoice::Fast);
    let mut xs = Vec::new();
    for (i, dims) in inputs(name, d).into_iter().enumerate() {
        let n = dims.iter().product();
        let values = (0..n).map(|j| ((i * 31 + j * 7919) % 1009) as f32 / 504.5 - 1.0).collect();
        let t = blank.upload(dims.clone(), values)?;
        xs.push(Tensor::new(t.flat().clone(), dims, true));
    }
    let keep: Vec<&F32> = xs.iter().collect();
    let (mut least, begin) = (f64::MAX, Instant::now());
    while begin.elapsed() < Duration::from_millis(500) {
        let start = Instant::now();
        let mut cx = Cx::recording(dev.clone(), KernelChoice::Fast);
        let y = kernel(name, d, &mut cx, &xs)?;
        let axes: Vec<usize> = (0..y.rank()).collect();
        let total = Cpu::reduce(&mut cx, Reduce::Sum, &y, &axes, false)?;
        drop(y);
        cx.backward(&total, vec![1.0], &keep)?;
        least = least.min(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(least)
}

/// A Python process that times PyTorch's operators.
struct Torch(Child, ChildStdin, BufReader<ChildStdout>);

impl Torch {
    fn start(python: &str, threads: usize) -> std::io::Result<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/kernels.py");
        let mut command = Command::new(python);
        let mut child =
            command.args([script, &threads.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let missing = || std::io::Error::other("no pipe");
        Ok(Self(child, input.ok_or_else(missing)?, BufReader::new(output.ok_or_else(missing)?)))
    }

    fn time(&mut self, case: &str) -> std::io::Result<f64> {
        writeln!(self.1, "{case}")?;
        let mut line = String::new();
        self.2.read_line(&mut line)?;
        line.trim().parse().map_err(std::io::Error::other)
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let (mut threads, mut python, mut wanted) = (2, None, String::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--threads" => threads = arguments.next().unwrap_or_default().parse()?,
            "--torch" => python = arguments.next(),
            "--bench" => {}
            name => wanted = name.to_owned(),
        }
    }
    let scope = keep_memory(|| scope(Some(threads), Limits::default()))?;
    scope.enter(|| compare(threads, python, &wanted))
}

fn compare(
    threads: usize,
    python: Option<String>,
    wanted: &str,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut torch = python.map(|python| Torch::start(&python, threads)).transpose()?;
    println!("| forward + backward, {threads} threads | ms | GFLOP/s | PyTorch ms | PyTorch ÷ ours |");
    println!("| --- | --- | --- | --- | --- |");
    for case in CASES.iter().filter(|case| case.contains(wanted)) {
        let mut words = case.split(' ');
        let name = words.next().unwrap_or_default();
        let d: Vec<usize> = words.map(str::parse).collect::<std::result::Result<_, _>>()?;
        let (mut mine, mut theirs) = (f64::MAX, f64::MAX);
        for _ in 0..if torch.is_some() { 3 } else { 1 } {
            mine = mine.min(ours(name, &d)?);
            if let Some(torch) = &mut torch {
                theirs = theirs.min(torch.time(case)?);
            }
        }
        let rate = flops(name, &d).map_or(String::new(), |f| format!("{:.0}", f / mine / 1e6));
        let (peer, ratio) = match torch {
            Some(_) => (format!("{theirs:.2}"), format!("{:.2}", theirs / mine)),
            None => Default::default(),
        };
        println!("| {case} | {mine:.2} | {rate} | {peer} | {ratio} |");
    }
    if let Some(Torch(mut child, input, _)) = torch {
        drop(input);
        child.wait()?;
    }
    Ok(())
}
