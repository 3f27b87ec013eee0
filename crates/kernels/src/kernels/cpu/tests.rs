//! The same bytes on one, two and three threads, forwards and backwards, for shapes large enough to be split; and that
//! work which is split is right at its seams.

use crate::{
    engine::{Context, KernelChoice, Tensor},
    error::Result,
    kernels::{
        Backend, BatchNormArgs, Binary, ConvArgs, ConvSpec, LayerNormArgs, LinearArgs, LstmArgs, PoolSpec, Reduce,
        Unary,
    },
};
use dfdx::prelude::Cpu;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

type Cx = Context<f32, Cpu>;
type F32 = Tensor<f32, Cpu>;

struct Case {
    name: &'static str,
    inputs: Vec<Vec<usize>>,
    call: Box<dyn Fn(&mut Cx, &[F32]) -> Result<F32> + Send + Sync>,
}

fn case(
    name: &'static str,
    inputs: &[&[usize]],
    call: impl Fn(&mut Cx, &[F32]) -> Result<F32> + Send + Sync + 'static,
) -> Case {
    Case { name, inputs: inputs.iter().map(|d| d.to_vec()).collect(), call: Box::new(call) }
}

fn conv(name: &'static str, x: &[usize], w: &[usize], stride: usize, pad: usize, groups: usize) -> Case {
    let n = x.len() - 2;
    let spec = ConvSpec { strides: vec![stride; n], dilations: vec![1; n], pads: vec![[pad; 2]; n], groups };
    case(name, &[x, w, &w[..1]], move |cx, x| Cpu::conv(cx, ConvArgs::plain(&x[0], &x[1], Some(&x[2]), &spec)))
}

fn cases() -> Vec<Case> {
    let pool = PoolSpec {
        kernel: vec![3, 3],
        strides: vec![2, 2],
        dilations: vec![1, 1],
        pads: vec![[1, 1], [1, 1]],
        output: vec![14, 14],
        count_include_pad: false,
    };
    let average = pool.clone();
    let indices: Vec<usize> = (0..3000).map(|i| i * i % 101).collect();
    let classes: Vec<usize> = (0..700).map(|i| i * 7 % 100).collect();
    vec![
        conv("conv 3×3", &[9, 20, 16, 16], &[24, 20, 3, 3], 1, 1, 1),
        conv("conv 3×3 by Winograd", &[12, 36, 18, 17], &[40, 36, 3, 3], 1, 1, 1),
        conv("conv 3×3, small images, many channels", &[20, 70, 5, 5], &[40, 70, 3, 3], 1, 1, 1),
        conv("conv 3×3, stride 2", &[5, 16, 33, 31], &[20, 16, 3, 3], 2, 1, 1),
        conv("conv 1×1", &[9, 48, 12, 12], &[40, 48, 1, 1], 1, 0, 1),
        conv("conv 1×1 on single pixels", &[300, 48, 1, 1], &[40, 48, 1, 1], 1, 0, 1),
        conv("conv in groups", &[9, 24, 12, 12], &[16, 6, 3, 3], 1, 1, 4),
        conv("conv of three channels", &[16, 3, 32, 32], &[16, 3, 3, 3], 1, 1, 1),
        conv("depthwise conv", &[9, 24, 24, 24], &[24, 1, 3, 3], 1, 1, 24),
        conv("depthwise conv, stride 2", &[9, 24, 24, 24], &[48, 1, 3, 3], 2, 1, 24),
        conv("conv over one axis", &[9, 24, 300], &[32, 24, 5], 1, 2, 1),
        case("product", &[&[300, 257], &[257, 190]], |cx, x| Cpu::matmul(cx, &x[0], &x[1], false, false)),
        case("product with a long sum", &[&[5000, 20], &[5000, 12]], |cx, x| {
            Cpu::matmul(cx, &x[0], &x[1], true, false)
        }),
        case("product with a long sum into many rows", &[&[3000, 140], &[3000, 50]], |cx, x| {
            Cpu::matmul(cx, &x[0], &x[1], true, false)
        }),
        case("product with a bias", &[&[9, 130, 70], &[70, 200], &[200]], |cx, x| {
            let (bias, activation) = (Some(&x[2]), Some(Unary::Tanh));
            Cpu::linear(cx, LinearArgs { x: &x[0], w: &x[1], transposed: false, bias, activation })
        }),
        case("LSTM", &[&[12, 90, 160], &[160, 40], &[90, 40], &[90, 40]], |cx, x| {
            Cpu::lstm(cx, LstmArgs { gates: &x[0], recurrent: &x[1], h: &x[2], c: &x[3] })
        }),
        case("product of one row", &[&[1, 700], &[900, 700]], |cx, x| Cpu::matmul(cx, &x[0], &x[1], false, true)),
        case("products by one matrix", &[&[7, 90, 64], &[64, 100]], |cx, x| {
            Cpu::matmul(cx, &x[0], &x[1], false, false)
        }),
        case("products of pairs", &[&[4, 1, 50, 40], &[3, 60, 40]], |cx, x| Cpu::matmul(cx, &x[0], &x[1], false, true)),
        case("gelu", &[&[70_001]], |cx, x| Cpu::unary(cx, Unary::Gelu { tanh: false }, &x[0])),
        case("sum by channel", &[&[16, 70, 90], &[70, 1]], |cx, x| Cpu::binary(cx, Binary::Add, &x[0], &x[1])),
        case("product by column", &[&[900, 70], &[70]], |cx, x| Cpu::binary(cx, Binary::Mul, &x[0], &x[1])),
        case("sum", &[&[300_000]], |cx, x| Cpu::reduce(cx, Reduce::Sum, &x[0], &[0], false)),
        case("mean over images and pixels", &[&[20, 30, 120]], |cx, x| {
            Cpu::reduce(cx, Reduce::Mean, &x[0], &[0, 2], true)
        }),
        case("sum over rows", &[&[6000, 40]], |cx, x| Cpu::reduce(cx, Reduce::Sum, &x[0], &[0], false)),
        case("sum over wide rows", &[&[60, 5000]], |cx, x| Cpu::reduce(cx, Reduce::Sum, &x[0], &[0], false)),
        case("maximum", &[&[3, 40_000]], |cx, x| Cpu::reduce(cx, Reduce::Max, &x[0], &[1], false)),
        case("max pool", &[&[16, 12, 28, 28]], move |cx, x| Cpu::max_pool(cx, &x[0], &pool)),
        case("mean pool", &[&[16, 12, 28, 28]], move |cx, x| Cpu::avg_pool(cx, &x[0], &average)),
        case("softmax", &[&[700, 90]], |cx, x| Cpu::softmax(cx, &x[0], 1)),
        case("log softmax over the middle", &[&[70, 90, 12]], |cx, x| Cpu::log_softmax(cx, &x[0], 1)),
        case("batch norm", &[&[70, 12, 40], &[12], &[12]], |cx, x| {
            let args = BatchNormArgs { x: &x[0], scale: &x[1], bias: &x[2], statistics: None, epsilon: 1e-5 };
            Cpu::batch_norm(cx, args)
        }),
        case("frozen batch norm", &[&[70, 12, 40], &[12], &[12]], |cx, x| {
            let (mean, var) = (cx.upload(vec![12], vec![0.2; 12])?, cx.upload(vec![12], vec![0.7; 12])?);
            let statistics = Some([&mean, &var]);
            Cpu::batch_norm(cx, BatchNormArgs { x: &x[0], scale: &x[1], bias: &x[2], statistics, epsilon: 1e-5 })
        }),
        case("layer norm", &[&[700, 90], &[90], &[90]], |cx, x| {
            Cpu::layer_norm(cx, LayerNormArgs { x: &x[0], scale: &x[1], bias: Some(&x[2]), axis: 1, epsilon: 1e-5 })
        }),
        case("gather", &[&[101, 33]], move |cx, x| Cpu::gather(cx, &x[0], 0, &indices, &[3000])),
        case("permutation", &[&[40, 50, 30]], |cx, x| Cpu::permute(cx, &x[0], &[2, 0, 1])),
        case("running sums", &[&[90, 40, 30]], |cx, x| Cpu::cumsum(cx, &x[0], 1, false, false)),
        case("cross-entropy", &[&[700, 100]], move |cx, x| Cpu::cross_entropy(cx, &x[0], &classes)),
    ]
}

/// The result and all gradients, on a pool of `threads`.
fn outcome(case: &Case, threads: usize, kernels: KernelChoice) -> Vec<Vec<f32>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut cx = Cx::recording(Cpu::default(), kernels);
        let inputs: Vec<F32> = (case.inputs.iter())
            .map(|dims| {
                let values = (0..dims.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
                let t = cx.upload(dims.clone(), values).unwrap();
                Tensor::new(t.flat().clone(), dims.clone(), true)
            })
            .collect();
        let y = (case.call)(&mut cx, &inputs).unwrap();
        let weights = (0..y.len()).map(|_| rng.random_range(-1.0..1.0)).collect();
        let mut all = vec![y.to_vec()];
        let mut grads = cx.backward(&y, weights, &inputs.iter().collect::<Vec<_>>()).unwrap();
        all.extend(inputs.iter().map(|x| grads.to_vec(x).unwrap()));
        all
    })
}

#[test]
fn the_same_bytes_on_any_number_of_threads() {
    for case in cases() {
        let bits = |threads| -> Vec<Vec<u32>> {
            let all = outcome(&case, threads, KernelChoice::Fast);
            all.into_iter().map(|v| v.into_iter().map(f32::to_bits).collect()).collect()
        };
        let one = bits(1);
        for threads in [2, 3] {
            assert!(bits(threads) == one, "{} on {threads} threads", case.name);
        }
    }
}

#[test]
fn large_shapes_agree_with_the_definitions() {
    // Sums of thousands of terms in `f32`, in another order.
    const RELATIVE: f32 = 2e-5;
    for case in cases() {
        let (fast, definition) = (outcome(&case, 2, KernelChoice::Fast), outcome(&case, 2, KernelChoice::Definition));
        for (i, (fast, definition)) in fast.iter().zip(&definition).enumerate() {
            assert_eq!(fast.len(), definition.len(), "{} {i}", case.name);
            let scale = definition.iter().fold(0f32, |m, v| m.max(v.abs()));
            let worst = fast.iter().zip(definition).map(|(f, d)| (f - d).abs()).fold(0.0, f32::max);
            assert!(worst <= RELATIVE * scale, "{} {i}: off by {worst} of {scale}", case.name);
        }
    }
}
