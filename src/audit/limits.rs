//! Checks limits that a user sets: which make sense, and which check nothing.

use super::gates::{Gate, Gates, Judgment};
use std::collections::BTreeMap;

/// # Errors
/// Names a limit that no figure can be compared with, and says what to write.
pub fn check(gates: &Gates) -> Result<(), String> {
    for (table, limits) in [("[gates]", &gates.fail), ("[gates.warn]", &gates.warn)] {
        for (gate, limit) in limits {
            let key = gate.key();
            if limit.is_nan() || *limit == f64::NEG_INFINITY {
                return Err(format!("{table} {key} is {limit}, which is no limit; `inf` switches a gate off"));
            }
            if limit.is_finite() && is_share(*gate) && !(-1.0..=1.0).contains(limit) {
                return Err(format!(
                    "{table} {key} is {limit}; it is a share, from -1 to 1: five points are 0.05. `inf` switches a gate off"
                ));
            }
        }
    }
    Ok(())
}

/// Whether the figure is a difference of shares, or of numbers on the same scale.
fn is_share(gate: Gate) -> bool {
    use Gate::*;
    matches!(
        gate,
        MaxTestAccuracyDrop
            | MaxRetainAccuracyDrop
            | MaxBalancedAccuracyDrop
            | MaxMiaIncrease
            | MaxMiaDistance
            | MaxKsIncrease
            | MaxKsDistance
            | MaxClassKsDistance
            | MaxTprAt1pctFpr
            | MaxTprAt01pctFpr
            | MaxTransferGap
            | MaxUnderForgotten
            | MaxOverForgotten
            | MaxRetainedAucIncrease
            | MaxAverageGap
            | MaxRmiaDistance
    )
}

/// The limit from which on the gate cannot fail.
fn ceiling(gate: Gate) -> f64 {
    use Gate::*;
    match gate {
        // Distances from 0.5.
        MaxMiaIncrease | MaxMiaDistance | MaxRmiaDistance => 0.5,
        _ if is_share(gate) => 1.0,
        _ => f64::INFINITY,
    }
}

/// The gates that are checked by default, and that the configuration switches off.
pub fn switched_off(gates: &Gates) -> Vec<Gate> {
    let checks =
        |limits: &BTreeMap<Gate, f64>, gate: Gate| limits.get(&gate).is_some_and(|limit| *limit < ceiling(gate));
    let all = Gates::default();
    let usual: std::collections::BTreeSet<Gate> = all.fail.into_keys().chain(all.warn.into_keys()).collect();
    usual.into_iter().filter(|gate| !checks(&gates.fail, *gate) && !checks(&gates.warn, *gate)).collect()
}

/// The overall verdict. It is no pass if a gate that it rests on was not checked.
pub fn capped(verdict: Judgment, off: &[Gate]) -> Judgment {
    match verdict {
        Judgment::Pass if off.iter().any(|gate| gate.carries_the_verdict()) => Judgment::Warn,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(gate: Gate, limit: f64) -> Gates {
        let mut gates = Gates::default();
        gates.fail.insert(gate, limit);
        gates
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for limit in [f64::NAN, f64::NEG_INFINITY, 5.0, -1.5] {
            assert!(check(&with(Gate::MaxTestAccuracyDrop, limit)).unwrap_err().contains("max_test_accuracy_drop"));
        }
        assert!(check(&with(Gate::MaxTestLossIncrease, f64::NAN)).is_err());
        for limit in [f64::INFINITY, -1.0, 0.0, 1.0] {
            assert_eq!(check(&with(Gate::MaxTestAccuracyDrop, limit)), Ok(()));
        }
        assert_eq!(check(&with(Gate::MaxTestLossIncrease, 5.0)), Ok(()));
    }

    #[test]
    fn gates_that_cannot_fail_are_off_and_take_the_pass() {
        assert_eq!(switched_off(&Gates::default()), []);
        for limit in [1.0, f64::INFINITY] {
            let off = switched_off(&with(Gate::MaxTestAccuracyDrop, limit));
            assert_eq!(off, [Gate::MaxTestAccuracyDrop]);
            assert_eq!(capped(Judgment::Pass, &off), Judgment::Warn);
            assert_eq!(capped(Judgment::Fail, &off), Judgment::Fail);
        }
        let off = switched_off(&with(Gate::MaxKsIncrease, f64::INFINITY));
        assert_eq!((off.as_slice(), capped(Judgment::Pass, &off)), (&[Gate::MaxKsIncrease][..], Judgment::Pass));
        // It still warns.
        assert_eq!(switched_off(&with(Gate::MaxMiaDistance, f64::INFINITY)), []);
    }
}
