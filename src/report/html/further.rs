//! What was asked for beyond the standard audit: further training, reference models.

use super::{table, text};
use crate::{
    audit::{Comparison, Deep, LossGap, Point, Seeded},
    report::{
        ReferenceSection, Report,
        words::{figure, percent},
    },
};
use maud::{Markup, html};

pub fn section(r: &Report) -> Markup {
    html! {
        @if let Some(found) = &r.audit.deep { (deep(found)) }
        @if let Some(found) = &r.audit.reference { (reference(found)) }
    }
}

fn deep(deep: &Deep) -> Markup {
    let seeded = |s: Seeded| format!("{:.3} ± {:.3}", s.mean, s.deviation);
    let rows = [
        ("Forgotten rows' loss fell more than unseen rows', by", seeded(deep.advantage)),
        ("With retained rows alone, it fell more by", seeded(deep.recovery)),
    ];
    let rows = rows.map(|(name, value)| vec![name.to_string(), value, "0".into()]);
    let loss = |x: f64| format!("{x:.4}");
    let point = |p: &Point| {
        let (forget, unseen) = (percent(p.forget_accuracy), percent(p.unseen_accuracy));
        vec![p.step.to_string(), loss(p.forget_loss), loss(p.unseen_loss), forget, unseen, format!("{:.3}", p.auc)]
    };
    let head = ["step", "loss forgotten", "unseen", "accuracy forgotten", "unseen", "AUC"];
    let (steps, sets) =
        (deep.steps, [("each set by itself", &deep.relearning), ("retained rows alone", &deep.recovering)]);
    html! {
        h3 { "What further training brings back" }
        p.note {
            "A copy of the new model is trained further: " (steps) " steps on " (deep.rows) " forgotten rows, and, from the same start, "
            (steps) " steps on " (deep.rows) " unseen rows of the same classes. A model that never saw either learns both at the same \
             pace. And " (steps) " steps on retained rows alone: forgotten rows that come back with them were hidden, not gone. Means \
             over " (deep.advantage.seeds) " seeds."
        }
        (table(&["share of the loss at the start", "measured", "ideal"], &rows))
        @for (title, points) in sets {
            details {
                summary { "Losses while training on " (title) }
                (table(&head, &points.iter().map(point).collect::<Vec<_>>()))
            }
        }
    }
}

fn reference(reference: &ReferenceSection) -> Markup {
    let (b, a) = (&reference.before, &reference.after);
    let gap = |of: Option<LossGap>| {
        of.map_or("–".into(), |g| format!("{:.3} (median {:.3}, 90 % {:.3})", g.mean, g.median, g.ninth_decile))
    };
    let rmia = |c: &Comparison| figure(c.rmia.map(|r| r.auc));
    let rows = [
        ["Tug-of-war".into(), figure(b.tug_of_war), figure(a.tug_of_war), "1".into()],
        ["Average gap".into(), figure(b.average_gap), figure(a.average_gap), "0".into()],
        [
            "Difference of a forgotten row's loss".into(),
            gap(b.forget_loss_gap),
            gap(a.forget_loss_gap),
            format!("{} (test rows)", gap(a.unseen_loss_gap)),
        ],
        ["AUC of the attack with reference models (RMIA)".into(), rmia(b), rmia(a), "0.5".into()],
    ];
    let one = |(i, g): (usize, &crate::audit::Gap)| {
        vec![
            format!("reference {}", i + 1),
            percent(g.forget.accuracy),
            percent(g.retain.accuracy),
            percent(g.test.accuracy),
            figure(g.mia),
            figure(g.tug_of_war),
            figure(g.average_gap),
        ]
    };
    let gaps: Vec<_> = a.gaps.iter().enumerate().map(one).collect();
    let head = ["", "forget accuracy", "retain", "test", "MIA (loss)", "tug-of-war", "average gap"];
    let name = |path: &std::path::Path| text(&path.file_name().unwrap_or_default().to_string_lossy());
    html! {
        h3 { "Compared with models that were trained without the rows" }
        p.note {
            "Only a model that never saw the rows shows what such a model is like. The program trusts that these models are: "
            @for (i, model) in reference.models.iter().enumerate() {
                @if i > 0 { ", " }
                (name(&model.path)) " (SHA-256 " code { (model.sha256) } ")"
            }
            "."
        }
        (table(&["", "before", "after", "ideal"], &rows.map(|r: [String; 4]| r.to_vec())))
        (table(&head, &gaps))
    }
}
