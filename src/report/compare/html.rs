//! The comparison as one HTML page: no script, nothing from the network.

use super::{
    ATTACKS, Column, CompareReport, UTILITY,
    chart::{Shown, chart},
    seconds, shown,
    table::is_percent,
};
use crate::report::html::{document, table, text};
use maud::{Markup, html};

/// What is added to the common style.
const STYLE: &str = "td:first-child,th:first-child{min-width:6rem}body{max-width:80rem}\
.wide{overflow-x:auto;font-size:.88rem}.wide td,.wide th{padding:.25rem .42rem}.row figure{width:auto}\
.settings td,.settings th{text-align:left;white-space:normal}";

/// The page.
pub fn html(report: &CompareReport) -> String {
    document("onnx-forget comparison", STYLE, &body(report)).into_string()
}

fn body(r: &CompareReport) -> Markup {
    let name = r.model.path.file_name().unwrap_or_default().to_string_lossy();
    let seeds = match r.seeds.len() {
        1 => "one seed".into(),
        n => format!("mean ± standard deviation of {n} seeds"),
    };
    let left_out = r.left_out();
    let e = &r.environment;
    html! {
        h1 { "Methods of unlearning on " (text(&name)) }
        p {
            (r.forget_rows) " training rows to forget, " (r.retain_rows) " to retain, " (r.validation_rows) " validation rows, "
            (r.test_rows) " test rows; " (seeds) ". Every method starts from the same weights and is given the same rows."
        }
        @for warning in [r.unfinished(), r.too_few()].into_iter().flatten() { p { strong { (text(&warning)) "." } } }
        (charts(r))
        h2 { "What the model still does" }
        (figures(r, &r.shown(UTILITY), true))
        h2 { "What it gives away of the rows to forget" }
        (figures(r, &r.shown(ATTACKS), false))
        p.note { (text(&r.certainty())) "." }
        @if let Some(reference) = &r.reference {
            p.note { "Distances are from a model without the rows: " (text(reference)) "." }
        }
        @if !left_out.is_empty() {
            h2 { "What failed, or was left out" }
            ul { @for (title, why) in left_out { li { (text(title)) ": " (text(&why)) } } }
        }
        (settings(r))
        h2 { "Run" }
        p { "Task loss: " (text(&r.loss)) }
        @for note in &r.notes { p { (text(note)) "." } }
        p {
            "onnx-forget " (e.version) " on " (e.os) " " (e.arch) ", " (e.threads) " threads, " (e.kernels) " kernels, on "
            (text(&r.device)) ". Seeds " (r.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")) ". Model "
            code { (r.model.sha256) } "."
        }
    }
}

fn charts(r: &CompareReport) -> Markup {
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
    html! {
        h2 { "Forgetting, utility, time" }
        div.row {
            @for x in [attack("mia_loss", loss), attack("mia_entropy", entropy)] {
                @if has(x.key) { figure { (chart(r, &x, &utility)) } }
            }
        }
        p.note {
            "Best is on the dashed line, where an attacker does no better than random guessing, at the utility of the original model or above; \
             within the green band, a difference from random guessing may be chance. A circle's area grows with the time that the method took; \
             whiskers are one standard deviation over seeds. The hollow circle took no time here."
        }
    }
}

fn figures(r: &CompareReport, columns: &[&Column], time: bool) -> Markup {
    let title = |c: &&Column| {
        let unit = if is_percent(c.form) { ", %" } else { "" };
        html! { span title=(c.meaning) { (c.title) (unit) } }
    };
    let mut head = vec![html! { "method" }];
    head.extend(columns.iter().map(title));
    head.extend(time.then(|| html! { "seconds" }));
    let row = |method| {
        let mut row = vec![text(&r.label(method))];
        row.extend(columns.iter().map(|c| method.figures.get(c.key).map_or("–".into(), |s| shown(s, c.form))));
        row.extend(time.then(|| method.seconds.as_ref().map_or("–".into(), seconds)));
        row
    };
    let rows: Vec<_> = r.measured().map(row).collect();
    html! {
        (table(&head, &rows))
        p.note {
            @for (i, c) in columns.iter().enumerate() {
                @if i > 0 { "; " }
                (c.title) ": " (c.meaning)
            }
            "."
        }
    }
}

fn settings(r: &CompareReport) -> Markup {
    let words = |settings: &crate::unlearn::method::MethodSettings| {
        let Ok(serde_json::Value::Object(all)) = serde_json::to_value(settings) else { return String::new() };
        let set = all.iter().filter(|(_, value)| !value.is_null());
        let words =
            set.map(|(key, value)| format!("{} {}", key.replace('_', " "), value.to_string().trim_matches('"')));
        words.collect::<Vec<_>>().join(", ")
    };
    let row = |row: &super::MethodRow| Some(vec![text(&row.title), text(&words(row.settings.as_ref()?))]);
    let rows: Vec<_> = r.methods.iter().filter_map(row).collect();
    html! {
        h2 { "Settings" }
        p.note {
            "∇τ, in both forms, follows " code { "[unlearn]" } " in the configuration where that sets epochs, alpha, learning rate or \
             weight decay; other methods do not. They are set as published, except NegGrad, whose settings are this project's own."
        }
        div.settings { (table(&["method", "set to"], &rows)) }
    }
}
