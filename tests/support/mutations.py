"""Damage as the world does it: seeded mutations of JSON, TOML and bytes."""

from __future__ import annotations

import copy
import json
import random
import re
from typing import Any

NASTY: list[Any] = [
    *(None, True, False, [], {}, "", "1", "-3.5", "nan", "person", "a\0b", "\ud800", "x" * 3000),
    *(0, -1, 2, 7, 10**10, 2**31, 2**63, 10**400, 0.5, 1e-308, 1e39, 1e308, -1e308),
    *(float("nan"), float("inf"), [None], [[]], [{}], {"a": 1}, [1] * 51, ["1"] * 4, "../../x"),
]
TOML_VALUES = ["1", "-1", "0.5", "nan", "inf", '""', "[]", "{}", "true", "[[1]]", '"x"', "1e400"]
TOML_VALUES += ["2147483648", "[1, 2, 3]", '["a"]', "'''\n'''", "1979-05-27", "[2147483648]"]


def mutate_json(rng: random.Random, seed: bytes) -> bytes:
    """Change one to four places of the structure, or rarely the bytes."""
    if rng.random() < 0.15:
        return mutate_bytes(rng, seed)
    value = json.loads(seed)
    for _ in range(rng.randint(1, 4)):
        value = _change(rng, value)
    text = json.dumps(value)
    if rng.random() < 0.02:
        text = rng.choice(["[" * 100_000, text.replace("1", "1" * 5000, 1), "\ufeff" + text])
    return text.encode("utf-8", "surrogatepass")


def _change(rng: random.Random, value: Any) -> Any:
    places = list(_places(value))
    if not places or rng.random() < 0.03:
        return copy.deepcopy(rng.choice(NASTY))
    holder, key = rng.choice(places)
    kind = rng.random()
    if kind < 0.6:
        holder[key] = copy.deepcopy(rng.choice(NASTY))
    elif kind < 0.75:
        del holder[key]
    elif kind < 0.85:  # a value from elsewhere in the file
        other, at = rng.choice(places)
        holder[key] = copy.deepcopy(other[at]) if other is not holder else None
    elif isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    else:
        holder[rng.choice(["id", "x", "", "keypoints"])] = copy.deepcopy(rng.choice(NASTY))
    return value


def _places(value: Any) -> Any:
    if isinstance(value, dict):
        entries: Any = list(value.items())
    elif isinstance(value, list):
        entries = list(enumerate(value))
    else:
        return
    for key, child in entries:
        yield value, key
        yield from _places(child)


def mutate_toml(rng: random.Random, seed: bytes) -> bytes:
    """Give other values to keys, drop, double and swap lines."""
    if rng.random() < 0.1:
        return mutate_bytes(rng, seed)
    lines = seed.decode().splitlines()
    for _ in range(rng.randint(1, 3)):
        at, kind = rng.randrange(len(lines)), rng.random()
        if kind < 0.7 and "=" in lines[at]:
            lines[at] = re.sub(r"=.*", lambda _: f"= {rng.choice(TOML_VALUES)}", lines[at])
        elif kind < 0.8:
            del lines[at]
        elif kind < 0.9:
            lines.insert(at, rng.choice(lines))
        else:
            other = rng.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        lines = lines or [""]
    return "\n".join(lines).encode()


def mutate_lines(rng: random.Random, seed: bytes) -> bytes:
    """Damage one line of a journal as JSON, double, drop or cut lines."""
    lines = seed.splitlines()
    for _ in range(rng.randint(1, 3)):
        at, kind = rng.randrange(len(lines)), rng.random()
        if kind < 0.7:
            lines[at] = mutate_json(rng, lines[at]) if _is_json(lines[at]) else b"{}"
        elif kind < 0.8:
            lines.insert(at, lines[at])
        elif kind < 0.9 and len(lines) > 1:
            del lines[at]
        else:
            lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
    return b"\n".join(lines) + rng.choice([b"\n", b""])


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def mutate_bytes(rng: random.Random, seed: bytes) -> bytes:
    """Flip, overwrite, cut, double and insert, most of it near the beginning."""
    data = bytearray(seed)
    for _ in range(rng.randint(1, 6)):
        near = rng.random() < 0.6
        at = rng.randrange(max(1, min(len(data), 400) if near else len(data)))
        size = rng.choice([1, 1, 2, 4, 8, 64])
        kind = rng.random()
        if kind < 0.3:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif kind < 0.5:
            number = rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, rng.randrange(2**32)])
            data[at : at + 4] = number.to_bytes(4, rng.choice(["big", "little"]))
        elif kind < 0.65:
            data[at : at + size] = rng.randbytes(size)
        elif kind < 0.75:
            data[at : at + size] = b""
        elif kind < 0.85:
            data[at:at] = data[max(0, at - size) : at]
        elif kind < 0.92:
            data[at : at + 40 * size] = bytes(40 * size)
        else:
            data = data[: rng.randrange(len(data) + 1)]
    return bytes(data)
