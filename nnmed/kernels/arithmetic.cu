// Gradients of arithmetic: a sheet of formulas, those of the classes in ops/elementwise.py.
//
// A gradient such as -dy a / b^2 is a chain of products and quotients. Called one after another
// they would each read and write an array; here the chain is one kernel. elementwise.cuh says how
// threads meet elements, and that copy bandwidth is the limit. Bytes: a number an element for
// each array that is read or written. A gradient that is not wanted is a null pointer.
#include "elementwise.cuh"

extern "C" __global__ void mul_grad(
    const real *a, const real *b, const real *dy, real *da, real *db, int each, int n
) {
    auto product = [](real other, real dy) { return dy * other; };
    if (da) map(each, n, product, da, b, dy);
    if (db) map(each, n, product, db, a, dy);
}

extern "C" __global__ void div_grad(
    const real *a, const real *b, const real *dy, real *da, real *db, int each, int n
) {
    if (da) map(each, n, [](real b, real dy) { return dy / b; }, da, b, dy);
    if (db) map(each, n, [](real a, real b, real dy) { return -dy / b * (a / b); }, db, a, b, dy);
}

__device__ __forceinline__ real power(real x, real p) {
    return p == 1 ? x : p == 2 ? x * x : pow(x, p);
}

// At 0^0, b a^(b-1) would be 0 times infinity: y is 1 there for every a. At a = 0, y log a would be.
extern "C" __global__ void pow_grad(
    const real *a, const real *b, const real *y, const real *dy, real *da, real *db, int each, int n
) {
    auto by_a = [](real a, real b, real dy) {
        return dy * b * power(a == 0 && b == 0 ? real(1) : a, b - 1);
    };
    auto by_b = [](real a, real b, real y, real dy) {
        return a == 0 && b >= 0 ? real(0) : dy * y * log(a);
    };
    if (da) map(each, n, by_a, da, a, b, dy);
    if (db) map(each, n, by_b, db, a, b, y, dy);
}

GRADIENT1(pow_scalar_grad, p, p == 0 ? 0 * dy : p == 1 ? dy * p : dy * (p * power(x, p - 1)))
GRADIENT0(sqrt_grad, dy / (2 * x))  // of the output
GRADIENT0(sin_grad, dy * cos(x))
GRADIENT0(cos_grad, -dy * sin(x))
GRADIENT0(abs_grad, dy * (x > 0 ? real(1) : x < 0 ? real(-1) : 0 * x))  // NaN stays
