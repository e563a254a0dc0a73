// Runs CUDA kernels on a CPU, for tests: the threads of a block are fibers that take turns.
//
// A fiber runs until it has to wait at a barrier or a warp operation; then the first one that can
// run does, in ascending or descending order of thread index, so that a warp gets as far ahead of
// the others as the barriers let it. A kernel whose result depends on the order, or that waits for
// a thread that never comes, is wrong. Blocks run one after the other, so that what blocks tell
// each other through memory is tested in that order only.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "half.hpp"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define EMULATOR_ASAN 1
#endif

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
// In a section of their own, so that they can be spoilt before each block.
#define __shared__ static __attribute__((section("emulated_shared")))

struct Index3 {
    unsigned x, y, z;
};

inline Index3 threadIdx, blockIdx, blockDim, gridDim;

extern "C" {
extern unsigned char __start_emulated_shared[] __attribute__((weak));
extern unsigned char __stop_emulated_shared[] __attribute__((weak));
}

namespace emulator {

struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

constexpr size_t kStack = 128 << 10;

// A meeting of a block's or a warp's threads. All have to come to the same line.
struct Meeting {
    unsigned round = 0, present = 0, line = 0;
    uint32_t mask = 0;
    uint64_t values[2][32] = {};  // of this round and the one before, which some still read
};

struct Fiber {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(kStack);
    const Meeting* waits_for = nullptr;
    unsigned waits_in_round = 0;
    bool done = false;
    std::string failure;
    void* sanitizer = nullptr;
};

struct Block {
    std::vector<Fiber> fibers;
    std::vector<Meeting> warps;
    Meeting all;
    std::function<void()> kernel;
    ucontext_t scheduler;
    unsigned current = 0;
    void* sanitizer = nullptr;
    const void* stack = nullptr;
    size_t stack_size = 0;
};

inline Block* block = nullptr;
inline bool reversed = false;

[[noreturn]] inline void fail(const std::string& what) {
    throw Failure("block " + std::to_string(blockIdx.x) + "," + std::to_string(blockIdx.y) +
                  " thread " + std::to_string(block->current) + ": " + what);
}

// Not instrumented: a fiber ends here without returning, and the marks that the address sanitizer
// lays round a frame's variables would stay on the stack for the next block.
__attribute__((no_sanitize("address"), noinline)) inline void leave_fiber(bool for_good) {
    Fiber& fiber = block->fibers[block->current];
#ifdef EMULATOR_ASAN
    __sanitizer_start_switch_fiber(for_good ? nullptr : &fiber.sanitizer, block->stack,
                                   block->stack_size);
#else
    (void)for_good;
#endif
    swapcontext(&fiber.context, &block->scheduler);
#ifdef EMULATOR_ASAN
    __sanitizer_finish_switch_fiber(fiber.sanitizer, &block->stack, &block->stack_size);
#endif
}

// Wait until `expected` threads have come to this meeting.
inline void meet(Meeting& meeting, unsigned expected, unsigned line) {
    if (meeting.present == 0) meeting.line = line;
    if (meeting.line != line)
        fail("is at line " + std::to_string(line) + " while others wait at line " +
             std::to_string(meeting.line));
    if (++meeting.present == expected) {
        meeting.present = 0;
        ++meeting.round;
        return;
    }
    Fiber& fiber = block->fibers[block->current];
    fiber.waits_for = &meeting;
    fiber.waits_in_round = meeting.round;
    leave_fiber(false);
}

inline void synchronise_block(unsigned line) {
    meet(block->all, unsigned(block->fibers.size()), line);
}

// All lanes of `mask` leave a value; returns the 32 values. Kernels use whole warps only.
inline const uint64_t* exchange(uint32_t mask, uint64_t value, unsigned line) {
    unsigned lane = block->current % 32;
    Meeting& warp = block->warps[block->current / 32];
    if (!(mask >> lane & 1)) fail("lane is not in the mask at line " + std::to_string(line));
    if (warp.present && warp.mask != mask) fail("masks differ at line " + std::to_string(line));
    warp.mask = mask;
    uint64_t* values = warp.values[warp.round % 2];
    values[lane] = value;
    meet(warp, unsigned(__builtin_popcount(mask)), line);
    return values;
}

template <class T>
T shuffle(uint32_t mask, T value, unsigned source, unsigned line) {
    static_assert(sizeof(T) <= 8);
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    const uint64_t* values = exchange(mask, bits, line);
    if (source >= 32) return value;
    if (!(mask >> source & 1)) fail("reads a lane outside the mask at line " + std::to_string(line));
    std::memcpy(&value, &values[source], sizeof value);
    return value;
}

inline unsigned lane() { return block->current % 32; }

// Every byte 255: NaN as a number, -1 as an index. What a kernel reads before it has written it,
// or what the block before has left, shows in the result.
__attribute__((no_sanitize("address", "undefined"))) inline void spoil_shared() {
    for (volatile unsigned char* p = __start_emulated_shared; p < __stop_emulated_shared; ++p)
        *p = 255;
}

inline void run_kernel() {
    Fiber& fiber = block->fibers[block->current];
    try {
        block->kernel();
        if (block->all.present)
            fail("has ended while others wait at line " + std::to_string(block->all.line));
    } catch (const Failure& failure) {
        fiber.failure = failure.what();
    }
    fiber.done = true;
}

__attribute__((no_sanitize("address"))) inline void fiber_main() {
#ifdef EMULATOR_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &block->stack, &block->stack_size);
#endif
    run_kernel();
    leave_fiber(true);
    std::abort();
}

inline void resume(unsigned thread) {
    Fiber& fiber = block->fibers[thread];
    block->current = thread;
    threadIdx = {thread, 0, 0};
#ifdef EMULATOR_ASAN
    __sanitizer_start_switch_fiber(&block->sanitizer, fiber.stack.data(), kStack);
#endif
    swapcontext(&block->scheduler, &fiber.context);
#ifdef EMULATOR_ASAN
    __sanitizer_finish_switch_fiber(block->sanitizer, nullptr, nullptr);
#endif
    if (!fiber.failure.empty()) throw Failure(fiber.failure);
}

inline void run_block() {
    spoil_shared();
    for (Meeting& warp : block->warps) warp = Meeting();
    block->all = Meeting();
    for (Fiber& fiber : block->fibers) {
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = kStack;
        fiber.context.uc_link = nullptr;
        fiber.waits_for = nullptr;
        fiber.done = false;
        makecontext(&fiber.context, fiber_main, 0);
    }
    unsigned threads = unsigned(block->fibers.size());
    for (unsigned i = 0; i < threads;) {
        unsigned thread = reversed ? threads - 1 - i : i;
        Fiber& fiber = block->fibers[thread];
        bool waits = fiber.waits_for && fiber.waits_for->round == fiber.waits_in_round;
        if (fiber.done || waits) {
            ++i;
            continue;
        }
        fiber.waits_for = nullptr;
        resume(thread);
        i = 0;
    }
    for (const Fiber& fiber : block->fibers)
        if (!fiber.done) throw Failure("threads of a block wait for others that never come");
}

inline void launch(Index3 grid, Index3 threads, std::function<void()> kernel) {
    if (threads.y != 1 || threads.z != 1 || threads.x % 32 || threads.x > 1024 || !threads.x ||
        grid.y > 65535 || grid.z != 1 || !grid.x || !grid.y)
        throw Failure("the launch is larger than a device allows, or not of whole warps");
    Block here;
    here.fibers = std::vector<Fiber>(threads.x);
    here.warps = std::vector<Meeting>(threads.x / 32);
    here.kernel = std::move(kernel);
    block = &here;
    gridDim = grid;
    blockDim = threads;
    for (unsigned y = 0; y < grid.y; ++y)
        for (unsigned x = 0; x < grid.x; ++x) {
            blockIdx = {x, y, 0};
            run_block();
        }
    block = nullptr;
}

}  // namespace emulator

#include "intrinsics.hpp"
