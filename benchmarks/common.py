"""What the benchmarks share: the machine in words, the result file, a part of COCO's labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pcr_rt.benchmark import describe_machine as machine

__all__ = ["machine", "only", "write_json"]


def write_json(path: Path | None, content: dict[str, Any]) -> None:
    """Write the result if a path is given."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n")
        print(path)


def only(annotations: Mapping[str, Any], images: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Reduce COCO annotations to those of some of their images."""
    kept = {image["id"] for image in images}
    people = [a for a in annotations["annotations"] if a["image_id"] in kept]
    return {**annotations, "images": list(images), "annotations": people}
