//! Extents of what windows, pads, slices and recurrent layers make.

use super::{Extent, Shapes};
use crate::graph::{Node, fold::Known, fold::slice_bounds};

impl Shapes {
    /// The shape of output `slot` of a node that this file knows.
    pub(super) fn placed(&self, node: &Node, slot: usize, known: &Known) -> Option<Vec<Extent>> {
        let dims = |slot: usize| self.dims(node.input(slot)?).map(<[Extent]>::to_vec);
        let list = |slot: usize, names: &[&str]| match node.input(slot) {
            Some(value) => known.get(&value)?.to_i64(),
            None => names.iter().find_map(|name| node.opt_ints(name).ok()?.map(<[i64]>::to_vec)),
        };
        let from = dims(0)?;
        match node.op_type.as_str() {
            "Conv" | "ConvTranspose" => {
                let weight = dims(1)?;
                let kernel: Vec<Extent> = weight.get(2..)?.to_vec();
                let transposed = node.is("ConvTranspose");
                let channels = match (transposed, weight.get(1)?) {
                    (false, _) => *weight.first()?,
                    (true, Extent::Fixed(n)) => {
                        let groups = usize::try_from(node.int("group", Some(1)).ok()?).ok()?;
                        n.checked_mul(groups).map_or(Extent::Open, Extent::Fixed)
                    }
                    _ => Extent::Open,
                };
                let spatial = from.get(2..)?.iter().zip(&kernel).enumerate();
                let spatial = spatial.map(|(axis, (&extent, &kernel))| match (extent, kernel) {
                    (Extent::Fixed(n), Extent::Fixed(k)) if transposed => widened(node, axis, n, k),
                    (Extent::Fixed(n), Extent::Fixed(k)) => windows(node, axis, n, k),
                    _ => None,
                });
                let spatial = spatial.map(|n| n.map_or(Extent::Open, Extent::Fixed));
                Some([*from.first()?, channels].into_iter().chain(spatial).collect())
            }
            "MaxPool" | "AveragePool" | "LpPool" => {
                let kernel = list(usize::MAX, &["kernel_shape"]);
                let mut out = from;
                for (axis, extent) in out.iter_mut().skip(2).enumerate() {
                    let kernel = kernel.as_ref().and_then(|k| usize::try_from(*k.get(axis)?).ok());
                    *extent = match (*extent, kernel) {
                        (Extent::Fixed(n), Some(k)) => windows(node, axis, n, k).map_or(Extent::Open, Extent::Fixed),
                        _ => Extent::Open,
                    };
                }
                Some(out)
            }
            "Pad" => {
                let mut out = from;
                let Some(pads) = list(1, &["pads", "paddings"]) else { return Some(vec![Extent::Open; out.len()]) };
                let axes = list(3, &[]).unwrap_or_else(|| (0..).take(out.len()).collect());
                if node.input(3).is_some() && list(3, &[]).is_none() || pads.len() != 2 * axes.len() {
                    return Some(vec![Extent::Open; out.len()]);
                }
                let (before, after) = pads.split_at(axes.len());
                for ((axis, before), after) in axes.iter().zip(before).zip(after) {
                    let at = super::infer::place(*axis, out.len())?;
                    let extent = out.get_mut(at)?;
                    *extent = moved(*extent, before.checked_add(*after)?);
                }
                Some(out)
            }
            "Slice" => {
                let mut out = from;
                let open = || Some(vec![Extent::Open; out.len()]);
                let (Some(starts), Some(ends)) = (list(1, &["starts"]), list(2, &["ends"])) else { return open() };
                let axes = list(3, &["axes"]);
                let steps = list(4, &["steps"]);
                if node.input(3).is_some() && axes.is_none() || node.input(4).is_some() && steps.is_none() {
                    return open();
                }
                let axes = axes.unwrap_or_else(|| (0..).take(starts.len()).collect());
                let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
                for (((start, end), axis), step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
                    let at = super::infer::place(*axis, out.len())?;
                    let extent = out.get_mut(at)?;
                    let whole = *start == 0 && *end >= i64::from(i32::MAX) && *step == 1;
                    *extent = match *extent {
                        Extent::Fixed(n) => {
                            slice_bounds(*start, *end, *step, n).map_or(Extent::Open, |(_, count)| Extent::Fixed(count))
                        }
                        other if whole => other,
                        _ => Extent::Open,
                    };
                }
                Some(out)
            }
            "Split" => {
                let mut out = from;
                let at = super::infer::place(node.int("axis", Some(0)).ok()?, out.len())?;
                let sizes = list(1, &["split"]);
                let parts = usize::try_from(node.int("num_outputs", None).ok().unwrap_or(0)).ok();
                let parts = parts.filter(|&n| n > 0).unwrap_or(node.outputs.len()).max(1);
                let extent = out.get_mut(at)?;
                *extent = match (sizes, *extent) {
                    (Some(sizes), _) => usize::try_from(*sizes.get(slot)?).map_or(Extent::Open, Extent::Fixed),
                    (None, Extent::Fixed(n)) if node.input(1).is_none() => {
                        let size = n.div_ceil(parts);
                        Extent::Fixed(n.saturating_sub(size.saturating_mul(slot)).min(size))
                    }
                    _ => Extent::Open,
                };
                Some(out)
            }
            "LSTM" | "GRU" | "RNN" => {
                let recurrent = dims(2)?;
                let (dirs, hidden) = (*recurrent.first()?, *recurrent.get(2)?);
                let (a, b) = (*from.first()?, *from.get(1)?);
                let batch_first = node.int("layout", Some(0)).ok()? != 0;
                Some(match (slot, batch_first) {
                    (0, false) => vec![a, dirs, b, hidden],
                    (0, true) => vec![a, b, dirs, hidden],
                    (_, false) => vec![dirs, b, hidden],
                    (_, true) => vec![a, dirs, hidden],
                })
            }
            "STFT" => {
                let single = |slot: usize| usize::try_from(*known.get(&node.input(slot)?)?.to_i64()?.first()?).ok();
                let window = || dims(2).and_then(|dims| fixed(*dims.first()?));
                let frame = single(3).or_else(window)?;
                let (step, half) = (single(1).filter(|&n| n > 0)?, node.int("onesided", Some(1)).ok()? != 0);
                let frames = fixed(*from.get(1)?).and_then(|n| n.checked_sub(frame)).map(|n| n / step + 1);
                let bins = if half { frame / 2 + 1 } else { frame };
                let frames = frames.map_or(Extent::Open, Extent::Fixed);
                Some(vec![*from.first()?, frames, Extent::Fixed(bins), Extent::Fixed(2)])
            }
            _ => None,
        }
    }
}

fn fixed(extent: Extent) -> Option<usize> {
    if let Extent::Fixed(n) = extent { Some(n) } else { None }
}

/// An extent with elements added or cut off.
fn moved(extent: Extent, by: i64) -> Extent {
    match extent {
        extent if by == 0 => extent,
        Extent::Fixed(n) => {
            let n = i64::try_from(n).ok().and_then(|n| usize::try_from(n.checked_add(by)?).ok());
            n.map_or(Extent::Open, Extent::Fixed)
        }
        _ => Extent::Open,
    }
}

/// Stride, dilation, and the padding before and after, of one spatial axis. `None` where they do not fit the node.
fn attributes(node: &Node, axis: usize) -> Option<(usize, usize, i64, i64)> {
    let at = |name: &str, axis: usize, default: i64| match node.opt_ints(name).ok()? {
        Some(list) => list.get(axis).copied(),
        None => Some(default),
    };
    let half = node.opt_ints("pads").ok()?.map_or(0, |pads| pads.len() / 2);
    let positive = |n: i64| usize::try_from(n).ok().filter(|&n| n > 0);
    let (stride, dilation) = (positive(at("strides", axis, 1)?)?, positive(at("dilations", axis, 1)?)?);
    Some((stride, dilation, at("pads", axis, 0)?, at("pads", axis + half, 0)?))
}

fn auto_pad(node: &Node) -> &str {
    node.string("auto_pad", Some("NOTSET")).unwrap_or("NOTSET")
}

/// How many windows of `kernel` elements lie on one spatial axis of `extent`.
fn windows(node: &Node, axis: usize, extent: usize, kernel: usize) -> Option<usize> {
    let (stride, dilation, before, after) = attributes(node, axis)?;
    let auto = auto_pad(node);
    if auto.starts_with("SAME") {
        return Some(extent.div_ceil(stride));
    }
    let (before, after) = if auto == "VALID" { (0, 0) } else { (before, after) };
    let int = |n: usize| i64::try_from(n).ok();
    let span = int(kernel.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?)?;
    let (extent, stride) = (int(extent)?, int(stride)?);
    let room = extent.checked_add(before)?.checked_add(after)?.checked_sub(span).filter(|&room| room >= 0)?;
    let count = match matches!(node.opt_int("ceil_mode"), Ok(Some(1))) {
        false => room / stride + 1,
        // A window that would start in the padding behind is none.
        true => {
            let count = room.checked_add(stride - 1)? / stride + 1;
            if (count - 1).checked_mul(stride)? >= extent.checked_add(before)? { count - 1 } else { count }
        }
    };
    usize::try_from(count).ok()
}

/// The extent that ConvTranspose makes of one spatial axis of `extent`.
fn widened(node: &Node, axis: usize, extent: usize, kernel: usize) -> Option<usize> {
    let given = node.opt_ints("output_shape").ok()?;
    if let Some(shape) = given {
        return usize::try_from(*shape.get(axis)?).ok();
    }
    let (stride, dilation, before, after) = attributes(node, axis)?;
    let extra = match node.opt_ints("output_padding").ok()? {
        Some(list) => usize::try_from(*list.get(axis)?).ok()?,
        None => 0,
    };
    if auto_pad(node).starts_with("SAME") {
        return extent.checked_mul(stride);
    }
    let span = kernel.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
    let full = extent.checked_sub(1)?.checked_mul(stride)?.checked_add(span)?.checked_add(extra)?;
    usize::try_from(i64::try_from(full).ok()?.checked_sub(before)?.checked_sub(after)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::{Model, int, ints, string};

    fn extents(model: Model, value: &str) -> Vec<Option<usize>> {
        let graph = model.build().unwrap();
        let mut known: Known = graph.initializers.iter().map(|(v, s)| (*v, s.tensor.clone())).collect();
        let shapes = Shapes::of(&graph, &mut known);
        shapes.dims(graph.id(value)).unwrap().iter().map(|&extent| fixed(extent)).collect()
    }

    #[test]
    fn windows_have_the_extents_that_the_operators_compute() {
        let image = || Model::new(17, &["x:f32[1,3,11,20]"], &["y:f32"]).weight("w", &[8, 3, 3, 5]);
        let conv = |attrs: &[_]| extents(image().node("Conv", "x w", "y", attrs), "y");
        assert_eq!(conv(&[]), [Some(1), Some(8), Some(9), Some(16)]);
        assert_eq!(conv(&[ints("strides", &[2, 3]), ints("pads", &[1, 0, 0, 2])]), [1, 8, 5, 6].map(Some));
        assert_eq!(conv(&[ints("dilations", &[5, 1])]), [1, 8, 1, 16].map(Some));
        assert_eq!(conv(&[string("auto_pad", "SAME_UPPER"), ints("strides", &[2, 3])]), [1, 8, 6, 7].map(Some));
        assert_eq!(conv(&[ints("dilations", &[6, 1])])[2], None, "no window fits");
        let pool = |attrs: &[_]| extents(image().node("MaxPool", "x", "y", attrs), "y");
        let (kernel, strides) = (ints("kernel_shape", &[2, 2]), ints("strides", &[2, 3]));
        assert_eq!(pool(&[kernel.clone(), strides.clone()]), [1, 3, 5, 7].map(Some));
        assert_eq!(pool(&[kernel, strides, int("ceil_mode", 1)]), [1, 3, 6, 7].map(Some));
        let wider = Model::new(17, &["x:f32[1,8,4]"], &["y:f32"]).weight("w", &[8, 3, 4]);
        let wider =
            wider.node("ConvTranspose", "x w", "y", &[ints("strides", &[2]), ints("pads", &[1, 0]), int("group", 2)]);
        assert_eq!(extents(wider, "y"), [1, 6, 9].map(Some));
    }

    #[test]
    fn a_condition_behind_a_spectrogram_is_decided() {
        // As PyTorch writes a padded, framed signal: the pads are turned around, the frames are those of a convolution.
        let model = Model::new(17, &["x:f32[1,576]"], &["y:f32"])
            .longs("pads", &[0, 0, 0, 64])
            .longs("from", &[0])
            .longs("half", &[129])
            .longs("i1", &[1])
            .longs("i2", &[2])
            .weight("basis", &[258, 1, 256])
            .weight("w", &[512, 129])
            .node("Pad", "x pads", "padded", &[string("mode", "reflect")])
            .node("Unsqueeze", "padded i1", "signal", &[])
            .node("Conv", "signal basis", "frames", &[ints("strides", &[128])])
            .node("Slice", "frames from half i1", "real", &[])
            .node("Shape", "real", "s", &[])
            .node("Gather", "s i2", "n", &[])
            .node("Relu", "real", "y", &[]);
        assert_eq!(extents(model.clone(), "y"), [1, 129, 4].map(Some));
        assert_eq!(extents(model, "n"), [Some(1)]);
    }

    #[test]
    fn recurrent_layers_splits_and_spectra_have_known_extents() {
        let model = Model::new(17, &["x:f32[7,2,6]", "z:f32[2,40,1]"], &["y:f32"])
            .weight("w", &[2, 20, 6])
            .weight("r", &[2, 20, 5])
            .longs("step", &[8])
            .longs("frame", &[16])
            .node("LSTM", "x w r", "all last state", &[string("direction", "bidirectional"), int("hidden_size", 5)])
            .node("Split", "all", "a b", &[int("axis", 1)])
            .node("STFT", "z step _ frame", "spectra", &[])
            .node("Relu", "b", "y", &[]);
        assert_eq!(extents(model.clone(), "y"), [7, 1, 2, 5].map(Some));
        assert_eq!(extents(model.clone(), "state"), [2, 2, 5].map(Some));
        assert_eq!(extents(model, "spectra"), [2, 4, 9, 2].map(Some));
    }
}
