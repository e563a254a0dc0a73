"""What the package is made of: light imports, no torch at run time, a complete wheel."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("pcr-lite", "pcr-nano", "pcr-tiny", "rtmdet-nano")

IMPORT_PACKAGE = """
import json, sys
before = set(sys.modules)
import pcr_rt
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(new - set(sys.stdlib_module_names))))
"""

# Importing what only training or a GPU needs fails, and the attempt is noted, so that a module
# that catches the ImportError is found too. cuda_kernels and export are walked by themselves,
# since an editable installation keeps them in folders of their own.
IMPORT_RUNTIME = """
import importlib, json, pkgutil, sys
import numpy, cv2, onnxruntime, av, typer, rich, aiohttp

attempts, seen = [], []

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "onnx", "onnxsim", "pycocotools", "cupy", "tensorrt", "tensorrt_rtx"):
            attempts.append(name)
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Blocker())

def walk(name):
    if name in ("pcr_rt.training", "pcr_rt.export"):
        return
    module = importlib.import_module(name)
    seen.append(name)
    for child in pkgutil.iter_modules(getattr(module, "__path__", ())):
        walk(f"{name}.{child.name}")

walk("pcr_rt")
if "pcr_rt.cuda_kernels" not in seen:
    walk("pcr_rt.cuda_kernels")
print(json.dumps({"attempts": attempts, "seen": seen}))
"""


def test_provenance_lists_the_files_as_they_are() -> None:
    """The page's block is the output of sha256sum in the folder of the weights."""
    (page,) = (ROOT / "docs").rglob("provenance.md")
    (block,) = re.findall(r"^```sha256\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    listed = dict(reversed(line.split()) for line in block.splitlines())
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (ROOT / "pcr_rt" / "weights").glob("*.onnx")
    }
    assert listed == found


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_loads_numpy_at_most() -> None:
    assert set(json.loads(run_python(IMPORT_PACKAGE))) <= {"pcr_rt", "numpy"}


def test_runtime_modules_import_neither_torch_nor_a_gpu_library() -> None:
    result = json.loads(run_python(IMPORT_RUNTIME))
    assert result["attempts"] == []
    # The walk has reached all corners.
    for name in ("inference.estimator", "engines.tensorrt.engine", "cli.train", "labelling.ray"):
        assert f"pcr_rt.{name}" in result["seen"]


@pytest.mark.parametrize(
    ("place", "code", "refused"),
    [
        ("pcr_rt/inference/estimator.py", "import torch", True),
        ("pcr_rt/engines/other.py", "from torch import nn", True),
        ("pcr_rt/cli/train.py", "def train():\n    import torch.nn", True),
        ("cuda_kernels/reference/__init__.py", "import torch", True),
        ("cuda_kernels/reference/__init__.py", "import cupy", True),
        ("pcr_rt/inference/estimator.py", "import numpy", False),
        ("pcr_rt/training/loss.py", "import torch", False),
        ("pcr_rt/training/networks/other.py", "from torch import nn", False),
        ("export/onnx_export.py", "import torch", False),
    ],
)
def test_lint_keeps_torch_and_cupy_in_their_places(place: str, code: str, refused: bool) -> None:
    if importlib.util.find_spec("ruff") is None:
        pytest.skip("ruff is not installed")
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise"]
    done = subprocess.run(
        [*command, "--stdin-filename", place, "-"],
        input=code,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    # Other rules, such as the one against unused imports, speak up too.
    assert done.returncode == 1, done.stderr
    assert ("TID251" in done.stdout) == refused, done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from a copy: a build leaves folders in the source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    left_out = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, folder / "source", ignore=left_out)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder]
    done = subprocess.run(
        [*map(str, command), str(folder / "source")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with the wheel and with this Python's other packages."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    # Paths in a .pth file come after the environment's own, and .pth files in them (such as an
    # editable installation's) are not read.
    site_packages = next(environment.glob("lib/python*/site-packages"))
    others = [path for path in sys.path if path.endswith("-packages")]
    (site_packages / "dependencies.pth").write_text("\n".join(others))
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index"]
    done = subprocess.run([*pip, "--ignore-installed", wheel], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return python.parent


@pytest.mark.slow
def test_wheel_has_every_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    suffixes = (".onnx", ".fp16.onnx", ".md")
    models = [f"weights/{name}{suffix}" for name in MODELS for suffix in suffixes]
    samples = ["samples/street.jpg", "samples/walk.mp4"]
    folder = ROOT / "pcr_rt/training/recipes"
    recipes = [f"training/recipes/{path.name}" for path in folder.glob("*.toml")]
    assert len(recipes) > 10
    modules = ["py.typed", "cuda_kernels/reference/__init__.py", "export/onnx_export.py"]
    modules += [f"cuda_kernels/{path.name}" for path in (ROOT / "cuda_kernels").glob("*.cu*")]
    page = [f"streaming/static/page{suffix}" for suffix in (".html", ".css", ".js")]
    wanted = {
        f"pcr_rt/{path}"
        for path in (*models, "weights/NOTICE", *samples, *recipes, *modules, *page)
    }
    assert wanted - set(sizes) == set()
    assert {path.split("/")[0] for path in sizes} == {
        "pcr_rt",
        f"pcr_rt-{version('pcr-rt')}.dist-info",
    }
    assert not [path for path in sizes if "/tests/" in path]
    weights = [size for path, size in sizes.items() if path.startswith("pcr_rt/weights/")]
    assert sum(sizes[f"pcr_rt/weights/{name}.onnx"] for name in MODELS) <= 32e6
    assert sum(weights) <= 70e6


@pytest.mark.slow
def test_wheel_runs_outside_of_the_repository(
    installed: Path, sample_image: Path, tmp_path: Path
) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    def run(*command: str | Path) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    origin = run(installed / "python", "-c", "import pcr_rt; print(pcr_rt.__file__)")
    assert Path(origin.strip()).is_relative_to(installed.parent)
    assert "demo" in run(installed / "pcr-rt", "--help")
    image = shutil.copy(sample_image, tmp_path)
    answer = json.loads(run(installed / "pcr-rt", "run", image, "--output", "out", "--json"))
    assert answer["frames"] == 1
    assert answer["people"] >= 1
    assert answer["outputs"]
    assert all((tmp_path / path).is_file() for path in answer["outputs"])
