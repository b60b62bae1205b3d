"""The terms of each loss against sums over single boxes and scores, written from the losses' definitions.

Which anchor answers for which target comes from the plain loops of `reference_assigners`; boxes are decoded by the network's
own formula.
"""

import math

import numpy as np
import pytest

from tests.training import reference_assigners as assigners
from tests.training.heads import HEADS, make_outputs, make_targets
from yolokkn.models.outputs import decode_boxes
from yolokkn.training.losses import LOSSES, build_loss

HW = (96, 128)
PICTURES = 3
CLASSES = 3


def targets():
    boxes = ((8, 8, 40, 56), (60, 20, 116, 60), (80, 66, 96, 88), (30, 30, 58, 44), (4, 60, 84, 92), (20, 10, 34, 30))
    return make_targets((0, 0, 0, 1, 1, 1), boxes, (0, 1, 2, 2, 0, 0))


def overlaps(p, t):
    """IoU, GIoU, DIoU and CIoU of two boxes (Rezatofighi et al., 2019; Zheng et al., 2020)."""
    pw, ph, tw, th = p[2] - p[0], p[3] - p[1], t[2] - t[0], t[3] - t[1]
    shared = max(0.0, min(p[2], t[2]) - max(p[0], t[0])) * max(0.0, min(p[3], t[3]) - max(p[1], t[1]))
    union = pw * ph + tw * th - shared
    iou = shared / union
    cw, ch = max(p[2], t[2]) - min(p[0], t[0]), max(p[3], t[3]) - min(p[1], t[1])
    giou = iou - (cw * ch - union) / (cw * ch)
    apart = ((p[0] + p[2] - t[0] - t[2]) ** 2 + (p[1] + p[3] - t[1] - t[3]) ** 2) / 4
    diou = iou - apart / (cw * cw + ch * ch)
    v = 4 / math.pi**2 * (math.atan(tw / th) - math.atan(pw / ph)) ** 2
    return {"iou": iou, "giou": giou, "diou": diou, "ciou": diou - v * v / (1 - iou + v) if v else diou}


def bce(logit, target):
    return math.log1p(math.exp(-abs(logit))) + max(logit, 0.0) - target * logit


class Scene:
    """A head's outputs, the objects, and what the terms are sums of."""

    def __init__(self, head, positives):
        self.outputs = make_outputs(HEADS[head], HW, PICTURES, seed=3)
        self.targets = targets()
        self.boxes = decode_boxes(self.outputs).detach().double().numpy()
        self.objectness = None if self.outputs.objectness is None else self.outputs.objectness.detach().double().numpy()
        self.classes = self.outputs.classes.detach().double().numpy()
        self.truths = self.targets.boxes.double().numpy()
        self.class_ids = self.targets.class_ids.tolist()
        self.positives = positives(self)
        self.weight_sum = sum(w for _, w in self.positives.values())

    def __iter__(self):
        """Yield picture, anchor, target and weight of the positives."""
        for (image, anchor), (target, weight) in self.positives.items():
            yield image, anchor, target, float(weight)

    def background(self, ignore_iou=2.0):
        """Picture and anchor of what nobody answers with, less what is near a target of its picture."""
        for image, anchor in np.ndindex(*self.boxes.shape[:2]):
            near = (
                overlaps(self.boxes[image, anchor], truth)["iou"] > ignore_iou
                for truth, of in zip(self.truths, self.targets.image_index.tolist(), strict=True)
                if of == image
            )
            if (image, anchor) not in self.positives and not any(near):
                yield image, anchor

    def overlap(self, image, anchor, target):
        return overlaps(self.boxes[image, anchor], self.truths[target])

    def class_sum(self, image, anchor, own, value):
        return sum(bce(x, value if c == own else 0.0) for c, x in enumerate(self.classes[image, anchor]))

    def level(self, anchor):
        return int(self.outputs.grid.level_ids[anchor])

    def divided(self, total, elements, reduction):
        return total / {"sum": PICTURES, "mean": max(elements, 1), "targets": max(self.weight_sum, 1)}[reduction]


def object_family(scene, reduction, box_value, ignore_iou=2.0):
    """The terms of darknet, its revision, Alexey's and the project's own."""
    count, empty = len(scene.positives), list(scene.background(ignore_iou))
    box = sum(w * box_value(scene, i, a, t) for i, a, t, w in scene)
    found = sum(bce(scene.objectness[i, a], w) for i, a, _, w in scene)
    classes = sum(scene.class_sum(i, a, scene.class_ids[t], w) for i, a, t, w in scene)
    return {
        "box": scene.divided(box, count, reduction),
        "background": scene.divided(sum(bce(scene.objectness[at], 0) for at in empty), len(empty), reduction),
        "objectness": scene.divided(found, count, reduction),
        "classes": scene.divided(classes, count * CLASSES, reduction),
    }


def coordinates(scene, image, anchor, target):
    """(2 - w h) (dx^2 + dy^2 + dw^2 + dh^2): x and y in cells, w and h as logarithms."""
    p, t = scene.boxes[image, anchor], scene.truths[target]
    stride = float(scene.outputs.grid.strides[anchor])
    dx, dy = (((p[k] + p[k + 2]) - (t[k] + t[k + 2])) / 2 / stride for k in (0, 1))
    dw, dh = (math.log((p[k + 2] - p[k]) / (t[k + 2] - t[k])) for k in (0, 1))
    share = (t[2] - t[0]) * (t[3] - t[1]) / (HW[0] * HW[1])
    return (2 - share) * (dx * dx + dy * dy + dw * dw + dh * dh)


def revised(scene, image, anchor, target):
    t = scene.truths[target]
    share = (t[2] - t[0]) * (t[3] - t[1]) / (HW[0] * HW[1])
    return (2 - share) * (1 - scene.overlap(image, anchor, target)["ciou"])


def plain_ciou(scene, image, anchor, target):
    return 1 - scene.overlap(image, anchor, target)["ciou"]


def balanced(scene, image, anchor, target):
    """CIoU + DIoU + IoU + GIoU, each class with the same share of the positives."""
    of_class = [scene.class_ids[t] for _, _, t, _ in scene]
    scale = len(of_class) / (len(set(of_class)) * of_class.count(scene.class_ids[target]))
    return scale * (4 - sum(scene.overlap(image, anchor, target).values()))


def by_shape(scene, threshold=None):
    return assigners.by_shape(scene.outputs, scene.targets, threshold)


def by_rank(scene):
    return assigners.by_rank(scene.outputs, scene.targets)


def aligned(scene):
    return assigners.task_aligned(scene.outputs, scene.boxes.astype(np.float32), scene.targets)


def compare(name, scene, want, reduction, gains, **options):
    loss = build_loss(name, scene.outputs.spec, reduction=reduction, gain=1.0, **options)
    got = {key: float(value) for key, value in loss(scene.outputs, scene.targets).terms.items()}
    assert got == pytest.approx({key: gains.get(key, 1.0) * value for key, value in want.items()}, rel=2e-4)


OBJECTS = {
    "darknet": (coordinates, by_shape, 0.7, {}, {}),
    "darknet_revise": (revised, by_shape, 0.7, {}, {}),
    "alexey_darknet": (plain_ciou, lambda s: by_shape(s, 0.213), 0.7, {"box": 2.0}, {}),
    "alexey_darknet above 0.5": (plain_ciou, lambda s: by_shape(s, 0.5), 0.7, {"box": 2.0}, {"iou_threshold": 0.5}),
    "alexey_darknet near 0.2": (plain_ciou, lambda s: by_shape(s, 0.213), 0.2, {"box": 2.0}, {"ignore_iou": 0.2}),
    "kkn20230730": (plain_ciou, by_rank, 2.0, {"box": 2.0}, {}),
    "kkn20230730 balanced": (balanced, by_rank, 2.0, {"box": 2.0}, {"num_scale": True}),
}


@pytest.mark.parametrize("reduction", ["sum", "mean", "targets"])
@pytest.mark.parametrize("case", OBJECTS)
def test_the_object_family(case, reduction):
    box_value, positives, ignore_iou, gains, options = OBJECTS[case]
    scene = Scene("v5", positives)
    assert len({scene.class_ids[t] for _, _, t, _ in scene}) == CLASSES
    want = object_family(scene, reduction, box_value, ignore_iou)
    compare(case.split()[0], scene, want, reduction, gains, **options)


def test_the_thresholds_of_the_cases_above_differ():
    assert len(Scene("v5", lambda s: by_shape(s, 0.5)).positives) != len(
        Scene("v5", lambda s: by_shape(s, 0.213)).positives
    )
    scene = Scene("v5", by_shape)
    assert len(list(scene.background(0.2))) < len(list(scene.background(0.7)))


@pytest.mark.parametrize("reduction", ["sum", "mean", "targets"])
def test_yolofive(reduction):
    scene = Scene("v5", lambda s: assigners.by_ratio(s.outputs, s.targets))
    count, balance = len(scene.positives), (4.0, 1.0, 0.4)
    wanted = {(i, a): scene.overlap(i, a, t)["iou"] for i, a, t, _ in scene}
    objectness = 0.0
    for level, weight in enumerate(balance):
        here = [(i, a) for i, a in np.ndindex(*scene.boxes.shape[:2]) if scene.level(a) == level]
        total = sum(bce(scene.objectness[at], wanted.get(at, 0.0)) for at in here)
        objectness += weight * scene.divided(total, len(here), reduction)
    box = sum(plain_ciou(scene, i, a, t) for i, a, t, _ in scene)
    classes = sum(scene.class_sum(i, a, scene.class_ids[t], 1.0) for i, a, t, _ in scene)
    want = {
        "box": scene.divided(box, count, reduction),
        "objectness": objectness,
        "classes": scene.divided(classes, count * CLASSES, reduction),
    }
    compare("yolofive", scene, want, reduction, {"box": 0.5, "classes": 0.5})


@pytest.mark.parametrize("reduction", ["sum", "mean", "targets"])
@pytest.mark.parametrize("head", ["v5", "distance"])
def test_task_aligned(head, reduction):
    scene = Scene(head, aligned)
    count, weights = len(scene.positives), {(i, a): (scene.class_ids[t], w) for i, a, t, w in scene}
    want = {"box": scene.divided(sum(w * plain_ciou(scene, i, a, t) for i, a, t, w in scene), count, reduction)}
    everywhere = list(np.ndindex(*scene.boxes.shape[:2]))
    if head == "v5":
        total = sum(bce(scene.objectness[at], weights.get(at, (0, 0.0))[1]) for at in everywhere)
        want["objectness"] = scene.divided(total, len(everywhere), reduction)
        own = sum(w * scene.class_sum(i, a, scene.class_ids[t], 1.0) for i, a, t, w in scene)
        want["classes"] = scene.divided(own, count * CLASSES, reduction)
    else:
        total = sum(scene.class_sum(*at, *weights.get(at, (0, 0.0))) for at in everywhere)
        want["classes"] = scene.divided(total, len(everywhere) * CLASSES, reduction)
        want["dfl"] = scene.divided(sum(w * focal(scene, i, a, t) for i, a, t, w in scene), count, reduction)
    compare("task_aligned", scene, want, reduction, {"box": 7.5, "objectness": 0.5, "classes": 0.5, "dfl": 1.5})


def focal(scene, image, anchor, target):
    """The distribution focal loss of the four distances, in strides, mean over the sides (Li et al., 2020, equation 6)."""
    grid, bins = scene.outputs.grid, scene.outputs.spec.reg_max
    stride, (cx, cy), t = float(grid.strides[anchor]), grid.centers[anchor].tolist(), scene.truths[target]
    logits = scene.outputs.boxes[image, anchor].detach().double().numpy().reshape(4, bins)
    total = 0.0
    for side, distance in enumerate((cx - t[0], cy - t[1], t[2] - cx, t[3] - cy)):
        y = min(max(distance / stride, 0.0), bins - 1.0)
        low = min(int(y), bins - 2)
        log_p = logits[side] - np.log(np.exp(logits[side]).sum())
        total -= (low + 1 - y) * log_p[low] + (y - low) * log_p[low + 1]
    return total / 4


def test_every_loss_is_compared():
    assert {case.split()[0] for case in OBJECTS} | {"yolofive", "task_aligned"} == set(LOSSES)
