import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.runtime.clips import picture
from yolokkn import ops
from yolokkn.errors import SinkError
from yolokkn.runtime.draw import DrawStyle
from yolokkn.runtime.sinks import open_sink
from yolokkn.runtime.sinks.video import even_sized
from yolokkn.runtime.sources import open_source
from yolokkn.tracking import read_columns
from yolokkn.types import Detections, Frame, Masks, Tracks

NAMES = ("person", "bicycle, old")


def frame_of(index: int, hw=(96, 128), source="clip.mp4", time_s=None) -> Frame:
    return Frame(picture(index, hw), index, index / 25 if time_s is None else time_s, 0.0, source)


def detections(n=2, **kwargs) -> Detections:
    boxes = np.array([[10, 20, 50, 60.125], [30, 5, 90, 80], [0, 0, 8, 8]], np.float32)[:n]
    scores, classes = np.array([0.9, 0.5, 0.25], np.float32)[:n], np.array([0, 1, 0], np.int32)[:n]
    return Detections(boxes, scores, classes, class_names=NAMES, **kwargs)


def tracks(ids=(7, -1), **kwargs) -> Tracks:
    return Tracks.from_detections(detections(len(ids), **kwargs), np.array(ids, np.int64))


def decode(path) -> tuple[list[np.ndarray], list[float]]:
    with open_source(path) as source:
        frames = list(source)
        assert not source.truncated and not source.num_skipped
    return [f.image for f in frames], [f.timestamp_s for f in frames]


def write_all(uri, frames, result, **kwargs):
    with open_sink(uri, **kwargs) as sink:
        for frame in frames:
            before = frame.image.copy()
            sink.write(frame, result)
            np.testing.assert_array_equal(frame.image, before)
    return sink


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi"])
def test_video_holds_every_annotated_frame(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    sink = write_all(str(path), [frame_of(i) for i in range(60)], detections(0), frame_rate=25)
    images, times = decode(path)
    assert sink.paths == [path] and sink.num_written == len(images) == 60
    np.testing.assert_allclose(times, np.arange(60) / 25, atol=2e-3)
    errors = [np.abs(image.astype(int) - picture(i)).mean() for i, image in enumerate(images)]
    assert max(errors) < 6  # colours survive the way there and back
    write_all(str(path), [frame_of(0)], detections(), overwrite=True)
    assert np.abs(decode(path)[0][0].astype(int) - picture(0)).mean() > 6


def test_video_keeps_uneven_times_and_survives_bad_ones(tmp_path):
    times = [5.0, 5.04, 5.5, 5.54, 9.0]
    write_all(str(tmp_path / "a.mp4"), [frame_of(i, time_s=t) for i, t in enumerate(times)], detections())
    np.testing.assert_allclose(decode(tmp_path / "a.mp4")[1], np.array(times) - 5, atol=1e-3)
    bad = [0.0, 0.04, float("nan"), -3.0, 0.04, 1e9, 1e9 + 0.04, float("inf")]
    for suffix in (".mp4", ".avi", ".mkv"):
        write_all(tmp_path / f"b{suffix}", [frame_of(i, time_s=t) for i, t in enumerate(bad)], detections())
        assert len(decode(tmp_path / f"b{suffix}")[0]) == len(bad)


@pytest.mark.parametrize("hw", [(1, 1), (2, 2), (95, 127), (1, 500), (333, 3), (17, 64), (98, 130), (100, 66)])
def test_odd_sizes_are_padded_by_their_edge(tmp_path, hw):
    write_all(tmp_path / "a.mp4", [frame_of(i, hw) for i in range(3)], detections(0))
    images, _ = decode(tmp_path / "a.mp4")
    assert len(images) == 3 and images[0].shape[:2] == (hw[0] + hw[0] % 2, hw[1] + hw[1] % 2)
    padded = even_sized(picture(0, hw))
    assert min(hw) < 16 or np.abs(images[0].astype(int) - padded).mean() < 9
    np.testing.assert_array_equal(padded[: hw[0], : hw[1]], picture(0, hw))
    np.testing.assert_array_equal(padded[-1, : hw[1]], picture(0, hw)[-1])


def test_another_size_opens_another_file(tmp_path):
    sizes = [(96, 128)] * 3 + [(64, 64)] * 2 + [(96, 128)]
    sink = write_all(tmp_path / "a.mp4", [frame_of(i, hw) for i, hw in enumerate(sizes)], detections())
    assert [p.name for p in sink.paths] == ["a.mp4", "a_001.mp4", "a_002.mp4"]
    assert [len(decode(p)[0]) for p in sink.paths] == [3, 2, 1]
    assert decode(sink.paths[1])[0][0].shape == (64, 64, 3)
    (tmp_path / "b_001.mp4").write_bytes(b"mine")
    with pytest.raises(SinkError, match=r"b_001\.mp4 exists already"):
        write_all(tmp_path / "b.mp4", [frame_of(i, hw) for i, hw in enumerate(sizes)], detections())
    assert (tmp_path / "b_001.mp4").read_bytes() == b"mine" and len(decode(tmp_path / "b.mp4")[0]) == 3


def test_gif(tmp_path):
    frames = [frame_of(i, (480, 1280), time_s=i / 10) for i in range(6)] + [frame_of(6, (64, 64), time_s=0.605)]
    write_all(tmp_path / "a.gif", frames, detections(0))
    images, times = decode(tmp_path / "a.gif")
    np.testing.assert_allclose(times[:6], np.arange(6) / 10, atol=0.011)
    assert len(images) == 7 and images[0].shape == (240, 640, 3)
    wanted = cv2.resize(picture(0, (480, 1280)), (640, 240), interpolation=cv2.INTER_AREA)
    assert np.abs(cv2.blur(images[0], (9, 9)).astype(int) - cv2.blur(wanted, (9, 9))).mean() < 6


def test_jsonl_lines(tmp_path):
    keypoints = np.full((2, 17, 3), 0.123456, np.float32)
    keypoints[1, 0] = np.nan
    result = tracks(keypoints=keypoints, timing_ms={"network": 12.34567})
    write_all(tmp_path / "a.jsonl", [frame_of(0), frame_of(1, source="ä\n.mp4")], result)
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text("utf-8").splitlines()]
    assert rows[0] | {"keypoints": 0} == {
        "frame": 0,
        "timestamp_s": 0.0,
        "source": "clip.mp4",
        "hw": [96, 128],
        "boxes": [[10.0, 20.0, 50.0, 60.12], [30.0, 5.0, 90.0, 80.0]],
        "scores": [0.9, 0.5],
        "class_ids": [0, 1],
        "class_names": ["person", "bicycle, old"],
        "track_ids": [7, -1],
        "keypoints": 0,
        "timing_ms": {"network": 12.346},
    }
    assert rows[0]["keypoints"][0][0] == [0.12, 0.12, 0.12] and rows[0]["keypoints"][1][0] == [None] * 3
    assert rows[1]["frame"] == 1 and rows[1]["source"] == "ä\n.mp4"


@pytest.mark.skipif(not hasattr(ops, "encode_rle"), reason="this build has no encode_rle")
def test_masks_become_coco_run_lengths(tmp_path):
    mask_tools = pytest.importorskip("pycocotools.mask")
    masks = Masks(np.ones(12, np.uint8), np.array([[10, 20, 14, 23]], np.int32), (96, 128))
    write_all(tmp_path / "a.jsonl", [frame_of(0)], detections(1, masks=masks))
    code = json.loads((tmp_path / "a.jsonl").read_text())["masks"][0]
    np.testing.assert_array_equal(mask_tools.decode(code), masks.to_full()[0])


def test_lines_are_there_before_close(tmp_path):
    sink = open_sink(tmp_path / "a.jsonl")
    sink.write(frame_of(0), detections())
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 1
    sink.close()
    sink.close()
    with pytest.raises(SinkError, match="is closed"):
        sink.write(frame_of(1), detections())


def test_mot_holds_confirmed_tracks(tmp_path):
    write_all(f"mot:{tmp_path}/a.txt", [frame_of(0), frame_of(4)], tracks((7, -1, 3)))
    assert (tmp_path / "a.txt").read_text().splitlines() == [
        "1,7,10.00,20.00,40.00,40.12,0.9000,-1,-1,-1",
        "1,3,0.00,0.00,8.00,8.00,0.2500,-1,-1,-1",
        "5,7,10.00,20.00,40.00,40.12,0.9000,-1,-1,-1",
        "5,3,0.00,0.00,8.00,8.00,0.2500,-1,-1,-1",
    ]


def test_mot_holds_detections_without_identity(tmp_path):
    write_all(f"mot:{tmp_path}/b.txt", [frame_of(4)], detections())
    rows = (tmp_path / "b.txt").read_text().splitlines()
    assert len(rows) == len(detections()) and all(row.startswith("5,-1,") for row in rows)
    assert len(read_columns(tmp_path / "b.txt")) == len(rows)


def test_csv_rows(tmp_path):
    write_all(tmp_path / "a.csv", [frame_of(2)], tracks())
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert [r["track_id"] for r in rows] == ["7", ""] and rows[1]["class_name"] == "bicycle, old"
    assert (rows[0]["frame"], rows[0]["timestamp_s"], rows[0]["x1"], rows[0]["score"]) == ("2", "0.08", "10.0", "0.9")


def test_coco_results(tmp_path):
    keypoints = np.ones((2, 17, 3), np.float32)
    with open_sink(f"coco:{tmp_path}/a.json", category_ids=[1, 90]) as sink:
        sink.write(frame_of(0, source="val/000000000139.jpg"), detections(keypoints=keypoints))
        sink.write(frame_of(1, source="val/bus.jpg"), detections())
        sink.write(frame_of(2, source="0007.mp4"), detections(0))
        assert not (tmp_path / "a.json").exists()
    rows = json.loads((tmp_path / "a.json").read_text())
    assert [(r["image_id"], r["category_id"]) for r in rows] == [(139, 1), (139, 90), (1, 1), (1, 90)]
    assert rows[0]["bbox"] == [10.0, 20.0, 40.0, 40.125] and rows[0]["score"] == 0.9
    assert len(rows[0]["keypoints"]) == 51 and not list(tmp_path.glob("*.partial"))
    write_all(f"coco:{tmp_path}/empty.json", [], detections())
    assert json.loads((tmp_path / "empty.json").read_text()) == []
    with pytest.raises(SinkError, match="category_ids must name class 1"):
        write_all(f"coco:{tmp_path}/b.json", [frame_of(0)], detections(), category_ids={0: 1})


def test_coco_keeps_the_old_file_when_work_fails(tmp_path):
    (tmp_path / "a.json").write_text("old")
    with pytest.raises(KeyError), open_sink(f"coco:{tmp_path}/a.json", overwrite=True) as sink:
        sink.write(frame_of(0), detections())
        raise KeyError
    assert (tmp_path / "a.json").read_text() == "old"
    assert len(json.loads((tmp_path / "a.json.partial").read_text())) == 2


@pytest.mark.parametrize("uri", ["out/", "out/*.png", "out/*.jpg"])
def test_images_are_named_after_the_source(tmp_path, uri):
    sources = ["a/1.jpg", "b/1.jpg", "../../../etc/x.png", "clip.mp4", "a/%2e%2e%2fy.jpg", "a/..\\z.jpg"]
    frames = [frame_of(i, source=s) for i, s in enumerate(sources)]
    sink = write_all(f"{tmp_path}/{uri}", frames, detections())
    suffix = ".png" if "png" in uri else ".jpg"
    stems = ["1", "1_2", "x", "clip_000003", "_2e_2e_2fy", "z"]
    assert [p.relative_to(tmp_path / "out").as_posix() for p in sink.paths] == [s + suffix for s in stems]
    assert sorted(os.listdir(tmp_path)) == ["out"] and len(os.listdir(tmp_path / "out")) == len(stems)
    with pytest.raises(SinkError, match=rf"1\{suffix} exists already"):
        write_all(f"{tmp_path}/{uri}", frames, detections())


def test_images_never_write_through_links(tmp_path):
    (tmp_path / "victim").write_text("safe")
    (tmp_path / "out").mkdir()
    for name in ("1.jpg", "1.jpg.partial"):
        (tmp_path / "out" / name).symlink_to(tmp_path / "victim")
    with pytest.raises(SinkError, match="exists already"):
        write_all(tmp_path / "out", [frame_of(0, source="1.jpg")], detections())
    write_all(tmp_path / "out", [frame_of(0, source="1.jpg")], detections(), overwrite=True)
    assert (tmp_path / "victim").read_text() == "safe" and not (tmp_path / "out" / "1.jpg").is_symlink()


@pytest.mark.parametrize("uri", ["a.mp4", "a.gif", "a.jsonl", "a.csv", "mot:a.txt", "coco:a.json"])
def test_what_is_there_is_not_destroyed(tmp_path, monkeypatch, uri):
    monkeypatch.chdir(tmp_path)
    path = Path(uri.split(":")[-1])
    path.write_text("mine")
    with pytest.raises(SinkError, match=f"{path.name} exists already") as caught:
        open_sink(uri)
    assert "\n" not in str(caught.value) and path.read_text() == "mine"
    with pytest.raises(SinkError, match=r"the folder of none/.* must exist"):
        open_sink(uri.replace("a.", "none/a."))
    write_all(uri, [frame_of(0)], tracks(), overwrite=True)
    assert path.read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("http://127.0.0.1:8080", "to post results there"),
        ("rtsp://u:secret@h/x", "must be one of"),
        ("out.txt", "must be one of out.mp4"),
        ("", "must be one of"),
        ("mot:", "must name a file"),
        ("a\0.mp4", "NUL"),
        ("none/out/", "the folder of"),
    ],
)
def test_refused_uris(tmp_path, monkeypatch, uri, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SinkError, match=text) as caught:
        open_sink(uri)
    assert "secret" not in str(caught.value) and os.listdir(tmp_path) == []
    with pytest.raises(TypeError, match="open_sink: uri must be text"):
        open_sink(3)


FULL_DISK = """
import resource, signal, sys
import numpy as np
from yolokkn.errors import SinkError
from yolokkn.runtime.sinks import open_sink
from yolokkn.types import Detections, Frame
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))
rng, errors = np.random.default_rng(0), []
result = Detections(np.zeros((50, 4), np.float32), np.zeros(50, np.float32), np.zeros(50, np.int32))
sink = open_sink(sys.argv[1], frame_rate=25)
for i in range(400):
    image = rng.integers(0, 255, (96, 128, 3), np.uint8)
    try:
        sink.write(Frame(image, i, i / 25, 0.0, "a"), result)
    except SinkError as error:
        errors.append(str(error))
try:
    sink.close()
except SinkError as error:
    errors.append(str(error))
print(errors[0] if errors else "")
"""


@pytest.mark.parametrize("uri", ["a.mp4", "a.mkv", "a.jsonl", "a.csv", "coco:a.json"])
def test_full_disk_is_one_clear_error_and_leaves_whole_pieces(tmp_path, uri):
    scheme, _, name = uri.rpartition(":")
    target = f"{scheme}:{tmp_path / name}" if scheme else str(tmp_path / name)
    done = subprocess.run([sys.executable, "-c", FULL_DISK, target], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path / name} cannot be written: File too large" in done.stdout
    if name == "a.jsonl":
        text = (tmp_path / name).read_text()
        assert text.endswith("\n") and len([json.loads(line) for line in text.splitlines()]) > 5
    elif name.endswith("mkv"):
        with av.open(str(tmp_path / name)) as container:
            assert sum(1 for _ in container.decode(video=0)) > 2


ENDLESS = """
import sys, time
import numpy as np
from yolokkn.runtime.sinks import open_sink
from yolokkn.types import Detections, Frame
sink = open_sink(sys.argv[1], frame_rate=25)
i = 0
while True:
    image = np.full((96, 128, 3), i % 250, np.uint8)
    sink.write(Frame(image, i, i / 25, 0.0, "a"), Detections.empty())
    i += 1
    if i % 10 == 0:
        print(i, flush=True)
        time.sleep(0.002)
"""


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_killed_recording_plays_and_lacks_at_most_a_second(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(path)], stdout=subprocess.PIPE, text=True)
    time.sleep(1.0)
    for line in process.stdout:
        if int(line) >= 500:
            break
    process.kill()
    written = max([500, *(int(line) for line in process.stdout.read().split())])
    process.wait()
    with av.open(str(path)) as container:
        played = sum(1 for _ in container.decode(video=0))
    assert played >= written - 25  # a second


def test_style_reaches_the_picture(tmp_path):
    plain = DrawStyle(show_boxes=False, show_labels=False, show_scores=False, show_ids=False)
    write_all(f"{tmp_path}/p/*.png", [frame_of(0, source="a.png")], detections(), style=plain)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "p" / "a.png")), picture(0))
