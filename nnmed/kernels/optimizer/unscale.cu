// Gradients of a scaled loss, divided by the scale, and a look for overflow.
//
//     y = x / scale          overflow = 1 where an x is infinite or NaN
//
// Blocks: one a chunk of an array, as chunks.cuh draws it. Threads: neighbours side by side. All that
// see an overflow write the same 1, so their order does not matter; nobody writes 0.
//
// `numbers` are scale, 1, and overflow. A division and a comparison an element; 4 bytes of float32
// read and 4 written. Limit: copy bandwidth.
#include "optimizer/chunks.cuh"

extern "C" __global__ void unscale(const int *chunks, const long long *arrays, float *numbers,
                                   int length) {
    const Chunk chunk = this_chunk(chunks, length);
    const real *x = (const real *)arrays[2 * chunk.parameter];
    real *y = (real *)arrays[2 * chunk.parameter + 1];
    const real scale = numbers[0];
    bool overflow = false;
#pragma unroll UNROLL
    for (unsigned i = chunk.first + threadIdx.x; i < chunk.last; i += blockDim.x) {
        real value = x[i];
        overflow |= !isfinite(value);
        y[i] = value / scale;
    }
    if (overflow) numbers[2] = 1;
}
