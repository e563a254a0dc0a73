"""``pcr-rt train``: run a recipe."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from pcr_rt.cli.options import Device


def train(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name or a .toml file.")],
    data: Annotated[Path, typer.Option(help="Folder that the recipe's paths are relative to.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Run folder; an unfinished run in it is resumed."),
    ],
    device: Device = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads that read images.")] = 2,
    images_on_device: Annotated[
        bool,
        typer.Option("--images-on-device", help="Keep all images in the device's memory."),
    ] = False,
) -> None:
    """Train a network from a recipe; resume the run that lies in the output folder."""
    try:
        from pcr_rt.training.devices import check_device, processes
        from pcr_rt.training.recipe import load_recipe
        from pcr_rt.training.trainer import Trainer
        from pcr_rt.training.validation import preview, validation
    except ModuleNotFoundError as error:
        raise missing_training(error) from None
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    plan = load_recipe(recipe)
    device = str(check_device(device))
    with processes(device) as part:
        if part[1] > 1 and device == "cuda":
            device = f"cuda:{os.environ['LOCAL_RANK']}"
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
        # Of several processes the first one speaks.
        console = Console(stderr=True, quiet=part[0] > 0)
        console.print(
            f"{plan.name}: {trainer.count_people()} people, {sum(trainer.lengths())} steps of"
            f" {plan.optimizer.batch}"
        )
        with Progress(
            TextColumn("loss {task.fields[loss]:.2e}  best AP {task.fields[best]:.3f}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        ) as bar:
            task = bar.add_task("train", total=sum(trainer.lengths()), loss=0.0, best=0.0)
            finished = trainer.run(
                lambda done, total, loss: bar.update(
                    task, completed=done, loss=loss, best=max(trainer.best, 0)
                )
            )
    if not finished:
        console.print(f"stopped at step {trainer.step}; the same command goes on from there")
        raise typer.Exit(1)
    if part[0] == 0:
        typer.echo(f"done: pcr-rt export {output / 'best.pt'} {plan.name}.onnx")


def missing_training(error: ModuleNotFoundError) -> Exception:
    """Make the error that says how to install what training and export need."""
    from pcr_rt.errors import MissingDependencyError

    if error.name is None or error.name.startswith("pcr_rt"):
        return error
    return MissingDependencyError(
        f'The package {error.name!r} is not installed: pip install "pcr-rt[train]".'
    )
