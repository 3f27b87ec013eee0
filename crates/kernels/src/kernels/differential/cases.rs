//! The table of cases: every kernel, every variant of its specification, random shapes and named edges.

use super::{
    calls::Call,
    values::{Values, draw},
    variants::{binaries, pad_modes, reductions, unaries},
};
use crate::kernels::{ConvSpec, PadMode, PoolSpec, Reduce, Unary};
use ndarray::{ArrayD, IxDyn};
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// A call and the dimensions of its inputs.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub name: String,
    pub call: Call,
    pub inputs: Vec<Vec<usize>>,
    /// Whether all inputs are one and the same tensor.
    pub same: bool,
}

impl Case {
    /// Values for each input.
    pub fn sample(&self, rng: &mut ChaCha8Rng, values: Values) -> Vec<Vec<f64>> {
        let total: usize = self.inputs.iter().map(|d| d.iter().product::<usize>()).sum();
        let mut ranks: Vec<usize> = (0..total).collect();
        ranks.shuffle(rng);
        let mut one = |(i, dims): (usize, &Vec<usize>)| {
            let n: usize = dims.iter().product();
            (0..n).map(|_| draw(rng, &self.call.domain(i), values, &mut ranks, total)).collect()
        };
        self.inputs.iter().enumerate().map(&mut one).collect()
    }
}

/// Draws shapes and collects cases.
struct Table {
    rng: ChaCha8Rng,
    cases: Vec<Case>,
}

/// All cases; the random ones depend on `seed`.
pub(super) fn cases(seed: u64) -> Vec<Case> {
    let mut t = Table { rng: ChaCha8Rng::seed_from_u64(seed), cases: Vec::new() };
    t.elementwise();
    t.matmul();
    t.linear();
    t.windows();
    t.reductions();
    t.layouts();
    t.losses();
    t.cases
}

impl Table {
    fn add(&mut self, call: Call, inputs: &[&[usize]]) {
        let name = format!("{call:?} of {inputs:?}");
        let name = if name.len() > 400 { format!("{} of {inputs:?}", call.method()) } else { name };
        let inputs = inputs.iter().map(|d| d.to_vec()).collect();
        self.cases.push(Case { name, call, inputs, same: false });
    }

    fn twice(&mut self, call: Call, dims: &[usize]) {
        self.add(call, &[dims, dims]);
        if let Some(case) = self.cases.last_mut() {
            case.name += " (one tensor)";
            case.same = true;
        }
    }

    fn below(&mut self, n: usize) -> usize {
        self.rng.random_range(0..n)
    }

    fn flip(&mut self) -> bool {
        self.rng.random_bool(0.5)
    }

    fn dims(&mut self, rank: usize) -> Vec<usize> {
        (0..rank).map(|_| self.rng.random_range(1..5)).collect()
    }

    fn ranked(&mut self, low: usize, high: usize) -> Vec<usize> {
        let rank = self.rng.random_range(low..high);
        self.dims(rank)
    }

    /// Dimensions that broadcast to `dims`.
    fn narrower(&mut self, dims: &[usize]) -> Vec<usize> {
        let skip = self.below(dims.len() + 1);
        dims.iter().skip(skip).map(|&d| if self.flip() { 1 } else { d }).collect()
    }

    fn elementwise(&mut self) {
        for op in unaries() {
            let dims = self.ranked(0, 4);
            for dims in [&*dims, &[0, 3], &[], &[1031]] {
                self.add(Call::Unary(op), &[dims]);
            }
        }
        for op in binaries() {
            for _ in 0..6 {
                let dims = self.ranked(0, 5);
                let (a, b) = (self.narrower(&dims), self.narrower(&dims));
                self.add(Call::Binary(op), &[&a, &b]);
            }
            // Named edges: empty, scalars, bias, channels, outer products, more runs than three.
            self.add(Call::Binary(op), &[&[0, 3], &[1, 3]]);
            self.add(Call::Binary(op), &[&[], &[2, 3]]);
            self.add(Call::Binary(op), &[&[37, 29], &[29]]);
            self.add(Call::Binary(op), &[&[3, 5, 2, 2], &[5, 1, 1]]);
            self.add(Call::Binary(op), &[&[4, 1], &[1, 5]]);
            self.add(Call::Binary(op), &[&[2, 1, 3, 1, 2], &[1, 3, 1, 2, 1]]);
            self.twice(Call::Binary(op), &[3, 4]);
        }
        for _ in 0..6 {
            let dims = self.ranked(1, 5);
            let (m, a, b) = (self.narrower(&dims), self.narrower(&dims), self.narrower(&dims));
            let mask = self.mask(&m);
            self.add(Call::Select(mask), &[&a, &b]);
        }
        let mask = self.mask(&[3, 2]);
        self.twice(Call::Select(mask.clone()), &[3, 2]);
        self.add(Call::Select(mask), &[&[], &[0, 3, 2]]);
    }

    fn mask(&mut self, dims: &[usize]) -> ArrayD<bool> {
        ArrayD::from_shape_simple_fn(IxDyn(dims), || self.rng.random_bool(0.5))
    }

    fn matmul(&mut self) {
        for _ in 0..16 {
            let (ta, tb) = (self.flip(), self.flip());
            let lead = self.ranked(0, 3);
            let (la, lb) = (self.narrower(&lead), self.narrower(&lead));
            let (m, k, n) = (self.below(5) + 1, self.below(5) + 1, self.below(5) + 1);
            let a = [&*la, &if ta { [k, m] } else { [m, k] }].concat();
            let b = [&*lb, &if tb { [n, k] } else { [k, n] }].concat();
            self.add(Call::Matmul { ta, tb }, &[&a, &b]);
        }
        for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
            let (a, b) = (if ta { [31, 65] } else { [65, 31] }, if tb { [47, 31] } else { [31, 47] });
            self.add(Call::Matmul { ta, tb }, &[&a, &b]);
            self.twice(Call::Matmul { ta, tb }, &[2, 3, 3]);
        }
        // Sums that are taken in parts, of few results and of many, the left side stored either way.
        self.add(Call::Matmul { ta: true, tb: false }, &[&[2100, 21], &[2100, 13]]);
        self.add(Call::Matmul { ta: false, tb: true }, &[&[129, 1100], &[131, 1100]]);
        let plain = Call::Matmul { ta: false, tb: false };
        self.add(plain.clone(), &[&[2101, 21], &[21, 13]]);
        self.add(plain.clone(), &[&[3, 0], &[0, 2]]);
        self.add(plain.clone(), &[&[0, 3], &[3, 2]]);
        self.add(plain.clone(), &[&[2, 5, 4, 3], &[3, 6]]);
        self.add(plain, &[&[4, 3], &[2, 5, 3, 2]]);
    }

    fn linear(&mut self) {
        for (x, n) in
            [(&[3, 4][..], 5), (&[2, 3, 4], 1), (&[2, 1, 3, 2], 6), (&[70, 31], 97), (&[0, 3], 2), (&[1, 5], 3)]
        {
            let k = x[x.len() - 1];
            for (transposed, activation) in
                [(false, None), (true, None), (true, Some(Unary::Relu)), (false, Some(Unary::Gelu { tanh: false }))]
            {
                let w = if transposed { [n, k] } else { [k, n] };
                let call = Call::Linear { transposed, activation };
                self.add(call.clone(), &[x, &w, &[n]]);
                self.add(call, &[x, &w]);
            }
        }
        self.add(Call::Linear { transposed: false, activation: None }, &[&[4, 2100], &[2100, 3], &[3]]);
    }

    /// Strides, dilations and pads for a window over `axes` axes.
    fn conv_spec(&mut self, axes: usize, groups: usize) -> ConvSpec {
        ConvSpec {
            strides: (0..axes).map(|_| self.below(2) + 1).collect(),
            dilations: (0..axes).map(|_| self.below(2) + 1).collect(),
            pads: (0..axes).map(|_| [self.below(3), self.below(3)]).collect(),
            groups,
        }
    }

    fn windows(&mut self) {
        for _ in 0..14 {
            let axes = self.below(3) + 1;
            let groups = self.below(3) + 1;
            let (per_in, per_out) = (self.below(2) + 1, self.below(2) + 1);
            let kernel: Vec<usize> = (0..axes).map(|_| self.below(3) + 1).collect();
            let input: Vec<usize> = (0..axes).map(|_| self.rng.random_range(5..7)).collect();
            let n = self.below(2) + 1;
            let spec = self.conv_spec(axes, groups);
            let x = [&[n, per_in * groups], &*input].concat();
            let w = [&[per_out * groups, per_in], &*kernel].concat();
            let bias = [per_out * groups];
            let inputs: [&[usize]; 3] = [&x, &w, &bias];
            let with_bias = self.flip();
            self.add(Call::Conv(spec), if with_bias { &inputs } else { &inputs[..2] });
        }
        let same = |pad: usize, groups| ConvSpec {
            strides: vec![1; 2],
            dilations: vec![1; 2],
            pads: vec![[pad; 2]; 2],
            groups,
        };
        self.add(Call::Conv(same(1, 1)), &[&[3, 16, 14, 14], &[24, 16, 3, 3], &[24]]);
        self.add(Call::Conv(same(0, 1)), &[&[2, 5, 6, 7], &[4, 5, 1, 1], &[4]]);
        self.add(Call::Conv(same(1, 20)), &[&[2, 20, 9, 11], &[20, 1, 3, 3], &[20]]);
        self.add(Call::Conv(same(1, 1)), &[&[0, 2, 4, 4], &[3, 2, 3, 3]]);
        self.add(Call::Conv(same(1, 1)), &[&[2, 40, 9, 5], &[17, 40, 3, 3], &[17]]);
        self.add(Call::Conv(same(2, 1)), &[&[1, 16, 4, 6], &[33, 16, 3, 3]]);
        self.add(Call::Conv(same(0, 1)), &[&[1, 18, 5, 8], &[16, 18, 3, 3], &[16]]);
        self.add(Call::Conv(same(1, 1)), &[&[5, 20, 2, 2], &[16, 20, 3, 3], &[16]]);
        self.add(Call::Conv(same(1, 1)), &[&[2, 3, 24, 24], &[4, 3, 3, 3]]);
        for (op, x, w, groups) in [
            (Unary::Sigmoid, [2, 16, 6, 7], [20, 16, 3, 3], 1),
            (Unary::Tanh, [2, 6, 5, 4], [6, 1, 3, 3], 6),
            (Unary::Relu, [2, 3, 5, 4], [4, 3, 3, 3], 1),
            (Unary::Clip { min: 0., max: 2. }, [1, 3, 4, 4], [2, 3, 3, 3], 1),
            (Unary::LeakyRelu { alpha: 0.1 }, [1, 4, 4, 4], [2, 2, 3, 3], 2),
            (Unary::HardSwish, [1, 2, 4, 4], [3, 2, 3, 3], 1),
        ] {
            let y = [x[0], w[0], x[2], x[3]];
            let inputs: [&[usize]; 4] = [&x, &w, &w[..1], &y];
            self.add(Call::ConvFused(op, same(1, groups)), &inputs);
            self.add(Call::ConvFused(op, same(1, groups)), &inputs[..3]);
        }
        let strided = ConvSpec { strides: vec![2, 2], dilations: vec![1, 1], pads: vec![[3, 3], [3, 3]], groups: 1 };
        self.add(Call::Conv(strided), &[&[1, 3, 18, 18], &[8, 3, 7, 7]]);
        for _ in 0..10 {
            let axes = self.below(3) + 1;
            let kernel: Vec<usize> = (0..axes).map(|_| self.below(3) + 1).collect();
            let input: Vec<usize> = (0..axes).map(|_| self.rng.random_range(4..7)).collect();
            let ConvSpec { strides, dilations, .. } = self.conv_spec(axes, 1);
            let pads: Vec<[usize; 2]> = kernel.iter().map(|k| [self.below(k / 2 + 1), self.below(k / 2 + 1)]).collect();
            let overhang = self.below(2);
            let extent = |i: usize| {
                let room = input[i] + pads[i][0] + pads[i][1] - ((kernel[i] - 1) * dilations[i] + 1).min(input[i]);
                // A last window that begins inside of the input may hang over, as `ceil_mode` lets it.
                let more = room.div_ceil(strides[i]) + 1;
                let more = if (more - 1) * strides[i] < input[i] + pads[i][0] { more } else { room / strides[i] + 1 };
                if overhang == 1 { more } else { room / strides[i] + 1 }
            };
            let output = (0..axes).map(extent).collect();
            let x = [&[2, 2], &*input].concat();
            let spec = PoolSpec { kernel, strides, dilations, pads, output, count_include_pad: self.flip() };
            self.add(Call::MaxPool(spec.clone()), &[&x]);
            self.add(Call::AvgPool(spec), &[&x]);
        }
        let halves = PoolSpec {
            kernel: vec![2, 2],
            strides: vec![2, 2],
            dilations: vec![1, 1],
            pads: vec![[0, 0], [0, 0]],
            output: vec![8, 7],
            count_include_pad: false,
        };
        let overlapping = PoolSpec { kernel: vec![3, 3], pads: vec![[1, 1], [1, 1]], ..halves.clone() };
        for spec in [halves, overlapping] {
            for dims in [[3, 5, 16, 14], [0, 5, 16, 14]] {
                self.add(Call::MaxPool(spec.clone()), &[&dims]);
                self.add(Call::AvgPool(spec.clone()), &[&dims]);
            }
        }
    }

    fn reductions(&mut self) {
        for op in reductions() {
            for _ in 0..6 {
                let dims = self.ranked(1, 5);
                let axes = (0..dims.len()).filter(|_| self.rng.random_bool(0.6)).collect();
                let keep = self.flip();
                self.add(Call::Reduce(op, axes, keep), &[&dims]);
            }
            self.add(Call::Reduce(op, vec![], false), &[&[2, 3]]);
            self.add(Call::Reduce(op, vec![1], false), &[&[2, 0, 3]]);
            self.add(Call::Reduce(op, vec![0], true), &[&[2, 0, 3]]);
            self.add(Call::Reduce(op, vec![0, 2, 3], true), &[&[3, 4, 5, 2]]);
        }
        for op in [Reduce::Sum, Reduce::Mean, Reduce::Max, Reduce::Min] {
            self.add(Call::Reduce(op, vec![1], false), &[&[19, 117]]);
            self.add(Call::Reduce(op, vec![0], false), &[&[117, 19]]);
            self.add(Call::Reduce(op, vec![0], false), &[&[2101, 7]]);
            self.add(Call::Reduce(op, vec![2, 3], true), &[&[4, 6, 7, 9]]);
        }
        for dims in [vec![5], vec![3, 4], vec![2, 3, 2], vec![33, 57], vec![2, 0, 3], vec![2, 1, 3]] {
            for axis in 0..dims.len() {
                self.add(Call::Softmax(axis), &[&dims]);
                self.add(Call::LogSoftmax(axis), &[&dims]);
                for (exclusive, reverse) in [(false, false), (true, false), (false, true), (true, true)] {
                    self.add(Call::Cumsum { axis, exclusive, reverse }, &[&dims]);
                }
            }
        }
        self.add(Call::BatchNorm(1e-3), &[&[5, 3, 15, 15], &[3], &[3], &[3], &[3]]);
        for dims in [vec![3, 4], vec![2, 3, 5], vec![4, 2, 3, 3], vec![1, 3, 1, 1], vec![0, 3, 2], vec![9, 13, 6, 7]] {
            let c = [dims[1]];
            self.add(Call::BatchNorm(1e-3), &[&dims, &c, &c, &c, &c]);
            self.add(Call::BatchNormTrain(1e-2), &[&dims, &c, &c]);
            for axis in 0..dims.len() {
                let tail = dims[axis..].to_vec();
                self.add(Call::LayerNorm { axis, epsilon: 1e-2 }, &[&dims, &tail, &tail]);
                self.add(Call::LayerNorm { axis, epsilon: 1e-2 }, &[&dims, &dims[dims.len() - 1..]]);
            }
        }
    }

    fn layouts(&mut self) {
        for _ in 0..16 {
            let dims = self.ranked(0, 6);
            let mut perm: Vec<usize> = (0..dims.len()).collect();
            perm.shuffle(&mut self.rng);
            self.add(Call::Permute(perm), &[&dims]);
            let narrow = self.narrower(&dims);
            self.add(Call::Expand(dims), &[&narrow]);
        }
        self.add(Call::Permute(vec![0, 2, 3, 1]), &[&[2, 3, 4, 5]]);
        self.add(Call::Permute(vec![2, 1, 0]), &[&[3, 4, 5]]);
        self.add(Call::Permute(vec![1, 0, 2]), &[&[3, 5, 8]]);
        self.add(Call::Concat(1), &[&[2, 3, 8], &[2, 1, 8]]);
        self.add(Call::Slice { starts: vec![2, 4], steps: vec![-1, 1], out: vec![2, 8] }, &[&[3, 16]]);
        self.add(Call::Pad(vec![[1, 0], [4, 8]], PadMode::Constant(0.)), &[&[3, 8]]);
        self.add(Call::Gather { axis: 1, indices: vec![2], dims: vec![] }, &[&[3, 4, 8]]);
        self.add(Call::Permute(vec![1, 0]), &[&[0, 4]]);
        self.add(Call::Expand(vec![2, 0, 3]), &[&[1, 3]]);
        self.add(Call::Expand(vec![2, 2, 3, 2, 2]), &[&[1, 2, 1, 2, 1]]);
        for _ in 0..6 {
            let mut dims = self.ranked(1, 4);
            let axis = self.below(dims.len());
            let count = self.below(4) + 1;
            let parts: Vec<Vec<usize>> = (0..count)
                .map(|_| {
                    dims[axis] = self.below(4);
                    dims.clone()
                })
                .collect();
            self.add(Call::Concat(axis), &parts.iter().map(|p| &**p).collect::<Vec<_>>());
        }
        self.twice(Call::Concat(1), &[2, 3]);
        for _ in 0..10 {
            let dims = self.ranked(1, 5);
            let (mut starts, mut steps, mut out) = (vec![], vec![], vec![]);
            for &d in &dims {
                let start = self.below(d);
                let step: isize = [1, 2, -1, -2][self.below(4)];
                let room = if step > 0 { d - 1 - start } else { start };
                starts.push(start);
                steps.push(step);
                out.push(self.below(room / step.unsigned_abs() + 2));
            }
            self.add(Call::Slice { starts, steps, out }, &[&dims]);
        }
        for mode in pad_modes() {
            for _ in 0..5 {
                let dims = self.ranked(1, 4);
                let pads = dims.iter().map(|&d| [self.pad(d), self.pad(d)]).collect();
                self.add(Call::Pad(pads, mode), &[&dims]);
            }
            self.add(Call::Pad(vec![[-1, 2], [3, -2]], mode), &[&[3, 4]]);
            self.add(Call::Pad(vec![[5, 5]], mode), &[&[2]]);
        }
        self.add(Call::Pad(vec![[1, 1], [0, 2]], PadMode::Constant(2.)), &[&[0, 2]]);
        for _ in 0..8 {
            let dims = self.ranked(1, 5);
            let axis = self.below(dims.len());
            let index_dims = self.ranked(0, 3);
            let n = index_dims.iter().product();
            let indices = (0..n).map(|_| self.below(dims[axis])).collect();
            self.add(Call::Gather { axis, indices, dims: index_dims }, &[&dims]);
            let flat = (0..n).map(|_| self.below(dims.iter().product())).collect();
            let index_dims = vec![n];
            self.add(Call::GatherFlat { indices: flat, dims: index_dims }, &[&dims]);
        }
        let words = (0..40).map(|_| self.below(17)).collect();
        self.add(Call::Gather { axis: 0, indices: words, dims: vec![4, 10] }, &[&[17, 12]]);
        self.add(Call::Gather { axis: 1, indices: vec![], dims: vec![0] }, &[&[2, 3]]);
        self.add(Call::GatherFlat { indices: vec![], dims: vec![2, 0] }, &[&[3]]);
    }

    /// A pad that leaves something of `d` even if both sides are cut.
    fn pad(&mut self, d: usize) -> isize {
        let cut = (d as i64 - 1) / 2;
        self.rng.random_range(-cut..4) as isize
    }

    fn losses(&mut self) {
        for (n, c) in [(1, 1), (4, 3), (7, 10), (0, 3), (33, 100)] {
            let classes = (0..n).map(|_| self.below(c)).collect();
            self.add(Call::CrossEntropy(classes), &[&[n, c]]);
        }
        for [steps, batch, hidden] in [[1, 1, 1], [4, 2, 3], [3, 70, 5], [5, 33, 17]] {
            let state = [batch, hidden];
            self.add(Call::Lstm, &[&[steps, batch, 4 * hidden], &[4 * hidden, hidden], &state, &state]);
        }
        for dims in [vec![5], vec![3, 4], vec![0], vec![101, 7]] {
            self.add(Call::BceWithLogits, &[&dims, &dims]);
        }
    }
}
