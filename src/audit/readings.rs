//! The figures that gates are applied to.

use super::{
    accuracy::SplitScore,
    conformal::{Records, Share},
    drift::Drift,
    gates::{Evidence, Gate, Need, attacks},
    membership::{Attack, INFORMATIVE_ROWS},
    record::Audit,
    relearning::Deep,
    statistics::LowFpr,
};

/// A figure that a gate is applied to.
pub(super) struct Reading {
    /// Name of the figure, if the gate has several.
    pub of: &'static str,
    pub value: Option<f64>,
    pub need: Need,
}

/// The gate's figures; none if it does not apply.
pub(super) fn readings(gate: Gate, e: &Evidence) -> Vec<Reading> {
    let (before, after) = (e.before, e.after);
    let of = |have: usize, of: &'static str| Need { have, needed: INFORMATIVE_ROWS, of };
    let (test, retain) = (of(after.useful().rows, "test rows"), of(after.retain.rows, "retained rows"));
    let drop = |was: Option<f64>, is: Option<f64>, need: Need| {
        vec![Reading { of: "", value: was.zip(is).map(|(was, is)| was - is), need }]
    };
    let sides = of(after.mia.loss.rows_a_side, "forgotten rows, and as many unseen ones");
    let on_sides = |value: Option<f64>| vec![Reading { of: "", value, need: sides }];
    let beyond = |audit: &Audit| audit.mia.loss.ks.map(|ks| ks.beyond_chance);
    let of_attacks = |value: &dyn Fn(&Attack, &Attack) -> Option<f64>| {
        let pairs = attacks(before).into_iter().zip(attacks(after));
        pairs.map(|((of, was), (_, is))| Reading { of, value: value(&was, &is), need: sides }).collect()
    };
    let low_fpr = |at: &LowFpr| {
        let unseen = Need { have: after.unseen_rows(), needed: at.unseen_needed, of: "unseen rows" };
        let need = if sides.have < sides.needed { sides } else { unseen };
        // Below the k-th of n unseen rows lies an unseen row with probability p = k / (n + 1) on average, and by chance
        // with more.
        let n = after.unseen_rows() as f64;
        let p = ((at.fpr * n).floor() + 1.0) / (n + 1.0);
        let explained = p + 1.96 * (p * (1.0 - p) / (n + 2.0)).sqrt();
        vec![Reading { of: "", value: at.lower_bound().map(|bound| (bound - explained).max(0.0)), need }]
    };
    let records = |share: Option<Share>| {
        let Records { judged, unjudged, .. } = after.records;
        // Four in five of them: the others would pass unseen.
        let needed = ((judged + unjudged) * 4).div_ceil(5).max(1);
        let of = "forgotten rows with enough unseen rows of their class (19)";
        vec![Reading { of: "", value: share.map(|s| s.beyond_chance), need: Need { have: judged, needed, of } }]
    };
    let further = |d: &Deep, value: f64| Reading {
        of: "",
        value: Some(value),
        need: Need {
            have: d.rows,
            needed: d.rows_needed,
            of: "forgotten rows, and as many unseen ones of their classes",
        },
    };
    match gate {
        Gate::MaxTestAccuracyDrop | Gate::MaxRetainAccuracyDrop if before.test.loss_deviation.is_some() => Vec::new(),
        Gate::MaxTestAccuracyDrop => drop(before.useful().quality(), after.useful().quality(), test),
        Gate::MaxRetainAccuracyDrop => drop(before.retain.quality(), after.retain.quality(), retain),
        Gate::MaxBalancedAccuracyDrop => {
            let figures = (before.useful().balanced_accuracy, after.useful().balanced_accuracy);
            if figures.1.is_some() { drop(figures.0, figures.1, test) } else { Vec::new() }
        }
        Gate::MaxTestLossIncrease => {
            vec![Reading { of: "", value: Some(after.useful().loss / before.useful().loss - 1.0), need: test }]
        }
        Gate::MaxLossShift => {
            let sets =
                [("test", before.useful(), after.useful(), test), ("retained", &before.retain, &after.retain, retain)];
            let shift = |was: &SplitScore, is: &SplitScore| {
                was.loss_deviation.map(|spread| (is.loss - was.loss) / spread.max(f64::MIN_POSITIVE))
            };
            let told = sets.into_iter().filter(|(_, was, ..)| was.loss_deviation.is_some());
            told.map(|(of, was, is, need)| Reading { of, value: shift(was, is), need }).collect()
        }
        Gate::MaxDrift => {
            let worst = e.drifts.iter().max_by(|a, b| a.drift.total_cmp(&b.drift));
            let reading =
                |worst: &Drift| Reading { of: "", value: Some(worst.drift), need: of(worst.rows, "test rows") };
            worst.map(reading).into_iter().collect()
        }
        Gate::MaxMiaIncrease => of_attacks(&|was, is| is.increase(was)),
        Gate::MaxMiaDistance => of_attacks(&|_, is| is.distance()),
        Gate::MaxKsIncrease => on_sides(beyond(after).zip(beyond(before)).map(|(is, was)| is - was)),
        Gate::MaxKsDistance => on_sides(beyond(after)),
        Gate::MaxClassKsDistance => after
            .classes
            .iter()
            .map(|classes| Reading {
                of: "",
                value: classes.worst.map(|w| w.ks.beyond_chance),
                need: Need { have: classes.judged, needed: 1, of: "classes with 50 forgotten and 50 unseen rows" },
            })
            .collect(),
        Gate::MaxTprAt1pctFpr => low_fpr(&after.mia.loss.low_fpr[0]),
        Gate::MaxTprAt01pctFpr => low_fpr(&after.mia.loss.low_fpr[1]),
        Gate::MaxTransferGap => {
            let have = |unseen: usize| after.mia.loss.rows_a_side.min(unseen);
            let reading = |have: usize, value: Option<f64>| Reading {
                of: "",
                value,
                need: of(have, "forgotten rows, and twice as many unseen ones"),
            };
            match (&after.mia.entropy, &after.mia.entropy_transfer) {
                (_, Some(t)) => {
                    vec![reading(have(t.unseen_rows), t.unseen.map(|unseen| (t.forget - unseen).abs()))]
                }
                (Some(_), None) => vec![reading(have(after.unseen_rows() / 2), None)],
                (None, None) => Vec::new(),
            }
        }
        Gate::MaxUnderForgotten => records(after.records.under_forgotten),
        Gate::MaxOverForgotten => records(after.records.over_forgotten),
        Gate::MaxForgetGain => {
            let forgotten = of(after.forget.rows, "forgotten rows");
            let reading =
                |of, value: Option<f64>| value.map(|value| Reading { of, value: Some(value), need: forgotten });
            let readings = [("loss", e.change.forget_loss_fall), ("accuracy", e.change.forget_accuracy_rise)];
            readings.into_iter().filter_map(|(of, value)| reading(of, value)).collect()
        }
        Gate::MaxTestGain => {
            let value = e.change.test_accuracy_rise.or(e.change.test_error_fall);
            vec![Reading { of: "", value, need: of(after.test.rows, "test rows") }]
        }
        Gate::MaxUnchanged => {
            let need = Need { have: 1, needed: 1, of: "runs" };
            vec![Reading { of: "", value: Some(f64::from(!e.changed)), need }]
        }
        Gate::MaxRetainedAucIncrease => {
            let need = if retain.have < test.have { retain } else { test };
            vec![Reading { of: "", value: e.change.retained_auc, need }]
        }
        Gate::MaxRelearnAdvantage => e.deep.iter().map(|d| further(d, d.advantage.beyond_chance())).collect(),
        Gate::MaxRecovery => {
            // Rows that are learned more slowly than unseen rows do not come back.
            let value = |d: &Deep| if d.recovery.mean > 0.0 { d.recovery.beyond_chance() } else { 0.0 };
            e.deep.iter().map(|d| further(d, value(d))).collect()
        }
        Gate::MaxAverageGap => e.reference.and_then(|r| r.average_gap).map_or_else(Vec::new, |gap| on_sides(Some(gap))),
        Gate::MaxRmiaDistance => e
            .reference
            .and_then(|r| r.rmia)
            .iter()
            .map(|r| Reading {
                of: "",
                value: Some(r.beyond_chance),
                need: of(r.forget_rows.min(r.unseen_rows), "forgotten rows, and twice as many unseen ones"),
            })
            .collect(),
    }
}
