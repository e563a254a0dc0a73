"""What lies on disk beside an engine: its JSON, which says whether it can be trusted, its lock."""

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

import filelock

from pcr_rt.errors import InputError, ModelError
from pcr_rt.files import replace_whole
from pcr_rt.models import ModelSpec

__all__ = [
    "Sidecar",
    "cache_folder",
    "differences",
    "failures",
    "locked",
    "sha256",
    "sidecar_path",
    "vouch",
    "write_private",
]

log = logging.getLogger(__name__)

FORMAT = 1
"""Of the JSON; another one is not read."""


@dataclass(frozen=True)
class Sidecar:
    """What is known of an engine file.

    key: everything that the engine depends on. types: how many layers compute in which type, read
    from the engine's ``inspector`` or, if that was not possible, from the parsed ``network``.
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
        """Write it beside ``plan``."""
        table = {"format": FORMAT, **dataclasses.asdict(self), "spec": self.spec.to_json()}
        write_private(sidecar_path(plan), json.dumps(table, indent=1).encode())

    @classmethod
    def read(cls, plan: Path) -> Sidecar:
        """Read that of ``plan``. Raises ModelError if there is none or it cannot be read."""
        path = sidecar_path(plan)
        try:
            table = json.loads(path.read_bytes())
            version = table.pop("format")
            if version != FORMAT:
                raise ModelError(f"{path} has format {repr(version)[:40]}, not {FORMAT}.")
            table["spec"] = ModelSpec.from_json(table["spec"])
            sidecar = cls(**table)
            if not isinstance(sidecar.key, dict):
                raise ModelError(f"{path} has no key.")
            words = ("plan_sha256", "types_from", "agreement", "failed", "runtime_cache_sha256")
            if not (
                all(isinstance(getattr(sidecar, word), str) for word in words)
                and sidecar.key.get("product") in (None, "TensorRT", "TensorRT-RTX")
                and all(isinstance(count, int) for count in sidecar.types.values())
            ):
                raise ModelError(f"{path} is damaged.")
        except OSError as error:
            raise ModelError(
                f"{plan} cannot be vouched for, since {path.name} cannot be read:"
                f" {error.strerror}. 'pcr-rt build' writes both."
            ) from None
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            raise ModelError(f"{path} is damaged.") from None
        return sidecar


def sidecar_path(plan: Path) -> Path:
    """Return the path of a plan's sidecar."""
    return plan.with_name(f"{plan.name}.json")


def sha256(content: bytes) -> str:
    """Return the hash as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def vouch(plan: Path, key: Mapping[str, Any]) -> tuple[Sidecar, bytes]:
    """Read a plan that is what its sidecar says and fits ``key``.

    Returns the sidecar and the plan's bytes. ``key`` may name a part of what the sidecar's key
    does. Raises ModelError with the reason if the plan cannot be vouched for.
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
    """Say in words which fields of ``want`` differ in another key; empty if none does."""
    return ", ".join(
        f"{name} {_shown(had.get(name))} instead of {_shown(value)}"
        for name, value in want.items()
        if had.get(name) != value
    )


def _shown(value: Any) -> str:
    return value[:12] if isinstance(value, str) and len(value) == 64 else str(value)


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """Return the folder of built engines, made if need be; nobody else can write to it.

    An engine is code, so a folder of another user is refused. Default: below XDG_CACHE_HOME.
    """
    folder = _cache_path(cache_dir)
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


def failures(cache_dir: str | Path | None = None) -> dict[Path, str]:
    """Return why engines of the cache were set aside, by the file beside each."""
    found = {}
    for path in sorted(_cache_path(cache_dir).glob("*.engine.json")):
        try:
            reason = Sidecar.read(path.with_suffix("")).failed
        except ModelError:  # is written again by the next build
            continue
        if reason:
            found[path] = reason
    return found


def _cache_path(cache_dir: str | Path | None) -> Path:
    base = Path(cache_dir or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (base if cache_dir else base / "pcr-rt") / "engines"


def write_private(path: Path, content: bytes) -> None:
    """Write a file, readable by its owner alone, that is whole or not there.

    Raises InputError if it cannot be written: no permission, no space.
    """
    try:
        replace_whole(path, content, permissions=0o600, sync=True)
    except OSError as error:
        raise _refused(path, error) from None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``; waits for another process or thread that holds it.

    The system takes the lock from a process that ends, so a killed build leaves none behind. Raises
    InputError if the file cannot be written.
    """
    lock = filelock.FileLock(path, mode=0o600)
    try:
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            log.info("Another process builds %s: waiting for it", path.stem)
            lock.acquire()
    except OSError as error:
        raise _refused(path, error) from None
    try:
        yield
    finally:
        lock.release()


def _refused(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path} cannot be written: {error.strerror}. Give another folder for engines with"
        " cache_dir, or --cache-dir."
    )
