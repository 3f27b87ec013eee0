use super::*;

#[test]
fn flags_choose_by_name() {
    let layers = || {
        model(17).node("Gemm", "h layer.1.w layer.1.b", "y", &[]).weight("layer.1.w", &[4, 4]).weight("layer.1.b", &[4])
    };
    let names = |trainable: &[&str], freeze: &[&str]| -> Vec<String> {
        let all = chosen(&layers(), trainable, freeze).unwrap();
        all.into_iter().filter(|d| d.trainable).map(|d| d.name).collect()
    };
    assert_eq!(names(&["layer.*"], &[]), ["layer.1.w", "layer.1.b"]);
    assert_eq!(names(&["layer.*"], &["*.b"]), ["layer.1.w"]);
    assert_eq!(names(&[], &["w0"]), ["layer.1.w", "layer.1.b"]);
    for (trainable, freeze) in [(&["layr.*"][..], &[][..]), (&[], &["nothing"]), (&["w0", "a[b"], &[])] {
        let error = chosen(&layers(), trainable, freeze).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
    }
    let none = chosen(&layers(), &["w0"], &["w0"]).unwrap();
    let error = require(&none).unwrap_err();
    assert!(error.exit_code() == 3 && error.to_string().contains("frozen by --freeze w0"), "{error}");
    assert_eq!(require(&[]).unwrap_err().exit_code(), 3);
}

#[test]
fn little_of_what_could_be_trained_is_warned_of() {
    let totals = |freeze: &[&str]| {
        let model = model(17).node("Gemm", "h big", "y", &[]).weight("big", &[4, 40]);
        Totals::of(&chosen(&model, &[], freeze).unwrap())
    };
    assert_eq!(totals(&[]).warning(), None);
    let most_frozen = totals(&["big"]);
    assert_eq!((most_frozen.trainable_elements, most_frozen.path_bytes), (16, 4 * 176));
    assert!(most_frozen.warning().unwrap().contains("9 %"), "{:?}", most_frozen.warning());
}

#[test]
fn half_precision_is_trained_and_integers_are_not_listed() {
    let mut model = Model::new(17, &["x:f32[n,2]"], &["y"]).node("MatMul", "x w", "y", &[]).longs("n", &[1]);
    let half = crate::onnx::proto::TensorProto {
        data_type: Some(10),
        int32_data: vec![0x3c00; 4],
        ..crate::graph::testing::floats("w", &[2, 2], vec![])
    };
    model.graph().initializer.push(half);
    let decisions = all(&model);
    assert_eq!(decisions.len(), 1);
    assert!(decisions[0].trainable && decisions[0].dtype == DType::F16);
}
