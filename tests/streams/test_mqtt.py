"""Messages through a real broker (mosquitto) that is killed and started again."""

import json
import shutil
import socket
import subprocess
import threading
import time

import numpy as np
import pytest

from yolokkn.runtime.sinks import open_sink
from yolokkn.runtime.sources.backoff import Backoff
from yolokkn.types import Detections, Frame

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/bin")
paho = pytest.importorskip("paho.mqtt.client", reason="the extra mqtt is not installed")
pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="no mosquitto; tests/streams/install.sh brings it")


class Broker:
    """The broker as a process of its own, at one port, with a password."""

    def __init__(self, folder):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        users = folder / "users"
        command = ["mosquitto_passwd", "-b", "-c", str(users), "door", "s3cr3t"]
        subprocess.run(command, check=True)
        users.chmod(0o644)
        folder.chmod(0o755)
        self._settings = folder / "mosquitto.conf"
        self._settings.write_text(f"listener {self.port} 127.0.0.1\npassword_file {users}\nuser root\n")
        self.start()

    def start(self):
        self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._settings)], stderr=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < until and self._process.poll() is None
                time.sleep(0.02)

    def kill(self):
        self._process.kill()
        self._process.wait()


@pytest.fixture
def broker(tmp_path):
    one = Broker(tmp_path)
    yield one
    one.kill()


class Listener:
    """A subscriber that keeps what comes."""

    def __init__(self, port, topic):
        self.rows, self.joined = [], threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.username_pw_set("door", "s3cr3t")
        self._client.on_message = lambda _client, _data, message: self.rows.append(json.loads(message.payload))
        self._client.on_connect = lambda *_: self._client.subscribe(topic, qos=1)
        self._client.on_subscribe = lambda *_: self.joined.set()
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self.joined.wait(10)

    def close(self):
        self._client.loop_stop()
        self._client.disconnect()


def write(sink, index):
    sink.write(Frame(np.zeros((4, 4, 3), np.uint8), index, index / 10, 0.0, "street"), Detections.empty())


def wait_for(done, seconds=20):
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_messages_arrive_in_order_also_over_a_broker_that_was_away(broker):
    listener = Listener(broker.port, "yolokkn/door")
    sink = open_sink(f"mqtt://door:s3cr3t@127.0.0.1:{broker.port}/yolokkn/door")
    sink.outbox._backoff = Backoff(0.05, 0.2)
    for index in range(100):
        write(sink, index)
    wait_for(lambda: len(listener.rows) >= 100)
    assert [row["frame"] for row in listener.rows] == list(range(100))
    broker.kill()
    for index in range(100, 150):
        write(sink, index)
    time.sleep(0.5)
    listener.joined.clear()
    broker.start()
    wait_for(lambda: sink.outbox.num_sent >= 150)
    assert listener.joined.wait(10)
    for index in range(150, 200):
        write(sink, index)
    sink.close()
    wait_for(lambda: listener.rows[-1]["frame"] == 199)
    listener.close()
    assert sink.outbox.num_lost == 0
    tail = [row["frame"] for row in listener.rows if row["frame"] >= 150]
    assert list(dict.fromkeys(tail)) == list(range(150, 200))  # at least once, in order


def test_a_wrong_password_is_said_and_nobody_waits(broker):
    sink = open_sink(f"mqtt://door:wrong@127.0.0.1:{broker.port}/yolokkn/door")
    write(sink, 0)
    wait_for(lambda: sink.outbox.trouble)
    assert "authori" in sink.outbox.trouble.lower() and "wrong" not in sink.outbox.trouble
    sink.close()
    assert (sink.outbox.num_sent, sink.outbox.num_lost) == (0, 1)
