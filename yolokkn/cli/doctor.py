"""`yolokkn doctor`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.cli.arguments import EXIT_CODES, EXIT_FAILED, EXIT_OK, Parser, flag, run_verb, words
from yolokkn.cli.doctor_report import as_json, describe, of_results, start_report
from yolokkn.cli.info_engine import engine_as_text, engine_as_values
from yolokkn.cli.model_options import add_model_options, import_deploy, read_anchors, read_names
from yolokkn.cli.places import files_read
from yolokkn.errors import MissingDependencyError, YolokknError, printable
from yolokkn.files import refuse_existing, write_atomically
from yolokkn.graph import read_model
from yolokkn.graph.precision import less_exact
from yolokkn.runtime.assets import resolve_model
from yolokkn.runtime.engine_facts import EngineFacts, engine_facts
from yolokkn.runtime.installation import as_lines, installation
from yolokkn.runtime.model import Model
from yolokkn.runtime.parity import compare_models
from yolokkn.runtime.parity_models import PLAIN, OpenedModels, is_engine, open_models
from yolokkn.runtime.parity_report import as_line, as_table
from yolokkn.runtime.parity_summary import summarize, summary_table
from yolokkn.runtime.sources import open_source
from yolokkn.runtime.sources.images import read_image
from yolokkn.runtime.tolerances import tolerance_table

CONF = 0.25  # what lies above it counts
MANY = 5  # pictures: of more, those that agree take a line each

EXAMPLES = """examples:
  yolokkn doctor                                      is this installation sound?
  yolokkn doctor yolov8n.onnx street.jpg              do all backends give the same?
  yolokkn doctor best-int8.onnx street.jpg --reference best.onnx
  yolokkn doctor best.safetensors street.jpg          torch against the ONNX file that export would write
  yolokkn doctor best.engine street.jpg --reference best.onnx
                                                      on the GPU; without one it says what the engine is, and fails

stages:
  preprocess   the picture as the network gets it, against the slow NumPy twin
  network      raw outputs for one and the same input, against the file run without any optimisation; r: how the
               scores of all cells correlate, where single numbers may differ
  decode, nms, masks, keypoints
               the C++ kernels against their slow twins, on one and the same raw output
  detections   the whole way from picture to detections against the reference's: boxes, scores, classes, order

Several pictures are summed up: which detections are kept, with their class and an IoU of 0.5 or 0.75, and which scores
both sides give. 50 detections or more are judged together, more strictly than one by one: for int8 take 100 pictures.
An int8 file is NOT judged, exit code 1, where its reference finds fewer than three detections, or most of them are
lost though none is surely wrong ("unsure": their scores lie near the threshold).

tolerances, by the precision of the file (of the less exact of two; int8-same: one int8 file on two backends):
"""
CODES = (
    """

A box may lie off by the pixels and the share of its side together. "Unmatched or beyond" counts what no threshold
explains: not scores within 0.02 of it, nor, within the tolerance of scores, up to half of a picture's detections.

A difference beyond them is exit code 1.

"""
    + EXIT_CODES
)


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
        "images",
        nargs="*",
        metavar="IMAGE",
        help="pictures, or folders of them; by default a frame of the demo, or a drawn one",
    )
    parser.add_argument("--reference", metavar="FILE", help="the original of MODEL, held to be right")
    parser.add_argument("--json", metavar="FILE", help="write everything as JSON")
    parser.add_argument(
        "--overwrite", type=flag, nargs="?", const=True, default=False, metavar="BOOL", help="replace an existing file"
    )
    add_model_options(parser, conf=CONF, precision=False, rect=False)
    parser.change(
        "backend", default=None, help="such as openvino or onnxruntime:cuda,openvino; all that are there by default"
    )
    parser.change(
        "conf",
        default=None,
        help=f"compare scores above it (default {CONF}, lowered on pictures where the reference finds fewer than three)",
    )
    parser.intermixed = True
    args = parser.parse(argv)
    return run_verb("yolokkn doctor", run, args)


def run(args: argparse.Namespace) -> int:
    """Print the installation, the model, what each picture shows and what all do; returns 1 where something differs."""
    if args.model and args.path:
        args.images.insert(0, args.path)
    if args.json:
        refuse_existing(Path(args.json), args.overwrite, files_read(args))
    pictures = find_pictures(args.images)
    model = args.model or args.path
    facts = installation()
    print("\n".join(as_lines(facts)))
    engine = show_engine(Path(model), args) if is_engine(model) else None
    try:
        opened, reference, said, precision = open_both(args, model, engine)
    except YolokknError as error:
        if engine is None:
            raise
        if args.json:
            write_atomically(Path(args.json), as_json({**start_report(facts, engine), "not_compared": str(error)}))
        raise type(error)(f"{engine.path.name} was NOT compared: {error}") from error
    print(printable("\n".join(describe(opened))))
    results, is_lowered = [], args.conf is None
    for name, read in pictures:
        found = compare_models(
            opened.models, reference, read(), precision=precision, picture=name, reference_name=said, lower=is_lowered
        )
        print(printable(as_line(found) if found.agrees and len(pictures) > MANY else "\n" + as_table(found)))
        results.append(found)
    if len(results) > 1 or precision != "fp32":
        print(printable("\n" + summary_table(results)))
    agrees = all(result.agrees for result in results) and all(one.agrees for one in summarize(results))
    if args.json:
        write_atomically(Path(args.json), as_json(start_report(facts, engine) | of_results(opened, results, agrees)))
    return EXIT_OK if agrees else EXIT_FAILED


def find_pictures(paths: Sequence[str]) -> list[tuple[str, Callable[[], np.ndarray]]]:
    """Return the name of each picture and what reads it; those named one by one are read at once, which says what is wrong."""
    found: list[tuple[str, Callable[[], np.ndarray]]] = []
    for path in paths:
        if Path(path).is_dir():
            found += [(file, partial(read_image, file)) for file in getattr(open_source(path), "paths", [])]
        else:
            image = read_image(path)
            found.append((path, partial(np.asarray, image)))
    if not found:
        name, image = default_picture()
        found.append((name, partial(np.asarray, image)))
    return found


def show_engine(path: Path, args: argparse.Namespace) -> EngineFacts:
    """Print what an engine is, which no GPU is needed for.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: There is nothing to hold it against.
    """
    engine = engine_facts(path)
    print(engine_as_text(engine_as_values(engine)))
    if args.reference is None:
        made_of = f", such as {engine.manifest.name}, which it was made of" if engine.manifest else ""
        raise ValueError(f"{path.name} was NOT compared: --reference FILE must be given, an .onnx file{made_of}")
    if engine.manifest is not None:
        is_it = is_made_of(engine, args.reference)
        print(
            printable(
                f"reference {args.reference}: " + ("what it was made of" if is_it else "NOT the file it was made of")
            )
        )
    return engine


def open_both(
    args: argparse.Namespace, model: str | None, engine: EngineFacts | None
) -> tuple[OpenedModels, Model, str, str]:
    """Open the model and its reference; returns them, the reference in words, and whose tolerances hold."""
    backends = None if args.backend is None else words(args.backend)
    opened, plain = open_any(args, model, backends)
    if args.reference is None:
        same = "int8-same" if opened.computes_in == "int8" else opened.computes_in
        return opened, plain, "NumPy around torch" if is_checkpoint(model) else PLAIN, same
    other, reference = open_any(args, args.reference, [])
    reference = replace(reference, rectangular=opened.one.rectangular)
    precision = less_exact(opened.precision, other.precision)
    if engine is not None and other.computes_in == "int8" and is_made_of(engine, args.reference):
        precision = "int8-same"
    return opened, reference, other.name, precision


def is_made_of(engine: EngineFacts, reference: str) -> bool:
    """Tell whether an engine was made of this very model file."""
    path = Path(resolve_model(reference))
    return path.suffix.lower() == ".onnx" and bool(engine.made_of(path.read_bytes(), read_model(path).to_bytes()))


def open_any(args: argparse.Namespace, model: str | None, backends: list[str] | None) -> tuple[OpenedModels, Model]:
    """Open a model file or a checkpoint; returns what runs it, and what the others are held against."""
    options: dict[str, Any] = {
        "device": args.device, "threads": args.threads, "imgsz": args.imgsz, "names": read_names(args.names),
        "letterbox": args.letterbox, "score_threshold": CONF if args.conf is None else args.conf, "iou_threshold": args.iou,
        "max_detections": args.max_det, "agnostic": args.agnostic, "classes": args.classes,
    }  # fmt: skip
    if is_checkpoint(model):
        deploy = import_deploy(str(model))
        opened, in_torch = deploy.open_checkpoint_models(Path(str(model)), backends=backends, **options)
        return opened, in_torch
    options |= {"layout": args.layout, "anchors": read_anchors(args.anchors), "trust_engine": args.trust_engine}
    opened = open_models(model, backends=backends, **options)
    return opened, opened.one


def is_checkpoint(model: str | None) -> bool:
    """Tell a checkpoint by its name."""
    return model is not None and Path(model).suffix.lower() == ".safetensors"


def default_picture() -> tuple[str, np.ndarray]:
    """Return a picture to look at where none is given: a frame of the demo clip, or a drawn scene; and what it is."""
    try:
        with open_source("demo") as source:
            frame = next(iter(source))
        return "the demo clip's first frame", frame.image
    except MissingDependencyError:
        from yolokkn.data.toy_scene import ToyScene, draw_scene

        return "a drawn scene", draw_scene(0, 0, ToyScene((480, 640), persons=True, max_objects=8)).image
