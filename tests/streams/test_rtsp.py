"""Streams of a real RTSP server that is killed and started again: the promise is to be back within two seconds of it."""

import itertools
import socket
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from yolokkn.runtime.sources import ReconnectingSource, open_source

PYTHON = "/usr/bin/python3"
BINDINGS = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst; Gst.init(None); "
    "assert Gst.ElementFactory.find('x264enc') and Gst.ElementFactory.find('rtph264pay')"
)


@pytest.fixture(scope="module")
def gstreamer():
    try:
        done = subprocess.run([PYTHON, "-c", BINDINGS], capture_output=True, timeout=60)
    except OSError:
        done = None
    if done is None or done.returncode:
        pytest.skip("no gst-rtsp-server for the system's Python; tests/streams/install.sh brings it")


class RtspServer:
    """The server as a process of its own, at one port."""

    def __init__(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.start()

    def start(self):
        script = str(Path(__file__).with_name("rtsp_server.py"))
        self.process = subprocess.Popen([PYTHON, script, str(self.port)], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def server(gstreamer):
    one = RtspServer()
    yield one
    one.kill()


def test_a_real_rtsp_stream(server):
    with open_source(f"rtsp://user:s3cr3t@127.0.0.1:{server.port}/live") as source:
        assert isinstance(source, ReconnectingSource) and source.is_live and source.hw == (240, 320)
        frames = list(itertools.islice(source, 60))
    assert len(frames) == 60 and "s3cr3t" not in source.name
    steps = np.diff([frame.timestamp_s for frame in frames])
    assert (steps > 0).all() and np.median(steps) == pytest.approx(0.04, abs=0.01)
    assert not np.array_equal(frames[0].image, frames[-1].image)


def test_killed_and_started_again(server, num_kills=6):
    source = open_source(f"rtsp://127.0.0.1:{server.port}/live")
    times, indices, seen = [], [], [0.0]

    def read():
        for frame in source:
            times.append(frame.timestamp_s)
            indices.append(frame.index)
            seen[0] = time.monotonic()

    reader = threading.Thread(target=read)
    reader.start()
    rng, waits = np.random.default_rng(0), []
    for _ in range(num_kills):
        time.sleep(rng.uniform(0.3, 1.5))
        server.kill()
        time.sleep(rng.uniform(0.0, 2.5))
        server.start()
        started = time.monotonic()
        while seen[0] < started and time.monotonic() < started + 30:
            time.sleep(0.01)
        waits.append(time.monotonic() - started)
    source.close()
    reader.join(10)
    assert not reader.is_alive() and source.health.num_connections == num_kills + 1
    assert source.health.causes == {"broke off": num_kills}
    assert indices == list(range(len(indices))) and (np.diff(times) > 0).all()
    assert max(waits) < 15 and np.median(waits) < 2.0, waits  # the longest of a busy machine; a quiet one: below 2
