"""Which library of the TensorRT family is taken: one that is installed and does not start gives way to the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.runtime.test_tensorrt_names import find_bindings, make_stubs
from yolokkn.runtime.engine_library import find_library

ROOT = Path(__file__).parents[2]
ASK = """
import json, sys
from yolokkn.errors import YolokknError
from yolokkn.runtime.engine_library import find_library
said = []
try:
    found = find_library(json.loads(sys.argv[1]), said.append).name
except YolokknError as error:
    found = str(error)
print(json.dumps([found, said]))
"""


@pytest.fixture(autouse=True)
def rtx():
    return pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX (extra engine) is not installed")


def ask(packages: Path, name: str | None = None, **environment: str):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ASK, json.dumps(name)], capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(packages), **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def tensorrt_package(folder: Path, content: str) -> Path:
    (folder / "tensorrt").mkdir()
    (folder / "tensorrt" / "__init__.py").write_text(content)
    return folder


def of_the_bindings(folder: Path) -> Path:
    """Make what the package tensorrt is around its bindings."""
    site = find_bindings(11)
    return tensorrt_package(
        folder, f"import sys\nsys.path.append({str(site)!r})\nimport tensorrt_bindings\nglobals().update(vars(tensorrt_bindings))"
    )  # fmt: skip


def test_tensorrt_that_does_not_load_gives_way(tmp_path):
    said = "libnvinfer.so.11: cannot open shared object file"
    packages = tensorrt_package(tmp_path, f"raise ImportError({said!r})")
    found, told = ask(packages)
    assert found == "tensorrt_rtx"
    assert len(told) == 1 and told[0].startswith(f"TensorRT does not load: {said}; TensorRT-RTX 1.")
    assert told[0].endswith(" is taken instead")


def test_one_that_is_named_does_not_give_way(tmp_path):
    packages = tensorrt_package(tmp_path, "raise ImportError('libnvinfer.so.11')")
    assert ask(packages, "tensorrt") == ["library 'tensorrt': does not load: libnvinfer.so.11", []]
    assert ask(packages, "tensorrt_rtx") == ["tensorrt_rtx", []]


def test_where_neither_loads_the_first_ones_reason_is_told(tmp_path):
    packages = tensorrt_package(tmp_path, "raise ImportError('libnvinfer.so.11')")
    (tmp_path / "tensorrt_rtx").mkdir()
    (tmp_path / "tensorrt_rtx" / "__init__.py").write_text("raise ImportError('another')")
    assert ask(packages) == ["library 'tensorrt': does not load: libnvinfer.so.11", []]


def test_the_real_bindings_without_their_library_give_way(tmp_path):
    found, told = ask(of_the_bindings(tmp_path))
    assert found == "tensorrt_rtx" and len(told) == 1
    assert told[0].startswith("TensorRT does not load: libnv") and "cannot open shared object" in told[0]


def test_a_library_that_gives_no_runtime_gives_way(tmp_path):
    """As TensorRT without a driver: the real bindings, and a library whose functions give nothing."""
    packages = of_the_bindings(tmp_path)
    stubs = make_stubs(find_bindings(11) / "tensorrt_bindings" / "tensorrt.so", tmp_path)
    found, told = ask(packages, LD_LIBRARY_PATH=str(stubs))
    assert found == "tensorrt_rtx"
    assert len(told) == 1 and told[0].startswith("TensorRT does not start: the library gives no reason; TensorRT-RTX")
    assert ask(packages, "tensorrt", LD_LIBRARY_PATH=str(stubs)) == ["tensorrt", []]


def test_errors_alone_are_collected_and_a_message_inside_a_message_blocks_nobody():
    library = find_library("tensorrt_rtx")
    kinds = library.trt.ILogger

    def work():
        with library.logger.guard:  # as a garbage collection inside `log`, whose objects log themselves
            library.logger.log(kinds.ERROR, "inner")

    with library.messages() as found:
        library.logger.log(kinds.WARNING, "a warning")
        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        worker.join(10)
    assert not worker.is_alive() and found == ["inner"]
