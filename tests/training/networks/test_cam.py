"""Equation (1) on small tensors, by explicit sums in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn

from pcr_rt.training.networks.cam import ContextAwareModule


def conv(x, weight, dilation=1):
    """Convolution with zero padding that keeps the size, as sums over kernel taps."""
    n, _, h, w = x.shape
    out_channels, _, k, _ = weight.shape
    out = np.zeros((n, out_channels, h, w))
    for y in range(h):
        for x0 in range(w):
            for i in range(k):
                for j in range(k):
                    a, b = y + (i - k // 2) * dilation, x0 + (j - k // 2) * dilation
                    if 0 <= a < h and 0 <= b < w:
                        out[:, :, y, x0] += x[:, :, a, b] @ weight[:, :, i, j].T
    return out


def deconv(x, weight):
    """4x4 deconvolution of stride 2, padding 1: each input value is scattered."""
    n, _, h, w = x.shape
    out = np.zeros((n, weight.shape[1], 2 * h, 2 * w))
    for y in range(h):
        for x0 in range(w):
            for i in range(4):
                for j in range(4):
                    a, b = 2 * y + i - 1, 2 * x0 + j - 1
                    if 0 <= a < 2 * h and 0 <= b < 2 * w:
                        out[:, :, a, b] += x[:, :, y, x0] @ weight[:, :, i, j]
    return out


def double(x):
    """Bilinear upsampling x 2 without aligned corners: sample v lies at (v + 0.5) / 2 - 0.5."""
    for axis in (2, 3):
        size = x.shape[axis]
        at = np.clip((np.arange(2 * size) + 0.5) / 2 - 0.5, 0, size - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, size - 1)
        t = (at - low).reshape([-1 if a == axis else 1 for a in range(4)])
        x = np.take(x, low, axis) * (1 - t) + np.take(x, high, axis) * t
    return x


class Hand:
    """Reads a module's tensors and computes equation (1) in the paper's order."""

    def __init__(self, module):
        self.module = module
        self.tensors = {k: v.detach().numpy().copy() for k, v in module.state_dict().items()}

    def bn(self, x, name):
        t = self.tensors
        if self.module.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
        else:
            mean, var = t[f"{name}.running_mean"], t[f"{name}.running_var"]
        scale = t[f"{name}.weight"] / np.sqrt(var + 1e-5)
        column = (1, -1, 1, 1)
        return (x - mean.reshape(column)) * scale.reshape(column) + t[f"{name}.bias"].reshape(
            column
        )

    def __call__(self, x, stride, se, hdc):
        t = self.tensors
        if hdc:
            branches = []
            for b, dilation in enumerate((1, 2, 3, 4)):
                y = conv(x, t[f"context.branches.{b}.0.weight"], dilation)
                branches.append(np.maximum(self.bn(y, f"context.branches.{b}.1"), 0))
            context = np.concatenate(branches, 1)
        else:
            context = np.maximum(self.bn(conv(x, t["context.0.weight"]), "context.1"), 0)
        resample = deconv if stride == 2 else conv
        out = resample(context, t["resample.weight"])
        out = np.maximum(self.bn(out, "resample_bn"), 0)
        if se:
            pooled = x.mean((2, 3), keepdims=True)
            hidden = self.bn(conv(pooled, t["squeeze.reduce.weight"]), "squeeze.reduce_bn")
            gate = conv(np.maximum(hidden, 0), t["squeeze.expand.weight"])
            out = out / (1 + np.exp(-self.bn(gate, "squeeze.expand_bn")))
        residual = double(x) if stride == 2 else x
        residual = self.bn(conv(residual, t["residual.weight"]), "residual_bn")
        return np.maximum(out + residual, 0)


def random_module(**options):
    """A CAM of 3 -> 8 channels in float64 with every tensor drawn at random."""
    torch.manual_seed(3)
    module = ContextAwareModule(3, 8, **options).double()
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5) if "running_var" in name else tensor.normal_()
    return module


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("hdc", [True, False])
@pytest.mark.parametrize("se", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
def test_equation_1(stride, se, hdc, training):
    module = random_module(stride=stride, se=se, hdc=hdc).train(training)
    x = np.random.default_rng(1).normal(size=(3, 3, 6, 5))
    expected = Hand(module)(x, stride, se, hdc)
    out = module(torch.from_numpy(x)).detach().numpy()
    assert out.shape == (3, 8, 6 * stride, 5 * stride)
    assert 0.1 < (expected > 0).mean() < 1
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("hdc", "reach"), [(True, 5), (False, 2)])
def test_reach_of_one_output(hdc, reach):
    """Dilation 4 and the last 3x3 see 5 samples far, two plain 3x3 convolutions 2."""
    module = random_module(stride=1, se=False, hdc=hdc).eval()
    x = torch.randn(1, 3, 15, 15, dtype=torch.float64, requires_grad=True)
    # Before the outermost ReLU, which may be shut.
    module.resample(module.context(x))[0, :, 7, 7].sum().backward()
    rows = x.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert rows.min() >= 7 - reach
    assert rows.max() <= 7 + reach
    assert {7 - reach, 7 + reach} <= set(rows.tolist())


def test_squeeze_excite_sees_the_whole_map():
    for se in (True, False):
        module = random_module(stride=1, se=se).eval()
        x = torch.randn(2, 3, 30, 30, dtype=torch.float64, requires_grad=True)
        module(x)[:, :, 0, 0].sum().backward()
        assert bool((x.grad[:, :, -1, -1] != 0).any()) is se


def test_start():
    module = ContextAwareModule(16, 64)
    assert isinstance(module.resample, nn.ConvTranspose2d)
    assert float(module.resample.weight.detach().std()) == pytest.approx(0.001, rel=0.05)


@pytest.mark.parametrize("options", [{"stride": 3}, {"out_channels": 6}])
def test_refuses(options):
    with pytest.raises(ValueError, match="a CAM"):
        ContextAwareModule(**{"in_channels": 4, "out_channels": 8, **options})
