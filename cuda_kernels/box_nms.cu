// Greedy non-maximum suppression of boxes, any number of frames at once.
//
// grid (frames), block 256. Frame f has counts[f] candidates at rows f * capacity and on.
// A thread looks after the same candidates all the time, so that what it notes of them needs no
// barrier.

#include "greedy.cuh"

__device__ __forceinline__ double box_area(const float* box) {
    return ((double)box[2] - box[0]) * ((double)box[3] - box[1]);
}

// Of a NaN and a number the NaN, unlike fmin and fmax.
__device__ __forceinline__ double lower(double a, double b) { return a < b || a != a ? a : b; }
__device__ __forceinline__ double higher(double a, double b) { return a > b || a != a ? a : b; }

// Intersection over union in double precision, as the reference computes it.
__device__ __forceinline__ double box_iou(const float* a, const float* b) {
    double width = lower(a[2], b[2]) - higher(a[0], b[0]);
    double height = lower(a[3], b[3]) - higher(a[1], b[1]);
    double shared = higher(width, 0.0) * higher(height, 0.0);
    double all = box_area(a) + box_area(b) - shared;
    return shared / (all > 0 ? all : 1);
}

template <class Score>
__device__ __forceinline__ void box_nms(const float* boxes, const Score* scores, const int* counts,
                                        int* gone, int* keep, int* kept, int capacity,
                                        int max_boxes, double iou_threshold) {
    long long start = (long long)blockIdx.x * capacity;
    int n = min(counts[blockIdx.x], capacity), found = 0;
    boxes += start * 4;
    scores += start;
    gone += start;
    keep += (long long)blockIdx.x * max_boxes;
    for (int i = threadIdx.x; i < n; i += GREEDY_THREADS) gone[i] = 0;
    while (found < max_boxes) {
        int best = best_of_block(scores, gone, n).index;
        if (best < 0) break;
        if (threadIdx.x == 0) keep[found] = best;
        ++found;
        // Written so that a NaN drops the box, as in the reference.
        for (int i = threadIdx.x; i < n; i += GREEDY_THREADS)
            if (i == best || !(box_iou(boxes + best * 4, boxes + i * 4) <= iou_threshold))
                gone[i] = 1;
    }
    if (threadIdx.x == 0) kept[blockIdx.x] = found;
}

#define BOX_NMS(NAME, SCORE)                                                                      \
    extern "C" __global__ void __launch_bounds__(GREEDY_THREADS)                                  \
        NAME(const float* boxes, const SCORE* scores, const int* counts, int* gone, int* keep,    \
             int* kept, int capacity, int max_boxes, double iou_threshold) {                      \
        box_nms(boxes, scores, counts, gone, keep, kept, capacity, max_boxes, iou_threshold);     \
    }

BOX_NMS(box_nms_float32, float)
BOX_NMS(box_nms_float64, double)
