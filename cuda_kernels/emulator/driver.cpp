// The kernels behind one C function, as cuLaunchKernel has it: compiled to a shared library.

#include "emulator.hpp"

#include "../place_people.cu"
#include "../crop_persons.cu"
#include "../letterbox.cu"
#include "../decode_heatmaps.cu"
#include "../decode_simcc.cu"
#include "../decode_boxes.cu"
#include "../box_nms.cu"
#include "../oks_nms.cu"

#include <cstdio>
#include <type_traits>
#include <utility>

namespace {

// One letter a parameter: what a caller that packs arguments has to hand over.
template <class T>
constexpr char letter() {
    if (std::is_pointer_v<T>) return 'p';
    if (std::is_same_v<T, int>) return 'i';
    if (std::is_same_v<T, float>) return 'f';
    if (std::is_same_v<T, double>) return 'd';
    return '?';
}

struct Kernel {
    const char* name;
    std::string signature;
    std::function<void(void**)> call;
};

template <class... T, size_t... I>
void unpack(void (*function)(T...), void** arguments, std::index_sequence<I...>) {
    function(*static_cast<T*>(arguments[I])...);
}

template <class... T>
Kernel entry(const char* name, void (*function)(T...)) {
    return {name, std::string{letter<T>()...}, [function](void** arguments) {
                unpack(function, arguments, std::index_sequence_for<T...>());
            }};
}

#define ENTRY(NAME) entry(#NAME, NAME)

const std::vector<Kernel>& kernels() {
    static const std::vector<Kernel> all = {
        ENTRY(place_people),
        ENTRY(crop_persons_float32),
        ENTRY(crop_persons_float16),
        ENTRY(letterbox_float32),
        ENTRY(letterbox_float16),
        ENTRY(decode_heatmaps_float32),
        ENTRY(decode_heatmaps_float16),
        ENTRY(decode_simcc_float32),
        ENTRY(decode_simcc_float16),
        ENTRY(decode_boxes_float32),
        ENTRY(decode_boxes_float16),
        ENTRY(box_nms_float32),
        ENTRY(box_nms_float64),
        ENTRY(oks_nms),
    };
    return all;
}

const Kernel* find(const char* name) {
    for (const Kernel& kernel : kernels())
        if (!std::strcmp(kernel.name, name)) return &kernel;
    return nullptr;
}

}  // namespace

extern "C" const char* kernel_signature(const char* name) {
    const Kernel* kernel = find(name);
    return kernel ? kernel->signature.c_str() : nullptr;
}

// grid, threads: three numbers each. 0: done; 1: `message` says what is wrong.
extern "C" int launch_kernel(const char* name, const unsigned* grid, const unsigned* threads,
                             void** arguments, int reversed, char* message, size_t size) {
    const Kernel* kernel = find(name);
    emulator::reversed = reversed != 0;
    try {
        emulator::launch({grid[0], grid[1], grid[2]}, {threads[0], threads[1], threads[2]},
                         [&] { kernel->call(arguments); });
    } catch (const emulator::Failure& failure) {
        std::snprintf(message, size, "%s: %s", name, failure.what());
        return 1;
    }
    return 0;
}
