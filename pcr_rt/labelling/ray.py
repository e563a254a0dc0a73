"""Pseudo-labels of large folders on a Ray cluster: the same journal and result as one process.

Every worker is an actor with an estimator of its own. Ray gives the images of a worker that died
to another one; only this process writes, so an image counts once whatever happens to the workers.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pcr_rt.errors import InputError, MissingDependencyError
from pcr_rt.inference.estimator import PoseEstimator
from pcr_rt.labelling.images import MIN_SCORE, Kept, Progress, entry_of, label_images
from pcr_rt.media import is_video
from pcr_rt.skeleton import COCO17, Skeleton

__all__ = ["label_on_ray", "spread"]

# An image takes some tens of milliseconds, a batch costs Ray a few.
BATCH = 16


def label_on_ray(
    make_estimator: Callable[[], PoseEstimator],
    source: Path,
    output: Path,
    *,
    skeleton: Skeleton = COCO17,
    min_score: float = MIN_SCORE,
    gpus: bool = False,
    provenance: Mapping[str, Any] | None = None,
    progress: Progress = lambda done, total: None,
) -> Kept:
    """Label as `label_frames` does, with a worker on each CPU (gpus: each GPU) of a Ray cluster.

    make_estimator: called once in each worker, so it must be picklable. skeleton: that of its
    models, which are not loaded in this process. source: a folder of
    images that all nodes see under the same path. The cluster is the one that the environment
    variable ``RAY_ADDRESS`` names, else one is started on this machine. Raises
    MissingDependencyError without Ray, InputError for a video, which one process must read.
    """
    if is_video(source):
        raise InputError(
            f"--engine ray distributes folders of images, and {source} is a video: leave"
            " --engine ray out."
        )
    return label_images(
        lambda files: _label(make_estimator, files, min_score, gpus),
        source,
        output,
        skeleton=skeleton,
        min_score=min_score,
        provenance=provenance,
        progress=progress,
    )


def _label(
    make_estimator: Callable[[], PoseEstimator], files: list[Path], min_score: float, gpus: bool
) -> Iterator[dict[str, Any]]:
    rows = [{"path": str(file.absolute())} for file in files]
    for row in spread(rows, _Labeller, (make_estimator, min_score), batch=BATCH, gpus=gpus):
        yield json.loads(row["entry"])


def spread(
    rows: list[dict[str, Any]],
    worker: type,
    arguments: tuple[Any, ...],
    *,
    batch: int,
    gpus: bool,
) -> Iterator[dict[str, Any]]:
    """Give rows in batches to workers on each CPU (gpus: each GPU) of a cluster; yield theirs.

    worker: made in each process with ``arguments``, then called with columns. The rows of a worker
    that died go to another one. Raises MissingDependencyError without Ray, and InputError if the
    cluster has no GPU or stops.
    """
    try:
        import ray
        import ray.data
        from ray.exceptions import RayError
    except ImportError as error:
        raise MissingDependencyError(
            "--engine ray needs Ray Data: pip install '.[label]'."
        ) from error
    if not rows:
        return
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.WARNING)
    workers = int(ray.cluster_resources().get("GPU" if gpus else "CPU", 0))
    if not workers:
        raise InputError("The Ray cluster has no GPU: use --device cpu, or join nodes with GPUs.")
    ray.data.DataContext.get_current().enable_progress_bars = False
    batches = -(-len(rows) // batch)
    results = ray.data.from_items(rows, override_num_blocks=batches).map_batches(
        worker,
        batch_size=batch,
        compute=ray.data.ActorPoolStrategy(size=min(workers, batches)),
        fn_constructor_args=arguments,
        num_gpus=1 if gpus else None,
        num_cpus=None if gpus else 1,
    )
    try:
        yield from results.iter_rows()
    except RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"The Ray cluster stopped: {reason}") from error


class _Labeller:
    """An estimator in a worker; entries travel as JSON, as the journal keeps them."""

    def __init__(self, make_estimator: Callable[[], PoseEstimator], min_score: float) -> None:
        self.estimator, self.min_score = make_estimator(), min_score

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        entries = [entry_of(self.estimator, Path(path), self.min_score) for path in batch["path"]]
        return {"entry": [json.dumps(entry) for entry in entries]}
