"""`yolokkn evaluate coco|voc`, and the way to `yolokkn evaluate mot`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from yolokkn.cli import evaluate_mot
from yolokkn.cli.arguments import EXIT_CODES, EXIT_OK, Parser, flag, run_verb
from yolokkn.cli.model_options import add_model_options, load_model
from yolokkn.cli.places import files_read
from yolokkn.cli.progress import progress
from yolokkn.evaluation.boxes import FoundBoxes, LabelledBoxes, boxes_from_coco
from yolokkn.evaluation.coco import (
    IOU_TYPES,
    PERSON_SIGMAS,
    CocoDataset,
    IouType,
    evaluate_coco,
    sigmas_of,
    write_results,
)
from yolokkn.evaluation.curves import confusion_matrix, detection_curves
from yolokkn.evaluation.voc import evaluate_voc
from yolokkn.files import refuse_existing, write_atomically
from yolokkn.runtime.evaluate import (
    collect_coco_results,
    collect_found_boxes,
    find_coco_files,
    map_class_names,
    map_model_classes,
)
from yolokkn.runtime.model import Model

EXAMPLES = """examples:
  yolokkn evaluate coco --model yolox_nano.onnx --data coco/ --iou 0.65
  yolokkn evaluate coco model=yolov8n-seg.onnx annotations=instances_val2017.json images=val2017/ iou_type=segm
  yolokkn evaluate coco --model best.safetensors --data coco/ --classes person
  yolokkn evaluate voc --model best.onnx --data VOCdevkit/VOC2007 --split test

Only the categories that the model has (and --classes keeps) are measured.

"""
_DEFAULT_SPLIT = {"coco": "val2017", "voc": "test"}
_IOU_TYPES_OF_TASK: dict[str, tuple[IouType, ...]] = {
    "detect": ("bbox",),
    "segment": ("bbox", "segm"),
    "pose": ("bbox", "keypoints"),
    "segment-pose": ("bbox", "segm"),
}


def main(argv: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    if argv and argv[0] == "mot":
        return evaluate_mot.main(argv[1:])
    parser = Parser(
        prog="yolokkn evaluate",
        description="Measure a model's average precision on images with COCO's or PASCAL VOC's annotations; or tracks: "
        "see yolokkn evaluate mot --help.",
        epilog=EXAMPLES + EXIT_CODES,
    )
    parser.add_argument("kind", choices=(*_DEFAULT_SPLIT, "mot"), help="kind of the ground truth and of the figures")
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data", metavar="DIR", help="coco: folder with annotations/instances_SPLIT.json and SPLIT/; "
        "voc: folder with Annotations/, JPEGImages/ and ImageSets/Main/SPLIT.txt, or a VOCdevkit",
    )  # fmt: skip
    group.add_argument("--split", metavar="NAME", help="which part of --data (default val2017 for coco, test for voc)")
    group.add_argument("--annotations", metavar="FILE", help="coco: the annotations, instead of --data")
    group.add_argument("--images", metavar="DIR", help="coco: the images, instead of --data")
    group.add_argument(
        "--iou-type", choices=IOU_TYPES, help="coco: one kind (default: boxes, and what more the model gives)"
    )
    group.add_argument("--save", metavar="coco:FILE", help="coco: keep the results in COCO's format")
    group.add_argument("--json", metavar="FILE", help="write the figures, F1 and the confusion matrix as JSON")
    group.add_argument(
        "--overwrite", type=flag, nargs="?", const=True, default=False, metavar="BOOL", help="replace existing results"
    )
    group.add_argument(
        "--quiet", type=flag, nargs="?", const=True, default=False, metavar="BOOL", help="print the table only"
    )
    add_model_options(parser, conf=0.001)
    args = parser.parse(argv)
    if args.kind == "mot":
        parser.error("mot comes before its options: yolokkn evaluate mot --gt DIR --results DIR")
    foreign = [n for n in ("annotations", "images", "iou_type", "save") if args.kind != "coco" and getattr(args, n)]
    if foreign:
        parser.error(f"--{foreign[0].replace('_', '-')} is for evaluate coco")
    args.split = args.split or _DEFAULT_SPLIT[args.kind]
    return run_verb("yolokkn evaluate", run_coco if args.kind == "coco" else run_voc, args)


def _load(args: argparse.Namespace) -> Model:
    return load_model(
        args,
        score_threshold=args.conf,
        iou_threshold=args.iou,
        max_detections=args.max_det,
        agnostic=args.agnostic,
        multi_label=True,
    )


def run_coco(args: argparse.Namespace) -> int:
    """Run the model over the images and print COCO's table."""
    model = _load(args)
    iou_types = (cast(IouType, args.iou_type),) if args.iou_type else _IOU_TYPES_OF_TASK[model.layout.task]
    iou_type = iou_types[-1]  # its results hold boxes too
    annotations, images = find_coco_files(args.data, args.split, args.annotations, args.images, iou_type)
    results_file = Path(args.save.removeprefix("coco:")) if args.save else None
    for path in filter(None, (results_file, Path(args.json) if args.json else None)):
        refuse_existing(path, args.overwrite, [annotations, images, *files_read(args)])
    dataset = CocoDataset.load(annotations)
    measured = sorted(set(map_model_classes(model, dataset, partial=iou_type == "keypoints").values()))
    with progress(len(dataset.images), args.quiet) as advance:
        results = collect_coco_results(model, dataset, images, iou_type, advance)
    if results_file is not None:
        write_results(results_file, results)
    num_keypoints = model.layout.num_keypoints
    sigmas = sigmas_of(num_keypoints) if num_keypoints else PERSON_SIGMAS
    metrics = {
        kind: evaluate_coco(dataset, results, iou_type=kind, category_ids=measured, keypoint_sigmas=sigmas)
        for kind in iou_types
    }
    _say_categories(len(measured), len(dataset.categories), args.quiet)
    print("\n\n".join(one.table() for one in metrics.values()))
    if args.json:
        truth, found, names = boxes_from_coco(dataset, results)
        figures = metrics[iou_type].to_dict()
        others: dict[str, Any] = {kind: one.to_dict() for kind, one in metrics.items() if kind != iou_type}
        _write_json(args.json, {**figures, **others}, truth, found, names)
    return EXIT_OK


def run_voc(args: argparse.Namespace) -> int:
    """Run the model over the images and print VOC's table."""
    from yolokkn.data.datasets import open_dataset

    if not args.data:
        raise ValueError("evaluate voc: give --data DIR")
    model = _load(args)
    if args.json:
        refuse_existing(Path(args.json), args.overwrite, files_read(args))
    dataset = open_dataset(args.data, args.split, format="voc")
    if not dataset.report.ok and not args.quiet:
        print(f"yolokkn evaluate: {dataset.report.text(3)}", file=sys.stderr)
    labels, names = dataset.labels, dataset.class_names
    counts = labels.offsets[1:] - labels.offsets[:-1]
    places: np.ndarray = np.repeat(np.arange(len(dataset)), counts)
    measured = sorted(set(map_class_names(model, names).values()))
    chosen = np.isin(labels.class_ids, measured)
    truth = LabelledBoxes(places[chosen], labels.boxes[chosen], labels.class_ids[chosen], labels.ignored[chosen])
    sizes = [(int(h), int(w)) for h, w in dataset.sizes_hw]
    with progress(len(dataset), args.quiet) as advance:
        found = collect_found_boxes(model, dataset.paths, sizes, names, advance)
    metrics = evaluate_voc(truth, found, names)
    _say_categories(len(measured), len(names), args.quiet)
    print(metrics.table())
    if args.json:
        _write_json(args.json, metrics.to_dict(), truth, found, names)
    return EXIT_OK


def _say_categories(measured: int, total: int, quiet: bool) -> None:
    if measured < total and not quiet:
        print(f"yolokkn evaluate: {measured} of {total} categories, those that the model gives", file=sys.stderr)


def _write_json(
    path: str, figures: dict[str, Any], truth: LabelledBoxes, found: FoundBoxes, names: Sequence[str]
) -> None:
    curves = detection_curves(truth, found, names)
    matrix = confusion_matrix(truth, found, len(names), score_threshold=curves.best_confidence)
    extra = {
        "boxes_at_iou_50": curves.to_dict(),
        "confusion_matrix": {"class_names": [*names, "background"], "rows_are_truth": matrix.tolist()},
    }
    write_atomically(Path(path), json.dumps({**figures, **extra}, indent=2) + "\n")
