"""The options that choose a model and what is kept of its outputs: the same words in every verb."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from yolokkn.cli.arguments import flag, positive, share, size, words
from yolokkn.errors import MissingDependencyError, printable
from yolokkn.graph.precision import PRECISIONS
from yolokkn.runtime.load import load
from yolokkn.runtime.model import Model


def add_model_options(
    parser: argparse.ArgumentParser, *, conf: float | None, iou: float = 0.7, precision: bool = True, rect: bool = True
) -> None:
    """Add the options; `conf` None leaves the thresholds out (a verb that does not run pictures).

    Args:
        parser: The verb's.
        conf: The default score threshold.
        iou: The default IoU of the suppression.
        precision: Whether the verb lets an engine's precision be chosen.
        rect: Whether it lets the input of a file of fixed size follow the frame's aspect.
    """
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        metavar="FILE|NAME",
        help="an .onnx file, an .engine, darknet's .cfg or .weights, a .safetensors checkpoint, or the name of a packaged model",
    )
    group.add_argument("--layout", metavar="NAME", help="what the outputs mean, where the file does not say")
    group.add_argument("--imgsz", type=size, metavar="N|HxW", help="input size, for a model of dynamic size")
    if rect:
        group.add_argument(
            "--rect", type=flag, nargs="?", const=True, default=False, metavar="BOOL",
            help="let the input follow the frame's aspect, for .onnx files of fixed size too: quicker, nearly the same results",
        )  # fmt: skip
    group.add_argument("--names", metavar="FILE|A,B", help="class names: a text file, one a line; a list; or coco")
    group.add_argument("--anchors", metavar="JSON", help="anchors of raw heads: [[[w, h], ...] per head], input pixels")
    group.add_argument("--letterbox", metavar="RULE", help="letterbox, topleft or stretch, instead of the layout's own")
    group.add_argument(
        "--backend",
        metavar="NAME",
        help="onnxruntime (default), openvino, tensorrt (default for engines), or auto: the fastest "
        "on this CPU with the same outputs, measured once and remembered",
    )
    if precision:
        group.add_argument(
            "--precision", dest="engine_precision", choices=PRECISIONS,
            help="of the engine that --backend tensorrt builds of an .onnx file: fp16 (default for float32 files; the head stays "
            "float32) or fp32; int8 for files that are int8 already",
        )  # fmt: skip
    group.add_argument("--device", metavar="NAME", help="what the backend offers; cpu by default, cuda for tensorrt")
    group.add_argument(
        "--trust-engine", type=flag, nargs="?", const=True, default=False, metavar="BOOL",
        help="run an engine that yolokkn did not write; engines are machine code, which may do what you may",
    )  # fmt: skip
    group.add_argument("--threads", type=positive, metavar="N", help="threads for the network; all cores by default")
    if conf is None:
        return
    group = parser.add_argument_group("detections")
    group.add_argument("--conf", type=share, default=conf, metavar="X", help=f"keep scores above it (default {conf})")
    group.add_argument(
        "--iou", type=share, default=iou, metavar="X", help=f"suppress boxes that overlap more (default {iou})"
    )
    group.add_argument("--classes", type=words, metavar="A,B", help="keep these classes, by id or name")
    group.add_argument("--max-det", type=positive, default=300, metavar="N", help="at most so many (default 300)")
    group.add_argument(
        "--agnostic", type=flag, nargs="?", const=True, default=False, metavar="BOOL", help="suppress across classes"
    )


def read_names(text: str | None) -> list[str] | str | None:
    """Read --names: a file with one name a line, a comma-separated list, or "coco"."""
    if text is None or text == "coco":
        return text
    path = Path(text)
    if path.suffix in (".txt", ".names") or path.is_file():
        return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    return words(text)


def read_anchors(text: str | None) -> Any:
    """Read --anchors: JSON."""
    try:
        return None if text is None else json.loads(text)
    except ValueError as error:
        raise ValueError(f"--anchors must be JSON, got {text!r}: {error}") from None


def load_model(args: argparse.Namespace, *, default: bool = False, says_choice: bool = True, **options: Any) -> Model:
    """Load the model that the command line names; with `default`, where it names none, the one that comes with the package.

    With `says_choice`, what `--backend auto` chose is said on standard error.
    """
    if not args.model and not default:
        raise ValueError("--model FILE must be given")
    if args.model and Path(args.model).suffix.lower() == ".safetensors":
        model = load_checkpoint(args, **options)
        return model.with_options(classes=args.classes) if getattr(args, "classes", None) else model
    model = load(args.model or None, **load_options(args), **options)
    if model.backend.choice and says_choice:
        print(printable(f"backend {model.backend.choice}"), file=sys.stderr)
    if getattr(args, "classes", None):
        return model.with_options(classes=args.classes)
    return model


def load_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the group of options about the model says, as `yolokkn.load` takes it."""
    return {
        "device": args.device,
        "backend": args.backend,
        "layout": args.layout,
        "imgsz": args.imgsz,
        "names": read_names(args.names),
        "anchors": read_anchors(args.anchors),
        "letterbox": args.letterbox,
        "threads": args.threads,
        "trust_engine": args.trust_engine,
        "precision": getattr(args, "engine_precision", None),
        "rect": getattr(args, "rect", False),
    }


def load_checkpoint(args: argparse.Namespace, **options: Any) -> Model:
    """Load the checkpoint that the command line names; it runs in torch, and says itself what else is to be known."""
    deploy = import_deploy(args.model)
    for name, default in (("layout", None), ("anchors", None), ("backend", None), ("rect", False)):
        if getattr(args, name) != default:
            raise ValueError(f"--{name} is for model files; a checkpoint runs in torch as it was trained")
    if getattr(args, "engine_precision", None) is not None:
        raise ValueError("--precision is for --backend tensorrt; a checkpoint runs in torch as it was trained")
    if args.threads is not None:
        deploy.set_threads(args.threads)
    names, device, letterbox = read_names(args.names), args.device or "cpu", args.letterbox
    return deploy.load_checkpoint_model(
        Path(args.model), device=device, imgsz=args.imgsz, names=names, letterbox=letterbox, **options
    )


def import_deploy(what: str) -> Any:
    """Import `yolokkn.deploy`, which needs torch.

    Raises:
        MissingDependencyError: Torch is not installed.
    """
    from yolokkn import deploy

    try:
        importlib.import_module("yolokkn.deploy.checkpoint_model")  # the package itself does without torch
    except ImportError as error:
        raise MissingDependencyError(
            f"{what}: torch must be installed for checkpoints; run: pip install 'yolokkn[train]'"
        ) from error
    return deploy
