// Smooth activation functions and their gradients: a sheet of formulas.
//
// A kernel is y = f(x) or dx = g(x, dy), element by element; elementwise.cuh says how threads
// meet elements. An exp or tanh takes some tens of operations, which still hide behind memory
// in float32, so copy bandwidth is the limit. Where an exp overflows, 1 / infinity = 0 is right.
#include "elementwise.cuh"

__device__ __forceinline__ real sigmoid_of(real x) { return 1 / (1 + exp(-x)); }

// log(1 + exp(x))
__device__ __forceinline__ real log_one_plus_exp(real x) {
    return (x > 0 ? x : x <= 0 ? real(0) : x) + log1p(exp(-abs(x)));
}

__device__ __forceinline__ real normal_cdf(real x) {
    return erfc(-x * real(0.70710678118654752)) / 2;  // sqrt(1/2)
}

__device__ __forceinline__ real normal_density(real x) {
    return exp(x * x * real(-0.5)) * real(0.39894228040143268);  // 1 / sqrt(2 pi)
}

// Arguments of tanh in gelu's approximation, k (x + c x^3) with k = sqrt(2/pi), and its slope.
#define GELU_K real(0.79788456080286536)
#define GELU_C real(0.044715)
__device__ __forceinline__ real gelu_argument(real x) { return GELU_K * x * (1 + GELU_C * x * x); }
__device__ __forceinline__ real gelu_slope(real x) { return GELU_K * (1 + 3 * GELU_C * x * x); }

MAP0(sigmoid, sigmoid_of(x))
GRADIENT0(sigmoid_grad, dy * x * (1 - x))  // of the output

MAP0(tanh_of, tanh(x))
GRADIENT0(tanh_grad, dy * (1 - x * x))  // of the output

MAP0(silu, x * sigmoid_of(x))
GRADIENT0(silu_grad, dy * sigmoid_of(x) * (1 + x * sigmoid_of(-x)))

MAP0(logsigmoid, -log_one_plus_exp(-x))
GRADIENT0(logsigmoid_grad, dy * sigmoid_of(-x))

MAP2(softplus, beta, limit, beta * x > limit ? x : log_one_plus_exp(beta * x) / beta)
GRADIENT2(softplus_grad, beta, limit, beta * x > limit ? dy : dy * sigmoid_of(beta * x))

MAP0(softsign, x / (1 + abs(x)))
GRADIENT0(softsign_grad, dy / ((1 + abs(x)) * (1 + abs(x))))

MAP0(tanhshrink, x - tanh(x))
GRADIENT0(tanhshrink_grad, dy * tanh(x) * tanh(x))

MAP3(elu, alpha, scale, input_scale, scale * (x > 0 ? x : alpha * expm1(input_scale * x)))
GRADIENT3(
    elu_grad, alpha, scale, input_scale,
    dy * scale * (x > 0 ? real(1) : alpha * input_scale * exp(input_scale * x))
)

MAP0(mish, x * tanh(log_one_plus_exp(x)))

// t + x (1 - t^2) sigmoid(x), t = tanh(log(1 + exp(x))). Beyond 20, t is 1.
__device__ __forceinline__ real mish_slope(real x) {
    real t = tanh(log_one_plus_exp(x));
    return t + (x > 20 ? real(0) : x * (1 - t * t) * sigmoid_of(x));
}
GRADIENT0(mish_grad, dy * mish_slope(x))

extern "C" __global__ void glu(const real *a, const real *b, real *y, int each, int n) {
    map(each, n, [](real a, real b) { return a * sigmoid_of(b); }, y, a, b);
}

extern "C" __global__ void glu_grad(
    const real *a, const real *b, const real *dy, real *da, real *db, int each, int n
) {
    map(each, n, [](real b, real dy) { return dy * sigmoid_of(b); }, da, b, dy);
    auto of_gate = [](real a, real b, real dy) { return dy * a * sigmoid_of(b) * sigmoid_of(-b); };
    map(each, n, of_gate, db, a, b, dy);
}

MAP0(erf_of, erf(x))
GRADIENT0(erf_grad, dy * real(1.1283791670955126) * exp(-x * x))  // 2 / sqrt(pi)

MAP0(gelu, x * normal_cdf(x))

// Far out the density is 0 where x may be infinite.
GRADIENT0(gelu_grad, dy * (normal_cdf(x) + (abs(x) > 40 ? real(0) : x * normal_density(x))))

MAP0(gelu_tanh, x * ((1 + tanh(gelu_argument(x))) / 2))

__device__ __forceinline__ real gelu_tanh_slope(real x) {
    real t = tanh(gelu_argument(x));
    real curved = abs(x) > 40 ? real(0) : x * (1 - t * t) * gelu_slope(x);
    return (1 + t + curved) / 2;
}
GRADIENT0(gelu_tanh_grad, dy * gelu_tanh_slope(x))
