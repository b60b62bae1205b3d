"""Model repositories for Triton: read by Triton's own schema, with the file's true shapes."""

import numpy as np
import pytest
from google.protobuf import text_format

import yolokkn
from tests.layouts.test_layouts import v8_head
from tests.recorded import recorded_model
from yolokkn.cli import main
from yolokkn.deploy.triton import config_text, write_repository
from yolokkn.errors import ConfigurationError, ModelError
from yolokkn.layouts import TensorSpec
from yolokkn.runtime.assets import embedded_models

schema = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="no tritonclient, which has Triton's schema")


def config_of(folder):
    return text_format.Parse((folder / "config.pbtxt").read_text(), schema.ModelConfig())


def test_the_embedded_model(tmp_path):
    source = next(iter(embedded_models().values())).path
    written = write_repository(source, tmp_path / "repo")
    config = config_of(tmp_path / "repo" / "person-vehicle")
    model = yolokkn.load(tmp_path / "repo" / "person-vehicle" / "1" / "model.onnx")
    assert written.name == config.name == "person-vehicle" and config.backend == "onnxruntime"
    for told, spec in zip(
        [*config.input, *config.output], [*model.backend.inputs, *model.backend.outputs], strict=True
    ):
        sides = spec.shape[1:] if config.max_batch_size else spec.shape
        assert told.name == spec.name and list(told.dims) == [-1 if side is None else side for side in sides]
        assert told.data_type == schema.TYPE_FP32
    assert config.parameters["layout"].string_value == model.layout.name
    picture = np.full((100, 100, 3), 90, np.uint8)
    assert np.array_equal(model(picture).boxes, yolokkn.load(source)(picture).boxes)


def test_a_fixed_batch_is_not_joined(tmp_path):
    path = tmp_path / "my model.onnx"
    names = str({0: "café", 1: '"b"', 2: "c"})
    path.write_bytes(recorded_model({"output0": v8_head(3).T[None].copy()}, metadata={"names": names}))
    assert main(["export", "--format", "triton", "--model", str(path), "--save", str(tmp_path / "repo")]) == 0
    config = config_of(tmp_path / "repo" / "my_model")
    assert (
        config.max_batch_size == 0
        and list(config.input[0].dims) == [1, 3, 64, 64]
        and not config.HasField("dynamic_batching")
    )
    assert config.parameters["class_names"].string_value == '["caf\u00e9", "\\"b\\"", "c"]'


def test_a_free_batch_is_joined():
    inputs, outputs = (
        [TensorSpec("images", "float16", (None, 3, None, None))],
        [TensorSpec("out", "int64", (None, 300, 6))],
    )
    config = text_format.Parse(config_text("m", inputs, outputs, 16, 700, {}), schema.ModelConfig())
    assert (
        config.max_batch_size == 16
        and list(config.input[0].dims) == [3, -1, -1]
        and list(config.output[0].dims) == [300, 6]
    )
    assert (config.input[0].data_type, config.output[0].data_type) == (schema.TYPE_FP16, schema.TYPE_INT64)
    assert config.dynamic_batching.max_queue_delay_microseconds == 700


def test_what_it_refuses(tmp_path, capsys):
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelError):
        write_repository(tmp_path / "text.onnx", tmp_path / "repo")
    assert not (tmp_path / "repo").exists()
    source = next(iter(embedded_models().values())).path
    for name in ("../x", "", ".hidden", "a/b"):
        if name:
            with pytest.raises(ConfigurationError, match="name must be letters"):
                write_repository(source, tmp_path / "repo", name=name)
    write_repository(source, tmp_path / "repo")
    with pytest.raises(FileExistsError):
        write_repository(source, tmp_path / "repo")
    write_repository(source, tmp_path / "repo", overwrite=True)
    with pytest.raises(ConfigurationError, match="a type that the server does not know: string"):
        config_text("m", [TensorSpec("a", "string", (1,))], [], 0, 0, {})
    assert main(["export", "--format", "triton", "--model", "best.safetensors", "--save", str(tmp_path / "r")]) == 2
    assert "--model must be an .onnx file" in capsys.readouterr().err
