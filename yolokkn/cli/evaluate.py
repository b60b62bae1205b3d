"""`yolokkn evaluate coco`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from yolokkn.cli.arguments import EXIT_CODES, EXIT_OK, Parser, flag, run_verb
from yolokkn.cli.model_options import add_model_options, load_model
from yolokkn.cli.progress import progress
from yolokkn.evaluation.coco import IOU_TYPES, CocoDataset, IouType, evaluate_coco, write_results
from yolokkn.files import refuse_existing, write_atomically
from yolokkn.runtime.evaluate import collect_coco_results, find_coco_files

EXAMPLES = """examples:
  yolokkn evaluate coco --model yolox_nano.onnx --data coco/ --iou 0.65
  yolokkn evaluate coco model=yolov8n-seg.onnx annotations=instances_val2017.json images=val2017/ iou_type=segm

"""


def main(argv: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = Parser(
        prog="yolokkn evaluate",
        description="Measure a model's average precision on images with COCO annotations.",
        epilog=EXAMPLES + EXIT_CODES,
    )
    parser.add_argument("coco", choices=("coco",), help="kind of the ground truth: coco")
    group = parser.add_argument_group("data")
    group.add_argument("--data", metavar="DIR", help="folder with annotations/instances_SPLIT.json and SPLIT/")
    group.add_argument("--split", default="val2017", metavar="NAME", help="which part of --data (default val2017)")
    group.add_argument("--annotations", metavar="FILE", help="the annotations, instead of --data")
    group.add_argument("--images", metavar="DIR", help="the images, instead of --data")
    group.add_argument("--iou-type", choices=IOU_TYPES, help="by default what the model's task is")
    group.add_argument("--save", metavar="coco:FILE", help="keep the results in COCO's format")
    group.add_argument("--json", metavar="FILE", help="write the figures as JSON")
    group.add_argument(
        "--overwrite", type=flag, nargs="?", const=True, default=False, metavar="BOOL", help="replace existing results"
    )
    group.add_argument(
        "--quiet", type=flag, nargs="?", const=True, default=False, metavar="BOOL", help="print the table only"
    )
    add_model_options(parser, conf=0.001)
    args = parser.parse(argv)
    return run_verb("yolokkn evaluate", run, args)


def run(args: argparse.Namespace) -> int:
    """Run the model over the images and print the table."""
    model = load_model(
        args,
        score_threshold=args.conf,
        iou_threshold=args.iou,
        max_detections=args.max_det,
        agnostic=args.agnostic,
        multi_label=True,
    )
    iou_type = args.iou_type or {"detect": "bbox", "segment": "segm", "pose": "keypoints"}[model.layout.task]
    annotations, images = find_coco_files(args.data, args.split, args.annotations, args.images, iou_type)
    results_file = Path(args.save.removeprefix("coco:")) if args.save else None
    for path in filter(None, (results_file, Path(args.json) if args.json else None)):
        refuse_existing(path, args.overwrite)
    dataset = CocoDataset.load(annotations)
    with progress(len(dataset.images), args.quiet) as advance:
        results = collect_coco_results(model, dataset, images, iou_type, advance)
    if results_file is not None:
        write_results(results_file, results)
    metrics = evaluate_coco(dataset, results, iou_type=cast(IouType, iou_type))
    print(metrics.table())
    if args.json:
        write_atomically(Path(args.json), json.dumps(metrics.to_dict(), indent=2) + "\n")
    return EXIT_OK
