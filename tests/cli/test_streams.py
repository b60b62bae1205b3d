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
