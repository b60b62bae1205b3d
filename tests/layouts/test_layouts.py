"""Each layout: a model with a recorded output decodes to boxes computed by hand."""

import json

import numpy as np
import pytest

import yolokkn
from tests.recorded import cell_heads, recorded_model
from yolokkn.errors import LayoutError, ModelError

PICTURE = np.full((64, 64, 3), 90, np.uint8)
A = 64 + 16 + 4
NAMES3 = str({0: "cat", 1: "dog", 2: "cow"})


def one_box(table, row, box_cxcywh, **columns):
    table[row, :4] = box_cxcywh
    for column, value in columns.items():
        table[row, int(column[1:])] = value
    return table


def check(found, boxes, scores, class_ids):
    np.testing.assert_allclose(found.boxes, np.array(boxes, np.float32).reshape(-1, 4), atol=1e-3)
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)
    assert found.class_ids.tolist() == class_ids


def v8_head(num_classes, extras=0):
    table = cell_heads(4 + num_classes + extras)
    one_box(table, 5, (30, 20, 20, 10), c4=0.3, c6=0.9)
    one_box(table, 6, (30, 21, 20, 10), c6=0.8)  # overlaps the first: suppressed
    one_box(table, 70, (50, 50, 10, 10), c5=0.5)
    return table


def test_v8_by_metadata():
    model = yolokkn.load(
        recorded_model({"output0": v8_head(3).T[None].copy()}, metadata={"task": "detect", "names": NAMES3})
    )
    assert model.layout.name == "v8"
    assert "task detect" in model.reason
    assert model.class_names == ("cat", "dog", "cow")
    check(model(PICTURE), [[20, 15, 40, 25], [45, 45, 55, 55]], [0.9, 0.5], [2, 1])


def test_v8_by_shape_alone():
    model = yolokkn.load(recorded_model({"output0": v8_head(3).T[None].copy()}))
    assert (model.layout.name, model.layout.num_classes) == ("v8", 3)


def test_two_classes_channels_first_is_not_six_columns():
    table = one_box(cell_heads(6), 3, (30, 20, 20, 10), c5=0.7)
    model = yolokkn.load(recorded_model({"output0": table.T[None].copy()}))
    assert model.layout.name == "v8"
    check(model(PICTURE), [[20, 15, 40, 25]], [0.7], [1])


def test_v8_seg():
    table = v8_head(3, extras=2)
    table[5, 7:] = 1, 0
    table[70, 7:] = 0, 1
    prototypes = np.stack([np.full((16, 16), 1.0), np.full((16, 16), -1.0)]).astype(np.float32)[None]
    model = yolokkn.load(
        recorded_model(
            {"output0": table.T[None].copy(), "output1": prototypes}, metadata={"task": "segment", "names": NAMES3}
        )
    )
    found = model(PICTURE)
    check(found, [[20, 15, 40, 25], [45, 45, 55, 55]], [0.9, 0.5], [2, 1])
    assert found.masks.areas().tolist() == [20 * 10, 0]
    assert found.masks.to_full()[0, 15:25, 20:40].all()


def test_v8_pose():
    table = cell_heads(4 + 1 + 2 * 3)
    one_box(table, 9, (32, 32, 16, 16), c4=0.75, c5=30, c6=31, c7=0.5, c8=34, c9=35, c10=1.0)
    model = yolokkn.load(
        recorded_model({"output0": table.T[None].copy()}, metadata={"task": "pose", "kpt_shape": "[2, 3]"})
    )
    found = model(PICTURE)
    check(found, [[24, 24, 40, 40]], [0.75], [0])
    np.testing.assert_allclose(found.keypoints, [[[30, 31, 0.5], [34, 35, 1.0]]])


def seg_pose_outputs():
    table = v8_head(3, extras=2 + 2 * 3)
    table[5, 7:] = 1, 0, 30, 19, 0.5, 34, 22, 1.0
    table[70, 7:] = 0, 1, 48, 49, 0.25, 51, 52, 0.75
    prototypes = np.stack([np.full((16, 16), 1.0), np.full((16, 16), -1.0)]).astype(np.float32)[None]
    return {"output0": table.T[None].copy(), "output1": prototypes}


SEG_POSE = {"task": "segment-pose", "names": NAMES3, "kpt_shape": "[2, 3]"}


def test_v8_seg_pose():
    model = yolokkn.load(recorded_model(seg_pose_outputs(), metadata=SEG_POSE))
    assert (model.layout.name, model.layout.task, model.layout.num_keypoints) == ("v8-seg-pose", "segment-pose", 2)
    found = model(PICTURE)
    check(found, [[20, 15, 40, 25], [45, 45, 55, 55]], [0.9, 0.5], [2, 1])
    assert found.masks.areas().tolist() == [20 * 10, 0]
    np.testing.assert_allclose(found.keypoints[0], [[30, 19, 0.5], [34, 22, 1.0]])
    np.testing.assert_allclose(found.keypoints[1], [[48, 49, 0.25], [51, 52, 0.75]])
    one = model.with_options(classes=[1])(PICTURE)
    np.testing.assert_allclose(one.keypoints, found.keypoints[1:])
    assert one.masks.areas().tolist() == [0]


def test_v8_seg_pose_scales_back_to_the_frame():
    model = yolokkn.load(recorded_model(seg_pose_outputs(), metadata=SEG_POSE))
    found = model(np.full((128, 128, 3), 90, np.uint8))
    np.testing.assert_allclose(found.keypoints[0], [[60, 38, 0.5], [68, 44, 1.0]], atol=1e-4)
    assert found.masks.areas().tolist() == [40 * 20, 0]


def test_v8_seg_pose_drops_rows_whose_keypoints_or_coefficients_are_nan():
    for column in (7, 9):
        outputs = seg_pose_outputs()
        outputs["output0"][0, column, 5] = np.nan
        found = yolokkn.load(recorded_model(outputs, metadata=SEG_POSE), score_threshold=0.4)(PICTURE)
        assert found.num_dropped == 1 and found.class_ids.tolist() == [1]
        assert len(found.masks) == len(found.keypoints) == 1


def test_masks_and_keypoints_need_the_keypoints_number():
    content = recorded_model(seg_pose_outputs(), metadata={"task": "segment-pose", "names": NAMES3})
    with pytest.raises(LayoutError, match="fits no known layout"):
        yolokkn.load(content)
    with pytest.raises(LayoutError, match=r"number of keypoints \(kpt_shape\) is not in the metadata"):
        yolokkn.load(content, layout="v8-seg-pose")
    wrong = recorded_model(seg_pose_outputs(), metadata={**SEG_POSE, "kpt_shape": "[3, 3]"})
    with pytest.raises(LayoutError, match="fits no known layout"):
        yolokkn.load(wrong)
    with pytest.raises(LayoutError, match=r"say layout v8-seg .* but its values do not: scores must be within 0 and 1"):
        yolokkn.load(recorded_model(seg_pose_outputs()))  # no metadata: keypoints are no scores


def test_56_rows_without_metadata_are_ambiguous():
    content = recorded_model({"output0": cell_heads(56).T[None].copy()})
    with pytest.raises(
        LayoutError, match=r"(?s)several ways; choose one with --layout.*v8 .*52 classes.*v8-pose.*1 cla"
    ):
        yolokkn.load(content)
    assert yolokkn.load(content, layout="v8-pose").layout.num_keypoints == 17
    assert yolokkn.load(content, layout="v8").layout.num_classes == 52


def v5_rows(columns, anchors=3):
    table = np.concatenate([cell_heads(columns)] * anchors)
    return one_box(table, 100, (30, 20, 20, 10), c4=0.8, c5=0.1, c6=0.5)


@pytest.mark.parametrize("name", ["output0", "output", "anything"])
def test_v5(name):
    model = yolokkn.load(recorded_model({name: v5_rows(8)[None]}))
    assert (model.layout.name, model.layout.num_classes) == ("v5", 3)
    check(model(PICTURE), [[20, 15, 40, 25]], [0.4], [1])


def test_v5_of_one_class_is_not_a_table():
    table = one_box(np.concatenate([cell_heads(6)] * 3), 7, (30, 20, 20, 10), c4=0.9, c5=0.9)
    model = yolokkn.load(recorded_model({"output0": table[None]}))
    assert model.layout.name == "v5"
    check(model(PICTURE), [[20, 15, 40, 25]], [0.81], [0])


def test_v5_seg():
    table = v5_rows(5 + 3 + 4)
    table[100, 8:] = 1, 0, 0, 0
    prototypes = np.full((1, 4, 16, 16), 2, np.float32)
    model = yolokkn.load(recorded_model({"output0": table[None], "output1": prototypes}))
    assert model.layout.name == "v5-seg"
    assert model(PICTURE).masks.areas().tolist() == [200]


def test_v6():
    table = one_box(cell_heads(8), 20, (30, 20, 20, 10), c4=1.0, c7=0.6)
    model = yolokkn.load(recorded_model({"outputs": table[None]}))
    assert model.layout.name == "v6"
    check(model(PICTURE), [[20, 15, 40, 25]], [0.6], [2])


def yolox_raw():
    table = np.zeros((A, 8), np.float32)
    # cell 9 of stride 8 lies at column 1, row 1: centre (1 + 0.5) * 8, size exp(0) * 8
    return one_box(table, 9, (0.5, 0.5, 0.0, np.log(2)), c4=0.9, c6=1.0)


def test_yolox_is_recognised_by_its_graph():
    model = yolokkn.load(recorded_model({"output": yolox_raw()[None]}))
    assert model.layout.name == "yolox"
    assert model.layout.preprocess.rule == "topleft"
    assert not model.layout.preprocess.swap_rb
    check(model(PICTURE), [[8, 4, 16, 20]], [0.9], [1])


def test_yolox_decoded_in_the_graph():
    table = one_box(cell_heads(8), 9, (12, 12, 8, 16), c4=0.9, c6=1.0)
    model = yolokkn.load(recorded_model({"output": table[None]}, ops=["Exp"]))
    assert model.layout.name == "yolox-decoded"
    check(model(PICTURE), [[8, 4, 16, 20]], [0.9], [1])


def test_rows_with_another_name_are_ambiguous():
    with pytest.raises(LayoutError, match=r"(?s)several ways.*v6.*yolox"):
        yolokkn.load(recorded_model({"detections": yolox_raw()[None]}))


def test_transposed_v8_called_output_is_refused():
    with pytest.raises(LayoutError, match="values do not: boxes must be raw there"):
        yolokkn.load(recorded_model({"output": cell_heads(8)[None]}))


def test_boxes_from_0_to_1_are_refused():
    table = v8_head(3)
    table[:, :4] /= 64
    with pytest.raises(LayoutError, match="values do not: box centres must spread"):
        yolokkn.load(recorded_model({"output0": table.T[None].copy()}))


def test_logits_for_scores_are_refused():
    table = v8_head(3)
    table[:, 4:] -= 6
    with pytest.raises(LayoutError, match="values do not: scores must be within 0 and 1"):
        yolokkn.load(recorded_model({"output0": table.T[None].copy()}))


def table_rows(columns, rows=10):
    table = np.zeros((rows, columns), np.float32)
    table[0, :6] = 20, 15, 40, 25, 0.9, 2
    table[1, :6] = 20, 15, 41, 25, 0.8, 2  # nothing is suppressed in a finished table
    table[2, :6] = 1, 1, 5, 5, 0.1, 0
    return table


@pytest.mark.parametrize("metadata", [{"end2end": "True", "task": "detect"}, {"args": "{'nms': True}"}, {}])
def test_end_to_end_and_nms_inside(metadata):
    model = yolokkn.load(recorded_model({"output0": table_rows(6)[None]}, metadata=metadata))
    assert model.layout.name == "end2end"
    check(model(PICTURE), [[20, 15, 40, 25], [20, 15, 41, 25]], [0.9, 0.8], [2, 2])


def test_end_to_end_seg():
    table = table_rows(6 + 2)
    table[0, 6:] = 1, 0
    model = yolokkn.load(
        recorded_model(
            {"output0": table[None], "output1": np.ones((1, 2, 16, 16), np.float32)}, metadata={"end2end": "True"}
        )
    )
    assert model.layout.name == "end2end-seg"
    assert model(PICTURE).masks.areas().tolist() == [200, 0]


def test_end_to_end_pose():
    table = table_rows(6 + 17 * 3)
    table[0, 6:9] = 21, 22, 0.75
    model = yolokkn.load(recorded_model({"output0": table[None]}, metadata={"end2end": "True", "task": "pose"}))
    assert model.layout.name == "end2end-pose"
    np.testing.assert_allclose(model(PICTURE).keypoints[0, 0], [21, 22, 0.75])


def test_end2end_with_masks_and_keypoints():
    table = np.zeros((5, 6 + 2 + 6), np.float32)
    table[0, :8] = 20, 15, 40, 25, 0.9, 1, 1, 0
    table[0, 8:] = 21, 22, 0.75, 30, 20, 0.5
    prototypes = np.ones((1, 2, 16, 16), np.float32)
    metadata = {"layout": "end2end-seg-pose", "kpt_shape": "[2, 3]", "names": NAMES3}
    found = yolokkn.load(recorded_model({"detections": table[None], "prototypes": prototypes}, metadata=metadata))(
        PICTURE
    )
    check(found, [[20, 15, 40, 25]], [0.9], [1])
    np.testing.assert_allclose(found.keypoints, [[[21, 22, 0.75], [30, 20, 0.5]]])
    assert found.masks.to_full()[0, 15:25, 20:40].all() and found.masks.to_full().sum() == 200


def raw_levels(num_bins, num_extras=0):
    """Levels of strides 8 and 16: box logits of evenly weighed bins, three classes, extras."""
    levels = [np.zeros((1, 4 * num_bins + 3 + num_extras, n, n), np.float32) for n in (8, 4)]
    for level in levels:
        level[:, 4 * num_bins : 4 * num_bins + 3] = -9
    return levels


def test_raw_distances():
    first, second = raw_levels(3)
    first[0, 12 + 2, 1, 4] = 2  # class 2 in row 1, column 4 of stride 8, each side the mean of 0, 1 and 2: 8 px
    second[0, [2, 5, 8, 11], 3, 0] = 50  # last bins: 2 strides of 16 px each way from (8, 56)
    second[0, 12, 3, 0] = 4
    metadata = {"layout": "kkn-raw", "task": "detect", "names": NAMES3, "reg_max": "3", "strides": "[8, 16]"}
    model = yolokkn.load(recorded_model({"head_0": first, "head_1": second}, metadata=metadata))
    scores = 1 / (1 + np.exp(-np.array([4.0, 2.0])))
    check(model(PICTURE), [[0, 24, 40, 64], [28, 4, 44, 20]], scores, [0, 2])


def test_raw_distances_with_masks_and_keypoints():
    first, second = raw_levels(1, num_extras=2 + 3)
    second[0, :4, 1, 2] = np.log(np.expm1(0.5))  # half a stride each way: 8 px from (40, 24)
    second[0, 5, 1, 2] = 3
    second[0, 7:9, 1, 2] = 1, -2
    second[0, 9:12, 1, 2] = 0.25, -0.5, 0  # half a stride to the right, one up
    prototypes = np.stack([np.full((16, 16), 3.0), np.eye(16)])[None].astype(np.float32)
    metadata = {
        "layout": "kkn-raw", "task": "segment-pose", "names": NAMES3, "reg_max": "1", "strides": "[8, 16]", "kpt_shape": "[1, 3]",
    }  # fmt: skip
    outputs = {"head_0": first, "head_1": second, "prototypes": prototypes}
    found = yolokkn.load(recorded_model(outputs, metadata=metadata))(PICTURE)
    check(found, [[32, 16, 48, 32]], [1 / (1 + np.exp(-3.0))], [1])
    np.testing.assert_allclose(found.keypoints, [[[48, 8, 0.5]]], atol=1e-4)
    assert found.masks.to_full()[0, 16:32, 32:48].all()


def test_raw_distances_need_what_the_shapes_do_not_tell():
    outputs = dict(zip(("head_0", "head_1"), raw_levels(2), strict=True))
    for metadata, words in (
        ({}, "needs reg_max and strides"),
        ({"reg_max": "2", "strides": "[8]"}, "one output for each of 1 strides"),
        ({"reg_max": "2", "strides": "[8, 16]", "task": "segment"}, "prototypes with masks alone"),
        ({"reg_max": "2", "strides": "[8, 16]", "task": "pose"}, "needs kpt_shape"),
        ({"reg_max": "3", "strides": "[8, 16]"}, "leave no class"),
    ):
        with pytest.raises(LayoutError, match=words):
            yolokkn.load(recorded_model(outputs, metadata={"layout": "kkn-raw", **metadata}))


def test_deepstream():
    table = np.zeros((A, 6), np.float32)
    table[3] = 20, 15, 40, 25, 0.9, 2
    table[4] = 20, 15, 40, 26, 0.8, 2  # suppressed: this layout has duplicates
    model = yolokkn.load(recorded_model({"output": table[None]}, ops=["ArgMax"]))
    assert model.layout.name == "deepstream"
    check(model(PICTURE), [[20, 15, 40, 25]], [0.9], [2])


def test_efficientnms():
    boxes = np.zeros((1, 5, 4), np.float32)
    boxes[0, :3] = [[20, 15, 40, 25], [1, 2, 3, 4], [9, 9, 20, 20]]
    outputs = {
        "num_dets": np.array([[2]], np.int32),
        "det_boxes": boxes,
        "det_scores": np.array([[0.9, 0.5, 0.8, 0, 0]], np.float32),
        "det_classes": np.array([[2, 1, 1, 0, 0]], np.int32),
    }
    model = yolokkn.load(recorded_model(outputs))
    assert model.layout.name == "efficientnms"
    check(model(PICTURE), [[20, 15, 40, 25], [1, 2, 3, 4]], [0.9, 0.5], [2, 1])


def test_rtdetr_stretches_back():
    outputs = {
        "labels": np.array([[7, 1]], np.int64),
        "boxes": np.array([[[16, 16, 32, 48], [0, 0, 8, 8]]], np.float32),
        "scores": np.array([[0.9, 0.1]], np.float32),
    }
    model = yolokkn.load(recorded_model(outputs, with_sizes=True))
    assert model.layout.name == "rtdetr"
    found = model(np.zeros((32, 128, 3), np.uint8))  # x twice as wide, y half as high
    check(found, [[32, 8, 64, 24]], [0.9], [7])


def rfdetr_outputs():
    logits = np.full((1, 6, 4), -9, np.float32)
    logits[0, 2, 1] = np.log(3)  # sigmoid 0.75
    dets = np.full((1, 6, 4), 0.5, np.float32)
    dets[0, 2] = 0.5, 0.25, 0.5, 0.25
    return {"dets": dets, "labels": logits}


def test_rfdetr():
    model = yolokkn.load(recorded_model(rfdetr_outputs()))
    assert model.layout.name == "rfdetr"
    check(model(PICTURE), [[16, 8, 48, 24]], [0.75], [1])


def test_rfdetr_masks():
    masks = np.full((1, 6, 16, 16), -1, np.float32)
    masks[0, 2, :, 8:] = 1
    model = yolokkn.load(recorded_model({**rfdetr_outputs(), "masks": masks}))
    found = model(PICTURE)
    assert found.masks.areas().tolist() == [16 * 16]
    assert found.masks.to_full()[0, 8:24, 32:48].all()


def test_rfdetr_of_three_classes_by_other_names_is_refused():
    outputs = rfdetr_outputs()
    with pytest.raises(LayoutError, match=r"(?s)fits no known layout.*seen: .*a float32 \(1, 6, 4\); b float32"):
        yolokkn.load(recorded_model({"a": outputs["dets"], "b": outputs["labels"]}))


def darknet_heads():
    head = np.full((1, 2 * (5 + 3), 2, 2), -9, np.float32)
    picked = head.reshape(1, 2, 8, 2, 2)[0, 1, :, 1, 0]
    picked[:4] = 0
    picked[4], picked[6] = 9, 9
    return {"yolo_0": head}


DARKNET = {"layout": "darknet", "anchors": "[[[10, 12], [20, 8]]]", "names": json.dumps(["a", "b", "c"])}


def test_darknet_heads():
    model = yolokkn.load(recorded_model(darknet_heads(), metadata=DARKNET))
    assert model.layout.name == "darknet"
    # column 0, row 1 of a 2 x 2 grid, stride 32: centre (16, 48); the anchor 20 x 8
    score = (1 / (1 + np.exp(-9.0))) ** 2
    check(model(PICTURE), [[6, 44, 26, 52]], [score], [1])


def test_raw_heads_without_anchors_say_so():
    content = recorded_model(darknet_heads())
    with pytest.raises(LayoutError, match="fits no known layout"):
        yolokkn.load(content)
    with pytest.raises(LayoutError, match="needs anchors, which neither the metadata nor the caller gives"):
        yolokkn.load(content, layout="darknet")
    anchors = [[[10, 12], [20, 8]]]
    with pytest.raises(LayoutError, match=r"(?s)several ways.*darknet.*v5-raw"):
        yolokkn.load(content, anchors=anchors)
    assert yolokkn.load(content, anchors=anchors, layout="v5-raw").layout.preprocess.rule == "letterbox"


@pytest.mark.parametrize(
    ("task", "what"), [("obb", "rotated boxes"), ("classify", "classifiers"), ("depth", "models of task 'depth'")]
)
def test_foreign_tasks_are_refused_by_name(task, what):
    with pytest.raises(LayoutError, match=f"{what} are not supported"):
        yolokkn.load(recorded_model({"output0": cell_heads(8).T[None].copy()}, metadata={"task": task}))


@pytest.mark.parametrize("shape", [(1, 1000), (1, 77, 512), (1, 3, 64, 64), (1,)])
def test_foreign_models_are_refused(shape):
    with pytest.raises(LayoutError, match=r"not a model that yolokkn reads.*seen: .*known: v8, v8-seg"):
        yolokkn.load(recorded_model({"logits": np.zeros(shape, np.float32)}))


def test_a_wrong_layout_by_hand_is_refused():
    content = recorded_model({"output0": v8_head(3).T[None].copy()})
    with pytest.raises(LayoutError, match="not the layout v5 "):
        yolokkn.load(content, layout="v5")
    with pytest.raises(ValueError, match=r"layout: must be one of .* got 'v8seg'; did you mean v8-seg\?"):
        yolokkn.load(content, layout="v8seg")


def test_names_must_fit_the_head():
    content = recorded_model({"output0": v8_head(3).T[None].copy()})
    with pytest.raises(LayoutError, match=r"its outputs have 3 classes \(layout v8\), but 2 are named"):
        yolokkn.load(content, names=["one", "two"])
    assert yolokkn.load(content, names=["x", "y", "z"]).class_names == ("x", "y", "z")


@pytest.mark.parametrize("bad", [{"names": "7"}, {"names": "{1: 'a'}"}, {"imgsz": "[0, 9]"}, {"kpt_shape": "[17]"}])
def test_contradictory_metadata_is_an_error(bad):
    with pytest.raises(ModelError, match="metadata: "):
        yolokkn.load(recorded_model({"output0": v8_head(3).T[None].copy()}, metadata=bad))


def test_hostile_metadata_is_text():
    hostile = {"names": "__import__('os').system('true')"}
    with pytest.raises(ModelError, match="names must be a list or a mapping"):
        yolokkn.load(recorded_model({"output0": v8_head(3).T[None].copy()}, metadata=hostile))


def test_half_precision_input():
    model = yolokkn.load(recorded_model({"output0": v8_head(3).T[None].copy()}, dtype="float16"))
    check(model(PICTURE), [[20, 15, 40, 25], [45, 45, 55, 55]], [0.9, 0.5], [2, 1])


def test_classes_filter_and_options():
    content = recorded_model({"output0": v8_head(3).T[None].copy()})
    assert yolokkn.load(content, classes=[1])(PICTURE).class_ids.tolist() == [1]
    assert yolokkn.load(content, max_detections=1)(PICTURE).class_ids.tolist() == [2]
    assert len(yolokkn.load(content, iou_threshold=1.0)(PICTURE)) == 3
    with pytest.raises(ValueError, match="classes: each must be within 0 and 2, got 9"):
        yolokkn.load(content, classes=[9])


def test_nan_rows_are_dropped_and_counted():
    table = v8_head(3)
    table[5, 0] = np.nan
    found = yolokkn.load(recorded_model({"output0": table.T[None].copy()}), score_threshold=0.6)(PICTURE)
    check(found, [[20, 16, 40, 26]], [0.8], [2])
    assert found.num_dropped == 1


def test_longer_tables_and_other_heads_are_no_end_to_end_models():
    rows = np.zeros((1, 6400, 6), np.float32)  # what a head with unusual anchors looks like
    with pytest.raises(LayoutError, match="fits no known layout"):
        yolokkn.load(recorded_model({"output0": rows}))
    head = np.zeros((1, 300, 6), np.float32)  # a transformer's (B, queries, 4 + 2 classes), boxes from 0 to 1
    head[0, :, :4] = 0.5
    head[0, :, 4:] = 0.25
    with pytest.raises(LayoutError, match="values do not: column 6 must be whole class ids"):
        yolokkn.load(recorded_model({"output0": head}, metadata={"task": "detect"}))
    with pytest.raises(LayoutError, match="fits no known layout"):
        yolokkn.load(recorded_model({"output0": head}, metadata={"task": "detect", "end2end": "False"}))


def test_rtdetr_of_many_classes_keeps_them():
    outputs = {
        "labels": np.array([[200]], np.int64),
        "boxes": np.array([[[16, 16, 32, 48]]], np.float32),
        "scores": np.array([[0.9]], np.float32),
    }
    model = yolokkn.load(recorded_model(outputs, with_sizes=True))
    found = model(PICTURE)
    assert found.class_ids.tolist() == [200]
    assert found.class_name(200) == "200"
    assert yolokkn.load(recorded_model(outputs, with_sizes=True), names="coco").class_names[0] == "person"


def test_rfdetr_with_names_leaves_the_last_column_out():
    outputs = rfdetr_outputs()
    outputs["labels"][0, 0, 3] = 9
    model = yolokkn.load(recorded_model(outputs), names=["a", "b", "c"])
    check(model(PICTURE), [[16, 8, 48, 24]], [0.75], [1])


def test_the_files_letterbox_rule_is_followed_and_checked():
    content = v8_head(3).T[None].copy()
    model = yolokkn.load(recorded_model({"output0": content}, metadata={"layout": "v8", "letterbox": "stretch"}))
    assert model.layout.preprocess.rule == "stretch"
    with pytest.raises(ValueError, match="letterbox: must be one of"):
        yolokkn.load(recorded_model({"output0": content}, metadata={"layout": "v8", "letterbox": "crop"}))


def test_a_foreign_layout_key_is_not_ours():
    model = yolokkn.load(recorded_model({"output0": v8_head(3).T[None].copy()}, metadata={"layout": "NCHW"}))
    assert model.layout.name == "v8"


def test_keypoints_that_are_nan_are_dropped_and_counted():
    table = one_box(cell_heads(4 + 1 + 2 * 3), 9, (32, 32, 16, 16), c4=0.75)
    table[9, 5] = np.nan
    metadata = {"task": "pose", "kpt_shape": "[2, 3]"}
    found = yolokkn.load(recorded_model({"output0": table.T[None].copy()}, metadata=metadata))(PICTURE)
    assert len(found) == 0
    assert found.num_dropped == 1
    assert found.keypoints.shape == (0, 2, 3)
