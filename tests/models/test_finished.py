"""Tables of finished boxes: what the graph suppresses equals decoding and suppression in NumPy, and in ONNX Runtime."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import torch

from yolokkn import ops
from yolokkn.models.finished import BestClassTable, EfficientNmsTables, EndToEndTable, Suppression

NUM_CLASSES, NUM_EXTRAS = 3, 2


def crowded(seed, *, batch=2, anchors=120, extras=NUM_EXTRAS):
    """Decoded heads with many boxes on top of each other, of distinct scores."""
    rng = np.random.default_rng(seed)
    centres = rng.choice([20.0, 60.0, 100.0], (batch, 2, anchors)) + rng.normal(0, 4, (batch, 2, anchors))
    sizes = rng.uniform(20, 40, (batch, 2, anchors))
    scores = rng.permuted(np.linspace(0.001, 0.999, anchors * NUM_CLASSES))[None].repeat(batch, 0)
    scores = rng.permuted(scores, axis=1).reshape(batch, NUM_CLASSES, anchors) ** 2
    return np.concatenate([centres, sizes, scores, rng.normal(0, 1, (batch, extras, anchors))], 1).astype(np.float32)


def expected(decoded, rule):
    """One item: (N, 6 + extras) rows by the references, best first."""
    found = ops.reference.decode_channels(decoded, NUM_CLASSES, score_threshold=rule.score_threshold)
    keep = ops.reference.nms(found.boxes, found.scores, found.class_ids, iou_threshold=rule.iou_threshold)
    keep = keep[: rule.max_detections]
    extras = decoded[4 + NUM_CLASSES :, found.anchor_index[keep]].T
    columns = found.boxes[keep], found.scores[keep, None], found.class_ids[keep, None], extras
    return np.concatenate(columns, 1).astype(np.float32)


def as_onnx(module, decoded, *, opset=17):
    """Trace a table alone and return what ONNX Runtime makes of a head of another batch and size."""
    import onnxruntime

    names = list(module.output_names)
    axes = {"decoded": {0: "batch", 2: "anchors"}}
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", torch.jit.TracerWarning)
        torch.onnx.export(
            module, (torch.from_numpy(crowded(9, anchors=30, extras=decoded.shape[1] - 4 - NUM_CLASSES)),), stream, dynamo=False,
            opset_version=opset, input_names=["decoded"], output_names=names, dynamic_axes=axes,
        )  # fmt: skip
    return onnxruntime.InferenceSession(stream.getvalue()).run(None, {"decoded": decoded})


RULES = [Suppression(0.1, 0.7, 300), Suppression(0.25, 0.3, 300), Suppression(0.0, 0.7, 10), Suppression(0.9, 0.5, 40)]


@pytest.mark.parametrize("rule", RULES)
def test_end2end_equals_decoding_and_suppression(rule):
    module = EndToEndTable(NUM_CLASSES, NUM_EXTRAS, rule)
    for seed in range(5):
        decoded = crowded(seed)
        (torch_table,) = module(torch.from_numpy(decoded))
        (onnx_table,) = as_onnx(module, decoded)
        assert torch_table.shape == (2, rule.max_detections, 6 + NUM_EXTRAS)
        for item in range(2):
            rows = expected(decoded[item], rule)
            assert 0 < len(rows)
            for table in (torch_table.numpy()[item], onnx_table[item]):
                np.testing.assert_allclose(table[: len(rows)], rows, atol=1e-5)
                assert not table[len(rows) :].any()


@pytest.mark.parametrize("rule", RULES)
def test_efficientnms_says_the_same_in_four_tables(rule):
    decoded = crowded(3, extras=0)
    table = EndToEndTable(NUM_CLASSES, 0, rule)(torch.from_numpy(decoded))[0].numpy()
    module = EfficientNmsTables(NUM_CLASSES, rule)
    for count, boxes, scores, classes in (
        as_onnx(module, decoded),
        [t.numpy() for t in module(torch.from_numpy(decoded))],
    ):
        assert count.dtype == classes.dtype == np.int32 and count.shape == (2, 1)
        assert count[:, 0].tolist() == (table[..., 4] > 0).sum(1).tolist()
        np.testing.assert_array_equal(np.dstack([boxes, scores, classes]), table)


def test_deepstream_gives_every_anchor_its_best_class():
    decoded = crowded(1)
    module = BestClassTable(NUM_CLASSES)
    for (table,) in (as_onnx(module, decoded), [t.numpy() for t in module(torch.from_numpy(decoded))]):
        assert table.shape == (2, 120, 6)
        for item in range(2):
            found = ops.reference.decode_channels(decoded[item], NUM_CLASSES, score_threshold=0)
            np.testing.assert_allclose(table[item, :, :4], found.boxes, atol=1e-5)
            np.testing.assert_array_equal(table[item, :, 4], found.scores)
            np.testing.assert_array_equal(table[item, :, 5], found.class_ids)


def test_fewer_anchors_than_rows_and_nothing_found():
    module = EndToEndTable(NUM_CLASSES, NUM_EXTRAS, Suppression(0.999, 0.7, 300))
    decoded = crowded(0, anchors=5)
    for table in (module(torch.from_numpy(decoded))[0].numpy(), as_onnx(module, decoded)[0]):
        assert table.shape == (2, 300, 6 + NUM_EXTRAS) and not table.any()


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_other_opsets(opset):
    rule, decoded = Suppression(), crowded(2)
    (table,) = as_onnx(EndToEndTable(NUM_CLASSES, NUM_EXTRAS, rule), decoded, opset=opset)
    rows = expected(decoded[0], rule)
    np.testing.assert_allclose(table[0, : len(rows)], rows, atol=1e-5)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"score_threshold": 1.5}, "score_threshold must be within 0 and 1, got 1.5"),
        ({"iou_threshold": -0.1}, "iou_threshold must be within 0 and 1"),
        ({"max_detections": 0}, "max_detections must be 1 to 3840, got 0"),
    ],
)
def test_refuses(values, words):
    with pytest.raises(ValueError, match=words):
        Suppression(**values)
