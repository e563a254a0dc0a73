"""Read damaged files by the thousand: ``python fuzzing.py --cases 20000``.

Every case is made from the run's seed, the target's name and a number, so it can be made again:
``--only annotations --first 1234 --cases 1``. What is neither a result nor a PoseError is printed
and counted, as are messages that are no plain sentence, slow cases and memory taken.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

LIMIT_S = 10
MEMORY = 3 << 30
"""Bytes that all cases together may take on top of what the libraries have."""


class Slow(Exception):
    """A case that took more time of the processor than it may."""


def _too_slow(number: int, frame: Any) -> None:
    raise Slow(f"longer than {LIMIT_S} s")


def is_plain(message: str) -> bool:
    """One line, not endless, with an end."""
    return "\n" not in message and len(message) < 1200 and message.rstrip()[-1:] in ".)]\"'"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only")
    given = parser.parse_args()

    import av
    import cv2

    from fuzz_targets import all_targets
    from pcr_rt.errors import PoseError

    av.logging.set_level(av.logging.PANIC)
    logger: Any = getattr(cv2.utils, "logging", cv2)
    logger.setLogLevel(0)
    signal.signal(signal.SIGPROF, _too_slow)
    failures = 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        targets = [t for t in all_targets(folder) if given.only in (None, t.name)]
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
        shares = sum(target.share for target in targets)
        print(f"{'target':22} {'cases':>8} {'read':>8} {'refused':>8} {'odd':>5} {'FAILED':>6}  s")
        for target in targets:
            outcomes: Counter[str] = Counter()
            start, path = time.perf_counter(), folder / target.file
            count = max(1, round(given.cases * target.share / shares))
            for number in range(given.first, given.first + count):
                rng = random.Random(f"{given.seed} {target.name} {number}")
                path.write_bytes(target.mutate(rng, rng.choice(list(target.seeds))))
                (folder / "now").write_text(f"{target.name} {number}")
                signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
                try:
                    target.read(path)
                    outcomes["read"] += 1
                except PoseError as error:
                    outcomes["refused"] += 1
                    if not is_plain(str(error)):
                        outcomes["odd"] += 1
                        if outcomes["odd"] <= 3:
                            print(f"odd: {target.name} {number}: {str(error)[:300]!r}")
                except BaseException as error:
                    outcomes["failed"] += 1
                    if isinstance(error, KeyboardInterrupt):
                        raise
                    if outcomes["failed"] <= 5:
                        print(f"FAILED: {target.name} {number}: {error!r}"[:400])
                        print("".join(traceback.format_tb(error.__traceback__)[-2:]))
                finally:
                    signal.setitimer(signal.ITIMER_PROF, 0)
            failures += outcomes["failed"] + outcomes["odd"]
            print(
                f"{target.name:22} {count:8} {outcomes['read']:8} {outcomes['refused']:8}"
                f" {outcomes['odd']:5} {outcomes['failed']:6}  {time.perf_counter() - start:.1f}",
                flush=True,
            )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{failures} failures; at most {peak:.0f} MiB")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
