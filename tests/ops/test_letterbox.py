import os
import random
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from tests.strategies import scaled
from yolokkn import ops
from yolokkn.geometry import LETTERBOX_RULES, Letterbox

TOLERANCE = 0.02  # on the scale of 0 to 255: fixed point against exact interpolation
PLAIN = {"scale": (1.0, 1.0, 1.0)}
SIZES = [
    (1, 1),
    (1, 2),
    (2, 1),
    (7, 8),
    (8, 9),
    (31, 33),
    (48, 64),
    (64, 48),
    (100, 301),
    (480, 640),
    (1, 1024),
    (1024, 1),
]


def random_image(hw, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*hw, 3), dtype=np.uint8)


def stretch(image_hw, input_hw):
    return Letterbox.fit(image_hw, input_hw, "stretch")


@pytest.mark.parametrize("rule", LETTERBOX_RULES)
@pytest.mark.parametrize("input_hw", [(64, 64), (33, 65), (5, 3), (1, 1)])
def test_equals_reference(rule, input_hw):
    for hw in SIZES:
        image, geometry = random_image(hw), Letterbox.fit(hw, input_hw, rule)
        got = ops.letterbox(image, geometry, **PLAIN)
        np.testing.assert_allclose(
            got, ops.reference.letterbox(image, geometry, **PLAIN), rtol=0, atol=TOLERANCE, err_msg=str(geometry)
        )


@pytest.mark.parametrize("ratio", range(1, 13))
@pytest.mark.parametrize("columns", [1, 2, 7, 8, 9, 16, 27])
def test_whole_ratios_are_exact(ratio, columns):
    image = random_image((3 * ratio, columns * ratio), ratio)
    geometry = stretch(image.shape[:2], (3, columns))
    values = {"scale": (1 / 255, 0.017, -3.0), "offset": (-2.1, 0.0, 0.4)}
    expected = ops.reference.letterbox(image, geometry, **values)
    np.testing.assert_array_equal(ops.letterbox(image, geometry, **values), expected)


@pytest.mark.parametrize("hw", [(480, 640), (17, 23), (1, 1), (3, 9)])
def test_no_resize_is_a_copy(op, hw):
    image = random_image(hw)
    got = op.letterbox(image, stretch(hw, hw))
    np.testing.assert_array_equal(got, image[..., ::-1].transpose(2, 0, 1).astype(np.float32) * np.float32(1 / 255))


def test_hand_computed_upscale(op):
    image = np.repeat(np.array([[0, 100]], np.uint8)[..., None], 3, axis=2)
    got = op.letterbox(image, stretch((1, 2), (2, 4)), **PLAIN)
    np.testing.assert_array_equal(got, np.broadcast_to(np.float32([0, 25, 75, 100]), (3, 2, 4)))


def test_hand_computed_downscale(op):
    image = (np.arange(12, dtype=np.uint8) * 20).reshape(1, 12)[..., None].repeat(3, axis=2)
    assert op.letterbox(image, stretch((1, 12), (1, 4)), **PLAIN)[0, 0].tolist() == [20, 80, 140, 200]
    assert op.letterbox(image, stretch((1, 12), (1, 6)), **PLAIN)[0, 0].tolist() == [10, 50, 90, 130, 170, 210]


def test_padding_channels_and_values(op):
    image = np.full((2, 4, 3), (10, 20, 30), np.uint8)
    geometry = Letterbox((2, 4), (5, 7), (2, 4), 1, 2)
    got = op.letterbox(image, geometry, scale=(1, 2, 4), offset=(0.5, 0, -8), pad_value=3)
    expected = np.empty((3, 5, 7), np.float32)
    expected[:] = np.array([3.5, 6, 4], np.float32)[:, None, None]
    expected[:, 1:3, 2:6] = np.array([30.5, 40, 32], np.float32)[:, None, None]
    np.testing.assert_array_equal(got, expected)
    unswapped = op.letterbox(image, geometry, swap_rb=False, **PLAIN)
    assert unswapped[:, 1, 2].tolist() == [10, 20, 30]
    assert unswapped[:, 0, 0].tolist() == [114, 114, 114]


def test_writes_into_the_callers_buffer(op):
    blob = np.full((2, 3, 8, 8), np.nan, np.float32)
    image, geometry = random_image((5, 6)), Letterbox.fit((5, 6), (8, 8))
    got = op.letterbox(image, geometry, out=blob[1])
    assert np.shares_memory(got, blob)
    assert np.isnan(blob[0]).all() and np.isfinite(blob[1]).all()
    np.testing.assert_array_equal(blob[1], op.letterbox(image, geometry))


@pytest.mark.parametrize("hw", [(5, 9), (9, 5), (30, 31), (32, 64)])
def test_keeps_the_padding_of_an_earlier_call(op, hw):
    geometry = Letterbox.fit(hw, (16, 16))
    out = op.letterbox(random_image(hw, 1), geometry)
    op.letterbox(random_image(hw, 2), geometry, out=out, keep_padding=True)
    np.testing.assert_array_equal(out, op.letterbox(random_image(hw, 2), geometry))
    marked = np.full((3, 16, 16), -7, np.float32)
    op.letterbox(random_image(hw, 2), geometry, out=marked, keep_padding=True)
    assert np.count_nonzero(marked == -7) == 3 * (256 - geometry.resized_hw[0] * geometry.resized_hw[1])


@pytest.mark.parametrize("hw", [(40, 50), (20, 25), (60, 75), (90, 110)])
def test_strided_rows_and_unmutated_input(hw):
    frame = random_image((200, 300))
    before = frame.copy()
    geometry = stretch(hw, (20, 25))
    for view in (frame[7 : 7 + hw[0], 11 : 11 + hw[1]], frame[: hw[0], : hw[1]][::-1], frame[::2, :][: hw[0], : hw[1]]):
        view.flags.writeable = False
        dense = ops.letterbox(np.ascontiguousarray(view), geometry)
        np.testing.assert_array_equal(ops.letterbox(view, geometry), dense)
    np.testing.assert_array_equal(frame, before)


GEOMETRY = Letterbox.fit((4, 6), (8, 8))
IMAGE = np.zeros((4, 6, 3), np.uint8)
UNALIGNED = np.zeros(3 * 64 * 4 + 1, np.uint8)[1:].view(np.float32).reshape(3, 8, 8)
READ_ONLY = np.zeros((3, 8, 8), np.float32)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"image": [[1]]}, TypeError, "letterbox: image must be a NumPy array of uint8, got list"),
        ({"image": IMAGE.astype(np.float32)}, TypeError, "image must have dtype uint8, got float32"),
        ({"image": IMAGE[..., :2]}, ValueError, r"image must have shape \(H, W, 3\)"),
        ({"image": np.zeros((0, 6, 3), np.uint8)}, ValueError, r"image must have shape \(H, W, 3\) with H, W >= 1"),
        ({"image": IMAGE[:, ::-1]}, ValueError, "image must have dense pixels"),
        ({"image": IMAGE[:3]}, ValueError, r"image must have the size of geometry.image_hw \(4, 6\), got \(3, 6\)"),
        ({"geometry": (4, 6)}, TypeError, "geometry must be a yolokkn.geometry.Letterbox, got tuple"),
        ({"geometry": Letterbox((4, 6), (8, 8), (9, 8))}, ValueError, "geometry must place the content inside"),
        ({"geometry": Letterbox((4, 6), (8, 8), (8, 8), 0, -1)}, ValueError, "geometry must place the content inside"),
        ({"geometry": Letterbox((4, 6), (8, 8), (0, 8))}, ValueError, "geometry must have resized_hw from 1 to 65536"),
        ({"geometry": Letterbox((4, 6), (1 << 40, 8), (8, 8))}, ValueError, "geometry must have input_hw from 1 to"),
        (
            {"geometry": Letterbox((4, 6), (1 << 70, 8), (8, 8))},
            TypeError,
            "geometry must hold pairs of 64-bit integers",
        ),
        ({"geometry": Letterbox((4, 6), (65536, 65536), (8, 8))}, ValueError, "input_hw of at most 134217728 pixels"),
        ({"geometry": Letterbox((4, 6), (8, 8, 8), (8, 8))}, TypeError, "geometry must hold pairs"),
        ({"swap_rb": "no"}, TypeError, "swap_rb must be a bool, got 'no'"),
        ({"keep_padding": 1}, TypeError, "keep_padding must be a bool, got 1"),
        ({"keep_padding": True}, ValueError, "out must be given with keep_padding, got None"),
        ({"scale": 1.0}, TypeError, "scale must be three numbers, got 1.0"),
        ({"scale": (1.0, 1.0)}, TypeError, "scale must be three numbers"),
        ({"scale": (1.0, 1.0, float("nan"))}, ValueError, "scale must be finite in float32"),
        ({"scale": (1.0, 1.0, 1e-35)}, ValueError, "scale must be 0 or from 1e-30 to 1e30"),
        ({"offset": (0, 0, 1e39)}, ValueError, "offset must be finite in float32"),
        ({"pad_value": 256}, ValueError, "pad_value must be from 0 to 255, got 256"),
        ({"pad_value": 114.5}, TypeError, "pad_value must be an integer"),
        ({"out": np.zeros((3, 8, 8))}, TypeError, "out must have dtype float32"),
        ({"out": np.zeros((3, 8, 7), np.float32)}, ValueError, r"out must have shape \(3, 8, 8\), got \(3, 8, 7\)"),
        ({"out": np.zeros((3, 8, 16), np.float32)[..., ::2]}, ValueError, "out must be C-contiguous"),
        ({"out": READ_ONLY}, ValueError, "out must be writeable"),
        ({"out": UNALIGNED}, ValueError, "out must be aligned, got an unaligned view"),
    ],
)
def test_refuses_what_does_not_fit(change, error, text):
    arguments = {"image": IMAGE, "geometry": GEOMETRY} | change
    with pytest.raises(error, match=text):
        ops.letterbox(**arguments)


def test_refuses_an_output_over_its_image():
    memory = np.zeros((3, 64, 64), np.float32)
    image = memory.view(np.uint8).reshape(-1)[: 64 * 64 * 3].reshape(64, 64, 3)
    with pytest.raises(ValueError, match="out must not share memory with image"):
        ops.letterbox(image, stretch((64, 64), (64, 64)), out=memory)


def test_ten_thousand_odd_sizes():
    rng = np.random.default_rng(10)
    frame = random_image((1, 8192 * 4))
    out = np.empty((3, 24, 24), np.float32)
    for case in range(scaled(10_000)):
        h, w = (int(rng.choice([1, 2, 3, rng.integers(1, 60), rng.integers(1, 2000)])) for _ in range(2))
        if h * w > frame.shape[1]:
            h = max(frame.shape[1] // w, 1)
        image = frame[0, : h * w].reshape(h, w, 3)
        geometry = Letterbox.fit((h, w), (24, 24), LETTERBOX_RULES[case % 3])
        ops.letterbox(image, geometry, out=out, **PLAIN)
        if case % 5 == 0:
            expected = ops.reference.letterbox(image, geometry, **PLAIN)
            assert np.abs(out - expected).max() <= TOLERANCE, geometry


@pytest.mark.parametrize("hw", [(1, 8192), (8192, 1), (1, 1), (2, 65536), (4000, 3000)])
def test_extreme_sizes(hw):
    image = random_image(hw)
    for input_hw in ((640, 640), (1, 1), (32, 9)):
        geometry = Letterbox.fit(hw, input_hw)
        got = ops.letterbox(image, geometry, **PLAIN)
        np.testing.assert_allclose(got, ops.reference.letterbox(image, geometry, **PLAIN), rtol=0, atol=TOLERANCE)


def test_twenty_thousand_wrong_arrays():
    rng = random.Random(15)
    dtypes = [np.uint8, np.int8, np.float32, np.float64, np.uint16, bool, object, ">f4", "S1"]
    accepted = 0
    for _ in range(scaled(20_000)):
        image = np.zeros([rng.randrange(6) for _ in range(rng.randrange(1, 5))], rng.choice(dtypes))
        if rng.random() < 0.7:
            image = np.zeros((4, 6, 3), np.uint8)
        steps = tuple(slice(None, None, s) for s in rng.choices([1, 1, 1, -1, 2], k=image.ndim))
        out = np.zeros((3, 8, 8), dtypes[2 if rng.random() < 0.7 else rng.randrange(9)])
        out = out[tuple(slice(None, None, s) for s in rng.choices([1, 1, 1, 1, -1, 2], k=3))]
        out.flags.writeable = rng.random() < 0.8
        fits = image[steps].shape == (4, 6, 3) and image.dtype == np.uint8 and steps[1:] == (slice(None, None, 1),) * 2
        fits &= out.shape == (3, 8, 8) and out.dtype == np.float32 and out.flags.c_contiguous and out.flags.writeable
        try:
            assert ops.letterbox(image[steps], GEOMETRY, out=out) is out
            accepted += 1
            assert fits
        except (TypeError, ValueError):
            assert not fits
    assert accepted > 100


DIGEST = """
import hashlib, numpy as np
from tests.strategies import scaled
from yolokkn import ops
from yolokkn.geometry import Letterbox
rng, digest = np.random.default_rng(1), hashlib.sha256()
for case in range(400):
    h, w, in_h, in_w = (int(v) for v in rng.integers(1, 120, 4))
    ratio = int(rng.integers(1, 8))
    if case % 3 == 0:
        h, w = in_h * ratio, in_w * ratio
    image = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
    geometry = Letterbox.fit((h, w), (in_h, in_w), ("stretch", "letterbox")[case % 2])
    digest.update(ops.letterbox(image, geometry, scale=(0.017, 1 / 255, -0.3), offset=(-2.1, 0.0, 1.7)).tobytes())
print(ops.instruction_set(), digest.hexdigest())
"""


def test_every_instruction_set_gives_the_same_bytes():
    def run(isa):
        environment = os.environ | {"YOLOKKN_ISA": isa, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", DIGEST]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()

    best, held = run(""), run("baseline")
    assert held[0] == "baseline"
    assert best[1] == held[1]


def test_releases_the_gil():
    image, out = random_image((2000, 2000)), np.zeros((3, 3000, 3000), np.float32)
    running, done = threading.Event(), threading.Event()

    def call():
        running.set()
        ops.letterbox(image, stretch((2000, 2000), (3000, 3000)), out=out)
        done.set()

    interval = sys.getswitchinterval()
    worker = threading.Thread(target=call)
    turns = 0
    try:
        worker.start()
        running.wait()
        sys.setswitchinterval(10)  # the worker only gives way where it releases the lock itself
        while not done.is_set():
            turns += 1
            time.sleep(0.0005)
    finally:
        sys.setswitchinterval(interval)
        worker.join()
    assert turns > 5


def test_close_to_opencv(shared_data):
    cv2 = pytest.importorskip("cv2")
    image = cv2.imread(str(next((shared_data / "bccd").rglob("*.jpg"))))
    geometry = Letterbox.fit(image.shape[:2], (416, 416))
    resized = cv2.resize(image, geometry.resized_hw[::-1], interpolation=cv2.INTER_LINEAR)
    got = ops.letterbox(image, geometry, swap_rb=False, **PLAIN)
    top, left = geometry.pad_top, geometry.pad_left
    content = got[:, top : top + resized.shape[0], left : left + resized.shape[1]]
    assert np.abs(content - resized.transpose(2, 0, 1)).max() <= 1
