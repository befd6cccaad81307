// Convolution, and its gradient by the input, as a product of matrices that nobody writes down
// (implicit GEMM):
//
//     y[pixel, o] = bias[o] + sum over tap, c of  x[source(pixel, tap), c] weight[tap, c, o]
//
// A has a row for each pixel of the result and a column for each tap and channel; its numbers are
// picked from x, as windows.cuh says. gemm.cuh draws tiles and threads; tiles beside each other
// share their rows of A:
//
//                       outputs (BN a tile)
//                     +---+---+---+
//                     | 0 | 1 | 2 |      blockIdx.x       blockIdx.y: the group
//     pixels (BM)     +---+---+---+
//                     | 3 | 4 | 5 |
//
// The groups of x lie `x_group` numbers apart, those of y `y_group`. Where they lie one behind
// another, and the window is one tap, that is a batch of products of matrices.
//
// Operations: 2 taps channels for each output. Bytes: x about once for each row of tiles, since
// the taps of neighbours overlap in the cache. Limit: multiply-add rate from some 32 channels
// on, below it copy bandwidth.
#include "conv/windows.cuh"

template <int SLOTS> struct Patches {  // a row for each pixel, along K
    static constexpr bool ALONG_K = true;
    Source source;
    int rows;
    Tap tap;
    Position starts[SLOTS];

    __device__ Patches(const Source &source, int rows) : source(source), rows(rows) {}
    __device__ __forceinline__ void start(int slot, int k, int row) {
        const Windows &windows = source.windows;
        tap = windows.tap(k, source.channels);
        starts[slot] = row < rows ? windows.start(windows.position(row)) : Windows::nowhere();
    }
    __device__ __forceinline__ Quad load(int slot) const { return source.load(starts[slot], tap); }
    __device__ __forceinline__ void step(int by) {
        source.windows.move(tap, by, source.channels);
    }
};

struct Outputs {  // pixels that lie apart as the strides say: some may belong to another call
    real *y;
    const real *bias;
    const Windows &windows;
    int rows, outputs, stride_n, stride_d, stride_h, stride_w;
    bool in_one_go;

    __device__ __forceinline__ void store(int row, int o, Quad (&quads)[4]) const {
        if (o >= outputs) return;
        Quad constant = read_quad(bias + o, bias ? outputs - o : 0, false);
        Position at = windows.position(row);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (row + i >= rows) return;
            real *to = y + (long long)at.image * stride_n + (long long)at.d * stride_d +
                       at.h * stride_h + at.w * stride_w + o;
#pragma unroll
            for (int j = 0; j < 4; j++) quads[i].v[j] += constant.v[j];
            write_quad(to, quads[i], outputs - o, in_one_go);
            windows.move(at, 1);
        }
    }
};

template <class T>
__device__ __forceinline__ void gather(
    const real *x, const real *weight, const real *bias, real *y, int images, int channels,
    int outputs, int x_pitch, int x_group, int y_group, int stride_n, int stride_d, int stride_h,
    int stride_w, const Windows &windows
) {
    __shared__ Quad shared[T::SHARED / 4];
    int group = blockIdx.y, tiles = (outputs + T::BN - 1) / T::BN;
    int rows = images * windows.pixels(), inner = windows.size() * channels;
    x += (long long)group * x_group;
    y += (long long)group * y_group;
    weight += (long long)group * inner * outputs;
    bool in_one_go = in_quads(y, outputs) && stride_w % 4 == 0 && stride_h % 4 == 0 &&
                     stride_d % 4 == 0 && stride_n % 4 == 0;

    Patches<T::A_SLOTS> a(Source(x, windows, channels, x_pitch), rows);
    Matrix<T::B_SLOTS> b(weight, inner, outputs, outputs);
    Outputs c = {y, bias ? bias + group * outputs : nullptr, windows, rows, outputs, stride_n,
                 stride_d, stride_h, stride_w, in_one_go};
    int first_row = blockIdx.x / tiles * T::BM, first_column = blockIdx.x % tiles * T::BN;
    tile_gemm<T>(a, b, c, first_row, first_column, 0, inner, shared->v);
}

#define KERNEL(name, T)                                                                       \
    extern "C" __global__ void __launch_bounds__(T::THREADS, T::RESIDENT) name(               \
        const real *x, const real *weight, const real *bias, real *y, int images,             \
        int channels, int outputs, int x_pitch, int x_group, int y_group, int stride_n,       \
        int stride_d, int stride_h, int stride_w, WINDOWS_ARGUMENTS                           \
    ) {                                                                                       \
        gather<T>(x, weight, bias, y, images, channels, outputs, x_pitch, x_group, y_group,   \
                  stride_n, stride_d, stride_h, stride_w, WINDOWS);                           \
    }
KERNEL(gather_wide, Wide)
KERNEL(gather_middle, Middle)
KERNEL(gather_thin, Thin)
KERNEL(gather_small, Small)
