from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")


from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import DataError
from pcr_rt.inference.agreement import SAMPLE, person_crops
from pcr_rt.media import read_image
from pcr_rt.training.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from pcr_rt.training.checkpoints.start import load_encoder, load_start, start_from, weights_file
from pcr_rt.training.networks.registry import build
from pcr_rt.training.recipe import load_recipe
from pcr_rt.training.trainer import Trainer


@pytest.mark.parametrize("absolute", [True, False])
def test_a_run_starts_from_the_best_of_another(drawn: Path, tmp_path: Path, absolute: bool) -> None:
    first = Trainer(load_recipe(drawn / "recipe.toml"), drawn, drawn / "runs" / "first")
    first.run()
    start = str(drawn / "runs" / "first") if absolute else "runs/first/best.pt"
    recipe = tmp_path / "again.toml"
    recipe.write_text(f'start = "{start}"\n' + (drawn / "recipe.toml").read_text())
    again = Trainer(load_recipe(recipe), drawn, tmp_path / "again")
    best = load_checkpoint(drawn / "runs" / "first" / "best.pt")["network"]
    for network in (again.network, again.average):
        for key, value in network.state_dict().items():
            assert torch.equal(value, best[key]), key
    assert again.step == 0


def test_an_encoder_starts_from_that_of_a_run_with_another_decoder(tmp_path: Path) -> None:
    trained = build({"encoder": "lite-hrnet", "channels": [8], "levels": 2, "stride": 1})
    (tmp_path / "run").mkdir()
    save_checkpoint(tmp_path / "run" / "best.pt", {"network": trained.state_dict()})
    network = build({"encoder": "lite-hrnet", "channels": [4], "stride": 1})
    before = network.decoders[0].last.residual.weight.clone()
    load_encoder(network, "run", tmp_path)
    for key, value in network.encoder.state_dict().items():
        assert torch.equal(value, trained.encoder.state_dict()[key]), key
    assert torch.equal(network.decoders[0].last.residual.weight, before)
    with pytest.raises(DataError, match=r"the encoder of .*run"):
        load_encoder(build("pcr-mobilenet"), "run", tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"network": {"a": torch.zeros(1)}}, "unexpected"),
        ({"weights": 1}, "no checkpoint of a run"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(
    drawn: Path, tmp_path: Path, content: dict[str, object], words: str
) -> None:
    save_checkpoint(tmp_path / "other.pt", content)
    recipe = tmp_path / "recipe.toml"
    text = (drawn / "recipe.toml").read_text()
    recipe.write_text(f'start = "{tmp_path / "other.pt"}"\n' + text)
    with pytest.raises(DataError, match=words):
        Trainer(load_recipe(recipe), drawn, tmp_path / "run")


def test_a_start_on_other_crops_is_refused(drawn: Path, tmp_path: Path) -> None:
    Trainer(load_recipe(drawn / "recipe.toml"), drawn, tmp_path / "run").run()
    recipe, text = tmp_path / "recipe.toml", (drawn / "recipe.toml").read_text()
    recipe.write_text(f'start = "{tmp_path / "run"}"\n{text}\n[input]\nmean = [0.0, 0.0, 0.0]\n')
    with pytest.raises(DataError, match="other crops"):
        Trainer(load_recipe(recipe), drawn, tmp_path / "other")


def test_a_resumed_run_does_without_its_start(drawn: Path, tmp_path: Path) -> None:
    whole = Trainer(load_recipe(drawn / "recipe.toml"), drawn, tmp_path / "run")
    whole.run()
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('start = "gone.pt"\n' + (drawn / "recipe.toml").read_text())
    again = Trainer(load_recipe(recipe), drawn, tmp_path / "run")
    assert again.run()
    assert again.step == whole.step
    for key, value in whole.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[key], value), key


def twin(count: int) -> torch.nn.Module:
    return build(load_recipe("pcr-nano").network, count)


def test_a_model_of_another_width_fills_all_but_the_heads(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = load_recipe("pcr-nano")
    network, whole = twin(5), twin(17)
    heads = {k: v.clone() for k, v in network.state_dict().items() if "head" in k}
    options: Any = {"norms_frozen": True, "twin": twin}
    with caplog.at_level("INFO"):
        said = start_from(network, "pcr-nano", tmp_path, recipe.input, **options)
    assert said.startswith(
        "pcr-nano.onnx has prediction heads of 17 keypoints, this network of 5: they begin anew"
        " (heads.0.weight"
    )
    assert said in caplog.text
    assert start_from(whole, "pcr-nano", tmp_path, recipe.input, **options) == ""
    for key, value in network.state_dict().items():
        assert torch.equal(value, heads[key] if key in heads else whole.state_dict()[key]), key
    # The same from a checkpoint, but not if anything else differs.
    torch.save({"network": whole.state_dict()}, tmp_path / "best.pt")
    again = twin(5)
    load_start(again, tmp_path, recipe.input)
    first, other = (next(n.get_submodule("decoders").parameters()) for n in (again, whole))
    assert torch.equal(first, other)
    with pytest.raises(DataError, match="misshaped"):
        load_start(build({**recipe.network, "channels": [16]}, 5), tmp_path, recipe.input)


def test_the_shipped_model_is_where_its_recipe_goes_on_from(tmp_path: Path) -> None:
    recipe = load_recipe("pcr-nano")
    network = build(recipe.network)
    start_from(network, "pcr-nano", tmp_path, recipe.input, norms_frozen=True, twin=twin)
    engine = OnnxRuntimeEngine("pcr-nano", device="cpu", precision="fp32")
    crops = person_crops(read_image(SAMPLE), engine.spec)
    with torch.no_grad():
        maps = network.eval()(torch.from_numpy(crops)).levels[-1].numpy()
    np.testing.assert_allclose(maps, engine.run(crops)[0], atol=1e-4)
    # Something of that name in the data folder comes first.
    (tmp_path / "pcr-nano").mkdir()
    assert weights_file("pcr-nano", tmp_path) == tmp_path / "pcr-nano"
    with pytest.raises(DataError, match=r"best\.pt does not exist"):
        start_from(network, "pcr-nano", tmp_path, recipe.input, norms_frozen=True, twin=twin)


def test_the_recipe_has_to_suit_the_file(tmp_path: Path) -> None:
    recipe = load_recipe("pcr-nano")
    network = build(recipe.network)
    with pytest.raises(DataError, match='frozen_norms = "all"'):
        start_from(network, "pcr-nano", tmp_path, recipe.input, norms_frozen=False, twin=twin)
    other = dataclasses.replace(recipe.input, transform="udp")
    with pytest.raises(DataError, match=r"expects transform = 'msra'.* 'udp'"):
        start_from(network, "pcr-nano", tmp_path, other, norms_frozen=True, twin=twin)


def test_encoder_weights_of_the_wrong_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="imagenet"):
        load_encoder(build({"encoder": "efficientnet-lite0"}), "resnet50.pth", tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        load_encoder(build("pcr-r50"), "resnet50.pth", tmp_path)
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(DataError, match="no named tensors"):
        load_encoder(build("pcr-r50"), "empty.pth", tmp_path)
