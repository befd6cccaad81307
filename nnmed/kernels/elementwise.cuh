// Kernels that compute each element from the elements of the same number of their inputs.
//
// Threads: one for `each` neighbouring elements, 4 where all arrays allow it (packs.py), else 1:
//
//     thread      0    |    1    |   2  ..      reads x and, for a gradient, dy,
//     element  0 1 2 3 | 4 5 6 7 | 8 9 ..       and writes y or dx
//
// Bytes: 2 numbers an element, 3 in a gradient. What is computed of them hides behind that, so
// such a kernel should run as fast as memory is copied.
//
// MAP<k>(name, parameters..., formula) defines y = formula of x, with k numbers as parameters;
// GRADIENT<k>(name, parameters..., formula) defines dx = formula of x and dy. Where a formula
// takes the output of forward instead of its input, it stands for x as well. `n` counts threads.
#pragma once

#include "packs.cuh"

template <int N, class F, class... Packs>
__device__ __forceinline__ void map_packs(F f, real *to, const Packs &...packs) {
    Pack<real, N> result;
#pragma unroll
    for (int j = 0; j < N; j++) result.v[j] = f(packs.v[j]...);
    write_pack(to, result);
}

// output = f(inputs...), element by element.
template <class F, class... Inputs>
__device__ __forceinline__ void map(int each, int n, F f, real *output, const Inputs *...inputs) {
    int i = thread_number();
    if (i >= n) return;
    if (each == 4) map_packs<4>(f, output + i * 4, read_pack<4>(inputs + i * 4)...);
    else map_packs<1>(f, output + i, read_pack<1>(inputs + i)...);
}

#define MAP_KERNEL(name, parameters, formula)                                       \
    extern "C" __global__ void name(                                                \
        const real *input, real *output, parameters int each, int n                 \
    ) {                                                                             \
        map(each, n, [=](real x) -> real { return formula; }, output, input);       \
    }

#define GRADIENT_KERNEL(name, parameters, formula)                                  \
    extern "C" __global__ void name(                                                \
        const real *input, const real *gradient, real *output, parameters int each, int n \
    ) {                                                                             \
        map(each, n, [=](real x, real dy) -> real { return formula; }, output, input, gradient); \
    }

#define COMMA ,
#define MAP0(name, formula) MAP_KERNEL(name, , formula)
#define MAP1(name, a, formula) MAP_KERNEL(name, real a COMMA, formula)
#define MAP2(name, a, b, formula) MAP_KERNEL(name, real a COMMA real b COMMA, formula)
#define MAP3(name, a, b, c, formula) \
    MAP_KERNEL(name, real a COMMA real b COMMA real c COMMA, formula)
#define GRADIENT0(name, formula) GRADIENT_KERNEL(name, , formula)
#define GRADIENT1(name, a, formula) GRADIENT_KERNEL(name, real a COMMA, formula)
#define GRADIENT2(name, a, b, formula) GRADIENT_KERNEL(name, real a COMMA real b COMMA, formula)
#define GRADIENT3(name, a, b, c, formula) \
    GRADIENT_KERNEL(name, real a COMMA real b COMMA real c COMMA, formula)
