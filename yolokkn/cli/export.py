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


def run(args: argparse.Namespace) -> int:
    """Write the file and print the report."""
    model = args.model or args.path
    if not model:
        raise ValueError("--model FILE must be given")
    path = Path(args.save) if args.save else Path(model).with_suffix(f".{args.format}")
    if args.format == "engine":
        return export_engine.run(args, path)
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
        summary=summary_of(checkpoint.manifest),
        overwrite=args.overwrite,
    )
    print(report.text())
    return EXIT_OK


def summary_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an exported file shall say of its training: the parts of a checkpoint's manifest that are for people."""
    chosen = {key: manifest[key] for key in ("figures", "versions", "epoch", "step") if key in manifest}
    return chosen if len(json.dumps(chosen)) < 50_000 else {"versions": manifest.get("versions", {})}
