"""`yolokkn track` with --detect-every, --budget, --realtime and --rect."""

import json

import cv2
import numpy as np
import pytest

from yolokkn.cli import main


@pytest.fixture
def clip(tmp_path, monkeypatch):
    monkeypatch.setenv("YOLOKKN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    writer = cv2.VideoWriter("clip.avi", cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (160, 90))
    for i in range(20):
        image = np.full((90, 160, 3), 40, np.uint8)
        cv2.rectangle(image, (10 + 3 * i, 20), (50 + 3 * i, 70), (0, 0, 255), -1)
        writer.write(image)
    writer.release()
    return tmp_path


def track(*words):
    return main(
        ["track", "--source", "clip.avi", "--threads", "1", "--save", "out.jsonl", "--stats", "stats.json", *words]
    )


def read(folder):
    lines = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    return [line.get("carried", False) for line in lines], json.loads((folder / "stats.json").read_text())


def test_every_third_frame(clip, capsys):
    assert track("--detect-every", "3") == 0
    carried, stats = read(clip)
    assert carried == [i % 3 != 0 for i in range(20)]
    assert stats["num_carried"] == 13 and stats["stages"]["inference"]["count"] == 7
    assert "20 frames in" in (out := capsys.readouterr().out) and "13 carried by the tracker" in out


def test_realtime_says_what_it_chose(clip, capsys):
    assert track("--realtime", "--budget", "10s") == 0
    said = capsys.readouterr().err
    assert said.startswith("realtime: a frame may take 10000.0 ms; onnxruntime at ") and said.count("\n") == 1
    assert read(clip)[0] == [False] * 20


def test_a_machine_that_cannot_keep_up_says_so(clip, capsys):
    assert track("--realtime", "--budget", "1us", "--quiet") == 0
    assert "this machine cannot keep up: the network sees one frame in 8" in capsys.readouterr().err
    assert len(read(clip)[0]) == 20


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--detect-every", "9"), "must be auto, or a number of frames within 1 and 8, got '9'"),
        (("--detect-every", "often"), "must be auto, or a number of frames within 1 and 8, got 'often'"),
        (("--budget", "20ms"), "--budget must come with --detect-every auto or --realtime"),
        (("--detect-every", "2", "--budget", "20ms"), "--budget must come with --detect-every auto or --realtime"),
        (("--detect-every", "2", "--realtime"), "--realtime chooses --detect-every itself"),
    ],
)
def test_what_does_not_go_together(clip, capsys, words, text):
    assert track(*words) == 2
    assert text in capsys.readouterr().err and not (clip / "out.jsonl").exists()
