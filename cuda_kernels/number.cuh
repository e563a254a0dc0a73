// Half precision without NVIDIA's headers, which the run-time compiler does not bring along.
#pragma once

struct alignas(2) Half {
    unsigned short bits;
};

#ifdef __CUDACC__

__device__ __forceinline__ float to_float(Half value) {
    float result;
    asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
    return result;
}

template <class T>
__device__ T from_float(float value);

template <>
__device__ __forceinline__ Half from_float<Half>(float value) {
    Half result;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
    return result;
}

#else

__device__ inline float to_float(Half value) { return emulator::half_to_float(value.bits); }

template <class T>
__device__ T from_float(float value);

template <>
__device__ inline Half from_float<Half>(float value) {
    return {emulator::float_to_half(value)};
}

#endif

__device__ __forceinline__ float to_float(float value) { return value; }

template <>
__device__ __forceinline__ float from_float<float>(float value) {
    return value;
}

// As many neighbouring values as one instruction moves, if they are aligned.
template <class T>
struct alignas(16) Vector {
    T at[16 / sizeof(T)];
};
