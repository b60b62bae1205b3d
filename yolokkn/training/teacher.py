"""A trained model of any framework that teaches: its boxes where labels are missing, its raw scores cell by cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from yolokkn import ops
from yolokkn.data.batch import Batch, Targets
from yolokkn.errors import ModelError
from yolokkn.graph import free_sizes, read_model
from yolokkn.layouts import Layout
from yolokkn.models.outputs import HeadOutputs, decode_boxes
from yolokkn.models.spec import ModelSpec
from yolokkn.runtime.load import load
from yolokkn.runtime.model import Model, as_float
from yolokkn.training.config import TeacherConfig, TrainConfig
from yolokkn.training.distributed import World
from yolokkn.training.losses.reduction import identity
from yolokkn.training.losses.terms import distribution_focal, giou, side_distances

DENSE_LAYOUTS = ("yolox", "yolox-decoded", "v6", "v8", "v8-seg", "v8-pose")


@dataclass(frozen=True)
class Cells:
    """What a dense teacher says of every cell.

    Attributes:
        boxes: (B, A, 4) xyxy, input pixels.
        scores: (B, A, C) per class of the student, 0 to 1; 0 for classes that the teacher does not know.
    """

    boxes: Tensor
    scores: Tensor


class OnnxTeacher:
    """Any model that the runtime runs, as the teacher of a training; fits `yolokkn.training.teaching.Teacher`.

    The pictures of a batch go to the teacher as they are after augmentation. A teacher of fixed input size is freed from
    it where its graph allows (`yolokkn.graph.free_sizes`); otherwise it must be of the training's size.

    Args:
        model: An ONNX file.
        class_names: The student's; a class that the teacher does not know is not taught.
        options: What it is asked for.
        threads: Of the teacher's network.
        average: Gives the mean of a tensor over all processes.
        num_processes: How many there are.
        say: Takes the line that tells when lessons by cells are given up.

    Raises:
        ModelError: The teacher knows none of the classes, or lessons by cells are asked of a head that has none.
    """

    def __init__(
        self,
        model: Path,
        class_names: Sequence[str],
        options: TeacherConfig,
        *,
        threads: int | None = None,
        average: Callable[[Tensor], Tensor] = identity,
        num_processes: int = 1,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.options = options
        self._average, self._num_processes, self._say = average, num_processes, say
        self._model = _open(model, threads).with_options(score_threshold=options.teacher_doubt)
        names = {name: i for i, name in enumerate(self._model.class_names)}
        renamed = self.options.teacher_classes
        self._class_ids = [names.get(renamed.get(name, name), -1) for name in class_names]
        if max(self._class_ids, default=-1) < 0:
            raise ModelError(f"teacher: {model.name} knows none of the classes {', '.join(class_names)}")
        is_dense = self._model.layout.name in DENSE_LAYOUTS
        if self.options.teacher_lessons in ("cells", "both") and not is_dense:
            raise ModelError(
                f"teacher: lessons by cells need one row a cell ({', '.join(DENSE_LAYOUTS)}), and {model.name} is "
                f"{self._model.layout.name}; take teacher_lessons=labels"
            )
        self.gives_cells = is_dense and self.options.teacher_lessons != "labels"
        self.gives_labels = self.options.teacher_lessons != "cells"
        self._last: tuple[Batch, list[dict[str, np.ndarray]]] | None = None

    def prepare(self, batch: Batch) -> Batch:
        """Add the teacher's detections to the targets of a batch."""
        outputs = self._run(batch)
        if self.gives_labels:
            batch = replace(batch, targets=self._with_labels(batch, outputs))
        self._last = (batch, outputs)
        return batch

    def loss(self, outputs: HeadOutputs, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the lessons by cells; empty without.

        With p the teacher's score of a class in a cell and s the student's: the quality focal loss
        |p - s|^1.5 BCE(s, p) over all cells (Li et al., Generalized Focal Loss, 2020, equation 5, with another exponent);
        p (1 - GIoU) and p DFL towards the teacher's box where p is 0.05 or more; each divided by the sum of those p.

        Raises:
            ModelError: The student's cells are not the teacher's, and lessons by cells were asked for by name.
        """
        if not self.gives_cells:
            return {}
        taught, raw = self._last or (None, [])
        if taught is not batch:
            raw = self._run(batch)
        cells = self._cells(raw, outputs)
        if cells is None:
            self.gives_cells = False
            return {}
        best = cells.scores.amax(-1)
        image, anchor = (best > 0.05).nonzero(as_tuple=True)
        weights = best[image, anchor]
        scale = self.options.teacher_gain / self._average(weights.sum()).clamp(min=1 / self._num_processes)
        terms = {"taught_classes": 4 * scale * self._score_term(outputs, cells)}
        boxes, truths = decode_boxes(outputs)[image, anchor], cells.boxes[image, anchor]
        terms["taught_boxes"] = 2 * scale * (weights * (1 - giou(boxes, truths))).sum()
        if outputs.spec.formula == "distance" and outputs.spec.reg_max > 1:
            distances = side_distances(outputs.grid.centers[anchor], outputs.grid.strides[anchor], truths)
            bins = outputs.boxes[image, anchor].unflatten(-1, (4, outputs.spec.reg_max))
            terms["taught_bins"] = 0.5 * scale * (weights * distribution_focal(bins, distances)).sum()
        return terms

    def _score_term(self, outputs: HeadOutputs, cells: Cells) -> Tensor:
        known = torch.tensor([i >= 0 for i in self._class_ids], device=outputs.classes.device)
        logits, scores = outputs.classes[..., known], cells.scores[..., known]
        gap = (scores - logits.detach().sigmoid()).abs()
        return (gap.pow(1.5) * F.binary_cross_entropy_with_logits(logits, scores, reduction="none")).sum()

    def _run(self, batch: Batch) -> list[dict[str, np.ndarray]]:
        """Run the teacher over a batch; one dictionary of outputs a run, a picture or all of them in one."""
        rule = self._model.layout.preprocess
        pictures = batch.images.cpu().numpy().astype(np.float32)
        if not rule.swap_rb:
            pictures = np.ascontiguousarray(pictures[:, ::-1])
        pictures *= np.float32(rule.scale)[None, :, None, None]
        if any(rule.offset):
            pictures += np.float32(rule.offset)[None, :, None, None]
        name = self._model.picture.name
        if self._model.picture.shape[0] is None:
            return [as_float(self._model.backend.run({name: pictures}))]
        return [as_float(self._model.backend.run({name: one[None]})) for one in pictures]

    def _with_labels(self, batch: Batch, outputs: list[dict[str, np.ndarray]]) -> Targets:
        layout, options = self._model.layout, self._model.options
        input_hw = (batch.images.shape[2], batch.images.shape[3])
        found: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = []
        for index in range(len(batch.images)):
            run, item = (outputs[0], index) if len(outputs) == 1 else (outputs[index], 0)
            candidates = layout.decode(run, item, input_hw, options)
            keep = ops.nms(candidates.boxes, candidates.scores, candidates.class_ids, iou_threshold=0.6)
            found.append((index, candidates.boxes[keep], candidates.scores[keep], candidates.class_ids[keep]))
        return add_labels(batch.targets, found, self._class_ids, self.options, input_hw)

    def _cells(self, outputs: list[dict[str, np.ndarray]], student: HeadOutputs) -> Cells | None:
        """Return what the teacher says of each of the student's cells; None when it has others and "auto" allows that."""
        layout = self._model.layout
        head = getattr(layout, "head", "")
        rows = torch.from_numpy(np.concatenate([run[head] for run in outputs])).to(student.boxes.device)
        if layout.name.startswith("v8"):
            rows = rows.transpose(1, 2)
        if rows.shape[1] == student.boxes.shape[1] and student.grid.anchors_wh is None:
            return _decode_rows(rows, layout, student, self._class_ids)
        why = (
            f"lessons by cells need the student's {student.boxes.shape[1]} anchors to be the teacher's {rows.shape[1]} "
            "cells, one anchor each"
        )
        if self.options.teacher_lessons != "auto":
            raise ModelError(f"teacher: {why}; take teacher_lessons=labels")
        self._say(f"teacher: {why}; it teaches by labels alone")
        return None


def make_teacher(config: TrainConfig, spec: ModelSpec, world: World, say: Callable[[str], None]) -> OnnxTeacher:
    """Open the teacher that a configuration names."""
    return OnnxTeacher(
        Path(config.teacher.teacher), spec.class_names, config.teacher, threads=config.runtime.threads or None,
        average=world.average, num_processes=world.size, say=say,
    )  # fmt: skip


def _open(path: Path, threads: int | None) -> Model:
    """Open the teacher with a free input size where that works."""
    fixed = load(path, threads=threads)
    if None in fixed.picture.shape or path.suffix != ".onnx":
        return fixed
    probe: np.ndarray = np.zeros((2, 3, *(side + 2 * fixed.stride for side in fixed.input_hw)), np.float32)
    try:
        model = load(free_sizes(read_model(path)).to_bytes(), layout=fixed.layout.name, names=fixed.class_names,
                     imgsz=fixed.input_hw, threads=threads)  # fmt: skip
        model.backend.run({model.picture.name: probe})
    except (ModelError, ValueError, RuntimeError):
        return fixed
    return model


def _decode_rows(rows: Tensor, layout: Layout, student: HeadOutputs, class_ids: list[int]) -> Cells:
    grid = student.grid
    has_objectness = not layout.name.startswith("v8")
    first = 5 if has_objectness else 4
    scores = rows.new_zeros((*rows.shape[:2], len(class_ids)))
    known = [i for i, c in enumerate(class_ids) if c >= 0]
    scores[..., known] = rows[..., [first + class_ids[i] for i in known]]
    if has_objectness:
        scores = scores * rows[..., 4:5]
    center, size = rows[..., :2], rows[..., 2:4]
    if layout.name == "yolox":
        stride = grid.strides[:, None]
        center, size = (center + grid.cells) * stride, size.clamp(max=8).exp() * stride
    return Cells(torch.cat((center - size / 2, center + size / 2), -1), scores)


def add_labels(
    targets: Targets,
    found: Sequence[tuple[int, np.ndarray, np.ndarray, np.ndarray]],
    class_ids: Sequence[int],
    options: TeacherConfig,
    input_hw: tuple[int, int],
) -> Targets:
    """Return targets with the detections that no labelled object explains.

    Args:
        targets: What is labelled.
        found: Per picture its index, (N, 4) boxes, (N,) scores and (N,) class ids of the teacher.
        class_ids: The teacher's id of each class of the student, -1 for none.
        options: Thresholds.
        input_hw: Boxes are clipped to it.
    """
    own = {teacher: i for i, teacher in enumerate(class_ids) if teacher >= 0}
    index, boxes, classes, ignored = [], [], [], []
    for picture, candidates, scores, ids in found:
        clipped: np.ndarray = candidates.astype(np.float32)
        clipped[:, 0::2] = clipped[:, 0::2].clip(0, input_hw[1])
        clipped[:, 1::2] = clipped[:, 1::2].clip(0, input_hw[0])
        labelled = targets.boxes[targets.image_index == picture].cpu().numpy().astype(np.float32)
        kept = np.array([int(c) in own for c in ids], bool) & (scores >= options.teacher_doubt)
        kept &= (clipped[:, 2] - clipped[:, 0] > 2) & (clipped[:, 3] - clipped[:, 1] > 2)
        if len(labelled) and kept.any():
            kept &= ops.pairwise_iou(clipped, labelled).max(1) <= options.teacher_overlap
        index += [picture] * int(kept.sum())
        boxes.append(clipped[kept])
        classes += [own[int(c)] for c in ids[kept]]
        ignored.append(scores[kept] < options.teacher_score)
    if not index:
        return targets
    more = Targets(
        image_index=torch.tensor(index, dtype=torch.int64),
        boxes=torch.from_numpy(np.concatenate(boxes)),
        class_ids=torch.tensor(classes, dtype=torch.int64),
        ignored=torch.from_numpy(np.concatenate(ignored)),
    )
    return targets.concat(more.to(targets.boxes.device))
