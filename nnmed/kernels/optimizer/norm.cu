// The norm of many arrays taken as one vector, and their scaling to a largest norm.
//
//     norm = (sum |x|^p)^(1/p)        the largest |x| where p is infinite
//     y    = x * min(1, max_norm / (norm + 1e-6))
//
// Blocks: one a chunk of an array, as chunks.cuh draws it. Threads: neighbours side by side.
//
//     norm_parts     chunk 0   chunk 1   chunk 2  ...     4 bytes of float32 read an element
//                       \         |         /
//     partials        s0        s1        s2              a double a chunk, in a fixed order
//                       \         |         /
//     norm_total          one block: norm                 some thousand doubles: 3 microseconds
//                       |         |         |
//     clip           chunk 0   chunk 1   chunk 2  ...     4 bytes read and 4 written
//
// The sums are doubles: over millions of elements a float would lose digits, and squares leave
// its range. A few operations an element: all this should run as fast as memory is read or copied.
// The host never waits for the norm.
#include "optimizer/chunks.cuh"

__device__ __forceinline__ double term(double x, double p) {
    if (p == 2) return x * x;
    return p == 1 || isinf(p) ? fabs(x) : pow(fabs(x), p);
}

__device__ __forceinline__ double join(double a, double b, double p) {
    if (!isinf(p)) return a + b;
    return b > a || b != b ? b : a;  // NaN where one is
}

__device__ double join_block(double value, double p, double *shared) {
    return isinf(p) ? block_max(value, shared) : block_sum(value, shared);
}

extern "C" __global__ void norm_parts(const int *chunks, const long long *arrays, double *partials,
                                      real p, int length) {
    __shared__ double shared[32];
    const Chunk chunk = this_chunk(chunks, length);
    const real *x = (const real *)arrays[chunk.parameter];
    double value = 0;
#pragma unroll UNROLL
    for (unsigned i = chunk.first + threadIdx.x; i < chunk.last; i += blockDim.x) {
        value = join(value, term(x[i], p), p);
    }
    value = join_block(value, p, shared);
    if (threadIdx.x == 0) partials[blockIdx.x] = value;
}

extern "C" __global__ void norm_total(const double *partials, double *norm, real p, int count) {
    __shared__ double shared[32];
    double value = 0;
    for (int k = threadIdx.x; k < count; k += blockDim.x) value = join(value, partials[k], p);
    value = join_block(value, p, shared);
    if (threadIdx.x == 0) *norm = p == 2 ? sqrt(value) : isinf(p) ? value : pow(value, 1.0 / p);
}

extern "C" __global__ void clip(const int *chunks, const long long *arrays, const double *norm,
                                real max_norm, int length) {
    const Chunk chunk = this_chunk(chunks, length);
    const real *x = (const real *)arrays[2 * chunk.parameter];
    real *y = (real *)arrays[2 * chunk.parameter + 1];
    double factor = max_norm / (*norm + 1e-6);
    if (factor >= 1) factor = 1;  // NaN goes on into the gradients, where it can be seen
#pragma unroll UNROLL
    for (unsigned i = chunk.first + threadIdx.x; i < chunk.last; i += blockDim.x) y[i] = x[i] * factor;
}
