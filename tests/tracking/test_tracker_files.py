"""Trackers as files."""

import pytest

from yolokkn.cli import main
from yolokkn.errors import ConfigurationError
from yolokkn.tracking import create
from yolokkn.tracking.tracker_files import TrackerFile, read_tracker_file

CUSTOMARY = """
tracker_type: botsort  # as the field writes it
track_high_thresh: 0.3
track_low_thresh: 0.1
new_track_thresh: 0.35
track_buffer: 45
match_thresh: 0.75
fuse_score: True
gmc_method: sparseOptFlow
proximity_thresh: 0.5
appearance_thresh: 0.25
with_reid: False
model: auto
"""


def test_the_customary_file_is_read(tmp_path):
    path = tmp_path / "botsort.yaml"
    path.write_text(CUSTOMARY)
    file = read_tracker_file(path)
    assert (file.name, file.gmc_method, file.settings["track_buffer"]) == ("botsort", "sparseOptFlow", 45)
    assert create(file.name, **file.settings).settings.new_track_thresh == 0.35


def test_what_is_written_is_read_back(tmp_path):
    path, file = tmp_path / "a.yaml", TrackerFile("kkn", {"growth": 1.25, "class_policy": "vote"}, "none")
    path.write_text(file.to_text())
    assert read_tracker_file(path) == file


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("track_buffer: 3", "tracker_type must be one of sort, bytetrack"),
        ("tracker_type: deepsort", "tracker_type must be one of"),
        ("tracker_type: bytetrack\ntrack_bufer: 3", "did you mean 'track_buffer'"),
        ("tracker_type: bytetrack\ninertia: 0.2", "a setting of ocsort"),
        ("tracker_type: bytetrack\ntrack_buffer: soon", "track_buffer must be a number"),
        ("tracker_type: botsort\nwith_reid: True", "with_reid must be false"),
        ("tracker_type: botsort\ngmc_method: 3", "gmc_method must be text"),
        ("tracker_type: sort\nframe_rate: 25", "frame_rate is the source's"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, said):
    path = tmp_path / "t.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=said) as error:
        read_tracker_file(path)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="for its defaults take bytetrack"):
        read_tracker_file(tmp_path / "bytetrack.yaml")


def test_the_command_line_wins_over_the_file(tmp_path, capsys):
    path, det = tmp_path / "t.yaml", tmp_path / "det.txt"
    path.write_text("tracker_type: sort\nmin_hits: 1\nscore_threshold: 0.6")
    det.write_text("".join(f"{f},-1,{10 + f},20,40,80,{s}\n" for f in range(1, 9) for s in (0.9, 0.5)))

    def rows(name, *more):
        out = tmp_path / name
        assert main(["track", "--detections", str(det), "--tracker", str(path), "--save", f"mot:{out}", *more]) == 0
        return out.read_text().splitlines()

    assert len(rows("a.txt")) == 8
    assert len(rows("b.txt", "--score-threshold", "0.4")) > 8
    path.write_text("tracker_type: sort\nmin_hitz: 1")
    assert main(["track", "--detections", str(det), "--tracker", str(path), "--save", f"mot:{tmp_path / 'c'}"]) == 2
    assert "t.yaml: settings of sort must be among" in capsys.readouterr().err
