import os
import socket
import threading
import time
import traceback
import warnings

import av
import cv2
import numpy as np
import pytest

from tests.runtime.clips import frames_by_pyav, picture, rotate_mp4, write_clip
from yolokkn.errors import SourceError, SourceWarning
from yolokkn.runtime.sources import open_source
from yolokkn.runtime.sources.content import image_hw
from yolokkn.runtime.sources.images import read_image
from yolokkn.runtime.sources.timestamps import Timestamps
from yolokkn.runtime.uri import STREAM_SCHEMES, file_name_for, scheme_of, without_credentials

CLIPS = {"a.mp4": {}, "a.mkv": {}, "a.avi": {"codec": "mpeg4"}, "a.ts": {}}


def read(spec, **kwargs):
    """All frames of a source and the source, warnings kept off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SourceWarning)
        with open_source(spec, **kwargs) as source:
            return list(source), source


@pytest.mark.parametrize("name", CLIPS)
def test_video_gives_every_frame_with_its_time(tmp_path, name):
    path = write_clip(tmp_path / name, 40, **CLIPS[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_source(path) as source:
            assert (source.kind, source.is_live, source.frame_rate, source.hw) == ("video", False, 25.0, (96, 128))
            frames = list(source)
    assert [f.index for f in frames] == list(range(40))
    assert source.num_given == 40 and not source.truncated and source.num_skipped == 0
    assert name == "a.ts" or source.num_frames == 40
    np.testing.assert_allclose([f.timestamp_s for f in frames], np.arange(40) / 25, atol=2e-3)
    assert all(np.abs(f.image.astype(int) - picture(f.index)).mean() < 6 for f in frames)
    assert {f.source for f in frames} == {str(path)}


def test_pixels_equal_opencv(shared_data):
    path = str(shared_data / "videos" / "vtest.avi")
    capture = cv2.VideoCapture(path)
    with open_source(path) as source:
        for _, frame in zip(range(60), source, strict=False):
            assert cv2.absdiff(frame.image, capture.read()[1]).max() <= 1
    assert (source.num_frames, source.frame_rate) == (795, 10.0)


@pytest.mark.parametrize("clockwise", [0, 90, 180, 270])
def test_rotation_is_applied_once_pixel_exact(tmp_path, clockwise):
    path = write_clip(tmp_path / "a.mp4", 2)
    plain = read(path)[0][0].image
    rotate_mp4(path, clockwise)
    expected = np.rot90(plain, -clockwise // 90)
    frames, source = read(path)
    np.testing.assert_array_equal(frames[0].image, expected)
    assert source.hw == expected.shape[:2]
    np.testing.assert_array_equal(frames[0].image, cv2.VideoCapture(str(path)).read()[1])


def test_variable_frame_times_are_kept(tmp_path):
    pts = [0, 1, 2, 10, 11, 30]
    frames, _ = read(write_clip(tmp_path / "a.mp4", 6, pts=pts))
    np.testing.assert_allclose([f.timestamp_s for f in frames], np.array(pts) / 25, atol=1e-6)


def test_timestamps_rise_whatever_comes():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        jumps = rng.choice([0.0, 0.04, -5.0, 1e6, -1e6], 20, p=[0.2, 0.5, 0.1, 0.1, 0.1])
        times = [None if rng.random() < 0.2 else float(t) for t in rng.normal(0, 10) + np.cumsum(jumps)]
        clock = Timestamps(None if rng.random() < 0.5 else 30.0)
        out = np.array([clock.next(t) for t in times])
        assert out[0] == 0 and np.isfinite(out).all() and (np.diff(out) > 0).all()


@pytest.mark.parametrize("name", CLIPS)
def test_cut_files_give_every_decodable_frame_and_say_so(tmp_path, name):
    whole = write_clip(tmp_path / name, 60, **CLIPS[name]).read_bytes()
    cut = tmp_path / ("cut" + name[1:])
    opened = 0
    for size in range(0, len(whole) - 64, max(len(whole) // 25, 1)):
        cut.write_bytes(whole[:size])
        decodable = frames_by_pyav(cut)
        if decodable <= 0:
            with pytest.raises(SourceError, match=r"cut\.\w+ "):
                open_source(cut)
            continue
        frames, source = read(cut)
        opened += 1
        assert len(frames) == decodable
        assert name == "a.ts" or len(frames) >= 58 or (source.truncated and "ends early" in source.warnings[0])
    assert name == "a.mp4" or opened > 15


def test_cut_fast_start_mp4_is_noticed(tmp_path):
    path = write_clip(tmp_path / "a.mp4", 60, container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with open_source(path) as source, pytest.warns(SourceWarning, match=r"a\.mp4: read \d+ frames of about 60;"):
        frames = list(source)
    assert 20 < len(frames) < 60 and source.truncated
    assert len(frames) + source.num_skipped >= frames_by_pyav(path)


def test_bit_flips_are_counted_and_passed_over(tmp_path):
    rng = np.random.default_rng(1)
    whole = np.frombuffer(write_clip(tmp_path / "a.mkv", 60).read_bytes(), np.uint8)
    skipped, path = 0, tmp_path / "b.mkv"
    for _ in range(60):
        data = whole.copy()
        at = rng.integers(len(data) // 20, len(data), 20)
        data[at] ^= (1 << rng.integers(0, 8, 20)).astype(np.uint8)
        path.write_bytes(data.tobytes())
        try:
            frames, source = read(path)
        except SourceError:
            continue
        skipped += source.num_skipped
        assert [f.index for f in frames] == list(range(len(frames)))
        assert bool(source.warnings) == bool(source.num_skipped or source.truncated)
    assert skipped > 0


def test_after_damage_reading_goes_on_at_a_keyframe(tmp_path):
    path = write_clip(tmp_path / "a.mkv", 60)
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    body = bytes(packets[25])
    at = data.index(body)
    data[at : at + len(body)] = b"\xff" * len(body)
    path.write_bytes(bytes(data))
    frames, source = read(path, decode_threads=1)
    times = np.round([f.timestamp_s * 25 for f in frames]).astype(int)
    assert times.tolist() == [*range(25), *range(30, 60)]
    assert source.num_skipped >= 5 and not source.truncated


def test_size_may_change_mid_stream(tmp_path):
    parts = [write_clip(tmp_path / f"{i}.ts", 10, hw).read_bytes() for i, hw in enumerate([(96, 128), (64, 80)])]
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    frames, _ = read(tmp_path / "both.ts")
    assert {f.hw for f in frames} == {(96, 128), (64, 80)} and len(frames) >= 19


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuvj420p", "yuv420p10le"])
def test_pixel_formats(tmp_path, pix_fmt):
    frames, _ = read(write_clip(tmp_path / "a.mkv", 3, pix_fmt=pix_fmt))
    assert np.abs(frames[0].image.astype(int) - picture(0)).mean() < 6


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
        ("a.streams", b"rtsp://a/1\nrtsp://b/2\n", "must list one URL, got 2"),
        ("a.streams", b"camera\n", "must list a URL"),
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


def test_images_come_in_natural_order(tmp_path):
    for i in (10, 2, 1):
        cv2.imwrite(str(tmp_path / f"f{i}.png"), picture(i))
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / "sub").mkdir()
    (tmp_path / "list.txt").write_text("f2.png\n\n# comment\nf10.png\n")
    for spec, order in [
        (tmp_path, (1, 2, 10)),
        (str(tmp_path / "f*.png"), (1, 2, 10)),
        (tmp_path / "list.txt", (2, 10)),
        ([tmp_path / "f10.png", picture(1)], (10, 1)),
        (tmp_path / "f2.png", (2,)),
    ]:
        frames, source = read(spec)
        assert len(frames) == source.num_frames == len(order) and source.kind == "images"
        for i, (frame, number) in enumerate(zip(frames, order, strict=True)):
            np.testing.assert_array_equal(frame.image, picture(number))
            assert (frame.index, frame.timestamp_s) == (i, i)


def test_unreadable_images_are_left_out_and_counted(tmp_path):
    cv2.imwrite(str(tmp_path / "1.png"), picture(1))
    (tmp_path / "2.jpg").write_bytes(b"nonsense")
    cv2.imwrite(str(tmp_path / "3.jpg"), picture(3))
    whole = (tmp_path / "3.jpg").read_bytes()
    (tmp_path / "3.jpg").write_bytes(whole[: len(whole) // 2])
    with open_source(tmp_path) as source, pytest.warns(SourceWarning) as said:
        assert len(list(source)) == 1
    assert source.num_skipped == 2 and len(said) == 2
    assert "2.jpg must be an image, got text" in source.warnings[0] and "3.jpg is cut off" in source.warnings[1]
    (tmp_path / "1.png").unlink()
    with pytest.raises(SourceError, match="none of its 2 images"), pytest.warns(SourceWarning):
        list(open_source(tmp_path))


def test_huge_images_are_refused_before_allocating(tmp_path):
    head = b"BM" + (54).to_bytes(4, "little") + bytes(8) + (40).to_bytes(4, "little")
    side = (60000).to_bytes(4, "little")
    (tmp_path / "a.bmp").write_bytes(head + side + side + b"\1\0\x18\0" + bytes(2000))
    with pytest.raises(SourceError, match="at most 268435456 pixels, got 60000x60000"):
        read_image(tmp_path / "a.bmp")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif", ".webp", ".ppm", ".pgm"])
@pytest.mark.parametrize("hw", [(1, 1), (7, 513), (300, 2)])
def test_header_sizes(tmp_path, suffix, hw):
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), np.zeros((*hw, 1 if suffix == ".pgm" else 3), np.uint8))
    assert image_hw(path.read_bytes()) == hw
    assert read_image(path).shape == (*hw, 3)


def test_header_sizes_never_crash():
    rng = np.random.default_rng(0)
    for magic in (
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"BM",
        b"GIF8",
        b"RIFF\0\0\0\0WEBPVP8 ",
        b"II*\0",
        b"MM\0*",
        b"P6",
    ):
        for size in range(64):
            image_hw(magic + rng.bytes(size))


def test_exif_orientation_is_applied_once(tmp_path):
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    data = cv2.imencode(".jpg", picture(0))[1].tobytes()
    plain = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    path = tmp_path / "a.jpg"
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    np.testing.assert_array_equal(read_image(path), np.rot90(plain, -1))


def test_arrays():
    stack = np.stack([picture(i) for i in range(3)])
    frames, source = read(stack)
    assert len(frames) == 3 and source.num_frames == 3
    np.testing.assert_array_equal(frames[2].image, stack[2])


def test_closing_ends_the_frames(tmp_path):
    source = open_source(write_clip(tmp_path / "a.mp4", 10))
    assert next(source).index == 0
    source.close()
    source.close()
    assert list(source) == []


def test_descriptors_are_given_back(tmp_path):
    path = write_clip(tmp_path / "a.mp4", 5)
    (tmp_path / "bad.mp4").write_bytes(b"x" * 500)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        read(path)
        with pytest.raises(SourceError):
            open_source(tmp_path / "bad.mp4")
    assert len(os.listdir("/proc/self/fd")) <= before + 1


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

    frames, source = read(f"http://user:secret@127.0.0.1:{serve(handler)}/live.ts?token=secret")
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

    frames, source = read(f"tcp://127.0.0.1:{serve(handler)}")
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


def test_colon_in_a_file_name(tmp_path):
    path = write_clip(tmp_path / "http:take.mp4", 3)
    assert len(read(path)[0]) == 3
