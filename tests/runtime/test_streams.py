"""Many streams at once: results as alone, one that fails or hangs holds up nobody, dropped frames are counted exactly."""

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import yolokkn
from tests.runtime.clips import write_clip
from tests.runtime.test_reconnecting import Server
from tests.strategies import scaled
from yolokkn.runtime.lane import PipelineConfig
from yolokkn.runtime.sources.base import Source
from yolokkn.runtime.streams import StreamParts, Streams, free_name, streams_config
from yolokkn.types import Detections, Frame


class Backend:
    threads = 2


class Seeing:
    """Stands for a model where the network does not matter: a box as wide as the first pixel's value."""

    backend = Backend()

    def __init__(self, seconds=0.0):
        self.seconds, self.num_seen = seconds, 0

    def for_requests(self, num_requests):
        return self

    def workspace(self):
        return self

    def process(self, image, gate):
        with gate:
            time.sleep(self.seconds)
            self.num_seen += 1
        box = np.array([[0, 0, 1 + image[0, 0, 0], 1]], np.float32)
        return Detections(box, np.ones(1, np.float32), np.zeros(1, np.int32), timing_ms={"inference": 1.0})


class Made(Source):
    """A source in memory: `count` frames, live ones at a pace."""

    def __init__(self, count, is_live=False, pace_s=0.0, fails=False):
        super().__init__("made")
        self.is_live, self.count, self.pace_s, self.fails = is_live, count, pace_s, fails
        self.num_made = 0
        self._halt = threading.Event()

    def interrupt(self):
        self._halt.set()

    def _frames(self):
        for i in range(self.count):
            if self._halt.wait(self.pace_s):
                return
            self.num_made += 1
            yield Frame(np.full((4, 4, 3), i % 256, np.uint8), i, i / 25, time.monotonic(), "made")
        if self.fails:
            raise OSError("cable cut")


@pytest.fixture
def opened(monkeypatch):
    """Let sources in memory be given where specs are."""
    monkeypatch.setattr("yolokkn.runtime.stream.open_source", lambda spec, **_: spec)


def no_thread_is_left():
    return not [t for t in threading.enumerate() if t.name.startswith("yolokkn-")]


def test_each_stream_in_its_order_and_all_of_it(opened):
    with Streams(Seeing(0.001)) as streams:
        for name in "abc":
            streams.add(Made(40), name)
        seen = {name: [] for name in "abc"}
        for stream, frame, result in streams:
            assert result.boxes[0, 2] == frame.index + 1
            seen[stream].append(frame.index)
    assert all(indices == list(range(40)) for indices in seen.values())
    assert all(status.state == "ended" and status.num_frames == 40 for status in streams.status())
    assert no_thread_is_left()


def test_one_that_fails_ends_alone(opened):
    said = []
    with Streams(Seeing(), say=said.append) as streams:
        streams.add(Made(30), "good")
        streams.add(Made(5, fails=True), "bad")
        streams.add(Made(30), "fine")
        counts = {}
        for one in streams:
            counts[one.stream] = counts.get(one.stream, 0) + 1
    assert counts == {"good": 30, "bad": 5, "fine": 30}
    states = {status.name: (status.state, status.reason) for status in streams.status()}
    assert states["bad"] == ("failed", "OSError: cable cut") and states["good"][0] == states["fine"][0] == "ended"
    assert said == ["bad: OSError: cable cut"]


def test_live_streams_share_in_turn_and_drops_are_counted_exactly(opened):
    """The network carries a third of what comes: each stream gets its share, and nothing is lost track of."""
    sources = [Made(400, is_live=True, pace_s=0.001) for _ in range(4)]
    with Streams(Seeing(0.004), config=PipelineConfig(num_requests=1, num_workers=1)) as streams:
        made = [streams.add(source) for source in sources]
        counts = {}
        for one in streams:
            counts[one.stream] = counts.get(one.stream, 0) + 1
    assert min(counts.values()) > 0.7 * max(counts.values()), counts
    for source, stream in zip(sources, made, strict=True):
        assert stream.ledger.num_frames + sum(stream.ledger.dropped.values()) == source.num_made == 400
        assert stream.ledger.dropped["late"] > 100


def test_a_source_at_ten_times_the_rate_is_accounted_for_in_constant_memory(opened):
    """What came was processed or dropped, to the frame; memory does not follow what came."""
    count = scaled(20_000)
    image = np.zeros((480, 640, 3), np.uint8)  # 900 KB: keeping frames would show

    class Fast(Made):
        def _frames(self):
            for i in range(count):
                self.num_made += 1
                yield Frame(image.copy(), i, i / 25, time.monotonic(), "fast")
                if i % 50 == 0:
                    time.sleep(0.001)

    source = Fast(count, is_live=True)
    with Streams(Seeing(0.0005), on_result=lambda _: None) as streams:
        stream = streams.add(source)
        before = resident_mib()
        assert streams.wait(300)
        grown = resident_mib() - before
    assert stream.ledger.num_frames + sum(stream.ledger.dropped.values()) == source.num_made == count
    assert stream.ledger.dropped["late"] > 0.5 * count and grown < 50, grown


def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def test_budget_drops_what_is_too_old_and_only_that(opened):
    source = Made(150, is_live=True, pace_s=0.002)
    with Streams(Seeing(0.01), policy="budget=60ms", config=PipelineConfig(num_requests=1, num_workers=1)) as streams:
        stream = streams.add(source)
        indices = [one.frame.index for one in streams]
    assert stream.ledger.dropped and stream.ledger.num_frames + sum(stream.ledger.dropped.values()) == 150
    assert indices == sorted(indices) and stream.ledger.age().p50_ms < 200


def test_streams_come_and_go_while_others_run(opened):
    with Streams(Seeing()) as streams:
        streams.add(Made(10_000, is_live=True, pace_s=0.002), "stays")
        streams.add(Made(10_000, is_live=True, pace_s=0.002), "goes")
        results = iter(streams)
        while {next(results).stream for _ in range(20)} != {"stays", "goes"}:
            pass
        status = streams.remove("goes")
        assert status.state == "stopped" and status.num_frames > 0
        streams.add(Made(10_000, is_live=True, pace_s=0.002), "comes")
        until = time.monotonic() + 10
        while next(results).stream != "comes":
            assert time.monotonic() < until
        with pytest.raises(ValueError, match="name must be new"):
            streams.add(Made(1), "stays")
        with pytest.raises(ValueError, match="name must be letters"):
            streams.add(Made(1), "../x")
        assert list(streams.streams) == ["stays", "comes"]
    assert no_thread_is_left()
    with pytest.raises(ValueError, match="must not be stopped"):
        streams.add(Made(1), "late")


def test_a_sink_that_fails_ends_the_recording_not_the_live_stream(opened):
    class Full:
        def __init__(self):
            self.seen = []

        def write(self, frame, result):
            if frame.index == 5:
                raise OSError("disk full")
            self.seen.append(frame.index)

    full, said = Full(), []
    with Streams(Seeing(), lambda *_: StreamParts(sinks=[full]), policy="every", say=said.append) as streams:
        stream = streams.add(Made(20, is_live=True), "one")
        assert [one.frame.index for one in streams] == list(range(20))
    assert full.seen == [0, 1, 2, 3, 4] and said == ["one: OSError: disk full; goes on without it"]
    assert stream.status().failed_sinks == ("OSError: disk full",) and stream.status().state == "ended"


def test_what_is_not_there_yet_is_waited_for_and_holds_up_nobody(tmp_path):
    """Silent and absent servers beside a clip."""
    clip = write_clip(tmp_path / "a.ts", 50, (240, 320))
    server = Server(clip.read_bytes() * 20, pace_s=0.01)
    server.kill()
    said = []
    with Streams(Seeing(), reconnect=True, say=said.append) as streams:
        streams.add(f"tcp://user:s3cr3t@127.0.0.1:{server.port}", "absent")
        streams.add(str(clip), "clip")
        began, counts = time.monotonic(), {"clip": 0, "absent": 0}
        results = iter(streams)
        while counts["clip"] < 50:
            counts[next(results).stream] += 1
        assert time.monotonic() - began < 5 and counts["absent"] == 0
        status = streams.streams["absent"].status()
        assert status.state == "opening" and "refused" in status.reason.lower()
        server.start()
        began = time.monotonic()
        while counts["absent"] < 10:
            counts[next(results).stream] += 1
        assert time.monotonic() - began < 10 and streams.streams["absent"].status().state == "live"
        began = time.monotonic()
    assert time.monotonic() - began < 7 and no_thread_is_left()
    server.kill()
    assert any("is there now" in line for line in said) and "s3cr3t" not in "".join(said)


def test_a_misspelt_address_fails_at_once():
    with Streams(Seeing()) as streams:
        streams.add("gopher://camera/1", "a")
        streams.add("rtsp://user:s3cr3t@ca mera/1", "b")
        assert list(streams) == []
        states = [(status.state, status.reason) for status in streams.status()]
    assert [state for state, _ in states] == ["failed", "failed"] and "s3cr3t" not in str(states)
    assert "scheme must be one of" in states[0][1]


def test_results_are_those_of_each_source_alone(tmp_path):
    model = yolokkn.load()
    clips = {name: str(write_clip(tmp_path / f"{name}.mp4", 30, (240, 320))) for name in ("a", "b", "c")}
    alone = {name: [tracks.boxes for _, tracks in yolokkn.track(clip, model=model)] for name, clip in clips.items()}
    together = {name: [] for name in clips}
    with yolokkn.track_streams(clips, model=model, save=str(tmp_path / "{stream}.jsonl")) as streams:
        for stream, _, tracks in streams:
            together[stream].append(tracks.boxes)
    for name in clips:
        assert len(together[name]) == 30 and all(map(np.array_equal, alone[name], together[name]))
        assert len((tmp_path / f"{name}.jsonl").read_text().splitlines()) == 30
    with pytest.raises(ValueError, match=r"save must hold \{stream\}"):
        yolokkn.track_streams(clips, model=model, save="out.jsonl")


def test_pictures_of_several_streams_run_as_batches(tmp_path):
    model = yolokkn.load()
    clips = [str(write_clip(tmp_path / f"{i}.mp4", 20, (240, 320))) for i in range(4)]
    alone = [tracks.boxes for _, tracks in yolokkn.track(clips[0], model=model)]
    if model.batch == 1 and model.picture.shape[0] == 1:
        with pytest.raises(ValueError, match="free batch"):
            yolokkn.track_streams(clips, model=model, batch=4)
        return
    with yolokkn.track_streams(clips, model=model, batch=4) as streams:
        seen = {}
        for stream, _, tracks in streams:
            seen.setdefault(stream, []).append(tracks.boxes)
    assert len(seen) == 4
    for boxes in seen.values():
        assert len(boxes) == 20
        assert all(len(a) == len(b) and np.allclose(a, b, atol=1e-2) for a, b in zip(boxes, alone, strict=True))


def test_names():
    assert free_name("rtsp://u:p@host/front?x=1", {}) == "front" and free_name("0", {}) == "camera0"
    assert free_name("../..", {}) == "stream" and free_name("a b%2f.mp4", {"a_b_2f": 1}) == "a_b_2f-2"
    assert streams_config(8, 2).num_requests == 2 and streams_config(1, 8).num_requests == 1
