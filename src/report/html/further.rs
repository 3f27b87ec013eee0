//! What was asked for beyond the standard audit: further training, reference models.

use super::{escape, write_table};
use crate::{
    audit::{Comparison, Deep, LossGap, Point, Seeded},
    report::{
        ReferenceSection, Report,
        words::{figure, percent},
    },
};
use std::fmt::Write;

pub fn write(w: &mut String, r: &Report) -> std::fmt::Result {
    if let Some(deep) = &r.audit.deep {
        write_deep(w, deep)?;
    }
    match &r.audit.reference {
        Some(reference) => write_reference(w, reference),
        None => Ok(()),
    }
}

fn write_deep(w: &mut String, deep: &Deep) -> std::fmt::Result {
    write!(
        w,
        "<h3>What further training brings back</h3><p class=\"note\">A copy of the new model is trained on: {0} steps on {1} \
         forgotten rows, and, from the same start, {0} steps on {1} unseen rows of the same classes. A model that never saw \
         either learns both at the same pace. And {0} steps on retained rows alone: forgotten rows that come back with them \
         were hidden, not gone. Means over {2} seeds.</p>",
        deep.steps, deep.rows, deep.advantage.seeds
    )?;
    let seeded = |s: Seeded| format!("{:.3} ± {:.3}", s.mean, s.deviation);
    let rows = [
        ("Forgotten rows' loss fell more than unseen rows', by", seeded(deep.advantage)),
        ("With retained rows alone, it fell more by", seeded(deep.recovery)),
    ];
    let rows = rows.map(|(name, value)| vec![name.to_string(), value, "0".into()]);
    write_table(w, &["share of the loss at the start", "measured", "ideal"], &rows)?;
    let point = |p: &Point| {
        let loss = |x: f64| format!("{x:.4}");
        vec![
            p.step.to_string(),
            loss(p.forget_loss),
            loss(p.unseen_loss),
            percent(p.forget_accuracy),
            percent(p.unseen_accuracy),
            format!("{:.3}", p.auc),
        ]
    };
    for (title, points) in [("each set by itself", &deep.relearning), ("retained rows alone", &deep.recovering)] {
        write!(w, "<details><summary>Losses while training on {title}</summary>")?;
        let rows: Vec<_> = points.iter().map(point).collect();
        write_table(w, &["step", "loss forgotten", "unseen", "accuracy forgotten", "unseen", "AUC"], &rows)?;
        write!(w, "</details>")?;
    }
    Ok(())
}

fn write_reference(w: &mut String, reference: &ReferenceSection) -> std::fmt::Result {
    write!(
        w,
        "<h3>Beside models that were trained without the rows</h3><p class=\"note\">What a model is like that never saw the \
         rows, no audit without one can say. That these models are such ones is taken on trust: ",
    )?;
    for (i, model) in reference.models.iter().enumerate() {
        let name = model.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let comma = if i == 0 { "" } else { ", " };
        write!(w, "{comma}{} (SHA-256 <code>{}</code>)", escape(&name), model.sha256)?;
    }
    write!(w, ".</p>")?;
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
    write_table(w, &["", "before", "after", "ideal"], &rows.map(|r: [String; 4]| r.to_vec()))?;
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
    let rows: Vec<_> = a.gaps.iter().enumerate().map(one).collect();
    write_table(w, &["", "forget accuracy", "retain", "test", "MIA (loss)", "tug-of-war", "average gap"], &rows)
}
