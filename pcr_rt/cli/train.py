"""``pcr-rt train``: run a recipe, or make one for labels of one's own and run that."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcr_rt.cli.options import Device, IgnoreExif

if TYPE_CHECKING:
    from rich.console import Console

    from pcr_rt.training.trainer import Checked, Trainer


def train(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Run folder; an unfinished run in it is resumed."),
    ],
    recipe: Annotated[
        str | None, typer.Argument(help="A shipped recipe's name or a .toml file.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder that the recipe's paths are relative to; with --from, the data.yaml of a"
            " YOLO-pose data set."
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Instead of a recipe: fine-tune this model (pcr-tiny, an exported file, a run) on"
            " your own labels.",
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="With --from: COCO JSON of your labels, any keypoints.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="With --from: the folder of the labelled images.")
    ] = None,
    ignore_exif: IgnoreExif = False,
    device: Device = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads that read images.")] = 2,
    images_on_device: Annotated[
        bool,
        typer.Option("--images-on-device", help="Keep all images in the device's memory."),
    ] = False,
) -> None:
    """Train a network from a recipe, or a model on your own labels; resume an unfinished run.

    pcr-rt train --from pcr-tiny --labels labels.json --images images -o runs/mine
    """
    try:
        from pcr_rt.training.devices import check_device, processes
        from pcr_rt.training.recipe import load_recipe
        from pcr_rt.training.trainer import Trainer
        from pcr_rt.training.validation import preview, validation
    except ModuleNotFoundError as error:
        raise missing_training(error) from None
    from rich.console import Console

    _check_call(recipe, data, start, labels, images, ignore_exif)
    device = str(check_device(device))
    with processes(device) as part:
        if part[1] > 1 and device == "cuda":
            device = f"cuda:{os.environ['LOCAL_RANK']}"
        # Of several processes the first one speaks.
        console = Console(stderr=True, quiet=part[0] > 0, highlight=False, soft_wrap=True)
        if start is not None:
            own = _own_recipe(start, data, labels, images, output, console, ignore_exif)
            recipe, data = str(own), output
        assert recipe is not None
        assert data is not None
        plan = load_recipe(recipe)
        trainer = Trainer(
            plan,
            data,
            output,
            device=device,
            threads=threads,
            images_on_device=images_on_device,
            validate=validation(plan, data),
            preview=preview(plan, data),
            part=part,
        )
        finished = _run(trainer, console)
    if not finished:
        words = f"at step {trainer.step}; the same command goes on from there"
        if trainer.stopped_by == signal.SIGINT:
            raise KeyboardInterrupt(words)
        console.print(f"stopped {words}")
        raise typer.Exit(1)
    if part[0] == 0:
        _conclude(trainer, output)


def _check_call(
    recipe: str | None,
    data: Path | None,
    start: str | None,
    labels: Path | None,
    images: Path | None,
    ignore_exif: bool,
) -> None:
    """Raise InputError for options that do not belong together."""
    from pcr_rt.errors import InputError

    if (recipe is None) == (start is None):
        raise InputError(
            "Give a RECIPE and --data FOLDER, or --from MODEL with --labels and --images, or with"
            " --data data.yaml."
        )
    if start is None:
        if labels is not None or images is not None:
            raise InputError("--labels and --images belong to --from: a recipe names its own.")
        if ignore_exif:
            raise InputError(
                "--ignore-exif belongs to --from: a recipe has ignore_exif = true in [[data]] and"
                " [validation]."
            )
        if data is None:
            raise InputError("A recipe needs --data, the folder that its paths are relative to.")
        return
    if (labels is None) != (images is None) or (labels is None) == (data is None):
        raise InputError("--from needs --labels and --images, or --data data.yaml.")
    if data is not None and data.suffix not in (".yaml", ".yml"):
        raise InputError(f"--from takes the data.yaml of a YOLO-pose set, {data} is none.")


def _own_recipe(
    start: str,
    data: Path | None,
    labels: Path | None,
    images: Path | None,
    output: Path,
    console: Console,
    ignore_exif: bool,
) -> Path:
    """Write recipe and split labels into the run folder; say what they are."""
    from pcr_rt.training.own_labels import from_coco, from_yolo, write_run

    if labels is not None and images is not None:
        read = from_coco(labels, images, ignore_exif=ignore_exif)
    else:
        assert data is not None
        read = from_yolo(data, ignore_exif=ignore_exif)
    run = write_run(start, read, output)
    console.print(
        f"{run.train} images to train on, {run.held_out} held out to measure with;"
        f" {len(read.skeleton)} keypoints of {read.skeleton.category!r}; recipe: {run.recipe}"
    )
    if read.skeleton.pairs is None:
        console.print(
            "no mirror pairs (left_x and right_x, or flip_idx): views are not mirrored in training"
        )
    return run.recipe


def _run(trainer: Trainer, console: Console) -> bool:
    """Train with a bar, a table of validations and a curve; whether the run came to its end."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    total = sum(trainer.lengths())
    console.print(
        f"{trainer.recipe.name}: {trainer.count_people()} people, {total} steps of"
        f" {trainer.recipe.optimizer.batch}"
    )
    if trainer.anew:
        console.print(trainer.anew)
    trainer.resume()
    if trainer.step:
        console.print(f"going on at step {trainer.step} of {total}")
    console.print(f"{'step':>7} {trainer.metric:>8} {'PCK':>6}")
    for checked in trainer.history:
        console.print(_row(checked))
    bar = Progress(
        TextColumn("loss {task.fields[loss]:.2e}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    task = bar.add_task("train", total=total, completed=trainer.step, loss=0.0)

    def validated(checked: Checked) -> None:
        from pcr_rt.training.curve import write_curve

        bar.console.print(_row(checked))
        write_curve(trainer.folder / "curve.png", trainer.history, trainer.metric, total)

    with bar:
        return trainer.run(
            lambda done, total, loss: bar.update(task, completed=done, loss=loss), validated
        )


def _row(checked: Checked) -> str:
    return f"{checked.step:>7} {checked.value:>8.3f} {checked.pck:>6.3f}"


def _conclude(trainer: Trainer, output: Path) -> None:
    """Export the best checkpoint; say what was gained, and the command that runs it."""
    from pcr_rt.training.checkpoints.checkpoint import export_checkpoint

    model = output / f"{trainer.recipe.name}.onnx"
    export_checkpoint(output / "best.pt", model)
    if trainer.history:  # runs of earlier versions have none
        first, best = trainer.history[0], max(trainer.history, key=lambda checked: checked.value)
        said = (
            f"{trainer.metric} {first.value:.3f} at the start, {best.value:.3f} at step {best.step}"
        )
        if best.step == first.step:
            said = f"no improvement: {trainer.metric} {first.value:.3f} at the start is the best"
        typer.echo(
            f"{said}; PCK {first.pck:.3f} and {best.pck:.3f} (curve: {output / 'curve.png'})"
        )
    detector = "" if trainer.skeleton.category == "person" else " --detector none"
    typer.echo(f"done: pcr-rt run IMAGE --model {model}{detector}")


def missing_training(error: ModuleNotFoundError) -> Exception:
    """Make the error that says how to install what training and export need."""
    from pcr_rt.errors import MissingDependencyError

    if error.name is None or error.name.startswith("pcr_rt"):
        return error
    extra = "export" if error.name in ("onnx", "onnxsim") else "train"
    return MissingDependencyError(
        f'The package {error.name!r} is not installed: pip install ".[{extra}]" in the folder of'
        " PCR-RT."
    )
