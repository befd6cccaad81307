// Values and their positions (row * width + column) in pictures (N, size, C): reading, writing,
// adding.
//
// Reading: a thread a value. Writing and adding, where positions may repeat: a thread for each
// channel of an image walks over its values in order, neighbours along the channels:
//
//     thread   0  1  2 ... C-1 | C ...       so the last value wins, and sums are made in one
//     channel  0  1  2 ... C-1 | 0 ...       order: the same bits every time, without atomics
//     image          0         | 1 ...
//
// That leaves most of the card idle where N * C is small; pooling's own gradients do without it.
#include "common.cuh"

extern "C" __global__ void gather_plane(
    const real *x, const long long *indices, real *y, int size, int values, int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int image = i / (values * channels);
    y[i] = x[(image * size + (int)indices[i]) * channels + i % channels];
}

extern "C" __global__ void scatter_plane(
    const real *values, const long long *indices, real *y, int size, int count, int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int image = i / channels, c = i % channels;
    for (int k = 0; k < count; k++) {
        int from = (image * count + k) * channels + c;
        y[(image * size + (int)indices[from]) * channels + c] += values[from];
    }
}

extern "C" __global__ void place_plane(
    const real *values, const long long *indices, real *y, int size, int count, int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int image = i / channels, c = i % channels;
    for (int k = 0; k < count; k++) {
        int from = (image * count + k) * channels + c;
        y[(image * size + (int)indices[from]) * channels + c] = values[from];
    }
}
