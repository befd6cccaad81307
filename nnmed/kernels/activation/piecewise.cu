// Activation functions made of straight pieces, and their gradients: a sheet of formulas.
//
// A kernel is y = f(x) or dx = g(x, dy), element by element; elementwise.cuh says how threads
// meet elements and that copy bandwidth is the limit. A comparison with NaN is false: where NaN
// shall stay, it is the last case.
#include "elementwise.cuh"

MAP0(relu, x <= 0 ? real(0) : x)
GRADIENT0(relu_grad, x <= 0 ? real(0) : dy)  // of the output

MAP1(leaky_relu, slope, x > 0 ? x : slope * x)
GRADIENT1(leaky_relu_grad, slope, dy * (x > 0 ? real(1) : slope))

MAP2(threshold, limit, value, x <= limit ? value : x)
GRADIENT1(threshold_grad, limit, x <= limit ? real(0) : dy)

MAP2(hardtanh, low, high, x < low ? low : x > high ? high : x)
GRADIENT2(hardtanh_grad, low, high, x <= low || x >= high ? real(0) : dy)

__device__ __forceinline__ real gate(real x) {
    real y = x / 6 + real(0.5);
    return y < 0 ? real(0) : y > 1 ? real(1) : y;
}

MAP0(hardsigmoid, gate(x))
GRADIENT0(hardsigmoid_grad, -3 < x && x < 3 ? dy / 6 : real(0))

MAP0(hardswish, x * gate(x))
GRADIENT0(hardswish_grad, x <= -3 ? real(0) : x >= 3 ? dy : dy * (x / 3 + real(0.5)))

MAP1(hardshrink, limit, -limit <= x && x <= limit ? real(0) : x)
GRADIENT1(hardshrink_grad, limit, -limit <= x && x <= limit ? real(0) : dy)

MAP1(softshrink, limit, x > limit ? x - limit : x < -limit ? x + limit : 0 * x)

// The slope w is learnt; it comes as an array of the shape of x.
extern "C" __global__ void prelu(const real *x, const real *w, real *y, int each, int n) {
    map(each, n, [](real x, real w) { return x > 0 ? x : w * x; }, y, x, w);
}

extern "C" __global__ void prelu_grad(
    const real *x, const real *dy, const real *w, real *dx, real *dw, int each, int n
) {
    map(each, n, [](real x, real dy, real w) { return dy * (x > 0 ? real(1) : w); }, dx, x, dy, w);
    map(each, n, [](real x, real dy) { return x > 0 ? real(0) : dy * x; }, dw, x, dy);
}
