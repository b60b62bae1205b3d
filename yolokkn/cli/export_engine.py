"""`yolokkn export --format engine`."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from yolokkn.cli.arguments import EXIT_OK, flag, positive, size
from yolokkn.cli.model_options import import_deploy
from yolokkn.cli.places import files_read
from yolokkn.cli.progress import phases
from yolokkn.cli.quantize import read_content
from yolokkn.evaluation.coco import CocoDataset
from yolokkn.files import refuse_existing
from yolokkn.graph import parse_model
from yolokkn.runtime.cuda_device import gpu_index
from yolokkn.runtime.engine_build import EngineOptions
from yolokkn.runtime.engine_library import LIBRARIES
from yolokkn.runtime.engine_manifest import manifest_path
from yolokkn.runtime.engine_profiles import engine_profiles
from yolokkn.runtime.evaluate import find_coco_files, map_model_classes
from yolokkn.runtime.load import load

Sizes = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
_OPTIONS = (
    "precision",
    "library",
    "compute_capability",
    "workspace",
    "optimization_level",
    "tf32",
    "images",
    "data",
    "split",
    "device",
)
DEFAULT_OPSET = 17  # of what a checkpoint is exported with


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that engines alone take."""
    group = parser.add_argument_group("engines (--format engine)")
    group.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        help="what the graph computes in (default fp16); int8 wants --images",
    )
    group.add_argument(
        "--library", choices=tuple(LIBRARIES), help="who builds; by default what is installed and starts"
    )
    group.add_argument(
        "--compute-capability", type=capabilities, metavar="SM86,...",
        help="build ahead of time for these GPUs, without one (TensorRT-RTX); by default what the library "
        "takes, which TensorRT-RTX says: SM80 and later, without SM75 (name it) and SM90",
    )  # fmt: skip
    group.add_argument("--workspace", type=positive, metavar="MB", help="most memory that a layer may take")
    group.add_argument("--optimization-level", type=int, metavar="0-5", help="0 builds fast, 5 searches long")
    group.add_argument(
        "--tf32", type=flag, nargs="?", const=True, metavar="BOOL", help="let float32 layers be computed in TF32"
    )
    group.add_argument("--images", metavar="DIR", help="int8: real pictures to calibrate on")
    group.add_argument(
        "--data", metavar="DIR",
        help="labelled pictures (COCO): measure what the precision costs, with the engine itself where there is its GPU, else "
        "with its graph on the CPU",
    )  # fmt: skip
    group.add_argument(
        "--device",
        metavar="cuda:N",
        help="the GPU that TensorRT builds for, and that runs the engine for --data (default cuda)",
    )
    group.add_argument("--split", metavar="NAME", help="which part of --data (default val2017)")
    group.add_argument(
        "--quiet", type=flag, nargs="?", const=True, default=False, metavar="BOOL", help="print the report only"
    )


def capabilities(text: str) -> tuple[str, ...]:
    """Read compute capabilities as SM86,SM89 or 8.6,8.9."""
    found = []
    for word in text.split(","):
        match = re.fullmatch(r"(?:sm_?)?(\d{1,2})\.?(\d)", word.strip().lower())
        if not match:
            raise argparse.ArgumentTypeError(f"must be compute capabilities such as SM86,SM89, got {text!r}")
        found.append(f"SM{match[1]}{match[2]}")
    return tuple(found)


def batches(text: str) -> int | str | tuple[int, int, int]:
    """Read a number of pictures, "free", or least:best:largest."""
    if text.lower() in ("free", "dynamic"):
        return "free"
    parts = [positive(part) for part in text.split(":")]
    if len(parts) not in (1, 3):
        raise argparse.ArgumentTypeError(f"must be one number or least:best:largest, got {text!r}")
    return parts[0] if len(parts) == 1 else (parts[0], parts[1], parts[2])


def sizes(text: str) -> int | tuple[int, int] | Sizes:
    """Read an input size, or least:best:largest."""
    parts = [size(part) for part in text.split(":")]
    if len(parts) == 1:
        return parts[0]
    if len(parts) != 3:
        raise argparse.ArgumentTypeError(f"must be one size or least:best:largest, got {text!r}")
    least, best, largest = ((part, part) if isinstance(part, int) else part for part in parts)
    return least, best, largest


def refuse_engine_options(args: argparse.Namespace) -> None:
    """Raise ValueError where another format is given what engines alone take."""
    given = [name for name in _OPTIONS if getattr(args, name) is not None]
    if isinstance(args.batch, tuple):
        given.append("batch least:best:largest")
    if isinstance(args.imgsz, tuple) and isinstance(args.imgsz[0], tuple):
        given.append("imgsz least:best:largest")
    if given:
        raise ValueError(f"--{given[0].replace('_', '-')} is for --format engine")


def refuse_unused(args: argparse.Namespace, model: Path, precision: str) -> None:
    """Raise ValueError for an option that would change nothing."""
    is_checkpoint = model.suffix.lower() == ".safetensors"
    wrong = {
        "--half is for --format onnx; engines take --precision fp16": args.half,
        f"--images is for --precision int8, got {precision}": args.images and precision != "int8",
        "--split is of --data, which is not given": args.split and not args.data,
        "--dynamic is for checkpoints; an .onnx file has its sizes free or not": args.dynamic and not is_checkpoint,
        "--opset is for checkpoints; an .onnx file has its own": args.opset and not is_checkpoint,
    }
    for text, is_given in wrong.items():
        if is_given:
            raise ValueError(text)


def run(args: argparse.Namespace, path: Path, suppression: Any) -> int:
    """Build the engine and print the report; `suppression` is what a checkpoint's graph keeps."""
    from yolokkn.deploy.engine_export import calibrate_on, check_precision, export_engine

    model, precision, device = Path(args.model or args.path), args.precision or "fp16", args.device or "cuda"
    refuse_unused(args, model, precision)
    gpu_index(device)
    options = EngineOptions(args.compute_capability or (), args.workspace, args.optimization_level, bool(args.tf32))
    batch, imgsz = _triple(args.batch), _sizes(args.imgsz)
    best = None if imgsz is None else imgsz[1]
    for written in (path, manifest_path(path)):
        refuse_existing(written, args.overwrite, files_read(args))  # before pictures are read
    labelled = find_coco_files(args.data, args.split or "val2017", None, None) if args.data else None
    content = onnx_of(model, args, batch, imgsz, suppression)
    engine_profiles(parse_model(content, model.name), batch=batch, imgsz=imgsz)  # sizes that cannot be
    if labelled is not None:
        map_model_classes(load(content, imgsz=best), CocoDataset.load(labelled[0]))
    calibration = calibrate_on(content, args.images, imgsz=best) if precision == "int8" and args.images else None
    if not check_precision(parse_model(content, model.name), precision, calibration) and args.images:
        raise ValueError(f"--images is to calibrate on, and {model.name} computes in {precision} already")
    profile = None if args.dynamic and imgsz is not None and imgsz[0] == imgsz[2] else imgsz  # every size up to it
    with phases(args.quiet) as (on_progress, say):
        report = export_engine(
            content,
            path,
            name=model.name,
            precision=precision,
            batch=batch,
            imgsz=profile,
            library=args.library,
            options=options,
            calibration=calibration,
            device=device,
            overwrite=args.overwrite,
            on_progress=on_progress,
            say=lambda text: say(f"yolokkn export: {text}"),
        )
    print(report.text())
    if args.device and labelled is None and report.manifest.request.library == "tensorrt_rtx":
        print(
            "yolokkn export: --device: TensorRT-RTX builds without a GPU; it counts for --data alone", file=sys.stderr
        )
    if calibration is not None and calibration.seen is not None:
        say_calibration(content, calibration.seen, model.name)
    if labelled is not None:
        measure(content, report, precision, calibration, labelled, args, best)
    return EXIT_OK


def say_calibration(content: bytes, seen: Any, name: str) -> None:
    """Print what int8 was calibrated on, and which layers it leaves in float32."""
    from yolokkn.deploy.quantize import plan_layers

    print(seen.text())
    print(plan_layers(content, name=name).text())
    for warning in seen.warnings():
        print(f"yolokkn export: warning: {warning}", file=sys.stderr)


def measure(
    content: bytes,
    report: Any,
    precision: str,
    calibration: Any,
    labelled: tuple[Path, Path],
    args: argparse.Namespace,
    imgsz: tuple[int, int] | None,
) -> None:
    """Print what the precision costs: AP of the model on the CPU and of the engine, or of its graph, on the same pictures."""
    from yolokkn.cli.accuracy import print_accuracy
    from yolokkn.deploy.engine_export import check_precision, turn, why_not_here

    device = args.device or "cuda"
    problem = why_not_here(report.path, device)
    after, options = report.path, {"device": device}
    if problem is not None:
        print(
            f"yolokkn export: the AP is that of the graph, run on the CPU; the engine itself was not run: {problem}",
            file=sys.stderr,
        )
        after, options = report.graph, {}
        if not after:  # the engine came from the cache
            is_turned = check_precision(parse_model(content), precision, calibration)
            after = turn(content, precision, calibration, "model") if is_turned else content
    print_accuracy(
        content, after, labelled, prog="yolokkn export", calibrated_on=args.images, quiet=args.quiet, imgsz=imgsz,
        after_options=options,
    )  # fmt: skip


def onnx_of(model: Path, args: argparse.Namespace, batch: Any, imgsz: Sizes | None, suppression: Any) -> bytes:
    """Return a model's ONNX file; a checkpoint is exported in memory, with the sizes free that are to be."""
    if model.suffix.lower() != ".safetensors":
        from yolokkn.deploy.engine_export import state_layout

        content = read_content(str(model), None)
        best = None if imgsz is None else imgsz[1]
        return state_layout(content, args.layout, model.name, best) if args.layout else content
    deploy = import_deploy(str(model))
    network, _ = deploy.load_network(model)
    is_free = args.batch == "free" or (batch is not None and batch[0] != batch[2])
    is_dynamic = args.dynamic or (imgsz is not None and imgsz[0] != imgsz[2])
    content, report = deploy.build_onnx(
        network,
        imgsz=None if imgsz is None else imgsz[2],
        batch=None if is_free else (batch or (1, 1, 1))[0],
        dynamic_hw=is_dynamic,
        opset=args.opset or DEFAULT_OPSET,
        layout=args.layout,
        suppression=suppression,
    )
    if not args.quiet:
        print(f"yolokkn export: {report.text()}", file=sys.stderr)
    return content


def _triple(batch: int | str | tuple[int, int, int] | None) -> tuple[int, int, int] | None:
    if batch == "free":
        raise ValueError("--batch must be one number or least:best:largest for engines, got free")
    return (batch, batch, batch) if isinstance(batch, int) else batch if isinstance(batch, tuple) else None


def _sizes(imgsz: Any) -> Sizes | None:
    if isinstance(imgsz, int):
        imgsz = (imgsz, imgsz)
    if imgsz is None or isinstance(imgsz[0], tuple):
        return imgsz
    return imgsz, imgsz, imgsz
