// People's crops: affine bilinear warp, black outside, normalised, channels apart.
//
// grid (crops, columns of ROWS pixels / 256), block 256. Frames are read through the L1 cache, where
// the crops of one person overlap.

#include "planes.cuh"

// Beyond these no sample lies in a frame, and sums of products stay within 64 bits.
#define FARTHEST 1073741824.0
#define LONGEST_STEP 65536.0

template <class T>
__device__ __forceinline__ void crop_persons(const Frame* frames, const int* frame_index,
                                             const double* transforms, T* crops, int width,
                                             int height, int rgb, const Normalisation& norm) {
    __shared__ Fixed matrix[6];
    int n = blockIdx.x;
    const Frame frame = frames[frame_index[n]];
    if (threadIdx.x < 6) {
        double limit = threadIdx.x % 3 == 2 ? FARTHEST : LONGEST_STEP;
        matrix[threadIdx.x] = to_fixed(transforms[(long long)n * 6 + threadIdx.x], limit);
    }
    __syncthreads();
    int i = blockIdx.y * blockDim.x + threadIdx.x, v = i / width * ROWS, u = i % width;
    Fixed x = matrix[0] * u + matrix[1] * v + matrix[2];
    Fixed y = matrix[3] * u + matrix[4] * v + matrix[5];
    long long plane = (long long)width * height;
    T* pixel = crops + n * 3 * plane + (long long)v * width + u;
    for (int last = min(v + ROWS, height); v < last; ++v) {
        store(pixel, plane, rgb, norm, sample(frame, x, y));
        pixel += width;
        x += matrix[1];
        y += matrix[4];
    }
}

#define CROP_PERSONS(NAME, T)                                                                     \
    extern "C" __global__ void __launch_bounds__(256)                                             \
        NAME(const Frame* frames, const int* frame_index, const double* transforms, T* crops,     \
             int width, int height, int rgb, float scale0, float scale1, float scale2,            \
             float shift0, float shift1, float shift2) {                                          \
        Normalisation norm = {{scale0, scale1, scale2}, {shift0, shift1, shift2}};                \
        crop_persons(frames, frame_index, transforms, crops, width, height, rgb, norm);           \
    }

CROP_PERSONS(crop_persons_float32, float)
CROP_PERSONS(crop_persons_float16, Half)
