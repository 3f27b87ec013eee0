//! Did it forget, did it keep: the figures.

use super::{FORGET, TEST, charts, further, table};
use crate::{
    audit::{Audit, Change, Drift, LowFpr, Rate, Share, SplitScore, attacks},
    report::{
        Report,
        words::{figure, percent},
    },
};
use maud::{Markup, html};

pub fn section(r: &Report) -> Markup {
    let (Some(before), Some(after)) = (&r.audit.before, &r.audit.after) else { return Markup::default() };
    html! {
        h2 { "Did it forget?" }
        (population(before, after))
        (histograms(r))
        (records(before, after))
        (classes(before, after))
        (further::section(r))
        h2 { "Did it keep the rest?" }
        (kept(before, after, r.audit.change.as_ref(), &r.audit.drifts))
    }
}

fn population(before: &Audit, after: &Audit) -> Markup {
    let mut rows: Vec<Vec<Markup>> = Vec::new();
    let mut row = |name: Markup, b: String, a: String, ideal: String| {
        rows.push(vec![name, html! { (b) }, html! { (a) }, html! { (ideal) }]);
    };
    for ((name, b), (_, a)) in attacks(before).into_iter().zip(attacks(after)) {
        let note = if a.informative { "" } else { " (too few rows to say anything)" };
        let margin = a.coin_margin.map_or(String::new(), |m| format!("0.5 ± {m:.3}"));
        row(html! { "Accuracy, by the " (name) (note) }, figure(b.accuracy), figure(a.accuracy), margin);
        row(html! { "AUC, by the " (name) }, figure(b.auc), figure(a.auc), "0.5".into());
        let ks = |k: Option<crate::audit::KolmogorovSmirnov>| {
            k.map_or("–".into(), |k| format!("{:.3} (p {})", k.statistic, p_value(k.p_value)))
        };
        row(html! { "Kolmogorov-Smirnov distance of the " (name) }, ks(b.ks), ks(a.ks), "0".into());
        for (b, a) in b.low_fpr.iter().zip(&a.low_fpr) {
            let share = format!("{} %", 100.0 * a.fpr);
            let few = html! { @if !a.sufficient { ", " strong { "insufficient" } } };
            let needed = html! { @if !a.sufficient { ": needs " (a.unseen_needed) " unseen rows" } };
            let low = html! { "Found by a low " (name) ", " (share) " false alarms" (few) (needed) };
            row(low, rate(b.below), rate(a.below), share.clone());
            let high = html! { "Found by a high " (name) ", " (share) " false alarms" (few) };
            row(high, rate(b.above), rate(a.above), share);
        }
    }
    if let (Some(b), Some(a)) = (&before.mia.entropy_transfer, &after.mia.entropy_transfer) {
        let name = html! {
            "Taken for members by an attacker who learned on " (a.training_members) " retained and " (a.training_others) " unseen rows"
        };
        let ideal = format!("{} (other unseen rows)", percent(a.unseen));
        row(name, percent(Some(b.forget)), percent(Some(a.forget)), ideal);
    }
    html! {
        h3 { "All forgotten rows together" }
        p.note {
            "Attackers who try to tell forgotten rows from " (after.mia.unseen_rows) " unseen rows of the same classes. Unseen rows are \
             held-out rows that the model was never trained on and that did not serve for τ. An accuracy or an AUC of 0.5 is that \
             of random guessing; both directions count."
        }
        (table(&["", "before", "after", "ideal"], &rows))
    }
}

fn p_value(p: f64) -> String {
    if p < 1e-3 { "< 0.001".into() } else { format!("{p:.3}") }
}

fn rate(rate: Option<Rate>) -> String {
    rate.map_or("–".into(), |r| format!("{:.1} % ({:.1}–{:.1})", 100.0 * r.rate, 100.0 * r.low, 100.0 * r.high))
}

fn histograms(r: &Report) -> Markup {
    let Some(h) = &r.audit.losses else { return Markup::default() };
    let set =
        |name: String| h.sets.iter().find(|(n, _)| *n == name).map(|(_, counts)| counts.as_slice()).unwrap_or_default();
    html! {
        div.row {
            @for title in ["before", "after"] {
                figure {
                    (charts::bars(&h.edges, set(format!("{title}/forget")), set(format!("{title}/test"))))
                    figcaption {
                        (title) ": " span style={ "color:" (FORGET) } { "forgotten" } " and "
                        span style={ "color:" (TEST) } { "unseen" } " rows, share by loss"
                    }
                }
            }
        }
    }
}

fn records(before: &Audit, after: &Audit) -> Markup {
    let share = |s: Option<Share>| percent(s.map(|s| s.share));
    let ideal =
        |s: Option<Share>| s.map_or("–".into(), |s| format!("{:.1} % ± {:.1}", 100.0 * s.expected, 100.0 * s.margin));
    let (b, a) = (&before.records, &after.records);
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
    html! {
        h3 { "The forgotten rows one by one" }
        p.note {
            "Each row's loss has a rank among the losses of unseen rows of its class. If the row had never been seen, every rank would be \
             as likely as any other. Rows at the low end are still known (under-forgotten); rows at the high end were driven away so far \
             that this gives them away (over-forgotten). " (a.judged) " rows could be judged"
            @if a.unjudged > 0 {
                "; for " (a.unjudged) " there are fewer than " (a.unseen_needed) " unseen rows of the class"
            }
            "."
        }
        div.row {
            @for (title, ranks) in [("before", &b.ranks), ("after", &a.ranks)] {
                figure {
                    (charts::ranks(ranks))
                    figcaption {
                        (title) ": forgotten rows by the rank of their loss among "
                        span style={ "color:" (TEST) } { "unseen rows" } ", in tenths"
                    }
                }
            }
        }
        (table(&["", "before", "after", "ideal"], &rows))
    }
}

fn classes(before: &Audit, after: &Audit) -> Markup {
    const SHOWN: usize = 20;
    let Some(classes) = &after.classes else { return Markup::default() };
    let scores = before.classes.iter().flat_map(|c| &c.scores).zip(&classes.scores);
    let mut rows: Vec<_> = scores.collect();
    rows.sort_by(|a, b| b.1.ks.statistic.total_cmp(&a.1.ks.statistic));
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
    html! {
        h3 { "Class by class" }
        @if classes.judged == 0 {
            p.note {
                "Insufficient: no class has " (classes.rows_needed) " forgotten and " (classes.rows_needed) " unseen rows."
            }
        } @else {
            p.note {
                "Forgotten rows compared with unseen rows of the same class, by their losses."
                @if classes.unjudged > 0 {
                    " " (classes.unjudged) " classes have too few rows, and are not named: the class of a forgotten row is private."
                }
            }
            (table(&head, &rows.iter().take(SHOWN).map(row).collect::<Vec<_>>()))
            @if rows.len() > SHOWN {
                p.note { "The " (SHOWN) " worst of " (rows.len()) "; report.json has all." }
            }
        }
    }
}

/// Accuracy, and in brackets the balanced one; or R².
fn quality(set: &SplitScore) -> String {
    let balanced = set.balanced_accuracy.map(|share| format!(" ({})", percent(Some(share)))).unwrap_or_default();
    let quality = set.r2.map_or_else(|| percent(set.accuracy) + &balanced, |r2| format!("R² {r2:.3}"));
    set.further().fold(quality, |all, (name, value)| format!("{all}; {name} {}", figure(Some(value))))
}

fn kept(before: &Audit, after: &Audit, change: Option<&Change>, drifts: &[Drift]) -> Markup {
    let sets = [
        ("forgotten", &before.forget, &after.forget),
        ("retained", &before.retain, &after.retain),
        ("test", &before.test, &after.test),
    ];
    let kept = before.test_of_kept_classes.iter().zip(&after.test_of_kept_classes);
    let all = sets.into_iter().chain(kept.map(|(b, a)| ("test, of kept classes", b, a)));
    let score = |(name, b, a): (&str, &SplitScore, &SplitScore)| {
        vec![format!("{name} ({})", a.rows), quality(b), quality(a), format!("{:.4}", b.loss), format!("{:.4}", a.loss)]
    };
    let scores: Vec<_> = all.map(score).collect();
    let (b, a) = (&before.retained, &after.retained);
    let low = |l: &LowFpr| rate(l.below);
    let mut rows = vec![
        vec!["AUC, retained rows and test rows".into(), figure(b.auc), figure(a.auc)],
        vec!["Found by a low loss, 1 % false alarms".into(), low(&b.low_fpr), low(&a.low_fpr)],
        vec!["Lower than all but 5 % of test rows of the class".into(), percent(b.exposed), percent(a.exposed)],
    ];
    if let Some(c) = change {
        rows.push(vec!["… of these, new".into(), String::new(), percent(c.newly_exposed)]);
        rows.push(vec!["… no longer".into(), String::new(), percent(c.no_longer_exposed)]);
    }
    html! {
        (table(&["rows", "accuracy (balanced) before", "after", "loss before", "after"], &scores))
        @if !drifts.is_empty() {
            h3 { "Outputs that no target names" }
            p.note {
                "They share weights with the output that was trained. The change is the root mean square over test rows, compared with that of the "
                "output's deviations from its mean: at 100 %, nothing is left of what told rows apart."
            }
            (table(&["output", "change", "rows with the same largest value"], &drifts.iter().map(|d| vec![d.output.clone(), percent(Some(d.drift)), d.agreement.map_or("–".into(), |share| percent(Some(share)))]).collect::<Vec<_>>()))
        }
        h3 { "Retained rows" }
        p.note {
            "Unlearning some rows can expose others. Retained rows were trained on, so they stand out among test rows to begin with; what \
             matters is whether it got worse."
        }
        (table(&["", "before", "after"], &rows))
    }
}
