"""ResNet: torchvision's names and sizes, the order of operations of a bottleneck."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F

from pcr_rt.training.networks.resnet import BasicBlock, Bottleneck, ResNetEncoder


def randomised(module):
    torch.manual_seed(0)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5) if "running_var" in name else tensor.normal_(std=0.5)
    return module.eval()


def bn(x, state, name):
    return F.batch_norm(
        x,
        state[f"{name}.running_mean"],
        state[f"{name}.running_var"],
        state[f"{name}.weight"],
        state[f"{name}.bias"],
    )


# torchvision's resnet50 and resnet152 have 25,557,032 and 60,192,808 parameters, 2,049,000 of
# them in fc, and 320 and 932 tensors, two of them in fc.
@pytest.mark.parametrize(
    ("depth", "parameters", "tensors"), [(50, 23_508_032, 318), (152, 58_143_808, 930)]
)
def test_names_and_sizes_of_torchvision(depth, parameters, tensors):
    with torch.device("meta"):
        encoder = ResNetEncoder(depth)
    assert sum(p.numel() for p in encoder.parameters()) == parameters
    state = encoder.state_dict()
    assert len(state) == tensors
    shapes = {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.num_batches_tracked": (),
        "layer1.0.conv1.weight": (64, 64, 1, 1),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer1.0.downsample.1.running_var": (256,),
        "layer2.0.conv2.weight": (128, 128, 3, 3),
        "layer3.5.conv3.weight": (1024, 256, 1, 1),
        "layer4.2.bn3.bias": (2048,),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes
    assert "layer1.1.downsample.0.weight" not in state


def test_features():
    encoder = ResNetEncoder(50).eval()
    with torch.no_grad():
        features = encoder(torch.randn(1, 3, 64, 96))
    assert features.shape == (1, encoder.channels, 64 // encoder.stride, 96 // encoder.stride)


@pytest.mark.parametrize(("in_channels", "stride"), [(16, 1), (16, 2), (8, 1)])
def test_bottleneck(in_channels, stride):
    block = randomised(Bottleneck(in_channels, 4, stride))
    s = block.state_dict()
    x = torch.randn(2, in_channels, 6, 6)
    y = F.relu(bn(F.conv2d(x, s["conv1.weight"]), s, "bn1"))
    y = F.relu(bn(F.conv2d(y, s["conv2.weight"], stride=stride, padding=1), s, "bn2"))
    y = bn(F.conv2d(y, s["conv3.weight"]), s, "bn3")
    if (in_channels, stride) == (16, 1):
        assert block.downsample is None
        shortcut = x
    else:
        shortcut = bn(F.conv2d(x, s["downsample.0.weight"], stride=stride), s, "downsample.1")
    torch.testing.assert_close(block(x), F.relu(y + shortcut))


def test_basic_block():
    block = randomised(BasicBlock(4))
    s = block.state_dict()
    x = torch.randn(2, 4, 5, 5)
    y = F.relu(bn(F.conv2d(x, s["conv1.weight"], padding=1), s, "bn1"))
    y = bn(F.conv2d(y, s["conv2.weight"], padding=1), s, "bn2")
    torch.testing.assert_close(block(x), F.relu(y + x))
