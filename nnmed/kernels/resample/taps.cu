// A product with a sparse matrix along one axis of an array (outer, inputs, inner):
//
//     y[outer, o, inner] = sum over s of  weight[o, s] x[outer, index[o, s], inner]
//
// Interpolation is one such product for each axis; its gradient, and that of padding, is the
// product with the transposed matrix. Where the weight is 0 nothing is read, so that NaN stays
// where it is.
//
// Threads: one for `each` numbers of the result, 4 or 1 that are neighbours along `inner`, and in
// memory:
//
//     thread    0   1   2  ..  inner/4-1 | inner/4 ..
//     inner     0-3 4-7 ..               | 0-3 ..            a warp has the same taps, or
//     y         o                        | o + 1 ..          those of a few neighbours
//
// Bytes: a number read, from the cache but for the first time, and 2 operations for each tap; one
// written. Limit: copy bandwidth.
#include "packs.cuh"

template <int EACH>
__device__ __forceinline__ void apply(
    const real *x, const int *index, const real *weight, real *y, int taps, int inputs,
    int outputs, int inner, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int packs = inner / EACH, line = i / packs, o = line % outputs;
    const real *from = x + line / outputs * inputs * inner + i % packs * EACH;
    auto sum = Pack<real, EACH>::of(0);
    for (int t = o * taps; t < (o + 1) * taps; t++) {
        if (weight[t] != 0) add(sum, read_pack<EACH>(from + index[t] * inner), weight[t]);
    }
    write_pack(y + i * EACH, sum);
}

extern "C" __global__ void apply_taps(
    const real *x, const int *index, const real *weight, real *y, int taps, int inputs,
    int outputs, int inner, int each, int n
) {
    if (each == 4) apply<4>(x, index, weight, y, taps, inputs, outputs, inner, n);
    else apply<1>(x, index, weight, y, taps, inputs, outputs, inner, n);
}
