"""Streams that break off, fall silent, freeze: noticed, opened again, counted, and never given up."""

import itertools
import socket
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from tests.runtime.clips import write_clip
from yolokkn import tracking
from yolokkn.errors import SourceError
from yolokkn.runtime.pipeline import Pipeline, PipelineConfig
from yolokkn.runtime.sources import ReconnectingSource, open_source, reconnecting
from yolokkn.runtime.sources.backoff import Backoff
from yolokkn.runtime.sources.base import Source
from yolokkn.types import Detections, Frame

SOON = {"first_s": 1e-4, "most_s": 1e-3}


class Server:
    """A real TCP server that can be killed and started again at the same port; sends a clip to whoever connects."""

    def __init__(self, body, pace_s=0.0):
        self._body, self._pace_s = body, pace_s
        self.port, self._listener, self._open = 0, None, []
        self.num_served = 0
        self.start()

    def start(self):
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=8)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._loop, args=(self._listener,), daemon=True).start()

    def _loop(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            for begin in range(0, len(self._body), 188 * 20):
                connection.sendall(self._body[begin : begin + 188 * 20])
                time.sleep(self._pace_s)
            self.num_served += 1
            connection.close()
        except OSError:
            pass

    def kill(self):
        listener, self._listener = self._listener, None
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.close()
        self._open.clear()


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "a.ts", 50).read_bytes()


class Part(Source):
    """A connection that gives so many pictures, then breaks off."""

    kind, is_live = "stream", True

    def __init__(self, count, fails=True, still=False):
        super().__init__("rtsp://camera/1")
        self.frame_rate, self.count, self.fails, self.still = 25.0, count, fails, still
        self.released = False

    def _frames(self):
        for index in range(self.count):
            image = np.full((32, 48, 3), 7 if self.still else index % 250, np.uint8)
            yield Frame(image, index, index / 25, time.monotonic(), self.name)
        if self.fails:
            raise SourceError("open_source: rtsp://camera/1 cannot be opened: no data for 5 s")

    def _release(self):
        self.released = True


def over(parts, **options):
    """A source over these connections; what is no Part is raised."""
    waiting = iter(parts)

    def open_part():
        part = next(waiting)
        if isinstance(part, Exception):
            raise part
        return part

    options.setdefault("backoff", Backoff(**SOON))
    return ReconnectingSource(open_part, "udp://camera:1", **options)


def test_frames_go_on_over_connections():
    lines, parts = [], [Part(3), Part(4), Part(5)]
    source = over(parts, say=lines.append)
    frames = list(itertools.islice(source, 12))
    assert [frame.index for frame in frames] == list(range(12))
    assert (np.diff([frame.timestamp_s for frame in frames]) > 0).all()
    assert source.health.state == "live" and source.health.num_connections == 3
    assert source.health.causes == {"broke off": 2} and source.health.age_s < 5
    assert parts[0].released and parts[1].released and not parts[2].released
    assert lines[0] == "rtsp://camera/1: no data for 5 s; connecting again"
    assert lines[1].startswith("rtsp://camera/1: is back after ") and len(lines) == 4
    source.close()
    assert parts[2].released and source.health.state == "ended" and next(source, None) is None


def test_an_outage_is_time_that_passed():
    clock = iter(np.arange(0, 1e4, 0.01))
    late = [replace(frame, captured_s=frame.captured_s + 40) for frame in Part(2, fails=False)]

    class Later(Part):
        def _frames(self):
            yield from late

    frames = list(itertools.islice(over([Part(5), Later(2)], clock=lambda: next(clock)), 7))
    steps = np.diff([frame.timestamp_s for frame in frames])
    np.testing.assert_allclose(steps[:4], 0.04, atol=1e-9)
    assert 39 < steps[4] < 41 and steps[5] == pytest.approx(0.04)


def test_a_thousand_drops_and_failed_attempts():
    """Each connection gives one picture; every third attempt fails."""
    refused = SourceError("open_source: rtsp://camera/1 cannot be opened: Connection refused")
    parts = [refused if i % 3 == 2 else Part(1) for i in range(1500)]
    source = over(parts)
    frames = list(itertools.islice(source, 1000))
    assert [frame.index for frame in frames] == list(range(1000))
    assert source.health.num_connections == 1000 and source.health.causes == {"broke off": 999}
    source.close()


def test_what_cannot_be_opened_at_first_is_an_error():
    with pytest.raises(SourceError, match="misspelt"):
        over([SourceError("misspelt")])


def test_an_end_without_an_error_is_an_outage_too():
    source = over([Part(3, fails=False), Part(3, fails=False)])
    assert len(list(itertools.islice(source, 5))) == 5 and source.health.reason == "it ended"


def test_a_frozen_picture_is_given_up_for_a_new_connection_and_less_and_less_often():
    now = [0.0]

    def tick():
        now[0] += 0.04
        return now[0]

    parts = [Part(100_000, still=True) for _ in range(4)]
    source = over(parts, clock=tick)
    assert_opened_again_after_twice_as_long(source, "frozen")


def assert_opened_again_after_twice_as_long(source, cause):
    seen = []
    while source.health.num_connections < 4:
        next(source)
        seen.append(source.health.num_connections)
    assert source.health.causes == {cause: 3} and source.health.state == "live"
    lengths = [seen.count(n) for n in (1, 2, 3)]
    assert 1.8 < lengths[1] / lengths[0] < 2.2 and 1.8 < lengths[2] / lengths[1] < 2.2
    source.close()


def test_pictures_that_change_are_not_frozen(monkeypatch):
    monkeypatch.setattr(reconnecting, "FROZEN_S", 0.1)
    source = over([Part(2000)], clock=itertools.count(0, 0.04).__next__)
    assert len(list(itertools.islice(source, 2000))) == 2000 and not source.health.causes


def test_a_flood_is_opened_again_and_waited_for_longer_each_time():
    """Ten times the frames that 30 a second would be, on a clock of the test's own."""
    parts = [Part(100_000) for _ in range(4)]
    source = over(parts, clock=itertools.count(0, 0.0005).__next__)  # the clock is read several times a frame
    assert_opened_again_after_twice_as_long(source, "flooding")


@pytest.mark.parametrize("new_ids", [False, True])
def test_ids_of_a_stream_that_was_opened_again(new_ids):
    """Going on, a track that is still known keeps its id; anew, no id is given a second time."""

    def see(image, gate):
        box = np.array([[10, 10, 60, 60]], np.float32)
        return Detections(box, np.full(1, 0.9, np.float32), np.zeros(1, np.int32))

    parts = [Part(10, fails=False) for _ in range(3)]
    config = PipelineConfig(num_workers=1)
    with Pipeline(over(parts), see, tracker=tracking.create("sort"), config=config, new_ids=new_ids) as pipeline:
        ids = [(frame.connection, int(tracks.track_ids[0])) for frame, tracks in itertools.islice(pipeline, 30)]
    assert [connection for connection, _ in ids] == [0] * 10 + [1] * 10 + [2] * 10
    given = [{track_id for connection, track_id in ids if connection == n} - {-1} for n in range(3)]
    assert given == ([{1}, {2}, {3}] if new_ids else [{1}, {1}, {1}])


def test_back_as_soon_as_the_server_is_whatever_the_backoff(body):
    """Refused while it is down, and the next wait would be a minute."""
    server = Server(body)
    url = f"tcp://user:s3cr3t@127.0.0.1:{server.port}"
    lines = []
    opened = [open_source(url, reconnect=False)]
    source = ReconnectingSource(
        lambda: opened.pop() if opened else open_source(url, reconnect=False),
        url,
        backoff=Backoff(60, 60),
        say=lines.append,
    )
    frames = list(itertools.islice(source, 40))
    server.kill()
    came = []
    reader = threading.Thread(target=lambda: came.extend((time.monotonic(), f) for f in itertools.islice(source, 40)))
    reader.start()
    time.sleep(1.5)
    server.start()
    started = time.monotonic()
    reader.join(20)
    assert not reader.is_alive() and len(came) == 40
    back = next(when for when, frame in came if frame.timestamp_s > frames[-1].timestamp_s + 1)
    assert back - started < 2.0
    assert (
        source.health.causes == {"broke off": 1} and "s3cr3t" not in "".join(lines) + source.name + source.health.reason
    )
    source.close()
    server.kill()


def test_killed_and_started_again_and_again(body):
    """Ten times, at any moment, down for up to half a second: back within two seconds of the server each time."""
    server = Server(body * 40, pace_s=0.005)
    rng = np.random.default_rng(0)
    source = open_source(f"tcp://127.0.0.1:{server.port}", reconnect=True)
    seen = [0.0]

    def read():
        for _ in source:
            seen[0] = time.monotonic()

    reader = threading.Thread(target=read)
    reader.start()
    waits = []
    for _ in range(10):
        time.sleep(rng.uniform(0.05, 0.4))
        server.kill()
        time.sleep(rng.uniform(0.0, 0.5))
        server.start()
        started = time.monotonic()
        while seen[0] < started and time.monotonic() < started + 20:
            time.sleep(0.01)
        waits.append(time.monotonic() - started)
    source.close()
    reader.join(5)
    server.kill()
    assert not reader.is_alive() and source.health.num_connections == 11
    assert max(waits) < 10 and np.median(waits) < 2.0, waits  # the longest of a busy machine; a quiet one takes 0.6


def test_a_wait_ends_when_it_is_closed():
    refused = SourceError("refused")
    source = over([Part(1), *[refused] * 9], backoff=Backoff(60, 60))
    next(source)
    reader = threading.Thread(target=lambda: next(source, None))
    reader.start()
    time.sleep(0.2)
    begin = time.monotonic()
    source.close()
    reader.join(5)
    assert not reader.is_alive() and time.monotonic() - begin < 1


def test_a_pipeline_stops_while_its_source_waits():
    source = over([Part(2)], backoff=Backoff(60, 60))
    pipeline = Pipeline(source, lambda image, gate: Detections.empty(), config=PipelineConfig(policy="every"))
    threading.Timer(0.5, pipeline.stop).start()
    begin = time.monotonic()
    assert len(list(pipeline)) == 2 and time.monotonic() - begin < 3
    assert source.health.state == "ended"


def test_backoff():
    backoff = Backoff(seed=3)
    waits = [backoff.next() for _ in range(200)]
    bounds = [min(0.5 * 2**n, 30.0) for n in range(200)]
    assert all(0.8 * most <= wait <= most for wait, most in zip(waits, bounds, strict=True))
    assert len({round(wait, 6) for wait in waits}) > 150  # spread
    backoff.reset()
    assert backoff.next() <= 0.5
    for wrong in ((0, 1), (2, 1), (1, float("inf"))):
        with pytest.raises(ValueError, match="first_s <= most_s"):
            Backoff(*wrong)
    with pytest.raises(ValueError, match="jitter"):
        Backoff(jitter=1.5)
