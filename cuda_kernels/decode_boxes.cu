// A detector's raw outputs to the candidate people of each frame, best first.
//
// grid (points / 256, frames), block 256. A thread decodes one point and appends it to its frame's
// list if it is sure enough; the block that finishes last in a frame sorts that list by counting
// how many candidates come before each, which needs no order of arrival.

#include "number.cuh"

#define BOX_THREADS 256
#define BOX_BLOCKS 4  // on a multiprocessor; without it compilers spill to fit eight
enum BoxLayout { RTMDET, YOLOX, DETS };

struct Box {
    float x1, y1, x2, y2;
};

struct Level {
    int rows, columns, first;  // `first`: number of points in the levels before
};

struct Detection {
    Box box;  // input pixels
    float score;
};

// Distances from a grid point, (h, w, 5) a frame and level.
template <class T>
__device__ __forceinline__ Detection detection_of_rtmdet(const T* const* outputs,
                                                         const Level* levels, int count, int frame,
                                                         int point, int width, int height) {
    int l = 0;
    while (l + 1 < count && point >= levels[l + 1].first) ++l;
    Level level = levels[l];
    int cell = point - level.first, row = cell / level.columns, column = cell % level.columns;
    const T* value = outputs[l] + ((long long)frame * level.rows * level.columns + cell) * 5;
    float x = column * (float)((double)width / level.columns);
    float y = row * (float)((double)height / level.rows);
    Box box = {x - to_float(value[1]), y - to_float(value[2]), x + to_float(value[3]),
               y + to_float(value[4])};
    return {box, 0.5f + 0.5f * tanhf(to_float(value[0]) / 2.0f)};
}

// `columns` numbers a point: centre and log size in grid units or, if decoded, centre and size in
// input pixels; objectness, class scores.
template <class T>
__device__ __forceinline__ Detection detection_of_yolox(const T* output, const Level* levels,
                                                        int count, int frame, int points, int point,
                                                        int columns, bool decoded) {
    const T* value = output + ((long long)frame * points + point) * columns;
    float score = to_float(value[4]) * to_float(value[5]);
    float x = to_float(value[0]), y = to_float(value[1]);
    float width = to_float(value[2]), height = to_float(value[3]);
    if (decoded) {
        width /= 2;
        height /= 2;
        return {{x - width, y - height, x + width, y + height}, score};
    }
    int l = 0;
    while (l + 1 < count && point >= levels[l + 1].first) ++l;
    Level level = levels[l];
    int cell = point - level.first;
    float stride = (float)(8 << l);
    x = (x + cell % level.columns) * stride;
    y = (y + cell / level.columns) * stride;
    // exp(20) pixels is beyond every frame. A NaN stays one.
    width = expf(width > 20.0f ? 20.0f : width) * (stride / 2);
    height = expf(height > 20.0f ? 20.0f : height) * (stride / 2);
    return {{x - width, y - height, x + width, y + height}, score};
}

// Boxes that the network has suppressed itself; label 0 is a person.
template <class T>
__device__ __forceinline__ Detection detection_of_dets(const T* output, const int* labels,
                                                       int frame, int points, int point) {
    long long at = (long long)frame * points + point;
    const T* value = output + at * 5;
    Box box = {to_float(value[0]), to_float(value[1]), to_float(value[2]), to_float(value[3])};
    bool person = !labels || labels[at] == 0;
    return {box, person ? to_float(value[4]) : __int_as_float(0xff800000)};
}

// Comparisons rather than fmin and fmax, which would turn a NaN into a border.
__device__ __forceinline__ float cut(double value, double limit) {
    return (float)(value < 0 ? 0 : value > limit ? limit : value);
}

template <class T>
__device__ __forceinline__ void decode_boxes(const T* const* outputs, const int* labels,
                                             const Level* levels, const double* frames,
                                             Box* found_boxes, float* found_scores,
                                             int* found_points, int* found, int* finished,
                                             Box* boxes, float* scores, int* counts, int layout,
                                             int level_count, int points, int width, int height,
                                             int columns, int decoded, float threshold,
                                             int max_candidates) {
    __shared__ float tile_scores[BOX_THREADS];
    __shared__ int tile_points[BOX_THREADS];
    __shared__ int total;
    __shared__ bool last;

    int frame = blockIdx.y, point = blockIdx.x * BOX_THREADS + threadIdx.x;
    long long start = (long long)frame * points;
    if (point < points) {
        Detection one =
            layout == RTMDET
                ? detection_of_rtmdet(outputs, levels, level_count, frame, point, width, height)
            : layout == YOLOX
                ? detection_of_yolox(outputs[0], levels, level_count, frame, points, point, columns, decoded)
                : detection_of_dets(outputs[0], labels, frame, points, point);
        // A row of `frames`: input pixels per frame pixel, width, height.
        double scale = frames[frame * 3], right = frames[frame * 3 + 1];
        double bottom = frames[frame * 3 + 2];
        Box box = {cut(one.box.x1 / scale, right), cut(one.box.y1 / scale, bottom),
                   cut(one.box.x2 / scale, right), cut(one.box.y2 / scale, bottom)};
        if (one.score >= threshold && isfinite(one.score) && box.x2 > box.x1 && box.y2 > box.y1) {
            long long slot = start + atomicAdd(&found[frame], 1);
            found_boxes[slot] = box;
            found_scores[slot] = one.score;
            found_points[slot] = point;
        }
    }
    // What the block wrote must be seen by the block that counts it as finished.
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(&finished[frame], 1) == (int)gridDim.x - 1;
        __threadfence();
        total = *(volatile int*)&found[frame];
    }
    __syncthreads();
    if (!last) return;

    const volatile float* all_scores = found_scores + start;
    const volatile int* all_points = found_points + start;
    for (int first = 0; first < total; first += BOX_THREADS) {
        int i = first + threadIdx.x, rank = 0;
        bool mine = i < total;
        float score = mine ? all_scores[i] : 0.0f;
        int place = mine ? all_points[i] : 0;
        for (int tile = 0; tile < total; tile += BOX_THREADS) {
            int size = min(BOX_THREADS, total - tile);
            __syncthreads();
            if ((int)threadIdx.x < size) {
                tile_scores[threadIdx.x] = all_scores[tile + threadIdx.x];
                tile_points[threadIdx.x] = all_points[tile + threadIdx.x];
            }
            __syncthreads();
            for (int j = 0; j < size; ++j)
                rank += tile_scores[j] > score ||
                        (tile_scores[j] == score && tile_points[j] < place);
        }
        if (mine && rank < max_candidates) {
            const volatile Box& box = found_boxes[start + i];
            long long slot = (long long)frame * max_candidates + rank;
            boxes[slot] = {box.x1, box.y1, box.x2, box.y2};
            scores[slot] = score;
        }
    }
    if (threadIdx.x == 0) counts[frame] = min(total, max_candidates);
}

#define DECODE_BOXES(NAME, T)                                                                     \
    extern "C" __global__ void __launch_bounds__(BOX_THREADS, BOX_BLOCKS)                         \
        NAME(const T* const* outputs, const int* labels, const Level* levels,                     \
             const double* frames, Box* found_boxes, float* found_scores, int* found_points,      \
             int* found, int* finished, Box* boxes, float* scores, int* counts, int layout,       \
             int level_count, int points, int width, int height, int columns, int decoded,        \
             float threshold, int max_candidates) {                                               \
        decode_boxes(outputs, labels, levels, frames, found_boxes, found_scores, found_points,    \
                     found, finished, boxes, scores, counts, layout, level_count, points, width,  \
                     height, columns, decoded, threshold, max_candidates);                        \
    }

DECODE_BOXES(decode_boxes_float32, float)
DECODE_BOXES(decode_boxes_float16, Half)
