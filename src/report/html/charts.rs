//! Charts as SVG.

use super::{FORGET, RETAIN, TAU, TEST};
use crate::{report::UnlearnSection, unlearn::StepRecord};
use std::fmt::Write;

/// Two sets' shares over common bins.
pub fn bars(w: &mut String, edges: &[f64], forget: &[usize], test: &[usize]) -> std::fmt::Result {
    const WIDTH: f64 = 420.0;
    const HEIGHT: f64 = 200.0;
    let shares = |counts: &[usize]| {
        let total = counts.iter().sum::<usize>().max(1) as f64;
        counts.iter().map(|&c| c as f64 / total).collect::<Vec<f64>>()
    };
    let (forget_shares, test_shares) = (shares(forget), shares(test));
    let top = forget_shares.iter().chain(&test_shares).copied().fold(1e-9, f64::max);
    let bin = (WIDTH - 50.0) / forget_shares.len().max(1) as f64;
    write!(w, "<svg viewBox=\"0 0 {WIDTH} {}\" width=\"{WIDTH}\" role=\"img\">", HEIGHT + 14.0)?;
    for (shares, color, offset) in [(&forget_shares, FORGET, 0.0), (&test_shares, TEST, 0.45)] {
        for (i, share) in shares.iter().enumerate() {
            let height = share / top * (HEIGHT - 40.0);
            let (x, y, width) = (45.0 + (i as f64 + offset) * bin, HEIGHT - 25.0 - height, bin * 0.45);
            write!(
                w,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{color}\"/>"
            )?;
        }
    }
    let edge = |e: Option<&f64>| {
        e.map_or(String::new(), |e| if e.abs() < 0.1 { format!("{e:.1e}") } else { format!("{e:.2}") })
    };
    let base = HEIGHT - 8.0;
    write!(w, "<line x1=\"45\" x2=\"{WIDTH}\" y1=\"{0}\" y2=\"{0}\" stroke=\"#9aa3b2\"/>", HEIGHT - 25.0)?;
    write!(w, "<text x=\"45\" y=\"{base}\" font-size=\"11\">{}</text>", edge(edges.first()))?;
    write!(
        w,
        "<text x=\"{:.1}\" y=\"{base}\" font-size=\"11\" text-anchor=\"middle\">{}</text>",
        45.0 + (WIDTH - 45.0) / 2.0,
        edge(edges.get(edges.len() / 2))
    )?;
    write!(
        w,
        "<text x=\"{WIDTH}\" y=\"{base}\" font-size=\"11\" text-anchor=\"end\">{} and more</text>",
        edge(edges.last())
    )?;
    let middle = (HEIGHT - 25.0) / 2.0;
    write!(
        w,
        "<text x=\"12\" y=\"{middle:.0}\" font-size=\"11\" text-anchor=\"middle\" transform=\"rotate(-90 12 {middle:.0})\">share of rows</text>"
    )?;
    let center = 45.0 + (WIDTH - 45.0) / 2.0;
    write!(
        w,
        "<text x=\"{center:.0}\" y=\"{:.0}\" font-size=\"11\" text-anchor=\"middle\">loss of a row</text>",
        HEIGHT + 8.0
    )?;
    write!(w, "<text x=\"40\" y=\"20\" font-size=\"11\" text-anchor=\"end\">{:.0} %</text></svg>", 100.0 * top)
}

/// How the rows' ranks are spread over tenths, beside the even spread that unseen rows have.
pub fn ranks(w: &mut String, counts: &[usize]) -> std::fmt::Result {
    const WIDTH: f64 = 420.0;
    const HEIGHT: f64 = 160.0;
    let total = counts.iter().sum::<usize>().max(1) as f64;
    let even = 1.0 / counts.len().max(1) as f64;
    let top = counts.iter().map(|&c| c as f64 / total).fold(2.0 * even, f64::max);
    let bin = (WIDTH - 50.0) / counts.len().max(1) as f64;
    let y = |share: f64| HEIGHT - 25.0 - share / top * (HEIGHT - 40.0);
    write!(w, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" role=\"img\">")?;
    for (i, &count) in counts.iter().enumerate() {
        let share = count as f64 / total;
        let (x, height) = (45.0 + i as f64 * bin, HEIGHT - 25.0 - y(share));
        write!(
            w,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"{FORGET}\"/>",
            x + 1.0,
            y(share),
            bin - 2.0
        )?;
    }
    write!(
        w,
        "<line x1=\"45\" x2=\"{WIDTH}\" y1=\"{0:.1}\" y2=\"{0:.1}\" stroke=\"{TEST}\" stroke-width=\"1.5\" stroke-dasharray=\"5 4\"/>",
        y(even)
    )?;
    let base = HEIGHT - 8.0;
    write!(w, "<text x=\"45\" y=\"{base}\" font-size=\"11\">lowest losses</text>")?;
    write!(w, "<text x=\"{WIDTH}\" y=\"{base}\" font-size=\"11\" text-anchor=\"end\">highest losses</text>")?;
    write!(
        w,
        "<text x=\"{:.0}\" y=\"{base}\" font-size=\"11\" text-anchor=\"middle\">rank among unseen rows</text>",
        45.0 + (WIDTH - 45.0) / 2.0
    )?;
    write!(
        w,
        "<text x=\"12\" y=\"60\" font-size=\"11\" text-anchor=\"middle\" transform=\"rotate(-90 12 60)\">share of rows</text>"
    )?;
    write!(
        w,
        "<text x=\"40\" y=\"{:.1}\" font-size=\"11\" text-anchor=\"end\">{:.0} %</text></svg>",
        y(even) + 4.0,
        100.0 * even
    )
}

/// Points of the chart of the steps: each is the mean of the steps in it, since single batches tell little.
const POINTS: usize = 60;

/// Means of as many neighboring steps each as make at most [`POINTS`], with the place of the middle one.
fn means(steps: &[StepRecord], value: fn(&StepRecord) -> f64) -> Vec<(f64, f64)> {
    let size = steps.len().div_ceil(POINTS).max(1);
    let mean = |(n, part): (usize, &[StepRecord])| {
        // What a method does not look at in a step is no number.
        let known: Vec<f64> = part.iter().map(value).filter(|x| x.is_finite()).collect();
        let place = (n * size) as f64 + (part.len() - 1) as f64 / 2.0;
        (!known.is_empty()).then(|| (place, known.iter().sum::<f64>() / known.len() as f64))
    };
    steps.chunks(size).enumerate().filter_map(mean).collect()
}

/// Losses and τ, smoothed, by step.
pub fn trajectory(w: &mut String, u: &UnlearnSection) -> std::fmt::Result {
    let lines: [(&str, &str, fn(&StepRecord) -> f64); 3] =
        [(FORGET, "forget loss", |s| s.forget_loss), (RETAIN, "retain loss", |s| s.retain_loss), (TAU, "τ", |s| s.tau)];
    const WIDTH: f64 = 860.0;
    const HEIGHT: f64 = 260.0;
    let lines = lines.map(|(color, name, value)| (color, name, means(&u.trajectory, value)));
    let top = lines.iter().flat_map(|(.., points)| points).map(|(_, y)| *y).fold(1e-9, f64::max);
    write!(w, "<figure><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" role=\"img\">")?;
    for tick in 0..=4 {
        let value = top * f64::from(tick) / 4.0;
        let y = HEIGHT - 25.0 - f64::from(tick) / 4.0 * (HEIGHT - 40.0);
        write!(w, "<line x1=\"50\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#e7eaf0\"/>")?;
        write!(w, "<text x=\"44\" y=\"{:.1}\" font-size=\"11\" text-anchor=\"end\">{value:.3}</text>", y + 4.0)?;
    }
    let last = u.trajectory.len().saturating_sub(1).max(1) as f64;
    for (color, _, points) in &lines {
        let place = |(step, value): &(f64, f64)| {
            let (x, y) = (50.0 + step / last * (WIDTH - 55.0), HEIGHT - 25.0 - value / top * (HEIGHT - 40.0));
            format!("{x:.1},{y:.1}")
        };
        let points: Vec<String> = points.iter().map(place).collect();
        write!(w, "<polyline fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\" points=\"{}\"/>", points.join(" "))?;
    }
    write!(
        w,
        "<text x=\"{WIDTH}\" y=\"{:.0}\" font-size=\"11\" text-anchor=\"end\">step {}</text></svg>",
        HEIGHT - 8.0,
        u.steps
    )?;
    let names: Vec<String> =
        lines.iter().map(|(color, name, _)| format!("<span style=\"color:{color}\">{name}</span>")).collect();
    write!(
        w,
        "<figcaption>{}: loss by step, means of {} steps</figcaption></figure>",
        names.join(", "),
        u.trajectory.len().div_ceil(POINTS).max(1)
    )
}
