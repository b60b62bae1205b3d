"""The rule of imports (HACKING.md), and what `import yolokkn` may cost."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "yolokkn"

LEVELS = {  # longest prefix wins
    "yolokkn": 0,
    "yolokkn.ops": 1,
    "yolokkn.graph": 2,
    "yolokkn.layouts": 2,
    "yolokkn.tracking": 2,
    "yolokkn.evaluation": 2,
    "yolokkn.zones": 2,
    "yolokkn.models": 2,
    "yolokkn.data": 2,
    "yolokkn.benchmark": 2,
    "yolokkn.benchmark.backends": 4,
    "yolokkn.benchmark.networks": 3,
    "yolokkn.benchmark.pipeline": 4,
    "yolokkn.benchmark.startup": 4,
    "yolokkn.benchmark.suites": 4,
    "yolokkn.runtime": 2,
    "yolokkn.runtime.model": 3,
    "yolokkn.runtime.gpu_workspace": 3,
    "yolokkn.runtime.backend_choice": 3,
    "yolokkn.runtime.load": 3,
    "yolokkn.runtime.rectangular": 3,
    "yolokkn.runtime.realtime": 3,
    "yolokkn.runtime.pipeline": 3,
    "yolokkn.runtime.stream": 3,
    "yolokkn.runtime.streams": 3,
    "yolokkn.runtime.replay": 3,
    "yolokkn.runtime.track": 3,
    "yolokkn.runtime.track_streams": 3,
    "yolokkn.runtime.evaluate": 3,
    "yolokkn.runtime.parity": 3,
    "yolokkn.runtime.parity_models": 3,
    "yolokkn.training": 4,
    "yolokkn.web": 4,
    "yolokkn.deploy": 4,
    "yolokkn.cli": 5,
}

# Where torch is what the code is written in: it may stand at a file's top.
TORCH = ("yolokkn.models", "yolokkn.data", "yolokkn.training", "yolokkn.deploy")

# Heavy packages, and the only places that may import them (anywhere in the file).
HEAVY = {
    "torch": ("yolokkn.runtime.backends.torch", *TORCH),
    "openvino": ("yolokkn.runtime.backends.openvino",),
    "onnxruntime": (  # in quantize: its quantiser
        "yolokkn.runtime.backends.onnxruntime",
        "yolokkn.runtime.backends.onnxruntime_network",
        "yolokkn.deploy.quantize",
    ),
    "google": ("yolokkn.graph",),
    "supervision": ("yolokkn.types",),
    "av": ("yolokkn.runtime",),
    "cv2": ("yolokkn.web", "yolokkn.runtime", "yolokkn.cli", "yolokkn.data", "yolokkn.training"),
    "rich": ("yolokkn.cli",),
    "matplotlib": ("yolokkn.plotting",),
    "yaml": ("yolokkn.safe_yaml", "yolokkn.data", "yolokkn.training", "yolokkn.cli"),
    "optuna": ("yolokkn.evaluation.mot_tune",),
    # ONNX Runtime's quantiser works on its messages; its checker
    "onnx": ("yolokkn.deploy.onnx_package",),
    "fastapi": ("yolokkn.web.server",),
    "uvicorn": ("yolokkn.web.server",),
    "prometheus_client": ("yolokkn.web.server", "yolokkn.web.metrics"),
    "paho": ("yolokkn.runtime.sinks.outbox",),
    "safetensors": (),
    "pycocotools": (),
    "scipy": (),
    "tensorrt": (),  # runtime.engine_library imports whichever of the two is there, by name
    "tensorrt_rtx": (),
    "cuda": ("yolokkn.runtime.cuda_device",),
}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        yield name.removesuffix(".__init__"), path


def imports(path):
    """Yield (imported module, whether it is at the top of the file)."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        top = node in tree.body
        if isinstance(node, ast.Import):
            yield from ((alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, top
            yield from ((f"{node.module}.{alias.name}", top) for alias in node.names)


def level(module):
    best = max((p for p in LEVELS if module == p or module.startswith(p + ".")), key=len)
    return LEVELS[best]


@pytest.mark.parametrize(("name", "path"), list(modules()), ids=lambda v: v if isinstance(v, str) else "")
def test_nobody_imports_upwards(name, path):
    if name in ("yolokkn", "yolokkn.__main__"):
        return  # the front door names everything, lazily
    breaches = [
        imported for imported, _ in imports(path) if imported.startswith("yolokkn.") and level(imported) > level(name)
    ]
    assert not breaches, f"{name} (level {level(name)}) imports {breaches}"


@pytest.mark.parametrize(("name", "path"), list(modules()), ids=lambda v: v if isinstance(v, str) else "")
def test_heavy_packages_stay_in_their_places(name, path):
    for imported, top in imports(path):
        package = imported.split(".")[0]
        if package in HEAVY:
            allowed = any(name == p or name.startswith(p + ".") for p in HEAVY[package])
            assert allowed, f"{name} imports {package}"
            on_top = package == "google" or (package == "torch" and name.startswith(TORCH))
            assert not top or on_top, f"{name} imports {package} at its top: it must be imported on use"


def test_importing_is_light():
    code = (
        "import sys, os, threading, json, time; env = dict(os.environ); t = time.perf_counter(); import yolokkn; "
        "names = ('torch', 'cv2', 'onnxruntime', 'av', 'openvino', 'tensorrt', 'tensorrt_rtx', 'cuda', 'google.protobuf'); "
        "heavy = [m for m in names if m in sys.modules]; "
        "print(json.dumps([heavy, threading.active_count(), env == dict(os.environ)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], 1, True]


def test_the_front_door_gives_all_it_names():
    import yolokkn

    for name in yolokkn.__all__:
        assert getattr(yolokkn, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'tracc'"):
        yolokkn.tracc  # noqa: B018
