"""`yolokkn track --detections` over folders."""

import numpy as np
import pytest

from tests.tracking.scenes import crowd
from yolokkn.cli import main
from yolokkn.tracking.mot_files import read_columns


@pytest.fixture
def sequences(tmp_path):
    for seed, name in enumerate(("one", "two", "three")):
        folder = tmp_path / "set" / name
        (folder / "det").mkdir(parents=True)
        lines = [
            f"{frame},-1,{x1},{y1},{x2 - x1},{y2 - y1},{score},-1,-1,-1\n"
            for frame, (boxes, scores, _) in enumerate(crowd(seed, 12, 30), 1)
            for (x1, y1, x2, y2), score in zip(boxes.tolist(), scores.tolist(), strict=True)
        ]
        (folder / "det" / "det.txt").write_text("".join(lines))
    return tmp_path / "set"


def test_a_folder_in_processes_equals_files_one_by_one(sequences, tmp_path, capsys):
    assert main(["track", "--detections", str(sequences), "--save", f"mot:{tmp_path / 'many'}", "--jobs", "2"]) == 0
    shown = capsys.readouterr().out
    assert [line.split(":")[0] for line in shown.splitlines()] == ["one", "three", "two", "saved mot"]
    for name in ("one", "two", "three"):
        path, out = sequences / name / "det" / "det.txt", tmp_path / f"{name}.txt"
        assert main(["track", "--detections", str(path), "--save", f"mot:{out}", "--quiet"]) == 0
        assert out.read_bytes() == (tmp_path / "many" / f"{name}.txt").read_bytes()


def test_gaps_and_camera_motion(sequences, tmp_path, capsys):
    (sequences / "one" / "gmc.txt").write_text("5 1 0 400 0 1 0\n")
    outs = {}
    for tag, options in {"default": [], "live": ["--interpolate", "0"], "still": ["--gmc-method", "none"]}.items():
        out = tmp_path / f"{tag}.txt"
        argv = ["track", "--detections", str(sequences / "one"), "--save", f"mot:{out}", *options]
        assert main(argv) == 0
        outs[tag] = read_columns(out)
    shown = capsys.readouterr().out
    assert shown.count("camera motion from gmc.txt") == 2
    assert shown.count("filled in") == 2
    live = {tuple(row) for row in outs["live"].tolist()}
    assert live < {tuple(row) for row in outs["default"].tolist()}
    assert not np.array_equal(outs["default"], outs["still"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--jobs", "0"], "--jobs must be 1 or more"),
        (["--interpolate", "-1"], "--interpolate must be 0 or more"),
        (["--gmc-method", "orb"], "--gmc-method must be auto or none with --detections, got orb"),
    ],
)
def test_refusals(sequences, tmp_path, capsys, options, text):
    assert main(["track", "--detections", str(sequences), "--save", f"mot:{tmp_path / 'o'}", *options]) == 2
    assert text in capsys.readouterr().err


def test_nothing_is_replaced_unasked_and_a_bad_file_is_named(sequences, tmp_path, capsys):
    out = tmp_path / "many"
    argv = ["track", "--detections", str(sequences), "--save", f"mot:{out}", "--jobs", "1"]
    assert main(argv) == 0
    assert main(argv) == 1
    assert "one.txt" in capsys.readouterr().err
    (sequences / "two" / "det" / "det.txt").write_text("1,-1,broken\n")
    assert main([*argv, "--overwrite"]) == 1
    assert "det.txt:1" in capsys.readouterr().err
    assert main(["track", "--source", "x.mp4", "--jobs", "2"]) == 2
    assert "--jobs must stand with --detections" in capsys.readouterr().err


def test_detections_are_never_replaced_by_their_tracks(sequences, tmp_path, capsys):
    flat = tmp_path / "flat"
    flat.mkdir()
    for name in ("one", "two"):
        (flat / f"{name}.txt").write_bytes((sequences / name / "det" / "det.txt").read_bytes())
    before = (flat / "one.txt").read_bytes()
    assert main(["track", "--detections", str(flat), "--save", f"mot:{flat}", "--overwrite"]) == 1
    assert "would replace the detections of one" in capsys.readouterr().err
    assert (flat / "one.txt").read_bytes() == before
    assert main(["track", "--detections", str(flat), "--save", f"mot:{tmp_path / 'x'}", "--frame-rate", "0"]) == 2


def test_slow_sources_are_counted_in_nominal_frames_of_a_twentieth_of_a_second(sequences, tmp_path):
    """The rate of the file serves as its time; what the tracker counts in at 2.5 detections a second is 20 a second."""

    def track(name, rate, *options):
        (sequences / "one" / "seqinfo.ini").write_text(f"[Sequence]\nname=one\nframeRate={rate}\nseqLength=30\n")
        out = tmp_path / f"{name}.txt"
        argv = [
            "track",
            "--detections",
            str(sequences / "one"),
            "--save",
            f"mot:{out}",
            "--quiet",
            "--interpolate",
            "0",
        ]
        assert main([*argv, *options]) == 0
        return out.read_bytes()

    slow = track("slow", 2.5)
    assert slow == track("twenty", 2.5, "--frame-rate", "20")
    assert slow != track("fast", 25) == track("own", 25, "--frame-rate", "25")
    (sequences / "one" / "seqinfo.ini").unlink()
    argv = ["track", "--detections", str(sequences / "one"), "--save", f"mot:{tmp_path / 'told.txt'}", "--quiet"]
    assert main([*argv, "--interpolate", "0", "--frame-rate", "2.5"]) == 0
    assert (tmp_path / "told.txt").read_bytes() == slow
