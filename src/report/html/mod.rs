//! The record as one HTML page: no script, nothing from the network.

mod audit;
mod charts;
mod further;
mod rows;
mod run;

use super::{Report, Status, words};
use crate::audit::Judgement;
use std::fmt::Write;

pub(super) const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1c2330;background:#fff}\
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid #d8dde6}h3{font-size:1rem;margin:1.2rem 0 .2rem}\
table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.25rem .8rem;text-align:right;border-bottom:1px solid #e7eaf0;vertical-align:top}\
td:first-child,th:first-child{text-align:left;padding-left:0;min-width:13rem}th{font-weight:600}code{font-size:.85em;overflow-wrap:anywhere}\
.chip{display:inline-block;padding:.05rem .55rem;border-radius:.3rem;color:#fff;font-weight:600;font-size:.85em}\
.pass{background:#1a7f4b}.fail{background:#b3261e}.warn{background:#9a6700}.none{background:#5b6472}svg{max-width:100%;height:auto}\
td:not(:first-child){white-space:nowrap}pre{white-space:pre-wrap;font-size:.85em}td code{white-space:normal}.row figure{width:420px}.row{display:flex;flex-wrap:wrap;gap:1.5rem}figure{margin:.5rem 0}figcaption,.note{font-size:.88rem;color:#5b6472}.note{max-width:46rem;margin:.2rem 0 .6rem}\
details{margin:.6rem 0}summary{cursor:pointer}";

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
        Status::Published => ("pass", "published"),
        Status::Rejected => ("fail", "rejected"),
        Status::NothingToForget => ("none", "nothing to forget"),
        Status::DryRun => ("none", "dry run"),
    };
    write!(w, "<h1>onnx-forget report</h1><p><span class=\"chip {class}\">{word}</span> exit code {}", r.exit_code)?;
    if let Some(d) = &r.data {
        write!(w, " · {} of {} training rows to be forgotten", d.forget_rows, d.train_rows)?;
    }
    write!(w, "</p>")?;
    if let Some(error) = &r.error {
        write!(w, "<p><strong>{}</strong></p>", escape(error))?;
    }
    write_verdict(w, r)?;
    rows::write(w, r)?;
    audit::write(w, r)?;
    run::write(w, r)?;
    write!(w, "</body></html>")
}

fn chip(judgement: Judgement) -> String {
    let class = match judgement {
        Judgement::Pass => "pass",
        Judgement::Insufficient => "none",
        Judgement::Warn => "warn",
        Judgement::Fail => "fail",
    };
    format!("<span class=\"chip {class}\">{}</span>", judgement.word())
}

fn write_verdict(w: &mut String, r: &Report) -> std::fmt::Result {
    let Some(verdict) = r.audit.verdict else { return Ok(()) };
    write!(w, "<h2>Verdict</h2><p>{} {}</p>", chip(verdict), escape(&words::overall(verdict, &r.gates)))?;
    let row = |gate: &crate::audit::Verdict| {
        let need = gate.need.map(|n| format!("<br><span class=\"note\">{} of {} {}</span>", n.have, n.needed, n.of));
        vec![
            format!(
                "{}<br><span class=\"note\"><code>{}</code></span>{}",
                escape(&words::gate(gate)),
                escape(&gate.gate),
                need.unwrap_or_default()
            ),
            gate.value.map_or("–".into(), |v| format!("{v:.3}")),
            format!("{}", gate.limit),
            chip(gate.outcome),
        ]
    };
    let rows: Vec<_> = r.gates.iter().map(row).collect();
    write_table(w, &["what should hold", "measured", "at most", ""], &rows)?;
    write!(
        w,
        "<p class=\"note\">INSUFFICIENT: the rows are too few to say; it is neither a pass nor a fail. WARN: beyond a limit, \
         published nevertheless. FAIL: nothing is published. The limits are those of <code>[gates]</code> in the \
         configuration. A verdict is about these tests only: see <a href=\"#limits\">what this does not show</a>.</p>"
    )
}

pub(super) fn write_table(w: &mut String, head: &[&str], rows: &[Vec<String>]) -> std::fmt::Result {
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

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
