// Sums of soft overlap, image by image and class by class, and their gradient:
//
//     y_0 = sum of p [label = c],   y_1 = sum of p, or of p^2        over the pixels that count
//     dp  = dy_0 [label = c] + dy_1 (or 2 p dy_1)
//
// p is (N, pixels, C) in memory. Blocks: (part of the pixels, class, image), a thread every 256th
// pixel of the part; parts are added in order, in double, by the second kernel. A single channel
// is that of class 1. kept may be null: all count.
//
// Bytes: p and the labels once, in the gradient p and dp. Limit: copy bandwidth.
#include "common.cuh"

extern "C" __global__ void overlap(
    const real *p, const int *labels, const unsigned char *kept, double *parts, int squared,
    int pixels, int channels, int each
) {
    __shared__ double shared[32];
    int c = blockIdx.y, image = blockIdx.z, name = channels == 1 ? 1 : c;
    int last = min(pixels, ((int)blockIdx.x + 1) * each);
    double hits = 0, all = 0;
    for (int k = blockIdx.x * each + threadIdx.x; k < last; k += blockDim.x) {
        int pixel = image * pixels + k;
        if (kept && !kept[pixel]) continue;
        real value = p[pixel * channels + c];
        if (labels[pixel] == name) hits += value;
        all += squared ? value * value : value;
    }
    hits = block_sum(hits, shared), all = block_sum(all, shared);
    if (threadIdx.x > 0) return;
    double *part = parts + ((blockIdx.x * gridDim.z + image) * channels + c) * 2;
    part[0] = hits, part[1] = all;
}

// sums is (2, images, C), n of them in each half.
extern "C" __global__ void add_overlaps(const double *parts, real *sums, int count, int n) {
    int i = thread_number();
    if (i >= n) return;
    double hits = 0, all = 0;
    for (int part = 0; part < count; part++) {
        hits += parts[(part * n + i) * 2], all += parts[(part * n + i) * 2 + 1];
    }
    sums[i] = hits, sums[n + i] = all;
}

extern "C" __global__ void overlap_grad(
    const real *dy, const real *p, const int *labels, const unsigned char *kept, real *dp,
    int squared, int pixels, int channels, int images, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int c = i % channels, pixel = i / channels, k = pixel / pixels * channels + c;
    real slope = dy[images * channels + k] * (squared ? 2 * p[i] : 1);
    real hit = labels[pixel] == (channels == 1 ? 1 : c) ? dy[k] : 0;
    dp[i] = kept && !kept[pixel] ? real(0) : hit + slope;
}
