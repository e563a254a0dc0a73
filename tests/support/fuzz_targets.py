"""What reads from outside: sound seeds of each kind of file, and how it is read."""

from __future__ import annotations

import dataclasses
import io
import json
import random
import socket
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from mutations import mutate_bytes, mutate_json, mutate_lines, mutate_toml
from pcr_rt.coco.annotations import load_annotations, select_images, select_people
from pcr_rt.coco.detections import boxes_by_image
from pcr_rt.coco.matching import select_results
from pcr_rt.coco.record_images import image_path
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.engines.tensorrt.sidecar import Sidecar, sidecar_path
from pcr_rt.errors import PoseError
from pcr_rt.inference.boxes import as_boxes
from pcr_rt.media import VideoReader, read_image
from pcr_rt.models import ModelSpec
from pcr_rt.poses import Poses
from pcr_rt.skeleton import COCO17, KEYPOINTS
from pcr_rt.streaming.gstreamer import HEADER, read_frames

Mutate = Callable[[random.Random, bytes], bytes]


@dataclass
class Target:
    """share: of all cases. read: takes the file that was written, raises PoseError or nothing."""

    name: str
    share: float
    seeds: Sequence[bytes]
    mutate: Mutate
    read: Callable[[Path], Any]
    file: str = "case.json"


def coco() -> dict[str, Any]:
    person = {"category_id": 1, "bbox": [1, 2, 30, 40], "area": 600.5, "iscrowd": 0}
    person |= {"num_keypoints": 17, "keypoints": [4, 5, 2] * 17}
    return {
        "images": [
            {"id": 1, "file_name": "a.png", "width": 64, "height": 48},
            {"id": 2, "file_name": "deep/b.png"},
        ],
        "annotations": [{"id": 1, "image_id": 1, **person}, {"id": 2, "image_id": 2, **person}],
        "categories": [
            {"id": 1, "name": "person", "keypoints": list(KEYPOINTS), "skeleton": [[1, 2]]},
            {"id": 2, "name": "dog"},
        ],
    }


def results() -> list[dict[str, Any]]:
    box = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40], "score": 0.5}
    return [{**box, "keypoints": [4.5, 5.5, 0.9] * 17}, box]


def read_annotations(path: Path) -> None:
    data = load_annotations(path)
    images = select_images(data)
    for record in images.values():
        if record.get("file_name") is not None:
            image_path(path.parent, record)
    for person in select_people(data, images):
        assert np.isfinite(person["keypoints"]).all()
        assert person["area"] > 0 or min(person["bbox"][2:]) <= 0


def read_results(path: Path) -> None:
    data = _parsed(path)
    select_results(data if isinstance(data, list) else [data], coco(), {1, 2}, COCO17)


def _parsed(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return []


def read_poses(path: Path) -> None:
    data = _parsed(path)
    if isinstance(data, dict):
        Poses.from_dict(data).to_json()


def read_boxes(path: Path) -> None:
    data = _parsed(path)
    boxes, scores = as_boxes(data, (64, 48))
    assert np.isfinite(boxes.astype(np.float32)).all()
    assert ((scores >= 0) & (scores <= 1)).all()


def read_video(path: Path) -> None:
    with VideoReader(path) as video:
        for number, (frame, seconds) in enumerate(video.with_damaged()):
            assert np.isfinite(seconds)
            assert frame is None or frame.ndim == 3
            if number > 200:
                break


def read_gdp(path: Path) -> None:
    with path.open("rb") as file:
        for frame, seconds, fps in read_frames(lambda count: bytearray(file.read(count))):
            assert frame.ndim == 3
            assert seconds is None or seconds >= 0
            assert fps is None or fps > 0


def read_model(path: Path) -> None:
    engine = OnnxRuntimeEngine(path, device="cpu", threads=1)
    width, height = engine.spec.input_size
    if width * height <= 1 << 16:
        engine.run(np.zeros((1, 3, height, width), np.float32))
    engine.close()


def read_recipe(path: Path) -> None:
    from pcr_rt.training.recipe import load_recipe

    load_recipe(path)


def read_journal(path: Path) -> None:
    """As a labelling that goes on."""
    from pcr_rt.labelling.images import label_images

    folder = path.parent / "images"
    label_images(
        lambda files: iter([{"file_name": f.name, "broken": "x"} for f in files]),
        folder,
        path.with_suffix(".json"),
        skeleton=COCO17,
        min_score=0.5,
    )


def images() -> list[bytes]:
    ramp = np.add.outer(np.arange(48), np.arange(64))[..., None] * [1, 2, 3]
    image = np.ascontiguousarray((ramp % 256).astype(np.uint8))
    forms = [".png", ".jpg", ".webp", ".bmp", ".tif", ".gif", ".ppm", ".jp2", ".avif"]
    seeds = [cv2.imencode(form, image)[1].tobytes() for form in forms]
    return [*seeds, cv2.imencode(".png", image[..., 0].astype(np.uint16) * 16)[1].tobytes()]


def videos() -> list[bytes]:
    found = []
    kinds = [("mp4", "libx264"), ("mkv", "libx264"), ("avi", "mpeg4"), ("ts", "libx264")]
    kinds += [("webm", "libvpx"), ("mov", "mjpeg"), ("gif", "gif"), ("flv", "libx264")]
    with tempfile.TemporaryDirectory() as folder:
        for suffix, codec in kinds:
            path = Path(folder) / f"a.{suffix}"
            with av.open(str(path), "w") as container:
                stream = container.add_stream(codec, 10)
                stream.width, stream.height = 48, 32
                stream.pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
                for k in range(5):
                    frame = np.full((32, 48, 3), 40 * k, np.uint8)
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "bgr24")))
                container.mux(stream.encode(None))
            found.append(path.read_bytes())
    return found


def gdp() -> list[bytes]:
    caps = b"video/x-raw, format=(string)BGR, width=(int)2, height=(int)2, framerate=(fraction)5/1"
    head = HEADER.pack(1, 0, 2, len(caps), 0) + caps
    frames = [HEADER.pack(1, 0, 1, 16, k * 10**8) + bytes(16) for k in range(3)]
    return [head + b"".join(frames)]


def models() -> list[bytes]:
    from toys import PLAIN, brightness_model

    with tempfile.TemporaryDirectory() as folder:
        spec = ModelSpec("toy", "heatmap", (48, 64), **PLAIN)
        with_spec = brightness_model(Path(folder) / "a.onnx", spec, joints=17).read_bytes()
        plain = brightness_model(Path(folder) / "b.onnx", None, joints=17).read_bytes()
    return [with_spec, plain]


def checkpoints(folder: Path) -> list[bytes]:
    """What a run writes, of a network that is small in the file."""
    import torch

    from pcr_rt.training.data.input import Input
    from pcr_rt.training.networks.registry import build

    path = folder / "case.pt"
    network = {"encoder": "mobilenet-v2", "channels": [4], "stride": 1, "pyramid": 4}
    content = {
        "network": {k: v.half() for k, v in build(network, 17).state_dict().items()},
        "skeleton": COCO17.to_table(),
        "recipe": {
            "name": "toy",
            "network": network,
            "input": dataclasses.asdict(Input()),
        },
        "size": [32, 32],
        "score": 0.5,
        "step": 10,
    }
    torch.save(content, path)
    return [path.read_bytes()]


def remembered(build: Callable[..., Any]) -> Callable[..., Any]:
    """Make each network once, which takes much longer than to fill it."""
    made: dict[str, Any] = {}

    def build_once(table: Any, count: int) -> Any:
        key = repr((table, count))
        if key not in made:
            made[key] = build(table, count)
        return made[key]

    return build_once


def mutate_checkpoint(rng: random.Random, seed: bytes) -> bytes:
    """Damage the bytes, or what lies beside the weights."""
    import torch

    if rng.random() < 0.5:
        return mutate_bytes(rng, seed)
    content = torch.load(io.BytesIO(seed), weights_only=True)
    rest = {key: value for key, value in content.items() if key != "network"}
    try:
        other = json.loads(mutate_json(rng, json.dumps(rest).encode()))
    except (ValueError, RecursionError):
        other = {}
    target = io.BytesIO()
    keeps = isinstance(other, dict) and rng.random() < 0.95
    torch.save({**other, "network": content["network"]} if keeps else other, target)
    return target.getvalue()


def read_checkpoint(path: Path) -> None:
    """As an export, and as the start of a training."""
    from pcr_rt.training.checkpoints.checkpoint import network_and_spec
    from pcr_rt.training.checkpoints.start import load_start
    from pcr_rt.training.data.input import Input

    network, spec = network_and_spec(path)
    spec.to_json()
    load_start(network, path, Input())


def sidecars() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "a.engine"
        spec = ModelSpec("toy", "heatmap", (48, 64))
        Sidecar("0" * 64, {"product": "TensorRT", "version": "10"}, spec, {"fp16": 3}).write(plan)
        return [sidecar_path(plan).read_bytes()]


def journals(folder: Path) -> list[bytes]:
    (folder / "images").mkdir(exist_ok=True)
    for name in "abc":
        cv2.imwrite(str(folder / "images" / f"{name}.png"), np.zeros((8, 8, 3), np.uint8))
    path = folder / "case.jsonl"
    path.unlink(missing_ok=True)
    read_journal(path)
    person = {"bbox": [1, 2, 3, 4], "keypoints": [1, 2, 1] * 17, "keypoint_scores": [0.5] * 17}
    entry = {"file_name": "b.png", "width": 8, "height": 8, "people": [{**person, "score": 0.5}]}
    header, first, *_ = path.read_bytes().splitlines()
    return [b"\n".join([header, first, json.dumps(entry).encode()]) + b"\n"]


class Page:
    """The live page behind a socket; a status of 500 means that something went wrong inside."""

    def __init__(self) -> None:
        from pcr_rt.streaming.page import LivePage

        self.page = LivePage(port=0)
        self.port = int(self.page.url.rpartition(":")[2].split("/")[0])

    def seeds(self) -> list[bytes]:
        head = f"Host: 127.0.0.1:{self.port}\r\nOrigin: http://127.0.0.1:{self.port}\r\n"
        end = "Cookie: pcr_rt_x=1\r\nConnection: close\r\n\r\n"
        upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"
        return [
            f"GET / HTTP/1.1\r\n{head}{end}".encode(),
            f"GET /page.js?token=1 HTTP/1.1\r\n{head}{end}".encode(),
            f"GET /live HTTP/1.1\r\n{head}{upgrade}{end}".encode(),
        ]

    def read(self, path: Path) -> None:
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
            connection.sendall(path.read_bytes())
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(200)
        assert b" 500 " not in answer.split(b"\r\n")[0], answer


def all_targets(folder: Path) -> list[Target]:
    """Every target that this machine can try; the shares need not add up to one."""
    encoded = [json.dumps(coco()).encode()]
    poses = Poses.empty((64, 48)).to_dict()
    poses["people"] = [
        {"id": 1, "score": 0.5, "box": [1, 2, 3, 4], "keypoints": [[1.0, 2.0, 0.5]] * 17}
    ]
    spec = ModelSpec("toy", "heatmap", (48, 64)).to_json().encode()
    page = Page()
    rows = json.dumps([[1, 2, 30, 40, 0.5], [5, 6, 20, 30, 0.9]]).encode()
    found = json.dumps(results()).encode()
    targets = [
        Target("annotations", 6, encoded, mutate_json, read_annotations),
        Target("detections", 3, [found], mutate_json, lambda p: boxes_by_image(p, None, {1, 2})),
        Target("results", 3, [found], mutate_json, read_results),
        Target("poses JSON", 2, [json.dumps(poses).encode()], mutate_json, read_poses),
        Target("boxes", 1, [rows], mutate_json, read_boxes),
        Target("model spec", 3, [spec], mutate_json, lambda p: ModelSpec.from_json(_text(p))),
        Target("images", 4, images(), mutate_bytes, read_image, "case.png"),
        Target("videos", 0.8, videos(), mutate_bytes, read_video, "case.mp4"),
        Target("GStreamer's protocol", 2, gdp(), mutate_bytes, read_gdp, "case.gdp"),
        Target("HTTP requests", 0.5, page.seeds(), mutate_bytes, page.read, "case.http"),
        Target("ONNX files", 0.8, models(), mutate_bytes, read_model, "case.onnx"),
        Target(
            "sidecars",
            1,
            sidecars(),
            mutate_json,
            lambda p: Sidecar.read(p.with_suffix("")),
            "case.engine.json",
        ),
        Target("journals", 1, journals(folder), mutate_lines, read_journal, "case.jsonl"),
    ]
    from pcr_rt.training.checkpoints import checkpoint

    checkpoint.build = remembered(checkpoint.build)
    targets.append(
        Target(
            "checkpoints", 0.2, checkpoints(folder), mutate_checkpoint, read_checkpoint, "case.pt"
        )
    )
    recipes = sorted((Path(__import__("pcr_rt").__file__).parent / "training/recipes").glob("*"))
    seeds = [path.read_bytes() for path in recipes[:3]]
    targets.append(Target("recipes", 2, seeds, mutate_toml, read_recipe, "case.toml"))
    return targets


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace")


__all__ = ["PoseError", "Target", "all_targets"]
