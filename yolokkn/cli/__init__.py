"""The command line: one file per verb."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from yolokkn._version import __version__
from yolokkn.errors import did_you_mean

VERBS = {
    "track": "track objects through a video, a stream, pictures or a file of detections",
    "replay": "run a recorded run again from behind its network, byte for byte or with another tracker",
    "predict": "detect objects in pictures or a video",
    "train": "train a network on labelled pictures",
    "evaluate": "measure a model's accuracy on labelled data (coco, voc), or tracks (mot)",
    "tune": "search a tracker's settings on labelled sequences",
    "export": "write a checkpoint as an ONNX file, proven equal",
    "quantize": "write a model as one that computes in int8 or float16, and measure what that costs",
    "info": "say what a model file is; without one, list the models that come with the package",
    "doctor": "check the installation, or a model: is what every backend gives the same, stage by stage",
    "benchmark": "measure kernels, trackers, backends and the whole pipeline; compare two runs, draw a report of some",
    "data": "check or preview labelled pictures, fit anchors to them, draw a toy set",
}


def usage() -> str:
    """Return the text of `yolokkn --help`."""
    verbs = "\n".join(f"  {verb:<10} {text}" for verb, text in VERBS.items())
    return f"""yolokkn {__version__}: a fast runtime for anybody's YOLO-family models

usage: yolokkn VERB [options]      options are written --key value or key=value

{verbs}

examples:
  yolokkn track --source street.mp4 --save out.mp4
  yolokkn predict model=yolov8n.onnx source=photos/ save=out/
  yolokkn info yolov8n.onnx

yolokkn VERB --help says more."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Args:
        argv: Arguments after the program's name; `sys.argv[1:]` by default.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if argv else 2
    if argv[0] in ("-V", "--version", "version"):
        print(f"yolokkn {__version__}")
        return 0
    verb, rest = argv[0], argv[1:]
    if verb not in VERBS:
        hint = did_you_mean(verb, VERBS)
        print(f"yolokkn: error: no verb {verb!r}{hint}; there are {', '.join(VERBS)}", file=sys.stderr)
        return 2
    try:
        return importlib.import_module(f"yolokkn.cli.{verb}").main(rest)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
