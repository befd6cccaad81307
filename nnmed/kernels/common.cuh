// What all kernels share. `real` is float, or double where a file is compiled for float64.
#pragma once

#ifndef REAL
#define REAL float
#endif
typedef REAL real;

// The number of this thread among all threads of a grid of one dimension.
__device__ __forceinline__ int thread_number() {
    return blockIdx.x * blockDim.x + threadIdx.x;
}

// The sum of `value` over the 32 threads of a warp, in each of them. Pairs first, so that the
// order of the additions, and with it the rounding, is always the same.
template <class V> __device__ __forceinline__ V warp_sum(V value) {
    for (int distance = 16; distance > 0; distance /= 2) {
        value += __shfl_xor_sync(0xffffffffu, value, distance);
    }
    return value;
}

// The largest value in a warp, in each thread; NaN where there is one.
template <class V> __device__ __forceinline__ V warp_max(V value) {
    for (int distance = 16; distance > 0; distance /= 2) {
        V other = __shfl_xor_sync(0xffffffffu, value, distance);
        value = other > value || other != other ? other : value;
    }
    return value;
}

// The sum of `value` over a block of up to 1024 threads, a multiple of 32, in each of them.
template <class V> __device__ __forceinline__ V block_sum(V value, V *shared) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    value = warp_sum(value);
    __syncthreads();  // shared may still be in use by an earlier call
    if (lane == 0) shared[warp] = value;
    __syncthreads();
    return warp_sum(lane < warps ? shared[lane] : V(0));
}

// The largest value in a block, in each thread; NaN where there is one.
template <class V> __device__ __forceinline__ V block_max(V value, V *shared) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    value = warp_max(value);
    __syncthreads();
    if (lane == 0) shared[warp] = value;
    __syncthreads();
    return warp_max(shared[lane < warps ? lane : 0]);
}
