// Four neighbouring pixels into the three planes of a network's input.
#pragma once

#include "frame.cuh"
#include "number.cuh"

// value * scale + shift for each channel, in the order of the output.
struct Normalisation {
    float scale[3], shift[3];
};

template <class T>
__device__ __forceinline__ void store_four(T* image, int width, int height, int rgb,
                                           const Normalisation& norm, int u, int v,
                                           const Colour* colours) {
    for (int channel = 0; channel < 3; ++channel) {
        T* row = image + ((long long)channel * height + v) * width;
        Four<T> out;
        for (int i = 0; i < 4; ++i) {
            const Colour& colour = colours[i];
            bool first = channel == (rgb ? 2 : 0);
            float grey = channel == 1 ? colour.green : first ? colour.blue : colour.red;
            out.at[i] = from_float<T>(grey * norm.scale[channel] + norm.shift[channel]);
        }
        // Images begin at aligned addresses, so rows of a multiple of four are aligned too.
        if (width % 4 == 0) {
            *(Four<T>*)(row + u) = out;
        } else {
            for (int i = 0; i < 4 && u + i < width; ++i) row[u + i] = out.at[i];
        }
    }
}
