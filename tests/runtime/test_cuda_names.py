"""Every name of CUDA that the code uses exists in NVIDIA's real bindings, and takes the arguments that it is given.

The bindings load without a driver; each function then says that there is none, after it has read its arguments. A second
version's wheel may stand at build/: pip install --no-deps --target build/cuda-bindings-12 'cuda-bindings<13' cuda-pathfinder
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "yolokkn").rglob("*.py"))
CALLERS = {"checked": 0, "_quietly": 1}  # our functions that call one of CUDA's by its name
MODULES = {"runtime": "runtime", "driver": "driver"}


def used_names(source: str) -> tuple[dict[str, int], set[str]]:
    """Return the functions that a source calls with how many arguments, and what else it looks up on the modules."""
    calls: dict[str, int] = {}
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLERS:
            first = CALLERS[node.func.id]  # where the function's name stands
            if len(node.args) > first and isinstance(node.args[first], ast.Constant):
                calls[f"runtime.{node.args[first].value}"] = len(node.args) - first - 1
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = module_of(node.func.value)
            if owner and node.func.attr.startswith("cu"):
                calls[f"{owner}.{node.func.attr}"] = len(node.args)
        elif isinstance(node, ast.Attribute):
            owner = module_of(node.value)
            if owner and node.attr.startswith(("cu", "CU")):
                names.add(f"{owner}.{node.attr}")
    return calls, names


def module_of(node: ast.expr) -> str | None:
    """Return which of CUDA's modules, or which path of names below it, an expression is."""
    if isinstance(node, ast.Name):
        return MODULES.get(node.id)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return {"_runtime": "runtime", "_driver": "driver"}.get(node.func.id)
    if isinstance(node, ast.Attribute):
        owner = module_of(node.value)
        return f"{owner}.{node.attr}" if owner else None
    return None


@pytest.fixture(scope="module")
def used():
    calls: dict[str, int] = {}
    names: set[str] = set()
    for path in SOURCES:
        source = path.read_text("utf-8")
        if "cuda_device" in source or path.name == "cuda_device.py":
            found = used_names(source)
            calls |= found[0]
            names |= found[1]
    return calls, names - set(calls)


def test_the_names_are_found_in_the_sources(used):
    calls, names = used
    assert len(calls) >= 18  # else nothing is checked
    assert calls["runtime.cudaMemcpyAsync"] == 5 and calls["runtime.cudaGetErrorString"] == 1
    assert calls["driver.cuDevicePrimaryCtxGetState"] == 1 and calls["runtime.cudaStreamEndCapture"] == 1
    assert {"runtime.cudaMemcpyKind.cudaMemcpyDefault", "runtime.cudaStreamNonBlocking"} <= names


def test_a_name_that_does_not_exist_is_found():
    source = "checked('cudaMallocAll', 1)\n_runtime().cudaKind.up\ndriver.cuNothing(1, 2)\nother.cudaKind\n"
    calls, names = used_names(source)
    assert calls == {"runtime.cudaMallocAll": 1, "driver.cuNothing": 2}
    assert names == {"runtime.cudaKind", "driver.cuNothing"}  # and what is called is looked up, too


ASK = """
import json, sys
from cuda.bindings import driver, runtime

modules = {"runtime": runtime, "driver": driver}
calls, names = json.loads(sys.argv[1])
wrong = []
for path in [*calls, *names]:
    found = modules[path.split(".")[0]]
    for part in path.split(".")[1:]:
        found = getattr(found, part, None)
    if found is None:
        wrong.append(path + " is missing")
facts = runtime.cudaDeviceProp()
wrong += [f"cudaDeviceProp has no {name}" for name in ("name", "major", "minor") if not hasattr(facts, name)]
has_gpu = int(runtime.cudaGetDeviceCount()[0]) == 0
kind = runtime.cudaMemcpyKind.cudaMemcpyDefault
samples = {  # arguments of the kinds that the code gives; elsewhere whole numbers
    "cudaMemcpyAsync": (0, 0, 0, kind, 0),
    "cudaStreamBeginCapture": (0, runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal),
    "cudaGetErrorString": (runtime.cudaError_t.cudaErrorNoDevice,),
}
for path, count in calls.items():
    module, name = path.split(".")
    if has_gpu or path + " is missing" in wrong:
        continue
    try:
        answer = getattr(modules[module], name)(*samples.get(name, (0,) * count))
    except RuntimeError as error:
        if "Ensure the NVIDIA display driver is installed" not in str(error):  # said after the arguments are read
            wrong.append(f"{path}: {error}")
        continue
    except Exception as error:
        wrong.append(f"{path}: {type(error).__name__}: {error}")
        continue
    if not isinstance(answer, tuple) or not hasattr(answer[0], "name"):
        wrong.append(f"{path} gives {answer!r}")
    if len(samples.get(name, (0,) * count)) != count:
        wrong.append(f"{path} is called with {count} arguments")
import importlib.metadata
print(json.dumps([wrong, importlib.metadata.version("cuda-bindings"), has_gpu]))
"""


def ask(used, *path: str):
    calls, names = used
    before = os.environ.get("PYTHONPATH", str(ROOT))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ASK, json.dumps([calls, sorted(names)])],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join((*path, before))},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_the_installed_bindings_have_them_all_and_take_what_they_are_given(used):
    if find_spec("cuda") is None or find_spec("cuda.bindings") is None:
        pytest.skip("cuda-bindings (extra engine) is not installed")
    assert ask(used)[0] == []


@pytest.mark.parametrize("major", [12, 13])
def test_bindings_of_both_versions_have_them_all(used, major):
    """Those of 12.9 are the oldest that the extra takes."""
    site = ROOT / "build" / f"cuda-bindings-{major}"
    if not site.is_dir():
        pytest.skip(f"the bindings of CUDA {major} are not at {site}")
    wrong, version, _ = ask(used, str(site))
    assert wrong == [] and version.startswith(f"{major}.")


def test_what_is_missing_or_called_wrongly_is_told(used):
    """Against the real bindings, too: the question can be answered with no."""
    sites = [site for site in (ROOT / "build").glob("cuda-bindings-*") if site.is_dir()]
    if not sites and (find_spec("cuda") is None or find_spec("cuda.bindings") is None):
        pytest.skip("cuda-bindings (extra engine) is not installed")
    bad = (
        {"runtime.cudaMallocAll": 1, "runtime.cudaMalloc": 3, "driver.cuDeviceGet": 1, "driver.cuInit": 3},
        {"runtime.cudaKind"},
    )
    wrong, _, has_gpu = ask(bad, *map(str, sites[:1]))
    assert {"runtime.cudaMallocAll is missing", "runtime.cudaKind is missing"} <= set(wrong)
    assert has_gpu or all(any(f"{name}: TypeError" in text for text in wrong) for name in ("cudaMalloc", "cuInit"))
    assert not any("cuDeviceGet" in text for text in wrong)
