//! The record as one HTML page: no script, nothing from the network.

mod audit;
mod charts;
mod further;
mod rows;
mod run;

pub(super) use charts::at;

use super::{Report, Status, words};
use crate::{audit::Judgment, shown};
use maud::{DOCTYPE, Markup, PreEscaped, Render, html};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1c2330;background:#fff}\
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
    page(report).into_string()
}

fn page(r: &Report) -> Markup {
    let (class, word) = match r.status {
        Status::Published => ("pass", "published"),
        Status::Rejected => ("fail", "rejected"),
        Status::NothingToForget => ("none", "nothing to forget"),
        Status::DryRun => ("none", "dry run"),
    };
    let body = html! {
        h1 { "onnx-forget report" }
        p {
            span class={ "chip " (class) } { (word) } " exit code " (r.exit_code)
            @if let Some(d) = &r.data { " · " (d.forget_rows) " of " (d.train_rows) " training rows to be forgotten" }
        }
        @if let Some(name) = &r.run.name { p { "Run: " strong { (text(name)) } } }
        @if let Some(error) = &r.error { p { strong { (text(error)) } } }
        (list("What to try next", &r.advice))
        (list("Warnings", &r.run.warnings))
        (verdict(r))
        (rows::section(r))
        (audit::section(r))
        (run::section(r))
    };
    document("onnx-forget report", "", &body)
}

/// A page of its own: no script, nothing from the network. `style` is added to the common one.
pub(super) fn document(title: &str, style: &'static str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (title) }
                meta name="viewport" content="width=device-width";
                style { (PreEscaped(STYLE)) (PreEscaped(style)) }
            }
            body { (body) }
        }
    }
}

/// What somebody else has named or written, without control characters.
pub(super) fn text(given: &str) -> String {
    shown::clean(given).into_owned()
}

fn chip(judgment: Judgment) -> Markup {
    let class = match judgment {
        Judgment::Pass => "pass",
        Judgment::Insufficient => "none",
        Judgment::Warn => "warn",
        Judgment::Fail => "fail",
    };
    html! { span class={ "chip " (class) } { (judgment.word()) } }
}

fn verdict(r: &Report) -> Markup {
    let Some(verdict) = r.audit.verdict else { return Markup::default() };
    let row = |gate: &crate::audit::Verdict| {
        let name = html! {
            (text(&words::gate(gate))) br; span.note { code { (text(&gate.gate.to_string())) } }
            @if let Some(n) = gate.need { br; span.note { (n.have) " of " (n.needed) " " (n.of) } }
        };
        vec![name, measured(gate), html! { (gate.limit) }, chip(gate.outcome)]
    };
    let rows: Vec<_> = r.gates.iter().map(row).collect();
    html! {
        h2 { "Verdict" }
        p { (chip(verdict)) " " (text(&words::overall(verdict, &r.gates))) }
        div.gates { (table(&["what should hold", "measured", "at most", ""], &rows)) }
        @if !r.gates_off.is_empty() {
            p {
                strong { "Switched off by the configuration, and not checked:" } " "
                @for (i, gate) in r.gates_off.iter().enumerate() {
                    @if i > 0 { ", " }
                    code { (gate.key()) }
                }
                "."
            }
        }
        p.note {
            "INSUFFICIENT: the rows are too few to say; it is neither a pass nor a fail. WARN: beyond a limit, published nevertheless. \
             FAIL: nothing is published. The limits are those of " code { "[gates]" } " in the configuration. A verdict is about these \
             tests only: see " a href="#limits" { "what this does not show" } "."
        }
    }
}

/// A gate's figure, with digits that tell it from the limit, and a word where it is a change for the better.
fn measured(gate: &crate::audit::Verdict) -> Markup {
    let Some(value) = gate.value else { return html! { "–" } };
    let (four, _) = words::apart(value, gate.limit);
    let three = format!("{value:.3}");
    let shown = if three.parse() == Ok(gate.limit) { four } else { three };
    let better = words::better(gate);
    html! { (shown) @if !better.is_empty() { br; span.note { (better) } } }
}

fn list(title: &str, lines: &[String]) -> Markup {
    html! {
        @if !lines.is_empty() {
            h2 { (title) }
            (items(lines.iter().map(String::as_str)))
        }
    }
}

/// A list of sentences; nothing if there are none.
fn items<'a>(lines: impl Iterator<Item = &'a str>) -> Markup {
    let mut lines = lines.peekable();
    html! { @if lines.peek().is_some() { ul { @for line in lines { li { (text(line)) } } } } }
}

pub(super) fn table<H: Render, C: Render>(head: &[H], rows: &[Vec<C>]) -> Markup {
    html! {
        div.wide {
            table {
                tr { @for cell in head { th { (cell) } } }
                @for row in rows { tr { @for cell in row { td { (cell) } } } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_only_text() {
        let hostile = "a\u{1b}[31m\u{202e}<script>alert('x')</script>\" onload=\"&";
        let shown = html! { p title=(text(hostile)) { (text(hostile)) } }.into_string();
        assert!(
            !shown.contains("<script") && !shown.contains("\" onload") && shown.contains("&lt;script&gt;"),
            "{shown}"
        );
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown}");
        let cells = table(&["<b>"], &[vec![hostile.to_string()]]).into_string();
        assert!(cells.contains("&lt;b&gt;") && !cells.contains("<script"), "{cells}");
    }
}
