//! Matrix products, by cuBLAS.

use super::{
    Cx, F32,
    gemm::{Batch, Factor},
    gpu::{Scratch, device_error, gpu, too_large, zeros},
    layout::expand,
    sum::{Sum, add_to},
};
use crate::{
    engine::{Address, DeviceSlot},
    error::{Error, Result},
    kernels::{
        compose,
        shape::{broadcast, require},
    },
};
use dfdx::tensor::CudaError;

type Done = Result<(), CudaError>;

pub(in crate::kernels) fn matmul(cx: &mut Cx, a: &F32, b: &F32, ta: bool, tb: bool) -> Result<F32> {
    let ((la, m, k), (lb, kb, n)) = (split(a, ta)?, split(b, tb)?);
    require(k == kb, || format!("matrix product of {:?} and {:?}", a.dims(), b.dims()))?;
    let lead = broadcast(&[la, lb])?;
    let dims = [&*lead, &[m, n]].concat();
    let batch: usize = lead.iter().product();
    let one = |lead: &[usize]| lead.iter().product::<usize>() == 1;
    if [m, n, k, batch].iter().any(|&x| x == 0 || i32::try_from(x).is_err()) {
        return compose::matmul(cx, a, b, ta, tb);
    }
    // One product where b is one matrix and the rows of a follow each other.
    if one(lb) && !ta && i32::try_from(batch * m).is_ok() {
        let one = Product { mnk: [batch * m, n, k], ta: false, tb, batch: 1, each_a: true, each_b: true };
        return product(cx, a, b, one, dims);
    }
    let wide = |t: &F32| [&*lead, t.dims().get(t.rank() - 2..).unwrap_or_default()].concat();
    let spread = |cx: &mut Cx, t: &F32, own: &[usize]| {
        if own == lead || one(own) { Ok(t.clone()) } else { expand(cx, t, &wide(t)) }
    };
    let (each_a, each_b) = (!one(la) || batch == 1, !one(lb) || batch == 1);
    let (a, b) = (&spread(cx, a, la)?, &spread(cx, b, lb)?);
    product(cx, a, b, Product { mnk: [m, n, k], ta, tb, batch, each_a, each_b }, dims)
}

/// `batch` products of (m, k) and (k, n), or their transposes as they are stored.
struct Product {
    mnk: [usize; 3],
    ta: bool,
    tb: bool,
    batch: usize,
    /// Whether each has a factor a of its own, or all share one.
    each_a: bool,
    /// Likewise.
    each_b: bool,
}

fn product(cx: &mut Cx, a: &F32, b: &F32, of: Product, dims: Vec<usize>) -> Result<F32> {
    let Product { mnk: [m, n, k], ta, tb, batch, each_a, each_b } = of;
    let gpu = gpu(cx)?;
    let c = zeros(cx, &dims)?;
    let at = |address, transposed| Factor { address, transposed };
    let apart = |each: bool, size: usize| if each { size } else { 0 };
    let (sa, sb, sc) = (apart(each_a, m * k), apart(each_b, k * n), m * n);
    let (x, y) = (at(a.address()?, ta), at(b.address()?, tb));
    let all = Batch { count: batch, a: sa, b: sb, c: sc };
    gpu.gemm(x, y, c.address()?, [m, n, k], 0.0, all).map_err(device_error)?;
    let (slot_a, slot_b, dev) = (a.device_slot(), b.device_slot(), cx.dev.clone());
    let (kept_a, kept_b) = (slot_b.as_ref().map(|_| a.detached()), slot_a.as_ref().map(|_| b.detached()));
    cx.record_on_device(&[a, b], c, move |dc, grads| {
        let of = |t: &Option<F32>| t.as_ref().and_then(|t| t.address().ok()).unwrap_or(Address::NONE);
        // Into the gradient itself, or, where all products share a factor, into one for each, which are then summed.
        let mut into = |slot: &DeviceSlot, each: bool, size: usize, run: &dyn Fn(Address, f32, usize) -> Done| {
            let gradient = slot.address(grads)?;
            if each {
                return run(gradient, 1.0, size);
            }
            let parts = Scratch::new(&dev, batch * size)?;
            run(parts.address(), 0.0, size)?;
            let sum = Sum::to(&[1, size], &[batch, size]).map_err(|_| too_large())?;
            add_to(gpu, &dev, &sum, parts.address(), gradient, 1.0)
        };
        if let Some(slot) = &slot_a {
            let b = of(&kept_b);
            into(slot, each_a, m * k, &|to, old, size| {
                if ta {
                    let batch = Batch { count: batch, a: sb, b: sc, c: size };
                    gpu.gemm(at(b, tb), at(dc, true), to, [k, m, n], old, batch)
                } else {
                    let batch = Batch { count: batch, a: sc, b: sb, c: size };
                    gpu.gemm(at(dc, false), at(b, !tb), to, [m, k, n], old, batch)
                }
            })?;
        }
        if let Some(slot) = &slot_b {
            let a = of(&kept_a);
            into(slot, each_b, k * n, &|to, old, size| {
                if tb {
                    let batch = Batch { count: batch, a: sc, b: sa, c: size };
                    gpu.gemm(at(dc, true), at(a, ta), to, [n, k, m], old, batch)
                } else {
                    let batch = Batch { count: batch, a: sa, b: sc, c: size };
                    gpu.gemm(at(a, !ta), at(dc, false), to, [k, n, m], old, batch)
                }
            })?;
        }
        Ok(())
    })
}

/// Leading axes, rows and columns of the matrices.
fn split(t: &F32, transposed: bool) -> Result<(&[usize], usize, usize)> {
    match t.dims() {
        [lead @ .., r, c] => Ok(if transposed { (lead, *c, *r) } else { (lead, *r, *c) }),
        dims => Err(Error::Internal(format!("matrix product of a tensor of {dims:?}"))),
    }
}
