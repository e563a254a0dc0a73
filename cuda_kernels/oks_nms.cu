// Suppression of people who are too alike by their keypoints (OKS), any number of frames at once.
//
// grid (frames), block 256. Frame f's people are the rows first[f] to first[f + 1]. `remaining` takes
// their scores, times the rule's function of their keypoints' scores if those are given; the soft
// method lowers them in place. A thread looks after the same candidates all the time, so that what it
// notes of them needs no barrier.

#include "greedy.cuh"

#define SOFT_MAX_PEOPLE 20

// The order of PERSON_SCORES in kernels.py.
enum PersonScore { MEAN_ABOVE_A_FIFTH, MEAN, ROOT_MEAN_SQUARE };

__device__ __forceinline__ double person_score(const float* keypoint_scores, int joints, int rule) {
    double sum = 0;
    int counted = 0;
#pragma unroll 1  // unrolled, it spills
    for (int k = 0; k < joints; ++k) {
        double score = fmin(fmax((double)keypoint_scores[k], 0.0), 1.0);
        if (rule == MEAN_ABOVE_A_FIFTH && !(score > 0.2)) continue;
        sum += rule == ROOT_MEAN_SQUARE ? score * score : score;
        ++counted;
    }
    double mean = sum / max(counted, 1);
    return rule == ROOT_MEAN_SQUARE ? sqrt(mean) : mean;
}

__device__ __forceinline__ double pair_area(double a, double b) {
    return (a + b) / 2 + 2.220446049250313e-16;
}

// precision[k] = 1 / (2 (2 sigma_k)^2)
__device__ __forceinline__ double oks_exact(const float* a, const float* b, double area,
                                            const double* precision, int joints) {
    double sum = 0;
#pragma unroll 1  // unrolled, it spills
    for (int k = 0; k < joints; ++k) {
        double dx = (double)a[2 * k] - b[2 * k], dy = (double)a[2 * k + 1] - b[2 * k + 1];
        sum += exp(-(dx * dx + dy * dy) * precision[k] / area);
    }
    return sum / joints;
}

__device__ __forceinline__ float oks_fast(const float* a, const float* b, float area,
                                          const double* precision, int joints) {
    float sum = 0;
#pragma unroll 1  // unrolled, it spills
    for (int k = 0; k < joints; ++k) {
        float dx = a[2 * k] - b[2 * k], dy = a[2 * k + 1] - b[2 * k + 1];
        sum += expf(-(dx * dx + dy * dy) * (float)precision[k] / area);
    }
    return sum / joints;
}

// Double precision, which most devices are slow at, only settles close calls. Areas that single
// precision cannot hold are left to it as well.
__device__ __forceinline__ bool too_alike(const float* a, const float* b, double area,
                                          const double* precision, int joints, double threshold) {
    if (area > 1e-3 && area < 1e30) {
        float oks = oks_fast(a, b, (float)area, precision, joints);
        if (fabsf(oks - (float)threshold) > 1e-3f) return oks > (float)threshold;
    }
    return !(oks_exact(a, b, area, precision, joints) <= threshold);
}

extern "C" __global__ void __launch_bounds__(GREEDY_THREADS, GREEDY_BLOCKS)
    oks_nms(const float* keypoints, const float* keypoint_scores, const double* scores,
            const double* areas, const double* precision, const int* first, double* remaining,
            int* gone, int* keep, float* kept_scores, int* kept, int joints, int rule, int soft,
            double threshold) {
    int start = first[blockIdx.x], n = first[blockIdx.x + 1] - start, found = 0;
    int most = soft ? min(n, SOFT_MAX_PEOPLE) : n;
    keypoints += (long long)start * joints * 2;
    if (keypoint_scores) keypoint_scores += (long long)start * joints;
    scores += start;
    areas += start;
    remaining += start;
    gone += start;
    keep += start;
    kept_scores += start;
    for (int i = threadIdx.x; i < n; i += GREEDY_THREADS) {
        gone[i] = 0;
        remaining[i] = scores[i];
        if (keypoint_scores) remaining[i] *= person_score(keypoint_scores + i * joints, joints, rule);
    }
    while (found < most) {
        Candidate best = best_of_block(remaining, gone, n);
        if (best.index < 0) break;
        if (threadIdx.x == 0) {
            keep[found] = best.index;
            kept_scores[found] = (float)best.score;
        }
        ++found;
        const float* person = keypoints + best.index * joints * 2;
        for (int i = threadIdx.x; i < n; i += GREEDY_THREADS) {
            if (i == best.index) gone[i] = 1;
            if (gone[i]) continue;
            const float* other = keypoints + i * joints * 2;
            double area = pair_area(areas[best.index], areas[i]);
            if (soft) {
                double oks = oks_exact(person, other, area, precision, joints);
                remaining[i] *= exp(-(oks * oks) / threshold);
            } else if (too_alike(person, other, area, precision, joints, threshold)) {
                gone[i] = 1;
            }
        }
    }
    if (threadIdx.x == 0) kept[blockIdx.x] = found;
}
