"""`track` on a stream that goes away: it says so, waits, and ends in order when it is told to."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.runtime.clips import write_clip
from tests.runtime.test_reconnecting import Server
from yolokkn.cli import main


@pytest.mark.parametrize("back", [False, True])
def test_a_stream_that_goes_away(tmp_path, back):
    server = Server(write_clip(tmp_path / "a.ts", 50, (240, 320)).read_bytes() * 200, pace_s=0.01)
    command = [sys.executable, "-m", "yolokkn", "track", "--source", f"tcp://user:s3cr3t@127.0.0.1:{server.port}/x"]
    command += ["--save", str(tmp_path / "out.jsonl"), "--reconnect"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(run.stderr))
    reader.start()

    def wait_for(done):
        until = time.monotonic() + 60
        while not done() and time.monotonic() < until and run.poll() is None:
            time.sleep(0.05)
        assert done(), lines

    def num_frames():
        path = tmp_path / "out.jsonl"
        return len(path.read_text().splitlines()) if path.exists() else 0

    try:
        wait_for(lambda: num_frames() > 5)
        server.kill()
        wait_for(lambda: any("connecting again" in line for line in lines))
        if back:
            server.start()
            wait_for(lambda: any("is back after" in line for line in lines))
            before = num_frames()
            wait_for(lambda: num_frames() > before + 5)
        run.send_signal(signal.SIGINT)
        begin = time.monotonic()
        out = run.stdout.read()
        assert run.wait(30) == 130 and time.monotonic() - begin < 20
    finally:
        run.kill()
        reader.join(10)
        if server._listener is not None:
            server.kill()
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    indices = [row["frame"] for row in rows]
    assert indices == sorted(set(indices)) and all(a["timestamp_s"] < b["timestamp_s"] for a, b in zip(rows, rows[1:]))  # noqa: B905, RUF007
    assert f"broke off 1 times; connected {2 if back else 1} times" in out
    assert "s3cr3t" not in out + "".join(lines) + (tmp_path / "out.jsonl").read_text()


def test_several_sources_and_a_list_that_changes(tmp_path):
    """One is added and one taken out while the others run; each has files of its own, and an end of its own."""
    clip = write_clip(tmp_path / "a.ts", 50, (240, 320))
    server = Server(clip.read_bytes() * 500, pace_s=0.08)
    listed = tmp_path / "cameras.streams"
    live = f"tcp://user:s3cr3t@127.0.0.1:{server.port}/x"
    listed.write_text(f"# the house\ndoor={live}\nyard={live}\nnone.mp4\n")
    command = [
        sys.executable,
        "-m",
        "yolokkn",
        "track",
        "--source",
        str(listed),
        "--save",
        str(tmp_path / "out/{stream}.jsonl"),
    ]
    command += ["--stats", str(tmp_path / "stats.json"), "--reconnect"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(run.stderr))
    reader.start()

    def wait_for(name, count=5):
        until, path = time.monotonic() + 60, tmp_path / f"out/{name}.jsonl"
        while time.monotonic() < until and run.poll() is None:
            if path.exists() and len(path.read_text().splitlines()) > count:
                return
            time.sleep(0.05)
        raise AssertionError(lines)

    try:
        wait_for("door")
        wait_for("yard")
        listed.write_text(f"door={live}\n{clip}\n")
        wait_for("a", 49)
        run.send_signal(signal.SIGINT)
        out = run.stdout.read()
        assert run.wait(30) == 130
    finally:
        run.kill()
        reader.join(10)
        server.kill()
    said = "".join(lines)
    assert "none: " in said and "does not exist" in said and "yard: removed" in said and "a: added" in said
    stats = json.loads((tmp_path / "stats.json").read_text())["streams"]
    assert {name: one["state"] for name, one in stats.items()} == {
        "door": "stopped", "yard": "stopped", "none": "failed", "a": "ended",
    }  # fmt: skip
    assert len((tmp_path / "out/a.jsonl").read_text().splitlines()) == stats["a"]["num_frames"] == 50
    assert "s3cr3t" not in out + said + json.dumps(stats)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--save", "out.jsonl"], "--save must hold {stream}"),
        (["--show"], "--show takes one source"),
        (["--realtime"], "--realtime takes one source"),
        (["--policy", "newest"], "must be one of every, latest, budget"),
        (["--policy", "budget=-1ms"], "must be budget=MILLISECONDS above 0"),
    ],
)
def test_what_several_sources_cannot_have(arguments, said, capsys):
    try:
        status = main(["track", "--source", "a.mp4", "--source", "b.mp4", *arguments])
    except SystemExit as left:
        status = left.code
    assert status == 2 and said in capsys.readouterr().err
