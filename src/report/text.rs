//! The record as a summary on the terminal.

use super::{Report, Status, gates::attacks};
use crate::audit::Audit;
use std::fmt::Write;

/// A summary for people, of a few dozen lines.
pub fn summary(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_summary(&mut out, report);
    out
}

fn write_summary(out: &mut String, report: &Report) -> std::fmt::Result {
    let status = match report.status {
        Status::Published => "PUBLISHED",
        Status::Rejected => "REJECTED, nothing was written",
        Status::DryRun => "DRY RUN, nothing was written",
    };
    writeln!(out, "{status} (exit code {})", report.exit_code)?;
    if let Some(data) = &report.data {
        writeln!(
            out,
            "rows       forget {}  retain {}  validation {}  test {}",
            data.forget_rows, data.retain_rows, data.validation_rows, data.test_rows
        )?;
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
            "unlearning {} steps ({} with the forget term active) in {:.1} s, {:.1} steps/s, α₀ {:.3}, batch {}",
            u.steps, u.active_steps, u.seconds, u.steps_per_second, u.alpha0, u.batch_size
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
        write_audit(out, before, after)?;
    }
    for gate in &report.gates {
        let word = if gate.passed { "held" } else { "NOT MET" };
        writeln!(out, "gate       {} {:.4} (at most {}): {word}", gate.gate, gate.value, gate.limit)?;
    }
    Ok(())
}

/// Three digits, or a dash where there is no figure.
pub fn figure(x: Option<f64>) -> String {
    x.map_or("-".into(), |x| format!("{x:.3}"))
}

/// One audit as a table.
pub fn audit_table(audit: &Audit) -> String {
    let mut out = String::new();
    let percent = |x: Option<f64>| x.map_or("-".into(), |x| format!("{:.2} %", 100.0 * x));
    for (name, set) in [("forget", &audit.forget), ("retain", &audit.retain), ("test", &audit.test)] {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name:8} accuracy {:>9}  loss {:.4}", percent(set.accuracy), set.loss);
    }
    for (name, m) in attacks(audit) {
        let note = if m.informative { "" } else { "   too few rows to say" };
        let _ = writeln!(out, "MIA on the {name:8} accuracy {}  AUC {}{note}", figure(m.accuracy), figure(m.auc));
    }
    out
}

/// A table of the audit before and after.
fn write_audit(out: &mut String, before: &Audit, after: &Audit) -> std::fmt::Result {
    writeln!(out, "           {:>22} {:>10} {:>10}", "", "before", "after")?;
    let percent = |x: Option<f64>| x.map_or("-".into(), |x| format!("{:.2} %", 100.0 * x));
    let sets = [
        ("forget", &before.forget, &after.forget),
        ("retain", &before.retain, &after.retain),
        ("test", &before.test, &after.test),
    ];
    for (name, b, a) in sets {
        let label = format!("{name} accuracy");
        writeln!(out, "audit      {label:>22} {:>10} {:>10}", percent(b.accuracy), percent(a.accuracy))?;
        let label = format!("{name} loss");
        writeln!(out, "audit      {label:>22} {:>10.4} {:>10.4}", b.loss, a.loss)?;
    }
    for ((name, b), (_, a)) in attacks(before).into_iter().zip(attacks(after)) {
        let note = if a.informative { "" } else { "   too few rows to say" };
        let name = format!("MIA ({name})");
        writeln!(out, "audit      {name:>22} {:>10} {:>10}{note}", figure(b.accuracy), figure(a.accuracy))?;
    }
    Ok(())
}
