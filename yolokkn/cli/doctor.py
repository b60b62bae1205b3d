"""`yolokkn doctor`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.cli.arguments import EXIT_CODES, EXIT_FAILED, EXIT_OK, Parser, flag, run_verb, words
from yolokkn.cli.model_options import add_model_options, import_deploy, read_anchors, read_names
from yolokkn.errors import MissingDependencyError, printable
from yolokkn.files import refuse_existing, write_atomically
from yolokkn.graph.precision import less_exact
from yolokkn.runtime.installation import as_lines, installation
from yolokkn.runtime.model import Model
from yolokkn.runtime.parity import compare_models
from yolokkn.runtime.parity_models import PLAIN, OpenedModels, open_models
from yolokkn.runtime.parity_report import PictureParity, as_table
from yolokkn.runtime.sources import open_source
from yolokkn.runtime.sources.images import read_image
from yolokkn.runtime.tolerances import tolerance_table

EXAMPLES = """examples:
  yolokkn doctor                                      is this installation sound?
  yolokkn doctor yolov8n.onnx street.jpg              do all backends give the same?
  yolokkn doctor best-int8.onnx street.jpg --reference best.onnx
  yolokkn doctor best.safetensors street.jpg          torch against the ONNX file that export would write

stages:
  preprocess   the picture as the network gets it, against the slow NumPy twin
  network      raw outputs for one and the same input, against the file run without any optimisation
  decode, nms, masks, keypoints
               the C++ kernels against their slow twins, on one and the same raw output
  detections   the whole way from picture to detections against the reference's

tolerances, by the precision of the file (of the less exact of two; int8-same: one int8 file on two backends):
"""
CODES = "\n\nA difference beyond them is exit code 1.\n\n" + EXIT_CODES


def main(argv: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    table = "\n".join(f"  {line}" for line in tolerance_table().splitlines())
    parser = Parser(
        prog="yolokkn doctor",
        description="Run pictures through every backend, stage by stage, and name the first stage that differs from the "
        "slow reference. Without MODEL: check the installation with the packaged model.",
        epilog=EXAMPLES + table + CODES,
    )
    parser.add_argument("path", nargs="?", metavar="MODEL", help="the same as --model")
    parser.add_argument(
        "images", nargs="*", metavar="IMAGE", help="pictures; by default a frame of the demo, or a drawn one"
    )
    parser.add_argument("--reference", metavar="FILE", help="the original of MODEL, held to be right")
    parser.add_argument("--json", metavar="FILE", help="write everything as JSON")
    parser.add_argument(
        "--overwrite", type=flag, nargs="?", const=True, default=False, metavar="BOOL", help="replace an existing file"
    )
    add_model_options(parser, conf=0.25)
    parser.change(
        "backend", default=None, help="such as openvino or onnxruntime:cuda,openvino; all that are there by default"
    )
    parser.intermixed = True
    args = parser.parse(argv)
    return run_verb("yolokkn doctor", run, args)


def run(args: argparse.Namespace) -> int:
    """Print the installation, the model and one table a picture; returns 1 where something differs."""
    if args.model and args.path:
        args.images.insert(0, args.path)
    if args.json:
        refuse_existing(Path(args.json), args.overwrite)
    pictures = [(path, read_image(path)) for path in args.images]
    model = args.model or args.path
    facts = installation()
    print("\n".join(as_lines(facts)))
    opened, reference, said, precision = open_both(args, model)
    print(printable("\n".join(describe(opened))))
    if not pictures:
        pictures = [default_picture()]
    results = []
    for name, image in pictures:
        found = compare_models(opened.models, reference, image, precision=precision, picture=name, reference_name=said)
        print(printable("\n" + as_table(found)))
        results.append(found)
    if args.json:
        write_atomically(Path(args.json), as_json(facts, opened, results))
    return EXIT_OK if all(result.agrees for result in results) else EXIT_FAILED


def open_both(args: argparse.Namespace, model: str | None) -> tuple[OpenedModels, Model, str, str]:
    """Open the model and its reference; returns them, the reference in words, and whose tolerances hold."""
    backends = None if args.backend is None else words(args.backend)
    opened, plain = open_any(args, model, backends)
    if args.reference is None:
        same = "int8-same" if opened.computes_in == "int8" else opened.computes_in
        return opened, plain, "NumPy around torch" if is_checkpoint(model) else PLAIN, same
    other, reference = open_any(args, args.reference, [])
    first = next(iter(opened.models.values()))
    reference = replace(reference, rectangular=first.rectangular)
    return opened, reference, other.name, less_exact(opened.precision, other.precision)


def open_any(args: argparse.Namespace, model: str | None, backends: list[str] | None) -> tuple[OpenedModels, Model]:
    """Open a model file or a checkpoint; returns what runs it, and what the others are held against."""
    options: dict[str, Any] = {
        "device": args.device, "threads": args.threads, "imgsz": args.imgsz, "names": read_names(args.names),
        "letterbox": args.letterbox, "score_threshold": args.conf, "iou_threshold": args.iou,
        "max_detections": args.max_det, "agnostic": args.agnostic, "classes": args.classes,
    }  # fmt: skip
    if is_checkpoint(model):
        deploy = import_deploy(str(model))
        opened, in_torch = deploy.open_checkpoint_models(Path(str(model)), backends=backends, **options)
        return opened, in_torch
    options |= {"layout": args.layout, "anchors": read_anchors(args.anchors)}
    opened = open_models(model, backends=backends, **options)
    return opened, opened.plain


def is_checkpoint(model: str | None) -> bool:
    """Tell a checkpoint by its name."""
    return model is not None and Path(model).suffix.lower() == ".safetensors"


def describe(opened: OpenedModels) -> list[str]:
    """Return what the model is and where it runs, for people."""
    model = opened.plain
    threads = next(iter(opened.models.values())).backend.threads if opened.models else None
    producer = f" ({opened.producer})" if opened.producer else ""
    computes = "" if opened.computes_in == opened.precision else f", computed in {opened.computes_in}"
    h, w = model.input_hw
    size = f"{h} x {w}" + (
        f", or smaller by the picture's aspect, multiples of {model.stride}" if model.rectangular else ""
    )
    return [
        f"model     {opened.name}{producer}, {opened.precision}: {opened.precision_reason}{computes}",
        f"layout    {model.layout.name}: {model.reason}; task {model.layout.task}",
        f"picture   {size}; {model.layout.preprocess}",
        f"backends  {', '.join(opened.models)}, {threads or 'all'} threads",
        *(f"          not {name}: {why}" for name, why in opened.missing.items()),
    ]


def default_picture() -> tuple[str, np.ndarray]:
    """Return a picture to look at where none is given: a frame of the demo clip, or a drawn scene; and what it is."""
    try:
        with open_source("demo") as source:
            frame = next(iter(source))
        return "the demo clip's first frame", frame.image
    except MissingDependencyError:
        from yolokkn.data.toy_scene import ToyScene, draw_scene

        return "a drawn scene", draw_scene(0, 0, ToyScene((480, 640), persons=True, max_objects=8)).image


def as_json(facts: dict[str, Any], opened: OpenedModels, results: list[PictureParity]) -> str:
    """Return everything as JSON."""
    model = opened.plain
    report = {
        "installation": facts,
        "model": {
            "name": opened.name,
            "producer": opened.producer,
            "precision": opened.precision,
            "computes_in": opened.computes_in,
            "precision_reason": opened.precision_reason,
            "layout": model.layout.name,
            "layout_reason": model.reason,
            "task": model.layout.task,
            "input_hw": list(model.input_hw),
            "preprocess": str(model.layout.preprocess),
            "class_names": list(model.class_names),
            "backends": list(opened.models),
            "missing": opened.missing,
        },
        "agrees": all(result.agrees for result in results),
        "pictures": [result.numbers() for result in results],
    }
    return json.dumps(finite(report), indent=2, allow_nan=False) + "\n"


def finite(value: Any) -> Any:
    """Return plain values with numbers that JSON does not know, such as infinity, as text."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value
