// The transforms of Winograd's convolution F(m x m, 3x3); winograd.py explains it, toom_cook.py
// makes the matrices. With t = m + 2, for each tile or filter:
//
//     inputs (t*t)    = B^T d B      d: t x t numbers of x, tiles overlap by two
//     filters (t*t)   = G g G^T      g: 3 x 3 weights, turned by 180 degrees for the input gradient
//     y (m x m)       = A^T p A      p: t x t products, summed over channels by gather.cu
//     gradients (t*t) = A dy A^T     dy: m x m
//     dweight (3 x 3) = G^T s G      s: t x t products, summed over tiles by weight_grad.cu
//
// A thread has one tile of one channel, in registers; neighbouring threads have neighbouring
// channels, so all is read and written side by side:
//
//     x (N, H, W, C)                        inputs (t*t, tiles, C)
//     +-----------------+                   position 0  [tile 0: c0 c1 ..][tile 1: c0 c1 ..] ..
//     | c0 c1 c2 c3 ..  | t*t pixels   -->  position 1  [tile 0: c0 c1 ..][tile 1: c0 c1 ..] ..
//     +-----------------+                   ..
//
// Inputs of F(4x4), for a tile and channel: 36 numbers read, 20 of them from the cache, and 36
// written, 208 bytes; 264 multiply-adds, as half of B is zeros. Limit: copy bandwidth.
#include "common.cuh"

// The matrices of one dimension. They are read in unrolled loops, so each number is a constant of
// the code, and what a zero multiplies is left out.
struct F2 {  // points 0, 1, -1 and infinity
    static constexpr int M = 2, T = 4;
    __device__ static constexpr real input(int i, int j) {
        constexpr double matrix[T][T] = {
            {1, 0, -1, 0}, {0, 0.5, 0.5, 0}, {0, -0.5, 0.5, 0}, {0, -1, 0, 1}};
        return real(matrix[i][j]);
    }
    __device__ static constexpr real weight(int i, int j) {
        constexpr double matrix[T][3] = {{1, 0, 0}, {1, 1, 1}, {1, -1, 1}, {0, 0, 1}};
        return real(matrix[i][j]);
    }
    __device__ static constexpr real output(int i, int j) {
        constexpr double matrix[M][T] = {{1, 1, 1, 0}, {0, 1, -1, 1}};
        return real(matrix[i][j]);
    }
};

struct F4 {  // points 0, 2/3, -2/3, 3/2, -3/2 and infinity
    static constexpr int M = 4, T = 6;
    __device__ static constexpr real input(int i, int j) {
        constexpr double matrix[T][T] = {
            {1, 0, -97. / 36, 0, 1, 0},
            {0, 243. / 260, 729. / 520, -27. / 65, -81. / 130, 0},
            {0, -243. / 260, 729. / 520, 27. / 65, -81. / 130, 0},
            {0, -16. / 195, -32. / 585, 12. / 65, 8. / 65, 0},
            {0, 16. / 195, -32. / 585, -12. / 65, 8. / 65, 0},
            {0, 1, 0, -97. / 36, 0, 1}};
        return real(matrix[i][j]);
    }
    __device__ static constexpr real weight(int i, int j) {
        constexpr double matrix[T][3] = {{1, 0, 0}, {1, 2. / 3, 4. / 9}, {1, -2. / 3, 4. / 9},
                                         {1, 1.5, 2.25}, {1, -1.5, 2.25}, {0, 0, 1}};
        return real(matrix[i][j]);
    }
    __device__ static constexpr real output(int i, int j) {
        constexpr double matrix[M][T] = {
            {1, 1, 1, 1, 1, 0},
            {0, 2. / 3, -2. / 3, 1.5, -1.5, 0},
            {0, 4. / 9, 4. / 9, 2.25, 2.25, 0},
            {0, 8. / 27, -8. / 27, 3.375, -3.375, 1}};
        return real(matrix[i][j]);
    }
};

// Set `result` (ROWS, ROWS) to matrix @ square @ matrix^T; `square` is (COLUMNS, COLUMNS).
template <int ROWS, int COLUMNS, class Matrix>
__device__ __forceinline__ void transform(
    Matrix matrix, const real (&square)[COLUMNS][COLUMNS], real (&result)[ROWS][ROWS]
) {
    real between[ROWS][COLUMNS] = {};
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) {
#pragma unroll
            for (int k = 0; k < COLUMNS; k++) {
                if (matrix(i, k) != 0) between[i][j] += matrix(i, k) * square[k][j];
            }
        }
    }
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
#pragma unroll
        for (int j = 0; j < ROWS; j++) {
            result[i][j] = 0;
#pragma unroll
            for (int k = 0; k < COLUMNS; k++) {
                if (matrix(j, k) != 0) result[i][j] += between[i][k] * matrix(j, k);
            }
        }
    }
}

// Read or write position after position, each `apart` numbers further.
template <int T>
__device__ __forceinline__ void take(real (&square)[T][T], const real *from, int apart) {
#pragma unroll
    for (int p = 0; p < T * T; p++) square[p / T][p % T] = from[(long long)p * apart];
}
template <int T>
__device__ __forceinline__ void put(const real (&square)[T][T], real *to, int apart) {
#pragma unroll
    for (int p = 0; p < T * T; p++) to[(long long)p * apart] = square[p / T][p % T];
}

// Images (N, height, width, channels), and a tile of T x T pixels of one channel, which begins at
// row h and column w; beyond the image it reads 0 and writes nothing.
struct Images { int height, width, channels; };

template <class Number, int T> struct TileOf {
    Number *image;
    Images size;
    int h, w;

    __device__ __forceinline__ Number *pixel(int u, int v) const {
        bool inside = (unsigned)(h + u) < (unsigned)size.height &&
                      (unsigned)(w + v) < (unsigned)size.width;
        return inside ? image + (long long)((h + u) * size.width + w + v) * size.channels : nullptr;
    }
    __device__ __forceinline__ void read(real (&square)[T][T]) const {
#pragma unroll
        for (int p = 0; p < T * T; p++) {
            Number *from = pixel(p / T, p % T);
            square[p / T][p % T] = from ? *from : real(0);
        }
    }
    __device__ __forceinline__ void write(const real (&square)[T][T], real constant) const {
#pragma unroll
        for (int p = 0; p < T * T; p++) {
            Number *to = pixel(p / T, p % T);
            if (to) *to = square[p / T][p % T] + constant;
        }
    }
};

// Which of an image's (rows, columns) of tiles a call begins with.
struct Tiles { int first, rows, columns; };

// The tile for number i of (tiles, channels), m x m pixels each, moved up and left by `before`.
template <int T, class Number>
__device__ __forceinline__ TileOf<Number, T> tile_of(
    Number *images, const Images &size, const Tiles &tiles, int i, int m, int before_h, int before_w
) {
    int tile = tiles.first + i / size.channels, line = tile / tiles.columns;
    images += (long long)(line / tiles.rows) * size.height * size.width * size.channels;
    return {images + i % size.channels, size, line % tiles.rows * m - before_h,
            tile % tiles.columns * m - before_w};
}

template <class F>
__device__ __forceinline__ void transform_inputs(
    const real *x, real *inputs, const Tiles &tiles, const Images &size, int before_h,
    int before_w, int n
) {
    int i = thread_number();
    if (i >= n) return;
    real tile[F::T][F::T], result[F::T][F::T];
    tile_of<F::T>(x, size, tiles, i, F::M, before_h, before_w).read(tile);
    transform([](int i, int j) { return F::input(i, j); }, tile, result);
    put(result, inputs + i, n);
}

template <class F>
__device__ __forceinline__ void transform_outputs(
    const real *products, const real *bias, real *y, const Tiles &tiles, const Images &size, int n
) {
    int i = thread_number();
    if (i >= n) return;
    real tile[F::T][F::T], result[F::M][F::M];
    take(tile, products + i, n);
    transform([](int i, int j) { return F::output(i, j); }, tile, result);
    real constant = bias ? bias[i % size.channels] : real(0);
    tile_of<F::M>(y, size, tiles, i, F::M, 0, 0).write(result, constant);
}

template <class F>
__device__ __forceinline__ void transform_gradients(
    const real *dy, real *gradients, const Tiles &tiles, const Images &size, int n
) {
    int i = thread_number();
    if (i >= n) return;
    real tile[F::M][F::M], result[F::T][F::T];
    tile_of<F::M>(dy, size, tiles, i, F::M, 0, 0).read(tile);
    transform([](int i, int j) { return F::output(j, i); }, tile, result);
    put(result, gradients + i, n);
}

// `weight` has 3 x 3 numbers for each input and output channel, which begin `of_input` and
// `of_output` numbers apart; filters are (t*t, inputs, outputs).
template <class F>
__device__ __forceinline__ void transform_weight(
    const real *weight, real *filters, int outputs, int of_input, int of_output, int turned, int n
) {
    int i = thread_number();
    if (i >= n) return;
    weight += i / outputs * of_input + i % outputs * of_output;
    real taps[3][3], result[F::T][F::T];
#pragma unroll
    for (int tap = 0; tap < 9; tap++) taps[tap / 3][tap % 3] = weight[turned ? 8 - tap : tap];
    transform([](int i, int j) { return F::weight(i, j); }, taps, result);
    put(result, filters + i, n);
}

// `sums` are (parts, t*t, channels, outputs), dweight is (outputs, channels, 3, 3): it is set, or
// with `adds` added to.
template <class F>
__device__ __forceinline__ void transform_sums(
    const real *sums, real *dweight, int adds, int parts, int channels, int outputs, int n
) {
    int i = thread_number();
    if (i >= n) return;
    dweight += ((long long)(i % outputs) * channels + i / outputs) * 9;
    real total[F::T][F::T] = {}, taps[3][3];
    for (int part = 0; part < parts; part++) {
        real own[F::T][F::T];
        take(own, sums + (long long)part * F::T * F::T * n + i, n);
#pragma unroll
        for (int p = 0; p < F::T * F::T; p++) total[p / F::T][p % F::T] += own[p / F::T][p % F::T];
    }
    transform([](int i, int j) { return F::weight(j, i); }, total, taps);
#pragma unroll
    for (int tap = 0; tap < 9; tap++) taps[tap / 3][tap % 3] += adds ? dweight[tap] : real(0);
    put(taps, dweight, 1);
}

constexpr int THREADS = 256;  // what Source.for_each launches

#define KERNELS(m, F)                                                                          \
    extern "C" __global__ void __launch_bounds__(THREADS) inputs_##m(                          \
        const real *x, real *inputs, int before_h, int before_w, int first, int rows,          \
        int columns, int height, int width, int channels, int n                                \
    ) {                                                                                        \
        transform_inputs<F>(x, inputs, {first, rows, columns}, {height, width, channels},      \
                            before_h, before_w, n);                                            \
    }                                                                                          \
    extern "C" __global__ void __launch_bounds__(THREADS) outputs_##m(                         \
        const real *products, const real *bias, real *y, int first, int rows, int columns,     \
        int height, int width, int outputs, int n                                              \
    ) {                                                                                        \
        transform_outputs<F>(products, bias, y, {first, rows, columns},                        \
                             {height, width, outputs}, n);                                     \
    }                                                                                          \
    extern "C" __global__ void __launch_bounds__(THREADS) gradients_##m(                       \
        const real *dy, real *gradients, int first, int rows, int columns, int height,         \
        int width, int outputs, int n                                                          \
    ) {                                                                                        \
        transform_gradients<F>(dy, gradients, {first, rows, columns},                          \
                               {height, width, outputs}, n);                                   \
    }                                                                                          \
    extern "C" __global__ void __launch_bounds__(THREADS) weight_##m(                          \
        const real *weight, real *filters, int outputs, int of_input, int of_output,           \
        int turned, int n                                                                      \
    ) {                                                                                        \
        transform_weight<F>(weight, filters, outputs, of_input, of_output, turned, n);         \
    }                                                                                          \
    extern "C" __global__ void __launch_bounds__(THREADS) sums_##m(                            \
        const real *sums, real *dweight, int adds, int parts, int channels, int outputs, int n \
    ) {                                                                                        \
        transform_sums<F>(sums, dweight, adds, parts, channels, outputs, n);                   \
    }
KERNELS(2, F2)
KERNELS(4, F4)
