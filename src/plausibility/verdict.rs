//! Whether the model knows the rows, and what may be wrong if it does not.

use super::{
    Suggestion,
    answers::{Answers, Task, mean},
    inputs::Alternative,
    labels,
};
use crate::{
    audit::{self, Paired},
    data::Batch,
    error::{Error, Result},
};
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write};

/// Rows below which nothing is judged.
pub(super) const FEW: usize = 8;
/// Standard errors by which answers must be better than those that ignore the inputs.
pub(super) const BEYOND_CHANCE: f64 = 2.0;
/// Rows on which every alternative is tried; those that look better are tried on all.
const FIRST_LOOK: usize = 64;
/// Share of right answers that leaves nothing to look for.
const RIGHT: f64 = 0.98;

/// How good the model's answers on the rows are, and other answers beside them. Quality is accuracy, or R² of numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Training rows that were looked at.
    pub rows: usize,
    /// Rows that the model was not trained on.
    pub unseen_rows: usize,
    /// Quality on training rows.
    pub quality: f64,
    /// Quality of the best answer that ignores the inputs: the commonest class, the labels' base rates, the mean.
    pub quality_without_inputs: f64,
    /// Quality on training rows whose labels are permuted among them.
    pub quality_of_permuted: f64,
    /// Quality on unseen rows; none without any.
    pub unseen_quality: Option<f64>,
    /// Mean loss on training rows.
    pub loss: f64,
    /// Mean loss of the best answer that ignores the inputs.
    pub loss_without_inputs: f64,
    /// Mean loss on training rows whose labels are permuted among them.
    pub loss_of_permuted: f64,
    /// Mean loss on unseen rows; none without any.
    pub unseen_loss: Option<f64>,
}

/// What speaks against the way in which the rows were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// Scores that are taken for logits look like probabilities.
    Probabilities,
    /// An answer that ignores the inputs is as good.
    NoBetterThanConstant,
    /// Other rows' labels fit as well.
    NoBetterThanPermuted,
    /// Unseen rows are known better than training rows.
    WorseThanUnseen,
    /// Under another reading the model is right far more often.
    ReadOtherwise,
}

/// What the examination found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Examined {
    /// The figures; none where nothing could be judged.
    pub figures: Option<Figures>,
    /// Whether quality is R², else accuracy.
    pub numbers: bool,
    /// Whether quality is the share of rows whose own labels fit better than another row's, since there are only losses.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub losses: bool,
    /// What speaks against the way in which the rows were read.
    pub problems: Vec<Problem>,
    /// Readings under which the model is right far more often, the best first.
    pub suggestions: Vec<Suggestion>,
    /// Why nothing could be judged, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_judged: Option<String>,
    /// Whether the run goes on in spite of problems, because the user said so.
    pub accepted: bool,
}

/// Rows to look at: a sample of each set.
pub struct Sample {
    /// Rows that the model was trained on.
    pub train: Batch,
    /// Rows that it was not trained on, from each table of such rows.
    pub unseen: Vec<Batch>,
    /// Seed of the permutation of labels.
    pub seed: u64,
}

/// Looks at the sample. `answer` runs the model; `seen_through` says whether scores stand behind a Softmax or Sigmoid that the file holds.
///
/// # Errors
/// Those of `answer` on the rows as they are; [`Error::Interrupted`].
pub fn examine(
    sample: &Sample,
    seen_through: bool,
    alternatives: &[Alternative],
    answer: &dyn Fn(&Batch) -> Result<Option<Answers>>,
) -> Result<Examined> {
    let not_judged = |why: &str| Ok(Examined { not_judged: Some(why.into()), ..Examined::default() });
    let Some(answers) = answer(&sample.train)? else {
        return not_judged("the rows have answers of a kind for which there is no such check");
    };
    let mut unseen: Option<Answers> = None;
    for more in sample.unseen.iter().map(answer) {
        unseen = match (unseen, more?) {
            (Some(all), Some(more)) => Some(all.joined(more)),
            (all, more) => all.or(more),
        };
    }
    let unseen = unseen.filter(|u| u.rows() > 0);
    if answers.scores.iter().any(|x| !x.is_finite()) {
        return not_judged("the model's scores of some rows are not finite");
    }
    let mut found = Examined { numbers: answers.task == Task::Value, ..Examined::default() };
    if answers.rows() < FEW {
        return not_judged("there are fewer than 8 training rows");
    }
    if answers.all_alike() {
        return not_judged("all training rows that were looked at have the same label");
    }
    if !seen_through && probabilities(&answers, unseen.as_ref()) {
        found.problems.push(Problem::Probabilities);
    }
    let (right, losses) = (answers.right(), answers.losses());
    let constant = answers.constant();
    let permuted = answers.permuted(sample.seed);
    let (constant_right, constant_losses) = (constant.right(), constant.losses());
    let (permuted_right, permuted_losses) = (permuted.right(), permuted.losses());
    let of = |values: &[f64]| mean(values.iter().copied());
    let figures = Figures {
        rows: answers.rows(),
        unseen_rows: unseen.as_ref().map_or(0, Answers::rows),
        quality: of(&right),
        quality_without_inputs: of(&constant_right),
        quality_of_permuted: of(&permuted_right),
        unseen_quality: unseen.as_ref().map(|u| of(&u.right())),
        loss: of(&losses),
        loss_without_inputs: of(&constant_losses),
        loss_of_permuted: of(&permuted_losses),
        unseen_loss: unseen.as_ref().map(|u| of(&u.losses())),
    };
    let better = |right_there: &[f64], losses_there: &[f64]| {
        let (right, loss) = (Paired::of(&right, right_there), Paired::of(losses_there, &losses));
        let closed = right.mean / (1.0 - of(right_there)).max(1e-9);
        loss.z() >= BEYOND_CHANCE || (right.z() >= BEYOND_CHANCE && closed >= 0.5)
    };
    if !better(&constant_right, &constant_losses) {
        found.problems.push(Problem::NoBetterThanConstant);
    }
    if !better(&permuted_right, &permuted_losses) {
        found.problems.push(Problem::NoBetterThanPermuted);
    }
    if unseen.as_ref().is_some_and(|unseen| worse_than(&answers, unseen)) {
        found.problems.push(Problem::WorseThanUnseen);
    }
    if figures.quality < RIGHT {
        found.suggestions = labels::suggestions(&answers);
        found.suggestions.extend(tried(&sample.train, &answers, alternatives, answer)?);
        found.suggestions.sort_by(Suggestion::order);
        let best = found.suggestions.first().map_or(0.0, |s| s.quality);
        found.suggestions.retain(|s| s.quality >= best - CLOSE);
        found.suggestions.truncate(SUGGESTED);
        if !found.suggestions.is_empty() {
            found.problems.push(Problem::ReadOtherwise);
        }
    }
    found.figures = Some(figures);
    Ok(found)
}

/// How far behind the best another suggestion may be.
const CLOSE: f64 = 0.1;
/// Suggestions that are shown, at most.
const SUGGESTED: usize = 5;

/// The alternatives that are far better: each is tried on some rows, and on all if it looks better there.
fn tried(
    batch: &Batch,
    answers: &Answers,
    alternatives: &[Alternative],
    answer: &dyn Fn(&Batch) -> Result<Option<Answers>>,
) -> Result<Vec<Suggestion>> {
    let first: Vec<usize> = (0..batch.rows().min(FIRST_LOOK)).collect();
    let Some(few) = batch.select(&first) else { return Ok(Vec::new()) };
    let Some(look) = answer(&few)? else { return Ok(Vec::new()) };
    let now = mean(look.right().into_iter());
    // A reading that does not fit the model (a token that it does not have) is none.
    let attempt = |rows: Option<Batch>| match rows.map(|rows| answer(&rows)) {
        Some(Err(Error::Interrupted)) => Err(Error::Interrupted),
        Some(Ok(found)) => Ok(found.filter(|a| a.scores.iter().all(|x| x.is_finite()))),
        _ => Ok(None),
    };
    let mut found = Vec::new();
    for alternative in alternatives {
        let Some(look) = attempt(alternative.apply(&few))? else { continue };
        if mean(look.right().into_iter()) <= now + super::GAIN / 2.0 {
            continue;
        }
        let Some(all) = attempt(alternative.apply(batch))? else { continue };
        found.extend(Suggestion::if_better(answers, &all, alternative.what.clone(), alternative.mend.clone()));
    }
    Ok(found)
}

/// Share of labels that say no, from which on a model must say no at times.
const SOME_NO: f64 = 0.05;

/// Whether scores that are taken for logits cannot be: all are from 0 to 1, or sum to the same number in every row, or none says no.
fn probabilities(answers: &Answers, unseen: Option<&Answers>) -> bool {
    let every = |low: f64, high: f64| {
        let of = |a: &Answers| a.scores.iter().all(|x| (low..=high).contains(x));
        of(answers) && unseen.is_none_or(of)
    };
    match answers.task {
        Task::Value => false,
        Task::Class => {
            let whole = answers.score_rows().next().map_or(0.0, |row| row.iter().sum::<f64>());
            let constant = answers.score_rows().all(|row| (row.iter().sum::<f64>() - whole).abs() <= 1e-3 * whole);
            every(0.0, 1.0) || (whole > 0.0 && constant && every(0.0, f64::INFINITY))
        }
        Task::Binary | Task::MultiLabel => {
            let no = 1.0 - mean(answers.labels.iter().copied());
            every(0.0, 1.0) || (no >= SOME_NO && every(0.0, f64::INFINITY))
        }
    }
}

/// Whether training rows are known worse than unseen rows of the same classes, by more than chance and by much.
fn worse_than(train: &Answers, unseen: &Answers) -> bool {
    let by = |values: fn(&Answers) -> Vec<f64>| {
        let groups = |a: &Answers| {
            let mut groups = BTreeMap::<usize, Vec<f64>>::new();
            let classes = if matches!(a.task, Task::Class | Task::Binary) { a.classes() } else { vec![0; a.rows()] };
            for (class, value) in classes.into_iter().zip(values(a)) {
                groups.entry(class).or_default().push(value);
            }
            groups
        };
        let (own, other) = (groups(train), groups(unseen));
        let mut difference = (0.0, 0.0, 0.0);
        for (class, rows) in &own {
            let Some(others) = other.get(class).filter(|o| o.len() > 1 && rows.len() > 1) else { continue };
            let spread = |v: &[f64]| (audit::mean(v), audit::variance(v) / v.len() as f64);
            let ((a, va), (b, vb), w) = (spread(rows), spread(others), rows.len() as f64);
            difference = (difference.0 + w * (a - b), difference.1 + w * w * (va + vb), difference.2 + w);
        }
        let (sum, variance, weight) = difference;
        (sum / weight.max(1.0), if variance > 0.0 { sum / variance.sqrt() } else { 0.0 })
    };
    let (loss, right) = (by(Answers::losses), by(Answers::right));
    loss.1 > super::SURE && right.1 < -super::SURE && right.0 < -super::GAIN
}

impl Examined {
    /// Whether nothing speaks against the way in which the rows were read, as far as it could be judged.
    pub fn known(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether the model's answers confirm it.
    pub fn confirmed(&self) -> bool {
        self.known() && self.figures.is_some()
    }

    /// One line for people: the figures, or why there are none.
    pub fn line(&self) -> String {
        let Some(f) = &self.figures else {
            return format!("not judged: {}", self.not_judged.as_deref().unwrap_or("no figures"));
        };
        let unseen = f.unseen_quality.map_or(String::new(), |q| format!(", on unseen rows {}", self.quality(q)));
        if self.losses {
            let unseen = f.unseen_loss.map_or(String::new(), |loss| format!(", on unseen rows {loss:.4}"));
            return format!(
                "{} {} of {} training rows (50 % by chance); mean loss {:.4}, with permuted labels {:.4}{unseen}",
                self.name(),
                self.quality(f.quality),
                f.rows,
                f.loss,
                f.loss_of_permuted
            );
        }
        format!(
            "{} {} on {} training rows{unseen}; without the inputs {}, with permuted labels {}",
            self.name(),
            self.quality(f.quality),
            f.rows,
            self.quality(f.quality_without_inputs),
            self.quality(f.quality_of_permuted)
        )
    }

    /// What quality is called.
    pub fn name(&self) -> &'static str {
        match (self.losses, self.numbers) {
            (true, _) => "rows whose own labels fit better than another row's:",
            (_, true) => "R²",
            _ => "accuracy",
        }
    }

    fn quality(&self, q: f64) -> String {
        if self.numbers { format!("{q:.3}") } else { format!("{:.1} %", 100.0 * q) }
    }

    /// What is wrong, the evidence and what to do, in several lines. Empty where nothing is wrong.
    pub fn explanation(&self) -> String {
        let Some(f) = self.figures.filter(|_| !self.known()) else { return String::new() };
        let mut text = String::from("the model does not know these rows as they were read:");
        for problem in &self.problems {
            let _ = write!(text, "\n  - {}", self.problem(*problem, &f));
        }
        if self.suggestions.is_empty() {
            text += "\nnone of the usual other readings makes the model right. Likely causes: inputs on another scale or in another order than at \
                     training, labels numbered otherwise or of another output, rows of another model";
        } else {
            text += "\nthe model is right far more often if the rows are read otherwise (the best evidence first):";
        }
        for (n, s) in self.suggestions.iter().enumerate() {
            let mend = if s.mend.is_empty() { String::new() } else { format!(": {}", s.mend) };
            let _ = write!(
                text,
                "\n  {}. {} → {} {} on {} rows{mend}",
                n + 1,
                s.what,
                self.name(),
                self.quality(s.quality),
                s.rows
            );
        }
        text
    }

    fn problem(&self, problem: Problem, f: &Figures) -> String {
        let name = self.name();
        let (own, losses) = (self.quality(f.quality), format!("loss {:.4}", f.loss));
        match problem {
            Problem::Probabilities => {
                "its scores are never below 0, as probabilities are, but are taken for logits; export the model with its logits as an output, or name another output by --output"
                    .into()
            }
            Problem::NoBetterThanConstant => format!(
                "{name} on training rows {own}, {losses}; an answer that ignores the inputs has {name} {}, loss {:.4}",
                self.quality(f.quality_without_inputs),
                f.loss_without_inputs
            ),
            Problem::NoBetterThanPermuted => format!(
                "{name} on training rows {own}, {losses}; with the labels permuted among the rows {}, loss {:.4}",
                self.quality(f.quality_of_permuted),
                f.loss_of_permuted
            ),
            Problem::WorseThanUnseen => format!(
                "{name} on training rows {own}, {losses}; on unseen rows {}, loss {:.4}: are the files exchanged?",
                f.unseen_quality.map_or("–".into(), |q| self.quality(q)),
                f.unseen_loss.unwrap_or(f64::NAN)
            ),
            Problem::ReadOtherwise => format!("{name} on training rows {own}, and far more under another reading"),
        }
    }
}
