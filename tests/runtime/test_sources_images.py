import cv2
import numpy as np
import pytest

from tests.runtime.clips import picture, read_all
from yolokkn.errors import SourceError, SourceWarning
from yolokkn.runtime.sources import open_source
from yolokkn.runtime.sources.content import image_hw
from yolokkn.runtime.sources.images import read_image


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
        frames, source = read_all(spec)
        assert len(frames) == source.num_frames == len(order) and source.kind == "images"
        for i, (frame, number) in enumerate(zip(frames, order, strict=True)):
            np.testing.assert_array_equal(frame.image, picture(number))
            assert (frame.index, frame.timestamp_s) == (i, i / 30)


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
    frames, source = read_all(stack)
    assert len(frames) == 3 and source.num_frames == 3
    np.testing.assert_array_equal(frames[2].image, stack[2])
