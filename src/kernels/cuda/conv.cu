// Convolution as a matrix product over unfolded windows, depthwise convolution, pooling. Extents of up to three
// spatial axes; missing ones are 1.

struct Windows {
    u64 input[3], kernel[3], output[3], strides[3], dilations[3];
    i64 pads[3];
};

// Columns: element (c, k, n, o) of (channels, window, images, positions), the last two together `columns` wide.
extern "C" __global__ void unfold(const float *x, float *columns, u64 n, u64 channels, u64 images, Windows w) {
    INDEX out = (INDEX)(w.output[0] * w.output[1] * w.output[2]), window = (INDEX)(w.kernel[0] * w.kernel[1] * w.kernel[2]);
    INDEX width = (INDEX)images * out;
    u64 size = w.input[0] * w.input[1] * w.input[2];
    FOR_EACH(i, n) {
        INDEX row = (INDEX)(i / width), column = (INDEX)(i - (u64)row * width);
        INDEX image = column / out, o = column - image * out, c = row / window, k = row - c * window;
        INDEX o2 = o % (INDEX)w.output[2], o1 = o / (INDEX)w.output[2] % (INDEX)w.output[1];
        INDEX o0 = o / (INDEX)w.output[2] / (INDEX)w.output[1];
        INDEX k2 = k % (INDEX)w.kernel[2], k1 = k / (INDEX)w.kernel[2] % (INDEX)w.kernel[1];
        INDEX k0 = k / (INDEX)w.kernel[2] / (INDEX)w.kernel[1];
        i64 z = (i64)(o0 * w.strides[0] + k0 * w.dilations[0]) - w.pads[0];
        i64 y = (i64)(o1 * w.strides[1] + k1 * w.dilations[1]) - w.pads[1];
        i64 v = (i64)(o2 * w.strides[2] + k2 * w.dilations[2]) - w.pads[2];
        bool inside = z >= 0 && z < (i64)w.input[0] && y >= 0 && y < (i64)w.input[1] && v >= 0 && v < (i64)w.input[2];
        columns[i] = inside ? x[((u64)image * channels + c) * size + (z * w.input[1] + y) * w.input[2] + v] : 0.0f;
    }
}

// The output position that window element k puts on input coordinate c, or -1.
__device__ __forceinline__ i64 covering(const Windows &w, int axis, i64 c, i64 k) {
    i64 o = c + w.pads[axis] - k * (i64)w.dilations[axis];
    i64 s = (i64)w.strides[axis];
    if (o < 0) return -1;
    if (s != 1) {
        if (o % s) return -1;
        o /= s;
    }
    return o < (i64)w.output[axis] ? o : -1;
}

// The gradient of unfold: each input element sums up the windows that it lies in.
extern "C" __global__ void fold(const float *columns, float *dx, u64 n, u64 channels, u64 images, Windows w) {
    INDEX size = (INDEX)(w.input[0] * w.input[1] * w.input[2]);
    u64 out = w.output[0] * w.output[1] * w.output[2], window = w.kernel[0] * w.kernel[1] * w.kernel[2];
    u64 width = images * out;
    FOR_EACH(i, n) {
        INDEX plane = (INDEX)(i / size), p = (INDEX)(i - (u64)plane * size);
        INDEX image = plane / (INDEX)channels, c = plane - image * (INDEX)channels;
        INDEX p2 = p % (INDEX)w.input[2], p1 = p / (INDEX)w.input[2] % (INDEX)w.input[1];
        INDEX p0 = p / (INDEX)w.input[2] / (INDEX)w.input[1];
        float sum = 0.0f;
        for (i64 k0 = 0; k0 < (i64)w.kernel[0]; k0++) {
            i64 o0 = covering(w, 0, p0, k0);
            if (o0 < 0) continue;
            for (i64 k1 = 0; k1 < (i64)w.kernel[1]; k1++) {
                i64 o1 = covering(w, 1, p1, k1);
                if (o1 < 0) continue;
                for (i64 k2 = 0; k2 < (i64)w.kernel[2]; k2++) {
                    i64 o2 = covering(w, 2, p2, k2);
                    if (o2 < 0) continue;
                    u64 k = (k0 * w.kernel[1] + k1) * w.kernel[2] + k2;
                    u64 o = (o0 * w.output[1] + o1) * w.output[2] + o2;
                    sum += columns[(c * window + k) * width + image * out + o];
                }
            }
        }
        dx[i] += sum;
    }
}

// y(n, m, o) = f(product(m, n, o) + bias(m) + residual(n, m, o)); f by its code, -1 for none.
extern "C" __global__ void finish_product(
    const float *product, const float *bias, const float *residual, float *y, u64 n, u64 channels, u64 images, u64 size,
    int op, float a, float b) {
    FOR_EACH(i, n) {
        INDEX plane = (INDEX)(i / size), o = (INDEX)(i - (u64)plane * size);
        INDEX image = plane / (INDEX)channels, m = plane - image * (INDEX)channels;
        float v = product[((u64)m * images + image) * size + o];
        if (bias) v += bias[m];
        if (residual) v += residual[i];
        y[i] = op < 0 ? v : unary_value(op, v, a, b);
    }
}

// (n, m, o) to (m, n, o).
extern "C" __global__ void channels_first(const float *dy, float *product, u64 n, u64 channels, u64 images, u64 size) {
    FOR_EACH(i, n) {
        INDEX plane = (INDEX)(i / size), o = (INDEX)(i - (u64)plane * size);
        INDEX m = plane / (INDEX)images, image = plane - m * (INDEX)images;
        product[i] = dy[((u64)image * channels + m) * size + o];
    }
}

// One group a channel of x, `multiple` outputs each.
extern "C" __global__ void depthwise_forward(
    const float *x, const float *weight, const float *bias, const float *residual, float *y, u64 n, u64 channels,
    u64 multiple, Windows w, int op, float a, float b) {
    INDEX out = (INDEX)(w.output[0] * w.output[1] * w.output[2]), outs = (INDEX)(channels * multiple);
    u64 size = w.input[0] * w.input[1] * w.input[2], window = w.kernel[0] * w.kernel[1] * w.kernel[2];
    FOR_EACH(i, n) {
        INDEX plane = (INDEX)(i / out), o = (INDEX)(i - (u64)plane * out), image = plane / outs, m = plane - image * outs;
        INDEX o2 = o % (INDEX)w.output[2], o1 = o / (INDEX)w.output[2] % (INDEX)w.output[1];
        INDEX o0 = o / (INDEX)w.output[2] / (INDEX)w.output[1];
        const float *plane_x = x + ((u64)image * channels + m / multiple) * size, *kernel = weight + (u64)m * window;
        float sum = bias ? bias[m] : 0.0f;
        for (i64 k0 = 0; k0 < (i64)w.kernel[0]; k0++) {
            i64 z = (i64)(o0 * w.strides[0] + k0 * w.dilations[0]) - w.pads[0];
            if (z < 0 || z >= (i64)w.input[0]) continue;
            for (i64 k1 = 0; k1 < (i64)w.kernel[1]; k1++) {
                i64 r = (i64)(o1 * w.strides[1] + k1 * w.dilations[1]) - w.pads[1];
                if (r < 0 || r >= (i64)w.input[1]) continue;
                for (i64 k2 = 0; k2 < (i64)w.kernel[2]; k2++) {
                    i64 v = (i64)(o2 * w.strides[2] + k2 * w.dilations[2]) - w.pads[2];
                    if (v < 0 || v >= (i64)w.input[2]) continue;
                    sum += plane_x[(z * w.input[1] + r) * w.input[2] + v] * kernel[(k0 * w.kernel[1] + k1) * w.kernel[2] + k2];
                }
            }
        }
        if (residual) sum += residual[i];
        y[i] = op < 0 ? sum : unary_value(op, sum, a, b);
    }
}

extern "C" __global__ void depthwise_backward_data(
    const float *dy, const float *weight, float *dx, u64 n, u64 channels, u64 multiple, Windows w) {
    INDEX size = (INDEX)(w.input[0] * w.input[1] * w.input[2]);
    u64 out = w.output[0] * w.output[1] * w.output[2], window = w.kernel[0] * w.kernel[1] * w.kernel[2];
    FOR_EACH(i, n) {
        INDEX plane = (INDEX)(i / size), p = (INDEX)(i - (u64)plane * size);
        INDEX image = plane / (INDEX)channels, c = plane - image * (INDEX)channels;
        INDEX p2 = p % (INDEX)w.input[2], p1 = p / (INDEX)w.input[2] % (INDEX)w.input[1];
        INDEX p0 = p / (INDEX)w.input[2] / (INDEX)w.input[1];
        float sum = 0.0f;
        for (i64 k0 = 0; k0 < (i64)w.kernel[0]; k0++) {
            i64 o0 = covering(w, 0, p0, k0);
            if (o0 < 0) continue;
            for (i64 k1 = 0; k1 < (i64)w.kernel[1]; k1++) {
                i64 o1 = covering(w, 1, p1, k1);
                if (o1 < 0) continue;
                for (i64 k2 = 0; k2 < (i64)w.kernel[2]; k2++) {
                    i64 o2 = covering(w, 2, p2, k2);
                    if (o2 < 0) continue;
                    u64 k = (k0 * w.kernel[1] + k1) * w.kernel[2] + k2, o = (o0 * w.output[1] + o1) * w.output[2] + o2;
                    for (u64 j = 0; j < multiple; j++) {
                        u64 m = c * multiple + j;
                        sum += dy[((u64)image * channels * multiple + m) * out + o] * weight[m * window + k];
                    }
                }
            }
        }
        dx[i] += sum;
    }
}

// A block for each weight: blockIdx.x = m, blockIdx.y = window element.
extern "C" __global__ void depthwise_backward_weight(
    const float *dy, const float *x, float *dw, u64 images, u64 channels, u64 multiple, Windows w) {
    INDEX out = (INDEX)(w.output[0] * w.output[1] * w.output[2]);
    u64 size = w.input[0] * w.input[1] * w.input[2], window = w.kernel[0] * w.kernel[1] * w.kernel[2];
    u64 m = blockIdx.x, k = blockIdx.y, c = m / multiple;
    i64 k2 = k % w.kernel[2], k1 = k / w.kernel[2] % w.kernel[1], k0 = k / w.kernel[2] / w.kernel[1];
    float sum = 0.0f;
    for (u64 i = threadIdx.x; i < images * out; i += blockDim.x) {
        INDEX image = (INDEX)i / out, o = (INDEX)i - image * out;
        INDEX o2 = o % (INDEX)w.output[2], o1 = o / (INDEX)w.output[2] % (INDEX)w.output[1];
        INDEX o0 = o / (INDEX)w.output[2] / (INDEX)w.output[1];
        i64 z = (i64)(o0 * w.strides[0] + k0 * w.dilations[0]) - w.pads[0];
        i64 y = (i64)(o1 * w.strides[1] + k1 * w.dilations[1]) - w.pads[1];
        i64 v = (i64)(o2 * w.strides[2] + k2 * w.dilations[2]) - w.pads[2];
        if (z < 0 || z >= (i64)w.input[0] || y < 0 || y >= (i64)w.input[1] || v < 0 || v >= (i64)w.input[2]) continue;
        sum += dy[((u64)image * channels * multiple + m) * out + o] *
            x[((u64)image * channels + c) * size + (z * w.input[1] + y) * w.input[2] + v];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) dw[m * window + k] += sum;
}

// The largest element of each window, and where in its plane the first such lies.
extern "C" __global__ void max_pool_forward(const float *x, float *y, unsigned int *where, u64 n, Windows w) {
    INDEX out = (INDEX)(w.output[0] * w.output[1] * w.output[2]);
    u64 size = w.input[0] * w.input[1] * w.input[2];
    FOR_EACH(i, n) {
        INDEX plane = (INDEX)(i / out), o = (INDEX)(i - (u64)plane * out);
        INDEX o2 = o % (INDEX)w.output[2], o1 = o / (INDEX)w.output[2] % (INDEX)w.output[1];
        INDEX o0 = o / (INDEX)w.output[2] / (INDEX)w.output[1];
        const float *p = x + (u64)plane * size;
        float best = -__int_as_float(0x7f800000);
        unsigned int best_at = 0xffffffffu;
        for (i64 k0 = 0; k0 < (i64)w.kernel[0]; k0++) {
            i64 z = (i64)(o0 * w.strides[0] + k0 * w.dilations[0]) - w.pads[0];
            if (z < 0 || z >= (i64)w.input[0]) continue;
            for (i64 k1 = 0; k1 < (i64)w.kernel[1]; k1++) {
                i64 r = (i64)(o1 * w.strides[1] + k1 * w.dilations[1]) - w.pads[1];
                if (r < 0 || r >= (i64)w.input[1]) continue;
                for (i64 k2 = 0; k2 < (i64)w.kernel[2]; k2++) {
                    i64 v = (i64)(o2 * w.strides[2] + k2 * w.dilations[2]) - w.pads[2];
                    if (v < 0 || v >= (i64)w.input[2]) continue;
                    u64 at = (z * w.input[1] + r) * w.input[2] + v;
                    float e = p[at];
                    if (best_at == 0xffffffffu || e > best || (e != e && best == best)) {
                        best = e;
                        best_at = (unsigned int)at;
                    }
                }
            }
        }
        y[i] = best;
        where[i] = best_at;
    }
}

// Gradient of pooling: `where` for the largest element, or else `shares`, what each window of a plane divides by.
extern "C" __global__ void pool_backward(
    const float *dy, const unsigned int *where, const float *shares, float *dx, u64 n, Windows w) {
    INDEX size = (INDEX)(w.input[0] * w.input[1] * w.input[2]);
    u64 out = w.output[0] * w.output[1] * w.output[2];
    FOR_EACH(i, n) {
        INDEX plane = (INDEX)(i / size), p = (INDEX)(i - (u64)plane * size);
        INDEX p2 = p % (INDEX)w.input[2], p1 = p / (INDEX)w.input[2] % (INDEX)w.input[1];
        INDEX p0 = p / (INDEX)w.input[2] / (INDEX)w.input[1];
        float sum = 0.0f;
        for (i64 k0 = 0; k0 < (i64)w.kernel[0]; k0++) {
            i64 o0 = covering(w, 0, p0, k0);
            if (o0 < 0) continue;
            for (i64 k1 = 0; k1 < (i64)w.kernel[1]; k1++) {
                i64 o1 = covering(w, 1, p1, k1);
                if (o1 < 0) continue;
                for (i64 k2 = 0; k2 < (i64)w.kernel[2]; k2++) {
                    i64 o2 = covering(w, 2, p2, k2);
                    if (o2 < 0) continue;
                    u64 o = (o0 * w.output[1] + o1) * w.output[2] + o2, at = (u64)plane * out + o;
                    if (where ? where[at] == p : true) sum += where ? dy[at] : dy[at] * shares[o];
                }
            }
        }
        dx[i] += sum;
    }
}

extern "C" __global__ void avg_pool_forward(const float *x, const float *shares, float *y, u64 n, Windows w) {
    INDEX out = (INDEX)(w.output[0] * w.output[1] * w.output[2]);
    u64 size = w.input[0] * w.input[1] * w.input[2];
    FOR_EACH(i, n) {
        INDEX plane = (INDEX)(i / out), o = (INDEX)(i - (u64)plane * out);
        INDEX o2 = o % (INDEX)w.output[2], o1 = o / (INDEX)w.output[2] % (INDEX)w.output[1];
        INDEX o0 = o / (INDEX)w.output[2] / (INDEX)w.output[1];
        const float *p = x + (u64)plane * size;
        float sum = 0.0f;
        for (i64 k0 = 0; k0 < (i64)w.kernel[0]; k0++) {
            i64 z = (i64)(o0 * w.strides[0] + k0 * w.dilations[0]) - w.pads[0];
            if (z < 0 || z >= (i64)w.input[0]) continue;
            for (i64 k1 = 0; k1 < (i64)w.kernel[1]; k1++) {
                i64 r = (i64)(o1 * w.strides[1] + k1 * w.dilations[1]) - w.pads[1];
                if (r < 0 || r >= (i64)w.input[1]) continue;
                for (i64 k2 = 0; k2 < (i64)w.kernel[2]; k2++) {
                    i64 v = (i64)(o2 * w.strides[2] + k2 * w.dilations[2]) - w.pads[2];
                    if (v >= 0 && v < (i64)w.input[2]) sum += p[(z * w.input[1] + r) * w.input[2] + v];
                }
            }
        }
        y[i] = sum * shares[o];
    }
}
