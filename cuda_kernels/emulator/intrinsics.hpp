// The CUDA functions that the kernels use, by their CUDA names.
#pragma once

#include "emulator.hpp"

using std::abs;
using std::isfinite;
using std::max;
using std::min;

inline void __syncthreads(unsigned line = __builtin_LINE()) { emulator::synchronise_block(line); }

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, unsigned line = __builtin_LINE()) {
    return emulator::shuffle(mask, value, emulator::lane() ^ unsigned(lanes), line);
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned lanes, unsigned line = __builtin_LINE()) {
    return emulator::shuffle(mask, value, emulator::lane() + lanes, line);
}

inline unsigned __ballot_sync(unsigned mask, int vote, unsigned line = __builtin_LINE()) {
    const uint64_t* votes = emulator::exchange(mask, vote != 0, line);
    unsigned result = 0;
    for (unsigned i = 0; i < 32; ++i) result |= unsigned(mask >> i & 1 && votes[i]) << i;
    return result;
}

// Fibers change places at barriers only, so that these cannot be interrupted.
inline int atomicAdd(int* address, int value) {
    int before = *address;
    *address += value;
    return before;
}

inline void __threadfence() {}

inline float __int_as_float(unsigned bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return unsigned(((uint64_t(high) << 32) | low) >> (shift & 31));
}

inline float __uint_as_float(unsigned bits) { return __int_as_float(bits); }

// Byte i of the result is the one of the eight bytes that the i-th nibble of `selector` names.
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
    uint64_t bytes = uint64_t(high) << 32 | low;
    unsigned result = 0;
    for (int i = 0; i < 4; ++i)
        result |= unsigned(bytes >> (selector >> 4 * i & 7) * 8 & 255) << 8 * i;
    return result;
}

// Saturates, as the device does.
inline long long __double2ll_rn(double value) {
    if (std::isnan(value) || value < -0x1p63) return INT64_MIN;
    return value >= 0x1p63 ? INT64_MAX : std::llrint(value);
}
