from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pcr_rt.errors import DataError
from pcr_rt.geometry import heatmap_to_input
from pcr_rt.models import ModelSpec
from pcr_rt.training.recipe import load_recipe
from pcr_rt.training.teacher import Teacher, load_teacher
from pcr_rt.training.trainer import Trainer


class Mirror:
    """Stands in for a teacher: its map is its input's first channel where the map's samples lie."""

    def __init__(self, size: tuple[int, int], transform: Any, **more: Any) -> None:
        zero, one = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        self.spec = ModelSpec("mirror", "heatmap", size, zero, one, transform=transform, **more)

    def run(self, images: np.ndarray) -> list[np.ndarray]:
        width, height = self.spec.input_size
        grid = (width // 4, height // 4)
        step = heatmap_to_input(grid, self.spec.input_size, self.spec.transform)
        x, y = np.arange(grid[0]) * step[0], np.arange(grid[1]) * step[1]
        left, top = x.astype(int).clip(max=width - 2), y.astype(int).clip(max=height - 2)
        channel = images[:, :1]
        across = channel[..., left] * (1 - x + left) + channel[..., left + 1] * (x - left)
        down = (1 - y + top)[:, None], (y - top)[:, None]
        return [across[..., top, :] * down[0] + across[..., top + 1, :] * down[1]]

    def close(self) -> None: ...


@pytest.mark.parametrize("student", ["udp", "msra"])
@pytest.mark.parametrize("transform", ["udp", "msra"])
@pytest.mark.parametrize("size", [(48, 64), (96, 128), (72, 96)])
def test_maps_lie_where_the_student_looks(student: Any, transform: Any, size: Any) -> None:
    seen, heatmap = (48, 64), (12, 16)
    # A plane: linear interpolation is exact on it, whatever the grids, but not across the border.
    x, y = torch.arange(48.0), torch.arange(64.0)
    view = (3 * x[None] + 5 * y[:, None] + 7).expand(2, 3, 64, 48)
    teacher = Teacher(Mirror(size, transform))
    maps = teacher.on_grid(teacher.maps(view, student), seen, heatmap, student)
    step = heatmap_to_input(heatmap, seen, student)
    expected = 3 * step[0] * torch.arange(12)[None] + 5 * step[1] * torch.arange(16)[:, None] + 7
    inside = maps[0, 0, :-2, :-2]
    torch.testing.assert_close(inside, expected[:-2, :-2].float(), rtol=1e-4, atol=1e-2)


class Steps:
    """A teacher whose map k is the brightness above 100 k / 17 of columns where its samples lie."""

    def __init__(self, transform: Any) -> None:
        self.mirror = Mirror((48, 64), transform)
        self.spec = self.mirror.spec

    def run(self, images: np.ndarray) -> list[np.ndarray]:
        return [self.mirror.run(images)[0] - 100 * np.arange(17.0)[:, None, None] / 17]

    def close(self) -> None: ...


@pytest.mark.parametrize("transform", ["udp", "msra"])
def test_mirrored_maps_lie_where_the_plain_ones_do(transform: Any) -> None:
    """On a plane, where interpolation is exact, each keypoint's map meets its mirror image's."""
    x, y = torch.arange(48.0), torch.arange(64.0)
    view = (3 * x[None] + 5 * y[:, None]).expand(2, 3, 64, 48)
    plain = Teacher(Steps(transform)).maps(view, transform)
    averaged = Teacher(Steps(transform), flip_test=True).maps(view, transform)
    assert averaged.shape == plain.shape == (2, 17, 16, 12)
    # COCO: the nose, then eyes, ears, shoulders ... in pairs of left and right.
    partner = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    expected = (plain + plain[:, partner]) / 2
    torch.testing.assert_close(averaged[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])


def test_the_teachers_own_normalisation_and_colour() -> None:
    engine = Mirror((8, 8), "udp", colour="bgr")
    view = torch.stack([torch.full((8, 8), v) for v in (10.0, 20.0, 30.0)])[None]
    assert (Teacher(engine).maps(view, "udp") == 30).all()
    object.__setattr__(engine.spec, "mean", (5.0, 5.0, 5.0))
    object.__setattr__(engine.spec, "std", (2.0, 2.0, 2.0))
    assert (Teacher(engine).maps(view, "udp") == 12.5).all()


def test_a_student_learns_its_teachers_maps(drawn: Path, tmp_path: Path) -> None:
    text = (drawn / "recipe.toml").read_text()
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    Trainer(load_recipe(path), drawn, tmp_path / "teacher").run()
    losses: dict[float, list[float]] = {}
    for weight in (0.0, 1.0):
        more = f'[loss]\nteacher = "{tmp_path / "teacher"}"\nteacher_weight = {weight}\n'
        path.write_text(text + more)
        losses[weight] = []
        Trainer(load_recipe(path), drawn, tmp_path / f"run{weight}").run(
            lambda done, total, loss, kept=losses[weight]: kept.append(loss)
        )
    assert losses[1.0][0] > losses[0.0][0]


def test_a_teacher_gives_heatmaps(tmp_path: Path) -> None:
    class Other:
        spec = ModelSpec("other", "simcc", (48, 64), (0, 0, 0), (1, 1, 1))

    with pytest.raises(DataError, match="not heatmaps"):
        Teacher(Other())  # type: ignore[arg-type]
    with pytest.raises(DataError, match="does not exist"):
        load_teacher(tmp_path / "none.pt", "cpu")


@pytest.mark.shared
def test_tinypose_as_a_teacher_on_another_grid(shared: Path) -> None:
    """PP-TinyPose (msra, 192x256) read on a udp student's grid peaks at the same places."""
    teacher = load_teacher(shared / "models/tinypose_256x192.onnx", "cpu")
    assert teacher.spec.transform == "msra"
    rng = np.random.default_rng(0)
    view = torch.from_numpy(rng.uniform(0, 255, (1, 3, 256, 192)).astype(np.float32))
    maps = teacher.maps(view, "udp")
    assert maps.shape == (1, 17, 64, 48)
    same = teacher.on_grid(maps, (192, 256), (48, 64), "msra")
    assert torch.equal(same, maps)
