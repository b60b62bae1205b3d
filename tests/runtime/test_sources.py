import os
import warnings

import av
import cv2
import numpy as np
import pytest

from tests.runtime.clips import frames_by_pyav, picture, read_all, rotate_mp4, write_clip
from tests.strategies import scaled
from yolokkn.errors import SourceError, SourceWarning
from yolokkn.runtime.sources import open_source
from yolokkn.runtime.sources.timestamps import Timestamps

CLIPS = {"a.mp4": {}, "a.mkv": {}, "a.avi": {"codec": "mpeg4"}, "a.ts": {}}


@pytest.mark.parametrize("name", CLIPS)
def test_video_gives_every_frame_with_its_time(tmp_path, name):
    path = write_clip(tmp_path / name, 40, **CLIPS[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_source(path) as source:
            assert (source.kind, source.is_live, source.frame_rate, source.hw) == ("video", False, 25.0, (96, 128))
            frames = list(source)
    assert [f.index for f in frames] == list(range(40))
    assert source.num_given == 40 and not source.truncated and source.num_skipped == 0
    assert name == "a.ts" or source.num_frames == 40
    np.testing.assert_allclose([f.timestamp_s for f in frames], np.arange(40) / 25, atol=2e-3)
    assert all(np.abs(f.image.astype(int) - picture(f.index)).mean() < 6 for f in frames)
    assert {f.source for f in frames} == {str(path)}


def test_pixels_equal_opencv(shared_data):
    path = str(shared_data / "videos" / "vtest.avi")
    capture = cv2.VideoCapture(path)
    with open_source(path) as source:
        for _, frame in zip(range(60), source, strict=False):
            assert cv2.absdiff(frame.image, capture.read()[1]).max() <= 1
    assert (source.num_frames, source.frame_rate) == (795, 10.0)


@pytest.mark.parametrize("clockwise", [0, 90, 180, 270])
def test_rotation_is_applied_once_pixel_exact(tmp_path, clockwise):
    path = write_clip(tmp_path / "a.mp4", 2)
    plain = read_all(path)[0][0].image
    rotate_mp4(path, clockwise)
    expected = np.rot90(plain, -clockwise // 90)
    frames, source = read_all(path)
    np.testing.assert_array_equal(frames[0].image, expected)
    assert source.hw == expected.shape[:2]
    np.testing.assert_array_equal(frames[0].image, cv2.VideoCapture(str(path)).read()[1])


def test_variable_frame_times_are_kept(tmp_path):
    pts = [0, 1, 2, 10, 11, 30]
    frames, _ = read_all(write_clip(tmp_path / "a.mp4", 6, pts=pts))
    np.testing.assert_allclose([f.timestamp_s for f in frames], np.array(pts) / 25, atol=1e-6)


def test_timestamps_rise_whatever_comes():
    rng = np.random.default_rng(0)
    for _ in range(scaled(2000)):
        jumps = rng.choice([0.0, 0.04, -5.0, 1e6, -1e6], 20, p=[0.2, 0.5, 0.1, 0.1, 0.1])
        times = [None if rng.random() < 0.2 else float(t) for t in rng.normal(0, 10) + np.cumsum(jumps)]
        clock = Timestamps(None if rng.random() < 0.5 else 30.0)
        out = np.array([clock.next(t) for t in times])
        assert out[0] == 0 and np.isfinite(out).all() and (np.diff(out) > 0).all()


@pytest.mark.parametrize("name", CLIPS)
def test_cut_files_give_every_decodable_frame_and_say_so(tmp_path, name):
    whole = write_clip(tmp_path / name, 60, **CLIPS[name]).read_bytes()
    cut = tmp_path / ("cut" + name[1:])
    opened = 0
    for size in range(0, len(whole) - 64, max(len(whole) // 25, 1)):
        cut.write_bytes(whole[:size])
        decodable = frames_by_pyav(cut)
        if decodable <= 0:
            with pytest.raises(SourceError, match=r"cut\.\w+ "):
                open_source(cut)
            continue
        frames, source = read_all(cut)
        opened += 1
        assert len(frames) == decodable
        assert name == "a.ts" or len(frames) >= 58 or (source.truncated and "ends early" in source.warnings[0])
    assert name == "a.mp4" or opened > 15


def test_cut_fast_start_mp4_is_noticed(tmp_path):
    path = write_clip(tmp_path / "a.mp4", 60, container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with open_source(path) as source, pytest.warns(SourceWarning, match=r"a\.mp4: read \d+ frames of about 60;"):
        frames = list(source)
    assert 20 < len(frames) < 60 and source.truncated
    assert len(frames) + source.num_skipped >= frames_by_pyav(path)


def test_bit_flips_are_counted_and_passed_over(tmp_path):
    rng = np.random.default_rng(1)
    whole = np.frombuffer(write_clip(tmp_path / "a.mkv", 60).read_bytes(), np.uint8)
    skipped, path = 0, tmp_path / "b.mkv"
    for _ in range(scaled(60)):
        data = whole.copy()
        at = rng.integers(len(data) // 20, len(data), 20)
        data[at] ^= (1 << rng.integers(0, 8, 20)).astype(np.uint8)
        path.write_bytes(data.tobytes())
        try:
            frames, source = read_all(path)
        except SourceError:
            continue
        skipped += source.num_skipped
        assert [f.index for f in frames] == list(range(len(frames)))
        assert bool(source.warnings) == bool(source.num_skipped or source.truncated)
    assert skipped > 0


def test_after_damage_reading_goes_on_at_a_keyframe(tmp_path):
    path = write_clip(tmp_path / "a.mkv", 60)
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    body = bytes(packets[25])
    at = data.index(body)
    data[at : at + len(body)] = b"\xff" * len(body)
    path.write_bytes(bytes(data))
    frames, source = read_all(path, decode_threads=1)
    times = np.round([f.timestamp_s * 25 for f in frames]).astype(int)
    assert times.tolist() == [*range(25), *range(30, 60)]
    assert source.num_skipped >= 5 and not source.truncated


def test_size_may_change_mid_stream(tmp_path):
    parts = [write_clip(tmp_path / f"{i}.ts", 10, hw).read_bytes() for i, hw in enumerate([(96, 128), (64, 80)])]
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    frames, _ = read_all(tmp_path / "both.ts")
    assert {f.hw for f in frames} == {(96, 128), (64, 80)} and len(frames) >= 19


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuvj420p", "yuv420p10le"])
def test_pixel_formats(tmp_path, pix_fmt):
    frames, _ = read_all(write_clip(tmp_path / "a.mkv", 3, pix_fmt=pix_fmt))
    assert np.abs(frames[0].image.astype(int) - picture(0)).mean() < 6


def test_closing_ends_the_frames(tmp_path):
    source = open_source(write_clip(tmp_path / "a.mp4", 10))
    assert next(source).index == 0
    source.close()
    source.close()
    assert list(source) == []


def test_descriptors_are_given_back(tmp_path):
    path = write_clip(tmp_path / "a.mp4", 5)
    (tmp_path / "bad.mp4").write_bytes(b"x" * 500)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        read_all(path)
        with pytest.raises(SourceError):
            open_source(tmp_path / "bad.mp4")
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_colon_in_a_file_name(tmp_path):
    path = write_clip(tmp_path / "http:take.mp4", 3)
    assert len(read_all(path)[0]) == 3
