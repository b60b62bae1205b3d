"""Every loss on bare logits: optimising them must end at the targets, on every kind of head."""

import pytest
import torch

from tests.training.heads import HEADS, four_pictures, leaves, make_outputs
from yolokkn.models.outputs import decode_boxes
from yolokkn.training.losses import LOSSES, build_loss
from yolokkn.training.overlaps import iou


@pytest.mark.parametrize("head", ["distance", "softplus", "v5", "darknet", "scaled", "tiny"])
@pytest.mark.parametrize("name", list(LOSSES))
def test_optimised_logits_say_the_targets(name, head):
    targets = four_pictures()
    outputs = make_outputs(HEADS[head], (96, 128), 4, spread=0.1)
    loss = build_loss(name, HEADS[head])
    optimizer = torch.optim.Adam(leaves(outputs).values(), lr=0.25)
    first = loss(outputs, targets).total.item()
    for _ in range(75):
        optimizer.zero_grad()
        value = loss(outputs, targets)
        value.total.backward()
        optimizer.step()
    assert value.total.item() < first
    boxes = decode_boxes(outputs).detach()
    scores = outputs.classes.detach().sigmoid()
    if outputs.objectness is not None:
        scores = scores * outputs.objectness.detach().sigmoid()[..., None]
    for image, truth, class_id in zip(targets.image_index, targets.boxes, targets.class_ids, strict=True):
        overlaps = iou(boxes[image], truth.expand_as(boxes[image]))
        best = (scores[image, :, class_id] * overlaps).argmax()
        assert overlaps[best] > 0.75 and scores[image, best, class_id] > 0.4
        others = scores[image].clone()
        others[:, class_id] = 0
        assert others[best].max() < 0.2
    for image in range(4):  # nothing scores high that is no target
        own = (targets.image_index == image).nonzero()[:, 0]
        place, class_id = (scores[image] > 0.5).nonzero(as_tuple=True)
        fits = iou(boxes[image, place][:, None], targets.boxes[own]) * (class_id[:, None] == targets.class_ids[own])
        assert not len(place) or fits.amax(1).min() > 0.5
    lone = scores[2]  # the picture without objects
    assert lone.max() < 0.1
