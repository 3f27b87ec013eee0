//! Small models, made message by message.

use onnx_forget::{
    onnx::proto::{
        AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
        TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto::AttributeType, tensor_shape_proto, type_proto,
    },
    tensor::DType,
};
use prost::Message;
use std::path::{Path, PathBuf};

/// An attribute's value.
#[derive(Clone, Copy)]
pub enum Value {
    Int(i64),
    Ints(&'static [i64]),
}

/// A model in the making.
pub struct Net {
    model: ModelProto,
    seed: u32,
}

impl Net {
    /// Of opset `version`.
    pub fn new(version: i64) -> Self {
        let graph = GraphProto { name: Some("net".into()), ..Default::default() };
        let opset = |domain: &str, version| OperatorSetIdProto { domain: Some(domain.into()), version: Some(version) };
        let model = ModelProto {
            ir_version: Some(9),
            opset_import: vec![opset("", version), opset("local", 1), opset("com.microsoft", 1)],
            graph: Some(graph),
            ..Default::default()
        };
        Self { model, seed: 1 }
    }

    fn graph(&mut self) -> &mut GraphProto {
        self.model.graph.as_mut().unwrap()
    }

    /// Numbers in −1 to 1, the same in every run.
    pub fn numbers(&mut self, n: usize) -> Vec<f32> {
        let mut next = || {
            self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(self.seed >> 8) / f64::from(1u32 << 23) - 1.0
        };
        (0..n).map(|_| next() as f32).collect()
    }

    /// A weight of random values, scaled to its fan-in.
    pub fn weight(&mut self, name: &str, dims: &[i64]) {
        let n: i64 = dims.iter().product();
        let fan = if dims.len() == 4 { n / dims[0] } else { dims[0] };
        let scale = 1.7 / (fan as f32).sqrt();
        let values = self.numbers(n as usize).into_iter().map(|x| x * scale).collect();
        self.tensor(name, dims, DType::F32, values);
    }

    /// A stored float tensor.
    pub fn tensor(&mut self, name: &str, dims: &[i64], dtype: DType, values: Vec<f32>) {
        let raw: Vec<u8> = match dtype {
            DType::F16 => values.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        let tensor = TensorProto {
            name: Some(name.into()),
            dims: dims.to_vec(),
            data_type: Some(dtype as i32),
            raw_data: Some(raw.into()),
            ..Default::default()
        };
        self.graph().initializer.push(tensor);
    }

    /// A stored i64 without dimensions.
    pub fn long(&mut self, name: &str, value: i64) {
        let tensor = TensorProto {
            name: Some(name.into()),
            data_type: Some(DType::I64 as i32),
            raw_data: Some(value.to_le_bytes().to_vec().into()),
            ..Default::default()
        };
        self.graph().initializer.push(tensor);
    }

    /// A stored boolean without dimensions.
    pub fn flag(&mut self, name: &str, value: bool) {
        let tensor = TensorProto {
            name: Some(name.into()),
            data_type: Some(DType::Bool as i32),
            raw_data: Some(vec![u8::from(value)].into()),
            ..Default::default()
        };
        self.graph().initializer.push(tensor);
    }

    /// A node; `op` may carry a domain: `local:Twice`.
    pub fn node(&mut self, op: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, Value)]) {
        let node = node(op, inputs, outputs, attributes);
        self.graph().node.push(node);
    }

    /// The nodes so far.
    pub fn nodes(&self) -> Vec<NodeProto> {
        self.model.graph.iter().flat_map(|graph| graph.node.clone()).collect()
    }

    /// A function of the domain `local`, of nodes with one output each.
    pub fn function(&mut self, name: &str, inputs: &[&str], outputs: &[&str], body: &[(&str, &[&str], &str)]) {
        let opset_import = vec![self.model.opset_import[0].clone()];
        let strings = |names: &[&str]| names.iter().map(|n| n.to_string()).collect();
        self.model.functions.push(FunctionProto {
            name: Some(name.into()),
            domain: Some("local".into()),
            input: strings(inputs),
            output: strings(outputs),
            node: body.iter().map(|(op, inputs, output)| node(op, inputs, &[output], &[])).collect(),
            opset_import,
            ..Default::default()
        });
    }

    /// An input; extents that are no numbers are symbols.
    pub fn input(&mut self, name: &str, dtype: DType, dims: &[&str]) {
        let info = value(name, dtype, dims);
        self.graph().input.push(info);
    }

    /// An output.
    pub fn output(&mut self, name: &str, dtype: DType, dims: &[&str]) {
        let info = value(name, dtype, dims);
        self.graph().output.push(info);
    }

    /// Writes the model into `folder`.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("net.onnx");
        std::fs::write(&path, self.model.encode_to_vec()).unwrap();
        path
    }
}

fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, Value)]) -> NodeProto {
    let (domain, op) = op.split_once(':').unwrap_or(("", op));
    let strings = |names: &[&str]| names.iter().map(|n| n.to_string()).collect();
    let attribute = |(name, value): &(&str, Value)| {
        let mut attribute = AttributeProto { name: Some(name.to_string()), ..Default::default() };
        let ty = match value {
            Value::Int(i) => {
                attribute.i = Some(*i);
                AttributeType::Int
            }
            Value::Ints(ints) => {
                attribute.ints = ints.to_vec();
                AttributeType::Ints
            }
        };
        attribute.r#type = Some(ty as i32);
        attribute
    };
    NodeProto {
        name: Some(format!("{op} of {}", outputs[0])),
        domain: (!domain.is_empty()).then(|| domain.to_string()),
        op_type: Some(op.into()),
        input: strings(inputs),
        output: strings(outputs),
        attribute: attributes.iter().map(attribute).collect(),
        ..Default::default()
    }
}

fn value(name: &str, dtype: DType, dims: &[&str]) -> ValueInfoProto {
    use tensor_shape_proto::dimension::Value::{DimParam, DimValue};
    let dim = |d: &&str| tensor_shape_proto::Dimension {
        value: Some(d.parse().map_or_else(|_| DimParam(d.to_string()), DimValue)),
        ..Default::default()
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type: Some(dtype as i32), shape: Some(shape) };
    let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: Some(name.into()), r#type: Some(ty), ..Default::default() }
}

/// Gemm, Relu, Gemm: 6 features, 3 classes. With `F16`, the weights are stored in half precision and cast.
pub fn classifier(folder: &Path, dtype: DType) -> PathBuf {
    let mut net = Net::new(17);
    net.input("x", DType::F32, &["batch", "6"]);
    for (name, dims) in [("w1", vec![6, 16]), ("b1", vec![16]), ("w2", vec![16, 3]), ("b2", vec![3])] {
        let values = net.numbers(dims.iter().product::<i64>() as usize);
        let stored = if dtype == DType::F32 { name.to_string() } else { format!("{name}_half") };
        net.tensor(&stored, &dims, dtype, values);
        if dtype != DType::F32 {
            net.node("Cast", &[&stored], &[name], &[("to", Value::Int(DType::F32 as i64))]);
        }
    }
    net.node("Gemm", &["x", "w1", "b1"], &["h"], &[]);
    net.node("Relu", &["h"], &["r"], &[]);
    net.node("Gemm", &["r", "w2", "b2"], &["logits"], &[]);
    net.output("logits", DType::F32, &["batch", "3"]);
    net.write(folder)
}

/// Conv, BatchNormalization, Relu, MaxPool, Conv, GlobalAveragePool, Gemm, Softmax: 8×8 images, 4 classes.
pub fn conv_net(folder: &Path) -> PathBuf {
    let mut net = Net::new(17);
    images(&mut net, &["bn"], &[]);
    net.node("Softmax", &["logits"], &["probabilities"], &[("axis", Value::Int(1))]);
    net.output("probabilities", DType::F32, &["batch", "4"]);
    net.write(folder)
}

/// The same as exported for training: batch statistics with running outputs, and dropout switched on.
pub fn training_net(folder: &Path) -> PathBuf {
    let mut net = Net::new(17);
    net.flag("training", true);
    net.tensor("ratio", &[], DType::F32, vec![0.5]);
    images(&mut net, &["bn", "new_mean", "new_variance"], &[("training_mode", Value::Int(1))]);
    net.node("Dropout", &["logits", "ratio", "training"], &["dropped"], &[]);
    net.output("dropped", DType::F32, &["batch", "4"]);
    net.write(folder)
}

fn images(net: &mut Net, normalized: &[&str], attributes: &[(&str, Value)]) {
    net.input("image", DType::F32, &["batch", "2", "8", "8"]);
    net.weight("conv1", &[6, 2, 3, 3]);
    net.tensor("scale", &[6], DType::F32, vec![1.0, 0.7, 1.3, 0.9, 1.1, 0.8]);
    net.tensor("shift", &[6], DType::F32, vec![0.1, -0.2, 0.0, 0.3, 0.2, -0.1]);
    net.tensor("mean", &[6], DType::F32, vec![0.0, 0.1, -0.1, 0.2, 0.0, 0.1]);
    net.tensor("variance", &[6], DType::F32, vec![1.0, 0.8, 1.2, 1.1, 0.9, 1.0]);
    net.weight("conv2", &[8, 6, 3, 3]);
    net.weight("w", &[8, 4]);
    net.tensor("b", &[4], DType::F32, vec![0.1, 0.0, -0.1, 0.2]);
    let padded = || ("pads", Value::Ints(&[1, 1, 1, 1]));
    net.node("Conv", &["image", "conv1"], &["c1"], &[padded()]);
    net.node("BatchNormalization", &["c1", "scale", "shift", "mean", "variance"], normalized, attributes);
    net.node("Relu", &["bn"], &["r1"], &[]);
    let pool = [("kernel_shape", Value::Ints(&[2, 2])), ("strides", Value::Ints(&[2, 2]))];
    net.node("MaxPool", &["r1"], &["p1"], &pool);
    net.node("Conv", &["p1", "conv2"], &["c2"], &[padded()]);
    net.node("Sigmoid", &["c2"], &["s2"], &[]);
    net.node("GlobalAveragePool", &["s2"], &["g"], &[]);
    net.node("Flatten", &["g"], &["flat"], &[]);
    net.node("Gemm", &["flat", "w", "b"], &["logits"], &[]);
}

/// A classifier whose only output is the mean cross-entropy, with labels as an input.
pub fn loss_in_graph(folder: &Path) -> PathBuf {
    let mut net = Net::new(17);
    net.input("x", DType::F32, &["batch", "5"]);
    net.input("labels", DType::I64, &["batch"]);
    net.weight("w", &[5, 3]);
    net.node("MatMul", &["x", "w"], &["logits"], &[]);
    net.node("SoftmaxCrossEntropyLoss", &["logits", "labels"], &["loss"], &[]);
    net.output("loss", DType::F32, &[]);
    net.write(folder)
}

/// Tokens through a table of 11 rows, averaged over 4 positions, 3 classes.
pub fn embedding(folder: &Path) -> PathBuf {
    let mut net = Net::new(17);
    net.input("tokens", DType::I64, &["batch", "4"]);
    net.weight("table", &[11, 6]);
    net.weight("w", &[6, 3]);
    net.node("Gather", &["table", "tokens"], &["vectors"], &[]);
    net.node("ReduceMean", &["vectors"], &["mean"], &[("axes", Value::Ints(&[1])), ("keepdims", Value::Int(0))]);
    net.node("MatMul", &["mean", "w"], &["logits"], &[]);
    net.output("logits", DType::F32, &["batch", "3"]);
    net.write(folder)
}
