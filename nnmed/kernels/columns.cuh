// Sums down the columns of matrices x (images, rows, C), and who works on a number.
//
// Blocks do not wait for one another, so two kernels. In the first a block takes a part of the
// rows of some columns: `lanes` threads side by side, a power of two up to 32, each with N
// neighbouring columns, and as many rows of threads as fill a block:
//
//     columns    0..N-1  N..2N-1  ..          neighbours in memory
//     row 0      thread 0   1     .. lanes-1
//     row 1      thread lanes     ..
//       ...                                   a thread goes on a block's height further down
//
// What its threads found is merged in the block by halves, the lower into the upper, until one row
// is left. In the second kernel a warp merges the parts of a column. Each has one order: the same
// bits every time. A block adds in `real`, some hundred numbers a thread; the parts in double.
#pragma once

#include "packs.cuh"

constexpr int COLUMN_THREADS = 256;

// The rows and columns of a thread; a thread behind the last column has no rows.
struct Columns {
    int image, column, part, first, last, step, lanes, rows, channels;

    // `length` rows are a part. Blocks: (columns of an image, images after each other; parts).
    __device__ Columns(int rows_, int channels_, int lanes_, int length, int each) {
        rows = rows_, channels = channels_, lanes = lanes_, step = COLUMN_THREADS / lanes;
        int blocks = (channels / each + lanes - 1) / lanes;
        image = blockIdx.x / blocks, part = blockIdx.y;
        column = ((int)blockIdx.x % blocks * lanes + (int)threadIdx.x % lanes) * each;
        first = part * length + (int)threadIdx.x / lanes;
        last = column < channels ? min(rows, (part + 1) * length) : 0;
    }
    // The place of this thread's first column in a row.
    __device__ int at(int row) const { return (image * rows + row) * channels + column; }

    // Whether this thread holds what the block has found.
    __device__ bool has_result() const { return (int)threadIdx.x < lanes && column < channels; }

    // The place of what part and j-th column of this thread have: parts are (images, C, parts, 2).
    __device__ int at_part(int j) const {
        return ((image * channels + column + j) * (int)gridDim.y + part) * 2;
    }
};

// Merge what the rows of threads of a block have; the first row gets it all.
template <class T> __device__ __forceinline__ void merge_rows(T &own, int lanes, T *shared) {
    for (int half = COLUMN_THREADS / 2; half >= lanes; half /= 2) {
        shared[threadIdx.x] = own;
        __syncthreads();
        if ((int)threadIdx.x < half) own.merge(shared[threadIdx.x + half]);
        __syncthreads();
    }
}

// Two sums for each of N columns.
template <int N> struct Sums {
    Pack<real, N> first, second;

    __device__ void merge(const Sums &other) {
        add(first, other.first, 1);
        add(second, other.second, 1);
    }
};

// Merge a block's sums, and write them as its part.
template <int N>
__device__ __forceinline__ void write_sums(Sums<N> &sums, const Columns &columns, double *parts) {
    __shared__ Sums<N> shared[COLUMN_THREADS];
    merge_rows(sums, columns.lanes, shared);
    if (!columns.has_result()) return;
    for (int j = 0; j < N; j++) {
        double *part = parts + columns.at_part(j);
        part[0] = sums.first.v[j], part[1] = sums.second.v[j];
    }
}

// The sums of `count` parts that lie side by side, in each lane of a warp.
__device__ __forceinline__ double2 sum_of_parts(const double *parts, int count) {
    double first = 0, second = 0;
    for (int k = threadIdx.x % 32; k < count; k += 32) {
        first += parts[2 * k], second += parts[2 * k + 1];
    }
    return make_double2(warp_sum(first), warp_sum(second));
}
