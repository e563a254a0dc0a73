"""Wall time of ``import pcr_rt`` and ``pcr-rt --help`` beside ``import numpy``, in turns.

python benchmarks/startup.py [--rounds 15] [--output benchmarks/results/startup.json]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from functools import partial
from pathlib import Path

from common import machine, write_json

from pcr_rt.benchmark import in_turns, spread

COMMANDS = {
    "import numpy": [sys.executable, "-c", "import numpy"],
    "import pcr_rt": [sys.executable, "-c", "import pcr_rt"],
    "pcr-rt --help": [str(Path(sys.executable).with_name("pcr-rt")), "--help"],
}


def _run(command: list[str], _: int) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    calls = {name: partial(_run, command) for name, command in COMMANDS.items()}
    in_turns(calls, range(1))
    spent = in_turns(calls, range(args.rounds))
    rows = {name: spread([ms / 1e3 for ms in values]) for name, values in spent.items()}
    for name, row in rows.items():
        print(f"{name:15s} median {row['p50']:.3f} s  ({row['min']:.3f} to {row['max']:.3f})")
    write_json(args.output, {"machine": machine(), "rounds": args.rounds, "seconds": rows})


if __name__ == "__main__":
    main()
