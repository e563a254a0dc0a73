"""From the network table of a recipe, or the name of a preset, to a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from torch import nn

from pcr_rt.errors import DataError
from pcr_rt.training.networks.baselines import HeadOnly, SimpleBaseline
from pcr_rt.training.networks.efficientnet import EfficientNetLite0Encoder
from pcr_rt.training.networks.encoder import Encoder
from pcr_rt.training.networks.hrnet import HRNetEncoder
from pcr_rt.training.networks.lite_hrnet import LiteHRNetEncoder
from pcr_rt.training.networks.mobilenet import MobileNetV2Encoder
from pcr_rt.training.networks.pcr import PCR
from pcr_rt.training.networks.resnet import ResNetEncoder

__all__ = ["DECODERS", "ENCODERS", "PRESETS", "build"]

ENCODERS: dict[str, Callable[[], Encoder]] = {
    "efficientnet-lite0": EfficientNetLite0Encoder,
    "hrnet-w32": partial(HRNetEncoder, 32),
    "hrnet-w48": partial(HRNetEncoder, 48),
    "lite-hrnet": LiteHRNetEncoder,
    "mobilenet-v2": MobileNetV2Encoder,
    "resnet-50": partial(ResNetEncoder, 50),
    "resnet-152": partial(ResNetEncoder, 152),
}

WIDEST, DEEPEST = 4096, 16
"""What is beyond comes from a damaged file, and takes more memory than machines have."""

DECODERS = ("none", "pcr", "simple-baseline")

_PCR_DEFAULTS: dict[str, Any] = {
    "channels": [256, 256, 256],
    "levels": 1,
    "stride": 2,
    "se": True,
    "hdc": True,
    "auxiliary": True,
    "pyramid": 0,
}


def _pcr(encoder: str, channels: list[int], **own: int) -> dict[str, Any]:
    return {"encoder": encoder, "decoder": "pcr", **_PCR_DEFAULTS, "channels": channels, **own}


PRESETS: dict[str, dict[str, Any]] = {
    "pcr-r50": _pcr("resnet-50", [256, 256, 256]),
    "pcr-r152": _pcr("resnet-152", [128, 96, 64], levels=2),
    "pcr-w32": _pcr("hrnet-w32", [48], stride=1),
    "pcr-w48": _pcr("hrnet-w48", [48], levels=2, stride=1),
    "pcr-tiny": _pcr("lite-hrnet", [32], stride=1, auxiliary=False),
    "pcr-nano": _pcr("lite-hrnet", [32]),
    "pcr-mobilenet": _pcr("mobilenet-v2", [48], stride=1, pyramid=48),
    "baseline-r50": {"encoder": "resnet-50", "decoder": "simple-baseline"},
    "baseline-r152": {"encoder": "resnet-152", "decoder": "simple-baseline"},
    "hrnet-w32": {"encoder": "hrnet-w32", "decoder": "none"},
    "hrnet-w48": {"encoder": "hrnet-w48", "decoder": "none"},
}


def build(name_or_table: str | Mapping[str, Any], num_keypoints: int = 17) -> nn.Module:
    """Make a pose network with fresh weights; it has an attribute ``encoder``.

    Parameters
    ----------
    name_or_table
        A name of `PRESETS`, or a table with the key ``encoder`` (a name of `ENCODERS`), and
        optionally ``decoder``: ``pcr`` (the default), ``simple-baseline`` (encoders of stride 32)
        or ``none`` (a bare prediction head; encoders of stride 4). The decoder ``pcr`` also takes
        ``channels`` (a list of C_1 to C_K), ``levels``, ``stride``, ``se``, ``hdc``,
        ``auxiliary`` and ``pyramid`` (a width, with encoders that give several maps).
    num_keypoints
        How many heatmaps the heads give.

    Raises
    ------
    DataError
        A key or a value is not allowed; the message says what is.
    """
    if isinstance(name_or_table, str):
        name_or_table = PRESETS[_one_of("name", name_or_table, PRESETS)]
    table = {"decoder": "pcr", **name_or_table}
    decoder = _one_of("decoder", table["decoder"], DECODERS)
    encoder_name = _one_of("encoder", table.get("encoder"), ENCODERS)
    allowed = {"encoder", "decoder"} | (_PCR_DEFAULTS.keys() if decoder == "pcr" else set())
    for key, value in table.items():
        if key not in allowed:
            raise DataError(
                f"The network's key {key} = {value!r} is unknown with the decoder {decoder!r}; "
                f"allowed are {', '.join(sorted(allowed))}."
            )
    options = _checked_options(table) if decoder == "pcr" else {}
    encoder = ENCODERS[encoder_name]()
    if decoder == "pcr":
        _check_scale(encoder, options)
        return PCR(encoder, num_keypoints=num_keypoints, **options)
    stride = 32 if decoder == "simple-baseline" else 4
    if encoder.stride != stride:
        allowed_here = f"with the decoder {decoder!r} encoders of stride {stride}"
        raise _wrong("encoder", encoder_name, allowed_here)
    baseline = SimpleBaseline if decoder == "simple-baseline" else HeadOnly
    return baseline(encoder, num_keypoints)


def _checked_options(table: Mapping[str, Any]) -> dict[str, Any]:
    options = {key: table.get(key, default) for key, default in _PCR_DEFAULTS.items()}
    channels = options["channels"]
    if (
        not isinstance(channels, (list, tuple))
        or not channels
        or not all(_is_whole(c) and 0 < c <= WIDEST and c % 4 == 0 for c in channels)
    ):
        allowed = f"a list of multiples of 4 up to {WIDEST}, one per module"
        raise _wrong("channels", channels, allowed)
    if not _is_whole(options["levels"]) or not 1 <= options["levels"] <= DEEPEST:
        raise _wrong("levels", options["levels"], f"a whole number from 1 to {DEEPEST}")
    if not _is_whole(options["stride"]) or options["stride"] not in (1, 2):
        raise _wrong("stride", options["stride"], "1, 2")
    if not _is_whole(options["pyramid"]) or not 0 <= options["pyramid"] <= WIDEST:
        raise _wrong("pyramid", options["pyramid"], f"a width up to {WIDEST}, or 0 for none")
    for key in ("se", "hdc", "auxiliary"):
        if not isinstance(options[key], bool):
            raise _wrong(key, options[key], "true, false")
    return options


def _check_scale(encoder: Encoder, options: Mapping[str, Any]) -> None:
    if options["pyramid"] and not encoder.map_channels:
        names = [name for name, make in ENCODERS.items() if getattr(make, "map_channels", ())]
        raise _wrong("pyramid", options["pyramid"], f"0, or an encoder of {', '.join(names)}")
    stride = 4 if options["pyramid"] else encoder.stride
    if options["stride"] == 2 and 2 ** len(options["channels"]) > stride:
        most = stride.bit_length() - 1
        raise _wrong(
            "channels",
            options["channels"],
            f"up to {most} widths at stride 2, since the features' stride is {stride}",
        )


def _one_of(key: str, value: object, allowed: Iterable[str]) -> str:
    names = sorted(allowed)
    if not isinstance(value, str) or value not in names:
        raise _wrong(key, value, ", ".join(names))
    return value


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _wrong(key: str, value: object, allowed: str) -> DataError:
    return DataError(f"The network's {key} is {value!r}; allowed: {allowed}.")
