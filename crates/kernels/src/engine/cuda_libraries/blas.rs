//! cuBLAS's functions.
#![allow(non_snake_case)]

use super::loaded::{Library, Ptr, answer, answer_of_release, forward};
use std::{
    ffi::{c_int, c_longlong, c_uint, c_void},
    sync::atomic::AtomicPtr,
};

/// `CUBLAS_STATUS_NOT_INITIALIZED`.
const NOT_INITIALIZED: c_int = 1;

/// Elements, or a factor, of a type that the function's name or another argument tells.
type In = *const c_void;

forward! { Library::Blas, missing NOT_INITIALIZED, answer;
    cublasCreate_v2(handle: *mut Ptr);
    cublasGetVersion_v2(handle: Ptr, version: *mut c_int);
    cublasSetStream_v2(handle: Ptr, stream: Ptr);
    cublasSetWorkspace_v2(handle: Ptr, workspace: Ptr, bytes: usize);
    cublasSetMathMode(handle: Ptr, mode: c_uint);
    cublasSgemv_v2(handle: Ptr, t: c_uint, m: c_int, n: c_int, alpha: In, a: In, lda: c_int, x: In, incx: c_int, beta: In, y: Ptr, incy: c_int);
    cublasDgemv_v2(handle: Ptr, t: c_uint, m: c_int, n: c_int, alpha: In, a: In, lda: c_int, x: In, incx: c_int, beta: In, y: Ptr, incy: c_int);
    cublasSgemm_v2(handle: Ptr, ta: c_uint, tb: c_uint, m: c_int, n: c_int, k: c_int, alpha: In, a: In, lda: c_int, b: In, ldb: c_int, beta: In, c: Ptr, ldc: c_int);
    cublasDgemm_v2(handle: Ptr, ta: c_uint, tb: c_uint, m: c_int, n: c_int, k: c_int, alpha: In, a: In, lda: c_int, b: In, ldb: c_int, beta: In, c: Ptr, ldc: c_int);
    cublasSgemmBatched(handle: Ptr, ta: c_uint, tb: c_uint, m: c_int, n: c_int, k: c_int, alpha: In, a: In, lda: c_int, b: In, ldb: c_int, beta: In, c: In, ldc: c_int, count: c_int);
    cublasSgemmStridedBatched(handle: Ptr, ta: c_uint, tb: c_uint, m: c_int, n: c_int, k: c_int, alpha: In, a: In, lda: c_int, sa: c_longlong, b: In, ldb: c_int, sb: c_longlong, beta: In, c: Ptr, ldc: c_int, sc: c_longlong, count: c_int);
    cublasDgemmStridedBatched(handle: Ptr, ta: c_uint, tb: c_uint, m: c_int, n: c_int, k: c_int, alpha: In, a: In, lda: c_int, sa: c_longlong, b: In, ldb: c_int, sb: c_longlong, beta: In, c: Ptr, ldc: c_int, sc: c_longlong, count: c_int);
    cublasGemmEx(handle: Ptr, ta: c_uint, tb: c_uint, m: c_int, n: c_int, k: c_int, alpha: In, a: In, type_a: c_uint, lda: c_int, b: In, type_b: c_uint, ldb: c_int, beta: In, c: Ptr, type_c: c_uint, ldc: c_int, compute: c_uint, algorithm: c_int);
    cublasGemmStridedBatchedEx(handle: Ptr, ta: c_uint, tb: c_uint, m: c_int, n: c_int, k: c_int, alpha: In, a: In, type_a: c_uint, lda: c_int, sa: c_longlong, b: In, type_b: c_uint, ldb: c_int, sb: c_longlong, beta: In, c: Ptr, type_c: c_uint, ldc: c_int, sc: c_longlong, count: c_int, compute: c_uint, algorithm: c_int);
}

forward! { Library::Blas, missing NOT_INITIALIZED, answer_of_release;
    cublasDestroy_v2(handle: Ptr);
}
