//! Where the largest elements of MaxPool's windows are, worked out on the host.

use super::{pool::spatial, window::Window};
use crate::{
    error::Result,
    kernels::shape::Windows,
    ops::{host, problem, shapes},
    tensor::HostTensor,
};
use ndarray::{ArrayD, IxDyn};

/// The row-major place in `x` (N, C, …) of the first largest element of each window; none in padding alone.
pub fn places<T: PartialOrd + Copy>(x: &ArrayD<T>, window: &Window) -> Result<ArrayD<Option<usize>>> {
    let input = spatial(x.shape())?;
    let placed = window.place(input, None)?;
    let (pads, cut) = placed.split_pads();
    if cut.is_some() {
        return Err(problem("places of largest elements beside negative pads are not supported"));
    }
    let windows = Windows {
        input,
        kernel: &placed.kernel,
        output: &placed.output,
        strides: &placed.strides,
        dilations: &placed.dilations,
        pads: &pads,
    };
    windows.prove()?;
    shapes::count(&[x.shape().get(..2).unwrap_or_default(), placed.output.as_slice(), &[4]].concat())?;
    let offsets = windows.offsets();
    let (size, positions) = (input.iter().product::<usize>(), placed.output.iter().product::<usize>());
    let lead: Vec<usize> = x.shape().iter().take(2).copied().collect();
    let x = x.as_standard_layout();
    let elements = x.as_slice().unwrap_or_default();
    let mut found = Vec::with_capacity(lead.iter().product::<usize>() * positions);
    for row in 0..lead.iter().product() {
        let mut best: Vec<Option<usize>> = vec![None; positions];
        for element in offsets.chunks(positions.max(1)) {
            for (best, place) in best.iter_mut().zip(element) {
                let place = place.map(|at| row * size + at);
                let larger = match (place.and_then(|p| elements.get(p)), best.and_then(|p| elements.get(p))) {
                    (Some(new), Some(old)) => host::order(new, old).is_gt(),
                    (new, _) => new.is_some(),
                };
                if larger {
                    *best = place;
                }
            }
        }
        found.extend(best);
    }
    host::array(&[lead, placed.output].concat(), found)
}

/// The Indices output: places as they are, or with the first spatial axis running fastest.
pub fn indices(places: &ArrayD<Option<usize>>, dims: &[usize], columns_first: bool) -> HostTensor {
    let spatial = dims.get(2..).unwrap_or_default();
    let size: usize = spatial.iter().product();
    let turned = |place: usize| {
        let (mut rest, mut stride, mut at) = (place % size.max(1), size, place - place % size.max(1));
        for &d in spatial.iter().rev() {
            stride /= d.max(1);
            at += rest % d.max(1) * stride;
            rest /= d.max(1);
        }
        at
    };
    let index = |place: &Option<usize>| place.map_or(-1, |p| if columns_first { turned(p) } else { p } as i64);
    HostTensor::I64(places.map(index))
}

/// The elements at `places`.
pub fn pick(x: &HostTensor, places: &ArrayD<Option<usize>>) -> Result<HostTensor> {
    let flat =
        places.iter().map(|p| p.ok_or_else(|| problem("a window holds no element"))).collect::<Result<Vec<_>>>()?;
    host::take(x, &ArrayD::from_shape_vec(IxDyn(places.shape()), flat).map_err(|_| problem("the windows do not fit"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_run_along_either_axis() {
        // The second channel of 2×3: its elements are 6 to 11 by rows, 6, 8, 10, 7, 9, 11 by columns.
        let all = ArrayD::from_shape_fn(IxDyn(&[6]), |at| Some(at[0] + 6));
        let by = |columns_first| indices(&all, &[1, 2, 2, 3], columns_first).to_i64().unwrap();
        assert_eq!(by(false), [6, 7, 8, 9, 10, 11]);
        assert_eq!(by(true), [6, 8, 10, 7, 9, 11]);
        assert_eq!(indices(&ArrayD::from_elem(IxDyn(&[1]), None), &[1, 1, 3], false).to_i64().unwrap(), [-1]);
    }
}
