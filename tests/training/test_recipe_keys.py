from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

pytest.importorskip("torch")

from pcr_rt.training.recipe import load_recipe, skeleton_of
from pcr_rt.training.recipe_keys import TABLES, page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "recipe_keys.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_the_recipe_to_copy_is_complete(tmp_path: Path) -> None:
    text = (PAGE.parents[1] / "how-to" / "training.md").read_text(encoding="utf-8")
    blocks = (part.partition("```")[0] for part in text.split("```toml\n")[1:])
    (block,) = (block for block in blocks if 'name = "parcels"' in block)
    (tmp_path / "parcels.toml").write_text(block, encoding="utf-8")
    recipe = load_recipe(tmp_path / "parcels.toml")
    assert len(skeleton_of(recipe, tmp_path)) == 4
    assert recipe.input == load_recipe("pcr-tiny").input


def test_rows_say_type_default_and_meaning() -> None:
    rows = page().splitlines()
    for row in (
        "| `size` | 2 whole numbers | needed | Width and height of the crops; multiples of 32. |",
        '| `schedule` | `"cosine"`, `"step"` | `"cosine"` | A cosine down to `final_rate`, or a'
        " tenth at each of `steps`. |",
        "| `clip` | number | `0.0` | Largest norm of the gradient; 0 for none. |",
        "| `frozen` | list of strings | `[]` | Modules of the encoder that stay as they are"
        " nevertheless, by name. |",
    ):
        assert row in rows


def test_no_table_of_the_schema_is_left_out() -> None:
    listed = set(TABLES.values())
    for kind in listed:
        for field in dataclasses.fields(kind):
            assert len([row for row in page().splitlines() if f"| `{field.name}` |" in row]) > 0
    names = {field.name for field in dataclasses.fields(TABLES[""])}
    assert {title.strip("[]") for title in TABLES if title} <= names
