// Batch and group normalisation of an array (images, pixels, C), channels side by side.
//
//     y = (x - mean) / sqrt(var + eps) * weight + bias
//
// with mean and var of each channel over the whole batch (which then counts as one image), or
// of each group of `each` channels of an image. Formulas of the gradient: see reference.py.
//
// Statistics need two kernels, since blocks do not wait for one another. In the first a block
// takes 32 channels and a part of the pixels, each thread every eighth pixel of one channel:
//
//              channel 0 1 2 ... 31          a warp reads 32 neighbours in memory
//     pixel 0          . . . ... .   warp 0
//     pixel 1          . . . ... .   warp 1
//       ...                                  then the eight of a channel are merged
//     pixel 7          . . . ... .   warp 7
//
// In the second a thread merges the parts, in order: the same bits every time. Means and squares
// are kept by Welford's rule and merged by Chan's, so that a mean that is large against the
// spread does no harm; merging is in double, as one addition in hundreds costs nothing.
//
// Bytes: statistics read a number an element, the rest reads 1 or 2 and writes 1. Limit: copy
// bandwidth.
#include "common.cuh"

#define LANES 32
#define WARPS 8

struct Moments {
    double count, mean, square;

    // Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    // variances", 1979.
    __device__ void merge(double n, double mu, double s) {
        if (n == 0) return;
        double total = count + n, delta = mu - mean;
        mean += delta * n / total;
        square += s + delta * delta * count * n / total;
        count = total;
    }
};

// Mean and sum of squared differences of a part of the pixels: parts is (images, parts, C, 2).
extern "C" __global__ void moments(
    const real *x, double *parts, int pixels, int channels, int each
) {
    __shared__ real means[WARPS][LANES], squares[WARPS][LANES];
    __shared__ int counts[WARPS];
    int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
    int c = blockIdx.x * LANES + lane, image = blockIdx.z;
    int first = blockIdx.y * each, last = min(pixels, first + each), count = 0;
    real mean = 0, square = 0;
    if (c < channels) {
        for (int p = first + warp; p < last; p += WARPS) {
            real value = x[(image * pixels + p) * channels + c], delta = value - mean;
            mean += delta / ++count;
            square += delta * (value - mean);
        }
    }
    means[warp][lane] = mean, squares[warp][lane] = square;
    if (lane == 0) counts[warp] = count;
    __syncthreads();
    if (warp > 0 || c >= channels) return;
    Moments all = {0, 0, 0};
    for (int w = 0; w < WARPS; w++) all.merge(counts[w], means[w][lane], squares[w][lane]);
    double *part = parts + ((image * gridDim.y + blockIdx.y) * channels + c) * 2;
    part[0] = all.mean, part[1] = all.square;
}

// Mean and variance of each group of channels of each image, (images, groups).
extern "C" __global__ void merge_moments(
    const double *parts, double *mean, double *var, int pixels, int channels, int each,
    int count, int of_group, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int groups = channels / of_group, image = i / groups, first = i % groups * of_group;
    Moments all = {0, 0, 0};
    for (int part = 0; part < count; part++) {
        int size = min(each, pixels - part * each);
        for (int c = first; c < first + of_group; c++) {
            const double *of_part = parts + ((image * count + part) * channels + c) * 2;
            all.merge(size, of_part[0], of_part[1]);
        }
    }
    mean[i] = all.mean;
    var[i] = all.square / all.count;
}

// Numbers of each image and channel for y = (x - centre) * scale + offset: (3, images, C). The
// centre is the mean as it can be subtracted, the offset makes up for its rounding.
extern "C" __global__ void coefficients(
    const double *mean, const double *var, const real *weight, const real *bias, real *numbers,
    real eps, int channels, int of_group, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int c = i % channels, group = i / channels * (channels / of_group) + c / of_group;
    double scale = (weight ? weight[c] : 1) / sqrt(var[group] + eps);
    real centre = mean[group];
    numbers[i] = centre;
    numbers[n + i] = scale;
    numbers[2 * n + i] = (bias ? bias[c] : 0) - (mean[group] - centre) * scale;
}

extern "C" __global__ void normalize(
    const real *x, const real *numbers, real *y, int pixels, int channels, int all, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int k = i / (pixels * channels) * channels + i % channels;
    y[i] = (x[i] - numbers[k]) * numbers[all + k] + numbers[2 * all + k];
}

// Sums of dy and of dy * (x - centre) over a part of the pixels: (images, parts, C, 2).
extern "C" __global__ void sums(
    const real *dy, const real *x, const double *mean, double *parts, int pixels, int channels,
    int each, int of_group
) {
    __shared__ double totals[WARPS][LANES][2];
    int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
    int c = blockIdx.x * LANES + lane, image = blockIdx.z;
    int first = blockIdx.y * each, last = min(pixels, first + each);
    real sum = 0, product = 0;
    if (c < channels) {
        real centre = mean[image * (channels / of_group) + c / of_group];
        for (int p = first + warp; p < last; p += WARPS) {
            int i = (image * pixels + p) * channels + c;
            sum += dy[i];
            product += dy[i] * (x[i] - centre);
        }
    }
    totals[warp][lane][0] = sum, totals[warp][lane][1] = product;
    __syncthreads();
    if (warp > 0 || c >= channels) return;
    double all = 0, products = 0;
    for (int w = 0; w < WARPS; w++) all += totals[w][lane][0], products += totals[w][lane][1];
    double *part = parts + ((image * gridDim.y + blockIdx.y) * channels + c) * 2;
    part[0] = all, part[1] = products;
}

// A thread for each group of each image: adds up the parts of its channels, and finds the numbers
// of dx = a dy + b (x - centre) + d. totals (2, images, C) are the sums of dy and of dy times the
// normalised x; numbers (4, images, C) are centre, a, b, d. Where statistics are constants, b and
// d are 0.
extern "C" __global__ void gradient_coefficients(
    const double *parts, const double *mean, const double *var, const real *weight,
    double *totals, real *numbers, real eps, int constant, int pixels, int channels, int count,
    int of_group, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int groups = channels / of_group, image = i / groups, first = i % groups * of_group;
    int all = n * of_group;
    double inverse = 1 / sqrt(var[i] + eps), share = 0, slope = 0;
    real centre = mean[i];
    double rest = mean[i] - centre;
    for (int c = first; c < first + of_group; c++) {
        double sum = 0, product = 0;
        for (int part = 0; part < count; part++) {
            const double *of_part = parts + ((image * count + part) * channels + c) * 2;
            sum += of_part[0], product += of_part[1];
        }
        product = (product - rest * sum) * inverse;
        totals[image * channels + c] = sum;
        totals[all + image * channels + c] = product;
        double w = weight ? weight[c] : 1;
        share += sum * w, slope += product * w;
    }
    double size = (double)pixels * of_group;
    double b = constant ? 0 : -inverse * inverse * slope / size;
    double d = constant ? 0 : -inverse * share / size - b * rest;
    for (int c = first; c < first + of_group; c++) {
        int k = image * channels + c;
        numbers[k] = centre;
        numbers[all + k] = inverse * (weight ? weight[c] : 1);
        numbers[2 * all + k] = b, numbers[3 * all + k] = d;
    }
}

extern "C" __global__ void combine(
    const real *dy, const real *x, const real *numbers, real *dx, int pixels, int channels,
    int all, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int k = i / (pixels * channels) * channels + i % channels;
    real centred = x[i] - numbers[k];
    dx[i] = numbers[all + k] * dy[i] + numbers[2 * all + k] * centred + numbers[3 * all + k];
}
