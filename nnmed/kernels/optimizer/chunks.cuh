// One launch over the arrays of many parameters.
//
// The arrays are cut into chunks, and a block takes one of them:
//
//     parameter     0                    1    2
//                   |--------|--------|--|----|--------|---|
//     block         0        1        2  3    4        5         (dashes: `length` elements)
//
// chunks   three numbers for each block: parameter, first element, elements of its arrays
// arrays   a pointer for each array of each parameter: a row of them a parameter
#pragma once
#include "common.cuh"

constexpr int UNROLL = 4;  // elements a thread reads before it writes: enough reads are under way

struct Chunk {
    int parameter;
    unsigned first, last;  // elements first <= i < last
};

__device__ Chunk this_chunk(const int *chunks, int length) {
    const int *chunk = chunks + 3 * blockIdx.x;
    unsigned first = chunk[1], size = chunk[2];
    return {chunk[0], first, min(first + length, size)};
}

// Put the pointers of a parameter into registers.
template <int COUNT>
__device__ void read_pointers(const long long *arrays, int parameter, real *(&pointers)[COUNT]) {
    for (int k = 0; k < COUNT; k++) pointers[k] = (real *)arrays[parameter * COUNT + k];
}

// What the formulas call g.
__device__ __forceinline__ real gradient(real g, real p, real sign, real decay) {
    return decay != 0 ? sign * g + decay * p : sign * g;
}

__device__ __forceinline__ void move_average(real &mean, real value, real keep, real take) {
    mean = keep * mean + take * value;
}
