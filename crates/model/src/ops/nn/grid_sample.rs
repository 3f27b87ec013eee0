//! GridSample-16/20/22, of floats: x (N, C, …) at the places that the grid (N, …, r) names, by the nearest element,
//! linearly or cubically over any number r of spatial axes, with any padding.
//!
//! −1 and 1 are the outer elements' centers with `align_corners`, else their edges; the first coordinate is along the last
//! axis. Every result is a sum of gathered elements by weights that are polynomials of the grid, so gradients flow to both
//! inputs; what the nearest element is does not change with the grid. Padding is a matter of the elements: one outside is
//! 0, or the nearest or the mirrored one inside, which is the same as bringing the place inside. Linear sampling does bring the
//! place inside, which says what the gradient of the grid is on an element: that toward the next one, and on the outer ones 0.

use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::{Backend, Reduce},
    ops::{
        Built, NodeContext,
        common::{add, mul, take_or},
        one, problem, shapes,
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Padding {
    Zeros,
    Border,
    Reflection,
}

/// What a result is made of along one axis: elements beside the place, with weights.
#[derive(Clone, Copy, Debug)]
struct Taps {
    /// The first one, counted from the element before the place.
    first: i64,
    /// Row i holds the coefficients of fⁱ in each element's weight, f being the distance from the element before.
    powers: &'static [&'static [f64]],
}

const NEAREST: Taps = Taps { first: 0, powers: &[&[1.0]] };
const LINEAR: Taps = Taps { first: 0, powers: &[&[1.0, 0.0], &[-1.0, 1.0]] };
/// Keys' cubic convolution with a = −3/4: a·f(1 − f)², 1 − (a + 3)f² + (a + 2)f³, and both mirrored.
const CUBIC: Taps = Taps {
    first: -1,
    powers: &[&[0.0, 1.0, 0.0, 0.0], &[-0.75, 0.0, 0.75, 0.0], &[1.5, -2.25, 1.5, -0.75], &[-0.75, 1.25, -1.25, 0.75]],
};

#[derive(Clone, Copy, Debug)]
struct Sampling {
    taps: Taps,
    nearest: bool,
    padding: Padding,
    corners: bool,
}

/// Builds GridSample.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let (linear, cubic) = if node.opset() < 20 { ("bilinear", "bicubic") } else { ("linear", "cubic") };
    let (taps, nearest) = match node.string("mode", linear)? {
        "nearest" => (NEAREST, true),
        mode if mode == linear => (LINEAR, false),
        mode if mode == cubic => (CUBIC, false),
        other => return Err(problem(format!("mode {other:?} is not known"))),
    };
    let padding = match node.string("padding_mode", "zeros")? {
        "zeros" => Padding::Zeros,
        "border" => Padding::Border,
        "reflection" => Padding::Reflection,
        other => return Err(problem(format!("padding_mode {other:?} is not known"))),
    };
    let sampling = Sampling { taps, nearest, padding, corners: node.flag("align_corners", false)? };
    one(move |cx, inputs| sampling.run(cx, inputs.float(0)?, inputs.float(1)?))
}

/// Where one axis is sampled, for all places of the grid.
struct Lane<E> {
    /// For each place its elements, if they are not padding.
    sources: Vec<Vec<Option<usize>>>,
    /// Distance f from the element before.
    distance: Vec<E>,
    /// Derivative of f by the grid.
    slopes: Vec<E>,
}

impl Sampling {
    fn run<E: Float, D: Backend<E>>(
        &self,
        cx: &mut Context<E, D>,
        x: &Tensor<E, D>,
        grid: &Tensor<E, D>,
    ) -> Result<Tensor<E, D>> {
        let misfit = || problem(format!("a grid of shape {:?} does not fit x of {:?}", grid.dims(), x.dims()));
        let &[n, c, ref input @ ..] = x.dims() else { return Err(misfit()) };
        let (r, places) = (input.len(), grid.dims().get(1..grid.rank().saturating_sub(1)).unwrap_or_default());
        if r == 0 || grid.rank() != r + 2 || grid.dims().first() != Some(&n) || grid.dims().last() != Some(&r) {
            return Err(misfit());
        }
        let dims = [&[n, c], places].concat();
        if shapes::count(&dims)? == 0 {
            return cx.upload(dims, Vec::new());
        }
        if x.is_empty() {
            return Err(misfit());
        }
        let values = grid.to_vec();
        let coordinates = |axis: usize| values.iter().copied().skip(r - 1 - axis).step_by(r);
        let lanes: Vec<Lane<E>> = input.iter().enumerate().map(|(axis, &d)| self.lane(coordinates(axis), d)).collect();
        let taps = self.taps.powers.first().map_or(1, |row| row.len());
        let most = taps.checked_pow(r as u32).ok_or_else(misfit)?;
        let count = values.len() / r;
        shapes::count(&[count, c, most])?;
        let indices = indices(&lanes, input, n, c);
        let picked = take_or(cx, x, 1, &indices, &[n, c, count / n, most], 0.0)?;
        if most == 1 {
            return picked.reshaped(dims);
        }
        let mut weights = cx.upload(vec![count, 1, 1], vec![E::of(1.0); count])?;
        for (axis, lane) in lanes.into_iter().enumerate() {
            let here = self.weights(cx, grid, r - 1 - axis, lane)?;
            let so_far = weights.len() / count;
            weights = mul(cx, &weights, &here)?.reshaped(vec![count, so_far * taps, 1])?;
        }
        let weighted = mul(cx, &picked, &weights.reshaped(vec![n, 1, count / n, most])?)?;
        D::reduce(cx, Reduce::Sum, &weighted, &[3], false)?.reshaped(dims)
    }

    /// The weights (places, 1, taps) of the elements along one axis.
    fn weights<E: Float, D: Backend<E>>(
        &self,
        cx: &mut Context<E, D>,
        grid: &Tensor<E, D>,
        coordinate: usize,
        lane: Lane<E>,
    ) -> Result<Tensor<E, D>> {
        let dims = vec![lane.distance.len(), 1];
        let f = if grid.tracked() {
            let g = D::gather(cx, grid, grid.rank() - 1, &[coordinate], &[1])?.reshaped(dims.clone())?;
            // f = slope·g + offset, both constant between two elements.
            let rows = g.to_vec().into_iter().zip(lane.distance.iter().zip(&lane.slopes));
            let offset = rows.map(|(g, (&f, &slope))| f - slope * g).collect();
            let (offset, slopes) = (cx.upload(dims.clone(), offset)?, cx.upload(dims.clone(), lane.slopes)?);
            let moved = mul(cx, &g, &slopes)?;
            add(cx, &moved, &offset)?
        } else {
            cx.upload(dims.clone(), lane.distance)?
        };
        let mut powers = vec![cx.upload(dims, vec![E::of(1.0); f.len()])?];
        while let (Some(last), true) = (powers.last(), powers.len() < self.taps.powers.len()) {
            let next = mul(cx, last, &f)?;
            powers.push(next);
        }
        let powers = D::concat(cx, &powers.iter().collect::<Vec<_>>(), 1)?;
        let table: Vec<E> = self.taps.powers.iter().copied().flatten().map(|&c| E::of(c)).collect();
        let taps = table.len() / self.taps.powers.len();
        let table = cx.upload(vec![self.taps.powers.len(), taps], table)?;
        D::matmul(cx, &powers, &table, false, false)?.reshaped(vec![f.len(), 1, taps])
    }

    fn lane<E: Float>(&self, grid: impl Iterator<Item = E>, extent: usize) -> Lane<E> {
        let taps = self.taps.powers.first().map_or(1, |row| row.len() as i64);
        let (d, unit, half) = (E::of(extent as f64), E::of(1.0), E::of(0.5));
        let slope = if self.corners { (d - unit) * half } else { d * half };
        let (mut sources, mut distance, mut slopes) = (Vec::new(), Vec::new(), Vec::new());
        for g in grid {
            let mut slope = slope;
            let mut place = if self.corners { (g + unit) * slope } else { ((g + unit) * d - unit) * half };
            if self.nearest {
                place = E::of(place.f64().round_ties_even());
            }
            if self.taps.powers.len() == LINEAR.powers.len() {
                let (inside, sign) = self.padding.inside(place, extent, self.corners);
                (place, slope) = (inside, slope * sign);
            }
            let before = place.floor();
            let base = (before.f64() as i64).saturating_add(self.taps.first);
            sources
                .push((0..taps).map(|t| self.padding.element(base.saturating_add(t), extent, self.corners)).collect());
            distance.push(place - before);
            slopes.push(slope);
        }
        Lane { sources, distance, slopes }
    }
}

impl Padding {
    /// The place inside that stands for `place`, and the derivative of the one by the other. Mirrors are those of
    /// [`Padding::element`].
    fn inside<E: Float>(self, place: E, extent: usize, corners: bool) -> (E, E) {
        let (zero, one, last) = (E::of(0.0), E::of(1.0), E::of(extent as f64 - 1.0));
        let (mut at, mut sign) = (place, one);
        if self == Self::Reflection {
            let (start, span) = if corners { (zero, last) } else { (E::of(-0.5), last + one) };
            let off = at - start;
            sign = if off < zero { -one } else { one };
            let rest = off.abs() % span;
            let turns = (off.abs() / span).floor();
            (at, sign) = if turns % E::of(2.0) == zero { (rest + start, sign) } else { (span - rest + start, -sign) };
            // Between two mirrors on one element.
            at = if span == zero { zero } else { at };
        }
        match self {
            Self::Zeros => (place, one),
            _ if at <= zero => (zero, zero),
            _ if at >= last => (last, zero),
            _ => (at, sign),
        }
    }

    /// The element at `index` of an axis of `extent`, if it is not 0. Mirrors stand on the outer elements with
    /// `corners`, else behind them.
    fn element(self, index: i64, extent: usize, corners: bool) -> Option<usize> {
        let (d, last) = (extent as i64, extent as i64 - 1);
        let inside = match self {
            Self::Zeros => index,
            Self::Border => index.clamp(0, last.max(0)),
            Self::Reflection => {
                let beyond = i64::from(!corners);
                let there = index.checked_rem_euclid(2 * (last + beyond)).unwrap_or(0);
                if there < d { there } else { 2 * last + beyond - there }
            }
        };
        usize::try_from(inside).ok().filter(|&i| i < extent)
    }
}

/// Row-major elements of x (n, c, input) that each place touches, (n, c, places, elements); one beyond x for padding.
fn indices<E>(lanes: &[Lane<E>], input: &[usize], n: usize, c: usize) -> Vec<usize> {
    let count = lanes.first().map_or(0, |lane| lane.sources.len());
    let size: usize = input.iter().product();
    let touched = |place: usize| {
        let mut elements = vec![Some(0)];
        for (lane, &d) in lanes.iter().zip(input) {
            let here = lane.sources.get(place).map(Vec::as_slice).unwrap_or_default();
            let next = |&at: &Option<usize>| here.iter().map(move |i| Some(at? * d + (*i)?));
            elements = elements.iter().flat_map(next).collect();
        }
        elements
    };
    let mut all = Vec::new();
    for sample in 0..n {
        let places = sample * (count / n)..(sample + 1) * (count / n);
        let image: Vec<Option<usize>> = places.flat_map(touched).collect();
        for map in sample * c..(sample + 1) * c {
            all.extend(image.iter().map(|i| i.map_or(n * c * size, |i| map * size + i)));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_outside_are_mirrored_at_both_edges() {
        let all = |corners| (-4..7).map(|i| Padding::Reflection.element(i, 3, corners)).collect::<Option<Vec<_>>>();
        assert_eq!(all(true).unwrap(), [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]);
        assert_eq!(all(false).unwrap(), [2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0]);
        assert_eq!(Padding::Reflection.element(7, 1, true), Some(0));
    }

    #[test]
    fn weights_add_up_to_one() {
        for taps in [NEAREST, LINEAR, CUBIC] {
            let sums: Vec<f64> = taps.powers.iter().map(|row| row.iter().sum()).collect();
            assert_eq!(sums.first(), Some(&1.0));
            assert!(sums.iter().skip(1).all(|&s| s == 0.0), "{sums:?}");
        }
    }
}
