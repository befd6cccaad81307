// Losses of pairs x and t, element by element: the value, and the gradient by x in the same pass.
//
// A block has `each` elements, a thread every 256th of them; the threads' sums are added in the
// block, the blocks' in order by finish.cu, both in double:
//
//     block   |         0         |         1         |
//     element | 0 1 2 ... 255 | 256 ... each-1 | ...
//     thread    0 1 2 ... 255     0 ...
//
// losses, dx and parts may be null. Bytes: 2 numbers read and at most 2 written an element.
// Limit: copy bandwidth.
#include "common.cuh"

template <class Pair>
__device__ __forceinline__ void each_pair(
    const Pair &pair, real *losses, real *dx, double *parts, real scale, int each, int n
) {
    __shared__ double shared[32];
    double sum = 0;
    int last = min(n, ((int)blockIdx.x + 1) * each);
    for (int i = blockIdx.x * each + threadIdx.x; i < last; i += blockDim.x) {
        real value, slope;
        pair(i, value, slope);
        if (losses) losses[i] = value;
        if (dx) dx[i] = slope * scale;
        sum += value;
    }
    sum = block_sum(sum, shared);
    if (parts && threadIdx.x == 0) parts[blockIdx.x] = sum;
}

extern "C" __global__ void mse_loss(
    const real *x, const real *t, real *losses, real *dx, double *parts, real scale, int each, int n
) {
    auto pair = [=](int i, real &value, real &slope) {
        real d = x[i] - t[i];
        value = d * d, slope = 2 * d;
    };
    each_pair(pair, losses, dx, parts, scale, each, n);
}

extern "C" __global__ void l1_loss(
    const real *x, const real *t, real *losses, real *dx, double *parts, real scale, int each, int n
) {
    auto pair = [=](int i, real &value, real &slope) {
        real d = x[i] - t[i];
        value = abs(d), slope = d > 0 ? real(1) : d < 0 ? real(-1) : 0 * d;
    };
    each_pair(pair, losses, dx, parts, scale, each, n);
}

extern "C" __global__ void smooth_l1_loss(
    const real *x, const real *t, real beta, real *losses, real *dx, double *parts, real scale,
    int each, int n
) {
    auto pair = [=](int i, real &value, real &slope) {
        real d = x[i] - t[i], size = abs(d);
        value = size < beta ? d * d / (2 * beta) : size - beta / 2;
        slope = size < beta ? d / beta : d > 0 ? real(1) : d < 0 ? real(-1) : d;
    };
    each_pair(pair, losses, dx, parts, scale, each, n);
}

// w ((1 - t) softplus(x) + v t softplus(-x)), softplus = log(1 + exp); w and v may be null.
extern "C" __global__ void binary_cross_entropy_with_logits(
    const real *x, const real *t, const real *w, const real *v, real *losses, real *dx,
    double *parts, real scale, int each, int n
) {
    auto pair = [=](int i, real &value, real &slope) {
        real z = x[i], positive = t[i] * (v ? v[i] : 1), negative = 1 - t[i];
        real tail = log1p(exp(-abs(z))), above = z > 0 ? z : 0, below = z < 0 ? z : 0;
        value = negative * (above + tail) + positive * (tail - below);
        slope = negative / (1 + exp(-z)) - positive / (1 + exp(z));
        if (z != z) value = slope = z;
        if (w) value *= w[i], slope *= w[i];
    };
    each_pair(pair, losses, dx, parts, scale, each, n);
}

// -w (t log(x) + (1 - t) log(1 - x)) with 0 log(0) = 0, and 0 / 0 = 0 in the gradient.
extern "C" __global__ void binary_cross_entropy(
    const real *x, const real *t, const real *w, real *losses, real *dx, double *parts, real scale,
    int each, int n
) {
    auto pair = [=](int i, real &value, real &slope) {
        real p = x[i], positive = t[i], negative = 1 - t[i];
        value = -(positive == 0 ? 0 : positive * log(p)) - (negative == 0 ? 0 : negative * log1p(-p));
        slope = (negative == 0 ? 0 : negative / (1 - p)) - (positive == 0 ? 0 : positive / p);
        if (p != p) value = slope = p;
        if (w) value *= w[i], slope *= w[i];
    };
    each_pair(pair, losses, dx, parts, scale, each, n);
}
