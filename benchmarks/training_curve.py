"""Average precision against pictures seen and hours of training, from the checkpoints of a run or of a chain of runs.

    python benchmarks/training_curve.py runs/a/*.safetensors runs/b/last.safetensors --data coco/ --classes person \
        --imgsz 320 --out curve.png --json curve.json

Checkpoints are given in the order of training; one whose run is another than that of the checkpoint before began with that
one's weights, and its pictures and hours are counted on top. `save_every=N` keeps a checkpoint of every Nth epoch.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from yolokkn.deploy import load_checkpoint_model
from yolokkn.evaluation.coco import CocoDataset, evaluate_coco
from yolokkn.plotting import new_figure, save_figure
from yolokkn.runtime.evaluate import collect_coco_results, find_coco_files, map_model_classes
from yolokkn.training.checkpoint import load_checkpoint


def seen_by(path: Path) -> tuple[str, int, float]:
    """The run of a checkpoint, the pictures that it saw, and its hours."""
    manifest = load_checkpoint(path).manifest
    config, state = manifest["config"], manifest["state"]
    pictures = manifest["step"] * config["data"]["batch"] * config["optimizer"]["accumulate"]
    return config["runtime"]["name"], pictures, state["position"]["elapsed_s"] / 3600


def measure(path: Path, args: argparse.Namespace, dataset: CocoDataset, images: Path) -> dict[str, float]:
    """AP and AP50 of a checkpoint's weights (the mean over the steps, where the run keeps one)."""
    options = {"classes": args.classes.split(",")} if args.classes else {}
    model = load_checkpoint_model(
        path, imgsz=args.imgsz, score_threshold=0.001, iou_threshold=0.65, multi_label=True, **options
    )
    categories = sorted(set(map_model_classes(model, dataset).values()))
    results = collect_coco_results(model, dataset, images)
    figures = evaluate_coco(dataset, results, category_ids=categories).figures
    return {"AP": figures["AP"], "AP50": figures["AP50"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--data", required=True)
    parser.add_argument("--split", default="val2017")
    parser.add_argument("--classes", default="")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--cores", type=float, default=1.0, help="cores that each run had, for core hours")
    parser.add_argument("--out", type=Path, default=Path("training_curve.png"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    annotations, images = find_coco_files(args.data, args.split, None, None)
    dataset = CocoDataset.load(annotations)
    rows, run, base, last = [], "", (0, 0.0), (0, 0.0)
    for path in args.checkpoints:
        name, pictures, hours = seen_by(path)
        if name != run:
            run, base = name, last
        last = (base[0] + pictures, base[1] + hours * args.cores)
        rows.append({"run": name, "pictures": last[0], "core_hours": last[1], **measure(path, args, dataset, images)})
        print(
            "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in rows[-1].items()), flush=True
        )
    draw(rows, args)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


def draw(rows: list[dict], args: argparse.Namespace) -> None:
    """AP and AP50 over the pictures, and over the hours."""
    figure, axes = new_figure(1, 2, 5, 3.6)
    for axis, key in zip(axes, ("pictures", "core_hours"), strict=True):
        for figure_name in ("AP50", "AP"):
            at = [r[key] / (1000 if key == "pictures" else 1) for r in rows]
            axis.plot(at, [r[figure_name] for r in rows], marker=".", label=figure_name)
        axis.set_xlabel({"pictures": "thousand pictures seen", "core_hours": "hours of one core"}[key])
        axis.set_ylim(0)
        axis.grid(alpha=0.3)
        axis.legend()
    figure.suptitle(f"{args.classes or 'all classes'}, {args.split}, {args.imgsz} px")
    save_figure(figure, args.out)


if __name__ == "__main__":
    main()
