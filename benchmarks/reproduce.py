"""Measure every figure of the README anew: one command runs everything behind them, and writes the figures into the documents.

    python benchmarks/reproduce.py --data DIR              # all of it, about 40 minutes on two cores
    python benchmarks/reproduce.py --data DIR trackers     # one part
    python benchmarks/documents.py                         # only writes the committed results into the documents

DIR holds weights/yolox/yolox_nano.onnx, videos/vtest.avi, pets09/PETS09-S2L1, mot17/SEQUENCE and coco/ (annotations, train2017,
val2017). Results go to benchmarks/results as JSON, each with its machine, commit and command; `benchmarks/documents.py` turns
them into the blocks of README.md and BENCHMARKS.md. Peers are those that `benchmarks/peers/setup.py` has made.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.documents import RESULTS, write_documents
from benchmarks.peers.setup import ROOT, python_of
from yolokkn.benchmark.machine import machine_record
from yolokkn.files import write_atomically

PYTHON = sys.executable
YOLOKKN = (PYTHON, "-m", "yolokkn")
MODEL, CLIP = "weights/yolox/yolox_nano.onnx", "videos/vtest.avi"
_MOST_VALUES = 4  # of a list of figures that is kept


@dataclass(frozen=True)
class Place:
    """Where a step reads and writes.

    Attributes:
        data: The folder of models, clips and labels.
        scratch: A folder that goes when the step is done.
        made: A folder that stays: clips and networks that are made.
    """

    data: Path
    scratch: Path
    made: Path = ROOT / "build" / "benchmarks"


def run(*command: str | Path, capture: bool = False) -> str:
    """Run a command from the checkout's root; returns what it prints where that is asked for."""
    words = [str(word) for word in command]
    print("$ " + shlex.join(words), flush=True)
    done = subprocess.run(words, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE if capture else None)
    return done.stdout or ""


def script(name: str, *arguments: str | Path) -> None:
    """Run one of the benchmarks, which writes its own results."""
    run(PYTHON, f"benchmarks/{name}", *arguments)


def keep(name: str, runs: dict[str, dict[str, Any]]) -> None:
    """Write the figures of several commands as one file of results."""
    whole = {"machine": machine_record(), "runs": runs}
    write_atomically(RESULTS / f"{name}.json", json.dumps(whole, indent=1) + "\n")


def figures_of(place: Place, *arguments: str | Path) -> dict[str, Any]:
    """Run a verb with --json; returns its figures, without curves and matrices."""
    target = place.scratch / "figures.json"
    target.unlink(missing_ok=True)
    run(*YOLOKKN, *arguments, "--json", target)
    return _small(json.loads(target.read_text())) | {"command": shown(place, arguments)}


def shown(place: Place, arguments: tuple[str | Path, ...]) -> str:
    """Return a command as a user would give it, without the folders of this run."""
    words = [Path(w).name if str(w).startswith((str(place.data), str(place.scratch))) else str(w) for w in arguments]
    return shlex.join(["yolokkn", *words])


def _small(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _small(one) for key, one in value.items() if key not in ("boxes_at_iou_50", "confusion_matrix")}
        return {key: one for key, one in kept.items() if one is not None}
    return None if isinstance(value, list) and len(value) > _MOST_VALUES else value


def pipeline(place: Place) -> None:
    """Run the whole pipeline beside others: yolox_nano on a small clip, a network of YOLOv8n's size on a 720p one."""
    clip, network = place.made / "vtest-720p.mp4", place.made / "yolov8n"
    script("bench_pipeline.py", "--model", place.data / MODEL, "--source", place.data / CLIP, "--rounds", "7", "--gt",
           place.data / "pets09/PETS09-S2L1/gt/gt.txt", "--save", RESULTS / "pipeline_yolox_nano.json")  # fmt: skip
    script("make_clip.py", place.data / CLIP, "--size", "1280x720", "--save", clip)
    run(python_of("ultralytics"), "benchmarks/peers/make_yolov8n.py", "--source", place.data / CLIP, "--save", network)
    both = ("--model", network.with_suffix(".onnx"), "--source", clip)
    script("bench_pipeline.py", *both, "--ultralytics", network.with_suffix(".pt"), "--matched", "0.85", "--rounds", "7",
           "--frames", "96", "--save", RESULTS / "pipeline_yolov8n.json")  # fmt: skip
    script("bench_network.py", *both, "--save", RESULTS / "network_yolov8n.json")


def trackers(place: Place) -> None:
    """Measure trackers on given detections, on those of yolox_nano, and the time of an update."""
    script("bench_trackers.py", "--mot", place.data / "mot17", "--save", RESULTS / "trackers_mot17.json")
    sequence = place.scratch / "pets" / "PETS09-S2L1"
    shutil.copytree(place.data / "pets09/PETS09-S2L1", sequence)
    (sequence / "det").mkdir()
    run(*YOLOKKN, "predict", "--model", place.data / MODEL, "--source", place.data / CLIP, "--conf", "0.1", "--classes", "person",
        "--save", f"mot:{sequence / 'det' / 'det.txt'}")  # fmt: skip
    script("bench_trackers.py", "--mot", sequence.parent, "--save", RESULTS / "trackers_vtest.json")
    script("bench_peers.py", "track", "--save", RESULTS / "tracker_times.json")
    mot = place.data / "mot17"
    offline = ("evaluate", "mot", "--gt", mot, "--detections", mot, "--tracker", "kkn", "--interpolate", "20")
    keep("trackers_offline", {"kkn": figures_of(place, *offline)})


def models(place: Place) -> None:
    """Measure the packaged models."""
    common = ("--data", place.data / "coco", "--classes", "person", "--iou", "0.65", "--quiet")
    runs = {
        f"{name} {imgsz}": figures_of(place, "evaluate", "coco", "--model", name, "--imgsz", str(imgsz), *common)
        for name, imgsz in (("person-vehicle", 384), ("person-vehicle", 448), ("person-segment", 384))
    }
    keep("models", runs)


def quantized(place: Place) -> None:
    """Measure what int8 and float16 cost and bring."""
    runs = {}
    for model in (str(place.data / MODEL), "person-vehicle"):
        for precision, target in (("int8", "cpu"), ("int8", "tensorrt"), ("fp16", "cpu")):
            options: list[str | Path] = [
                "--precision",
                precision,
                "--data",
                place.data / "coco",
                "--quiet",
                "--overwrite",
            ]
            if precision == "int8":
                options += ["--images", place.data / "coco/train2017", "--num-images", "64", "--target", target]
            save = ("--save", place.scratch / "out.onnx")
            name = f"{Path(model).stem} {precision} {target}"
            runs[name] = figures_of(place, "quantize", "--model", model, *options, *save)
            if (precision, target) == ("int8", "cpu"):
                runs[f"{name} openvino"] = figures_of(
                    place, "evaluate", "coco", "--model", place.scratch / "out.onnx", "--data", place.data / "coco",
                    "--iou", "0.7", "--backend", "openvino", "--quiet",
                )  # fmt: skip
    keep("quantized", runs)


def samples(place: Place) -> None:
    """Keep what the command line prints where the README shows it."""
    stats = place.scratch / "stats.json"
    tracked = (
        "track",
        "--model",
        place.data / MODEL,
        "--source",
        place.data / CLIP,
        "--save",
        place.scratch / "out.mp4",
    )
    run(*YOLOKKN, *tracked, "--stats", stats)
    picture = sorted((place.data / "coco/val2017").glob("*.jpg"))[13]
    doctor = ("doctor", place.data / MODEL, picture)
    lines = run(*YOLOKKN, *doctor, capture=True).replace(f"{picture.parent}/", "").splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith(picture.name))
    keep("samples", {
        "ledger": {"command": shown(place, tracked), "stats": json.loads(stats.read_text())},
        "doctor": {"command": shown(place, doctor), "printed": [line.rstrip() for line in lines[begin:]]},
    })  # fmt: skip


def kernels(place: Place) -> None:
    """Run kernels beside those of others."""
    for stage in ("letterbox", "decode", "masks", "rle", "polygons"):
        script("bench_peers.py", stage, "--seconds", "8", "--save", RESULTS / f"kernels_{stage}.json")
    script("bench_peers.py", "letterbox", "--cold", "--seconds", "8", "--save", RESULTS / "kernels_letterbox_cold.json")


STEPS: dict[str, Callable[[Place], None]] = {
    "pipeline": pipeline, "trackers": trackers, "models": models, "quantized": quantized, "samples": samples, "kernels": kernels,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}; all by default")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    args = parser.parse_args()
    wrong = [name for name in args.steps if name not in STEPS]
    if wrong:
        parser.error(f"STEP must be one of {', '.join(STEPS)}, got {wrong[0]!r}")
    for name in args.steps or STEPS:
        with tempfile.TemporaryDirectory() as folder:
            STEPS[name](Place(args.data.resolve(), Path(folder)))
    write_documents()


if __name__ == "__main__":
    main()
