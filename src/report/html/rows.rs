//! How the rows were read, and whether the model knows them so.

use super::{items, table, text};
use crate::{
    plausibility::{Examined, InputReading, Reading, Statistics},
    report::{Report, words::figure},
};
use maud::{Markup, html};

pub fn section(r: &Report) -> Markup {
    let Some(data) = r.data.as_ref().filter(|data| data.reading.is_some() || !data.notes.is_empty()) else {
        return Markup::default();
    };
    html! {
        h2 id="rows" { "How your rows were read" }
        @if let Some(found) = &data.known { (known(found)) }
        @if let Some(found) = &data.reading { (reading(found)) }
        details {
            summary { "Decisions and notes" }
            (items(data.notes.iter().map(String::as_str)))
        }
    }
}

fn known(known: &Examined) -> Markup {
    let explanation = known.explanation();
    html! {
        p {
            @match (known.known(), &known.figures) {
                (_, None) => "Whether the model knows these rows could not be judged.",
                (true, _) => "The model knows these rows: its answers confirm the reading below.",
                (false, _) => {
                    strong { "The model does not know these rows as they were read." }
                    " The run went on because --accept-unknown-rows was given."
                }
            }
        }
        @if let Some(f) = &known.figures {
            @let name = known.name();
            @let row = |of: String, quality: Option<f64>, loss: Option<f64>| vec![of, figure(quality), figure(loss)];
            (table(&["", name, "mean loss"], &[
                row(format!("training rows ({})", f.rows), Some(f.quality), Some(f.loss)),
                row("an answer that ignores the inputs".into(), Some(f.quality_without_inputs), Some(f.loss_without_inputs)),
                row("labels permuted among the rows".into(), Some(f.quality_of_permuted), Some(f.loss_of_permuted)),
                row(format!("unseen rows ({})", f.unseen_rows), f.unseen_quality, f.unseen_loss),
            ]))
        }
        @if !explanation.is_empty() { pre { (text(&explanation)) } }
        @if let Some(why) = &known.not_judged { p.note { "Not judged: " (text(why)) "." } }
    }
}

fn reading(reading: &Reading) -> Markup {
    let input = |i: &InputReading| {
        vec![
            html! { code { (text(&i.input)) } },
            html! { (i.kind) },
            columns(&i.columns),
            html! { (scale(i)) },
            html! { @if let Some(example) = &i.example { (statistics(example)) } },
        ]
    };
    let rows: Vec<_> = reading.inputs.iter().map(input).collect();
    html! {
        div.reading { (table(&["input", "kind", "columns, in order", "scale", "what the model gets"], &rows)) }
        @if let Some(target) = &reading.target {
            p {
                "Labels: " (columns(&target.columns)) ", read as " (text(&target.labels))
                @if target.width > 0 { " (" (target.width) " a row or classes)" }
                "."
            }
        }
    }
}

/// Column names that are shown without a click.
const SHOWN: usize = 6;

fn columns(names: &[String]) -> Markup {
    let all = html! {
        @for (i, name) in names.iter().enumerate() {
            @if i > 0 { ", " }
            code { (text(name)) }
        }
    };
    match names.len() {
        ..=SHOWN => all,
        n => html! { details { summary { (n) " columns" } (all) } },
    }
}

fn scale(i: &InputReading) -> String {
    let list = |values: &[f64]| match values {
        [] => String::new(),
        few if few.len() <= 4 => few.iter().map(|x| format!("{x:.6}")).collect::<Vec<_>>().join(", "),
        many => format!("{} numbers", many.len()),
    };
    let mut words = Vec::new();
    if !i.factor.is_empty() {
        words.push(format!("value · ({}) + ({})", list(&i.factor), list(&i.offset)));
    }
    words.extend(i.layout.map(|layout| format!("{layout:?}").to_uppercase()));
    words.extend(i.padding.map(|padding| format!("padded with {padding}")));
    words.extend(i.length.map(|length| format!("{length} tokens a row")));
    words.join("; ")
}

fn statistics(s: &Statistics) -> String {
    let dims = s.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
    format!(
        "{} {dims} a row; over {} rows: {:.4} to {:.4}, mean {:.4}, std {:.4}",
        text(&s.dtype),
        s.rows,
        s.min,
        s.max,
        s.mean,
        s.std
    )
}
