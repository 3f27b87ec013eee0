//! What `inspect` prints for people.

use crate::{
    run::{
        Gradient,
        inspect::{Inspection, Port},
        operators as specs,
    },
    shown::Lines,
};
use std::fmt::Write;

pub(super) fn inspection(it: &Inspection) -> String {
    let mut out = Lines::default();
    // Writing to a string does not fail.
    let _ = write(&mut out, it);
    out.0
}

fn write(out: &mut Lines, it: &Inspection) -> std::fmt::Result {
    writeln!(out, "{} ({} bytes, sha256 {})", it.path, it.bytes, it.sha256)?;
    let producer = if it.producer.is_empty() { "unknown" } else { &it.producer };
    let opsets: Vec<String> = it.opsets.iter().map(|(domain, version)| format!("{domain} {version}")).collect();
    writeln!(out, "producer  {producer}; IR version {}; operator sets {}", it.ir_version, opsets.join(", "))?;
    if let Some(c) = &it.checkpoint {
        let counts = format!("{} trained and {} frozen tensors, {} momentums", c.trained, c.frozen, c.momentums);
        writeln!(out, "checkpoint {} ({counts}, sha256 {})", c.path, c.sha256)?;
    }
    for form in &it.forms {
        match &form.refused {
            None => writeln!(out, "form      {}", form.name)?,
            Some(_) if it.problem.is_none() => writeln!(out, "form      {}, but not where the loss is", form.name)?,
            Some(hint) => writeln!(out, "form      {}: refused: {hint}", form.name)?,
        }
    }
    for port in &it.inputs {
        writeln!(out, "input     {}", shown(port))?;
    }
    for made in &it.made {
        writeln!(out, "made      {made}")?;
    }
    for port in &it.outputs {
        writeln!(out, "output    {}", shown(port))?;
    }
    let total: usize = it.operators.iter().map(|entry| entry.count).sum();
    writeln!(out)?;
    writeln!(out, "operators ({total} nodes)")?;
    let width = it.operators.iter().map(|entry| entry.op.len()).max().unwrap_or(0);
    for entry in &it.operators {
        let note = if entry.supported { "" } else { "  UNSUPPORTED" };
        writeln!(out, "  {:width$} {:>6}{note}", entry.op, entry.count)?;
    }
    if let Some(loss) = &it.loss {
        writeln!(out)?;
        writeln!(out, "loss      {}", loss.why)?;
    }
    if !it.initializers.is_empty() {
        writeln!(out)?;
        writeln!(out, "float tensors")?;
    }
    let names: Vec<String> =
        it.initializers.iter().map(|one| format!("{} {}{:?}", one.name, one.dtype, one.dims)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(72);
    for (one, name) in it.initializers.iter().zip(&names) {
        let mark = if one.trainable { "train" } else { "keep " };
        writeln!(out, "  {mark}  {name:width$}  {} [{}]", one.reason, one.source)?;
    }
    let t = &it.totals;
    writeln!(out)?;
    writeln!(
        out,
        "trainable {} of {} float tensors, {} of {} elements",
        t.trainable_tensors, t.float_tensors, t.trainable_elements, t.float_elements
    )?;
    for warning in &it.warnings {
        writeln!(out, "warning   {warning}")?;
    }
    if let Some(configuration) = &it.configuration {
        writeln!(out)?;
        writeln!(out, "A configuration would say (`onnx-forget init MODEL --data ROWS` fills it in):")?;
        for line in configuration.lines() {
            writeln!(out, "{}", format!("  {line}").trim_end())?;
        }
    }
    Ok(())
}

fn shown(port: &Port) -> String {
    let dtype = port.dtype.as_deref().unwrap_or("not a numeric tensor");
    let dims = match &port.dims {
        None => "of undeclared rank".to_string(),
        Some(dims) => {
            let extents = dims.iter().map(|dim| match dim {
                serde_json::Value::Null => "?".to_string(),
                serde_json::Value::String(name) => name.clone(),
                number => number.to_string(),
            });
            format!("[{}]", extents.collect::<Vec<_>>().join(", "))
        }
    };
    format!("{} {dtype} {dims}", port.name)
}

/// The operators of this program, as a Markdown table.
pub(in crate::cli) fn operators() -> String {
    let mut rows: Vec<[String; 4]> = Vec::new();
    for spec in specs() {
        let domain = if spec.domain.is_empty() { String::new() } else { format!("{}::", spec.domain) };
        let (first, last) = spec.opsets;
        let opsets = if first == last { first.to_string() } else { format!("{first}-{last}") };
        let gradient = match spec.gradient {
            Gradient::All => "all float inputs".to_string(),
            Gradient::Only(inputs) => format!("input {}", list(inputs)),
            Gradient::Flat => "not needed".to_string(),
            Gradient::None => "no".to_string(),
        };
        rows.push([
            format!("{domain}{}", spec.name),
            opsets,
            gradient,
            if spec.fast { "yes" } else { "no" }.to_string(),
        ]);
    }
    let mut out =
        String::from("| operator | opset | forward | gradient | fast on CPU |\n| --- | --- | --- | --- | --- |\n");
    for [name, opsets, gradient, fast] in rows {
        out += &format!("| {name} | {opsets} | yes | {gradient} | {fast} |\n");
    }
    out
}

fn list(numbers: &[usize]) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}
