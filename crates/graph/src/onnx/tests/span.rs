use super::*;
use crate::onnx::span::{Origin, Span, Spans, Storage};
use half::f16;

fn scan(bytes: &[u8]) -> (TempDir, OnnxFile, Result<Spans>) {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), bytes).unwrap();
    let spans = Spans::scan(&file);
    (folder, file, spans)
}

fn bytes_of(file: &OnnxFile, span: &Span) -> Vec<u8> {
    span.chunks().iter().flat_map(|c| file.bytes()[c.bytes()].to_vec()).collect()
}

fn le(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[test]
fn all_forms_of_the_main_graph() {
    let mut halves = tensor("h", DType::F16 as i32, &[2]);
    halves.int32_data = vec![f16::from_f32(1.0).to_bits().into(), f16::from_f32(-1.0).to_bits().into()];
    let mut doubles = tensor("d", DType::F64 as i32, &[1]);
    doubles.double_data = vec![0.1];
    let value = |name: &str| AttributeProto { name: Some(name.into()), ..Default::default() };
    let nodes = vec![
        constant("c", AttributeProto { t: Some(Box::new(floats("", &[1], &[5.0]))), ..value("value") }),
        constant("cf", AttributeProto { floats: vec![6.0, 7.0], ..value("value_floats") }),
        constant("c1", AttributeProto { f: Some(8.0), ..value("value_float") }),
        // Neither a string, nor a tensor of another operator.
        constant("cs", AttributeProto { s: Some(b"x".to_vec()), ..value("value_string") }),
        NodeProto {
            op_type: Some("ConstantOfShape".into()),
            output: vec!["cos".into()],
            attribute: vec![AttributeProto { t: Some(Box::new(floats("", &[1], &[0.0]))), ..value("value") }],
            ..Default::default()
        },
        NodeProto {
            domain: Some("other".into()),
            ..constant("co", AttributeProto { f: Some(1.0), ..value("value_float") })
        },
    ];
    let initializers = vec![
        floats("f", &[3], &[1.0, 2.0, 3.0]),
        raw("r", DType::F32, &[2], &le(&[4.0, 5.0])),
        halves,
        doubles,
        floats("e", &[0], &[]),
        raw("i", DType::I64, &[1], &7i64.to_le_bytes()),
        TensorProto { string_data: vec![b"a".to_vec()], ..tensor("s", 8, &[1]) },
    ];
    let (_folder, file, spans) = scan(&model(initializers, nodes).encode_to_vec());
    let spans = spans.unwrap();
    let names: Vec<&str> = spans.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["c", "c1", "cf", "d", "e", "f", "h", "i", "r", "s"]);
    let bytes = |name: &str| bytes_of(&file, spans.get(name).unwrap());
    assert_eq!(bytes("f"), le(&[1.0, 2.0, 3.0]));
    assert_eq!(bytes("r"), le(&[4.0, 5.0]));
    assert_eq!(bytes("d"), 0.1f64.to_le_bytes());
    assert_eq!(bytes("h"), [0x80, 0x78, 0x80, 0xf8, 0x02]);
    assert_eq!(bytes("c"), le(&[5.0]));
    assert_eq!(bytes("cf"), le(&[6.0, 7.0]));
    assert_eq!(bytes("c1"), le(&[8.0]));
    assert_eq!(spans.get("e").unwrap().storage, Storage::Empty);
    assert!(matches!(spans.get("h").unwrap().storage, Storage::Varint(_)));
    assert!(matches!(spans.get("s").unwrap().storage, Storage::Opaque(_)));
    assert_eq!(spans.get("c").unwrap().origin, Origin::Constant);
    assert_eq!(spans.get("c1").unwrap().dims, Vec::<usize>::new());
    assert_eq!(spans.get("cf").unwrap().dims, [2]);
    assert_eq!(spans.get("f").unwrap().origin, Origin::Initializer);
}

#[test]
fn weights_of_linear_models_are_found_packed_or_not() {
    let text = |number: u32, text: &str| field(number, text.as_bytes());
    let packed = [text(1, "coefficients"), field(7, &le(&[1.0, 2.0]))].concat();
    let unpacked =
        [[vec![7 << 3 | 5], le(&[3.0])].concat(), [vec![7 << 3 | 5], le(&[4.0])].concat(), text(1, "intercepts")];
    let other = [text(1, "rest"), field(7, &le(&[9.0]))].concat();
    let node = |op: &str, name: &str, domain: &str, output: &str| {
        let attributes = [field(5, &packed), field(5, &unpacked.concat()), field(5, &other)].concat();
        field(1, &[attributes, text(2, output), text(3, name), text(4, op), text(7, domain)].concat())
    };
    let nodes = [
        node("LinearClassifier", "c", "ai.onnx.ml", "a"),
        node("LinearRegressor", "", "ai.onnx.ml", "b"),
        node("LinearRegressor", "elsewhere", "local", "d"),
    ];
    let (_folder, file, spans) = scan(&[number(1, 10), field(7, &nodes.concat())].concat());
    let spans = spans.unwrap();
    let names: Vec<&str> = spans.iter().map(|(name, _)| name).collect();
    let of = |node: &str| [format!("{node}/coefficients"), format!("{node}/intercepts")];
    assert_eq!(names, [of("LinearRegressor of b"), of("c")].concat());
    let span = |name: &str| spans.get(name).unwrap();
    assert_eq!(bytes_of(&file, span("c/coefficients")), le(&[1.0, 2.0]));
    assert_eq!(bytes_of(&file, span("c/intercepts")), le(&[3.0, 4.0]));
    assert_eq!((span("c/intercepts").dims.as_slice(), span("c/intercepts").chunks().len()), (&[2][..], 2));
    assert_eq!(span("c/coefficients").origin, Origin::Attribute);
}

#[test]
fn several_packed_and_unpacked_runs_in_any_order_with_unknown_fields() {
    // elements: [1] packed, 2 unpacked, [3, 4] packed; the name and dims come last; unknown fields everywhere.
    let unknown = [number(100, 5), field(101, b"???"), vec![0xfb, 0x07, 0x08, 0x01, 0xfc, 0x07]].concat();
    let mut t = unknown.clone();
    t.extend(field(4, &le(&[1.0])));
    t.extend([vec![4 << 3 | 5], le(&[2.0])].concat());
    t.extend(unknown.clone());
    t.extend(field(4, &le(&[3.0, 4.0])));
    t.extend([number(2, 1), number(1, 2), number(1, 2), field(8, b"first name"), field(8, b"w")].concat());
    let graph = [unknown.clone(), field(5, &t), unknown.clone()].concat();
    let (_folder, file, spans) = scan(&[unknown.clone(), field(7, &graph), unknown].concat());
    let spans = spans.unwrap();
    let span = spans.get("w").unwrap();
    assert_eq!(span.chunks().iter().map(|c| c.count()).collect::<Vec<_>>(), [1, 1, 2]);
    assert_eq!(bytes_of(&file, span), le(&[1.0, 2.0, 3.0, 4.0]));
    assert_eq!(span.dims, [2, 2]);
}

#[test]
fn a_graph_in_two_parts_is_one_graph() {
    let part = |name: &str| field(7, &field(5, &floats(name, &[1], &[1.0]).encode_to_vec()));
    let (_folder, file, spans) = scan(&[part("a"), part("b")].concat());
    assert_eq!(file.proto().graph.as_ref().unwrap().initializer.len(), 2);
    assert_eq!(spans.unwrap().iter().count(), 2);
    let (_folder, _file, spans) = scan(&[part("a"), part("a")].concat());
    refused(spans, &["tensor `a`", "two stored tensors"]);
}

#[test]
fn padded_varints_are_understood() {
    let mut t = floats("w", &[1], &[1.0]).encode_to_vec();
    // Tag and length of one more field in five bytes each, and the data type again, padded.
    write_varint(&mut t, 9 << 3 | 2, 5);
    t.extend([0x80, 0x80, 0x80, 0x80, 0x00]);
    let (_folder, _file, spans) = scan(&field(7, &field(5, &t)));
    refused(spans, &["two places"]);
    let mut t = tensor("w", DType::F32 as i32, &[1]).encode_to_vec();
    write_varint(&mut t, 9 << 3 | 2, 5);
    write_varint(&mut t, 4, 7);
    t.extend(le(&[9.0]));
    let (_folder, file, spans) = scan(&field(7, &field(5, &t)));
    assert_eq!(bytes_of(&file, spans.unwrap().get("w").unwrap()), le(&[9.0]));
}

#[test]
fn what_protobuf_would_merge_is_refused() {
    let t = raw("w", DType::F32, &[1], &le(&[1.0])).encode_to_vec();
    let twice = [t, field(9, &le(&[2.0]))].concat();
    let (_folder, _file, spans) = scan(&field(7, &field(5, &twice)));
    refused(spans, &["raw_data appears twice"]);

    let value = field(5, &floats("", &[1], &[1.0]).encode_to_vec());
    let attribute = [field(1, b"value"), value.clone(), value].concat();
    let node = [field(4, b"Constant"), field(2, b"c"), field(5, &attribute)].concat();
    let (_folder, _file, spans) = scan(&field(7, &field(1, &node)));
    refused(spans, &["attribute `value`", "twice"]);

    let entry = [field(1, b"location"), field(2, b"a"), field(2, b"b")].concat();
    let t = [field(8, b"w"), number(2, 1), number(1, 1), field(13, &entry), number(14, 1)].concat();
    let (_folder, _file, spans) = scan(&field(7, &field(5, &t)));
    refused(spans, &["two keys or values"]);
}

#[test]
fn names_are_unique_and_present() {
    let one = |name| floats(name, &[1], &[1.0]);
    let (_folder, _file, spans) = scan(&model(vec![one("a"), one("a")], vec![]).encode_to_vec());
    refused(spans, &["tensor `a`", "two stored tensors"]);
    let value = AttributeProto { name: Some("value".into()), t: Some(Box::new(one(""))), ..Default::default() };
    let (_folder, _file, spans) = scan(&model(vec![one("a")], vec![constant("a", value)]).encode_to_vec());
    refused(spans, &["tensor `a`"]);
    let (_folder, _file, spans) = scan(&model(vec![one("")], vec![]).encode_to_vec());
    refused(spans, &["no name"]);
}

#[test]
fn sizes_are_held_against_the_shape() {
    for t in [
        floats("w", &[3], &[1.0, 2.0]),
        floats("w", &[0], &[1.0]),
        raw("w", DType::F32, &[2], &[0; 7]),
        floats("w", &[-1], &[1.0]),
        floats("w", &[1 << 62, 4], &[1.0]),
        tensor("w", DType::F32 as i32, &[1]),
        TensorProto { int64_data: vec![1], ..tensor("w", DType::F32 as i32, &[1]) },
    ] {
        let (_folder, _file, spans) = scan(&model(vec![t], vec![]).encode_to_vec());
        refused(spans, &["tensor `w`"]);
    }
}

#[test]
fn external_data_anywhere_in_the_model_are_found() {
    let t = |name: &str| external(name, &[2], &[("location", "w.bin"), ("offset", "8")]);
    let inner = GraphProto { initializer: vec![t("nested")], ..Default::default() };
    let node = NodeProto {
        op_type: Some("If".into()),
        attribute: vec![
            AttributeProto { name: Some("then_branch".into()), g: Some(Box::new(inner)), ..Default::default() },
            AttributeProto { name: Some("list".into()), tensors: vec![t("listed")], ..Default::default() },
        ],
        ..Default::default()
    };
    let mut m = model(vec![t("main")], vec![node.clone()]);
    m.functions = vec![crate::onnx::proto::FunctionProto { node: vec![node], ..Default::default() }];
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("w.bin"), [0; 16]).unwrap();
    let file = write(folder.path(), &m.encode_to_vec()).unwrap();
    let spans = Spans::scan(&file).unwrap();
    let places: Vec<&str> = spans.external().iter().map(|e| e.place.as_str()).collect();
    assert_eq!(places.len(), 5);
    for (place, count) in [("tensor `main`", 1), ("tensor `nested`", 2), ("tensor `listed`", 2)] {
        assert_eq!(places.iter().filter(|p| **p == place).count(), count, "{place}");
    }
    for used in spans.external() {
        assert_eq!(used.range, 8..16);
        assert_eq!(&file.bytes()[used.location.bytes.clone()], b"w.bin");
    }
    assert_eq!(spans.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["main"]);
}
