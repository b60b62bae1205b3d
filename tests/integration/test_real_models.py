"""The main job on real input, against figures that independent pipelines gave."""

import json

import numpy as np
import pytest

import yolokkn
from yolokkn.cli import main
from yolokkn.evaluation.coco import CocoDataset, evaluate_coco
from yolokkn.runtime.evaluate import collect_coco_results, find_coco_files


def evaluate(model, shared_data):
    annotations, images = find_coco_files(shared_data / "coco", "val2017", None, None)
    dataset = CocoDataset.load(annotations)
    return evaluate_coco(dataset, collect_coco_results(model, dataset, images)).figures


def test_yolox_nano_reaches_its_figure(shared_data):
    model = yolokkn.load(
        shared_data / "weights/yolox/yolox_nano.onnx", score_threshold=0.001, iou_threshold=0.65, multi_label=True
    )
    figures = evaluate(model, shared_data)
    assert figures["AP"] == pytest.approx(0.291, abs=0.003)
    assert figures["AP50"] == pytest.approx(0.458, abs=0.003)


# OpenCV's region layer sets every score of 0.2 or less to zero, so its figure is that of a threshold of 0.2; below that
# threshold there is accuracy left.
@pytest.mark.parametrize(("threshold", "ap", "ap50"), [(0.2, 0.170, 0.333), (0.001, 0.196, 0.397)])
def test_yolo_fastest_from_darknet_files_reaches_its_figure(shared_data, threshold, ap, ap50):
    model = yolokkn.load(
        shared_data / "weights/yolo-fastest/yolo-fastest-1.1_coco__yolo-fastest-1.1-xl.cfg",
        score_threshold=threshold,
        iou_threshold=0.5,
        multi_label=True,
    )
    figures = evaluate(model, shared_data)
    assert figures["AP"] == pytest.approx(ap, abs=0.005)
    assert figures["AP50"] == pytest.approx(ap50, abs=0.005)


def test_people_are_tracked_through_a_real_video(shared_data, tmp_path):
    out = tmp_path / "out.jsonl"
    argv = [
        "track",
        f"model={shared_data / 'weights/yolox/yolox_nano.onnx'}",
        "classes=person",
        f"save={out}",
        "quiet=true",
    ]
    assert main([*argv, f"source={shared_data / 'videos/vtest.avi'}"]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 795
    assert [row["frame"] for row in rows] == list(range(795))
    people = [sum(i >= 0 for i in row["track_ids"]) for row in rows]
    assert 4 < np.mean(people) < 10  # the ground truth has 5.8 a frame on average
    lengths = np.unique([i for row in rows for i in row["track_ids"] if i >= 0], return_counts=True)[1]
    assert 15 <= (lengths >= 20).sum() <= 80


def test_the_same_picture_gives_the_same_bytes(shared_data):
    import cv2

    image = cv2.imread(str(sorted((shared_data / "coco/val2017").glob("*.jpg"))[5]))
    model = yolokkn.load(shared_data / "weights/yolox/yolox_nano.onnx", threads=1)
    first = model(image)
    for _ in range(5):
        again = model(image)
        assert again.boxes.tobytes() == first.boxes.tobytes()
        assert again.scores.tobytes() == first.scores.tobytes()
    assert len(first) > 0


@pytest.fixture(scope="module")
def fastest(shared_data):
    """Yolo-Fastest with its real weights as a network, pictures, and what it finds on them."""
    torch = pytest.importorskip("torch")
    import cv2

    from yolokkn.deploy import network_model
    from yolokkn.models.darknet import from_darknet

    torch.set_num_threads(1)
    stem = "weights/yolo-fastest/yolo-fastest-1.1_coco__yolo-fastest-1.1-xl"
    network = from_darknet(shared_data / f"{stem}.cfg", shared_data / f"{stem}.weights").eval()
    paths = sorted(find_coco_files(shared_data / "coco", "val2017", None, None)[1].glob("*.jpg"))[:12]
    pictures = [cv2.imread(str(path)) for path in paths]
    model = network_model(network)
    wanted = [model(picture) for picture in pictures]
    assert sum(map(len, wanted)) > 20
    return network, pictures, wanted


@pytest.mark.parametrize("layout", ["raw", "decoded", "end2end", "efficientnms", "deepstream"])
def test_every_export_layout_gives_the_detections_of_the_network(fastest, layout):
    """Boxes within 0.01 px, in float16 within 0.5 px; classes and order alike but where float16 turns two near scores."""
    from yolokkn.deploy import build_onnx, to_half

    network, pictures, wanted = fastest
    content = build_onnx(network, layout=layout)[0]
    whole, half = yolokkn.load(content, threads=1), yolokkn.load(to_half(content), threads=1)
    for picture, want in zip(pictures, wanted, strict=True):
        found = whole(picture)
        assert found.class_ids.tolist() == want.class_ids.tolist()
        np.testing.assert_allclose(found.boxes, want.boxes, atol=0.01)
        np.testing.assert_allclose(found.scores, want.scores, atol=1e-4)
        found = half(picture)
        np.testing.assert_allclose(found.scores, want.scores, atol=0.02)  # both are sorted
        apart = np.abs(found.boxes[None] - want.boxes[:, None]).max(2)
        apart[want.class_ids[:, None] != found.class_ids[None]] = np.inf
        partner = apart.argmin(1)
        assert sorted(partner) == list(range(len(found))) and apart.min(1).max() < 0.5
        moved = np.flatnonzero(partner != np.arange(len(want)))
        assert np.abs(want.scores[moved] - want.scores[partner[moved]]).max(initial=0) < 0.01
