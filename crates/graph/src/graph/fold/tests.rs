use super::*;
use crate::graph::Initializer;

fn graph(nodes: &[(&str, &[usize], usize, Option<(&str, Attr)>)], stored: &[(usize, HostTensor)]) -> Graph {
    let mut graph = Graph { values: vec![Default::default(); 20], ..Graph::default() };
    for (op, inputs, output, attr) in nodes {
        graph.nodes.push(Node {
            name: op.to_string(),
            domain: String::new(),
            op_type: op.to_string(),
            opset: 17,
            inputs: inputs.iter().map(|&i| Some(ValueId(i))).collect(),
            outputs: vec![Some(ValueId(*output))],
            attrs: attr.iter().map(|(name, attr)| (name.to_string(), attr.clone())).collect(),
        });
    }
    for (value, tensor) in stored {
        let stored = Initializer { tensor: tensor.clone().into(), stored_as: None };
        graph.initializers.insert(ValueId(*value), stored);
    }
    graph
}

#[test]
fn shape_arithmetic_of_constants_is_known() {
    let graph = graph(
        &[
            ("Unsqueeze", &[0, 1], 2, None),
            ("Concat", &[2, 3], 4, Some(("axis", Attr::Int(0)))),
            ("Cast", &[4], 5, Some(("to", Attr::Int(1)))),
            ("Reshape", &[5, 6], 7, None),
            ("Squeeze", &[7], 8, None),
            ("Identity", &[8], 9, None),
            ("Identity", &[15], 10, None),
            ("Squeeze", &[3, 0], 11, None),
        ],
        &[
            (0, HostTensor::scalar(5i64)),
            (1, HostTensor::vector(vec![0i64])),
            (3, HostTensor::vector(vec![7i64, -1])),
            (6, HostTensor::vector(vec![1i64, -1])),
        ],
    );
    let known = constants(&graph);
    assert_eq!(*known[&ValueId(4)].get(), HostTensor::vector(vec![5i64, 7, -1]));
    assert_eq!(*known[&ValueId(7)].get(), HostTensor::new(&[1, 3], vec![5f32, 7.0, -1.0]).unwrap());
    assert_eq!(*known[&ValueId(9)].get(), HostTensor::vector(vec![5f32, 7.0, -1.0]));
    assert!(!known.contains_key(&ValueId(10)), "an input is not known");
    assert!(!known.contains_key(&ValueId(11)), "a wrong axis is left to the operator to report");
}

#[test]
fn conditions_on_integers_are_known() {
    let graph = graph(
        &[
            ("Add", &[0, 1], 2, None),
            ("Less", &[2, 3], 4, None),
            ("Not", &[4], 5, None),
            ("Or", &[5, 4], 6, None),
            ("Mul", &[3, 3], 7, None),
            ("Add", &[0, 8], 9, None),
            ("Less", &[10, 10], 11, None),
            ("Max", &[0, 1, 2], 12, None),
            ("Max", &[0, 1], 13, None),
        ],
        &[
            (0, HostTensor::scalar(5i64)),
            (1, HostTensor::scalar(-2i64)),
            (3, HostTensor::vector(vec![3i64, 4])),
            (8, HostTensor::scalar(1i32)),
            (10, HostTensor::scalar(1f32)),
        ],
    );
    let known = constants(&graph);
    assert_eq!(*known[&ValueId(2)].get(), HostTensor::scalar(3i64));
    assert_eq!(*known[&ValueId(4)].get(), HostTensor::vector(vec![false, true]));
    assert_eq!(*known[&ValueId(5)].get(), HostTensor::vector(vec![true, false]));
    assert_eq!(*known[&ValueId(6)].get(), HostTensor::vector(vec![true, true]));
    assert_eq!(*known[&ValueId(7)].get(), HostTensor::vector(vec![9i64, 16]));
    assert!(!known.contains_key(&ValueId(9)), "types that differ are left to the operator to report");
    assert_eq!(*known[&ValueId(11)].get(), HostTensor::scalar(false), "floats are compared, exactly");
    assert_eq!(*known[&ValueId(13)].get(), HostTensor::scalar(5i64));
    assert!(!known.contains_key(&ValueId(12)), "of more than two operands none may be lost");
}

#[test]
fn paddings_as_torch_writes_them_are_known() {
    // Torch's pads, the last axis first, turned around: [0, 64] for two axes is [0, 0, 0, 64].
    let graph = graph(
        &[
            ("ConstantOfShape", &[0], 1, Some(("value", Attr::Tensor(Arc::new(HostTensor::vector(vec![0i64])))))),
            ("Concat", &[2, 1], 3, Some(("axis", Attr::Int(0)))),
            ("Reshape", &[3, 4], 5, None),
            ("Slice", &[5, 6, 7, 8, 6], 9, None),
            ("Transpose", &[9], 10, Some(("perm", Attr::Ints(vec![1, 0])))),
            ("Gather", &[10, 6], 11, Some(("axis", Attr::Int(1)))),
            ("Slice", &[10, 8, 12, 12, 13], 14, None),
            ("Where", &[15, 2, 8], 16, None),
        ],
        &[
            (0, HostTensor::vector(vec![2i64])),
            (2, HostTensor::vector(vec![0i64, 64])),
            (4, HostTensor::vector(vec![-1i64, 2])),
            (6, HostTensor::vector(vec![-1i64])),
            (7, HostTensor::vector(vec![-i64::MAX])),
            (8, HostTensor::vector(vec![0i64])),
            (12, HostTensor::vector(vec![1i64])),
            (13, HostTensor::vector(vec![2i64])),
            (15, HostTensor::vector(vec![false, true])),
        ],
    );
    let known = constants(&graph);
    assert_eq!(*known[&ValueId(10)].get(), HostTensor::new(&[2, 2], vec![0i64, 0, 0, 64]).unwrap());
    assert_eq!(*known[&ValueId(11)].get(), HostTensor::new(&[2, 1], vec![0i64, 64]).unwrap());
    assert_eq!(*known[&ValueId(14)].get(), HostTensor::new(&[2, 1], vec![0i64, 0]).unwrap());
    assert_eq!(*known[&ValueId(16)].get(), HostTensor::vector(vec![0i64, 64]));
}

#[test]
fn casts_keep_large_integers_and_cut_fractions() {
    let large = HostTensor::vector(vec![i64::MAX - 1]);
    assert_eq!(cast(&large, DType::U64), Some(HostTensor::vector(vec![i64::MAX as u64 - 1])));
    let half = HostTensor::vector(vec![2.75f32, -1.5, 0.0]);
    assert_eq!(cast(&half, DType::I32), Some(HostTensor::vector(vec![2i32, -1, 0])));
    assert_eq!(cast(&half, DType::Bool), Some(HostTensor::vector(vec![true, true, false])));
}
