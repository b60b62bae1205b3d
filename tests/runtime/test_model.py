import numpy as np
import pytest

import yolokkn
from tests.recorded import cell_heads, recorded_model
from yolokkn.errors import LayoutError, ModelError
from yolokkn.graph import GraphBuilder


def v8_content(**kwargs):
    table = cell_heads(7)
    table[5] = 30, 20, 20, 10, 0, 0.9, 0
    return recorded_model({"output0": table.T[None].copy()}, **kwargs)


def growing_v8():
    """A v8 detector of free size: one box in the middle of the input, whatever its size."""
    graph = GraphBuilder("growing")
    picture = graph.input("images", "float32", ("batch", 3, "height", "width"))
    levels = []
    for stride in (8, 16, 32):
        pooled = graph.node(
            "AveragePool", [picture], output=f"p{stride}", kernel_shape=[stride] * 2, strides=[stride] * 2
        )
        weight = np.zeros((6, 3, 1, 1), np.float32)
        bias = np.array([0, 0, 16, 16, -1, -1], np.float32) + np.float32([0, 0, 0, 0, 1, 1])
        head = graph.node(
            "Conv",
            [pooled, graph.initializer(f"w{stride}", weight), graph.initializer(f"b{stride}", bias)],
            output=f"h{stride}",
        )
        shape = graph.initializer(f"s{stride}", np.array([0, 6, -1], np.int64))
        levels.append(graph.node("Reshape", [head, shape], output=f"r{stride}"))
    graph.output(graph.node("Concat", levels, output="output0", axis=2), "float32", ("batch", 6, "anchors"))
    graph.metadata({"task": "detect", "names": "{0: 'a', 1: 'b'}", "stride": "32", "imgsz": "[128, 128]"})
    return graph.to_bytes()


def test_a_list_gives_a_list():
    model = yolokkn.load(v8_content())
    image = np.zeros((64, 64, 3), np.uint8)
    found = model([image, image])
    assert len(found) == 2
    assert found[0].boxes.tolist() == model(image).boxes.tolist()
    assert model([]) == []


def test_the_letterbox_is_undone():
    model = yolokkn.load(v8_content())
    found = model(np.zeros((128, 256, 3), np.uint8))  # scale 1/4, 16 rows of padding above
    np.testing.assert_allclose(found.boxes, [[80, 0, 160, 36]], atol=1e-3)
    assert found.timing_ms.keys() == {"preprocess", "inference", "postprocess"}


def test_the_input_image_is_not_changed():
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    before = image.copy()
    image.flags.writeable = False
    yolokkn.load(v8_content())(image)
    np.testing.assert_array_equal(image, before)


def test_strided_crops_are_taken_as_they_are():
    big = np.random.default_rng(0).integers(0, 255, (100, 100, 3), np.uint8)
    model = yolokkn.load(v8_content())
    assert len(model(big[10:74, 20:84])) == 1


@pytest.mark.parametrize(
    ("image", "error", "text"),
    [
        ("street.jpg", TypeError, r"image must be a NumPy array \(H, W, 3\) uint8 BGR, got str"),
        (np.zeros((4, 4, 3), np.float32), TypeError, "image must have dtype uint8, got float32"),
        (np.zeros((4, 4), np.uint8), ValueError, r"image must have shape \(H, W, 3\) with H, W >= 1, got \(4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"got \(0, 4, 3\)"),
        (np.zeros((4, 4, 4), np.uint8), ValueError, r"got \(4, 4, 4\)"),
    ],
)
def test_what_is_no_image_is_refused(image, error, text):
    with pytest.raises(error, match=text):
        yolokkn.load(v8_content())(image)


@pytest.mark.parametrize("hw", [(1, 1), (1, 2000), (2000, 1), (3, 5)])
def test_odd_sizes_work(hw):
    assert isinstance(yolokkn.load(v8_content())(np.zeros((*hw, 3), np.uint8)), yolokkn.Detections)


def test_a_free_size_follows_the_frame():
    model = yolokkn.load(growing_v8())
    assert model.rectangular
    assert model.letterbox_for((1080, 1920)).input_hw == (96, 128)
    assert model.letterbox_for((1000, 1000)).input_hw == (128, 128)
    model(np.zeros((1080, 1920, 3), np.uint8))
    model(np.zeros((1920, 1080, 3), np.uint8))  # the same model takes both
    assert yolokkn.load(growing_v8(), imgsz=64).input_hw == (64, 64)
    assert yolokkn.load(growing_v8(), imgsz=(64, 96)).input_hw == (64, 96)


def test_sizes_that_do_not_fit_are_explained():
    with pytest.raises(
        ValueError, match=r"imgsz: must be a multiple of <bytes>'s stride 32, got 650; the nearest is 640"
    ):
        yolokkn.load(growing_v8(), imgsz=650)
    with pytest.raises(ValueError, match=r"imgsz: <bytes> takes height 64 and width 64 only, got 640 x 640"):
        yolokkn.load(v8_content(), imgsz=640)
    with pytest.raises(ValueError, match="imgsz: must be one size"):
        yolokkn.load(growing_v8(), imgsz=(1, 2, 3))


def test_a_batch_of_four_takes_one():
    table = cell_heads(7)
    table[5] = 30, 20, 20, 10, 0, 0.9, 0
    content = recorded_model({"output0": np.repeat(table.T[None], 4, 0)}, batch=4)
    assert len(yolokkn.load(content)(np.zeros((64, 64, 3), np.uint8))) == 1


def test_files_that_are_no_models(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model: no such file: .*nothing\.onnx"):
        yolokkn.load(tmp_path / "nothing.onnx")
    with pytest.raises(ModelError, match="is a folder, not a model file"):
        yolokkn.load(tmp_path)
    text = tmp_path / "text.onnx"
    text.write_text("hello\n")
    with pytest.raises(ModelError, match=r"text\.onnx"):
        yolokkn.load(text)
    checkpoint = tmp_path / "best.pt"
    checkpoint.write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelError, match="PyTorch checkpoints are not run"):
        yolokkn.load(checkpoint)
    with pytest.raises(TypeError, match=r"model must be a path, bytes or a torch\.nn\.Module, got int"):
        yolokkn.load(7)


def test_channels_last_and_other_inputs_are_refused():
    graph = GraphBuilder("nhwc")
    picture = graph.input("images", "float32", (1, 64, 64, 3))
    graph.output(graph.node("Identity", [picture], output="out"), "float32", (1, 64, 64, 3))
    with pytest.raises(LayoutError, match=r"channels last \(NHWC\)"):
        yolokkn.load(graph.to_bytes())
    graph = GraphBuilder("text")
    tokens = graph.input("input_ids", "int64", (1, 16))
    graph.output(graph.node("Identity", [tokens], output="out"), "int64", (1, 16))
    with pytest.raises(LayoutError, match=r"needs one picture input .* seen: input_ids int64 \(1, 16\)"):
        yolokkn.load(graph.to_bytes())


def test_unknown_choices_name_the_nearest():
    with pytest.raises(ValueError, match=r"backend: must be one of .*did you mean openvino\?"):
        yolokkn.load(v8_content(), backend="openvin")
    with pytest.raises(ValueError, match="letterbox: must be one of"):
        yolokkn.load(v8_content(), letterbox="crop")
    with pytest.raises(ValueError, match="score_threshold must be within 0 and 1, got 2"):
        yolokkn.load(v8_content(), score_threshold=2)


def test_openvino_gives_the_same(shared_data):
    pytest.importorskip("openvino")
    import cv2

    path = shared_data / "weights/yolox/yolox_nano.onnx"
    image = cv2.imread(str(sorted((shared_data / "coco/val2017").glob("*.jpg"))[5]))
    a = yolokkn.load(path, threads=1)(image)
    b = yolokkn.load(path, backend="openvino", threads=1)(image)
    assert len(a) > 0
    assert a.class_ids.tolist() == b.class_ids.tolist()
    np.testing.assert_allclose(a.boxes, b.boxes, atol=0.5)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-3)


def test_a_torch_module_runs():
    torch = pytest.importorskip("torch")
    table = torch.from_numpy(cell_heads(7).T[None].copy())
    table[0, :, 5] = torch.tensor([30, 20, 20, 10, 0, 0.9, 0])

    class Net(torch.nn.Module):
        def forward(self, x):
            return table + 0 * x.mean()

    model = yolokkn.load(Net(), imgsz=64, layout="v8")
    np.testing.assert_allclose(model(np.zeros((64, 64, 3), np.uint8)).boxes, [[20, 15, 40, 25]], atol=1e-4)
