// Bilinear samples of an image that is BGR, 8 bits a channel, or NV12 as a video decoder gives it.
#pragma once

// As kernels.py packs it: eight bytes for each pointer, four for each of the rest.
struct Frame {
    const unsigned char* pixels;  // BGR, or the Y plane of NV12
    const unsigned char* chroma;  // the plane of U and V in turn; null: the frame is BGR
    int pitch, chroma_pitch;      // bytes from a row to the next, negative if upside down
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

// Its upper 23 bits, put behind the exponent of 1: several times faster than a conversion.
__device__ __forceinline__ float fraction(Fixed value) {
    return __uint_as_float(0x3f800000u | (unsigned)value >> 9) - 1.0f;
}

__device__ __forceinline__ float grey_level(float value) {
    return fminf(fmaxf(value, 0.0f), 255.0f);
}

__device__ __forceinline__ Colour colour_of_nv12(const Frame& frame, int x, int y) {
    float luma = frame.luma * ((float)frame.pixels[(long long)y * frame.pitch + x] - frame.black);
    const unsigned char* chroma = frame.chroma + (long long)(y / 2) * frame.chroma_pitch + x / 2 * 2;
    float u = (float)chroma[0] - 128.0f, v = (float)chroma[1] - 128.0f;
    return {grey_level(luma + frame.blue_u * u),
            grey_level(luma + frame.green_u * u + frame.green_v * v),
            grey_level(luma + frame.red_v * v)};
}

__device__ __forceinline__ Colour colour_of_bgr(const unsigned char* pixel) {
    return {(float)pixel[0], (float)pixel[1], (float)pixel[2]};
}

__device__ __forceinline__ Colour between(Colour a, Colour b, float weight) {
    return {a.blue + weight * (b.blue - a.blue), a.green + weight * (b.green - a.green),
            a.red + weight * (b.red - a.red)};
}

// Columns x and x + 1 of row y, blended; what lies outside the frame is black.
__device__ __forceinline__ Colour sample_row(const Frame& frame, int x, int y, float weight) {
    Colour left = {0, 0, 0}, right = {0, 0, 0};
    if (y < 0 || y >= frame.height || x < -1 || x >= frame.width) return left;
    bool has_left = x >= 0, has_right = x + 1 < frame.width;
    if (frame.chroma) {
        if (has_left) left = colour_of_nv12(frame, x, y);
        if (has_right) right = colour_of_nv12(frame, x + 1, y);
    } else {
        const unsigned char* pixel = frame.pixels + (long long)y * frame.pitch + x * 3;
        if (has_left) left = colour_of_bgr(pixel);
        if (has_right) right = colour_of_bgr(pixel + 3);
    }
    return between(left, right, weight);
}

// Where all neighbours are in a BGR frame, columns are blended in integers: weights of 2^-15, a
// product of two weights with two bytes in one instruction, and no conversion, since 2^23 + n has
// the bits of 0x4b000000 + n as a float.
#define WEIGHT_ONE 32768u
#define BITS_OF_2_23 0x4b000000u
#define GREY_LEVEL (1.0f / WEIGHT_ONE)

// Two halves of `a` times the lower or the upper two bytes of `b`, plus `c`. By instruction: NVRTC
// knows CUDA's names of it from 12.3 on only.
#ifdef __CUDACC__

__device__ __forceinline__ unsigned dp2a_lo(unsigned a, unsigned b, unsigned c) {
    unsigned result;
    asm("dp2a.lo.u32.u32 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(c));
    return result;
}

__device__ __forceinline__ unsigned dp2a_hi(unsigned a, unsigned b, unsigned c) {
    unsigned result;
    asm("dp2a.hi.u32.u32 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(c));
    return result;
}

#else

__device__ inline unsigned dp2a_lo(unsigned a, unsigned b, unsigned c) {
    return (a & 65535) * (b & 255) + (a >> 16) * (b >> 8 & 255) + c;
}

__device__ inline unsigned dp2a_hi(unsigned a, unsigned b, unsigned c) {
    return dp2a_lo(a, b >> 16, c);
}

#endif

// 2^23 + 2^15 times the blend of two neighbouring pixels: six bytes, out of three aligned words. That
// reads one pixel before them and two behind at worst, which have to be there.
__device__ __forceinline__ Colour blend_pair(const unsigned char* pixel, unsigned weights) {
    unsigned long long address = (unsigned long long)pixel;
    const unsigned* words = (const unsigned*)(address & ~3ull);
    unsigned shift = (unsigned)address << 3, middle = words[1];  // the shift counts modulo 32
    unsigned low = __funnelshift_r(words[0], middle, shift);   // blue green red, blue
    unsigned high = __funnelshift_r(middle, words[2], shift);  // green red of the right pixel
    unsigned blue_green = __byte_perm(low, high, 0x4130), red = __byte_perm(low, high, 0x0052);
    return {__uint_as_float(dp2a_lo(weights, blue_green, BITS_OF_2_23)),
            __uint_as_float(dp2a_hi(weights, blue_green, BITS_OF_2_23)),
            __uint_as_float(dp2a_lo(weights, red, BITS_OF_2_23))};
}

// A grey level of two such blends; everything but the last step is exact.
__device__ __forceinline__ float between_rows(float above, float below, float weight) {
    return above * GREY_LEVEL - 256.0f + weight * (below - above);
}

__device__ __forceinline__ Colour sample_inside(const Frame& frame, int column, int row, Fixed x,
                                                Fixed y) {
    unsigned right = (((unsigned)x >> 16) + 1) >> 1;
    unsigned weights = right * 65535u + WEIGHT_ONE;  // left in the lower half, right in the upper
    const unsigned char* pixel = frame.pixels + (long long)row * frame.pitch + column * 3;
    Colour above = blend_pair(pixel, weights), below = blend_pair(pixel + frame.pitch, weights);
    float weight = fraction(y) * GREY_LEVEL;
    return {between_rows(above.blue, below.blue, weight),
            between_rows(above.green, below.green, weight),
            between_rows(above.red, below.red, weight)};
}

__device__ __forceinline__ Colour sample(const Frame& frame, Fixed x, Fixed y) {
    int column = whole(x), row = whole(y);
    if (!frame.chroma && column >= 1 && column < frame.width - 3 && row >= 0 &&
        row < frame.height - 1)
        return sample_inside(frame, column, row, x, y);
    Colour above = sample_row(frame, column, row, fraction(x));
    Colour below = sample_row(frame, column, row + 1, fraction(x));
    return between(above, below, fraction(y));
}
