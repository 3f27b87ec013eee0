//! What names and elements tell of a tensor.

use crate::{
    graph::{Graph, ValueId},
    tensor::{Held, HostTensor},
};
use std::cell::OnceCell;

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

/// Whether a name is made up by an exporter: `val_12`, `onnx::MatMul_12`, `/layer/Constant_output_0`, `12`, or `y/then_branch/12`
/// for a value inside a branch.
pub(super) fn is_generated(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    let stem = last.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
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

/// What the elements of one tensor tell, looked at once however often the tensor is used.
pub(super) struct Facts<'a> {
    tensor: &'a Held,
    sinusoid: OnceCell<bool>,
    blocks: OnceCell<bool>,
    zeros_and_ones: OnceCell<bool>,
    different: OnceCell<usize>,
    /// The value of all elements, if it is the same.
    all: OnceCell<Option<f64>>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(tensor: &'a Held) -> Self {
        Self {
            tensor,
            sinusoid: OnceCell::new(),
            blocks: OnceCell::new(),
            zeros_and_ones: OnceCell::new(),
            different: OnceCell::new(),
            all: OnceCell::new(),
        }
    }

    /// See [`is_sinusoid`].
    pub(super) fn is_sinusoid(&self) -> bool {
        *self.sinusoid.get_or_init(|| is_sinusoid(&self.tensor.get()))
    }

    /// See [`blocks_attention`].
    pub(super) fn blocks_attention(&self) -> bool {
        *self.blocks.get_or_init(|| blocks_attention(&self.tensor.get()))
    }

    /// Whether all elements are 0 or 1, and both occur.
    pub(super) fn is_zeros_and_ones(&self) -> bool {
        *self.zeros_and_ones.get_or_init(|| is_made_of(&self.tensor.get(), 0.0, 1.0))
    }

    /// See [`different`].
    pub(super) fn different(&self) -> usize {
        *self.different.get_or_init(|| different(&self.tensor.get()))
    }

    /// Whether all elements are `x`.
    pub(super) fn is_all(&self, x: f64) -> bool {
        let all = self.all.get_or_init(|| self.tensor.number());
        self.tensor.is_empty() || *all == Some(x)
    }
}

/// Whether it holds a value that stands for minus infinity, as masks that are added to attention scores do.
fn blocks_attention(tensor: &HostTensor) -> bool {
    tensor.f64s().any(|x| x <= -1e4)
}

/// Whether all elements are `a` or `b`, and both occur.
fn is_made_of(tensor: &HostTensor, a: f64, b: f64) -> bool {
    let mut found = (false, false);
    tensor.f64s().all(|x| {
        found = (found.0 || x == a, found.1 || x == b);
        x == a || x == b
    }) && found == (true, true)
}

/// Number of different values, counted up to three.
fn different(tensor: &HostTensor) -> usize {
    let mut seen: Vec<f64> = Vec::new();
    for x in tensor.f64s() {
        if !seen.contains(&x) {
            seen.push(x);
        }
        if seen.len() == 3 {
            break;
        }
    }
    seen.len()
}

/// Whether it is a table of sines and cosines of positions, one position a row from 0 on: the entries of row 0 are exactly 0
/// and 1, and each column is a wave: `x[p+1] + x[p−1] = 2·cos(ω)·x[p]` to rounding, whatever its frequency, and whether
/// sines and cosines take turns or are halves. Of few rows, which any numbers would fit, the frequencies are
/// `10000^(−2i/d)`.
fn is_sinusoid(tensor: &HostTensor) -> bool {
    let dims: Vec<usize> = tensor.dims().iter().copied().filter(|&dim| dim > 1).collect();
    let (Some(&positions), Some(&width)) = (dims.first(), dims.last()) else { return false };
    if dims.len() != 2 || positions.checked_mul(width) != Some(tensor.len()) {
        return false;
    }
    let tolerance = if tensor.dtype().size() < 4 { 2e-2 } else { 1e-5 };
    let exact = |x: f64| x == 0.0 || x == 1.0;
    let at = |row: usize, column: usize| tensor.f64_at(row * width + column).unwrap_or(f64::NAN);
    let varies = |column: usize| (1..positions).any(|row| !exact(at(row, column)));
    if !(0..width).all(|column| exact(at(0, column))) || 2 * (0..width).filter(|&c| varies(c)).count() <= width {
        return false;
    }
    if positions < 6 {
        let angle = |row: usize, i: usize, d: usize| row as f64 / 10000f64.powf(2.0 * i as f64 / d as f64);
        let half = width / 2;
        let turns = |row: usize, c: usize| {
            if c.is_multiple_of(2) { angle(row, c / 2, width).sin() } else { angle(row, c / 2, width).cos() }
        };
        let halves = |row: usize, c: usize| {
            if c < half { angle(row, c, width).sin() } else { angle(row, c - half, width).cos() }
        };
        let all = |f: &dyn Fn(usize, usize) -> f64| {
            (0..positions).all(|row| (0..width).all(|c| (at(row, c) - f(row, c)).abs() <= tolerance))
        };
        return all(&turns) || all(&halves);
    }
    (0..width).all(|column| {
        let inner = || (1..positions - 1).map(|row| (at(row, column), at(row - 1, column) + at(row + 1, column)));
        let (product, square) = inner().fold((0.0, 0.0), |(p, s), (x, sum)| (p + x * sum, s + x * x));
        let factor = if square > 0.0 { product / square } else { 2.0 };
        factor.abs() <= 2.0 + tolerance && inner().all(|(x, sum)| (sum - factor * x).abs() <= tolerance)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_names_are_told_from_the_module_s() {
        for name in
            ["val_12", "onnx::MatMul_3", "/a/Constant_1_output_0", "417", "arange", "zeros_2", "y/then_branch/12"]
        {
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
        let words = |p: usize, i: usize| if p == 0 { 0.0 } else { ((p * 37 + i * 11) % 17) as f32 / 17.0 - 0.5 };
        assert!(!is_sinusoid(&table(&words)), "words whose padding is zero");
        assert!(!is_sinusoid(&HostTensor::vector(vec![0f32, 0.5])));
    }
}
