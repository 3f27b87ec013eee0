// What the kernels share. INDEX is unsigned int, and SIGNED int, where every tensor of a launch has fewer than 2^31
// elements and no window reaches beyond, else unsigned long long and long long; the module is compiled once for each.
// A 64-bit division costs a kernel more than its memory does.

typedef unsigned long long u64;
typedef long long i64;

// A tensor read, or written, in another order: element i, row-major over `dims`, lies at offset + sum of i_a * strides_a.
struct View {
    u64 rank;
    u64 dims[8];
    i64 strides[8];
    i64 offset;
};

// Two operands that broadcast to `dims`.
struct Pair {
    u64 rank;
    u64 dims[8];
    i64 a[8];
    i64 b[8];
};

__device__ __forceinline__ i64 at(const View &v, INDEX i) {
    i64 o = v.offset;
    for (int axis = (int)v.rank - 1; axis > 0; axis--) {
        INDEX d = (INDEX)v.dims[axis], q = i / d;
        o += (i64)(i - q * d) * v.strides[axis];
        i = q;
    }
    return v.rank ? o + (i64)i * v.strides[0] : o;
}

__device__ __forceinline__ void at(const Pair &p, INDEX i, i64 &a, i64 &b) {
    a = 0;
    b = 0;
    for (int axis = (int)p.rank - 1; axis > 0; axis--) {
        INDEX d = (INDEX)p.dims[axis], q = i / d, r = i - q * d;
        a += (i64)r * p.a[axis];
        b += (i64)r * p.b[axis];
        i = q;
    }
    if (p.rank) {
        a += (i64)i * p.a[0];
        b += (i64)i * p.b[0];
    }
}

#define FOR_EACH(i, n) \
    for (INDEX i = (INDEX)blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += (INDEX)gridDim.x * blockDim.x)

__device__ __forceinline__ float warp_sum(float x) {
    for (int d = 16; d; d >>= 1) x += __shfl_xor_sync(0xffffffffu, x, d);
    return x;
}

__device__ __forceinline__ float warp_max(float x) {
    for (int d = 16; d; d >>= 1) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, d));
    return x;
}

// The sum over a block of up to 1024 threads (a multiple of 32), known to all of them.
__device__ __forceinline__ float block_sum(float x) {
    __shared__ float parts[32];
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    x = warp_sum(x);
    __syncthreads();
    if (lane == 0) parts[warp] = x;
    __syncthreads();
    return warp_sum(lane < warps ? parts[lane] : 0.0f);
}
