import json
import os

import numpy as np
import pytest

from yolokkn.coco_names import COCO80, COCO_CATEGORY_IDS
from yolokkn.errors import DataError, SinkError
from yolokkn.evaluation.coco import (
    CocoCategory,
    CocoDataset,
    map_classes,
    read_results,
    write_results,
)


def content():
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 40, "width": 60}],
        "categories": [{"id": 3, "name": "cup"}],
        "annotations": [{"id": 7, "image_id": 1, "category_id": 3, "bbox": [0, 0, 2, 2], "area": 4.5, "iscrowd": 1}],
    }


def test_load(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content()))
    dataset = CocoDataset.load(path)
    assert (dataset.images[0].height, dataset.images[0].width, dataset.images[0].file_name) == (40, 60, "a.jpg")
    assert dataset.categories == (CocoCategory(3, "cup"),)
    annotation = dataset.annotations[0]
    assert (annotation.id, annotation.image_id, annotation.category_id, annotation.area) == (7, 1, 3, 4.5)
    assert annotation.is_crowd
    assert dataset.source == str(path)


@pytest.mark.parametrize(
    ("owner", "change", "text"),
    [
        ("images", {"id": "1"}, r"images\[0\].id must be an integer, got '1'"),
        ("images", {"id": True}, r"images\[0\].id must be an integer, got True"),
        ("images", {"id": 2**63}, r"images\[0\].id must be an integer, got"),
        ("images", {"height": None}, r"images\[0\].height must be an integer from 1 to 100000, got no such key"),
        ("images", {"width": 0}, r"images\[0\].width must be an integer from 1 to 100000, got 0"),
        ("images", {"file_name": 5}, r"images\[0\].file_name must be a string, got 5"),
        ("categories", {"name": None}, r"categories\[0\].name must be a string, got no such key"),
        ("annotations", {"bbox": [1, 2, 3]}, r"annotations\[0\].bbox must be 4 finite numbers, got \[1, 2, 3\]"),
        ("annotations", {"bbox": [1, 2, 3, "4"]}, r"annotations\[0\].bbox must be 4 finite numbers"),
        ("annotations", {"bbox": [1, 2, 3, float("nan")]}, r"annotations\[0\].bbox must be 4 finite numbers"),
        ("annotations", {"area": None}, r"annotations\[0\].area must be a finite number, got no such key"),
        ("annotations", {"image_id": 2}, r"annotations\[0\].image_id must be the id of one of images, got 2"),
        ("annotations", {"category_id": 1}, r"annotations\[0\].category_id must be the id of one of categories, got 1"),
        ("annotations", {"iscrowd": 2}, r"annotations\[0\].iscrowd must be 0 or 1, got 2"),
        ("annotations", {"iscrowd": []}, r"annotations\[0\].iscrowd must be 0 or 1, got \[\]"),
        ("annotations", {"keypoints": [1, 2]}, r"annotations\[0\].keypoints must be finite numbers in groups of 3"),
        ("annotations", {"num_keypoints": -1}, r"annotations\[0\].num_keypoints must be an integer from 0"),
    ],
)
def test_names_the_bad_entry(owner, change, text):
    data = content()
    data[owner][0] = {k: v for k, v in {**data[owner][0], **change}.items() if v is not None}
    with pytest.raises(DataError, match=text):
        CocoDataset.from_dict(data)


def test_refuses_what_is_no_data_set(tmp_path):
    for bad, text in (
        ([], "must hold an object, got list"),
        ({"images": []}, "categories must be a list, got no such"),
    ):
        with pytest.raises(DataError, match=text):
            CocoDataset.from_dict(bad)
    with pytest.raises(DataError, match=r"images\[0\] must be an object, got int"):
        CocoDataset.from_dict({**content(), "images": [5]})
    for owner in ("images", "categories", "annotations"):
        twice = content()
        twice[owner] = twice[owner] * 2
        with pytest.raises(DataError, match=rf"{owner}\[1\].id must be unique, got \d again"):
            CocoDataset.from_dict(twice)
    with pytest.raises(DataError, match="must be a readable file"):
        CocoDataset.load(tmp_path / "none.json")
    for text in (b"{", b"\xff\xfe\x00", b"[" * 100_000, b""):
        (tmp_path / "bad.json").write_bytes(text)
        with pytest.raises(DataError, match=r"bad\.json must be a JSON file"):
            CocoDataset.load(tmp_path / "bad.json")


def coco80():
    pairs = zip(COCO_CATEGORY_IDS, COCO80, strict=True)
    return CocoDataset((), tuple(CocoCategory(i, name) for i, name in pairs), ())


def test_eighty_classes_are_those_of_coco(shared_data):
    data = json.loads((shared_data / "coco/annotations/instances_val2017.json").read_text())
    assert [(c["id"], c["name"]) for c in data["categories"]] == list(zip(COCO_CATEGORY_IDS, COCO80, strict=True))


def test_map_classes():
    dataset = coco80()
    assert map_classes(COCO80, dataset) == list(COCO_CATEGORY_IDS)
    assert map_classes(80, dataset) == map_classes([], dataset) == list(COCO_CATEGORY_IDS)
    names = ["Aeroplane", "motorbike", "SOFA", "pottedplant", "diningtable", "tvmonitor", "person"]
    assert map_classes(names, dataset) == [5, 4, 63, 64, 67, 72, 1]


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["person", "wheel"], r"must be categories of the data set, got wheel \(1 of 2 unknown\); .* has: person, bi"),
        (["tv", "tvmonitor"], "must each have a category of its own, got tv, tvmonitor"),
        (20, "must be given unless the model has COCO's 80 classes, got 20 classes"),
    ],
)
def test_map_classes_refuses(names, text):
    with pytest.raises(ValueError, match=text):
        map_classes(names, coco80())


def test_map_classes_refuses_other_data_sets_and_kinds():
    with pytest.raises(ValueError, match=r"unless the data set has COCO's 80 categories, got .* without 1 \(person\)"):
        map_classes(80, CocoDataset.from_dict(content()))
    with pytest.raises(TypeError, match="must be a sequence of names or a number, got 'person'"):
        map_classes("person", coco80())


def test_results_survive_the_file(tmp_path):
    path = tmp_path / "r.json"
    row = {
        "image_id": np.int64(5),
        "category_id": 3,
        "score": np.float32(0.1),
        "bbox": np.array([1, 2.000001, 3, 4.123456]),
        "segmentation": {"size": (4, 6), "counts": b"PPYo0"},
    }
    write_results(path, iter([row]))
    assert read_results(path) == [
        {
            "image_id": 5,
            "category_id": 3,
            "score": 0.1,
            "bbox": [1.0, 2.0, 3.0, 4.12346],
            "segmentation": {"size": [4, 6], "counts": "PPYo0"},
        }
    ]
    assert os.listdir(tmp_path) == ["r.json"]


def test_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "r.json"
    write_results(path, [])
    for bad, error in (({"score": float("nan")}, ValueError), ({"score": object()}, TypeError)):
        with pytest.raises(error, match="write_results: results must hold"):
            write_results(path, [bad])
    assert read_results(path) == []
    (tmp_path / "folder").mkdir()
    with pytest.raises(SinkError, match="folder must be writable"):
        write_results(tmp_path / "folder", [])
    with pytest.raises(SinkError, match="must be writable"):
        write_results(tmp_path / "missing" / "r.json", [])
    assert sorted(os.listdir(tmp_path)) == ["folder", "r.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "must be a JSON file"),
        ("{}", "must hold a list, got dict"),
        ("[1]", "entry 0 must be an object, got int"),
        ('[{"image_id": 1, "score": 1}]', "entry 0 must have category_id"),
        ('[{"image_id": 1, "category_id": 1, "score": 1}]', "entry 0 must have bbox, segmentation or keypoints"),
    ],
)
def test_read_results_refuses(tmp_path, text, message):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_results(tmp_path / "r.json")


def test_read_results_refuses_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="must be a readable file"):
        read_results(tmp_path / "none.json")
