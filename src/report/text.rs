//! The record as a summary on the terminal.

use super::{
    Report, Status,
    words::{self, figure, percent},
};
use crate::{
    audit::{Audit, Comparison, Deep, Seeded, Share, attacks},
    shown::Lines,
};
use std::fmt::Write;

/// A summary for people, of a few dozen lines.
pub fn summary(report: &Report) -> String {
    let mut out = Lines::default();
    // Writing to a String cannot fail.
    let _ = write_summary(&mut out, report);
    out.0
}

/// How the run ended.
pub fn status(report: &Report) -> String {
    let status = match report.status {
        Status::Published => "PUBLISHED",
        Status::Rejected => "REJECTED, nothing was written",
        Status::NothingToForget => "NOTHING TO FORGET, nothing was written",
        Status::DryRun => "DRY RUN, nothing was written",
    };
    format!("{status} (exit code {})", report.exit_code)
}

fn write_summary(out: &mut Lines, report: &Report) -> std::fmt::Result {
    if let Some(data) = &report.data {
        writeln!(
            out,
            "rows       forget {}  retain {}  validation {}  test {}",
            data.forget_rows, data.retain_rows, data.validation_rows, data.test_rows
        )?;
        if let Some(known) = &data.known {
            writeln!(out, "rows known {}", known.line())?;
        }
    }
    let model = &report.model;
    writeln!(
        out,
        "model      {} trainable of {} parameters, {} initializers changed",
        model.trainable_parameters,
        model.parameters,
        model.changed_initializers.len()
    )?;
    if let Some(u) = &report.unlearn {
        writeln!(
            out,
            "unlearning {}: {} steps{} in {:.1} s, {:.1} steps/s, batch {}",
            u.method,
            u.steps,
            u.alpha0.map_or(String::new(), |a| format!(" ({} with the forget term active, α₀ {a:.3})", u.active_steps)),
            u.seconds,
            u.steps_per_second,
            u.batch_size
        )?;
    }
    for (name, check) in [("before", &report.parity.before), ("after", &report.parity.after)] {
        if let Some(check) = check {
            writeln!(out, "parity     {name}: {}", check.verdict)?;
        }
    }
    if let Some(gradient) = &report.parity.gradient {
        writeln!(out, "gradient   {}", gradient.verdict())?;
    }
    if let (Some(before), Some(after)) = (&report.audit.before, &report.audit.after) {
        writeln!(out, "           {:>34} {:>10} {:>10}", "", "before", "after")?;
        for ((label, b), (_, a)) in figures(before).into_iter().zip(figures(after)) {
            writeln!(out, "audit      {label:>34} {b:>10} {a:>10}")?;
        }
    }
    let lines = report.audit.deep.as_ref().map(further).into_iter().flatten();
    for (label, value) in lines.chain(report.audit.reference.as_ref().map(|r| beside(&r.after)).into_iter().flatten()) {
        writeln!(out, "audit      {label:>34} {:>10} {value:>10}", "")?;
    }
    for drift in &report.audit.drifts {
        let same = drift
            .agreement
            .map_or(String::new(), |share| format!(", same largest value in {} of rows", percent(Some(share))));
        writeln!(
            out,
            "output     {}: moved by {} of what tells rows apart{same}",
            drift.output,
            percent(Some(drift.drift))
        )?;
    }
    for gate in &report.gates {
        let value = gate.value.map_or("–".into(), |v| words::apart(v, gate.limit).0);
        let better = Some(words::better(gate))
            .filter(|word| !word.is_empty())
            .map(|word| format!(", {word}"))
            .unwrap_or_default();
        writeln!(out, "gate       {} {value}{better} (at most {}): {}", gate.gate, gate.limit, words::outcome(gate))?;
    }
    for gate in &report.gates_off {
        writeln!(out, "gate       {}: switched off by the configuration, not checked", gate.key())?;
    }
    if let Some(verdict) = report.audit.verdict {
        writeln!(out, "verdict    {}. {}", verdict.word(), words::overall(verdict, &report.gates))?;
    }
    for advice in &report.advice {
        writeln!(out, "try next   {advice}")?;
    }
    Ok(())
}

/// One audit as a table.
pub fn audit_table(audit: &Audit, deep: Option<&Deep>, reference: Option<&Comparison>) -> String {
    let mut out = String::new();
    let further = deep.map(further).into_iter().flatten().chain(reference.map(beside).into_iter().flatten());
    for (label, value) in figures(audit).into_iter().chain(further) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{label:>34} {value:>10}");
    }
    out
}

/// What further training showed.
fn further(deep: &Deep) -> Vec<(String, String)> {
    let seeded = |s: Seeded| format!("{:.3} ± {:.3}", s.mean, s.deviation);
    vec![
        ("relearned faster than unseen rows by".into(), seeded(deep.advantage)),
        ("came back with retained rows by".into(), seeded(deep.recovery)),
    ]
}

/// Beside reference models.
fn beside(reference: &Comparison) -> Vec<(String, String)> {
    vec![
        ("tug-of-war (1 is ideal)".into(), figure(reference.tug_of_war)),
        ("average gap to the references".into(), figure(reference.average_gap)),
        ("AUC (RMIA)".into(), figure(reference.rmia.map(|r| r.auc))),
    ]
}

/// The figures that are shown first, by name; the same names for every audit of the same rows.
fn figures(audit: &Audit) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut line = |label: String, value: String| lines.push((label, value));
    let sets = [("forget", &audit.forget), ("retain", &audit.retain), ("test", &audit.test)];
    let kept = audit.test_of_kept_classes.iter().map(|set| ("test, kept classes:", set));
    for (name, set) in sets.into_iter().chain(kept) {
        match set.r2 {
            None => line(format!("{name} accuracy"), percent(set.accuracy)),
            some => line(format!("{name} R²"), figure(some)),
        }
        for (what, value) in set.further() {
            line(format!("{name} {what}"), figure(Some(value)));
        }
        line(format!("{name} loss"), format!("{:.4}", set.loss));
    }
    for (name, attack) in attacks(audit) {
        let note = if attack.informative { "" } else { ", too few rows" };
        line(format!("MIA ({name}{note})"), figure(attack.accuracy));
        line(format!("AUC ({name}{note})"), figure(attack.auc));
        line(format!("KS ({name}{note})"), figure(attack.ks.map(|ks| ks.statistic)));
        line(format!("TPR at 1 % FPR ({name}{note})"), percent(attack.tpr_at_1pct_fpr));
    }
    if let Some(classes) = audit.classes.as_ref().filter(|c| c.judged > 0) {
        line("KS (loss), worst class".into(), figure(classes.worst.map(|c| c.ks.statistic)));
    }
    if let Some(transfer) = &audit.mia.entropy_transfer {
        line("transfer attack: forgotten rows".into(), percent(Some(transfer.forget)));
        line("transfer attack: unseen rows".into(), percent(transfer.unseen));
    }
    let share = |s: Option<Share>| percent(s.map(|s| s.share));
    line("under-forgotten rows (unseen: 5 %)".into(), share(audit.records.under_forgotten));
    line("over-forgotten rows (unseen: 5 %)".into(), share(audit.records.over_forgotten));
    lines
}
