//! Resize-10/11/13/18/19 and Upsample-7/9: resampling by the nearest element (of any type), linearly or cubically (of
//! floats), axis by axis.
//!
//! Upsample and Resize-10 place elements as `asymmetric` does. A fractional extent, of a scale, is what `align_corners`
//! and `tf_crop_and_resize` divide by, as the specification says (onnxruntime takes the extent that is left of it).
//! Linear and cubic resampling are a matrix product an axis.

use super::resample::{Axis, Filter, Placement, Rounding, Sampler};
use crate::{
    engine::{Context, Float, Tensor, Value},
    error::Result,
    kernels::Backend,
    ops::{
        Built, Inputs, NodeContext,
        common::{scalar, take_or, to_f64},
        host, one, problem, shapes,
    },
};
use ndarray::ArrayD;

/// What the `sizes` input asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Stretch,
    NotLarger,
    NotSmaller,
}

struct Resize {
    sampler: Sampler,
    fill: f64,
    axes: Option<Vec<i64>>,
    policy: Policy,
}

/// Upsample.
pub fn upsample<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let plain = plain(node)?;
    let fixed = if node.opset() < 9 { node.floats("scales")? } else { None };
    one(move |cx, inputs| {
        let scales = match &fixed {
            Some(scales) => scales.clone(),
            None => list(inputs, 1)?.ok_or_else(|| problem("there are no scales"))?,
        };
        let x = inputs.value(0)?;
        plain.apply(cx, x, &plain.by_scales(x.dims(), &scales, None)?)
    })
}

/// Resize.
pub fn resize<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    if node.opset() < 11 {
        return upsample(node);
    }
    let resize = resize_11(node)?;
    one(move |cx, inputs| {
        let x = inputs.value(0)?;
        let crops = resize.sampler.placement == Placement::CropAndResize;
        let region = if crops { list(inputs, 1)? } else { None };
        let sizes = inputs.opt_ints(3)?.filter(|s| !s.is_empty());
        let axes = match (list(inputs, 2)?, sizes) {
            (Some(scales), None) => resize.by_scales(x.dims(), &scales, region.as_deref())?,
            (None, Some(sizes)) => resize.by_sizes(x.dims(), &sizes, region.as_deref())?,
            _ => return Err(problem("exactly one of scales and sizes is needed")),
        };
        resize.apply(cx, x, &axes)
    })
}

/// Upsample and Resize-10.
fn plain(node: &NodeContext<'_>) -> Result<Resize> {
    let filter = match node.string("mode", "nearest")? {
        "nearest" => Filter::Nearest(Rounding::Simple),
        "linear" => Filter::Linear,
        other => return Err(problem(format!("mode {other:?} is not known"))),
    };
    let sampler = Sampler { placement: Placement::Asymmetric, filter, antialias: false, exclude_outside: false };
    Ok(Resize { sampler, fill: 0.0, axes: None, policy: Policy::Stretch })
}

fn resize_11(node: &NodeContext<'_>) -> Result<Resize> {
    let placement = match node.string("coordinate_transformation_mode", "half_pixel")? {
        "half_pixel" => Placement::HalfPixel,
        "half_pixel_symmetric" if node.opset() >= 19 => Placement::HalfPixelSymmetric,
        "pytorch_half_pixel" => Placement::PytorchHalfPixel,
        "align_corners" => Placement::AlignCorners,
        "asymmetric" => Placement::Asymmetric,
        "tf_half_pixel_for_nn" if node.opset() < 13 => Placement::HalfPixelForNearest,
        "tf_crop_and_resize" => Placement::CropAndResize,
        other => return Err(problem(format!("coordinate_transformation_mode {other:?} is not known"))),
    };
    let rounding = match node.string("nearest_mode", "round_prefer_floor")? {
        "round_prefer_floor" => Rounding::PreferFloor,
        "round_prefer_ceil" => Rounding::PreferCeil,
        "floor" => Rounding::Floor,
        "ceil" => Rounding::Ceil,
        other => return Err(problem(format!("nearest_mode {other:?} is not known"))),
    };
    let coefficient = node.float("cubic_coeff_a", -0.75)?;
    let filter = match node.string("mode", "nearest")? {
        "nearest" => Filter::Nearest(rounding),
        "linear" => Filter::Linear,
        "cubic" => Filter::Cubic(coefficient),
        other => return Err(problem(format!("mode {other:?} is not known"))),
    };
    let exclude_outside = node.flag("exclude_outside", false)?;
    let fill = node.float("extrapolation_value", 0.0)?;
    let (mut antialias, mut axes, mut policy) = (false, None, Policy::Stretch);
    if node.opset() >= 18 {
        (antialias, axes) = (node.flag("antialias", false)?, node.ints("axes")?);
        policy = match node.string("keep_aspect_ratio_policy", "stretch")? {
            "stretch" => Policy::Stretch,
            "not_larger" => Policy::NotLarger,
            "not_smaller" => Policy::NotSmaller,
            other => return Err(problem(format!("keep_aspect_ratio_policy {other:?} is not known"))),
        };
    }
    Ok(Resize { sampler: Sampler { placement, filter, antialias, exclude_outside }, fill, axes, policy })
}

/// Input `i`'s floats, if it is there and not empty.
fn list<E: Float, D: Backend<E>>(inputs: &Inputs<'_, E, D>, i: usize) -> Result<Option<Vec<f64>>> {
    let values = inputs.get(i).map(to_f64).transpose()?.map(|a| a.into_iter().collect::<Vec<_>>());
    Ok(values.filter(|v| !v.is_empty()))
}

impl Resize {
    fn by_scales(&self, dims: &[usize], scales: &[f64], region: Option<&[f64]>) -> Result<Vec<Axis>> {
        let one = |i: usize, input: usize| {
            let scale = scales.get(i).map(|&s| s as f32).filter(|s| s.is_finite() && *s > 0.0);
            let scale = scale.ok_or_else(|| problem(format!("scales {scales:?} are not all above 0")))?;
            let width = scale * input as f32;
            Ok(Axis { output: width.floor() as usize, width, scale, ..Axis::unchanged(input) })
        };
        self.named(dims, scales.len(), region, one)
    }

    fn by_sizes(&self, dims: &[usize], sizes: &[i64], region: Option<&[f64]>) -> Result<Vec<Axis>> {
        let sizes = shapes::extents(sizes)?;
        let stretch = |i: usize, input: usize| {
            let output = sizes.get(i).copied().unwrap_or(input);
            Ok(Axis { output, width: output as f32, scale: output as f32 / input as f32, ..Axis::unchanged(input) })
        };
        if self.policy == Policy::Stretch {
            return self.named(dims, sizes.len(), region, stretch);
        }
        let places = self.places(dims.len())?;
        let ratios = sizes.iter().zip(&places).filter_map(|(&s, &a)| dims.get(a).map(|&d| s as f64 / d as f64));
        let ratio = match self.policy {
            Policy::NotSmaller => ratios.fold(0.0, f64::max),
            _ => ratios.fold(f64::INFINITY, f64::min),
        };
        let keep = |_: usize, input: usize| {
            let output = (ratio * input as f64 + 0.5).floor() as usize;
            let scale = ratio as f32;
            Ok(Axis { output, width: scale * input as f32, scale, ..Axis::unchanged(input) })
        };
        self.named(dims, sizes.len(), region, keep)
    }

    /// The axes that the lists speak of, in their order.
    fn places(&self, rank: usize) -> Result<Vec<usize>> {
        let Some(axes) = &self.axes else { return Ok((0..rank).collect()) };
        shapes::axes(axes, rank)?;
        axes.iter().map(|&a| shapes::axis(a, rank)).collect()
    }

    /// All axes of `dims`; the i-th one that the lists (of `n` elements) speak of is `one(i, extent)`.
    fn named(
        &self,
        dims: &[usize],
        n: usize,
        region: Option<&[f64]>,
        one: impl Fn(usize, usize) -> Result<Axis>,
    ) -> Result<Vec<Axis>> {
        let places = self.places(dims.len())?;
        let crops = self.sampler.placement == Placement::CropAndResize;
        if n != places.len() || (crops && region.map(<[f64]>::len) != Some(2 * n)) {
            return Err(problem(format!("scales, sizes or roi do not fit {} of {} axes", places.len(), dims.len())));
        }
        let mut axes: Vec<Axis> = dims.iter().map(|&d| Axis::unchanged(d)).collect();
        for (i, place) in places.into_iter().enumerate() {
            let Some(axis) = axes.get_mut(place) else { continue };
            *axis = one(i, axis.input)?;
            if let Some((&start, &end)) = region.and_then(|r| r.get(i).zip(r.get(i + n))) {
                axis.region = [start as f32, end as f32];
            }
        }
        let wanted: Vec<usize> = axes.iter().map(|a| a.output).collect();
        if shapes::count(&wanted)? > 0 && dims.contains(&0) {
            return Err(problem(format!("a tensor of shape {dims:?} cannot be resized to {wanted:?}")));
        }
        Ok(axes)
    }

    fn apply<E: Float, D: Backend<E>>(
        &self,
        cx: &mut Context<E, D>,
        x: &Value<E, D>,
        axes: &[Axis],
    ) -> Result<Value<E, D>> {
        match (self.sampler.filter, x) {
            _ if axes.iter().all(|a| self.sampler.keeps(a)) => Ok(x.clone()),
            (Filter::Nearest(rounding), _) => self.nearest(cx, x, axes, rounding),
            (_, Value::Float(t)) => self.weighted(cx, t, axes).map(Value::Float),
            (_, Value::Host(t)) => Err(problem(format!("{} values are resized by mode nearest only", t.dtype()))),
        }
    }

    fn nearest<E: Float, D: Backend<E>>(
        &self,
        cx: &mut Context<E, D>,
        x: &Value<E, D>,
        axes: &[Axis],
        rounding: Rounding,
    ) -> Result<Value<E, D>> {
        let dims: Vec<usize> = axes.iter().map(|a| a.output).collect();
        // The leading axes, which mostly stay, need no index of their own.
        let lead = axes.iter().take_while(|a| self.sampler.keeps(a)).count();
        let (kept, moved) = axes.split_at(lead);
        let outer: usize = kept.iter().map(|a| a.input).product();
        let n: usize = moved.iter().map(|a| a.input).product();
        let mut from = vec![Some(0)];
        for axis in moved {
            let source = match self.sampler.keeps(axis) {
                true => (0..axis.input).map(Some).collect(),
                false => self.sampler.nearest(axis, rounding),
            };
            let next = |at: &Option<usize>| {
                let at = *at;
                source.iter().map(move |i| Some(at? * axis.input + (*i)?))
            };
            from = from.iter().flat_map(next).collect();
        }
        let indices: Vec<usize> = from.into_iter().map(|i| i.unwrap_or(n)).collect();
        match x {
            Value::Float(t) => take_or(cx, t, outer, &indices, &dims, self.fill).map(Value::Float),
            Value::Host(t) => {
                let fill = host::from_f64(&[1], vec![self.fill], t.dtype())?;
                let flat = t.clone().reshaped(&[t.len()]).ok_or_else(|| problem("the tensor does not fit"))?;
                let row = |o: usize| indices.iter().map(move |&i| if i < n { o * n + i } else { outer * n });
                let indices = host::array(&dims, (0..outer).flat_map(row).collect())?;
                host::take(&host::concat(&[&flat, &fill], 0)?, &indices).map(Value::Host)
            }
        }
    }

    fn weighted<E: Float, D: Backend<E>>(
        &self,
        cx: &mut Context<E, D>,
        x: &Tensor<E, D>,
        axes: &[Axis],
    ) -> Result<Tensor<E, D>> {
        let dims: Vec<usize> = axes.iter().map(|a| a.output).collect();
        if dims.contains(&0) {
            return cx.upload(dims, Vec::new());
        }
        let mut y = x.clone();
        let mut outside = ArrayD::from_elem(vec![1; axes.len()], false);
        for (at, axis) in axes.iter().enumerate().filter(|(_, axis)| !self.sampler.keeps(axis)) {
            let (weights, beyond) = self.sampler.weights(axis)?;
            let weights = weights.into_iter().map(E::of).collect();
            let weights = cx.upload(vec![axis.output, axis.input], weights)?;
            y = along(cx, &y, &weights, at)?;
            if beyond.contains(&true) {
                let lane: Vec<usize> = (0..axes.len()).map(|a| if a == at { axis.output } else { 1 }).collect();
                outside = host::zip(&outside, &host::array(&lane, beyond)?, |&a, &b| Ok(a || b))?;
            }
        }
        if !outside.iter().any(|&o| o) {
            return Ok(y);
        }
        let fill = scalar(cx, self.fill)?;
        D::select(cx, &outside, &fill, &y)
    }
}

/// The product of a matrix (output, input) with the vectors of x along axis `at`.
fn along<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    matrix: &Tensor<E, D>,
    at: usize,
) -> Result<Tensor<E, D>> {
    let misfit = || problem("the tensor does not fit");
    let (&[output, input], (before, rest)) = (matrix.dims(), x.dims().split_at(at)) else { return Err(misfit()) };
    let after = rest.get(1..).ok_or_else(misfit)?;
    let (outer, inner): (usize, usize) = (before.iter().product(), after.iter().product());
    let y = if inner == 1 {
        D::matmul(cx, &x.reshaped(vec![outer, input])?, matrix, false, true)?
    } else {
        D::matmul(cx, matrix, &x.reshaped(vec![outer, input, inner])?, false, false)?
    };
    y.reshaped([before, &[output], after].concat())
}
