// The mean of each channel over whole pictures (images, pixels, C): sums down the columns of
// matrices, of which columns.cuh says how blocks and threads divide them.
//
//     channels      0..3  | 4..7 | .. C-1
//     pixel 0       thread 0   1   ..           a thread goes on down its part of the pixels
//     pixel 1       thread lanes   ..
//       ...                                     then a warp adds up the parts of a channel
//
// Bytes: a number read, and one addition, for each number. Limit: the bandwidth of reading.
#include "columns.cuh"

// Every second row of a thread goes to a second sum, which need not wait for the first.
template <int N>
__device__ __forceinline__ void sums_of_part(const real *x, double *parts, const Columns &at) {
    Sums<N> sums = {Pack<real, N>::of(0), Pack<real, N>::of(0)};
    int row = at.first;
#pragma unroll 2
    for (; row + at.step < at.last; row += 2 * at.step) {
        add(sums.first, read_pack<N>(x + at.at(row)), 1);
        add(sums.second, read_pack<N>(x + at.at(row + at.step)), 1);
    }
    if (row < at.last) add(sums.first, read_pack<N>(x + at.at(row)), 1);
    write_sums(sums, at, parts);
}

extern "C" __global__ void sums(
    const real *x, double *parts, int pixels, int channels, int lanes, int length, int each
) {
    Columns at(pixels, channels, lanes, length, each);
    if (each == 4) sums_of_part<4>(x, parts, at);
    else sums_of_part<1>(x, parts, at);
}

extern "C" __global__ void means(const double *parts, real *y, int count, int pixels, int n) {
    int i = thread_number() / 32;
    if (i >= n) return;
    double2 sums = sum_of_parts(parts + i * count * 2, count);
    if (threadIdx.x % 32 == 0) y[i] = (sums.x + sums.y) / pixels;
}
