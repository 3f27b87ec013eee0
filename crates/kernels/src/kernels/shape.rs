//! Shape arithmetic that definitions and fast kernels share.

use crate::{
    error::{Error, Result},
    limits,
};

/// Checks an invariant.
///
/// # Errors
/// [`Error::Internal`] with the words of `what` if `holds` is false.
pub fn require(holds: bool, what: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Internal(what())) }
}

/// Row-major strides.
pub fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides: Vec<usize> = dims
        .iter()
        .rev()
        .scan(1, |next, &d| {
            let stride = *next;
            *next *= d;
            Some(stride)
        })
        .collect();
    strides.reverse();
    strides
}

/// Where the elements of a strided view lie, in row-major order of `dims`: index i at `base` + Σ iₐ·stridesₐ.
pub fn offsets(dims: &[usize], strides: &[isize], base: isize) -> Vec<usize> {
    let mut at = vec![base];
    for (&d, &s) in dims.iter().zip(strides) {
        at = at.iter().flat_map(|&o| (0..d as isize).map(move |i| o + i * s)).collect();
    }
    at.into_iter().map(|o| o as usize).collect()
}

/// The dimensions that all of `dims` broadcast to.
///
/// # Errors
/// [`Error::Internal`] if they do not broadcast; [`Error::Node`] if the result is larger than the limits allow.
pub fn broadcast(dims: &[&[usize]]) -> Result<Vec<usize>> {
    let rank = dims.iter().map(|d| d.len()).max().unwrap_or(0);
    let mut out = vec![1; rank];
    for dims in dims {
        for (o, &d) in out.iter_mut().rev().zip(dims.iter().rev()) {
            require(*o == d || *o == 1 || d == 1, || format!("{dims:?} does not broadcast"))?;
            if d != 1 {
                *o = d;
            }
        }
    }
    // What is not larger than an operand is there already.
    if !dims.contains(&out.as_slice()) {
        limits::count(&out)?;
    }
    Ok(out)
}

/// Strides with which a row-major tensor of `from` is read as one of `to`, to which it broadcasts: 0 where repeated.
pub fn broadcast_strides(from: &[usize], to: &[usize]) -> Vec<isize> {
    let own = strides(from);
    let mut out: Vec<isize> = own.iter().zip(from).map(|(&s, &d)| if d == 1 { 0 } else { s as isize }).collect();
    out.splice(0..0, std::iter::repeat_n(0, to.len().saturating_sub(from.len())));
    out
}

/// `dims` as (outer, `axis`, inner).
///
/// # Errors
/// [`Error::Internal`] if there is no such axis.
pub fn around(dims: &[usize], axis: usize) -> Result<(usize, usize, usize)> {
    match (dims.get(..axis), dims.get(axis), dims.get(axis + 1..)) {
        (Some(outer), Some(&d), Some(inner)) => Ok((outer.iter().product(), d, inner.iter().product())),
        _ => Err(Error::Internal(format!("axis {axis} of {dims:?}"))),
    }
}

/// Rows of x (…, k), k and n of a product by weights (k, n), stored (n, k) if `transposed`, with a bias (n).
///
/// # Errors
/// [`Error::Internal`] if the shapes do not fit, or k is 0.
pub fn linear_dims(
    x: &[usize],
    w: &[usize],
    transposed: bool,
    bias: Option<&[usize]>,
) -> Result<(usize, usize, usize)> {
    let misfit = || Error::Internal(format!("product of {x:?} by {w:?} (transposed: {transposed}) with bias {bias:?}"));
    let (Some((&k, lead)), &[a, b]) = (x.split_last(), w) else { return Err(misfit()) };
    let (inner, n) = if transposed { (b, a) } else { (a, b) };
    let fits = inner == k && k > 0 && bias.is_none_or(|bias| bias == [n]);
    if fits { Ok((lead.iter().product(), k, n)) } else { Err(misfit()) }
}

/// Extents of an LSTM's run.
#[derive(Clone, Copy, Debug)]
pub struct LstmDims {
    /// Time steps.
    pub steps: usize,
    /// Rows.
    pub batch: usize,
    /// Hidden units.
    pub hidden: usize,
}

/// Extents of gates (steps, batch, 4·hidden), recurrent weights (4·hidden, hidden) and states (batch, hidden).
///
/// # Errors
/// [`Error::Internal`] if the shapes do not fit, or an extent is 0.
pub fn lstm_dims(gates: &[usize], recurrent: &[usize], h: &[usize], c: &[usize]) -> Result<LstmDims> {
    let misfit = || Error::Internal(format!("LSTM of gates {gates:?}, weights {recurrent:?}, states {h:?} and {c:?}"));
    let (&[steps, batch, wide], &[_, hidden]) = (gates, recurrent) else { return Err(misfit()) };
    let fits = wide == 4 * hidden && recurrent == [wide, hidden] && h == [batch, hidden] && c == h;
    if fits && steps * batch * hidden > 0 { Ok(LstmDims { steps, batch, hidden }) } else { Err(misfit()) }
}

/// Two tensors that broadcast against each other, as three axes each of which a side either has or repeats.
#[derive(Debug, PartialEq, Eq)]
pub struct BroadcastAxes {
    /// Extents of the three axes.
    pub dims: (usize, usize, usize),
    /// Which of them each side has.
    pub has: [[bool; 3]; 2],
}

impl BroadcastAxes {
    /// Joins neighboring axes that both sides treat alike; `None` if more than three are left.
    pub fn of(a: &[usize], b: &[usize], out: &[usize]) -> Option<Self> {
        let extents = |dims: &[usize]| {
            let mut d = vec![1; out.len().saturating_sub(dims.len())];
            d.extend_from_slice(dims);
            d
        };
        let mut runs: Vec<(usize, [bool; 2])> = Vec::new();
        for ((a, b), &d) in extents(a).into_iter().zip(extents(b)).zip(out) {
            let has = [a == d, b == d];
            match runs.last_mut() {
                _ if d == 1 => (),
                Some((n, h)) if *h == has => *n *= d,
                _ => runs.push((d, has)),
            }
        }
        if runs.len() > 3 {
            return None;
        }
        runs.resize(3, (1, [true; 2]));
        let [(o, x), (m, y), (i, z)] = runs.try_into().ok()?;
        let side = |s: usize| [x, y, z].map(|h| h.get(s).copied().unwrap_or(true));
        Some(Self { dims: (o, m, i), has: [side(0), side(1)] })
    }
}

/// Where the elements of sliding windows lie in one channel: for each window element (row-major over `kernel`) and
/// each output position (row-major over `output`), the offset into the row-major spatial extents `input`, or `None`
/// outside of them.
pub struct Windows<'a> {
    /// Spatial extents.
    pub input: &'a [usize],
    /// Extent of the window.
    pub kernel: &'a [usize],
    /// Output extents.
    pub output: &'a [usize],
    /// Step of the window.
    pub strides: &'a [usize],
    /// Distance between window elements.
    pub dilations: &'a [usize],
    /// Padding before and after.
    pub pads: &'a [[usize; 2]],
}

impl Windows<'_> {
    /// One entry per window element and output position, window element first.
    pub fn offsets(&self) -> Vec<Option<usize>> {
        self.map(|coordinates| {
            coordinates
                .iter()
                .zip(self.input)
                .try_fold(0, |at, (&c, &n)| usize::try_from(c).ok().filter(|&c| c < n).map(|c| at * n + c))
        })
    }

    /// How many elements of each window lie inside the input, or inside the padded input.
    pub fn counts(&self, include_pad: bool) -> Vec<usize> {
        let positions: usize = self.output.iter().product();
        let mut counts = vec![0; positions];
        let inside = self.map(|coordinates| {
            coordinates.iter().zip(self.input).zip(self.pads).all(|((&c, &n), &[before, after])| {
                let (before, after) = if include_pad { (before as isize, after as isize) } else { (0, 0) };
                -before <= c && c < n as isize + after
            })
        });
        for element in inside.chunks(positions.max(1)) {
            for (count, &inside) in counts.iter_mut().zip(element) {
                *count += usize::from(inside);
            }
        }
        counts
    }

    fn map<T>(&self, f: impl Fn(&[isize]) -> T) -> Vec<T> {
        let (elements, positions) = (indices(self.kernel), indices(self.output));
        let steps: Vec<_> = self.strides.iter().zip(self.dilations).zip(self.pads).collect();
        let mut out = Vec::with_capacity(elements.len() * positions.len());
        let mut coordinates = vec![0; steps.len()];
        for k in &elements {
            for o in &positions {
                for (c, ((o, k), ((s, d), p))) in coordinates.iter_mut().zip(o.iter().zip(k).zip(&steps)) {
                    *c = (o * *s + k * *d) as isize - p[0] as isize;
                }
                out.push(f(&coordinates));
            }
        }
        out
    }

    /// Checks that all parts have as many axes, and that their [`offsets`](Windows::offsets) are not too many.
    ///
    /// # Errors
    /// [`Error::Internal`] if the numbers of axes differ or are 0; [`Error::Node`] if the windows have more elements
    /// than the limits allow.
    pub fn prove(&self) -> Result<()> {
        let n = self.input.len();
        let ranks = [self.kernel.len(), self.output.len(), self.strides.len(), self.dilations.len(), self.pads.len()];
        require(n > 0 && ranks.iter().all(|&r| r == n), || format!("window of ranks {ranks:?} over {n} spatial axes"))?;
        // An entry takes as much as four elements.
        limits::count(&[self.kernel, self.output, &[4]].concat()).map(|_| ())
    }
}

/// All multi-indices below `dims`, row-major.
fn indices(dims: &[usize]) -> Vec<Vec<usize>> {
    dims.iter().fold(vec![vec![]], |heads, &d| {
        heads.iter().flat_map(|head| (0..d).map(move |i| head.iter().copied().chain([i]).collect())).collect()
    })
}
