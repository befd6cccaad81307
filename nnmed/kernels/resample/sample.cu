// Sampling of pictures x (N, size, C) at places that the data choose, as grid_sample does:
//
//     y[n, p, c] = sum over k of  weight[k, n, p] x[n, index[k, n, p], c]        (0 where negative)
//
// and its gradients. Threads: one a number of the result, neighbours along the channels.
//
// The gradient by x adds many values at one place. So that nobody has to wait, and sums have one
// order, the entries are sorted by their place beforehand, and a thread walks over its own:
//
//     place    0    1      2   ...      entries of place i: order[start[i]] .. order[start[i+1] - 1]
//     entries  7 9  -  0 4 12
//
// Bytes: each number of x and y about K times. Limit: copy bandwidth of scattered reads.
#include "common.cuh"

extern "C" __global__ void sample(
    const real *x, const long long *index, const real *weight, real *y, int taps, int images,
    int size, int places, int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int c = i % channels, place = i / channels, image = place / places;
    real sum = 0;
    for (int k = 0; k < taps; k++) {
        int entry = k * images * places + place, source = (int)index[entry];
        if (source >= 0) sum += weight[entry] * x[(image * size + source) * channels + c];
    }
    y[i] = sum;
}

extern "C" __global__ void sample_input_grad(
    const real *dy, const long long *order, const long long *start, const real *weight, real *dx,
    int images, int places, int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int c = i % channels, target = i / channels;
    real sum = 0;
    for (long long j = start[target]; j < start[target + 1]; j++) {
        int entry = (int)order[j];
        sum += weight[entry] * dy[entry % (images * places) * channels + c];
    }
    dx[i] = sum;
}

extern "C" __global__ void sample_weight_grad(
    const real *dy, const real *x, const long long *index, real *dweight, int images, int size,
    int places, int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int place = i % (images * places), source = (int)index[i];
    real sum = 0;
    if (source >= 0) {
        const real *from = x + (place / places * size + source) * channels;
        for (int c = 0; c < channels; c++) sum += dy[place * channels + c] * from[c];
    }
    dweight[i] = sum;
}
