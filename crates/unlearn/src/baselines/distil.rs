//! How far a model's answers are from another's, and how often they are wrong.

use crate::{batch::Targets, engine::Float, model::Answer};

/// The mean over the rows of T²·KL(teacher ‖ student) at temperature T, and its derivatives by the student's logits, as
/// in Hinton et al. (arXiv 1503.02531) and SCRUB's code. Several labels of a row are separate distributions, and their
/// mean is used. Numbers are means of normal distributions of variance T, which gives half the squared difference.
pub fn distance<E: Float>(
    answer: Answer,
    student: &[E],
    teacher: &[f32],
    width: usize,
    temperature: f64,
) -> (f64, Vec<E>) {
    let rows = (student.len() / width.max(1)).max(1) as f64;
    let (t, values) = (temperature, rows * width as f64);
    let (mut sum, mut slopes) = (0.0, Vec::with_capacity(student.len()));
    for (s, r) in student.chunks(width.max(1)).zip(teacher.chunks(width.max(1))) {
        let s: Vec<f64> = s.iter().map(|x| x.f64() / t).collect();
        let r: Vec<f64> = r.iter().map(|&x| f64::from(x) / t).collect();
        match answer {
            Answer::Class => {
                let (own, right) = (log_softmax(&s), log_softmax(&r));
                for (q, p) in own.iter().zip(&right) {
                    sum += t * t * p.exp() * (p - q) / rows;
                    slopes.push(E::of(t * (q.exp() - p.exp()) / rows));
                }
            }
            Answer::Labels => {
                for (&s, &r) in s.iter().zip(&r) {
                    let (p, q) = (sigmoid(r), sigmoid(s));
                    // ln σ(x) = −ln(1 + e⁻ˣ)
                    let kl = p * (softplus(-s) - softplus(-r)) + (1.0 - p) * (softplus(s) - softplus(r));
                    sum += t * t * kl / values;
                    slopes.push(E::of(t * (q - p) / values));
                }
            }
            Answer::Numbers => {
                for (&s, &r) in s.iter().zip(&r) {
                    let off = t * (s - r);
                    sum += off * off / 2.0 / values;
                    slopes.push(E::of(off / values));
                }
            }
        }
    }
    (sum, slopes)
}

/// How wrong each row's answer is: 0 or 1 for a class, the share of wrong labels, or the loss where answers are
/// numbers.
pub fn error(answer: Answer, logits: &[f32], losses: &[f32], width: usize, targets: &Targets) -> Vec<f64> {
    let rows = logits.chunks(width.max(1)).zip(losses).enumerate();
    let wrong = |(i, (row, &loss)): (usize, (&[f32], &f32))| match (answer, targets) {
        (Answer::Class, Targets::Classes(classes)) => {
            let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
            let right = best.is_some_and(|(best, _)| classes.get(i).copied() == i64::try_from(best).ok());
            f64::from(u8::from(!right))
        }
        (Answer::Labels, Targets::Classes(classes)) => {
            let yes = row.first().is_some_and(|&x| x > 0.0);
            f64::from(u8::from(classes.get(i).copied() != Some(i64::from(yes))))
        }
        (Answer::Labels, Targets::Values { values, .. }) => {
            let labels = values.get(i * width..(i + 1) * width).unwrap_or_default();
            let bad = row.iter().zip(labels).filter(|(x, y)| (**x > 0.0) != (**y > 0.5)).count();
            bad as f64 / width.max(1) as f64
        }
        _ => f64::from(loss),
    };
    rows.map(wrong).collect()
}

fn log_softmax(row: &[f64]) -> Vec<f64> {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log = row.iter().map(|x| (x - max).exp()).sum::<f64>().ln() + max;
    row.iter().map(|x| x - log).collect()
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn sigmoid(x: f64) -> f64 {
    (-softplus(-x)).exp()
}
