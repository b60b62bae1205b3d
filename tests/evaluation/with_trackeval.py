"""TrackEval as the oracle; needs it (pip install trackeval==1.3.0 pytest) in an environment of its own.

PYTHONPATH=. python tests/evaluation/with_trackeval.py                        writes trackeval_figures.json
PYTHONPATH=. python tests/evaluation/with_trackeval.py GT RESULTS [RESULTS]   compares yolokkn with it on such folders
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.evaluation.test_mot import TRACKEVAL, write
from yolokkn.evaluation.mot import evaluate_mot

LEFT_OUT = ("HOTA_TP", "HOTA_FN", "HOTA_FP", "OWTA", "RHOTA", "CLR_Frames", "MOTP_sum")


def measure(folder: Path, benchmark: str) -> dict[str, dict[str, object]]:
    """Run TrackEval over a folder of `write`."""
    import trackeval  # type: ignore[import-not-found]

    names = sorted(p.name for p in (folder / "gt").iterdir())
    dataset = trackeval.datasets.MotChallenge2DBox(
        {
            "GT_FOLDER": str(folder / "gt"), "TRACKERS_FOLDER": str(folder), "TRACKERS_TO_EVAL": ["results"],
            "TRACKER_SUB_FOLDER": "", "SKIP_SPLIT_FOL": True, "SEQ_INFO": dict.fromkeys(names), "BENCHMARK": benchmark,
            "OUTPUT_FOLDER": str(folder / "out"), "PRINT_CONFIG": False,
        }
    )  # fmt: skip
    quiet = {"PRINT_CONFIG": False, "PRINT_RESULTS": False, "OUTPUT_SUMMARY": False, "OUTPUT_DETAILED": False,
             "PLOT_CURVES": False, "TIME_PROGRESS": False}  # fmt: skip
    metrics = [trackeval.metrics.HOTA(), trackeval.metrics.CLEAR(quiet), trackeval.metrics.Identity(quiet)]
    found, _ = trackeval.Evaluator(quiet).evaluate([dataset], [*metrics])
    out: dict[str, dict[str, object]] = {}
    for name, row in found["MotChallenge2DBox"]["results"].items():
        values = {k: v for metric in ("HOTA", "CLEAR", "Identity") for k, v in row["pedestrian"][metric].items()}
        out[name.removesuffix("_SEQ")] = {
            k: v.tolist() if isinstance(v, np.ndarray) else float(v) for k, v in values.items() if k not in LEFT_OUT
        }
    return out


def compare(truth: Path, results: Path) -> float:
    """Return the largest difference of any figure of any sequence: shares, and counts, as they are."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "gt").symlink_to(truth.resolve())
        (Path(folder) / "results").symlink_to(results.resolve())
        wanted = measure(Path(folder), "MOT17")
    found = evaluate_mot(truth, results).to_dict()["sequences"]
    worst = 0.0
    for name, row in wanted.items():
        for key, value in row.items():
            mine = found[name]["by_alpha"][key] if isinstance(value, list) else found[name][key]
            worst = max(worst, float(np.abs(np.asarray(mine) - np.asarray(value)).max()))
    return worst


def main() -> None:
    """Record each set of rules."""
    recorded = {}
    for rules in ("mot17", "mot20", "mot15"):
        with tempfile.TemporaryDirectory() as folder:
            recorded[rules] = measure(write(Path(folder), [1, 2, 3]), rules.upper())
    TRACKEVAL.write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    for given in sys.argv[2:]:
        print(f"{given}: largest difference {compare(Path(sys.argv[1]), Path(given)):.2e}")
    if len(sys.argv) < 2:
        main()
