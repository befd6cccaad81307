// Layer and root-mean-square normalisation of the rows of (M, D) arrays:
//
//     y = (x - mean) inverse weight + bias,   inverse = 1 / sqrt(sum (x - mean)^2 / D + eps)
//     dx = inverse (g - sum g / D - n sum (g n) / D),   g = dy weight,   n = (x - mean) inverse
//
// The mean, and sum g / D, are 0 where rows are not centred. Threads: `lanes` a row, a warp, or
// a whole block for long rows. Each takes packs of `each` numbers, 4 or 1; KEPT of them stay in
// its registers, so that 1024 numbers a warp, or 8192 a block, are read once for all steps of
// the formula:
//
//     pack      0  1  ..  lanes-1 | lanes ..      (pack k has columns k * each ..)
//     thread    0  1  ..  lanes-1 | 0     ..
//
// The gradients of weight and bias are sums down the columns: see columns.cuh.
//
// Bytes: a number read and one written; of the gradient, 2 read and one written, and 2 read again
// for the sums down. About 8 operations an element. Limit: copy bandwidth.
#include "columns.cuh"

constexpr int KEPT = 8;

// A row of an array, and what a thread keeps of it.
template <int N> struct Kept {
    const real *row;
    Pack<real, N> packs[KEPT];

    __device__ Pack<real, N> read(int column) const { return read_pack<N>(row + column); }
};

// The work of a thread on a row.
template <int N> struct Line {
    int row, lane, lanes, width;

    __device__ Line(int width_, int lanes_) {
        width = width_, lanes = lanes_;
        row = thread_number() / lanes, lane = thread_number() % lanes;
    }
    __device__ int column(int k) const { return (lane + k * lanes) * N; }

    __device__ Kept<N> load(const real *array) const {
        Kept<N> kept;
        kept.row = array + row * width;
#pragma unroll
        for (int k = 0; k < KEPT; k++) {
            if (column(k) < width) kept.packs[k] = kept.read(column(k));
        }
        return kept;
    }
    // Call f(column, pack, ...) with the packs of some rows, for each column of this thread.
    template <class F, class... Rows>
    __device__ void each(const F &f, const Rows &...rows) const {
#pragma unroll
        for (int k = 0; k < KEPT; k++) {
            if (column(k) < width) f(column(k), rows.packs[k]...);
        }
        for (int k = KEPT; column(k) < width; k++) f(column(k), rows.read(column(k))...);
    }
    // The sum over the row, in each of its threads.
    __device__ real sum(real value) const {
        __shared__ real shared[32];
        return lanes == 32 ? warp_sum(value) : block_sum(value, shared);
    }
    // N numbers of a vector that may be missing.
    __device__ Pack<real, N> of(const real *vector, int column, real missing) const {
        return vector ? read_pack<N>(vector + column) : Pack<real, N>::of(missing);
    }
};

template <int N>
__device__ __forceinline__ void normalize_row(
    const real *x, const real *weight, const real *bias, real *y, real *mean, real *inverse,
    real eps, int centred, int rows, int width, int lanes
) {
    typedef Pack<real, N> Numbers;
    Line<N> line(width, lanes);
    if (line.row >= rows) return;
    auto kept = line.load(x);
    real middle = 0, square = 0;
    auto add_number = [&](int, const Numbers &value) {
        for (int j = 0; j < N; j++) middle += value.v[j];
    };
    if (centred) {
        line.each(add_number, kept);
        middle = line.sum(middle) / width;
    }
    auto add_square = [&](int, const Numbers &value) {
        for (int j = 0; j < N; j++) square += (value.v[j] - middle) * (value.v[j] - middle);
    };
    line.each(add_square, kept);
    real scale = 1 / sqrt(line.sum(square) / width + eps);
    auto write = [&](int column, const Numbers &value) {
        auto result = line.of(bias, column, 0), factor = line.of(weight, column, 1);
        for (int j = 0; j < N; j++) result.v[j] += (value.v[j] - middle) * scale * factor.v[j];
        write_pack(y + line.row * width + column, result);
    };
    line.each(write, kept);
    if (line.lane == 0) mean[line.row] = middle, inverse[line.row] = scale;
}

extern "C" __global__ void layer_norm(
    const real *x, const real *weight, const real *bias, real *y, real *mean, real *inverse,
    real eps, int centred, int rows, int width, int lanes, int each
) {
    if (each == 4) {
        normalize_row<4>(x, weight, bias, y, mean, inverse, eps, centred, rows, width, lanes);
    } else {
        normalize_row<1>(x, weight, bias, y, mean, inverse, eps, centred, rows, width, lanes);
    }
}

template <int N>
__device__ __forceinline__ void gradient_of_row(
    const real *dy, const real *x, const real *mean, const real *inverse, const real *weight,
    real *dx, int centred, int rows, int width, int lanes
) {
    typedef Pack<real, N> Numbers;
    Line<N> line(width, lanes);
    if (line.row >= rows) return;
    auto gradients = line.load(dy), values = line.load(x);
    real middle = mean[line.row], scale = inverse[line.row], share = 0, slope = 0;
    auto add_both = [&](int column, const Numbers &gradient, const Numbers &value) {
        auto factor = line.of(weight, column, 1);
        for (int j = 0; j < N; j++) {
            share += gradient.v[j] * factor.v[j];
            slope += gradient.v[j] * factor.v[j] * (value.v[j] - middle) * scale;
        }
    };
    line.each(add_both, gradients, values);
    share = centred ? line.sum(share) / width : 0;
    slope = line.sum(slope) / width;
    auto write = [&](int column, const Numbers &gradient, const Numbers &value) {
        auto result = line.of(weight, column, 1);
        for (int j = 0; j < N; j++) {
            real normal = (value.v[j] - middle) * scale;
            result.v[j] = scale * (gradient.v[j] * result.v[j] - share - normal * slope);
        }
        write_pack(dx + line.row * width + column, result);
    };
    line.each(write, gradients, values);
}

extern "C" __global__ void layer_norm_grad(
    const real *dy, const real *x, const real *mean, const real *inverse, const real *weight,
    real *dx, int centred, int rows, int width, int lanes, int each
) {
    if (each == 4) {
        gradient_of_row<4>(dy, x, mean, inverse, weight, dx, centred, rows, width, lanes);
    } else {
        gradient_of_row<1>(dy, x, mean, inverse, weight, dx, centred, rows, width, lanes);
    }
}

// Sums over a part of the rows of dy and of dy times the normalised x.
template <int N>
__device__ __forceinline__ void sums_of_part(
    const real *dy, const real *x, const real *mean, const real *inverse, double *parts,
    const Columns &at
) {
    Sums<N> sums = {Pack<real, N>::of(0), Pack<real, N>::of(0)};
#pragma unroll 4
    for (int row = at.first; row < at.last; row += at.step) {
        auto gradient = read_pack<N>(dy + at.at(row)), value = read_pack<N>(x + at.at(row));
        real middle = mean[row], scale = inverse[row];
#pragma unroll
        for (int j = 0; j < N; j++) {
            sums.first.v[j] += gradient.v[j];
            sums.second.v[j] += gradient.v[j] * ((value.v[j] - middle) * scale);
        }
    }
    write_sums(sums, at, parts);
}

extern "C" __global__ void column_sums(
    const real *dy, const real *x, const real *mean, const real *inverse, double *parts, int rows,
    int width, int lanes, int length, int each
) {
    Columns at(rows, width, lanes, length, each);
    if (each == 4) sums_of_part<4>(dy, x, mean, inverse, parts, at);
    else sums_of_part<1>(dy, x, mean, inverse, parts, at);
}

// dbias and dweight, (2, D): a warp adds up the parts of a column.
extern "C" __global__ void add_sums(const double *parts, double *totals, int count, int n) {
    int i = thread_number() / 32;
    if (i >= n) return;
    double2 sums = sum_of_parts(parts + i * count * 2, count);
    if (threadIdx.x % 32 == 0) totals[i] = sums.x, totals[n + i] = sums.y;
}
