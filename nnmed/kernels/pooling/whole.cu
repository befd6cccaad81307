// The mean of each channel over whole pictures (images, pixels, C).
//
// Blocks do not wait for one another, so two kernels: in the first a block of 8 warps adds up a
// part of the pixels of 32 channels, in the second a thread adds up the parts of a channel. Each
// in one order: the same bits every time.
//
//              channel 0 1 2 ... 31          a warp reads 32 neighbours in memory
//     pixel 0          . . . ... .   warp 0
//     pixel 1          . . . ... .   warp 1
//       ...                                  then the eight of a channel are added
//     pixel 7          . . . ... .   warp 7
//
// Bytes: a number read, and one addition, for each number. Limit: the bandwidth of reading.
#include "common.cuh"

constexpr int LANES = 32, WARPS = 8;

// parts: (parts, images, C); blocks: (channels of an image, images after each other; parts).
extern "C" __global__ void sum_parts(
    const real *x, real *parts, int images, int pixels, int channels, int each
) {
    __shared__ real sums[WARPS][LANES];
    int blocks = (channels + LANES - 1) / LANES, image = blockIdx.x / blocks;
    int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
    int c = blockIdx.x % blocks * LANES + lane, first = blockIdx.y * each;
    real sum = 0;
    if (c < channels) {
        for (int p = first + warp; p < min(pixels, first + each); p += WARPS) {
            sum += x[(image * pixels + p) * channels + c];
        }
    }
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp > 0 || c >= channels) return;
    for (int w = 1; w < WARPS; w++) sum += sums[w][lane];
    parts[(blockIdx.y * images + image) * channels + c] = sum;
}

extern "C" __global__ void mean_of_parts(
    const real *parts, real *y, int count, int pixels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    real sum = 0;
    for (int part = 0; part < count; part++) sum += parts[part * n + i];
    y[i] = sum / pixels;
}
