// Heatmaps to keypoints in frame pixels, without the averaged maps ever being written.
//
// grid (maps), block 128. The block reads its map once, in vectors of 16 bytes, for the first maximum;
// DARK then smooths only the 5x5 samples around it, from a window that the cache still holds.

#include "first_maximum.cuh"
#include "number.cuh"

#define DECODE_THREADS 128
#define DECODE_BLOCKS 7  // on a multiprocessor: 72 registers a thread, so that none is spilled
#define AHEAD 6  // vectors that a thread asks for before it looks at them: all of 64x48 in float32
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

// Whole vectors of a single map: the largest value, and where the first vector that has it begins.
template <class T>
__device__ __forceinline__ Maximum scan_vectors(const Vector<T>* vectors, int count) {
    constexpr int length = sizeof(Vector<T>) / sizeof(T);
    Maximum best = {minus_infinity(), 0};
    for (int first = threadIdx.x; first < count; first += DECODE_THREADS * AHEAD) {
        Vector<T> ahead[AHEAD];
        for (int i = 0; i < AHEAD; ++i)
            if (first + i * DECODE_THREADS < count) ahead[i] = vectors[first + i * DECODE_THREADS];
        for (int i = 0; i < AHEAD; ++i) {
            if (first + i * DECODE_THREADS >= count) break;
            float largest = to_float(ahead[i].at[0]);  // fmaxf leaves NaN out
            for (int j = 1; j < length; ++j) largest = fmaxf(largest, to_float(ahead[i].at[j]));
            look_at(best, largest, (first + i * DECODE_THREADS) * length);
        }
    }
    return best;
}

// Every sample by itself, as averages of networks and views have it.
template <class T>
__device__ __forceinline__ Maximum scan_samples(const Maps<T>& maps) {
    Maximum best = {minus_infinity(), 0};
    int rows = DECODE_THREADS / maps.width, columns = DECODE_THREADS % maps.width;
    int y = threadIdx.x / maps.width, x = threadIdx.x % maps.width;
    while (y < maps.height) {
        look_at(best, maps.at(y, x), y * maps.width + x);
        y += rows;
        x += columns;
        if (x >= maps.width) {
            x -= maps.width;
            ++y;
        }
    }
    return best;
}

// 0.25 towards the higher neighbour; comparisons with NaN are false.
__device__ __forceinline__ double towards(float low, float high) {
    return 0.25 * (high > low) - 0.25 * (low > high);
}

// How far the kernel may reach so that it fits in the map at all five samples around the peak.
__device__ __forceinline__ int kernel_reach(int at, int length, int radius) {
    return min(min(at - 2, length - 3 - at), radius);
}

// smoothing: (radius + 1, radius + 1) weights at distance 0, 1 ... of a kernel cut to each reach.
template <class T>
__device__ __forceinline__ void decode_heatmaps(const T* const* plain, const T* const* mirrored,
                                                const double* transforms, const int* flip,
                                                const double* smoothing, float* keypoints,
                                                float* scores, int networks, int joints, int height,
                                                int width, int method, int radius) {
    __shared__ Maximum of_warp[DECODE_THREADS / 32];
    __shared__ Maximum peak;
    __shared__ double to_frame[6];
    __shared__ double down[MOST_RADIUS + 1], across[MOST_RADIUS + 1];
    __shared__ float window[MOST_WINDOW][MOST_WINDOW];
    __shared__ double columns[5][MOST_WINDOW];
    __shared__ double logarithm[5][5];

    int thread = threadIdx.x;
    long long map = blockIdx.x, person = map / joints;
    int joint = (int)(map - person * joints);
    long long size = (long long)height * width;
    Maps<T> maps = {plain, mirrored, networks, height, width, map * size,
                    (person * joints + (flip ? flip[joint] : joint)) * size};
    const T* only = plain[0] + maps.offset;
    constexpr int length = sizeof(Vector<T>) / sizeof(T);
    bool vectors = networks == 1 && !mirrored && size % length == 0 &&
                   (unsigned long long)only % sizeof(Vector<T>) == 0;

    if (thread < 6) to_frame[thread] = transforms[person * 6 + thread];
    Maximum best = maximum_of_warp(vectors ? scan_vectors((const Vector<T>*)only, size / length)
                                           : scan_samples(maps));
    if (thread % 32 == 0) of_warp[thread / 32] = best;
    __syncthreads();
    if (thread == 0) {
        for (int i = 1; i < DECODE_THREADS / 32; ++i) best = better(best, of_warp[i]);
        // Of the vector that holds the maximum, its first sample that has that value.
        if (vectors && best.value > minus_infinity())
            while (!(to_float(only[best.index]) == best.value)) ++best.index;
        peak = best;
    }
    __syncthreads();
    int y = peak.index / width, x = peak.index - y * width;

    // The whole block agrees on this, so the barriers below are met by all or by none.
    bool dark = method == 2 && x >= 2 && x < width - 2 && y >= 2 && y < height - 2;
    if (dark) {
        int side = 5 + 2 * radius;
        int reach_down = kernel_reach(y, height, radius);
        int reach_across = kernel_reach(x, width, radius);
        if (thread <= radius) {
            down[thread] = smoothing[reach_down * (radius + 1) + thread];
            across[thread] = smoothing[reach_across * (radius + 1) + thread];
        }
        // 16 threads a row: the window has 15 at sigma 2.
        for (int row = thread / 16; row < side; row += DECODE_THREADS / 16) {
            int from_y = min(max(y - 2 - radius + row, 0), height - 1);
            for (int column = thread % 16; column < side; column += 16) {
                int from_x = min(max(x - 2 - radius + column, 0), width - 1);
                float value = maps.at(from_y, from_x);
                window[row][column] = isfinite(value) ? value : 0.0f;
            }
        }
        __syncthreads();
        int row = thread / 16;
        for (int column = thread % 16; row < 5 && column < side; column += 16) {
            double sum = 0;
            for (int j = -reach_down; j <= reach_down; ++j)
                sum += down[abs(j)] * window[row + radius + j][column];
            columns[row][column] = sum;
        }
        __syncthreads();
        if (thread < 25) {
            row = thread / 5;
            int column = thread % 5;
            double sum = 0;
            for (int j = -reach_across; j <= reach_across; ++j)
                sum += across[abs(j)] * columns[row][column + radius + j];
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
        // The flattest curvature, half (dxx + dyy) + hypot(half (dxx - dyy), dxy), is below its bound.
        double room = -MIN_CURVATURE - (dxx + dyy) / 2, half = (dxx - dyy) / 2;
        refined = room > 0 && half * half + dxy * dxy < room * room;
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
    const double* m = to_frame;
    keypoints[map * 2] = (float)(m[0] * px + m[1] * py + m[2]);
    keypoints[map * 2 + 1] = (float)(m[3] * px + m[4] * py + m[5]);
    scores[map] = peak.value == minus_infinity() ? 0.0f : peak.value;
}

#define DECODE_HEATMAPS(NAME, T)                                                                  \
    extern "C" __global__ void __launch_bounds__(DECODE_THREADS, DECODE_BLOCKS)                   \
        NAME(const T* const* plain, const T* const* mirrored, const double* transforms,           \
             const int* flip, const double* smoothing, float* keypoints, float* scores,           \
             int networks, int joints, int height, int width, int method, int radius) {           \
        decode_heatmaps(plain, mirrored, transforms, flip, smoothing, keypoints, scores,          \
                        networks, joints, height, width, method, radius);                         \
    }

DECODE_HEATMAPS(decode_heatmaps_float32, float)
DECODE_HEATMAPS(decode_heatmaps_float16, Half)
