// Values and their positions (row * width + column) in pictures (N, size, C): reading, writing and
// adding them. Neighbouring threads have neighbouring channels, which lie side by side.
//
// Reading: a thread a value. Positions may repeat. Writing: the last value wins, so a thread a
// value first leaves its number where it wants to write, if it is the largest there (an atomic
// maximum of integers, which gives the same result in every order); then a thread a pixel's
// channel reads the value of that number. Limit of both: copy bandwidth, of scattered numbers.
//
// Adding: a thread for each channel of an image walks over its values in order, so that sums
// have the same bits every time.
//
//     thread   0  1  2 ... C-1 | C ...        values    k = 0, 1, 2, ... one after the other
//     channel  0  1  2 ... C-1 | 0 ...
//     image          0         | 1 ...
//
// That takes as long as K accesses to memory, one after the other, and leaves most of the card
// idle where N * C is small. Only adaptive max pooling and second derivatives need it.
#include "common.cuh"

extern "C" __global__ void gather_plane(
    const real *x, const long long *indices, real *y, int size, int count, int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int image = i / (count * channels);
    y[i] = x[(image * size + (int)indices[i]) * channels + i % channels];
}

// last: (N, size, C), -1 at first.
extern "C" __global__ void find_last(
    const long long *indices, int *last, int size, int count, int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int image = i / (count * channels);
    atomicMax(last + (image * size + (int)indices[i]) * channels + i % channels, i);
}

extern "C" __global__ void place_last(const real *values, const int *last, real *y, int n) {
    int i = thread_number();
    if (i >= n) return;
    y[i] = last[i] < 0 ? real(0) : values[last[i]];
}

extern "C" __global__ void scatter_plane(
    const real *__restrict__ values, const long long *__restrict__ indices, real *y, int size,
    int count, int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int image = i / channels, c = i % channels;
    values += image * count * channels + c, indices += image * count * channels + c;
    y += image * size * channels + c;
#pragma unroll 8
    for (int k = 0; k < count * channels; k += channels) y[(int)indices[k] * channels] += values[k];
}
