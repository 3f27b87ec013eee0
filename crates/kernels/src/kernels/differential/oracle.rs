//! What each kernel computes, by loops over multi-indices, from its contract and not from its definition.

use super::{calls::Call, cases::Case};
use crate::kernels::{Binary, ConvSpec, PadMode, PoolSpec, Reduce, Unary};
use ndarray::{ArrayD, Axis, Dimension, IxDyn, indices};

type A = ArrayD<f64>;

/// The result for `inputs`.
pub(super) fn expected(case: &Case, inputs: &[Vec<f64>]) -> A {
    let array =
        |i: usize| A::from_shape_vec(IxDyn(&case.inputs[i]), inputs[if case.same { 0 } else { i }].clone()).unwrap();
    let x: Vec<A> = (0..inputs.len()).map(array).collect();
    match &case.call {
        Call::Unary(op) => x[0].mapv(|x| unary(*op, x)),
        Call::Binary(op) => zip(&x[0], &x[1], |a, b| binary(*op, a, b)),
        Call::Select(mask) => {
            let mask = mask.mapv(|m| f64::from(u8::from(m)));
            let a = zip(&mask, &x[0], |m, a| if m > 0. { a } else { 0. });
            let b = zip(&mask, &x[1], |m, b| if m > 0. { 0. } else { b });
            zip(&a, &b, |a, b| a + b)
        }
        Call::Matmul { ta, tb } => matmul(&turned(&x[0], *ta), &turned(&x[1], *tb)),
        Call::Linear { transposed, activation } => {
            let y = matmul(&x[0], &turned(&x[1], *transposed));
            let y = x.get(2).map_or(y.clone(), |bias| zip(&y, bias, |a, b| a + b));
            activation.map_or(y.clone(), |op| y.mapv(|y| unary(op, y)))
        }
        Call::Conv(s) => convolved(&x, s),
        Call::ConvFused(op, s) => {
            let y = convolved(&x, s);
            let y = x.get(3).map_or(y.clone(), |z| y + z);
            y.mapv(|y| unary(*op, y))
        }
        Call::MaxPool(s) => pool(&x[0], s, |window, _| window.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        Call::AvgPool(s) => pool(&x[0], s, |window, padded| {
            let n = if s.count_include_pad { padded } else { window.len() };
            window.iter().sum::<f64>() / n as f64
        }),
        Call::Reduce(op, axes, keep) => reduce(*op, &x[0], axes, *keep),
        Call::Softmax(axis) => along(&x[0], *axis, softmax),
        Call::LogSoftmax(axis) => along(&x[0], *axis, |row| softmax(row).into_iter().map(f64::ln).collect()),
        Call::BatchNorm(e) => A::from_shape_fn(x[0].raw_dim(), |i| {
            let c = [i[1]];
            let [scale, bias, mean, var] = [1, 2, 3, 4].map(|k| x[k][c.as_slice()]);
            (x[0][&i] - mean) / (var + e).sqrt() * scale + bias
        }),
        Call::BatchNormTrain(e) => {
            let axes: Vec<usize> = (0..x[0].ndim()).filter(|&a| a != 1).collect();
            let standard = standardized(&x[0], &axes, *e);
            A::from_shape_fn(x[0].raw_dim(), |i| standard[&i] * x[1][[i[1]].as_slice()] + x[2][[i[1]].as_slice()])
        }
        Call::LayerNorm { axis, epsilon } => {
            let axes: Vec<usize> = (*axis..x[0].ndim()).collect();
            let scaled = zip(&standardized(&x[0], &axes, *epsilon), &x[1], |a, b| a * b);
            x.get(2).map_or(scaled.clone(), |bias| zip(&scaled, bias, |a, b| a + b))
        }
        Call::Permute(perm) => x[0].view().permuted_axes(IxDyn(perm)).to_owned(),
        Call::Expand(dims) => x[0].broadcast(IxDyn(dims)).unwrap().to_owned(),
        Call::Concat(axis) => {
            ndarray::concatenate(Axis(*axis), &x.iter().map(|x| x.view()).collect::<Vec<_>>()).unwrap()
        }
        Call::Slice { starts, steps, out } => A::from_shape_fn(IxDyn(out), |i| {
            let at: Vec<usize> =
                (0..out.len()).map(|a| starts[a].wrapping_add_signed(i[a] as isize * steps[a])).collect();
            x[0][&*at]
        }),
        Call::Pad(pads, mode) => pad(&x[0], pads, *mode),
        Call::Gather { axis, indices, dims } => {
            let shape = [&x[0].shape()[..*axis], dims, &x[0].shape()[axis + 1..]].concat();
            let picked = ArrayD::from_shape_vec(IxDyn(dims), indices.clone()).unwrap();
            A::from_shape_fn(IxDyn(&shape), |i| {
                let i = i.slice();
                let (index, tail) = i[*axis..].split_at(dims.len());
                x[0][&*[&i[..*axis], &[picked[index]], tail].concat()]
            })
        }
        Call::GatherFlat { indices, dims } => {
            A::from_shape_vec(IxDyn(dims), indices.iter().map(|&i| *x[0].iter().nth(i).unwrap()).collect()).unwrap()
        }
        Call::Cumsum { axis, exclusive, reverse } => along(&x[0], *axis, |row| {
            let n = row.len();
            let part = |t: usize| match (reverse, exclusive) {
                (false, false) => 0..t + 1,
                (false, true) => 0..t,
                (true, false) => t..n,
                (true, true) => t + 1..n,
            };
            (0..n).map(|t| row[part(t)].iter().sum()).collect()
        }),
        Call::Lstm => lstm(&x),
        Call::CrossEntropy(classes) => {
            let rows = classes.iter().enumerate();
            let loss = |(i, &k): (usize, &usize)| -softmax(&x[0].index_axis(Axis(0), i).to_vec_row())[k].ln();
            A::from_shape_vec(IxDyn(&[classes.len()]), rows.map(loss).collect()).unwrap()
        }
        Call::BceWithLogits => zip(&x[0], &x[1], |x, t| {
            let p = 1. / (1. + (-x).exp());
            -t * p.ln() - (1. - t) * (1. - p).ln()
        }),
    }
}

fn lstm(x: &[A]) -> A {
    let (gates, recurrent, mut h, mut c) = (&x[0], &x[1], x[2].clone(), x[3].clone());
    let (steps, batch, hidden) = (gates.shape()[0], h.shape()[0], h.shape()[1]);
    let mut y = A::zeros(IxDyn(&[steps + 1, batch, hidden]));
    let sigmoid = |x: f64| 1. / (1. + (-x).exp());
    for t in 0..steps {
        let (last, cell) = (h.clone(), c.clone());
        for (row, k) in (0..batch).flat_map(|row| (0..hidden).map(move |k| (row, k))) {
            let sum = |gate: usize| {
                let at = gate * hidden + k;
                gates[[t, row, at]] + (0..hidden).map(|j| recurrent[[at, j]] * last[[row, j]]).sum::<f64>()
            };
            c[[row, k]] = sigmoid(sum(2)) * cell[[row, k]] + sigmoid(sum(0)) * sum(3).tanh();
            h[[row, k]] = sigmoid(sum(1)) * c[[row, k]].tanh();
        }
        y.index_axis_mut(Axis(0), t).assign(&h);
    }
    y.index_axis_mut(Axis(0), steps).assign(&c);
    y
}

trait Row {
    fn to_vec_row(&self) -> Vec<f64>;
}

impl Row for ndarray::ArrayViewD<'_, f64> {
    fn to_vec_row(&self) -> Vec<f64> {
        self.iter().copied().collect()
    }
}

fn unary(op: Unary, x: f64) -> f64 {
    let sigmoid = |x: f64| 1. / (1. + (-x).exp());
    match op {
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Reciprocal => 1. / x,
        Unary::Sqrt => x.sqrt(),
        Unary::Exp => x.exp(),
        Unary::Log => x.ln(),
        Unary::Erf => erf(x),
        Unary::Tanh => x.tanh(),
        Unary::Sigmoid => sigmoid(x),
        Unary::Relu => x.max(0.),
        Unary::LeakyRelu { alpha } => {
            if x < 0. {
                alpha * x
            } else {
                x
            }
        }
        Unary::Elu { alpha } => {
            if x > 0. {
                x
            } else {
                alpha * (x.exp() - 1.)
            }
        }
        Unary::Gelu { tanh: false } => x * 0.5 * (1. + erf(x / 2f64.sqrt())),
        Unary::Gelu { tanh: true } => {
            0.5 * x * (1. + ((2. / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
        }
        Unary::HardSwish => x * (x / 6. + 0.5).clamp(0., 1.),
        Unary::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0., 1.),
        Unary::Clip { min, max } => x.max(min).min(max),
        Unary::Softplus => (1. + x.exp()).ln(),
        Unary::Softsign => x / (1. + x.abs()),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Tan => x.tan(),
        Unary::Acos => x.acos(),
        Unary::Asin => x.asin(),
        Unary::Atan => x.atan(),
        Unary::Cosh => x.cosh(),
        Unary::Sinh => x.sinh(),
        Unary::Acosh => x.acosh(),
        Unary::Asinh => x.asinh(),
        Unary::Atanh => x.atanh(),
        Unary::AddScalar(c) => x + c,
        Unary::MulScalar(c) => x * c,
        Unary::PowScalar(c) => x.powf(c),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round_ties_even(),
        Unary::Sign => {
            if x == 0. {
                0.
            } else {
                x.signum()
            }
        }
    }
}

/// 2/√π·∫ exp(−t²) from 0 to x, by Simpson's rule.
fn erf(x: f64) -> f64 {
    let n = 4000;
    let h = x / f64::from(n);
    let term = |i: i32| {
        let weight = if i == 0 || i == n {
            1.
        } else if i % 2 == 1 {
            4.
        } else {
            2.
        };
        weight * (-(f64::from(i) * h).powi(2)).exp()
    };
    std::f64::consts::FRAC_2_SQRT_PI * h / 3. * (0..=n).map(term).sum::<f64>()
}

fn binary(op: Binary, a: f64, b: f64) -> f64 {
    match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Pow => a.powf(b),
        Binary::Max => a.max(b),
        Binary::Min => a.min(b),
        Binary::PRelu => {
            if a < 0. {
                a * b
            } else {
                a
            }
        }
    }
}

fn broadcast(a: &[usize], b: &[usize]) -> Vec<usize> {
    let rank = a.len().max(b.len());
    let at = |d: &[usize], i: usize| if i + d.len() < rank { 1 } else { d[i + d.len() - rank] };
    (0..rank).map(|i| if at(a, i) == 1 { at(b, i) } else { at(a, i) }).collect()
}

fn zip(a: &A, b: &A, f: impl Fn(f64, f64) -> f64) -> A {
    let dims = IxDyn(&broadcast(a.shape(), b.shape()));
    let (a, b) = (a.broadcast(dims.clone()).unwrap(), b.broadcast(dims.clone()).unwrap());
    A::from_shape_fn(dims, |i| f(a[&i], b[&i]))
}

fn turned(x: &A, transposed: bool) -> A {
    let n = x.ndim();
    let mut x = x.clone();
    if transposed {
        x.swap_axes(n - 2, n - 1);
    }
    x
}

fn matmul(a: &A, b: &A) -> A {
    let (ra, rb) = (a.ndim(), b.ndim());
    let (m, k, n) = (a.shape()[ra - 2], a.shape()[ra - 1], b.shape()[rb - 1]);
    let lead = broadcast(&a.shape()[..ra - 2], &b.shape()[..rb - 2]);
    let wide = |x: &A, r: usize, c: usize| x.broadcast(IxDyn(&[&*lead, &[r, c]].concat())).unwrap().to_owned();
    let (a, b) = (wide(a, m, k), wide(b, k, n));
    A::from_shape_fn(IxDyn(&[&*lead, &[m, n]].concat()), |i| {
        let (batch, at) = i.slice().split_at(lead.len());
        (0..k).map(|t| a[&*[batch, &[at[0], t]].concat()] * b[&*[batch, &[t, at[1]]].concat()]).sum()
    })
}

/// `f` of each window's elements inside the input and of their number inside the padded input.
fn pool(x: &A, s: &PoolSpec, f: impl Fn(&[f64], usize) -> f64) -> A {
    let shape = [&x.shape()[..2], &s.output].concat();
    A::from_shape_fn(IxDyn(&shape), |o| {
        let (mut window, mut padded) = (vec![], 0);
        for k in indices(IxDyn(&s.kernel)) {
            let place = |a: usize| (o[a + 2] * s.strides[a] + k[a] * s.dilations[a]) as isize - s.pads[a][0] as isize;
            let at: Vec<isize> = (0..s.kernel.len()).map(place).collect();
            let end = |a: usize| (x.shape()[a + 2] + s.pads[a][1]) as isize;
            padded += usize::from((0..at.len()).all(|a| at[a] < end(a)));
            let index: Vec<usize> = [o[0], o[1]].into_iter().chain(at.iter().map(|&i| i as usize)).collect();
            window.extend(x.get(&*index));
        }
        f(&window, padded)
    })
}

fn reduce(op: Reduce, x: &A, axes: &[usize], keep: bool) -> A {
    let mut y = x.clone();
    for &a in axes.iter().rev() {
        let start = match op {
            Reduce::Sum | Reduce::Mean => 0.,
            Reduce::Prod => 1.,
            Reduce::Max => f64::NEG_INFINITY,
            Reduce::Min => f64::INFINITY,
        };
        let n = y.shape()[a] as f64;
        y = y.fold_axis(Axis(a), start, |&s, &x| match op {
            Reduce::Sum | Reduce::Mean => s + x,
            Reduce::Prod => s * x,
            Reduce::Max => s.max(x),
            Reduce::Min => s.min(x),
        });
        if op == Reduce::Mean {
            y /= n;
        }
        if keep {
            y = y.insert_axis(Axis(a));
        }
    }
    y
}

fn along(x: &A, axis: usize, f: impl Fn(&[f64]) -> Vec<f64>) -> A {
    let mut y = x.clone();
    for mut lane in y.lanes_mut(Axis(axis)) {
        let row = f(&lane.to_vec());
        for (y, v) in lane.iter_mut().zip(row) {
            *y = v;
        }
    }
    y
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let total: f64 = row.iter().map(|x| x.exp()).sum();
    row.iter().map(|x| x.exp() / total).collect()
}

fn standardized(x: &A, axes: &[usize], epsilon: f64) -> A {
    let mean = reduce(Reduce::Mean, x, axes, true);
    let centered = zip(x, &mean, |x, m| x - m);
    let var = reduce(Reduce::Mean, &centered.mapv(|c| c * c), axes, true);
    zip(&centered, &var, |c, v| c / (v + epsilon).sqrt())
}

fn pad(x: &A, pads: &[[isize; 2]], mode: PadMode) -> A {
    let kept = |a: usize| x.shape()[a] as isize + pads[a][0].min(0) + pads[a][1].min(0);
    let shape: Vec<usize> = (0..x.ndim()).map(|a| (x.shape()[a] as isize + pads[a][0] + pads[a][1]) as usize).collect();
    A::from_shape_fn(IxDyn(&shape), |o| {
        let mut at = vec![];
        for a in 0..shape.len() {
            let (mut i, n) = (o[a] as isize - pads[a][0].max(0), kept(a));
            match mode {
                PadMode::Constant(c) if i < 0 || i >= n => return c,
                PadMode::Constant(_) => (),
                PadMode::Edge => i = i.clamp(0, n - 1),
                PadMode::Wrap => i = (i % n + n) % n,
                PadMode::Reflect => {
                    while n > 1 && !(0..n).contains(&i) {
                        i = if i < 0 { -i } else { 2 * (n - 1) - i };
                    }
                    i = if n == 1 { 0 } else { i };
                }
            }
            at.push((i + (-pads[a][0]).max(0)) as usize);
        }
        x[&*at]
    })
}

fn convolved(x: &[A], s: &ConvSpec) -> A {
    let (x, w, bias) = (&x[0], &x[1], x.get(2));
    let out: Vec<usize> = (2..x.ndim())
        .map(|a| {
            let (d, k, p) = (x.shape()[a], w.shape()[a], s.pads[a - 2]);
            (d + p[0] + p[1] - s.dilations[a - 2] * (k - 1) - 1) / s.strides[a - 2] + 1
        })
        .collect();
    let shape = [&[x.shape()[0], w.shape()[0]], &*out].concat();
    A::from_shape_fn(IxDyn(&shape), |o| {
        let group = o[1] * s.groups / w.shape()[0];
        let mut sum = bias.map_or(0., |b| b[[o[1]].as_slice()]);
        for k in indices(IxDyn(&w.shape()[1..])) {
            let mut at = vec![o[0], group * w.shape()[1] + k[0]];
            for a in 0..out.len() {
                at.push((o[a + 2] * s.strides[a] + k[a + 1] * s.dilations[a]).wrapping_sub(s.pads[a][0]));
            }
            let tap = [&[o[1]], k.slice()].concat();
            sum += x.get(&*at).unwrap_or(&0.) * w[&*tap];
        }
        sum
    })
}
