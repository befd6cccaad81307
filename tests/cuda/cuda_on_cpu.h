// CUDA C++ as C++: one thread at a time, blocks in order.
//
// Each thread of a block is a coroutine with a stack of its own. It runs until it reaches
// __syncthreads or a warp shuffle; once all threads that take part are there, they go on. Even
// blocks run their threads in rising, odd ones in falling order, so that what depends on an
// order that nobody promised comes out differently. Shared memory is full of NaN when a block
// begins. A thread that leaves a block which others wait in, waits for one that never comes, or
// touches memory behind a guard page, ends the launch with a message.
#pragma once

#include <csetjmp>
#include <csignal>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <math.h>
#include <ucontext.h>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __constant__ static const
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("cuda_shared")))

using std::abs;
using std::isfinite;
using std::isinf;
using std::isnan;

struct uint3 { unsigned x, y, z; };
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) double2 { double x, y; };
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline double2 make_double2(double x, double y) { return {x, y}; }

extern char __start_cuda_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_cuda_shared[] __attribute__((weak, visibility("hidden")));

namespace emulator {

enum State { READY, AT_BARRIER, AT_SHUFFLE, DONE };

struct Thread {
    ucontext_t context;
    jmp_buf saved;
    char *stack = nullptr;
    uint3 index;
    unsigned lane, warp, mask;
    bool fresh;
    State state;
    uint64_t given, taken[32];
};

static const size_t STACK = 128 << 10;
static const int WARP = 32;

static std::vector<Thread> threads;
static Thread *current;
static dim3 grid_size, block_size;
static uint3 block_number;
static jmp_buf scheduler;
static sigjmp_buf abandoned;
static void (*body)(void **);
static void **arguments;
static char message[400];

static inline void leave(State state) {
    Thread &thread = *current;
    thread.state = state;
    if (_setjmp(thread.saved) == 0) _longjmp(scheduler, 1);
}

static void run_thread() {
    body(arguments);
    current->state = DONE;
    _longjmp(scheduler, 1);
}

static void resume(Thread &thread) {
    current = &thread;
    if (_setjmp(scheduler) != 0) return;
    if (thread.fresh) {
        thread.fresh = false;
        setcontext(&thread.context);
    }
    _longjmp(thread.saved, 1);
}

static void begin_block(unsigned count) {
    if (__start_cuda_shared) memset(__start_cuda_shared, 0xff, __stop_cuda_shared - __start_cuda_shared);
    for (unsigned i = 0; i < count; i++) {
        Thread &thread = threads[i];
        thread.index = {i % block_size.x, i / block_size.x % block_size.y, i / block_size.x / block_size.y};
        thread.lane = i % WARP;
        thread.warp = i / WARP;
        thread.state = READY;
        thread.fresh = true;
        if (!thread.stack) {
            thread.stack = (char *)mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        }
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = thread.stack;
        thread.context.uc_stack.ss_size = STACK;
        thread.context.uc_link = nullptr;
        makecontext(&thread.context, run_thread, 0);
    }
}

static bool fail(const char *what) {
    snprintf(message, sizeof message, "%s in block (%u, %u, %u)", what, block_number.x, block_number.y, block_number.z);
    return false;
}

// Let those go on who wait for nobody any more. Return false where nobody can.
static bool release(unsigned count) {
    unsigned waiting = 0, done = 0, freed = 0;
    for (unsigned i = 0; i < count; i++) {
        waiting += threads[i].state == AT_BARRIER;
        done += threads[i].state == DONE;
    }
    if (waiting == count) {
        for (unsigned i = 0; i < count; i++) threads[i].state = READY;
        return true;
    }
    for (unsigned first = 0; first < count; first += WARP) {
        unsigned end = first + WARP < count ? first + WARP : count, there = 0;
        for (unsigned i = first; i < end; i++) {
            if (threads[i].state == AT_SHUFFLE) there |= 1u << threads[i].lane;
        }
        for (unsigned i = first; i < end; i++) {
            Thread &thread = threads[i];
            unsigned existing = end - first == 32 ? ~0u : (1u << (end - first)) - 1;
            unsigned wanted = thread.mask & existing;
            if (thread.state != AT_SHUFFLE || (there & wanted) != wanted) continue;
            for (unsigned j = first; j < end; j++) {
                if (wanted >> (j - first) & 1 && threads[j].mask != thread.mask)
                    return fail("lanes of one shuffle name different masks");
            }
            for (unsigned j = first; j < end; j++) {
                for (unsigned k = first; k < end; k++) threads[j].taken[k - first] = threads[k].given;
            }
            for (unsigned j = first; j < end; j++) {
                if (wanted >> (j - first) & 1) threads[j].state = READY, freed++;
            }
            break;
        }
    }
    if (freed) return true;
    if (waiting && done) return fail("some threads wait at __syncthreads, others have left the kernel");
    return fail("threads wait for others that never come (a barrier or shuffle inside of a branch?)");
}

static bool run_block(unsigned count, bool backwards) {
    begin_block(count);
    while (true) {
        unsigned done = 0;
        bool moved = false;
        for (unsigned i = 0; i < count; i++) {
            Thread &thread = threads[backwards ? count - 1 - i : i];
            if (thread.state == READY) resume(thread), moved = true;
            done += thread.state == DONE;
        }
        if (done == count) return true;
        if (!moved && !release(count)) return false;
    }
}

static void on_fault(int, siginfo_t *info, void *) {
    uint3 t = current->index, b = block_number;
    snprintf(message, sizeof message,
             "memory out of bounds at %p, read or written by thread (%u, %u, %u) of block (%u, %u, %u)",
             info->si_addr, t.x, t.y, t.z, b.x, b.y, b.z);
    siglongjmp(abandoned, 1);
}

// Run a kernel. Return null, or what went wrong.
static const char *launch(dim3 grid, dim3 block, void (*kernel)(void **), void **values) {
    unsigned count = block.x * block.y * block.z;
    if (count == 0 || count > 1024 || block.z > 64) return "a block has 1 to 1024 threads";
    if (!grid.x || !grid.y || !grid.z || grid.y > 65535 || grid.z > 65535)
        return "a grid has 1 to 65535 blocks along y and z";
    grid_size = grid, block_size = block, body = kernel, arguments = values;
    if (threads.size() < count) threads.resize(count);
    struct sigaction action = {}, before_segv, before_bus;
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &action, &before_segv);
    sigaction(SIGBUS, &action, &before_bus);
    volatile bool fine = true;
    if (sigsetjmp(abandoned, 1) == 0) {
        for (unsigned z = 0; z < grid.z && fine; z++)
            for (unsigned y = 0; y < grid.y && fine; y++)
                for (unsigned x = 0; x < grid.x && fine; x++) {
                    block_number = {x, y, z};
                    fine = run_block(count, (x + y + z) % 2);
                }
    } else {
        fine = false;
    }
    sigaction(SIGSEGV, &before_segv, nullptr);
    sigaction(SIGBUS, &before_bus, nullptr);
    return fine ? nullptr : message;
}

template <class V> static inline V exchange(unsigned mask, V value, int lane) {
    static_assert(sizeof(V) <= 8, "");
    Thread &thread = *current;
    thread.given = 0;
    memcpy(&thread.given, &value, sizeof value);
    thread.mask = mask;
    if (!(mask >> thread.lane & 1)) {
        fprintf(stderr, "a lane outside of the mask of its own shuffle\n");
        abort();
    }
    leave(AT_SHUFFLE);
    V result;
    memcpy(&result, &thread.taken[lane], sizeof result);
    return result;
}

}  // namespace emulator

#define threadIdx (emulator::current->index)
#define blockIdx emulator::block_number
#define blockDim emulator::block_size
#define gridDim emulator::grid_size
static const int warpSize = 32;

static inline void __syncthreads() { emulator::leave(emulator::AT_BARRIER); }
static inline void __syncwarp(unsigned mask = ~0u) {
    emulator::exchange(mask, 0, emulator::current->lane);
}
static inline void __threadfence() {}

// As on the card, a lane that is out of range gives its own value.
template <class V> static inline V __shfl_sync(unsigned mask, V value, int lane, int width = 32) {
    int own = emulator::current->lane;
    return emulator::exchange(mask, value, own / width * width + (lane & (width - 1)));
}
template <class V> static inline V __shfl_down_sync(unsigned mask, V value, unsigned by, int width = 32) {
    int own = emulator::current->lane;
    return emulator::exchange(mask, value, own % width + (int)by < width ? own + by : own);
}
template <class V> static inline V __shfl_up_sync(unsigned mask, V value, unsigned by, int width = 32) {
    int own = emulator::current->lane;
    return emulator::exchange(mask, value, own % width >= (int)by ? own - by : own);
}
template <class V> static inline V __shfl_xor_sync(unsigned mask, V value, int with, int width = 32) {
    int own = emulator::current->lane, other = own ^ with;
    return emulator::exchange(mask, value, other / width == own / width ? other : own);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate) {
    emulator::exchange(mask, predicate, emulator::current->lane);
    unsigned result = 0;
    for (int lane = 0; lane < 32; lane++) {
        int value;
        memcpy(&value, &emulator::current->taken[lane], sizeof value);
        if (mask >> lane & 1 && value) result |= 1u << lane;
    }
    return result;
}
static inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }

template <class V> static inline V atomicAdd(V *place, V value) { V old = *place; *place += value; return old; }
template <class V> static inline V atomicMax(V *place, V value) { V old = *place; if (value > old) *place = value; return old; }
template <class V> static inline V atomicMin(V *place, V value) { V old = *place; if (value < old) *place = value; return old; }
template <class V> static inline V atomicOr(V *place, V value) { V old = *place; *place |= value; return old; }
template <class V> static inline V atomicExch(V *place, V value) { V old = *place; *place = value; return old; }
template <class V> static inline V atomicCAS(V *place, V compare, V value) {
    V old = *place;
    if (old == compare) *place = value;
    return old;
}

template <class V> static inline V __ldg(const V *place) { return *place; }
template <class V> static inline V min(V a, V b) { return b < a ? b : a; }
template <class V> static inline V max(V a, V b) { return a < b ? b : a; }
static inline float rsqrtf(float x) { return 1 / sqrtf(x); }
static inline double rsqrt(double x) { return 1 / sqrt(x); }
static inline float rsqrt(float x) { return 1 / sqrtf(x); }
static inline int __float_as_int(float x) { int i; memcpy(&i, &x, 4); return i; }
static inline float __int_as_float(int i) { float x; memcpy(&x, &i, 4); return x; }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
