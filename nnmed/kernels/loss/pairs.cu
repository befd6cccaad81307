// Losses of pairs x and t, element by element: the value, and the gradient by x in the same pass.
//
// A block has the elements of `each` threads, which take N neighbours at a time, 4 or 1; the
// threads' sums are added in the block, the blocks' in order by finish.cu, both in double, so that
// a sum over a whole batch keeps its digits:
//
//     element   0..N-1 | N..2N-1 | ..   256 * N ..    until a block has each * N of them
//     thread    0      | 1       | ..   0
//
// w and v, losses, dx and parts may be null. Bytes: 2 numbers read and at most 2 written an
// element; an exp, a logarithm and a division in the worst case. Limit: copy bandwidth.
#include "packs.cuh"

// Pointers to the numbers of a loss: x, target, weight, and weight of positives.
struct Inputs {
    const real *x, *t, *w, *v;
};
#define RESULTS real *losses, real *dx, double *parts, real scale, int each, int pack, int n

template <int N>
__device__ __forceinline__ Pack<real, N> read_or_one(const real *from, int i) {
    return from ? read_pack<N>(from + i) : Pack<real, N>::of(1);
}

// The sum over this thread's elements.
template <int N, class Pair>
__device__ __forceinline__ double take_pairs(
    const Pair &pair, const Inputs &in, real *losses, real *dx, real scale, int each, int n
) {
    double sum = 0;
    for (int k = threadIdx.x; k < each; k += blockDim.x) {
        int i = (blockIdx.x * each + k) * N;
        if (i >= n) break;
        auto x = read_pack<N>(in.x + i), t = read_pack<N>(in.t + i), value = x, slope = x;
        auto w = read_or_one<N>(in.w, i), v = read_or_one<N>(in.v, i);
#pragma unroll
        for (int j = 0; j < N; j++) {
            pair(x.v[j], t.v[j], v.v[j], value.v[j], slope.v[j]);
            value.v[j] *= w.v[j], slope.v[j] *= w.v[j] * scale;
            sum += value.v[j];
        }
        if (losses) write_pack(losses + i, value);
        if (dx) write_pack(dx + i, slope);
    }
    return sum;
}

// Call pair(x, t, v, value, slope) for each pair; the results are multiplied by w.
template <class Pair>
__device__ __forceinline__ void for_each_pair(const Pair &pair, const Inputs &in, RESULTS) {
    __shared__ double shared[32];
    double sum = pack == 4 ? take_pairs<4>(pair, in, losses, dx, scale, each, n)
                           : take_pairs<1>(pair, in, losses, dx, scale, each, n);
    sum = block_sum(sum, shared);
    if (parts && threadIdx.x == 0) parts[blockIdx.x] = sum;
}

extern "C" __global__ void mse_loss(const real *x, const real *t, RESULTS) {
    auto pair = [](real x, real t, real, real &value, real &slope) {
        real d = x - t;
        value = d * d, slope = 2 * d;
    };
    for_each_pair(pair, {x, t, 0, 0}, losses, dx, parts, scale, each, pack, n);
}

extern "C" __global__ void l1_loss(const real *x, const real *t, RESULTS) {
    auto pair = [](real x, real t, real, real &value, real &slope) {
        real d = x - t;
        value = abs(d), slope = d > 0 ? real(1) : d < 0 ? real(-1) : 0 * d;
    };
    for_each_pair(pair, {x, t, 0, 0}, losses, dx, parts, scale, each, pack, n);
}

extern "C" __global__ void smooth_l1_loss(const real *x, const real *t, real beta, RESULTS) {
    auto pair = [=](real x, real t, real, real &value, real &slope) {
        real d = x - t, size = abs(d);
        value = size < beta ? d * d / (2 * beta) : size - beta / 2;
        slope = size < beta ? d / beta : d > 0 ? real(1) : d < 0 ? real(-1) : d;
    };
    for_each_pair(pair, {x, t, 0, 0}, losses, dx, parts, scale, each, pack, n);
}

// w ((1 - t) softplus(x) + v t softplus(-x)), softplus = log(1 + exp), with one exp for all.
extern "C" __global__ void binary_cross_entropy_with_logits(
    const real *x, const real *t, const real *w, const real *v, RESULTS
) {
    auto pair = [](real x, real t, real v, real &value, real &slope) {
        real positive = v * t, negative = 1 - t, small = exp(-abs(x)), tail = log1p(small);
        real above = x > 0 ? x : 0, below = x > 0 ? 0 : x, likely = 1 / (1 + small);
        value = negative * (above + tail) + positive * (tail - below);
        real unlikely = small * likely;
        slope = x > 0 ? negative * likely - positive * unlikely
                      : negative * unlikely - positive * likely;
    };
    for_each_pair(pair, {x, t, w, v}, losses, dx, parts, scale, each, pack, n);
}

// -w (t log(x) + (1 - t) log(1 - x)) with 0 log(0) = 0, and 0 / 0 = 0 in the gradient.
extern "C" __global__ void binary_cross_entropy(
    const real *x, const real *t, const real *w, RESULTS
) {
    auto pair = [](real x, real t, real, real &value, real &slope) {
        real negative = 1 - t;
        value = -(t == 0 ? 0 : t * log(x)) - (negative == 0 ? 0 : negative * log1p(-x));
        slope = (negative == 0 ? 0 : negative / (1 - x)) - (t == 0 ? 0 : t / x);
    };
    for_each_pair(pair, {x, t, w, 0}, losses, dx, parts, scale, each, pack, n);
}

// dx *= dy, one number on the device: mostly 1, and then nothing is left to do.
extern "C" __global__ void scale(real *dx, const real *dy, int n) {
    int i = thread_number();
    if (i < n && *dy != 1) dx[i] *= *dy;
}
