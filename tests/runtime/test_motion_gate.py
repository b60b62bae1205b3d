"""Still scenes: what counts as motion, how long the network rests, and that nobody is lost meanwhile."""

import numpy as np
import pytest

from tests.runtime.test_pipeline import Frames, no_thread_is_left
from yolokkn import tracking
from yolokkn.runtime.cadence import MOST_FRAMES, EveryNth
from yolokkn.runtime.motion_gate import MotionGate
from yolokkn.runtime.pipeline import Pipeline, PipelineConfig
from yolokkn.runtime.timing import LatencyLedger
from yolokkn.types import Detections, Frame


def scene(hw=(288, 512), seed=0):
    """A textured scene: blocks of random grey levels."""
    levels = np.random.default_rng(seed).integers(40, 200, (hw[0] // 8, hw[1] // 8, 3))
    return np.kron(levels, np.ones((8, 8, 1))).astype(np.uint8)


def seen_of(gate, images):
    return [index for index, image in enumerate(images) if gate.wants(gate.glance(image))]


def test_a_still_scene_is_seen_once_in_a_while():
    images = [scene()] * 40
    assert seen_of(MotionGate(), images) == list(range(0, 40, MOST_FRAMES))
    assert seen_of(MotionGate(longest=3), images) == list(range(0, 40, 3))
    assert seen_of(MotionGate(longest=1), images) == list(range(40))


def test_noise_and_the_light_of_day_are_not_motion():
    rng = np.random.default_rng(1)
    still = scene().astype(np.float64)
    noisy = [np.clip(still + rng.normal(0, 5, still.shape) + 0.5 * i, 0, 255).astype(np.uint8) for i in range(40)]
    assert seen_of(MotionGate(), noisy) == list(range(0, 40, MOST_FRAMES))


@pytest.mark.parametrize("hw", [(288, 512), (720, 1280), (1080, 1920), (2160, 3840)])
@pytest.mark.parametrize("share", [0.03, 0.1])
def test_whoever_walks_is_seen_in_every_frame(hw, share):
    """Somebody of a few hundredths of the frame's width, three quarters of that a frame."""
    side = max(int(hw[1] * share), 3)
    images = []
    for index in range(8):
        image = np.full((*hw, 3), 90, np.uint8)
        image[hw[0] // 3 : hw[0] // 3 + 2 * side, index * side * 3 // 4 : index * side * 3 // 4 + side] = 140
        images.append(image)
    assert seen_of(MotionGate(), images) == list(range(8))


def test_what_creeps_is_seen_before_long():
    """A quarter of a pixel a frame: compared with the last frame seen, not with the one before."""
    images = []
    for index in range(33):
        image = np.full((288, 512, 3), 60, np.float64)
        image[100:160, 200:240] = 160
        shift = index / 4
        image[100:160, 240 : 240 + int(shift)] = 160
        image[100:160, 240 + int(shift)] += 100 * (shift % 1)
        images.append(image.astype(np.uint8))
    found = seen_of(MotionGate(longest=8), images)
    assert 4 <= len(found) <= 33 and max(np.diff(found)) < 8


def test_it_asks_the_cadence_too():
    moving = [np.roll(scene(), 16 * index, 1) for index in range(24)]
    assert seen_of(MotionGate(EveryNth(3)), moving) == list(range(0, 24, 3))
    gate = MotionGate(EveryNth(3))
    assert gate.every == MOST_FRAMES + 2 and seen_of(gate, [scene()] * 24) == [0, 9, 18]  # the first due after eight


def test_another_size_is_another_scene():
    gate = MotionGate()
    assert seen_of(gate, [scene(), scene((144, 256)), scene((144, 256)), scene()]) == [0, 1, 3]


def test_who_stands_keeps_his_identity_while_the_network_rests():
    class Standing(Frames):
        def __iter__(self):
            for frame in super().__iter__():
                yield Frame(scene(), frame.index, frame.index / 25, frame.captured_s)

    calls = []

    def see(image, gate):
        calls.append(1)
        return Detections(np.float32([[50, 60, 90, 160]]), np.float32([0.9]), np.int32([0]))

    for is_live in (False, True):
        calls.clear()
        ledger = LatencyLedger()
        pipeline = Pipeline(
            Standing(80, is_live=is_live), see, tracker=tracking.create("kkn", frame_rate=25), cadence=MotionGate(),
            config=PipelineConfig(num_requests=2, num_workers=2), ledger=ledger,
        )  # fmt: skip
        with pipeline:
            results = list(pipeline)
        assert len(calls) == 10 and ledger.num_carried == 70 and len(results) == 80
        late = [tracks.confirmed() for _, tracks in results[16:]]
        assert {tuple(tracks.track_ids.tolist()) for tracks in late} == {(late[0].track_ids[0],)}
        np.testing.assert_allclose([tracks.boxes[0] for tracks in late], [[50, 60, 90, 160]] * 64, atol=0.5)
        assert no_thread_is_left()
