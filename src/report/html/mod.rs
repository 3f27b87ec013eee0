//! The record as one HTML page: no script, nothing from the network.

mod audit;
mod charts;
mod further;
mod rows;
mod run;

use super::{Report, Status, words};
use crate::{audit::Judgment, shown};
use std::fmt::Write;

pub(super) const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1c2330;background:#fff}\
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid #d8dde6}h3{font-size:1rem;margin:1.2rem 0 .2rem}\
table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.25rem .8rem;text-align:right;border-bottom:1px solid #e7eaf0;vertical-align:top}\
td:first-child,th:first-child{text-align:left;padding-left:0;min-width:13rem}th{font-weight:600}code{font-size:.85em;overflow-wrap:anywhere}\
.chip{display:inline-block;padding:.05rem .55rem;border-radius:.3rem;color:#fff;font-weight:600;font-size:.85em}\
.pass{background:#1a7f4b}.fail{background:#b3261e}.warn{background:#9a6700}.none{background:#5b6472}svg{max-width:100%;height:auto}\
td:not(:first-child){white-space:nowrap}td.text{white-space:normal;text-align:left}td code,.reading td:not(:first-child){white-space:normal}.row figure{width:420px;max-width:100%}\
.wide{overflow-x:auto}.gates td:first-child{min-width:9rem}pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f4f6f9;padding:.5rem .7rem;border-radius:.3rem;font-size:.85em}\
@media(max-width:34rem){td,th{padding:.25rem .4rem}td:first-child,th:first-child,.gates td:first-child{min-width:0}.gates code,.row+p{overflow-wrap:anywhere}.gates th,.gates td{font-size:.92em}td:not(:first-child){white-space:normal}.chip{padding:.05rem .3rem;font-size:.72em}}.row{display:flex;flex-wrap:wrap;gap:1.5rem}figure{margin:.5rem 0}figcaption,.note{font-size:.88rem;color:#5b6472}.note{max-width:46rem;margin:.2rem 0 .6rem}\
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
    if let Some(name) = &r.run.name {
        write!(w, "<p>Run: <strong>{}</strong></p>", escape(name))?;
    }
    if let Some(error) = &r.error {
        write!(w, "<p><strong>{}</strong></p>", escape(error))?;
    }
    write_list(w, "What to try next", &r.advice)?;
    write_list(w, "Warnings", &r.run.warnings)?;
    write_verdict(w, r)?;
    rows::write(w, r)?;
    audit::write(w, r)?;
    run::write(w, r)?;
    write!(w, "</body></html>")
}

fn chip(judgment: Judgment) -> String {
    let class = match judgment {
        Judgment::Pass => "pass",
        Judgment::Insufficient => "none",
        Judgment::Warn => "warn",
        Judgment::Fail => "fail",
    };
    format!("<span class=\"chip {class}\">{}</span>", judgment.word())
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
                escape(&gate.gate.to_string()),
                need.unwrap_or_default()
            ),
            measured(gate),
            format!("{}", gate.limit),
            chip(gate.outcome),
        ]
    };
    let rows: Vec<_> = r.gates.iter().map(row).collect();
    write!(w, "<div class=\"gates\">")?;
    write_table(w, &["what should hold", "measured", "at most", ""], &rows)?;
    write!(w, "</div>")?;
    let off: Vec<String> = r.gates_off.iter().map(|gate| format!("<code>{}</code>", gate.key())).collect();
    if !off.is_empty() {
        write!(w, "<p><strong>Switched off by the configuration, and not checked:</strong> {}.</p>", off.join(", "))?;
    }
    write!(
        w,
        "<p class=\"note\">INSUFFICIENT: the rows are too few to say; it is neither a pass nor a fail. WARN: beyond a limit, \
         published nevertheless. FAIL: nothing is published. The limits are those of <code>[gates]</code> in the \
         configuration. A verdict is about these tests only: see <a href=\"#limits\">what this does not show</a>.</p>"
    )
}

/// A gate's figure, with digits that tell it from the limit, and a word where it is a change for the better.
fn measured(gate: &crate::audit::Verdict) -> String {
    let Some(value) = gate.value else { return "–".into() };
    let (four, _) = words::apart(value, gate.limit);
    let three = format!("{value:.3}");
    let shown = if three.parse() == Ok(gate.limit) { four } else { three };
    match words::better(gate) {
        "" => shown,
        word => format!("{shown}<br><span class=\"note\">{word}</span>"),
    }
}

fn write_list(w: &mut String, title: &str, lines: &[String]) -> std::fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    let items: String = lines.iter().map(|line| format!("<li>{}</li>", escape(line))).collect();
    write!(w, "<h2>{title}</h2><ul>{items}</ul>")
}

pub(super) fn write_table(w: &mut String, head: &[&str], rows: &[Vec<String>]) -> std::fmt::Result {
    write!(w, "<div class=\"wide\"><table><tr>")?;
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
    write!(w, "</table></div>")
}

pub(super) fn escape(text: &str) -> String {
    shown::clean(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
