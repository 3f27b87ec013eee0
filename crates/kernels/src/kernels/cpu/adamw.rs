//! AdamW's step in one pass over memory.

use super::{F32, par::CHUNK, simd::simd};
use crate::{
    engine::Context,
    error::Result,
    kernels::{AdamArgs, shape::require},
};
use dfdx::prelude::Cpu;
use onnx_forget_base::scope::install;
use rayon::prelude::*;

/// What is the same for all elements.
#[derive(Clone, Copy)]
struct Factors {
    rate: f32,
    betas: [f32; 2],
    /// 1/(1 − βᵗ)
    corrections: [f32; 2],
    epsilon: f32,
    /// rate·decay
    decay: f32,
}

/// The exponent's bits, all set in infinities and NaN.
const INFINITE: u32 = 0x7f80_0000;

simd! {
    /// p −= share·rate·m̂/(√v̂ + ε) + rate·decay·p, with m and v moved toward g and g².
    /// Whether p stays finite.
    fn update<I>(f: Factors, share: f32, p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32]) -> bool {
        let mut beyond = 0;
        for (((p, m), v), &g) in p.iter_mut().zip(m).zip(v).zip(g) {
            *m = *m * f.betas[0] + g * (1.0 - f.betas[0]);
            *v = *v * f.betas[1] + g * g * (1.0 - f.betas[1]);
            let (mean, square) = (*m * f.corrections[0], *v * f.corrections[1]);
            *p -= share * f.rate * mean / (square.sqrt() + f.epsilon) + f.decay * *p;
            beyond |= u32::from(p.to_bits() & INFINITE == INFINITE);
        }
        beyond == 0
    }
}

/// See [`crate::kernels::Backend::adamw`].
pub(in crate::kernels) fn adamw(
    _: &mut Context<f32, Cpu>,
    AdamArgs { step, parameter, moments: [first, second], gradient, share }: AdamArgs<'_, f32, Cpu>,
) -> Result<bool> {
    let (n, dims) = (parameter.len(), parameter.dims().to_vec());
    require([first.len(), second.len(), gradient.len()] == [n; 3], || format!("an optimizer's state for {dims:?}"))?;
    let betas = step.betas.map(|b| b as f32);
    let factors = Factors {
        rate: step.rate as f32,
        betas,
        corrections: betas.map(|b| 1.0 / (1.0 - b.powi(step.number))),
        epsilon: step.epsilon as f32,
        decay: (step.decay * step.rate) as f32,
    };
    // Of every stretch of `inner` elements all take the same share.
    let shares = share.map_or(&[1.0][..], F32::as_slice);
    let axis = share.and_then(|s| s.dims().iter().position(|&d| d != 1));
    let inner = axis.map_or(n, |axis| dims[axis + 1..].iter().product()).max(1);
    require(axis.is_none_or(|axis| dims.get(axis) == Some(&shares.len())), || format!("shares of {dims:?}"))?;
    let state = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
    let pieces = parameter.as_mut_slice().par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK)).zip(state);
    let finite = |(piece, ((p, g), (m, v))): (usize, ((&mut [f32], &[f32]), (&mut [f32], &mut [f32])))| {
        let (mut at, mut finite) = (0, true);
        while at < p.len() {
            let place = piece * CHUNK + at;
            let end = p.len().min(at + inner - place % inner);
            let share = shares[place / inner % shares.len()];
            finite &= update(factors, share, &mut p[at..end], &mut m[at..end], &mut v[at..end], &g[at..end]);
            at = end;
        }
        finite
    };
    Ok(install(|| pieces.enumerate().map(finite).reduce(|| true, |a, b| a & b)))
}
