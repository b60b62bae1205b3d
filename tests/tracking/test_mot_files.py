import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolokkn import tracking
from yolokkn.tracking.mot_files import (
    MotRow,
    SequenceInfo,
    format_rows,
    read_columns,
    read_detections,
    read_seqinfo,
    write_rows,
)
from yolokkn.tracking.sequences import track_detections


def test_reads_seven_to_ten_columns_commas_or_spaces(tmp_path):
    path = tmp_path / "det.txt"
    path.write_text("\ufeff1,-1,10,20.5,30,40,0.9\r\n\n2 -1 1 2 3 4 .5 -1 -1 -1\n 2.0 , 7 ,1,2,3,4,1e-1,3, -1,\n")
    assert read_detections(path) == [
        MotRow(1, -1, 10, 20.5, 30, 40, 0.9),
        MotRow(2, -1, 1, 2, 3, 4, 0.5),
        MotRow(2, 7, 1, 2, 3, 4, 0.1),
    ]


def test_class_column_is_read_only_when_asked(tmp_path):
    path = tmp_path / "gt.txt"
    path.write_text("1,3,10,20,30,40,1,7,0.5\n")
    assert read_detections(path)[0].class_id == 0
    assert read_detections(path, with_class=True)[0].class_id == 7


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("1,-1,10,20,30,40", "must have 7 to 10 columns, got 6"),
        ("1,-1,10,20,30,40,1,2,3,4,5", "must have 7 to 10 columns, got 11"),
        ("1,-1,ten,20,30,40,1", "must hold numbers"),
        ("1,-1,10,20,30,,1", "must hold numbers"),
        ("1,-1,10,20,30,40,1,x", "must hold numbers"),
        ("1.5,-1,10,20,30,40,1", "must hold numbers"),
        ("0,-1,10,20,30,40,1", "must have a frame within 1 and"),
        ("inf,-1,10,20,30,40,1", "must hold numbers"),
        ("99999999999,-1,10,20,30,40,1", "must have a frame within 1 and"),
        ("1,-1,nan,20,30,40,1", "must hold finite numbers"),
        ("1,-1,1e999,20,30,40,1", "must hold finite numbers"),
        ("1,1e30,1,20,30,40,1", "must have an id of 64 bits"),
        ("\x00\x01", "must have 7 to 10 columns"),
    ],
)
def test_malformed_lines_name_file_and_line(tmp_path, line, text):
    path = tmp_path / "det.txt"
    path.write_text(f"1,-1,10,20,30,40,1\n{line}\n")
    with pytest.raises(ValueError, match=text) as caught:
        read_detections(path)
    assert f"{path}:2 " in str(caught.value)


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "det.txt"
    path.write_bytes(b"1,-1,1,2,3,4,1\n\xff\xfe\x00\n")
    with pytest.raises(ValueError, match=r"det.txt:2 must be text"):
        read_detections(path)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text("0123456789,.-e nai\n\r\x00\ufeff", max_size=200).map(str.encode))
def test_any_bytes_are_rows_or_a_value_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(content)
    try:
        rows = read_detections(path, with_class=len(content) % 2 == 0)
    except ValueError as error:
        assert str(error).startswith(f"read_detections: {path}:")
    else:
        assert all(np.isfinite(row[2:7]).all() and row.frame >= 1 for row in rows)


@settings(max_examples=400, deadline=None)
@given(
    st.text("0123456789,.-e nai\n\r\ufeff", max_size=200)
    | st.from_regex(r"(\A[1-9],[1-9](,-?[0-9]{1,3}(\.[0-9])?){5,8}\n){1,4}\Z")
)
def test_columns_are_the_rows(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "columns.txt"
    path.write_text(content, encoding="utf-8")
    try:
        rows = read_detections(path)
    except ValueError:
        with pytest.raises(ValueError, match=r"columns\.txt"):
            read_columns(path)
        return
    try:
        columns = read_columns(path)
    except ValueError as error:  # what stands in the eighth column is no class, in some line
        assert "columns.txt:" in str(error) and any(len(line.split(",")) > 7 for line in content.splitlines())
        return
    np.testing.assert_array_equal(columns[:, :7], np.array([r[:7] for r in rows], np.float64).reshape(-1, 7))


def test_ids_that_float64_cannot_hold_are_refused(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text(f"1,{2**53 - 1},0,0,5,5,1\n")
    assert read_columns(path)[0, 1] == 2**53 - 1
    path.write_text(f"1,{2**53 + 1},0,0,5,5,1\n")
    with pytest.raises(ValueError, match=r"ids\.txt must have ids below 2\^53, got"):
        read_columns(path)


finite = st.floats(-1e6, 1e6)
row = st.builds(MotRow, st.integers(1, 999), st.integers(1, 9999), finite, finite, finite, finite, st.floats(0, 1))


@settings(max_examples=100, deadline=None)
@given(st.lists(row, max_size=20))
def test_written_rows_are_read_again(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "out.txt"
    write_rows(path, rows)
    again = read_detections(path)
    assert [r[:2] for r in again] == [r[:2] for r in rows]
    for old, new in zip(rows, again, strict=True):
        np.testing.assert_allclose(new[2:7], old[2:7], atol=5.1e-4)


def test_written_columns_and_leftovers(tmp_path):
    write_rows(tmp_path / "out.txt", [MotRow(3, 7, 1.0, 2.5, 30.0, 40.0, 0.875)])
    assert (tmp_path / "out.txt").read_text() == "3,7,1.000,2.500,30.000,40.000,0.875000,-1,-1,-1\n"
    assert os.listdir(tmp_path) == ["out.txt"]
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "out.txt").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_failing_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old")

    def rows():
        yield MotRow(1, 1, 0, 0, 1, 1)
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        write_rows(path, rows())
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_killed_while_writing_leaves_old_or_new(tmp_path):
    code = (
        "import sys; from yolokkn.tracking.mot_files import *\n"
        "rows = [[MotRow(f, i, 0, 0, 1, 1) for f in range(1, 5000)] for i in (1, 2)]\n"
        "print('ready', flush=True)\n"
        "while True:\n    [write_rows(sys.argv[1], r) for r in rows]\n"
    )
    path = tmp_path / "out.txt"
    for index in range(3):
        child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
        child.stdout.readline()
        deadline = time.monotonic() + 30
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05 + 0.07 * index)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        rows = read_detections(path)
        assert len(rows) == 4999
        assert len({r.track_id for r in rows}) == 1


def test_seqinfo(tmp_path):
    (tmp_path / "seqinfo.ini").write_text(
        "[Sequence]\nname=MOT17-02\nframeRate=30\nseqLength=299\nimWidth=1920\nimHeight=1080\nimExt=.jpg\n"
    )
    want = SequenceInfo("MOT17-02", 30.0, 299, (1080, 1920))
    assert read_seqinfo(tmp_path) == read_seqinfo(tmp_path / "seqinfo.ini") == want
    for bad in ("", "[Other]\n", "[Sequence]\nseqLength=many\n", "[Sequence]\nframeRate=-1\n", "seqLength=3\n"):
        (tmp_path / "seqinfo.ini").write_text(bad)
        with pytest.raises(ValueError, match=r"read_seqinfo: .*seqinfo.ini must"):
            read_seqinfo(tmp_path)


def test_track_detections_counts_empty_frames_and_keeps_boxes(tmp_path):
    rows = [MotRow(f, -1, 10.0 + f, 20, 30, 60, 0.9) for f in (1, 2, 5)] + [MotRow(5, -1, 500, 20, 30, 60, 0.9)]
    path = tmp_path / "det.txt"
    write_rows(path, rows)
    out = track_detections(path, tracking.create("bytetrack"))
    assert out == [r._replace(track_id=1) for r in rows[:3]]
    assert out == track_detections(reversed(rows), tracking.create("bytetrack"))
    assert track_detections(path, tracking.create("bytetrack", track_buffer=2)) == out[:2]
    assert track_detections(path, tracking.create("bytetrack", track_buffer=2), frame_rate=60) == out
    assert track_detections([], tracking.create("sort")) == []
    assert format_rows(out).count("\n") == 3
    with pytest.raises(ValueError, match="frame_rate must be above 0"):
        track_detections(path, tracking.create("sort"), frame_rate=0)


def test_huge_numbers_in_a_file_do_no_harm():
    rows = [MotRow(f, -1, 1e300, -1e300, 1e308, 1e308, 1e300) for f in (1, 2)]
    assert track_detections(rows, tracking.create("bytetrack")) == []


def test_real_files(shared_data):
    folder = shared_data / "mot17" / "MOT17-13"
    info = read_seqinfo(folder)
    assert (info.name, info.num_frames, info.image_hw) == ("MOT17-13", 374, (1080, 1920))
    assert len(read_detections(folder / "det" / "det.txt")) == 4675
    assert {r.class_id for r in read_detections(folder / "gt" / "gt.txt", with_class=True)} > {1}
