// SimCC outputs (one row of classes an axis, as RTMPose gives) to keypoints in frame pixels.
//
// grid (keypoints), block 64: the first warp reads the row of x, the second that of y.

#include "first_maximum.cuh"
#include "number.cuh"

template <class T>
__device__ __forceinline__ void decode_simcc(const T* simcc_x, const T* simcc_y,
                                             const double* transforms, float* keypoints,
                                             float* scores, int joints, int width, int height,
                                             double split) {
    __shared__ Maximum peak[2];
    long long keypoint = blockIdx.x;
    int axis = threadIdx.x / 32, lane = threadIdx.x % 32;
    int length = axis ? height : width;
    const T* row = (axis ? simcc_y : simcc_x) + keypoint * length;
    Maximum best = {minus_infinity(), 0};
    for (int i = lane; i < length; i += 32) look_at(best, to_float(row[i]), i);
    best = maximum_of_warp(best);
    if (lane == 0) peak[axis] = best;
    __syncthreads();
    if (threadIdx.x != 0) return;
    double px = peak[0].index / split, py = peak[1].index / split;
    const double* m = transforms + keypoint / joints * 6;
    keypoints[keypoint * 2] = (float)(m[0] * px + m[1] * py + m[2]);
    keypoints[keypoint * 2 + 1] = (float)(m[3] * px + m[4] * py + m[5]);
    // A row without any number has score 0, and no score is below 0: both are one comparison.
    scores[keypoint] = fmaxf(fminf(peak[0].value, peak[1].value), 0.0f);
}

#define DECODE_SIMCC(NAME, T)                                                                     \
    extern "C" __global__ void __launch_bounds__(64)                                              \
        NAME(const T* simcc_x, const T* simcc_y, const double* transforms, float* keypoints,      \
             float* scores, int joints, int width, int height, double split) {                    \
        decode_simcc(simcc_x, simcc_y, transforms, keypoints, scores, joints, width, height,      \
                     split);                                                                      \
    }

DECODE_SIMCC(decode_simcc_float32, float)
DECODE_SIMCC(decode_simcc_float16, Half)
