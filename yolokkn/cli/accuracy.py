"""What a change of precision costs, printed: AP before and after it on labelled pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from yolokkn.cli.progress import progress
from yolokkn.deploy.accuracy import AccuracyDelta, compare_accuracy
from yolokkn.evaluation.coco import CocoDataset


def print_accuracy(
    before: bytes,
    after: bytes | Path,
    labelled: tuple[Path, Path],
    *,
    prog: str,
    calibrated_on: str | None,
    quiet: bool,
    **options: Any,
) -> AccuracyDelta:
    """Measure two models, print the figures and return them; a word of warning where the pictures are those of the calibration.

    Args:
        before: The model as it was.
        after: The changed one.
        labelled: The file of annotations and the folder of pictures.
        prog: The command, for the warning.
        calibrated_on: Pictures of the calibration; None without one.
        quiet: Show no progress.
        **options: As `compare_accuracy` takes them.
    """
    annotations, images = labelled
    if calibrated_on is not None and Path(calibrated_on).resolve() == images.resolve():
        print(f"{prog}: --images are the pictures that AP is measured on: take others", file=sys.stderr)
    with progress(2 * len(CocoDataset.load(annotations).images), quiet) as advance:
        delta = compare_accuracy(before, after, annotations, images, advance=advance, **options)
    print(delta.text())
    return delta
