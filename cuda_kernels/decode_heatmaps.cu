// Heatmaps to keypoints in frame pixels, without the averaged maps ever being written.
//
// grid (maps), block 128. The block reads its map once, in vectors of four, for the first maximum;
// DARK then smooths only the 5x5 samples around it, from a window that the cache still holds.

#include "first_maximum.cuh"
#include "number.cuh"

#define DECODE_THREADS 128
#define MOST_RADIUS 16
#define MOST_WINDOW (5 + 2 * MOST_RADIUS)
#define LOG_FLOOR 1e-10
#define MIN_CURVATURE 1e-4

// Where one keypoint's maps are: the same place in each network's output.
template <class T>
struct Maps {
    const T* const* plain;     // one pointer a network
    const T* const* mirrored;  // null: no flip test
    int networks, height, width;
    long long offset, mirrored_offset;  // of this map, and of its mirrored joint's

    __device__ __forceinline__ float average(const T* const* outputs, long long at) const {
        float total = to_float(outputs[0][at]);
        for (int i = 1; i < networks; ++i) total += to_float(outputs[i][at]);
        return networks > 1 ? total / (float)networks : total;
    }

    __device__ __forceinline__ float at(int y, int x) const {
        float value = average(plain, offset + (long long)y * width + x);
        if (!mirrored) return value;
        long long back = mirrored_offset + (long long)y * width + (width - 1 - x);
        return (value + average(mirrored, back)) / 2.0f;
    }
};

template <class T>
__device__ __forceinline__ Maximum scan_map(const Maps<T>& maps) {
    Maximum best = {minus_infinity(), 0};
    int size = maps.height * maps.width;
    const T* map = maps.plain[0] + maps.offset;
    bool vectors = maps.networks == 1 && !maps.mirrored && (size_t)map % sizeof(Four<T>) == 0;
    int done = vectors ? size / 4 * 4 : 0;
    for (int i = threadIdx.x * 4; i < done; i += DECODE_THREADS * 4) {
        Four<T> four = *(const Four<T>*)(map + i);
        for (int j = 0; j < 4; ++j) look_at(best, to_float(four.at[j]), i + j);
    }
    for (int i = done + threadIdx.x; i < size; i += DECODE_THREADS) {
        int y = i / maps.width;
        look_at(best, maps.at(y, i - y * maps.width), i);
    }
    return best;
}

// 0.25 towards the higher neighbour; comparisons with NaN are false.
__device__ __forceinline__ double towards(float low, float high) {
    return 0.25 * (high > low) - 0.25 * (low > high);
}

// Sum of the weights of a kernel cut to `reach` samples on both sides.
__device__ __forceinline__ double kernel_mass(const double* weights, int reach) {
    double mass = weights[0];
    for (int i = 1; i <= reach; ++i) mass += 2 * weights[i];
    return mass;
}

// How far the kernel may reach so that it fits in the map at all five samples around the peak.
__device__ __forceinline__ int kernel_reach(int at, int length, int radius) {
    return min(min(at - 2, length - 3 - at), radius);
}

template <class T>
__device__ __forceinline__ void decode_heatmaps(const T* const* plain, const T* const* mirrored,
                                                const double* transforms, const int* flip,
                                                float* keypoints, float* scores, int networks,
                                                int joints, int height, int width, int method,
                                                double sigma) {
    __shared__ Maximum of_warp[DECODE_THREADS / 32];
    __shared__ Maximum peak;
    __shared__ double weights[MOST_RADIUS + 1];
    __shared__ float window[MOST_WINDOW][MOST_WINDOW];
    __shared__ double columns[5][MOST_WINDOW];
    __shared__ double logarithm[5][5];

    int thread = threadIdx.x;
    long long map = blockIdx.x, person = map / joints;
    int joint = (int)(map - person * joints);
    long long size = (long long)height * width;
    Maps<T> maps = {plain, mirrored, networks, height, width, map * size,
                    (person * joints + (flip ? flip[joint] : joint)) * size};

    Maximum best = maximum_of_warp(scan_map(maps));
    if (thread % 32 == 0) of_warp[thread / 32] = best;
    __syncthreads();
    if (thread == 0) {
        for (int i = 1; i < DECODE_THREADS / 32; ++i) best = better(best, of_warp[i]);
        peak = best;
    }
    __syncthreads();
    int y = peak.index / width, x = peak.index - y * width;

    // The whole block agrees on this, so the barriers below are met by all or by none.
    bool dark = method == 2 && x >= 2 && x < width - 2 && y >= 2 && y < height - 2;
    if (dark) {
        // cv2.GaussianBlur's kernel of 2 radius + 1 samples.
        int radius = (int)ceil(2.5 * sigma), side = 5 + 2 * radius;
        double spread = 0.3 * (radius - 1) + 0.8;
        if (thread <= radius) weights[thread] = exp(-(double)(thread * thread) / (2 * spread * spread));
        for (int i = thread; i < side * side; i += DECODE_THREADS) {
            int row = i / side, column = i - row * side;
            int from_y = min(max(y - 2 - radius + row, 0), height - 1);
            int from_x = min(max(x - 2 - radius + column, 0), width - 1);
            float value = maps.at(from_y, from_x);
            window[row][column] = isfinite(value) ? value : 0.0f;
        }
        __syncthreads();
        int reach = kernel_reach(y, height, radius);
        double mass = kernel_mass(weights, reach);
        for (int i = thread; i < 5 * side; i += DECODE_THREADS) {
            int row = i / side, column = i - row * side;
            double sum = 0;
            for (int j = -reach; j <= reach; ++j)
                sum += weights[abs(j)] * window[row + radius + j][column];
            columns[row][column] = sum / mass;
        }
        __syncthreads();
        if (thread < 25) {
            int row = thread / 5, column = thread % 5;
            reach = kernel_reach(x, width, radius);
            double sum = 0;
            for (int j = -reach; j <= reach; ++j)
                sum += weights[abs(j)] * columns[row][column + radius + j];
            sum /= kernel_mass(weights, reach);
            logarithm[row][column] = log(fmax(sum, LOG_FLOOR));
        }
        __syncthreads();
    }
    if (thread != 0) return;

    double px = x, py = y;
    bool refined = false;
    if (dark) {
        const auto& f = logarithm;
        double dx = (f[2][3] - f[2][1]) / 2, dy = (f[3][2] - f[1][2]) / 2;
        double dxx = (f[2][4] - 2 * f[2][2] + f[2][0]) / 4;
        double dyy = (f[4][2] - 2 * f[2][2] + f[0][2]) / 4;
        double dxy = (f[3][3] - f[1][3] - f[3][1] + f[1][1]) / 4;
        double flattest = (dxx + dyy) / 2 + hypot((dxx - dyy) / 2, dxy);
        refined = flattest < -MIN_CURVATURE;
        if (refined) {
            double determinant = dxx * dyy - dxy * dxy;
            px += fmin(fmax((dxy * dy - dyy * dx) / determinant, -1.0), 1.0);
            py += fmin(fmax((dxy * dx - dxx * dy) / determinant, -1.0), 1.0);
        }
    }
    if (method != 0 && !refined && x > 0 && x < width - 1 && y > 0 && y < height - 1) {
        px += towards(maps.at(y, x - 1), maps.at(y, x + 1));
        py += towards(maps.at(y - 1, x), maps.at(y + 1, x));
    }
    const double* m = transforms + person * 6;
    keypoints[map * 2] = (float)(m[0] * px + m[1] * py + m[2]);
    keypoints[map * 2 + 1] = (float)(m[3] * px + m[4] * py + m[5]);
    scores[map] = peak.value == minus_infinity() ? 0.0f : peak.value;
}

#define DECODE_HEATMAPS(NAME, T)                                                                  \
    extern "C" __global__ void __launch_bounds__(DECODE_THREADS)                                  \
        NAME(const T* const* plain, const T* const* mirrored, const double* transforms,           \
             const int* flip, float* keypoints, float* scores, int networks, int joints,          \
             int height, int width, int method, double sigma) {                                   \
        decode_heatmaps(plain, mirrored, transforms, flip, keypoints, scores, networks, joints,   \
                        height, width, method, sigma);                                            \
    }

DECODE_HEATMAPS(decode_heatmaps_float32, float)
DECODE_HEATMAPS(decode_heatmaps_float16, Half)
