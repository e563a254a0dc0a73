"""``pcr-rt export``: a trained checkpoint, or an ONNX file, as a model file."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import typer

from pcr_rt.cli.train import missing_training
from pcr_rt.errors import InputError
from pcr_rt.files import refuse_inputs
from pcr_rt.models import model_path, shipped_models


def export(
    source: Annotated[
        Path, typer.Argument(help="best.pt of a run, an FP32 .onnx file or a shipped name.")
    ],
    output: Annotated[Path, typer.Argument(help="The .onnx file to write.")],
    precision: Annotated[
        Literal["fp32", "fp16", "int8"], typer.Option(help="Of weights and arithmetic.")
    ] = "fp32",
    calibration: Annotated[
        Path | None,
        typer.Option(help="INT8, --any-aspect: a folder of images of what the model will see."),
    ] = None,
    target: Annotated[
        Literal["cpu", "gpu", "tensorrt8"],
        typer.Option(help="INT8: what the file is for; gpu is TensorRT 10 and later."),
    ] = "cpu",
    method: Annotated[
        Literal["minmax", "entropy", "percentile"],
        typer.Option(help="INT8: how the ranges of activations are measured."),
    ] = "minmax",
    plain: Annotated[
        bool,
        typer.Option(
            "--plain",
            help="For GPUs: depthwise and pointwise convolutions in a row become one; the model is"
            " named after the output.",
        ),
    ] = False,
    any_aspect: Annotated[
        bool,
        typer.Option(
            "--any-aspect",
            help="A detector's input takes the frame's aspect, and no grey is computed.",
        ),
    ] = False,
    spec_file: Annotated[
        Path | None,
        typer.Option(
            "--spec",
            help="For an .onnx file of others: a JSON file with the fields of its ModelSpec.",
        ),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(help="Input width, with --height; that of the run's last stage unless given."),
    ] = None,
    height: Annotated[int | None, typer.Option(help="Input height, with --width.")] = None,
) -> None:
    """Write a trained network as ONNX with its ModelSpec, convert a model file or adopt one.

    FP32 is checked against torch and FP16 against FP32 on the people of the sample image, INT8
    against FP32 on the calibration images, with a table of what each part of the network costs.
    With --spec an ONNX file of others gets a free batch and the ModelSpec; its weights stay.
    """
    from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine

    try:
        from pcr_rt.export.adopt import adopt_onnx
        from pcr_rt.export.aspect import export_any_aspect
        from pcr_rt.export.calibration import calibration_images
        from pcr_rt.export.fp16 import export_fp16
        from pcr_rt.export.int8 import export_int8
        from pcr_rt.export.separable import export_plain
        from pcr_rt.spec_file import read_spec

        if source.suffix != ".onnx" and str(source) not in shipped_models():
            from pcr_rt.training.checkpoints.checkpoint import export_checkpoint  # needs torch
    except ModuleNotFoundError as error:
        raise missing_training(error) from None
    if (width is None) != (height is None):
        raise InputError("Give both --width and --height, or neither.")
    size = None if width is None or height is None else (width, height)
    if output.suffix != ".onnx":
        raise InputError(f"{output} would be no model file to others: give a name in .onnx.")
    if str(source) in shipped_models() and not source.exists():
        source = model_path(source)
    refuse_inputs(output, source)
    is_model = source.suffix == ".onnx"
    if spec_file is not None and not is_model:
        raise InputError("--spec describes an .onnx file of others: leave it out for a run.")
    converted = plain or any_aspect or spec_file is not None or precision != "fp32"
    if is_model and (size or not converted):
        raise InputError(
            f"{source} is a model file: it can be converted with --precision fp16 or int8, or with"
            " --plain or --any-aspect, at its own size, or adopted with --spec."
        )
    if precision == "int8" and calibration is None:
        raise InputError("INT8 needs images to measure ranges on: give --calibration FOLDER.")
    if any_aspect and calibration is None:
        raise InputError("--any-aspect needs images to measure on: give --calibration FOLDER.")
    with TemporaryDirectory() as folder:
        fp32 = source
        if spec_file is not None or not is_model:
            more = plain or any_aspect or precision != "fp32"
            fp32 = Path(folder) / "fp32.onnx" if more else output
        if spec_file is not None:
            spec, agreement = read_spec(spec_file), "weights as they were"
            adopt_onnx(source, spec, fp32)
        elif not is_model:
            spec, difference = export_checkpoint(source, fp32, size=size)
            agreement = f"differs from torch: {difference}"
        if plain:
            separable, fp32 = fp32, Path(folder) / "plain.onnx" if precision != "fp32" else output
            spec, agreement = export_plain(separable, fp32, output.name.partition(".")[0])
        if any_aspect:
            assert calibration is not None
            square, fp32 = fp32, Path(folder) / "aspect.onnx" if precision != "fp32" else output
            images = calibration_images(calibration, OnnxRuntimeEngine(square, device="cpu").spec)
            spec, agreement = export_any_aspect(square, fp32, images)
        if precision == "fp16":
            spec, words = export_fp16(fp32, output)
            agreement = f"against FP32: {words}"
        elif precision == "int8":
            assert calibration is not None
            spec = OnnxRuntimeEngine(fp32, device="cpu").spec
            images = calibration_images(calibration, spec)
            typer.echo(f"{len(images)} calibration images")
            spec, off = export_int8(
                fp32, output, images, target=target, method=method, report=typer.echo
            )
            agreement = f"against FP32: outputs differ by {off:.1%} (rms)"
    typer.echo(
        f"{output}: {spec.name}, {spec.precision}, input {spec.input_size[0]}x{spec.input_size[1]}"
        f" (w x h), {output.stat().st_size / 1e6:.1f} MB, {agreement}"
    )
