"""Teachers: what they say of every cell, and which of their boxes become targets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from yolokkn.data.batch import Batch, Targets
from yolokkn.deploy import export_onnx
from yolokkn.errors import ModelError
from yolokkn.models import build_model, presets
from yolokkn.models.outputs import decode_boxes
from yolokkn.training.config import TeacherConfig
from yolokkn.training.teacher import OnnxTeacher, add_labels


def targets(*rows, ignored=()):
    """Targets from (picture, x1, y1, x2, y2, class)."""
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    flags = torch.zeros(len(rows), dtype=torch.bool)
    flags[list(ignored)] = True
    return Targets(table[:, 0].long(), table[:, 1:5], table[:, 5].long(), flags)


def found(picture, *rows):
    """Detections from (x1, y1, x2, y2, score, class)."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return picture, table[:, :4], table[:, 4], table[:, 5].astype(np.int64)


def test_detections_that_no_label_explains_become_targets():
    given = targets((0, 10, 10, 30, 30, 0))
    seen = [
        found(0, (11, 10, 30, 30, 0.9, 5), (50, 50, 70, 80, 0.8, 5), (40, 0, 60, 20, 0.3, 7), (0, 60, 9, 70, 0.9, 2)),
        found(1, (-5, 4, 12, 200, 0.5, 7)),
    ]
    more = add_labels(given, seen, [5, 7], TeacherConfig(teacher_score=0.4, teacher_doubt=0.2), (100, 100))
    assert more.image_index.tolist() == [0, 0, 0, 1], "the labelled one is not doubled, class 2 is unknown"
    assert more.boxes[1:].tolist() == [[50, 50, 70, 80], [40, 0, 60, 20], [0, 4, 12, 100]]
    assert more.class_ids.tolist() == [0, 0, 1, 1]
    assert more.ignored.tolist() == [False, False, True, False]


def test_a_batch_without_finds_stays_as_it_is():
    given = targets((0, 10, 10, 30, 30, 0))
    assert add_labels(given, [found(0), found(1, (1, 1, 9, 9, 0.1, 5))], [5], TeacherConfig(), (32, 32)) is given


def test_masks_and_keypoints_of_added_targets_are_empty():
    given = Targets(
        torch.zeros(1, dtype=torch.int64), torch.tensor([[0.0, 0, 9, 9]]), torch.zeros(1, dtype=torch.int64),
        torch.zeros(1, dtype=torch.bool), torch.ones(1, 8, 8, dtype=torch.bool), torch.ones(1, dtype=torch.bool),
        torch.ones(1, 17, 3),
    )  # fmt: skip
    more = add_labels(given, [found(0, (12, 12, 30, 30, 0.9, 0))], [0], TeacherConfig(), (32, 32))
    assert more.masks is not None and more.has_mask is not None and more.keypoints is not None
    assert more.has_mask.tolist() == [True, False]
    assert not more.masks[1].any() and not more.keypoints[1].any() and more.keypoints[0].all()


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A small network, and itself as the teacher in an ONNX file."""
    torch.manual_seed(0)
    network = build_model(presets()["yolovkkn2-p"](("cat", "dog"), "detect", imgsz=(64, 64), width=0.25)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    path = tmp_path_factory.mktemp("teacher") / "teacher.onnx"
    export_onnx(network, path, imgsz=(64, 64), batch=None)
    return network, path


def test_cells_are_those_of_the_network_itself(taught):
    network, path = taught
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    batch = Batch(images, targets(), ("a", "b"))
    teacher = OnnxTeacher(path, ("dog", "bird"), TeacherConfig(teacher_lessons="cells"), threads=1)
    with torch.no_grad():
        outputs = network(images.float() / 255)
        cells = teacher._cells(teacher._run(batch), outputs)
    torch.testing.assert_close(cells.boxes, decode_boxes(outputs), rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(cells.scores[..., 0], outputs.classes[..., 1].sigmoid(), rtol=1e-3, atol=1e-4)
    assert not cells.scores[..., 1].any(), "the teacher knows no birds"


def test_a_student_that_is_the_teacher_has_nothing_to_learn(taught):
    network, path = taught
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    batch = Batch(images, targets(), ("a",))
    teacher = OnnxTeacher(path, ("cat", "dog"), TeacherConfig(teacher_lessons="cells"), threads=1)
    same = teacher.loss(network(images.float() / 255), teacher.prepare(batch))
    torch.manual_seed(1)
    other = build_model(network.spec).eval()
    different = teacher.loss(other(images.float() / 255), batch)
    assert float(same["taught_classes"].detach()) < 1e-3 < float(different["taught_classes"].detach())
    sum(different.values()).backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in other.parameters())


def test_doubt_decides_how_weak_a_find_still_counts(taught):
    batch = Batch(torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8), targets(), ("a",))
    labelled = []
    for doubt in (0.2, 0.02):
        options = TeacherConfig(teacher_lessons="labels", teacher_score=0.9, teacher_doubt=doubt)
        more = OnnxTeacher(taught[1], ("cat", "dog"), options, threads=1).prepare(batch).targets
        assert bool(more.ignored.all()), "nothing is surer than 0.9"
        labelled.append(len(more))
    assert labelled[1] > labelled[0], "most of this network's scores lie below 0.2"


def test_a_teacher_that_knows_nothing_of_use_is_refused(taught):
    with pytest.raises(ModelError, match="knows none of the classes boat"):
        OnnxTeacher(taught[1], ("boat",), TeacherConfig())


def test_a_real_teacher_of_fixed_size_looks_at_any(shared_data):
    path = shared_data / "weights/yolox/yolox_nano.onnx"
    config = TeacherConfig(teacher_lessons="both", teacher_classes={"human": "person"})
    teacher = OnnxTeacher(path, ("human", "car"), config, threads=1)
    network = build_model(presets()["yolovkkn2-p"](("human", "car"), "detect", imgsz=(128, 96), width=0.25))
    import cv2

    image = cv2.imread(str(sorted((shared_data / "train/ccp/images").iterdir())[0]))
    picture = torch.from_numpy(cv2.resize(image, (96, 128))[..., ::-1].copy()).permute(2, 0, 1)[None]
    batch = teacher.prepare(Batch(picture, targets(), ("a",)))
    assert batch.targets.class_ids.tolist()[0] == 0 and not batch.targets.ignored[0], "a person fills the picture"
    terms = teacher.loss(network(picture.float() / 255), batch)
    assert set(terms) == {"taught_classes", "taught_boxes", "taught_bins"}
    assert all(torch.isfinite(value) for value in terms.values())


def test_lessons_that_were_left_to_the_cells_are_given_up_where_cells_differ(taught):
    said: list[str] = []
    network = build_model(presets()["yolov3-tiny"](("cat", "dog"), "detect", imgsz=(64, 64), width=0.125))
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    batch = Batch(images, targets(), ("a",))
    outputs = network(images.float() / 255)
    teacher = OnnxTeacher(taught[1], ("cat", "dog"), TeacherConfig(), threads=1, say=said.append)
    assert teacher.gives_cells
    for _ in range(2):
        assert teacher.loss(outputs, teacher.prepare(batch)) == {}
    assert len(said) == 1 and said[0].endswith("it teaches by labels alone") and teacher.gives_labels
    for lessons in ("cells", "both"):
        strict = OnnxTeacher(taught[1], ("cat", "dog"), TeacherConfig(teacher_lessons=lessons), threads=1)
        with pytest.raises(ModelError, match="take teacher_lessons=labels"):
            strict.loss(outputs, batch)


def test_targets_are_joined_with_what_they_lack_left_empty():
    plain = targets((1, 5, 5, 9, 9, 2))
    with pytest.raises(ValueError, match="more must have no keypoints"):
        plain.concat(Targets(*(getattr(plain, n) for n in ("image_index", "boxes", "class_ids", "ignored")),
                             keypoints=torch.ones(1, 3, 3)))  # fmt: skip
    both = plain.concat(targets((0, 1, 1, 2, 2, 0), ignored=[0]))
    assert both.image_index.tolist() == [1, 0] and both.ignored.tolist() == [False, True] and both.masks is None
