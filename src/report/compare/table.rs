//! The comparison as Markdown tables and as CSV.

use super::{ATTACKS, Column, CompareReport, Form, UTILITY, seconds, shown};
use std::fmt::Write;

/// Two tables: what the model still does, and what it gives away; readable as plain text, too.
pub fn markdown(report: &CompareReport) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_markdown(&mut out, report);
    out
}

fn write_markdown(out: &mut String, r: &CompareReport) -> std::fmt::Result {
    let seeds = if r.seeds.len() == 1 {
        "one seed".into()
    } else {
        format!("mean ± standard deviation of {} seeds", r.seeds.len())
    };
    writeln!(
        out,
        "{} rows to forget, {} to retain, {} test rows; {seeds}. Accuracies and shares in %.\n",
        r.forget_rows, r.retain_rows, r.test_rows
    )?;
    if let Some(unfinished) = r.unfinished() {
        writeln!(out, "{unfinished}.\n")?;
    }
    write_table(out, r, &r.shown(UTILITY), true)?;
    writeln!(out)?;
    write_table(out, r, &r.shown(ATTACKS), false)?;
    if let Some(too_few) = r.too_few() {
        writeln!(out, "\n{too_few}.")?;
    }
    let left_out = r.left_out();
    if !left_out.is_empty() {
        writeln!(out)?;
    }
    for (title, why) in left_out {
        writeln!(out, "- {title}: {why}")?;
    }
    writeln!(out)?;
    for column in r.shown(UTILITY).into_iter().chain(r.shown(ATTACKS)) {
        writeln!(out, "{}: {}.", column.title, column.meaning)?;
    }
    writeln!(out, "{}.", r.certainty())?;
    if let Some(reference) = &r.reference {
        writeln!(out, "The model without the rows: {reference}.")?;
    }
    for note in &r.notes {
        writeln!(out, "Note: {note}.")?;
    }
    Ok(())
}

fn write_table(out: &mut String, r: &CompareReport, columns: &[&Column], time: bool) -> std::fmt::Result {
    let mut rows = vec![vec!["method".to_string()]];
    for row in &mut rows {
        row.extend(columns.iter().map(|c| c.title.to_string()));
        row.extend(time.then(|| "seconds".to_string()));
    }
    for method in r.measured() {
        let mut row = vec![r.label(method)];
        row.extend(columns.iter().map(|c| method.figures.get(c.key).map_or("–".into(), |s| shown(s, c.form))));
        row.extend(time.then(|| method.seconds.as_ref().map_or("–".into(), seconds)));
        rows.push(row);
    }
    let width = |i: usize| rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    for (n, row) in rows.iter().enumerate() {
        for (i, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            match i {
                0 => write!(out, "| {cell:<width$} ")?,
                _ => write!(out, "| {cell:>width$} ")?,
            }
        }
        writeln!(out, "|")?;
        if n == 0 {
            for (i, &width) in widths.iter().enumerate() {
                let end = if i == 0 { '-' } else { ':' };
                write!(out, "|{}{end}", "-".repeat(width + 1))?;
            }
            writeln!(out, "|")?;
        }
    }
    Ok(())
}

/// A line a method: every figure's mean and standard deviation as they are, empty where there is none, and in the end on how many rows
/// attacks rest, and whether these are enough.
pub fn csv(report: &CompareReport) -> String {
    let mut keys: Vec<&str> = Vec::new();
    for row in &report.methods {
        keys.extend(row.figures.keys().filter(|key| !keys.contains(key)).copied().collect::<Vec<_>>());
    }
    let mut lines = vec![["method", "outcome", "seeds"].map(String::from).to_vec()];
    for line in &mut lines {
        line.extend(keys.iter().chain(&["seconds"]).flat_map(|key| [key.to_string(), format!("{key}_sd")]));
        line.extend(["attack_rows_a_side", "attack_informative"].map(String::from));
    }
    for row in &report.methods {
        let outcome = match row.outcome {
            super::MethodOutcome::Measured => "measured",
            super::MethodOutcome::PartlyMeasured { .. } => "partly-measured",
            super::MethodOutcome::NotApplicable { .. } => "not-applicable",
            super::MethodOutcome::Failed { .. } => "failed",
        };
        let spreads = keys.iter().map(|key| row.figures.get(key)).chain([row.seconds.as_ref()]);
        let seeds = row.figures.values().map(|s| s.values.len()).max().unwrap_or(0);
        let mut line = vec![row.method.clone(), outcome.to_string(), seeds.to_string()];
        line.extend(spreads.flat_map(|spread| match spread {
            Some(s) => [s.mean.to_string(), s.deviation.to_string()],
            None => [String::new(), String::new()],
        }));
        line.extend([report.attack.rows_a_side.to_string(), report.attack.informative.to_string()]);
        lines.push(line);
    }
    lines.into_iter().map(|line| line.join(",") + "\n").collect()
}

/// Whether a figure is shown in percent.
pub(super) fn is_percent(form: Form) -> bool {
    form == Form::Percent
}
