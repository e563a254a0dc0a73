"""Runs calls of the CUDA kernels' wrappers in a process of its own, on the emulator.

The address sanitizer has to be loaded before Python, and ends the process when it finds something.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any

import device_arrays
import emulated_cupy


def main() -> None:
    emulated_cupy.load(sys.argv[1])
    sys.modules["cupy"] = emulated_cupy
    from pcr_rt.cuda_kernels import kernels

    answers = sys.stdout.buffer
    while True:
        try:
            order, name, arguments, options = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        emulated_cupy.launches.clear()
        emulated_cupy.reversed_order = order == "descending"
        answer: Any
        try:
            arguments, options = device_arrays.to_device((arguments, options), emulated_cupy)
            result = getattr(kernels, name)(*arguments, **options)
            answer = device_arrays.to_host(result, emulated_cupy)
        except Exception as error:
            answer = error
        pickle.dump((answer, list(emulated_cupy.launches)), answers)
        answers.flush()


if __name__ == "__main__":
    main()
