"""Recordings in segments: each plays as it is, a killed process loses less than a second, a full disk nothing."""

import re
import subprocess
import sys
import time

import av
import numpy as np
import pytest

from tests.strategies import scaled
from yolokkn.errors import SinkError
from yolokkn.runtime.sinks import open_sink
from yolokkn.runtime.sinks.record import Recording, RecordSink
from yolokkn.types import Detections, Frame

RATE = 25


def frame_at(index, hw=(96, 128), time_s=None):
    """A frame whose brightness tells its number."""
    image = np.full((*hw, 3), index % 200 + 20, np.uint8)
    return Frame(image, index, index / RATE if time_s is None else time_s, 0.0, "camera")


def frames_in(path):
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        return [int(np.median(frame.to_ndarray(format="bgr24"))) for frame in container.decode(video=0)]


def counting(start=1_800_000_000.0):
    """A clock that goes on by a second each time that it is asked."""
    ticks = iter(range(10**9))
    return lambda: start + next(ticks)


def test_segments_join_to_all_that_was_written(tmp_path):
    with RecordSink(Recording(tmp_path / "rec", segment_s=2.0), frame_rate=RATE, clock=counting()) as sink:
        for index in range(130):
            sink.write(frame_at(index), Detections.empty())
    assert [path.name for path in sink.paths] == [f"20270115-08000{n}.mp4" for n in range(3)]
    seen = [frames_in(path) for path in sorted(sink.paths)]
    assert [len(one) for one in seen] == [50, 50, 30]
    joined = np.concatenate(seen)
    assert np.abs(joined - (np.arange(130) % 200 + 20)).max() <= 3


def test_names_of_one_second_stay_apart_and_nothing_is_replaced(tmp_path):
    for _ in range(2):
        with RecordSink(Recording(tmp_path, segment_s=1.0), frame_rate=RATE, clock=lambda: 1_800_000_000.0) as sink:
            for index in range(30):
                sink.write(frame_at(index), Detections.empty())
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(["20270115-080000.mp4", *(f"20270115-080000-{n}.mp4" for n in (2, 3, 4))])
    assert sum(len(frames_in(tmp_path / name)) for name in names) == 60


def test_a_new_segment_where_size_or_time_jumps(tmp_path):
    with RecordSink(Recording(tmp_path), frame_rate=RATE, clock=counting()) as sink:
        for index in range(10):
            sink.write(frame_at(index), Detections.empty())
        for index in range(10, 20):
            sink.write(frame_at(index, hw=(97, 131)), Detections.empty())
        for index in range(20, 30):
            sink.write(frame_at(index, hw=(97, 131), time_s=100 + index / RATE), Detections.empty())
        for index in range(30, 40):
            sink.write(frame_at(index, hw=(97, 131), time_s=index / RATE), Detections.empty())
    assert [len(frames_in(path)) for path in sink.paths] == [10, 10, 10, 10]
    with av.open(str(sink.paths[2])) as container:
        assert container.duration < 1e6  # a segment begins at its own beginning, wherever the stream's clock is


def test_the_recording_stops_before_the_disk_is_full_and_what_is_there_plays(tmp_path):
    left = iter([10 << 30, 10 << 30, 400 << 20])
    sink = RecordSink(Recording(tmp_path, segment_s=1.0), frame_rate=RATE, free_bytes=lambda _: next(left))
    index = 0
    with pytest.raises(SinkError, match=r"400 MiB left, and the recording leaves it 500 \(min-free\)"):
        while True:
            sink.write(frame_at(index), Detections.empty())
            index += 1
    sink.close()
    assert index == 25 and len(frames_in(sink.paths[0])) == 25


def test_a_full_disk_at_the_start_is_said_at_the_start(tmp_path):
    with pytest.raises(SinkError, match="MiB left"):
        RecordSink(Recording(tmp_path), free_bytes=lambda _: 0)


def test_the_oldest_go_and_nothing_else_does(tmp_path):
    (tmp_path / "holiday.mp4").write_bytes(bytes(1 << 20))
    rng, keep = np.random.default_rng(0), 700 << 10
    with RecordSink(Recording(tmp_path, segment_s=1.0, keep_bytes=keep), frame_rate=RATE, clock=counting()) as sink:
        for index in range(200):
            noise = rng.integers(0, 256, (96, 128, 3), np.uint8)
            sink.write(Frame(noise, index, index / RATE, 0.0, "camera"), Detections.empty())
    left = sorted(path.name for path in tmp_path.iterdir())
    segments = [name for name in left if re.match(r"2027", name)]
    assert "holiday.mp4" in left and 1 <= len(segments) < 8 and segments[-1] == sink.paths[-1].name
    sizes = [(tmp_path / name).stat().st_size for name in segments]
    assert sum(sizes[:-1]) <= keep


def test_uris(tmp_path):
    sink = open_sink(f"record:{tmp_path}/a,segment=90s,keep=2G,min-free=1M,format=mkv,drawn=false", frame_rate=RATE)
    assert isinstance(sink, RecordSink) and sink._recording == Recording(
        tmp_path / "a", 90.0, "mkv", 1 << 20, 2 << 30, False
    )
    sink.write(frame_at(0), Detections.empty())
    sink.close()
    assert len(frames_in(sink.paths[0])) == 1
    for text, said in [
        ("", "must name a folder"),
        ("a,length=3", "settings must be of segment=, format=, min-free=, keep=, drawn="),
        ("a,segment=0s", "segment must be a time of a second or more"),
        ("a,segment=10", "segment must be a time"),
        ("a,keep=lots", "keep must be a size"),
        ("a,format=avi", "format must be mp4 or mkv"),
        ("a,drawn=maybe", "drawn must be true or false"),
    ]:
        with pytest.raises(SinkError, match=said):
            open_sink(f"record:{text}")


ENDLESS = """
import sys, time
import numpy as np
from yolokkn.runtime.sinks import open_sink
from yolokkn.types import Detections, Frame
sink = open_sink(f"record:{sys.argv[1]},segment=2s,min-free=1M", frame_rate=25)
noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
i = 0
while True:
    sink.write(Frame(np.roll(noise, i, 1), i, i / 25, 0.0, "a"), Detections.empty())
    i += 1
    print(i, flush=True)
    time.sleep(0.002)
"""


def test_killed_recordings_play_to_within_a_second_of_the_kill(tmp_path):
    rng = np.random.default_rng()
    for attempt in range(scaled(5)):
        folder = tmp_path / str(attempt)
        process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(folder)], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "1\n"
        time.sleep(rng.uniform(0.1, 1.0))
        process.kill()
        written = max(1, *(int(line) for line in process.stdout.read().split()[:-1] or ["1"]))
        process.wait()
        played = [len(frames_in(path)) if path.stat().st_size else 0 for path in sorted(folder.iterdir())]
        assert written - 25 <= sum(played) <= written + 2, (attempt, written, played)
        assert all(count == 50 for count in played[:-2]), played
