"""The command line as a stranger meets it: what works, what is refused, and with which words."""

import json
import re
import resource
import subprocess
import sys

import cv2
import numpy as np
import pytest

from tests.recorded import cell_heads, recorded_model
from tests.runtime.clips import write_clip
from yolokkn.cli import main


@pytest.fixture
def model(tmp_path):
    table = cell_heads(6)
    table[5] = 30, 30, 20, 12, 0, 0.9
    table[60] = 10, 40, 8, 8, 0.6, 0
    path = tmp_path / "model.onnx"
    metadata = {"task": "detect", "names": "{0: 'cat', 1: 'dog'}"}
    path.write_bytes(recorded_model({"output0": table.T[None].copy()}, metadata=metadata))
    return path


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip.mp4", count=12)


def run(*argv):
    return main([str(a) for a in argv])


def test_track_writes_everything(tmp_path, model, clip, capsys):
    video, lines, mot, stats = (tmp_path / n for n in ("o.mp4", "o.jsonl", "o.txt", "s.json"))
    code = run(
        "track", "--model", model, f"source={clip}", "--save", video, f"save={lines}", "--save", f"mot:{mot}",
        f"stats={stats}", "track_buffer=60", "tracker=bytetrack",
    )  # fmt: skip
    out = capsys.readouterr()
    assert code == 0, out.err
    assert "12 frames, 2 tracks: 1 dog, 1 cat" in out.out
    assert re.search(r"inference +[\d.]+ +[\d.]+", out.out)
    assert out.err == ""
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [row["frame"] for row in rows] == list(range(12))
    assert rows[3]["track_ids"] == [1, 2]
    assert rows[3]["class_names"] == ["dog", "cat"]
    assert set(rows[3]["timing_ms"]) == {"decode", "wait", "preprocess", "inference", "postprocess", "track"}
    assert len(mot.read_text().splitlines()) == 24
    assert json.loads(stats.read_text())["num_frames"] == 12
    capture = cv2.VideoCapture(str(video))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 12


def test_predict_on_a_folder_and_by_class_name(tmp_path, model, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.jpg"), np.full((64, 64, 3), 40 * i, np.uint8))
    out = tmp_path / "out.jsonl"
    assert run("predict", f"model={model}", f"source={folder}", f"save={out}", "classes=dog", "conf=0.5") == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["class_ids"] for row in rows] == [[1]] * 3
    assert "3 frames, 3 detections: 3 dog" in capsys.readouterr().out


def test_save_alone_makes_a_folder_of_its_own(tmp_path, model, clip, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert run("track", "--model", model, clip, "--save", "--quiet") == 0
    assert sorted(p.name for p in (tmp_path / "runs/track").iterdir()) == ["clip.jsonl", "clip.mp4"]
    assert sorted(p.name for p in (tmp_path / "runs/track2").iterdir()) == ["clip.jsonl", "clip.mp4"]


def test_info(model, capsys):
    assert run("info", model) == 0
    text = capsys.readouterr().out
    for part in (
        "images float32 (1, 3, 64, 64)",
        "layout    v8",
        "why       the metadata says task detect",
        "cat, dog",
    ):
        assert part in text
    assert run("info", f"model={model}", "json=true") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["layout"], facts["num_classes"]) == ("v8", 2)


def bad_lines(model, clip, tmp_path):
    text_video = tmp_path / "text.mp4"
    text_video.write_text("hello")
    empty = tmp_path / "empty"
    empty.mkdir()
    classifier = tmp_path / "classifier.onnx"
    classifier.write_bytes(recorded_model({"logits": np.zeros((1, 10), np.float32)}))
    text_model = tmp_path / "readme.onnx"
    text_model.write_text("not a model")
    m, s = ("--model", model), ("--source", clip)
    return {
        "no such video": (("track", *m, "--source", tmp_path / "no.mp4"), 1, "no.mp4"),
        "text as video": (("track", *m, "--source", text_video), 1, "text.mp4"),
        "no such model": (("track", *s, "--model", tmp_path / "no.onnx"), 1, "no such file: .*no.onnx"),
        "classifier": (("track", *s, "--model", classifier), 1, "not a model that yolokkn reads"),
        "text as model": (("track", *s, "--model", text_model), 1, "readme.onnx"),
        "empty folder": (("predict", *m, "--source", empty), 1, "empty"),
        "unknown tracker": (("track", *m, *s, "--tracker", "bytetrak"), 2, "did you mean 'bytetrack'"),
        "unknown option": (("track", *m, *s, "--sorce", "x"), 2, "unknown option '--sorce'; did you mean --source"),
        "unknown key": (("track", *m, *s, "trackr=sort"), 2, "unknown option 'trackr'; did you mean --tracker"),
        "unknown verb": (("trak", *m), 2, "no verb 'trak'; did you mean track"),
        "size": (("track", *m, *s, "imgsz=100"), 2, "takes height 64 and width 64 only"),
        "threshold": (("track", *m, *s, "conf=7"), 2, "argument --conf: must be a number within 0 and 1, got '7'"),
        "no source": (("track", *m), 2, "--source must be given"),
        "no model": (("evaluate", "coco", "--data", empty), 2, "--model FILE must be given"),
        "unknown class": (("predict", *m, *s, "classes=doog"), 2, "did you mean dog"),
        "unknown sink": (("track", *m, *s, "save=out.xyz"), 1, "out.xyz"),
        "sink in no folder": (("track", *m, *s, "--save", tmp_path / "none/out.mp4"), 1, "none"),
        "unknown layout": (("track", *m, *s, "layout=v88"), 2, "layout: must be one of"),
        "setting of another tracker": (("track", *m, *s, "tracker=sort", "track_buffer=3"), 2, "track_buffer"),
        "detections with source": (
            ("track", *s, "--detections", clip, "--save", "mot:o.txt"),
            2,
            "--detections must stand",
        ),
        "stats in no folder": (("track", *m, *s, "--stats", tmp_path / "none/s.json"), 1, "does not exist"),
        "missing annotations": (("evaluate", "coco", *m, "--data", empty), 1, "no annotations at"),
    }


CASES = (
    "no such video", "text as video", "no such model", "classifier", "text as model", "empty folder", "unknown tracker",
    "unknown option", "unknown key", "unknown verb", "size", "threshold", "no source", "no model", "unknown class",
    "unknown sink", "sink in no folder", "unknown layout", "setting of another tracker", "detections with source",
    "stats in no folder", "missing annotations",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_gets_one_clear_line(case, model, clip, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cases = bad_lines(model, clip, tmp_path)
    assert set(cases) == set(CASES)
    argv, code, text = cases[case]
    before = sorted(p for p in tmp_path.rglob("*") if p.is_file())
    assert run(*argv) == code
    err = capsys.readouterr().err
    assert re.search(text, err), err
    assert err.startswith("yolokkn")
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in err
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == before


def test_results_never_replace_their_source(tmp_path, model, clip, capsys):
    before = clip.read_bytes()
    assert run("predict", "--model", model, clip, "--save", clip, "--overwrite") == 1
    assert "is what the source reads" in capsys.readouterr().err
    assert clip.read_bytes() == before
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "a.png"), np.zeros((64, 64, 3), np.uint8))
    for uri in (f"{photos}/", f"{photos}/*.png", f"{photos}/a.png"):
        assert run("predict", "--model", model, photos, "--save", uri, "--overwrite") == 1
        assert "is what the source reads" in capsys.readouterr().err


def test_one_picture_into_one_file(tmp_path, model, capsys):
    picture = tmp_path / "a.png"
    cv2.imwrite(str(picture), np.zeros((64, 64, 3), np.uint8))
    assert run("predict", "--model", model, picture, "--save", tmp_path / "b.jpg") == 0
    assert cv2.imread(str(tmp_path / "b.jpg")).max() > 50


def test_pictures_of_several_sizes_into_a_video_say_where_they_went(tmp_path, model, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, hw in enumerate([(64, 64), (32, 64), (64, 64)]):
        cv2.imwrite(str(photos / f"{i}.png"), np.zeros((*hw, 3), np.uint8))
    assert run("predict", "--model", model, photos, "--save", tmp_path / "o.mp4") == 0
    assert "o.mp4 in 3 files" in capsys.readouterr().out


def test_a_folder_is_tracked_like_its_video(tmp_path, model):
    photos = tmp_path / "img1"
    photos.mkdir()
    for i in range(5):
        cv2.imwrite(str(photos / f"{i:06d}.jpg"), np.zeros((64, 64, 3), np.uint8))
    lines = tmp_path / "o.jsonl"
    assert run("track", "--model", model, photos, "--save", lines, "--frame-rate", "10", "--quiet") == 0
    assert [json.loads(t)["timestamp_s"] for t in lines.read_text().splitlines()] == [0.0, 0.1, 0.2, 0.3, 0.4]


def test_coco_results_carry_cocos_ids(tmp_path, capsys):
    table = cell_heads(84)
    table[5, :4] = 30, 30, 20, 12
    table[5, 4 + 62] = 0.9  # tv: category 72
    path = tmp_path / "model80.onnx"
    path.write_bytes(recorded_model({"output0": table.T[None].copy()}, metadata={"task": "detect"}))
    picture = tmp_path / "000000000139.png"
    cv2.imwrite(str(picture), np.zeros((64, 64, 3), np.uint8))
    code = run("predict", "--model", path, picture, "--save", f"coco:{tmp_path / 'r.json'}", "--quiet")
    assert code == 0, capsys.readouterr().err
    assert [(r["image_id"], r["category_id"]) for r in json.loads((tmp_path / "r.json").read_text())] == [(139, 72)]


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        (("save",), "unexpected argument 'save' beside --source"),
        (("conf=0.3", "--conf", "0.4"), "--conf is given 2 times"),
        (("classes=",), "must be a list such as"),
        (("save=a.jsonl", "save=a.jsonl"), "must name each result once"),
        (("quiet", "x.mp4", "y.mp4"), "unexpected argument 'x.mp4'"),
    ],
)
def test_nothing_is_swallowed(extra, text, model, clip, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("predict", "--model", model, "--source", clip, *extra) == 2
    assert re.search(text, capsys.readouterr().err)


@pytest.mark.parametrize("extra", ["conf=0.9", "classes=person", "stats=s.json", "show=true", "layout=v8"])
def test_detections_take_no_option_of_pictures(extra, tmp_path, capsys):
    detections = tmp_path / "det.txt"
    detections.write_text("1,-1,10,10,20,40,0.9,-1,-1,-1\n2,-1,11,10,20,40,0.9,-1,-1,-1\n")
    base = ("track", "--detections", detections, "--save", f"mot:{tmp_path / 'o.txt'}")
    assert run(*base, extra) == 2
    assert "--detections must stand without --" + extra.split("=")[0] in capsys.readouterr().err
    assert run(*base) == 0
    assert len((tmp_path / "o.txt").read_text().splitlines()) == 2


def test_existing_results_are_not_replaced_unasked(tmp_path, model, clip, capsys):
    out = tmp_path / "out.jsonl"
    out.write_text("precious\n")
    assert run("track", "--model", model, clip, "--save", out) == 1
    assert "out.jsonl" in capsys.readouterr().err
    assert out.read_text() == "precious\n"
    assert run("track", "--model", model, clip, "--save", out, "--overwrite", "--quiet") == 0
    assert len(out.read_text().splitlines()) == 12


def test_a_cut_video_is_tracked_and_says_so(tmp_path, model, clip, capsys):
    cut = tmp_path / "cut.mkv"
    whole = write_clip(tmp_path / "whole.mkv", count=40)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    out = tmp_path / "out.jsonl"
    assert run("track", "--model", model, cut, "--save", out) == 3
    err = capsys.readouterr().err
    assert err.startswith("yolokkn track: warning: ")
    assert "Traceback" not in err
    assert 5 < len(out.read_text().splitlines()) < 40


def test_help_of_each_verb(capsys):
    assert run("--help") == 0
    assert "examples:" in capsys.readouterr().out
    for verb in ("track", "predict", "info", "evaluate"):
        assert run(verb, "--help") == 0
        text = capsys.readouterr().out
        assert "examples:" in text
        assert "exit codes:" in text
    assert run("--version") == 0
    assert run() == 2


def test_ctrl_c_closes_the_outputs(tmp_path, model):
    import signal
    import time

    clip = write_clip(tmp_path / "long.mp4", count=3000, hw=(64, 64))
    out = tmp_path / "out.jsonl"
    argv = [sys.executable, "-m", "yolokkn", "track", "--model", model, "--source", clip, "--save", out]
    argv += ["--save", tmp_path / "out.mp4"]
    process = subprocess.Popen([str(a) for a in argv], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (out.exists() and out.stat().st_size > 5000):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert "stopped" in stderr
    assert "Traceback" not in stderr
    assert "frames/s" in stdout
    count = len([json.loads(line) for line in out.read_text().splitlines()])
    capture = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert 0 < count < 3000
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == count


@pytest.mark.parametrize("sink", ["o.jsonl", "o.mp4", "mot:o.txt", "o.gif", "o.csv", "pictures/", "coco:o.json"])
def test_a_full_disk_is_one_line(sink, tmp_path, model):
    clip = write_clip(tmp_path / "noise.mp4", count=200)
    kind, _, name = sink.rpartition(":")
    uri = f"{kind}:{tmp_path / name}" if kind else f"{tmp_path / name}" + "/" * sink.endswith("/")
    argv = [sys.executable, "-m", "yolokkn", "track", "--model", model, "--source", clip, "--save", uri]
    limit = 600 if name == "pictures/" else 5000

    def small_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, preexec_fn=small_disk)
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("yolokkn track: error: "), done.stderr
    assert name.strip("/").split(".")[0] in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    if name == "o.jsonl":
        text = (tmp_path / name).read_text()
        assert len([json.loads(line) for line in text.splitlines()]) > 3
        assert text.endswith("\n")
    if name == "o.json":
        assert not (tmp_path / name).exists()
