//! Did it forget, did it keep: the figures.

use super::{FORGET, TEST, charts, further, write_table};
use crate::{
    audit::{Audit, Change, LowFpr, Rate, Share, SplitScore, attacks},
    report::{
        Report,
        words::{figure, percent},
    },
};
use std::fmt::Write;

pub fn write(w: &mut String, r: &Report) -> std::fmt::Result {
    let (Some(before), Some(after)) = (&r.audit.before, &r.audit.after) else { return Ok(()) };
    write!(w, "<h2>Did it forget?</h2>")?;
    write_population(w, before, after)?;
    write_histograms(w, r)?;
    write_records(w, before, after)?;
    write_classes(w, before, after)?;
    further::write(w, r)?;
    write!(w, "<h2>Did it keep the rest?</h2>")?;
    write_kept(w, before, after, r.audit.change.as_ref())
}

fn write_population(w: &mut String, before: &Audit, after: &Audit) -> std::fmt::Result {
    write!(
        w,
        "<h3>All forgotten rows together</h3><p class=\"note\">Attackers who try to tell forgotten rows from {} unseen rows \
         of the same classes. Unseen rows are held-out rows that the model was never trained on and that did not serve for \
         τ. An accuracy or an AUC of 0.5 is what a coin has; both directions count.</p>",
        after.mia.unseen_rows
    )?;
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: String, b: String, a: String, ideal: String| rows.push(vec![name, b, a, ideal]);
    for ((name, b), (_, a)) in attacks(before).into_iter().zip(attacks(after)) {
        let note = if a.informative { "" } else { " (too few rows to say anything)" };
        let margin = a.coin_margin.map_or(String::new(), |m| format!("0.5 ± {m:.3}"));
        row(format!("Accuracy, by the {name}{note}"), figure(b.accuracy), figure(a.accuracy), margin);
        row(format!("AUC, by the {name}"), figure(b.auc), figure(a.auc), "0.5".into());
        let ks = |k: Option<crate::audit::KolmogorovSmirnov>| {
            k.map_or("–".into(), |k| format!("{:.3} (p {})", k.statistic, p_value(k.p_value)))
        };
        row(format!("Kolmogorov-Smirnov distance of the {name}"), ks(b.ks), ks(a.ks), "0".into());
        for (b, a) in b.low_fpr.iter().zip(&a.low_fpr) {
            let (share, few) = (100.0 * a.fpr, if a.sufficient { "" } else { ", <strong>insufficient</strong>" });
            let needed = if a.sufficient { String::new() } else { format!(": needs {} unseen rows", a.unseen_needed) };
            let label = format!("Found by a low {name}, {share} % false alarms{few}{needed}");
            row(label, rate(b.below), rate(a.below), format!("{share} %"));
            row(
                format!("Found by a high {name}, {share} % false alarms{few}"),
                rate(b.above),
                rate(a.above),
                format!("{share} %"),
            );
        }
    }
    if let (Some(b), Some(a)) = (&before.mia.entropy_transfer, &after.mia.entropy_transfer) {
        let name = format!(
            "Taken for members by an attacker who learned on {} retained and {} unseen rows",
            a.training_members, a.training_others
        );
        row(
            name,
            percent(Some(b.forget)),
            percent(Some(a.forget)),
            format!("{} (other unseen rows)", percent(a.unseen)),
        );
    }
    write_table(w, &["", "before", "after", "ideal"], &rows)
}

fn p_value(p: f64) -> String {
    if p < 1e-3 { "< 0.001".replace('<', "&lt;") } else { format!("{p:.3}") }
}

fn rate(rate: Option<Rate>) -> String {
    rate.map_or("–".into(), |r| format!("{:.1} % ({:.1}–{:.1})", 100.0 * r.rate, 100.0 * r.low, 100.0 * r.high))
}

fn write_histograms(w: &mut String, r: &Report) -> std::fmt::Result {
    let Some(h) = &r.audit.losses else {
        return Ok(());
    };
    let set =
        |name: &str| h.sets.iter().find(|(n, _)| n == name).map(|(_, counts)| counts.as_slice()).unwrap_or_default();
    write!(w, "<div class=\"row\">")?;
    for title in ["before", "after"] {
        write!(w, "<figure>")?;
        charts::bars(w, &h.edges, set(&format!("{title}/forget")), set(&format!("{title}/test")))?;
        write!(w, "<figcaption>{title}: <span style=\"color:{FORGET}\">forgotten</span> and ")?;
        write!(w, "<span style=\"color:{TEST}\">unseen</span> rows, share by loss</figcaption></figure>")?;
    }
    write!(w, "</div>")
}

fn write_records(w: &mut String, before: &Audit, after: &Audit) -> std::fmt::Result {
    let records = &after.records;
    write!(
        w,
        "<h3>The forgotten rows one by one</h3><p class=\"note\">Each row's loss has a rank among the losses of unseen rows \
         of its class. If the row had never been seen, every rank would be as likely as any other. Rows at the low end are \
         still known (under-forgotten); rows at the high end were driven away so far that this gives them away \
         (over-forgotten). {} rows could be judged{}.</p>",
        records.judged,
        match records.unjudged {
            0 => String::new(),
            n => format!("; for {n} there are fewer than {} unseen rows of the class", records.unseen_needed),
        }
    )?;
    write!(w, "<div class=\"row\">")?;
    for (title, ranks) in [("before", &before.records.ranks), ("after", &records.ranks)] {
        write!(w, "<figure>")?;
        charts::ranks(w, ranks)?;
        write!(w, "<figcaption>{title}: forgotten rows by the rank of their loss among ")?;
        write!(w, "<span style=\"color:{TEST}\">unseen rows</span>, in tenths</figcaption></figure>")?;
    }
    write!(w, "</div>")?;
    let share = |s: Option<Share>| percent(s.map(|s| s.share));
    let ideal =
        |s: Option<Share>| s.map_or("–".into(), |s| format!("{:.1} % ± {:.1}", 100.0 * s.expected, 100.0 * s.margin));
    let (b, a) = (&before.records, records);
    let rows = [
        vec![
            "Under-forgotten: lower than all but 5 % of unseen rows".into(),
            share(b.under_forgotten),
            share(a.under_forgotten),
            ideal(a.under_forgotten),
        ],
        vec![
            "Over-forgotten: higher than all but 5 % of unseen rows".into(),
            share(b.over_forgotten),
            share(a.over_forgotten),
            ideal(a.over_forgotten),
        ],
        vec![
            "p-value of the worst tenth of the rows (two-sided)".into(),
            figure(b.worst_decile),
            figure(a.worst_decile),
            "0.1".into(),
        ],
    ];
    write_table(w, &["", "before", "after", "ideal"], &rows)
}

fn write_classes(w: &mut String, before: &Audit, after: &Audit) -> std::fmt::Result {
    let Some(classes) = &after.classes else { return Ok(()) };
    write!(w, "<h3>Class by class</h3>")?;
    if classes.judged == 0 {
        return write!(
            w,
            "<p class=\"note\">Insufficient: no class has {0} forgotten and {0} unseen rows.</p>",
            classes.rows_needed
        );
    }
    let few = match classes.unjudged {
        0 => String::new(),
        n => format!(" {n} classes have too few rows, and are not named: the class of a forgotten row is private."),
    };
    write!(w, "<p class=\"note\">Forgotten rows against unseen rows of the same class, by the loss.{few}</p>")?;
    let scores = before.classes.iter().flat_map(|c| &c.scores).zip(&classes.scores);
    let mut rows: Vec<_> = scores.collect();
    rows.sort_by(|a, b| b.1.ks.statistic.total_cmp(&a.1.ks.statistic));
    const SHOWN: usize = 20;
    let row = |(b, a): &(&crate::audit::ClassScore, &crate::audit::ClassScore)| {
        vec![
            a.class.to_string(),
            a.forget_rows.to_string(),
            a.unseen_rows.to_string(),
            format!("{:.3}", b.auc_two_sided),
            format!("{:.3}", a.auc_two_sided),
            format!("{:.3}", b.ks.statistic),
            format!("{:.3}", a.ks.statistic),
        ]
    };
    let head = ["class", "forgotten", "unseen", "AUC before", "after", "KS before", "after"];
    write_table(w, &head, &rows.iter().take(SHOWN).map(row).collect::<Vec<_>>())?;
    if rows.len() > SHOWN {
        write!(w, "<p class=\"note\">The {SHOWN} worst of {}; report.json has all.</p>", rows.len())?;
    }
    Ok(())
}

/// Accuracy, and in brackets the balanced one; or R².
fn quality(set: &SplitScore) -> String {
    let balanced = set.balanced_accuracy.map(|share| format!(" ({})", percent(Some(share)))).unwrap_or_default();
    set.r2.map_or_else(|| percent(set.accuracy) + &balanced, |r2| format!("R² {r2:.3}"))
}

fn write_kept(w: &mut String, before: &Audit, after: &Audit, change: Option<&Change>) -> std::fmt::Result {
    let sets = [
        ("forgotten", &before.forget, &after.forget),
        ("retained", &before.retain, &after.retain),
        ("test", &before.test, &after.test),
    ];
    let kept = before.test_of_kept_classes.iter().zip(&after.test_of_kept_classes);
    let rows: Vec<Vec<String>> = sets
        .into_iter()
        .chain(kept.map(|(b, a)| ("test, of kept classes", b, a)))
        .map(|(name, b, a)| {
            vec![
                format!("{name} ({})", a.rows),
                quality(b),
                quality(a),
                format!("{:.4}", b.loss),
                format!("{:.4}", a.loss),
            ]
        })
        .collect();
    write_table(w, &["rows", "accuracy (balanced) before", "after", "loss before", "after"], &rows)?;
    write!(
        w,
        "<h3>What became of retained rows</h3><p class=\"note\">Unlearning some rows can expose others. Retained rows were \
         trained on, so that they stand out among test rows to begin with; what matters is whether it got worse.</p>"
    )?;
    let (b, a) = (&before.retained, &after.retained);
    let low = |l: &LowFpr| rate(l.below);
    let mut rows = vec![
        vec!["AUC, retained against test rows".into(), figure(b.auc), figure(a.auc)],
        vec!["Found by a low loss, 1 % false alarms".into(), low(&b.low_fpr), low(&a.low_fpr)],
        vec!["Lower than all but 5 % of test rows of the class".into(), percent(b.exposed), percent(a.exposed)],
    ];
    if let Some(c) = change {
        rows.push(vec!["… of these, new".into(), String::new(), percent(c.newly_exposed)]);
        rows.push(vec!["… no longer".into(), String::new(), percent(c.no_longer_exposed)]);
    }
    write_table(w, &["", "before", "after"], &rows)
}
