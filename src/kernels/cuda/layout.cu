// Elements in another order, repeated, left out or joined; sums over axes.

extern "C" __global__ void read_view(const float *x, float *y, u64 n, View view, float scale, int add) {
    FOR_EACH(i, n) {
        float v = scale * x[at(view, (INDEX)i)];
        y[i] = add ? y[i] + v : v;
    }
}

extern "C" __global__ void write_view(const float *x, float *y, u64 n, View view, int add) {
    FOR_EACH(i, n) {
        i64 o = at(view, (INDEX)i);
        y[o] = add ? y[o] + x[i] : x[i];
    }
}

// out(o, j, i) = x(o, indices(j), i) with extents (outer, count, inner) and (outer, axis, inner).
extern "C" __global__ void gather_rows(
    const float *x, const unsigned int *indices, float *y, u64 n, u64 axis, u64 count, u64 inner) {
    FOR_EACH(i, n) {
        INDEX r = (INDEX)(i / inner), c = (INDEX)(i - (u64)r * inner), o = r / (INDEX)count, j = r - o * (INDEX)count;
        y[i] = x[((u64)o * axis + indices[j]) * inner + c];
    }
}

// The gradient of gather_rows: row a of x has been read by the positions order[starts[a]..starts[a + 1]].
extern "C" __global__ void gather_rows_backward(
    const float *dy, const unsigned int *starts, const unsigned int *order, float *dx, u64 n, u64 axis, u64 count,
    u64 inner) {
    FOR_EACH(i, n) {
        INDEX r = (INDEX)(i / inner), c = (INDEX)(i - (u64)r * inner), o = r / (INDEX)axis, a = r - o * (INDEX)axis;
        unsigned int from = starts[a], to = starts[a + 1];
        if (from == to) continue;
        float sum = 0.0f;
        for (unsigned int k = from; k < to; k++) sum += dy[((u64)o * count + order[k]) * inner + c];
        dx[i] += sum;
    }
}

// Sums of `count` elements for each of `outs` results, in `gridDim.y` parts: partial sums, part by part. A block of
// (32, 8): neighbouring threads take neighbouring results.
extern "C" __global__ void sum_columns(
    const float *x, float *y, u64 outs, u64 count, View kept, View reduced, float scale, int add) {
    __shared__ float parts[8][33];
    u64 part = (count + gridDim.y - 1) / gridDim.y, from = blockIdx.y * part;
    u64 to = from + part < count ? from + part : count;
    for (u64 first = (u64)blockIdx.x * 32; first < outs; first += (u64)gridDim.x * 32) {
        u64 o = first + threadIdx.x;
        float sum = 0.0f;
        if (o < outs) {
            const float *base = x + at(kept, (INDEX)o);
            for (u64 r = from + threadIdx.y; r < to; r += 8) sum += base[at(reduced, (INDEX)r)];
        }
        parts[threadIdx.y][threadIdx.x] = sum;
        __syncthreads();
        if (threadIdx.y == 0 && o < outs) {
            for (int k = 1; k < 8; k++) sum += parts[k][threadIdx.x];
            float *to_y = y + blockIdx.y * outs + o;
            *to_y = add ? *to_y + scale * sum : scale * sum;
        }
        __syncthreads();
    }
}

// The same with a block of 256 for each result: neighbouring threads take neighbouring terms.
extern "C" __global__ void sum_rows(
    const float *x, float *y, u64 outs, u64 count, View kept, View reduced, float scale, int add) {
    u64 part = (count + gridDim.y - 1) / gridDim.y, from = blockIdx.y * part;
    u64 to = from + part < count ? from + part : count;
    for (u64 o = blockIdx.x; o < outs; o += gridDim.x) {
        const float *base = x + at(kept, (INDEX)o);
        float sum = 0.0f;
        for (u64 r = from + threadIdx.x; r < to; r += blockDim.x) sum += base[at(reduced, (INDEX)r)];
        sum = block_sum(sum);
        if (threadIdx.x == 0) {
            float *to_y = y + blockIdx.y * outs + o;
            *to_y = add ? *to_y + scale * sum : scale * sum;
        }
    }
}
