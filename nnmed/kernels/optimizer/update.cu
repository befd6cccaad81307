// One step of an optimizer, for all parameters in one launch; the formulas stand in reference.py.
//
// Blocks: one a chunk of a parameter, as chunks.cuh draws it. Threads: neighbours in memory side
// by side, and each has four elements under way:
//
//     element    first  +1  ...  +255 | +256 ... +511 | +512 ... +767 | +768 ... +1023 | ...
//     thread       0     1  ...   255 |   0  ...  255 |   0  ...  255 |   0  ...   255 |  0
//                  `---- read 4 x (p, g, states), compute, write 4 x (p, states) ----'
//
// Each kernel takes a row of numbers a parameter, in the order of its struct. They are what
// remains of learning rate, step count and decays when all that is the same for every element
// has been computed on the host. `scaling` is null, or two numbers: what the gradients are to be
// divided by, and where the second is not 0, nothing is changed. So all that differs from step to
// step is read from the device's memory, and a captured graph can be run again with other numbers.
//
// Numbers read and written an element: 2 + 1 and for each state 1 + 1, so Adam moves 28 bytes of
// float32. That is 10 to 20 operations, a root and a division: every rule should run as fast as
// memory is copied.
#include "optimizer/chunks.cuh"

// Apply RULE(e, array, numbers) to each element of the block's chunk. e[0] is the element of the
// parameter, e[1] of the gradient, e[2] and on of the states: 0 where the pointer is null.
template <class Numbers, int ARRAYS,
          void (*RULE)(real (&e)[ARRAYS], real *const (&array)[ARRAYS], const Numbers &n)>
__device__ void update(const int *chunks, const long long *arrays, const real *numbers,
                       const real *scaling, int length) {
    if (scaling && scaling[1] != 0) return;
    const real factor = scaling ? 1 / scaling[0] : real(1);
    const Chunk chunk = this_chunk(chunks, length);
    const Numbers n = ((const Numbers *)numbers)[chunk.parameter];
    real *array[ARRAYS];
    read_pointers(arrays, chunk.parameter, array);
    for (unsigned i = chunk.first + threadIdx.x; i < chunk.last; i += UNROLL * blockDim.x) {
        real e[UNROLL][ARRAYS];
#pragma unroll
        for (int u = 0; u < UNROLL; u++) {
            unsigned at = i + u * blockDim.x;
            for (int k = 0; k < ARRAYS; k++) e[u][k] = array[k] && at < chunk.last ? array[k][at] : real(0);
        }
#pragma unroll
        for (int u = 0; u < UNROLL; u++) {
            unsigned at = i + u * blockDim.x;
            e[u][1] *= factor;
            RULE(e[u], array, n);
            for (int k = 0; k < ARRAYS; k++) {
                if (k != 1 && array[k] && at < chunk.last) array[k][at] = e[u][k];
            }
        }
    }
}

__device__ __forceinline__ real larger(real a, real b) {
    return b > a || b != b ? b : a;  // NaN where one is
}

struct Sgd {
    real sign, decay, keep, take, look_ahead, lr;
};
__device__ __forceinline__ void sgd_rule(real (&e)[3], real *const (&array)[3], const Sgd &n) {
    real &p = e[0], &b = e[2], d = gradient(e[1], p, n.sign, n.decay);
    if (array[2]) {
        move_average(b, d, n.keep, n.take);
        d = n.look_ahead != 0 ? d + n.look_ahead * b : b;
    }
    p -= n.lr * d;
}
extern "C" __global__ void sgd(const int *chunks, const long long *arrays, const real *numbers,
                               const real *scaling, int length) {
    update<Sgd, 3, sgd_rule>(chunks, arrays, numbers, scaling, length);
}

// m / (sqrt(v) / root + eps) = root * m / (sqrt(v) + root * eps), which saves a division; root is
// in `eps` and `rate`.
struct Adam {
    real sign, decay, shrink, keep_m, take_m, keep_v, take_v, eps, rate;
};
__device__ __forceinline__ void adam_rule(real (&e)[5], real *const (&array)[5], const Adam &n) {
    real &p = e[0], &m = e[2], &v = e[3], &u = e[4];
    p *= n.shrink;
    real g = gradient(e[1], p, n.sign, n.decay);
    move_average(m, g, n.keep_m, n.take_m);
    move_average(v, g * g, n.keep_v, n.take_v);
    u = larger(u, v);
    p -= n.rate * (m / (sqrt(array[4] ? u : v) + n.eps));
}
extern "C" __global__ void adam(const int *chunks, const long long *arrays, const real *numbers,
                                const real *scaling, int length) {
    update<Adam, 5, adam_rule>(chunks, arrays, numbers, scaling, length);
}

struct RmsProp {
    real sign, decay, keep, take, eps, momentum, lr;
};
__device__ __forceinline__ void rmsprop_rule(real (&e)[5], real *const (&array)[5], const RmsProp &n) {
    real &p = e[0], &v = e[2], &a = e[3], &b = e[4];
    real g = gradient(e[1], p, n.sign, n.decay), variance;
    move_average(v, g * g, n.keep, n.take);
    move_average(a, g, n.keep, n.take);
    variance = array[3] ? larger(0, v - a * a) : v;
    real d = g / (sqrt(variance) + n.eps);
    b = n.momentum * b + d;
    p -= n.lr * (array[4] ? b : d);
}
extern "C" __global__ void rmsprop(const int *chunks, const long long *arrays, const real *numbers,
                                   const real *scaling, int length) {
    update<RmsProp, 5, rmsprop_rule>(chunks, arrays, numbers, scaling, length);
}

struct Adagrad {
    real sign, decay, eps, rate;
};
__device__ __forceinline__ void adagrad_rule(real (&e)[3], real *const (&)[3], const Adagrad &n) {
    real &p = e[0], &s = e[2], g = gradient(e[1], p, n.sign, n.decay);
    s += g * g;
    p -= n.rate * (g / (sqrt(s) + n.eps));
}
extern "C" __global__ void adagrad(const int *chunks, const long long *arrays, const real *numbers,
                                   const real *scaling, int length) {
    update<Adagrad, 3, adagrad_rule>(chunks, arrays, numbers, scaling, length);
}

struct Adadelta {
    real sign, decay, keep, take, eps, lr;
};
__device__ __forceinline__ void adadelta_rule(real (&e)[4], real *const (&)[4], const Adadelta &n) {
    real &p = e[0], &v = e[2], &u = e[3], g = gradient(e[1], p, n.sign, n.decay);
    move_average(v, g * g, n.keep, n.take);
    real d = sqrt(u + n.eps) / sqrt(v + n.eps) * g;
    move_average(u, d * d, n.keep, n.take);
    p -= n.lr * d;
}
extern "C" __global__ void adadelta(const int *chunks, const long long *arrays, const real *numbers,
                                    const real *scaling, int length) {
    update<Adadelta, 4, adadelta_rule>(chunks, arrays, numbers, scaling, length);
}

struct Adamax {
    real sign, decay, keep_m, take_m, keep_u, eps, rate;
};
__device__ __forceinline__ void adamax_rule(real (&e)[4], real *const (&)[4], const Adamax &n) {
    real &p = e[0], &m = e[2], &u = e[3], g = gradient(e[1], p, n.sign, n.decay);
    move_average(m, g, n.keep_m, n.take_m);
    u = larger(n.keep_u * u, fabs(g) + n.eps);
    p -= n.rate * (m / u);
}
extern "C" __global__ void adamax(const int *chunks, const long long *arrays, const real *numbers,
                                  const real *scaling, int length) {
    update<Adamax, 4, adamax_rule>(chunks, arrays, numbers, scaling, length);
}

struct NAdam {
    real sign, decay, shrink, keep_m, take_m, keep_v, take_v, rate_g, rate_m, correction, eps;
};
__device__ __forceinline__ void nadam_rule(real (&e)[4], real *const (&)[4], const NAdam &n) {
    real &p = e[0], &m = e[2], &v = e[3];
    p *= n.shrink;
    real g = gradient(e[1], p, n.sign, n.decay);
    move_average(m, g, n.keep_m, n.take_m);
    move_average(v, g * g, n.keep_v, n.take_v);
    p -= (n.rate_g * g + n.rate_m * m) / (sqrt(n.correction * v) + n.eps);
}
extern "C" __global__ void nadam(const int *chunks, const long long *arrays, const real *numbers,
                                 const real *scaling, int length) {
    update<NAdam, 4, nadam_rule>(chunks, arrays, numbers, scaling, length);
}

struct RAdam {
    real sign, decay, shrink, keep_m, take_m, keep_v, take_v, rectified, eps, rate;
};
__device__ __forceinline__ void radam_rule(real (&e)[4], real *const (&)[4], const RAdam &n) {
    real &p = e[0], &m = e[2], &v = e[3];
    p *= n.shrink;
    real g = gradient(e[1], p, n.sign, n.decay);
    move_average(m, g, n.keep_m, n.take_m);
    move_average(v, g * g, n.keep_v, n.take_v);
    p -= n.rate * (n.rectified != 0 ? m / (sqrt(v) + n.eps) : m);
}
extern "C" __global__ void radam(const int *chunks, const long long *arrays, const real *numbers,
                                 const real *scaling, int length) {
    update<RAdam, 4, radam_rule>(chunks, arrays, numbers, scaling, length);
}

struct Lion {
    real sign, shrink, keep_d, take_d, keep_m, take_m, lr;
};
__device__ __forceinline__ void lion_rule(real (&e)[3], real *const (&)[3], const Lion &n) {
    real &p = e[0], &m = e[2], g = n.sign * e[1], d = n.keep_d * m + n.take_d * g;
    p *= n.shrink;
    if (d != 0) p -= d > 0 ? n.lr : d < 0 ? -n.lr : d;  // NaN stays NaN
    move_average(m, g, n.keep_m, n.take_m);
}
extern "C" __global__ void lion(const int *chunks, const long long *arrays, const real *numbers,
                                const real *scaling, int length) {
    update<Lion, 3, lion_rule>(chunks, arrays, numbers, scaling, length);
}

struct Average {
    real weight;
};
__device__ __forceinline__ void average_rule(real (&e)[2], real *const (&)[2], const Average &n) {
    e[0] += n.weight * (e[1] - e[0]);
}
extern "C" __global__ void average(const int *chunks, const long long *arrays, const real *numbers,
                                   const real *scaling, int length) {
    update<Average, 2, average_rule>(chunks, arrays, numbers, scaling, length);
}
