// Convolution as a matrix product over unfolded windows, depthwise convolution, pooling. Extents of up to three
// spatial axes; missing ones are 1.

struct Windows {
    u64 input[3], kernel[3], output[3], strides[3], dilations[3];
    i64 pads[3];
};

__device__ __forceinline__ INDEX product(const u64 *extents) {
    return (INDEX)extents[0] * (INDEX)extents[1] * (INDEX)extents[2];
}

// The coordinates of element i, row-major over `extents`.
__device__ __forceinline__ void coordinates(INDEX i, const u64 *extents, SIGNED *c) {
    INDEX inner = (INDEX)extents[2], middle = (INDEX)extents[1], rest = i / inner;
    c[2] = (SIGNED)(i - rest * inner);
    c[0] = (SIGNED)(rest / middle);
    c[1] = (SIGNED)(rest - (INDEX)c[0] * middle);
}

// The input coordinate under window element k of output coordinate o; negative in the padding.
__device__ __forceinline__ SIGNED under(const Windows &w, int axis, SIGNED o, SIGNED k) {
    SIGNED c = o * (SIGNED)w.strides[axis] + k * (SIGNED)w.dilations[axis] - (SIGNED)w.pads[axis];
    return c < (SIGNED)w.input[axis] ? c : -1;
}

// The output coordinate that window element k puts on input coordinate c, or -1.
template <bool dense>
__device__ __forceinline__ SIGNED covering(const Windows &w, int axis, SIGNED c, SIGNED k) {
    SIGNED o = c + (SIGNED)w.pads[axis] - (dense ? k : k * (SIGNED)w.dilations[axis]);
    SIGNED s = dense ? 1 : (SIGNED)w.strides[axis];
    if (o < 0) return -1;
    if (s != 1) {
        if (o % s) return -1;
        o /= s;
    }
    return o < (SIGNED)w.output[axis] ? o : -1;
}

// Calls f(window element, place) for each element of the window of i, which counts over `of`. The place counts over `extents`: it is
// where `reach` puts the element on each axis. Where that is nowhere, f is told -1 if it is called `everywhere`. Dense windows are of
// 3×3 neighbors, at every place: the compiler unrolls them.
template <bool everywhere, bool dense, class Reach, class F>
__device__ __forceinline__ void each_element(const Windows &w, INDEX i, const u64 *of, const u64 *extents, Reach reach, F f) {
    const SIGNED outer = dense ? 1 : (SIGNED)w.kernel[0], middle = dense ? 3 : (SIGNED)w.kernel[1];
    const SIGNED inner = dense ? 3 : (SIGNED)w.kernel[2];
    SIGNED c[3];
    coordinates(i, of, c);
#pragma unroll
    for (SIGNED k0 = 0; k0 < outer; k0++) {
        SIGNED p0 = reach(0, c[0], k0);
        if (!everywhere && p0 < 0) continue;
#pragma unroll
        for (SIGNED k1 = 0; k1 < middle; k1++) {
            SIGNED p1 = reach(1, c[1], k1), row = (p0 * (SIGNED)extents[1] + p1) * (SIGNED)extents[2];
            bool inside = p0 >= 0 && p1 >= 0;
            if (!everywhere && !inside) continue;
#pragma unroll
            for (SIGNED k2 = 0; k2 < inner; k2++) {
                SIGNED p2 = reach(2, c[2], k2);
                bool there = inside && p2 >= 0;
                if (everywhere || there) f((INDEX)((k0 * middle + k1) * inner + k2), there ? row + p2 : (SIGNED)-1);
            }
        }
    }
}

// f(window element, input element) for the window of output element o.
template <bool everywhere = false, class F>
__device__ __forceinline__ void each_under(const Windows &w, INDEX o, F f) {
    auto reach = [&](int axis, SIGNED c, SIGNED k) { return under(w, axis, c, k); };
    each_element<everywhere, false>(w, o, w.output, w.input, reach, f);
}

// f(window element, output element) for all windows that input element p lies in; for dense ones also -1.
template <bool dense = false, class F>
__device__ __forceinline__ void each_covering(const Windows &w, INDEX p, F f) {
    auto reach = [&](int axis, SIGNED c, SIGNED k) { return covering<dense>(w, axis, c, k); };
    each_element<dense, dense>(w, p, w.input, w.output, reach, f);
}

// Columns: element (c, k, n, o) of (channels, window, images, positions), the last two together `columns` wide; a thread for
// each (c, n, o).
extern "C" __global__ void unfold(const float *x, float *columns, INDEX n, INDEX channels, INDEX images, Windows w) {
    INDEX out = product(w.output), width = images * out, size = product(w.input), window = product(w.kernel);
    FOR_EACH(i, n) {
        INDEX c = i / width, column = i - c * width, image = column / out;
        const float *plane = x + (image * channels + c) * size;
        float *to = columns + c * window * width + column;
        each_under<true>(w, column - image * out, [&](INDEX k, SIGNED at) { to[k * width] = at < 0 ? 0.0f : plane[at]; });
    }
}

template <bool dense>
__device__ __forceinline__ void fold_windows(
    const float *columns, float *dx, INDEX n, INDEX channels, INDEX images, const Windows &w) {
    INDEX size = product(w.input), out = product(w.output), window = product(w.kernel), width = images * out;
    FOR_EACH(i, n) {
        INDEX plane = i / size, image = plane / channels, c = plane - image * channels;
        const float *from = columns + c * window * width + image * out;
        float sum = 0.0f;
        each_covering<dense>(w, i - plane * size, [&](INDEX k, SIGNED o) {
            // Without a branch nothing waits for what is read before.
            float v = from[k * width + (INDEX)(o < 0 ? 0 : o)];
            sum += o < 0 ? 0.0f : v;
        });
        dx[i] += sum;
    }
}

// The gradient of unfold: each input element sums up the windows that it lies in.
extern "C" __global__ void fold(const float *columns, float *dx, INDEX n, INDEX channels, INDEX images, Windows w) {
    fold_windows<false>(columns, dx, n, channels, images, w);
}

// The same for dense windows.
extern "C" __global__ void fold_dense(const float *columns, float *dx, INDEX n, INDEX channels, INDEX images, Windows w) {
    fold_windows<true>(columns, dx, n, channels, images, w);
}

// y(n, m, o) = f(product(m, n, o) + bias(m) + residual(n, m, o)); f by its code, -1 for none.
extern "C" __global__ void finish_product(
    const float *product, const float *bias, const float *residual, float *y, INDEX n, INDEX channels, INDEX images,
    INDEX size, int op, float a, float b) {
    FOR_EACH(i, n) {
        INDEX plane = i / size, image = plane / channels, m = plane - image * channels;
        float v = product[(m * images + image) * size + (i - plane * size)];
        if (bias) v += bias[m];
        if (residual) v += residual[i];
        y[i] = op < 0 ? v : unary_value(op, v, a, b);
    }
}

// (n, m, o) to (m, n, o).
extern "C" __global__ void channels_first(
    const float *dy, float *product, INDEX n, INDEX channels, INDEX images, INDEX size) {
    FOR_EACH(i, n) {
        INDEX plane = i / size, m = plane / images, image = plane - m * images;
        product[i] = dy[(image * channels + m) * size + (i - plane * size)];
    }
}

// One group a channel of x, `multiple` outputs each.
extern "C" __global__ void depthwise_forward(
    const float *x, const float *weight, const float *bias, const float *residual, float *y, INDEX n, INDEX channels,
    INDEX multiple, Windows w, int op, float a, float b) {
    INDEX out = product(w.output), outs = channels * multiple, size = product(w.input), window = product(w.kernel);
    FOR_EACH(i, n) {
        INDEX plane = i / out, image = plane / outs, m = plane - image * outs;
        const float *from = x + (image * channels + m / multiple) * size, *kernel = weight + m * window;
        float sum = bias ? bias[m] : 0.0f;
        each_under(w, i - plane * out, [&](INDEX k, SIGNED at) { sum += from[at] * kernel[k]; });
        if (residual) sum += residual[i];
        y[i] = op < 0 ? sum : unary_value(op, sum, a, b);
    }
}

extern "C" __global__ void depthwise_backward_data(
    const float *dy, const float *weight, float *dx, INDEX n, INDEX channels, INDEX multiple, Windows w) {
    INDEX size = product(w.input), out = product(w.output), window = product(w.kernel);
    FOR_EACH(i, n) {
        INDEX plane = i / size, c = plane % channels;
        // A channel's outputs lie beside each other, of a row and of the weights.
        const float *from = dy + plane * multiple * out, *kernel = weight + c * multiple * window;
        float sum = 0.0f;
        each_covering(w, i - plane * size, [&](INDEX k, SIGNED o) {
            for (INDEX j = 0; j < multiple; j++) sum += from[j * out + (INDEX)o] * kernel[j * window + k];
        });
        dx[i] += sum;
    }
}

// A block for each weight: blockIdx.x = m, blockIdx.y = window element.
extern "C" __global__ void depthwise_backward_weight(
    const float *dy, const float *x, float *dw, INDEX images, INDEX channels, INDEX multiple, Windows w) {
    INDEX out = product(w.output), size = product(w.input), window = product(w.kernel);
    INDEX m = blockIdx.x, c = m / multiple;
    SIGNED k[3], o[3];
    coordinates(blockIdx.y, w.kernel, k);
    float sum = 0.0f;
    for (INDEX i = threadIdx.x; i < images * out; i += blockDim.x) {
        INDEX image = i / out, at = i - image * out;
        coordinates(at, w.output, o);
        SIGNED p0 = under(w, 0, o[0], k[0]), p1 = under(w, 1, o[1], k[1]), p2 = under(w, 2, o[2], k[2]);
        if (p0 < 0 || p1 < 0 || p2 < 0) continue;
        INDEX p = ((INDEX)p0 * (INDEX)w.input[1] + (INDEX)p1) * (INDEX)w.input[2] + (INDEX)p2;
        sum += dy[(image * channels * multiple + m) * out + at] * x[(image * channels + c) * size + p];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) dw[m * window + blockIdx.y] += sum;
}

// The largest element of each window, and where in its plane the first such lies.
extern "C" __global__ void max_pool_forward(const float *x, float *y, unsigned int *where, INDEX n, Windows w) {
    INDEX out = product(w.output), size = product(w.input);
    FOR_EACH(i, n) {
        INDEX plane = i / out;
        const float *from = x + plane * size;
        float best = -__int_as_float(0x7f800000);
        unsigned int best_at = 0xffffffffu;
        each_under(w, i - plane * out, [&](INDEX, SIGNED at) {
            float e = from[at];
            if (best_at == 0xffffffffu || e > best || (e != e && best == best)) {
                best = e;
                best_at = (unsigned int)at;
            }
        });
        y[i] = best;
        where[i] = best_at;
    }
}

// Gradient of pooling: `where` for the largest element, or else `shares`, what each window of a plane divides by.
extern "C" __global__ void pool_backward(
    const float *dy, const unsigned int *where, const float *shares, float *dx, INDEX n, Windows w) {
    INDEX size = product(w.input), out = product(w.output);
    FOR_EACH(i, n) {
        INDEX plane = i / size, p = i - plane * size;
        float sum = 0.0f;
        each_covering(w, p, [&](INDEX, SIGNED o) {
            INDEX at = plane * out + (INDEX)o;
            if (where ? where[at] == p : true) sum += where ? dy[at] : dy[at] * shares[o];
        });
        dx[i] += sum;
    }
}

extern "C" __global__ void avg_pool_forward(const float *x, const float *shares, float *y, INDEX n, Windows w) {
    INDEX out = product(w.output), size = product(w.input);
    FOR_EACH(i, n) {
        INDEX plane = i / out, o = i - plane * out;
        const float *from = x + plane * size;
        float sum = 0.0f;
        each_under(w, o, [&](INDEX, SIGNED at) { sum += from[at]; });
        y[i] = sum * shares[o];
    }
}
