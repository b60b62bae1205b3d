"""`yolokkn quantize`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from yolokkn.cli.accuracy import print_accuracy
from yolokkn.cli.arguments import EXIT_CODES, EXIT_OK, Parser, flag, positive, run_verb, share, words
from yolokkn.cli.model_options import add_model_options, import_deploy, load_options
from yolokkn.cli.places import default_place, files_read, require_suffix
from yolokkn.cli.progress import progress
from yolokkn.deploy.accuracy import compare_speed
from yolokkn.deploy.calibration import CalibrationSeen
from yolokkn.deploy.onnx_check import check_onnx
from yolokkn.deploy.quantize import METHODS, TARGETS, calibration_feeds, plan_layers, quantize_int8
from yolokkn.errors import ModelError
from yolokkn.files import refuse_existing, write_atomically
from yolokkn.graph import darknet_to_onnx, read_model
from yolokkn.graph.half_graph import to_half
from yolokkn.runtime.assets import resolve_model
from yolokkn.runtime.evaluate import find_coco_files
from yolokkn.runtime.load import load

EXAMPLES = """examples:
  yolokkn quantize --model yolox_nano.onnx --images photos/
  yolokkn quantize model=best.safetensors images=coco/train2017 data=coco/ save=best-int8.onnx
  yolokkn quantize --model yolov8n.onnx --precision fp16
  yolokkn quantize --model yolox_nano.onnx --images photos/ --protect Conv_9,Conv_12

int8 needs real pictures of the kind that the model is for (64 to 128 are enough); labels are not looked at. Labelled
ones (--data) tell what it costs: measure on other pictures than those of --images. The last layers before the outputs and
all behind them stay float32. fp16 is for GPUs: on a CPU it runs, but not faster.

"""


def main(argv: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = Parser(
        prog="yolokkn quantize",
        description="Write a model as an ONNX file that computes in int8 or float16, and say what that costs and brings.",
        epilog=EXAMPLES + EXIT_CODES,
    )
    parser.add_argument("path", nargs="?", metavar="MODEL", help="the same as --model")
    parser.add_argument(
        "--images", metavar="SOURCE", help="pictures to calibrate int8 on: a folder, pattern, list, video"
    )
    parser.add_argument("--num-images", type=positive, default=128, metavar="N", help="at most so many (default 128)")
    parser.add_argument(
        "--precision", choices=("int8", "fp16"), default="int8", help="what to compute in (default int8)"
    )
    parser.add_argument(
        "--save",
        metavar="FILE",
        help="the .onnx file to write; by default MODEL-int8.onnx or MODEL-fp16.onnx in the current folder",
    )
    parser.add_argument(
        "--target", choices=TARGETS, default="cpu",
        help="where int8 shall run: cpu (default), or tensorrt, whose graphs OpenVINO miscomputes on CPUs without VNNI",
    )  # fmt: skip
    parser.add_argument(
        "--method", choices=METHODS, default="mse", help="how the range of each value is chosen (default mse)"
    )
    parser.add_argument(
        "--protect", type=words, default=[], metavar="A,B", help="layers that shall stay float32, by name"
    )
    parser.add_argument(
        "--depthwise", type=flag, nargs="?", const=True, default=False, metavar="BOOL",
        help="depthwise convolutions in int8, too: smaller, and often much less accurate",
    )  # fmt: skip
    group = parser.add_argument_group("measurement")
    group.add_argument("--data", metavar="DIR", help="labelled pictures: annotations/instances_SPLIT.json and SPLIT/")
    group.add_argument("--split", default="val2017", metavar="NAME", help="which part of --data (default val2017)")
    group.add_argument(
        "--iou", type=share, default=0.7, metavar="X", help="suppress boxes that overlap more (default 0.7)"
    )
    group.add_argument(
        "--speed", type=flag, nargs="?", const=True, default=True, metavar="BOOL", help="measure it, too (default true)"
    )
    group.add_argument("--json", metavar="FILE", help="write sizes, AP and speed as JSON")
    for name, text in (("overwrite", "replace an existing file"), ("quiet", "no progress bar")):
        parser.add_argument(f"--{name}", type=flag, nargs="?", const=True, default=False, metavar="BOOL", help=text)
    add_model_options(parser, conf=None, precision=False, rect=False)
    args = parser.parse(argv)
    return run_verb("yolokkn quantize", run, args)


def run(args: argparse.Namespace) -> int:
    """Write the file, then measure and print."""
    model = args.model or args.path
    if not model:
        raise ValueError("--model FILE must be given")
    if args.precision == "int8" and not args.images:
        raise ValueError("--images SOURCE must be given: int8 is calibrated on real pictures")
    suffix = f"-{args.precision}.onnx"
    path = Path(args.save) if args.save else default_place(model, suffix)
    require_suffix(path, ".onnx")
    for target in filter(None, (path, Path(args.json) if args.json else None)):
        refuse_existing(target, args.overwrite, files_read(args))
    labelled = find_coco_files(args.data, args.split, None, None) if args.data else None
    before = read_content(model, args.imgsz)
    options = load_options(args)
    seen = CalibrationSeen()
    is_int8 = args.precision == "int8"
    after = _to_int8(before, model, args, options, seen) if is_int8 else to_half(before, Path(model).name)
    check_onnx(after, "quantize", before)
    load(after, **options)  # what cannot be run is not written
    write_atomically(path, after)
    larger = "; it is LARGER" if len(after) > len(before) else ""
    print(f"{path}: {args.precision}, {len(after) / 1e6:.2f} MB (before: {len(before) / 1e6:.2f} MB){larger}")
    if is_int8:
        print(seen.text())
        for warning in seen.warnings():
            print(f"yolokkn quantize: warning: {warning}", file=sys.stderr)
        print(plan_layers(before, protect=args.protect, depthwise=args.depthwise, name=model).text())
    figures = _measure(before, after, labelled, args, options)
    if args.json:
        facts = {"file": path.name, "precision": args.precision, "target": args.target if is_int8 else None}
        sizes = {"bytes_before": len(before), "bytes_after": len(after)}
        write_atomically(Path(args.json), json.dumps({**facts, **sizes, **figures}, indent=2) + "\n")
    return EXIT_OK


def read_content(model: str, imgsz: int | tuple[int, int] | None) -> bytes:
    """Return a model as the bytes of an ONNX file, whatever it is.

    Args:
        model: An ONNX file, darknet's, a checkpoint, or the name of a packaged model.
        imgsz: Input size of a checkpoint; its training's by default.
    """
    path = Path(resolve_model(model))
    suffix = path.suffix.lower()
    if suffix in (".cfg", ".weights"):
        return darknet_to_onnx(path.with_suffix(".cfg"), path.with_suffix(".weights"))
    if suffix == ".safetensors":
        deploy = import_deploy(model)
        network, _ = deploy.load_network(path)
        return deploy.build_onnx(network, imgsz=(imgsz, imgsz) if isinstance(imgsz, int) else imgsz)[0]
    if suffix in (".pt", ".pth", ".engine", ".plan"):
        raise ModelError(f"{path.name}: must be an ONNX file, a checkpoint (.safetensors) or darknet's, got {suffix}")
    return read_model(path).to_bytes()


def _to_int8(
    content: bytes, model: str, args: argparse.Namespace, options: dict[str, Any], seen: CalibrationSeen
) -> bytes:
    plan_layers(content, protect=args.protect, depthwise=args.depthwise, name=model)  # refuse before the long work
    loaded = load(content, **options)
    with progress(args.num_images, args.quiet) as advance:
        feeds = calibration_feeds(loaded, args.images, args.num_images, advance, seen)
        return quantize_int8(
            content, feeds, target=args.target, method=args.method, protect=args.protect, depthwise=args.depthwise,
            name=Path(model).name,
        )  # fmt: skip


def _measure(
    before: bytes, after: bytes, labelled: tuple[Path, Path] | None, args: argparse.Namespace, options: dict[str, Any]
) -> dict[str, Any]:
    """Print what the change costs and brings, and return it as plain values."""
    figures: dict[str, Any] = {}
    if labelled is not None:
        delta = print_accuracy(
            before, after, labelled, prog="yolokkn quantize", quiet=args.quiet, iou_threshold=args.iou,
            calibrated_on=args.images if args.precision == "int8" else None, **options,
        )  # fmt: skip
        figures["accuracy"] = asdict(delta)
    if args.speed and args.precision == "int8" and args.target == "tensorrt":
        print("speed: not measured, for what CPUs make of a graph for TensorRT says nothing about it")
    elif args.speed:
        print("the network alone, both in turn:")
        ratios = compare_speed(before, after, **{k: v for k, v in options.items() if k != "backend"})
        for ratio in ratios:
            print(f"  {ratio.text()}")
        figures["speed"] = [asdict(ratio) | {"times_as_fast": ratio.ratio} for ratio in ratios]
    return figures
