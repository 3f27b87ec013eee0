// Elementwise functions. The codes are those of elementwise.rs.

#define SQRT_2_OVER_PI 0.7978845608028654f
#define SQRT_HALF 0.7071067811865476f
#define TWO_OVER_SQRT_PI 1.1283791670955126f
#define DENSITY 0.3989422804014327f
#define CUBIC 0.044715f

__device__ __forceinline__ float sign(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x; }
__device__ __forceinline__ float unit(float x) {
    x = x < 0.0f ? 0.0f : x;
    return x > 1.0f ? 1.0f : x;
}
__device__ __forceinline__ float sigmoid(float x) {
    float e = expf(-fabsf(x));
    return (x >= 0.0f ? 1.0f : e) / (1.0f + e);
}
__device__ __forceinline__ float normal(float x) { return 0.5f * (1.0f + erff(x * SQRT_HALF)); }
__device__ __forceinline__ float gelu_tanh(float x) { return tanhf(SQRT_2_OVER_PI * (x + CUBIC * x * x * x)); }

__device__ float unary_value(int op, float x, float a, float b) {
    switch (op) {
    case 0: return -x;
    case 1: return fabsf(x);
    case 2: return 1.0f / x;
    case 3: return sqrtf(x);
    case 4: return expf(x);
    case 5: return logf(x);
    case 6: return erff(x);
    case 7: return tanhf(x);
    case 8: return x != x ? x : sigmoid(x);
    case 9: return x > 0.0f || x != x ? x : 0.0f;
    case 10: return x < 0.0f ? a * x : x;
    case 11: return x > 0.0f ? x : a * expm1f(x);
    case 12: return x * normal(x);
    case 13: return 0.5f * x * (1.0f + gelu_tanh(x));
    case 14: return x * unit(x / 6.0f + 0.5f);
    case 15: return unit(a * x + b);
    case 16: x = x < a ? a : x; return x > b ? b : x;
    case 17: return x != x ? x : fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
    case 18: return x / (1.0f + fabsf(x));
    case 19: return sinf(x);
    case 20: return cosf(x);
    case 21: return tanf(x);
    case 22: return acosf(x);
    case 23: return asinf(x);
    case 24: return atanf(x);
    case 25: return coshf(x);
    case 26: return sinhf(x);
    case 27: return acoshf(x);
    case 28: return asinhf(x);
    case 29: return atanhf(x);
    case 30: return x + a;
    case 31: return x * a;
    case 32: return powf(x, a);
    case 33: return floorf(x);
    case 34: return ceilf(x);
    case 35: return rintf(x);
    case 36: return sign(x);
    case 37: return x * x;
    case 38: return x * x * x;
    }
    return nanf("");
}

// The derivative, from x or from the value, whichever is kept.
__device__ float unary_slope(int op, float k, float a, float b) {
    switch (op) {
    case 0: return -1.0f;
    case 1: return sign(k);
    case 2: return -k * k;
    case 3: return 0.5f / k;
    case 4: return k;
    case 5: return 1.0f / k;
    case 6: return TWO_OVER_SQRT_PI * expf(-k * k);
    case 7: return 1.0f - k * k;
    case 8: return k * (1.0f - k);
    case 9: return k > 0.0f ? 1.0f : 0.0f;
    case 10: return k > 0.0f ? 1.0f : a;
    case 11: return k > 0.0f ? 1.0f : a * expf(k);
    case 12: return normal(k) + k * DENSITY * expf(-0.5f * k * k);
    case 13: {
        float t = gelu_tanh(k);
        return 0.5f * (1.0f + t) + 0.5f * k * (1.0f - t * t) * SQRT_2_OVER_PI * (1.0f + 3.0f * CUBIC * k * k);
    }
    case 14: return k <= -3.0f ? 0.0f : k >= 3.0f ? 1.0f : k / 3.0f + 0.5f;
    case 15: return k > 0.0f && k < 1.0f ? a : 0.0f;
    case 16: return k > a && k < b ? 1.0f : 0.0f;
    case 17: return sigmoid(k);
    case 18: {
        float d = 1.0f / (1.0f + fabsf(k));
        return d * d;
    }
    case 19: return cosf(k);
    case 20: return -sinf(k);
    case 21: {
        float y = tanf(k);
        return 1.0f + y * y;
    }
    case 22: return -1.0f / sqrtf((1.0f - k) * (1.0f + k));
    case 23: return 1.0f / sqrtf((1.0f - k) * (1.0f + k));
    case 24: return 1.0f / (1.0f + k * k);
    case 25: return sinhf(k);
    case 26: return coshf(k);
    case 27: return 1.0f / (sqrtf(k - 1.0f) * sqrtf(k + 1.0f));
    case 28: return 1.0f / hypotf(k, 1.0f);
    case 29: return 1.0f / ((1.0f - k) * (1.0f + k));
    case 30: return 1.0f;
    case 31: return a;
    case 32: return a == 0.0f ? 0.0f : a * powf(k, a - 1.0f);
    case 37: return 2.0f * k;
    case 38: return 3.0f * k * k;
    }
    return 0.0f;
}

extern "C" __global__ void unary_forward(int op, float a, float b, const float *x, float *y, INDEX n) {
    FOR_EACH(i, n) y[i] = unary_value(op, x[i], a, b);
}

extern "C" __global__ void unary_backward(int op, float a, float b, const float *kept, const float *dy, float *dx, INDEX n) {
    FOR_EACH(i, n) dx[i] += dy[i] * unary_slope(op, kept[i], a, b);
}

// dz = dy * f'(y), for functions whose derivative can be told from the value.
extern "C" __global__ void activation_backward(int op, float a, float b, const float *y, const float *dy, float *dz, INDEX n) {
    FOR_EACH(i, n) dz[i] = dy[i] * unary_slope(op, y[i], a, b);
}

// y = f(x + bias) over rows of `columns`; f by its code, -1 for none.
extern "C" __global__ void bias_forward(
    int op, float a, float b, const float *x, const float *bias, float *y, INDEX n, INDEX columns) {
    FOR_EACH(i, n) {
        float v = x[i] + bias[i % columns];
        y[i] = op < 0 ? v : unary_value(op, v, a, b);
    }
}

// Its gradient, from what is kept: x, to which `bias` is then added, or the value.
extern "C" __global__ void bias_backward(
    int op, float a, float b, const float *kept, const float *bias, const float *dy, float *dx, INDEX n, INDEX columns) {
    FOR_EACH(i, n) {
        float slope = 1.0f;
        if (op >= 0) slope = unary_slope(op, bias ? kept[i] + bias[i % columns] : kept[i], a, b);
        dx[i] += dy[i] * slope;
    }
}

extern "C" __global__ void fill(float *y, float value, INDEX n) {
    FOR_EACH(i, n) y[i] = value;
}

__device__ __forceinline__ float binary_value(int op, float a, float b, bool m) {
    switch (op) {
    case 0: return a + b;
    case 1: return a - b;
    case 2: return a * b;
    case 3: return a / b;
    case 4: return powf(a, b);
    case 5: return a > b || a != a ? a : b;
    case 6: return a < b || a != a ? a : b;
    case 7: return a < 0.0f ? b * a : a;
    case 8: return m ? a : b;
    }
    return nanf("");
}

__device__ __forceinline__ float slope_a(int op, float a, float b, bool m) {
    switch (op) {
    case 0: case 1: return 1.0f;
    case 2: return b;
    case 3: return 1.0f / b;
    case 4: return b == 0.0f ? 0.0f : b * powf(a, b - 1.0f);
    case 5: return a > b ? 1.0f : a == b ? 0.5f : 0.0f;
    case 6: return a < b ? 1.0f : a == b ? 0.5f : 0.0f;
    case 7: return a > 0.0f ? 1.0f : b;
    case 8: return m ? 1.0f : 0.0f;
    }
    return 0.0f;
}

__device__ __forceinline__ float slope_b(int op, float a, float b, bool m) {
    switch (op) {
    case 0: return 1.0f;
    case 1: return -1.0f;
    case 2: return a;
    case 3: return -a / (b * b);
    case 4: return a == 0.0f ? 0.0f : powf(a, b) * logf(a);
    case 5: return b > a ? 1.0f : a == b ? 0.5f : 0.0f;
    case 6: return b < a ? 1.0f : a == b ? 0.5f : 0.0f;
    case 7: return a < 0.0f ? a : 0.0f;
    case 8: return m ? 0.0f : 1.0f;
    }
    return 0.0f;
}

extern "C" __global__ void binary_forward(
    int op, const float *a, const float *b, const unsigned char *mask, float *y, INDEX n, Pair pair) {
    FOR_EACH(i, n) {
        i64 ia, ib;
        at(pair, i, ia, ib);
        y[i] = binary_value(op, a[ia], b[ib], mask && mask[i]);
    }
}

// The operands are null where the derivatives are constant. What becomes of a side's gradient: 0 nothing, 1 it is added where the side's element lies, 2 it is stored in the
// result's order, to be summed up.
extern "C" __global__ void binary_backward(
    int op, const float *a, const float *b, const unsigned char *mask, const float *dy, float *da, int how_a, float *db,
    int how_b, INDEX n, Pair pair) {
    FOR_EACH(i, n) {
        i64 ia, ib;
        at(pair, i, ia, ib);
        float g = dy[i], x = a ? a[ia] : 0.0f, y = b ? b[ib] : 0.0f;
        bool m = mask && mask[i];
        if (how_a == 1) da[ia] += g * slope_a(op, x, y, m);
        if (how_a == 2) da[i] = g * slope_a(op, x, y, m);
        if (how_b == 1) db[ib] += g * slope_b(op, x, y, m);
        if (how_b == 2) db[i] = g * slope_b(op, x, y, m);
    }
}
