"""Wall time of ``import pcr_rt`` and ``pcr-rt --help`` beside ``import numpy``, in turns.

python benchmarks/startup.py [--rounds 15] [--output benchmarks/results/startup.json]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from common import describe, machine, write_json

COMMANDS = {
    "import numpy": [sys.executable, "-c", "import numpy"],
    "import pcr_rt": [sys.executable, "-c", "import pcr_rt"],
    "pcr-rt --help": [str(Path(sys.executable).with_name("pcr-rt")), "--help"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(args.rounds + 1):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - start)
    rows = {name: describe(values[1:]) for name, values in seconds.items()}
    for name, row in rows.items():
        print(f"{name:15s} median {row['median']:.3f} s  ({row['min']:.3f} to {row['max']:.3f})")
    write_json(args.output, {"machine": machine(), "rounds": args.rounds, "seconds": rows})


if __name__ == "__main__":
    main()
