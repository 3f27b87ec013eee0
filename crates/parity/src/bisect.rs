//! Which parameter tensors a wrong slope comes from: halves of them are moved alone, and those that differ halved again.

use super::{
    gradient::{Checker, Failing, STEPS},
    slopes::Slopes,
};
use crate::error::Result;

/// Halvings, at most: each costs two slopes, which are two losses each.
const HALVINGS: usize = 16;
/// A half counts as wrong from this share of the whole error on.
const SHARE: f64 = 0.2;

/// The tensors whose part in the derivative along `direction` is wrong, at the point `near` on it.
pub(super) fn derivative(checker: &mut Checker<'_>, direction: u64, near: f64) -> Result<Vec<Failing>> {
    let at = checker.at(direction, near)?;
    let all = checker.all();
    let whole = checker.derivative(direction, &all, &at, &STEPS)?;
    find(checker, whole, |checker, which| checker.derivative(direction, which, &at, &[whole.step]))
}

/// The tensors with which the loss changes otherwise than the runtime's.
pub(super) fn change(checker: &mut Checker<'_>, direction: u64, length: f64) -> Result<Vec<Failing>> {
    let all = checker.all();
    let whole = checker.change(direction, &all, length)?;
    find(checker, whole, |checker, which| checker.change(direction, which, length))
}

fn find(
    checker: &mut Checker<'_>,
    whole: Slopes,
    mut slopes: impl FnMut(&mut Checker<'_>, &[usize]) -> Result<Slopes>,
) -> Result<Vec<Failing>> {
    let all = checker.all();
    let allowed = |s: &Slopes| (SHARE * whole.error()).max(s.noise);
    // The worst is on top: it is named first where halvings run out.
    let (mut open, mut failing, mut halvings) = (vec![(all, whole)], Vec::new(), 0);
    while let Some((which, found)) = open.pop() {
        if let [at] = which.as_slice() {
            let rel_error = found.error() / found.numeric.abs();
            failing.push(Failing { name: checker.name(*at), ours: found.ours, numeric: found.numeric, rel_error });
        } else if halvings < HALVINGS {
            halvings += 1;
            let (a, b) = which.split_at(which.len() / 2);
            for half in [a, b] {
                let found = slopes(checker, half)?;
                // Written so that a NaN is larger than any error.
                if !(found.error() <= allowed(&found)) {
                    open.push((half.to_vec(), found));
                }
            }
            open.sort_by(|a, b| a.1.error().total_cmp(&b.1.error()));
        }
    }
    failing.sort_by(|a, b| (b.ours - b.numeric).abs().total_cmp(&(a.ours - a.numeric).abs()));
    Ok(failing)
}
