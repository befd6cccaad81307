// Dropout and random slopes by Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy
// as 1, 2, 3", SC 2011): word i of a key is computed on its own, so that any thread, and the
// CPU, finds the same one.
//
// A counter value makes four words of 64 bits, read as eight of 32, low half first. So a thread
// draws for eight elements, which are one byte of the mask. But neighbouring threads should meet
// neighbouring elements in memory: the words go through shared memory. The key lies in the
// device's memory, so that a captured graph can be run again with another one.
//
//     draws    thread  |         0         |           1           | ...
//              counter |         1         |           2           |
//              element | 0 1 2 3   4 5 6 7 | 8 9 10 11 12 13 14 15 |
//     applies  thread  |    0    |    1    |     2     |     3     | ...  and again further on
//
// A thread applies the words of `each` neighbouring elements at a time, 4 where all arrays allow
// it (packs.py), else 1, until the block's 2048 elements are done. In the gradient that is all it
// does: 4 elements have half a byte of the mask.
//
// Bytes: 2 numbers and a bit an element, read and written once. 20 products of 64 bits for eight
// elements: by estimate they take no longer than the memory traffic of float32, beside it.
// Limit: copy bandwidth.
#include "packs.cuh"

#define BLOCK 256  // threads of a block that draws

typedef unsigned long long word64;
// Word k of thread t is in [k][t]. With 4 more in a row, no two threads of a warp meet in a bank
// of shared memory, neither where they draw nor where they apply, by 1 or by 4.
typedef unsigned Words[8][BLOCK + 4];

// One thread: bring a key, (2,), to the device without a copy that the host waits for.
extern "C" __global__ void place_key(
    unsigned long long *key, unsigned long long key0, unsigned long long key1
) {
    key[0] = key0, key[1] = key1;
}

// Draw the words of the block's elements.
__device__ __forceinline__ void draw(Words words, const word64 *key) {
    word64 key0 = key[0], key1 = key[1];
    word64 c[4] = {(word64)thread_number() + 1, 0, 0, 0};
    for (int round = 0; round < 10; round++) {
        word64 low0 = 0xD2E7470EE14C6C93ull * c[0], high0 = __umul64hi(0xD2E7470EE14C6C93ull, c[0]);
        word64 low1 = 0xCA5A826395121157ull * c[2], high1 = __umul64hi(0xCA5A826395121157ull, c[2]);
        c[0] = high1 ^ c[1] ^ key0, c[1] = low1, c[2] = high0 ^ c[3] ^ key1, c[3] = low0;
        key0 += 0x9E3779B97F4A7C15ull, key1 += 0xBB67AE8584CAA73Bull;
    }
    for (int k = 0; k < 4; k++) {
        words[2 * k][threadIdx.x] = (unsigned)c[k];
        words[2 * k + 1][threadIdx.x] = (unsigned)(c[k] >> 32);
    }
    __syncthreads();
}

// y = f(x, word) for the block's elements, N at a time.
template <int N, class F>
__device__ __forceinline__ void apply_packs(
    F f, const real *__restrict__ x, real *__restrict__ y, const Words &words, int n
) {
    int first = blockIdx.x * BLOCK * 8;
#pragma unroll
    for (int turn = 0; turn < 8 / N; turn++) {
        int k = (turn * BLOCK + threadIdx.x) * N;
        if (first + k >= n) continue;
        Pack<real, N> pack = read_pack<N>(x + first + k);
#pragma unroll
        for (int j = 0; j < N; j++) pack.v[j] = f(pack.v[j], words[(k + j) % 8][k / 8]);
        write_pack(y + first + k, pack);
    }
}

template <class F>
__device__ __forceinline__ void apply(
    int each, F f, const real *__restrict__ x, real *__restrict__ y, const Words &words, int n
) {
    if (each == 4) apply_packs<4>(f, x, y, words, n);
    else apply_packs<1>(f, x, y, words, n);
}

// y = x * scale where the word is at least `lowest`, else 0 * x; bits: where it is.
extern "C" __global__ void dropout(
    const real *__restrict__ x, real *__restrict__ y, unsigned char *bits,
    const unsigned long long *key, unsigned long long lowest, real scale, int each, int n
) {
    __shared__ Words words;
    draw(words, key);
    apply(each, [=](real x, unsigned word) { return x * (word >= lowest ? scale : real(0)); },
          x, y, words, n);
    int byte = thread_number();
    if (byte * 8 >= n) return;
    unsigned mask = 0;
    for (int k = 0; k < 8; k++) {
        bool kept = byte * 8 + k < n && words[k][threadIdx.x] >= lowest;
        mask |= (unsigned)kept << k;
    }
    bits[byte] = (unsigned char)mask;
}

// 1 where x is positive, else lower + step * word.
extern "C" __global__ void random_slopes(
    const real *__restrict__ x, real *__restrict__ slopes, const unsigned long long *key,
    real lower, real step, int each, int n
) {
    __shared__ Words words;
    draw(words, key);
    apply(each, [=](real x, unsigned word) { return x > 0 ? real(1) : lower + step * word; },
          x, slopes, words, n);
}

// dx = dy * scale where the bit is set, else 0 * dy, for N elements.
template <int N>
__device__ __forceinline__ void unmask_pack(
    const real *dy, const unsigned char *bits, real *dx, real scale, int first
) {
    unsigned mask = bits[first / 8] >> first % 8;
    Pack<real, N> pack = read_pack<N>(dy + first);
#pragma unroll
    for (int j = 0; j < N; j++) pack.v[j] *= mask >> j & 1 ? scale : real(0);
    write_pack(dx + first, pack);
}

extern "C" __global__ void dropout_grad(
    const real *dy, const unsigned char *bits, real *dx, real scale, int each, int n
) {
    int i = thread_number();
    if (i >= n) return;
    if (each == 4) unmask_pack<4>(dy, bits, dx, scale, i * 4);
    else unmask_pack<1>(dy, bits, dx, scale, i);
}
