//! What names and elements tell of a tensor.

use crate::{
    graph::{Graph, ValueId},
    tensor::HostTensor,
};

/// Parts of names that exporters make up.
const GENERATED: [&str; 12] = [
    "val",
    "arange",
    "scalar_tensor",
    "scalar_tensor_default",
    "zeros",
    "ones",
    "full",
    "lift_fresh_copy",
    "_to_copy",
    "view",
    "unsqueeze",
    "expand",
];

/// Whether a name is made up by an exporter: `val_12`, `onnx::MatMul_12`, `/layer/Constant_output_0`, `12`.
pub(super) fn is_generated(name: &str) -> bool {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
    name.starts_with('/') || name.contains("::") || stem.is_empty() || GENERATED.contains(&stem)
}

/// End of the metadata key under which PyTorch's dynamo exporter notes what a tensor was computed from.
pub(super) const FOLDED_FROM: &str = "folded_from";

/// Names of the module's tensors that the exporter computed a tensor from, if it noted any: its own constants, which
/// have made-up names, are left out.
pub(super) fn folded_from(graph: &Graph, value: ValueId) -> Option<String> {
    let metadata = &graph.values.get(value.0)?.metadata;
    let (_, list) = metadata.iter().find(|(key, _)| key.ends_with(FOLDED_FROM))?;
    let names = list.split(['[', ']', ',', '\'', '"', ' ']).filter(|name| !name.is_empty() && !is_generated(name));
    let names: Vec<&str> = names.collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Whether the last part of a name is that of a statistic.
pub(super) fn names_statistic(name: &str) -> bool {
    const STATISTICS: [&str; 14] = [
        "running_mean",
        "running_var",
        "moving_mean",
        "moving_variance",
        "mean",
        "std",
        "var",
        "variance",
        "pixel_mean",
        "pixel_std",
        "image_mean",
        "image_std",
        "num_batches_tracked",
        "moving_var",
    ];
    let last = name.rsplit(['.', '/']).next().unwrap_or(name);
    STATISTICS.contains(&last.split(':').next().unwrap_or(last))
}

/// Whether it holds a value that stands for minus infinity, as masks that are added to attention scores do.
pub(super) fn blocks_attention(tensor: &HostTensor) -> bool {
    tensor.to_f64().iter().any(|&x| x <= -1e4)
}

/// Whether all elements are `a` or `b`, and both occur.
pub(super) fn is_made_of(tensor: &HostTensor, a: f64, b: f64) -> bool {
    let elements = tensor.to_f64();
    elements.iter().all(|&x| x == a || x == b) && elements.contains(&a) && elements.contains(&b)
}

/// Number of different values, counted up to three.
pub(super) fn different(tensor: &HostTensor) -> usize {
    let mut seen: Vec<f64> = Vec::new();
    for x in tensor.to_f64() {
        if !seen.contains(&x) {
            seen.push(x);
        }
        if seen.len() == 3 {
            break;
        }
    }
    seen.len()
}

/// Whether all elements are `x`.
pub(super) fn is_all(tensor: &HostTensor, x: f64) -> bool {
    tensor.to_f64().iter().all(|&element| element == x)
}

/// Whether it is a table of sines and cosines of positions: all within ±1, the entries at position 0 are exactly 0 and
/// 1, those at other positions are not.
pub(super) fn is_sinusoid(tensor: &HostTensor) -> bool {
    let dims: Vec<usize> = tensor.dims().iter().copied().filter(|&dim| dim > 1).collect();
    let (Some(&positions), Some(&width)) = (dims.first(), dims.last()) else { return false };
    if dims.len() < 2 || positions * width > tensor.len() {
        return false;
    }
    let elements = tensor.to_f64();
    let exact = |x: &f64| *x == 0.0 || *x == 1.0;
    let first = elements.get(..width).unwrap_or_default();
    first.iter().all(exact)
        && elements.iter().all(|x| x.abs() <= 1.0 + 1e-6)
        && elements.get(width..).unwrap_or_default().iter().filter(|x| !exact(x)).count() * 2 > elements.len() - width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_names_are_told_from_the_module_s() {
        for name in ["val_12", "onnx::MatMul_3", "/a/Constant_1_output_0", "417", "arange", "zeros_2"] {
            assert!(is_generated(name), "{name}");
        }
        for name in ["tau", "a.weight", "valve", "layers.0.gamma", "pos"] {
            assert!(!is_generated(name), "{name}");
        }
        let mut graph = Graph::default();
        for list in ["['val_0', 'val_1']", "['val_0', 'pe.weight', 'pos']"] {
            let metadata = [("pkg.onnxscript.optimizer.folded_from".to_string(), list.to_string())].into();
            graph.values.push(crate::graph::ValueInfo { metadata, ..Default::default() });
        }
        assert_eq!(folded_from(&graph, ValueId(0)), None);
        assert_eq!(folded_from(&graph, ValueId(1)).as_deref(), Some("pe.weight, pos"));
        assert!(names_statistic("bn.running_mean") && names_statistic("mean") && !names_statistic("meaning"));
    }

    #[test]
    fn tables_of_positions_are_sines_and_cosines_from_0() {
        let table = |f: &dyn Fn(usize, usize) -> f32| {
            let values = (0..8).flat_map(|p| (0..4).map(move |i| (p, i))).map(|(p, i)| f(p, i)).collect();
            HostTensor::new(&[1, 8, 4], values).unwrap()
        };
        let angle = |p: usize, i: usize| p as f32 / 10f32.powi(i as i32 / 2);
        assert!(is_sinusoid(&table(&|p, i| if i % 2 == 0 { angle(p, i).sin() } else { angle(p, i).cos() })));
        assert!(is_sinusoid(&table(&|p, i| angle(p, i).cos())));
        assert!(!is_sinusoid(&table(&|p, i| (p * 4 + i) as f32 * 0.01 - 0.2)));
        assert!(!is_sinusoid(&table(&|_, _| 0.0)), "a table of zeros may be about to be learned");
        assert!(!is_sinusoid(&HostTensor::vector(vec![0f32, 0.5])));
    }
}
