// Bilinear samples of a picture that is BGR, 8 bits a channel, or NV12 as a video decoder gives it.
#pragma once

// As kernels.py packs it: eight bytes for each pointer and pitch, four for each of the rest.
struct Frame {
    const unsigned char* pixels;  // BGR, or the Y plane of NV12
    const unsigned char* chroma;  // the plane of U and V in turn; null: the frame is BGR
    long long pitch;              // bytes from a row to the next, negative if upside down
    long long chroma_pitch;
    int width, height;
    // NV12 to grey levels: luma (Y - black) plus the rest times (U - 128) or (V - 128).
    float luma, black, red_v, green_u, green_v, blue_u;
};

struct Colour {
    float blue, green, red;
};

// Coordinates are integers in units of 2^-32 pixels: exact enough for any frame, and without
// double precision, which most devices are slow at, in the loops over pixels.
typedef long long Fixed;

__device__ __forceinline__ Fixed to_fixed(double value, double limit) {
    return __double2ll_rn(fmin(fmax(value, -limit), limit) * 4294967296.0);
}

__device__ __forceinline__ int whole(Fixed value) { return (int)(value >> 32); }

__device__ __forceinline__ float fraction(Fixed value) {
    return (float)(unsigned)value * 2.3283064365386963e-10f;
}

__device__ __forceinline__ float grey_level(float value) {
    return fminf(fmaxf(value, 0.0f), 255.0f);
}

__device__ __forceinline__ Colour colour_of_nv12(const Frame& frame, int x, int y) {
    float luma = frame.luma * ((float)frame.pixels[y * frame.pitch + x] - frame.black);
    const unsigned char* chroma = frame.chroma + (y / 2) * frame.chroma_pitch + (x / 2) * 2;
    float u = (float)chroma[0] - 128.0f, v = (float)chroma[1] - 128.0f;
    return {grey_level(luma + frame.blue_u * u),
            grey_level(luma + frame.green_u * u + frame.green_v * v),
            grey_level(luma + frame.red_v * v)};
}

__device__ __forceinline__ Colour colour_of_bgr(const unsigned char* pixel) {
    return {(float)pixel[0], (float)pixel[1], (float)pixel[2]};
}

__device__ __forceinline__ float byte_of(unsigned word, int which) {
    return (float)((word >> (8 * which)) & 255u);
}

__device__ __forceinline__ Colour between(Colour a, Colour b, float weight) {
    return {a.blue + weight * (b.blue - a.blue), a.green + weight * (b.green - a.green),
            a.red + weight * (b.red - a.red)};
}

// The six bytes of two neighbouring BGR pixels from two or three aligned words, instead of six
// loads. At worst that reads the pixel before and the pixel after, so both must exist.
__device__ __forceinline__ Colour pair_of_bgr(const unsigned char* pixel, float weight) {
    unsigned long long address = (unsigned long long)pixel;
    const unsigned* words = (const unsigned*)(address & ~3ull);
    unsigned shift = (unsigned)(address & 3) * 8;
    unsigned second = words[1], third = shift == 24 ? words[2] : 0;
    unsigned low = __funnelshift_r(words[0], second, shift);
    unsigned high = __funnelshift_r(second, third, shift);
    Colour left = {byte_of(low, 0), byte_of(low, 1), byte_of(low, 2)};
    Colour right = {byte_of(low, 3), byte_of(high, 0), byte_of(high, 1)};
    return between(left, right, weight);
}

// Columns x and x + 1 of row y, blended; what lies outside the frame is black.
__device__ __forceinline__ Colour sample_row(const Frame& frame, int x, int y, float weight) {
    Colour left = {0, 0, 0}, right = {0, 0, 0};
    if (y < 0 || y >= frame.height || x < -1 || x >= frame.width) return left;
    bool has_left = x >= 0, has_right = x + 1 < frame.width;
    if (frame.chroma) {
        if (has_left) left = colour_of_nv12(frame, x, y);
        if (has_right) right = colour_of_nv12(frame, x + 1, y);
        return between(left, right, weight);
    }
    const unsigned char* pixel = frame.pixels + y * frame.pitch + (long long)x * 3;
    if (x >= 1 && x + 2 < frame.width) return pair_of_bgr(pixel, weight);
    if (has_left) left = colour_of_bgr(pixel);
    if (has_right) right = colour_of_bgr(pixel + 3);
    return between(left, right, weight);
}

__device__ __forceinline__ Colour sample(const Frame& frame, Fixed x, Fixed y) {
    int column = whole(x), row = whole(y);
    float weight = fraction(x);
    Colour above = sample_row(frame, column, row, weight);
    Colour below = sample_row(frame, column, row + 1, weight);
    return between(above, below, fraction(y));
}
