//! The run: integrity, the steps, files and digests, what is not shown.

use super::{charts, escape, write_table};
use crate::report::{Integrity, Report, UnlearnSection};
use std::fmt::Write;

pub fn write(w: &mut String, r: &Report) -> std::fmt::Result {
    write_limits(w, r)?;
    write_integrity(w, r)?;
    if let Some(u) = &r.unlearn {
        write!(
            w,
            "<h2>The steps</h2><p>Method <code>{}</code>: {} steps of batches of {} in {} epochs{}, seed {}, on {}: {:.1} s.</p>",
            u.method,
            u.steps,
            u.batch_size,
            u.epochs,
            settings(u),
            u.seed,
            u.device,
            u.seconds
        )?;
        charts::trajectory(w, u)?;
    }
    write_files(w, r)?;
    let e = &r.environment;
    let command: Vec<String> = r.run.command.iter().map(|word| quoted(word)).collect();
    write!(w, "<h2>Run</h2><pre>{}</pre>", escape(&command.join(" ")))?;
    write_mapping(w, r)?;
    let configuration = serde_json::to_string_pretty(&r.run.configuration).unwrap_or_default();
    write!(
        w,
        "<details><summary>Flags, configuration and defaults, put together</summary><pre>{}</pre></details>",
        escape(&configuration)
    )?;
    write!(
        w,
        "<p>onnx-forget {} on {} {}, {} threads, {} kernels.</p>",
        e.version, e.os, e.arch, e.threads, e.kernels
    )?;
    let rows: Vec<_> = r.timings.iter().map(|(stage, s)| vec![escape(stage), format!("{s:.2}")]).collect();
    write_table(w, &["stage", "seconds"], &rows)
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-_./=:,+@%".contains(c));
    if plain { word.to_string() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// How the columns were read.
fn write_mapping(w: &mut String, r: &Report) -> std::fmt::Result {
    let notes = r.data.iter().flat_map(|d| &d.notes).filter(|note| !r.run.warnings.contains(note));
    let items: String = notes.map(|note| format!("<li>{}</li>", escape(note))).collect();
    if items.is_empty() { Ok(()) } else { write!(w, "<p>How the data were taken:</p><ul>{items}</ul>") }
}

/// What the method was set to, in words.
fn settings(u: &UnlearnSection) -> String {
    let mut words: Vec<String> = Vec::new();
    words.extend(u.alpha0.map(|a| format!("the forget term active in {}; α₀ {a:.4}", u.active_steps)));
    words.extend(u.learning_rate.map(|rate| format!("learning rate {rate}")));
    words.extend(
        u.settings
            .iter()
            .map(|(key, value)| format!("{} {}", key.replace('_', " "), value.to_string().trim_matches('"'))),
    );
    words.iter().map(|word| format!(", {}", escape(word))).collect()
}

fn write_limits(w: &mut String, r: &Report) -> std::fmt::Result {
    write!(w, "<h2 id=\"limits\">What this does not show</h2><ul>")?;
    for limit in &r.limits {
        write!(w, "<li>{}</li>", escape(limit))?;
    }
    write!(w, "</ul>")
}

fn write_integrity(w: &mut String, r: &Report) -> std::fmt::Result {
    let i: &Integrity = &r.audit.integrity;
    let yes = |x: Option<bool>| match x {
        Some(true) => "yes".to_string(),
        Some(false) => "<strong>no</strong>".to_string(),
        None => "not reached".to_string(),
    };
    let number = |x: Option<usize>| x.map_or("not reached".to_string(), |n| n.to_string());
    write!(w, "<h2>Is the new file what it should be?</h2>")?;
    let ids = format!("{} found, {} not found, {} repeated", i.ids_matched, i.ids_unmatched, i.ids_duplicated);
    let by_ids = r.data.as_ref().is_some_and(|d| d.forget_ids > 0);
    let rows = [
        ("Ids in the list", if by_ids { ids } else { "none: a class was given".into() }),
        ("The model in memory computes what the runtime computes, before", yes(i.parity_before)),
        ("Its gradients are those of the runtime's loss", yes(i.gradient)),
        ("Tensors with changed bytes", number(i.tensors_changed)),
        ("Tensors with the input's bytes", number(i.tensors_unchanged)),
        ("Every byte outside the changed tensors is the input's", yes(i.other_bytes_identical)),
        ("Every written weight is finite", yes(i.weights_finite)),
        ("The written file computes what the model in memory computes", yes(i.parity_after)),
    ];
    write_table(w, &["", ""], &rows.map(|(name, value)| vec![name.to_string(), value]))?;
    write!(w, "<ul>")?;
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

fn write_files(w: &mut String, r: &Report) -> std::fmt::Result {
    write!(w, "<h2>Files and rows</h2>")?;
    let file = |what: &str, f: &crate::report::ModelFile| {
        let name = f.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        vec![what.to_string(), format!("<code>{}</code>", escape(&name)), format!("<code>{}</code>", f.sha256)]
    };
    let mut rows = vec![file("trained model", &r.model.input)];
    rows.extend(r.model.checkpoint.iter().map(|f| file("its checkpoint", f)));
    rows.extend(r.model.output.iter().map(|f| file("new model", f)));
    for f in r.data.iter().flat_map(|d| &d.files) {
        rows.push(vec![
            "data".into(),
            format!("<code>{}</code>", escape(&f.name)),
            format!("<code>{}</code>", f.sha256),
        ]);
    }
    write_table(w, &["", "file", "SHA-256"], &rows)?;
    write!(
        w,
        "<p>{} of {} parameters trainable; {} initializers changed.</p>",
        r.model.trainable_parameters,
        r.model.parameters,
        r.model.changed_initializers.len()
    )?;
    if let Some(loss) = &r.model.loss {
        write!(w, "<p>Task loss: {}</p>", escape(loss))?;
    }
    if let Some(d) = &r.data {
        let row = [d.train_rows, d.forget_rows, d.retain_rows, d.validation_rows, d.test_rows];
        let rows = [row.iter().map(usize::to_string).collect()];
        write_table(w, &["train rows", "forget", "retain", "validation", "test"], &rows)?;
    }
    if r.audit.splits.is_empty() {
        return Ok(());
    }
    write!(w, "<details><summary>Which rows served what, by salted digests</summary>")?;
    let split = |s: &crate::audit::SplitDigest| {
        vec![format!("{} {}", s.of, s.purpose), s.rows.to_string(), format!("<code>{}</code>", s.sha256)]
    };
    write_table(w, &["rows", "", "SHA-256"], &r.audit.splits.iter().map(split).collect::<Vec<_>>())?;
    let tensors = r.model.proof.iter().flat_map(|p| &p.tensors);
    let tensor = |t: &crate::writeback::TensorDigest| {
        vec![
            format!("<code>{}</code>", escape(&t.name)),
            format!("<code>{}</code>", t.before),
            format!("<code>{}</code>", t.after),
        ]
    };
    write!(w, "</details><details><summary>Changed tensors, by SHA-256 of their bytes</summary>")?;
    write_table(w, &["tensor", "before", "after"], &tensors.map(tensor).collect::<Vec<_>>())?;
    write!(w, "</details>")
}
