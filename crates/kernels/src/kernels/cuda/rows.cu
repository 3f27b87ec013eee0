// Softmax, normalization, losses and the optimizer's step.

// Along `axis` of (outer, axis, inner), inner > 1: a thread for each (outer, inner).
extern "C" __global__ void softmax_strided(const float *x, float *y, INDEX n, INDEX axis, INDEX inner, int log) {
    FOR_EACH(i, n) {
        INDEX o = i / inner, base = o * axis * inner + (i - o * inner);
        float top = -__int_as_float(0x7f800000), sum = 0.0f;
        for (INDEX k = 0; k < axis; k++) top = fmaxf(top, x[base + k * inner]);
        for (INDEX k = 0; k < axis; k++) sum += expf(x[base + k * inner] - top);
        for (INDEX k = 0; k < axis; k++) {
            float z = x[base + k * inner] - top;
            y[base + k * inner] = log ? z - logf(sum) : expf(z) / sum;
        }
    }
}

extern "C" __global__ void softmax_strided_backward(
    const float *y, const float *dy, float *dx, INDEX n, INDEX axis, INDEX inner, int log) {
    FOR_EACH(i, n) {
        INDEX o = i / inner, base = o * axis * inner + (i - o * inner);
        float sum = 0.0f;
        for (INDEX k = 0; k < axis; k++) sum += log ? dy[base + k * inner] : dy[base + k * inner] * y[base + k * inner];
        for (INDEX k = 0; k < axis; k++) {
            INDEX at = base + k * inner;
            dx[at] += log ? dy[at] - expf(y[at]) * sum : y[at] * (dy[at] - sum);
        }
    }
}

// The same along the last axis: a warp for each row.
#define FOR_EACH_ROW(row, rows)                                                                            \
    int lane = threadIdx.x & 31;                                                                           \
    for (INDEX row = ((INDEX)blockIdx.x * blockDim.x + threadIdx.x) >> 5; row < (rows);                        \
         row += ((INDEX)gridDim.x * blockDim.x) >> 5)

extern "C" __global__ void softmax_rows(const float *x, float *y, INDEX rows, INDEX axis, int log) {
    FOR_EACH_ROW(row, rows) {
        const float *from = x + row * axis;
        float *to = y + row * axis;
        float top = -__int_as_float(0x7f800000), sum = 0.0f;
        for (INDEX k = lane; k < axis; k += 32) top = fmaxf(top, from[k]);
        top = warp_max(top);
        for (INDEX k = lane; k < axis; k += 32) sum += expf(from[k] - top);
        sum = warp_sum(sum);
        float l = logf(sum), r = 1.0f / sum;
        for (INDEX k = lane; k < axis; k += 32) {
            float z = from[k] - top;
            to[k] = log ? z - l : expf(z) * r;
        }
    }
}

extern "C" __global__ void softmax_rows_backward(
    const float *y, const float *dy, float *dx, INDEX rows, INDEX axis, int log) {
    FOR_EACH_ROW(row, rows) {
        INDEX base = row * axis;
        float sum = 0.0f;
        for (INDEX k = lane; k < axis; k += 32) sum += log ? dy[base + k] : dy[base + k] * y[base + k];
        sum = warp_sum(sum);
        for (INDEX k = lane; k < axis; k += 32) {
            INDEX at = base + k;
            dx[at] += log ? dy[at] - expf(y[at]) * sum : y[at] * (dy[at] - sum);
        }
    }
}

// stats(row) = (mean, 1/sqrt(variance + epsilon)); scale and bias have the row's extent.
extern "C" __global__ void layer_norm_forward(
    const float *x, const float *scale, const float *bias, float *y, float *stats, INDEX rows, INDEX axis, float epsilon) {
    FOR_EACH_ROW(row, rows) {
        const float *from = x + row * axis;
        float sum = 0.0f, squares = 0.0f;
        for (INDEX k = lane; k < axis; k += 32) sum += from[k];
        float mean = warp_sum(sum) / (float)axis;
        for (INDEX k = lane; k < axis; k += 32) squares += (from[k] - mean) * (from[k] - mean);
        float r = 1.0f / sqrtf(warp_sum(squares) / (float)axis + epsilon);
        for (INDEX k = lane; k < axis; k += 32)
            y[row * axis + k] = (from[k] - mean) * r * scale[k] + (bias ? bias[k] : 0.0f);
        if (lane == 0) {
            stats[2 * row] = mean;
            stats[2 * row + 1] = r;
        }
    }
}

// dx may be null; `terms`, if not null, becomes dy * (x - mean) * r, whose column sums are the scale's gradient.
extern "C" __global__ void layer_norm_backward(
    const float *x, const float *scale, const float *stats, const float *dy, float *dx, float *terms, INDEX rows, INDEX axis) {
    FOR_EACH_ROW(row, rows) {
        INDEX base = row * axis;
        float mean = stats[2 * row], r = stats[2 * row + 1], g = 0.0f, gx = 0.0f;
        for (INDEX k = lane; k < axis; k += 32) {
            float normal_x = (x[base + k] - mean) * r, d = dy[base + k] * scale[k];
            g += d;
            gx += d * normal_x;
            if (terms) terms[base + k] = dy[base + k] * normal_x;
        }
        g = warp_sum(g) / (float)axis;
        gx = warp_sum(gx) / (float)axis;
        if (dx)
            for (INDEX k = lane; k < axis; k += 32) {
                float normal_x = (x[base + k] - mean) * r;
                dx[base + k] += r * (dy[base + k] * scale[k] - g - normal_x * gx);
            }
    }
}

// A block for each channel of x (images, channels, size): stats(c) = (mean, 1/sqrt(variance + epsilon)).
extern "C" __global__ void channel_stats(const float *x, float *stats, INDEX images, INDEX channels, INDEX size, float epsilon) {
    INDEX c = blockIdx.x, count = images * size;
    float sum = 0.0f, squares = 0.0f;
    for (INDEX i = threadIdx.x; i < count; i += blockDim.x) sum += x[(i / size * channels + c) * size + i % size];
    float mean = block_sum(sum) / (float)count;
    for (INDEX i = threadIdx.x; i < count; i += blockDim.x) {
        float d = x[(i / size * channels + c) * size + i % size] - mean;
        squares += d * d;
    }
    float variance = block_sum(squares) / (float)count;
    if (threadIdx.x == 0) {
        stats[2 * c] = mean;
        stats[2 * c + 1] = 1.0f / sqrtf(variance + epsilon);
    }
}

extern "C" __global__ void given_stats(const float *mean, const float *variance, float *stats, INDEX n, float epsilon) {
    FOR_EACH(c, n) {
        stats[2 * c] = mean[c];
        stats[2 * c + 1] = 1.0f / sqrtf(variance[c] + epsilon);
    }
}

extern "C" __global__ void batch_norm_forward(
    const float *x, const float *scale, const float *bias, const float *stats, float *y, INDEX n, INDEX channels, INDEX size) {
    FOR_EACH(i, n) {
        INDEX c = (i / size) % channels;
        y[i] = (x[i] - stats[2 * c]) * (stats[2 * c + 1] * scale[c]) + bias[c];
    }
}

// sums(part, c) = (sum of dy, sum of dy * (x - mean) * r), a block for each channel and part of its elements.
extern "C" __global__ void batch_norm_sums(
    const float *x, const float *dy, const float *stats, float *sums, INDEX images, INDEX channels, INDEX size) {
    INDEX c = blockIdx.x, count = images * size, part = (count + gridDim.y - 1) / gridDim.y, from = blockIdx.y * part;
    INDEX to = from + part < count ? from + part : count;
    float mean = stats[2 * c], r = stats[2 * c + 1], plain = 0.0f, weighted = 0.0f;
    for (INDEX i = from + threadIdx.x; i < to; i += blockDim.x) {
        INDEX image = i / size, at = (image * channels + c) * size + (i - image * size);
        plain += dy[at];
        weighted += dy[at] * (x[at] - mean) * r;
    }
    plain = block_sum(plain);
    weighted = block_sum(weighted);
    if (threadIdx.x == 0) {
        float *to_sums = sums + 2 * (blockIdx.y * channels + c);
        to_sums[0] = plain;
        to_sums[1] = weighted;
    }
}

// `count` is 0 where the statistics are given, else how many elements they are of.
extern "C" __global__ void batch_norm_backward(
    const float *x, const float *dy, const float *scale, const float *stats, const float *sums, float *dx, INDEX n,
    INDEX channels, INDEX size, float count) {
    FOR_EACH(i, n) {
        INDEX c = (i / size) % channels;
        float r = stats[2 * c + 1], g = dy[i];
        if (count > 0.0f) g -= sums[2 * c] / count + (x[i] - stats[2 * c]) * r * (sums[2 * c + 1] / count);
        dx[i] += g * r * scale[c];
    }
}

// Adds one of two interleaved sums.
extern "C" __global__ void add_every_second(const float *sums, float *y, INDEX n, INDEX which) {
    FOR_EACH(i, n) y[i] += sums[2 * i + which];
}

// A warp for each row; `norms` keeps ln of the sum of exponentials.
extern "C" __global__ void cross_entropy_forward(
    const float *x, const unsigned int *classes, float *losses, float *norms, INDEX rows, INDEX axis) {
    FOR_EACH_ROW(row, rows) {
        const float *from = x + row * axis;
        float top = -__int_as_float(0x7f800000), sum = 0.0f;
        for (INDEX k = lane; k < axis; k += 32) top = fmaxf(top, from[k]);
        top = warp_max(top);
        for (INDEX k = lane; k < axis; k += 32) sum += expf(from[k] - top);
        float l = logf(warp_sum(sum));
        if (lane == 0) {
            losses[row] = l - (from[classes[row]] - top);
            norms[row] = l + top;
        }
    }
}

extern "C" __global__ void cross_entropy_backward(
    const float *x, const unsigned int *classes, const float *norms, const float *dy, float *dx, INDEX n, INDEX axis) {
    FOR_EACH(i, n) {
        INDEX row = i / axis, k = i - row * axis;
        dx[i] += dy[row] * (expf(x[i] - norms[row]) - (k == classes[row] ? 1.0f : 0.0f));
    }
}

extern "C" __global__ void bce_forward(const float *x, const float *t, float *y, INDEX n) {
    FOR_EACH(i, n) y[i] = fmaxf(x[i], 0.0f) - x[i] * t[i] + log1pf(expf(-fabsf(x[i])));
}

extern "C" __global__ void bce_backward(const float *x, const float *t, const float *dy, float *dx, float *dt, INDEX n) {
    FOR_EACH(i, n) {
        if (dx) dx[i] += dy[i] * (sigmoid(x[i]) - t[i]);
        if (dt) dt[i] -= dy[i] * x[i];
    }
}

// AdamW; `share` (read through `view`) is how much of the step is taken. `broken` is set if a parameter is not finite.
extern "C" __global__ void adamw(
    const float *p, float *out, float *first, float *second, const float *gradient, const float *share, INDEX n, View view,
    float decay, float rate, float beta1, float beta2, float correction1, float correction2, float epsilon,
    unsigned int *broken) {
    FOR_EACH(i, n) {
        float g = gradient[i], old = p[i];
        float m = beta1 * first[i] + (1.0f - beta1) * g;
        float v = beta2 * second[i] + (1.0f - beta2) * g * g;
        first[i] = m;
        second[i] = v;
        float step = rate * (m * correction1) / (sqrtf(v * correction2) + epsilon);
        float fresh = old - (share ? share[at(view, i)] : 1.0f) * step - decay * old;
        out[i] = fresh;
        if (!isfinite(fresh)) *broken = 1u;
    }
}

// A step of an LSTM, from the gates i, o, f, c before their functions, (batch, 4, hidden), to those after.
extern "C" __global__ void lstm_cell(float *gates, const float *before, float *after, float *h, INDEX n, INDEX hidden) {
    FOR_EACH(i, n) {
        INDEX row = i / hidden;
        float *g = gates + 3 * row * hidden + i;
        float in = sigmoid(g[0]), out = sigmoid(g[hidden]), keep = sigmoid(g[2 * hidden]), fresh = tanhf(g[3 * hidden]);
        float c = keep * before[i] + in * fresh;
        g[0] = in;
        g[hidden] = out;
        g[2 * hidden] = keep;
        g[3 * hidden] = fresh;
        after[i] = c;
        h[i] = out * tanhf(c);
    }
}

// Its gradient: dh of this step's h (its own and the next step's), dc from the next step and, after it, for the one before.
extern "C" __global__ void lstm_cell_backward(
    const float *gates, const float *before, const float *after, const float *dy, const float *next, float *dc, float *dz,
    INDEX n, INDEX hidden) {
    FOR_EACH(i, n) {
        INDEX at = 3 * (i / hidden) * hidden + i;
        const float *g = gates + at;
        float *d = dz + at;
        float in = g[0], out = g[hidden], keep = g[2 * hidden], fresh = g[3 * hidden];
        float t = tanhf(after[i]), dh = dy[i] + next[i], c = dc[i] + dh * out * (1.0f - t * t);
        d[0] = c * fresh * in * (1.0f - in);
        d[hidden] = dh * t * out * (1.0f - out);
        d[2 * hidden] = c * before[i] * keep * (1.0f - keep);
        d[3 * hidden] = c * in * (1.0f - fresh * fresh);
        dc[i] = c * keep;
    }
}
