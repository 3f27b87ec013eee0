//! Comparison of two lists of outputs. Pure: NaN fails, a missing or an extra output fails, zero comparisons fail.

use crate::tensor::{DType, HostTensor};
use serde::Serialize;

/// Named outputs of one run.
pub type Outputs = Vec<(String, HostTensor)>;

/// Two floats agree if `|a − b| ≤ atol + rtol·|b|`, with `b` the reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tolerance {
    /// Absolute part.
    pub atol: f64,
    /// Part relative to the reference.
    pub rtol: f64,
}

impl Tolerance {
    /// What two correct `f32` implementations of one network keep to, given that each sums in its own order.
    pub const RUNTIMES: Self = Self { atol: 1e-4, rtol: 1e-3 };
    /// Bitwise equal up to the sign of zero.
    pub const EXACT: Self = Self { atol: 0.0, rtol: 0.0 };

    /// The tolerance for an output of element type `dtype`: half-precision outputs are given four of their own
    /// rounding steps, since the nodes before them round too.
    pub fn of(self, dtype: DType) -> Self {
        let steps = match dtype {
            DType::F16 => 4.0 * 2f64.powi(-10),
            DType::BF16 => 4.0 * 2f64.powi(-7),
            _ => 0.0,
        };
        if self == Self::EXACT { self } else { Self { atol: self.atol.max(steps), rtol: self.rtol.max(steps) } }
    }

    /// How far two values may be apart.
    pub fn allows(self, reference: f64) -> f64 {
        self.atol + self.rtol * reference.abs()
    }
}

/// The output that classes are read from.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreOutput {
    /// Its name.
    pub name: String,
    /// Where it has one column: the value above which the row is of class 1.
    pub threshold: f64,
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// Largest `|a − b|` over finite elements.
    pub max_abs_diff: f64,
    /// Largest `|a − b| / |b|` over finite elements whose reference is larger than `atol`; smaller ones are zero
    /// for all that matters.
    pub max_rel_diff: f64,
    /// Elements compared.
    pub elements: usize,
    /// Elements outside the tolerance.
    pub beyond: usize,
    /// Rows of the score output, and how many of them have the same class on both sides.
    #[serde(skip)]
    pub rows: usize,
    /// See `rows`.
    #[serde(skip)]
    pub same_class: usize,
    /// The `atol` that would have passed with this `rtol`, if one would.
    pub atol_needed: Option<f64>,
    /// The `rtol` that would have passed with this `atol`, if one would.
    pub rtol_needed: Option<f64>,
    /// What no tolerance mends: NaN, shapes, types, names, integers that differ. One entry an output and kind.
    pub problems: Vec<String>,
}

impl Comparison {
    /// Whether something was compared and everything agreed.
    pub fn passed(&self) -> bool {
        self.elements > 0 && self.beyond == 0 && self.problems.is_empty()
    }

    /// Share of rows with the same class on both sides; `None` without a score output.
    pub fn top1_agreement(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.same_class as f64 / self.rows as f64)
    }

    /// Adds what another batch of the same outputs showed.
    pub fn merge(&mut self, other: Self) {
        self.max_abs_diff = self.max_abs_diff.max(other.max_abs_diff);
        self.max_rel_diff = self.max_rel_diff.max(other.max_rel_diff);
        self.atol_needed =
            if self.elements == 0 { other.atol_needed } else { worse(self.atol_needed, other.atol_needed) };
        self.rtol_needed =
            if self.elements == 0 { other.rtol_needed } else { worse(self.rtol_needed, other.rtol_needed) };
        self.elements += other.elements;
        self.beyond += other.beyond;
        self.rows += other.rows;
        self.same_class += other.same_class;
        for problem in other.problems {
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
    }

    /// One sentence that says what is wrong and which tolerance would have passed.
    pub fn verdict(&self) -> String {
        if self.passed() {
            return format!(
                "agrees (largest difference {:.2e}, relative {:.2e})",
                self.max_abs_diff, self.max_rel_diff
            );
        }
        let mut parts = self.problems.clone();
        if self.elements == 0 {
            parts.push("nothing was compared".into());
        }
        if self.beyond > 0 {
            let needed = match (self.atol_needed, self.rtol_needed) {
                (Some(a), Some(r)) => format!("--atol {} or --rtol {} would have passed", above(a), above(r)),
                (Some(a), None) => format!("--atol {} would have passed", above(a)),
                (None, Some(r)) => format!("--rtol {} would have passed", above(r)),
                (None, None) => "no tolerance would have passed".into(),
            };
            parts.push(format!(
                "{} of {} values differ, by up to {:.3e} (relative {:.3e}); {needed}",
                self.beyond, self.elements, self.max_abs_diff, self.max_rel_diff
            ));
        }
        parts.join("; ")
    }
}

/// Two digits, rounded up, so that the printed tolerance does pass.
fn above(x: f64) -> String {
    if !(x > 0.0) || !x.is_finite() {
        return "0".into();
    }
    let scale = 10f64.powf(x.log10().floor() - 1.0);
    format!("{:.1e}", (x / scale).ceil() * scale * (1.0 + 1e-12))
}

fn worse(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    Some(a?.max(b?))
}

/// Compares `candidate` with `reference`, output by output.
///
/// Floats agree within `tolerance` (see [`Tolerance::of`]); infinities agree if their signs do; integers and
/// booleans agree if they are equal. `scores` names the output on which classes are counted.
pub fn compare(
    reference: &[(String, HostTensor)],
    candidate: &[(String, HostTensor)],
    tolerance: Tolerance,
    scores: Option<&ScoreOutput>,
) -> Comparison {
    compare_within(reference, candidate, &|_| tolerance, scores)
}

/// As [`compare()`], with a tolerance for each output, by its name.
pub fn compare_within(
    reference: &[(String, HostTensor)],
    candidate: &[(String, HostTensor)],
    tolerance: &dyn Fn(&str) -> Tolerance,
    scores: Option<&ScoreOutput>,
) -> Comparison {
    let mut all = Comparison { atol_needed: Some(0.0), rtol_needed: Some(0.0), ..Default::default() };
    for (name, tensor) in reference {
        match candidate.iter().find(|(n, _)| n == name) {
            None => all.problems.push(format!("output {name} is missing")),
            Some((_, other)) => {
                let scores = scores.filter(|s| s.name == *name);
                all.merge(tensors(name, tensor, other, tolerance(name).of(tensor.dtype()), scores));
            }
        }
    }
    for (name, _) in candidate {
        if !reference.iter().any(|(n, _)| n == name) {
            all.problems.push(format!("output {name} is not among the runtime's"));
        }
    }
    all
}

fn tensors(
    name: &str,
    reference: &HostTensor,
    candidate: &HostTensor,
    tolerance: Tolerance,
    scores: Option<&ScoreOutput>,
) -> Comparison {
    let mut out = Comparison { atol_needed: Some(0.0), rtol_needed: Some(0.0), ..Default::default() };
    if reference.dtype() != candidate.dtype() {
        out.problems.push(format!("output {name} is {}, expected {}", candidate.dtype(), reference.dtype()));
        return out;
    }
    if reference.dims() != candidate.dims() {
        out.problems.push(format!("output {name} has shape {:?}, expected {:?}", candidate.dims(), reference.dims()));
        return out;
    }
    if let (Some(a), Some(b)) = (reference.to_i64(), candidate.to_i64()) {
        out.elements = a.len();
        let differ = a.iter().zip(&b).filter(|(a, b)| a != b).count();
        if differ > 0 {
            let largest = a.iter().zip(&b).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
            out.max_abs_diff = largest as f64;
            out.problems.push(format!("output {name} ({}) must be equal: {differ} values differ", reference.dtype()));
        }
        if scores.is_some() {
            (out.rows, out.same_class) = (a.len(), a.len() - differ);
        }
        return out;
    }
    let (a, b) = (reference.to_f64(), candidate.to_f64());
    let (mut nan, mut infinite) = (0usize, 0usize);
    for (&r, &c) in a.iter().zip(&b) {
        out.elements += 1;
        if r.is_nan() || c.is_nan() {
            nan += 1;
        } else if r.is_infinite() || c.is_infinite() {
            infinite += usize::from(r != c);
        } else {
            float(&mut out, r, c, tolerance);
        }
    }
    if nan > 0 {
        out.problems.push(format!("output {name}: NaN in {nan} places"));
    }
    if infinite > 0 {
        out.problems
            .push(format!("output {name}: infinite on one side only, or of opposite sign, in {infinite} places"));
    }
    if let Some(scores) = scores {
        let (ours, theirs) = (classes(&b, reference.dims(), scores), classes(&a, reference.dims(), scores));
        out.rows = theirs.len();
        out.same_class = ours.iter().zip(&theirs).filter(|(a, b)| a == b).count();
    }
    out
}

fn float(out: &mut Comparison, reference: f64, candidate: f64, tolerance: Tolerance) {
    let (diff, size) = ((reference - candidate).abs(), reference.abs());
    out.max_abs_diff = out.max_abs_diff.max(diff);
    if size > tolerance.atol {
        out.max_rel_diff = out.max_rel_diff.max(diff / size);
    }
    out.beyond += usize::from(diff > tolerance.allows(reference));
    let atol = (diff - tolerance.rtol * size).max(0.0);
    let over = (diff - tolerance.atol).max(0.0);
    let rtol = if over == 0.0 { Some(0.0) } else { (size > 0.0).then(|| over / size) };
    out.atol_needed = worse(out.atol_needed, Some(atol));
    out.rtol_needed = worse(out.rtol_needed, rtol);
}

/// The class of each row and position of scores (rows, classes, positions…), axes of extent 1 apart: the index of the
/// largest score, the first among equals; a score without rivals is compared with the threshold.
fn classes(scores: &[f64], dims: &[usize], output: &ScoreOutput) -> Vec<usize> {
    let rows = dims.first().copied().unwrap_or(1).max(1);
    let width = scores.len() / rows;
    let count = dims.iter().skip(1).copied().find(|&d| d != 1).unwrap_or(1);
    if count <= 1 || width == 0 {
        return scores.iter().map(|&z| usize::from(z > output.threshold)).collect();
    }
    let positions = width / count;
    let class = |row: &[f64], position: usize| {
        let scores = row.iter().skip(position).step_by(positions).enumerate();
        scores.fold((0, f64::NEG_INFINITY), |best, (i, &z)| if z > best.1 { (i, z) } else { best }).0
    };
    scores.chunks(width).flat_map(|row| (0..positions).map(move |position| class(row, position))).collect()
}

#[cfg(test)]
mod tests;
