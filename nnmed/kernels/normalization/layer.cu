// Layer and root-mean-square normalisation of the rows of (M, D) arrays:
//
//     y = (x - mean) inverse weight + bias,   inverse = 1 / sqrt(sum (x - mean)^2 / D + eps)
//     dx = inverse (g - sum g / D - n sum (g n) / D),   g = dy weight,   n = (x - mean) inverse
//
// The mean, and sum g / D, are 0 where rows are not centred. Threads: `lanes` a row, a warp, or
// a whole block for few long rows, each at every lanes-th column:
//
//     row    | 0 1 2 ... lanes-1 | lanes ... |
//     thread   0 1 2 ... lanes-1   0 ...
//
// Bytes: a row is read three times, from memory once if it stays in the cache, and written once.
// Limit: copy bandwidth.
#include "common.cuh"

// The sum over a row, in each of its threads.
__device__ __forceinline__ real row_sum(real value, int lanes, real *shared) {
    return lanes == 32 ? warp_sum(value) : block_sum(value, shared);
}

extern "C" __global__ void layer_norm(
    const real *x, const real *weight, const real *bias, real *y, real *mean, real *inverse,
    real eps, int centred, int rows, int width, int lanes
) {
    __shared__ real shared[32];
    int row = thread_number() / lanes, lane = thread_number() % lanes;
    if (row >= rows) return;
    const real *from = x + row * width;
    real middle = 0, square = 0;
    if (centred) {
        for (int k = lane; k < width; k += lanes) middle += from[k];
        middle = row_sum(middle, lanes, shared) / width;
    }
    for (int k = lane; k < width; k += lanes) square += (from[k] - middle) * (from[k] - middle);
    real scale = 1 / sqrt(row_sum(square, lanes, shared) / width + eps);
    for (int k = lane; k < width; k += lanes) {
        real normal = (from[k] - middle) * scale;
        y[row * width + k] = normal * (weight ? weight[k] : 1) + (bias ? bias[k] : 0);
    }
    if (lane == 0) mean[row] = middle, inverse[row] = scale;
}

extern "C" __global__ void layer_norm_grad(
    const real *dy, const real *x, const real *mean, const real *inverse, const real *weight,
    real *dx, int centred, int rows, int width, int lanes
) {
    __shared__ real shared[32];
    int row = thread_number() / lanes, lane = thread_number() % lanes;
    if (row >= rows) return;
    const real *gradient = dy + row * width, *from = x + row * width;
    real middle = mean[row], scale = inverse[row], share = 0, slope = 0;
    for (int k = lane; k < width; k += lanes) {
        real g = gradient[k] * (weight ? weight[k] : 1);
        share += g;
        slope += g * (from[k] - middle) * scale;
    }
    share = row_sum(share, lanes, shared) / width;
    slope = row_sum(slope, lanes, shared) / width;
    for (int k = lane; k < width; k += lanes) {
        real g = gradient[k] * (weight ? weight[k] : 1), normal = (from[k] - middle) * scale;
        dx[row * width + k] = scale * (g - (centred ? share : 0) - normal * slope);
    }
}

// Sums over parts of the rows of dy and of dy times the normalised x: (parts, 2, D). A thread a
// column and part; neighbours read neighbours. Blocks: (columns, parts).
extern "C" __global__ void column_sums(
    const real *dy, const real *x, const real *mean, const real *inverse, double *parts,
    int rows, int width, int each
) {
    int k = thread_number();
    if (k >= width) return;
    double sum = 0, product = 0;
    int last = min(rows, ((int)blockIdx.y + 1) * each);
    for (int row = blockIdx.y * each; row < last; row++) {
        int i = row * width + k;
        sum += dy[i];
        product += dy[i] * ((x[i] - mean[row]) * inverse[row]);
    }
    parts[blockIdx.y * 2 * width + k] = sum;
    parts[(blockIdx.y * 2 + 1) * width + k] = product;
}
