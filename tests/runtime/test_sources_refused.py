import socket
import subprocess
import sys

import numpy as np
import pytest

from yolokkn.errors import SourceError
from yolokkn.runtime.sources import open_source


@pytest.mark.parametrize(
    ("name", "content", "seen"),
    [
        ("a.mp4", b"", "an empty file"),
        ("a.mp4", b"this is no video\n" * 50, "text"),
        ("a.avi", bytes(3000), "a file of zero bytes"),
        ("a.mp4", b"PK\x03\x04" + bytes(3000), "a ZIP archive"),
        ("a.jpg", b"", "an empty file"),
        ("a.jpg", b"<html><body>404</body></html>", "an HTML page"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(30), "without its end"),
        ("a.txt", b"\x00\x01\x02", "must be a list in UTF-8"),
        ("a.txt", b"\n# nothing\n", "at least one image, got none"),
        ("a.txt", b"movie.mp4\n", "must list images"),
        ("a.txt", b"http://u:secret@host/a.jpg\n", "must list images"),
        ("a.streams", b"rtsp://a/1\nrtsp://b/2\n", "lists 2 streams; several at once"),
        ("a.streams", b"gopher://a/1\n", "scheme must be one of"),
        ("a.streams", b"# none\n", "at least one stream, got none"),
        ("a.streams", b"a=rtsp://a/1\na=rtsp://b/1\n", "must name each stream once, got 'a' again"),
    ],
)
def test_unreadable_files_are_one_clear_line(tmp_path, name, content, seen, capfd):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError) as caught:
        list(open_source(tmp_path / name))
    text = str(caught.value)
    assert name in text and seen in text and "\n" not in text and "secret" not in text
    assert capfd.readouterr().err == ""


def test_missing_empty_and_wrong_kinds(tmp_path):
    (tmp_path / "notes.md").write_text("x")
    for spec, text in [
        (tmp_path / "none.mp4", "none.mp4 does not exist"),
        (tmp_path / "*.jpg", "matches no file"),
        (tmp_path, r"must hold images, got 1 \.md"),
        ("", "must not be empty"),
        ("a\0b", "NUL"),
        ("x" * 5000, "cannot be opened|does not exist"),
        ("gopher://host/a", "scheme must be one of http, https"),
        ("file:///etc/passwd", "scheme must be one of"),
        ("concat://a|b", "scheme must be one of"),
        ("rtsp:///path", "must name a host"),
        ("rtsp://host/a b", "must not hold spaces"),
    ]:
        with pytest.raises(SourceError, match=text):
            open_source(spec)
    for spec in (None, 1.5, True, b"a.jpg", {}):
        with pytest.raises(TypeError, match="open_source: spec must be"):
            open_source(spec)
    with pytest.raises(ValueError, match=r"must have shape \(H, W, 3\)"):
        open_source(np.zeros((4, 4), np.uint8))
    with pytest.raises(TypeError, match="dtype uint8, got float32"):
        open_source(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(SourceError, match="camera 97 cannot be opened"):
        open_source("97")


def test_local_playlist_cannot_reach_the_network(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        (tmp_path / "a.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n")
        with pytest.raises(SourceError):
            open_source(tmp_path / "a.mp4")
        with pytest.raises(TimeoutError):
            server.accept()


def test_import_is_light():
    code = (
        "import sys; before = set(sys.modules);"
        "import yolokkn.runtime.sources, yolokkn.runtime.sinks, yolokkn.runtime.draw;"
        "print({'cv2', 'av', 'torch', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
