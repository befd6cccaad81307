// Kernels that compute each element from the element of the same number of their inputs.
//
// Threads: one an element, neighbours in memory side by side.
//
//     thread   0  1  2  3  ...        each reads x[i], for a gradient also dy[i],
//     element  0  1  2  3  ...        and writes y[i] or dx[i]
//
// Bytes: 2 numbers an element, 3 in a gradient. What is computed of them hides behind that, so
// such a kernel should run as fast as memory is copied.
//
// MAP<k>(name, parameters..., formula) defines y = formula of x, with k numbers as parameters;
// GRADIENT<k>(name, parameters..., formula) defines dx = formula of dy and x. Where a formula
// takes the output of forward instead of its input, it stands for x as well.
#pragma once

#include "common.cuh"

#define MAP_KERNEL(name, parameters, formula)                                       \
    extern "C" __global__ void name(const real *input, real *output, parameters int n) { \
        int i = thread_number();                                                    \
        if (i >= n) return;                                                         \
        real x = input[i];                                                          \
        output[i] = formula;                                                        \
    }

#define GRADIENT_KERNEL(name, parameters, formula)                                  \
    extern "C" __global__ void name(const real *gradient, const real *input, real *output, \
                                    parameters int n) {                             \
        int i = thread_number();                                                    \
        if (i >= n) return;                                                         \
        real x = input[i], dy = gradient[i];                                        \
        output[i] = formula;                                                        \
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
