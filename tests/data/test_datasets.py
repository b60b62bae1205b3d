"""Every format: what is read, what is dropped or clipped, and that the report names it."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.files import (
    many_shapes,
    picture,
    thing,
    write_coco,
    write_instances,
    write_mot,
    write_picture,
    write_voc,
    write_yolo,
)
from tests.strategies import scaled
from yolokkn import ops
from yolokkn.data.datasets import concat, hash_part, open_dataset, remap, split_by_hash
from yolokkn.data.rings import fill_rings
from yolokkn.errors import DataError
from yolokkn.types import Masks


def issues(dataset):
    return [(issue.kind, issue.where, issue.action) for issue in dataset.report.issues]


def test_coco_boxes_crowds_and_the_picture(tmp_path):
    root = write_coco(tmp_path, [thing(1), thing(2, 1, 7, (0, 0, 80, 60), iscrowd=1), thing(3, 0, 7, (30, 5, 10, 10))])
    dataset = open_dataset(root)
    assert (dataset.report.format, dataset.class_names, dataset.image_ids) == ("coco", ("cat", "dog"), ("0", "1", "2"))
    sample = dataset.load(0)
    assert sample.boxes.tolist() == [[10, 10, 30, 30], [30, 5, 40, 15]]
    assert sample.class_ids.tolist() == [0, 1] and sample.masks is None and sample.keypoints is None
    np.testing.assert_array_equal(sample.image, picture(seed=0))
    assert dataset.load(1).ignored.tolist() == [True] and len(dataset.load(2)) == 0
    report = dataset.report
    assert (report.num_images, report.num_background, report.num_objects, report.num_ignored) == (3, 1, 2, 1)
    assert report.ok and "nothing wrong" in report.text()


def test_coco_masks_from_polygons_and_both_kinds_of_run_lengths(tmp_path):
    bitmap = np.zeros((60, 80), np.uint8)
    bitmap[10:30, 20:50] = 1
    bitmap[15:20, 30:40] = 0  # a hole
    crop = Masks(np.ascontiguousarray(bitmap[10:30, 20:50]).ravel(), np.array([[20, 10, 50, 30]], np.int32), (60, 80))
    packed = ops.encode_rle(crop)[0]
    runs = np.flatnonzero(np.diff(np.concatenate([[0], bitmap.T.ravel(), [1 - bitmap.T.ravel()[-1]]])))
    counts = np.diff(np.concatenate([[0], runs])).tolist()
    rows = [
        thing(1, 0, bbox=(20, 10, 30, 20), segmentation={"size": [60, 80], "counts": packed["counts"].decode()}),
        thing(2, 1, bbox=(20, 10, 30, 20), segmentation={"size": [60, 80], "counts": counts}),
        thing(3, 2, bbox=(20, 10, 30, 20), segmentation=[[20, 10, 50, 10, 50, 30, 20, 30]]),
    ]
    dataset = open_dataset(write_coco(tmp_path, rows), task="segment")
    assert dataset.report.ok, dataset.report.text()
    for i in (0, 1):
        np.testing.assert_array_equal(fill_rings(dataset.load(i).masks[0], (60, 80)), bitmap)
    assert fill_rings(dataset.load(2).masks[0], (60, 80)).sum() == 600


def test_coco_polygons_that_overlap_are_one_mask(tmp_path):
    two = [[10, 10, 40, 10, 40, 30, 10, 30], [20, 20, 60, 20, 60, 50, 20, 50]]
    dataset = open_dataset(write_coco(tmp_path, [thing(1, bbox=(10, 10, 50, 40), segmentation=two)]), task="segment")
    filled = fill_rings(dataset.load(0).masks[0], (60, 80))
    assert filled[25, 30] == 1 and abs(int(filled.sum()) - (600 + 1200 - 200)) < 20


def test_coco_keypoints(tmp_path):
    dataset = open_dataset(many_shapes(tmp_path), task="pose")
    assert dataset.keypoint_names == ("left_ear", "right_ear", "nose") and dataset.flip_pairs == ((0, 1),)
    keypoints = dataset.load(0).keypoints
    assert keypoints.shape[1:] == (3, 3) and keypoints[0, :, 2].tolist() == [2, 1, 0]
    assert keypoints[0, 2].tolist() == [0, 0, 0]  # not labelled: nowhere
    assert dataset.num_keypoints == 3 and dataset.report.num_posed == 36


def test_coco_faults_are_named_and_never_a_crash(tmp_path):
    rows = [
        thing(1),
        thing(2),  # duplicate
        thing(3, bbox=(70, 50, 20, 20)),  # leaves the picture
        thing(4, bbox=(90, 10, 5, 5)),  # outside
        thing(5, bbox=(5, 5, 0, 9)),
        thing(6, category_id=99),
        thing(7, image_id=55),
        thing(8, bbox=[1, 2, 3]),
        thing(9, bbox=[float("nan"), 2, 3, 4]),
        "what",
        thing(10, 1, segmentation=[[1, 2]], bbox=(1, 1, 9, 9)),
        thing(11, 1, segmentation={"size": [1, 1], "counts": "01"}, bbox=(2, 1, 9, 9)),
        thing(12, 1, segmentation={"size": [60, 80]}, bbox=(3, 1, 9, 9)),
    ]
    root = write_coco(tmp_path, rows)
    (root / "train" / "2.png").unlink()
    dataset = open_dataset(root, task="segment")
    found = issues(dataset)
    name = "instances_train.json: annotations"
    assert found == [
        ("missing picture", f"{name}[6]", "dropped"),
        ("broken labels", f"{name}[9]", "dropped"),
        ("missing picture", str(root / "train" / "2.png"), "picture left out"),
        ("duplicate", f"{name}[1] (id 2)", "dropped"),
        ("out of frame", f"{name}[2] (id 3)", "clipped"),
        ("out of frame", f"{name}[3] (id 4)", "dropped"),
        ("zero area", f"{name}[4] (id 5)", "dropped"),
        ("unknown class", f"{name}[5] (id 6)", "dropped"),
        ("broken labels", f"{name}[7] (id 8)", "dropped"),
        ("broken labels", f"{name}[8] (id 9)", "dropped"),
        ("bad mask", f"{name}[10] (id 10)", "kept without a mask"),
        ("bad mask", f"{name}[11] (id 11)", "kept without a mask"),
        ("bad mask", f"{name}[12] (id 12)", "kept without a mask"),
    ], dataset.report.text()
    assert dataset.load(0).boxes.tolist() == [[10, 10, 30, 30], [70, 50, 80, 60]] and len(dataset) == 2
    with pytest.raises(DataError, match="must be without faults"):
        open_dataset(root, strict=True)


def test_voc_counts_from_one_and_names_the_bad_box(tmp_path):
    rows = [[("dog", 1, 1, 80, 60, 0), ("cat", 11, 21, 30, 40, 1)], [("dog", 5, 5, 5, 5, 0), ("cat", 5, 5, 9, 9, 0)]]
    dataset = open_dataset(write_voc(tmp_path, rows))
    assert dataset.report.format == "voc" and len(dataset.class_names) == 20  # VOC's own names
    sample = dataset.load(0)
    assert sample.boxes.tolist() == [[0, 0, 80, 60], [10, 20, 30, 40]] and sample.ignored.tolist() == [False, True]
    assert issues(dataset) == [("zero area", "Annotations/p1.xml, object 1", "dropped")]
    assert "dog, bndbox 5, 5, 5, 5" in dataset.report.text()


def test_voc_names_years_and_faults(tmp_path):
    write_voc(tmp_path / "VOC2007", [[("red", 1, 1, 9, 9, 0)], [("blue", 1, 1, 9, 9, 0)]], split="trainval")
    write_voc(tmp_path / "VOC2012", [[("red", 1, 1, 200, 9, 0)], [], []], split="trainval")
    (tmp_path / "VOC2012/Annotations/p1.xml").write_text("<annotation><obj")
    (tmp_path / "VOC2012/Annotations/p2.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>')
    dataset = open_dataset(tmp_path, "2007:trainval+2012:trainval")
    assert dataset.class_names == ("blue", "red") and len(dataset) == 5 and dataset.image_ids[0] == "VOC2007/p0"
    assert [i[0] for i in issues(dataset)] == ["out of frame", "broken labels", "broken labels"]
    named = open_dataset(tmp_path / "VOC2007", "trainval", names=["red"])
    assert named.class_names == ("red",) and issues(named)[0][0] == "unknown class"
    with pytest.raises(DataError, match="split must be one of trainval, got 'test'"):
        open_dataset(tmp_path, "test")


def test_yolo_boxes_segments_and_rows_that_are_none(tmp_path):
    text = "0 0.5 0.5 0.25 0.5\n1 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n\n0 x 1 1 1\n0 0.5 0.5\n5 0.5 0.5 0.1 0.1\n0.5 .1 .1 .1 .1\n"
    dataset = open_dataset(write_yolo(tmp_path, [text, None, ""]), task="segment")
    sample = dataset.load(0)
    np.testing.assert_allclose(sample.boxes, [[30, 15, 50, 45], [8, 6, 40, 30]], atol=1e-4)
    assert sample.masks[0] == () and fill_rings(sample.masks[1], (60, 80)).sum() == 32 * 24
    assert [(kind, where) for kind, where, _ in issues(dataset)] == [
        ("broken labels", "train/p0.txt:4"),
        ("broken labels", "train/p0.txt:5"),
        ("unknown class", "train/p0.txt:6"),
        ("unknown class", "train/p0.txt:7"),
    ]
    assert dataset.report.num_background == 2
    assert open_dataset(tmp_path / "data.yaml").load(0).masks is None


@pytest.mark.parametrize("dims", [2, 3])
def test_yolo_pose(tmp_path, dims):
    points = "0.5 0.5 2 0.25 0.25 1 0 0 0" if dims == 3 else "0.5 0.5 0.25 0.25 0 0"
    yaml = f"names: {{0: cat}}\nkpt_shape: [3, {dims}]\nflip_idx: [1, 0, 2]\n"
    dataset = open_dataset(write_yolo(tmp_path, [f"0 0.5 0.5 0.5 0.5 {points}\n"], yaml=yaml), task="pose")
    keypoints = dataset.load(0).keypoints
    assert keypoints[0, :, :2].tolist() == [[40, 30], [20, 15], [0, 0]] and dataset.flip_pairs == ((0, 1),)
    assert keypoints[0, :, 2].tolist() == ([2, 1, 0] if dims == 3 else [2, 2, 0])


@pytest.mark.parametrize("task", ["detect", "segment"])
@pytest.mark.parametrize(("count", "dims"), [(3, 3), (4, 3), (17, 2), (5, 2)])
def test_yolo_pose_labels_give_boxes_to_other_tasks(tmp_path, task, count, dims):
    points = " ".join(" ".join(["0.3", "0.8", "2"][:dims]) for _ in range(count))
    yaml = f"names: [cat]\nkpt_shape: [{count}, {dims}]\n"
    dataset = open_dataset(write_yolo(tmp_path, [f"0 0.5 0.5 0.5 0.5 {points}\n"], yaml=yaml), task=task)
    sample = dataset.load(0)
    assert dataset.report.ok and sample.keypoints is None
    assert sample.boxes.tolist() == [[20, 15, 60, 45]]
    assert sample.masks is None or not any(sample.masks)


def test_yolo_polygons_beside_kpt_shape_stay_polygons(tmp_path):
    yaml = "names: [cat]\nkpt_shape: [3, 3]\n"
    dataset = open_dataset(write_yolo(tmp_path, ["0 0.25 0.25 0.75 0.25 0.5 0.75\n"], yaml=yaml), task="segment")
    assert dataset.report.ok and len(dataset.load(0).masks[0][0]) == 3


@pytest.mark.parametrize(
    ("index", "want"), [("", None), ("flip_idx: [0, 1, 2]\n", ()), ("flip_idx: [1, 0, 2]\n", ((0, 1),))]
)
def test_yolo_says_which_keypoints_change_places_or_it_is_unknown(tmp_path, index, want):
    yaml = f"names: [cat]\nkpt_shape: [3, 2]\n{index}"
    dataset = open_dataset(
        write_yolo(tmp_path, ["0 0.5 0.5 0.5 0.5 0.1 0.1 0.2 0.2 0.3 0.3\n"], yaml=yaml), task="pose"
    )
    assert dataset.flip_pairs == want


def test_yolo_finds_pictures_where_they_are(tmp_path):
    write_yolo(tmp_path, ["0 .5 .5 .5 .5\n"] * 2, split="valid", yaml=None)
    (tmp_path / "data.yaml").write_text("path: /nowhere\nval: ../elsewhere/valid\nnames: [a]\n")
    dataset = open_dataset(tmp_path, "val")
    assert len(dataset) == 2 and "which is not there" in dataset.report.found
    (tmp_path / "list.txt").write_text("./images/valid/p1.png\n")
    (tmp_path / "data.yaml").write_text("val: [list.txt]\nnames: [a]\n")
    assert open_dataset(tmp_path, "val").image_ids == ("p1",)
    with pytest.raises(DataError, match="no pictures of split 'train'"):
        open_dataset(tmp_path, "train")


def test_yolo_plain_folder(tmp_path):
    write_picture(tmp_path / "images" / "a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("2 .5 .5 .5 .5\n")
    assert open_dataset(tmp_path).class_names == ("class 0", "class 1", "class 2")
    (tmp_path / "labels" / "a.txt").unlink()
    with pytest.raises(DataError, match="no labels for"):
        open_dataset(tmp_path)


def test_mot_frames(tmp_path):
    rows = [
        (1, 1, 11, 11, 20, 20, 1, 1, 1),
        (1, 2, 1, 1, 9, 9, 0, 1, 1),
        (2, 3, 1, 1, 9, 9, 0, 8, 1),
        (2, 4, 1, 1, 5, 5, 0, 3),
    ]
    dataset = open_dataset(write_mot(tmp_path / "seq", rows))
    assert dataset.report.format == "mot" and dataset.class_names == ("person",) and len(dataset) == 3
    assert dataset.load(0).boxes.tolist() == [[10, 10, 30, 30]] and not dataset.load(0).ignored.any()
    assert dataset.load(1).ignored.tolist() == [True] and dataset.image_ids[1] == "seq/000002"
    assert len(open_dataset(tmp_path)) == 3  # the folder of sequences


def test_instance_png(tmp_path):
    mask = np.zeros((60, 80), np.uint8)
    mask[5:20, 5:30], mask[30:50, 40:70], mask[0, 0] = 1, 7, 3
    dataset = open_dataset(write_instances(tmp_path, [mask]), task="segment", names=["person"])
    sample = dataset.load(0)
    assert sample.boxes.tolist() == [[5, 5, 30, 20], [40, 30, 70, 50]]
    np.testing.assert_array_equal(fill_rings(sample.masks[1], (60, 80)), mask == 7)
    assert issues(dataset) == [("zero area", "masks/p0.png, value 3", "dropped")]


def test_broken_pictures_are_left_out_and_named(tmp_path):
    root = write_coco(tmp_path, [thing(1), thing(2, 2)], count=5)
    whole = cv2.imencode(".jpg", picture())[1].tobytes()
    (root / "train" / "1.png").write_text("hello")
    (root / "train" / "2.png").write_bytes(whole[:-40])
    (root / "train" / "3.png").write_bytes(b"")
    cv2.imwrite(str(root / "train" / "4.png"), picture((30, 40)))
    dataset = open_dataset(root)
    assert [i[0] for i in issues(dataset)] == ["broken picture"] * 3 + ["size differs"] and len(dataset) == 2
    assert len(open_dataset(root, check="files")) == 5
    with pytest.raises(DataError, match=r"3\.png must be an image, got an empty file"):
        open_dataset(root, check="files").load(3)


def test_what_is_no_dataset(tmp_path):
    with pytest.raises(DataError, match="got nothing there"):
        open_dataset(tmp_path / "none")
    with pytest.raises(DataError, match=r"coco: annotations.*got an empty folder"):
        open_dataset(tmp_path)
    with pytest.raises(ValueError, match="did you mean segment"):
        open_dataset(tmp_path, task="segmant")
    with pytest.raises(ValueError, match="format must be one of coco, voc"):
        open_dataset(tmp_path, format="cocoo")
    (tmp_path / "a.json").write_text("[1")
    with pytest.raises(DataError, match="must be a JSON file"):
        open_dataset(tmp_path / "a.json")
    (tmp_path / "data.yaml").write_text("a: [")
    with pytest.raises(DataError, match=r"data\.yaml"):
        open_dataset(tmp_path)


def test_subsets_mapping_and_concatenation(tmp_path):
    a = open_dataset(many_shapes(tmp_path / "a"), task="segment-pose")
    b = open_dataset(
        write_yolo(tmp_path / "b", ["0 .5 .5 .5 .5\n1 .5 .5 .2 .2\n"] * 3, yaml="names: [motorbike, Dog]\n")
    )
    mapped = remap(b, ["dog", "motorcycle"])
    assert mapped.load(0).class_ids.tolist() == [1, 0] and mapped.report.class_counts == {"dog": 3, "motorcycle": 3}
    only = remap(a, ["dog", "motorcycle"])
    assert len(only) == len(a) and only.report.num_objects == 18
    both = concat([only, mapped], weights=[1, 3])
    assert len(both) == len(a) + 3 and both.weights.tolist() == [1.0] * 12 + [3.0] * 3
    assert both.load(13).boxes.tolist() == mapped.load(1).boxes.tolist()
    one, other = only.load(2), both.load(2)
    np.testing.assert_array_equal(one.keypoints, other.keypoints)
    for mine, theirs in zip(one.masks, other.masks, strict=True):
        np.testing.assert_array_equal(mine[0], theirs[0])
    with pytest.raises(ValueError, match="must have the same classes"):
        concat([a, b])
    with pytest.raises(ValueError, match="no class of"):
        remap(b, ["zebra"])
    with pytest.raises(ValueError, match="did you mean motorbike"):
        remap(b, ["dog"], {"motorbik": "dog"})


def test_a_fixed_fifth_is_set_aside(tmp_path):
    dataset = open_dataset(many_shapes(tmp_path, 40))
    rest, aside = split_by_hash(dataset, 2)
    assert sorted(rest.image_ids + aside.image_ids) == sorted(dataset.image_ids) and 2 <= len(aside) <= 16
    assert all(hash_part(i, 5) == 2 for i in aside.image_ids)
    assert split_by_hash(dataset.subset(np.arange(20)), 2)[1].image_ids == tuple(
        i for i in aside.image_ids if int(i) < 20
    )
    assert hash_part("139", 5) == 1  # never changes


def aside_names(dataset):
    return {path.name for path in split_by_hash(dataset, parts=2)[1].paths}


def test_what_is_added_moves_no_picture_to_another_part(tmp_path):
    yolo = write_yolo(tmp_path / "yolo", ["0 .5 .5 .5 .5\n"] * 12)
    alone = aside_names(open_dataset(yolo))
    assert 2 <= len(alone) <= 10
    write_yolo(yolo, ["0 .5 .5 .5 .5\n"], split="more")  # another p0: ids become paths
    (yolo / "data.yaml").write_text("names: [cat, dog]\ntrain: [images/train, images/more]\n")
    both = open_dataset(yolo)
    assert len(both) == 13 and len(set(both.image_ids)) == 13 and aside_names(both) == alone

    year = write_voc(tmp_path / "kit/VOC2007", [[("cat", 1, 1, 20, 20, 0)]] * 12)
    alone = aside_names(open_dataset(year))
    write_voc(tmp_path / "kit/VOC2012", [[("cat", 1, 1, 20, 20, 0)]])
    both = open_dataset(tmp_path / "kit")
    assert both.image_ids[0] == "VOC2007/p0" and aside_names(both) == alone

    coco = open_dataset(many_shapes(tmp_path / "coco", 12))
    joined = concat([coco, coco])
    assert joined.image_ids[0] == "0:0" and aside_names(joined) == aside_names(coco)
    assert aside_names(joined.subset(np.arange(12))) == aside_names(coco)


@settings(max_examples=scaled(30), deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(alphabet="0123456789.-+ \nenai", max_size=80))
def test_any_yolo_text_is_read_or_reported(tmp_path, text):
    root = tmp_path / "y"
    write_yolo(root, [text])
    dataset = open_dataset(root)
    boxes = dataset.load(0).boxes
    assert (boxes[:, 2:] > boxes[:, :2]).all() and (boxes >= 0).all() and (boxes <= [80, 60, 80, 60]).all()


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 200) | st.floats(width=32) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.sampled_from(["size", "counts"]), inner, max_size=2),
    max_leaves=8,
)


@settings(max_examples=scaled(30), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    changes=st.lists(
        st.tuples(
            st.sampled_from(["bbox", "segmentation", "category_id", "keypoints", "image_id", "iscrowd", "id"]), _JUNK
        ),
        max_size=4,
    )
)
def test_any_coco_entry_is_read_or_reported(tmp_path, changes):
    root = tmp_path / "c"
    root.mkdir(exist_ok=True)
    names = ["a", "b"]
    rows = [thing(1, segmentation=[[1, 1, 5, 1, 5, 5]], keypoints=[1, 1, 2, 2, 2, 2]) | dict([c]) for c in changes]
    write_coco(root, rows, count=1, categories=[{"id": 3, "name": "cat", "keypoints": names}])
    dataset = open_dataset(root, task="segment-pose")
    sample = dataset.load(0)
    assert len(sample) <= len(rows) and np.isfinite(sample.boxes).all()


def test_real_sets(shared_data):
    bad = []
    for split, count in (("train", 205), ("val", 87), ("test", 72)):
        dataset = open_dataset(shared_data / "bccd", split)
        assert len(dataset) == count
        bad += [(i.kind, i.where, i.message) for i in dataset.report.issues]
    assert sorted(bad) == [
        ("zero area", "Annotations/BloodImage_00338.xml, object 13", "RBC, bndbox 504, 337, 504, 337"),
        ("zero area", "Annotations/BloodImage_00343.xml, object 4", "RBC, bndbox 181, 329, 181, 329"),
    ]
    highway = open_dataset(shared_data / "train" / "highway")
    assert (len(highway), highway.report.ok) == (1704, True)
    vehicles = ["person", "bicycle", "car", "motorcycle", "bus", "truck"]
    coco = open_dataset(shared_data / "coco", task="segment")
    mixed = concat([remap(coco, vehicles), remap(highway, vehicles)])
    assert mixed.report.class_counts["motorcycle"] == 11 + 873 and coco.report.num_ignored == 29
    people = open_dataset(shared_data / "train" / "pennfudan", task="segment", names=["person"])
    assert (len(people), people.report.num_objects) == (170, 423)


def test_coco_masks_agree_with_pycocotools(shared_data):
    coco_tools = pytest.importorskip("pycocotools.coco")
    file = shared_data / "coco" / "annotations" / "instances_val2017.json"
    tool = coco_tools.COCO(str(file))
    dataset = open_dataset(shared_data / "coco", "val", task="segment")
    ratios = []
    for i in range(20):
        sample = dataset.load(i)
        rows = tool.loadAnns(tool.getAnnIds(imgIds=[int(dataset.image_ids[i])]))
        for rings, row in zip(sample.masks, rows, strict=True):
            theirs, mine = tool.annToMask(row), fill_rings(rings, sample.image.shape[:2])
            if theirs.sum() > 400:
                ratios.append((theirs & mine).sum() / (theirs | mine).sum())
    assert len(ratios) > 50 and min(ratios) > 0.9 and np.mean(ratios) > 0.97


def test_reports_stay_short(tmp_path):
    rows = [thing(i, bbox=(5, 5, 0, 0)) for i in range(1000)]
    report = open_dataset(write_coco(tmp_path, rows)).report
    assert report.issue_counts == {"zero area": 1000} and len(report.issues) == 200
    assert "... and 980 more" in report.text(20) and len(json.dumps(report.text())) < 10_000
