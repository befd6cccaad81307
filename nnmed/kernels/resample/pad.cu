// Padding along one axis of an array (outer, inputs, inner), of numbers of any type:
//
//     y[outer, o, inner] = x[outer, index[o], inner], or the constant `fill` where inside[o] is 0
//
// Numbers are only moved, so their type does not matter, but how many bytes they have. Threads: as
// in taps.cu, one for `each` numbers of the result. Bytes: a number read and one written.
// Limit: copy bandwidth.
#include "packs.cuh"

template <int EACH, class Number>
__device__ __forceinline__ void move(
    const Number *x, const int *index, const real *inside, Number *y, Number fill, int inputs,
    int outputs, int inner, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int packs = inner / EACH, line = i / packs, o = line % outputs;
    auto pack = Pack<Number, EACH>::of(fill);
    if (inside[o] != 0) {
        int from = (line / outputs * inputs + index[o]) * inner + i % packs * EACH;
        pack = read_pack<EACH>(x + from);
    }
    write_pack(y + i * EACH, pack);
}

// A kernel for each number of bytes.
#define PAD(bytes, Number)                                                                \
    extern "C" __global__ void pad_##bytes(                                               \
        const Number *x, const int *index, const real *inside, Number *y, Number fill,    \
        int inputs, int outputs, int inner, int each, int n                               \
    ) {                                                                                   \
        if (each == 4) move<4>(x, index, inside, y, fill, inputs, outputs, inner, n);     \
        else move<1>(x, index, inside, y, fill, inputs, outputs, inner, n);               \
    }
PAD(1, unsigned char)
PAD(2, unsigned short)
PAD(4, unsigned)
PAD(8, unsigned long long)
