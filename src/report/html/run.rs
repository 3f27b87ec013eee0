//! The run: integrity, the steps, files and digests, what is not shown.

use super::{charts, items, table, text};
use crate::report::{Integrity, ModelFile, Report, UnlearnSection};
use maud::{Markup, html};

pub fn section(r: &Report) -> Markup {
    let e = &r.environment;
    let command: Vec<String> = r.run.command.iter().map(|word| quoted(word)).collect();
    let configuration = serde_json::to_string_pretty(&r.run.configuration).unwrap_or_default();
    let timings: Vec<_> = r.timings.iter().map(|(stage, s)| vec![text(stage), format!("{s:.2}")]).collect();
    html! {
        h2 id="limits" { "What this does not show" }
        (items(r.limits.iter().map(|limit| limit.as_ref())))
        (integrity(r))
        @if let Some(u) = &r.unlearn {
            h2 { "The steps" }
            p {
                "Method " code { (u.method) } ": " (u.steps) " steps of batches of " (u.batch_size) " in " (u.epochs) " epochs" (settings(u))
                ", seed " (u.seed) ", on " (u.device) ": " (charts::at(u.seconds, 1)) " s."
            }
            (charts::trajectory(u))
        }
        (files(r))
        h2 { "Run" }
        pre { (text(&command.join(" "))) }
        (mapping(r))
        details {
            summary { "Flags, configuration and defaults, put together" }
            pre { (text(&configuration)) }
        }
        p { "onnx-forget " (e.version) " on " (e.os) " " (e.arch) ", " (e.threads) " threads, " (e.kernels) " kernels." }
        (table(&["stage", "seconds"], &timings))
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-_./=:,+@%".contains(c));
    if plain { word.to_string() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// How the columns were read.
fn mapping(r: &Report) -> Markup {
    let notes = r.data.iter().flat_map(|d| &d.notes).filter(|note| !r.run.warnings.contains(note));
    let mut notes = notes.map(String::as_str).peekable();
    html! { @if notes.peek().is_some() { p { "How the data were read:" } (items(notes)) } }
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
    words.iter().map(|word| format!(", {}", text(word))).collect()
}

fn integrity(r: &Report) -> Markup {
    let i: &Integrity = &r.audit.integrity;
    let yes = |x: Option<bool>| match x {
        Some(true) => html! { "yes" },
        Some(false) => html! { strong { "no" } },
        None => html! { "not reached" },
    };
    let number = |x: Option<usize>| x.map_or(html! { "not reached" }, |n| html! { (n) });
    let by_ids = r.data.as_ref().is_some_and(|d| d.forget_ids > 0);
    let ids = match by_ids {
        true => format!("{} found, {} not found, {} repeated", i.ids_matched, i.ids_unmatched, i.ids_duplicated),
        false => "none: a class was given".into(),
    };
    let rows = [
        ("Ids in the list", html! { (ids) }),
        ("The model in memory computes what the runtime computes, before", yes(i.parity_before)),
        ("Its gradients are those of the runtime's loss", yes(i.gradient)),
        ("Tensors with changed bytes", number(i.tensors_changed)),
        ("Tensors with the input's bytes", number(i.tensors_unchanged)),
        ("Every byte outside the changed tensors is the input's", yes(i.other_bytes_identical)),
        ("Every written weight is finite", yes(i.weights_finite)),
        ("The written file computes what the model in memory computes", yes(i.parity_after)),
    ];
    html! {
        h2 { "Is the new file what it should be?" }
        (table(&["", ""], &rows.map(|(name, value)| vec![html! { (name) }, value])))
        ul {
            @for (name, check) in [("before", &r.parity.before), ("after", &r.parity.after)] {
                @if let Some(check) = check { li { (name) ": " (text(&check.verdict)) } }
            }
            @if let Some(gradient) = &r.parity.gradient { li { "gradient: " (text(&gradient.verdict())) } }
        }
    }
}

fn files(r: &Report) -> Markup {
    let named = |what: &str, name: &str, digest: &str| {
        vec![html! { (what) }, html! { code { (text(name)) } }, html! { code { (digest) } }]
    };
    let file =
        |what: &str, f: &ModelFile| named(what, &f.path.file_name().unwrap_or_default().to_string_lossy(), &f.sha256);
    let mut rows = vec![file("trained model", &r.model.input)];
    rows.extend(r.model.checkpoint.iter().map(|f| file("its checkpoint", f)));
    rows.extend(r.model.output.iter().map(|f| file("new model", f)));
    rows.extend(r.data.iter().flat_map(|d| &d.files).map(|f| named("data", &f.name, &f.sha256)));
    html! {
        h2 { "Files and rows" }
        (table(&["", "file", "SHA-256"], &rows))
        p {
            (r.model.trainable_parameters) " of " (r.model.parameters) " parameters trainable; " (r.model.changed_initializers.len())
            " initializers changed."
        }
        @if let Some(loss) = &r.model.loss { p { "Task loss: " (text(loss)) } }
        @if let Some(d) = &r.data {
            (table(
                &["train rows", "forget", "retain", "validation", "test"],
                &[vec![d.train_rows, d.forget_rows, d.retain_rows, d.validation_rows, d.test_rows]],
            ))
        }
        (digests(r))
    }
}

fn digests(r: &Report) -> Markup {
    if r.audit.splits.is_empty() {
        return Markup::default();
    }
    let code = |digest: &str| html! { code { (digest) } };
    let split =
        |s: &crate::audit::SplitDigest| vec![html! { (s.of) " " (s.purpose) }, html! { (s.rows) }, code(&s.sha256)];
    let tensors = r.model.proof.iter().flat_map(|p| &p.tensors);
    let tensor = |t: &crate::writeback::TensorDigest| vec![code(&text(&t.name)), code(&t.before), code(&t.after)];
    html! {
        details {
            summary { "Which rows served what, by salted digests" }
            (table(&["rows", "", "SHA-256"], &r.audit.splits.iter().map(split).collect::<Vec<_>>()))
        }
        details {
            summary { "Changed tensors, by SHA-256 of their bytes" }
            (table(&["tensor", "before", "after"], &tensors.map(tensor).collect::<Vec<_>>()))
        }
    }
}
