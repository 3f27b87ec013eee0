mod choice;

use super::*;
use crate::graph::{
    loss::{self, LabelKind, LossKind},
    testing::{Model, body, int, ints, node, opset, property, value},
};

fn all(model: &Model) -> Vec<Decision> {
    chosen(model, &[], &[]).unwrap()
}

fn chosen(model: &Model, trainable: &[&str], freeze: &[&str]) -> Result<Vec<Decision>> {
    let graph = model.build().unwrap();
    let plan = loss::plan(&graph, Some(LossKind::Mse), LabelKind::Value).unwrap();
    let list = |globs: &[&str]| globs.iter().map(ToString::to_string).collect::<Vec<_>>();
    decisions(&graph, &plan, &list(trainable), &list(freeze))
}

/// Names of what is trained.
fn trained(model: &Model) -> Vec<String> {
    all(model).into_iter().filter(|decision| decision.trainable).map(|decision| decision.name).collect()
}

fn reason(model: &Model, name: &str) -> String {
    all(model).into_iter().find(|decision| decision.name == name).unwrap().reason
}

fn model(version: i64) -> Model {
    Model::new(version, &["x:f32[n,4]"], &["y"]).weight("w0", &[4, 4]).node("MatMul", "x w0", "h", &[])
}

#[test]
fn layers_have_weights_and_biases() {
    let image = Model::new(17, &["x:f32[n,3,8,8]"], &["y"])
        .node("Conv", "x cw cb", "c", &[])
        .node("BatchNormalization", "c scale bias mean var", "d", &[])
        .node("PRelu", "d slope", "e", &[])
        .node("GlobalAveragePool", "e", "f", &[])
        .node("Flatten", "f", "g", &[])
        .node("Transpose", "gw", "gt", &[])
        .node("MatMul", "g gt", "m", &[])
        .node("Add", "mb m", "y", &[])
        .weight("cw", &[5, 3, 3, 3])
        .weight("cb", &[5])
        .weight("scale", &[5])
        .weight("bias", &[5])
        .weight("mean", &[5])
        .floats("var", &[5], vec![1.0; 5])
        .weight("slope", &[5, 1, 1])
        .weight("gw", &[1, 5])
        .weight("mb", &[1])
        .weight("unused", &[3]);
    assert_eq!(trained(&image), ["cw", "cb", "scale", "bias", "slope", "gw", "mb"]);
    assert!(reason(&image, "mean").contains("running mean") && reason(&image, "var").contains("running variance"));
    assert!(reason(&image, "gw").contains("weight of MatMul (n_m) through Transpose"), "{}", reason(&image, "gw"));
    assert!(reason(&image, "mb").contains("bias") && reason(&image, "mb").contains("n_m"), "{}", reason(&image, "mb"));
    assert!(reason(&image, "unused").contains("no node"));
    let asked = chosen(&image, &["mean", "var", "c?"], &["cb"]).unwrap();
    let yes: Vec<_> = asked.iter().filter(|d| d.trainable).map(|d| d.name.as_str()).collect();
    assert_eq!(yes, ["cw"], "statistics have no gradient, whoever asks");
    let recurrent = Model::new(17, &["x:f32[t,n,4]"], &["y"])
        .node("LSTM", "x w r b _ h c p", "y", &[int("hidden_size", 2)])
        .weight("w", &[1, 8, 4])
        .weight("r", &[1, 8, 2])
        .weight("b", &[1, 16])
        .weight("h", &[1, 1, 2])
        .weight("c", &[1, 1, 2])
        .weight("p", &[1, 6]);
    assert_eq!(trained(&recurrent), ["w", "r", "b", "p"]);
}

#[test]
fn numbers_of_activations_are_no_parameters() {
    let gelu = model(17)
        .node("Div", "h root2", "a", &[])
        .node("Erf", "a", "b", &[])
        .node("Add", "b one", "c", &[])
        .node("Mul", "h c", "d", &[])
        .node("Mul", "d half", "e", &[])
        .node("Pow", "e three", "f", &[])
        .node("Clip", "f low high", "g", &[])
        .node("Where", "cond g fill", "y", &[])
        .node("Greater", "h one", "cond", &[])
        .floats("root2", &[], vec![std::f32::consts::SQRT_2])
        .floats("one", &[], vec![1.0])
        .floats("half", &[1], vec![0.5])
        .floats("three", &[], vec![3.0])
        .floats("low", &[], vec![0.0])
        .floats("high", &[], vec![6.0])
        .floats("fill", &[], vec![-1e9]);
    assert_eq!(trained(&gelu), ["w0"]);
    assert!(reason(&gelu, "low").contains("Clip") && reason(&gelu, "root2").contains("n_a"));
}

#[test]
fn a_normalization_that_is_written_out_has_scale_and_bias() {
    let layer_norm = model(13)
        .node("ReduceMean", "h", "m", &[ints("axes", &[-1])])
        .node("Sub", "h m", "c", &[])
        .node("Pow", "c two", "p", &[])
        .node("ReduceMean", "p", "v", &[ints("axes", &[-1])])
        .node("Add", "v eps", "ve", &[])
        .node("Sqrt", "ve", "s", &[])
        .node("Div", "c s", "n", &[])
        .node("Mul", "n gamma", "g", &[])
        .node("Add", "g beta", "y", &[])
        .floats("two", &[], vec![2.0])
        .floats("eps", &[], vec![1e-5])
        .floats("gamma", &[4], vec![1.0; 4])
        .floats("beta", &[4], vec![0.0; 4]);
    assert_eq!(trained(&layer_norm), ["w0", "gamma", "beta"]);
    assert!(reason(&layer_norm, "gamma").contains("scale"), "{}", reason(&layer_norm, "gamma"));
    let batch_norm = model(13)
        .node("Sub", "h mu", "c", &[])
        .node("Add", "sigma eps", "ve", &[])
        .node("Sqrt", "ve", "s", &[])
        .node("Div", "c s", "n", &[])
        .node("Mul", "n gamma", "g", &[])
        .node("Add", "g beta", "y", &[])
        .floats("eps", &[], vec![1e-5])
        .weight("mu", &[4])
        .weight("sigma", &[4])
        .weight("gamma", &[4])
        .weight("beta", &[4]);
    assert_eq!(trained(&batch_norm), ["w0", "gamma", "beta"]);
    assert!(reason(&batch_norm, "mu").contains("mean") && reason(&batch_norm, "sigma").contains("variance"));
    let group_norm = model(17)
        .node("Reshape", "h groups", "r", &[])
        .node("InstanceNormalization", "r unit zero", "i", &[])
        .node("Reshape", "i back", "b", &[])
        .node("Mul", "b gamma", "y", &[])
        .longs("groups", &[0, 2, -1])
        .longs("back", &[0, 4])
        .floats("unit", &[2], vec![1.0; 2])
        .floats("zero", &[2], vec![0.0; 2])
        .weight("gamma", &[4]);
    assert_eq!(trained(&group_norm), ["w0", "gamma"]);
}

#[test]
fn inputs_are_standardized_by_constants() {
    let model = Model::new(17, &["x:f32[n,4]"], &["y"])
        .node("Cast", "x", "f", &[int("to", 1)])
        .node("Sub", "f a", "c", &[])
        .node("Div", "c b", "d", &[])
        .node("Mul", "d k", "e", &[])
        .node("Gemm", "e w", "y", &[])
        .weight("a", &[4])
        .weight("b", &[4])
        .weight("k", &[4])
        .weight("w", &[4, 2]);
    assert_eq!(trained(&model), ["w"]);
    for name in ["a", "b", "k"] {
        assert!(reason(&model, name).contains("standardizes the model's input"), "{}", reason(&model, name));
    }
}

#[test]
fn transformers_have_tables_and_no_masks() {
    let sine = (0..6).flat_map(|p| (0..4).map(move |i| (p as f32 / 10f32.powi(i / 2), i)));
    let sine: Vec<f32> = sine.map(|(angle, i)| if i % 2 == 0 { angle.sin() } else { angle.cos() }).collect();
    let causal: Vec<f32> = (0..36).map(|i| if i % 6 > i / 6 { f32::NEG_INFINITY } else { 0.0 }).collect();
    let window: Vec<f32> = (0..36).map(|i| if i % 2 == 0 { -100.0 } else { 0.0 }).collect();
    let model = Model::new(17, &["ids:i64[n,6]"], &["y"])
        .node("Gather", "tok ids", "t", &[])
        .node("Slice", "pos zero six", "ps", &[])
        .node("Add", "t ps", "u", &[])
        .node("Add", "u sine", "v", &[])
        .node("Expand", "cls shape", "ce", &[])
        .node("Concat", "ce v", "z", &[int("axis", 1)])
        .node("MatMul", "z wq", "q", &[])
        .node("Transpose", "z", "zt", &[ints("perm", &[0, 2, 1])])
        .node("MatMul", "q zt", "s0", &[])
        .node("Mul", "s0 root", "sm", &[])
        .node("Add", "sm relative", "s1", &[])
        .node("Add", "s1 causal", "s2", &[])
        .node("Add", "s2 window", "s3", &[])
        .node("Softmax", "s3", "s4", &[])
        .node("Mul", "s4 keep", "y", &[])
        .weight("tok", &[9, 4])
        .weight("pos", &[1, 8, 4])
        .floats("sine", &[1, 6, 4], sine)
        .weight("cls", &[1, 1, 4])
        .weight("wq", &[4, 4])
        .weight("relative", &[6, 6])
        .floats("root", &[], vec![0.5])
        .floats("causal", &[6, 6], causal)
        .floats("window", &[6, 6], window)
        .floats("keep", &[2], vec![1.0, 0.0])
        .longs("zero", &[0])
        .longs("six", &[6])
        .longs("shape", &[2, 1, 4]);
    assert_eq!(trained(&model), ["tok", "pos", "cls", "wq", "relative"]);
    for (name, word) in
        [("sine", "sines"), ("causal", "mask"), ("window", "mask"), ("keep", "mask"), ("pos", "position")]
    {
        assert!(reason(&model, name).contains(word), "{name}: {}", reason(&model, name));
    }
}

#[test]
fn the_bias_of_a_last_layer_is_no_mask() {
    let last = model(17)
        .node("MatMul", "h w1", "m", &[])
        .node("Add", "m b1", "l", &[])
        .node("Softmax", "l", "p", &[])
        .node("Relu", "p", "y", &[])
        .weight("w1", &[4, 2])
        .floats("b1", &[2], vec![0.25, -0.25]);
    assert_eq!(trained(&last), ["w0", "w1", "b1"]);
}

#[test]
fn a_shared_tensor_is_trained_unless_one_use_forbids() {
    let tied = Model::new(17, &["ids:i64[n]"], &["y"])
        .node("Gather", "table ids", "e", &[])
        .node("Transpose", "table", "t", &[])
        .node("MatMul", "e t", "y", &[])
        .weight("table", &[9, 4]);
    let decision = &all(&tied)[0];
    assert!(decision.trainable && decision.uses == 2 && decision.reason.contains("(2 uses)"), "{decision:?}");
    let shared = model(17).node("BatchNormalization", "h s s s v", "y", &[]).floats("s", &[4], vec![0.0; 4]).floats(
        "v",
        &[4],
        vec![1.0; 4],
    );
    assert_eq!(trained(&shared), ["w0"], "a bias that is stored once with a mean cannot move alone");
}

#[test]
fn nothing_off_the_gradient_s_path_is_trained() {
    let cut = model(17)
        .node("ArgMax", "h", "i", &[int("axis", 1)])
        .node("Gather", "table i", "g", &[])
        .node("Gemm", "g w", "y", &[])
        .weight("table", &[4, 4])
        .weight("w", &[4, 2]);
    assert_eq!(trained(&cut), ["table", "w"]);
    assert!(reason(&cut, "w0").contains("no gradient flows"), "{}", reason(&cut, "w0"));
    let lost = crate::onnx::proto::GraphProto {
        node: vec![node("MatMul", "x v", "o", &[])],
        output: vec![value("o")],
        ..Default::default()
    };
    let branch = Model::new(17, &["x:f32[n,4]", "c:bool[]"], &["y"])
        .node("If", "c", "b", &[body("then_branch", lost.clone()), body("else_branch", lost)])
        .node("Gemm", "b w", "y", &[])
        .weight("v", &[4, 4])
        .weight("w", &[4, 4]);
    assert_eq!(trained(&branch), ["w"]);
}

#[test]
fn tensors_in_functions_cannot_be_rewritten() {
    let function = crate::onnx::proto::FunctionProto {
        name: Some("F".into()),
        domain: Some("local".into()),
        input: vec!["a".into(), "v".into()],
        output: vec!["r".into()],
        node: vec![
            node(
                "Constant",
                "",
                "k",
                &[crate::graph::testing::tensor_attr(
                    "value",
                    crate::graph::testing::floats("", &[4, 4], vec![0.5; 16]),
                )],
            ),
            node("MatMul", "a k", "m", &[]),
            node("MatMul", "m v", "r", &[]),
        ],
        opset_import: vec![opset("", 17)],
        ..Default::default()
    };
    let mut model = model(17).function(function).weight("v", &[4, 4]);
    model.proto.opset_import.push(opset("local", 1));
    let call = crate::onnx::proto::NodeProto { domain: Some("local".into()), ..node("F", "h v", "y", &[]) };
    model.graph().node.push(call);
    assert_eq!(trained(&model), ["w0", "v"]);
    assert!(reason(&model, "n_y/k").contains("cannot be rewritten"));
}

#[test]
fn what_attention_adds_to_its_scores_is_a_bias_or_a_mask() {
    let with = |mask: &str| {
        Model::new(23, &["x:f32[n,2,3,4]"], &["y"])
            .node("MatMul", "x wq", "q", &[])
            .node("Gather", "table places", "looked_up", &[])
            .node("Unsqueeze", "looked_up first", "relative", &[])
            .node("Attention", &format!("q x x {mask}"), "y", &[])
            .weight("wq", &[4, 4])
            .weight("table", &[5, 3])
            .longs("places", &[0, 2, 4])
            .longs("first", &[0])
            .weight("bias", &[3, 3])
            .floats("causal", &[1, 3], vec![0.0, 0.0, f32::NEG_INFINITY])
    };
    assert_eq!(trained(&with("bias")), ["wq", "bias"]);
    assert!(reason(&with("bias"), "bias").contains("attention scores"));
    assert_eq!(trained(&with("relative")), ["wq", "table"], "as T5 looks up its bias");
    assert_eq!(trained(&with("causal")), ["wq"]);
    assert!(reason(&with("causal"), "causal").contains("mask"));
    let mut model = Model::new(17, &["x:f32[n,3,4]"], &["y"]).weight("bias", &[1, 2, 3, 3]).node(
        "MultiHeadAttention",
        "x x x",
        "y",
        &[int("num_heads", 2)],
    );
    model.graph().node[0].domain = Some("com.microsoft".into());
    model.graph().node[0].input = ["x", "x", "x", "", "", "bias"].map(String::from).to_vec();
    model.proto.opset_import.push(opset("com.microsoft", 1));
    assert_eq!(trained(&model), ["bias"]);
}

#[test]
fn the_file_s_own_word_comes_before_roles() {
    let dynamo = || {
        model(17)
            .node("Add", "h table", "a", &[])
            .node("Mul", "a scalar", "b", &[])
            .node("MatMul", "b val_3", "c", &[])
            .node("Mul", "c val_4", "y", &[])
            .weight("table", &[4])
            .floats("scalar", &[], vec![2.0])
            .weight("val_3", &[4, 4])
            .weight("val_4", &[4])
            .value("w0:f32[4,4]", &[(INPUT_KIND, "PARAMETER")])
            .value("table:f32[4]", &[(INPUT_KIND, "BUFFER")])
            .value("scalar:f32[]", &[(INPUT_KIND, "PARAMETER")])
            .value("val_3:f32[4,4]", &[("folded_from", "['head.weight']")])
            .value("val_4:f32[4]", &[("folded_from", "['val_1', 'val_2']")])
    };
    assert_eq!(trained(&dynamo()), ["w0", "scalar", "val_3"]);
    assert!(reason(&dynamo(), "table").contains("buffer") && reason(&dynamo(), "val_3").contains("head.weight"));
    let mut info = dynamo();
    let update = vec![property("val_4", "new"), property("not_here", "other")];
    info.proto
        .training_info
        .push(crate::onnx::proto::TrainingInfoProto { update_binding: update, ..Default::default() });
    assert_eq!(trained(&info), ["val_4"]);
    assert_eq!(all(&info)[0].source, "training info");
    let mut buffers = model(17).node("Gemm", "h w1", "y", &[]).weight("w1", &[4, 4]);
    buffers.graph().input.push(value("w1_grad.accumulation.buffer:f32[4,4]"));
    assert_eq!(trained(&buffers), ["w1"]);
}

#[test]
fn exporters_constants_are_no_parameters_and_named_scalars_are() {
    let torch = model(17)
        .producer("pytorch")
        .node("Mul", "h tau", "a", &[])
        .node("Mul", "a onnx::Mul_7", "b", &[])
        .constant("/c/Constant_output_0", &[4], vec![0.1, 0.2, 0.3, 0.4])
        .node("Mul", "b /c/Constant_output_0", "y", &[])
        .floats("tau", &[], vec![1.5])
        .floats("onnx::Mul_7", &[], vec![0.5]);
    assert_eq!(trained(&torch), ["w0", "tau"]);
    let other = model(17).producer("keras").constant("k", &[4, 4], vec![0.5; 16]).node("MatMul", "h k", "y", &[]);
    assert_eq!(trained(&other), ["w0", "k"], "other tools store weights in Constant nodes");
}
