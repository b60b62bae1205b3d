"""`yolokkn predict`."""

from __future__ import annotations

from collections.abc import Sequence

from yolokkn.cli.arguments import EXIT_CODES, Parser, run_verb
from yolokkn.cli.frames import add_frame_options, run_frames

EXAMPLES = """examples:
  yolokkn predict --source street.jpg --save out/
  yolokkn predict model=yolo11n-seg.onnx source=photos/ save=masks.jsonl classes=person,car
  yolokkn predict --model yolo-fastest.cfg --source clip.mp4 --save coco:results.json

"""


def main(argv: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = Parser(
        prog="yolokkn predict", description="Detect objects in pictures or a video.", epilog=EXAMPLES + EXIT_CODES
    )
    add_frame_options(parser, conf=0.25)
    args = parser.parse(argv)
    return run_verb("yolokkn predict", run_frames, args, "predict")
