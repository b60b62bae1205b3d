"""Takes hostile files through one door in a process of its own, with little memory: one line of result a file.

python -m tests.integration.hostile_worker DOOR FOLDER: for each file of the folder, in order, its name when it begins and a JSON
list when it is done: ["ran"], ["refused", message] or ["other", type, message]. A door that does not exist in this version
prints "absent" alone.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import resource
import sys
from pathlib import Path

import numpy as np

PARTS = {
    "engine": "yolokkn.runtime.engine_build",
    "to_half": "yolokkn.graph.half_graph",
    "quantize_int8": "yolokkn.deploy.quantize",
}
MEMORY = 3 << 30
PICTURE = np.full((32, 32, 3), 90, np.uint8)


def read(path: Path) -> None:
    from yolokkn.graph import model_cost, read_model
    from yolokkn.graph.precision import computing_precision, graph_precision

    model = read_model(path)
    model_cost(model, (32, 32))
    graph_precision(model)
    computing_precision(model)


def limits(path: Path) -> None:
    from yolokkn.graph import check_limits, read_model

    check_limits(read_model(path))


def load(path: Path) -> None:
    import yolokkn

    yolokkn.load(path, layout="v8", threads=1)(PICTURE)


def openvino(path: Path) -> None:
    import yolokkn

    yolokkn.load(path, layout="v8", backend="openvino", threads=1)(PICTURE)


def info(path: Path) -> None:
    command(["info", str(path), "--layout", "v8"])


def doctor(path: Path) -> None:
    import cv2

    picture = path.with_name("picture.png")
    if not picture.exists():
        cv2.imwrite(str(picture), PICTURE)
    command(["doctor", str(path), str(picture), "--layout", "v8", "--backend", "onnxruntime", "--threads", "1"])


def to_half(path: Path) -> None:
    module(PARTS["to_half"]).to_half(path.read_bytes())


def quantize_int8(path: Path) -> None:
    from yolokkn.graph import read_model

    feeds = [{info.name: np.full((1, 3, 32, 32), 0.4, np.float32) for info in read_model(path).inputs}] * 2
    module(PARTS["quantize_int8"]).quantize_int8(path.read_bytes(), feeds)


def engine(path: Path) -> None:
    """Build an engine ahead of time, as `yolokkn export --format engine` does."""
    from yolokkn.runtime.engine_library import find_library

    build, library = module(PARTS["engine"]), find_library("tensorrt_rtx")
    content, options = path.read_bytes(), build.EngineOptions(capabilities=("SM86",))
    request = build.make_request(content, library, options, profiles={}, precision="fp32")
    build.build_engine(content, request, library, options, name=path.name)


def command(argv: list[str]) -> None:
    """Run the command; its error, one line, is raised again."""
    from yolokkn.cli import main
    from yolokkn.errors import ModelError

    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()) as printed:
        code = main(argv)
    control = [c for c in said.getvalue() + printed.getvalue() if not c.isprintable() and c not in "\n"]
    assert not control, f"prints control characters: {control[:5]}"
    assert "Traceback" not in said.getvalue()
    if code:
        assert code == 1, f"exit code {code}: {said.getvalue()}"
        raise ModelError(said.getvalue().strip() or printed.getvalue().strip().splitlines()[-1])


def module(name: str):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return None


def say(*result: str) -> None:
    print(json.dumps(result), flush=True)


def main(door: str, folder: str) -> None:
    """Go through the files of the folder."""
    from yolokkn.errors import YolokknError

    if door in PARTS and module(PARTS[door]) is None:
        print("absent", flush=True)
        return
    memory = MEMORY * (8 if door == "engine" else 1)  # the library maps its own gigabytes
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    opens = globals()[door]
    for path in sorted(Path(folder).glob("*.onnx")):
        print(path.name, flush=True)
        try:
            opens(path)
        except YolokknError as error:
            say("refused", str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test says so
            say("other", type(error).__name__, str(error)[:300])
        else:
            say("ran")


if __name__ == "__main__":
    main(*sys.argv[1:3])
