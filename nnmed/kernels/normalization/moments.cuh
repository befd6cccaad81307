// Means and squared differences from them, of parts of the data that are merged.
#pragma once

#include "packs.cuh"

// `count` numbers of each of N columns: their mean, and the sum of squared differences from it.
template <class T, int N> struct Moments {
    Pack<T, N> mean, square;
    int count;

    // Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    // variances", 1979, equations 2.1. Nothing cancels where the mean is large.
    __device__ void merge(const Moments &other) {
        if (other.count == 0) return;
        T all = count + other.count, share = other.count / all;
#pragma unroll
        for (int j = 0; j < N; j++) {
            T delta = other.mean.v[j] - mean.v[j];
            mean.v[j] += delta * share;
            square.v[j] += other.square.v[j] + delta * delta * share * count;
        }
        count += other.count;
    }

    __device__ static Moments nothing() { return {Pack<T, N>::of(0), Pack<T, N>::of(0), 0}; }
};

// The moments of few numbers of each column, `distance` apart, less `shift`. They are read at a
// time, which keeps the memory busy, and take a single division.
template <int COUNT, int N>
__device__ __forceinline__ Moments<real, N> moments_of(
    const real *x, int distance, const Pack<real, N> &shift
) {
    Pack<real, N> values[COUNT];
#pragma unroll
    for (int k = 0; k < COUNT; k++) values[k] = read_pack<N>(x + k * distance);
    auto few = Moments<real, N>::nothing();
    few.count = COUNT;
#pragma unroll
    for (int j = 0; j < N; j++) {
#pragma unroll
        for (int k = 0; k < COUNT; k++) few.mean.v[j] += values[k].v[j] -= shift.v[j];
        few.mean.v[j] /= COUNT;
#pragma unroll
        for (int k = 0; k < COUNT; k++) {
            real difference = values[k].v[j] - few.mean.v[j];
            few.square.v[j] += difference * difference;
        }
    }
    return few;
}
