//! What the table of cases does not reach: conventions at points where the slope jumps, and extreme values.

use crate::{
    engine::{Context, KernelChoice, Tensor},
    kernels::{Backend, BatchNormArgs, Binary, LayerNormArgs, PoolSpec, Reduce, Unary},
};
use dfdx::prelude::Cpu;

type T<E> = Tensor<E, Cpu>;

/// Values and gradients under Σy.
fn run<const N: usize>(
    inputs: [(&[usize], &[f64]); N],
    kernels: KernelChoice,
    f: impl FnOnce(&mut Context<f32, Cpu>, &[T<f32>; N]) -> crate::Result<T<f32>>,
) -> (Vec<f32>, [Vec<f32>; N]) {
    let mut cx = Context::recording(Cpu::default(), kernels);
    let xs = inputs.map(|(dims, values)| {
        let t = cx.upload(dims.to_vec(), values.iter().map(|&v| v as f32).collect()).unwrap();
        Tensor::new(t.flat().clone(), dims.to_vec(), true)
    });
    let y = f(&mut cx, &xs).unwrap();
    let values = y.to_vec();
    if !y.tracked() {
        return (values, xs.map(|x| vec![0.; x.len()]));
    }
    let mut grads = cx.backward(&y, vec![1.; y.len()], &xs.iter().collect::<Vec<_>>()).unwrap();
    (values, xs.map(|x| grads.to_vec(&x).unwrap()))
}

fn unary(op: Unary, x: &[f64], kernels: KernelChoice) -> (Vec<f32>, Vec<f32>) {
    let (y, [dx]) = run([(&[x.len()], x)], kernels, |cx, [x]| Cpu::unary(cx, op, x));
    (y, dx)
}

const BOTH: [KernelChoice; 2] = [KernelChoice::Fast, KernelChoice::Definition];

/// Expected figures are PyTorch's.
#[test]
fn slopes_where_they_jump() {
    let clip = Unary::Clip { min: -1., max: 1. };
    let table: [(Unary, &[f64], &[f32]); 9] = [
        (Unary::Relu, &[-1., 0., 1.], &[0., 0., 1.]),
        (Unary::Abs, &[-1., 0., 1.], &[-1., 0., 1.]),
        (Unary::LeakyRelu { alpha: 0.25 }, &[-1., 0., 1.], &[0.25, 0.25, 1.]),
        (Unary::Elu { alpha: 0.5 }, &[0., 1.], &[0.5, 1.]),
        (Unary::HardSwish, &[-4., -3., 3., 4.], &[0., 0., 1., 1.]),
        (Unary::HardSigmoid { alpha: 0.25, beta: 0.5 }, &[-2., 0., 2., 4.], &[0., 0.25, 0., 0.]),
        (clip, &[-2., -1., 0., 1., 2.], &[0., 0., 1., 0., 0.]),
        (Unary::Softsign, &[0.], &[1.]),
        (Unary::Sign, &[-2., 0., 2.], &[0., 0., 0.]),
    ];
    for kernels in BOTH {
        for (op, x, slopes) in table {
            assert_eq!(unary(op, x, kernels).1, slopes, "{op:?} {kernels:?}");
        }
    }
}

#[test]
fn nothing_hides_nan_and_nothing_overflows() {
    for kernels in BOTH {
        for op in
            [Unary::Relu, Unary::LeakyRelu { alpha: 0.1 }, Unary::Gelu { tanh: false }, Unary::HardSwish, Unary::Erf]
        {
            assert!(unary(op, &[f64::NAN], kernels).0[0].is_nan(), "{op:?} {kernels:?}");
        }
        let x: (&[usize], &[f64]) = (&[1, 1, 3], &[1., f64::NAN, 2.]);
        for op in [Reduce::Max, Reduce::Min, Reduce::Sum, Reduce::Prod] {
            assert!(
                run([x], kernels, |cx, [x]| Cpu::reduce(cx, op, x, &[2], false)).0[0].is_nan(),
                "{op:?} {kernels:?}"
            );
        }
        for op in [Binary::Max, Binary::Min] {
            let (y, _) = run([x, (&[3], &[f64::NAN, 1., 3.])], kernels, |cx, [a, b]| Cpu::binary(cx, op, a, b));
            assert!(y[0].is_nan() && y[1].is_nan() && !y[2].is_nan(), "{op:?} {kernels:?}");
        }
        let window = PoolSpec {
            kernel: vec![2],
            strides: vec![1],
            dilations: vec![1],
            pads: vec![[1, 0]],
            output: vec![3],
            count_include_pad: false,
        };
        let (y, _) = run([x], kernels, |cx, [x]| Cpu::max_pool(cx, x, &window));
        assert!(y[0] == 1. && y[1].is_nan() && y[2].is_nan(), "{y:?} {kernels:?}");
        let (y, dx) = unary(Unary::Elu { alpha: 1. }, &[1e4, -1e4], kernels);
        assert_eq!((y, dx), (vec![1e4, -1.], vec![1., 0.]));
        let (y, dx) = unary(Unary::Softplus, &[1e4, -1e4, 0., -20.], kernels);
        assert_eq!((&y[..2], &dx[..3]), (&[1e4, 0.][..], &[1., 0., 0.5][..]));
        assert!((y[3] / 2.061_153_6e-9 - 1.).abs() < 1e-5, "{}", y[3]);
        let (y, dx) = unary(Unary::Sigmoid, &[1e4, -1e4], kernels);
        assert_eq!((y, dx), (vec![1., 0.], vec![0., 0.]));
        let (y, _) = unary(Unary::Erf, &[-20., 20., 1e-6, f64::INFINITY], kernels);
        assert_eq!((y[0], y[1], y[3]), (-1., 1., 1.));
        assert!((y[2] / 1.128_379_2e-6 - 1.).abs() < 1e-6, "{}", y[2]);
        let (y, dx) = unary(Unary::Clip { min: 2., max: 1. }, &[0., 1.5, 3.], kernels);
        assert_eq!((y, dx), (vec![1.; 3], vec![0.; 3]));
    }
}

#[test]
fn equal_elements_share_the_gradient() {
    for kernels in BOTH {
        let x: (&[usize], &[f64]) = (&[2, 3], &[1., 3., 3., 3., 0., 2.]);
        let (y, [dx]) = run([x], kernels, |cx, [x]| Cpu::reduce(cx, Reduce::Max, x, &[0, 1], false));
        let third = 1. / 3.;
        assert_eq!((y, dx), (vec![3.], vec![0., third, third, third, 0., 0.]));
        let (_, [da, db]) =
            run([(&[2], &[1., 2.]), (&[2], &[1., 3.])], kernels, |cx, [a, b]| Cpu::binary(cx, Binary::Max, a, b));
        assert_eq!((da, db), (vec![0.5, 0.], vec![0.5, 1.]));
        // The product's gradient at zeros: of one zero, the product of the others; of two, nothing.
        let zeros: (&[usize], &[f64]) = (&[2, 4], &[1., 0., 3., 4., 0., 2., 0., 5.]);
        let (y, [dx]) = run([zeros], kernels, |cx, [x]| Cpu::reduce(cx, Reduce::Prod, x, &[1], false));
        assert_eq!((y, dx), (vec![0., 0.], vec![0., 12., 0., 0., 0., 0., 0., 0.]));
    }
}

/// PyTorch's figures for x.pow(y).
#[test]
fn powers_of_zero_and_of_negative_numbers() {
    for kernels in BOTH {
        let (a, b): (&[f64], &[f64]) = (&[-3., 0., 2., -2., 0., 4.], &[2., 0., 0., 3., 2., 0.5]);
        let (y, [da, db]) = run([(&[6], a), (&[6], b)], kernels, |cx, [a, b]| Cpu::binary(cx, Binary::Pow, a, b));
        assert_eq!(y, [9., 1., 1., -8., 0., 2.]);
        assert_eq!(da, [-6., 0., 0., 12., 0., 0.25]);
        assert_eq!((db[1], db[4]), (0., 0.));
        let (y, dx) = unary(Unary::PowScalar(0.), &[0., -1.], kernels);
        assert_eq!((y, dx), (vec![1., 1.], vec![0., 0.]));
    }
}

#[test]
fn losses_and_softmax_of_extreme_logits() {
    let wide: (&[usize], &[f64]) = (&[2, 3], &[1e4, -1e4, 0., -1e4, -1e4, -1e4]);
    for kernels in BOTH {
        let (y, [dx]) = run([wide], kernels, |cx, [x]| Cpu::softmax(cx, x, 1));
        assert_eq!(y[..3], [1., 0., 0.]);
        assert!(y[3..].iter().all(|y| (y - 1. / 3.).abs() < 1e-6) && dx.iter().all(|d| d.abs() < 1e-6));
        let (y, [dx]) = run([wide], kernels, |cx, [x]| Cpu::log_softmax(cx, x, 1));
        assert_eq!(y[..3], [0., -2e4, -1e4]);
        assert!((y[4] + 3f32.ln()).abs() < 1e-6 && dx.iter().all(|d| d.is_finite()));
        let (y, [dx]) = run([wide], kernels, |cx, [x]| Cpu::cross_entropy(cx, x, &[1, 2]));
        assert_eq!((y[0], &dx[..3]), (2e4, &[1., -1., 0.][..]));
        assert!((y[1] - 3f32.ln()).abs() < 1e-6);
        let masked: (&[usize], &[f64]) = (&[1, 3], &[0., f64::NEG_INFINITY, 0.]);
        let (y, [dx]) = run([masked], kernels, |cx, [x]| Cpu::softmax(cx, x, 1));
        assert_eq!((y, dx), (vec![0.5, 0., 0.5], vec![0.; 3]));
        let logits: (&[usize], &[f64]) = (&[5], &[1e4, 1e4, -1e4, -1e4, 20.]);
        let (y, [dx, _]) =
            run([logits, (&[5], &[1., 0., 1., 0., 1.])], kernels, |cx, [x, t]| Cpu::bce_with_logits(cx, x, t));
        assert_eq!((&y[..4], &dx[..4]), (&[0., 1e4, 1e4, 0.][..], &[0., 1., -1., 0.][..]));
        // A right and confident prediction has a loss that is small, not 0.
        assert!((y[4] / 2.061_153_6e-9 - 1.).abs() < 1e-5, "{}", y[4]);
    }
}

/// With a mean of 10⁴ and a deviation of 1, one-pass variances in `f32` would be all noise.
#[test]
fn statistics_of_a_large_mean() {
    let x: Vec<f64> = (0..256).map(|i| 1e4 + f64::from(i * 37 % 256) / 64.).collect();
    let mean = x.iter().sum::<f64>() / 256.;
    let var = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 256.;
    let want: Vec<f64> = x.iter().map(|x| (x - mean) / (var + 1e-5).sqrt()).collect();
    let close = |y: &[f32]| y.iter().zip(&want).all(|(y, w)| (f64::from(*y) - w).abs() < 1e-4);
    for kernels in BOTH {
        let ones = [1.; 256];
        let (y, _) = run([(&[1, 256], &x), (&[256], &ones)], kernels, |cx, [x, s]| {
            Cpu::layer_norm(cx, LayerNormArgs { x, scale: s, bias: None, axis: 1, epsilon: 1e-5 })
        });
        assert!(close(&y), "{kernels:?} {:?}", &y[..4]);
        let inputs: [(&[usize], &[f64]); 3] = [(&[256, 1], &x), (&[1], &[1.]), (&[1], &[0.])];
        let (y, _) = run(inputs, kernels, |cx, [x, s, b]| {
            Cpu::batch_norm(cx, BatchNormArgs { x, scale: s, bias: b, statistics: None, epsilon: 1e-5 })
        });
        assert!(close(&y), "{kernels:?} {:?}", &y[..4]);
    }
}

#[test]
fn misuse_is_an_error_and_no_panic() {
    let mut cx = Context::<f32, Cpu>::inference(Cpu::default(), KernelChoice::Definition);
    let t = |dims: &[usize]| cx.upload(dims.to_vec(), vec![0.; dims.iter().product()]).unwrap();
    let (a, b, v) = (t(&[2, 3]), t(&[2, 4]), t(&[3]));
    let cx = &mut cx;
    assert!(Cpu::binary(cx, Binary::Add, &a, &b).is_err());
    assert!(Cpu::matmul(cx, &a, &b, false, false).is_err());
    assert!(Cpu::matmul(cx, &a, &v, false, false).is_err());
    assert!(Cpu::reduce(cx, Reduce::Sum, &a, &[2], false).is_err());
    assert!(Cpu::reduce(cx, Reduce::Sum, &a, &[1, 0], false).is_err());
    assert!(Cpu::softmax(cx, &a, 2).is_err());
    assert!(Cpu::permute(cx, &a, &[0, 0]).is_err());
    assert!(Cpu::expand(cx, &a, &[3, 3]).is_err());
    assert!(Cpu::concat(cx, &[&a, &b], 0).is_err());
    assert!(Cpu::concat(cx, &[], 0).is_err());
    assert!(Cpu::slice(cx, &a, &[0, 1], &[1, 1], &[2, 3]).is_err());
    assert!(Cpu::slice(cx, &a, &[0, 0], &[1, -1], &[2, 2]).is_err());
    assert!(Cpu::gather(cx, &a, 1, &[3], &[1]).is_err());
    assert!(Cpu::gather_flat(cx, &a, &[6], &[1]).is_err());
    assert!(Cpu::gather_flat(cx, &a, &[0], &[2]).is_err());
    assert!(Cpu::cross_entropy(cx, &a, &[0, 3]).is_err());
    assert!(Cpu::cross_entropy(cx, &a, &[0]).is_err());
    assert!(Cpu::bce_with_logits(cx, &a, &b).is_err());
    let args = LayerNormArgs { x: &a, scale: &b, bias: None, axis: 1, epsilon: 1e-5 };
    assert!(Cpu::layer_norm(cx, args).is_err());
    let args = BatchNormArgs { x: &a, scale: &v, bias: &t_len(cx, 2), statistics: None, epsilon: 1e-5 };
    assert!(Cpu::batch_norm(cx, args).is_err());
    assert!(Cpu::pad(cx, &a, &[[0, 0]], crate::kernels::PadMode::Edge).is_err());
    assert!(Cpu::pad(cx, &a, &[[-2, -1], [0, 0]], crate::kernels::PadMode::Edge).is_err());
}

fn t_len(cx: &Context<f32, Cpu>, n: usize) -> T<f32> {
    cx.upload(vec![n], vec![0.; n]).unwrap()
}
