// CUDA C++ on a processor: what kernels say of their language, and the blocks that run them. Included in front of every
// kernel's source by make.py.
//
// The threads of a block are fibers: each runs until it ends or has to wait for the others, so that barriers and shuffles
// mean what they mean on a GPU. Blocks come one after the other. Every other launch begins with the last block, and with
// the last thread of each: what depends on an order that CUDA does not promise differs from launch to launch.
#pragma once

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <tuple>
#include <vector>
#include <ucontext.h>

#define __device__ static
#define __shared__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __CUDA_ARCH__ 900

struct Extent {
    unsigned x, y, z;
};
struct Grid {
    Extent blocks, threads;
    bool backwards;
};

inline Extent threadIdx, blockIdx, blockDim, gridDim;

namespace block {

struct Fiber {
    ucontext_t begin;
    void *here[5];
    bool begun = false;
    unsigned thread;
    Extent at;
    std::unique_ptr<char[]> stack;
};

inline std::vector<Fiber *> idle, ready, next_ready;

// Threads that wait for each other.
struct Group {
    unsigned live, turn;
    std::vector<Fiber *> waiting;

    void begin(unsigned threads) { live = threads, turn = 0; }
    void release() {
        next_ready.insert(next_ready.end(), waiting.begin(), waiting.end());
        waiting.clear();
        turn++;
    }
};

constexpr unsigned WARP = 32, MOST = 1024, STACK = 64 << 10;
inline const std::function<void()> *kernel;
inline unsigned next, threads;
inline bool backwards;
inline Group all, warps[MOST / WARP];
inline Fiber *running;
inline void *scheduler[5];

inline unsigned lane() { return running->thread % WARP; }
inline Group &warp() { return warps[running->thread / WARP]; }

inline void leave(Group &group) {
    if (--group.live && group.waiting.size() == group.live) group.release();
}

// A function that sets a mark may not itself jump to another.
[[noreturn]] __attribute__((noinline)) inline void jump(void **to) { __builtin_longjmp(to, 1); }

__attribute__((noinline)) inline void pause() {
    if (!__builtin_setjmp(running->here)) jump(scheduler);
}

inline void wait(Group &group) {
    if (group.waiting.size() + 1 == group.live) return group.release();
    group.waiting.push_back(running);
    pause();
}

// A fiber runs threads until one of them waits; the next ones then have another.
inline void run_threads() {
    for (;;) {
        while (next < threads) {
            unsigned t = backwards ? threads - 1 - next : next, x = blockDim.x, y = blockDim.y;
            next++;
            running->thread = t;
            running->at = threadIdx = {t % x, t / x % y, t / (x * y)};
            (*kernel)();
            leave(warp());
            leave(all);
        }
        idle.push_back(running);
        pause();
    }
}

__attribute__((noinline)) inline void resume(Fiber *fiber) {
    running = fiber;
    if (__builtin_setjmp(scheduler)) return;
    if (fiber->begun) jump(fiber->here);
    fiber->begun = true;
    setcontext(&fiber->begin);
}

inline Fiber *fresh() {
    if (!idle.empty()) {
        Fiber *fiber = idle.back();
        idle.pop_back();
        return fiber;
    }
    auto *fiber = new Fiber;
    fiber->stack.reset(new char[STACK]);
    getcontext(&fiber->begin);
    fiber->begin.uc_stack.ss_sp = fiber->stack.get();
    fiber->begin.uc_stack.ss_size = STACK;
    fiber->begin.uc_link = nullptr;
    makecontext(&fiber->begin, run_threads, 0);
    return fiber;
}

inline void run() {
    next = 0;
    all.begin(threads);
    for (unsigned w = 0; w * WARP < threads; w++) warps[w].begin(std::min(WARP, threads - w * WARP));
    while (next < threads) resume(fresh());
    while (!next_ready.empty()) {
        ready.clear();
        ready.swap(next_ready);
        for (Fiber *fiber : ready) {
            threadIdx = fiber->at;
            resume(fiber);
        }
    }
    if (all.live) {
        std::fprintf(stderr, "the threads of a block wait for each other for ever\n");
        std::abort();
    }
}

inline void launch(const Grid &grid, const std::function<void()> &body) {
    kernel = &body;
    blockDim = grid.threads;
    gridDim = grid.blocks;
    threads = grid.threads.x * grid.threads.y * grid.threads.z;
    backwards = grid.backwards;
    size_t x = grid.blocks.x, y = grid.blocks.y, blocks = x * y * grid.blocks.z;
    for (size_t i = 0; i < blocks; i++) {
        size_t b = backwards ? blocks - 1 - i : i;
        blockIdx = {unsigned(b % x), unsigned(b / x % y), unsigned(b / (x * y))};
        run();
    }
}

// What launches `f` with parameters that lie at `at`; they are copied now.
template <class... A> std::function<void(const Grid &)> *prepared(void (*f)(A...), void **at) {
    auto copy = [&]<size_t... I>(std::index_sequence<I...>) { return std::tuple<A...>(*static_cast<A *>(at[I])...); };
    std::tuple<A...> values = copy(std::index_sequence_for<A...>());
    return new std::function<void(const Grid &)>([f, values](const Grid &grid) {
        launch(grid, [&] { std::apply(f, values); });
    });
}

} // namespace block

static inline void __syncthreads() { block::wait(block::all); }

template <class T> static inline T shuffled(T x, unsigned from) {
    // Two sets of places: nobody is two shuffles ahead of another.
    static T places[2][block::MOST];
    block::Group &warp = block::warp();
    unsigned first = block::running->thread / block::WARP * block::WARP;
    T(&set)[block::MOST] = places[warp.turn % 2];
    set[first + block::lane()] = x;
    block::wait(warp);
    return set[first + from];
}
template <class T> static inline T __shfl_xor_sync(unsigned, T x, unsigned d) { return shuffled(x, block::lane() ^ d); }

template <class To, class From> static inline To bits(From x) {
    static_assert(sizeof(To) == sizeof(From));
    To y;
    std::memcpy(&y, &x, sizeof y);
    return y;
}
static inline float __int_as_float(int x) { return bits<float>(x); }
static inline float __uint_as_float(unsigned x) { return bits<float>(x); }
static inline int __float_as_int(float x) { return bits<int>(x); }
static inline unsigned __float_as_uint(float x) { return bits<unsigned>(x); }
static inline double __longlong_as_double(long long x) { return bits<double>(x); }
static inline long long __double_as_longlong(double x) { return bits<long long>(x); }

struct alignas(16) float4 {
    float x, y, z, w;
};
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

using std::isfinite;
using std::isnan;
using std::signbit;
template <class A, class B> static inline auto max(A a, B b) -> std::common_type_t<A, B> { return a > b ? a : b; }
template <class A, class B> static inline auto min(A a, B b) -> std::common_type_t<A, B> { return a < b ? a : b; }

// Nothing else runs meanwhile.
template <class T> static inline T atomicCAS(T *at, T expected, T x) {
    T old = *at;
    if (old == expected) *at = x;
    return old;
}
template <class T> static inline T exchanged(T *at, T x) {
    T old = *at;
    *at = x;
    return old;
}
template <class T, class X> static inline T atomicAdd(T *at, X x) { return exchanged(at, T(*at + T(x))); }
template <class T, class X> static inline T atomicMax(T *at, X x) { return exchanged(at, std::max(*at, T(x))); }
template <class T, class X> static inline T atomicMin(T *at, X x) { return exchanged(at, std::min(*at, T(x))); }

// dfdx has kernels for half precision, which this program never calls: they only have to compile.
struct __half {
    float value;
    __half() = default;
    template <class T> __half(T x) : value(float(x)) {}
    operator float() const { return value; }
};
#define HALF(op)                                                                                              \
    static inline __half operator op(__half a, __half b) { return a.value op b.value; }                      \
    template <class T> static inline __half operator op(__half a, T b) { return a.value op float(b); }       \
    template <class T> static inline __half operator op(T a, __half b) { return float(a) op b.value; }       \
    template <class T> static inline __half &operator op##=(__half &a, T b) { return a = a op __half(b); }
HALF(+)
HALF(-)
HALF(*)
HALF(/)
static inline __half operator-(__half x) { return -x.value; }
static inline float __half2float(__half x) { return x; }
static inline __half __float2half(float x) { return x; }
static inline unsigned short __half_as_ushort(__half x) { return (unsigned short)x.value; }
static inline __half __ushort_as_half(unsigned short x) { return x; }
static inline bool __hisnan(__half x) { return std::isnan(x.value); }
static inline __half __hmax_nan(__half a, __half b) { return std::fmax(a.value, b.value); }
static inline __half __hmin_nan(__half a, __half b) { return std::fmin(a.value, b.value); }
static inline __half hcos(__half x) { return std::cos(x.value); }
static inline __half hsin(__half x) { return std::sin(x.value); }
static inline __half hsqrt(__half x) { return std::sqrt(x.value); }
static inline __half hlog(__half x) { return std::log(x.value); }
static inline __half hexp(__half x) { return std::exp(x.value); }
static inline __half __habs(__half x) { return std::fabs(x.value); }
