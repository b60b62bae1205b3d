"""Lines that are sent: in order, again where it failed, never waited for; what is lost is counted. Over a real HTTP server."""

import http.server
import json
import threading
import time

import numpy as np
import pytest

from yolokkn.errors import SinkError
from yolokkn.runtime.sinks import open_sink
from yolokkn.runtime.sinks.outbox import Outbox, open_outbox
from yolokkn.runtime.sources.backoff import Backoff
from yolokkn.runtime.zone_watch import ZoneWatch
from yolokkn.types import Detections, Frame, Tracks
from yolokkn.zones import Zone, ZoneMap


@pytest.fixture
def web():
    """A real HTTP server that keeps what is posted, and answers as it is told."""
    taken, statuses = [], []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status = statuses.pop(0) if statuses else 200
            if status == 200:
                taken.append((self.path, dict(self.headers), body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, taken, statuses
    server.shutdown()
    server.server_close()


def frame(index):
    return Frame(np.zeros((4, 4, 3), np.uint8), index, index / 10, 0.0, "street")


def lines_of(taken):
    return [json.loads(line) for _, _, body in taken for line in body.splitlines()]


def test_results_are_posted_in_order_and_again_where_it_failed(web):
    port, taken, statuses = web
    statuses += [500, 503, 404]
    with open_sink(f"webhook+http://user:s3cr3t@127.0.0.1:{port}/hook?a=1") as sink:
        sink.outbox._backoff = Backoff(0.01, 0.02)
        for index in range(50):
            sink.write(frame(index), Detections.empty())
            time.sleep(0.002)
    assert [row["frame"] for row in lines_of(taken)] == list(range(50)) and not statuses
    path, headers, _ = taken[0]
    assert path == "/hook?a=1" and headers["Authorization"].startswith("Basic ")
    assert headers["Content-Type"] == "application/x-ndjson" and (sink.outbox.num_sent, sink.outbox.num_lost) == (50, 0)
    assert "s3cr3t" not in str(sink.path) + sink.outbox.name


def test_events_are_posted(web):
    port, taken, _ = web
    zones = ZoneMap(zones={"all": Zone(((0, 0), (100, 0), (100, 100), (0, 100)))})
    box, ids = np.array([[40, 40, 60, 60]], np.float32), np.ones(1, np.int64)
    with ZoneWatch(zones, events=f"webhook+http://127.0.0.1:{port}/") as watch:
        watch.write(frame(0), Tracks(box, np.ones(1, np.float32), np.zeros(1, np.int32), track_ids=ids))
    (event,) = lines_of(taken)
    assert (event["event"], event["place"]) == ("appear", "all")


def test_nobody_waits_and_what_is_lost_is_counted():
    """Nothing listens there: the oldest lines go, and closing takes seconds, not for ever."""
    outbox = open_outbox("webhook+http://127.0.0.1:9/")
    began = time.monotonic()
    for index in range(5000):
        outbox.write(f"{index}\n")
    assert time.monotonic() - began < 1 and 4000 <= outbox.num_lost + 0 and len(outbox._waiting) <= 1000
    began = time.monotonic()
    outbox.close()
    assert time.monotonic() - began < 12 and outbox.num_lost == 5000 and outbox.num_sent == 0
    assert "refused" in outbox.trouble.lower()


def test_pieces_that_were_taken_are_not_sent_again():
    """A sender that takes two of each batch, then fails now and then."""
    seen, calls = [], [0]

    def send(lines):
        calls[0] += 1
        if calls[0] % 3 == 0:
            raise OSError("cable cut")
        seen.extend(lines[:2])
        return len(lines[:2])

    outbox = Outbox("x", send, backoff=Backoff(1e-4, 1e-3))
    for index in range(200):
        outbox.write(f"{index}")
    outbox.close()
    assert seen == [str(index) for index in range(200)] and (outbox.num_sent, outbox.num_lost) == (200, 0)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("mqtt://broker", "must name a topic"),
        ("mqtt://broker/a/#", "without # and"),
        ("mqtt:///topic", "must name a host"),
        ("webhook+http://host:x/", "port must be a number"),
    ],
)
def test_addresses_that_are_none(uri, said):
    with pytest.raises(SinkError, match=said):
        open_sink(uri)
