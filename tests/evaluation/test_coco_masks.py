import numpy as np
import pytest

from tests.evaluation.coco_cases import content_of, figures, random_polygons, random_rle
from yolokkn.errors import DataError
from yolokkn.evaluation.coco_masks import read_segmentations


def test_polygons_fill_the_same_pixels():
    mask_tool = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(8)
    for _ in range(300):
        h, w = (int(v) for v in rng.integers(1, 90, 2))
        x, y = rng.uniform(-30, 60, 2)
        polygons = random_polygons(rng, [float(x), float(y), *rng.uniform(0.1, 80, 2)])
        runs = read_segmentations([polygons], [(h, w)])
        bitmap = np.zeros(h * w, np.uint8)
        for begin, end in zip(runs.begins, runs.ends, strict=True):
            assert not bitmap[begin:end].any()
            bitmap[begin:end] = 1
        expected = mask_tool.decode(mask_tool.merge(mask_tool.frPyObjects(polygons, h, w)))
        np.testing.assert_array_equal(bitmap.reshape(w, h).T, expected)


def test_run_lengths_hold_the_same_pixels():
    mask_tool = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(9)
    image = {"height": 70, "width": 50}
    masks = [random_rle(rng, image, [*rng.uniform(-20, 60, 2), *rng.uniform(0, 60, 2)]) for _ in range(200)]
    masks += [{"size": [70, 50], "counts": mask_tool.encode(np.zeros((70, 50), np.uint8, order="F"))["counts"]}]
    masks += [{"size": [70, 50], "counts": [0, 3500]}, {"size": [70, 50], "counts": [1, 0, 3499]}]
    packed = [m if not isinstance(m["counts"], list) else mask_tool.frPyObjects(m, 70, 50) for m in masks]
    runs = read_segmentations(masks, [(70, 50)] * len(masks))
    np.testing.assert_array_equal(runs.areas(), mask_tool.area(packed))
    shared = runs.intersections(3, 0, len(masks), runs)
    union = runs.areas() + runs.areas()[3] - shared
    np.testing.assert_array_equal(shared / union, mask_tool.iou(packed, [packed[3]], [0])[:, 0])


@pytest.mark.parametrize(
    ("segmentation", "text"),
    [
        (None, "segmentation must be polygons or a run-length encoding, got None"),
        ([], "must be polygons or a run-length encoding"),
        ([[1, 2, 3, 4]], "must have polygons of 3 or more x, y pairs"),
        ([[1, 2, 3, 4, 5]], "must have polygons of 3 or more x, y pairs"),
        ([[1, 2, 3, 4, 5, float("nan")]], "must have polygons of 3 or more x, y pairs"),
        ({"size": [3, 3], "counts": [9]}, r"size must be the picture's height and width \[400, 400\], got \[3, 3\]"),
        ({"size": [400, 400], "counts": [9]}, "must be 0 or more and add up to 400 x 400 pixels, got 9"),
        ({"size": [400, 400], "counts": [160001, -1]}, "must be 0 or more"),
        ({"size": [400, 400], "counts": [0.5]}, "counts must be integers"),
        ({"size": [400, 400], "counts": "P"}, "counts must be a complete COCO string"),
        ({"size": [400, 400], "counts": "~é"}, "counts must be a complete COCO string"),
        ({"size": [400, 400], "counts": "o" * 40 + "0"}, "counts must be numbers below"),
        ({"size": [400, 400]}, "counts must be a list or a string, got None"),
    ],
)
def test_refuses_bad_masks(segmentation, text):
    content = content_of([(0, 0, 50, 50)])
    good = {"size": [400, 400], "counts": [0, 160000]}
    content["annotations"][0]["segmentation"] = good
    result = {"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": segmentation}
    with pytest.raises(ValueError, match=r"evaluate_coco: results\[0\]\.segmentation.*" + text.split("ation ")[-1]):
        figures(content, [result], "segm")
    content["annotations"][0]["segmentation"] = segmentation
    with pytest.raises(DataError, match=r"annotation 1: segmentation.*" + text.split("ation ")[-1]):
        figures(content, [{**result, "segmentation": good}], "segm")
