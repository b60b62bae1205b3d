"""Zones along a run: events on the disk as they happen, counts in pictures, a heat map."""

import json

import cv2
import numpy as np
import pytest

from tests.runtime.clips import write_clip
from yolokkn.cli import main
from yolokkn.errors import SinkError
from yolokkn.runtime.zone_watch import ZoneWatch
from yolokkn.types import Detections, Frame, Tracks
from yolokkn.zones import Line, Zone, ZoneMap

ZONES = ZoneMap(
    zones={"left": Zone(((0, 0), (100, 0), (100, 200), (0, 200)))}, lines={"mid": Line(((100, 200), (100, 0)))}
)


def walked(x, index):
    box = np.array([[x - 5, 80, x + 5, 100]], np.float32)
    frame = Frame(np.full((200, 300, 3), 60, np.uint8), index, index / 10, 0.0, "street")
    return frame, Tracks(
        box, np.ones(1, np.float32), np.zeros(1, np.int32), class_names=("person",), track_ids=np.ones(1, np.int64)
    )


def test_events_are_there_when_they_happen(tmp_path):
    path = tmp_path / "e.jsonl"
    with ZoneWatch(ZONES, ("person",), events=path, heatmap=tmp_path / "h.png") as watch:
        for index, x in enumerate((20, 60, 140, 200)):
            watch.write(*walked(x, index))
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            assert len(rows) == (1 if index < 2 else 3)
        picture = np.full((200, 300, 3), 60, np.uint8)
        watch.draw(picture)
    assert [(row["event"], row["place"]) for row in rows] == [("appear", "left"), ("leave", "left"), ("in", "mid")]
    assert rows[1] == {
        "event": "leave", "place": "left", "track_id": 1, "class_id": 0, "class_name": "person", "timestamp_s": 0.2,
        "frame": 2, "source": "street", "dwell_s": 0.2,
    }  # fmt: skip
    assert (
        "left: 0 entered, 1 appeared, 1 left, 0 vanished, 0 inside" in watch.text()
        and "mid: 1 in, 0 out" in watch.text()
    )
    heat = cv2.imread(str(tmp_path / "h.png")).astype(int) - 60
    assert np.abs(heat[96:104, 136:204]).sum() > 0 and np.abs(heat[:40]).sum() == 0
    assert (picture[2:198, 99:102] != 60).any() and (picture[150:, 150:] == 60).all()


def test_points_of_another_size_are_scaled_into_the_picture():
    small = ZoneMap(zones={"z": Zone(((0, 0), (5, 0), (5, 10), (0, 10)))}, size=(10, 10), margin=0)
    watch, picture = ZoneWatch(small), np.zeros((400, 400, 3), np.uint8)
    watch.draw(picture)
    assert picture[300, 199:202].any() and not picture[300, 210:].any()


def test_what_it_refuses(tmp_path):
    (tmp_path / "there.jsonl").write_text("mine")
    for options, said in [
        ({"events": tmp_path / "e.txt"}, "must end in .jsonl"),
        ({"heatmap": tmp_path / "h.gif"}, "must end in .png or .jpg"),
        ({"events": tmp_path / "there.jsonl"}, "exists already"),
    ]:
        with pytest.raises(SinkError, match=said):
            ZoneWatch(ZONES, **options)
    assert (tmp_path / "there.jsonl").read_text() == "mine"
    with pytest.raises(SinkError, match="only tracks can be counted"):
        ZoneWatch(ZONES).write(walked(1, 0)[0], Detections.empty())


def test_the_command(tmp_path, capsys):
    clip = str(write_clip(tmp_path / "a.mp4", 6, (240, 320)))
    (tmp_path / "z.yaml").write_text("zones: {all: {points: [[0, 0], [320, 0], [320, 240], [0, 240]]}}\n")
    zones = ["--zones", str(tmp_path / "z.yaml")]
    places = ["--events", str(tmp_path / "{stream}.jsonl"), "--heatmap", str(tmp_path / "{stream}.png")]
    assert (
        main(
            [
                "track",
                "--source",
                clip,
                *zones,
                "--events",
                str(tmp_path / "e.jsonl"),
                "--save",
                str(tmp_path / "o.mp4"),
            ]
        )
        == 0
    )
    assert "all: 0 entered, " in capsys.readouterr().out and (tmp_path / "e.jsonl").exists()
    other = str(write_clip(tmp_path / "b.mp4", 6, (240, 320)))
    assert main(["track", "--source", clip, "--source", other, *zones, *places]) == 0
    assert {"a.jsonl", "a.png", "b.jsonl", "b.png"} <= {path.name for path in tmp_path.iterdir()}
    assert capsys.readouterr().out.count("  all: 0 entered") == 2
    for arguments, said in [
        (["--source", clip, "--events", "e.jsonl"], "--events must come with --zones"),
        (["--source", clip, "--source", other, *zones, "--events", "e.jsonl"], "--events must hold {stream}"),
        (["--source", clip, "--zones", str(tmp_path / "none.yaml")], "none.yaml"),
    ]:
        assert main(["track", *arguments]) != 0 and said in capsys.readouterr().err
