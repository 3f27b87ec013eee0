//! How the rows were read, and whether the model knows them so.

use super::{escape, write_table};
use crate::{
    plausibility::{Examined, InputReading, Reading, Statistics},
    report::{Report, words::figure},
};
use std::fmt::Write;

pub fn write(w: &mut String, r: &Report) -> std::fmt::Result {
    let Some(data) = &r.data else { return Ok(()) };
    if data.reading.is_none() && data.notes.is_empty() {
        return Ok(());
    }
    write!(w, "<h2 id=\"rows\">How your rows were read</h2>")?;
    if let Some(known) = &data.known {
        write_known(w, known)?;
    }
    if let Some(reading) = &data.reading {
        write_reading(w, reading)?;
    }
    write!(w, "<details><summary>Decisions and notes</summary><ul>")?;
    for note in &data.notes {
        write!(w, "<li>{}</li>", escape(note))?;
    }
    write!(w, "</ul></details>")
}

fn write_known(w: &mut String, known: &Examined) -> std::fmt::Result {
    let said = match (known.known(), &known.figures) {
        (_, None) => "Whether the model knows these rows could not be judged.",
        (true, _) => "The model knows these rows: its answers confirm the reading below.",
        (false, _) => {
            "<strong>The model does not know these rows as they were read.</strong> The run went on because --accept-unknown-rows was given."
        }
    };
    write!(w, "<p>{said}</p>")?;
    if let Some(f) = &known.figures {
        let name = if known.numbers { "R²" } else { "accuracy" };
        let row = |of: &str, quality: Option<f64>, loss: Option<f64>| vec![of.into(), figure(quality), figure(loss)];
        let rows = [
            row(&format!("training rows ({})", f.rows), Some(f.quality), Some(f.loss)),
            row("an answer that ignores the inputs", Some(f.quality_without_inputs), Some(f.loss_without_inputs)),
            row("labels permuted among the rows", Some(f.quality_of_permuted), Some(f.loss_of_permuted)),
            row(&format!("unseen rows ({})", f.unseen_rows), f.unseen_quality, f.unseen_loss),
        ];
        write_table(w, &["", name, "mean loss"], &rows)?;
    }
    let explanation = known.explanation();
    if !explanation.is_empty() {
        write!(w, "<pre>{}</pre>", escape(&explanation))?;
    }
    if let Some(why) = &known.not_judged {
        write!(w, "<p class=\"note\">Not judged: {}.</p>", escape(why))?;
    }
    Ok(())
}

fn write_reading(w: &mut String, reading: &Reading) -> std::fmt::Result {
    let input = |i: &InputReading| {
        vec![
            format!("<code>{}</code>", escape(&i.input)),
            i.kind.to_string(),
            columns(&i.columns),
            scale(i),
            i.example.as_ref().map_or(String::new(), statistics),
        ]
    };
    let rows: Vec<_> = reading.inputs.iter().map(input).collect();
    write!(w, "<div class=\"reading\">")?;
    write_table(w, &["input", "kind", "columns, in order", "scale", "what the model gets"], &rows)?;
    write!(w, "</div>")?;
    if let Some(target) = &reading.target {
        write!(w, "<p>Labels: {}, read as {}", columns(&target.columns), escape(&target.labels))?;
        if target.width > 0 {
            write!(w, " ({} a row or classes)", target.width)?;
        }
        write!(w, ".</p>")?;
    }
    Ok(())
}

/// Column names that are shown without a click.
const SHOWN: usize = 6;

fn columns(names: &[String]) -> String {
    let all: Vec<_> = names.iter().map(|c| format!("<code>{}</code>", escape(c))).collect();
    match all.as_slice() {
        all if all.len() <= SHOWN => all.join(", "),
        all => format!("<details><summary>{} columns</summary>{}</details>", all.len(), all.join(", ")),
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
        escape(&s.dtype),
        s.rows,
        s.min,
        s.max,
        s.mean,
        s.std
    )
}
