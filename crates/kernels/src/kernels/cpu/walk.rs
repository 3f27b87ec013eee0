//! A row-major walk over a box of indices that follows several strided operands: broadcasting, permutations, slices.

/// Extents and, per axis, the stride of each of `N` operands; neighboring axes that can be walked as one are one.
pub(super) struct Walk<const N: usize> {
    dims: Vec<usize>,
    strides: Vec<[isize; N]>,
}

impl<const N: usize> Walk<N> {
    /// `strides[operand][axis]`.
    pub(super) fn new(dims: &[usize], strides: [&[isize]; N]) -> Self {
        let mut walk = Self { dims: Vec::new(), strides: Vec::new() };
        for (axis, &extent) in dims.iter().enumerate() {
            if extent == 1 {
                continue;
            }
            let stride: [isize; N] = std::array::from_fn(|operand| strides[operand][axis]);
            match (walk.dims.last_mut(), walk.strides.last_mut()) {
                (Some(outer), Some(last)) if (0..N).all(|o| last[o] == stride[o] * extent as isize) => {
                    *outer *= extent;
                    *last = stride;
                }
                _ => {
                    walk.dims.push(extent);
                    walk.strides.push(stride);
                }
            }
        }
        if walk.dims.is_empty() {
            walk.dims.push(1);
            walk.strides.push([0; N]);
        }
        walk
    }

    /// Stride of each operand along the innermost axis.
    pub(super) fn steps(&self) -> [isize; N] {
        self.strides[self.dims.len() - 1]
    }

    /// Extent of each joined axis, and the strides along it.
    pub(super) fn axes(&self) -> (&[usize], &[[isize; N]]) {
        (&self.dims, &self.strides)
    }

    /// Calls `f(at, offsets, length)` for each stretch along the innermost axis of the elements `start .. start + n`;
    /// `at` counts from `start`.
    pub(super) fn each(&self, start: usize, n: usize, mut f: impl FnMut(usize, [isize; N], usize)) {
        if n == 0 {
            return;
        }
        let last = self.dims.len() - 1;
        let mut index = vec![0; self.dims.len()];
        let mut rest = start;
        let mut offsets = [0isize; N];
        for axis in (0..=last).rev() {
            index[axis] = rest % self.dims[axis];
            rest /= self.dims[axis];
            (0..N).for_each(|o| offsets[o] += index[axis] as isize * self.strides[axis][o]);
        }
        let mut at = 0;
        loop {
            let length = (self.dims[last] - index[last]).min(n - at);
            f(at, offsets, length);
            at += length;
            if at == n {
                return;
            }
            (0..N).for_each(|o| offsets[o] -= index[last] as isize * self.strides[last][o]);
            index[last] = 0;
            for axis in (0..last).rev() {
                index[axis] += 1;
                (0..N).for_each(|o| offsets[o] += self.strides[axis][o]);
                if index[axis] < self.dims[axis] {
                    break;
                }
                (0..N).for_each(|o| offsets[o] -= self.dims[axis] as isize * self.strides[axis][o]);
                index[axis] = 0;
            }
        }
    }
}

impl Walk<2> {
    /// The operands exchanged.
    pub(super) fn swapped(mut self) -> Self {
        self.strides.iter_mut().for_each(|s| s.reverse());
        self
    }
}
