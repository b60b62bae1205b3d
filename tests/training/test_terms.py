"""Each term against values computed by hand, and its gradients."""

import math

import pytest
import torch

from yolokkn.evaluation.coco import PERSON_SIGMAS, sigmas_of
from yolokkn.training.losses import masks as mask_term
from yolokkn.training.losses import terms
from yolokkn.training.overlaps import ciou, diou, giou, iou

OVERLAPS = (iou, giou, diou, ciou)


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_overlaps_by_hand():
    """Two squares of 2 x 2, one pixel apart in x: shared 2, union 6, hull 3 x 2, diagonal^2 13."""
    a, b = boxes((0, 0, 2, 2)), boxes((1, 0, 3, 2))
    assert iou(a, b).item() == pytest.approx(2 / 6)
    assert giou(a, b).item() == pytest.approx(2 / 6)  # the hull has nothing else in it
    assert diou(a, b).item() == pytest.approx(2 / 6 - 1 / 13)
    assert ciou(a, b).item() == pytest.approx(2 / 6 - 1 / 13)


def test_apart_by_hand():
    a, b = boxes((0, 0, 2, 2)), boxes((4, 0, 6, 2))
    assert iou(a, b).item() == 0
    assert giou(a, b).item() == pytest.approx(-(12 - 8) / 12)
    assert diou(a, b).item() == pytest.approx(-16 / 40)


def test_ciou_of_another_shape_by_hand():
    """2 x 2 and 4 x 2 about the same centre: IoU 1/2, no distance, only the shape."""
    a, b = boxes((1, 0, 3, 2)), boxes((0, 0, 4, 2))
    v = 4 / math.pi**2 * (math.atan(2) - math.atan(1)) ** 2
    assert ciou(a, b).item() == pytest.approx(0.5 - v * v / (0.5 + v))


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_overlaps_of_degenerate_boxes(overlap):
    degenerate = boxes((1, 1, 1, 3), (1, 1, 1, 1), (3, 3, 1, 1), (0, 0, 0, 0), (0, 0, 2, 0)).float().requires_grad_()
    for other in (boxes((0, 0, 2, 2)), boxes((1, 1, 1, 1)), boxes((0, 0, 0, 0))):
        values = overlap(degenerate, other.float().expand(5, 4))
        if overlap is iou:
            assert not values.any()
        values.sum().backward()
        assert values.isfinite().all() and degenerate.grad.isfinite().all()


@pytest.mark.parametrize("overlap", (iou, giou, diou))
def test_overlaps_gradients(overlap):
    generator = torch.Generator().manual_seed(1)
    corner = torch.rand(12, 2, generator=generator, dtype=torch.float64) * 4
    a = torch.cat((corner, corner + 1 + torch.rand(12, 2, generator=generator, dtype=torch.float64) * 3), 1)
    b = a.roll(1, 0).clone()
    assert torch.autograd.gradcheck(overlap, (a.requires_grad_(), b.requires_grad_()))


def test_ciou_pulls_towards_the_target():
    a, b = boxes((0, 0, 10, 10)).requires_grad_(), boxes((20, 4, 60, 24))
    start = ciou(a, b).item()
    optimizer = torch.optim.Adam([a], lr=1.0)
    for _ in range(300):
        optimizer.zero_grad()
        (1 - ciou(a, b)).sum().backward()
        optimizer.step()
    assert start < 0 and ciou(a, b).item() > 0.9


def test_cross_entropies_by_hand():
    logits, targets = torch.tensor([0.0, 2.0, -2.0, 0.0]), torch.tensor([0.0, 1.0, 1.0, 0.5])
    half, right = math.log(2), math.log(1 + math.exp(-2))
    torch.testing.assert_close(
        terms.binary_cross_entropy(logits, targets), torch.tensor([half, right, right + 2, half])
    )
    rows = torch.tensor([[0.0, 2.0]])
    value = terms.class_cross_entropy(rows, torch.tensor([1]), torch.tensor([1.0]))
    assert value.item() == pytest.approx(half + right)


def test_squared_error_by_hand():
    """A cell of 8 px; the centre is 4 px off in x, the width twice too large; the target is a quarter of the picture."""
    truth, said = torch.tensor([[0.0, 0, 16, 16]]), torch.tensor([[-4.0, 0, 28, 16]])
    value = terms.squared_error(said, truth, torch.tensor([8.0]), (32, 32))
    assert value.item() == pytest.approx((2 - 0.25) * (0.5**2 + math.log(2) ** 2), rel=1e-3)


def test_squared_error_is_that_of_darknets_numbers():
    """For darknet's formula the decoded differences are those of sigma(t_x) and t_w."""
    stride, anchor, t = 8.0, 20.0, torch.tensor([0.3, -0.2, 0.4, -0.1])
    cell = torch.tensor([2.0, 1.0])

    def decode(t):
        center, size = (t[:2].sigmoid() + cell) * stride, t[2:].exp() * anchor
        return torch.cat((center - size / 2, center + size / 2))[None]

    other = torch.tensor([-0.5, 0.7, 0.2, 0.3])
    shift = (t[:2].sigmoid() - other[:2].sigmoid()).square().sum() + (t[2:] - other[2:]).square().sum()
    share = (other[2:].exp() * anchor).prod() / (64 * 64)
    value = terms.squared_error(decode(t), decode(other), torch.tensor([stride]), (64, 64))
    torch.testing.assert_close(value, ((2 - share) * shift)[None], rtol=1e-3, atol=1e-5)


def test_distribution_focal_by_hand():
    logits = torch.log(torch.tensor([[[0.1, 0.2, 0.3, 0.4]]]))
    value = terms.distribution_focal(logits, torch.tensor([[1.25]]))
    assert value.item() == pytest.approx(-(0.75 * math.log(0.2) + 0.25 * math.log(0.3)))
    for distance, bin_ in ((0.0, 0.1), (3.0, 0.4), (99.0, 0.4), (-5.0, 0.1)):
        value = terms.distribution_focal(logits, torch.tensor([[distance]]))
        assert value.item() == pytest.approx(-math.log(bin_), rel=1e-5)


def test_distribution_focal_gradients():
    logits = torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    distances = torch.linspace(-1, 6, 12, dtype=torch.float64).reshape(3, 4)
    assert torch.autograd.gradcheck(lambda x: terms.distribution_focal(x, distances), (logits,))


def test_object_similarity_by_hand():
    """One of two keypoints is labelled, 3 px off, in a box of 10 x 20."""
    truths = torch.tensor([[[5.0, 5.0, 2.0], [float("nan"), 0.0, 0.0]]])
    said = torch.tensor([[[8.0, 5.0], [70.0, 70.0]]], requires_grad=True)
    sigmas = torch.tensor([0.1, 0.1])
    value = terms.object_similarity(said, truths, torch.tensor([[0.0, 0, 10, 20]]), sigmas)
    e = 9 / (2 * 0.53 * 200 * 0.2**2)
    assert value.item() == pytest.approx(1 - math.exp(-e) + 0.1 * math.log(1 + e), rel=1e-6)
    value.sum().backward()
    assert said.grad.isfinite().all() and not said.grad[0, 1].any()


def test_object_similarity_reaches_far_keypoints():
    said = torch.tensor([[[0.0, 0.0]]], requires_grad=True)
    truths, box = torch.tensor([[[60.0, 30.0, 2.0]]]), torch.tensor([[0.0, 0, 64, 64]])
    optimizer = torch.optim.Adam([said], lr=1.0)
    for _ in range(150):
        optimizer.zero_grad()
        terms.object_similarity(said, truths, box, torch.tensor([0.025])).sum().backward()
        optimizer.step()
    torch.testing.assert_close(said.detach(), truths[..., :2], atol=1.0, rtol=0)


def test_sigmas():
    assert sigmas_of(17) == PERSON_SIGMAS
    assert len(sigmas_of(5)) == 5 and len(set(sigmas_of(5))) == 1


def mask_case():
    generator = torch.Generator().manual_seed(0)
    coeffs = torch.randn(5, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    prototypes = torch.randn(2, 3, 6, 8, dtype=torch.float64, generator=generator, requires_grad=True)
    masks = torch.rand(3, 6, 8, generator=generator) > 0.5
    boxes_ = torch.tensor([[0.0, 0, 11, 9], [4, 4, 32, 24], [30.5, 22.5, 31, 23]])
    images, targets = torch.tensor([0, 1, 1, 0, 1]), torch.tensor([0, 2, 1, 0, 1])
    return coeffs, prototypes, masks, boxes_, images, targets, torch.rand(5, generator=generator, dtype=torch.float64)


def slow_masks(coeffs, prototypes, masks, boxes_, images, targets, weights):
    total = coeffs.new_zeros(())
    for i, (image, target) in enumerate(zip(images.tolist(), targets.tolist(), strict=True)):
        x1, y1, x2, y2 = (boxes_[target] / 4).tolist()
        values = []
        for y in range(6):
            for x in range(8):
                if x + 1 > x1 and x < x2 and y + 1 > y1 and y < y2:  # the cell touches the box
                    logit, truth = (coeffs[i] * prototypes[image, :, y, x]).sum(), masks[target, y, x].double()
                    values.append(torch.nn.functional.binary_cross_entropy_with_logits(logit, truth))
        total = total + weights[i] * torch.stack(values).mean()
    return total


def test_masks_equal_the_slow_sum_and_its_gradients():
    case = mask_case()
    fast, slow = mask_term.mask_cross_entropy(*case), slow_masks(*case)
    torch.testing.assert_close(fast, slow)
    for x, y in zip(torch.autograd.grad(3 * fast, case[:2]), torch.autograd.grad(3 * slow, case[:2]), strict=True):
        torch.testing.assert_close(x, y)


def test_masks_by_hand():
    """One cell, coefficient 2, prototype 1, mask on: log(1 + exp(-2))."""
    prototypes, masks = torch.ones(1, 1, 2, 2), torch.ones(1, 2, 2, dtype=torch.bool)
    index, box = torch.zeros(1, dtype=torch.int64), torch.tensor([[4.0, 4, 8, 8]])
    value = mask_term.mask_cross_entropy(torch.tensor([[2.0]]), prototypes, masks, box, index, index, torch.ones(1))
    assert value.item() == pytest.approx(math.log(1 + math.exp(-2)))
    with pytest.raises(ValueError, match=r"masks must have the prototypes' size \(2, 2\), got \(1, 2\)"):
        mask_term.mask_cross_entropy(torch.tensor([[2.0]]), prototypes, masks[:, :1], box, index, index, torch.ones(1))
