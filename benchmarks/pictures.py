"""Draw the README's pictures from the committed results: sections of `yolokkn benchmark report`, photographed by Chromium.

python benchmarks/pictures.py [--chromium PROGRAM]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.documents import RESULTS, ROOT
from yolokkn.benchmark.report import report_page
from yolokkn.benchmark.results import read_run

WIDTH, HEIGHT = 1000, 3000  # of the window; what is empty below is cut off
PICTURES = {  # file: title, section, results
    "peers": ("Stages beside the best peer", "peers",
              ("kernels_letterbox", "kernels_decode", "kernels_masks", "kernels_rle", "kernels_polygons")),
    "objects": ("Tracking: time of an update", "objects", ("tracker_times",)),
    "accuracy": ("Keeping up: speed against accuracy", "accuracy", ("pipeline_yolox_nano",)),
}  # fmt: skip


def photograph(page: str, target: Path, chromium: str) -> None:
    """Write a page as a picture, without the empty part below it."""
    with tempfile.TemporaryDirectory() as folder:
        source, shot = Path(folder) / "page.html", Path(folder) / "shot.png"
        source.write_text(page, encoding="utf-8")
        command = [chromium, "--headless=new", "--no-sandbox", "--hide-scrollbars", f"--window-size={WIDTH},{HEIGHT}"]
        command += ["--disable-gpu", f"--user-data-dir={folder}/profile", f"--screenshot={shot}", source.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        image = cv2.imread(str(shot))
    differs = (image != image[-1, -1]).any(axis=(1, 2))
    end = min(int(np.flatnonzero(differs).max()) + 24, len(image))
    cv2.imwrite(str(target), image[:end], [cv2.IMWRITE_PNG_COMPRESSION, 9])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chromium", default="chromium", metavar="PROGRAM")
    args = parser.parse_args()
    for name, (title, section, results) in PICTURES.items():
        runs = [(result, read_run(RESULTS / f"{result}.json")) for result in results]
        target = ROOT / "benchmarks" / "figures" / f"{name}.png"
        photograph(report_page(runs, title, [section]), target, args.chromium)
        print(target)


if __name__ == "__main__":
    main()
