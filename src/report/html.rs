//! The record as one HTML page: no script, nothing from the network.

use super::{Report, Status, gates::attacks, text::figure};
use crate::unlearn::StepRecord;
use std::fmt::Write;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2330;background:#fff}\
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin-top:2rem;border-bottom:1px solid #d8dde6}\
table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #e7eaf0}\
td:first-child,th:first-child{text-align:left}th{font-weight:600}code{font-size:.9em;overflow-wrap:anywhere}\
.status{display:inline-block;padding:.1rem .6rem;border-radius:.3rem;color:#fff;font-weight:600}\
.ok{background:#1a7f4b}.bad{background:#b3261e}.none{background:#5b6472}svg{max-width:100%;height:auto}\
.row{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:.5rem 0}figcaption{font-size:.85rem;color:#5b6472}";

const FORGET: &str = "#b3261e";
const RETAIN: &str = "#1f5fbf";
const TAU: &str = "#5b6472";
const TEST: &str = "#1a7f4b";

/// The page.
pub fn html(report: &Report) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = write_page(&mut page, report);
    page
}

fn write_page(w: &mut String, r: &Report) -> std::fmt::Result {
    write!(w, "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>onnx-forget report</title>")?;
    write!(w, "<meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>")?;
    let (class, word) = match r.status {
        Status::Published => ("ok", "published"),
        Status::Rejected => ("bad", "rejected"),
        Status::DryRun => ("none", "dry run"),
    };
    write!(
        w,
        "<h1>onnx-forget report</h1><p><span class=\"status {class}\">{word}</span> exit code {}</p>",
        r.exit_code
    )?;
    if let Some(error) = &r.error {
        write!(w, "<p><strong>{}</strong></p>", escape(error))?;
    }
    write_models(w, r)?;
    write_audit(w, r)?;
    write_histograms(w, r)?;
    write_trajectory(w, r)?;
    write_parity(w, r)?;
    write_gates(w, r)?;
    write!(w, "<h2>What this does not show</h2><ul>")?;
    for limit in &r.limits {
        write!(w, "<li>{}</li>", escape(limit))?;
    }
    write!(w, "</ul><h2>Run</h2>")?;
    let e = &r.environment;
    write!(
        w,
        "<p>onnx-forget {} on {} {}, {} threads, {} kernels.</p>",
        e.version, e.os, e.arch, e.threads, e.kernels
    )?;
    let rows: Vec<_> = r.timings.iter().map(|(stage, s)| vec![escape(stage), format!("{s:.2}")]).collect();
    write_table(w, &["stage", "seconds"], &rows)?;
    write!(w, "</body></html>")
}

fn write_models(w: &mut String, r: &Report) -> std::fmt::Result {
    write!(w, "<h2>Model and data</h2>")?;
    let file = |f: &super::ModelFile| {
        vec![format!("<code>{}</code>", escape(&f.path.display().to_string())), format!("<code>{}</code>", f.sha256)]
    };
    let rows: Vec<_> =
        std::iter::once(&r.model.input).chain(&r.model.checkpoint).chain(&r.model.output).map(file).collect();
    write_table(w, &["file", "SHA-256"], &rows)?;
    write!(
        w,
        "<p>{} of {} parameters trainable; {} initializers changed; other bytes identical: {}.</p>",
        r.model.trainable_parameters,
        r.model.parameters,
        r.model.changed_initializers.len(),
        match r.model.other_bytes_identical {
            Some(true) => "yes",
            Some(false) => "no",
            None => "not checked",
        }
    )?;
    if let Some(loss) = &r.model.loss {
        write!(w, "<p>Task loss: {}</p>", escape(loss))?;
    }
    if let Some(d) = &r.data {
        let row = [d.train_rows, d.forget_rows, d.retain_rows, d.validation_rows, d.test_rows];
        let rows = [row.iter().map(usize::to_string).collect()];
        write_table(w, &["train rows", "forget", "retain", "validation", "test"], &rows)?;
    }
    Ok(())
}

fn write_audit(w: &mut String, r: &Report) -> std::fmt::Result {
    let (Some(b), Some(a)) = (&r.audit.before, &r.audit.after) else {
        return Ok(());
    };
    write!(w, "<h2>Did it forget, did it keep</h2>")?;
    let percent = |x: Option<f64>| x.map_or("–".into(), |x| format!("{:.2} %", 100.0 * x));
    let sets = [("forget", &b.forget, &a.forget), ("retain", &b.retain, &a.retain), ("test", &b.test, &a.test)];
    let rows: Vec<Vec<String>> = sets
        .iter()
        .map(|(name, b, a)| {
            let losses = [b.loss, a.loss].map(|x| format!("{x:.4}"));
            let [before, after] = losses;
            vec![(*name).into(), percent(b.accuracy), percent(a.accuracy), before, after]
        })
        .collect();
    write_table(w, &["rows", "accuracy before", "after", "loss before", "after"], &rows)?;
    let mut rows = Vec::new();
    for ((name, before), (_, after)) in attacks(b).into_iter().zip(attacks(a)) {
        for (when, m) in [("before", before), ("after", after)] {
            let note = if m.informative { "" } else { " (too few rows to say)" };
            rows.push(vec![
                format!("{name}, {when}{note}"),
                figure(m.accuracy),
                figure(m.auc),
                figure(m.tpr_at_1pct_fpr),
            ]);
        }
    }
    write!(w, "<p>Membership inference, forgotten against test rows: 0.5 is what unseen rows would give.</p>")?;
    write_table(w, &["attack on the", "accuracy", "AUC", "TPR at 1 % FPR"], &rows)
}

fn write_histograms(w: &mut String, r: &Report) -> std::fmt::Result {
    let Some(h) = &r.audit.losses else {
        return Ok(());
    };
    let set =
        |name: &str| h.sets.iter().find(|(n, _)| n == name).map(|(_, counts)| counts.as_slice()).unwrap_or_default();
    write!(w, "<h2>Losses of forgotten and of test rows</h2><div class=\"row\">")?;
    for title in ["before", "after"] {
        write!(w, "<figure>")?;
        write_bars(w, &h.edges, set(&format!("{title}/forget")), set(&format!("{title}/test")))?;
        write!(w, "<figcaption>{title}: <span style=\"color:{FORGET}\">forgotten</span> and ")?;
        write!(w, "<span style=\"color:{TEST}\">test</span> rows, share by loss</figcaption></figure>")?;
    }
    write!(w, "</div>")
}

fn write_bars(w: &mut String, edges: &[f64], forget: &[usize], test: &[usize]) -> std::fmt::Result {
    const WIDTH: f64 = 420.0;
    const HEIGHT: f64 = 200.0;
    let shares = |counts: &[usize]| {
        let total = counts.iter().sum::<usize>().max(1) as f64;
        counts.iter().map(|&c| c as f64 / total).collect::<Vec<f64>>()
    };
    let (forget_shares, test_shares) = (shares(forget), shares(test));
    let top = forget_shares.iter().chain(&test_shares).copied().fold(1e-9, f64::max);
    let bin = (WIDTH - 50.0) / forget_shares.len().max(1) as f64;
    write!(w, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" role=\"img\">")?;
    for (shares, colour, offset) in [(&forget_shares, FORGET, 0.0), (&test_shares, TEST, 0.45)] {
        for (i, share) in shares.iter().enumerate() {
            let height = share / top * (HEIGHT - 40.0);
            let (x, y, width) = (45.0 + (i as f64 + offset) * bin, HEIGHT - 25.0 - height, bin * 0.45);
            write!(
                w,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
            )?;
        }
    }
    let edge = |e: Option<&f64>| e.map_or(String::new(), |e| format!("{e:.2}"));
    let base = HEIGHT - 8.0;
    write!(w, "<text x=\"45\" y=\"{base}\" font-size=\"11\">{}</text>", edge(edges.first()))?;
    write!(w, "<text x=\"{WIDTH}\" y=\"{base}\" font-size=\"11\" text-anchor=\"end\">{}</text>", edge(edges.last()))?;
    write!(w, "<text x=\"0\" y=\"20\" font-size=\"11\">{:.0} %</text></svg>", 100.0 * top)
}

fn write_trajectory(w: &mut String, r: &Report) -> std::fmt::Result {
    let Some(u) = &r.unlearn else {
        return Ok(());
    };
    write!(w, "<h2>The run</h2>")?;
    write!(
        w,
        "<p>{} steps of batches of {} in {} epochs, the forget term active in {}; α₀ {:.4}, learning rate {}, seed {}, on {}: {:.1} s.</p>",
        u.steps, u.batch_size, u.epochs, u.active_steps, u.alpha0, u.learning_rate, u.seed, u.device, u.seconds
    )?;
    let lines: [(&str, &str, fn(&StepRecord) -> f64); 3] =
        [(FORGET, "forget loss", |s| s.forget_loss), (RETAIN, "retain loss", |s| s.retain_loss), (TAU, "τ", |s| s.tau)];
    const WIDTH: f64 = 860.0;
    const HEIGHT: f64 = 260.0;
    let top = u.trajectory.iter().flat_map(|s| [s.forget_loss, s.retain_loss, s.tau]).fold(1e-9, f64::max);
    write!(w, "<figure><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" role=\"img\">")?;
    for tick in 0..=4 {
        let value = top * f64::from(tick) / 4.0;
        let y = HEIGHT - 25.0 - f64::from(tick) / 4.0 * (HEIGHT - 40.0);
        write!(w, "<line x1=\"50\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#e7eaf0\"/>")?;
        write!(w, "<text x=\"44\" y=\"{:.1}\" font-size=\"11\" text-anchor=\"end\">{value:.3}</text>", y + 4.0)?;
    }
    let last = u.trajectory.len().saturating_sub(1).max(1) as f64;
    for (colour, _, value) in lines {
        let points: Vec<String> = u
            .trajectory
            .iter()
            .enumerate()
            .map(|(i, s)| {
                let x = 50.0 + i as f64 / last * (WIDTH - 55.0);
                let y = HEIGHT - 25.0 - value(s) / top * (HEIGHT - 40.0);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        write!(
            w,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{}\"/>",
            points.join(" ")
        )?;
    }
    write!(
        w,
        "<text x=\"{WIDTH}\" y=\"{:.0}\" font-size=\"11\" text-anchor=\"end\">step {}</text></svg>",
        HEIGHT - 8.0,
        u.steps
    )?;
    let names: Vec<String> =
        lines.iter().map(|(colour, name, _)| format!("<span style=\"color:{colour}\">{name}</span>")).collect();
    write!(w, "<figcaption>{} by step</figcaption></figure>", names.join(", "))
}

fn write_parity(w: &mut String, r: &Report) -> std::fmt::Result {
    write!(w, "<h2>Agreement with other runtimes</h2><ul>")?;
    for (name, check) in [("before", &r.parity.before), ("after", &r.parity.after)] {
        if let Some(check) = check {
            write!(w, "<li>{name}: {}</li>", escape(&check.verdict))?;
        }
    }
    if let Some(gradient) = &r.parity.gradient {
        write!(w, "<li>gradient: {}</li>", escape(&gradient.verdict()))?;
    }
    write!(w, "</ul>")
}

fn write_gates(w: &mut String, r: &Report) -> std::fmt::Result {
    if r.gates.is_empty() {
        return Ok(());
    }
    write!(w, "<h2>What had to hold</h2>")?;
    let rows: Vec<Vec<String>> = r
        .gates
        .iter()
        .map(|g| {
            let word = if g.passed { "held" } else { "<strong>not met</strong>" };
            vec![escape(&g.gate), format!("{:.4}", g.value), g.limit.to_string(), word.into()]
        })
        .collect();
    write_table(w, &["gate", "measured", "at most", ""], &rows)
}

fn write_table(w: &mut String, head: &[&str], rows: &[Vec<String>]) -> std::fmt::Result {
    write!(w, "<table><tr>")?;
    for cell in head {
        write!(w, "<th>{cell}</th>")?;
    }
    write!(w, "</tr>")?;
    for row in rows {
        write!(w, "<tr>")?;
        for cell in row {
            write!(w, "<td>{cell}</td>")?;
        }
        write!(w, "</tr>")?;
    }
    write!(w, "</table>")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
