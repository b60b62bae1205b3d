import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from yolokkn.runtime.pipeline import Pipeline, PipelineConfig
from yolokkn.types import Detections, Frame, Masks, Tracks


class Frames:
    """A real source in memory: frame i is filled with i."""

    def __init__(self, count, *, is_live=False, has_timestamps=True, pause_s=0.0, fail_at=None):
        self.is_live = is_live
        self.has_timestamps = has_timestamps
        self.count = count
        self.pause_s = pause_s
        self.fail_at = fail_at
        self.num_closed = 0
        self.num_made = 0

    def __iter__(self):
        for i in range(self.count):
            if i == self.fail_at:
                raise OSError("cable cut")
            time.sleep(self.pause_s)
            self.num_made += 1
            yield Frame(np.full((4, 4, 3), i % 256, np.uint8), i, i / 25, time.monotonic())

    def close(self):
        self.num_closed += 1


class Sink:
    def __init__(self, fail_at=None):
        self.seen = []
        self.fail_at = fail_at

    def write(self, frame, result):
        if frame.index == self.fail_at:
            raise OSError("disk full")
        self.seen.append((frame.index, result))


class Counter:
    """A tracker that numbers its calls."""

    def __init__(self):
        self.calls = []

    def update(self, boxes, scores, class_ids, timestamp_s=None):
        self.calls.append(timestamp_s)
        return np.full(len(boxes), len(self.calls), np.int64)


def one_box(image, gate):
    with gate:
        time.sleep(0.002 * (int(image[0, 0, 0]) % 3))  # frames overtake one another
    box = np.array([[0, 0, 1 + image[0, 0, 0], 1]], np.float32)
    return Detections(box, np.ones(1, np.float32), np.zeros(1, np.int32), timing_ms={"inference": 1.0})


def no_thread_is_left():
    return not [t for t in threading.enumerate() if t.name.startswith("yolokkn-")]


@pytest.mark.parametrize("takes_masks", [True, False])
def test_masks_go_to_the_trackers_that_take_them(takes_masks):
    class Masked(Counter):
        def update(self, boxes, scores, class_ids, timestamp_s=None, **told):
            assert ("masks" in told) == takes_masks
            assert not takes_masks or told["masks"].frame_hw == (4, 4)
            return super().update(boxes, scores, class_ids, timestamp_s)

    def masked(image, gate):
        found = one_box(image, gate)
        return replace(found, masks=Masks(np.ones(1, np.uint8), np.array([[0, 0, 1, 1]], np.int32), (4, 4)))

    tracker = Masked()
    tracker.takes_masks = takes_masks
    with Pipeline(Frames(3), masked, tracker=tracker) as pipeline:
        assert len(list(pipeline)) == 3


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_order_is_kept_and_tracking_follows_it(workers):
    source, tracker, sink = Frames(60), Counter(), Sink()
    config = PipelineConfig(num_requests=workers, num_workers=workers)
    with Pipeline(source, one_box, tracker=tracker, sinks=[sink], config=config) as pipeline:
        pairs = list(pipeline)
    assert [frame.index for frame, _ in pairs] == list(range(60))
    assert all(result.boxes[0, 2] == frame.index + 1 for frame, result in pairs)
    assert [result.track_ids[0] for _, result in pairs] == list(range(1, 61))
    assert all(isinstance(result, Tracks) for _, result in pairs)
    assert tracker.calls == [i / 25 for i in range(60)]
    assert [index for index, _ in sink.seen] == list(range(60))
    assert pipeline.ledger.num_frames == 60
    assert [row.stage for row in pipeline.ledger.stages()] == ["decode", "wait", "inference", "track", "sink"]
    assert set(pairs[0][1].timing_ms) == {"decode", "wait", "inference", "track", "sink"}
    assert source.num_closed >= 1
    assert no_thread_is_left()


def test_no_frames():
    with Pipeline(Frames(0), one_box) as pipeline:
        assert list(pipeline) == []


def test_memory_is_bounded_when_the_consumer_is_slow():
    source = Frames(500)
    config = PipelineConfig(num_requests=2, num_workers=2, capacity=4)
    with Pipeline(source, one_box, config=config) as pipeline:
        for frame, _ in pipeline:
            time.sleep(0.001)
            # pending + under way or finished + the one in the reader's hand
            assert source.num_made - frame.index <= 4 + 2 * 2 + 2
            if frame.index > 50:
                break
    assert no_thread_is_left()


def test_latest_drops_and_counts_exactly():
    source = Frames(400, is_live=True, pause_s=0.0002)
    config = PipelineConfig(policy="latest", num_workers=1, capacity=1)
    with Pipeline(source, one_box, config=config) as pipeline:
        seen = []
        for frame, _ in pipeline:
            seen.append(frame.index)
            time.sleep(0.002)
    assert seen == sorted(seen)
    assert seen[-1] == 399  # the newest is never the one that is dropped
    dropped = pipeline.ledger.dropped["late"]
    assert dropped > 0
    assert len(seen) + dropped == 400


def test_a_failing_source_ends_the_run_after_what_it_gave():
    seen = []
    with pytest.raises(OSError, match="cable cut"), Pipeline(Frames(50, fail_at=20), one_box) as pipeline:
        for frame, _ in pipeline:
            seen.append(frame.index)
    assert seen == list(range(20))
    assert no_thread_is_left()


def test_a_failing_network_ends_the_run_in_its_place():
    def process(image, gate):
        if image[0, 0, 0] == 7:
            raise ValueError("network broke")
        return one_box(image, gate)

    seen = []
    with pytest.raises(ValueError, match="network broke"), Pipeline(Frames(50), process) as pipeline:
        for frame, _ in pipeline:
            seen.append(frame.index)
    assert seen == list(range(7))
    assert no_thread_is_left()


def test_a_failing_sink_ends_the_run():
    with pytest.raises(OSError, match="disk full"), Pipeline(Frames(50), one_box, sinks=[Sink(fail_at=3)]) as pipeline:
        list(pipeline)
    assert no_thread_is_left()


def test_an_interrupt_stops_everything():
    with pytest.raises(KeyboardInterrupt), Pipeline(Frames(10_000), one_box) as pipeline:
        for frame, _ in pipeline:
            if frame.index == 5:
                raise KeyboardInterrupt
    assert no_thread_is_left()


def test_pictures_are_one_nominal_frame_apart():
    tracker = Counter()
    with Pipeline(Frames(3, has_timestamps=False), one_box, tracker=tracker) as pipeline:
        list(pipeline)
    assert tracker.calls == [None, None, None]


@pytest.mark.parametrize("where", ["source", "network"])
def test_even_an_exit_in_a_thread_ends_the_run(where):
    class Leaving(Frames):
        def __iter__(self):
            raise SystemExit(5)

    def process(image, gate):
        raise SystemExit(5)

    source = Leaving(3) if where == "source" else Frames(3)
    with pytest.raises(SystemExit), Pipeline(source, process) as pipeline:
        list(pipeline)
    assert no_thread_is_left()


def test_stopping_counts_every_frame():
    source = Frames(10_000, is_live=True, pause_s=0.0005)
    config = PipelineConfig(policy="latest", num_workers=2, capacity=2)
    seen = 0
    with Pipeline(source, one_box, config=config) as pipeline:
        for _ in pipeline:
            seen += 1
            time.sleep(0.002)
            if seen == 20:
                break
    assert source.num_made == seen + sum(pipeline.ledger.dropped.values())


def test_leaving_the_loop_early_stops_everything():
    source = Frames(10_000)
    pipeline = Pipeline(source, one_box)
    for _ in pipeline:
        break
    pipeline.close()
    pipeline.close()
    assert no_thread_is_left()
    with pytest.raises(RuntimeError, match="iterated once"):
        list(pipeline)


def test_a_hundred_starts_and_stops():
    for i in range(100):
        with Pipeline(Frames(5), one_box) as pipeline:
            assert sum(1 for _ in pipeline) == 5, i
    assert no_thread_is_left()


@pytest.mark.parametrize("bad", [{"policy": "newest"}, {"num_workers": 0}, {"capacity": 0}])
def test_config_refuses(bad):
    with pytest.raises(ValueError, match=f"PipelineConfig: {next(iter(bad))} must be"):
        PipelineConfig(**bad)
