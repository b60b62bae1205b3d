"""What every loss promises on every head: finite values and gradients whatever the targets, and a clear reduction."""

from dataclasses import replace

import pytest
import torch

from tests.training.heads import HEADS, four_pictures, leaves, make_outputs, make_targets
from yolokkn.models.outputs import decode_boxes
from yolokkn.training.losses import LOSSES, build_loss

HW = (96, 128)


def with_extras(targets, keypoints, only=(0, 3)):
    """Masks and keypoints for some of the targets alone."""
    count = len(targets)
    has = torch.zeros(count, dtype=torch.bool)
    has[[i for i in only if i < count]] = True
    masks = torch.zeros(count, HW[0] // 4, HW[1] // 4, dtype=torch.bool)
    masks[has, 4:10, 4:10] = True
    points = torch.rand(count, keypoints, 3, generator=torch.Generator().manual_seed(0)) * 90
    points[..., 2] = torch.where(has[:, None] & (torch.arange(keypoints) % 3 > 0), 2.0, 0.0)
    return replace(targets, masks=masks, has_mask=has, keypoints=points)


def run(name, head, targets, dtype=torch.float32, spread=1.0, **options):
    outputs = make_outputs(HEADS[head], HW, 4, dtype=dtype, spread=spread)
    value = build_loss(name, HEADS[head], **options)(outputs, targets)
    value.total.backward()
    gradients = {key: leaf.grad for key, leaf in leaves(outputs).items()}
    for key, gradient in gradients.items():
        assert gradient is not None, f"{key} has no gradient"
        assert gradient.isfinite().all(), f"the gradient of {key} is not finite"
    assert value.total.isfinite() and value.total.dtype == torch.float32
    torch.testing.assert_close(torch.stack(list(value.terms.values())).sum(), value.total.detach())
    return value, gradients, outputs


CASES = {
    "none": lambda: make_targets([], []),
    "some": four_pictures,
    "all ignored": lambda: replace(four_pictures(), ignored=torch.ones(6, dtype=torch.bool)),
    "degenerate": lambda: make_targets([0, 1, 1], [(5, 5, 5, 9), (9, 9, 3, 3), (0, 0, 0, 0)]),
    "outside": lambda: make_targets([0, 2], [(-40, -40, -8, -8), (130, 100, 150, 120)]),
    "tiny": lambda: make_targets([0, 0], [(50, 50, 50.5, 50.5), (3, 3, 4, 4)]),
    "one on another": lambda: make_targets([0] * 20, [(20, 20, 60, 70)] * 20),
}


@pytest.mark.parametrize("head", ["distance", "softplus", "v5", "tiny", "extras", "v5-extras"])
@pytest.mark.parametrize("name", list(LOSSES))
def test_finite_whatever_the_targets(name, head):
    for case in CASES.values():
        targets = case()
        for reduction in ("sum", "mean", "targets"):
            run(name, head, targets, reduction=reduction)
        if HEADS[head].num_keypoints:
            run(name, head, with_extras(targets, HEADS[head].num_keypoints))


@pytest.mark.parametrize("head", ["distance", "v5", "darknet", "extras"])
@pytest.mark.parametrize("name", list(LOSSES))
def test_finite_with_saturated_logits(name, head):
    run(name, head, with_extras(four_pictures(), 17) if head == "extras" else four_pictures(), spread=40.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", list(LOSSES))
def test_half_precision_is_computed_in_float32(name, dtype):
    for head in ("extras", "v5-extras"):
        targets = with_extras(four_pictures(), HEADS[head].num_keypoints)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low, _, outputs = run(name, head, targets, dtype=dtype)
        exact = {k: v.detach().float().requires_grad_() for k, v in leaves(outputs).items()}
        high = build_loss(name, HEADS[head])(replace(outputs, **exact), targets)
        torch.testing.assert_close(low.total, high.total)


@pytest.mark.parametrize("head", ["distance", "v5"])
@pytest.mark.parametrize("name", list(LOSSES))
def test_a_sum_does_not_know_how_many_cells_there_are_and_a_mean_does(name, head):
    """The gradient of one background cell, on pictures of one and of four times the cells."""
    slopes = {}
    for reduction in ("sum", "mean"):
        for hw in ((64, 64), (128, 128)):
            outputs = make_outputs(HEADS[head], hw, 1, spread=0.0)
            loss = build_loss(name, HEADS[head], reduction=reduction, gain=1.0)
            loss(outputs, make_targets([0], [(8, 8, 24, 24)])).total.backward()
            scores = outputs.classes.grad[0, :, 0] if outputs.objectness is None else outputs.objectness.grad[0]
            slopes[reduction, hw[0]] = scores[-1].item()
    assert slopes["sum", 64] == pytest.approx(slopes["sum", 128], rel=1e-4)
    assert slopes["mean", 64] == pytest.approx(4 * slopes["mean", 128], rel=0.15)


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_sum_is_divided_by_pictures_only(name):
    """The same picture twice gives the same value."""
    outputs = make_outputs(HEADS["v5"], HW, 1)
    loss = build_loss(name, HEADS["v5"], reduction="sum")
    once = loss(outputs, make_targets([0], [(20, 20, 60, 70)])).total
    twice = replace(outputs, **{k: v.repeat(2, *[1] * (v.dim() - 1)) for k, v in leaves(outputs).items()})
    both = loss(twice, make_targets([0, 1], [(20, 20, 60, 70)] * 2)).total
    torch.testing.assert_close(once, both)


@pytest.mark.parametrize("head", ["distance", "v5"])
@pytest.mark.parametrize("name", list(LOSSES))
def test_ignored_regions_are_no_background(name, head):
    """Score gradients are zero where the anchor or what it says lies mostly in an ignored region, and only there."""
    targets = make_targets([0, 0], [(64, 0, 128, 96), (4, 4, 40, 40)], ignored=[True, False])
    _, gradients, outputs = run(name, head, targets)
    key = "classes" if outputs.objectness is None else "objectness"
    silent = (gradients[key].reshape(4, gradients[key].shape[1], -1) == 0).all(-1)
    assert not silent[1:].any()
    centers = outputs.grid.centers[:, 0]
    boxes = decode_boxes(outputs)[0].detach()
    within = (boxes[:, 0] >= 64) & (boxes[:, 2] <= 128) & (boxes[:, 1] >= 0) & (boxes[:, 3] <= 96)
    within &= (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    assert silent[0, within].all() and silent[0].any()
    finest = outputs.grid.level_ids == 0
    assert silent[0, finest & (centers > 96)].float().mean() > 0.5
    value = build_loss(name, HEADS[head])(outputs, targets)
    assert value.num_targets == 1


@pytest.mark.parametrize("name", ["darknet", "alexey_darknet", "darknet_revise"])
def test_predictions_near_a_target_are_no_background(name):
    head = HEADS["v5"]
    outputs = make_outputs(head, HW, 1)
    box = decode_boxes(outputs)[0, 100].tolist()
    loss = build_loss(name, head)
    assignment = loss.assign(outputs, make_targets([0], [box]))
    assert assignment.ignored[0, 100] and not assignment.background[0, 100]


def test_the_extras_add_their_terms_and_nothing_without_labels():
    for name in LOSSES:
        targets = with_extras(four_pictures(), 17)
        value, gradients, _ = run(name, "extras", targets)
        assert value.terms["mask"] > 0 and value.terms["keypoint"] > 0 and value.terms["visibility"] > 0
        assert gradients["prototypes"].any() and not gradients["prototypes"][2:].any()
        plain, gradients, _ = run(name, "extras", four_pictures())
        assert plain.terms["mask"] == plain.terms["keypoint"] == plain.terms["visibility"] == 0
        assert not gradients["keypoints"].any() and not gradients["mask_coeffs"].any()
        for term in ("box", "classes"):
            if term in plain.terms:
                torch.testing.assert_close(plain.terms[term], value.terms[term])


def test_keypoints_and_masks_are_learned():
    head = HEADS["extras"]
    outputs = make_outputs(head, HW, 4, spread=0.1)
    targets = with_extras(four_pictures(), 17, only=range(6))
    boxes = targets.boxes
    masks = torch.zeros_like(targets.masks)
    points = torch.rand(6, 17, 2, generator=torch.Generator().manual_seed(2)) * (
        boxes[:, None, 2:] - boxes[:, None, :2]
    )
    points = torch.cat((points + boxes[:, None, :2], torch.full((6, 17, 1), 2.0)), -1)
    for i, (x1, y1, x2, y2) in enumerate((boxes / 4).long().tolist()):
        masks[i, y1 : (y1 + y2) // 2 + 1, x1:x2] = True  # the upper half of the box
    targets = replace(targets, masks=masks, keypoints=points)
    loss, optimizer = build_loss("task_aligned", head), torch.optim.Adam(leaves(outputs).values(), lr=0.1)
    first = None
    for _ in range(80):
        optimizer.zero_grad()
        value = loss(outputs, targets)
        value.total.backward()
        optimizer.step()
        first = first or value
    assert value.terms["mask"] < 0.2 * first.terms["mask"]
    assert value.terms["keypoint"] < 0.2 * first.terms["keypoint"]
    assert value.terms["visibility"] < 0.2 * first.terms["visibility"]


@pytest.mark.parametrize("name", list(LOSSES))
def test_the_same_input_gives_the_same_bytes(name):
    targets = with_extras(four_pictures(), 17)
    first, gradients, _ = run(name, "extras", targets)
    again, repeated, _ = run(name, "extras", targets)
    assert first.total.item() == again.total.item()
    assert all(torch.equal(gradients[key], repeated[key]) for key in gradients)


@pytest.mark.parametrize("name", list(LOSSES))
def test_the_divisors_go_through_the_average(name):
    calls = []

    def average(value):
        calls.append(value.clone())
        return value

    targets = four_pictures()
    for case in (targets, make_targets([], [])):
        for reduction in ("sum", "mean", "targets"):
            calls.clear()
            run(name, "extras", case, reduction=reduction, average=average)
            counts = len(calls)
            assert (counts == 0) == (reduction == "sum")
            calls.clear()
            run(name, "extras", with_extras(targets, 17), reduction=reduction, average=average)
            assert len(calls) == counts, "processes would wait for one another"


def test_wrong_names_and_values_are_explained():
    head = HEADS["v5"]
    with pytest.raises(ValueError, match=r"name must be one of darknet, .*, got 'yolofve'; did you mean yolofive\?"):
        build_loss("yolofve", head)
    with pytest.raises(
        ValueError, match=r"an option of darknet must be one of .*got 'ignore_io'; did you mean ignore_iou"
    ):
        build_loss("darknet", head, ignore_io=0.5)
    with pytest.raises(ValueError, match="reduction must be one of sum, mean, targets, got 'max'"):
        build_loss("darknet", head, reduction="max")
    with pytest.raises(ValueError, match="box must be a finite number of 0 or more, got -1"):
        build_loss("darknet", head, box=-1)
    with pytest.raises(ValueError, match="outputs must be of the head"):
        build_loss("darknet", head)(make_outputs(HEADS["darknet"]), make_targets([], []))
    with pytest.raises(ValueError, match=r"targets.class_ids must lie in 0 .. 2, got 3 .. 3"):
        build_loss("darknet", head)(make_outputs(head), make_targets([0], [(0, 0, 9, 9)], [3]))
    with pytest.raises(ValueError, match=r"targets.image_index must lie in 0 .. 1, got 2 .. 2"):
        build_loss("darknet", head)(make_outputs(head), make_targets([2], [(0, 0, 9, 9)]))


class TwoProcesses:
    """Runs the halves of a batch one after the other as two processes would: first to hear them, then with the means."""

    def __init__(self):
        self.heard: dict[int, list[torch.Tensor]] = {0: [], 1: []}
        self.rank, self.place = 0, None

    def average(self, value):
        if self.place is None:
            self.heard[self.rank].append(value.detach().clone())
            return value.detach()
        self.place += 1
        return (self.heard[0][self.place - 1] + self.heard[1][self.place - 1]) / 2

    def mean(self, name, head, outputs, targets, **options):
        loss = build_loss(name, head, average=self.average, num_processes=2, **options)
        values = []
        for turn in (None, 0):
            for self.rank in (0, 1):
                self.place = turn
                half = slice(2 * self.rank, 2 * self.rank + 2)
                own = (targets.image_index >= half.start) & (targets.image_index < half.stop)
                shown = {k: v[half] for k, v in leaves(outputs).items()}
                mine = make_targets(
                    (targets.image_index[own] - half.start).tolist(), targets.boxes[own].tolist(),
                    targets.class_ids[own].tolist(),
                )  # fmt: skip
                values.append(loss(replace(outputs, **shown), mine).total)
        return (values[2] + values[3]) / 2


@pytest.mark.parametrize("reduction", ["mean", "targets"])
@pytest.mark.parametrize("name", ["yolofive", "task_aligned", "kkn20230730"])
def test_one_object_in_the_batch_of_two_processes_counts_once(name, reduction):
    head = HEADS["distance"]
    outputs = make_outputs(head, HW, 4)
    targets = make_targets([3], [(20, 20, 52, 60)], [0])
    alone = build_loss(name, head, reduction=reduction)(outputs, targets).total
    both = TwoProcesses().mean(name, head, outputs, targets, reduction=reduction)
    torch.testing.assert_close(both, alone)


def test_classes_are_balanced_over_the_whole_batch_of_two_processes():
    head = HEADS["v5"]
    outputs = make_outputs(head, HW, 4)
    boxes = [(10, 10, 40, 44), (50, 20, 90, 60), (20, 30, 70, 80), (5, 5, 30, 30)]
    targets = make_targets([0, 0, 1, 3], boxes, [0, 1, 0, 0])
    alone = build_loss("kkn20230730", head, num_scale=True, reduction="mean")(outputs, targets).total
    both = TwoProcesses().mean("kkn20230730", head, outputs, targets, num_scale=True, reduction="mean")
    torch.testing.assert_close(both, alone)
