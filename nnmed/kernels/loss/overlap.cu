// Sums of soft overlap, image by image and class by class, and their gradient:
//
//     y_0 = sum of p [label = c],   y_1 = sum of p, or of p^2        over the pixels that count
//     dp  = dy_0 [label = c] + dy_1 (or 2 p dy_1)
//
// p is (N, pixels, C) in memory, so y are sums down its columns: columns.cuh says how blocks and
// threads divide them. A single channel is that of class 1. kept may be null: all count. Labels
// take one byte where there are few classes, else four.
//
// Bytes: p, labels and flags once, in the gradient dp too. Limit: copy bandwidth.
#include "columns.cuh"

template <class Label>
__device__ __forceinline__ void overlap_of_part(
    const real *p, const Label *labels, const unsigned char *kept, double *parts, int squared,
    const Columns &at
) {
    Sums<1> sums = {{0}, {0}};
    int name = at.channels == 1 ? 1 : at.column;
#pragma unroll 4
    for (int row = at.first; row < at.last; row += at.step) {
        int pixel = at.image * at.rows + row;
        real value = kept && !kept[pixel] ? real(0) : p[at.at(row)];
        sums.first.v[0] += labels[pixel] == name ? value : real(0);
        sums.second.v[0] += squared ? value * value : value;
    }
    write_sums(sums, at, parts);
}

extern "C" __global__ void overlap_1(
    const real *p, const unsigned char *labels, const unsigned char *kept, double *parts,
    int squared, int pixels, int channels, int lanes, int length
) {
    Columns at(pixels, channels, lanes, length, 1);
    overlap_of_part(p, labels, kept, parts, squared, at);
}

extern "C" __global__ void overlap_4(
    const real *p, const int *labels, const unsigned char *kept, double *parts, int squared,
    int pixels, int channels, int lanes, int length
) {
    Columns at(pixels, channels, lanes, length, 1);
    overlap_of_part(p, labels, kept, parts, squared, at);
}

// sums is (2, images, C), n of them in each half: a warp adds up the parts of one.
extern "C" __global__ void add_overlaps(const double *parts, real *sums, int count, int n) {
    int i = thread_number() / 32;
    if (i >= n) return;
    double2 both = sum_of_parts(parts + i * count * 2, count);
    if (threadIdx.x % 32 == 0) sums[i] = both.x, sums[n + i] = both.y;
}

template <class Label>
__device__ __forceinline__ void overlap_slope(
    const real *dy, const real *p, const Label *labels, const unsigned char *kept, real *dp,
    int squared, int pixels, int channels, int images, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int c = i % channels, pixel = i / channels, k = pixel / pixels * channels + c;
    real slope = dy[images * channels + k] * (squared ? 2 * p[i] : 1);
    real hit = labels[pixel] == (channels == 1 ? 1 : c) ? dy[k] : 0;
    dp[i] = kept && !kept[pixel] ? real(0) : hit + slope;
}

extern "C" __global__ void overlap_grad_1(
    const real *dy, const real *p, const unsigned char *labels, const unsigned char *kept,
    real *dp, int squared, int pixels, int channels, int images, int n
) {
    overlap_slope(dy, p, labels, kept, dp, squared, pixels, channels, images, n);
}

extern "C" __global__ void overlap_grad_4(
    const real *dy, const real *p, const int *labels, const unsigned char *kept, real *dp,
    int squared, int pixels, int channels, int images, int n
) {
    overlap_slope(dy, p, labels, kept, dp, squared, pixels, channels, images, n);
}
