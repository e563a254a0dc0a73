// IEEE half precision in integers, rounding to nearest even: any C++ compiler has it.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

namespace emulator {

inline float half_to_float(uint16_t bits) {
    int exponent = bits >> 10 & 31, digits = bits & 1023;
    float magnitude = exponent == 31 ? (digits ? std::numeric_limits<float>::quiet_NaN()
                                               : std::numeric_limits<float>::infinity())
                      : exponent == 0 ? std::ldexp(float(digits), -24)
                                      : std::ldexp(float(digits + 1024), exponent - 25);
    return bits & 0x8000 ? -magnitude : magnitude;
}

inline uint16_t float_to_half(float value) {
    uint16_t sign = std::signbit(value) ? 0x8000 : 0;
    float magnitude = std::fabs(value);
    if (std::isnan(value)) return sign | 0x7e00;
    if (magnitude >= 65520.0f) return sign | 0x7c00;
    if (magnitude == 0) return sign;
    // Half precision counts in steps of 2^(exponent - 11), and of 2^-24 at least.
    int exponent;
    std::frexp(magnitude, &exponent);
    exponent = exponent < -13 ? -13 : exponent;
    int digits = int(std::nearbyint(std::ldexp(magnitude, 11 - exponent)));
    // A carry out of the digits runs into the exponent, which is what it should do.
    return uint16_t(sign | (((exponent + 13) << 10) + digits));
}

}  // namespace emulator
