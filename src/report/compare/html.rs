//! The comparison as one HTML page: no script, nothing from the network.

use super::{
    ATTACKS, Column, CompareReport, UTILITY,
    chart::{Shown, chart},
    seconds, shown,
    table::is_percent,
};
use crate::report::html::{STYLE, escape, write_table};
use std::fmt::Write;

/// Whence the settings are.
const SETTINGS: &str = "∇τ, in both forms, follows <code>[unlearn]</code> in the configuration where that sets epochs, alpha, learning \
    rate or weight decay; other methods do not, and are set as published, but for NegGrad, whose settings are this project's own.";

/// The page.
pub fn html(report: &CompareReport) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = write_page(&mut page, report);
    page
}

fn write_page(w: &mut String, r: &CompareReport) -> std::fmt::Result {
    write!(w, "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>onnx-forget comparison</title>")?;
    write!(w, "<meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}")?;
    write!(
        w,
        "td:first-child,th:first-child{{min-width:6rem}}body{{max-width:80rem}}\
        .wide{{overflow-x:auto;font-size:.88rem}}.wide td,.wide th{{padding:.25rem .42rem}}.row figure{{width:auto}}</style></head><body>"
    )?;
    let name = r.model.path.file_name().unwrap_or_default().to_string_lossy();
    write!(w, "<h1>Methods of unlearning on {}</h1>", escape(&name))?;
    let seeds = if r.seeds.len() == 1 {
        "one seed".into()
    } else {
        format!("mean ± standard deviation of {} seeds", r.seeds.len())
    };
    write!(
        w,
        "<p>{} training rows to forget, {} to retain, {} validation rows, {} test rows; {seeds}. Every method starts from the same \
         weights and is given the same rows.</p>",
        r.forget_rows, r.retain_rows, r.validation_rows, r.test_rows
    )?;
    for warning in [r.unfinished(), r.too_few()].into_iter().flatten() {
        write!(w, "<p><strong>{}.</strong></p>", escape(&warning))?;
    }
    write_charts(w, r)?;
    write!(w, "<h2>What the model still does</h2>")?;
    write_figures(w, r, &r.shown(UTILITY), true)?;
    write!(w, "<h2>What it gives away of the rows to forget</h2>")?;
    write_figures(w, r, &r.shown(ATTACKS), false)?;
    write!(w, "<p class=\"note\">{}.</p>", escape(&r.certainty()))?;
    if let Some(reference) = &r.reference {
        write!(w, "<p class=\"note\">Distances are from a model without the rows: {}.</p>", escape(reference))?;
    }
    let left_out = r.left_out();
    if !left_out.is_empty() {
        write!(w, "<h2>What failed, or was left out</h2><ul>")?;
        for (title, why) in left_out {
            write!(w, "<li>{}: {}</li>", escape(title), escape(&why))?;
        }
        write!(w, "</ul>")?;
    }
    write_settings(w, r)?;
    write!(w, "<h2>Run</h2><p>Task loss: {}</p>", escape(&r.loss))?;
    for note in &r.notes {
        write!(w, "<p>{}.</p>", escape(note))?;
    }
    let e = &r.environment;
    write!(
        w,
        "<p>onnx-forget {} on {} {}, {} threads, {} kernels, on {}. Seeds {}. Model <code>{}</code>.</p></body></html>",
        e.version,
        e.os,
        e.arch,
        e.threads,
        e.kernels,
        escape(&r.device),
        r.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
        r.model.sha256
    )
}

fn write_charts(w: &mut String, r: &CompareReport) -> std::fmt::Result {
    let has = |key: &str| r.methods.iter().any(|row| row.figures.contains_key(key));
    let utility = match has("test_accuracy") {
        true => {
            let title = "test accuracy, % (higher is better)";
            Shown { key: "test_accuracy", title, factor: 100.0, ideal: None, margin: None }
        }
        false => {
            Shown { key: "test_loss", title: "test loss (lower is better)", factor: 1.0, ideal: None, margin: None }
        }
    };
    let attack = |key, title| Shown { key, title, factor: 1.0, ideal: Some(0.5), margin: r.attack.coin_margin };
    let [loss, entropy] = match r.attack.informative {
        true => ["MIA_L (0.5 is ideal)", "MIA_E (0.5 is ideal)"],
        false => ["MIA_L (too few rows to say anything)", "MIA_E (too few rows to say anything)"],
    };
    write!(w, "<h2>Forgetting, utility, time</h2><div class=\"row\">")?;
    for x in [attack("mia_loss", loss), attack("mia_entropy", entropy)] {
        if has(x.key) {
            write!(w, "<figure>")?;
            chart(w, r, &x, &utility)?;
            write!(w, "</figure>")?;
        }
    }
    write!(
        w,
        "</div><p class=\"note\">Best is on the dashed line, where an attacker is right as often as a coin, at the utility of the \
         original model or above; within the green band, a coin might as well have been tossed. A circle's area \
         grows with the time that the method took; whiskers are one standard deviation over seeds. The hollow circle took no time here.</p>"
    )
}

fn write_figures(w: &mut String, r: &CompareReport, columns: &[&Column], time: bool) -> std::fmt::Result {
    let mut head = vec!["method".to_string()];
    head.extend(columns.iter().map(|c| {
        let unit = if is_percent(c.form) { ", %" } else { "" };
        format!("<span title=\"{}\">{}{unit}</span>", escape(c.meaning), c.title)
    }));
    head.extend(time.then(|| "seconds".to_string()));
    let mut rows = Vec::new();
    for method in r.measured() {
        let mut row = vec![escape(&r.label(method))];
        row.extend(columns.iter().map(|c| method.figures.get(c.key).map_or("–".into(), |s| shown(s, c.form))));
        row.extend(time.then(|| method.seconds.as_ref().map_or("–".into(), seconds)));
        rows.push(row);
    }
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    write!(w, "<div class=\"wide\">")?;
    write_table(w, &head, &rows)?;
    write!(w, "</div><p class=\"note\">")?;
    for (i, c) in columns.iter().enumerate() {
        write!(w, "{}{}: {}", if i == 0 { "" } else { "; " }, c.title, escape(c.meaning))?;
    }
    write!(w, ".</p>")
}

fn write_settings(w: &mut String, r: &CompareReport) -> std::fmt::Result {
    write!(
        w,
        "<h2>Settings</h2><p class=\"note\">{SETTINGS}</p><table><tr><th>method</th><th style=\"text-align:left\">set to</th></tr>"
    )?;
    for row in &r.methods {
        let Some(settings) = &row.settings else { continue };
        let Ok(serde_json::Value::Object(all)) = serde_json::to_value(settings) else { continue };
        let words: Vec<String> = all
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| format!("{} {}", key.replace('_', " "), value.to_string().trim_matches('"')))
            .collect();
        write!(
            w,
            "<tr><td>{}</td><td style=\"text-align:left;white-space:normal\">{}</td></tr>",
            escape(&row.title),
            escape(&words.join(", "))
        )?;
    }
    write!(w, "</table>")
}
