//! Every differentiable operator's gradient against central differences, in f64, on the stored cases: float inputs become
//! parameters, and a random upstream gradient comes into every float output.

use super::{
    newest,
    probe::{Probe, random_upstream, spec_of},
};
use crate::cases::{Case, Level};
use onnx_forget::{
    engine::KernelChoice,
    ops::{self, Gradient},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeSet, path::Path};

/// Step of the central differences.
const STEP: f64 = 1e-6;
/// How far a directional derivative may be from them: their error in f64 is about 1e-9 of the loss's scale.
const DIFFERENCES: Level = Level { absolute: 1e-6, relative: 1e-6 };

/// Cases where differences mean nothing: a cast to half precision moves in steps, and its gradient is by rule that of the
/// identity; halves are where rounding jumps, ties where the largest does; a negative base has no power of an exponent beside an integer; crossed bounds make a
/// constant; a vector of norm 0 has every direction beside it; an element at the threshold steps, and so does one that is a category.
const NO_DIFFERENCES: &[&str] = &[
    "Binarizer_threshold",
    "Cast_f32_bf16_f32",
    "Cast_f32_f16",
    "CastLike_f32_f16",
    "Clip_crossed",
    "Hardmax_ties",
    "LpNormalization_zeros",
    "Normalizer_L1_zeros",
    "Normalizer_L2_zeros",
    "Normalizer_MAX_zeros",
    "OneHotEncoder_floats",
    "Pow_square",
    "Pow_square_fed",
    "Round_halves",
];

fn check(case: &Case, folder: &Path) -> Result<bool, String> {
    let upstream = random_upstream(case);
    if case.outputs.values().any(|y| y.dtype().is_float() && y.to_f64().iter().any(|x| !x.is_finite())) {
        return Ok(false);
    }
    let Some(probe) = Probe::new(case, &upstream, folder) else { return Ok(false) };
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut model = probe.model::<f64>(KernelChoice::Definition).map_err(|e| e.to_string())?;
    let gradients = probe.gradients(&model).map_err(|e| e.to_string())?;
    for (name, gradient) in &gradients {
        let i = model.parameters().iter().position(|p| p.name == *name).unwrap();
        let start = model.parameters()[i].tensor.to_vec();
        assert_eq!(start.len(), gradient.len());
        if start.is_empty() {
            continue;
        }
        let direction: Vec<f64> = start.iter().map(|_| rng.random_range(-1.0..1.0)).collect();
        let mut loss_at = |t: f64| {
            let moved: Vec<f64> = start.iter().zip(&direction).map(|(x, d)| x + t * d).collect();
            model.parameters_mut()[i].tensor.flat_mut().copy_from(&moved);
            probe.loss(&model).map_err(|e| e.to_string())
        };
        let numeric = (loss_at(STEP)? - loss_at(-STEP)?) / (2.0 * STEP);
        let analytic: f64 = gradient.to_f64().iter().zip(&direction).map(|(g, d)| g * d).sum();
        let scale = numeric.abs() + loss_at(0.0)?.abs();
        // `!(≤)`: a NaN fails.
        if !((numeric - analytic).abs() <= DIFFERENCES.absolute + DIFFERENCES.relative * scale) {
            return Err(format!("input {name}: gradient {analytic}, differences {numeric}"));
        }
    }
    Ok(true)
}

#[test]
fn gradients_agree_with_central_differences() {
    let folder = tempfile::tempdir().unwrap();
    let (mut failures, mut checked, mut count) = (Vec::new(), BTreeSet::new(), 0);
    for (label, case) in newest().iter().filter(|(label, _)| !NO_DIFFERENCES.contains(&label.as_str())) {
        match check(case, folder.path()) {
            Ok(true) => {
                checked.extend(spec_of(case, folder.path()).map(|s| (s.domain, s.name)));
                count += 1;
            }
            Ok(false) => {}
            Err(problem) => failures.push(format!("{label} ({}): {problem}", case.name)),
        }
    }
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
    assert!(count > 1200, "only {count} cases");
    let unchecked: Vec<&str> = ops::specs()
        .iter()
        .filter(|s| matches!(s.gradient, Gradient::All | Gradient::Only(_)) && !checked.contains(&(s.domain, s.name)))
        .map(|s| s.name)
        .collect();
    assert_eq!(unchecked, ["Constant"], "differentiable operators without a check");
}
