// LAMB in two launches over all parameters; the formula stands in reference.py.
//
// Blocks and threads as in update.cu: a block a chunk. The length of a parameter's step depends
// on two norms over all of it, which its chunks find out together:
//
//     lamb_moments    chunk 0   chunk 1   chunk 2      m and v anew, and the sums of p^2 and d^2
//                        |         |         |
//     partials        (p2,d2)   (p2,d2)   (p2,d2)      two doubles a chunk
//                        |\        |        /|
//     lamb_move       chunk 0   chunk 1   chunk 2      each adds up all, in the same order, and
//                                                      moves its p by lr * |p| / |d| * d
//
// The direction d is computed again from m, v and p: to read two arrays costs as much as to write
// one and read it. Bytes of float32: 4 x 4 read and 2 x 4 written an element in the first launch,
// 3 x 4 and 1 x 4 in the second, 40 in all with a few operations each: a memory copy's speed.
#include "optimizer/chunks.cuh"

struct Lamb {
    real sign, decay, keep_m, take_m, keep_v, take_v, eps, rate, lr;
};

__device__ __forceinline__ real direction(real p, real m, real v, const Lamb &n) {
    return n.rate * (m / (sqrt(v) + n.eps)) + n.decay * p;
}

extern "C" __global__ void lamb_moments(const int *chunks, const long long *arrays, const real *numbers,
                                        const real *scaling, double *partials, int length) {
    __shared__ double shared[32];
    if (scaling && scaling[1] != 0) return;
    const real factor = scaling ? 1 / scaling[0] : real(1);
    const Chunk chunk = this_chunk(chunks, length);
    const Lamb n = ((const Lamb *)numbers)[chunk.parameter];
    real *array[4];
    read_pointers(arrays, chunk.parameter, array);
    const real *p = array[0], *g = array[1];
    real *m = array[2], *v = array[3];
    double parameter = 0, step = 0;
#pragma unroll UNROLL
    for (unsigned i = chunk.first + threadIdx.x; i < chunk.last; i += blockDim.x) {
        real value = n.sign * factor * g[i], moment = m[i], square = v[i];
        move_average(moment, value, n.keep_m, n.take_m);
        move_average(square, value * value, n.keep_v, n.take_v);
        m[i] = moment;
        v[i] = square;
        double d = direction(p[i], moment, square, n);
        parameter += (double)p[i] * p[i];
        step += d * d;
    }
    parameter = block_sum(parameter, shared);
    step = block_sum(step, shared);
    if (threadIdx.x == 0) {
        partials[2 * blockIdx.x] = parameter;
        partials[2 * blockIdx.x + 1] = step;
    }
}

extern "C" __global__ void lamb_move(const int *chunks, const long long *arrays, const real *numbers,
                                     const real *scaling, const double *partials, int length) {
    __shared__ double shared[32];
    if (scaling && scaling[1] != 0) return;
    const Chunk chunk = this_chunk(chunks, length);
    const int size = chunks[3 * blockIdx.x + 2];
    const double *first = partials + 2 * (blockIdx.x - chunk.first / length);
    double parameter = 0, step = 0;
    for (int k = threadIdx.x; (long long)k * length < size; k += blockDim.x) {
        parameter += first[2 * k];
        step += first[2 * k + 1];
    }
    parameter = sqrt(block_sum(parameter, shared));
    step = sqrt(block_sum(step, shared));
    const Lamb n = ((const Lamb *)numbers)[chunk.parameter];
    const real size_of_step = n.lr * (parameter > 0 && step > 0 ? parameter / step : 1.0);
    real *array[4];
    read_pointers(arrays, chunk.parameter, array);
    real *p = array[0];
    const real *m = array[2], *v = array[3];
#pragma unroll UNROLL
    for (unsigned i = chunk.first + threadIdx.x; i < chunk.last; i += blockDim.x) {
        p[i] -= size_of_step * direction(p[i], m[i], v[i], n);
    }
}
