"""The paper's rows: what each recipe trains, on what and for how long, written down by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import pcr_rt.training.recipe as recipes
from pcr_rt.training.networks.pcr import PCR
from pcr_rt.training.networks.registry import build
from pcr_rt.training.recipe import load_recipe, sources_of

SMALL, LARGE = (192, 256), (288, 384)
# Encoder, decoder, SE, HDC, AD, K, L, size.
ROWS = {
    "table1-baseline-r152": ("resnet-152", "simple-baseline", LARGE),
    "table1-hrnet-w48": ("hrnet-w48", "none", LARGE),
    "table1-pcr-r152": ("resnet-152", "pcr", LARGE, True, True, True, 3, 2),
    "table1-pcr-w48": ("hrnet-w48", "pcr", LARGE, True, True, True, 1, 2),
    "table3-baseline-r50": ("resnet-50", "simple-baseline", SMALL),
    "table3-r50-se": ("resnet-50", "pcr", SMALL, True, False, False, 3, 1),
    "table3-r50-hdc": ("resnet-50", "pcr", SMALL, False, True, False, 3, 1),
    "table3-r50-ad": ("resnet-50", "pcr", SMALL, False, False, True, 3, 1),
    "table3-pcr-r50": ("resnet-50", "pcr", SMALL, True, True, True, 3, 1),
    "table3-hrnet-w32": ("hrnet-w32", "none", SMALL),
    "table3-pcr-w32": ("hrnet-w32", "pcr", SMALL, True, True, True, 1, 1),
    "table4-a-c": ("resnet-50", "pcr", SMALL, True, True, True, 3, 1),
    "table4-ac-c": ("resnet-50", "pcr", SMALL, True, True, True, 3, 1),
    "table4-ach-ch": ("resnet-50", "pcr", SMALL, True, True, True, 3, 1),
    "table4-achu-ch": ("resnet-50", "pcr", SMALL, True, True, True, 3, 1),
}
STAGES = {
    "table4-a-c": ["A", "C"],
    "table4-ac-c": ["AC", "C"],
    "table4-ach-ch": ["ACH", "CH"],
    "table4-achu-ch": ["ACHU", "CH"],
}


def test_every_shipped_recipe_is_known() -> None:
    folder = Path(recipes.__file__).parent / "recipes"
    assert {p.stem for p in folder.glob("*.toml")} == {
        *ROWS,
        "pcr-tiny",
        "pcr-tiny-frozen",
        "pcr-tiny-wide",
        "pcr-nano",
        "pcr-mobilenet",
    }


@pytest.mark.parametrize("name", ROWS)
def test_a_row(name: str) -> None:
    encoder, decoder, size, *pcr = ROWS[name]
    recipe = load_recipe(name)
    assert recipe.name == name
    with torch.device("meta"):
        network = build(recipe.network)
    assert (recipe.network["encoder"], recipe.network["decoder"]) == (encoder, decoder)
    assert recipe.input.transform == "msra"
    assert recipe.person_score == "mean>0.2"
    assert recipe.optimizer.batch == 128
    assert recipe.optimizer.weight_decay == recipe.optimizer.ema == 0
    hrnet = encoder.startswith("hrnet")
    epochs, first, second = (210, 170, 200) if hrnet else (140, 90, 120)
    for stage in recipe.stage:
        assert stage.size == size
        assert (stage.epochs, stage.rate, stage.encoder_rate) == (epochs, 1e-3, 1)
        assert stage.steps == pytest.approx((first / epochs, second / epochs), abs=1e-6)
    augmentation = recipe.augmentation
    expected = (45, 0.35, 0.3) if hrnet else (40, 0.3, 0)
    assert (augmentation.rotation, augmentation.scale, augmentation.half_body) == expected
    assert (augmentation.rotation_probability, augmentation.flip) == (0.6, 0.5)
    stages = ["".join(s.name for s in sources_of(recipe, stage)) for stage in recipe.stage]
    assert [sorted(s) for s in stages] == [sorted(s) for s in STAGES.get(name, ["C"])]
    if pcr:
        se, hdc, ad, k, levels = pcr
        assert isinstance(network, PCR)
        parts = [name for name, _ in network.named_parameters()]
        assert any(".squeeze." in part for part in parts) == se
        assert any(".branches." in part and part.startswith("decoders") for part in parts) == hdc
        assert len(network.auxiliary_heads) == ad * levels
        assert (len(recipe.network["channels"]), len(network.decoders)) == (k, levels)
