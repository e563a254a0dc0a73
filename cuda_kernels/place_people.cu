// From people's boxes to the places of their crops, by the formulas of geometry.py.
//
// grid (people / 64), block 64, a thread a person. Frame f's people are the rows first[f] to
// first[f + 1]. Rows behind the last one are places without a person: their crops lie outside every
// frame.

#define PLACE_THREADS 64
#define NOWHERE -10.0

// span: pixel steps of a crop; sample: input pixels from one sample of a heatmap to the next; last:
// the input pixel about which the mirrored view, if there is one, is turned.
extern "C" __global__ void __launch_bounds__(PLACE_THREADS)
    place_people(const double* boxes, const int* first, int* frame_index, double* crops,
                 double* to_frame, double* areas, int people, int frames, int views, double aspect,
                 double padding, double span_x, double span_y, double sample_x, double sample_y,
                 double last) {
    int i = blockIdx.x * PLACE_THREADS + threadIdx.x, frame = 0;
    if (i >= people) return;
    bool there = i < first[frames];
    double step_x = 0, step_y = 0, left = NOWHERE, top = NOWHERE, area = 0;
    if (there) {
        while (first[frame + 1] <= i) ++frame;
        const double* box = boxes + 4 * i;
        double width = box[2] - box[0], height = box[3] - box[1];
        area = width * height;
        step_x = fmax(width, height * aspect) * padding / span_x;
        step_y = fmax(height, width / aspect) * padding / span_y;
        left = (box[0] + box[2]) / 2 - step_x * (span_x / 2);
        top = (box[1] + box[3]) / 2 - step_y * (span_y / 2);
    }
    frame_index[i] = frame;
    areas[i] = area;
    for (int view = 0; view < views; ++view) {
        double* crop = crops + 6 * ((long long)view * people + i);
        crop[0] = view ? -step_x : step_x;
        crop[1] = 0;
        crop[2] = view ? left + step_x * last : left;
        crop[3] = 0;
        crop[4] = step_y;
        crop[5] = top;
    }
    double* matrix = to_frame + 6 * i;
    matrix[0] = step_x * sample_x;
    matrix[1] = 0;
    matrix[2] = left;
    matrix[3] = 0;
    matrix[4] = step_y * sample_y;
    matrix[5] = top;
}
