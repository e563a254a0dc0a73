// One pixel into the three planes of a network's input.
#pragma once

#include "frame.cuh"
#include "number.cuh"

// A thread makes this many pixels, one below the other: neighbouring threads read and write
// neighbouring pixels, and what depends on the image alone is fetched once.
#define ROWS 4

// value * scale + shift for each channel, in the order of the output.
struct Normalisation {
    float scale[3], shift[3];
};

template <class T>
__device__ __forceinline__ void store(T* pixel, long long plane, int rgb,
                                      const Normalisation& norm, const Colour& colour) {
    float first = rgb ? colour.red : colour.blue, last = rgb ? colour.blue : colour.red;
    pixel[0] = from_float<T>(first * norm.scale[0] + norm.shift[0]);
    pixel[plane] = from_float<T>(colour.green * norm.scale[1] + norm.shift[1]);
    pixel[2 * plane] = from_float<T>(last * norm.scale[2] + norm.shift[2]);
}
