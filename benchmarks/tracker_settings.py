"""Trackers side by side, each with the settings that suit it best on other scenes.

    python benchmarks/tracker_settings.py --output benchmarks/results/tracker_settings.json

The drawn scenes are split in two. Each tracker's settings are those of its grid with the best MOTA
on one half; with them it runs on the other half, drawn with other seeds. So nobody, ours included,
is measured on what its settings were chosen on. The best settings on all scenes, for the clips of
tracking.py, are told as well.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, write_json
from tracker_makers import candidates
from tracker_scenes import SCENES, run_scene

HALVES = (SCENES[0::2], SCENES[1::2])
CHOOSE, REPORT = range(2), range(100, 105)


def compare(make: Any, settings: list[dict[str, Any]]) -> dict[str, Any]:
    found = [
        {name: run_scene(name, partial(make, **s), CHOOSE)["mota"] for name in SCENES}
        for s in settings
    ]

    def best(scenes: list[str]) -> dict[str, Any]:
        return settings[int(np.argmax([np.mean([m[name] for name in scenes]) for m in found]))]

    report: dict[str, Any] = {"tried": len(settings), "best_on_all": best(SCENES), "scenes": {}}
    for chosen_on, reported_on in (HALVES, HALVES[::-1]):
        chosen = best(chosen_on)
        for name in reported_on:
            outcome = run_scene(name, partial(make, **chosen), REPORT)
            report["scenes"][name] = {**outcome, "settings": chosen}
    report["mota"] = round(float(np.mean([s["mota"] for s in report["scenes"].values()])), 4)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    output = parser.parse_args().output
    results: dict[str, Any] = {"machine": machine(), "halves": HALVES, "trackers": {}}
    for who, (make, settings) in candidates().items():
        results["trackers"][who] = compare(make, settings)
        print(json.dumps({who: results["trackers"][who]}, indent=1), flush=True)
    write_json(output, results)


if __name__ == "__main__":
    main()
