//! Several targets as one loss graph: the loss of a row is the weighted sum of those of its targets, and each is a figure of the row.

use super::{LossKind, LossPlan};
use crate::{
    batch::{IGNORED, Reduction, TargetKind},
    error::{Error, Result},
    graph::Graph,
    onnx::proto::{
        AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
        TypeProto, ValueInfoProto,
        attribute_proto::AttributeType,
        tensor_shape_proto::{Dimension, dimension::Value as Extent},
        type_proto,
    },
    tensor::DType,
};

/// Version of the operator set that the graph is written in.
const OPSET: i64 = 17;
/// `ModelProto.ir_version` of that time.
const IR_VERSION: i64 = 8;

/// One of several targets.
pub struct Term<'a> {
    /// Its own loss.
    pub plan: &'a LossPlan,
    /// What its labels are.
    pub kind: TargetKind,
    /// The name that the labels are fed by, or of the model's input that they are.
    pub labels: String,
    /// What its loss counts for.
    pub weight: f64,
}

/// The loss graph of several targets. Its figures are the loss of each target, the share of right answers of those that have some, and,
/// where all have, whether all are right (the exact match).
///
/// Labels of classes are (rows), or (rows, positions) with [`IGNORED`] where a position does not count; all others (rows, values).
///
/// # Errors
/// [`Error::Untrainable`] for a target whose loss is in the model's graph, or whose scores are of no declared rank.
pub fn joined(graph: &Graph, terms: &[Term<'_>]) -> Result<ModelProto> {
    let mut made = Made::default();
    let (mut sum, mut right): (Option<String>, Vec<String>) = (None, Vec::new());
    let mut figures = Vec::new();
    for (at, term) in terms.iter().enumerate() {
        let scores = graph.name(term.plan.scores);
        let shown = graph.name(term.plan.output.unwrap_or(term.plan.scores));
        made.input(scores, DType::F32, None);
        let integers =
            matches!(term.kind, TargetKind::Class | TargetKind::Binary | TargetKind::Next | TargetKind::Masked);
        let width = term.plan.head.width.map_or(open("values"), |n| Extent::DimValue(n as i64));
        let (dtype, behind) = match (integers, term.plan.class_axis) {
            (true, None) => (DType::I64, None),
            (true, Some(_)) => (DType::I64, Some(open("positions"))),
            (false, _) => (DType::F32, Some(width)),
        };
        made.input(&term.labels, dtype, Some(std::iter::once(open("rows")).chain(behind).collect()));
        let own = Own { at, scores, term, rank: graph.declared_dims(term.plan.scores).map(<[_]>::len) };
        let (loss, accuracy) = made.target(&own)?;
        let (loss_name, accuracy_name) = (format!("loss of {shown}"), format!("accuracy of {shown}"));
        made.node("Identity", &[&loss], &loss_name, &[]);
        figures.push(loss_name);
        if let Some(accuracy) = accuracy {
            made.node("Identity", &[&accuracy], &accuracy_name, &[]);
            right.push(accuracy_name.clone());
            figures.push(accuracy_name);
        }
        let weight = made.floats(&format!("weight {at}"), &[], &[term.weight as f32]);
        let share = made.node("Mul", &[&loss, &weight], &format!("share {at}"), &[]);
        sum = Some(match sum {
            None => share,
            Some(before) => made.node("Add", &[&before, &share], &format!("sum {at}"), &[]),
        });
    }
    let sum = sum.ok_or_else(|| Error::Internal("a loss of no targets".into()))?;
    made.node("Identity", &[&sum], "loss", &[]);
    if terms.len() > 1 && right.len() == terms.len() {
        let one = made.floats("all right", &[], &[1.0]);
        let each: Vec<String> =
            right.iter().map(|of| made.node("Equal", &[of, &one], &format!("all {of}"), &[])).collect();
        let whole = each.into_iter().reduce(|a, b| made.node("And", &[&a, &b], &format!("{a} and {b}"), &[]));
        let whole = whole.ok_or_else(|| Error::Internal("no answers".into()))?;
        made.cast(&whole, "exact match", DType::F32);
        figures.push("exact match".into());
    }
    Ok(made.model(&figures))
}

/// A term in the making.
struct Own<'a> {
    at: usize,
    scores: &'a str,
    term: &'a Term<'a>,
    rank: Option<usize>,
}

impl Own<'_> {
    /// A name that only this term has.
    fn name(&self, of: &str) -> String {
        format!("{of} {}", self.at)
    }
}

/// The graph in the making.
#[derive(Default)]
struct Made {
    graph: GraphProto,
}

impl Made {
    /// Loss, and share of right answers, of each row.
    fn target(&mut self, own: &Own<'_>) -> Result<(String, Option<String>)> {
        let plan = own.term.plan;
        match plan.kind {
            LossKind::CrossEntropy if plan.class_axis.is_some() => self.positions(own),
            LossKind::CrossEntropy if plan.head.width == Some(1) && !plan.scores_are_log_probs => Ok(self.binary(own)),
            LossKind::CrossEntropy => Ok(self.classes(own)),
            LossKind::Bce => Ok(self.binary(own)),
            LossKind::Mse => Ok(self.squares(own)),
            LossKind::Graph | LossKind::LossGraph => Err(Error::Untrainable(
                "the model's graph holds a loss of its own, beside which there are no several targets: give --loss-graph".into(),
            )),
        }
    }

    fn classes(&mut self, own: &Own<'_>) -> (String, Option<String>) {
        let z = self.flat(own.scores, &own.name("z"));
        let z = self.logits(z, own);
        let op =
            if own.term.plan.scores_are_log_probs { "NegativeLogLikelihoodLoss" } else { "SoftmaxCrossEntropyLoss" };
        let labels = own.term.labels.as_str();
        let loss = self.node(op, &[&z, labels], &own.name("own"), &[string("reduction", "none")]);
        let best = self.node("ArgMax", &[&z], &own.name("best"), &[int("axis", 1), int("keepdims", 0)]);
        let right = self.node("Equal", &[&best, labels], &own.name("right"), &[]);
        let right = self.cast(&right, &own.name("accuracy"), DType::F32);
        (loss, Some(right))
    }

    /// Cross-entropy at each position that counts, and its mean over them.
    fn positions(&mut self, own: &Own<'_>) -> Result<(String, Option<String>)> {
        let (axis, rank) = own.term.plan.class_axis.zip(own.rank).ok_or_else(|| {
            Error::Untrainable(format!(
                "`{}`: the number of axes is not declared, which several targets need",
                own.scores
            ))
        })?;
        let order: Vec<i64> =
            [0, axis].into_iter().chain((1..rank).filter(|at| *at != axis)).map(|at| at as i64).collect();
        let turned = self.node("Transpose", &[own.scores], &own.name("turned"), &[ints("perm", &order)]);
        let shape = self.longs(&own.name("planes"), &[0, 0, -1]);
        let z = self.node("Reshape", &[&turned, &shape], &own.name("z"), &[]);
        let z = self.logits(z, own);
        let places = self.node("Shape", &[&z], &own.name("places"), &[int("start", 2), int("end", 3)]);
        let given = self.node("Shape", &[&own.term.labels], &own.name("given"), &[int("start", 1), int("end", 2)]);
        let missing = self.node("Sub", &[&places, &given], &own.name("missing"), &[]);
        let none = self.longs(&own.name("none"), &[0, 0, 0]);
        let pads = self.node("Concat", &[&none, &missing], &own.name("pads"), &[int("axis", 0)]);
        let ignored = self.long(&own.name("ignored"), IGNORED);
        let labels = self.node("Pad", &[&own.term.labels, &pads, &ignored], &own.name("labels"), &[]);
        let op =
            if own.term.plan.scores_are_log_probs { "NegativeLogLikelihoodLoss" } else { "SoftmaxCrossEntropyLoss" };
        let attributes = [string("reduction", "none"), int("ignore_index", IGNORED)];
        let each = self.node(op, &[&z, &labels], &own.name("each"), &attributes);
        let left_out = self.node("Equal", &[&labels, &ignored], &own.name("left out"), &[]);
        let counts = self.node("Not", &[&left_out], &own.name("counts"), &[]);
        let counts = self.cast(&counts, &own.name("counted"), DType::F32);
        let number = self.reduce("ReduceSum", &counts, &own.name("number"));
        let one = self.floats(&own.name("one"), &[], &[1.0]);
        let number = self.node("Max", &[&number, &one], &own.name("at least one"), &[]);
        let sum = self.reduce("ReduceSum", &each, &own.name("sum of each"));
        let loss = match own.term.plan.reduction {
            Reduction::Sum => sum,
            Reduction::Mean => self.node("Div", &[&sum, &number], &own.name("own"), &[]),
        };
        let best = self.node("ArgMax", &[&z], &own.name("best"), &[int("axis", 1), int("keepdims", 0)]);
        let right = self.node("Equal", &[&best, &labels], &own.name("right"), &[]);
        let right = self.cast(&right, &own.name("right numbers"), DType::F32);
        let right = self.reduce("ReduceSum", &right, &own.name("number right"));
        let accuracy = self.node("Div", &[&right, &number], &own.name("accuracy"), &[]);
        Ok((loss, Some(accuracy)))
    }

    /// Binary cross-entropy of each logit, `softplus(z) − z·t`, and its mean over them.
    fn binary(&mut self, own: &Own<'_>) -> (String, Option<String>) {
        let (z, t) = self.beside(own);
        let soft = self.node("Softplus", &[&z], &own.name("soft"), &[]);
        let product = self.node("Mul", &[&z, &t], &own.name("product"), &[]);
        let each = self.node("Sub", &[&soft, &product], &own.name("each"), &[]);
        let loss = self.reduce("ReduceMean", &each, &own.name("own"));
        let (zero, half) = (self.floats(&own.name("zero"), &[], &[0.0]), self.floats(&own.name("half"), &[], &[0.5]));
        let yes = self.node("Greater", &[&z, &zero], &own.name("yes"), &[]);
        let wanted = self.node("Greater", &[&t, &half], &own.name("wanted"), &[]);
        let right = self.node("Equal", &[&yes, &wanted], &own.name("right"), &[]);
        let right = self.cast(&right, &own.name("right numbers"), DType::F32);
        let accuracy = self.reduce("ReduceMean", &right, &own.name("accuracy"));
        (loss, Some(accuracy))
    }

    /// Mean of the squared differences.
    fn squares(&mut self, own: &Own<'_>) -> (String, Option<String>) {
        let (z, t) = self.beside(own);
        let off = self.node("Sub", &[&z, &t], &own.name("off"), &[]);
        let squares = self.node("Mul", &[&off, &off], &own.name("squares"), &[]);
        (self.reduce("ReduceMean", &squares, &own.name("own")), None)
    }

    /// Scores and labels as (rows, values).
    fn beside(&mut self, own: &Own<'_>) -> (String, String) {
        let z = self.flat(own.scores, &own.name("z"));
        let t = self.cast(&own.term.labels, &own.name("numbers"), DType::F32);
        let t = self.flat(&t, &own.name("t"));
        (z, t)
    }

    /// The logits that scores stand for: `ln σ(z)` where the classes share by their Sigmoids.
    fn logits(&mut self, z: String, own: &Own<'_>) -> String {
        if !own.term.plan.sigmoid_shares {
            return z;
        }
        let minus = self.node("Neg", &[&z], &own.name("minus"), &[]);
        let soft = self.node("Softplus", &[&minus], &own.name("soft"), &[]);
        self.node("Neg", &[&soft], &own.name("shares"), &[])
    }

    fn flat(&mut self, value: &str, output: &str) -> String {
        let shape = self.longs(&format!("{output} shape"), &[0, -1]);
        self.node("Reshape", &[value, &shape], output, &[])
    }

    /// Over the second axis.
    fn reduce(&mut self, op: &str, value: &str, output: &str) -> String {
        // The axes are an attribute of ReduceMean until version 18, an input of ReduceSum since 13.
        if op == "ReduceMean" {
            return self.node(op, &[value], output, &[ints("axes", &[1]), int("keepdims", 0)]);
        }
        let axes = self.longs(&format!("{output} axes"), &[1]);
        self.node(op, &[value, &axes], output, &[int("keepdims", 0)])
    }

    fn cast(&mut self, value: &str, output: &str, to: DType) -> String {
        self.node("Cast", &[value], output, &[int("to", to as i64)])
    }

    fn node(&mut self, op: &str, inputs: &[&str], output: &str, attributes: &[AttributeProto]) -> String {
        self.graph.node.push(NodeProto {
            op_type: Some(op.into()),
            name: Some(output.into()),
            input: inputs.iter().map(|name| name.to_string()).collect(),
            output: vec![output.into()],
            attribute: attributes.to_vec(),
            ..Default::default()
        });
        output.into()
    }

    /// An input, unless there is one of that name.
    fn input(&mut self, name: &str, dtype: DType, dims: Option<Vec<Extent>>) {
        if !self.graph.input.iter().any(|input| input.name() == name) {
            self.graph.input.push(value(name, dtype, dims));
        }
    }

    fn floats(&mut self, name: &str, dims: &[i64], values: &[f32]) -> String {
        self.store(name, dims, TensorProto { float_data: values.to_vec(), ..Default::default() }, DType::F32)
    }

    fn longs(&mut self, name: &str, values: &[i64]) -> String {
        let dims = [values.len() as i64];
        self.store(name, &dims, TensorProto { int64_data: values.to_vec(), ..Default::default() }, DType::I64)
    }

    fn long(&mut self, name: &str, one: i64) -> String {
        self.store(name, &[], TensorProto { int64_data: vec![one], ..Default::default() }, DType::I64)
    }

    fn store(&mut self, name: &str, dims: &[i64], values: TensorProto, dtype: DType) -> String {
        let (name, dims, data_type) = (Some(name.to_string()), dims.to_vec(), Some(dtype as i32));
        self.graph.initializer.push(TensorProto { name: name.clone(), dims, data_type, ..values });
        name.unwrap_or_default()
    }

    fn model(mut self, figures: &[String]) -> ModelProto {
        self.graph.name = Some("several targets".into());
        self.graph.output = std::iter::once("loss").chain(figures.iter().map(String::as_str)).map(output).collect();
        let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) };
        ModelProto {
            ir_version: Some(IR_VERSION),
            opset_import: vec![opset],
            graph: Some(self.graph),
            ..Default::default()
        }
    }
}

fn value(name: &str, dtype: DType, dims: Option<Vec<Extent>>) -> ValueInfoProto {
    let dim = |extent| Dimension { value: Some(extent), ..Default::default() };
    let shape = dims.map(|dims| TensorShapeProto { dim: dims.into_iter().map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type: Some(dtype as i32), shape };
    let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: Some(name.into()), r#type: Some(ty), ..Default::default() }
}

/// An extent that only rows tell.
fn open(name: &str) -> Extent {
    Extent::DimParam(name.into())
}

fn output(name: &str) -> ValueInfoProto {
    value(name, DType::F32, Some(vec![open("rows")]))
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(kind as i32), ..Default::default() }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { i: Some(i), ..attribute(name, AttributeType::Int) }
}

fn ints(name: &str, all: &[i64]) -> AttributeProto {
    AttributeProto { ints: all.to_vec(), ..attribute(name, AttributeType::Ints) }
}

fn string(name: &str, s: &str) -> AttributeProto {
    AttributeProto { s: Some(s.as_bytes().to_vec()), ..attribute(name, AttributeType::String) }
}
