import socket
import threading
import time
import traceback

import pytest

from tests.runtime.clips import read_all, write_clip
from yolokkn.errors import SourceError
from yolokkn.runtime.sources import open_source
from yolokkn.runtime.uri import STREAM_SCHEMES, file_name_for, scheme_of, without_credentials


def serve(handler):
    """A TCP server on localhost that runs one handler per connection; gives its port."""
    server = socket.create_server(("127.0.0.1", 0))

    def loop():
        with server:
            connection, _ = server.accept()
            with connection:
                handler(connection)

    threading.Thread(target=loop, daemon=True).start()
    return server.getsockname()[1]


def test_stream_over_http(tmp_path):
    body = write_clip(tmp_path / "a.ts", 20).read_bytes()

    def handler(connection):
        connection.recv(4096)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n" + body)

    frames, source = read_all(f"http://user:secret@127.0.0.1:{serve(handler)}/live.ts?token=secret")
    assert len(frames) == 20 and source.kind == "stream" and source.is_live
    assert source.name.endswith("/live.ts") and "secret" not in source.name + frames[0].source


def test_silent_peer_is_given_up_within_deadline(monkeypatch):
    monkeypatch.setattr("yolokkn.runtime.sources.video.TIMEOUT_S", 0.5)
    port = serve(lambda connection: time.sleep(3))
    start = time.monotonic()
    with pytest.raises(SourceError, match=r"no data for 0\.5 s"):
        open_source(f"tcp://127.0.0.1:{port}")
    assert time.monotonic() - start < 1.5


def test_stream_that_falls_silent_ends_with_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr("yolokkn.runtime.sources.video.TIMEOUT_S", 1.0)
    body = write_clip(tmp_path / "a.ts", 200, (240, 320)).read_bytes()

    def handler(connection):
        connection.sendall(body)
        time.sleep(4)

    frames, source = read_all(f"tcp://127.0.0.1:{serve(handler)}")
    assert len(frames) > 100 and source.truncated and "no data for 1 s" in source.warnings[0]


@pytest.mark.parametrize("scheme", ["rtsp", "http", "rtmp", "tcp"])
@pytest.mark.parametrize("user", ["admin:s3cr3t@", "admin:s3/cr3t@", "admin:s3cr3t#@", "s3cr3t?@"])
def test_credentials_never_show(scheme, user):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(SourceError) as caught:
        open_source(f"{scheme}://{user}127.0.0.1:{port}/live?password=s3cr3t")
    chain = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__context__)
    lines = [line for line in chain.splitlines() if "open_source(f" not in line]
    assert "cr3t" not in "\n".join(lines) and "127.0.0.1" in str(caught.value)


def test_names():
    assert without_credentials("http://h/user=admin&password=x/1") == "http://h/***/1"
    assert without_credentials("rtsp://u:p@h:1/a?x=1#f") == "rtsp://h:1/a"
    assert scheme_of("C://x") is None and scheme_of("a:b.mp4") is None
    for bad in (
        "..",
        "../..",
        "/",
        "a/..",
        "..\\..",
        "%2e%2e%2f",
        "\0",
        "con",
        "x" * 900,
        ".",
        "...",
        "a/b\0c",
        "~",
        "😀" * 300,
    ):
        name = file_name_for(bad, "frame_7")
        assert name not in ("", ".", "..") and not set(name) & set("/\\\0%:") and len(name.encode()) <= 200
    assert set(STREAM_SCHEMES) >= {"rtsp", "http"}
