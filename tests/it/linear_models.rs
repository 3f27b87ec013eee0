//! A logistic regression as scikit-learn's exporter writes it, whose weights are attributes of one node: the main job end to end.

use crate::flow::{json, program};
use onnx_forget::{
    onnx::{
        OnnxFile, ReadOptions,
        proto::{
            AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto,
            ValueInfoProto, attribute_proto::AttributeType, tensor_shape_proto::Dimension,
            tensor_shape_proto::dimension, type_proto,
        },
        span::Spans,
    },
    writeback,
};
use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{fs, path::Path};

const COLUMNS: usize = 4;

/// Rows of noise with a label that follows from three of the columns, with mistakes.
fn rows(count: usize, seed: u64) -> Vec<([f32; COLUMNS], u8)> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut row = |_| {
        let x: [f32; COLUMNS] = std::array::from_fn(|_| rng.random_range(-2.0..2.0));
        let label = x[0] - 0.5 * x[1] + 0.25 * x[2] + rng.random_range(-1.0..1.0) > 0.0;
        (x, u8::from(label))
    };
    (0..count).map(&mut row).collect()
}

/// The weights and the intercept of a logistic regression of `rows`, by gradient descent.
fn fit(rows: &[([f32; COLUMNS], u8)]) -> ([f32; COLUMNS], f32) {
    let (mut w, mut b) = ([0.0; COLUMNS], 0.0);
    for _ in 0..500 {
        let (mut slopes, mut slope) = ([0.0; COLUMNS], 0.0);
        for (x, label) in rows {
            let z: f32 = w.iter().zip(x).map(|(w, x)| w * x).sum::<f32>() + b;
            let off = 1.0 / (1.0 + (-z).exp()) - f32::from(*label);
            slopes.iter_mut().zip(x).for_each(|(s, x)| *s += off * x / rows.len() as f32);
            slope += off / rows.len() as f32;
        }
        w.iter_mut().zip(slopes).for_each(|(w, s)| *w -= 0.5 * s);
        b -= 0.5 * slope;
    }
    (w, b)
}

fn port(name: &str, kind: i32, columns: Option<i64>) -> ValueInfoProto {
    let extent = |value| Dimension { value: Some(value), ..Default::default() };
    let rows = extent(dimension::Value::DimParam("N".into()));
    let dim = [Some(rows), columns.map(|n| extent(dimension::Value::DimValue(n)))].into_iter().flatten().collect();
    let tensor = type_proto::Tensor { elem_type: Some(kind), shape: Some(TensorShapeProto { dim }) };
    let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: Some(name.into()), r#type: Some(ty), ..Default::default() }
}

/// What skl2onnx writes of a binary LogisticRegression with the option `zipmap=False`.
fn write_model(path: &Path, (w, b): ([f32; COLUMNS], f32)) {
    let attribute = |name: &str, kind: AttributeType| AttributeProto {
        name: Some(name.into()),
        r#type: Some(kind.into()),
        ..Default::default()
    };
    let floats = |name: &str, floats: Vec<f32>| AttributeProto { floats, ..attribute(name, AttributeType::Floats) };
    let coefficients = w.iter().map(|w| -w).chain(w).collect();
    let node = NodeProto {
        name: Some("LinearClassifier".into()),
        op_type: Some("LinearClassifier".into()),
        domain: Some("ai.onnx.ml".into()),
        input: vec!["X".into()],
        output: vec!["label".into(), "probabilities".into()],
        attribute: vec![
            AttributeProto { ints: vec![0, 1], ..attribute("classlabels_ints", AttributeType::Ints) },
            floats("coefficients", coefficients),
            floats("intercepts", vec![-b, b]),
            AttributeProto { i: Some(0), ..attribute("multi_class", AttributeType::Int) },
            AttributeProto { s: Some(b"LOGISTIC".to_vec()), ..attribute("post_transform", AttributeType::String) },
        ],
        ..Default::default()
    };
    let graph = GraphProto {
        name: Some("logistic".into()),
        node: vec![node],
        input: vec![port("X", 1, Some(COLUMNS as i64))],
        output: vec![port("label", 7, None), port("probabilities", 1, Some(2))],
        ..Default::default()
    };
    let opset = |domain: &str, version| OperatorSetIdProto { domain: Some(domain.into()), version: Some(version) };
    let opset_import = vec![opset("ai.onnx.ml", 1), opset("", 21)];
    let model = ModelProto { ir_version: Some(10), graph: Some(graph), opset_import, ..Default::default() };
    fs::write(path, model.encode_to_vec()).unwrap();
}

fn write_rows(path: &Path, rows: &[([f32; COLUMNS], u8)], first: usize) {
    let mut text = "id,a,b,c,d,label\n".to_string();
    for (n, (x, label)) in rows.iter().enumerate() {
        let x: Vec<String> = x.iter().map(f32::to_string).collect();
        text += &format!("r{},{},{label}\n", first + n, x.join(","));
    }
    fs::write(path, text).unwrap();
}

#[test]
fn a_logistic_regression_forgets_and_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let train = rows(200, 1);
    write_model(&path("model.onnx"), fit(&train));
    write_rows(&path("train.csv"), &train, 0);
    write_rows(&path("validation.csv"), &rows(80, 2), 1000);
    write_rows(&path("test.csv"), &rows(80, 3), 2000);
    let forgotten: String = (0..20).map(|n| format!("r{}\n", 7 * n)).collect();
    fs::write(path("forget.csv"), format!("id\n{forgotten}")).unwrap();
    let toml = "[data]\ntrain = \"train.csv\"\nvalidation = \"validation.csv\"\ntest = \"test.csv\"\nid = \"id\"\n\
                [inputs.X]\nkind = \"numeric\"\ncolumns = [\"a\", \"b\", \"c\", \"d\"]\n\
                [target]\ncolumn = \"label\"\nkind = \"binary\"\n\
                [gates]\nmax_test_accuracy_drop = 1.0\nmax_retain_accuracy_drop = 1.0\nmax_balanced_accuracy_drop = 1.0\n\
                max_mia_increase = 0.5\nmax_forget_gain = inf\nmax_test_gain = inf\n";
    fs::write(path("job.toml"), toml).unwrap();
    let mut command = program();
    command.arg(path("model.onnx")).arg("--forget").arg(path("forget.csv")).arg("--config").arg(path("job.toml"));
    command.arg("-o").arg(path("new.onnx")).arg("--unlearn-anyway");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = json(&path("new.report/report.json"));
    assert_eq!(report["parity"]["after"]["passed"], true);
    assert_eq!(report["parity"]["gradient"]["passed"], true, "{}", report["parity"]["gradient"]);

    let open = |name: &str| OnnxFile::open(&path(name), &ReadOptions::default()).unwrap();
    let (old, new) = (open("model.onnx"), open("new.onnx"));
    let found = writeback::diff(&old, &new).unwrap();
    let changed: Vec<&str> = found.changed.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(changed, ["LinearClassifier/coefficients", "LinearClassifier/intercepts"]);
    assert!(found.other.is_empty(), "{:?}", found.other);
    assert_eq!(old.bytes().len(), new.bytes().len());
    // One row of coefficients is the other's negative still, bit by bit.
    let spans = Spans::scan(&new).unwrap();
    for name in changed {
        let chunks = spans.get(name).unwrap().chunks();
        let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| new.bytes()[chunk.bytes()].to_vec()).collect();
        let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let (first, second) = values.split_at(values.len() / 2);
        assert!(first.iter().zip(second).all(|(a, b)| *a == -b), "{name}: {values:?}");
    }
}
