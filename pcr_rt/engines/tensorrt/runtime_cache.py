"""The kernels that TensorRT-RTX makes at run time, kept beside the engine."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

from pcr_rt.engines.tensorrt.api import Api
from pcr_rt.engines.tensorrt.sidecar import Sidecar, sha256, write_private
from pcr_rt.errors import PoseError

__all__ = ["RuntimeCache"]

log = logging.getLogger(__name__)


class RuntimeCache:
    """The configuration of an RTX engine's contexts, which share kernels and make their own graphs.

    ``config`` is for `make_context`. Kernels of earlier runs are taken if their file is the one
    that the sidecar knows.
    """

    def __init__(self, api: Api, engine: Any, plan: Path, sidecar: Sidecar) -> None:
        self._plan, self._known = plan, sidecar.runtime_cache_sha256
        self._file = plan.with_name(f"{plan.name}.runtime-cache")
        runtime_config = engine.create_runtime_config()
        strategy = api.module.CudaGraphStrategy
        runtime_config.cuda_graph_strategy = strategy.WHOLE_GRAPH_CAPTURE
        runtime_cache = runtime_config.create_runtime_cache()
        if self._known and self._file.is_file():
            content = self._file.read_bytes()
            if sha256(content) == self._known:
                runtime_cache.deserialize(content)
            else:
                log.warning(
                    "%s is not the file that was written: kernels are made anew.", self._file
                )
        runtime_config.set_runtime_cache(runtime_cache)
        self.config, self._runtime_cache = runtime_config, runtime_cache

    def keep(self) -> None:
        """Write the kernels beside the engine if there are new ones; a failure is logged."""
        content = bytes(self._runtime_cache.serialize())
        digest = sha256(content)
        if digest == self._known:
            return
        try:
            write_private(self._file, content)
            sidecar = Sidecar.read(self._plan)
            dataclasses.replace(sidecar, runtime_cache_sha256=digest).write(self._plan)
        except PoseError as error:  # the engine itself is in order
            log.warning("The kernels that were made are not kept: %s", error)
