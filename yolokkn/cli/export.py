"""`yolokkn export`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolokkn.cli import export_engine
from yolokkn.cli.arguments import EXIT_CODES, EXIT_OK, Parser, flag, positive, run_verb
from yolokkn.cli.model_options import import_deploy
from yolokkn.files import refuse_existing

EXAMPLES = """examples:
  yolokkn export --model best.safetensors --save best.onnx
  yolokkn export best.safetensors --half --imgsz 384x640
  yolokkn export model=best.safetensors save=any.onnx batch=free dynamic=true
  yolokkn export --model best.safetensors --format engine --batch 1:4:8
  yolokkn export --model yolox_nano.onnx --format engine --compute-capability SM86,SM89
  yolokkn export best.safetensors --layout end2end --conf 0.25 --save finished.onnx

"""
FORMATS = ("onnx", "engine")


def main(argv: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = Parser(
        prog="yolokkn export",
        description="Write a checkpoint as an ONNX file, which is run beside the network and kept only if it gives the same; "
        "or a checkpoint or ONNX file as a TensorRT engine.",
        epilog=EXAMPLES + EXIT_CODES,
    )
    parser.add_argument("path", nargs="?", metavar="CHECKPOINT", help="the same as --model")
    parser.add_argument("--model", metavar="FILE", help="a .safetensors checkpoint; for an engine an .onnx file, too")
    parser.add_argument("--save", "--out", metavar="FILE", help="the file to write; by default beside the model")
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="what to write (default onnx)")
    parser.add_argument(
        "--imgsz",
        type=export_engine.sizes,
        metavar="N|HxW",
        help="input size; the training's by default; engines: A:B:C, too",
    )
    parser.add_argument(
        "--batch", type=export_engine.batches, metavar="N|free|A:B:C",
        help="pictures in one run (default 1); for an engine least:best:largest",
    )  # fmt: skip
    parser.add_argument(
        "--dynamic", type=flag, nargs="?", const=True, default=False, metavar="BOOL", help="leave height and width free"
    )
    parser.add_argument(
        "--layout", choices=("raw", "decoded", "end2end", "efficientnms", "deepstream"),
        help="what the file gives: raw maps that yolokkn's kernels decode, the smallest graph (default for detection with "
        "anchors); decoded as readers of YOLOv8's files expect (default else); end2end: finished boxes, suppressed inside; "
        "efficientnms, deepstream: as those take them, boxes alone",
    )  # fmt: skip
    add_suppression(parser)
    parser.add_argument("--opset", type=positive, default=17, metavar="N", help="version of the operators, 11 to 18")
    parser.add_argument(
        "--half", type=flag, nargs="?", const=True, default=False, metavar="BOOL",
        help="store the weights as float16, compute in float32: half the file",
    )  # fmt: skip
    parser.add_argument(
        "--overwrite", type=flag, nargs="?", const=True, default=False, metavar="BOOL", help="replace an existing file"
    )
    export_engine.add_engine_options(parser)
    args = parser.parse(argv)
    return run_verb("yolokkn export", run, args)


def add_suppression(parser: argparse.ArgumentParser) -> None:
    """Add the options of layouts that suppress inside the graph."""
    inside = "inside the graph, for end2end and efficientnms"
    parser.add_argument("--conf", type=float, metavar="X", help=f"least score {inside} (default 0.1)")
    parser.add_argument("--iou", type=float, metavar="X", help=f"IoU of the suppression {inside} (default 0.7)")
    parser.add_argument("--max-det", type=positive, metavar="N", help=f"rows of the table {inside} (default 300)")


def suppression_of(args: argparse.Namespace) -> Any:
    """Return what the graph shall keep; ValueError where the layout suppresses nothing."""
    values = {"score_threshold": args.conf, "iou_threshold": args.iou, "max_detections": args.max_det}
    asked = {key: value for key, value in values.items() if value is not None}
    if asked and args.layout not in ("end2end", "efficientnms"):
        raise ValueError(
            "--conf, --iou and --max-det are of --layout end2end and efficientnms: other files keep every box"
        )
    from yolokkn.models.finished import Suppression

    return Suppression(**asked)


def run(args: argparse.Namespace) -> int:
    """Write the file and print the report."""
    model = args.model or args.path
    if not model:
        raise ValueError("--model FILE must be given")
    path = Path(args.save) if args.save else Path(model).with_suffix(f".{args.format}")
    if args.format == "engine":
        return export_engine.run(args, path, suppression_of(args))
    export_engine.refuse_engine_options(args)
    refuse_existing(path, args.overwrite)
    deploy = import_deploy(model)
    network, checkpoint = deploy.load_network(Path(model))
    report = deploy.export_onnx(
        network,
        path,
        imgsz=(args.imgsz, args.imgsz) if isinstance(args.imgsz, int) else args.imgsz,
        batch=None if args.batch == "free" else args.batch or 1,
        dynamic_hw=args.dynamic,
        opset=args.opset,
        half=args.half,
        layout=args.layout,
        suppression=suppression_of(args),
        summary=summary_of(checkpoint.manifest),
        overwrite=args.overwrite,
    )
    print(report.text())
    return EXIT_OK


def summary_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an exported file shall say of its training: the parts of a checkpoint's manifest that are for people."""
    chosen = {key: manifest[key] for key in ("figures", "versions", "epoch", "step") if key in manifest}
    return chosen if len(json.dumps(chosen)) < 50_000 else {"versions": manifest.get("versions", {})}
