"""Make a clip of another size of a video, as H.264: the middle of each frame, of the new aspect, scaled.

python benchmarks/make_clip.py vtest.avi --size 1280x720 --save build/benchmarks/vtest-720p.mp4
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from yolokkn.runtime.sinks import open_sink
from yolokkn.runtime.sources import open_source
from yolokkn.types import Detections


def scaled(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the middle of an image, scaled to fill the size."""
    h, w = image.shape[:2]
    crop_w, crop_h = min(w, h * width // height), min(h, w * height // width)
    x, y = (w - crop_w) // 2, (h - crop_h) // 2
    return cv2.resize(image[y : y + crop_h, x : x + crop_w], (width, height), interpolation=cv2.INTER_CUBIC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="a video")
    parser.add_argument("--size", default="1280x720", metavar="WxH")
    parser.add_argument("--save", required=True, metavar="FILE.mp4")
    args = parser.parse_args()
    width, height = (int(side) for side in args.size.split("x"))
    Path(args.save).parent.mkdir(parents=True, exist_ok=True)
    with open_source(args.source) as frames, open_sink(args.save, frame_rate=frames.frame_rate, overwrite=True) as sink:
        for frame in frames:
            sink.write(replace(frame, image=scaled(frame.image, width, height)), Detections.empty())


if __name__ == "__main__":
    main()
