"""The JSON beside an engine: what it was built from, for what, and whether it can be trusted."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pcr_rt.errors import InputError, ModelError
from pcr_rt.files import replace_whole
from pcr_rt.models import ModelSpec

__all__ = [
    "Sidecar",
    "cache_folder",
    "differences",
    "locked",
    "sha256",
    "sidecar_path",
    "vouch",
    "write_private",
]

FORMAT = 1


@dataclass(frozen=True)
class Sidecar:
    """What is known of an engine file.

    key: everything that the engine depends on. types: how many layers compute in which type, read
    from the engine's ``inspector`` or, where that was not possible, from the parsed ``network``.
    agreement: in words, how it compares with ONNX Runtime; empty: not compared. failed: why it was
    set aside. runtime_cache_sha256: of the kernels that TensorRT-RTX made, kept beside the engine.
    """

    plan_sha256: str
    key: Mapping[str, Any]
    spec: ModelSpec
    types: Mapping[str, int] = field(default_factory=dict)
    types_from: Literal["inspector", "network"] = "network"
    agreement: str = ""
    failed: str = ""
    runtime_cache_sha256: str = ""

    def write(self, plan: Path) -> None:
        """Put it beside ``plan``."""
        table = {"format": FORMAT, **dataclasses.asdict(self), "spec": self.spec.to_json()}
        write_private(sidecar_path(plan), json.dumps(table, indent=1).encode())

    @classmethod
    def read(cls, plan: Path) -> Sidecar:
        """That of ``plan``. Raises ModelError where there is none or it cannot be read."""
        path = sidecar_path(plan)
        try:
            table = json.loads(path.read_bytes())
            version = table.pop("format")
            if version != FORMAT:
                raise ModelError(f"{path} has format {version!r}, not {FORMAT}.")
            table["spec"] = ModelSpec.from_json(table["spec"])
            sidecar = cls(**table)
            if not isinstance(sidecar.key, dict):
                raise ModelError(f"{path} has no key.")
        except OSError as error:
            raise ModelError(
                f"{plan} cannot be vouched for, since {path.name} cannot be read:"
                f" {error.strerror}. 'pcr-rt build' writes both."
            ) from None
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ModelError(f"{path} is damaged.") from None
        return sidecar


def sidecar_path(plan: Path) -> Path:
    """Where the sidecar of a plan lies."""
    return plan.with_name(f"{plan.name}.json")


def sha256(content: bytes) -> str:
    """The hash as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def vouch(plan: Path, key: Mapping[str, Any]) -> tuple[Sidecar, bytes]:
    """The sidecar and the bytes of a plan that is what its sidecar says and fits ``key``.

    ``key`` may name a part of what the sidecar's key does. Raises ModelError with the reason where
    the plan cannot be vouched for.
    """
    sidecar = Sidecar.read(plan)
    different = differences(sidecar.key, key)
    if different:
        raise ModelError(f"{plan} was built for another machine or setting: {different}.")
    if sidecar.failed:
        raise ModelError(sidecar.failed)
    try:
        content = plan.read_bytes()
    except OSError as error:
        raise ModelError(f"{plan} cannot be read: {error.strerror}.") from None
    if sha256(content) != sidecar.plan_sha256:
        raise ModelError(f"{plan} is not the file that was built: its hash differs.")
    return sidecar, content


def differences(had: Mapping[str, Any], want: Mapping[str, Any]) -> str:
    """In words, which fields of ``want`` another key has otherwise; empty where none."""
    return ", ".join(
        f"{name} {_shown(had.get(name))} instead of {_shown(value)}"
        for name, value in want.items()
        if had.get(name) != value
    )


def _shown(value: Any) -> str:
    return value[:12] if isinstance(value, str) and len(value) == 64 else str(value)


if sys.platform != "win32":
    import fcntl


log = logging.getLogger(__name__)


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """The folder of built engines, made if need be; nobody else can write to it.

    An engine is code, so a folder of another user is refused. Default: below XDG_CACHE_HOME.
    """
    base = Path(cache_dir or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = (base if cache_dir else base / "pcr-rt") / "engines"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if sys.platform != "win32":
            if folder.stat().st_uid != os.getuid():
                raise InputError(
                    f"The engine cache {folder} belongs to another user, who could put code into"
                    " it: give a folder of your own with cache_dir."
                )
            folder.chmod(0o700)
    except OSError as error:
        raise _refused(folder, error) from None
    return folder


def write_private(path: Path, content: bytes) -> None:
    """Write a file, readable by its owner alone, that is whole or not there.

    Raises InputError where it cannot be written: no permission, no space.
    """
    try:
        replace_whole(path, content, permissions=0o600, sync=True)
    except OSError as error:
        raise _refused(path, error) from None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``; waits for another process or thread that holds it.

    The lock goes with its process, so a killed build leaves none behind. Windows has none: there
    two processes may build the same engine, and the last one's file stays.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _refused(path, error) from None
    try:
        if sys.platform != "win32":
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("Another process builds %s: waiting for it", path.stem)
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _refused(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path} cannot be written: {error.strerror}. Give another folder for engines with"
        " cache_dir, or --cache-dir."
    )
