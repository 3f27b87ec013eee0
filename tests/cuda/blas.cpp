// libcublas.so.13: the functions of cuBLAS that this program and dfdx call.

#include "driver.h"

#include <cstdint>
#include <cstring>
#include <vector>

namespace {

enum { SUCCESS = 0, INVALID_VALUE = 7 };
constexpr unsigned TF32 = 3; // CUBLAS_TF32_TENSOR_OP_MATH

struct Handle {
    void *stream = nullptr;
    unsigned math = 0;
};

// The nearest number with ten bits of mantissa, as a tensor core takes it.
float rounded(float x) {
    uint32_t word;
    std::memcpy(&word, &x, sizeof word);
    if ((word & 0x7f800000) != 0x7f800000) word = (word + 0x0fff + ((word >> 13) & 1)) & ~0x1fffu;
    std::memcpy(&x, &word, sizeof x);
    return x;
}

// The columns of op(x), rows by columns, one after the other.
template <class T> std::vector<T> columns(const T *x, bool transposed, int64_t rows, int64_t cols, int64_t ld, bool tf32) {
    std::vector<T> out(size_t(rows * cols));
    for (int64_t j = 0; j < cols; j++)
        for (int64_t i = 0; i < rows; i++) {
            T value = transposed ? x[i * ld + j] : x[j * ld + i];
            out[size_t(j * rows + i)] = tf32 ? T(rounded(float(value))) : value;
        }
    return out;
}

// c = alpha * op(a) * op(b) + beta * c, all column by column.
template <class T>
void product(bool ta, bool tb, int64_t m, int64_t n, int64_t k, T alpha, const T *a, int64_t lda, const T *b, int64_t ldb, T beta, T *c,
             int64_t ldc, bool tf32) {
    auto left = columns(a, ta, m, k, lda, tf32), right = columns(b, tb, k, n, ldb, tf32);
    std::vector<T> sums(static_cast<size_t>(m));
    for (int64_t j = 0; j < n; j++) {
        std::fill(sums.begin(), sums.end(), T(0));
        for (int64_t p = 0; p < k; p++) {
            T factor = right[size_t(j * k + p)];
            const T *column = left.data() + p * m;
            for (int64_t i = 0; i < m; i++) sums[size_t(i)] += column[i] * factor;
        }
        // What beta is zero for may be anything before.
        for (int64_t i = 0; i < m; i++) c[j * ldc + i] = alpha * sums[size_t(i)] + (beta == 0 ? T(0) : beta * c[j * ldc + i]);
    }
}

template <class T>
int strided(void *handle, unsigned ta, unsigned tb, int m, int n, int k, const T *alpha, const T *a, int lda, long long sa, const T *b,
            int ldb, long long sb, const T *beta, T *c, int ldc, long long sc, int count) {
    if (m < 0 || n < 0 || k < 0 || count < 0 || lda < std::max(1, ta ? k : m) || ldb < std::max(1, tb ? n : k) || ldc < std::max(1, m))
        return INVALID_VALUE;
    auto *h = static_cast<Handle *>(handle);
    bool tf32 = h->math == TF32 && sizeof(T) == sizeof(float);
    enqueue(h->stream, [=, alpha = *alpha, beta = *beta] {
        for (long long i = 0; i < count; i++)
            product<T>(ta, tb, m, n, k, alpha, a + i * sa, lda, b + i * sb, ldb, beta, c + i * sc, ldc, tf32);
    });
    return SUCCESS;
}

// y = alpha * op(a) * x + beta * y with a of m rows.
template <class T>
int vector(void *handle, unsigned t, int m, int n, const T *alpha, const T *a, int lda, const T *x, int incx, const T *beta, T *y, int incy) {
    auto *h = static_cast<Handle *>(handle);
    enqueue(h->stream, [=, alpha = *alpha, beta = *beta] {
        int64_t rows = t ? n : m, terms = t ? m : n;
        for (int64_t i = 0; i < rows; i++) {
            T sum = 0;
            for (int64_t p = 0; p < terms; p++) sum += (t ? a[i * lda + p] : a[p * lda + i]) * x[p * incx];
            y[i * incy] = alpha * sum + (beta == 0 ? T(0) : beta * y[i * incy]);
        }
    });
    return SUCCESS;
}

} // namespace

extern "C" {

int cublasCreate_v2(void **handle) { return *handle = new Handle, SUCCESS; }
int cublasDestroy_v2(void *handle) { return delete static_cast<Handle *>(handle), SUCCESS; }
int cublasGetVersion_v2(void *, int *version) { return *version = 130000, SUCCESS; }
int cublasSetStream_v2(void *handle, void *stream) { return static_cast<Handle *>(handle)->stream = stream, SUCCESS; }
int cublasSetMathMode(void *handle, unsigned mode) { return static_cast<Handle *>(handle)->math = mode, SUCCESS; }
int cublasSetWorkspace_v2(void *, void *, size_t) { return SUCCESS; }

#define FUNCTIONS(T, L)                                                                                                              \
    int cublas##L##gemm_v2(void *h, unsigned ta, unsigned tb, int m, int n, int k, const T *alpha, const T *a, int lda, const T *b,  \
                           int ldb, const T *beta, T *c, int ldc) {                                                                  \
        return strided<T>(h, ta, tb, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1);                                      \
    }                                                                                                                                \
    int cublas##L##gemmStridedBatched(void *h, unsigned ta, unsigned tb, int m, int n, int k, const T *alpha, const T *a, int lda,   \
                                      long long sa, const T *b, int ldb, long long sb, const T *beta, T *c, int ldc, long long sc,   \
                                      int count) {                                                                                   \
        return strided<T>(h, ta, tb, m, n, k, alpha, a, lda, sa, b, ldb, sb, beta, c, ldc, sc, count);                               \
    }                                                                                                                                \
    int cublas##L##gemv_v2(void *h, unsigned t, int m, int n, const T *alpha, const T *a, int lda, const T *x, int incx,             \
                           const T *beta, T *y, int incy) {                                                                          \
        return vector<T>(h, t, m, n, alpha, a, lda, x, incx, beta, y, incy);                                                         \
    }

FUNCTIONS(float, S)
FUNCTIONS(double, D)

} // extern "C"
