"""Files that are never half."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from yolokkn.files import refuse_existing, write_atomically


def test_pieces_and_text(tmp_path):
    write_atomically(tmp_path / "a", iter([b"one ", memoryview(b"two")]))
    assert (tmp_path / "a").read_bytes() == b"one two"
    write_atomically(tmp_path / "a", "ä")
    assert (tmp_path / "a").read_bytes() == "ä".encode()
    assert os.listdir(tmp_path) == ["a"]


def test_a_failure_leaves_the_old_file_alone(tmp_path):
    (tmp_path / "a").write_text("old")

    def pieces():
        yield b"new"
        raise RuntimeError("the disk is on fire")

    with pytest.raises(RuntimeError, match="on fire"):
        write_atomically(tmp_path / "a", pieces())
    assert (tmp_path / "a").read_text() == "old" and os.listdir(tmp_path) == ["a"]


def test_leftovers_of_the_dead_go_and_no_others(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = {
        "gone": f".a.{dead.pid}-00112233.part",
        "young": f".a.{dead.pid}-44556677.part",
        "alive": f".a.{os.getpid()}-00112233.part",
        "of another file": f".ab.{dead.pid}-00112233.part",
        "of somebody else": f".a.{dead.pid}-note.part",
    }
    for what, name in names.items():
        (tmp_path / name).write_text("half")
        if what != "young":
            os.utime(tmp_path / name, (1e9, 1e9))
    write_atomically(tmp_path / "a", b"whole")
    assert set(os.listdir(tmp_path)) == {"a", *names.values()} - {names["gone"]}


@pytest.mark.skipif(
    not os.path.isdir("/proc/self"), reason="there is no /proc, where no permission helps to make a file"
)
def test_a_place_where_nothing_can_be_made_is_found_before_the_work():
    with pytest.raises(OSError, match=r"cannot be made: .*/proc/self/result\.json"):
        refuse_existing("/proc/self/result.json", overwrite=False)
