"""The page's server: who may look, what it shows, and that no viewer holds up a stream. Over real sockets."""

import http.client
import json
import socket
import threading
import time

import cv2
import numpy as np
import pytest

from tests.runtime.test_streams import Made, Seeing
from yolokkn.errors import ConfigurationError
from yolokkn.runtime.streams import Streams
from yolokkn.web import Access, Monitor, WebServer, read_address

pytest.importorskip("fastapi", reason="the extra web is not installed")
pytest.importorskip("uvicorn", reason="the extra web is not installed")

TOKEN = "a-token-of-twenty-characters"
ROUTES = [
    "/", "/page/app.js", "/page/app.css", "/healthz", "/metrics", "/api/streams", "/api/streams/door", "/api/openapi.json",
    "/api/streams/door/frame.jpg", "/api/streams/door/live.mjpg", "/api/live?streams=door", "/none",
]  # fmt: skip


@pytest.fixture
def serving(monkeypatch):
    """Serves two live streams in memory; gives (server, streams) and takes a token."""
    monkeypatch.setattr("yolokkn.runtime.stream.open_source", lambda spec, **_: spec)
    opened = []

    def start(token=None, host="127.0.0.1", pace_s=0.01):
        streams = Streams(Seeing(), on_result=lambda one: monitor.took(one))
        monitor = Monitor(streams, model="seeing")
        for name in ("door", "yard"):
            streams.add(Made(10**6, is_live=True, pace_s=pace_s), name)
        server = WebServer(monitor, host, 0, token=token)
        opened.extend([server, streams])
        until = time.monotonic() + 10
        while not (monitor.newest("door") and monitor.newest("yard")) and time.monotonic() < until:
            time.sleep(0.01)
        return server, streams

    yield start
    for one in opened:
        one.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("yolokkn-")]


def port_of(server):
    return server._socket.getsockname()[1]


def get(server, path, *, method="GET", host="127.0.0.1", most=1 << 20, **headers):
    connection = http.client.HTTPConnection(host, port_of(server), timeout=10)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = b"" if answer.status == 200 and ("live" in path) else answer.read(most)
    connection.close()
    return answer, body


def test_what_it_shows(serving):
    server, _ = serving()
    answer, body = get(server, "/")
    assert (
        answer.status == 200
        and b"<title>yolokkn</title>" in body
        and "default-src 'self'" in answer.headers["content-security-policy"]
    )
    assert b"http://" not in body + get(server, "/page/app.css")[1]  # nothing from elsewhere
    overview = json.loads(get(server, "/api/streams")[1])
    assert [one["name"] for one in overview["streams"]] == ["door", "yard"] and overview["model"] == "seeing"
    detail = json.loads(get(server, "/api/streams/door")[1])
    assert detail["state"] == "live" and detail["ledger"]["num_frames"] > 0 and detail["tracks"][0]["box"][0] == 0
    answer, jpeg = get(server, "/api/streams/door/frame.jpg")
    assert answer.headers["content-type"] == "image/jpeg" and int(answer.headers["x-number"]) > 0
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1).shape == (4, 4, 3)
    assert json.loads(get(server, "/healthz")[1]) == {"status": "ok", "streams": {"door": "live", "yard": "live"}}
    for path in ("/api/streams/none", "/api/streams/none/frame.jpg", "/page/..%2fserver.py", "/page/index.html.bak"):
        assert get(server, path)[0].status == 404


def test_metrics_are_prometheus_and_true(serving):
    from prometheus_client.parser import text_string_to_metric_families

    server, streams = serving()
    before = streams.streams["door"].ledger.num_frames
    text = get(server, "/metrics")[1].decode()
    after = streams.streams["door"].ledger.num_frames
    samples = {
        (sample.name, sample.labels.get("stream")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert before <= samples["yolokkn_frames_total", "door"] <= after
    assert samples["yolokkn_stream_up", "yard"] == 1 and samples["yolokkn_objects", "door"] == 1
    assert samples["process_resident_memory_bytes", None] > 1e6


def test_live_views_go_on(serving):
    server, _ = serving()
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=10)
    connection.request("GET", "/api/live?streams=door,yard,none&width=480")
    answer = connection.getresponse()
    seen = []
    for _ in range(8):
        name = answer.read(int.from_bytes(answer.read(4), "big")).decode()
        jpeg = answer.read(int.from_bytes(answer.read(4), "big"))
        assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1) is not None
        seen.append(name)
    assert set(seen) == {"door", "yard"}
    connection.close()
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=10)
    connection.request("GET", "/api/streams/door/live.mjpg")
    answer = connection.getresponse()
    assert answer.read(9) == b"--frame\r\n" and "multipart/x-mixed-replace" in answer.headers["content-type"]
    connection.close()


@pytest.mark.parametrize("path", ROUTES)
def test_every_route_wants_the_token(serving, path):
    server, _ = serving(TOKEN, "0.0.0.0")
    assert get(server, path)[0].status == 401
    wrongs = ("Bearer wrong", TOKEN, "Basic " + TOKEN, "")
    for wrong in wrongs:
        assert get(server, path, authorization=wrong)[0].status == 401
    for wrong in ("yolokkn_token=wrong", "\x01=;;", f"other={TOKEN}"):
        assert get(server, path, cookie=wrong)[0].status == 401
    assert get(server, path + ("&" if "?" in path else "?") + "token=" + TOKEN[:-1])[0].status == 401
    right = 404 if path == "/none" else 200
    assert get(server, path, authorization=f"Bearer {TOKEN}")[0].status == right
    assert get(server, path, cookie=f"yolokkn_token={TOKEN}")[0].status == right


def test_the_token_of_the_address_becomes_a_cookie(serving):
    server, _ = serving(TOKEN, "0.0.0.0")
    assert server.url.endswith(f"/?token={TOKEN}")
    answer, _ = get(server, f"/?token={TOKEN}")
    cookie = answer.headers["set-cookie"]
    assert (
        answer.status == 303
        and answer.headers["location"] == "/"
        and "HttpOnly" in cookie
        and "strict" in cookie.lower()
    )


def test_reads_only_and_only_by_its_own_name(serving):
    server, _ = serving()
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        assert get(server, "/api/streams", method=method)[0].status == 405
    for name in ("evil.example", "10.0.0.1:80", ""):
        assert get(server, "/api/streams", host="127.0.0.1", Host=name)[0].status == 403
    assert get(server, "/api/streams", Host="localhost:1")[0].status == 200


def test_addresses_and_tokens():
    for text in ("camera:80", "0.0.0.0:99999", "1.2.3.4:x", "", "a@127.0.0.1:80", "127.0.0.1:80/x"):
        with pytest.raises(ValueError, match="web: must be HOST:PORT"):
            read_address(text)
    assert Access("127.0.0.1").token is None and len(Access("0.0.0.0").token) >= 24
    assert Access("0.0.0.0").token != Access("0.0.0.0").token and TOKEN not in repr(Access("0.0.0.0", TOKEN))
    with pytest.raises(ValueError, match="16 characters"):
        Access("0.0.0.0", "short")
    assert Access("127.0.0.1").refusal("192.168.0.7", {"host": "localhost"}, "")[0] == 401


def test_an_address_that_is_taken_is_said(serving):
    server, streams = serving()
    with pytest.raises(ConfigurationError, match="cannot be served at"):
        WebServer(Monitor(streams), "127.0.0.1", port_of(server))


def test_malformed_requests_do_no_harm(serving):
    server, _ = serving()
    rng = np.random.default_rng(0)
    for attempt in range(60):
        with socket.create_connection(("127.0.0.1", port_of(server)), timeout=5) as client:
            junk = [
                rng.bytes(200), b"GET / HTTP/1.1\r\n" + b"a" * 70000, b"GET " + b"/x" * 40000 + b" HTTP/1.1\r\n\r\n",
                b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", b"GET /api/live?streams=\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
                b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n", b"GET / HTTP/1.1\r\n",
            ]  # fmt: skip
            client.sendall(junk[attempt % len(junk)])
            client.settimeout(0.2)
            try:
                client.recv(100)
            except OSError:
                pass
    assert get(server, "/healthz")[0].status == 200


def test_five_hundred_slow_clients_do_not_stall_the_streams(serving):
    """They connect, ask for live views and never read, or never finish asking."""
    server, streams = serving()
    ledger = streams.streams["door"].ledger

    def frames_in(seconds):
        before, began = ledger.num_frames, time.monotonic()
        time.sleep(seconds)
        return (ledger.num_frames - before) / (time.monotonic() - began)

    alone = frames_in(1.0)
    clients = []
    try:
        for index in range(500):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(5)
            client.connect(("127.0.0.1", port_of(server)))
            asked = b"GET /api/live?streams=door,yard HTTP/1.1\r\nHost: localhost\r\n" + (b"\r\n" if index % 2 else b"")
            client.sendall(asked)
            clients.append(client)
        crowded = frames_in(2.0)
    finally:
        for client in clients:
            client.close()
    assert crowded > 0.5 * alone, (alone, crowded)  # it may be a busy machine
    until = time.monotonic() + 10
    while get(server, "/healthz")[0].status != 200:  # 503 while they are all there
        assert time.monotonic() < until
        time.sleep(0.1)


def test_viewers_that_leave_at_once_leave_their_seats(serving):
    server, _ = serving()
    for _ in range(150):
        with socket.create_connection(("127.0.0.1", port_of(server)), timeout=5) as client:
            client.sendall(b"GET /api/live?streams=door HTTP/1.1\r\nHost: localhost\r\n\r\n")
    until = time.monotonic() + 10
    while get(server, "/api/live?streams=door")[0].status != 200:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_there_are_so_many_seats(serving):
    server, _ = serving()
    seated = []
    for _ in range(60):
        connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=10)
        connection.request("GET", "/api/live?streams=door")
        seated.append((connection, connection.getresponse()))
    statuses = [answer.status for _, answer in seated]
    assert statuses == [200] * 48 + [503] * 12
    for connection, answer in seated:
        answer.close()
        connection.close()


def test_a_run_that_ends_lets_its_viewers_go(serving):
    server, _ = serving()
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=10)
    connection.request("GET", "/api/live?streams=door")
    answer = connection.getresponse()
    answer.read(10)
    began = time.monotonic()
    server.close()
    assert time.monotonic() - began < 4
