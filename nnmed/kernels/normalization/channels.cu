// Batch and group normalisation of an array (images, pixels, C), channels side by side.
//
//     y = (x - mean) / sqrt(var + eps) * weight + bias
//
// with mean and var of each channel over the whole batch (which then counts as one image), or
// of each group of channels of an image. Formulas of the gradient: see reference.py.
//
// Statistics are sums down the columns of matrices: columns.cuh says how blocks and threads
// divide them. What is left is element by element, a thread for `each` neighbouring channels, 4
// or 1, with numbers a channel that a kernel between works out:
//
//     channels      0..3 | 4..7 | .. C-1 | 0..3 ..          thread   0      1     ..
//     pixel         0                    | 1
//
// A mean that is large against the spread does no harm: moments are those of differences from a
// number nearby, and merged by Chan's rule; maps subtract the mean first.
//
// Where relu follows, it is done on the way out, and its gradient on the way in: dy counts where
// the output y is positive.
//
// Bytes: statistics read a number an element (gradient: 2, with relu 3), maps read one and write
// one (gradient: read 2, with relu 3). 2 to 7 operations an element. Limit: copy bandwidth.
#include "columns.cuh"
#include "normalization/moments.cuh"

// Means and squares of a part of the pixels, less the first of them: see Columns::at_part.
template <int N>
__device__ __forceinline__ void moments_of_part(
    const real *x, double *parts, const Columns &at, int length
) {
    __shared__ Moments<real, N> shared[COLUMN_THREADS];
    auto all = Moments<real, N>::nothing();
    auto near = Pack<real, N>::of(0);
    if (at.column < at.channels) near = read_pack<N>(x + at.at(at.part * length));
    int row = at.first, distance = at.step * at.channels;
    for (; row + 3 * at.step < at.last; row += 4 * at.step) {
        all.merge(moments_of<4>(x + at.at(row), distance, near));
    }
    for (; row < at.last; row += at.step) {
        all.merge(moments_of<1>(x + at.at(row), distance, near));
    }
    merge_rows(all, at.lanes, shared);
    if (!at.has_result()) return;
    for (int j = 0; j < N; j++) {
        double *part = parts + at.at_part(j);
        part[0] = (double)near.v[j] + all.mean.v[j], part[1] = all.square.v[j];
    }
}

extern "C" __global__ void moments(
    const real *x, double *parts, int pixels, int channels, int lanes, int length, int each
) {
    Columns at(pixels, channels, lanes, length, each);
    if (each == 4) moments_of_part<4>(x, parts, at, length);
    else moments_of_part<1>(x, parts, at, length);
}

// Mean and variance of each group of channels of each image, (images, groups): a warp merges the
// parts of its channels, which lie side by side.
extern "C" __global__ void merge_moments(
    const double *parts, double *mean, double *var, int pixels, int length, int count,
    int of_group, int n
) {
    int group = thread_number() / 32, lane = threadIdx.x % 32;
    if (group >= n) return;
    parts += group * of_group * count * 2;
    auto all = Moments<double, 1>::nothing();
    for (int k = lane; k < of_group * count; k += 32) {
        int size = min(length, pixels - k % count * length);
        all.merge({parts[2 * k], parts[2 * k + 1], size});
    }
    for (int distance = 16; distance > 0; distance /= 2) {
        double other = __shfl_down_sync(0xffffffffu, all.mean.v[0], distance);
        double square = __shfl_down_sync(0xffffffffu, all.square.v[0], distance);
        all.merge({other, square, __shfl_down_sync(0xffffffffu, all.count, distance)});
    }
    if (lane == 0) mean[group] = all.mean.v[0], var[group] = all.square.v[0] / all.count;
}

// Numbers of each image and channel for y = (x - centre) * scale + offset: (3, images, C). The
// centre is the mean as it can be subtracted, the offset makes up for its rounding.
extern "C" __global__ void coefficients(
    const double *mean, const double *var, const real *weight, const real *bias, real *numbers,
    real eps, int channels, int of_group, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int c = i % channels, group = i / of_group;
    double scale = (weight ? weight[c] : 1) / sqrt(var[group] + eps);
    real centre = mean[group];
    numbers[i] = centre;
    numbers[n + i] = scale;
    numbers[2 * n + i] = (bias ? bias[c] : 0) - (mean[group] - centre) * scale;
}

template <int N>
__device__ __forceinline__ void normalize_pack(
    const real *x, const real *numbers, real *y, bool relu, int pixels, int channels, int all,
    int n
) {
    int i = thread_number(), packs = channels / N;
    if (i >= n) return;
    numbers += i / (pixels * packs) * channels + i % packs * N;
    auto value = read_pack<N>(x + i * N), centre = read_pack<N>(numbers);
    auto scale = read_pack<N>(numbers + all), offset = read_pack<N>(numbers + 2 * all);
#pragma unroll
    for (int j = 0; j < N; j++) {
        value.v[j] = (value.v[j] - centre.v[j]) * scale.v[j] + offset.v[j];
        if (relu && value.v[j] <= 0) value.v[j] = 0;  // NaN stays
    }
    write_pack(y + i * N, value);
}

extern "C" __global__ void normalize(
    const real *x, const real *numbers, real *y, int relu, int pixels, int channels, int all,
    int each, int n
) {
    if (each == 4) normalize_pack<4>(x, numbers, y, relu, pixels, channels, all, n);
    else normalize_pack<1>(x, numbers, y, relu, pixels, channels, all, n);
}

// dy, or 0 where there is an output y that is not positive.
template <int N>
__device__ __forceinline__ Pack<real, N> read_gradient(const real *dy, const real *y, int at) {
    auto gradient = read_pack<N>(dy + at);
    if (!y) return gradient;
    auto output = read_pack<N>(y + at);
#pragma unroll
    for (int j = 0; j < N; j++) {
        if (output.v[j] <= 0) gradient.v[j] = 0;
    }
    return gradient;
}

// Sums of dy and of dy * (x - centre) over a part of the pixels.
template <int N>
__device__ __forceinline__ void sums_of_part(
    const real *dy, const real *x, const real *y, double *parts, const double *mean,
    const Columns &at, int of_group
) {
    Sums<N> sums = {Pack<real, N>::of(0), Pack<real, N>::of(0)};
    auto centre = sums.first;
    for (int j = 0; j < N && at.column < at.channels; j++) {
        centre.v[j] = mean[(at.image * at.channels + at.column + j) / of_group];
    }
#pragma unroll 4
    for (int row = at.first; row < at.last; row += at.step) {
        auto gradient = read_gradient<N>(dy, y, at.at(row)), value = read_pack<N>(x + at.at(row));
#pragma unroll
        for (int j = 0; j < N; j++) {
            sums.first.v[j] += gradient.v[j];
            sums.second.v[j] += gradient.v[j] * (value.v[j] - centre.v[j]);
        }
    }
    write_sums(sums, at, parts);
}

extern "C" __global__ void sums(
    const real *dy, const real *x, const real *y, double *parts, const double *mean, int of_group,
    int pixels, int channels, int lanes, int length, int each
) {
    Columns at(pixels, channels, lanes, length, each);
    if (each == 4) sums_of_part<4>(dy, x, y, parts, mean, at, of_group);
    else sums_of_part<1>(dy, x, y, parts, mean, at, of_group);
}

// Sums of dy and of dy times the normalised x, (2, images, C): a warp adds up the parts of each.
extern "C" __global__ void add_sums(
    const double *parts, const double *mean, const double *var, double *totals, real eps,
    int of_group, int count, int n
) {
    int i = thread_number() / 32, group = i / of_group;
    if (i >= n) return;
    double2 sums = sum_of_parts(parts + i * count * 2, count);
    if (threadIdx.x % 32 > 0) return;
    double rest = mean[group] - (real)mean[group];
    totals[i] = sums.x;
    totals[n + i] = (sums.y - rest * sums.x) / sqrt(var[group] + eps);
}

// Numbers of dx = a dy + b (x - centre) + d, (4, images, C): centre, a, b, d. A warp for each
// group of each image adds up what its channels have.
extern "C" __global__ void gradient_coefficients(
    const double *totals, const double *mean, const double *var, const real *weight,
    real *numbers, real eps, int pixels, int channels, int of_group, int n
) {
    int group = thread_number() / 32, lane = threadIdx.x % 32, all = n * of_group;
    if (group >= n) return;
    double share = 0, slope = 0;
    for (int k = group * of_group + lane; k < (group + 1) * of_group; k += 32) {
        double w = weight ? weight[k % channels] : 1;
        share += w * totals[k], slope += w * totals[all + k];
    }
    share = warp_sum(share), slope = warp_sum(slope);
    double inverse = 1 / sqrt(var[group] + eps), size = (double)pixels * of_group;
    real centre = mean[group];
    double b = -inverse * inverse * slope / size;
    double d = -inverse * share / size - b * (mean[group] - centre);
    for (int k = group * of_group + lane; k < (group + 1) * of_group; k += 32) {
        numbers[k] = centre;
        numbers[all + k] = inverse * (weight ? weight[k % channels] : 1);
        numbers[2 * all + k] = b, numbers[3 * all + k] = d;
    }
}

// dx of constant statistics, where there is no x, is a dy alone.
template <int N>
__device__ __forceinline__ void combine_pack(
    const real *dy, const real *x, const real *y, const real *numbers, real *dx, int pixels,
    int channels, int all, int n
) {
    int i = thread_number(), packs = channels / N;
    if (i >= n) return;
    numbers += i / (pixels * packs) * channels + i % packs * N;
    auto gradient = read_gradient<N>(dy, y, i * N), a = read_pack<N>(numbers + all);
#pragma unroll
    for (int j = 0; j < N; j++) gradient.v[j] *= a.v[j];
    if (x) {
        auto value = read_pack<N>(x + i * N), centre = read_pack<N>(numbers);
        auto b = read_pack<N>(numbers + 2 * all), d = read_pack<N>(numbers + 3 * all);
#pragma unroll
        for (int j = 0; j < N; j++) {
            gradient.v[j] += b.v[j] * (value.v[j] - centre.v[j]) + d.v[j];
        }
    }
    write_pack(dx + i * N, gradient);
}

extern "C" __global__ void combine(
    const real *dy, const real *x, const real *y, const real *numbers, real *dx, int pixels,
    int channels, int all, int each, int n
) {
    if (each == 4) combine_pack<4>(dy, x, y, numbers, dx, pixels, channels, all, n);
    else combine_pack<1>(dy, x, y, numbers, dx, pixels, channels, all, n);
}
