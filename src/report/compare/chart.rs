//! Forgetting, utility and time as one chart: a circle for each method, its area the time. Drawn as elements of the page: a charting
//! crate is larger than the report.

use super::{CompareReport, MethodRow};
use crate::{
    audit::Spread,
    report::html::{at, text},
};
use maud::{Markup, html};

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
pub fn chart(r: &CompareReport, x: &Shown, y: &Shown) -> Markup {
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
        return Markup::default();
    }
    let reach = |of: for<'p> fn(&Place<'p>) -> &'p Spread, factor: f64| -> Vec<f64> {
        let ends = |spread: &Spread| [spread.mean - spread.deviation, spread.mean + spread.deviation];
        places.iter().flat_map(|p| ends(of(p)).map(|end| factor * end)).collect()
    };
    let mut across = reach(|p| p.x, x.factor);
    across.extend(x.ideal);
    let horizontal = Axis::around(&across, 0.05 * x.factor, LEFT + 14.0, WIDTH - RIGHT - 14.0);
    let up = reach(|p| p.y, y.factor);
    let vertical = Axis::around(&up, 0.02 * y.factor, HEIGHT - BOTTOM - 14.0, TOP + 14.0);
    // Large circles first, so that small ones lie on top.
    places.sort_by(|a, b| b.radius.total_cmp(&a.radius));
    let center = |p: &Place<'_>| (horizontal.at(x.factor * p.x.mean), vertical.at(y.factor * p.y.mean));
    let circle = |p: &Place<'_>| {
        let (cx, cy) = center(p);
        let (fill, opacity) = if p.row.seconds.is_some() { (p.color, 0.35) } else { ("none", 1.0) };
        let ends = |spread: &Spread, factor: f64, axis: &Axis| {
            (axis.at(factor * (spread.mean - spread.deviation)), axis.at(factor * (spread.mean + spread.deviation)))
        };
        let ((x1, x2), (y1, y2)) = (ends(p.x, x.factor, &horizontal), ends(p.y, y.factor, &vertical));
        let whiskers = format!("M{x1:.1} {cy:.1}H{x2:.1}M{cx:.1} {y1:.1}V{y2:.1}");
        html! {
            circle cx=(at(cx, 1)) cy=(at(cy, 1)) r=(at(p.radius, 1)) fill=(fill) fill-opacity=(opacity) stroke=(p.color)
                stroke-width="1.5" {}
            path d=(whiskers) stroke=(p.color) stroke-width="1" {}
        }
    };
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } width=(WIDTH) role="img" font-size="11" {
            (axes(&horizontal, &vertical, x, y))
            @for p in &places { (circle(p)) }
            (labels(&places, center))
        }
    }
}

/// Text at a place; `anchor` is `start`, `middle` or `end`.
fn label(x: f64, y: f64, anchor: &str, text: &str) -> Markup {
    html! { text x=(at(x, 1)) y=(at(y, 1)) text-anchor=(anchor) { (text) } }
}

fn line((x1, y1): (f64, f64), (x2, y2): (f64, f64)) -> Markup {
    html! { line x1=(at(x1, 1)) x2=(at(x2, 1)) y1=(at(y1, 1)) y2=(at(y2, 1)) stroke="#e7eaf0" {} }
}

fn axes(across: &Axis, up: &Axis, x: &Shown, y: &Shown) -> Markup {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let digits = |axis: &Axis| (-((axis.high - axis.low) / 5.0).log10().floor()).clamp(0.0, 4.0) as usize;
    let band = x.ideal.zip(x.margin).map(|(ideal, margin)| {
        let (from, to) = (across.at((ideal - margin).max(across.low)), across.at((ideal + margin).min(across.high)));
        let (width, height) = (at(to - from, 1), bottom - TOP);
        html! { rect x=(at(from, 1)) y=(TOP) width=(width) height=(height) fill="#1a7f4b" fill-opacity="0.1" {} }
    });
    let ideal = x.ideal.map(|ideal| {
        let place = at(across.at(ideal), 1);
        html! {
            line x1=(place) x2=(place) y1=(TOP) y2=(bottom) stroke="#1a7f4b" stroke-width="1.5" stroke-dasharray="5 4" {}
        }
    });
    let (middle, height) = ((LEFT + right) / 2.0, (TOP + bottom) / 2.0);
    let turned = format!("rotate(-90 13 {height:.1})");
    html! {
        @if let Some(band) = band { (band) }
        @for value in up.ticks() {
            (line((LEFT, up.at(value)), (right, up.at(value))))
            (label(LEFT - 6.0, up.at(value) + 4.0, "end", &at(value, digits(up))))
        }
        @for value in across.ticks() {
            (line((across.at(value), TOP), (across.at(value), bottom)))
            (label(across.at(value), bottom + 15.0, "middle", &at(value, digits(across))))
        }
        @if let Some(ideal) = ideal { (ideal) }
        text x=(at(middle, 1)) y=(HEIGHT - 8.0) text-anchor="middle" font-weight="600" { (x.title) }
        text x="13" y=(at(height, 1)) text-anchor="middle" font-weight="600" transform=(turned) { (y.title) }
    }
}

/// Names on the right of the chart, in the order of the circles' heights, each with a line to its circle.
fn labels(places: &[Place<'_>], center: impl Fn(&Place<'_>) -> (f64, f64)) -> Markup {
    const LINE: f64 = 14.0;
    let mut labels: Vec<(f64, f64, &Place<'_>)> = places.iter().map(|p| (center(p).0, center(p).1, p)).collect();
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
    let from = WIDTH - RIGHT + 8.0;
    html! {
        @for ((x, y, p), height) in labels.into_iter().zip(heights) {
            @let way = format!("M{:.1} {y:.1}L{:.1} {height:.1}", x + p.radius, from - 2.0);
            path d=(way) stroke=(p.color) stroke-opacity="0.35" fill="none" {}
            text x=(from) y=(at(height + 4.0, 1)) fill=(p.color) { (text(&p.row.title)) }
        }
    }
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
