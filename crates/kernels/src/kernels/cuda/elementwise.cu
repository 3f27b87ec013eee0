// Elementwise functions. The codes, UNARY_… and BINARY_…, are defined from the enums of codes.rs.

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
    case UNARY_NEG: return -x;
    case UNARY_ABS: return fabsf(x);
    case UNARY_RECIPROCAL: return 1.0f / x;
    case UNARY_SQRT: return sqrtf(x);
    case UNARY_EXP: return expf(x);
    case UNARY_LOG: return logf(x);
    case UNARY_ERF: return erff(x);
    case UNARY_TANH: return tanhf(x);
    case UNARY_SIGMOID: return x != x ? x : sigmoid(x);
    case UNARY_RELU: return x > 0.0f || x != x ? x : 0.0f;
    case UNARY_LEAKYRELU: return x < 0.0f ? a * x : x;
    case UNARY_ELU: return x > 0.0f ? x : a * expm1f(x);
    case UNARY_GELU: return x * normal(x);
    case UNARY_GELUTANH: return 0.5f * x * (1.0f + gelu_tanh(x));
    case UNARY_HARDSWISH: return x * unit(x / 6.0f + 0.5f);
    case UNARY_HARDSIGMOID: return unit(a * x + b);
    case UNARY_CLIP: x = x < a ? a : x; return x > b ? b : x;
    case UNARY_SOFTPLUS: return x != x ? x : fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
    case UNARY_SOFTSIGN: return x / (1.0f + fabsf(x));
    case UNARY_SIN: return sinf(x);
    case UNARY_COS: return cosf(x);
    case UNARY_TAN: return tanf(x);
    case UNARY_ACOS: return acosf(x);
    case UNARY_ASIN: return asinf(x);
    case UNARY_ATAN: return atanf(x);
    case UNARY_COSH: return coshf(x);
    case UNARY_SINH: return sinhf(x);
    case UNARY_ACOSH: return acoshf(x);
    case UNARY_ASINH: return asinhf(x);
    case UNARY_ATANH: return atanhf(x);
    case UNARY_ADDSCALAR: return x + a;
    case UNARY_MULSCALAR: return x * a;
    case UNARY_POWSCALAR: return powf(x, a);
    case UNARY_FLOOR: return floorf(x);
    case UNARY_CEIL: return ceilf(x);
    case UNARY_ROUND: return rintf(x);
    case UNARY_SIGN: return sign(x);
    case UNARY_SQUARE: return x * x;
    case UNARY_CUBE: return x * x * x;
    }
    return nanf("");
}

// The derivative, from x or from the value, whichever is kept.
__device__ float unary_slope(int op, float k, float a, float b) {
    switch (op) {
    case UNARY_NEG: return -1.0f;
    case UNARY_ABS: return sign(k);
    case UNARY_RECIPROCAL: return -k * k;
    case UNARY_SQRT: return 0.5f / k;
    case UNARY_EXP: return k;
    case UNARY_LOG: return 1.0f / k;
    case UNARY_ERF: return TWO_OVER_SQRT_PI * expf(-k * k);
    case UNARY_TANH: return 1.0f - k * k;
    case UNARY_SIGMOID: return k * (1.0f - k);
    case UNARY_RELU: return k > 0.0f ? 1.0f : 0.0f;
    case UNARY_LEAKYRELU: return k > 0.0f ? 1.0f : a;
    case UNARY_ELU: return k > 0.0f ? 1.0f : a * expf(k);
    case UNARY_GELU: return normal(k) + k * DENSITY * expf(-0.5f * k * k);
    case UNARY_GELUTANH: {
        float t = gelu_tanh(k);
        return 0.5f * (1.0f + t) + 0.5f * k * (1.0f - t * t) * SQRT_2_OVER_PI * (1.0f + 3.0f * CUBIC * k * k);
    }
    case UNARY_HARDSWISH: return k <= -3.0f ? 0.0f : k >= 3.0f ? 1.0f : k / 3.0f + 0.5f;
    case UNARY_HARDSIGMOID: return k > 0.0f && k < 1.0f ? a : 0.0f;
    case UNARY_CLIP: return k > a && k < b ? 1.0f : 0.0f;
    case UNARY_SOFTPLUS: return sigmoid(k);
    case UNARY_SOFTSIGN: {
        float d = 1.0f / (1.0f + fabsf(k));
        return d * d;
    }
    case UNARY_SIN: return cosf(k);
    case UNARY_COS: return -sinf(k);
    case UNARY_TAN: {
        float y = tanf(k);
        return 1.0f + y * y;
    }
    case UNARY_ACOS: return -1.0f / sqrtf((1.0f - k) * (1.0f + k));
    case UNARY_ASIN: return 1.0f / sqrtf((1.0f - k) * (1.0f + k));
    case UNARY_ATAN: return 1.0f / (1.0f + k * k);
    case UNARY_COSH: return sinhf(k);
    case UNARY_SINH: return coshf(k);
    case UNARY_ACOSH: return 1.0f / (sqrtf(k - 1.0f) * sqrtf(k + 1.0f));
    case UNARY_ASINH: return 1.0f / hypotf(k, 1.0f);
    case UNARY_ATANH: return 1.0f / ((1.0f - k) * (1.0f + k));
    case UNARY_ADDSCALAR: return 1.0f;
    case UNARY_MULSCALAR: return a;
    case UNARY_POWSCALAR: return a == 0.0f ? 0.0f : a * powf(k, a - 1.0f);
    case UNARY_SQUARE: return 2.0f * k;
    case UNARY_CUBE: return 3.0f * k * k;
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

// y = f(x + bias) over rows of `columns`; f by its code, below 0 for none.
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
    case BINARY_ADD: return a + b;
    case BINARY_SUB: return a - b;
    case BINARY_MUL: return a * b;
    case BINARY_DIV: return a / b;
    case BINARY_POW: return powf(a, b);
    case BINARY_MAX: return a > b || a != a ? a : b;
    case BINARY_MIN: return a < b || a != a ? a : b;
    case BINARY_PRELU: return a < 0.0f ? b * a : a;
    case BINARY_SELECT: return m ? a : b;
    }
    return nanf("");
}

__device__ __forceinline__ float slope_a(int op, float a, float b, bool m) {
    switch (op) {
    case BINARY_ADD: case BINARY_SUB: return 1.0f;
    case BINARY_MUL: return b;
    case BINARY_DIV: return 1.0f / b;
    case BINARY_POW: return b == 0.0f ? 0.0f : b * powf(a, b - 1.0f);
    case BINARY_MAX: return a > b ? 1.0f : a == b ? 0.5f : 0.0f;
    case BINARY_MIN: return a < b ? 1.0f : a == b ? 0.5f : 0.0f;
    case BINARY_PRELU: return a > 0.0f ? 1.0f : b;
    case BINARY_SELECT: return m ? 1.0f : 0.0f;
    }
    return 0.0f;
}

__device__ __forceinline__ float slope_b(int op, float a, float b, bool m) {
    switch (op) {
    case BINARY_ADD: return 1.0f;
    case BINARY_SUB: return -1.0f;
    case BINARY_MUL: return a;
    case BINARY_DIV: return -a / (b * b);
    case BINARY_POW: return a == 0.0f ? 0.0f : powf(a, b) * logf(a);
    case BINARY_MAX: return b > a ? 1.0f : a == b ? 0.5f : 0.0f;
    case BINARY_MIN: return b < a ? 1.0f : a == b ? 0.5f : 0.0f;
    case BINARY_PRELU: return a < 0.0f ? a : 0.0f;
    case BINARY_SELECT: return m ? 0.0f : 1.0f;
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
