//! Charts, drawn as elements of the page: a charting crate is larger than the report.

use super::{FORGET, RETAIN, TAU, TEST};
use crate::{report::UnlearnSection, unlearn::StepRecord};
use maud::{Markup, html};

/// A number with so many decimals.
pub(in crate::report) fn at(value: f64, decimals: usize) -> String {
    format!("{value:.decimals$}")
}

/// Text at a place; `anchor` is `start`, `middle` or `end`.
fn label(x: f64, y: f64, anchor: &str, text: &str) -> Markup {
    html! { text x=(at(x, 1)) y=(at(y, 1)) font-size="11" text-anchor=(anchor) { (text) } }
}

/// Text beside a vertical axis.
fn upright(y: f64, text: &str) -> Markup {
    let turned = format!("rotate(-90 12 {y:.0})");
    html! { text x="12" y=(at(y, 0)) font-size="11" text-anchor="middle" transform=(turned) { (text) } }
}

/// A horizontal line across the chart.
fn across(from: f64, to: f64, y: f64, color: &str) -> Markup {
    html! { line x1=(from) x2=(to) y1=(at(y, 1)) y2=(at(y, 1)) stroke=(color) {} }
}

/// Two sets' shares over common bins.
pub fn bars(edges: &[f64], forget: &[usize], test: &[usize]) -> Markup {
    const WIDTH: f64 = 420.0;
    const HEIGHT: f64 = 200.0;
    let shares = |counts: &[usize]| {
        let total = counts.iter().sum::<usize>().max(1) as f64;
        counts.iter().map(|&c| c as f64 / total).collect::<Vec<f64>>()
    };
    let (forget_shares, test_shares) = (shares(forget), shares(test));
    let top = forget_shares.iter().chain(&test_shares).copied().fold(1e-9, f64::max);
    let bin = (WIDTH - 50.0) / forget_shares.len().max(1) as f64;
    let bar = |i: usize, share: f64, offset: f64, color: &str| {
        let height = share / top * (HEIGHT - 40.0);
        let (x, y) = (45.0 + (i as f64 + offset) * bin, HEIGHT - 25.0 - height);
        html! { rect x=(at(x, 1)) y=(at(y, 1)) width=(at(bin * 0.45, 1)) height=(at(height, 1)) fill=(color) {} }
    };
    let edge = |e: Option<&f64>| {
        e.map_or(String::new(), |e| if e.abs() < 0.1 { format!("{e:.1e}") } else { format!("{e:.2}") })
    };
    let (base, center) = (HEIGHT - 8.0, 45.0 + (WIDTH - 45.0) / 2.0);
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT + 14.0) } width=(WIDTH) role="img" {
            @for (shares, color, offset) in [(&forget_shares, FORGET, 0.0), (&test_shares, TEST, 0.45)] {
                @for (i, share) in shares.iter().enumerate() { (bar(i, *share, offset, color)) }
            }
            (across(45.0, WIDTH, HEIGHT - 25.0, "#9aa3b2"))
            (label(45.0, base, "start", &edge(edges.first())))
            (label(center, base, "middle", &edge(edges.get(edges.len() / 2))))
            (label(WIDTH, base, "end", &format!("{} and more", edge(edges.last()))))
            (upright((HEIGHT - 25.0) / 2.0, "share of rows"))
            (label(center, HEIGHT + 8.0, "middle", "loss of a row"))
            (label(40.0, 20.0, "end", &format!("{:.0} %", 100.0 * top)))
        }
    }
}

/// How the rows' ranks are spread over tenths, compared with the even spread that unseen rows have.
pub fn ranks(counts: &[usize]) -> Markup {
    const WIDTH: f64 = 420.0;
    const HEIGHT: f64 = 160.0;
    let total = counts.iter().sum::<usize>().max(1) as f64;
    let even = 1.0 / counts.len().max(1) as f64;
    let top = counts.iter().map(|&c| c as f64 / total).fold(2.0 * even, f64::max);
    let bin = (WIDTH - 50.0) / counts.len().max(1) as f64;
    let y = |share: f64| HEIGHT - 25.0 - share / top * (HEIGHT - 40.0);
    let bar = |i: usize, share: f64| {
        let (x, height) = (46.0 + i as f64 * bin, HEIGHT - 25.0 - y(share));
        html! { rect x=(at(x, 1)) y=(at(y(share), 1)) width=(at(bin - 2.0, 1)) height=(at(height, 1)) fill=(FORGET) {} }
    };
    let (base, level) = (HEIGHT - 8.0, at(y(even), 1));
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } width=(WIDTH) role="img" {
            @for (i, &count) in counts.iter().enumerate() { (bar(i, count as f64 / total)) }
            line x1="45" x2=(WIDTH) y1=(level) y2=(level) stroke=(TEST) stroke-width="1.5" stroke-dasharray="5 4" {}
            (label(45.0, base, "start", "lowest losses"))
            (label(WIDTH, base, "end", "highest losses"))
            (label(45.0 + (WIDTH - 45.0) / 2.0, base, "middle", "rank among unseen rows"))
            (upright(60.0, "share of rows"))
            (label(40.0, y(even) + 4.0, "end", &format!("{:.0} %", 100.0 * even)))
        }
    }
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
pub fn trajectory(u: &UnlearnSection) -> Markup {
    const WIDTH: f64 = 860.0;
    const HEIGHT: f64 = 260.0;
    let lines: [(&str, &str, fn(&StepRecord) -> f64); 3] =
        [(FORGET, "forget loss", |s| s.forget_loss), (RETAIN, "retain loss", |s| s.retain_loss), (TAU, "τ", |s| s.tau)];
    let lines = lines.map(|(color, name, value)| (color, name, means(&u.trajectory, value)));
    let top = lines.iter().flat_map(|(.., points)| points).map(|(_, y)| *y).fold(1e-9, f64::max);
    let last = u.trajectory.len().saturating_sub(1).max(1) as f64;
    let y = |value: f64| HEIGHT - 25.0 - value / top * (HEIGHT - 40.0);
    let place = |(step, value): &(f64, f64)| format!("{:.1},{:.1}", 50.0 + step / last * (WIDTH - 55.0), y(*value));
    let drawn = |points: &[(f64, f64)]| points.iter().map(place).collect::<Vec<_>>().join(" ");
    html! {
        figure {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } width=(WIDTH) role="img" {
                @for tick in 0..=4 {
                    @let value = top * f64::from(tick) / 4.0;
                    (across(50.0, WIDTH, y(value), "#e7eaf0"))
                    (label(44.0, y(value) + 4.0, "end", &at(value, 3)))
                }
                @for (color, _, points) in &lines {
                    polyline fill="none" stroke=(color) stroke-width="1.5" points=(drawn(points)) {}
                }
                (label(WIDTH, HEIGHT - 8.0, "end", &format!("step {}", u.steps)))
            }
            figcaption {
                @for (i, (color, name, _)) in lines.iter().enumerate() {
                    @if i > 0 { ", " }
                    span style={ "color:" (color) } { (name) }
                }
                ": loss by step, means of " (u.trajectory.len().div_ceil(POINTS).max(1)) " steps"
            }
        }
    }
}
