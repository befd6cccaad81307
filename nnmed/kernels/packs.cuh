// Numbers that lie side by side in memory and belong to one thread, which moves them at a time.
//
// Four channels a thread: what it takes to find their place is paid once for all, and a warp moves
// 512 bytes by one instruction. Arrays must then begin at multiples of 16 bytes.
#pragma once

#include "common.cuh"

template <class T, int N> struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Pack {
    T v[N];

    __device__ static Pack of(T value) {
        Pack pack;
#pragma unroll
        for (int j = 0; j < N; j++) pack.v[j] = value;
        return pack;
    }
};

template <int N, class T> __device__ __forceinline__ Pack<T, N> read_pack(const T *from) {
    return *(const Pack<T, N> *)from;
}

template <class T, int N>
__device__ __forceinline__ void write_pack(T *to, const Pack<T, N> &pack) {
    *(Pack<T, N> *)to = pack;
}

// sum += factor * values
template <int N>
__device__ __forceinline__ void add(Pack<real, N> &sum, const Pack<real, N> &values, real factor) {
#pragma unroll
    for (int j = 0; j < N; j++) sum.v[j] += factor * values.v[j];
}
