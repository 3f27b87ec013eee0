// Elements in another order, repeated, left out or joined; sums over axes.

extern "C" __global__ void read_view(const float *x, float *y, INDEX n, View view, float scale, int add) {
    FOR_EACH(i, n) {
        float v = scale * x[at(view, i)];
        y[i] = add ? y[i] + v : v;
    }
}

extern "C" __global__ void write_view(const float *x, float *y, INDEX n, View view, float scale, int add) {
    FOR_EACH(i, n) {
        float v = scale * x[i];
        i64 o = at(view, i);
        y[o] = add ? y[o] + v : v;
    }
}

// The same of four elements at a time that lie beside each other.
__device__ __forceinline__ void put(float4 &y, float4 x, float scale, int add) {
    x = make_float4(scale * x.x, scale * x.y, scale * x.z, scale * x.w);
    y = add ? make_float4(y.x + x.x, y.y + x.y, y.z + x.z, y.w + x.w) : x;
}

extern "C" __global__ void read_view_of_four(const float4 *x, float4 *y, INDEX n, View view, float scale, int add) {
    FOR_EACH(i, n) put(y[i], x[at(view, i)], scale, add);
}

extern "C" __global__ void write_view_of_four(const float4 *x, float4 *y, INDEX n, View view, float scale, int add) {
    FOR_EACH(i, n) put(y[at(view, i)], x[i], scale, add);
}

// out(o, j, i) = x(o, indices(j), i) with extents (outer, count, inner) and (outer, axis, inner).
extern "C" __global__ void gather_rows(
    const float *x, const unsigned int *indices, float *y, INDEX n, INDEX axis, INDEX count, INDEX inner) {
    FOR_EACH(i, n) {
        INDEX r = i / inner, c = i - r * inner, o = r / count, j = r - o * count;
        y[i] = x[(o * axis + indices[j]) * inner + c];
    }
}

// The gradient of gather_rows: row a of x has been read by the positions order[starts[a]..starts[a + 1]].
extern "C" __global__ void gather_rows_backward(
    const float *dy, const unsigned int *starts, const unsigned int *order, float *dx, INDEX n, INDEX axis, INDEX count,
    INDEX inner) {
    FOR_EACH(i, n) {
        INDEX r = i / inner, c = i - r * inner, o = r / axis, a = r - o * axis;
        unsigned int from = starts[a], to = starts[a + 1];
        if (from == to) continue;
        float sum = 0.0f;
        for (unsigned int k = from; k < to; k++) sum += dy[(o * count + order[k]) * inner + c];
        dx[i] += sum;
    }
}

// Sums over the parts of x, `outs` elements each.
extern "C" __global__ void sum_parts(const float *x, float *y, INDEX outs, INDEX parts, float scale, int add) {
    FOR_EACH(o, outs) {
        float sum = 0.0f;
        for (INDEX p = 0; p < parts; p++) sum += x[p * outs + o];
        y[o] = add ? y[o] + scale * sum : scale * sum;
    }
}

// Sums of `count` elements for each of `outs` results, in `gridDim.y` parts: partial sums, part by part. A block of
// (32, 8): neighboring threads take neighboring results.
extern "C" __global__ void sum_columns(
    const float *x, float *y, INDEX outs, INDEX count, View kept, View reduced, float scale, int add) {
    __shared__ float parts[8][33];
    INDEX part = (count + gridDim.y - 1) / gridDim.y, from = blockIdx.y * part;
    INDEX to = from + part < count ? from + part : count;
    for (INDEX first = (INDEX)blockIdx.x * 32; first < outs; first += (INDEX)gridDim.x * 32) {
        INDEX o = first + threadIdx.x;
        float sum = 0.0f;
        if (o < outs) {
            const float *base = x + at(kept, o);
            for (INDEX r = from + threadIdx.y; r < to; r += 8) sum += base[at(reduced, r)];
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

// The same with a block of 256 for each result: neighboring threads take neighboring terms.
extern "C" __global__ void sum_rows(
    const float *x, float *y, INDEX outs, INDEX count, View kept, View reduced, float scale, int add) {
    INDEX part = (count + gridDim.y - 1) / gridDim.y, from = blockIdx.y * part;
    INDEX to = from + part < count ? from + part : count;
    for (INDEX o = blockIdx.x; o < outs; o += gridDim.x) {
        const float *base = x + at(kept, o);
        float sum = 0.0f;
        for (INDEX r = from + threadIdx.x; r < to; r += blockDim.x) sum += base[at(reduced, r)];
        sum = block_sum(sum);
        if (threadIdx.x == 0) {
            float *to_y = y + blockIdx.y * outs + o;
            *to_y = add ? *to_y + scale * sum : scale * sum;
        }
    }
}
