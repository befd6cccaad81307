// A product with a sparse matrix along one axis of an array (outer, inputs, inner):
//
//     y[outer, o, inner] = sum over s of  weight[o, s] x[outer, index[o, s], inner]
//
// Interpolation is one such product for each axis; padding too, with one tap of weight 1, or of
// weight 0 where the constant `fill` stands; their gradients are the transposed products. Where
// the weight is 0 nothing is read, so that NaN stays where it is.
//
// Threads: one a number of the result, neighbours along `inner`, which are neighbours in memory:
//
//     thread    0 1 2 ... inner-1 | inner ...
//     y         o, all inner      | o + 1, all inner ...
//
// Bytes: a number read, from the cache but for the first time, and 2 operations for each tap; one
// written. Limit: copy bandwidth.
#include "common.cuh"

extern "C" __global__ void apply_taps(
    const real *x, const int *index, const real *weight, real *y, real fill, int taps, int inputs,
    int outputs, int inner, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int o = i / inner % outputs;
    const real *from = x + i / (inner * outputs) * inputs * inner + i % inner;
    real sum = 0;
    bool used = false;
    for (int t = o * taps; t < (o + 1) * taps; t++) {
        if (weight[t] == 0) continue;
        sum += weight[t] * from[index[t] * inner];
        used = true;
    }
    y[i] = used ? sum : fill;
}
