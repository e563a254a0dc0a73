"""The torch engine of the device path: its buffers here, the whole path on a GPU."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from pcr_rt.engines import DeviceEngine
from pcr_rt.inference.estimator import PoseEstimator
from pcr_rt.models import ModelSpec
from pcr_rt.training.torch_engine import TorchDeviceEngine, TorchEngine

SPEC = ModelSpec("toy", "heatmap", (24, 32), (0, 0, 0), (255, 255, 255), person_score="mean")
BOXES = [[12.0, 8.0, 40.0, 50.0], [30.5, 4.0, 60.0, 60.0]]


class Brightness(nn.Module):
    """Heatmaps that are multiples of the red channel."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.arange(1, 18) / 17)

    def forward(self, images: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(levels=[images[:, :1] * self.gain[:, None, None]])


def test_a_binding_reads_and_writes_its_own_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(torch.cuda, "ExternalStream", lambda handle, device: seen.append(handle))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    engine = TorchDeviceEngine(Brightness().eval(), SPEC, max_batch=4)
    assert isinstance(engine, DeviceEngine)
    assert not isinstance(TorchEngine(Brightness(), SPEC), DeviceEngine)
    binding = engine.bind(3)
    images, outputs = binding.images, binding.outputs[0]
    for seed in range(2):
        images.copy_(torch.rand(images.shape, generator=torch.Generator().manual_seed(seed)))
        binding.enqueue(77)
        expected = engine.run(images.numpy())[0]
        np.testing.assert_array_equal(outputs.numpy(), expected)
        assert binding.images is images
        assert binding.outputs[0] is outputs
    assert seen == [77, 77]


@pytest.mark.gpu
def test_the_device_path_on_a_gpu() -> None:
    cupy = pytest.importorskip("cupy")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    y, x = np.mgrid[0:72, 0:64]
    image = np.exp(-((x - 25) ** 2 + (y - 30) ** 2) / 80) + np.exp(
        -((x - 47) ** 2 + (y - 30) ** 2) / 90
    )
    frame = (200 * image.clip(0, 1))[..., None].repeat(3, axis=2).astype(np.uint8)
    network = Brightness().eval()
    expected = PoseEstimator(TorchEngine(network, SPEC), detector=None)(frame, BOXES)
    assert len(expected) == 2
    device = PoseEstimator(TorchDeviceEngine(network.cuda(), SPEC), detector=None)
    for given in (frame, cupy.asarray(frame), torch.from_numpy(frame).cuda()):
        for _ in range(2):
            found = device(given, BOXES)
            np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=0.01)
            np.testing.assert_allclose(found.scores, expected.scores, atol=0.001)
