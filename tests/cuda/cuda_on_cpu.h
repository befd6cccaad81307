// CUDA C++ as C++: one thread at a time, blocks in order.
//
// A thread of a block runs until it reaches __syncthreads or a warp shuffle; once all threads
// that take part are there, they go on. For this, stacks are coroutines:
//
//   stack 0   thread 0 ... waits              goes on ... ends
//   stack 1                thread 1 ... waits               goes on ... ends
//   stack 2                             ...
//
// A stack whose thread ends begins the next one, so that a kernel without barriers takes one.
//
// Even blocks run their threads in rising, odd ones in falling order, so that what depends on
// an order that nobody promised comes out differently. Shared memory is full of NaN when a block
// begins, and so is what a shuffle takes from a lane that gives nothing. A thread that leaves a
// block which others wait in, waits for one that never comes, or touches memory behind a guard
// page, ends the launch with a message.
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
    jmp_buf place;
    uint3 index;
    unsigned lane, warp, mask;
    int line;  // of the barrier that it waits at
    State state;
    uint64_t given;
};

static const size_t STACK = 128 << 10, GUARD = 4096;
static const int WARP = 32, MOST_THREADS = 1024;
static const uint64_t NOTHING = ~0ull;  // NaN as a float

static struct Stack { jmp_buf place; ucontext_t bottom; } stacks[MOST_THREADS], *idle[MOST_THREADS];
static unsigned made, idling;  // stacks that this launch uses, and how many of them do nothing
static Thread threads[MOST_THREADS], *current;
static unsigned count, begun;  // threads in a block, and how many of them have begun
static uint64_t taken[MOST_THREADS / WARP][WARP];
static dim3 grid_size, block_size;
static uint3 block_number;
static jmp_buf scheduler;
static sigjmp_buf abandoned;
static void (*body)(void **);
static void **arguments;
static char message[400];

// End the launch.
static void stop(const char *what) {
    uint3 t = current->index, b = block_number;
    snprintf(message, sizeof message, "%s, in thread (%u, %u, %u) of block (%u, %u, %u)",
             what, t.x, t.y, t.z, b.x, b.y, b.z);
    siglongjmp(abandoned, 1);
}

static bool is_backwards() { return (block_number.x + block_number.y + block_number.z) % 2; }

// Begin the next thread.
static void begin() {
    unsigned i = is_backwards() ? count - 1 - begun : begun, row = i / block_size.x;
    begun++;
    current = &threads[i];
    current->index = {i % block_size.x, row % block_size.y, row / block_size.y};
    current->lane = i % WARP;
    current->warp = i / WARP;
    current->state = READY;
}

// Wait, until the scheduler goes on with the current thread.
static __attribute__((noinline)) void wait(State state) {
    current->state = state;
    if (_setjmp(current->place) == 0) _longjmp(scheduler, 1);
}

// What a stack does: threads that have not begun, one after another.
static void run_threads(unsigned number) {
    while (true) {
        while (begun < count) {
            begin();
            body(arguments);
            current->state = DONE;
        }
        idle[idling++] = &stacks[number];
        if (_setjmp(stacks[number].place) == 0) _longjmp(scheduler, 1);
    }
}

// Go to a new stack, which has a guard page below it.
static void make_stack() {
    static const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    static char *memory = (char *)mmap(nullptr, MOST_THREADS * STACK, PROT_NONE, flags, -1, 0);
    char *low = memory + made * STACK + GUARD;
    ucontext_t &bottom = stacks[made].bottom;
    mprotect(low, STACK - GUARD, PROT_READ | PROT_WRITE);
    getcontext(&bottom);
    bottom.uc_stack.ss_sp = low;
    bottom.uc_stack.ss_size = STACK - GUARD - made % 16 * 128;  // not all in the same cache lines
    bottom.uc_link = nullptr;
    makecontext(&bottom, (void (*)())run_threads, 1, made++);
    setcontext(&bottom);
}

static void begin_threads() {
    if (_setjmp(scheduler) != 0) return;
    if (idling) _longjmp(idle[--idling]->place, 1);
    make_stack();
}

static void resume(Thread &thread) {
    current = &thread;
    if (_setjmp(scheduler) == 0) _longjmp(thread.place, 1);
}

// Let all threads go on if they wait at one barrier.
static bool release_barrier() {
    for (unsigned i = 0; i < count; i++) {
        if (threads[i].state != AT_BARRIER) return false;
        if (threads[i].line != threads[0].line) stop("threads wait at different barriers");
    }
    for (unsigned i = 0; i < count; i++) threads[i].state = READY;
    return true;
}

// Let those lanes of a warp go on whose shuffle is complete; tell whether there are any.
static bool release_shuffle(unsigned warp) {
    Thread *lanes = threads + warp * WARP;
    unsigned size = count - warp * WARP < WARP ? count - warp * WARP : WARP, there = 0;
    for (unsigned i = 0; i < size; i++) there |= (lanes[i].state == AT_SHUFFLE) << i;
    for (unsigned i = 0; i < size; i++) {
        unsigned wanted = size == WARP ? lanes[i].mask : lanes[i].mask & ((1u << size) - 1);
        if (!(there >> i & 1) || (there & wanted) != wanted) continue;
        for (unsigned j = 0; j < WARP; j++) {
            taken[warp][j] = NOTHING;
            if (!(wanted >> j & 1)) continue;
            current = &lanes[j];
            if (current->mask != lanes[i].mask) stop("lanes of one shuffle name different masks");
            taken[warp][j] = current->given;
            current->state = READY;
        }
        return true;
    }
    return false;
}

// Let those go on who wait for nobody any more.
static void release() {
    if (release_barrier()) return;
    bool any = false, ended = false;
    for (unsigned warp = 0; warp * WARP < count; warp++) any |= release_shuffle(warp);
    if (any) return;
    for (unsigned i = 0; i < count; i++) {
        if (threads[i].state == DONE) ended = true;
        else current = &threads[i];
    }
    stop(ended ? "waits for threads that have left the kernel"
               : "waits for threads that never come (a barrier or shuffle inside of a branch?)");
}

static void run_block() {
    size_t shared = __stop_cuda_shared - __start_cuda_shared;
    if (shared) memset(__start_cuda_shared, 0xff, shared);
    begun = 0;
    while (begun < count) begin_threads();
    while (true) {
        unsigned done = 0;
        for (unsigned i = 0; i < count; i++) done += threads[i].state == DONE;
        if (done == count) return;
        release();
        for (unsigned i = 0; i < count; i++) {
            Thread &thread = threads[is_backwards() ? count - 1 - i : i];
            if (thread.state == READY) resume(thread);
        }
    }
}

static void on_fault(int signal, siginfo_t *info, void *) {
    char what[100] = "a whole number divided by zero";
    if (signal != SIGFPE)
        snprintf(what, sizeof what, "memory out of bounds at %p, read or written", info->si_addr);
    stop(what);
}

// While this exists, faults come to on_fault, which has memory of its own: the stack may be full.
struct FaultsCaught {
    static constexpr int SIGNALS[3] = {SIGSEGV, SIGBUS, SIGFPE};
    struct sigaction before[3];
    stack_t stack_before;
    FaultsCaught() {
        static char memory[64 << 10];
        stack_t stack = {};
        stack.ss_sp = memory;
        stack.ss_size = sizeof memory;
        sigaltstack(&stack, &stack_before);
        struct sigaction action = {};
        action.sa_sigaction = on_fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        for (int i = 0; i < 3; i++) sigaction(SIGNALS[i], &action, &before[i]);
    }
    ~FaultsCaught() {
        for (int i = 0; i < 3; i++) sigaction(SIGNALS[i], &before[i], nullptr);
        sigaltstack(&stack_before, nullptr);
    }
};
constexpr int FaultsCaught::SIGNALS[3];

// Run a kernel. Return null, or what went wrong.
static const char *launch(dim3 grid, dim3 block, void (*kernel)(void **), void **values) {
    count = block.x * block.y * block.z;
    if (!count || block.x > 1024 || block.y > 1024 || block.z > 64 || count > MOST_THREADS)
        return "a block has 1 to 1024 threads, at most 64 along z";
    if (!grid.x || !grid.y || !grid.z || grid.x >> 31 || grid.y > 65535 || grid.z > 65535)
        return "a grid has at least 1 block, and at most 65535 along y and z";
    grid_size = grid, block_size = block, body = kernel, arguments = values;
    made = idling = 0;  // whatever state the stacks were left in
    FaultsCaught caught;
    if (sigsetjmp(abandoned, 1) != 0) return message;
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                block_number = {x, y, z};
                run_block();
            }
    return nullptr;
}

// Give a value of up to 8 bytes, and take that of another lane.
template <class V> static inline V exchange(unsigned mask, V value, int lane) {
    static_assert(sizeof(V) <= 8, "");
    if (!(mask >> current->lane & 1)) stop("a lane outside of the mask of its own shuffle");
    current->given = 0;
    memcpy(&current->given, &value, sizeof value);
    current->mask = mask;
    wait(AT_SHUFFLE);
    V result;
    memcpy(&result, &taken[current->warp][lane], sizeof result);
    return result;
}

static inline void barrier(int line) {
    current->line = line;
    wait(AT_BARRIER);
}

}  // namespace emulator

#define threadIdx (emulator::current->index)
#define blockIdx emulator::block_number
#define blockDim emulator::block_size
#define gridDim emulator::grid_size
static const int warpSize = 32;

#define __syncthreads() emulator::barrier(__LINE__)
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
        memcpy(&value, &emulator::taken[emulator::current->warp][lane], sizeof value);
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
