"""The training loop: stages, frozen or thawed encoder, averaged weights, checkpoints, resume."""

from __future__ import annotations

import dataclasses
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pcr_rt.errors import DataError
from pcr_rt.training.checkpoints.checkpoint import (
    first_difference,
    load_checkpoint,
    reading,
    save_checkpoint,
)
from pcr_rt.training.checkpoints.start import load_encoder, start_from, weights_file
from pcr_rt.training.data.datasets import people_from
from pcr_rt.training.data.device_images import ImagesOnDevice
from pcr_rt.training.data.loader import Batch, Loader, View
from pcr_rt.training.data.person import Person
from pcr_rt.training.devices import anywhere, check_device, mean_over, part_of_batch, wrap
from pcr_rt.training.loss import StepLoss
from pcr_rt.training.monitor import Monitor
from pcr_rt.training.networks.encoder import check_input_size
from pcr_rt.training.networks.maps import heatmap_size
from pcr_rt.training.networks.registry import build
from pcr_rt.training.optimisation import averaged, freeze, make_optimizer, rate_factor
from pcr_rt.training.recipe import Recipe, Stage, skeleton_of, sources_of
from pcr_rt.training.teacher import load_teacher
from pcr_rt.training.validation import Score, metric_of

__all__ = ["Checked", "Progress", "Trainer"]

log = logging.getLogger(__name__)


class Checked(NamedTuple):
    """A validation: the step, what checkpoints are chosen by, and the PCK (see `Score`)."""

    step: int
    value: float
    pck: float


Progress = Callable[[int, int, float], None]
"""Called after each step with (steps done, steps in all, loss)."""

Validate = Callable[[nn.Module, Stage], Score]
"""Scores a network on the validation fold."""

Validated = Callable[[Checked], None]
"""Called after each validation."""

Preview = Callable[[nn.Module, Stage], NDArray[np.uint8]]
"""Gives a BGR image of a network's sample predictions."""


class Trainer:
    """One run of a recipe in a folder: ``last.pt`` to resume from, ``best.pt`` to export.

    data: the folder that the recipe's paths are relative to. images_on_device: keep all images
    decoded in the device's memory and cut the crops there. validate: scores the averaged network,
    by which ``best.pt`` is chosen; without it the last weights are the best. preview: an image for
    TensorBoard. part: (rank, processes), if several processes train together; the first one
    validates and writes. history: the validations so far, the first one before any step. anew:
    which parts do not come from the recipe's ``start``, in words; "" if all do.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Path,
        folder: Path,
        *,
        device: str = "cpu",
        threads: int = 1,
        images_on_device: bool = False,
        validate: Validate | None = None,
        preview: Preview | None = None,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self.recipe, self.folder, self.threads = recipe, folder, threads
        self.device = str(check_device(device))
        self.validate, self.preview, self.part = validate, preview, part
        part_of_batch(recipe.optimizer.batch, part)
        torch.manual_seed(recipe.seed)
        self.skeleton = skeleton_of(recipe, data)
        self.metric = metric_of(self.skeleton)
        self.anew = ""
        self.network = build(recipe.network, len(self.skeleton)).to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for stage in recipe.stage:
            check_input_size(self.network, stage.size)
        if not (folder / "last.pt").exists():  # a resumed run has its weights there
            if recipe.encoder_weights:
                load_encoder(self.network, recipe.encoder_weights, data)
            if recipe.start:
                self.anew = start_from(
                    self.network,
                    recipe.start,
                    data,
                    recipe.input,
                    norms_frozen=recipe.optimizer.frozen_norms == "all",
                    twin=partial(build, recipe.network),
                )
        self._teacher = None
        if recipe.loss.teacher:
            self._teacher = load_teacher(
                weights_file(recipe.loss.teacher, data),
                self.device,
                flip_test=recipe.loss.teacher_flip_test,
            )
        self._people = {s: people_from(s, data, recipe.broken, self.skeleton) for s in recipe.data}
        self._device_images: ImagesOnDevice | None = None
        if images_on_device:
            everyone = [person for people in self._people.values() for person in people]
            self._device_images = ImagesOnDevice(
                {person.image: person.image_size for person in everyone},
                self.device,
                threads,
                recipe.broken,
                {person.image for person in everyone if person.ignore_exif},
            )
        self._averaged = averaged(self.network, recipe.optimizer.ema)
        self.average = self._averaged.module
        self.step = 0
        self.best = -1.0
        self.history: list[Checked] = []
        self._stop = False
        self.stopped_by: int | None = None
        """The signal that asked for an early end."""
        self._validating = self._owes_validation = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"The run folder {folder} cannot be made: {error}.") from None

    def count_people(self) -> int:
        """Count the people of the data sets, repeats and hard negatives included."""
        return sum(map(len, self._people.values()))

    def lengths(self) -> list[int]:
        """Return the number of steps of each stage."""
        steps = []
        for stage in self.recipe.stage:
            people, shares = self._pools(stage)
            rest = self.recipe.optimizer.batch - sum(count for _, count in shares)
            per_epoch = max(len(people) // max(rest, 1), 1)
            steps.append(max(round(stage.epochs * per_epoch), 1))
        return steps

    def _pools(self, stage: Stage) -> tuple[list[Person], list[tuple[list[Person], int]]]:
        """Split a stage's people into those of its passes and those with a share of each batch."""
        sources = sources_of(self.recipe, stage)
        batch = self.recipe.optimizer.batch
        shares = [(self._people[s], round(s.share * batch)) for s in sources if s.share]
        return [p for s in sources if not s.share for p in self._people[s]], shares

    def run(
        self,
        progress: Progress = lambda done, total, loss: None,
        validated: Validated = lambda checked: None,
    ) -> bool:
        """Train on from the folder's last checkpoint.

        Returns True when the recipe is complete, False when SIGTERM or Ctrl-C ended the run early;
        a checkpoint is written in both cases.
        """
        state = self.resume()
        lengths = self.lengths()
        self._validated = validated
        with self._signals(), closing(Monitor(self.folder, self.part[0] == 0)) as monitor:
            is_new = not self.history and self.step == 0
            if (is_new or self._owes_validation) and self.validate and self.part[0] == 0:
                begun = sum(end < self.step for end in accumulate(lengths))
                self._keep_best(self.recipe.stage[begun], monitor)
                self._stop = self._stops_alone()
            first = 0
            for index, (stage, length) in enumerate(zip(self.recipe.stage, lengths, strict=True)):
                if self.step < first + length and not self._stop:
                    self._run_stage(stage, first, length, state, sum(lengths), progress, monitor)
                    state = None
                    if not self._stop:
                        log.info("stage %d of %d done", index + 1, len(lengths))
                first += length
        return not self._stop

    def _run_stage(
        self,
        stage: Stage,
        first: int,
        length: int,
        state: dict[str, Any] | None,
        total: int,
        progress: Progress,
        monitor: Monitor,
    ) -> None:
        recipe = self.recipe
        heatmap = heatmap_size(self.average, stage.size)
        view = View(stage.size, heatmap, recipe.input.transform, recipe.augmentation, self.skeleton)
        people, shares = self._pools(stage)
        loader = Loader(
            people,
            view,
            batch=recipe.optimizer.batch,
            seed=recipe.seed,
            threads=self.threads,
            broken=recipe.broken,
            shares=shares,
            part=self.part,
            device_images=self._device_images,
        )
        freeze(self.network, stage, recipe.optimizer)
        optimizer = make_optimizer(self.network, stage, recipe.optimizer)
        if state is not None:
            optimizer.load_state_dict(state["optimizer"])
        parallel = wrap(self.network, self.part)
        step_loss = StepLoss(recipe, view, self._teacher, self.part)
        for batch in loader.batches(self.step, first + length):
            factor = rate_factor(stage, self.step - first, length)
            for group in optimizer.param_groups:
                group["lr"] = group["base"] * factor
            loss = self._train_step(batch, parallel, step_loss, optimizer)
            self.step += 1
            progress(self.step, total, loss)
            self._stop = anywhere(self.stopped_by is not None, self.part, self.device)
            monitor.step(self.step, loss=loss, rate=stage.rate * factor)
            last = self.step == first + length
            due = last or self.step % recipe.validation.every == 0
            if due and self.part[0] == 0:
                self._keep_best(stage, monitor)
                self._stop = self._stop or self._stops_alone()
            if (due or self._stop) and self.part[0] == 0:
                self._save(optimizer)
            if self._stop:
                return

    def _stops_alone(self) -> bool:
        """Whether to stop; several processes have to agree on it, after a step."""
        return self.stopped_by is not None and self.part[1] == 1

    def _train_step(
        self,
        batch: Batch,
        network: nn.Module,
        step_loss: StepLoss,
        optimizer: torch.optim.Optimizer,
    ) -> float:
        options = self.recipe.optimizer
        batch = Batch(*(t.to(self.device, non_blocking=True) for t in batch))
        loss = step_loss(network, batch, self.step)
        self.network.zero_grad(set_to_none=True)  # also of what an earlier stage trained
        loss.backward()  # type: ignore[no-untyped-call]
        if options.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), options.clip)
        optimizer.step()
        self._averaged.update_parameters(self.network)
        return mean_over(loss.detach(), self.part)

    def _keep_best(self, stage: Stage, monitor: Monitor) -> None:
        score = float(self.step)
        if self.validate:
            self._owes_validation = self._validating = True
            try:
                if self.stopped_by is not None:
                    return
                checked = Checked(self.step, *self.validate(self.average, stage))
            except KeyboardInterrupt:  # a resumed run makes up for it
                return
            finally:
                self._validating = False
            self._owes_validation = False
            score = checked.value
            log.info("step %d: %s %.3f on the validation fold", self.step, self.metric, score)
            image = self.preview(self.average, stage) if self.preview else None
            monitor.validation(self.step, self.metric, score, image)
            self.history.append(checked)
            self._validated(checked)
        if score > self.best:
            self.best = score
            content = {
                "network": self.average.state_dict(),
                "recipe": dataclasses.asdict(self.recipe),
                "skeleton": self.skeleton.to_table(),
                "size": list(stage.size),
                "step": self.step,
                "score": score,
            }
            save_checkpoint(self.folder / "best.pt", content)

    def _save(self, optimizer: torch.optim.Optimizer) -> None:
        content = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "recipe": dataclasses.asdict(self.recipe),
            "step": self.step,
            "best": self.best,
            "history": [list(checked) for checked in self.history],
            "owes_validation": self._owes_validation,
        }
        save_checkpoint(self.folder / "last.pt", content)

    def resume(self) -> dict[str, Any] | None:
        """Take up the folder's last checkpoint, if there is one, as `run` does.

        Returns what the optimizer needs to go on within a stage. Raises DataError if it belongs to
        a run of another recipe.
        """
        path = self.folder / "last.pt"
        if not path.exists():
            return None
        state = load_checkpoint(path)
        with reading(path):
            self._take_up(state, path)
        self._averaged.n_averaged.fill_(self.step + 1)
        log.info("resuming at step %d", self.step)
        starts = [sum(self.lengths()[:i]) for i in range(len(self.recipe.stage))]
        return None if self.step in starts else state

    def _take_up(self, state: dict[str, Any], path: Path) -> None:
        changed = first_difference(state["recipe"], dataclasses.asdict(self.recipe))
        if changed:
            raise DataError(
                f"{path} belongs to a run whose recipe has another {changed}: choose another run"
                " folder, or set start to this one."
            )
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.step, self.best = int(state["step"]), float(state["best"])
        # Runs of earlier versions have no history.
        self.history = [Checked(*checked) for checked in state.get("history", [])]
        self._owes_validation = state.get("owes_validation", False)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Let SIGTERM and Ctrl-C end the run after the step or in the validation under way."""

        def stop(number: int, frame: FrameType | None) -> None:
            self.stopped_by = number
            if self._validating and self._stops_alone():
                raise KeyboardInterrupt

        before = {s: signal.signal(s, stop) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
