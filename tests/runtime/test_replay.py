"""Recorded runs: replayed byte for byte whatever ran, changed on demand, and safe to open whoever wrote them."""

import json
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest

import yolokkn
from tests.layouts.test_layouts import PICTURE, v8_head
from tests.recorded import recorded_model
from tests.runtime.clips import write_clip
from tests.strategies import scaled
from yolokkn import tracking
from yolokkn.cli import main
from yolokkn.errors import SinkError, SourceError
from yolokkn.layouts.archive import layout_from_plain, layout_to_plain
from yolokkn.runtime.replay import RecordedRun, difference
from yolokkn.runtime.run_file import RunWriter, read_records


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A short run of the embedded model, and its lines."""
    folder = tmp_path_factory.mktemp("run")
    clip = write_clip(folder / "a.mp4", 12, (240, 320))
    list(yolokkn.track(str(clip), record=folder / "run.ykr", save=str(folder / "a.jsonl")))
    return folder / "run.ykr"


def equals(path):
    """Replay as recorded; returns the number of frames."""
    run = RecordedRun.open(path)
    count = 0
    for frame, again, before in run.replay(run.make_tracker()):
        assert (found := difference(before, again)) is None, (frame.index, found)
        count += 1
    return count


@pytest.mark.parametrize("tracker", [*tracking.TRACKERS, None])
def test_real_video_with_every_tracker(shared_data, tmp_path, tracker):
    """Also with frames that no network saw, and with a camera's motion that was measured."""
    clip, model = shared_data / "videos" / "vtest.avi", yolokkn.load(score_threshold=0.1)
    path, count = tmp_path / "run.ykr", 0
    options = {"tracker": tracker, "detect_every": 3 if tracker == "botsort" else 1} if tracker else {}
    run = yolokkn.track if tracker else yolokkn.predict
    for frame, _found in run(str(clip), model=model, record=path, **options):
        count += 1
        if frame.index >= 59:
            break
    assert count == 60 and equals(path) == (58 if tracker == "botsort" else 60)  # 58 and 59 were on the way to 60


def test_all_of_a_real_clip_and_its_lines(shared_data, tmp_path):
    clip = shared_data / "videos" / "vtest.avi"
    model = yolokkn.load(shared_data / "weights" / "yolox" / "yolox_nano.onnx", score_threshold=0.1, rect=True)
    frames = list(
        yolokkn.track(
            str(clip), model=model, record=tmp_path / "run.ykr", save=str(tmp_path / "a.jsonl"), detect_every=8
        )
    )
    assert main(["replay", str(tmp_path / "run.ykr"), "--save", str(tmp_path / "b.jsonl")]) == 0
    assert len(frames) == 795 and (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_masks_and_keypoints_and_half_outputs(tmp_path, dtype):
    """A head with prototypes, and one with keypoints; half precision is kept as it came."""
    rng = np.random.default_rng(0)
    seg = recorded_model(
        {"output0": v8_head(3, 32).T[None].copy(), "output1": rng.normal(0, 1, (1, 32, 16, 16)).astype(np.float32)},
        metadata={"task": "segment", "names": str({0: "cat", 1: "dog", 2: "cow"})}, dtype=dtype,
    )  # fmt: skip
    pose = recorded_model(
        {"output0": v8_head(1, 9 + 2)[:, : 5 + 9].T[None].copy()},
        metadata={"task": "pose", "names": "{0: 'cat'}", "kpt_shape": "[3, 3]"}, dtype=dtype,
    )  # fmt: skip
    for name, content in (("seg", seg), ("pose", pose)):
        model = yolokkn.load(content)
        path = tmp_path / f"{name}.ykr"
        seen = [found for _, found in yolokkn.track([PICTURE] * 5, model=model, record=path)]
        assert equals(path) == 5
        assert (seen[-1].masks is not None) == (name == "seg") and (seen[-1].keypoints is not None) == (name == "pose")


def test_what_a_replay_may_change(recorded, tmp_path, capsys):
    run = RecordedRun.open(recorded)
    assert (run.model, run.tracker["name"], run.is_live, len(run.class_names)) == (
        "person-vehicle.onnx",
        "kkn",
        False,
        len(run.class_names),
    )
    strict = [len(found) for _, found, _ in run.replay(run.make_tracker(), score_threshold=0.9)]
    usual = [len(found) for _, found, _ in run.replay(run.make_tracker())]
    assert len(strict) == len(usual) == 12 and sum(strict) <= sum(usual)
    assert run.make_tracker("sort").name == "sort" and run.make_tracker(track_buffer=7).settings.track_buffer == 7
    assert run.make_tracker().frame_rate == run.tracker["frame_rate"]
    assert main(["replay", str(recorded), "--tracker", "bytetrack", "--save", f"mot:{tmp_path}/o.txt"]) == 0
    assert "12 frames of" in capsys.readouterr().out
    assert main(["replay", str(recorded)]) == 0
    assert "every frame equals the recorded run, byte for byte" in capsys.readouterr().out


def test_several_streams_are_recorded_apart(tmp_path):
    clips = [str(write_clip(tmp_path / f"{name}.mp4", 6, (240, 320))) for name in "ab"]
    options = ["--quiet", "--record", str(tmp_path / "{stream}.ykr")]
    assert main(["track", "--source", clips[0], "--source", clips[1], *options]) == 0
    assert equals(tmp_path / "a.ykr") == equals(tmp_path / "b.ykr") == 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--record", "run.mp4"], "--record must end in .ykr"),
        (["--record", "run.ykr", "--source", "b.mp4"], "--record must hold {stream}"),
    ],
)
def test_where_a_run_cannot_be_recorded(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    clip = str(write_clip(tmp_path / "a.mp4", 3, (96, 128)))
    assert main(["track", "--source", clip, *arguments]) == 2 and said in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4"]


def test_a_tracker_of_the_callers_own_cannot_be_recorded(tmp_path):
    class Own:
        def update(self, boxes, scores, class_ids, timestamp_s=None, **told):
            return np.arange(len(boxes))

    with pytest.raises(TypeError, match=r"record: tracker must be one of yolokkn\.tracking"):
        list(yolokkn.track([PICTURE], tracker=Own(), record=tmp_path / "a.ykr"))


def test_nothing_is_replaced_unasked(recorded, tmp_path):
    (tmp_path / "a.ykr").write_bytes(b"mine")
    with pytest.raises(SinkError, match="exists already"):
        RunWriter(tmp_path / "a.ykr")
    assert (tmp_path / "a.ykr").read_bytes() == b"mine"


def test_cut_files_give_every_whole_frame_then_say_so(recorded, tmp_path, capsys):
    content = recorded.read_bytes()
    cut = tmp_path / "cut.ykr"
    ends = list(boundaries(content))
    for end in range(0, len(content), max(len(content) // 40, 1)):
        cut.write_bytes(content[:end])
        whole = sum(1 for place in ends if place <= end) - 1  # less the beginning
        if whole < 0:
            with pytest.raises(SourceError):
                RecordedRun.open(cut)
            continue
        run, count = RecordedRun.open(cut), 0
        if end in ends:
            assert sum(1 for _ in run.replay(run.make_tracker())) == whole
            continue
        with pytest.raises(SourceError, match="ends within a record"):
            for _ in run.replay(run.make_tracker()):
                count += 1
        assert count == whole
    assert main(["replay", str(cut)]) == 3 and "ends within a record" in capsys.readouterr().out


def boundaries(content):
    """Where each record ends."""
    place = 5
    while place < len(content):
        place += 12 + struct.unpack_from("<I", content, place)[0]
        yield place


def test_damaged_and_malicious_files_are_an_error_and_nothing_else(recorded, tmp_path):
    """Flipped bytes, and records whose checksum was made to fit what was done to them."""
    content, rng = recorded.read_bytes(), np.random.default_rng(0)
    first = next(boundaries(content))
    _, _, text_length = struct.unpack_from("<III", content, 5)
    head = json.loads(content[17 : 17 + text_length])
    path, refused = tmp_path / "bad.ykr", 0
    for attempt in range(scaled(300)):
        data = bytearray(content)
        if attempt % 2:
            for place in rng.integers(0, len(data), 3):
                data[place] ^= int(rng.integers(1, 256))
        else:
            changed = json.loads(json.dumps(head))
            spoil(changed, rng)
            text = json.dumps(changed).encode()
            begin = content[:5] + struct.pack("<III", len(text), zlib.crc32(text), len(text))
            data = bytearray(begin + text + content[first:])
        path.write_bytes(data)
        try:
            run = RecordedRun.open(path)
            for _ in run.replay(run.make_tracker()):
                pass
        except SourceError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 50


def spoil(values, rng):
    """Change something of a mapping, somewhere."""
    keys = list(values)
    key = keys[rng.integers(len(keys))]
    if isinstance(values[key], dict) and values[key] and rng.random() < 0.8:
        spoil(values[key], rng)
        return
    values[key] = [None, -1, 1e300, "x", [], {}, [1, [2]], True, "../../etc/passwd", 10**30][rng.integers(10)]


def test_not_a_run(tmp_path):
    for content in (b"", b"YKR1\n", b"PK\x03\x04" + bytes(99), b"YKR1\n" + bytes(100)):
        (tmp_path / "a.ykr").write_bytes(content)
        with pytest.raises(SourceError, match="replay: "):
            RecordedRun.open(tmp_path / "a.ykr")
    with pytest.raises(SourceError, match="cannot be read"):
        RecordedRun.open(tmp_path / "none.ykr")
    assert main(["replay", str(tmp_path / "a.ykr")]) == 1


ENDLESS = """
import sys
from pathlib import Path
import numpy as np
from yolokkn.runtime.run_file import RunWriter
writer, i = RunWriter(Path(sys.argv[1])), 0
while True:
    writer.write({"i": i}, {"a": np.full((100, 100), i % 250, np.uint8), "b": np.zeros((0, 4), np.float32)})
    i += 1
    print(i, flush=True)
"""


def test_killed_while_recording_keeps_every_record_but_the_last(tmp_path):
    for attempt in range(scaled(4)):
        path = tmp_path / f"{attempt}.ykr"
        process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "1\n"
        time.sleep(0.03 * attempt)
        process.kill()
        written = len(process.stdout.read().split("\n"))
        process.wait()
        found = []
        try:
            found.extend(read_records(path))
        except SourceError as error:
            assert "ends within a record" in str(error)
        assert len(found) >= written - 1
        assert all(one.values["i"] == i and (one.arrays["a"] == i % 250).all() for i, one in enumerate(found))
        assert found[0].arrays["b"].shape == (0, 4)


def test_a_layout_that_is_none(recorded):
    plain = layout_to_plain(RecordedRun.open(recorded).layout)
    assert layout_to_plain(layout_from_plain(plain)) == plain
    kernels = {**plain, "values": {**plain["values"], "kernels": 1}}
    for bad in ({}, {"name": "v8"}, {"name": "none", "values": {}}, kernels, None):
        with pytest.raises(yolokkn.errors.LayoutError, match="layout: "):
            layout_from_plain(bad)
