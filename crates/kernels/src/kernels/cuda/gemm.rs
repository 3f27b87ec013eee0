//! Products of matrices in memory, by cuBLAS; long sums in parts.

use super::{
    gpu::{Gpu, Scratch, shifted, too_large},
    sum::sum_parts,
};
use crate::engine::{Address, Precision};
use cudarc::cublas::{result as cublas, sys as cublas_sys};
use dfdx::tensor::CudaError;

/// A factor of a matrix product: where it lies, and whether as its transpose.
#[derive(Clone, Copy)]
pub(super) struct Factor {
    pub address: Address,
    pub transposed: bool,
}

/// The factors and the result of a product.
struct Factors {
    a: Factor,
    b: Factor,
    c: Address,
    /// Columns of the stored a, and rows of the stored b.
    all: usize,
}

/// How many products, and how far apart their factors and results lie.
#[derive(Clone, Copy)]
pub(super) struct Batch {
    pub count: usize,
    pub a: usize,
    pub b: usize,
    pub c: usize,
}

/// Rows and columns of the part of a result that a block of threads computes, about.
const TILE: usize = 128;
/// Blocks that keep a GPU busy.
const ENOUGH: usize = 256;
/// Terms of a sum below which it is not worth being cut.
const LEAST: usize = 512;

/// Into how many parts the sum of k terms is cut in a product with an (m, n) result: so many that a small result of long sums, as
/// the gradient of a weight is, keeps the GPU busy.
fn parts([m, n, k]: [usize; 3]) -> usize {
    let tiles = m.div_ceil(TILE) * n.div_ceil(TILE);
    (ENOUGH / tiles.max(1)).min(k / LEAST).max(1)
}

impl Gpu {
    /// Row-major products, one for each of `batch.count`: c = a·b + `old`·c with a (m, k) and b (k, n), or their
    /// transposes as they are stored; `old` is 0 or 1.
    ///
    /// # Errors
    /// cuBLAS's error; CUDA's if an extent is beyond 32 bits, or the GPU has no room for partial sums.
    pub fn gemm(
        &self,
        a: Factor,
        b: Factor,
        c: Address,
        mnk: [usize; 3],
        old: f32,
        batch: Batch,
    ) -> Result<(), CudaError> {
        let [m, n, k] = mnk;
        let parts = if batch.count == 1 { parts(mnk) } else { 1 };
        if parts == 1 {
            return self.products(Factors { a, b, c, all: k }, mnk, old, batch);
        }
        // Four terms have 16 bytes, from which cuBLAS's faster kernels want to start.
        let (each, size) = (k / parts / 4 * 4, m * n);
        let (step_a, step_b) = (if a.transposed { m } else { 1 }, if b.transposed { 1 } else { n });
        let sums = Scratch::on(&self.device, parts * size)?;
        let cut = Batch { count: parts, a: each * step_a, b: each * step_b, c: size };
        self.products(Factors { a, b, c: sums.address(), all: k }, [m, n, each], 0.0, cut)?;
        sum_parts(self, sums.address(), c, size, parts, 1.0, old != 0.0)?;
        let done = parts * each;
        let left = k - done;
        if left == 0 {
            return Ok(());
        }
        let rest = |f: Factor, step| Factor { address: shifted(f.address, done * step), ..f };
        self.products(Factors { a: rest(a, step_a), b: rest(b, step_b), c, all: k }, [m, n, left], 1.0, batch)
    }

    /// The same, of k of the columns of the stored a and rows of the stored b.
    fn products(
        &self,
        Factors { a, b, c, all }: Factors,
        [m, n, k]: [usize; 3],
        old: f32,
        batch: Batch,
    ) -> Result<(), CudaError> {
        use cublas_sys::{cublasMath_t as Math, cublasOperation_t as Op};
        let op = |transposed| if transposed { Op::CUBLAS_OP_T } else { Op::CUBLAS_OP_N };
        // cuBLAS counts column by column: to it these are transposes, and cᵀ = bᵀ·aᵀ.
        let lda = if a.transposed { m } else { all };
        let ldb = if b.transposed { all } else { n };
        let one = 1.0_f32;
        let int = |x: usize| i32::try_from(x).map_err(|_| too_large());
        let (m32, n32, k32) = (int(m)?, int(n)?, int(k)?);
        let math = match Precision::now() {
            Precision::Tf32 => Math::CUBLAS_TF32_TENSOR_OP_MATH,
            Precision::F32 => Math::CUBLAS_DEFAULT_MATH,
        };
        self.device.bind_to_thread()?;
        // SAFETY: as for kernels; the handle is live.
        unsafe {
            cublas_sys::cublasSetMathMode(*self.blas.handle(), math).result()?;
            cublas::sgemm_strided_batched(
                *self.blas.handle(),
                op(b.transposed),
                op(a.transposed),
                n32,
                m32,
                k32,
                &one,
                b.address.0 as *const f32,
                int(ldb)?,
                batch.b as i64,
                a.address.0 as *const f32,
                int(lda)?,
                batch.a as i64,
                &old,
                c.0 as *mut f32,
                n32,
                batch.c as i64,
                int(batch.count)?,
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn small_results_of_long_sums_are_cut() {
        assert_eq!(parts([64, 576, 105_000]), 51);
        assert_eq!(parts([64, 105_000, 576]), 1);
        assert_eq!(parts([256, 256, 1_000]), 1);
        assert_eq!(parts([1, 1, 0]), 1);
    }
}
