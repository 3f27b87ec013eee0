//! Batched matrix products with NumPy broadcasting of the leading axes.

use super::{
    F32,
    par::{self, Shared},
    product::{Beta, Mat, TASK, large, on_thread},
    walk::Walk,
};
use crate::{
    engine::Context,
    error::{Error, Result},
    kernels::shape::{self, broadcast_strides},
};
use dfdx::prelude::Cpu;

/// One side of a batched product, or its result.
#[derive(Clone)]
struct Side {
    /// Of each product, the number of the matrix that it reads.
    index: Vec<usize>,
    /// How many matrices there are.
    count: usize,
}

impl Side {
    fn new(batch: &[usize], all: &[usize]) -> Self {
        let mut index = Vec::new();
        let walk = Walk::new(all, [&broadcast_strides(batch, all)]);
        let [step] = walk.steps();
        walk.each(0, all.iter().product(), |_, [at], n| {
            index.extend((0..n as isize).map(|i| (at + i * step) as usize));
        });
        Self { index, count: batch.iter().product() }
    }
}

/// A batch of products C = A·B, with A stored as it is or transposed, likewise B.
#[derive(Clone)]
struct Plan {
    m: usize,
    n: usize,
    k: usize,
    ta: bool,
    tb: bool,
    a: Side,
    b: Side,
}

impl Plan {
    fn of(a: &[usize], b: &[usize], ta: bool, tb: bool) -> Option<(Self, Vec<usize>)> {
        let (a_batch, &[a0, a1]) = a.split_last_chunk::<2>()?;
        let (b_batch, &[b0, b1]) = b.split_last_chunk::<2>()?;
        let (m, k) = if ta { (a1, a0) } else { (a0, a1) };
        let (same, n) = if tb { (b1, b0) } else { (b0, b1) };
        let mut dims = shape::broadcast(&[a_batch, b_batch]).ok().filter(|_| k == same)?;
        let (a, b) = (Side::new(a_batch, &dims), Side::new(b_batch, &dims));
        let mut plan = Self { m, n, k, ta, tb, a, b };
        dims.extend([m, n]);
        // One matrix on the right for all on the left: one tall product.
        if plan.b.count == 1 && plan.a.count == plan.a.index.len() && !ta {
            plan.m *= plan.a.count;
            plan.a = Side { index: vec![0], count: 1 };
            plan.b = Side { index: vec![0], count: 1 };
        }
        Some((plan, dims))
    }

    /// Each of the results of `side`, `size` elements each, becomes the sum of the products that belong to it, in order,
    /// or that is added to it. `f` gives, for the number of a product, its factors.
    fn run<'a>(
        out: &Shared<'_>,
        size: usize,
        work: usize,
        side: &Side,
        old: Beta,
        f: impl Fn(usize) -> (Mat<'a>, Mat<'a>) + Sync,
    ) {
        let mut products = vec![Vec::new(); side.count];
        side.index.iter().enumerate().for_each(|(product, &target)| products[target].push(product));
        if old == Beta::Zero && (work == 0 || side.index.is_empty()) {
            // SAFETY: no task is at work.
            unsafe { out.fresh(0, side.count * size) };
        }
        if work == 0 {
            return;
        }
        let each = |target: usize, multiply: &dyn Fn(usize, Mat<'_>, Mat<'_>, Beta)| {
            for (i, &product) in products[target].iter().enumerate() {
                let (a, b) = f(product);
                multiply(target * size, a, b, if i == 0 { old } else { Beta::One });
            }
        };
        if side.count < 4 {
            // SAFETY: each result has elements of its own, and they come one after the other.
            (0..side.count).for_each(|i| each(i, &|at, a, b, old| unsafe { large(out, at, (a, b), old, |_, _| {}) }));
            return;
        }
        let group = (TASK / (work * (side.index.len() / side.count)).max(1)).clamp(1, side.count);
        par::tasks(side.count.div_ceil(group), |task| {
            for target in task * group..side.count.min((task + 1) * group) {
                // SAFETY: each result belongs to one task.
                each(target, &|at, a, b, old| unsafe { on_thread(out.pointer(at, size), b.width(), a, b, old) });
            }
        });
    }

    fn forward(&self, a: &[f32], b: &[f32]) -> Vec<f32> {
        let count = self.a.index.len();
        let all = Side { index: (0..count).collect(), count };
        let (size, factors) = (self.m * self.n, |i| (self.left(a, i), self.right(b, i)));
        // SAFETY: each result has a product.
        unsafe { par::assemble(count * size, |c| Self::run(c, size, self.work(), &all, Beta::Zero, factors)) }
    }

    fn work(&self) -> usize {
        self.m * self.n * self.k
    }

    fn left<'a>(&self, a: &'a [f32], product: usize) -> Mat<'a> {
        Mat::stored(&a[self.a.index[product] * self.m * self.k..], self.m, self.k, self.ta)
    }

    fn right<'a>(&self, b: &'a [f32], product: usize) -> Mat<'a> {
        Mat::stored(&b[self.b.index[product] * self.k * self.n..], self.k, self.n, self.tb)
    }

    fn result<'a>(&self, c: &'a [f32], product: usize) -> Mat<'a> {
        Mat::new(&c[product * self.m * self.n..], self.m, self.n)
    }

    /// dA = dC·Bᵀ or dA += dC·Bᵀ, in the form in which A is stored.
    fn backward_left(&self, dc: &[f32], b: &[f32], da: &Shared<'_>, old: Beta) {
        Self::run(da, self.m * self.k, self.work(), &self.a, old, |i| {
            let (dc, b) = (self.result(dc, i), self.right(b, i));
            if self.ta { (b, dc.t()) } else { (dc, b.t()) }
        });
    }

    /// dB = Aᵀ·dC or dB += Aᵀ·dC, in the form in which B is stored.
    fn backward_right(&self, dc: &[f32], a: &[f32], db: &Shared<'_>, old: Beta) {
        Self::run(db, self.k * self.n, self.work(), &self.b, old, |i| {
            let (dc, a) = (self.result(dc, i), self.left(a, i));
            if self.tb { (dc.t(), a) } else { (a.t(), dc) }
        });
    }
}

/// A·B with NumPy broadcasting of the leading axes; `ta` and `tb` transpose the last two axes of a side.
pub(in crate::kernels) fn matmul(cx: &mut Context<f32, Cpu>, a: &F32, b: &F32, ta: bool, tb: bool) -> Result<F32> {
    let (plan, dims) = Plan::of(a.dims(), b.dims(), ta, tb).ok_or_else(|| {
        Error::Internal(format!("matrix product of {:?} and {:?} (transposed: {ta}, {tb})", a.dims(), b.dims()))
    })?;
    let values = plan.forward(a.as_slice(), b.as_slice());
    let (da, db) = (a.slot(), b.slot());
    // Each side is kept for the gradient of the other.
    let (a_kept, b_kept) = (db.is_some().then(|| a.detached()), da.is_some().then(|| b.detached()));
    cx.record(&[a, b], dims, values, move |dc, sink| {
        if let (Some(slot), Some(b)) = (da, b_kept) {
            // SAFETY: each matrix has a product, or all are filled with zeros.
            unsafe { par::write(sink, &slot, |da, old| plan.backward_left(&dc, b.as_slice(), da, old))? };
        }
        if let (Some(slot), Some(a)) = (db, a_kept) {
            // SAFETY: likewise.
            unsafe { par::write(sink, &slot, |db, old| plan.backward_right(&dc, a.as_slice(), db, old))? };
        }
        Ok(())
    })
}
