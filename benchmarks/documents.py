"""Write the committed results into README.md and BENCHMARKS.md.

    python benchmarks/documents.py [--check]

A block of a document begins with `<!-- measured: NAME -->` and ends with `<!-- /measured -->`; what stands between is written
from benchmarks/results by the function NAME below, and nothing else. `--check` only tells whether they agree.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from yolokkn.benchmark.compare import times_as_fast
from yolokkn.benchmark.results import BenchmarkRun, CaseResult, read_run
from yolokkn.files import write_atomically

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENTS = (ROOT / "README.md", ROOT / "BENCHMARKS.md")
_BLOCK = re.compile(r"(<!-- measured: (\w+) -->\n).*?(\n<!-- /measured -->)", re.DOTALL)

TRACKERS = ("kkn", "botsort", "bytetrack", "cbiou", "ocsort", "sort")


@cache
def measured(name: str) -> BenchmarkRun:
    return read_run(RESULTS / f"{name}.json")


@cache
def figures(name: str) -> Mapping[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text())["runs"]


def by_name(run: BenchmarkRun) -> dict[str, CaseResult]:
    return {result.name: result for result in run.results if result.is_measured}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine_of(machine: Mapping[str, Any], created: str = "") -> str:
    """Return a line on where something was measured."""
    kind = "virtual, " if machine.get("is_virtual") else ""
    when = f", {created[:10]}" if created else ""
    return (
        f"{machine['cpu'].strip()} ({kind}{machine['cores']} cores), commit {str(machine.get('commit', ''))[:9]}{when}"
    )


def rate(result: CaseResult) -> float:
    return 1e3 / result.p50


def best_of(found: Mapping[str, CaseResult], prefix: str) -> CaseResult | None:
    return min((r for name, r in found.items() if name.startswith(prefix)), key=lambda r: r.p50, default=None)


PIPELINE_ROWS = (
    ("every frame", "yolokkn, every frame"),
    ("every frame, `--backend auto`", "yolokkn, every frame, quickest backend"),
    ("`--rect`", "yolokkn, rect"),
    ("`--rect --backend auto`", "yolokkn, rect, quickest backend"),
    ("`--detect-every 2`", "yolokkn, one in 2"),
    ("`--detect-every 3`", "yolokkn, one in 3"),
    ("`--detect-every 3 --rect`", "yolokkn, one in 3, rect"),
    ("`--detect-every 3 --rect --backend auto`", "yolokkn, one in 3, rect, quickest backend"),
    ("by hand: OpenCV, ONNX Runtime, powerboxes, pyxtrackers", "by hand, onnxruntime"),
    ("by hand, with OpenVINO", "by hand, openvino"),
    ("by hand, with MNN", "by hand, mnn"),
    ("`track` of ultralytics, PyTorch, rectangular", "ultralytics, torch (rect)"),
    ("`track` of ultralytics, ONNX Runtime", "ultralytics, onnxruntime"),
)


def pipeline() -> str:
    """The whole run, frames a second and times the best by hand, of two networks on two clips."""
    small, large = (by_name(measured(name)) for name in ("pipeline_yolox_nano", "pipeline_yolov8n"))
    rows = []
    for label, name in PIPELINE_ROWS:
        accuracy = small[name].facts.get("figures") if name in small else None
        told = f"{accuracy['HOTA']:.1f} / {accuracy['IDF1']:.1f}" if accuracy else ""
        rows.append([label, _against_hand(small, name), told, _against_hand(large, name)])
    head = [
        "way",
        "yolox_nano, vtest.avi: frames/s (times)",
        "HOTA / IDF1",
        "YOLOv8n's size, 720p H.264: frames/s (times)",
    ]
    run = measured("pipeline_yolox_nano")
    where = f"{machine_of(run.machine, run.created)}, {run.settings['threads']} threads; times the best by hand of the same run."
    return f"{table(head, rows)}\n\n{where}"


def _against_hand(found: Mapping[str, CaseResult], name: str) -> str:
    if name not in found:
        return ""
    best = best_of(found, "by hand")
    ratio = "" if best is None else f" ({times_as_fast(found[name], best)[0]:.2f})"
    return f"{rate(found[name]):.1f}{ratio}"


def pipeline_ranges() -> str:
    """The same with the intervals of the ratios, and bare calls of the network."""
    parts = []
    for name in ("pipeline_yolox_nano", "pipeline_yolov8n"):
        run = measured(name)
        found = by_name(run)
        best, bare = best_of(found, "by hand"), best_of(found, "bare")
        rows = []
        for case, result in found.items():
            if not case.startswith("beside"):
                cells = [
                    "{:.2f} ({:.2f} to {:.2f})".format(*times_as_fast(result, one))
                    for one in (best, bare)
                    if one is not None
                ]
                rows.append([case, f"{result.p50:.2f}", f"{result.p99:.2f}", f"{rate(result):.1f}", *cells])
        head = ["way", "ms, p50", "p99", "frames/s", "of the best by hand", "of bare calls"]
        settings = run.settings
        title = (
            f"{settings['model']['name']} on {settings['source']}, {settings['threads']} threads, {settings['tracker']}"
        )
        parts.append(f"{title}: {machine_of(run.machine, run.created)}\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def network() -> str:
    """The network of YOLOv8n's size on each backend, against the peak of matrix products."""
    run = measured("network_yolov8n")
    found = [r for r in run.results if r.is_measured]
    peaks = {r.name: r.facts["gflop"] / r.quantile(0.1) * 1e3 for r in found if r.suite == "peak"}
    best = max(peaks, key=lambda name: peaks[name])
    floor = run.settings["gflop"] / peaks[best] * 1e3
    rows = [[r.name, f"{r.p50:.1f}", f"{r.p50 / floor:.2f}"] for r in found if r.suite == "backends"]
    settings = run.settings
    said = (
        f"A network of YOLOv8n's size at 640 x 640, {settings['gflop']:.2f} GFLOP a picture, on {settings['threads']} threads; "
        f"the machine's peak is {peaks[best]:.0f} GFLOP/s ({best}), at which a picture takes {floor:.1f} ms:"
    )
    drawn = table(["backend", "ms a picture", "times the floor"], rows)
    return f"{said}\n\n{drawn}\n\n{machine_of(run.machine, run.created)}"


def trackers() -> str:
    """HOTA and IDF1 beside the best Python library, and microseconds an update."""
    columns = [_worth(name) for name in ("trackers_mot17", "trackers_vtest")]
    times = by_name(measured("tracker_times"))
    rows = []
    for name in TRACKERS:
        cells = [column.get(key, "") for column in columns for key in (f"yolokkn, {name}", f"trackers, {name}")]
        counts = (10, 100, 1000)
        rows.append([f"`{name}`", *cells, *(f"{times[f'{n} objects: yolokkn, {name}'].p50 * 1e3:.0f}" for n in counts)])
    head = ["tracker", "MOT17 (4 halves)", "the peer", "vtest.avi, YOLOX-nano", "the peer", "10", "100", "1000"]
    run = measured("tracker_times")
    offline = figures("trackers_offline")["kkn"]["sequences"]["COMBINED"]
    others = {n: _compiled_bytetrack(times, n) for n in (10, 100, 1000)}
    said = (
        f"The fastest compiled ByteTrack of others in that run took {', '.join(f'{1e3 * ms:,.0f}' for ms in others.values())} "
        f"microseconds. `kkn` reaches {100 * offline['HOTA']:.1f} / {100 * offline['IDF1']:.1f} on MOT17 as `track "
        f"--detections` runs it: with the camera's motion and gaps filled. {machine_of(run.machine, run.created)}."
    )
    return f"{table(head, rows)}\n\n{said}"


def _worth(name: str) -> dict[str, str]:
    found = {}
    for result in measured(name).results:
        if result.is_measured:
            told = result.facts["figures"]
            found[str(result.facts["by"])] = f"{100 * told['HOTA']:.1f} / {100 * told['IDF1']:.1f}"
    return found


def _compiled_bytetrack(times: Mapping[str, CaseResult], count: int) -> float:
    python = ("yolokkn", "trackers", "norfair")
    start = f"{count} objects: "
    return min(
        r.p50
        for name, r in times.items()
        if name.startswith(start) and "bytetrack" in name and not name.removeprefix(start).startswith(python)
    )


def models() -> str:
    """The packaged models."""
    found = figures("models")
    vehicle = [found[f"person-vehicle {size}"]["figures"]["AP50"] for size in (384, 448)]
    segment = found["person-segment 384"]
    count = segment["num_images"]
    rows = [
        ["`person-vehicle` (interim)", "detect", "person, bicycle, car, motorcycle, bus, truck", "384, any size", "2.8 MB",
         f"persons AP50 {vehicle[0]:.3f} ({vehicle[1]:.3f} at 448 px) on {count} pictures of COCO val2017"],
        ["`person-segment` (a first state)", "segment", "person", "384, any size", "2.9 MB",
         f"masks AP50 {segment['figures']['AP50']:.3f}, boxes {segment['bbox']['figures']['AP50']:.3f} on the same pictures"],
    ]  # fmt: skip
    return table(["name", "task", "classes", "input", "size", "measured"], rows)


def quantized() -> str:
    """What int8 costs and brings."""
    found = figures("quantized")
    rows = []
    for name, label in (("yolox_nano", "yolox_nano (SiLU, depthwise)"), ("person-vehicle", "person-vehicle (ReLU)")):
        cpu, tensorrt, half = (found[f"{name} {kind}"] for kind in ("int8 cpu", "int8 tensorrt", "fp16 cpu"))
        openvino = found[f"{name} int8 cpu openvino"]["figures"]["AP"]
        speed = ", ".join(f"{one['times_as_fast']:.2f}" for one in cpu["speed"])
        rows.append([
            label, f"{cpu['accuracy']['ap_before']:.4f}", f"{cpu['accuracy']['ap_after']:.4f} (OpenVINO {openvino:.4f})", speed,
            f"{tensorrt['accuracy']['ap_after']:.4f}", f"{half['accuracy']['ap_after']:.4f}",
            " / ".join(f"{size / 1e6:.2f}" for size in (cpu["bytes_before"], cpu["bytes_after"], half["bytes_after"])),
        ])  # fmt: skip
    backends = ", ".join(one["backend"] for one in found["yolox_nano int8 cpu"]["speed"])
    head = [
        "model",
        "AP float32",
        "AP int8, `cpu`",
        f"times as fast: {backends}",
        "AP int8, `tensorrt`",
        "AP float16",
        "MB: as it is / int8 / float16",
    ]
    machine = json.loads((RESULTS / "quantized.json").read_text())["machine"]
    count = found["yolox_nano int8 cpu"]["accuracy"]["num_images"]
    where = f"On {count} pictures of COCO val2017, calibrated on 64 of train2017; {machine_of(machine)}."
    return f"{table(head, rows)}\n\n{where}"


def ledger() -> str:
    """A run's latency ledger."""
    stats = figures("samples")["ledger"]["stats"]
    lines = [f"{'stage':<12} {'p50':>8} {'p95':>8} {'p99':>8} {'max':>8}  {'share':>6}   (ms)"]
    for stage, row in [*stats["stages"].items(), ("age", stats["age_ms"])]:
        end = "          from capture to the end" if stage == "age" else f"  {row['share']:6.1%}"
        lines.append(f"{stage:<12} " + " ".join(f"{row[q]:8.2f}" for q in ("p50", "p95", "p99", "max")) + end)
    dropped = ", ".join(f"{n} {cause}" for cause, n in stats["dropped"].items()) or "none"
    rate_told = f"{stats['frames_per_second']:.1f} frames/s"
    lines.append(f"{stats['num_frames']} frames in {stats['wall_s']:.2f} s: {rate_told}; dropped: {dropped}")
    return "```\n" + "\n".join(lines) + "\n```"


def doctor() -> str:
    """What the doctor prints of a picture."""
    return "\n".join(["```", *figures("samples")["doctor"]["printed"], "```"])


def kernels() -> str:
    """Each kernel beside the best of others."""
    rows = []
    for stage in ("letterbox", "letterbox_cold", "decode", "masks", "rle", "polygons"):
        groups: dict[str, list[CaseResult]] = {}
        for result in measured(f"kernels_{stage}").results:
            if result.is_measured and "by" in result.facts:
                groups.setdefault(str(result.facts["case"]), []).append(result)
        for case, results in groups.items():
            own = next((r for r in results if str(r.facts["by"]).startswith("yolokkn")), None)
            best = min(
                (r for r in results if not str(r.facts["by"]).startswith("yolokkn")), key=lambda r: r.p50, default=None
            )
            if own is not None and best is not None:
                cells = "{:.1f} ({:.1f} to {:.1f})".format(*times_as_fast(own, best))
                rows.append(
                    [
                        stage.replace("_", ", caches "),
                        case,
                        f"{own.p50:.3f}",
                        f"{best.facts['by']} {best.p50:.3f}",
                        cells,
                    ]
                )
    run = measured("kernels_decode")
    drawn = table(["stage", "case", "yolokkn, ms", "best peer, ms", "times as fast"], rows)
    return f"{drawn}\n\n{machine_of(run.machine, run.created)}"


BLOCKS: dict[str, Callable[[], str]] = {
    block.__name__: block
    for block in (pipeline, pipeline_ranges, network, trackers, models, quantized, ledger, doctor, kernels)
}


def filled(text: str) -> str:
    """Return a document with its blocks written anew.

    Raises:
        KeyError: There is no such block.
    """
    return _BLOCK.sub(lambda found: found[1] + BLOCKS[found[2]]() + found[3], text)


def write_documents() -> None:
    for path in DOCUMENTS:
        write_atomically(path, filled(path.read_text(encoding="utf-8")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit code 1 where a document says something else"
    )
    args = parser.parse_args()
    if not args.check:
        write_documents()
        return
    other = [
        path.name for path in DOCUMENTS if filled(path.read_text(encoding="utf-8")) != path.read_text(encoding="utf-8")
    ]
    if other:
        raise SystemExit(f"{', '.join(other)}: not what benchmarks/results says; run python benchmarks/documents.py")


if __name__ == "__main__":
    main()
