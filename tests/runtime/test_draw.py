import time

import numpy as np
import pytest

from tests.strategies import random_boxes
from yolokkn.runtime.draw import DrawStyle, TrailHistory, draw
from yolokkn.runtime.palette import colour_of, text_colour_on
from yolokkn.types import Detections, Masks, Tracks

BOXES_ONLY = DrawStyle(show_labels=False, show_scores=False, show_ids=False, line_width=1)


def result_of(boxes, class_ids=None, **kwargs) -> Detections:
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    classes = np.zeros(len(boxes), np.int32) if class_ids is None else np.array(class_ids, np.int32)
    return Detections(boxes, np.full(len(boxes), 0.5, np.float32), classes, class_names=("person",), **kwargs)


def tracks_of(boxes, ids) -> Tracks:
    return Tracks.from_detections(result_of(boxes), np.array(ids, np.int64))


def black(h=100, w=150) -> np.ndarray:
    return np.zeros((h, w, 3), np.uint8)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_box_lies_inside_its_edges_pixel_exact(width):
    out = draw(black(), result_of([[20, 30, 60, 80]]), style=DrawStyle(**{**vars(BOXES_ONLY), "line_width": width}))
    wanted = black()
    wanted[30:80, 20:60] = colour_of(0)
    wanted[30 + width : 80 - width, 20 + width : 60 - width] = 0
    np.testing.assert_array_equal(out, wanted)


def test_box_of_the_whole_frame_is_seen_on_all_sides():
    out = draw(black(), result_of([[-50, -50, 500, 500]]), style=BOXES_ONLY)
    assert out[0].any(1).all() and out[-1].any(1).all() and out[:, 0].any(1).all() and out[:, -1].any(1).all()
    assert not out[1:-1, 1:-1].any()


def test_input_stays_and_may_be_strided_or_read_only():
    image = np.random.default_rng(0).integers(0, 255, (100, 300, 3), np.uint8)
    view = image[:, ::2]
    view.setflags(write=False)
    before = image.copy()
    out = draw(view, result_of([[10, 10, 50, 50]]))
    np.testing.assert_array_equal(image, before)
    assert out.flags.c_contiguous and out.flags.writeable and (out != view).any()
    np.testing.assert_array_equal(draw(view, Detections.empty()), view)


@pytest.mark.parametrize(
    "box", [[0, 0, 20, 20], [130, 0, 150, 20], [140, 90, 150, 100], [-30, -30, 5, 5], [60, 3, 70, 99]]
)
def test_labels_stay_inside_the_frame(box):
    style = DrawStyle(show_boxes=False)
    out = draw(black(), result_of([box]), style=style)
    rows, columns = np.flatnonzero(out.any((1, 2))), np.flatnonzero(out.any((0, 2)))
    label = out[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    middle = draw(black(), result_of([[40, 60, 60, 80]]), style=style)
    assert (middle == colour_of(0)).all(-1).sum() == (label == colour_of(0)).all(-1).sum()  # all of it is there


def test_tiny_frames_keep_their_picture():
    for hw in ((1, 1), (1, 200), (32, 32), (8, 3)):
        out = draw(black(*hw), result_of([[0, 0, 3, 3]]))
        assert out.shape == (*hw, 3)
    assert (draw(black(32, 32), result_of([[8, 8, 24, 24]])) == 0).all(-1).mean() > 0.7


def test_anything_goes_onto_the_frame():
    rng = np.random.default_rng(0)
    for n in range(40):
        boxes = random_boxes(rng, n, 400) - 150
        boxes[rng.random(n) < 0.1] = [np.nan, np.inf, -np.inf, 1e30]
        boxes[rng.random(n) < 0.1] = [-1e30, -1e30, 1e30, 1e30]
        keypoints = rng.normal(50, 200, (n, 17, 3)).astype(np.float32)
        keypoints[rng.random((n, 17)) < 0.1] = [np.nan, 1e30, 1.0]
        result = result_of(boxes, rng.integers(-3, 1000, n), keypoints=keypoints)
        history = TrailHistory()
        for _ in range(3):
            history.update(tracks_of(boxes, np.arange(n)))
        draw(black(), result, trails=history)
        assert len(history) == np.isfinite(boxes).all(1).sum()


def test_masks_tint_their_pixels_only():
    bitmap = np.zeros((40, 30), np.uint8)
    bitmap[10:30, 5:25] = 1
    masks = Masks(bitmap.ravel(), np.array([[50, 20, 80, 60]], np.int32), (100, 150))
    image = np.full((100, 150, 3), 100, np.uint8)
    style = DrawStyle(show_boxes=False, show_labels=False, show_scores=False, mask_alpha=0.5)
    out = draw(image, result_of([[50, 20, 80, 60]], masks=masks), style=style)
    inner = out[20 + 12 : 20 + 28, 50 + 7 : 50 + 23]
    np.testing.assert_allclose(inner - (100 + np.array(colour_of(0))) / 2, 0, atol=1)
    assert (out[25:28] == 100).all() and (out[:, 85:] == 100).all()
    np.testing.assert_allclose(out[20 + 10, 50 + 10], colour_of(0), atol=16)  # the contour, smoothed


def test_keypoints_below_the_threshold_are_not_drawn():
    keypoints = np.zeros((1, 17, 3), np.float32)
    keypoints[0, 5], keypoints[0, 6] = [40, 50, 0.9], [80, 50, 0.9]
    keypoints[0, 7] = [20, 90, 0.1]
    style = DrawStyle(show_boxes=False, show_labels=False, show_scores=False)
    out = draw(black(), result_of([[0, 0, 9, 9]], keypoints=keypoints), style=style)
    assert out[49:51, 60].any() and out[50, 40].any() and not out[60:].any() and not out[:40].any()


def figure(height, x=75, top=10):
    """A person upright, facing the viewer: its left is on the right."""
    unit = np.array(
        [[0, 10], [3, 8], [-3, 8], [8, 9], [-8, 9], [12, 22], [-12, 22], [18, 40], [-18, 40], [20, 55], [-20, 55], [8, 53],
         [-8, 53], [8, 75], [-8, 75], [8, 98], [-8, 98]], np.float32,
    )  # fmt: skip
    points = np.ones((1, 17, 3), np.float32)
    points[0, :, :2] = unit * height / 100 + [x, top]
    return points


def test_limbs_are_coloured_by_side_and_sized_by_the_person():
    style = DrawStyle(show_boxes=False, show_labels=False, show_scores=False)
    widths = []
    for height in (40, 120, 360):
        image = black(400, 300)
        keypoints = figure(height, x=150)
        out = draw(image, result_of([[100, 10, 200, 10 + height]], keypoints=keypoints), style=style)
        shin = out[round(10 + 0.85 * height)]
        assert is_green(shin[round(150 + 0.08 * height)]) and is_orange(shin[round(150 - 0.08 * height)])
        widths.append(int((shin[150:].max(-1) > 100).sum()))
    assert widths[0] <= 2 and widths == sorted(widths) and widths[2] > widths[0]


def is_green(pixel):
    return int(pixel[1]) > 1.5 * int(pixel[2]) > 0


def is_orange(pixel):
    return int(pixel[2]) > 1.5 * int(pixel[1]) > 0


def test_hidden_joints_leave_their_limbs_out():
    keypoints = figure(80)
    keypoints[0, [13, 15], 2] = 0.2  # left knee and ankle
    style = DrawStyle(show_boxes=False, show_labels=False, show_scores=False)
    out = draw(black(), result_of([[50, 10, 100, 90]], keypoints=keypoints), style=style)
    shins = out[75]
    assert not shins[75:].any() and any(is_orange(pixel) for pixel in shins[:75])


def test_other_sets_of_keypoints_are_points():
    keypoints = np.array([[[30, 30, 1], [60, 60, 1], [90, 30, 0.1]]], np.float32)
    style = DrawStyle(show_boxes=False, show_labels=False, show_scores=False)
    out = draw(black(), result_of([[20, 20, 90, 90]], keypoints=keypoints), style=style)
    assert out[30, 30].any() and out[60, 60].any() and not out[45, 45].any() and not out[30, 90].any()


def test_masks_of_one_class_can_be_told_apart():
    crops = np.array([[10, 10, 40, 40], [40, 10, 70, 40]], np.int32)
    masks = Masks(np.ones(1800, np.uint8), crops, (100, 150))
    out = draw(black(), result_of(crops.astype(np.float32), masks=masks), style=BOXES_ONLY)
    assert np.abs(out[25, 25].astype(int) - out[25, 55]).max() > 10
    assert tuple(out[10, 10].tolist()) != tuple(out[10, 69].tolist())


def test_labels_of_crowded_boxes_do_not_cover_one_another():
    boxes = [[60, 100, 160, 220], [70, 102, 170, 220], [64, 98, 150, 210]]
    style = DrawStyle(show_boxes=False)
    alone = [(draw(black(300, 300), result_of([b], [i]), style=style) > 0).any(-1).sum() for i, b in enumerate(boxes)]
    together = (draw(black(300, 300), result_of(boxes, [0, 1, 2]), style=style) > 0).any(-1).sum()
    assert together == sum(alone)


def test_unconfirmed_tracks_and_order():
    boxes = [[20, 20, 60, 60], [20, 20, 60, 60]]
    out = draw(black(), tracks_of(boxes, [4, -1]), style=BOXES_ONLY)
    assert tuple(out[20, 20].tolist()) == colour_of(4)
    assert not draw(black(), tracks_of(boxes, [-1, -1]), style=BOXES_ONLY).any()
    assert draw(black(), tracks_of(boxes, [-1, -1]), style=DrawStyle(unconfirmed=True)).any()
    both = result_of(boxes, [1, 2])
    both.scores[:] = [0.9, 0.3]
    assert tuple(draw(black(), both, style=BOXES_ONLY)[20, 20].tolist()) == colour_of(1)  # the best lies on top


def test_trails_follow_and_are_forgotten():
    history = TrailHistory(length=10, forget_after=3)
    for x in range(0, 60, 3):
        history.update(tracks_of([[x, 20, x + 10, 50]], [1]))
    assert len(history.trails()[1]) == 10 and history.trails()[1][-1] == (62.0, 50.0)
    style = DrawStyle(show_boxes=False, show_labels=False, show_scores=False)
    out = draw(black(), Detections.empty(), style=style, trails=history)
    assert out[49:51, 40:60].any() and not out[:, :30].any()
    for _ in range(4):
        history.update(tracks_of([], []))
    assert len(history) == 0


def test_colours_are_far_apart_and_text_can_be_read():
    first = np.array([colour_of(i) for i in range(20)], float)
    distance = np.linalg.norm(first[:, None] - first[None], axis=-1) + 1e3 * np.eye(20)
    assert distance.min() > 20
    for i in range(300):
        background, ink = (np.array(c) / 255 for c in (colour_of(i), text_colour_on(colour_of(i))))
        light, dark = sorted((float(((c**2.2) @ [0.0722, 0.7152, 0.2126])) for c in (background, ink)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 4.4  # WCAG's contrast for text


def test_wrong_input():
    with pytest.raises(TypeError, match="image must be a NumPy array of uint8, got float64"):
        draw(np.zeros((4, 4, 3)), Detections.empty())
    with pytest.raises(ValueError, match=r"image must have shape \(H, W, 3\), got \(4, 4\)"):
        draw(np.zeros((4, 4), np.uint8), Detections.empty())
    for bad in ({"line_width": 0}, {"font_scale": 0}, {"mask_alpha": 1.5}, {"trail_length": -1}):
        with pytest.raises(ValueError, match=f"DrawStyle: {next(iter(bad))} must"):
            DrawStyle(**bad)


def test_ten_boxes_cost_little():
    rng = np.random.default_rng(0)
    image, boxes = black(576, 768), random_boxes(rng, 10, 500)
    times = []
    for _ in range(100):
        begin = time.thread_time()
        draw(image, tracks_of(boxes, np.arange(10)))
        times.append(time.thread_time() - begin)
    assert np.median(times) < 3e-3  # 0.4 ms on a quiet machine


@pytest.mark.parametrize("hw", [(120, 160), (1200, 1600)])
def test_of_carried_tracks_the_corners_are_drawn_alone(hw):
    """Every corner as it was, and the middle of each side left out."""
    h, w = hw
    box = [w // 4, h // 4, w // 2, 3 * h // 4]
    one = {
        "boxes": np.float32([box]),
        "scores": np.float32([0.9]),
        "class_ids": np.int32([0]),
        "track_ids": np.int64([3]),
    }
    style = DrawStyle(show_labels=False, show_scores=False, show_ids=False)
    whole, corners = (draw(np.zeros((h, w, 3), np.uint8), Tracks(**one, carried=c), style=style) for c in (False, True))
    x1, y1, x2, y2 = box
    for y, x in ((y1, x1), (y1, x2 - 1), (y2 - 1, x1), (y2 - 1, x2 - 1)):
        assert (corners[y, x] == whole[y, x]).all() and whole[y, x].any()
    for y, x in ((y1, (x1 + x2) // 2), (y2 - 1, (x1 + x2) // 2), ((y1 + y2) // 2, x1), ((y1 + y2) // 2, x2 - 1)):
        assert whole[y, x].any() and not corners[y, x].any()
    assert ((corners == whole) | (corners == 0)).all()
