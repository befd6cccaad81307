// The gradient of a convolution by its weight:
//
//     dweight[tap, c, o] = sum over pixels of  x[source(pixel, tap), c] dy[pixel, o]
//
// A product whose inner dimension, all pixels of the batch, is long, and whose result is small:
// a block for each tile would leave the card idle. So the pixels are split into parts, as many
// as the sizes alone decide; each writes sums of its own, and a second kernel adds them in order.
// No atomics: the same bits every time.
//
//                 pixels of all images
//             +-------+-------+-------+           blockIdx.x, y: tile of the result
//     taps, c | part 0| part 1| part 2|           blockIdx.z:    part and group
//             +-------+-------+-------+
//
// As in gather.cu, groups may lie one behind another. gemm.cuh draws tiles and threads.
// Operations: 2 for each pixel, tap, channel and output. Bytes: x and dy once for each tile.
// Limit: multiply-add rate.
#include "conv/windows.cuh"

template <int SLOTS> struct PatchesByTap {  // A has a row for each tap and channel; k are pixels
    static constexpr bool ALONG_K = false;
    Source source;
    int end;
    Tap tap;
    Position at[SLOTS];
    int k[SLOTS];

    __device__ PatchesByTap(const Source &source, int end) : source(source), end(end) {}
    __device__ __forceinline__ void start(int slot, int pixel, int row) {
        tap = source.windows.tap(row, source.channels);
        at[slot] = source.windows.position(pixel);
        k[slot] = pixel;
    }
    __device__ __forceinline__ Quad load(int slot) const {
        if (k[slot] >= end) return {};
        return source.load(source.windows.start(at[slot]), tap);
    }
    __device__ __forceinline__ void step(int by) {
#pragma unroll
        for (int s = 0; s < SLOTS; s++) {
            k[s] += by;
            source.windows.move(at[s], by);
        }
    }
};

struct Sums {
    real *sums;
    int rows, outputs;
    bool in_one_go;

    __device__ __forceinline__ void store(int row, int o, const Quad (&quads)[4]) const {
        if (o >= outputs) return;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (row + i >= rows) return;
            write_quad(sums + (row + i) * outputs + o, quads[i], outputs - o, in_one_go);
        }
    }
};

template <class T>
__device__ __forceinline__ void weight_grad(
    const real *dy, const real *x, real *sums, int images, int groups, int channels, int outputs,
    int each, int x_pitch, int x_group, int dy_pitch, int dy_group, const Windows &windows
) {
    __shared__ Quad shared[T::SHARED / 4];
    int group = blockIdx.z % groups, part = blockIdx.z / groups, rows = windows.size() * channels;
    int first = part * each, end = min(images * windows.pixels(), first + each);
    dy += (long long)group * dy_group;
    x += (long long)group * x_group;
    sums += (long long)blockIdx.z * rows * outputs;

    PatchesByTap<T::A_SLOTS> a(Source(x, windows, channels, x_pitch), end);
    Matrix<T::B_SLOTS> b(dy, end, outputs, dy_pitch);
    Sums c = {sums, rows, outputs, in_quads(sums, outputs)};
    tile_gemm<T>(a, b, c, blockIdx.x * T::BM, blockIdx.y * T::BN, first, end, shared->v);
}

#define KERNEL(name, T, RESIDENT)                                                           \
    extern "C" __global__ void __launch_bounds__(T::THREADS, RESIDENT) name(                \
        const real *dy, const real *x, real *sums, int images, int groups, int channels,    \
        int outputs, int each, int x_pitch, int x_group, int dy_pitch, int dy_group,        \
        WINDOWS_ARGUMENTS                                                                   \
    ) {                                                                                     \
        weight_grad<T>(dy, x, sums, images, groups, channels, outputs, each, x_pitch,       \
                       x_group, dy_pitch, dy_group, WINDOWS);                               \
    }
KERNEL(weight_grad_wide, Wide, Wide::RESIDENT)
KERNEL(weight_grad_middle, Middle, Middle::RESIDENT - 1)  // which leaves enough registers
KERNEL(weight_grad_thin, Thin, Thin::RESIDENT)
KERNEL(weight_grad_small, Small, Small::RESIDENT)

// Add the sums (parts, groups, taps, channels, outputs) into dweight (O, channels, taps). Block:
// 32 neighbouring numbers by 8 threads that share the parts. Limit: copy bandwidth.
extern "C" __global__ void add_parts(
    const real *sums, real *dweight, int parts, int taps, int channels, int outputs, int n
) {
    __shared__ real shared[8][32];
    int i = blockIdx.x * 32 + threadIdx.x;
    real sum = 0;
    for (int part = threadIdx.y; i < n && part < parts; part += 8) {
        sum += sums[(long long)part * n + i];
    }
    shared[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || i >= n) return;
    for (int y = 1; y < 8; y++) sum += shared[y][threadIdx.x];
    int o = i % outputs, c = i / outputs % channels, tap = i / (outputs * channels) % taps;
    int group = i / (outputs * channels * taps);
    dweight[((group * outputs + o) * channels + c) * taps + tap] = sum;
}
