//! Forgetting against utility against time, as SVG: a circle a method, its area the time.

use super::{CompareReport, MethodRow};
use crate::{audit::Spread, report::html::escape};
use std::fmt::Write;

const WIDTH: f64 = 470.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 104.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 44.0;

/// Colors by the method's place.
const COLORS: [&str; 13] = [
    "#5b6472", "#b3261e", "#1f5fbf", "#9a6700", "#c2570c", "#1a7f4b", "#0f766e", "#7c3aed", "#be185d", "#4d7c0f",
    "#0369a1", "#111827", "#6b7280",
];

/// An axis: how values lie between two ends.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// Round numbers around all values, at least `least` apart.
    fn around(values: &[f64], least: f64, from: f64, to: f64) -> Self {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (middle, half) = ((low + high) / 2.0, ((high - low) / 2.0).max(least / 2.0) * 1.08);
        Self { low: middle - half, high: middle + half, from, to }
    }

    fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// Four to nine round values.
    fn ticks(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(rough);
        let first = (self.low / step).ceil() as i64;
        (first..).map(|i| i as f64 * step).take_while(|v| *v <= self.high + step * 1e-9).collect()
    }
}

/// A method's place in the chart.
struct Place<'a> {
    row: &'a MethodRow,
    color: &'static str,
    x: &'a Spread,
    y: &'a Spread,
    radius: f64,
}

/// What is shown on an axis.
pub struct Shown {
    pub key: &'static str,
    pub title: &'static str,
    /// What its values are multiplied by.
    pub factor: f64,
    /// A value that is marked, where it is ideal.
    pub ideal: Option<f64>,
    /// How far around it values are as good as ideal, by chance.
    pub margin: Option<f64>,
}

/// One chart; nothing if no method has both figures.
pub fn chart(w: &mut String, r: &CompareReport, x: &Shown, y: &Shown) -> std::fmt::Result {
    let longest = r.measured().filter_map(|row| row.seconds.as_ref()).map(|s| s.mean).fold(0.0, f64::max);
    let radius =
        |row: &MethodRow| row.seconds.as_ref().map_or(5.0, |s| 5.0 + 17.0 * (s.mean / longest.max(1e-9)).sqrt());
    let mut places: Vec<Place<'_>> = Vec::new();
    for (row, &color) in r.methods.iter().zip(COLORS.iter().cycle()) {
        if let (Some(x), Some(y)) = (row.figures.get(x.key), row.figures.get(y.key)) {
            places.push(Place { row, color, x, y, radius: radius(row) });
        }
    }
    if places.is_empty() {
        return Ok(());
    }
    let reach = |of: fn(&Place<'_>) -> (f64, f64), factor: f64| -> Vec<f64> {
        places
            .iter()
            .flat_map(|p| {
                let (mean, sd) = of(p);
                [factor * (mean - sd), factor * (mean + sd)]
            })
            .collect()
    };
    let mut across = reach(|p| (p.x.mean, p.x.deviation), x.factor);
    across.extend(x.ideal);
    let horizontal = Axis::around(&across, 0.05 * x.factor, LEFT + 14.0, WIDTH - RIGHT - 14.0);
    let up = reach(|p| (p.y.mean, p.y.deviation), y.factor);
    let vertical = Axis::around(&up, 0.02 * y.factor, HEIGHT - BOTTOM - 14.0, TOP + 14.0);
    write!(w, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" role=\"img\" font-size=\"11\">")?;
    write_axes(w, &horizontal, &vertical, x, y)?;
    // Large circles first, so that small ones lie on top.
    places.sort_by(|a, b| b.radius.total_cmp(&a.radius));
    for p in &places {
        let (cx, cy) = (horizontal.at(x.factor * p.x.mean), vertical.at(y.factor * p.y.mean));
        let (fill, opacity) = if p.row.seconds.is_some() { (p.color, 0.35) } else { ("none", 1.0) };
        write!(
            w,
            "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"{:.1}\" fill=\"{fill}\" fill-opacity=\"{opacity}\" stroke=\"{}\" stroke-width=\"1.5\"/>",
            p.radius, p.color
        )?;
        let ends = |spread: &Spread, factor: f64, axis: &Axis| {
            (axis.at(factor * (spread.mean - spread.deviation)), axis.at(factor * (spread.mean + spread.deviation)))
        };
        let ((x1, x2), (y1, y2)) = (ends(p.x, x.factor, &horizontal), ends(p.y, y.factor, &vertical));
        write!(
            w,
            "<path d=\"M{x1:.1} {cy:.1}H{x2:.1}M{cx:.1} {y1:.1}V{y2:.1}\" stroke=\"{}\" stroke-width=\"1\"/>",
            p.color
        )?;
    }
    write_labels(w, &places, |p| (horizontal.at(x.factor * p.x.mean), vertical.at(y.factor * p.y.mean)))?;
    write!(w, "</svg>")
}

fn write_axes(w: &mut String, across: &Axis, up: &Axis, x: &Shown, y: &Shown) -> std::fmt::Result {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    if let Some((ideal, margin)) = x.ideal.zip(x.margin) {
        let (from, to) = (across.at((ideal - margin).max(across.low)), across.at((ideal + margin).min(across.high)));
        write!(
            w,
            "<rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\" fill=\"#1a7f4b\" fill-opacity=\"0.1\"/>",
            to - from,
            bottom - TOP
        )?;
    }
    let digits = |axis: &Axis| (-((axis.high - axis.low) / 5.0).log10().floor()).clamp(0.0, 4.0) as usize;
    for value in up.ticks() {
        let at = up.at(value);
        write!(w, "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#e7eaf0\"/>")?;
        let digits = digits(up);
        write!(w, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value:.digits$}</text>", LEFT - 6.0, at + 4.0)?;
    }
    for value in across.ticks() {
        let (at, digits) = (across.at(value), digits(across));
        write!(w, "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"#e7eaf0\"/>")?;
        write!(w, "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{value:.digits$}</text>", bottom + 15.0)?;
    }
    if let Some(ideal) = x.ideal {
        let at = across.at(ideal);
        write!(
            w,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"#1a7f4b\" stroke-width=\"1.5\" stroke-dasharray=\"5 4\"/>"
        )?;
    }
    let middle = (LEFT + right) / 2.0;
    write!(
        w,
        "<text x=\"{middle:.1}\" y=\"{}\" text-anchor=\"middle\" font-weight=\"600\">{}</text>",
        HEIGHT - 8.0,
        x.title
    )?;
    let (at, middle) = (13.0, (TOP + bottom) / 2.0);
    write!(
        w,
        "<text x=\"{at}\" y=\"{middle:.1}\" text-anchor=\"middle\" font-weight=\"600\" transform=\"rotate(-90 {at} {middle:.1})\">{}</text>",
        y.title
    )
}

/// Names on the right of the chart, in the order of the circles' heights, each with a line to its circle.
fn write_labels(w: &mut String, places: &[Place<'_>], at: impl Fn(&Place<'_>) -> (f64, f64)) -> std::fmt::Result {
    const LINE: f64 = 14.0;
    let mut labels: Vec<(f64, f64, &Place<'_>)> = places.iter().map(|p| (at(p).0, at(p).1, p)).collect();
    labels.sort_by(|a, b| a.1.total_cmp(&b.1).then(b.0.total_cmp(&a.0)));
    let mut heights: Vec<f64> = Vec::new();
    for (_, y, _) in &labels {
        heights.push(y.max(heights.last().map_or(TOP + 6.0, |last| last + LINE)));
    }
    // Pushed up again where they ran over the end.
    let mut limit = HEIGHT - BOTTOM;
    for height in heights.iter_mut().rev() {
        *height = height.min(limit);
        limit = *height - LINE;
    }
    for ((x, y, p), height) in labels.into_iter().zip(heights) {
        let from = WIDTH - RIGHT + 8.0;
        write!(
            w,
            "<path d=\"M{:.1} {y:.1}L{:.1} {height:.1}\" stroke=\"{}\" stroke-opacity=\"0.35\" fill=\"none\"/>",
            x + p.radius,
            from - 2.0,
            p.color
        )?;
        write!(w, "<text x=\"{from}\" y=\"{:.1}\" fill=\"{}\">{}</text>", height + 4.0, p.color, escape(&p.row.title))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_marked_at_round_values() {
        let axis = Axis::around(&[0.503, 0.71], 0.05, 0.0, 100.0);
        let ticks = axis.ticks();
        assert!((3..=9).contains(&ticks.len()), "{ticks:?}");
        assert!(ticks.iter().all(|t| (t * 20.0 - (t * 20.0).round()).abs() < 1e-9), "{ticks:?}");
        assert!(axis.at(0.503) > 0.0 && axis.at(0.71) < 100.0);
        // One value, or equal ones, still make an axis.
        assert!(!Axis::around(&[3.0, 3.0], 0.1, 0.0, 1.0).ticks().is_empty());
    }
}
