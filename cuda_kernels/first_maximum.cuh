// The first maximum of many values, looked for by the threads of a warp or a block.
#pragma once

// "Nothing yet" is minus infinity at index 0, which is also the answer if there is no number.
struct Maximum {
    float value;
    int index;
};

__device__ __forceinline__ float minus_infinity() { return __int_as_float(0xff800000); }

// A thread sees its values in ascending order of index. A comparison with NaN is false.
__device__ __forceinline__ void look_at(Maximum& best, float value, int index) {
    if (value > best.value) best = {value, index};
}

__device__ __forceinline__ Maximum better(Maximum a, Maximum b) {
    bool take_b = b.value > a.value || (b.value == a.value && b.index < a.index);
    return take_b ? b : a;
}

// All 32 threads of the warp take part and all get the answer.
__device__ __forceinline__ Maximum maximum_of_warp(Maximum best) {
    for (int distance = 16; distance > 0; distance /= 2) {
        Maximum other;
        other.value = __shfl_xor_sync(0xffffffffu, best.value, distance);
        other.index = __shfl_xor_sync(0xffffffffu, best.index, distance);
        best = better(best, other);
    }
    return best;
}
