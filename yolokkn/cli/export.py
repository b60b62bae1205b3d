"""`yolokkn export`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolokkn.cli import export_engine
from yolokkn.cli.arguments import EXIT_CODES, EXIT_OK, Parser, flag, positive, run_verb
from yolokkn.cli.export_engine import DEFAULT_OPSET
from yolokkn.cli.model_options import import_deploy
from yolokkn.cli.places import default_place, files_read, require_suffix
from yolokkn.errors import did_you_mean
from yolokkn.files import refuse_existing
from yolokkn.layouts import EXPORT_LAYOUTS
from yolokkn.runtime.backends import ENGINE_SUFFIXES

EXAMPLES = """examples:
  yolokkn export --model best.safetensors --save best.onnx
  yolokkn export best.safetensors --half --imgsz 384x640
  yolokkn export model=best.safetensors save=any.onnx batch=free dynamic=true
  yolokkn export --model best.safetensors --format engine --batch 1:4:8
  yolokkn export --model yolox_nano.onnx --format engine --compute-capability SM86,SM89
  yolokkn export --format triton --model yolox_nano.onnx --save repository/
  yolokkn export best.safetensors --layout end2end --conf 0.25 --save finished.onnx

"""
FORMATS = ("onnx", "engine", "triton")


def main(argv: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = Parser(
        prog="yolokkn export",
        description="Write a checkpoint as an ONNX file, which is run beside the network and kept only if it gives the same; "
        "or a checkpoint or ONNX file as a TensorRT engine; or an ONNX file into a model repository of Triton.",
        epilog=EXAMPLES + EXIT_CODES,
    )
    parser.add_argument("path", nargs="?", metavar="CHECKPOINT", help="the same as --model")
    parser.add_argument("--model", metavar="FILE", help="a .safetensors checkpoint; for an engine an .onnx file, too")
    parser.add_argument(
        "--save",
        "--out",
        metavar="FILE",
        help="the .onnx or .engine file to write; by default MODEL.onnx or MODEL.engine in the current folder; of triton: the "
        "repository's folder",
    )
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
        "--layout", metavar="NAME",
        help=f"of a checkpoint ({', '.join(EXPORT_LAYOUTS)}): what the file gives: raw maps that yolokkn's kernels decode, the "
        "smallest graph (default for detection with anchors); decoded as readers of YOLOv8's files expect (default else); "
        "end2end: finished boxes, suppressed inside; efficientnms, deepstream: as those take them, boxes alone. Of an .onnx "
        "file that becomes an engine: what its outputs mean, where it does not say; the engine says it then",
    )  # fmt: skip
    add_suppression(parser)
    parser.add_argument(
        "--opset", type=positive, metavar="N", help=f"version of the operators, 11 to 18 (default {DEFAULT_OPSET})"
    )
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


def is_checkpoint(model: str) -> bool:
    """Tell whether a model's name is that of a checkpoint."""
    return model.lower().endswith(".safetensors")


def suppression_of(args: argparse.Namespace) -> Any:
    """Return what a checkpoint's graph shall keep, None for other models; ValueError where nothing is suppressed."""
    values = {"score_threshold": args.conf, "iou_threshold": args.iou, "max_detections": args.max_det}
    asked = {key: value for key, value in values.items() if value is not None}
    if args.format == "engine" and not is_checkpoint(args.model or args.path):
        if asked:
            raise ValueError("--conf, --iou and --max-det are for checkpoints; an .onnx file keeps what it keeps")
        return None
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
    if args.format == "triton":
        return write_triton(args, model)
    if args.layout not in (None, *EXPORT_LAYOUTS) and (args.format == "onnx" or is_checkpoint(model)):
        raise ValueError(
            f"--layout must be one of {', '.join(EXPORT_LAYOUTS)}, got {args.layout!r}{did_you_mean(args.layout, EXPORT_LAYOUTS)}"
        )
    path = Path(args.save) if args.save else default_place(model, f".{args.format}")
    if args.format == "onnx" and (not is_checkpoint(model) or path.suffix.lower() in ENGINE_SUFFIXES):
        raise ValueError(_what_to_do(model, path))
    require_suffix(path, f".{args.format}")
    if args.format == "engine":
        return export_engine.run(args, path, suppression_of(args))
    export_engine.refuse_engine_options(args)
    refuse_existing(path, args.overwrite, files_read(args))
    deploy = import_deploy(model)
    network, checkpoint = deploy.load_network(Path(model))
    report = deploy.export_onnx(
        network,
        path,
        imgsz=(args.imgsz, args.imgsz) if isinstance(args.imgsz, int) else args.imgsz,
        batch=None if args.batch == "free" else args.batch or 1,
        dynamic_hw=args.dynamic,
        opset=args.opset or DEFAULT_OPSET,
        half=args.half,
        layout=args.layout,
        suppression=suppression_of(args),
        summary=summary_of(checkpoint.manifest),
        overwrite=args.overwrite,
    )
    print(report.text())
    return EXIT_OK


def write_triton(args: argparse.Namespace, model: str) -> int:
    """Write a model repository of Triton."""
    if not model.lower().endswith(".onnx"):
        raise ValueError(
            f"--model must be an .onnx file for --format triton, got {model}; export a checkpoint as one first"
        )
    if not args.save:
        raise ValueError("--save FOLDER must be given: the model repository")
    export_engine.refuse_engine_options(args)
    for name in ("imgsz", "dynamic", "layout", "half", "opset", "conf", "iou", "max_det"):
        if getattr(args, name):
            raise ValueError(f"--{name.replace('_', '-')} is not for --format triton: the file is taken as it is")
    if args.batch is not None and not isinstance(args.batch, int):
        raise ValueError("--batch must be a number for --format triton: the most that the server may join")
    from yolokkn.deploy.triton import write_repository

    written = write_repository(Path(model), Path(args.save), max_batch=args.batch or 8, overwrite=args.overwrite)
    print(written.text(Path(args.save)))
    return EXIT_OK


def _what_to_do(model: str, path: Path) -> str:
    """Say how to come to what was probably meant, where it is not a checkpoint that becomes an ONNX file."""
    if path.suffix.lower() in ENGINE_SUFFIXES:
        return f"--save {path} is an engine's name; say --format engine"
    if Path(model).suffix.lower() in (".pt", ".pth"):
        return f"--model must be a .safetensors checkpoint, got {model}; pickled checkpoints are not read"
    return (
        f"--model must be a .safetensors checkpoint to become an ONNX file, got {model}; for an engine say --format engine, for "
        "another precision: yolokkn quantize"
    )


def summary_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an exported file shall say of its training: the parts of a checkpoint's manifest that are for people."""
    chosen = {key: manifest[key] for key in ("figures", "versions", "epoch", "step") if key in manifest}
    return chosen if len(json.dumps(chosen)) < 50_000 else {"versions": manifest.get("versions", {})}
