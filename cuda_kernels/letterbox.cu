// Whole frames into a detector's input: resized with the aspect kept, the rest filled.
//
// grid (frames, columns of ROWS pixels / 256), block 256. Pixels as cv2.resize samples them (half
// pixel centres, the border repeated), but not rounded to integers.

#include "planes.cuh"

// Input pixel u lies at (u + 1/2) step - 1/2 of the frame, within its pixels.
__device__ __forceinline__ Fixed source(int u, Fixed step, int pixels) {
    Fixed place = ((2 * u + 1) * step - (1ll << 32)) / 2;
    Fixed last = (Fixed)(pixels - 1) << 32;
    return place < 0 ? 0 : place > last ? last : place;
}

template <class T>
__device__ __forceinline__ void letterbox(const Frame* frames, T* images, int width, int height,
                                          float fill, int rgb, const Normalisation& norm) {
    __shared__ int target_width, target_height;
    __shared__ Fixed step_x, step_y;
    const Frame frame = frames[blockIdx.x];
    if (threadIdx.x == 0) {
        // As the host computes it, or else the two would disagree about a row or a column.
        double scale = fmin((double)width / frame.width, (double)height / frame.height);
        target_width = max((int)rint(frame.width * scale), 1);
        target_height = max((int)rint(frame.height * scale), 1);
        step_x = __double2ll_rn((double)frame.width / target_width * 4294967296.0);
        step_y = __double2ll_rn((double)frame.height / target_height * 4294967296.0);
    }
    __syncthreads();
    int i = blockIdx.y * blockDim.x + threadIdx.x, v = i / width * ROWS, u = i % width;
    Fixed x = source(u, step_x, frame.width);
    long long plane = (long long)width * height;
    T* pixel = images + blockIdx.x * 3 * plane + (long long)v * width + u;
    for (int last = min(v + ROWS, height); v < last; ++v) {
        Colour colour = {fill, fill, fill};
        if (u < target_width && v < target_height)
            colour = sample(frame, x, source(v, step_y, frame.height));
        store(pixel, plane, rgb, norm, colour);
        pixel += width;
    }
}

#define LETTERBOX(NAME, T)                                                                        \
    extern "C" __global__ void __launch_bounds__(256)                                             \
        NAME(const Frame* frames, T* images, int width, int height, float fill, int rgb,          \
             float scale0, float scale1, float scale2, float shift0, float shift1,                \
             float shift2) {                                                                      \
        Normalisation norm = {{scale0, scale1, scale2}, {shift0, shift1, shift2}};                \
        letterbox(frames, images, width, height, fill, rgb, norm);                                \
    }

LETTERBOX(letterbox_float32, float)
LETTERBOX(letterbox_float16, Half)
